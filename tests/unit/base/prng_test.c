/* tests/unit/base/prng_test.c: the published sequence, its bounds and its spread. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/macros.h"
#include "base/prng.h"
#include "tests/support/base/death.h"

static void the_published_sequence_comes_out(void **state)
{
    (void)state;
    const uint64_t expected[] = {11520, 0, 1509978240, 1215971899390074240};
    struct prng prng = {.state = {1, 2, 3, 4}};

    for (size_t i = 0; i < COUNT_OF(expected); i++) {
        assert_true(prng_next(&prng) == expected[i]);
    }
}

static void a_seed_is_spread_by_splitmix64(void **state)
{
    (void)state;
    struct prng prng;

    prng_init(&prng, 0);

    assert_true(prng.state[0] == 0xe220a8397b1dcdaf);
    assert_true(prng.state[1] == 0x6e789e6aa1b965f4);
    assert_true(prng.state[2] == 0x06c45d188009454f);
    assert_true(prng.state[3] == 0xf88bb8a8724c81ec);
    assert_true(prng_next(&prng) == 0x99ec5f36cb75f2b4);
}

static void the_same_seed_gives_the_same_numbers(void **state)
{
    (void)state;
    struct prng a;
    struct prng b;
    struct prng other;
    unsigned different_count = 0;

    prng_init(&a, 42);
    prng_init(&b, 42);
    prng_init(&other, 43);

    for (int i = 0; i < 100; i++) {
        uint64_t number = prng_next(&a);
        assert_true(prng_next(&b) == number);
        different_count += prng_next(&other) != number ? 1 : 0;
    }
    assert_int_equal(different_count, 100);
}

static void numbers_below_a_bound_hit_each_value_about_equally(void **state)
{
    (void)state;
    enum { BOUND = 7, EACH = 10000 };
    unsigned counts[BOUND] = {0};
    struct prng prng;
    prng_init(&prng, 1);

    for (int i = 0; i < BOUND * EACH; i++) {
        counts[prng_below(&prng, BOUND)]++;
    }

    /* The standard deviation of each count is below 100. */
    for (int i = 0; i < BOUND; i++) {
        assert_in_range(counts[i], EACH - 500, EACH + 500);
    }
}

static void a_bound_above_half_of_the_range_is_kept(void **state)
{
    (void)state;
    const uint64_t bound = ((uint64_t)1 << 63) + 1;
    struct prng prng;
    unsigned upper_count = 0;
    prng_init(&prng, 2);

    for (int i = 0; i < 1000; i++) {
        uint64_t number = prng_below(&prng, bound);
        assert_true(number < bound);
        upper_count += number >= bound / 2 ? 1 : 0;
    }

    /* A remainder without refusal would fall into the lower half three times of four. */
    assert_in_range(upper_count, 400, 600);
}

static void a_bound_of_one_leaves_only_zero(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, 3);

    assert_true(prng_below(&prng, 1) == 0);
}

static void both_ends_of_a_range_are_hit(void **state)
{
    (void)state;
    struct prng prng;
    unsigned counts[3] = {0};
    prng_init(&prng, 4);

    for (int i = 0; i < 300; i++) {
        uint64_t number = prng_between(&prng, 10, 12);
        assert_in_range(number, 10, 12);
        counts[number - 10]++;
    }

    assert_true(counts[0] > 0 && counts[1] > 0 && counts[2] > 0);
    assert_true(prng_between(&prng, 9, 9) == 9);
}

static void the_whole_range_is_a_range(void **state)
{
    (void)state;
    struct prng a;
    struct prng b;
    prng_init(&a, 5);
    prng_init(&b, 5);

    assert_true(prng_between(&a, 0, UINT64_MAX) == prng_next(&b));
}

static void ask_below_zero(void)
{
    struct prng prng;
    prng_init(&prng, 6);
    (void)prng_below(&prng, 0);
}

static void ask_for_a_reversed_range(void)
{
    struct prng prng;
    prng_init(&prng, 6);
    (void)prng_between(&prng, 2, 1);
}

static void empty_ranges_abort(void **state)
{
    (void)state;

    assert_true(dies(ask_below_zero, "bound != 0"));
    assert_true(dies(ask_for_a_reversed_range, "low <= high (2, 1)"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_published_sequence_comes_out),
        cmocka_unit_test(a_seed_is_spread_by_splitmix64),
        cmocka_unit_test(the_same_seed_gives_the_same_numbers),
        cmocka_unit_test(numbers_below_a_bound_hit_each_value_about_equally),
        cmocka_unit_test(a_bound_above_half_of_the_range_is_kept),
        cmocka_unit_test(a_bound_of_one_leaves_only_zero),
        cmocka_unit_test(both_ends_of_a_range_are_hit),
        cmocka_unit_test(the_whole_range_is_a_range),
        cmocka_unit_test(empty_ranges_abort),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
