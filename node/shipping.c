/* node/shipping.c: a leader sends its newest snapshot to members that need one.
 *
 * One shipment for each of them: offered, then sent in chunks, a few of which are under way. The
 * receiver says up to where it has the file; whoever leads next goes on from there if its file is
 * the same. All shipments share one pace, and a chunk is small: entries for others do not wait. */
#include "base/assert.h"
#include "node/internal.h"

enum { MS_PER_SECOND = 1000 };

/* --- Whom ------------------------------------------------------------------------------------- */

static struct shipment *find(struct node *node, raft_id peer)
{
    for (uint32_t slot = 0; slot < SNAPSHOT_SENDER_COUNT_MAX; slot++) {
        if (node->shipping.slots[slot].peer == peer) {
            return &node->shipping.slots[slot];
        }
    }
    return NULL;
}

static uint32_t slot_of(const struct node *node, const struct shipment *shipment)
{
    return (uint32_t)(shipment - node->shipping.slots);
}

/* Members there may be more than slots: who finds none asks again. */
static void need(struct node *node, raft_id peer, raft_index index_min, uint64_t request)
{
    struct shipment *shipment = find(node, peer);

    ASSERT(node_leads(node) && peer != 0);
    if (shipment != NULL && (request == 0 || shipment->request == request)) {
        return;
    }
    if (shipment == NULL) {
        shipment = find(node, 0);
    }
    if (shipment == NULL) {
        return;
    }
    snapshots_send_end(node->snapshots, slot_of(node, shipment));
    *shipment = (struct shipment){
        .peer = peer,
        .index_min = index_min,
        .request = request,
        .heard_ms = node->now_ms,
    };
}

void shipping_note_needs(struct node *node, const struct raft_effects *effects)
{
    for (uint32_t i = 0; i < effects->snapshot_count; i++) {
        need(node, effects->snapshots[i].peer, effects->snapshots[i].index_min, 0);
    }
}

/* How far it is, and what that has cost: `from` is where it goes on. */
static void log_shipment(struct node *node, const struct shipment *shipment, const char *event,
                         uint64_t from)
{
    uint32_t place = place_of_id(node, shipment->peer);
    struct line line;

    line_begin(&line, event);
    if (place != NO_PEER) {
        line_add(&line, "peer", node->peers[place].name);
    }
    line_add_u64(&line, "index", shipment->file.index);
    line_add_u64(&line, "size", shipment->file.size);
    line_add_u64(&line, "from", from);
    line_add_u64(&line, "sent", shipment->sent_bytes);
    line_write_limited(node, WORLD_INFO, &line, &node->snapshot_lines);
}

static void end(struct node *node, struct shipment *shipment)
{
    snapshots_send_end(node->snapshots, slot_of(node, shipment));
    *shipment = (struct shipment){0};
}

/* Raft probes what the peer has, or asks for a snapshot again. */
static void finish(struct node *node, struct shipment *shipment, bool ok)
{
    raft_id peer = shipment->peer;
    raft_index index = shipment->file.index;

    log_shipment(node, shipment, ok ? "snapshot_sent" : "snapshot_not_sent",
                 shipment->taken_offset);
    end(node, shipment);
    raft_snapshot_sent(node->raft, peer, index, ok, node->now_ms);
    node_refresh_status(node);
}

raft_index shipping_wanted_index(const struct node *node)
{
    raft_index wanted = UINT64_MAX;

    for (uint32_t slot = 0; slot < SNAPSHOT_SENDER_COUNT_MAX; slot++) {
        const struct shipment *shipment = &node->shipping.slots[slot];

        if (shipment->peer != 0 && shipment->file.index != 0 && shipment->file.index + 1 < wanted) {
            wanted = shipment->file.index + 1;
        }
    }
    return wanted;
}

/* --- Offering --------------------------------------------------------------------------------- */

static void send_offer(struct node *node, struct shipment *shipment)
{
    struct buffer body = buffer_of(node->scratch, WIRE_FRAME_SIZE_MAX);
    const struct wire_peer_snapshot_offer offer = {
        .term = node->status.term,
        .index = shipment->file.index,
        .index_term = shipment->file.term,
        .size = shipment->file.size,
        .id = shipment->file.id,
        .request = shipment->request,
    };
    bool fits = wire_peer_snapshot_offer_encode(&offer, &body);

    ASSERT_VALUES(fits, body.size, body.capacity);
    peers_send_body(node, shipment->peer, WIRE_FRAME_SNAPSHOT_OFFER, buffer_bytes(&body));
    shipment->offered_ms = node->now_ms;
}

