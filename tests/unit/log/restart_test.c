/* tests/unit/log/restart_test.c: a snapshot takes the place of the log, which begins anew. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "log/format.h"
#include "log/log.h"
#include "tests/support/log/memory_disk.h"
#include "tests/support/log/test_log.h"

#define SEGMENT_1 "raft-0000000000000001.seg"
#define SEGMENT_2 "raft-0000000000000002.seg"

enum { RECORD_SIZE = 9000, PER_SEGMENT = 4, BASE_BATCH = 16384 };

static int open_log(void **state)
{
    struct log_options options = test_log_options();

    *state = test_log_open(&options);
    return 0;
}

static int close_log(void **state)
{
    test_log_close(*state);
    return 0;
}

static bool is_there(const struct test_log *test, const char *name)
{
    return memory_disk_file(test->disk, name).size != 0;
}

static void log_begins_anew_with_the_next_index_and_the_hard_state(void **state)
{
    struct test_log *test = *state;

    test_log_make_three_batches(test);
    uint64_t ticket = test_log_begin_anew(test, 100, "term 3");
    test_log_settle(test);
    assert_int_equal(log_durable_ticket(test->log), ticket);
    assert_int_equal(log_first_index(test->log), 100);
    assert_int_equal(log_last_index(test->log), 99);
    test_log_restart(test);
    assert_int_equal(test->recovery.verdict, LOG_CLEAN);
    assert_int_equal(test->recovery.base_index, 100);
    assert_int_equal(test->recovery.first_index, 100);
    assert_int_equal(test->recovery.last_index, 99);
    assert_true(test_log_matches(test, &test->durable));
    test_log_append(test, 3, 300);
    test_log_restart(test);

    assert_int_equal(test->recovery.base_index, 100);
    assert_int_equal(test->recovery.last_index, 102);
    assert_true(test_log_matches(test, &test->durable));
}

static void log_may_begin_anew_at_any_index(void **state)
{
    static const log_index next_indexes[] = {1, 3, 6, 7, 8, 1000};
    (void)state;

    for (unsigned i = 0; i < sizeof(next_indexes) / sizeof(next_indexes[0]); i++) {
        struct log_options options = test_log_options();
        struct test_log *test = test_log_open(&options);

        test_log_make_three_batches(test);
        test_log_begin_anew(test, next_indexes[i], NULL);
        test_log_settle(test);
        test_log_append(test, 2, 500);
        test_log_restart(test);

        assert_int_equal(test->recovery.first_index, next_indexes[i]);
        assert_true(test_log_matches(test, &test->durable));
        test_log_close(test);
    }
}

static void what_is_staged_before_is_void_and_what_is_staged_behind_is_kept(void **state)
{
    struct test_log *test = *state;

    test_log_make_three_batches(test);
    test_log_stage(test, 7, 2, 500, "term 8");
    test_log_begin_anew(test, 50, NULL);
    test_log_stage(test, 50, 3, 500, NULL);
    test_log_stage(test, 51, 1, 500, NULL);
    test_log_settle(test);
    test_log_restart(test);

    assert_int_equal(test->recovery.batch_count, 4);
    assert_int_equal(test->recovery.first_index, 50);
    assert_int_equal(test->recovery.last_index, 51);
    assert_memory_equal(test->recovery.hard_state.data, "term 8", 6);
    assert_true(test_log_matches(test, &test->durable));
}

static void what_is_in_flight_is_void_when_it_lands(void **state)
{
    struct test_log *test = *state;
    struct log_fetched fetched;

    test_log_make_three_batches(test);
    test_log_stage(test, 7, 2, 500, NULL);
    test_log_flush(test);
    test_log_begin_anew(test, 8, NULL);
    test_log_stage(test, 8, 1, 700, NULL);
    test_log_settle(test);

    assert_int_equal(log_first_index(test->log), 8);
    assert_true(log_fetch(test->log, 7));
    assert_true(log_fetched(test->log, &fetched));
    assert_int_equal(fetched.error, ERR_MISSING);
    assert_true(log_fetch(test->log, 8));
    test_log_settle(test);
    assert_true(log_fetched(test->log, &fetched));
    assert_int_equal(fetched.error, ERR_OK);
    assert_true(test_records_match(&test->durable, 8, fetched.record_count, fetched.records));
}

static void fetch_under_way_is_void_too(void **state)
{
    struct test_log *test = *state;
    struct log_fetched fetched;

    test_log_make_three_batches(test);
    assert_true(log_fetch(test->log, 2));
    test_log_begin_anew(test, 3, NULL);
    test_log_settle(test);

    assert_true(log_fetched(test->log, &fetched));
    assert_int_equal(fetched.error, ERR_MISSING);
}

static void answer_that_waits_is_void_too(void **state)
{
    struct test_log *test = *state;
    struct log_fetched fetched;

    test_log_make_three_batches(test);
    assert_true(log_fetch(test->log, 2));
    assert_true(test_log_complete(test));
    test_log_begin_anew(test, 4, NULL);

    assert_true(log_fetched(test->log, &fetched));
    assert_int_equal(fetched.error, ERR_MISSING);
    assert_int_equal(fetched.record_count, 0);
}

static void old_segments_are_removed_once_the_new_beginning_is_durable(void **state)
{
    struct test_log *test = *state;

    for (unsigned i = 0; i < 2 * PER_SEGMENT + 1; i++) {
        test_log_append(test, 1, RECORD_SIZE);
    }
    test_log_begin_anew(test, 500, NULL);
    log_drop(test->log, 499);
    test_log_flush(test);
    assert_non_null(memory_disk_head(test->disk, DISK_LANE_LOG));
    assert_null(memory_disk_head(test->disk, DISK_LANE_BACKGROUND));
    assert_true(is_there(test, SEGMENT_1));
    test_log_settle(test);
    assert_false(is_there(test, SEGMENT_1));
    assert_false(is_there(test, SEGMENT_2));
    test_log_restart(test);

    assert_int_equal(test->recovery.first_index, 500);
    assert_true(test_log_matches(test, &test->durable));
}

static void removal_of_void_segments_goes_on_after_a_crash(void **state)
{
    struct test_log *test = *state;
    struct disk_completion completion;

    for (unsigned i = 0; i < 2 * PER_SEGMENT + 1; i++) {
        test_log_append(test, 1, RECORD_SIZE);
    }
    test_log_begin_anew(test, 500, NULL);
    test_log_flush(test);
    assert_true(memory_disk_complete_lane(test->disk, DISK_LANE_LOG, &completion));
    test_log_restart(test);
    assert_int_equal(log_first_index(test->log), 500);
    assert_true(is_there(test, SEGMENT_1));
    test_log_settle(test);

    assert_false(is_there(test, SEGMENT_1));
    assert_false(is_there(test, SEGMENT_2));
}

static void second_beginning_replaces_the_first(void **state)
{
    struct test_log *test = *state;

    test_log_make_three_batches(test);
    test_log_begin_anew(test, 20, NULL);
    test_log_flush(test);
    test_log_begin_anew(test, 30, "term 5");
    test_log_begin_anew(test, 40, NULL);
    test_log_settle(test);
    test_log_append(test, 1, 100);
    test_log_restart(test);

    assert_int_equal(test->recovery.base_index, 40);
    assert_true(test_log_matches(test, &test->durable));
}

/* Before it is durable a crash leaves the old log, afterwards the new one, whatever sectors of the
 * write have come through. */
