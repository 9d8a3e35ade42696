/* tests/support/client/world.c: see world.h. */
#include "tests/support/client/world.h"

#include <stdlib.h>

#define TEST_ENDPOINTS "10.0.0.0:7400,10.0.0.1:7400,10.0.0.2:7400"

struct world *world_open(uint64_t seed, uint32_t connections, uint32_t call_count_max)
{
    struct world *world = calloc(1, sizeof *world);
    struct arena arena;

    ASSERT(world != NULL);
    struct core_options options = {.name = bytes_of("test", 4),
                                   .connections = connections,
                                   .call_count_max = call_count_max,
                                   .call_slot_count = WORLD_CALL_COUNT,
                                   .session_count_max = WORLD_SESSION_COUNT,
                                   .seed = seed};
    size_t size = size_round_up(core_memory_size(&options), ARENA_ALIGNMENT);
    world->memory = aligned_alloc(ARENA_ALIGNMENT, size);
    ASSERT(world->memory != NULL);
    world->now_ms = WORLD_START_MS;
    world->timeout_ms = 2000;
    prng_init(&world->prng, seed);
    arena_init(&arena, world->memory, size);
    core_open(&world->core, &arena, &options, bytes_of_text(TEST_ENDPOINTS), world->now_ms);
    model_open(&world->model, world->now_ms);
    for (uint32_t i = 0; i < WORLD_LINK_COUNT; i++) {
        world->links[i].node = -1;
    }
    for (uint32_t i = 0; i < WORLD_CALL_COUNT; i++) {
        world->calls[i].core.slot = i;
    }
    return world;
}

void world_close(struct world *world)
{
    free(world->memory);
    free(world);
}

/* --- Links ----------------------------------------------------------------------------------- */

static void reset_link(struct world *world, uint32_t index)
{
    struct world_link *link = &world->links[index];

    model_forget(&world->model, (int)index);
    link->node = -1;
    link->connected = false;
    link->stuck = false;
    link->to_node = buffer_of(link->to_node_bytes, WORLD_PIPE_SIZE);
    link->from_node = buffer_of(link->from_node_bytes, WORLD_PIPE_SIZE);
    link->inbox_size = 0;
}

void world_break(struct world *world, int node)
{
    for (uint32_t i = 0; i < world->core.connection_count; i++) {
        if (world->links[i].node == node) {
            reset_link(world, i);
            core_disconnected(&world->core, &world->core.connections[i]);
        }
    }
}

static bool flows(struct world *world)
{
    return world->stall_percent == 0 || prng_below(&world->prng, 100) >= world->stall_percent;
}

static void move_bytes(struct buffer *buffer, size_t taken)
{
    memmove(buffer->data, buffer->data + taken, buffer->size - taken);
    buffer->size -= taken;
}

static void serve_node(struct world *world, uint32_t index)
{
    struct world_link *link = &world->links[index];

    if (world->frozen[link->node] || link->stuck || !flows(world)) {
        return;
    }
    struct bytes input = buffer_bytes(&link->to_node);
    size_t before = input.size;
    model_receive(&world->model, link->node, (int)index, &input, &link->from_node);
    move_bytes(&link->to_node, before - input.size);
    model_tell(&world->model, (int)index, &link->from_node);
}

static void serve_client(struct world *world, uint32_t index)
{
    struct world_link *link = &world->links[index];

    if (world->frozen[link->node] || link->from_node.size == 0 || !flows(world)) {
        return;
    }
    ASSERT(link->inbox_size + link->from_node.size <= WORLD_PIPE_SIZE);
    memcpy(link->inbox_bytes + link->inbox_size, link->from_node.data, link->from_node.size);
    link->inbox_size += link->from_node.size;
    link->from_node.size = 0;
    struct bytes input = bytes_of(link->inbox_bytes, link->inbox_size);
    core_receive(&world->core, &world->core.connections[index], &input);
    link->inbox_size = input.size; /* Whole messages only: nothing is left. */
    ASSERT(link->inbox_size == 0 || world->core.connections[index].state == CORE_CLOSE_WANTED);
}

