/* client/command/options.c: the parser over the tables of commands and options. */
#include "client/command/options.h"

#include <stddef.h>
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/duration.h"
#include "client/command/exit.h"
#include "client/command/options_table.h"

enum { WORD_COUNT_MAX = OPTIONS_OPERAND_COUNT_MAX + 2, SECONDS_TEXT_SIZE = 32, PART_COUNT_MAX = 6 };

/* The command line, taken apart before it is known which command it is. */
struct words {
    const char *items[WORD_COUNT_MAX];
    uint32_t count;
    uint64_t given; /* A bit for each row of option_rows. */
    char *const *rest;
};

MUST_USE static bool refuse(struct options_problem *problem, int exit_status,
                            const char *const parts[PART_COUNT_MAX])
{
    struct text text;

    ASSERT(exit_status == EXIT_USAGE || exit_status == EXIT_INPUT);
    problem->exit_status = exit_status;
    text_init(&text, problem->text, sizeof(problem->text));
    for (unsigned i = 0; i < PART_COUNT_MAX && parts[i] != NULL; i++) {
        text_add(&text, parts[i]);
    }
    return false;
}

#define REFUSE(problem, exit_status, ...)                                                          \
    refuse((problem), (exit_status), (const char *const[PART_COUNT_MAX]){__VA_ARGS__})

static void defaults(struct options *options)
{
    *options = (struct options){.timeout_ms = 5000,
                                .nodes = 3,
                                .port = 7100,
                                .ttl_ms = 10000,
                                .clients = 64,
                                .value_size = 256,
                                .keys = 10000,
                                .seconds_ms = 10000,
                                .warmup_ms = 2000,
                                .interval_ms = 1000};
}

/* A plain number is a number of seconds. */
static bool parse_seconds(const char *value, uint64_t *ms)
{
    char with_unit[SECONDS_TEXT_SIZE];
    struct text text;

    if (duration_parse(value, ms)) {
        return true;
    }
    text_init(&text, with_unit, sizeof(with_unit));
    text_add(&text, value);
    text_add(&text, "s");
    return !text.truncated && duration_parse(with_unit, ms);
}

static bool parse_number(enum option_kind kind, const char *value, uint64_t *number)
{
    switch (kind) {
    case OPTION_DURATION:
        return duration_parse(value, number);
    case OPTION_SECONDS:
        return parse_seconds(value, number);
    case OPTION_NUMBER:
        return text_parse_u64(bytes_of_text(value), number);
    case OPTION_SWITCH:
    case OPTION_TEXT:
    case OPTION_CLAUSE:
        break;
    }
    UNREACHABLE();
}

MUST_USE static bool take_clause(struct options *options, const struct option_row *row,
                                 const char *value, struct options_problem *problem)
{
    if (options->clause_count == OPTIONS_CLAUSE_COUNT_MAX) {
        return REFUSE(problem, EXIT_USAGE,
                      "too many of --if, --then and --else: at most 64 of each");
    }
    options->clauses[options->clause_count++] =
        (struct options_clause){.kind = (enum options_clause_kind)row->low, .text = value};
    return true;
}

MUST_USE static bool take_value(struct options *options, const struct option_row *row,
                                const char *value, struct options_problem *problem)
{
    char *field = (char *)options + row->offset;
    uint64_t number = 0;

    ASSERT(row->kind != OPTION_SWITCH);
    if (row->kind == OPTION_CLAUSE) {
        return take_clause(options, row, value, problem);
    }
    if (row->kind == OPTION_TEXT) {
        memcpy(field, &value, sizeof(value));
        return true;
    }
    if (!parse_number(row->kind, value, &number)) {
        const char *wanted = row->kind == OPTION_NUMBER ? ": not a number"
                                                        : ": not a duration such as 500ms, 10s, 2m";
        return REFUSE(problem, EXIT_USAGE, row->name, " ", value, wanted);
    }
    if (number < row->low || number > row->high) {
        return REFUSE(problem, EXIT_USAGE, row->name, " ", value,
                      number < row->low ? ": too small" : ": too large");
    }
    memcpy(field, &number, sizeof(number));
    return true;
}

