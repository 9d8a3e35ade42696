/* node/installation.c: a follower takes a leader's snapshot, and puts it in the place of its state.
 *
 *   IDLE --received, wanted--> LOADING --the table is loaded--> IDLE: raft, log and machine begin
 *                                                               behind the snapshot
 *
 * The order on the disk: the file is durable before the table is touched, and the table before the
 * log: a node that starts finds either the old log, and loads the snapshot that is ahead of it, or
 * the new one. While the table is loaded nobody reads from it (node_state_is_away()). */
#include "base/assert.h"
#include "node/internal.h"

bool node_state_is_away(const struct node *node)
{
    return node->restoration.is_on || node->installation.is_loading;
}

bool snapshot_base_to_raft(const struct snapshot_base *from, struct raft_base *base)
{
    base->index = from->index;
    base->term = from->term;
    return raft_configuration_decode(from->configuration, &base->configuration) &&
           base->configuration.index <= base->index;
}

/* --- What the leader is told ------------------------------------------------------------------ */

static void reply(struct node *node, raft_id leader, const struct snapshot_file *file,
                  enum wire_snapshot_state state, uint64_t offset)
{
    struct buffer body = buffer_of(node->scratch, WIRE_FRAME_SIZE_MAX);
    const struct wire_peer_snapshot_reply message = {
        .index = file->index, .id = file->id, .state = state, .offset = offset};
    bool fits = wire_peer_snapshot_reply_encode(&message, &body);

    ASSERT_VALUES(fits, body.size, body.capacity);
    peers_send_body(node, leader, WIRE_FRAME_SNAPSHOT_REPLY, buffer_bytes(&body));
}

/* What was under way has ended: the leader need not ask. */
static void reply_end(struct node *node, enum wire_snapshot_state state)
{
    struct installation *installation = &node->installation;

    if (installation->leader != 0) {
        reply(node, installation->leader, &installation->offer, state, 0);
    }
}

/* --- Taking chunks ---------------------------------------------------------------------------- */

/* Does the sender lead, as far as we know? */
static bool heard(struct node *node, raft_term term, raft_id leader)
{
    if (term >= TERM_MAX || leader == 0) {
        return false;
    }
    if (node->restoration.is_on) {
        return restoration_heard(node, term);
    }
    bool is_leader = raft_heard(node->raft, term, leader, node->now_ms);

    node_refresh_status(node);
    return is_leader;
}

static bool is_wanted(const struct node *node, const struct wire_peer_snapshot_offer *offer)
{
    if (node->restoration.is_on) {
        return offer->request == node->restoration.request;
    }
    return raft_wants_snapshot(node->raft, offer->index, offer->index_term);
}

/* There is one at that index, or beyond it: it came before, and we ended before it was installed.
 * Of two that differ at one index the leader's counts. */
static void begin_known(struct node *node, const struct snapshot_file *offer)
{
    const struct snapshot_file *newest = snapshots_newest(node->snapshots);

    ASSERT(newest != NULL && newest->index >= offer->index);
    if (newest->index == offer->index && newest->id != offer->id) {
        snapshots_discard(node->snapshots);
    } else if (!node->restoration.is_on || newest->index == offer->index) {
        installation_begin(node, newest);
    }
}

static enum wire_snapshot_state begin(struct node *node, const struct snapshot_file *file,
                                      uint64_t *offset)
{
    enum error error = snapshots_receive_begin(node->snapshots, file);

    if (error == ERR_STALE) {
        begin_known(node, file);
    }
    if (error == ERR_OK &&
        snapshots_receive_state(node->snapshots, offset) == SNAPSHOT_RECEIVE_TAKING) {
        return WIRE_SNAPSHOT_REWIND;
    }
    return WIRE_SNAPSHOT_BUSY;
}

bool installation_take_offer(struct node *node, const struct wire_frame *frame)
{
    struct wire_peer_snapshot_offer offer;
    struct bytes body = frame->body;
    uint64_t offset = 0;

    if (wire_peer_snapshot_offer_decode(&body, &offer) != ERR_OK || offer.index == 0 ||
        offer.index_term == 0 || offer.index_term > offer.term ||
        offer.size < SNAPSHOT_FILE_SIZE_MIN || offer.size % DISK_ALIGNMENT != 0) {
        return false;
    }
    const struct snapshot_file file = {
        .index = offer.index, .term = offer.index_term, .size = offer.size, .id = offer.id};

    if (node->is_stopping || !heard(node, offer.term, frame->source)) {
        return true;
    }
    if (node->installation.is_loading || node->restoration.is_received) {
        reply(node, frame->source, &file, WIRE_SNAPSHOT_BUSY, 0);
        return true;
    }
    if (!is_wanted(node, &offer)) {
        /* Of another request of ours it is not known what it stands for. */
        if (!node->restoration.is_on) {
            reply(node, frame->source, &file, WIRE_SNAPSHOT_DONE, 0);
        }
        return true;
    }
    enum wire_snapshot_state state = begin(node, &file, &offset);

    node->installation.leader = frame->source;
    node->installation.offer = file;
    reply(node, frame->source, &file, state, offset);
    return true;
}

