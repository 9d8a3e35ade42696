/* log/log.c: opening, staging, and forgetting. What was staged becomes durable in log/flight.c. */
#include "log/log.h"

#include <string.h>

#include "base/assert.h"
#include "base/checksum.h"
#include "log/hard_state.h"
#include "log/internal.h"

enum {
    NAMES_SPARE = 16, /* Files of our prefix that are not ours are listed too. */
};

/* --- Opening --------------------------------------------------------------------------------- */

static void check_options(const struct log_options *options)
{
    ASSERT(strlen(options->prefix) >= 1 && strlen(options->prefix) <= LOG_PREFIX_LENGTH_MAX);
    ASSERT(options->batch_size_max >= LOG_BLOCK_SIZE);
    ASSERT(options->batch_size_max % LOG_BLOCK_SIZE == 0);
    ASSERT(options->segment_size % LOG_BLOCK_SIZE == 0);
    /* A segment holds its header, the largest batch and its end batch. */
    ASSERT_VALUES(options->segment_size / 2 >= LOG_BLOCK_SIZE &&
                      options->segment_size - 2 * LOG_BLOCK_SIZE >= options->batch_size_max,
                  options->segment_size, options->batch_size_max);
    ASSERT(options->segment_count_max >= 1);
    ASSERT(options->segments_ahead >= 1);
}

static size_t aligned_cost(size_t size)
{
    ASSERT(size % DISK_ALIGNMENT == 0);
    return arena_cost(1, size + DISK_ALIGNMENT);
}

size_t log_memory_size(const struct log_options *options)
{
    check_options(options);
    uint32_t span_count = log_spans_count_max(options->segment_size, options->segment_count_max);

    return arena_cost(1, sizeof(struct log)) + arena_cost(span_count, sizeof(struct log_span)) +
           arena_cost(options->segment_count_max + NAMES_SPARE, sizeof(struct disk_name)) +
           arena_cost(options->segment_count_max, sizeof(log_index)) +
           2 * aligned_cost(options->batch_size_max) +
           aligned_cost(log_window_capacity(options->batch_size_max)) +
           aligned_cost(LOG_BLOCK_SIZE);
}

static void log_init(struct log *log, struct arena *arena, const struct log_options *options,
                     struct disk *disk)
{
    size_t prefix_length = strlen(options->prefix);
    struct bytes prefix = bytes_of(options->prefix, prefix_length);

    ASSERT(prefix_length < sizeof(log->prefix));
    *log = (struct log){
        .disk = disk,
        .identity = {.incarnation = options->incarnation},
        .segment_size = options->segment_size,
        .batch_size_max = options->batch_size_max,
        .segments_ahead = options->segments_ahead,
        .accepts_rot = options->accepts_rot,
        .tag = LOG_TAG_BASE | (checksum(prefix, 0) & UINT32_MAX) << 16,
        .position = {.next_sequence = 1, .next_index = 1},
        .staged = &log->batches[0],
        .flight = &log->batches[1],
    };
    memcpy(log->prefix, options->prefix, prefix_length);
    memcpy(log->identity.cluster, options->cluster, LOG_CLUSTER_SIZE);
    log_spans_init(&log->spans, arena,
                   log_spans_count_max(options->segment_size, options->segment_count_max));
    log_segments_init(&log->segments, arena, options->segment_count_max);
    for (unsigned i = 0; i < 2; i++) {
        log->batches[i].data = arena_take_aligned(arena, options->batch_size_max, DISK_ALIGNMENT);
    }
    log->block = arena_take_aligned(arena, LOG_BLOCK_SIZE, DISK_ALIGNMENT);
    log_window_init(&log->window, arena, log_window_capacity(options->batch_size_max));
}

enum error log_open(struct log **log, struct arena *arena, const struct log_options *options,
                    struct disk *disk, struct log_recovery *recovery)
{
    uint32_t names_max = options->segment_count_max + NAMES_SPARE;

    check_options(options);
    *log = NULL;
    *recovery = (struct log_recovery){.verdict = LOG_CLEAN};
    struct log *opened = arena_take(arena, 1, sizeof(*opened));
    struct disk_name *names = arena_take(arena, names_max, sizeof(*names));

    log_init(opened, arena, options, disk);
    enum error error = log_recover(opened, names, names_max, recovery);
    if (error != ERR_OK) {
        return error;
    }
    opened->last_index = opened->position.next_index - 1;
    opened->floor_index = log_first_index(opened) - 1;
    opened->segments.dropped = opened->floor_index;
    if (!log_is_rotten(opened)) {
        log_release(opened); /* A crash may have come before a removal. */
        log_check(opened);
    }
    *log = opened;
    return ERR_OK;
}

