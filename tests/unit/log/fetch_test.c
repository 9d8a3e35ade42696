/* tests/unit/log/fetch_test.c: reading back returns exactly the live records. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/prng.h"
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

/* The last record that is live and on the disk. */
static log_index last_fetchable(const struct test_log *test)
{
    log_index last = 0;

    while (last < test->durable.last_index && last < test->staged.last_index &&
           test->durable.records[last + 1].version == test->staged.records[last + 1].version) {
        last++;
    }
    return last;
}

/* Fetches and waits; the answer must be live records from `index` on, and no others. */
static uint32_t fetch_matching(struct test_log *test, log_index index)
{
    struct log_fetched fetched;

    assert_true(log_fetch(test->log, index));
    assert_false(log_fetched(test->log, &fetched));
    while (!log_fetched(test->log, &fetched)) {
        assert_true(test_log_complete(test));
    }
    assert_int_equal(fetched.error, ERR_OK);
    assert_int_equal(fetched.first_index, index);
    assert_true(fetched.record_count >= 1);
    assert_true(test_records_match(&test->staged, index, fetched.record_count, fetched.records));
    return fetched.record_count;
}

static void fetch_from_every_index_returns_the_live_records(void **state)
{
    struct test_log *test = *state;

    for (unsigned i = 0; i < 40; i++) {
        test_log_append(test, 5, 600);
    }
    for (log_index index = 1; index <= 200; index++) {
        (void)fetch_matching(test, index);
    }
    /* Walking on from each answer's end reaches the last record. */
    log_index index = 1;
    while (index <= 200) {
        index += fetch_matching(test, index);
    }
    assert_int_equal(index, 201);
}

static void one_fetch_is_under_way_at_a_time(void **state)
{
    struct test_log *test = *state;
    struct log_fetched fetched;

    test_log_append(test, 5, 100);
    assert_true(log_fetch(test->log, 1));
    assert_false(log_fetch(test->log, 2));
    assert_true(test_log_complete(test));
    assert_false(log_fetch(test->log, 2));
    assert_true(log_fetched(test->log, &fetched));
    assert_false(log_fetched(test->log, &fetched));
    assert_true(log_fetch(test->log, 2));
}

static void records_cut_while_they_are_read_are_not_returned(void **state)
{
    struct test_log *test = *state;
    struct log_fetched fetched;

    test_log_append(test, 10, 100);
    assert_true(log_fetch(test->log, 3));
    test_log_stage(test, 6, 4, 90, NULL);
    assert_true(test_log_complete(test));
    assert_true(log_fetched(test->log, &fetched));

    assert_int_equal(fetched.error, ERR_OK);
    assert_int_equal(fetched.record_count, 3);
    assert_true(test_records_match(&test->staged, 3, 3, fetched.records));
}

static void records_cut_before_the_answer_is_taken_are_not_returned(void **state)
{
    struct test_log *test = *state;
    struct log_fetched fetched;

    test_log_append(test, 10, 100);
    assert_true(log_fetch(test->log, 3));
    assert_true(test_log_complete(test));
    test_log_stage(test, 6, 4, 90, NULL);
    assert_true(log_fetched(test->log, &fetched));

    assert_int_equal(fetched.record_count, 3);
    assert_true(test_records_match(&test->staged, 3, 3, fetched.records));
}

static void fetch_of_records_cut_meanwhile_says_missing(void **state)
{
    struct test_log *test = *state;
    struct log_fetched fetched;

    test_log_append(test, 10, 100);
    assert_true(log_fetch(test->log, 6));
    test_log_stage(test, 6, 4, 90, NULL);
    assert_true(test_log_complete(test));
    assert_true(log_fetched(test->log, &fetched));
    assert_int_equal(fetched.error, ERR_MISSING);

    test_log_settle(test);
    assert_true(log_fetch(test->log, 6));
    assert_true(test_log_complete(test));
    test_log_stage(test, 2, 4, 90, NULL);
    assert_true(log_fetched(test->log, &fetched));
    assert_int_equal(fetched.error, ERR_MISSING);
    assert_int_equal(fetched.record_count, 0);
}

static void damaged_record_is_never_returned(void **state)
{
    struct test_log *test = *state;

    test_log_append(test, 4, 500);
    /* Every byte of the batch in turn, a bit of each. */
    for (uint64_t at = 4096; at < 8192; at++) {
        struct log_fetched fetched;
        uint64_t bit = at * 8 + at % 8;

        memory_disk_flip_bit(test->disk, "raft-0000000000000001.seg", bit);
        assert_true(log_fetch(test->log, 1));
        assert_true(test_log_complete(test));
        assert_true(log_fetched(test->log, &fetched));
        assert_int_equal(fetched.error, ERR_CORRUPT);
        assert_int_equal(fetched.records.size, 0);
        memory_disk_flip_bit(test->disk, "raft-0000000000000001.seg", bit);
    }
    assert_int_equal(log_error(test->log), ERR_OK);
    assert_int_equal(fetch_matching(test, 1), 4);
}

