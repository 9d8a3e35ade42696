/* client/command/lock.c: takes a lock, or the leadership of an election, and holds it (hold.h)
 * until a command has ended or a signal comes. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "client/command/hold.h"
#include "client/command/lock_ask.h"
#include "client/owner.h"

static const int watched_signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGCHLD};

_Static_assert(COUNT_OF(watched_signals) == HOLD_SIGNAL_COUNT, "each has a handle");

enum { PATIENCE_MS = 2000 }; /* Before a person at a terminal is told what we wait for. */

static void open_session(struct lock *lock);

/* --- Acquiring ---------------------------------------------------------------------------------
 */

static void give_up(struct lock *lock, const struct holdfast_result *result)
{
    lock->phase = LOCK_ENDING;
    if (lock->is_election && result->status == HOLDFAST_HELD) {
        complain("%s: another leads; wait with --wait, or see who it is with `holdfast elect "
                 "observe %s`",
                 lock->name, lock->name);
    } else {
        run_complain(lock->run, result, lock->name);
    }
    hold_finish(lock, exit_of_acquire(result));
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
        lock_print_token(&lock->run->output, lock->run->options, lock->token);
    } else {
        hold_start_child(lock);
    }
}

static void refuse(struct lock *lock)
{
    lock->phase = LOCK_ENDING;
    complain("%s %s: too many calls at once; try again later", lock->what, lock->name);
    hold_finish(lock, EXIT_REFUSED);
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
    const struct holdfast_campaign_options campaign = {.value = ask.metadata,
                                                       .value_size = ask.metadata_size,
                                                       .wait_ms = ask.wait_ms,
                                                       .delay_ms = ask.delay_ms};
    struct holdfast_call *call =
        lock->is_election
            ? holdfast_election_campaign(lock->session, lock->name, strlen(lock->name), &campaign,
                                         acquired, lock)
            : holdfast_lock_request(lock->session, lock->name, strlen(lock->name), &ask, acquired,
                                    lock);

    if (call == NULL) {
        refuse(lock);
    }
}

static void open_session(struct lock *lock)
{
    const struct holdfast_session_options options = {.ttl_ms = (uint32_t)lock->run->options->ttl_ms,
                                                     .owner = lock->owner,
                                                     .on_state = hold_state_changed,
                                                     .on_revoked = hold_revoked,
                                                     .context = lock};

    if (holdfast_session_open(lock->run->client, &options, &lock->session, opened, lock) == NULL) {
        refuse(lock);
    }
}

static void patience_is_over(uv_timer_t *timer)
{
    struct lock *lock = timer->data;

    ASSERT(lock->phase == LOCK_ACQUIRING);
    if (isatty(STDERR_FILENO) == 1 && lock->is_election) {
        complain("waiting to lead %s (see `holdfast elect observe %s`)", lock->name, lock->name);
    } else if (isatty(STDERR_FILENO) == 1) {
        complain("waiting for %s (see `holdfast locks show %s`)", lock->name, lock->name);
    }
}

/* --- Signals and start -------------------------------------------------------------------------
 */

static void signalled(uv_signal_t *handle, int number)
{
    struct lock *lock = handle->data;

    if (number == SIGCHLD) {
        hold_child_changed(lock);
        return;
    }
    switch (lock->phase) {
    case LOCK_ACQUIRING:
        lock->phase = LOCK_ENDING;
        hold_finish(lock, EXIT_SIGNAL_BASE + number);
        return;
    case LOCK_HOLDING:
        if (lock->child.pid != 0) {
            child_signal(&lock->child, number);
            child_signal(&lock->child, SIGCONT); /* A stopped process would not act on it. */
        } else {
            hold_give_back(lock, EXIT_DONE);
        }
        return;
    case LOCK_LOSING:
        return;
    case LOCK_ENDING:
        /* Whoever asks twice does not want to wait for a cluster that does not answer. */
        hold_finish(lock, lock->run->exit_status);
        return;
    }
    UNREACHABLE();
}

static void start_handles(struct lock *lock)
{
    uv_loop_t *loop = &lock->run->loop;

    for (size_t i = 0; i < HOLD_SIGNAL_COUNT; i++) {
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
    bool is_election = run->options->command == COMMAND_ELECT;
    struct lock lock = {.run = run,
                        .name = run->options->operands[0],
                        .what = is_election ? "election" : "lock",
                        .is_election = is_election};

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