log_index log_last_index(const struct log *log)
{
    ASSERT(log != NULL);
    return log->last_index;
}

log_index log_first_index(const struct log *log)
{
    ASSERT(log != NULL);
    return log_spans_first_index(&log->spans);
}

/* --- Staging --------------------------------------------------------------------------------- */

bool log_fits(const struct log *log, struct log_place place, uint32_t total_size)
{
    ASSERT(place.offset <= log->segment_size);
    return (uint64_t)place.offset + total_size + LOG_BLOCK_SIZE <= log->segment_size;
}

/* Where the staged batch will go, as far as the present segment is concerned: behind the batch in
 * flight, which may have the next segment still before it. */
static struct log_place planned_place(const struct log *log)
{
    struct log_place place = log->position.place;

    if (log->step == LOG_STEP_NONE) {
        return place;
    }
    uint32_t flight_size = log_batch_total_size(log->flight->body_size);

    if (!log_fits(log, place, flight_size)) {
        place = (struct log_place){.segment = place.segment + 1, .offset = LOG_BLOCK_SIZE};
    }
    ASSERT_VALUES(place.segment <= log->segments.ready, place.segment, place.offset);
    place.offset += flight_size;
    return place;
}

/* Bytes of the largest batch that can be written there, and leaves room for the end batch. */
static uint32_t batch_room(const struct log *log, struct log_place place, uint32_t reserve_size)
{
    bool is_last = place.segment == log_segments_last(&log->segments);
    uint64_t kept = (uint64_t)place.offset + LOG_BLOCK_SIZE + (is_last ? reserve_size : 0);
    uint64_t room = kept < log->segment_size ? log->segment_size - kept : 0;

    ASSERT_VALUES(room % LOG_BLOCK_SIZE == 0, place.segment, place.offset);
    return room < log->batch_size_max ? (uint32_t)room : log->batch_size_max;
}

size_t log_stage_room_beside(const struct log *log, uint32_t reserve_size)
{
    struct log_place place = planned_place(log);
    uint32_t size = batch_room(log, place, reserve_size);

    ASSERT_VALUES(reserve_size % LOG_BLOCK_SIZE == 0, reserve_size, LOG_BLOCK_SIZE);
    if (size < log->batch_size_max && place.segment < log_segments_last(&log->segments)) {
        /* Whatever does not fit into this segment goes to the next one. */
        struct log_place next = {.segment = place.segment + 1, .offset = LOG_BLOCK_SIZE};
        uint32_t next_size = batch_room(log, next, reserve_size);

        size = next_size > size ? next_size : size;
    }
    uint32_t capacity = size == 0 ? 0 : log_batch_body_capacity(size);

    ASSERT(log->staged->body_size <= log_batch_body_capacity(log->batch_size_max));
    return capacity > log->staged->body_size ? capacity - log->staged->body_size : 0;
}

size_t log_stage_room(const struct log *log)
{
    size_t room = log_stage_room_beside(log, 0);

    ASSERT(room <= log->batch_size_max);
    return room;
}

bool log_space_is_short(const struct log *log)
{
    ASSERT(log != NULL);
    return log->segments.is_short;
}

void log_space_retry(struct log *log)
{
    ASSERT(log != NULL);
    log->segments.asks_again = true;
}

static void stage_begin(struct log *log)
{
    struct log_batch *staged = log->staged;

    ASSERT(!staged->is_used);
    *staged = (struct log_batch){
        .data = staged->data,
        .first_index = log->last_index + 1,
        .is_used = true,
    };
}

/* Forgets the records from `index` on, wherever they are by now. */
static void stage_cut(struct log *log, log_index index)
{
    struct log_batch *staged = log->staged;

    ASSERT_VALUES(index > log->floor_index && index <= log->last_index, index, log->last_index);
    if (index >= staged->first_index) {
        struct bytes body = bytes_of(staged->data + LOG_BATCH_HEADER_SIZE, staged->body_size);
        uint64_t kept_count = index - staged->first_index;

        staged->body_size = (uint32_t)log_records_size(body, kept_count);
        staged->record_count = (uint32_t)kept_count;
    } else {
        staged->body_size = 0;
        staged->record_count = 0;
        staged->first_index = index;
        staged->is_cutting = true;
    }
    if (log->step != LOG_STEP_NONE && !log->flight->is_void && index < log->flight->cut_later) {
        log->flight->cut_later = index;
    }
    log_fetch_cut(log, index);
    log->last_index = index - 1;
}

