/* client/holdfast_hold.h: work under a lock, in one call.
 *
 * holdfast_with_lock() opens a session, takes a lock, runs the work on the caller's thread, and
 * gives the lock back. The session is renewed meanwhile. When the lock is lost, by its deadline or
 * by force, the work is told at once in every way it may care to look: a question, a file to poll,
 * a callback. It must stop then: somebody else may be granted the lock. Work that is paused between
 * asking and writing can still write late: send the token with every write (holdfast_fence.h).
 *
 * Only for clients with a thread of their own, and not from that thread. The client must not be
 * closed before it returns. Times are milliseconds. */
#ifndef CLIENT_HOLDFAST_HOLD_H
#define CLIENT_HOLDFAST_HOLD_H

#include "client/holdfast.h"

#ifdef __cplusplus
extern "C" {
#endif

struct holdfast_hold; /* A lock that is held; valid until the work returns. */

/* From any thread, while the work runs. */
uint64_t holdfast_hold_token(const struct holdfast_hold *hold);
/* Reads the clock: true from the deadline on, also when the client's thread is late. Final. */
bool holdfast_hold_is_lost(const struct holdfast_hold *hold);
/* Until the deadline, unless the session is renewed before; 0: it is lost. */
uint64_t holdfast_hold_left_ms(const struct holdfast_hold *hold);
/* A file that becomes readable when the lock is lost, and stays so: for poll(). Not to be read or
 * closed. */
int holdfast_hold_file(const struct holdfast_hold *hold);
/* The session that holds the lock: for writes and calls as part of it. Not to be ended. */
struct holdfast_session *holdfast_hold_session(const struct holdfast_hold *hold);

/* Its result is handed on. */
typedef int (*holdfast_work)(struct holdfast_hold *hold, void *context);

struct holdfast_with_lock_options {
    const void *name;
    size_t name_size;
    uint32_t ttl_ms;                   /* 0: 10000. */
    struct holdfast_lock_options lock; /* How, and how long to wait: all zero is one try. */
    /* The lock is lost: cancel what the work does. Called once at most, on the client's thread; may
     * cancel calls, must not wait. NULL: none. The context is the work's. */
    void (*on_lost)(struct holdfast_hold *hold, void *context);
};

/* HOLDFAST_OK: the work has run, and the lock was held until it returned. HOLDFAST_LOST: it has
 * run, or was not begun (then *result is as it was), and the lock was lost before it returned.
 * HOLDFAST_HELD: somebody else has the lock. Else what opening the session or asking for the lock
 * said. `result` may be NULL. */
enum holdfast_status holdfast_with_lock(struct holdfast *client,
                                        const struct holdfast_with_lock_options *options,
                                        holdfast_work work, void *context, int *result);

#ifdef __cplusplus
}
#endif

#endif
