/* client/command/options.h: what the command line of `holdfast` says, as a value.
 *
 * Pure: nothing is opened, allocated or printed. All strings are borrowed from the arguments and
 * the environment. Options stand before or after the command's name, up to `--`; of a repeated
 * option the last value holds. */
#ifndef CLIENT_COMMAND_OPTIONS_H
#define CLIENT_COMMAND_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/macros.h"
#include "base/text.h"

enum command {
    COMMAND_DEV,
    COMMAND_DEV_RESTART,
    COMMAND_DEV_ADD,
    COMMAND_LOCK,
    COMMAND_LOCKS,
    COMMAND_LOCKS_SHOW,
    COMMAND_UNLOCK,
    COMMAND_AUDIT,
    COMMAND_PUT,
    COMMAND_GET,
    COMMAND_DEL,
    COMMAND_CAS,
    COMMAND_LS,
    COMMAND_WATCH,
    COMMAND_SESSION_LS,
    COMMAND_SESSION_END,
    COMMAND_STATUS,
    COMMAND_MEMBER_LS,
    COMMAND_MEMBER_ADD,
    COMMAND_MEMBER_REMOVE,
    COMMAND_MEMBER_PROMOTE,
    COMMAND_LEADER_MOVE,
    COMMAND_SNAPSHOT_SAVE,
    COMMAND_BENCH,
    COMMAND_TOP,
    COMMAND_DOCTOR,
    COMMAND_TXN,
    COMMAND_HELP,
    COMMAND_VERSION,
    COMMAND_ELECT,
    COMMAND_ELECT_OBSERVE,
};

enum { OPTIONS_OPERAND_COUNT_MAX = 4, OPTIONS_PROBLEM_SIZE = 512, OPTIONS_ENDPOINT_COUNT_MAX = 16 };

enum {
    OPTIONS_KEY_SIZE_MAX = 480, /* Limits of the protocol (wire/messages.def). */
    OPTIONS_NAME_SIZE_MAX = 255,
    OPTIONS_ELECTION_SIZE_MAX = 254,
    OPTIONS_NODE_SIZE_MAX = 32,
    OPTIONS_OWNER_SIZE_MAX = 255,
    OPTIONS_PATH_SIZE_MAX = 1024,
    OPTIONS_METADATA_SIZE_MAX = 255,
    OPTIONS_REASON_SIZE_MAX = 255,
    OPTIONS_PERMIT_COUNT_MAX = 1000000,
    OPTIONS_DELAY_MS_MAX = 60000,
    OPTIONS_VALUE_SIZE_MAX = 512 * 1024,
};

enum options_clause_kind { CLAUSE_IF, CLAUSE_THEN, CLAUSE_ELSE };

enum { OPTIONS_CLAUSE_COUNT_MAX = 192 }; /* 64 of each kind. */

/* One part of a transaction (client/command/txn_text.h). */
struct options_clause {
    enum options_clause_kind kind;
    const char *text;
};

struct options {
    enum command command;
    const char *operands[OPTIONS_OPERAND_COUNT_MAX]; /* Behind the command's words. */
    uint32_t operand_count;
    char *const *child; /* CMD and its arguments, ended by NULL; NULL without CMD. */
    const char *endpoints;
    const char *auth_file; /* NULL: none. */
    bool json;
    uint64_t timeout_ms;

    const char *dir; /* dev; NULL: a new folder. */
    uint64_t nodes;
    bool nodes_given;
    uint64_t port;

    uint64_t ttl_ms; /* lock; put --session */
    bool ttl_given;
    uint64_t wait_ms;
    bool wait_given; /* Otherwise `lock` waits for ever. */
    bool try;
    const char *owner; /* Also of put; NULL: made up. Of unlock: who does it. */
    bool shared;
    uint64_t permits; /* 0: the lock counts none. */
    uint64_t units;   /* Permits that are taken; 0: one. */
    uint64_t delay_ms;
    const char *metadata; /* NULL: none. */

    bool election; /* locks show, unlock: the name is of an election. */

    bool force; /* unlock */
    uint64_t token;
    const char *reason;

    bool absent; /* cas */

    bool session; /* put */

    struct options_clause clauses[OPTIONS_CLAUSE_COUNT_MAX]; /* txn, in the order given. */
    uint32_t clause_count;
    bool locks; /* watch */
    uint64_t from;

    bool learner;        /* member add */
    const char *replace; /* member promote; NULL: nobody leaves. */

    uint64_t clients; /* bench */
    uint64_t connections;
    uint64_t value_size;
    uint64_t keys;
    uint64_t seconds_ms;
    uint64_t warmup_ms;

    uint64_t interval_ms; /* top */
    uint64_t frames;      /* 0: for ever. */

    bool help;
    bool version;
};

struct options_problem {
    int exit_status;                 /* EXIT_USAGE or EXIT_INPUT (client/command/exit.h). */
    char text[OPTIONS_PROBLEM_SIZE]; /* What is wrong and what to do; no line end. */
};

/* `arguments` without the program's name, ended by NULL. `environment_endpoints` may be NULL. False
 * with `*problem` filled in when the command line cannot be carried out. */
MUST_USE bool options_parse(struct options *options, char *const *arguments,
                            const char *environment_endpoints, struct options_problem *problem);

/* "host:port,host:port": each port from 1 to 65535, at most OPTIONS_ENDPOINT_COUNT_MAX of them. */
bool options_endpoints_are_valid(const char *endpoints);

/* The text of `holdfast help`, or with a command's first word of that command alone; false when
 * there is no such command. */
MUST_USE bool options_help(const char *word, struct text *text);

#endif