/* Takes the option at `*at`, and moves `*at` to its last word. */
MUST_USE static bool take_option(struct options *options, struct words *words, char *const **at,
                                 struct options_problem *problem)
{
    const char *argument = **at;
    const char *equals = strchr(argument, '=');
    size_t size = equals == NULL ? strlen(argument) : (size_t)(equals - argument);
    const struct option_row *row = option_find(bytes_of(argument, size));

    if (row == NULL && strcmp(argument, "-h") == 0) {
        row = option_find(bytes_of_text("--help"));
    }
    if (row == NULL) {
        return REFUSE(problem, EXIT_USAGE, "unknown option ", argument, "; did you mean ",
                      option_nearest(argument));
    }
    words->given |= 1ULL << option_number(row);
    if (row->kind == OPTION_SWITCH) {
        bool on = true;

        if (equals != NULL) {
            return REFUSE(problem, EXIT_USAGE, row->name, " takes no value");
        }
        memcpy((char *)options + row->offset, &on, sizeof(on));
        return true;
    }
    if (equals != NULL) {
        return take_value(options, row, equals + 1, problem);
    }
    if ((*at)[1] == NULL || strcmp((*at)[1], "--") == 0) {
        return REFUSE(problem, EXIT_USAGE, row->name, " needs a value: ", row->value);
    }
    (*at)++;
    return take_value(options, row, **at, problem);
}

MUST_USE static bool take_word(struct words *words, const char *word,
                               struct options_problem *problem)
{
    if (words->count == WORD_COUNT_MAX) {
        return REFUSE(problem, EXIT_USAGE, "too many arguments at ", word,
                      "; a command to run stands behind --");
    }
    words->items[words->count++] = word;
    return true;
}

MUST_USE static bool take_arguments(struct options *options, struct words *words,
                                    char *const *arguments, struct options_problem *problem)
{
    for (char *const *at = arguments; *at != NULL; at++) {
        if (strcmp(*at, "--") == 0) {
            words->rest = at + 1;
            return true;
        }
        bool is_option = strncmp(*at, "--", 2) == 0 || strcmp(*at, "-h") == 0;

        if (!(is_option ? take_option(options, words, &at, problem)
                        : take_word(words, *at, problem))) {
            return false;
        }
    }
    return true;
}

MUST_USE static bool refuse_command(const struct words *words, struct options_problem *problem)
{
    const char *word = words->items[0];

    if (command_with_word(word) == NULL) {
        return REFUSE(problem, EXIT_USAGE, "unknown command ", word, "; did you mean ",
                      command_nearest(word, NULL));
    }
    if (words->count < 2) {
        return REFUSE(problem, EXIT_USAGE, word, " needs a second word; see holdfast help ", word);
    }
    return REFUSE(problem, EXIT_USAGE, "unknown command; did you mean ", word, " ",
                  command_nearest(word, words->items[1]));
}

MUST_USE static bool check_options_fit(const struct command_row *row, const struct words *words,
                                       struct options_problem *problem)
{
    const struct option_row *misplaced = option_misplaced(words->given, row->command);

    return misplaced == NULL || REFUSE(problem, EXIT_USAGE, misplaced->name, " is no option of ",
                                       row->word, "; see holdfast help");
}

static bool is_given(const struct words *words, const char *name)
{
    const struct option_row *row = option_find(bytes_of_text(name));

    ASSERT(row != NULL);
    return (words->given >> option_number(row) & 1) != 0;
}

