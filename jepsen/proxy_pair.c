/* jepsen/proxy_pair.c: two sockets, a bounded queue for each direction. */
#define _GNU_SOURCE /* NOLINT(bugprone-reserved-identifier): <uv.h> needs more than C11. */
#include "jepsen/proxy_pair.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/macros.h"

enum { QUEUE_SIZE_MAX = 1 << 20, CHUNK_SIZE = 64 << 10 };

static enum direction other(enum direction direction)
{
    return direction == AHEAD ? BACK : AHEAD;
}

/* --- Ends of connections ---------------------------------------------------------------------- */

static void flow_drop(struct flow *flow)
{
    while (!list_is_empty(&flow->chunks)) {
        struct chunk *chunk = CONTAINER_OF(list_first(&flow->chunks), struct chunk, member);

        list_remove(&chunk->member);
        flow->size -= chunk->size;
        free(chunk);
    }
}

static void handle_closed(uv_handle_t *handle)
{
    struct pair *pair = handle->data;

    ASSERT(pair->handle_count > 0);
    pair->handle_count--;
    if (pair->handle_count == 0) {
        /* Writes under way were cancelled before this. */
        flow_drop(&pair->flows[AHEAD]);
        flow_drop(&pair->flows[BACK]);
        list_remove(&pair->member);
        pair->link->pair_count--;
        free(pair);
    }
}

/* Both ends see a reset. */
void proxy_pair_reset(struct pair *pair)
{
    if (pair->is_closing) {
        return;
    }
    pair->is_closing = true;
    uv_close((uv_handle_t *)&pair->timer, handle_closed);
    for (enum direction at = AHEAD; at < DIRECTION_COUNT; at++) {
        uv_tcp_t *socket = &pair->sides[at].socket;

        /* It refuses a socket that was shut for writing, or never connected. */
        if (uv_tcp_close_reset(socket, handle_closed) != 0) {
            uv_close((uv_handle_t *)socket, handle_closed);
        }
    }
}

/* Nothing of the connection is left to pass on. */
static bool pair_is_over(const struct pair *pair)
{
    return pair->flows[AHEAD].is_shut && pair->flows[BACK].is_shut;
}

static void pair_close(struct pair *pair)
{
    if (pair->is_closing) {
        return;
    }
    pair->is_closing = true;
    uv_close((uv_handle_t *)&pair->timer, handle_closed);
    uv_close((uv_handle_t *)&pair->sides[AHEAD].socket, handle_closed);
    uv_close((uv_handle_t *)&pair->sides[BACK].socket, handle_closed);
}

static bool pair_is_cut(const struct pair *pair)
{
    return pair->link->states[AHEAD] == STATE_CUT || pair->link->states[BACK] == STATE_CUT;
}

/* One end failed. The other end must not hear of it through a link that is cut. */
static void pair_fail(struct pair *pair)
{
    if (!pair_is_cut(pair)) {
        proxy_pair_reset(pair);
        return;
    }
    pair->flows[AHEAD].is_torn = true;
    pair->flows[BACK].is_torn = true;
}

/* --- Writing ---------------------------------------------------------------------------------- */

static void written(uv_write_t *writing, int status)
{
    struct chunk *chunk = CONTAINER_OF(writing, struct chunk, writing);
    struct pair *pair = chunk->pair;
    struct flow *flow = &pair->flows[chunk->direction];

    flow->is_writing = false;
    flow->size -= chunk->size;
    pair->link->forwarded[chunk->direction] += status == 0 ? chunk->size : 0;
    free(chunk);
    if (pair->is_closing) {
        return;
    }
    if (status != 0) {
        pair_fail(pair);
        return;
    }
    proxy_pair_adjust(pair);
}

static void shut(uv_shutdown_t *shutting, int status)
{
    struct pair *pair = shutting->data;

    if (pair->is_closing) {
        return;
    }
    if (status != 0) {
        pair_fail(pair);
    } else if (pair_is_over(pair)) {
        pair_close(pair);
    }
}

