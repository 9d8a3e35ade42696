/* tests/unit/wire/golden_test.c: bytes of tests/golden/wire that must be readable for ever.
 *
 * GOLDEN_UPDATE=1 writes them anew; whoever does so reads the difference: an old message may gain
 * optional fields, nothing else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "tests/support/wire/golden.h"
#include "tests/support/wire/raft_sample.h"
#include "tests/support/wire/sample.h"
#include "wire/frame.h"
#include "wire/internal.h"

enum { ROOM = 64 << 10 };

static uint8_t borrowed[ROOM];
static uint8_t made[ROOM];
static uint8_t kept[ROOM];
static uint8_t again[ROOM];

/* The bytes on file under this name, which are those that are made today. */
static struct bytes golden(const char *name, struct bytes today)
{
    struct buffer file = buffer_of(kept, sizeof(kept));

    if (golden_is_updated()) {
        assert_true(golden_write(name, today));
    }
    assert_true(golden_read(name, &file));
    if (!bytes_equal(buffer_bytes(&file), today)) {
        print_error("tests/golden/wire/%s.hex is not what is made today\n", name);
        fail();
    }
    return buffer_bytes(&file);
}

static const char *name_of(const char *kind, const char *name)
{
    static char text[64];
    int size = snprintf(text, sizeof(text), "%s_%s", kind, name);

    assert_true(size > 0 && (size_t)size < sizeof(text));
    return text;
}

static void every_message_is_what_it_was(void **state)
{
    (void)state;

    for (uint32_t id = 0; id < WIRE_MESSAGE_COUNT; id++) {
        const struct wire_message *message = wire_message_of((enum wire_message_id)id);
        struct buffer memory = buffer_of(borrowed, sizeof(borrowed));
        struct buffer today = buffer_of(made, sizeof(made));
        struct buffer anew = buffer_of(again, sizeof(again));
        union sample sample;
        union sample decoded;
        sample_fill_fixed(message, &memory, &sample);
        assert_true(wire_message_encode(message, &sample, &today));

        struct bytes file = golden(name_of("message", message->name), buffer_bytes(&today));
        struct bytes rest = file;
        assert_int_equal(wire_message_decode(message, &rest, &decoded), ERR_OK);
        assert_true(sample_is_equal(message, &sample, &decoded));
        assert_true(wire_message_encode(message, &decoded, &anew));

        assert_int_equal(rest.size, 0);
        assert_true(bytes_equal(file, buffer_bytes(&anew)));
    }
}

static void begin_envelope(const struct wire_rpc *rpc, struct buffer *buffer)
{
    switch (rpc->type) {
    case WIRE_REQUEST:
        if (rpc->within_ms == WIRE_WITHIN_NONE) {
            assert_true(wire_request_begin(buffer, rpc->id, rpc->method));
        } else {
            assert_true(wire_request_begin_within(buffer, rpc->id, rpc->method));
        }
        return;
    case WIRE_RESPONSE:
        assert_true(wire_result_begin(buffer, rpc->id));
        return;
    case WIRE_NOTICE:
        assert_true(wire_notice_begin(buffer, rpc->method));
        return;
    }
    fail();
}

static void end_envelope(const struct wire_rpc *rpc, struct buffer *buffer)
{
    if (rpc->type == WIRE_REQUEST && rpc->within_ms != WIRE_WITHIN_NONE) {
        assert_true(wire_request_end_within(buffer, rpc->within_ms));
    }
}

