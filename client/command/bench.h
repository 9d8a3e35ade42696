/* client/command/bench.h: what the workload and the report of `holdfast bench` share. */
#ifndef CLIENT_COMMAND_BENCH_H
#define CLIENT_COMMAND_BENCH_H

#include <stdint.h>

#include "base/histogram.h"
#include "client/command/options.h"
#include "client/command/output.h"

struct bench_counts {
    uint64_t ops; /* That ended within the measured time. */
    uint64_t errors;
    struct histogram latency_us; /* Of them, and up to the end of those outstanding then. */
};

/* The result, as JSON or for people. `measured_ms` is how long was measured. */
void bench_report(struct output *output, const struct options *options, uint64_t measured_ms,
                  const struct bench_counts *counts);

/* The live line on a terminal's standard error: replaces the line before. */
void bench_report_progress(const struct options *options, const char *phase, uint64_t ops,
                           uint64_t passed_ms, const struct bench_counts *counts);

/* Takes the live line away. */
void bench_report_progress_end(void);

#endif