/* Passes an end of file on, once everything before it has been. */
static void flow_end(struct pair *pair, enum direction direction)
{
    struct flow *flow = &pair->flows[direction];

    if (!pair->sides[direction].has_ended || flow->is_shut) {
        return;
    }
    flow->is_shut = true;
    flow->shutting.data = pair;
    uv_stream_t *stream = (uv_stream_t *)&pair->sides[other(direction)].socket;
    if (uv_shutdown(&flow->shutting, stream, shut) != 0) {
        pair_fail(pair);
    }
}

static void timer_fired(uv_timer_t *timer)
{
    proxy_pair_adjust(timer->data);
}

/* Writes the first chunk if it is due, and only then the next. */
static void flow_move(struct pair *pair, enum direction direction)
{
    struct flow *flow = &pair->flows[direction];
    uint64_t now_ms = uv_now(pair->link->loop);

    if (!pair->is_connected || flow->is_torn || flow->is_writing || flow->is_shut ||
        pair->link->states[direction] != STATE_OPEN) {
        return;
    }
    if (list_is_empty(&flow->chunks)) {
        flow_end(pair, direction);
        return;
    }
    struct chunk *chunk = CONTAINER_OF(list_first(&flow->chunks), struct chunk, member);
    if (chunk->due_ms > now_ms) {
        if (!uv_is_active((const uv_handle_t *)&pair->timer) ||
            uv_timer_get_due_in(&pair->timer) > chunk->due_ms - now_ms) {
            ASSERT(uv_timer_start(&pair->timer, timer_fired, chunk->due_ms - now_ms, 0) == 0);
        }
        return;
    }
    list_remove(&chunk->member);
    flow->is_writing = true;
    uv_buf_t buffer = uv_buf_init((char *)chunk->data, (unsigned)chunk->size);
    uv_stream_t *stream = (uv_stream_t *)&pair->sides[other(direction)].socket;
    if (uv_write(&chunk->writing, stream, &buffer, 1, written) != 0) {
        flow->is_writing = false;
        flow->size -= chunk->size;
        free(chunk);
        pair_fail(pair);
    }
}

/* --- Reading ---------------------------------------------------------------------------------- */

static void allocate(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
    struct chunk *chunk = malloc(sizeof(*chunk) + CHUNK_SIZE);

    (void)handle;
    (void)suggested;
    *buffer = chunk == NULL ? uv_buf_init(NULL, 0) : uv_buf_init((char *)chunk->data, CHUNK_SIZE);
    /* got() frees it. */
    /* cppcheck-suppress memleak */
}

static struct chunk *chunk_of(const uv_buf_t *buffer)
{
    return buffer->base == NULL ? NULL
                                : CONTAINER_OF((uint8_t *)buffer->base, struct chunk, data[0]);
}

static void ended(struct pair *pair, enum direction direction, ssize_t status)
{
    struct side *side = &pair->sides[direction];

    side->is_reading = false;
    side->has_ended = true;
    uv_read_stop((uv_stream_t *)&side->socket);
    if (pair_is_cut(pair)) {
        pair->flows[direction].is_torn = true;
    } else if (status == UV_EOF) {
        flow_move(pair, direction);
    } else {
        proxy_pair_reset(pair);
    }
}

static void got(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer)
{
    struct pair *pair = stream->data;
    enum direction direction = stream == (uv_stream_t *)&pair->sides[AHEAD].socket ? AHEAD : BACK;
    struct flow *flow = &pair->flows[direction];
    struct chunk *chunk = chunk_of(buffer);

    if (size <= 0 || flow->is_torn || pair->link->states[direction] == STATE_CUT) {
        free(chunk);
        if (size > 0) {
            flow->is_torn = true;
            pair->link->lost[direction] += (uint64_t)size;
        } else if (size < 0) {
            ended(pair, direction, size);
        }
        return;
    }
    ASSERT(chunk != NULL);
    chunk->size = (size_t)size;
    chunk->pair = pair;
    chunk->direction = direction;
    chunk->due_ms = uv_now(pair->link->loop) + pair->link->delay_ms;
    list_push_back(&flow->chunks, &chunk->member);
    flow->size += chunk->size;
    proxy_pair_adjust(pair);
}

