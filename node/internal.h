/* node/internal.h: what the files of node/ share; no other folder includes it.
 *
 * One struct node holds everything. Each file owns one part, named after it, and is listed below
 * with the functions that the others may call, in the order of a request's life. */
#ifndef NODE_INTERNAL_H
#define NODE_INTERNAL_H

#include "base/bucket.h"
#include "base/bytes.h"
#include "base/credentials.h"
#include "base/error.h"
#include "base/list.h"
#include "base/macros.h"
#include "base/text.h"
#include "log/log.h"
#include "node/cluster.h"
#include "node/cluster_time.h"
#include "node/disk_space.h"
#include "node/identity.h"
#include "node/limits.h"
#include "node/machine.h"
#include "node/member.h"
#include "node/node.h"
#include "node/observers.h"
#include "node/origin.h"
#include "node/passing.h"
#include "node/snapshot.h"
#include "node/snapshot_life.h"
#include "node/waiting.h"
#include "node/watches.h"
#include "raft/raft.h"

enum { NO_PEER = NODE_PEER_COUNT_MAX, NEVER = 0 };

#define FAR_FUTURE_MS UINT64_MAX

/* --- line.c: lines for people ---------------------------------------------------------------- */

struct line {
    struct text text;
    char memory[LINE_SIZE_MAX];
};

/* At most LINE_COUNT_MAX lines of one kind in a second; the next one tells how many were left. */
struct line_limit {
    uint64_t second;
    uint32_t count;
    uint32_t suppressed;
};

struct node;

void line_begin(struct line *line, const char *event);
void line_add(struct line *line, const char *key, const char *value);
void line_add_bytes(struct line *line, const char *key, struct bytes value);
void line_add_u64(struct line *line, const char *key, uint64_t value);
void line_write(struct node *node, enum world_level level, struct line *line);
void line_write_limited(struct node *node, enum world_level level, struct line *line,
                        struct line_limit *limit);

/* --- clients.c: connections ------------------------------------------------------------------ */

enum connection_state {
    CONNECTION_CLOSED,
    CONNECTION_CLIENT_NEW,   /* Connected: a client that has not said hello. */
    CONNECTION_CLIENT_KNOWN, /* Authenticated: its hello is being answered. */
    CONNECTION_CLIENT,       /* Ready. */
    CONNECTION_PEER_NEW,     /* A peer that has not said hello. */
    CONNECTION_PEER,
    CONNECTION_CLOSING, /* world_close() was called: nothing is read or written any more. */
};

struct connection {
    enum connection_state state;
    struct passing_connection passing;
    uint32_t generation; /* Raised by every opening: an answer that comes late finds nobody. */
    const struct credential *client; /* Whose token its hello had; NULL: none was asked for. */
    uint32_t peer;                   /* Place, or NO_PEER before the hello. */
    uint64_t incarnation;            /* Of the peer's disk, as its hello said; */
    raft_index configuration;        /* and the newest configuration that it knew then. */
    struct list watches;             /* Of a client. */
    uint32_t watch_count;
    struct bucket bucket; /* Of a client: what it may still ask for. */
};

void connection_move(struct node *node, world_connection number, enum connection_state next);
void connection_drop(struct node *node, world_connection number); /* Closes it, if it is open. */

void clients_take(struct node *node, struct node_event *event);
/* Requests may not be taken now. */
MUST_USE bool clients_must_wait(const struct node *node);

/* --- answers.c: what clients are told -------------------------------------------------------- */

void answer_body(struct node *node, const struct origin *origin, struct bytes body);
void answer_failure(struct node *node, const struct origin *origin,
                    const struct wire_failure *failure);
void answer_error(struct node *node, const struct origin *origin, enum error error,
                  const char *text);
void answer_retry(struct node *node, const struct origin *origin, enum error error,
                  uint32_t retry_after_ms);
void answer_not_leader(struct node *node, const struct origin *origin);
/* What requests_propose() has refused. */
void answer_not_proposed(struct node *node, const struct origin *origin, enum error error);
void answer_machine(struct node *node, const struct origin *origin,
                    const struct machine_result *result);
/* A whole message that lies in the node's scratch memory. */
void answer_scratch(struct node *node, const struct origin *origin, const struct buffer *message);

/* The member that leads, as clients know it; false when none is known. */
MUST_USE bool leader_known(const struct node *node, struct bytes *name, struct bytes *client);

/* --- status.c: what every node answers by itself --------------------------------------------- */

/* What status says of the state. Clients poll it, and a hash writes out every window that is dirty:
 * so it may be a little old (HASH_AGE_MS_MAX). */
struct state_hash {
    raft_index index;
    uint64_t hash;
    uint64_t until_ms; /* Good until then, and beyond while nothing more is applied. NEVER: none. */
};

