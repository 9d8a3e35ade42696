/* node/snapshot_format.c: blocks of a snapshot file, written and read. */
#include "node/snapshot_format.h"

#include "base/assert.h"
#include "base/checksum.h"
#include "base/text.h"

enum {
    /* Of a block. */
    MAGIC_AT = 8,
    VERSION_AT = 12,
    KIND_AT = 14,
    SIZE_AT = 16,
    BODY_SIZE_AT = 20,
    NUMBER_AT = 24,
    INDEX_AT = 32,
    PREVIOUS_AT = 40,
    /* Of the head's body. */
    HEAD_TERM_AT = 16,
    HEAD_LOG_MS_AT = 24,
    HEAD_HASH_AT = 32,
    HEAD_CONFIGURATION_INDEX_AT = 40,
    HEAD_CONFIGURATION_SIZE_AT = 48,
    HEAD_CONFIGURATION_AT = 52,
    /* Of the end's body. */
    END_PAIR_COUNT_AT = 8,
    END_HASH_AT = 16,
    END_BODY_SIZE = 24,
    /* Of names. */
    INDEX_DIGITS = 16,
};

_Static_assert((int)SNAPSHOT_BLOCK_HEADER_SIZE + (int)SNAPSHOT_PAIR_HEADER_SIZE +
                       (int)TABLE_KEY_SIZE_MAX + (int)TABLE_VALUE_SIZE_MAX <=
                   (int)SNAPSHOT_BLOCK_SIZE_MAX,
               "the largest pair fits into a block of its own");
_Static_assert((int)SNAPSHOT_BLOCK_HEADER_SIZE + (int)HEAD_CONFIGURATION_AT +
                       (int)SNAPSHOT_CONFIGURATION_SIZE_MAX <=
                   (int)SNAPSHOT_HEAD_SIZE_MAX,
               "the head fits");
_Static_assert(SNAPSHOT_BLOCK_SIZE_MAX % DISK_ALIGNMENT == 0, "blocks are aligned");
_Static_assert(SNAPSHOT_BLOCK_SIZE % DISK_ALIGNMENT == 0, "blocks are aligned");

/* --- Names ------------------------------------------------------------------------------------ */

static const char name_prefix[] = "snap-";

static const char *suffix_of(enum snapshot_name_kind kind)
{
    switch (kind) {
    case SNAPSHOT_NAME_OTHER:
        break;
    case SNAPSHOT_NAME_WHOLE:
        return "";
    case SNAPSHOT_NAME_NEW:
        return ".new";
    case SNAPSHOT_NAME_PART:
        return ".part";
    }
    UNREACHABLE();
}

void snapshot_name(struct disk_name *name, enum snapshot_name_kind kind, raft_index index)
{
    static const char digits[] = "0123456789abcdef";
    char hex[INDEX_DIGITS + 1] = {0};
    struct text text;

    for (unsigned i = 0; i < INDEX_DIGITS; i++) {
        hex[i] = digits[index >> (4 * (INDEX_DIGITS - 1 - i)) & 15];
    }
    memset(name, 0, sizeof(*name));
    text_init(&text, name->text, sizeof(name->text));
    text_add(&text, name_prefix);
    text_add(&text, hex);
    text_add(&text, suffix_of(kind));
    ASSERT(!text.truncated);
}

/* The number that INDEX_DIGITS lower-case digits make; 0 when they are none. */
static raft_index index_of(const char *digits)
{
    raft_index index = 0;

    for (unsigned i = 0; i < INDEX_DIGITS; i++) {
        char digit = digits[i];

        if (digit >= '0' && digit <= '9') {
            index = index << 4 | (raft_index)(digit - '0');
        } else if (digit >= 'a' && digit <= 'f') {
            index = index << 4 | (raft_index)(digit - 'a' + 10);
        } else {
            return 0;
        }
    }
    return index;
}

enum snapshot_name_kind snapshot_name_parse(const struct disk_name *name, raft_index *index)
{
    static const enum snapshot_name_kind kinds[] = {SNAPSHOT_NAME_WHOLE, SNAPSHOT_NAME_NEW,
                                                    SNAPSHOT_NAME_PART};
    size_t prefix_size = sizeof(name_prefix) - 1;
    struct bytes bytes = bytes_of_text(name->text);

