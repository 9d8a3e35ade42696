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

struct world_uv_options {
    struct address client; /* Where we listen. */
    struct address peer;
    struct address dials[NODE_MEMBER_COUNT_MAX]; /* Of all members; our own is not used. */
    uint32_t member_count;
    uint32_t self;
    uint32_t client_count_max;
};

/* What node_options.connection_count_max must be. */
uint32_t world_uv_connection_count_max(const struct world_uv_options *options);

/* Bytes that buffers and tables may use at most. */
uint64_t world_uv_memory_max(const struct world_uv_options *options);

enum world_uv_refusal { WORLD_UV_OK, WORLD_UV_MEMORY, WORLD_UV_CLIENT_PORT, WORLD_UV_PEER_PORT };

/* Listens on both ports. `*code` is libuv's error of a port that cannot be listened on. `loop` and
 * `logger` outlive the world. After a refusal the loop must still run until it is empty. */
MUST_USE enum world_uv_refusal world_uv_open(struct world **world, uv_loop_t *loop,
                                             struct logger *logger,
                                             const struct world_uv_options *options, int *code);

/* Begins to dial the peers. */
void world_uv_start(struct world *world);

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
