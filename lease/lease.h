/* lease/lease.h: sessions, and the locks that belong to them.
 *
 * A replicated state machine: pure and deterministic over an ordered table. Time is `log_ms`, the
 * stamp the leader wrote into the entry, never this machine's clock; so every replica ends a
 * session at the same entry. A session that is due at an entry's stamp is dead at once for every
 * command of that entry, a renewal included; what it held is given on in deadline order, a bounded
 * number for each entry (lease_advance()).
 *
 * A hold of a lock belongs to one session and has no TTL of its own. It is exclusive, shared with
 * other shared ones, or some of a lock's permits. Waiters queue first in, first out, in the table,
 * and nobody passes one that waits, whatever either wants; release and next grant are one step. A
 * token is a counter of all grants: strictly increasing, never reused, kept when a lock is
 * forgotten. A free lock without waiters leaves nothing in the table. */
#ifndef LEASE_LEASE_H
#define LEASE_LEASE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/macros.h"
#include "base/table.h"

typedef uint64_t lease_session_id; /* The log index of the entry that opened it; 0: none. */
typedef uint64_t lease_token;      /* Fencing token; 0: none. */

enum {
    LEASE_NAME_SIZE_MAX = 255,  /* Of a lock's name, at least 1. */
    LEASE_OWNER_SIZE_MAX = 255, /* Of an owner's label, may be empty. */
    LEASE_GRANT_COUNT_MAX = 64, /* Grants and ends of one call at most: the rest with the next. */
    LEASE_SKIP_COUNT_MAX = 64,  /* Due waiters that one call takes out in front of live ones. */
    LEASE_METADATA_SIZE_MAX = 255,    /* Of a request's metadata, may be empty. */
    LEASE_REASON_SIZE_MAX = 255,      /* Of a forced unlock's reason. */
    LEASE_PERMIT_COUNT_MAX = 1000000, /* Of one lock. */
    LEASE_DELAY_MS_MAX = 60000,       /* Of a lock delay. */
    LEASE_AUDIT_COUNT_MAX = 1000,     /* Records of the audit that are kept: the newest. */
    LEASE_ELECTION_PREFIX = 0,        /* The first byte of the name of an election's lock. */
};

/* An election is an exclusive lock whose name begins with LEASE_ELECTION_PREFIX: the holder leads,
 * its metadata is what observers see. */
static inline bool lease_is_election(struct bytes name)
{
    return name.size > 0 && name.data[0] == LEASE_ELECTION_PREFIX;
}

/* The bit of an election in lease_effects.elections. */
uint64_t lease_election_bit(struct bytes name);

/* What a call brought about, for the pushed events. */
struct lease_grant {
    lease_session_id session;
    lease_token token;
    uint8_t name_size;
    char name[LEASE_NAME_SIZE_MAX];
};

enum lease_event_kind {
    LEASE_GRANTED,
    LEASE_RELEASED, /* Given up, or its session was ended on purpose, or its lock delay is over. */
    LEASE_LOST,     /* Its session has expired. */
    LEASE_BROKEN,   /* Unlocked by force. */
};

/* What became of one hold. */
struct lease_event {
    enum lease_event_kind kind;
    bool is_kept; /* Lost or broken, and kept by its lock delay: LEASE_RELEASED follows. */
    lease_session_id session;
    lease_token token;
    uint8_t name_size;
    uint8_t owner_size;
    uint8_t metadata_size;
    /* Name, owner and metadata back to back. */
    uint8_t text[LEASE_NAME_SIZE_MAX + LEASE_OWNER_SIZE_MAX + LEASE_METADATA_SIZE_MAX];
};

/* Of one entry. Every grant, and every end of a hold: as many as lease_advance() may take steps and
 * make grants, and the same again for the command, and a grant at once. */
enum { LEASE_EVENT_COUNT_MAX = 4 * LEASE_GRANT_COUNT_MAX + 2 };
struct lease_events {
    uint32_t count;
    struct lease_event items[LEASE_EVENT_COUNT_MAX]; /* In the order in which they happened. */
};

