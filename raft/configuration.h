/* raft/configuration.h: who is a member, and in what part: data that lies in the log.
 *
 * A configuration counts from the moment its entry is appended, committed or not, and no longer
 * when the entry is cut off (dissertation 4.1). Voters change through joint consensus (4.3): while
 * there are outgoing voters, whatever needs a majority needs one of the voters and one of the
 * outgoing voters. An id is never used again: a wiped disk and a new node have new ids. */
#ifndef RAFT_CONFIGURATION_H
#define RAFT_CONFIGURATION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/macros.h"
#include "raft/entry.h"

enum {
    RAFT_MEMBER_COUNT_MAX = 9,   /* Voters, outgoing voters and learners together. */
    RAFT_CONTEXT_SIZE_MAX = 320, /* Bytes of the caller for each member. */
};

/* What a member is; one of these, but VOTER and OUTGOING together for a voter that stays while the
 * configuration is joint. */
enum raft_part {
    RAFT_PART_VOTER = 1,
    RAFT_PART_OUTGOING = 2, /* A voter of the configuration that is being left. */
    RAFT_PART_LEARNER = 4,  /* Gets the log, and counts nowhere. */
};

struct raft_member {
    raft_id id;
    uint8_t parts;    /* Of enum raft_part. */
    bool is_promoted; /* A learner that becomes a voter by itself when it has caught up. */
    raft_id replaces; /* The voter that leaves in that same change; 0: none. */
    uint32_t context_size;
    uint8_t context[RAFT_CONTEXT_SIZE_MAX]; /* Raft does not look into it. */
};

struct raft_configuration {
    raft_index index; /* Of its entry; 0: the formation. */
    uint32_t member_count;
    struct raft_member members[RAFT_MEMBER_COUNT_MAX];
};

/* Bytes of a configuration: the payload of its entry, and what a snapshot keeps. All little endian.
 *
 *     0         2       4          8       16
 *     | version | count | reserved | index | members ...
 *     | u16     | u16   | u32 0    | u64   |
 *
 * and each member:
 *
 *     0    8          16      17      18             20
 *     | id | replaces | parts | flags | context size | context ...
 *     | u64| u64      | u8    | u8    | u16          |                */
enum {
    RAFT_CONFIGURATION_HEADER_SIZE = 16,
    RAFT_MEMBER_HEADER_SIZE = 20,
    RAFT_CONFIGURATION_SIZE_MAX =
        RAFT_CONFIGURATION_HEADER_SIZE +
        RAFT_MEMBER_COUNT_MAX * (RAFT_MEMBER_HEADER_SIZE + RAFT_CONTEXT_SIZE_MAX),
};

/* Returns the size. The configuration is valid. */
uint32_t raft_configuration_encode(uint8_t to[RAFT_CONFIGURATION_SIZE_MAX],
                                   const struct raft_configuration *configuration);

/* False, with `*configuration` untouched, unless the bytes are whole, of a known version and
 * valid. */
MUST_USE bool raft_configuration_decode(struct bytes bytes,
                                        struct raft_configuration *configuration);

/* Is the payload what its kind and index want? Of commands and no-ops it may be anything. */
MUST_USE bool raft_entry_is_sound(const struct raft_entry *entry);

/* Distinct ids that are not 0, parts that fit each other, at least one voter, sizes within their
 * limits. A configuration without members is valid at index 0 alone: that of a node that waits to
 * be added. */
MUST_USE bool raft_configuration_is_valid(const struct raft_configuration *configuration);

/* NULL when there is no such member. */
const struct raft_member *raft_configuration_find(const struct raft_configuration *configuration,
                                                  raft_id id);

/* Are there outgoing voters? */
MUST_USE bool raft_configuration_is_joint(const struct raft_configuration *configuration);

/* Where a log begins: all before is a snapshot. (0, 0, the formation) for a log that is whole. */
struct raft_base {
    raft_index index;
    raft_term term;
    struct raft_configuration configuration; /* What counts at `index`; its own index is at most
                                                that. */
};

#endif
