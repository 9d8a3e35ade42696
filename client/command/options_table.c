/* client/command/options_table.c: the tables of commands and options, look-ups and help. */
#include "client/command/options_table.h"

#include <string.h>

#include "base/assert.h"

#define ALL_COMMANDS     UINT64_MAX
#define ONLY(name)       (UINT64_C(1) << COMMAND_##name)
#define MINUTES_MAX_MS   (3600ULL * 1000)
#define DURATION_MAX_MS  (365ULL * 24 * 3600 * 1000)
#define TTL_MAX_MS       ((uint64_t)UINT32_MAX)
#define OPTION_AT(field) offsetof(struct options, field)

static const struct option_row option_rows[] = {
    {"--endpoints", OPTION_TEXT, OPTION_AT(endpoints), ALL_COMMANDS, 0, 0, "HOST:PORT,...",
     "nodes to ask first; otherwise HOLDFAST_ENDPOINTS"},
    {"--timeout", OPTION_DURATION, OPTION_AT(timeout_ms), ALL_COMMANDS, 1, MINUTES_MAX_MS, "D",
     "whole deadline of one request, 5s unless given"},
    {"--json", OPTION_SWITCH, OPTION_AT(json), ALL_COMMANDS, 0, 0, NULL,
     "JSON on standard output, nothing else"},
    {"--help", OPTION_SWITCH, OPTION_AT(help), ALL_COMMANDS, 0, 0, NULL, "this text"},
    {"--version", OPTION_SWITCH, OPTION_AT(version), ALL_COMMANDS, 0, 0, NULL, "the version"},
    {"--nodes", OPTION_NUMBER, OPTION_AT(nodes), ONLY(DEV), 1, 9, "N", "how many nodes, 3"},
    {"--dir", OPTION_TEXT, OPTION_AT(dir),
     ONLY(DEV) | ONLY(DEV_RESTART) | ONLY(DEV_ADD) | ONLY(DOCTOR), 0, 0, "DIR",
     "where the nodes keep their data; doctor measures the disk there"},
    {"--port", OPTION_NUMBER, OPTION_AT(port), ONLY(DEV), 1, 65500, "P",
     "node i: clients on P+i, peers on P+10+i; 7100"},
    {"--ttl", OPTION_DURATION, OPTION_AT(ttl_ms), ONLY(LOCK) | ONLY(ELECT) | ONLY(PUT), 1,
     TTL_MAX_MS, "D", "how long the lock or key outlives a holder that is gone, 10s"},
    {"--wait", OPTION_DURATION, OPTION_AT(wait_ms), ONLY(LOCK) | ONLY(ELECT), 0, DURATION_MAX_MS,
     "D", "how long to wait for the lock; for ever unless given"},
    {"--try", OPTION_SWITCH, OPTION_AT(try), ONLY(LOCK) | ONLY(ELECT), 0, 0, NULL, "do not wait"},
    {"--owner", OPTION_TEXT, OPTION_AT(owner), ONLY(LOCK) | ONLY(UNLOCK) | ONLY(ELECT) | ONLY(PUT),
     0, 0, "TEXT", "shown to others; user, host, process and command unless given"},
    {"--shared", OPTION_SWITCH, OPTION_AT(shared), ONLY(LOCK), 0, 0, NULL,
     "together with other shared holders"},
    {"--permits", OPTION_NUMBER, OPTION_AT(permits), ONLY(LOCK), 1, OPTIONS_PERMIT_COUNT_MAX, "N",
     "the lock counts N permits; all that ask must say the same N"},
    {"--units", OPTION_NUMBER, OPTION_AT(units), ONLY(LOCK), 1, OPTIONS_PERMIT_COUNT_MAX, "K",
     "how many of the permits, 1"},
    {"--delay", OPTION_DURATION, OPTION_AT(delay_ms), ONLY(LOCK) | ONLY(ELECT), 0,
     OPTIONS_DELAY_MS_MAX, "D",
     "nobody else gets it so long after a loss; up to 60s, 0s unless given"},
    {"--meta", OPTION_TEXT, OPTION_AT(metadata), ONLY(LOCK), 0, 0, "TEXT",
     "shown with the lock by `locks show`"},
    {"--force", OPTION_SWITCH, OPTION_AT(force), ONLY(UNLOCK), 0, 0, NULL,
     "that its holder has not agreed is understood"},
    {"--token", OPTION_NUMBER, OPTION_AT(token), ONLY(UNLOCK), 1, UINT64_MAX, "N",
     "of the hold that ends, as `locks show` says it"},
    {"--reason", OPTION_TEXT, OPTION_AT(reason), ONLY(UNLOCK), 0, 0, "TEXT", "kept in the audit"},
    {"--absent", OPTION_SWITCH, OPTION_AT(absent), ONLY(CAS), 0, 0, NULL,
     "KEY NEW: only when the key is not there"},
    {"--from", OPTION_NUMBER, OPTION_AT(from), ONLY(WATCH), 0, UINT64_MAX, "REV",
     "everything behind that revision; from now on unless given"},
    {"--locks", OPTION_SWITCH, OPTION_AT(locks), ONLY(WATCH), 0, 0, NULL,
     "the locks whose names begin with PREFIX, not the keys"},
    {"--learner", OPTION_SWITCH, OPTION_AT(learner), ONLY(MEMBER_ADD), 0, 0, NULL,
     "it gets the log and does not vote"},
    {"--replace", OPTION_TEXT, OPTION_AT(replace), ONLY(MEMBER_PROMOTE), 0, 0, "OLD",
     "the voter that leaves in the same change"},
    {"--clients", OPTION_NUMBER, OPTION_AT(clients), ONLY(BENCH), 1, 10000, "N",
     "each with one operation outstanding, 64"},
    {"--connections", OPTION_NUMBER, OPTION_AT(connections), ONLY(BENCH), 1, 1024, "N",
     "that the clients share, the smaller of 64 and --clients"},
    {"--value-size", OPTION_NUMBER, OPTION_AT(value_size), ONLY(BENCH), 0, OPTIONS_VALUE_SIZE_MAX,
     "BYTES", "256"},
    {"--keys", OPTION_NUMBER, OPTION_AT(keys), ONLY(BENCH), 1, 100000000, "N", "10000"},
    {"--seconds", OPTION_SECONDS, OPTION_AT(seconds_ms), ONLY(BENCH) | ONLY(DOCTOR), 1,
     24 * MINUTES_MAX_MS, "S", "how long to measure, 10"},
    {"--warmup", OPTION_SECONDS, OPTION_AT(warmup_ms), ONLY(BENCH), 0, MINUTES_MAX_MS, "S",
     "how long to run before, 2"},
    {"--interval", OPTION_SECONDS, OPTION_AT(interval_ms), ONLY(TOP), 100, MINUTES_MAX_MS, "S",
     "between two looks, 1"},
    {"--frames", OPTION_NUMBER, OPTION_AT(frames), ONLY(TOP), 1, UINT32_MAX, "N",
     "how many looks; until a signal unless given"},
    {"--election", OPTION_SWITCH, OPTION_AT(election), ONLY(LOCKS_SHOW) | ONLY(UNLOCK), 0, 0, NULL,
     "NAME is that of an election"},
    {"--auth-file", OPTION_TEXT, OPTION_AT(auth_file), ALL_COMMANDS, 0, 0, "FILE",
     "a line `NAME TOKEN`: who we are; otherwise HOLDFAST_AUTH_FILE"},
    {"--session", OPTION_SWITCH, OPTION_AT(session), ONLY(PUT), 0, 0, NULL,
     "the key is gone with this process: stays in the foreground until a signal"},
    {"--if", OPTION_CLAUSE, OPTION_AT(clauses), ONLY(TXN), CLAUSE_IF, 0, "COMPARE",
     "'KEY = VALUE', 'KEY exists', 'KEY absent', 'KEY revision = N' (< >)"},
    {"--then", OPTION_CLAUSE, OPTION_AT(clauses), ONLY(TXN), CLAUSE_THEN, 0, "OPERATION",
     "'put KEY VALUE', 'del KEY', 'get KEY': when all compares hold"},
    {"--else", OPTION_CLAUSE, OPTION_AT(clauses), ONLY(TXN), CLAUSE_ELSE, 0, "OPERATION",
     "the same, when one does not; then exit 1"},
};

