/* tests/unit/client/core_bucket_test.c: the rate holds in every window, and the time told is exact.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/prng.h"
#include "client/core_bucket.h"

enum { SEED_COUNT = 2000, TAKEN_COUNT_MAX = 2000 };

static void without_a_rate_all_pass(void **state)
{
    struct core_bucket bucket;

    (void)state;
    bucket_init(&bucket, 0, 1);
    for (int i = 0; i < 100000; i++) {
        assert_true(bucket_take(&bucket, 5));
    }
    assert_int_equal(bucket_ready_ms(&bucket), 0);
}

static void a_burst_passes_and_then_the_rate(void **state)
{
    struct core_bucket bucket;
    uint32_t taken = 0;

    (void)state;
    bucket_init(&bucket, 100, 10);
    while (bucket_take(&bucket, 1000)) {
        taken++;
    }
    assert_int_equal(taken, 10);
    for (uint64_t now_ms = 1000; now_ms < 2000; now_ms++) {
        taken += bucket_take(&bucket, now_ms);
    }
    assert_int_equal(taken, 10 + 99);
}

static void it_is_granted_at_the_time_told_and_not_before(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEED_COUNT; seed++) {
        struct core_bucket bucket;
        struct prng prng;
        prng_init(&prng, seed);
        uint64_t now_ms = prng_below(&prng, 100000);
        bucket_init(&bucket, 1 + (uint32_t)prng_below(&prng, 5000),
                    1 + (uint32_t)prng_below(&prng, 20));
        for (uint32_t i = 0; i < 500; i++) {
            uint64_t ready_ms = bucket_ready_ms(&bucket);
            if (ready_ms > now_ms) {
                assert_false(bucket_take(&bucket, ready_ms - 1));
                now_ms = ready_ms;
            }
            assert_true(bucket_take(&bucket, now_ms));
            now_ms += prng_below(&prng, 3);
        }
    }
}

static void no_window_has_more_than_the_burst_and_the_rate(void **state)
{
    static uint64_t taken_ms[TAKEN_COUNT_MAX];

    (void)state;
    for (uint64_t seed = 1; seed <= 50; seed++) {
        enum { RATE_PER_S = 200, BURST = 5 };
        struct core_bucket bucket;
        struct prng prng;
        uint32_t count = 0;
        prng_init(&prng, seed);
        bucket_init(&bucket, RATE_PER_S, BURST);
        for (uint64_t now_ms = 0; now_ms < 2000; now_ms += prng_below(&prng, 40)) {
            while (bucket_take(&bucket, now_ms)) {
                taken_ms[count] = now_ms;
                count++;
            }
        }
        for (uint32_t first = 0; first < count; first++) {
            for (uint32_t last = first; last < count; last++) {
                uint64_t window_ms = taken_ms[last] - taken_ms[first];
                assert_true(last - first + 1 <= BURST + window_ms * RATE_PER_S / 1000 + 1);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_rate_all_pass),
        cmocka_unit_test(a_burst_passes_and_then_the_rate),
        cmocka_unit_test(it_is_granted_at_the_time_told_and_not_before),
        cmocka_unit_test(no_window_has_more_than_the_burst_and_the_rate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
