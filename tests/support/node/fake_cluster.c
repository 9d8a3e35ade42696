/* tests/support/node/fake_cluster.c: nodes come and go, time goes on. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/assert.h"
#include "base/macros.h"
#include "tests/support/base/memory_table.h"
#include "tests/support/log/memory_disk.h"
#include "tests/support/node/fake_world.h"

enum { DIAL_MS = 20, GARBAGE_SIZE = 256 << 10, CHECK_MS = 4, EVENT_COUNT_MAX = 512 };

static const char *const names[FAKE_NODE_COUNT_MAX] = {"n1", "n2", "n3", "n4", "n5"};
static const char *const addresses[FAKE_NODE_COUNT_MAX] = {"client:1", "client:2", "client:3",
                                                           "client:4", "client:5"};

/* --- Life ----------------------------------------------------------------------------------------
 */

struct fake_cluster *fake_cluster_open(uint32_t node_count, uint64_t seed)
{
    struct fake_cluster *cluster = calloc(1, sizeof(*cluster));

    ASSERT(cluster != NULL && node_count <= FAKE_NODE_COUNT_MAX);
    cluster->now_ms = 1000;
    cluster->node_count = node_count;
    cluster->delay_ms_max = 3;
    cluster->disk_ms_max = 3;
    cluster->output_size_max = 4 << 20;
    prng_init(&cluster->prng, seed);
    for (uint32_t i = 0; i < node_count; i++) {
        struct world *world = &cluster->worlds[i];

        world->cluster = cluster;
        world->place = i;
        world->disk = memory_disk_open();
        world->table = memory_table_open();
        node_options_init(&world->options);
        world->options.name = names[i];
        world->options.member_count = node_count;
        world->options.self = i;
        world->options.client_address = addresses[i];
        world->options.connection_count_max = FAKE_CONNECTION_COUNT_MAX;
        world->options.session_count_max = 100;
        world->options.request_count_max = 256;
        world->options.window_size = 5 << 20;
        world->options.segment_size = (2 << 20) + (64 << 10);
        world->options.segment_count_max = 64;
        memcpy(world->options.members, names, sizeof(names));
    }
    return cluster;
}

static void end_node(struct world *world)
{
    world->node = NULL;
    world->runs = false;
}

static void forget_client(struct fake_client *client)
{
    for (uint32_t i = 0; i < client->message_count; i++) {
        free((void *)(uintptr_t)client->messages[i].body.data);
    }
    free(client->messages);
    fake_pipe_free(&client->ahead);
    fake_pipe_free(&client->back);
}

void fake_client_release(struct fake_cluster *cluster, uint32_t number)
{
    struct fake_client *client = &cluster->clients[number];

    if (!client->is_free) {
        fake_client_close(cluster, number);
        forget_client(client);
        memset(client, 0, sizeof(*client));
        client->is_free = true;
    }
}

void fake_cluster_close(struct fake_cluster *cluster)
{
    for (uint32_t i = 0; i < cluster->node_count; i++) {
        struct world *world = &cluster->worlds[i];

        free(world->memory);
        memory_disk_close(world->disk);
        memory_table_close(world->table);
        for (uint32_t j = 0; j < FAKE_NODE_COUNT_MAX; j++) {
            for (uint32_t lane = 0; lane < WORLD_LANE_COUNT; lane++) {
                fake_pipe_free(&world->links[j][lane].ahead);
                fake_pipe_free(&world->links[j][lane].back);
            }
        }
    }
    for (uint32_t i = 0; i < cluster->client_count; i++) {
        fake_client_release(cluster, i);
    }
    free(cluster);
}

enum error fake_try_start(struct fake_cluster *cluster, uint32_t place, const char **problem)
{
    struct world *world = &cluster->worlds[place];
    size_t size = node_memory_size(&world->options);
    struct arena arena;

    ASSERT(!world->runs);
    if (size > world->memory_size) {
        free(world->memory);
        world->memory_size = size_round_up(size, DISK_ALIGNMENT);
        world->memory = aligned_alloc(DISK_ALIGNMENT, world->memory_size);
        ASSERT(world->memory != NULL);
    }
    memset(world->memory, 0xA5, GARBAGE_SIZE); /* What is not set at opening shows. */
    arena_init(&arena, world->memory, size);
    world->log_size = 0;
    world->log[0] = '\0';
    world->queued_count = 0;
    world->is_paused = false;
    world->asked_to_stop = false;
    memset(world->disk_ms, 0, sizeof(world->disk_ms));
    enum error error = node_open(&world->node, &arena, &world->options, world, world->disk,
                                 world->table, cluster->now_ms + world->clock_offset_ms, problem);

