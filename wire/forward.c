/* wire/forward.c: requests of clients that a follower passes on to the leader. */
#include "wire/frame.h"

#include "base/assert.h"

enum { RECEIVED_SIZE = 8 };

bool wire_forward_begin(struct buffer *buffer, uint64_t received, uint64_t id,
                        enum wire_method method)
{
    size_t size = buffer->size;
    uint8_t *to = buffer_extend(buffer, RECEIVED_SIZE);

    if (to == NULL) {
        return false;
    }
    store_u64(to, received);
    if (!wire_request_begin(buffer, id, method)) {
        buffer->size = size;
        return false;
    }
    ASSERT_VALUES(buffer->size - size <= WIRE_FORWARD_HEADER_SIZE, size, buffer->size);
    return true;
}

enum error wire_forward_decode(struct bytes body, struct wire_forward *forward)
{
    ASSERT(body.data != NULL || body.size == 0);
    if (body.size < RECEIVED_SIZE) {
        return ERR_MALFORMED;
    }
    struct bytes rest = bytes_skip(body, RECEIVED_SIZE);

    forward->received = load_u64(body.data);
    if (wire_rpc_next(&rest, &forward->request) != ERR_OK || rest.size != 0 ||
        forward->request.type != WIRE_REQUEST || forward->request.method == WIRE_METHOD_NONE) {
        return ERR_MALFORMED;
    }
    return ERR_OK;
}
