/* server/channel.c: reads into an inbox, writes out of two outboxes. */
#define _GNU_SOURCE /* NOLINT(bugprone-reserved-identifier): the C library's own switch. */
#include "server/channel.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/assert.h"

enum {
    OUTBOX_SIZE_MIN = 4096,
    KEPT_SIZE_MAX = 256 << 10, /* An empty buffer that is larger is given back. */
    KEEPALIVE_SECONDS = 30,
};

void channel_group_init(struct channel_group *group, const struct channel_limits *limits,
                        size_t buffered_max)
{
    ASSERT(limits->outbox_size_low < limits->outbox_size_high);
    ASSERT(limits->outbox_size_high < limits->outbox_size_max);
    *group = (struct channel_group){.limits = limits, .buffered_max = buffered_max};
    list_init(&group->ready);
    list_init(&group->dirty);
}

void channel_init(struct channel *channel, struct channel_group *group)
{
    memset(channel, 0, sizeof(*channel));
    channel->group = group;
    list_init(&channel->ready);
    list_init(&channel->dirty);
}

static void tell(struct channel *channel)
{
    if (!list_is_linked(&channel->ready)) {
        list_push_back(&channel->group->ready, &channel->ready);
    }
}

static void break_off(struct channel *channel)
{
    channel->is_broken = true;
    tell(channel);
}

/* --- Buffers ---------------------------------------------------------------------------------- */

static size_t buffer_size(const struct channel_buffer *buffer)
{
    ASSERT(buffer->start <= buffer->end && buffer->end <= buffer->capacity);
    return buffer->end - buffer->start;
}

static void buffer_free(struct channel_group *group, struct channel_buffer *buffer)
{
    ASSERT_VALUES(group->buffered >= buffer->capacity, group->buffered, buffer->capacity);
    group->buffered -= buffer->capacity;
    free(buffer->data);
    *buffer = (struct channel_buffer){0};
}

static void buffer_rewind(struct channel_group *group, struct channel_buffer *buffer)
{
    ASSERT(buffer->start == buffer->end);
    buffer->start = 0;
    buffer->end = 0;
    if (buffer->capacity > KEPT_SIZE_MAX) {
        buffer_free(group, buffer);
    }
}

/* Moves the bytes to the front. */
static void buffer_compact(struct channel_buffer *buffer)
{
    size_t size = buffer_size(buffer);

    if (buffer->start > 0 && size > 0) {
        memmove(buffer->data, buffer->data + buffer->start, size);
    }
    buffer->start = 0;
    buffer->end = size;
}

/* Makes room for `size` bytes behind the end; false beyond a limit. */
static bool buffer_grow(struct channel_group *group, struct channel_buffer *buffer, size_t size,
                        size_t capacity_min, size_t capacity_max)
{
    size_t capacity = size_max(buffer->capacity, capacity_min);

    if (buffer->capacity - buffer->end >= size) {
        return true;
    }
    buffer_compact(buffer);
    if (size > capacity_max - size_min(capacity_max, buffer->end)) {
        return false;
    }
    while (capacity - buffer->end < size) {
        capacity *= 2;
    }
    capacity = size_min(capacity, capacity_max);
    if (capacity == buffer->capacity) {
        return true;
    }
    if (capacity - buffer->capacity > group->buffered_max - group->buffered) {
        return false;
    }
    uint8_t *data = realloc(buffer->data, capacity);
    if (data == NULL) {
        return false;
    }
    group->buffered += capacity - buffer->capacity;
    buffer->data = data;
    buffer->capacity = capacity;
    return true;
}

/* --- Reading ---------------------------------------------------------------------------------- */

static size_t output_size(const struct channel *channel)
{
    return buffer_size(&channel->filling) + buffer_size(&channel->flying);
}

static bool inbox_has_room(const struct channel *channel)
{
    return buffer_size(&channel->inbox) < channel->group->limits->inbox_size_max;
}

static void inbox_provide(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
    struct channel *channel = handle->data;
    struct channel_buffer *inbox = &channel->inbox;
    const struct channel_limits *limits = channel->group->limits;

    (void)suggested;
    if (channel->state != CHANNEL_OPEN) {
        inbox->start = 0; /* Nobody wants these bytes any more. */
        inbox->end = 0;
    }
    if (!buffer_grow(channel->group, inbox, 1, limits->inbox_size_min, limits->inbox_size_max)) {
        *buffer = uv_buf_init(NULL, 0);
        return;
    }
    *buffer =
        uv_buf_init((char *)inbox->data + inbox->end, (unsigned)(inbox->capacity - inbox->end));
}

static void reading_stop(struct channel *channel)
{
    if (channel->is_reading) {
        channel->is_reading = false;
        (void)uv_read_stop((uv_stream_t *)&channel->tcp);
    }
}

