/* tests/unit/log/recover_test.c: rot, and foreign, stale and missing files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "log/format.h"
#include "log/hard_state.h"
#include "log/log.h"
#include "tests/support/log/memory_disk.h"
#include "tests/support/log/test_log.h"

#define SEGMENT_1 "raft-0000000000000001.seg"
#define SEGMENT_2 "raft-0000000000000002.seg"
#define SEGMENT_3 "raft-0000000000000003.seg"
#define STATE     "raft-state"

enum { BATCH_1 = 4096, BATCH_2 = 8192, BATCH_3 = 12288, BATCH_4 = 16384 };

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

/* Damages a copy, opens it, and takes the copy away again. */
struct trial {
    struct test_log *test;
    struct disk *whole;
};

static void trial_begin(struct trial *trial, struct test_log *test)
{
    trial->test = test;
    trial->whole = test->disk;
    test->disk = memory_disk_copy(test->disk);
}

static void trial_end(struct trial *trial)
{
    memory_disk_close(trial->test->disk);
    trial->test->disk = trial->whole;
}

/* --- Rot ------------------------------------------------------------------------------------- */

/* Opens the damaged disk. Whatever is granted must be a prefix of the truth. */
static enum error open_damaged(struct test_log *test)
{
    enum error error = test_log_try_open(test);

    if (error != ERR_OK) {
        assert_null(test->log);
        return error;
    }
    for (log_index index = 1; index <= log_last_index(test->log);) {
        struct log_fetched fetched;

        assert_int_equal(log_read_now(test->log, index, &fetched), ERR_OK);
        assert_true(
            test_records_match(&test->durable, index, fetched.record_count, fetched.records));
        index += fetched.record_count;
    }
    return error;
}

static void every_flipped_bit_of_the_log_is_reported(void **state)
{
    (void)state;
    struct log_options options = test_log_options();
    options.segment_size = 24 << 10;
    struct test_log *test = test_log_open(&options);

    test_log_make_three_batches(test);
    for (uint64_t bit = 0; bit < UINT64_C(8) * BATCH_4; bit++) {
        memory_disk_flip_bit(test->disk, SEGMENT_1, bit);
        assert_int_equal(open_damaged(test), ERR_CORRUPT);
        assert_int_equal(test->recovery.verdict, LOG_ROTTEN);
        assert_string_equal(test->recovery.file.text, SEGMENT_1);
        memory_disk_flip_bit(test->disk, SEGMENT_1, bit);
    }
    test_log_restart(test);
    assert_true(test_log_matches(test, &test->durable));
    test_log_close(test);
}

static void flipped_bit_behind_the_log_costs_no_record(void **state)
{
    struct test_log *test = *state;

    test_log_make_three_batches(test);
    for (uint64_t bit = UINT64_C(8) * BATCH_4; bit < UINT64_C(8) * TEST_SEGMENT_SIZE; bit += 37) {
        memory_disk_flip_bit(test->disk, SEGMENT_1, bit);
        enum error error = open_damaged(test);

        /* One sector that is not zero may be all that came of a write, or rot: the first is cut
         * off, and where it cannot be, the second is reported. */
        if (error == ERR_OK) {
            assert_int_equal(test->recovery.verdict, LOG_TORN);
            assert_int_equal(log_last_index(test->log), test->durable.last_index);
        } else {
            assert_int_equal(error, ERR_CORRUPT);
            memory_disk_flip_bit(test->disk, SEGMENT_1, bit);
        }
    }
    test_log_restart(test);
    assert_int_equal(test->recovery.verdict, LOG_CLEAN);
    assert_true(test_log_matches(test, &test->durable));
}

static void every_flipped_bit_of_the_hard_state_file_is_repaired(void **state)
{
    struct test_log *test = *state;
    uint8_t whole[LOG_STATE_FILE_SIZE];

    test_log_make_three_batches(test);
    memcpy(whole, memory_disk_file(test->disk, STATE).data, sizeof(whole));
    for (uint64_t bit = 0; bit < UINT64_C(8) * LOG_STATE_FILE_SIZE; bit++) {
        memory_disk_flip_bit(test->disk, STATE, bit);
        test_log_restart(test);

        assert_true(test->recovery.state_repaired);
        assert_int_equal(test->recovery.hard_state.size, 6);
        assert_memory_equal(test->recovery.hard_state.data, "term 2", 6);
        memory_disk_put(test->disk, STATE, bytes_of(whole, sizeof(whole)));
    }
    assert_true(test_log_matches(test, &test->durable));
}

