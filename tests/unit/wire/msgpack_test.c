/* tests/unit/wire/msgpack_test.c: tokens of MessagePack, one by one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/prng.h"
#include "tests/support/wire/edge.h"
#include "wire/internal.h"

static enum error take(const char *bytes, size_t size, struct wire_token *token)
{
    struct edge edge = edge_open(64);
    struct wire_cursor cursor = wire_cursor_of(edge_place(&edge, bytes_of(bytes, size)));
    enum error error = wire_token_next(&cursor, token);

    if (error == ERR_OK) {
        assert_int_equal(cursor.at, size);
    }
    edge_close(&edge);
    return error;
}

static void every_head_byte_is_one_token(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t size;
        enum wire_token_kind kind;
        uint64_t number; /* Or the size of the bytes. */
    } heads[] = {
        {"\x00", 1, WIRE_TOKEN_NUMBER, 0},
        {"\x7f", 1, WIRE_TOKEN_NUMBER, 127},
        {"\x80", 1, WIRE_TOKEN_MAP, 0},
        {"\x8f", 1, WIRE_TOKEN_MAP, 15},
        {"\x90", 1, WIRE_TOKEN_ARRAY, 0},
        {"\x9f", 1, WIRE_TOKEN_ARRAY, 15},
        {"\xa0", 1, WIRE_TOKEN_TEXT, 0},
        {"\xa2xy", 3, WIRE_TOKEN_TEXT, 2},
        {"\xc0", 1, WIRE_TOKEN_NIL, 0},
        {"\xc2", 1, WIRE_TOKEN_BOOL, 0},
        {"\xc3", 1, WIRE_TOKEN_BOOL, 1},
        {"\xc4\0", 2, WIRE_TOKEN_BYTES, 0},
        {"\xc4\1x", 3, WIRE_TOKEN_BYTES, 1},
        {"\xc5\0\1x", 4, WIRE_TOKEN_BYTES, 1},
        {"\xc6\0\0\0\1x", 6, WIRE_TOKEN_BYTES, 1},
        {"\xc7\1\5x", 4, WIRE_TOKEN_EXTENSION, 2},
        {"\xc8\0\1\5x", 5, WIRE_TOKEN_EXTENSION, 2},
        {"\xc9\0\0\0\1\5x", 7, WIRE_TOKEN_EXTENSION, 2},
        {"\xca\0\0\0\0", 5, WIRE_TOKEN_FLOAT, 0},
        {"\xcb\0\0\0\0\0\0\0\0", 9, WIRE_TOKEN_FLOAT, 0},
        {"\xcc\xff", 2, WIRE_TOKEN_NUMBER, 255},
        {"\xcd\xff\xff", 3, WIRE_TOKEN_NUMBER, 65535},
        {"\xce\xff\xff\xff\xff", 5, WIRE_TOKEN_NUMBER, UINT32_MAX},
        {"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", 9, WIRE_TOKEN_NUMBER, UINT64_MAX},
        {"\xd0\x7f", 2, WIRE_TOKEN_NUMBER, 127},
        {"\xd0\xff", 2, WIRE_TOKEN_NEGATIVE, 0},
        {"\xd1\x7f\xff", 3, WIRE_TOKEN_NUMBER, 32767},
        {"\xd1\x80\0", 3, WIRE_TOKEN_NEGATIVE, 0},
        {"\xd2\x7f\xff\xff\xff", 5, WIRE_TOKEN_NUMBER, INT32_MAX},
        {"\xd3\x7f\xff\xff\xff\xff\xff\xff\xff", 9, WIRE_TOKEN_NUMBER, INT64_MAX},
        {"\xd3\x80\0\0\0\0\0\0\0", 9, WIRE_TOKEN_NEGATIVE, 0},
        {"\xd4\5x", 3, WIRE_TOKEN_EXTENSION, 2},
        {"\xd5\5xy", 4, WIRE_TOKEN_EXTENSION, 3},
        {"\xd6\5wxyz", 6, WIRE_TOKEN_EXTENSION, 5},
        {"\xd7\5stuvwxyz", 10, WIRE_TOKEN_EXTENSION, 9},
        {"\xd8\5klmnopqrstuvwxyz", 18, WIRE_TOKEN_EXTENSION, 17},
        {"\xd9\1x", 3, WIRE_TOKEN_TEXT, 1},
        {"\xda\0\1x", 4, WIRE_TOKEN_TEXT, 1},
        {"\xdb\0\0\0\1x", 6, WIRE_TOKEN_TEXT, 1},
        {"\xdc\0\2", 3, WIRE_TOKEN_ARRAY, 2},
        {"\xdd\0\0\0\2", 5, WIRE_TOKEN_ARRAY, 2},
        {"\xde\0\2", 3, WIRE_TOKEN_MAP, 2},
        {"\xdf\0\0\0\2", 5, WIRE_TOKEN_MAP, 2},
        {"\xe0", 1, WIRE_TOKEN_NEGATIVE, 0},
        {"\xff", 1, WIRE_TOKEN_NEGATIVE, 0},
    };

    for (size_t i = 0; i < COUNT_OF(heads); i++) {
        struct wire_token token;
        for (size_t size = 0; size < heads[i].size; size++) {
            assert_int_equal(take(heads[i].bytes, size, &token), ERR_INCOMPLETE);
        }
        assert_int_equal(take(heads[i].bytes, heads[i].size, &token), ERR_OK);
        assert_int_equal(token.kind, heads[i].kind);
        assert_true(token.number + token.bytes.size == heads[i].number);
    }
}