static void stage_records(struct log *log, uint32_t record_count, struct bytes records)
{
    struct log_batch *staged = log->staged;

    ASSERT(LOG_BATCH_HEADER_SIZE + staged->body_size + records.size <= log->batch_size_max);
    if (records.size != 0) {
        memcpy(staged->data + LOG_BATCH_HEADER_SIZE + staged->body_size, records.data,
               records.size);
    }
    staged->body_size += (uint32_t)records.size;
    staged->record_count += record_count;
    log->last_index += record_count;
}

static void stage_hard_state(struct log *log, struct bytes hard_state)
{
    struct log_hard_state *newest = &log->hard_state;

    ASSERT_VALUES(hard_state.size <= LOG_HARD_STATE_SIZE_MAX, hard_state.size, 0);
    if (hard_state.size == 0 || bytes_equal(hard_state, bytes_of(newest->data, newest->size))) {
        return;
    }
    memset(newest->data, 0, sizeof(newest->data));
    memcpy(newest->data, hard_state.data, hard_state.size);
    newest->size = (uint32_t)hard_state.size;
    log->staged->state_changed = true;
}

uint64_t log_stage(struct log *log, log_index first_index, uint32_t record_count,
                   struct bytes first, struct bytes second, struct bytes hard_state)
{
    ASSERT(!log_is_rotten(log));
    ASSERT_VALUES(first_index >= 1 && first_index <= log->last_index + 1, first_index,
                  log->last_index);
    ASSERT_VALUES(first.size + second.size <= log_stage_room(log), first.size + second.size,
                  log_stage_room(log));
    ASSERT((record_count == 0) == (first.size + second.size == 0));

    if (!log->staged->is_used) {
        stage_begin(log);
    }
    if (first_index <= log->last_index) {
        stage_cut(log, first_index);
    }
    stage_records(log, record_count, first);
    stage_records(log, 0, second);
    stage_hard_state(log, hard_state);
    log->ticket++;
    log->staged->last_ticket = log->ticket;
    return log->ticket;
}

/* --- Forgetting and beginning again ---------------------------------------------------------- */

static bool is_restarting(const struct log *log)
{
    return (log->staged->is_used && log->staged->is_base) ||
           (log->flight->is_used && log->flight->is_base);
}

void log_release(struct log *log)
{
    log_segments_release(&log->segments, log->position.place.offset > LOG_BLOCK_SIZE);
    log_spans_drop(&log->spans, log->segments.kept);
}

void log_drop(struct log *log, log_index index)
{
    ASSERT(!log_is_rotten(log));
    ASSERT_VALUES(index <= log->last_index, index, log->last_index);
    log->floor_index = index > log->floor_index ? index : log->floor_index;
    if (is_restarting(log)) {
        return; /* All that is on the disk becomes void at once, or stays. */
    }
    ASSERT_VALUES(index < log->spans.next_index, index, log->spans.next_index);
    log->segments.dropped = index > log->segments.dropped ? index : log->segments.dropped;
    log_release(log);
}

uint64_t log_restart(struct log *log, log_index next_index, struct bytes hard_state)
{
    struct log_batch *staged = log->staged;

    ASSERT(!log_is_rotten(log));
    ASSERT(next_index >= 1);
    if (!staged->is_used) {
        stage_begin(log);
    }
    /* What was staged is void; a hard state among it is not. */
    staged->body_size = 0;
    staged->record_count = 0;
    staged->first_index = next_index;
    staged->is_cutting = false;
    staged->is_base = true;
    log->flight->is_void = log->flight->is_used;
    log_fetch_cut(log, log_first_index(log));
    log_spans_restart(&log->spans, next_index);
    log->last_index = next_index - 1;
    log->floor_index = next_index - 1;
    stage_hard_state(log, hard_state);
    log->ticket++;
    staged->last_ticket = log->ticket;
    return log->ticket;
}

uint64_t log_durable_ticket(const struct log *log)
{
    ASSERT(log->durable_ticket <= log->ticket);
    return log->durable_ticket;
}

enum error log_error(const struct log *log)
{
    ASSERT(log != NULL);
    return log->error;
}

struct log_counters log_counters(const struct log *log)
{
    ASSERT(log != NULL);
    return log->counters;
}
