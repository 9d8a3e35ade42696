/* tests/unit/jepsen/wgl_test.c: histories written by hand, and the limits of the search. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/macros.h"
#include "jepsen/replay.h"
#include "jepsen/wgl.h"
#include "tests/support/jepsen/generate.h"

enum { TEXT_SIZE = 16384 };

/* A file of tests/unit/jepsen/histories: what both checkers must say of it. */
struct example {
    const char *name;
    enum wgl_verdict search;
    bool is_replayed;    /* The replay calls it valid. */
    enum replay_law law; /* Otherwise: this is broken. */
};

/* The first line of each file says in words what happens. */
static const struct example examples[] = {
    {"good_overlapping", WGL_VALID, true, 0},
    {"good_late_write", WGL_VALID, true, 0},
    {"good_lost_write", WGL_VALID, true, 0},
    {"good_either_of_two", WGL_VALID, true, 0},
    {"good_unanswered", WGL_VALID, true, 0},
    {"good_refusals", WGL_VALID, true, 0},
    {"good_lock", WGL_VALID, true, 0},
    {"good_session_end", WGL_VALID, true, 0},
    {"good_lost_grant", WGL_VALID, true, 0},
    {"good_set", WGL_VALID, true, 0},
    {"good_list", WGL_VALID, true, 0},
    {"bad_stale_read", WGL_INVALID, false, REPLAY_FRESH},
    {"bad_stale_absent", WGL_INVALID, false, REPLAY_REFUSED},
    {"bad_lost_update", WGL_INVALID, false, REPLAY_EXPECTED},
    {"bad_swap_twice", WGL_INVALID, false, REPLAY_VALUE_SEEN},
    {"bad_failed_write", WGL_INVALID, false, REPLAY_VALUE_SEEN},
    {"bad_seen_twice", WGL_INVALID, false, REPLAY_VALUE_SEEN},
    {"bad_vanishes", WGL_INVALID, false, REPLAY_FRESH},
    {"bad_from_the_future", WGL_INVALID, false, REPLAY_REAL_TIME},
    {"bad_two_orders", WGL_INVALID, false, REPLAY_FRESH},
    {"bad_refusal", WGL_INVALID, false, REPLAY_REFUSED},
    {"bad_revision_order", WGL_INVALID, false, REPLAY_REAL_TIME},
    {"bad_two_holders", WGL_INVALID, true, 0},
    {"bad_token_reused", WGL_INVALID, false, REPLAY_ONE_GRANT},
    {"bad_token_goes_back", WGL_INVALID, false, REPLAY_TOKEN_ORDER},
    {"bad_release_refused", WGL_INVALID, true, 0},
    {"bad_set_lost", WGL_INVALID, true, 0},
    {"bad_set_phantom", WGL_INVALID, true, 0},
    {"bad_set_twice", WGL_INVALID, true, 0},
    {"bad_list_order", WGL_INVALID, true, 0},
    {"bad_list_forgets", WGL_INVALID, true, 0},
    /* Each object alone is as it should be: only all together are not. */
    {"bad_revision_order_across", WGL_VALID, false, REPLAY_REAL_TIME},
    {"bad_revision_reused", WGL_VALID, false, REPLAY_ONE_CHANGE},
    {"bad_token_goes_back_across", WGL_VALID, false, REPLAY_TOKEN_ORDER},
};

static struct history *open_example(const char *name)
{
    struct history *history = generate_empty();
    struct history_fault fault;
    char path[128];

    (void)snprintf(path, sizeof(path), "tests/unit/jepsen/histories/%s.jsonl", name);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    if (history_read(history, file, &fault) != ERR_OK) {
        fail_msg("%s:%u: %s", path, fault.line, fault.text);
    }
    assert_int_equal(fclose(file), 0);
    return history;
}

static enum wgl_verdict check_within(const struct history *history, struct wgl_limits limits,
                                     struct wgl_report *report)
{
    struct wgl *wgl = wgl_open(&limits);
    enum wgl_verdict verdict = wgl_check(wgl, history, report);

    wgl_close(wgl);
    return verdict;
}

static void the_search_knows_good_from_bad(void **state)
{
    (void)state;

    for (size_t i = 0; i < COUNT_OF(examples); i++) {
        struct history *history = open_example(examples[i].name);
        struct wgl_report report;

        enum wgl_verdict verdict = check_within(history, wgl_default_limits(), &report);

        if (verdict != examples[i].search) {
            fail_msg("%s: %s", examples[i].name, wgl_verdict_name(verdict));
        }
        history_close(history);
    }
}

