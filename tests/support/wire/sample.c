#include "tests/support/wire/sample.h"

#include <string.h>

#include "base/assert.h"

enum { RANDOM_SIZE_MAX = 1024, RANDOM_ITEM_COUNT_MAX = 4, FIXED_ITEM_COUNT = 2 };

static const struct {
    const char *message;
    const char *key;
    enum wire_message_id item;
} lists[] = {
    {"status_result", "members", WIRE_MESSAGE_member},
    {"status_result", "waiting", WIRE_MESSAGE_member},
    {"list_result", "items", WIRE_MESSAGE_pair},
    {"session_list_result", "items", WIRE_MESSAGE_session_item},
    {"lock_show_result", "holders", WIRE_MESSAGE_holder},
    {"lock_show_result", "queue", WIRE_MESSAGE_waiter},
    {"lock_list_result", "items", WIRE_MESSAGE_lock_item},
    {"audit_list_result", "items", WIRE_MESSAGE_audit_item},
    {"peer_form", "members", WIRE_MESSAGE_peer_member},
    {"session_renew_result", "revoked", WIRE_MESSAGE_revocation},
    {"transact", "compares", WIRE_MESSAGE_compare},
    {"transact", "success", WIRE_MESSAGE_operation},
    {"transact", "failure", WIRE_MESSAGE_operation},
    {"transact_result", "pairs", WIRE_MESSAGE_pair},
};

const struct wire_message *sample_item_of(const struct wire_message *message,
                                          const struct wire_field *field)
{
    ASSERT(field->type == WIRE_TYPE_LIST);

    for (size_t i = 0; i < COUNT_OF(lists); i++) {
        if (strcmp(lists[i].message, message->name) == 0 && strcmp(lists[i].key, field->key) == 0) {
            return wire_message_of(lists[i].item);
        }
    }
    UNREACHABLE(); /* A new LIST: say above what its items are. */
}

static void set_number(const struct wire_field *field, union sample *to, uint64_t value)
{
    uint8_t *at = (uint8_t *)to + field->offset;

    if (field->type == WIRE_TYPE_U64) {
        memcpy(at, &value, sizeof(value));
    } else if (field->type == WIRE_TYPE_U32) {
        uint32_t narrow = (uint32_t)value;
        memcpy(at, &narrow, sizeof(narrow));
    } else {
        bool truth = (value & 1) != 0;
        memcpy(at, &truth, sizeof(truth));
    }
}

static void set_bytes(const struct wire_field *field, union sample *to, struct bytes bytes)
{
    memcpy((uint8_t *)to + field->offset, &bytes, sizeof(bytes));
}

static void set_items(const struct wire_field *field, union sample *to, struct wire_items items)
{
    memcpy((uint8_t *)to + field->offset, &items, sizeof(items));
}

static uint64_t random_number(struct prng *prng)
{
    return prng_next(prng) >> prng_below(prng, 64); /* Every width that MessagePack has. */
}

static struct bytes random_bytes(const struct wire_field *field, struct prng *prng,
                                 struct buffer *memory)
{
    size_t size_max = size_min(field->limit, RANDOM_SIZE_MAX);
    size_t size = prng_below(prng, 10) == 0 ? size_max : prng_below(prng, size_min(size_max, 40));
    if (field->presence == WIRE_FILLED && size == 0) {
        size = 1;
    }
    uint8_t *at = buffer_extend(memory, size);

    ASSERT(at != NULL);
    for (size_t i = 0; i < size; i++) {
        uint64_t byte = prng_next(prng);
        at[i] = (uint8_t)(field->type == WIRE_TYPE_TEXT ? byte % 0x80 : byte);
    }
    return bytes_of(at, size);
}

/* Without lists: fills `to`; no item has a list of its own. */
static void fill_scalar(const struct wire_field *field, struct prng *prng, struct buffer *memory,
                        union sample *to)
{
    ASSERT(field->type != WIRE_TYPE_LIST);

    if (field->type == WIRE_TYPE_BYTES || field->type == WIRE_TYPE_TEXT) {
        set_bytes(field, to, random_bytes(field, prng, memory));
    } else {
        set_number(field, to, random_number(prng));
    }
}

static struct wire_items fill_items(const struct wire_message *item, uint32_t count,
                                    struct prng *prng, struct buffer *memory)
{
    /* Encoded items have to lie back to back: they get room of their own, behind which the values
     * of each item come and go. */
    static const size_t room = 32 << 10;
    uint8_t *at = buffer_extend(memory, room);
    ASSERT(at != NULL);
    struct buffer raw = buffer_of(at, room);

    for (uint32_t i = 0; i < count; i++) {
        union sample sample;
        memset(&sample, 0, sizeof(sample));
        for (uint32_t f = 0; f < item->field_count; f++) {
            fill_scalar(&item->fields[f], prng, memory, &sample);
        }
        bool fits = wire_message_encode(item, &sample, &raw);
        ASSERT(fits);
    }
    return (struct wire_items){.raw = buffer_bytes(&raw), .count = count};
}

void sample_fill(const struct wire_message *message, struct prng *prng, struct buffer *memory,
                 union sample *to)
{
    memset(to, 0, sizeof(*to));
    for (uint32_t i = 0; i < message->field_count; i++) {
        const struct wire_field *field = &message->fields[i];

        if (field->type == WIRE_TYPE_LIST) {
            uint32_t count = (uint32_t)prng_below(prng, RANDOM_ITEM_COUNT_MAX + 1);
            set_items(field, to, fill_items(sample_item_of(message, field), count, prng, memory));
        } else {
            fill_scalar(field, prng, memory, to);
        }
    }
}

