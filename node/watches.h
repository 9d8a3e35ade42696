/* node/watches.h: the watches of a node: who is told of changes (docs/watch.md). Part of
 * node/internal.h. */
#ifndef NODE_WATCHES_H
#define NODE_WATCHES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/list.h"
#include "kv/kv.h"
#include "node/feed.h"
#include "node/node.h"
#include "node/origin.h"
#include "wire/wire.h"

struct watch;

struct watches {
    struct watch *all;
    uint32_t used;  /* Those from here on were never taken. */
    uint32_t count; /* Not free. */
    uint32_t idle_count;
    struct list free;
    struct list lagging;
    struct list stalled;
    struct list *buckets; /* Those that are idle, by prefix. */
    uint64_t mask;
    uint64_t seed;
    /* How many idle ones have a prefix of that size, of keys and of locks. */
    uint32_t length_counts[2][KV_KEY_SIZE_MAX + 1];
    uint64_t dispatched;    /* Position in the feed up to which idle ones were told, */
    uint64_t seen_revision; /* which is all that there was up to this revision. */
    uint64_t epoch;         /* Of the feed. */
    uint32_t send_left;     /* In this turn; */
    size_t bytes_left;      /* likewise. */
    uint32_t scan_left;
    uint32_t sweep_cursor;
    uint64_t sweep_ms;
    uint64_t retry_ms;
    uint64_t leaderless_ms; /* Nobody leads, as far as we know, since then; NEVER. */
};

size_t watches_memory_size(const struct node_options *options);
/* Behind machine_open(). */
void watches_open(struct node *node, struct arena *arena);
bool watches_are_asked(enum wire_method method);
/* The params were decoded once. */
void watches_take(struct node *node, const struct origin *origin, const struct wire_rpc *rpc);
void watches_connected(struct node *node, world_connection number);
void watches_disconnected(struct node *node, world_connection number);
/* After each entry. */
void watches_applied(struct node *node);
void watches_tick(struct node *node);
/* When they are to be looked at again, or FAR_FUTURE_MS. */
uint64_t watches_wake_ms(const struct node *node);
void watches_check(const struct node *node);

#endif
