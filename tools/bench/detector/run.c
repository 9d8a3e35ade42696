/* tools/bench/detector/run.c: the monitor's loop in virtual time. */
#include "tools/bench/detector/run.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/prng.h"

struct monitor {
    const struct trace *trace;
    struct subject subject;
    uint64_t now_ms;
    uint64_t suspected_ms;
    struct run run;
    double *detections;
    struct prng prng;
};

static void note(struct monitor *monitor, bool was_suspecting)
{
    bool is_suspecting = monitor->subject.is_suspecting;

    if (is_suspecting && !was_suspecting) {
        monitor->run.mistake_count++;
        monitor->run.paused_mistake_count +=
            trace_was_paused(monitor->trace, monitor->now_ms - 1000, monitor->now_ms + 1);
        monitor->suspected_ms = monitor->now_ms;
    } else if (was_suspecting && !is_suspecting) {
        monitor->run.wrong_ms += (double)(monitor->now_ms - monitor->suspected_ms);
    }
}

static void advance(struct monitor *monitor, uint64_t now_ms)
{
    bool was_suspecting = monitor->subject.is_suspecting;

    ASSERT_VALUES(now_ms >= monitor->now_ms, now_ms, monitor->now_ms);
    monitor->now_ms = now_ms;
    subject_advance(&monitor->subject, now_ms);
    note(monitor, was_suspecting);
}

/* All that is due before a message that is read at `read_ms` and came at `arrived_ms`. */
static void advance_until(struct monitor *monitor, uint64_t arrived_ms, uint64_t read_ms)
{
    for (;;) {
        uint64_t due_ms = subject_deadline(&monitor->subject);
        uint64_t limit_ms = monitor->trace->is_reading_first ? arrived_ms : read_ms;

        if (due_ms >= limit_ms) {
            return;
        }
        uint64_t awake_ms = trace_awake(monitor->trace, due_ms);

        if (awake_ms == read_ms && monitor->trace->is_reading_first) {
            return;
        }
        advance(monitor, awake_ms > monitor->now_ms ? awake_ms : monitor->now_ms);
    }
}

static void deliver(struct monitor *monitor, uint32_t i)
{
    const struct trace_beat *beat = &monitor->trace->beats[i];
    uint64_t read_ms = trace_awake(monitor->trace, beat->arrived_ms);

    advance_until(monitor, beat->arrived_ms, read_ms);
    bool was_suspecting = monitor->subject.is_suspecting;

    monitor->now_ms = read_ms;
    subject_heard(&monitor->subject, i + 1, beat->stamp_ms, read_ms);
    note(monitor, was_suspecting);
}

/* What if the peer had crashed before its next heartbeat? */
static void crash(struct monitor *monitor, uint32_t i)
{
    const struct trace_beat *beats = monitor->trace->beats;
    uint64_t crash_ms = prng_between(&monitor->prng, beats[i].sent_ms, beats[i + 1].sent_ms);
    uint64_t detected_ms = monitor->suspected_ms;

    subject_save(&monitor->subject);
    for (uint64_t now_ms = monitor->now_ms; !monitor->subject.is_suspecting;) {
        uint64_t due_ms = subject_deadline(&monitor->subject);

        now_ms = trace_awake(monitor->trace, due_ms > now_ms ? due_ms : now_ms);
        subject_advance(&monitor->subject, now_ms);
        detected_ms = now_ms;
    }
    subject_restore(&monitor->subject);
    monitor->detections[monitor->run.crash_count++] =
        detected_ms > crash_ms ? (double)(detected_ms - crash_ms) : 0;
}

static int compare_doubles(const void *left, const void *right)
{
    double a = *(const double *)left;
    double b = *(const double *)right;

    return (a > b) - (a < b);
}

static void sum_up(struct monitor *monitor)
{
    struct run *run = &monitor->run;
    uint32_t count = run->crash_count;

    ASSERT(count > 0);
    qsort(monitor->detections, count, sizeof(double), compare_doubles);
    for (uint32_t i = 0; i < count; i++) {
        run->detection_ms_mean += monitor->detections[i] / count;
    }
    run->detection_ms_p99 = monitor->detections[(uint64_t)count * 99 / 100];
    run->detection_ms_max = monitor->detections[count - 1];
    run->hours = (double)monitor->trace->beats[monitor->trace->beat_count - 1].sent_ms / 3.6e6;
}

struct run run_trace(const struct trace *trace, enum subject_kind kind, struct setting setting)
{
    struct monitor monitor = {.trace = trace, .run = {.setting = setting}, .now_ms = 1000};

    monitor.detections = calloc(trace->beat_count / TRACE_CRASH_EVERY + 1, sizeof(double));
    ASSERT(monitor.detections != NULL);
    prng_init(&monitor.prng, 1);
    subject_open(&monitor.subject, kind, setting, monitor.now_ms);
    for (uint32_t i = 0; i < trace->beat_count; i++) {
        if (trace->beats[i].arrived_ms != TRACE_LOST) {
            deliver(&monitor, i);
        }
        if (i % TRACE_CRASH_EVERY == TRACE_CRASH_EVERY - 1 && i + 1 < trace->beat_count) {
            crash(&monitor, i);
        }
    }
    sum_up(&monitor);
    subject_close(&monitor.subject);
    free(monitor.detections);
    return monitor.run;
}
