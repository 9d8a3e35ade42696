/* raft/fetch.c: entries older than the window, read back by the caller for a lagging follower.
 *
 * One answer is held at a time, copied, until the next raft_collect() sends it. A fetch may begin
 * one entry early: that entry tells its term, which the trail has forgotten. */
#include <string.h>

#include "base/assert.h"
#include "raft/internal.h"

void raft_fetch_ask(struct raft *raft, uint32_t at, raft_index index)
{
    struct raft_progress *progress = &raft->peers[at].progress;

    ASSERT_VALUES(index > raft->trail.base_index, index, raft->trail.base_index);
    ASSERT_VALUES(index <= raft->durable_index, index, raft->durable_index);
    if (progress->fetch_index == index && raft->now_ms < progress->fetch_ms + raft_retry_ms(raft)) {
        return;
    }
    progress->fetch_index = index;
    progress->fetch_ms = raft->now_ms;
    ASSERT(raft->fetch_count < COUNT_OF(raft->fetches));
    raft->fetches[raft->fetch_count] = (struct raft_fetch){
        .peer = raft->ids[at],
        .first_index = index,
    };
    raft->fetch_count += 1;
}

/* Is this entry ours? What was read is compared with the trail as far as that goes back. */
static bool is_ours(const struct raft *raft, const struct raft_entry *entry, raft_index index)
{
    raft_term term = 0;

    if (entry->index != index || index > raft_last_index(raft) || entry->term > raft->term) {
        return false;
    }
    return !raft_term_at(raft, index, &term) || term == entry->term;
}

/* Copies entries from `next_index` on as far as the buffer goes; false when one is not ours. */
static bool keep(struct raft *raft, raft_index index, uint32_t record_count, struct bytes records)
{
    raft->fetched_index = index;
    raft->fetched_count = 0;
    raft->fetched_size = 0;
    for (uint32_t i = 0; i < record_count; i++) {
        struct bytes record = records;
        struct raft_entry entry;
        if (!raft_entry_next(&records, &entry) || !is_ours(raft, &entry, index + i)) {
            return false;
        }
        size_t size = record.size - records.size;
        bool is_over =
            raft->fetched_count > 0 && raft->fetched_size + size > raft->options.append_size_max;
        if (is_over || raft->fetched_size + size > raft->fetched_capacity) {
            break;
        }
        memcpy(raft->fetched + raft->fetched_size, record.data, size);
        raft->fetched_size += (uint32_t)size;
        raft->fetched_count += 1;
    }
    return raft->fetched_count > 0;
}

void raft_fetched(struct raft *raft, raft_id peer, raft_index first_index, uint32_t record_count,
                  struct bytes records, uint64_t now_ms)
{
    raft_time_set(raft, now_ms);
    uint32_t at = peer == 0 ? RAFT_NOWHERE : raft_place_find(raft, peer);
    if (raft->role != RAFT_LEADER || at == RAFT_NOWHERE || (raft_followers(raft) >> at & 1) == 0) {
        return;
    }
    struct raft_progress *progress = &raft->peers[at].progress;
    if (first_index == 0 || first_index != progress->fetch_index || record_count == 0) {
        return; /* Not wanted any more, or not to be had: asked again after a while. */
    }
    raft_index index = first_index;
    if (first_index + 1 == progress->next_index) {
        struct raft_entry previous;
        if (!raft_entry_next(&records, &previous) || !is_ours(raft, &previous, first_index)) {
            return;
        }
        progress->known_index = first_index;
        progress->known_term = previous.term;
        index += 1;
        record_count -= 1;
    }
    progress->fetch_index = 0;
    if (raft->fetched_peer != 0 || record_count == 0 || index != progress->next_index) {
        return; /* The buffer is taken for this turn, or the search has moved on: asked again. */
    }
    if (keep(raft, index, record_count, records)) {
        raft->fetched_peer = peer;
    }
}

bool raft_fetch_take(struct raft *raft, uint32_t at, raft_index index, struct raft_slice *slice,
                     raft_index *last_index)
{
    struct raft_progress *progress = &raft->peers[at].progress;

    if (raft->fetched_peer != raft->ids[at] || raft->fetched_index != index) {
        return false;
    }
    *slice = (struct raft_slice){
        .count = raft->fetched_count,
        .first = bytes_of(raft->fetched, raft->fetched_size),
    };
    *last_index = index + raft->fetched_count - 1;

    /* The next message begins behind these: its previous term is known from here. */
    struct bytes rest = slice->first;
    struct raft_entry entry = {0};
    while (rest.size > 0) {
        bool is_whole = raft_entry_next(&rest, &entry);
        ASSERT(is_whole);
    }
    ASSERT(entry.index == *last_index);
    progress->known_index = entry.index;
    progress->known_term = entry.term;
    raft->fetched_peer = 0;
    return true;
}
