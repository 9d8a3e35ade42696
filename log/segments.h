/* log/segments.h: which segments exist, which may go, and which is to be made next.
 *
 * Segments are a run of numbers; they are made at its end and removed at its front. Numbers are
 * never used again. For each the table knows where the durable log ended when the segment was
 * left: `end_index` is one behind the last record that is live on the disk in this segment or an
 * earlier one. It speaks of what is durable, not of what is staged: a cut that is still in flight
 * may never happen, and then the records that it takes away must still be there. Pure. */
#ifndef LOG_SEGMENTS_H
#define LOG_SEGMENTS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/macros.h"
#include "log/format.h"

struct log_segments {
    log_index *end_indexes; /* Of segment s at s % count_max; from `first` on they never fall. */
    uint32_t count_max;
    uint64_t first;    /* The oldest that exists, */
    uint64_t kept;     /* that is not to be removed, */
    uint64_t active;   /* that batches go to, */
    uint64_t ready;    /* and the newest that exists. 0 while nothing is known. */
    log_index dropped; /* Records up to here are not needed. */
    bool is_filling;
    bool is_removing;
    bool is_short;       /* The last filling found no room on the disk. */
    bool asks_again;     /* Something has changed since: another filling is worth a try. */
    bool fill_is_needed; /* The last filling was begun when a batch could not do without it. */
};

void log_segments_init(struct log_segments *segments, struct arena *arena, uint32_t count_max);

/* The files `first` to `ready` exist, and batches go to `first`. */
void log_segments_found(struct log_segments *segments, uint64_t first, uint64_t ready);

/* Batches go to the next segment from now on; the durable log ends before `next_index`. */
void log_segments_advance(struct log_segments *segments, log_index next_index);

/* What has become durable: records from `index` on are not live; the active segment holds records
 * up to `next_index`; all before `next_index` is void. */
void log_segments_cut(struct log_segments *segments, log_index index);
void log_segments_extend(struct log_segments *segments, log_index next_index);
void log_segments_restart(struct log_segments *segments, log_index next_index);

/* Moves `kept` over what holds only records that are not needed. The active segment stays, and the
 * one before it too as long as the active one has no batch: the newest batch vouches for the hard
 * state. */
void log_segments_release(struct log_segments *segments, bool active_has_batch);

/* The last segment that batches can count on. */
uint64_t log_segments_last(const struct log_segments *segments);

/* True when the next segment is to be filled now. `is_needed`: a batch waits for it. */
MUST_USE bool log_segments_wants_fill(const struct log_segments *segments, uint32_t ahead,
                                      bool is_needed);
void log_segments_fill_begun(struct log_segments *segments, bool is_needed);
void log_segments_filled(struct log_segments *segments, enum error error);

/* A batch needs the next segment: ERR_FULL or ERR_NO_SPACE when it will not come. */
MUST_USE enum error log_segments_verdict(const struct log_segments *segments);

/* True when segment `first` is to be removed now. */
MUST_USE bool log_segments_wants_removal(const struct log_segments *segments);
void log_segments_removed(struct log_segments *segments);

void log_segments_check(const struct log_segments *segments);

#endif
