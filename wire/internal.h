/* wire/internal.h: private to wire/: MessagePack tokens, and the tables made from messages.def.
 *
 * MessagePack is read one token at a time, without recursion and without allocation. A cursor never
 * looks beyond its input, and says ERR_TOO_LARGE as soon as a length or a count announces more than
 * WIRE_FRAME_SIZE_MAX, before the bytes have come. */
#ifndef WIRE_INTERNAL_H
#define WIRE_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/macros.h"
#include "wire/wire.h"

enum {
    /* Tokens of one message. An unfinished message is read again from its beginning whenever more
     * of it arrives; this bounds what a peer that sends byte by byte can cost. */
    WIRE_TOKEN_COUNT_MAX = 1 << 16,
    WIRE_METHOD_NAME_SIZE_MAX = 64, /* Of one that comes in; ours are far shorter. */
};

/* --- Tokens (msgpack.c) ---------------------------------------------------------------------- */

enum wire_token_kind {
    WIRE_TOKEN_NIL,
    WIRE_TOKEN_BOOL,
    WIRE_TOKEN_NUMBER,   /* Not negative, in whatever width it came. */
    WIRE_TOKEN_NEGATIVE, /* No field takes one. */
    WIRE_TOKEN_FLOAT,    /* Nor this. */
    WIRE_TOKEN_TEXT,     /* The str family; not checked for UTF-8. */
    WIRE_TOKEN_BYTES,    /* The bin family. */
    WIRE_TOKEN_EXTENSION,
    WIRE_TOKEN_ARRAY, /* `number` items follow. */
    WIRE_TOKEN_MAP,   /* `number` keys and values follow. */
};

struct wire_token {
    enum wire_token_kind kind;
    uint64_t number;    /* The value, 0 or 1 of a BOOL, or the count of a container. */
    struct bytes bytes; /* Of TEXT, BYTES and EXTENSION (with its type byte); borrowed. */
};

struct wire_cursor {
    struct bytes input;
    size_t at; /* Bytes taken so far. */
    uint32_t tokens_left;
};

/* At the beginning of a message; bytes beyond WIRE_FRAME_SIZE_MAX are never looked at. */
struct wire_cursor wire_cursor_of(struct bytes input);

/* Takes one token: of a container its header alone. ERR_INCOMPLETE, ERR_MALFORMED, ERR_TOO_LARGE;
 * the cursor is then of no further use. */
MUST_USE enum error wire_token_next(struct wire_cursor *cursor, struct wire_token *token);

/* Takes one whole object, with all that is nested in it to at most `depth_max` levels of arrays and
 * maps; `*first` is its first token. Errors as above; deeper is ERR_MALFORMED. */
MUST_USE enum error wire_object_skip(struct wire_cursor *cursor, uint32_t depth_max,
                                     struct wire_token *first);

/* What lies between an earlier position and the present one. */
struct bytes wire_cursor_since(const struct wire_cursor *cursor, size_t at);

/* --- Packing (msgpack.c): each appends one token, or nothing and returns false. --------------- */

MUST_USE bool wire_pack_nil(struct buffer *buffer);
MUST_USE bool wire_pack_bool(struct buffer *buffer, bool value);
MUST_USE bool wire_pack_number(struct buffer *buffer, uint64_t value);
MUST_USE bool wire_pack_text(struct buffer *buffer, struct bytes text);
MUST_USE bool wire_pack_bytes(struct buffer *buffer, struct bytes bytes);
MUST_USE bool wire_pack_array(struct buffer *buffer, uint32_t count);
MUST_USE bool wire_pack_map(struct buffer *buffer, uint32_t count);

/* --- Text (utf8.c) --------------------------------------------------------------------------- */

/* UTF-8 as RFC 3629 has it: no overlong forms, no surrogates, nothing above U+10FFFF. */
bool wire_is_utf8(struct bytes bytes);

/* The same, and no control characters. */
bool wire_is_printable(struct bytes bytes);

/* --- Tables (codec.c) ------------------------------------------------------------------------ */

enum wire_type {
    WIRE_TYPE_U64,
    WIRE_TYPE_U32,
    WIRE_TYPE_BOOL,
    WIRE_TYPE_BYTES,
    WIRE_TYPE_TEXT,
    WIRE_TYPE_LIST,
};

enum wire_presence { WIRE_OPTIONAL, WIRE_REQUIRED, WIRE_FILLED };

enum { WIRE_KEY_SIZE = 16 }; /* Of a key, with its final zero. */

struct wire_field {
    char key[WIRE_KEY_SIZE];
    uint8_t key_size;
    uint8_t type;     /* enum wire_type */
    uint8_t presence; /* enum wire_presence */
    uint16_t offset;  /* In the structure of the message. */
    uint32_t limit;
};

struct wire_message {
    const char *name;
    const struct wire_field *fields;
    uint32_t field_count;
    size_t size; /* Of the structure. */
};

enum wire_message_id {
#define MESSAGE(name, since) WIRE_MESSAGE_##name,
#define FIELD(type, name, limit, presence)
#define END(name)
#include "wire/messages.def"
#undef MESSAGE
#undef FIELD
#undef END
    WIRE_MESSAGE_COUNT,
};

const struct wire_message *wire_message_of(enum wire_message_id id);

/* The params of a method or notice; NULL for WIRE_METHOD_NONE. */
const struct wire_message *wire_message_of_method(enum wire_method method);

/* What wire_<name>_encode() and wire_<name>_decode() do for the structure at `from` or `to`. */
MUST_USE bool wire_message_encode(const struct wire_message *message, const void *from,
                                  struct buffer *buffer);
MUST_USE enum error wire_message_decode(const struct wire_message *message, struct bytes *rest,
                                        void *to);

#endif
