/* raft/window.c: the newest entries as bytes in a ring.
 *
 * An entry lies in one piece: one that does not fit before the end of the ring begins at its
 * start. So any range of entries is one run of bytes, or two where it goes over the wrap:
 *
 *     0                                                   size
 *     | e7 | e8 |  free          | e3 | e4 | e5 | e6 | gap |
 *
 * Descriptors lie in a ring of their own. */
#include "base/assert.h"
#include "raft/internal.h"

void raft_window_init(struct raft_window *window, uint8_t *data, uint32_t size,
                      struct raft_slot *slots, uint32_t slot_count_max)
{
    ASSERT(size > 0);
    ASSERT(slot_count_max > 0);
    *window = (struct raft_window){
        .size = size,
        .slots = slots,
        .slot_count_max = slot_count_max,
        .first_index = 1,
    };
    window->data = data;
}

static struct raft_slot *slot_at(const struct raft_window *window, uint32_t position)
{
    uint32_t behind = window->slot_count_max - window->slot_first;

    return &window->slots[position < behind ? window->slot_first + position : position - behind];
}

/* Where `size` bytes may begin; `window->size` when there is no such place. */
static uint32_t find_place(const struct raft_window *window, uint32_t size)
{
    if (window->count == 0) {
        return size <= window->size ? 0 : window->size;
    }
    const struct raft_slot *first = slot_at(window, 0);
    const struct raft_slot *last = slot_at(window, window->count - 1);
    uint32_t tail = last->offset + last->size;

    if (last->offset < first->offset) {
        return first->offset - tail >= size ? tail : window->size;
    }
    if (window->size - tail >= size) {
        return tail;
    }
    return first->offset >= size ? 0 : window->size;
}

uint8_t *raft_window_push(struct raft_window *window, raft_term term, uint32_t size)
{
    ASSERT(size > 0);
    if (window->count == window->slot_count_max) {
        return NULL;
    }
    uint32_t offset = find_place(window, size);
    if (offset == window->size) {
        return NULL;
    }
    uint64_t end = window->count == 0 ? 0 : slot_at(window, window->count - 1)->end;

    *slot_at(window, window->count) = (struct raft_slot){
        .term = term,
        .end = end + size,
        .offset = offset,
        .size = size,
    };
    window->count += 1;
    ASSERT(offset + size <= window->size);
    return window->data + offset;
}

void raft_window_reset(struct raft_window *window, raft_index first_index)
{
    ASSERT(first_index > 0);
    window->slot_first = 0;
    window->count = 0;
    window->first_index = first_index;
}

void raft_window_drop_first(struct raft_window *window)
{
    ASSERT(window->count > 0);
    window->slot_first = (window->slot_first + 1) % window->slot_count_max;
    window->first_index += 1;
    window->count -= 1;
}

void raft_window_truncate(struct raft_window *window, raft_index from_index)
{
    ASSERT(from_index > 0);
    ASSERT(from_index <= window->first_index + window->count);
    if (from_index <= window->first_index) {
        window->first_index = from_index;
        window->count = 0;
        return;
    }
    window->count = (uint32_t)(from_index - window->first_index);
}

const struct raft_slot *raft_window_slot(const struct raft_window *window, raft_index index)
{
    if (index < window->first_index || index - window->first_index >= window->count) {
        return NULL;
    }
    return slot_at(window, (uint32_t)(index - window->first_index));
}

struct raft_slice raft_window_slice(const struct raft_window *window, raft_index first_index,
                                    uint64_t size_max)
{
    const struct raft_slot *first = raft_window_slot(window, first_index);
    ASSERT(first != NULL);
    struct raft_slice slice = {
        .count = 1,
        .first = bytes_of(window->data + first->offset, first->size),
    };
    uint64_t size = first->size;
    uint32_t position = (uint32_t)(first_index - window->first_index) + 1;

    for (; position < window->count; position++) {
        const struct raft_slot *slot = slot_at(window, position);
        size += slot->size;
        if (size > size_max) {
            break;
        }
        if (slot->offset >= first->offset) {
            slice.first.size += slot->size;
        } else {
            slice.second.data = window->data;
            slice.second.size += slot->size;
        }
        slice.count += 1;
    }
    return slice;
}

uint64_t raft_window_bytes_after(const struct raft_window *window, raft_index index)
{
    if (window->count == 0 || index >= window->first_index + window->count - 1) {
        return 0;
    }
    uint64_t end = slot_at(window, window->count - 1)->end;
    const struct raft_slot *slot = raft_window_slot(window, index);
    if (slot != NULL) {
        return end - slot->end;
    }
    const struct raft_slot *first = slot_at(window, 0);
    return end - (first->end - first->size);
}
