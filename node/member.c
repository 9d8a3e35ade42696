/* node/member.c: names, disks and addresses as the bytes of a configuration. */
#include "node/member.h"

#include "base/assert.h"

enum { VERSION = 1, SIZES_AT = 1, RESERVED_AT = 4, INCARNATION_AT = 8, TEXTS_AT = 16 };

_Static_assert((int)MEMBER_SIZE_MAX <= (int)RAFT_CONTEXT_SIZE_MAX, "raft keeps it");
_Static_assert(NODE_ADDRESS_SIZE_MAX <= UINT8_MAX, "a size is one byte");

bool member_name_is_valid(struct bytes name)
{
    if (name.size == 0 || name.size > NODE_NAME_SIZE_MAX) {
        return false;
    }
    for (size_t i = 0; i < name.size; i++) {
        uint8_t byte = name.data[i];

        if (byte <= ' ' || byte == ',' || byte == '=' || byte == 0x7F) {
            return false;
        }
    }
    return true;
}

bool member_is_valid(const struct member *member)
{
    return member->incarnation != 0 && member_name_is_valid(bytes_of_text(member->name));
}

static bool set_text(char *to, size_t size_max, struct bytes text)
{
    if (text.size > size_max) {
        return false;
    }
    memset(to, 0, size_max + 1);
    if (text.size > 0) {
        memcpy(to, text.data, text.size);
    }
    return strlen(to) == text.size; /* No zero byte within. */
}

bool member_set(struct member *member, uint64_t incarnation, struct bytes name, struct bytes peer,
                struct bytes client)
{
    member->incarnation = incarnation;
    return set_text(member->name, NODE_NAME_SIZE_MAX, name) &&
           set_text(member->peer, NODE_ADDRESS_SIZE_MAX, peer) &&
           set_text(member->client, NODE_ADDRESS_SIZE_MAX, client) && member_is_valid(member);
}

uint32_t member_encode(uint8_t to[RAFT_CONTEXT_SIZE_MAX], const struct member *member)
{
    const char *const texts[] = {member->name, member->peer, member->client};
    uint32_t size = TEXTS_AT;

    ASSERT(member_is_valid(member));
    to[0] = VERSION;
    store_u32(to + RESERVED_AT, 0);
    store_u64(to + INCARNATION_AT, member->incarnation);
    for (uint32_t i = 0; i < 3; i++) {
        struct bytes text = bytes_of_text(texts[i]);

        to[SIZES_AT + i] = (uint8_t)text.size;
        if (text.size > 0) {
            memcpy(to + size, text.data, text.size);
        }
        size += (uint32_t)text.size;
    }
    ASSERT_VALUES(size <= MEMBER_SIZE_MAX, size, MEMBER_SIZE_MAX);
    return size;
}

bool member_decode(struct bytes bytes, struct member *member)
{
    if (bytes.size < TEXTS_AT || bytes.data[0] != VERSION ||
        load_u32(bytes.data + RESERVED_AT) != 0) {
        return false;
    }
    size_t name_size = bytes.data[SIZES_AT];
    size_t peer_size = bytes.data[SIZES_AT + 1];
    size_t client_size = bytes.data[SIZES_AT + 2];

    if (bytes.size != TEXTS_AT + name_size + peer_size + client_size) {
        return false;
    }
    const uint8_t *texts = bytes.data + TEXTS_AT;

    return member_set(member, load_u64(bytes.data + INCARNATION_AT), bytes_of(texts, name_size),
                      bytes_of(texts + name_size, peer_size),
                      bytes_of(texts + name_size + peer_size, client_size));
}

void member_of(const struct raft_member *from, struct member *member)
{
    bool is_valid = member_decode(bytes_of(from->context, from->context_size), member);

    ASSERT_VALUES(is_valid, from->id, from->context_size);
}

uint64_t member_incarnation(const struct raft_member *from)
{
    ASSERT_VALUES(from->context_size >= TEXTS_AT, from->id, from->context_size);
    ASSERT_VALUES(from->context[0] == VERSION, from->id, from->context[0]);
    return load_u64(from->context + INCARNATION_AT);
}
