/* tests/unit/client/uv_test.c: the shell with real sockets: threads, loops, bad servers, closing.
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
#include "tests/support/client/fake_server.h"

struct fixture {
    struct fake_server *server;
    struct holdfast *client;
};

static void fixture_open(struct fixture *fixture, enum fake_behaviour behaviour,
                         uint32_t timeout_ms)
{
    fixture->server = fake_server_open(behaviour);
    struct holdfast_options options = {.endpoints = fake_server_address(fixture->server),
                                       .name = "test",
                                       .timeout_ms = timeout_ms};
    assert_int_equal(holdfast_open(&fixture->client, &options), HOLDFAST_OK);
}

static void fixture_close(struct fixture *fixture)
{
    holdfast_close(fixture->client, NULL, NULL);
    fake_server_close(fixture->server);
}

static void options_that_make_no_sense_are_refused(void **state)
{
    struct holdfast *client;
    const char *const bad[] = {"",       "host",       "host:", ":7400",
                               "host:0", "host:70000", "a:1,",  "a b:1"};

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct holdfast_options options = {.endpoints = bad[i]};
        assert_int_equal(holdfast_open(&client, &options), HOLDFAST_MALFORMED);
    }
}

static void a_value_that_was_put_is_got(void **state)
{
    struct fixture fixture;
    void *value = NULL;
    size_t size = 0;
    uint64_t put_revision = 0;
    uint64_t get_revision = 0;

    (void)state;
    fixture_open(&fixture, FAKE_SERVES, 5000);
    assert_int_equal(holdfast_put_sync(fixture.client, "k", 1, "value", 5, &put_revision),
                     HOLDFAST_OK);
    assert_int_equal(holdfast_get_sync(fixture.client, "k", 1, &value, &size, &get_revision),
                     HOLDFAST_OK);

    assert_int_equal(size, 5);
    assert_memory_equal(value, "value", 5);
    assert_int_equal(put_revision, get_revision);
    holdfast_free(value);
    assert_int_equal(holdfast_get_sync(fixture.client, "none", 4, &value, &size, NULL),
                     HOLDFAST_NOT_FOUND);
    fixture_close(&fixture);
}

static void a_lock_goes_from_hand_to_hand_with_rising_tokens(void **state)
{
    struct fixture fixture;
    struct holdfast_session *first;
    struct holdfast_session *second;
    uint64_t first_token = 0;
    uint64_t second_token = 0;

    (void)state;
    fixture_open(&fixture, FAKE_SERVES, 5000);
    assert_int_equal(holdfast_session_open_sync(fixture.client, NULL, &first), HOLDFAST_OK);
    assert_int_equal(holdfast_session_open_sync(fixture.client, NULL, &second), HOLDFAST_OK);
    assert_int_equal(holdfast_lock_acquire_sync(first, "lock", 4, HOLDFAST_TRY, &first_token),
                     HOLDFAST_OK);
    assert_int_equal(holdfast_lock_acquire_sync(second, "lock", 4, HOLDFAST_TRY, &second_token),
                     HOLDFAST_HELD);
    assert_int_equal(holdfast_lock_acquire_sync(second, "lock", 4, 50, &second_token),
                     HOLDFAST_HELD);
    assert_int_equal(holdfast_lock_release_sync(first, "lock", 4, first_token), HOLDFAST_OK);
    assert_int_equal(holdfast_lock_acquire_sync(second, "lock", 4, HOLDFAST_TRY, &second_token),
                     HOLDFAST_OK);

    assert_true(second_token > first_token);
    assert_int_equal(holdfast_session_state(second), HOLDFAST_SESSION_CONNECTED);
    assert_true(holdfast_session_left_ms(second) > 5000);
    assert_int_equal(holdfast_session_end_sync(second), HOLDFAST_OK);
    fixture_close(&fixture);
}

static void work_goes_on_after_connections_break(void **state)
{
    struct fixture fixture;
    struct holdfast_session *session;
    uint64_t token = 0;
    void *value;
    size_t size;

    (void)state;
    fixture_open(&fixture, FAKE_SERVES, 5000);
    assert_int_equal(holdfast_put_sync(fixture.client, "k", 1, "v", 1, NULL), HOLDFAST_OK);
    assert_int_equal(holdfast_session_open_sync(fixture.client, NULL, &session), HOLDFAST_OK);
    for (int i = 0; i < 5; i++) {
        fake_server_break(fixture.server);
        assert_int_equal(holdfast_get_sync(fixture.client, "k", 1, &value, &size, NULL),
                         HOLDFAST_OK);
        holdfast_free(value);
        assert_int_equal(holdfast_lock_acquire_sync(session, "l", 1, HOLDFAST_TRY, &token),
                         HOLDFAST_OK);
    }

    assert_true(fake_server_accepted_count(fixture.server) >= 2);
    fixture_close(&fixture);
}

static void bytes_that_are_no_message_lose_the_answer_not_the_client(void **state)
{
    struct fixture fixture;
    uint64_t revision;

    (void)state;
    fixture_open(&fixture, FAKE_GARBAGE, 2000);
    assert_int_equal(holdfast_put_sync(fixture.client, "k", 1, "v", 1, &revision),
                     HOLDFAST_UNKNOWN_OUTCOME);
    fake_server_behave(fixture.server, FAKE_SERVES);
    assert_int_equal(holdfast_put_sync(fixture.client, "k", 1, "v", 1, &revision), HOLDFAST_OK);
    fixture_close(&fixture);
}

static void a_server_that_never_answers_costs_the_timeout_and_no_more(void **state)
{
    struct fixture fixture;
    void *value = NULL;
    size_t size;

    (void)state;
    fixture_open(&fixture, FAKE_SILENT, 300);
    uint64_t before_ns = uv_hrtime();
    assert_int_equal(holdfast_get_sync(fixture.client, "k", 1, &value, &size, NULL),
                     HOLDFAST_TIMEOUT);

    assert_true(uv_hrtime() - before_ns < 1500ULL * 1000000);
    fixture_close(&fixture);
}

static void overload_is_reported_when_it_outlasts_the_timeout(void **state)
{
    struct fixture fixture;

    (void)state;
    fixture_open(&fixture, FAKE_REFUSES, 200);
    assert_int_equal(holdfast_put_sync(fixture.client, "k", 1, "v", 1, NULL), HOLDFAST_OVERLOADED);
    fixture_close(&fixture);
}

static void without_any_node_there_is_no_quorum(void **state)
{
    struct holdfast *client;
    struct holdfast_options options = {.endpoints = "127.0.0.1:1", .timeout_ms = 100};

    (void)state;
    assert_int_equal(holdfast_open(&client, &options), HOLDFAST_OK);
    assert_int_equal(holdfast_put_sync(client, "k", 1, "v", 1, NULL), HOLDFAST_NO_QUORUM);
    holdfast_close(client, NULL, NULL);
}

static void names_are_resolved(void **state)
{
    struct fixture fixture;
    struct holdfast *client;
    char endpoints[64] = "localhost";

    (void)state;
    fixture_open(&fixture, FAKE_SERVES, 5000);
    const char *port = strchr(fake_server_address(fixture.server), ':');
    memcpy(endpoints + strlen(endpoints), port, strlen(port) + 1);
    struct holdfast_options options = {.endpoints = endpoints};
    assert_int_equal(holdfast_open(&client, &options), HOLDFAST_OK);
    assert_int_equal(holdfast_put_sync(client, "k", 1, "v", 1, NULL), HOLDFAST_OK);
    holdfast_close(client, NULL, NULL);
    fixture_close(&fixture);
}

/* --- Calls with callbacks -------------------------------------------------------------------- */

