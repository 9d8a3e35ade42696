/* node/promise.c: the longest promise that a voter with this disk has ever given. */
#include "node/promise.h"

#include "base/assert.h"
#include "base/checksum.h"

#define MAGIC UINT32_C(0x4d504648) /* "HFPM" */

enum { VERSION = 1, PROMISE_AT = 8, RESERVED_AT = 12, CHECKSUM_AT = 16 };

_Static_assert(CHECKSUM_AT + sizeof(uint64_t) == PROMISE_SIZE, "the checksum is last");

static const struct disk_name file_name = {"promise"};

void promise_encode(uint8_t to[PROMISE_SIZE], uint32_t promise_ms)
{
    ASSERT_VALUES(promise_ms <= PROMISE_MS_MAX, promise_ms, PROMISE_MS_MAX);
    store_u32(to, MAGIC);
    store_u32(to + 4, VERSION);
    store_u32(to + PROMISE_AT, promise_ms);
    store_u32(to + RESERVED_AT, 0);
    store_u64(to + CHECKSUM_AT, checksum(bytes_of(to, CHECKSUM_AT), MAGIC));
}

enum error promise_decode(struct bytes bytes, uint32_t *promise_ms)
{
    const uint8_t *from = bytes.data;

    if (bytes.size != PROMISE_SIZE || load_u32(from) != MAGIC ||
        load_u64(from + CHECKSUM_AT) != checksum(bytes_of(from, CHECKSUM_AT), MAGIC)) {
        return ERR_CORRUPT;
    }
    if (load_u32(from + 4) != VERSION) {
        return ERR_VERSION;
    }
    if (load_u32(from + PROMISE_AT) > PROMISE_MS_MAX || load_u32(from + RESERVED_AT) != 0) {
        return ERR_CORRUPT;
    }
    *promise_ms = load_u32(from + PROMISE_AT);
    return ERR_OK;
}

static enum error load(struct disk *disk, uint32_t *promise_ms)
{
    _Alignas(DISK_ALIGNMENT) uint8_t bytes[DISK_ALIGNMENT]; /* As disk_read() wants it. */
    uint64_t size = 0;
    enum error error = disk_read(disk, &file_name, 0, bytes, sizeof(bytes), &size);

    if (error != ERR_OK) {
        return error;
    }
    return promise_decode(bytes_of(bytes, (size_t)size), promise_ms);
}

enum error promise_settle(struct disk *disk, uint32_t promise_ms, uint32_t *wait_ms)
{
    uint8_t bytes[PROMISE_SIZE];
    enum error error;

    ASSERT_VALUES(promise_ms <= PROMISE_MS_MAX, promise_ms, PROMISE_MS_MAX);
    *wait_ms = 0;
    error = load(disk, wait_ms);
    if (error == ERR_CORRUPT || error == ERR_VERSION) {
        *wait_ms = PROMISE_MS_MAX;
        return ERR_OK;
    }
    if (error != ERR_OK && error != ERR_MISSING) {
        return error;
    }
    if (promise_ms <= *wait_ms) {
        return ERR_OK;
    }
    *wait_ms = promise_ms;
    promise_encode(bytes, promise_ms);
    return disk_save(disk, &file_name, bytes_of(bytes, PROMISE_SIZE));
}
