/* node/refounding.c: another cluster's state, and the files that go with the old one.
 *
 *   old folder --file `refounded` saved--> log and old snapshots go --> identity saved -->
 * `refounded` goes
 *
 * Everything behind the first arrow may be done again. The file, little endian:
 *
 *     0                2832    2840
 *     | the identity   | index | checksum |     index: of the snapshot that stays */
#include "node/refounding.h"

#include "base/assert.h"
#include "base/checksum.h"
#include "node/snapshot_file.h"

#define MAGIC UINT64_C(0x48465246) /* "HFRF" */

enum {
    INDEX_AT = IDENTITY_SIZE,
    CHECKSUM_AT = INDEX_AT + 8,
    RECORD_SIZE = CHECKSUM_AT + 8,
    NAME_COUNT = 64, /* Files that are listed at once. */
};

_Static_assert((int)RECORD_SIZE <= (int)DISK_ALIGNMENT, "one block holds it");

static const struct disk_name record_name = {.text = "refounded"};

/* --- The state -------------------------------------------------------------------------------- */

enum error refounding_turn(struct machine *machine, struct table *table, uint64_t steps)
{
    uint64_t raise = steps * REFOUNDING_STEP;
    raft_index index = machine_applied_index(machine);

    ASSERT_VALUES(steps > 0 && steps < UINT32_MAX, steps, index);
    if (index > UINT64_MAX / 2 || lease_token_last(table) > UINT64_MAX / 2) {
        return table_error(table) != ERR_OK ? table_error(table) : ERR_FULL;
    }
    machine_refound(machine, index + raise, raise);
    return table_error(table);
}

enum error refounding_write(struct disk *disk, struct machine *machine, struct table *table,
                            const struct identity *identity, raft_term term, uint8_t *memory)
{
    uint8_t configuration[RAFT_CONFIGURATION_SIZE_MAX];
    struct raft_base formation;

    ASSERT(identity->formed && term != 0);
    identity_base(identity, &formation);
    struct snapshot_base base = {
        .index = machine_applied_index(machine),
        .term = term,
        .log_ms = machine_log_ms(machine),
        .state_hash = machine_hash(machine),
        .configuration_index = formation.configuration.index,
        .configuration = bytes_of(
            configuration, raft_configuration_encode(configuration, &formation.configuration)),
    };
    memcpy(base.cluster, identity->cluster, SNAPSHOT_CLUSTER_SIZE);
    return snapshot_file_write(disk, &base, table, memory);
}

/* --- The files -------------------------------------------------------------------------------- */

static uint64_t checksum_of(const uint8_t *record)
{
    return checksum(bytes_of(record, CHECKSUM_AT), MAGIC);
}

static enum error load(struct disk *disk, struct identity *identity, raft_index *index)
{
    _Alignas(DISK_ALIGNMENT) uint8_t record[DISK_ALIGNMENT];
    uint64_t size = 0;
    enum error error = disk_size(disk, &record_name, &size);

    if (error == ERR_OK) {
        error = disk_read(disk, &record_name, 0, record, sizeof(record), &size);
    }
    if (error != ERR_OK) {
        return error;
    }
    if (size != RECORD_SIZE || load_u64(record + CHECKSUM_AT) != checksum_of(record)) {
        return ERR_CORRUPT;
    }
    *index = load_u64(record + INDEX_AT);
    return identity_decode(bytes_of(record, IDENTITY_SIZE), identity);
}

/* Removes all with this prefix but one; they may be many. */
static enum error remove_all(struct disk *disk, const char *prefix, const struct disk_name *kept)
{
    struct disk_name names[NAME_COUNT];
    uint32_t count = 0;
    uint32_t removed_count = 0;
    enum error listed = ERR_OK;

    do {
        listed = disk_list(disk, prefix, names, NAME_COUNT, &count);
        if (listed != ERR_OK && listed != ERR_FULL) {
            return listed;
        }
        removed_count = 0;
        for (uint32_t i = 0; i < count; i++) {
            if (!bytes_equal(bytes_of_text(names[i].text), bytes_of_text(kept->text))) {
                enum error error = disk_remove(disk, &names[i]);

                if (error != ERR_OK) {
                    return error;
                }
                removed_count++;
            }
        }
    } while (removed_count > 0 && listed == ERR_FULL);
    return ERR_OK;
}

static enum error complete(struct disk *disk, const struct identity *identity, raft_index index)
{
    struct disk_name kept;

    snapshot_name(&kept, SNAPSHOT_NAME_WHOLE, index);
    enum error error = remove_all(disk, "raft-", &kept);

    if (error == ERR_OK) {
        error = remove_all(disk, "snap-", &kept);
    }
    if (error == ERR_OK) {
        error = identity_save(disk, identity);
    }
    return error == ERR_OK ? disk_remove(disk, &record_name) : error;
}

enum error refounding_replace(struct disk *disk, const struct identity *identity, raft_index index)
{
    uint8_t record[RECORD_SIZE];

    ASSERT(identity_is_consistent(identity) && identity->formed && index != 0);
    identity_encode(record, identity);
    store_u64(record + INDEX_AT, index);
    store_u64(record + CHECKSUM_AT, checksum_of(record));
    enum error error = disk_save(disk, &record_name, bytes_of(record, sizeof(record)));

    return error == ERR_OK ? complete(disk, identity, index) : error;
}

enum error refounding_finish(struct disk *disk)
{
    struct identity identity;
    raft_index index = 0;
    enum error error = load(disk, &identity, &index);

    if (error == ERR_OK) {
        return complete(disk, &identity, index);
    }
    return error == ERR_MISSING ? ERR_OK : error;
}
