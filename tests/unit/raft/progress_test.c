#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "raft/internal.h"

static void sent(struct raft_progress *progress, uint64_t request, raft_index last_index)
{
    const struct raft_flight flight = {
        .request = request,
        .previous_index = progress->next_index - 1,
        .last_index = last_index,
    };

    raft_progress_sent(progress, &flight);
}

/* Entries up to 4 match; 5 and 6, 7 and 8 are on their way in two messages. */
static struct raft_progress streaming(void)
{
    struct raft_progress progress;

    raft_progress_init(&progress, 5);
    sent(&progress, 1, 4);
    raft_progress_acknowledge(&progress, 1, 4, 0);
    sent(&progress, 2, 6);
    sent(&progress, 3, 8);
    return progress;
}

static void one_probe_is_under_way_at_a_time(void **state)
{
    struct raft_progress progress;
    (void)state;
    raft_progress_init(&progress, 5);

    assert_true(raft_progress_is_due(&progress, 9, 4, 0));
    sent(&progress, 1, 9);
    assert_false(raft_progress_is_due(&progress, 9, 4, 0));
    raft_progress_acknowledge(&progress, 1, 9, 0);

    assert_int_equal(progress.state, RAFT_REPLICATE);
    assert_int_equal(progress.match_index, 9);
    assert_false(raft_progress_is_due(&progress, 9, 4, 0));
    assert_true(raft_progress_is_due(&progress, 10, 4, 0));
}

static void stream_is_bounded_in_messages(void **state)
{
    struct raft_progress progress = streaming();
    (void)state;

    assert_false(raft_progress_is_due(&progress, 20, 2, 0));
    raft_progress_acknowledge(&progress, 2, 6, 0);

    assert_true(raft_progress_is_due(&progress, 20, 2, 0));
    assert_int_equal(progress.next_index, 9);
}

static void match_never_falls(void **state)
{
    struct raft_progress progress = streaming();
    (void)state;

    raft_progress_acknowledge(&progress, 3, 8, 0);
    raft_progress_acknowledge(&progress, 2, 6, 0);
    raft_progress_acknowledge(&progress, 1, 4, 0);

    assert_int_equal(progress.match_index, 8);
    assert_int_equal(progress.next_index, 9);
    assert_int_equal(progress.flight_count, 0);
    assert_int_equal(progress.state, RAFT_REPLICATE);
}

static void later_answer_settles_earlier_flights(void **state)
{
    struct raft_progress progress = streaming();
    (void)state;

    raft_progress_acknowledge(&progress, 3, 8, 0);

    assert_int_equal(progress.flight_count, 0);
}

static void refusal_of_an_old_request_finds_nothing(void **state)
{
    struct raft_progress progress = streaming();
    (void)state;

    assert_null(raft_progress_find(&progress, 1));
    assert_non_null(raft_progress_find(&progress, 2));
    raft_progress_reset(&progress, true);
    assert_null(raft_progress_find(&progress, 2));
}

static void search_for_the_match_terminates(void **state)
{
    struct raft_progress progress;
    uint64_t request = 0;
    (void)state;
    raft_progress_init(&progress, 100);

    /* The worst follower: every refusal hints at the very index that it refused. */
    while (progress.next_index > 1) {
        raft_index before = progress.next_index;
        request += 1;
        sent(&progress, request, progress.next_index - 1);
        raft_progress_refuse(&progress, raft_progress_find(&progress, request), before - 1);
        assert_true(progress.next_index < before);
    }

    assert_int_equal(request, 99);
}

static void refusal_never_goes_below_the_match(void **state)
{
    struct raft_progress progress = streaming();
    (void)state;

    raft_progress_refuse(&progress, raft_progress_find(&progress, 3), 0);

    assert_int_equal(progress.state, RAFT_PROBE);
    assert_int_equal(progress.next_index, 5);
    assert_int_equal(progress.match_index, 4);
}

static void reset_repeats_a_probe_where_it_was(void **state)
{
    struct raft_progress progress;
    (void)state;
    raft_progress_init(&progress, 50);
    sent(&progress, 1, 60);

    raft_progress_reset(&progress, true);

    assert_int_equal(progress.next_index, 50); /* Not 1, where nothing is known to match. */
    assert_true(progress.probe_is_empty);
}

static void follower_without_room_is_given_time(void **state)
{
    struct raft_progress progress = streaming();
    (void)state;

    raft_progress_acknowledge(&progress, 2, 4, 70);

    assert_int_equal(progress.next_index, 5);
    assert_false(raft_progress_is_due(&progress, 20, 2, 69));
    assert_true(raft_progress_is_due(&progress, 20, 2, 70));
}

/* Found by the simulator, seed 3336: with each answer landing the flight of the next probe, entries
 * were never sent again. */
static void late_reply_that_confirms_the_place_of_a_probe_ends_it(void **state)
{
    struct raft_progress progress = streaming();
    (void)state;

    raft_progress_acknowledge(&progress, 3, 8, 0);
    raft_progress_reset(&progress, true);
    sent(&progress, 4, 8);
    raft_progress_reset(&progress, true);
    sent(&progress, 5, 8);
    raft_progress_acknowledge(&progress, 4, 8, 0);

    assert_int_equal(progress.state, RAFT_REPLICATE);
    assert_int_equal(progress.next_index, 9);
    assert_false(progress.probe_is_empty);
}

static void late_reply_that_confirms_less_leaves_the_probe(void **state)
{
    struct raft_progress progress = streaming();
    (void)state;

    raft_progress_acknowledge(&progress, 3, 8, 0);
    raft_progress_reset(&progress, false);
    sent(&progress, 4, 11);
    raft_progress_acknowledge(&progress, 3, 8, 0);

    assert_int_equal(progress.state, RAFT_PROBE);
    assert_int_equal(progress.flight_count, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_probe_is_under_way_at_a_time),
        cmocka_unit_test(stream_is_bounded_in_messages),
        cmocka_unit_test(match_never_falls),
        cmocka_unit_test(later_answer_settles_earlier_flights),
        cmocka_unit_test(refusal_of_an_old_request_finds_nothing),
        cmocka_unit_test(search_for_the_match_terminates),
        cmocka_unit_test(refusal_never_goes_below_the_match),
        cmocka_unit_test(reset_repeats_a_probe_where_it_was),
        cmocka_unit_test(follower_without_room_is_given_time),
        cmocka_unit_test(late_reply_that_confirms_the_place_of_a_probe_ends_it),
        cmocka_unit_test(late_reply_that_confirms_less_leaves_the_probe),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
