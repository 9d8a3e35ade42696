/* wire/msgpack.c: the one door to msgpack-c.
 *
 * Its parser comes as a template (<msgpack/unpack_template.h>) that calls back for every token. It
 * is made here with callbacks that store the token and with a stack of one: a container's callback
 * refuses to go in, which leaves the parser right behind the header. So msgpack-c reads the bytes
 * of every token, nothing is allocated, and nesting is counted here, where depth and lengths have
 * limits. (msgpack_unpack_next() would allocate a zone for each message.) */
#include "wire/internal.h"

#include <string.h>

/* The template's one assert() repeats what wire_token_next() asserts before the call. */
#define NDEBUG
#define MSGPACK_EMBED_STACK_SIZE 1
#include <msgpack/pack.h>
#include <msgpack/unpack.h>
#include <msgpack/unpack_define.h>

#include "base/assert.h"

/* msgpack-c's verdicts, and ours in a callback. */
enum { PARSE_CONTAINER = -100, PARSE_MALFORMED = -1, PARSE_INCOMPLETE = 0, PARSE_DONE = 1 };

typedef uint8_t parser_object; /* The template wants a value for each object; ours are tokens. */

static int set_number(struct wire_token *token, uint64_t value)
{
    token->kind = WIRE_TOKEN_NUMBER;
    token->number = value;
    return 0;
}

static int set_signed(struct wire_token *token, int64_t value)
{
    if (value >= 0) {
        return set_number(token, (uint64_t)value);
    }
    token->kind = WIRE_TOKEN_NEGATIVE;
    return 0;
}

static int set_kind(struct wire_token *token, enum wire_token_kind kind, uint64_t number)
{
    token->kind = kind;
    token->number = number;
    return 0;
}

static int set_bytes(struct wire_token *token, enum wire_token_kind kind, struct bytes bytes)
{
    token->kind = kind;
    token->bytes = bytes;
    return 0;
}

static inline parser_object parser_root(struct wire_token **token)
{
    (void)token; /* Not set yet. */
    return 0;
}

#define PARSER_NUMBER(name, type, set)                                                             \
    static inline int parser_##name(struct wire_token **token, type value, parser_object *object)   \
    {                                                                                              \
        *object = 0;                                                                               \
        return set(*token, value);                                                                  \
    }
PARSER_NUMBER(uint8, uint8_t, set_number)
PARSER_NUMBER(uint16, uint16_t, set_number)
PARSER_NUMBER(uint32, uint32_t, set_number)
PARSER_NUMBER(uint64, uint64_t, set_number)
PARSER_NUMBER(int8, int8_t, set_signed)
PARSER_NUMBER(int16, int16_t, set_signed)
PARSER_NUMBER(int32, int32_t, set_signed)
PARSER_NUMBER(int64, int64_t, set_signed)
#undef PARSER_NUMBER

static inline int parser_float(struct wire_token **token, float value, parser_object *object)
{
    (void)value;
    *object = 0;
    return set_kind(*token, WIRE_TOKEN_FLOAT, 0);
}

static inline int parser_double(struct wire_token **token, double value, parser_object *object)
{
    (void)value;
    *object = 0;
    return set_kind(*token, WIRE_TOKEN_FLOAT, 0);
}

static inline int parser_nil(struct wire_token **token, parser_object *object)
{
    *object = 0;
    return set_kind(*token, WIRE_TOKEN_NIL, 0);
}

static inline int parser_true(struct wire_token **token, parser_object *object)
{
    *object = 0;
    return set_kind(*token, WIRE_TOKEN_BOOL, 1);
}

static inline int parser_false(struct wire_token **token, parser_object *object)
{
    *object = 0;
    return set_kind(*token, WIRE_TOKEN_BOOL, 0);
}

static inline int parser_array(struct wire_token **token, unsigned count, parser_object *object)
{
    *object = 0;
    (void)set_kind(*token, WIRE_TOKEN_ARRAY, count);
    return PARSE_CONTAINER;
}

static inline int parser_map(struct wire_token **token, unsigned count, parser_object *object)
{
    *object = 0;
    (void)set_kind(*token, WIRE_TOKEN_MAP, count);
    return PARSE_CONTAINER;
}

