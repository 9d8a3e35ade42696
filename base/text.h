/* base/text.h: text put together in memory of a fixed capacity, without libc.
 *
 * The text always ends in a zero (when the capacity is not 0), and is always a prefix of what was
 * added: from the first byte that does not fit on, nothing more is taken and `truncated` is set.
 * Nothing is allocated; the memory is the caller's and outlives the builder. */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/macros.h"

struct text {
    char *data;
    size_t size;     /* Without the final zero. */
    size_t capacity; /* With it. */
    bool truncated;
};

void text_init(struct text *text, char *memory, size_t capacity);

/* As it is; nothing is escaped. */
void text_add(struct text *text, const char *added);
void text_add_bytes(struct text *text, struct bytes added);

/* The value of a key=value pair in a log line: as it is, or in double quotes when it is empty or
 * holds a space, '"', '\', '=', a control byte or a byte that is not valid UTF-8. In quotes, '"'
 * and
 * '\' get a backslash before them, and control and invalid bytes become \xNN. */
void text_add_quoted(struct text *text, struct bytes value);

/* A JSON string with its quotes. Control bytes become \u00NN, each byte that is not part of valid
 * UTF-8 becomes \ufffd. */
void text_add_json(struct text *text, struct bytes value);

void text_add_u64(struct text *text, uint64_t value);

/* The lowest `digits` (1 to 16) hexadecimal digits, in lower case, with leading zeros. */
void text_add_hex(struct text *text, uint64_t value, unsigned digits);

enum { TEXT_DECIMALS_MAX = 9 };

/* `value` counts the last of `decimals` decimals: (1500, 3) adds "1.500", (7, 0) adds "7". */
void text_add_fixed(struct text *text, uint64_t value, unsigned decimals);

/* One or more decimal digits and nothing else; false, with `*value` untouched, for anything else
 * or for more than 64 bits. */
MUST_USE bool text_parse_u64(struct bytes digits, uint64_t *value);

#endif
