/* server/table_lmdb.h: pairs in LMDB, in the folder DIR/env; the part of the table that lasts.
 *
 * One thread reads, through one read transaction that sees the state of one write until it is
 * refreshed. Whole sets of changes are written by one thread at a time, which may be another.
 *
 * The environment is disposable: it is used again only after a clean stop, which leaves a marker
 * (DIR/env/clean) that opening removes. Without the marker, or when it was left under another
 * identity than the present one (DIR/identity), all of it is thrown away, and the node rebuilds it
 * from its log. So nothing is synced between opening and a clean stop.
 *
 * Every stored value is followed by a checksum over key and value, compared at each read. */
#ifndef SERVER_TABLE_LMDB_H
#define SERVER_TABLE_LMDB_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/macros.h"
#include "server/memtable.h"

struct table_lmdb; /* Opaque. */

/* Makes DIR/env if it is missing. `*was_clean` says whether an earlier environment is used again.
 * DIR is used by one process at a time (server/data_folder.h). ERR_IO, ERR_NO_SPACE. */
MUST_USE enum error table_lmdb_open(struct table_lmdb **lmdb, const char *folder, uint64_t map_size,
                                    bool *was_clean);

/* Without a marker: the next open starts with nothing. NULL is allowed. Nobody is writing. */
void table_lmdb_close(struct table_lmdb *lmdb);

/* Syncs, closes, and leaves the marker. In a folder without identity there is none: ERR_MISSING.
 * Closes in every case. Nobody is writing. */
MUST_USE enum error table_lmdb_close_clean(struct table_lmdb *lmdb);

/* The checksum of a pair. The state hash is the sum of these: tests compare it with that of the
 * in-memory table. */
uint64_t table_lmdb_sum(struct bytes key, struct bytes value);

/* The state hash that was written with what opening found; 0 when it found nothing. */
uint64_t table_lmdb_hash(const struct table_lmdb *lmdb);

/* --- The reader: what it lends is valid until table_lmdb_refresh() ---------------------------- */

/* ERR_NOT_FOUND; ERR_CORRUPT when the checksum does not match; ERR_IO. */
MUST_USE enum error table_lmdb_get(struct table_lmdb *lmdb, struct bytes key, struct bytes *value,
                                   uint64_t *sum);

/* The first pair whose key is >= `from` (`inclusive`) or > `from`, as it is stored. Errors are
 * those of table_lmdb_get(); the checksum is not compared yet. */
MUST_USE enum error table_lmdb_seek(struct table_lmdb *lmdb, struct bytes from, bool inclusive,
                                    struct bytes *key, struct bytes *stored);

/* Takes the checksum off a stored value; ERR_CORRUPT when it does not match. */
MUST_USE enum error table_lmdb_value(struct bytes key, struct bytes stored, struct bytes *value,
                                     uint64_t *sum);

/* From now on the last write is seen. */
MUST_USE enum error table_lmdb_refresh(struct table_lmdb *lmdb);

/* --- The writer ------------------------------------------------------------------------------- */

/* Stores live entries and removes the others, in one transaction with the state hash. `entries`
 * are those of memtable_collect(). ERR_NO_SPACE, ERR_IO: nothing was changed. */
MUST_USE enum error table_lmdb_write(struct table_lmdb *lmdb,
                                     const struct memtable_entry *const *entries, uint32_t count,
                                     uint64_t hash);

#endif
