/* tests/support/node/fake_actor.c: clients for long runs with faults. */
#include "tests/support/node/fake_actor.h"

#include <stdio.h>
#include <string.h>

#include "base/assert.h"

enum { TASK_MS_MAX = 900, RETRY_MS = 20, COUNTER_TTL_MS = 600000, ASK_AGAIN_MS = 400 };

static const char lock_name[] = "the lock";

void fake_actors_open(struct fake_actors *actors, uint32_t counter_count, uint32_t locker_count)
{
    memset(actors, 0, sizeof(*actors));
    actors->count = counter_count + locker_count;
    ASSERT(actors->count <= 8);
    for (uint32_t i = 0; i < actors->count; i++) {
        actors->items[i].kind = i < counter_count ? ACTOR_COUNTER : ACTOR_LOCKER;
        actors->items[i].number = i;
        actors->items[i].next_node = FAKE_NODE_COUNT_MAX;
    }
}

bool fake_actor_holds(const struct fake_actor *actor, const struct fake_cluster *cluster)
{
    return actor->token != 0 && cluster->now_ms < actor->deadline_ms;
}

/* --- Connection ------------------------------------------------------------------------------- */

static void hang_up(struct fake_actor *actor, struct fake_cluster *cluster)
{
    if (actor->has_client) {
        fake_client_release(cluster, actor->client);
    }
    actor->has_client = false;
    actor->notice_count = 0;
    actor->task_id = 0;
    actor->renew_id = 0;
    actor->wait_ms = cluster->now_ms + RETRY_MS;
}

static bool connect(struct fake_actor *actor, struct fake_cluster *cluster)
{
    uint32_t place = actor->next_node;

    if (actor->has_client && !cluster->clients[actor->client].is_open) {
        hang_up(actor, cluster);
        actor->next_node = FAKE_NODE_COUNT_MAX;
    }
    if (actor->has_client || cluster->now_ms < actor->wait_ms) {
        return actor->has_client;
    }
    if (place >= cluster->node_count) {
        place = (uint32_t)prng_below(&cluster->prng, cluster->node_count);
    }
    actor->next_node = FAKE_NODE_COUNT_MAX;
    if (!cluster->worlds[place].runs || cluster->worlds[place].asked_to_stop) {
        return false;
    }
    actor->client = fake_client_open(cluster, place);
    actor->has_client = true;
    return true;
}

/* --- Requests --------------------------------------------------------------------------------- */

static uint64_t send_swap(struct fake_actor *actor, struct fake_cluster *cluster)
{
    uint8_t memory[512];
    struct buffer params = buffer_of(memory, sizeof(memory));
    char key[16];
    char expected[24];
    char value[24];

    snprintf(key, sizeof(key), "k%u", actor->number);
    snprintf(expected, sizeof(expected), "%llu", (unsigned long long)actor->value);
    snprintf(value, sizeof(value), "%llu", (unsigned long long)actor->value + 1);
    const struct wire_cas cas = {
        .session = actor->session,
        .sequence = actor->sequence,
        .key = bytes_of_text(key),
        .absent = actor->value == 0,
        .expected = bytes_of_text(expected),
        .value = bytes_of_text(value),
    };
    bool fits = wire_cas_encode(&cas, &params);

    ASSERT(fits);
    return fake_request(cluster, actor->client, WIRE_METHOD_cas, &params);
}

static uint64_t send_read(struct fake_actor *actor, struct fake_cluster *cluster)
{
    char key[16];

    snprintf(key, sizeof(key), "k%u", actor->number);
    return fake_get(cluster, actor->client, key);
}

static void send_task(struct fake_actor *actor, struct fake_cluster *cluster)
{
    actor->task_ms = cluster->now_ms;
    switch (actor->task) {
    case TASK_OPEN:
        actor->task_id = fake_session_open(
            cluster, actor->client, actor->kind == ACTOR_COUNTER ? COUNTER_TTL_MS : ACTOR_TTL_MS);
        return;
    case TASK_SWAP:
        actor->task_id = send_swap(actor, cluster);
        return;
    case TASK_READ:
        actor->task_id = send_read(actor, cluster);
        return;
    case TASK_ACQUIRE:
        actor->task_id =
            fake_acquire(cluster, actor->client, actor->session, actor->sequence, lock_name, true);
        actor->asked_ms = cluster->now_ms;
        return;
    case TASK_RELEASE:
        actor->task_id =
            fake_release(cluster, actor->client, actor->session, actor->sequence, lock_name);
        return;
    case TASK_NONE:
        break;
    }
    UNREACHABLE();
}

static void begin(struct fake_actor *actor, enum actor_task task)
{
    ASSERT(actor->task == TASK_NONE);
    actor->task = task;
    actor->task_id = 0;
    if (task != TASK_OPEN && task != TASK_READ) {
        actor->sequence++;
    }
}