static void repair_of_the_hard_state_file_is_done_once(void **state)
{
    struct test_log *test = *state;

    test_log_make_three_batches(test);
    struct bytes file = memory_disk_file(test->disk, STATE);
    uint8_t whole[LOG_STATE_FILE_SIZE];

    memcpy(whole, file.data, sizeof(whole));
    /* Generation 2, the newest, is in block 0: its copy in the batches mends it. */
    memory_disk_flip_bit(test->disk, STATE, 300);
    test_log_restart(test);
    assert_true(test->recovery.state_repaired);
    test_log_restart(test);
    assert_false(test->recovery.state_repaired);
    assert_memory_equal(test->recovery.hard_state.data, "term 2", 6);
    assert_memory_equal(memory_disk_file(test->disk, STATE).data + 4096, whole + 4096, 4096);
}

static void damage_leaves_the_disk_as_it_was(void **state)
{
    struct test_log *test = *state;
    struct trial trial;

    test_log_make_three_batches(test);
    memory_disk_flip_bit(test->disk, SEGMENT_1, BATCH_2 * 8 + 3000);
    memory_disk_flip_bit(test->disk, STATE, 100);
    trial_begin(&trial, test);

    assert_int_equal(test_log_try_open(test), ERR_CORRUPT);
    assert_true(memory_disk_equal(trial.whole, test->disk));
    trial_end(&trial);
}

static void rot_is_reported_with_its_place_and_the_last_good_record(void **state)
{
    struct test_log *test = *state;

    test_log_make_three_batches(test);
    memory_disk_flip_bit(test->disk, SEGMENT_1, (BATCH_2 + 700) * 8);

    assert_int_equal(test_log_try_open(test), ERR_CORRUPT);
    assert_int_equal(test->recovery.offset, BATCH_2);
    assert_int_equal(test->recovery.last_index, 2);
    assert_int_equal(test->recovery.batch_count, 1);
    /* The newest hard state is told although the batches that carry it are behind the damage. */
    assert_memory_equal(test->recovery.hard_state.data, "term 2", 6);
}

static void zeroed_sectors_before_a_later_batch_are_rot(void **state)
{
    struct test_log *test = *state;

    test_log_make_three_batches(test);
    for (uint32_t offset = BATCH_1; offset < BATCH_3; offset += 512) {
        struct trial trial;

        trial_begin(&trial, test);
        bool is_zero = log_is_zero(memory_disk_file(test->disk, SEGMENT_1).data + offset, 512);
        memory_disk_zero(test->disk, SEGMENT_1, offset, 512);
        assert_int_equal(open_damaged(test), is_zero ? ERR_OK : ERR_CORRUPT);
        trial_end(&trial);
    }
}

static void zeroed_batch_before_a_later_batch_is_rot(void **state)
{
    struct test_log *test = *state;

    test_log_make_three_batches(test);
    memory_disk_zero(test->disk, SEGMENT_1, BATCH_2, 4096);

    assert_int_equal(open_damaged(test), ERR_CORRUPT);
}

static void zeroed_end_of_a_segment_before_a_later_segment_is_rot(void **state)
{
    struct test_log *test = *state;

    for (unsigned i = 0; i < 10; i++) {
        test_log_append(test, 1, 9000);
    }
    memory_disk_zero(test->disk, SEGMENT_1, 4096 * 10, TEST_SEGMENT_SIZE - 4096 * 10);

    assert_int_equal(open_damaged(test), ERR_CORRUPT);
    assert_string_equal(test->recovery.file.text, SEGMENT_1);
}

static void zeroed_header_of_a_begun_segment_is_rot(void **state)
{
    struct test_log *test = *state;

    for (unsigned i = 0; i < 10; i++) {
        test_log_append(test, 1, 9000);
    }
    memory_disk_zero(test->disk, SEGMENT_2, 0, 4096);

    assert_int_equal(open_damaged(test), ERR_CORRUPT);
    assert_string_equal(test->recovery.file.text, SEGMENT_2);
}

static void lost_end_of_the_log_is_rot_when_a_hard_state_came_later(void **state)
{
    struct test_log *test = *state;

    test_log_make_three_batches(test);
    /* All of the last two batches reads as zeros: only the hard state file knows better. */
    memory_disk_zero(test->disk, SEGMENT_1, BATCH_2, 8192);

    assert_int_equal(open_damaged(test), ERR_CORRUPT);
    assert_string_equal(test->recovery.file.text, STATE);
}

