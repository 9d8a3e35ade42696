/* tests/sim/disk.c: power cuts and damage, for disks of nodes that do not run. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/assert.h"
#include "node/identity.h"
#include "node/recovery.h"
#include "tests/sim/sim.h"
#include "tests/support/log/memory_disk.h"

enum { SPOT_COUNT_MAX = 4096 };

/* --- Power --------------------------------------------------------------------------------------
 */

enum keeping { KEEP_NONE, KEEP_ALL, KEEP_PREFIX, KEEP_SUBSET, KEEP_BUT_ONE, KEEPING_COUNT };

struct kept {
    struct prng *prng;
    enum keeping keeping;
    uint32_t limit;
};

static bool keep_sector(void *context, uint32_t sector)
{
    struct kept *kept = context;

    switch (kept->keeping) {
    case KEEP_NONE:
        return false;
    case KEEP_ALL:
        return true;
    case KEEP_PREFIX:
        return sector < kept->limit;
    case KEEP_SUBSET:
        return prng_below(kept->prng, 2) == 0;
    case KEEP_BUT_ONE:
        return sector != kept->limit;
    case KEEPING_COUNT:
        break;
    }
    UNREACHABLE();
}

void sim_disk_crash(struct sim *sim, uint32_t place)
{
    struct world *world = &sim->cluster->worlds[place];
    const struct disk_request *head = memory_disk_head(world->disk, DISK_LANE_LOG);
    struct kept kept = {
        .prng = &sim->disk_prng,
        .keeping = (enum keeping)prng_below(&sim->disk_prng, KEEPING_COUNT),
    };

    sim->checks.nodes[place].wrote = head != NULL && head->operation == DISK_WRITE;
    if (sim->checks.nodes[place].wrote) {
        kept.limit = (uint32_t)prng_below(&sim->disk_prng, head->size / DISK_SECTOR_SIZE);
        SOMETIMES(sim, crash_with_write_in_flight);
    }
    fake_crash_keeping(sim->cluster, place, keep_sector, &kept);
}

/* --- Rot ----------------------------------------------------------------------------------------
 */

struct spot {
    struct disk_name file;
    uint64_t offset;
    uint64_t size;
};

typedef void batch_hook(void *context, const struct log_batch_view *view);

static void walk(struct sim *sim, uint32_t place, batch_hook *hook, void *context)
{
    struct world *world = &sim->cluster->worlds[place];
    struct log_options options;
    struct log_dump *dump = NULL;
    struct log_batch_view view;
    struct identity identity;
    struct arena arena;

    if (identity_load(world->disk, &identity) != ERR_OK || !identity.formed) {
        return;
    }
    recovery_log_options(&world->options, &identity, &options);
    size_t size = size_round_up(log_dump_memory_size(&options) + DISK_ALIGNMENT, DISK_ALIGNMENT);
    void *memory = aligned_alloc(DISK_ALIGNMENT, size);

    ASSERT(memory != NULL);
    arena_init(&arena, memory, size);
    if (log_dump_open(&dump, &arena, &options, world->disk) == ERR_OK) {
        while (log_dump_next(dump, &view)) {
            hook(context, &view);
        }
    }
    free(memory);
}

struct reading {
    struct sim *sim;
    uint32_t place;
    sim_entry_hook *hook;
};

static void read_batch(void *context, const struct log_batch_view *view)
{
    const struct reading *reading = context;
    struct bytes records = view->records;
    struct raft_entry entry;

    while (raft_entry_next(&records, &entry)) {
        reading->hook(reading->sim, reading->place, &entry);
    }
}

void sim_disk_read(struct sim *sim, uint32_t place, sim_entry_hook *hook)
{
    struct reading reading = {.sim = sim, .place = place, .hook = hook};

    walk(sim, place, read_batch, &reading);
}

struct spots {
    struct spot items[SPOT_COUNT_MAX];
    uint32_t count;
    struct spot last; /* Also where the batches are too many for `items`. */
};

/* What a crash has left of a batch is not one. */
static void note_spot(void *context, const struct log_batch_view *view)
{
    struct spots *spots = context;

    if (view->error != ERR_OK) {
        return;
    }
    spots->last =
        (struct spot){.file = view->file, .offset = view->offset, .size = view->records.size};
    if (spots->count < SPOT_COUNT_MAX) {
        spots->items[spots->count++] = spots->last;
    }
}

/* The file of the hard state has two blocks, and the log has a copy of what they say. */
static bool flip_state(struct disk *disk, struct prng *prng)
{
    for (uint32_t i = 0; i < memory_disk_file_count(disk); i++) {
        const char *name = memory_disk_file_name(disk, i);

        if (strstr(name, "state") != NULL && memory_disk_file(disk, name).size > 0) {
            memory_disk_flip_bit(disk, name,
                                 prng_below(prng, 8 * memory_disk_file(disk, name).size));
            return true;
        }
    }
    return false;
}

