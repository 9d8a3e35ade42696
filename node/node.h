/* node/node.h: one whole node without an operating system.
 *
 * The world hands over everything that arrived as one batch of events; node_turn() decides and
 * leaves what is to be done with the seams: log/disk.h, node/world.h, base/table.h. Nothing is
 * remembered outside of struct node, nothing is allocated after node_open(), nobody is called
 * back. The life of a request is the body of node_turn() (node/node.c), from top to bottom. */
#ifndef NODE_NODE_H
#define NODE_NODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/bytes.h"
#include "base/credentials.h"
#include "base/error.h"
#include "base/macros.h"
#include "base/table.h"
#include "log/disk.h"
#include "node/world.h"

struct node; /* Opaque; lives in the memory handed to node_open(). */

enum {
    NODE_NAME_SIZE_MAX = 32, /* Of a member's name. */
    NODE_ADDRESS_SIZE_MAX = 128,
    NODE_MEMBER_COUNT_MAX = 9, /* Equals RAFT_MEMBER_COUNT_MAX. */
    NODE_PEER_COUNT_MAX = 16,  /* Members, those that leave, and those that ask to join. */
};

/* A backup under this name in the folder of a node that has no cluster yet founds one, if all who
 * are listed have the same. */
#define NODE_RESTORE_NAME "restore"

struct node_options {
    const char *name;
    /* Names and peer addresses of all, in the order of --cluster: who must be there to form the
     * cluster. A node that belongs to one asks its configuration instead. */
    const char *members[NODE_MEMBER_COUNT_MAX];
    const char *addresses[NODE_MEMBER_COUNT_MAX];
    uint32_t member_count;
    uint32_t self;               /* Our place in `members`; the address there is what we tell. */
    const char *client_address;  /* What clients are told to dial for this node. */
    uint32_t election_ms_min;    /* 250 */
    uint32_t election_ms_max;    /* 500 */
    uint32_t heartbeat_ms;       /* 50 */
    uint32_t clock_rate_ppm;     /* rho: how far clock rates may differ; 10000 is 1 %. */
    uint32_t promise_ms;         /* Reads without a round (docs/raft.md, Promises): how long a voter
                                    votes for nobody else after each heartbeat. 0: not at all; else
                                    2 heartbeats to election_ms_min. A leader counts what each
                                    voter promised, so nodes may differ. */
    uint32_t margin_ms;          /* Of a holder's deadline; 100. */
    uint32_t renew_batch_ms;     /* Renewals wait this long for company; 20. */
    uint32_t commit_interval_ms; /* Of the table's transaction; 1000. */
    uint32_t connection_count_max; /* world_connection is below this. */
    uint32_t session_count_max;    /* Open sessions; more are refused OVERLOADED. */
    uint32_t request_count_max;    /* Requests under way in all. */
    uint32_t window_size;          /* Bytes of log entries kept in memory. */
    uint32_t segment_size;         /* Of the log's files. */
    uint32_t segment_count_max;
    uint32_t state_mark_interval; /* The states are compared at each multiple of this index. */
    uint64_t snapshot_log_size; /* Bytes that the log grows by, at least, between two snapshots. */
    uint64_t snapshot_pace;     /* Bytes in a second that a snapshot is written with, */
    uint64_t disk_low_size;     /* A disk with less free bytes is low, until it has an eighth more.
                                   While a majority is low clients' writes are refused. 0: never. */
    uint64_t shipping_pace;     /* and that all shipments to other members have together. */
    const struct credentials *credentials; /* Clients need one of these tokens. Outlives the node;
                                              NULL: everybody is served. */
    uint32_t feed_size;        /* Bytes of the newest changes that are kept for watches, */
    uint32_t feed_count_max;   /* and how many changes; at least FEED_SIZE_MIN, FEED_COUNT_MIN. */
    uint32_t watch_count_max;  /* Watches of all connections; more are refused OVERLOADED. */
    uint32_t waiting_size;     /* Bytes of requests that wait for their turn. */
    uint32_t uncommitted_size; /* Bytes of proposals that are not committed from which on clients'
                                  writes wait, until it is three quarters of that. */
    uint32_t client_rate;      /* Requests of one connection in a second; 0: no limit. */
    uint32_t client_burst;     /* The same at once. */
    uint64_t memory_bound;     /* Of the whole process, to be told in status; 0: not known. */
};

/* The defaults above; names and addresses are left empty. */
void node_options_init(struct node_options *options);

/* Whether options are consistent; a sentence that says what is wrong, or NULL. */
const char *node_options_problem(const struct node_options *options);

size_t node_memory_size(const struct node_options *options);

/* Reads identity and log from the disk; a table that is not empty goes on from where it was.
 * ERR_WRONG_NODE, ERR_WRONG_CLUSTER, ERR_VERSION, ERR_CORRUPT, ERR_IO, ERR_NO_SPACE, ERR_INVALID
 * (options): `*problem` then says in one sentence what is wrong, where, and what to do (borrowed
 * from `arena`'s memory). */
MUST_USE enum error node_open(struct node **node, struct arena *arena,
                              const struct node_options *options, struct world *world,
                              struct disk *disk, struct table *table, uint64_t now_ms,
                              const char **problem);

enum node_event_kind {
    NODE_CLIENT_OPENED,
    NODE_CLIENT_DATA,
    NODE_CLIENT_CLOSED,
    NODE_PEER_OPENED, /* Somebody dialed the peer port. */
    NODE_PEER_DATA,
    NODE_PEER_CLOSED,
    NODE_LINK_UP,   /* A dialed connection stands; nothing was sent on it yet. */
    NODE_LINK_DATA, /* The peer answered on a connection that we dialed: a refusal. */
    NODE_LINK_DOWN,
    NODE_DISK_DONE,
    NODE_DISK_SPACE, /* What the disk has left was looked up. */
    NODE_STOP, /* Asked to stop: hand leadership over, finish writes, then node_is_stopped(). */
};

struct node_event {
    enum node_event_kind kind;
    world_connection connection; /* NODE_CLIENT_*, NODE_PEER_*. */
    uint32_t peer;               /* NODE_LINK_*: as in world_set_peer(). */
    enum world_lane lane;        /* NODE_LINK_*. */
    /* NODE_*_DATA: all bytes that arrived and were not consumed yet, borrowed for the turn. The
     * node sets `consumed`; the rest comes again, with more behind it, in a later event. */
    struct bytes data;
    size_t consumed;
    /* Set by the node: whole messages were left on purpose. The event comes again in the next turn
     * (node_wake_ms() says when at the latest) even if no more bytes arrive. */
    bool again;
    struct disk_completion completion; /* NODE_DISK_DONE. */
    uint64_t free_size;                /* NODE_DISK_SPACE: bytes. */
};

/* Takes all events, and then whatever time asks for. `now_ms` is monotonic, including suspended
 * time, without slewing. */
void node_turn(struct node *node, struct node_event *events, uint32_t event_count, uint64_t now_ms);

/* The next turn is due then, even without events. */
uint64_t node_wake_ms(const struct node *node);

/* Nothing is in flight any more after NODE_STOP; the table is committed. */
bool node_is_stopped(const struct node *node);

/* Not NULL when the node cannot go on (a failed write, a broken table): one sentence that says
 * what, where and what to do. The process then ends with exit status 1. */
const char *node_problem(const struct node *node);

/* The problem is that the cluster has removed this node: starting it again is of no use before its
 * data folder is empty. */
bool node_is_removed(const struct node *node);

/* Asserts every invariant. For tests and the simulator. */
void node_check(const struct node *node);

#endif
