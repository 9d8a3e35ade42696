/* node/snapshot_format.h: the bytes of a snapshot file, and nothing but them: pure, no files.
 *
 * A snapshot is the whole replicated state at one index of the log. Nothing in it is of one node
 * alone (no incarnation, no clock), so the file is the same, byte for byte, on every node, and a
 * transfer that broke off goes on with any other node's copy. All numbers are little endian.
 *
 *     +------+---------+---------+-     -+---------+------+
 *     | head | pairs 1 | pairs 2 |  ...  | pairs n | end  |      each a multiple of 4096 bytes
 *     +------+---------+---------+-     -+---------+------+
 *
 * Every block:
 *
 *     0   8  checksum of bytes 8..size, seeded with SNAPSHOT_MAGIC
 *     8   4  magic "HFSN"                    24   8  number of the block, from 0
 *    12   2  format version                  32   8  index of the snapshot
 *    14   2  kind: head 1, pairs 2, end 3    40   8  checksum of the block before; 0 in the head
 *    16   4  size of the block               48      body
 *    20   4  size of the body                        zeros up to the size of the block
 *
 * Head:                                      Pair, one behind the other:
 *     0  16  cluster id                          0   2  size of the key, 1 to 511
 *    16   8  term of the entry at the index      2   4  size of the value
 *    24   8  cluster time (log_ms)               6      key, value
 *    32   8  state hash                      End, one block of 4096 bytes:
 *    40   8  index of the configuration          0   8  size of the file
 *    48   4  size of the configuration           8   8  count of pairs
 *    52      configuration: raft's bytes        16   8  state hash of the pairs
 *
 * Each block carries the checksum of the one before it: a chain. So the end's checksum stands for
 * the whole file (it is the snapshot's id), and no block of another file, or at another place, ever
 * validates. Keys ascend strictly over all blocks. A pair goes into the present block as long as
 * that stays within SNAPSHOT_BLOCK_SIZE, otherwise it begins the next: a larger one gets a block of
 * its own. That makes the cut into blocks a function of the pairs alone.
 *
 * Frozen for all versions: the first 20 bytes of a block, and how its checksum is computed. */
#ifndef NODE_SNAPSHOT_FORMAT_H
#define NODE_SNAPSHOT_FORMAT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/macros.h"
#include "base/table.h"
#include "log/disk.h"
#include "raft/entry.h"

enum {
    SNAPSHOT_FORMAT_VERSION = 3, /* Of the blocks, and of the records that are in them. */
    SNAPSHOT_CLUSTER_SIZE = 16,
    SNAPSHOT_CONFIGURATION_SIZE_MAX = 4096,
    SNAPSHOT_BLOCK_HEADER_SIZE = 48,
    SNAPSHOT_PAIR_HEADER_SIZE = 6,
    SNAPSHOT_BLOCK_SIZE = 64 << 10, /* Blocks of more than one pair are not larger. */
    SNAPSHOT_BLOCK_SIZE_MAX = TABLE_VALUE_SIZE_MAX + DISK_ALIGNMENT, /* One largest pair. */
    SNAPSHOT_HEAD_SIZE_MAX = 2 * DISK_ALIGNMENT,
    SNAPSHOT_END_SIZE = DISK_ALIGNMENT,
    SNAPSHOT_FILE_SIZE_MIN = DISK_ALIGNMENT + SNAPSHOT_END_SIZE,
};

#define SNAPSHOT_MAGIC UINT32_C(0x4E534648) /* "HFSN" */

/* What a snapshot stands for. */
struct snapshot_base {
    uint8_t cluster[SNAPSHOT_CLUSTER_SIZE];
    raft_index index; /* From 1. */
    raft_term term;   /* Of the entry at `index`. */
    uint64_t log_ms;  /* Cluster time after that entry. */
    uint64_t state_hash;
    raft_index configuration_index;
    struct bytes configuration; /* Raft's; at most SNAPSHOT_CONFIGURATION_SIZE_MAX. */
};

/* --- Names ------------------------------------------------------------------------------------ */

