/* client/holdfast.h: the client library of Holdfast: locks, sessions and keys.
 *
 * A client keeps connections to a cluster, finds the leader, follows it when it changes, retries
 * what may be retried and says honestly what became of the rest (enum holdfast_outcome). A session
 * is renewed by itself, every third of its TTL; its deadline counts from the *sending* of the last
 * renewal that the cluster confirmed, on this machine's own clock, so that the loss of a session
 * is known here before anyone else can be granted its locks.
 *
 * Three ways to use it, one for each client:
 *   holdfast_open()          has a thread of its own. The *_sync calls may be made from any thread;
 *                            callbacks run on the client's thread. Handles can be waited for.
 *   holdfast_open_on_loop()  lives on the caller's libuv loop, without locks or threads. All calls
 *                            are made from the loop's thread, callbacks run there; nothing waits.
 *   holdfast_open_on_hooks() the same on any other loop, over six hooks (holdfast_hooks.h).
 *
 * Every asynchronous call is either told once by its callback, never from inside a call of this
 * library on the same thread, and ends with it; or it is a handle (holdfast_keep), which its owner
 * asks, waits for, combines and frees. It returns NULL, and is told nothing, only when so many
 * calls are under way (docs/client.md) that not even the refusal can be remembered, or behind
 * holdfast_close(). Results and the bytes in them are borrowed until the callback returns, or the
 * handle is freed. Times are milliseconds. Strings end in zero; keys, values and lock names are
 * bytes with a size. */
#ifndef CLIENT_HOLDFAST_H
#define CLIENT_HOLDFAST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/holdfast_result.h"

