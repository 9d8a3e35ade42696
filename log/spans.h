/* log/spans.h: which stretch of the segments holds the live copy of a record.
 *
 * A span is a run of batches of one segment, back to back, of at most LOG_SPAN_SIZE bytes (or of
 * one larger batch). Span j holds the live records from its first_index up to the next span's
 * first_index, and the last span those up to the table's next_index. Cutting at c lowers every
 * first_index above c to c: a span of which nothing is left becomes empty, not removed. Spans go
 * only together with their segment, from the front. So the
 * table is bounded by the size of the segments however often records are cut. docs/log.md proves
 * that it is right. */
#ifndef LOG_SPANS_H
#define LOG_SPANS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/macros.h"
#include "log/format.h"

enum { LOG_SPAN_SIZE = 256 << 10 };

struct log_span {
    log_index first_index;
    struct log_place place;
    uint32_t size;
};

struct log_spans {
    struct log_span *spans;
    uint32_t count;
    uint32_t count_max;
    log_index next_index; /* One behind the last live record that is on the disk. */
};

/* Two neighbours of one segment are together larger than LOG_SPAN_SIZE: that bounds their count. */
uint32_t log_spans_count_max(uint32_t segment_size, uint32_t segment_count_max);

/* Of the largest span. */
uint32_t log_spans_size_max(uint32_t batch_size_max);

void log_spans_init(struct log_spans *spans, struct arena *arena, uint32_t count_max);

/* Records from `index` on are no longer live. */
void log_spans_cut(struct log_spans *spans, log_index index);

/* A batch at `place` is on the disk; its live records are those from the table's next_index up to
 * `next_index` (none when they are equal). What it cuts off itself was cut beforehand. */
void log_spans_add(struct log_spans *spans, struct log_place place, uint32_t size,
                   log_index next_index);

/* What lies in segments before `segment` is not needed any more. */
void log_spans_drop(struct log_spans *spans, uint64_t segment);

/* Everything is void; the next record has `next_index`. */
void log_spans_restart(struct log_spans *spans, log_index next_index);

/* The records before `index` (>= next_index) that are in no span are damaged: reading them finds
 * that the span in front of them does not hold them. */
void log_spans_skip(struct log_spans *spans, log_index index);

/* Of the first live record; next_index when there is none. */
log_index log_spans_first_index(const struct log_spans *spans);

/* The span with the live copy of `index` (first index <= index < next_index); `*end_index` is one
 * behind its last live record. */
const struct log_span *log_spans_find(const struct log_spans *spans, log_index index,
                                      log_index *end_index);

void log_spans_check(const struct log_spans *spans);

#endif
