/* client/client.h: what holdfast.c, calls.c, slot.c, result.c, sync.c and uv.c share. Private to
 * client/.
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
    CLIENT_TEXT_SIZE = 1 << 20, /* Texts of one result, with their zeros. */
};

struct holdfast_call {
    struct core_call core;
    struct holdfast *client;
    holdfast_callback callback;
    void *context;
    struct list queue;     /* Free, or submitted. */
    struct list cancelled; /* To be cancelled. */
    enum error refusal;    /* Not ERR_OK: only to be told, the core does not see it. */
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
    struct holdfast_member_info members[16];
    struct holdfast_member_info waiting[16];
    struct holdfast_node_status node;
    struct holdfast_snapshot snapshot;
    size_t text_size;
    char text[CLIENT_TEXT_SIZE];
};

struct shell;

struct holdfast {
    struct core core;
    struct shell *shell;
    uint32_t timeout_ms;
    bool is_threaded;
    bool closing;
    void (*closed)(void *context);
    void *closed_context;
    pthread_mutex_t mutex; /* With a thread of its own. */
    /* Guarded by client_lock(): */
    bool close_wanted;
    size_t large_size;
    struct list free_calls;
    struct list free_sessions;
    struct list submitted;
    struct list cancelled;
    struct list free_watches;
    struct list started_watches;
    struct list stopped_watches; /* And watch.is_stopped. */
    /* --- */
    struct holdfast_call *calls;
    struct holdfast_session *sessions;
    struct holdfast_watch *watches;
    void *memory;
    struct client_scratch *scratch;
    char name[CLIENT_NAME_SIZE_MAX + 1];
    char owner[CLIENT_OWNER_SIZE_MAX + 1]; /* "user@host pid N command" */
};

/* holdfast.c. True: another turn is needed without waiting. */
bool client_turn(struct holdfast *client, uint64_t now_ms);
void client_free(struct holdfast *client);
void client_lock(struct holdfast *client);
void client_unlock(struct holdfast *client);

/* slot.c: the slot is free again. The mutex is held, or not needed. */
void call_release(struct holdfast *client, struct holdfast_call *call);

/* result.c */
void client_result(struct holdfast *client, const struct core_call *call,
                   struct holdfast_result *result);

/* watch.c */
void watches_init(struct holdfast *client);
/* Something was asked since the last turn. The mutex is held, or not needed. */
bool watches_are_asked(const struct holdfast *client);
void watches_take_submitted(struct holdfast *client);
/* Changes, then ends. */
void watches_tell(struct holdfast *client);

/* --- The shell (uv.c) ------------------------------------------------------------------------ */

/* `loop` NULL: a thread and a loop of its own, not yet running. */
MUST_USE enum error shell_open(struct shell **shell, struct holdfast *client,
                               struct uv_loop_s *loop);
MUST_USE enum error shell_start(struct shell *shell);
/* Something was submitted. */
void shell_wake(struct shell *shell);
/* Own thread: returns when all is closed and freed. */
void shell_join(struct shell *shell);
/* Feeds what happened on connections to the core. */
void shell_receive(struct shell *shell);

#endif
