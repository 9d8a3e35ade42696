/* raft/transfer.c: handing leadership over before a stop (dissertation 3.10).
 *
 * A leader that resigns takes no more proposals, waits until its best follower has everything (at
 * most one election timeout), tells it to campaign at once, and steps down. */
#include "base/assert.h"
#include "raft/internal.h"

void raft_resign(struct raft *raft, uint64_t now_ms)
{
    raft_time_set(raft, now_ms);
    if (!raft->is_resigning) {
        raft->is_resigning = true;
        raft->resign_ms = now_ms + raft->options.election_ms_max;
    }
}

/* The follower with the longest match; of equals, the one heard last. */
static uint32_t find_best(const struct raft *raft)
{
    uint32_t best = RAFT_NOT_A_MEMBER;

    for (uint32_t at = 0; at < raft->members.count; at++) {
        const struct raft_progress *progress = &raft->peers[at].progress;
        if (at == raft->self_at) {
            continue;
        }
        if (best == RAFT_NOT_A_MEMBER) {
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

void raft_transfer_step(struct raft *raft)
{
    ASSERT(raft->role == RAFT_LEADER);
    if (!raft->is_resigning) {
        return;
    }
    uint32_t best = find_best(raft);
    raft_index last_index = raft_last_index(raft);
    bool is_alone = best == RAFT_NOT_A_MEMBER;

    /* What is committed before we step down has a known outcome for its client. */
    bool is_settled = raft->commit_index == last_index &&
                      (is_alone || raft->peers[best].progress.match_index == last_index);
    if (!is_settled && raft->now_ms < raft->resign_ms) {
        return;
    }
    if (!is_alone) {
        raft_letter_put(raft, best, RAFT_LETTER_TIMEOUT_NOW, RAFT_TIMEOUT_NOW);
    }
    raft_election_follow(raft, raft->term, 0);
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
