/* server/connections.c: accepts, numbers and closes what others opened. */
#define _GNU_SOURCE /* NOLINT(bugprone-reserved-identifier): the C library's own switch. */
#include "server/connections.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/list.h"
#include "server/resolve.h"
#include "wire/frame.h"
#include "wire/wire.h"

enum {
    LISTEN_BACKLOG = 511,
    ENDING_MS_MAX = 1000, /* What a closed connection still has to send leaves in this time. */
    ENDING_CHECK_MS = 100,
    REFUSED_LINE_MS = 1000, /* At most one line about refused connections in this time. */
    WATCH_MS = 100,         /* So often a part of all clients is looked at, */
    WATCH_PARTS = 10,       /* so that each is looked at once in a second. */
};

static const struct channel_limits client_limits = {
    .inbox_size_min = 4096,
    .inbox_size_max = WIRE_FRAME_SIZE_MAX + (64 << 10),
    .outbox_size_max = 4 << 20,
    .outbox_size_high = 1 << 20,
    .outbox_size_low = 256 << 10,
    .user_timeout_ms = 10000,
};

static const struct channel_limits peer_limits = {
    .inbox_size_min = 64 << 10,
    .inbox_size_max = (size_t)2 * WIRE_PEER_FRAME_SIZE_MAX,
    .outbox_size_max = 1 << 20,
    .outbox_size_high = 512 << 10,
    .outbox_size_low = 256 << 10,
    .user_timeout_ms = 2000,
};

struct connection {
    struct channel channel;
    world_connection number;
    bool is_told_open;
    bool is_told_closed;
    bool comes_again;       /* The node left whole messages in the inbox on purpose. */
    uint64_t ending_ms_max; /* On the loop's clock; while the channel is ending. */
    uint64_t partial_ms;    /* Likewise: its next message has begun then; 0: it has not. */
    struct list place;      /* In `free` of its kind, or in `ending`. */
    struct list again;
};

/* Clients or peers. */
struct kind {
    struct connections *connections;
    struct channel_group group;
    struct list free;
    uv_tcp_t listener;
    uv_tcp_t refused; /* The one that is being accepted and closed for lack of a number. */
    bool is_refusing;
    bool has_waiting; /* Another one is to be accepted when that is done. */
    bool is_client;
    uint64_t refused_count; /* Since the last line. */
    uint64_t line_ms;
};

struct connections {
    uv_loop_t *loop;
    struct logger *logger;
    uint32_t client_count_max;
    uint32_t count_max;
    struct connection *all;
    struct kind clients;
    struct kind peers;
    struct list ending;
    struct list again;
    uv_timer_t timer; /* Runs while a channel is ending. */
    uv_timer_t watch; /* Always runs. */
    uint32_t watched; /* The client that is looked at next. */
    uint32_t unread_ms_max;
    uint32_t partial_ms_max;
    bool is_closing;
};

static struct kind *kind_of(struct connections *connections, world_connection number)
{
    ASSERT_VALUES(number < connections->count_max, number, connections->count_max);
    return number < connections->client_count_max ? &connections->clients : &connections->peers;
}

/* --- Opening ---------------------------------------------------------------------------------- */

static void kind_init(struct connections *connections, struct kind *kind,
                      const struct channel_limits *limits, size_t buffered_max)
{
    kind->connections = connections;
    kind->is_client = kind == &connections->clients;
    channel_group_init(&kind->group, limits, buffered_max);
    list_init(&kind->free);
}

static void connection_drop(struct connections *connections, struct connection *connection,
                            const char *reason)
{
    char memory[LOGGER_LINE_SIZE];
    struct text line;

    logger_line_begin(&line, memory, "connection_dropped");
    logger_line_add(&line, "reason", reason);
    logger_line_add_number(&line, "connection", connection->number);
    logger_write(connections->logger, WORLD_WARNING, bytes_of(line.data, line.size));
    channel_drop(&connection->channel);
}

/* --- Watching --------------------------------------------------------------------------------- */

static bool is_over(uint64_t since_ms, uint32_t ms_max, uint64_t now_ms)
{
    return since_ms != 0 && now_ms - since_ms >= ms_max;
}

static void client_watch(struct connections *connections, struct connection *connection,
                         uint64_t now_ms)
{
    const struct channel *channel = &connection->channel;

    if (channel->state != CHANNEL_OPEN || channel->is_broken) {
        return;
    }
    if (is_over(channel->paused_ms, connections->unread_ms_max, now_ms)) {
        connection_drop(connections, connection, "it does not read what it is sent");
    } else if (is_over(connection->partial_ms, connections->partial_ms_max, now_ms)) {
        connection_drop(connections, connection, "its message did not become whole in time");
    }
}

