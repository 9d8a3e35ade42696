/* failure-detector/tail.c: erfc() while it lasts, its asymptotic series beyond. */
#include "failure-detector/tail.h"

#include <math.h>

#include "base/assert.h"

/* From here on the series is exact: its terms fall to below 10^-17 before they grow again. erfc()
 * underflows at 37.5 deviations. */
static const double series_from = 25.0;
static const double root_of_half = 0.70710678118654752440;
static const double log_of_e = 0.43429448190325182765;
static const double log_of_root_2_pi = 0.39908993417905752478;

enum { SERIES_TERM_COUNT = 12 };

double tail_phi(double y)
{
    if (y < series_from) {
        double phi = -log10(0.5 * erfc(y * root_of_half));

        return phi > 0 ? phi : 0; /* Not -0. */
    }
    /* Q(y) = exp(-y^2 / 2) / (y sqrt(2 pi)) * (1 - 1/y^2 + 3/y^4 - 15/y^6 ...). */
    double inverse = 1 / (y * y);
    double term = 1;
    double sum = 1;

    for (int i = 1; i <= SERIES_TERM_COUNT; i++) {
        term *= -(2 * i - 1) * inverse;
        sum += term;
    }
    ASSERT(sum > 0 && sum <= 1);
    return 0.5 * y * y * log_of_e + log10(y) + log_of_root_2_pi - log10(sum);
}

double tail_phi_lossy(double y, double loss)
{
    ASSERT(loss >= 0 && loss < 1);
    if (loss == 0) {
        return tail_phi(y);
    }
    double phi = -log10(loss + (1 - loss) * 0.5 * erfc(y * root_of_half));

    return phi > 0 ? phi : 0;
}

/* Newton's method comes down to the root from above, and stops where it no longer falls. */
double tail_root(double square)
{
    ASSERT(square >= 0);
    if (square == 0) {
        return 0;
    }
    double root = square > 1 ? square : 1;

    for (;;) {
        double next = 0.5 * (root + square / root);

        if (next >= root) {
            return root;
        }
        root = next;
    }
}
