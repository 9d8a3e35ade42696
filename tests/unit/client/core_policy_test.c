/* tests/unit/client/core_policy_test.c: the core with its budget, breakers, limit, pauses and
 * timeouts of attempts, each where it is felt. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/client/world.h"

enum { TTL_MS = 9000 };

/* The leader is known, and answers in a few milliseconds. */
static struct world *open_busy(uint64_t seed, uint32_t connections)
{
    struct world *world = world_open(seed, connections, 200);

    world_run(world, 100);
    for (int i = 0; i < 20; i++) {
        world_wait(world, world_put(world, "k", NULL), 1000);
    }
    ASSERT(world->core.leader_count == connections);
    return world;
}

static struct core_endpoint *leader_of(struct world *world)
{
    return &world->core.endpoints[world->core.leader_endpoint];
}

static struct world_link *link_of(struct world *world, const struct core_connection *connection)
{
    return &world->links[connection->index];
}

/* --- Pauses ---------------------------------------------------------------------------------- */

static void a_pause_that_is_asked_for_holds_for_calls_that_come_after(void **state)
{
    struct world *world = open_busy(1, 1);

    (void)state;
    world->model.refuses = true;
    world->model.retry_after_ms = 200;
    struct world_call *refused = world_put(world, "k", NULL);
    world_run(world, 10);
    world->model.refuses = false;
    uint64_t attempt_count = world->core.attempt_count;
    struct world_call *later = world_put(world, "k", NULL);
    world_run(world, 150);
    assert_int_equal(world->core.attempt_count, attempt_count);
    world_run(world, 200);

    assert_int_equal(refused->status, ERR_OK);
    assert_int_equal(later->status, ERR_OK);
    world_close(world);
}

static void a_pause_of_writes_is_none_of_reads(void **state)
{
    struct world *world = open_busy(2, 1);

    (void)state;
    leader_of(world)->obeyed_ms[CORE_KIND_WRITE] = world->now_ms + 1000;
    struct world_call *put = world_put(world, "k", NULL);
    struct world_call *get = world_get(world, "k");
    world_wait(world, get, 20);

    assert_int_equal(get->status, ERR_OK);
    assert_int_equal(put->told_count, 0);
    world_close(world);
}

static void a_call_that_ends_before_the_pause_is_refused_at_once(void **state)
{
    struct world *world = open_busy(3, 1);

    (void)state;
    leader_of(world)->obeyed_ms[CORE_KIND_WRITE] = world->now_ms + 5000;
    struct world_call *put = world_put(world, "k", NULL);
    world_wait(world, put, 1);

    assert_int_equal(put->status, ERR_OVERLOADED);
    assert_int_equal(put->outcome, OUTCOME_REJECTED);
    assert_in_range(put->core.failure.retry_after_ms, 4990, 5000);
    world_close(world);
}

static void a_call_that_was_held_back_until_its_deadline_is_told_so(void **state)
{
    struct world *world = open_busy(4, 1);

    (void)state;
    world->core.limiter.limit = world->core.limiter.limit_min;
    world->frozen[0] = true;
    for (uint32_t i = 0; i < world->core.limiter.limit_min; i++) {
        assert_non_null(world_get(world, "k"));
    }
    world_run(world, 2);
    world->timeout_ms = 300;
    struct world_call *held = world_put(world, "k", NULL);
    world_wait(world, held, 310);

    assert_int_equal(held->status, ERR_OVERLOADED);
    assert_int_equal(held->outcome, OUTCOME_REJECTED);
    world_close(world);
}

static void renewals_and_releases_wait_for_no_pause(void **state)
{
    struct world *world = open_busy(5, 1);
    struct core_session *session = world_session(world, 1500);
    struct world_call *acquire = world_acquire(world, session, "lock", 0);

    (void)state;
    world_wait(world, acquire, 100);
    leader_of(world)->obeyed_ms[CORE_KIND_WRITE] = world->now_ms + 60000;
    world->core.limiter.limit_min = 0;
    world->core.limiter.limit = 0;
    struct world_call *release = world_release(world, session, "lock", 0);
    world_wait(world, release, 20);
    world_run(world, 5000);

    assert_int_equal(release->status, ERR_OK);
    assert_int_equal(session->state, CORE_SESSION_CONNECTED);
    assert_int_equal(world->change_count, 0);
    world_close(world);
}

/* --- The limit and the rate ------------------------------------------------------------------ */

