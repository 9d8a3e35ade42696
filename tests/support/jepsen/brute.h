/* tests/support/jepsen/brute.h: tries every order. For small histories of one object. */
#ifndef TESTS_SUPPORT_JEPSEN_BRUTE_H
#define TESTS_SUPPORT_JEPSEN_BRUTE_H

#include <stdbool.h>

#include "jepsen/history.h"

enum { BRUTE_OPERATION_COUNT_MAX = 16 };

/* Whether there is an order of all that was answered, with any of what was not, that keeps to real
 * time and explains every answer. Its objects are written apart from jepsen/model.c. */
bool brute_is_linearizable(const struct history *history);

#endif
