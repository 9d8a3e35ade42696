/* node/clients.c: connections, and the messages that clients send over them.
 *
 *            connected          its token is known            hello answered
 *     CLOSED ---------> CLIENT_NEW -----------> CLIENT_KNOWN -----------> CLIENT
 *        ^                  |                        |                      |
 *        | CLOSED event     | no hello, no token     | hello not valid      | garbage, wrong token,
 *        +------------ CLOSING <---------------------+----------------------+ does not read
 *
 * A client is called connected, authenticated, and ready in docs/protocol.md. The same with
 * PEER_NEW and PEER. From every state a CLOSED event leads to CLOSED. */
#include "base/assert.h"
#include "node/internal.h"

static const uint8_t allowed_moves[] = {
    [CONNECTION_CLOSED] = 1U << CONNECTION_CLIENT_NEW | 1U << CONNECTION_PEER_NEW,
    [CONNECTION_CLIENT_NEW] =
        1U << CONNECTION_CLIENT_KNOWN | 1U << CONNECTION_CLOSING | 1U << CONNECTION_CLOSED,
    [CONNECTION_CLIENT_KNOWN] =
        1U << CONNECTION_CLIENT | 1U << CONNECTION_CLOSING | 1U << CONNECTION_CLOSED,
    [CONNECTION_CLIENT] = 1U << CONNECTION_CLOSING | 1U << CONNECTION_CLOSED,
    [CONNECTION_PEER_NEW] =
        1U << CONNECTION_PEER | 1U << CONNECTION_CLOSING | 1U << CONNECTION_CLOSED,
    [CONNECTION_PEER] = 1U << CONNECTION_CLOSING | 1U << CONNECTION_CLOSED,
    [CONNECTION_CLOSING] = 1U << CONNECTION_CLOSED,
};

void connection_move(struct node *node, world_connection number, enum connection_state next)
{
    ASSERT_VALUES(number < node->options.connection_count_max, number, next);
    struct connection *connection = &node->connections[number];

    ASSERT_VALUES((allowed_moves[connection->state] & (1U << next)) != 0, connection->state, next);
    if (connection->state == CONNECTION_CLOSED) {
        *connection =
            (struct connection){.generation = connection->generation + 1, .peer = NO_PEER};
        watches_connected(node, number);
    }
    if (connection->watch_count != 0) {
        watches_disconnected(node, number); /* Every move from CLIENT ends the connection. */
    }
    if (connection->state == CONNECTION_PEER) {
        struct peer *peer = &node->peers[connection->peer];

        ASSERT(peer->connection_count > 0);
        peer->connection_count--;
        passing_broke(node, connection->peer); /* Answers may have been lost with it. */
    }
    if (connection->state == CONNECTION_CLIENT || connection->state == CONNECTION_PEER) {
        waiting_forget(node, number);
    }
    connection->state = next;
    if (next == CONNECTION_CLIENT) {
        connection->bucket = (struct bucket){0};
    }
    if (next == CONNECTION_PEER) {
        ASSERT(place_is_used(node, connection->peer));
        node->peers[connection->peer].connection_count++;
    }
}

void connection_drop(struct node *node, world_connection number)
{
    enum connection_state state = node->connections[number].state;

    if (state != CONNECTION_CLOSED && state != CONNECTION_CLOSING) {
        connection_move(node, number, CONNECTION_CLOSING);
        world_close(node->world, number);
    }
}

static void drop_malformed(struct node *node, world_connection number, const char *reason)
{
    struct line line;

    line_begin(&line, "client_dropped");
    line_add(&line, "reason", reason);
    authentication_name(node, number, &line);
    line_write_limited(node, WORLD_WARNING, &line, &node->client_lines);
    connection_drop(node, number);
}

static void take_message(struct node *node, world_connection number, const struct wire_rpc *rpc)
{
    const struct connection *connection = &node->connections[number];
    const struct origin origin = {number, connection->generation, rpc->id};

    if (rpc->type != WIRE_REQUEST) {
        drop_malformed(node, number, "it sent something else than a request");
        return;
    }
    if (rpc->method == WIRE_METHOD_hello) {
        status_hello(node, &origin, rpc);
        return;
    }
    if (connection->state == CONNECTION_CLIENT_NEW) {
        answer_error(node, &origin, ERR_MALFORMED, "the first request must be hello");
        drop_malformed(node, number, "its first request was not hello");
        return;
    }
    admission_take(node, &origin, rpc);
}

/* Requests of a leader that may not stamp wait where they are: in their connection. So do they
 * while leadership is handed over, until it is known where to: a refusal would cost the client a
 * pause that is longer than that takes. */
bool clients_must_wait(const struct node *node)
{
    return (node_leads(node) && !node_may_stamp(node)) || node_hands_over(node);
}

static void take_data(struct node *node, struct node_event *event)
{
    struct bytes rest = event->data;
    const struct connection *connection = &node->connections[event->connection];

    event->consumed = event->data.size;
    while (connection->state == CONNECTION_CLIENT || connection->state == CONNECTION_CLIENT_NEW) {
        struct bytes before = rest;
        struct wire_rpc rpc;
        enum error error = wire_rpc_next(&rest, &rpc);

        if (error == ERR_INCOMPLETE) {
            event->consumed = event->data.size - before.size;
            return;
        }
        if (error != ERR_OK) {
            drop_malformed(node, event->connection, error_text(error));
            return;
        }
        if (clients_must_wait(node)) {
            event->consumed = event->data.size - before.size;
            event->again = true;
            return;
        }
        take_message(node, event->connection, &rpc);
    }
}

void clients_take(struct node *node, struct node_event *event)
{
    enum connection_state state = node->connections[event->connection].state;

    switch (event->kind) {
    case NODE_CLIENT_OPENED:
        connection_move(node, event->connection, CONNECTION_CLIENT_NEW);
        return;
    case NODE_CLIENT_DATA:
        take_data(node, event);
        return;
    case NODE_CLIENT_CLOSED:
        if (state != CONNECTION_CLOSED) {
            connection_move(node, event->connection, CONNECTION_CLOSED);
        }
        return;
    case NODE_PEER_OPENED:
    case NODE_PEER_DATA:
    case NODE_PEER_CLOSED:
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
