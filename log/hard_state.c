/* log/hard_state.c: encodes, decodes and weighs the two blocks of the hard state file. Pure. */
#include "log/hard_state.h"

#include <string.h>

#include "base/assert.h"
#include "base/checksum.h"

enum {
    STATE_MAGIC = 0x53484648, /* "HFHS" */

    AT_CHECKSUM = 0,
    AT_MAGIC = 8,
    AT_VERSION = 12,
    AT_CLUSTER = 16,
    AT_INCARNATION = 32,
    AT_GENERATION = 40,
    AT_BATCH_SEQUENCE = 48,
    AT_SIZE = 56,
    AT_STATE = 64,
};

_Static_assert(AT_STATE + LOG_HARD_STATE_SIZE_MAX <= LOG_SECTOR_SIZE,
               "a block's content is written whole or not at all");

uint32_t log_state_block_number(uint64_t generation)
{
    ASSERT(generation >= 1);
    return (uint32_t)(generation % LOG_STATE_BLOCK_COUNT);
}

/* Segments are numbered from 1: the small numbers are this file's own seeds. */
static uint64_t block_checksum(const uint8_t *data, uint32_t number)
{
    ASSERT(number < LOG_STATE_BLOCK_COUNT);
    return checksum(bytes_of(data + AT_MAGIC, LOG_BLOCK_SIZE - AT_MAGIC),
                    (uint64_t)number * LOG_BLOCK_SIZE);
}

void log_state_encode(uint8_t data[LOG_BLOCK_SIZE], const struct log_state_block *block)
{
    const struct log_hard_state *state = &block->hard_state;

    ASSERT(state->size >= 1);
    ASSERT(state->size <= LOG_HARD_STATE_SIZE_MAX);
    memset(data, 0, LOG_BLOCK_SIZE);
    store_u32(data + AT_MAGIC, STATE_MAGIC);
    store_u16(data + AT_VERSION, LOG_FORMAT_VERSION);
    memcpy(data + AT_CLUSTER, block->identity.cluster, LOG_CLUSTER_SIZE);
    store_u64(data + AT_INCARNATION, block->identity.incarnation);
    store_u64(data + AT_GENERATION, state->generation);
    store_u64(data + AT_BATCH_SEQUENCE, block->batch_sequence);
    store_u32(data + AT_SIZE, state->size);
    memcpy(data + AT_STATE, state->data, state->size);
    store_u64(data + AT_CHECKSUM, block_checksum(data, log_state_block_number(state->generation)));
}

enum error log_state_decode(const uint8_t data[LOG_BLOCK_SIZE], uint32_t number,
                            struct log_state_block *block)
{
    ASSERT(number < LOG_STATE_BLOCK_COUNT);
    if (log_is_zero(data, LOG_BLOCK_SIZE)) {
        return ERR_MISSING;
    }
    if (load_u64(data + AT_CHECKSUM) != block_checksum(data, number) ||
        load_u32(data + AT_MAGIC) != STATE_MAGIC) {
        return ERR_CORRUPT;
    }
    if (load_u16(data + AT_VERSION) != LOG_FORMAT_VERSION) {
        return ERR_VERSION;
    }
    *block = (struct log_state_block){
        .identity = {.incarnation = load_u64(data + AT_INCARNATION)},
        .hard_state = {.generation = load_u64(data + AT_GENERATION),
                       .size = load_u32(data + AT_SIZE)},
        .batch_sequence = load_u64(data + AT_BATCH_SEQUENCE),
    };
    if (block->hard_state.size == 0 || block->hard_state.size > LOG_HARD_STATE_SIZE_MAX ||
        block->hard_state.generation == 0 ||
        log_state_block_number(block->hard_state.generation) != number) {
        return ERR_CORRUPT;
    }
    memcpy(block->identity.cluster, data + AT_CLUSTER, LOG_CLUSTER_SIZE);
    memcpy(block->hard_state.data, data + AT_STATE, block->hard_state.size);
    return ERR_OK;
}