struct count {
    pthread_mutex_t mutex;
    uint32_t told;
    uint32_t cancelled;
};

static void on_counted(const struct holdfast_result *result, void *context)
{
    struct count *count = context;

    pthread_mutex_lock(&count->mutex);
    count->told++;
    count->cancelled += result->status == HOLDFAST_CANCELLED;
    pthread_mutex_unlock(&count->mutex);
}

static void closing_answers_every_pending_call(void **state)
{
    struct fixture fixture;
    struct count count = {.mutex = PTHREAD_MUTEX_INITIALIZER};
    struct holdfast_session *session;

    (void)state;
    fixture_open(&fixture, FAKE_SILENT, 5000);
    for (int i = 0; i < 100; i++) {
        assert_non_null(holdfast_put(fixture.client, "k", 1, "v", 1, on_counted, &count));
    }
    assert_non_null(holdfast_session_open(fixture.client, NULL, &session, on_counted, &count));
    assert_non_null(
        holdfast_lock_acquire(session, "l", 1, HOLDFAST_WAIT_FOREVER, on_counted, &count));
    holdfast_close(fixture.client, NULL, NULL);

    assert_int_equal(count.told, 102);
    assert_true(count.cancelled >= 101); /* The acquire on a session that never opened is LOST. */
    fake_server_close(fixture.server);
}

