/* tests/unit/base/assert_test.c: a failed assertion says what, where and with which values. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/assert.h"
#include "tests/support/base/death.h"

static void fail_plainly(void)
{
    int three = 3;

    ASSERT(three == 4);
}

static void fail_with_values(void)
{
    uint64_t size = UINT64_MAX;
    unsigned room = 0;

    ASSERT_VALUES(size <= room, size, room);
}

static void reach_the_unreachable(void)
{
    UNREACHABLE();
}

static void a_failed_assertion_names_expression_and_file(void **state)
{
    (void)state;

    assert_true(dies(fail_plainly, "tests/unit/base/assert_test.c:"));
    assert_true(dies(fail_plainly, ": assertion failed: three == 4\n"));
}

static void a_failed_assertion_prints_its_values(void **state)
{
    (void)state;

    assert_true(dies(fail_with_values, "size <= room (18446744073709551615, 0)\n"));
}

static void unreachable_code_aborts(void **state)
{
    (void)state;

    assert_true(dies(reach_the_unreachable, "assertion failed: unreachable\n"));
}

static void a_condition_is_evaluated_once(void **state)
{
    (void)state;
    int count = 0;

    ASSERT(++count != 0);
    ASSERT_VALUES(++count != 0, 0, 0);

    assert_int_equal(count, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failed_assertion_names_expression_and_file),
        cmocka_unit_test(a_failed_assertion_prints_its_values),
        cmocka_unit_test(unreachable_code_aborts),
        cmocka_unit_test(a_condition_is_evaluated_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