    if (bytes.size < prefix_size + INDEX_DIGITS) {
        return SNAPSHOT_NAME_OTHER;
    }
    *index = index_of(name->text + prefix_size);
    for (size_t i = 0; *index != 0 && i < COUNT_OF(kinds); i++) {
        struct disk_name expected;

        snapshot_name(&expected, kinds[i], *index);
        if (bytes_equal(bytes, bytes_of_text(expected.text))) {
            return kinds[i];
        }
    }
    return SNAPSHOT_NAME_OTHER;
}

/* --- Writing ---------------------------------------------------------------------------------- */

/* Pads the block that begins at `begin` and writes its header. */
static void seal(struct snapshot_chain *chain, enum snapshot_block_kind kind, struct buffer *out,
                 size_t begin)
{
    size_t used = out->size - begin;
    size_t size = size_round_up(used, DISK_ALIGNMENT);
    uint8_t *padding = buffer_extend(out, size - used);
    uint8_t *block = out->data + begin;

    ASSERT(padding != NULL);
    ASSERT_VALUES(size <= SNAPSHOT_BLOCK_SIZE_MAX, size, chain->number);
    memset(padding, 0, size - used);
    store_u32(block + MAGIC_AT, SNAPSHOT_MAGIC);
    store_u16(block + VERSION_AT, SNAPSHOT_FORMAT_VERSION);
    store_u16(block + KIND_AT, (uint16_t)kind);
    store_u32(block + SIZE_AT, (uint32_t)size);
    store_u32(block + BODY_SIZE_AT, (uint32_t)(used - SNAPSHOT_BLOCK_HEADER_SIZE));
    store_u64(block + NUMBER_AT, chain->number);
    store_u64(block + INDEX_AT, chain->index);
    store_u64(block + PREVIOUS_AT, chain->checksum);
    chain->checksum = checksum(bytes_of(block + MAGIC_AT, size - MAGIC_AT), SNAPSHOT_MAGIC);
    store_u64(block, chain->checksum);
    chain->number++;
    chain->offset += size;
}

/* Room for the header of a block and `body_size` bytes behind it, which are returned. */
static uint8_t *block_begin(struct buffer *out, size_t body_size)
{
    uint8_t *block = buffer_extend(out, SNAPSHOT_BLOCK_HEADER_SIZE + body_size);

    ASSERT_VALUES(block != NULL, out->size, out->capacity);
    return block + SNAPSHOT_BLOCK_HEADER_SIZE;
}

void snapshot_write_head(struct snapshot_chain *chain, const struct snapshot_base *base,
                         struct buffer *out)
{
    size_t begin = out->size;
    uint8_t *body = block_begin(out, HEAD_CONFIGURATION_AT + base->configuration.size);

    ASSERT(base->index != 0);
    ASSERT_VALUES(base->configuration.size <= SNAPSHOT_CONFIGURATION_SIZE_MAX,
                  base->configuration.size, base->index);
    *chain = (struct snapshot_chain){.index = base->index};
    memcpy(body, base->cluster, SNAPSHOT_CLUSTER_SIZE);
    store_u64(body + HEAD_TERM_AT, base->term);
    store_u64(body + HEAD_LOG_MS_AT, base->log_ms);
    store_u64(body + HEAD_HASH_AT, base->state_hash);
    store_u64(body + HEAD_CONFIGURATION_INDEX_AT, base->configuration_index);
    store_u32(body + HEAD_CONFIGURATION_SIZE_AT, (uint32_t)base->configuration.size);
    if (base->configuration.size != 0) {
        memcpy(body + HEAD_CONFIGURATION_AT, base->configuration.data, base->configuration.size);
    }
    seal(chain, SNAPSHOT_HEAD, out, begin);
}

void snapshot_write_end(struct snapshot_chain *chain, struct buffer *out)
{
    size_t begin = out->size;
    uint8_t *body = block_begin(out, END_BODY_SIZE);

    ASSERT(chain->number > 0);
    store_u64(body, chain->offset + SNAPSHOT_END_SIZE);
    store_u64(body + END_PAIR_COUNT_AT, chain->pair_count);
    store_u64(body + END_HASH_AT, chain->hash);
    seal(chain, SNAPSHOT_END, out, begin);
}

