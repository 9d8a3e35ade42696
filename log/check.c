/* log/check.c: asserts the numbered invariants of docs/log.md. */
#include "base/assert.h"
#include "log/internal.h"
#include "log/log.h"

static void check_position(const struct log *log)
{
    const struct log_position *position = &log->position;

    /* (1) The position is a block of a segment that exists, with room for an end batch. */
    ASSERT(position->place.segment >= 1);
    ASSERT_VALUES(position->place.segment == log->segments.active, position->place.segment,
                  log->segments.active);
    ASSERT(position->place.offset >= LOG_BLOCK_SIZE);
    ASSERT(position->place.offset % LOG_BLOCK_SIZE == 0);
    ASSERT(position->place.offset <= log->segment_size - LOG_BLOCK_SIZE);
    log_segments_check(&log->segments); /* (2) and (12). */
    /* (3) A segment that was not begun holds no batch. */
    ASSERT(position->is_begun || position->place.offset == LOG_BLOCK_SIZE);
    ASSERT(position->next_sequence >= 1 && position->next_index >= 1);
}

static void check_batches(const struct log *log)
{
    const struct log_batch *staged = log->staged;
    const struct log_batch *flight = log->flight;

    ASSERT(staged != flight);
    /* (4) A flight has a batch, and only a flight has a write under way. */
    ASSERT(flight->is_used == (log->step != LOG_STEP_NONE));
    ASSERT(!log->counters.write_in_flight || log->step != LOG_STEP_NONE);
    if (log->step != LOG_STEP_NONE && log->error == ERR_OK) {
        ASSERT(log->counters.write_in_flight);
    }
    /* (5) Tickets: durable < in flight < staged, and the newest is staged, flying or durable. */
    uint64_t newest = staged->is_used   ? staged->last_ticket
                      : flight->is_used ? flight->last_ticket
                                        : log->durable_ticket;

    ASSERT_VALUES(newest == log->ticket, newest, log->ticket);
    if (flight->is_used) {
        ASSERT(flight->last_ticket > log->durable_ticket);
    }
    if (staged->is_used && flight->is_used) {
        ASSERT(staged->last_ticket > flight->last_ticket);
    }
}

static void check_staged(const struct log *log)
{
    const struct log_batch *staged = log->staged;
    struct bytes body = bytes_of(staged->data + LOG_BATCH_HEADER_SIZE, staged->body_size);

    if (!staged->is_used) {
        return;
    }
    /* (6) What is staged is whole records, ends with the last index, and fits one batch. */
    ASSERT(staged->body_size <= log_batch_body_capacity(log->batch_size_max));
    ASSERT(log_records_are_whole(body, staged->record_count));
    ASSERT_VALUES(staged->first_index + staged->record_count == log->last_index + 1,
                  staged->first_index, log->last_index);
    if (staged->is_base) {
        ASSERT(!staged->is_cutting);
        ASSERT(!log->flight->is_used || log->flight->is_void);
        return;
    }
    /* (7) What is staged follows, or cuts into, what is in flight or on the disk. */
    log_index before = log->flight->is_used ? log->flight->first_index + log->flight->record_count
                                            : log->position.next_index;

    ASSERT(staged->is_cutting ? staged->first_index < before : staged->first_index == before);
}

static void check_hard_state(const struct log *log)
{
    bool is_pending = log->staged->is_used && log->staged->state_changed;

    /* (8) There is a hard state exactly when it has a generation, or is about to get one. */
    ASSERT(log->hard_state.size <= LOG_HARD_STATE_SIZE_MAX);
    if (!is_pending) {
        ASSERT((log->hard_state.size == 0) == (log->hard_state.generation == 0));
    }
    if (log->flight->is_used) {
        ASSERT(log->flight->hard_state.generation <= log->hard_state.generation);
    }
}

void log_check(const struct log *log)
{
    check_position(log);
    check_batches(log);
    check_staged(log);
    check_hard_state(log);
    /* (9) Live records on the disk are neither behind the last index nor behind the position. */
    ASSERT(log->spans.next_index <= log->last_index + 1);
    if (log_spans_first_index(&log->spans) < log->spans.next_index) {
        ASSERT(log->spans.next_index <= log->position.next_index);
        /* (13) They lie in segments that are kept. */
        ASSERT(log->spans.spans[0].place.segment >= log->segments.kept);
    }
    /* (14) What was dropped is neither cut nor missing in front of what is live. */
    ASSERT(log_spans_first_index(&log->spans) <= log->floor_index + 1);
    ASSERT(log->floor_index <= log->last_index);
    /* (10) The spans are those of docs/log.md. */
    log_spans_check(&log->spans);
    /* (11) A fetch never promises a record that is not live any more. */
    if (log->fetch.state != LOG_FETCH_IDLE) {
        ASSERT(log->fetch.end_index <= log->last_index + 1);
    }
}
