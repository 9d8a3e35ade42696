/* tests/unit/wire/rpc_test.c: envelopes of requests, responses and notices. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/prng.h"
#include "tests/support/base/death.h"
#include "tests/support/wire/edge.h"
#include "wire/frame.h"
#include "wire/internal.h"

enum { ROOM = WIRE_FRAME_SIZE_MAX + 4096 };

static uint8_t memory[ROOM];

/* The verdict on bytes that lie where memory ends; all or nothing is taken. */
static enum error next(struct bytes bytes, struct wire_rpc *rpc)
{
    struct edge edge = edge_open(ROOM);
    struct bytes placed = edge_place(&edge, bytes);
    struct bytes rest = placed;
    enum error error = wire_rpc_next(&rest, rpc);

    assert_int_equal(rest.size, error == ERR_OK ? 0 : placed.size);
    edge_close(&edge);
    return error;
}

static enum error verdict_on(const char *bytes, size_t size)
{
    struct wire_rpc rpc;

    return next(bytes_of(bytes, size), &rpc);
}

static struct bytes encode_request(uint64_t id)
{
    struct buffer buffer = buffer_of(memory, sizeof(memory));
    struct wire_put put = {
        .session = 3, .sequence = 4, .key = bytes_of_text("key"), .value = bytes_of_text("value")};

    assert_true(wire_request_begin(&buffer, id, WIRE_METHOD_put));
    assert_true(wire_put_encode(&put, &buffer));
    return buffer_bytes(&buffer);
}

static struct bytes encode_result(uint64_t id)
{
    struct buffer buffer = buffer_of(memory, sizeof(memory));
    struct wire_put_result result = {.revision = 9};

    assert_true(wire_result_begin(&buffer, id));
    assert_true(wire_put_result_encode(&result, &buffer));
    return buffer_bytes(&buffer);
}

static struct bytes encode_failure(uint64_t id)
{
    struct buffer buffer = buffer_of(memory, sizeof(memory));
    struct wire_failure failure = {.code = ERR_OVERLOADED, .retry_after_ms = 50};

    assert_true(wire_failure_response(&buffer, id, &failure));
    return buffer_bytes(&buffer);
}

static struct bytes encode_notice(void)
{
    struct buffer buffer = buffer_of(memory, sizeof(memory));
    struct wire_granted granted = {.session = 1, .name = bytes_of_text("lock"), .token = 2};

    assert_true(wire_notice_begin(&buffer, WIRE_NOTICE_granted));
    assert_true(wire_granted_encode(&granted, &buffer));
    return buffer_bytes(&buffer);
}

static void a_request_comes_back_with_its_id_method_and_params(void **state)
{
    (void)state;
    struct bytes rest = encode_request(UINT64_MAX);
    struct wire_rpc rpc;
    struct wire_put put;

    assert_int_equal(wire_rpc_next(&rest, &rpc), ERR_OK);

    assert_int_equal(rest.size, 0);
    assert_int_equal(rpc.type, WIRE_REQUEST);
    assert_true(rpc.id == UINT64_MAX);
    assert_int_equal(rpc.method, WIRE_METHOD_put);
    assert_true(bytes_equal(rpc.method_name, bytes_of_text("put")));
    assert_int_equal(wire_put_decode(&rpc.body, &put), ERR_OK);
    assert_int_equal(rpc.body.size, 0);
    assert_true(bytes_equal(put.value, bytes_of_text("value")));
}

static struct bytes encode_request_within(uint64_t within_ms)
{
    struct buffer buffer = buffer_of(memory, sizeof(memory));
    struct wire_get get = {.key = bytes_of_text("key")};

    assert_true(wire_request_begin_within(&buffer, 5, WIRE_METHOD_get));
    assert_true(wire_get_encode(&get, &buffer));
    assert_true(wire_request_end_within(&buffer, within_ms));
    return buffer_bytes(&buffer);
}