struct ended {
    uv_sem_t told;
    enum holdfast_status status;
};

static void on_ended(const struct holdfast_result *result, void *context)
{
    struct ended *ended = context;

    ended->status = result->status;
    uv_sem_post(&ended->told);
}

static void an_operator_ends_the_session_of_another(void **state)
{
    struct fixture fixture;
    struct holdfast_session *session;
    struct ended ended;

    (void)state;
    fixture_open(&fixture, FAKE_SERVES, 5000);
    assert_int_equal(uv_sem_init(&ended.told, 0), 0);
    assert_int_equal(holdfast_session_open_sync(fixture.client, NULL, &session), HOLDFAST_OK);
    uint64_t id = holdfast_session_id(session);

    assert_non_null(holdfast_session_end_id(fixture.client, id, on_ended, &ended));
    uv_sem_wait(&ended.told);
    assert_int_equal(ended.status, HOLDFAST_OK);
    assert_non_null(holdfast_session_end_id(fixture.client, id, on_ended, &ended));
    uv_sem_wait(&ended.told);
    assert_int_equal(ended.status, HOLDFAST_SESSION_EXPIRED);

    assert_int_equal(holdfast_session_end_sync(session), HOLDFAST_OK);
    fixture_close(&fixture);
    uv_sem_destroy(&ended.told);
}

enum { THREAD_COUNT = 4, THREAD_CALL_COUNT = 200 };

static void *put_many(void *context)
{
    struct holdfast *client = context;
    uint64_t revision;

    for (int i = 0; i < THREAD_CALL_COUNT; i++) {
        if (holdfast_put_sync(client, "k", 1, "v", 1, &revision) != HOLDFAST_OK) {
            return client;
        }
    }
    return NULL;
}

static void many_threads_share_a_client(void **state)
{
    struct fixture fixture;
    pthread_t threads[THREAD_COUNT];
    uint64_t revision = 0;

    (void)state;
    fixture_open(&fixture, FAKE_SERVES, 10000);
    for (int i = 0; i < THREAD_COUNT; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, put_many, fixture.client), 0);
    }
    for (int i = 0; i < THREAD_COUNT; i++) {
        void *failed = fixture.client;
        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_null(failed);
    }
    assert_int_equal(holdfast_put_sync(fixture.client, "k", 1, "v", 1, &revision), HOLDFAST_OK);

    assert_int_equal(revision, THREAD_COUNT * THREAD_CALL_COUNT + 1);
    fixture_close(&fixture);
}

/* --- On the caller's loop -------------------------------------------------------------------- */

enum { LOOP_CALL_COUNT = 2000 };

struct on_loop {
    struct holdfast *client;
    uint32_t started;
    uint32_t told;
    bool within_start;
    bool closed;
};

static void on_closed(void *context)
{
    struct on_loop *on_loop = context;

    assert_int_equal(on_loop->told, on_loop->started);
    on_loop->closed = true;
}

static void start_one(struct on_loop *on_loop);

static void on_told(const struct holdfast_result *result, void *context)
{
    struct on_loop *on_loop = context;

    assert_false(on_loop->within_start);
    assert_int_equal(result->status, HOLDFAST_OK);
    on_loop->told++;
    if (on_loop->started < LOOP_CALL_COUNT) {
        start_one(on_loop);
    } else if (on_loop->told == on_loop->started) {
        holdfast_close(on_loop->client, on_closed, on_loop);
    }
}

static void start_one(struct on_loop *on_loop)
{
    on_loop->within_start = true;
    on_loop->started++;
    assert_non_null(holdfast_put(on_loop->client, "k", 1, "v", 1, on_told, on_loop));
    on_loop->within_start = false;
}

static void callbacks_on_a_loop_may_start_calls_and_close(void **state)
{
    struct fake_server *server = fake_server_open(FAKE_SERVES);
    struct holdfast_options options = {.endpoints = fake_server_address(server), .connections = 2};
    struct on_loop on_loop = {0};
    uv_loop_t loop;

    (void)state;
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(holdfast_open_on_loop(&on_loop.client, &options, &loop), HOLDFAST_OK);
    for (int i = 0; i < 16; i++) {
        start_one(&on_loop);
    }
    assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);

    assert_true(on_loop.closed);
    assert_int_equal(on_loop.told, LOOP_CALL_COUNT);
    assert_int_equal(uv_loop_close(&loop), 0);
    fake_server_close(server);
}

