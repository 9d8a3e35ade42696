/* tests/unit/log/log_test.c: staging, group commit, tickets, roll-over, cuts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "log/log.h"
#include "tests/support/base/death.h"
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

/* --- Round trips ----------------------------------------------------------------------------- */

static void fresh_log_is_empty_and_clean(void **state)
{
    struct test_log *test = *state;

    assert_int_equal(test->recovery.verdict, LOG_CLEAN);
    assert_int_equal(log_last_index(test->log), 0);
    assert_int_equal(test->recovery.hard_state.size, 0);
    assert_int_equal(log_durable_ticket(test->log), 0);
}

static void records_survive_a_restart(void **state)
{
    struct test_log *test = *state;

    test_log_append(test, 3, 100);
    test_log_append(test, 1, TEST_RECORD_SIZE_MIN);
    test_log_restart(test);

    assert_int_equal(test->recovery.verdict, LOG_CLEAN);
    assert_int_equal(test->recovery.batch_count, 2);
    assert_true(test_log_matches(test, &test->durable));
}

static void batches_of_every_size_survive_a_restart(void **state)
{
    struct test_log *test = *state;

    for (uint32_t size = 16; size <= log_stage_room(test->log); size += 397) {
        test_log_append(test, 1, size);
    }
    test_log_restart(test);

    assert_int_equal(test->recovery.verdict, LOG_CLEAN);
    assert_true(test_log_matches(test, &test->durable));
}

static void largest_batch_survives_a_restart(void **state)
{
    struct test_log *test = *state;
    uint32_t room = (uint32_t)log_stage_room(test->log);

    test_log_append(test, 1, room);
    assert_int_equal(log_counters(test->log).batch_bytes, TEST_BATCH_SIZE_MAX);
    test_log_restart(test);

    assert_true(test_log_matches(test, &test->durable));
}

static void largest_record_fits_the_default_batch(void **state)
{
    struct log_options options = test_log_options();
    (void)state;
    options.batch_size_max = LOG_BATCH_SIZE_MAX_DEFAULT;
    options.segment_size = LOG_BATCH_SIZE_MAX_DEFAULT + (8 << 10);
    struct test_log *test = log_with(options);

    test_log_append(test, 1, LOG_RECORD_SIZE_MAX);
    test_log_append(test, 1, LOG_RECORD_SIZE_MAX);
    test_log_append(test, 1, LOG_RECORD_SIZE_MAX);
    test_log_restart(test);

    assert_true(test_log_matches(test, &test->durable));
    test_log_close(test);
}

static void appending_goes_on_after_a_restart(void **state)
{
    struct test_log *test = *state;

    for (unsigned life = 0; life < 10; life++) {
        test_log_append(test, 5, 300);
        test_log_restart(test);
        assert_true(test_log_matches(test, &test->durable));
    }
    assert_int_equal(log_last_index(test->log), 50);
}

/* --- Group commit and tickets ---------------------------------------------------------------- */

static void what_is_staged_during_a_write_becomes_one_batch(void **state)
{
    struct test_log *test = *state;

    test_log_stage(test, 1, 1, 50, NULL);
    test_log_flush(test);
    for (log_index index = 2; index <= 20; index++) {
        test_log_stage(test, index, 1, 50, NULL);
        test_log_flush(test);
    }
    test_log_settle(test);

    assert_int_equal(log_counters(test->log).batch_count, 2);
    assert_int_equal(log_counters(test->log).record_count, 20);
}

static void tickets_increase_by_one_and_none_is_durable_early(void **state)
{
    struct test_log *test = *state;

    assert_int_equal(test_log_stage(test, 1, 1, 50, NULL), 1);
    assert_int_equal(test_log_stage(test, 2, 2, 50, NULL), 2);
    test_log_flush(test);
    assert_int_equal(test_log_stage(test, 4, 1, 50, NULL), 3);
    while (log_durable_ticket(test->log) == 0) {
        assert_true(test_log_complete(test));
    }
    assert_int_equal(log_durable_ticket(test->log), 2);
    test_log_settle(test);
    assert_int_equal(log_durable_ticket(test->log), 3);
}

