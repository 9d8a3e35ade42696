/* log/recover.c: opening what is on the disk. Everything is judged before anything is changed.
 *
 * The decision table with its reasons is in docs/log.md; what follows the last good batch is
 * judged in log/judge.c, the hard state file in log/hard_state.c. */
#include <string.h>

#include "base/assert.h"
#include "log/recovery.h"

/* Names the place of an error for the person who reads it. */
enum error recovery_refuse(struct recovery *recovery, struct log_place place, enum error error)
{
    struct log_recovery *report = recovery->report;

    ASSERT(error != ERR_OK);
    if (error == ERR_CORRUPT) {
        report->verdict = LOG_ROTTEN;
    }
    if (place.segment == 0) {
        log_state_name(&report->file, recovery->log->prefix);
    } else {
        log_segment_name(&report->file, recovery->log->prefix, place.segment);
    }
    report->offset = place.offset;
    return error;
}

enum error recovery_read(struct recovery *recovery, struct log_place place, uint32_t size,
                         const uint8_t **data)
{
    struct log *log = recovery->log;
    struct disk_name name;

    ASSERT_VALUES((uint64_t)place.offset + size <= log->segment_size, place.offset, size);
    log_segment_name(&name, log->prefix, place.segment);
    enum error error = log_window_read(&log->window, log->disk, &name, place, size, data);
    return error == ERR_OK ? ERR_OK : recovery_refuse(recovery, place, error);
}

/* --- The files ------------------------------------------------------------------------------- */

/* A repair that was cut short, or has ended: to be removed. */
static bool is_leftover(const struct log *log, const struct disk_name *name)
{
    for (unsigned i = 0; i < LOG_LEFTOVER_COUNT; i++) {
        struct disk_name leftover;

        log_leftover_name(&leftover, log->prefix, (enum log_leftover)i);
        if (memcmp(name->text, leftover.text, strlen(leftover.text) + 1) == 0) {
            return true;
        }
    }
    return false;
}

/* Segments are numbered without a gap: a missing one is damage. */
static enum error find_files(struct recovery *recovery, struct disk_name *names, uint32_t names_max)
{
    struct log *log = recovery->log;
    struct disk_name state_name;
    char prefix[LOG_PREFIX_LENGTH_MAX + 2];
    size_t length = strlen(log->prefix);
    uint32_t count = 0;

    memcpy(prefix, log->prefix, length);
    memcpy(prefix + length, "-", 2);
    log_state_name(&state_name, log->prefix);
    enum error error = disk_list(log->disk, prefix, names, names_max, &count);
    if (error != ERR_OK) {
        return error;
    }
    ASSERT(count <= names_max);
    for (uint32_t i = 0; i < count; i++) {
        uint64_t sequence = 0;

        if (memcmp(names[i].text, state_name.text, strlen(state_name.text) + 1) == 0) {
            recovery->has_state_file = true;
        } else if (is_leftover(log, &names[i])) {
            log->has_leftovers = true;
        } else if (log_segment_name_parse(&names[i], log->prefix, &sequence)) {
            uint64_t expected = recovery->segment_last + 1;

            if (sequence == 0 || sequence > UINT32_MAX) {
                return recovery_refuse(recovery, (struct log_place){.segment = expected},
                                       ERR_CORRUPT);
            }
            if (recovery->segment_last != 0 && sequence != expected && recovery->segment_gap == 0) {
                recovery->segment_gap = expected;
            }
            recovery->segment_first =
                recovery->segment_first == 0 ? sequence : recovery->segment_first;
            recovery->segment_last = sequence;
        }
    }
    if (recovery->segment_last == 0) {
        return ERR_OK;
    }
    if (recovery->segment_last - recovery->segment_first >= log->segments.count_max) {
        return ERR_FULL;
    }
    log_segments_found(&log->segments, recovery->segment_first, recovery->segment_last);
    if (recovery->segment_gap != 0 && !log->accepts_rot) {
        return recovery_refuse(recovery, (struct log_place){.segment = recovery->segment_gap},
                               ERR_CORRUPT);
    }
    return ERR_OK;
}

