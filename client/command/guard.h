/* client/command/guard.h: a second small process that ends a command before its lock's deadline.
 *
 * It is forked before anything else is opened, and knows only a pipe from its parent and one back.
 * It ends the command's process group by guard_plan.h even while the parent is frozen, and with
 * SIGKILL at once when the parent is gone without having told it to let go. Deadlines are those of
 * clock_now_ms(). */
#ifndef CLIENT_COMMAND_GUARD_H
#define CLIENT_COMMAND_GUARD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/macros.h"

struct guard {
    pid_t pid;   /* 0: ended, also when it was gone or silent. */
    int to_fd;   /* Never blocks. */
    int from_fd; /* Readable when the guard has begun to end the group, or is gone. */
};

/* Forks it. False, with errno, when the system has no room. */
MUST_USE bool guard_open(struct guard *guard, uint64_t ttl_ms);

/* From now on the group is guarded: returns only when the guard knows it. False when it is already
 * ending the group, for which hardly any time is left, or when it is gone or silent: then it is
 * ended. */
MUST_USE bool guard_watch(struct guard *guard, pid_t group, uint64_t deadline_ms);

/* A later deadline. Lost when the guard is frozen and the pipe full: then the older one holds. */
void guard_extend(struct guard *guard, uint64_t deadline_ms);

enum guard_notice { GUARD_IS_QUIET, GUARD_IS_ENDING, GUARD_IS_GONE };

/* What the guard has said without being asked. Never waits. */
enum guard_notice guard_look(struct guard *guard);

/* The group is no longer guarded; to be called before its number can be another's. True when the
 * guard had left it alone until then; false when it had begun to end it, or is gone or silent. A
 * silent one is ended, so that it kills no stranger's group when it wakes up. */
MUST_USE bool guard_release(struct guard *guard);

/* Ends the guard process, which guards nothing any more. Never waits for a frozen one. */
void guard_close(struct guard *guard);

#endif
