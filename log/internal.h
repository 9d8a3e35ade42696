/* log/internal.h: the inside of struct log, shared by the files of this folder only.
 *
 * The position is where the next batch goes on the disk; it moves only when a write has completed,
 * so everything before it is durable. One write is in flight at a time, as a sequence of steps. */
#ifndef LOG_INTERNAL_H
#define LOG_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "log/disk.h"
#include "log/format.h"
#include "log/log.h"
#include "log/segments.h"
#include "log/spans.h"
#include "log/window.h"

/* What is being written. A flight moves downwards, never back, and each step only begins when the
 * one before it is durable:
 *
 *   NONE -> STATE    the hard state block, if the hard state has changed
 *        -> END      the end batch, if the batch does not fit into the segment any more
 *        -> SEGMENT  the header of the next segment, if it was not begun
 *        -> BATCH    the batch itself
 *        -> NONE */
enum log_step { LOG_STEP_NONE, LOG_STEP_STATE, LOG_STEP_END, LOG_STEP_SEGMENT, LOG_STEP_BATCH };

/* The lowest bits of a tag. */
enum {
    LOG_TAG_WRITE = 1,
    LOG_TAG_FILL = 2,
    LOG_TAG_READ = 3,
    LOG_TAG_REMOVE = 4,
    LOG_TAG_CLEAR = 5,
    LOG_TAG_PURPOSE = 0xFF,
};

struct log_batch {
    uint8_t *data; /* Of batch_size_max bytes; the records begin behind the header. */
    uint32_t body_size;
    uint32_t record_count;
    log_index first_index;
    bool is_used; /* Something was staged, be it a hard state alone. */
    bool is_cutting;
    bool is_base; /* All before `first_index` is void with it. */
    bool is_void; /* It is in flight, and a base was staged behind it. */
    bool state_changed;
    uint64_t last_ticket;
    struct log_hard_state hard_state; /* Set when the flight begins. */
    log_index cut_later;              /* The lowest index that was cut since the flight began. */
};

struct log_position {
    struct log_place place;
    bool is_begun;          /* The segment has its header. */
    uint64_t next_sequence; /* Of the next batch. */
    uint64_t checksum;      /* Of the batch before it. */
    log_index next_index;   /* One behind the last record on the disk. */
};

enum log_fetch_state { LOG_FETCH_IDLE, LOG_FETCH_READING, LOG_FETCH_READY };

struct log_fetch {
    enum log_fetch_state state;
    log_index first_index;
    log_index end_index; /* Records from here on are not in the span, or were cut meanwhile. */
    struct log_span span;
    struct log_fetched answer;
};

/* The first damaged segment of a log that was opened all the same, and its fresh copy. */
struct log_rot {
    bool is_present;
    struct log_damage damage;
    uint64_t segment;
    uint64_t segment_last;             /* The newest that exists. */
    struct log_position start;         /* At the segment's beginning; next_index 0: not known. */
    struct log_hard_state start_state; /* Likewise. */
    log_index own_first; /* The segment holds live records from here on, but for the damage, */
    log_index own_end;   /* up to here. */
    bool has_base;       /* All before own_first is void. */
    bool damage_is_void; /* The log began anew behind it. */
    bool front_is_lost;  /* There is no live record in front of the damage. */
    bool has_link;       /* Another segment follows, and this is what it continues: */
    uint64_t link_sequence;
    uint64_t link_checksum;
    log_index link_index;
    uint64_t sequence_min; /* Of what is written next, where none follows. */

    bool is_copying;
    struct log_position copy; /* Where the copy's next batch goes. */
    uint32_t body_size;       /* Of the records that wait in batches[0]. */
    uint32_t record_count;
    enum log_batch_kind kind; /* Of the batch that they will be. */
    log_index next_index;     /* Of the next record to be given. */
};

struct log {
    struct disk *disk;
    char prefix[LOG_PREFIX_LENGTH_MAX + 1];
    struct log_identity identity;
    uint32_t segment_size;
    uint32_t batch_size_max;
    uint32_t segments_ahead;
    bool accepts_rot;
    uint64_t tag; /* Of this log; the lowest 8 bits are the purpose. */

    enum error error;
    struct log_position position;
    struct log_segments segments;

    enum log_step step;
    struct log_batch batches[2];
    struct log_batch *staged;
    struct log_batch *flight;
    uint8_t *block;            /* One block, for the small writes of a flight. */
    uint64_t chained_checksum; /* Of the batch that is being written. */
    uint64_t ticket;
    uint64_t durable_ticket;
    log_index last_index;             /* Staged records included. */
    log_index floor_index;            /* Nothing is cut up to here: it was dropped, or is void. */
    struct log_hard_state hard_state; /* The newest, staged or not. */

    struct log_spans spans;
    struct log_window window;
    struct log_fetch fetch;
    struct log_counters counters;
    struct log_rot rot;
    bool has_leftovers; /* Of a repair, to be removed. */
};

/* Reads the segments and the hard state file, fills in everything above that they say, and makes
 * what is missing (log/recover.c). */
MUST_USE enum error log_recover(struct log *log, struct disk_name *names, uint32_t names_max,
                                struct log_recovery *recovery);

/* The bytes of `log->fetch.span` are in the window: finds the live records (log/fetch.c). */
void log_fetch_take(struct log *log, enum error error);

/* Records from `index` on are not live any more (log/fetch.c). */
void log_fetch_cut(struct log *log, log_index index);

/* What is not needed any more is given up for removal (log/log.c). */
void log_release(struct log *log);

/* True when a batch of this size still fits before the place of the end batch. */
bool log_fits(const struct log *log, struct log_place place, uint32_t total_size);

#endif