    world->runs = error == ERR_OK;
    for (uint32_t i = 0; i < FAKE_NODE_COUNT_MAX; i++) {
        world->links[i][WORLD_LANE_BULK].dial_ms = cluster->now_ms;
        world->links[i][WORLD_LANE_FAST].dial_ms = cluster->now_ms;
    }
    return error;
}

void fake_start(struct fake_cluster *cluster, uint32_t place)
{
    const char *problem = NULL;
    enum error error = fake_try_start(cluster, place, &problem);

    if (error != ERR_OK) {
        fprintf(stderr, "n%u: %s\n", place + 1, problem);
    }
    ASSERT_VALUES(error == ERR_OK, error, place);
}

void fake_start_all(struct fake_cluster *cluster)
{
    for (uint32_t i = 0; i < cluster->node_count; i++) {
        fake_start(cluster, i);
    }
}

/* --- Connections ------------------------------------------------------------------------------ */

static void queue_event(struct world *world, struct node_event event)
{
    if (world->runs) {
        ASSERT(world->queued_count < COUNT_OF(world->queued));
        world->queued[world->queued_count++] = event;
    }
}

static void link_down(struct fake_cluster *cluster, uint32_t a, uint32_t b, enum world_lane lane)
{
    struct fake_link *link = &cluster->worlds[a].links[b][lane];
    struct world *target = &cluster->worlds[b];

    if (!link->is_up) {
        return;
    }
    link->is_up = false;
    link->dial_ms = cluster->now_ms + DIAL_MS;
    fake_pipe_clear(&link->ahead);
    fake_pipe_clear(&link->back);
    queue_event(&cluster->worlds[a],
                (struct node_event){.kind = NODE_LINK_DOWN, .peer = b, .lane = lane});
    if (target->connections[link->connection].is_open) {
        target->connections[link->connection].is_open = false;
        queue_event(target,
                    (struct node_event){.kind = NODE_PEER_CLOSED, .connection = link->connection});
    }
}

void fake_break(struct fake_cluster *cluster, uint32_t a, uint32_t b)
{
    for (enum world_lane lane = WORLD_LANE_BULK; lane < WORLD_LANE_COUNT; lane++) {
        link_down(cluster, a, b, lane);
        link_down(cluster, b, a, lane);
    }
}

static uint32_t free_connection(struct world *world)
{
    for (uint32_t i = 0; i < FAKE_CONNECTION_COUNT_MAX; i++) {
        bool is_told = false;

        /* Its CLOSED event must have been taken before the number is used again. */
        for (uint32_t j = 0; j < world->queued_count; j++) {
            is_told = is_told || (world->queued[j].connection == i &&
                                  (world->queued[j].kind == NODE_PEER_CLOSED ||
                                   world->queued[j].kind == NODE_CLIENT_CLOSED));
        }
        if (!world->connections[i].is_open && !is_told) {
            return i;
        }
    }
    ASSERT(false);
    return 0;
}

static void dial(struct fake_cluster *cluster, uint32_t a, uint32_t b, enum world_lane lane)
{
    struct world *source = &cluster->worlds[a];
    struct world *target = &cluster->worlds[b];
    struct fake_link *link = &source->links[b][lane];

    if (link->is_up || !source->runs || !target->runs || cluster->now_ms < link->dial_ms ||
        cluster->is_cut[a][b] || cluster->is_cut[b][a]) {
        return;
    }
    fake_pipe_clear(&link->ahead);
    fake_pipe_clear(&link->back);
    link->back_seen = 0;
    link->is_up = true;
    link->connection = free_connection(target);
    target->connections[link->connection] =
        (struct fake_connection){.is_open = true, .is_peer = true, .source = a, .lane = lane};
    queue_event(source, (struct node_event){.kind = NODE_LINK_UP, .peer = b, .lane = lane});
    queue_event(target,
                (struct node_event){.kind = NODE_PEER_OPENED, .connection = link->connection});
}

uint32_t fake_client_connect(struct fake_cluster *cluster, uint32_t place)
{
    struct world *world = &cluster->worlds[place];
    uint32_t number = 0;

    while (number < cluster->client_count && !cluster->clients[number].is_free) {
        number++;
    }
    ASSERT(number < FAKE_CLIENT_COUNT_MAX && world->runs);
    cluster->client_count += number == cluster->client_count ? 1 : 0;
    struct fake_client *client = &cluster->clients[number];

    memset(client, 0, sizeof(*client));
    client->is_open = true;
    client->reads = true;
    client->node = place;
    client->next_id = 1;
    client->connection = free_connection(world);
    world->connections[client->connection] =
        (struct fake_connection){.is_open = true, .source = number};
    queue_event(world,
                (struct node_event){.kind = NODE_CLIENT_OPENED, .connection = client->connection});
    return number;
}