/* While nothing is read the end of the other side is not seen, and one that trickles keeps its
 * memory: only time tells. */
static void watch(uv_timer_t *timer)
{
    struct connections *connections = timer->data;
    uint64_t now_ms = uv_now(connections->loop);
    uint32_t count = connections->client_count_max;

    for (uint32_t i = 0; i < (count + WATCH_PARTS - 1) / WATCH_PARTS; i++) {
        client_watch(connections, &connections->all[connections->watched], now_ms);
        connections->watched = (connections->watched + 1) % count;
    }
}

struct connections *connections_open(uv_loop_t *loop, struct logger *logger,
                                     const struct connections_options *options)
{
    struct connections *connections = calloc(1, sizeof(*connections));
    uint32_t count_max = options->client_count_max + options->peer_count_max;

    if (connections == NULL) {
        return NULL;
    }
    connections->all = calloc(count_max, sizeof(*connections->all));
    if (connections->all == NULL || uv_timer_init(loop, &connections->timer) != 0 ||
        uv_timer_init(loop, &connections->watch) != 0) {
        free(connections->all);
        free(connections);
        return NULL;
    }
    connections->loop = loop;
    connections->logger = logger;
    connections->client_count_max = options->client_count_max;
    connections->count_max = count_max;
    connections->timer.data = connections;
    connections->watch.data = connections;
    connections->unread_ms_max = options->unread_ms_max;
    connections->partial_ms_max = options->partial_ms_max;
    list_init(&connections->ending);
    list_init(&connections->again);
    kind_init(connections, &connections->clients, &client_limits, options->client_buffered_max);
    kind_init(connections, &connections->peers, &peer_limits, options->peer_buffered_max);
    for (uint32_t i = 0; i < count_max; i++) {
        struct connection *connection = &connections->all[i];
        struct kind *kind = kind_of(connections, i);

        connection->number = i;
        list_init(&connection->again);
        channel_init(&connection->channel, &kind->group);
        list_push_back(&kind->free, &connection->place);
    }
    ASSERT(uv_timer_start(&connections->watch, watch, WATCH_MS, WATCH_MS) == 0);
    return connections;
}

/* --- Accepting -------------------------------------------------------------------------------- */

static void accepted(uv_stream_t *listener, int status);

static void refused_closed(uv_handle_t *handle)
{
    struct kind *kind = handle->data;

    kind->is_refusing = false;
    if (kind->has_waiting && !kind->connections->is_closing) {
        kind->has_waiting = false;
        accepted((uv_stream_t *)&kind->listener, 0);
    }
}

static void refused_log(struct kind *kind)
{
    struct connections *connections = kind->connections;
    uint64_t now_ms = uv_now(connections->loop);
    char memory[LOGGER_LINE_SIZE];
    struct text line;

    kind->refused_count++;
    if (kind->line_ms != 0 && now_ms - kind->line_ms < REFUSED_LINE_MS) {
        return;
    }
    logger_line_begin(&line, memory, "connections_refused");
    logger_line_add(&line, "from", kind->is_client ? "clients" : "peers");
    logger_line_add_number(&line, "count", kind->refused_count);
    logger_line_add(&line, "reason",
                    kind->is_client ? "all are in use; raise --max-connections"
                                    : "all are in use; is this the peer port?");
    logger_write(connections->logger, WORLD_WARNING, bytes_of(line.data, line.size));
    kind->refused_count = 0;
    kind->line_ms = now_ms;
}

/* Until it is accepted, libuv stops listening: so it is accepted, and closed. */
static void refuse(struct kind *kind)
{
    if (kind->is_refusing) {
        kind->has_waiting = true;
        return;
    }
    if (uv_tcp_init(kind->connections->loop, &kind->refused) != 0) {
        return;
    }
    kind->refused.data = kind;
    kind->is_refusing = true;
    (void)uv_accept((uv_stream_t *)&kind->listener, (uv_stream_t *)&kind->refused);
    uv_close((uv_handle_t *)&kind->refused, refused_closed);
    refused_log(kind);
}

static void accepted(uv_stream_t *listener, int status)
{
    struct kind *kind = listener->data;

    if (status != 0 || kind->connections->is_closing) {
        return;
    }
    struct list *place = list_first(&kind->free);
    if (place == NULL) {
        refuse(kind);
        return;
    }
    struct connection *connection = CONTAINER_OF(place, struct connection, place);
    struct channel *channel = &connection->channel;
    if (channel_open(channel, kind->connections->loop) != 0) {
        refuse(kind);
        return;
    }
    list_remove(place);
    connection->is_told_open = false;
    connection->is_told_closed = false;
    connection->comes_again = false;
    connection->partial_ms = uv_now(kind->connections->loop);
    if (uv_accept(listener, (uv_stream_t *)&channel->tcp) != 0 || channel_start(channel) != 0) {
        /* The node never hears of it. */
        connection->is_told_open = true;
        connection->is_told_closed = true;
        channel_drop(channel);
        return;
    }
    list_push_back(&kind->group.ready, &channel->ready);
}

