/* raft/trail.c: the term of every index, run-length encoded.
 *
 * Terms change rarely, so a few runs describe a long log. The trail is bounded: when it is full,
 * the oldest run is forgotten, if all of it is committed. What is forgotten can still be read back
 * from the disk; what is not committed is never forgotten, because a follower must be able to
 * compare it. */
#include <string.h>

#include "base/assert.h"
#include "raft/internal.h"

_Static_assert(RAFT_TRAIL_RUN_COUNT_MAX >= 2, "one run is kept while another is dropped");

void raft_trail_init(struct raft_trail *trail, raft_index base_index, raft_term base_term)
{
    ASSERT((base_index == 0) == (base_term == 0));
    trail->count = 0;
    trail->count_max = RAFT_TRAIL_RUN_COUNT_MAX;
    trail->last_index = base_index;
    trail->base_index = base_index;
    trail->base_term = base_term;
}

void raft_trail_rebase(struct raft_trail *trail, raft_index base_index, raft_term base_term)
{
    ASSERT_VALUES(base_index >= trail->base_index, base_index, trail->base_index);
    ASSERT_VALUES(base_index <= trail->last_index, base_index, trail->last_index);
    trail->base_index = base_index;
    trail->base_term = base_term;
}

static bool needs_run(const struct raft_trail *trail, raft_term term)
{
    return trail->count == 0 || trail->runs[trail->count - 1].term != term;
}

bool raft_trail_outruns(const struct raft_trail *trail, raft_index hint_index,
                        raft_index commit_index)
{
    uint32_t share = trail->count_max / 4;

    if (share == 0 || trail->count < share) {
        return false;
    }
    raft_index first_index = trail->runs[trail->count - share].first_index;

    return first_index > hint_index && first_index <= commit_index;
}

bool raft_trail_has_room(const struct raft_trail *trail, raft_term term, raft_index commit_index)
{
    if (!needs_run(trail, term) || trail->count < trail->count_max) {
        return true;
    }
    return trail->runs[1].first_index - 1 <= commit_index;
}

void raft_trail_append(struct raft_trail *trail, raft_term term, raft_index commit_index)
{
    ASSERT(raft_trail_has_room(trail, term, commit_index));
    if (trail->count > 0) {
        ASSERT_VALUES(term >= trail->runs[trail->count - 1].term, term,
                      trail->runs[trail->count - 1].term);
    }

    trail->last_index += 1;
    if (!needs_run(trail, term)) {
        return;
    }
    if (trail->count == trail->count_max) {
        trail->count -= 1;
        memmove(&trail->runs[0], &trail->runs[1], trail->count * sizeof(trail->runs[0]));
    }
    trail->runs[trail->count].first_index = trail->last_index;
    trail->runs[trail->count].term = term;
    trail->count += 1;
}

void raft_trail_truncate(struct raft_trail *trail, raft_index from_index)
{
    ASSERT(from_index > 0);
    ASSERT_VALUES(from_index <= trail->last_index, from_index, trail->last_index);
    ASSERT_VALUES(from_index > trail->base_index, from_index, trail->base_index);
    ASSERT_VALUES(from_index >= trail->runs[0].first_index, from_index, trail->runs[0].first_index);

    trail->last_index = from_index - 1;
    while (trail->count > 0 && trail->runs[trail->count - 1].first_index >= from_index) {
        trail->count -= 1;
    }
}

bool raft_trail_term(const struct raft_trail *trail, raft_index index, raft_term *term)
{
    if (index == trail->base_index) {
        *term = trail->base_term;
        return true;
    }
    if (index > trail->last_index) {
        return false;
    }
    for (uint32_t i = trail->count; i > 0; i--) {
        if (trail->runs[i - 1].first_index <= index) {
            *term = trail->runs[i - 1].term;
            return true;
        }
    }
    return false;
}

raft_index raft_trail_find(const struct raft_trail *trail, raft_index index, raft_term term)
{
    raft_index candidate = index < trail->last_index ? index : trail->last_index;

    /* From the newest run down: the first whose term is not above decides. */
    for (uint32_t i = trail->count; i > 0; i--) {
        if (trail->runs[i - 1].first_index > candidate) {
            continue;
        }
        if (trail->runs[i - 1].term <= term) {
            return candidate;
        }
        candidate = trail->runs[i - 1].first_index - 1;
    }
    return candidate;
}
