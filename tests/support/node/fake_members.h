/* tests/support/node/fake_members.h: who is a member, as a node of the fake cluster says it, and
 * what an operator does about it. What goes wrong aborts, unless it is returned. */
#ifndef TESTS_SUPPORT_NODE_FAKE_MEMBERS_H
#define TESTS_SUPPORT_NODE_FAKE_MEMBERS_H

#include <stdbool.h>
#include <stdint.h>

#include "node/identity.h"
#include "tests/support/node/fake_world.h"

enum { FAKE_MEMBER_COUNT_MAX = 9, FAKE_MEMBER_PART_SIZE = 17 };

struct fake_member {
    char name[NODE_NAME_SIZE_MAX + 1];
    char part[FAKE_MEMBER_PART_SIZE]; /* "voter", "learner", "leaving". */
    char client[NODE_ADDRESS_SIZE_MAX + 1];
    uint64_t id;
};

struct fake_members {
    struct fake_member items[FAKE_MEMBER_COUNT_MAX];
    uint32_t count;
    bool changing;
    uint32_t waiting_count; /* Nodes that ask to join. */
};

/* Asks the node; asserts that it answers within 5 s. */
struct fake_members fake_members_of(struct fake_cluster *cluster, uint32_t place);

/* How many have this part. */
uint32_t fake_members_count(const struct fake_members *members, const char *part);

/* The id of the voter of that name; 0: there is none. */
uint64_t fake_members_voter(const struct fake_members *members, const char *name);

/* Of the node's disk, which must have one. */
struct identity fake_identity(struct fake_cluster *cluster, uint32_t place);

/* "n1", "n2", ... */
extern const char *const fake_names[FAKE_NODE_COUNT_MAX];

/* The two above, asked of a node. */
uint32_t fake_part_count(struct fake_cluster *cluster, uint32_t place, const char *part);
uint64_t fake_voter_id(struct fake_cluster *cluster, uint32_t place, const char *name);

/* Asks whoever leads until the answer is final. */
enum error fake_change_now(struct fake_cluster *cluster, enum wire_method method, const char *name);
enum error fake_put_now(struct fake_cluster *cluster, const char *key, const char *value);
void fake_put_large(struct fake_cluster *cluster);
bool fake_has_key(struct fake_cluster *cluster, const char *key);

void fake_start_and_add(struct fake_cluster *cluster, uint32_t place);

/* `count` of `total` nodes run and have formed; the key "before" is there. */
struct fake_cluster *fake_formed(uint32_t total, uint32_t count, uint64_t seed);

/* The node is told that it was removed, and ends with what to do; its connections break. */
void fake_expect_removed(struct fake_cluster *cluster, uint32_t place);

bool fake_becomes_voter(struct fake_cluster *cluster, uint32_t place, uint64_t ms);

#endif
