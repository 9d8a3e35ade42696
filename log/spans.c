/* log/spans.c: the sparse, bounded index from records to places. Pure. */
#include "log/spans.h"

#include <string.h>

#include "base/assert.h"

uint32_t log_spans_count_max(uint32_t segment_size, uint32_t segment_count_max)
{
    uint64_t count = ((uint64_t)segment_size / LOG_SPAN_SIZE * 2 + 2) * segment_count_max;

    ASSERT(count <= UINT32_MAX);
    return (uint32_t)count;
}

uint32_t log_spans_size_max(uint32_t batch_size_max)
{
    ASSERT(batch_size_max >= LOG_BLOCK_SIZE);
    return batch_size_max > LOG_SPAN_SIZE ? batch_size_max : LOG_SPAN_SIZE;
}

void log_spans_init(struct log_spans *spans, struct arena *arena, uint32_t count_max)
{
    ASSERT(count_max >= 1);
    *spans = (struct log_spans){
        .spans = arena_take(arena, count_max, sizeof(struct log_span)),
        .count_max = count_max,
        .next_index = 1,
    };
}

void log_spans_cut(struct log_spans *spans, log_index index)
{
    ASSERT(index >= 1);
    for (uint32_t i = spans->count; i > 0 && spans->spans[i - 1].first_index > index; i--) {
        spans->spans[i - 1].first_index = index;
    }
    if (spans->next_index > index) {
        spans->next_index = index;
    }
}

static bool extends_last(const struct log_spans *spans, struct log_place place, uint32_t size)
{
    if (spans->count == 0) {
        return false;
    }
    const struct log_span *last = &spans->spans[spans->count - 1];

    ASSERT(last->place.segment <= place.segment);
    return last->place.segment == place.segment &&
           last->place.offset + last->size == place.offset &&
           (uint64_t)last->size + size <= LOG_SPAN_SIZE;
}

void log_spans_add(struct log_spans *spans, struct log_place place, uint32_t size,
                   log_index next_index)
{
    ASSERT_VALUES(next_index >= spans->next_index, next_index, spans->next_index);
    if (extends_last(spans, place, size)) {
        spans->spans[spans->count - 1].size += size;
    } else {
        ASSERT_VALUES(spans->count < spans->count_max, spans->count, spans->count_max);
        spans->spans[spans->count++] =
            (struct log_span){.first_index = spans->next_index, .place = place, .size = size};
    }
    spans->next_index = next_index;
}

void log_spans_drop(struct log_spans *spans, uint64_t segment)
{
    uint32_t gone = 0;

    while (gone < spans->count && spans->spans[gone].place.segment < segment) {
        gone++;
    }
    if (gone == 0) {
        return;
    }
    ASSERT(gone <= spans->count);
    memmove(spans->spans, spans->spans + gone, (spans->count - gone) * sizeof(*spans->spans));
    spans->count -= gone;
}

void log_spans_restart(struct log_spans *spans, log_index next_index)
{
    ASSERT(next_index >= 1);
    spans->count = 0;
    spans->next_index = next_index;
}

void log_spans_skip(struct log_spans *spans, log_index index)
{
    ASSERT_VALUES(index >= spans->next_index, index, spans->next_index);
    spans->next_index = index;
}

log_index log_spans_first_index(const struct log_spans *spans)
{
    return spans->count == 0 ? spans->next_index : spans->spans[0].first_index;
}

const struct log_span *log_spans_find(const struct log_spans *spans, log_index index,
                                      log_index *end_index)
{
    uint32_t low = 0;
    uint32_t high = spans->count;

    ASSERT_VALUES(index >= log_spans_first_index(spans) && index < spans->next_index, index,
                  spans->next_index);
    /* The last span whose first_index is not above the index: an empty one never is. */
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;

        if (spans->spans[middle].first_index <= index) {
            low = middle;
        } else {
            high = middle;
        }
    }
    ASSERT(low < spans->count);
    *end_index = high < spans->count ? spans->spans[high].first_index : spans->next_index;
    ASSERT_VALUES(spans->spans[low].first_index <= index && index < *end_index, index, *end_index);
    return &spans->spans[low];
}

static void check_neighbours(const struct log_span *span, const struct log_span *next)
{
    /* (S1) Places strictly increase and do not overlap; (S2) indexes never decrease. */
    ASSERT(span->place.segment < next->place.segment ||
           (span->place.segment == next->place.segment &&
            span->place.offset + span->size <= next->place.offset));
    ASSERT_VALUES(span->first_index <= next->first_index, span->first_index, next->first_index);
}

void log_spans_check(const struct log_spans *spans)
{
    ASSERT(spans->count <= spans->count_max);
    for (uint32_t i = 0; i < spans->count; i++) {
        const struct log_span *span = &spans->spans[i];

        ASSERT(span->size >= LOG_BLOCK_SIZE);
        ASSERT_VALUES(span->first_index <= spans->next_index, span->first_index, spans->next_index);
        if (i + 1 < spans->count) {
            check_neighbours(span, span + 1);
        }
    }
    /* (S3) Together the spans hold every live record, from the first on: each begins where the one
     * before it ends, by what a span is, and none is behind the next index. */
    ASSERT(log_spans_first_index(spans) >= 1);
    ASSERT(log_spans_first_index(spans) <= spans->next_index);
}