/* Moves the words behind the command's own, and those behind `--`, to their places. */
MUST_USE static bool place_operands(struct options *options, struct words *words,
                                    const struct command_row *row, struct options_problem *problem)
{
    bool has_child = row->command == COMMAND_LOCK || row->command == COMMAND_ELECT;

    if (words->rest != NULL && has_child) {
        if (words->rest[0] == NULL) {
            return REFUSE(problem, EXIT_USAGE, "no command stands behind --");
        }
        options->child = words->rest;
    } else if (words->rest != NULL) {
        for (char *const *at = words->rest; *at != NULL; at++) {
            if (!take_word(words, *at, problem)) {
                return false;
            }
        }
    }
    for (uint32_t i = row->second == NULL ? 1 : 2; i < words->count; i++) {
        if (options->operand_count == OPTIONS_OPERAND_COUNT_MAX) {
            return REFUSE(problem, EXIT_USAGE, "too many arguments at ", words->items[i]);
        }
        options->operands[options->operand_count++] = words->items[i];
    }
    uint32_t high = row->command == COMMAND_CAS && options->absent ? 2 : row->operands_max;
    uint32_t low = row->command == COMMAND_CAS && !options->absent ? 3 : row->operands_min;

    if (options->operand_count < low) {
        return REFUSE(problem, EXIT_USAGE, "too few arguments; usage: holdfast ", row->word,
                      row->second == NULL ? "" : " ", row->second == NULL ? "" : row->second, " ",
                      row->operands);
    }
    if (options->operand_count > high && row->command == COMMAND_DEV) {
        return REFUSE(problem, EXIT_USAGE, "unknown command dev ", options->operands[0],
                      "; did you mean dev ", command_nearest("dev", options->operands[0]));
    }
    if (options->operand_count > high) {
        return REFUSE(problem, EXIT_USAGE, "too many arguments at ", options->operands[high],
                      has_child ? "; a command to run stands behind --" : "");
    }
    return true;
}

bool options_endpoints_are_valid(const char *endpoints)
{
    uint32_t count = 0;
    const char *at = endpoints;

    ASSERT(endpoints != NULL);
    for (;;) {
        size_t size = strcspn(at, ",");
        size_t colon = size;
        uint64_t port = 0;

        while (colon > 0 && at[colon - 1] != ':') {
            colon--;
        }
        bool is_valid = colon > 1 && text_parse_u64(bytes_of(at + colon, size - colon), &port) &&
                        port >= 1 && port <= UINT16_MAX && ++count <= OPTIONS_ENDPOINT_COUNT_MAX;

        if (!is_valid || memchr(at, ' ', size) != NULL) {
            return false;
        }
        if (at[size] == '\0') {
            return true;
        }
        at += size + 1;
    }
}

MUST_USE static bool check_endpoints(struct options *options, const char *environment,
                                     struct options_problem *problem)
{
    if (options->endpoints == NULL) {
        options->endpoints = environment;
    }
    if (options->endpoints == NULL || options->endpoints[0] == '\0') {
        return REFUSE(problem, EXIT_USAGE,
                      "no endpoints: give --endpoints host:port,host:port or set "
                      "HOLDFAST_ENDPOINTS (`holdfast dev` starts a cluster and prints them)");
    }
    if (!options_endpoints_are_valid(options->endpoints)) {
        return REFUSE(problem, EXIT_USAGE, "endpoints ", options->endpoints,
                      ": not a list of the form host:port,host:port");
    }
    return true;
}

MUST_USE static bool check_size(const char *what, const char *text, size_t max,
                                struct options_problem *problem)
{
    size_t size = strlen(text);

    if (size == 0) {
        return REFUSE(problem, EXIT_INPUT, what, " is empty");
    }
    if (size > max) {
        return REFUSE(problem, EXIT_INPUT, what, " is too long: at most ",
                      max == OPTIONS_KEY_SIZE_MAX        ? "480 bytes"
                      : max == OPTIONS_NAME_SIZE_MAX     ? "255 bytes"
                      : max == OPTIONS_ELECTION_SIZE_MAX ? "254 bytes"
                                                         : "32 bytes");
    }
    return true;
}

MUST_USE static bool check_owner(const struct options *options, struct options_problem *problem)
{
    return options->owner == NULL ||
           check_size("the owner's text", options->owner, OPTIONS_OWNER_SIZE_MAX, problem);
}

