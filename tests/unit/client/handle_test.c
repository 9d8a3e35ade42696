/* tests/unit/client/handle_test.c: calls that are kept: waiting, cancelling, freeing, in every
 * order.
 */
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
#include "tests/support/client/looped.h"

/* --- One handle ------------------------------------------------------------------------------- */

static void a_handle_keeps_its_result_while_others_come_and_go(void **state)
{
    struct looped looped;

    (void)state;
    looped_open(&looped, FAKE_SERVES);
    assert_int_equal(looped_finish(&looped, looped_put(&looped)), HOLDFAST_OK);
    struct holdfast_call *got = holdfast_get(looped.client, "k", 1, holdfast_keep, NULL);
    assert_false(holdfast_call_is_done(got));
    looped_run(&looped, got);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(looped_finish(&looped, holdfast_put(looped.client, "k", 1, "another", 7,
                                                             holdfast_keep, NULL)),
                         HOLDFAST_OK);
    }

    const struct holdfast_result *result = holdfast_call_result(got);
    assert_int_equal(result->status, HOLDFAST_OK);
    assert_int_equal(result->revision, 1);
    assert_int_equal(result->value_size, 5);
    assert_memory_equal(result->value, "value", 5);
    holdfast_call_free(got);
    looped_close(&looped);
}

static void what_a_node_says_of_itself_is_kept_whole(void **state)
{
    struct looped looped;

    (void)state;
    looped_open(&looped, FAKE_SERVES);
    struct holdfast_call *first = holdfast_node_status(
        looped.client, fake_server_address(looped.server), 1000, holdfast_keep, NULL);
    struct holdfast_call *second = holdfast_node_status(
        looped.client, fake_server_address(looped.server), 1000, holdfast_keep, NULL);
    looped_run(&looped, first);
    looped_run(&looped, second);

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
    looped_close(&looped);
}

/* When the owner gives it up, as steps of the loop from its start on. */
static void cancelled_before_during_or_after_a_call_is_told_once(void **state)
{
    struct looped looped;
    uint32_t cancelled_count = 0;
    uint32_t done_count = 0;

    (void)state;
    looped_open(&looped, FAKE_SERVES);
    assert_int_equal(looped_finish(&looped, looped_put(&looped)), HOLDFAST_OK);
    for (int steps = 0; steps < 8; steps++) {
        struct looped_told told = {0};
        struct holdfast_call *call = looped_put(&looped);
        holdfast_call_then(call, looped_on_told, &told);
        for (int i = 0; i < steps; i++) {
            (void)uv_run(&looped.loop, UV_RUN_NOWAIT);
        }
        bool was_done = holdfast_call_is_done(call);
        told.is_within = true;
        holdfast_cancel(call);
        holdfast_cancel(call);
        told.is_within = false;
        looped_run(&looped, call);
        enum holdfast_status status = holdfast_call_result(call)->status;

        assert_true(status == HOLDFAST_OK || status == HOLDFAST_CANCELLED);
        assert_true(!was_done || status == HOLDFAST_OK);
        assert_int_equal(told.count, 1);
        assert_int_equal(told.status, status);
        cancelled_count += status == HOLDFAST_CANCELLED;
        holdfast_call_free(call);
        assert_int_equal(looped_finish(&looped, looped_put(&looped)), HOLDFAST_OK);
        assert_int_equal(told.count, 1);
    }
    struct holdfast_call *done = looped_put(&looped);
    looped_run(&looped, done);
    holdfast_cancel(done);
    done_count += holdfast_call_result(done)->status == HOLDFAST_OK;
    holdfast_call_free(done);
    assert_true(cancelled_count >= 1);
    assert_int_equal(done_count, 1);
    looped_close(&looped);
}

static void a_callback_behind_the_result_comes_once_and_later(void **state)
{
    struct looped looped;
    struct looped_told told = {0};

    (void)state;
    looped_open(&looped, FAKE_SERVES);
    struct holdfast_call *call = looped_put(&looped);
    looped_run(&looped, call);
    told.is_within = true;
    holdfast_call_then(call, looped_on_told, &told);
    holdfast_call_free(call); /* It is told all the same. */
    told.is_within = false;
    assert_int_equal(told.count, 0);
    while (told.count == 0) {
        (void)uv_run(&looped.loop, UV_RUN_NOWAIT);
    }

    assert_int_equal(told.status, HOLDFAST_OK);
    looped_close(&looped);
    assert_int_equal(told.count, 1);
}

static void a_handle_that_is_freed_first_is_cancelled_and_told_once(void **state)
{
    struct looped looped;
    struct looped_told told = {0};

    (void)state;
    looped_open(&looped, FAKE_SILENT);
    struct holdfast_call *call = looped_put(&looped);
    told.is_within = true;
    holdfast_call_then(call, looped_on_told, &told);
    holdfast_call_free(call);
    told.is_within = false;
    while (told.count == 0) {
        (void)uv_run(&looped.loop, UV_RUN_NOWAIT);
    }

    assert_int_equal(told.status, HOLDFAST_CANCELLED);
    looped_close(&looped);
    assert_int_equal(told.count, 1);
}

static struct holdfast_call *ask_status(struct looped *looped)
{
    struct holdfast_call *call = holdfast_node_status(
        looped->client, fake_server_address(looped->server), 1000, holdfast_keep, NULL);

