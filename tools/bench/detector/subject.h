/* tools/bench/detector/subject.h: four detectors behind one interface. */
#ifndef TOOLS_BENCH_DETECTOR_SUBJECT_H
#define TOOLS_BENCH_DETECTOR_SUBJECT_H

#include <stdbool.h>
#include <stdint.h>

#include "failure-detector/detector.h"

enum subject_kind {
    SUBJECT_OURS,
    SUBJECT_FIXED,
    SUBJECT_CHEN,        /* NFD-E (Chen, Toueg and Aguilera 2002, section 6): arrival times. */
    SUBJECT_EXPONENTIAL, /* phi of an exponential distribution over the last 1000 intervals. */
    SUBJECT_KIND_COUNT,
};

/* What is tuned: of the baselines only `value`. */
struct setting {
    double value; /* Threshold, timeout in ms, margin in ms, threshold. */
    uint32_t timeout_ms_min;
    uint32_t timeout_ms_max;
    uint32_t floor_ms_max;
};

enum { CHEN_COUNT = 32, EXPONENTIAL_COUNT = 1000 };

/* What the two baselines of this program remember: `sum` over the last `count` values. */
struct subject_ring {
    double sum;
    uint32_t count;
    uint32_t next;
    double values[EXPONENTIAL_COUNT];
};

struct subject {
    enum subject_kind kind;
    struct setting setting;
    bool is_suspecting;
    uint64_t deadline_ms; /* Of the two baselines. */
    uint64_t heard_ms;
    struct subject_ring ring;
    struct detector *detector; /* Of the first two. */
    void *memory;
    void *saved; /* A copy of `memory`, and of what is above. */
    size_t memory_size;
    struct subject_ring saved_ring;
    uint64_t saved_heard_ms;
    uint64_t saved_deadline_ms;
    bool saved_is_suspecting;
};

const char *subject_name(enum subject_kind kind);

void subject_open(struct subject *subject, enum subject_kind kind, struct setting setting,
                  uint64_t now_ms);
void subject_close(struct subject *subject);

void subject_heard(struct subject *subject, uint64_t sequence, uint64_t stamp_ms, uint64_t now_ms);

/* When it wants to be called next. */
uint64_t subject_deadline(struct subject *subject);
void subject_advance(struct subject *subject, uint64_t now_ms);

/* Keeps the present state; goes back to it. */
void subject_save(struct subject *subject);
void subject_restore(struct subject *subject);

#endif
