/* client/command/output.h: whole lines on standard output, each written at once; messages for
 * people on standard error.
 *
 * One line is put together in `text` (base/text.h) and sent by output_line(). The memory is taken
 * once and is large enough for the largest line there is. After a failed write nothing more is
 * written; output_close() says so. */
#ifndef CLIENT_COMMAND_OUTPUT_H
#define CLIENT_COMMAND_OUTPUT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/macros.h"
#include "base/text.h"

struct output {
    struct text text;
    int error; /* Of the first write that failed. */
};

void output_open(struct output *output);

/* False, after a message on standard error unless the reader is just gone, when a write failed. */
MUST_USE bool output_close(struct output *output);

/* Writes what there is, be it no whole line. */
void output_flush(struct output *output);

/* Writes the line, with a line end added, and begins the next. */
void output_line(struct output *output);

/* "," and "name": before a value in an object, without the comma behind "{". */
void output_name(struct output *output, const char *name);
void output_u64(struct output *output, const char *name, uint64_t value);
void output_text(struct output *output, const char *name, const char *value);
void output_null(struct output *output, const char *name);

/* "name":"text"; when the bytes are not valid UTF-8 also "name_hex" with all of them. */
void output_bytes(struct output *output, const char *name, struct bytes value);

/* `value` in `width` columns, cut never, filled up with spaces. */
void output_column(struct output *output, struct bytes value, size_t width);
void output_column_u64(struct output *output, uint64_t value, size_t width);

/* "holdfast: ..." and a line end on standard error. */
void complain(const char *format, ...) PRINTF_LIKE(1, 2);

#endif
