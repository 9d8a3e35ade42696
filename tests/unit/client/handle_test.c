/* tests/unit/client/handle_test.c: calls that are kept: waiting, cancelling, combining, freeing, in
 * every order. */
#define _GNU_SOURCE /* NOLINT(bugprone-reserved-identifier): the C library's own switch. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <string.h>
#include <uv.h>

#include "client/client.h"
#include "tests/support/client/fake_server.h"

/* --- A client on a loop: nothing happens but in uv_run() -------------------------------------- */

struct fixture {
    struct fake_server *server;
    struct holdfast *client;
    uv_loop_t loop;
    struct holdfast_session *holder;
    struct holdfast_session *waiter;
    bool is_closed;
};

/* One step that does not wait goes first: what it ends may leave nothing to wait for. */
static void run_until_done(struct fixture *fixture, const struct holdfast_call *call)
{
    while (!holdfast_call_is_done(call)) {
        (void)uv_run(&fixture->loop, UV_RUN_NOWAIT);
        if (!holdfast_call_is_done(call)) {
            (void)uv_run(&fixture->loop, UV_RUN_ONCE);
        }
    }
}

/* What it was; the handle is freed. */
static enum holdfast_status finish(struct fixture *fixture, struct holdfast_call *call)
{
    assert_non_null(call);
    run_until_done(fixture, call);
    enum holdfast_status status = holdfast_call_result(call)->status;
    holdfast_call_free(call);
    return status;
}

static void fixture_open(struct fixture *fixture, enum fake_behaviour behaviour)
{
    memset(fixture, 0, sizeof *fixture);
    fixture->server = fake_server_open(behaviour);
    struct holdfast_options options = {.endpoints = fake_server_address(fixture->server)};
    assert_int_equal(uv_loop_init(&fixture->loop), 0);
    assert_int_equal(holdfast_open_on_loop(&fixture->client, &options, &fixture->loop),
                     HOLDFAST_OK);
}

/* Of the locks "0", "1" and "2" everyone but the holder waits. */
static void fixture_hold_locks(struct fixture *fixture)
{
    struct holdfast_session_options long_lived = {.ttl_ms = 60000};

    assert_int_equal(finish(fixture, holdfast_session_open(fixture->client, &long_lived,
                                                           &fixture->holder, holdfast_keep, NULL)),
                     HOLDFAST_OK);
    assert_int_equal(finish(fixture, holdfast_session_open(fixture->client, &long_lived,
                                                           &fixture->waiter, holdfast_keep, NULL)),
                     HOLDFAST_OK);
    for (int i = 0; i < 3; i++) {
        char name = (char)('0' + i);
        assert_int_equal(finish(fixture, holdfast_lock_acquire(fixture->holder, &name, 1,
                                                               HOLDFAST_TRY, holdfast_keep, NULL)),
                         HOLDFAST_OK);
    }
}

static void on_closed(void *context)
{
    struct fixture *fixture = context;

    fixture->is_closed = true;
}

static void fixture_close(struct fixture *fixture)
{
    holdfast_close(fixture->client, on_closed, fixture);
    assert_int_equal(uv_run(&fixture->loop, UV_RUN_DEFAULT), 0);
    assert_true(fixture->is_closed);
    assert_int_equal(uv_loop_close(&fixture->loop), 0);
    fake_server_close(fixture->server);
}

struct told {
    uint32_t count;
    enum holdfast_status status;
    bool is_within; /* A call of the library is under way on this thread. */
};

static void on_told(const struct holdfast_result *result, void *context)
{
    struct told *told = context;

    assert_false(told->is_within);
    told->count++;
    told->status = result->status;
}

static struct holdfast_call *put(struct fixture *fixture)
{
    struct holdfast_call *call =
        holdfast_put(fixture->client, "k", 1, "value", 5, holdfast_keep, NULL);

    assert_non_null(call);
    return call;
}

/* --- One handle ------------------------------------------------------------------------------- */

