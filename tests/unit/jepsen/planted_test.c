/* tests/unit/jepsen/planted_test.c: good histories with one wrong each that surely breaks them.
 *
 * Every value is written once, so that what a wrong answer means is certain. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

#include <cmocka.h>

#include "base/macros.h"
#include "jepsen/replay.h"
#include "jepsen/wgl.h"
#include "tests/support/jepsen/generate.h"

enum { ROUND_COUNT = 40, NOTHING = UINT32_MAX };

static bool is_ok(const struct history_operation *operation, enum history_function function)
{
    return operation->outcome == HISTORY_OK && operation->call.function == function &&
           !operation->answer.refused;
}

/* The write of the value, if it was answered; NOTHING otherwise. */
static uint32_t write_of(const struct history *history, history_value value)
{
    for (uint32_t i = 0; i < history_operation_count(history); i++) {
        const struct history_operation *operation = history_operation_at(history, i);
        if ((is_ok(operation, HISTORY_PUT) || is_ok(operation, HISTORY_CAS)) &&
            operation->call.value == value) {
            return i;
        }
    }
    return NOTHING;
}

static uint32_t write_seen_by(const struct history *history, const struct history_operation *read)
{
    return is_ok(read, HISTORY_GET) ? write_of(history, read->answer.value) : NOTHING;
}

static bool is_before(const struct history_operation *first, const struct history_operation *second)
{
    return first->answered_at < second->called_at;
}

/* Each gives `*changed` and the number of the operation that it replaces; NOTHING when the
 * history has no place for this wrong. */

/* A read is told a value that was replaced before it was called. */
static uint32_t plant_stale_read(struct history *history, struct history_operation *changed)
{
    for (uint32_t i = 0; i < history_operation_count(history); i++) {
        const struct history_operation *read = history_operation_at(history, i);
        for (uint32_t j = 0; is_ok(read, HISTORY_GET) && j < i; j++) {
            const struct history_operation *old = history_operation_at(history, j);
            for (uint32_t k = j + 1; is_ok(old, HISTORY_PUT) && old->key == read->key && k < i;
                 k++) {
                const struct history_operation *new = history_operation_at(history, k);
                if (is_ok(new, HISTORY_PUT) && new->key == read->key && is_before(old, new) &&
                    is_before(new, read)) {
                    *changed = *read;
                    changed->answer.value = old->call.value;
                    changed->answer.revision = old->answer.revision;
                    return i;
                }
            }
        }
    }
    return NOTHING;
}

static uint32_t plant_invented_value(struct history *history, struct history_operation *changed)
{
    for (uint32_t i = 0; i < history_operation_count(history); i++) {
        const struct history_operation *read = history_operation_at(history, i);
        if (is_ok(read, HISTORY_GET) && read->answer.revision != 0) {
            *changed = *history_operation_at(history, i);
            assert_int_equal(
                history_value_of(history, bytes_of_text("invented"), &changed->answer.value),
                ERR_OK);
            return i;
        }
    }
    return NOTHING;
}

/* A second swap succeeds on a value that the first one had replaced. */
static uint32_t plant_lost_update(struct history *history, struct history_operation *changed)
{
    for (uint32_t i = 0; i < history_operation_count(history); i++) {
        const struct history_operation *first = history_operation_at(history, i);
        if (!is_ok(first, HISTORY_CAS) || write_of(history, first->call.expected) == NOTHING) {
            continue;
        }
        for (uint32_t j = i + 1; j < history_operation_count(history); j++) {
            const struct history_operation *second = history_operation_at(history, j);
            if (is_ok(second, HISTORY_CAS) && second->key == first->key) {
                *changed = *second;
                changed->call.expected = first->call.expected;
                return j;
            }
        }
    }
    return NOTHING;
}

/* A write that was answered and seen is said to have failed. */
static uint32_t plant_seen_failure(struct history *history, struct history_operation *changed)
{
    for (uint32_t i = 0; i < history_operation_count(history); i++) {
        uint32_t write = write_seen_by(history, history_operation_at(history, i));
        if (write != NOTHING) {
            *changed = *history_operation_at(history, write);
            changed->outcome = HISTORY_FAILED;
            return write;
        }
    }
    return NOTHING;
}

/* A swap whose new value was seen is said to have been refused. */
static uint32_t plant_refused_swap(struct history *history, struct history_operation *changed)
{
    for (uint32_t i = 0; i < history_operation_count(history); i++) {
        uint32_t write = write_seen_by(history, history_operation_at(history, i));
        if (write != NOTHING && is_ok(history_operation_at(history, write), HISTORY_CAS)) {
            *changed = *history_operation_at(history, write);
            changed->answer = (struct history_answer){.refused = true};
            return write;
        }
    }
    return NOTHING;
}

