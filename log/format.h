/* log/format.h: the bytes of the log on disk, and nothing but them: pure encoding and decoding.
 *
 * Every checksum is seeded with the place (segment and offset) of what it covers, so bytes of an
 * older life and bytes written to the wrong place never validate. All numbers are little endian.
 *
 * A segment is a file of a fixed size that was filled with zeros before use:
 *
 *   0      4096        batches, each 4096-aligned, each written once        size - 4096
 *   +------+-----------------+-----------+-----------------+-------------+-------------+
 *   |header| batch           | batch     | batch           | end batch   | zeros       |
 *   +------+-----------------+-----------+-----------------+-------------+-------------+
 *
 * Segment header, one block (all of it fits one sector; the rest of the block is zeros):
 *
 *     0   8  checksum of bytes 8..4096        40   8  sequence of the segment, from 1
 *     8   4  magic "HFSG"                     48   8  sequence of its first batch
 *    12   2  format version                   56   8  checksum of the batch before that
 *    14   2  zero                             64   4  size of the segment
 *    16  16  cluster id                       68   4  zero
 *    32   8  incarnation                      72   8  index of the next record, when it was begun;
 *                                                     0 in segments of older programs
 *
 * Batch, a multiple of 4096 bytes:
 *
 *   0        256            256+body                  total-512*T           total
 *   +--------+--------------+-------------------------+---------------------+
 *   | header | body:records | zeros                   | T trailer sectors   |
 *   +--------+--------------+-------------------------+---------------------+
 *
 *     0   8  checksum of bytes 8..256         64   4  count of records
 *     8   4  magic "HFBT"                     68   4  size of the body
 *    12   2  format version                   72   4  total size
 *    14   2  kind                             76   4  size of the hard state
 *    16   8  sequence of the batch, from 1    80   8  generation of the hard state
 *    24  16  cluster id                       88  64  hard state
 *    40   8  incarnation                     152   8  checksum of the previous batch (chain)
 *    48   8  first index                     160   8  checksum of all trailer sectors
 *    56   8  cut index, or 0                 168   8  resume sequence, or 0
 *                                            176   8  resume checksum     184      zeros
 *
 * The checksum at 0 stands for the whole batch in the chain: it covers the checksum of the
 * trailer, which covers the checksum of every sector. The first sector's checksum in the trailer
 * covers only what is behind the header.
 *
 * The batch behind one has the next sequence, and in its chain field the checksum of the one before
 * it. Where a segment was repaired, the last batch of the fresh copy names what is to follow
 * instead: the sequence and chain field that what was left behind it has had all along. If that is
 * an end batch, its first index too is what follows: records that are cut off later may be missing.
 *
 * Trailer sector number t covers sectors 61*t to 61*t + 60 of its batch:
 *
 *     0 488  a checksum for each sector; 0 beyond the last that is covered
 *   488   8  sequence of the batch            500   4  number t of this trailer sector
 *   496   4  total size of the batch          504   8  checksum of bytes 0..504
 *
 * Frozen for all versions: checksum, magic and version at the front of a segment header, a batch
 * header and a hard state block, and how many bytes that checksum covers. */
#ifndef LOG_FORMAT_H
#define LOG_FORMAT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/macros.h"
#include "log/disk.h"
#include "log/log.h"

enum {
    LOG_FORMAT_VERSION = 1,
    LOG_BLOCK_SIZE = DISK_ALIGNMENT,
    LOG_SECTOR_SIZE = DISK_SECTOR_SIZE,
    LOG_BATCH_HEADER_SIZE = 256,
    LOG_TRAILER_COVER_COUNT = 61, /* Sectors that one trailer sector has checksums of. */
    LOG_RECORD_SIZE_MIN = 4,      /* Its own size field. */
    LOG_CLUSTER_SIZE = 16,
    LOG_PREFIX_LENGTH_MAX = 15,
};

/* Who wrote it: anything else is refused. */
struct log_identity {
    uint8_t cluster[LOG_CLUSTER_SIZE];
    uint64_t incarnation;
};

/* Where something lies. Segment 0 stands for the hard state file. */
struct log_place {
    uint64_t segment;
    uint32_t offset;
};

/* Generations are numbered from 1, in the order of changes; 0: there is none, and size is 0. */
struct log_hard_state {
    uint64_t generation;
    uint32_t size;
    uint8_t data[LOG_HARD_STATE_SIZE_MAX];
};

bool log_identity_equal(const struct log_identity *a, const struct log_identity *b);

/* ERR_OK, ERR_WRONG_CLUSTER or ERR_WRONG_NODE. */
MUST_USE enum error log_identity_compare(const struct log_identity *own,
                                         const struct log_identity *found);

bool log_hard_state_equal(const struct log_hard_state *a, const struct log_hard_state *b);

/* --- Names ----------------------------------------------------------------------------------- */

/* "raft-000000000000002a.seg" and "raft-state". */
void log_segment_name(struct disk_name *name, const char *prefix, uint64_t sequence);
void log_state_name(struct disk_name *name, const char *prefix);