/* Start each entry with all counts 0, and hand the same effects to lease_advance() and to the
 * entry's own command: together they never overflow. */
struct lease_effects {
    uint32_t grant_count; /* Waiters that became holders, in order of their tokens. */
    struct lease_grant grants[LEASE_GRANT_COUNT_MAX];
    uint32_t ended_count; /* Sessions that are gone: expired or ended. */
    lease_session_id ended[LEASE_GRANT_COUNT_MAX];
    uint32_t revoked_count; /* 1 when lease_lock_break() took a hold from its session. */
    struct lease_grant revoked;
    uint64_t revoked_number;     /* Of its record in the audit. */
    uint64_t elections;          /* The bits of those whose leader or value may be another now. */
    struct lease_events *events; /* Filled in by every call; NULL: nobody asks. */
};

/* Where the table's keys begin with LEASE_KEY_PREFIX, they are this folder's. */
enum { LEASE_KEY_PREFIX = 'l' };

/* Called before the command of every entry: ends sessions that are due at `log_ms`, in deadline
 * order (ties by id), releases what they held and grants on; likewise it ends lock delays, and goes
 * on with queues of which more may be granted than one call does. A step takes one hold or one
 * queued request from a session, or the session itself, or ends one delay, or goes on with one
 * queue; a call takes fewer than LEASE_GRANT_COUNT_MAX, and makes fewer grants, so that one grant
 * is left for the command. Returns true when there is more to do at the same stamp: the leader then
 * proposes a tick. Adds to *effects. */
MUST_USE bool lease_advance(struct table *table, uint64_t log_ms, struct lease_effects *effects);

/* When lease_advance() next has something to do, in cluster time: never later than the earliest
 * deadline of any session or lock delay. It is earlier only for a session that was renewed and then
 * fell silent; advancing to it gives a later one. False when there is nothing to wait for. */
MUST_USE bool lease_next_deadline(struct table *table, uint64_t *deadline_ms);

/* Opens the session `id` (the index of the entry). Never refuses: limits were checked at admission
 * and must not make replicas differ. */
void lease_session_open(struct table *table, lease_session_id id, uint32_t ttl_ms,
                        struct bytes owner, uint64_t log_ms);

/* Sets the deadline to `log_ms` + TTL, never back. ERR_SESSION_EXPIRED when unknown or due. */
MUST_USE enum error lease_session_renew(struct table *table, lease_session_id id, uint64_t log_ms);

/* Ends it at once: its locks are given on like at expiry, as many as *effects has room for in this
 * call (LEASE_GRANT_COUNT_MAX steps at most), the rest by lease_advance(). It is dead from now on,
 * and in effects->ended when all is done. ERR_SESSION_EXPIRED when unknown or due. */
MUST_USE enum error lease_session_end(struct table *table, lease_session_id id, uint64_t log_ms,
                                      struct lease_effects *effects);

/* True when the session exists and is not due. */
MUST_USE bool lease_session_is_alive(struct table *table, lease_session_id id, uint64_t log_ms);

uint64_t lease_session_count(struct table *table);

enum lease_mode {
    LEASE_EXCLUSIVE, /* One hold at a time. */
    LEASE_SHARED,    /* With other shared ones, of the same kind of lock as exclusive ones. */
    LEASE_PERMITS,   /* Some of the permits that the lock counts. */
};

struct lease_request {
    lease_session_id session;
    struct bytes name;
    enum lease_mode mode;
    uint32_t limit;    /* LEASE_PERMITS: how many the lock counts; otherwise 0. */
    uint32_t units;    /* LEASE_PERMITS: how many of them, 1 to `limit`; otherwise 0. */
    uint32_t delay_ms; /* If the hold is not given up cleanly, it lasts that much longer. */
    bool wait;
    struct bytes owner;    /* For people: who asks, */
    struct bytes metadata; /* and what else they want to be known. */
};

