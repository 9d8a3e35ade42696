/* tests/unit/log/crash_test.c: recovery after the power failed at any moment. */
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
#define STATE     "raft-state"

enum { BATCH_4 = 16384 }; /* Where the batch behind the first three goes. */

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

/* Completes requests until the next one of the log lane is the batch itself. */
static void advance_to_batch(struct test_log *test)
{
    test_log_flush(test);
    while (memory_disk_head(test->disk, DISK_LANE_LOG) == NULL ||
           memory_disk_head(test->disk, DISK_LANE_LOG)->offset == 0 ||
           strcmp(memory_disk_head(test->disk, DISK_LANE_LOG)->name.text, STATE) == 0) {
        assert_true(test_log_complete(test));
        test_log_flush(test);
    }
}

/* Crashes with these sectors of the write on the disk, and opens. What is found is the truth. */
static void crash_and_open(struct test_log *test, memory_disk_keep *keep, void *context)
{
    memory_disk_crash(test->disk, keep, context);

    assert_int_equal(test_log_try_open(test), ERR_OK);
    assert_int_not_equal(test->recovery.verdict, LOG_ROTTEN);
    assert_true(test_log_survived(test));
    if (test_log_holds_flight(test)) {
        test->durable = test->flight;
    }
    memcpy(test->durable.hard_state, test->recovery.hard_state.data,
           test->recovery.hard_state.size);
    test->durable.hard_state_size = test->recovery.hard_state.size;
    test->staged = test->durable;
    test->flight = test->durable;
}

static void crash_and_go_on(struct test_log *test, memory_disk_keep *keep, void *context)
{
    crash_and_open(test, keep, context);
    test_log_append(test, 1, 700);
    test_log_restart(test);
    assert_int_equal(test->recovery.verdict, LOG_CLEAN);
    assert_true(test_log_matches(test, &test->durable));
}

static void every_sector_prefix_of_a_write_is_clean_or_torn(void **state)
{
    (void)state;
    for (uint32_t kept = 0; kept <= TEST_BATCH_SIZE_MAX / 512; kept++) {
        struct log_options options = test_log_options();
        struct test_log *test = test_log_open(&options);

        test_log_make_three_batches(test);
        test_log_stage(test, 7, 4, 3500, "term 3");
        advance_to_batch(test);
        crash_and_go_on(test, test_keep_first, &kept);
        test_log_close(test);
    }
}

static void every_set_of_sectors_of_a_small_write_is_clean_or_torn(void **state)
{
    (void)state;
    for (uint64_t map = 0; map < 256; map++) {
        struct log_options options = test_log_options();
        struct test_log *test = test_log_open(&options);

        test_log_make_three_batches(test);
        test_log_stage(test, 7, 3, 1000, NULL);
        advance_to_batch(test);
        crash_and_go_on(test, test_keep_mapped, &map);
        test_log_close(test);
    }
}

static void random_sets_of_sectors_of_large_writes_are_clean_or_torn(void **state)
{
    struct prng prng;
    (void)state;

    prng_init(&prng, 1);
    for (unsigned round = 0; round < 400; round++) {
        struct log_options options = test_log_options();
        struct test_log *test = test_log_open(&options);
        uint64_t map = prng_next(&prng) & prng_next(&prng);

        map = round % 2 == 0 ? map : ~map;
        test_log_make_three_batches(test);
        test_log_stage(test, 7, (uint32_t)prng_between(&prng, 1, 10), 1300, "term 3");
        advance_to_batch(test);
        crash_and_go_on(test, test_keep_mapped, &map);
        test_log_close(test);
    }
}

