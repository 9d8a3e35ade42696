/* client/command/lock.c: takes a lock, holds it while a command runs, and gives it back.
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
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "client/command/child.h"
#include "client/command/clock.h"
#include "client/command/group.h"
#include "client/command/guard.h"
#include "client/command/guard_plan.h"
#include "client/command/lock_ask.h"
#include "client/command/run.h"
#include "client/owner.h"

enum lock_phase { LOCK_ACQUIRING, LOCK_HOLDING, LOCK_LOSING, LOCK_ENDING };

static const int watched_signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGCHLD};

enum {
    SIGNAL_COUNT = COUNT_OF(watched_signals),
    PATIENCE_MS = 2000, /* Before a person at a terminal is told what we wait for. */
    EXTEND_INTERVAL_MIN_MS = 20,
    SWEEP_GRACE_MS = 500,   /* From SIGTERM to SIGKILL for those that outlive the command. */
    SWEEP_INTERVAL_MS = 10, /* They are not our children: nothing tells of their end. */
};

struct lock {
    struct run *run;
    const char *name;
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

    uv_signal_t signals[SIGNAL_COUNT];
    uv_timer_t patience_timer;
    uv_timer_t extend_timer;
    uv_timer_t kill_timer;
    uv_timer_t sweep_timer;
    uv_poll_t guard_poll;
};

static void open_session(struct lock *lock);

/* --- The end --------------------------------------------------------------------------------- */

static void finish(struct lock *lock, int exit_status)
{
    ASSERT(lock->phase == LOCK_ENDING);
    if (lock->run->client == NULL) {
        return;
    }
    for (size_t i = 0; i < SIGNAL_COUNT; i++) {
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
        complain("lock %s: not given back (%s); it is free when its TTL is over", lock->name,
                 result->text);
    }
    finish(lock, lock->run->exit_status);
}

/* Gives the lock back by ending its session, then ends with `exit_status`. */
static void give_back(struct lock *lock, int exit_status)
{
    struct holdfast_session *session = lock->session;

    ASSERT(lock->phase == LOCK_HOLDING);
    lock->phase = LOCK_ENDING;
    lock->run->exit_status = exit_status;
    lock->session = NULL;
    if (holdfast_session_end(session, session_ended, lock) == NULL) {
        finish(lock, exit_status);
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
    complain("lock %s (token %" PRIu64 "): %s", lock->name, lock->token, why);
    lock->loss_status = exit_status;
    if (lock->run->options->child == NULL) {
        lock->phase = LOCK_ENDING;
        finish(lock, exit_status);
        return;
    }
    lock->phase = LOCK_LOSING;
    if (lock->child_has_ended) {
        kill_group(lock);
    } else {
        end_group(lock);
    }
}

static void state_changed(struct holdfast_session *session, enum holdfast_session_state state,
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
static void revoked(struct holdfast_session *session, const void *name, size_t name_size,
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
        finish(lock, lock->loss_status);
        return;
    }
    give_back(lock, child_close(&lock->child));
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
        complain("lock %s: the command has ended; ending the rest of its process group",
                 lock->name);
        end_group(lock);
    }
    uv_timer_start(&lock->sweep_timer, sweep_is_due, SWEEP_INTERVAL_MS, SWEEP_INTERVAL_MS);
}

static void child_changed(struct lock *lock)
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
    complain("lock %s (token %" PRIu64 "): %s", lock->name, lock->token,
             is_lost ? "lost before the command began; run it again"
                     : "the process that guards the deadline is gone; run it again");
    if (left_ms == 0) {
        lock->phase = LOCK_ENDING;
        finish(lock, EXIT_LOST);
    } else {
        give_back(lock, is_lost ? EXIT_LOST : EXIT_REFUSED);
    }
}

