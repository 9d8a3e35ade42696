/* node/dump.h: records of the log as text, for `holdfastd --dump`.
 *
 * One record gives one line of JSON without a line end:
 *     {"index":7,"term":2,"kind":"command","method":"put","log_ms":1500,"session":3,"sequence":1,
 *      "params":{...}}
 * Values of params are shortened. The line is always valid JSON, whatever the record holds: what
 * cannot be understood is named in "problem". */
#ifndef NODE_DUMP_H
#define NODE_DUMP_H

#include <stdint.h>

#include "base/bytes.h"
#include "base/macros.h"

enum { DUMP_LINE_SIZE_MAX = 8192 };

/* Takes the first record off `*records` and appends its line to `line`, which has room for
 * DUMP_LINE_SIZE_MAX bytes. False, with nothing appended, at the end of `*records`. */
MUST_USE bool dump_record(struct bytes *records, struct buffer *line);

#endif