/* False until there is a file that is new enough: that is seen to. */
static bool take_file(struct node *node, struct shipment *shipment)
{
    const struct snapshot_file *newest = snapshots_newest(node->snapshots);

    if (newest == NULL || newest->index < shipment->index_min) {
        compaction_want(node, shipment->index_min);
        shipment->heard_ms = node->now_ms; /* It is not the peer that is slow. */
        return false;
    }
    newest = snapshots_send_begin(node->snapshots, slot_of(node, shipment));
    if (newest == NULL) {
        return false;
    }
    shipment->file = *newest;
    shipment->sent_bytes = 0;
    shipment->flows = false;
    send_offer(node, shipment);
    return true;
}

/* --- Chunks ----------------------------------------------------------------------------------- */

static bool send_chunk(struct node *node, struct shipment *shipment,
                       const struct snapshot_chunk *chunk)
{
    struct buffer body = buffer_of(node->scratch, WIRE_FRAME_SIZE_MAX);
    const struct wire_peer_snapshot_chunk message = {
        .term = node->status.term,
        .index = shipment->file.index,
        .id = shipment->file.id,
        .offset = chunk->offset,
        .bytes = chunk->bytes,
    };
    bool fits = wire_peer_snapshot_chunk_encode(&message, &body);

    ASSERT_VALUES(fits, body.size, body.capacity);
    if (!peers_send_body(node, shipment->peer, WIRE_FRAME_SNAPSHOT_CHUNK, buffer_bytes(&body))) {
        return false;
    }
    shipment->next_offset = chunk->offset + chunk->bytes.size;
    node->shipping.tokens -= (int64_t)chunk->bytes.size;
    shipment->sent_bytes += chunk->bytes.size;
    node->shipping.sent_bytes += chunk->bytes.size;
    return true;
}

/* Our own file cannot be read: a newer one is to be sent instead. */
static void file_failed(struct node *node, struct shipment *shipment, enum error error)
{
    struct line line;

    line_begin(&line, "snapshot_unreadable");
    line_add_u64(&line, "index", shipment->file.index);
    line_add(&line, "reason", error_name(error));
    line_write_limited(node, WORLD_ERROR, &line, &node->snapshot_lines);
    snapshots_send_end(node->snapshots, slot_of(node, shipment));
    shipment->index_min = shipment->file.index + 1;
    shipment->file = (struct snapshot_file){0};
}

static void flow(struct node *node, struct shipment *shipment)
{
    uint32_t slot = slot_of(node, shipment);
    struct snapshot_chunk chunk = {0};

    if (snapshots_send_state(node->snapshots, slot, &chunk) != SNAPSHOT_SEND_READY) {
        return;
    }
    if (chunk.error != ERR_OK) {
        file_failed(node, shipment, chunk.error);
        return;
    }
    bool is_next = chunk.bytes.size != 0 && chunk.offset == shipment->next_offset;

    if (is_next && (node->shipping.tokens <= 0 || !send_chunk(node, shipment, &chunk))) {
        return;
    }
    if (shipment->next_offset < shipment->file.size &&
        shipment->next_offset - shipment->taken_offset < SHIPMENT_WINDOW_SIZE) {
        snapshots_send_read(node->snapshots, slot, shipment->next_offset);
    }
}

/* --- Time ------------------------------------------------------------------------------------- */

static void refill(struct node *node)
{
    struct shipping *shipping = &node->shipping;
    uint64_t elapsed_ms = node->now_ms - shipping->token_ms;
    int64_t most = SHIPMENT_WINDOW_SIZE;

    shipping->token_ms = node->now_ms;
    if (elapsed_ms >= MS_PER_SECOND) {
        shipping->tokens = most;
        return;
    }
    shipping->tokens += (int64_t)(elapsed_ms * node->options.shipping_pace / MS_PER_SECOND);
    shipping->tokens = shipping->tokens > most ? most : shipping->tokens;
}

