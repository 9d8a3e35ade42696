/* node/peers.c: links to peers, the frames that come and go. */
#include "base/assert.h"
#include "node/internal.h"

/* --- Sending ---------------------------------------------------------------------------------- */

static struct wire_frame frame_of(struct node *node, enum wire_frame_kind kind)
{
    struct wire_frame frame = {
        .incarnation = node->identity.incarnation,
        .source = node->identity.self,
        .log_ms = cluster_time_now(&node->time),
        .lamport = ++node->lamport,
        .kind = kind,
    };

    ASSERT(frame.incarnation != 0);
    memcpy(frame.cluster, node->identity.cluster, IDENTITY_CLUSTER_SIZE);
    return frame;
}

/* The newest configuration that we know, or are known to be in: what tells one that has just joined
 * from one that was removed. */
static raft_index newest_configuration(const struct node *node)
{
    raft_index present = node->raft == NULL ? 0 : raft_configuration(node->raft)->index;

    return present > node->identity.joined_index ? present : node->identity.joined_index;
}

static void send_hello_on(struct node *node, uint32_t place, enum world_lane lane)
{
    uint8_t *memory = world_reserve_link(node->world, place, lane, HELLO_SIZE_MAX);

    if (memory == NULL) {
        return; /* It broke already: its DOWN event is on the way. */
    }
    const struct wire_frame frame = frame_of(node, WIRE_FRAME_HELLO);
    const struct wire_peer_hello hello = {
        .name = bytes_of_text(node->options.name),
        .members = bytes_of_text(node->formation.members),
        .client = bytes_of_text(node->options.client_address),
        .formed = node->identity.formed,
        .peer = bytes_of_text(node->options.addresses[node->options.self]),
        .configuration = newest_configuration(node),
        .joins = node->identity.joins,
        .restores = node->backing.id,
        .takes_forwards = true,
    };
    struct buffer out = buffer_of(memory, HELLO_SIZE_MAX);
    size_t start = 0;
    bool fits = wire_frame_begin(&out, &frame, &start) && wire_peer_hello_encode(&hello, &out);

    ASSERT_VALUES(fits, out.size, out.capacity);
    wire_frame_end(&out, start);
    world_commit_link(node->world, place, lane, out.size);
}

void peers_send_hello(struct node *node, uint32_t place)
{
    ASSERT(place < NODE_PEER_COUNT_MAX);
    for (enum world_lane lane = WORLD_LANE_BULK; lane < WORLD_LANE_COUNT; lane++) {
        if (node->peers[place].link_up[lane]) {
            send_hello_on(node, place, lane);
        }
    }
}

static void encode_formation(const struct node *node, struct buffer *items)
{
    for (uint32_t i = 0; i < node->identity.member_count; i++) {
        const struct identity_member *listed = &node->identity.members[i];
        const struct wire_peer_member member = {
            .name = bytes_of_text(listed->member.name),
            .id = listed->id,
            .incarnation = listed->member.incarnation,
            .peer = bytes_of_text(listed->member.peer),
            .client = bytes_of_text(listed->member.client),
        };
        bool fits = wire_peer_member_encode(&member, items);

        ASSERT_VALUES(fits, items->size, items->capacity);
    }
}

void peers_send_form(struct node *node, uint32_t place)
{
    struct peer *peer = &node->peers[place];
    uint8_t memory[FORM_SIZE_MAX];
    struct buffer items = buffer_of(memory, sizeof(memory));

    ASSERT(formation_is_lacking(node, peer));
    if (!peer->link_up[WORLD_LANE_FAST]) {
        return; /* Sent when the link comes up. */
    }
    uint8_t *room = world_reserve_link(node->world, place, WORLD_LANE_FAST, FORM_SIZE_MAX);

    if (room == NULL) {
        return;
    }
    struct member member;
    const struct raft_member *listed = members_find_disk(node, peer->hello_incarnation, &member);

    encode_formation(node, &items);
    const struct wire_peer_form form = {
        .cluster = bytes_of(node->identity.cluster, IDENTITY_CLUSTER_SIZE),
        .members = {.raw = buffer_bytes(&items), .count = node->identity.member_count},
        .self = listed->id,
        .joined = node->members.committed.index,
    };
    const struct wire_frame frame = frame_of(node, WIRE_FRAME_FORM);
    struct buffer out = buffer_of(room, FORM_SIZE_MAX);
    size_t start = 0;
    bool fits = wire_frame_begin(&out, &frame, &start) && wire_peer_form_encode(&form, &out);

    ASSERT_VALUES(fits, out.size, out.capacity);
    wire_frame_end(&out, start);
    world_commit_link(node->world, place, WORLD_LANE_FAST, out.size);
    peer->form_ms = node->now_ms;
}

