/* client/command/txn_text.c: clauses of a transaction, word by word. */
#include "client/command/txn_text.h"

#include <string.h>

#include "base/assert.h"

enum { WORD_COUNT_MAX = 4, CLAUSE_SHOWN_MAX = 60 };

#define COMPARE_HELP   "write KEY = VALUE, KEY exists, KEY absent, or KEY revision = N (also < and >)"
#define OPERATION_HELP "write put KEY VALUE, del KEY or get KEY"

void txn_text_init(struct txn_text *txn, struct buffer memory)
{
    memset(txn, 0, sizeof(*txn));
    txn->memory = memory;
    txn->transaction.compares = txn->compares;
    txn->transaction.success = txn->success;
    txn->transaction.failure = txn->failure;
}

/* --- Words ------------------------------------------------------------------------------------ */

struct words {
    struct bytes items[WORD_COUNT_MAX];
    uint32_t count;
};

/* Shows the beginning of the clause. */
MUST_USE static bool refuse(struct text *problem, struct bytes clause, const char *why)
{
    struct bytes shown = bytes_of(clause.data, size_min(clause.size, CLAUSE_SHOWN_MAX));

    text_add(problem, "txn: `");
    text_add_bytes(problem, shown);
    text_add(problem, shown.size < clause.size ? "...`: " : "`: ");
    text_add(problem, why);
    return false;
}

static bool is_blank(uint8_t byte)
{
    return byte == ' ' || byte == '\t';
}

