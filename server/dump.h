/* server/dump.h: prints the log of a stopped node as JSON lines. */
#ifndef SERVER_DUMP_H
#define SERVER_DUMP_H

#include "base/macros.h"

/* One line for each record, and one for each damaged place:
 *     {"problem":"...","file":"...","offset":N}
 * to `descriptor`. Changes nothing in the folder. The exit status: 0; 1 when the log cannot be
 * read (one line on standard error) or holds damage. */
MUST_USE int dump_print(const char *folder, int descriptor);

#endif
