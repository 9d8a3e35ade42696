/* tests/unit/client/core_call_test.c: what is sent again and what is not, redirection, deadlines.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/client/world.h"

enum { TTL_MS = 9000 };

static void a_write_that_was_sent_alone_is_not_sent_again(void **state)
{
    struct world *world = world_open(1, 1, 64);

    (void)state;
    world_wait(world, world_put(world, "k", NULL), 100);
    uint64_t applied_count = world->model.applied_count;
    struct world_call *call = world_put(world, "k", NULL);
    world_run(world, 2); /* It is at the node, the answer on its way. */
    world_break(world, 0);
    world_run(world, 500);

    assert_int_equal(call->status, ERR_UNKNOWN_OUTCOME);
    assert_int_equal(call->outcome, OUTCOME_UNKNOWN);
    assert_true(world->model.applied_count <= applied_count + 1);
    world_close(world);
}

static void a_read_is_sent_again(void **state)
{
    struct world *world = world_open(2, 1, 64);

    (void)state;
    world_wait(world, world_put(world, "k", NULL), 100);
    struct world_call *call = world_get(world, "k");
    world_run(world, 2);
    world_break(world, 0);
    world_wait(world, call, 1000);

    assert_int_equal(call->status, ERR_OK);
    world_close(world);
}

static void a_change_of_the_cluster_is_sent_again_and_done_when_it_was_done_before(void **state)
{
    struct world *world = world_open(21, 1, 64);

    (void)state;
    world_wait(world, world_put(world, "k", NULL), 100);
    struct world_call *call = world_remove_member(world, "n1");
    for (int i = 0; world->model.removal_count == 0 && i < 100; i++) {
        world_run(world, 1);
    }
    world_break(world, 0); /* The answer is on its way. */
    world_wait(world, call, 1000);

    assert_int_equal(world->model.removal_count, 2);
    assert_int_equal(call->status, ERR_OK);
    struct world_call *again = world_remove_member(world, "n1");
    world_wait(world, again, 1000);
    assert_int_equal(again->status, ERR_NOT_FOUND);
    world_close(world);
}

static void a_change_that_is_under_way_is_told_so_and_not_sent_again(void **state)
{
    struct world *world = world_open(22, 1, 64);

    (void)state;
    world_wait(world, world_put(world, "k", NULL), 100);
    world->model.refuses = true;
    world->model.refusal = ERR_TIMEOUT;
    struct world_call *call = world_remove_member(world, "n1");
    world_wait(world, call, 200);

    assert_int_equal(call->status, ERR_TIMEOUT);
    assert_int_equal(call->outcome, OUTCOME_UNKNOWN);
    world_close(world);
}

static void writes_of_a_session_are_sent_again_in_order_and_applied_once(void **state)
{
    struct world *world = world_open(3, 1, 200);
    struct core_session *session = world_session(world, TTL_MS);
    struct world_call *calls[100];

    (void)state;
    for (int i = 0; i < 100; i++) {
        calls[i] = world_put(world, "k", session);
    }
    for (int i = 0; i < 10; i++) {
        world_run(world, 2);
        world_break(world, 0);
        world_run(world, 3);
    }
    world_run(world, 1500);

    for (int i = 0; i < 100; i++) {
        assert_int_equal(calls[i]->status, ERR_OK);
    }
    assert_int_equal(world->model.applied_count, 100);
    assert_true(world->model.repeated_count > 0);
    world_close(world);
}

static void no_more_than_a_window_of_a_session_is_unanswered(void **state)
{
    struct world *world = world_open(4, 1, 200);
    struct core_session *session = world_session(world, TTL_MS);

    (void)state;
    world->frozen[0] = true;
    for (int i = 0; i < 100; i++) {
        assert_non_null(world_put(world, "k", session));
    }
    world_run(world, 50);

    assert_int_equal(session->window_count, CORE_WINDOW_COUNT_MAX);
    assert_int_equal(session->sequence, CORE_WINDOW_COUNT_MAX);
    world_close(world);
}

static void a_write_out_of_time_leaves_no_gap_behind(void **state)
{
    struct world *world = world_open(5, 1, 64);
    struct core_session *session = world_session(world, 60000);

    (void)state;
    memset(world->frozen, 1, sizeof world->frozen);
    struct world_call *late = world_put(world, "k", session);
    world_run(world, 2500);
    assert_int_equal(late->status, ERR_TIMEOUT);
    assert_int_equal(late->outcome, OUTCOME_UNKNOWN);
    memset(world->frozen, 0, sizeof world->frozen);
    struct world_call *next = world_put(world, "k", session);
    world_wait(world, next, 2000);

    assert_int_equal(next->status, ERR_OK);
    assert_int_equal(world->model.applied_count, 2);
    world_close(world);
}

