/* Tests of node/cluster_time.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/cluster_time.h"

enum { GAP_MS = 125, START_MS = 50000 };

static struct cluster_time open_time(void)
{
    struct cluster_time time;

    cluster_time_init(&time, GAP_MS, START_MS);
    return time;
}

static void time_stands_still_without_leading(void **state)
{
    struct cluster_time time = open_time();
    cluster_time_heard(&time, 1, 300);

    cluster_time_turn(&time, START_MS + 40);
    assert_false(cluster_time_turn(&time, START_MS + 100000));

    assert_int_equal(cluster_time_now(&time), 300);
    (void)state;
}

static void a_leader_counts_its_own_elapsed_time(void **state)
{
    struct cluster_time time = open_time();
    cluster_time_lead(&time, 1, START_MS);

    cluster_time_turn(&time, START_MS + 50);
    cluster_time_turn(&time, START_MS + 101);

    assert_int_equal(cluster_time_stamp(&time), 101);
    (void)state;
}

static void a_new_leader_begins_from_the_later_of_log_and_heartbeat(void **state)
{
    struct cluster_time by_log = open_time();
    struct cluster_time by_heartbeat = open_time();

    cluster_time_appended(&by_log, 900);
    cluster_time_heard(&by_log, 1, 850);
    cluster_time_lead(&by_log, 2, START_MS);
    cluster_time_appended(&by_heartbeat, 900);
    cluster_time_heard(&by_heartbeat, 1, 950);
    cluster_time_lead(&by_heartbeat, 2, START_MS);

    assert_int_equal(cluster_time_stamp(&by_log), 900);
    assert_int_equal(cluster_time_stamp(&by_heartbeat), 950);
    (void)state;
}

static void the_clock_of_an_older_term_does_not_count(void **state)
{
    struct cluster_time time = open_time();

    cluster_time_heard(&time, 1, 1000);
    cluster_time_heard(&time, 2, 960);
    cluster_time_heard(&time, 1, 1040);
    cluster_time_lead(&time, 3, START_MS);

    assert_int_equal(cluster_time_stamp(&time), 960);
    (void)state;
}

static void a_leader_is_not_moved_by_what_it_hears(void **state)
{
    struct cluster_time time = open_time();
    cluster_time_lead(&time, 3, START_MS);

    cluster_time_heard(&time, 2, 5000);
    cluster_time_heard(&time, 3, 5000);

    assert_int_equal(cluster_time_stamp(&time), 0);
    (void)state;
}

static void a_gap_counts_as_no_more_than_its_limit(void **state)
{
    struct cluster_time time = open_time();
    cluster_time_lead(&time, 1, START_MS);

    cluster_time_turn(&time, START_MS + 10000);

    assert_int_equal(cluster_time_stamp(&time), GAP_MS);
    (void)state;
}

static void nothing_is_stamped_after_a_gap_before_the_majority_was_heard(void **state)
{
    struct cluster_time time = open_time();
    cluster_time_lead(&time, 1, START_MS);
    assert_true(cluster_time_may_stamp(&time, START_MS));

    assert_true(cluster_time_turn(&time, START_MS + GAP_MS + 1));

    assert_false(cluster_time_may_stamp(&time, START_MS + GAP_MS));
    assert_true(cluster_time_may_stamp(&time, START_MS + GAP_MS + 1));
    (void)state;
}

static void a_turn_within_the_limit_is_no_gap(void **state)
{
    struct cluster_time time = open_time();
    cluster_time_lead(&time, 1, START_MS);

    assert_false(cluster_time_turn(&time, START_MS + GAP_MS));

    assert_int_equal(cluster_time_stamp(&time), GAP_MS);
    assert_true(cluster_time_may_stamp(&time, START_MS));
    (void)state;
}

static void a_deposed_leader_goes_on_from_its_own_clock(void **state)
{
    struct cluster_time time = open_time();
    cluster_time_lead(&time, 1, START_MS);
    cluster_time_turn(&time, START_MS + 100);

    cluster_time_follow(&time);
    cluster_time_turn(&time, START_MS + 1000);
    cluster_time_lead(&time, 2, START_MS + 1000);

    assert_int_equal(cluster_time_stamp(&time), 100);
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(time_stands_still_without_leading),
        cmocka_unit_test(a_leader_counts_its_own_elapsed_time),
        cmocka_unit_test(a_new_leader_begins_from_the_later_of_log_and_heartbeat),
        cmocka_unit_test(the_clock_of_an_older_term_does_not_count),
        cmocka_unit_test(a_leader_is_not_moved_by_what_it_hears),
        cmocka_unit_test(a_gap_counts_as_no_more_than_its_limit),
        cmocka_unit_test(nothing_is_stamped_after_a_gap_before_the_majority_was_heard),
        cmocka_unit_test(a_turn_within_the_limit_is_no_gap),
        cmocka_unit_test(a_deposed_leader_goes_on_from_its_own_clock),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