static void inbox_take(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer)
{
    struct channel *channel = stream->data;

    (void)buffer;
    if (size == UV_ENOBUFS) {
        /* The group's memory is used up; channel_is_stuck() tells the owner when that is final. */
        reading_stop(channel);
        channel->has_data = true;
        tell(channel);
        return;
    }
    if (size < 0) {
        reading_stop(channel);
        break_off(channel);
        return;
    }
    if (size == 0 || channel->state != CHANNEL_OPEN) {
        return;
    }
    channel->inbox.end += (size_t)size;
    ASSERT(channel->inbox.end <= channel->inbox.capacity);
    channel->has_data = true;
    tell(channel);
    if (!inbox_has_room(channel)) {
        reading_stop(channel);
    }
}

static void reading_start(struct channel *channel)
{
    if (channel->is_reading || channel->is_broken || channel->state == CHANNEL_CLOSING) {
        return;
    }
    if (uv_read_start((uv_stream_t *)&channel->tcp, inbox_provide, inbox_take) != 0) {
        break_off(channel);
        return;
    }
    channel->is_reading = true;
}

/* Stops or starts reading, as inbox and outbox have it. */
static void reading_regulate(struct channel *channel)
{
    const struct channel_limits *limits = channel->group->limits;
    size_t waiting = output_size(channel);

    if (channel->state != CHANNEL_OPEN) {
        return;
    }
    if (waiting > limits->outbox_size_high) {
        if (channel->paused_ms == 0) {
            channel->paused_ms = uv_now(channel->tcp.loop);
        }
        reading_stop(channel);
    } else if (waiting <= limits->outbox_size_low) {
        channel->paused_ms = 0;
        if (inbox_has_room(channel)) {
            reading_start(channel);
        }
    }
}

struct bytes channel_data(const struct channel *channel)
{
    if (channel->inbox.data == NULL) {
        return bytes_of("", 0);
    }
    return bytes_of(channel->inbox.data + channel->inbox.start, buffer_size(&channel->inbox));
}

void channel_consume(struct channel *channel, size_t size)
{
    struct channel_buffer *inbox = &channel->inbox;

    if (channel->state != CHANNEL_OPEN) {
        return; /* The node closed it in the same turn; the bytes are gone already. */
    }
    ASSERT_VALUES(size <= buffer_size(inbox), size, buffer_size(inbox));
    inbox->start += size;
    if (inbox->start == inbox->end) {
        buffer_rewind(channel->group, inbox);
    }
    if (size > 0) {
        reading_regulate(channel);
    }
}

bool channel_is_stuck(const struct channel *channel)
{
    return channel->state == CHANNEL_OPEN && !channel->is_reading && !channel->is_broken &&
           output_size(channel) <= channel->group->limits->outbox_size_low;
}

/* --- Writing ---------------------------------------------------------------------------------- */

bool channel_has_room(const struct channel *channel, size_t size)
{
    size_t size_max_all = channel->group->limits->outbox_size_max;

    return channel->state == CHANNEL_OPEN && !channel->is_broken &&
           size <= size_max_all - size_min(size_max_all, output_size(channel));
}

uint8_t *channel_reserve(struct channel *channel, size_t size)
{
    struct channel_buffer *filling = &channel->filling;
    size_t size_max_all = channel->group->limits->outbox_size_max;

    if (!channel_has_room(channel, size)) {
        return NULL;
    }
    if (!buffer_grow(channel->group, filling, size, OUTBOX_SIZE_MIN, size_max_all)) {
        return NULL;
    }
    return filling->data + filling->end;
}

void channel_commit(struct channel *channel, size_t size)
{
    struct channel_buffer *filling = &channel->filling;

    ASSERT_VALUES(size <= filling->capacity - filling->end, size, filling->capacity);
    filling->end += size;
    if (size > 0 && !list_is_linked(&channel->dirty)) {
        list_push_back(&channel->group->dirty, &channel->dirty);
    }
}

static void written(uv_write_t *write, int status);

/* Hands what the kernel did not take at once to libuv; meanwhile the other buffer is filled. */
static void fly(struct channel *channel)
{
    struct channel_buffer empty = channel->flying;

    ASSERT(!channel->is_flying && buffer_size(&empty) == 0);
    channel->flying = channel->filling;
    channel->filling = empty;
    uv_buf_t buffer = uv_buf_init((char *)channel->flying.data + channel->flying.start,
                                  (unsigned)buffer_size(&channel->flying));
    channel->write.data = channel;
    if (uv_write(&channel->write, (uv_stream_t *)&channel->tcp, &buffer, 1, written) != 0) {
        channel->flying.start = channel->flying.end;
        break_off(channel);
        return;
    }
    channel->is_flying = true;
}