static void a_handle_keeps_its_result_while_others_come_and_go(void **state)
{
    struct fixture fixture;

    (void)state;
    fixture_open(&fixture, FAKE_SERVES);
    assert_int_equal(finish(&fixture, put(&fixture)), HOLDFAST_OK);
    struct holdfast_call *got = holdfast_get(fixture.client, "k", 1, holdfast_keep, NULL);
    assert_false(holdfast_call_is_done(got));
    run_until_done(&fixture, got);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(finish(&fixture, holdfast_put(fixture.client, "k", 1, "another", 7,
                                                       holdfast_keep, NULL)),
                         HOLDFAST_OK);
    }

    const struct holdfast_result *result = holdfast_call_result(got);
    assert_int_equal(result->status, HOLDFAST_OK);
    assert_int_equal(result->revision, 1);
    assert_int_equal(result->value_size, 5);
    assert_memory_equal(result->value, "value", 5);
    holdfast_call_free(got);
    fixture_close(&fixture);
}

static void what_a_node_says_of_itself_is_kept_whole(void **state)
{
    struct fixture fixture;

    (void)state;
    fixture_open(&fixture, FAKE_SERVES);
    struct holdfast_call *first = holdfast_node_status(
        fixture.client, fake_server_address(fixture.server), 1000, holdfast_keep, NULL);
    struct holdfast_call *second = holdfast_node_status(
        fixture.client, fake_server_address(fixture.server), 1000, holdfast_keep, NULL);
    run_until_done(&fixture, first);
    run_until_done(&fixture, second);

    const struct holdfast_node_status *node = holdfast_call_result(first)->node;
    const struct holdfast_node_status *other = holdfast_call_result(second)->node;
    assert_int_equal(holdfast_call_result(first)->status, HOLDFAST_OK);
    assert_ptr_not_equal(node, other);
    assert_ptr_not_equal(node->role, other->role);
    assert_string_equal(node->role, "leader");
    assert_string_equal(other->role, "leader");
    holdfast_call_free(first);
    assert_string_equal(other->role, "leader");
    holdfast_call_free(second);
    fixture_close(&fixture);
}

/* When the owner gives it up, as steps of the loop from its start on. */
static void cancelled_before_during_or_after_a_call_is_told_once(void **state)
{
    struct fixture fixture;
    uint32_t cancelled_count = 0;
    uint32_t done_count = 0;

    (void)state;
    fixture_open(&fixture, FAKE_SERVES);
    assert_int_equal(finish(&fixture, put(&fixture)), HOLDFAST_OK);
    for (int steps = 0; steps < 8; steps++) {
        struct told told = {0};
        struct holdfast_call *call = put(&fixture);
        holdfast_call_then(call, on_told, &told);
        for (int i = 0; i < steps; i++) {
            (void)uv_run(&fixture.loop, UV_RUN_NOWAIT);
        }
        bool was_done = holdfast_call_is_done(call);
        told.is_within = true;
        holdfast_cancel(call);
        holdfast_cancel(call);
        told.is_within = false;
        run_until_done(&fixture, call);
        enum holdfast_status status = holdfast_call_result(call)->status;

        assert_true(status == HOLDFAST_OK || status == HOLDFAST_CANCELLED);
        assert_true(!was_done || status == HOLDFAST_OK);
        assert_int_equal(told.count, 1);
        assert_int_equal(told.status, status);
        cancelled_count += status == HOLDFAST_CANCELLED;
        holdfast_call_free(call);
        assert_int_equal(finish(&fixture, put(&fixture)), HOLDFAST_OK);
        assert_int_equal(told.count, 1);
    }
    struct holdfast_call *done = put(&fixture);
    run_until_done(&fixture, done);
    holdfast_cancel(done);
    done_count += holdfast_call_result(done)->status == HOLDFAST_OK;
    holdfast_call_free(done);
    assert_true(cancelled_count >= 1);
    assert_int_equal(done_count, 1);
    fixture_close(&fixture);
}

