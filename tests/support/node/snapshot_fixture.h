/* tests/support/node/snapshot_fixture.h: the snapshots of one node over a disk and a table in
 * memory.
 *
 * Time is virtual and nothing happens by itself: a step completes one request of the disk, if there
 * is one, and advances; every step checks the invariants. */
#ifndef TESTS_SUPPORT_NODE_SNAPSHOT_FIXTURE_H
#define TESTS_SUPPORT_NODE_SNAPSHOT_FIXTURE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/macros.h"
#include "base/prng.h"
#include "base/table.h"
#include "log/disk.h"
#include "node/snapshot.h"

struct snapshot_fixture {
    struct disk *disk;
    struct table *table;
    struct snapshots *snapshots;
    struct snapshot_options options;
    void *memory;
    uint64_t now_ms;
};

/* An empty disk and an empty table. */
void snapshot_fixture_open(struct snapshot_fixture *fixture);
void snapshot_fixture_close(struct snapshot_fixture *fixture);

/* Looks at the disk anew, with the table as it is. */
void snapshot_fixture_begin(struct snapshot_fixture *fixture);

/* The process ends at once and begins again with what the disk has; the table is lost. */
void snapshot_fixture_reopen(struct snapshot_fixture *fixture);

/* The same with another disk, which the fixture takes over. */
void snapshot_fixture_reopen_on(struct snapshot_fixture *fixture, struct disk *disk);

/* False when nothing is under way any more. */
bool snapshot_fixture_step(struct snapshot_fixture *fixture);

/* Steps until an event of this kind comes; false when everything came to rest before. */
MUST_USE bool snapshot_fixture_await(struct snapshot_fixture *fixture,
                                     enum snapshot_event_kind kind, struct snapshot_event *event);

/* Steps until nothing is under way. */
void snapshot_fixture_settle(struct snapshot_fixture *fixture);

/* --- Tables ----------------------------------------------------------------------------------- */

/* `count` random puts and deletes over `key_count` keys, values of up to `value_size_max`. */
void snapshot_fixture_change(struct table *table, struct prng *prng, uint32_t count,
                             uint32_t key_count, uint32_t value_size_max);

/* Same pairs, same hash? */
MUST_USE bool snapshot_fixture_tables_equal(struct table *a, struct table *b);

/* Another table with the same pairs; the caller closes it. */
struct table *snapshot_fixture_copy(struct table *table);

/* --- Snapshots -------------------------------------------------------------------------------- */

/* What a node would say of its state now. */
struct snapshot_base snapshot_fixture_base(const struct snapshot_fixture *fixture,
                                           raft_index index);

/* Commits and saves at `index`; false when that failed. */
MUST_USE bool snapshot_fixture_save(struct snapshot_fixture *fixture, raft_index index);

/* The bytes of a whole file; empty when there is none. Borrowed until the disk changes. */
struct bytes snapshot_fixture_bytes(const struct snapshot_fixture *fixture, raft_index index);

#endif
