/* tests/support/node/fake_client.c: clients that speak the real bytes. */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/macros.h"
#include "tests/support/node/fake_world.h"

enum { ANSWER_MS_MAX = 5000, LEADER_MS_MAX = 10000, REQUEST_SIZE_MAX = 600 << 10 };

void fake_client_send(struct fake_cluster *cluster, uint32_t number, struct bytes bytes)
{
    ASSERT(number < cluster->client_count);
    fake_pipe_write(cluster, &cluster->clients[number].ahead, bytes);
}

uint64_t fake_request(struct fake_cluster *cluster, uint32_t number, enum wire_method method,
                      const struct buffer *params)
{
    struct fake_client *client = &cluster->clients[number];
    uint8_t *memory = malloc(REQUEST_SIZE_MAX);
    struct buffer out = buffer_of(memory, REQUEST_SIZE_MAX);
    uint64_t id = client->next_id++;
    bool fits = wire_request_begin(&out, id, method) && buffer_append(&out, buffer_bytes(params));

    ASSERT(fits);
    fake_client_send(cluster, number, buffer_bytes(&out));
    free(memory);
    return id;
}

uint32_t fake_client_open(struct fake_cluster *cluster, uint32_t place)
{
    uint32_t number = fake_client_connect(cluster, place);
    const struct wire_hello hello = {.version = WIRE_VERSION};
    uint8_t memory[64];
    struct buffer params = buffer_of(memory, sizeof(memory));
    bool fits = wire_hello_encode(&hello, &params);

    ASSERT(fits);
    uint64_t id = fake_request(cluster, number, WIRE_METHOD_hello, &params);

    ASSERT(id == 1);
    return number;
}

uint64_t fake_put(struct fake_cluster *cluster, uint32_t number, uint64_t session,
                  uint64_t sequence, const char *key, const char *value)
{
    const struct wire_put put = {.session = session,
                                 .sequence = sequence,
                                 .key = bytes_of_text(key),
                                 .value = bytes_of_text(value)};
    uint8_t *memory = malloc(REQUEST_SIZE_MAX);
    struct buffer params = buffer_of(memory, REQUEST_SIZE_MAX - WIRE_ENVELOPE_SIZE_MAX);
    bool fits = wire_put_encode(&put, &params);

    ASSERT(fits);
    uint64_t id = fake_request(cluster, number, WIRE_METHOD_put, &params);

    free(memory);
    return id;
}

uint64_t fake_get(struct fake_cluster *cluster, uint32_t number, const char *key)
{
    const struct wire_get get = {.key = bytes_of_text(key)};
    uint8_t memory[1024];
    struct buffer params = buffer_of(memory, sizeof(memory));
    bool fits = wire_get_encode(&get, &params);

    ASSERT(fits);
    return fake_request(cluster, number, WIRE_METHOD_get, &params);
}

uint64_t fake_session_open(struct fake_cluster *cluster, uint32_t number, uint32_t ttl_ms)
{
    const struct wire_session_open request = {
        .ttl_ms = ttl_ms, .owner = bytes_of_text("test"), .attempt = 1};
    uint8_t memory[512];
    struct buffer params = buffer_of(memory, sizeof(memory));
    bool fits = wire_session_open_encode(&request, &params);

    ASSERT(fits);
    return fake_request(cluster, number, WIRE_METHOD_session_open, &params);
}

uint64_t fake_session_renew(struct fake_cluster *cluster, uint32_t number, uint64_t session,
                            uint64_t attempt)
{
    const struct wire_session_renew request = {.session = session, .attempt = attempt};
    uint8_t memory[128];
    struct buffer params = buffer_of(memory, sizeof(memory));
    bool fits = wire_session_renew_encode(&request, &params);

    ASSERT(fits);
    return fake_request(cluster, number, WIRE_METHOD_session_renew, &params);
}

uint64_t fake_acquire(struct fake_cluster *cluster, uint32_t number, uint64_t session,
                      uint64_t sequence, const char *name, bool wait)
{
    const struct wire_lock_acquire request = {
        .session = session, .sequence = sequence, .name = bytes_of_text(name), .wait = wait};
    uint8_t memory[512];
    struct buffer params = buffer_of(memory, sizeof(memory));
    bool fits = wire_lock_acquire_encode(&request, &params);

    ASSERT(fits);
    return fake_request(cluster, number, WIRE_METHOD_lock_acquire, &params);
}

