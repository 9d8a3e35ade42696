/* base/text.c: a bounded text builder, and the numbers that go through it. */
#include "base/text.h"

#include <string.h>

#include "base/assert.h"

enum { U64_DIGITS_MAX = 20 };

static const char hex_digits[] = "0123456789abcdef";

static void check(const struct text *text)
{
    ASSERT(text->size <= text->capacity);
    if (text->capacity != 0) {
        ASSERT_VALUES(text->size < text->capacity, text->size, text->capacity);
        ASSERT(text->data[text->size] == '\0');
    }
}

void text_init(struct text *text, char *memory, size_t capacity)
{
    ASSERT(memory != NULL || capacity == 0);

    *text = (struct text){.data = memory, .size = 0, .capacity = capacity, .truncated = false};
    if (capacity != 0) {
        memory[0] = '\0';
    }
}

void text_add(struct text *text, const char *added)
{
    text_add_bytes(text, bytes_of_text(added));
}

void text_add_bytes(struct text *text, struct bytes added)
{
    check(text);

    if (text->truncated || added.size == 0) {
        return;
    }
    size_t room = text->capacity == 0 ? 0 : text->capacity - 1 - text->size;
    size_t size = size_min(added.size, room);
    if (size != 0) {
        memcpy(text->data + text->size, added.data, size);
        text->size += size;
        text->data[text->size] = '\0';
    }
    text->truncated = size < added.size;
}

static void add_byte(struct text *text, uint8_t byte)
{
    text_add_bytes(text, bytes_of(&byte, 1));
}

static bool is_continuation(uint8_t byte)
{
    return (byte & 0xc0) == 0x80;
}

/* The size of the UTF-8 character that `bytes` begins with; 0 when it begins with none (RFC 3629:
 * no overlong forms, no surrogates, nothing above U+10FFFF). */
static size_t character_size(struct bytes bytes)
{
    ASSERT(bytes.size != 0);
    uint8_t first = bytes.data[0];

    if (first < 0x80) {
        return 1;
    }
    size_t size = first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
    if (size == 0 || size > bytes.size) {
        return 0;
    }
    for (size_t i = 1; i < size; i++) {
        if (!is_continuation(bytes.data[i])) {
            return 0;
        }
    }
    uint8_t second = bytes.data[1];
    bool overlong = (first == 0xe0 && second < 0xa0) || (first == 0xf0 && second < 0x90);
    bool surrogate = first == 0xed && second >= 0xa0;
    bool too_large = first == 0xf4 && second >= 0x90;
    return overlong || surrogate || too_large ? 0 : size;
}

static bool is_control(uint8_t byte)
{
    return byte < 0x20 || byte == 0x7f;
}

static bool needs_quotes(struct bytes value)
{
    while (value.size != 0) {
        uint8_t byte = value.data[0];
        size_t size = character_size(value);

        if (size == 0 || is_control(byte) || byte == ' ' || byte == '"' || byte == '\\' ||
            byte == '=') {
            return true;
        }
        value = bytes_skip(value, size);
    }
    return false;
}

void text_add_quoted(struct text *text, struct bytes value)
{
    if (value.size != 0 && !needs_quotes(value)) {
        text_add_bytes(text, value);
        return;
    }
    add_byte(text, '"');
    while (value.size != 0) {
        uint8_t byte = value.data[0];
        size_t size = character_size(value);

        if (size == 0 || is_control(byte)) {
            text_add(text, "\\x");
            text_add_hex(text, byte, 2);
            size = 1;
        } else {
            if (byte == '"' || byte == '\\') {
                add_byte(text, '\\');
            }
            text_add_bytes(text, bytes_of(value.data, size));
        }
        value = bytes_skip(value, size);
    }
    add_byte(text, '"');
}

void text_add_json(struct text *text, struct bytes value)
{
    add_byte(text, '"');
    while (value.size != 0) {
        uint8_t byte = value.data[0];
        size_t size = character_size(value);

        if (size == 0) {
            text_add(text, "\\ufffd");
            size = 1;
        } else if (is_control(byte)) {
            text_add(text, "\\u");
            text_add_hex(text, byte, 4);
        } else {
            if (byte == '"' || byte == '\\') {
                add_byte(text, '\\');
            }
            text_add_bytes(text, bytes_of(value.data, size));
        }
        value = bytes_skip(value, size);
    }
    add_byte(text, '"');
}

/* At least `digits_min` digits, with leading zeros. */
static void add_decimal(struct text *text, uint64_t value, unsigned digits_min)
{
    ASSERT(digits_min <= U64_DIGITS_MAX);
    uint8_t digits[U64_DIGITS_MAX];
    size_t at = sizeof(digits);

    while (value != 0 || sizeof(digits) - at < digits_min) {
        ASSERT(at != 0);
        digits[--at] = (uint8_t)('0' + value % 10);
        value /= 10;
    }
    text_add_bytes(text, bytes_of(&digits[at], sizeof(digits) - at));
}

void text_add_u64(struct text *text, uint64_t value)
{
    add_decimal(text, value, 1);
}

void text_add_hex(struct text *text, uint64_t value, unsigned digits)
{
    ASSERT_VALUES(digits >= 1 && digits <= 16, digits, value);

    for (unsigned i = digits; i > 0; i--) {
        add_byte(text, (uint8_t)hex_digits[value >> (4 * (i - 1)) & 15]);
    }
}

void text_add_fixed(struct text *text, uint64_t value, unsigned decimals)
{
    ASSERT_VALUES(decimals <= TEXT_DECIMALS_MAX, decimals, value);
    uint64_t unit = 1;

    for (unsigned i = 0; i < decimals; i++) {
        unit *= 10;
    }
    text_add_u64(text, value / unit);
    if (decimals != 0) {
        add_byte(text, '.');
        add_decimal(text, value % unit, decimals);
    }
}

bool text_parse_u64(struct bytes digits, uint64_t *value)
{
    ASSERT(value != NULL);
    uint64_t parsed = 0;

    for (size_t i = 0; i < digits.size; i++) {
        if (digits.data[i] < '0' || digits.data[i] > '9') {
            return false;
        }
        uint64_t digit = (uint64_t)(digits.data[i] - '0');
        if (parsed > (UINT64_MAX - digit) / 10) {
            return false;
        }
        parsed = parsed * 10 + digit;
    }
    if (digits.size == 0) {
        return false;
    }
    *value = parsed;
    return true;
}
