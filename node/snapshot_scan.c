/* node/snapshot_scan.c: a snapshot file is read and judged, block by block, in slices. */
#include "base/assert.h"
#include "node/snapshot_internal.h"

_Static_assert(READ_SIZE % DISK_ALIGNMENT == 0, "reads are aligned");
_Static_assert(SCAN_BUFFER_SIZE % DISK_ALIGNMENT == 0, "and so is their memory");

size_t snapshots_scan_memory_size(void)
{
    return arena_cost(1, SCAN_BUFFER_SIZE + DISK_ALIGNMENT);
}

void snapshots_scan_open(struct scan *scan, struct arena *arena)
{
    scan->memory = arena_take_aligned(arena, SCAN_BUFFER_SIZE, DISK_ALIGNMENT);
}

void snapshots_scan_begin(struct scan *scan, enum snapshot_name_kind kind, raft_index index,
                          uint64_t size)
{
    ASSERT_VALUES(size % DISK_ALIGNMENT == 0, size, index);
    snapshot_name(&scan->name, kind, index);
    scan->size = size;
    scan->read_offset = 0;
    scan->begin = 0;
    scan->end = 0;
    scan->is_stale = scan->flight_size != 0;
    scan->error = ERR_OK;
    scan->chain = (struct snapshot_chain){.index = index};
    scan->base = (struct snapshot_base){.index = index};
    scan->last_key_size = 0;
}

/* --- Reading ---------------------------------------------------------------------------------- */

/* How much to read to `end` now; 0 when there is no room, nothing left or a read under way. Blocks
 * and reads are aligned, so what is moved stays so. */
static size_t make_room(struct scan *scan)
{
    if (scan->flight_size != 0 || scan->error != ERR_OK || scan->read_offset == scan->size) {
        return 0;
    }
    if (SCAN_BUFFER_SIZE - scan->end < READ_SIZE) {
        memmove(scan->memory, scan->memory + scan->begin, scan->end - scan->begin);
        scan->end -= scan->begin;
        scan->begin = 0;
    }
    if (SCAN_BUFFER_SIZE - scan->end < READ_SIZE) {
        return 0;
    }
    return size_min(READ_SIZE, scan->size - scan->read_offset);
}

/* Asks for more where there is room, by submitting. */
static void fill(struct snapshots *snapshots)
{
    struct scan *scan = &snapshots->scan;
    size_t size = make_room(scan);
    struct disk_request request = {
        .operation = DISK_READ,
        .name = scan->name,
        .offset = scan->read_offset,
        .data = scan->memory + scan->end,
        .size = size,
    };

    if (size != 0) {
        scan->flight_size = size;
        scan->read_offset += size;
        snapshots_submit(snapshots, PURPOSE_SCAN, 0, &request);
    }
}

void snapshots_scan_completed(struct scan *scan, enum error error)
{
    ASSERT(scan->flight_size != 0);
    if (scan->is_stale) {
        scan->is_stale = false;
    } else if (error != ERR_OK) {
        scan->error = error;
    } else {
        scan->end += scan->flight_size;
    }
    scan->flight_size = 0;
    ASSERT_VALUES(scan->end <= SCAN_BUFFER_SIZE, scan->end, scan->begin);
}

void snapshots_scan_fill_now(struct scan *scan, struct disk *disk)
{
    size_t size = make_room(scan);
    uint64_t size_read = 0;

    if (size == 0) {
        return;
    }
    scan->error =
        disk_read(disk, &scan->name, scan->read_offset, scan->memory + scan->end, size, &size_read);
    if (scan->error == ERR_OK && size_read != size) {
        scan->error = ERR_CORRUPT;
    }
    scan->read_offset += size;
    scan->end += size;
}

/* --- Judging ---------------------------------------------------------------------------------- */

static enum scan_step refuse(struct scan *scan, enum error error)
{
    ASSERT(error != ERR_OK);
    scan->error = error;
    return SCAN_REFUSED;
}

static enum scan_step take_head(struct scan *scan, struct bytes body, const uint8_t *cluster)
{
    enum error error = snapshot_read_head(body, scan->chain.index, &scan->base);

