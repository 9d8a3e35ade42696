/* client/command/top.h: the picture that `holdfast top` draws. Pure but for the drawing, which goes
 * to the output it is given. */
#ifndef CLIENT_COMMAND_TOP_H
#define CLIENT_COMMAND_TOP_H

#include <stdbool.h>
#include <stdint.h>

#include "client/command/options.h"
#include "client/command/output.h"
#include "client/command/view.h"

enum {
    TOP_LOCK_COUNT_MAX = 12,
    TOP_HISTORY_COUNT = 60, /* Looks that the line of writes goes back. */
    TOP_OWNER_SIZE = 49,    /* With the final zero: more is cut off. */
};

struct top_node {
    char name[VIEW_NAME_SIZE];
    char client[VIEW_ADDRESS_SIZE];
    char role[VIEW_ROLE_SIZE];
    bool is_reachable;
    bool leads;
    bool disk_is_low;
    uint64_t term;
    uint64_t commit;
    uint64_t disk_free;
    uint64_t answers; /* Counters as they were, for the next rates. */
    uint64_t refusals;
    uint64_t answer_rate; /* Per second. */
    uint64_t refusal_rate;
};

struct top_lock {
    uint8_t name[OPTIONS_NAME_SIZE_MAX];
    size_t name_size;
    char owner[TOP_OWNER_SIZE];
    enum holdfast_lock_mode mode;
    uint32_t holders;
    uint32_t waiters;
    uint64_t token;
    uint64_t age_ms;
};

struct top_picture {
    bool is_terminal; /* Each picture covers the one before. */
    bool has_begun;
    char cluster[VIEW_NAME_SIZE];
    bool has_leader;
    bool refuses_writes;
    uint64_t term;
    uint64_t sessions;
    uint64_t seen_us; /* The present look. */
    uint64_t commit;  /* The largest that a node knows. */
    uint64_t commit_rate;
    struct top_node nodes[VIEW_NODE_COUNT_MAX];
    uint32_t node_count;
    struct top_lock locks[TOP_LOCK_COUNT_MAX]; /* Whoever most wait for first, then by age. */
    uint32_t lock_count;
    uint32_t locks_seen; /* Of the first page of the listing; */
    bool has_more_locks; /* there are others. */
    bool knows_locks;
    uint64_t history[TOP_HISTORY_COUNT]; /* Of commit_rate, the oldest first. */
    uint32_t history_count;
};

void top_picture_init(struct top_picture *picture, bool is_terminal);

/* A look at the nodes at `now_us`. Rates are those since the last one; a counter that has gone back
 * is that of a node that was started again, and has no rate. */
void top_picture_take_nodes(struct top_picture *picture, const struct view *view, uint64_t now_us);

/* And at the locks; another status than HOLDFAST_OK: they are not known. */
void top_picture_take_locks(struct top_picture *picture, const struct holdfast_result *result);

void top_picture_draw(const struct top_picture *picture, struct output *output, bool json);

#endif
