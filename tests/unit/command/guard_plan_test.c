/* tests/unit/command/guard_plan_test.c: the guard acts before the deadline, never after. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/macros.h"
#include "client/command/guard_plan.h"

static void nothing_is_due_before_the_grace(void **state)
{
    struct guard_plan plan;

    (void)state;
    guard_plan_init(&plan, 10000, 50000);

    assert_int_equal(guard_plan_step(&plan, 48999), GUARD_NOTHING);
    assert_int_equal(guard_plan_step(&plan, 49000), GUARD_TERMINATE);
    assert_int_equal(guard_plan_step(&plan, 49001), GUARD_NOTHING);
}

static void the_group_is_killed_before_the_deadline(void **state)
{
    struct guard_plan plan;

    (void)state;
    guard_plan_init(&plan, 10000, 50000);
    assert_int_equal(guard_plan_step(&plan, 49000), GUARD_TERMINATE);

    assert_int_equal(guard_plan_step(&plan, 49899), GUARD_NOTHING);
    assert_int_equal(guard_plan_step(&plan, 49900), GUARD_KILL);
    assert_int_equal(guard_plan_step(&plan, 60000), GUARD_NOTHING);
}

static void a_late_guard_kills_at_once(void **state)
{
    struct guard_plan plan;

    (void)state;
    guard_plan_init(&plan, 10000, 50000);

    assert_int_equal(guard_plan_step(&plan, 49950), GUARD_KILL);
}

static void a_renewal_moves_the_deadline_only_forward(void **state)
{
    struct guard_plan plan;

    (void)state;
    guard_plan_init(&plan, 10000, 50000);
    guard_plan_extend(&plan, 53000);
    guard_plan_extend(&plan, 51000);

    assert_int_equal(guard_plan_step(&plan, 51999), GUARD_NOTHING);
    assert_int_equal(guard_plan_step(&plan, 52000), GUARD_TERMINATE);
}

static void a_renewal_after_the_first_signal_changes_nothing(void **state)
{
    struct guard_plan plan;

    (void)state;
    guard_plan_init(&plan, 10000, 50000);
    assert_int_equal(guard_plan_step(&plan, 49000), GUARD_TERMINATE);
    guard_plan_extend(&plan, 90000);

    assert_int_equal(guard_plan_step(&plan, 49900), GUARD_KILL);
}

static void a_sleep_never_passes_what_is_due(void **state)
{
    struct guard_plan plan;

    (void)state;
    guard_plan_init(&plan, 1500, 50000);

    for (uint64_t now_ms = 40000; now_ms < 49850; now_ms++) {
        uint64_t sleep_ms = guard_plan_sleep_ms(&plan, now_ms);

        assert_true(sleep_ms >= 1 && now_ms + sleep_ms <= 49850);
    }
    assert_int_equal(guard_plan_step(&plan, 49990), GUARD_KILL);
    assert_true(guard_plan_sleep_ms(&plan, 49990) == UINT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_due_before_the_grace),
        cmocka_unit_test(the_group_is_killed_before_the_deadline),
        cmocka_unit_test(a_late_guard_kills_at_once),
        cmocka_unit_test(a_renewal_moves_the_deadline_only_forward),
        cmocka_unit_test(a_renewal_after_the_first_signal_changes_nothing),
        cmocka_unit_test(a_sleep_never_passes_what_is_due),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
