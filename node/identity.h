/* node/identity.h: who this node is, as its disk says it.
 *
 * One small file, `identity`, written whole before anything that it says is said to others:
 *
 *     0       4         8             16        32         40       44              48
 *     | magic | version | incarnation | cluster | self id  | state  | member count  | name ...
 *     | u32   | u32     | u64         | 16 x u8 | u64      | u32    | u32           | 32 x u8
 *
 *     80             88                                                            2824
 *     | joined index | 9 members: id u64, incarnation u64, name 32, peer 128, client 128 | checksum
 *     | u64          |                                                              | u64
 *
 * Little endian; texts are padded with zeros; the checksum covers all before it. An incarnation is
 * drawn once for each empty disk, so a wiped disk is another node, which may have forgotten a vote.
 * The state is 0 for an empty disk, 1 for a formed one, 2 for an empty one that has found others
 * formed. The members are those of the formation, the configuration at index 0 of the log: the same
 * on every node for ever, whoever is a member now. */
#ifndef NODE_IDENTITY_H
#define NODE_IDENTITY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/macros.h"
#include "log/disk.h"
#include "node/member.h"
#include "node/node.h"
#include "raft/entry.h"

enum { IDENTITY_SIZE = 2832, IDENTITY_CLUSTER_SIZE = 16 };

struct identity_member {
    raft_id id; /* 1, 2, ... in the order of their names. */
    struct member member;
};

struct identity {
    uint64_t incarnation;
    char name[NODE_NAME_SIZE_MAX + 1];
    bool joins;  /* Not formed, and others are: it never founds a cluster any more. */
    bool formed; /* What follows is set. */
    uint8_t cluster[IDENTITY_CLUSTER_SIZE];
    raft_id self;            /* Of one that joined later: its incarnation. */
    raft_index joined_index; /* Of a committed configuration that has us; 0: the formation's. */
    uint32_t member_count;
    struct identity_member members[NODE_MEMBER_COUNT_MAX]; /* In the order of their names. */
};

void identity_encode(uint8_t to[IDENTITY_SIZE], const struct identity *identity);

/* ERR_CORRUPT (size, checksum, or contents that contradict each other), ERR_VERSION. */
MUST_USE enum error identity_decode(struct bytes bytes, struct identity *identity);

/* ERR_MISSING on an empty disk; ERR_CORRUPT, ERR_VERSION, ERR_IO. */
MUST_USE enum error identity_load(struct disk *disk, struct identity *identity);
MUST_USE enum error identity_save(struct disk *disk, const struct identity *identity);

/* What may be saved: a formed node is one of the members, or has joined later. */
MUST_USE bool identity_is_consistent(const struct identity *identity);

/* Where the log of every node of a formed cluster begins: nothing, and the formation's members. */
void identity_base(const struct identity *identity, struct raft_base *base);

/* NULL when the formation had no such member. */
const struct identity_member *identity_find(const struct identity *identity, struct bytes name);

#endif
