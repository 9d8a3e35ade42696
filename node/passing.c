/* node/passing.c: requests of our clients that the leader serves.
 *
 * A follower passes a request on over the bulk lane, as a FORWARD; the answer comes back as a
 * FORWARDED. At the leader such a request is like any other: its origin is the connection of the
 * peer that it came on, and answers.c sends the answer to that peer. It is passed on once at most:
 * a node that is sent one and does not lead refuses it.
 *
 * Both lanes of a pair are in order and lose nothing while they stand. So what was sent is answered
 * unless one of them breaks; or the leader changes, and the old one stays silent. Then its outcome
 * is not known, and it is not sent again by us: a client with a sequence asks again by itself. */
#include "base/assert.h"
#include "node/internal.h"

enum { SLOT_BITS = 12, SLOT_NONE = 1 << SLOT_BITS };

#define SLOT_MASK (((uint64_t)1 << SLOT_BITS) - 1)

_Static_assert((int)PASS_COUNT_MAX <= (int)SLOT_NONE, "a slot's number fits into a request's");
_Static_assert(PASS_CONNECTION_COUNT_MAX < PASS_COUNT_MAX, "no client takes all of them");
_Static_assert((int)PASS_BYTES_MAX >= (int)PASS_CONNECTION_BYTES_MAX + (int)WIRE_FRAME_SIZE_MAX,
               "the largest request finds room beside a client that asks for much");
_Static_assert((int)WIRE_PEER_FRAME_SIZE_MAX >=
                   (int)WIRE_FRAME_HEADER_SIZE + WIRE_FORWARD_HEADER_SIZE + WIRE_FRAME_SIZE_MAX,
               "the largest request and the largest answer travel in one frame");

size_t passing_memory_size(void)
{
    return arena_cost(PASS_COUNT_MAX, sizeof(struct passed));
}

void passing_open(struct node *node, struct arena *arena)
{
    struct passing *passing = &node->passing;

    passing->slots = arena_take(arena, PASS_COUNT_MAX, sizeof(struct passed));
    memset(passing->slots, 0, PASS_COUNT_MAX * sizeof(struct passed));
    for (uint32_t i = 0; i < PASS_COUNT_MAX; i++) {
        passing->slots[i].next_free = i + 1 < PASS_COUNT_MAX ? i + 1 : SLOT_NONE;
    }
    passing->orphan_ms = NEVER;
    /* An answer to a process that is gone finds nothing here. */
    world_entropy(node->world, &passing->number, sizeof(passing->number));
    passing->number = passing->number >> (SLOT_BITS + 4) | UINT64_C(1) << 40;
}

/* --- Slots ------------------------------------------------------------------------------------ */

static struct passed *find(struct passing *passing, uint64_t id)
{
    uint64_t slot = id & SLOT_MASK;

    return slot < PASS_COUNT_MAX && id != 0 && passing->slots[slot].id == id ? &passing->slots[slot]
                                                                             : NULL;
}

/* The client that asked, while it is still there; NULL. */
static struct connection *client_of(struct node *node, const struct origin *origin)
{
    struct connection *connection = &node->connections[origin->connection];

    return connection->generation == origin->generation ? connection : NULL;
}

static bool has_room(const struct passing *passing, const struct connection *client, size_t size)
{
    bool fits_client =
        client->passing.count == 0 || (client->passing.count < PASS_CONNECTION_COUNT_MAX &&
                                       client->passing.bytes + size <= PASS_CONNECTION_BYTES_MAX);

    return fits_client && passing->free != SLOT_NONE && passing->bytes + size <= PASS_BYTES_MAX;
}

static void take_slot(struct node *node, const struct passed *passed)
{
    struct passing *passing = &node->passing;
    struct passed *slot = &passing->slots[passing->free];
    struct connection *client = client_of(node, &passed->origin);

    ASSERT(slot->id == 0 && client != NULL);
    passing->free = slot->next_free;
    *slot = *passed;
    passing->count++;
    passing->bytes += passed->size;
    client->passing.count++;
    client->passing.bytes += passed->size;
}

/* Nothing is under way there any more: what it was. */
static struct passed release(struct node *node, struct passed *slot)
{
    struct passing *passing = &node->passing;
    struct connection *client = client_of(node, &slot->origin);
    struct passed passed = *slot;

    ASSERT_VALUES(slot->id != 0 && passing->count > 0, slot->id, passing->count);
    ASSERT_VALUES(passing->bytes >= passed.size, passing->bytes, passed.size);
    *slot = (struct passed){.next_free = passing->free};
    passing->free = (uint32_t)(slot - passing->slots);
    passing->count--;
    passing->bytes -= passed.size;
    if (client != NULL) {
        ASSERT(client->passing.count > 0 && client->passing.bytes >= passed.size);
        client->passing.count--;
        client->passing.bytes -= passed.size;
    }
    return passed;
}

