/* tests/support/node/fake_time.c: time goes on from one event to the next, nodes take turns. */
#include "base/assert.h"
#include "tests/support/log/memory_disk.h"
#include "tests/support/node/fake_world.h"

enum { CHECK_MS = 4, EVENT_COUNT_MAX = 512 };

#define FAR_MS UINT64_C(1000000000) /* What is due later than that never is. */

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

/* When the head of each lane completes is drawn as soon as there is one. */
static void plan_disk(struct fake_cluster *cluster, struct world *world)
{
    uint64_t ms_max = world->disk_ms_max != 0 ? world->disk_ms_max : cluster->disk_ms_max;

    for (enum disk_lane lane = DISK_LANE_LOG; lane < DISK_LANE_COUNT; lane++) {
        if (world->disk_ms[lane] == 0 && memory_disk_head(world->disk, lane) != NULL) {
            world->disk_ms[lane] = cluster->now_ms + prng_between(&cluster->prng, 1, ms_max);
        }
    }
}

static void collect_disk(struct fake_cluster *cluster, struct world *world, struct batch *batch)
{
    for (enum disk_lane lane = DISK_LANE_LOG; lane < DISK_LANE_COUNT; lane++) {
        struct node_event event = {.kind = NODE_DISK_DONE};

        if (world->disk_ms[lane] != 0 && cluster->now_ms >= world->disk_ms[lane] &&
            !world->disk_is_stalled &&
            memory_disk_complete_lane(world->disk, lane, &event.completion)) {
            world->disk_ms[lane] = 0;
            batch_add(batch, event);
        }
    }
}

static bool is_cut_off(const struct world *world, const struct fake_connection *connection)
{
    if (connection->is_peer) {
        return world->cluster->is_cut[connection->source][world->place];
    }
    const struct fake_client *client = &world->cluster->clients[connection->source];

    return client->is_cut || client->is_mute;
}