static void only_one_request_of_the_log_lane_is_under_way(void **state)
{
    struct test_log *test = *state;

    for (log_index index = 1; index <= 300; index++) {
        uint32_t background = 0;

        test_log_stage(test, index, 1, 1000, index % 7 == 0 ? "other" : "state");
        test_log_flush(test);
        background = memory_disk_head(test->disk, DISK_LANE_BACKGROUND) != NULL;
        assert_true(memory_disk_pending_count(test->disk) <= 1 + background);
        assert_true(test_log_complete(test));
        test_log_flush(test);
        while (log_stage_room(test->log) < 1000) {
            assert_true(test_log_complete(test));
            test_log_flush(test);
        }
    }
}

static void foreign_completion_is_left_alone(void **state)
{
    struct test_log *test = *state;
    struct disk_completion completion = {.tag = 12345, .error = ERR_IO};

    assert_false(log_complete(test->log, &completion));
    assert_int_equal(log_error(test->log), ERR_OK);
}

static void two_logs_tell_their_completions_apart(void **state)
{
    struct test_log *raft = *state;
    struct log_options options = test_log_options();
    struct disk_completion completion;
    options.prefix = "counters";
    struct test_log *counters = log_with(options);

    test_log_stage(counters, 1, 1, 50, NULL);
    test_log_flush(counters);
    assert_true(memory_disk_complete_next(counters->disk, &completion));

    assert_int_equal(completion.tag & LOG_TAG_MASK, LOG_TAG_BASE);
    assert_false(log_complete(raft->log, &completion));
    assert_true(log_complete(counters->log, &completion));
    test_log_close(counters);
}

/* --- Hard state ------------------------------------------------------------------------------ */

static void changed_hard_state_is_written_to_its_file_before_the_batch(void **state)
{
    struct test_log *test = *state;

    test_log_stage(test, 1, 1, 50, "term 1");
    test_log_flush(test);
    assert_string_equal(memory_disk_head(test->disk, DISK_LANE_LOG)->name.text, "raft-state");
    struct disk_completion completion;
    assert_true(memory_disk_complete_lane(test->disk, DISK_LANE_LOG, &completion));
    assert_true(log_complete(test->log, &completion));

    assert_int_equal(log_durable_ticket(test->log), 0);
    assert_string_not_equal(memory_disk_head(test->disk, DISK_LANE_LOG)->name.text, "raft-state");
}

static void hard_states_alternate_between_the_two_blocks(void **state)
{
    struct test_log *test = *state;
    static const uint64_t offsets[] = {4096, 0, 4096, 0};
    static const char *const states[] = {"one", "two", "three", "four"};

    for (unsigned i = 0; i < 4; i++) {
        test_log_stage(test, 1, 0, 0, states[i]);
        test_log_flush(test);
        assert_int_equal(memory_disk_head(test->disk, DISK_LANE_LOG)->offset, offsets[i]);
        test_log_settle(test);
    }
}

static void unchanged_hard_state_is_not_written_again(void **state)
{
    struct test_log *test = *state;
    struct disk_completion completion;

    test_log_stage(test, 1, 1, 50, "term 1");
    test_log_settle(test);
    test_log_stage(test, 2, 1, 50, "term 1");
    test_log_flush(test);

    assert_string_not_equal(memory_disk_head(test->disk, DISK_LANE_LOG)->name.text, "raft-state");
    assert_true(memory_disk_complete_lane(test->disk, DISK_LANE_LOG, &completion));
    assert_true(log_complete(test->log, &completion));
    assert_int_equal(log_durable_ticket(test->log), 2);
}

static void hard_state_alone_survives_a_restart(void **state)
{
    struct test_log *test = *state;

    test_log_stage(test, 1, 0, 0, "term 5, vote 2");
    test_log_settle(test);
    test_log_restart(test);

    assert_true(test_log_matches(test, &test->durable));
    assert_int_equal(test->recovery.hard_state.size, 14);
}

