/* tests/unit/wire/json_test.c: one message as a line of JSON. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "wire/internal.h"

static char output[1024];

static const char *json_of(enum wire_method method, struct bytes params, size_t capacity)
{
    struct buffer buffer = buffer_of(output, capacity);

    assert_true(capacity < sizeof(output));
    wire_params_to_json(method, params, &buffer);
    output[buffer.size] = '\0';
    return output;
}

static struct bytes encode_put(struct bytes key, struct bytes value)
{
    static uint8_t memory[1024];
    struct buffer buffer = buffer_of(memory, sizeof(memory));
    struct wire_put put = {.session = 5, .key = key, .value = value};

    assert_true(wire_put_encode(&put, &buffer));
    return buffer_bytes(&buffer);
}

static void fields_are_shown_with_their_keys(void **state)
{
    (void)state;
    struct bytes params = encode_put(bytes_of_text("a\"b"), bytes_of_text(""));

    assert_string_equal(json_of(WIRE_METHOD_put, params, 1000),
                        "{\"method\":\"put\",\"session\":5,\"key\":\"a\\\"b\",\"value\":\"\"}");
}

static void bytes_that_are_not_printable_are_shown_in_hex(void **state)
{
    (void)state;
    struct bytes params = encode_put(bytes_of("\0\xff", 2), bytes_of_text("line\n"));

    assert_string_equal(json_of(WIRE_METHOD_put, params, 1000),
                        "{\"method\":\"put\",\"session\":5,\"key\":\"hex:00ff\","
                        "\"value\":\"hex:6c696e650a\"}");
}

static void a_long_value_is_shortened_between_characters(void **state)
{
    (void)state;
    struct bytes key = bytes_of_text("0123456789012345678901234567890\xc3\xa9tail");
    struct bytes params = encode_put(key, bytes_of_text("v"));

    assert_string_equal(json_of(WIRE_METHOD_put, params, 1000),
                        "{\"method\":\"put\",\"session\":5,"
                        "\"key\":\"0123456789012345678901234567890...\",\"value\":\"v\"}");
}

static void a_value_of_32_bytes_is_shown_whole(void **state)
{
    (void)state;
    struct bytes key = bytes_of_text("01234567890123456789012345678901");
    struct bytes params = encode_put(key, bytes_of_text("v"));

    assert_string_equal(json_of(WIRE_METHOD_put, params, 1000),
                        "{\"method\":\"put\",\"session\":5,"
                        "\"key\":\"01234567890123456789012345678901\",\"value\":\"v\"}");
}

static void every_sort_of_value_is_shown(void **state)
{
    (void)state;
    struct bytes params = bytes_of("\x87\xa1"
                                   "a\xc0\xa1"
                                   "b\xc3\xa1"
                                   "c\xc2\xa1"
                                   "d\xff\xa1"
                                   "e\x92\x01\x02\xa1"
                                   "f\x81\x01\x02\xa1"
                                   "g\xca\0\0\0\0",
                                   30);

    assert_string_equal(json_of(WIRE_METHOD_NONE, params, 1000),
                        "{\"method\":\"none\",\"a\":null,\"b\":true,\"c\":false,"
                        "\"d\":\"another number\",\"e\":\"array of 2\",\"f\":\"map of 1\","
                        "\"g\":\"another number\"}");
}

static void what_cannot_be_read_is_shown_as_far_as_it_goes(void **state)
{
    (void)state;
    struct bytes params = encode_put(bytes_of_text("key"), bytes_of_text("value"));
    params.size -= 1;

    assert_string_equal(json_of(WIRE_METHOD_put, params, 1000),
                        "{\"method\":\"put\",\"session\":5,\"key\":\"key\",\"malformed\":true}");
    assert_string_equal(json_of(WIRE_METHOD_put, bytes_of("\xc0", 1), 1000),
                        "{\"method\":\"put\",\"malformed\":true}");
    assert_string_equal(json_of(WIRE_METHOD_put, bytes_of(NULL, 0), 1000),
                        "{\"method\":\"put\",\"malformed\":true}");
}

static void a_full_buffer_truncates_between_fields(void **state)
{
    (void)state;
    struct bytes params = encode_put(bytes_of_text("k"), bytes_of_text("v"));
    size_t whole = strlen(json_of(WIRE_METHOD_put, params, 1000));

    for (size_t capacity = 0; capacity < whole; capacity++) {
        const char *json = json_of(WIRE_METHOD_put, params, capacity);
        size_t size = strlen(json);
        bool is_cut = size > 18 && strcmp(json + size - 18, ",\"truncated\":true}") == 0;
        bool is_whole = size == whole;
        assert_true(size == 0 || is_cut || is_whole);
    }
    assert_string_equal(json_of(WIRE_METHOD_put, params, 34),
                        "{\"method\":\"put\",\"truncated\":true}");
    assert_string_equal(json_of(WIRE_METHOD_put, params, 20), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_are_shown_with_their_keys),
        cmocka_unit_test(bytes_that_are_not_printable_are_shown_in_hex),
        cmocka_unit_test(a_long_value_is_shortened_between_characters),
        cmocka_unit_test(a_value_of_32_bytes_is_shown_whole),
        cmocka_unit_test(every_sort_of_value_is_shown),
        cmocka_unit_test(what_cannot_be_read_is_shown_as_far_as_it_goes),
        cmocka_unit_test(a_full_buffer_truncates_between_fields),
    };
    return cmocka_run_group_tests_name("wire/json", tests, NULL, NULL);
}
