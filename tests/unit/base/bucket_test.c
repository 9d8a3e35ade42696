/* Tests of base/bucket.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/bucket.h"
#include "base/prng.h"

static uint32_t take_all(struct bucket *bucket, const struct bucket_limits *limits, uint64_t now_ms)
{
    uint32_t taken = 0;
    uint32_t retry_ms;

    while (bucket_take(bucket, limits, now_ms, &retry_ms)) {
        taken++;
    }
    return taken;
}

static void a_fresh_bucket_gives_a_burst_and_no_more(void **state)
{
    for (uint32_t burst = 1; burst <= 50; burst++) {
        const struct bucket_limits limits = {.rate = 7, .burst = burst};
        struct bucket bucket = {0};

        assert_int_equal(take_all(&bucket, &limits, 12345), burst);
    }
    (void)state;
}

static void whoever_waits_as_told_is_taken_and_not_a_millisecond_earlier(void **state)
{
    struct prng prng;
    uint32_t refused = 0;
    prng_init(&prng, 4);

    for (uint32_t rate = 1; rate <= 3000; rate = rate < 40 ? rate + 1 : rate * 3) {
        for (uint32_t burst = 1; burst <= 5; burst++) {
            const struct bucket_limits limits = {.rate = rate, .burst = burst};
            struct bucket bucket = {0};
            uint64_t now_ms = prng_below(&prng, 1000000);

            for (int i = 0; i < 400; i++) {
                uint32_t retry_ms;
                uint32_t ignored;
                now_ms += prng_below(&prng, 2) * prng_below(&prng, 2 + 2000 / rate);
                if (bucket_take(&bucket, &limits, now_ms, &retry_ms)) {
                    assert_int_equal(retry_ms, 0);
                    continue;
                }
                refused++;
                assert_true(retry_ms >= 1);
                struct bucket early = bucket;
                assert_false(bucket_take(&early, &limits, now_ms + retry_ms - 1, &ignored));
                assert_int_equal(early.arrival, bucket.arrival);
                struct bucket due = bucket;
                assert_true(bucket_take(&due, &limits, now_ms + retry_ms, &ignored));
            }
        }
    }
    assert_true(refused > 1000);
    (void)state;
}

static void the_rate_does_not_drift(void **state)
{
    static const uint32_t rates[] = {1, 3, 7, 333, 999, 1000, 1001, 3333};

    for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
        const struct bucket_limits limits = {.rate = rates[i], .burst = 2000};
        struct bucket bucket = {0};
        uint64_t taken = 0;

        for (uint64_t now_ms = 0; now_ms <= 100000; now_ms++) {
            taken += take_all(&bucket, &limits, now_ms);
        }

        assert_int_equal(taken, 2000 + 100 * (uint64_t)rates[i]);
    }
    (void)state;
}

static void silence_fills_it_to_the_burst_and_no_further(void **state)
{
    const struct bucket_limits limits = {.rate = 10, .burst = 4};
    struct bucket bucket = {0};
    assert_int_equal(take_all(&bucket, &limits, 1000), 4);

    assert_int_equal(take_all(&bucket, &limits, 1000 + 250), 2);
    assert_int_equal(take_all(&bucket, &limits, 1000000), 4);
    (void)state;
}

static void the_largest_numbers_do_not_overflow(void **state)
{
    const struct bucket_limits limits = {.rate = BUCKET_RATE_MAX, .burst = BUCKET_BURST_MAX};
    const struct bucket_limits slow = {.rate = 1, .burst = BUCKET_BURST_MAX};
    uint64_t now_ms = (UINT64_C(1) << 43) - 1;
    struct bucket bucket = {0};
    uint32_t retry_ms = 0;

    assert_int_equal(take_all(&bucket, &limits, now_ms), BUCKET_BURST_MAX);
    assert_false(bucket_take(&bucket, &limits, now_ms, &retry_ms));
    assert_int_equal(retry_ms, 1);
    bucket = (struct bucket){0};
    assert_int_equal(take_all(&bucket, &slow, 0), BUCKET_BURST_MAX);
    assert_false(bucket_take(&bucket, &slow, 0, &retry_ms));
    assert_int_equal(retry_ms, 1000);
    (void)state;
}

static void ready_is_the_first_moment_at_which_one_is_taken(void **state)
{
    const struct bucket_limits limits = {.rate = 7, .burst = 3};
    struct bucket bucket = {0};
    uint64_t now_ms = 1000;
    uint32_t retry_ms = 0;
    (void)state;

    assert_int_equal(bucket_ready_ms(&bucket, &limits), 0);
    for (uint32_t i = 0; i < 100; i++) {
        uint64_t ready_ms = bucket_ready_ms(&bucket, &limits);

        if (ready_ms > now_ms) {
            assert_false(bucket_take(&bucket, &limits, ready_ms - 1, &retry_ms));
            assert_int_equal(retry_ms, 1);
            now_ms = ready_ms;
        }
        assert_true(bucket_take(&bucket, &limits, now_ms, &retry_ms));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_fresh_bucket_gives_a_burst_and_no_more),
        cmocka_unit_test(whoever_waits_as_told_is_taken_and_not_a_millisecond_earlier),
        cmocka_unit_test(the_rate_does_not_drift),
        cmocka_unit_test(silence_fills_it_to_the_burst_and_no_further),
        cmocka_unit_test(the_largest_numbers_do_not_overflow),
        cmocka_unit_test(ready_is_the_first_moment_at_which_one_is_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
