/* client/command/options_table.h: the commands and options there are, private to the parser. */
#ifndef CLIENT_COMMAND_OPTIONS_TABLE_H
#define CLIENT_COMMAND_OPTIONS_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "client/command/options.h"

enum option_kind {
    OPTION_SWITCH,
    OPTION_TEXT,
    OPTION_DURATION,
    OPTION_SECONDS,
    OPTION_NUMBER,
    OPTION_CLAUSE, /* May be repeated; `low` is its kind. */
};

struct option_row {
    const char *name;
    enum option_kind kind;
    size_t offset;     /* In struct options. */
    uint64_t commands; /* A bit for each that has it. */
    uint64_t low;      /* Of numbers and durations, in milliseconds. */
    uint64_t high;
    const char *value; /* For help. */
    const char *help;
};

struct command_row {
    enum command command;
    const char *word;
    const char *second; /* NULL: one word. */
    uint32_t operands_min;
    uint32_t operands_max;
    bool needs_endpoints;
    const char *operands;
    const char *help;
};

/* NULL when there is none. */
const struct option_row *option_find(struct bytes name);

/* Its place in the table, below 64. */
uint32_t option_number(const struct option_row *row);

/* An option that was given but does not belong to the command; NULL when all do. `given` has the
 * bit of each option's number. */
const struct option_row *option_misplaced(uint64_t given, enum command command);

/* The known name that is the fewest edits away. */
const char *option_nearest(const char *name);

/* The command that the words begin with; NULL when there is none. */
const struct command_row *command_find(const char *const *words, uint32_t count);

/* The first command that has this first word, or NULL. */
const struct command_row *command_with_word(const char *word);

/* The nearest first word when `second` is NULL, otherwise the nearest second word of `word`. */
const char *command_nearest(const char *word, const char *second);

#endif
