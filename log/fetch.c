/* log/fetch.c: reading records back, one span at a time.
 *
 * The whole span is read and its batches are replayed within the window's memory: the records of
 * each are moved up against those before them, and what a later batch cuts off is dropped again.
 * Cuts that came after the span, or while it was being read, are known as `end_index`. */
#include <string.h>

#include "base/assert.h"
#include "log/internal.h"
#include "log/log.h"

/* The live records of the batches seen so far, at the front of the window. */
struct replay {
    uint8_t *data;
    size_t size;
    log_index first_index; /* Of the first record in `data`; 0 before the first batch. */
    log_index next_index;
};

static struct bytes replayed(const struct replay *replay)
{
    return bytes_of(replay->data, replay->size);
}

static void replay_cut(struct replay *replay, log_index index)
{
    if (index <= replay->first_index) {
        replay->first_index = index;
        replay->size = 0;
    } else {
        ASSERT_VALUES(index <= replay->next_index, index, replay->next_index);
        replay->size = log_records_size(replayed(replay), index - replay->first_index);
    }
    replay->next_index = index;
}

static enum error replay_batch(struct replay *replay, const uint8_t *batch,
                               const struct log_batch_header *header)
{
    struct bytes records = log_batch_records(batch, header);

    if (replay->first_index == 0) {
        replay->first_index = header->first_index;
        replay->next_index = header->first_index;
    }
    if (header->first_index > replay->next_index) {
        return ERR_CORRUPT;
    }
    if (header->first_index < replay->next_index) {
        if (header->kind != LOG_BATCH_TRUNCATE) {
            return ERR_CORRUPT;
        }
        replay_cut(replay, header->first_index);
    }
    /* What is kept is never longer than the batches it came from: it cannot overtake them. */
    ASSERT(replay->data + replay->size <= records.data);
    memmove(replay->data + replay->size, records.data, records.size);
    replay->size += records.size;
    replay->next_index += header->record_count;
    return ERR_OK;
}

/* Replays the batches of a span that is in memory. */
static enum error replay_span(const struct log *log, struct replay *replay)
{
    const struct log_span *span = &log->fetch.span;
    uint64_t sequence = 0;

    ASSERT(span->size <= log->window.capacity);
    for (uint32_t at = 0; at < span->size;) {
        const uint8_t *batch = replay->data + at;
        struct log_batch_header header;
        struct log_place place = {.segment = span->place.segment,
                                  .offset = span->place.offset + at};
        enum error error = log_batch_decode(batch, place, &header);

        if (error != ERR_OK || header.total_size > span->size - at ||
            !log_identity_equal(&header.identity, &log->identity) ||
            (sequence != 0 && header.sequence != sequence) ||
            !log_batch_is_intact(batch, &header, place)) {
            return ERR_CORRUPT;
        }
        error = replay_batch(replay, batch, &header);
        if (error != ERR_OK) {
            return error;
        }
        sequence = log_batch_next_sequence(&header);
        at += header.total_size;
    }
    return ERR_OK;
}

/* Picks the records that were asked for out of the replayed ones. */
static enum error select_records(const struct log_fetch *fetch, const struct replay *replay,
                                 struct log_fetched *answer)
{
    log_index end_index =
        fetch->end_index < replay->next_index ? fetch->end_index : replay->next_index;

    ASSERT(fetch->first_index >= 1);
    if (fetch->first_index >= end_index) {
        /* Cut off meanwhile; if not, the span does not hold what it should. */
        return fetch->end_index <= fetch->first_index ? ERR_MISSING : ERR_CORRUPT;
    }
    if (fetch->first_index < replay->first_index) {
        return ERR_CORRUPT;
    }
    struct bytes records = replayed(replay);

    records =
        bytes_skip(records, log_records_size(records, fetch->first_index - replay->first_index));
    answer->record_count = (uint32_t)(end_index - fetch->first_index);
    answer->records = bytes_of(records.data, log_records_size(records, answer->record_count));
    return ERR_OK;
}

static void fetch_begin(struct log *log, log_index first_index)
{
    struct log_fetch *fetch = &log->fetch;

    ASSERT_VALUES(first_index >= 1 && first_index < log->spans.next_index, first_index,
                  log->spans.next_index);
    fetch->first_index = first_index;
    fetch->span = *log_spans_find(&log->spans, first_index, &fetch->end_index);
    fetch->answer = (struct log_fetched){.first_index = first_index};
    log_window_forget(&log->window);
}

