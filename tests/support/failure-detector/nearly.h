/* tests/support/failure-detector/nearly.h: doubles compared as doubles; cmocka compares floats. */
#ifndef TESTS_SUPPORT_FAILURE_DETECTOR_NEARLY_H
#define TESTS_SUPPORT_FAILURE_DETECTOR_NEARLY_H

#include <stdbool.h>

static inline bool nearly(double value, double expected, double tolerance)
{
    return value >= expected - tolerance && value <= expected + tolerance;
}

#endif
