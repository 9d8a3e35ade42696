/* tests/unit/client/core_election_test.c: observing within its time, and tokens that nodes refuse.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client/core_internal.h"
#include "tests/support/client/world.h"

enum { TIMEOUT_MS = 2000, WAIT_MS = 10000 };

static void the_wait_of_an_observer_is_counted_apart_from_the_timeout(void **state)
{
    struct world *world = world_open(1, 1, 16);
    struct world_call *call = world_observe(world, "e", WAIT_MS);
    uint64_t began_ms = world->now_ms;

    (void)state;
    world_wait(world, call, WAIT_MS + TIMEOUT_MS + 10);

    assert_int_equal(call->status, ERR_TIMEOUT);
    assert_int_equal(call->told_ms - began_ms, WAIT_MS + TIMEOUT_MS);
    assert_int_equal(world->model.show_count, 1);
    assert_true(world->model.show.wait_ms > WAIT_MS - 100);
    world_close(world);
}

static void an_observer_without_a_leader_ends_after_the_timeout(void **state)
{
    struct world *world = world_open(2, 1, 16);

    (void)state;
    world->model.leader = -1;
    struct world_call *call = world_observe(world, "e", WAIT_MS);
    world_wait(world, call, TIMEOUT_MS + 10);

    assert_int_equal(call->status, ERR_NO_QUORUM);
    world_close(world);
}

static void
an_observer_whose_leader_has_gone_asks_the_next_for_what_is_left_of_its_wait(void **state)
{
    struct world *world = world_open(3, 1, 16);
    struct world_call *call = world_observe(world, "e", WAIT_MS);

    (void)state;
    world_run(world, 4000);
    world->model.leader = 1;
    world->down[0] = true;
    world_break(world, 0);
    world_run(world, 1000);

    assert_int_equal(call->told_count, 0);
    assert_int_equal(world->model.show_count, 2);
    assert_in_range(world->model.show.wait_ms, WAIT_MS - 5100, WAIT_MS - 3900);
    world_close(world);
}

static void an_observer_whose_leader_is_lost_ends_after_the_timeout(void **state)
{
    struct world *world = world_open(4, 1, 16);
    struct world_call *call = world_observe(world, "e", 60000);

    (void)state;
    world_run(world, 4000);
    world->model.leader = -1;
    world_break(world, 0);
    world_wait(world, call, TIMEOUT_MS + 100);

    assert_int_equal(call->status, ERR_TIMEOUT); /* A node had been asked. */
    world_close(world);
}

static void calls_end_at_once_when_every_node_refuses_the_token(void **state)
{
    struct world *world = world_open(5, 1, 16);
    struct core_session *session = NULL;

    (void)state;
    for (int i = 0; i < MODEL_NODE_COUNT; i++) {
        world->model.denies[i] = true;
    }
    struct world_call *get = world_get(world, "k");
    struct world_call *open = world_open_session(world, 3000, &session);
    world_wait(world, get, 500);
    world_wait(world, open, 500);

    assert_int_equal(get->status, ERR_AUTH);
    assert_int_equal(get->outcome, OUTCOME_REJECTED);
    assert_int_equal(open->status, ERR_AUTH);
    world_close(world);
}

static void a_node_that_is_down_does_not_keep_a_refusal_back(void **state)
{
    struct world *world = world_open(6, 1, 16);

    (void)state;
    world->model.denies[0] = true;
    world->model.denies[1] = true;
    world->down[2] = true;
    struct world_call *call = world_get(world, "k");
    world_wait(world, call, 1500);

    assert_int_equal(call->status, ERR_AUTH);
    world_close(world);
}

static void a_node_that_takes_the_token_is_found_among_those_that_refuse_it(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct world *world = world_open(seed, 1, 16);

        world->model.denies[0] = true;
        world->model.denies[1] = true;
        world->model.leader = 2;
        struct world_call *call = world_get(world, "k");
        world_wait(world, call, 1500);

        assert_int_equal(call->status, ERR_NOT_FOUND);
        world_close(world);
    }
}

static void calls_are_served_again_once_the_token_is_taken(void **state)
{
    struct world *world = world_open(7, 1, 16);

    (void)state;
    for (int i = 0; i < MODEL_NODE_COUNT; i++) {
        world->model.denies[i] = true;
    }
    struct world_call *refused = world_get(world, "k");
    world_wait(world, refused, 500);
    for (int i = 0; i < MODEL_NODE_COUNT; i++) {
        world->model.denies[i] = false;
    }
    struct world_call *served = world_get(world, "k");
    world_wait(world, served, 1500);

    assert_int_equal(refused->status, ERR_AUTH);
    assert_int_equal(served->status, ERR_NOT_FOUND);
    world_close(world);
}

static void a_node_that_is_asked_for_its_status_says_that_it_refuses_the_token(void **state)
{
    struct world *world = world_open(8, 1, 16);

    (void)state;
    world->model.denies[1] = true;
    struct world_call *call = world_status(world, 1, 1000);
    world_wait(world, call, 200);

    assert_int_equal(call->status, ERR_AUTH);
    world_close(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_wait_of_an_observer_is_counted_apart_from_the_timeout),
        cmocka_unit_test(an_observer_without_a_leader_ends_after_the_timeout),
        cmocka_unit_test(
            an_observer_whose_leader_has_gone_asks_the_next_for_what_is_left_of_its_wait),
        cmocka_unit_test(an_observer_whose_leader_is_lost_ends_after_the_timeout),
        cmocka_unit_test(calls_end_at_once_when_every_node_refuses_the_token),
        cmocka_unit_test(a_node_that_is_down_does_not_keep_a_refusal_back),
        cmocka_unit_test(a_node_that_takes_the_token_is_found_among_those_that_refuse_it),
        cmocka_unit_test(calls_are_served_again_once_the_token_is_taken),
        cmocka_unit_test(a_node_that_is_asked_for_its_status_says_that_it_refuses_the_token),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
