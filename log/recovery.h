/* log/recovery.h: a log that is being opened, shared by the files that do it: log/recover.c reads
 * what is whole, log/rot.c finds what is behind damage, log/ready.c makes the log ready. */
#ifndef LOG_RECOVERY_H
#define LOG_RECOVERY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/macros.h"
#include "log/hard_state.h"
#include "log/internal.h"
#include "log/judge.h"
#include "log/log.h"

struct recovery {
    struct log *log;
    struct log_recovery *report;
    uint64_t segment_first; /* The oldest file; 0: there is none. */
    uint64_t segment_last;
    uint64_t segment_gap; /* The first that is missing between them; 0: none is. */
    bool has_state_file;
    bool has_ended;                   /* The last begun segment has its end batch. */
    bool is_behind;                   /* Behind damage: what is read serves reading and repair. */
    struct log_hard_state hard_state; /* Of the last good batch. */
    struct log_tail tail;             /* What follows it. */
    log_index hole_index;             /* Records from here on are in no batch, until all of them
                                         are cut off: 0 when there is no such hole. */
    struct log_state_choice choice;
    bool state_is_readable;    /* The hard state file contradicts neither itself nor the batches. */
    struct log_position start; /* When the last segment was entered. */
    struct log_hard_state start_state; /* Likewise. */
    log_index start_base;              /* Likewise, of the report. */
};

/* Names the place of an error for the person who reads it; returns the error. */
enum error recovery_refuse(struct recovery *recovery, struct log_place place, enum error error);

/* Points `*data` at bytes of a segment, until the next call. */
MUST_USE enum error recovery_read(struct recovery *recovery, struct log_place place, uint32_t size,
                                  const uint8_t **data);

/* Takes the batch at the position, or finds that the log ends there (`*is_batch` is false). */
MUST_USE enum error recovery_scan_batch(struct recovery *recovery, bool *is_batch);

/* Goes on with `index`, wherever the records before it have gone. */
void recovery_go_to(struct recovery *recovery, log_index index);

/* Takes the batches of a segment; `*is_begun` is false when it has none and no header. */
MUST_USE enum error recovery_scan_segment(struct recovery *recovery, uint64_t segment,
                                          bool *is_begun);

/* ERR_CORRUPT unless all segments from this one on are zeros to their ends. */
MUST_USE enum error recovery_scan_ahead(struct recovery *recovery, uint64_t segment);

/* The segments are damaged somewhere: finds where good batches go on, and what of the records is
 * lost in between. ERR_OK when the log can be read and repaired (log/rot.c). */
MUST_USE enum error recovery_survey(struct recovery *recovery);

/* Weighs the hard state file against the batches; ERR_CORRUPT, ERR_VERSION and so on. */
MUST_USE enum error recovery_choose_state(struct recovery *recovery);

/* The segments are damaged: the newest hard state that can still be read is told all the same,
 * because a node may vote by it (ARCHITECTURE.md). Nothing is judged by it. True when it is the
 * newest that there ever was. */
bool recovery_peek_state(struct recovery *recovery);

/* All was judged good: now the disk may be changed. */
MUST_USE enum error recovery_make_ready(struct recovery *recovery);

#endif
