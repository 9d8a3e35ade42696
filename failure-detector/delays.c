/* failure-detector/delays.c: one ring, two running sums. */
#include "failure-detector/delays.h"

#include <string.h>

#include "base/assert.h"

enum { PRIOR_COUNT = 8, OUTLIERS_IN_A_ROW_MAX = 8, DRIFT_MS_MAX = DELAYS_MS_MAX / 2 };

static const uint32_t sizes[DELAYS_COUNT] = {DELAYS_SHORT_COUNT, DELAYS_LONG_COUNT};

_Static_assert((int64_t)DELAYS_LONG_COUNT *DELAYS_MS_MAX <
                   INT64_MAX / DELAYS_MS_MAX / DELAYS_LONG_COUNT,
               "count * squares and sum * sum must fit 63 bits");
_Static_assert((DELAYS_LONG_COUNT & (DELAYS_LONG_COUNT - 1)) == 0, "positions are masked");

void delays_init(struct delays *delays)
{
    memset(delays, 0, sizeof(*delays));
}

static int32_t *sample(struct delays *delays, uint32_t age)
{
    return &delays->samples[(delays->next - 1 - age) & (DELAYS_LONG_COUNT - 1)];
}

static void sums_add(struct delays_sums *sums, int64_t delay, int sign)
{
    sums->sum += sign * delay;
    sums->squares += sign * delay * delay;
}

static void push(struct delays *delays, int32_t delay)
{
    for (uint32_t i = 0; i < DELAYS_COUNT; i++) {
        struct delays_sums *sums = &delays->sums[i];

        if (sums->count == sizes[i]) {
            sums_add(sums, *sample(delays, sizes[i] - 1), -1);
        } else {
            sums->count++;
        }
        sums_add(sums, delay, 1);
    }
    delays->samples[delays->next] = delay;
    delays->next = (delays->next + 1) & (DELAYS_LONG_COUNT - 1);
}

/* Two clocks whose rates differ drift apart for ever: the anchor follows before sums grow. */
static void follow_drift(struct delays *delays)
{
    int64_t shift = delays_mean(delays, DELAYS_SHORT);

    if (shift > -DRIFT_MS_MAX && shift < DRIFT_MS_MAX) {
        return;
    }
    for (uint32_t i = 0; i < DELAYS_COUNT; i++) {
        uint32_t count = delays->sums[i].count;

        delays->sums[i] = (struct delays_sums){.count = count};
        for (uint32_t age = 0; age < count; age++) {
            sums_add(&delays->sums[i], *sample(delays, age) - shift, 1);
        }
    }
    for (uint32_t age = 0; age < delays->sums[DELAYS_LONG].count; age++) {
        *sample(delays, age) = (int32_t)(*sample(delays, age) - shift);
    }
    delays->anchor += (uint64_t)shift;
}

static void begin_anew(struct delays *delays, uint64_t delay)
{
    delays_init(delays);
    delays->anchor = delay;
    push(delays, 0);
}

void delays_add(struct delays *delays, uint64_t delay, uint32_t distance_max)
{
    int64_t distance = (int64_t)(delay - delays->anchor);
    int64_t mean = delays_mean(delays, DELAYS_SHORT);

    ASSERT_VALUES(distance_max < DRIFT_MS_MAX, distance_max, delay);
    if (delays->sums[DELAYS_SHORT].count == 0) {
        begin_anew(delays, delay);
        return;
    }
    if (distance < mean - (int64_t)distance_max || distance > mean + (int64_t)distance_max) {
        delays->outlier_count++;
        if (delays->outlier_count >= OUTLIERS_IN_A_ROW_MAX) {
            begin_anew(delays, delay);
        }
        return;
    }
    delays->outlier_count = 0;
    push(delays, (int32_t)distance);
    follow_drift(delays);
}

int64_t delays_mean(const struct delays *delays, uint32_t which)
{
    const struct delays_sums *sums = &delays->sums[which];

    ASSERT_VALUES(which < DELAYS_COUNT, which, DELAYS_COUNT);
    if (sums->count == 0) {
        return 0;
    }
    int64_t count = sums->count;
    int64_t half = sums->sum < 0 ? -count / 2 : count / 2;

    return (sums->sum + half) / count;
}

double delays_variance(const struct delays *delays, uint32_t which, double prior)
{
    const struct delays_sums *sums = &delays->sums[which];
    int64_t count = sums->count;

    ASSERT_VALUES(which < DELAYS_COUNT, which, DELAYS_COUNT);
    if (count == 0) {
        return prior;
    }
    /* Sum of squared distances from the mean, exactly, times the count. */
    int64_t scatter = count * sums->squares - sums->sum * sums->sum;

    ASSERT_VALUES(scatter >= 0, scatter, count);
    return ((double)scatter / (double)count + prior * PRIOR_COUNT) / (double)(count + PRIOR_COUNT);
}

void delays_check(const struct delays *delays)
{
    for (uint32_t i = 0; i < DELAYS_COUNT; i++) {
        struct delays_sums sums = {.count = delays->sums[i].count};

        ASSERT_VALUES(sums.count <= sizes[i], sums.count, sizes[i]);
        for (uint32_t age = 0; age < sums.count; age++) {
            uint32_t at = (delays->next - 1 - age) & (DELAYS_LONG_COUNT - 1);

            sums_add(&sums, delays->samples[at], 1);
        }
        ASSERT_VALUES(sums.sum == delays->sums[i].sum, sums.sum, delays->sums[i].sum);
        ASSERT_VALUES(sums.squares == delays->sums[i].squares, sums.squares,
                      delays->sums[i].squares);
    }
    ASSERT(delays->sums[DELAYS_SHORT].count <= delays->sums[DELAYS_LONG].count);
    ASSERT(delays->outlier_count < OUTLIERS_IN_A_ROW_MAX);
}