/* Weighs one valid block against the batches and what was chosen so far. */
static enum error weigh_block(const struct log_state_block *block,
                              const struct log_state_evidence *evidence,
                              struct log_hard_state *newest)
{
    enum error error = log_identity_compare(&evidence->identity, &block->identity);

    ASSERT(block->hard_state.generation >= 1);
    if (error != ERR_OK) {
        return error;
    }
    /* The block was written when all batches before this sequence were durable: a log that ends
     * earlier has lost acknowledged batches, for example to a rotten sector that reads as zeros. */
    if (block->batch_sequence > evidence->batch_sequence + 1) {
        return ERR_CORRUPT;
    }
    if (block->hard_state.generation == newest->generation &&
        !log_hard_state_equal(&block->hard_state, newest)) {
        return ERR_CORRUPT;
    }
    if (block->hard_state.generation > newest->generation) {
        *newest = block->hard_state;
    }
    return ERR_OK;
}

enum error log_state_choose(const uint8_t file[LOG_STATE_FILE_SIZE],
                            const struct log_state_evidence *evidence,
                            struct log_state_choice *choice)
{
    uint64_t newest_on_file = 0;
    bool is_damaged = false;

    ASSERT(evidence->hard_state.size <= LOG_HARD_STATE_SIZE_MAX);
    *choice = (struct log_state_choice){.hard_state = evidence->hard_state};
    for (uint32_t number = 0; number < LOG_STATE_BLOCK_COUNT; number++) {
        struct log_state_block block;
        enum error error = log_state_decode(file + (size_t)number * LOG_BLOCK_SIZE, number, &block);

        if (error == ERR_OK) {
            newest_on_file = newest_on_file > block.hard_state.generation
                                 ? newest_on_file
                                 : block.hard_state.generation;
            choice->batch_sequence = choice->batch_sequence > block.batch_sequence
                                         ? choice->batch_sequence
                                         : block.batch_sequence;
            error = weigh_block(&block, evidence, &choice->hard_state);
            if (error != ERR_OK) {
                return error;
            }
        } else if (error == ERR_CORRUPT) {
            is_damaged = true;
        } else if (error != ERR_MISSING) {
            return error;
        }
    }
    if (newest_on_file == 0 && evidence->hard_state.generation != 0) {
        return ERR_CORRUPT;
    }
    choice->needs_repair = is_damaged || newest_on_file < choice->hard_state.generation;
    return ERR_OK;
}

bool log_state_is_complete(const uint8_t file[LOG_STATE_FILE_SIZE])
{
    struct log_state_block even;
    struct log_state_block odd;
    enum error even_error = log_state_decode(file, 0, &even);
    enum error odd_error = log_state_decode(file + LOG_BLOCK_SIZE, 1, &odd);

    if (odd_error != ERR_OK) {
        return false; /* The first generation is 1: without it there is none, or it was lost. */
    }
    if (even_error == ERR_MISSING) {
        return odd.hard_state.generation == 1;
    }
    return even_error == ERR_OK && (even.hard_state.generation == odd.hard_state.generation + 1 ||
                                    odd.hard_state.generation == even.hard_state.generation + 1);
}

void log_state_rebuild(uint8_t file[LOG_STATE_FILE_SIZE], const struct log_state_block *block)
{
    for (uint32_t number = 0; number < LOG_STATE_BLOCK_COUNT; number++) {
        uint8_t *data = file + (size_t)number * LOG_BLOCK_SIZE;
        struct log_state_block found;

        if (log_state_decode(data, number, &found) != ERR_OK) {
            memset(data, 0, LOG_BLOCK_SIZE);
        }
    }
    if (block->hard_state.generation != 0) {
        uint32_t number = log_state_block_number(block->hard_state.generation);

        ASSERT(number < LOG_STATE_BLOCK_COUNT);
        log_state_encode(file + (size_t)number * LOG_BLOCK_SIZE, block);
    }
}
