/* tests/fuzz/fuzz_identity.c: any bytes as the small files of a node, `identity` and `promise`.
 *
 * As they are, and once more with the magic number and the checksum put right: without that nothing
 * ever gets behind the checksum. Laws: nothing outside of the input is read; what is taken is
 * consistent, may be saved, and is the same when it is read again; the configuration that it begins
 * the log with is valid. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/assert.h"
#include "base/checksum.h"
#include "node/identity.h"
#include "node/promise.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_identity(struct bytes bytes)
{
    static uint8_t first[IDENTITY_SIZE];
    static uint8_t second[IDENTITY_SIZE];
    static struct identity identity;
    static struct raft_base base;

    if (identity_decode(bytes, &identity) != ERR_OK) {
        return;
    }
    ASSERT(identity_is_consistent(&identity));
    identity_encode(first, &identity);
    ASSERT(identity_decode(bytes_of(first, sizeof(first)), &identity) == ERR_OK);
    identity_encode(second, &identity);
    ASSERT(memcmp(first, second, sizeof(first)) == 0);
    if (identity.formed) {
        identity_base(&identity, &base);
        ASSERT(raft_configuration_is_valid(&base.configuration));
    }
}

static void check_promise(struct bytes bytes)
{
    uint8_t again[PROMISE_SIZE];
    uint32_t promise_ms = 0;

    if (promise_decode(bytes, &promise_ms) == ERR_OK) {
        promise_encode(again, promise_ms);
        ASSERT(bytes_equal(bytes_of(again, sizeof(again)), bytes));
    }
}

/* The magic number, which is the seed too, and the checksum of what a sample of the file has. */
static struct bytes heal(uint8_t *file, size_t size, struct bytes input, const uint8_t *sample)
{
    memset(file, 0, size);
    memcpy(file, input.data, size_min(size, input.size));
    memcpy(file, sample, 8); /* Magic and version. */
    store_u64(file + size - 8, checksum(bytes_of(file, size - 8), load_u32(file)));
    return bytes_of(file, size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t identity_file[IDENTITY_SIZE];
    static uint8_t identity_sample[IDENTITY_SIZE];
    const struct identity sample = {.incarnation = 77, .name = "n1"};
    uint8_t promise_file[PROMISE_SIZE];
    uint8_t promise_sample[PROMISE_SIZE];
    struct bytes bytes = bytes_of(data, size);

    if (size == 0) {
        return 0;
    }
    identity_encode(identity_sample, &sample);
    promise_encode(promise_sample, 1);
    check_identity(bytes);
    check_promise(bytes);
    check_identity(heal(identity_file, sizeof(identity_file), bytes, identity_sample));
    check_promise(heal(promise_file, sizeof(promise_file), bytes, promise_sample));
    return 0;
}
