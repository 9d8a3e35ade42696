/* client/core_latency.h: how long an attempt may take before it is given up.
 *
 * Four times what nearly all answers take (mean and four mean deviations, as TCP does), within
 * bounds; doubled while attempts time out, so that answers that take longer than before are waited
 * for at last instead of being asked for again and again. */
#ifndef CLIENT_CORE_LATENCY_H
#define CLIENT_CORE_LATENCY_H

#include <stdint.h>

enum {
    LATENCY_TIMEOUT_MS_MIN = 500, /* A disk may stall for that long without being broken. */
    LATENCY_TIMEOUT_MS_MAX = 4000,
    LATENCY_TIMEOUT_MS_FIRST = 1000, /* While nothing is known. */
};

struct core_latency {
    uint32_t mean_8;      /* Milliseconds, times 8; 0: not known. */
    uint32_t deviation_4; /* Times 4. */
    uint32_t doublings;
    uint64_t doubled_ms;
};

/* Of an attempt that was answered. All zero is the state to begin with. */
void latency_answered(struct core_latency *latency, uint64_t sent_ms, uint64_t now_ms);

/* Of one that was not, in time. All that were under way when it was noticed count once. */
void latency_timed_out(struct core_latency *latency, uint64_t sent_ms, uint64_t now_ms);

uint64_t latency_timeout_ms(const struct core_latency *latency);

#endif
