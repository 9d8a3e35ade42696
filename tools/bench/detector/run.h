/* tools/bench/detector/run.h: one detector with one setting, shown one trace. */
#ifndef TOOLS_BENCH_DETECTOR_RUN_H
#define TOOLS_BENCH_DETECTOR_RUN_H

#include "tools/bench/detector/subject.h"
#include "tools/bench/detector/trace.h"

struct run {
    struct setting setting;
    uint64_t mistake_count;        /* Suspicions of the live peer. */
    uint64_t paused_mistake_count; /* Of them those within a second of a pause of the monitor. */
    double wrong_ms;               /* Time spent in them. */
    double hours;                  /* Of the trace. */
    uint32_t crash_count;          /* Each TRACE_CRASH_EVERY heartbeats, at a uniform phase. */
    double detection_ms_mean;
    double detection_ms_p99;
    double detection_ms_max;
};

struct run run_trace(const struct trace *trace, enum subject_kind kind, struct setting setting);

#endif
