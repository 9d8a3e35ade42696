/* tools/bench/detector/subject.c: ours and fixed through the library, the others written here. */
#include "tools/bench/detector/subject.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "tools/bench/detector/trace.h"

const char *subject_name(enum subject_kind kind)
{
    static const char *const names[SUBJECT_KIND_COUNT] = {"Holdfast", "fixed timeout", "Chen NFD-E",
                                                          "exponential phi"};

    ASSERT(kind < SUBJECT_KIND_COUNT);
    return names[kind];
}

static bool is_library(const struct subject *subject)
{
    return subject->kind == SUBJECT_OURS || subject->kind == SUBJECT_FIXED;
}

static void open_detector(struct subject *subject, uint64_t now_ms)
{
    struct detector_options options = detector_options_of(1, TRACE_INTERVAL_MS);
    struct arena arena;

    if (subject->kind == SUBJECT_FIXED) {
        options.kind = DETECTOR_FIXED;
        options.initial_ms = (uint32_t)subject->setting.value;
    } else {
        options.threshold = subject->setting.value;
        options.timeout_ms_min = subject->setting.timeout_ms_min;
        options.timeout_ms_max = subject->setting.timeout_ms_max;
        options.floor_ms_max = subject->setting.floor_ms_max;
    }
    subject->memory_size = detector_memory_size(&options);
    subject->memory = aligned_alloc(ARENA_ALIGNMENT, subject->memory_size);
    subject->saved = malloc(subject->memory_size);
    ASSERT(subject->memory != NULL && subject->saved != NULL);
    arena_init(&arena, subject->memory, subject->memory_size);
    enum error error = detector_open(&subject->detector, &arena, &options, now_ms);

    ASSERT_VALUES(error == ERR_OK, error, 0);
    detector_watch(subject->detector, 0, now_ms);
}

void subject_open(struct subject *subject, enum subject_kind kind, struct setting setting,
                  uint64_t now_ms)
{
    memset(subject, 0, sizeof(*subject));
    subject->kind = kind;
    subject->setting = setting;
    subject->deadline_ms = UINT64_MAX;
    if (is_library(subject)) {
        open_detector(subject, now_ms);
    }
}

void subject_close(struct subject *subject)
{
    free(subject->memory);
    free(subject->saved);
}

static void ring_add(struct subject_ring *ring, double value, uint32_t count_max)
{
    if (ring->count == count_max) {
        ring->sum -= ring->values[ring->next];
    } else {
        ring->count++;
    }
    ring->values[ring->next] = value;
    ring->sum += value;
    ring->next = (ring->next + 1) % count_max;
}

/* The next heartbeat's freshness point: its expected arrival and the margin. */
static void hear_chen(struct subject *subject, uint64_t sequence, uint64_t now_ms)
{
    double interval = TRACE_INTERVAL_MS;

    ring_add(&subject->ring, (double)now_ms - interval * (double)sequence, CHEN_COUNT);
    double expected = subject->ring.sum / subject->ring.count + interval * (double)(sequence + 1);

    subject->deadline_ms = (uint64_t)ceil(expected + subject->setting.value);
    subject->is_suspecting = now_ms >= subject->deadline_ms;
}

/* phi = silence / (mean * ln 10). */
static void hear_exponential(struct subject *subject, uint64_t now_ms)
{
    if (subject->heard_ms != 0) {
        ring_add(&subject->ring, (double)(now_ms - subject->heard_ms), EXPONENTIAL_COUNT);
    }
    double mean =
        subject->ring.count == 0 ? TRACE_INTERVAL_MS : subject->ring.sum / subject->ring.count;

    subject->heard_ms = now_ms;
    subject->deadline_ms =
        now_ms + (uint64_t)ceil(subject->setting.value * mean * 2.302585092994046);
    subject->is_suspecting = false;
}

void subject_heard(struct subject *subject, uint64_t sequence, uint64_t stamp_ms, uint64_t now_ms)
{
    if (is_library(subject)) {
        const struct detector_heartbeat heartbeat = {
            .incarnation = 1, .sequence = sequence, .sent_ms = stamp_ms};
        enum error error = detector_heard(subject->detector, 0, &heartbeat, now_ms);

        ASSERT_VALUES(error == ERR_OK, error, sequence);
        subject->is_suspecting = detector_suspected(subject->detector) != 0;
    } else if (subject->kind == SUBJECT_CHEN) {
        hear_chen(subject, sequence, now_ms);
    } else {
        hear_exponential(subject, now_ms);
    }
}

uint64_t subject_deadline(struct subject *subject)
{
    if (is_library(subject)) {
        return detector_next_deadline(subject->detector);
    }
    return subject->is_suspecting ? UINT64_MAX : subject->deadline_ms;
}

void subject_advance(struct subject *subject, uint64_t now_ms)
{
    if (is_library(subject)) {
        detector_advance(subject->detector, now_ms);
        subject->is_suspecting = detector_suspected(subject->detector) != 0;
    } else if (now_ms >= subject->deadline_ms) {
        subject->is_suspecting = true;
    }
}

void subject_save(struct subject *subject)
{
    subject->saved_is_suspecting = subject->is_suspecting;
    subject->saved_deadline_ms = subject->deadline_ms;
    subject->saved_heard_ms = subject->heard_ms;
    if (is_library(subject)) {
        memcpy(subject->saved, subject->memory, subject->memory_size);
    } else {
        subject->saved_ring = subject->ring;
    }
}

void subject_restore(struct subject *subject)
{
    subject->is_suspecting = subject->saved_is_suspecting;
    subject->deadline_ms = subject->saved_deadline_ms;
    subject->heard_ms = subject->saved_heard_ms;
    if (is_library(subject)) {
        memcpy(subject->memory, subject->saved, subject->memory_size);
    } else {
        subject->ring = subject->saved_ring;
    }
}