static enum error check_size(struct recovery *recovery, uint64_t segment)
{
    struct log *log = recovery->log;
    struct log_place place = {.segment = segment};
    struct disk_name name;
    uint64_t size = 0;

    ASSERT(segment >= 1);
    log_segment_name(&name, log->prefix, segment);
    enum error error = disk_size(log->disk, &name, &size);
    if (error != ERR_OK) {
        return recovery_refuse(recovery, place, error);
    }
    if (size == log->segment_size) {
        return ERR_OK;
    }
    /* Made with other options, or no longer what it was: its header knows. */
    const uint8_t *block = NULL;
    struct log_segment_header header;

    error = size < LOG_BLOCK_SIZE ? ERR_CORRUPT
                                  : recovery_read(recovery, place, LOG_BLOCK_SIZE, &block);
    if (error == ERR_OK) {
        error = log_segment_decode(block, segment, &header);
    }
    bool is_foreign = error == ERR_OK && header.segment_size == size;

    return recovery_refuse(recovery, place, is_foreign ? ERR_INVALID : ERR_CORRUPT);
}

/* ERR_CORRUPT unless the segment is all zeros from `place` on. */
static enum error check_zeros(struct recovery *recovery, struct log_place place)
{
    uint32_t segment_size = recovery->log->segment_size;

    ASSERT(place.offset % LOG_BLOCK_SIZE == 0);
    while (place.offset < segment_size) {
        const uint8_t *data = NULL;
        uint32_t size =
            (uint32_t)size_min(segment_size - place.offset, recovery->log->window.capacity);
        enum error error = recovery_read(recovery, place, size, &data);

        if (error != ERR_OK) {
            return error;
        }
        if (!log_is_zero(data, size)) {
            return recovery_refuse(recovery, place, ERR_CORRUPT);
        }
        place.offset += size;
    }
    return ERR_OK;
}

/* --- Batches --------------------------------------------------------------------------------- */

/* An intact batch must be the one that was to come. */
static bool batch_continues(const struct recovery *recovery, const struct log_batch_header *header)
{
    const struct log_position *position = &recovery->log->position;

    if (header->sequence != position->next_sequence ||
        header->previous_checksum != position->checksum) {
        return false;
    }
    bool is_free = header->kind == LOG_BATCH_SNAPSHOT_BASE ||
                   (header->kind == LOG_BATCH_END && header->resume_sequence != 0);

    if (!is_free &&
        (header->kind == LOG_BATCH_TRUNCATE ? header->first_index >= position->next_index
                                            : header->first_index != position->next_index)) {
        return false;
    }
    ASSERT(header->first_index >= 1);
    return header->hard_state.generation > recovery->hard_state.generation ||
           log_hard_state_equal(&header->hard_state, &recovery->hard_state);
}

static void cut(struct recovery *recovery, log_index index)
{
    struct log *log = recovery->log;
    struct log_damage *damage = &log->rot.damage;

    log_spans_cut(&log->spans, index);
    if (!recovery->is_behind) {
        log_segments_cut(&log->segments, index);
    } else if (index < damage->end_index) {
        damage->end_index = index;
    }
    if (index <= recovery->hole_index) {
        recovery->hole_index = 0;
    }
}

void recovery_go_to(struct recovery *recovery, log_index index)
{
    struct log *log = recovery->log;
    struct log_spans *spans = &log->spans;

    ASSERT(index >= 1);
    if (index < spans->next_index) {
        cut(recovery, index);
    } else if (index > spans->next_index) {
        recovery->hole_index = recovery->hole_index == 0 ? spans->next_index : recovery->hole_index;
        log_spans_skip(spans, index);
    }
    log->position.next_index = index;
}

