/* client/command/snapshot_check.c: the blocks of a snapshot file, judged one by one. */
#include "client/command/snapshot_check.h"

#include "base/assert.h"
#include "base/checksum.h"

#define MAGIC UINT32_C(0x4E534648) /* "HFSN" */

enum { ALIGNMENT = 4096, KIND_END = 3, VERSION_AT = 12, KIND_AT = 14 };
enum { SIZE_AT = 16, NUMBER_AT = 24, INDEX_AT = 32, BEFORE_AT = 40, VERSION = 1 };

uint32_t snapshot_check_size(const uint8_t header[SNAPSHOT_CHECK_HEADER_SIZE])
{
    uint32_t size = load_u32(header + SIZE_AT);
    bool is_one = load_u32(header + 8) == MAGIC && size >= ALIGNMENT && size % ALIGNMENT == 0 &&
                  size <= SNAPSHOT_CHECK_BLOCK_SIZE_MAX;

    return is_one ? size : 0;
}

/* What lies behind the frozen part, where its version is known. */
static bool is_next(const struct snapshot_check *check, const uint8_t *block)
{
    return load_u64(block + NUMBER_AT) == check->number &&
           load_u64(block + INDEX_AT) == check->index &&
           load_u64(block + BEFORE_AT) == check->checksum;
}

bool snapshot_check_take(struct snapshot_check *check, struct bytes block)
{
    ASSERT(block.size >= SNAPSHOT_CHECK_HEADER_SIZE);
    uint64_t expected = load_u64(block.data);
    bool is_known = load_u16(block.data + VERSION_AT) == VERSION;

    if (check->has_end || snapshot_check_size(block.data) != block.size ||
        checksum(bytes_skip(block, 8), MAGIC) != expected ||
        (is_known && !is_next(check, block.data))) {
        return false;
    }
    check->offset += block.size;
    check->number++;
    check->checksum = expected;
    check->has_end = load_u16(block.data + KIND_AT) == KIND_END;
    return true;
}