static uint32_t plant_token_reuse(struct history *history, struct history_operation *changed)
{
    for (uint32_t i = 0; i < history_operation_count(history); i++) {
        const struct history_operation *first = history_operation_at(history, i);
        for (uint32_t j = i + 1;
             is_ok(first, HISTORY_ACQUIRE) && j < history_operation_count(history); j++) {
            const struct history_operation *second = history_operation_at(history, j);
            if (is_ok(second, HISTORY_ACQUIRE) && second->key == first->key &&
                second->call.owner != first->call.owner) {
                *changed = *second;
                changed->answer.token = first->answer.token;
                return j;
            }
        }
    }
    return NOTHING;
}

/* An acquire between a grant that was answered and the release that named it is granted too. */
static uint32_t plant_second_holder(struct history *history, struct history_operation *changed)
{
    for (uint32_t i = 0; i < history_operation_count(history); i++) {
        const struct history_operation *refused = history_operation_at(history, i);
        const struct history_operation *last = NULL;
        if (refused->call.function != HISTORY_ACQUIRE || !refused->answer.refused) {
            continue;
        }
        for (uint32_t j = 0; j < history_operation_count(history); j++) {
            const struct history_operation *grant = history_operation_at(history, j);
            if (is_ok(grant, HISTORY_ACQUIRE) && grant->key == refused->key &&
                is_before(refused, grant) && grant->call.owner != refused->call.owner) {
                last = grant;
            }
        }
        /* Its token is one that another owner is granted only later. */
        if (last != NULL) {
            *changed = *refused;
            changed->answer = (struct history_answer){.token = last->answer.token};
            return i;
        }
    }
    return NOTHING;
}

/* A read of a set or a list loses an element that was added before it was called. */
static uint32_t plant_lost_element(struct history *history, struct history_operation *changed)
{
    for (uint32_t i = 0; i < history_operation_count(history); i++) {
        const struct history_operation *read = history_operation_at(history, i);
        bool reads = is_ok(read, HISTORY_MEMBERS) || is_ok(read, HISTORY_ITEMS);
        for (uint32_t j = 0; reads && j < i; j++) {
            const struct history_operation *add = history_operation_at(history, j);
            bool adds = is_ok(add, HISTORY_ADD) || is_ok(add, HISTORY_APPEND);
            if (!adds || add->key != read->key || !is_before(add, read)) {
                continue;
            }
            history_value kept[GENERATE_ITEM_MAX];
            uint32_t count = 0;
            for (uint32_t at = 0; at < history_list_count(history, read->answer.value); at++) {
                history_value item = history_list_at(history, read->answer.value, at);
                if (item != add->call.value) {
                    kept[count++] = item;
                }
            }
            *changed = *read;
            assert_int_equal(history_list_of(history, kept, count, &changed->answer.value), ERR_OK);
            return i;
        }
    }
    return NOTHING;
}

/* One element stands twice in a read. */
static uint32_t plant_double_element(struct history *history, struct history_operation *changed)
{
    for (uint32_t i = 0; i < history_operation_count(history); i++) {
        const struct history_operation *read = history_operation_at(history, i);
        uint32_t count =
            read->outcome == HISTORY_OK && history_value_is_list(history, read->answer.value)
                ? history_list_count(history, read->answer.value)
                : 0;
        if (count != 0 && count < GENERATE_ITEM_MAX) {
            history_value items[GENERATE_ITEM_MAX];
            for (uint32_t at = 0; at < count; at++) {
                items[at] = history_list_at(history, read->answer.value, at);
            }
            items[count] = items[0];
            *changed = *read;
            assert_int_equal(history_list_of(history, items, count + 1, &changed->answer.value),
                             ERR_OK);
            return i;
        }
    }
    return NOTHING;
}

/* The last read of a list, which others read before, has its first two items swapped. */
static uint32_t plant_swapped_items(struct history *history, struct history_operation *changed)
{
    uint32_t reader_count = 0;
    uint32_t last = NOTHING;

    for (uint32_t i = 0; i < history_operation_count(history); i++) {
        const struct history_operation *read = history_operation_at(history, i);
        if (is_ok(read, HISTORY_ITEMS) && read->key == 0 &&
            history_list_count(history, read->answer.value) >= 2) {
            reader_count++;
            last = i;
        }
    }
    if (reader_count < 2) {
        return NOTHING;
    }
    *changed = *history_operation_at(history, last);
    history_value items[GENERATE_ITEM_MAX];
    uint32_t count = history_list_count(history, changed->answer.value);
    for (uint32_t at = 0; at < count; at++) {
        items[at] = history_list_at(history, changed->answer.value, at < 2 ? 1 - at : at);
    }
    assert_int_equal(history_list_of(history, items, count, &changed->answer.value), ERR_OK);
    return last;
}

struct planted {
    const char *name;
    enum history_object object;
    uint32_t (*plant)(struct history *history, struct history_operation *changed);
    bool is_replayed; /* The replay finds it as well, with revisions. */
};