uint64_t fake_release(struct fake_cluster *cluster, uint32_t number, uint64_t session,
                      uint64_t sequence, const char *name)
{
    const struct wire_lock_release request = {
        .session = session, .sequence = sequence, .name = bytes_of_text(name)};
    uint8_t memory[512];
    struct buffer params = buffer_of(memory, sizeof(memory));
    bool fits = wire_lock_release_encode(&request, &params);

    ASSERT(fits);
    return fake_request(cluster, number, WIRE_METHOD_lock_release, &params);
}

uint64_t fake_change(struct fake_cluster *cluster, uint32_t number, enum wire_method method,
                     const char *name)
{
    /* The requests differ in name only. */
    const struct wire_leader_move request = {.name = bytes_of_text(name), .timeout_ms = 4000};
    uint8_t memory[256];
    struct buffer params = buffer_of(memory, sizeof(memory));
    bool fits = wire_leader_move_encode(&request, &params);

    ASSERT(fits);
    return fake_request(cluster, number, method, &params);
}

/* --- Answers ------------------------------------------------------------------------------------
 */

static void keep_message(struct fake_client *client, const struct wire_rpc *rpc)
{
    if (client->message_count == client->message_capacity) {
        client->message_capacity = 2 * client->message_capacity + 16;
        client->messages =
            realloc(client->messages, client->message_capacity * sizeof(client->messages[0]));
        ASSERT(client->messages != NULL);
    }
    uint8_t *body = malloc(rpc->body.size + 1);

    memcpy(body, rpc->body.data, rpc->body.size);
    client->messages[client->message_count++] = (struct fake_message){
        .type = rpc->type,
        .id = rpc->id,
        .method = rpc->method,
        .failed = rpc->failed,
        .body = bytes_of(body, rpc->body.size),
    };
}

static void receive(struct fake_cluster *cluster, struct fake_client *client)
{
    struct wire_rpc rpc;

    if (!client->reads) {
        return;
    }
    fake_pipe_advance(cluster, &client->back);
    struct bytes rest = bytes_of(client->back.data, client->back.arrived);

    while (rest.size > 0 && wire_rpc_next(&rest, &rpc) == ERR_OK) {
        keep_message(client, &rpc);
    }
    fake_pipe_drop(&client->back, client->back.arrived - rest.size);
}

const struct fake_message *fake_find_answer(struct fake_cluster *cluster, uint32_t number,
                                            uint64_t id)
{
    struct fake_client *client = &cluster->clients[number];

    receive(cluster, client);
    for (uint32_t i = 0; i < client->message_count; i++) {
        if (client->messages[i].type == WIRE_RESPONSE && client->messages[i].id == id) {
            return &client->messages[i];
        }
    }
    return NULL;
}

struct expected {
    uint32_t number;
    uint64_t id;
};

static bool has_answer(struct fake_cluster *cluster, void *context)
{
    const struct expected *expected = context;

    return fake_find_answer(cluster, expected->number, expected->id) != NULL;
}

const struct fake_message *fake_answer(struct fake_cluster *cluster, uint32_t number, uint64_t id)
{
    struct expected expected = {number, id};
    bool arrived = fake_run_until(cluster, has_answer, &expected, ANSWER_MS_MAX);

    ASSERT_VALUES(arrived, number, id);
    return fake_find_answer(cluster, number, id);
}

const struct fake_message *fake_find_notice(struct fake_cluster *cluster, uint32_t number,
                                            enum wire_method notice, uint32_t nth)
{
    struct fake_client *client = &cluster->clients[number];

    receive(cluster, client);
    for (uint32_t i = 0; i < client->message_count; i++) {
        if (client->messages[i].type == WIRE_NOTICE && client->messages[i].method == notice &&
            nth-- == 0) {
            return &client->messages[i];
        }
    }
    return NULL;
}

struct wire_failure fake_failure(struct fake_cluster *cluster, uint32_t number, uint64_t id)
{
    const struct fake_message *answer = fake_answer(cluster, number, id);
    struct bytes body = answer->body;
    struct wire_failure failure;

    ASSERT(answer->failed);
    enum error error = wire_failure_decode(&body, &failure);

    ASSERT_VALUES(error == ERR_OK, error, id);
    return failure;
}

