#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include "raft/internal.h"
#include "tests/support/raft/member.h"

static const raft_term log_1_1_2[] = {1, 1, 2, 0};

/* True when the child that does this was ended by abort(). */
static bool aborts(void (*action)(struct member *), struct member *member)
{
    int status = 0;
    pid_t child = fork();

    assert_true(child >= 0);
    if (child == 0) {
        (void)!freopen("/dev/null", "w", stderr);
        /* cmocka catches SIGABRT and prints; the child wants to die of it. */
        (void)signal(SIGABRT, SIG_DFL);
        action(member);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void replace_entry_2(struct member *member)
{
    uint8_t entries[MEMBER_ENTRIES_SIZE_MAX];
    const raft_term one_of_3[] = {3, 0};
    struct raft_message append = message_append(2, 3, 1, 1, 0, one_of_3, entries);

    raft_receive(member->raft, &append, member->now_ms);
}

static void committed_entry_is_never_truncated(void **state)
{
    struct member member;
    struct raft_options options = member_options();
    struct raft_hard_state hard_state = {.term = 2, .commit_index = 2};
    (void)state;
    member_open(&member, &options, &hard_state, log_1_1_2);

    assert_true(aborts(replace_entry_2, &member));
    member_close(&member);
    hard_state.commit_index = 1;
    member_open(&member, &options, &hard_state, log_1_1_2);
    assert_false(aborts(replace_entry_2, &member));
    member_close(&member);
}

static void start_with_less_log_than_was_committed(struct member *member)
{
    struct raft_options options = member_options();
    struct raft_hard_state hard_state = {.term = 2, .commit_index = 4};

    member_open(member, &options, &hard_state, log_1_1_2);
}

static void log_that_lost_committed_entries_does_not_start(void **state)
{
    struct member member;
    (void)state;

    assert_true(aborts(start_with_less_log_than_was_committed, &member));
}

static void window_forgets_only_what_is_durable_and_applied(void **state)
{
    struct member member;
    struct raft_options options = member_options();
    struct raft_hard_state hard_state = {.term = 1};
    const raft_term eight_of_1[] = {1, 1, 1, 1, 1, 1, 1, 1, 0};
    const raft_term one_of_1[] = {1, 0};
    uint8_t entries[MEMBER_ENTRIES_SIZE_MAX];
    (void)state;
    options.window_count_max = 8;
    member_open(&member, &options, &hard_state, NULL);
    struct raft_message full = message_append(2, 1, 0, 0, 8, eight_of_1, entries);
    uint8_t more[MEMBER_ENTRIES_SIZE_MAX];
    struct raft_message next = message_append(2, 1, 8, 1, 8, one_of_1, more);

    member_receive(&member, &full);
    assert_true(member_collect(&member));
    member_receive(&member, &next);
    assert_int_equal(raft_status(member.raft).last_index, 8); /* Neither. */
    member_persist(&member);
    member_receive(&member, &next);
    assert_int_equal(raft_status(member.raft).last_index, 8); /* Durable alone. */
    raft_applied(member.raft, 1);
    member_receive(&member, &next);

    assert_int_equal(raft_status(member.raft).last_index, 9);
    assert_int_equal(raft_status(member.raft).window_first_index, 2);
    member_close(&member);
}

/* Otherwise nothing could ever commit again: room would wait for commits, and they for room. */
static void window_full_of_durable_uncommitted_entries_makes_room(void **state)
{
    struct member member;
    struct raft_options options = member_options();
    struct raft_hard_state hard_state = {.term = 1};
    raft_term terms[21] = {0};
    uint8_t entries[MEMBER_ENTRIES_SIZE_MAX];
    (void)state;
    options.window_count_max = 8;
    member_open(&member, &options, &hard_state, NULL);
    for (uint32_t i = 0; i < 20; i++) {
        terms[i] = 1;
    }
    struct raft_message append = message_append(2, 1, 0, 0, 0, terms, entries);

    for (uint32_t i = 0; i < 3; i++) {
        member_receive(&member, &append);
        (void)member_collect(&member);
        member_persist(&member);
    }

    assert_int_equal(raft_status(member.raft).last_index, 20);
    assert_int_equal(raft_status(member.raft).commit_index, 0);
    member_close(&member);
}

static void long_log_is_restored_into_a_small_window(void **state)
{
    struct member member;
    struct raft_options options = member_options();
    struct raft_hard_state hard_state = {.term = 1};
    raft_term terms[101] = {0};
    struct raft_entry entry;
    (void)state;
    options.window_count_max = 8;
    for (uint32_t i = 0; i < 100; i++) {
        terms[i] = 1;
    }

    member_open(&member, &options, &hard_state, terms);

    assert_int_equal(raft_status(member.raft).last_index, 100);
    assert_int_equal(raft_status(member.raft).window_first_index, 93);
    assert_true(raft_entry_at(member.raft, 93, &entry));
    assert_false(raft_entry_at(member.raft, 92, &entry));
    assert_false(raft_entry_at(member.raft, 101, &entry));
    member_close(&member);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(committed_entry_is_never_truncated),
        cmocka_unit_test(log_that_lost_committed_entries_does_not_start),
        cmocka_unit_test(window_forgets_only_what_is_durable_and_applied),
        cmocka_unit_test(window_full_of_durable_uncommitted_entries_makes_room),
        cmocka_unit_test(long_log_is_restored_into_a_small_window),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