/* --- Without an answer ------------------------------------------------------------------------ */

static bool changes_nothing(uint8_t method)
{
    return machine_is_read((enum wire_method)method) || method == WIRE_METHOD_snapshot_open ||
           method == WIRE_METHOD_snapshot_read;
}

static void give_up(struct node *node, struct passed *slot)
{
    const struct passed passed = release(node, slot);

    if (changes_nothing(passed.method)) {
        answer_not_leader(node, &passed.origin);
        return;
    }
    answer_error(node, &passed.origin, ERR_UNKNOWN_OUTCOME,
                 "it was passed on to the leader, and no answer came: it may be applied");
}

/* Those to the places that have broken; those to leaders that are none any more and had time. */
static void settle(struct node *node, bool is_orphan_time)
{
    struct passing *passing = &node->passing;
    uint32_t broken = passing->broken_places;

    passing->broken_places = 0;
    for (uint32_t i = 0; i < PASS_COUNT_MAX && passing->count > 0; i++) {
        struct passed *slot = &passing->slots[i];
        bool is_orphan = is_orphan_time && slot->leader != node->status.leader;

        if (slot->id != 0 && (is_orphan || (broken >> slot->place & 1) != 0)) {
            give_up(node, slot);
        }
    }
}

void passing_broke(struct node *node, uint32_t place)
{
    ASSERT_VALUES(place < NODE_PEER_COUNT_MAX, place, NODE_PEER_COUNT_MAX);
    node->passing.broken_places |= node->passing.count > 0 ? UINT32_C(1) << place : 0;
}

void passing_give_up(struct node *node)
{
    node->passing.broken_places = (UINT32_C(1) << NODE_PEER_COUNT_MAX) - 1;
    settle(node, false);
    ASSERT(node->passing.count == 0 && node->passing.bytes == 0);
}

/* --- Who leads -------------------------------------------------------------------------------- */

/* False when the client is not there any more. */
static bool tell_leader(struct node *node, world_connection number)
{
    struct connection *client = &node->connections[number];
    struct wire_leader_is notice = {0};

    if (client->passing.told_leader == node->status.leader ||
        !leader_known(node, &notice.leader, &notice.leader_client)) {
        return true;
    }
    uint8_t *memory = world_reserve(node->world, number, NOTICE_SIZE_MAX);

    if (memory == NULL) {
        connection_drop(node, number); /* It does not read what it is sent. */
        return false;
    }
    struct buffer out = buffer_of(memory, NOTICE_SIZE_MAX);
    bool fits =
        wire_notice_begin(&out, WIRE_NOTICE_leader_is) && wire_leader_is_encode(&notice, &out);

    ASSERT_VALUES(fits, out.size, out.capacity);
    world_commit(node->world, number, out.size);
    client->passing.told_leader = node->status.leader;
    return true;
}

/* Whoever was told of a leader is told of the next one. */
static void tell_all(struct node *node)
{
    for (uint32_t i = 0; i < node->options.connection_count_max; i++) {
        const struct connection *connection = &node->connections[i];

        if (connection->state == CONNECTION_CLIENT && connection->passing.told_leader != 0) {
            (void)tell_leader(node, i);
        }
    }
}

void passing_tick(struct node *node)
{
    struct passing *passing = &node->passing;

    if (passing->leader != node->status.leader) {
        passing->leader = node->status.leader;
        if (passing->count > 0 && passing->orphan_ms == NEVER) {
            /* The old leader answers as soon as it knows; it does not wait for longer. */
            passing->orphan_ms = node->now_ms + 2 * (uint64_t)node->options.election_ms_max;
        }
        tell_all(node);
    }
    bool is_orphan_time = passing->orphan_ms != NEVER && node->now_ms >= passing->orphan_ms;

    if (is_orphan_time) {
        passing->orphan_ms = NEVER;
    }
    if (is_orphan_time || passing->broken_places != 0) {
        settle(node, is_orphan_time);
    }
}

/* --- Sessions --------------------------------------------------------------------------------- */

/* Events of a session are told by the node that its client is connected to, when that node applies
 * them. A session is only noted while its end is still to be applied here. */
static void note_session(struct node *node, const struct origin *origin, uint64_t session,
                         bool is_confirmed)
{
    if (session == 0 || node_state_is_away(node)) {
        return;
    }
    bool is_ahead = is_confirmed && machine_applied_index(node->machine) < session;
    bool is_here = lease_session_is_alive(node->table, session, 0);

    if (!node_table_has_failed(node) && (is_ahead || is_here)) {
        sessions_note(node, session, origin);
    }
}

