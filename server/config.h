/* server/config.h: what holdfastd is told: flags, then environment, then an INI file.
 *
 * Every setting has one name: `--election-min`, HOLDFAST_ELECTION_MIN, `election-min =`. A stronger
 * source (flags) hides a weaker one (file) whatever the order of the calls; within one source the
 * last value holds. `dial` and `cluster` are lists: within one source each name's last address
 * holds for `dial`, the whole last list for `cluster`. A name that is not known is an error.
 *
 * Pure functions over strings: no file is opened, nothing is allocated. Each returns false with
 * `*problem` filled in: what is wrong, where, and what to do. */
#ifndef SERVER_CONFIG_H
#define SERVER_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/credentials.h"
#include "base/macros.h"
#include "base/text.h"
#include "node/node.h"

enum {
    CONFIG_PATH_SIZE = 1024, /* With the final zero, like the sizes below. */
    CONFIG_NAME_SIZE = NODE_NAME_SIZE_MAX + 1,
    CONFIG_ADDRESS_SIZE = NODE_ADDRESS_SIZE_MAX + 1,
    CONFIG_PROBLEM_SIZE = 768,
    CONFIG_SETTING_COUNT_MAX = 32,
    CONFIG_TEXT_SIZE_MAX = 1 << 16, /* Of an INI file. */
};

/* Exit statuses of a refused configuration. */
enum {
    CONFIG_EXIT_USAGE = 64,   /* A flag that is not known or has no value. */
    CONFIG_EXIT_INVALID = 78, /* Anything else. */
};

struct config_problem {
    int exit_status;
    char text[CONFIG_PROBLEM_SIZE]; /* One sentence or two, without a line end. */
};

struct config_member {
    char name[CONFIG_NAME_SIZE];
    char address[CONFIG_ADDRESS_SIZE];
};

struct config_members {
    uint32_t count;
    struct config_member items[NODE_MEMBER_COUNT_MAX];
};

struct config {
    char name[CONFIG_NAME_SIZE];
    char data[CONFIG_PATH_SIZE];
    char client[CONFIG_ADDRESS_SIZE];
    char peer[CONFIG_ADDRESS_SIZE];             /* Empty until config_check(). */
    char advertise_client[CONFIG_ADDRESS_SIZE]; /* Likewise. */
    char config[CONFIG_PATH_SIZE];              /* The INI file, or empty. */
    char dump[CONFIG_PATH_SIZE];                /* Print this folder's log and end, or empty. */
    char restore[CONFIG_PATH_SIZE];             /* A backup that founds the cluster, or empty. */
    char auth_file[CONFIG_PATH_SIZE];           /* Tokens of clients, or empty: all are served. */
    const struct credentials *credentials;      /* What was in it: main() sets it. */
    struct config_members cluster;
    struct config_members dial; /* Where this node alone dials others, listed or not. */
    uint64_t election_min_ms;
    uint64_t election_max_ms;
    uint64_t heartbeat_ms;
    uint64_t clock_rate_ppm;
    uint64_t read_lease_ms; /* 0: reads always have a round. */
    uint64_t margin_ms;
    uint64_t max_connections; /* Of clients. */
    uint64_t max_sessions;
    uint64_t max_segments; /* Files of the log. */
    uint64_t snapshot_log; /* Bytes of the log between two snapshots. */
    uint64_t disk_low;     /* Bytes: a disk with less left is low; 0: never. */
    uint64_t max_watches;  /* Of all connections. */
    uint64_t watch_memory; /* Bytes of the newest changes that are kept for them. */
    uint64_t map_size;     /* Bytes that the table may grow to. */
    uint64_t client_rate;  /* Requests of one connection in a second; 0: no limit. */
    uint64_t client_burst; /* The same at once. */
    bool accepts_loss;     /* Of `holdfastd recover`: it is not asked any more. */
    bool help;
    bool version;
    uint8_t sources[CONFIG_SETTING_COUNT_MAX]; /* Private: which source each setting is from. */
};

/* The defaults. */
void config_init(struct config *config);

/* `arguments` without the program's name. `--name value` and `--name=value`. */
MUST_USE bool config_parse_flags(struct config *config, int argument_count,
                                 const char *const *arguments, struct config_problem *problem);

/* NAME=value strings, ended by NULL. Only names that begin with HOLDFAST_ are looked at; those of
 * the command `holdfast` (such as HOLDFAST_ENDPOINTS) are left to it. */
MUST_USE bool config_parse_environment(struct config *config, const char *const *environment,
                                       struct config_problem *problem);

/* The text of an INI file. `path` is for messages only. */
MUST_USE bool config_parse_text(struct config *config, const char *path, struct bytes text,
                                struct config_problem *problem);

/* Whether the whole is consistent; fills in what follows from other settings (peer,
 * advertise_client). To be called once, after everything was parsed. */
MUST_USE bool config_check(struct config *config, struct config_problem *problem);

/* The same for `holdfastd recover`, which needs a folder alone. */
MUST_USE bool config_check_recover(const struct config *config, struct config_problem *problem);

/* The place of `name` in the list, or `members->count`. */
uint32_t config_member_find(const struct config_members *members, const char *name);

/* The text of --help. */
void config_help(struct text *text);

#endif
