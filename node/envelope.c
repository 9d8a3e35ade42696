/* node/envelope.c: the fixed head of every payload of the log. */
#include "node/envelope.h"

#include "base/assert.h"

void envelope_encode(uint8_t to[ENVELOPE_SIZE], const struct envelope *envelope)
{
    ASSERT(envelope->method != 0);
    if (envelope->session == 0) {
        ASSERT_VALUES(envelope->sequence == 0, envelope->method, envelope->sequence);
    }
    memset(to, 0, ENVELOPE_SIZE);
    to[0] = envelope->method;
    to[1] = ENVELOPE_VERSION;
    store_u64(to + 8, envelope->log_ms);
    store_u64(to + 16, envelope->session);
    store_u64(to + 24, envelope->sequence);
}

bool envelope_decode(struct bytes payload, struct envelope *envelope)
{
    if (payload.size < ENVELOPE_SIZE || payload.data[0] == 0 ||
        payload.data[1] != ENVELOPE_VERSION) {
        return false;
    }
    *envelope = (struct envelope){
        .method = payload.data[0],
        .log_ms = load_u64(payload.data + 8),
        .session = load_u64(payload.data + 16),
        .sequence = load_u64(payload.data + 24),
        .params = bytes_skip(payload, ENVELOPE_SIZE),
    };
    return true;
}
