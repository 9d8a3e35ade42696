/* log/log.h: the durable log: records in, "durable up to here" out.
 *
 * What is guaranteed: a record whose ticket log_durable_ticket() has reached survives any crash
 * of the machine; a record is never believed unless its checksums match; a sector that holds
 * acknowledged bytes is never written again; recovery tells a torn last write (cut off) from rot
 * (reported, never cut). The rules and byte layouts are drawn in log/format.h and docs/log.md.
 *
 * A record is opaque bytes that begin with their own size (u32, little endian, those four bytes
 * included). Records have consecutive indexes from 1. The hard state is opaque bytes too; it is
 * kept in every batch and in a file of two alternating blocks that is written first.
 *
 * The log forgets from its front, in whole segments (log_drop()), begins again behind a snapshot
 * (log_restart()), and a log with rot is opened on request for reading and repair (log_repair()).
 *
 * Group commit: one write is in flight, all that is staged meanwhile is the next batch. Nothing
 * here waits: log_flush() submits, log_complete() takes the verdict. Any failed write is final:
 * log_error() stays set, nothing is submitted any more, and the node must stop. */
#ifndef LOG_LOG_H
#define LOG_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/bytes.h"
#include "base/error.h"
#include "base/macros.h"
#include "log/disk.h"

typedef uint64_t log_index; /* Of a record; the first is 1; 0 means none. */

struct log; /* Opaque; lives in the memory handed to log_open(). */

enum {
    LOG_HARD_STATE_SIZE_MAX = 64,
    LOG_RECORD_SIZE_MAX = 1 << 20, /* Of one record, its size field included. */
};

/* The upper 16 bits of the tag of every request of a log. The 32 bits below them tell the logs of
 * one node apart: they are made from the prefix. */
#define LOG_TAG_BASE UINT64_C(0x4C47000000000000)
#define LOG_TAG_MASK UINT64_C(0xFFFF000000000000)

struct log_options {
    const char *prefix;      /* Of the file names, at most 15 characters, such as "raft". */
    uint8_t cluster[16];     /* Part of every batch: a foreign segment is refused. */
    uint64_t incarnation;    /* Likewise: of this node's disk. */
    uint32_t segment_size;   /* Bytes; a multiple of DISK_ALIGNMENT; >= batch_size_max + 8 KiB. It
                                may not change while there are segments. */
    uint32_t batch_size_max; /* Bytes of one write; a multiple of DISK_ALIGNMENT; > overhead + the
                                largest record of the caller. It may grow, not shrink. */
    uint32_t segment_count_max; /* That exist at once; their numbers go on. */
    uint32_t segments_ahead;    /* Zero-filled segments kept ready: 1 or 2. */
    bool accepts_rot;           /* A log with rot is opened for reading and repair. */
};

enum { LOG_SEGMENT_SIZE_DEFAULT = 64 << 20, LOG_BATCH_SIZE_MAX_DEFAULT = 2 << 20 };

size_t log_memory_size(const struct log_options *options);

/* What recovery found, for the log line that a person reads. */
enum log_verdict {
    LOG_CLEAN,
    LOG_TORN,   /* The last, never acknowledged batch was torn; it was cut off. */
    LOG_ROTTEN, /* Acknowledged bytes are damaged; nothing was changed. */
};

/* What rot has cost. Records in front of `first_index` and from `end_index` on are good. It may be
 * that the damaged bytes had cut off good-looking records in front of it, down to the last one that
 * is known to be committed: whoever repairs begins there. */
struct log_damage {
    log_index first_index; /* 1 when no record in front of the damage is left. */
    log_index end_index;   /* 0: nothing good is behind it, and how many records are lost is not
                              known. It may equal first_index: then no live record is lost. */
};

struct log_recovery {
    enum log_verdict verdict;
    struct disk_name file; /* Where the damage is, for LOG_TORN and LOG_ROTTEN. */
    uint64_t offset;
    log_index first_index; /* Of the first record; last_index + 1 when there is none. The caller
                              compares it with its snapshot: a lost front leaves no other trace. */
    log_index last_index;  /* Of the last good record in front of any damage. */
    log_index base_index;  /* What the last log_restart() said, as far as it is still on the disk;
                              0: none. */
    uint64_t batch_count;
    uint64_t segment_count;
    struct bytes hard_state;  /* The newest valid copy, empty on a fresh disk; borrowed from the
                                 log until the next log_stage(). Set with ERR_CORRUPT too, for
                                 the operator; then it may be older than what was promised. */
    bool state_is_certain;    /* `hard_state` is the newest that can ever have been promised. Always
                                 so without rot. */
    bool state_repaired;      /* A damaged block of the hard state file was written anew from the
                                 other copies; nothing was lost. */
    struct log_damage damage; /* With LOG_ROTTEN, when `accepts_rot` and the log was opened. */
};