/* --- What other threads see ------------------------------------------------------------------ */

struct watch {
    struct holdfast *client;
    struct holdfast_session *session;
    uint64_t deadline_ms;
    uint32_t moved_count; /* Of the deadline. */
    uint32_t stale_count; /* Callbacks during which other threads saw an earlier one. */
    uint32_t open_count;  /* Calls. */
};

enum { WATCH_MOVED_COUNT = 4, WATCH_CALL_COUNT = 16 };

static void on_watched(const struct holdfast_result *result, void *context)
{
    struct watch *watch = context;
    uint64_t deadline_ms = watch->session->core.deadline_ms;

    (void)result;
    watch->open_count--;
    watch->stale_count += atomic_load(&watch->session->deadline_ms) != deadline_ms;
    watch->moved_count += watch->deadline_ms != deadline_ms;
    watch->deadline_ms = deadline_ms;
    while (watch->moved_count < WATCH_MOVED_COUNT && watch->open_count < WATCH_CALL_COUNT) {
        watch->open_count++;
        assert_non_null(holdfast_put(watch->client, "k", 1, "v", 1, on_watched, watch));
    }
    if (watch->open_count == 0) {
        holdfast_close(watch->client, NULL, NULL);
    }
}

/* Else a session could be seen as LOST and then CONNECTED, while a callback takes its time. */
static void a_renewal_is_seen_by_other_threads_before_any_callback(void **state)
{
    struct fake_server *server = fake_server_open(FAKE_SERVES);
    struct holdfast_options options = {.endpoints = fake_server_address(server)};
    struct holdfast_session_options session = {.ttl_ms = 600};
    struct watch watch = {.open_count = 1};
    uv_loop_t loop;

    (void)state;
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(holdfast_open_on_loop(&watch.client, &options, &loop), HOLDFAST_OK);
    assert_non_null(
        holdfast_session_open(watch.client, &session, &watch.session, on_watched, &watch));
    assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);

    assert_int_equal(watch.moved_count, WATCH_MOVED_COUNT);
    assert_int_equal(watch.stale_count, 0);
    assert_int_equal(uv_loop_close(&loop), 0);
    fake_server_close(server);
}

/* --- Sizes ----------------------------------------------------------------------------------- */

struct refused {
    uint32_t told_count;
    uint32_t rejected_count;
    enum holdfast_status status; /* Of the last one. */
    uv_sem_t told;
};

static void on_refused(const struct holdfast_result *result, void *context)
{
    struct refused *refused = context;

    refused->told_count++;
    refused->rejected_count += result->outcome == HOLDFAST_REJECTED;
    refused->status = result->status;
    uv_sem_post(&refused->told);
}

static enum holdfast_status wait_for_refusal(struct refused *refused,
                                             const struct holdfast_call *call)
{
    assert_non_null(call);
    uv_sem_wait(&refused->told);
    return refused->status;
}

/* The server is silent: what is refused was not sent. */
static void keys_and_names_and_values_beyond_their_limits_are_refused_unsent(void **state)
{
    static const uint8_t bytes[524289];
    struct refused refused = {0};
    struct fixture fixture;

    (void)state;
    fixture_open(&fixture, FAKE_SILENT, 500);
    struct holdfast *client = fixture.client;
    assert_int_equal(uv_sem_init(&refused.told, 0), 0);
    for (size_t i = 0; i < 2; i++) {
        size_t size = i == 0 ? 0 : 481;
        enum holdfast_status expected = i == 0 ? HOLDFAST_MALFORMED : HOLDFAST_TOO_LARGE;
        struct holdfast_pair pair = {.key = bytes, .key_size = size, .value = bytes};
        assert_int_equal(wait_for_refusal(&refused, holdfast_put(client, bytes, size, bytes, 1,
                                                                 on_refused, &refused)),
                         expected);
        assert_int_equal(
            wait_for_refusal(&refused, holdfast_get(client, bytes, size, on_refused, &refused)),
            expected);
        assert_int_equal(
            wait_for_refusal(&refused, holdfast_delete(client, bytes, size, on_refused, &refused)),
            expected);
        assert_int_equal(
            wait_for_refusal(&refused, holdfast_cas(client, &pair, NULL, 0, on_refused, &refused)),
            expected);
        assert_int_equal(
            wait_for_refusal(&refused, holdfast_lock_show(client, bytes, i == 0 ? 0 : 256,
                                                          on_refused, &refused)),
            expected);
    }
    struct holdfast_pair large = {
        .key = bytes, .key_size = 480, .value = bytes, .value_size = 512001};
    assert_int_equal(
        wait_for_refusal(&refused, holdfast_cas(client, &large, NULL, 0, on_refused, &refused)),
        HOLDFAST_TOO_LARGE);
    large.value_size = 512000;
    assert_int_equal(wait_for_refusal(&refused, holdfast_cas(client, &large, bytes, 512001,
                                                             on_refused, &refused)),
                     HOLDFAST_TOO_LARGE);

    assert_int_equal(refused.told_count, 12);
    assert_int_equal(refused.rejected_count, 12);
    fixture_close(&fixture);
    uv_sem_destroy(&refused.told);
}