void fake_client_close(struct fake_cluster *cluster, uint32_t number)
{
    struct fake_client *client = &cluster->clients[number];
    struct world *world = &cluster->worlds[client->node];

    if (client->is_open) {
        client->is_open = false;
        world->connections[client->connection].is_open = false;
        queue_event(world, (struct node_event){.kind = NODE_CLIENT_CLOSED,
                                               .connection = client->connection});
    }
}

/* What the node closed: the other end sees what was sent before, then the end. */
static void finish_closing(struct fake_cluster *cluster, struct world *world)
{
    for (uint32_t i = 0; i < FAKE_CONNECTION_COUNT_MAX; i++) {
        struct fake_connection *connection = &world->connections[i];

        if (!connection->is_open || !connection->is_closing) {
            continue;
        }
        if (!connection->is_peer) {
            fake_client_close(cluster, connection->source);
            continue;
        }
        struct fake_link *link = fake_link_of(world, i);

        if (link->back.mark_count == 0 && link->back_seen == link->back.arrived) {
            link_down(cluster, connection->source, world->place, connection->lane);
        }
    }
}

/* All connections of a node that has ended break. */
static void hang_up(struct fake_cluster *cluster, uint32_t place)
{
    for (uint32_t i = 0; i < cluster->node_count; i++) {
        if (i != place) {
            fake_break(cluster, place, i);
        }
    }
    for (uint32_t i = 0; i < cluster->client_count; i++) {
        if (cluster->clients[i].node == place) {
            fake_client_close(cluster, i);
        }
    }
}

static bool keep_some(void *context, uint32_t sector)
{
    return sector % 2 == 0 || prng_below(context, 2) == 0;
}

void fake_crash(struct fake_cluster *cluster, uint32_t place)
{
    struct world *world = &cluster->worlds[place];

    ASSERT(world->runs);
    /* First the disk: the torn write is read from the node's memory. */
    memory_disk_crash(world->disk, keep_some, &cluster->prng);
    end_node(world);
    hang_up(cluster, place);
    memory_table_close(world->table);
    world->table = memory_table_open();
}

static bool has_stopped(struct fake_cluster *cluster, void *context)
{
    const uint32_t *place = context;

    return node_is_stopped(cluster->worlds[*place].node);
}

void fake_stop(struct fake_cluster *cluster, uint32_t place, uint64_t ms)
{
    struct world *world = &cluster->worlds[place];

    world->asked_to_stop = true;
    queue_event(world, (struct node_event){.kind = NODE_STOP});
    bool stopped = fake_run_until(cluster, has_stopped, &place, ms);

    ASSERT(stopped);
    for (struct disk_completion completion; memory_disk_complete_next(world->disk, &completion);) {
        ASSERT(completion.error == ERR_OK);
    }
    end_node(world);
    hang_up(cluster, place);
}

void fake_wipe(struct fake_cluster *cluster, uint32_t place)
{
    struct world *world = &cluster->worlds[place];

    ASSERT(!world->runs);
    memory_disk_close(world->disk);
    memory_table_close(world->table);
    world->disk = memory_disk_open();
    world->table = memory_table_open();
}

void fake_cut(struct fake_cluster *cluster, uint32_t a, uint32_t b, bool is_cut)
{
    cluster->is_cut[a][b] = is_cut;
    cluster->is_cut[b][a] = is_cut;
}

void fake_isolate(struct fake_cluster *cluster, uint32_t place, bool is_cut)
{
    for (uint32_t i = 0; i < cluster->node_count; i++) {
        if (i != place) {
            fake_cut(cluster, place, i, is_cut);
        }
    }
}

/* --- Time ------------------------------------------------------------------------------------- */

struct batch {
    struct node_event events[EVENT_COUNT_MAX];
    uint32_t count;
};

static struct node_event *batch_add(struct batch *batch, struct node_event event)
{
    ASSERT(batch->count < EVENT_COUNT_MAX);
    batch->events[batch->count] = event;
    return &batch->events[batch->count++];
}

static void collect_disk(struct fake_cluster *cluster, struct world *world, struct batch *batch)
{
    for (enum disk_lane lane = DISK_LANE_LOG; lane < DISK_LANE_COUNT; lane++) {
        struct node_event event = {.kind = NODE_DISK_DONE};

        if (memory_disk_head(world->disk, lane) == NULL || world->disk_is_stalled) {
            continue;
        }
        if (world->disk_ms[lane] == 0) {
            world->disk_ms[lane] =
                cluster->now_ms + prng_between(&cluster->prng, 1, cluster->disk_ms_max);
        }
        if (cluster->now_ms >= world->disk_ms[lane] &&
            memory_disk_complete_lane(world->disk, lane, &event.completion)) {
            world->disk_ms[lane] = 0;
            batch_add(batch, event);
        }
    }
}

