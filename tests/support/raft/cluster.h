/* tests/support/raft/cluster.h: one to seven real rafts over a simulated network and disks.
 *
 * Virtual time, one seed, no threads: the same seed gives the same run. Every node has a clock of
 * its own rate. A machine whose node was removed comes back empty, under a new id, and waits to be
 * added. After every event the
 * invariants that span members are checked (cluster_check.c), and a violation aborts with the
 * seed on the last line printed. */
#ifndef TESTS_SUPPORT_RAFT_CLUSTER_H
#define TESTS_SUPPORT_RAFT_CLUSTER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/prng.h"
#include "raft/raft.h"

enum {
    CLUSTER_NODE_MAX = 7,
    CLUSTER_VOTER_MAX = 5, /* At the formation. */
    CLUSTER_LOG_MAX = 1500,
    CLUSTER_RECORD_SIZE_MAX = 320,
    CLUSTER_CONFIGURATION_MAX = 128,
    CLUSTER_SENDING_MAX = 16,
    CLUSTER_CLOCK_RATE_PPM = 10000,
    CLUSTER_WINDOW_COUNT_MAX = 64,
    CLUSTER_UNIT_MAX = 16,
    CLUSTER_HELD_MAX = 64,
    CLUSTER_PACKET_MAX = 512,
    CLUSTER_PACKET_SIZE_MAX = 2048,
    CLUSTER_TERM_MAX = 4096,
    CLUSTER_READ_MAX = 4096,
    CLUSTER_SIGHTING_MAX = 8192, /* A power of two. */
};

/* One entry as bytes. `chain` is a hash over it and everything before it. */
struct cluster_record {
    raft_term term;
    uint64_t chain;
    uint32_t size;
    uint8_t bytes[CLUSTER_RECORD_SIZE_MAX];
};

/* One unit on its way to the disk, with the messages that wait for it. */
struct cluster_unit {
    struct raft_tag tag;
    struct raft_hard_state hard_state;
    uint64_t done_ms;
    raft_index first_index; /* 0: no entries. */
    uint32_t count;
    struct cluster_record records[CLUSTER_WINDOW_COUNT_MAX];
    uint32_t held_count;
    struct raft_message held[CLUSTER_HELD_MAX];
};

struct cluster_disk {
    struct raft_hard_state hard_state;
    struct raft_base base;
    raft_index last_index;
    struct cluster_record records[CLUSTER_LOG_MAX + 1]; /* By index. */
};

struct cluster_node {
    raft_id id;
    uint32_t clock_ppm; /* Its clock runs faster than the cluster's by this. */
    bool is_up;
    uint64_t busy_until_ms; /* Paused: handles nothing before. */
    uint64_t wake_ms;
    uint64_t up_ms; /* When a crashed node starts again. */
    struct raft *raft;
    void *memory;
    struct cluster_disk disk;
    uint32_t unit_count;
    struct cluster_unit units[CLUSTER_UNIT_MAX];
    raft_index last_index;                /* As handed to the disk so far: */
    uint64_t chains[CLUSTER_LOG_MAX + 1]; /* the log that the node believes in. */
    raft_term terms[CLUSTER_LOG_MAX + 1];
    raft_index commit_index; /* Last seen, for monotony. */
    raft_index applied_index;
    raft_term term;
    enum raft_role role;
};

struct cluster_packet {
    uint64_t due_ms;
    struct raft_message message;
    uint8_t bytes[CLUSTER_PACKET_SIZE_MAX]; /* Entries, in one run. */
};

/* A snapshot on its way, in parts: the first, the last, and the word that it is installed. */
struct cluster_sending {
    uint64_t due_ms;
    raft_id source;
    raft_id target;
    raft_term term;
    uint32_t stage;
    struct raft_base base;
};

/* A configuration that some log has or had. */
struct cluster_configuration {
    raft_term term;
    struct raft_configuration configuration;
};

struct cluster_faults {
    uint32_t loss_per_mille;
    uint32_t duplicate_per_mille;
    uint32_t delay_ms_max;
    uint32_t disk_ms_max;
    bool cut[CLUSTER_NODE_MAX][CLUSTER_NODE_MAX]; /* From, to. */
};

struct cluster_counters {
    uint64_t events;
    uint64_t elections;
    uint64_t commits;
    uint64_t reads_ok;
    uint64_t reads_failed;
    uint64_t fetches;
    uint64_t crashes;
    uint64_t truncations;
    uint64_t changes;
    uint64_t joint;
    uint64_t removals;
    uint64_t compactions;
    uint64_t snapshots;
    uint64_t tails_kept;
    uint64_t transfers;
    uint64_t stalls;
    uint64_t lease_reads;
};

/* An entry that some node has had at (index, term): whoever else has one there has the same. */
struct cluster_sighting {
    raft_index index;
    raft_term term;
    uint64_t chain;
};