static void collect_data(struct world *world, struct batch *batch)
{
    for (uint32_t i = 0; i < world->connection_end; i++) {
        struct fake_connection *connection = &world->connections[i];

        if (!connection->is_open || connection->is_closing) {
            continue;
        }
        struct fake_pipe *pipe = connection->input;

        if (pipe->mark_count != 0 && !is_cut_off(world, connection)) {
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

            if ((world->up_links & fake_link_bit(peer, lane)) == 0) {
                continue;
            }
            if (!world->cluster->is_cut[peer][world->place]) {
                fake_pipe_advance(world->cluster, &link->back);
            }
            if (link->back.arrived > link->back_seen) {
                batch_add(batch, (struct node_event){
                                     .kind = NODE_LINK_DATA,
                                     .peer = fake_peer_number(world, peer),
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
            uint32_t target = world->targets[event->peer];

            if (target == FAKE_NODE_COUNT_MAX) {
                continue; /* The node has hung up. */
            }
            struct fake_link *link = &world->links[target][event->lane];

            fake_pipe_drop(&link->back, event->consumed);
            link->back_seen = link->back.arrived;
        }
        if (event->kind == NODE_PEER_DATA || event->kind == NODE_CLIENT_DATA) {
            struct fake_connection *connection = &world->connections[event->connection];
            struct fake_pipe *pipe = connection->input;

            ASSERT(event->consumed <= event->data.size);
            fake_pipe_drop(pipe, event->consumed);
            connection->seen = pipe->arrived;
            connection->again = event->again;
        }
    }
}

/* --- Clocks -----------------------------------------------------------------------------------
 */

uint64_t fake_clock_at(const struct world *world, uint64_t true_ms)
{
    int64_t drift_ms = (int64_t)true_ms * world->clock_rate_ppm / 1000000;

    return world->clock_offset_ms + (uint64_t)((int64_t)true_ms + drift_ms);
}

uint64_t fake_clock(const struct world *world)
{
    return fake_clock_at(world, world->cluster->now_ms);
}

/* The first true millisecond at which the world's clock shows at least `local_ms`. */
static uint64_t true_time_of(const struct world *world, uint64_t local_ms)
{
    uint64_t now_ms = fake_clock(world);

    if (local_ms <= now_ms) {
        return world->cluster->now_ms;
    }
    uint64_t left_ms = local_ms - now_ms;

    if (left_ms > FAR_MS) {
        return UINT64_MAX;
    }
    /* Both are not behind it; the second is nearer, but for what is rounded. */
    uint64_t guess_ms = left_ms - left_ms / 64 - 1;
    uint64_t near_ms = left_ms * 1000000 / (uint64_t)(1000000 + world->clock_rate_ppm);

    guess_ms = world->cluster->now_ms + (near_ms > guess_ms + 3 ? near_ms - 3 : guess_ms);
    while (fake_clock_at(world, guess_ms) < local_ms) {
        guess_ms++;
    }
    return guess_ms;
}

/* --- Turns ------------------------------------------------------------------------------------
 */

static void run_node(struct fake_cluster *cluster, struct world *world)
{
    struct batch batch;
    uint64_t now_ms = fake_clock(world);

    batch.count = 0;
    collect_disk(cluster, world, &batch);
    for (uint32_t i = 0; i < world->queued_count; i++) {
        batch_add(&batch, world->queued[i]);
    }
    world->queued_count = 0;
    world->due_is_known = false;
    collect_data(world, &batch);
    collect_back(world, &batch);
    if (batch.count == 0 && now_ms < node_wake_ms(world->node)) {
        return;
    }
    node_turn(world->node, batch.events, batch.count, now_ms);
    take_consumed(world, &batch);
    fake_finish_closing(cluster, world);
    plan_disk(cluster, world);
    if (cluster->on_turn != NULL) {
        cluster->on_turn(cluster, world->place, batch.count);
    } else if (cluster->now_ms % CHECK_MS == 0) {
        node_check(world->node); /* Walks the whole window: not in each turn. */
    }
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t connections_due_ms(const struct world *world)
{
    uint64_t due_ms = UINT64_MAX;

    for (uint32_t i = 0; i < world->connection_end; i++) {
        const struct fake_connection *connection = &world->connections[i];

        if (!connection->is_open || connection->is_closing) {
            continue;
        }
        const struct fake_pipe *pipe = connection->input;

        if (pipe->arrived > connection->seen || connection->again) {
            return 0;
        }
        if (pipe->mark_count != 0 && !is_cut_off(world, connection)) {
            due_ms = earlier(due_ms, pipe->due_ms);
        }
    }
    return due_ms;
}

static uint64_t links_due_ms(const struct world *world)
{
    uint64_t due_ms = UINT64_MAX;

    for (uint32_t peer = 0; peer < world->cluster->node_count; peer++) {
        for (enum world_lane lane = WORLD_LANE_BULK; lane < WORLD_LANE_COUNT; lane++) {
            const struct fake_link *link = &world->links[peer][lane];

            if ((world->up_links & fake_link_bit(peer, lane)) == 0) {
                continue;
            }
            if (link->back.arrived > link->back_seen) {
                return 0;
            }
            if (!world->cluster->is_cut[peer][world->place]) {
                due_ms = earlier(due_ms, fake_pipe_due_ms(&link->back));
            }
        }
    }
    return due_ms;
}

static uint64_t find_due_ms(struct world *world)
{
    if (!world->runs || world->is_paused) {
        return UINT64_MAX;
    }
    uint64_t due_ms = true_time_of(world, node_wake_ms(world->node));

    if (world->queued_count > 0 || due_ms <= world->cluster->now_ms) {
        return 0;
    }
    for (enum disk_lane lane = DISK_LANE_LOG; lane < DISK_LANE_COUNT; lane++) {
        if (world->disk_ms[lane] != 0 && !world->disk_is_stalled) {
            due_ms = earlier(due_ms, world->disk_ms[lane]);
        }
    }
    return earlier(due_ms, earlier(connections_due_ms(world), links_due_ms(world)));
}

static uint64_t world_due_ms(struct world *world)
{
    if (!world->due_is_known) {
        world->due_ms = find_due_ms(world);
        world->due_is_known = true;
    }
    return world->due_ms;
}

void fake_changed(struct fake_cluster *cluster)
{
    for (uint32_t i = 0; i < cluster->node_count; i++) {
        cluster->worlds[i].due_is_known = false;
    }
}

static uint64_t clients_due_ms(const struct fake_cluster *cluster)
{
    uint64_t due_ms = UINT64_MAX;

    for (uint32_t i = 0; i < cluster->client_count; i++) {
        if (!cluster->clients[i].is_cut && !cluster->clients[i].is_deaf) {
            due_ms = earlier(due_ms, fake_pipe_due_ms(&cluster->clients[i].back));
        }
    }
    return due_ms;
}

static void advance_clients(struct fake_cluster *cluster)
{
    for (uint32_t i = 0; i < cluster->client_count; i++) {
        if (!cluster->clients[i].is_cut && !cluster->clients[i].is_deaf) {
            fake_pipe_advance(cluster, &cluster->clients[i].back);
        }
    }
}

uint64_t fake_next_ms(struct fake_cluster *cluster)
{
    uint64_t due_ms = fake_network_due_ms(cluster);

    cluster->clients_ms = clients_due_ms(cluster);
    due_ms = earlier(due_ms, cluster->clients_ms);
    cluster->is_planned = true;
    cluster->dial_ms = UINT64_MAX;
    for (uint32_t a = 0; a < cluster->node_count; a++) {
        for (uint32_t b = 0; cluster->worlds[a].runs && b < cluster->node_count; b++) {
            uint32_t pair = fake_link_bit(b, WORLD_LANE_BULK) | fake_link_bit(b, WORLD_LANE_FAST);

            if (a != b && (cluster->worlds[a].up_links & pair) != pair) {
                cluster->dial_ms = earlier(cluster->dial_ms,
                                           earlier(fake_dial_ms(cluster, a, b, WORLD_LANE_BULK),
                                                   fake_dial_ms(cluster, a, b, WORLD_LANE_FAST)));
            }
        }
        due_ms = earlier(due_ms, world_due_ms(&cluster->worlds[a]));
    }
    due_ms = earlier(due_ms, cluster->dial_ms);
    return due_ms > cluster->now_ms ? due_ms : cluster->now_ms + 1;
}

void fake_step(struct fake_cluster *cluster, uint64_t now_ms)
{
    ASSERT_VALUES(now_ms > cluster->now_ms, now_ms, cluster->now_ms);
    ASSERT(cluster->is_planned);
    cluster->is_planned = false;
    cluster->now_ms = now_ms;
    if (now_ms >= cluster->dial_ms) {
        fake_dial_all(cluster);
    }
    fake_network_advance(cluster);
    for (uint32_t i = 0; i < cluster->node_count; i++) {
        struct world *world = &cluster->worlds[i];

        if (world_due_ms(world) <= now_ms) {
            run_node(cluster, world);
        }
    }
    if (now_ms >= cluster->clients_ms) {
        advance_clients(cluster); /* What was written in this step arrives later. */
    }
}

void fake_run(struct fake_cluster *cluster, uint64_t ms)
{
    uint64_t end_ms = cluster->now_ms + ms;

    fake_changed(cluster);
    while (cluster->now_ms < end_ms) {
        fake_step(cluster, earlier(end_ms, fake_next_ms(cluster)));
    }
}

bool fake_run_until(struct fake_cluster *cluster, fake_condition *condition, void *context,
                    uint64_t ms)
{
    uint64_t end_ms = cluster->now_ms + ms;

    fake_changed(cluster);
    while (!condition(cluster, context)) {
        if (cluster->now_ms >= end_ms) {
            return false;
        }
        fake_step(cluster, earlier(end_ms, fake_next_ms(cluster)));
    }
    return true;
}
