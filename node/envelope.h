/* node/envelope.h: what this project puts into the payload of a log entry.
 *
 *     0        1         2          4          8          16         24
 *     | method | version | reserved | reserved | log_ms   | session  | sequence | params ...
 *     | u8     | u8      | u16      | u32      | u64      | u64      | u64      | as they came
 *
 * Little endian. `method` is a number of wire/messages.def, or one of the leader's own commands.
 * Params are the client's bytes, not decoded and encoded again. */
#ifndef NODE_ENVELOPE_H
#define NODE_ENVELOPE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/macros.h"
#include "wire/wire.h"

enum {
    ENVELOPE_SIZE = 32,
    ENVELOPE_VERSION = 1,
    /* The leader's own commands; numbers of methods stay below. */
    ENVELOPE_TICK = 200,  /* No params: cluster time goes on, what is due ends. Also in no-ops. */
    ENVELOPE_RENEW = 201, /* Params: session ids, u64 each, little endian. */
};

struct envelope {
    uint8_t method;
    uint64_t log_ms;   /* Cluster time, stamped by the leader; never runs back along the log. */
    uint64_t session;  /* 0: a request on its own. */
    uint64_t sequence; /* Of the session, from 1; 0 without a session. */
    struct bytes params;
};

void envelope_encode(uint8_t to[ENVELOPE_SIZE], const struct envelope *envelope);

/* False unless `payload` holds a whole envelope of a known version. Borrowed from `payload`. */
MUST_USE bool envelope_decode(struct bytes payload, struct envelope *envelope);

#endif
