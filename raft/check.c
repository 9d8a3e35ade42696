/* raft/check.c: every invariant that one member can see, numbered as in docs/raft.md. */
#include "base/assert.h"
#include "raft/internal.h"

static void check_indexes(const struct raft *raft)
{
    raft_index last_index = raft_last_index(raft);

    /* 1. The window holds the end of the log, and trail and window agree where it ends. */
    ASSERT_VALUES(raft->window.first_index + raft->window.count == last_index + 1,
                  raft->window.first_index, last_index);
    /* 2. base <= applied <= commit <= last; base <= durable <= last. */
    ASSERT_VALUES(raft->trail.base_index <= raft->applied_index, raft->trail.base_index,
                  raft->applied_index);
    ASSERT_VALUES(raft->trail.base_index <= raft->durable_index, raft->trail.base_index,
                  raft->durable_index);
    ASSERT_VALUES(raft->applied_index <= raft->commit_index, raft->applied_index,
                  raft->commit_index);
    ASSERT_VALUES(raft->commit_index <= last_index, raft->commit_index, last_index);
    ASSERT_VALUES(raft->durable_index <= last_index, raft->durable_index, last_index);
    /* 3. What no unit has carried is not durable, and is still in the window. */
    ASSERT_VALUES(raft->durable_index < raft->unsaved_index, raft->durable_index,
                  raft->unsaved_index);
    ASSERT_VALUES(raft->unsaved_index <= last_index + 1, raft->unsaved_index, last_index);
    ASSERT_VALUES(raft->window.first_index <= raft->unsaved_index, raft->window.first_index,
                  raft->unsaved_index);
    /* 4. What is not durable is in the window. */
    ASSERT_VALUES(raft->window.first_index <= raft->durable_index + 1, raft->window.first_index,
                  raft->durable_index);
}

static void check_terms(const struct raft *raft)
{
    const struct raft_trail *trail = &raft->trail;

    /* 5. Terms never fall along the log and never pass the current one. */
    for (uint32_t i = 1; i < trail->count; i++) {
        ASSERT(trail->runs[i].term > trail->runs[i - 1].term);
        ASSERT(trail->runs[i].first_index > trail->runs[i - 1].first_index);
    }
    ASSERT_VALUES(raft_last_term(raft) <= raft->term, raft_last_term(raft), raft->term);
    /* 6. The trail knows every term that is not committed. */
    if (trail->count > 0) {
        ASSERT_VALUES(trail->runs[0].first_index <= raft->commit_index + 1,
                      trail->runs[0].first_index, raft->commit_index);
        ASSERT(trail->runs[trail->count - 1].first_index <= trail->last_index);
    }
    if (trail->count == 0) {
        ASSERT_VALUES(trail->last_index == trail->base_index, trail->last_index, trail->base_index);
    }
}

/* The entries of the window from `first_index` to before `end_index` are of that term. */
static void check_run(const struct raft_window *window, raft_index first_index,
                      raft_index end_index, raft_term term)
{
    uint64_t at = window->slot_first + (first_index - window->first_index);

    at -= at >= window->slot_count_max ? window->slot_count_max : 0;
    for (raft_index left = end_index - first_index; left > 0; left--) {
        ASSERT_VALUES(window->slots[at].term == term, window->slots[at].term, term);
        at = at + 1 == window->slot_count_max ? 0 : at + 1;
    }
}

/* Both are walked once, run by run: the window may hold many thousands of entries. */
static void check_window(const struct raft *raft)
{
    const struct raft_trail *trail = &raft->trail;
    const struct raft_window *window = &raft->window;
    raft_index window_end = window->first_index + window->count;

    /* 7. Window and trail tell the same term. */
    if (trail->base_index >= window->first_index && trail->base_index < window_end) {
        check_run(window, trail->base_index, trail->base_index + 1, trail->base_term);
    }
    for (uint32_t run = 0; run < trail->count; run++) {
        raft_index first = trail->runs[run].first_index;
        raft_index end = run + 1 < trail->count ? trail->runs[run + 1].first_index : window_end;

        first = first > window->first_index ? first : window->first_index;
        first += first == trail->base_index ? 1 : 0; /* Its term is the one above. */
        end = end < window_end ? end : window_end;
        if (first < end) {
            check_run(window, first, end, trail->runs[run].term);
        }
    }
}

