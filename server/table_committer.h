/* server/table_committer.h: the thread that does the slow work on LMDB, one piece at a time: it
 * writes memtables, and gets rid of old files.
 *
 * The owner hands a memtable over and goes on. Until the committer is idle again the owner only
 * reads it (server/memtable.h), and does not refresh the reader of LMDB. A failure is the owner's
 * to take. */
#ifndef SERVER_TABLE_COMMITTER_H
#define SERVER_TABLE_COMMITTER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/macros.h"
#include "server/memtable.h"
#include "server/table_lmdb.h"

struct table_committer; /* Opaque. */

/* Writes memtables of at most `count_max` entries. `lmdb` outlives it. ERR_IO: errno says more. */
MUST_USE enum error table_committer_open(struct table_committer **committer,
                                         struct table_lmdb *lmdb, uint32_t count_max);

/* Waits for what is being written. NULL is allowed. */
void table_committer_close(struct table_committer *committer);

/* Begins to write; nothing else is being written. */
void table_committer_start(struct table_committer *committer, const struct memtable *memtable,
                           uint64_t hash);

/* Begins table_lmdb_dispose(); nothing else is being done. */
void table_committer_dispose(struct table_committer *committer);

/* Whether everything that was started has ended. Takes no lock. */
bool table_committer_is_idle(const struct table_committer *committer);

/* Waits until it is idle. */
void table_committer_wait(struct table_committer *committer);

/* While it is idle: how the last piece of work ended; ERR_OK when there was none. */
enum error table_committer_error(const struct table_committer *committer);

#endif
