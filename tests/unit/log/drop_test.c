/* tests/unit/log/drop_test.c: the log forgets from its front, in whole segments. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/prng.h"
#include "log/format.h"
#include "log/log.h"
#include "tests/support/log/memory_disk.h"
#include "tests/support/log/test_log.h"

#define SEGMENT_1 "raft-0000000000000001.seg"
#define SEGMENT_2 "raft-0000000000000002.seg"
#define SEGMENT_3 "raft-0000000000000003.seg"
#define SEGMENT_4 "raft-0000000000000004.seg"
#define SEGMENT_5 "raft-0000000000000005.seg"

enum {
    RECORD_SIZE = 9000, /* A batch of three blocks: a segment has room for four of them. */
    PER_SEGMENT = 4,
};

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

static void append_segments(struct test_log *test, unsigned count)
{
    for (unsigned i = 0; i < count * PER_SEGMENT; i++) {
        test_log_append(test, 1, RECORD_SIZE);
    }
}

static bool is_there(const struct test_log *test, const char *name)
{
    return memory_disk_file(test->disk, name).size != 0;
}

static void segments_that_hold_only_dropped_records_are_removed(void **state)
{
    struct test_log *test = *state;

    append_segments(test, 3);
    test_log_append(test, 1, RECORD_SIZE);
    test_log_drop(test, 2 * PER_SEGMENT + 1);
    test_log_settle(test);

    assert_false(is_there(test, SEGMENT_1));
    assert_false(is_there(test, SEGMENT_2));
    assert_true(is_there(test, SEGMENT_3));
    assert_int_equal(log_first_index(test->log), 2 * PER_SEGMENT + 1);
    test_log_restart(test);
    assert_int_equal(test->recovery.verdict, LOG_CLEAN);
    assert_int_equal(test->recovery.first_index, 2 * PER_SEGMENT + 1);
    assert_true(test_log_matches(test, &test->durable));
    append_segments(test, 2);
    test_log_restart(test);
    assert_true(test_log_matches(test, &test->durable));
}

static void segment_with_one_record_that_is_needed_stays(void **state)
{
    struct test_log *test = *state;

    append_segments(test, 2);
    test_log_append(test, 1, RECORD_SIZE);
    test_log_drop(test, PER_SEGMENT - 1);
    test_log_settle(test);
    assert_true(is_there(test, SEGMENT_1));
    assert_int_equal(log_first_index(test->log), 1);
    test_log_drop(test, PER_SEGMENT);
    test_log_settle(test);

    assert_false(is_there(test, SEGMENT_1));
    assert_true(is_there(test, SEGMENT_2));
}

static void segment_of_the_newest_batch_is_never_removed(void **state)
{
    struct test_log *test = *state;

    append_segments(test, 1);
    test_log_drop(test, PER_SEGMENT);
    test_log_settle(test);
    assert_true(is_there(test, SEGMENT_1));
    /* The next segment is begun, but what vouches for the hard state is still in the first. */
    test_log_stage(test, PER_SEGMENT + 1, 1, RECORD_SIZE, "term 9");
    test_log_flush(test);
    while (memory_disk_head(test->disk, DISK_LANE_LOG)->size != 3 * 4096) {
        assert_true(test_log_complete(test));
        test_log_flush(test);
    }
    assert_true(is_there(test, SEGMENT_1));
    test_log_settle(test);

    assert_false(is_there(test, SEGMENT_1));
    assert_int_equal(log_first_index(test->log), PER_SEGMENT + 1);
}

static void segments_are_removed_one_at_a_time_and_oldest_first(void **state)
{
    struct test_log *test = *state;
    static const char *const names[] = {SEGMENT_1, SEGMENT_2, SEGMENT_3};

    append_segments(test, 4);
    test_log_drop(test, 3 * PER_SEGMENT);
    for (unsigned i = 0; i < 3; i++) {
        test_log_flush(test);
        const struct disk_request *head = memory_disk_head(test->disk, DISK_LANE_BACKGROUND);

        assert_non_null(head);
        assert_int_equal(head->operation, DISK_REMOVE);
        assert_string_equal(head->name.text, names[i]);
        assert_int_equal(memory_disk_pending_count(test->disk), 1);
        assert_true(test_log_complete(test));
    }
}

