/* server/links.h: the connections that this node dials, two to each peer.
 *
 *     IDLE <--> WAITING --timer--> RESOLVING --> CONNECTING --> UP
 *                  ^                   |             |           |
 *                  +------backoff------+-------------+-----------+
 *
 * A peer has a number and an address, which may change or be taken away: then what stood is hung
 * up.  * Dialed for ever, with a pause that doubles from 20 ms to 500 ms (and varies by half) until
 * a connection has stood for a second. Names are resolved anew each time. */
#ifndef SERVER_LINKS_H
#define SERVER_LINKS_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/macros.h"
#include "node/node.h"
#include "server/address.h"
#include "server/channel.h"

struct links; /* Opaque. */

struct links_options {
    size_t buffered_max; /* Bytes of all buffers. */
    uint64_t seed;       /* Of the pauses. */
};

/* `loop` outlives it. NULL when there is no memory. */
struct links *links_open(uv_loop_t *loop, const struct links_options *options);

/* From now on this is where peer number `peer` is dialed; NULL: nobody is. */
void links_set(struct links *links, uint32_t peer, const struct address *address);

/* Begins to close everything; the loop must run until nothing is left before links_free(). */
void links_close(struct links *links);
void links_free(struct links *links);

/* As in server/connections.h. */
bool links_are_ready(const struct links *links);
uint32_t links_gather(struct links *links, struct node_event *events, uint32_t events_max);
void links_settle(struct links *links, const struct node_event *events, uint32_t events_count);
void links_flush(struct links *links);

/* As world_reserve_link() and world_commit_link(). */
uint8_t *links_reserve(struct links *links, uint32_t peer, enum world_lane lane, size_t size);
void links_commit(struct links *links, uint32_t peer, enum world_lane lane, size_t size);

#endif