static void the_leader_that_a_node_names_is_followed(void **state)
{
    struct world *world = world_open(6, 1, 64);

    (void)state;
    for (int i = 0; i < 10; i++) {
        world->model.leader = i % 3;
        struct world_call *call = world_put(world, "k", NULL);
        world_wait(world, call, 200);
        assert_int_equal(call->status, ERR_OK);
    }
    world_close(world);
}

static void a_failover_costs_little_more_than_the_election(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 50; seed++) {
        struct world *world = world_open(seed, 1, 64);
        world_wait(world, world_put(world, "k", NULL), 1000);
        world->down[0] = true;
        world_break(world, 0);
        world->model.leader = -1;
        struct world_call *call = world_put(world, "k", NULL);
        world_run(world, 400);
        world->model.leader = 1;
        uint64_t elected_ms = world->now_ms;
        world_wait(world, call, 500);

        assert_int_equal(call->status, ERR_OK);
        assert_true(call->told_ms - elected_ms < 80);
        world_close(world);
    }
}

static void a_frozen_leader_is_left_after_two_silences(void **state)
{
    struct world *world = world_open(7, 1, 64);

    (void)state;
    world_wait(world, world_put(world, "k", NULL), 1000);
    world->frozen[0] = true;
    world->model.leader = 1;
    struct world_call *call = world_get(world, "k");
    world_wait(world, call, 1400);

    assert_int_equal(call->status, ERR_OK);
    world_close(world);
}

static void a_dead_endpoint_costs_no_more_than_the_stagger(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 30; seed++) {
        struct world *world = world_open(seed, 1, 64);
        world->frozen[1] = true;
        world->frozen[2] = true;
        struct world_call *call = world_put(world, "k", NULL);
        world_wait(world, call, 2 * 250 + 50);

        assert_int_equal(call->status, ERR_OK);
        world_close(world);
    }
}

static void without_a_leader_a_call_ends_with_no_quorum(void **state)
{
    struct world *world = world_open(8, 1, 64);

    (void)state;
    world->model.leader = -1;
    struct world_call *put = world_put(world, "k", NULL);
    struct world_call *get = world_get(world, "k");
    world_wait(world, put, 2000);
    world_wait(world, get, 10);

    assert_int_equal(put->status, ERR_NO_QUORUM);
    assert_int_equal(put->outcome, OUTCOME_REJECTED);
    assert_int_equal(get->status, ERR_NO_QUORUM);
    world_close(world);
}

static void an_unanswered_write_times_out_as_unknown(void **state)
{
    struct world *world = world_open(9, 1, 64);

    (void)state;
    world_wait(world, world_put(world, "k", NULL), 1000);
    world->frozen[0] = true;
    world->timeout_ms = 300; /* Before the silence is noticed. */
    struct world_call *call = world_put(world, "k", NULL);
    world_wait(world, call, 301);

    assert_int_equal(call->status, ERR_TIMEOUT);
    assert_int_equal(call->outcome, OUTCOME_UNKNOWN);
    world_close(world);
}

static void a_request_carries_what_is_left_of_its_calls_deadline(void **state)
{
    struct world *world = world_open(31, 1, 64);

    (void)state;
    world_wait(world, world_put(world, "k", NULL), 1000);
    world->model.refuses = true;
    world->timeout_ms = 700;
    struct world_call *call = world_put(world, "k", NULL);
    world_run(world, 20);
    assert_in_range(world->model.within_ms, 680, 700);
    world_run(world, 300); /* It has been refused, and sent again. */
    assert_in_range(world->model.within_ms, 300, 500);
    world->model.refuses = false;
    world_wait(world, call, 300);

    assert_int_equal(call->status, ERR_OK);
    world_close(world);
}

static void neither_a_sequence_nor_an_older_node_gets_a_deadline(void **state)
{
    struct world *world = world_open(32, 1, 64);
    struct world *older = world_open(33, 1, 64);
    struct core_session *session = world_session(world, TTL_MS);

    (void)state;
    world_wait(world, world_put(world, "k", session), 1000);
    assert_true(world->model.within_ms == WIRE_WITHIN_NONE);
    older->model.is_old = true;
    world_wait(older, world_put(older, "k", NULL), 1000);

    assert_true(older->model.within_ms == WIRE_WITHIN_NONE);
    assert_int_equal(older->model.applied_count, 1);
    world_close(world);
    world_close(older);
}