/* Reads every batch of every segment, cuts a torn tail, makes the first segment if there is none,
 * and is then ready to append. Refuses with ERR_CORRUPT (rot; *recovery says where),
 * ERR_WRONG_CLUSTER, ERR_WRONG_NODE, ERR_VERSION, ERR_NO_SPACE, ERR_IO, ERR_FULL (more segments or
 * a larger batch than the options allow), ERR_INVALID (another segment size than on the disk).
 * With `accepts_rot` it grants what it would refuse with ERR_CORRUPT, unless it is the hard state
 * file that contradicts itself or the batches; then only log_read_now() and the calls of "Repair"
 * below are allowed (log_is_rotten(); asserted).
 * After a refusal `*log` is NULL and nothing on the disk has changed, unless the refusal is
 * ERR_IO or ERR_NO_SPACE: opening again is then safe. `arena` has room for log_memory_size()
 * bytes; it and `disk` outlive the log. */
MUST_USE enum error log_open(struct log **log, struct arena *arena,
                             const struct log_options *options, struct disk *disk,
                             struct log_recovery *recovery);

log_index log_last_index(const struct log *log);

/* Of the first record that can be read; log_last_index() + 1 when there is none. */
log_index log_first_index(const struct log *log);

/* --- Appending ------------------------------------------------------------------------------- */

/* Stages records `first_index`... given as one or two runs of whole records (`second` may be
 * empty), and the hard state that is valid from now on (empty: unchanged). A `first_index` <=
 * log_last_index() cuts off that record and all behind it first; there is never a gap. Copies.
 * `record_count` may be 0: then it is a hard state or a cut alone, or (with nothing to cut, at
 * log_last_index() + 1) an empty batch, which proves that the one before it was whole.
 * Returns the ticket with which all of this becomes durable; tickets increase by 1, from 1.
 * Asserts that log_stage_room() is enough. After an error it still stages, and nothing of it will
 * become durable. */
uint64_t log_stage(struct log *log, log_index first_index, uint32_t record_count,
                   struct bytes first, struct bytes second, struct bytes hard_state);

/* Bytes of records that can be staged now: less than one batch when the disk is slow, and 0 for
 * good once the last of `segment_count_max` segments is full. A hard state alone needs no room
 * here, but when not even a batch without records fits any more, log_flush() ends the log with
 * ERR_FULL. */
size_t log_stage_room(const struct log *log);

/* The same, but leaves `reserve_size` bytes (a multiple of DISK_ALIGNMENT) of the last segment for
 * others. However little is staged, each write takes at least one DISK_ALIGNMENT of it: so many
 * more writes are possible when this has come to 0. Never more than log_stage_room(). */
size_t log_stage_room_beside(const struct log *log, uint32_t reserve_size);

/* True from when the disk had no room for the next segment until it is there. The log goes on in
 * the segment that it has, as if that were the last one permitted (log_stage_room() counts down),
 * and asks again when it needs the next one or when segments were dropped. Only when a batch needs
 * it and the disk still has no room does the log end, with ERR_NO_SPACE. */
bool log_space_is_short(const struct log *log);

/* The disk may have room again (files were deleted, or simply some time has passed): the next
 * log_flush() asks once more. For callers that have a clock. */
void log_space_retry(struct log *log);

/* --- Forgetting and beginning again ---------------------------------------------------------- */

/* Records up to `index` (<= log_last_index(), durable: asserted) are not needed any more: the
 * caller has a durable snapshot of what they did, and never cuts at or below `index`. Segments
 * that hold nothing else are removed by the following calls of log_flush(), oldest first, one at a
 * time; never the one that holds the newest batch. So log_first_index() moves in large steps and
 * stays <= index + 1. A crash at any time leaves a log that begins at or before index + 1. */
void log_drop(struct log *log, log_index index);

/* A snapshot took the place of the log: everything in it is void, and the next record has
 * `next_index` (>= 1). Staged like a record, with the hard state that is valid from now on (empty:
 * unchanged); returns the ticket. Before that is durable a crash leaves the old log, afterwards
 * the new one. What was staged before it becomes durable with it, and is void. Old segments are
 * removed once it is durable. */
uint64_t log_restart(struct log *log, log_index next_index, struct bytes hard_state);

/* --- Making durable -------------------------------------------------------------------------- */

/* Submits the staged batch if nothing is in flight, and the making or removing of a segment if one
 * is due. Called once at the end of each turn. */
void log_flush(struct log *log);

/* True when the tag belongs to this log; then the completion was taken, and the tickets may have
 * advanced. Tags of this log have LOG_TAG_BASE in their upper bits. */
bool log_complete(struct log *log, const struct disk_completion *completion);

/* Everything up to this ticket is durable. */
uint64_t log_durable_ticket(const struct log *log);

/* ERR_OK, or the failure that ended the log for this process: of a write, or of making or removing
 * a segment.
 * A failed read is told by log_fetched() and ends nothing. */
enum error log_error(const struct log *log);

