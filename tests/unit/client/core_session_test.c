/* tests/unit/client/core_session_test.c: the holder's deadline, renewals, states. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/client/world.h"

enum { TTL_MS = 9000, USABLE_MS = TTL_MS - TTL_MS / 50 - 100 }; /* rho 1 %, margin 100 ms. */

static struct core_connection *leader_of(struct world *world)
{
    assert_true(world->core.leader_count > 0);
    return world->core.leaders[0];
}

static void answer_renewal(struct world *world, uint64_t request_id, uint64_t attempt)
{
    uint8_t memory[256];
    struct buffer bytes = buffer_of(memory, sizeof memory);
    struct wire_session_renew_result result = {.attempt = attempt};

    assert_true(wire_result_begin(&bytes, request_id));
    assert_true(wire_session_renew_result_encode(&result, &bytes));
    struct bytes input = buffer_bytes(&bytes);
    core_receive(&world->core, leader_of(world), &input);
}

/* Runs until a renewal is on its way that is not answered. */
static struct core_attempt wait_for_attempt(struct world *world, struct core_session *session)
{
    for (uint32_t i = 0; i < TTL_MS; i++) {
        world_step(world);
        for (uint32_t j = 0; j < CORE_ATTEMPT_COUNT; j++) {
            if (session->attempts[j].number != 0) {
                return session->attempts[j];
            }
        }
    }
    fail_msg("no renewal was sent");
    return (struct core_attempt){0};
}

static void deadline_counts_from_the_sending_of_the_open_request(void **state)
{
    struct world *world = world_open(1, 1, 64);
    struct core_session *session;

    (void)state;
    world_run(world, 20);
    world->stall_percent = 90; /* The answer takes its time. */
    uint64_t before_ms = world->now_ms;
    struct world_call *call = world_open_session(world, TTL_MS, &session);
    world_wait(world, call, 2000);

    assert_int_equal(call->status, ERR_OK);
    assert_true(world->now_ms > before_ms + 2);
    assert_int_equal(session->deadline_ms, before_ms + 1 + USABLE_MS); /* Sent in the next step. */
    world_close(world);
}

static void deadline_counts_from_the_sending_of_a_confirmed_renewal(void **state)
{
    struct world *world = world_open(2, 1, 64);
    struct core_session *session = world_session(world, TTL_MS);

    (void)state;
    struct core_attempt attempt = wait_for_attempt(world, session);
    uint64_t sent_ms = attempt.sent_ms;
    world_run(world, 10);

    assert_int_equal(session->deadline_ms, sent_ms + USABLE_MS);
    world_close(world);
}

static void renewals_are_sent_about_every_third_of_the_ttl(void **state)
{
    struct world *world = world_open(3, 1, 64);
    struct core_session *session = world_session(world, TTL_MS);

    (void)state;
    for (int i = 0; i < 20; i++) {
        uint64_t before_ms = session->deadline_ms;
        (void)wait_for_attempt(world, session);
        world_run(world, 10);
        uint64_t period_ms = session->deadline_ms - before_ms;
        assert_in_range(period_ms, TTL_MS / 3 - TTL_MS / 30, TTL_MS / 3 + TTL_MS / 30 + 1);
    }
    assert_int_equal(world->change_count, 0);
    world_close(world);
}

static void repeated_and_unknown_answers_move_nothing(void **state)
{
    struct world *world = world_open(4, 1, 64);
    struct core_session *session = world_session(world, TTL_MS);

    (void)state;
    struct core_attempt attempt = wait_for_attempt(world, session);
    uint64_t request_id = attempt.request_id;
    uint64_t number = attempt.number;
    world_run(world, 10);
    uint64_t deadline_ms = session->deadline_ms;
    uint64_t renew_ms = session->renew_ms;
    world_run(world, 100);
    answer_renewal(world, request_id, number);
    answer_renewal(world, request_id, number + 1);
    answer_renewal(world, request_id + (1 << 16), number + 1);

    assert_int_equal(session->deadline_ms, deadline_ms);
    assert_int_equal(session->renew_ms, renew_ms);
    world_close(world);
}

