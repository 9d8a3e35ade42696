/* client/holdfast_result.h: what became of a request, and what it found.
 *
 * Part of holdfast.h, which includes it. A result has a status, an outcome, and what is said of
 * each field to belong to its kind of request. All of it is borrowed until the callback returns, or
 * the handle is freed. */
#ifndef CLIENT_HOLDFAST_RESULT_H
#define CLIENT_HOLDFAST_RESULT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Numbers are those of the protocol (docs/protocol.md). */
enum holdfast_status {
    HOLDFAST_OK = 0,
    HOLDFAST_HELD = 1,       /* Another session holds the lock. */
    HOLDFAST_NO_QUORUM = 2,  /* No leader was found within the timeout. */
    HOLDFAST_NOT_LEADER = 3, /* Only inside: the library looks for the leader itself. */
    HOLDFAST_TIMEOUT = 4,    /* A node was asked and no answer came in time. */
    HOLDFAST_LOST = 5,       /* The session is lost; open a new one. */
    HOLDFAST_OVERLOADED = 6, /* Retry after result.retry_after_ms. */
    HOLDFAST_RATE_LIMITED = 7,
    HOLDFAST_TTL_TOO_SHORT = 8, /* The least TTL is in result.floor_ms. */
    HOLDFAST_SESSION_EXPIRED = 9,
    HOLDFAST_FENCED = 10, /* The token is not the current one. */
    HOLDFAST_TOO_LARGE = 11,
    HOLDFAST_AUTH = 12, /* No node takes the client's token. */
    HOLDFAST_NOT_FOUND = 13,
    HOLDFAST_MISMATCH = 14, /* Compare-and-swap: the value is another. */
    HOLDFAST_SEQUENCE_GAP = 15,
    HOLDFAST_STALE = 16,
    HOLDFAST_MALFORMED = 17, /* Also: an argument is not valid. */
    HOLDFAST_UNKNOWN_METHOD = 18,
    HOLDFAST_CANCELLED = 19,
    HOLDFAST_UNKNOWN_OUTCOME = 20, /* Sent, and the answer was lost. */
    HOLDFAST_NOT_FORMED = 21,
    HOLDFAST_CLOSED = 22,
    HOLDFAST_STOPPING = 23,
    HOLDFAST_REFUSED = 24, /* A change of the cluster, a request that does not agree with the lock,
                              a transaction that would read too much: result.text says why and
                              what to do. */
    HOLDFAST_COMPACTED = 25, /* A watch begins before the oldest change that is kept. */
};

/* What became of a request that changes something. */
enum holdfast_outcome {
    HOLDFAST_DONE,     /* Applied, durable on a majority. */
    HOLDFAST_REJECTED, /* Surely not applied. */
    HOLDFAST_UNKNOWN,  /* May be applied. */
};

const char *holdfast_status_name(enum holdfast_status status); /* "NO_QUORUM" */
const char *holdfast_status_text(enum holdfast_status status); /* One sentence. */

/* --- Results --------------------------------------------------------------------------------- */

struct holdfast_pair {
    const void *key;
    size_t key_size;
    const void *value;
    size_t value_size;
    uint64_t revision;
    uint64_t session; /* In results: that the key is bound to; 0: none. */
};

/* What one operation of a transaction did. */
struct holdfast_operation_result {
    struct holdfast_pair pair; /* The key; of a put its new revision; of a get what it found. */
    bool found;                /* The key was there before this operation. */
    bool value_is_lost;        /* Of a get that found something: the request had to be sent again,
                                  and what was read is not kept. */
};

struct holdfast_session_info {
    uint64_t session;
    const char *owner;
    uint32_t ttl_ms;
    uint64_t age_ms;
    uint64_t left_ms;
};

enum holdfast_lock_mode {
    HOLDFAST_EXCLUSIVE, /* One holder at a time. */
    HOLDFAST_SHARED,    /* Together with other shared holders. */
    HOLDFAST_PERMITS,   /* Some of the permits that the lock counts. */
};

/* Who holds a lock or waits for it. */
struct holdfast_lock_info {
    const void *name;
    size_t name_size;
    uint64_t session;
    const char *owner;
    uint64_t token;    /* Of a holder. */
    uint64_t age_ms;   /* Since the grant. */
    uint64_t left_ms;  /* Until the holder's session ends unless it is renewed; of a hold that is
                          lost, until its lock delay is over. */
    uint32_t waiters;  /* In listings. */
    uint64_t position; /* Of a waiter; 1 is next. */
    enum holdfast_lock_mode mode;
    uint32_t units;       /* Permits of this holder or waiter; 1 of another lock. */
    uint32_t holders;     /* In listings: how many; the first is the one described. */
    uint32_t permits;     /* In listings: how many the lock counts; 0: none, */
    uint32_t used;        /* and how many are taken. */
    bool is_lost;         /* Kept by its lock delay alone. */
    const void *metadata; /* Of a holder or waiter. */
    size_t metadata_size;
};

/* Who leads an election, as observers see it. */
struct holdfast_leader_info {
    uint64_t token;    /* 0: nobody leads; the rest is empty then. */
    const void *value; /* What it campaigned with, or proclaimed since. */
    size_t value_size;
    uint64_t session;
    const char *owner;
    uint64_t age_ms;     /* Since it was elected. */
    uint64_t left_ms;    /* Until its session ends unless it is renewed. */
    uint32_t candidates; /* That wait for their turn. */
};