/* Entries go on the bulk lane, with their replies; all else must not queue behind them. */
static enum world_lane lane_of(enum raft_message_kind kind)
{
    switch (kind) {
    case RAFT_APPEND:
    case RAFT_APPEND_REPLY:
        return WORLD_LANE_BULK;
    case RAFT_VOTE_REQUEST:
    case RAFT_VOTE_REPLY:
    case RAFT_HEARTBEAT:
    case RAFT_HEARTBEAT_REPLY:
    case RAFT_TIMEOUT_NOW:
        return WORLD_LANE_FAST;
    }
    UNREACHABLE();
}

/* What does not fit, or has no link, is lost: raft repairs it. */
void peers_send_raft(struct node *node, const struct raft_message *message)
{
    uint32_t place = place_of_id(node, message->target);
    enum world_lane lane = lane_of(message->kind);
    size_t capacity = WIRE_FRAME_HEADER_SIZE + RAFT_MESSAGE_SIZE_MAX;

    ASSERT_VALUES(message->target != node->identity.self, message->target, message->kind);
    if (message->kind == RAFT_APPEND) {
        capacity += message->append.first.size + message->append.second.size;
    }
    if (place == NO_PEER || !node->peers[place].link_up[lane]) {
        return; /* Also a member whose disk is gone, while another has its name. */
    }
    uint8_t *memory = world_reserve_link(node->world, place, lane, capacity);

    if (memory == NULL) {
        return;
    }
    const struct wire_frame frame = frame_of(node, WIRE_FRAME_RAFT);
    struct buffer out = buffer_of(memory, capacity);
    size_t start = 0;
    bool fits = wire_frame_begin(&out, &frame, &start) && wire_raft_encode(message, &out);

    ASSERT_VALUES(fits, out.size, capacity);
    wire_frame_end(&out, start);
    world_commit_link(node->world, place, lane, out.size);
}

bool peers_send_body(struct node *node, raft_id id, enum wire_frame_kind kind, struct bytes body)
{
    uint32_t place = place_of_id(node, id);
    size_t capacity = WIRE_FRAME_HEADER_SIZE + body.size;

    if (place == NO_PEER || !node->peers[place].link_up[WORLD_LANE_BULK]) {
        return false;
    }
    uint8_t *memory = world_reserve_link(node->world, place, WORLD_LANE_BULK, capacity);

    if (memory == NULL) {
        return false;
    }
    const struct wire_frame frame = frame_of(node, kind);
    struct buffer out = buffer_of(memory, capacity);
    size_t start = 0;
    bool fits = wire_frame_begin(&out, &frame, &start) && buffer_append(&out, body);

    ASSERT_VALUES(fits, out.size, capacity);
    wire_frame_end(&out, start);
    world_commit_link(node->world, place, WORLD_LANE_BULK, out.size);
    return true;
}

uint8_t *peers_reserve(struct node *node, uint32_t place, size_t size)
{
    if (place == NO_PEER || !node->peers[place].link_up[WORLD_LANE_BULK]) {
        return NULL;
    }
    uint8_t *memory =
        world_reserve_link(node->world, place, WORLD_LANE_BULK, WIRE_FRAME_HEADER_SIZE + size);

    return memory == NULL ? NULL : memory + WIRE_FRAME_HEADER_SIZE;
}

void peers_commit(struct node *node, uint32_t place, enum wire_frame_kind kind,
                  const struct buffer *body)
{
    const struct wire_frame frame = frame_of(node, kind);
    struct buffer out =
        buffer_of(body->data - WIRE_FRAME_HEADER_SIZE, WIRE_FRAME_HEADER_SIZE + body->size);
    size_t start = 0;
    bool fits = wire_frame_begin(&out, &frame, &start) && buffer_extend(&out, body->size) != NULL;

    ASSERT_VALUES(fits, out.size, out.capacity);
    wire_frame_end(&out, start);
    world_commit_link(node->world, place, WORLD_LANE_BULK, out.size);
}

/* --- Links that we dialed --------------------------------------------------------------------- */