/* The deadline of the holder: from the send time of the very attempt that was answered. */
static void extend(struct fake_actor *actor, uint64_t sent_ms)
{
    uint64_t deadline_ms = sent_ms + ACTOR_TTL_MS * 98 / 100 - 100;

    if (deadline_ms > actor->deadline_ms) {
        actor->deadline_ms = deadline_ms;
    }
}

static void lose_session(struct fake_actor *actor)
{
    actor->session = 0;
    actor->sequence = 0;
    actor->token = 0;
    actor->deadline_ms = 0;
    actor->is_queued = false;
    actor->is_silent = false;
    actor->task = TASK_NONE;
    actor->task_id = 0;
    actor->renew_id = 0;
}

/* --- Answers ---------------------------------------------------------------------------------- */

static void take_token(struct fake_actors *actors, struct fake_actor *actor, uint64_t token,
                       struct fake_cluster *cluster)
{
    if (token == actor->token) {
        return;
    }
    /* Learned late, it may be older than what others were granted since: then it is not held. */
    if (cluster->now_ms < actor->deadline_ms) {
        ASSERT_VALUES(token > actors->newest_token, token, actors->newest_token);
        actors->newest_token = token;
    }
    actor->token = token;
    actor->is_queued = false;
    actor->release_ms = cluster->now_ms + 5 + token % 40;
    actor->done_count++;
    if (prng_below(&cluster->prng, 8) == 0) {
        /* Cut off from all: it believes to the last moment, and the others wait that long. */
        actor->is_silent = true;
        actor->release_ms = UINT64_MAX;
    }
}

static uint64_t parse(struct bytes text)
{
    uint64_t value = 0;

    for (size_t i = 0; i < text.size; i++) {
        value = 10 * value + (uint64_t)(text.data[i] - '0');
    }
    return value;
}

static void take_result(struct fake_actors *actors, struct fake_actor *actor,
                        struct fake_cluster *cluster, struct bytes body)
{
    struct wire_session_open_result opened;
    struct wire_get_result got;
    struct wire_lock_acquire_result acquired;
    enum error error = ERR_OK;

    switch (actor->task) {
    case TASK_OPEN:
        error = wire_session_open_result_decode(&body, &opened);
        actor->session = opened.session;
        extend(actor, actor->task_ms);
        break;
    case TASK_SWAP:
        actor->value++;
        actor->done_count++;
        break;
    case TASK_READ:
        error = wire_get_result_decode(&body, &got);
        ASSERT_VALUES(parse(got.value) == actor->value, parse(got.value), actor->value);
        break;
    case TASK_ACQUIRE:
        error = wire_lock_acquire_result_decode(&body, &acquired);
        actor->is_queued = acquired.token == 0;
        if (acquired.token != 0) {
            take_token(actors, actor, acquired.token, cluster);
        }
        break;
    case TASK_RELEASE:
    case TASK_NONE:
        break;
    }
    ASSERT(error == ERR_OK);
    actor->task = TASK_NONE;
}

/* The place of the node whose clients dial "client:N". */
static uint32_t place_of(struct bytes address)
{
    return address.size == 0 ? FAKE_NODE_COUNT_MAX
                             : (uint32_t)(address.data[address.size - 1] - '1');
}

static void take_failure(struct fake_actor *actor, struct fake_cluster *cluster, uint64_t id)
{
    struct wire_failure failure = fake_failure(cluster, actor->client, id);
    enum error error = error_from_number(failure.code);

    if (error == ERR_NOT_LEADER) {
        actor->next_node = place_of(failure.leader_client);
        hang_up(actor, cluster);
        return;
    }
    if (error == ERR_SESSION_EXPIRED) {
        /* A loss is never heard of before the deadline that the holder counts for itself. */
        ASSERT(actor->kind == ACTOR_LOCKER);
        ASSERT_VALUES(cluster->now_ms >= actor->deadline_ms, cluster->now_ms, actor->deadline_ms);
        lose_session(actor);
        return;
    }
    if (error == ERR_NOT_FOUND) {
        ASSERT(actor->task == TASK_RELEASE || (actor->task == TASK_READ && actor->value == 0));
        actor->task = TASK_NONE;
        return;
    }
    bool may_repeat = error == ERR_OVERLOADED || error == ERR_UNKNOWN_OUTCOME ||
                      error == ERR_STOPPING || error == ERR_NOT_FORMED;

    ASSERT_VALUES(may_repeat, error, actor->task);
    hang_up(actor, cluster);
}

static void take_answers(struct fake_actors *actors, struct fake_actor *actor,
                         struct fake_cluster *cluster)
{
    const struct fake_message *answer =
        actor->task_id == 0 ? NULL : fake_find_answer(cluster, actor->client, actor->task_id);

