/* wire/frame.c: frames between peers, and Raft's messages as their bodies. */
#include "wire/frame.h"

#include <string.h>

#include "base/assert.h"
#include "base/checksum.h"

enum {
    MAGIC_SIZE = 4,
    SIZE_AT = 4,
    CHECKSUM_AT = 8,
    CHECKED_AT = 16, /* From here to the end lies what the checksum covers. */
    CLUSTER_AT = 16,
    INCARNATION_AT = 32,
    SOURCE_AT = 40,
    LOG_MS_AT = 48,
    LAMPORT_AT = 56,
    KIND_AT = 64,
    ZEROS_AT = 65,
    VERSION_AT = 68,
};

_Static_assert((int)VERSION_AT + 4 == WIRE_FRAME_HEADER_SIZE, "the version ends the header");
_Static_assert(WIRE_PEER_FRAME_SIZE_MAX > RAFT_ENTRY_SIZE_MAX + WIRE_FRAME_HEADER_SIZE + 4000,
               "one entry of the largest size can be sent");

/* The first byte is none that a message of a client can begin with (0x93 or 0x94, an array). */
static const uint8_t magic[MAGIC_SIZE] = {'h', 'f', 'P', '1'};

/* The size is outside of what is checked, so it is the seed. */
static uint64_t frame_checksum(const uint8_t *frame, uint32_t size)
{
    ASSERT_VALUES(size >= WIRE_FRAME_HEADER_SIZE, size, WIRE_FRAME_HEADER_SIZE);
    return checksum(bytes_of(frame + CHECKED_AT, size - CHECKED_AT), size);
}

static bool kind_is_known(uint8_t kind)
{
    return kind >= WIRE_FRAME_HELLO && kind <= WIRE_FRAME_FORWARDED;
}

static enum error read_size(struct bytes bytes, uint32_t *size)
{
    size_t compared = size_min(bytes.size, MAGIC_SIZE);

    if (compared != 0 && memcmp(bytes.data, magic, compared) != 0) {
        return ERR_MALFORMED;
    }
    if (bytes.size < CHECKSUM_AT) {
        return ERR_INCOMPLETE;
    }
    *size = load_u32(bytes.data + SIZE_AT);
    if (*size < WIRE_FRAME_HEADER_SIZE) {
        return ERR_MALFORMED;
    }
    if (*size > WIRE_PEER_FRAME_SIZE_MAX) {
        return ERR_TOO_LARGE;
    }
    return bytes.size < *size ? ERR_INCOMPLETE : ERR_OK;
}

enum error wire_frame_next(struct bytes *rest, struct wire_frame *frame)
{
    ASSERT(rest->data != NULL || rest->size == 0);
    uint32_t size = 0;
    enum error error = read_size(*rest, &size);

    if (error != ERR_OK) {
        return error;
    }
    const uint8_t *at = rest->data;
    if (load_u64(at + CHECKSUM_AT) != frame_checksum(at, size)) {
        return ERR_CORRUPT;
    }
    if (load_u32(at + VERSION_AT) != WIRE_FRAME_VERSION) {
        return ERR_VERSION;
    }
    if (!kind_is_known(at[KIND_AT]) || (load_u32(at + KIND_AT) >> 8) != 0) {
        return ERR_MALFORMED;
    }
    *frame = (struct wire_frame){
        .incarnation = load_u64(at + INCARNATION_AT),
        .source = load_u64(at + SOURCE_AT),
        .log_ms = load_u64(at + LOG_MS_AT),
        .lamport = load_u64(at + LAMPORT_AT),
        .kind = (enum wire_frame_kind)at[KIND_AT],
        .body = bytes_of(at + WIRE_FRAME_HEADER_SIZE, size - WIRE_FRAME_HEADER_SIZE),
    };
    memcpy(frame->cluster, at + CLUSTER_AT, sizeof(frame->cluster));
    *rest = bytes_skip(*rest, size);
    return ERR_OK;
}

bool wire_frame_begin(struct buffer *buffer, const struct wire_frame *frame, size_t *start)
{
    ASSERT_VALUES(kind_is_known((uint8_t)frame->kind), frame->kind, 0);
    *start = buffer->size;
    uint8_t *to = buffer_extend(buffer, WIRE_FRAME_HEADER_SIZE);

    if (to == NULL) {
        return false;
    }
    memcpy(to, magic, MAGIC_SIZE);
    store_u32(to + SIZE_AT, 0);
    store_u64(to + CHECKSUM_AT, 0);
    memcpy(to + CLUSTER_AT, frame->cluster, sizeof(frame->cluster));
    store_u64(to + INCARNATION_AT, frame->incarnation);
    store_u64(to + SOURCE_AT, frame->source);
    store_u64(to + LOG_MS_AT, frame->log_ms);
    store_u64(to + LAMPORT_AT, frame->lamport);
    to[KIND_AT] = (uint8_t)frame->kind;
    memset(to + ZEROS_AT, 0, VERSION_AT - ZEROS_AT);
    store_u32(to + VERSION_AT, WIRE_FRAME_VERSION);
    return true;
}

void wire_frame_end(struct buffer *buffer, size_t start)
{
    ASSERT_VALUES(start + WIRE_FRAME_HEADER_SIZE <= buffer->size, start, buffer->size);
    size_t size = buffer->size - start;
    ASSERT_VALUES(size <= WIRE_PEER_FRAME_SIZE_MAX, size, WIRE_PEER_FRAME_SIZE_MAX);
    uint8_t *to = buffer->data + start;

    ASSERT(memcmp(to, magic, MAGIC_SIZE) == 0);
    store_u32(to + SIZE_AT, (uint32_t)size);
    store_u64(to + CHECKSUM_AT, frame_checksum(to, (uint32_t)size));
}