static void a_callback_behind_the_result_comes_once_and_later(void **state)
{
    struct fixture fixture;
    struct told told = {0};

    (void)state;
    fixture_open(&fixture, FAKE_SERVES);
    struct holdfast_call *call = put(&fixture);
    run_until_done(&fixture, call);
    told.is_within = true;
    holdfast_call_then(call, on_told, &told);
    holdfast_call_free(call); /* It is told all the same. */
    told.is_within = false;
    assert_int_equal(told.count, 0);
    while (told.count == 0) {
        (void)uv_run(&fixture.loop, UV_RUN_NOWAIT);
    }

    assert_int_equal(told.status, HOLDFAST_OK);
    fixture_close(&fixture);
    assert_int_equal(told.count, 1);
}

static void a_handle_that_is_freed_first_is_cancelled_and_told_once(void **state)
{
    struct fixture fixture;
    struct told told = {0};

    (void)state;
    fixture_open(&fixture, FAKE_SILENT);
    struct holdfast_call *call = put(&fixture);
    told.is_within = true;
    holdfast_call_then(call, on_told, &told);
    holdfast_call_free(call);
    told.is_within = false;
    while (told.count == 0) {
        (void)uv_run(&fixture.loop, UV_RUN_NOWAIT);
    }

    assert_int_equal(told.status, HOLDFAST_CANCELLED);
    fixture_close(&fixture);
    assert_int_equal(told.count, 1);
}

static void handles_that_are_not_freed_use_up_the_calls_and_no_more(void **state)
{
    enum { COUNT = CLIENT_CALL_COUNT_MAX + CLIENT_REFUSED_COUNT_MAX };
    static struct holdfast_call *calls[COUNT];
    struct fixture fixture;

    (void)state;
    fixture_open(&fixture, FAKE_SERVES);
    for (uint32_t i = 0; i < COUNT; i++) {
        calls[i] = holdfast_put(fixture.client, "", 0, "", 0, holdfast_keep, NULL);
        assert_non_null(calls[i]);
    }
    assert_null(holdfast_put(fixture.client, "k", 1, "v", 1, holdfast_keep, NULL));
    for (uint32_t i = 0; i < COUNT; i++) {
        assert_int_equal(finish(&fixture, calls[i]), HOLDFAST_MALFORMED);
    }

    assert_int_equal(finish(&fixture, put(&fixture)), HOLDFAST_OK);
    fixture_close(&fixture);
}

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

static struct holdfast_call *start(struct fixture *fixture, enum fate fate, size_t place)
{
    char name = (char)('0' + (int)place);

    switch (fate) {
    case DONE_OK:
    case SOON_OK:
        return put(fixture);
    case DONE_BAD:
    case SOON_BAD:
        return holdfast_get(fixture->client, "absent", 6, holdfast_keep, NULL);
    case NEVER:
        return holdfast_lock_acquire(fixture->waiter, &name, 1, HOLDFAST_WAIT_FOREVER,
                                     holdfast_keep, NULL);
    case FATE_COUNT:
        break;
    }
    fail();
    return NULL;
}

static void start_members(struct fixture *fixture, const struct mix *mix,
                          struct holdfast_call *members[MEMBER_COUNT])
{
    for (size_t i = 0; i < MEMBER_COUNT; i++) {
        if (mix->fates[i] == DONE_OK || mix->fates[i] == DONE_BAD) {
            members[i] = start(fixture, mix->fates[i], i);
            run_until_done(fixture, members[i]);
        }
    }
    for (size_t i = 0; i < MEMBER_COUNT; i++) {
        if (mix->fates[i] != DONE_OK && mix->fates[i] != DONE_BAD) {
            members[i] = start(fixture, mix->fates[i], i);
        }
    }
}

static struct holdfast_call *combine(struct fixture *fixture, const struct mix *mix,
                                     struct holdfast_call *members[MEMBER_COUNT],
                                     uint32_t timeout_ms)
{
    return mix->is_any ? holdfast_any(fixture->client, members, MEMBER_COUNT, timeout_ms,
                                      holdfast_keep, NULL)
                       : holdfast_all(fixture->client, members, MEMBER_COUNT, timeout_ms,
                                      holdfast_keep, NULL);
}

