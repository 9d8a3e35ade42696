/* tools/bench/detector/trace.h: a peer's heartbeats and their way to the monitor, in virtual time.
 *
 * One seed gives one trace, and every detector is shown the same one. Times are milliseconds. */
#ifndef TOOLS_BENCH_DETECTOR_TRACE_H
#define TOOLS_BENCH_DETECTOR_TRACE_H

#include <stdbool.h>
#include <stdint.h>

enum { TRACE_INTERVAL_MS = 50, TRACE_CRASH_EVERY = 400 };

#define TRACE_LOST UINT64_MAX

struct trace_beat {
    uint64_t sent_ms;    /* True time. */
    uint64_t stamp_ms;   /* By the sender's clock: another origin, 50 ppm faster. */
    uint64_t arrived_ms; /* TRACE_LOST: never. In order: one connection. */
};

struct trace_pause {
    uint64_t from_ms;
    uint64_t until_ms;
};

struct trace {
    const char *name;
    uint32_t beat_count;
    struct trace_beat *beats;
    uint32_t pause_count; /* Of the monitor. */
    struct trace_pause *pauses;
    bool is_reading_first; /* The monitor that wakes reads before it looks at its timers. */
};

enum trace_kind {
    TRACE_CLEAN,
    TRACE_LOSS,
    TRACE_JITTER,
    TRACE_BURSTS,
    TRACE_SENDER_PAUSES,
    TRACE_MONITOR_PAUSES,
    TRACE_MONITOR_READS,
    TRACE_KIND_COUNT,
};

void trace_open(struct trace *trace, enum trace_kind kind, uint32_t beat_count, uint64_t seed);
void trace_close(struct trace *trace);

/* The end of the pause of the monitor that covers `now_ms`; `now_ms` when it is awake. */
uint64_t trace_awake(const struct trace *trace, uint64_t now_ms);

/* Was the monitor paused at any time in [from_ms, until_ms)? */
bool trace_was_paused(const struct trace *trace, uint64_t from_ms, uint64_t until_ms);

#endif