/* Milliseconds are the caller's: how many batches and bytes were written, for status and tests. */
struct log_counters {
    uint64_t batch_count;
    uint64_t batch_bytes; /* As written, padding included. */
    uint64_t record_count;
    bool write_in_flight;
};

struct log_counters log_counters(const struct log *log);

/* --- Reading back ---------------------------------------------------------------------------- */

/* Asks for records from `first_index` on (1 <= first_index <= log_last_index(), durable: asserted).
 * What is in front of log_first_index() is answered with ERR_MISSING: log_fetched() is true at
 * once. At most one fetch is
 * under way until its answer was taken: false when one is, and after an error. The answer is taken
 * with log_fetched() after a log_complete() that returned true. */
MUST_USE bool log_fetch(struct log *log, log_index first_index);

struct log_fetched {
    log_index first_index; /* As asked for. */
    uint32_t record_count; /* At least 1, unless `error` is set. */
    struct bytes records;  /* Whole records, back to back; borrowed until the next log_fetch(). */
    enum error error;      /* ERR_CORRUPT when a checksum does not match, ERR_IO, or ERR_MISSING
                              when the records were cut off meanwhile. */
};

/* True once for each fetch, when its bytes have arrived. */
MUST_USE bool log_fetched(struct log *log, struct log_fetched *fetched);

/* Only while opening, or of a rotten log: the same at once. At least one record, at most about
 * `batch_size_max` bytes; the next call goes on behind them. Refuses with ERR_MISSING (there is no
 * such record), ERR_CORRUPT, ERR_IO. */
MUST_USE enum error log_read_now(struct log *log, log_index first_index,
                                 struct log_fetched *fetched);

/* --- Repair ---------------------------------------------------------------------------------- */

/* A log with rot reads (ERR_CORRUPT for what is damaged) and takes the right records from
 * elsewhere. They go to a fresh copy of the first damaged segment, beside it; log_repair_end() puts
 * that in its place. All of this is synchronous, like opening, and so is not to be mixed with
 * submitted requests. A crash before the end leaves the rotten log. */
bool log_is_rotten(const struct log *log);

struct log_damage log_damage(const struct log *log);

/* The right records `first_index`..., whole and back to back, from the leader. The first call
 * begins at or before log_damage().first_index: not behind the first record that is not known to
 * be committed and differs from the leader's. If it begins behind that index, the caller has a
 * durable snapshot of all that is in front: everything there becomes void. Each call goes on where
 * the last one ended; `record_count` may be 0. Up to `end_index` it is the damage that is mended;
 * what goes beyond takes the place of all own records behind it. Copies. Refuses with ERR_FULL
 * (what is given does not fit the copy: nothing of it was taken; all that this log can have
 * acknowledged and that was committed is in), ERR_INVALID (not where the last call ended, in front
 * of the log, or no whole records), ERR_CORRUPT (more rot was found on the way), ERR_IO,
 * ERR_NO_SPACE. */
MUST_USE enum error log_repair(struct log *log, log_index first_index, uint32_t record_count,
                               struct bytes records);

/* The records that were given (none, when no live record is lost) are all that was missing: copies
 * the own records behind the damage, if they are to be kept, and puts the copy in place of the
 * damaged segment. `keeps_end` is for the caller to judge: the own record at `end_index` must be
 * the leader's too; else, or when the end of the damage is not known, all behind what was given is
 * removed. Afterwards log_open() is to be called anew, be the answer ERR_OK or not: it finds the
 * log whole, or the next damage. Refuses with ERR_INVALID while records are missing in front of
 * what is to be kept, ERR_FULL when what is to be kept does not fit, ERR_CORRUPT, ERR_IO,
 * ERR_NO_SPACE. */
MUST_USE enum error log_repair_end(struct log *log, bool keeps_end);

/* Asserts every numbered invariant of docs/log.md. */
void log_check(const struct log *log);

/* --- Dumping --------------------------------------------------------------------------------- */

/* Walks the batches of a stopped log without changing anything, damage included. */
struct log_batch_view {
    struct disk_name file;
    uint64_t offset;
    uint64_t sequence;
    log_index first_index;
    uint32_t record_count;
    log_index cut_index; /* Records from here on were cut off before appending; 0: none. */
    struct bytes hard_state;
    struct bytes records; /* Empty when `error` is set. Borrowed until the next call. */
    enum error error;     /* ERR_OK; ERR_CORRUPT, with sequence 0 when not even a header is to
                             be read there; ERR_VERSION; ERR_IO, or ERR_FULL for a batch larger
                             than the options allow. */
};

struct log_dump; /* Opaque. */

size_t log_dump_memory_size(const struct log_options *options);

/* `options->cluster` and `incarnation` are not compared. */
MUST_USE enum error log_dump_open(struct log_dump **dump, struct arena *arena,
                                  const struct log_options *options, struct disk *disk);

/* False at the end of the log. A damaged stretch is one view; the walk goes on behind it with the
 * next valid header. */
MUST_USE bool log_dump_next(struct log_dump *dump, struct log_batch_view *view);

#endif
