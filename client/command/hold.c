/* client/command/hold.c: what became of a lock or a leadership that is held: its command, its loss,
 * its end. */
#define _GNU_SOURCE
#include "client/command/hold.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "client/command/clock.h"
#include "client/command/group.h"
#include "client/command/guard_plan.h"

enum {
    EXTEND_INTERVAL_MIN_MS = 20,
    SWEEP_GRACE_MS = 500,   /* From SIGTERM to SIGKILL for those that outlive the command. */
    SWEEP_INTERVAL_MS = 10, /* They are not our children: nothing tells of their end. */
};

/* --- The end --------------------------------------------------------------------------------- */

void hold_finish(struct lock *lock, int exit_status)
{
    ASSERT(lock->phase == LOCK_ENDING);
    if (lock->run->client == NULL) {
        return;
    }
    for (size_t i = 0; i < HOLD_SIGNAL_COUNT; i++) {
        uv_close((uv_handle_t *)&lock->signals[i], NULL);
    }
    uv_close((uv_handle_t *)&lock->patience_timer, NULL);
    uv_close((uv_handle_t *)&lock->extend_timer, NULL);
    uv_close((uv_handle_t *)&lock->kill_timer, NULL);
    uv_close((uv_handle_t *)&lock->sweep_timer, NULL);
    if (lock->has_guard) {
        uv_close((uv_handle_t *)&lock->guard_poll, NULL);
    }
    run_finish(lock->run, exit_status);
}

static void session_ended(const struct holdfast_result *result, void *context)
{
    struct lock *lock = context;

    if (result->status != HOLDFAST_OK && lock->run->client != NULL) {
        complain("%s %s: not given back (%s); it is free when its TTL is over", lock->what,
                 lock->name, result->text);
    }
    hold_finish(lock, lock->run->exit_status);
}

/* Gives the lock back by ending its session, then ends with `exit_status`. */
void hold_give_back(struct lock *lock, int exit_status)
{
    struct holdfast_session *session = lock->session;

    ASSERT(lock->phase == LOCK_HOLDING);
    lock->phase = LOCK_ENDING;
    lock->run->exit_status = exit_status;
    lock->session = NULL;
    if (holdfast_session_end(session, session_ended, lock) == NULL) {
        hold_finish(lock, exit_status);
    }
}

/* --- Loss ------------------------------------------------------------------------------------ */

static void kill_group(struct lock *lock)
{
    ASSERT(lock->phase == LOCK_LOSING || lock->child_has_ended);
    lock->group_was_killed = true;
    child_signal(&lock->child, SIGKILL);
}

static void kill_is_due(uv_timer_t *timer)
{
    kill_group(timer->data);
}

static uint64_t session_deadline_ms(const struct lock *lock)
{
    /* The clock first: what passes between the two readings makes the deadline earlier. */
    uint64_t now_ms = clock_now_ms();

    return now_ms + holdfast_session_left_ms(lock->session);
}

/* SIGTERM now, and SIGKILL after a grace, or a little before the deadline if that is earlier: at
 * once when it has passed, or the cluster has ended the session and may have a next holder. */
static void end_group(struct lock *lock)
{
    struct guard_plan plan;
    uint64_t deadline_ms = session_deadline_ms(lock);
    uint64_t now_ms = clock_now_ms();

    ASSERT(lock->child.pid != 0);
    deadline_ms = deadline_ms < lock->deadline_ms ? deadline_ms : lock->deadline_ms;
    guard_plan_init(&plan, lock->run->options->ttl_ms, deadline_ms);
    if (now_ms + plan.kill_before_ms >= deadline_ms) {
        kill_group(lock);
        return;
    }
    uint64_t left_ms = deadline_ms - plan.kill_before_ms - now_ms;
    uint64_t grace_ms = lock->phase == LOCK_LOSING ? plan.grace_ms : SWEEP_GRACE_MS;

    child_signal(&lock->child, SIGTERM);
    child_signal(&lock->child, SIGCONT);
    uv_timer_start(&lock->kill_timer, kill_is_due, left_ms < grace_ms ? left_ms : grace_ms, 0);
}

