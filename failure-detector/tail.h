/* failure-detector/tail.h: the upper tail of the normal distribution, as phi. */
#ifndef FAILURE_DETECTOR_TAIL_H
#define FAILURE_DETECTOR_TAIL_H

/* -log10 of the probability that a standard normal variable exceeds `y`: 0.301 at 0, grows with
 * y * y / 4.6. Exact to a few parts in 10^14 for every finite y: where erfc() would underflow, its
 * asymptotic series takes over (Abramowitz and Stegun 7.1.23). */
double tail_phi(double y);

/* -log10 of the probability that a heartbeat has not arrived when it is `y` deviations late: lost
 * with probability `loss` (in [0, 1)), else late. */
double tail_phi_lossy(double y, double loss);

/* The square root of a number that is not negative. Not sqrt(): that sets errno. */
double tail_root(double square);

#endif
