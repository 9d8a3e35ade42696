#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "raft/internal.h"

static const struct raft_members three = {.ids = {4, 7, 9}, .count = 3};
static const struct raft_members four = {.ids = {1, 2, 3, 4}, .count = 4};

static void majority_is_more_than_half(void **state)
{
    (void)state;
    assert_false(raft_quorum_reached(&three, 1));
    assert_true(raft_quorum_reached(&three, 5));
    assert_false(raft_quorum_reached(&four, 3));
    assert_true(raft_quorum_reached(&four, 7));
}

static void bits_of_nobody_do_not_count(void **state)
{
    (void)state;
    assert_false(raft_quorum_reached(&three, 1U | 1U << 3 | 1U << 7));
}

static void value_is_the_largest_that_a_majority_has(void **state)
{
    const uint64_t spread[] = {10, 30, 20};
    const uint64_t equal[] = {5, 5, 5, 5};
    const uint64_t even[] = {1, 4, 3, 2};
    (void)state;

    assert_int_equal(raft_quorum_value(&three, spread), 20);
    assert_int_equal(raft_quorum_value(&four, equal), 5);
    assert_int_equal(raft_quorum_value(&four, even), 2);
}

static void members_are_found_by_id(void **state)
{
    (void)state;
    assert_int_equal(raft_members_find(&three, 9), 2);
    assert_int_equal(raft_members_find(&three, 1), RAFT_NOT_A_MEMBER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(majority_is_more_than_half),
        cmocka_unit_test(bits_of_nobody_do_not_count),
        cmocka_unit_test(value_is_the_largest_that_a_majority_has),
        cmocka_unit_test(members_are_found_by_id),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
