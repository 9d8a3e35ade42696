/* tests/unit/command/doctor_judge_test.c: what measurements say, and what they cannot. */
#include "client/command/doctor_judge.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/prng.h"

enum { SECOND_US = 1000000, SEED_COUNT = 20000 };

static void percentile_is_a_sample_that_enough_do_not_exceed(void **state)
{
    static struct doctor_samples samples;
    (void)state;

    for (uint32_t i = 0; i < 100; i++) {
        doctor_samples_add(&samples, (i * 37) % 100 + 1);
    }

    assert_int_equal(doctor_samples_percentile(&samples, 500), 50);
    assert_int_equal(doctor_samples_percentile(&samples, 990), 99);
    assert_int_equal(doctor_samples_percentile(&samples, 1000), 100);
    assert_int_equal(doctor_samples_percentile(&samples, 0), 1);
}

static void samples_without_room_are_left_out(void **state)
{
    static struct doctor_samples samples;
    (void)state;

    assert_int_equal(doctor_samples_percentile(&samples, 500), 0);
    for (uint32_t i = 0; i < 2 * DOCTOR_SAMPLE_COUNT_MAX; i++) {
        doctor_samples_add(&samples, i);
    }

    assert_int_equal(samples.count, DOCTOR_SAMPLE_COUNT_MAX);
    assert_int_equal(doctor_samples_percentile(&samples, 1000), DOCTOR_SAMPLE_COUNT_MAX - 1);
}

static void longest_duration_is_not_cut_to_a_short_one(void **state)
{
    static struct doctor_samples samples;
    (void)state;

    doctor_samples_add(&samples, UINT64_C(1) << 32);

    assert_int_equal(doctor_samples_percentile(&samples, 500), UINT32_MAX);
}

/* A reading of a clock that runs `ppm` fast, at some moment within the time that asking took. */
static struct doctor_reading read_clock(struct prng *prng, uint64_t at_us, int64_t ppm)
{
    uint64_t width_us = prng_below(prng, 5000);
    uint64_t moment_us = at_us + prng_below(prng, width_us + 1);
    int64_t gained_us = (int64_t)moment_us * ppm / SECOND_US;

    return (struct doctor_reading){
        .asked_us = at_us,
        .answered_us = at_us + width_us,
        .clock_ms = (uint64_t)((int64_t)moment_us + gained_us) / 1000,
    };
}

static void true_rate_is_within_the_error(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEED_COUNT; seed++) {
        struct prng prng;
        struct doctor_rate rate;

        prng_init(&prng, seed);
        int64_t ppm = (int64_t)prng_below(&prng, 4000) - 2000;
        uint64_t span_us = SECOND_US + prng_below(&prng, 20 * SECOND_US);
        struct doctor_reading first = read_clock(&prng, 5 * SECOND_US, ppm);
        struct doctor_reading last = read_clock(&prng, 5 * SECOND_US + span_us, ppm);

        assert_true(doctor_rate_of(&first, &last, &rate));
        assert_true(rate.ppm - (int64_t)rate.error_ppm <= ppm);
        assert_true(ppm <= rate.ppm + (int64_t)rate.error_ppm);
        if (doctor_rate_is_beyond(&rate, 1000)) {
            assert_true(ppm > 1000 || ppm < -1000);
        }
    }
}

static void readings_at_the_same_time_say_nothing(void **state)
{
    const struct doctor_reading reading = {.asked_us = 10, .answered_us = 20, .clock_ms = 7};
    struct doctor_rate rate;
    (void)state;

    assert_false(doctor_rate_of(&reading, &reading, &rate));
}

static void clock_that_went_back_has_no_rate(void **state)
{
    const struct doctor_reading first = {.asked_us = 10, .answered_us = 20, .clock_ms = 7};
    const struct doctor_reading last = {
        .asked_us = SECOND_US, .answered_us = SECOND_US, .clock_ms = 6};
    struct doctor_rate rate;
    (void)state;

    assert_false(doctor_rate_of(&first, &last, &rate));
}

/* T(1 - 2 rho) - margin >= T/3 + two commits + an election + slack, in thirds of a millionth. */
static bool is_safe(const struct doctor_limits *limits, uint64_t ttl_ms)
{
    int64_t share = 2000000 - 6 * (int64_t)limits->clock_rate_ppm;
    uint64_t commit_ms = (limits->commit_us + 999) / 1000;
    uint64_t fixed_ms = limits->margin_ms + 2 * commit_ms + limits->election_ms + 20;

    return (int64_t)ttl_ms * share >= (int64_t)fixed_ms * 3000000;
}

static void safe_ttl_is_the_least_that_outlives_an_election(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEED_COUNT; seed++) {
        struct prng prng;

        prng_init(&prng, seed);
        const struct doctor_limits limits = {
            .clock_rate_ppm = (uint32_t)prng_below(&prng, 100000),
            .margin_ms = (uint32_t)prng_below(&prng, 500),
            .election_ms = (uint32_t)prng_below(&prng, 5000),
            .commit_us = (uint32_t)prng_below(&prng, 1000000),
        };
        uint32_t ttl_ms = doctor_safe_ttl_ms(&limits);

        assert_true(is_safe(&limits, ttl_ms));
        assert_false(is_safe(&limits, ttl_ms - 1));
    }
}

static void no_ttl_is_safe_when_clocks_differ_by_a_third(void **state)
{
    const struct doctor_limits limits = {.clock_rate_ppm = 333334, .election_ms = 300};
    (void)state;

    assert_int_equal(doctor_safe_ttl_ms(&limits), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(percentile_is_a_sample_that_enough_do_not_exceed),
        cmocka_unit_test(samples_without_room_are_left_out),
        cmocka_unit_test(longest_duration_is_not_cut_to_a_short_one),
        cmocka_unit_test(true_rate_is_within_the_error),
        cmocka_unit_test(readings_at_the_same_time_say_nothing),
        cmocka_unit_test(clock_that_went_back_has_no_rate),
        cmocka_unit_test(safe_ttl_is_the_least_that_outlives_an_election),
        cmocka_unit_test(no_ttl_is_safe_when_clocks_differ_by_a_third),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
