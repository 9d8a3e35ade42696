/* node/snapshot_file.c: a file that is read or written while nothing else happens. */
#include "node/snapshot_file.h"

#include "base/assert.h"
#include "node/snapshot_internal.h"

size_t snapshot_file_memory_size(void)
{
    return SCAN_BUFFER_SIZE > SAVE_BUFFER_SIZE ? SCAN_BUFFER_SIZE : SAVE_BUFFER_SIZE;
}

/* --- Reading ---------------------------------------------------------------------------------- */

/* ERR_CORRUPT for what is too short to have an index. */
static enum error begin(struct scan *scan, struct disk *disk, const struct disk_name *name)
{
    uint64_t size = 0;
    uint64_t size_read = 0;
    enum error error = disk_size(disk, name, &size);

    if (error == ERR_OK) {
        error = disk_read(disk, name, 0, scan->memory, DISK_ALIGNMENT, &size_read);
    }
    if (error == ERR_OK && (size_read != DISK_ALIGNMENT || size < SNAPSHOT_FILE_SIZE_MIN)) {
        error = ERR_CORRUPT;
    }
    if (error == ERR_OK) {
        snapshots_scan_begin(scan, SNAPSHOT_NAME_WHOLE, snapshot_read_index(scan->memory),
                             size_round_up(size, DISK_ALIGNMENT));
        scan->name = *name;
    }
    return error;
}

/* A file that ends within a block of the disk shows as one whose last read came short. */
static enum error walk(struct scan *scan, struct disk *disk, const uint8_t *cluster,
                       struct table *table)
{
    enum scan_step step = SCAN_WAIT;

    while (step == SCAN_WAIT || step == SCAN_BLOCK) {
        snapshots_scan_fill_now(scan, disk);
        step = snapshots_scan_take(scan, cluster, table);
    }
    return step == SCAN_WHOLE ? ERR_OK : scan->error;
}

/* What it stands for, once all of it was seen. */
static enum error describe(const struct scan *scan, struct snapshot_found *found)
{
    found->file = snapshots_scan_file(scan);
    memcpy(found->cluster, scan->base.cluster, SNAPSHOT_CLUSTER_SIZE);
    found->log_ms = scan->base.log_ms;
    if (found->file.index == 0 || found->file.term == 0 ||
        !raft_configuration_decode(scan->base.configuration, &found->configuration)) {
        found->offset = 0;
        return ERR_CORRUPT;
    }
    return ERR_OK;
}

enum error snapshot_file_read(struct disk *disk, const struct disk_name *name,
                              const uint8_t *cluster, struct table *table, uint8_t *memory,
                              struct snapshot_found *found)
{
    struct scan scan = {0};

    scan.memory = memory;
    enum error error = begin(&scan, disk, name);

    ASSERT((uintptr_t)memory % DISK_ALIGNMENT == 0);
    memset(found, 0, sizeof(*found));
    if (error != ERR_OK) {
        return error;
    }
    if (table != NULL) {
        table_load_begin(table);
    }
    error = walk(&scan, disk, cluster, table);
    found->offset = scan.chain.offset;
    if (error == ERR_OK) {
        error = describe(&scan, found);
    }
    if (table != NULL) {
        ASSERT(error != ERR_OK || table_error(table) != ERR_OK ||
               table_hash(table) == scan.base.state_hash);
        table_load_end(table, error == ERR_OK);
        error = table_error(table) != ERR_OK ? table_error(table) : error;
    }
    return error;
}

/* --- Writing ---------------------------------------------------------------------------------- */

struct writing {
    struct disk *disk;
    struct disk_name name;
    struct snapshot_chain chain;
    struct snapshot_block block;
    struct buffer buffer;
    uint64_t staged_size;
};

static enum error stage(struct writing *writing)
{
    enum error error = disk_stage(writing->disk, &writing->name, writing->staged_size,
                                  buffer_bytes(&writing->buffer));

    writing->staged_size += writing->buffer.size;
    writing->buffer.size = 0;
    return error;
}

static enum error add(struct writing *writing, struct bytes key, struct bytes value)
{
    enum error error = ERR_OK;

    if (writing->block.out != NULL &&
        snapshot_block_add(&writing->block, &writing->chain, key, value)) {
        return ERR_OK;
    }
    if (writing->block.out != NULL) {
        snapshot_block_close(&writing->block, &writing->chain);
        error = writing->buffer.size >= WRITE_SIZE ? stage(writing) : ERR_OK;
    }
    snapshot_block_open(&writing->block, &writing->buffer);
    bool fits = snapshot_block_add(&writing->block, &writing->chain, key, value);

    ASSERT_VALUES(fits, key.size, value.size); /* Any pair fits into an empty block. */
    return error;
}

static enum error write_pairs(struct writing *writing, struct table *table)
{
    uint8_t memory[TABLE_KEY_SIZE_MAX];
    struct bytes last = bytes_of(memory, 0);
    struct bytes key;
    struct bytes value;
    enum error error = ERR_OK;

    while (error == ERR_OK && table_seek(table, last, false, &key, &value)) {
        memcpy(memory, key.data, key.size);
        last.size = key.size;
        error = add(writing, key, value);
    }
    if (writing->block.out != NULL) {
        snapshot_block_close(&writing->block, &writing->chain);
    }
    return error == ERR_OK ? table_error(table) : error;
}

enum error snapshot_file_write(struct disk *disk, const struct snapshot_base *base,
                               struct table *table, uint8_t *memory)
{
    struct writing writing = {.disk = disk, .buffer = buffer_of(memory, SAVE_BUFFER_SIZE)};
    struct disk_name whole;

    ASSERT((uintptr_t)memory % DISK_ALIGNMENT == 0);
    snapshot_name(&writing.name, SNAPSHOT_NAME_NEW, base->index);
    snapshot_name(&whole, SNAPSHOT_NAME_WHOLE, base->index);
    snapshot_write_head(&writing.chain, base, &writing.buffer);
    enum error error = write_pairs(&writing, table);

    if (error == ERR_OK && writing.chain.hash != base->state_hash) {
        error = ERR_CORRUPT;
    }
    if (error != ERR_OK) {
        return error;
    }
    snapshot_write_end(&writing.chain, &writing.buffer);
    error = stage(&writing);
    if (error != ERR_OK) {
        return error;
    }
    return disk_publish(disk, &writing.name, &whole, writing.staged_size);
}
