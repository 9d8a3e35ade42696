/* tests/unit/base/histogram_test.c: percentiles are close, the maximum is exact. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/histogram.h"
#include "base/macros.h"
#include "base/prng.h"
#include "tests/support/base/death.h"

static void an_empty_histogram_has_only_zeros(void **state)
{
    (void)state;
    struct histogram histogram;

    histogram_init(&histogram);

    assert_true(histogram_percentile(&histogram, 500) == 0);
    assert_true(histogram_percentile(&histogram, 1000) == 0);
    assert_true(histogram.count == 0 && histogram.sum == 0 && histogram.max == 0);
}

static void small_values_are_exact(void **state)
{
    (void)state;
    struct histogram histogram;
    histogram_init(&histogram);

    for (uint64_t value = 1; value <= 10; value++) {
        histogram_add(&histogram, value);
    }

    assert_true(histogram_percentile(&histogram, 0) == 1);
    assert_true(histogram_percentile(&histogram, 500) == 5);
    assert_true(histogram_percentile(&histogram, 501) == 6);
    assert_true(histogram_percentile(&histogram, 900) == 9);
    assert_true(histogram_percentile(&histogram, 999) == 10);
    assert_true(histogram.sum == 55);
}

/* One value, and one far above it that keeps the maximum from hiding the bucket's end. */
static uint64_t end_of_bucket_of(uint64_t value)
{
    struct histogram histogram;

    histogram_init(&histogram);
    histogram_add(&histogram, value);
    histogram_add(&histogram, UINT64_MAX);
    return histogram_percentile(&histogram, 500);
}

static void a_bucket_ends_at_most_a_32nd_above_its_values(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, 1);

    for (int i = 0; i < 2000; i++) {
        uint64_t value = prng_next(&prng) >> prng_below(&prng, 64);
        uint64_t end = end_of_bucket_of(value);

        assert_true(end >= value);
        assert_true(end - value <= value / 32);
    }
}

static void values_at_the_edges_of_buckets_stay_in_order(void **state)
{
    (void)state;
    const uint64_t values[] = {0, 31, 32, 33, 63, 64, 65, 66, 127, 128, 1000, 1024};
    const uint64_t ends[] = {0, 31, 32, 33, 63, 65, 65, 67, 127, 131, 1007, 1055};

    for (size_t i = 0; i < COUNT_OF(values); i++) {
        assert_true(end_of_bucket_of(values[i]) == ends[i]);
    }
}

static void a_percentile_never_exceeds_the_maximum(void **state)
{
    (void)state;
    struct histogram histogram;
    histogram_init(&histogram);

    histogram_add(&histogram, 1001);

    assert_true(histogram_percentile(&histogram, 500) == 1001);
    assert_true(histogram_percentile(&histogram, 1000) == 1001);
}

static void the_largest_value_has_a_bucket(void **state)
{
    (void)state;
    struct histogram histogram;
    histogram_init(&histogram);

    histogram_add(&histogram, UINT64_MAX);
    histogram_add(&histogram, 1);

    assert_true(histogram.buckets[HISTOGRAM_BUCKET_COUNT - 1] == 1);
    assert_true(histogram_percentile(&histogram, 1000) == UINT64_MAX);
}

static void a_sum_that_does_not_fit_stays_at_its_maximum(void **state)
{
    (void)state;
    struct histogram histogram;
    histogram_init(&histogram);

    histogram_add(&histogram, UINT64_MAX);
    histogram_add(&histogram, 1);

    assert_true(histogram.sum == UINT64_MAX);
}

static void merging_equals_adding_everything_to_one(void **state)
{
    (void)state;
    struct histogram one;
    struct histogram left;
    struct histogram right;
    struct prng prng;
    histogram_init(&one);
    histogram_init(&left);
    histogram_init(&right);
    prng_init(&prng, 2);
    for (int i = 0; i < 1000; i++) {
        uint64_t value = prng_below(&prng, 1000000);
        histogram_add(&one, value);
        histogram_add(i % 3 == 0 ? &left : &right, value);
    }

    histogram_merge(&left, &right);

    assert_memory_equal(&left, &one, sizeof(one));
}

static void ask_above_the_whole(void)
{
    struct histogram histogram;

    histogram_init(&histogram);
    (void)histogram_percentile(&histogram, 1001);
}

static void more_than_a_thousand_thousandths_abort(void **state)
{
    (void)state;

    assert_true(dies(ask_above_the_whole, "per_mille <= 1000 (1001, 1000)"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_histogram_has_only_zeros),
        cmocka_unit_test(small_values_are_exact),
        cmocka_unit_test(a_bucket_ends_at_most_a_32nd_above_its_values),
        cmocka_unit_test(values_at_the_edges_of_buckets_stay_in_order),
        cmocka_unit_test(a_percentile_never_exceeds_the_maximum),
        cmocka_unit_test(the_largest_value_has_a_bucket),
        cmocka_unit_test(a_sum_that_does_not_fit_stays_at_its_maximum),
        cmocka_unit_test(merging_equals_adding_everything_to_one),
        cmocka_unit_test(more_than_a_thousand_thousandths_abort),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