static void what_a_node_drops_as_late_is_surely_not_applied(void **state)
{
    struct world *world = world_open(34, 1, 64);

    (void)state;
    world_wait(world, world_put(world, "k", NULL), 1000);
    world->model.is_late = true;
    struct world_call *put = world_put(world, "k", NULL);
    struct world_call *get = world_get(world, "k");
    world_run(world, 100);

    assert_int_equal(put->status, ERR_TIMEOUT);
    assert_int_equal(put->outcome, OUTCOME_REJECTED);
    assert_int_equal(get->status, ERR_TIMEOUT);
    assert_int_equal(world->model.applied_count, 1);
    world_close(world);
}

static void overload_is_waited_out(void **state)
{
    struct world *world = world_open(10, 1, 64);
    struct core_session *session = world_session(world, TTL_MS);

    (void)state;
    world->model.refuses = true;
    struct world_call *alone = world_put(world, "k", NULL);
    struct world_call *first = world_put(world, "k", session);
    struct world_call *second = world_put(world, "k", session);
    world_run(world, 300);
    assert_int_equal(alone->told_count + first->told_count + second->told_count, 0);
    world->model.refuses = false;
    world_run(world, 300);

    assert_int_equal(alone->status, ERR_OK);
    assert_int_equal(first->status, ERR_OK);
    assert_int_equal(second->status, ERR_OK);
    assert_int_equal(alone->told_count + first->told_count + second->told_count, 3);
    assert_int_equal(world->model.applied_count, 3);
    world_close(world);
}

static void a_request_that_is_refused_for_long_blocks_none_behind_it(void **state)
{
    struct world *world = world_open(15, 1, 64);
    struct core_session *session = world_session(world, 60000);

    (void)state;
    world->timeout_ms = 5000;
    world->model.refused_sequence = 1;
    struct world_call *first = world_put(world, "k", session);
    struct world_call *acquire = world_acquire(world, session, "lock", 0);
    struct world_call *last = world_put(world, "k", session);
    world_run(world, 2000);
    assert_int_equal(first->told_count + acquire->told_count + last->told_count, 0);
    world->model.refused_sequence = 0;
    world_run(world, 300);

    assert_int_equal(first->status, ERR_OK);
    assert_int_equal(acquire->status, ERR_OK);
    assert_int_equal(last->status, ERR_OK);
    assert_int_equal(first->told_count + acquire->told_count + last->told_count, 3);
    assert_int_equal(session->state, CORE_SESSION_CONNECTED);
    world_close(world);
}

static void a_session_with_a_hole_in_its_sequence_is_lost(void **state)
{
    struct world *world = world_open(16, 1, 64);
    struct core_session *session = world_session(world, 60000);

    (void)state;
    world_wait(world, world_put(world, "k", session), 100);
    model_session(&world->model, session->id)->sequence = 0;
    struct world_call *oldest = world_put(world, "k", session);
    struct world_call *next = world_put(world, "k", session);
    world_wait(world, oldest, 1500);

    assert_int_equal(oldest->status, ERR_SEQUENCE_GAP);
    assert_int_equal(oldest->outcome, OUTCOME_REJECTED);
    assert_int_equal(next->told_count, 1);
    assert_int_equal(next->status, ERR_LOST);
    assert_int_equal(session->state, CORE_SESSION_LOST);
    world_close(world);
}

static void an_answer_that_leaves_a_hole_loses_the_session(void **state)
{
    struct world *world = world_open(17, 1, 64);
    struct core_session *session = world_session(world, 60000);

    (void)state;
    struct world_call *malformed = world_put(world, "", session);
    struct world_call *next = world_put(world, "k", session);
    world_wait(world, malformed, 100);
    world_run(world, 10);
    struct world_call *later = world_put(world, "k", session);
    world_run(world, 5);

    assert_int_equal(malformed->status, ERR_MALFORMED);
    assert_int_equal(malformed->outcome, OUTCOME_REJECTED);
    assert_int_equal(next->status, ERR_LOST);
    assert_int_equal(later->status, ERR_LOST);
    assert_int_equal(session->state, CORE_SESSION_LOST);
    assert_false(model_session(&world->model, session->id)->alive);
    world_close(world);
}

static void a_full_output_interrupts_sending_again_and_no_more(void **state)
{
    enum { COUNT = 40, OUTPUT_SIZE = 700 };
    struct world *world = world_open(18, 1, 64);
    struct core_session *session = world_session(world, 60000);
    struct world_call *calls[COUNT];

    (void)state;
    world->model.refuses = true;
    for (int i = 0; i < COUNT; i++) {
        calls[i] = world_put(world, "k", session);
    }
    world_run(world, 5); /* All are refused, and to be sent again. */
    session->connection->output.capacity = OUTPUT_SIZE;
    world->model.refuses = false;
    world_run(world, 100);

    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(calls[i]->told_count, 1);
        assert_int_equal(calls[i]->status, ERR_OK);
    }
    world_close(world);
}