void status_hello(struct node *node, const struct origin *origin, const struct wire_rpc *rpc);
void status_answer(struct node *node, const struct origin *origin);
/* The state was just written out, so its hash costs nothing. */
void status_keep_hash(struct node *node);
uint32_t ttl_floor_ms(const struct node *node);

/* --- authentication.c: who a client is ---------------------------------------------------------
 */

/* False when the hello has no token of ours: it was answered, and the connection is being closed.
 */
MUST_USE bool authentication_take(struct node *node, const struct origin *origin,
                                  const struct wire_hello *hello);
/* Adds the client's name to a line about its connection. */
void authentication_name(const struct node *node, world_connection number, struct line *line);

/* --- admission.c: which requests go further -------------------------------------------------- */

void admission_take(struct node *node, const struct origin *origin, const struct wire_rpc *rpc);
/* A change of the cluster. */
MUST_USE bool admission_is_change(enum wire_method method);
void refuse_not_formed(struct node *node, const struct origin *origin);
/* The same once its turn has come. */
void admission_serve(struct node *node, const struct origin *origin, const struct wire_rpc *rpc);

/* As many as the next power of two; rings are masked. */
uint64_t ring_capacity(uint64_t count);

/* --- requests.c: proposals under way --------------------------------------------------------- */

struct pending {
    raft_index index; /* 0: free. */
    raft_term term;
    uint64_t proposed_ms;
    uint64_t session; /* Told of events from now on, when the answer shows that it lives. */
    struct origin origin;
    uint64_t renewal_first; /* An entry of renewals: which of the ring. */
    uint32_t renewal_count;
    uint8_t method;
};

struct requests {
    struct pending *slots; /* Slot of an index: its lowest bits. */
    uint64_t mask;
    uint32_t count;
    uint32_t count_max;
    uint32_t open_count;   /* Of them: session_open. */
    uint64_t orphan_ms;    /* When those of a term that is over are given up; NEVER. */
    uint32_t commit_ms_q8; /* Smoothed maximum from proposal to apply, in 1/256 ms. */
    uint64_t settled_ms;   /* When one was applied last, or the first of these was proposed. */
};

size_t requests_memory_size(const struct node_options *options);
void requests_open(struct node *node, struct arena *arena);

/* ERR_OK, and `*index` is where it will be; else nothing was proposed. The caller fills the slot
 * that requests_add() gives right afterwards. */
MUST_USE enum error requests_propose(struct node *node, const struct envelope *envelope,
                                     raft_index *index);
struct pending *requests_add(struct node *node, raft_index index);
MUST_USE bool requests_have_room(const struct node *node);
/* The same without what is kept for renewals and releases; so many others come first. */
MUST_USE bool requests_have_room_behind(const struct node *node, uint32_t waiting_count);
/* Raft takes params of that size beside what is not committed yet. */
MUST_USE bool requests_fit_uncommitted(const struct node *node, size_t size);
/* How long a request that finds no room should stay away: 1 to RETRY_MS_MAX. */
uint32_t requests_retry_ms(const struct node *node);
/* So many bytes of entries are on their way to the log. */
void requests_take_room(struct node *node, size_t size);
void requests_applied(struct node *node, const struct raft_entry *entry,
                      const struct machine_result *result);
void requests_tick(struct node *node);
/* A snapshot took the place of all entries up to `index`: their outcome is unknown. */
void requests_installed(struct node *node, raft_index index);
void requests_leadership_lost(struct node *node);
void requests_give_up(struct node *node); /* All of them: outcome unknown. */

/* --- renewals.c: one entry for many renewals ------------------------------------------------- */

struct renewal {
    struct origin origin;
    uint64_t session;
    uint64_t attempt;
    uint64_t audit_next; /* 0: it does not ask what was unlocked by force. */
    bool waits;          /* Not answered yet. */
};

struct renewals {
    struct renewal *ring;
    uint64_t mask;
    uint64_t head;     /* Oldest not answered. */
    uint64_t proposed; /* Up to here they are in entries. */
    uint64_t tail;
    uint64_t due_ms; /* Of the next entry; NEVER. */
};

size_t renewals_memory_size(const struct node_options *options);
void renewals_open(struct node *node, struct arena *arena);
/* Of *renewal all but `waits`. */
void renewals_add(struct node *node, const struct renewal *renewal);
void renewals_tick(struct node *node);
/* Answers `count` of them from `first` on: `renewed` as in machine_result, or, where it is NULL,
 * all with `error`. */
void renewals_answer(struct node *node, uint64_t first, uint32_t count, const uint8_t *renewed,
                     enum error error);
void renewals_leadership_lost(struct node *node);

/* --- reads.c: linearizable reads ------------------------------------------------------------- */

struct read {
    struct origin origin;
    enum wire_method method;
    uint32_t params_offset;
    uint32_t params_size;
    uint64_t params_end; /* Position in the ring of params that is free when this one is. */
};

