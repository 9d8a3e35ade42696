/* wire/rpc.c: the envelopes of MessagePack-RPC around params, results, errors and notices. */
#include "wire/wire.h"

#include "base/assert.h"
#include "wire/internal.h"

/* [1, id, nil, ...] with the longest id is shorter than a request with the longest method. */
enum {
    ID_SIZE_MAX = 9,
    WITHIN_SIZE_MAX = 9,
    NAME_SIZE = 24, /* Of a method's name, with its final zero. */
};
#define METHOD(number, name)                                                                       \
    _Static_assert(2 + ID_SIZE_MAX + 1 + sizeof(#name) + WITHIN_SIZE_MAX <=                        \
                       WIRE_ENVELOPE_SIZE_MAX,                                                     \
                   "it fits");                                                                     \
    _Static_assert(sizeof(#name) <= NAME_SIZE, "a name with its zero fits");
#define NOTICE(number, name) METHOD(number, name)
#include "wire/messages.def"
#undef METHOD
#undef NOTICE

const char *wire_method_name(enum wire_method method)
{
    switch (method) {
    case WIRE_METHOD_NONE:
        return "none";
#define METHOD(number, name)                                                                       \
    case WIRE_METHOD_##name:                                                                       \
        return #name;
#define NOTICE(number, name)                                                                       \
    case WIRE_NOTICE_##name:                                                                       \
        return #name;
#include "wire/messages.def"
#undef METHOD
#undef NOTICE
    }
    UNREACHABLE();
}

static const struct {
    char text[NAME_SIZE];
    uint8_t size;
    enum wire_rpc_type type;
    enum wire_method method;
} names[] = {
#define METHOD(number, title) {#title, sizeof(#title) - 1, WIRE_REQUEST, WIRE_METHOD_##title},
#define NOTICE(number, title) {#title, sizeof(#title) - 1, WIRE_NOTICE, WIRE_NOTICE_##title},
#include "wire/messages.def"
#undef METHOD
#undef NOTICE
};

/* A notice is none of the methods, nor a method a notice. */
static enum wire_method find_method(enum wire_rpc_type type, struct bytes name)
{
    ASSERT(type == WIRE_REQUEST || type == WIRE_NOTICE);
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        if (names[i].size == name.size && names[i].type == type &&
            memcmp(names[i].text, name.data, name.size) == 0) {
            return names[i].method;
        }
    }
    return WIRE_METHOD_NONE;
}

static enum error take_number(struct wire_cursor *cursor, uint64_t *number)
{
    struct wire_token token;
    enum error error = wire_token_next(cursor, &token);

    if (error != ERR_OK) {
        return error;
    }
    if (token.kind != WIRE_TOKEN_NUMBER) {
        return ERR_MALFORMED;
    }
    *number = token.number;
    return ERR_OK;
}

/* Of elements; a request may have one more, its deadline. */
static bool is_length_of(enum wire_rpc_type type, uint64_t length)
{
    switch (type) {
    case WIRE_REQUEST:
        return length == 4 || length == 5;
    case WIRE_RESPONSE:
        return length == 4;
    case WIRE_NOTICE:
        return length == 3;
    }
    UNREACHABLE();
}

/* The array's header and its first element, which say what kind of message it is. */
static enum error take_type(struct wire_cursor *cursor, struct wire_rpc *rpc, bool *has_within)
{
    struct wire_token array;
    uint64_t type;
    enum error error = wire_token_next(cursor, &array);

    if (error != ERR_OK) {
        return error;
    }
    if (array.kind != WIRE_TOKEN_ARRAY || array.number < 3 || array.number > 5) {
        return ERR_MALFORMED;
    }
    error = take_number(cursor, &type);
    if (error != ERR_OK) {
        return error;
    }
    if (type > WIRE_NOTICE || !is_length_of((enum wire_rpc_type)type, array.number)) {
        return ERR_MALFORMED;
    }
    rpc->type = (enum wire_rpc_type)type;
    *has_within = array.number == 5;
    return ERR_OK;
}

static enum error take_method(struct wire_cursor *cursor, struct wire_rpc *rpc)
{
    struct wire_token name;
    enum error error = wire_token_next(cursor, &name);

    if (error != ERR_OK) {
        return error;
    }
    if (name.kind != WIRE_TOKEN_TEXT) {
        return ERR_MALFORMED;
    }
    if (name.bytes.size > WIRE_METHOD_NAME_SIZE_MAX) {
        return ERR_TOO_LARGE;
    }
    if (!wire_is_utf8(name.bytes)) {
        return ERR_MALFORMED;
    }
    rpc->method_name = name.bytes;
    rpc->method = find_method(rpc->type, name.bytes);
    return ERR_OK;
}

/* One map, or, of a response, a nil that stands for "not this one". */
static enum error take_body(struct wire_cursor *cursor, struct bytes *body, bool *is_nil)
{
    struct wire_token first;
    size_t begin = cursor->at;
    enum error error = wire_object_skip(cursor, WIRE_DEPTH_MAX - 1, &first);

    if (error != ERR_OK) {
        return error;
    }
    *is_nil = first.kind == WIRE_TOKEN_NIL;
    *body = wire_cursor_since(cursor, begin);
    return *is_nil || first.kind == WIRE_TOKEN_MAP ? ERR_OK : ERR_MALFORMED;
}

static enum error take_params(struct wire_cursor *cursor, struct wire_rpc *rpc)
{
    bool is_nil;
    enum error error = take_method(cursor, rpc);

    if (error != ERR_OK) {
        return error;
    }
    error = take_body(cursor, &rpc->body, &is_nil);
    if (error != ERR_OK) {
        return error;
    }
    return is_nil ? ERR_MALFORMED : ERR_OK;
}

/* Exactly one of the error and the result is nil. */
static enum error take_answer(struct wire_cursor *cursor, struct wire_rpc *rpc)
{
    struct bytes failure;
    struct bytes result;
    bool no_failure;
    bool no_result;
    enum error error = take_body(cursor, &failure, &no_failure);

    if (error != ERR_OK) {
        return error;
    }
    error = take_body(cursor, &result, &no_result);
    if (error != ERR_OK) {
        return error;
    }
    if (no_failure == no_result) {
        return ERR_MALFORMED;
    }
    rpc->failed = no_result;
    rpc->body = no_result ? failure : result;
    return ERR_OK;
}

static enum error take_rest(struct wire_cursor *cursor, struct wire_rpc *rpc)
{
    if (rpc->type == WIRE_NOTICE) {
        return take_params(cursor, rpc);
    }
    enum error error = take_number(cursor, &rpc->id);
    if (error != ERR_OK) {
        return error;
    }
    return rpc->type == WIRE_REQUEST ? take_params(cursor, rpc) : take_answer(cursor, rpc);
}

enum error wire_rpc_next(struct bytes *rest, struct wire_rpc *rpc)
{
    struct wire_cursor cursor = wire_cursor_of(*rest);
    bool has_within = false;

    *rpc = (struct wire_rpc){.method = WIRE_METHOD_NONE, .within_ms = WIRE_WITHIN_NONE};
    enum error error = take_type(&cursor, rpc, &has_within);
    if (error != ERR_OK) {
        return error;
    }
    error = take_rest(&cursor, rpc);
    if (error == ERR_OK && has_within) {
        error = take_number(&cursor, &rpc->within_ms);
    }
    if (error != ERR_OK) {
        return error;
    }
    ASSERT_VALUES(cursor.at <= WIRE_FRAME_SIZE_MAX, cursor.at, WIRE_FRAME_SIZE_MAX);
    *rest = bytes_skip(*rest, cursor.at);
    return ERR_OK;
}

/* --- Beginning envelopes --------------------------------------------------------------------- */

/* All or nothing: `fits` is whether everything since `size` was written. */
static bool keep(struct buffer *buffer, size_t size, bool fits)
{
    ASSERT_VALUES(size <= buffer->size, size, buffer->size);
    if (!fits) {
        buffer->size = size;
    }
    return fits;
}

static bool pack_name(struct buffer *buffer, enum wire_method method)
{
    return wire_pack_text(buffer, bytes_of_text(wire_method_name(method)));
}

static bool request_begin(struct buffer *buffer, uint64_t id, enum wire_method method,
                          uint32_t length)
{
    ASSERT(method != WIRE_METHOD_NONE && method < WIRE_NOTICE_granted);
    size_t size = buffer->size;

    return keep(buffer, size,
                wire_pack_array(buffer, length) && wire_pack_number(buffer, WIRE_REQUEST) &&
                    wire_pack_number(buffer, id) && pack_name(buffer, method));
}

bool wire_request_begin(struct buffer *buffer, uint64_t id, enum wire_method method)
{
    return request_begin(buffer, id, method, 4);
}

bool wire_request_begin_within(struct buffer *buffer, uint64_t id, enum wire_method method)
{
    return request_begin(buffer, id, method, 5);
}

bool wire_request_end_within(struct buffer *buffer, uint64_t within_ms)
{
    return wire_pack_number(buffer, within_ms);
}

bool wire_result_begin(struct buffer *buffer, uint64_t id)
{
    size_t size = buffer->size;

    return keep(buffer, size,
                wire_pack_array(buffer, 4) && wire_pack_number(buffer, WIRE_RESPONSE) &&
                    wire_pack_number(buffer, id) && wire_pack_nil(buffer));
}

bool wire_notice_begin(struct buffer *buffer, enum wire_method notice)
{
    ASSERT_VALUES(notice >= WIRE_NOTICE_granted, notice, WIRE_NOTICE_granted);
    size_t size = buffer->size;

    return keep(buffer, size,
                wire_pack_array(buffer, 3) && wire_pack_number(buffer, WIRE_NOTICE) &&
                    pack_name(buffer, notice));
}

bool wire_failure_response(struct buffer *buffer, uint64_t id, const struct wire_failure *failure)
{
    enum error error = error_from_number(failure->code);
    ASSERT_VALUES(error != ERR_OK && (unsigned)error == failure->code, error, failure->code);
    size_t size = buffer->size;
    struct wire_failure named = *failure;

    named.name = bytes_of_text(error_name(error));
    if (named.text.size == 0) {
        named.text = bytes_of_text(error_text(error));
    }
    return keep(buffer, size,
                wire_pack_array(buffer, 4) && wire_pack_number(buffer, WIRE_RESPONSE) &&
                    wire_pack_number(buffer, id) && wire_failure_encode(&named, buffer) &&
                    wire_pack_nil(buffer));
}