struct cluster {
    uint64_t seed;
    uint64_t now_ms;
    struct prng prng;
    struct raft_options options;
    uint32_t trail_run_count_max;
    uint32_t node_count;
    struct cluster_node nodes[CLUSTER_NODE_MAX];
    uint32_t packet_count;
    struct cluster_packet packets[CLUSTER_PACKET_MAX];
    uint32_t sending_count;
    struct cluster_sending sendings[CLUSTER_SENDING_MAX];
    raft_id id_next;
    struct cluster_faults faults;
    struct cluster_counters counters;

    /* What is known of the whole. */
    raft_id leaders[CLUSTER_TERM_MAX];
    raft_index commit_index;
    uint64_t committed[CLUSTER_LOG_MAX + 1];       /* Chain at each committed index, */
    raft_term committed_in[CLUSTER_LOG_MAX + 1];   /* the term in which it was committed, */
    raft_term committed_term[CLUSTER_LOG_MAX + 1]; /* and that of its entry. */
    struct cluster_sighting sightings[CLUSTER_SIGHTING_MAX];
    uint32_t configuration_count;
    struct cluster_configuration configurations[CLUSTER_CONFIGURATION_MAX];
    uint64_t read_count;
    raft_index read_floor[CLUSTER_READ_MAX];
    bool read_done[CLUSTER_READ_MAX];
};

/* Opens `voter_count` empty voters and `spare_count` nodes that wait to be added. The cluster is
 * the caller's; its memory is reused. */
void cluster_open(struct cluster *cluster, uint32_t voter_count, uint32_t spare_count,
                  uint64_t seed);
void cluster_close(struct cluster *cluster);

/* Handles everything that is due up to `now_ms`. */
void cluster_run(struct cluster *cluster, uint64_t until_ms);

/* What clients do. */
enum error cluster_propose(struct cluster *cluster, uint32_t at, uint32_t payload_size,
                           raft_index *index);
enum error cluster_read(struct cluster *cluster, uint32_t at);

/* cluster_change.c: what an operator and the caller of a raft do now and then; each does nothing
 * where it makes no sense. */
void cluster_reconfigure(struct cluster *cluster, uint32_t at);
void cluster_transfer(struct cluster *cluster, uint32_t at);
void cluster_compact(struct cluster *cluster, uint32_t at);
void cluster_stall(struct cluster *cluster, uint32_t at);

/* A leader's newest snapshot goes to somebody who did not need it. */
void cluster_send_snapshot(struct cluster *cluster, uint32_t at);

/* A node that the newest committed configuration has not any more comes back as another. */
void cluster_replace_removed(struct cluster *cluster, uint32_t at);

/* The newest committed configuration at or before `index`. */
const struct raft_configuration *cluster_configuration_at(const struct cluster *cluster,
                                                          raft_index index);

/* Snapshots that `node` is asked to send, and those that are due. */
void cluster_snapshots_begin(struct cluster *cluster, struct cluster_node *node,
                             const struct raft_effects *effects);
void cluster_snapshots_run(struct cluster *cluster);
uint64_t cluster_snapshots_due(const struct cluster *cluster);

/* Faults. */
void cluster_crash(struct cluster *cluster, uint32_t at, uint64_t up_ms);
void cluster_heal(struct cluster *cluster);

/* Position of the leader of the highest term that is up, or node_count. */
uint32_t cluster_leader(const struct cluster *cluster);

/* Can this node do something now? */
bool cluster_is_awake(const struct cluster *cluster, const struct cluster_node *node);

/* NULL when no machine has a node of that id any more. */
struct cluster_node *cluster_find(struct cluster *cluster, raft_id id);

/* Is the way from one node to another cut, or does it lose what goes there now? */
bool cluster_loses(struct cluster *cluster, const struct cluster_node *source,
                   const struct cluster_node *target);

/* What the clock of a node shows. */
uint64_t cluster_clock(const struct cluster *cluster, const struct cluster_node *node);

void cluster_start(struct cluster *cluster, struct cluster_node *node);

/* Everything that is under way to the disk of this node is there. */
void cluster_flush(struct cluster *cluster, struct cluster_node *node);

/* Carries out what a node owes after an event. */
void cluster_settle(struct cluster *cluster, struct cluster_node *node);

/* cluster_check.c: called from the above after every event of a node. */
void cluster_check_unit(struct cluster *cluster, struct cluster_node *node,
                        const struct raft_effects *effects);
void cluster_check_message(struct cluster *cluster, const struct cluster_node *node,
                           const struct raft_message *message);
void cluster_check_node(struct cluster *cluster, struct cluster_node *node);
void cluster_check_read(struct cluster *cluster, const struct raft_read_ready *ready);
void cluster_check_installed(struct cluster *cluster, struct cluster_node *node,
                             const struct raft_base *base);

#endif
