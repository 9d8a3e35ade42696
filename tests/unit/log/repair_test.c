/* tests/unit/log/repair_test.c: a log with rot is read, given what it lost, and whole again. */
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
#define SEGMENT_3 "raft-0000000000000003.seg"
#define STATE     "raft-state"

enum { BATCH_1 = 4096, BATCH_2 = 8192, BATCH_3 = 12288, BATCH_4 = 16384, RECORD_SIZE = 9000 };

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

static void flip(struct test_log *test, const char *name, uint64_t offset)
{
    memory_disk_flip_bit(test->disk, name, UINT64_C(8) * offset + 3);
}

static void open_rotten(struct test_log *test)
{
    test->options.accepts_rot = true;
    assert_int_equal(test_log_try_open(test), ERR_OK);
    assert_true(log_is_rotten(test->log));
    assert_int_equal(test->recovery.verdict, LOG_ROTTEN);
    test->options.accepts_rot = false;
}

static void expect_damage(const struct test_log *test, log_index first_index, log_index end_index)
{
    assert_int_equal(log_damage(test->log).first_index, first_index);
    assert_int_equal(log_damage(test->log).end_index, end_index);
    assert_int_equal(test->recovery.damage.first_index, first_index);
    assert_int_equal(test->recovery.damage.end_index, end_index);
}

/* Whole, clean at the second opening, and it goes on. */
static void expect_whole(struct test_log *test)
{
    assert_int_equal(test_log_try_open(test), ERR_OK);
    assert_int_equal(test->recovery.verdict, LOG_CLEAN);
    assert_true(test_log_matches(test, &test->durable));
    test->staged = test->durable;
    test->flight = test->durable;
    test_log_append(test, 2, 400);
    test_log_restart(test);
    assert_true(test_log_matches(test, &test->durable));
}

static void repair_and_expect_whole(struct test_log *test, uint32_t doubt_count)
{
    assert_int_equal(test_log_repair(test, doubt_count), ERR_OK);
    expect_whole(test);
}

/* --- What is lost ---------------------------------------------------------------------------- */

static void records_before_and_behind_the_damage_are_read_and_the_rest_is_refused(void **state)
{
    struct test_log *test = *state;
    struct log_fetched fetched;

    for (unsigned i = 0; i < 3; i++) {
        test_log_append(test, 2, 300);
    }
    flip(test, SEGMENT_1, BATCH_2 + 700);
    open_rotten(test);

    expect_damage(test, 3, 5);
    assert_int_equal(test->recovery.last_index, 2);
    assert_int_equal(log_read_now(test->log, 1, &fetched), ERR_OK);
    assert_int_equal(fetched.record_count, 2);
    assert_true(test_records_match(&test->durable, 1, 2, fetched.records));
    assert_int_equal(log_read_now(test->log, 3, &fetched), ERR_CORRUPT);
    assert_int_equal(log_read_now(test->log, 4, &fetched), ERR_CORRUPT);
    assert_int_equal(log_read_now(test->log, 5, &fetched), ERR_OK);
    assert_int_equal(fetched.record_count, 2);
    assert_true(test_records_match(&test->durable, 5, 2, fetched.records));
    repair_and_expect_whole(test, 0);
}

static void opening_a_log_with_rot_changes_nothing(void **state)
{
    struct test_log *test = *state;

    test_log_make_three_batches(test);
    flip(test, SEGMENT_1, BATCH_2 + 700);
    flip(test, STATE, 4096 + 40);
    struct disk *before = memory_disk_copy(test->disk);

    open_rotten(test);
    assert_true(memory_disk_equal(before, test->disk));
    memory_disk_close(before);
}

static void damage_of_the_last_batch_has_no_known_end(void **state)
{
    struct test_log *test = *state;

    test_log_make_three_batches(test);
    flip(test, SEGMENT_1, BATCH_3 + 700);
    open_rotten(test);

    expect_damage(test, 6, 0);
    repair_and_expect_whole(test, 1);
}

