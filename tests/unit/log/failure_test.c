/* tests/unit/log/failure_test.c: any operation of the disk may fail. */
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

static struct test_log *log_with(struct log_options options)
{
    return test_log_open(&options);
}

static void failed_write_is_final(void **state)
{
    struct test_log *test = *state;
    struct disk_completion completion;

    test_log_append(test, 1, 50);
    uint64_t ticket = test_log_stage(test, 2, 1, 50, NULL);
    test_log_flush(test);
    memory_disk_fail(test->disk, 1, ERR_IO);
    assert_true(memory_disk_complete_lane(test->disk, DISK_LANE_LOG, &completion));
    assert_true(log_complete(test->log, &completion));

    assert_int_equal(log_error(test->log), ERR_IO);
    test_log_stage(test, 3, 1, 50, NULL);
    test_log_settle(test);
    assert_int_equal(memory_disk_pending_count(test->disk), 0);
    assert_int_equal(log_error(test->log), ERR_IO);
    assert_true(log_durable_ticket(test->log) < ticket);
    assert_false(log_fetch(test->log, 1));
}

/* --- A full disk ----------------------------------------------------------------------------- */

enum { ONE_SEGMENT = TEST_SEGMENT_SIZE + (8 << 10) };

static void full_disk_ends_nothing_while_the_segment_has_room(void **state)
{
    struct test_log *test = *state;

    memory_disk_limit(test->disk, ONE_SEGMENT);
    test_log_append(test, 1, 50);

    assert_int_equal(log_error(test->log), ERR_OK);
    assert_true(log_space_is_short(test->log));
    while (log_stage_room(test->log) >= 3000) {
        test_log_append(test, 1, 3000);
        assert_int_equal(log_error(test->log), ERR_OK);
    }
    /* All but the header and the block of the end batch, in batches of one block. */
    assert_int_equal(log_last_index(test->log), TEST_SEGMENT_SIZE / 4096 - 2);
    assert_int_equal(log_durable_ticket(test->log), TEST_SEGMENT_SIZE / 4096 - 2);
    assert_int_equal(memory_disk_pending_count(test->disk), 0);
    test_log_restart(test);
    assert_true(test_log_matches(test, &test->durable));
}

static void short_space_keeps_the_reserve_of_the_last_segment(void **state)
{
    struct test_log *test = *state;

    test_log_append(test, 1, 50);
    assert_int_equal(log_stage_room(test->log), log_stage_room_beside(test->log, 4 * 4096));
    memory_disk_limit(test->disk, 2 * TEST_SEGMENT_SIZE + (8 << 10));
    while (log_counters(test->log).batch_count < 20) {
        test_log_append(test, 1, 3000);
    }

    assert_true(log_space_is_short(test->log));
    assert_true(log_stage_room(test->log) > 0);
    assert_int_equal(log_stage_room_beside(test->log, 15 * 4096), 0);
}

static void batch_that_needs_a_segment_asks_once_more_and_then_ends_the_log(void **state)
{
    struct test_log *test = *state;

    memory_disk_limit(test->disk, ONE_SEGMENT);
    test_log_append(test, 1, 50);
    while (log_stage_room(test->log) != 0) {
        test_log_append(test, 1, 100);
    }
    uint64_t before = memory_disk_operation_count(test->disk);
    test_log_stage(test, log_last_index(test->log) + 1, 0, 0, "vote");
    test_log_settle(test);

    assert_int_equal(memory_disk_operation_count(test->disk), before + 1);
    assert_int_equal(log_error(test->log), ERR_NO_SPACE);
    memory_disk_limit(test->disk, UINT64_MAX);
    test_log_restart(test);
    assert_true(test_log_matches(test, &test->durable));
}

static void batch_that_needs_a_segment_goes_on_when_the_disk_has_room_again(void **state)
{
    struct test_log *test = *state;

    memory_disk_limit(test->disk, ONE_SEGMENT);
    test_log_append(test, 1, 50);
    while (log_stage_room(test->log) != 0) {
        test_log_append(test, 1, 100);
    }
    memory_disk_limit(test->disk, UINT64_MAX);
    uint64_t ticket = test_log_stage(test, log_last_index(test->log) + 1, 0, 0, "vote");
    test_log_settle(test);

    assert_int_equal(log_error(test->log), ERR_OK);
    assert_int_equal(log_durable_ticket(test->log), ticket);
    assert_false(log_space_is_short(test->log));
}

static void short_space_ends_when_the_caller_lets_the_log_ask_again(void **state)
{
    struct test_log *test = *state;

    memory_disk_limit(test->disk, ONE_SEGMENT);
    test_log_append(test, 1, 50);
    memory_disk_limit(test->disk, UINT64_MAX);
    test_log_append(test, 1, 50);
    assert_true(log_space_is_short(test->log));
    log_space_retry(test->log);
    test_log_settle(test);

    assert_false(log_space_is_short(test->log));
    assert_int_equal(log_stage_room(test->log), log_batch_body_capacity(TEST_BATCH_SIZE_MAX));
}