static void start_child(struct lock *lock)
{
    uint64_t interval_ms = lock->run->options->ttl_ms / 10;

    child_name_lock(lock->name, lock->token,
                    clock_wall_ms() + holdfast_session_left_ms(lock->session));
    if (!child_open(&lock->child, lock->run->options->child, &lock->run->ignored)) {
        complain("cannot start %s: %s", lock->run->options->child[0], strerror(errno));
        give_back(lock, EXIT_REFUSED);
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

/* --- Acquiring ---------------------------------------------------------------------------------
 */

static void give_up(struct lock *lock, const struct holdfast_result *result)
{
    lock->phase = LOCK_ENDING;
    run_complain(lock->run, result, lock->name);
    finish(lock, exit_of_acquire(result));
}

static void forget_ended(const struct holdfast_result *result, void *context)
{
    ASSERT(result != NULL);
    (void)context;
}

/* A session that lapsed while it waited was out of touch with the cluster. A new one finds out
 * whether there is a leader again, and queues up anew. */
static void begin_again(struct lock *lock)
{
    struct holdfast_session *session = lock->session;
    struct holdfast_call *call;

    lock->session = NULL;
    lock->was_suspect = false;
    call = holdfast_session_end(session, forget_ended, lock);
    ASSERT(call != NULL || lock->phase == LOCK_ACQUIRING);
    open_session(lock);
}

static void acquired(const struct holdfast_result *result, void *context)
{
    struct lock *lock = context;
    bool is_lapsed = lock->was_suspect && (result->status == HOLDFAST_LOST ||
                                           result->status == HOLDFAST_SESSION_EXPIRED);

    if (lock->phase != LOCK_ACQUIRING) {
        return;
    }
    if (is_lapsed) {
        begin_again(lock);
        return;
    }
    if (result->status != HOLDFAST_OK) {
        give_up(lock, result);
        return;
    }
    ASSERT(result->token != 0);
    uv_timer_stop(&lock->patience_timer);
    lock->phase = LOCK_HOLDING;
    lock->token = result->token;
    if (lock->run->options->child == NULL) {
        lock_print_token(&lock->run->output, lock->run->options->json, lock->name, lock->token);
    } else {
        start_child(lock);
    }
}

static void refuse(struct lock *lock)
{
    lock->phase = LOCK_ENDING;
    complain("lock %s: too many calls at once; try again later", lock->name);
    finish(lock, EXIT_REFUSED);
}

static void opened(const struct holdfast_result *result, void *context)
{
    struct lock *lock = context;
    struct holdfast_lock_options ask;

    if (lock->phase != LOCK_ACQUIRING) {
        return;
    }
    if (result->status != HOLDFAST_OK) {
        give_up(lock, result);
        return;
    }
    lock_ask_init(&ask, lock->run->options, &lock->asked_ms);
    if (holdfast_lock_request(lock->session, lock->name, strlen(lock->name), &ask, acquired,
                              lock) == NULL) {
        refuse(lock);
    }
}

static void open_session(struct lock *lock)
{
    const struct holdfast_session_options options = {.ttl_ms = (uint32_t)lock->run->options->ttl_ms,
                                                     .owner = lock->owner,
                                                     .on_state = state_changed,
                                                     .on_revoked = revoked,
                                                     .context = lock};

    if (holdfast_session_open(lock->run->client, &options, &lock->session, opened, lock) == NULL) {
        refuse(lock);
    }
}

static void patience_is_over(uv_timer_t *timer)
{
    struct lock *lock = timer->data;

    ASSERT(lock->phase == LOCK_ACQUIRING);
    if (isatty(STDERR_FILENO) == 1) {
        complain("waiting for %s (see `holdfast locks show %s`)", lock->name, lock->name);
    }
}

/* --- Signals and start -------------------------------------------------------------------------
 */

static void signalled(uv_signal_t *handle, int number)
{
    struct lock *lock = handle->data;

    if (number == SIGCHLD) {
        child_changed(lock);
        return;
    }
    switch (lock->phase) {
    case LOCK_ACQUIRING:
        lock->phase = LOCK_ENDING;
        finish(lock, EXIT_SIGNAL_BASE + number);
        return;
    case LOCK_HOLDING:
        if (lock->child.pid != 0) {
            child_signal(&lock->child, number);
            child_signal(&lock->child, SIGCONT); /* A stopped process would not act on it. */
        } else {
            give_back(lock, EXIT_DONE);
        }
        return;
    case LOCK_LOSING:
        return;
    case LOCK_ENDING:
        /* Whoever asks twice does not want to wait for a cluster that does not answer. */
        finish(lock, lock->run->exit_status);
        return;
    }
    UNREACHABLE();
}

static void start_handles(struct lock *lock)
{
    uv_loop_t *loop = &lock->run->loop;

    for (size_t i = 0; i < SIGNAL_COUNT; i++) {
        uv_signal_init(loop, &lock->signals[i]);
        lock->signals[i].data = lock;
        /* Under nohup a hang-up stays ignored. */
        if (watched_signals[i] != SIGHUP || sigismember(&lock->run->ignored, SIGHUP) == 0) {
            uv_signal_start(&lock->signals[i], signalled, watched_signals[i]);
        }
    }
    uv_timer_init(loop, &lock->patience_timer);
    uv_timer_init(loop, &lock->extend_timer);
    uv_timer_init(loop, &lock->kill_timer);
    uv_timer_init(loop, &lock->sweep_timer);
    lock->patience_timer.data = lock;
    lock->extend_timer.data = lock;
    lock->kill_timer.data = lock;
    lock->sweep_timer.data = lock;
    uv_timer_start(&lock->patience_timer, patience_is_over, PATIENCE_MS, 0);
    if (lock->has_guard) {
        int error = uv_poll_init(loop, &lock->guard_poll, lock->guard.from_fd);

        ASSERT(error == 0);
        lock->guard_poll.data = lock;
    }
}

int lock_run(struct run *run)
{
    struct lock lock = {.run = run, .name = run->options->operands[0]};

    if (run->options->owner != NULL) {
        snprintf(lock.owner, sizeof(lock.owner), "%s", run->options->owner);
    } else {
        owner_label(lock.owner, sizeof(lock.owner), run->options->child);
    }
    /* First of all, while this process has nothing open that the guard would inherit. */
    lock.has_guard = run->options->child != NULL;
    if (lock.has_guard && !guard_open(&lock.guard, run->options->ttl_ms)) {
        complain("cannot start the process that guards the deadline: %s", strerror(errno));
        return EXIT_REFUSED;
    }
    if (run_open(run, 1)) {
        start_handles(&lock);
        open_session(&lock);
        run_loop(run);
    }
    if (lock.has_guard) {
        guard_close(&lock.guard);
    }
    return run->exit_status;
}