static void damage_of_a_whole_segment_lies_between_its_neighbours(void **state)
{
    struct test_log *test = *state;

    for (unsigned i = 0; i < 11; i++) {
        test_log_append(test, 1, RECORD_SIZE);
    }
    memory_disk_remove(test->disk, SEGMENT_2);
    open_rotten(test);

    expect_damage(test, 5, 9);
    repair_and_expect_whole(test, 0);
}

static void damage_of_an_end_batch_or_a_header_loses_no_record(void **state)
{
    struct test_log *test = *state;

    for (unsigned i = 0; i < 11; i++) {
        test_log_append(test, 1, RECORD_SIZE);
    }
    flip(test, SEGMENT_1, 13 * UINT64_C(4096) + 30);
    open_rotten(test);
    expect_damage(test, 5, 5);
    repair_and_expect_whole(test, 0);
    flip(test, SEGMENT_3, 40);
    open_rotten(test);
    expect_damage(test, 9, 9);
    repair_and_expect_whole(test, 0);
}

static void lost_end_of_the_log_is_damage_when_the_hard_state_came_later(void **state)
{
    struct test_log *test = *state;

    test_log_make_three_batches(test);
    memory_disk_zero(test->disk, SEGMENT_1, BATCH_2, 8192);
    open_rotten(test);

    expect_damage(test, 3, 0);
    assert_true(test->recovery.state_is_certain);
    assert_memory_equal(test->recovery.hard_state.data, "term 2", 6);
    repair_and_expect_whole(test, 0);
}

static void damage_before_a_new_beginning_loses_nothing(void **state)
{
    struct test_log *test = *state;

    test_log_make_three_batches(test);
    test_log_begin_anew(test, 60, "term 4");
    test_log_stage(test, 60, 2, 300, NULL);
    test_log_settle(test);
    flip(test, SEGMENT_1, BATCH_2 + 700);
    open_rotten(test);

    expect_damage(test, 60, 60);
    assert_int_equal(test->recovery.base_index, 60);
    repair_and_expect_whole(test, 0);
}

static void damage_behind_a_new_beginning_counts_whatever_is_damaged_before_it(void **state)
{
    struct test_log *test = *state;

    test_log_make_three_batches(test);
    test_log_begin_anew(test, 60, NULL);
    test_log_settle(test);
    for (unsigned i = 0; i < 3; i++) {
        test_log_append(test, 2, 300);
    }
    flip(test, SEGMENT_1, BATCH_2 + 700);
    flip(test, SEGMENT_1, BATCH_4 + 3 * UINT64_C(4096) + 500);
    open_rotten(test);

    expect_damage(test, 64, 0);
    repair_and_expect_whole(test, 0);
}

static void damage_before_a_new_beginning_in_a_later_segment_loses_nothing(void **state)
{
    struct test_log *test = *state;
    struct disk_completion completion;

    for (unsigned i = 0; i < 7; i++) {
        test_log_append(test, 1, RECORD_SIZE);
    }
    test_log_begin_anew(test, 60, NULL);
    test_log_stage(test, 60, 1, 12000, NULL);
    test_log_flush(test);
    while (memory_disk_complete_lane(test->disk, DISK_LANE_LOG, &completion)) {
        assert_true(log_complete(test->log, &completion));
    }
    test->durable = test->flight;
    memory_disk_crash(test->disk, NULL, NULL);
    flip(test, SEGMENT_1, BATCH_2 + 7000);
    open_rotten(test);

    assert_int_equal(test_log_repair(test, 0), ERR_OK);
    assert_true(test_log_matches(test, &test->durable));
}

