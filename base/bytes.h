/* base/bytes.h: borrowed bytes, bounded buffers and numbers in fixed byte order.
 *
 * struct bytes never owns memory: whoever hands one out says how long it stays valid. struct
 * buffer writes into memory of a fixed capacity and never grows. */
#ifndef BASE_BYTES_H
#define BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/assert.h"
#include "base/macros.h"

struct bytes {
    const uint8_t *data;
    size_t size;
};

static inline struct bytes bytes_of(const void *data, size_t size)
{
    return (struct bytes){.data = data, .size = size};
}

/* The bytes of a C string, without its final zero. */
static inline struct bytes bytes_of_text(const char *text)
{
    return bytes_of(text, strlen(text));
}

static inline bool bytes_equal(struct bytes a, struct bytes b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

/* Lexicographic, as unsigned bytes; a prefix sorts before what it begins. */
static inline int bytes_compare(struct bytes a, struct bytes b)
{
    size_t size = size_min(a.size, b.size);
    int order = size == 0 ? 0 : memcmp(a.data, b.data, size);

    if (order != 0) {
        return order;
    }
    return a.size < b.size ? -1 : a.size > b.size ? 1 : 0;
}

static inline bool bytes_has_prefix(struct bytes bytes, struct bytes prefix)
{
    return bytes.size >= prefix.size &&
           (prefix.size == 0 || memcmp(bytes.data, prefix.data, prefix.size) == 0);
}

/* The rest of `bytes` behind its first `size`, which it must have. */
static inline struct bytes bytes_skip(struct bytes bytes, size_t size)
{
    ASSERT_VALUES(size <= bytes.size, size, bytes.size);
    return bytes.data == NULL ? bytes : bytes_of(bytes.data + size, bytes.size - size);
}

/* Little endian: on the disk and on the wire. */
static inline void store_u16(uint8_t *to, uint16_t value)
{
    to[0] = (uint8_t)value;
    to[1] = (uint8_t)(value >> 8);
}

static inline uint16_t load_u16(const uint8_t *from)
{
    return (uint16_t)(from[0] | (unsigned)from[1] << 8);
}

static inline void store_u32(uint8_t *to, uint32_t value)
{
    for (unsigned i = 0; i < 4; i++) {
        to[i] = (uint8_t)(value >> (8 * i));
    }
}

static inline uint32_t load_u32(const uint8_t *from)
{
    return (uint32_t)from[0] | (uint32_t)from[1] << 8 | (uint32_t)from[2] << 16 |
           (uint32_t)from[3] << 24;
}

static inline void store_u64(uint8_t *to, uint64_t value)
{
    store_u32(to, (uint32_t)value);
    store_u32(to + 4, (uint32_t)(value >> 32));
}

static inline uint64_t load_u64(const uint8_t *from)
{
    return (uint64_t)load_u32(from) | (uint64_t)load_u32(from + 4) << 32;
}

/* Big endian: in the keys of tables, whose order must be that of the numbers. */
static inline void store_u64_ordered(uint8_t *to, uint64_t value)
{
    for (unsigned i = 0; i < 8; i++) {
        to[i] = (uint8_t)(value >> (56 - 8 * i));
    }
}

static inline uint64_t load_u64_ordered(const uint8_t *from)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < 8; i++) {
        value = value << 8 | from[i];
    }
    return value;
}

/* Bounded output. A write that does not fit writes nothing and returns false. */
struct buffer {
    uint8_t *data;
    size_t size;
    size_t capacity;
};

static inline struct buffer buffer_of(void *memory, size_t capacity)
{
    return (struct buffer){.data = memory, .size = 0, .capacity = capacity};
}

static inline struct bytes buffer_bytes(const struct buffer *buffer)
{
    return bytes_of(buffer->data, buffer->size);
}

static inline size_t buffer_room(const struct buffer *buffer)
{
    ASSERT(buffer->size <= buffer->capacity);
    return buffer->capacity - buffer->size;
}

/* Where `size` bytes may be written, already counted as written; NULL when they do not fit. */
MUST_USE static inline uint8_t *buffer_extend(struct buffer *buffer, size_t size)
{
    if (size > buffer_room(buffer)) {
        return NULL;
    }
    uint8_t *at = buffer->data + buffer->size;
    buffer->size += size;
    return at;
}

MUST_USE static inline bool buffer_append(struct buffer *buffer, struct bytes bytes)
{
    uint8_t *at = buffer_extend(buffer, bytes.size);

    if (at == NULL) {
        return false;
    }
    if (bytes.size != 0) {
        memcpy(at, bytes.data, bytes.size);
    }
    return true;
}

#endif