/* A life of many segments with a crash at each of its requests in turn. */
static void crash_at_every_request_of_a_life_loses_nothing_durable(void **state)
{
    struct prng prng;
    bool has_ended = false;
    (void)state;

    prng_init(&prng, 2);
    for (unsigned crash_at = 1; !has_ended; crash_at++) {
        struct log_options options = test_log_options();
        struct test_log *test = test_log_open(&options);
        uint64_t map = prng_next(&prng);
        unsigned completed = 0;

        for (unsigned i = 0; i < 25 && completed < crash_at; i++) {
            log_index last = log_last_index(test->log);

            test_log_stage(test, i % 9 == 8 ? last - 2 : last + 1, 3, 1500,
                           i % 3 == 0 ? "one" : "two");
            test_log_flush(test);
            while (completed < crash_at && test_log_complete(test)) {
                completed++;
                test_log_flush(test);
            }
        }
        has_ended = completed < crash_at;
        crash_and_go_on(test, test_keep_mapped, &map);
        test_log_close(test);
    }
}

/* A snapshot now and then: the log forgets what is in front of it, or begins anew behind it. */
static void forget(struct test_log *test, struct prng *prng)
{
    log_index safe = test_log_safe_index(test);

    log_index kept = size_max(test->dropped_index, test->staged.base_index - 1);

    if (prng_below(prng, 6) == 0 && safe > kept) {
        test_log_drop(test, prng_between(prng, kept, safe));
    } else if (prng_below(prng, 40) == 0) {
        test_log_begin_anew(test, log_last_index(test->log) + prng_between(prng, 1, 3),
                            prng_below(prng, 2) == 0 ? NULL : "four");
    }
}

/* One life: random batches, cuts and hard states, and a crash after a random number of requests. */
static void live_and_crash(struct test_log *test, struct prng *prng, bool forgets)
{
    static const char *const states[] = {NULL, "one", "two", "three"};
    uint64_t request_count = prng_below(prng, 25);
    uint64_t map = prng_below(prng, 3) == 0 ? UINT64_MAX : prng_next(prng);

    while (request_count > 0) {
        log_index last = log_last_index(test->log);
        log_index kept = size_max(test->dropped_index, test->staged.base_index - 1);
        uint32_t count = (uint32_t)prng_below(prng, 5);
        uint32_t size = (uint32_t)prng_between(prng, TEST_RECORD_SIZE_MIN, 2500);
        uint64_t cut_count = prng_below(prng, 5) == 0 ? last - kept : 0;
        log_index first = last + 1 - prng_below(prng, cut_count + 1);

        if (forgets) {
            forget(test, prng);
            first = first < test->staged.base_index || first > log_last_index(test->log) + 1
                        ? log_last_index(test->log) + 1
                        : first;
            first = first <= test->dropped_index ? log_last_index(test->log) + 1 : first;
        }
        if (log_stage_room(test->log) >= (size_t)count * size) {
            test_log_stage(test, first, count, size, states[prng_below(prng, 4)]);
        }
        test_log_flush(test);
        request_count -= test_log_complete(test) || prng_below(prng, 4) == 0;
        test_log_flush(test);
    }
    crash_and_open(test, test_keep_mapped, &map);
}

/* LOG_SEEDS=n in the environment runs that many. */
static uint64_t seed_count(uint64_t usual)
{
    const char *text = getenv("LOG_SEEDS");

    return text == NULL ? usual : strtoull(text, NULL, 10);
}

static void run_lives(bool forgets)
{
    struct prng prng;
    unsigned dropped_count = 0;
    unsigned base_count = 0;

    for (uint64_t seed = 1; seed <= seed_count(40); seed++) {
        struct log_options options = test_log_options();
        struct test_log *test = test_log_open(&options);

        prng_init(&prng, seed);
        for (unsigned life = 0; life < 25; life++) {
            live_and_crash(test, &prng, forgets);
        }
        test_log_restart(test);
        assert_int_equal(test->recovery.verdict, LOG_CLEAN);
        assert_true(test_log_matches(test, &test->durable));
        dropped_count += memory_disk_file(test->disk, SEGMENT_1).size == 0;
        base_count += test->recovery.base_index != 0;
        test_log_close(test);
    }
    assert_true(!forgets || (dropped_count > 20 && base_count > 5));
}