enum read_batch_state { READ_BATCH_WAITS, READ_BATCH_READY, READ_BATCH_FAILED };

struct read_batch {
    enum read_batch_state state;
    uint32_t count;
    raft_index index;
};

struct reads {
    struct read *ring;
    uint64_t mask;
    uint64_t head;
    uint64_t asked; /* Up to here they belong to batches. */
    uint64_t tail;
    struct read_batch batches[READ_BATCH_COUNT_MAX];
    uint64_t batch_head; /* Also the raft_read() id of that batch. */
    uint64_t batch_tail;
    uint8_t *params;
    uint64_t params_head; /* Positions; the offset is the position modulo the size. */
    uint64_t params_tail;
    uint32_t scan_count;   /* Lists among them. */
    uint32_t served_count; /* In this turn. */
    size_t served_bytes;
    bool has_more;           /* The budget of this turn ended it. */
    uint64_t promised_count; /* Answered without a round, as the promises of a majority held. */
};

size_t reads_memory_size(const struct node_options *options);
void reads_open(struct node *node, struct arena *arena);
void reads_add(struct node *node, const struct origin *origin, enum wire_method method,
               struct bytes params);
MUST_USE bool reads_have_room(const struct node *node, size_t params_size);
void reads_ask(struct node *node);
void reads_ready(struct node *node, const struct raft_effects *effects);
/* The turn's budget is whole again. */
void reads_begin(struct node *node);
void reads_serve(struct node *node);
void reads_leadership_lost(struct node *node);

/* --- sessions.c: which connection spoke last for a session ----------------------------------- */

struct session_slot {
    uint64_t session; /* 0: free. */
    world_connection connection;
    uint32_t generation;
};

struct sessions {
    struct session_slot *slots; /* Open addressing, at most three quarters full. */
    uint64_t mask;
    uint64_t count;
};

size_t sessions_memory_size(const struct node_options *options);
void sessions_open(struct node *node, struct arena *arena);
void sessions_note(struct node *node, uint64_t session, const struct origin *origin);
void sessions_notify(struct node *node, const struct lease_effects *effects);

/* --- disk_watch.c: a write that takes too long ------------------------------------------------ */

struct disk_watch {
    uint64_t ticket;   /* The newest durable one when it was looked at last, */
    uint64_t since_ms; /* and since when there is one that is not; NEVER: there is none. */
    bool is_told;
};

void disk_watch_tick(struct node *node);
/* When it is to be looked at again, or FAR_FUTURE_MS. */
uint64_t disk_watch_wake_ms(const struct node *node);

/* --- recovery.c: log and raft, opened once the cluster is known ------------------------------ */

MUST_USE enum error recovery_run(struct node *node);
/* The same once a snapshot has come in the place of what was lost; `term`: of who sent it. */
MUST_USE enum error recovery_restored(struct node *node, raft_term term);
/* The newest snapshot is at `index` or beyond, and could be read: the table has it. Otherwise the
 * node may have failed. */
MUST_USE bool recovery_has_snapshot(struct node *node, raft_index index);

/* --- held.c: messages that wait for the disk ------------------------------------------------- */

struct held_message {
    uint64_t ticket;
    struct raft_message message; /* Never with entries. */
};

struct staged {
    uint64_t ticket;
    struct raft_tag tag;
};

struct held {
    struct held_message messages[HELD_COUNT_MAX];
    uint64_t head;
    uint64_t tail;
    struct staged staged[STAGED_COUNT_MAX];
    uint64_t staged_head;
    uint64_t staged_tail;
    uint64_t last_ticket; /* The newest that the log gave out. */
    uint64_t dropped_count;
};

void held_add(struct node *node, const struct raft_message *message);
void held_staged(struct node *node, uint64_t ticket, const struct raft_tag *tag);
/* The log has advanced: tells raft, and lets go what waited for it. */
void held_release(struct node *node);

/* --- applier.c: committed entries, and old ones from the disk -------------------------------- */

enum { FETCH_FREE = NODE_PEER_COUNT_MAX + 1, FETCH_FOR_APPLIER = NODE_PEER_COUNT_MAX };

struct applier {
    uint32_t fetch_owner;     /* Place of a peer, FETCH_FOR_APPLIER or FETCH_FREE. */
    raft_id fetch_id;         /* Of that peer: the place may be another's when it is done. */
    uint32_t fetch_cursor;    /* Who is looked at first next time. */
    struct bytes fetched;     /* What the applier has not used yet of its last fetch. */
    raft_index fetched_index; /* Of the first entry in it; 0: none. */
    raft_index fetched_last;  /* Of the last one that was committed when it arrived. */
    bool has_more;            /* The budget of this turn ended it. */
    bool tick_is_due;         /* More sessions are due at the stamp applied last. */
    raft_index tick_index;    /* Of our tick under way; 0: none. */
    raft_term tick_term;
};