static void serve_dial(struct world *world, uint32_t index)
{
    struct world_link *link = &world->links[index];
    struct core_connection *connection = &world->core.connections[index];

    if (connection->state == CORE_DIAL_WANTED) {
        world->dial_count++;
        reset_link(world, index);
        link->node = model_node(connection->address);
        ASSERT(link->node >= 0);
        core_dialing(&world->core, connection);
    } else if (connection->state == CORE_DIALING) {
        if (world->down[link->node]) {
            core_disconnected(&world->core, connection);
        } else {
            core_connected(&world->core, connection, buffer_of(link->output, sizeof link->output));
            link->connected = true;
        }
    }
}

static void serve_output(struct world *world, uint32_t index)
{
    struct world_link *link = &world->links[index];
    struct core_connection *connection = &world->core.connections[index];

    if (connection->state == CORE_CLOSE_WANTED) {
        reset_link(world, index);
        core_closed(&world->core, connection);
    } else if (link->connected && connection->output.size > 0) {
        bool fits = buffer_append(&link->to_node, buffer_bytes(&connection->output));
        ASSERT(fits);
        connection->output.size = 0;
    }
}

/* --- Telling --------------------------------------------------------------------------------- */

static void tell(struct world *world)
{
    struct core_session *session;
    struct core_call *call;
    enum core_session_state state;

    while ((session = core_next_changed(&world->core, &state)) != NULL) {
        if (world->change_count < WORLD_CHANGE_COUNT) {
            world->changes[world->change_count] =
                (struct world_change){.session = session, .state = state, .at_ms = world->now_ms};
            world->change_count++;
        }
    }
    while ((call = core_next_finished(&world->core)) != NULL) {
        struct world_call *told = CONTAINER_OF(call, struct world_call, core);
        told->told_count++;
        told->status = call->status;
        told->outcome = call->outcome;
        told->token = call->token;
        told->told_ms = world->now_ms;
        if (call->class == CORE_SESSION_END) {
            world->session_used[call->session->slot] = false;
        }
        if (core_call_delivered(&world->core, call)) {
            told->used = false;
        }
    }
    while ((call = core_next_freed(&world->core)) != NULL) {
        CONTAINER_OF(call, struct world_call, core)->used = false;
    }
}

void world_step(struct world *world)
{
    world->now_ms++;
    model_advance(&world->model, world->now_ms);
    core_advance(&world->core, world->now_ms);
    tell(world);
    for (uint32_t i = 0; i < world->core.connection_count; i++) {
        struct world_link *link = &world->links[i];
        serve_dial(world, i);
        if (link->node >= 0 && link->connected) {
            serve_client(world, i);
        }
        if (link->node >= 0 && link->connected) {
            serve_node(world, i);
        }
    }
    tell(world);
    core_pump(&world->core);
    for (uint32_t i = 0; i < world->core.connection_count; i++) {
        serve_output(world, i);
    }
    tell(world);
    core_check(&world->core);
}

void world_run(struct world *world, uint64_t ms)
{
    for (uint64_t i = 0; i < ms; i++) {
        world_step(world);
    }
}

void world_wait(struct world *world, const struct world_call *call, uint64_t limit_ms)
{
    for (uint64_t i = 0; i <= limit_ms && call->told_count == 0; i++) {
        world_step(world);
    }
    ASSERT_VALUES(call->told_count == 1, call->told_count, limit_ms);
}

/* --- Calls ----------------------------------------------------------------------------------- */

static struct world_call *take(struct world *world, enum wire_method method, const char *name)
{
    for (uint32_t i = 0; i < WORLD_CALL_COUNT; i++) {
        /* Not the one that was freed last: tests look at calls that are over. */
        uint32_t slot = (world->last_slot + 1 + i) % WORLD_CALL_COUNT;
        struct world_call *call = &world->calls[slot];
        if (call->used) {
            continue;
        }
        memset(call, 0, sizeof *call);
        world->last_slot = slot;
        call->used = true;
        call->core.slot = slot;
        call->core.method = method;
        call->core.timeout_ms = world->timeout_ms;
        ASSERT(strlen(name) < MODEL_NAME_SIZE);
        memcpy(call->name, name, strlen(name) + 1);
        return call;
    }
    return NULL;
}