static int hex_of(uint8_t byte)
{
    if (byte >= '0' && byte <= '9') {
        return byte - '0';
    }
    byte = (uint8_t)(byte | 0x20);
    return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

/* The byte that an escape stands for; `*rest` begins behind the backslash. False: there is none. */
static bool take_escape(struct bytes *rest, uint8_t *byte)
{
    static const char names[] = "\"\\nt";
    static const char values[] = "\"\\\n\t";
    const char *name = rest->size == 0 ? NULL : memchr(names, rest->data[0], sizeof(names) - 1);

    if (name != NULL) {
        *byte = (uint8_t)values[name - names];
        *rest = bytes_skip(*rest, 1);
        return true;
    }
    if (rest->size < 3 || rest->data[0] != 'x' || hex_of(rest->data[1]) < 0 ||
        hex_of(rest->data[2]) < 0) {
        return false;
    }
    *byte = (uint8_t)(hex_of(rest->data[1]) * 16 + hex_of(rest->data[2]));
    *rest = bytes_skip(*rest, 3);
    return true;
}

MUST_USE static bool add_byte(struct txn_text *txn, uint8_t byte)
{
    return buffer_append(&txn->memory, bytes_of(&byte, 1));
}

/* `*rest` begins behind the opening quote. NULL, or what is wrong. */
static const char *take_quoted(struct txn_text *txn, struct bytes *rest)
{
    while (rest->size != 0 && rest->data[0] != '"') {
        uint8_t byte = rest->data[0];

        *rest = bytes_skip(*rest, 1);
        if (byte == '\\' && !take_escape(rest, &byte)) {
            return "behind a backslash stands \", \\, n, t or xHH";
        }
        if (!add_byte(txn, byte)) {
            return "all keys and values together are larger than 1 MiB";
        }
    }
    if (rest->size == 0) {
        return "a quote is not closed";
    }
    *rest = bytes_skip(*rest, 1);
    return rest->size == 0 || is_blank(rest->data[0]) ? NULL
                                                      : "behind a closing quote stands a blank";
}

static const char *take_bare(struct txn_text *txn, struct bytes *rest)
{
    size_t size = 0;

    while (size < rest->size && !is_blank(rest->data[size])) {
        size++;
    }
    if (!buffer_append(&txn->memory, bytes_of(rest->data, size))) {
        return "all keys and values together are larger than 1 MiB";
    }
    *rest = bytes_skip(*rest, size);
    return NULL;
}

MUST_USE static bool take_words(struct txn_text *txn, struct bytes clause, struct words *words,
                                struct text *problem)
{
    struct bytes rest = clause;

    words->count = 0;
    for (;;) {
        while (rest.size != 0 && is_blank(rest.data[0])) {
            rest = bytes_skip(rest, 1);
        }
        if (rest.size == 0) {
            return true;
        }
        if (words->count == WORD_COUNT_MAX) {
            return refuse(problem, clause,
                          "too many words; a value with blanks stands in double quotes");
        }
        size_t begin = txn->memory.size;
        bool is_quoted = rest.data[0] == '"';

        rest = is_quoted ? bytes_skip(rest, 1) : rest;
        const char *wrong = is_quoted ? take_quoted(txn, &rest) : take_bare(txn, &rest);
        if (wrong != NULL) {
            return refuse(problem, clause, wrong);
        }
        words->items[words->count++] = bytes_of(txn->memory.data + begin, txn->memory.size - begin);
    }
}

static bool is_word(const struct words *words, uint32_t at, const char *text)
{
    return at < words->count && bytes_equal(words->items[at], bytes_of_text(text));
}

/* --- Clauses ---------------------------------------------------------------------------------- */

static bool read_revision_test(const struct words *words, struct holdfast_compare *compare)
{
    if (words->count != 4 || !is_word(words, 1, "revision") ||
        !text_parse_u64(words->items[3], &compare->revision)) {
        return false;
    }
    compare->test = is_word(words, 2, "=")   ? HOLDFAST_REVISION_EQUAL
                    : is_word(words, 2, "<") ? HOLDFAST_REVISION_LESS
                                             : HOLDFAST_REVISION_GREATER;
    return compare->test != HOLDFAST_REVISION_GREATER || is_word(words, 2, ">");
}

static bool read_compare(const struct words *words, struct holdfast_compare *compare)
{
    if (words->count == 2 && is_word(words, 1, "exists")) {
        compare->test = HOLDFAST_EXISTS;
        return true;
    }
    if (words->count == 2 && is_word(words, 1, "absent")) {
        compare->test = HOLDFAST_ABSENT;
        return true;
    }
    if (words->count == 3 && is_word(words, 1, "=")) {
        compare->test = HOLDFAST_EQUAL;
        compare->value = words->items[2].data;
        compare->value_size = words->items[2].size;
        return true;
    }
    return read_revision_test(words, compare);
}

static bool read_operation(const struct words *words, struct holdfast_operation *operation)
{
    if (words->count == 3 && is_word(words, 0, "put")) {
        operation->action = HOLDFAST_PUT;
        operation->value = words->items[2].data;
        operation->value_size = words->items[2].size;
        return true;
    }
    operation->action = is_word(words, 0, "del") ? HOLDFAST_DELETE : HOLDFAST_GET;
    return words->count == 2 && (operation->action == HOLDFAST_DELETE || is_word(words, 0, "get"));
}

MUST_USE static bool check_sizes(struct bytes key, size_t value_size, struct bytes clause,
                                 struct text *problem)
{
    if (key.size == 0 || key.size > OPTIONS_KEY_SIZE_MAX) {
        return refuse(problem, clause, "a key has 1 to 480 bytes");
    }
    if (value_size > OPTIONS_VALUE_SIZE_MAX) {
        return refuse(problem, clause, "a value has at most 512 KiB");
    }
    return true;
}

MUST_USE static bool add_compare(struct txn_text *txn, const struct words *words,
                                 struct bytes clause, struct text *problem)
{
    struct holdfast_compare *compare = &txn->compares[txn->transaction.compare_count];

    if (txn->transaction.compare_count == HOLDFAST_TRANSACTION_COUNT_MAX) {
        return refuse(problem, clause, "there are 64 compares already");
    }
    if (!read_compare(words, compare)) {
        return refuse(problem, clause, COMPARE_HELP);
    }
    compare->key = words->items[0].data;
    compare->key_size = words->items[0].size;
    txn->transaction.compare_count++;
    return check_sizes(words->items[0], compare->value_size, clause, problem);
}

MUST_USE static bool add_operation(struct holdfast_operation *operations, size_t *count,
                                   const struct words *words, struct bytes clause,
                                   struct text *problem)
{
    struct holdfast_operation *operation = &operations[*count];

    if (*count == HOLDFAST_TRANSACTION_COUNT_MAX) {
        return refuse(problem, clause, "there are 64 operations of this branch already");
    }
    if (!read_operation(words, operation)) {
        return refuse(problem, clause, OPERATION_HELP);
    }
    operation->key = words->items[1].data;
    operation->key_size = words->items[1].size;
    (*count)++;
    return check_sizes(words->items[1], operation->value_size, clause, problem);
}

bool txn_text_add(struct txn_text *txn, enum options_clause_kind kind, struct bytes clause,
                  struct text *problem)
{
    struct holdfast_transaction *transaction = &txn->transaction;
    struct words words;

    if (!take_words(txn, clause, &words, problem)) {
        return false;
    }
    switch (kind) {
    case CLAUSE_IF:
        return add_compare(txn, &words, clause, problem);
    case CLAUSE_THEN:
        return add_operation(txn->success, &transaction->success_count, &words, clause, problem);
    case CLAUSE_ELSE:
        return add_operation(txn->failure, &transaction->failure_count, &words, clause, problem);
    }
    UNREACHABLE();
}

bool txn_text_add_line(struct txn_text *txn, struct bytes line, struct text *problem)
{
    static const char *const words[] = {
        [CLAUSE_IF] = "if", [CLAUSE_THEN] = "then", [CLAUSE_ELSE] = "else"};
    struct bytes rest = line;

    while (rest.size != 0 && is_blank(rest.data[0])) {
        rest = bytes_skip(rest, 1);
    }
    if (rest.size == 0 || rest.data[0] == '#') {
        return true;
    }
    for (uint32_t i = 0; i < COUNT_OF(words); i++) {
        struct bytes word = bytes_of_text(words[i]);

        if (bytes_has_prefix(rest, word) && rest.size > word.size &&
            is_blank(rest.data[word.size])) {
            return txn_text_add(txn, (enum options_clause_kind)i, bytes_skip(rest, word.size),
                                problem);
        }
    }
    return refuse(problem, rest, "a line begins with if, then or else");
}
