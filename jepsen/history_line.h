/* jepsen/history_line.h: one line of a history file, taken apart. */
#ifndef JEPSEN_HISTORY_LINE_H
#define JEPSEN_HISTORY_LINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/macros.h"

enum {
    HISTORY_LINE_SIZE_MAX = 4 * 1024 * 1024, /* With the line feed. */
    HISTORY_LINE_FIELD_MAX = 32,
    HISTORY_LINE_ITEM_MAX = 64 * 1024, /* Of one list. */
};

enum line_kind {
    LINE_NULL,
    LINE_TEXT,   /* A string, unescaped. */
    LINE_NUMBER, /* As it is written. */
    LINE_TRUE,
    LINE_FALSE,
    LINE_LIST,
    LINE_OTHER, /* An object: it is not looked into. */
};

struct line_value {
    enum line_kind kind;
    struct bytes bytes; /* Of a text or a number. */
    char *inside;       /* Of a list: what is between its brackets. */
    size_t inside_size;
};

struct line_field {
    struct bytes name;
    struct line_value value;
};

struct line {
    struct line_field fields[HISTORY_LINE_FIELD_MAX];
    uint32_t field_count;
};

/* Takes the text of one JSON object apart; strings are unescaped in its own memory, where the
 * fields stay. NULL, or what is wrong with it. */
MUST_USE const char *line_parse(char *text, size_t size, struct line *line);

/* NULL when there is none. */
const struct line_value *line_find(const struct line *line, const char *name);

/* The values of a list: their count, or HISTORY_LINE_ITEM_MAX + 1 for more, or for one that is
 * not a list of strings, numbers and nulls. Unescapes, so it can be called once for each list. */
uint32_t line_items(const struct line_value *list, struct line_value *items);

#endif
