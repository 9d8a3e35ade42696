/* jepsen/proxy_pair.h: one connection through the proxy, between a dialer and a target.
 *
 * A pair follows the faults of its link: after they have changed, proxy_pair_adjust(). It frees
 * itself, from the loop, once both ends are closed. Private to the proxy. */
#ifndef JEPSEN_PROXY_PAIR_H
#define JEPSEN_PROXY_PAIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/list.h"
#include "jepsen/proxy.h"

enum { PROXY_ADDRESS_SIZE = 64 };

enum direction { AHEAD, BACK, DIRECTION_COUNT };

enum state { STATE_OPEN, STATE_STALLED, STATE_CUT };

/* Bytes on their way. */
struct chunk {
    struct list member;
    uint64_t due_ms;
    size_t size;
    uv_write_t writing;
    struct pair *pair;
    enum direction direction;
    uint8_t data[];
};

/* One end of a connection: side AHEAD is who dialed, side BACK the target. Bytes of a direction
 * are read at the side of the same name and written at the other. */
struct side {
    uv_tcp_t socket;
    bool is_reading;
    bool has_ended; /* Its end of file was read. */
};

struct flow {
    struct list chunks;
    size_t size;     /* Of all chunks, the one that is being written included. */
    bool is_writing; /* The chunk was taken off the list. */
    bool is_shut;    /* The end of file was passed on. */
    bool is_torn;    /* It has lost bytes: nothing more is passed on. */
    uv_shutdown_t shutting;
};

struct pair {
    struct list member; /* Of the link's pairs. */
    struct link *link;
    bool is_connected; /* To the target. */
    bool is_closing;
    unsigned handle_count; /* Closed when it is 0. */
    uv_connect_t connecting;
    uv_timer_t timer; /* Until the first chunk is due. */
    struct side sides[DIRECTION_COUNT];
    struct flow flows[DIRECTION_COUNT];
};

struct link {
    uv_loop_t *loop; /* NULL when it could not listen. */
    char name[PROXY_NAME_SIZE];
    char listen[PROXY_ADDRESS_SIZE];
    char target[PROXY_ADDRESS_SIZE];
    struct sockaddr_in address; /* The target's. */
    uv_tcp_t listener;
    enum state states[DIRECTION_COUNT];
    uint64_t delay_ms;
    struct list pairs;
    unsigned pair_count;
    uint64_t forwarded[DIRECTION_COUNT]; /* Bytes. */
    uint64_t lost[DIRECTION_COUNT];      /* Bytes. */
};

/* Takes the connection that waits at the link's listener, and dials the target. */
void proxy_pair_accept(struct link *link);

/* Reads where there is room, writes what is due. */
void proxy_pair_adjust(struct pair *pair);

/* Both ends see a reset. The pair stays in its list until the loop has run. */
void proxy_pair_reset(struct pair *pair);

/* Bytes of that direction that were read and not written are lost. */
void proxy_pair_lose(struct pair *pair, enum direction direction);

#endif
