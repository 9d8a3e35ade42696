/* tests/unit/log/recover_test.c: rot is found, reported, and never believed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/prng.h"
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

static void every_flipped_bit_of_the_log_is_reported(void **state)
{
    (void)state;
    struct log_options options = test_log_options();
    options.segment_size = 24 << 10;
    struct test_log *test = test_log_open(&options);

    test_log_make_three_batches(test);
    for (uint64_t bit = 0; bit < UINT64_C(8) * BATCH_4; bit++) {
        memory_disk_flip_bit(test->disk, SEGMENT_1, bit);
        assert_int_equal(test_log_open_damaged(test), ERR_CORRUPT);
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
        enum error error = test_log_open_damaged(test);

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

/* Damages one place of segments 1 and 2 as disks do it: a bit, a lost sector, a lost block, a block
 * of elsewhere (a misdirected write). */
static void damage_somewhere(struct disk *disk, struct prng *prng)
{
    const char *name = prng_below(prng, 2) == 0 ? SEGMENT_1 : SEGMENT_2;
    uint64_t block = prng_below(prng, TEST_SEGMENT_SIZE / 4096) * 4096;
    uint8_t copy[TEST_SEGMENT_SIZE];

    switch (prng_below(prng, 4)) {
    case 0:
        memory_disk_flip_bit(disk, name, prng_below(prng, UINT64_C(8) * TEST_SEGMENT_SIZE));
        return;
    case 1:
        memory_disk_zero(disk, name, prng_below(prng, TEST_SEGMENT_SIZE / 512) * 512, 512);
        return;
    case 2:
        memory_disk_zero(disk, name, block, 4096);
        return;
    default:
        memcpy(copy, memory_disk_file(disk, name).data, sizeof(copy));
        memmove(copy + block,
                memory_disk_file(disk, SEGMENT_2).data +
                    prng_below(prng, TEST_SEGMENT_SIZE / 4096) * 4096,
                4096);
        memory_disk_put(disk, name, bytes_of(copy, sizeof(copy)));
        return;
    }
}

static void damage_in_ended_segments_is_refused_or_harmless(void **state)
{
    struct test_log *test = *state;
    struct prng prng;
    unsigned refused_count = 0;

    prng_init(&prng, 3);
    for (unsigned i = 0; i < 45; i++) {
        test_log_append(test, 1 + i % 3, 1200);
    }
    memory_disk_crash(test->disk, NULL, NULL);
    assert_false(log_is_zero(memory_disk_file(test->disk, SEGMENT_3).data, 4096));
    for (unsigned round = 0; round < 1000; round++) {
        struct trial trial;

        trial_begin(&trial, test);
        damage_somewhere(test->disk, &prng);
        enum error error = test_log_try_open(test);

        /* What is behind an end batch is never read. */
        assert_true(error == ERR_CORRUPT || error == ERR_OK);
        assert_true(error == ERR_CORRUPT || test_log_matches(test, &test->durable));
        refused_count += error == ERR_CORRUPT;
        trial_end(&trial);
    }
    assert_true(refused_count > 700);
}

static void damage_leaves_the_disk_as_it_was(void **state)
{
    struct test_log *test = *state;
    struct trial trial;

    test_log_make_three_batches(test);
    memory_disk_flip_bit(test->disk, SEGMENT_1, UINT64_C(8) * BATCH_2 + 3000);
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
    memory_disk_flip_bit(test->disk, SEGMENT_1, UINT64_C(8) * (BATCH_2 + 700));

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
        assert_int_equal(test_log_open_damaged(test), is_zero ? ERR_OK : ERR_CORRUPT);
        trial_end(&trial);
    }
}

static void zeroed_batch_before_a_later_batch_is_rot(void **state)
{
    struct test_log *test = *state;

    test_log_make_three_batches(test);
    memory_disk_zero(test->disk, SEGMENT_1, BATCH_2, 4096);

    assert_int_equal(test_log_open_damaged(test), ERR_CORRUPT);
}

static void zeroed_end_of_a_segment_before_a_later_segment_is_rot(void **state)
{
    struct test_log *test = *state;

    for (unsigned i = 0; i < 10; i++) {
        test_log_append(test, 1, 9000);
    }
    memory_disk_zero(test->disk, SEGMENT_1, 10 * UINT64_C(4096),
                     TEST_SEGMENT_SIZE - 10 * UINT64_C(4096));

    assert_int_equal(test_log_open_damaged(test), ERR_CORRUPT);
    assert_string_equal(test->recovery.file.text, SEGMENT_1);
}

static void zeroed_header_of_a_begun_segment_is_rot(void **state)
{
    struct test_log *test = *state;

    for (unsigned i = 0; i < 10; i++) {
        test_log_append(test, 1, 9000);
    }
    memory_disk_zero(test->disk, SEGMENT_2, 0, 4096);

    assert_int_equal(test_log_open_damaged(test), ERR_CORRUPT);
    assert_string_equal(test->recovery.file.text, SEGMENT_2);
}

static void lost_end_of_the_log_is_rot_when_a_hard_state_came_later(void **state)
{
    struct test_log *test = *state;

    test_log_make_three_batches(test);
    /* All of the last two batches reads as zeros: only the hard state file knows better. */
    memory_disk_zero(test->disk, SEGMENT_1, BATCH_2, 8192);

    assert_int_equal(test_log_open_damaged(test), ERR_CORRUPT);
    assert_string_equal(test->recovery.file.text, STATE);
}

static void damage_and_a_zeroed_sector_in_the_last_batch_are_rot(void **state)
{
    struct test_log *test = *state;

    test_log_append(test, 3, 1000);
    memory_disk_zero(test->disk, SEGMENT_1, BATCH_1 + 1024, 512);
    memory_disk_flip_bit(test->disk, SEGMENT_1, UINT64_C(8) * (BATCH_1 + 2048));

    assert_int_equal(test_log_open_damaged(test), ERR_CORRUPT);
}

static void bytes_behind_a_torn_batch_are_rot(void **state)
{
    struct test_log *test = *state;

    test_log_append(test, 3, 1000);
    memory_disk_zero(test->disk, SEGMENT_1, BATCH_1 + 1024, 512);
    memory_disk_flip_bit(test->disk, SEGMENT_1, UINT64_C(8) * (BATCH_2 + 2048));

    assert_int_equal(test_log_open_damaged(test), ERR_CORRUPT);
}

static void both_hard_state_blocks_damaged_is_rot(void **state)
{
    struct test_log *test = *state;

    test_log_make_three_batches(test);
    memory_disk_flip_bit(test->disk, STATE, 500);
    memory_disk_zero(test->disk, STATE, 4096, 4096);

    assert_int_equal(test_log_open_damaged(test), ERR_CORRUPT);
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

    assert_int_equal(test_log_open_damaged(test), ERR_CORRUPT);
}

int main(void)
{
#define LAW(law) cmocka_unit_test_setup_teardown(law, open_log, close_log)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_flipped_bit_of_the_log_is_reported),
        LAW(flipped_bit_behind_the_log_costs_no_record),
        LAW(every_flipped_bit_of_the_hard_state_file_is_repaired),
        LAW(repair_of_the_hard_state_file_is_done_once),
        LAW(damage_in_ended_segments_is_refused_or_harmless),
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
    };
#undef LAW
    return cmocka_run_group_tests(tests, NULL, NULL);
}
