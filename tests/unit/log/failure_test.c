/* tests/unit/log/failure_test.c: any operation of the disk may fail. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

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

static void full_disk_ends_the_log_with_its_reason(void **state)
{
    struct test_log *test = *state;

    memory_disk_limit(test->disk, TEST_SEGMENT_SIZE + (8 << 10));
    test_log_append(test, 1, 50);

    assert_int_equal(log_error(test->log), ERR_NO_SPACE);
}

/* A life that rolls over, changes the hard state, cuts and reads back. Stops at an error. */
static void run_life(struct test_log *test)
{
    for (unsigned i = 0; i < 30 && log_error(test->log) == ERR_OK; i++) {
        log_index last = log_last_index(test->log);

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
        run_life(test);
        was_hit = log_error(test->log) != ERR_OK;
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
        LAW(full_disk_ends_the_log_with_its_reason),
        cmocka_unit_test(nth_operation_fails_and_nothing_durable_is_lost),
        LAW(nth_operation_of_opening_fails_and_opening_again_works),
        LAW(nth_operation_of_the_first_opening_fails_and_opening_again_works),
    };
#undef LAW
    return cmocka_run_group_tests(tests, NULL, NULL);
}