static void records_before_the_log_are_missing_at_once(void **state)
{
    struct test_log *test = *state;
    struct log_fetched fetched;

    append_segments(test, 2);
    test_log_append(test, 1, RECORD_SIZE);
    test_log_drop(test, PER_SEGMENT);
    test_log_settle(test);

    assert_true(log_fetch(test->log, PER_SEGMENT));
    assert_true(log_fetched(test->log, &fetched));
    assert_int_equal(fetched.error, ERR_MISSING);
    assert_int_equal(fetched.first_index, PER_SEGMENT);
    assert_true(log_fetch(test->log, PER_SEGMENT + 1));
    assert_true(test_log_complete(test));
    assert_true(log_fetched(test->log, &fetched));
    assert_int_equal(fetched.error, ERR_OK);
    test_log_restart(test);
    assert_int_equal(log_read_now(test->log, PER_SEGMENT, &fetched), ERR_MISSING);
}

static void fetch_under_way_is_answered_though_its_segment_goes(void **state)
{
    struct test_log *test = *state;
    struct log_fetched fetched;

    append_segments(test, 2);
    test_log_append(test, 1, RECORD_SIZE);
    assert_true(log_fetch(test->log, 2));
    test_log_drop(test, PER_SEGMENT);
    test_log_settle(test);

    assert_true(log_fetched(test->log, &fetched));
    assert_int_equal(fetched.error, ERR_OK);
    assert_true(test_records_match(&test->durable, 2, fetched.record_count, fetched.records));
}

static void gap_between_segments_is_rot(void **state)
{
    struct test_log *test = *state;

    append_segments(test, 4);
    test_log_drop(test, PER_SEGMENT);
    test_log_settle(test);
    memory_disk_remove(test->disk, SEGMENT_3);

    assert_int_equal(test_log_try_open(test), ERR_CORRUPT);
    assert_string_equal(test->recovery.file.text, SEGMENT_3);
}

static void log_that_lost_the_batches_it_began_with_is_rot(void **state)
{
    struct test_log *test = *state;

    append_segments(test, 2);
    test_log_append(test, 1, RECORD_SIZE);
    test_log_drop(test, 2 * PER_SEGMENT);
    test_log_settle(test);
    assert_false(is_there(test, SEGMENT_2));
    struct disk *whole = memory_disk_copy(test->disk);

    memory_disk_zero(test->disk, SEGMENT_3, 4096, TEST_SEGMENT_SIZE - 4096);
    assert_int_equal(test_log_try_open(test), ERR_CORRUPT);
    memory_disk_close(test->disk);
    test->disk = whole;
    memory_disk_zero(test->disk, SEGMENT_3, 0, 4096);
    assert_int_equal(test_log_try_open(test), ERR_CORRUPT);
    assert_string_equal(test->recovery.file.text, SEGMENT_3);
}

static void hard_state_survives_the_segment_that_carried_it(void **state)
{
    struct test_log *test = *state;

    test_log_stage(test, 1, 1, 100, "term 6");
    test_log_settle(test);
    test_log_stage(test, 2, 1, RECORD_SIZE, "term 7");
    test_log_settle(test);
    append_segments(test, 2);
    test_log_drop(test, 2 * PER_SEGMENT);
    test_log_settle(test);
    assert_false(is_there(test, SEGMENT_1));
    memory_disk_flip_bit(test->disk, "raft-state", 600);
    test_log_restart(test);

    assert_true(test->recovery.state_repaired);
    assert_memory_equal(test->recovery.hard_state.data, "term 7", 6);
}

