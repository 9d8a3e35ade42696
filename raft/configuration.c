/* raft/configuration.c: configurations as data and as bytes. */
#include "raft/configuration.h"

#include <string.h>

#include "base/assert.h"

enum { FORMAT_VERSION = 1, FLAG_PROMOTED = 1 };

enum { COUNT_AT = 2, RESERVED_AT = 4, INDEX_AT = 8 };
enum { REPLACES_AT = 8, PARTS_AT = 16, FLAGS_AT = 17, CONTEXT_SIZE_AT = 18 };

_Static_assert(INDEX_AT + sizeof(uint64_t) == RAFT_CONFIGURATION_HEADER_SIZE, "the index is last");
_Static_assert(CONTEXT_SIZE_AT + sizeof(uint16_t) == RAFT_MEMBER_HEADER_SIZE, "the size is last");
_Static_assert(RAFT_CONFIGURATION_SIZE_MAX <= RAFT_ENTRY_SIZE_MAX - RAFT_ENTRY_HEADER_SIZE,
               "a configuration is an entry");

static bool parts_are_valid(const struct raft_member *member)
{
    bool votes = member->parts == RAFT_PART_VOTER || member->parts == RAFT_PART_OUTGOING ||
                 member->parts == (RAFT_PART_VOTER | RAFT_PART_OUTGOING);

    if (votes) {
        return !member->is_promoted && member->replaces == 0;
    }
    return member->parts == RAFT_PART_LEARNER && (member->is_promoted || member->replaces == 0);
}

bool raft_configuration_is_valid(const struct raft_configuration *configuration)
{
    bool has_voter = false;

    if (configuration->member_count == 0) {
        return configuration->index == 0;
    }
    if (configuration->member_count > RAFT_MEMBER_COUNT_MAX) {
        return false;
    }
    for (uint32_t i = 0; i < configuration->member_count; i++) {
        const struct raft_member *member = &configuration->members[i];
        if (member->id == 0 || !parts_are_valid(member) || member->replaces == member->id ||
            member->context_size > RAFT_CONTEXT_SIZE_MAX) {
            return false;
        }
        if (raft_configuration_find(configuration, member->id) != member) {
            return false;
        }
        has_voter = has_voter || (member->parts & RAFT_PART_VOTER) != 0;
    }
    return has_voter;
}

const struct raft_member *raft_configuration_find(const struct raft_configuration *configuration,
                                                  raft_id id)
{
    ASSERT(configuration->member_count <= RAFT_MEMBER_COUNT_MAX);
    for (uint32_t i = 0; i < configuration->member_count; i++) {
        if (configuration->members[i].id == id) {
            return &configuration->members[i];
        }
    }
    return NULL;
}

bool raft_configuration_is_joint(const struct raft_configuration *configuration)
{
    for (uint32_t i = 0; i < configuration->member_count; i++) {
        if ((configuration->members[i].parts & RAFT_PART_OUTGOING) != 0) {
            return true;
        }
    }
    return false;
}

static uint32_t encode_member(uint8_t *to, const struct raft_member *member)
{
    store_u64(to, member->id);
    store_u64(to + REPLACES_AT, member->replaces);
    to[PARTS_AT] = member->parts;
    to[FLAGS_AT] = member->is_promoted ? FLAG_PROMOTED : 0;
    store_u16(to + CONTEXT_SIZE_AT, (uint16_t)member->context_size);
    if (member->context_size > 0) {
        memcpy(to + RAFT_MEMBER_HEADER_SIZE, member->context, member->context_size);
    }
    return RAFT_MEMBER_HEADER_SIZE + member->context_size;
}

uint32_t raft_configuration_encode(uint8_t to[RAFT_CONFIGURATION_SIZE_MAX],
                                   const struct raft_configuration *configuration)
{
    uint32_t size = RAFT_CONFIGURATION_HEADER_SIZE;

    ASSERT(raft_configuration_is_valid(configuration));
    store_u16(to, FORMAT_VERSION);
    store_u16(to + COUNT_AT, (uint16_t)configuration->member_count);
    store_u32(to + RESERVED_AT, 0);
    store_u64(to + INDEX_AT, configuration->index);
    for (uint32_t i = 0; i < configuration->member_count; i++) {
        size += encode_member(to + size, &configuration->members[i]);
    }
    ASSERT(size <= RAFT_CONFIGURATION_SIZE_MAX);
    return size;
}

static bool decode_member(struct bytes *rest, struct raft_member *member)
{
    if (rest->size < RAFT_MEMBER_HEADER_SIZE) {
        return false;
    }
    const uint8_t *from = rest->data;
    uint32_t context_size = load_u16(from + CONTEXT_SIZE_AT);

    if (context_size > RAFT_CONTEXT_SIZE_MAX || from[FLAGS_AT] > FLAG_PROMOTED ||
        rest->size - RAFT_MEMBER_HEADER_SIZE < context_size) {
        return false;
    }
    member->id = load_u64(from);
    member->replaces = load_u64(from + REPLACES_AT);
    member->parts = from[PARTS_AT];
    member->is_promoted = from[FLAGS_AT] == FLAG_PROMOTED;
    member->context_size = context_size;
    if (context_size > 0) {
        memcpy(member->context, from + RAFT_MEMBER_HEADER_SIZE, context_size);
    }
    *rest = bytes_skip(*rest, RAFT_MEMBER_HEADER_SIZE + context_size);
    return true;
}

bool raft_configuration_decode(struct bytes bytes, struct raft_configuration *configuration)
{
    struct raft_configuration decoded = {0};

    if (bytes.size < RAFT_CONFIGURATION_HEADER_SIZE || load_u16(bytes.data) != FORMAT_VERSION ||
        load_u32(bytes.data + RESERVED_AT) != 0) {
        return false;
    }
    decoded.member_count = load_u16(bytes.data + COUNT_AT);
    decoded.index = load_u64(bytes.data + INDEX_AT);
    if (decoded.member_count > RAFT_MEMBER_COUNT_MAX) {
        return false;
    }
    bytes = bytes_skip(bytes, RAFT_CONFIGURATION_HEADER_SIZE);
    for (uint32_t i = 0; i < decoded.member_count; i++) {
        if (!decode_member(&bytes, &decoded.members[i])) {
            return false;
        }
    }
    if (bytes.size != 0 || !raft_configuration_is_valid(&decoded)) {
        return false;
    }
    *configuration = decoded;
    return true;
}

bool raft_entry_is_sound(const struct raft_entry *entry)
{
    struct raft_configuration configuration;

    return entry->kind != RAFT_ENTRY_CONFIGURATION ||
           (raft_configuration_decode(entry->payload, &configuration) &&
            configuration.index == entry->index);
}
