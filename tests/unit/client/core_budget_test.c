/* tests/unit/client/core_budget_test.c: retries are few whatever happens, and some are always
 * there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/prng.h"
#include "client/core_budget.h"

enum { SEED_COUNT = 3000, STEP_COUNT = 2000 };

static uint64_t take_all(struct core_budget *budget, uint64_t now_ms)
{
    uint64_t taken = 0;

    while (budget_take(budget, now_ms)) {
        taken++;
    }
    return taken;
}

static void without_answers_the_reserve_and_one_a_second_are_granted(void **state)
{
    struct core_budget budget;

    (void)state;
    budget_init(&budget, 1000);
    assert_int_equal(take_all(&budget, 1000), 100);
    uint64_t taken = 0;
    for (uint64_t now_ms = 1000; now_ms <= 61000; now_ms++) {
        taken += take_all(&budget, now_ms);
    }

    assert_int_equal(taken, 60);
}

static void ten_answers_earn_one_retry(void **state)
{
    struct core_budget budget;

    (void)state;
    budget_init(&budget, 1000);
    assert_int_equal(take_all(&budget, 1000), 100);
    for (int i = 0; i < 500; i++) {
        budget_answered(&budget, 1000);
    }

    assert_int_equal(take_all(&budget, 1000), 50);
}

static void what_was_earned_long_ago_is_not_kept(void **state)
{
    struct core_budget budget;

    (void)state;
    budget_init(&budget, 1000);
    for (int i = 0; i < 10000; i++) {
        budget_answered(&budget, 1000);
    }
    struct core_budget soon = budget;
    assert_int_equal(take_all(&soon, 1000 + BUDGET_PERIOD_MS), 1100);

    assert_int_equal(take_all(&budget, 1000 + 2 * BUDGET_PERIOD_MS), 100);
}

static void to_ask_whether_there_is_one_takes_none(void **state)
{
    struct core_budget budget;

    (void)state;
    budget_init(&budget, 1000);
    for (int i = 0; i < 1000; i++) {
        assert_true(budget_has_retry(&budget, 1000));
    }
    assert_int_equal(take_all(&budget, 1000), 100);
    assert_false(budget_has_retry(&budget, 1000));
}

/* In any order of answers, wishes and pauses. */
static void no_more_are_granted_than_were_earned(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEED_COUNT; seed++) {
        struct core_budget budget;
        struct prng prng;
        uint64_t now_ms = 0;
        uint64_t answers = 0;
        uint64_t taken = 0;
        prng_init(&prng, seed);
        budget_init(&budget, now_ms);
        for (uint32_t i = 0; i < STEP_COUNT; i++) {
            uint64_t choice = prng_below(&prng, 100);
            if (choice < seed % 60) {
                budget_answered(&budget, now_ms);
                answers++;
            } else if (choice < 99) {
                taken += budget_take(&budget, now_ms);
            } else {
                now_ms += prng_below(&prng, 3 * BUDGET_PERIOD_MS);
            }
            assert_true(taken <= 100 + answers / 10 + now_ms / 1000 + 1);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_answers_the_reserve_and_one_a_second_are_granted),
        cmocka_unit_test(ten_answers_earn_one_retry),
        cmocka_unit_test(what_was_earned_long_ago_is_not_kept),
        cmocka_unit_test(to_ask_whether_there_is_one_takes_none),
        cmocka_unit_test(no_more_are_granted_than_were_earned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
