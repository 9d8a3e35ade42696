/* raft/status.c: what others may know of a member. */
#include "base/assert.h"
#include "raft/internal.h"

const char *raft_role_name(enum raft_role role)
{
    switch (role) {
    case RAFT_FOLLOWER:
        return "follower";
    case RAFT_PRE_CANDIDATE:
        return "pre-candidate";
    case RAFT_CANDIDATE:
        return "candidate";
    case RAFT_LEADER:
        return "leader";
    }
    UNREACHABLE();
}

struct raft_status raft_status(const struct raft *raft)
{
    bool is_leader = raft->role == RAFT_LEADER;

    return (struct raft_status){
        .role = raft->role,
        .term = raft->term,
        .leader = raft->leader,
        .leader_is_ready = raft_leader_is_ready(raft),
        .last_index = raft_last_index(raft),
        .durable_index = raft->durable_index,
        .commit_index = raft->commit_index,
        .window_first_index = raft->window.first_index,
        .uncommitted_bytes = raft_window_bytes_after(&raft->window, raft->commit_index),
        .quorum_contact_ms = is_leader ? raft_quorum_contact(raft) : 0,
        .lease_ms = is_leader ? raft_lease_until(raft) : 0,
        .base_index = raft->trail.base_index,
        .configuration_index = raft->configuration.index,
        .configuration_is_committed = raft_configuration_is_committed(raft),
        .is_voter = raft_self_is_voter(raft),
        .is_removed = raft->was_member && raft_configuration_is_committed(raft) &&
                      (raft->members >> RAFT_SELF & 1) == 0,
        .transfer_target = raft->transfer_target,
        .disk_is_stalled = raft->disk_is_stalled,
    };
}

raft_index raft_match_index(const struct raft *raft, raft_id peer)
{
    uint32_t at = peer == 0 ? RAFT_NOWHERE : raft_place_find(raft, peer);

    if (raft->role != RAFT_LEADER || at == RAFT_NOWHERE ||
        ((raft_followers(raft) | 1U << RAFT_SELF) >> at & 1) == 0) {
        return 0;
    }
    return at == RAFT_SELF ? raft->durable_index : raft->peers[at].progress.match_index;
}
