/* tests/support/wire/golden.h: the files of tests/golden/wire, bytes as hexadecimal digits.
 *
 * Lines that begin with '#' are comments. Run from the root of the project. */
#ifndef TESTS_SUPPORT_WIRE_GOLDEN_H
#define TESTS_SUPPORT_WIRE_GOLDEN_H

#include <stdbool.h>

#include "base/bytes.h"
#include "base/macros.h"

/* Is GOLDEN_UPDATE set in the environment? */
bool golden_is_updated(void);

/* Replaces tests/golden/wire/`name`.hex. False when it cannot be written. */
MUST_USE bool golden_write(const char *name, struct bytes bytes);

/* Appends the bytes of tests/golden/wire/`name`.hex to `to`. False when it cannot be read. */
MUST_USE bool golden_read(const char *name, struct buffer *to);

#endif
