/* tests/support/node/fake_world.c: node/world.h over pipes. */
#include "tests/support/node/fake_world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/macros.h"
#include "base/text.h"

enum { MARK_COUNT_MAX = 512 };

/* --- Pipes --------------------------------------------------------------------------------------
 */

static void pipe_grow(struct fake_pipe *pipe, size_t room)
{
    if (pipe->capacity - pipe->size >= room) {
        return;
    }
    pipe->capacity = 2 * (pipe->size + room);
    pipe->data = realloc(pipe->data, pipe->capacity);
    ASSERT(pipe->data != NULL);
}

void fake_pipe_clear(struct fake_pipe *pipe)
{
    pipe->size = 0;
    pipe->arrived = 0;
    pipe->mark_count = 0;
}

void fake_pipe_free(struct fake_pipe *pipe)
{
    free(pipe->data);
    free(pipe->marks);
    memset(pipe, 0, sizeof(*pipe));
}

void fake_pipe_drop(struct fake_pipe *pipe, size_t size)
{
    ASSERT(size <= pipe->arrived);
    if (size == 0) {
        return;
    }
    memmove(pipe->data, pipe->data + size, pipe->size - size);
    pipe->size -= size;
    pipe->arrived -= size;
    for (uint32_t i = 0; i < pipe->mark_count; i++) {
        pipe->marks[i].end -= size;
    }
}

static void grow_marks(struct fake_pipe *pipe)
{
    if (pipe->mark_count == pipe->mark_capacity) {
        pipe->mark_capacity = pipe->mark_capacity == 0 ? 8 : 2 * pipe->mark_capacity;
        pipe->marks = realloc(pipe->marks, pipe->mark_capacity * sizeof(pipe->marks[0]));
        ASSERT(pipe->marks != NULL);
    }
}

static void pipe_mark(struct fake_cluster *cluster, struct fake_pipe *pipe)
{
    uint64_t at_ms =
        cluster->now_ms + pipe->delay_ms + prng_between(&cluster->prng, 1, cluster->delay_ms_max);
    uint32_t last = pipe->mark_count;

    if (last > 0 && (pipe->marks[last - 1].at_ms >= at_ms || last == MARK_COUNT_MAX)) {
        pipe->marks[last - 1].end = pipe->size; /* Never overtakes what went before. */
        return;
    }
    grow_marks(pipe);
    if (last == 0) {
        pipe->due_ms = at_ms;
        if (pipe->reader != NULL) {
            pipe->reader->due_is_known = false; /* Behind others it changes nothing. */
        }
    }
    pipe->marks[last] = (struct fake_mark){.at_ms = at_ms, .end = pipe->size};
    pipe->mark_count++;
}

void fake_pipe_write(struct fake_cluster *cluster, struct fake_pipe *pipe, struct bytes bytes)
{
    pipe_grow(pipe, bytes.size);
    memcpy(pipe->data + pipe->size, bytes.data, bytes.size);
    pipe->size += bytes.size;
    pipe_mark(cluster, pipe);
}

void fake_pipe_advance(struct fake_cluster *cluster, struct fake_pipe *pipe)
{
    uint32_t due = 0;

    if (fake_pipe_due_ms(pipe) > cluster->now_ms) {
        return;
    }
    while (due < pipe->mark_count && pipe->marks[due].at_ms <= cluster->now_ms) {
        pipe->arrived = pipe->marks[due].end;
        due++;
    }
    pipe->mark_count -= due;
    memmove(pipe->marks, pipe->marks + due, pipe->mark_count * sizeof(pipe->marks[0]));
    pipe->due_ms = pipe->marks[0].at_ms;
}

/* --- node/world.h ----------------------------------------------------------------------------- */

struct fake_link *fake_link_of(struct world *world, uint32_t connection)
{
    const struct fake_connection *record = &world->connections[connection];

    ASSERT(record->is_peer);
    return &world->cluster->worlds[record->source].links[world->place][record->lane];
}

static struct fake_pipe *output_of(struct world *world, world_connection connection)
{
    const struct fake_connection *record = &world->connections[connection];

    return record->is_peer ? &fake_link_of(world, connection)->back
                           : &world->cluster->clients[record->source].back;
}

static uint8_t *reserve(struct world *world, struct fake_pipe *pipe, size_t size)
{
    if (pipe->size + size > world->cluster->output_size_max) {
        return NULL;
    }
    pipe_grow(pipe, size);
    memset(pipe->data + pipe->size, 0xEE, size); /* What is not written shows. */
    return pipe->data + pipe->size;
}

