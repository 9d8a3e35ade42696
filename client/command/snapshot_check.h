/* client/command/snapshot_check.h: is a saved snapshot file whole?
 *
 * Only what every version of the format keeps (docs/snapshot.md, "Frozen"), and the chain and the
 * end of version 1: enough to know that the bytes are those that the node wrote. Pure: the caller
 * reads the file, one block after the other. */
#ifndef CLIENT_COMMAND_SNAPSHOT_CHECK_H
#define CLIENT_COMMAND_SNAPSHOT_CHECK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/macros.h"

enum {
    SNAPSHOT_CHECK_HEADER_SIZE = 48,
    SNAPSHOT_CHECK_BLOCK_SIZE_MAX = (1 << 20) + 4096,
};

/* Begins all zeros, but for the index. */
struct snapshot_check {
    uint64_t index;
    uint64_t offset;   /* Of the next block. */
    uint64_t number;   /* Likewise. */
    uint64_t checksum; /* Of the last block; behind the end it is the id of the file. */
    bool has_end;
};

/* The size of the block that begins with this header; 0 when none can. */
uint32_t snapshot_check_size(const uint8_t header[SNAPSHOT_CHECK_HEADER_SIZE]);

/* Takes the next block, whole. False, and nothing has changed, when it is not that block. */
MUST_USE bool snapshot_check_take(struct snapshot_check *check, struct bytes block);

#endif
