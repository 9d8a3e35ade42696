/* tests/unit/server/clock_test.c: time goes forward, and suspended time counts. */
#include "server/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const uint64_t ms = UINT64_C(1000000);

static void clock_of_the_machine_never_runs_back(void **state)
{
    struct clock clock;
    uint64_t last_ms;

    (void)state;
    clock_init(&clock);
    last_ms = clock_now_ms(&clock);
    assert_true(last_ms > 0);
    for (int i = 0; i < 100000; i++) {
        uint64_t now_ms = clock_now_ms(&clock);
        assert_true(now_ms >= last_ms);
        assert_true(now_ms - last_ms < 10000);
        last_ms = now_ms;
    }
}

static void raw_clock_alone_counts_while_nothing_is_suspended(void **state)
{
    struct clock clock;

    (void)state;
    clock_init(&clock);
    assert_int_equal(clock_advance(&clock, 1000 * ms, 900 * ms, 900 * ms, 900 * ms), 1000);
    /* The monotonic clock is slewed and does not matter. */
    assert_int_equal(clock_advance(&clock, 1010 * ms, 950 * ms, 950 * ms, 950 * ms), 1010);
}

static void suspended_time_is_added(void **state)
{
    struct clock clock;

    (void)state;
    clock_init(&clock);
    assert_int_equal(clock_advance(&clock, 1000 * ms, 900 * ms, 900 * ms, 900 * ms), 1000);
    assert_int_equal(clock_advance(&clock, 1001 * ms, 901 * ms, 5901 * ms, 901 * ms), 6001);
    assert_int_equal(clock_advance(&clock, 1002 * ms, 902 * ms, 5902 * ms, 902 * ms), 6002);
}

static void interrupted_reading_adds_nothing(void **state)
{
    struct clock clock;

    (void)state;
    clock_init(&clock);
    assert_int_equal(clock_advance(&clock, 1000 * ms, 900 * ms, 950 * ms, 951 * ms), 1000);
    assert_int_equal(clock_advance(&clock, 1001 * ms, 901 * ms, 901 * ms, 901 * ms), 1001);
}

/* Else the first reading after a sleep could make a lease look young that is long over. */
static void interrupted_reading_after_a_sleep_counts_it(void **state)
{
    struct clock clock;

    (void)state;
    clock_init(&clock);
    assert_int_equal(clock_advance(&clock, 1000 * ms, 900 * ms, 900 * ms, 900 * ms), 1000);
    assert_int_equal(clock_advance(&clock, 1001 * ms, 901 * ms, 5903 * ms, 911 * ms), 5993);
    assert_int_equal(clock_advance(&clock, 1020 * ms, 912 * ms, 5912 * ms, 912 * ms), 6020);
}

static void noise_between_the_clocks_adds_nothing(void **state)
{
    struct clock clock;

    (void)state;
    clock_init(&clock);
    assert_int_equal(
        clock_advance(&clock, 1000 * ms, 900 * ms, 900 * ms + 300000, 900 * ms + 300000), 1000);
    assert_int_equal(clock.suspended_ns, 0);
}

static void reading_that_goes_back_is_not_believed(void **state)
{
    struct clock clock;

    (void)state;
    clock_init(&clock);
    assert_int_equal(clock_advance(&clock, 1000 * ms, 900 * ms, 900 * ms, 900 * ms), 1000);
    assert_int_equal(clock_advance(&clock, 999 * ms, 900 * ms, 900 * ms, 900 * ms), 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clock_of_the_machine_never_runs_back),
        cmocka_unit_test(raw_clock_alone_counts_while_nothing_is_suspended),
        cmocka_unit_test(suspended_time_is_added),
        cmocka_unit_test(interrupted_reading_adds_nothing),
        cmocka_unit_test(interrupted_reading_after_a_sleep_counts_it),
        cmocka_unit_test(noise_between_the_clocks_adds_nothing),
        cmocka_unit_test(reading_that_goes_back_is_not_believed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