void applier_run(struct node *node, raft_index commit_index);
void applier_tick(struct node *node);
void applier_fetch(struct node *node);
void applier_fetched(struct node *node);

/* --- node.c ---------------------------------------------------------------------------------- */

struct node {
    struct node_options options;
    struct world *world;
    struct disk *disk;
    struct table *table;
    struct machine *machine;
    struct raft *raft; /* NULL until the cluster is formed; then all of these are open. */
    struct log *log;   /* NULL while restoration.is_on, too. */
    struct snapshots *snapshots;
    struct arena log_arena; /* For log_open(), raft_open() and snapshots_open(), later or again. */
    struct arena raft_arena;
    struct arena snapshot_arena;
    void *log_memory;
    void *raft_memory;
    size_t log_memory_size;
    size_t raft_memory_size;
    struct raft_status status; /* As of the last event given to raft. */
    struct identity identity;
    struct cluster_time time;
    uint64_t now_ms;
    uint64_t wake_ms;
    uint64_t raft_wake_ms;
    uint64_t lamport;
    uint64_t space_retry_ms; /* When the log may look again whether the disk has room. */
    size_t stage_room;       /* Bytes of entries that may still go into the log this turn; */
    size_t client_room; /* and what clients may write of them, less when the log is nearly full. */
    bool is_stopping;
    bool is_stopped;
    bool retires;            /* And the reason to stop becomes the problem. */
    uint64_t hand_over_ms;   /* Leadership was last seen to be on its way then; NEVER. */
    bool stop_awaits_leader; /* We led: the other's first heartbeat tells that it is done. */
    uint64_t stop_ms;        /* Stopping ends then, whether leadership was handed over or not. */
    uint64_t commit_ms;      /* Of the table, next. */
    uint64_t answer_count;   /* To clients, errors included. */
    uint64_t refusal_count;
    raft_index committed_index; /* Applied index of the last commit of the table. */
    uint32_t promise_wait_ms;   /* Longest promise ever given: waited out at the start. */

    struct connection *connections;
    struct peer peers[NODE_PEER_COUNT_MAX]; /* Our own place is options.self. */
    struct members members;
    struct changes changes;
    struct disk_watch disk_watch;
    struct disk_space disk_space;
    struct requests requests;
    struct renewals renewals;
    struct reads reads;
    struct observers observers;
    struct waiting waiting;
    struct sessions sessions;
    struct passing passing;
    struct feed *feed;
    struct watches watches;
    struct formation formation;
    struct held held;
    struct applier applier;
    struct compaction compaction;
    struct shipping shipping;
    struct backups backups;
    struct backing backing;
    struct installation installation;
    struct restoration restoration;
    struct agreement agreement;
    struct state_hash state_hash;
    struct line_limit client_lines;
    struct line_limit peer_lines;
    struct line_limit member_lines;
    struct line_limit link_lines;
    struct line_limit refusal_lines;
    struct line_limit snapshot_lines;

    uint8_t *scratch; /* WIRE_FRAME_SIZE_MAX bytes: one answer at a time. */
    uint8_t *renewal_params;
    const char *problem;
    bool is_removed; /* That is the problem. */
    char problem_text[PROBLEM_SIZE_MAX];
};

/* --- turn.c: raft's effects, carried out ----------------------------------------------------- */

/* What the log has room for, at the start of a turn. */
void node_refresh_room(struct node *node);

void node_refresh_status(struct node *node);
/* The payload of the no-op that would begin a term of ours now. */
void node_refresh_noop(struct node *node);
MUST_USE bool node_leads(const struct node *node);
/* May entries be stamped and proposed in this turn? */
MUST_USE bool node_may_stamp(const struct node *node);
/* Leadership is on its way to another, for an election timeout at most. */
MUST_USE bool node_hands_over(const struct node *node);

/* Time, raft's effects, the log's write and the table's transaction. */
void turn_advance(struct node *node);
void turn_plan(struct node *node); /* Sets wake_ms. */

/* --- node.c ---------------------------------------------------------------------------------- */

/* The node cannot go on. The first reason stays. */
void node_fail(struct node *node, const char *what, const char *where, const char *advice);

/* True when the table has failed, and then the node has too. A failed read looks like an absent
 * key, so whatever was computed from the table since it was last asked about must not be told to
 * anybody: asked after each use of the table and before each answer. */
MUST_USE bool node_table_has_failed(struct node *node);

/* The node is not fit to go on, but may still end in order: leadership is handed over first. */
void node_retire(struct node *node, const char *what, const char *where, const char *advice);

/* The log cannot be written any more. */
void node_fail_log(struct node *node, enum error error);

#endif