static void check_units(const struct raft *raft)
{
    /* 8. Units become durable in order, and none that was never handed out. */
    ASSERT_VALUES(raft->persisted_unit <= raft->tag.unit, raft->persisted_unit, raft->tag.unit);
    ASSERT_VALUES(raft->hard_state_unit <= raft->tag.unit, raft->hard_state_unit, raft->tag.unit);
    ASSERT_VALUES(raft->tag.epoch <= raft->epoch, raft->tag.epoch, raft->epoch);
}

static uint32_t places_with(const struct raft *raft, uint8_t part)
{
    uint32_t mask = 0;

    for (uint32_t i = 0; i < raft->configuration.member_count; i++) {
        const struct raft_member *member = &raft->configuration.members[i];
        uint32_t at = raft_place_find(raft, member->id);
        ASSERT_VALUES(at != RAFT_NOWHERE, member->id, at);
        mask |= (member->parts & part) != 0 ? 1U << at : 0;
    }
    return mask;
}

static void check_members(const struct raft *raft)
{
    const struct raft_configuration *newest = &raft->configuration;
    const struct raft_configuration *before = &raft->configuration_before;

    /* 20. Everybody has one place; ours is the first. */
    ASSERT(raft->ids[RAFT_SELF] == raft->options.self);
    for (uint32_t at = 0; at < RAFT_PLACE_COUNT; at++) {
        raft_id id = raft->ids[at];
        ASSERT_VALUES(id == 0 || raft_place_find(raft, id) == at, id, at);
    }
    /* 21. The sets that are counted are those of the newest configuration. */
    ASSERT(raft->quorum.voters == places_with(raft, RAFT_PART_VOTER));
    ASSERT(raft->quorum.outgoing == places_with(raft, RAFT_PART_OUTGOING));
    ASSERT(raft->learners == places_with(raft, RAFT_PART_LEARNER));
    ASSERT(raft->members == (raft_voters(raft) | raft->learners));
    ASSERT((raft_voters(raft) & raft->learners) == 0);
    /* 22. The newest configuration is in the log or before it, and so is the one before. */
    ASSERT_VALUES(newest->index <= raft_last_index(raft), newest->index, raft_last_index(raft));
    ASSERT_VALUES(before->index <= newest->index, before->index, newest->index);
    ASSERT(raft_configuration_is_valid(newest) && raft_configuration_is_valid(before));
    /* 23. Only a leader sees anybody off, and never a member. */
    ASSERT((raft->departing & (raft->members | 1U << RAFT_SELF)) == 0);
    ASSERT(raft->departing == 0 || raft->role == RAFT_LEADER);
}

static void check_change(const struct raft *raft)
{
    /* 24. A leader that has committed in its term has at most one configuration that it has not. */
    if (raft_leader_is_ready(raft)) {
        ASSERT_VALUES(raft->configuration_before.index <= raft->commit_index,
                      raft->configuration_before.index, raft->commit_index);
    }
    /* 25. Leadership is handed to a voter, and nothing rests on promises once that is ordered. */
    if (raft->transfer_target != 0) {
        uint32_t at = raft_place_find(raft, raft->transfer_target);
        ASSERT(at != RAFT_NOWHERE && at != RAFT_SELF);
        ASSERT((raft->quorum.voters >> at & 1) != 0);
        ASSERT(!raft->transfer_is_sent || raft->lease_is_given_up);
    }
    ASSERT(!raft->lease_is_given_up || raft_lease_until(raft) == 0);
}

static void check_candidate(const struct raft *raft)
{
    /* 26. Only voters campaign, and those whose removal is not committed. */
    ASSERT(raft_self_may_lead(raft));
    /* 10. A candidate has voted for itself, and counts that vote once it is durable. */
    ASSERT(raft->leader == 0);
    ASSERT_VALUES(raft->vote == raft->options.self, raft->vote, raft->options.self);
    if ((raft->votes >> RAFT_SELF & 1) != 0) {
        ASSERT(raft_hard_state_is_durable(raft));
    }
}