    assert_non_null(call);
    looped_run(looped, call);
    return call;
}

/* A listing takes as much as the longest one could. */
static void results_that_find_no_room_are_overloaded_until_there_is_some(void **state)
{
    enum { COUNT = CLIENT_LARGE_SIZE_MAX / sizeof(struct client_scratch) + 1 };
    static struct holdfast_call *calls[COUNT];
    struct looped looped;
    size_t count = 0;

    (void)state;
    looped_open(&looped, FAKE_SERVES);
    do {
        assert_true(count < COUNT);
        calls[count] = ask_status(&looped);
        count++;
    } while (holdfast_call_result(calls[count - 1])->status == HOLDFAST_OK);
    const struct holdfast_result *refused = holdfast_call_result(calls[count - 1]);
    assert_true(count > 100);
    assert_int_equal(refused->status, HOLDFAST_OVERLOADED);
    assert_int_equal(refused->outcome, HOLDFAST_DONE);
    assert_null(refused->node);
    holdfast_call_free(calls[0]);
    calls[0] = ask_status(&looped);

    assert_int_equal(holdfast_call_result(calls[0])->status, HOLDFAST_OK);
    assert_string_equal(holdfast_call_result(calls[0])->node->role, "leader");
    for (size_t i = 0; i < count; i++) {
        holdfast_call_free(calls[i]);
    }
    looped_close(&looped);
}

static void handles_that_are_not_freed_use_up_the_calls_and_no_more(void **state)
{
    enum { COUNT = CLIENT_CALL_COUNT_MAX + CLIENT_REFUSED_COUNT_MAX };
    static struct holdfast_call *calls[COUNT];
    struct looped looped;

    (void)state;
    looped_open(&looped, FAKE_SERVES);
    for (uint32_t i = 0; i < COUNT; i++) {
        calls[i] = holdfast_put(looped.client, "", 0, "", 0, holdfast_keep, NULL);
        assert_non_null(calls[i]);
    }
    assert_null(holdfast_put(looped.client, "k", 1, "v", 1, holdfast_keep, NULL));
    for (uint32_t i = 0; i < COUNT; i++) {
        assert_int_equal(looped_finish(&looped, calls[i]), HOLDFAST_MALFORMED);
    }

    assert_int_equal(looped_finish(&looped, looped_put(&looped)), HOLDFAST_OK);
    looped_close(&looped);
}

/* --- Callbacks -------------------------------------------------------------------------------- */

struct nested {
    struct looped *looped;
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
        assert_non_null(holdfast_put(nested->looped->client, "k", 1, "v", 1, on_nested, nested));
        for (int i = 0; i < 5; i++) {
            (void)uv_run(&nested->looped->loop, UV_RUN_NOWAIT);
        }
    }
    nested->depth--;
}

static void no_callback_runs_within_another(void **state)
{
    struct looped looped;
    struct nested nested = {.looped = &looped};

    (void)state;
    looped_open(&looped, FAKE_SERVES);
    for (int i = 0; i < 3; i++) {
        assert_non_null(holdfast_put(looped.client, "k", 1, "v", 1, on_nested, &nested));
    }
    while (nested.told_count < 6) {
        (void)uv_run(&looped.loop, UV_RUN_ONCE);
    }

    assert_false(nested.was_nested);
    looped_close(&looped);
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
    struct looped looped;

    (void)state;
    looped_open(&looped, FAKE_SERVES);
    struct holdfast_call *call = looped_put(&looped);
    holdfast_call_then(call, on_told_and_freed, &call);
    while (call != NULL) {
        (void)uv_run(&looped.loop, UV_RUN_NOWAIT);
    }
    looped_close(&looped);
}

/* --- Closing ---------------------------------------------------------------------------------- */

static void handles_outlive_the_client(void **state)
{
    struct looped looped;

    (void)state;
    looped_open(&looped, FAKE_SERVES);
    looped_hold_locks(&looped);
    struct holdfast_call *done = looped_put(&looped);
    looped_run(&looped, done);
    struct holdfast_call *got = holdfast_get(looped.client, "k", 1, holdfast_keep, NULL);
    looped_run(&looped, got);
    struct holdfast_call *members[2] = {looped_wait(&looped, 0), looped_wait(&looped, 1)};
    struct holdfast_call *all = holdfast_all(looped.client, members, 2, 60000, holdfast_keep, NULL);
    looped_close(&looped);

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
    struct looped looped;

    (void)state;
    looped_open(&looped, FAKE_SERVES);
    struct holdfast_call *call = looped_put(&looped);
    holdfast_close(looped.client, looped_on_closed, &looped);
    assert_null(holdfast_put(looped.client, "k", 1, "v", 1, holdfast_keep, NULL));
    assert_int_equal(uv_run(&looped.loop, UV_RUN_DEFAULT), 0);

    assert_true(holdfast_call_is_done(call)); /* Begun before: it is told. */
    holdfast_call_free(call);
    assert_int_equal(uv_loop_close(&looped.loop), 0);
    fake_server_close(looped.server);
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
        cmocka_unit_test(results_that_find_no_room_are_overloaded_until_there_is_some),
        cmocka_unit_test(handles_that_are_not_freed_use_up_the_calls_and_no_more),
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
