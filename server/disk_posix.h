/* server/disk_posix.h: log/disk.h over a folder, with a thread for each lane.
 *
 * A request is handed to its lane's thread and its completion comes back through a queue; the
 * event loop is woken once for it. Appends are O_DIRECT|O_DSYNC; where the file system refuses
 * that (once, remembered for the folder), a buffered write and fdatasync() take their place. */
#ifndef SERVER_DISK_POSIX_H
#define SERVER_DISK_POSIX_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/error.h"
#include "base/macros.h"
#include "log/disk.h"

/* Opens the folder, which exists, and removes temporary files in it. `wake` is signalled when
 * there are completions to take; it outlives the disk. NULL when nothing is ever submitted. Then
 * no thread is started and nothing in the folder is changed. */
MUST_USE enum error disk_posix_open(struct disk **disk, const char *folder, uv_async_t *wake);

/* Waits for the request that each thread is carrying out, and drops the others. NULL is allowed. */
void disk_posix_close(struct disk *disk);

/* Takes at most `completions_max` completions in the order in which they came about. */
uint32_t disk_posix_take(struct disk *disk, struct disk_completion *completions,
                         uint32_t completions_max);

/* The first failure, for a log line; that of a DISK_FILL or a snapshot only
 * until there is another. `number` is
 * an errno, 0 when nothing has failed. */
struct disk_failure {
    int number;
    const char *operation; /* A constant, such as "write". */
    struct disk_name name;
};

struct disk_failure disk_posix_failure(struct disk *disk);

/* From now on buffered writes and fdatasync() are used. For tests of that path. */
void disk_posix_refuse_direct(struct disk *disk);

/* Whether they are used already. */
bool disk_posix_is_buffered(struct disk *disk);

#endif
