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
    };
}

raft_index raft_match_index(const struct raft *raft, raft_id peer)
{
    uint32_t at = raft_members_find(&raft->members, peer);

    if (raft->role != RAFT_LEADER || at == RAFT_NOT_A_MEMBER) {
        return 0;
    }
    return at == raft->self_at ? raft->durable_index : raft->peers[at].progress.match_index;
}
