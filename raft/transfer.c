/* raft/transfer.c: handing leadership over (dissertation 3.10).
 *
 * A leader takes no more proposals, waits until the other has everything, and tells it to campaign
 * at once. In a transfer it stays leader, and goes on after an election timeout. A leader that
 * leaves, because it stops, was removed or has a disk that hangs, then steps down. */
#include "base/assert.h"
#include "raft/internal.h"

static void begin_leaving(struct raft *raft)
{
    if (raft->role == RAFT_LEADER && raft->leave_ms == 0) {
        raft->leave_ms = raft->now_ms + raft->options.election_ms_max;
    }
}

void raft_resign(struct raft *raft, uint64_t now_ms)
{
    raft_time_set(raft, now_ms);
    raft->is_resigning = true;
    begin_leaving(raft);
}

static bool has_other_voters(const struct raft *raft)
{
    return (raft->quorum.voters & ~(1U << RAFT_SELF)) != 0;
}

/* Where nothing is under way the disk owes us nothing, and no completion would ever end this. */
void raft_disk_stalled(struct raft *raft, uint64_t now_ms)
{
    raft_time_set(raft, now_ms);
    if (raft->persisted_unit == raft->tag.unit) {
        return;
    }
    raft->disk_is_stalled = true;
    if (has_other_voters(raft)) {
        begin_leaving(raft);
    }
}

enum raft_verdict raft_transfer(struct raft *raft, raft_id target, uint64_t now_ms)
{
    raft_time_set(raft, now_ms);
    if (raft->role != RAFT_LEADER) {
        return RAFT_REFUSED_NOT_LEADER;
    }
    if (raft->is_resigning || raft_is_handing_over(raft)) {
        return RAFT_REFUSED_STOPPING;
    }
    if (target == raft->options.self) {
        return RAFT_REFUSED_PRESENT;
    }
    uint32_t at = target == 0 ? RAFT_NOWHERE : raft_place_find(raft, target);
    if (at == RAFT_NOWHERE || (raft->quorum.voters >> at & 1) == 0) {
        return RAFT_REFUSED_UNKNOWN;
    }
    raft->transfer_target = target;
    raft->transfer_ms = now_ms + raft->options.election_ms_max;
    raft->transfer_is_sent = false;
    return RAFT_ACCEPTED;
}

bool raft_is_handing_over(const struct raft *raft)
{
    return raft->transfer_target != 0 || raft->leave_ms != 0;
}

/* The voter with the longest match; of equals, the one heard last. */
static uint32_t find_best(const struct raft *raft)
{
    uint32_t best = RAFT_NOWHERE;

    for (uint32_t at = RAFT_SELF + 1; at < RAFT_PLACE_COUNT; at++) {
        const struct raft_progress *progress = &raft->peers[at].progress;
        if ((raft->quorum.voters >> at & 1) == 0) {
            continue;
        }
        if (best == RAFT_NOWHERE) {
            best = at;
            continue;
        }
        const struct raft_progress *other = &raft->peers[best].progress;
        if (progress->match_index > other->match_index ||
            (progress->match_index == other->match_index &&
             progress->contact_ms > other->contact_ms)) {
            best = at;
        }
    }
    return best;
}

/* Does this follower have everything, and is all of it committed? What is committed before we step
 * down has a known outcome for its client. */
static bool is_settled(const struct raft *raft, uint32_t at)
{
    raft_index last_index = raft_last_index(raft);

    return raft->commit_index == last_index &&
           (at == RAFT_NOWHERE || raft->peers[at].progress.match_index == last_index);
}

/* The order may arrive late, and whoever gets it passes over promises. So nothing may rest on them
 * in this term any more. */
static void order_campaign(struct raft *raft, uint32_t at)
{
    (void)raft_letter_put(raft, at, RAFT_LETTER_TIMEOUT_NOW, RAFT_TIMEOUT_NOW);
    raft->lease_is_given_up = true;
}

static bool must_leave(const struct raft *raft)
{
    bool is_removed = !raft_self_is_voter(raft) && raft_configuration_is_committed(raft);

    return raft->is_resigning || is_removed || (raft->disk_is_stalled && has_other_voters(raft));
}

static void leave(struct raft *raft)
{
    uint32_t best = find_best(raft);

    begin_leaving(raft);
    raft->transfer_target = 0; /* Whoever is best now. */
    if (!is_settled(raft, best) && raft->now_ms < raft->leave_ms) {
        return;
    }
    if (best != RAFT_NOWHERE) {
        order_campaign(raft, best);
    }
    raft_election_follow(raft, raft->term, 0);
}

static void transfer(struct raft *raft)
{
    uint32_t at = raft_place_find(raft, raft->transfer_target);

    ASSERT(at != RAFT_NOWHERE); /* No change of members begins meanwhile. */
    if (raft->now_ms >= raft->transfer_ms) {
        raft->transfer_target = 0;
    } else if (!raft->transfer_is_sent && is_settled(raft, at)) {
        order_campaign(raft, at);
        raft->transfer_is_sent = true;
    }
}

void raft_transfer_step(struct raft *raft)
{
    ASSERT(raft->role == RAFT_LEADER);
    if (must_leave(raft)) {
        leave(raft);
        return;
    }
    raft->leave_ms = 0; /* The disk came back. */
    if (raft->transfer_target != 0) {
        transfer(raft);
    }
}

/* From our leader, so no pre-vote is needed and no stickiness applies. */
void raft_timeout_now_receive(struct raft *raft, const struct raft_message *message)
{
    bool is_from_leader = raft->role == RAFT_FOLLOWER && message->term == raft->term &&
                          raft->leader == message->source;

    if (is_from_leader) {
        raft_election_campaign(raft, true);
    }
}