void snapshot_block_open(struct snapshot_block *block, struct buffer *out)
{
    ASSERT(block->out == NULL);
    ASSERT_VALUES(buffer_room(out) >= SNAPSHOT_BLOCK_SIZE_MAX, out->size, out->capacity);
    *block = (struct snapshot_block){.out = out, .begin = out->size};
    (void)block_begin(out, 0);
}

bool snapshot_block_add(struct snapshot_block *block, struct snapshot_chain *chain,
                        struct bytes key, struct bytes value)
{
    size_t used = block->out->size - block->begin;
    size_t size = SNAPSHOT_PAIR_HEADER_SIZE + key.size + value.size;

    ASSERT_VALUES(key.size >= 1 && key.size <= TABLE_KEY_SIZE_MAX, key.size, chain->index);
    ASSERT_VALUES(value.size <= TABLE_VALUE_SIZE_MAX, value.size, chain->index);
    if (used > SNAPSHOT_BLOCK_HEADER_SIZE && used + size > SNAPSHOT_BLOCK_SIZE) {
        return false;
    }
    uint8_t *at = buffer_extend(block->out, size);
    ASSERT(at != NULL);
    store_u16(at, (uint16_t)key.size);
    store_u32(at + 2, (uint32_t)value.size);
    memcpy(at + SNAPSHOT_PAIR_HEADER_SIZE, key.data, key.size);
    if (value.size != 0) {
        memcpy(at + SNAPSHOT_PAIR_HEADER_SIZE + key.size, value.data, value.size);
    }
    chain->pair_count++;
    chain->hash += checksum_pair(key, value, TABLE_HASH_SEED);
    return true;
}

void snapshot_block_close(struct snapshot_block *block, struct snapshot_chain *chain)
{
    ASSERT(block->out->size - block->begin > SNAPSHOT_BLOCK_HEADER_SIZE);
    seal(chain, SNAPSHOT_PAIRS, block->out, block->begin);
    block->out = NULL;
}

/* --- Reading ---------------------------------------------------------------------------------- */

/* The size that a block says of itself; 0 when it cannot be one. */
static uint32_t block_size(const uint8_t *block)
{
    uint32_t size = load_u32(block + SIZE_AT);

    if (load_u32(block + MAGIC_AT) != SNAPSHOT_MAGIC || size < DISK_ALIGNMENT ||
        size > SNAPSHOT_BLOCK_SIZE_MAX || size % DISK_ALIGNMENT != 0) {
        return 0;
    }
    return size;
}

/* Whether the block is what was sealed, and of this version. */
static enum error block_judge(const uint8_t *block, uint32_t size)
{
    if (load_u64(block) != checksum(bytes_of(block + MAGIC_AT, size - MAGIC_AT), SNAPSHOT_MAGIC)) {
        return ERR_CORRUPT;
    }
    if (load_u16(block + VERSION_AT) != SNAPSHOT_FORMAT_VERSION) {
        return ERR_VERSION;
    }
    uint32_t body_size = load_u32(block + BODY_SIZE_AT);
    if (body_size > size - SNAPSHOT_BLOCK_HEADER_SIZE ||
        size != size_round_up((size_t)SNAPSHOT_BLOCK_HEADER_SIZE + body_size, DISK_ALIGNMENT)) {
        return ERR_CORRUPT;
    }
    return ERR_OK;
}

static struct bytes block_body(const uint8_t *block)
{
    return bytes_of(block + SNAPSHOT_BLOCK_HEADER_SIZE, load_u32(block + BODY_SIZE_AT));
}

static void end_decode(const uint8_t *block, struct snapshot_end *end)
{
    const uint8_t *body = block + SNAPSHOT_BLOCK_HEADER_SIZE;

    *end = (struct snapshot_end){
        .file_size = load_u64(body),
        .pair_count = load_u64(body + END_PAIR_COUNT_AT),
        .hash = load_u64(body + END_HASH_AT),
        .checksum = load_u64(block),
    };
}

/* Whether a sound block is the next one of the chain. */
static bool is_next(const struct snapshot_chain *chain, const uint8_t *block)
{
    unsigned kind = load_u16(block + KIND_AT);

    if (load_u64(block + NUMBER_AT) != chain->number ||
        load_u64(block + INDEX_AT) != chain->index ||
        load_u64(block + PREVIOUS_AT) != chain->checksum) {
        return false;
    }
    if (kind == SNAPSHOT_END) {
        struct snapshot_end end;

        if (block_body(block).size != END_BODY_SIZE) {
            return false;
        }
        end_decode(block, &end);
        return chain->number != 0 && end.file_size == chain->offset + SNAPSHOT_END_SIZE &&
               end.pair_count == chain->pair_count && end.hash == chain->hash;
    }
    return kind == (chain->number == 0 ? SNAPSHOT_HEAD : SNAPSHOT_PAIRS);
}

