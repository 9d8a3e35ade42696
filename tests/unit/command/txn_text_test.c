/* tests/unit/command/txn_text_test.c: the text form of transactions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/macros.h"
#include "client/command/txn_text.h"

struct fixture {
    struct txn_text txn;
    uint8_t memory[4096];
    char problem_memory[512];
    struct text problem;
};

static void begin(struct fixture *fixture)
{
    txn_text_init(&fixture->txn, buffer_of(fixture->memory, sizeof(fixture->memory)));
    text_init(&fixture->problem, fixture->problem_memory, sizeof(fixture->problem_memory));
}

static bool add(struct fixture *fixture, enum options_clause_kind kind, const char *clause)
{
    return txn_text_add(&fixture->txn, kind, bytes_of_text(clause), &fixture->problem);
}

static bool add_line(struct fixture *fixture, const char *line)
{
    return txn_text_add_line(&fixture->txn, bytes_of_text(line), &fixture->problem);
}

static void assert_bytes(const void *data, size_t size, const char *expected)
{
    assert_true(bytes_equal(bytes_of(data, size), bytes_of_text(expected)));
}

static void every_compare_has_its_form(void **state)
{
    static const struct {
        const char *text;
        enum holdfast_test test;
        uint64_t revision;
    } forms[] = {
        {"key exists", HOLDFAST_EXISTS, 0},
        {"key absent", HOLDFAST_ABSENT, 0},
        {"key = value", HOLDFAST_EQUAL, 0},
        {"  key \t revision = 12 ", HOLDFAST_REVISION_EQUAL, 12},
        {"key revision < 13", HOLDFAST_REVISION_LESS, 13},
        {"key revision > 14", HOLDFAST_REVISION_GREATER, 14},
    };
    struct fixture fixture;

    (void)state;
    begin(&fixture);
    for (uint32_t i = 0; i < COUNT_OF(forms); i++) {
        const struct holdfast_compare *compare = &fixture.txn.compares[i];

        assert_true(add(&fixture, CLAUSE_IF, forms[i].text));
        assert_int_equal(fixture.txn.transaction.compare_count, i + 1);
        assert_int_equal(compare->test, forms[i].test);
        assert_int_equal(compare->revision, forms[i].revision);
        assert_bytes(compare->key, compare->key_size, "key");
        assert_bytes(compare->value, compare->value_size,
                     forms[i].test == HOLDFAST_EQUAL ? "value" : "");
    }
}

static void every_operation_has_its_form_and_its_branch(void **state)
{
    struct fixture fixture;
    const struct holdfast_transaction *transaction = &fixture.txn.transaction;

    (void)state;
    begin(&fixture);
    assert_true(add(&fixture, CLAUSE_THEN, "put a 1"));
    assert_true(add(&fixture, CLAUSE_ELSE, "get b"));
    assert_true(add(&fixture, CLAUSE_THEN, "del c"));

    assert_true(transaction->success_count == 2 && transaction->failure_count == 1);
    assert_int_equal(transaction->success[0].action, HOLDFAST_PUT);
    assert_bytes(transaction->success[0].value, transaction->success[0].value_size, "1");
    assert_int_equal(transaction->success[1].action, HOLDFAST_DELETE);
    assert_int_equal(transaction->failure[0].action, HOLDFAST_GET);
    assert_bytes(transaction->failure[0].key, transaction->failure[0].key_size, "b");
}

static void quotes_hold_blanks_and_escapes(void **state)
{
    struct fixture fixture;
    const struct holdfast_operation *put = &fixture.txn.success[0];

    (void)state;
    begin(&fixture);
    assert_true(add(&fixture, CLAUSE_THEN, "put \"two words\" \"a\\\"b\\\\c\\n\\t\\x7e\\xFf\""));

    assert_bytes(put->key, put->key_size, "two words");
    assert_bytes(put->value, put->value_size, "a\"b\\c\n\t~\xff");
    assert_true(add(&fixture, CLAUSE_THEN, "put key \"\""));
    assert_int_equal(fixture.txn.success[1].value_size, 0);
}

static void what_is_not_a_clause_is_refused_with_what_may_stand_there(void **state)
{
    static const struct {
        enum options_clause_kind kind;
        const char *text;
        const char *why;
    } wrong[] = {
        {CLAUSE_IF, "", "KEY = VALUE"},
        {CLAUSE_IF, "key", "KEY = VALUE"},
        {CLAUSE_IF, "key == value", "KEY = VALUE"},
        {CLAUSE_IF, "key = two words", "KEY = VALUE"},
        {CLAUSE_IF, "key = three more words", "double quotes"},
        {CLAUSE_IF, "key revision ! 3", "KEY revision = N"},
        {CLAUSE_IF, "key revision = x", "KEY revision = N"},
        {CLAUSE_THEN, "put key", "put KEY VALUE"},
        {CLAUSE_THEN, "get key value", "get KEY"},
        {CLAUSE_ELSE, "take key", "del KEY"},
        {CLAUSE_THEN, "del \"key", "not closed"},
        {CLAUSE_THEN, "del \"key\"x", "closing quote"},
        {CLAUSE_THEN, "del \"\\q\"", "backslash"},
        {CLAUSE_THEN, "del \"\\x1\"", "backslash"},
        {CLAUSE_THEN, "del \"\"", "1 to 480 bytes"},
    };
    struct fixture fixture;

    (void)state;
    for (uint32_t i = 0; i < COUNT_OF(wrong); i++) {
        begin(&fixture);
        assert_false(add(&fixture, wrong[i].kind, wrong[i].text));
        if (strstr(fixture.problem_memory, wrong[i].why) == NULL) {
            fail_msg("%s: %s", wrong[i].text, fixture.problem_memory);
        }
    }
}

static void lines_say_which_kind_they_are(void **state)
{
    struct fixture fixture;
    const struct holdfast_transaction *transaction = &fixture.txn.transaction;

    (void)state;
    begin(&fixture);
    assert_true(add_line(&fixture, ""));
    assert_true(add_line(&fixture, "  # a word about it"));
    assert_true(add_line(&fixture, "if a exists"));
    assert_true(add_line(&fixture, "  then put a 1"));
    assert_true(add_line(&fixture, "else get a"));
    assert_true(transaction->compare_count == 1 && transaction->success_count == 1 &&
                transaction->failure_count == 1);
    assert_false(add_line(&fixture, "thenput a 1"));
    assert_non_null(strstr(fixture.problem_memory, "if, then or else"));
}

static void no_more_than_the_protocol_takes(void **state)
{
    struct fixture fixture;
    char key[482] = {0};

    (void)state;
    begin(&fixture);
    for (uint32_t i = 0; i < HOLDFAST_TRANSACTION_COUNT_MAX; i++) {
        assert_true(add(&fixture, CLAUSE_IF, "a exists"));
        assert_true(add(&fixture, CLAUSE_ELSE, "get a"));
    }
    assert_false(add(&fixture, CLAUSE_IF, "a exists"));
    assert_non_null(strstr(fixture.problem_memory, "64 compares"));
    assert_false(add(&fixture, CLAUSE_ELSE, "get a"));

    begin(&fixture);
    memset(key, 'k', 481);
    memcpy(key, "del ", 4);
    assert_true(add(&fixture, CLAUSE_THEN, key)); /* 477 bytes. */
    txn_text_init(&fixture.txn, buffer_of(fixture.memory, 100));
    assert_false(add(&fixture, CLAUSE_THEN, key));
    assert_non_null(strstr(fixture.problem_memory, "1 MiB"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_compare_has_its_form),
        cmocka_unit_test(every_operation_has_its_form_and_its_branch),
        cmocka_unit_test(quotes_hold_blanks_and_escapes),
        cmocka_unit_test(what_is_not_a_clause_is_refused_with_what_may_stand_there),
        cmocka_unit_test(lines_say_which_kind_they_are),
        cmocka_unit_test(no_more_than_the_protocol_takes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
