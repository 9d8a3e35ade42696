/* server/config_internal.h: what the files of the configuration share. */
#ifndef SERVER_CONFIG_INTERNAL_H
#define SERVER_CONFIG_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/macros.h"
#include "base/text.h"
#include "server/config.h"

/* From weak to strong. */
enum config_source {
    CONFIG_SOURCE_DEFAULT,
    CONFIG_SOURCE_FILE,
    CONFIG_SOURCE_ENVIRONMENT,
    CONFIG_SOURCE_FLAGS,
};

enum config_kind {
    CONFIG_NAME, /* Of a node: [a-z0-9-]{1,32}. */
    CONFIG_PATH,
    CONFIG_ADDRESS,  /* host:port */
    CONFIG_MEMBERS,  /* name=host:port,... The last list holds. */
    CONFIG_DIALS,    /* The same; entries of one source are joined. */
    CONFIG_DURATION, /* Into milliseconds. */
    CONFIG_NUMBER,
    CONFIG_SIZE,   /* Bytes, or with KiB, MiB, GiB. */
    CONFIG_SWITCH, /* On the command line only. */
};

struct config_setting {
    const char *name;
    enum config_kind kind;
    size_t offset;   /* In struct config. */
    size_t capacity; /* Of texts, with the final zero. */
    uint64_t low;    /* Of numbers. */
    uint64_t high;
    const char *value; /* For --help: NULL for a switch. */
    const char *help;
};

/* Where a value stands. */
struct config_place {
    enum config_source source;
    const char *path; /* CONFIG_SOURCE_FILE. */
    unsigned line;
    bool is_continued; /* The line goes on with the list of the line before. */
};

/* NULL when there is none. */
const struct config_setting *config_setting_find(struct bytes name);

/* The known name that is fewest edits away. */
const struct config_setting *config_setting_nearest(struct bytes name);

/* Takes `value` unless a stronger source has set it. */
MUST_USE bool config_setting_apply(struct config *config, const struct config_setting *setting,
                                   struct bytes value, const struct config_place *place,
                                   struct config_problem *problem);

/* Empties the problem and lets `text` write into it. */
void config_problem_begin(struct config_problem *problem, int exit_status, struct text *text);

/* "--client: ", "environment HOLDFAST_CLIENT: " or "path:12: client: "; without a setting, the
 * place alone. */
void config_place_add(const struct config_place *place, const struct config_setting *setting,
                      struct text *text);

/* "HOLDFAST_ELECTION_MIN" */
void config_environment_name(const struct config_setting *setting, struct text *text);

#endif
