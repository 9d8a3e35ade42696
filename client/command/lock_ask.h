/* client/command/lock_ask.h: what `holdfast lock` and `elect` ask for, from its options, and what
 * it says. */
#ifndef CLIENT_COMMAND_LOCK_ASK_H
#define CLIENT_COMMAND_LOCK_ASK_H

#include <stdbool.h>
#include <stdint.h>

#include "client/command/options.h"
#include "client/command/output.h"
#include "client/holdfast.h"

/* Borrows from the options. What is left of --wait runs from the first time that the lock is asked
 * for: `*asked_ms` is 0 then, and set. */
void lock_ask_init(struct holdfast_lock_options *ask, const struct options *options,
                   uint64_t *asked_ms);

/* The line of a lock that is held without a command, or of an election that is led so. */
void lock_print_token(struct output *output, const struct options *options, uint64_t token);

/* "exclusive", "shared", "permits". */
const char *lock_mode_text(enum holdfast_lock_mode mode);

#endif