/* Brings one that waits for ever to its end. */
static void end_combination(struct fixture *fixture, const struct mix *mix,
                            struct holdfast_call *call, struct holdfast_call *members[MEMBER_COUNT])
{
    /* All but those that wait for ever are done by then. */
    for (size_t i = 0; i < MEMBER_COUNT; i++) {
        if (mix->fates[i] != NEVER) {
            run_until_done(fixture, members[i]);
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

static void check_mix(struct fixture *fixture, const struct mix *mix)
{
    struct holdfast_call *members[MEMBER_COUNT];
    struct expected expected = expect_of(mix);
    struct told told = {0};
    bool is_late = expected.hangs && mix->ending == BY_TIMEOUT;

    start_members(fixture, mix, members);
    struct holdfast_call *call = combine(fixture, mix, members, is_late ? 3 : 0);
    holdfast_call_then(call, on_told, &told);
    if (expected.hangs && !is_late) {
        end_combination(fixture, mix, call, members);
    }
    run_until_done(fixture, call);

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
    struct fixture fixture;

    (void)state;
    fixture_open(&fixture, FAKE_SERVES);
    fixture_hold_locks(&fixture);
    for (int i = 0; i < MIX_COUNT * 2 * ENDING_COUNT; i++) {
        struct mix mix = {.fates = {(enum fate)(i % FATE_COUNT),
                                    (enum fate)(i / FATE_COUNT % FATE_COUNT),
                                    (enum fate)(i / (FATE_COUNT * FATE_COUNT) % FATE_COUNT)},
                          .is_any = i / MIX_COUNT % 2 == 1,
                          .ending = (enum ending)(i / (MIX_COUNT * 2))};
        check_mix(&fixture, &mix);
    }
    fixture_close(&fixture);
}

static void any_has_one_winner_also_when_several_succeed(void **state)
{
    struct fixture fixture;
    struct holdfast_call *members[MEMBER_COUNT];

    (void)state;
    fixture_open(&fixture, FAKE_SERVES);
    for (size_t i = 0; i < MEMBER_COUNT; i++) {
        members[i] = put(&fixture);
        run_until_done(&fixture, members[i]);
    }
    struct holdfast_call *any =
        holdfast_any(fixture.client, members, MEMBER_COUNT, 0, holdfast_keep, NULL);
    run_until_done(&fixture, any);

    assert_int_equal(holdfast_call_result(any)->status, HOLDFAST_OK);
    assert_int_equal(holdfast_call_result(any)->index, 0);
    holdfast_call_free(any);
    for (size_t i = 0; i < MEMBER_COUNT; i++) {
        assert_int_equal(finish(&fixture, members[i]), HOLDFAST_OK);
    }
    fixture_close(&fixture);
}

static void combinations_combine_and_a_timeout_reaches_the_innermost(void **state)
{
    struct fixture fixture;

    (void)state;
    fixture_open(&fixture, FAKE_SERVES);
    fixture_hold_locks(&fixture);
    struct holdfast_call *inner[2] = {start(&fixture, NEVER, 0), start(&fixture, SOON_OK, 1)};
    struct holdfast_call *outer[2] = {
        holdfast_all(fixture.client, inner, 2, 0, holdfast_keep, NULL), start(&fixture, NEVER, 2)};
    struct holdfast_call *any = holdfast_any(fixture.client, outer, 2, 20, holdfast_keep, NULL);
    run_until_done(&fixture, any);

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
    fixture_close(&fixture);
}

static void a_combination_that_cannot_be_is_refused_and_lets_its_members_go(void **state)
{
    struct fixture fixture;
    struct told told = {0};

    (void)state;
    fixture_open(&fixture, FAKE_SERVES);
    struct holdfast_call *twice = put(&fixture);
    struct holdfast_call *members[2] = {twice, twice};
    assert_int_equal(
        finish(&fixture, holdfast_all(fixture.client, members, 2, 0, holdfast_keep, NULL)),
        HOLDFAST_MALFORMED);
    members[1] = NULL;
    assert_int_equal(
        finish(&fixture, holdfast_all(fixture.client, members, 2, 0, holdfast_keep, NULL)),
        HOLDFAST_MALFORMED);
    assert_non_null(holdfast_any(fixture.client, NULL, 0, 0, on_told, &told));
    assert_int_equal(
        finish(&fixture, holdfast_all(fixture.client, NULL, 0, 0, holdfast_keep, NULL)),
        HOLDFAST_OK);
    assert_int_equal(told.count, 1);
    assert_int_equal(told.status, HOLDFAST_MALFORMED);

    struct holdfast_call *all = holdfast_all(fixture.client, members, 1, 1000, holdfast_keep, NULL);
    struct holdfast_call *again =
        holdfast_all(fixture.client, members, 1, 1000, holdfast_keep, NULL);
    assert_int_equal(finish(&fixture, again), HOLDFAST_MALFORMED);
    assert_int_equal(finish(&fixture, all), HOLDFAST_OK);
    assert_int_equal(
        finish(&fixture, holdfast_any(fixture.client, members, 1, 0, holdfast_keep, NULL)),
        HOLDFAST_OK); /* It is free again. */
    assert_int_equal(finish(&fixture, twice), HOLDFAST_OK);
    fixture_close(&fixture);
}

/* --- Callbacks -------------------------------------------------------------------------------- */

struct nested {
    struct fixture *fixture;
    uint32_t told_count;
    uint32_t depth;
    bool was_nested;
};

/* A program that runs its loop within a callback, and begins more there. */
static void on_nested(const struct holdfast_result *result, void *context)
{
    struct nested *nested = context;

    assert_int_equal(result->status, HOLDFAST_OK);
    nested->was_nested = nested->was_nested || nested->depth > 0;
    nested->depth++;
    nested->told_count++;
    if (nested->told_count <= 3) {
        assert_non_null(holdfast_put(nested->fixture->client, "k", 1, "v", 1, on_nested, nested));
        for (int i = 0; i < 5; i++) {
            (void)uv_run(&nested->fixture->loop, UV_RUN_NOWAIT);
        }
    }
    nested->depth--;
}

static void no_callback_runs_within_another(void **state)
{
    struct fixture fixture;
    struct nested nested = {.fixture = &fixture};

    (void)state;
    fixture_open(&fixture, FAKE_SERVES);
    for (int i = 0; i < 3; i++) {
        assert_non_null(holdfast_put(fixture.client, "k", 1, "v", 1, on_nested, &nested));
    }
    while (nested.told_count < 6) {
        (void)uv_run(&fixture.loop, UV_RUN_ONCE);
    }

    assert_false(nested.was_nested);
    fixture_close(&fixture);
    assert_int_equal(nested.told_count, 6);
}

static void on_told_and_freed(const struct holdfast_result *result, void *context)
{
    struct holdfast_call **call = context;

    assert_int_equal(result->status, HOLDFAST_OK);
    holdfast_call_free(*call);
    assert_int_equal(result->revision, 1); /* It is valid until the callback has returned. */
    *call = NULL;
}

static void a_handle_may_be_freed_in_its_own_callback(void **state)
{
    struct fixture fixture;

    (void)state;
    fixture_open(&fixture, FAKE_SERVES);
    struct holdfast_call *call = put(&fixture);
    holdfast_call_then(call, on_told_and_freed, &call);
    while (call != NULL) {
        (void)uv_run(&fixture.loop, UV_RUN_NOWAIT);
    }
    fixture_close(&fixture);
}

/* --- Closing ---------------------------------------------------------------------------------- */

static void handles_outlive_the_client(void **state)
{
    struct fixture fixture;

    (void)state;
    fixture_open(&fixture, FAKE_SERVES);
    fixture_hold_locks(&fixture);
    struct holdfast_call *done = put(&fixture);
    run_until_done(&fixture, done);
    struct holdfast_call *got = holdfast_get(fixture.client, "k", 1, holdfast_keep, NULL);
    run_until_done(&fixture, got);
    struct holdfast_call *members[2] = {start(&fixture, NEVER, 0), start(&fixture, NEVER, 1)};
    struct holdfast_call *all =
        holdfast_all(fixture.client, members, 2, 60000, holdfast_keep, NULL);
    fixture_close(&fixture);

    assert_int_equal(holdfast_call_result(done)->status, HOLDFAST_OK);
    assert_memory_equal(holdfast_call_result(got)->value, "value", 5);
    assert_int_equal(holdfast_call_result(all)->status, HOLDFAST_CANCELLED);
    holdfast_cancel(all);
    holdfast_call_free(all);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(holdfast_call_result(members[i])->status, HOLDFAST_CANCELLED);
        holdfast_call_free(members[i]);
    }
    holdfast_call_free(done);
    holdfast_call_free(got);
}

static void behind_close_nothing_begins(void **state)
{
    struct fixture fixture;

    (void)state;
    fixture_open(&fixture, FAKE_SERVES);
    struct holdfast_call *call = put(&fixture);
    holdfast_close(fixture.client, on_closed, &fixture);
    assert_null(holdfast_put(fixture.client, "k", 1, "v", 1, holdfast_keep, NULL));
    assert_int_equal(uv_run(&fixture.loop, UV_RUN_DEFAULT), 0);

    assert_true(holdfast_call_is_done(call)); /* Begun before: it is told. */
    holdfast_call_free(call);
    assert_int_equal(uv_loop_close(&fixture.loop), 0);
    fake_server_close(fixture.server);
}

/* --- With a thread of its own ----------------------------------------------------------------- */

static struct holdfast *open_threaded(struct fake_server *server)
{
    struct holdfast_options options = {.endpoints = fake_server_address(server)};
    struct holdfast *client;

    assert_int_equal(holdfast_open(&client, &options), HOLDFAST_OK);
    return client;
}

static void waiting_ends_with_the_time_or_the_result(void **state)
{
    struct fake_server *server = fake_server_open(FAKE_SERVES);
    struct holdfast *client = open_threaded(server);
    struct holdfast_session *sessions[2];
    uint64_t token;

    (void)state;
    assert_int_equal(holdfast_session_open_sync(client, NULL, &sessions[0]), HOLDFAST_OK);
    assert_int_equal(holdfast_session_open_sync(client, NULL, &sessions[1]), HOLDFAST_OK);
    assert_int_equal(holdfast_lock_acquire_sync(sessions[0], "l", 1, HOLDFAST_TRY, &token),
                     HOLDFAST_OK);
    struct holdfast_call *call =
        holdfast_lock_acquire(sessions[1], "l", 1, HOLDFAST_WAIT_FOREVER, holdfast_keep, NULL);
    assert_false(holdfast_call_wait(call, 0));
    assert_false(holdfast_call_wait(call, 20));
    assert_int_equal(holdfast_lock_release_sync(sessions[0], "l", 1, token), HOLDFAST_OK);
    assert_true(holdfast_call_wait(call, -1));
    assert_true(holdfast_call_wait(call, 0));

    assert_int_equal(holdfast_call_result(call)->status, HOLDFAST_OK);
    assert_true(holdfast_call_result(call)->token > token);
    holdfast_close(client, NULL, NULL);
    assert_true(holdfast_call_wait(call, -1));
    holdfast_call_free(call);
    fake_server_close(server);
}

static void *wait_for_call(void *context)
{
    return holdfast_call_wait(context, -1) ? context : NULL;
}

static void closing_wakes_every_thread_that_waits(void **state)
{
    struct fake_server *server = fake_server_open(FAKE_SILENT);
    struct holdfast *client = open_threaded(server);
    pthread_t threads[3];

    (void)state;
    struct holdfast_call *call = holdfast_put(client, "k", 1, "v", 1, holdfast_keep, NULL);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, wait_for_call, call), 0);
    }
    holdfast_close(client, NULL, NULL);
    for (int i = 0; i < 3; i++) {
        void *waited;
        assert_int_equal(pthread_join(threads[i], &waited), 0);
        assert_ptr_equal(waited, call);
    }

    assert_int_equal(holdfast_call_result(call)->status, HOLDFAST_CANCELLED);
    holdfast_call_free(call);
    fake_server_close(server);
}

