/* client/command/session_end.h: `holdfast session end ID`.
 *
 * The library ends its own sessions only; an operator ends anyone's. So this speaks the protocol
 * itself (docs/protocol.md): hello and session_end to one node after the other, until one answers
 * for the cluster or --timeout is over. Ending is safe to send again. */
#ifndef CLIENT_COMMAND_SESSION_END_H
#define CLIENT_COMMAND_SESSION_END_H

#include "client/command/run.h"

/* Returns the exit status. */
int session_end_run(struct run *run);

#endif