static void every_envelope_is_what_it_was(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        struct wire_rpc rpc;
        enum wire_message_id body;
    } envelopes[] = {
        {"request",
         {.type = WIRE_REQUEST, .id = 1, .method = WIRE_METHOD_put, .within_ms = WIRE_WITHIN_NONE},
         WIRE_MESSAGE_put},
        {"request_within",
         {.type = WIRE_REQUEST, .id = 1, .method = WIRE_METHOD_put, .within_ms = 1500},
         WIRE_MESSAGE_put},
        {"result", {.type = WIRE_RESPONSE, .id = UINT64_MAX}, WIRE_MESSAGE_put_result},
        {"notice", {.type = WIRE_NOTICE, .method = WIRE_NOTICE_granted}, WIRE_MESSAGE_granted},
    };

    for (size_t i = 0; i < COUNT_OF(envelopes); i++) {
        const struct wire_message *body = wire_message_of(envelopes[i].body);
        struct buffer memory = buffer_of(borrowed, sizeof(borrowed));
        struct buffer today = buffer_of(made, sizeof(made));
        struct buffer anew = buffer_of(again, sizeof(again));
        struct wire_rpc rpc;
        union sample sample;
        sample_fill_fixed(body, &memory, &sample);
        begin_envelope(&envelopes[i].rpc, &today);
        assert_true(wire_message_encode(body, &sample, &today));
        end_envelope(&envelopes[i].rpc, &today);

        struct bytes file = golden(name_of("rpc", envelopes[i].name), buffer_bytes(&today));
        struct bytes rest = file;
        assert_int_equal(wire_rpc_next(&rest, &rpc), ERR_OK);
        begin_envelope(&rpc, &anew);
        assert_true(buffer_append(&anew, rpc.body));
        end_envelope(&rpc, &anew);

        assert_int_equal(rest.size, 0);
        assert_true(bytes_equal(file, buffer_bytes(&anew)));
    }
}

static void a_failure_is_what_it_was(void **state)
{
    (void)state;
    struct buffer today = buffer_of(made, sizeof(made));
    struct buffer anew = buffer_of(again, sizeof(again));
    struct wire_failure failure = {
        .code = ERR_OVERLOADED, .text = bytes_of_text("later"), .retry_after_ms = 250};
    struct wire_rpc rpc;
    assert_true(wire_failure_response(&today, 2, &failure));

    struct bytes file = golden("rpc_failure", buffer_bytes(&today));
    struct bytes rest = file;
    assert_int_equal(wire_rpc_next(&rest, &rpc), ERR_OK);
    assert_int_equal(wire_failure_decode(&rpc.body, &failure), ERR_OK);
    assert_true(wire_failure_response(&anew, rpc.id, &failure));

    assert_true(bytes_equal(file, buffer_bytes(&anew)));
}

static const struct wire_frame frame_header = {
    .cluster = {0xc0, 0xc1, 0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7, 0xc8, 0xc9, 0xca, 0xcb, 0xcc, 0xcd,
                0xce, 0xcf},
    .incarnation = UINT64_C(0x1112131415161718),
    .source = 3,
    .log_ms = UINT64_C(0x2122232425262728),
    .lamport = 99,
};

static void frame(enum wire_frame_kind kind, struct bytes body, struct buffer *to)
{
    struct wire_frame header = frame_header;
    size_t start;
    header.kind = kind;

    assert_true(wire_frame_begin(to, &header, &start));
    assert_true(buffer_append(to, body));
    wire_frame_end(to, start);
}

/* The frame on file decodes to this header and body, and makes the same bytes again. */
static void check_frame(const char *name, enum wire_frame_kind kind, struct bytes body)
{
    struct buffer today = buffer_of(made, sizeof(made));
    struct buffer anew = buffer_of(again, sizeof(again));
    struct wire_frame decoded;
    size_t start;
    frame(kind, body, &today);

    struct bytes file = golden(name_of("frame", name), buffer_bytes(&today));
    struct bytes rest = file;
    assert_int_equal(wire_frame_next(&rest, &decoded), ERR_OK);
    assert_int_equal(decoded.kind, kind);
    assert_true(bytes_equal(decoded.body, body));
    assert_true(wire_frame_begin(&anew, &decoded, &start));
    assert_true(buffer_append(&anew, decoded.body));
    wire_frame_end(&anew, start);

    assert_true(bytes_equal(file, buffer_bytes(&anew)));
}