static void many_crashes_in_a_row_lose_nothing_durable(void **state)
{
    (void)state;
    run_lives(false);
}

static void many_crashes_of_a_log_that_forgets_lose_nothing_needed_and_revive_nothing(void **state)
{
    (void)state;
    run_lives(true);
}

static void torn_batch_never_revives_after_the_cut(void **state)
{
    struct test_log *test = *state;
    uint64_t all_but_one = ~UINT64_C(4);

    test_log_make_three_batches(test);
    test_log_stage(test, 7, 3, 1000, NULL);
    advance_to_batch(test);
    memory_disk_crash(test->disk, test_keep_mapped, &all_but_one);
    test_log_restart(test);

    assert_int_equal(test->recovery.verdict, LOG_TORN);
    assert_string_equal(test->recovery.file.text, SEGMENT_1);
    assert_int_equal(test->recovery.offset, BATCH_4 + 1024);
    struct bytes file = memory_disk_file(test->disk, SEGMENT_1);
    assert_true(log_is_zero(file.data + BATCH_4, file.size - BATCH_4));
    test_log_restart(test);
    assert_int_equal(test->recovery.verdict, LOG_CLEAN);
    assert_true(test_log_matches(test, &test->durable));
}

static void crash_during_the_cut_is_torn_again(void **state)
{
    (void)state;
    for (uint64_t zeroed = 0; zeroed < 256; zeroed++) {
        struct log_options options = test_log_options();
        struct test_log *test = test_log_open(&options);
        uint64_t all_but_one = ~UINT64_C(4);

        test_log_make_three_batches(test);
        test_log_stage(test, 7, 3, 1000, NULL);
        advance_to_batch(test);
        memory_disk_crash(test->disk, test_keep_mapped, &all_but_one);
        for (unsigned sector = 0; sector < 8; sector++) {
            if ((zeroed >> sector & 1) != 0) {
                memory_disk_zero(test->disk, SEGMENT_1, BATCH_4 + sector * 512, 512);
            }
        }
        test_log_restart(test);

        assert_int_not_equal(test->recovery.verdict, LOG_ROTTEN);
        assert_true(test_log_matches(test, &test->durable));
        test_log_close(test);
    }
}

static void hard_state_ahead_of_a_torn_batch_is_kept_over_many_crashes(void **state)
{
    struct test_log *test = *state;
    static const char *const states[] = {"vote 1", "vote 2", "vote 3", "vote 4"};
    struct disk_completion completion;

    test_log_append(test, 1, 100);
    for (unsigned i = 0; i < 4; i++) {
        /* The block is written, its batch never is. */
        test_log_stage(test, 2, 0, 0, states[i]);
        test_log_flush(test);
        assert_true(memory_disk_complete_lane(test->disk, DISK_LANE_LOG, &completion));
        assert_true(log_complete(test->log, &completion));
        test_log_restart(test);

        assert_memory_equal(test->recovery.hard_state.data, states[i], 6);
    }
}

int main(void)
{
#define LAW(law) cmocka_unit_test_setup_teardown(law, open_log, close_log)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_sector_prefix_of_a_write_is_clean_or_torn),
        cmocka_unit_test(every_set_of_sectors_of_a_small_write_is_clean_or_torn),
        cmocka_unit_test(random_sets_of_sectors_of_large_writes_are_clean_or_torn),
        cmocka_unit_test(crash_at_every_request_of_a_life_loses_nothing_durable),
        cmocka_unit_test(many_crashes_in_a_row_lose_nothing_durable),
        cmocka_unit_test(many_crashes_of_a_log_that_forgets_lose_nothing_needed_and_revive_nothing),
        LAW(torn_batch_never_revives_after_the_cut),
        cmocka_unit_test(crash_during_the_cut_is_torn_again),
        LAW(hard_state_ahead_of_a_torn_batch_is_kept_over_many_crashes),
    };
#undef LAW
    return cmocka_run_group_tests(tests, NULL, NULL);
}
