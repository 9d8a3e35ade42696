/* tests/unit/client/group_test.c: combinations of calls, in every mix of what their members become.
 */
#define _GNU_SOURCE /* NOLINT(bugprone-reserved-identifier): the C library's own switch. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>
#include <uv.h>

#include "client/client.h"
#include "tests/support/client/looped.h"

/* --- Combinations ----------------------------------------------------------------------------- */

enum fate { DONE_OK, DONE_BAD, SOON_OK, SOON_BAD, NEVER, FATE_COUNT };
enum { MEMBER_COUNT = 3, MIX_COUNT = FATE_COUNT * FATE_COUNT * FATE_COUNT };
enum ending { BY_TIMEOUT, BY_CANCEL, BY_FREEING_MEMBERS, ENDING_COUNT };

struct mix {
    enum fate fates[MEMBER_COUNT];
    bool is_any;
    enum ending ending;
};

struct expected {
    bool hangs; /* It waits for its ending. */
    enum holdfast_status status;
    size_t index;
};

static bool has(const struct mix *mix, enum fate fate, size_t *first, size_t *last)
{
    bool found = false;

    for (size_t i = 0; i < MEMBER_COUNT; i++) {
        if (mix->fates[i] == fate) {
            *first = found ? *first : i;
            *last = i;
            found = true;
        }
    }
    return found;
}

/* What the header promises, said once more: those that are done come first, answers come in the
 * order of the requests. */
static struct expected expect_of(const struct mix *mix)
{
    const enum fate order[2][2] = {{DONE_BAD, SOON_BAD}, {DONE_OK, SOON_OK}};
    struct expected expected = {.status = HOLDFAST_OK};
    size_t first = 0;
    size_t last = 0;
    bool decided = has(mix, order[mix->is_any][0], &first, &last) ||
                   has(mix, order[mix->is_any][1], &first, &last);

    expected.index = first;
    expected.status = decided == mix->is_any ? HOLDFAST_OK : HOLDFAST_NOT_FOUND;
    if (mix->is_any && !decided) {
        (void)(has(mix, SOON_BAD, &first, &last) || has(mix, DONE_BAD, &first, &last));
        expected.index = last;
    }
    bool is_over = mix->is_any && decided;
    if (!is_over && has(mix, NEVER, &first, &last)) {
        expected.hangs = true;
        expected.status = mix->ending == BY_TIMEOUT  ? HOLDFAST_TIMEOUT
                          : mix->ending == BY_CANCEL ? HOLDFAST_CANCELLED
                          : mix->is_any || !decided  ? HOLDFAST_CANCELLED
                                                     : HOLDFAST_NOT_FOUND;
    }
    return expected;
}

static struct holdfast_call *start(struct looped *looped, enum fate fate, size_t place)
{
    switch (fate) {
    case DONE_OK:
    case SOON_OK:
        return looped_put(looped);
    case DONE_BAD:
    case SOON_BAD:
        return holdfast_get(looped->client, "absent", 6, holdfast_keep, NULL);
    case NEVER:
        return looped_wait(looped, place);
    case FATE_COUNT:
        break;
    }
    fail();
    return NULL;
}

static void start_members(struct looped *looped, const struct mix *mix,
                          struct holdfast_call *members[MEMBER_COUNT])
{
    for (size_t i = 0; i < MEMBER_COUNT; i++) {
        if (mix->fates[i] == DONE_OK || mix->fates[i] == DONE_BAD) {
            members[i] = start(looped, mix->fates[i], i);
            looped_run(looped, members[i]);
        }
    }
    for (size_t i = 0; i < MEMBER_COUNT; i++) {
        if (mix->fates[i] != DONE_OK && mix->fates[i] != DONE_BAD) {
            members[i] = start(looped, mix->fates[i], i);
        }
    }
}

