/* tests/sim/frames.c: the laws of what nodes say to each other. */
#include <string.h>

#include "base/assert.h"
#include "node/internal.h"
#include "raft/internal.h"
#include "tests/sim/sim.h"
#include "wire/frame.h"

enum { MANY_COUNT = 20, LARGE_SIZE = 64 << 10, SHARING_COUNT = 16 };

static void check_vote(struct sim *sim, struct sim_node *node, uint64_t term, uint64_t voter,
                       uint64_t id)
{
    SIM_CHECK(sim, one_vote_in_a_term,
              term > node->vote_term || (term == node->vote_term && id == node->vote_for), term,
              id);
    if (term > node->vote_term) {
        sim->checks.ballots[sim->checks.ballot_count++ % SIM_BALLOT_COUNT] =
            (struct sim_ballot){.term = term, .voter = voter, .candidate = id};
    }
    node->vote_term = term;
    node->vote_for = id;
}

static void check_vote_reply(struct sim *sim, uint32_t source, const struct raft_message *message)
{
    struct sim_node *node = &sim->checks.nodes[source];

    if (!message->vote_reply.granted) {
        if (message->vote_reply.pre) {
            SOMETIMES(sim, pre_vote_refused);
        } else {
            SOMETIMES(sim, vote_refused);
        }
        return;
    }
    if (!message->vote_reply.pre) {
        check_vote(sim, node, message->vote_reply.request_term, message->source, message->target);
        if (node->leader_until_ms != 0 && sim->cluster->now_ms < node->leader_until_ms + 2000) {
            SOMETIMES(sim, vote_granted_by_deposed_leader);
        }
    }
}

static void check_append_reply(struct sim *sim, uint32_t source, const struct raft_message *message)
{
    const struct node *node = sim->cluster->worlds[source].node;
    const struct raft *raft = node->raft;
    /* The disk is ahead of what raft was told where two tickets share a slot (node/held.c). */
    bool raft_is_told = node->held.staged_head == node->held.staged_tail;

    if (!message->append_reply.success) {
        SOMETIMES(sim, append_refused);
        return;
    }
    /* One of an older term had waited for the disk while a new leader cut off what it names. It is
     * as good as one that was long on its way: whoever had those entries has not voted against
     * them. */
    SIM_CHECK(sim, acknowledged_is_durable,
              message->append_reply.match_index <= raft->durable_index ||
                  message->term < raft->term ||
                  ((int)STAGED_COUNT_MAX < (int)SHARING_COUNT && !raft_is_told),
              message->append_reply.match_index, raft->durable_index);
}

/* --- Votes that come again ----------------------------------------------------------------------
 */

static void keep_vote(struct sim *sim, uint32_t source, uint32_t target, uint64_t term,
                      struct bytes frame)
{
    struct sim_vote *vote = &sim->checks.votes[source][target];

    ASSERT_VALUES(frame.size <= SIM_VOTE_SIZE_MAX, frame.size, source);
    vote->term = term;
    vote->size = frame.size;
    memcpy(vote->bytes, frame.data, frame.size);
}

/* The candidate asks `voter`. What that one said in an earlier term comes first. */
static void repeat_vote(struct sim *sim, uint32_t candidate, uint32_t voter, uint64_t term)
{
    const struct sim_vote *vote = &sim->checks.votes[voter][candidate];

    if (sim->plan->knobs.repeats_votes && sim->phase == SIM_PHASE_FAULTS && vote->term != 0 &&
        vote->term < term) {
        fake_network_repeat(sim->cluster, voter, candidate, WORLD_LANE_FAST,
                            bytes_of(vote->bytes, vote->size));
        SOMETIMES(sim, vote_repeated);
    }
}

/* --- Snapshots ----------------------------------------------------------------------------------
 */

void sim_transfers_break(struct sim *sim, uint32_t place, uint32_t other)
{
    for (uint32_t i = 0; i < sim->cluster->node_count; i++) {
        struct sim_transfer *transfer = &sim->transfers[i];
        bool is_of_place = i == place || transfer->source == place;

        if (is_of_place && (place == other || i == other || transfer->source == other)) {
            transfer->was_broken = true;
        }
    }
}

/* Who takes a snapshot says where it is. */
static void note_transfer(struct sim *sim, uint32_t place, uint32_t source, struct bytes body)
{
    struct sim_transfer *transfer = &sim->transfers[place];
    struct wire_peer_snapshot_reply reply;
    enum error error = wire_peer_snapshot_reply_decode(&body, &reply);

    SIM_CHECK(sim, frames_are_valid, error == ERR_OK, error, place);
    if (reply.state != WIRE_SNAPSHOT_TAKEN && reply.state != WIRE_SNAPSHOT_REWIND) {
        return;
    }
    if (reply.state == WIRE_SNAPSHOT_REWIND && reply.offset > 0 && reply.id == transfer->id &&
        (transfer->was_broken || transfer->source != source)) {
        SOMETIMES(sim, transfer_resumed);
    }
    *transfer =
        (struct sim_transfer){.id = reply.id, .source = source, .has_part = reply.offset > 0};
}

/* --- All ----------------------------------------------------------------------------------------
 */

void sim_check_frame(struct sim *sim, uint32_t source, uint32_t target, struct bytes frame)
{
    struct raft_message message;

    sim_trace(sim, (uint64_t)source << 40 ^ (uint64_t)target << 32 ^ load_u32(frame.data + 8));
    if (frame.data[64] == WIRE_FRAME_SNAPSHOT_CHUNK) {
        SOMETIMES(sim, snapshot_sent);
    }
    struct bytes body =
        bytes_of(frame.data + WIRE_FRAME_HEADER_SIZE, frame.size - WIRE_FRAME_HEADER_SIZE);

    if (frame.data[64] == WIRE_FRAME_SNAPSHOT_REPLY) {
        note_transfer(sim, source, target, body);
    }
    if (frame.data[64] != WIRE_FRAME_RAFT) {
        return;
    }
    enum error error = wire_raft_decode(body, &message);

    SIM_CHECK(sim, frames_are_valid, error == ERR_OK, error, source);
    SIM_CHECK(sim, a_restoring_node_takes_no_part,
              !sim->cluster->worlds[source].node->restoration.is_on ||
                  !(message.kind == RAFT_VOTE_REQUEST ||
                    (message.kind == RAFT_VOTE_REPLY && message.vote_reply.granted) ||
                    (message.kind == RAFT_APPEND_REPLY && message.append_reply.success)),
              source, message.kind);
    if (message.kind == RAFT_VOTE_REPLY) {
        check_vote_reply(sim, source, &message);
        if (message.vote_reply.granted && !message.vote_reply.pre) {
            keep_vote(sim, source, target, message.vote_reply.request_term, frame);
        }
    } else if (message.kind == RAFT_VOTE_REQUEST && !message.vote_request.pre) {
        check_vote(sim, &sim->checks.nodes[source], message.term, message.source, message.source);
        repeat_vote(sim, source, target, message.term);
    } else if (message.kind == RAFT_APPEND_REPLY) {
        check_append_reply(sim, source, &message);
    } else if (message.kind == RAFT_APPEND) {
        if (message.append.entry_count >= MANY_COUNT) {
            SOMETIMES(sim, append_of_many_entries);
        }
        if (message.append.first.size + message.append.second.size >= LARGE_SIZE) {
            SOMETIMES(sim, append_of_large_bytes);
        }
    }
}