static void oldest_segment_without_header_is_given_from_the_snapshot_on(void **state)
{
    struct test_log *test = *state;

    for (unsigned i = 0; i < 11; i++) {
        test_log_append(test, 1, RECORD_SIZE);
    }
    test_log_drop(test, 5);
    test_log_settle(test);
    memory_disk_zero(test->disk, SEGMENT_2, 0, 16384);
    open_rotten(test);
    expect_damage(test, 1, 6);

    /* The snapshot holds everything up to record 5. */
    assert_int_equal(log_repair(test->log, 6, 0, bytes_of(NULL, 0)), ERR_OK);
    assert_int_equal(log_repair_end(test->log, true), ERR_OK);
    assert_int_equal(test_log_try_open(test), ERR_OK);
    assert_int_equal(test->recovery.first_index, 6);
    assert_true(test_log_matches(test, &test->durable));
}

static void log_that_the_leader_has_compacted_begins_anew_behind_its_snapshot(void **state)
{
    struct test_log *test = *state;

    for (unsigned i = 0; i < 11; i++) {
        test_log_append(test, 1, RECORD_SIZE);
    }
    flip(test, SEGMENT_1, BATCH_1 + 4 * UINT64_C(4096));
    open_rotten(test);
    assert_int_equal(log_repair(test->log, 500, 0, bytes_of(NULL, 0)), ERR_OK);
    assert_int_equal(log_repair_end(test->log, false), ERR_OK);

    assert_int_equal(test_log_try_open(test), ERR_OK);
    assert_int_equal(test->recovery.verdict, LOG_CLEAN);
    assert_int_equal(test->recovery.base_index, 500);
    assert_int_equal(log_first_index(test->log), 500);
    assert_int_equal(log_last_index(test->log), 499);
}

/* --- Hard state ------------------------------------------------------------------------------ */

static void hard_state_is_certain_when_both_of_its_blocks_are_whole(void **state)
{
    struct test_log *test = *state;

    test_log_make_three_batches(test);
    flip(test, SEGMENT_1, BATCH_3 + 700);
    open_rotten(test);
    assert_true(test->recovery.state_is_certain);
    assert_memory_equal(test->recovery.hard_state.data, "term 2", 6);
    flip(test, STATE, 70);
    open_rotten(test);

    assert_false(test->recovery.state_is_certain);
    assert_memory_equal(test->recovery.hard_state.data, "term 1", 6);
}

static void hard_state_is_certain_when_the_end_of_the_log_is_whole(void **state)
{
    struct test_log *test = *state;

    test_log_make_three_batches(test);
    flip(test, SEGMENT_1, BATCH_2 + 700);
    flip(test, STATE, 70);
    open_rotten(test);

    assert_true(test->recovery.state_is_certain);
    assert_memory_equal(test->recovery.hard_state.data, "term 2", 6);
    repair_and_expect_whole(test, 0);
}

static void hard_state_file_that_contradicts_itself_is_refused_all_the_same(void **state)
{
    struct test_log *test = *state;

    test_log_make_three_batches(test);
    flip(test, STATE, 70);
    flip(test, STATE, 4096 + 70);
    test->options.accepts_rot = true;

    assert_int_equal(test_log_try_open(test), ERR_CORRUPT);
    assert_string_equal(test->recovery.file.text, STATE);
}

/* --- Repair ---------------------------------------------------------------------------------- */

static void every_flipped_bit_of_three_batches_is_repaired(void **state)
{
    (void)state;
    struct log_options options = test_log_options();
    options.segment_size = 24 << 10;
    struct test_log *test = test_log_open(&options);

    test_log_make_three_batches(test);
    struct disk *whole = test->disk;
    for (uint64_t bit = 0; bit < UINT64_C(8) * BATCH_4; bit++) {
        test->disk = memory_disk_copy(whole);
        memory_disk_flip_bit(test->disk, SEGMENT_1, bit);
        open_rotten(test);
        assert_true(test->recovery.state_is_certain);
        assert_int_equal(test_log_repair(test, 2), ERR_OK);
        assert_int_equal(test->recovery.verdict, LOG_CLEAN);
        assert_true(test_log_matches(test, &test->durable));
        memory_disk_close(test->disk);
    }
    test->disk = whole;
    test_log_close(test);
}