/* A command of two words stands before the one with its first word alone. */
static const struct command_row command_rows[] = {
    {COMMAND_DEV_RESTART, "dev", "restart", 1, 1, false, "N --dir DIR",
     "starts node N of a running `dev` again, stopping it first if it runs"},
    {COMMAND_DEV_ADD, "dev", "add", 0, 0, false, "--dir DIR",
     "starts one more node of a running `dev` and lets it join"},
    {COMMAND_DEV, "dev", NULL, 0, 0, false, "",
     "runs a cluster on this machine until SIGINT or SIGTERM"},
    {COMMAND_LOCK, "lock", NULL, 1, 1, true, "NAME [-- CMD ...]",
     "runs CMD while holding the lock; without CMD holds it until a signal"},
    {COMMAND_ELECT_OBSERVE, "elect", "observe", 1, 1, true, "NAME",
     "who leads, and each change, until a signal"},
    {COMMAND_ELECT, "elect", NULL, 2, 2, true, "NAME VALUE [-- CMD ...]",
     "runs CMD while leading; without CMD leads until a signal"},
    {COMMAND_LOCKS_SHOW, "locks", "show", 1, 1, true, "NAME", "holders and queue of one lock"},
    {COMMAND_LOCKS, "locks", NULL, 0, 1, true, "[PREFIX]", "the locks that are held"},
    {COMMAND_UNLOCK, "unlock", NULL, 1, 1, true, "NAME", "takes a lock away from its holder"},
    {COMMAND_AUDIT, "audit", NULL, 0, 0, true, "", "the forced unlocks, the oldest first"},
    {COMMAND_PUT, "put", NULL, 2, 2, true, "KEY VALUE", "sets a key"},
    {COMMAND_GET, "get", NULL, 1, 1, true, "KEY", "prints a key's value; exit 1 when absent"},
    {COMMAND_DEL, "del", NULL, 1, 1, true, "KEY", "removes a key; exit 1 when absent"},
    {COMMAND_CAS, "cas", NULL, 2, 3, true, "KEY OLD NEW",
     "sets a key if its value is OLD; exit 1 when it is not"},
    {COMMAND_LS, "ls", NULL, 0, 1, true, "[PREFIX]", "keys and values, in order of the keys"},
    {COMMAND_WATCH, "watch", NULL, 0, 1, true, "[PREFIX]",
     "every change of the keys with that prefix, until a signal"},
    {COMMAND_SESSION_LS, "session", "ls", 0, 0, true, "", "the open sessions"},
    {COMMAND_SESSION_END, "session", "end", 1, 1, true, "ID",
     "ends a session; its locks are free at once"},
    {COMMAND_STATUS, "status", NULL, 0, 0, true, "", "every node; exit 77 without a leader"},
    {COMMAND_MEMBER_LS, "member", "ls", 0, 0, true, "", "the members, and who asks to join"},
    {COMMAND_MEMBER_ADD, "member", "add", 1, 1, true, "NODE",
     "a running node that asks to join becomes a voter"},
    {COMMAND_MEMBER_REMOVE, "member", "remove", 1, 1, true, "NODE",
     "a member leaves; its process ends"},
    {COMMAND_MEMBER_PROMOTE, "member", "promote", 1, 1, true, "NODE", "a learner becomes a voter"},
    {COMMAND_LEADER_MOVE, "leader", "move", 1, 1, true, "NODE", "hands leadership over to a voter"},
    {COMMAND_SNAPSHOT_SAVE, "snapshot", "save", 1, 1, true, "FILE",
     "the whole state into a file: a backup, for holdfastd --restore"},
    {COMMAND_BENCH, "bench", NULL, 1, 1, true, "put|get|lock|handoff",
     "measures a cluster under load"},
    {COMMAND_TOP, "top", NULL, 0, 0, true, "", "nodes, rates, locks and queues, live"},
    {COMMAND_DOCTOR, "doctor", NULL, 0, 0, true, "",
     "measures round trips, clocks and disk; the smallest safe TTL; exit 1: see what it says"},
    {COMMAND_TXN, "txn", NULL, 0, 0, true, "",
     "compares and changes keys in one step; without options reads lines\n"
     "                              `if ...`, `then ...`, `else ...` from standard input"},
    {COMMAND_HELP, "help", NULL, 0, 1, false, "[COMMAND]", "this text"},
    {COMMAND_VERSION, "version", NULL, 0, 0, false, "", "the version"},
};