/* One forced unlock. */
struct holdfast_audit_info {
    uint64_t number;  /* Counts all that ever were, from 1. */
    uint64_t age_ms;  /* In cluster time, which stands still while there is no leader. */
    uint64_t wall_ms; /* Since 1970, by the clock of whoever did it; 0: not known. */
    const void *name;
    size_t name_size;
    uint64_t token;   /* Of the hold that was taken away, */
    uint64_t session; /* whose it was, */
    const char *owner;
    const char *by; /* who did it, */
    const char *reason;
    bool is_election; /* The name is that of an election. */
};

struct holdfast_member_info {
    const char *name;
    const char *client; /* "host:port"; empty when not known. */
    const char *peer;   /* Where other nodes dial it; likewise. */
    const char *member; /* "voter", "learner", "leaving", "waiting"; empty before it is known. */
    uint64_t id;
    bool is_connected;  /* To the node that says so. */
    bool is_caught_up;  /* As the leader knows it. */
    bool disk_is_low;   /* As that node has told; */
    uint64_t disk_free; /* bytes; 0 and not low: not known. */
};

struct holdfast_node_status {
    const char *cluster;
    const char *node;
    const char *role;   /* "leader", "follower", "candidate", "pre-candidate", "forming". */
    const char *leader; /* Empty when not known. */
    uint64_t term;
    uint64_t commit;
    uint64_t applied;
    uint64_t state_hash;    /* Equal on all nodes with equal `applied`. */
    uint64_t configuration; /* Index of the list of members; */
    bool is_changing;       /* it is not settled. */
    const struct holdfast_member_info *members;
    size_t member_count;
    const struct holdfast_member_info *waiting; /* Nodes that ask to join. */
    size_t waiting_count;
    uint32_t lease_ms; /* What it promises a leader with each heartbeat; 0: reads have rounds. */
    uint32_t
        lease_left_ms;     /* A leader reads without a round for so long, if no more is promised. */
    uint64_t lease_reads;  /* Reads that had none, since it was started. */
    bool refuses_writes;   /* A majority of the disks is low. */
    uint64_t sessions;     /* Open ones. */
    uint64_t answers;      /* To clients, since it was started, */
    uint64_t refusals;     /* and how many of them were errors. */
    uint64_t clock_ms;     /* Its own clock, from no point in particular; 0: it does not say. */
    uint32_t commit_us;    /* As leader: from a proposal to its apply, a smoothed maximum. */
    uint32_t ttl_floor_ms; /* The least TTL that it takes as leader, from these: */
    uint32_t clock_rate_ppm; /* how much rates of clocks may differ, */
    uint32_t margin_ms;
    uint32_t election_ms;     /* the largest election timeout. */
    uint64_t forwarded_total; /* Requests that it has passed on to a leader since it was started; */
    uint32_t forwarding;      /* of them under way now; */
    uint64_t taken_total;     /* and those that other nodes have passed on to it. */
    uint64_t memory_bound_bytes; /* Of its process, from all its limits. */
    uint64_t queued_count;       /* Requests that wait for their turn there. */
    uint64_t overloaded_count;   /* Requests refused since it was started, for lack of room, */
    uint64_t rate_limited_count; /* by the rate of their client, */
    uint64_t late_count;         /* and dropped, as their deadline was over. */
};

/* A whole snapshot of the state, as a file that the leader keeps. */
struct holdfast_snapshot {
    uint64_t index; /* Of the log: what it stands for. */
    uint64_t term;
    uint64_t size; /* Bytes; 0: it is being made. */
    uint64_t id;   /* Stands for every byte of it. */
    uint64_t state_hash;
};

struct holdfast_result {
    enum holdfast_status status;
    enum holdfast_outcome outcome;
    const char *text;  /* Why, for people; never NULL. */
    uint64_t revision; /* put, get, delete, cas; list and locks: what the list shows is all that was
                          done up to this revision, and a watch from it tells the rest. */
    uint64_t token;    /* acquire. */
    const void *value; /* get, snapshot_read. */
    size_t value_size;
    uint64_t session;        /* get: that the key is bound to; 0: none. */
    uint32_t retry_after_ms; /* HOLDFAST_OVERLOADED. */
    uint32_t floor_ms;       /* HOLDFAST_TTL_TOO_SHORT. */
    uint64_t holder;         /* HOLDFAST_HELD: the session, */
    uint64_t holder_token;   /* and its token. */
    bool more;               /* Listings: ask again behind the last item, */
    const void *after;       /* of list behind this key instead when it is not NULL. */
    size_t after_size;
    const struct holdfast_pair *pairs; /* list. */
    size_t pair_count;
    bool succeeded;                                     /* transact: all compares held. */
    const struct holdfast_operation_result *operations; /* transact: of the branch that ran, in */
    size_t operation_count;                             /* the order of its operations. */
    const struct holdfast_session_info *sessions;       /* sessions. */
    size_t session_count;
    const struct holdfast_lock_info *locks; /* locks; of lock_show the holders. */
    size_t lock_count;
    const struct holdfast_lock_info *queue; /* lock_show. */
    size_t queue_count;
    enum holdfast_lock_mode mode; /* lock_show; */
    uint32_t permits;             /* how many the lock counts, */
    uint32_t used;                /* how many are taken, */
    uint32_t waiters;             /* how many wait, also those that are not in the list. */
    const struct holdfast_audit_info *audit; /* audit. */
    size_t audit_count;
    size_t index; /* any: the member that won, or failed last; all: the first that failed. */
    const struct holdfast_node_status *node;   /* node_status. */
    const struct holdfast_snapshot *snapshot;  /* snapshot_open. */
    const struct holdfast_leader_info *leader; /* election_observe. */
};

typedef void (*holdfast_callback)(const struct holdfast_result *result, void *context);

#ifdef __cplusplus
}
#endif

#endif