/* Of a lock, or of an election. */
MUST_USE static bool check_name(const struct options *options, bool is_election,
                                struct options_problem *problem)
{
    return is_election ? check_size("the election's name", options->operands[0],
                                    OPTIONS_ELECTION_SIZE_MAX, problem)
                       : check_size("the lock's name", options->operands[0], OPTIONS_NAME_SIZE_MAX,
                                    problem);
}

MUST_USE static bool check_elect(struct options *options, struct options_problem *problem)
{
    if (options->try && options->wait_given) {
        return REFUSE(problem, EXIT_USAGE, "--try and --wait exclude each other");
    }
    if (strlen(options->operands[1]) > OPTIONS_METADATA_SIZE_MAX) {
        return REFUSE(problem, EXIT_INPUT, "the value is too long: at most 255 bytes");
    }
    return check_owner(options, problem) && check_name(options, true, problem);
}

MUST_USE static bool check_lock(struct options *options, struct options_problem *problem)
{
    if (options->try && options->wait_given) {
        return REFUSE(problem, EXIT_USAGE, "--try and --wait exclude each other");
    }
    if (options->shared && options->permits != 0) {
        return REFUSE(problem, EXIT_USAGE, "--shared and --permits exclude each other");
    }
    if (options->units > options->permits) {
        return REFUSE(problem, EXIT_USAGE, "--units needs --permits, and not less of them");
    }
    if (options->metadata != NULL &&
        !check_size("the text of --meta", options->metadata, OPTIONS_METADATA_SIZE_MAX, problem)) {
        return false;
    }
    return check_owner(options, problem) && check_name(options, false, problem);
}

MUST_USE static bool check_unlock(struct options *options, struct options_problem *problem)
{
    if (!options->force || options->token == 0 || options->reason == NULL) {
        return REFUSE(problem, EXIT_USAGE,
                      "unlock needs --force --token N --reason TEXT; see `holdfast locks show ",
                      options->operands[0], "` for the token");
    }
    return check_size("the reason", options->reason, OPTIONS_REASON_SIZE_MAX, problem) &&
           check_owner(options, problem) && check_name(options, options->election, problem);
}

MUST_USE static bool check_bench(struct options *options, struct options_problem *problem)
{
    static const char *const workloads[] = {"put", "get", "lock", "handoff"};
    bool is_known = false;

    ASSERT(options->operand_count == 1);
    for (size_t i = 0; i < COUNT_OF(workloads); i++) {
        is_known = is_known || strcmp(options->operands[0], workloads[i]) == 0;
    }
    if (!is_known) {
        return REFUSE(problem, EXIT_USAGE, "unknown workload ", options->operands[0],
                      "; there are put, get, lock and handoff");
    }
    if (options->connections == 0) {
        options->connections = options->clients < 64 ? options->clients : 64;
    }
    return true;
}

MUST_USE static bool check_number(const char *what, const char *operand, uint64_t high,
                                  struct options_problem *problem)
{
    uint64_t number = 0;

    if (!text_parse_u64(bytes_of_text(operand), &number) || number == 0 || number > high) {
        return REFUSE(problem, EXIT_INPUT, operand, " is not the ", what);
    }
    return true;
}

MUST_USE static bool check_put(struct options *options, struct options_problem *problem)
{
    if (!options->session && (options->ttl_given || options->owner != NULL)) {
        return REFUSE(problem, EXIT_USAGE, "--ttl and --owner of put need --session");
    }
    return check_owner(options, problem) &&
           check_size("the key", options->operands[0], OPTIONS_KEY_SIZE_MAX, problem);
}

