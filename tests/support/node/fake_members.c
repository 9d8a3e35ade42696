/* tests/support/node/fake_members.c: the list of members out of a node's status, and what operators
 * do about it. */
#include "tests/support/node/fake_members.h"

#include <string.h>

#include "base/assert.h"
#include "tests/support/log/memory_disk.h"

const char *const fake_names[FAKE_NODE_COUNT_MAX] = {"n1", "n2", "n3", "n4", "n5", "n6", "n7"};

struct fake_members fake_members_of(struct fake_cluster *cluster, uint32_t place)
{
    const struct wire_status request = {0};
    struct wire_status_result status;
    uint8_t memory[16];
    struct buffer params = buffer_of(memory, sizeof(memory));
    uint32_t client = fake_client_open(cluster, place);
    bool fits = wire_status_encode(&request, &params);

    ASSERT(fits);
    uint64_t id = fake_request(cluster, client, WIRE_METHOD_status, &params);
    struct bytes body = fake_answer(cluster, client, id)->body;
    enum error error = wire_status_result_decode(&body, &status);

    ASSERT_VALUES(error == ERR_OK, error, place);
    struct fake_members members = {.changing = status.changing,
                                   .waiting_count = status.waiting.count};
    struct bytes rest = status.members.raw;

    ASSERT(status.members.count <= FAKE_MEMBER_COUNT_MAX);
    for (uint32_t i = 0; i < status.members.count; i++) {
        struct fake_member *to = &members.items[members.count++];
        struct wire_member member;

        error = wire_member_decode(&rest, &member);
        ASSERT_VALUES(error == ERR_OK, error, i);
        ASSERT(member.member.size < FAKE_MEMBER_PART_SIZE);
        memcpy(to->name, member.name.data, member.name.size);
        memcpy(to->part, member.member.data, member.member.size);
        memcpy(to->client, member.client.data, member.client.size);
        to->id = member.id;
    }
    fake_client_release(cluster, client);
    return members;
}

uint32_t fake_members_count(const struct fake_members *members, const char *part)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < members->count; i++) {
        count += strcmp(members->items[i].part, part) == 0 ? 1 : 0;
    }
    return count;
}

uint64_t fake_members_voter(const struct fake_members *members, const char *name)
{
    for (uint32_t i = 0; i < members->count; i++) {
        if (strcmp(members->items[i].name, name) == 0 &&
            strcmp(members->items[i].part, "voter") == 0) {
            return members->items[i].id;
        }
    }
    return 0;
}

struct identity fake_identity(struct fake_cluster *cluster, uint32_t place)
{
    struct bytes file = memory_disk_file(cluster->worlds[place].disk, "identity");
    struct identity identity = {0};
    enum error error = identity_decode(file, &identity);

    ASSERT_VALUES(error == ERR_OK, error, place);
    return identity;
}

/* How many members have this part, "voter" or "learner". */
uint32_t fake_part_count(struct fake_cluster *cluster, uint32_t place, const char *part)
{
    struct fake_members members = fake_members_of(cluster, place);

    return fake_members_count(&members, part);
}

/* 0: it is no voter. */
uint64_t fake_voter_id(struct fake_cluster *cluster, uint32_t place, const char *name)
{
    struct fake_members members = fake_members_of(cluster, place);

    return fake_members_voter(&members, name);
}

/* --- What operators do ------------------------------------------------------------------------ */

/* Asks whoever leads until the answer is final. */
enum error fake_change_now(struct fake_cluster *cluster, enum wire_method method, const char *name)
{
    enum error error = ERR_NOT_LEADER;

    for (uint32_t i = 0; i < 20 && (error == ERR_NOT_LEADER || error == ERR_UNKNOWN_OUTCOME ||
                                    error == ERR_STOPPING);
         i++) {
        uint32_t client = fake_client_open(cluster, fake_leader(cluster));

        error = fake_outcome(cluster, client, fake_change(cluster, client, method, name));
        fake_client_release(cluster, client);
    }
    return error;
}

enum error fake_put_now(struct fake_cluster *cluster, const char *key, const char *value)
{
    uint32_t client = fake_client_open(cluster, fake_leader(cluster));
    enum error error = fake_outcome(cluster, client, fake_put(cluster, client, 0, 0, key, value));

    fake_client_release(cluster, client);
    return error;
}

void fake_put_large(struct fake_cluster *cluster)
{
    static char value[200 << 10];

    memset(value, 'v', sizeof(value) - 1);
    enum error error = fake_put_now(cluster, "large", value);

    ASSERT_VALUES(error == ERR_OK, error, cluster->now_ms);
}

bool fake_has_key(struct fake_cluster *cluster, const char *key)
{
    uint32_t client = fake_client_open(cluster, fake_leader(cluster));
    enum error error = fake_outcome(cluster, client, fake_get(cluster, client, key));

    fake_client_release(cluster, client);
    return error == ERR_OK;
}

void fake_start_and_add(struct fake_cluster *cluster, uint32_t place)
{
    fake_start(cluster, place);
    fake_run(cluster, 200);
    enum error error = fake_change_now(cluster, WIRE_METHOD_member_add, fake_names[place]);

    ASSERT_VALUES(error == ERR_OK, error, place);
}

/* `count` of `total` nodes run and have formed. */
struct fake_cluster *fake_formed(uint32_t total, uint32_t count, uint64_t seed)
{
    struct fake_cluster *cluster = fake_cluster_open(total, seed);

    fake_form_with(cluster, count);
    for (uint32_t i = 0; i < count; i++) {
        fake_start(cluster, i);
    }
    fake_leader(cluster);
    enum error error = fake_put_now(cluster, "before", "1");

    ASSERT_VALUES(error == ERR_OK, error, seed);
    return cluster;
}

static bool is_removed(struct fake_cluster *cluster, void *context)
{
    const uint32_t *place = context;

    return node_is_removed(cluster->worlds[*place].node);
}

/* A node that has ended takes its connections with it. */
void fake_expect_removed(struct fake_cluster *cluster, uint32_t place)
{
    bool ended = fake_run_until(cluster, is_removed, &place, 10000);

    ASSERT_VALUES(ended, place, cluster->now_ms);
    ASSERT(strstr(node_problem(cluster->worlds[place].node), "empty its data folder") != NULL);
    fake_crash(cluster, place);
}

static bool is_voter_there(struct fake_cluster *cluster, void *context)
{
    struct identity identity = fake_identity(cluster, *(const uint32_t *)context);

    return identity.formed &&
           fake_voter_id(cluster, fake_leader(cluster), identity.name) == identity.self;
}

bool fake_becomes_voter(struct fake_cluster *cluster, uint32_t place, uint64_t ms)
{
    return fake_run_until(cluster, is_voter_there, &place, ms);
}