static void calls_above_the_limit_wait_in_order(void **state)
{
    enum { COUNT = 60, LIMIT = 8 };
    struct world *world = open_busy(6, 1);
    struct core_session *session = world_session(world, TTL_MS);
    struct world_call *calls[COUNT];

    (void)state;
    world->core.limiter.limit_max = LIMIT;
    world->core.limiter.limit = LIMIT;
    for (int i = 0; i < COUNT; i++) {
        calls[i] = i % 3 == 0   ? world_get(world, "k")
                   : i % 3 == 1 ? world_put(world, "k", NULL)
                                : world_put(world, "k", session);
    }
    for (int i = 0; i < 200; i++) {
        world_step(world);
        assert_true(world->core.limiter.in_flight <= LIMIT);
    }

    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(calls[i]->status, ERR_OK);
        assert_int_equal(calls[i]->told_count, 1);
        assert_true(i < 3 || calls[i]->told_ms >= calls[i - 3]->told_ms);
    }
    /* None of the three kinds has waited for the others. */
    assert_true(calls[3]->told_ms <= calls[COUNT - 2]->told_ms);
    assert_true(calls[5]->told_ms < calls[COUNT - 3]->told_ms);
    world_close(world);
}

static void no_more_are_sent_than_the_rate_allows(void **state)
{
    struct world *world = open_busy(7, 1);

    (void)state;
    world->core.rate = (struct bucket_limits){.rate = 100, .burst = 1};
    uint64_t attempt_count = world->core.attempt_count;
    for (int i = 0; i < 50; i++) {
        assert_non_null(world_get(world, "k"));
    }
    world_run(world, 300);
    assert_in_range(world->core.attempt_count - attempt_count, 29, 31);
    world_run(world, 300);
    assert_int_equal(world->core.attempt_count - attempt_count, 50);
    world_close(world);
}

/* --- The budget ------------------------------------------------------------------------------ */

static void without_a_budget_a_refused_call_ends_with_the_refusal(void **state)
{
    struct world *world = open_busy(8, 1);

    (void)state;
    world->core.budget.tokens = 0;
    world->model.refuses = true;
    struct world_call *put = world_put(world, "k", NULL);
    world_wait(world, put, 10);

    assert_int_equal(put->status, ERR_OVERLOADED);
    assert_int_equal(put->outcome, OUTCOME_REJECTED);
    world_close(world);
}

static void without_a_budget_a_read_ends_with_its_connection(void **state)
{
    struct world *world = open_busy(9, 1);

    (void)state;
    struct world_call *get = world_get(world, "k");
    world_run(world, 1);
    world->core.budget.tokens = 0;
    world_break(world, 0);
    world_wait(world, get, 10);

    assert_int_equal(get->status, ERR_CLOSED);
    assert_int_equal(get->outcome, OUTCOME_REJECTED);
    world_close(world);
}

static void a_moved_leader_costs_nothing_of_the_budget(void **state)
{
    struct world *world = open_busy(10, 1);
    struct core_session *session = world_session(world, TTL_MS);

    (void)state;
    world->core.budget.tokens = 0;
    world->model.leader = 1;
    struct world_call *alone = world_put(world, "k", NULL);
    world_wait(world, alone, 100);
    assert_int_equal(alone->status, ERR_OK);
    world->core.budget.tokens = 0;
    world->model.leader = 2;
    struct world_call *put = world_put(world, "k", session);
    world_wait(world, put, 100);

    assert_int_equal(put->status, ERR_OK);
    assert_true(world->core.budget.tokens < BUDGET_RETRY_COST);
    world_close(world);
}

static void a_session_without_a_budget_asks_seldom_and_goes_on_when_it_is_served(void **state)
{
    enum { COUNT = 30 };
    struct world *world = open_busy(11, 1);
    struct core_session *session = world_session(world, 60000);
    struct world_call *calls[COUNT];

    (void)state;
    world->timeout_ms = 20000;
    for (int i = 0; i < COUNT; i++) {
        calls[i] = world_put(world, "k", session);
    }
    world->model.refuses = true;
    world_run(world, 10);
    world->core.budget.tokens = 0;
    uint64_t attempt_count = world->core.attempt_count;
    world_run(world, 10000);
    /* One earned each second, one unpaid each second or two, and not the window each time. */
    assert_true(world->core.attempt_count - attempt_count <= 10 + 12);
    world->model.refuses = false;
    world->core.budget.tokens = 0;
    world_run(world, 2500);

    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(calls[i]->told_count, 1);
        assert_int_equal(calls[i]->status, ERR_OK);
    }
    world_close(world);
}

/* --- Attempts -------------------------------------------------------------------------------- */

