/* tests/unit/client/core_latency_test.c: attempts are given up late enough, and never too late. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/prng.h"
#include "client/core_latency.h"

static void answer(struct core_latency *latency, uint64_t taken_ms, int count)
{
    for (int i = 0; i < count; i++) {
        latency_answered(latency, 1000, 1000 + taken_ms);
    }
}

static void while_nothing_is_known_it_is_in_between(void **state)
{
    struct core_latency latency = {0};

    (void)state;
    assert_int_equal(latency_timeout_ms(&latency), LATENCY_TIMEOUT_MS_FIRST);
}

static void quick_answers_do_not_make_it_impatient(void **state)
{
    struct core_latency latency = {0};

    (void)state;
    answer(&latency, 0, 1000);
    assert_int_equal(latency_timeout_ms(&latency), LATENCY_TIMEOUT_MS_MIN);
}

static void slow_answers_are_waited_for_several_times_as_long(void **state)
{
    struct core_latency latency = {0};

    (void)state;
    answer(&latency, 300, 100);
    assert_in_range(latency_timeout_ms(&latency), 1200, 1300);
    answer(&latency, 100000, 100);
    assert_int_equal(latency_timeout_ms(&latency), LATENCY_TIMEOUT_MS_MAX);
}

static void answers_that_spread_are_waited_for_longer(void **state)
{
    struct core_latency even = {0};
    struct core_latency spread = {0};

    (void)state;
    answer(&even, 200, 100);
    for (int i = 0; i < 50; i++) {
        answer(&spread, 0, 1);
        answer(&spread, 400, 1);
    }
    assert_true(latency_timeout_ms(&spread) > 2 * latency_timeout_ms(&even));
}

static void it_doubles_once_for_all_that_were_under_way(void **state)
{
    struct core_latency latency = {0};

    (void)state;
    answer(&latency, 1, 100);
    for (int i = 0; i < 100; i++) {
        latency_timed_out(&latency, 1000, 1500);
    }
    assert_int_equal(latency_timeout_ms(&latency), 2 * LATENCY_TIMEOUT_MS_MIN);
    latency_timed_out(&latency, 1500, 2500);
    assert_int_equal(latency_timeout_ms(&latency), 4 * LATENCY_TIMEOUT_MS_MIN);
    answer(&latency, 1, 1);
    assert_int_equal(latency_timeout_ms(&latency), LATENCY_TIMEOUT_MS_MIN);
}

static void it_is_within_its_bounds_whatever_happens(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 2000; seed++) {
        struct core_latency latency = {0};
        struct prng prng;
        uint64_t now_ms = 1;
        prng_init(&prng, seed);
        for (int i = 0; i < 500; i++) {
            uint64_t sent_ms = prng_below(&prng, now_ms);
            now_ms += prng_below(&prng, seed % 2 == 0 ? 10 : 100000);
            if (prng_below(&prng, 3) == 0) {
                latency_timed_out(&latency, sent_ms, now_ms);
            } else {
                latency_answered(&latency, sent_ms, now_ms);
            }
            assert_in_range(latency_timeout_ms(&latency), LATENCY_TIMEOUT_MS_MIN,
                            LATENCY_TIMEOUT_MS_MAX);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(while_nothing_is_known_it_is_in_between),
        cmocka_unit_test(quick_answers_do_not_make_it_impatient),
        cmocka_unit_test(slow_answers_are_waited_for_several_times_as_long),
        cmocka_unit_test(answers_that_spread_are_waited_for_longer),
        cmocka_unit_test(it_doubles_once_for_all_that_were_under_way),
        cmocka_unit_test(it_is_within_its_bounds_whatever_happens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