static void the_replay_names_the_broken_law(void **state)
{
    (void)state;

    for (size_t i = 0; i < COUNT_OF(examples); i++) {
        struct history *history = open_example(examples[i].name);
        struct replay_report report;

        assert_int_equal(replay_check(history, &report), ERR_OK);

        if (report.valid != examples[i].is_replayed ||
            (!report.valid && report.law != examples[i].law)) {
            fail_msg("%s: valid %d, law %d", examples[i].name, report.valid, (int)report.law);
        }
        history_close(history);
    }
}

/* Of the object that fails first, what holds and what cannot follow. */
static void a_bad_history_is_explained(void **state)
{
    (void)state;
    struct history *history = open_example("bad_vanishes");
    struct wgl_limits limits = wgl_default_limits();
    struct wgl *wgl = wgl_open(&limits);
    struct wgl_report report;
    char memory[TEXT_SIZE];
    struct text text;

    assert_int_equal(wgl_check(wgl, history, &report), WGL_INVALID);
    text_init(&text, memory, sizeof(memory));
    wgl_explain(&report, history, &text);

    assert_int_equal(report.placed_count, 3);
    assert_int_equal(report.placed[0], 0);
    assert_int_equal(report.placed[1], 1);
    assert_int_equal(report.placed[2], 2);
    assert_int_equal(report.open_count, 1);
    assert_int_equal(report.stuck, 3);
    assert_non_null(strstr(memory, "register \"x\""));
    assert_non_null(strstr(memory, "#1 process 1: put \"b\" -> unknown"));
    assert_non_null(strstr(memory, "#3 process 2: get -> ok \"a\" revision=5"));
    wgl_close(wgl);
    history_close(history);
}

static void a_replay_is_explained(void **state)
{
    (void)state;
    struct history *history = open_example("bad_stale_read");
    struct replay_report report;
    char memory[TEXT_SIZE];
    struct text text;

    assert_int_equal(replay_check(history, &report), ERR_OK);
    text_init(&text, memory, sizeof(memory));
    replay_explain(&report, history, &text);

    assert_non_null(strstr(memory, "newest change"));
    assert_non_null(strstr(memory, "#2 process 1: get -> ok \"a\" revision=5"));
    assert_non_null(strstr(memory, "#1 process 0: put \"b\" -> ok revision=6"));
    history_close(history);
}

static void the_bad_object_among_good_ones_is_named(void **state)
{
    (void)state;
    struct history *history = open_example("bad_stale_read");
    struct history_call put = {.function = HISTORY_PUT, .value = 1};
    struct history_answer done = {.revision = 20};
    struct wgl_report report;

    for (unsigned key = 0; key < 5; key++) {
        uint8_t name = (uint8_t)('a' + key);
        assert_int_equal(history_call(history, 7, bytes_of(&name, 1), &put, 100000), ERR_OK);
        assert_int_equal(history_answer(history, 7, HISTORY_OK, &done, 100000), ERR_OK);
    }

    assert_int_equal(check_within(history, wgl_default_limits(), &report), WGL_INVALID);
    assert_int_equal(report.valid_count, 5);
    assert_int_equal(report.invalid_count, 1);
    assert_true(bytes_equal(history_key_name(history, report.key), bytes_of_text("x")));
    history_close(history);
}

/* Twelve writers at once and a read of what nobody wrote: no order holds, and all must be tried. */
static struct history *open_hard(void)
{
    struct history *history = generate_empty();
    struct history_call read = {.function = HISTORY_ITEMS};
    struct history_answer done = {.value = HISTORY_ABSENT};
    history_value never;

    for (uint32_t process = 0; process < 12; process++) {
        struct history_call call = {.function = HISTORY_APPEND};
        char name = (char)('a' + process);
        assert_int_equal(history_value_of(history, bytes_of(&name, 1), &call.value), ERR_OK);
        assert_int_equal(history_call(history, process, bytes_of_text("l"), &call, 1), ERR_OK);
    }
    for (uint32_t process = 0; process < 12; process++) {
        assert_int_equal(history_answer(history, process, HISTORY_OK, &done, 2), ERR_OK);
    }
    assert_int_equal(history_value_of(history, bytes_of_text("never"), &never), ERR_OK);
    assert_int_equal(history_list_of(history, &never, 1, &done.value), ERR_OK);
    assert_int_equal(history_call(history, 0, bytes_of_text("l"), &read, 3), ERR_OK);
    assert_int_equal(history_answer(history, 0, HISTORY_OK, &done, 4), ERR_OK);
    return history;
}

