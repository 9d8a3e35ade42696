/* log/ready.c: the hard state of a log that is being opened, and then the only changes that opening
 * makes: a torn tail is cut, a damaged block of the hard state file mended, the first segment
 * made. */
#include <string.h>

#include "base/assert.h"
#include "log/recovery.h"

/* --- Hard state ------------------------------------------------------------------------------ */

/* The file's bytes, in the window's memory; zeros for what is missing. */
static enum error read_state_file(struct recovery *recovery, uint64_t *size_read)
{
    struct log *log = recovery->log;
    struct disk_name name;

    ASSERT(log->window.capacity >= LOG_STATE_FILE_SIZE);
    *size_read = 0;
    log_state_name(&name, log->prefix);
    log_window_forget(&log->window);
    memset(log->window.data, 0, LOG_STATE_FILE_SIZE);
    if (!recovery->has_state_file) {
        return ERR_OK;
    }
    return disk_read(log->disk, &name, 0, log->window.data, LOG_STATE_FILE_SIZE, size_read);
}

enum error recovery_choose_state(struct recovery *recovery)
{
    struct log *log = recovery->log;
    struct log_state_evidence evidence = {
        .identity = log->identity,
        .hard_state = recovery->hard_state,
        .batch_sequence = log->position.next_sequence - 1,
    };
    uint64_t size_read = 0;
    enum error error = read_state_file(recovery, &size_read);

    if (error == ERR_OK) {
        ASSERT(size_read <= LOG_STATE_FILE_SIZE);
        error = log_state_choose(log->window.data, &evidence, &recovery->choice);
    }
    if (size_read < LOG_STATE_FILE_SIZE && recovery->has_state_file) {
        recovery->choice.needs_repair = true;
    }
    return error == ERR_OK ? ERR_OK
                           : recovery_refuse(recovery, (struct log_place){.segment = 0}, error);
}

bool recovery_peek_state(struct recovery *recovery)
{
    struct log *log = recovery->log;
    struct log_state_choice choice;
    struct log_state_evidence evidence = {
        .identity = log->identity,
        .hard_state = recovery->hard_state,
        .batch_sequence = UINT64_MAX - 1, /* How far the batches once went is not known. */
    };
    uint64_t size_read = 0;

    ASSERT(recovery->report->verdict == LOG_ROTTEN);
    if (read_state_file(recovery, &size_read) != ERR_OK ||
        log_state_choose(log->window.data, &evidence, &choice) != ERR_OK) {
        return false;
    }
    recovery->choice = choice;
    recovery->state_is_readable = true;
    return log_state_is_complete(log->window.data);
}

/* --- Changes --------------------------------------------------------------------------------- */

/* A torn batch is written over with zeros, so that nothing of it can ever revive. */
static enum error cut_tail(struct recovery *recovery)
{
    struct log *log = recovery->log;
    struct log_place place = log->position.place;
    struct disk_name name;

    ASSERT(recovery->tail.verdict == LOG_TAIL_TORN);
    ASSERT(recovery->tail.used_size <= log->window.capacity);
    log_segment_name(&name, log->prefix, place.segment);
    log_window_forget(&log->window);
    memset(log->window.data, 0, recovery->tail.used_size);
    enum error error =
        disk_write(log->disk, &name, place.offset, log->window.data, recovery->tail.used_size);
    if (error != ERR_OK) {
        return recovery_refuse(recovery, place, error);
    }
    recovery->report->verdict = LOG_TORN;
    recovery->report->file = name;
    recovery->report->offset = place.offset + recovery->tail.damage_offset;
    return ERR_OK;
}

static enum error save_state_file(struct recovery *recovery)
{
    struct log *log = recovery->log;
    struct log_state_block block = {
        .identity = log->identity,
        .hard_state = recovery->choice.hard_state,
        .batch_sequence = log->position.next_sequence,
    };
    uint64_t size_read = 0;
    struct disk_name name;

    ASSERT(!recovery->has_state_file || recovery->choice.needs_repair);
    enum error error = read_state_file(recovery, &size_read);
    if (error == ERR_OK) {
        log_state_name(&name, log->prefix);
        log_state_rebuild(log->window.data, &block);
        error = disk_save(log->disk, &name, bytes_of(log->window.data, LOG_STATE_FILE_SIZE));
    }
    if (error != ERR_OK) {
        return recovery_refuse(recovery, (struct log_place){.segment = 0}, error);
    }
    recovery->report->state_repaired = recovery->has_state_file;
    return ERR_OK;
}

/* All was judged good: now the disk may be changed. The order matters on a fresh disk: the hard
 * state file is there before any segment is. */
enum error recovery_make_ready(struct recovery *recovery)
{
    struct log *log = recovery->log;
    enum error error = ERR_OK;

    ASSERT(recovery->report->verdict == LOG_CLEAN);
    if (recovery->tail.verdict == LOG_TAIL_TORN) {
        error = cut_tail(recovery);
    }
    if (error == ERR_OK && (!recovery->has_state_file || recovery->choice.needs_repair)) {
        error = save_state_file(recovery);
    }
    if (error == ERR_OK && recovery->segment_last == 0) {
        struct disk_name name;

        log_segment_name(&name, log->prefix, 1);
        error = disk_fill(log->disk, &name, log->segment_size);
        if (error != ERR_OK) {
            return recovery_refuse(recovery, (struct log_place){.segment = 1}, error);
        }
        log_segments_found(&log->segments, 1, 1);
    }
    log_window_forget(&log->window);
    return error;
}
