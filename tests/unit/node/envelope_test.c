/* Tests of node/envelope.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/envelope.h"

static void envelope_survives_encoding(void **state)
{
    (void)state;
    uint8_t payload[ENVELOPE_SIZE + 3] = {0};
    struct envelope before = {
        .method = WIRE_METHOD_put, .log_ms = 1ULL << 40, .session = 7, .sequence = 9};
    struct envelope after;

    envelope_encode(payload, &before);
    memcpy(payload + ENVELOPE_SIZE, "abc", 3);

    assert_true(envelope_decode(bytes_of(payload, sizeof(payload)), &after));
    assert_int_equal(after.method, before.method);
    assert_int_equal(after.log_ms, before.log_ms);
    assert_int_equal(after.session, 7);
    assert_int_equal(after.sequence, 9);
    assert_true(bytes_equal(after.params, bytes_of_text("abc")));
}

static void envelope_bytes_are_those_of_the_drawing(void **state)
{
    (void)state;
    static const uint8_t expected[ENVELOPE_SIZE] = {200, 1, 0, 0, 0, 0, 0, 0, 4, 3, 2, 1, 0,
                                                    0,   0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 6};
    uint8_t bytes[ENVELOPE_SIZE];
    struct envelope envelope = {
        .method = ENVELOPE_TICK, .log_ms = 0x01020304, .session = 5, .sequence = 6};

    envelope_encode(bytes, &envelope);

    assert_memory_equal(bytes, expected, sizeof(expected));
}

static void short_or_foreign_payloads_are_refused(void **state)
{
    (void)state;
    uint8_t payload[ENVELOPE_SIZE];
    struct envelope envelope = {.method = ENVELOPE_TICK};

    envelope_encode(payload, &envelope);

    assert_false(envelope_decode(bytes_of(payload, ENVELOPE_SIZE - 1), &envelope));
    payload[1] = ENVELOPE_VERSION + 1;
    assert_false(envelope_decode(bytes_of(payload, ENVELOPE_SIZE), &envelope));
    payload[1] = ENVELOPE_VERSION;
    payload[0] = 0;
    assert_false(envelope_decode(bytes_of(payload, ENVELOPE_SIZE), &envelope));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(envelope_survives_encoding),
        cmocka_unit_test(envelope_bytes_are_those_of_the_drawing),
        cmocka_unit_test(short_or_foreign_payloads_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
