/* client/command/child.h: the command that runs while a lock is held, in a process group of its
 * own. It does not begin before child_start(), and never when its parent dies before that. */
#ifndef CLIENT_COMMAND_CHILD_H
#define CLIENT_COMMAND_CHILD_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/macros.h"

struct child {
    pid_t pid; /* Also the number of its group; 0: none. */
    int gate_fd;
    bool has_terminal; /* It was put into the terminal's foreground. */
    int terminal_fd;   /* Then: the terminal. */
};

enum child_state { CHILD_RUNS, CHILD_IS_SUSPENDED, CHILD_HAS_ENDED };

/* Puts what a command may know of its lock or election into the environment of the children to
 * come.
 */
void child_name_lock(bool is_election, const char *name, uint64_t token, uint64_t deadline_wall_ms);

/* False, with errno, when it cannot be forked. `arguments` end in NULL. `ignored` are the signals
 * that the caller of holdfast ignored at its start. */
MUST_USE bool child_open(struct child *child, char *const *arguments, const sigset_t *ignored);

void child_start(struct child *child);

/* To every process of the group. */
void child_signal(const struct child *child, int number);

/* Never waits. CHILD_IS_SUSPENDED: from the terminal's keyboard. An ended child keeps its number,
 * and its group's, until child_close(). */
enum child_state child_look(const struct child *child);

/* Waits for its end and takes the terminal back. Returns its status as a shell would say it. */
int child_close(struct child *child);

#endif
