/* tests/unit/client/core_lock_test.c: waiting for a lock, and giving up without leaving traces. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client/core_internal.h"
#include "tests/support/client/world.h"

enum { TTL_MS = 60000 };

struct fixture {
    struct world *world;
    struct core_session *holder;
    struct core_session *waiter;
    uint64_t token;
};

/* One session holds "lock". */
static struct fixture fixture_open(uint64_t seed)
{
    struct fixture fixture = {.world = world_open(seed, 1, 64)};

    fixture.holder = world_session(fixture.world, TTL_MS);
    fixture.waiter = world_session(fixture.world, TTL_MS);
    struct world_call *call = world_acquire(fixture.world, fixture.holder, "lock", 0);
    world_wait(fixture.world, call, 100);
    assert_int_equal(call->status, ERR_OK);
    fixture.token = call->token;
    return fixture;
}

static void release(struct fixture *fixture)
{
    struct world_call *call =
        world_release(fixture->world, fixture->holder, "lock", fixture->token);

    world_wait(fixture->world, call, 1500);
    assert_int_equal(call->status, ERR_OK);
}

static void a_try_at_a_held_lock_is_told_who_holds_it(void **state)
{
    struct fixture fixture = fixture_open(1);

    (void)state;
    struct world_call *call = world_acquire(fixture.world, fixture.waiter, "lock", 0);
    world_wait(fixture.world, call, 100);

    assert_int_equal(call->status, ERR_HELD);
    assert_int_equal(call->core.failure.holder, fixture.holder->id);
    assert_int_equal(call->core.failure.holder_token, fixture.token);
    assert_int_equal(model_lock(&fixture.world->model, "lock")->waiter_count, 0);
    world_close(fixture.world);
}

static void a_waiter_is_told_by_the_notice(void **state)
{
    struct fixture fixture = fixture_open(2);

    (void)state;
    struct world_call *call = world_acquire(fixture.world, fixture.waiter, "lock", -1);
    world_run(fixture.world, 100);
    assert_int_equal(call->told_count, 0);
    release(&fixture);
    world_wait(fixture.world, call, 10);

    assert_int_equal(call->status, ERR_OK);
    assert_true(call->token > fixture.token);
    world_close(fixture.world);
}

static void a_lost_notice_is_made_up_for_by_asking_again(void **state)
{
    struct fixture fixture = fixture_open(3);

    (void)state;
    struct world_call *call = world_acquire(fixture.world, fixture.waiter, "lock", -1);
    world_run(fixture.world, 100);
    model_session(&fixture.world->model, fixture.waiter->id)->notify = -1;
    release(&fixture);
    world_wait(fixture.world, call, 7000);

    assert_int_equal(call->status, ERR_OK);
    world_close(fixture.world);
}

static void a_waiter_asks_again_after_a_reconnect(void **state)
{
    struct fixture fixture = fixture_open(4);

    (void)state;
    struct world_call *call = world_acquire(fixture.world, fixture.waiter, "lock", -1);
    world_run(fixture.world, 100);
    world_break(fixture.world, 0);
    release(&fixture);
    world_wait(fixture.world, call, 500);

    assert_int_equal(call->status, ERR_OK);
    world_close(fixture.world);
}

static void the_end_of_the_wait_leaves_the_queue(void **state)
{
    struct fixture fixture = fixture_open(5);

    (void)state;
    uint64_t before_ms = fixture.world->now_ms;
    struct world_call *call = world_acquire(fixture.world, fixture.waiter, "lock", 300);
    world_run(fixture.world, 100);
    assert_int_equal(model_lock(&fixture.world->model, "lock")->waiter_count, 1);
    world_wait(fixture.world, call, 400);

    assert_int_equal(call->status, ERR_HELD);
    assert_in_range(call->told_ms - before_ms, 300, 310);
    assert_int_equal(model_lock(&fixture.world->model, "lock")->waiter_count, 0);
    world_close(fixture.world);
}

static void a_wait_for_ever_outlasts_the_timeout_of_requests(void **state)
{
    struct fixture fixture = fixture_open(6);

    (void)state;
    struct world_call *call = world_acquire(fixture.world, fixture.waiter, "lock", -1);
    world_run(fixture.world, 20000);
    assert_int_equal(call->told_count, 0);
    release(&fixture);
    world_wait(fixture.world, call, 20);

    assert_int_equal(call->status, ERR_OK);
    world_close(fixture.world);
}

/* Whenever the cancel comes, nothing stays behind in the lock or its queue. */
static void a_cancelled_acquire_leaves_no_trace_whenever_it_comes(void **state)
{
    (void)state;
    for (uint64_t delay_ms = 0; delay_ms < 12; delay_ms++) {
        for (uint64_t grant_ms = 0; grant_ms < 12; grant_ms++) {
            struct fixture fixture = fixture_open(delay_ms * 100 + grant_ms + 1);
            struct world *world = fixture.world;
            struct world_call *call = world_acquire(world, fixture.waiter, "lock", -1);
            for (uint64_t i = 0; i < 12; i++) {
                if (i == grant_ms) {
                    assert_non_null(world_release(world, fixture.holder, "lock", fixture.token));
                }
                if (i == delay_ms && call->told_count == 0) {
                    core_call_cancel(&world->core, &call->core);
                }
                world_step(world);
            }
            world_run(world, 50);

            assert_int_equal(call->told_count, 1);
            const struct model_lock *lock = model_lock(&world->model, "lock");
            assert_int_equal(lock->waiter_count, 0);
            assert_int_equal(lock->holder, call->status == ERR_OK ? fixture.waiter->id : 0);
            assert_true(call->status == ERR_OK || !call->used);
            world_close(world);
        }
    }
}