static void log_link(struct node *node, const struct node_event *event, const char *name)
{
    struct line line;

    line_begin(&line, name);
    line_add(&line, "peer", node->peers[event->peer].name);
    line_add(&line, "lane", event->lane == WORLD_LANE_BULK ? "bulk" : "fast");
    line_write_limited(node, WORLD_INFO, &line, &node->link_lines);
}

void peers_take_link(struct node *node, struct node_event *event)
{
    ASSERT_VALUES(event->peer < NODE_PEER_COUNT_MAX, event->peer, event->kind);
    ASSERT_VALUES(event->lane < WORLD_LANE_COUNT, event->lane, event->kind);
    struct peer *peer = &node->peers[event->peer];

    if (event->kind == NODE_LINK_DATA) {
        refusals_heard(node, event);
        return;
    }
    bool is_up = event->kind == NODE_LINK_UP;

    ASSERT(is_up || event->kind == NODE_LINK_DOWN);
    peer->link_up[event->lane] = is_up;
    if (event->lane == WORLD_LANE_BULK) {
        passing_broke(node, event->peer);
    }
    if (!place_is_used(node, event->peer)) {
        return; /* It was hung up. */
    }
    log_link(node, event, is_up ? "link_up" : "link_down");
    peer->dialed_ms = node->now_ms;
    if (is_up) {
        if (event->lane == WORLD_LANE_BULK) {
            passing_link_up(node, event->peer);
        }
        send_hello_on(node, event->peer, event->lane);
        if (formation_is_lacking(node, peer)) {
            peers_send_form(node, event->peer);
        }
    }
    if (node->raft != NULL && peer->id != 0) {
        raft_peer_reset(node->raft, peer->id, node->now_ms);
    }
}

/* --- Connections that peers dialed ------------------------------------------------------------ */

/* False when the entries would not fit into the log's next write, or into the log: the leader
 * sends them again. */
static bool stage_room_is_enough(struct node *node, const struct raft_message *message)
{
    size_t size = message->append.first.size + message->append.second.size;

    if (size + STAGE_RESERVE > node->stage_room) {
        return false;
    }
    requests_take_room(node, size);
    return true;
}

/* The sender's clock counts only when raft has taken this very message as the leader's of the
 * present term. Raft knows the term after a restart, cluster time does not: without this a deposed
 * leader's clock would be believed, and sessions would end early
 * (the_clock_of_a_deposed_leader_is_not_believed_after_a_restart). */
static void hear_clock(struct node *node, const struct raft_message *message, uint64_t log_ms)
{
    ASSERT(node->time.heard_term <= node->status.term);
    if ((message->kind == RAFT_APPEND || message->kind == RAFT_HEARTBEAT) &&
        node->status.leader == message->source && node->status.term == message->term) {
        cluster_time_heard(&node->time, message->term, log_ms);
    }
}

static void take_raft(struct node *node, world_connection number, const struct wire_frame *frame)
{
    struct raft_message message;

    if (node->raft == NULL || node->restoration.is_on) {
        return; /* Not formed, or not fit: the sender will try again for ever. */
    }
    if (wire_raft_decode(frame->body, &message) != ERR_OK || message.source != frame->source ||
        message.target != node->identity.self || message.term >= TERM_MAX) {
        refuse_peer(node, number, ERR_MALFORMED, "its raft message is not valid");
        return;
    }
    if (message.kind == RAFT_APPEND && !stage_room_is_enough(node, &message)) {
        return;
    }
    if (message.kind == RAFT_VOTE_REPLY || message.kind == RAFT_TIMEOUT_NOW) {
        node_refresh_noop(node);
    }
    raft_receive(node->raft, &message, node->now_ms);
    node_refresh_status(node);
    hear_clock(node, &message, frame->log_ms);
    if (message.kind == RAFT_APPEND_REPLY && message.append_reply.success) {
        passing_note_match(node, node->connections[number].peer, message.append_reply.match_index);
    }
}

