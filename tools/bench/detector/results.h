/* tools/bench/detector/results.h: every run of the comparison, and what is read off them. */
#ifndef TOOLS_BENCH_DETECTOR_RESULTS_H
#define TOOLS_BENCH_DETECTOR_RESULTS_H

#include <stdio.h>

#include "tools/bench/detector/run.h"

enum { RUN_COUNT_MAX = 48 };

struct series {
    uint32_t run_count;
    struct run runs[RUN_COUNT_MAX];
};

struct row {
    const char *name;
    struct series series[SUBJECT_KIND_COUNT];
    struct run shipped; /* Ours as detector_options_of() has it. */
};

struct results {
    uint32_t beat_count;
    struct row rows[TRACE_KIND_COUNT];
};

/* The run with the fewest mistakes of those that detect within `mean_ms` on average; NULL: none
 * does. */
const struct run *series_best(const struct series *series, double mean_ms);

/* Mistakes against detection time as one SVG, a panel for each row. */
void chart_write(FILE *file, const struct results *results);

#endif
