#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "raft/internal.h"

static const struct raft_quorum three = {.voters = 7};
static const struct raft_quorum four = {.voters = 15};

/* Places 0 to 2 leave 0 and take in 3. */
static const struct raft_quorum joint = {.voters = 14, .outgoing = 7};

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
    const uint64_t spread[RAFT_PLACE_COUNT] = {10, 30, 20};
    const uint64_t equal[RAFT_PLACE_COUNT] = {5, 5, 5, 5};
    const uint64_t even[RAFT_PLACE_COUNT] = {1, 4, 3, 2};
    (void)state;

    assert_int_equal(raft_quorum_value(&three, spread), 20);
    assert_int_equal(raft_quorum_value(&four, equal), 5);
    assert_int_equal(raft_quorum_value(&four, even), 2);
}

static void joint_sets_need_a_majority_each(void **state)
{
    const uint64_t values[RAFT_PLACE_COUNT] = {40, 30, 10, 20};
    (void)state;

    assert_false(raft_quorum_reached(&joint, 1U << 0 | 1U << 1)); /* Of the outgoing alone. */
    assert_false(raft_quorum_reached(&joint, 1U << 2 | 1U << 3)); /* Of the new alone. */
    assert_true(raft_quorum_reached(&joint, 1U << 1 | 1U << 2));
    assert_int_equal(raft_quorum_value(&joint, values), 20);
}

static void nobody_has_no_majority(void **state)
{
    const struct raft_quorum empty = {0};
    const uint64_t values[RAFT_PLACE_COUNT] = {40, 30};
    (void)state;

    assert_false(raft_quorum_reached(&empty, UINT32_MAX));
    assert_int_equal(raft_quorum_value(&empty, values), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(majority_is_more_than_half),
        cmocka_unit_test(bits_of_nobody_do_not_count),
        cmocka_unit_test(value_is_the_largest_that_a_majority_has),
        cmocka_unit_test(joint_sets_need_a_majority_each),
        cmocka_unit_test(nobody_has_no_majority),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