enum { THREAD_COUNT = 4, ROUND_COUNT = 300 };

struct work {
    struct holdfast *client;
    uint64_t seed;
    pthread_mutex_t mutex;
    uint32_t told_count;
};

static void on_worked(const struct holdfast_result *result, void *context)
{
    struct work *work = context;

    (void)result;
    pthread_mutex_lock(&work->mutex);
    work->told_count++;
    pthread_mutex_unlock(&work->mutex);
}

/* One combination of two, and everything that may happen to them at any time. */
static void work_once(struct work *work, struct prng *prng)
{
    struct holdfast_call *members[2] = {
        holdfast_put(work->client, "k", 1, "v", 1, holdfast_keep, NULL),
        holdfast_get(work->client, "k", 1, holdfast_keep, NULL)};
    uint32_t timeout_ms = (uint32_t)prng_below(prng, 2);
    struct holdfast_call *call =
        prng_below(prng, 2) == 0
            ? holdfast_all(work->client, members, 2, timeout_ms, holdfast_keep, NULL)
            : holdfast_any(work->client, members, 2, timeout_ms, holdfast_keep, NULL);
    uint64_t early = prng_below(prng, 4);

    holdfast_call_then(call, on_worked, work);
    if (early == 0) {
        holdfast_cancel(members[prng_below(prng, 2)]);
    } else if (early == 1) {
        holdfast_cancel(call);
    } else if (early == 2) {
        holdfast_call_free(call);
        call = NULL;
    }
    if (call != NULL && holdfast_call_wait(call, (int64_t)prng_below(prng, 3) - 1)) {
        assert_true(holdfast_call_is_done(members[0]) && holdfast_call_is_done(members[1]));
    }
    holdfast_call_free(members[0]);
    holdfast_call_free(call);
    holdfast_call_free(members[1]);
}

