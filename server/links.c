/* server/links.c: dials, dials again, and tells the node what stands. */
#define _GNU_SOURCE /* NOLINT(bugprone-reserved-identifier): the C library's own switch. */
#include "server/links.h"

#include <netdb.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/list.h"
#include "base/prng.h"
#include "server/resolve.h"

enum {
    BACKOFF_MS_MIN = 20,
    BACKOFF_MS_MAX = 500,
    CONNECT_MS_MAX = 1000,
    STEADY_MS = 1000, /* A connection that stood so long is dialed again without a pause. */
};

static const struct channel_limits link_limits = {
    .inbox_size_min = 4096,
    .inbox_size_max = 64 << 10, /* A refusal, nothing else. */
    .outbox_size_max = 8 << 20,
    .outbox_size_high = 4 << 20,
    .outbox_size_low = 1 << 20,
    .user_timeout_ms = 2000,
};

enum link_state { LINK_IDLE, LINK_WAITING, LINK_RESOLVING, LINK_CONNECTING, LINK_UP };

struct link {
    struct links *links;
    uint32_t peer;
    enum world_lane lane;
    enum link_state state;
    bool is_told_up;
    bool is_wanted; /* There is an address. */
    bool has_moved; /* Since the name was asked for. */
    struct address address;
    uint32_t backoff_ms;
    uint64_t up_ms;   /* On the loop's clock. */
    uv_timer_t timer; /* The pause, or the end of waiting for a connection. */
    uv_getaddrinfo_t resolving;
    uv_connect_t connecting;
    struct channel channel;
};

struct links {
    uv_loop_t *loop;
    struct links_options options;
    struct channel_group group;
    struct prng prng;
    bool is_closing;
    struct link all[NODE_PEER_COUNT_MAX][WORLD_LANE_COUNT];
};

static struct link *link_at(struct links *links, uint32_t peer, enum world_lane lane)
{
    ASSERT_VALUES(peer < NODE_PEER_COUNT_MAX, peer, NODE_PEER_COUNT_MAX);
    ASSERT((unsigned)lane < WORLD_LANE_COUNT);
    return &links->all[peer][lane];
}

/* --- Dialing ---------------------------------------------------------------------------------- */

static void dial(uv_timer_t *timer);

static void pause_begin(struct link *link)
{
    uint64_t pause_ms = prng_between(&link->links->prng, link->backoff_ms / 2,
                                     link->backoff_ms + link->backoff_ms / 2);

    if (link->links->is_closing) {
        return;
    }
    if (!link->is_wanted) {
        link->state = LINK_IDLE;
        return;
    }
    link->state = LINK_WAITING;
    link->backoff_ms *= 2;
    if (link->backoff_ms > BACKOFF_MS_MAX) {
        link->backoff_ms = BACKOFF_MS_MAX;
    }
    ASSERT(uv_timer_start(&link->timer, dial, pause_ms, 0) == 0);
}

static void connect_expired(uv_timer_t *timer)
{
    struct link *link = timer->data;

    ASSERT(link->state == LINK_CONNECTING);
    channel_drop(&link->channel);
}

/* A failed or dropped attempt ends in links_gather(), when the channel is free again. */
static void connected(uv_connect_t *request, int status)
{
    struct link *link = request->data;

    if (link->channel.state != CHANNEL_OPEN) {
        return; /* It took too long and was dropped. */
    }
    (void)uv_timer_stop(&link->timer);
    if (status != 0 || channel_start(&link->channel) != 0) {
        channel_drop(&link->channel);
        return;
    }
    link->state = LINK_UP;
    link->is_told_up = false;
    link->up_ms = uv_now(link->links->loop);
    list_remove(&link->channel.ready);
    list_push_back(&link->links->group.ready, &link->channel.ready);
}

