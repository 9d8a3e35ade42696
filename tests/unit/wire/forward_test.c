/* Tests of wire/forward.c: requests that a follower passes on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "wire/frame.h"

enum { ROOM = 256 };

static const struct wire_get params = {.key = {.data = (const uint8_t *)"key", .size = 3}};

static struct buffer sample(uint8_t memory[ROOM])
{
    struct buffer body = buffer_of(memory, ROOM);

    assert_true(wire_forward_begin(&body, UINT64_MAX, UINT64_MAX - 1, WIRE_METHOD_get));
    assert_true(wire_get_encode(&params, &body));
    return body;
}

static void a_request_survives_a_round_trip(void **state)
{
    uint8_t memory[ROOM];
    struct buffer body = sample(memory);
    struct wire_forward forward;
    struct wire_get get;
    (void)state;

    assert_int_equal(wire_forward_decode(buffer_bytes(&body), &forward), ERR_OK);

    assert_int_equal(forward.received, UINT64_MAX);
    assert_int_equal(forward.request.id, UINT64_MAX - 1);
    assert_int_equal(forward.request.method, WIRE_METHOD_get);
    assert_int_equal(wire_get_decode(&forward.request.body, &get), ERR_OK);
    assert_true(bytes_equal(get.key, params.key));
}

static void a_part_of_a_request_is_malformed(void **state)
{
    uint8_t memory[ROOM];
    struct buffer body = sample(memory);
    struct wire_forward forward;
    (void)state;

    for (size_t size = 0; size < body.size; size++) {
        assert_int_equal(wire_forward_decode(bytes_of(memory, size), &forward), ERR_MALFORMED);
    }
}

static void what_follows_a_request_is_malformed(void **state)
{
    uint8_t memory[ROOM];
    struct buffer body = sample(memory);
    struct wire_forward forward;
    (void)state;

    assert_true(buffer_append(&body, bytes_of_text("x")));

    assert_int_equal(wire_forward_decode(buffer_bytes(&body), &forward), ERR_MALFORMED);
}

static void something_else_than_a_known_request_is_malformed(void **state)
{
    static const uint8_t notice[] = {0, 0, 0, 0, 0, 0, 0, 0, 0x93, 2, 0xA1, 'x', 0x80};
    static const uint8_t response[] = {0, 0, 0, 0, 0, 0, 0, 0, 0x94, 1, 1, 0xC0, 0x80};
    static const uint8_t unknown[] = {0, 0, 0, 0, 0, 0, 0, 0, 0x94, 0, 1, 0xA1, 'x', 0x80};
    struct wire_forward forward;
    (void)state;

    assert_int_equal(wire_forward_decode(bytes_of(notice, sizeof(notice)), &forward),
                     ERR_MALFORMED);
    assert_int_equal(wire_forward_decode(bytes_of(response, sizeof(response)), &forward),
                     ERR_MALFORMED);
    assert_int_equal(wire_forward_decode(bytes_of(unknown, sizeof(unknown)), &forward),
                     ERR_MALFORMED);
}

static void without_room_nothing_is_appended(void **state)
{
    uint8_t memory[ROOM];
    struct buffer whole = sample(memory);
    (void)state;

    for (size_t capacity = 0; capacity < whole.size; capacity++) {
        struct buffer body = buffer_of(memory, capacity);

        if (!wire_forward_begin(&body, 1, UINT64_MAX, WIRE_METHOD_get)) {
            assert_int_equal(body.size, 0);
        }
    }
    struct buffer none = buffer_of(memory, 8);
    assert_false(wire_forward_begin(&none, 1, 1, WIRE_METHOD_get));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_survives_a_round_trip),
        cmocka_unit_test(a_part_of_a_request_is_malformed),
        cmocka_unit_test(what_follows_a_request_is_malformed),
        cmocka_unit_test(something_else_than_a_known_request_is_malformed),
        cmocka_unit_test(without_room_nothing_is_appended),
    };
    return cmocka_run_group_tests_name("wire/forward", tests, NULL, NULL);
}
