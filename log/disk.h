/* log/disk.h: the files of one node, the seam between the durable log and the world.
 *
 * A disk is one folder. The product links server/disk_posix.c (a thread for each lane), tests
 * and simulator a disk in memory. While a node is being opened the synchronous calls are used;
 * afterwards only disk_submit() is, and every submitted request completes exactly once: its tag and
 * verdict come back through the inbox of the node.
 *
 * What DISK_WRITE promises when it completes with ERR_OK: the bytes are on stable storage
 * (O_DIRECT|O_DSYNC, or a write followed by fdatasync where the file system refuses that), and so
 * is the name of the file. Requests of one lane are carried out one after the other, in the order
 * of submission. A request that fails is never tried again by the disk. */
#ifndef LOG_DISK_H
#define LOG_DISK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/macros.h"

struct disk; /* Opaque; opened and closed by whoever links the implementation. */

enum {
    DISK_NAME_SIZE = 48, /* Of a file's name, with its final zero. */
    DISK_SECTOR_SIZE = 512,
    DISK_ALIGNMENT = 4096, /* Of memory, offset and size of every DISK_WRITE, STAGE and READ. */
};

struct disk_name {
    char text[DISK_NAME_SIZE];
};

enum disk_lane {
    DISK_LANE_LOG,        /* Appends: one write in flight. */
    DISK_LANE_BACKGROUND, /* Filling segments, reading old entries, removing files. */
    DISK_LANE_SNAPSHOT,   /* Whole snapshots: what takes seconds must not delay those. */
    DISK_LANE_COUNT,
};

enum disk_operation {
    DISK_WRITE,   /* `size` bytes at `offset` of a file that exists and is long enough. */
    DISK_READ,    /* `size` bytes at `offset` into `data`; bytes behind the end read as zeros. */
    DISK_FILL,    /* Makes a file of `size` written zeros under `name`, by way of a temporary name,
                     paced, synced, renamed, folder synced. */
    DISK_REMOVE,  /* Removes the file and syncs the folder; it is no error that it is absent. */
    DISK_STAGE,   /* `size` bytes at `offset` of a file that is made when it is absent and grows as
                     needed. Nothing of it, the name included, is durable before a DISK_PUBLISH:
                     after a power cut any part may be missing, read as zeros, or be there. At offset
                     0 an older file of this name is replaced. */
    DISK_PUBLISH, /* Cuts the file to `size`, syncs it, renames it to `target`, syncs the folder. */
};

struct disk_request {
    enum disk_operation operation;
    enum disk_lane lane;
    struct disk_name name;
    uint64_t offset;
    uint8_t *data; /* Read from or written into until the request completes; stays the caller's. */
    uint64_t size;
    uint64_t tag;            /* The caller's; comes back with the completion. */
    struct disk_name target; /* DISK_PUBLISH: the name that the file gets. */
};

struct disk_completion {
    uint64_t tag;
    enum error error; /* ERR_OK, ERR_IO, ERR_NO_SPACE or ERR_MISSING. */
};

/* At most DISK_REQUEST_COUNT_MAX requests may be under way; asserts that there are no more. */
enum { DISK_REQUEST_COUNT_MAX = 64 };

void disk_submit(struct disk *disk, const struct disk_request *request);

/* The synchronous calls: only while opening, never once requests were submitted. */

/* The names in the folder that begin with `prefix`, sorted. ERR_FULL when there are more than
 * `names_max`: then so many of them, whichever. Temporary files that an interrupted DISK_FILL or
 * disk_save() left are not listed. */
MUST_USE enum error disk_list(struct disk *disk, const char *prefix, struct disk_name *names,
                              uint32_t names_max, uint32_t *names_count);

/* ERR_MISSING when there is no such file. */
MUST_USE enum error disk_size(struct disk *disk, const struct disk_name *name, uint64_t *size);

/* Reads `size` bytes at `offset`; `*size_read` is less only at the end of the file. The bytes come
 * from the disk as it is now: a file that had unsynced changes is synced first. */
MUST_USE enum error disk_read(struct disk *disk, const struct disk_name *name, uint64_t offset,
                              uint8_t *data, uint64_t size, uint64_t *size_read);

/* Writes `size` bytes at `offset` of an existing file and syncs it. For zeroing a torn tail. */
MUST_USE enum error disk_write(struct disk *disk, const struct disk_name *name, uint64_t offset,
                               const uint8_t *data, uint64_t size);

/* Replaces or makes a whole small file: temporary name, write, sync, rename, sync of the folder. */
MUST_USE enum error disk_save(struct disk *disk, const struct disk_name *name, struct bytes bytes);

/* The same as DISK_FILL, at once. */
MUST_USE enum error disk_fill(struct disk *disk, const struct disk_name *name, uint64_t size);

/* The same as DISK_STAGE, DISK_PUBLISH and DISK_REMOVE, at once. */
MUST_USE enum error disk_stage(struct disk *disk, const struct disk_name *name, uint64_t offset,
                               struct bytes bytes);
MUST_USE enum error disk_publish(struct disk *disk, const struct disk_name *name,
                                 const struct disk_name *target, uint64_t size);
MUST_USE enum error disk_remove(struct disk *disk, const struct disk_name *name);

/* Renames and syncs the folder. An existing target is replaced. */
MUST_USE enum error disk_rename(struct disk *disk, const struct disk_name *source,
                                const struct disk_name *target);

#endif
