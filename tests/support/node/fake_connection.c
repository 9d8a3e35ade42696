/* tests/support/node/fake_connection.c: connections between nodes, and from clients. */
#include <string.h>

#include "base/assert.h"
#include "base/macros.h"
#include "tests/support/node/fake_world.h"

enum { DIAL_MS = 20, ACCEPTED_COUNT_MAX = FAKE_CONNECTION_COUNT_MAX - 4 };

void fake_queue_event(struct world *world, struct node_event event)
{
    world->due_is_known = false;
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
    cluster->worlds[a].up_links &= ~fake_link_bit(b, lane);
    link->dial_ms = cluster->now_ms + DIAL_MS;
    fake_pipe_clear(&link->ahead);
    fake_pipe_clear(&link->back);
    fake_queue_event(&cluster->worlds[a],
                     (struct node_event){.kind = NODE_LINK_DOWN,
                                         .peer = fake_peer_number(&cluster->worlds[a], b),
                                         .lane = lane});
    if (target->connections[link->connection].is_open) {
        target->connections[link->connection].is_open = false;
        fake_queue_event(
            target, (struct node_event){.kind = NODE_PEER_CLOSED, .connection = link->connection});
    }
}

void fake_break(struct fake_cluster *cluster, uint32_t a, uint32_t b)
{
    for (enum world_lane lane = WORLD_LANE_BULK; lane < WORLD_LANE_COUNT; lane++) {
        link_down(cluster, a, b, lane);
        link_down(cluster, b, a, lane);
    }
}

void fake_break_links(struct fake_cluster *cluster, uint32_t a, uint32_t b)
{
    for (enum world_lane lane = WORLD_LANE_BULK; lane < WORLD_LANE_COUNT; lane++) {
        link_down(cluster, a, b, lane);
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
            world->connection_end = i < world->connection_end ? world->connection_end : i + 1;
            return i;
        }
    }
    ASSERT(false);
    return 0;
}

bool fake_accepts(const struct fake_cluster *cluster, uint32_t place)
{
    const struct world *world = &cluster->worlds[place];
    uint32_t open_count = 0;

    if (!world->runs) {
        return false;
    }
    for (uint32_t i = 0; i < world->connection_end; i++) {
        open_count += world->connections[i].is_open ? 1 : 0;
    }
    return open_count + world->queued_count < ACCEPTED_COUNT_MAX;
}

uint64_t fake_dial_ms(const struct fake_cluster *cluster, uint32_t a, uint32_t b,
                      enum world_lane lane)
{
    const struct fake_link *link = &cluster->worlds[a].links[b][lane];
    bool is_possible =
        a != b && !link->is_up && cluster->worlds[a].runs && !cluster->worlds[a].is_paused &&
        cluster->worlds[b].runs && !cluster->is_cut[a][b] && !cluster->is_cut[b][a] &&
        fake_peer_number(&cluster->worlds[a], b) != NODE_PEER_COUNT_MAX && fake_accepts(cluster, b);

    return is_possible ? link->dial_ms : UINT64_MAX;
}

static void dial(struct fake_cluster *cluster, uint32_t a, uint32_t b, enum world_lane lane)
{
    struct world *source = &cluster->worlds[a];
    struct world *target = &cluster->worlds[b];
    struct fake_link *link = &source->links[b][lane];

    if (link->is_up || cluster->now_ms < fake_dial_ms(cluster, a, b, lane)) {
        return;
    }
    fake_pipe_clear(&link->ahead);
    fake_pipe_clear(&link->back);
    link->back_seen = 0;
    link->has_spoken = false;
    link->is_up = true;
    source->up_links |= fake_link_bit(b, lane);
    link->connection = free_connection(target);
    target->connections[link->connection] = (struct fake_connection){
        .is_open = true, .is_peer = true, .input = &link->ahead, .source = a, .lane = lane};
    fake_queue_event(source, (struct node_event){.kind = NODE_LINK_UP,
                                                 .peer = fake_peer_number(source, b),
                                                 .lane = lane});
    fake_queue_event(target,
                     (struct node_event){.kind = NODE_PEER_OPENED, .connection = link->connection});
}

void fake_dial_all(struct fake_cluster *cluster)
{
    for (uint32_t a = 0; a < cluster->node_count; a++) {
        for (uint32_t b = 0; b < cluster->node_count; b++) {
            dial(cluster, a, b, WORLD_LANE_BULK);
            dial(cluster, a, b, WORLD_LANE_FAST);
        }
    }
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
    client->ahead.reader = world;
    client->connection = free_connection(world);
    world->connections[client->connection] =
        (struct fake_connection){.is_open = true, .input = &client->ahead, .source = number};
    fake_queue_event(
        world, (struct node_event){.kind = NODE_CLIENT_OPENED, .connection = client->connection});
    return number;
}

void fake_client_close(struct fake_cluster *cluster, uint32_t number)
{
    struct fake_client *client = &cluster->clients[number];
    struct world *world = &cluster->worlds[client->node];

    if (client->is_open) {
        client->is_open = false;
        world->connections[client->connection].is_open = false;
        fake_queue_event(world, (struct node_event){.kind = NODE_CLIENT_CLOSED,
                                                    .connection = client->connection});
    }
}

/* What the node closed: the other end sees what was sent before, then the end. */
void fake_finish_closing(struct fake_cluster *cluster, struct world *world)
{
    for (uint32_t i = 0; i < world->connection_end; i++) {
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
void fake_hang_up(struct fake_cluster *cluster, uint32_t place)
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