/* Until the cut is durable, a crash brings back what it cuts off. */
static void records_that_a_cut_in_flight_takes_away_are_kept(void **state)
{
    struct test_log *test = *state;

    append_segments(test, 1);
    test_log_append(test, 1, RECORD_SIZE);
    test_log_append(test, 1, RECORD_SIZE);
    test_log_stage(test, PER_SEGMENT, 1, 100, NULL);
    test_log_flush(test);
    test_log_drop(test, PER_SEGMENT - 1);
    while (memory_disk_head(test->disk, DISK_LANE_BACKGROUND) != NULL) {
        struct disk_completion completion;

        assert_true(memory_disk_complete_lane(test->disk, DISK_LANE_BACKGROUND, &completion));
        assert_true(log_complete(test->log, &completion));
        log_flush(test->log);
    }
    assert_true(is_there(test, SEGMENT_1));
    test_log_restart(test);
    assert_int_equal(log_last_index(test->log), PER_SEGMENT + 2);
    assert_true(test_log_matches(test, &test->durable));
}

static void dropped_then_cut_in_a_later_segment_begins_at_the_cut(void **state)
{
    struct test_log *test = *state;

    append_segments(test, 1);
    test_log_append(test, 1, RECORD_SIZE);
    test_log_append(test, 6, 100);
    test_log_stage(test, PER_SEGMENT + 1, 1, 100, NULL);
    test_log_settle(test);
    test_log_drop(test, PER_SEGMENT);
    test_log_settle(test);
    test_log_restart(test);

    assert_int_equal(test->recovery.first_index, PER_SEGMENT + 1);
    assert_true(test_log_matches(test, &test->durable));
}

static void failed_removal_is_final_and_opening_again_works(void **state)
{
    struct test_log *test = *state;

    append_segments(test, 3);
    test_log_drop(test, 2 * PER_SEGMENT);
    memory_disk_fail(test->disk, 1, ERR_IO);
    test_log_settle(test);

    assert_int_equal(log_error(test->log), ERR_IO);
    test_log_restart(test);
    assert_true(test_log_matches(test, &test->durable));
    test_log_drop(test, 2 * PER_SEGMENT);
    test_log_settle(test);
    assert_false(is_there(test, SEGMENT_2));
}

static void dropping_makes_room_in_a_log_of_few_segments(void **state)
{
    struct log_options options = test_log_options();
    (void)state;
    options.segment_count_max = 3;
    struct test_log *test = test_log_open(&options);

    append_segments(test, 3);
    assert_true(log_stage_room(test->log) < RECORD_SIZE);
    test_log_drop(test, PER_SEGMENT);
    assert_true(log_stage_room(test->log) >= RECORD_SIZE);
    append_segments(test, 1);

    assert_int_equal(log_error(test->log), ERR_OK);
    assert_true(is_there(test, SEGMENT_4));
    assert_false(is_there(test, SEGMENT_1));
    test_log_restart(test);
    assert_true(test_log_matches(test, &test->durable));
    test_log_close(test);
}

static void dropping_makes_room_on_a_full_disk(void **state)
{
    struct test_log *test = *state;

    append_segments(test, 2);
    memory_disk_limit(test->disk, 3 * TEST_SEGMENT_SIZE + (8 << 10));
    append_segments(test, 1);
    assert_true(log_space_is_short(test->log));
    test_log_drop(test, PER_SEGMENT);
    test_log_settle(test);
    append_segments(test, 1);

    assert_int_equal(log_error(test->log), ERR_OK);
    assert_false(is_there(test, SEGMENT_1));
    assert_true(is_there(test, SEGMENT_4));
}

