/* log/segments.c: the run of existing segments. Pure. */
#include "log/segments.h"

#include "base/assert.h"

void log_segments_init(struct log_segments *segments, struct arena *arena, uint32_t count_max)
{
    ASSERT(count_max >= 1);
    *segments = (struct log_segments){
        .end_indexes = arena_take(arena, count_max, sizeof(log_index)),
        .count_max = count_max,
    };
}

static log_index *end_index_of(const struct log_segments *segments, uint64_t segment)
{
    ASSERT_VALUES(segment >= segments->first && segment <= segments->active, segment,
                  segments->active);
    return &segments->end_indexes[segment % segments->count_max];
}

void log_segments_found(struct log_segments *segments, uint64_t first, uint64_t ready)
{
    ASSERT_VALUES(first >= 1 && ready >= first && ready - first < segments->count_max, first,
                  ready);
    segments->first = first;
    segments->kept = first;
    segments->active = first;
    segments->ready = ready;
    *end_index_of(segments, first) = 1;
}

void log_segments_advance(struct log_segments *segments, log_index next_index)
{
    ASSERT_VALUES(segments->active < segments->ready, segments->active, segments->ready);
    segments->active++;
    *end_index_of(segments, segments->active) = next_index;
}

void log_segments_cut(struct log_segments *segments, log_index index)
{
    uint64_t segment = segments->active;

    ASSERT(index >= 1);
    while (segment >= segments->first && *end_index_of(segments, segment) > index) {
        *end_index_of(segments, segment) = index;
        segment--;
    }
}

void log_segments_extend(struct log_segments *segments, log_index next_index)
{
    log_index *end_index = end_index_of(segments, segments->active);

    ASSERT_VALUES(next_index >= *end_index, next_index, *end_index);
    *end_index = next_index;
}

void log_segments_restart(struct log_segments *segments, log_index next_index)
{
    ASSERT(next_index >= 1);
    log_segments_cut(segments, 1);
    *end_index_of(segments, segments->active) = next_index;
    segments->dropped = next_index - 1;
}

void log_segments_release(struct log_segments *segments, bool active_has_batch)
{
    uint64_t end = active_has_batch ? segments->active : segments->active - 1;

    ASSERT(segments->active >= 1);
    while (segments->kept < end &&
           *end_index_of(segments, segments->kept) <= segments->dropped + 1) {
        segments->kept++;
    }
}

/* Of those that may exist at once, and whose number fits a place. */
static uint64_t last_permitted(const struct log_segments *segments)
{
    uint64_t last = segments->kept + segments->count_max - 1;

    ASSERT(segments->kept >= 1);
    return last < UINT32_MAX ? last : UINT32_MAX;
}

uint64_t log_segments_last(const struct log_segments *segments)
{
    return segments->is_short ? segments->ready : last_permitted(segments);
}

bool log_segments_wants_fill(const struct log_segments *segments, uint32_t ahead, bool is_needed)
{
    ASSERT(segments->ready >= segments->active);
    if (segments->is_filling || segments->ready >= segments->active + ahead ||
        segments->ready >= last_permitted(segments) ||
        segments->ready - segments->first + 1 >= segments->count_max) {
        return false;
    }
    return !segments->is_short || segments->asks_again || (is_needed && !segments->fill_is_needed);
}

void log_segments_fill_begun(struct log_segments *segments, bool is_needed)
{
    ASSERT(!segments->is_filling);
    segments->is_filling = true;
    segments->asks_again = false;
    segments->fill_is_needed = is_needed;
}

void log_segments_filled(struct log_segments *segments, enum error error)
{
    ASSERT(segments->is_filling);
    segments->is_filling = false;
    segments->ready += error == ERR_OK;
    segments->is_short = error == ERR_NO_SPACE;
}

enum error log_segments_verdict(const struct log_segments *segments)
{
    if (segments->active >= last_permitted(segments)) {
        return ERR_FULL;
    }
    bool is_hopeless = segments->is_short && segments->fill_is_needed && !segments->asks_again &&
                       !segments->is_filling && segments->first == segments->kept;

    return is_hopeless && segments->ready == segments->active ? ERR_NO_SPACE : ERR_OK;
}

bool log_segments_wants_removal(const struct log_segments *segments)
{
    ASSERT(segments->first <= segments->kept);
    return !segments->is_removing && segments->first < segments->kept;
}

void log_segments_removed(struct log_segments *segments)
{
    ASSERT(segments->is_removing);
    segments->is_removing = false;
    segments->first++;
    segments->asks_again = true;
}

void log_segments_check(const struct log_segments *segments)
{
    ASSERT(segments->first >= 1 && segments->first <= segments->kept);
    ASSERT_VALUES(segments->kept <= segments->active, segments->kept, segments->active);
    ASSERT_VALUES(segments->active <= segments->ready, segments->active, segments->ready);
    /* (2) There are never more segments than were allowed. */
    ASSERT(segments->ready - segments->first < segments->count_max);
    if (segments->is_removing) {
        ASSERT(segments->first < segments->kept);
    }
    for (uint64_t segment = segments->first; segment < segments->active; segment++) {
        /* (12) Where the durable log ended never falls from one segment to the next. */
        ASSERT(*end_index_of(segments, segment) <= *end_index_of(segments, segment + 1));
    }
}
