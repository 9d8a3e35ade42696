/* tests/unit/base/macros_test.c: the small arithmetic that everything sizes its memory with. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/macros.h"

static void the_smaller_and_the_larger_are_told_apart(void **state)
{
    (void)state;

    assert_int_equal(size_min(2, 3), 2);
    assert_int_equal(size_min(3, 2), 2);
    assert_int_equal(size_max(2, 3), 3);
    assert_int_equal(size_max(3, 2), 3);
}

static void sizes_are_rounded_up_to_whole_units(void **state)
{
    (void)state;

    assert_int_equal(size_round_up(0, 64), 0);
    assert_int_equal(size_round_up(1, 64), 64);
    assert_int_equal(size_round_up(64, 64), 64);
    assert_int_equal(size_round_up(65, 64), 128);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_smaller_and_the_larger_are_told_apart),
        cmocka_unit_test(sizes_are_rounded_up_to_whole_units),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