static int listen_at(struct connections *connections, struct kind *kind,
                     const struct address *address)
{
    struct sockaddr_storage resolved;

    ASSERT(kind->listener.data == NULL);
    int code = resolve_now(address, &resolved);
    if (code != 0) {
        return code;
    }
    code = uv_tcp_init(connections->loop, &kind->listener);
    if (code != 0) {
        return code;
    }
    kind->listener.data = kind;
    code = uv_tcp_bind(&kind->listener, (const struct sockaddr *)&resolved, 0);
    return code != 0 ? code : uv_listen((uv_stream_t *)&kind->listener, LISTEN_BACKLOG, accepted);
}

int connections_listen_clients(struct connections *connections, const struct address *address)
{
    return listen_at(connections, &connections->clients, address);
}

int connections_listen_peers(struct connections *connections, const struct address *address)
{
    return listen_at(connections, &connections->peers, address);
}

/* --- Events ----------------------------------------------------------------------------------- */

bool connections_are_ready(const struct connections *connections)
{
    return !list_is_empty(&connections->clients.group.ready) ||
           !list_is_empty(&connections->peers.group.ready);
}

void connections_repeat(struct connections *connections)
{
    struct list *member;

    while ((member = list_pop_front(&connections->again)) != NULL) {
        struct connection *connection = CONTAINER_OF(member, struct connection, again);
        struct channel *channel = &connection->channel;

        connection->comes_again = false;
        if (channel->state == CHANNEL_OPEN) {
            channel->has_data = true;
            list_remove(&channel->ready);
            list_push_back(&channel->group->ready, &channel->ready);
        }
    }
}

static struct node_event event_of(const struct connection *connection, bool is_client,
                                  enum node_event_kind of_client, enum node_event_kind of_peer)
{
    return (struct node_event){.kind = is_client ? of_client : of_peer,
                               .connection = connection->number};
}

/* At most three: OPENED, DATA, CLOSED. */
enum { EVENTS_OF_CONNECTION_MAX = 3 };

static uint32_t connection_gather(struct connection *connection, bool is_client,
                                  struct node_event *events)
{
    struct channel *channel = &connection->channel;
    uint32_t count = 0;

    if (!connection->is_told_open) {
        connection->is_told_open = true;
        events[count++] = event_of(connection, is_client, NODE_CLIENT_OPENED, NODE_PEER_OPENED);
    }
    if (channel->has_data && channel->state == CHANNEL_OPEN && channel_data(channel).size > 0) {
        events[count] = event_of(connection, is_client, NODE_CLIENT_DATA, NODE_PEER_DATA);
        events[count].data = channel_data(channel);
        count++;
    }
    channel->has_data = false;
    if (channel->is_broken && !connection->is_told_closed) {
        connection->is_told_closed = true;
        events[count++] = event_of(connection, is_client, NODE_CLIENT_CLOSED, NODE_PEER_CLOSED);
    }
    ASSERT_VALUES(count <= EVENTS_OF_CONNECTION_MAX, count, connection->number);
    return count;
}

/* A number is free when its socket is closed and the node knows. */
static void connection_release(struct connections *connections, struct connection *connection)
{
    struct channel *channel = &connection->channel;

    if (!connection->is_told_closed) {
        return;
    }
    if (channel->state != CHANNEL_FREE) {
        channel_drop(channel);
        return;
    }
    list_remove(&connection->again);
    list_remove(&connection->place);
    channel_init(channel, channel->group);
    list_push_back(&kind_of(connections, connection->number)->free, &connection->place);
}

static uint32_t kind_gather(struct connections *connections, struct kind *kind,
                            struct node_event *events, uint32_t events_max)
{
    uint32_t count = 0;

    while (events_max - count >= EVENTS_OF_CONNECTION_MAX) {
        struct list *member = list_pop_front(&kind->group.ready);
        if (member == NULL) {
            break;
        }
        struct channel *channel = CONTAINER_OF(member, struct channel, ready);
        struct connection *connection = CONTAINER_OF(channel, struct connection, channel);
        uint32_t gathered = connection_gather(connection, kind->is_client, events + count);

        count += gathered;
        if (gathered == 0 && channel_is_stuck(channel)) {
            connection_drop(connections, connection, "there is no memory for its next message");
        }
        if (gathered == 0 || channel->state == CHANNEL_FREE) {
            connection_release(connections, connection);
        }
    }
    return count;
}