static void failed_read_is_told_and_is_not_final(void **state)
{
    struct test_log *test = *state;
    struct log_fetched fetched;

    test_log_append(test, 4, 500);
    memory_disk_fail(test->disk, 1, ERR_IO);
    assert_true(log_fetch(test->log, 1));
    assert_true(test_log_complete(test));
    assert_true(log_fetched(test->log, &fetched));

    assert_int_equal(fetched.error, ERR_IO);
    assert_int_equal(log_error(test->log), ERR_OK);
    assert_int_equal(fetch_matching(test, 1), 4);
}

static void reading_at_once_beyond_the_end_says_missing(void **state)
{
    struct test_log *test = *state;
    struct log_fetched fetched;

    assert_int_equal(log_read_now(test->log, 1, &fetched), ERR_MISSING);
    test_log_append(test, 4, 500);
    test_log_restart(test);
    assert_int_equal(log_read_now(test->log, 5, &fetched), ERR_MISSING);
    assert_int_equal(log_read_now(test->log, 4, &fetched), ERR_OK);
}

/* --- Against a model ------------------------------------------------------------------------- */

static void stage_something(struct test_log *test, struct prng *prng)
{
    log_index last = log_last_index(test->log);
    uint32_t size = (uint32_t)prng_between(prng, TEST_RECORD_SIZE_MIN, 1500);
    uint32_t count = (uint32_t)prng_below(prng, 9);
    log_index first = last + 1;

    if (prng_below(prng, 4) == 0 && last > 0) {
        /* Mostly near the end, now and then far back. */
        uint64_t reach = prng_below(prng, 8) == 0 ? last : size_min(last, 20);

        first = last + 1 - prng_between(prng, 1, reach);
    }
    if (first + count > TEST_INDEX_MAX) {
        first = 1;
    }
    if (log_stage_room(test->log) >= (size_t)count * size) {
        test_log_stage(test, first, count, size, prng_below(prng, 9) == 0 ? "one" : NULL);
    }
}

/* Takes an answer if there is one: it must be live now, or have been cut meanwhile. */
static void take_answer(struct test_log *test)
{
    struct log_fetched fetched;

    if (!log_fetched(test->log, &fetched)) {
        return;
    }
    if (fetched.error == ERR_MISSING) {
        assert_int_equal(fetched.record_count, 0);
        return;
    }
    assert_int_equal(fetched.error, ERR_OK);
    assert_true(fetched.record_count >= 1);
    assert_true(test_records_match(&test->staged, fetched.first_index, fetched.record_count,
                                   fetched.records));
}

static void live_through(struct test_log *test, uint64_t seed, unsigned step_count)
{
    struct prng prng;
    unsigned fetch_count = 0;

    prng_init(&prng, seed);
    for (unsigned i = 0; i < step_count; i++) {
        log_index last = last_fetchable(test);

        switch (prng_below(&prng, 8)) {
        case 0:
        case 1:
            stage_something(test, &prng);
            break;
        case 2:
            test_log_flush(test);
            break;
        case 3:
            /* Refused when one is under way already. */
            fetch_count += last > 0 && log_fetch(test->log, prng_between(&prng, 1, last));
            break;
        case 4:
            take_answer(test);
            break;
        default:
            (void)test_log_complete(test);
            break;
        }
    }
    test_log_settle(test);
    take_answer(test);
    assert_true(fetch_count > 0);
}

static void expect_every_index(struct test_log *test)
{
    for (log_index index = 1; index <= test->staged.last_index; index += 1 + index % 3) {
        (void)fetch_matching(test, index);
    }
}

static void random_lives_return_exactly_the_live_records(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct log_options options = test_log_options();

        options.segment_size = seed % 3 == 0 ? 1 << 20 : TEST_SEGMENT_SIZE;
        struct test_log *test = test_log_open(&options);

        live_through(test, seed, 1500);
        expect_every_index(test);
        test_log_restart(test);
        assert_true(test_log_matches(test, &test->durable));
        live_through(test, seed + 1000, 500);
        expect_every_index(test);
        test_log_restart(test);
        assert_true(test_log_matches(test, &test->durable));
        test_log_close(test);
    }
}

int main(void)
{
#define LAW(law) cmocka_unit_test_setup_teardown(law, open_log, close_log)
    const struct CMUnitTest tests[] = {
        LAW(fetch_from_every_index_returns_the_live_records),
        LAW(one_fetch_is_under_way_at_a_time),
        LAW(records_cut_while_they_are_read_are_not_returned),
        LAW(records_cut_before_the_answer_is_taken_are_not_returned),
        LAW(fetch_of_records_cut_meanwhile_says_missing),
        LAW(damaged_record_is_never_returned),
        LAW(failed_read_is_told_and_is_not_final),
        LAW(reading_at_once_beyond_the_end_says_missing),
        cmocka_unit_test(random_lives_return_exactly_the_live_records),
    };
#undef LAW
    return cmocka_run_group_tests(tests, NULL, NULL);
}