enum error fake_outcome(struct fake_cluster *cluster, uint32_t number, uint64_t id)
{
    return fake_answer(cluster, number, id)->failed
               ? error_from_number(fake_failure(cluster, number, id).code)
               : ERR_OK;
}

uint64_t fake_open_session(struct fake_cluster *cluster, uint32_t number, uint32_t ttl_ms)
{
    const struct fake_message *answer =
        fake_answer(cluster, number, fake_session_open(cluster, number, ttl_ms));
    struct bytes body = answer->body;
    struct wire_session_open_result result;

    ASSERT(!answer->failed);
    enum error error = wire_session_open_result_decode(&body, &result);

    ASSERT_VALUES(error == ERR_OK && result.session != 0, error, result.session);
    return result.session;
}

/* Its texts and its list of members are not kept. */
struct wire_status_result fake_status(struct fake_cluster *cluster, uint32_t place)
{
    uint32_t number = fake_client_open(cluster, place);
    const struct wire_status status = {0};
    uint8_t memory[16];
    struct buffer params = buffer_of(memory, sizeof(memory));
    bool fits = wire_status_encode(&status, &params);

    ASSERT(fits);
    struct bytes body =
        fake_answer(cluster, number, fake_request(cluster, number, WIRE_METHOD_status, &params))
            ->body;
    struct wire_status_result result = {0};
    enum error error = wire_status_result_decode(&body, &result);

    ASSERT_VALUES(error == ERR_OK, error, place);
    result.cluster = result.node = result.role = (struct bytes){0};
    result.leader = result.leader_client = result.members.raw = (struct bytes){0};
    result.waiting.raw = (struct bytes){0};
    fake_client_release(cluster, number);
    return result;
}

/* --- Leaders ---------------------------------------------------------------------------------- */

/* Who answered: the node itself, or the leader that it passes requests on to ("n1" is place 0). */
static uint32_t answerer(struct fake_cluster *cluster, uint32_t number, uint32_t place)
{
    const struct fake_message *notice = NULL;
    struct wire_leader_is told;

    for (uint32_t i = 0;; i++) {
        const struct fake_message *next =
            fake_find_notice(cluster, number, WIRE_NOTICE_leader_is, i);

        if (next == NULL) {
            break;
        }
        notice = next;
    }
    if (notice == NULL) {
        return place;
    }
    struct bytes body = notice->body;
    enum error error = wire_leader_is_decode(&body, &told);

    ASSERT_VALUES(error == ERR_OK && told.leader.size == 2, error, told.leader.size);
    return (uint32_t)(told.leader.data[1] - '1');
}

/* Says every 20 ms to every node that runs: put; the first OK names the leader. */
uint32_t fake_leader(struct fake_cluster *cluster)
{
    uint32_t numbers[FAKE_NODE_COUNT_MAX] = {0};
    uint64_t ids[FAKE_NODE_COUNT_MAX] = {0};
    uint32_t leader = FAKE_NODE_COUNT_MAX;

    for (uint32_t i = 0; i < cluster->node_count; i++) {
        numbers[i] = cluster->worlds[i].runs ? fake_client_open(cluster, i) : UINT32_MAX;
    }
    for (uint64_t ms = 0; ms < LEADER_MS_MAX && leader == FAKE_NODE_COUNT_MAX; ms += 20) {
        for (uint32_t i = 0; i < cluster->node_count; i++) {
            const struct fake_message *answer = numbers[i] == UINT32_MAX || ids[i] == 0
                                                    ? NULL
                                                    : fake_find_answer(cluster, numbers[i], ids[i]);

            if (answer != NULL && !answer->failed) {
                leader = answerer(cluster, numbers[i], i);
            }
            if (numbers[i] != UINT32_MAX && (ids[i] == 0 || answer != NULL)) {
                ids[i] = fake_put(cluster, numbers[i], 0, 0, "leader", "found");
            }
        }
        fake_run(cluster, 20);
    }
    ASSERT_VALUES(leader < cluster->node_count, leader, cluster->now_ms);
    for (uint32_t i = 0; i < cluster->node_count; i++) {
        if (numbers[i] != UINT32_MAX) {
            fake_client_release(cluster, numbers[i]);
        }
    }
    fake_run(cluster, 10);
    return leader;
}
