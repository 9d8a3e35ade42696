/* tests/unit/client/core_through_test.c: a leader that cannot be reached is asked through a node
 * that can. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/client/world.h"

enum { TTL_MS = 3000, LEADER = 0, ONLY = 1 };

/* The leader is there, and nodes pass requests on to it. */
static struct world *open_world(uint64_t seed, uint32_t connections)
{
    struct world *world = world_open(seed, connections, 64);

    world->model.passes_on = true;
    world->model.leader = LEADER;
    return world;
}

/* Of all nodes the client reaches this one alone. */
static void reach_only(struct world *world, int node)
{
    for (int i = 0; i < MODEL_NODE_COUNT; i++) {
        world->down[i] = i != node;
        if (i != node) {
            world_break(world, i);
        }
    }
}

static void a_leader_in_reach_is_asked_itself(void **state)
{
    struct world *world = open_world(1, 1);
    (void)state;

    for (int i = 0; i < 50; i++) {
        struct world_call *call = world_put(world, "k", NULL);
        world_wait(world, call, 1000);
        assert_int_equal(call->status, ERR_OK);
    }

    assert_int_equal(world->model.passed_count, 0);
    assert_false(world->core.is_through);
    world_close(world);
}

static void a_client_that_reaches_one_follower_only_is_served(void **state)
{
    struct world *world = open_world(2, 1);
    reach_only(world, ONLY);
    (void)state;

    struct core_session *session = world_session(world, TTL_MS);
    struct world_call *lock = world_acquire(world, session, "l", 1000);
    world_wait(world, lock, 1000);
    struct world_call *put = world_put(world, "k", session);
    world_wait(world, put, 1000);
    world_run(world, 10 * TTL_MS);

    assert_int_equal(lock->status, ERR_OK);
    assert_int_equal(put->status, ERR_OK);
    assert_int_equal(session->state, CORE_SESSION_CONNECTED);
    assert_int_equal(world->change_count, 0);
    assert_true(world->model.passed_count > 30);
    world_close(world);
}

static void a_leader_that_says_nothing_is_not_waited_for(void **state)
{
    struct world *world = open_world(3, 1);
    world->frozen[LEADER] = true;
    (void)state;

    struct world_call *call = world_put(world, "k", NULL);
    world_wait(world, call, 900);

    assert_int_equal(call->status, ERR_OK);
    assert_true(world->core.is_through);
    world_close(world);
}

static void the_client_moves_to_the_leader_once_that_is_in_reach(void **state)
{
    struct world *world = open_world(4, 1);
    reach_only(world, ONLY);
    struct core_session *session = world_session(world, TTL_MS);
    (void)state;

    for (int i = 0; i < MODEL_NODE_COUNT; i++) {
        world->down[i] = false;
    }
    world_run(world, 7000);
    uint64_t passed_count = world->model.passed_count;
    struct world_call *call = world_put(world, "k", session);
    world_wait(world, call, 100);

    assert_false(world->core.is_through);
    assert_int_equal(call->status, ERR_OK);
    assert_int_equal(world->model.passed_count, passed_count);
    assert_int_equal(world->change_count, 0);
    world_close(world);
}

static void a_leader_that_is_deposed_passes_on_until_the_next_is_reached(void **state)
{
    struct world *world = open_world(5, 1);
    struct core_session *session = world_session(world, TTL_MS);
    (void)state;

    world->model.leader = 2;
    struct world_call *first = world_put(world, "k", session);
    world_wait(world, first, 100);
    world_run(world, 100);

    assert_int_equal(first->status, ERR_OK);
    assert_int_equal(world->model.passed_count, 1);
    assert_false(world->core.is_through);
    assert_int_equal(world->core.leaders[0]->node[1], '2');
    world_close(world);
}

static void a_session_outlives_every_leader_behind_one_node(void **state)
{
    struct world *world = open_world(6, 1);
    reach_only(world, ONLY);
    struct core_session *session = world_session(world, TTL_MS);
    uint64_t done = 0;
    (void)state;

    for (int i = 0; i < 20; i++) {
        world->model.leader = -1;
        struct world_call *call = world_put(world, "k", session);
        world_run(world, 300);
        world->model.leader = i % MODEL_NODE_COUNT;
        world_wait(world, call, 2000);
        done += call->status == ERR_OK ? 1 : 0;
    }

    assert_int_equal(done, 20);
    assert_int_equal(world->model.applied_count, 20);
    assert_int_not_equal(session->state, CORE_SESSION_LOST);
    world_close(world);
}

static void all_connections_go_to_the_node_that_passes_on(void **state)
{
    struct world *world = open_world(7, 3);
    reach_only(world, ONLY);
    (void)state;

    world_wait(world, world_put(world, "k", NULL), 2000);
    world_run(world, 2000);

    assert_int_equal(world->core.leader_count, 3);
    assert_true(world->core.is_through);
    world_close(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_leader_in_reach_is_asked_itself),
        cmocka_unit_test(a_client_that_reaches_one_follower_only_is_served),
        cmocka_unit_test(a_leader_that_says_nothing_is_not_waited_for),
        cmocka_unit_test(the_client_moves_to_the_leader_once_that_is_in_reach),
        cmocka_unit_test(a_leader_that_is_deposed_passes_on_until_the_next_is_reached),
        cmocka_unit_test(a_session_outlives_every_leader_behind_one_node),
        cmocka_unit_test(all_connections_go_to_the_node_that_passes_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
