/* tests/unit/wire/peer_test.c: Raft's messages as bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/prng.h"
#include "tests/support/wire/edge.h"
#include "tests/support/wire/raft_sample.h"
#include "wire/frame.h"

static uint8_t memory[512];

static struct bytes encode(const struct raft_message *message)
{
    struct buffer buffer = buffer_of(memory, sizeof(memory));

    assert_true(wire_raft_encode(message, &buffer));
    return buffer_bytes(&buffer);
}

static void every_kind_survives_a_round_trip(void **state)
{
    (void)state;

    for (unsigned number = 0; number < RAFT_SAMPLE_COUNT; number++) {
        struct raft_message sent = raft_sample(number);
        struct raft_message received;

        assert_int_equal(wire_raft_decode(encode(&sent), &received), ERR_OK);

        assert_true(raft_sample_is_equal(&sent, &received));
    }
}

static void every_flag_survives_a_round_trip(void **state)
{
    (void)state;

    for (unsigned flags = 0; flags < 4; flags++) {
        struct raft_message sent = raft_sample(RAFT_VOTE_REQUEST - 1);
        struct raft_message received;
        sent.vote_request.pre = (flags & 1) != 0;
        sent.vote_request.transfer = (flags & 2) != 0;
        assert_int_equal(wire_raft_decode(encode(&sent), &received), ERR_OK);
        assert_true(raft_sample_is_equal(&sent, &received));

        sent = raft_sample(RAFT_VOTE_REPLY - 1);
        sent.vote_reply.pre = (flags & 1) != 0;
        sent.vote_reply.granted = (flags & 2) != 0;
        assert_int_equal(wire_raft_decode(encode(&sent), &received), ERR_OK);
        assert_true(raft_sample_is_equal(&sent, &received));
    }
}

static void an_append_without_entries_survives_too(void **state)
{
    (void)state;
    struct raft_message sent = {.kind = RAFT_APPEND, .term = 3, .append = {.previous_index = 2}};
    struct raft_message received;

    assert_int_equal(wire_raft_decode(encode(&sent), &received), ERR_OK);

    assert_true(raft_sample_is_equal(&sent, &received));
    assert_int_equal(received.append.entry_count, 0);
    assert_int_equal(received.append.first.size, 0);
}

static void two_runs_of_entries_come_back_as_one(void **state)
{
    (void)state;
    struct raft_message sent = raft_sample(RAFT_APPEND - 1);
    struct raft_message received;

    assert_int_equal(wire_raft_decode(encode(&sent), &received), ERR_OK);

    assert_int_equal(received.append.first.size, sent.append.first.size + sent.append.second.size);
    assert_int_equal(received.append.second.size, 0);
    assert_memory_equal(received.append.first.data, sent.append.first.data, sent.append.first.size);
}

/* The sizes of bodies are exact, so nothing that is cut or longer passes; an append alone may be
 * cut within its entries, which are judged where they are read. */
static void a_body_of_another_size_is_malformed(void **state)
{
    (void)state;
    struct edge edge = edge_open(sizeof(memory));

    for (unsigned number = 0; number < RAFT_SAMPLE_COUNT; number++) {
        struct raft_message message = raft_sample(number);
        struct bytes whole = encode(&message);
        size_t exact =
            message.kind == RAFT_APPEND ? 32 + 5 * 8 + 2 * RAFT_ENTRY_HEADER_SIZE : whole.size;

        for (size_t size = 0; size < exact; size++) {
            struct bytes cut = edge_place(&edge, bytes_of(memory, size));
            assert_int_equal(wire_raft_decode(cut, &message), ERR_MALFORMED);
        }
        assert_int_equal(wire_raft_decode(edge_place(&edge, whole), &message), ERR_OK);
        if (message.kind != RAFT_APPEND) {
            memory[whole.size] = 0;
            assert_int_equal(wire_raft_decode(bytes_of(memory, whole.size + 1), &message),
                             ERR_MALFORMED);
        }
    }
    edge_close(&edge);
}

