/* tests/sim/plan.h: what a seed says: knobs, a schedule of faults, and what is left out of them. */
#ifndef TESTS_SIM_PLAN_H
#define TESTS_SIM_PLAN_H

#include <stdbool.h>
#include <stdint.h>

#include "client/core.h"
#include "tests/support/node/fake_world.h"

enum {
    SIM_CLIENT_COUNT_MAX = 12,
    SIM_FAULT_COUNT_MAX = 160,
    SIM_OPERATION_COUNT_MAX = 2048, /* Of one client. */
    SIM_KEY_COUNT_MAX = 6,
    SIM_LOCK_COUNT = 3,
    SIM_CALL_COUNT = 8, /* Of one client, at once. */
    SIM_LINK_COUNT = 1 + CORE_SEARCH_CONNECTION_COUNT,
    SIM_START_MS = 1000, /* Of the cluster's clock. */
    SIM_SEQUENCE_COUNT = 1 << 12,
    SIM_VALUE_SIZE_MAX = 64 << 10,
    SIM_ITEMS_SIZE_MAX = 2 * SIM_VALUE_SIZE_MAX + 1024, /* A compare and a put of one key. */
    SIM_BOUND_COUNT_MAX = 10,                           /* Bound keys: one of each client. */
    SIM_VALUE_SIZE_LARGE = 60000,
    SIM_LOST_COUNT_MAX = 2 * SIM_FAULT_COUNT_MAX,
};

#define SIM_NEVER UINT64_MAX

/* X(name, weight in a seed that draws this kind) */
#define SIM_FAULT_LIST(X)                                                                          \
    X(crash, 4)                                                                                    \
    X(crash_all, 1)                                                                                \
    X(stop, 2)                                                                                     \
    X(wipe, 1)                                                                                     \
    X(rot, 1)                                                                                      \
    X(rot_snapshot, 1)                                                                             \
    X(pause, 3)                                                                                    \
    X(isolate, 3)                                                                                  \
    X(deaf, 2)                                                                                     \
    X(mute, 2)                                                                                     \
    X(one_way, 3)                                                                                  \
    X(split, 3)                                                                                    \
    X(ring, 1)                                                                                     \
    X(flap, 2)                                                                                     \
    X(link_break, 3)                                                                               \
    X(slow_link, 2)                                                                                \
    X(transfer_break, 2)                                                                           \
    X(disk_stall, 2)                                                                               \
    X(disk_slow, 2)                                                                                \
    X(disk_error, 1)                                                                               \
    X(disk_full, 1)                                                                                \
    X(disk_low, 2)                                                                                 \
    X(member_add, 3)                                                                               \
    X(member_remove, 2)                                                                            \
    X(member_promote, 1)                                                                           \
    X(member_replace, 3)                                                                           \
    X(leader_move, 2)                                                                              \
    X(client_cut, 2)                                                                               \
    X(client_break, 2)                                                                             \
    X(client_pause, 2)                                                                             \
    X(client_late, 2)

enum sim_fault_kind {
#define X(name, weight) SIM_FAULT_##name,
    SIM_FAULT_LIST(X)
#undef X
        SIM_FAULT_KIND_COUNT
};

const char *sim_fault_name(enum sim_fault_kind kind);

struct sim_fault {
    enum sim_fault_kind kind;
    uint64_t at_ms; /* From the start of the run. */
    uint64_t end_ms;
    uint32_t place;  /* A node, FAKE_NODE_COUNT_MAX for the leader of the moment, or a client. */
    uint32_t other;  /* The other end of a link, or a set of nodes as bits. */
    uint64_t amount; /* Milliseconds, bytes, a seed: as the kind says. */
};

struct sim_knobs {
    uint32_t node_count;   /* In all; the first `formed_count` form the cluster, */
    uint32_t formed_count; /* and the others ask to join. */
    uint32_t client_count;
    uint32_t locker_count; /* Of the clients: the first ones. */
    uint32_t key_count;
    uint32_t lock_count;
    uint32_t election_ms_min;
    uint32_t election_ms_max;
    uint32_t heartbeat_ms;
    uint32_t margin_ms;
    uint32_t renew_batch_ms;
    uint32_t commit_interval_ms;
    uint32_t request_count_max;
    uint32_t ttl_ms;
    uint32_t think_ms;   /* Of a client between two operations, on average. */
    uint32_t value_size; /* At most. */
    uint64_t delay_ms_max;
    uint64_t disk_ms_max;
    uint64_t output_size_max;
    uint32_t loss_ppm;
    uint32_t again_ppm;
    uint32_t late_ppm;
    uint64_t again_ms_max;
    uint64_t late_ms_max;
    bool repeats_votes;         /* A candidate hears votes of earlier terms again. */
    uint64_t fault_ms;          /* How long there are faults. */
    bool has_liveness;          /* Then a quorum is healed and the rest stays as it is for ever. */
    bool has_faults;            /* False: none at all, nor a bad network. */
    uint64_t snapshot_log_size; /* As node_options have it; 0: the default. */
    uint64_t shipping_pace;     /* The same. */
    uint32_t promise_ms;        /* Likewise: reads without a round; 0: off. */
    bool promise_varies;        /* It is another one on each node, and at each start. */
    uint32_t tied_clients;      /* As bits: those that reach one node at a time only. */
    bool has_watches;           /* Clients watch, too. */
    uint32_t feed_count_max;
    uint32_t uncommitted_size; /* Likewise: writes wait for their turn; 0: the default. */
    uint32_t waiting_size;     /* Likewise, in little memory. */
    uint32_t client_rate;      /* Likewise; 0: no limit. */
    uint32_t client_burst;
    uint32_t check_turn; /* The costly checks are made once in so many turns. */
};

struct sim_plan {
    uint64_t seed;
    struct sim_knobs knobs;
    struct sim_fault faults[SIM_FAULT_COUNT_MAX]; /* By time. */
    uint32_t fault_count;
    /* What shrinking leaves out. */
    bool fault_is_dropped[SIM_FAULT_COUNT_MAX];
    bool operation_is_dropped[SIM_CLIENT_COUNT_MAX][SIM_OPERATION_COUNT_MAX];
    bool prints; /* Faults and operations are printed as they happen. */
};

/* `has_faults` false: the same cluster and clients in a good world. */
void sim_plan_draw(struct sim_plan *plan, uint64_t seed, bool has_faults);
void sim_plan_print(const struct sim_plan *plan);

#endif
