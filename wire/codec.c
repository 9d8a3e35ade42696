/* wire/codec.c: every message of messages.def to bytes and back, by one pair of functions over
 * tables. wire_<name>_encode() and wire_<name>_decode() are made at the end of the file. */
#include "wire/internal.h"

#include <string.h>

#include "base/assert.h"

enum { FIELD_COUNT_MAX = 64 }; /* Of one message: a bit each. */

/* Every number, key and limit that a table holds fits where it is stored. */
#define MESSAGE(name, since)
#define FIELD(type, name, limit, presence)                                                         \
    _Static_assert(sizeof(#name) <= WIRE_KEY_SIZE, "a key with its zero fits");                    \
    _Static_assert((limit) <= WIRE_FRAME_SIZE_MAX - 4096, "a field leaves room for the rest");
#define END(name) _Static_assert(sizeof(struct wire_##name) <= UINT16_MAX, "offsets are 16 bits");
#include "wire/messages.def"
#undef MESSAGE
#undef FIELD
#undef END

_Static_assert(WIRE_LIST_ITEM_COUNT_MAX * 2 * (2 * 8 + 1) < WIRE_TOKEN_COUNT_MAX,
               "two full lists of items with eight fields each are within the tokens of a message");

static uint64_t load_number(const struct wire_field *field, const uint8_t *at)
{
    if (field->type == WIRE_TYPE_U64) {
        uint64_t value;
        memcpy(&value, at, sizeof(value));
        return value;
    }
    if (field->type == WIRE_TYPE_U32) {
        uint32_t value;
        memcpy(&value, at, sizeof(value));
        return value;
    }
    ASSERT(field->type == WIRE_TYPE_BOOL);
    bool value;
    memcpy(&value, at, sizeof(value));
    return value;
}

static struct bytes load_bytes(const uint8_t *at)
{
    struct bytes value;

    memcpy(&value, at, sizeof(value));
    return value;
}

static struct wire_items load_items(const uint8_t *at)
{
    struct wire_items value;

    memcpy(&value, at, sizeof(value));
    return value;
}

/* What an absent field means: 0, false or empty. */
static bool is_default(const struct wire_field *field, const uint8_t *at)
{
    switch ((enum wire_type)field->type) {
    case WIRE_TYPE_U64:
    case WIRE_TYPE_U32:
    case WIRE_TYPE_BOOL:
        return load_number(field, at) == 0;
    case WIRE_TYPE_BYTES:
    case WIRE_TYPE_TEXT:
        return load_bytes(at).size == 0;
    case WIRE_TYPE_LIST:
        return load_items(at).count == 0;
    }
    UNREACHABLE();
}

static bool is_written(const struct wire_field *field, const uint8_t *base)
{
    return field->presence != WIRE_OPTIONAL || !is_default(field, base + field->offset);
}

static bool encode_items(const struct wire_field *field, const uint8_t *at, struct buffer *buffer)
{
    struct wire_items items = load_items(at);

    ASSERT_VALUES(items.count <= field->limit, items.count, field->limit);
    ASSERT_VALUES(items.raw.size >= items.count, items.raw.size, items.count);
    ASSERT((items.count == 0) == (items.raw.size == 0));
    return wire_pack_array(buffer, items.count) && buffer_append(buffer, items.raw);
}

static bool encode_value(const struct wire_field *field, const uint8_t *at, struct buffer *buffer)
{
    switch ((enum wire_type)field->type) {
    case WIRE_TYPE_U64:
    case WIRE_TYPE_U32:
        return wire_pack_number(buffer, load_number(field, at));
    case WIRE_TYPE_BOOL:
        return wire_pack_bool(buffer, load_number(field, at) != 0);
    case WIRE_TYPE_BYTES:
        ASSERT_VALUES(load_bytes(at).size <= field->limit, load_bytes(at).size, field->limit);
        return wire_pack_bytes(buffer, load_bytes(at));
    case WIRE_TYPE_TEXT:
        ASSERT_VALUES(load_bytes(at).size <= field->limit, load_bytes(at).size, field->limit);
        return wire_pack_text(buffer, load_bytes(at));
    case WIRE_TYPE_LIST:
        return encode_items(field, at, buffer);
    }
    UNREACHABLE();
}

bool wire_message_encode(const struct wire_message *message, const void *from,
                         struct buffer *buffer)
{
    ASSERT(from != NULL);
    const uint8_t *base = from;
    size_t size = buffer->size;
    uint32_t count = 0;

    for (uint32_t i = 0; i < message->field_count; i++) {
        count += is_written(&message->fields[i], base) ? 1 : 0;
    }
    bool fits = wire_pack_map(buffer, count);
    for (uint32_t i = 0; fits && i < message->field_count; i++) {
        const struct wire_field *field = &message->fields[i];

        if (is_written(field, base)) {
            fits = wire_pack_text(buffer, bytes_of(field->key, field->key_size)) &&
                   encode_value(field, base + field->offset, buffer);
        }
    }
    if (!fits) {
        buffer->size = size;
    }
    return fits;
}

/* --- Decoding -------------------------------------------------------------------------------- */

static enum error decode_number(const struct wire_field *field, const struct wire_token *token,
                                uint8_t *at)
{
    if (token->kind != WIRE_TOKEN_NUMBER) {
        return ERR_MALFORMED;
    }
    if (field->type == WIRE_TYPE_U64) {
        memcpy(at, &token->number, sizeof(token->number));
        return ERR_OK;
    }
    ASSERT(field->type == WIRE_TYPE_U32);
    if (token->number > UINT32_MAX) {
        return ERR_TOO_LARGE;
    }
    uint32_t value = (uint32_t)token->number;
    memcpy(at, &value, sizeof(value));
    return ERR_OK;
}

static enum error decode_bool(const struct wire_token *token, uint8_t *at)
{
    if (token->kind != WIRE_TOKEN_BOOL) {
        return ERR_MALFORMED;
    }
    bool value = token->number != 0;
    memcpy(at, &value, sizeof(value));
    return ERR_OK;
}

/* BYTES may come as bin or as str, because many languages have one type for both; TEXT only as
 * str, and it is UTF-8, so that log lines and JSON made of it are too. */
static enum error decode_bytes(const struct wire_field *field, const struct wire_token *token,
                               uint8_t *at)
{
    bool is_text = token->kind == WIRE_TOKEN_TEXT;

    if (!is_text && (field->type == WIRE_TYPE_TEXT || token->kind != WIRE_TOKEN_BYTES)) {
        return ERR_MALFORMED;
    }
    if (token->bytes.size > field->limit) {
        return ERR_TOO_LARGE;
    }
    if (field->presence == WIRE_FILLED && token->bytes.size == 0) {
        return ERR_MALFORMED;
    }
    if (field->type == WIRE_TYPE_TEXT && !wire_is_utf8(token->bytes)) {
        return ERR_MALFORMED;
    }
    memcpy(at, &token->bytes, sizeof(token->bytes));
    return ERR_OK;
}

static enum error decode_items(const struct wire_field *field, const struct wire_token *token,
                               struct wire_cursor *cursor, uint8_t *at)
{
    if (token->kind != WIRE_TOKEN_ARRAY) {
        return ERR_MALFORMED;
    }
    if (token->number > field->limit) {
        return ERR_TOO_LARGE;
    }
    size_t begin = cursor->at;
    for (uint64_t i = 0; i < token->number; i++) {
        struct wire_token item;
        enum error error = wire_object_skip(cursor, WIRE_DEPTH_MAX - 2, &item);
        if (error != ERR_OK) {
            return error;
        }
        if (item.kind != WIRE_TOKEN_MAP) {
            return ERR_MALFORMED;
        }
    }
    struct wire_items items = {.raw = wire_cursor_since(cursor, begin),
                               .count = (uint32_t)token->number};
    memcpy(at, &items, sizeof(items));
    return ERR_OK;
}

static enum error decode_value(const struct wire_field *field, struct wire_cursor *cursor,
                               uint8_t *at)
{
    struct wire_token token;
    enum error error = wire_token_next(cursor, &token);

    if (error != ERR_OK) {
        return error;
    }
    switch ((enum wire_type)field->type) {
    case WIRE_TYPE_U64:
    case WIRE_TYPE_U32:
        return decode_number(field, &token, at);
    case WIRE_TYPE_BOOL:
        return decode_bool(&token, at);
    case WIRE_TYPE_BYTES:
    case WIRE_TYPE_TEXT:
        return decode_bytes(field, &token, at);
    case WIRE_TYPE_LIST:
        return decode_items(field, &token, cursor, at);
    }
    UNREACHABLE();
}

/* The number of the field with this key, or field_count. Senders keep the order of messages.def, so
 * the first comparison, at `expected`, nearly always hits. */
static uint32_t find_field(const struct wire_message *message, struct bytes key, uint32_t expected)
{
    ASSERT_VALUES(expected <= message->field_count, expected, message->field_count);

    for (uint32_t i = 0; i < message->field_count; i++) {
        uint32_t at = expected + i;
        at = at >= message->field_count ? at - message->field_count : at;
        const struct wire_field *field = &message->fields[at];

        if (key.size == field->key_size && memcmp(key.data, field->key, key.size) == 0) {
            return at;
        }
    }
    return message->field_count;
}

static enum error decode_pair(const struct wire_message *message, struct wire_cursor *cursor,
                              uint64_t *seen, uint32_t *expected, uint8_t *base)
{
    struct wire_token key;
    enum error error = wire_token_next(cursor, &key);

    if (error != ERR_OK) {
        return error;
    }
    if (key.kind != WIRE_TOKEN_TEXT) {
        return ERR_MALFORMED;
    }
    uint32_t at = find_field(message, key.bytes, *expected);
    if (at == message->field_count) {
        struct wire_token ignored;
        return wire_object_skip(cursor, WIRE_DEPTH_MAX - 1, &ignored);
    }
    if ((*seen & UINT64_C(1) << at) != 0) {
        return ERR_MALFORMED;
    }
    *seen |= UINT64_C(1) << at;
    *expected = at + 1;
    return decode_value(&message->fields[at], cursor, base + message->fields[at].offset);
}

static bool has_required(const struct wire_message *message, uint64_t seen)
{
    for (uint32_t i = 0; i < message->field_count; i++) {
        if (message->fields[i].presence != WIRE_OPTIONAL && (seen & UINT64_C(1) << i) == 0) {
            return false;
        }
    }
    return true;
}

enum error wire_message_decode(const struct wire_message *message, struct bytes *rest, void *to)
{
    ASSERT_VALUES(message->field_count <= FIELD_COUNT_MAX, message->field_count, FIELD_COUNT_MAX);
    struct wire_cursor cursor = wire_cursor_of(*rest);
    struct wire_token map;
    uint64_t seen = 0;
    uint32_t expected = 0;
    enum error error = wire_token_next(&cursor, &map);

    if (error != ERR_OK) {
        return error;
    }
    if (map.kind != WIRE_TOKEN_MAP) {
        return ERR_MALFORMED;
    }
    memset(to, 0, message->size);
    for (uint64_t i = 0; i < map.number; i++) {
        error = decode_pair(message, &cursor, &seen, &expected, to);
        if (error != ERR_OK) {
            return error;
        }
    }
    if (!has_required(message, seen)) {
        return ERR_MALFORMED;
    }
    *rest = bytes_skip(*rest, cursor.at);
    return ERR_OK;
}

/* --- Tables ---------------------------------------------------------------------------------- */

/* A function for each message, because only within one can `self` name its structure for the
 * offsets of the fields. The last row is never read: it lets a message have no fields. */
/* clang-format off */
#define MESSAGE(title, since)                                                                      \
    static const struct wire_message *table_of_##title(void)                                       \
    {                                                                                              \
        typedef struct wire_##title self;                                                          \
        static const char name[] = #title;                                                         \
        static const struct wire_field fields[] = {
#define FIELD(kind, name, maximum, must)                                                           \
            {.key = #name,                                                                         \
             .key_size = sizeof(#name) - 1,                                                        \
             .type = WIRE_TYPE_##kind,                                                             \
             .presence = WIRE_##must,                                                              \
             .offset = offsetof(self, name),                                                       \
             .limit = (maximum)},
#define END(title)                                                                                 \
            {.offset = offsetof(self, unused_)},                                                   \
        };                                                                                         \
        _Static_assert(COUNT_OF(fields) - 1 <= FIELD_COUNT_MAX, "a bit for each field");           \
        static const struct wire_message message = {.name = name,                                  \
                                                    .fields = fields,                              \
                                                    .field_count = COUNT_OF(fields) - 1,           \
                                                    .size = sizeof(self)};                         \
        return &message;                                                                           \
    }                                                                                              \
    bool wire_##title##_encode(const struct wire_##title *message, struct buffer *buffer)          \
    {                                                                                              \
        return wire_message_encode(table_of_##title(), message, buffer);                           \
    }                                                                                              \
    enum error wire_##title##_decode(struct bytes *rest, struct wire_##title *message)             \
    {                                                                                              \
        return wire_message_decode(table_of_##title(), rest, message);                             \
    }
/* clang-format on */
#include "wire/messages.def"
#undef MESSAGE
#undef FIELD
#undef END

const struct wire_message *wire_message_of(enum wire_message_id id)
{
    switch (id) {
#define MESSAGE(name, since)                                                                       \
    case WIRE_MESSAGE_##name:                                                                      \
        return table_of_##name();
#define FIELD(type, name, limit, presence)
#define END(name)
#include "wire/messages.def"
#undef MESSAGE
#undef FIELD
#undef END
    case WIRE_MESSAGE_COUNT:
        break;
    }
    UNREACHABLE();
}

const struct wire_message *wire_message_of_method(enum wire_method method)
{
    switch (method) {
    case WIRE_METHOD_NONE:
        return NULL;
#define METHOD(number, name)                                                                       \
    case WIRE_METHOD_##name:                                                                       \
        return table_of_##name();
#define NOTICE(number, name)                                                                       \
    case WIRE_NOTICE_##name:                                                                       \
        return table_of_##name();
#include "wire/messages.def"
#undef METHOD
#undef NOTICE
    }
    UNREACHABLE();
}