static void unknown_kinds_flags_and_reserved_bytes_are_malformed(void **state)
{
    (void)state;

    for (unsigned number = 0; number < RAFT_SAMPLE_COUNT; number++) {
        struct raft_message message = raft_sample(number);
        struct bytes whole = encode(&message);

        memory[1] |= 0x80;
        assert_int_equal(wire_raft_decode(whole, &message), ERR_MALFORMED);
        memory[1] &= 0x7f;
        memory[2] = 1;
        assert_int_equal(wire_raft_decode(whole, &message), ERR_MALFORMED);
        memory[2] = 0;
        memory[0] = 0;
        assert_int_equal(wire_raft_decode(whole, &message), ERR_MALFORMED);
        memory[0] = RAFT_TIMEOUT_NOW + 1;
        assert_int_equal(wire_raft_decode(whole, &message), ERR_MALFORMED);
    }
}

static void a_flag_that_its_kind_does_not_have_is_malformed(void **state)
{
    (void)state;
    struct raft_message message = raft_sample(RAFT_HEARTBEAT - 1);
    struct bytes whole = encode(&message);

    memory[1] = 1;

    assert_int_equal(wire_raft_decode(whole, &message), ERR_MALFORMED);
}

static void entries_that_cannot_be_there_are_malformed(void **state)
{
    (void)state;
    struct raft_message message = raft_sample(RAFT_APPEND - 1);
    struct bytes whole = encode(&message);

    store_u32(memory + 4, UINT32_MAX);
    assert_int_equal(wire_raft_decode(whole, &message), ERR_MALFORMED);
    store_u32(memory + 4, 0);
    assert_int_equal(wire_raft_decode(whole, &message), ERR_MALFORMED);
    message = raft_sample(RAFT_HEARTBEAT - 1);
    whole = encode(&message);
    store_u32(memory + 4, 1);
    assert_int_equal(wire_raft_decode(whole, &message), ERR_MALFORMED);
}

static void a_message_is_written_whole_or_not_at_all(void **state)
{
    (void)state;

    for (unsigned number = 0; number < RAFT_SAMPLE_COUNT; number++) {
        struct raft_message message = raft_sample(number);
        size_t whole = encode(&message).size;

        for (size_t capacity = 0; capacity < whole; capacity++) {
            struct buffer buffer = buffer_of(memory, capacity);
            assert_false(wire_raft_encode(&message, &buffer));
            assert_int_equal(buffer.size, 0);
        }
    }
}

static void what_is_taken_from_random_bytes_encodes_to_the_same(void **state)
{
    (void)state;
    struct prng prng;
    unsigned taken = 0;
    prng_init(&prng, 4);

    for (uint32_t round = 0; round < 100000; round++) {
        uint8_t bytes[32 + 5 * 8] = {0};
        struct raft_message message;
        for (size_t i = 8; i < sizeof(bytes); i++) {
            bytes[i] = (uint8_t)prng_next(&prng);
        }
        bytes[0] = (uint8_t)prng_below(&prng, 9);
        bytes[1] = (uint8_t)prng_below(&prng, 5);
        static const size_t sizes[] = {32, 40, 48, 72};
        struct bytes body = bytes_of(bytes, sizes[prng_below(&prng, COUNT_OF(sizes))]);

        if (wire_raft_decode(body, &message) == ERR_OK) {
            assert_true(bytes_equal(encode(&message), body));
            taken++;
        }
    }
    assert_true(taken > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_survives_a_round_trip),
        cmocka_unit_test(every_flag_survives_a_round_trip),
        cmocka_unit_test(an_append_without_entries_survives_too),
        cmocka_unit_test(two_runs_of_entries_come_back_as_one),
        cmocka_unit_test(a_body_of_another_size_is_malformed),
        cmocka_unit_test(unknown_kinds_flags_and_reserved_bytes_are_malformed),
        cmocka_unit_test(a_flag_that_its_kind_does_not_have_is_malformed),
        cmocka_unit_test(entries_that_cannot_be_there_are_malformed),
        cmocka_unit_test(a_message_is_written_whole_or_not_at_all),
        cmocka_unit_test(what_is_taken_from_random_bytes_encodes_to_the_same),
    };
    return cmocka_run_group_tests_name("wire/peer", tests, NULL, NULL);
}
