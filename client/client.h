/* client/client.h: what the files of the library outside its core share. Private to client/.
 *
 * A client is driven by its loop: the shell calls client_turn() after every wake-up. Calls of the
 * user only take a slot, copy and queue, under the client's mutex when it has a thread of its own;
 * everything else happens in the turn. */
#ifndef CLIENT_CLIENT_H
#define CLIENT_CLIENT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "client/core.h"
#include "client/holdfast.h"
#include "client/holdfast_hooks.h"
#include "client/host.h"

enum {
    CLIENT_CALL_COUNT_MAX = 16384,
    CLIENT_REFUSED_COUNT_MAX = 1024, /* More calls, only to be told OVERLOADED. */
    CLIENT_SESSION_COUNT_MAX = 1024,
    CLIENT_WATCH_COUNT_MAX = 1024,
    CLIENT_PREFIX_SIZE_MAX = 480,     /* Of a watch. */
    CLIENT_STORAGE_SIZE = 512,        /* In each slot; larger requests have memory of their own, */
    CLIENT_LARGE_SIZE_MAX = 64 << 20, /* this much in all. */
    CLIENT_OWNER_SIZE_MAX = 255,
    CLIENT_NAME_SIZE_MAX = 128,
    CLIENT_TOKEN_SIZE_MAX = 255,
    CLIENT_TEXT_SIZE = 1 << 20, /* Texts of one result, with their zeros. */
};

/* What makes a call a handle (handle.c), guarded by client_lock() but for the result, which does
 * not change once `is_done`. */
struct handle {
    bool is_kept; /* It has an owner. */
    bool is_done;
    uint32_t references; /* The turn's until it is told, the owner's, a combination's, a callback's
                            that is due. */
    struct list waiters; /* Threads that wait. */
    struct holdfast_result result;
    void *memory; /* What the result points to. */
    size_t size;
};

enum group_kind { GROUP_NONE, GROUP_ALL, GROUP_ANY };

/* What makes a call a combination, or a member of one (group.c). Links are guarded by
 * client_lock(); the rest belongs to the turn. */
struct group {
    enum group_kind kind;
    bool is_started;
    bool is_decided; /* `status` and `index` are: any has a winner, all a failure. */
    bool is_late;
    bool is_cancelled;
    bool is_rejected; /* No member may have changed anything. */
    enum holdfast_status status;
    size_t index;
    size_t left_count; /* Members that are not done. */
    uint32_t timeout_ms;
    uint64_t deadline_ms;
    struct list timed; /* In client.timed, by deadline. */
    struct list members;
    struct holdfast_call *parent; /* As a member: of this one, */
    size_t place;                 /* at this place. */
    struct list member;
};

struct holdfast_call {
    struct core_call core;
    struct holdfast *client;
    holdfast_callback callback;
    void *context;
    struct list queue;     /* Free, or submitted. */
    struct list cancelled; /* To be cancelled. */
    enum error refusal;    /* Not ERR_OK: only to be told, the core does not see it. */
    struct handle handle;
    struct group group;
    void *large;
    size_t large_size;
    size_t storage_size;
    uint8_t storage[CLIENT_STORAGE_SIZE];
};

struct holdfast_session {
    struct core_session core;
    struct holdfast *client;
    holdfast_state_callback on_state;
    holdfast_revoked_callback on_revoked;
    void *context;
    struct list queue; /* Free. */
    /* Copies for other threads, made in each turn, before anything is told and at its end. */
    _Atomic uint64_t id;
    _Atomic uint64_t deadline_ms;
    _Atomic int state;
    char owner[CLIENT_OWNER_SIZE_MAX + 1];
};

struct holdfast_watch {
    struct core_watch core;
    struct holdfast *client;
    holdfast_change_callback on_change;
    holdfast_watch_ended_callback on_end;
    void *context;
    struct list queue;   /* Free, or started and not yet seen by the turn. */
    struct list stopped; /* To be stopped. */
    bool is_stopped;
    uint8_t prefix[CLIENT_PREFIX_SIZE_MAX];
};

/* Where the lists of a result are put together: one callback at a time. */
struct client_scratch {
    struct holdfast_pair pairs[WIRE_LIST_ITEM_COUNT_MAX];
    struct holdfast_session_info sessions[WIRE_LIST_ITEM_COUNT_MAX];
    struct holdfast_lock_info locks[WIRE_LIST_ITEM_COUNT_MAX];
    struct holdfast_lock_info queue[WIRE_LIST_ITEM_COUNT_MAX];
    struct holdfast_audit_info audit[WIRE_LIST_ITEM_COUNT_MAX];
    struct holdfast_operation_result operations[HOLDFAST_TRANSACTION_COUNT_MAX];
    struct holdfast_member_info members[16];
    struct holdfast_member_info waiting[16];
    struct holdfast_node_status node;
    struct holdfast_snapshot snapshot;
    struct holdfast_leader_info leader;
    size_t text_size;
    size_t text_capacity;
    char text[];
};

struct shell;
struct runner;

