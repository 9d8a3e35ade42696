/* node/identity.c: the file `identity`. */
#include "node/identity.h"

#include "base/assert.h"
#include "base/checksum.h"

enum {
    MAGIC = 0x44494648, /* "HFID" */
    VERSION = 2,
    CLUSTER_AT = 16,
    SELF_AT = 32,
    STATE_AT = 40,
    MEMBER_COUNT_AT = 44,
    NAME_AT = 48,
    JOINED_AT = 80,
    MEMBERS_AT = 88,
    CHECKSUM_AT = IDENTITY_SIZE - 8,
};

enum { STATE_EMPTY = 0, STATE_FORMED = 1, STATE_JOINS = 2 };

enum {
    MEMBER_INCARNATION_AT = 8,
    MEMBER_NAME_AT = 16,
    MEMBER_PEER_AT = MEMBER_NAME_AT + NODE_NAME_SIZE_MAX,
    MEMBER_CLIENT_AT = MEMBER_PEER_AT + NODE_ADDRESS_SIZE_MAX,
    MEMBER_SIZE = MEMBER_CLIENT_AT + NODE_ADDRESS_SIZE_MAX,
};

_Static_assert((int)NAME_AT + (int)NODE_NAME_SIZE_MAX == (int)JOINED_AT, "the name fits");
_Static_assert((int)IDENTITY_SIZE <= (int)DISK_ALIGNMENT, "one block holds it");
_Static_assert(MEMBERS_AT + NODE_MEMBER_COUNT_MAX * MEMBER_SIZE == CHECKSUM_AT, "all members fit");

static const struct disk_name file_name = {.text = "identity"};

static void encode_text(uint8_t *to, const char *text, size_t size_max)
{
    struct bytes bytes = bytes_of_text(text);

    ASSERT_VALUES(bytes.size <= size_max, bytes.size, size_max);
    memset(to, 0, size_max);
    if (bytes.size > 0) {
        memcpy(to, bytes.data, bytes.size);
    }
}

static void decode_text(const uint8_t *from, char *to, size_t size_max)
{
    memcpy(to, from, size_max);
    to[size_max] = '\0';
}

static void encode_member(uint8_t *to, const struct identity_member *listed)
{
    ASSERT(listed->id != 0 && listed->member.name[0] != '\0');
    store_u64(to, listed->id);
    store_u64(to + MEMBER_INCARNATION_AT, listed->member.incarnation);
    encode_text(to + MEMBER_NAME_AT, listed->member.name, NODE_NAME_SIZE_MAX);
    encode_text(to + MEMBER_PEER_AT, listed->member.peer, NODE_ADDRESS_SIZE_MAX);
    encode_text(to + MEMBER_CLIENT_AT, listed->member.client, NODE_ADDRESS_SIZE_MAX);
}

static void decode_member(const uint8_t *from, struct identity_member *listed)
{
    listed->id = load_u64(from);
    listed->member.incarnation = load_u64(from + MEMBER_INCARNATION_AT);
    decode_text(from + MEMBER_NAME_AT, listed->member.name, NODE_NAME_SIZE_MAX);
    decode_text(from + MEMBER_PEER_AT, listed->member.peer, NODE_ADDRESS_SIZE_MAX);
    decode_text(from + MEMBER_CLIENT_AT, listed->member.client, NODE_ADDRESS_SIZE_MAX);
}

void identity_encode(uint8_t to[IDENTITY_SIZE], const struct identity *identity)
{
    ASSERT(identity->incarnation != 0);
    ASSERT(identity->member_count <= NODE_MEMBER_COUNT_MAX);
    memset(to, 0, IDENTITY_SIZE);
    store_u32(to, MAGIC);
    store_u32(to + 4, VERSION);
    store_u64(to + 8, identity->incarnation);
    memcpy(to + CLUSTER_AT, identity->cluster, IDENTITY_CLUSTER_SIZE);
    store_u64(to + SELF_AT, identity->self);
    store_u32(to + STATE_AT, identity->formed  ? STATE_FORMED
                             : identity->joins ? STATE_JOINS
                                               : STATE_EMPTY);
    store_u32(to + MEMBER_COUNT_AT, identity->member_count);
    store_u64(to + JOINED_AT, identity->joined_index);
    encode_text(to + NAME_AT, identity->name, NODE_NAME_SIZE_MAX);
    for (uint32_t i = 0; i < identity->member_count; i++) {
        encode_member(to + MEMBERS_AT + (size_t)i * MEMBER_SIZE, &identity->members[i]);
    }
    store_u64(to + CHECKSUM_AT, checksum(bytes_of(to, CHECKSUM_AT), MAGIC));
}

