/* client/core_latency.c: see core_latency.h. */
#include "client/core_latency.h"

#include "base/assert.h"

enum { SAMPLE_MS_MAX = 60000, DOUBLINGS_MAX = 3 };
_Static_assert(LATENCY_TIMEOUT_MS_MIN << DOUBLINGS_MAX >= LATENCY_TIMEOUT_MS_MAX,
               "the greatest timeout is reached from the smallest");

void latency_answered(struct core_latency *latency, uint64_t sent_ms, uint64_t now_ms)
{
    ASSERT_VALUES(sent_ms <= now_ms, sent_ms, now_ms);
    uint64_t taken_ms = now_ms - sent_ms;
    int32_t sample = (int32_t)(taken_ms < SAMPLE_MS_MAX ? taken_ms : SAMPLE_MS_MAX) + 1;

    if (latency->mean_8 == 0) {
        latency->mean_8 = (uint32_t)sample * 8;
        latency->deviation_4 = (uint32_t)sample * 2;
    } else {
        int32_t error = sample - (int32_t)(latency->mean_8 / 8);
        int32_t distance = (error < 0 ? -error : error) - (int32_t)(latency->deviation_4 / 4);
        latency->mean_8 = (uint32_t)((int32_t)latency->mean_8 + error);
        latency->deviation_4 = (uint32_t)((int32_t)latency->deviation_4 + distance);
    }
    latency->doublings = 0;
}

void latency_timed_out(struct core_latency *latency, uint64_t sent_ms, uint64_t now_ms)
{
    if (sent_ms < latency->doubled_ms || latency->doublings == DOUBLINGS_MAX) {
        return;
    }
    latency->doublings++;
    latency->doubled_ms = now_ms;
}

uint64_t latency_timeout_ms(const struct core_latency *latency)
{
    uint64_t timeout_ms = LATENCY_TIMEOUT_MS_FIRST;

    if (latency->mean_8 != 0) {
        timeout_ms = 4 * ((uint64_t)latency->mean_8 / 8 + latency->deviation_4);
        timeout_ms = timeout_ms < LATENCY_TIMEOUT_MS_MIN ? LATENCY_TIMEOUT_MS_MIN : timeout_ms;
    }
    timeout_ms <<= latency->doublings;
    return timeout_ms < LATENCY_TIMEOUT_MS_MAX ? timeout_ms : LATENCY_TIMEOUT_MS_MAX;
}
