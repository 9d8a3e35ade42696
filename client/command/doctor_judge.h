/* client/command/doctor_judge.h: what `holdfast doctor` makes of its measurements. Pure. */
#ifndef CLIENT_COMMAND_DOCTOR_JUDGE_H
#define CLIENT_COMMAND_DOCTOR_JUDGE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/macros.h"

enum { DOCTOR_SAMPLE_COUNT_MAX = 4096 };

/* Durations in microseconds. Of more than there is room for the first are kept. */
struct doctor_samples {
    uint32_t count;
    uint32_t us[DOCTOR_SAMPLE_COUNT_MAX];
};

void doctor_samples_add(struct doctor_samples *samples, uint64_t us);

/* The smallest sample that `per_mille` thousandths do not exceed; sorts them. 0 without any. */
uint32_t doctor_samples_percentile(struct doctor_samples *samples, uint32_t per_mille);

/* One reading of another clock: it said `clock_ms` some time between `asked_us` and `answered_us`
 * of our own. */
struct doctor_reading {
    uint64_t asked_us;
    uint64_t answered_us;
    uint64_t clock_ms;
};

/* By how much the other clock is faster than ours, in millionths. The truth is within `error_ppm`:
 * neither clock's place within a reading is known better. False when the readings are too near each
 * other, or the other clock went back. */
struct doctor_rate {
    int64_t ppm;
    uint64_t error_ppm;
};
MUST_USE bool doctor_rate_of(const struct doctor_reading *first, const struct doctor_reading *last,
                             struct doctor_rate *rate);

/* Surely beyond the bound, whatever the error of the measurement. */
bool doctor_rate_is_beyond(const struct doctor_rate *rate, uint32_t bound_ppm);

/* What a leader says of itself, and the slowest commit that was seen. */
struct doctor_limits {
    uint32_t clock_rate_ppm;
    uint32_t margin_ms;
    uint32_t election_ms;
    uint32_t commit_us;
};

/* The least T with T(1 - 2 rho) - margin >= T/3 + two commits + an election + slack: a holder that
 * renews every third of T outlives the slowest election. 0: no T does, the clocks differ too much.
 */
uint32_t doctor_safe_ttl_ms(const struct doctor_limits *limits);

#endif