static struct fake_pipe *input_of(struct world *world, uint32_t number)
{
    const struct fake_connection *connection = &world->connections[number];

    return connection->is_peer ? &fake_link_of(world, number)->ahead
                               : &world->cluster->clients[connection->source].ahead;
}

static void collect_data(struct world *world, struct batch *batch)
{
    for (uint32_t i = 0; i < FAKE_CONNECTION_COUNT_MAX; i++) {
        struct fake_connection *connection = &world->connections[i];

        if (!connection->is_open || connection->is_closing) {
            continue;
        }
        struct fake_pipe *pipe = input_of(world, i);

        if (!connection->is_peer || !world->cluster->is_cut[connection->source][world->place]) {
            fake_pipe_advance(world->cluster, pipe);
        }
        if (pipe->arrived > connection->seen || connection->again) {
            batch_add(batch, (struct node_event){
                                 .kind = connection->is_peer ? NODE_PEER_DATA : NODE_CLIENT_DATA,
                                 .connection = i,
                                 .data = bytes_of(pipe->data, pipe->arrived),
                             });
        }
    }
}

/* Refusals that came back on links that this node dialed. */
static void collect_back(struct world *world, struct batch *batch)
{
    for (uint32_t peer = 0; peer < world->cluster->node_count; peer++) {
        for (enum world_lane lane = WORLD_LANE_BULK; lane < WORLD_LANE_COUNT; lane++) {
            struct fake_link *link = &world->links[peer][lane];

            if (!link->is_up) {
                continue;
            }
            fake_pipe_advance(world->cluster, &link->back);
            if (link->back.arrived > link->back_seen) {
                batch_add(batch, (struct node_event){
                                     .kind = NODE_LINK_DATA,
                                     .peer = peer,
                                     .lane = lane,
                                     .data = bytes_of(link->back.data, link->back.arrived),
                                 });
            }
        }
    }
}

static void take_consumed(struct world *world, const struct batch *batch)
{
    for (uint32_t i = 0; i < batch->count; i++) {
        const struct node_event *event = &batch->events[i];

        if (event->kind == NODE_LINK_DATA) {
            struct fake_link *link = &world->links[event->peer][event->lane];

            fake_pipe_drop(&link->back, event->consumed);
            link->back_seen = link->back.arrived;
        }
        if (event->kind == NODE_PEER_DATA || event->kind == NODE_CLIENT_DATA) {
            struct fake_connection *connection = &world->connections[event->connection];
            struct fake_pipe *pipe = input_of(world, event->connection);

            ASSERT(event->consumed <= event->data.size);
            fake_pipe_drop(pipe, event->consumed);
            connection->seen = pipe->arrived;
            connection->again = event->again;
        }
    }
}

static void run_node(struct fake_cluster *cluster, struct world *world)
{
    struct batch batch;
    uint64_t now_ms = cluster->now_ms + world->clock_offset_ms;

    batch.count = 0;
    collect_disk(cluster, world, &batch);
    for (uint32_t i = 0; i < world->queued_count; i++) {
        batch_add(&batch, world->queued[i]);
    }
    world->queued_count = 0;
    collect_data(world, &batch);
    collect_back(world, &batch);
    if (batch.count == 0 && now_ms < node_wake_ms(world->node)) {
        return;
    }
    node_turn(world->node, batch.events, batch.count, now_ms);
    take_consumed(world, &batch);
    finish_closing(cluster, world);
    if (cluster->now_ms % CHECK_MS == 0) {
        node_check(world->node); /* Walks the whole window: not in each turn. */
    }
}

static void step(struct fake_cluster *cluster)
{
    cluster->now_ms++;
    for (uint32_t a = 0; a < cluster->node_count; a++) {
        for (uint32_t b = 0; b < cluster->node_count; b++) {
            if (a != b) {
                dial(cluster, a, b, WORLD_LANE_BULK);
                dial(cluster, a, b, WORLD_LANE_FAST);
            }
        }
    }
    for (uint32_t i = 0; i < cluster->node_count; i++) {
        struct world *world = &cluster->worlds[i];

        if (world->runs && !world->is_paused) {
            run_node(cluster, world);
        }
    }
}

void fake_run(struct fake_cluster *cluster, uint64_t ms)
{
    for (uint64_t i = 0; i < ms; i++) {
        step(cluster);
    }
}

bool fake_run_until(struct fake_cluster *cluster, fake_condition *condition, void *context,
                    uint64_t ms)
{
    for (uint64_t i = 0; i < ms; i++) {
        if (condition(cluster, context)) {
            return true;
        }
        step(cluster);
    }
    return condition(cluster, context);
}

bool fake_has_logged(struct fake_cluster *cluster, uint32_t place, const char *text)
{
    return strstr(cluster->worlds[place].log, text) != NULL;
}