static void *work_often(void *context)
{
    struct work *work = context;
    struct prng prng;

    prng_init(&prng, work->seed);
    for (int i = 0; i < ROUND_COUNT; i++) {
        work_once(work, &prng);
    }
    return NULL;
}

static void threads_combine_cancel_wait_and_free_at_any_time(void **state)
{
    struct fake_server *server = fake_server_open(FAKE_SERVES);
    struct holdfast *client = open_threaded(server);
    struct work works[THREAD_COUNT];
    pthread_t threads[THREAD_COUNT];

    (void)state;
    for (int i = 0; i < THREAD_COUNT; i++) {
        works[i] = (struct work){
            .client = client, .seed = (uint64_t)i, .mutex = PTHREAD_MUTEX_INITIALIZER};
        assert_int_equal(pthread_create(&threads[i], NULL, work_often, &works[i]), 0);
    }
    for (int i = 0; i < THREAD_COUNT; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    holdfast_close(client, NULL, NULL);

    for (int i = 0; i < THREAD_COUNT; i++) {
        assert_int_equal(works[i].told_count, ROUND_COUNT);
    }
    fake_server_close(server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_handle_keeps_its_result_while_others_come_and_go),
        cmocka_unit_test(what_a_node_says_of_itself_is_kept_whole),
        cmocka_unit_test(cancelled_before_during_or_after_a_call_is_told_once),
        cmocka_unit_test(a_callback_behind_the_result_comes_once_and_later),
        cmocka_unit_test(a_handle_that_is_freed_first_is_cancelled_and_told_once),
        cmocka_unit_test(handles_that_are_not_freed_use_up_the_calls_and_no_more),
        cmocka_unit_test(a_combination_is_what_its_members_were_in_every_mix_and_ending),
        cmocka_unit_test(any_has_one_winner_also_when_several_succeed),
        cmocka_unit_test(combinations_combine_and_a_timeout_reaches_the_innermost),
        cmocka_unit_test(a_combination_that_cannot_be_is_refused_and_lets_its_members_go),
        cmocka_unit_test(no_callback_runs_within_another),
        cmocka_unit_test(a_handle_may_be_freed_in_its_own_callback),
        cmocka_unit_test(handles_outlive_the_client),
        cmocka_unit_test(behind_close_nothing_begins),
        cmocka_unit_test(waiting_ends_with_the_time_or_the_result),
        cmocka_unit_test(closing_wakes_every_thread_that_waits),
        cmocka_unit_test(threads_combine_cancel_wait_and_free_at_any_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
