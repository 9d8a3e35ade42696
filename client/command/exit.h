/* client/command/exit.h: what the exit status of `holdfast` means, and what a result maps to. */
#ifndef CLIENT_COMMAND_EXIT_H
#define CLIENT_COMMAND_EXIT_H

#include <stdbool.h>

#include "client/holdfast.h"

enum exit_status {
    EXIT_DONE = 0,
    EXIT_NO = 1,             /* Absent, or the compared value is another. */
    EXIT_USAGE = 64,         /* The command line is wrong. */
    EXIT_INPUT = 65,         /* An argument's content is not valid. */
    EXIT_REFUSED = 69,       /* The reason and what to do are on standard error. */
    EXIT_UNKNOWN = 74,       /* Sent and never answered: may be applied. */
    EXIT_NOT_ACQUIRED = 75,  /* A leader answered, and the lock is not ours. */
    EXIT_LOST = 76,          /* Lost while held. */
    EXIT_NO_QUORUM = 77,     /* No leader within the timeout. */
    EXIT_CONFIGURATION = 78, /* The file of --auth-file. */
    EXIT_CANNOT_RUN = 126,   /* Of CMD, as shells say it. */
    EXIT_NOT_THERE = 127,
    EXIT_SIGNAL_BASE = 128, /* Ended by signal N: 128 + N. */
};

/* For a request that `is_write` or only reads. */
enum exit_status exit_of_result(const struct holdfast_result *result, bool is_write);

/* For the requests of `lock` before the lock is held. Never EXIT_UNKNOWN: the lock is not ours, and
 * what may be left of the request ends with its session. */
enum exit_status exit_of_acquire(const struct holdfast_result *result);

/* What to do about it, one sentence without a full stop; "" when there is nothing to say. */
const char *exit_advice(enum holdfast_status status);

#endif