static const struct planted all_planted[] = {
    {"stale read", HISTORY_REGISTER, plant_stale_read, true},
    {"invented value", HISTORY_REGISTER, plant_invented_value, true},
    {"lost update", HISTORY_REGISTER, plant_lost_update, true},
    {"seen failure", HISTORY_REGISTER, plant_seen_failure, true},
    {"refused swap", HISTORY_REGISTER, plant_refused_swap, true},
    {"token reuse", HISTORY_LOCK, plant_token_reuse, true},
    {"second holder", HISTORY_LOCK, plant_second_holder, true},
    {"lost element", HISTORY_SET, plant_lost_element, false},
    {"double element", HISTORY_SET, plant_double_element, false},
    {"lost item", HISTORY_LIST, plant_lost_element, false},
    {"double item", HISTORY_LIST, plant_double_element, false},
    {"swapped items", HISTORY_LIST, plant_swapped_items, false},
};

static enum wgl_verdict verdict_of(const struct history *history, struct wgl_report *report)
{
    struct wgl_limits limits = wgl_default_limits();
    struct wgl *wgl = wgl_open(&limits);
    enum wgl_verdict verdict = wgl_check(wgl, history, report);

    wgl_close(wgl);
    return verdict;
}

/* Whether there was a place for the wrong. */
static bool expect_found(const struct planted *planted, struct history *history)
{
    struct history_operation changed;
    struct wgl_report report;
    struct replay_report replayed;
    uint32_t number = planted->plant(history, &changed);

    if (number == NOTHING) {
        return false;
    }
    struct history *bad = generate_changed(history, number, &changed);
    enum wgl_verdict verdict = verdict_of(bad, &report);
    assert_int_equal(replay_check(bad, &replayed), ERR_OK);
    if (verdict != WGL_INVALID || (planted->is_replayed && replayed.valid)) {
        assert_int_equal(history_write(bad, stderr), ERR_OK);
        fail_msg("%s at %u: the search says %s, the replay %s", planted->name, number,
                 wgl_verdict_name(verdict), replayed.valid ? "valid" : "invalid");
    }
    history_close(bad);
    return true;
}

static void every_planted_wrong_is_found(void **state)
{
    (void)state;
    struct prng prng;

    prng_init(&prng, 4);
    for (size_t i = 0; i < COUNT_OF(all_planted); i++) {
        uint32_t found = 0;
        for (uint32_t round = 0; round < ROUND_COUNT; round++) {
            struct generate_options options = {
                .object = all_planted[i].object,
                .operation_count = 200,
                .process_count = (uint32_t)prng_between(&prng, 2, 8),
                .key_count = (uint32_t)prng_between(&prng, 1, 3),
                .info_percent = (uint32_t)prng_below(&prng, 4),
                .failed_percent = 5,
                .has_revisions = true,
            };
            struct history *history = generate_history(&prng, &options);
            found += expect_found(&all_planted[i], history);
            history_close(history);
        }
        if (found < ROUND_COUNT / 2) {
            fail_msg("%s: only %u histories had a place for it", all_planted[i].name, found);
        }
    }
}

static uint64_t clock_ms(void)
{
    struct timespec now;

    assert_int_equal(clock_gettime(CLOCK_MONOTONIC, &now), 0);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* 100,000 operations on 100 registers by 16 processes: steps grow with the operations, not faster.
 */
static void a_long_history_is_checked_in_few_steps(void **state)
{
    (void)state;
    struct generate_options options = {
        .object = HISTORY_REGISTER,
        .operation_count = 100000,
        .process_count = 16,
        .key_count = 100,
        .info_percent = 1,
        .failed_percent = 2,
        .has_revisions = true,
    };
    struct wgl_report report;
    struct replay_report replayed;
    struct history_operation changed;
    struct prng prng;

    prng_init(&prng, 5);
    struct history *history = generate_history(&prng, &options);
    uint64_t start_ms = clock_ms();
    assert_int_equal(verdict_of(history, &report), WGL_VALID);
    uint64_t searched_ms = clock_ms();
    assert_int_equal(replay_check(history, &replayed), ERR_OK);
    uint64_t replayed_ms = clock_ms();

    assert_true(replayed.valid);
    assert_int_equal(report.valid_count, 100);
    assert_true(report.step_count < 40 * UINT64_C(100000));
    print_message("search: %llu steps, %llu ms; replay: %llu ms, %u undecided\n",
                  (unsigned long long)report.step_count,
                  (unsigned long long)(searched_ms - start_ms),
                  (unsigned long long)(replayed_ms - searched_ms), replayed.undecided_count);

    uint32_t number = plant_stale_read(history, &changed);
    struct history *bad = generate_changed(history, number, &changed);
    assert_int_equal(verdict_of(bad, &report), WGL_INVALID);
    assert_int_equal(report.invalid_count, 1);
    history_close(bad);
    history_close(history);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_planted_wrong_is_found),
        cmocka_unit_test(a_long_history_is_checked_in_few_steps),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