static uint64_t session_of_answer(const struct passed *passed, struct bytes body)
{
    struct wire_session_open_result opened;

    if (passed->method != WIRE_METHOD_session_open) {
        return passed->session;
    }
    return wire_session_open_result_decode(&body, &opened) == ERR_OK ? opened.session : 0;
}

/* A round of heartbeats says it, but names no more than what the follower has. */
static void tell_news(struct node *node, struct passing_peer *peer)
{
    if (peer->news != 0 && peer->match >= peer->news) {
        peer->news = 0;
        node->passing.has_news = node_leads(node);
    }
}

void passing_note_news(struct node *node, uint32_t place)
{
    struct passing_peer *peer = &node->peers[place].passing;

    peer->news = machine_applied_index(node->machine);
    tell_news(node, peer);
}

void passing_note_match(struct node *node, uint32_t place, raft_index match)
{
    node->peers[place].passing.match = match;
    tell_news(node, &node->peers[place].passing);
}

/* --- At the follower -------------------------------------------------------------------------- */

static uint32_t leader_place(const struct node *node)
{
    raft_id leader = node->status.leader;

    return leader == 0 || leader == node->identity.self ? NO_PEER : place_of_id(node, leader);
}

/* It takes them, and can answer. */
static bool is_reached(const struct peer *peer)
{
    return peer->passing.takes_forwards && peer->link_up[WORLD_LANE_BULK] &&
           peer->connection_count >= WORLD_LANE_COUNT;
}

/* Methods whose whole effect is an answer, and what the log tells every node. */
static bool may_pass(const struct wire_rpc *rpc)
{
    bool is_plain = machine_is_read(rpc->method) || machine_is_write(rpc->method) ||
                    rpc->method == WIRE_METHOD_session_renew ||
                    rpc->method == WIRE_METHOD_snapshot_open ||
                    rpc->method == WIRE_METHOD_snapshot_read;

    return (is_plain || admission_is_change(rpc->method)) &&
           rpc->body.size + WIRE_ENVELOPE_SIZE_MAX <= WIRE_FRAME_SIZE_MAX;
}

static bool send(struct node *node, uint32_t place, uint64_t id, const struct wire_rpc *rpc)
{
    size_t capacity = WIRE_FORWARD_HEADER_SIZE + rpc->body.size;
    uint8_t *memory = peers_reserve(node, place, capacity);

    if (memory == NULL) {
        return false;
    }
    struct buffer body = buffer_of(memory, capacity);
    bool fits =
        wire_forward_begin(&body, node->peers[place].passing.received_bytes, id, rpc->method) &&
        buffer_append(&body, rpc->body);

    ASSERT_VALUES(fits, body.size, capacity);
    peers_commit(node, place, WIRE_FRAME_FORWARD, &body);
    return true;
}

void passing_take(struct node *node, const struct origin *origin, const struct wire_rpc *rpc,
                  uint64_t session)
{
    struct passing *passing = &node->passing;
    struct connection *client = &node->connections[origin->connection];
    uint32_t place = leader_place(node);

    if (client->state != CONNECTION_CLIENT || node->is_stopping || place == NO_PEER ||
        !is_reached(&node->peers[place]) || !may_pass(rpc)) {
        answer_not_leader(node, origin);
        return;
    }
    if (passing->broken_places != 0) {
        settle(node, false);
    }
    if (!tell_leader(node, origin->connection)) {
        return;
    }
    const struct passed passed = {
        .id = (passing->number + 1) << SLOT_BITS | passing->free,
        .origin = *origin,
        .leader = node->status.leader,
        .session = session,
        .place = place,
        .size = (uint32_t)rpc->body.size,
        .method = (uint8_t)rpc->method,
    };

    if (!has_room(passing, client, rpc->body.size) || !send(node, place, passed.id, rpc)) {
        answer_retry(node, origin, ERR_OVERLOADED, RETRY_MS_OVERLOADED);
        return;
    }
    passing->number++;
    passing->total++;
    take_slot(node, &passed);
    note_session(node, origin, session, false);
}

void passing_link_up(struct node *node, uint32_t place)
{
    struct peer *peer = &node->peers[place];

    peer->passing.forward_first = (node->passing.number + 1) << SLOT_BITS;
    peer->passing.received_bytes = 0;
    for (uint32_t i = 0; i < node->options.connection_count_max; i++) {
        if (node->connections[i].state == CONNECTION_PEER && node->connections[i].peer == place) {
            node->connections[i].passing.answer_bytes =
                0; /* What was lost is not counted for ever. */
        }
    }
}