/* The template never gets inside a container, so it never ends an item. */
static inline int parser_array_item(struct wire_token **token, const parser_object *array,
                                    parser_object item)
{
    (void)token;
    (void)array;
    (void)item;
    return PARSE_MALFORMED;
}

static inline int parser_map_item(struct wire_token **token, const parser_object *map,
                                  parser_object key, parser_object value)
{
    (void)map;
    return parser_array_item(token, map, (parser_object)(key + value));
}

static inline int parser_str(struct wire_token **token, const char *base, const char *at,
                             unsigned size, parser_object *object)
{
    (void)base;
    *object = 0;
    return set_bytes(*token, WIRE_TOKEN_TEXT, bytes_of(at, size));
}

static inline int parser_bin(struct wire_token **token, const char *base, const char *at,
                             unsigned size, parser_object *object)
{
    (void)base;
    *object = 0;
    return set_bytes(*token, WIRE_TOKEN_BYTES, bytes_of(at, size));
}

/* `size` counts the type byte: 0 is a 32-bit length that ran over in the template. */
static inline int parser_ext(struct wire_token **token, const char *base, const char *at,
                             unsigned size, parser_object *object)
{
    (void)base;
    *object = 0;
    if (size == 0) {
        return PARSE_MALFORMED;
    }
    return set_bytes(*token, WIRE_TOKEN_EXTENSION, bytes_of(at, size));
}

#define msgpack_unpack_struct(name)     struct parser##name
#define msgpack_unpack_func(type, name) static inline type parser##name
#define msgpack_unpack_callback(name)   parser##name
#define msgpack_unpack_object           parser_object
#define msgpack_unpack_user             struct wire_token *
#include <msgpack/unpack_template.h>

struct wire_cursor wire_cursor_of(struct bytes input)
{
    ASSERT(input.data != NULL || input.size == 0);
    input.size = size_min(input.size, WIRE_FRAME_SIZE_MAX);
    return (struct wire_cursor){.input = input, .at = 0, .tokens_left = WIRE_TOKEN_COUNT_MAX};
}

struct bytes wire_cursor_since(const struct wire_cursor *cursor, size_t at)
{
    ASSERT_VALUES(at <= cursor->at, at, cursor->at);
    return bytes_of(cursor->input.data + at, cursor->at - at);
}

/* Why the input ended within a token, of which `trail` more bytes belong at `at`: more must come,
 * unless more could not be taken. */
static enum error incomplete(const struct wire_cursor *cursor, size_t at, size_t trail)
{
    ASSERT_VALUES(at <= cursor->input.size, at, cursor->input.size);
    if (trail > WIRE_FRAME_SIZE_MAX - at || cursor->input.size == WIRE_FRAME_SIZE_MAX) {
        return ERR_TOO_LARGE;
    }
    return ERR_INCOMPLETE;
}

/* A container of so many items could still end within the limits: each item takes a byte at
 * least. */
static bool container_fits(const struct wire_cursor *cursor, const struct wire_token *token)
{
    uint64_t count = token->kind == WIRE_TOKEN_MAP ? 2 * token->number : token->number;
    return count <= cursor->tokens_left && count <= WIRE_FRAME_SIZE_MAX - cursor->at;
}

enum error wire_token_next(struct wire_cursor *cursor, struct wire_token *token)
{
    ASSERT_VALUES(cursor->at <= cursor->input.size, cursor->at, cursor->input.size);
    ASSERT(cursor->input.size <= WIRE_FRAME_SIZE_MAX);
    struct parser_context parser;
    size_t at = cursor->at;