static void largest_hard_state_survives_a_restart(void **state)
{
    struct test_log *test = *state;
    char text[LOG_HARD_STATE_SIZE_MAX + 1];

    memset(text, 'x', LOG_HARD_STATE_SIZE_MAX);
    text[LOG_HARD_STATE_SIZE_MAX] = '\0';
    test_log_stage(test, 1, 0, 0, text);
    test_log_settle(test);
    test_log_restart(test);

    assert_true(test_log_matches(test, &test->durable));
}

static void batch_in_flight_does_not_carry_a_newer_hard_state(void **state)
{
    struct test_log *test = *state;

    test_log_stage(test, 1, 1, 50, "term 1");
    test_log_flush(test);
    test_log_stage(test, 2, 1, 50, "term 2");
    while (log_durable_ticket(test->log) == 0) {
        assert_true(test_log_complete(test));
    }
    test_log_restart(test);

    assert_memory_equal(test->recovery.hard_state.data, "term 1", 6);
}

/* --- Segments -------------------------------------------------------------------------------- */

static void log_rolls_over_into_the_next_segment(void **state)
{
    struct test_log *test = *state;

    for (unsigned i = 0; i < 100; i++) {
        test_log_append(test, 2, 900);
    }
    test_log_restart(test);

    assert_int_equal(test->recovery.verdict, LOG_CLEAN);
    assert_true(test->recovery.segment_count >= 7);
    assert_true(test_log_matches(test, &test->durable));
}

static void next_segment_is_filled_before_it_is_needed(void **state)
{
    struct log_options options = test_log_options();
    (void)state;
    options.segments_ahead = 2;
    struct test_log *test = log_with(options);

    test_log_append(test, 1, 50);

    /* The first was made while opening; two are ahead; and the hard state file. */
    assert_int_equal(memory_disk_file_count(test->disk), 4);
    assert_int_equal(memory_disk_file(test->disk, "raft-0000000000000003.seg").size,
                     TEST_SEGMENT_SIZE);
    test_log_close(test);
}

static void staging_goes_on_while_the_next_segment_is_not_ready(void **state)
{
    struct test_log *test = *state;
    struct disk_completion completion;
    uint64_t ticket = 0;

    /* The filling of segment 2 never completes here. */
    for (unsigned i = 0; i < 14; i++) {
        test_log_stage(test, log_last_index(test->log) + 1, 1, 1000, NULL);
        test_log_flush(test);
        while (memory_disk_complete_lane(test->disk, DISK_LANE_LOG, &completion)) {
            assert_true(log_complete(test->log, &completion));
        }
    }
    test->durable = test->staged;
    while (log_stage_room(test->log) >= 1000) {
        ticket = test_log_stage(test, log_last_index(test->log) + 1, 1, 1000, NULL);
        test_log_flush(test);
    }
    assert_null(memory_disk_head(test->disk, DISK_LANE_LOG));
    assert_true(log_durable_ticket(test->log) < ticket);

    test_log_settle(test);
    assert_int_equal(log_durable_ticket(test->log), ticket);
    test_log_restart(test);
    assert_true(test_log_matches(test, &test->durable));
}

static void full_log_has_no_room_and_loses_nothing(void **state)
{
    struct log_options options = test_log_options();
    (void)state;
    options.segment_count_max = 2;
    struct test_log *test = log_with(options);

    while (log_stage_room(test->log) >= 500) {
        test_log_stage(test, log_last_index(test->log) + 1, 1, 500, NULL);
        test_log_settle(test);
    }
    assert_int_equal(log_error(test->log), ERR_OK);
    assert_int_equal(memory_disk_file_count(test->disk), 3);
    test_log_restart(test);

    assert_true(log_stage_room(test->log) < 500);
    assert_true(test_log_matches(test, &test->durable));
    test_log_close(test);
}

static void room_in_the_last_segment_counts_the_batch_in_flight(void **state)
{
    struct log_options options = test_log_options();
    (void)state;
    options.segment_count_max = 1;
    struct test_log *test = log_with(options);

    /* Whatever room says, is taken: nothing that was staged may fail to be written. */
    for (unsigned i = 0; i < 100; i++) {
        uint32_t room = (uint32_t)log_stage_room(test->log);

        if (room >= TEST_RECORD_SIZE_MIN) {
            test_log_stage(test, log_last_index(test->log) + 1, 1, room, NULL);
            test_log_flush(test);
        }
        if (i % 2 == 1) {
            (void)test_log_complete(test);
        }
    }
    test_log_settle(test);

    assert_int_equal(log_error(test->log), ERR_OK);
    assert_int_equal(test->durable.last_index, log_last_index(test->log));
    test_log_close(test);
}

