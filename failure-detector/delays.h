/* failure-detector/delays.h: mean and deviation of the delays of the last heartbeats.
 *
 * A delay is arrival (our clock) minus sending (the peer's): off by the unknown distance of the two
 * clocks, which does not matter because only differences count. Sums are integers: nothing drifts
 * however long it runs. Two windows look at the same ring: the short one follows a change within
 * seconds, the long one remembers a bad minute (Tomsic et al. 2015: the more patient of the two
 * counts). */
#ifndef FAILURE_DETECTOR_DELAYS_H
#define FAILURE_DETECTOR_DELAYS_H

#include <stdbool.h>
#include <stdint.h>

enum { DELAYS_SHORT, DELAYS_LONG, DELAYS_COUNT };
enum {
    DELAYS_SHORT_COUNT = 64,
    DELAYS_LONG_COUNT = 1024,
    DELAYS_MS_MAX = 1 << 21, /* Distance from the anchor: about 35 minutes. */
};

struct delays_sums {
    uint32_t count;
    int64_t sum;     /* Of delays, as distances from the anchor. */
    int64_t squares; /* Of their squares. */
};

struct delays {
    uint64_t anchor;        /* Delay of the first sample: arrival minus sending, modulo 2^64. */
    uint32_t next;          /* Where the next sample goes. */
    uint32_t outlier_count; /* Refused one after the other. */
    struct delays_sums sums[DELAYS_COUNT];
    int32_t samples[DELAYS_LONG_COUNT];
};

void delays_init(struct delays *delays);

/* Takes the delay of one more heartbeat, unless it is an outlier: further than `distance_max` ms
 * from the mean of the short window. Many outliers in a row are a new normal: all begins anew with
 * the last of them. */
void delays_add(struct delays *delays, uint64_t delay, uint32_t distance_max);

/* The usual delay as seen by one of the two, in ms from the anchor; 0 without samples. */
int64_t delays_mean(const struct delays *delays, uint32_t which);

/* Variance in ms^2, mixed with a few samples of variance `prior` that count less and less. */
double delays_variance(const struct delays *delays, uint32_t which, double prior);

/* Asserts that the sums are those of the samples. */
void delays_check(const struct delays *delays);

#endif
