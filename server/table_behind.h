/* server/table_behind.h: base/table.h, written behind: changes go to memory first, and from there
 * to LMDB by a thread of its own.
 *
 * table_commit() freezes what was changed and hands it over; meanwhile changes gather in a second
 * memtable, and reads look into both before LMDB. A change never waits for LMDB but when its
 * memtable is full while the other one is still being written. A memtable that fills up before the
 * next commit is handed over early: nobody sees it, as an environment is only used again after a
 * clean stop (server/table_lmdb.h), which commits.
 *
 * The state hash is exact after every change, and is stored with what it belongs to. */
#ifndef SERVER_TABLE_BEHIND_H
#define SERVER_TABLE_BEHIND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/macros.h"
#include "base/table.h"

/* Of each of the two memtables, in bytes: some 40,000 pairs of 256 bytes. */
enum { TABLE_BEHIND_MEMTABLE_SIZE = 12 << 20 };

/* The most memory that a table of this `memtable_size` uses beside the mapped file. */
size_t table_behind_memory_max(size_t memtable_size);

/* As table_lmdb_open(). `memtable_size` is at least memtable_size_min(); its memory is used only
 * as it fills. */
MUST_USE enum error table_behind_open(struct table **table, const char *folder, uint64_t map_size,
                                      size_t memtable_size, bool *was_clean);

/* Without a marker: the next open starts with an empty table. Waits for what is being written.
 * NULL is allowed. */
void table_behind_close(struct table *table);

/* Commits, waits until that is written, syncs, closes, and leaves the marker. A table that has
 * failed is closed without one; its error is returned; so is one in a folder without identity:
 * ERR_MISSING. Closes in every case. */
MUST_USE enum error table_behind_close_clean(struct table *table);

#endif