/* A node that is behind may tell of a grant that its client has given back meanwhile. */
static void a_notice_of_a_grant_that_was_given_back_grants_nothing(void **state)
{
    struct fixture fixture = fixture_open(8);
    struct world *world = fixture.world;

    (void)state;
    struct world_call *first = world_acquire(world, fixture.waiter, "lock", -1);
    world_run(world, 50);
    /* It is granted, gives up before it knows, and gives the lock back when it does. */
    assert_non_null(world_release(world, fixture.holder, "lock", fixture.token));
    core_call_cancel(&world->core, &first->core);
    world->model.notice_count = 0;
    world_run(world, 50);
    const struct model_lock *lock = model_lock(&world->model, "lock");
    assert_int_equal(first->status, ERR_CANCELLED);
    assert_int_equal(lock->holder, 0);
    const struct wire_granted late = {
        .session = fixture.waiter->id, .name = bytes_of_text("lock"), .token = world->model.tokens};
    assert_true(late.token > fixture.token);

    struct world_call *next = world_acquire(world, fixture.holder, "lock", 0);
    world_wait(world, next, 100);
    assert_int_equal(next->status, ERR_OK);
    struct world_call *second = world_acquire(world, fixture.waiter, "lock", -1);
    world_run(world, 50);
    lock_granted(&world->core, fixture.waiter, &late);
    world_run(world, 50);

    assert_int_equal(second->told_count, 0);
    assert_int_equal(lock->holder, fixture.holder->id);
    world_close(world);
}

static void giving_up_does_not_release_what_the_user_holds(void **state)
{
    struct fixture fixture = fixture_open(7);
    struct world *world = fixture.world;

    (void)state;
    struct world_call *again = world_acquire(world, fixture.holder, "lock", -1);
    world_step(world);
    core_call_cancel(&world->core, &again->core);
    world_run(world, 100);

    assert_int_equal(again->status, ERR_CANCELLED);
    assert_int_equal(model_lock(&world->model, "lock")->holder, fixture.holder->id);
    assert_int_equal(model_lock(&world->model, "lock")->token, fixture.token);
    world_close(world);
}

static void asking_again_gives_the_same_token(void **state)
{
    struct fixture fixture = fixture_open(8);

    (void)state;
    struct world_call *again = world_acquire(fixture.world, fixture.holder, "lock", 0);
    world_wait(fixture.world, again, 100);

    assert_int_equal(again->status, ERR_OK);
    assert_int_equal(again->token, fixture.token);
    world_close(fixture.world);
}

static void a_grant_behind_the_deadline_is_told_as_lost(void **state)
{
    struct fixture fixture = fixture_open(9);
    struct world *world = fixture.world;

    (void)state;
    world->timeout_ms = 2 * TTL_MS;
    struct world_call *call = world_acquire(world, fixture.waiter, "other", 0);
    while (list_is_empty(&world->core.finished) && call->core.phase != CORE_CALL_SENT) {
        world_step(world);
    }
    uint64_t deadline_ms = fixture.waiter->deadline_ms;
    core_advance(&world->core, deadline_ms);
    world->now_ms = deadline_ms;
    world_run(world, 10);

    assert_int_equal(call->told_count, 1);
    assert_int_equal(call->status, ERR_LOST);
    world_close(world);
}

static void an_acquire_that_was_sent_twice_is_unknown_when_the_session_has_expired(void **state)
{
    struct fixture fixture = fixture_open(11);
    struct world *world = fixture.world;

    (void)state;
    struct world_call *call = world_acquire(world, fixture.waiter, "other", 0);
    world_run(world, 1); /* On its way. */
    world_break(world, 0);
    model_session(&world->model, fixture.waiter->id)->deadline_ms = world->now_ms;
    world_wait(world, call, 500);

    assert_int_equal(call->status, ERR_LOST);
    assert_int_equal(call->outcome, OUTCOME_UNKNOWN);
    world_close(world);
}

static void a_wrong_token_is_fenced(void **state)
{
    struct fixture fixture = fixture_open(10);

    (void)state;
    struct world_call *call =
        world_release(fixture.world, fixture.holder, "lock", fixture.token + 1);
    world_wait(fixture.world, call, 100);

    assert_int_equal(call->status, ERR_FENCED);
    assert_int_equal(call->outcome, OUTCOME_REJECTED);
    world_close(fixture.world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_try_at_a_held_lock_is_told_who_holds_it),
        cmocka_unit_test(a_waiter_is_told_by_the_notice),
        cmocka_unit_test(a_lost_notice_is_made_up_for_by_asking_again),
        cmocka_unit_test(a_waiter_asks_again_after_a_reconnect),
        cmocka_unit_test(the_end_of_the_wait_leaves_the_queue),
        cmocka_unit_test(a_wait_for_ever_outlasts_the_timeout_of_requests),
        cmocka_unit_test(a_cancelled_acquire_leaves_no_trace_whenever_it_comes),
        cmocka_unit_test(a_notice_of_a_grant_that_was_given_back_grants_nothing),
        cmocka_unit_test(giving_up_does_not_release_what_the_user_holds),
        cmocka_unit_test(asking_again_gives_the_same_token),
        cmocka_unit_test(a_grant_behind_the_deadline_is_told_as_lost),
        cmocka_unit_test(an_acquire_that_was_sent_twice_is_unknown_when_the_session_has_expired),
        cmocka_unit_test(a_wrong_token_is_fenced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
