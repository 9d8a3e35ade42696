/* tests/unit/client/hold_test.c: work under a lock: what it is told, and when. */
#define _GNU_SOURCE /* NOLINT(bugprone-reserved-identifier): the C library's own switch. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poll.h>
#include <stdatomic.h>
#include <string.h>

#include "client/holdfast_hold.h"
#include "tests/support/client/fake_server.h"

enum { WORKED = 17, LONG_MS = 10000 };

struct fixture {
    struct fake_server *server;
    struct holdfast *client;
    uint32_t run_count;
    uint64_t token;
    uint64_t session;
    int ready; /* What poll() said of the file. */
    bool was_lost;
    bool is_lost;
    _Atomic uint32_t lost_count; /* Times that on_lost was called. */
    enum holdfast_status inner;
};

static void fixture_open(struct fixture *fixture)
{
    memset(fixture, 0, sizeof *fixture);
    fixture->server = fake_server_open(FAKE_SERVES);
    struct holdfast_options options = {.endpoints = fake_server_address(fixture->server),
                                       .timeout_ms = 2000};
    assert_int_equal(holdfast_open(&fixture->client, &options), HOLDFAST_OK);
}

static void fixture_close(struct fixture *fixture)
{
    holdfast_close(fixture->client, NULL, NULL);
    fake_server_close(fixture->server);
}

static void on_lost(struct holdfast_hold *hold, void *context)
{
    struct fixture *fixture = context;

    assert_true(holdfast_hold_is_lost(hold));
    atomic_fetch_add(&fixture->lost_count, 1);
}

static const struct holdfast_with_lock_options *options_of(uint32_t ttl_ms)
{
    static struct holdfast_with_lock_options options = {
        .name = "l", .name_size = 1, .on_lost = on_lost};

    options.ttl_ms = ttl_ms;
    return &options;
}

static int wait_for_loss(struct holdfast_hold *hold, int timeout_ms)
{
    struct pollfd file = {.fd = holdfast_hold_file(hold), .events = POLLIN};

    return poll(&file, 1, timeout_ms);
}

static int look(struct holdfast_hold *hold, void *context)
{
    struct fixture *fixture = context;

    fixture->run_count++;
    fixture->token = holdfast_hold_token(hold);
    fixture->session = holdfast_session_id(holdfast_hold_session(hold));
    fixture->is_lost = holdfast_hold_is_lost(hold);
    fixture->ready = wait_for_loss(hold, 0);
    assert_true(holdfast_hold_left_ms(hold) > 1000);
    return WORKED;
}

static void work_runs_while_the_lock_is_held_and_leaves_it_free(void **state)
{
    struct fixture fixture;
    int result = 0;

    (void)state;
    fixture_open(&fixture);
    for (uint32_t i = 1; i <= 3; i++) {
        uint64_t before = fixture.token;
        assert_int_equal(
            holdfast_with_lock(fixture.client, options_of(LONG_MS), look, &fixture, &result),
            HOLDFAST_OK);
        assert_int_equal(result, WORKED);
        assert_int_equal(fixture.run_count, i);
        assert_true(fixture.token > before); /* Free behind each: one try is enough. */
        assert_false(fixture.is_lost);
        assert_int_equal(fixture.ready, 0);
    }
    assert_int_equal(atomic_load(&fixture.lost_count), 0);
    fixture_close(&fixture);
}

static int nest(struct holdfast_hold *hold, void *context)
{
    struct fixture *fixture = context;
    int result = 0;

    (void)hold;
    fixture->inner =
        holdfast_with_lock(fixture->client, options_of(LONG_MS), look, fixture, &result);
    assert_int_equal(result, 0);
    return WORKED;
}

static void work_does_not_begin_while_somebody_else_holds_the_lock(void **state)
{
    struct fixture fixture;

    (void)state;
    fixture_open(&fixture);
    assert_int_equal(holdfast_with_lock(fixture.client, options_of(LONG_MS), nest, &fixture, NULL),
                     HOLDFAST_OK);

    assert_int_equal(fixture.inner, HOLDFAST_HELD);
    assert_int_equal(fixture.run_count, 0);
    fixture_close(&fixture);
}

/* An operator ends the session; the work waits for the news. */
static int lose_by_operator(struct holdfast_hold *hold, void *context)
{
    struct fixture *fixture = context;
    uint64_t session = holdfast_session_id(holdfast_hold_session(hold));

    fixture->run_count++;
    fixture->was_lost = holdfast_hold_is_lost(hold);
    struct holdfast_call *call =
        holdfast_session_end_id(fixture->client, session, holdfast_keep, NULL);
    assert_true(holdfast_call_wait(call, -1));
    holdfast_call_free(call);
    fixture->ready = wait_for_loss(hold, 5000);
    fixture->is_lost = holdfast_hold_is_lost(hold);
    assert_int_equal(holdfast_hold_left_ms(hold), 0);
    return WORKED;
}

static void work_is_told_when_its_session_is_ended(void **state)
{
    struct fixture fixture;
    int result = 0;

    (void)state;
    fixture_open(&fixture);
    assert_int_equal(
        holdfast_with_lock(fixture.client, options_of(1000), lose_by_operator, &fixture, &result),
        HOLDFAST_LOST);

    assert_int_equal(result, WORKED);
    assert_false(fixture.was_lost);
    assert_true(fixture.is_lost);
    assert_int_equal(fixture.ready, 1);
    assert_int_equal(atomic_load(&fixture.lost_count), 1);
    fixture_close(&fixture);
}

/* The cluster is gone: the deadline decides. */
static int lose_by_deadline(struct holdfast_hold *hold, void *context)
{
    struct fixture *fixture = context;

    fake_server_behave(fixture->server, FAKE_SILENT);
    uint64_t left_ms = holdfast_hold_left_ms(hold);
    fixture->was_lost = holdfast_hold_is_lost(hold);
    fixture->ready = wait_for_loss(hold, (int)left_ms + 2000);
    fixture->is_lost = holdfast_hold_is_lost(hold);
    return WORKED;
}

static void work_is_told_when_its_deadline_passes_unanswered(void **state)
{
    struct fixture fixture;

    (void)state;
    fixture_open(&fixture);
    assert_int_equal(
        holdfast_with_lock(fixture.client, options_of(600), lose_by_deadline, &fixture, NULL),
        HOLDFAST_LOST);

    assert_false(fixture.was_lost);
    assert_true(fixture.is_lost);
    assert_int_equal(fixture.ready, 1);
    assert_int_equal(atomic_load(&fixture.lost_count), 1);
    fixture_close(&fixture);
}

static void without_a_cluster_there_is_no_work(void **state)
{
    struct fixture fixture;
    struct holdfast *client;
    struct holdfast_options options = {.endpoints = "127.0.0.1:1", .timeout_ms = 100};

    (void)state;
    memset(&fixture, 0, sizeof fixture);
    assert_int_equal(holdfast_open(&client, &options), HOLDFAST_OK);
    assert_int_equal(holdfast_with_lock(client, options_of(LONG_MS), look, &fixture, NULL),
                     HOLDFAST_NO_QUORUM);
    assert_int_equal(fixture.run_count, 0);
    holdfast_close(client, NULL, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(work_runs_while_the_lock_is_held_and_leaves_it_free),
        cmocka_unit_test(work_does_not_begin_while_somebody_else_holds_the_lock),
        cmocka_unit_test(work_is_told_when_its_session_is_ended),
        cmocka_unit_test(work_is_told_when_its_deadline_passes_unanswered),
        cmocka_unit_test(without_a_cluster_there_is_no_work),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
