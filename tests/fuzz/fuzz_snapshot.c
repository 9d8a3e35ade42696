/* tests/fuzz/fuzz_snapshot.c: the input as pairs and changes of a snapshot file that a node then
 * finds in its folder.
 *
 * Random bytes would never get behind the first checksum, so the input says which pairs are in the
 * file, in whatever order, and which bytes are changed; then, if it says so, all checksums are made
 * right again. Laws: nothing crashes; what is refused leaves an empty table; what is loaded has the
 * hash that it says, and saved again and loaded it is the same. Without changes, and in order, it
 * is loaded, and saved again it is the same bytes. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/checksum.h"
#include "tests/support/base/memory_table.h"
#include "tests/support/log/memory_disk.h"
#include "tests/support/node/snapshot_fixture.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    INDEX = 7,
    FILE_SIZE_MAX = 1 << 20,
    PAIR_COUNT_MAX = 64,
    CHANGE_SIZE = 4, /* Offset in three bytes, what to change. */
    CHANGE_COUNT_MAX = 16,
};

static const char file_name[] = "snap-0000000000000007";

struct file {
    struct buffer out;
    struct snapshot_chain chain;
    uint64_t hash;
    bool is_sorted;
    bool is_changed;
    uint8_t memory[FILE_SIZE_MAX + SNAPSHOT_BLOCK_SIZE_MAX];
};

static struct bytes take(struct bytes *rest, size_t size)
{
    struct bytes taken = bytes_of(rest->data, size_min(size, rest->size));

    *rest = bytes_skip(*rest, taken.size);
    return taken;
}

static uint8_t take_byte(struct bytes *rest)
{
    struct bytes byte = take(rest, 1);

    return byte.size == 0 ? 0 : byte.data[0];
}

/* Large values, without a large input: many blocks, and blocks of one pair. */
static struct bytes value_of(struct bytes *rest)
{
    static uint8_t memory[SNAPSHOT_BLOCK_SIZE * 2];
    uint8_t size = take_byte(rest);

    if (size < 240) {
        return take(rest, size);
    }
    memset(memory, size, sizeof(memory));
    return bytes_of(memory, (size_t)(size - 239) * 8192);
}

static void write_pairs(struct file *file, struct bytes *rest, uint32_t count)
{
    struct snapshot_block block = {.out = NULL};
    struct bytes last = bytes_of(NULL, 0);

    for (uint32_t i = 0; i < count && rest->size != 0; i++) {
        struct bytes key = take(rest, 1 + (size_t)take_byte(rest) % 8);
        struct bytes value = value_of(rest);

        if (key.size == 0 || file->out.size + SNAPSHOT_BLOCK_SIZE_MAX > FILE_SIZE_MAX) {
            break;
        }
        file->is_sorted = file->is_sorted && bytes_compare(last, key) < 0;
        last = key;
        if (block.out == NULL) {
            snapshot_block_open(&block, &file->out);
        }
        if (!snapshot_block_add(&block, &file->chain, key, value)) {
            snapshot_block_close(&block, &file->chain);
            snapshot_block_open(&block, &file->out);
            bool fits = snapshot_block_add(&block, &file->chain, key, value);
            ASSERT(fits);
        }
    }
    if (block.out != NULL) {
        snapshot_block_close(&block, &file->chain);
    }
}

/* The head says the hash, which is known at the end: so all is written twice. */
static void write_file(struct file *file, const struct snapshot_base *base, struct bytes *rest,
                       uint32_t count)
{
    struct snapshot_base written = *base;
    struct bytes program = *rest;

    for (int pass = 0; pass < 2; pass++) {
        *rest = program;
        file->out = buffer_of(file->memory, sizeof(file->memory));
        file->is_sorted = true;
        written.state_hash = file->chain.hash;
        snapshot_write_head(&file->chain, &written, &file->out);
        write_pairs(file, rest, count);
    }
    file->hash = file->chain.hash;
    snapshot_write_end(&file->chain, &file->out);
}

/* Makes every checksum right, as far as the sizes of the blocks make sense. */
static void seal_again(struct file *file)
{
    uint64_t previous = 0;

    for (size_t at = 0; at + DISK_ALIGNMENT <= file->out.size;) {
        uint8_t *block = file->memory + at;
        uint32_t size = load_u32(block + 16);

        if (size < SNAPSHOT_BLOCK_HEADER_SIZE || size > file->out.size - at) {
            return;
        }
        store_u64(block + 40, previous);
        previous = checksum(bytes_of(block + 8, size - 8), SNAPSHOT_MAGIC);
        store_u64(block, previous);
        at += size;
    }
}

static void change_file(struct file *file, struct bytes *rest, uint32_t count)
{
    for (uint32_t i = 0; i < count && rest->size >= CHANGE_SIZE; i++) {
        struct bytes change = take(rest, CHANGE_SIZE);
        size_t offset = (load_u32(change.data) & 0xffffff) % file->out.size;

        file->memory[offset] ^= change.data[3];
        file->is_changed = file->is_changed || change.data[3] != 0;
    }
}

static void check_loaded(struct snapshot_fixture *fixture, const struct file *file)
{
    struct snapshot_fixture again;
    struct snapshot_base base =
        snapshots_base(fixture->snapshots, snapshots_newest(fixture->snapshots));

    ASSERT(table_hash(fixture->table) == base.state_hash);
    snapshot_fixture_open(&again);
    memory_table_close(again.table);
    again.table = snapshot_fixture_copy(fixture->table);
    struct table *copy = snapshot_fixture_copy(fixture->table);
    snapshot_fixture_begin(&again);
    table_commit(again.table);
    ASSERT(snapshots_save_begin(again.snapshots, &base, 0) == ERR_OK);
    snapshot_fixture_settle(&again);
    ASSERT(snapshots_load_now(again.snapshots, INDEX) == ERR_OK);
    ASSERT(snapshot_fixture_tables_equal(again.table, copy));
    if (!file->is_changed) {
        ASSERT(bytes_equal(memory_disk_file(again.disk, file_name),
                           memory_disk_file(fixture->disk, file_name)));
    }
    memory_table_close(copy);
    snapshot_fixture_close(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct file file;
    struct snapshot_fixture fixture;
    struct bytes rest = bytes_of(data, size);
    uint8_t pair_count = take_byte(&rest);
    uint8_t change_count = take_byte(&rest);

    file.chain.hash = 0;
    file.is_changed = false;
    snapshot_fixture_open(&fixture);
    struct snapshot_base base = snapshot_fixture_base(&fixture, INDEX);
    memcpy(base.cluster, fixture.options.cluster, SNAPSHOT_CLUSTER_SIZE);
    write_file(&file, &base, &rest, pair_count % PAIR_COUNT_MAX);
    change_file(&file, &rest, change_count % CHANGE_COUNT_MAX);
    if (change_count >= 128) {
        seal_again(&file);
    }
    memory_disk_put(fixture.disk, file_name, buffer_bytes(&file.out));
    snapshot_fixture_begin(&fixture);
    enum error error = snapshots_load_now(fixture.snapshots, INDEX);
    snapshots_check(fixture.snapshots);
    if (error == ERR_OK) {
        ASSERT(file.is_sorted || file.is_changed);
        check_loaded(&fixture, &file);
    } else {
        ASSERT(!file.is_sorted || file.is_changed);
        ASSERT(memory_table_count(fixture.table) == 0);
    }
    snapshot_fixture_close(&fixture);
    return 0;
}
