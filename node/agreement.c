/* node/agreement.c: are the states of the members equal where they must be?
 *
 * Every node hashes its state at the same few indexes and tells the leader. Where the hashes
 * differ, most voters decide: a node that has something else than they have discards its state,
 * ends, and begins anew from another's. Without a majority on either side nobody is to be believed,
 * and it is only told. */
#include "base/assert.h"
#include "node/internal.h"

/* --- Marks ------------------------------------------------------------------------------------ */

static const struct state_mark *own_mark(const struct node *node, raft_index index)
{
    uint64_t number = index / node->options.state_mark_interval;
    const struct state_mark *mark = &node->agreement.own[number % STATE_MARK_COUNT];

    return index != 0 && mark->index == index ? mark : NULL;
}

static void send_mark(struct node *node, raft_id target, const struct state_mark *mark)
{
    struct buffer body = buffer_of(node->scratch, WIRE_FRAME_SIZE_MAX);
    const struct wire_peer_state state = {
        .term = node->status.term, .index = mark->index, .hash = mark->hash};
    bool fits = wire_peer_state_encode(&state, &body);

    ASSERT_VALUES(fits, body.size, body.capacity);
    peers_send_body(node, target, WIRE_FRAME_STATE, buffer_bytes(&body));
}

/* --- Judging ---------------------------------------------------------------------------------- */

/* The snapshots were made of that state, or may have been; without them and the table opening has
 * to turn to the log's first entry, or to another node. */
static void discard_state(struct node *node, raft_index index)
{
    struct line line;

    line_begin(&line, "state_differs");
    line_add_u64(&line, "index", index);
    line_add(&line, "text", "most members have another state there: this one is discarded");
    line_write(node, WORLD_ERROR, &line);
    snapshots_discard(node->snapshots);
    node_retire(node, "it differs from what most members have", "the state",
                "it is discarded: start again, and it is fetched from another node; look at disk "
                "and memory of this machine");
}

static void log_undecided(struct node *node, raft_index index)
{
    struct line line;

    line_begin(&line, "states_differ");
    line_add_u64(&line, "index", index);
    line_add(&line, "text", "and there is no majority for either: compare `holdfast status`");
    line_write_limited(node, WORLD_ERROR, &line, &node->snapshot_lines);
}

/* Voters that have `hash` at `index`, ourselves included. */
static uint32_t count_voters(const struct node *node, raft_index index, uint64_t hash)
{
    const struct raft_configuration *present = raft_configuration(node->raft);
    uint32_t count = 0;

    for (uint32_t i = 0; i < present->member_count; i++) {
        const struct raft_member *member = &present->members[i];
        const struct state_mark *mark =
            member->id == node->identity.self ? own_mark(node, index) : NULL;
        uint32_t place = mark == NULL ? place_of_id(node, member->id) : NO_PEER;

        if (place != NO_PEER && node->agreement.ids[place] == member->id) {
            mark = &node->agreement.peers[place];
        }
        count += (member->parts & RAFT_PART_VOTER) != 0 && mark != NULL && mark->index == index &&
                         mark->hash == hash
                     ? 1
                     : 0;
    }
    return count;
}

static bool is_majority(const struct node *node, uint32_t count)
{
    const struct raft_configuration *present = raft_configuration(node->raft);
    uint32_t voter_count = 0;

    for (uint32_t i = 0; i < present->member_count; i++) {
        voter_count += (present->members[i].parts & RAFT_PART_VOTER) != 0 ? 1 : 0;
    }
    return count > voter_count / 2;
}

/* As leader: what that peer has, against what we and the others have. */
static void judge(struct node *node, uint32_t place)
{
    const struct state_mark *theirs = &node->agreement.peers[place];
    const struct state_mark *ours = own_mark(node, theirs->index);

    if (ours == NULL || ours->hash == theirs->hash) {
        return;
    }
    if (is_majority(node, count_voters(node, ours->index, theirs->hash))) {
        discard_state(node, ours->index);
    } else if (is_majority(node, count_voters(node, ours->index, ours->hash))) {
        send_mark(node, node->agreement.ids[place], ours);
    } else {
        log_undecided(node, ours->index);
    }
}

static void judge_all(struct node *node)
{
    for (uint32_t i = 0; i < NODE_PEER_COUNT_MAX && node_leads(node); i++) {
        judge(node, i);
    }
}

/* --- What comes ------------------------------------------------------------------------------- */

void agreement_applied(struct node *node, raft_index index)
{
    uint64_t interval = node->options.state_mark_interval;
    struct state_mark *mark = &node->agreement.own[index / interval % STATE_MARK_COUNT];

    if (index % interval != 0) {
        return;
    }
    *mark = (struct state_mark){.index = index, .hash = machine_hash(node->machine)};
    if (node_table_has_failed(node)) {
        return;
    }
    if (node_leads(node)) {
        judge_all(node);
    } else if (node->status.leader != 0) {
        send_mark(node, node->status.leader, mark);
    }
}

bool agreement_take(struct node *node, const struct wire_frame *frame)
{
    struct wire_peer_state state;
    struct bytes body = frame->body;

    if (wire_peer_state_decode(&body, &state) != ERR_OK) {
        return false;
    }
    uint32_t place = frame->source == 0 ? NO_PEER : place_of_id(node, frame->source);

    if (node_state_is_away(node) || node->is_stopping || place == NO_PEER ||
        state.term != node->status.term) {
        return true;
    }
    const struct state_mark said = {.index = state.index, .hash = state.hash};

    if (node_leads(node)) {
        node->agreement.peers[place] = said;
        node->agreement.ids[place] = frame->source;
        judge_all(node);
    } else if (node->status.leader == frame->source) {
        const struct state_mark *ours = own_mark(node, said.index);

        if (ours != NULL && ours->hash != said.hash) {
            discard_state(node, said.index);
        }
    }
    return true;
}