static void an_answer_that_echoes_another_attempt_moves_nothing(void **state)
{
    struct world *world = world_open(5, 1, 64);
    struct core_session *session = world_session(world, TTL_MS);

    (void)state;
    world->model.silent = true;
    uint64_t deadline_ms = session->deadline_ms;
    struct core_attempt attempt = wait_for_attempt(world, session);
    answer_renewal(world, attempt.request_id, attempt.number + 7);

    assert_int_equal(session->deadline_ms, deadline_ms);
    world_close(world);
}

static void other_answers_do_not_move_the_deadline(void **state)
{
    struct world *world = world_open(6, 1, 64);
    struct core_session *session = world_session(world, TTL_MS);
    uint64_t deadline_ms = session->deadline_ms;

    (void)state;
    world_run(world, 500);
    struct world_call *acquire = world_acquire(world, session, "lock", 0);
    world_wait(world, acquire, 100);
    struct world_call *put = world_put(world, "key", session);
    world_wait(world, put, 100);

    assert_int_equal(acquire->status, ERR_OK);
    assert_int_equal(session->deadline_ms, deadline_ms);
    world_close(world);
}

static void a_silent_cluster_makes_it_suspect_and_then_lost_at_the_deadline(void **state)
{
    struct world *world = world_open(7, 1, 64);
    struct core_session *session = world_session(world, TTL_MS);
    uint64_t deadline_ms = session->deadline_ms;
    uint64_t id = session->id;

    (void)state;
    memset(world->frozen, 1, sizeof world->frozen);
    world_run(world, TTL_MS + 200);

    assert_int_equal(world->change_count, 2);
    assert_int_equal(world->changes[0].state, CORE_SESSION_SUSPECT);
    assert_true(world->changes[0].at_ms < WORLD_START_MS + TTL_MS / 2 + 100);
    assert_int_equal(world->changes[1].state, CORE_SESSION_LOST);
    assert_int_equal(world->changes[1].at_ms, deadline_ms);
    assert_false(model_session(&world->model, id)->alive);
    world_close(world);
}

/* The server's clock runs faster by rho, the holder's slower by rho. */
static void loss_is_known_before_the_cluster_grants_to_another(void **state)
{
    struct world *world = world_open(8, 1, 64);
    struct core_session *session = world_session(world, TTL_MS);
    uint64_t opened_ms = session->deadline_ms - USABLE_MS;

    (void)state;
    uint64_t real_ms_of_loss = (session->deadline_ms - opened_ms) * 101 / 100;
    uint64_t real_ms_of_expiry = (uint64_t)TTL_MS * 100 / 101;

    assert_true(real_ms_of_loss + 80 <= real_ms_of_expiry);
    world_close(world);
}

static void a_renewal_in_time_makes_a_suspect_session_connected_again(void **state)
{
    struct world *world = world_open(9, 1, 64);
    struct core_session *session = world_session(world, TTL_MS);

    (void)state;
    memset(world->frozen, 1, sizeof world->frozen);
    while (session->state == CORE_SESSION_CONNECTED) {
        world_step(world);
    }
    memset(world->frozen, 0, sizeof world->frozen);
    world_run(world, 2500);

    assert_int_equal(session->state, CORE_SESSION_CONNECTED);
    assert_int_equal(world->change_count, 2);
    assert_int_equal(world->changes[1].state, CORE_SESSION_CONNECTED);
    world_close(world);
}

static void a_long_pause_tells_suspect_and_lost_before_any_call(void **state)
{
    struct world *world = world_open(10, 1, 64);
    struct core_session *session = world_session(world, TTL_MS);
    enum core_session_state told;

    (void)state;
    core_advance(&world->core, world->now_ms + 2 * (uint64_t)TTL_MS);
    assert_ptr_equal(core_next_changed(&world->core, &told), session);
    assert_int_equal(told, CORE_SESSION_SUSPECT);
    assert_ptr_equal(core_next_changed(&world->core, &told), session);
    assert_int_equal(told, CORE_SESSION_LOST);
    assert_null(core_next_changed(&world->core, &told));
    world_close(world);
}

static void nothing_comes_back_from_lost(void **state)
{
    struct world *world = world_open(11, 1, 64);
    struct core_session *session = world_session(world, TTL_MS);

    (void)state;
    memset(world->frozen, 1, sizeof world->frozen);
    world_run(world, TTL_MS);
    assert_int_equal(session->state, CORE_SESSION_LOST);
    memset(world->frozen, 0, sizeof world->frozen);
    world_run(world, 5000);
    struct world_call *call = world_acquire(world, session, "lock", 0);
    world_wait(world, call, 10);

    assert_int_equal(session->state, CORE_SESSION_LOST);
    assert_int_equal(call->status, ERR_LOST);
    assert_int_equal(call->outcome, OUTCOME_REJECTED);
    world_close(world);
}