_Static_assert(COUNT_OF(option_rows) <= 64, "each option has a bit in struct words");
_Static_assert(COMMAND_VERSION < 64, "each command has a bit in option_row.commands");

const struct option_row *option_find(struct bytes name)
{
    for (size_t i = 0; i < COUNT_OF(option_rows); i++) {
        if (bytes_equal(bytes_of_text(option_rows[i].name), name)) {
            return &option_rows[i];
        }
    }
    return NULL;
}

uint32_t option_number(const struct option_row *row)
{
    ASSERT(row >= option_rows && row < option_rows + COUNT_OF(option_rows));
    return (uint32_t)(row - option_rows);
}

const struct option_row *option_misplaced(uint64_t given, enum command command)
{
    for (size_t i = 0; i < COUNT_OF(option_rows); i++) {
        bool is_given = (given >> i & 1) != 0;

        if (is_given && (option_rows[i].commands >> command & 1) == 0) {
            return &option_rows[i];
        }
    }
    return NULL;
}

const struct command_row *command_find(const char *const *words, uint32_t count)
{
    ASSERT(count > 0);
    for (size_t i = 0; i < COUNT_OF(command_rows); i++) {
        const struct command_row *row = &command_rows[i];

        if (strcmp(row->word, words[0]) != 0) {
            continue;
        }
        if (row->second == NULL || (count > 1 && strcmp(row->second, words[1]) == 0)) {
            return row;
        }
    }
    return NULL;
}

