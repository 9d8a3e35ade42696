/* raft/quorum.c: majorities over a set of members.
 *
 * Everything that counts voters asks here: elections, commits, reads, check-quorum. */
#include "base/assert.h"
#include "raft/internal.h"

static uint32_t quorum_size(const struct raft_members *members)
{
    ASSERT(members->count > 0);
    return members->count / 2 + 1;
}

uint32_t raft_members_find(const struct raft_members *members, raft_id id)
{
    ASSERT(members->count <= RAFT_MEMBER_COUNT_MAX);
    for (uint32_t i = 0; i < members->count; i++) {
        if (members->ids[i] == id) {
            return i;
        }
    }
    return RAFT_NOT_A_MEMBER;
}

bool raft_quorum_reached(const struct raft_members *members, uint32_t mask)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < members->count; i++) {
        count += mask >> i & 1;
    }
    return count >= quorum_size(members);
}

uint64_t raft_quorum_value(const struct raft_members *members, const uint64_t *values)
{
    uint64_t best = 0;

    /* With at most nine members, counting for each value is as good as sorting. */
    for (uint32_t i = 0; i < members->count; i++) {
        uint32_t mask = 0;
        for (uint32_t j = 0; j < members->count; j++) {
            mask |= (uint32_t)(values[j] >= values[i]) << j;
        }
        if (values[i] > best && raft_quorum_reached(members, mask)) {
            best = values[i];
        }
    }
    return best;
}