/* `exit_status` is EXIT_LOST, or EXIT_REFUSED when the guard is gone: the lock is held, but nothing
 * would end the command in time. */
static void lose(struct lock *lock, int exit_status, const char *why)
{
    ASSERT(lock->phase == LOCK_HOLDING);
    complain("%s %s (token %" PRIu64 "): %s", lock->what, lock->name, lock->token, why);
    lock->loss_status = exit_status;
    if (lock->run->options->child == NULL) {
        lock->phase = LOCK_ENDING;
        hold_finish(lock, exit_status);
        return;
    }
    lock->phase = LOCK_LOSING;
    if (lock->child_has_ended) {
        kill_group(lock);
    } else {
        end_group(lock);
    }
}

void hold_state_changed(struct holdfast_session *session, enum holdfast_session_state state,
                        void *context)
{
    struct lock *lock = context;

    if (session != lock->session) {
        return; /* One that was given up. */
    }
    if (state != HOLDFAST_SESSION_LOST) {
        lock->was_suspect = state == HOLDFAST_SESSION_SUSPECT;
    }
    if (state == HOLDFAST_SESSION_LOST && lock->phase == LOCK_HOLDING) {
        lose(lock, EXIT_LOST, "lost: its session was not renewed in time, or was ended");
    } else if (state == HOLDFAST_SESSION_LOST && lock->phase == LOCK_LOSING) {
        kill_group(lock); /* What was left is no more. */
    }
}

/* Unlocked by force. Without a lock delay somebody else may hold the lock already; with one the
 * command has half of it to end by itself. */
void hold_revoked(struct holdfast_session *session, const void *name, size_t name_size,
                  uint64_t token, void *context)
{
    struct lock *lock = context;

    ASSERT(name != NULL && name_size != 0);
    if (session != lock->session || lock->phase != LOCK_HOLDING || token != lock->token) {
        return;
    }
    lose(lock, EXIT_LOST, "lost: it was unlocked by force; see `holdfast audit`");
    uint64_t grace_ms = lock->run->options->delay_ms / 2;

    if (lock->phase == LOCK_LOSING && grace_ms == 0) {
        kill_group(lock);
    } else if (lock->phase == LOCK_LOSING && uv_timer_get_due_in(&lock->kill_timer) > grace_ms) {
        uv_timer_start(&lock->kill_timer, kill_is_due, grace_ms, 0);
    }
}

/* --- The command ------------------------------------------------------------------------------ */

/* Nothing of its group lives any more. */
static void group_ended(struct lock *lock)
{
    ASSERT(lock->child_has_ended);
    uv_timer_stop(&lock->sweep_timer);
    uv_timer_stop(&lock->kill_timer);
    /* Before the group's number can be another's. */
    bool is_untouched = guard_release(&lock->guard);
    bool is_lost = lock->phase == LOCK_HOLDING &&
                   (!is_untouched || holdfast_session_left_ms(lock->session) == 0);

    if (is_lost) {
        lose(lock, EXIT_LOST, "lost: its deadline passed while the command ran");
    }
    if (lock->phase == LOCK_LOSING) {
        child_close(&lock->child);
        lock->phase = LOCK_ENDING;
        hold_finish(lock, lock->loss_status);
        return;
    }
    hold_give_back(lock, child_close(&lock->child));
}

/* True when nothing of the group was left. */
static bool sweep(struct lock *lock)
{
    ASSERT(lock->child_has_ended);
    if (group_lives(lock->child.pid)) {
        return false;
    }
    if (!lock->group_was_killed) {
        /* One that was forked while we looked is ended by this, and then we look again. */
        kill_group(lock);
        if (group_lives(lock->child.pid)) {
            return false;
        }
    }
    group_ended(lock);
    return true;
}

static void sweep_is_due(uv_timer_t *timer)
{
    (void)sweep(timer->data);
}

static void child_ended(struct lock *lock)
{
    ASSERT(!lock->child_has_ended);
    lock->child_has_ended = true;
    if (lock->phase == LOCK_LOSING) {
        kill_group(lock);
    }
    if (sweep(lock)) {
        return;
    }
    if (!lock->group_was_killed) {
        complain("%s %s: the command has ended; ending the rest of its process group", lock->what,
                 lock->name);
        end_group(lock);
    }
    uv_timer_start(&lock->sweep_timer, sweep_is_due, SWEEP_INTERVAL_MS, SWEEP_INTERVAL_MS);
}