/* Behind damage nothing is dropped: what would follow from that is not kept either. */
static void note_durable(struct recovery *recovery, const struct log_batch_header *header)
{
    struct log_segments *segments = &recovery->log->segments;

    ASSERT(header->kind != LOG_BATCH_END);
    if (recovery->is_behind) {
        return;
    }
    if (header->kind == LOG_BATCH_SNAPSHOT_BASE) {
        log_segments_restart(segments, header->first_index);
    }
    log_segments_extend(segments, header->first_index + header->record_count);
}

static enum error accept_batch(struct recovery *recovery, const struct log_batch_header *header)
{
    struct log *log = recovery->log;
    struct log_position *position = &log->position;
    log_index next_index = header->first_index + header->record_count;

    ASSERT(header->total_size >= LOG_BLOCK_SIZE);
    if (header->kind == LOG_BATCH_END) {
        recovery_go_to(recovery, header->first_index);
        recovery->has_ended = true;
    } else {
        if (header->kind == LOG_BATCH_SNAPSHOT_BASE) {
            log_spans_restart(&log->spans, header->first_index);
            recovery->report->base_index = header->first_index;
            recovery->hole_index = 0;
            log->rot.damage_is_void = true;
        } else if (header->cut_index != 0) {
            cut(recovery, header->cut_index);
        }
        note_durable(recovery, header);
        log_spans_add(&log->spans, position->place, header->total_size, next_index);
        position->next_index = next_index;
    }
    position->place.offset += header->total_size;
    position->next_sequence = log_batch_next_sequence(header);
    position->checksum = log_batch_next_chain(header);
    recovery->hard_state = header->hard_state;
    recovery->report->batch_count++;
    recovery->report->last_index = next_index - 1;
    return ERR_OK;
}

/* No intact batch begins at the position: the rest of the segment says why. */
static enum error judge_tail(struct recovery *recovery)
{
    struct log *log = recovery->log;
    struct log_place place = log->position.place;
    uint32_t size = (uint32_t)size_min(log->segment_size - place.offset, log->batch_size_max);
    struct log_place behind = {.segment = place.segment, .offset = place.offset + size};
    const uint8_t *region = NULL;

    ASSERT(size >= LOG_BLOCK_SIZE);
    /* One torn write does not reach further than the largest batch. */
    enum error error = check_zeros(recovery, behind);
    if (error == ERR_OK) {
        error = recovery_read(recovery, place, size, &region);
    }
    if (error != ERR_OK) {
        return error;
    }
    recovery->tail = log_tail_judge(bytes_of(region, size), place, log->position.next_sequence,
                                    log->position.checksum);
    if (recovery->tail.verdict == LOG_TAIL_ROTTEN) {
        place.offset += recovery->tail.damage_offset;
        return recovery_refuse(recovery, place, ERR_CORRUPT);
    }
    return ERR_OK;
}

/* What a batch with a valid header is refused for, apart from damage. */
static enum error check_header(struct recovery *recovery, const struct log_batch_header *header)
{
    struct log *log = recovery->log;
    struct log_place place = log->position.place;
    enum error error = log_identity_compare(&log->identity, &header->identity);

    ASSERT(place.offset < log->segment_size);
    if (error == ERR_OK && header->total_size > log->batch_size_max) {
        error = ERR_FULL;
    }
    return error == ERR_OK ? ERR_OK : recovery_refuse(recovery, place, error);
}

/* Takes the batch at the position, or finds that the log ends there (`*is_batch` is false). */
enum error recovery_scan_batch(struct recovery *recovery, bool *is_batch)
{
    struct log *log = recovery->log;
    struct log_place place = log->position.place;
    struct log_batch_header header;
    const uint8_t *data = NULL;