static void a_request_carries_what_is_left_of_its_deadline(void **state)
{
    (void)state;
    static const uint64_t left_ms[] = {0, 1, 5000, UINT32_MAX, UINT64_MAX - 1};

    for (size_t i = 0; i < COUNT_OF(left_ms); i++) {
        struct bytes rest = encode_request_within(left_ms[i]);
        struct wire_rpc rpc;
        struct wire_get get;

        assert_int_equal(wire_rpc_next(&rest, &rpc), ERR_OK);

        assert_int_equal(rest.size, 0);
        assert_true(rpc.within_ms == left_ms[i]);
        assert_int_equal(wire_get_decode(&rpc.body, &get), ERR_OK);
        assert_int_equal(rpc.body.size, 0);
    }
}

static void a_request_without_a_deadline_has_none(void **state)
{
    (void)state;
    struct bytes rest = encode_request(1);
    struct wire_rpc rpc;

    assert_int_equal(wire_rpc_next(&rest, &rpc), ERR_OK);

    assert_true(rpc.within_ms == WIRE_WITHIN_NONE);
}

static void a_request_is_not_whole_before_its_deadline_is(void **state)
{
    (void)state;
    struct bytes whole = encode_request_within(5000);

    for (size_t size = 0; size < whole.size; size++) {
        assert_int_equal(verdict_on((const char *)whole.data, size), ERR_INCOMPLETE);
    }
}

static void only_a_request_has_a_deadline_and_it_is_a_number(void **state)
{
    (void)state;
    static const char response[] = "\x95\x01\x01\xc0\x80\x05";
    static const char notice[] = "\x94\x02\xa7granted\x80\x05";
    static const char text[] = "\x95\x00\x01\xa3get\x80\xa1"
                               "5";
    static const char nil[] = "\x95\x00\x01\xa3get\x80\xc0";

    assert_int_equal(verdict_on(response, sizeof(response) - 1), ERR_MALFORMED);
    assert_int_equal(verdict_on(notice, sizeof(notice) - 1), ERR_MALFORMED);
    assert_int_equal(verdict_on(text, sizeof(text) - 1), ERR_MALFORMED);
    assert_int_equal(verdict_on(nil, sizeof(nil) - 1), ERR_MALFORMED);
}

static void a_result_comes_back_with_its_id(void **state)
{
    (void)state;
    struct bytes rest = encode_result(7);
    struct wire_rpc rpc;
    struct wire_put_result result;

    assert_int_equal(wire_rpc_next(&rest, &rpc), ERR_OK);

    assert_int_equal(rpc.type, WIRE_RESPONSE);
    assert_int_equal(rpc.id, 7);
    assert_false(rpc.failed);
    assert_int_equal(wire_put_result_decode(&rpc.body, &result), ERR_OK);
    assert_int_equal(result.revision, 9);
}

static void a_failure_carries_the_name_and_text_of_its_code(void **state)
{
    (void)state;
    struct bytes rest = encode_failure(8);
    struct wire_rpc rpc;
    struct wire_failure failure;

    assert_int_equal(wire_rpc_next(&rest, &rpc), ERR_OK);

    assert_true(rpc.failed);
    assert_int_equal(rpc.id, 8);
    assert_int_equal(wire_failure_decode(&rpc.body, &failure), ERR_OK);
    assert_int_equal(failure.code, ERR_OVERLOADED);
    assert_true(bytes_equal(failure.name, bytes_of_text("OVERLOADED")));
    assert_true(bytes_equal(failure.text, bytes_of_text(error_text(ERR_OVERLOADED))));
    assert_int_equal(failure.retry_after_ms, 50);
}

static void a_failure_keeps_a_text_that_says_more(void **state)
{
    (void)state;
    struct buffer buffer = buffer_of(memory, sizeof(memory));
    struct wire_failure failure = {.code = ERR_TOO_LARGE, .text = bytes_of_text("the key")};
    assert_true(wire_failure_response(&buffer, 1, &failure));
    struct bytes rest = buffer_bytes(&buffer);
    struct wire_rpc rpc;

    assert_int_equal(wire_rpc_next(&rest, &rpc), ERR_OK);

    assert_int_equal(wire_failure_decode(&rpc.body, &failure), ERR_OK);
    assert_true(bytes_equal(failure.text, bytes_of_text("the key")));
}