/* Of bytes "\0key\xff", of text "key"; of numbers one that needs 8, 4 or 2 bytes. */
static void fill_scalar_fixed(const struct wire_field *field, uint32_t number,
                              struct buffer *memory, union sample *to)
{
    struct bytes key = bytes_of(field->key, field->key_size);

    if (field->type == WIRE_TYPE_U64) {
        set_number(field, to, UINT64_C(0x0123456789abcdef) >> (8 * (number % 8)));
    } else if (field->type == WIRE_TYPE_U32) {
        set_number(field, to, 1000 + number);
    } else if (field->type == WIRE_TYPE_BOOL) {
        set_number(field, to, 1);
    } else if (field->type == WIRE_TYPE_TEXT) {
        set_bytes(field, to, key);
    } else {
        struct bytes whole = {.data = memory->data + memory->size, .size = key.size + 2};
        bool fits = buffer_append(memory, bytes_of("", 1)) && buffer_append(memory, key) &&
                    buffer_append(memory, bytes_of("\xff", 1));
        ASSERT(fits);
        set_bytes(field, to, whole);
    }
}

static struct wire_items fill_items_fixed(const struct wire_message *item, struct buffer *memory)
{
    static const size_t room = 4096;
    uint8_t *at = buffer_extend(memory, room);
    ASSERT(at != NULL);
    struct buffer raw = buffer_of(at, room);

    for (uint32_t i = 0; i < FIXED_ITEM_COUNT; i++) {
        union sample sample;
        memset(&sample, 0, sizeof(sample));
        for (uint32_t f = 0; f < item->field_count; f++) {
            fill_scalar_fixed(&item->fields[f], i + f, memory, &sample);
        }
        bool fits = wire_message_encode(item, &sample, &raw);
        ASSERT(fits);
    }
    return (struct wire_items){.raw = buffer_bytes(&raw), .count = FIXED_ITEM_COUNT};
}

void sample_fill_fixed(const struct wire_message *message, struct buffer *memory, union sample *to)
{
    memset(to, 0, sizeof(*to));
    for (uint32_t i = 0; i < message->field_count; i++) {
        const struct wire_field *field = &message->fields[i];

        if (field->type == WIRE_TYPE_LIST) {
            set_items(field, to, fill_items_fixed(sample_item_of(message, field), memory));
        } else {
            fill_scalar_fixed(field, i, memory, to);
        }
    }
}

static bool field_is_equal(const struct wire_field *field, const uint8_t *left,
                           const uint8_t *right)
{
    struct bytes bytes[2];
    struct wire_items items[2];

    switch ((enum wire_type)field->type) {
    case WIRE_TYPE_U64:
        return memcmp(left, right, sizeof(uint64_t)) == 0;
    case WIRE_TYPE_U32:
        return memcmp(left, right, sizeof(uint32_t)) == 0;
    case WIRE_TYPE_BOOL:
        return memcmp(left, right, sizeof(bool)) == 0;
    case WIRE_TYPE_BYTES:
    case WIRE_TYPE_TEXT:
        memcpy(&bytes[0], left, sizeof(bytes[0]));
        memcpy(&bytes[1], right, sizeof(bytes[1]));
        return bytes_equal(bytes[0], bytes[1]);
    case WIRE_TYPE_LIST:
        memcpy(&items[0], left, sizeof(items[0]));
        memcpy(&items[1], right, sizeof(items[1]));
        return items[0].count == items[1].count && bytes_equal(items[0].raw, items[1].raw);
    }
    UNREACHABLE();
}

bool sample_is_equal(const struct wire_message *message, const union sample *left,
                     const union sample *right)
{
    for (uint32_t i = 0; i < message->field_count; i++) {
        const struct wire_field *field = &message->fields[i];

        if (!field_is_equal(field, (const uint8_t *)left + field->offset,
                            (const uint8_t *)right + field->offset)) {
            return false;
        }
    }
    return true;
}

static bool append_pair(struct bytes key, struct bytes value, struct buffer *to)
{
    return wire_pack_text(to, key) && buffer_append(to, value);
}

void sample_replace(struct bytes map, const char *key, struct bytes value, struct buffer *to)
{
    static uint8_t memory[4 << 20];
    struct buffer pairs = buffer_of(memory, sizeof(memory));
    struct wire_cursor cursor = wire_cursor_of(map);
    struct wire_token header = {.kind = WIRE_TOKEN_NIL};
    struct wire_token name = {.kind = WIRE_TOKEN_NIL};
    struct wire_token first;
    uint32_t count = 0;
    bool is_there = false;
    bool good = wire_token_next(&cursor, &header) == ERR_OK && header.kind == WIRE_TOKEN_MAP;

    for (uint64_t i = 0; i < header.number; i++) {
        good = good && wire_token_next(&cursor, &name) == ERR_OK;
        size_t begin = cursor.at;
        good = good && wire_object_skip(&cursor, WIRE_DEPTH_MAX, &first) == ERR_OK;
        bool is_it = bytes_equal(name.bytes, bytes_of_text(key));
        struct bytes kept = is_it ? value : wire_cursor_since(&cursor, begin);

        is_there = is_there || is_it;
        if (kept.size != 0) {
            good = good && append_pair(name.bytes, kept, &pairs);
            count++;
        }
    }
    if (!is_there && value.size != 0) {
        good = good && append_pair(bytes_of_text(key), value, &pairs);
        count++;
    }
    good = good && wire_pack_map(to, count) && buffer_append(to, buffer_bytes(&pairs));
    ASSERT(good);
}
