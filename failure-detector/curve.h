/* failure-detector/curve.h: phi as a function of silence.
 *
 * phi(e) = -log10 of the probability that a live peer has been silent for `e` ms beyond the usual
 * delay of its last message (Hayashibara et al. 2004, section 4.2). By then floor(e / interval)
 * heartbeats should have come; each of them was lost, or is late by a normal variable. */
#ifndef FAILURE_DETECTOR_CURVE_H
#define FAILURE_DETECTOR_CURVE_H

#include <stdint.h>

#include "failure-detector/loss.h"

enum { CURVE_INTERVAL_MS_MAX = 60000, CURVE_THRESHOLD_MAX = 100 };

struct curve {
    uint32_t interval_ms;
    double deviation_ms; /* > 0, at most CURVE_DEVIATION_MAX intervals. */
    struct loss_rates loss;
};

enum { CURVE_DEVIATION_MAX = 4 };

/* Never falls with `silence_ms`; 0 for none. */
double curve_phi(const struct curve *curve, uint64_t silence_ms);

/* The smallest silence at which phi is at least `threshold` (in (0, CURVE_THRESHOLD_MAX]): at most
 * 2^31 ms. `hint_ms` is what it was a moment ago: the search begins there. */
uint32_t curve_timeout(const struct curve *curve, double threshold, uint32_t hint_ms);

#endif