    *is_batch = false;
    if (place.offset == log->segment_size) {
        /* Only an end batch may reach the end of its segment. */
        return recovery_refuse(recovery, place, ERR_CORRUPT);
    }
    enum error error = recovery_read(recovery, place, LOG_BLOCK_SIZE, &data);
    if (error != ERR_OK) {
        return error;
    }
    error = log_batch_decode(data, place, &header);
    if (error == ERR_VERSION) {
        return recovery_refuse(recovery, place, error);
    }
    if (error == ERR_OK) {
        error = check_header(recovery, &header);
        if (error != ERR_OK) {
            return error;
        }
        if (!batch_continues(recovery, &header) ||
            header.total_size > log->segment_size - place.offset) {
            return recovery_refuse(recovery, place, ERR_CORRUPT);
        }
        error = recovery_read(recovery, place, header.total_size, &data);
        if (error != ERR_OK) {
            return error;
        }
        if (log_batch_is_intact(data, &header, place)) {
            *is_batch = true;
            return accept_batch(recovery, &header);
        }
    }
    return judge_tail(recovery);
}

/* --- Segments -------------------------------------------------------------------------------- */

static void enter_segment(struct recovery *recovery, uint64_t segment)
{
    struct log *log = recovery->log;

    ASSERT(segment >= recovery->segment_first);
    log->position.place = (struct log_place){.segment = segment, .offset = LOG_BLOCK_SIZE};
    log->position.is_begun = false;
    recovery->has_ended = false;
    if (segment > recovery->segment_first && !recovery->is_behind) {
        log_segments_advance(&log->segments, log->position.next_index);
    }
    if (!recovery->is_behind) {
        recovery->start = log->position;
        recovery->start_state = recovery->hard_state;
        recovery->start_base = recovery->report->base_index;
    }
}

/* The segments before this one were dropped: its word is taken for what they led to. */
static enum error begin_log(struct recovery *recovery, const struct log_segment_header *header)
{
    struct log *log = recovery->log;
    struct log_place place = {.segment = header->sequence};

    if (header->next_index == 0 || header->first_batch_sequence == 0 ||
        header->segment_size != log->segment_size) {
        return recovery_refuse(recovery, place, ERR_CORRUPT);
    }
    log->position.next_sequence = header->first_batch_sequence;
    log->position.checksum = header->previous_checksum;
    log->position.next_index = header->next_index;
    enter_segment(recovery, header->sequence);
    log->position.is_begun = true;
    log_spans_restart(&log->spans, header->next_index);
    recovery->report->last_index = header->next_index - 1;
    return ERR_OK;
}

static enum error begin_segment(struct recovery *recovery, const struct log_segment_header *header)
{
    struct log *log = recovery->log;
    struct log_position *position = &log->position;
    struct log_place place = {.segment = header->sequence};
    enum error error = log_identity_compare(&log->identity, &header->identity);

    ASSERT(header->sequence >= 1);
    if (error != ERR_OK) {
        return recovery_refuse(recovery, place, error);
    }
    if (header->sequence == recovery->segment_first && header->sequence > 1) {
        return begin_log(recovery, header);
    }
    if (header->sequence > 1 && !recovery->has_ended) {
        /* This segment was begun when the one before it had been ended: its end is missing. */
        return recovery_refuse(recovery, position->place, ERR_CORRUPT);
    }
    if (header->first_batch_sequence != position->next_sequence ||
        header->previous_checksum != position->checksum ||
        header->segment_size != log->segment_size ||
        (header->next_index != 0 && header->next_index != position->next_index)) {
        return recovery_refuse(recovery, place, ERR_CORRUPT);
    }
    enter_segment(recovery, header->sequence);
    position->is_begun = true;
    return ERR_OK;
}

enum error recovery_scan_segment(struct recovery *recovery, uint64_t segment, bool *is_begun)
{
    struct log_place place = {.segment = segment};
    struct log_segment_header header;
    const uint8_t *block = NULL;
    bool is_batch = true;

    *is_begun = false;
    enum error error = check_size(recovery, segment);
    if (error == ERR_OK) {
        error = recovery_read(recovery, place, LOG_BLOCK_SIZE, &block);
    }
    if (error != ERR_OK) {
        return error;
    }
    error = log_segment_decode(block, segment, &header);
    if (error == ERR_MISSING) {
        return ERR_OK;
    }
    if (error != ERR_OK) {
        return recovery_refuse(recovery, place, error);
    }
    *is_begun = true;
    error = begin_segment(recovery, &header);
    while (error == ERR_OK && is_batch && !recovery->has_ended) {
        error = recovery_scan_batch(recovery, &is_batch);
    }
    return error;
}

