/* server/disk_files.h: what the lanes of a disk do with the files of its folder.
 *
 * All calls block. A struct disk_files belongs to one thread and keeps the files open that it used
 * last; struct disk_folder is shared by all. A renamed or removed file closes them everywhere
 * before their next use. */
#ifndef SERVER_DISK_FILES_H
#define SERVER_DISK_FILES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/macros.h"
#include "log/disk.h"

enum { DISK_OPEN_FILE_COUNT_MAX = 4, DISK_FILL_CHUNK_SIZE = 256 << 10 };

struct disk_folder {
    int descriptor;
    atomic_bool is_buffered;       /* O_DIRECT was refused once. */
    atomic_uint_fast64_t renaming; /* Counts renames and removals. */
    const uint8_t *zeros;          /* DISK_FILL_CHUNK_SIZE of them, aligned. */
};

/* How a file is open. */
enum disk_mode {
    DISK_MODE_NONE,
    DISK_MODE_READ,
    DISK_MODE_READ_DIRECT,  /* O_DIRECT */
    DISK_MODE_DIRECT,       /* O_DIRECT|O_DSYNC */
    DISK_MODE_BUFFERED,     /* Written through the page cache; fdatasync() follows. */
    DISK_MODE_STAGE_DIRECT, /* O_DIRECT; made when it is absent. */
    DISK_MODE_STAGE,        /* Through the page cache; made when it is absent. */
};

struct disk_files {
    struct disk_folder *folder;
    uint64_t renaming; /* As of the last look. */
    struct {
        struct disk_name name;
        enum disk_mode mode;
        int descriptor;
    } files[DISK_OPEN_FILE_COUNT_MAX];
    uint32_t next;         /* The place that is used next, in turn. */
    const char *operation; /* Of the last failure, with its errno. */
    int number;
};

void disk_files_open(struct disk_files *files, struct disk_folder *folder);
void disk_files_close(struct disk_files *files);

/* Durable on return. `is_aligned`: memory, offset and size are, so O_DIRECT may be used. */
MUST_USE enum error disk_files_write(struct disk_files *files, const struct disk_name *name,
                                     uint64_t offset, struct bytes bytes, bool is_aligned);

/* `*size_read` is less than `size` only at the end of the file. A file that is not open yet is
 * synced first and read from the disk. */
MUST_USE enum error disk_files_read(struct disk_files *files, const struct disk_name *name,
                                    uint64_t offset, uint8_t *data, uint64_t size,
                                    uint64_t *size_read);

/* The same past the page cache, for a file into which another thread writes with O_DIRECT: memory,
 * offset and size are aligned. Where that is refused, cached pages are dropped before the read. */
MUST_USE enum error disk_files_read_direct(struct disk_files *files, const struct disk_name *name,
                                           uint64_t offset, uint8_t *data, uint64_t size,
                                           uint64_t *size_read);

/* Not durable before disk_files_publish(). Memory, offset and size are aligned. At offset 0 an
 * older file of this name is emptied first. */
MUST_USE enum error disk_files_stage(struct disk_files *files, const struct disk_name *name,
                                     uint64_t offset, struct bytes bytes);

/* What was staged is durable under `target`, `size` bytes of it. */
MUST_USE enum error disk_files_publish(struct disk_files *files, const struct disk_name *name,
                                       const struct disk_name *target, uint64_t size);

MUST_USE enum error disk_files_remove(struct disk_files *files, const struct disk_name *name);

MUST_USE enum error disk_files_rename(struct disk_files *files, const struct disk_name *source,
                                      const struct disk_name *target);

MUST_USE enum error disk_files_save(struct disk_files *files, const struct disk_name *name,
                                    struct bytes bytes);

/* A file of zeros on its way: begin, step until nothing remains, end. Every step is durable. After
 * a failed step, or to give it up, disk_fill_abort(). */
struct disk_fill {
    struct disk_name name;
    int descriptor;
    bool is_direct;
    uint64_t offset;
    uint64_t size;
};

MUST_USE enum error disk_fill_begin(struct disk_files *files, struct disk_fill *fill,
                                    const struct disk_name *name, uint64_t size);
MUST_USE enum error disk_fill_step(struct disk_files *files, struct disk_fill *fill);
MUST_USE enum error disk_fill_end(struct disk_files *files, struct disk_fill *fill);
void disk_fill_abort(struct disk_files *files, struct disk_fill *fill);

#endif
