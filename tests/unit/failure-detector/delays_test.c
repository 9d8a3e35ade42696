/* tests/unit/failure-detector/delays_test.c: two windows over one ring. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "failure-detector/delays.h"
#include "tests/support/failure-detector/nearly.h"

enum { DISTANCE_MAX = 200, SKEW = 123456 };

static void add_many(struct delays *delays, uint64_t delay, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        delays_add(delays, delay, DISTANCE_MAX);
    }
}

static void windows_forget_what_is_older_than_they_are(void **state)
{
    (void)state;
    struct delays delays;

    delays_init(&delays);
    add_many(&delays, SKEW, 2000);
    add_many(&delays, SKEW + 100, DELAYS_SHORT_COUNT);

    delays_check(&delays);
    assert_int_equal(delays_mean(&delays, DELAYS_SHORT), 100);
    assert_int_equal(delays_mean(&delays, DELAYS_LONG), 6); /* 6400 / 1024. */
    assert_true(nearly(delays_variance(&delays, DELAYS_SHORT, 0), 0, 0));
    add_many(&delays, SKEW + 100, DELAYS_LONG_COUNT);
    assert_int_equal(delays_mean(&delays, DELAYS_LONG), 100);
}

static void variance_is_that_of_the_samples_when_there_are_many(void **state)
{
    (void)state;
    struct delays delays;

    delays_init(&delays);
    for (int i = 0; i < 512; i++) {
        delays_add(&delays, SKEW, DISTANCE_MAX);
        delays_add(&delays, SKEW + 20, DISTANCE_MAX);
    }

    assert_true(nearly(delays_variance(&delays, DELAYS_LONG, 0), 100.0 * 1024 / 1032, 1e-9));
}

static void variance_without_samples_is_the_one_assumed(void **state)
{
    (void)state;
    struct delays delays;

    delays_init(&delays);

    assert_true(nearly(delays_variance(&delays, DELAYS_SHORT, 156.25), 156.25, 0));
}

static void single_outlier_changes_nothing(void **state)
{
    (void)state;
    struct delays delays;

    delays_init(&delays);
    add_many(&delays, SKEW, 100);
    delays_add(&delays, SKEW + DISTANCE_MAX + 1, DISTANCE_MAX);
    delays_add(&delays, SKEW - DISTANCE_MAX - 1, DISTANCE_MAX);

    delays_check(&delays);
    assert_int_equal(delays_mean(&delays, DELAYS_LONG), 0);
    assert_true(nearly(delays_variance(&delays, DELAYS_LONG, 0), 0, 0));
    assert_int_equal(delays.sums[DELAYS_LONG].count, 100);
}

static void eight_outliers_in_a_row_are_a_new_normal(void **state)
{
    (void)state;
    struct delays delays;

    delays_init(&delays);
    add_many(&delays, SKEW, 100);
    add_many(&delays, SKEW + 5000, 8);
    delays_add(&delays, SKEW + 5001, DISTANCE_MAX);

    delays_check(&delays);
    assert_int_equal(delays.anchor, SKEW + 5000);
    assert_int_equal(delays.sums[DELAYS_LONG].count, 2);
}

static void outliers_that_do_not_follow_each_other_never_become_normal(void **state)
{
    (void)state;
    struct delays delays;

    delays_init(&delays);
    for (int i = 0; i < 20; i++) {
        add_many(&delays, SKEW, 3);
        add_many(&delays, SKEW + 5000, 7);
    }

    delays_check(&delays);
    assert_int_equal(delays.anchor, SKEW);
    assert_int_equal(delays.sums[DELAYS_LONG].count, 60);
}

static void origin_of_the_peer_clock_does_not_matter(void **state)
{
    (void)state;
    struct delays ahead;
    struct delays behind;

    delays_init(&ahead);
    delays_init(&behind);
    for (uint32_t i = 0; i < 100; i++) {
        delays_add(&ahead, (uint64_t)0 - 5 + i % 10, DISTANCE_MAX); /* Wraps around 2^64. */
        delays_add(&behind, UINT64_MAX / 2 + i % 10, DISTANCE_MAX);
    }

    assert_int_equal(delays_mean(&ahead, DELAYS_LONG), delays_mean(&behind, DELAYS_LONG));
    assert_true(delays_variance(&ahead, DELAYS_LONG, 1) ==
                delays_variance(&behind, DELAYS_LONG, 1));
}

static void anchor_follows_clocks_that_drift_apart(void **state)
{
    (void)state;
    struct delays delays;

    delays_init(&delays);
    for (uint64_t i = 0; i < 3000000; i++) { /* 2 % at 50 ms: 50 minutes of drift. */
        delays_add(&delays, SKEW + i, DISTANCE_MAX);
    }

    delays_check(&delays);
    assert_true(delays.anchor > SKEW + 1000000);
    int64_t last = (int64_t)(SKEW + 2999999 - delays.anchor);
    assert_in_range(last - delays_mean(&delays, DELAYS_SHORT), 31, 32);
    assert_in_range(last - delays_mean(&delays, DELAYS_LONG), 511, 512);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(windows_forget_what_is_older_than_they_are),
        cmocka_unit_test(variance_is_that_of_the_samples_when_there_are_many),
        cmocka_unit_test(variance_without_samples_is_the_one_assumed),
        cmocka_unit_test(single_outlier_changes_nothing),
        cmocka_unit_test(eight_outliers_in_a_row_are_a_new_normal),
        cmocka_unit_test(outliers_that_do_not_follow_each_other_never_become_normal),
        cmocka_unit_test(origin_of_the_peer_clock_does_not_matter),
        cmocka_unit_test(anchor_follows_clocks_that_drift_apart),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