uint32_t connections_gather(struct connections *connections, struct node_event *events,
                            uint32_t events_max)
{
    uint32_t count = kind_gather(connections, &connections->peers, events, events_max);

    return count +
           kind_gather(connections, &connections->clients, events + count, events_max - count);
}

/* What is left is the beginning of a message, unless the node left whole ones. */
static void partial_note(const struct connections *connections, struct connection *connection,
                         const struct node_event *event)
{
    if (event->again || event->consumed == event->data.size) {
        connection->partial_ms = 0;
    } else if (event->consumed > 0 || connection->partial_ms == 0) {
        connection->partial_ms = uv_now(connections->loop);
    }
}

static void data_settle(struct connections *connections, const struct node_event *event)
{
    struct connection *connection = &connections->all[event->connection];
    struct channel *channel = &connection->channel;

    channel_consume(channel, event->consumed);
    partial_note(connections, connection, event);
    if (event->again && channel->state == CHANNEL_OPEN) {
        if (!connection->comes_again) {
            connection->comes_again = true;
            list_push_back(&connections->again, &connection->again);
        }
        return;
    }
    if (event->consumed == 0 && channel_is_stuck(channel)) {
        connection_drop(connections, connection, "there is no memory for its next message");
    }
}

void connections_settle(struct connections *connections, const struct node_event *events,
                        uint32_t events_count)
{
    for (uint32_t i = 0; i < events_count; i++) {
        const struct node_event *event = &events[i];

        if (event->kind == NODE_CLIENT_DATA || event->kind == NODE_PEER_DATA) {
            data_settle(connections, event);
        }
        if (event->kind == NODE_CLIENT_CLOSED || event->kind == NODE_PEER_CLOSED) {
            connection_release(connections, &connections->all[event->connection]);
        }
    }
}

static void group_flush(struct channel_group *group)
{
    struct list *member;

    while ((member = list_pop_front(&group->dirty)) != NULL) {
        channel_flush(CONTAINER_OF(member, struct channel, dirty));
    }
}

void connections_flush(struct connections *connections)
{
    group_flush(&connections->peers.group);
    group_flush(&connections->clients.group);
}

/* --- Output and closing ----------------------------------------------------------------------- */

uint8_t *connections_reserve(struct connections *connections, world_connection number, size_t size)
{
    ASSERT_VALUES(number < connections->count_max, number, connections->count_max);
    return channel_reserve(&connections->all[number].channel, size);
}

bool connections_have_room(const struct connections *connections, world_connection number,
                           size_t size)
{
    ASSERT_VALUES(number < connections->count_max, number, connections->count_max);
    return channel_has_room(&connections->all[number].channel, size);
}

void connections_commit(struct connections *connections, world_connection number, size_t size)
{
    ASSERT_VALUES(number < connections->count_max, number, connections->count_max);
    channel_commit(&connections->all[number].channel, size);
}

static void ending_check(uv_timer_t *timer)
{
    struct connections *connections = timer->data;
    uint64_t now_ms = uv_now(connections->loop);
    struct list *member;

    /* In the order of their deadlines, which all are the same time from their beginning. */
    while ((member = list_first(&connections->ending)) != NULL) {
        struct connection *connection = CONTAINER_OF(member, struct connection, place);

        if (connection->channel.state == CHANNEL_ENDING && now_ms < connection->ending_ms_max) {
            return;
        }
        list_remove(member);
        channel_drop(&connection->channel);
    }
    (void)uv_timer_stop(timer);
}

void connections_end(struct connections *connections, world_connection number)
{
    ASSERT_VALUES(number < connections->count_max, number, connections->count_max);
    struct connection *connection = &connections->all[number];

    if (connection->channel.state != CHANNEL_OPEN) {
        return;
    }
    channel_end(&connection->channel);
    connection->ending_ms_max = uv_now(connections->loop) + ENDING_MS_MAX;
    list_push_back(&connections->ending, &connection->place);
    if (!uv_is_active((uv_handle_t *)&connections->timer)) {
        ASSERT(uv_timer_start(&connections->timer, ending_check, ENDING_CHECK_MS,
                              ENDING_CHECK_MS) == 0);
    }
}

static void listener_close(struct kind *kind)
{
    if (kind->listener.data != NULL) {
        uv_close((uv_handle_t *)&kind->listener, NULL);
    }
}

void connections_close(struct connections *connections)
{
    ASSERT(!connections->is_closing);
    connections->is_closing = true;
    listener_close(&connections->clients);
    listener_close(&connections->peers);
    uv_close((uv_handle_t *)&connections->timer, NULL);
    uv_close((uv_handle_t *)&connections->watch, NULL);
    for (uint32_t i = 0; i < connections->count_max; i++) {
        channel_drop(&connections->all[i].channel);
    }
}

void connections_free(struct connections *connections)
{
    free(connections->all);
    free(connections);
}
