/* tests/unit/failure-detector/curve_test.c: phi over silence, and where it reaches a threshold. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/prng.h"
#include "failure-detector/curve.h"
#include "failure-detector/tail.h"
#include "tests/support/failure-detector/nearly.h"

static double between(struct prng *prng, double low, double high)
{
    return low + (high - low) * (double)prng_below(prng, 1000001) / 1000000;
}

static struct curve random_curve(struct prng *prng)
{
    uint32_t interval_ms = (uint32_t)prng_between(prng, 1, 1000);
    double first = prng_below(prng, 4) == 0 ? 0 : between(prng, 1e-6, 0.9);

    return (struct curve){
        .interval_ms = interval_ms,
        .deviation_ms = between(prng, 0.05, CURVE_DEVIATION_MAX) * interval_ms,
        .loss = {first, first == 0 ? 0 : between(prng, first, 0.9)},
    };
}

static void phi_never_falls_with_silence(void **state)
{
    (void)state;
    struct prng prng;

    prng_init(&prng, 1);
    for (int i = 0; i < 300; i++) {
        const struct curve curve = random_curve(&prng);
        double last = curve_phi(&curve, 0);

        for (uint64_t silence_ms = 1; silence_ms < 3000; silence_ms++) {
            double phi = curve_phi(&curve, silence_ms);

            assert_true(phi >= last - 1e-12 * last);
            last = phi;
        }
    }
}

static void timeout_is_the_first_moment_at_the_threshold_whatever_the_hint(void **state)
{
    (void)state;
    struct prng prng;

    prng_init(&prng, 2);
    for (int i = 0; i < 2000; i++) {
        const struct curve curve = random_curve(&prng);
        double threshold = between(&prng, 0.1, 20);
        uint32_t timeout_ms =
            curve_timeout(&curve, threshold, (uint32_t)prng_below(&prng, 1U << 20));

        assert_true(curve_phi(&curve, timeout_ms) >= threshold);
        assert_true(curve_phi(&curve, timeout_ms - 1) < threshold);
        assert_int_equal(curve_timeout(&curve, threshold, 0), timeout_ms);
    }
}

static void one_missing_heartbeat_without_loss_is_the_normal_tail(void **state)
{
    (void)state;
    const struct curve curve = {.interval_ms = 1000, .deviation_ms = 10};

    assert_true(nearly(curve_phi(&curve, 1030), tail_phi(3), 1e-12));
    assert_true(nearly(curve_phi(&curve, 1056), tail_phi(5.6), 1e-12));
}

static void each_lost_heartbeat_adds_its_share(void **state)
{
    (void)state;
    const struct curve curve = {
        .interval_ms = 100, .deviation_ms = 5, .loss = {.first = 0.01, .next = 0.1}};

    assert_true(nearly(curve_phi(&curve, 150), 2, 1e-9));
    assert_true(nearly(curve_phi(&curve, 250), 3, 1e-9));
    assert_true(nearly(curve_phi(&curve, 1050), 11, 1e-9));
}

static void longest_silence_overflows_nothing(void **state)
{
    (void)state;
    const struct curve lossy = {.interval_ms = 1, .deviation_ms = 1, .loss = {0.001, 0.001}};
    const struct curve lossless = {.interval_ms = 1, .deviation_ms = 1};

    assert_true(isfinite(curve_phi(&lossy, UINT64_MAX / 2)));
    assert_true(isfinite(curve_phi(&lossless, UINT64_MAX / 2)));
    assert_true(curve_phi(&lossy, UINT64_MAX / 2) > curve_phi(&lossy, UINT64_MAX / 4));
    assert_true(curve_phi(&lossless, UINT64_MAX / 2) > curve_phi(&lossless, UINT64_MAX / 4));
}

static void slowest_curve_reaches_the_highest_threshold_within_the_bound(void **state)
{
    (void)state;
    const struct curve curve = {.interval_ms = CURVE_INTERVAL_MS_MAX,
                                .deviation_ms = (double)CURVE_INTERVAL_MS_MAX * CURVE_DEVIATION_MAX,
                                .loss = {0.9, 0.9}};

    assert_true(curve_timeout(&curve, CURVE_THRESHOLD_MAX, 0) < 1U << 31);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(phi_never_falls_with_silence),
        cmocka_unit_test(timeout_is_the_first_moment_at_the_threshold_whatever_the_hint),
        cmocka_unit_test(one_missing_heartbeat_without_loss_is_the_normal_tail),
        cmocka_unit_test(each_lost_heartbeat_adds_its_share),
        cmocka_unit_test(longest_silence_overflows_nothing),
        cmocka_unit_test(slowest_curve_reaches_the_highest_threshold_within_the_bound),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
