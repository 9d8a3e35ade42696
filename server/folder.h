/* server/folder.h: folders and small files, durably.
 *
 * All calls are blocking; they are used while starting and stopping, and by the disk's threads.
 * Errors: ERR_NO_SPACE (also over quota), ERR_MISSING, ERR_IO; errno says more. */
#ifndef SERVER_FOLDER_H
#define SERVER_FOLDER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/macros.h"

/* ERR_OK for 0, otherwise what errno `number` means to the node. */
enum error folder_error(int number);

/* Makes the folder and those above it; it is no error that it exists. */
MUST_USE enum error folder_make(const char *path);

/* Makes the names in the folder durable. */
MUST_USE enum error folder_sync(const char *path);

/* Removes every file in the folder whose name ends in `suffix` ("": all). Folders stay. */
MUST_USE enum error folder_remove_files(const char *path, const char *suffix);

/* Writes all bytes, however often that is interrupted. */
MUST_USE enum error folder_write_all(int descriptor, struct bytes bytes);

/* "folder/name" into `path`; false when it does not fit. */
MUST_USE bool folder_join(char *path, size_t capacity, const char *folder, const char *name);

#endif
