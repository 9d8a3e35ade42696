/* tests/unit/failure-detector/loss_test.c: rates of loss from gaps. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/prng.h"
#include "failure-detector/loss.h"
#include "tests/support/failure-detector/nearly.h"

static void add_many(struct loss *loss, uint64_t gap, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        loss_add(loss, gap);
    }
}

static void independent_losses_have_one_rate(void **state)
{
    (void)state;
    struct loss loss;
    struct prng prng;
    uint64_t gap = 0;

    loss_init(&loss);
    prng_init(&prng, 1);
    for (int i = 0; i < 200000; i++) {
        if (prng_below(&prng, 10) == 0) {
            gap++;
        } else {
            loss_add(&loss, gap);
            gap = 0;
        }
    }
    const struct loss_rates rates = loss_rates(&loss, 1000);

    loss_check(&loss);
    assert_true(nearly(rates.first, 0.1, 0.02));
    assert_true(nearly(rates.next, 0.1, 0.02));
}

static void losses_in_runs_make_further_ones_likely(void **state)
{
    (void)state;
    struct loss loss;

    loss_init(&loss);
    for (int i = 0; i < 20; i++) {
        add_many(&loss, 0, 200);
        loss_add(&loss, 4);
    }
    add_many(&loss, 0, 100);
    const struct loss_rates rates = loss_rates(&loss, 1000);

    assert_true(nearly(rates.first, 0.005, 0.002));
    assert_true(nearly(rates.next, 0.6, 0.05)); /* (60 + 1) of (80 + 20). */
}

static void loss_after_a_loss_is_expected_only_where_it_was_seen(void **state)
{
    (void)state;
    struct loss clustered;
    struct loss lonely;

    loss_init(&clustered);
    loss_init(&lonely);
    for (int i = 0; i < 40; i++) {
        add_many(&clustered, 0, 200);
        add_many(&clustered, 1, 8);
        add_many(&lonely, 0, 25);
        loss_add(&lonely, 1);
    }

    assert_true(loss_rates(&clustered, 1000).first > 0.3);
    assert_true(loss_rates(&lonely, 1000).first < 0.06);
    add_many(&clustered, 0, 16);
    assert_true(loss_rates(&clustered, 1000).first < 0.01);
}

static void outage_is_not_loss(void **state)
{
    (void)state;
    struct loss loss;

    loss_init(&loss);
    add_many(&loss, 0, 1000);
    const struct loss before = loss;
    loss_add(&loss, 33);
    loss_add(&loss, UINT64_MAX - 1);

    assert_memory_equal(&loss, &before, sizeof(loss));
}

static void rates_without_samples_are_the_assumed_ones(void **state)
{
    (void)state;
    struct loss loss;

    loss_init(&loss);

    assert_true(nearly(loss_rates(&loss, 1000).first, 0.001, 1e-12));
    assert_true(nearly(loss_rates(&loss, 0).first, 0, 0));
    assert_true(nearly(loss_rates(&loss, 0).next, 0, 0));
}

static void certain_loss_stays_below_one(void **state)
{
    (void)state;
    struct loss loss;

    loss_init(&loss);
    add_many(&loss, 32, 100000);
    const struct loss_rates rates = loss_rates(&loss, 1000);

    loss_check(&loss);
    assert_true(nearly(rates.first, 0.9, 1e-12));
    assert_true(nearly(rates.next, 0.9, 1e-12));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(independent_losses_have_one_rate),
        cmocka_unit_test(losses_in_runs_make_further_ones_likely),
        cmocka_unit_test(loss_after_a_loss_is_expected_only_where_it_was_seen),
        cmocka_unit_test(outage_is_not_loss),
        cmocka_unit_test(rates_without_samples_are_the_assumed_ones),
        cmocka_unit_test(certain_loss_stays_below_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
