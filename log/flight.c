/* log/flight.c: the flights that make what was staged durable.
 *
 * Durability rests on three rules that this file keeps. One request of the log lane is under way
 * at a time: so at most the last write of a log can be torn. A flight's next step is submitted
 * only when the one before it is durable: so a batch never exists without its segment's header,
 * nor a hard state in a batch without its block. Nothing is submitted after a failure. */
#include "base/assert.h"
#include "log/hard_state.h"
#include "log/internal.h"
#include "log/log.h"

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
        .next_index = log->position.next_index,
        .previous_checksum = log->position.checksum,
        .segment_size = log->segment_size,
    };
    struct disk_name name;

    ASSERT(!log->position.is_begun);
    ASSERT(header.sequence <= log->segments.ready);
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

    ASSERT(log->position.place.segment < log->segments.ready);
    submit_batch(log, &header, log->block);
}

static void submit_records(struct log *log)
{
    const struct log_batch *flight = log->flight;
    struct log_batch_header header = {
        .kind = flight->is_base      ? LOG_BATCH_SNAPSHOT_BASE
                : flight->is_cutting ? LOG_BATCH_TRUNCATE
                                     : LOG_BATCH_APPEND,
        .first_index = flight->first_index,
        .cut_index = flight->is_cutting ? flight->first_index : 0,
        .record_count = flight->record_count,
        .body_size = flight->body_size,
        .total_size = log_batch_total_size(flight->body_size),
    };

    if (!flight->is_base) {
        ASSERT(flight->is_cutting ? flight->first_index < log->position.next_index
                                  : flight->first_index == log->position.next_index);
    }
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

/* True when the staged batch has to wait for the next segment. */
static bool needs_segment(const struct log *log)
{
    return log->step == LOG_STEP_NONE && log->staged->is_used &&
           log->position.place.segment == log->segments.ready &&
           !log_fits(log, log->position.place, log_batch_total_size(log->staged->body_size));
}

static void submit_slow(struct log *log, enum disk_operation operation, uint64_t segment,
                        uint64_t size, uint64_t purpose)
{
    struct disk_request request = {
        .operation = operation,
        .lane = DISK_LANE_BACKGROUND,
        .size = size,
        .tag = log->tag | purpose,
    };

    ASSERT(log->error == ERR_OK);
    log_segment_name(&request.name, log->prefix, segment);
    disk_submit(log->disk, &request);
}

/* Makes the next segments and removes the oldest, one of each at a time. */
static void tend_segments(struct log *log)
{
    struct log_segments *segments = &log->segments;
    bool is_needed = needs_segment(log);

    if (log_segments_wants_removal(segments)) {
        segments->is_removing = true;
        submit_slow(log, DISK_REMOVE, segments->first, 0, LOG_TAG_REMOVE);
    }
    if (log_segments_wants_fill(segments, log->segments_ahead, is_needed)) {
        log_segments_fill_begun(segments, is_needed);
        submit_slow(log, DISK_FILL, segments->ready + 1, log->segment_size, LOG_TAG_FILL);
    }
    if (is_needed) {
        log->error = log_segments_verdict(segments);
    }
}

/* What a repair has left behind goes; it is no error that one of the files is absent. */
static void clear_leftovers(struct log *log)
{
    if (!log->has_leftovers) {
        return;
    }
    log->has_leftovers = false;
    for (unsigned i = 0; i < LOG_LEFTOVER_COUNT; i++) {
        struct disk_request request = {
            .operation = DISK_REMOVE,
            .lane = DISK_LANE_BACKGROUND,
            .tag = log->tag | LOG_TAG_CLEAR,
        };

        log_leftover_name(&request.name, log->prefix, (enum log_leftover)i);
        disk_submit(log->disk, &request);
    }
}

void log_flush(struct log *log)
{
    ASSERT(!log_is_rotten(log));
    if (log->error != ERR_OK) {
        return;
    }
    clear_leftovers(log);
    tend_segments(log);
    if (log->error != ERR_OK || log->step != LOG_STEP_NONE || !log->staged->is_used ||
        needs_segment(log)) {
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
    if (flight->is_base) {
        log_segments_restart(&log->segments, flight->first_index);
    } else if (flight->is_cutting) {
        log_segments_cut(&log->segments, flight->first_index);
    }
    log_segments_extend(&log->segments, next_index);
    if (!flight->is_void) {
        /* What was cut while it flew is dead on arrival. */
        log_index live_index = next_index < flight->cut_later ? next_index : flight->cut_later;

        log_spans_add(&log->spans, log->position.place, size, live_index);
    }
    log->position.place.offset += size;
    log->position.next_sequence++;
    log->position.checksum = log->chained_checksum;
    log->position.next_index = next_index;
    log->durable_ticket = flight->last_ticket;
    log->counters.batch_count++;
    log->counters.batch_bytes += size;
    log->counters.record_count += flight->record_count;
    log_release(log);
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
        log_segments_advance(&log->segments, log->position.next_index);
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

/* A failed write, filling or removal ends the log: the first failure stays. */
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
        log_segments_filled(&log->segments, completion->error);
        if (completion->error != ERR_NO_SPACE) {
            take_verdict(log, completion->error);
        }
        return true;
    case LOG_TAG_REMOVE:
        take_verdict(log, completion->error);
        if (completion->error == ERR_OK) {
            log_segments_removed(&log->segments);
        }
        return true;
    case LOG_TAG_CLEAR:
        take_verdict(log, completion->error);
        return true;
    case LOG_TAG_READ:
        log_fetch_take(log, completion->error);
        return true;
    default:
        UNREACHABLE();
    }
}