static void damage(struct disk *disk, const struct spot *spot, struct prng *prng)
{
    struct bytes file = memory_disk_file(disk, spot->file.text);
    uint64_t size = spot->size + 256; /* With its header. */
    uint8_t block[DISK_ALIGNMENT];

    ASSERT_VALUES(spot->offset + DISK_ALIGNMENT <= file.size, spot->offset, file.size);
    switch (prng_below(prng, 4)) {
    case 0:
        if (flip_state(disk, prng)) {
            return;
        }
        memory_disk_flip_bit(disk, spot->file.text, 8 * spot->offset + prng_below(prng, 8 * size));
        return;
    case 1:
        memory_disk_flip_bit(disk, spot->file.text, 8 * spot->offset + prng_below(prng, 8 * size));
        return;
    case 2:
        memory_disk_zero(disk, spot->file.text, spot->offset, DISK_ALIGNMENT);
        return;
    default: {
        /* A write that went to the wrong place. */
        uint64_t from = prng_below(prng, file.size / DISK_ALIGNMENT) * DISK_ALIGNMENT;

        memcpy(block, file.data + from, sizeof(block));
        memory_disk_overwrite(disk, spot->file.text, spot->offset, bytes_of(block, sizeof(block)));
        return;
    }
    }
}

static void damage_snapshot(struct disk *disk, const char *name, struct prng *prng)
{
    uint64_t size = memory_disk_file(disk, name).size;
    uint64_t offset = prng_below(prng, size / DISK_ALIGNMENT) * DISK_ALIGNMENT;

    switch (prng_below(prng, 3)) {
    case 0:
        memory_disk_zero(disk, name, offset, DISK_ALIGNMENT);
        return;
    case 1:
        memory_disk_flip_bit(disk, name, 8 * offset + prng_below(prng, UINT64_C(8) * 512));
        return;
    default:
        memory_disk_flip_bit(disk, name, prng_below(prng, 8 * size));
        return;
    }
}

bool sim_disk_rot_snapshot(struct sim *sim, uint32_t place, uint64_t seed)
{
    struct disk *disk = sim->cluster->worlds[place].disk;
    const char *chosen = NULL;
    uint32_t count = 0;
    struct prng prng;

    prng_init(&prng, seed);
    bool is_newest = prng_below(&prng, 3) != 0; /* Of the whole ones: it will be needed. */

    for (uint32_t i = 0; i < memory_disk_file_count(disk); i++) {
        const char *name = memory_disk_file_name(disk, i);

        if (strncmp(name, "snap-", 5) != 0 || memory_disk_file(disk, name).size == 0) {
            continue;
        }
        if (is_newest ? strchr(name, '.') == NULL : prng_below(&prng, ++count) == 0) {
            chosen = name;
        }
    }
    if (chosen == NULL) {
        return false;
    }
    struct disk_name *rotten = &sim->checks.nodes[place].rotten_snapshot;

    snprintf(rotten->text, sizeof(rotten->text), "%s", chosen);
    damage_snapshot(disk, chosen, &prng);
    return true;
}

bool sim_disk_has_rotten_snapshot(const struct sim *sim, uint32_t place)
{
    const char *name = sim->checks.nodes[place].rotten_snapshot.text;

    return name[0] != '\0' && memory_disk_file(sim->cluster->worlds[place].disk, name).size > 0;
}

/* A sector that reads as zeros is what a torn write leaves: one that reads as anything else than
 * what was written was written and is rotten, in the last batch too (docs/log.md). */
static void damage_last(struct disk *disk, const struct spot *spot, struct prng *prng)
{
    static const uint8_t zeros[DISK_SECTOR_SIZE];
    uint64_t bit = 8 * spot->offset + prng_below(prng, 8 * (spot->size + 256));
    uint64_t sector = bit / 8 / DISK_SECTOR_SIZE * DISK_SECTOR_SIZE;

    memory_disk_flip_bit(disk, spot->file.text, bit);
    if (memcmp(memory_disk_file(disk, spot->file.text).data + sector, zeros, sizeof(zeros)) == 0) {
        memory_disk_flip_bit(disk, spot->file.text, bit ^ 1);
    }
}

bool sim_disk_rot(struct sim *sim, uint32_t place, uint64_t seed)
{
    struct disk *disk = sim->cluster->worlds[place].disk;
    struct spots *spots = calloc(1, sizeof(*spots));
    struct prng prng;

    ASSERT(spots != NULL);
    prng_init(&prng, seed);
    walk(sim, place, note_spot, spots);
    bool is_possible = spots->count > 1;

    if (is_possible && prng_below(&prng, 4) == 0) {
        damage_last(disk, &spots->last, &prng);
        sim->checks.nodes[place].has_rotten_tail = true;
    } else if (is_possible) {
        damage(disk, &spots->items[prng_below(&prng, spots->count - 1)], &prng);
    }
    free(spots);
    return is_possible;
}
