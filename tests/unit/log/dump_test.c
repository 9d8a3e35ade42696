/* tests/unit/log/dump_test.c: what a person sees of a stopped log. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "log/log.h"
#include "tests/support/log/memory_disk.h"
#include "tests/support/log/test_log.h"

#define SEGMENT_1 "raft-0000000000000001.seg"
#define SEGMENT_2 "raft-0000000000000002.seg"

struct fixture {
    struct test_log *test;
    struct log_dump *dump;
    void *memory;
};

static int open_fixture(void **state)
{
    struct log_options options = test_log_options();
    struct fixture *fixture = calloc(1, sizeof(*fixture));

    assert_non_null(fixture);
    fixture->test = test_log_open(&options);
    fixture->memory = aligned_alloc(ARENA_ALIGNMENT,
                                    size_round_up(log_dump_memory_size(&options), ARENA_ALIGNMENT));
    assert_non_null(fixture->memory);
    *state = fixture;
    return 0;
}

static int close_fixture(void **state)
{
    struct fixture *fixture = *state;

    test_log_close(fixture->test);
    free(fixture->memory);
    free(fixture);
    return 0;
}

/* Begins a dump of what is durable, with an identity that need not be right. */
static void begin(struct fixture *fixture)
{
    struct log_options options = test_log_options();
    struct arena arena;

    options.incarnation = 99;
    memory_disk_crash(fixture->test->disk, NULL, NULL);
    arena_init(&arena, fixture->memory, log_dump_memory_size(&options));
    assert_int_equal(log_dump_open(&fixture->dump, &arena, &options, fixture->test->disk), ERR_OK);
}

static struct log_batch_view next(struct fixture *fixture)
{
    struct log_batch_view view;

    assert_true(log_dump_next(fixture->dump, &view));
    return view;
}

static void every_batch_is_shown_as_it_was_written(void **state)
{
    struct fixture *fixture = *state;
    struct log_batch_view view;

    test_log_make_three_batches(fixture->test);
    begin(fixture);

    view = next(fixture);
    assert_int_equal(view.error, ERR_OK);
    assert_string_equal(view.file.text, SEGMENT_1);
    assert_int_equal(view.offset, 4096);
    assert_int_equal(view.sequence, 1);
    assert_int_equal(view.first_index, 1);
    assert_int_equal(view.record_count, 2);
    assert_int_equal(view.cut_index, 0);
    assert_int_equal(view.records.size, 400);
    assert_true(bytes_equal(view.hard_state, bytes_of_text("term 1")));
    view = next(fixture);
    assert_int_equal(view.sequence, 2);
    view = next(fixture);
    assert_int_equal(view.cut_index, 5);
    assert_true(test_records_match(&fixture->test->durable, 5, 2, view.records));
    assert_false(log_dump_next(fixture->dump, &view));
    assert_false(log_dump_next(fixture->dump, &view));
}

static void damaged_batch_is_shown_without_records_and_the_walk_goes_on(void **state)
{
    struct fixture *fixture = *state;
    struct log_batch_view view;

    test_log_make_three_batches(fixture->test);
    memory_disk_flip_bit(fixture->test->disk, SEGMENT_1, UINT64_C(8) * (8192 + 700));
    begin(fixture);

    (void)next(fixture);
    view = next(fixture);
    assert_int_equal(view.error, ERR_CORRUPT);
    assert_int_equal(view.sequence, 2);
    assert_int_equal(view.records.size, 0);
    view = next(fixture);
    assert_int_equal(view.error, ERR_OK);
    assert_int_equal(view.sequence, 3);
}

static void unreadable_header_is_one_view_and_the_walk_goes_on(void **state)
{
    struct fixture *fixture = *state;
    struct log_batch_view view;

    test_log_make_three_batches(fixture->test);
    test_log_append(fixture->test, 1, 9000);
    test_log_append(fixture->test, 1, 100);
    memory_disk_flip_bit(fixture->test->disk, SEGMENT_1, UINT64_C(8) * 16384 + 100);
    begin(fixture);

    for (unsigned i = 0; i < 3; i++) {
        (void)next(fixture);
    }
    view = next(fixture);
    assert_int_equal(view.error, ERR_CORRUPT);
    assert_int_equal(view.offset, 16384);
    assert_int_equal(view.sequence, 0);
    view = next(fixture);
    assert_int_equal(view.error, ERR_OK);
    assert_int_equal(view.sequence, 5);
    assert_false(log_dump_next(fixture->dump, &view));
}

static void all_segments_are_walked_and_missing_ones_left_out(void **state)
{
    struct fixture *fixture = *state;
    struct log_batch_view view;
    uint64_t sequence = 0;
    uint64_t gaps = 0;

    for (unsigned i = 0; i < 20; i++) {
        test_log_append(fixture->test, 1, 9000);
    }
    memory_disk_remove(fixture->test->disk, SEGMENT_2);
    begin(fixture);

    while (log_dump_next(fixture->dump, &view)) {
        assert_int_equal(view.error, ERR_OK);
        gaps += view.sequence != sequence + 1;
        sequence = view.sequence;
    }
    assert_int_equal(gaps, 1);
    assert_true(sequence > 20);
}

static void failed_read_is_shown(void **state)
{
    struct fixture *fixture = *state;
    struct log_batch_view view;

    test_log_make_three_batches(fixture->test);
    begin(fixture);
    memory_disk_fail(fixture->test->disk, 2, ERR_IO);

    view = next(fixture);
    assert_int_equal(view.error, ERR_IO);
}

static void every_flipped_bit_leaves_the_dump_truthful(void **state)
{
    struct fixture *fixture = *state;
    struct test_log *test = fixture->test;

    test_log_append(test, 2, 200);
    test_log_append(test, 3, 300);
    for (uint64_t bit = 0; bit < UINT64_C(8) * 12288; bit += 7) {
        struct log_batch_view view;
        unsigned wrong = 0;

        memory_disk_flip_bit(test->disk, SEGMENT_1, bit);
        begin(fixture);
        while (log_dump_next(fixture->dump, &view)) {
            wrong += view.error != ERR_OK;
            assert_true(view.error != ERR_OK ||
                        test_records_match(&test->durable, view.first_index, view.record_count,
                                           view.records));
        }
        assert_int_equal(wrong, 1);
        memory_disk_flip_bit(test->disk, SEGMENT_1, bit);
    }
}

static void nothing_is_changed(void **state)
{
    struct fixture *fixture = *state;
    struct log_batch_view view;

    test_log_make_three_batches(fixture->test);
    memory_disk_zero(fixture->test->disk, SEGMENT_1, 12288, 512);
    struct disk *before = memory_disk_copy(fixture->test->disk);
    begin(fixture);
    while (log_dump_next(fixture->dump, &view)) {
        assert_true(view.offset >= 4096);
    }

    assert_true(memory_disk_equal(before, fixture->test->disk));
    memory_disk_close(before);
}

int main(void)
{
#define LAW(law) cmocka_unit_test_setup_teardown(law, open_fixture, close_fixture)
    const struct CMUnitTest tests[] = {
        LAW(every_batch_is_shown_as_it_was_written),
        LAW(damaged_batch_is_shown_without_records_and_the_walk_goes_on),
        LAW(unreadable_header_is_one_view_and_the_walk_goes_on),
        LAW(all_segments_are_walked_and_missing_ones_left_out),
        LAW(failed_read_is_shown),
        LAW(every_flipped_bit_leaves_the_dump_truthful),
        LAW(nothing_is_changed),
    };
#undef LAW
    return cmocka_run_group_tests(tests, NULL, NULL);
}