bool installation_take_chunk(struct node *node, const struct wire_frame *frame)
{
    struct installation *installation = &node->installation;
    struct wire_peer_snapshot_chunk chunk;
    struct bytes body = frame->body;
    uint64_t offset = 0;

    if (wire_peer_snapshot_chunk_decode(&body, &chunk) != ERR_OK) {
        return false;
    }
    if (node->is_stopping || !heard(node, chunk.term, frame->source) ||
        installation->leader != frame->source || installation->offer.index != chunk.index ||
        installation->offer.id != chunk.id ||
        snapshots_receive_state(node->snapshots, &offset) != SNAPSHOT_RECEIVE_TAKING) {
        return true; /* Its leader offers it again. */
    }
    enum error error = snapshots_receive_chunk(node->snapshots, chunk.offset, chunk.bytes);
    enum wire_snapshot_state state =
        error == ERR_OK || chunk.offset < offset ? WIRE_SNAPSHOT_TAKEN : WIRE_SNAPSHOT_REWIND;

    if (error == ERR_OK) {
        node->installation.taken_bytes += chunk.bytes.size;
        offset += chunk.bytes.size;
    }
    reply(node, frame->source, &installation->offer, state, offset);
    return true;
}

void installation_received(struct node *node, const struct snapshot_event *event)
{
    const struct snapshot_file *newest = snapshots_newest(node->snapshots);
    struct line line;

    line_begin(&line,
               event->kind == SNAPSHOT_RECEIVED ? "snapshot_received" : "snapshot_not_received");
    line_add_u64(&line, "index", event->index);
    line_add_u64(&line, "bytes", event->size);
    if (event->kind != SNAPSHOT_RECEIVED) {
        line_add(&line, "reason", error_text(event->error));
    }
    line_write_limited(node, event->kind == SNAPSHOT_RECEIVED ? WORLD_INFO : WORLD_WARNING, &line,
                       &node->snapshot_lines);
    if (event->kind != SNAPSHOT_RECEIVED) {
        reply_end(node, event->error == ERR_CORRUPT ? WIRE_SNAPSHOT_BROKEN : WIRE_SNAPSHOT_BUSY);
        return;
    }
    ASSERT(newest != NULL && newest->index == event->index);
    installation_begin(node, newest);
}

/* --- Installing ------------------------------------------------------------------------------- */

void installation_begin(struct node *node, const struct snapshot_file *file)
{
    struct installation *installation = &node->installation;
    struct snapshot_base base = snapshots_base(node->snapshots, file);

    if (node->restoration.is_on) {
        restoration_received(node, file->index);
        return;
    }
    if (installation->is_loading || node->is_stopping ||
        !raft_wants_snapshot(node->raft, file->index, file->term)) {
        return;
    }
    if (!snapshot_base_to_raft(&base, &installation->base)) {
        node_fail(node, "the members in it are not to be read", "a snapshot",
                  "all nodes must run versions that know each other's snapshots");
        return;
    }
    enum error error = snapshots_load_begin(node->snapshots, file->index);

    if (error != ERR_OK) {
        return; /* The leader offers it again. */
    }
    installation->log_ms = base.log_ms;
    installation->is_loading = true;
    raft_installing(node->raft, true);
    node_refresh_status(node);
}

/* Everything that was remembered of the old state. */
static void forget_state(struct node *node)
{
    machine_reload(node->machine);
    node->committed_index = machine_applied_index(node->machine);
    node->state_hash = (struct state_hash){0};
    node->applier.fetched = (struct bytes){0};
    node->applier.fetched_index = 0;
    node->applier.tick_is_due = false;
    requests_installed(node, node->committed_index);
}

/* Whether raft has kept entries behind the snapshot tells what the log is to do. */
static void begin_log(struct node *node, const struct raft_base *base)
{
    if (node->status.last_index > base->index) {
        return; /* What is in front of it goes in time. */
    }
    node->held.last_ticket = log_restart(node->log, base->index + 1, bytes_of(NULL, 0));
    compaction_log_began(node, base->index);
}

static void log_installed(struct node *node, raft_index index)
{
    struct line line;

    line_begin(&line, "snapshot_installed");
    line_add_u64(&line, "index", index);
    line_add_u64(&line, "last_index", node->status.last_index);
    line_write_limited(node, WORLD_INFO, &line, &node->snapshot_lines);
}

static void install(struct node *node)
{
    struct installation *installation = &node->installation;
    const struct raft_base *base = &installation->base;

    forget_state(node);
    ASSERT_VALUES(node->committed_index == base->index, node->committed_index, base->index);
    raft_installed(node->raft, base, node->now_ms);
    node_refresh_status(node);
    compaction_installed(node, base);
    begin_log(node, base);
    if (node->status.last_index == base->index) {
        cluster_time_appended(&node->time, installation->log_ms);
    }
    node_refresh_room(node);
    log_installed(node, base->index);
    reply_end(node, WIRE_SNAPSHOT_DONE);
}

void installation_loaded(struct node *node, const struct snapshot_event *event)
{
    struct installation *installation = &node->installation;

    if (!installation->is_loading) {
        if (event->kind == SNAPSHOT_LOAD_FAILED) {
            compaction_refused(node, event); /* While opening, which has turned to another. */
        }
        return;
    }
    if (event->kind == SNAPSHOT_LOADED) {
        installation->is_loading = false;
        install(node);
    } else if (!node->is_stopping) {
        node_fail(node, error_text(event->error), event->name.text,
                  "the state is gone with it: start again: it is built from an older snapshot and "
                  "the log, or fetched from another node");
    }
}