static bool wants_reading(const struct pair *pair, enum direction direction)
{
    enum state state = pair->link->states[direction];

    return !pair->sides[direction].has_ended && state != STATE_STALLED &&
           (direction == AHEAD || pair->is_connected) &&
           (pair->flows[direction].is_torn || state == STATE_CUT ||
            pair->flows[direction].size < QUEUE_SIZE_MAX);
}

/* Reads where there is room, writes what is due: after every change. */
void proxy_pair_adjust(struct pair *pair)
{
    for (enum direction at = AHEAD; at < DIRECTION_COUNT && !pair->is_closing; at++) {
        struct side *side = &pair->sides[at];
        bool wants = wants_reading(pair, at);

        if (wants && !side->is_reading) {
            side->is_reading = uv_read_start((uv_stream_t *)&side->socket, allocate, got) == 0;
        } else if (!wants && side->is_reading) {
            side->is_reading = false;
            uv_read_stop((uv_stream_t *)&side->socket);
        }
        flow_move(pair, at);
    }
}

/* --- Connections ------------------------------------------------------------------------------ */

static void connected(uv_connect_t *connecting, int status)
{
    struct pair *pair = connecting->data;

    if (pair->is_closing) {
        return;
    }
    if (status != 0) {
        /* Nobody listens there: the one that dialed must see a refusal, not a silence. */
        pair_fail(pair);
        return;
    }
    pair->is_connected = true;
    proxy_pair_adjust(pair);
}

static struct pair *pair_open(struct link *link)
{
    struct pair *pair = calloc(1, sizeof(*pair));
    uv_loop_t *loop = link->loop;

    ASSERT(pair != NULL);
    pair->link = link;
    pair->handle_count = 1 + DIRECTION_COUNT;
    pair->connecting.data = pair;
    ASSERT(uv_timer_init(loop, &pair->timer) == 0);
    pair->timer.data = pair;
    for (enum direction at = AHEAD; at < DIRECTION_COUNT; at++) {
        ASSERT(uv_tcp_init(loop, &pair->sides[at].socket) == 0);
        pair->sides[at].socket.data = pair;
        list_init(&pair->flows[at].chunks);
    }
    list_push_back(&link->pairs, &pair->member);
    link->pair_count++;
    return pair;
}

void proxy_pair_accept(struct link *link)
{
    struct pair *pair = pair_open(link);
    uv_tcp_t *source = &pair->sides[AHEAD].socket;
    uv_tcp_t *target = &pair->sides[BACK].socket;
    if (uv_accept((uv_stream_t *)&link->listener, (uv_stream_t *)source) != 0 ||
        link->pair_count > PROXY_CONNECTION_COUNT_MAX) {
        proxy_pair_reset(pair);
        return;
    }
    (void)uv_tcp_nodelay(source, 1);
    if (pair_is_cut(pair)) {
        /* The dialer's bytes go nowhere; the target never hears of it. */
        pair->flows[AHEAD].is_torn = true;
    } else if (uv_tcp_connect(&pair->connecting, target, (const struct sockaddr *)&link->address,
                              connected) != 0) {
        proxy_pair_reset(pair);
        return;
    } else {
        (void)uv_tcp_nodelay(target, 1);
    }
    proxy_pair_adjust(pair);
}

void proxy_pair_lose(struct pair *pair, enum direction direction)
{
    struct flow *flow = &pair->flows[direction];
    size_t size_before = flow->size;

    if (!list_is_empty(&flow->chunks)) {
        flow->is_torn = true;
        flow_drop(flow);
        pair->link->lost[direction] += size_before - flow->size;
    }
}
