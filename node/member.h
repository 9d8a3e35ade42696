/* node/member.h: what the configuration says of a member beside its part: name, disk, addresses.
 *
 * These are the bytes that raft keeps for each member and does not look into:
 *
 *     0         1      2      3        4          8             16
 *     | version | name | peer | client | reserved | incarnation | name, peer, client ...
 *     | u8      | size | size | size   | u32 0    | u64         |
 *
 * Little endian. Two members may have one name for a while: a voter whose disk is gone, and the
 * learner that replaces it. An incarnation is of one member only. */
#ifndef NODE_MEMBER_H
#define NODE_MEMBER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/macros.h"
#include "node/node.h"
#include "raft/configuration.h"

struct member {
    uint64_t incarnation;
    char name[NODE_NAME_SIZE_MAX + 1];
    char peer[NODE_ADDRESS_SIZE_MAX + 1];   /* Where other nodes dial it. */
    char client[NODE_ADDRESS_SIZE_MAX + 1]; /* Where clients dial it. */
};

enum { MEMBER_SIZE_MAX = 16 + NODE_NAME_SIZE_MAX + 2 * NODE_ADDRESS_SIZE_MAX };

/* 1 to 32 bytes, without comma, equals sign, space and control bytes: lists are made of names. */
MUST_USE bool member_name_is_valid(struct bytes name);

/* An incarnation and a valid name. */
MUST_USE bool member_is_valid(const struct member *member);

/* False, with `*member` undefined, when it is not valid or a text is too long. */
MUST_USE bool member_set(struct member *member, uint64_t incarnation, struct bytes name,
                         struct bytes peer, struct bytes client);

/* Returns the size. The member is valid. */
uint32_t member_encode(uint8_t to[RAFT_CONTEXT_SIZE_MAX], const struct member *member);

/* False unless the bytes are whole, of a known version and valid. */
MUST_USE bool member_decode(struct bytes bytes, struct member *member);

/* Of a member of a configuration. Asserts that its bytes are valid: only nodes of this cluster make
 * them, and they are checked before they are proposed. */
void member_of(const struct raft_member *from, struct member *member);

/* The same of the incarnation alone, for who looks for a disk in each turn. */
uint64_t member_incarnation(const struct raft_member *from);

#endif