const struct command_row *command_with_word(const char *word)
{
    for (size_t i = 0; i < COUNT_OF(command_rows); i++) {
        if (strcmp(command_rows[i].word, word) == 0) {
            return &command_rows[i];
        }
    }
    return NULL;
}

enum { EDIT_SIZE_MAX = 32 }; /* Longer words are compared by their beginning. */

/* How many single bytes must be put in, taken out or replaced to make `b` of `a`. */
static uint32_t edit_distance(const char *a, const char *b)
{
    uint32_t row[EDIT_SIZE_MAX + 1];
    size_t a_size = size_min(strlen(a), EDIT_SIZE_MAX);
    size_t b_size = size_min(strlen(b), EDIT_SIZE_MAX);

    for (uint32_t j = 0; j <= b_size; j++) {
        row[j] = j;
    }
    for (uint32_t i = 1; i <= a_size; i++) {
        uint32_t corner = row[0];

        row[0] = i;
        for (size_t j = 1; j <= b_size; j++) {
            uint32_t replaced = corner + (a[i - 1] != b[j - 1]);
            uint32_t other = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;

            corner = row[j];
            row[j] = replaced < other ? replaced : other;
        }
    }
    ASSERT(row[b_size] <= EDIT_SIZE_MAX);
    return row[b_size];
}

const char *command_nearest(const char *word, const char *second)
{
    const char *nearest = NULL;
    uint32_t least = UINT32_MAX;

    for (size_t i = 0; i < COUNT_OF(command_rows); i++) {
        const struct command_row *row = &command_rows[i];
        bool is_candidate = second == NULL || (strcmp(row->word, word) == 0 && row->second != NULL);
        if (!is_candidate) {
            continue;
        }
        const char *known = second == NULL ? row->word : row->second;
        uint32_t distance = edit_distance(second == NULL ? word : second, known);

        if (distance < least) {
            least = distance;
            nearest = known;
        }
    }
    return nearest;
}

const char *option_nearest(const char *name)
{
    const char *nearest = option_rows[0].name;
    uint32_t least = UINT32_MAX;

    for (size_t i = 0; i < COUNT_OF(option_rows); i++) {
        uint32_t distance = edit_distance(name, option_rows[i].name);

        if (distance < least) {
            least = distance;
            nearest = option_rows[i].name;
        }
    }
    ASSERT(least <= EDIT_SIZE_MAX);
    return nearest;
}

static void add_padding(struct text *text, size_t used, size_t width)
{
    do {
        text_add(text, " ");
    } while (++used < width);
}

static void add_option_help(const struct option_row *row, struct text *text)
{
    size_t begin = text->size;

    text_add(text, "    ");
    text_add(text, row->name);
    if (row->value != NULL) {
        text_add(text, " ");
        text_add(text, row->value);
    }
    add_padding(text, text->size - begin, 30);
    text_add(text, row->help);
    text_add(text, "\n");
}

static void add_command_help(const struct command_row *row, struct text *text)
{
    size_t begin = text->size;

    text_add(text, "  ");
    text_add(text, row->word);
    if (row->second != NULL) {
        text_add(text, " ");
        text_add(text, row->second);
    }
    if (row->operands[0] != '\0') {
        text_add(text, " ");
        text_add(text, row->operands);
    }
    add_padding(text, text->size - begin, 30);
    text_add(text, row->help);
    text_add(text, "\n");
    for (size_t i = 0; i < COUNT_OF(option_rows); i++) {
        bool is_own = option_rows[i].commands != ALL_COMMANDS;

        if (is_own && (option_rows[i].commands >> row->command & 1) != 0) {
            add_option_help(&option_rows[i], text);
        }
    }
}

bool options_help(const char *word, struct text *text)
{
    bool found = false;

    ASSERT(text != NULL);
    text_add(text, "usage: holdfast [OPTIONS] COMMAND ...\n\n");
    for (size_t i = 0; i < COUNT_OF(command_rows); i++) {
        if (word == NULL || strcmp(word, command_rows[i].word) == 0) {
            add_command_help(&command_rows[i], text);
            found = true;
        }
    }
    text_add(text, "\n  options of every command\n");
    for (size_t i = 0; i < COUNT_OF(option_rows); i++) {
        if (option_rows[i].commands == ALL_COMMANDS) {
            add_option_help(&option_rows[i], text);
        }
    }
    text_add(text, "\nexit: 0 done, 1 no, 64 usage, 65 bad input, 69 refused, 74 sent and never "
                   "answered,\n      75 not acquired in time, 76 lost while held, 77 no quorum; "
                   "of lock -- CMD: CMD's\n");
    return found;
}