const struct identity_member *identity_find(const struct identity *identity, struct bytes name)
{
    ASSERT(identity->member_count <= NODE_MEMBER_COUNT_MAX);
    for (uint32_t i = 0; i < identity->member_count; i++) {
        if (bytes_equal(bytes_of_text(identity->members[i].member.name), name)) {
            return &identity->members[i];
        }
    }
    return NULL;
}

/* Two members with one name or one id: no vote could be told from another. */
static bool has_duplicates(const struct identity *identity)
{
    for (uint32_t i = 0; i < identity->member_count; i++) {
        const struct identity_member *listed = &identity->members[i];

        if (identity_find(identity, bytes_of_text(listed->member.name)) != listed) {
            return true;
        }
        for (uint32_t j = 0; j < i; j++) {
            if (listed->id == identity->members[j].id) {
                return true;
            }
        }
    }
    return false;
}

bool identity_is_consistent(const struct identity *identity)
{
    if (identity->incarnation == 0 || identity->name[0] == '\0') {
        return false;
    }
    if (!identity->formed) {
        return identity->member_count == 0 && identity->joined_index == 0;
    }
    for (uint32_t i = 0; i < identity->member_count; i++) {
        if (identity->members[i].id == 0 || !member_is_valid(&identity->members[i].member)) {
            return false;
        }
    }
    if (identity->member_count == 0 || has_duplicates(identity)) {
        return false;
    }
    if (identity->joined_index != 0) {
        return identity->self == identity->incarnation;
    }
    const struct identity_member *self = identity_find(identity, bytes_of_text(identity->name));

    return self != NULL && self->id == identity->self &&
           self->member.incarnation == identity->incarnation;
}

void identity_base(const struct identity *identity, struct raft_base *base)
{
    ASSERT(identity_is_consistent(identity) && identity->formed);
    *base = (struct raft_base){.configuration = {.member_count = identity->member_count}};
    for (uint32_t i = 0; i < identity->member_count; i++) {
        struct raft_member *member = &base->configuration.members[i];

        member->id = identity->members[i].id;
        member->parts = RAFT_PART_VOTER;
        member->context_size = member_encode(member->context, &identity->members[i].member);
    }
}

enum error identity_decode(struct bytes bytes, struct identity *identity)
{
    const uint8_t *from = bytes.data;

    if (bytes.size != IDENTITY_SIZE || load_u32(from) != MAGIC) {
        return ERR_CORRUPT;
    }
    if (load_u64(from + CHECKSUM_AT) != checksum(bytes_of(from, CHECKSUM_AT), MAGIC)) {
        return ERR_CORRUPT;
    }
    if (load_u32(from + 4) != VERSION) {
        return ERR_VERSION;
    }
    *identity = (struct identity){
        .incarnation = load_u64(from + 8),
        .joins = load_u32(from + STATE_AT) == STATE_JOINS,
        .formed = load_u32(from + STATE_AT) == STATE_FORMED,
        .self = load_u64(from + SELF_AT),
        .joined_index = load_u64(from + JOINED_AT),
        .member_count = load_u32(from + MEMBER_COUNT_AT),
    };
    if (identity->member_count > NODE_MEMBER_COUNT_MAX) {
        return ERR_CORRUPT;
    }
    memcpy(identity->cluster, from + CLUSTER_AT, IDENTITY_CLUSTER_SIZE);
    decode_text(from + NAME_AT, identity->name, NODE_NAME_SIZE_MAX);
    for (uint32_t i = 0; i < identity->member_count; i++) {
        decode_member(from + MEMBERS_AT + (size_t)i * MEMBER_SIZE, &identity->members[i]);
    }
    return identity_is_consistent(identity) ? ERR_OK : ERR_CORRUPT;
}

enum error identity_load(struct disk *disk, struct identity *identity)
{
    _Alignas(DISK_ALIGNMENT) uint8_t bytes[DISK_ALIGNMENT]; /* As disk_read() wants it. */
    uint64_t size = 0;
    enum error error = disk_size(disk, &file_name, &size);

    if (error != ERR_OK) {
        return error;
    }
    if (size != IDENTITY_SIZE) {
        return ERR_CORRUPT;
    }
    error = disk_read(disk, &file_name, 0, bytes, sizeof(bytes), &size);
    if (error != ERR_OK) {
        return error;
    }
    return identity_decode(bytes_of(bytes, (size_t)size), identity);
}

enum error identity_save(struct disk *disk, const struct identity *identity)
{
    uint8_t bytes[IDENTITY_SIZE];

    ASSERT(identity_is_consistent(identity));
    identity_encode(bytes, identity);
    return disk_save(disk, &file_name, bytes_of(bytes, IDENTITY_SIZE));
}