/* "raft-repair", the fresh copy while it is being made, and "raft-removed", what a repair takes
 * away: nothing in them is ever read. */
enum log_leftover { LOG_LEFTOVER_REPAIR, LOG_LEFTOVER_REMOVED, LOG_LEFTOVER_COUNT };
void log_leftover_name(struct disk_name *name, const char *prefix, enum log_leftover leftover);

/* False when it is not the name of a segment of this prefix. */
MUST_USE bool log_segment_name_parse(const struct disk_name *name, const char *prefix,
                                     uint64_t *sequence);

/* --- Segment header -------------------------------------------------------------------------- */

struct log_segment_header {
    struct log_identity identity;
    uint64_t sequence;
    uint64_t first_batch_sequence;
    uint64_t previous_checksum; /* 0 before the very first batch. */
    uint32_t segment_size;
    log_index next_index; /* Of the record behind all that came before it; 0: not told. */
};

void log_segment_encode(uint8_t block[LOG_BLOCK_SIZE], const struct log_segment_header *header);

/* ERR_MISSING when the block is all zeros (the segment was not begun), ERR_CORRUPT, ERR_VERSION.
 * `sequence` is that of the file's name. */
MUST_USE enum error log_segment_decode(const uint8_t block[LOG_BLOCK_SIZE], uint64_t sequence,
                                       struct log_segment_header *header);

/* --- Batch ----------------------------------------------------------------------------------- */

enum log_batch_kind {
    LOG_BATCH_APPEND = 1,
    LOG_BATCH_TRUNCATE = 2,      /* Cuts off from cut_index (= first_index) on, then appends. */
    LOG_BATCH_SNAPSHOT_BASE = 3, /* All before it is void; then it appends. */
    LOG_BATCH_END = 4,           /* The last of its segment: no records. */
};

struct log_batch_header {
    enum log_batch_kind kind;
    uint64_t sequence;
    struct log_identity identity;
    log_index first_index; /* Of its first record; of the next record when it has none. */
    log_index cut_index;   /* 0: nothing is cut. */
    uint32_t record_count;
    uint32_t body_size;
    uint32_t total_size;
    struct log_hard_state hard_state;
    uint64_t previous_checksum;
    uint64_t trailer_checksum; /* Set by log_batch_seal() and by decoding. */
    uint64_t checksum;         /* Likewise; its value in the chain. */
    uint64_t resume_sequence;  /* Of the batch that follows; 0: the next number. */
    uint64_t resume_checksum;  /* Its previous_checksum; only with a resume sequence. */
};

/* What the batch behind this one has. */
uint64_t log_batch_next_sequence(const struct log_batch_header *header);
uint64_t log_batch_next_chain(const struct log_batch_header *header);

/* Of the smallest batch that holds a body of this size. */
uint32_t log_batch_total_size(uint32_t body_size);

/* Of the largest body that a batch of `total_size` can hold. */
uint32_t log_batch_body_capacity(uint32_t total_size);

uint32_t log_batch_trailer_count(uint32_t total_size);

/* `batch` holds the records from LOG_BATCH_HEADER_SIZE on; everything else in its `total_size`
 * bytes is written here: header, padding, trailer. `header` gets both checksums. */
void log_batch_seal(uint8_t *batch, struct log_batch_header *header, struct log_place place);

/* Looks at the header alone. ERR_CORRUPT; ERR_VERSION for a valid header of another version. What
 * it accepts has a total size that is a multiple of the block and large enough for its body. */
MUST_USE enum error log_batch_decode(const uint8_t *data, struct log_place place,
                                     struct log_batch_header *header);

/* True when the trailer, every sector and the records' sizes are as they were sealed. `batch` has
 * `header->total_size` bytes. */
MUST_USE bool log_batch_is_intact(const uint8_t *batch, const struct log_batch_header *header,
                                  struct log_place place);

/* The records of an intact batch. */
struct bytes log_batch_records(const uint8_t *batch, const struct log_batch_header *header);

/* --- Trailer --------------------------------------------------------------------------------- */

struct log_trailer {
    uint64_t batch_sequence;
    uint32_t total_size;
    uint32_t number;
};

/* False when the sector is no valid trailer sector of this place. */
MUST_USE bool log_trailer_decode(const uint8_t *sector, struct log_place place,
                                 struct log_trailer *trailer);

/* True when sector `number` of `batch` has the checksum that `trailer_sector` (valid) says. */
MUST_USE bool log_sector_matches(const uint8_t *batch, struct log_place batch_place,
                                 const uint8_t *trailer_sector, uint32_t number);

/* --- Records --------------------------------------------------------------------------------- */

/* True when `records` is exactly `record_count` whole records. */
MUST_USE bool log_records_are_whole(struct bytes records, uint32_t record_count);

/* Bytes of the first `record_count` of `records`, which has at least as many. */
size_t log_records_size(struct bytes records, uint64_t record_count);

bool log_is_zero(const uint8_t *data, size_t size);

#endif