/* Records of random sizes for ever; a drop now and then. The bytes are not looked at. */
static void endless_writes_with_drops_keep_the_folder_bounded(void **state)
{
    struct log_options options = test_log_options();
    static uint8_t record[4000];
    struct prng prng;
    uint32_t file_count_max = 0;
    (void)state;

    options.segment_count_max = 4;
    struct test_log *test = test_log_open(&options);

    prng_init(&prng, 5);
    for (unsigned i = 0; i < 20000; i++) {
        uint32_t size = (uint32_t)prng_between(&prng, 4, sizeof(record));

        if (log_stage_room(test->log) < size) {
            log_drop(test->log, log_last_index(test->log) - prng_below(&prng, 8));
        }
        assert_true(log_stage_room(test->log) >= size);
        store_u32(record, size);
        log_stage(test->log, log_last_index(test->log) + 1, 1, bytes_of(record, size),
                  bytes_of(NULL, 0), bytes_of(NULL, 0));
        test_log_settle(test);
        assert_int_equal(log_error(test->log), ERR_OK);
        uint32_t file_count = memory_disk_file_count(test->disk);
        file_count_max = file_count > file_count_max ? file_count : file_count_max;
    }
    assert_int_equal(file_count_max, 4 + 1);
    /* Their numbers have gone on: none was used twice. */
    const char *newest = memory_disk_file_name(test->disk, memory_disk_file_count(test->disk) - 2);
    assert_true(strtoull(newest + strlen("raft-"), NULL, 16) > 500);
    log_index last = log_last_index(test->log);
    assert_int_equal(test_log_try_open(test), ERR_OK);
    assert_int_equal(log_last_index(test->log), last);
    assert_int_equal(test->recovery.verdict, LOG_CLEAN);
    test_log_close(test);
}

/* Drops along a life, with a crash behind each of its requests in turn. */
static void crash_at_every_request_never_revives_what_was_dropped(void **state)
{
    bool has_ended = false;
    unsigned began_late_count = 0;
    (void)state;

    for (unsigned crash_at = 1; !has_ended; crash_at++) {
        struct log_options options = test_log_options();
        struct test_log *test = test_log_open(&options);
        unsigned completed = 0;

        for (unsigned i = 0; i < 90 && completed < crash_at; i++) {
            log_index last = log_last_index(test->log);
            log_index safe = test_log_safe_index(test);

            test_log_stage(test, i % 9 == 8 ? last - 2 : last + 1, 3, 1500, NULL);
            if (i % 5 == 4 && safe > 9) {
                test_log_drop(test, size_min(safe, last - 3) - 3);
            }
            test_log_flush(test);
            while (completed < crash_at && test_log_complete(test)) {
                completed++;
                test_log_flush(test);
            }
        }
        has_ended = completed < crash_at;
        memory_disk_crash(test->disk, NULL, NULL);
        assert_int_equal(test_log_try_open(test), ERR_OK);
        assert_true(test_log_survived(test));
        began_late_count += test->recovery.first_index > 1;
        test_log_close(test);
    }
    assert_true(began_late_count > 50);
}

int main(void)
{
#define LAW(law) cmocka_unit_test_setup_teardown(law, open_log, close_log)
    const struct CMUnitTest tests[] = {
        LAW(segments_that_hold_only_dropped_records_are_removed),
        LAW(segment_with_one_record_that_is_needed_stays),
        LAW(segment_of_the_newest_batch_is_never_removed),
        LAW(segments_are_removed_one_at_a_time_and_oldest_first),
        LAW(records_before_the_log_are_missing_at_once),
        LAW(fetch_under_way_is_answered_though_its_segment_goes),
        LAW(gap_between_segments_is_rot),
        LAW(log_that_lost_the_batches_it_began_with_is_rot),
        LAW(hard_state_survives_the_segment_that_carried_it),
        LAW(records_that_a_cut_in_flight_takes_away_are_kept),
        LAW(dropped_then_cut_in_a_later_segment_begins_at_the_cut),
        LAW(failed_removal_is_final_and_opening_again_works),
        cmocka_unit_test(dropping_makes_room_in_a_log_of_few_segments),
        LAW(dropping_makes_room_on_a_full_disk),
        cmocka_unit_test(endless_writes_with_drops_keep_the_folder_bounded),
        cmocka_unit_test(crash_at_every_request_never_revives_what_was_dropped),
    };
#undef LAW
    return cmocka_run_group_tests(tests, NULL, NULL);
}