static void damage_and_a_zeroed_sector_in_the_last_batch_are_rot(void **state)
{
    struct test_log *test = *state;

    test_log_append(test, 3, 1000);
    memory_disk_zero(test->disk, SEGMENT_1, BATCH_1 + 1024, 512);
    memory_disk_flip_bit(test->disk, SEGMENT_1, (BATCH_1 + 2048) * 8);

    assert_int_equal(open_damaged(test), ERR_CORRUPT);
}

static void bytes_behind_a_torn_batch_are_rot(void **state)
{
    struct test_log *test = *state;

    test_log_append(test, 3, 1000);
    memory_disk_zero(test->disk, SEGMENT_1, BATCH_1 + 1024, 512);
    memory_disk_flip_bit(test->disk, SEGMENT_1, (BATCH_2 + 2048) * 8);

    assert_int_equal(open_damaged(test), ERR_CORRUPT);
}

static void both_hard_state_blocks_damaged_is_rot(void **state)
{
    struct test_log *test = *state;

    test_log_make_three_batches(test);
    memory_disk_flip_bit(test->disk, STATE, 500);
    memory_disk_zero(test->disk, STATE, 4096, 4096);

    assert_int_equal(open_damaged(test), ERR_CORRUPT);
    assert_string_equal(test->recovery.file.text, STATE);
}

static void missing_hard_state_file_is_rot_once_there_was_a_hard_state(void **state)
{
    struct test_log *test = *state;

    test_log_append(test, 1, 100);
    memory_disk_remove(test->disk, STATE);
    test_log_restart(test);
    test_log_make_three_batches(test);
    memory_disk_remove(test->disk, STATE);

    assert_int_equal(open_damaged(test), ERR_CORRUPT);
}

/* --- Foreign, stale and missing files -------------------------------------------------------- */

static void foreign_cluster_is_refused(void **state)
{
    struct test_log *test = *state;

    test_log_make_three_batches(test);
    test->options.cluster[15] ^= 1;

    assert_int_equal(test_log_try_open(test), ERR_WRONG_CLUSTER);
    assert_int_not_equal(test->recovery.verdict, LOG_ROTTEN);
}

static void foreign_incarnation_is_refused(void **state)
{
    struct test_log *test = *state;

    test_log_make_three_batches(test);
    test->options.incarnation++;

    assert_int_equal(test_log_try_open(test), ERR_WRONG_NODE);
}

/* Puts a sealed copy of the first batch, changed by the caller, where it was. */
static void put_first_batch(struct test_log *test, uint8_t block[4096])
{
    struct bytes file = memory_disk_file(test->disk, SEGMENT_1);
    static uint8_t copy[TEST_SEGMENT_SIZE];

    memcpy(copy, file.data, file.size);
    memcpy(copy + BATCH_1, block, 4096);
    memory_disk_put(test->disk, SEGMENT_1, bytes_of(copy, file.size));
}

static void reserved_kind_of_batch_is_refused_as_another_version(void **state)
{
    struct test_log *test = *state;
    struct log_place place = {.segment = 1, .offset = BATCH_1};
    struct log_batch_header header;
    uint8_t block[4096];

    test_log_append(test, 1, 100);
    memcpy(block, memory_disk_file(test->disk, SEGMENT_1).data + BATCH_1, sizeof(block));
    assert_int_equal(log_batch_decode(block, place, &header), ERR_OK);
    header.kind = LOG_BATCH_SNAPSHOT_BASE;
    log_batch_seal(block, &header, place);
    put_first_batch(test, block);

    assert_int_equal(test_log_try_open(test), ERR_VERSION);
}

static void missing_segment_is_rot(void **state)
{
    struct test_log *test = *state;

    for (unsigned i = 0; i < 20; i++) {
        test_log_append(test, 1, 9000);
    }
    memory_disk_remove(test->disk, SEGMENT_2);

    assert_int_equal(open_damaged(test), ERR_CORRUPT);
    assert_string_equal(test->recovery.file.text, SEGMENT_2);
}

