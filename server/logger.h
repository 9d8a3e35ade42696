/* server/logger.h: one line for each event, for people, to standard error.
 *
 *     time=2026-01-02T03:04:05.678Z node=n1 level=info event=...
 *
 * One write for each line. A reader that does not keep up never stops the node: lines that do not
 * fit into the pipe are counted and dropped, and the next one that fits says how many. */
#ifndef SERVER_LOGGER_H
#define SERVER_LOGGER_H

#include <stdint.h>

#include "base/bytes.h"
#include "base/text.h"
#include "node/world.h"

enum { LOGGER_LINE_SIZE = 2048 };

struct logger {
    int descriptor;
    const char *name; /* Of the node; outlives the logger. */
    uint64_t dropped; /* Lines since the last one that was written. */
};

void logger_init(struct logger *logger, int descriptor, const char *name);

/* `line` is "event=... key=value ..."; what is too long is cut off. */
void logger_write(struct logger *logger, enum world_level level, struct bytes line);

/* "event=NAME" in memory of the caller, to which key=value pairs are added. */
void logger_line_begin(struct text *line, char memory[LOGGER_LINE_SIZE], const char *event);
void logger_line_add(struct text *line, const char *key, const char *value);
void logger_line_add_number(struct text *line, const char *key, uint64_t value);

/* Time since 1970 as in the lines; `text` holds LOGGER_TIME_SIZE bytes. */
enum { LOGGER_TIME_SIZE = 32 };
void logger_time_to_text(uint64_t unix_ms, char text[LOGGER_TIME_SIZE]);

#endif
