/* failure-detector/loss.c: three counts, and what they say of the next heartbeats. */
#include "failure-detector/loss.h"

#include <stdbool.h>
#include <string.h>

#include "base/assert.h"

enum {
    EXPECTED_COUNT_MAX = 8192,
    GAP_MAX = 32,
    TROUBLE_COUNT = 16,   /* Heartbeats after a loss. */
    PRIOR_COUNT = 256,    /* What is assumed of calm weighs like so many heartbeats; */
    PRIOR_LOST_COUNT = 1, /* of the rest: one of 20 is lost. */
    PRIOR_EXPECTED_COUNT = 20,
};

static const double rate_max = 0.9;

void loss_init(struct loss *loss)
{
    memset(loss, 0, sizeof(*loss));
}

static void count_add(struct loss_count *count, uint32_t expected, uint32_t lost)
{
    count->expected += expected;
    count->lost += lost;
    if (count->expected >= EXPECTED_COUNT_MAX) {
        count->expected /= 2;
        count->lost /= 2;
    }
}

void loss_add(struct loss *loss, uint64_t gap)
{
    bool is_lost = gap > 0;

    if (gap > GAP_MAX) {
        return;
    }
    count_add(loss->trouble > 0 ? &loss->troubled : &loss->calm, 1, is_lost);
    if (is_lost) {
        count_add(&loss->running, (uint32_t)gap, (uint32_t)gap - 1);
        loss->trouble = TROUBLE_COUNT;
    } else if (loss->trouble > 0) {
        loss->trouble--;
    }
}

static double rate_of(const struct loss_count *count, double prior_lost, double prior_expected)
{
    double rate = (count->lost + prior_lost) / (count->expected + prior_expected);

    return rate < rate_max ? rate : rate_max;
}

static double max_of(double a, double b)
{
    return a > b ? a : b;
}

struct loss_rates loss_rates(const struct loss *loss, uint32_t ppm_min)
{
    double calm = rate_of(&loss->calm, (double)ppm_min / 1e6 * PRIOR_COUNT, PRIOR_COUNT);
    double troubled = rate_of(&loss->troubled, PRIOR_LOST_COUNT, PRIOR_EXPECTED_COUNT);
    double running = rate_of(&loss->running, PRIOR_LOST_COUNT, PRIOR_EXPECTED_COUNT);

    if (calm == 0) {
        return (struct loss_rates){0, 0}; /* None was ever lost, and none is assumed to be. */
    }
    double first = loss->trouble > 0 ? max_of(calm, troubled) : calm;

    return (struct loss_rates){first, max_of(first, running)};
}

static void check_count(const struct loss_count *count)
{
    ASSERT_VALUES(count->expected < EXPECTED_COUNT_MAX, count->expected, count->lost);
    ASSERT_VALUES(count->lost <= count->expected, count->lost, count->expected);
}

void loss_check(const struct loss *loss)
{
    check_count(&loss->calm);
    check_count(&loss->troubled);
    check_count(&loss->running);
    ASSERT_VALUES(loss->trouble <= TROUBLE_COUNT, loss->trouble, TROUBLE_COUNT);
}