static void segment_under_another_number_is_rot(void **state)
{
    struct test_log *test = *state;

    for (unsigned i = 0; i < 20; i++) {
        test_log_append(test, 1, 9000);
    }
    memory_disk_put(test->disk, SEGMENT_3, memory_disk_file(test->disk, SEGMENT_2));

    assert_int_equal(open_damaged(test), ERR_CORRUPT);
}

static void segment_of_an_older_life_is_rot(void **state)
{
    struct test_log *test = *state;
    struct log_options options = test_log_options();
    struct test_log *older = test_log_open(&options);

    /* Two disks of the same node that went different ways: a restored backup, for example. */
    for (unsigned i = 0; i < 10; i++) {
        test_log_append(test, 1, 9000);
        test_log_append(older, 1, 8000);
    }
    memory_disk_put(test->disk, SEGMENT_2, memory_disk_file(older->disk, SEGMENT_2));

    assert_int_equal(open_damaged(test), ERR_CORRUPT);
    test_log_close(older);
}

/* Appends until the header of segment 2 is durable and no batch is in it yet. */
static void stop_before_the_first_batch_of_segment_2(struct test_log *test, uint32_t size)
{
    while (log_is_zero(memory_disk_file(test->disk, SEGMENT_1).data + 13 * 4096, 4096) ||
           memory_disk_file(test->disk, SEGMENT_2).size == 0 ||
           log_is_zero(memory_disk_file(test->disk, SEGMENT_2).data, 4096)) {
        if (memory_disk_pending_count(test->disk) == 0) {
            test_log_stage(test, log_last_index(test->log) + 1, 1, size, NULL);
        }
        test_log_flush(test);
        assert_true(test_log_complete(test));
    }
    memory_disk_crash(test->disk, NULL, NULL);
}

static void segment_header_of_another_history_is_rot(void **state)
{
    struct test_log *test = *state;
    struct log_options options = test_log_options();
    struct test_log *other = test_log_open(&options);

    stop_before_the_first_batch_of_segment_2(test, 9000);
    stop_before_the_first_batch_of_segment_2(other, 9001);
    test_log_restart(test);
    assert_int_equal(test->recovery.segment_count, 2);
    memory_disk_put(test->disk, SEGMENT_2, memory_disk_file(other->disk, SEGMENT_2));

    assert_int_equal(open_damaged(test), ERR_CORRUPT);
    assert_string_equal(test->recovery.file.text, SEGMENT_2);
    test_log_close(other);
}

static void segment_missing_behind_an_end_batch_is_rot(void **state)
{
    struct test_log *test = *state;

    stop_before_the_first_batch_of_segment_2(test, 9000);
    memory_disk_remove(test->disk, SEGMENT_2);

    assert_int_equal(open_damaged(test), ERR_CORRUPT);
    assert_string_equal(test->recovery.file.text, SEGMENT_2);
}

static void batch_of_another_history_is_rot(void **state)
{
    struct test_log *test = *state;
    struct log_options options = test_log_options();
    struct test_log *other = test_log_open(&options);
    static uint8_t copy[TEST_SEGMENT_SIZE];

    /* The same indexes at the same places; only the chain tells the second batches apart. */
    test_log_append(test, 1, 100);
    test_log_append(other, 1, 101);
    test_log_append(test, 1, 100);
    test_log_append(other, 1, 100);
    memcpy(copy, memory_disk_file(test->disk, SEGMENT_1).data, sizeof(copy));
    memcpy(copy + BATCH_2, memory_disk_file(other->disk, SEGMENT_1).data + BATCH_2, 4096);
    memory_disk_put(test->disk, SEGMENT_1, bytes_of(copy, sizeof(copy)));

    assert_int_equal(open_damaged(test), ERR_CORRUPT);
    assert_int_equal(test->recovery.offset, BATCH_2);
    test_log_close(other);
}

static void older_copy_of_the_last_segment_is_rot_when_a_hard_state_came_later(void **state)
{
    struct test_log *test = *state;

    test_log_append(test, 2, 500);
    struct disk *backup = memory_disk_copy(test->disk);
    test_log_make_three_batches(test);
    memory_disk_put(test->disk, SEGMENT_1, memory_disk_file(backup, SEGMENT_1));

    assert_int_equal(open_damaged(test), ERR_CORRUPT);
    memory_disk_close(backup);
}

