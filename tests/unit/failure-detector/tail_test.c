/* tests/unit/failure-detector/tail_test.c: the tail against long double arithmetic. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "failure-detector/tail.h"
#include "tests/support/failure-detector/nearly.h"

static void phi_equals_the_long_double_reference(void **state)
{
    (void)state;
    for (int i = -160; i <= 2400; i++) { /* erfcl() lasts until 150 deviations. */
        long double y = (long double)i / 16;
        long double reference = -log10l(0.5L * erfcl(y / sqrtl(2)));
        long double error = fabsl((long double)tail_phi((double)y) - reference);

        assert_true(error <= 1e-13L * (reference > 1 ? reference : 1));
    }
}

static void phi_of_known_deviations_is_that_of_the_tables(void **state)
{
    (void)state;
    assert_true(nearly(tail_phi(0), 0.30103, 1e-5));
    assert_true(nearly(tail_phi(1.2816), 1, 1e-4));
    assert_true(nearly(tail_phi(5.6120), 8, 1e-4));
}

static void phi_never_saturates(void **state)
{
    (void)state;
    double last = tail_phi(-1);

    for (double y = 0; y < 1e9; y = y * 1.01 + 0.01) {
        double phi = tail_phi(y);

        assert_true(phi > last && isfinite(phi));
        last = phi;
    }
    assert_true(last > 1e16);
}

static void series_takes_over_without_a_step(void **state)
{
    (void)state;
    double step = tail_phi(25) - tail_phi(25 - 1e-6);

    assert_true(step > 0 && step < 2e-5);
}

static void lossy_tail_ends_at_the_loss(void **state)
{
    (void)state;
    assert_true(nearly(tail_phi_lossy(50, 0.01), 2, 1e-12));
    assert_true(nearly(tail_phi_lossy(-50, 0.01), 0, 1e-12));
    assert_true(nearly(tail_phi_lossy(0, 0.01), -log10(0.505), 1e-12));
    assert_true(nearly(tail_phi_lossy(30, 0), tail_phi(30), 1e-12));
}

static void root_equals_the_long_double_reference(void **state)
{
    (void)state;
    assert_true(nearly(tail_root(0), 0, 0));
    for (double square = 1e-6; square < 1e15; square *= 1.7) {
        assert_true(nearly(tail_root(square) / (double)sqrtl((long double)square), 1, 1e-15));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(phi_equals_the_long_double_reference),
        cmocka_unit_test(phi_of_known_deviations_is_that_of_the_tables),
        cmocka_unit_test(phi_never_saturates),
        cmocka_unit_test(series_takes_over_without_a_step),
        cmocka_unit_test(lossy_tail_ends_at_the_loss),
        cmocka_unit_test(root_equals_the_long_double_reference),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
