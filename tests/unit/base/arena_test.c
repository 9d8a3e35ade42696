/* tests/unit/base/arena_test.c: what is carved is aligned, apart from the rest, and within. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/arena.h"
#include "tests/support/base/death.h"

enum { CAPACITY = 1024 };

struct fixture {
    _Alignas(256) uint8_t memory[CAPACITY];
    struct arena arena;
};

static void open(struct fixture *fixture)
{
    arena_init(&fixture->arena, fixture->memory, CAPACITY);
}

static void memory_is_aligned_whatever_was_taken_before(void **state)
{
    (void)state;
    struct fixture fixture;
    open(&fixture);

    (void)arena_take_aligned(&fixture.arena, 3, 1);
    uint8_t *taken = arena_take(&fixture.arena, 5, 8);

    assert_int_equal((uintptr_t)taken % ARENA_ALIGNMENT, 0);
    assert_ptr_equal(taken, fixture.memory + ARENA_ALIGNMENT);
}

static void pieces_do_not_overlap(void **state)
{
    (void)state;
    struct fixture fixture;
    open(&fixture);

    uint8_t *first = arena_take(&fixture.arena, 3, 33);
    uint8_t *second = arena_take(&fixture.arena, 1, 1);
    uint8_t *third = arena_take_aligned(&fixture.arena, 7, 1);

    assert_true(first + 99 <= second);
    assert_ptr_equal(third, second + 1);
}

static void alignment_beyond_that_of_the_block_is_kept(void **state)
{
    (void)state;
    struct fixture fixture;
    arena_init(&fixture.arena, fixture.memory + ARENA_ALIGNMENT, CAPACITY - ARENA_ALIGNMENT);

    uint8_t *taken = arena_take_aligned(&fixture.arena, 16, 256);

    assert_ptr_equal(taken, fixture.memory + 256);
}

static void costs_that_add_up_to_the_capacity_fit(void **state)
{
    (void)state;
    struct fixture fixture;
    size_t cost = arena_cost(1, 1) + arena_cost(3, 65) + arena_cost(0, 8) + arena_cost(64, 2);
    arena_init(&fixture.arena, fixture.memory, cost);

    (void)arena_take(&fixture.arena, 1, 1);
    (void)arena_take(&fixture.arena, 3, 65);
    (void)arena_take(&fixture.arena, 0, 8);
    uint8_t *last = arena_take(&fixture.arena, 64, 2);

    assert_int_equal(cost, 64 + 256 + 0 + 128);
    assert_ptr_equal(last + 128, fixture.memory + cost);
}

static void take_one_byte_too_many(void)
{
    struct fixture fixture;
    open(&fixture);
    (void)arena_take(&fixture.arena, CAPACITY - 63, 1);
    (void)arena_take_aligned(&fixture.arena, 64, 1);
}

static void taking_more_than_there_is_aborts(void **state)
{
    (void)state;

    assert_true(dies(take_one_byte_too_many, "size <= room - padding (64, 63)"));
}

static void take_a_product_that_wraps(void)
{
    struct fixture fixture;
    open(&fixture);
    (void)arena_take(&fixture.arena, SIZE_MAX / 2 + 2, 2);
}

static void a_product_that_wraps_aborts(void **state)
{
    (void)state;

    assert_true(dies(take_a_product_that_wraps, "count <= SIZE_MAX / size"));
}

static void take_with_a_crooked_alignment(void)
{
    struct fixture fixture;
    open(&fixture);
    (void)arena_take_aligned(&fixture.arena, 8, 24);
}

static void an_alignment_that_is_no_power_of_two_aborts(void **state)
{
    (void)state;

    assert_true(dies(take_with_a_crooked_alignment, "is_power_of_two(alignment)"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_is_aligned_whatever_was_taken_before),
        cmocka_unit_test(pieces_do_not_overlap),
        cmocka_unit_test(alignment_beyond_that_of_the_block_is_kept),
        cmocka_unit_test(costs_that_add_up_to_the_capacity_fit),
        cmocka_unit_test(taking_more_than_there_is_aborts),
        cmocka_unit_test(a_product_that_wraps_aborts),
        cmocka_unit_test(an_alignment_that_is_no_power_of_two_aborts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
