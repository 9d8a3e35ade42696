/* client/command/hold.h: a lock that is taken and held, or a leadership: the second is a lock in
 * all but its name.
 *
 *   ACQUIRING --granted--> HOLDING --group is gone, or signal--> ENDING
 *       |                     |                                    ^
 *       |                     +--lost--> LOSING --group is gone----+
 *       +--refused, signal-----------------------------------------+
 *
 * When the command itself has ended, its group may live on: it is ended before the lock is given
 * back. Until then the command's zombie keeps the group's number, and the guard watches.
 *
 * Two processes watch the deadline while a command runs: this one by the library's LOST, and the
 * guard (guard.h), which also acts when this one is frozen or dead. */
#ifndef CLIENT_COMMAND_HOLD_H
#define CLIENT_COMMAND_HOLD_H

#include <stdbool.h>
#include <stdint.h>

#include "client/command/child.h"
#include "client/command/guard.h"
#include "client/command/run.h"

enum lock_phase { LOCK_ACQUIRING, LOCK_HOLDING, LOCK_LOSING, LOCK_ENDING };

enum { HOLD_SIGNAL_COUNT = 5 };

struct lock {
    struct run *run;
    const char *name;
    const char *what; /* "lock" or "election". */
    bool is_election;
    enum lock_phase phase;
    struct holdfast_session *session;
    char owner[OPTIONS_OWNER_SIZE_MAX + 1];
    bool was_suspect;  /* A renewal was missed while waiting. */
    uint64_t asked_ms; /* When the waiting for the lock began; 0: not yet. */
    uint64_t token;
    struct child child;
    bool child_has_ended; /* The rest of its group is being ended. */
    bool group_was_killed;
    struct guard guard;
    bool has_guard;
    uint64_t deadline_ms; /* That the guard knows. */
    int loss_status;      /* LOSING: the exit status to come. */

    uv_signal_t signals[HOLD_SIGNAL_COUNT];
    uv_timer_t patience_timer;
    uv_timer_t extend_timer;
    uv_timer_t kill_timer;
    uv_timer_t sweep_timer;
    uv_poll_t guard_poll;
};

/* ENDING: closes everything; the loop then runs out. */
void hold_finish(struct lock *lock, int exit_status);

/* HOLDING: gives the lock back by ending its session, then ends with `exit_status`. */
void hold_give_back(struct lock *lock, int exit_status);

/* HOLDING: starts the command of the options. */
void hold_start_child(struct lock *lock);

/* SIGCHLD. */
void hold_child_changed(struct lock *lock);

/* Callbacks of the session; the context is the struct lock. */
void hold_state_changed(struct holdfast_session *session, enum holdfast_session_state state,
                        void *context);
void hold_revoked(struct holdfast_session *session, const void *name, size_t name_size,
                  uint64_t token, void *context);

#endif
