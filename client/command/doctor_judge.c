/* client/command/doctor_judge.c: percentiles, rates of clocks, the smallest safe TTL. */
#include "client/command/doctor_judge.h"

#include <stdlib.h>

#include "base/assert.h"

enum {
    PER_MILLE = 1000,
    US_IN_MS = 1000,
    SLACK_MS = 20,        /* For the wake-ups of both sides. */
    SPAN_US_MIN = 100000, /* Between two readings of a clock that say anything. */
    CLOCK_STEP_US = 1000, /* The other clock is read in milliseconds. */
};

#define PPM INT64_C(1000000)

void doctor_samples_add(struct doctor_samples *samples, uint64_t us)
{
    if (samples->count < DOCTOR_SAMPLE_COUNT_MAX) {
        samples->us[samples->count++] = us < UINT32_MAX ? (uint32_t)us : UINT32_MAX;
    }
}

static int compare(const void *left, const void *right)
{
    const uint32_t *a = left;
    const uint32_t *b = right;

    return (*a > *b) - (*a < *b);
}

uint32_t doctor_samples_percentile(struct doctor_samples *samples, uint32_t per_mille)
{
    ASSERT_VALUES(per_mille <= PER_MILLE, per_mille, PER_MILLE);
    if (samples->count == 0) {
        return 0;
    }
    qsort(samples->us, samples->count, sizeof(samples->us[0]), compare);
    uint32_t rank = (samples->count * per_mille + PER_MILLE - 1) / PER_MILLE;

    return samples->us[rank == 0 ? 0 : rank - 1];
}

bool doctor_rate_of(const struct doctor_reading *first, const struct doctor_reading *last,
                    struct doctor_rate *rate)
{
    ASSERT(first->answered_us >= first->asked_us && last->answered_us >= last->asked_us);
    uint64_t width_us =
        (first->answered_us - first->asked_us) + (last->answered_us - last->asked_us);
    uint64_t first_us = first->asked_us + (first->answered_us - first->asked_us) / 2;
    uint64_t last_us = last->asked_us + (last->answered_us - last->asked_us) / 2;

    if (last_us < first_us + SPAN_US_MIN || last->clock_ms < first->clock_ms) {
        return false;
    }
    int64_t ours_us = (int64_t)(last_us - first_us);
    int64_t theirs_us = (int64_t)((last->clock_ms - first->clock_ms) * US_IN_MS);

    rate->ppm = (theirs_us - ours_us) * PPM / ours_us;
    rate->error_ppm = (width_us / 2 + CLOCK_STEP_US) * (uint64_t)PPM / (uint64_t)ours_us + 1;
    return true;
}

bool doctor_rate_is_beyond(const struct doctor_rate *rate, uint32_t bound_ppm)
{
    int64_t size = rate->ppm < 0 ? -rate->ppm : rate->ppm;

    return size > (int64_t)bound_ppm + (int64_t)rate->error_ppm;
}

uint32_t doctor_safe_ttl_ms(const struct doctor_limits *limits)
{
    uint64_t commit_ms = ((uint64_t)limits->commit_us + US_IN_MS - 1) / US_IN_MS;
    uint64_t fixed_ms = limits->margin_ms + 2 * commit_ms + limits->election_ms + SLACK_MS;
    /* 1 - 2 rho - 1/3, in thirds of a millionth. */
    int64_t share = 2 * PPM - 6 * (int64_t)limits->clock_rate_ppm;

    if (share <= 0) {
        return 0;
    }
    uint64_t ttl_ms = (fixed_ms * 3 * (uint64_t)PPM + (uint64_t)share - 1) / (uint64_t)share;

    return ttl_ms < UINT32_MAX ? (uint32_t)ttl_ms : UINT32_MAX;
}
