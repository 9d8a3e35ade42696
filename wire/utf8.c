/* wire/utf8.c: is it text? */
#include <string.h>

#include "base/assert.h"
#include "wire/internal.h"

static bool is_continuation(uint8_t byte)
{
    return (byte & 0xc0) == 0x80;
}

/* The size of the character beyond ASCII that lies at `at`, with `left` bytes to the end; 0 when it
 * is not valid. */
static size_t long_character_size(const uint8_t *at, size_t left)
{
    ASSERT(left != 0);
    uint8_t first = at[0];
    size_t size = first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;

    if (size == 0 || size > left) {
        return 0;
    }
    for (size_t i = 1; i < size; i++) {
        if (!is_continuation(at[i])) {
            return 0;
        }
    }
    uint8_t second = at[1];
    bool overlong = (first == 0xe0 && second < 0xa0) || (first == 0xf0 && second < 0x90);
    bool surrogate = first == 0xed && second >= 0xa0;
    bool beyond = first == 0xf4 && second >= 0x90;
    return overlong || surrogate || beyond ? 0 : size;
}

bool wire_is_utf8(struct bytes bytes)
{
    size_t at = 0;

    while (at < bytes.size) {
        if (bytes.data[at] < 0x80) {
            at++;
            continue;
        }
        size_t size = long_character_size(bytes.data + at, bytes.size - at);
        if (size == 0) {
            return false;
        }
        at += size;
    }
    ASSERT_VALUES(at == bytes.size, at, bytes.size);
    return true;
}

bool wire_is_printable(struct bytes bytes)
{
    for (size_t i = 0; i < bytes.size; i++) {
        if (bytes.data[i] < 0x20 || bytes.data[i] == 0x7f) {
            return false;
        }
    }
    return wire_is_utf8(bytes);
}
