/* tests/unit/client/core_random_test.c: random calls, faults and cancels against the model: every
 * call is told exactly once and in time, none of a gap in a sequence, and no session ends in the
 * cluster before its holder knows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/client/world.h"

enum { SEED_COUNT = 600, STEP_COUNT = 4000, CALL_LIMIT_MS = 2000 };

static const char *const lock_names[] = {"a", "b", "c"};

struct run {
    struct world *world;
    uint64_t limit_ms[WORLD_CALL_COUNT];
    struct core_session *sessions[3];
};

static void note(struct run *run, const struct world_call *call, uint64_t limit_ms)
{
    if (call != NULL) {
        run->limit_ms[call->core.slot] = run->world->now_ms + limit_ms;
    }
}

static void act_on_session(struct run *run, uint64_t choice)
{
    struct world *world = run->world;
    struct core_session **session = &run->sessions[prng_below(&world->prng, 3)];
    const char *name = lock_names[prng_below(&world->prng, COUNT_OF(lock_names))];

    if (*session == NULL) {
        note(run, world_open_session(world, 1500, session), CALL_LIMIT_MS);
    } else if ((*session)->state == CORE_SESSION_LOST || choice < 3) {
        struct world_call *call = world_end_session(world, *session);
        note(run, call, CALL_LIMIT_MS);
        *session = call == NULL ? *session : NULL;
    } else if (choice < 40) {
        note(run, world_put(world, name, *session), CALL_LIMIT_MS);
    } else if (choice < 80) {
        int64_t wait_ms = choice < 50 ? 0 : (int64_t)prng_below(&world->prng, 500);
        note(run, world_acquire(world, *session, name, wait_ms), (uint64_t)wait_ms + CALL_LIMIT_MS);
    } else {
        note(run, world_release(world, *session, name, 0), CALL_LIMIT_MS);
    }
}

static void cause_fault(struct world *world)
{
    uint64_t choice = prng_below(&world->prng, 14);
    int node = (int)prng_below(&world->prng, MODEL_NODE_COUNT);

    if (choice < 3) {
        world_break(world, node);
    } else if (choice < 5) {
        world->model.leader = -1;
    } else if (choice < 8) {
        world->model.leader = node;
    } else if (choice == 8) {
        world->down[node] = !world->down[node];
        if (world->down[node]) {
            world_break(world, node);
        }
    } else if (choice == 9) {
        world->model.refused_sequence = prng_below(&world->prng, 100);
    } else if (choice == 10) {
        world->links[prng_below(&world->prng, WORLD_LINK_COUNT)].stuck = true;
    } else if (choice == 11) {
        world->core.budget.tokens = 0;
    } else if (choice == 12) {
        world->model.retry_after_ms = (uint32_t)prng_below(&world->prng, 300);
    } else if (prng_below(&world->prng, 2) == 0) {
        world->frozen[node] = !world->frozen[node];
    } else {
        world->model.refuses = !world->model.refuses;
    }
}

static void heal(struct world *world)
{
    memset(world->down, 0, sizeof world->down);
    memset(world->frozen, 0, sizeof world->frozen);
    for (uint32_t i = 0; i < WORLD_LINK_COUNT; i++) {
        world->links[i].stuck = false;
    }
    world->model.refuses = false;
    world->model.refused_sequence = 0;
    world->model.leader = 1;
}

/* A call that is not told is not beyond its limit. */
static void check_limits(const struct run *run)
{
    for (uint32_t i = 0; i < WORLD_CALL_COUNT; i++) {
        const struct world_call *call = &run->world->calls[i];
        assert_true(call->told_count <= 1);
        assert_true(call->told_count == 0 || call->status != ERR_SEQUENCE_GAP);
        if (call->used && call->told_count == 0) {
            assert_true(run->world->now_ms <= run->limit_ms[i] + 2);
        }
    }
}

/* The model ends a session, and gives its locks on, only after the core has told its loss. */
static void check_deadlines(struct world *world)
{
    for (uint32_t i = 0; i < WORLD_SESSION_COUNT; i++) {
        const struct core_session *session = &world->sessions[i];
        bool is_open =
            session->state == CORE_SESSION_CONNECTED || session->state == CORE_SESSION_SUSPECT;
        if (!world->session_used[i] || !is_open) {
            continue;
        }
        const struct model_session *model = model_session(&world->model, session->id);
        /* It may have been ended by our own request, on its way back. */
        if (model != NULL && !model->alive && !session->ending) {
            fail_msg("the cluster ended session %lu before its holder knew",
                     (unsigned long)session->id);
        }
    }
}

static void run_seed(uint64_t seed, uint64_t *applied_count, uint64_t *repeated_count)
{
    struct run run = {.world = world_open(seed, 1 + (uint32_t)(seed % 2), WORLD_CALL_COUNT)};
    struct world *world = run.world;

    world->stall_percent = (uint32_t)(seed % 4) * 25;
    for (uint32_t step = 0; step < STEP_COUNT; step++) {
        uint64_t choice = prng_below(&world->prng, 1000);
        if (choice < 10) {
            note(&run, world_get(world, "k"), CALL_LIMIT_MS);
        } else if (choice < 20) {
            note(&run, world_put(world, "k", NULL), CALL_LIMIT_MS);
        } else if (choice < 120) {
            act_on_session(&run, prng_below(&world->prng, 100));
        } else if (choice < 130) {
            struct world_call *call = &world->calls[prng_below(&world->prng, WORLD_CALL_COUNT)];
            if (call->used && call->told_count == 0) {
                core_call_cancel(&world->core, &call->core);
            }
        } else if (choice < 135) {
            cause_fault(world);
        } else if (choice == 135) {
            heal(world);
        }
        world_step(world);
        check_limits(&run);
        check_deadlines(world);
    }
    heal(world);
    world_run(world, CALL_LIMIT_MS + 1000);
    check_limits(&run);
    for (uint32_t i = 0; i < WORLD_CALL_COUNT; i++) {
        assert_true(!world->calls[i].used || world->calls[i].told_count == 1);
    }
    core_close(&world->core);
    world_run(world, 300);
    core_stop(&world->core);
    world_run(world, 10);
    for (uint32_t i = 0; i < WORLD_CALL_COUNT; i++) {
        assert_false(world->calls[i].used);
    }
    *applied_count += world->model.applied_count;
    *repeated_count += world->model.repeated_count;
    world_close(world);
}

static void every_call_is_told_once_and_in_time_whatever_happens(void **state)
{
    uint64_t applied_count = 0;
    uint64_t repeated_count = 0;

    (void)state;
    for (uint64_t seed = 1; seed <= SEED_COUNT; seed++) {
        run_seed(seed, &applied_count, &repeated_count);
    }

    /* The runs have come to what they are about. */
    assert_true(applied_count > 10ULL * SEED_COUNT);
    assert_true(repeated_count > SEED_COUNT / 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_call_is_told_once_and_in_time_whatever_happens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