enum error recovery_scan_ahead(struct recovery *recovery, uint64_t segment)
{
    enum error error = ERR_OK;

    ASSERT(segment >= 1);
    while (error == ERR_OK && segment <= recovery->segment_last) {
        error = check_size(recovery, segment);
        if (error == ERR_OK) {
            error = check_zeros(recovery, (struct log_place){.segment = segment});
        }
        segment++;
    }
    return error;
}

static enum error scan_segments(struct recovery *recovery)
{
    struct log_position *position = &recovery->log->position;
    bool is_begun = true;

    position->place = (struct log_place){
        .segment = recovery->segment_first == 0 ? 1 : recovery->segment_first,
        .offset = LOG_BLOCK_SIZE,
    };
    recovery->start = *position;
    if (recovery->segment_first > 1) {
        recovery->start.next_index = 0; /* Its header knows; nothing else does. */
    }
    if (recovery->segment_first == 0) {
        return ERR_OK;
    }
    for (uint64_t segment = recovery->segment_first; segment <= recovery->segment_last; segment++) {
        if (segment == recovery->segment_gap) {
            return recovery_refuse(recovery, (struct log_place){.segment = segment}, ERR_CORRUPT);
        }
        enum error error = recovery_scan_segment(recovery, segment, &is_begun);

        if (error == ERR_OK && !is_begun) {
            /* Once one was not begun, none behind it was: all of them are still zeros. */
            error = recovery_scan_ahead(recovery, segment);
            segment = recovery->segment_last;
        }
        if (error != ERR_OK) {
            return error;
        }
        recovery->report->segment_count += is_begun;
    }
    if (recovery->segment_first > 1 && recovery->report->batch_count == 0) {
        /* Earlier segments go only when a later one has a batch: here it has lost its own. */
        return recovery_refuse(recovery, (struct log_place){.segment = recovery->segment_first},
                               ERR_CORRUPT);
    }
    if (recovery->hole_index != 0) {
        return recovery_refuse(recovery, position->place, ERR_CORRUPT);
    }
    if (recovery->has_ended) {
        /* An end batch is written only when the next segment is there. */
        uint64_t next = position->place.segment + 1;

        if (next > recovery->segment_last) {
            return recovery_refuse(recovery, (struct log_place){.segment = next}, ERR_CORRUPT);
        }
        enter_segment(recovery, next);
    }
    return ERR_OK;
}

enum error log_recover(struct log *log, struct disk_name *names, uint32_t names_max,
                       struct log_recovery *report)
{
    struct recovery recovery = {.log = log, .report = report};

    ASSERT(report->verdict == LOG_CLEAN);
    enum error error = find_files(&recovery, names, names_max);
    bool is_listed = error == ERR_OK;

    if (error == ERR_OK) {
        error = scan_segments(&recovery);
    }
    bool is_scanned = error == ERR_OK;

    recovery.choice.hard_state = recovery.hard_state;
    if (error == ERR_OK) {
        error = recovery_choose_state(&recovery);
    }
    if (error == ERR_OK) {
        report->state_is_certain = true;
    } else if (report->verdict == LOG_ROTTEN) {
        report->state_is_certain = recovery_peek_state(&recovery);
        /* Of a hard state file that contradicts itself nothing can be repaired. */
        if (log->accepts_rot && is_listed && (!is_scanned || recovery.state_is_readable)) {
            error = recovery_survey(&recovery);
        }
    }
    report->first_index = log_spans_first_index(&log->spans);
    log->hard_state = recovery.choice.hard_state;
    report->hard_state = bytes_of(log->hard_state.data, log->hard_state.size);
    return error == ERR_OK && !log->rot.is_present ? recovery_make_ready(&recovery) : error;
}