enum error snapshot_read_block(struct snapshot_chain *chain, struct bytes bytes,
                               struct snapshot_block_view *view)
{
    if (bytes.size < DISK_ALIGNMENT) {
        return ERR_INCOMPLETE;
    }
    uint32_t size = block_size(bytes.data);
    if (size == 0) {
        return ERR_CORRUPT;
    }
    if (size > bytes.size) {
        return ERR_INCOMPLETE;
    }
    enum error error = block_judge(bytes.data, size);
    if (error != ERR_OK) {
        return error;
    }
    if (!is_next(chain, bytes.data)) {
        return ERR_CORRUPT;
    }
    *view = (struct snapshot_block_view){
        .kind = (enum snapshot_block_kind)load_u16(bytes.data + KIND_AT),
        .size = size,
        .body = block_body(bytes.data),
    };
    chain->number++;
    chain->offset += size;
    chain->checksum = load_u64(bytes.data);
    return ERR_OK;
}

raft_index snapshot_read_index(const uint8_t *head)
{
    return load_u64(head + INDEX_AT);
}

enum error snapshot_read_head(struct bytes body, raft_index index, struct snapshot_base *base)
{
    if (body.size < HEAD_CONFIGURATION_AT) {
        return ERR_CORRUPT;
    }
    uint32_t configuration_size = load_u32(body.data + HEAD_CONFIGURATION_SIZE_AT);
    if (configuration_size > SNAPSHOT_CONFIGURATION_SIZE_MAX ||
        body.size != (size_t)HEAD_CONFIGURATION_AT + configuration_size) {
        return ERR_CORRUPT;
    }
    *base = (struct snapshot_base){
        .index = index,
        .term = load_u64(body.data + HEAD_TERM_AT),
        .log_ms = load_u64(body.data + HEAD_LOG_MS_AT),
        .state_hash = load_u64(body.data + HEAD_HASH_AT),
        .configuration_index = load_u64(body.data + HEAD_CONFIGURATION_INDEX_AT),
        .configuration = bytes_of(body.data + HEAD_CONFIGURATION_AT, configuration_size),
    };
    memcpy(base->cluster, body.data, SNAPSHOT_CLUSTER_SIZE);
    return ERR_OK;
}

enum error snapshot_read_end(const uint8_t *block, raft_index index, struct snapshot_end *end)
{
    if (block_size(block) != SNAPSHOT_END_SIZE) {
        return ERR_CORRUPT;
    }
    enum error error = block_judge(block, SNAPSHOT_END_SIZE);
    if (error != ERR_OK) {
        return error;
    }
    if (load_u16(block + KIND_AT) != SNAPSHOT_END || load_u64(block + INDEX_AT) != index ||
        block_body(block).size != END_BODY_SIZE) {
        return ERR_CORRUPT;
    }
    end_decode(block, end);
    return ERR_OK;
}

enum error snapshot_read_pair(struct bytes *body, struct snapshot_chain *chain, struct bytes *key,
                              struct bytes *value)
{
    if (body->size == 0) {
        return ERR_MISSING;
    }
    if (body->size < SNAPSHOT_PAIR_HEADER_SIZE) {
        return ERR_CORRUPT;
    }
    size_t key_size = load_u16(body->data);
    size_t value_size = load_u32(body->data + 2);
    struct bytes rest = bytes_skip(*body, SNAPSHOT_PAIR_HEADER_SIZE);
    if (key_size == 0 || key_size > TABLE_KEY_SIZE_MAX || value_size > TABLE_VALUE_SIZE_MAX ||
        rest.size < key_size + value_size) {
        return ERR_CORRUPT;
    }
    *key = bytes_of(rest.data, key_size);
    *value = bytes_of(rest.data + key_size, value_size);
    *body = bytes_skip(rest, key_size + value_size);
    chain->pair_count++;
    chain->hash += checksum_pair(*key, *value, TABLE_HASH_SEED);
    return ERR_OK;
}