static void every_error_of_the_wire_can_be_a_failure(void **state)
{
    (void)state;
    struct wire_rpc rpc;
    unsigned count = 0;

    for (unsigned number = 1; number < 100; number++) {
        if ((unsigned)error_from_number(number) != number) {
            continue;
        }
        struct buffer buffer = buffer_of(memory, sizeof(memory));
        struct wire_failure failure = {.code = number};
        assert_true(wire_failure_response(&buffer, 1, &failure));
        struct bytes rest = buffer_bytes(&buffer);
        assert_int_equal(wire_rpc_next(&rest, &rpc), ERR_OK);
        assert_int_equal(wire_failure_decode(&rpc.body, &failure), ERR_OK);
        assert_int_equal(failure.code, number);
        count++;
    }
    assert_true(count >= 23);
}

static void a_notice_has_no_id(void **state)
{
    (void)state;
    struct bytes rest = encode_notice();
    struct wire_rpc rpc;
    struct wire_granted granted;

    assert_int_equal(wire_rpc_next(&rest, &rpc), ERR_OK);

    assert_int_equal(rpc.type, WIRE_NOTICE);
    assert_int_equal(rpc.method, WIRE_NOTICE_granted);
    assert_int_equal(wire_granted_decode(&rpc.body, &granted), ERR_OK);
    assert_int_equal(granted.token, 2);
}

static void every_method_is_found_by_its_name(void **state)
{
    (void)state;
    static const enum wire_method methods[] = {
#define METHOD(number, name) WIRE_METHOD_##name,
#include "wire/messages.def"
#undef METHOD
    };

    for (size_t i = 0; i < COUNT_OF(methods); i++) {
        struct buffer buffer = buffer_of(memory, sizeof(memory));
        struct wire_rpc rpc;
        assert_true(wire_request_begin(&buffer, 1, methods[i]));
        assert_true(buffer.size <= WIRE_ENVELOPE_SIZE_MAX);
        assert_true(wire_pack_map(&buffer, 0));
        assert_int_equal(next(buffer_bytes(&buffer), &rpc), ERR_OK);
        assert_int_equal(rpc.method, methods[i]);
    }
}

static void a_name_of_the_other_kind_or_of_none_is_method_none(void **state)
{
    (void)state;
    struct wire_rpc rpc;

    assert_int_equal(next(bytes_of("\x94\0\1\xa7granted\x80", 12), &rpc), ERR_OK);
    assert_int_equal(rpc.method, WIRE_METHOD_NONE);
    assert_int_equal(next(bytes_of("\x93\2\xa3put\x80", 7), &rpc), ERR_OK);
    assert_int_equal(rpc.method, WIRE_METHOD_NONE);
    assert_int_equal(next(bytes_of("\x94\0\1\xa3pux\x80", 8), &rpc), ERR_OK);
    assert_int_equal(rpc.method, WIRE_METHOD_NONE);
    assert_string_equal(wire_method_name(rpc.method), "none");
}

static void every_truncated_envelope_is_incomplete(void **state)
{
    (void)state;
    uint8_t copy[512];
    struct bytes (*const encoders[])(uint64_t) = {encode_request, encode_result, encode_failure};

    for (size_t i = 0; i <= COUNT_OF(encoders); i++) {
        struct bytes whole = i < COUNT_OF(encoders) ? encoders[i](1000) : encode_notice();
        struct wire_rpc rpc;
        assert_true(whole.size <= sizeof(copy));
        memcpy(copy, whole.data, whole.size);

        for (size_t size = 0; size < whole.size; size++) {
            assert_int_equal(next(bytes_of(copy, size), &rpc), ERR_INCOMPLETE);
        }
        assert_int_equal(next(bytes_of(copy, whole.size), &rpc), ERR_OK);
    }
}

