/* log/hard_state.h: the file of two alternating blocks that holds the newest hard state.
 *
 * Generation g goes to block g % 2, so the block before it stays whole while it is written. A
 * block is written before the batch that carries the same generation; whatever a ticket covers is
 * therefore in both. Pure.
 *
 * Block number b of the file PREFIX-state, at offset 4096 * b (all of it fits one sector; the rest
 * is zeros):
 *
 *     0   8  checksum of bytes 8..4096        40   8  generation
 *     8   4  magic "HFHS"                     48   8  sequence of the batch that follows
 *    12   2  format version                   56   4  size of the hard state
 *    14   2  zero                             60   4  zero
 *    16  16  cluster id                       64  64  hard state
 *    32   8  incarnation                     128      zeros */
#ifndef LOG_HARD_STATE_H
#define LOG_HARD_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/macros.h"
#include "log/format.h"

enum {
    LOG_STATE_BLOCK_COUNT = 2,
    LOG_STATE_FILE_SIZE = LOG_STATE_BLOCK_COUNT * LOG_BLOCK_SIZE,
};

struct log_state_block {
    struct log_identity identity;
    struct log_hard_state hard_state;
    uint64_t batch_sequence; /* Everything before this batch was durable when it was written. */
};

/* Where a generation goes. */
uint32_t log_state_block_number(uint64_t generation);

void log_state_encode(uint8_t data[LOG_BLOCK_SIZE], const struct log_state_block *block);

/* `number` is the block's place. ERR_MISSING for zeros, ERR_CORRUPT, ERR_VERSION. */
MUST_USE enum error log_state_decode(const uint8_t data[LOG_BLOCK_SIZE], uint32_t number,
                                     struct log_state_block *block);

/* What the batches say, to be weighed against the file. */
struct log_state_evidence {
    struct log_identity identity;
    struct log_hard_state hard_state; /* Of the last good batch. */
    uint64_t batch_sequence;          /* Of the last good batch; 0: there is none. */
};

struct log_state_choice {
    struct log_hard_state hard_state; /* The newest that is to be trusted. */
    uint64_t batch_sequence;          /* The highest that a valid block names. */
    bool needs_repair;                /* A block of the file is damaged or too old. */
};

/* Judges the file's bytes. ERR_CORRUPT when what was promised may be lost: no block is to be
 * trusted though the batches know a hard state, the same generation has two values, or a block
 * names a later batch than there is. Else ERR_VERSION, ERR_WRONG_CLUSTER, ERR_WRONG_NODE. */
MUST_USE enum error log_state_choose(const uint8_t file[LOG_STATE_FILE_SIZE],
                                     const struct log_state_evidence *evidence,
                                     struct log_state_choice *choice);

/* True when the newest hard state that was ever written is in the file for certain: both blocks
 * are valid and of neighbouring generations, or the first one is there and no second. */
bool log_state_is_complete(const uint8_t file[LOG_STATE_FILE_SIZE]);

/* Mends the file's bytes: this hard state (if it has a generation) goes to its block; the other
 * block stays when it is valid, and becomes zeros when it is not. */
void log_state_rebuild(uint8_t file[LOG_STATE_FILE_SIZE], const struct log_state_block *block);

#endif