static void a_limit_that_is_reached_is_not_a_pass(void **state)
{
    (void)state;
    struct history *history = open_hard();
    struct wgl_limits limits = wgl_default_limits();
    struct wgl_report report;

    limits.step_count_max = 1000;
    assert_int_equal(check_within(history, limits, &report), WGL_UNKNOWN);
    assert_int_equal(report.reason, WGL_REASON_STEPS);
    assert_true(report.step_count < 1100);

    limits = wgl_default_limits();
    limits.memory_size_max = 1024 * 1024;
    assert_int_equal(check_within(history, limits, &report), WGL_UNKNOWN);
    assert_int_equal(report.reason, WGL_REASON_MEMORY);

    limits = wgl_default_limits();
    limits.step_count_max = UINT64_MAX;
    limits.memory_size_max = 64 * 1024 * 1024;
    limits.time_ms_max = 1;
    assert_int_equal(check_within(history, limits, &report), WGL_UNKNOWN);
    assert_int_equal(report.reason, WGL_REASON_TIME);
    history_close(history);
}

static void an_object_beyond_a_limit_does_not_hide_a_bad_one(void **state)
{
    (void)state;
    struct history *history = open_hard();
    struct history_call get = {.function = HISTORY_GET};
    struct history_answer wrong = {.value = 1};
    struct wgl_limits limits = wgl_default_limits();
    struct wgl_report report;

    assert_int_equal(history_call(history, 0, bytes_of_text("r"), &get, 5), ERR_OK);
    assert_int_equal(history_answer(history, 0, HISTORY_OK, &wrong, 6), ERR_OK);
    limits.step_count_max = 1000;

    assert_int_equal(check_within(history, limits, &report), WGL_INVALID);
    assert_int_equal(report.unknown_count, 1);
    assert_int_equal(history_key_object(history, report.key), HISTORY_REGISTER);
    history_close(history);
}

static void an_element_that_is_added_twice_has_no_verdict(void **state)
{
    (void)state;
    struct history *history = generate_empty();
    struct history_call add = {.function = HISTORY_ADD};
    struct history_answer done = {.value = HISTORY_ABSENT};
    struct wgl_report report;

    assert_int_equal(history_value_of(history, bytes_of_text("1"), &add.value), ERR_OK);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(history_call(history, 0, bytes_of_text("s"), &add, i), ERR_OK);
        assert_int_equal(history_answer(history, 0, HISTORY_OK, &done, i), ERR_OK);
    }

    assert_int_equal(check_within(history, wgl_default_limits(), &report), WGL_UNKNOWN);
    assert_int_equal(report.reason, WGL_REASON_ADDED_TWICE);
    history_close(history);
}

/* What made other checkers run for minutes: writes with unknown outcomes before a bad read. */
static void unknown_outcomes_that_nobody_saw_cost_little(void **state)
{
    (void)state;
    struct history *history = generate_empty();
    struct history_call call = {.function = HISTORY_PUT};
    struct history_answer answer = {.value = HISTORY_ABSENT};
    struct wgl_report report;

    for (uint32_t i = 0; i < 60; i++) {
        char name[8];
        int size = snprintf(name, sizeof(name), "%u", i);
        assert_int_equal(history_value_of(history, bytes_of(name, (size_t)size), &call.value),
                         ERR_OK);
        assert_int_equal(history_call(history, i, bytes_of_text("x"), &call, i), ERR_OK);
        if (i % 2 == 0) {
            assert_int_equal(history_answer(history, i, HISTORY_OK, &answer, i), ERR_OK);
        }
    }
    call = (struct history_call){.function = HISTORY_GET};
    assert_int_equal(history_call(history, 99, bytes_of_text("x"), &call, 99), ERR_OK);
    assert_int_equal(history_value_of(history, bytes_of_text("never"), &answer.value), ERR_OK);
    assert_int_equal(history_answer(history, 99, HISTORY_OK, &answer, 99), ERR_OK);

    assert_int_equal(check_within(history, wgl_default_limits(), &report), WGL_INVALID);
    /* There are 2^30 sets of those 30 writes. */
    assert_true(report.step_count < 50000);
    history_close(history);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_search_knows_good_from_bad),
        cmocka_unit_test(the_replay_names_the_broken_law),
        cmocka_unit_test(a_bad_history_is_explained),
        cmocka_unit_test(a_replay_is_explained),
        cmocka_unit_test(the_bad_object_among_good_ones_is_named),
        cmocka_unit_test(a_limit_that_is_reached_is_not_a_pass),
        cmocka_unit_test(an_object_beyond_a_limit_does_not_hide_a_bad_one),
        cmocka_unit_test(an_element_that_is_added_twice_has_no_verdict),
        cmocka_unit_test(unknown_outcomes_that_nobody_saw_cost_little),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
