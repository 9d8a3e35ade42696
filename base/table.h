/* base/table.h: an ordered table of bytes, the seam between the state machines and their store.
 *
 * The product links one that writes LMDB behind the caller's back (server/table_behind.c), tests
 * and simulator an in-memory one (tests/support/base/memory_table.c). One writer; its own writes
 * are seen by its reads at once. Everything since the last table_commit() is one transaction.
 *
 * Failures are sticky, so that deterministic code needs no error paths of its own: after one (an
 * I/O error, a full map, a value that does not match its checksum) reads find nothing, writes do
 * nothing, and table_error() says why: perhaps not before a later call, where writing goes on
 * behind. The node looks once a turn and stops. */
#ifndef BASE_TABLE_H
#define BASE_TABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/macros.h"

struct table; /* Opaque; opened and closed by whoever links the implementation. */

enum { TABLE_KEY_SIZE_MAX = 511, TABLE_VALUE_SIZE_MAX = 1 << 20 };

/* False when the key is absent. The value is borrowed until the next call that changes the table
 * or commits. Keys have 1 to TABLE_KEY_SIZE_MAX bytes. */
MUST_USE bool table_get(struct table *table, struct bytes key, struct bytes *value);

/* Stores a copy of both, replacing an earlier value. Both may be borrowed from the table. */
void table_put(struct table *table, struct bytes key, struct bytes value);

/* True when the key was there. */
bool table_delete(struct table *table, struct bytes key);

/* The first pair whose key is >= `from` (`inclusive`) or > `from`, in byte order; false when there
 * is none. Key and value are borrowed like table_get()'s. */
MUST_USE bool table_seek(struct table *table, struct bytes from, bool inclusive, struct bytes *key,
                         struct bytes *value);

/* Ends the transaction and begins the next. Durable only as far as the implementation says. Waits
 * for an earlier commit that is still being written. */
void table_commit(struct table *table);

/* Whether table_commit() would wait. Who is in no hurry asks again a little later. */
bool table_commit_would_wait(const struct table *table);

/* Bytes that are kept for the next commit, at least those of the keys and values that changed; 0
 * when there is nothing to commit. */
uint64_t table_dirty_bytes(const struct table *table);

/* Order-independent: the sum, modulo 2^64, of checksum_pair(key, value, TABLE_HASH_SEED) over all
 * pairs. Equal tables have equal hashes, whatever implements them. */
#define TABLE_HASH_SEED UINT64_C(0)
uint64_t table_hash(const struct table *table);

/* ERR_OK, or the first failure. */
MUST_USE enum error table_error(const struct table *table);

/* --- A read snapshot: all pairs as one commit left them, while writes go on ------------------- */

/* Begins a walk over the pairs as they are now; called right after table_commit(). False, and
 * nothing was begun, when one is open already, when that commit did not take everything
 * (table_dirty_bytes() is not 0: ask again after the next one), or when the table has failed.
 * While it is open, what is replaced in the table keeps its space. */
MUST_USE bool table_snapshot_open(struct table *table);

enum table_snapshot_step {
    TABLE_SNAPSHOT_PAIR, /* The next pair, in byte order of the keys. */
    TABLE_SNAPSHOT_END,
    TABLE_SNAPSHOT_WAIT,   /* The commit is still being written: ask again a little later. */
    TABLE_SNAPSHOT_FAILED, /* The table has: table_error() says why. */
};

/* Key and value are borrowed until the next call of this function or the close: changes of the
 * table and commits leave them alone. */
MUST_USE enum table_snapshot_step table_snapshot_next(struct table *table, struct bytes *key,
                                                      struct bytes *value);

/* How many bytes more the table takes than when the snapshot was opened, about. */
uint64_t table_snapshot_pinned_bytes(const struct table *table);

/* It is no error that none is open. */
void table_snapshot_close(struct table *table);

/* --- Bulk load: other pairs instead of all present ones --------------------------------------- */

/* Discards every pair; no snapshot is open. Until table_load_end() only the functions below,
 * table_hash() (of what was put so far) and table_error() may be called. */
void table_load_begin(struct table *table);

/* Keys come in strictly ascending byte order. */
void table_load_put(struct table *table, struct bytes key, struct bytes value);

/* `keep`: what was put is the table now, committed. Otherwise the table is empty. */
void table_load_end(struct table *table, bool keep);

#endif