static void every_frame_is_what_it_was(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        enum wire_frame_kind kind;
        enum wire_message_id body;
    } frames[] = {
        {"hello", WIRE_FRAME_HELLO, WIRE_MESSAGE_peer_hello},
        {"refuse", WIRE_FRAME_REFUSE, WIRE_MESSAGE_peer_refuse},
        {"form", WIRE_FRAME_FORM, WIRE_MESSAGE_peer_form},
        {"snapshot_offer", WIRE_FRAME_SNAPSHOT_OFFER, WIRE_MESSAGE_peer_snapshot_offer},
        {"snapshot_chunk", WIRE_FRAME_SNAPSHOT_CHUNK, WIRE_MESSAGE_peer_snapshot_chunk},
        {"snapshot_reply", WIRE_FRAME_SNAPSHOT_REPLY, WIRE_MESSAGE_peer_snapshot_reply},
        {"snapshot_request", WIRE_FRAME_SNAPSHOT_REQUEST, WIRE_MESSAGE_peer_snapshot_request},
        {"state", WIRE_FRAME_STATE, WIRE_MESSAGE_peer_state},
        {"space", WIRE_FRAME_SPACE, WIRE_MESSAGE_peer_space},
    };
    uint8_t body_memory[4096];

    for (size_t i = 0; i < COUNT_OF(frames); i++) {
        struct buffer memory = buffer_of(borrowed, sizeof(borrowed));
        struct buffer body = buffer_of(body_memory, sizeof(body_memory));
        union sample sample;
        sample_fill_fixed(wire_message_of(frames[i].body), &memory, &sample);
        assert_true(wire_message_encode(wire_message_of(frames[i].body), &sample, &body));

        check_frame(frames[i].name, frames[i].kind, buffer_bytes(&body));
    }
}

static void what_is_passed_on_is_what_it_was(void **state)
{
    (void)state;
    const struct wire_get get = {.key = bytes_of_text("a")};
    const struct wire_get_result result = {.value = bytes_of_text("1"), .revision = 7};
    uint8_t memory[256];
    struct buffer body = buffer_of(memory, sizeof(memory));
    struct wire_forward forward;

    assert_true(wire_forward_begin(&body, 600, UINT64_C(0x100000000002), WIRE_METHOD_get));
    assert_true(wire_get_encode(&get, &body));
    check_frame("forward", WIRE_FRAME_FORWARD, buffer_bytes(&body));
    assert_int_equal(wire_forward_decode(buffer_bytes(&body), &forward), ERR_OK);
    assert_int_equal(forward.received, 600);
    assert_int_equal(forward.request.id, UINT64_C(0x100000000002));

    body.size = 0;
    assert_true(wire_result_begin(&body, UINT64_C(0x100000000002)));
    assert_true(wire_get_result_encode(&result, &body));
    check_frame("forwarded", WIRE_FRAME_FORWARDED, buffer_bytes(&body));
}

static void every_message_of_raft_is_what_it_was(void **state)
{
    (void)state;
    uint8_t body_memory[1024];

    for (unsigned number = 0; number < RAFT_SAMPLE_COUNT; number++) {
        struct buffer body = buffer_of(body_memory, sizeof(body_memory));
        struct raft_message message = raft_sample(number);
        struct raft_message decoded;
        char name[64];
        (void)snprintf(name, sizeof(name), "raft_%s", raft_sample_name(number));
        assert_true(wire_raft_encode(&message, &body));

        check_frame(name, WIRE_FRAME_RAFT, buffer_bytes(&body));

        assert_int_equal(wire_raft_decode(buffer_bytes(&body), &decoded), ERR_OK);
        assert_true(raft_sample_is_equal(&message, &decoded));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_message_is_what_it_was),
        cmocka_unit_test(every_envelope_is_what_it_was),
        cmocka_unit_test(a_failure_is_what_it_was),
        cmocka_unit_test(every_frame_is_what_it_was),
        cmocka_unit_test(what_is_passed_on_is_what_it_was),
        cmocka_unit_test(every_message_of_raft_is_what_it_was),
    };
    return cmocka_run_group_tests_name("wire/golden", tests, NULL, NULL);
}
