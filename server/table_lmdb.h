/* server/table_lmdb.h: base/table.h over LMDB, in the folder DIR/env.
 *
 * The environment is disposable: it is used again only after a clean stop, which leaves a marker
 * (DIR/env/clean) that opening removes. Without the marker, or when it was left under another
 * identity than the present one (DIR/identity), all of it is thrown away, and the node rebuilds it
 * from its log. So nothing is synced between opening and a clean stop.
 *
 * Every stored value is followed by a checksum over key and value, compared at each read. The
 * state hash is kept up to date by every change and stored in the same transaction. */
#ifndef SERVER_TABLE_LMDB_H
#define SERVER_TABLE_LMDB_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/macros.h"
#include "base/table.h"

/* Makes DIR/env if it is missing. `*was_clean` says whether an earlier environment is used again.
 * DIR is used by one process at a time (server/data_folder.h). ERR_IO, ERR_NO_SPACE. */
MUST_USE enum error table_lmdb_open(struct table **table, const char *folder, uint64_t map_size,
                                    bool *was_clean);

/* Without a marker: the next open starts with an empty table. NULL is allowed. */
void table_lmdb_close(struct table *table);

/* Commits, syncs, closes, and leaves the marker. A table that has failed is closed without one;
 * its error is returned; so is one in a folder without identity: ERR_MISSING. Closes in every
 * case. */
MUST_USE enum error table_lmdb_close_clean(struct table *table);

#endif
