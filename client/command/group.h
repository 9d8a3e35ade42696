/* client/command/group.h: what lives in a process group.
 *
 * kill(-group, 0) cannot tell: a zombie that nobody has waited for yet is a member too, and the
 * command's own is kept so that the group's number cannot become another's. */
#ifndef CLIENT_COMMAND_GROUP_H
#define CLIENT_COMMAND_GROUP_H

#include <stdbool.h>
#include <sys/types.h>

/* Whether a process of the group still runs. Exact once the group was sent SIGKILL, after which
 * none of it can fork; before that one that is forked meanwhile may be missed. False when the
 * system does not show its processes (no /proc). */
bool group_lives(pid_t group);

#endif
