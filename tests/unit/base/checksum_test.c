/* tests/unit/base/checksum_test.c: the published hash, and that every bit and place counts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/checksum.h"

static void it_is_xxh3_with_64_bits(void **state)
{
    (void)state;

    assert_true(checksum(bytes_of(NULL, 0), 0) == 0x2d06800538d394c2);
    assert_true(checksum(bytes_of_text("a"), 0) == 0xe6c632b61e964e1f);
    assert_true(checksum(bytes_of_text("abc"), 0) == 0x78af5f94892f3950);
}

static void the_seed_counts(void **state)
{
    (void)state;
    struct bytes bytes = bytes_of_text("the right bytes");

    assert_false(checksum(bytes, 1) == checksum(bytes, 2));
}

static void every_single_bit_counts(void **state)
{
    (void)state;
    uint8_t memory[600] = {0};
    struct bytes bytes = bytes_of(memory, sizeof(memory));
    uint64_t before = checksum(bytes, 7);

    for (size_t bit = 0; bit < sizeof(memory) * 8; bit++) {
        memory[bit / 8] ^= (uint8_t)(1U << (bit % 8));
        assert_false(checksum(bytes, 7) == before);
        memory[bit / 8] ^= (uint8_t)(1U << (bit % 8));
    }
    assert_true(checksum(bytes, 7) == before);
}

static void a_pair_knows_its_cut_its_order_and_its_seed(void **state)
{
    (void)state;
    uint64_t pair = checksum_pair(bytes_of_text("ab"), bytes_of_text("c"), 1);

    assert_true(pair == checksum_pair(bytes_of_text("ab"), bytes_of_text("c"), 1));
    assert_false(pair == checksum_pair(bytes_of_text("a"), bytes_of_text("bc"), 1));
    assert_false(pair == checksum_pair(bytes_of_text("c"), bytes_of_text("ab"), 1));
    assert_false(pair == checksum_pair(bytes_of_text("ab"), bytes_of_text("c"), 2));
    assert_false(pair == checksum(bytes_of_text("abc"), 1));
}

static void an_empty_half_of_a_pair_counts(void **state)
{
    (void)state;
    struct bytes empty = bytes_of(NULL, 0);
    struct bytes full = bytes_of_text("abc");

    assert_false(checksum_pair(empty, full, 1) == checksum_pair(full, empty, 1));
    assert_false(checksum_pair(full, empty, 1) == checksum(full, 1));
    assert_false(checksum_pair(empty, full, 1) == checksum(full, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_xxh3_with_64_bits),
        cmocka_unit_test(the_seed_counts),
        cmocka_unit_test(every_single_bit_counts),
        cmocka_unit_test(a_pair_knows_its_cut_its_order_and_its_seed),
        cmocka_unit_test(an_empty_half_of_a_pair_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
