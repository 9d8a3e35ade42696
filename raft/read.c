/* raft/read.c: linearizable reads without the log (ReadIndex, dissertation 6.4).
 *
 * A read that was asked for is served at the commit index of that moment, once a majority has
 * answered a heartbeat that was sent after it was asked: then no other leader can have committed
 * anything newer before. All reads of a turn share a round; rounds are numbered by the leader, so
 * that an old answer cannot confirm a new read. A new leader knows the commit index only when an
 * entry of its own term is committed, and reads wait for that. */
#include "base/assert.h"
#include "raft/internal.h"

static struct raft_read_request *read_at(struct raft *raft, uint32_t position)
{
    ASSERT(position < raft->read_count);
    return &raft->reads[(raft->read_first + position) % raft->options.read_count_max];
}

enum error raft_read(struct raft *raft, uint64_t id, uint64_t now_ms)
{
    raft_time_set(raft, now_ms);
    if (raft->role != RAFT_LEADER) {
        return ERR_NOT_LEADER;
    }
    if (raft->read_count == raft->options.read_count_max) {
        return ERR_OVERLOADED;
    }
    raft->read_count += 1;
    *read_at(raft, raft->read_count - 1) = (struct raft_read_request){.id = id};
    return ERR_OK;
}

/* Rounds that carry reads and are not confirmed yet. */
static uint32_t count_rounds(struct raft *raft)
{
    uint32_t count = 0;
    uint64_t round = 0;

    for (uint32_t i = raft->read_ready_count; i < raft->read_count; i++) {
        const struct raft_read_request *read = read_at(raft, i);
        if (read->round == 0) {
            break;
        }
        count += read->round != round;
        round = read->round;
    }
    return count;
}

/* A majority, we among it, votes for nobody else before this; so nobody else can lead, and our
 * commit index is the newest there is (dissertation 6.4.1). */
uint64_t raft_lease_until(const struct raft *raft)
{
    uint32_t voters = raft_voters(raft);
    uint64_t values[RAFT_PLACE_COUNT]; /* Of voters; nobody looks at others. */

    if (raft->options.promise_ms == 0 || raft->lease_is_given_up || !raft_leader_is_ready(raft)) {
        return 0;
    }
    for (uint32_t at = raft_place_next(voters, 0); at < RAFT_PLACE_COUNT;
         at = raft_place_next(voters, at + 1)) {
        values[at] = at == RAFT_SELF ? UINT64_MAX : raft->peers[at].lease_ms;
    }
    return raft_quorum_value(&raft->quorum, values);
}

void raft_doubt_promises(struct raft *raft, uint64_t now_ms)
{
    raft_time_set(raft, now_ms);
    raft->promises_since_ms = now_ms;
    for (uint32_t at = 0; at < RAFT_PLACE_COUNT; at++) {
        raft->peers[at].lease_ms = 0;
    }
}

/* All reads that wait are as good as answered by a majority now. */
static void confirm_by_lease(struct raft *raft)
{
    for (; raft->read_ready_count < raft->read_count; raft->read_ready_count++) {
        struct raft_read_request *read = read_at(raft, raft->read_ready_count);
        read->index = read->round == 0 ? raft->commit_index : read->index;
        read->is_ready = true;
        read->by_promises = true;
        read->error = ERR_OK;
    }
}

/* A heartbeat that is owed and has not left yet serves as the round of reads asked meanwhile. */
void raft_read_begin_round(struct raft *raft)
{
    ASSERT(raft->role == RAFT_LEADER);
    if (raft->read_count == raft->read_ready_count) {
        return;
    }
    if (raft->now_ms < raft_lease_until(raft)) {
        confirm_by_lease(raft);
        return;
    }
    if (read_at(raft, raft->read_count - 1)->round != 0 || !raft_leader_is_ready(raft)) {
        return;
    }
    if (!raft->round_is_owed) {
        if (count_rounds(raft) >= RAFT_READ_ROUND_COUNT_MAX) {
            return;
        }
        raft_lead_heartbeat(raft);
    }
    for (uint32_t i = raft->read_count; i > raft->read_ready_count; i--) {
        struct raft_read_request *read = read_at(raft, i - 1);
        if (read->round != 0) {
            break;
        }
        read->round = raft->round;
        read->index = raft->commit_index;
    }
    raft_read_confirm(raft); /* Where we are the only member, that is all. */
}

void raft_read_confirm(struct raft *raft)
{
    uint32_t voters = raft_voters(raft);
    uint64_t values[RAFT_PLACE_COUNT]; /* Of voters; nobody looks at others. */

    ASSERT(raft->role == RAFT_LEADER);
    for (uint32_t at = raft_place_next(voters, 0); at < RAFT_PLACE_COUNT;
         at = raft_place_next(voters, at + 1)) {
        values[at] = at == RAFT_SELF ? raft->round : raft->peers[at].progress.round;
    }
    uint64_t round = raft_quorum_value(&raft->quorum, values);
    while (raft->read_ready_count < raft->read_count) {
        struct raft_read_request *read = read_at(raft, raft->read_ready_count);
        if (read->round == 0 || read->round > round) {
            break;
        }
        read->is_ready = true;
        read->error = ERR_OK;
        raft->read_ready_count += 1;
    }
}

void raft_read_fail_all(struct raft *raft)
{
    for (; raft->read_ready_count < raft->read_count; raft->read_ready_count++) {
        struct raft_read_request *read = read_at(raft, raft->read_ready_count);
        read->is_ready = true;
        read->error = ERR_NOT_LEADER;
        read->index = 0;
    }
}

uint32_t raft_read_take_ready(struct raft *raft)
{
    uint32_t count = raft->read_ready_count;

    for (uint32_t i = 0; i < count; i++) {
        const struct raft_read_request *read = read_at(raft, i);
        ASSERT(read->is_ready);
        raft->reads_out[i] = (struct raft_read_ready){
            .id = read->id,
            .error = read->error,
            .index = read->index,
            .by_promises = read->by_promises,
        };
    }
    raft->read_first = (raft->read_first + count) % raft->options.read_count_max;
    raft->read_count -= count;
    raft->read_ready_count = 0;
    return count;
}
