/* server/loop.h: the one event loop, and the one place where node_turn() is called.
 *
 * Callbacks of libuv only collect. After each poll a check handle hands all that arrived to the
 * node as one batch (several, when it is more than one array of events holds), and then writes
 * what the node left. One timer wakes the loop at node_wake_ms(). */
#ifndef SERVER_LOOP_H
#define SERVER_LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/macros.h"
#include "log/disk.h"
#include "node/node.h"
#include "server/clock.h"
#include "server/logger.h"

struct loop; /* Opaque. */

/* NULL when there is no memory or no descriptor left; errno says which. */
struct loop *loop_open(struct logger *logger);

/* For the disk and the world, which are opened on it. */
uv_loop_t *loop_uv(struct loop *loop);
uv_async_t *loop_wake(struct loop *loop);
struct clock *loop_clock(struct loop *loop);

/* From now on the node is told what the disk of `path` has left. The path is borrowed until
 * loop_close(). */
void loop_watch_space(struct loop *loop, const char *path);

enum loop_end {
    LOOP_STOPPED, /* A signal came, and the node has finished. */
    LOOP_LATE,    /* A signal came, and the node did not finish in time. */
    LOOP_FAILED,  /* node_problem() says why. */
};

/* Runs until a signal (SIGTERM, SIGINT) was obeyed or the node cannot go on. */
MUST_USE enum loop_end loop_run(struct loop *loop, struct node *node, struct world *world,
                                struct disk *disk);

/* Runs until everything that was closed on it is gone, then frees it. */
void loop_close(struct loop *loop);

#endif