static void
cut_that_was_damaged_is_found_by_whoever_begins_at_the_last_committed_record(void **state)
{
    struct test_log *test = *state;

    test_log_append(test, 4, 200);
    test_log_stage(test, 3, 4, 200, NULL); /* Cuts off 3 and 4. */
    test_log_settle(test);
    test_log_append(test, 1, 200);
    flip(test, SEGMENT_1, BATCH_2 + 600);
    open_rotten(test);
    expect_damage(test, 5, 7);
    /* Records 3 and 4 in front of the damage look good, and are not the log's any more. */
    repair_and_expect_whole(test, 2);
}

static void own_records_behind_the_damage_give_way_to_others(void **state)
{
    struct test_log *test = *state;

    for (unsigned i = 0; i < 11; i++) {
        test_log_append(test, 1, RECORD_SIZE);
    }
    flip(test, SEGMENT_1, BATCH_1 + 4 * UINT64_C(4096));
    open_rotten(test);
    expect_damage(test, 2, 3);
    /* The leader's log ends with record 3, and that is another one than ours. */
    struct test_model other = test->durable;

    other.last_index = 3;
    other.records[2] = (struct test_record){.version = 9001, .size = 500};
    other.records[3] = (struct test_record){.version = 9002, .size = 700};
    assert_int_equal(log_repair(test->log, 2, 2, test_records_make(test, &other, 2, 2)), ERR_OK);
    assert_int_equal(log_repair_end(test->log, false), ERR_OK);
    test->durable = other;
    expect_whole(test);
    assert_int_equal(memory_disk_file(test->disk, "raft-removed").size, 0);
    assert_int_equal(memory_disk_file(test->disk, "raft-repair").size, 0);
}

static void leftovers_of_a_repair_are_removed(void **state)
{
    struct test_log *test = *state;
    static const uint8_t bytes[4096];

    memory_disk_put(test->disk, "raft-repair", bytes_of(bytes, sizeof(bytes)));
    memory_disk_put(test->disk, "raft-removed", bytes_of(bytes, sizeof(bytes)));
    test_log_restart(test);
    test_log_settle(test);

    assert_int_equal(memory_disk_file(test->disk, "raft-repair").size, 0);
    assert_int_equal(memory_disk_file(test->disk, "raft-removed").size, 0);
}

static void records_at_a_wrong_index_or_not_whole_are_refused(void **state)
{
    struct test_log *test = *state;
    const struct test_model *model = &test->durable;

    for (unsigned i = 0; i < 4; i++) {
        test_log_append(test, 2, 300);
    }
    flip(test, SEGMENT_1, BATCH_2 + 700);
    open_rotten(test);
    expect_damage(test, 3, 5);

    struct bytes records = test_records_make(test, model, 1, 1);
    assert_int_equal(log_repair(test->log, 0, 1, records), ERR_INVALID);
    records = test_records_make(test, model, 3, 1);
    records.size--;
    assert_int_equal(log_repair(test->log, 3, 1, records), ERR_INVALID);
    records = test_records_make(test, model, 3, 1);
    assert_int_equal(log_repair(test->log, 3, 1, records), ERR_OK);
    assert_int_equal(log_repair(test->log, 3, 1, records), ERR_INVALID);
    assert_int_equal(log_repair_end(test->log, true), ERR_INVALID);
    repair_and_expect_whole(test, 0);
}