static void the_byte_that_is_never_used_is_malformed(void **state)
{
    (void)state;
    struct wire_token token;

    assert_int_equal(take("\xc1", 1, &token), ERR_MALFORMED);
}

/* In the template of msgpack-c the size of this one runs over to 0. */
static void an_extension_of_the_largest_size_is_refused(void **state)
{
    (void)state;
    struct wire_token token;

    assert_int_equal(take("\xc9\xff\xff\xff\xff", 5, &token), ERR_MALFORMED);
    assert_int_equal(take("\xc9\xff\xff\xff\xfe", 5, &token), ERR_TOO_LARGE);
}

static void an_announced_length_may_just_fill_the_frame(void **state)
{
    (void)state;
    struct wire_token token;
    uint8_t head[5] = {0xc6};
    size_t most = WIRE_FRAME_SIZE_MAX - sizeof(head);

    for (unsigned beyond = 0; beyond < 2; beyond++) {
        for (unsigned i = 0; i < 4; i++) {
            head[1 + i] = (uint8_t)((most + beyond) >> (24 - 8 * i));
        }
        struct wire_cursor cursor = wire_cursor_of(bytes_of(head, sizeof(head)));
        assert_int_equal(wire_token_next(&cursor, &token),
                         beyond == 0 ? ERR_INCOMPLETE : ERR_TOO_LARGE);
    }
}

static void a_skip_takes_exactly_one_object(void **state)
{
    (void)state;
    struct bytes bytes = bytes_of("\x92\x81\xa1k\x91\xc0\x05\x06", 8);
    struct wire_cursor cursor = wire_cursor_of(bytes);
    struct wire_token first;

    assert_int_equal(wire_object_skip(&cursor, WIRE_DEPTH_MAX, &first), ERR_OK);
    assert_int_equal(first.kind, WIRE_TOKEN_ARRAY);
    assert_int_equal(cursor.at, 7);
    assert_int_equal(wire_object_skip(&cursor, 0, &first), ERR_OK);
    assert_int_equal(first.number, 6);
    assert_int_equal(wire_object_skip(&cursor, 0, &first), ERR_INCOMPLETE);
}

static void a_skip_goes_as_deep_as_it_is_told(void **state)
{
    (void)state;
    struct bytes bytes = bytes_of("\x91\x91\x90", 3);
    struct wire_token first;

    for (uint32_t depth = 0; depth <= WIRE_DEPTH_MAX; depth++) {
        struct wire_cursor cursor = wire_cursor_of(bytes);
        assert_int_equal(wire_object_skip(&cursor, depth, &first),
                         depth < 3 ? ERR_MALFORMED : ERR_OK);
    }
}

static void numbers_are_packed_in_their_shortest_form(void **state)
{
    (void)state;
    static const struct {
        uint64_t number;
        size_t size;
    } numbers[] = {{0, 1},         {127, 1},        {128, 2},
                   {255, 2},       {256, 3},        {65535, 3},
                   {65536, 5},     {UINT32_MAX, 5}, {UINT64_C(1) << 32, 9},
                   {UINT64_MAX, 9}};

    for (size_t i = 0; i < COUNT_OF(numbers); i++) {
        uint8_t memory[16];
        struct buffer buffer = buffer_of(memory, sizeof(memory));
        struct wire_token token;
        assert_true(wire_pack_number(&buffer, numbers[i].number));
        assert_int_equal(buffer.size, numbers[i].size);
        assert_int_equal(take((const char *)memory, buffer.size, &token), ERR_OK);
        assert_true(token.number == numbers[i].number);
    }
}

static void random_bytes_are_never_read_beyond_their_end(void **state)
{
    (void)state;
    struct edge edge = edge_open(64);
    struct prng prng;
    prng_init(&prng, 5);

    for (uint32_t round = 0; round < 200000; round++) {
        uint8_t bytes[24];
        for (size_t i = 0; i < sizeof(bytes); i++) {
            bytes[i] = (uint8_t)(prng_next(&prng) >> 56);
        }
        struct bytes placed = edge_place(&edge, bytes_of(bytes, prng_below(&prng, 25)));
        struct wire_cursor cursor = wire_cursor_of(placed);
        struct wire_token first;
        while (cursor.at < placed.size &&
               wire_object_skip(&cursor, WIRE_DEPTH_MAX, &first) == ERR_OK) {
            assert_true(cursor.at <= placed.size);
        }
    }
    edge_close(&edge);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_head_byte_is_one_token),
        cmocka_unit_test(the_byte_that_is_never_used_is_malformed),
        cmocka_unit_test(an_extension_of_the_largest_size_is_refused),
        cmocka_unit_test(an_announced_length_may_just_fill_the_frame),
        cmocka_unit_test(a_skip_takes_exactly_one_object),
        cmocka_unit_test(a_skip_goes_as_deep_as_it_is_told),
        cmocka_unit_test(numbers_are_packed_in_their_shortest_form),
        cmocka_unit_test(random_bytes_are_never_read_beyond_their_end),
    };
    return cmocka_run_group_tests_name("wire/msgpack", tests, NULL, NULL);
}