static void an_envelope_of_another_shape_is_malformed(void **state)
{
    (void)state;

    assert_int_equal(verdict_on("\x80", 1), ERR_MALFORMED);                   /* No array. */
    assert_int_equal(verdict_on("\x07", 1), ERR_MALFORMED);                   /* A number. */
    assert_int_equal(verdict_on("\xc1", 1), ERR_MALFORMED);                   /* Never used. */
    assert_int_equal(verdict_on("\x90", 1), ERR_MALFORMED);                   /* Too short. */
    assert_int_equal(verdict_on("\x96", 1), ERR_MALFORMED);                   /* Too long. */
    assert_int_equal(verdict_on("\x94\3\1\xa3put\x80", 8), ERR_MALFORMED);    /* Type 3. */
    assert_int_equal(verdict_on("\x94\xff\1\xa3put\x80", 8), ERR_MALFORMED);  /* Type -1. */
    assert_int_equal(verdict_on("\x94\2\1\xa3put\x80", 8), ERR_MALFORMED);    /* Notice of 4. */
    assert_int_equal(verdict_on("\x93\0\1\xa3put\x80", 8), ERR_MALFORMED);    /* Request of 3. */
    assert_int_equal(verdict_on("\x94\0\xff\xa3put\x80", 8), ERR_MALFORMED);  /* Id -1. */
    assert_int_equal(verdict_on("\x94\0\xa1x\xa3put\x80", 9), ERR_MALFORMED); /* Id "x". */
    assert_int_equal(verdict_on("\x94\0\1\xc4\3put\x80", 9), ERR_MALFORMED);  /* bin name. */
    assert_int_equal(verdict_on("\x94\0\1\xa1\xff\x80", 6), ERR_MALFORMED);   /* Not UTF-8. */
    assert_int_equal(verdict_on("\x94\0\1\xa3put\x90", 8), ERR_MALFORMED);    /* Array. */
    assert_int_equal(verdict_on("\x94\0\1\xa3put\xc0", 8), ERR_MALFORMED);    /* nil. */
    assert_int_equal(verdict_on("\x94\1\1\xc0\xc0", 5), ERR_MALFORMED);       /* Neither. */
    assert_int_equal(verdict_on("\x94\1\1\x80\x80", 5), ERR_MALFORMED);       /* Both. */
    assert_int_equal(verdict_on("\x94\1\1\xa1x\xc0", 6), ERR_MALFORMED);      /* Error "x". */
    assert_int_equal(verdict_on("\x94\1\1\xc0\x05", 5), ERR_MALFORMED);       /* Result 5. */
}

static void a_long_method_name_is_too_large(void **state)
{
    (void)state;
    char request[6 + 65 + 1] = "\x94\0\1\xd9\x41";
    memset(request + 5, 'm', 65);
    request[5 + 65] = (char)0x80;

    assert_int_equal(verdict_on(request, 5 + 65 + 1), ERR_TOO_LARGE);

    request[4] = 0x40;
    request[5 + 64] = (char)0x80;
    assert_int_equal(verdict_on(request, 5 + 64 + 1), ERR_OK);
}

static void an_announced_size_beyond_the_frame_is_refused_at_once(void **state)
{
    (void)state;

    assert_int_equal(verdict_on("\xdd\xff\xff\xff\xff", 5), ERR_TOO_LARGE);
    assert_int_equal(verdict_on("\x94\0\1\xdb\xff\xff\xff\xff", 8), ERR_TOO_LARGE);
    assert_int_equal(verdict_on("\x94\0\1\xa3put\xdf\xff\xff\xff\xff", 12), ERR_TOO_LARGE);
    assert_int_equal(verdict_on("\x94\0\1\xa3put\x81\xa1x\xc6\0\x10\0\0", 15), ERR_TOO_LARGE);
}

/* A request whose single unknown field makes it `size` bytes long. */
static struct bytes encode_request_of_size(size_t size)
{
    struct buffer buffer = buffer_of(memory, sizeof(memory));
    assert_true(wire_request_begin(&buffer, 1, WIRE_METHOD_get));
    assert_true(wire_pack_map(&buffer, 1));
    assert_true(wire_pack_text(&buffer, bytes_of_text("x")));
    size_t left = size - buffer.size - 5;
    const uint8_t head[5] = {0xc6, (uint8_t)(left >> 24), (uint8_t)(left >> 16),
                             (uint8_t)(left >> 8), (uint8_t)left};
    assert_true(buffer_append(&buffer, bytes_of(head, sizeof(head))));
    uint8_t *at = buffer_extend(&buffer, left);
    assert_non_null(at);
    memset(at, 'x', left);
    return buffer_bytes(&buffer);
}

