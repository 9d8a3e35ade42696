/* tests/unit/wire/frame_test.c: frames between peers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/checksum.h"
#include "tests/support/base/death.h"
#include "tests/support/wire/edge.h"
#include "wire/frame.h"

enum { ROOM = WIRE_PEER_FRAME_SIZE_MAX + 4096 };

static uint8_t memory[ROOM];

static const struct wire_frame header = {
    .cluster = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
    .incarnation = UINT64_C(0x1111111111111111),
    .source = UINT64_C(0x2222222222222222),
    .log_ms = UINT64_C(0x3333333333333333),
    .lamport = UINT64_C(0x4444444444444444),
    .kind = WIRE_FRAME_RAFT,
};

static struct bytes encode(struct bytes body)
{
    struct buffer buffer = buffer_of(memory, sizeof(memory));
    size_t start;

    assert_true(wire_frame_begin(&buffer, &header, &start));
    assert_int_equal(start, 0);
    assert_true(buffer_append(&buffer, body));
    wire_frame_end(&buffer, start);
    return buffer_bytes(&buffer);
}

static enum error next(struct bytes bytes)
{
    struct wire_frame frame;
    struct bytes rest = bytes;
    enum error error = wire_frame_next(&rest, &frame);

    assert_int_equal(rest.size, error == ERR_OK ? 0 : bytes.size);
    return error;
}

static void seal(struct bytes bytes)
{
    uint32_t size = (uint32_t)bytes.size;

    store_u32(memory + 4, size);
    store_u64(memory + 8, checksum(bytes_of(memory + 16, bytes.size - 16), size));
}

static void a_frame_comes_back_as_it_was(void **state)
{
    (void)state;
    struct bytes rest = encode(bytes_of_text("body"));
    struct wire_frame frame;

    assert_int_equal(wire_frame_next(&rest, &frame), ERR_OK);

    assert_int_equal(rest.size, 0);
    assert_memory_equal(frame.cluster, header.cluster, sizeof(frame.cluster));
    assert_true(frame.incarnation == header.incarnation);
    assert_true(frame.source == header.source);
    assert_true(frame.log_ms == header.log_ms);
    assert_true(frame.lamport == header.lamport);
    assert_int_equal(frame.kind, WIRE_FRAME_RAFT);
    assert_true(bytes_equal(frame.body, bytes_of_text("body")));
}

static void the_header_lies_as_it_is_drawn(void **state)
{
    (void)state;
    struct bytes bytes = encode(bytes_of_text("body"));

    assert_int_equal(bytes.size, 76);
    assert_memory_equal(bytes.data, "hfP1", 4);
    assert_int_equal(load_u32(bytes.data + 4), 76);
    assert_true(load_u64(bytes.data + 8) == checksum(bytes_of(bytes.data + 16, 60), 76));
    assert_memory_equal(bytes.data + 16, header.cluster, 16);
    assert_true(load_u64(bytes.data + 32) == header.incarnation);
    assert_true(load_u64(bytes.data + 40) == header.source);
    assert_true(load_u64(bytes.data + 48) == header.log_ms);
    assert_true(load_u64(bytes.data + 56) == header.lamport);
    assert_int_equal(bytes.data[64], WIRE_FRAME_RAFT);
    assert_int_equal(load_u32(bytes.data + 68), WIRE_FRAME_VERSION);
}

static void every_truncated_frame_is_incomplete(void **state)
{
    (void)state;
    struct edge edge = edge_open(4096);
    struct bytes whole = encode(bytes_of_text("body"));

    for (size_t size = 0; size < whole.size; size++) {
        assert_int_equal(next(edge_place(&edge, bytes_of(whole.data, size))), ERR_INCOMPLETE);
    }
    assert_int_equal(next(edge_place(&edge, whole)), ERR_OK);
    edge_close(&edge);
}

static void every_flipped_bit_is_noticed(void **state)
{
    (void)state;
    struct bytes whole = encode(bytes_of_text("body"));

    for (size_t bit = 0; bit < whole.size * 8; bit++) {
        memory[bit / 8] ^= (uint8_t)(1U << bit % 8);
        assert_int_not_equal(next(whole), ERR_OK);
        memory[bit / 8] ^= (uint8_t)(1U << bit % 8);
    }
    assert_int_equal(next(whole), ERR_OK);
}

static void a_flipped_bit_behind_the_size_is_corrupt(void **state)
{
    (void)state;
    struct bytes whole = encode(bytes_of_text("body"));

    for (size_t at = 8; at < whole.size; at++) {
        memory[at] ^= 1;
        assert_int_equal(next(whole), ERR_CORRUPT);
        memory[at] ^= 1;
    }
}

static void another_version_is_told_apart_from_damage(void **state)
{
    (void)state;
    struct bytes whole = encode(bytes_of_text("body"));

    store_u32(memory + 68, WIRE_FRAME_VERSION + 1);
    seal(whole);

    assert_int_equal(next(whole), ERR_VERSION);
}

static void an_unknown_kind_or_a_reserved_byte_is_malformed(void **state)
{
    (void)state;
    struct bytes whole = encode(bytes_of_text("body"));

    for (unsigned kind = 0; kind < 256; kind++) {
        memory[64] = (uint8_t)kind;
        seal(whole);
        assert_int_equal(next(whole),
                         kind >= 1 && kind <= WIRE_FRAME_FORWARDED ? ERR_OK : ERR_MALFORMED);
    }
    memory[64] = WIRE_FRAME_RAFT;
    for (size_t at = 65; at < 68; at++) {
        memory[at] = 1;
        seal(whole);
        assert_int_equal(next(whole), ERR_MALFORMED);
        memory[at] = 0;
    }
}

static void something_else_is_malformed_from_its_first_byte_on(void **state)
{
    (void)state;

    assert_int_equal(next(bytes_of_text("x")), ERR_MALFORMED);
    assert_int_equal(next(bytes_of_text("hfX")), ERR_MALFORMED);
    assert_int_equal(next(bytes_of_text("GET / HTTP/1.1\r\n")), ERR_MALFORMED);
    assert_int_equal(next(bytes_of(NULL, 0)), ERR_INCOMPLETE);
}

static void an_impossible_size_is_refused_before_the_rest_comes(void **state)
{
    (void)state;
    struct bytes head = bytes_of(memory, 8);
    (void)encode(bytes_of(NULL, 0));

    store_u32(memory + 4, WIRE_FRAME_HEADER_SIZE - 1);
    assert_int_equal(next(head), ERR_MALFORMED);
    store_u32(memory + 4, 0);
    assert_int_equal(next(head), ERR_MALFORMED);
    store_u32(memory + 4, WIRE_PEER_FRAME_SIZE_MAX + 1);
    assert_int_equal(next(head), ERR_TOO_LARGE);
    store_u32(memory + 4, UINT32_MAX);
    assert_int_equal(next(head), ERR_TOO_LARGE);
    store_u32(memory + 4, WIRE_PEER_FRAME_SIZE_MAX);
    assert_int_equal(next(head), ERR_INCOMPLETE);
}

static void a_frame_of_the_largest_size_is_taken(void **state)
{
    (void)state;
    static uint8_t body[WIRE_PEER_FRAME_SIZE_MAX - WIRE_FRAME_HEADER_SIZE];

    struct bytes whole = encode(bytes_of(body, sizeof(body)));

    assert_int_equal(whole.size, WIRE_PEER_FRAME_SIZE_MAX);
    assert_int_equal(next(whole), ERR_OK);
}

static void frames_back_to_back_are_taken_one_by_one(void **state)
{
    (void)state;
    struct buffer buffer = buffer_of(memory, sizeof(memory));
    struct wire_frame frame = header;
    size_t start;
    for (uint8_t i = 0; i < 3; i++) {
        frame.lamport = i;
        assert_true(wire_frame_begin(&buffer, &frame, &start));
        assert_true(buffer_append(&buffer, bytes_of(&i, 1)));
        wire_frame_end(&buffer, start);
    }
    struct bytes rest = buffer_bytes(&buffer);

    for (uint8_t i = 0; i < 3; i++) {
        assert_int_equal(wire_frame_next(&rest, &frame), ERR_OK);
        assert_int_equal(frame.lamport, i);
        assert_int_equal(frame.body.data[0], i);
    }
    assert_int_equal(wire_frame_next(&rest, &frame), ERR_INCOMPLETE);
}

static void a_header_that_does_not_fit_leaves_the_buffer_as_it_was(void **state)
{
    (void)state;
    struct buffer buffer = buffer_of(memory, 5 + WIRE_FRAME_HEADER_SIZE - 1);
    size_t start;
    buffer.size = 5;

    assert_false(wire_frame_begin(&buffer, &header, &start));

    assert_int_equal(buffer.size, 5);
    assert_int_equal(start, 5);
}

static void end_a_frame_that_is_too_large(void)
{
    struct buffer buffer = buffer_of(memory, sizeof(memory));
    size_t start;

    if (wire_frame_begin(&buffer, &header, &start)) {
        buffer.size = WIRE_PEER_FRAME_SIZE_MAX + 1;
        wire_frame_end(&buffer, start);
    }
}

static void a_frame_that_no_peer_would_take_is_a_bug_of_the_sender(void **state)
{
    (void)state;

    assert_true(dies(end_a_frame_that_is_too_large, "WIRE_PEER_FRAME_SIZE_MAX"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_frame_comes_back_as_it_was),
        cmocka_unit_test(the_header_lies_as_it_is_drawn),
        cmocka_unit_test(every_truncated_frame_is_incomplete),
        cmocka_unit_test(every_flipped_bit_is_noticed),
        cmocka_unit_test(a_flipped_bit_behind_the_size_is_corrupt),
        cmocka_unit_test(another_version_is_told_apart_from_damage),
        cmocka_unit_test(an_unknown_kind_or_a_reserved_byte_is_malformed),
        cmocka_unit_test(something_else_is_malformed_from_its_first_byte_on),
        cmocka_unit_test(an_impossible_size_is_refused_before_the_rest_comes),
        cmocka_unit_test(a_frame_of_the_largest_size_is_taken),
        cmocka_unit_test(frames_back_to_back_are_taken_one_by_one),
        cmocka_unit_test(a_header_that_does_not_fit_leaves_the_buffer_as_it_was),
        cmocka_unit_test(a_frame_that_no_peer_would_take_is_a_bug_of_the_sender),
    };
    return cmocka_run_group_tests_name("wire/frame", tests, NULL, NULL);
}
