/* jepsen/proxy.h: TCP links that break on command.
 *
 * A link listens on one address and forwards each connection to another. All links of a cluster
 * live in one proxy on one libuv loop; faults are commands of one line. A link has two directions:
 * "ahead" from who dialed to the target, "back" the other way.
 *
 *     add LINK LISTEN TARGET     a new link; both addresses as IPv4:port
 *     cut LINK [DIRECTION]       bytes that arrive are lost, and so is the news that one end closed
 *     stall LINK [DIRECTION]     bytes wait; what fits into the buffers arrives late
 *     delay LINK MS              bytes of both directions take so long, in order
 *     reset LINK                 connections end with a reset, at once
 *     heal LINK                  no fault any more; connections that have lost bytes are reset
 *     list                       one line for each link
 *
 * LINK is a name or `*`; DIRECTION is ahead, back or both (the default). A connection that is made
 * while its link is cut is accepted, because the kernel does so, and hears nothing. Memory is
 * bounded: a direction holds at most 1 MiB, then the proxy stops reading. */
#ifndef JEPSEN_PROXY_H
#define JEPSEN_PROXY_H

#include <uv.h>

#include "base/macros.h"
#include "base/text.h"

enum {
    PROXY_LINK_COUNT_MAX = 128,
    PROXY_NAME_SIZE = 32,
    PROXY_CONNECTION_COUNT_MAX = 1024, /* Of one link; more are reset as they come. */
};

struct proxy; /* Opaque. */

/* NULL when there is no memory. The loop is the caller's. */
MUST_USE struct proxy *proxy_open(uv_loop_t *loop);

/* Resets all connections and closes all links; the loop must run on until it has no handles, then
 * proxy_free() gives the memory back. */
void proxy_close(struct proxy *proxy);
void proxy_free(struct proxy *proxy);

/* Carries one command out. `answer` gets what the command prints, then one line: "ok", or "error:"
 * and the reason. */
void proxy_command(struct proxy *proxy, const char *line, struct text *answer);

#endif