static void tick_one(struct node *node, struct shipment *shipment)
{
    if (shipment->file.index == 0 && !take_file(node, shipment)) {
        return;
    }
    if (node->now_ms - shipment->heard_ms >=
        SHIPMENT_PATIENCE * (uint64_t)node->options.election_ms_max) {
        finish(node, shipment, false);
        return;
    }
    if (node->now_ms - shipment->heard_ms >= SHIPMENT_OFFER_MS &&
        node->now_ms - shipment->offered_ms >= SHIPMENT_OFFER_MS) {
        shipment->flows = false;
        send_offer(node, shipment);
    }
    if (shipment->flows) {
        flow(node, shipment);
    }
}

void shipping_tick(struct node *node)
{
    refill(node);
    for (uint32_t slot = 0; slot < SNAPSHOT_SENDER_COUNT_MAX; slot++) {
        struct shipment *shipment = &node->shipping.slots[slot];

        if (shipment->peer == 0) {
            continue;
        }
        if (!node_leads(node) || node->is_stopping) {
            end(node, shipment); /* Another leader goes on. */
        } else {
            tick_one(node, shipment);
        }
    }
}

uint64_t shipping_wake_ms(const struct node *node)
{
    uint64_t wake_ms = FAR_FUTURE_MS;

    for (uint32_t slot = 0; slot < SNAPSHOT_SENDER_COUNT_MAX; slot++) {
        const struct shipment *shipment = &node->shipping.slots[slot];

        if (shipment->peer == 0) {
            continue;
        }
        uint64_t at_ms =
            node->now_ms + (shipment->flows ? SHIPMENT_STEP_MS : SHIPMENT_OFFER_MS / 4);

        wake_ms = at_ms < wake_ms ? at_ms : wake_ms;
    }
    return wake_ms;
}

/* --- Answers ---------------------------------------------------------------------------------- */

/* The receiver says where it is. Chunks that were under way when it said so come back as rewinds
 * too: the pause keeps them from being answered one by one. */
static void rewind_to(struct node *node, struct shipment *shipment, uint64_t offset)
{
    if (shipment->flows && node->now_ms < shipment->rewound_ms + SHIPMENT_STEP_MS) {
        return;
    }
    if (!shipment->flows) {
        log_shipment(node, shipment, "snapshot_sending", offset);
    }
    shipment->taken_offset = offset;
    shipment->next_offset = offset;
    shipment->rewound_ms = node->now_ms;
    shipment->flows = true;
}

static void take_state(struct node *node, struct shipment *shipment,
                       const struct wire_peer_snapshot_reply *reply)
{
    switch ((enum wire_snapshot_state)reply->state) {
    case WIRE_SNAPSHOT_TAKEN:
        if (reply->offset > shipment->taken_offset && reply->offset <= shipment->next_offset) {
            shipment->taken_offset = reply->offset;
        }
        return;
    case WIRE_SNAPSHOT_REWIND:
        rewind_to(node, shipment, reply->offset);
        return;
    case WIRE_SNAPSHOT_BUSY:
        shipment->flows = false;
        return;
    case WIRE_SNAPSHOT_DONE:
        finish(node, shipment, true);
        return;
    case WIRE_SNAPSHOT_BROKEN:
        file_failed(node, shipment, ERR_CORRUPT);
        return;
    }
    /* A state of a later version: the offer is repeated. */
}

bool shipping_take_reply(struct node *node, const struct wire_frame *frame)
{
    struct wire_peer_snapshot_reply reply;
    struct bytes body = frame->body;

    if (wire_peer_snapshot_reply_decode(&body, &reply) != ERR_OK) {
        return false;
    }
    struct shipment *shipment = frame->source == 0 ? NULL : find(node, frame->source);

    if (shipment == NULL || !node_leads(node) || shipment->file.index == 0 ||
        shipment->file.index != reply.index || shipment->file.id != reply.id ||
        reply.offset > shipment->file.size) {
        return true;
    }
    shipment->heard_ms = node->now_ms;
    take_state(node, shipment, &reply);
    return true;
}

/* From a node that waits in restoration.c. Everything that it can have acknowledged and that was
 * committed, then or later, lies in our log now: so a snapshot at our last index or beyond stands
 * for all of it. */
bool shipping_take_request(struct node *node, const struct wire_frame *frame)
{
    struct wire_peer_snapshot_request request;
    struct bytes body = frame->body;

    if (wire_peer_snapshot_request_decode(&body, &request) != ERR_OK || request.request == 0) {
        return false;
    }
    if (node_leads(node) && node->status.leader_is_ready && !node->is_stopping) {
        need(node, frame->source, node->status.last_index, request.request);
    }
    return true;
}
