/* log/repair.c: a fresh copy of the first damaged segment, with the right records in it.
 *
 * The copy holds the segment's live records in new batches: those in front of the damage, those
 * that were given, and those behind it. It begins with what the segment before it led to; its last
 * batch names what the segment behind it continues. Nothing but the copy is written until it is
 * complete and durable; then it takes the segment's place by one renaming. */
#include <string.h>

#include "base/assert.h"
#include "log/internal.h"
#include "log/log.h"

bool log_is_rotten(const struct log *log)
{
    ASSERT(log != NULL);
    return log->rot.is_present;
}

struct log_damage log_damage(const struct log *log)
{
    ASSERT(log_is_rotten(log));
    return log->rot.damage;
}

/* --- The copy -------------------------------------------------------------------------------- */

static enum error write_copy(struct log *log, uint32_t offset, const uint8_t *data, uint32_t size)
{
    struct disk_name name;

    ASSERT_VALUES((uint64_t)offset + size <= log->segment_size, offset, size);
    log_leftover_name(&name, log->prefix, LOG_LEFTOVER_REPAIR);
    return disk_write(log->disk, &name, offset, data, size);
}

/* Writes the records that wait as one batch. `last`: what follows is not simply the next batch. */
static enum error write_batch(struct log *log, struct log_batch_header *header)
{
    struct log_rot *rot = &log->rot;
    uint8_t *data = log->batches[0].data;

    header->sequence = rot->copy.next_sequence;
    header->identity = log->identity;
    header->total_size = log_batch_total_size(header->body_size);
    header->previous_checksum = rot->copy.checksum;
    if (rot->copy.place.offset + header->total_size > log->segment_size ||
        (header->resume_sequence != 0 && header->resume_sequence <= header->sequence)) {
        return ERR_FULL;
    }
    log_batch_seal(data, header, rot->copy.place);
    enum error error = write_copy(log, rot->copy.place.offset, data, header->total_size);
    rot->copy.place.offset += header->total_size;
    rot->copy.next_sequence++;
    rot->copy.checksum = header->checksum;
    return error;
}

static struct log_batch_header waiting_header(const struct log *log)
{
    const struct log_rot *rot = &log->rot;

    return (struct log_batch_header){
        .kind = rot->kind,
        .first_index = rot->copy.next_index,
        .cut_index = rot->kind == LOG_BATCH_TRUNCATE ? rot->copy.next_index : 0,
        .record_count = rot->record_count,
        .body_size = rot->body_size,
        .hard_state = rot->start_state,
    };
}

static enum error flush_copy(struct log *log)
{
    struct log_rot *rot = &log->rot;
    struct log_batch_header header = waiting_header(log);

    if (rot->record_count == 0 && rot->kind == LOG_BATCH_APPEND) {
        return ERR_OK;
    }
    enum error error = write_batch(log, &header);
    rot->copy.next_index += rot->record_count;
    rot->record_count = 0;
    rot->body_size = 0;
    rot->kind = LOG_BATCH_APPEND;
    return error;
}

/* Where records end up when they are packed one after the other: true when all of them fit. */
static bool records_fit(const struct log *log, struct bytes records, uint32_t record_count)
{
    uint64_t offset = log->rot.copy.place.offset;
    uint32_t body_size = log->rot.body_size;
    uint32_t capacity = log_batch_body_capacity(log->batch_size_max);

    for (uint32_t i = 0; i < record_count; i++) {
        uint32_t size = load_u32(records.data);

        if (size > capacity - body_size) {
            offset += log_batch_total_size(body_size);
            body_size = 0;
        }
        if (size > capacity) {
            return false;
        }
        body_size += size;
        records = bytes_skip(records, size);
    }
    return offset + log_batch_total_size(body_size) + LOG_BLOCK_SIZE <= log->segment_size;
}

static enum error add_records(struct log *log, uint32_t record_count, struct bytes records)
{
    struct log_rot *rot = &log->rot;
    uint32_t capacity = log_batch_body_capacity(log->batch_size_max);

    if (!records_fit(log, records, record_count)) {
        return ERR_FULL;
    }
    for (uint32_t i = 0; i < record_count; i++) {
        uint32_t size = load_u32(records.data);
        enum error error = size > capacity - rot->body_size ? flush_copy(log) : ERR_OK;

        if (error != ERR_OK) {
            return error;
        }
        memcpy(log->batches[0].data + LOG_BATCH_HEADER_SIZE + rot->body_size, records.data, size);
        rot->body_size += size;
        rot->record_count++;
        records = bytes_skip(records, size);
    }
    rot->next_index += record_count;
    return ERR_OK;
}

/* Own records from `index` up to `end_index`, which the damaged log still has. */
static enum error copy_own(struct log *log, log_index index, log_index end_index)
{
    while (index < end_index) {
        struct log_fetched fetched;
        enum error error = log_read_now(log, index, &fetched);

        if (error != ERR_OK) {
            return error == ERR_MISSING ? ERR_CORRUPT : error;
        }
        uint32_t count = fetched.record_count < end_index - index ? fetched.record_count
                                                                  : (uint32_t)(end_index - index);

        error = add_records(log, count, fetched.records);
        if (error != ERR_OK) {
            return error;
        }
        index += count;
    }
    return ERR_OK;
}

/* Fills the copy with zeros, writes its header and the own records in front of `first_index`. */
static enum error begin_copy(struct log *log, log_index first_index)
{
    struct log_rot *rot = &log->rot;
    log_index begin_index = rot->own_first < first_index ? rot->own_first : first_index;
    struct disk_name name;

