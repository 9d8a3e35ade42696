/* node/watches_internal.h: what the files of the watches share: watches.c has the requests and what
 * is done in each turn, watch_index.c who matches and where each is, watch_send.c what they are
 * told. */
#ifndef NODE_WATCHES_INTERNAL_H
#define NODE_WATCHES_INTERNAL_H

#include "base/assert.h"
#include "node/internal.h"

enum watch_state { WATCH_FREE, WATCH_IDLE, WATCH_LAGGING, WATCH_STALLED, WATCH_BLOCKED };

struct watch {
    enum watch_state state;
    struct list queue;   /* FREE, IDLE: of its bucket, LAGGING, STALLED; BLOCKED is in none. */
    struct list sibling; /* Of its connection. */
    world_connection connection;
    enum feed_space space;
    bool is_exact;
    uint16_t prefix_size;
    uint64_t number; /* The client's. */
    uint64_t hash;   /* Of its prefix. */
    int64_t credit;  /* One change may use more than is left. */
    uint64_t told_ms;
    uint64_t position;       /* Not IDLE: of the next change to be looked at. */
    struct feed_place after; /* Nothing up to here is told any more. */
    uint8_t prefix[KV_KEY_SIZE_MAX];
};

/* --- watch_index.c ---------------------------------------------------------------------------- */

void watch_move(struct watches *watches, struct watch *watch, enum watch_state next);
/* A new one of that connection, in no list; it is moved right afterwards. */
struct watch *watch_take(struct node *node, const struct origin *origin,
                         const struct wire_watch *request);
void watch_drop(struct node *node, struct watch *watch);
struct watch *watch_find(const struct node *node, const struct origin *origin, uint64_t number);
bool watch_matches(const struct watch *watch, const struct feed_change *change);

/* Of the prefix so far: the next byte makes it that of a longer one. */
uint64_t watch_hash_begin(const struct watches *watches, enum feed_space space);
uint64_t watch_hash_step(uint64_t hash, uint8_t byte);
struct list *watch_bucket(const struct watches *watches, uint64_t hash);

/* --- watch_send.c ----------------------------------------------------------------------------- */

/* The budget of a turn is whole again. */
void watch_refill(struct watches *watches);
/* Tells it how far it is; costs nothing, and may be left out. */
void watch_send_progress(struct node *node, struct watch *watch);
/* It is told why, and free. */
void watch_end(struct node *node, struct watch *watch, enum error error);
/* Those that lag get what they lack, each at most once a bounded part. */
void watch_serve_all(struct node *node);

#endif
