/* node/identity.c: the file `identity`. */
#include "node/identity.h"

#include "base/assert.h"
#include "base/checksum.h"

enum {
    MAGIC = 0x44494648, /* "HFID" */
    VERSION = 1,
    CLUSTER_AT = 16,
    SELF_AT = 32,
    FORMED_AT = 40,
    MEMBER_COUNT_AT = 44,
    NAME_AT = 48,
    MEMBERS_AT = 80,
    MEMBER_SIZE = NODE_NAME_SIZE_MAX + 16,
    CHECKSUM_AT = IDENTITY_SIZE - 8,
};

_Static_assert((int)NAME_AT + (int)NODE_NAME_SIZE_MAX == (int)MEMBERS_AT, "the name fits");
_Static_assert((int)IDENTITY_SIZE <= (int)DISK_ALIGNMENT, "one block holds it");
_Static_assert(MEMBERS_AT + NODE_MEMBER_COUNT_MAX * MEMBER_SIZE == CHECKSUM_AT, "all members fit");

static const struct disk_name file_name = {.text = "identity"};

static void encode_name(uint8_t *to, const char *name)
{
    struct bytes bytes = bytes_of_text(name);

    ASSERT_VALUES(bytes.size > 0 && bytes.size <= NODE_NAME_SIZE_MAX, bytes.size, 0);
    memset(to, 0, NODE_NAME_SIZE_MAX);
    memcpy(to, bytes.data, bytes.size);
}

static void decode_name(const uint8_t *from, char name[NODE_NAME_SIZE_MAX + 1])
{
    memcpy(name, from, NODE_NAME_SIZE_MAX);
    name[NODE_NAME_SIZE_MAX] = '\0';
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
    store_u32(to + FORMED_AT, identity->formed ? 1 : 0);
    store_u32(to + MEMBER_COUNT_AT, identity->member_count);
    encode_name(to + NAME_AT, identity->name);
    for (uint32_t i = 0; i < identity->member_count; i++) {
        const struct identity_member *member = &identity->members[i];
        uint8_t *at = to + MEMBERS_AT + (size_t)i * MEMBER_SIZE;

        encode_name(at, member->name);
        store_u64(at + NODE_NAME_SIZE_MAX, member->id);
        store_u64(at + NODE_NAME_SIZE_MAX + 8, member->incarnation);
    }
    store_u64(to + CHECKSUM_AT, checksum(bytes_of(to, CHECKSUM_AT), MAGIC));
}

const struct identity_member *identity_find(const struct identity *identity, struct bytes name)
{
    ASSERT(identity->member_count <= NODE_MEMBER_COUNT_MAX);
    for (uint32_t i = 0; i < identity->member_count; i++) {
        if (bytes_equal(bytes_of_text(identity->members[i].name), name)) {
            return &identity->members[i];
        }
    }
    return NULL;
}

/* A formed node is one of the members that it lists, with the incarnation that it has. */
static bool is_consistent(const struct identity *identity)
{
    if (identity->incarnation == 0 || identity->name[0] == '\0') {
        return false;
    }
    if (!identity->formed) {
        return identity->member_count == 0;
    }
    const struct identity_member *self = identity_find(identity, bytes_of_text(identity->name));

    return self != NULL && self->id == identity->self && self->id != 0 &&
           self->incarnation == identity->incarnation;
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
        .formed = load_u32(from + FORMED_AT) == 1,
        .self = load_u64(from + SELF_AT),
        .member_count = load_u32(from + MEMBER_COUNT_AT),
    };
    if (identity->member_count > NODE_MEMBER_COUNT_MAX) {
        return ERR_CORRUPT;
    }
    memcpy(identity->cluster, from + CLUSTER_AT, IDENTITY_CLUSTER_SIZE);
    decode_name(from + NAME_AT, identity->name);
    for (uint32_t i = 0; i < identity->member_count; i++) {
        const uint8_t *at = from + MEMBERS_AT + (size_t)i * MEMBER_SIZE;

        decode_name(at, identity->members[i].name);
        identity->members[i].id = load_u64(at + NODE_NAME_SIZE_MAX);
        identity->members[i].incarnation = load_u64(at + NODE_NAME_SIZE_MAX + 8);
    }
    return is_consistent(identity) ? ERR_OK : ERR_CORRUPT;
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

    ASSERT(is_consistent(identity));
    identity_encode(bytes, identity);
    return disk_save(disk, &file_name, bytes_of(bytes, IDENTITY_SIZE));
}