void log_fetch_take(struct log *log, enum error error)
{
    struct log_fetch *fetch = &log->fetch;
    struct replay replay = {.data = log->window.data};

    ASSERT(fetch->state == LOG_FETCH_READING);
    if (error == ERR_OK) {
        error = replay_span(log, &replay);
    }
    if (error == ERR_OK) {
        error = select_records(fetch, &replay, &fetch->answer);
    }
    fetch->answer.error = error;
    fetch->state = LOG_FETCH_READY;
}

void log_fetch_cut(struct log *log, log_index index)
{
    struct log_fetch *fetch = &log->fetch;

    ASSERT(index >= 1);
    log_spans_cut(&log->spans, index);
    if (fetch->state == LOG_FETCH_IDLE || fetch->end_index <= index) {
        return;
    }
    fetch->end_index = index;
    if (fetch->state == LOG_FETCH_READING || fetch->answer.error != ERR_OK) {
        return;
    }
    /* The answer waits to be taken: what was cut is not to be in it. */
    if (index <= fetch->first_index) {
        fetch->answer =
            (struct log_fetched){.first_index = fetch->first_index, .error = ERR_MISSING};
    } else if (index < fetch->first_index + fetch->answer.record_count) {
        fetch->answer.record_count = (uint32_t)(index - fetch->first_index);
        fetch->answer.records.size =
            log_records_size(fetch->answer.records, fetch->answer.record_count);
    }
}

/* The record was dropped: the answer is there at once. */
static void fetch_missing(struct log_fetch *fetch, log_index first_index)
{
    fetch->first_index = first_index;
    fetch->end_index = first_index;
    fetch->answer = (struct log_fetched){.first_index = first_index, .error = ERR_MISSING};
    fetch->state = LOG_FETCH_READY;
}

bool log_fetch(struct log *log, log_index first_index)
{
    struct log_fetch *fetch = &log->fetch;

    ASSERT(!log_is_rotten(log));
    ASSERT_VALUES(first_index >= 1 && first_index <= log->last_index, first_index, log->last_index);
    if (fetch->state != LOG_FETCH_IDLE || log->error != ERR_OK) {
        return false;
    }
    if (first_index < log_spans_first_index(&log->spans)) {
        fetch_missing(fetch, first_index);
        return true;
    }
    fetch_begin(log, first_index);
    fetch->state = LOG_FETCH_READING;
    struct disk_request request = {
        .operation = DISK_READ,
        .lane = DISK_LANE_BACKGROUND,
        .offset = fetch->span.place.offset,
        .data = log->window.data,
        .size = fetch->span.size,
        .tag = log->tag | LOG_TAG_READ,
    };

    log_segment_name(&request.name, log->prefix, fetch->span.place.segment);
    disk_submit(log->disk, &request);
    return true;
}

bool log_fetched(struct log *log, struct log_fetched *fetched)
{
    ASSERT(fetched != NULL);
    if (log->fetch.state != LOG_FETCH_READY) {
        return false;
    }
    *fetched = log->fetch.answer;
    log->fetch.state = LOG_FETCH_IDLE;
    return true;
}

enum error log_read_now(struct log *log, log_index first_index, struct log_fetched *fetched)
{
    struct log_fetch *fetch = &log->fetch;
    uint64_t size_read = 0;

    ASSERT(first_index >= 1);
    ASSERT(fetch->state == LOG_FETCH_IDLE);
    *fetched = (struct log_fetched){.first_index = first_index, .error = ERR_MISSING};
    if (first_index < log_spans_first_index(&log->spans) || first_index >= log->spans.next_index) {
        return fetched->error;
    }
    fetch_begin(log, first_index);
    struct disk_name name;

    log_segment_name(&name, log->prefix, fetch->span.place.segment);
    enum error error = disk_read(log->disk, &name, fetch->span.place.offset, log->window.data,
                                 fetch->span.size, &size_read);
    if (error == ERR_OK && size_read < fetch->span.size) {
        error = ERR_CORRUPT;
    }
    fetch->state = LOG_FETCH_READING;
    log_fetch_take(log, error);
    fetch->state = LOG_FETCH_IDLE;
    *fetched = fetch->answer;
    return fetched->error;
}
