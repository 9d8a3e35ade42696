/* tools/bench/detector/trace.c: the models behind the rows of docs/failure-detector.md. */
#include "tools/bench/detector/trace.h"

#include <math.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/prng.h"

static const char *const names[TRACE_KIND_COUNT] = {
    [TRACE_CLEAN] = "clean",
    [TRACE_LOSS] = "2 % loss",
    [TRACE_JITTER] = "20 ms jitter",
    [TRACE_BURSTS] = "bursts",
    [TRACE_SENDER_PAUSES] = "pauses of the sender",
    [TRACE_MONITOR_PAUSES] = "pauses of the monitor",
    [TRACE_MONITOR_READS] = "the same, reads first",
};

struct world {
    enum trace_kind kind;
    struct prng prng;
    bool is_bad; /* Of the two states of Gilbert and Elliott. */
};

/* In (0, 1). */
static double uniform(struct world *world)
{
    return ((double)(prng_next(&world->prng) >> 11) + 0.5) / 9007199254740992.0;
}

static double exponential(struct world *world, double mean)
{
    return -mean * log(uniform(world));
}

static double normal(struct world *world)
{
    return sqrt(-2 * log(uniform(world))) * cos(6.283185307179586 * uniform(world));
}

/* A local network: lognormal around 0.3 ms; one message in a thousand falls into a Pareto tail, as
 * far as the buffers on the way reach. */
static double base_delay(struct world *world)
{
    if (uniform(world) < 0.001) {
        return fmin(pow(uniform(world), -1 / 1.5), 200);
    }
    return 0.3 * exp(0.6 * normal(world));
}

static double delay_of(struct world *world)
{
    double delay = base_delay(world);

    if (world->kind == TRACE_JITTER) {
        delay += fmax(60 + 20 * normal(world), 0);
    }
    if (world->is_bad) {
        delay += exponential(world, 20);
    }
    return delay;
}

/* Bad times begin once in 500 heartbeats and last 20 in the mean; half is lost in them. */
static bool is_lost(struct world *world)
{
    if (world->kind == TRACE_LOSS) {
        return uniform(world) < 0.02;
    }
    if (world->kind != TRACE_BURSTS) {
        return false;
    }
    world->is_bad = world->is_bad ? uniform(world) >= 0.05 : uniform(world) < 0.002;
    return world->is_bad && uniform(world) < 0.5;
}

/* From one pause to the next 20 s in the mean; 20 ms to 1 s long, short ones more often. */
static double pause_gap(struct world *world)
{
    return 1000 + exponential(world, 19000);
}

static double pause_length(struct world *world)
{
    return fmin(20 + exponential(world, 150), 1000);
}

/* A timer that repeats: a sender that was paused sends at once, and counts on from there. */
static void send_all(struct trace *trace, struct world *world)
{
    double now = 1000;
    double pause_at = now + pause_gap(world);
    double arrived = 0;

    for (uint32_t i = 0; i < trace->beat_count; i++) {
        struct trace_beat *beat = &trace->beats[i];
        double sent = now + uniform(world);

        if (world->kind == TRACE_SENDER_PAUSES && sent >= pause_at) {
            now = pause_at + fmax(pause_length(world), sent - pause_at);
            sent = now;
            pause_at = now + pause_gap(world);
        }
        bool lost = is_lost(world);

        beat->sent_ms = (uint64_t)sent;
        beat->stamp_ms = (uint64_t)(sent * 1.00005) + 123456789;
        beat->arrived_ms = TRACE_LOST;
        if (!lost) {
            arrived = fmax(arrived, sent + delay_of(world));
            beat->arrived_ms = (uint64_t)arrived;
        }
        now += TRACE_INTERVAL_MS;
    }
}

static void pause_monitor(struct trace *trace, struct world *world)
{
    uint64_t end_ms = trace->beats[trace->beat_count - 1].sent_ms;
    double now = 1000 + pause_gap(world);
    uint32_t count_max = (uint32_t)(end_ms / 1000) + 1;

    trace->pauses = calloc(count_max, sizeof(*trace->pauses));
    ASSERT(trace->pauses != NULL);
    while (now < (double)end_ms) {
        double length = pause_length(world);

        ASSERT_VALUES(trace->pause_count < count_max, trace->pause_count, count_max);
        trace->pauses[trace->pause_count++] =
            (struct trace_pause){(uint64_t)now, (uint64_t)(now + length)};
        now += length + pause_gap(world);
    }
}

void trace_open(struct trace *trace, enum trace_kind kind, uint32_t beat_count, uint64_t seed)
{
    struct world world = {.kind = kind};

    ASSERT(kind < TRACE_KIND_COUNT && beat_count > 0);
    prng_init(&world.prng, seed + (uint64_t)kind);
    *trace = (struct trace){
        .name = names[kind],
        .beat_count = beat_count,
        .beats = calloc(beat_count, sizeof(struct trace_beat)),
        .is_reading_first = kind == TRACE_MONITOR_READS,
    };
    ASSERT(trace->beats != NULL);
    send_all(trace, &world);
    if (kind == TRACE_MONITOR_PAUSES || kind == TRACE_MONITOR_READS) {
        pause_monitor(trace, &world);
    }
}

void trace_close(struct trace *trace)
{
    free(trace->beats);
    free(trace->pauses);
}

/* The first pause that ends after `now_ms`; pause_count when there is none. */
static uint32_t next_pause(const struct trace *trace, uint64_t now_ms)
{
    uint32_t low = 0;
    uint32_t high = trace->pause_count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (trace->pauses[middle].until_ms <= now_ms) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

bool trace_was_paused(const struct trace *trace, uint64_t from_ms, uint64_t until_ms)
{
    uint32_t next = next_pause(trace, from_ms);

    return next < trace->pause_count && trace->pauses[next].from_ms < until_ms;
}

uint64_t trace_awake(const struct trace *trace, uint64_t now_ms)
{
    bool is_paused = trace_was_paused(trace, now_ms, now_ms + 1);

    return is_paused ? trace->pauses[next_pause(trace, now_ms)].until_ms : now_ms;
}
