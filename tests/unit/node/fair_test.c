/* Tests of node/fair.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/prng.h"
#include "node/fair.h"

enum { FLOW_COUNT = 64, SMALL_COUNT = 3, LENGTH = 6, OPERATIONS = 4 };

struct fixture {
    struct fair fair;
    struct fair_flow flows[FLOW_COUNT];
    uint32_t heap[FLOW_COUNT];
};

static void fixture_open(struct fixture *fixture, uint32_t count)
{
    *fixture = (struct fixture){0};
    fixture->fair =
        (struct fair){.flows = fixture->flows, .heap = fixture->heap, .flow_count = count};
}

/* What a reader of fair.h expects, without a heap. */
struct model {
    uint64_t starts[FLOW_COUNT];
    bool has_work[FLOW_COUNT];
    uint64_t time;
};

static uint32_t model_first(const struct model *model, uint32_t count)
{
    uint32_t first = UINT32_MAX;

    for (uint32_t i = 0; i < count; i++) {
        if (model->has_work[i] &&
            (first == UINT32_MAX || model->starts[i] < model->starts[first])) {
            first = i;
        }
    }
    return first;
}

static void both_add(struct fixture *fixture, struct model *model, uint32_t flow)
{
    if (!model->has_work[flow]) {
        model->has_work[flow] = true;
        model->starts[flow] = model->starts[flow] > model->time ? model->starts[flow] : model->time;
        fair_add(&fixture->fair, flow);
    }
}

static void both_serve(struct fixture *fixture, struct model *model, uint64_t cost, bool has_more)
{
    uint32_t first = model_first(model, fixture->fair.flow_count);

    if (first != UINT32_MAX) {
        assert_int_equal(fair_first(&fixture->fair), first);
        model->time = model->starts[first];
        model->starts[first] += cost;
        model->has_work[first] = has_more;
        fair_serve(&fixture->fair, cost, has_more);
    }
}

static void both_remove(struct fixture *fixture, struct model *model, uint32_t flow)
{
    model->has_work[flow] = false;
    model->starts[flow] = 0;
    fair_remove(&fixture->fair, flow);
}

static void both_step(struct fixture *fixture, struct model *model, uint32_t operation)
{
    uint32_t flow = operation % SMALL_COUNT;

    switch (operation / SMALL_COUNT) {
    case 0:
        both_add(fixture, model, flow);
        break;
    case 1:
        both_serve(fixture, model, flow + 1, true);
        break;
    case 2:
        both_serve(fixture, model, flow + 1, false);
        break;
    default:
        both_remove(fixture, model, flow);
        break;
    }
    fair_check(&fixture->fair);
    uint32_t first = model_first(model, SMALL_COUNT);
    assert_int_equal(fixture->fair.count == 0, first == UINT32_MAX);
    if (first != UINT32_MAX) {
        assert_int_equal(fair_first(&fixture->fair), first);
    }
}

/* Every sequence of four operations on three flows, with three costs, up to a length. */
static void every_short_sequence_follows_the_model(void **state)
{
    enum { CHOICES = OPERATIONS * SMALL_COUNT };
    uint32_t count = 1;
    for (int i = 0; i < LENGTH; i++) {
        count *= CHOICES;
    }

    for (uint32_t sequence = 0; sequence < count; sequence++) {
        struct fixture fixture;
        struct model model = {0};
        uint32_t rest = sequence;

        fixture_open(&fixture, SMALL_COUNT);
        for (int i = 0; i < LENGTH; i++) {
            both_step(&fixture, &model, rest % CHOICES);
            rest /= CHOICES;
        }
    }
    (void)state;
}

static void long_random_sequences_follow_the_model(void **state)
{
    struct fixture fixture;
    struct model model = {0};
    struct prng prng;
    prng_init(&prng, 9);
    fixture_open(&fixture, FLOW_COUNT);

    for (int i = 0; i < 200000; i++) {
        uint32_t flow = (uint32_t)prng_below(&prng, FLOW_COUNT);
        uint64_t choice = prng_below(&prng, 100);

        if (choice < 45) {
            both_add(&fixture, &model, flow);
        } else if (choice < 98) {
            both_serve(&fixture, &model, 1 + prng_below(&prng, 1000), choice < 70);
        } else {
            both_remove(&fixture, &model, flow);
        }
        fair_check(&fixture.fair);
    }
    (void)state;
}

static void flows_that_always_have_work_get_the_same_whatever_their_pieces_cost(void **state)
{
    static const uint64_t costs[] = {1, 10, 16384, 500000};
    struct fixture fixture;
    uint64_t served[4] = {0};
    fixture_open(&fixture, 4);
    for (uint32_t i = 0; i < 4; i++) {
        fair_add(&fixture.fair, i);
    }

    for (int i = 0; i < 3000000; i++) {
        uint32_t flow = fair_first(&fixture.fair);
        fair_serve(&fixture.fair, costs[flow], true);
        served[flow] += costs[flow];
        for (uint32_t j = 0; j < 4; j++) {
            uint64_t gap =
                served[flow] > served[j] ? served[flow] - served[j] : served[j] - served[flow];
            assert_true(gap <= costs[flow] + costs[j]);
        }
    }
    assert_true(served[3] >= 500000);
    (void)state;
}

static void a_flow_that_comes_back_from_silence_has_saved_nothing_up(void **state)
{
    struct fixture fixture;
    uint32_t of_returned = 0;
    fixture_open(&fixture, 2);
    fair_add(&fixture.fair, 0);
    for (int i = 0; i < 1000; i++) {
        fair_serve(&fixture.fair, 100, true);
    }

    fair_add(&fixture.fair, 1);
    for (int i = 0; i < 20; i++) {
        of_returned += fair_first(&fixture.fair) == 1 ? 1 : 0;
        fair_serve(&fixture.fair, 100, true);
    }

    assert_in_range(of_returned, 10, 11);
    (void)state;
}

static void a_flow_that_asks_for_little_waits_for_one_piece_of_each_other_at_most(void **state)
{
    struct fixture fixture;
    uint32_t waited = 0;
    fixture_open(&fixture, 50);
    for (uint32_t i = 0; i < 49; i++) {
        fair_add(&fixture.fair, i);
    }
    for (int i = 0; i < 10000; i++) {
        fair_serve(&fixture.fair, 16384, true);
    }

    fair_add(&fixture.fair, 49);
    while (fair_first(&fixture.fair) != 49) {
        fair_serve(&fixture.fair, 16384, true);
        waited++;
    }

    assert_in_range(waited, 0, 49);
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_short_sequence_follows_the_model),
        cmocka_unit_test(long_random_sequences_follow_the_model),
        cmocka_unit_test(flows_that_always_have_work_get_the_same_whatever_their_pieces_cost),
        cmocka_unit_test(a_flow_that_comes_back_from_silence_has_saved_nothing_up),
        cmocka_unit_test(a_flow_that_asks_for_little_waits_for_one_piece_of_each_other_at_most),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