static void a_refused_request_of_a_session_leaves_no_gap(void **state)
{
    static const uint8_t bytes[524289];
    struct refused refused = {0};
    struct fixture fixture;
    struct holdfast_session *session;
    uint64_t token;

    (void)state;
    fixture_open(&fixture, FAKE_SERVES, 5000);
    assert_int_equal(uv_sem_init(&refused.told, 0), 0);
    assert_int_equal(holdfast_session_open_sync(fixture.client, NULL, &session), HOLDFAST_OK);
    assert_int_equal(wait_for_refusal(&refused, holdfast_session_put(session, bytes, 0, bytes, 1,
                                                                     on_refused, &refused)),
                     HOLDFAST_MALFORMED);
    assert_int_equal(
        wait_for_refusal(&refused, holdfast_session_put(session, bytes, 1, bytes, sizeof bytes,
                                                        on_refused, &refused)),
        HOLDFAST_TOO_LARGE);
    assert_int_equal(holdfast_lock_acquire_sync(session, bytes, 0, HOLDFAST_TRY, &token),
                     HOLDFAST_MALFORMED);
    assert_int_equal(holdfast_lock_acquire_sync(session, bytes, 256, HOLDFAST_TRY, &token),
                     HOLDFAST_TOO_LARGE);
    assert_int_equal(holdfast_lock_release_sync(session, bytes, 256, 1), HOLDFAST_TOO_LARGE);

    assert_int_equal(holdfast_lock_acquire_sync(session, "l", 1, HOLDFAST_TRY, &token),
                     HOLDFAST_OK);
    assert_int_equal(holdfast_lock_release_sync(session, "l", 1, token), HOLDFAST_OK);
    fixture_close(&fixture);
    uv_sem_destroy(&refused.told);
}

static void a_value_of_the_greatest_size_is_sent_and_a_greater_one_refused(void **state)
{
    static const uint8_t value[524289];
    struct fixture fixture;

    (void)state;
    fixture_open(&fixture, FAKE_SERVES, 5000);
    assert_int_equal(holdfast_put_sync(fixture.client, "k", 1, value, 524288, NULL), HOLDFAST_OK);
    assert_int_equal(holdfast_put_sync(fixture.client, "k", 1, value, 524289, NULL),
                     HOLDFAST_TOO_LARGE);
    fixture_close(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_that_make_no_sense_are_refused),
        cmocka_unit_test(a_value_that_was_put_is_got),
        cmocka_unit_test(a_lock_goes_from_hand_to_hand_with_rising_tokens),
        cmocka_unit_test(work_goes_on_after_connections_break),
        cmocka_unit_test(bytes_that_are_no_message_lose_the_answer_not_the_client),
        cmocka_unit_test(a_server_that_never_answers_costs_the_timeout_and_no_more),
        cmocka_unit_test(overload_is_reported_when_it_outlasts_the_timeout),
        cmocka_unit_test(without_any_node_there_is_no_quorum),
        cmocka_unit_test(names_are_resolved),
        cmocka_unit_test(closing_answers_every_pending_call),
        cmocka_unit_test(an_operator_ends_the_session_of_another),
        cmocka_unit_test(many_threads_share_a_client),
        cmocka_unit_test(callbacks_on_a_loop_may_start_calls_and_close),
        cmocka_unit_test(a_renewal_is_seen_by_other_threads_before_any_callback),
        cmocka_unit_test(keys_and_names_and_values_beyond_their_limits_are_refused_unsent),
        cmocka_unit_test(a_refused_request_of_a_session_leaves_no_gap),
        cmocka_unit_test(a_value_of_the_greatest_size_is_sent_and_a_greater_one_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
