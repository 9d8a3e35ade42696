/* tests/support/log/golden.h: the bytes of tests/golden/log/NAME.hex.
 *
 * A line is an offset and the 32 bytes there; lines of zeros are left out, the last line is the
 * size. With GOLDEN_UPDATE=1 in the environment the file is written anew. Run from the root of the
 * project. */
#ifndef TESTS_SUPPORT_LOG_GOLDEN_H
#define TESTS_SUPPORT_LOG_GOLDEN_H

#include <stdbool.h>

#include "base/bytes.h"
#include "base/macros.h"

/* Is the file exactly this? Prints where it is not. */
MUST_USE bool log_golden_matches(const char *name, struct bytes bytes);

/* Puts the file's bytes into `to`; false when it cannot be read. */
MUST_USE bool log_golden_read(const char *name, struct buffer *to);

#endif
