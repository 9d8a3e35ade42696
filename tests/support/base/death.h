/* tests/support/base/death.h: shows that a mistake of the caller aborts instead of going on. */
#ifndef TESTS_SUPPORT_BASE_DEATH_H
#define TESTS_SUPPORT_BASE_DEATH_H

#include <stdbool.h>

#include "base/macros.h"

/* Runs `act` in a child process. True when the child aborts and has printed `message` (anywhere in
 * its output to stderr) before. Prints what it saw instead when that is false. */
MUST_USE bool dies(void (*act)(void), const char *message);

#endif