void hold_child_changed(struct lock *lock)
{
    if (lock->child.pid == 0) {
        return;
    }
    if (lock->child_has_ended) {
        (void)sweep(lock);
        return;
    }
    switch (child_look(&lock->child)) {
    case CHILD_RUNS:
        return;
    case CHILD_IS_SUSPENDED:
        if (lock->child.has_terminal) {
            complain("a command that holds a lock cannot be suspended from the keyboard");
            child_signal(&lock->child, SIGCONT);
        }
        return;
    case CHILD_HAS_ENDED:
        child_ended(lock);
        return;
    }
    UNREACHABLE();
}

static void extend_is_due(uv_timer_t *timer)
{
    struct lock *lock = timer->data;

    if (lock->phase != LOCK_HOLDING || holdfast_session_left_ms(lock->session) == 0) {
        return;
    }
    uint64_t deadline_ms = session_deadline_ms(lock);

    /* Rounding makes two readings of one deadline differ by a millisecond or two. */
    if (deadline_ms > lock->deadline_ms + 2) {
        lock->deadline_ms = deadline_ms;
        guard_extend(&lock->guard, deadline_ms);
    }
}

static void guard_spoke(uv_poll_t *poll, int status, int events)
{
    struct lock *lock = poll->data;

    (void)status;
    (void)events;
    enum guard_notice notice = guard_look(&lock->guard);

    if (notice == GUARD_IS_GONE) {
        uv_poll_stop(poll);
    }
    if (lock->phase != LOCK_HOLDING || lock->child.pid == 0 || notice == GUARD_IS_QUIET) {
        return;
    }
    if (notice == GUARD_IS_GONE) {
        lose(lock, EXIT_REFUSED,
             "the process that guards the deadline is gone: the command is "
             "ended; run it again");
    } else {
        lose(lock, EXIT_LOST, "lost: no renewal was confirmed before its deadline");
    }
}

/* Before anything of the command has run. */
static void give_up_child(struct lock *lock)
{
    uint64_t left_ms = holdfast_session_left_ms(lock->session);
    /* A guard that is there has said that it is too late. */
    bool is_lost = lock->guard.pid != 0 || left_ms == 0;

    child_signal(&lock->child, SIGKILL);
    (void)!guard_release(&lock->guard);
    child_close(&lock->child);
    complain("%s %s (token %" PRIu64 "): %s", lock->what, lock->name, lock->token,
             is_lost ? "lost before the command began; run it again"
                     : "the process that guards the deadline is gone; run it again");
    if (left_ms == 0) {
        lock->phase = LOCK_ENDING;
        hold_finish(lock, EXIT_LOST);
    } else {
        hold_give_back(lock, is_lost ? EXIT_LOST : EXIT_REFUSED);
    }
}

void hold_start_child(struct lock *lock)
{
    uint64_t interval_ms = lock->run->options->ttl_ms / 10;

    child_name_lock(lock->is_election, lock->name, lock->token,
                    clock_wall_ms() + holdfast_session_left_ms(lock->session));
    if (!child_open(&lock->child, lock->run->options->child, &lock->run->ignored)) {
        complain("cannot start %s: %s", lock->run->options->child[0], strerror(errno));
        hold_give_back(lock, EXIT_REFUSED);
        return;
    }
    lock->deadline_ms = session_deadline_ms(lock);
    if (!guard_watch(&lock->guard, lock->child.pid, lock->deadline_ms) ||
        holdfast_session_left_ms(lock->session) == 0) {
        give_up_child(lock);
        return;
    }
    child_start(&lock->child);
    uv_poll_start(&lock->guard_poll, UV_READABLE, guard_spoke);
    interval_ms = interval_ms < EXTEND_INTERVAL_MIN_MS ? EXTEND_INTERVAL_MIN_MS : interval_ms;
    uv_timer_start(&lock->extend_timer, extend_is_due, interval_ms, interval_ms);
}