static void connect_to(struct link *link, const struct sockaddr_storage *resolved)
{
    if (channel_open(&link->channel, link->links->loop) != 0) {
        pause_begin(link);
        return;
    }
    link->state = LINK_CONNECTING;
    link->connecting.data = link;
    if (uv_tcp_connect(&link->connecting, &link->channel.tcp, (const struct sockaddr *)resolved,
                       connected) != 0) {
        channel_drop(&link->channel);
        return;
    }
    ASSERT(uv_timer_start(&link->timer, connect_expired, CONNECT_MS_MAX, 0) == 0);
}

static void resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *found)
{
    struct link *link = request->data;
    struct sockaddr_storage address;

    ASSERT(link->state == LINK_RESOLVING);
    if (status != 0 || found == NULL || link->links->is_closing || link->has_moved) {
        link->has_moved = false;
        uv_freeaddrinfo(found);
        pause_begin(link);
        return;
    }
    ASSERT(found->ai_addrlen <= sizeof(address));
    memcpy(&address, found->ai_addr, found->ai_addrlen);
    resolve_set_port(&address, link->address.port);
    uv_freeaddrinfo(found);
    connect_to(link, &address);
}

static void dial(uv_timer_t *timer)
{
    struct link *link = timer->data;
    const struct address *address = &link->address;
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct sockaddr_storage number;

    ASSERT(link->state == LINK_WAITING && link->channel.state == CHANNEL_FREE);
    if (resolve_number(address, &number)) {
        connect_to(link, &number);
        return;
    }
    link->state = LINK_RESOLVING;
    link->has_moved = false;
    link->resolving.data = link;
    if (uv_getaddrinfo(link->links->loop, &link->resolving, resolved, address->host, NULL,
                       &hints) != 0) {
        pause_begin(link);
    }
}

/* --- Opening and closing ---------------------------------------------------------------------- */

static bool link_open(struct links *links, uint32_t peer, enum world_lane lane)
{
    struct link *link = link_at(links, peer, lane);

    *link = (struct link){.links = links, .peer = peer, .lane = lane, .backoff_ms = BACKOFF_MS_MIN};
    channel_init(&link->channel, &links->group);
    link->timer.data = link;
    return uv_timer_init(links->loop, &link->timer) == 0;
}

struct links *links_open(uv_loop_t *loop, const struct links_options *options)
{
    struct links *links = calloc(1, sizeof(*links));

    if (links == NULL) {
        return NULL;
    }
    links->loop = loop;
    links->options = *options;
    prng_init(&links->prng, options->seed);
    channel_group_init(&links->group, &link_limits, options->buffered_max);
    for (uint32_t peer = 0; peer < NODE_PEER_COUNT_MAX; peer++) {
        ASSERT(link_open(links, peer, WORLD_LANE_BULK));
        ASSERT(link_open(links, peer, WORLD_LANE_FAST));
    }
    return links;
}

static void link_set(struct link *link, const struct address *address)
{
    link->is_wanted = address != NULL;
    if (address != NULL) {
        link->address = *address;
        link->backoff_ms = BACKOFF_MS_MIN;
    }
    switch (link->state) {
    case LINK_IDLE:
    case LINK_WAITING:
        (void)uv_timer_stop(&link->timer);
        link->state = link->is_wanted ? LINK_WAITING : LINK_IDLE;
        if (link->is_wanted) {
            ASSERT(uv_timer_start(&link->timer, dial, 0, 0) == 0);
        }
        return;
    case LINK_RESOLVING:
        link->has_moved = true;
        return;
    case LINK_CONNECTING:
    case LINK_UP:
        (void)uv_timer_stop(&link->timer);
        channel_drop(&link->channel); /* What follows is in link_mend(). */
        return;
    }
    UNREACHABLE();
}

void links_set(struct links *links, uint32_t peer, const struct address *address)
{
    link_set(link_at(links, peer, WORLD_LANE_BULK), address);
    link_set(link_at(links, peer, WORLD_LANE_FAST), address);
}

static void link_close(struct link *link)
{
    uv_close((uv_handle_t *)&link->timer, NULL);
    channel_drop(&link->channel);
    if (link->state == LINK_RESOLVING) {
        (void)uv_cancel((uv_req_t *)&link->resolving);
    }
}

