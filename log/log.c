/* log/log.c: opening, staging, and the flights that make what was staged durable.
 *
 * Durability rests on three rules that this file keeps. One request of the log lane is under way
 * at a time: so at most the last write of a log can be torn. A flight's next step is submitted
 * only when the one before it is durable: so a batch never exists without its segment's header,
 * nor a hard state in a batch without its block. Nothing is submitted after a failure. */
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
        .segment_count_max = options->segment_count_max,
        .segments_ahead = options->segments_ahead,
        .tag = LOG_TAG_BASE | (checksum(prefix, 0) & UINT32_MAX) << 16,
        .position = {.next_sequence = 1, .next_index = 1},
        .staged = &log->batches[0],
        .flight = &log->batches[1],
    };
    memcpy(log->prefix, options->prefix, prefix_length);
    memcpy(log->identity.cluster, options->cluster, LOG_CLUSTER_SIZE);
    log_spans_init(&log->spans, arena,
                   log_spans_count_max(options->segment_size, options->segment_count_max));
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
    log_check(opened);
    *log = opened;
    return ERR_OK;
}

log_index log_last_index(const struct log *log)
{
    ASSERT(log != NULL);
    return log->last_index;
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
    ASSERT_VALUES(place.segment <= log->segment_count_max, place.segment, place.offset);
    place.offset += flight_size;
    return place;
}

