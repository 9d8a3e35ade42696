/* Tests of node/window.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "node/window.h"
#include "tests/support/base/memory_table.h"

struct fixture {
    struct table *table;
    void *memory;
    struct windows *windows;
};

static void open_windows(struct fixture *fixture)
{
    struct arena arena;
    size_t size = windows_memory_size();

    fixture->memory = aligned_alloc(ARENA_ALIGNMENT, size_round_up(size, ARENA_ALIGNMENT));
    arena_init(&arena, fixture->memory, size);
    fixture->windows = windows_open(&arena, fixture->table);
}

static int fixture_open(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));

    fixture->table = memory_table_open();
    open_windows(fixture);
    *state = fixture;
    return 0;
}

static int fixture_close(void **state)
{
    struct fixture *fixture = *state;

    windows_check(fixture->windows);
    memory_table_close(fixture->table);
    free(fixture->memory);
    free(fixture);
    return 0;
}

/* The same table under new windows, as after a restart. */
static void reopen(struct fixture *fixture)
{
    free(fixture->memory);
    open_windows(fixture);
}

static void store(struct fixture *fixture, uint64_t session, uint64_t sequence, const char *body)
{
    struct window_result result = {.error = ERR_OK, .body = bytes_of_text(body)};

    windows_store(fixture->windows, session, sequence, &result);
}

static void sequences_are_taken_one_after_the_other(void **state)
{
    struct fixture *fixture = *state;
    struct window_result result;

    assert_int_equal(windows_look(fixture->windows, 5, 1, &result), WINDOW_NEXT);
    assert_int_equal(windows_look(fixture->windows, 5, 2, &result), WINDOW_GAP);

    store(fixture, 5, 1, "one");

    assert_int_equal(windows_look(fixture->windows, 5, 2, &result), WINDOW_NEXT);
    assert_int_equal(windows_look(fixture->windows, 5, 3, &result), WINDOW_GAP);
}

static void repeated_request_gets_the_stored_result(void **state)
{
    struct fixture *fixture = *state;
    struct window_result result = {.error = ERR_HELD, .body = bytes_of_text("held")};

    windows_store(fixture->windows, 5, 1, &result);
    store(fixture, 5, 2, "");

    assert_int_equal(windows_look(fixture->windows, 5, 1, &result), WINDOW_REPEATED);
    assert_int_equal(result.error, ERR_HELD);
    assert_true(bytes_equal(result.body, bytes_of_text("held")));
    assert_int_equal(windows_look(fixture->windows, 5, 2, &result), WINDOW_REPEATED);
    assert_int_equal(result.body.size, 0);
}

static void result_below_the_window_is_stale_and_never_executed_again(void **state)
{
    struct fixture *fixture = *state;
    struct window_result result;

    for (uint64_t sequence = 1; sequence <= WINDOW_RESULT_COUNT + 1; sequence++) {
        store(fixture, 9, sequence, "x");
    }

    assert_int_equal(windows_look(fixture->windows, 9, 1, &result), WINDOW_STALE);
    assert_int_equal(windows_look(fixture->windows, 9, 2, &result), WINDOW_REPEATED);
}

static void flushed_windows_survive_a_restart(void **state)
{
    struct fixture *fixture = *state;
    struct window_result result;

    for (uint64_t sequence = 1; sequence <= 100; sequence++) {
        store(fixture, 7, sequence, sequence % 2 == 0 ? "even" : "odd");
    }
    windows_flush(fixture->windows);

    reopen(fixture);

    assert_int_equal(windows_look(fixture->windows, 7, 101, &result), WINDOW_NEXT);
    assert_int_equal(windows_look(fixture->windows, 7, 99, &result), WINDOW_REPEATED);
    assert_true(bytes_equal(result.body, bytes_of_text("odd")));
    assert_int_equal(windows_look(fixture->windows, 7, 36, &result), WINDOW_STALE);
    assert_int_equal(windows_look(fixture->windows, 7, 37, &result), WINDOW_REPEATED);
}

static void window_pushed_out_by_others_is_not_forgotten(void **state)
{
    struct fixture *fixture = *state;
    struct window_result result;

    for (uint64_t session = 1; session <= 3000; session++) {
        store(fixture, session, 1, "first");
    }

    assert_int_equal(windows_look(fixture->windows, 1, 1, &result), WINDOW_REPEATED);
    assert_true(bytes_equal(result.body, bytes_of_text("first")));
    assert_int_equal(windows_look(fixture->windows, 2, 2, &result), WINDOW_NEXT);
}

static void dropped_window_leaves_nothing(void **state)
{
    struct fixture *fixture = *state;

    store(fixture, 3, 1, "in memory only");
    store(fixture, 4, 1, "in the table");
    windows_flush(fixture->windows);
    store(fixture, 4, 2, "changed");

    windows_drop(fixture->windows, 3);
    windows_drop(fixture->windows, 4);
    windows_flush(fixture->windows);

    assert_int_equal(memory_table_count(fixture->table), 0);
}

static void table_is_the_same_whenever_it_was_flushed(void **state)
{
    struct fixture *fixture = *state;
    struct table *other_table = memory_table_open();
    struct fixture other = {.table = other_table};

    open_windows(&other);
    for (uint64_t sequence = 1; sequence <= 80; sequence++) {
        store(fixture, 1 + sequence % 2, (sequence + 1) / 2, "same");
        store(&other, 1 + sequence % 2, (sequence + 1) / 2, "same");
        windows_flush(other.windows);
    }
    windows_flush(fixture->windows);

    assert_int_equal(table_hash(fixture->table), table_hash(other_table));
    memory_table_close(other_table);
    free(other.memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(sequences_are_taken_one_after_the_other, fixture_open,
                                        fixture_close),
        cmocka_unit_test_setup_teardown(repeated_request_gets_the_stored_result, fixture_open,
                                        fixture_close),
        cmocka_unit_test_setup_teardown(result_below_the_window_is_stale_and_never_executed_again,
                                        fixture_open, fixture_close),
        cmocka_unit_test_setup_teardown(flushed_windows_survive_a_restart, fixture_open,
                                        fixture_close),
        cmocka_unit_test_setup_teardown(window_pushed_out_by_others_is_not_forgotten, fixture_open,
                                        fixture_close),
        cmocka_unit_test_setup_teardown(dropped_window_leaves_nothing, fixture_open, fixture_close),
        cmocka_unit_test_setup_teardown(table_is_the_same_whenever_it_was_flushed, fixture_open,
                                        fixture_close),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