static void written(uv_write_t *write, int status)
{
    struct channel *channel = write->data;

    channel->is_flying = false;
    channel->flying.start = channel->flying.end;
    buffer_rewind(channel->group, &channel->flying);
    if (channel->state == CHANNEL_CLOSING) {
        return;
    }
    if (status != 0) {
        break_off(channel);
        return;
    }
    channel_flush(channel);
}

static void shut(uv_shutdown_t *shutdown, int status)
{
    struct channel *channel = shutdown->data;

    if (status != 0 && channel->state != CHANNEL_CLOSING) {
        break_off(channel);
    }
}

static void shut_when_empty(struct channel *channel)
{
    if (channel->state != CHANNEL_ENDING || channel->is_shut || channel->is_broken ||
        output_size(channel) > 0) {
        return;
    }
    channel->is_shut = true;
    channel->shutdown.data = channel;
    if (uv_shutdown(&channel->shutdown, (uv_stream_t *)&channel->tcp, shut) != 0) {
        break_off(channel);
    }
}

void channel_flush(struct channel *channel)
{
    struct channel_buffer *filling = &channel->filling;

    list_remove(&channel->dirty);
    if (channel->state == CHANNEL_FREE || channel->state == CHANNEL_CLOSING || channel->is_broken) {
        return;
    }
    if (channel->is_flying) {
        reading_regulate(channel); /* What waits behind it has grown. */
        return;
    }
    if (buffer_size(filling) > 0) {
        uv_buf_t buffer =
            uv_buf_init((char *)filling->data + filling->start, (unsigned)buffer_size(filling));
        int size = uv_try_write((uv_stream_t *)&channel->tcp, &buffer, 1);

        if (size < 0 && size != UV_EAGAIN) {
            break_off(channel);
            return;
        }
        filling->start += size < 0 ? 0 : (size_t)size;
        if (buffer_size(filling) == 0) {
            buffer_rewind(channel->group, filling);
        } else {
            fly(channel);
        }
    }
    reading_regulate(channel);
    shut_when_empty(channel);
}

/* --- Opening and closing ---------------------------------------------------------------------- */

int channel_open(struct channel *channel, uv_loop_t *loop)
{
    ASSERT(channel->state == CHANNEL_FREE);
    int code = uv_tcp_init(loop, &channel->tcp);
    if (code == 0) {
        channel->tcp.data = channel;
        channel->state = CHANNEL_OPEN;
    }
    return code;
}

/* Best effort: without them the connection is slower to break or to answer, never wrong. */
static void options_set(struct channel *channel)
{
    unsigned timeout_ms = channel->group->limits->user_timeout_ms;
    uv_os_fd_t descriptor;

    (void)uv_tcp_nodelay(&channel->tcp, 1);
    (void)uv_tcp_keepalive(&channel->tcp, 1, KEEPALIVE_SECONDS);
    if (uv_fileno((uv_handle_t *)&channel->tcp, &descriptor) == 0) {
        (void)setsockopt(descriptor, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms,
                         sizeof(timeout_ms));
    }
}

int channel_start(struct channel *channel)
{
    ASSERT(channel->state == CHANNEL_OPEN && !channel->is_reading);
    options_set(channel);
    int code = uv_read_start((uv_stream_t *)&channel->tcp, inbox_provide, inbox_take);
    channel->is_reading = code == 0;
    return code;
}

void channel_end(struct channel *channel)
{
    if (channel->state != CHANNEL_OPEN) {
        return;
    }
    channel->state = CHANNEL_ENDING;
    channel->has_data = false;
    reading_start(channel); /* Or the end of the other side would not be seen. */
    if (!list_is_linked(&channel->dirty)) {
        list_push_back(&channel->group->dirty, &channel->dirty);
    }
}

static void freed(uv_handle_t *handle)
{
    struct channel *channel = handle->data;
    struct channel_group *group = channel->group;

    ASSERT(channel->state == CHANNEL_CLOSING);
    buffer_free(group, &channel->inbox);
    buffer_free(group, &channel->filling);
    buffer_free(group, &channel->flying);
    list_remove(&channel->dirty);
    list_remove(&channel->ready);
    channel_init(channel, group);
    channel->is_broken = true;
    tell(channel);
}

void channel_drop(struct channel *channel)
{
    if (channel->state == CHANNEL_FREE || channel->state == CHANNEL_CLOSING) {
        return;
    }
    channel->state = CHANNEL_CLOSING;
    channel->is_reading = false;
    list_remove(&channel->dirty);
    uv_close((uv_handle_t *)&channel->tcp, freed);
    break_off(channel);
}
