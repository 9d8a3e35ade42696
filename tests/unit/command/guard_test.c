/* tests/unit/command/guard_test.c: the guard process: what it answers, and that it can be ended. */
#define _GNU_SOURCE /* NOLINT(bugprone-reserved-identifier): the C library's own switch. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/command/clock.h"
#include "client/command/guard.h"

enum { TTL_MS = 10000, FAR_MS = 60000 };

/* A process in a group of its own that waits for a signal. */
static pid_t spawn_group(void)
{
    pid_t pid = fork();

    if (pid == 0) {
        setpgid(0, 0);
        for (;;) {
            pause();
        }
    }
    assert_true(pid > 0);
    setpgid(pid, pid);
    return pid;
}

static int signal_that_ended(pid_t pid)
{
    int status = 0;

    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void freeze(pid_t pid)
{
    int status = 0;

    assert_int_equal(kill(pid, SIGSTOP), 0);
    assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
    assert_true(WIFSTOPPED(status));
}

static void group_is_ended_and_not_watched_when_its_deadline_has_passed(void **state)
{
    struct guard guard = {0};

    (void)state;
    assert_true(guard_open(&guard, TTL_MS));
    pid_t group = spawn_group();

    assert_false(guard_watch(&guard, group, clock_now_ms()));
    assert_int_equal(signal_that_ended(group), SIGKILL);
    assert_true(guard.pid != 0); /* It has answered. */
    assert_false(guard_release(&guard));
    guard_close(&guard);
}

static void released_group_was_left_alone(void **state)
{
    struct guard guard = {0};

    (void)state;
    assert_true(guard_open(&guard, TTL_MS));
    pid_t group = spawn_group();

    assert_true(guard_watch(&guard, group, clock_now_ms() + FAR_MS));
    assert_int_equal(guard_look(&guard), GUARD_IS_QUIET);
    assert_true(guard_release(&guard));
    guard_close(&guard);
    assert_int_equal(guard.pid, 0);
    assert_int_equal(waitpid(group, NULL, WNOHANG), 0);
    kill(group, SIGKILL);
    assert_int_equal(signal_that_ended(group), SIGKILL);
}

static void silent_guard_is_ended_before_the_group_is_given_up(void **state)
{
    struct guard guard = {0};

    (void)state;
    assert_true(guard_open(&guard, TTL_MS));
    pid_t group = spawn_group();
    pid_t pid = guard.pid;

    assert_true(guard_watch(&guard, group, clock_now_ms() + FAR_MS));
    freeze(pid);
    assert_false(guard_release(&guard));
    assert_int_equal(guard.pid, 0);
    assert_int_equal(kill(pid, 0), -1);
    assert_int_equal(errno, ESRCH);
    guard_close(&guard);
    kill(group, SIGKILL);
    assert_int_equal(signal_that_ended(group), SIGKILL);
}

static void frozen_guard_does_not_keep_its_parent(void **state)
{
    struct guard guard = {0};

    (void)state;
    assert_true(guard_open(&guard, TTL_MS));
    freeze(guard.pid);
    guard_close(&guard);
    assert_int_equal(guard.pid, 0);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(group_is_ended_and_not_watched_when_its_deadline_has_passed),
        cmocka_unit_test(released_group_was_left_alone),
        cmocka_unit_test(silent_guard_is_ended_before_the_group_is_given_up),
        cmocka_unit_test(frozen_guard_does_not_keep_its_parent),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
