/* server/channel.h: one TCP connection with bounded buffers on both sides.
 *
 *     FREE --open--> OPEN --end--> ENDING --drop--> CLOSING --> FREE
 *                      +------------drop---------------^
 *
 * What arrives is collected until somebody asks; what is sent in a turn is collected and leaves
 * with one write. Nothing is called back: a channel that has something to tell (bytes, a broken
 * connection, being free again) puts itself into the list `ready` of its group.
 *
 * Reading stops while the inbox is full, and while more than a high mark of output waits. Buffers
 * grow by doubling behind the limits of the channel and of its whole group, and are given back. */
#ifndef SERVER_CHANNEL_H
#define SERVER_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/bytes.h"
#include "base/list.h"
#include "base/macros.h"

struct channel_limits {
    size_t inbox_size_min; /* Given at the first byte, kept until the channel closes. */
    size_t inbox_size_max;
    size_t outbox_size_max;   /* Of all output that waits. */
    size_t outbox_size_high;  /* Above this nothing more is read, */
    size_t outbox_size_low;   /* until it is below this. */
    unsigned user_timeout_ms; /* Output not acknowledged for so long breaks the connection. */
};

/* Channels that share limits. */
struct channel_group {
    const struct channel_limits *limits;
    size_t buffered;     /* Bytes of all their buffers, */
    size_t buffered_max; /* never above this. */
    struct list ready;   /* Channels with something to tell. */
    struct list dirty;   /* Channels with output of this turn. */
};

enum channel_state { CHANNEL_FREE, CHANNEL_OPEN, CHANNEL_ENDING, CHANNEL_CLOSING };

struct channel_buffer {
    uint8_t *data;
    size_t start; /* The bytes are those from start to end. */
    size_t end;
    size_t capacity;
};

struct channel {
    enum channel_state state;
    struct channel_group *group;
    uv_tcp_t tcp;
    uv_write_t write;
    uv_shutdown_t shutdown;
    struct list ready;
    struct list dirty;
    struct channel_buffer inbox;
    struct channel_buffer filling; /* Output of this turn, behind what is flying. */
    struct channel_buffer flying;  /* Output handed to the kernel in pieces by uv_write(). */
    uint64_t paused_ms; /* On the loop's clock: nothing is read since, for output; 0: it is. */
    bool is_flying;
    bool is_reading;
    bool is_shut;   /* uv_shutdown() was called. */
    bool has_data;  /* Bytes arrived since the owner cleared this. */
    bool is_broken; /* Ended by the other side or an error; stays until it is free. */
};

void channel_group_init(struct channel_group *group, const struct channel_limits *limits,
                        size_t buffered_max);

/* A free channel. */
void channel_init(struct channel *channel, struct channel_group *group);

/* Makes its socket handle; to be connected or accepted next. An error of libuv, or 0. */
MUST_USE int channel_open(struct channel *channel, uv_loop_t *loop);

/* The connection stands: sets the socket's options and reads. An error of libuv, or 0. */
MUST_USE int channel_start(struct channel *channel);

/* The bytes that arrived and were not consumed; borrowed until the loop polls again. */
struct bytes channel_data(const struct channel *channel);
void channel_consume(struct channel *channel, size_t size);

/* True when nothing was consumed and nothing more can be read. */
bool channel_is_stuck(const struct channel *channel);

/* NULL when the channel is not open or the output would exceed a limit. */
MUST_USE uint8_t *channel_reserve(struct channel *channel, size_t size);
void channel_commit(struct channel *channel, size_t size);
/* Whether so many bytes are within the limit of the output. */
bool channel_has_room(const struct channel *channel, size_t size);

/* Writes what was committed. */
void channel_flush(struct channel *channel);

/* What was committed still leaves, then the connection is shut; what arrives is dropped. The owner
 * drops it when it is broken or has had its time. */
void channel_end(struct channel *channel);

/* Closes the socket; the channel is ready once more when it is free. */
void channel_drop(struct channel *channel);

#endif