static void a_read_that_is_not_answered_goes_over_another_connection(void **state)
{
    struct world *world = open_busy(12, 2);

    (void)state;
    struct world_call *get = world_get(world, "k");
    core_pump(&world->core);
    link_of(world, get->core.connection)->stuck = true;
    world_wait(world, get, LATENCY_TIMEOUT_MS_MIN + 20);

    assert_int_equal(get->status, ERR_OK);
    world_close(world);
}

static void so_does_a_session_whose_requests_are_applied_once(void **state)
{
    struct world *world = open_busy(13, 2);
    struct core_session *session = world_session(world, TTL_MS);
    struct world_call *calls[10];

    (void)state;
    uint64_t applied_count = world->model.applied_count;
    for (int i = 0; i < 10; i++) {
        calls[i] = world_put(world, "k", session);
    }
    core_pump(&world->core);
    struct world_link *link = link_of(world, session->connection);
    world_run(world, 1);
    link->stuck = true;
    world_run(world, LATENCY_TIMEOUT_MS_MIN + 20);

    for (int i = 0; i < 10; i++) {
        assert_int_equal(calls[i]->status, ERR_OK);
    }
    link->stuck = false; /* The first copies come late. */
    world_run(world, 20);
    assert_int_equal(world->model.applied_count, applied_count + 10);
    world_close(world);
}

static void with_one_connection_an_attempt_is_not_repeated_behind_itself(void **state)
{
    struct world *world = open_busy(14, 1);

    (void)state;
    link_of(world, world->core.leaders[0])->stuck = true;
    struct world_call *get = world_get(world, "k");
    core_pump(&world->core);
    uint64_t attempt_count = world->core.attempt_count;
    world_run(world, 900);
    assert_int_equal(world->core.attempt_count, attempt_count);
    world_wait(world, get, 1000); /* The connection is given up, and dialed again. */

    assert_int_equal(get->status, ERR_OK);
    world_close(world);
}

static void a_lone_write_is_never_sent_twice(void **state)
{
    struct world *world = open_busy(15, 2);

    (void)state;
    struct world_call *put = world_put(world, "k", NULL);
    core_pump(&world->core);
    link_of(world, put->core.connection)->stuck = true;
    uint64_t attempt_count = world->core.attempt_count;
    world_wait(world, put, 2000);

    assert_int_equal(put->outcome, OUTCOME_UNKNOWN);
    assert_int_equal(world->core.attempt_count, attempt_count);
    world_close(world);
}

/* --- Breakers -------------------------------------------------------------------------------- */

static uint32_t open_count(const struct world *world)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < world->core.endpoint_count; i++) {
        count += world->core.endpoints[i].breaker.state == BREAKER_OPEN;
    }
    return count;
}

static void with_all_breakers_open_a_call_waits_and_nothing_spins(void **state)
{
    struct world *world = open_busy(16, 1);
    bool all_open = false;

    (void)state;
    memset(world->down, 1, sizeof world->down);
    world_break(world, 0);
    world->timeout_ms = 20000;
    struct world_call *put = world_put(world, "k", NULL);
    for (int i = 0; i < 10000; i++) {
        world_step(world);
        all_open = all_open || open_count(world) == MODEL_NODE_COUNT;
        assert_true(core_wake_ms(&world->core) > world->now_ms);
    }
    assert_true(all_open);
    assert_int_equal(put->told_count, 0);
    memset(world->down, 0, sizeof world->down);
    world_wait(world, put, BREAKER_WAIT_MS_MAX + 250);

    assert_int_equal(put->status, ERR_OK);
    world_close(world);
}

static void a_leader_that_answers_nothing_is_asked_a_few_at_a_time(void **state)
{
    struct world *world = open_busy(17, 1);

    (void)state;
    struct core_breaker *breaker = &leader_of(world)->breaker;
    for (int i = 0; i < BREAKER_FAILURE_COUNT; i++) {
        breaker_fail(breaker, &world->core.prng, world->now_ms);
    }
    uint64_t attempt_count = world->core.attempt_count;
    uint64_t until_ms = breaker->until_ms;
    for (int i = 0; i < 50; i++) {
        assert_non_null(world_get(world, "k"));
    }
    world->frozen[0] = true;
    while (world->now_ms < until_ms) {
        assert_int_equal(world->core.attempt_count, attempt_count);
        world_step(world);
    }
    world_run(world, 200);
    assert_int_equal(world->core.attempt_count - attempt_count, BREAKER_PERMIT_COUNT);
    world->frozen[0] = false;
    world_run(world, 20);

    assert_int_equal(breaker->state, BREAKER_CLOSED);
    assert_int_equal(world->core.attempt_count - attempt_count, 50);
    world_close(world);
}