static void filling_that_fails_otherwise_is_final(void **state)
{
    struct test_log *test = *state;

    test_log_flush(test);
    memory_disk_fail(test->disk, 1, ERR_IO);
    test_log_settle(test);

    assert_int_equal(log_error(test->log), ERR_IO);
}

/* --- The n-th operation ---------------------------------------------------------------------- */

/* A life that rolls over, changes the hard state, cuts and reads back. Stops at an error. */
static void run_life(struct test_log *test)
{
    for (unsigned i = 0; i < 30 && log_error(test->log) == ERR_OK; i++) {
        log_index last = log_last_index(test->log);

        if (log_stage_room(test->log) < UINT64_C(3) * 1400) {
            log_space_retry(test->log);
            test_log_settle(test);
        }
        test_log_stage(test, i % 9 == 8 ? last - 2 : last + 1, 3, 1400,
                       i % 4 == 0   ? "one"
                       : i % 4 == 2 ? "two"
                                    : NULL);
        test_log_settle(test);
    }
}

static void nth_operation_fails_and_nothing_durable_is_lost(void **state)
{
    (void)state;
    bool was_hit = true;

    for (uint64_t nth = 1; was_hit; nth++) {
        struct log_options options = test_log_options();
        struct test_log *test = log_with(options);

        memory_disk_fail(test->disk, nth, nth % 2 == 0 ? ERR_IO : ERR_NO_SPACE);
        uint64_t before = memory_disk_operation_count(test->disk);
        run_life(test);
        was_hit = memory_disk_operation_count(test->disk) >= before + nth;
        memory_disk_fail(test->disk, 0, ERR_OK);
        memory_disk_crash(test->disk, NULL, NULL);

        assert_int_equal(test_log_try_open(test), ERR_OK);
        assert_int_not_equal(test->recovery.verdict, LOG_ROTTEN);
        assert_true(test_log_survived(test));
        test_log_close(test);
    }
}

static void nth_operation_of_opening_fails_and_opening_again_works(void **state)
{
    struct test_log *test = *state;
    bool was_hit = true;

    run_life(test);
    /* A torn batch, so that opening also writes. */
    uint64_t map = 0x12;
    test_log_stage(test, log_last_index(test->log) + 1, 1, 3000, NULL);
    test_log_flush(test);
    memory_disk_crash(test->disk, test_keep_mapped, &map);
    struct disk *torn = test->disk;

    for (uint64_t nth = 1; was_hit; nth++) {
        test->disk = memory_disk_copy(torn);
        memory_disk_fail(test->disk, nth, ERR_IO);
        enum error error = test_log_try_open(test);
        was_hit = error != ERR_OK;
        memory_disk_fail(test->disk, 0, ERR_OK);

        assert_true(error == ERR_OK || error == ERR_IO);
        assert_int_equal(test_log_try_open(test), ERR_OK);
        assert_int_not_equal(test->recovery.verdict, LOG_ROTTEN);
        assert_true(test_log_matches(test, &test->durable));
        memory_disk_close(test->disk);
    }
    test->disk = torn;
}

static void nth_operation_of_the_first_opening_fails_and_opening_again_works(void **state)
{
    struct test_log *test = *state;
    bool was_hit = true;

    for (uint64_t nth = 1; was_hit; nth++) {
        memory_disk_close(test->disk);
        test->disk = memory_disk_open();
        memory_disk_fail(test->disk, nth, ERR_NO_SPACE);
        was_hit = test_log_try_open(test) != ERR_OK;
        memory_disk_fail(test->disk, 0, ERR_OK);

        assert_int_equal(test_log_try_open(test), ERR_OK);
        assert_int_equal(log_last_index(test->log), 0);
    }
}

int main(void)
{
#define LAW(law) cmocka_unit_test_setup_teardown(law, open_log, close_log)
    const struct CMUnitTest tests[] = {
        LAW(failed_write_is_final),
        LAW(full_disk_ends_nothing_while_the_segment_has_room),
        LAW(short_space_keeps_the_reserve_of_the_last_segment),
        LAW(batch_that_needs_a_segment_asks_once_more_and_then_ends_the_log),
        LAW(batch_that_needs_a_segment_goes_on_when_the_disk_has_room_again),
        LAW(short_space_ends_when_the_caller_lets_the_log_ask_again),
        LAW(filling_that_fails_otherwise_is_final),
        cmocka_unit_test(nth_operation_fails_and_nothing_durable_is_lost),
        LAW(nth_operation_of_opening_fails_and_opening_again_works),
        LAW(nth_operation_of_the_first_opening_fails_and_opening_again_works),
    };
#undef LAW
    return cmocka_run_group_tests(tests, NULL, NULL);
}