    if (first_index > rot->damage.first_index || rot->front_is_lost) {
        /* Nothing in front is kept. */
        begin_index = first_index;
    }
    rot->has_base = rot->has_base || first_index > rot->damage.first_index;
    if (rot->start.next_index == 0) {
        rot->start.next_index = begin_index;
    }
    rot->copy = rot->start;
    rot->copy.place = (struct log_place){.segment = rot->segment, .offset = LOG_BLOCK_SIZE};
    struct log_segment_header header = {
        .identity = log->identity,
        .sequence = rot->segment,
        .first_batch_sequence = rot->start.next_sequence,
        .previous_checksum = rot->start.checksum,
        .segment_size = log->segment_size,
        .next_index = rot->start.next_index,
    };

    rot->kind = rot->has_base || begin_index > rot->start.next_index ? LOG_BATCH_SNAPSHOT_BASE
                : begin_index < rot->start.next_index                ? LOG_BATCH_TRUNCATE
                                                                     : LOG_BATCH_APPEND;
    rot->copy.next_index = begin_index;
    rot->next_index = begin_index;
    rot->body_size = 0;
    rot->record_count = 0;
    log_leftover_name(&name, log->prefix, LOG_LEFTOVER_REPAIR);
    enum error error = disk_fill(log->disk, &name, log->segment_size);
    if (error == ERR_OK) {
        log_segment_encode(log->block, &header);
        error = write_copy(log, 0, log->block, LOG_BLOCK_SIZE);
    }
    if (error != ERR_OK) {
        return error;
    }
    rot->is_copying = true;
    return copy_own(log, begin_index, first_index);
}

/* --- Giving records -------------------------------------------------------------------------- */

static bool may_begin_at(const struct log *log, log_index first_index)
{
    const struct log_rot *rot = &log->rot;

    return first_index > rot->damage.first_index ||
           (first_index >= 1 && (rot->front_is_lost || first_index >= log_first_index(log)));
}

enum error log_repair(struct log *log, log_index first_index, uint32_t record_count,
                      struct bytes records)
{
    struct log_rot *rot = &log->rot;
    enum error error = ERR_OK;

    ASSERT(log_is_rotten(log));
    if (!log_records_are_whole(records, record_count) ||
        (rot->is_copying ? first_index != rot->next_index : !may_begin_at(log, first_index))) {
        return ERR_INVALID;
    }
    if (!rot->is_copying) {
        error = begin_copy(log, first_index);
    }
    return error == ERR_OK ? add_records(log, record_count, records) : error;
}

/* --- The end --------------------------------------------------------------------------------- */

/* The last batch of a copy behind which the log goes on to be written. */
static enum error end_log(struct log *log)
{
    struct log_rot *rot = &log->rot;
    struct log_batch_header header = waiting_header(log);

    header.hard_state = log->hard_state.generation > rot->start_state.generation ? log->hard_state
                                                                                 : rot->start_state;
    if (rot->sequence_min > rot->copy.next_sequence + 1) {
        header.resume_sequence = rot->sequence_min;
        header.resume_checksum = rot->copy.checksum;
    }
    return write_batch(log, &header);
}

/* The end batch of a copy that another segment continues. */
static enum error end_segment(struct log *log)
{
    struct log_rot *rot = &log->rot;
    enum error error = flush_copy(log);
    struct log_batch_header header = {
        .kind = LOG_BATCH_END,
        .first_index = rot->link_index,
        .hard_state = rot->start_state,
        .resume_sequence = rot->link_sequence,
        .resume_checksum = rot->link_checksum,
    };

    return error == ERR_OK ? write_batch(log, &header) : error;
}

/* Newest first: what is left is a log with rot as before, whenever a crash comes. */
static enum error remove_later_segments(struct log *log)
{
    struct disk_name target;

    log_leftover_name(&target, log->prefix, LOG_LEFTOVER_REMOVED);
    for (uint64_t segment = log->rot.segment_last; segment > log->rot.segment; segment--) {
        struct disk_name source;

        log_segment_name(&source, log->prefix, segment);
        enum error error = disk_rename(log->disk, &source, &target);
        if (error != ERR_OK && error != ERR_MISSING) {
            return error;
        }
    }
    return ERR_OK;
}

static enum error complete_copy(struct log *log, bool keeps_end)
{
    struct log_rot *rot = &log->rot;

    if (!keeps_end) {
        enum error error = end_log(log);

        return error == ERR_OK ? remove_later_segments(log) : error;
    }
    if (rot->damage.end_index == 0 || rot->next_index < rot->damage.end_index ||
        rot->next_index > rot->own_end) {
        return ERR_INVALID;
    }
    enum error error = copy_own(log, rot->next_index, rot->own_end);
    if (error != ERR_OK) {
        return error;
    }
    return rot->has_link ? end_segment(log) : end_log(log);
}

enum error log_repair_end(struct log *log, bool keeps_end)
{
    struct log_rot *rot = &log->rot;
    enum error error = ERR_OK;
    struct disk_name source;
    struct disk_name target;

    ASSERT(log_is_rotten(log));
    if (!rot->is_copying) {
        error = begin_copy(log, rot->damage.first_index);
    }
    if (error == ERR_OK) {
        error = complete_copy(log, keeps_end);
    }
    if (error != ERR_OK) {
        return error;
    }
    log_leftover_name(&source, log->prefix, LOG_LEFTOVER_REPAIR);
    log_segment_name(&target, log->prefix, rot->segment);
    return disk_rename(log->disk, &source, &target);
}