static void a_message_of_the_largest_size_is_taken_and_a_longer_one_is_not(void **state)
{
    (void)state;
    struct wire_rpc rpc;
    struct bytes largest = encode_request_of_size(WIRE_FRAME_SIZE_MAX);
    assert_int_equal(largest.size, WIRE_FRAME_SIZE_MAX);

    assert_int_equal(next(largest, &rpc), ERR_OK);
    assert_int_equal(next(bytes_of(largest.data, largest.size - 1), &rpc), ERR_INCOMPLETE);

    struct bytes longer = encode_request_of_size(WIRE_FRAME_SIZE_MAX + 1);
    assert_int_equal(next(bytes_of(longer.data, 100), &rpc), ERR_TOO_LARGE);
    assert_int_equal(next(longer, &rpc), ERR_TOO_LARGE);
}

/* Nothing announces too much, but it never ends. */
static void more_is_never_asked_for_beyond_the_largest_size(void **state)
{
    (void)state;
    struct wire_rpc rpc;
    struct buffer buffer = buffer_of(memory, sizeof(memory));
    assert_true(wire_request_begin(&buffer, 1, WIRE_METHOD_get));
    assert_true(wire_pack_map(&buffer, 3));
    static const uint8_t value[400 << 10];
    for (int i = 0; i < 2; i++) {
        assert_true(wire_pack_text(&buffer, bytes_of_text("x")));
        assert_true(wire_pack_bytes(&buffer, bytes_of(value, sizeof(value))));
    }
    assert_true(wire_pack_text(&buffer, bytes_of(value, WIRE_FRAME_SIZE_MAX - buffer.size - 5)));
    assert_int_equal(buffer.size, WIRE_FRAME_SIZE_MAX);

    assert_int_equal(next(bytes_of(memory, WIRE_FRAME_SIZE_MAX - 1), &rpc), ERR_INCOMPLETE);
    assert_int_equal(next(bytes_of(memory, WIRE_FRAME_SIZE_MAX), &rpc), ERR_TOO_LARGE);
}

static void nesting_counts_the_envelope(void **state)
{
    (void)state;
    uint8_t deep[64] = {0x94, 0, 1, 0xa3, 'p', 'u', 't', 0x81, 0xa1, 'x'};
    memset(deep + 10, 0x91, sizeof(deep) - 10);
    struct wire_rpc rpc;

    deep[10 + WIRE_DEPTH_MAX - 2] = 1;
    assert_int_equal(next(bytes_of(deep, 10 + WIRE_DEPTH_MAX - 1), &rpc), ERR_OK);
    deep[10 + WIRE_DEPTH_MAX - 2] = 0x91;
    assert_int_equal(next(bytes_of(deep, sizeof(deep)), &rpc), ERR_MALFORMED);
}

static void bytes_of_a_peer_are_malformed_here_and_ours_are_there(void **state)
{
    (void)state;
    uint8_t frame_memory[256];
    struct buffer buffer = buffer_of(frame_memory, sizeof(frame_memory));
    struct wire_frame frame = {.kind = WIRE_FRAME_HELLO};
    size_t start;
    assert_true(wire_frame_begin(&buffer, &frame, &start));
    wire_frame_end(&buffer, start);
    struct wire_rpc rpc;
    struct bytes request = encode_request(1);
    struct bytes notice;

    assert_int_equal(next(buffer_bytes(&buffer), &rpc), ERR_MALFORMED);
    assert_int_equal(next(bytes_of(frame_memory, 1), &rpc), ERR_MALFORMED);
    assert_int_equal(wire_frame_next(&request, &frame), ERR_MALFORMED);
    notice = encode_notice();
    assert_int_equal(wire_frame_next(&notice, &frame), ERR_MALFORMED);
    notice.size = 1;
    assert_int_equal(wire_frame_next(&notice, &frame), ERR_MALFORMED);
    struct bytes http = bytes_of_text("GET / HTTP/1.1\r\n\r\n");
    assert_int_equal(wire_rpc_next(&http, &rpc), ERR_MALFORMED);
    assert_int_equal(wire_frame_next(&http, &frame), ERR_MALFORMED);
}

