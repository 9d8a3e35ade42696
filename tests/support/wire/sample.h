/* tests/support/wire/sample.h: messages with random or fixed values, made from the tables. */
#ifndef TESTS_SUPPORT_WIRE_SAMPLE_H
#define TESTS_SUPPORT_WIRE_SAMPLE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/prng.h"
#include "wire/internal.h" /* The tables; for those who include this too. */

/* Any message of messages.def. */
union sample {
#define MESSAGE(name, since) struct wire_##name name;
#define FIELD(type, name, limit, presence)
#define END(name)
#include "wire/messages.def"
#undef MESSAGE
#undef FIELD
#undef END
};

/* The message that the items of this LIST are. */
const struct wire_message *sample_item_of(const struct wire_message *message,
                                          const struct wire_field *field);

/* Random values within the limits; every tenth field is at its limit, unless that is more than
 * 1 KiB. What is borrowed lies in `memory`, which only grows. */
void sample_fill(const struct wire_message *message, struct prng *prng, struct buffer *memory,
                 union sample *to);

/* The same value for the same field for ever: what the golden files hold. */
void sample_fill_fixed(const struct wire_message *message, struct buffer *memory, union sample *to);

/* Equal in every field; bytes are compared, not pointers. */
bool sample_is_equal(const struct wire_message *message, const union sample *left,
                     const union sample *right);

/* Copies the encoded map `map` with the value of `key` replaced by the encoded `value`; with an
 * empty `value` the pair is left out. A key that is not there is added at the end. */
void sample_replace(struct bytes map, const char *key, struct bytes value, struct buffer *to);

#endif