static void check_leader(const struct raft *raft)
{
    /* 11. A leader's term and own vote are durable; it leads itself. */
    ASSERT(raft->leader == raft->options.self);
    ASSERT_VALUES(raft->vote == raft->options.self, raft->vote, raft->options.self);
    ASSERT(raft_hard_state_is_durable(raft));
    /* 12. Its log ends in its own term unless the no-op is still owed. */
    if (!raft->noop_is_owed) {
        ASSERT_VALUES(raft_last_term(raft) == raft->term, raft_last_term(raft), raft->term);
    }
}

static void check_role(const struct raft *raft)
{
    switch (raft->role) {
    case RAFT_FOLLOWER:
        ASSERT(raft->leader != raft->options.self);
        break;
    case RAFT_PRE_CANDIDATE:
        /* 9. A pre-candidate has no leader. */
        ASSERT(raft->leader == 0);
        ASSERT(raft_self_may_lead(raft));
        break;
    case RAFT_CANDIDATE:
        check_candidate(raft);
        break;
    case RAFT_LEADER:
        check_leader(raft);
        check_change(raft);
        return;
    }
    /* 13. Only leaders have reads under way. */
    ASSERT(raft->read_count == raft->read_ready_count);
    /* 14. What a follower has validated in this term is in its log. */
    ASSERT_VALUES(raft->validated_index <= raft_last_index(raft), raft->validated_index,
                  raft_last_index(raft));
}

static uint32_t flight_count_max(const struct raft *raft, enum raft_progress_state state)
{
    switch (state) {
    case RAFT_PROBE:
        return 1;
    case RAFT_REPLICATE:
        return raft->options.inflight_count_max;
    case RAFT_SNAPSHOT:
        return 0;
    }
    UNREACHABLE();
}

static void check_progress(const struct raft *raft, const struct raft_progress *progress)
{
    /* 15. match < next <= last + 1. */
    ASSERT_VALUES(progress->match_index < progress->next_index, progress->match_index,
                  progress->next_index);
    ASSERT_VALUES(progress->next_index <= raft_last_index(raft) + 1, progress->next_index,
                  raft_last_index(raft));
    /* 16. One probe at a time; a stream within its limit; nothing to one that waits for a snapshot,
     * which the base covers. */
    ASSERT(progress->flight_count <= flight_count_max(raft, progress->state));
    if (progress->state == RAFT_SNAPSHOT) {
        ASSERT_VALUES(progress->snapshot_index <= raft->trail.base_index, progress->snapshot_index,
                      raft->trail.base_index);
    }
    /* 17. What is in flight is a gapless run that ends before the next entry. */
    for (uint32_t i = 0; i < progress->flight_count; i++) {
        const struct raft_flight *flight = &progress->flights[i];
        raft_index end =
            i + 1 < progress->flight_count ? flight[1].previous_index : progress->next_index - 1;
        ASSERT_VALUES(flight->last_index == end, flight->last_index, end);
        ASSERT(flight->request <= raft->request);
    }
    /* 18. No follower has answered a round that was never begun. */
    ASSERT_VALUES(progress->round <= raft->round, progress->round, raft->round);
}

static void check_reads(const struct raft *raft)
{
    uint64_t round = 0;

    /* 19. Reads are in the order of their rounds: those that are ready first, those without a
     * round last. */
    ASSERT(raft->read_ready_count <= raft->read_count);
    ASSERT(raft->read_count <= raft->options.read_count_max);
    for (uint32_t i = 0; i < raft->read_count; i++) {
        uint32_t at = (raft->read_first + i) % raft->options.read_count_max;
        const struct raft_read_request *read = &raft->reads[at];
        ASSERT(read->is_ready == (i < raft->read_ready_count));
        if (!read->is_ready) {
            uint64_t order = read->round == 0 ? UINT64_MAX : read->round;
            ASSERT_VALUES(order >= round, order, round);
            round = order;
        }
    }
}

void raft_check(const struct raft *raft)
{
    check_indexes(raft);
    check_terms(raft);
    check_window(raft);
    check_units(raft);
    check_members(raft);
    check_role(raft);
    check_reads(raft);
    if (raft->role == RAFT_LEADER) {
        for (uint32_t at = RAFT_SELF + 1; at < RAFT_PLACE_COUNT; at++) {
            if ((raft_followers(raft) >> at & 1) != 0) {
                check_progress(raft, &raft->peers[at].progress);
            }
        }
    }
}
