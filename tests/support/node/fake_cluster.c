/* tests/support/node/fake_cluster.c: nodes come and go, time goes on. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/assert.h"
#include "base/macros.h"
#include "node/feed.h"
#include "tests/support/base/memory_table.h"
#include "tests/support/log/memory_disk.h"
#include "tests/support/node/fake_world.h"

enum { GARBAGE_SIZE = 256 << 10 };

static const char *const names[FAKE_NODE_COUNT_MAX] = {"n1", "n2", "n3", "n4", "n5", "n6", "n7"};
static const char *const addresses[FAKE_NODE_COUNT_MAX] = {
    "client:1", "client:2", "client:3", "client:4", "client:5", "client:6", "client:7"};

static const char *const peer_addresses[FAKE_NODE_COUNT_MAX] = {
    "peer:1", "peer:2", "peer:3", "peer:4", "peer:5", "peer:6", "peer:7"};

#define NETWORK_STREAM UINT64_C(0x6e6574776f726b) /* Apart from the cluster's own stream. */

/* --- Life ----------------------------------------------------------------------------------------
 */

struct fake_cluster *fake_cluster_open(uint32_t node_count, uint64_t seed)
{
    struct fake_cluster *cluster = calloc(1, sizeof(*cluster));

    ASSERT(cluster != NULL && node_count <= FAKE_NODE_COUNT_MAX);
    cluster->now_ms = 1000;
    cluster->node_count = node_count;
    cluster->prints_log = getenv("NODE_LOG") != NULL;
    cluster->delay_ms_max = 3;
    cluster->disk_ms_max = 3;
    cluster->output_size_max = 4 << 20;
    prng_init(&cluster->prng, seed);
    prng_init(&cluster->network.prng, seed ^ NETWORK_STREAM);
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
        world->options.feed_size = FEED_SIZE_MIN;
        world->options.feed_count_max = FEED_COUNT_MIN;
        world->options.watch_count_max = 128;
        for (uint32_t j = 0; j < FAKE_NODE_COUNT_MAX; j++) {
            for (uint32_t lane = 0; lane < WORLD_LANE_COUNT; lane++) {
                world->links[j][lane].ahead.reader = &cluster->worlds[j];
                world->links[j][lane].back.reader = world;
            }
        }
        memcpy(world->options.members, names, sizeof(names));
        memcpy(world->options.addresses, peer_addresses, sizeof(peer_addresses));
    }
    return cluster;
}

void fake_form_with(struct fake_cluster *cluster, uint32_t count)
{
    ASSERT(count > 0 && count <= cluster->node_count);
    for (uint32_t i = 0; i < cluster->node_count; i++) {
        cluster->worlds[i].options.member_count = i < count ? count : i + 1;
    }
}

static void end_node(struct world *world)
{
    world->node = NULL;
    world->runs = false;
    world->due_is_known = false;
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
    fake_network_free(&cluster->network);
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
    for (uint32_t i = 0; i < NODE_PEER_COUNT_MAX; i++) {
        world->targets[i] = FAKE_NODE_COUNT_MAX;
    }
    enum error error = node_open(&world->node, &arena, &world->options, world, world->disk,
                                 world->table, fake_clock(world), problem);

    world->runs = error == ERR_OK;
    world->due_is_known = false;
    if (world->runs && world->knows_free_size) {
        fake_set_free(cluster, place, world->free_size);
    }
    for (uint32_t i = 0; i < FAKE_NODE_COUNT_MAX; i++) {
        world->links[i][WORLD_LANE_BULK].dial_ms = cluster->now_ms;
        world->links[i][WORLD_LANE_FAST].dial_ms = cluster->now_ms;
    }
    return error;
}

void fake_set_free(struct fake_cluster *cluster, uint32_t place, uint64_t free_size)
{
    struct world *world = &cluster->worlds[place];

    world->knows_free_size = true;
    world->free_size = free_size;
    if (world->runs) {
        fake_queue_event(world,
                         (struct node_event){.kind = NODE_DISK_SPACE, .free_size = free_size});
    }
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

/* --- Ends ------------------------------------------------------------------------------------- */

static bool keep_some(void *context, uint32_t sector)
{
    return sector % 2 == 0 || prng_below(context, 2) == 0;
}

void fake_crash_keeping(struct fake_cluster *cluster, uint32_t place, memory_disk_keep *keep,
                        void *context)
{
    struct world *world = &cluster->worlds[place];

    ASSERT(world->runs);
    /* First the disk: the torn write is read from the node's memory. */
    memory_disk_crash(world->disk, keep, context);
    end_node(world);
    fake_hang_up(cluster, place);
    memory_table_close(world->table);
    world->table = memory_table_open();
}

void fake_crash(struct fake_cluster *cluster, uint32_t place)
{
    fake_crash_keeping(cluster, place, keep_some, &cluster->prng);
}

static bool has_stopped(struct fake_cluster *cluster, void *context)
{
    const uint32_t *place = context;

    return node_is_stopped(cluster->worlds[*place].node);
}

void fake_stopped(struct fake_cluster *cluster, uint32_t place)
{
    struct world *world = &cluster->worlds[place];

    ASSERT(world->runs && node_is_stopped(world->node));
    for (struct disk_completion completion; memory_disk_complete_next(world->disk, &completion);) {
        ASSERT(completion.error == ERR_OK);
    }
    end_node(world);
    fake_hang_up(cluster, place);
}

void fake_stop(struct fake_cluster *cluster, uint32_t place, uint64_t ms)
{
    struct world *world = &cluster->worlds[place];

    world->asked_to_stop = true;
    fake_queue_event(world, (struct node_event){.kind = NODE_STOP});
    bool stopped = fake_run_until(cluster, has_stopped, &place, ms);

    ASSERT(stopped);
    fake_stopped(cluster, place);
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

bool fake_has_logged(struct fake_cluster *cluster, uint32_t place, const char *text)
{
    return strstr(cluster->worlds[place].log, text) != NULL;
}