static void an_expired_answer_to_a_renewal_is_a_loss_at_once(void **state)
{
    struct world *world = world_open(12, 1, 64);
    struct core_session *session = world_session(world, TTL_MS);
    struct world_call *waiting;

    (void)state;
    model_session(&world->model, session->id)->deadline_ms = world->now_ms + 1;
    waiting = world_acquire(world, session, "lock", 60000);
    world_run(world, TTL_MS / 2);

    assert_int_equal(session->state, CORE_SESSION_LOST);
    assert_int_equal(waiting->status, ERR_LOST);
    world_close(world);
}

static void a_lost_session_is_ended_once_a_node_can_be_reached(void **state)
{
    struct world *world = world_open(13, 1, 64);
    struct core_session *session = world_session(world, TTL_MS);
    struct model_session *model = model_session(&world->model, session->id);

    (void)state;
    model->deadline_ms += 60000; /* The cluster would wait for long. */
    memset(world->frozen, 1, sizeof world->frozen);
    world_run(world, TTL_MS);
    assert_true(model->alive);
    memset(world->frozen, 0, sizeof world->frozen);
    world_run(world, 3000);

    assert_false(model->alive);
    world_close(world);
}

static void the_end_of_a_lost_session_is_tried_until_it_is_taken(void **state)
{
    const enum error refusals[] = {ERR_OVERLOADED, ERR_RATE_LIMITED, ERR_STOPPING, ERR_NOT_FORMED,
                                   ERR_NOT_LEADER};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(refusals); i++) {
        struct world *world = world_open(23 + i, 1, 64);
        struct core_session *session = world_session(world, TTL_MS);
        struct model_session *model = model_session(&world->model, session->id);
        model->deadline_ms += 60000; /* The cluster would wait for long. */
        memset(world->frozen, 1, sizeof world->frozen);
        world_run(world, TTL_MS);
        assert_int_equal(session->state, CORE_SESSION_LOST);
        world->model.refuses = true;
        world->model.refusal = refusals[i];
        memset(world->frozen, 0, sizeof world->frozen);
        world_run(world, 3000);
        assert_true(model->alive);
        world->model.refuses = false;
        world_run(world, 500);

        assert_false(model->alive);
        world_close(world);
    }
}

static void a_refused_renewal_is_tried_again_in_time_whatever_the_node_asks(void **state)
{
    struct world *world = world_open(30, 1, 64);
    struct core_session *session = world_session(world, TTL_MS);

    (void)state;
    world->model.refuses = true;
    world->model.retry_after_ms = 10000;
    (void)wait_for_attempt(world, session);
    world_run(world, 10);
    world->model.refuses = false;
    world_run(world, TTL_MS);

    assert_int_equal(session->state, CORE_SESSION_CONNECTED);
    world_close(world);
}

static void a_failover_loses_no_session(void **state)
{
    struct world *world = world_open(14, 1, 64);
    struct core_session *session = world_session(world, 3000);

    (void)state;
    for (int i = 1; i < 20; i++) {
        world->model.leader = -1;
        world_break(world, (i - 1) % 3);
        world_run(world, 400);
        world->model.leader = i % 3;
        world_run(world, 800);
    }

    assert_int_equal(session->state, CORE_SESSION_CONNECTED);
    assert_int_equal(world->change_count, 0);
    world_close(world);
}

static void the_end_gives_the_locks_on_and_answers_ok(void **state)
{
    struct world *world = world_open(15, 1, 64);
    struct core_session *first = world_session(world, TTL_MS);
    struct core_session *second = world_session(world, TTL_MS);

    (void)state;
    world_wait(world, world_acquire(world, first, "lock", 0), 100);
    struct world_call *waiting = world_acquire(world, second, "lock", -1);
    world_run(world, 20);
    struct world_call *end = world_end_session(world, first);
    world_wait(world, end, 100);
    world_wait(world, waiting, 100);

    assert_int_equal(end->status, ERR_OK);
    assert_int_equal(waiting->status, ERR_OK);
    world_close(world);
}

