/* node/world.h: what a node asks of the world besides its disk and its table.
 *
 * The product links server/world_uv.c (libuv), tests and simulator their own. None of these calls
 * back into the node: whatever happens comes as an event of a later turn. */
#ifndef NODE_WORLD_H
#define NODE_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/macros.h"

struct world; /* Opaque. */

/* A connection that somebody opened to this node; a small number, given by the world, in use from
 * its OPENED event until its CLOSED event. */
typedef uint32_t world_connection;

/* The two connections that this node dials to each peer: bulk carries entries and their replies,
 * fast carries heartbeats and votes, so that bulk cannot delay them. Dialed again for ever, with
 * backoff. They carry frames one way: what the peer says comes on connections that it dialed. */
enum world_lane { WORLD_LANE_BULK, WORLD_LANE_FAST, WORLD_LANE_COUNT };

/* From now on peer number `peer` (below NODE_PEER_COUNT_MAX) is the node `name` at `address`, which
 * it told itself or the operator gave: dialed at once, and again for ever. What stood before under
 * this number is hung up; its DOWN events still come. An empty address: nobody is dialed. Both are
 * borrowed for the call. An address that cannot be one is logged and not dialed. */
void world_set_peer(struct world *world, uint32_t peer, struct bytes name, struct bytes address);

/* Room for `size` more bytes towards a connection or a peer, contiguous, NULL when it is closed or
 * its output limit is reached. world_commit_*() then says how many of them were used (at most
 * `size`); nothing else may be reserved in between. All of a turn leaves with one write. */
MUST_USE uint8_t *world_reserve(struct world *world, world_connection connection, size_t size);
void world_commit(struct world *world, world_connection connection, size_t size);

/* The same, if there would be room for `rest` bytes more behind it. */
MUST_USE uint8_t *world_reserve_beside(struct world *world, world_connection connection,
                                       size_t size, size_t rest);

MUST_USE uint8_t *world_reserve_link(struct world *world, uint32_t peer, enum world_lane lane,
                                     size_t size);
void world_commit_link(struct world *world, uint32_t peer, enum world_lane lane, size_t size);

/* Closes after what was committed has left, or at once when it does not leave within a second. Its
 * CLOSED event still comes. */
void world_close(struct world *world, world_connection connection);

/* Unpredictable bytes. */
void world_entropy(struct world *world, void *data, size_t size);

/* One event for people, as key=value pairs without a line end; the world adds time and node. */
enum world_level { WORLD_INFO, WORLD_WARNING, WORLD_ERROR };
void world_log(struct world *world, enum world_level level, struct bytes line);

#endif
