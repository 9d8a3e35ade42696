/* server/connections.h: the two ports of a node and the connections that others opened to them.
 *
 * Numbers below `client_count_max` are clients, those behind them are peers. A number is in use
 * from its OPENED event until its CLOSED event was handed to the node. When all numbers of a kind
 * are in use, new connections are accepted and closed at once, with a line in the log. */
#ifndef SERVER_CONNECTIONS_H
#define SERVER_CONNECTIONS_H

#include <stdint.h>
#include <uv.h>

#include "base/macros.h"
#include "node/node.h"
#include "server/address.h"
#include "server/channel.h"
#include "server/logger.h"

struct connections; /* Opaque. */

struct connections_options {
    uint32_t client_count_max;
    uint32_t peer_count_max;
    size_t client_buffered_max; /* Bytes of all buffers of all clients, */
    size_t peer_buffered_max;   /* and of all peers. */
    /* A client is closed, with a line, whose output was not read down to the low mark for so long
     * after it had passed the high one; */
    uint32_t unread_ms_max;
    /* and one whose first message, or any that it has begun, is not whole after so long. */
    uint32_t partial_ms_max;
};

/* `loop` and `logger` outlive it. NULL when there is no memory. */
struct connections *connections_open(uv_loop_t *loop, struct logger *logger,
                                     const struct connections_options *options);

/* Listens. An error of libuv or of getaddrinfo() in libuv's numbers, or 0. */
MUST_USE int connections_listen_clients(struct connections *connections,
                                        const struct address *address);
MUST_USE int connections_listen_peers(struct connections *connections,
                                      const struct address *address);

/* Begins to close everything; the loop must run until nothing is left before connections_free(). */
void connections_close(struct connections *connections);
void connections_free(struct connections *connections);

/* Whether connections_gather() would give an event that is not a repetition. */
bool connections_are_ready(const struct connections *connections);

/* Lets events that the node wants again come again. Once for each turn of the loop. */
void connections_repeat(struct connections *connections);

/* Appends events, at most `events_max`; returns how many. */
uint32_t connections_gather(struct connections *connections, struct node_event *events,
                            uint32_t events_max);

/* After the node's turn: takes what was consumed out of the inboxes. */
void connections_settle(struct connections *connections, const struct node_event *events,
                        uint32_t events_count);

/* Writes all that the turn left to be written. */
void connections_flush(struct connections *connections);

/* As world_reserve(), world_commit() and world_close(). */
uint8_t *connections_reserve(struct connections *connections, world_connection number, size_t size);
bool connections_have_room(const struct connections *connections, world_connection number,
                           size_t size);
void connections_commit(struct connections *connections, world_connection number, size_t size);
void connections_end(struct connections *connections, world_connection number);

#endif