static void one_call_too_many_is_refused_as_overloaded(void **state)
{
    struct world *world = world_open(11, 1, 4);

    (void)state;
    world->model.leader = -1;
    for (int i = 0; i < 4; i++) {
        assert_non_null(world_put(world, "k", NULL));
    }
    struct world_call *call = world_put(world, "k", NULL);
    world_wait(world, call, 5);

    assert_int_equal(call->status, ERR_OVERLOADED);
    assert_int_equal(call->outcome, OUTCOME_REJECTED);
    world_close(world);
}

static void a_cancelled_call_is_told_once_and_its_late_answer_ignored(void **state)
{
    struct world *world = world_open(12, 1, 64);

    (void)state;
    world_run(world, 50);
    struct world_call *call = world_put(world, "k", NULL);
    world_run(world, 1);
    core_call_cancel(&world->core, &call->core);
    core_call_cancel(&world->core, &call->core);
    world_run(world, 50);

    assert_int_equal(call->told_count, 1);
    assert_int_equal(call->status, ERR_CANCELLED);
    assert_int_equal(call->outcome, OUTCOME_UNKNOWN);
    world_close(world);
}

static void any_node_tells_its_status(void **state)
{
    struct world *world = world_open(13, 1, 64);

    (void)state;
    world->model.leader = -1;
    for (int node = 0; node < MODEL_NODE_COUNT; node++) {
        struct world_call *call = world_status(world, node, 500);
        world_wait(world, call, 500);
        assert_int_equal(call->status, ERR_OK);
    }
    world->frozen[2] = true;
    struct world_call *call = world_status(world, 2, 500);
    world_wait(world, call, 500);
    assert_int_equal(call->status, ERR_TIMEOUT);
    world_close(world);
}

static void dialing_a_dead_cluster_backs_off(void **state)
{
    struct world *world = world_open(14, 1, 64);

    (void)state;
    memset(world->down, 1, sizeof world->down);
    world_run(world, 20000);

    assert_true(world->dial_count < 20 * 3 * 4);
    memset(world->down, 0, sizeof world->down);
    struct world_call *call = world_put(world, "k", NULL);
    world_wait(world, call, 1500);
    assert_int_equal(call->status, ERR_OK);
    world_close(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_write_that_was_sent_alone_is_not_sent_again),
        cmocka_unit_test(a_read_is_sent_again),
        cmocka_unit_test(a_change_of_the_cluster_is_sent_again_and_done_when_it_was_done_before),
        cmocka_unit_test(a_change_that_is_under_way_is_told_so_and_not_sent_again),
        cmocka_unit_test(writes_of_a_session_are_sent_again_in_order_and_applied_once),
        cmocka_unit_test(no_more_than_a_window_of_a_session_is_unanswered),
        cmocka_unit_test(a_write_out_of_time_leaves_no_gap_behind),
        cmocka_unit_test(the_leader_that_a_node_names_is_followed),
        cmocka_unit_test(a_failover_costs_little_more_than_the_election),
        cmocka_unit_test(a_frozen_leader_is_left_after_two_silences),
        cmocka_unit_test(a_dead_endpoint_costs_no_more_than_the_stagger),
        cmocka_unit_test(without_a_leader_a_call_ends_with_no_quorum),
        cmocka_unit_test(an_unanswered_write_times_out_as_unknown),
        cmocka_unit_test(a_request_carries_what_is_left_of_its_calls_deadline),
        cmocka_unit_test(neither_a_sequence_nor_an_older_node_gets_a_deadline),
        cmocka_unit_test(what_a_node_drops_as_late_is_surely_not_applied),
        cmocka_unit_test(overload_is_waited_out),
        cmocka_unit_test(a_request_that_is_refused_for_long_blocks_none_behind_it),
        cmocka_unit_test(a_session_with_a_hole_in_its_sequence_is_lost),
        cmocka_unit_test(an_answer_that_leaves_a_hole_loses_the_session),
        cmocka_unit_test(a_full_output_interrupts_sending_again_and_no_more),
        cmocka_unit_test(one_call_too_many_is_refused_as_overloaded),
        cmocka_unit_test(a_cancelled_call_is_told_once_and_its_late_answer_ignored),
        cmocka_unit_test(any_node_tells_its_status),
        cmocka_unit_test(dialing_a_dead_cluster_backs_off),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
