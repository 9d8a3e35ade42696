/* raft/progress.c: what a leader knows of one follower, and what is under way to it.
 *
 * The match index is the only thing that safety rests on, and it only grows: an acknowledgement of
 * this term stays true however late or often it arrives. All the rest decides merely what is sent
 * next, so a reply that is stale can do no harm beyond a repeated message. */
#include <string.h>

#include "base/assert.h"
#include "raft/internal.h"

void raft_progress_init(struct raft_progress *progress, raft_index next_index)
{
    ASSERT(next_index > 0);
    *progress = (struct raft_progress){.state = RAFT_PROBE, .next_index = next_index};
}

bool raft_progress_is_due(const struct raft_progress *progress, raft_index last_index,
                          uint32_t inflight_count_max, uint64_t now_ms)
{
    ASSERT(progress->next_index <= last_index + 1);
    if (now_ms < progress->pause_ms) {
        return false;
    }
    switch (progress->state) {
    case RAFT_PROBE:
        return progress->flight_count == 0;
    case RAFT_REPLICATE:
        return progress->flight_count < inflight_count_max && progress->next_index <= last_index;
    case RAFT_SNAPSHOT:
        return false;
    }
    UNREACHABLE();
}

void raft_progress_sent(struct raft_progress *progress, const struct raft_flight *flight)
{
    ASSERT(progress->flight_count < RAFT_INFLIGHT_COUNT_MAX);
    ASSERT_VALUES(flight->previous_index + 1 == progress->next_index, flight->previous_index,
                  progress->next_index);
    ASSERT(flight->last_index >= flight->previous_index);

    progress->flights[progress->flight_count] = *flight;
    progress->flight_count += 1;
    progress->next_index = flight->last_index + 1;
}

/* Flights up to `request` are answered, those up to `match_index` no longer matter. */
static void land_flights(struct raft_progress *progress, uint64_t request)
{
    uint32_t landed = 0;

    while (landed < progress->flight_count &&
           (progress->flights[landed].request <= request ||
            progress->flights[landed].last_index <= progress->match_index)) {
        landed += 1;
    }
    progress->flight_count -= landed;
    memmove(&progress->flights[0], &progress->flights[landed],
            progress->flight_count * sizeof(progress->flights[0]));
}

static void move_to_probe(struct raft_progress *progress, raft_index next_index)
{
    ASSERT(next_index > progress->match_index);
    progress->state = RAFT_PROBE;
    progress->next_index = next_index;
    progress->flight_count = 0;
    progress->probe_is_empty = false;
}

void raft_progress_acknowledge(struct raft_progress *progress, uint64_t request,
                               raft_index match_index, uint64_t pause_until_ms)
{
    const struct raft_flight *flight = raft_progress_find(progress, request);
    bool is_partial = flight != NULL && match_index < flight->last_index;
    bool is_probe = progress->state == RAFT_PROBE && progress->flight_count > 0;
    bool is_progress = match_index > progress->match_index;

    if (is_progress) {
        progress->match_index = match_index;
    }
    if (is_partial) {
        /* The follower took a part, for want of room. Where it took nothing, give it time. */
        raft_index after =
            match_index < flight->previous_index ? flight->previous_index : match_index;
        after = after > progress->match_index ? after : progress->match_index;
        move_to_probe(progress, after + 1);
        progress->pause_ms = is_progress ? 0 : pause_until_ms;
        return;
    }
    land_flights(progress, request);
    if (progress->state == RAFT_SNAPSHOT && progress->match_index >= progress->snapshot_index) {
        move_to_probe(progress, progress->match_index + 1);
    }
    /* Also by the late reply to an earlier probe, where it confirms the place of this one. If that
     * only landed the flight, the next probe would be answered late as well, and so on for ever
     * (late_reply_that_confirms_the_place_of_a_probe_ends_it). */
    if (is_probe && progress->flight_count == 0) {
        progress->state = RAFT_REPLICATE;
        progress->next_index = progress->match_index + 1;
        progress->probe_is_empty = false;
    }
    if (progress->next_index <= progress->match_index) {
        progress->next_index = progress->match_index + 1;
    }
}

const struct raft_flight *raft_progress_find(const struct raft_progress *progress, uint64_t request)
{
    for (uint32_t i = 0; i < progress->flight_count; i++) {
        if (progress->flights[i].request == request) {
            return &progress->flights[i];
        }
    }
    return NULL;
}

void raft_progress_refuse(struct raft_progress *progress, const struct raft_flight *flight,
                          raft_index hint_index)
{
    ASSERT(flight->previous_index > progress->match_index);

    /* Each refusal moves the probe down by at least one, and it ends at the match index, which
     * cannot be refused: the search terminates. */
    raft_index previous = flight->previous_index - 1;
    if (hint_index < previous) {
        previous = hint_index;
    }
    if (previous < progress->match_index) {
        previous = progress->match_index;
    }
    move_to_probe(progress, previous + 1);
}

void raft_progress_reset(struct raft_progress *progress, bool probe_is_empty)
{
    raft_index next_index = progress->next_index;

    if (progress->state == RAFT_SNAPSHOT) {
        progress->snapshot_ms = 0;
        return;
    }
    /* A probe that got no answer is repeated where it was: without a match it would otherwise
     * begin at the start of the log. */
    if (progress->state == RAFT_REPLICATE) {
        next_index = progress->match_index + 1;
    } else if (progress->flight_count > 0) {
        next_index = progress->flights[0].previous_index + 1;
    }
    if (next_index <= progress->match_index) {
        next_index = progress->match_index + 1;
    }
    move_to_probe(progress, next_index);
    progress->probe_is_empty = probe_is_empty;
    progress->pause_ms = 0;
}

void raft_progress_need_snapshot(struct raft_progress *progress, raft_index base_index)
{
    ASSERT(progress->state != RAFT_SNAPSHOT);
    progress->state = RAFT_SNAPSHOT;
    progress->flight_count = 0;
    progress->snapshot_index = base_index;
    progress->snapshot_ms = 0;
}

void raft_progress_probe(struct raft_progress *progress, raft_index previous_index)
{
    if (previous_index < progress->match_index) {
        previous_index = progress->match_index;
    }
    move_to_probe(progress, previous_index + 1);
    progress->pause_ms = 0;
}
