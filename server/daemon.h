/* server/daemon.h: one node as a process: opens everything in order, runs it, closes it in reverse.
 */
#ifndef SERVER_DAEMON_H
#define SERVER_DAEMON_H

#include "base/macros.h"
#include "server/config.h"

enum {
    DAEMON_EXIT_STOPPED = 0, /* A signal was obeyed. */
    DAEMON_EXIT_FATAL = 1,   /* One line on standard error said what, where and what to do. */
    DAEMON_EXIT_REMOVED = 3, /* Likewise, and it is of no use to start it again as it is. */
};

/* Blocks until the node has stopped; the exit status of the process. `config` was checked. */
MUST_USE int daemon_run(const struct config *config);

#endif
