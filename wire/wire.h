/* wire/wire.h: messages of clients as values, and their MessagePack bytes.
 *
 * Clients speak MessagePack-RPC over TCP: [0, id, method, params], or with a deadline
 * [0, id, method, params, within_ms], is answered by [1, id, error or nil, result or nil];
 * [2, method, params] is a notice. Params, results and
 * errors are maps with short string keys (wire/messages.def). Nothing here allocates on behalf of
 * the caller; decoded BYTES, TEXT and LIST are borrowed from the input. Limits are checked here
 * and nowhere else: what was decoded is within them. */
#ifndef WIRE_WIRE_H
#define WIRE_WIRE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/macros.h"

enum {
    WIRE_VERSION = 1,
    WIRE_FRAME_SIZE_MAX = 1 << 20, /* Of one message of a client, or of a node to one. */
    WIRE_DEPTH_MAX = 8,            /* Of nesting; deeper is MALFORMED. */
    WIRE_LIST_ITEM_COUNT_MAX = 1000,
};

/* A list within a decoded or to be encoded message: `count` encoded items back to back. */
struct wire_items {
    struct bytes raw;
    uint32_t count;
};

#define WIRE_C_U64   uint64_t
#define WIRE_C_U32   uint32_t
#define WIRE_C_BOOL  bool
#define WIRE_C_BYTES struct bytes
#define WIRE_C_TEXT  struct bytes
#define WIRE_C_LIST  struct wire_items

/* struct wire_put { uint64_t session; ... }; one for each MESSAGE. A message without fields has
 * one unused byte, as C has no empty structures. */
#define MESSAGE(name, since)               struct wire_##name {
#define FIELD(type, name, limit, presence) WIRE_C_##type name;
#define END(name)                                                                                  \
    uint8_t unused_;                                                                               \
    }                                                                                              \
    ;
#include "wire/messages.def"
#undef MESSAGE
#undef FIELD
#undef END

/* bool wire_put_encode(const struct wire_put *, struct buffer *): appends one map; false, with
 *      nothing appended, when it does not fit. Asserts the limits.
 * enum error wire_put_decode(struct bytes *rest, struct wire_put *): takes one map off `rest`;
 *      ERR_INCOMPLETE, ERR_MALFORMED (also for a missing required field or a wrong type) or
 *      ERR_TOO_LARGE (a field beyond its limit), and then `rest` is as it was. Unknown keys are
 *      skipped: a newer client may send them. */
#define MESSAGE(name, since)                                                                       \
    MUST_USE bool wire_##name##_encode(const struct wire_##name *message, struct buffer *buffer);  \
    MUST_USE enum error wire_##name##_decode(struct bytes *rest, struct wire_##name *message);
#define FIELD(type, name, limit, presence)
#define END(name)
#include "wire/messages.def"
#undef MESSAGE
#undef FIELD
#undef END

enum wire_method {
    WIRE_METHOD_NONE = 0, /* A name that this version does not know. */
#define METHOD(number, name) WIRE_METHOD_##name = (number),
#define NOTICE(number, name) WIRE_NOTICE_##name = (number),
#include "wire/messages.def"
#undef METHOD
#undef NOTICE
};

/* "put"; "none" for WIRE_METHOD_NONE. */
const char *wire_method_name(enum wire_method method);

enum wire_rpc_type { WIRE_REQUEST = 0, WIRE_RESPONSE = 1, WIRE_NOTICE = 2 };

/* A request without a deadline. */
#define WIRE_WITHIN_NONE UINT64_MAX

/* One message's envelope. */
struct wire_rpc {
    enum wire_rpc_type type;
    uint64_t id;              /* WIRE_REQUEST and WIRE_RESPONSE. */
    enum wire_method method;  /* WIRE_REQUEST and WIRE_NOTICE. */
    struct bytes method_name; /* As it came, for the error text. */
    bool failed;              /* WIRE_RESPONSE: `body` is a failure. */
    struct bytes body;        /* The params, result or error: one map, not yet decoded. */
    uint64_t within_ms; /* WIRE_REQUEST: what was left of its deadline when it was sent; 0: nothing.
                           WIRE_WITHIN_NONE: it has none. */
};

/* Takes one whole message off `*rest`. ERR_INCOMPLETE: wait for more bytes (never asked for beyond
 * WIRE_FRAME_SIZE_MAX); ERR_MALFORMED or ERR_TOO_LARGE: close the connection, it cannot be
 * brought back into step. Borrowed from the input. */
MUST_USE enum error wire_rpc_next(struct bytes *rest, struct wire_rpc *rpc);

/* The envelope up to its body: append the encoded params, result or failure next. */
MUST_USE bool wire_request_begin(struct buffer *buffer, uint64_t id, enum wire_method method);
/* A request with a deadline: after its params comes wire_request_end_within(). */
MUST_USE bool wire_request_begin_within(struct buffer *buffer, uint64_t id,
                                        enum wire_method method);
MUST_USE bool wire_request_end_within(struct buffer *buffer, uint64_t within_ms);
MUST_USE bool wire_result_begin(struct buffer *buffer, uint64_t id);
MUST_USE bool wire_notice_begin(struct buffer *buffer, enum wire_method notice);

/* A whole response that says `failure`; its name is filled in from the code, and so is its text
 * when it has none. Asserts that the code is one that travels on the wire. */
MUST_USE bool wire_failure_response(struct buffer *buffer, uint64_t id,
                                    const struct wire_failure *failure);

/* What an envelope adds to its body at most. */
enum { WIRE_ENVELOPE_SIZE_MAX = 64 };

/* One message as text for logs and `--dump`: appends JSON such as
 * {"method":"put","session":5,"key":"a","value":"..."}. Values are shortened to 32 bytes; those
 * that are not printable UTF-8 are shown as "hex:00ff". `params` need not be valid: what cannot be
 * read ends with "malformed":true. When `buffer` is full it ends with "truncated":true between two
 * fields, or nothing is appended; what is appended is always valid. */
void wire_params_to_json(enum wire_method method, struct bytes params, struct buffer *buffer);

#endif
