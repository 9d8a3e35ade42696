/* node/identity.h: who this node is, as its disk says it.
 *
 * One small file, `identity`, written whole before anything that it says is said to others:
 *
 *     0       4         8             16        32         40       44              48
 *     | magic | version | incarnation | cluster | self id  | formed | member count  | name ...
 *     | u32   | u32     | u64         | 16 x u8 | u64      | u32    | u32           | 32 x u8
 *
 *     80                                                512
 *     | 9 members: name 32 x u8, id u64, incarnation u64 | checksum u64 |
 *
 * Little endian; names are padded with zeros; the checksum covers all before it. An incarnation is
 * drawn once for each empty disk, so a wiped disk is another node, which may have forgotten a vote.
 */
#ifndef NODE_IDENTITY_H
#define NODE_IDENTITY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/macros.h"
#include "log/disk.h"
#include "node/node.h"
#include "raft/entry.h"

enum { IDENTITY_SIZE = 520, IDENTITY_CLUSTER_SIZE = 16 };

struct identity_member {
    char name[NODE_NAME_SIZE_MAX + 1];
    raft_id id;
    uint64_t incarnation;
};

struct identity {
    uint64_t incarnation;
    char name[NODE_NAME_SIZE_MAX + 1];
    bool formed; /* What follows is set. */
    uint8_t cluster[IDENTITY_CLUSTER_SIZE];
    raft_id self;
    uint32_t member_count;
    struct identity_member members[NODE_MEMBER_COUNT_MAX]; /* In the order of their names. */
};

void identity_encode(uint8_t to[IDENTITY_SIZE], const struct identity *identity);

/* ERR_CORRUPT (size, checksum, or contents that contradict each other), ERR_VERSION. */
MUST_USE enum error identity_decode(struct bytes bytes, struct identity *identity);

/* ERR_MISSING on an empty disk; ERR_CORRUPT, ERR_VERSION, ERR_IO. */
MUST_USE enum error identity_load(struct disk *disk, struct identity *identity);
MUST_USE enum error identity_save(struct disk *disk, const struct identity *identity);

/* NULL when there is no such member. */
const struct identity_member *identity_find(const struct identity *identity, struct bytes name);

#endif
