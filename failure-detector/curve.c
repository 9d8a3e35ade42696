/* failure-detector/curve.c: the sum over all heartbeats that are missing. */
#include "failure-detector/curve.h"

#include "base/assert.h"
#include "failure-detector/tail.h"

/* A heartbeat that is later than this is lost: its tail is below 10^-15, and the smallest loss that
 * counts is 10^-9. One that has so long to come yet adds nothing. */
static const double far = 8;
/* Where nothing is ever lost each missing heartbeat goes on adding, the first ones most. */
enum { LOSSLESS_COUNT_MAX = 64 };

_Static_assert(2 * 8 * CURVE_DEVIATION_MAX <= LOSSLESS_COUNT_MAX,
               "what lies between certainly late and not due yet fits the loop");

/* The heartbeats `first_number` and later that are neither far late nor far from due. */
static double sum_of_near(const struct curve *curve, double silence, double first_number)
{
    double sum = 0;

    for (uint32_t i = 0; i <= LOSSLESS_COUNT_MAX; i++) {
        double number = first_number + i;
        double late = (silence - number * curve->interval_ms) / curve->deviation_ms;

        if (late < -far) {
            break;
        }
        sum += tail_phi_lossy(late, number < 1.5 ? curve->loss.first : curve->loss.next);
    }
    return sum;
}

double curve_phi(const struct curve *curve, uint64_t silence_ms)
{
    double silence = (double)silence_ms;
    double beyond = silence - far * curve->deviation_ms;

    ASSERT(curve->interval_ms > 0 && curve->deviation_ms > 0);
    ASSERT(curve->deviation_ms <= (double)CURVE_DEVIATION_MAX * curve->interval_ms);
    if (silence_ms == 0) {
        return 0;
    }
    if (curve->loss.first == 0 || beyond < curve->interval_ms) {
        return sum_of_near(curve, silence, 1);
    }
    /* The number of heartbeats that are surely lost; exact, because the rest is smaller than 1. */
    double lost = (double)(uint64_t)(beyond / curve->interval_ms);
    double sum = tail_phi_lossy(far, curve->loss.first);

    sum += (lost - 1) * tail_phi_lossy(far, curve->loss.next);
    return sum + sum_of_near(curve, silence, lost + 1);
}

/* In (low, high] phi reaches the threshold, and not before. */
static uint32_t bisect(const struct curve *curve, double threshold, uint32_t low, uint32_t high)
{
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;

        if (curve_phi(curve, middle) >= threshold) {
            high = middle;
        } else {
            low = middle;
        }
    }
    return high;
}

uint32_t curve_timeout(const struct curve *curve, double threshold, uint32_t hint_ms)
{
    uint32_t low = hint_ms;
    uint32_t high = hint_ms;

    ASSERT(threshold > 0 && threshold <= CURVE_THRESHOLD_MAX);
    ASSERT_VALUES(hint_ms <= 1U << 31, hint_ms, curve->interval_ms);
    if (curve_phi(curve, hint_ms) >= threshold) {
        for (uint32_t step = 1; low > 0 && curve_phi(curve, low) >= threshold; step *= 2) {
            high = low;
            low = low > step ? low - step : 0;
        }
    } else {
        for (uint32_t step = 1; curve_phi(curve, high) < threshold; step *= 2) {
            low = high;
            high += step;
            ASSERT_VALUES(high < 1U << 31, high, curve->interval_ms);
        }
    }
    return bisect(curve, threshold, low, high);
}
