/* node/waiting.h: requests that wait for their turn, in memory that is bounded.
 *
 * A request goes on at once where its lane is empty and its gate open; most never wait. Otherwise a
 * copy waits here, in the flow of its connection, and flows have fair turns (node/fair.h). A
 * connection with less waiting than others is let in while those are refused: a flow may fill what
 * the others left free, no more (dynamic thresholds, Choudhury and Hahne 1998). A lane holds no
 * more than it serves in WAITING_MS_MAX at its measured rate: what would wait longer is refused,
 * and told how long what waits now will take.
 *
 * Lanes do not stand in each other's way but for memory, of which each has a part; they are served
 * in their order. What gives sessions and locks back stands in no lane, unless its own connection
 * has writes waiting: then behind those, beyond all limits but the memory's. */
#ifndef NODE_WAITING_H
#define NODE_WAITING_H

#include "node/drain.h"
#include "node/fair.h"
#include "node/origin.h"
#include "node/watermark.h"
#include "wire/wire.h"

enum lane {
    LANE_WRITES, /* Gate: bytes that are not committed yet, and requests under way. */
    LANE_READS,  /* Gate: room for one more read. */
    LANE_SCANS,  /* Gate: the same, and few scans. */
    LANE_NONE,
};
enum { LANE_COUNT = LANE_NONE };

/* A request, at its first block. */
struct waiting_request {
    struct origin origin;
    uint64_t deadline_ms; /* FAR_FUTURE_MS: none. */
    uint32_t size;
    uint32_t next; /* Of its flow. */
    uint8_t method;
};

struct waiting_flow {
    uint32_t first;
    uint32_t last;
    uint32_t block_count; /* 0: nothing waits, and the two above mean nothing. */
};

struct waiting_lane {
    struct fair fair;
    struct waiting_flow *flows; /* By connection. */
    struct drain drain;
    uint32_t count;
    uint32_t block_count;
    uint32_t block_count_max;
};

struct waiting {
    uint8_t *memory;
    uint32_t *links; /* Of each block: the next of its request, or of the free ones. */
    struct waiting_request *requests;
    uint8_t *gathered; /* One request whose blocks do not lie side by side. */
    uint32_t block_count;
    uint32_t free_first;
    uint32_t free_count;
    struct waiting_lane lanes[LANE_COUNT];
    struct watermark uncommitted;
    uint64_t overloaded_count; /* Refused, since the start; */
    uint64_t limited_count;    /* the same by its client's rate; */
    uint64_t late_count;       /* and dropped as their deadline was over. */
};

struct node;
struct node_options;
struct arena;

size_t waiting_memory_size(const struct node_options *options);
void waiting_open(struct node *node, struct arena *arena);

/* LANE_NONE for what never waits. */
enum lane waiting_lane_of(enum wire_method method);

/* Whether this request of a leader may not go on at once. */
MUST_USE bool waiting_is_needed(struct node *node, const struct origin *origin,
                                const struct wire_rpc *rpc);

/* Keeps it, or refuses it OVERLOADED. */
void waiting_take(struct node *node, const struct origin *origin, const struct wire_rpc *rpc);

/* Those whose turn it is go on, as far as the gates are open. */
void waiting_run(struct node *node);

/* Something could go on now. */
MUST_USE bool waiting_is_due(struct node *node);

/* How long what waits in the lane will take: what a refusal says. */
uint32_t waiting_retry_ms(const struct node *node, enum lane lane);

/* The connection is gone, and with it what waits of it. */
void waiting_forget(struct node *node, world_connection connection);

/* All of it can be asked elsewhere at once: it is answered so. */
void waiting_leadership_lost(struct node *node);

/* Dropped, and told that it was surely not applied. */
void waiting_answer_late(struct node *node, const struct origin *origin);

void waiting_check(const struct node *node);

#endif
