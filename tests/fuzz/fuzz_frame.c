/* tests/fuzz/fuzz_frame.c: bytes of a peer.
 *
 * As they are, and once more with magic, size and checksum put right: without that nothing ever
 * gets behind the checksum. Laws: nothing outside of the input is read; a frame that was taken, its
 * Raft message and its maps make the same bytes again. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/assert.h"
#include "base/checksum.h"
#include "tests/support/wire/sample.h"
#include "wire/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ROOM = 64 << 10 };

static uint8_t healed_memory[ROOM];
static uint8_t encoded_memory[2 * ROOM];

static void check_raft(struct bytes body)
{
    struct buffer buffer = buffer_of(encoded_memory, sizeof(encoded_memory));
    struct raft_message message;

    if (wire_raft_decode(body, &message) != ERR_OK) {
        return;
    }
    ASSERT(wire_raft_encode(&message, &buffer));
    ASSERT(bytes_equal(buffer_bytes(&buffer), body));
    if (message.kind == RAFT_APPEND) {
        struct bytes entries = message.append.first;
        struct raft_entry entry;
        while (raft_entry_next(&entries, &entry)) {
            ASSERT(entry.payload.size <= body.size);
        }
    }
}

static void check_map(enum wire_message_id id, struct bytes body)
{
    const struct wire_message *message = wire_message_of(id);
    struct buffer buffer = buffer_of(encoded_memory, sizeof(encoded_memory));
    union sample first;
    union sample second;

    if (wire_message_decode(message, &body, &first) != ERR_OK) {
        return;
    }
    ASSERT(wire_message_encode(message, &first, &buffer));
    struct bytes bytes = buffer_bytes(&buffer);
    ASSERT(wire_message_decode(message, &bytes, &second) == ERR_OK);
    ASSERT(sample_is_equal(message, &first, &second));
}

static void check_forward(struct bytes body)
{
    struct wire_forward first;
    struct wire_forward second;
    struct buffer buffer = buffer_of(encoded_memory, sizeof(encoded_memory));

    if (wire_forward_decode(body, &first) != ERR_OK) {
        return;
    }
    ASSERT(wire_forward_begin(&buffer, first.received, first.request.id, first.request.method));
    ASSERT(buffer_append(&buffer, first.request.body));
    ASSERT(wire_forward_decode(buffer_bytes(&buffer), &second) == ERR_OK);
    ASSERT(first.received == second.received && first.request.id == second.request.id);
    ASSERT(first.request.method == second.request.method);
    ASSERT(bytes_equal(first.request.body, second.request.body));
}

/* As a follower takes an answer. */
static void check_forwarded(struct bytes body)
{
    struct wire_rpc rpc;
    struct wire_failure failure;

    if (wire_rpc_next(&body, &rpc) == ERR_OK && rpc.failed) {
        (void)wire_failure_decode(&rpc.body, &failure);
    }
}

static void check_body(const struct wire_frame *frame)
{
    switch (frame->kind) {
    case WIRE_FRAME_HELLO:
        check_map(WIRE_MESSAGE_peer_hello, frame->body);
        return;
    case WIRE_FRAME_REFUSE:
        check_map(WIRE_MESSAGE_peer_refuse, frame->body);
        return;
    case WIRE_FRAME_FORM:
        check_map(WIRE_MESSAGE_peer_form, frame->body);
        return;
    case WIRE_FRAME_RAFT:
        check_raft(frame->body);
        return;
    case WIRE_FRAME_SNAPSHOT_OFFER:
        check_map(WIRE_MESSAGE_peer_snapshot_offer, frame->body);
        return;
    case WIRE_FRAME_SNAPSHOT_CHUNK:
        check_map(WIRE_MESSAGE_peer_snapshot_chunk, frame->body);
        return;
    case WIRE_FRAME_SNAPSHOT_REPLY:
        check_map(WIRE_MESSAGE_peer_snapshot_reply, frame->body);
        return;
    case WIRE_FRAME_SNAPSHOT_REQUEST:
        check_map(WIRE_MESSAGE_peer_snapshot_request, frame->body);
        return;
    case WIRE_FRAME_STATE:
        check_map(WIRE_MESSAGE_peer_state, frame->body);
        return;
    case WIRE_FRAME_SPACE:
        check_map(WIRE_MESSAGE_peer_space, frame->body);
        return;
    case WIRE_FRAME_FORWARD:
        check_forward(frame->body);
        return;
    case WIRE_FRAME_FORWARDED:
        check_forwarded(frame->body);
        return;
    }
    UNREACHABLE();
}

/* True when the first frame of `bytes` was taken. */
static bool check_frames(struct bytes bytes)
{
    bool taken = false;
    struct wire_frame frame;

    for (;;) {
        struct bytes before = bytes;
        if (wire_frame_next(&bytes, &frame) != ERR_OK) {
            ASSERT(bytes.size == before.size);
            return taken;
        }
        struct buffer buffer = buffer_of(encoded_memory, sizeof(encoded_memory));
        size_t start;
        ASSERT(wire_frame_begin(&buffer, &frame, &start));
        ASSERT(buffer_append(&buffer, frame.body));
        wire_frame_end(&buffer, start);
        ASSERT(buffer.size == before.size - bytes.size);
        ASSERT(memcmp(buffer.data, before.data, buffer.size) == 0);
        check_body(&frame);
        taken = true;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    (void)check_frames(bytes_of(data, size));
    check_raft(bytes_of(data, size));
    check_forward(bytes_of(data, size));
    check_forwarded(bytes_of(data, size));
    if (size < WIRE_FRAME_HEADER_SIZE || size > ROOM) {
        return 0;
    }
    memcpy(healed_memory, data, size);
    static const uint8_t magic[] = {'h', 'f', 'P', '1'};
    memcpy(healed_memory, magic, sizeof(magic));
    store_u32(healed_memory + 4, (uint32_t)size);
    healed_memory[64] = (uint8_t)(1 + healed_memory[64] % WIRE_FRAME_FORWARDED);
    memset(healed_memory + 65, 0, 3);
    store_u32(healed_memory + 68, WIRE_FRAME_VERSION);
    store_u64(healed_memory + 8, checksum(bytes_of(healed_memory + 16, size - 16), size));
    ASSERT(check_frames(bytes_of(healed_memory, size)));
    return 0;
}