static struct holdfast_call *combine(struct looped *looped, const struct mix *mix,
                                     struct holdfast_call *members[MEMBER_COUNT],
                                     uint32_t timeout_ms)
{
    return mix->is_any ? holdfast_any(looped->client, members, MEMBER_COUNT, timeout_ms,
                                      holdfast_keep, NULL)
                       : holdfast_all(looped->client, members, MEMBER_COUNT, timeout_ms,
                                      holdfast_keep, NULL);
}

/* Brings one that waits for ever to its end. */
static void end_combination(struct looped *looped, const struct mix *mix,
                            struct holdfast_call *call, struct holdfast_call *members[MEMBER_COUNT])
{
    /* All but those that wait for ever are done by then. */
    for (size_t i = 0; i < MEMBER_COUNT; i++) {
        if (mix->fates[i] != NEVER) {
            looped_run(looped, members[i]);
        }
    }
    assert_false(holdfast_call_is_done(call));
    if (mix->ending == BY_CANCEL) {
        holdfast_cancel(call);
    }
    for (size_t i = 0; mix->ending == BY_FREEING_MEMBERS && i < MEMBER_COUNT; i++) {
        if (mix->fates[i] == NEVER) {
            holdfast_call_free(members[i]);
            members[i] = NULL;
        }
    }
}

static void check_mix(struct looped *looped, const struct mix *mix)
{
    struct holdfast_call *members[MEMBER_COUNT];
    struct expected expected = expect_of(mix);
    struct looped_told told = {0};
    bool is_late = expected.hangs && mix->ending == BY_TIMEOUT;

    start_members(looped, mix, members);
    struct holdfast_call *call = combine(looped, mix, members, is_late ? 3 : 0);
    holdfast_call_then(call, looped_on_told, &told);
    if (expected.hangs && !is_late) {
        end_combination(looped, mix, call, members);
    }
    looped_run(looped, call);

    const struct holdfast_result *result = holdfast_call_result(call);
    assert_int_equal(result->status, expected.status);
    if (!expected.hangs && (expected.status != HOLDFAST_OK || mix->is_any)) {
        assert_int_equal(result->index, expected.index);
    }
    assert_int_equal(told.count, 1);
    assert_int_equal(told.status, expected.status);
    for (size_t i = 0; i < MEMBER_COUNT; i++) {
        if (members[i] != NULL) {
            assert_true(holdfast_call_is_done(members[i]));
            if (mix->fates[i] == NEVER) {
                assert_int_equal(holdfast_call_result(members[i])->status, HOLDFAST_CANCELLED);
            }
        }
        holdfast_call_free(members[i]);
    }
    holdfast_call_free(call);
}

static void a_combination_is_what_its_members_were_in_every_mix_and_ending(void **state)
{
    struct looped looped;

    (void)state;
    looped_open(&looped, FAKE_SERVES);
    looped_hold_locks(&looped);
    for (int i = 0; i < MIX_COUNT * 2 * ENDING_COUNT; i++) {
        struct mix mix = {.fates = {(enum fate)(i % FATE_COUNT),
                                    (enum fate)(i / FATE_COUNT % FATE_COUNT),
                                    (enum fate)(i / (FATE_COUNT * FATE_COUNT) % FATE_COUNT)},
                          .is_any = i / MIX_COUNT % 2 == 1,
                          .ending = (enum ending)(i / (MIX_COUNT * 2))};
        check_mix(&looped, &mix);
    }
    looped_close(&looped);
}

static void any_has_one_winner_also_when_several_succeed(void **state)
{
    struct looped looped;
    struct holdfast_call *members[MEMBER_COUNT];

    (void)state;
    looped_open(&looped, FAKE_SERVES);
    for (size_t i = 0; i < MEMBER_COUNT; i++) {
        members[i] = looped_put(&looped);
        looped_run(&looped, members[i]);
    }
    struct holdfast_call *any =
        holdfast_any(looped.client, members, MEMBER_COUNT, 0, holdfast_keep, NULL);
    looped_run(&looped, any);

    assert_int_equal(holdfast_call_result(any)->status, HOLDFAST_OK);
    assert_int_equal(holdfast_call_result(any)->index, 0);
    holdfast_call_free(any);
    for (size_t i = 0; i < MEMBER_COUNT; i++) {
        assert_int_equal(looped_finish(&looped, members[i]), HOLDFAST_OK);
    }
    looped_close(&looped);
}

