/* tests/unit/command/child_test.c: what the command inherits, and when it begins. */
#define _GNU_SOURCE /* NOLINT(bugprone-reserved-identifier): the C library's own switch. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdlib.h>

#include "client/command/child.h"
#include "client/command/exit.h"

enum { STATUS_SURVIVED = 3 };

/* The status of a command that sends itself SIGPIPE. */
static int status_after_sigpipe(const sigset_t *ignored)
{
    char shell[] = "sh";
    char option[] = "-c";
    char script[] = "kill -PIPE $$; exit 3";
    char *const arguments[] = {shell, option, script, NULL};
    struct child child = {0};

    assert_true(child_open(&child, arguments, ignored));
    child_start(&child);
    return child_close(&child);
}

static void sigpipe_ends_the_command_though_the_parent_ignores_it(void **state)
{
    sigset_t ignored;

    (void)state;
    sigemptyset(&ignored);
    assert_int_equal(status_after_sigpipe(&ignored), EXIT_SIGNAL_BASE + SIGPIPE);
}

static void sigpipe_stays_ignored_when_the_caller_ignored_it(void **state)
{
    sigset_t ignored;

    (void)state;
    sigemptyset(&ignored);
    sigaddset(&ignored, SIGPIPE);
    assert_int_equal(status_after_sigpipe(&ignored), STATUS_SURVIVED);
}

static void command_is_not_begun_when_its_gate_is_closed(void **state)
{
    char program[] = "true";
    char *const arguments[] = {program, NULL};
    struct child child = {0};
    sigset_t ignored;

    (void)state;
    sigemptyset(&ignored);
    assert_true(child_open(&child, arguments, &ignored));
    assert_int_equal(child_close(&child), EXIT_CANNOT_RUN);
}

static void command_is_told_its_lock(void **state)
{
    (void)state;
    child_name_lock(false, "deploy", UINT64_MAX, 7);
    assert_string_equal(getenv("HOLDFAST_LOCK"), "deploy");
    assert_string_equal(getenv("HOLDFAST_TOKEN"), "18446744073709551615");
    assert_string_equal(getenv("HOLDFAST_DEADLINE_MS"), "7");
    assert_null(getenv("HOLDFAST_ELECTION"));
}

static void command_within_a_lock_is_told_its_election_alone(void **state)
{
    (void)state;
    child_name_lock(false, "deploy", 6, 7);
    child_name_lock(true, "primary", 8, 9);

    assert_string_equal(getenv("HOLDFAST_ELECTION"), "primary");
    assert_string_equal(getenv("HOLDFAST_TOKEN"), "8");
    assert_null(getenv("HOLDFAST_LOCK"));
}

static int ignore_sigpipe(void **state)
{
    (void)state;
    return signal(SIGPIPE, SIG_IGN) == SIG_ERR; /* As main() does. */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sigpipe_ends_the_command_though_the_parent_ignores_it),
        cmocka_unit_test(sigpipe_stays_ignored_when_the_caller_ignored_it),
        cmocka_unit_test(command_is_not_begun_when_its_gate_is_closed),
        cmocka_unit_test(command_is_told_its_lock),
        cmocka_unit_test(command_within_a_lock_is_told_its_election_alone),
    };

    return cmocka_run_group_tests(tests, ignore_sigpipe, NULL);
}