static void crash_leaves_the_old_log_or_the_new_one(void **state)
{
    unsigned old_count = 0;
    (void)state;

    for (uint64_t map = 0; map < 512; map++) {
        struct log_options options = test_log_options();
        struct test_log *test = test_log_open(&options);
        uint64_t kept = map % 256;
        struct disk_completion completion;

        test_log_make_three_batches(test);
        test_log_begin_anew(test, 100, map < 256 ? NULL : "term 4");
        test_log_stage(test, 100, 3, 1000, NULL);
        test_log_flush(test);
        if (map >= 256) {
            assert_true(memory_disk_complete_lane(test->disk, DISK_LANE_LOG, &completion));
            assert_true(log_complete(test->log, &completion));
        }
        memory_disk_crash(test->disk, test_keep_mapped, &kept);

        assert_int_equal(test_log_try_open(test), ERR_OK);
        assert_true(test_log_survived(test));
        assert_true(log_first_index(test->log) == 1 || log_first_index(test->log) == 100);
        old_count += log_first_index(test->log) == 1;
        test_log_close(test);
    }
    /* Of eight sectors those that hold only zeros need not come through. */
    assert_true(old_count > 400 && old_count < 512);
}

static void every_flipped_bit_of_a_beginning_is_rot(void **state)
{
    struct test_log *test = *state;

    test_log_make_three_batches(test);
    test_log_begin_anew(test, 100, NULL);
    test_log_settle(test);
    for (uint64_t bit = 0; bit < UINT64_C(8) * 4096; bit++) {
        memory_disk_flip_bit(test->disk, SEGMENT_1, UINT64_C(8) * BASE_BATCH + bit);
        assert_int_equal(test_log_try_open(test), ERR_CORRUPT);
        memory_disk_flip_bit(test->disk, SEGMENT_1, UINT64_C(8) * BASE_BATCH + bit);
    }
    test_log_restart(test);
    assert_true(test_log_matches(test, &test->durable));
}

int main(void)
{
#define LAW(law) cmocka_unit_test_setup_teardown(law, open_log, close_log)
    const struct CMUnitTest tests[] = {
        LAW(log_begins_anew_with_the_next_index_and_the_hard_state),
        cmocka_unit_test(log_may_begin_anew_at_any_index),
        LAW(what_is_staged_before_is_void_and_what_is_staged_behind_is_kept),
        LAW(what_is_in_flight_is_void_when_it_lands),
        LAW(fetch_under_way_is_void_too),
        LAW(answer_that_waits_is_void_too),
        LAW(old_segments_are_removed_once_the_new_beginning_is_durable),
        LAW(removal_of_void_segments_goes_on_after_a_crash),
        LAW(second_beginning_replaces_the_first),
        cmocka_unit_test(crash_leaves_the_old_log_or_the_new_one),
        LAW(every_flipped_bit_of_a_beginning_is_rot),
    };
#undef LAW
    return cmocka_run_group_tests(tests, NULL, NULL);
}
