/* tests/support/node/transact_script.h: transactions written down as short lines.
 *
 * "exists a", "absent a", "equal a" (to "value"), ...; "put a" and "bind a" (of "value"), "get a",
 * "delete a", or words that no node knows. */
#ifndef TESTS_SUPPORT_NODE_TRANSACT_SCRIPT_H
#define TESTS_SUPPORT_NODE_TRANSACT_SCRIPT_H

#include <stdint.h>

#include "base/bytes.h"

enum { TRANSACT_SCRIPT_LINE_COUNT_MAX = 4 };

/* Each list ends with NULL, or is full. */
struct transact_script {
    const char *compares[TRANSACT_SCRIPT_LINE_COUNT_MAX];
    const char *success[TRANSACT_SCRIPT_LINE_COUNT_MAX];
    const char *failure[TRANSACT_SCRIPT_LINE_COUNT_MAX];
};

/* The params of the request behind what `params` has; `items` is scratch. Asserts that both have
 * room. */
void transact_script_encode(const struct transact_script *script, uint64_t session,
                            uint64_t sequence, struct buffer *items, struct buffer *params);

#endif
