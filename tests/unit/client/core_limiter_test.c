/* tests/unit/client/core_limiter_test.c: the limit falls once for one overload, rises where it
 * binds, and stays within its bounds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/assert.h"
#include "base/prng.h"
#include "client/core_limiter.h"

enum { LOWEST = 8, HIGHEST = 1000, HIGHEST_TRIED = 40, SEED_COUNT = 3000, STEP_COUNT = 3000 };

static void fill(struct core_limiter *limiter, uint32_t count)
{
    while (limiter->in_flight < count) {
        limiter_take(limiter);
    }
}

static void open_limiter(struct core_limiter *limiter)
{
    limiter_init(limiter, LOWEST, HIGHEST);
    while (limiter->limit < HIGHEST) {
        limiter_take(limiter);
        limiter_answered(limiter);
    }
    limiter->in_flight = 0;
}

static void until_the_first_refusal_each_answer_raises_it(void **state)
{
    struct core_limiter limiter;

    (void)state;
    limiter_init(&limiter, LOWEST, HIGHEST);
    assert_int_equal(limiter.limit, LIMITER_START);
    fill(&limiter, LIMITER_START);
    for (int i = 0; i < LIMITER_START; i++) {
        limiter_answered(&limiter);
    }

    assert_int_equal(limiter.limit, 2 * LIMITER_START);
}

static void a_new_leader_is_not_overrun(void **state)
{
    struct core_limiter limiter;

    (void)state;
    open_limiter(&limiter);
    assert_int_equal(limiter.limit, HIGHEST);
    fill(&limiter, HIGHEST);
    limiter_restart(&limiter);

    assert_int_equal(limiter.limit, LIMITER_START);
    assert_int_equal(limiter.in_flight, HIGHEST); /* They are still to be answered. */
    assert_false(limiter_has_room(&limiter));
}

static void it_falls_from_what_was_under_way(void **state)
{
    struct core_limiter limiter;

    (void)state;
    open_limiter(&limiter);
    fill(&limiter, 100);
    limiter_refused(&limiter, 5, 10);

    assert_int_equal(limiter.limit, 90);
    assert_false(limiter_has_room(&limiter));
}

static void it_falls_once_for_all_that_were_under_way_then(void **state)
{
    struct core_limiter limiter;

    (void)state;
    open_limiter(&limiter);
    fill(&limiter, 100);
    for (int i = 0; i < 100; i++) {
        limiter_refused(&limiter, 5, 10 + (uint64_t)i);
    }
    assert_int_equal(limiter.limit, 90);
    limiter_refused(&limiter, 50, 200);

    assert_int_equal(limiter.limit, 81);
}

static void it_does_not_fall_below_its_floor(void **state)
{
    struct core_limiter limiter;

    (void)state;
    open_limiter(&limiter);
    for (uint64_t i = 1; i < 200; i++) {
        fill(&limiter, 20);
        limiter_refused(&limiter, 10 * i, 10 * i + 1);
    }
    assert_int_equal(limiter.limit, LOWEST);
}

static void as_many_answers_as_it_allows_raise_it_by_one(void **state)
{
    struct core_limiter limiter;

    (void)state;
    open_limiter(&limiter);
    fill(&limiter, 100);
    limiter_refused(&limiter, 5, 10);
    for (int i = 0; i < 89; i++) {
        limiter_answered(&limiter);
    }
    assert_int_equal(limiter.limit, 90);
    limiter_answered(&limiter);

    assert_int_equal(limiter.limit, 91);
}

static void a_limit_that_does_not_bind_does_not_rise(void **state)
{
    struct core_limiter limiter;

    (void)state;
    open_limiter(&limiter);
    fill(&limiter, 100);
    limiter_refused(&limiter, 5, 10);
    while (limiter.in_flight > 30) {
        limiter_release(&limiter);
    }
    for (int i = 0; i < 10000; i++) {
        limiter_answered(&limiter);
    }
    assert_int_equal(limiter.limit, 90);
}

static void in_any_order_of_events_it_stays_within_its_bounds(void **state)
{
    uint64_t risen = 0;
    uint64_t fallen = 0;

    (void)state;
    for (uint64_t seed = 1; seed <= SEED_COUNT; seed++) {
        struct core_limiter limiter;
        struct prng prng;
        uint64_t now_ms = 1;
        uint32_t in_flight = 0;
        prng_init(&prng, seed);
        limiter_init(&limiter, LOWEST, HIGHEST_TRIED);
        for (uint32_t i = 0; i < STEP_COUNT; i++) {
            uint32_t before = limiter.limit;
            uint64_t choice = prng_below(&prng, 100);
            now_ms += prng_below(&prng, 2);
            if (limiter_has_room(&limiter)) {
                limiter_take(&limiter);
                in_flight++;
            } else if (choice < seed % 10) {
                limiter_refused(&limiter, now_ms - prng_below(&prng, now_ms), now_ms);
            } else {
                limiter_answered(&limiter);
                if (choice < 60) {
                    limiter_release(&limiter);
                    in_flight--;
                }
            }
            assert_in_range(limiter.limit, LOWEST, HIGHEST_TRIED);
            assert_int_equal(limiter.in_flight, in_flight);
            risen += limiter.limit > before;
            fallen += limiter.limit < before;
        }
    }
    assert_true(risen > SEED_COUNT && fallen > SEED_COUNT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(until_the_first_refusal_each_answer_raises_it),
        cmocka_unit_test(a_new_leader_is_not_overrun),
        cmocka_unit_test(it_falls_from_what_was_under_way),
        cmocka_unit_test(it_falls_once_for_all_that_were_under_way_then),
        cmocka_unit_test(it_does_not_fall_below_its_floor),
        cmocka_unit_test(as_many_answers_as_it_allows_raise_it_by_one),
        cmocka_unit_test(a_limit_that_does_not_bind_does_not_rise),
        cmocka_unit_test(in_any_order_of_events_it_stays_within_its_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