/* False when it is not valid. */
static bool take_snapshot_frame(struct node *node, const struct wire_frame *frame)
{
    switch (frame->kind) {
    case WIRE_FRAME_SNAPSHOT_OFFER:
        return installation_take_offer(node, frame);
    case WIRE_FRAME_SNAPSHOT_CHUNK:
        return installation_take_chunk(node, frame);
    case WIRE_FRAME_SNAPSHOT_REPLY:
        return shipping_take_reply(node, frame);
    case WIRE_FRAME_SNAPSHOT_REQUEST:
        return shipping_take_request(node, frame);
    case WIRE_FRAME_STATE:
        return agreement_take(node, frame);
    case WIRE_FRAME_SPACE:
    case WIRE_FRAME_HELLO:
    case WIRE_FRAME_REFUSE:
    case WIRE_FRAME_FORM:
    case WIRE_FRAME_RAFT:
    case WIRE_FRAME_FORWARD:
    case WIRE_FRAME_FORWARDED:
        break;
    }
    UNREACHABLE();
}

static void take_frame(struct node *node, world_connection number, const struct wire_frame *frame)
{
    if (frame->lamport > node->lamport) {
        node->lamport = frame->lamport;
    }
    if (frame->kind == WIRE_FRAME_HELLO) {
        senders_take_hello(node, number, frame);
        return;
    }
    if (node->connections[number].state == CONNECTION_PEER_NEW ||
        frame->kind == WIRE_FRAME_REFUSE) {
        refuse_peer(node, number, ERR_MALFORMED, "its first frame was not hello");
        return;
    }
    if (!senders_allow(node, number, frame)) {
        return;
    }
    switch (frame->kind) {
    case WIRE_FRAME_FORM:
        formation_take_form(node, number, frame);
        return;
    case WIRE_FRAME_RAFT:
        take_raft(node, number, frame);
        return;
    case WIRE_FRAME_SNAPSHOT_OFFER:
    case WIRE_FRAME_SNAPSHOT_CHUNK:
    case WIRE_FRAME_SNAPSHOT_REPLY:
    case WIRE_FRAME_SNAPSHOT_REQUEST:
    case WIRE_FRAME_STATE:
        if (node->raft != NULL && !take_snapshot_frame(node, frame)) {
            refuse_peer(node, number, ERR_MALFORMED, "its frame about a snapshot is not valid");
        }
        return;
    case WIRE_FRAME_SPACE:
        if (!disk_space_take_frame(node, node->connections[number].peer, frame)) {
            refuse_peer(node, number, ERR_MALFORMED, "its frame about its disk is not valid");
        }
        return;
    case WIRE_FRAME_FORWARD:
        if (!passing_take_forward(node, number, frame->body)) {
            refuse_peer(node, number, ERR_MALFORMED, "the request that it passes on is not valid");
        }
        return;
    case WIRE_FRAME_FORWARDED:
        if (!passing_take_answer(node, node->connections[number].peer, frame->body)) {
            refuse_peer(node, number, ERR_MALFORMED, "the answer that it passes on is not valid");
        }
        return;
    case WIRE_FRAME_HELLO:
    case WIRE_FRAME_REFUSE:
        break;
    }
    UNREACHABLE();
}

static void take_data(struct node *node, struct node_event *event)
{
    const struct connection *connection = &node->connections[event->connection];
    struct bytes rest = event->data;

    event->consumed = event->data.size;
    while (node->problem == NULL &&
           (connection->state == CONNECTION_PEER || connection->state == CONNECTION_PEER_NEW)) {
        struct bytes before = rest;
        struct wire_frame frame;
        enum error error = wire_frame_next(&rest, &frame);

        if (error == ERR_INCOMPLETE) {
            event->consumed = event->data.size - before.size;
            return;
        }
        if (error != ERR_OK) {
            refuse_peer(node, event->connection, error, error_text(error));
            return;
        }
        take_frame(node, event->connection, &frame);
    }
}

void peers_take_connection(struct node *node, struct node_event *event)
{
    switch (event->kind) {
    case NODE_PEER_OPENED:
        connection_move(node, event->connection, CONNECTION_PEER_NEW);
        return;
    case NODE_PEER_DATA:
        take_data(node, event);
        return;
    case NODE_PEER_CLOSED:
        if (node->connections[event->connection].state != CONNECTION_CLOSED) {
            connection_move(node, event->connection, CONNECTION_CLOSED);
        }
        return;
    case NODE_CLIENT_OPENED:
    case NODE_CLIENT_DATA:
    case NODE_CLIENT_CLOSED:
    case NODE_LINK_UP:
    case NODE_LINK_DATA:
    case NODE_LINK_DOWN:
    case NODE_DISK_DONE:
    case NODE_DISK_SPACE:
    case NODE_STOP:
        break;
    }
    UNREACHABLE();
}