static void one_broken_connection_is_one_failure_however_many_calls_it_had(void **state)
{
    struct world *world = open_busy(18, 1);

    (void)state;
    for (int i = 0; i < 50; i++) {
        assert_non_null(world_get(world, "k"));
    }
    world_run(world, 1);
    const struct core_breaker *breaker = &leader_of(world)->breaker;
    world_break(world, 0);

    assert_int_equal(breaker->state, BREAKER_CLOSED);
    assert_int_equal(breaker->failures_in_row, 1);
    world_close(world);
}

static void a_leader_that_refuses_all_keeps_its_breaker_closed(void **state)
{
    struct world *world = open_busy(19, 1);

    (void)state;
    world->model.refuses = true;
    for (int i = 0; i < 100; i++) {
        assert_non_null(world_get(world, "k"));
        world_run(world, 5);
    }
    assert_int_equal(leader_of(world)->breaker.state, BREAKER_CLOSED);
    world_close(world);
}

/* --- The choice ------------------------------------------------------------------------------ */

static void the_endpoint_that_failed_least_is_dialed_first(void **state)
{
    uint32_t bad_count = 0;

    (void)state;
    for (uint64_t seed = 1; seed <= 50; seed++) {
        struct world *world = world_open(seed, 1, 8);
        world->core.endpoints[1].failure_count = 3;
        core_pump(&world->core);
        for (uint32_t i = 0; i < world->core.connection_count; i++) {
            const struct core_connection *connection = &world->core.connections[i];
            bad_count += connection->state == CORE_DIAL_WANTED && connection->endpoint == 1;
        }
        world_close(world);
    }
    assert_int_equal(bad_count, 0); /* Of two it is always the worse one. */
}

static void the_endpoint_that_answers_faster_is_dialed_more_often(void **state)
{
    uint32_t counts[3] = {0};

    (void)state;
    for (uint64_t seed = 1; seed <= 100; seed++) {
        struct world *world = world_open(seed, 1, 8);
        for (uint32_t i = 0; i < 3; i++) {
            world->core.endpoints[i].greeting_ms = 10 + i;
        }
        core_pump(&world->core);
        for (uint32_t i = 0; i < world->core.connection_count; i++) {
            const struct core_connection *connection = &world->core.connections[i];
            if (connection->state == CORE_DIAL_WANTED) {
                counts[connection->endpoint]++;
            }
        }
        world_close(world);
    }
    assert_true(counts[0] > 50 && counts[1] > 15 && counts[2] == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pause_that_is_asked_for_holds_for_calls_that_come_after),
        cmocka_unit_test(a_pause_of_writes_is_none_of_reads),
        cmocka_unit_test(a_call_that_ends_before_the_pause_is_refused_at_once),
        cmocka_unit_test(a_call_that_was_held_back_until_its_deadline_is_told_so),
        cmocka_unit_test(renewals_and_releases_wait_for_no_pause),
        cmocka_unit_test(calls_above_the_limit_wait_in_order),
        cmocka_unit_test(no_more_are_sent_than_the_rate_allows),
        cmocka_unit_test(without_a_budget_a_refused_call_ends_with_the_refusal),
        cmocka_unit_test(without_a_budget_a_read_ends_with_its_connection),
        cmocka_unit_test(a_moved_leader_costs_nothing_of_the_budget),
        cmocka_unit_test(a_session_without_a_budget_asks_seldom_and_goes_on_when_it_is_served),
        cmocka_unit_test(a_read_that_is_not_answered_goes_over_another_connection),
        cmocka_unit_test(so_does_a_session_whose_requests_are_applied_once),
        cmocka_unit_test(with_one_connection_an_attempt_is_not_repeated_behind_itself),
        cmocka_unit_test(a_lone_write_is_never_sent_twice),
        cmocka_unit_test(with_all_breakers_open_a_call_waits_and_nothing_spins),
        cmocka_unit_test(a_leader_that_answers_nothing_is_asked_a_few_at_a_time),
        cmocka_unit_test(one_broken_connection_is_one_failure_however_many_calls_it_had),
        cmocka_unit_test(a_leader_that_refuses_all_keeps_its_breaker_closed),
        cmocka_unit_test(the_endpoint_that_failed_least_is_dialed_first),
        cmocka_unit_test(the_endpoint_that_answers_faster_is_dialed_more_often),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
