/* tests/unit/log/foreign_test.c: foreign, stale and missing files. */
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

enum { BATCH_1 = 4096, BATCH_2 = 8192 };

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

static void unknown_kind_of_batch_is_refused_as_another_version(void **state)
{
    struct test_log *test = *state;
    struct log_place place = {.segment = 1, .offset = BATCH_1};
    struct log_batch_header header;
    uint8_t block[4096];

    test_log_append(test, 1, 100);
    memcpy(block, memory_disk_file(test->disk, SEGMENT_1).data + BATCH_1, sizeof(block));
    assert_int_equal(log_batch_decode(block, place, &header), ERR_OK);
    header.kind = (enum log_batch_kind)(LOG_BATCH_END + 1);
    log_batch_seal(block, &header, place);
    put_first_batch(test, block);

    assert_int_equal(test_log_try_open(test), ERR_VERSION);
}

/* An end batch of a repaired segment may leave out records, but only those that are cut later. */
static void records_that_are_left_out_and_never_cut_are_rot(void **state)
{
    struct test_log *test = *state;
    static uint8_t copy[TEST_SEGMENT_SIZE];
    struct log_place place = {.segment = 1, .offset = BATCH_1};
    struct log_batch_header header;

    test_log_append(test, 2, 100);
    memcpy(copy, memory_disk_file(test->disk, SEGMENT_1).data, sizeof(copy));
    assert_int_equal(log_batch_decode(copy + BATCH_1, place, &header), ERR_OK);
    place.offset = BATCH_2;
    for (log_index next_index = 3; next_index <= 4; next_index++) {
        struct log_batch_header end = {
            .kind = LOG_BATCH_END,
            .sequence = 2,
            .identity = header.identity,
            .first_index = next_index,
            .total_size = 4096,
            .previous_checksum = header.checksum,
            .resume_sequence = 3,
            .resume_checksum = header.checksum,
        };

        log_batch_seal(copy + BATCH_2, &end, place);
        memory_disk_put(test->disk, SEGMENT_1, bytes_of(copy, sizeof(copy)));
        assert_int_equal(test_log_try_open(test), next_index == 3 ? ERR_OK : ERR_CORRUPT);
    }
}

static void missing_segment_is_rot(void **state)
{
    struct test_log *test = *state;

    for (unsigned i = 0; i < 20; i++) {
        test_log_append(test, 1, 9000);
    }
    memory_disk_remove(test->disk, SEGMENT_2);

    assert_int_equal(test_log_open_damaged(test), ERR_CORRUPT);
    assert_string_equal(test->recovery.file.text, SEGMENT_2);
}

static void segment_under_another_number_is_rot(void **state)
{
    struct test_log *test = *state;

    for (unsigned i = 0; i < 20; i++) {
        test_log_append(test, 1, 9000);
    }
    memory_disk_put(test->disk, SEGMENT_3, memory_disk_file(test->disk, SEGMENT_2));

    assert_int_equal(test_log_open_damaged(test), ERR_CORRUPT);
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

    assert_int_equal(test_log_open_damaged(test), ERR_CORRUPT);
    test_log_close(older);
}

/* Appends until the header of segment 2 is durable and no batch is in it yet. */
static void stop_before_the_first_batch_of_segment_2(struct test_log *test, uint32_t size)
{
    while (log_is_zero(memory_disk_file(test->disk, SEGMENT_1).data + (size_t)13 * 4096, 4096) ||
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

    assert_int_equal(test_log_open_damaged(test), ERR_CORRUPT);
    assert_string_equal(test->recovery.file.text, SEGMENT_2);
    test_log_close(other);
}

static void segment_missing_behind_an_end_batch_is_rot(void **state)
{
    struct test_log *test = *state;

    stop_before_the_first_batch_of_segment_2(test, 9000);
    memory_disk_remove(test->disk, SEGMENT_2);

    assert_int_equal(test_log_open_damaged(test), ERR_CORRUPT);
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

    assert_int_equal(test_log_open_damaged(test), ERR_CORRUPT);
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

    assert_int_equal(test_log_open_damaged(test), ERR_CORRUPT);
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
        assert_int_equal(test_log_open_damaged(test), ERR_CORRUPT);
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
        LAW(foreign_cluster_is_refused),
        LAW(foreign_incarnation_is_refused),
        LAW(unknown_kind_of_batch_is_refused_as_another_version),
        LAW(records_that_are_left_out_and_never_cut_are_rot),
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