    if (error != ERR_OK) {
        return refuse(scan, error);
    }
    if (cluster != NULL && memcmp(scan->base.cluster, cluster, SNAPSHOT_CLUSTER_SIZE) != 0) {
        return refuse(scan, ERR_WRONG_CLUSTER);
    }
    size_t size = scan->base.configuration.size;
    if (size != 0) {
        memcpy(scan->configuration, scan->base.configuration.data, size);
    }
    scan->base.configuration = bytes_of(scan->configuration, size);
    return SCAN_BLOCK;
}

static enum scan_step take_pairs(struct scan *scan, struct bytes body, struct table *table)
{
    struct bytes last = bytes_of(scan->last_key, scan->last_key_size);
    struct bytes key;
    struct bytes value;
    enum error error;

    while ((error = snapshot_read_pair(&body, &scan->chain, &key, &value)) == ERR_OK) {
        if (last.size != 0 && bytes_compare(last, key) >= 0) {
            return refuse(scan, ERR_CORRUPT);
        }
        if (table != NULL) {
            table_load_put(table, key, value);
        }
        last = key;
    }
    if (error != ERR_MISSING || last.size == 0) {
        return refuse(scan, ERR_CORRUPT);
    }
    memmove(scan->last_key, last.data, last.size);
    scan->last_key_size = last.size;
    if (table != NULL && table_error(table) != ERR_OK) {
        return refuse(scan, table_error(table));
    }
    return SCAN_BLOCK;
}

static enum scan_step take_end(struct scan *scan)
{
    if (scan->chain.offset != scan->size || scan->chain.hash != scan->base.state_hash) {
        return refuse(scan, ERR_CORRUPT);
    }
    return SCAN_WHOLE;
}

enum scan_step snapshots_scan_take(struct scan *scan, const uint8_t *cluster, struct table *table)
{
    struct bytes bytes = bytes_of(scan->memory + scan->begin, scan->end - scan->begin);
    struct snapshot_chain chain = scan->chain;
    struct snapshot_block_view view;
    enum scan_step step = SCAN_REFUSED;

    if (scan->error != ERR_OK) {
        return SCAN_REFUSED;
    }
    enum error error = snapshot_read_block(&scan->chain, bytes, &view);
    if (error == ERR_INCOMPLETE) {
        bool is_over = scan->read_offset == scan->size && scan->flight_size == 0;

        return is_over ? refuse(scan, ERR_CORRUPT) : SCAN_WAIT;
    }
    if (error != ERR_OK) {
        return refuse(scan, error);
    }
    switch (view.kind) {
    case SNAPSHOT_HEAD:
        step = take_head(scan, view.body, cluster);
        break;
    case SNAPSHOT_PAIRS:
        step = take_pairs(scan, view.body, table);
        break;
    case SNAPSHOT_END:
        step = take_end(scan);
        break;
    }
    if (step == SCAN_REFUSED) {
        scan->chain = chain; /* Good only up to here. */
    } else {
        scan->begin += view.size;
    }
    return step;
}

enum scan_step snapshots_scan_slice(struct snapshots *snapshots, struct table *table)
{
    struct scan *scan = &snapshots->scan;
    uint64_t begin = scan->chain.offset;
    enum scan_step step = SCAN_BLOCK;

    fill(snapshots);
    if (scan->is_stale) {
        return SCAN_WAIT;
    }
    while (step == SCAN_BLOCK && scan->chain.offset - begin < snapshots->options.slice_size) {
        step = snapshots_scan_take(scan, snapshots->options.cluster, table);
    }
    fill(snapshots);
    snapshots->has_more = snapshots->has_more || step == SCAN_BLOCK;
    return step;
}

struct snapshot_file snapshots_scan_file(const struct scan *scan)
{
    ASSERT(scan->error == ERR_OK);
    return (struct snapshot_file){.index = scan->base.index,
                                  .term = scan->base.term,
                                  .size = scan->chain.offset,
                                  .id = scan->chain.checksum,
                                  .pair_count = scan->chain.pair_count};
}