/* Fills the log but for the reserve, with batches as large as they may be; then counts what else
 * can be written one block at a time. */
static uint32_t writes_left(uint32_t segment_count, uint32_t reserve_size, uint32_t size_max)
{
    struct log_options options = test_log_options();
    uint32_t count = 0;
    options.segment_count_max = segment_count;
    struct test_log *test = log_with(options);

    while (log_stage_room_beside(test->log, reserve_size) >= TEST_RECORD_SIZE_MIN) {
        uint32_t room = (uint32_t)log_stage_room_beside(test->log, reserve_size);

        assert_true(room <= log_stage_room(test->log));
        test_log_append(test, 1, room < size_max ? room : size_max);
    }
    while (log_stage_room(test->log) >= TEST_RECORD_SIZE_MIN) {
        test_log_append(test, 1, TEST_RECORD_SIZE_MIN);
        count++;
    }
    assert_int_equal(log_error(test->log), ERR_OK);
    test_log_restart(test);
    assert_true(test_log_matches(test, &test->durable));
    test_log_close(test);
    return count;
}

static void a_reserve_of_blocks_is_left_for_so_many_writes(void **state)
{
    (void)state;

    for (uint32_t segments = 1; segments <= 3; segments++) {
        for (uint32_t blocks = 0; blocks <= 13; blocks++) {
            assert_int_equal(writes_left(segments, blocks * DISK_ALIGNMENT, 500), blocks);
            assert_int_equal(writes_left(segments, blocks * DISK_ALIGNMENT, UINT32_MAX), blocks);
        }
    }
}

static void full_log_ends_when_not_even_a_hard_state_fits(void **state)
{
    struct log_options options = test_log_options();
    (void)state;
    options.segment_count_max = 1;
    struct test_log *test = log_with(options);

    for (unsigned i = 0; i < 20 && log_error(test->log) == ERR_OK; i++) {
        test_log_stage(test, 1, 0, 0, i % 2 == 0 ? "one" : "two");
        test_log_settle(test);
    }

    assert_int_equal(log_error(test->log), ERR_FULL);
    test_log_restart(test);
    assert_true(test_log_matches(test, &test->durable));
    test_log_close(test);
}

/* --- Truncation ------------------------------------------------------------------------------ */

static void cut_records_stay_cut_after_a_restart(void **state)
{
    struct test_log *test = *state;

    test_log_append(test, 10, 100);
    test_log_stage(test, 6, 3, 120, NULL);
    test_log_settle(test);
    test_log_restart(test);

    assert_int_equal(log_last_index(test->log), 8);
    assert_true(test_log_matches(test, &test->durable));
}

static void cut_alone_survives_a_restart(void **state)
{
    struct test_log *test = *state;

    test_log_append(test, 10, 100);
    test_log_stage(test, 4, 0, 0, NULL);
    test_log_settle(test);
    test_log_restart(test);

    assert_int_equal(log_last_index(test->log), 3);
    assert_true(test_log_matches(test, &test->durable));
}

static void cut_across_segments_survives_a_restart(void **state)
{
    struct test_log *test = *state;

    for (unsigned i = 0; i < 60; i++) {
        test_log_append(test, 2, 1500);
    }
    test_log_stage(test, 5, 2, 80, NULL);
    test_log_settle(test);
    test_log_restart(test);

    assert_int_equal(log_last_index(test->log), 6);
    assert_true(test_log_matches(test, &test->durable));
    test_log_append(test, 7, 200);
    test_log_restart(test);
    assert_true(test_log_matches(test, &test->durable));
}

