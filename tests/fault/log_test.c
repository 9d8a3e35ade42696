/* tests/fault/log_test.c: the n-th operation of the disk fails, for every n, once or from then on:
 * in the life of a log, in its recovery from a crash at any point, and in both. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/prng.h"
#include "log/log.h"
#include "tests/support/log/memory_disk.h"
#include "tests/support/log/test_log.h"

enum { STEP_COUNT = 30, OPERATIONS_MAX = 2000, RECORD_SIZE = 1400 };

/* How an operation fails. */
struct fault {
    enum error error;
    bool goes_on;
};

static const struct fault faults[] = {
    {.error = ERR_IO, .goes_on = false},
    {.error = ERR_IO, .goes_on = true},
    {.error = ERR_NO_SPACE, .goes_on = false},
    {.error = ERR_NO_SPACE, .goes_on = true},
};

static void arm(struct test_log *test, uint64_t nth, const struct fault *fault)
{
    if (fault->goes_on) {
        memory_disk_fail_from(test->disk, nth, fault->error);
    } else {
        memory_disk_fail(test->disk, nth, fault->error);
    }
}

static void heal(struct test_log *test)
{
    memory_disk_fail(test->disk, 0, ERR_OK);
}

/* Rolls over, changes the hard state and cuts. Stops at an error, or when the disk has carried out
 * so many operations: then a batch is in flight, as a crash finds it. */
static void run_life(struct test_log *test, uint64_t operations_max)
{
    for (unsigned i = 0; i < STEP_COUNT && log_error(test->log) == ERR_OK; i++) {
        log_index last = log_last_index(test->log);

        if (log_stage_room(test->log) < 3 * RECORD_SIZE) {
            return; /* The disk had no room for the next segment: a caller stops here. */
        }
        const char *hard_state = i % 4 == 0 ? "one" : i % 4 == 2 ? "two" : NULL;

        test_log_stage(test, i % 9 == 8 ? last - 2 : last + 1, 3, RECORD_SIZE, hard_state);
        do {
            test_log_flush(test);
            if (memory_disk_operation_count(test->disk) >= operations_max) {
                return;
            }
        } while (test_log_complete(test));
    }
}

static bool keep_some(void *prng, uint32_t sector)
{
    (void)sector;
    return prng_below(prng, 2) == 0;
}

/* On the healthy disk everything that was durable is there. */
static void assert_recovers(struct test_log *test)
{
    heal(test);
    assert_int_equal(test_log_try_open(test), ERR_OK);
    assert_int_not_equal(test->recovery.verdict, LOG_ROTTEN);
    assert_true(test_log_survived(test));
}

static void an_operation_of_a_life_fails(const struct fault *fault)
{
    struct prng prng;
    uint64_t hits = 0;
    bool was_hit = true;

    prng_init(&prng, 1);
    for (uint64_t nth = 1; was_hit; nth++) {
        struct log_options options = test_log_options();
        struct test_log *test = test_log_open(&options);

        uint64_t before = memory_disk_operation_count(test->disk);
        arm(test, nth, fault);
        run_life(test, OPERATIONS_MAX);
        was_hit = memory_disk_operation_count(test->disk) >= before + nth;
        hits += was_hit ? 1 : 0;
        if (log_error(test->log) != ERR_OK) { /* A full disk is survived while there is room. */
            assert_int_equal(log_error(test->log), fault->error);
        }
        memory_disk_crash(test->disk, keep_some, &prng);
        assert_recovers(test);
        test_log_close(test);
    }

    assert_in_range(hits, STEP_COUNT, OPERATIONS_MAX);
}

static void any_operation_of_a_life_may_fail_and_nothing_durable_is_lost(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        an_operation_of_a_life_fails(&faults[i]);
    }
}

/* Recoveries fail one operation further each time, each beginning with what the last one left. */
static uint64_t fail_recovery(struct test_log *test, const struct fault *fault)
{
    uint64_t hits = 0;
    bool was_hit = true;

    for (uint64_t nth = 1; was_hit; nth++) {
        arm(test, nth, fault);
        enum error error = test_log_try_open(test);
        heal(test);
        was_hit = error != ERR_OK;
        hits += was_hit ? 1 : 0;
        if (was_hit) {
            assert_int_equal(error, fault->error);
        }
    }
    assert_recovers(test);
    return hits;
}

static void any_operation_of_a_recovery_may_fail_after_a_crash_at_any_point(void **state)
{
    struct prng prng;
    uint64_t hits = 0;

    (void)state;
    prng_init(&prng, 2);
    for (uint64_t operations = 3; operations < 90; operations++) {
        const struct fault *fault = &faults[operations % (sizeof(faults) / sizeof(faults[0]))];
        struct log_options options = test_log_options();
        struct test_log *test = test_log_open(&options);

        run_life(test, operations);
        memory_disk_crash(test->disk, keep_some, &prng);
        hits += fail_recovery(test, fault);
        test_log_close(test);
    }

    assert_in_range(hits, 500, 100000);
}

static void a_failure_a_crash_and_a_failing_recovery_together_lose_nothing(void **state)
{
    struct prng prng;

    (void)state;
    prng_init(&prng, 3);
    for (uint64_t nth = 1; nth < 80; nth += 3) {
        const struct fault *fault = &faults[nth % (sizeof(faults) / sizeof(faults[0]))];
        struct log_options options = test_log_options();
        struct test_log *test = test_log_open(&options);

        arm(test, nth, fault);
        run_life(test, OPERATIONS_MAX);
        heal(test);
        memory_disk_crash(test->disk, keep_some, &prng);
        fail_recovery(test, fault);
        test_log_close(test);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_operation_of_a_life_may_fail_and_nothing_durable_is_lost),
        cmocka_unit_test(any_operation_of_a_recovery_may_fail_after_a_crash_at_any_point),
        cmocka_unit_test(a_failure_a_crash_and_a_failing_recovery_together_lose_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