enum snapshot_name_kind {
    SNAPSHOT_NAME_OTHER, /* Not one of ours. */
    SNAPSHOT_NAME_WHOLE, /* "snap-000000000000002a" */
    SNAPSHOT_NAME_NEW,   /* "snap-000000000000002a.new": being saved. */
    SNAPSHOT_NAME_PART,  /* "snap-000000000000002a.part": being received. */
};

void snapshot_name(struct disk_name *name, enum snapshot_name_kind kind, raft_index index);
enum snapshot_name_kind snapshot_name_parse(const struct disk_name *name, raft_index *index);

/* --- Writing blocks --------------------------------------------------------------------------- */

/* Where a file is, for whoever writes or reads it from its first byte to its last. */
struct snapshot_chain {
    raft_index index;
    uint64_t number;   /* Of the next block. */
    uint64_t offset;   /* In the file, of the next block. */
    uint64_t checksum; /* Of the last block; after the end: the id of the snapshot. */
    uint64_t pair_count;
    uint64_t hash; /* Of the pairs so far, as table_hash() counts. */
};

/* Each appends one whole block to `out`, which has room for it, and moves the chain on. */
void snapshot_write_head(struct snapshot_chain *chain, const struct snapshot_base *base,
                         struct buffer *out);
void snapshot_write_end(struct snapshot_chain *chain, struct buffer *out);

/* A block of pairs that is being put together at the end of a buffer. */
struct snapshot_block {
    struct buffer *out; /* NULL: none is open. */
    size_t begin;       /* Where the block begins in it. */
};

/* `out` has room for SNAPSHOT_BLOCK_SIZE_MAX. */
void snapshot_block_open(struct snapshot_block *block, struct buffer *out);

/* False when the pair belongs to the next block: close this one. */
MUST_USE bool snapshot_block_add(struct snapshot_block *block, struct snapshot_chain *chain,
                                 struct bytes key, struct bytes value);

/* Pads, seals, and moves the chain on. The block has a pair. */
void snapshot_block_close(struct snapshot_block *block, struct snapshot_chain *chain);

/* --- Reading blocks --------------------------------------------------------------------------- */

enum snapshot_block_kind { SNAPSHOT_HEAD = 1, SNAPSHOT_PAIRS = 2, SNAPSHOT_END = 3 };

struct snapshot_block_view {
    enum snapshot_block_kind kind;
    uint32_t size;
    struct bytes body;
};

/* Takes the next block of the chain off the front of `bytes`: ERR_OK, and the chain has moved on;
 * ERR_INCOMPLETE when more bytes are needed (never more than SNAPSHOT_BLOCK_SIZE_MAX in all);
 * ERR_CORRUPT; ERR_VERSION for a valid block of another version. A chain that begins is all zeros
 * but for the index. Of an end it is checked that it ends this chain. */
MUST_USE enum error snapshot_read_block(struct snapshot_chain *chain, struct bytes bytes,
                                        struct snapshot_block_view *view);

/* The head by itself; the configuration is borrowed from `body`. ERR_CORRUPT. */
MUST_USE enum error snapshot_read_head(struct bytes body, raft_index index,
                                       struct snapshot_base *base);

/* Of a file that is known by its bytes alone: what its first SNAPSHOT_BLOCK_HEADER_SIZE bytes say.
 * Nothing is checked. */
raft_index snapshot_read_index(const uint8_t *head);

/* What the end of a file says by itself. */
struct snapshot_end {
    uint64_t file_size;
    uint64_t pair_count;
    uint64_t hash;
    uint64_t checksum; /* The id of the snapshot. */
};

/* `block` has SNAPSHOT_END_SIZE bytes. ERR_CORRUPT, ERR_VERSION. */
MUST_USE enum error snapshot_read_end(const uint8_t *block, raft_index index,
                                      struct snapshot_end *end);

/* Takes the next pair off `*body`. ERR_MISSING when there is none left, ERR_CORRUPT. The chain
 * counts it. */
MUST_USE enum error snapshot_read_pair(struct bytes *body, struct snapshot_chain *chain,
                                       struct bytes *key, struct bytes *value);

#endif
