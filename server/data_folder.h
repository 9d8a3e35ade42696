/* server/data_folder.h: the folder of one node, used by one process at a time.
 *
 *     DIR/lock      held by flock() while the process lives
 *     DIR/format    "holdfast data 1": what the rest is; another version is refused
 *     DIR/env/      the table (server/table_lmdb.h)
 *     DIR/...       identity and log (log/disk.h)
 */
#ifndef SERVER_DATA_FOLDER_H
#define SERVER_DATA_FOLDER_H

#include "base/error.h"
#include "base/macros.h"

/* Makes what is missing and locks the folder; `*lock` is the descriptor that holds it. ERR_IN_USE:
 * another process has it. ERR_VERSION: it was written by another version. ERR_NO_SPACE, ERR_IO:
 * errno says more. */
MUST_USE enum error data_folder_open(const char *path, int *lock);

void data_folder_close(int lock);

/* ERR_OK when it is a data folder of this version, for reading alone: nothing is made or locked.
 * ERR_MISSING when it is none. */
MUST_USE enum error data_folder_check(const char *path);

#endif
