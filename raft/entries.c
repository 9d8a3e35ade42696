/* raft/entries.c: the log in memory: window, trail and durable marks together.
 *
 *     base     first of window    durable     unsaved        last
 *     |  disk only  |  in memory and on disk  |  in memory  |
 *
 * `unsaved_index` is the first entry that no unit has carried; between it and `durable_index` lies
 * what is under way to the disk. */
#include <string.h>

#include "base/assert.h"
#include "raft/internal.h"

raft_index raft_last_index(const struct raft *raft)
{
    return raft->trail.last_index;
}

raft_term raft_last_term(const struct raft *raft)
{
    raft_term term = 0;
    bool is_known = raft_trail_term(&raft->trail, raft->trail.last_index, &term);

    ASSERT(is_known);
    return term;
}

bool raft_term_at(const struct raft *raft, raft_index index, raft_term *term)
{
    const struct raft_slot *slot = raft_window_slot(&raft->window, index);

    if (slot != NULL) {
        *term = slot->term;
        return true;
    }
    return raft_trail_term(&raft->trail, index, term);
}

/* May the oldest entry of the window be forgotten? It must be durable. Beyond that: the caller has
 * applied it, or it was on the disk at the start, so that he reads it from there anyway, or
 * nothing that is committed waits to be applied, so that only forgetting makes room for the entry
 * that lets the others commit: without that, uncommitted entries could fill the window for ever. */
static bool first_is_evictable(const struct raft *raft)
{
    raft_index index = raft->window.first_index;

    if (raft->window.count == 0 || index > raft->durable_index || index >= raft->unsaved_index) {
        return false;
    }
    return index <= raft->applied_index || index <= raft->restored_index ||
           index > raft->commit_index;
}

static uint8_t *push(struct raft *raft, raft_term term, uint32_t size)
{
    uint8_t *place = raft_window_push(&raft->window, term, size);

    while (place == NULL && first_is_evictable(raft)) {
        raft_window_drop_first(&raft->window);
        place = raft_window_push(&raft->window, term, size);
    }
    return place;
}

bool raft_entries_make_room(struct raft *raft, raft_term term, uint32_t size)
{
    if (!raft_trail_has_room(&raft->trail, term, raft->commit_index)) {
        return false;
    }
    if (push(raft, term, size) == NULL) {
        return false;
    }
    raft_window_truncate(&raft->window, raft->trail.last_index + 1);
    return true;
}

static void take_configuration(struct raft *raft, const struct raft_entry *entry)
{
    struct raft_configuration configuration;
    bool is_valid = raft_configuration_decode(entry->payload, &configuration);

    ASSERT_VALUES(is_valid, entry->index, entry->term);
    raft_members_appended(raft, &configuration);
}

bool raft_entries_append(struct raft *raft, const struct raft_entry *entry, struct bytes second)
{
    ASSERT_VALUES(entry->index == raft->trail.last_index + 1, entry->index, raft->trail.last_index);
    ASSERT_VALUES(entry->term <= raft->term, entry->term, raft->term);
    struct raft_entry whole = *entry;
    whole.payload.size += second.size;
    uint32_t size = (uint32_t)(RAFT_ENTRY_HEADER_SIZE + whole.payload.size);

    if (!raft_trail_has_room(&raft->trail, entry->term, raft->commit_index)) {
        return false;
    }
    uint8_t *place = push(raft, entry->term, size);
    if (place == NULL) {
        return false;
    }
    raft_entry_encode_header(place, &whole);
    place += RAFT_ENTRY_HEADER_SIZE;
    if (entry->payload.size > 0) {
        memcpy(place, entry->payload.data, entry->payload.size);
    }
    if (second.size > 0) {
        memcpy(place + entry->payload.size, second.data, second.size);
    }
    raft_trail_append(&raft->trail, entry->term, raft->commit_index);
    if (entry->kind == RAFT_ENTRY_CONFIGURATION) {
        take_configuration(raft, entry);
    }
    ASSERT(raft->window.first_index + raft->window.count == raft->trail.last_index + 1);
    return true;
}

void raft_entries_truncate(struct raft *raft, raft_index from_index)
{
    /* What is committed is never taken back. Without this line a damaged leader could make us
     * unsay acknowledged writes; better to stop (committed_entry_is_never_truncated). */
    ASSERT_VALUES(from_index > raft->commit_index, from_index, raft->commit_index);
    ASSERT_VALUES(from_index > raft->validated_index, from_index, raft->validated_index);
    ASSERT(raft->role != RAFT_LEADER);

    raft_window_truncate(&raft->window, from_index);
    raft_trail_truncate(&raft->trail, from_index);
    raft->epoch += 1;
    if (raft->durable_index >= from_index) {
        raft->durable_index = from_index - 1;
    }
    if (raft->restored_index >= from_index) {
        raft->restored_index = from_index - 1;
    }
    if (raft->unsaved_index > from_index) {
        raft->unsaved_index = from_index;
    }
    raft_members_truncated(raft, from_index);
}

void raft_commit_advance(struct raft *raft, raft_index index)
{
    ASSERT_VALUES(index >= raft->commit_index, index, raft->commit_index);
    ASSERT_VALUES(index <= raft->trail.last_index, index, raft->trail.last_index);
    raft->commit_index = index;
}
