/* tests/unit/jepsen/random_test.c: the search against a server that is right, against histories
 * with planted wrongs, and against a checker that tries every order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/macros.h"
#include "jepsen/replay.h"
#include "jepsen/wgl.h"
#include "tests/support/jepsen/brute.h"
#include "tests/support/jepsen/generate.h"

static enum wgl_verdict verdict_of(const struct history *history)
{
    struct wgl_limits limits = wgl_default_limits();
    struct wgl *wgl = wgl_open(&limits);
    struct wgl_report report;
    enum wgl_verdict verdict = wgl_check(wgl, history, &report);

    wgl_close(wgl);
    return verdict;
}

static struct generate_options draw_small(struct prng *prng)
{
    enum history_object object = (enum history_object)prng_below(prng, 4);

    return (struct generate_options){
        .object = object,
        .operation_count = (uint32_t)prng_between(prng, 3, 10),
        .process_count = (uint32_t)prng_between(prng, 2, 5),
        .key_count = 1,
        .info_percent = (uint32_t)prng_below(prng, 60),
        .failed_percent = (uint32_t)prng_below(prng, 20),
        .value_count = object == HISTORY_SET ? 0 : (uint32_t)prng_below(prng, 4),
        .has_revisions = object == HISTORY_REGISTER && prng_below(prng, 2) == 0,
    };
}

/* Gives one operation another answer or another outcome: often wrong, not always. */
static struct history *garble(struct prng *prng, struct history *history)
{
    uint32_t count = history_operation_count(history);
    uint32_t number = (uint32_t)prng_below(prng, count);
    const struct history_operation *source =
        history_operation_at(history, (uint32_t)prng_below(prng, count));
    struct history_operation changed = *history_operation_at(history, number);
    bool both_ok = changed.outcome == HISTORY_OK && source->outcome == HISTORY_OK;

    if (both_ok && source->call.function == changed.call.function) {
        changed.answer = source->answer;
    } else if (both_ok && changed.call.function == HISTORY_GET) {
        changed.answer = (struct history_answer){.value = source->call.value};
    } else if (both_ok &&
               (changed.call.function == HISTORY_CAS || changed.call.function == HISTORY_RELEASE)) {
        changed.answer = (struct history_answer){.refused = !changed.answer.refused};
    } else if (changed.outcome != HISTORY_PENDING) {
        changed.outcome = changed.outcome == HISTORY_FAILED ? HISTORY_INFO : HISTORY_FAILED;
    }
    struct history *garbled = generate_changed(history, number, &changed);
    history_close(history);
    return garbled;
}

static void expect_agreement(const struct history *history, uint32_t round,
                             enum wgl_verdict verdict)
{
    struct replay_report report;
    bool is_linearizable = brute_is_linearizable(history);

    assert_int_equal(replay_check(history, &report), ERR_OK);
    /* What the replay cannot decide it does not refuse. */
    bool is_replayed = report.undecided_count != 0 ? !report.valid && is_linearizable
                                                   : report.valid != is_linearizable;
    if (verdict == WGL_UNKNOWN || (verdict == WGL_VALID) != is_linearizable || is_replayed) {
        assert_int_equal(history_write(history, stderr), ERR_OK);
        fail_msg("round %u: the search says %s, the replay %s (%u undecided)", round,
                 wgl_verdict_name(verdict), report.valid ? "valid" : "invalid",
                 report.undecided_count);
    }
}

static void the_search_agrees_with_trying_every_order(void **state)
{
    (void)state;
    uint32_t counts[4][2] = {{0}};
    struct prng prng;

    prng_init(&prng, 1);
    for (uint32_t round = 0; round < 100000; round++) {
        struct generate_options options = draw_small(&prng);
        struct history *history = generate_history(&prng, &options);
        for (uint64_t times = prng_below(&prng, 8); times > 0; times--) {
            history = garble(&prng, history);
        }

        enum wgl_verdict verdict = verdict_of(history);

        expect_agreement(history, round, verdict);
        counts[options.object][verdict]++;
        history_close(history);
    }

    for (uint32_t object = 0; object < COUNT_OF(counts); object++) {
        assert_true(counts[object][WGL_VALID] > 1000);
        assert_true(counts[object][WGL_INVALID] > 1000);
    }
}

static void expect_valid(const struct history *history)
{
    struct replay_report report;

    assert_int_equal(replay_check(history, &report), ERR_OK);
    assert_true(report.valid);
    assert_int_equal(verdict_of(history), WGL_VALID);
}

static struct generate_options draw_large(struct prng *prng, uint32_t round)
{
    return (struct generate_options){
        .object = (enum history_object)(round % 4),
        .operation_count = 500,
        .process_count = (uint32_t)prng_between(prng, 2, 10),
        .key_count = (uint32_t)prng_between(prng, 2, 8),
        .info_percent = (uint32_t)prng_below(prng, 10),
        .failed_percent = 5,
        .has_revisions = prng_below(prng, 2) == 0,
    };
}

static void what_a_right_server_did_is_valid(void **state)
{
    (void)state;
    struct prng prng;

    prng_init(&prng, 2);
    for (uint32_t round = 0; round < 400; round++) {
        struct generate_options options = draw_large(&prng, round);
        struct history *history = generate_history(&prng, &options);

        expect_valid(history);

        history_close(history);
    }
}

static void values_written_more_than_once_are_found_out(void **state)
{
    (void)state;
    struct prng prng;

    prng_init(&prng, 3);
    for (uint32_t round = 0; round < 200; round++) {
        struct generate_options options = draw_large(&prng, round);
        options.object = round % 2 == 0 ? HISTORY_REGISTER : HISTORY_LIST;
        options.value_count = 5;
        options.info_percent = 1;
        struct history *history = generate_history(&prng, &options);

        expect_valid(history);

        history_close(history);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_search_agrees_with_trying_every_order),
        cmocka_unit_test(what_a_right_server_did_is_valid),
        cmocka_unit_test(values_written_more_than_once_are_found_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