struct holdfast {
    struct core core;
    struct shell *shell;
    struct runner *runner; /* NULL: on somebody's hooks. */
    uint32_t timeout_ms;
    bool is_threaded;
    bool closing;
    void (*closed)(void *context);
    void *closed_context;
    pthread_mutex_t mutex; /* With a thread of its own. */
    /* Guarded by client_lock(): */
    bool close_wanted;
    size_t large_size;
    struct list free_calls; /* Of those that were used: memory is touched when it is needed. */
    uint32_t call_count;    /* Slots that were used. */
    struct list free_sessions;
    struct list submitted;
    struct list cancelled;
    struct list thens;     /* Handles that are done, with callbacks that came later. */
    uint32_t handle_count; /* Calls with an owner. */
    bool is_over;          /* Closed: memory stays as long as there are handles. */
    struct list free_watches;
    struct list started_watches;
    struct list stopped_watches; /* And watch.is_stopped. */
    /* --- */
    struct list timed;    /* Combinations with a timeout. */
    struct list combined; /* Combinations that are done, to be told. */
    struct holdfast_call *calls;
    struct holdfast_session *sessions;
    struct holdfast_watch *watches;
    void *memory;
    struct client_scratch *scratch;
    char name[CLIENT_NAME_SIZE_MAX + 1];
    char token[CLIENT_TOKEN_SIZE_MAX];
    char owner[CLIENT_OWNER_SIZE_MAX + 1]; /* "user@host pid N command" */
};

/* holdfast.c. True: another turn is needed without waiting. */
bool client_turn(struct holdfast *client, uint64_t now_ms);
/* Frees the client, or leaves that to whoever frees the last handle. */
void client_free(struct holdfast *client);
void client_destroy(struct holdfast *client);
void client_lock(struct holdfast *client);
void client_unlock(struct holdfast *client);

/* slot.c: one reference less; with the last one the slot is free. The mutex is held, or not needed.
 */
void call_drop(struct holdfast *client, struct holdfast_call *call);

/* handle.c: the result is here: keeps it for the owner, wakes who waits, calls back. */
void handle_tell(struct holdfast *client, struct holdfast_call *call,
                 const struct holdfast_result *result);
/* Callbacks that came behind the result. */
void handles_tell_late(struct holdfast *client);

/* group.c: combinations in the turn. */
void group_start(struct holdfast *client, struct holdfast_call *call);
void group_cancel(struct holdfast *client, struct holdfast_call *call);
/* `member` is done: what does that mean for its combination? */
void group_member_done(struct holdfast *client, struct holdfast_call *member);
/* Lets time pass. */
void groups_advance(struct holdfast *client, uint64_t now_ms);
void groups_tell(struct holdfast *client);

/* When client_turn() is due; CORE_NEVER. */
uint64_t client_wake_ms(const struct holdfast *client);

/* result.c. Lists and texts are put together in `scratch`. */
void client_result(struct client_scratch *scratch, const struct core_call *call,
                   struct holdfast_result *result);

/* watch.c */
void watches_init(struct holdfast *client);
/* Something was asked since the last turn. The mutex is held, or not needed. */
bool watches_are_asked(const struct holdfast *client);
void watches_take_submitted(struct holdfast *client);
/* Changes, then ends. */
void watches_tell(struct holdfast *client);

/* transact.c */
void transact_result(struct client_scratch *scratch, const struct core_call *call,
                     struct holdfast_result *result);

/* Whether the lock of that name is an election. */
static inline bool client_is_election(struct bytes name)
{
    return name.size > 1 && name.data[0] == 0;
}

/* --- The shell (socket.c): sockets, and the turn ---------------------------------------------- */

struct addrinfo;

MUST_USE enum error shell_open(struct shell **shell, struct holdfast *client,
                               const struct holdfast_hooks *hooks);
void shell_free(struct shell *shell);
/* Something was submitted. */
void shell_wake(struct shell *shell);
/* Feeds what happened on connections to the core. */
void shell_receive(struct shell *shell);

/* For the loop: these only note what happened, */
void shell_ready(struct shell *shell, int file, int events);
void shell_timer_fired(struct shell *shell);
void shell_due(struct shell *shell);
/* `address` NULL: there is none. */
void shell_resolved(struct shell *shell, uint64_t ticket, const struct sockaddr *address,
                    size_t size);
void shell_resolved_any(struct shell *shell, uint64_t ticket, const struct addrinfo *found);
/* and this does what is due. True, once: all is told and closed, no hook is called any more. */
MUST_USE bool shell_turn(struct shell *shell);
/* Closes everything without a turn. */
void shell_stop(struct shell *shell);

/* --- libuv (uv.c) ---------------------------------------------------------------------------- */

/* `loop` NULL: a thread and a loop of its own, not yet running. Opens the shell too. */
MUST_USE enum error runner_open(struct runner **runner, struct holdfast *client,
                                struct uv_loop_s *loop);
/* Frees everything when it fails. */
MUST_USE enum error runner_start(struct runner *runner);
/* The caller is the thread that runs the turns. */
bool runner_is_within(const struct runner *runner);
/* Own thread: returns when all is closed and freed. */
void runner_join(struct runner *runner);

#endif
