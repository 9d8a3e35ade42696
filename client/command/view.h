/* client/command/view.h: what every node says of itself, asked at the same time.
 *
 * The nodes of --endpoints are asked first; then those members, once, whose addresses only the
 * answers told. The leader is the one that says so itself in the newest term that anyone knows: a
 * leader that was cut off, or killed a moment ago, is none. */
#ifndef CLIENT_COMMAND_VIEW_H
#define CLIENT_COMMAND_VIEW_H

#include <stdbool.h>
#include <stdint.h>

#include "client/command/options.h"
#include "client/command/run.h"

enum {
    VIEW_NODE_COUNT_MAX = OPTIONS_ENDPOINT_COUNT_MAX + 16,
    VIEW_NAME_SIZE = 33, /* With the final zero, as those below. */
    VIEW_ADDRESS_SIZE = 129,
    VIEW_ROLE_SIZE = 17,
    VIEW_REASON_SIZE = 128,
};

/* An address that is asked, and what came back. */
struct view_node {
    struct view *view;
    char address[VIEW_ADDRESS_SIZE];
    uint64_t asked_us; /* By clock_now_us(). */
    uint64_t answered_us;
    bool is_reachable;
    bool refuses_us;               /* It takes no token of ours. */
    char reason[VIEW_REASON_SIZE]; /* Why not. */
    char name[VIEW_NAME_SIZE];
    char role[VIEW_ROLE_SIZE];
    uint64_t term;
    uint64_t commit;
    uint64_t applied;
    uint64_t state_hash;
    uint64_t sessions;
    uint64_t answers;  /* Since its start, and */
    uint64_t refusals; /* how many of them said no. */
    uint64_t clock_ms;
    uint32_t commit_us;
    uint32_t ttl_floor_ms;
    uint32_t clock_rate_ppm;
    uint32_t margin_ms;
    uint32_t election_ms;
    uint64_t memory_bound_bytes;
    uint64_t queued_count;
    uint64_t overloaded_count;
    uint64_t rate_limited_count;
    uint64_t late_count;
    uint64_t forwarded_total;
    uint32_t forwarding;
    uint64_t taken_total;
    uint32_t lease_ms;
    uint32_t lease_left_ms;
    uint64_t lease_reads;
    bool refuses_writes;
    bool disk_is_low; /* As it says itself. */
    uint64_t disk_free;
};

struct view_member {
    char name[VIEW_NAME_SIZE]; /* Empty: not known, only its address. */
    char client[VIEW_ADDRESS_SIZE];
    char part[VIEW_ROLE_SIZE];    /* "voter" or "learner"; empty: not known. */
    const struct view_node *node; /* NULL: not reachable. */
};

typedef void (*view_callback)(struct view *view, void *context);

struct view {
    struct run *run;
    view_callback done;
    void *context;
    struct view_node nodes[VIEW_NODE_COUNT_MAX];
    uint32_t node_count;
    uint32_t waiting_count;
    struct view_member members[VIEW_NODE_COUNT_MAX];
    uint32_t member_count;
    char cluster[VIEW_NAME_SIZE];
};

/* Asks all of them, each for at most a second; then `done` is called once, perhaps from inside this
 * call. What the view had is forgotten. When the run is finished meanwhile it is done with what
 * came until then. */
void view_ask(struct view *view, struct run *run, view_callback done, void *context);

/* Of a view that is done; NULL: nobody leads. */
const struct view_node *view_leader(const struct view *view);

/* The newest term that anyone knows. */
uint64_t view_term(const struct view *view);

/* False when nodes are there, and none serves us. */
bool view_is_served(const struct view *view);

/* That no node answered, and why, on standard error. */
void view_complain_of_silence(const struct view *view);

#endif