uint8_t *world_reserve(struct world *world, world_connection connection, size_t size)
{
    const struct fake_connection *record = &world->connections[connection];

    ASSERT_VALUES(connection < FAKE_CONNECTION_COUNT_MAX, connection, size);
    if (!record->is_open || record->is_closing) {
        return NULL;
    }
    return reserve(world, output_of(world, connection), size);
}

uint8_t *world_reserve_beside(struct world *world, world_connection connection, size_t size,
                              size_t rest)
{
    const struct fake_connection *record = &world->connections[connection];

    if (!record->is_open || record->is_closing ||
        output_of(world, connection)->size + size + rest > world->cluster->output_size_max) {
        return NULL;
    }
    return world_reserve(world, connection, size);
}

void world_commit(struct world *world, world_connection connection, size_t size)
{
    struct fake_pipe *pipe = output_of(world, connection);

    ASSERT(world->connections[connection].is_open);
    ASSERT(pipe->size + size <= pipe->capacity);
    pipe->size += size;
    pipe_mark(world->cluster, pipe);
}

uint32_t fake_peer_number(const struct world *world, uint32_t target)
{
    uint32_t peer = 0;

    while (peer < NODE_PEER_COUNT_MAX && world->targets[peer] != target) {
        peer++;
    }
    return peer;
}

/* "peer:3" is the third node; any other address is nobody's. */
static uint32_t target_of(const struct world *world, struct bytes address)
{
    static const char prefix[] = "peer:";
    uint64_t number = 0;

    if (!bytes_has_prefix(address, bytes_of_text(prefix)) ||
        !text_parse_u64(bytes_skip(address, sizeof(prefix) - 1), &number) || number == 0 ||
        number > world->cluster->node_count || number == world->place + 1) {
        return FAKE_NODE_COUNT_MAX;
    }
    return (uint32_t)number - 1;
}

void world_set_peer(struct world *world, uint32_t peer, struct bytes name, struct bytes address)
{
    uint32_t target = target_of(world, address);

    ASSERT_VALUES(peer < NODE_PEER_COUNT_MAX, peer, name.size);
    if (world->targets[peer] != FAKE_NODE_COUNT_MAX) {
        fake_break_links(world->cluster, world->place, world->targets[peer]);
    }
    world->targets[peer] = FAKE_NODE_COUNT_MAX;
    if (target != FAKE_NODE_COUNT_MAX) {
        ASSERT_VALUES(fake_peer_number(world, target) == NODE_PEER_COUNT_MAX, peer, target);
        world->targets[peer] = target;
    }
}

static struct fake_link *link_of(struct world *world, uint32_t peer, enum world_lane lane)
{
    ASSERT_VALUES(peer < NODE_PEER_COUNT_MAX, peer, lane);
    uint32_t target = world->targets[peer];

    return target == FAKE_NODE_COUNT_MAX ? NULL : &world->links[target][lane];
}

uint8_t *world_reserve_link(struct world *world, uint32_t peer, enum world_lane lane, size_t size)
{
    struct fake_link *link = link_of(world, peer, lane);

    if (link == NULL) {
        return NULL;
    }
    return link->is_up ? reserve(world, &link->ahead, size) : NULL;
}

void world_commit_link(struct world *world, uint32_t peer, enum world_lane lane, size_t size)
{
    struct fake_link *link = link_of(world, peer, lane);

    ASSERT(link != NULL && link->is_up && link->ahead.size + size <= link->ahead.capacity);
    link->ahead.size += size;
    if (fake_network_sent(world, world->targets[peer], lane, size)) {
        pipe_mark(world->cluster, &link->ahead);
    }
    link->has_spoken = true;
}

void world_close(struct world *world, world_connection connection)
{
    ASSERT(world->connections[connection].is_open);
    ASSERT(!world->connections[connection].is_closing);
    world->connections[connection].is_closing = true;
}

void world_entropy(struct world *world, void *data, size_t size)
{
    uint8_t *bytes = data;

    for (size_t i = 0; i < size; i++) {
        bytes[i] = (uint8_t)prng_next(&world->cluster->prng);
    }
}

void world_log(struct world *world, enum world_level level, struct bytes line)
{
    ASSERT(level <= WORLD_ERROR);
    if (world->cluster->prints_log) {
        fprintf(stderr, "%8llu n%u %.*s\n", (unsigned long long)world->cluster->now_ms,
                world->place + 1, (int)line.size, (const char *)line.data);
    }
    if (world->log_size + line.size + 2 > sizeof(world->log)) {
        world->log_size = 0;
    }
    memcpy(world->log + world->log_size, line.data, line.size);
    world->log_size += line.size;
    world->log[world->log_size++] = '\n';
    world->log[world->log_size] = '\0';
}