static void anybodys_session_is_ended_by_its_number(void **state)
{
    struct world *world = world_open(20, 1, 64);
    struct core_session *other = world_session(world, TTL_MS);
    struct core_session *kept = world_session(world, TTL_MS);

    (void)state;
    struct world_call *call = world_end_id(world, other->id);
    world_wait(world, call, 100);
    struct world_call *again = world_end_id(world, other->id);
    world_wait(world, again, 100);
    world_run(world, TTL_MS / 2); /* A renewal tells its holder. */

    assert_int_equal(call->status, ERR_OK);
    assert_int_equal(call->outcome, OUTCOME_OK);
    assert_int_equal(again->status, ERR_SESSION_EXPIRED);
    assert_int_equal(again->outcome, OUTCOME_REJECTED);
    assert_false(model_session(&world->model, other->id)->alive);
    assert_int_equal(other->state, CORE_SESSION_LOST);
    assert_int_equal(kept->state, CORE_SESSION_CONNECTED);
    world_close(world);
}

static void an_end_by_number_that_was_sent_is_not_sent_again(void **state)
{
    struct world *world = world_open(21, 1, 64);
    struct core_session *other = world_session(world, TTL_MS);

    (void)state;
    struct world_call *call = world_end_id(world, other->id);
    world_run(world, 1); /* On its way. */
    world_break(world, 0);
    world_run(world, 500);

    assert_int_equal(call->told_count, 1);
    assert_int_equal(call->status, ERR_UNKNOWN_OUTCOME);
    assert_int_equal(call->outcome, OUTCOME_UNKNOWN);
    assert_true(model_session(&world->model, other->id)->alive);
    world_close(world);
}

static void an_end_by_number_follows_the_leader(void **state)
{
    struct world *world = world_open(22, 1, 64);
    struct core_session *other = world_session(world, TTL_MS);

    (void)state;
    world->model.leader = 1;
    struct world_call *call = world_end_id(world, other->id);
    world_wait(world, call, 500);

    assert_int_equal(call->status, ERR_OK);
    assert_false(model_session(&world->model, other->id)->alive);
    world_close(world);
}

static void a_ttl_that_is_too_short_is_refused_with_the_floor(void **state)
{
    struct world *world = world_open(16, 1, 64);
    struct core_session *session;

    (void)state;
    struct world_call *call = world_open_session(world, 100, &session);
    world_wait(world, call, 100);

    assert_int_equal(call->status, ERR_TTL_TOO_SHORT);
    assert_int_equal(call->core.failure.floor_ms, 500);
    world_close(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(deadline_counts_from_the_sending_of_the_open_request),
        cmocka_unit_test(deadline_counts_from_the_sending_of_a_confirmed_renewal),
        cmocka_unit_test(renewals_are_sent_about_every_third_of_the_ttl),
        cmocka_unit_test(repeated_and_unknown_answers_move_nothing),
        cmocka_unit_test(an_answer_that_echoes_another_attempt_moves_nothing),
        cmocka_unit_test(other_answers_do_not_move_the_deadline),
        cmocka_unit_test(a_silent_cluster_makes_it_suspect_and_then_lost_at_the_deadline),
        cmocka_unit_test(loss_is_known_before_the_cluster_grants_to_another),
        cmocka_unit_test(a_renewal_in_time_makes_a_suspect_session_connected_again),
        cmocka_unit_test(a_long_pause_tells_suspect_and_lost_before_any_call),
        cmocka_unit_test(nothing_comes_back_from_lost),
        cmocka_unit_test(an_expired_answer_to_a_renewal_is_a_loss_at_once),
        cmocka_unit_test(a_lost_session_is_ended_once_a_node_can_be_reached),
        cmocka_unit_test(the_end_of_a_lost_session_is_tried_until_it_is_taken),
        cmocka_unit_test(a_refused_renewal_is_tried_again_in_time_whatever_the_node_asks),
        cmocka_unit_test(a_failover_loses_no_session),
        cmocka_unit_test(the_end_gives_the_locks_on_and_answers_ok),
        cmocka_unit_test(anybodys_session_is_ended_by_its_number),
        cmocka_unit_test(an_end_by_number_that_was_sent_is_not_sent_again),
        cmocka_unit_test(an_end_by_number_follows_the_leader),
        cmocka_unit_test(a_ttl_that_is_too_short_is_refused_with_the_floor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
