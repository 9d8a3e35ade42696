#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "raft/internal.h"

static void entry_survives_encoding(void **state)
{
    uint8_t bytes[64] = {0};
    struct raft_entry decoded;
    const struct raft_entry entry = {
        .index = 7,
        .term = 0x0102030405060708,
        .kind = RAFT_ENTRY_NOOP,
        .payload = bytes_of_text("abc"),
    };
    (void)state;

    raft_entry_encode_header(bytes, &entry);
    memcpy(bytes + RAFT_ENTRY_HEADER_SIZE, entry.payload.data, entry.payload.size);
    struct bytes rest = bytes_of(bytes, 30);

    assert_true(raft_entry_next(&rest, &decoded));
    assert_int_equal(decoded.index, 7);
    assert_true(decoded.term == entry.term);
    assert_int_equal(decoded.kind, RAFT_ENTRY_NOOP);
    assert_true(bytes_equal(decoded.payload, entry.payload));
    assert_int_equal(rest.size, 3);
}

static void bytes_of_an_entry_are_fixed(void **state)
{
    const uint8_t expected[RAFT_ENTRY_HEADER_SIZE] = {25, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0,
                                                      0,  0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0};
    uint8_t bytes[RAFT_ENTRY_HEADER_SIZE];
    const struct raft_entry entry = {
        .index = 3,
        .term = 2,
        .kind = RAFT_ENTRY_COMMAND,
        .payload = bytes_of_text("x"),
    };
    (void)state;

    raft_entry_encode_header(bytes, &entry);

    assert_memory_equal(bytes, expected, sizeof(expected));
}

static void entry_that_is_not_whole_or_valid_is_not_taken(void **state)
{
    const uint8_t good[RAFT_ENTRY_HEADER_SIZE] = {24, 0, 0, 0, 1, 0, 0, 0, 2};
    uint8_t bytes[RAFT_ENTRY_HEADER_SIZE];
    struct raft_entry entry;
    (void)state;

    for (size_t size = 0; size < sizeof(good); size++) {
        struct bytes rest = bytes_of(good, size);
        assert_false(raft_entry_next(&rest, &entry));
        assert_int_equal(rest.size, size);
    }
    const uint8_t bad[][2] = {{0, 23}, {0, 25}, {2, 0x11}, {4, 0}, {4, 4}, {5, 1}, {7, 1}};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        memcpy(bytes, good, sizeof(bytes));
        bytes[bad[i][0]] = bad[i][1];
        struct bytes rest = bytes_of(bytes, sizeof(bytes));
        assert_false(raft_entry_next(&rest, &entry));
    }
}

static void hard_state_survives_encoding(void **state)
{
    const struct raft_hard_state hard_state = {.term = 5, .vote = 2, .commit_index = 9};
    uint8_t bytes[RAFT_HARD_STATE_SIZE];
    struct raft_hard_state decoded;
    (void)state;

    raft_hard_state_encode(bytes, &hard_state);

    assert_true(raft_hard_state_decode(bytes_of(bytes, sizeof(bytes)), &decoded));
    assert_memory_equal(&decoded, &hard_state, sizeof(decoded));
    assert_false(raft_hard_state_decode(bytes_of(bytes, sizeof(bytes) - 1), &decoded));
    store_u64(bytes, 0); /* A vote before the first term. */
    assert_false(raft_hard_state_decode(bytes_of(bytes, sizeof(bytes)), &decoded));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entry_survives_encoding),
        cmocka_unit_test(bytes_of_an_entry_are_fixed),
        cmocka_unit_test(entry_that_is_not_whole_or_valid_is_not_taken),
        cmocka_unit_test(hard_state_survives_encoding),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
