/* server/world_uv.c: joins connections and links into the world of a node. */
#define _GNU_SOURCE /* NOLINT(bugprone-reserved-identifier): the C library's own switch. */
#include "server/world_uv.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "server/connections.h"
#include "server/links.h"

enum {
    /* Both lanes of every peer, twice over: a peer that vanished may dial again before its old
     * connections are known to be dead. */
    PEER_CONNECTIONS_EACH = 4,
    PEER_CONNECTIONS_SPARE = 8,
    CONNECTION_SIZE = 2048, /* A generous bound of struct connection. */
};

static const size_t client_buffered_max = (size_t)128 << 20;
static const size_t peer_buffered_max = (size_t)64 << 20;
static const size_t link_buffered_max = (size_t)64 << 20;

struct world {
    struct logger *logger;
    struct connections *connections;
    struct links *links;
    struct world_uv_dial dials[NODE_MEMBER_COUNT_MAX];
    uint32_t dial_count;
};

static uint32_t peer_count_max(const struct world_uv_options *options)
{
    (void)options;
    return NODE_PEER_COUNT_MAX * PEER_CONNECTIONS_EACH + PEER_CONNECTIONS_SPARE;
}

uint32_t world_uv_connection_count_max(const struct world_uv_options *options)
{
    return options->client_count_max + peer_count_max(options);
}

uint64_t world_uv_memory_max(const struct world_uv_options *options)
{
    return (uint64_t)client_buffered_max + peer_buffered_max + link_buffered_max +
           (uint64_t)world_uv_connection_count_max(options) * CONNECTION_SIZE;
}

/* --- Opening and closing ---------------------------------------------------------------------- */

static bool parts_open(struct world *world, uv_loop_t *loop, const struct world_uv_options *options)
{
    const struct connections_options connections_options = {
        .client_count_max = options->client_count_max,
        .peer_count_max = peer_count_max(options),
        .client_buffered_max = client_buffered_max,
        .peer_buffered_max = peer_buffered_max,
        .unread_ms_max = options->unread_ms_max,
        .partial_ms_max = options->partial_ms_max,
    };
    struct links_options links_options = {.buffered_max = link_buffered_max};

    world_entropy(world, &links_options.seed, sizeof(links_options.seed));
    world->connections = connections_open(loop, world->logger, &connections_options);
    if (world->connections == NULL) {
        return false;
    }
    world->links = links_open(loop, &links_options);
    return world->links != NULL;
}

enum world_uv_refusal world_uv_open(struct world **opened, uv_loop_t *loop, struct logger *logger,
                                    const struct world_uv_options *options, int *code)
{
    struct world *world = calloc(1, sizeof(*world));
    enum world_uv_refusal refusal = WORLD_UV_OK;

    if (world == NULL) {
        return WORLD_UV_MEMORY;
    }
    world->logger = logger;
    ASSERT(options->dial_count <= NODE_MEMBER_COUNT_MAX);
    memcpy(world->dials, options->dials, sizeof(world->dials));
    world->dial_count = options->dial_count;
    if (!parts_open(world, loop, options)) {
        refusal = WORLD_UV_MEMORY;
    }
    if (refusal == WORLD_UV_OK) {
        *code = connections_listen_clients(world->connections, &options->client);
        refusal = *code == 0 ? WORLD_UV_OK : WORLD_UV_CLIENT_PORT;
    }
    if (refusal == WORLD_UV_OK) {
        *code = connections_listen_peers(world->connections, &options->peer);
        refusal = *code == 0 ? WORLD_UV_OK : WORLD_UV_PEER_PORT;
    }
    *opened = world;
    return refusal;
}

void world_uv_close(struct world *world)
{
    if (world->connections != NULL) {
        connections_close(world->connections);
    }
    if (world->links != NULL) {
        links_close(world->links);
    }
}

void world_uv_free(struct world *world)
{
    if (world->connections != NULL) {
        connections_free(world->connections);
    }
    if (world->links != NULL) {
        links_free(world->links);
    }
    free(world);
}

/* --- Events ----------------------------------------------------------------------------------- */

bool world_uv_is_ready(const struct world *world)
{
    return links_are_ready(world->links) || connections_are_ready(world->connections);
}

void world_uv_repeat(struct world *world)
{
    connections_repeat(world->connections);
}

uint32_t world_uv_gather(struct world *world, struct node_event *events, uint32_t events_max)
{
    uint32_t count = links_gather(world->links, events, events_max);

    count += connections_gather(world->connections, events + count, events_max - count);
    ASSERT_VALUES(count <= events_max, count, events_max);
    return count;
}

void world_uv_settle(struct world *world, const struct node_event *events, uint32_t events_count)
{
    links_settle(world->links, events, events_count);
    connections_settle(world->connections, events, events_count);
    /* Peers first: what they wait for takes longer to come back. */
    links_flush(world->links);
    connections_flush(world->connections);
}

/* --- node/world.h ----------------------------------------------------------------------------- */

static bool dial_find(const struct world *world, struct bytes name, struct address *address)
{
    for (uint32_t i = 0; i < world->dial_count; i++) {
        if (bytes_equal(bytes_of_text(world->dials[i].name), name)) {
            *address = world->dials[i].address;
            return true;
        }
    }
    return false;
}

static void address_refused(const struct world *world, struct bytes name, struct bytes address)
{
    char memory[LOGGER_LINE_SIZE];
    struct text line;

    logger_line_begin(&line, memory, "peer_address_invalid");
    text_add(&line, " peer=");
    text_add_quoted(&line, name);
    text_add(&line, " address=");
    text_add_quoted(&line, address);
    text_add(&line, " text=\"it is no HOST:PORT: mend --cluster of that node\"");
    logger_write(world->logger, WORLD_WARNING, bytes_of(line.data, line.size));
}

void world_set_peer(struct world *world, uint32_t peer, struct bytes name, struct bytes address)
{
    struct address parsed;

    if (address.size == 0) {
        links_set(world->links, peer, NULL);
    } else if (dial_find(world, name, &parsed) || address_parse(address, &parsed)) {
        links_set(world->links, peer, &parsed);
    } else {
        address_refused(world, name, address);
        links_set(world->links, peer, NULL);
    }
}

uint8_t *world_reserve(struct world *world, world_connection connection, size_t size)
{
    return connections_reserve(world->connections, connection, size);
}

uint8_t *world_reserve_beside(struct world *world, world_connection connection, size_t size,
                              size_t rest)
{
    return connections_have_room(world->connections, connection, size + rest)
               ? connections_reserve(world->connections, connection, size)
               : NULL;
}

void world_commit(struct world *world, world_connection connection, size_t size)
{
    connections_commit(world->connections, connection, size);
}

uint8_t *world_reserve_link(struct world *world, uint32_t peer, enum world_lane lane, size_t size)
{
    return links_reserve(world->links, peer, lane, size);
}

void world_commit_link(struct world *world, uint32_t peer, enum world_lane lane, size_t size)
{
    links_commit(world->links, peer, lane, size);
}

void world_close(struct world *world, world_connection connection)
{
    connections_end(world->connections, connection);
}

void world_entropy(struct world *world, void *data, size_t size)
{
    (void)world;
    /* Without a loop it is synchronous; it fails only where the kernel has no entropy at all. */
    ASSERT(uv_random(NULL, NULL, data, size, 0, NULL) == 0);
}

void world_log(struct world *world, enum world_level level, struct bytes line)
{
    logger_write(world->logger, level, line);
}
