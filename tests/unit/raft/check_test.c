/* Invariants that raft_check() finds broken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "raft/internal.h"
#include "tests/support/base/death.h"
#include "tests/support/raft/member.h"

static const raft_term terms[] = {1, 1, 2, 2, 2, 5, 0};

static void check_with_wrong_term(raft_index index)
{
    struct member member;

    member_open_simple(&member, 3, 5, terms);
    member.raft->window
        .slots[member.raft->window.slot_first + index - member.raft->window.first_index]
        .term += 1;
    raft_check(member.raft);
}

static void at_the_beginning(void)
{
    check_with_wrong_term(1);
}

static void at_the_end_of_a_run(void)
{
    check_with_wrong_term(2);
}

static void at_the_beginning_of_a_run(void)
{
    check_with_wrong_term(3);
}

static void at_the_end(void)
{
    check_with_wrong_term(6);
}

static void every_entry_of_the_window_has_the_term_of_the_trail(void **state)
{
    static const char message[] = "window->slots[at].term == term";
    struct member member;
    (void)state;

    member_open_simple(&member, 3, 5, terms);
    raft_check(member.raft);
    member_close(&member);

    assert_true(dies(at_the_beginning, message));
    assert_true(dies(at_the_end_of_a_run, message));
    assert_true(dies(at_the_beginning_of_a_run, message));
    assert_true(dies(at_the_end, message));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_entry_of_the_window_has_the_term_of_the_trail),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
