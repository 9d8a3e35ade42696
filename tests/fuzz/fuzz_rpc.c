/* tests/fuzz/fuzz_rpc.c: bytes of a client, as many messages as they hold.
 *
 * Laws: nothing outside of the input is read; what an envelope takes is taken again from its own
 * bytes; what a decoder takes, it takes again from what the encoder makes of it, field by field;
 * JSON of anything is ASCII-framed and within its buffer. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/assert.h"
#include "tests/support/wire/sample.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ROOM = 2 * WIRE_FRAME_SIZE_MAX };

static uint8_t encoded_memory[ROOM];
static uint8_t again_memory[ROOM];

static void check_round_trip(const struct wire_message *message, struct bytes body)
{
    struct buffer encoded = buffer_of(encoded_memory, ROOM);
    struct buffer again = buffer_of(again_memory, ROOM);
    union sample first;
    union sample second;
    struct bytes rest = body;
    enum error error = wire_message_decode(message, &rest, &first);

    ASSERT(error == ERR_OK || rest.size == body.size);
    if (error != ERR_OK) {
        return;
    }
    ASSERT(wire_message_encode(message, &first, &encoded));
    struct bytes bytes = buffer_bytes(&encoded);
    /* BYTES that came as a short str grow by a byte as bin. */
    ASSERT(bytes.size <= body.size + message->field_count);
    ASSERT(wire_message_decode(message, &bytes, &second) == ERR_OK);
    ASSERT(bytes.size == 0);
    ASSERT(sample_is_equal(message, &first, &second));
    ASSERT(wire_message_encode(message, &second, &again));
    ASSERT(bytes_equal(buffer_bytes(&encoded), buffer_bytes(&again)));
}

/* Every list of a message that was taken; items that are not valid are refused one by one. */
static void check_items(const struct wire_message *message, struct bytes body)
{
    union sample sample;

    if (wire_message_decode(message, &body, &sample) != ERR_OK) {
        return;
    }
    for (uint32_t i = 0; i < message->field_count; i++) {
        const struct wire_field *field = &message->fields[i];
        struct wire_items items;

        if (field->type != WIRE_TYPE_LIST) {
            continue;
        }
        memcpy(&items, (const uint8_t *)&sample + field->offset, sizeof(items));
        for (uint32_t item = 0; item < items.count; item++) {
            union sample ignored;
            check_round_trip(sample_item_of(message, field), items.raw);
            if (wire_message_decode(sample_item_of(message, field), &items.raw, &ignored) !=
                ERR_OK) {
                break;
            }
        }
    }
}

static void check_json(const struct wire_rpc *rpc)
{
    static uint8_t json_memory[4096];
    struct buffer json = buffer_of(json_memory, rpc->id % sizeof(json_memory));

    wire_params_to_json(rpc->method, rpc->body, &json);
    ASSERT(json.size <= json.capacity);
    if (json.size != 0) {
        ASSERT(json.data[0] == '{');
        ASSERT(json.data[json.size - 1] == '}');
    }
}

static void check_envelope(const struct wire_rpc *rpc)
{
    struct buffer buffer = buffer_of(encoded_memory, ROOM);
    struct wire_rpc again;
    bool fits = true;

    if (rpc->type == WIRE_RESPONSE && rpc->failed) {
        return; /* Its error is made from a structure, never from bytes. */
    }
    if (rpc->type != WIRE_RESPONSE && rpc->method == WIRE_METHOD_NONE) {
        return;
    }
    if (rpc->type == WIRE_REQUEST) {
        fits = rpc->within_ms == WIRE_WITHIN_NONE
                   ? wire_request_begin(&buffer, rpc->id, rpc->method)
                   : wire_request_begin_within(&buffer, rpc->id, rpc->method);
    } else if (rpc->type == WIRE_RESPONSE) {
        fits = wire_result_begin(&buffer, rpc->id);
    } else {
        fits = wire_notice_begin(&buffer, rpc->method);
    }
    ASSERT(fits && buffer.size <= WIRE_ENVELOPE_SIZE_MAX);
    ASSERT(buffer_append(&buffer, rpc->body));
    if (rpc->type == WIRE_REQUEST && rpc->within_ms != WIRE_WITHIN_NONE) {
        fits = wire_request_end_within(&buffer, rpc->within_ms);
        ASSERT(fits);
    }
    struct bytes bytes = buffer_bytes(&buffer);
    ASSERT(wire_rpc_next(&bytes, &again) == ERR_OK);
    ASSERT(bytes.size == 0 && again.within_ms == rpc->within_ms);
    ASSERT(again.type == rpc->type && again.id == rpc->id && again.method == rpc->method);
    ASSERT(bytes_equal(again.body, rpc->body));
}

/* The params of a method; of a response the message that its id picks. */
static const struct wire_message *message_for(const struct wire_rpc *rpc)
{
    if (rpc->type == WIRE_RESPONSE) {
        return wire_message_of((enum wire_message_id)(rpc->id % WIRE_MESSAGE_COUNT));
    }
    return wire_message_of_method(rpc->method);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes rest = bytes_of(data, size);
    struct wire_rpc rpc;

    while (rest.size != 0 && wire_rpc_next(&rest, &rpc) == ERR_OK) {
        const struct wire_message *message = message_for(&rpc);

        check_envelope(&rpc);
        check_json(&rpc);
        if (message != NULL) {
            check_round_trip(message, rpc.body);
            check_items(message, rpc.body);
        }
    }
    return 0;
}