void links_close(struct links *links)
{
    ASSERT(!links->is_closing);
    links->is_closing = true;
    for (uint32_t peer = 0; peer < NODE_PEER_COUNT_MAX; peer++) {
        link_close(link_at(links, peer, WORLD_LANE_BULK));
        link_close(link_at(links, peer, WORLD_LANE_FAST));
    }
}

void links_free(struct links *links)
{
    free(links);
}

/* --- Events ----------------------------------------------------------------------------------- */

bool links_are_ready(const struct links *links)
{
    return !list_is_empty(&links->group.ready);
}

static struct node_event event_of(const struct link *link, enum node_event_kind kind)
{
    return (struct node_event){.kind = kind, .peer = link->peer, .lane = link->lane};
}

/* At most three: UP, DATA, DOWN. */
enum { EVENTS_OF_LINK_MAX = 3 };

static uint32_t link_gather(struct link *link, struct node_event *events)
{
    struct channel *channel = &link->channel;
    uint32_t count = 0;

    if (link->state == LINK_UP && !link->is_told_up && !channel->is_broken) {
        link->is_told_up = true;
        events[count++] = event_of(link, NODE_LINK_UP);
    }
    if (link->is_told_up && channel->has_data && channel->state == CHANNEL_OPEN) {
        events[count] = event_of(link, NODE_LINK_DATA);
        events[count].data = channel_data(channel);
        count++;
    }
    channel->has_data = false;
    if (channel->is_broken && link->is_told_up) {
        link->is_told_up = false;
        events[count++] = event_of(link, NODE_LINK_DOWN);
    }
    return count;
}

/* A broken connection is closed, a closed one is dialed again. */
static void link_mend(struct link *link)
{
    struct channel *channel = &link->channel;

    if (!channel->is_broken || link->links->is_closing) {
        return;
    }
    if (channel->state != CHANNEL_FREE) {
        if (link->state == LINK_UP && uv_now(link->links->loop) - link->up_ms >= STEADY_MS) {
            link->backoff_ms = BACKOFF_MS_MIN;
        }
        (void)uv_timer_stop(&link->timer);
        channel_drop(channel);
        return;
    }
    channel_init(channel, channel->group);
    pause_begin(link);
}

uint32_t links_gather(struct links *links, struct node_event *events, uint32_t events_max)
{
    uint32_t count = 0;
    struct list *member;

    while (events_max - count >= EVENTS_OF_LINK_MAX &&
           (member = list_pop_front(&links->group.ready)) != NULL) {
        struct channel *channel = CONTAINER_OF(member, struct channel, ready);
        struct link *link = CONTAINER_OF(channel, struct link, channel);

        count += link_gather(link, events + count);
        link_mend(link);
    }
    return count;
}

void links_settle(struct links *links, const struct node_event *events, uint32_t events_count)
{
    for (uint32_t i = 0; i < events_count; i++) {
        const struct node_event *event = &events[i];

        if (event->kind == NODE_LINK_DATA) {
            struct channel *channel = &link_at(links, event->peer, event->lane)->channel;

            channel_consume(channel, event->consumed);
            if (event->consumed == 0 && channel_is_stuck(channel)) {
                channel_drop(channel);
            }
        }
    }
}

void links_flush(struct links *links)
{
    struct list *member;

    while ((member = list_pop_front(&links->group.dirty)) != NULL) {
        channel_flush(CONTAINER_OF(member, struct channel, dirty));
    }
}

/* --- Output ----------------------------------------------------------------------------------- */

uint8_t *links_reserve(struct links *links, uint32_t peer, enum world_lane lane, size_t size)
{
    struct link *link = link_at(links, peer, lane);

    if (link->state != LINK_UP || !link->is_told_up) {
        return NULL;
    }
    return channel_reserve(&link->channel, size);
}

void links_commit(struct links *links, uint32_t peer, enum world_lane lane, size_t size)
{
    channel_commit(&link_at(links, peer, lane)->channel, size);
}
