/* server/world_uv.h: node/world.h over libuv: both ports, the links to the peers, entropy, lines.
 *
 * Nothing here runs the loop. Callbacks of libuv only collect what arrives; the loop's turn asks
 * for it with world_uv_gather() and gives it back with world_uv_settle(). */
#ifndef SERVER_WORLD_UV_H
#define SERVER_WORLD_UV_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/macros.h"
#include "node/node.h"
#include "node/world.h"
#include "server/address.h"
#include "server/logger.h"

/* Of the arrays of events that are gathered at once. */
enum { WORLD_EVENT_COUNT_MAX = 1024 };

/* The first is shorter than what the kernel waits for a client that takes nothing
 * (TCP_USER_TIMEOUT, 10 s): that end would be without a line. */
enum { WORLD_UNREAD_MS = 8000, WORLD_PARTIAL_MS = 30000 };

/* This node alone dials the node of that name there, whatever the others say. */
struct world_uv_dial {
    const char *name;
    struct address address;
};

struct world_uv_options {
    struct address client; /* Where we listen. */
    struct address peer;
    struct world_uv_dial dials[NODE_MEMBER_COUNT_MAX];
    uint32_t dial_count;
    uint32_t client_count_max;
    uint32_t
        unread_ms_max; /* A client that does not read, or does not finish its message, for so */
    uint32_t partial_ms_max; /* long is closed (server/connections.h). */
};

/* What node_options.connection_count_max must be. */
uint32_t world_uv_connection_count_max(const struct world_uv_options *options);

/* Bytes that buffers and tables may use at most. */
uint64_t world_uv_memory_max(const struct world_uv_options *options);

enum world_uv_refusal { WORLD_UV_OK, WORLD_UV_MEMORY, WORLD_UV_CLIENT_PORT, WORLD_UV_PEER_PORT };

/* Listens on both ports. `*code` is libuv's error of a port that cannot be listened on. `loop`,
 * `logger` and the names outlive the world. After a refusal the loop must still run until it is
 * empty. */
MUST_USE enum world_uv_refusal world_uv_open(struct world **world, uv_loop_t *loop,
                                             struct logger *logger,
                                             const struct world_uv_options *options, int *code);

/* Begins to close every socket; the loop must run until it is empty before world_uv_free(). */
void world_uv_close(struct world *world);
void world_uv_free(struct world *world);

/* Whether there are events that are not repetitions. */
bool world_uv_is_ready(const struct world *world);

/* Lets events that the node wants again come again; once for each turn of the loop. */
void world_uv_repeat(struct world *world);

/* Events in the order in which the node should see them; fewer than `events_max - 8` only when
 * there are no more. */
uint32_t world_uv_gather(struct world *world, struct node_event *events, uint32_t events_max);

/* After the node's turn: drops what was consumed, and writes what was committed. */
void world_uv_settle(struct world *world, const struct node_event *events, uint32_t events_count);

#endif