struct world_call *world_put(struct world *world, const char *key, struct core_session *session)
{
    struct world_call *call = take(world, WIRE_METHOD_put, key);

    if (call != NULL) {
        call->core.session = session;
        call->core.request.put.key = bytes_of_text(call->name);
        call->core.request.put.value = bytes_of_text(call->name);
        core_call_start(&world->core, &call->core);
    }
    return call;
}

struct world_call *world_get(struct world *world, const char *key)
{
    struct world_call *call = take(world, WIRE_METHOD_get, key);

    if (call != NULL) {
        call->core.request.get.key = bytes_of_text(call->name);
        core_call_start(&world->core, &call->core);
    }
    return call;
}

struct world_call *world_observe(struct world *world, const char *name, uint32_t wait_ms)
{
    struct world_call *call = take(world, WIRE_METHOD_election_show, name);

    if (call != NULL) {
        call->core.wait_ms = wait_ms;
        call->core.request.election_show.name = bytes_of_text(call->name);
        core_call_start(&world->core, &call->core);
    }
    return call;
}

struct world_call *world_remove_member(struct world *world, const char *name)
{
    struct world_call *call = take(world, WIRE_METHOD_member_remove, name);

    if (call != NULL) {
        call->core.request.member_remove.name = bytes_of_text(call->name);
        core_call_start(&world->core, &call->core);
    }
    return call;
}

struct world_call *world_acquire(struct world *world, struct core_session *session,
                                 const char *name, int64_t wait_ms)
{
    struct world_call *call = take(world, WIRE_METHOD_lock_acquire, name);

    if (call != NULL) {
        call->core.session = session;
        call->core.wait_ms = wait_ms;
        call->core.request.lock_acquire.name = bytes_of_text(call->name);
        core_call_start(&world->core, &call->core);
    }
    return call;
}

struct world_call *world_release(struct world *world, struct core_session *session,
                                 const char *name, uint64_t token)
{
    struct world_call *call = take(world, WIRE_METHOD_lock_release, name);

    if (call != NULL) {
        call->core.session = session;
        call->core.request.lock_release.name = bytes_of_text(call->name);
        call->core.request.lock_release.token = token;
        core_call_start(&world->core, &call->core);
    }
    return call;
}

struct world_call *world_status(struct world *world, int node, uint32_t timeout_ms)
{
    struct world_call *call = take(world, WIRE_METHOD_status, "");

    if (call != NULL) {
        call->core.timeout_ms = timeout_ms;
        call->core.address = bytes_of_text(model_address(node));
        core_call_start(&world->core, &call->core);
    }
    return call;
}

struct world_call *world_open_session(struct world *world, uint32_t ttl_ms,
                                      struct core_session **session)
{
    for (uint32_t i = 0; i < WORLD_SESSION_COUNT; i++) {
        if (world->session_used[i]) {
            continue;
        }
        struct world_call *call = take(world, WIRE_METHOD_session_open, "");
        if (call == NULL) {
            return NULL;
        }
        *session = &world->sessions[i];
        memset(*session, 0, sizeof **session);
        (*session)->slot = i;
        world->session_used[i] = true;
        call->core.request.session_open.ttl_ms = ttl_ms;
        core_session_start(&world->core, *session, &call->core);
        return call;
    }
    return NULL;
}

struct world_call *world_end_session(struct world *world, struct core_session *session)
{
    struct world_call *call = take(world, WIRE_METHOD_session_end, "");

    if (call != NULL) {
        core_session_finish(&world->core, session, &call->core);
    }
    return call;
}

struct world_call *world_end_id(struct world *world, uint64_t session)
{
    struct world_call *call = take(world, WIRE_METHOD_session_end, "");

    if (call != NULL) {
        call->core.request.session_end.session = session;
        core_call_start(&world->core, &call->core);
    }
    return call;
}

struct core_session *world_session(struct world *world, uint32_t ttl_ms)
{
    struct core_session *session = NULL;
    struct world_call *call = world_open_session(world, ttl_ms, &session);

    ASSERT(call != NULL);
    world_wait(world, call, 1000);
    ASSERT_VALUES(call->status == ERR_OK, call->status, 0);
    return session;
}
