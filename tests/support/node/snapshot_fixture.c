/* tests/support/node/snapshot_fixture.c: snapshots in virtual time. */
#include "tests/support/node/snapshot_fixture.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "tests/support/base/memory_table.h"
#include "tests/support/log/memory_disk.h"

enum { STEP_COUNT_MAX = 1000 * 1000, LARGE_VALUE_SIZE = 4096 };

void snapshot_fixture_begin(struct snapshot_fixture *fixture)
{
    struct arena arena;

    arena_init(&arena, fixture->memory, snapshots_memory_size());
    enum error error = snapshots_open(&fixture->snapshots, &arena, &fixture->options, fixture->disk,
                                      fixture->table);
    ASSERT_VALUES(error == ERR_OK, error, fixture->now_ms);
}

void snapshot_fixture_open(struct snapshot_fixture *fixture)
{
    memset(fixture, 0, sizeof(*fixture));
    fixture->memory =
        aligned_alloc(DISK_ALIGNMENT, size_round_up(snapshots_memory_size(), DISK_ALIGNMENT));
    ASSERT(fixture->memory != NULL);
    snapshot_options_init(&fixture->options);
    memcpy(fixture->options.cluster, "cluster of tests", SNAPSHOT_CLUSTER_SIZE);
    fixture->disk = memory_disk_open();
    fixture->table = memory_table_open();
    snapshot_fixture_begin(fixture);
}

void snapshot_fixture_close(struct snapshot_fixture *fixture)
{
    memory_table_close(fixture->table);
    memory_disk_close(fixture->disk);
    free(fixture->memory);
}

void snapshot_fixture_reopen(struct snapshot_fixture *fixture)
{
    snapshot_fixture_reopen_on(fixture, memory_disk_copy(fixture->disk));
}

void snapshot_fixture_reopen_on(struct snapshot_fixture *fixture, struct disk *disk)
{
    memory_table_close(fixture->table);
    memory_disk_close(fixture->disk);
    fixture->disk = disk;
    fixture->table = memory_table_open();
    fixture->now_ms = 0;
    snapshot_fixture_begin(fixture);
}

bool snapshot_fixture_step(struct snapshot_fixture *fixture)
{
    struct disk_completion completion;
    uint64_t wake_ms = snapshots_wake_ms(fixture->snapshots);

    if (memory_disk_complete_next(fixture->disk, &completion)) {
        bool is_ours = snapshots_complete(fixture->snapshots, &completion);

        ASSERT_VALUES(is_ours, completion.tag, completion.error);
    } else if (wake_ms == SNAPSHOT_NEVER_MS) {
        ASSERT(snapshots_are_idle(fixture->snapshots));
        return false;
    } else if (wake_ms > fixture->now_ms) {
        fixture->now_ms = wake_ms;
    }
    snapshots_advance(fixture->snapshots, fixture->now_ms);
    snapshots_check(fixture->snapshots);
    return true;
}

bool snapshot_fixture_await(struct snapshot_fixture *fixture, enum snapshot_event_kind kind,
                            struct snapshot_event *event)
{
    for (uint32_t i = 0; i < STEP_COUNT_MAX; i++) {
        while (snapshots_next_event(fixture->snapshots, event)) {
            if (event->kind == kind) {
                return true;
            }
        }
        if (!snapshot_fixture_step(fixture)) {
            return false;
        }
    }
    ASSERT(!"it comes to rest");
    return false;
}

void snapshot_fixture_settle(struct snapshot_fixture *fixture)
{
    for (uint32_t i = 0; snapshot_fixture_step(fixture); i++) {
        ASSERT(i < STEP_COUNT_MAX);
    }
}

/* --- Tables ----------------------------------------------------------------------------------- */

void snapshot_fixture_change(struct table *table, struct prng *prng, uint32_t count,
                             uint32_t key_count, uint32_t value_size_max)
{
    static uint8_t value[TABLE_VALUE_SIZE_MAX];
    uint8_t key[1 + sizeof(uint64_t)] = {'k'};

    ASSERT(value_size_max <= sizeof(value));
    for (uint32_t i = 0; i < count; i++) {
        size_t key_size = (size_t)prng_between(prng, 6, sizeof(key));
        size_t value_size = (size_t)prng_between(prng, 0, value_size_max);

        store_u64(key + 1, prng_below(prng, key_count));
        if (prng_below(prng, 4) == 0) {
            (void)table_delete(table, bytes_of(key, key_size));
            continue;
        }
        for (size_t at = 0; at < value_size; at += 1 + value_size / LARGE_VALUE_SIZE) {
            value[at] = (uint8_t)prng_next(prng);
        }
        table_put(table, bytes_of(key, key_size), bytes_of(value, value_size));
    }
}

bool snapshot_fixture_tables_equal(struct table *a, struct table *b)
{
    struct bytes key_a = bytes_of(NULL, 0);
    struct bytes key_b;
    struct bytes value_a;
    struct bytes value_b;
    bool inclusive = true;

    while (table_seek(a, key_a, inclusive, &key_a, &value_a)) {
        if (!table_get(b, key_a, &value_b) || !bytes_equal(value_a, value_b)) {
            return false;
        }
        inclusive = false;
    }
    key_b = bytes_of(NULL, 0);
    for (inclusive = true; table_seek(b, key_b, inclusive, &key_b, &value_b); inclusive = false) {
        if (!table_get(a, key_b, &value_a)) {
            return false;
        }
    }
    return table_hash(a) == table_hash(b);
}

struct table *snapshot_fixture_copy(struct table *table)
{
    struct table *copy = memory_table_open();
    struct bytes key = bytes_of(NULL, 0);
    struct bytes value;

    for (bool inclusive = true; table_seek(table, key, inclusive, &key, &value);
         inclusive = false) {
        table_put(copy, key, value);
    }
    return copy;
}

/* --- Snapshots -------------------------------------------------------------------------------- */

struct snapshot_base snapshot_fixture_base(const struct snapshot_fixture *fixture, raft_index index)
{
    return (struct snapshot_base){
        .index = index,
        .term = 1 + index / 10,
        .log_ms = 1000 * index,
        .state_hash = table_hash(fixture->table),
        .configuration_index = index / 2,
        .configuration = bytes_of_text("the members, as raft writes them"),
    };
}

bool snapshot_fixture_save(struct snapshot_fixture *fixture, raft_index index)
{
    struct snapshot_event event;

    table_commit(fixture->table);
    struct snapshot_base base = snapshot_fixture_base(fixture, index);
    if (snapshots_save_begin(fixture->snapshots, &base, fixture->now_ms) != ERR_OK) {
        return false;
    }
    return snapshot_fixture_await(fixture, SNAPSHOT_SAVED, &event) && event.index == index;
}

struct bytes snapshot_fixture_bytes(const struct snapshot_fixture *fixture, raft_index index)
{
    struct disk_name name;

    snapshot_name(&name, SNAPSHOT_NAME_WHOLE, index);
    return memory_disk_file(fixture->disk, name.text);
}