static void an_envelope_is_written_whole_or_not_at_all(void **state)
{
    (void)state;
    struct wire_failure failure = {.code = ERR_HELD};
    size_t whole = encode_failure(1).size;

    for (size_t capacity = 0; capacity < whole; capacity++) {
        struct buffer buffer = buffer_of(memory, capacity);
        if (!wire_request_begin(&buffer, UINT64_MAX, WIRE_METHOD_session_open)) {
            assert_int_equal(buffer.size, 0);
        }
        buffer.size = 0;
        if (!wire_result_begin(&buffer, UINT64_MAX)) {
            assert_int_equal(buffer.size, 0);
        }
        buffer.size = 0;
        if (!wire_notice_begin(&buffer, WIRE_NOTICE_session_ended)) {
            assert_int_equal(buffer.size, 0);
        }
        buffer.size = 0;
        if (!wire_failure_response(&buffer, UINT64_MAX, &failure)) {
            assert_int_equal(buffer.size, 0);
        }
    }
}

static void random_bytes_are_never_read_beyond_their_end(void **state)
{
    (void)state;
    struct edge edge = edge_open(64);
    struct prng prng;
    prng_init(&prng, 3);

    for (uint32_t round = 0; round < 100000; round++) {
        uint8_t bytes[32];
        for (size_t i = 0; i < sizeof(bytes); i++) {
            bytes[i] = (uint8_t)(prng_next(&prng) >> 56);
        }
        bytes[0] = (uint8_t)(0x93 + round % 2);
        bytes[1] = (uint8_t)(round % 3);
        struct bytes rest = edge_place(&edge, bytes_of(bytes, prng_below(&prng, 33)));
        size_t size = rest.size;
        struct wire_rpc rpc;

        enum error error = wire_rpc_next(&rest, &rpc);

        assert_true(error == ERR_OK ? rest.size < size : rest.size == size);
    }
    edge_close(&edge);
}

static void answer_without_an_error(void)
{
    struct buffer buffer = buffer_of(memory, sizeof(memory));
    struct wire_failure failure = {.code = ERR_OK};

    (void)!wire_failure_response(&buffer, 1, &failure);
}

static void answer_with_a_local_error(void)
{
    struct buffer buffer = buffer_of(memory, sizeof(memory));
    struct wire_failure failure = {.code = ERR_CORRUPT};

    (void)!wire_failure_response(&buffer, 1, &failure);
}

static void a_failure_that_is_none_of_the_wire_is_a_bug(void **state)
{
    (void)state;

    assert_true(dies(answer_without_an_error, "failure->code"));
    assert_true(dies(answer_with_a_local_error, "failure->code"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_comes_back_with_its_id_method_and_params),
        cmocka_unit_test(a_request_carries_what_is_left_of_its_deadline),
        cmocka_unit_test(a_request_without_a_deadline_has_none),
        cmocka_unit_test(a_request_is_not_whole_before_its_deadline_is),
        cmocka_unit_test(only_a_request_has_a_deadline_and_it_is_a_number),
        cmocka_unit_test(a_result_comes_back_with_its_id),
        cmocka_unit_test(a_failure_carries_the_name_and_text_of_its_code),
        cmocka_unit_test(a_failure_keeps_a_text_that_says_more),
        cmocka_unit_test(every_error_of_the_wire_can_be_a_failure),
        cmocka_unit_test(a_notice_has_no_id),
        cmocka_unit_test(every_method_is_found_by_its_name),
        cmocka_unit_test(a_name_of_the_other_kind_or_of_none_is_method_none),
        cmocka_unit_test(every_truncated_envelope_is_incomplete),
        cmocka_unit_test(an_envelope_of_another_shape_is_malformed),
        cmocka_unit_test(a_long_method_name_is_too_large),
        cmocka_unit_test(an_announced_size_beyond_the_frame_is_refused_at_once),
        cmocka_unit_test(a_message_of_the_largest_size_is_taken_and_a_longer_one_is_not),
        cmocka_unit_test(more_is_never_asked_for_beyond_the_largest_size),
        cmocka_unit_test(nesting_counts_the_envelope),
        cmocka_unit_test(bytes_of_a_peer_are_malformed_here_and_ours_are_there),
        cmocka_unit_test(an_envelope_is_written_whole_or_not_at_all),
        cmocka_unit_test(random_bytes_are_never_read_beyond_their_end),
        cmocka_unit_test(a_failure_that_is_none_of_the_wire_is_a_bug),
    };
    return cmocka_run_group_tests_name("wire/rpc", tests, NULL, NULL);
}