/* Why a request cannot be carried out although nothing is wrong with it alone. */
enum lease_refusal {
    LEASE_NOT_REFUSED,
    LEASE_OTHER_KIND,    /* One counts permits, the other does not. */
    LEASE_OTHER_LIMIT,   /* The lock counts another number of permits. */
    LEASE_OTHER_REQUEST, /* The session has or wants it already, in another mode or number. */
};

/* For people; a constant. */
const char *lease_refusal_text(enum lease_refusal refusal);

/* True when the sizes, the numbers and their combination are ones that lease_lock_acquire() takes.
 * The bounds above are part of the replicated state machine. */
bool lease_request_is_valid(const struct lease_request *request);

struct lease_acquired {
    lease_token token; /* Not 0: held by the session from now on, or already before. */
    uint64_t position; /* Not 0: waiting, with position - 1 requests before it in the queue. */
    lease_session_id holder; /* With ERR_HELD: who holds it; the first of several. */
    lease_token holder_token;
    enum lease_refusal refusal; /* With ERR_REFUSED. */
};

/* Takes the lock, or queues for it (`wait`). Whoever waits is served first: a shared request queues
 * behind an exclusive one that waits, and one for a single permit behind one for many. Asking again
 * in the same session gives the same token or the present position (exact up to 65; further back
 * never too small, and too large by no more than the requests that left the queue before it).
 * ERR_HELD when it cannot be granted now and `wait` is false (a request that is already queued is
 * then taken out of the queue, and those behind it may be granted); ERR_REFUSED;
 * ERR_SESSION_EXPIRED; ERR_MALFORMED when the request is not valid. */
MUST_USE enum error lease_lock_acquire(struct table *table, const struct lease_request *request,
                                       uint64_t log_ms, struct lease_effects *effects,
                                       struct lease_acquired *acquired);

/* Gives the hold up, or leaves the queue. `token` 0: whatever the session has there; else it must
 * be the session's token: ERR_FENCED. ERR_NOT_FOUND when the session neither holds nor waits.
 * ERR_SESSION_EXPIRED. Live waiters are granted in the same step, as many as the lock and *effects
 * have room for; waiters whose session is due are taken out of the queue. Behind more than
 * LEASE_SKIP_COUNT_MAX of those, the next of them holds the lock until lease_advance() comes to its
 * session, and nobody is told of a grant. */
MUST_USE enum error lease_lock_release(struct table *table, lease_session_id session,
                                       struct bytes name, lease_token token, uint64_t log_ms,
                                       struct lease_effects *effects);

/* A holder changes the metadata of its exclusive hold. */
struct lease_proclamation {
    lease_session_id session;
    struct bytes name;
    lease_token token; /* 0: whatever the session has there. */
    struct bytes metadata;
};

/* ERR_NOT_FOUND when the session does not hold the lock, ERR_FENCED when it has another token,
 * ERR_SESSION_EXPIRED, ERR_MALFORMED when the metadata is longer than its bound. */
MUST_USE enum error lease_lock_proclaim(struct table *table,
                                        const struct lease_proclamation *proclamation,
                                        uint64_t log_ms, struct lease_effects *effects);

/* Of the last grant; 0 before the first. */
lease_token lease_token_last(struct table *table);

/* The state begins anew elsewhere (a restored backup, a forced recovery): every session ends
 * without anybody being told, nothing is held or waited for, and the counter of grants rises by
 * `raise`, so that tokens are beyond all that the old cluster gave meanwhile. Takes time for each
 * record: not for a node that serves. */
void lease_restart(struct table *table, uint64_t raise);

/* A forced unlock, by an operator. */
struct lease_break {
    struct bytes name;
    lease_token token;   /* Of the hold that is taken away. */
    struct bytes by;     /* Who does it, */
    struct bytes reason; /* and why; not empty. */
    uint64_t wall_ms;    /* When, by the operator's own clock; only shown. */
};

/* Takes the hold with that token away, leaves a record in the audit, and tells the holder by
 * effects->revoked. The holder has not agreed: its lock delay is kept. Breaking the hold again ends
 * the delay. ERR_NOT_FOUND when nobody holds the lock, ERR_FENCED when no hold has that token,
 * ERR_MALFORMED when something is longer than its bound, or without a reason. */
