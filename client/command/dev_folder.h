/* client/command/dev_folder.h: the folder of `holdfast dev`, for one dev at a time. */
#ifndef CLIENT_COMMAND_DEV_FOLDER_H
#define CLIENT_COMMAND_DEV_FOLDER_H

#include <stdbool.h>

#include "base/macros.h"
#include "client/command/dev_node.h"

struct dev_folder {
    char path[DEV_PATH_SIZE]; /* Absolute. */
    int fd;                   /* Locked while it is open; -1: not open. */
    bool is_own;              /* Made for this run, and removed at its end. */
};

/* Makes `dir` where it is missing, or with NULL a new folder under TMPDIR, otherwise /var/tmp.
 * False after a message, also when another dev runs there. */
MUST_USE bool dev_folder_open(struct dev_folder *folder, const char *dir);

/* Writes the file `endpoints`. False after a message. */
MUST_USE bool dev_folder_write_endpoints(const struct dev_folder *folder, const char *endpoints);

/* Removes the folder if it is our own. */
void dev_folder_close(struct dev_folder *folder);

#endif