static void segment_cut_short_is_rot(void **state)
{
    struct test_log *test = *state;

    test_log_make_three_batches(test);
    struct bytes file = memory_disk_file(test->disk, SEGMENT_1);
    static const uint64_t sizes[] = {0, 100, 4096, 8192, TEST_SEGMENT_SIZE - 4096};

    for (unsigned i = 0; i < 5; i++) {
        struct trial trial;

        trial_begin(&trial, test);
        memory_disk_put(test->disk, SEGMENT_1, bytes_of(file.data, sizes[i]));
        assert_int_equal(open_damaged(test), ERR_CORRUPT);
        trial_end(&trial);
    }
}

static void another_segment_size_is_refused(void **state)
{
    (void)state;
    struct log_options options = test_log_options();
    struct test_log *test = test_log_open(&options);
    struct log_options other = options;

    other.segment_size = 2 * TEST_SEGMENT_SIZE;
    struct test_log *larger = test_log_open(&other);
    test_log_append(test, 1, 100);
    struct disk *disk = larger->disk;
    larger->disk = test->disk;

    assert_int_equal(test_log_try_open(larger), ERR_INVALID);
    larger->disk = disk;
    test_log_close(larger);
    test_log_close(test);
}

static void more_segments_than_allowed_are_refused(void **state)
{
    struct test_log *test = *state;

    for (unsigned i = 0; i < 20; i++) {
        test_log_append(test, 1, 9000);
    }
    test->options.segment_count_max = 2;

    assert_int_equal(test_log_try_open(test), ERR_FULL);
}

static void larger_batch_than_allowed_is_refused(void **state)
{
    struct test_log *test = *state;

    test_log_append(test, 1, 9000);
    test->options.batch_size_max = 8192;

    assert_int_equal(test_log_try_open(test), ERR_FULL);
}

static void files_of_others_are_left_alone(void **state)
{
    struct test_log *test = *state;

    memory_disk_put(test->disk, "raft-0000000000000002.seg.bad", bytes_of_text("x"));
    memory_disk_put(test->disk, "raft-notes", bytes_of_text("y"));
    memory_disk_put(test->disk, "raft-00000000000000zz.seg", bytes_of_text("z"));
    test_log_make_three_batches(test);
    test_log_restart(test);

    assert_true(test_log_matches(test, &test->durable));
    assert_int_equal(memory_disk_file(test->disk, "raft-notes").size, 1);
}

int main(void)
{
#define LAW(law) cmocka_unit_test_setup_teardown(law, open_log, close_log)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_flipped_bit_of_the_log_is_reported),
        LAW(flipped_bit_behind_the_log_costs_no_record),
        LAW(every_flipped_bit_of_the_hard_state_file_is_repaired),
        LAW(repair_of_the_hard_state_file_is_done_once),
        LAW(damage_leaves_the_disk_as_it_was),
        LAW(rot_is_reported_with_its_place_and_the_last_good_record),
        LAW(zeroed_sectors_before_a_later_batch_are_rot),
        LAW(zeroed_batch_before_a_later_batch_is_rot),
        LAW(zeroed_end_of_a_segment_before_a_later_segment_is_rot),
        LAW(zeroed_header_of_a_begun_segment_is_rot),
        LAW(lost_end_of_the_log_is_rot_when_a_hard_state_came_later),
        LAW(damage_and_a_zeroed_sector_in_the_last_batch_are_rot),
        LAW(bytes_behind_a_torn_batch_are_rot),
        LAW(both_hard_state_blocks_damaged_is_rot),
        LAW(missing_hard_state_file_is_rot_once_there_was_a_hard_state),
        LAW(foreign_cluster_is_refused),
        LAW(foreign_incarnation_is_refused),
        LAW(reserved_kind_of_batch_is_refused_as_another_version),
        LAW(missing_segment_is_rot),
        LAW(segment_under_another_number_is_rot),
        LAW(segment_of_an_older_life_is_rot),
        LAW(segment_header_of_another_history_is_rot),
        LAW(segment_missing_behind_an_end_batch_is_rot),
        LAW(batch_of_another_history_is_rot),
        LAW(older_copy_of_the_last_segment_is_rot_when_a_hard_state_came_later),
        LAW(segment_cut_short_is_rot),
        cmocka_unit_test(another_segment_size_is_refused),
        LAW(more_segments_than_allowed_are_refused),
        LAW(larger_batch_than_allowed_is_refused),
        LAW(files_of_others_are_left_alone),
    };
#undef LAW
    return cmocka_run_group_tests(tests, NULL, NULL);
}
