/* server/table_lmdb.h: pairs in LMDB, in the folder DIR/env; the part of the table that lasts.
 *
 * One thread reads, through one read transaction that sees the state of one write until it is
 * refreshed. Whole sets of changes are written by one thread at a time, which may be another.
 *
 * The environment is disposable: it is used again only after a clean stop, which leaves a marker
 * (DIR/env/clean) that opening removes. Without the marker, or when it was left under another
 * identity than the present one (DIR/identity) or for other bytes, all of it is thrown away, and
 * the node rebuilds it from its log. So nothing is synced between opening and a clean stop.
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

/* LMDB keeps at most 2^17 - 1 changed pages of 4 KiB of a transaction, and spills the others. */
enum { TABLE_LMDB_MEMORY_MAX = 512 << 20 };

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

/* --- A walk over everything as one write left it, beside the reader and later writes -----------
 */

/* Begins a walk over what the last write left; nobody is writing. ERR_IO. One at a time. */
MUST_USE enum error table_lmdb_walk_open(struct table_lmdb *lmdb);
bool table_lmdb_walk_is_open(const struct table_lmdb *lmdb);

/* The next pair, in order; borrowed until the walk is closed. ERR_NOT_FOUND at the end,
 * ERR_CORRUPT, ERR_IO. */
MUST_USE enum error table_lmdb_walk_next(struct table_lmdb *lmdb, struct bytes *key,
                                         struct bytes *value);

/* By how much the file that holds everything has grown since the walk began: the pages that it
 * keeps cannot be used again. */
uint64_t table_lmdb_walk_growth(const struct table_lmdb *lmdb);

/* It is no error that none is open. */
void table_lmdb_walk_close(struct table_lmdb *lmdb);

/* --- A bulk load: everything anew. Nobody is writing or walking; the reader is not used ---------
 */

/* Begins with new files beside the old ones. ERR_NO_SPACE, ERR_IO; then only closing is possible.
 */
MUST_USE enum error table_lmdb_load_begin(struct table_lmdb *lmdb);

/* Closes and removes those old files, which may take a second: by whatever thread, once for each
 * load_begin() and before the next. What is left after a failure the next opening removes. */
MUST_USE enum error table_lmdb_dispose(struct table_lmdb *lmdb);

/* In ascending order of the keys. ERR_NO_SPACE, ERR_IO. */
MUST_USE enum error table_lmdb_load_put(struct table_lmdb *lmdb, struct bytes key,
                                        struct bytes value, uint64_t sum);

/* What was put last may be lost; only another load_begin() may follow. */
void table_lmdb_load_abort(struct table_lmdb *lmdb);

/* All that was put is there, with its hash, and the reader sees it. */
MUST_USE enum error table_lmdb_load_end(struct table_lmdb *lmdb, uint64_t hash);

/* --- The writer ------------------------------------------------------------------------------- */

/* Stores live entries and removes the others, in one transaction with the state hash. `entries`
 * are those of memtable_collect(). ERR_NO_SPACE, ERR_IO: nothing was changed. */
MUST_USE enum error table_lmdb_write(struct table_lmdb *lmdb,
                                     const struct memtable_entry *const *entries, uint32_t count,
                                     uint64_t hash);

#endif
