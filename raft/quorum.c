/* raft/quorum.c: majorities over sets of places.
 *
 * Everything that counts voters asks here: elections, commits, reads, promises, check-quorum. A
 * joint configuration needs a majority of each of its two sets (dissertation 4.3). */
#include "base/assert.h"
#include "raft/internal.h"

static uint32_t count_bits(uint32_t mask)
{
    uint32_t count = 0;

    for (; mask != 0; mask &= mask - 1) {
        count += 1;
    }
    return count;
}

static bool has_majority(uint32_t set, uint32_t mask)
{
    return 2 * count_bits(set & mask) > count_bits(set);
}

bool raft_quorum_reached(const struct raft_quorum *quorum, uint32_t mask)
{
    return has_majority(quorum->voters, mask) &&
           (quorum->outgoing == 0 || has_majority(quorum->outgoing, mask));
}

/* With nine values at most, sorting by insertion is as good as anything. */
static uint64_t value_of(uint32_t set, const uint64_t values[RAFT_PLACE_COUNT])
{
    uint64_t sorted[RAFT_PLACE_COUNT]; /* The largest first. */
    uint32_t count = 0;

    for (uint32_t at = raft_place_next(set, 0); at < RAFT_PLACE_COUNT;
         at = raft_place_next(set, at + 1)) {
        uint32_t to = count;
        for (; to > 0 && sorted[to - 1] < values[at]; to--) {
            sorted[to] = sorted[to - 1];
        }
        sorted[to] = values[at];
        count += 1;
    }
    ASSERT(count < RAFT_PLACE_COUNT);
    return count == 0 ? 0 : sorted[count / 2];
}

uint64_t raft_quorum_value(const struct raft_quorum *quorum,
                           const uint64_t values[RAFT_PLACE_COUNT])
{
    uint64_t value = value_of(quorum->voters, values);

    if (quorum->outgoing != 0) {
        uint64_t other = value_of(quorum->outgoing, values);
        value = other < value ? other : value;
    }
    return value;
}