    if (cursor->tokens_left == 0) {
        return ERR_TOO_LARGE;
    }
    cursor->tokens_left--;
    parser_init(&parser);
    parser.user = token;
    *token = (struct wire_token){.kind = WIRE_TOKEN_NIL};
    int verdict =
        at == cursor->input.size
            ? PARSE_INCOMPLETE
            : parser_execute(&parser, (const char *)cursor->input.data, cursor->input.size, &at);
    if (verdict == PARSE_INCOMPLETE) {
        return incomplete(cursor, at, parser.trail);
    }
    if (verdict != PARSE_DONE && verdict != PARSE_CONTAINER) {
        return ERR_MALFORMED;
    }
    /* A refused container leaves the parser at the last byte of its header. */
    cursor->at = verdict == PARSE_CONTAINER ? at + 1 : at;
    ASSERT_VALUES(cursor->at <= cursor->input.size, cursor->at, cursor->input.size);
    if (verdict == PARSE_CONTAINER && !container_fits(cursor, token)) {
        return ERR_TOO_LARGE;
    }
    return ERR_OK;
}

enum error wire_object_skip(struct wire_cursor *cursor, uint32_t depth_max,
                            struct wire_token *first)
{
    ASSERT_VALUES(depth_max <= WIRE_DEPTH_MAX, depth_max, WIRE_DEPTH_MAX);
    uint64_t left[WIRE_DEPTH_MAX + 1] = {1}; /* Objects still to come on each level. */
    uint32_t depth = 0;
    struct wire_token token;
    struct wire_token *into = first;

    for (;;) {
        while (left[depth] == 0) {
            if (depth == 0) {
                return ERR_OK;
            }
            depth--;
        }
        left[depth]--;
        enum error error = wire_token_next(cursor, into);
        if (error != ERR_OK) {
            return error;
        }
        if (into->kind == WIRE_TOKEN_ARRAY || into->kind == WIRE_TOKEN_MAP) {
            if (depth == depth_max) {
                return ERR_MALFORMED;
            }
            depth++;
            left[depth] = into->kind == WIRE_TOKEN_MAP ? 2 * into->number : into->number;
        }
        into = &token;
    }
}

/* --- Packing --------------------------------------------------------------------------------- */

static int append(void *data, const char *bytes, size_t size)
{
    struct buffer *buffer = data;

    return buffer_append(buffer, bytes_of(bytes, size)) ? 0 : -1;
}

static msgpack_packer packer_of(struct buffer *buffer)
{
    return (msgpack_packer){.data = buffer, .callback = append};
}

/* Takes back a header whose body did not fit. */
static bool packed(struct buffer *buffer, size_t size, int verdict)
{
    ASSERT_VALUES(size <= buffer->size, size, buffer->size);
    if (verdict != 0) {
        buffer->size = size;
    }
    return verdict == 0;
}

bool wire_pack_nil(struct buffer *buffer)
{
    msgpack_packer packer = packer_of(buffer);
    return msgpack_pack_nil(&packer) == 0;
}

bool wire_pack_bool(struct buffer *buffer, bool value)
{
    msgpack_packer packer = packer_of(buffer);
    return (value ? msgpack_pack_true(&packer) : msgpack_pack_false(&packer)) == 0;
}

bool wire_pack_number(struct buffer *buffer, uint64_t value)
{
    msgpack_packer packer = packer_of(buffer);
    return msgpack_pack_uint64(&packer, value) == 0;
}

bool wire_pack_text(struct buffer *buffer, struct bytes text)
{
    ASSERT_VALUES(text.size <= WIRE_FRAME_SIZE_MAX, text.size, WIRE_FRAME_SIZE_MAX);
    msgpack_packer packer = packer_of(buffer);
    size_t size = buffer->size;

    return packed(buffer, size, msgpack_pack_str_with_body(&packer, text.data, text.size));
}

bool wire_pack_bytes(struct buffer *buffer, struct bytes bytes)
{
    ASSERT_VALUES(bytes.size <= WIRE_FRAME_SIZE_MAX, bytes.size, WIRE_FRAME_SIZE_MAX);
    msgpack_packer packer = packer_of(buffer);
    size_t size = buffer->size;

    return packed(buffer, size, msgpack_pack_bin_with_body(&packer, bytes.data, bytes.size));
}

bool wire_pack_array(struct buffer *buffer, uint32_t count)
{
    msgpack_packer packer = packer_of(buffer);
    return msgpack_pack_array(&packer, count) == 0;
}

bool wire_pack_map(struct buffer *buffer, uint32_t count)
{
    msgpack_packer packer = packer_of(buffer);
    return msgpack_pack_map(&packer, count) == 0;
}
