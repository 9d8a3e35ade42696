/* wire/json.c: one message as a line of JSON, for logs and dumps. It reads tokens, not tables, so
 * that keys of a newer version show too, and what cannot be read is shown as far as it goes. */
#include "wire/wire.h"

#include "base/assert.h"
#include "base/text.h"
#include "wire/internal.h"

enum {
    VALUE_SIZE_MAX = 32, /* Of a value, before it is escaped. */
    /* A key, or a value, each byte of which became six, with quotes, "hex:", "..." and a comma. */
    PIECE_SIZE_MAX = 2 * (6 * VALUE_SIZE_MAX + 16),
};

/* Ends the object when no further pair fits. */
static const char truncated_end[] = ",\"truncated\":true}";
static const char malformed_end[] = ",\"malformed\":true}";
_Static_assert(sizeof(truncated_end) == sizeof(malformed_end), "either fits where one does");
enum { END_SIZE = sizeof(truncated_end) - 1 };

/* Cut to VALUE_SIZE_MAX bytes, or to a few less where a character of UTF-8 would be split. */
static struct bytes shorten(struct bytes bytes)
{
    struct bytes cut = bytes_of(bytes.data, size_min(bytes.size, VALUE_SIZE_MAX));

    for (size_t back = 0; back < 4 && cut.size < bytes.size; back++) {
        struct bytes shorter = bytes_of(cut.data, cut.size - back);
        if (wire_is_utf8(shorter)) {
            return shorter;
        }
    }
    return cut;
}

static void add_bytes(struct text *text, struct bytes bytes)
{
    struct bytes cut = shorten(bytes);
    char memory[4 + 2 * VALUE_SIZE_MAX + 4];
    struct text shown;

    text_init(&shown, memory, sizeof(memory));
    if (wire_is_printable(cut)) {
        text_add_bytes(&shown, cut);
    } else {
        text_add(&shown, "hex:");
        for (size_t i = 0; i < cut.size; i++) {
            text_add_hex(&shown, cut.data[i], 2);
        }
    }
    if (cut.size < bytes.size) {
        text_add(&shown, "...");
    }
    ASSERT(!shown.truncated);
    text_add_json(text, bytes_of(shown.data, shown.size));
}

static void add_value(struct text *text, const struct wire_token *token)
{
    switch (token->kind) {
    case WIRE_TOKEN_NIL:
        text_add(text, "null");
        return;
    case WIRE_TOKEN_BOOL:
        text_add(text, token->number != 0 ? "true" : "false");
        return;
    case WIRE_TOKEN_NUMBER:
        text_add_u64(text, token->number);
        return;
    case WIRE_TOKEN_NEGATIVE:
    case WIRE_TOKEN_FLOAT:
        text_add(text, "\"another number\"");
        return;
    case WIRE_TOKEN_TEXT:
    case WIRE_TOKEN_BYTES:
    case WIRE_TOKEN_EXTENSION:
        add_bytes(text, token->bytes);
        return;
    case WIRE_TOKEN_ARRAY:
    case WIRE_TOKEN_MAP:
        text_add(text, token->kind == WIRE_TOKEN_ARRAY ? "\"array of " : "\"map of ");
        text_add_u64(text, token->number);
        text_add(text, "\"");
        return;
    }
    UNREACHABLE();
}

/* A pair goes in whole, and only where the end still fits behind it. */
static bool append_piece(struct buffer *buffer, const struct text *piece)
{
    ASSERT(!piece->truncated);
    return buffer_room(buffer) >= piece->size + END_SIZE &&
           buffer_append(buffer, bytes_of(piece->data, piece->size));
}

static const char *append_pairs(struct wire_cursor *cursor, uint64_t count, struct buffer *buffer)
{
    for (uint64_t i = 0; i < count; i++) {
        char memory[PIECE_SIZE_MAX];
        struct text piece;
        struct wire_token key;
        struct wire_token value;

        if (wire_token_next(cursor, &key) != ERR_OK || key.kind != WIRE_TOKEN_TEXT ||
            wire_object_skip(cursor, WIRE_DEPTH_MAX - 1, &value) != ERR_OK) {
            return malformed_end;
        }
        text_init(&piece, memory, sizeof(memory));
        text_add(&piece, ",");
        add_bytes(&piece, key.bytes);
        text_add(&piece, ":");
        add_value(&piece, &value);
        if (!append_piece(buffer, &piece)) {
            return truncated_end;
        }
    }
    return "}";
}

void wire_params_to_json(enum wire_method method, struct bytes params, struct buffer *buffer)
{
    struct wire_cursor cursor = wire_cursor_of(params);
    struct wire_token map;
    char memory[64];
    struct text head;

    text_init(&head, memory, sizeof(memory));
    text_add(&head, "{\"method\":\"");
    text_add(&head, wire_method_name(method));
    text_add(&head, "\"");
    if (!append_piece(buffer, &head)) {
        return;
    }
    const char *end = malformed_end;
    if (wire_token_next(&cursor, &map) == ERR_OK && map.kind == WIRE_TOKEN_MAP) {
        end = append_pairs(&cursor, map.number, buffer);
    }
    bool fits = buffer_append(buffer, bytes_of_text(end));
    ASSERT(fits);
}
