/* tests/unit/base/error_test.c: numbers are for ever, and an unknown one is never a success. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/error.h"
#include "base/macros.h"

struct row {
    enum error error;
    unsigned number;
    const char *name;
};

#define ERROR_AS_ROW(name, number, outcome, text) {ERR_##name, number, #name},
static const struct row rows[] = {ERROR_LIST(ERROR_AS_ROW)};
#undef ERROR_AS_ROW

static void every_error_has_its_name_and_a_text(void **state)
{
    (void)state;

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        assert_string_equal(error_name(rows[i].error), rows[i].name);
        assert_true(strlen(error_text(rows[i].error)) > 1);
    }
}

static void names_and_texts_are_told_apart(void **state)
{
    (void)state;

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        for (size_t j = 0; j < i; j++) {
            assert_string_not_equal(error_text(rows[i].error), error_text(rows[j].error));
        }
    }
}

static void numbers_of_the_wire_come_back_as_their_error(void **state)
{
    (void)state;

    for (size_t i = 0; i < COUNT_OF(rows) && rows[i].number < 100; i++) {
        assert_int_equal(error_from_number(rows[i].number), rows[i].error);
    }
}

/* A change here breaks every client and peer that is already in use. */
static void numbers_of_the_wire_do_not_change(void **state)
{
    (void)state;

    assert_int_equal(ERR_OK, 0);
    assert_int_equal(ERR_HELD, 1);
    assert_int_equal(ERR_NOT_LEADER, 3);
    assert_int_equal(ERR_OVERLOADED, 6);
    assert_int_equal(ERR_FENCED, 10);
    assert_int_equal(ERR_STALE, 16);
    assert_int_equal(ERR_UNKNOWN_OUTCOME, 20);
    assert_int_equal(ERR_STOPPING, 23);
}

static void a_number_that_is_not_of_the_wire_is_an_unknown_outcome(void **state)
{
    (void)state;

    assert_int_equal(error_from_number(99), ERR_UNKNOWN_OUTCOME);
    assert_int_equal(error_from_number(ERR_IO), ERR_UNKNOWN_OUTCOME);
    assert_int_equal(error_from_number(~0U), ERR_UNKNOWN_OUTCOME);
}

static void only_ok_is_ok(void **state)
{
    (void)state;

    assert_int_equal(error_outcome(ERR_OK), OUTCOME_OK);
    for (size_t i = 1; i < COUNT_OF(rows); i++) {
        assert_int_not_equal(error_outcome(rows[i].error), OUTCOME_OK);
    }
}

static void what_may_have_been_applied_is_unknown(void **state)
{
    (void)state;

    assert_int_equal(error_outcome(ERR_TIMEOUT), OUTCOME_UNKNOWN);
    assert_int_equal(error_outcome(ERR_STALE), OUTCOME_UNKNOWN);
    assert_int_equal(error_outcome(ERR_CLOSED), OUTCOME_UNKNOWN);
    assert_int_equal(error_outcome(ERR_OVERLOADED), OUTCOME_REJECTED);
    assert_int_equal(error_outcome(ERR_NOT_LEADER), OUTCOME_REJECTED);
}

static void an_error_of_a_newer_version_is_described_and_unknown(void **state)
{
    (void)state;
    enum error newer = (enum error)77;

    assert_string_equal(error_name(newer), "UNKNOWN_ERROR");
    assert_true(strlen(error_text(newer)) > 1);
    assert_int_equal(error_outcome(newer), OUTCOME_UNKNOWN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_error_has_its_name_and_a_text),
        cmocka_unit_test(names_and_texts_are_told_apart),
        cmocka_unit_test(numbers_of_the_wire_come_back_as_their_error),
        cmocka_unit_test(numbers_of_the_wire_do_not_change),
        cmocka_unit_test(a_number_that_is_not_of_the_wire_is_an_unknown_outcome),
        cmocka_unit_test(only_ok_is_ok),
        cmocka_unit_test(what_may_have_been_applied_is_unknown),
        cmocka_unit_test(an_error_of_a_newer_version_is_described_and_unknown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
