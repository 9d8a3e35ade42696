/* server/table_marker.h: the file that says that a table was closed cleanly, and for which node.
 *
 * DIR/env/clean holds the checksum of DIR/identity, and size and checksum of DIR/env/data.mdb. A
 * table belongs to the log of that identity: a folder whose identity is gone, or another, gets an
 * empty table. So does one whose file has changed since: LMDB believes whatever its pages say, and
 * a damaged key would be answered as an absent one. */
#ifndef SERVER_TABLE_MARKER_H
#define SERVER_TABLE_MARKER_H

#include <stdbool.h>

#include "base/error.h"
#include "base/macros.h"

/* Removes the marker, durably. `*was_clean`: there was one, it is of the present identity, and the
 * environment is, byte for byte, what it was. All of that is read: a gigabyte that the kernel has
 * in its cache takes about a second.
 * ERR_NO_SPACE, ERR_IO: errno says more. */
MUST_USE enum error table_marker_take(const char *folder, bool *was_clean);

/* Leaves a marker, durably, once nothing writes to the environment any more. ERR_MISSING: there is
 * no identity to bind it to. */
MUST_USE enum error table_marker_leave(const char *folder);

#endif