static void deliver(struct node *node, const struct passed *passed, const struct wire_rpc *response)
{
    struct bytes body = response->body;
    struct wire_failure failure;

    if (!response->failed) {
        note_session(node, &passed->origin, session_of_answer(passed, body), true);
        if (node->problem == NULL) {
            answer_body(node, &passed->origin, body);
        }
        return;
    }
    if (wire_failure_decode(&body, &failure) != ERR_OK ||
        error_from_number(failure.code) == ERR_OK) {
        answer_error(node, &passed->origin, ERR_UNKNOWN_OUTCOME,
                     "the leader's answer is of a newer version");
        return;
    }
    answer_failure(node, &passed->origin, &failure);
}

bool passing_take_answer(struct node *node, uint32_t place, struct bytes body)
{
    struct bytes rest = body;
    struct wire_rpc response;

    if (wire_rpc_next(&rest, &response) != ERR_OK || rest.size != 0 ||
        response.type != WIRE_RESPONSE) {
        return false;
    }
    struct peer *peer = &node->peers[place];
    struct passed *slot = find(&node->passing, response.id);

    peer->passing.received_bytes += response.id >= peer->passing.forward_first ? body.size : 0;
    if (slot != NULL && slot->place == place) {
        const struct passed passed = release(node, slot);

        deliver(node, &passed, &response);
    }
    return true;
}

/* --- At the leader ---------------------------------------------------------------------------- */

bool passing_take_forward(struct node *node, world_connection number, struct bytes body)
{
    struct connection *connection = &node->connections[number];
    struct wire_forward forward;

    ASSERT(connection->state == CONNECTION_PEER);
    if (wire_forward_decode(body, &forward) != ERR_OK ||
        forward.request.id <= connection->passing.forward_id ||
        forward.received < connection->passing.received_bytes || !may_pass(&forward.request)) {
        return false;
    }
    const struct origin origin = {number, connection->generation, forward.request.id};
    uint64_t received = forward.received - connection->passing.received_bytes;

    connection->passing.forward_id = forward.request.id;
    connection->passing.received_bytes = forward.received;
    connection->passing.answer_bytes -=
        received < connection->passing.answer_bytes ? received : connection->passing.answer_bytes;
    node->passing.taken_total++;
    if (node_leads(node) && clients_must_wait(node)) {
        answer_retry(node, &origin, ERR_OVERLOADED, RETRY_MS_OVERLOADED); /* raft cannot wait. */
    } else {
        admission_take(node, &origin, &forward.request);
    }
    return true;
}

bool passing_is_origin(const struct node *node, const struct origin *origin)
{
    const struct connection *connection = &node->connections[origin->connection];

    return connection->generation == origin->generation && connection->state == CONNECTION_PEER;
}

bool passing_is_full(const struct node *node, const struct origin *origin, size_t size)
{
    return passing_is_origin(node, origin) &&
           node->connections[origin->connection].passing.answer_bytes + size >
               PASS_ANSWER_BYTES_MAX;
}

uint8_t *passing_reserve(struct node *node, const struct origin *origin, size_t size)
{
    ASSERT(passing_is_origin(node, origin));
    uint8_t *memory = peers_reserve(node, node->connections[origin->connection].peer, size);

    if (memory == NULL) {
        struct line line;

        line_begin(&line, "peer_dropped");
        line_add(&line, "reason", "an answer cannot be sent to it");
        line_write_limited(node, WORLD_WARNING, &line, &node->peer_lines);
        connection_drop(node, origin->connection); /* It learns that answers are missing. */
    }
    return memory;
}

void passing_commit(struct node *node, const struct origin *origin, const struct buffer *message)
{
    struct connection *connection = &node->connections[origin->connection];

    connection->passing.answer_bytes += message->size;
    peers_commit(node, connection->peer, WIRE_FRAME_FORWARDED, message);
}

/* --- Invariants ------------------------------------------------------------------------------- */

void passing_check(const struct node *node)
{
    const struct passing *passing = &node->passing;
    uint32_t count = 0;
    size_t bytes = 0;

    for (uint32_t i = 0; i < PASS_COUNT_MAX; i++) {
        const struct passed *slot = &passing->slots[i];

        if (slot->id != 0) {
            ASSERT_VALUES((slot->id & SLOT_MASK) == i, slot->id, i); /* Invariant 11. */
            count++;
            bytes += slot->size;
        }
    }
    ASSERT_VALUES(count == passing->count, count, passing->count); /* Invariant 11. */
    ASSERT_VALUES(bytes == passing->bytes && bytes <= PASS_BYTES_MAX, bytes, passing->bytes);
}