MUST_USE static bool check_command(struct options *options, struct options_problem *problem)
{
    switch (options->command) {
    case COMMAND_PUT:
        return check_put(options, problem);
    case COMMAND_GET:
    case COMMAND_DEL:
    case COMMAND_CAS:
        return check_size("the key", options->operands[0], OPTIONS_KEY_SIZE_MAX, problem);
    case COMMAND_LOCK:
        return check_lock(options, problem);
    case COMMAND_UNLOCK:
        return check_unlock(options, problem);
    case COMMAND_LOCKS_SHOW:
        return check_name(options, options->election, problem);
    case COMMAND_ELECT:
        return check_elect(options, problem);
    case COMMAND_ELECT_OBSERVE:
        return check_name(options, true, problem);
    case COMMAND_SESSION_END:
        return check_number("number of a session; see holdfast session ls", options->operands[0],
                            UINT64_MAX, problem);
    case COMMAND_DEV_RESTART:
        if (options->dir == NULL) {
            return REFUSE(problem, EXIT_USAGE, "dev restart needs --dir DIR of the running dev");
        }
        return check_number("number of a node, from 1 to 9", options->operands[0], 9, problem);
    case COMMAND_DEV_ADD:
        return options->dir != NULL ||
               REFUSE(problem, EXIT_USAGE, "dev add needs --dir DIR of the running dev");
    case COMMAND_MEMBER_ADD:
    case COMMAND_MEMBER_REMOVE:
    case COMMAND_LEADER_MOVE:
        return check_size("the node's name", options->operands[0], OPTIONS_NODE_SIZE_MAX, problem);
    case COMMAND_MEMBER_PROMOTE:
        return check_size("the node's name", options->operands[0], OPTIONS_NODE_SIZE_MAX,
                          problem) &&
               (options->replace == NULL || check_size("the name of --replace", options->replace,
                                                       OPTIONS_NODE_SIZE_MAX, problem));
    case COMMAND_SNAPSHOT_SAVE:
        return check_size("the file's name", options->operands[0], OPTIONS_PATH_SIZE_MAX, problem);
    case COMMAND_BENCH:
        return check_bench(options, problem);
    case COMMAND_DEV:
        if (options->dir != NULL && options->dir[0] == '\0') {
            return REFUSE(problem, EXIT_USAGE, "--dir is empty");
        }
        return true;
    case COMMAND_WATCH:
        return options->operand_count == 0 || options->operands[0][0] == '\0' ||
               check_size("the prefix", options->operands[0],
                          options->locks ? OPTIONS_NAME_SIZE_MAX : OPTIONS_KEY_SIZE_MAX, problem);
    case COMMAND_LOCKS:
    case COMMAND_AUDIT:
    case COMMAND_LS:
    case COMMAND_SESSION_LS:
    case COMMAND_STATUS:
    case COMMAND_MEMBER_LS:
    case COMMAND_TOP:
    case COMMAND_DOCTOR:
    case COMMAND_TXN:
    case COMMAND_HELP:
    case COMMAND_VERSION:
        return true;
    }
    UNREACHABLE();
}

bool options_parse(struct options *options, char *const *arguments,
                   const char *environment_endpoints, struct options_problem *problem)
{
    struct words words = {.rest = NULL};

    ASSERT(options != NULL && problem != NULL);
    defaults(options);
    if (!take_arguments(options, &words, arguments, problem)) {
        return false;
    }
    if (options->version || options->help) {
        options->command = options->version ? COMMAND_VERSION : COMMAND_HELP;
        options->operands[0] = words.items[0];
        options->operand_count = words.count == 0 ? 0 : 1;
        return true;
    }
    if (words.count == 0) {
        return REFUSE(problem, EXIT_USAGE, "no command given; see holdfast help");
    }
    const struct command_row *row = command_find(words.items, words.count);

    if (row == NULL) {
        return refuse_command(&words, problem);
    }
    options->command = row->command;
    options->wait_given = is_given(&words, "--wait");
    options->nodes_given = is_given(&words, "--nodes");
    options->ttl_given = is_given(&words, "--ttl");
    return check_options_fit(row, &words, problem) &&
           place_operands(options, &words, row, problem) && check_command(options, problem) &&
           (!row->needs_endpoints || check_endpoints(options, environment_endpoints, problem));
}