static void combinations_combine_and_a_timeout_reaches_the_innermost(void **state)
{
    struct looped looped;

    (void)state;
    looped_open(&looped, FAKE_SERVES);
    looped_hold_locks(&looped);
    struct holdfast_call *inner[2] = {start(&looped, NEVER, 0), start(&looped, SOON_OK, 1)};
    struct holdfast_call *outer[2] = {holdfast_all(looped.client, inner, 2, 0, holdfast_keep, NULL),
                                      start(&looped, NEVER, 2)};
    struct holdfast_call *any = holdfast_any(looped.client, outer, 2, 20, holdfast_keep, NULL);
    looped_run(&looped, any);

    assert_int_equal(holdfast_call_result(any)->status, HOLDFAST_TIMEOUT);
    assert_int_equal(holdfast_call_result(any)->outcome, HOLDFAST_UNKNOWN); /* A put was done. */
    assert_int_equal(holdfast_call_result(outer[0])->status, HOLDFAST_CANCELLED);
    assert_int_equal(holdfast_call_result(inner[0])->status, HOLDFAST_CANCELLED);
    assert_int_equal(holdfast_call_result(inner[1])->status, HOLDFAST_OK);
    holdfast_call_free(any);
    for (size_t i = 0; i < 2; i++) {
        holdfast_call_free(outer[i]);
        holdfast_call_free(inner[i]);
    }
    looped_close(&looped);
}

static void a_combination_that_cannot_be_is_refused_and_lets_its_members_go(void **state)
{
    struct looped looped;
    struct looped_told told = {0};

    (void)state;
    looped_open(&looped, FAKE_SERVES);
    struct holdfast_call *twice = looped_put(&looped);
    struct holdfast_call *members[2] = {twice, twice};
    assert_int_equal(
        looped_finish(&looped, holdfast_all(looped.client, members, 2, 0, holdfast_keep, NULL)),
        HOLDFAST_MALFORMED);
    members[1] = NULL;
    assert_int_equal(
        looped_finish(&looped, holdfast_all(looped.client, members, 2, 0, holdfast_keep, NULL)),
        HOLDFAST_MALFORMED);
    assert_non_null(holdfast_any(looped.client, NULL, 0, 0, looped_on_told, &told));
    assert_int_equal(
        looped_finish(&looped, holdfast_all(looped.client, NULL, 0, 0, holdfast_keep, NULL)),
        HOLDFAST_OK);
    assert_int_equal(told.count, 1);
    assert_int_equal(told.status, HOLDFAST_MALFORMED);

    struct holdfast_call *all = holdfast_all(looped.client, members, 1, 1000, holdfast_keep, NULL);
    struct holdfast_call *again =
        holdfast_all(looped.client, members, 1, 1000, holdfast_keep, NULL);
    assert_int_equal(looped_finish(&looped, again), HOLDFAST_MALFORMED);
    assert_int_equal(looped_finish(&looped, all), HOLDFAST_OK);
    assert_int_equal(
        looped_finish(&looped, holdfast_any(looped.client, members, 1, 0, holdfast_keep, NULL)),
        HOLDFAST_OK); /* It is free again. */
    assert_int_equal(looped_finish(&looped, twice), HOLDFAST_OK);
    looped_close(&looped);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_combination_is_what_its_members_were_in_every_mix_and_ending),
        cmocka_unit_test(any_has_one_winner_also_when_several_succeed),
        cmocka_unit_test(combinations_combine_and_a_timeout_reaches_the_innermost),
        cmocka_unit_test(a_combination_that_cannot_be_is_refused_and_lets_its_members_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