    if (answer != NULL) {
        uint64_t id = actor->task_id;

        actor->task_id = 0;
        if (answer->failed) {
            take_failure(actor, cluster, id);
        } else {
            take_result(actors, actor, cluster, answer->body);
        }
        return;
    }
    if (actor->task_id != 0 && cluster->now_ms > actor->task_ms + TASK_MS_MAX) {
        hang_up(actor, cluster);
    }
}

static void take_renewal(struct fake_actor *actor, struct fake_cluster *cluster)
{
    const struct fake_message *answer =
        actor->renew_id == 0 ? NULL : fake_find_answer(cluster, actor->client, actor->renew_id);
    struct wire_session_renew_result result;

    if (answer == NULL) {
        if (actor->renew_id != 0 && cluster->now_ms > actor->renew_sent_ms + TASK_MS_MAX) {
            hang_up(actor, cluster);
        }
        return;
    }
    uint64_t id = actor->renew_id;

    actor->renew_id = 0;
    if (answer->failed) {
        take_failure(actor, cluster, id);
        return;
    }
    struct bytes body = answer->body;
    enum error error = wire_session_renew_result_decode(&body, &result);

    ASSERT(error == ERR_OK);
    ASSERT_VALUES(result.attempt == actor->attempt, result.attempt, actor->attempt);
    extend(actor, actor->renew_sent_ms);
}

static void take_grants(struct fake_actors *actors, struct fake_actor *actor,
                        struct fake_cluster *cluster)
{
    const struct fake_message *notice;
    struct wire_granted granted;

    if (!actor->is_queued) {
        return;
    }
    while ((notice = fake_find_notice(cluster, actor->client, WIRE_NOTICE_granted,
                                      actor->notice_count)) != NULL) {
        struct bytes body = notice->body;
        enum error error = wire_granted_decode(&body, &granted);

        actor->notice_count++;
        ASSERT(error == ERR_OK);
        if (granted.session == actor->session && granted.token > actors->newest_token) {
            take_token(actors, actor, granted.token, cluster);
            return;
        }
    }
}

/* --- Deciding --------------------------------------------------------------------------------- */

static void decide(struct fake_actor *actor, struct fake_cluster *cluster)
{
    if (actor->task != TASK_NONE) {
        return;
    }
    if (actor->session == 0) {
        begin(actor, TASK_OPEN);
    } else if (actor->kind == ACTOR_COUNTER) {
        begin(actor, prng_below(&cluster->prng, 4) == 0 ? TASK_READ : TASK_SWAP);
    } else if (actor->token != 0 && cluster->now_ms >= actor->release_ms) {
        actor->token = 0; /* No side effects from here on, whatever becomes of the release. */
        begin(actor, TASK_RELEASE);
    } else if (actor->token == 0 &&
               (!actor->is_queued || cluster->now_ms > actor->asked_ms + ASK_AGAIN_MS)) {
        begin(actor, TASK_ACQUIRE);
    }
}

static void step(struct fake_actors *actors, struct fake_actor *actor, struct fake_cluster *cluster)
{
    if (actor->kind == ACTOR_LOCKER && actor->session != 0 &&
        cluster->now_ms >= actor->deadline_ms) {
        lose_session(actor); /* Lost: abort, and begin again. Checked before anything else. */
    }
    if (!connect(actor, cluster)) {
        return;
    }
    take_answers(actors, actor, cluster);
    if (actor->has_client) {
        take_renewal(actor, cluster);
    }
    if (!actor->has_client || cluster->now_ms < actor->wait_ms) {
        return;
    }
    take_grants(actors, actor, cluster);
    decide(actor, cluster);
    if (actor->task != TASK_NONE && actor->task_id == 0) {
        send_task(actor, cluster);
    }
    if (actor->kind == ACTOR_LOCKER && actor->session != 0 && actor->renew_id == 0 &&
        !actor->is_silent && cluster->now_ms >= actor->renew_sent_ms + ACTOR_TTL_MS / 6) {
        actor->attempt++;
        actor->renew_sent_ms = cluster->now_ms;
        actor->renew_id =
            fake_session_renew(cluster, actor->client, actor->session, actor->attempt);
    }
}

void fake_actors_step(struct fake_actors *actors, struct fake_cluster *cluster)
{
    uint32_t holder_count = 0;

    for (uint32_t i = 0; i < actors->count; i++) {
        step(actors, &actors->items[i], cluster);
    }
    for (uint32_t i = 0; i < actors->count; i++) {
        holder_count += fake_actor_holds(&actors->items[i], cluster) ? 1 : 0;
    }
    ASSERT_VALUES(holder_count <= 1, holder_count, cluster->now_ms);
}