static void more_than_the_copy_holds_is_refused_and_what_fits_is_kept(void **state)
{
    struct test_log *test = *state;

    for (unsigned i = 0; i < 9; i++) {
        test_log_append(test, 1, RECORD_SIZE);
    }
    test_log_stage(test, 10, 30, 100, "term 1");
    test_log_settle(test);
    memory_disk_zero(test->disk, SEGMENT_3, 4096, 8192);
    flip(test, SEGMENT_3, 9000);
    open_rotten(test);
    log_index index = log_damage(test->log).first_index;
    enum error error = ERR_OK;
    uint32_t count = 0;

    /* A leader with far more than this segment ever had. */
    while (error == ERR_OK && count < 1000) {
        uint8_t record[5000] = {0};

        store_u32(record, sizeof(record));
        error = log_repair(test->log, index + count, 1, bytes_of(record, sizeof(record)));
        count += error == ERR_OK;
    }
    assert_int_equal(error, ERR_FULL);
    assert_true(count >= 10);
    assert_int_equal(log_repair_end(test->log, false), ERR_OK);
    assert_int_equal(test_log_try_open(test), ERR_OK);
    assert_int_equal(log_last_index(test->log), index + count - 1);
}

static void nth_operation_of_a_repair_fails_and_it_begins_again(void **state)
{
    bool was_hit = true;
    (void)state;

    for (uint64_t nth = 1; was_hit; nth++) {
        struct log_options options = test_log_options();
        struct test_log *test = test_log_open(&options);

        for (unsigned i = 0; i < 11; i++) {
            test_log_append(test, 1, RECORD_SIZE);
        }
        flip(test, SEGMENT_1, BATCH_1 + 4 * UINT64_C(4096));
        flip(test, SEGMENT_3, 4096 + 700);
        uint64_t before = memory_disk_operation_count(test->disk);
        enum error planned = nth % 2 == 0 ? ERR_IO : ERR_NO_SPACE;

        memory_disk_fail(test->disk, nth, planned);
        enum error error = test_log_repair(test, 0);
        was_hit = memory_disk_operation_count(test->disk) >= before + nth;
        memory_disk_fail(test->disk, 0, ERR_OK);

        assert_true(error == ERR_OK || error == planned);
        repair_and_expect_whole(test, 0);
        test_log_close(test);
    }
}

int main(void)
{
#define LAW(law) cmocka_unit_test_setup_teardown(law, open_log, close_log)
    const struct CMUnitTest tests[] = {
        LAW(records_before_and_behind_the_damage_are_read_and_the_rest_is_refused),
        LAW(opening_a_log_with_rot_changes_nothing),
        LAW(damage_of_the_last_batch_has_no_known_end),
        LAW(damage_of_a_whole_segment_lies_between_its_neighbours),
        LAW(damage_of_an_end_batch_or_a_header_loses_no_record),
        LAW(lost_end_of_the_log_is_damage_when_the_hard_state_came_later),
        LAW(damage_before_a_new_beginning_loses_nothing),
        LAW(damage_behind_a_new_beginning_counts_whatever_is_damaged_before_it),
        LAW(damage_before_a_new_beginning_in_a_later_segment_loses_nothing),
        LAW(oldest_segment_without_header_is_given_from_the_snapshot_on),
        LAW(log_that_the_leader_has_compacted_begins_anew_behind_its_snapshot),
        LAW(hard_state_is_certain_when_both_of_its_blocks_are_whole),
        LAW(hard_state_is_certain_when_the_end_of_the_log_is_whole),
        LAW(hard_state_file_that_contradicts_itself_is_refused_all_the_same),
        cmocka_unit_test(every_flipped_bit_of_three_batches_is_repaired),
        LAW(cut_that_was_damaged_is_found_by_whoever_begins_at_the_last_committed_record),
        LAW(own_records_behind_the_damage_give_way_to_others),
        LAW(leftovers_of_a_repair_are_removed),
        LAW(records_at_a_wrong_index_or_not_whole_are_refused),
        LAW(more_than_the_copy_holds_is_refused_and_what_fits_is_kept),
        cmocka_unit_test(nth_operation_of_a_repair_fails_and_it_begins_again),
    };
#undef LAW
    return cmocka_run_group_tests(tests, NULL, NULL);
}
