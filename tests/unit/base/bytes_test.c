/* tests/unit/base/bytes_test.c: comparison, byte order on the disk, and buffers that never grow. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "tests/support/base/death.h"

static struct bytes text(const char *text)
{
    return bytes_of_text(text);
}

static void equal_bytes_are_equal_wherever_they_lie(void **state)
{
    (void)state;
    const uint8_t a[] = {1, 0, 2};
    const uint8_t b[] = {1, 0, 2};

    assert_true(bytes_equal(bytes_of(a, 3), bytes_of(b, 3)));
    assert_false(bytes_equal(bytes_of(a, 3), bytes_of(b, 2)));
    assert_false(bytes_equal(text("ab"), text("ac")));
    assert_true(bytes_equal(bytes_of(NULL, 0), text("")));
}

static void order_is_that_of_unsigned_bytes(void **state)
{
    (void)state;

    assert_true(bytes_compare(text("a"), text("b")) < 0);
    assert_true(bytes_compare(text("\xff"), text("\x01")) > 0);
    assert_int_equal(bytes_compare(text("same"), text("same")), 0);
}

static void a_prefix_sorts_before_what_it_begins(void **state)
{
    (void)state;

    assert_true(bytes_compare(text("ab"), text("abc")) < 0);
    assert_true(bytes_compare(text("abc"), text("ab")) > 0);
    assert_true(bytes_compare(bytes_of(NULL, 0), text("a")) < 0);
}

static void prefixes_are_found(void **state)
{
    (void)state;

    assert_true(bytes_has_prefix(text("key/1"), text("key/")));
    assert_true(bytes_has_prefix(text("key"), text("key")));
    assert_true(bytes_has_prefix(text("key"), bytes_of(NULL, 0)));
    assert_false(bytes_has_prefix(text("ke"), text("key")));
    assert_false(bytes_has_prefix(text("kex"), text("key")));
}

static void skipping_leaves_the_rest(void **state)
{
    (void)state;

    assert_true(bytes_equal(bytes_skip(text("abcd"), 3), text("d")));
    assert_int_equal(bytes_skip(text("abcd"), 4).size, 0);
    assert_int_equal(bytes_skip(bytes_of(NULL, 0), 0).size, 0);
}

static void skip_too_many(void)
{
    (void)bytes_skip(text("abc"), 4);
}

static void skipping_beyond_the_end_aborts(void **state)
{
    (void)state;

    assert_true(dies(skip_too_many, "size <= bytes.size (4, 3)"));
}

static void numbers_are_stored_little_endian(void **state)
{
    (void)state;
    uint8_t stored[14];
    const uint8_t expected[14] = {0x02, 0x01, 0x06, 0x05, 0x84, 0x03, 0x0e,
                                  0x0d, 0x0c, 0x0b, 0x0a, 0x09, 0x08, 0x87};

    store_u16(stored, 0x0102);
    store_u32(stored + 2, 0x03840506);
    store_u64(stored + 6, 0x8708090a0b0c0d0e);

    assert_memory_equal(stored, expected, sizeof(expected));
    assert_int_equal(load_u16(stored), 0x0102);
    assert_int_equal(load_u32(stored + 2), 0x03840506);
    assert_true(load_u64(stored + 6) == 0x8708090a0b0c0d0e);
}

static void ordered_numbers_sort_like_the_numbers(void **state)
{
    (void)state;
    const uint64_t numbers[] = {0, 1, 255, 256, 0x7fffffffffffffff, 0x8000000000000000, UINT64_MAX};
    uint8_t smaller[8];
    uint8_t larger[8];

    for (size_t i = 1; i < COUNT_OF(numbers); i++) {
        store_u64_ordered(smaller, numbers[i - 1]);
        store_u64_ordered(larger, numbers[i]);
        assert_true(memcmp(smaller, larger, 8) < 0);
        assert_true(load_u64_ordered(larger) == numbers[i]);
    }
}

static void a_buffer_takes_what_fits_exactly(void **state)
{
    (void)state;
    uint8_t memory[5];
    struct buffer buffer = buffer_of(memory, sizeof(memory));

    assert_true(buffer_append(&buffer, text("abc")));
    assert_true(buffer_append(&buffer, bytes_of(NULL, 0)));
    assert_true(buffer_append(&buffer, text("de")));

    assert_int_equal(buffer_room(&buffer), 0);
    assert_true(bytes_equal(buffer_bytes(&buffer), text("abcde")));
}

static void a_write_that_does_not_fit_writes_nothing(void **state)
{
    (void)state;
    uint8_t memory[5] = "....";
    struct buffer buffer = buffer_of(memory, 4);
    assert_true(buffer_append(&buffer, text("ab")));

    bool appended = buffer_append(&buffer, text("xyz"));
    uint8_t *extended = buffer_extend(&buffer, SIZE_MAX);

    assert_false(appended);
    assert_null(extended);
    assert_int_equal(buffer.size, 2);
    assert_memory_equal(memory, "ab..", 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_bytes_are_equal_wherever_they_lie),
        cmocka_unit_test(order_is_that_of_unsigned_bytes),
        cmocka_unit_test(a_prefix_sorts_before_what_it_begins),
        cmocka_unit_test(prefixes_are_found),
        cmocka_unit_test(skipping_leaves_the_rest),
        cmocka_unit_test(skipping_beyond_the_end_aborts),
        cmocka_unit_test(numbers_are_stored_little_endian),
        cmocka_unit_test(ordered_numbers_sort_like_the_numbers),
        cmocka_unit_test(a_buffer_takes_what_fits_exactly),
        cmocka_unit_test(a_write_that_does_not_fit_writes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
