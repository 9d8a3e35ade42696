/* Tests of node/drain.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/drain.h"

static void a_steady_flow_is_measured_exactly(void **state)
{
    struct drain drain = {0};

    for (uint64_t now_ms = 1000; now_ms <= 3000; now_ms += 10) {
        drain_note(&drain, 80, now_ms);
    }

    assert_int_equal(drain.rate, 8000);
    assert_int_equal(drain_time_ms(&drain, 4000, 1, 5000), 500);
    assert_int_equal(drain_time_ms(&drain, 4001, 1, 5000), 501);
    (void)state;
}

static void time_that_the_queue_was_empty_does_not_count(void **state)
{
    struct drain drain = {0};
    drain_note(&drain, 0, 1000);
    drain_note(&drain, 100, 1050);
    assert_int_equal(drain.rate, 2000);

    drain_note(&drain, 7, 1060);
    drain_pause(&drain);
    drain_note(&drain, 900, 90000);
    drain_note(&drain, 100, 90050);

    assert_int_equal(drain.rate, 2000);
    (void)state;
}

static void the_rate_follows_a_change_and_never_stays_behind(void **state)
{
    struct drain drain = {0};
    uint64_t now_ms = 0;
    for (int i = 0; i < 100; i++) {
        drain_note(&drain, 1000, now_ms += DRAIN_WINDOW_MS);
    }
    assert_int_equal(drain.rate, 20000);

    for (int i = 0; i < 40; i++) {
        drain_note(&drain, 0, now_ms += DRAIN_WINDOW_MS);
    }
    assert_in_range(drain.rate, 1, 3);
    for (int i = 0; i < 60; i++) {
        drain_note(&drain, 1000, now_ms += DRAIN_WINDOW_MS);
    }

    assert_int_equal(drain.rate, 20000);
    (void)state;
}

static void what_is_told_lies_within_its_bounds(void **state)
{
    struct drain drain = {0};

    assert_int_equal(drain_time_ms(&drain, 100, 0, 5000), 1);
    assert_int_equal(drain_time_ms(&drain, 100, 30, 5000), 30);
    assert_int_equal(drain_time_ms(&drain, 100, 70000, 5000), 5000);
    drain.rate = 1;
    assert_int_equal(drain_time_ms(&drain, 0, 0, 5000), 1);
    assert_int_equal(drain_time_ms(&drain, (UINT64_C(1) << 40) - 1, 0, 5000), 5000);
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_steady_flow_is_measured_exactly),
        cmocka_unit_test(time_that_the_queue_was_empty_does_not_count),
        cmocka_unit_test(the_rate_follows_a_change_and_never_stays_behind),
        cmocka_unit_test(what_is_told_lies_within_its_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