/* Bytes of the largest batch that can be written there, and leaves room for the end batch. */
static uint32_t batch_room(const struct log *log, struct log_place place, uint32_t reserve_size)
{
    bool is_last = place.segment == log->segment_count_max;
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
    if (size < log->batch_size_max && place.segment < log->segment_count_max) {
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

    ASSERT_VALUES(index >= 1 && index <= log->last_index, index, log->last_index);
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
    if (log->step != LOG_STEP_NONE && index < log->flight->cut_later) {
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

/* --- Flights --------------------------------------------------------------------------------- */

static void submit_write(struct log *log, const struct disk_name *name, uint32_t offset,
                         uint8_t *data, uint32_t size)
{
    struct disk_request request = {
        .operation = DISK_WRITE,
        .lane = DISK_LANE_LOG,
        .name = *name,
        .offset = offset,
        .size = size,
        .tag = log->tag | LOG_TAG_WRITE,
    };

    ASSERT(log->error == ERR_OK);
    ASSERT_VALUES(offset % DISK_ALIGNMENT == 0 && size % DISK_ALIGNMENT == 0, offset, size);
    request.data = data;
    log->counters.write_in_flight = true;
    disk_submit(log->disk, &request);
}

static void submit_state(struct log *log)
{
    uint64_t generation = log->flight->hard_state.generation;
    struct log_state_block block = {
        .identity = log->identity,
        .hard_state = log->flight->hard_state,
        .batch_sequence = log->position.next_sequence,
    };
    struct disk_name name;

    ASSERT(generation >= 1);
    log_state_name(&name, log->prefix);
    log_state_encode(log->block, &block);
    submit_write(log, &name, log_state_block_number(generation) * LOG_BLOCK_SIZE, log->block,
                 LOG_BLOCK_SIZE);
}

static void submit_segment(struct log *log)
{
    struct log_segment_header header = {
        .identity = log->identity,
        .sequence = log->position.place.segment,
        .first_batch_sequence = log->position.next_sequence,
        .previous_checksum = log->position.checksum,
        .segment_size = log->segment_size,
    };
    struct disk_name name;

    ASSERT(!log->position.is_begun);
    ASSERT(header.sequence <= log->segment_ready);
    log_segment_name(&name, log->prefix, header.sequence);
    log_segment_encode(log->block, &header);
    submit_write(log, &name, 0, log->block, LOG_BLOCK_SIZE);
}

/* Seals and submits a batch at the present position. `data` holds the records already. */
static void submit_batch(struct log *log, struct log_batch_header *header, uint8_t *data)
{
    const struct log_position *position = &log->position;
    struct disk_name name;

    ASSERT(position->is_begun);
    ASSERT((uint64_t)position->place.offset + header->total_size <= log->segment_size);
    header->sequence = position->next_sequence;
    header->identity = log->identity;
    header->hard_state = log->flight->hard_state;
    header->previous_checksum = position->checksum;
    log_batch_seal(data, header, position->place);
    log->chained_checksum = header->checksum;
    log_segment_name(&name, log->prefix, position->place.segment);
    submit_write(log, &name, position->place.offset, data, header->total_size);
}

static void submit_end(struct log *log)
{
    struct log_batch_header header = {
        .kind = LOG_BATCH_END,
        .first_index = log->position.next_index,
        .total_size = LOG_BLOCK_SIZE,
    };

    ASSERT(log->position.place.segment < log->segment_ready);
    submit_batch(log, &header, log->block);
}

static void submit_records(struct log *log)
{
    const struct log_batch *flight = log->flight;
    struct log_batch_header header = {
        .kind = flight->is_cutting ? LOG_BATCH_TRUNCATE : LOG_BATCH_APPEND,
        .first_index = flight->first_index,
        .cut_index = flight->is_cutting ? flight->first_index : 0,
        .record_count = flight->record_count,
        .body_size = flight->body_size,
        .total_size = log_batch_total_size(flight->body_size),
    };

    ASSERT(flight->is_cutting ? flight->first_index < log->position.next_index
                              : flight->first_index == log->position.next_index);
    ASSERT(log_records_are_whole(bytes_of(flight->data + LOG_BATCH_HEADER_SIZE, flight->body_size),
                                 flight->record_count));
    submit_batch(log, &header, flight->data);
}

/* The flight's step behind the present one. */
static enum log_step next_step(const struct log *log)
{
    uint32_t size = log_batch_total_size(log->flight->body_size);

    ASSERT(log->step != LOG_STEP_BATCH);
    if (log->step < LOG_STEP_STATE && log->flight->state_changed) {
        return LOG_STEP_STATE;
    }
    if (log->step < LOG_STEP_END && !log_fits(log, log->position.place, size)) {
        return LOG_STEP_END;
    }
    return log->position.is_begun ? LOG_STEP_BATCH : LOG_STEP_SEGMENT;
}

static void take_step(struct log *log)
{
    log->step = next_step(log);
    switch (log->step) {
    case LOG_STEP_STATE:
        submit_state(log);
        return;
    case LOG_STEP_END:
        submit_end(log);
        return;
    case LOG_STEP_SEGMENT:
        submit_segment(log);
        return;
    case LOG_STEP_BATCH:
        submit_records(log);
        return;
    case LOG_STEP_NONE:
        break;
    }
    UNREACHABLE();
}

/* Keeps the next segments ready, one filling at a time. */
static void fill_ahead(struct log *log)
{
    uint64_t wanted = log->position.place.segment + log->segments_ahead;

    ASSERT(log->segment_ready >= log->position.place.segment);
    if (log->is_filling || log->segment_ready >= wanted ||
        log->segment_ready >= log->segment_count_max) {
        return;
    }
    struct disk_request request = {
        .operation = DISK_FILL,
        .lane = DISK_LANE_BACKGROUND,
        .size = log->segment_size,
        .tag = log->tag | LOG_TAG_FILL,
    };

    log_segment_name(&request.name, log->prefix, log->segment_ready + 1);
    log->is_filling = true;
    disk_submit(log->disk, &request);
}

/* False while the batch needs a segment that is not there yet, or never will be. */
static bool place_is_ready(struct log *log)
{
    uint64_t segment = log->position.place.segment;

    ASSERT(log->staged->is_used);
    if (log_fits(log, log->position.place, log_batch_total_size(log->staged->body_size))) {
        return true;
    }
    if (segment == log->segment_count_max) {
        log->error = ERR_FULL;
        return false;
    }
    return segment < log->segment_ready;
}

void log_flush(struct log *log)
{
    if (log->error != ERR_OK) {
        return;
    }
    fill_ahead(log);
    if (log->step != LOG_STEP_NONE || !log->staged->is_used || !place_is_ready(log)) {
        return;
    }
    struct log_batch *staged = log->staged;

    ASSERT(!log->flight->is_used);
    log->staged = log->flight;
    log->flight = staged;
    if (staged->state_changed) {
        log->hard_state.generation++;
    }
    staged->hard_state = log->hard_state;
    staged->cut_later = UINT64_MAX;
    take_step(log);
}

/* The batch is durable: so is all that was staged in it. */
static void batch_landed(struct log *log)
{
    struct log_batch *flight = log->flight;
    uint32_t size = log_batch_total_size(flight->body_size);
    log_index next_index = flight->first_index + flight->record_count;

    ASSERT(flight->last_ticket > log->durable_ticket);
    /* What was cut while it flew is dead on arrival. */
    log_index live_index = next_index < flight->cut_later ? next_index : flight->cut_later;
    log_spans_add(&log->spans, log->position.place, size, live_index);
    log->position.place.offset += size;
    log->position.next_sequence++;
    log->position.checksum = log->chained_checksum;
    log->position.next_index = next_index;
    log->durable_ticket = flight->last_ticket;
    log->counters.batch_count++;
    log->counters.batch_bytes += size;
    log->counters.record_count += flight->record_count;
    *flight = (struct log_batch){.data = flight->data};
    log->step = LOG_STEP_NONE;
}

static void step_landed(struct log *log)
{
    ASSERT(!log->counters.write_in_flight);
    switch (log->step) {
    case LOG_STEP_STATE:
        take_step(log);
        return;
    case LOG_STEP_END:
        log->position.place.segment++;
        log->position.place.offset = LOG_BLOCK_SIZE;
        log->position.is_begun = false;
        log->position.next_sequence++;
        log->position.checksum = log->chained_checksum;
        take_step(log);
        return;
    case LOG_STEP_SEGMENT:
        log->position.is_begun = true;
        take_step(log);
        return;
    case LOG_STEP_BATCH:
        batch_landed(log);
        return;
    case LOG_STEP_NONE:
        break;
    }
    UNREACHABLE();
}

/* A failed write or filling ends the log: the first failure stays. */
static void take_verdict(struct log *log, enum error error)
{
    if (log->error == ERR_OK) {
        log->error = error;
    }
}

bool log_complete(struct log *log, const struct disk_completion *completion)
{
    if ((completion->tag & ~(uint64_t)LOG_TAG_PURPOSE) != log->tag) {
        return false;
    }
    switch (completion->tag & LOG_TAG_PURPOSE) {
    case LOG_TAG_WRITE:
        ASSERT(log->counters.write_in_flight);
        log->counters.write_in_flight = false;
        take_verdict(log, completion->error);
        if (log->error == ERR_OK) {
            step_landed(log);
        }
        return true;
    case LOG_TAG_FILL:
        ASSERT(log->is_filling);
        log->is_filling = false;
        take_verdict(log, completion->error);
        log->segment_ready += completion->error == ERR_OK;
        return true;
    case LOG_TAG_READ:
        log_fetch_take(log, completion->error);
        return true;
    default:
        UNREACHABLE();
    }
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