#ifdef __cplusplus
extern "C" {
#endif

struct holdfast;         /* A client. */
struct holdfast_session; /* A session: locks belong to it. */
struct holdfast_call;    /* A request: valid until its callback returns, or it is freed. */
struct uv_loop_s;

/* --- Clients --------------------------------------------------------------------------------- */

struct holdfast_options {
    const char *endpoints; /* "host:port,host:port"; copied. Required. */
    const char *name;      /* Shown to operators; NULL: none. */
    uint32_t timeout_ms;   /* The whole deadline of a request, retries and looking for the leader
                              included; 0: 5000. */
    uint32_t connections;  /* Kept to the leader; requests are spread over them; 0: 1. */
    const char *token;     /* Who we are, to nodes that have a file of tokens; copied, and never
                              shown. At most 255 bytes; NULL: none. */
};

/* HOLDFAST_OK, or HOLDFAST_MALFORMED when the options are not valid. Does not wait for a
 * connection. */
enum holdfast_status holdfast_open(struct holdfast **client,
                                   const struct holdfast_options *options);
enum holdfast_status holdfast_open_on_loop(struct holdfast **client,
                                           const struct holdfast_options *options,
                                           struct uv_loop_s *loop);

/* Ends open sessions as far as that can be done within 200 ms, answers every pending call with
 * HOLDFAST_CANCELLED, frees everything. With an own thread it returns when that is done (never call
 * it from a callback); on a loop it returns at once and `closed` (may be NULL) is called last. */
void holdfast_close(struct holdfast *client, void (*closed)(void *context), void *context);

/* --- Giving up ------------------------------------------------------------------------------- */

/* Gives up waiting: the result is HOLDFAST_CANCELLED unless another is already here. A cancelled
 * acquire leaves the queue, and releases a lock that was granted meanwhile. A cancelled combination
 * cancels its members. */
void holdfast_cancel(struct holdfast_call *call);

/* --- Handles: calls that are kept ------------------------------------------------------------- */

/* In place of a callback: the call is a handle. It keeps its result, and is valid until
 * holdfast_call_free(), also behind holdfast_close(). Handles count among the calls that are under
 * way (docs/client.md) until they are freed. Never called; the context that goes with it is not
 * used. */
void holdfast_keep(const struct holdfast_result *result, void *context);

/* The result is here. With an own thread, from any thread. */
bool holdfast_call_is_done(const struct holdfast_call *call);

/* Of a handle that is done; valid until it is freed, with everything in it. HOLDFAST_OVERLOADED,
 * with the outcome as it was, when there was no memory to keep what a read has found. */
const struct holdfast_result *holdfast_call_result(const struct holdfast_call *call);

/* Waits until the handle is done, for `wait_ms` at most; < 0: for ever. False: it is not done, and
 * goes on. Only with an own thread, and from any other. */
bool holdfast_call_wait(struct holdfast_call *call, int64_t wait_ms);

/* A callback for a handle, once, never from within this call: when it is done, or soon if it is
 * already. The result is valid until the handle is freed and the callback has returned. Not behind
 * holdfast_close(). */
void holdfast_call_then(struct holdfast_call *call, holdfast_callback callback, void *context);

/* The handle must not be used any more. What is not done is cancelled. NULL: does nothing. */
void holdfast_call_free(struct holdfast_call *call);

/* Combinations: calls themselves, with a callback or kept, to be combined again. Members are
 * handles of this client, in one combination at a time; they stay their owner's, and are in none
 * when the combination is done. When it is done, all members are.
 *   all   HOLDFAST_OK when all members are; else, when the last is done, what the first failure
 *         was.
 *   any   HOLDFAST_OK with the first member that is OK, and the others are cancelled. More than
 *         one may have succeeded by then: look at each. When all have failed: what the last failure
 *         was. Of none: HOLDFAST_MALFORMED.
 * When `timeout_ms` have passed (0: never) what is left is cancelled, and a failure is
 * HOLDFAST_TIMEOUT. Its outcome is REJECTED when that of every member is, else UNKNOWN.
 * HOLDFAST_MALFORMED also when a member is no handle, of another client, or in a combination. */
struct holdfast_call *holdfast_all(struct holdfast *client, struct holdfast_call *const *members,
                                   size_t count, uint32_t timeout_ms, holdfast_callback callback,
                                   void *context);
struct holdfast_call *holdfast_any(struct holdfast *client, struct holdfast_call *const *members,
                                   size_t count, uint32_t timeout_ms, holdfast_callback callback,
                                   void *context);

/* --- Keys. A write without a session is executed at most once for each attempt. --------------- */

struct holdfast_call *holdfast_put(struct holdfast *client, const void *key, size_t key_size,
                                   const void *value, size_t value_size, holdfast_callback callback,
                                   void *context);
/* Linearizable. HOLDFAST_NOT_FOUND when the key is absent. */
struct holdfast_call *holdfast_get(struct holdfast *client, const void *key, size_t key_size,
                                   holdfast_callback callback, void *context);
struct holdfast_call *holdfast_delete(struct holdfast *client, const void *key, size_t key_size,
                                      holdfast_callback callback, void *context);
/* `expected` NULL: the key must be absent. */
struct holdfast_call *holdfast_cas(struct holdfast *client, const struct holdfast_pair *pair,
                                   const void *expected, size_t expected_size,
                                   holdfast_callback callback, void *context);
/* Keys that begin with `prefix` and sort behind `after` (may be empty). */
struct holdfast_call *holdfast_list(struct holdfast *client, const void *prefix, size_t prefix_size,
                                    const void *after, size_t after_size,
                                    holdfast_callback callback, void *context);

/* --- Sessions -------------------------------------------------------------------------------- */

enum holdfast_session_state {
    HOLDFAST_SESSION_CONNECTED,
    HOLDFAST_SESSION_SUSPECT, /* A renewal was missed: start no new side effects. */
    HOLDFAST_SESSION_LOST,    /* The deadline passed, or the cluster says so. Final. */
};

/* Called on every change. LOST is called once, before the cluster can grant the session's locks to
 * anyone else, provided that clock rates differ by less than the cluster's bound. */
typedef void (*holdfast_state_callback)(struct holdfast_session *session,
                                        enum holdfast_session_state state, void *context);

/* A hold of this session was unlocked by force: stop what it protects. Others may hold the lock
 * already; the session lives on. Compare the token: the session may have a new grant of the same
 * lock. The news does not depend on a connection: it comes with the next confirmed renewal at the
 * latest, or, when so many forced unlocks came together that this cannot be, the session is LOST.
 */
typedef void (*holdfast_revoked_callback)(struct holdfast_session *session, const void *name,
                                          size_t name_size, uint64_t token, void *context);

struct holdfast_session_options {
    uint32_t ttl_ms;                      /* 0: 10000. */
    const char *owner;                    /* Label for people; NULL: "user@host pid N command". */
    holdfast_state_callback on_state;     /* May be NULL. */
    void *context;                        /* Of both callbacks. */
    holdfast_revoked_callback on_revoked; /* May be NULL. */
};

/* The session is usable when the callback says HOLDFAST_OK; until then calls on it wait, and
 * its state is SUSPECT. `*session` is set at once and freed by holdfast_session_end() or
 * holdfast_close(), also when it could not be opened; NULL when too many sessions are open (the
 * callback then says HOLDFAST_OVERLOADED) or the owner is too long (HOLDFAST_TOO_LARGE). */
struct holdfast_call *holdfast_session_open(struct holdfast *client,
                                            const struct holdfast_session_options *options,
                                            struct holdfast_session **session,
                                            holdfast_callback callback, void *context);

/* Ends it: its locks are free at once. `session` must not be used any more. */
struct holdfast_call *holdfast_session_end(struct holdfast_session *session,
                                           holdfast_callback callback, void *context);

/* Ends a session of anybody by its number, for operators: its locks are free at once, and its
 * holder is told LOST. Like a write without a session it is not sent again once it may have been
 * applied. HOLDFAST_SESSION_EXPIRED when there is no such session. One's own is ended above. */
struct holdfast_call *holdfast_session_end_id(struct holdfast *client, uint64_t session,
                                              holdfast_callback callback, void *context);

enum holdfast_session_state holdfast_session_state(const struct holdfast_session *session);
uint64_t holdfast_session_id(const struct holdfast_session *session); /* 0: not open yet. */

/* Milliseconds until the deadline, by the clock of this machine, now; 0 when it has passed. From
 * any thread. */
uint64_t holdfast_session_left_ms(const struct holdfast_session *session);

/* --- Locks ----------------------------------------------------------------------------------- */

enum { HOLDFAST_WAIT_FOREVER = -1, HOLDFAST_TRY = 0 };

/* HOLDFAST_OK with result.token. HOLDFAST_HELD: held, and `wait_ms` is HOLDFAST_TRY or has passed
 * (then the place in the queue was given up). HOLDFAST_LOST: the session ended. The wait is counted
 * apart from the client's timeout, which bounds the time without a leader. Asking again for a lock
 * that the session holds gives the same token. */
struct holdfast_call *holdfast_lock_acquire(struct holdfast_session *session, const void *name,
                                            size_t name_size, int64_t wait_ms,
                                            holdfast_callback callback, void *context);

/* What a request may say besides. All zero: exclusive, one try. */
struct holdfast_lock_options {
    enum holdfast_lock_mode mode;
    uint32_t permits;  /* HOLDFAST_PERMITS: how many the lock counts, at most 1000000. */
    uint32_t units;    /* HOLDFAST_PERMITS: how many of them; 0: 1. */
    int64_t wait_ms;   /* HOLDFAST_WAIT_FOREVER, HOLDFAST_TRY, or milliseconds. */
    uint32_t delay_ms; /* Lock delay: how much longer nobody else gets it when the session expires
                          or the lock is unlocked by force, at most 60000. */
    const char *owner; /* Label for people; NULL: the session's. At most 255 bytes. */
    const void *metadata; /* Shown with the hold; may be NULL. At most 255 bytes. */
    size_t metadata_size;
};

/* As above. HOLDFAST_REFUSED when the request does not agree with the lock as it is held, or with
 * what the session has or wants there already. Whoever waits is served first, whatever the mode. */
struct holdfast_call *holdfast_lock_request(struct holdfast_session *session, const void *name,
                                            size_t name_size,
                                            const struct holdfast_lock_options *options,
                                            holdfast_callback callback, void *context);
struct holdfast_call *holdfast_lock_release(struct holdfast_session *session, const void *name,
                                            size_t name_size, uint64_t token,
                                            holdfast_callback callback, void *context);

/* A forced unlock, by an operator. */
struct holdfast_forced_unlock {
    const void *name;
    size_t name_size;
    uint64_t token;     /* Of the hold that is to be taken away. */
    const char *reason; /* Not empty, at most 255 bytes. */
    const char *by;     /* NULL: "user@host pid N command". */
    uint64_t wall_ms;   /* When, since 1970; only kept for the audit. */
    bool is_election;   /* It is the leader of that election who is put out. */
};

/* Takes a hold away from whoever has it, and leaves a record in the audit. A lock delay is kept;
 * the second time it is ended. HOLDFAST_NOT_FOUND when nobody holds the lock, HOLDFAST_FENCED when
 * no hold has the token. A write without a session. */
struct holdfast_call *holdfast_lock_break(struct holdfast *client,
                                          const struct holdfast_forced_unlock *request,
                                          holdfast_callback callback, void *context);

/* --- Elections: locks of a name space of their own, whose holder leads and is seen by all -------
 *
 * The token of a leadership is a fencing token like that of a lock, and all that is said of holding
 * locks holds: the session's deadline, LOST, on_revoked (which gives the election's name). Names
 * have 1 to 254 bytes, values at most 255. */

struct holdfast_campaign_options {
    const void *value; /* What observers see; may be NULL. */
    size_t value_size;
    int64_t wait_ms;   /* HOLDFAST_WAIT_FOREVER, HOLDFAST_TRY, or milliseconds. */
    uint32_t delay_ms; /* How much longer nobody else leads when the session expires, or the leader
                          is put out by force, at most 60000. */
    const char *owner; /* Label for people; NULL: the session's. At most 255 bytes. */
};

/* HOLDFAST_OK with result.token when the session leads. Otherwise as holdfast_lock_acquire(). */
struct holdfast_call *holdfast_election_campaign(struct holdfast_session *session, const void *name,
                                                 size_t name_size,
                                                 const struct holdfast_campaign_options *options,
                                                 holdfast_callback callback, void *context);

/* A change of the leader's value. */
struct holdfast_proclamation {
    const void *name;
    size_t name_size;
    uint64_t token; /* Of the leadership. */
    const void *value;
    size_t value_size;
};

/* HOLDFAST_NOT_FOUND when the session does not lead, HOLDFAST_FENCED when it does with another
 * token. */
struct holdfast_call *holdfast_election_proclaim(struct holdfast_session *session,
                                                 const struct holdfast_proclamation *proclamation,
                                                 holdfast_callback callback, void *context);

/* Gives the leadership up, as holdfast_lock_release(). */
struct holdfast_call *holdfast_election_resign(struct holdfast_session *session, const void *name,
                                               size_t name_size, uint64_t token,
                                               holdfast_callback callback, void *context);

/* result.leader: who leads now. With `seen`, the answer comes as soon as that is somebody else, or
 * the same with another value, or else after `wait_ms`; NULL: at once. Tokens never go back from
 * one answer to a later call. The wait is counted apart from the client's timeout. */
struct holdfast_call *holdfast_election_observe(struct holdfast *client, const void *name,
                                                size_t name_size,
                                                const struct holdfast_leader_info *seen,
                                                uint32_t wait_ms, holdfast_callback callback,
                                                void *context);

/* Like holdfast_locks() and holdfast_lock_show(): elections that somebody leads, with their
 * candidates as the queue. */
struct holdfast_call *holdfast_elections(struct holdfast *client, const void *prefix,
                                         size_t prefix_size, const void *after, size_t after_size,
                                         holdfast_callback callback, void *context);
struct holdfast_call *holdfast_election_show(struct holdfast *client, const void *name,
                                             size_t name_size, holdfast_callback callback,
                                             void *context);

/* A write as part of a session: executed exactly once however often it had to be sent. */
struct holdfast_call *holdfast_session_put(struct holdfast_session *session, const void *key,
                                           size_t key_size, const void *value, size_t value_size,
                                           holdfast_callback callback, void *context);

/* The same, and the key is deleted when the session ends, however that happens: nobody sees it from
 * then on. Any later write of the key by anybody unbinds it, or binds it to another session. */
struct holdfast_call *holdfast_session_bind(struct holdfast_session *session, const void *key,
                                            size_t key_size, const void *value, size_t value_size,
                                            holdfast_callback callback, void *context);

/* --- Transactions ---------------------------------------------------------------------------- */

enum holdfast_test {
    HOLDFAST_EXISTS,
    HOLDFAST_ABSENT,
    HOLDFAST_EQUAL,            /* It exists, with this value. */
    HOLDFAST_REVISION_EQUAL,   /* The revision of an absent key is 0. */
    HOLDFAST_REVISION_LESS,    /* The key's is less than this one. */
    HOLDFAST_REVISION_GREATER, /* The key's is greater. */
};

struct holdfast_compare {
    enum holdfast_test test;
    const void *key;
    size_t key_size;
    const void *value; /* HOLDFAST_EQUAL. */
    size_t value_size;
    uint64_t revision; /* HOLDFAST_REVISION_... */
};

enum holdfast_action {
    HOLDFAST_PUT,
    HOLDFAST_BIND, /* A put as of holdfast_session_bind(): in a session only. */
    HOLDFAST_DELETE,
    HOLDFAST_GET,
};

struct holdfast_operation {
    enum holdfast_action action;
    const void *key;
    size_t key_size;
    const void *value; /* HOLDFAST_PUT, HOLDFAST_BIND. */
    size_t value_size;
};

enum { HOLDFAST_TRANSACTION_COUNT_MAX = 64 }; /* Of compares, and of the operations of a branch. */

struct holdfast_transaction {
    const struct holdfast_compare *compares;
    size_t compare_count;
    const struct holdfast_operation *success; /* Executed when all compares hold, */
    size_t success_count;
    const struct holdfast_operation *failure; /* and otherwise these. */
    size_t failure_count;
};

/* Carries out one branch in order, at one revision; nothing comes between. `session` NULL: executed
 * at most once for each attempt, else exactly once. HOLDFAST_OK also when a compare did not hold:
 * see result.succeeded. HOLDFAST_TOO_LARGE when it does not fit one message (1 MiB),
 * HOLDFAST_REFUSED when what its gets find does not: neither was applied. HOLDFAST_MALFORMED: no
 * such test or action, or HOLDFAST_BIND without a session. */
struct holdfast_call *holdfast_transact(struct holdfast *client, struct holdfast_session *session,
                                        const struct holdfast_transaction *transaction,
                                        holdfast_callback callback, void *context);

/* --- Looking --------------------------------------------------------------------------------- */

struct holdfast_call *holdfast_sessions(struct holdfast *client, uint64_t after,
                                        holdfast_callback callback, void *context);
struct holdfast_call *holdfast_locks(struct holdfast *client, const void *prefix,
                                     size_t prefix_size, const void *after, size_t after_size,
                                     holdfast_callback callback, void *context);
struct holdfast_call *holdfast_lock_show(struct holdfast *client, const void *name,
                                         size_t name_size, holdfast_callback callback,
                                         void *context);

/* The newest 1000 forced unlocks with a number above `after`, the oldest first. */
struct holdfast_call *holdfast_audit(struct holdfast *client, uint64_t after,
                                     holdfast_callback callback, void *context);

/* What one node says of itself, within `timeout_ms`; `endpoint` is "host:port". Any node answers,
 * leader or not. */
struct holdfast_call *holdfast_node_status(struct holdfast *client, const char *endpoint,
                                           uint32_t timeout_ms, holdfast_callback callback,
                                           void *context);

/* --- Watches: every change of keys or locks, once and in order ----------------------------------
 */

struct holdfast_watch; /* Valid until its on_end returns. */

enum holdfast_change_kind {
    HOLDFAST_CHANGE_PUT,
    HOLDFAST_CHANGE_DELETE,
    HOLDFAST_CHANGE_GRANTED,  /* A session holds the lock from now on. */
    HOLDFAST_CHANGE_RELEASED, /* It was given up, or its lock delay is over. */
    HOLDFAST_CHANGE_LOST,     /* The session has expired. */
    HOLDFAST_CHANGE_BROKEN,   /* It was unlocked by force. */
    HOLDFAST_CHANGE_PROGRESS, /* Nothing else happened up to `revision`: go on from there later. */
    HOLDFAST_CHANGE_OTHER,    /* One of a later version. */
};

struct holdfast_change {
    enum holdfast_change_kind kind;
    uint64_t revision; /* One may have several changes, */
    uint32_t number;   /* counted from 1. PROGRESS: 0. */
    const void *name;  /* Of the key or the lock. */
    size_t name_size;
    const void *value; /* PUT. */
    size_t value_size;
    uint64_t session;  /* Of a lock: whose hold it is, */
    uint64_t token;    /* and its token. */
    const char *owner; /* Never NULL. */
    const void *metadata;
    size_t metadata_size;
    bool is_kept; /* LOST, BROKEN: a lock delay keeps the hold; RELEASED follows with its token. */
};

/* What is in `change` is borrowed until it returns. */
typedef void (*holdfast_change_callback)(struct holdfast_watch *watch,
                                         const struct holdfast_change *change, void *context);

/* Called once, last. HOLDFAST_CANCELLED: by holdfast_watch_end() or holdfast_close().
 * HOLDFAST_COMPACTED: changes behind its place are no longer kept: list what is there, and watch
 * from the revision of that list; `oldest_revision` is the oldest that a watch can begin behind.
 * HOLDFAST_NO_QUORUM: no node answered within the client's timeout at the beginning. Others: the
 * cluster does not take it. */
typedef void (*holdfast_watch_ended_callback)(struct holdfast_watch *watch,
                                              enum holdfast_status status, uint64_t oldest_revision,
                                              void *context);

struct holdfast_watch_options {
    const void *prefix; /* Names that begin with it; copied. Empty: all. */
    size_t prefix_size; /* At most 480 bytes, of locks 255. */
    bool locks;         /* Of locks; otherwise of keys. */
    bool exact;         /* The name is `prefix`. */
    uint64_t
        revision;    /* Everything behind it; 0: from now on, as the node that answers knows it. */
    uint32_t number; /* Behind that change of `revision`; 0: behind all of it. */
    holdfast_change_callback on_change;
    holdfast_watch_ended_callback on_end; /* May be NULL. */
    void *context;                        /* Of both. */
};

/* Goes on by itself at any node when connections break, from where it was, until it ends. Callbacks
 * run like those of calls, never from inside this call; a slow one slows the watch down, and the
 * cluster keeps nothing for it. NULL when the options are not valid, or 1024 are open. */
struct holdfast_watch *holdfast_watch(struct holdfast *client,
                                      const struct holdfast_watch_options *options);

/* From any thread that may make calls, also from the callbacks. No change is told afterwards but
 * one that another thread is being told; then on_end, unless it was called before. */
void holdfast_watch_end(struct holdfast_watch *watch);

/* --- The cluster. Answered when the change is complete; HOLDFAST_TIMEOUT with outcome UNKNOWN
 * while it is under way; HOLDFAST_REFUSED. May be asked for again: what is done is not done twice.
 */

/* The node `name`, which runs and asks to join, becomes a voter, or only a learner. */
struct holdfast_call *holdfast_member_add(struct holdfast *client, const char *name,
                                          bool is_learner, holdfast_callback callback,
                                          void *context);
/* HOLDFAST_NOT_FOUND when no member has that name. */
struct holdfast_call *holdfast_member_remove(struct holdfast *client, const char *name,
                                             holdfast_callback callback, void *context);
/* A learner becomes a voter, in place of `replaced` unless that is NULL. */
struct holdfast_call *holdfast_member_promote(struct holdfast *client, const char *name,
                                              const char *replaced, holdfast_callback callback,
                                              void *context);
struct holdfast_call *holdfast_leader_move(struct holdfast *client, const char *name,
                                           holdfast_callback callback, void *context);

/* --- Backups: a file of the leader's, piece by piece -------------------------------------------
 */

/* `index_min` 0: the snapshot has everything that was acknowledged before this call. While it is
 * being made the size is 0: ask again a little later with its index as `index_min`. */
struct holdfast_call *holdfast_snapshot_open(struct holdfast *client, uint64_t index_min,
                                             holdfast_callback callback, void *context);

/* result.value: bytes of it from `offset` on, at most 64 KiB. HOLDFAST_NOT_FOUND when the leader,
 * perhaps another by now, does not have that file: open again with its index. */
struct holdfast_call *holdfast_snapshot_read(struct holdfast *client,
                                             const struct holdfast_snapshot *snapshot,
                                             uint64_t offset, holdfast_callback callback,
                                             void *context);

/* --- Synchronous calls: only for clients with an own thread, from any other thread. They copy what
 *     they return: `value` is freed by holdfast_free(). ---------------------------------------- */

enum holdfast_status holdfast_put_sync(struct holdfast *client, const void *key, size_t key_size,
                                       const void *value, size_t value_size, uint64_t *revision);
enum holdfast_status holdfast_get_sync(struct holdfast *client, const void *key, size_t key_size,
                                       void **value, size_t *value_size, uint64_t *revision);
enum holdfast_status holdfast_delete_sync(struct holdfast *client, const void *key,
                                          size_t key_size);
enum holdfast_status holdfast_cas_sync(struct holdfast *client, const struct holdfast_pair *pair,
                                       const void *expected, size_t expected_size,
                                       uint64_t *revision);
enum holdfast_status holdfast_session_open_sync(struct holdfast *client,
                                                const struct holdfast_session_options *options,
                                                struct holdfast_session **session);
enum holdfast_status holdfast_session_end_sync(struct holdfast_session *session);
enum holdfast_status holdfast_lock_acquire_sync(struct holdfast_session *session, const void *name,
                                                size_t name_size, int64_t wait_ms, uint64_t *token);
enum holdfast_status holdfast_lock_release_sync(struct holdfast_session *session, const void *name,
                                                size_t name_size, uint64_t token);
void holdfast_free(void *value);

#ifdef __cplusplus
}
#endif

#endif
