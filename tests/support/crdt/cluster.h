/* tests/support/crdt/cluster.h: nodes that count, without a network or a disk: the test moves every
 * delta, syncs every log and applies every command itself. */
#ifndef TESTS_SUPPORT_CRDT_CLUSTER_H
#define TESTS_SUPPORT_CRDT_CLUSTER_H

#include "crdt/crdt.h"

enum { CLUSTER_NODE_COUNT = 3, CLUSTER_COUNTER_COUNT = 4 };

enum command_kind {
    COMMAND_REGISTER,
    COMMAND_RETIRE,
    COMMAND_LOSE,
    COMMAND_CONFIRM,
    COMMAND_ADVANCE,
    COMMAND_SEAL_GENERATIONS,
    COMMAND_SEAL_IDENTITY,
    COMMAND_FOLD,
};

/* An entry of the replicated log. Its index is its place, from 1. */
struct command {
    enum command_kind kind;
    uint64_t number; /* Node, generation, or confirmed index. */
    uint64_t version;
    struct crdt_carrier carrier;
    struct crdt_identity identity;
    struct ledger_fold fold;
};

struct record {
    struct crdt_carrier carrier;
    struct crdt_update update; /* The name is of cluster_counter(). */
};

struct cluster_node {
    uint64_t id;
    void *memory;
    struct table *store;
    struct table *ledger;
    struct crdt *crdt;
    struct record *log; /* All of it, the unsynced part last. */
    uint32_t log_count;
    uint32_t log_capacity;
    uint32_t unsynced_count;
    uint64_t applied;
    uint64_t late_count;         /* What crdt_fold_applied() told. */
    bool is_cut;                 /* Restored disk: it must begin a new carrier. */
    bool is_idle;                /* Restarted, and its ledger is behind: it counts later. */
    struct crdt_promise promise; /* Durable. */
};

struct cluster {
    struct cluster_node nodes[CLUSTER_NODE_COUNT];
    struct command **commands;
    uint32_t command_count;
    uint32_t command_capacity;
};

/* Nodes 1 to 3, each with a carrier, generation 1. */
void cluster_open(struct cluster *cluster);
void cluster_close(struct cluster *cluster);

/* Counters "a" and "b", each with both sides. */
struct crdt_counter cluster_counter(uint32_t number);
struct crdt_identity cluster_identity(uint64_t generation, uint64_t number);

/* Appends a command; the names in it may be borrowed. */
void cluster_propose(struct cluster *cluster, const struct command *command);
/* The node applies the next command; false when there is none. */
bool cluster_apply_one(struct cluster *cluster, struct cluster_node *node);
void cluster_apply_all(struct cluster *cluster);

/* Appends what crdt_add() stamped; on ERR_OK *record_count tells how long the log must be synced
 * for the answer, 0 when at once. */
enum error cluster_add(struct cluster_node *node, struct crdt_identity identity,
                       struct crdt_counter counter, uint64_t total, uint32_t *record_count);
void cluster_sync(struct cluster_node *node);

/* Crash: what is not synced is gone. The tables are as they were (`is_checkpointed`), or empty. */
void cluster_restart(struct cluster_node *node, bool is_checkpointed);
/* The disk as it was `record_count` records long, at the same carrier. */
void cluster_restore(struct cluster_node *node, uint32_t record_count);
/* Begins the newest carrier of the node that its ledger has. */
enum error cluster_begin(struct cluster_node *node);

/* One delta of one carrier. */
enum error cluster_gossip_one(struct cluster_node *source, struct cluster_node *target,
                              struct crdt_carrier carrier);
/* Everything that the target lacks. */
void cluster_gossip(struct cluster_node *source, struct cluster_node *target);
/* Adoptions and confirmations of one node. */
void cluster_turn(struct cluster *cluster, struct cluster_node *node);
/* Until nothing changes any more: sync, gossip, adopt, confirm, fold at the first node. */
void cluster_settle(struct cluster *cluster);

uint64_t cluster_value(struct cluster_node *node, uint32_t counter);

#endif