static void cut_within_the_staged_batch_leaves_no_trace(void **state)
{
    struct test_log *test = *state;

    test_log_append(test, 2, 100);
    test_log_stage(test, 3, 5, 100, NULL);
    test_log_stage(test, 5, 2, 90, NULL);
    test_log_settle(test);
    test_log_restart(test);

    assert_int_equal(log_last_index(test->log), 6);
    assert_true(test_log_matches(test, &test->durable));
}

static void cut_of_staged_flying_and_durable_records_reaches_the_lowest(void **state)
{
    struct test_log *test = *state;

    test_log_append(test, 4, 100);
    test_log_stage(test, 5, 4, 100, NULL);
    test_log_flush(test);
    test_log_stage(test, 9, 4, 100, NULL);
    test_log_stage(test, 7, 1, 90, NULL);
    test_log_stage(test, 3, 2, 80, NULL);
    test_log_stage(test, 4, 2, 70, NULL);
    test_log_settle(test);
    test_log_restart(test);

    assert_int_equal(log_last_index(test->log), 5);
    assert_true(test_log_matches(test, &test->durable));
}

/* --- Mistakes of the caller ------------------------------------------------------------------ */

static void stage_with_a_gap(void)
{
    struct test_log *test = log_with(test_log_options());

    test_log_stage(test, 2, 1, 50, NULL);
}

static void stage_more_than_there_is_room(void)
{
    struct test_log *test = log_with(test_log_options());

    test_log_stage(test, 1, 1, (uint32_t)log_stage_room(test->log) + 1, NULL);
}

static void fetch_what_is_not_durable(void)
{
    struct test_log *test = log_with(test_log_options());

    test_log_stage(test, 1, 1, 50, NULL);
    exit(log_fetch(test->log, 1));
}

static void mistakes_of_the_caller_abort(void **state)
{
    (void)state;
    assert_true(dies(stage_with_a_gap, "first_index <= log->last_index + 1"));
    assert_true(dies(stage_more_than_there_is_room, "log_stage_room"));
    assert_true(dies(fetch_what_is_not_durable, "first_index < log->spans.next_index"));
}

int main(void)
{
#define LAW(law) cmocka_unit_test_setup_teardown(law, open_log, close_log)
    const struct CMUnitTest tests[] = {
        LAW(fresh_log_is_empty_and_clean),
        LAW(records_survive_a_restart),
        LAW(batches_of_every_size_survive_a_restart),
        LAW(largest_batch_survives_a_restart),
        cmocka_unit_test(largest_record_fits_the_default_batch),
        LAW(appending_goes_on_after_a_restart),
        LAW(what_is_staged_during_a_write_becomes_one_batch),
        LAW(tickets_increase_by_one_and_none_is_durable_early),
        LAW(only_one_request_of_the_log_lane_is_under_way),
        LAW(foreign_completion_is_left_alone),
        LAW(two_logs_tell_their_completions_apart),
        LAW(changed_hard_state_is_written_to_its_file_before_the_batch),
        LAW(hard_states_alternate_between_the_two_blocks),
        LAW(unchanged_hard_state_is_not_written_again),
        LAW(hard_state_alone_survives_a_restart),
        LAW(largest_hard_state_survives_a_restart),
        LAW(batch_in_flight_does_not_carry_a_newer_hard_state),
        LAW(log_rolls_over_into_the_next_segment),
        cmocka_unit_test(next_segment_is_filled_before_it_is_needed),
        LAW(staging_goes_on_while_the_next_segment_is_not_ready),
        cmocka_unit_test(full_log_has_no_room_and_loses_nothing),
        cmocka_unit_test(room_in_the_last_segment_counts_the_batch_in_flight),
        cmocka_unit_test(a_reserve_of_blocks_is_left_for_so_many_writes),
        cmocka_unit_test(full_log_ends_when_not_even_a_hard_state_fits),
        LAW(cut_records_stay_cut_after_a_restart),
        LAW(cut_alone_survives_a_restart),
        LAW(cut_across_segments_survives_a_restart),
        LAW(cut_within_the_staged_batch_leaves_no_trace),
        LAW(cut_of_staged_flying_and_durable_records_reaches_the_lowest),
        cmocka_unit_test(mistakes_of_the_caller_abort),
    };
#undef LAW
    return cmocka_run_group_tests(tests, NULL, NULL);
}