MUST_USE enum error lease_lock_break(struct table *table, const struct lease_break *request,
                                     uint64_t log_ms, struct lease_effects *effects);

/* --- Reading: views are borrowed from the table until it changes ------------------------------ */

struct lease_session_view {
    lease_session_id id;
    uint32_t ttl_ms;
    uint64_t opened_ms; /* Cluster time. */
    uint64_t deadline_ms;
    struct bytes owner;
};

/* The first session with an id > `after`; false when there is none. Due ones are skipped. */
MUST_USE bool lease_session_next(struct table *table, lease_session_id after, uint64_t log_ms,
                                 struct lease_session_view *view);

struct lease_lock_view {
    struct bytes name;
    enum lease_mode mode; /* Of those who hold it now. */
    uint32_t limit;       /* LEASE_PERMITS: how many it counts, */
    uint32_t used;        /* and how many are taken. */
    uint32_t hold_count;
    uint32_t waiter_count;
    lease_session_id holder; /* The first hold, in order of tokens; see lease_hold_view. */
    lease_token token;
    uint64_t granted_ms;
    uint64_t deadline_ms;
    struct bytes owner;
};

/* The lock of that name; false when nobody holds it. One whose holder is due stays until
 * lease_advance() has come to it: compare `deadline_ms`. */
MUST_USE bool lease_lock_get(struct table *table, struct bytes name, struct lease_lock_view *view);

/* The first held lock whose name is > `after` and begins with `prefix`. */
MUST_USE bool lease_lock_next(struct table *table, struct bytes prefix, struct bytes after,
                              struct lease_lock_view *view);

struct lease_hold_view {
    lease_session_id session; /* Perhaps gone, when the hold is lost. */
    lease_token token;
    uint64_t granted_ms;
    uint64_t deadline_ms; /* Of its session, or the end of the lock delay. */
    uint32_t units;       /* LEASE_PERMITS; otherwise 1. */
    bool is_lost;         /* Kept by its lock delay alone. */
    struct bytes owner;
    struct bytes metadata;
};

/* The first hold of `name` with a token > `after`. */
MUST_USE bool lease_hold_next(struct table *table, struct bytes name, lease_token after,
                              struct lease_hold_view *view);

struct lease_waiter_view {
    lease_session_id session;
    uint64_t ticket; /* Increases in queue order; pass it on to get the next. */
    enum lease_mode mode;
    uint32_t units;
    struct bytes owner;
    struct bytes metadata;
};

/* The first waiter of `name` with a ticket > `after`. */
MUST_USE bool lease_waiter_next(struct table *table, struct bytes name, uint64_t after,
                                struct lease_waiter_view *view);

/* One record of the audit: a forced unlock. */
struct lease_audit_view {
    uint64_t number; /* Counts all that ever were, from 1. */
    uint64_t log_ms; /* Cluster time. */
    uint64_t wall_ms;
    lease_session_id session; /* Whose hold it was. */
    lease_token token;
    struct bytes name;
    struct bytes owner;
    struct bytes by;
    struct bytes reason;
};

/* The first record with a number > `after`. */
MUST_USE bool lease_audit_next(struct table *table, uint64_t after, struct lease_audit_view *view);

/* What a session is to be told: looks for its forced unlocks in the audit, from record `*next` on,
 * at `*looks_left` records at most; both move on. False when there is none among them: `*next` is
 * then behind what was looked at. A hold that was broken twice, for its lock delay, is met twice.
 */
MUST_USE bool lease_revoked_next(struct table *table, lease_session_id session, uint64_t *next,
                                 uint32_t *looks_left, struct lease_audit_view *view);

/* The number of the newest record of the audit; 0: none. */
uint64_t lease_audit_last(struct table *table);

/* Asserts every numbered invariant of docs/lease.md by walking the whole table. For tests. */
void lease_check(struct table *table);

#endif
