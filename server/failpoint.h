/* server/failpoint.h: named places where a test build fails on purpose.
 *
 * Only `make FAILPOINTS=1` compiles them (docs/faults.md); in the product the macros are the bare
 * calls, and no name of a point is in it. A point stands before and one after each step that makes
 * something durable: FILE.STEP.before and FILE.STEP.after, where FILE is the kind of the file:
 * "log", "hard" (the hard state), "identity", "snapshot", "format", "marker", "env", "folder", and
 * "memory", of which every allocation is one step.
 * An error injected behind a step says that it failed though it was done. */
#ifndef SERVER_FAILPOINT_H
#define SERVER_FAILPOINT_H

#ifdef HOLDFAST_WITH_FAILPOINTS

#include <stdbool.h>

/* True, with errno set, when the step is to fail. `file` is a file's name or kind. */
bool failpoint_before(const char *file, const char *step);

/* `number`, an errno or 0, unless it is 0 and the step is to fail: then that errno. */
int failpoint_after(const char *file, const char *step, int number);

/* The same for a call that gives -1 and sets errno. */
int failpoint_after_call(const char *file, const char *step, int result);

/* Around a call that gives an errno or 0. */
#define FAILPOINT(file, step, call)                                                                \
    (failpoint_before(file, step) ? errno : failpoint_after(file, step, call))

/* Around a call that gives -1 and sets errno. */
#define FAILPOINT_CALL(file, step, call)                                                           \
    (failpoint_before(file, step) ? -1 : failpoint_after_call(file, step, call))

#else

#define FAILPOINT(file, step, call)      (call)
#define FAILPOINT_CALL(file, step, call) (call)

#endif
#endif
