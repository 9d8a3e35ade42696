/* server/disk_files.c: durable writes, fills and renames within one folder. */
#define _GNU_SOURCE /* NOLINT(bugprone-reserved-identifier): the C library's own switch. */
#include "server/disk_files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/text.h"
#include "server/failpoint.h"
#include "server/folder.h"

enum { FILE_MODE = 0600 };

/* Longer than any name, so that one with ".tmp" behind it fits. */
struct temporary_name {
    char text[DISK_NAME_SIZE + 8];
};

static struct temporary_name temporary_of(const struct disk_name *name)
{
    struct temporary_name temporary = {.text = ""};
    struct text text;

    text_init(&text, temporary.text, sizeof(temporary.text));
    text_add(&text, name->text);
    text_add(&text, ".tmp");
    ASSERT(!text.truncated);
    return temporary;
}

void disk_files_open(struct disk_files *files, struct disk_folder *folder)
{
    memset(files, 0, sizeof(*files));
    files->folder = folder;
    files->renaming = atomic_load(&folder->renaming);
}

static void forget_at(struct disk_files *files, uint32_t at)
{
    if (files->files[at].mode != DISK_MODE_NONE) {
        close(files->files[at].descriptor);
        files->files[at].mode = DISK_MODE_NONE;
    }
}

void disk_files_close(struct disk_files *files)
{
    for (uint32_t i = 0; i < DISK_OPEN_FILE_COUNT_MAX; i++) {
        forget_at(files, i);
    }
}

/* Remembers errno for the log line. */
static enum error failed(struct disk_files *files, const char *operation)
{
    files->operation = operation;
    files->number = errno == 0 ? EIO : errno;
    return folder_error(files->number);
}

/* --- Open files ------------------------------------------------------------------------------- */

/* A name may mean another file since a rename or removal, by whichever thread. */
static void forget_renamed(struct disk_files *files)
{
    uint64_t renaming = atomic_load(&files->folder->renaming);

    if (renaming != files->renaming) {
        disk_files_close(files);
        files->renaming = renaming;
    }
}

static int flags_of(enum disk_mode mode)
{
    switch (mode) {
    case DISK_MODE_NONE:
        break;
    case DISK_MODE_READ:
        return O_RDONLY | O_CLOEXEC;
    case DISK_MODE_READ_DIRECT:
        return O_RDONLY | O_DIRECT | O_CLOEXEC;
    case DISK_MODE_DIRECT:
        return O_RDWR | O_DIRECT | O_DSYNC | O_CLOEXEC;
    case DISK_MODE_BUFFERED:
        return O_RDWR | O_CLOEXEC;
    case DISK_MODE_STAGE_DIRECT:
        return O_RDWR | O_CREAT | O_DIRECT | O_CLOEXEC;
    case DISK_MODE_STAGE:
        return O_RDWR | O_CREAT | O_CLOEXEC;
    }
    UNREACHABLE();
}

/* A descriptor of the file, kept open for the next time; negative, with errno, on failure. */
static int descriptor_of(struct disk_files *files, const struct disk_name *name,
                         enum disk_mode mode)
{
    forget_renamed(files);
    for (uint32_t i = 0; i < DISK_OPEN_FILE_COUNT_MAX; i++) {
        if (files->files[i].mode == mode && strcmp(files->files[i].name.text, name->text) == 0) {
            return files->files[i].descriptor;
        }
    }
    int descriptor = openat(files->folder->descriptor, name->text, flags_of(mode), FILE_MODE);
    if (descriptor < 0) {
        return -1;
    }
    if (mode == DISK_MODE_READ) {
        /* Recovery judges what is on the disk, not what an earlier process left in memory. */
        if (fdatasync(descriptor) != 0 ||
            posix_fadvise(descriptor, 0, 0, POSIX_FADV_DONTNEED) != 0) {
            close(descriptor);
            return -1;
        }
    }
    uint32_t at = files->next;
    files->next = (at + 1) % DISK_OPEN_FILE_COUNT_MAX;
    forget_at(files, at);
    files->files[at].name = *name;
    files->files[at].mode = mode;
    files->files[at].descriptor = descriptor;
    return descriptor;
}

/* --- Reading and writing ---------------------------------------------------------------------- */

/* Writes all of it, however often that is interrupted. Returns an errno. */
static int write_at(int descriptor, uint64_t offset, struct bytes bytes, bool is_direct)
{
    while (bytes.size > 0) {
        ssize_t result = pwrite(descriptor, bytes.data, bytes.size, (off_t)offset);

        if (result < 0 && errno == EINTR) {
            continue;
        }
        if (result < 0) {
            return errno;
        }
        size_t size = (size_t)result;
        if (is_direct && size < bytes.size) {
            /* The rest must be aligned too; what is written twice is the same. */
            size -= size % DISK_ALIGNMENT;
        }
        if (size == 0) {
            return EIO;
        }
        bytes = bytes_skip(bytes, size);
        offset += size;
    }
    return 0;
}

enum error disk_files_write(struct disk_files *files, const struct disk_name *name, uint64_t offset,
                            struct bytes bytes, bool is_aligned)
{
    if (is_aligned && !atomic_load(&files->folder->is_buffered)) {
        int descriptor = descriptor_of(files, name, DISK_MODE_DIRECT);
        int number = descriptor < 0 ? errno
                                    : FAILPOINT(name->text, "write",
                                                write_at(descriptor, offset, bytes, true));

        if (number == 0) {
            return ERR_OK;
        }
        if (number != EINVAL) {
            errno = number;
            return failed(files, descriptor < 0 ? "open" : "write");
        }
        /* The file system has no O_DIRECT; nothing was written. */
        atomic_store(&files->folder->is_buffered, true);
    }
    int descriptor = descriptor_of(files, name, DISK_MODE_BUFFERED);
    if (descriptor < 0) {
        return failed(files, "open");
    }
    errno = FAILPOINT(name->text, "write", write_at(descriptor, offset, bytes, false));
    if (errno != 0) {
        return failed(files, "write");
    }
    return FAILPOINT_CALL(name->text, "sync", fdatasync(descriptor)) == 0 ? ERR_OK
                                                                          : failed(files, "sync");
}

/* Reads until `*size_read` is `size` or the file ends. Returns an errno. */
static int read_at(int descriptor, uint64_t offset, uint8_t *data, uint64_t size,
                   uint64_t *size_read)
{
    while (*size_read < size) {
        ssize_t result =
            pread(descriptor, data + *size_read, size - *size_read, (off_t)(offset + *size_read));

        if (result < 0 && errno == EINTR) {
            continue;
        }
        if (result < 0) {
            return errno;
        }
        if (result == 0) {
            break;
        }
        *size_read += (uint64_t)result;
    }
    return 0;
}

enum error disk_files_read(struct disk_files *files, const struct disk_name *name, uint64_t offset,
                           uint8_t *data, uint64_t size, uint64_t *size_read)
{
    int descriptor = descriptor_of(files, name, DISK_MODE_READ);

    *size_read = 0;
    if (descriptor < 0) {
        return failed(files, "open");
    }
    errno = FAILPOINT(name->text, "read", read_at(descriptor, offset, data, size, size_read));
    return errno == 0 ? ERR_OK : failed(files, "read");
}

enum error disk_files_read_direct(struct disk_files *files, const struct disk_name *name,
                                  uint64_t offset, uint8_t *data, uint64_t size,
                                  uint64_t *size_read)
{
    *size_read = 0;
    if (!atomic_load(&files->folder->is_buffered)) {
        int descriptor = descriptor_of(files, name, DISK_MODE_READ_DIRECT);
        int number = descriptor < 0 ? errno
                                    : FAILPOINT(name->text, "read",
                                                read_at(descriptor, offset, data, size, size_read));

        if (number == 0) {
            return ERR_OK;
        }
        if (number != EINVAL) {
            errno = number;
            return failed(files, descriptor < 0 ? "open" : "read");
        }
        /* No O_DIRECT here, or the file ends off the alignment and the look behind it was refused:
         * all of it is read again. Whether writes go past the cache is for them to find out. */
    }
    int descriptor = descriptor_of(files, name, DISK_MODE_READ);
    if (descriptor >= 0) {
        (void)posix_fadvise(descriptor, (off_t)offset, (off_t)size, POSIX_FADV_DONTNEED);
    }
    return disk_files_read(files, name, offset, data, size, size_read);
}

/* --- Staging ---------------------------------------------------------------------------------- */

/* Writes at the place; at offset 0 the file begins anew. Returns an errno. */
static int stage_at(int descriptor, uint64_t offset, struct bytes bytes, bool is_direct)
{
    if (offset == 0 && ftruncate(descriptor, 0) != 0) {
        return errno;
    }
    return write_at(descriptor, offset, bytes, is_direct);
}

enum error disk_files_stage(struct disk_files *files, const struct disk_name *name, uint64_t offset,
                            struct bytes bytes)
{
    if (!atomic_load(&files->folder->is_buffered)) {
        /* Past the page cache: else the sync at the end would have all of it to write at once, and
         * the log's writes would wait behind that. */
        int descriptor = descriptor_of(files, name, DISK_MODE_STAGE_DIRECT);
        int number = descriptor < 0 ? errno
                                    : FAILPOINT(name->text, "write",
                                                stage_at(descriptor, offset, bytes, true));

        if (number == 0) {
            return ERR_OK;
        }
        if (number != EINVAL) {
            errno = number;
            return failed(files, descriptor < 0 ? "make" : "write");
        }
        /* Whether writes of the log go past the cache is for them to find out. */
    }
    int descriptor = descriptor_of(files, name, DISK_MODE_STAGE);
    if (descriptor < 0) {
        return failed(files, "make");
    }
    errno = FAILPOINT(name->text, "write", stage_at(descriptor, offset, bytes, false));
    if (errno != 0) {
        return failed(files, "write");
    }
    /* Only begins to write: what goes wrong is told by the sync at the end. */
    (void)sync_file_range(descriptor, (off_t)offset, (off_t)bytes.size, SYNC_FILE_RANGE_WRITE);
    return ERR_OK;
}

/* --- Names ------------------------------------------------------------------------------------ */

static enum error names_sync(struct disk_files *files)
{
    atomic_fetch_add(&files->folder->renaming, 1);
    return FAILPOINT_CALL("folder", "sync", fsync(files->folder->descriptor)) == 0
               ? ERR_OK
               : failed(files, "sync the folder of");
}

enum error disk_files_remove(struct disk_files *files, const struct disk_name *name)
{
    if (FAILPOINT_CALL(name->text, "remove", unlinkat(files->folder->descriptor, name->text, 0)) !=
            0 &&
        errno != ENOENT) {
        return failed(files, "remove");
    }
    return names_sync(files);
}

static enum error rename_synced(struct disk_files *files, const char *source, const char *target)
{
    int folder = files->folder->descriptor;

    if (FAILPOINT_CALL(target, "rename", renameat(folder, source, folder, target)) != 0) {
        return failed(files, "rename");
    }
    return names_sync(files);
}

enum error disk_files_rename(struct disk_files *files, const struct disk_name *source,
                             const struct disk_name *target)
{
    return rename_synced(files, source->text, target->text);
}

enum error disk_files_publish(struct disk_files *files, const struct disk_name *name,
                              const struct disk_name *target, uint64_t size)
{
    int descriptor = descriptor_of(files, name, DISK_MODE_BUFFERED);

    if (descriptor < 0) {
        return failed(files, "open");
    }
    if (FAILPOINT_CALL(name->text, "cut", ftruncate(descriptor, (off_t)size)) != 0) {
        return failed(files, "cut");
    }
    if (FAILPOINT_CALL(name->text, "sync", fsync(descriptor)) != 0) {
        return failed(files, "sync");
    }
    return rename_synced(files, name->text, target->text);
}

/* A new temporary file; its descriptor, or negative with errno. */
static int temporary_open(struct disk_files *files, const char *name, int flags)
{
    return openat(files->folder->descriptor, name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | flags,
                  FILE_MODE);
}

enum error disk_files_save(struct disk_files *files, const struct disk_name *name,
                           struct bytes bytes)
{
    struct temporary_name temporary = temporary_of(name);
    int descriptor = temporary_open(files, temporary.text, 0);
    enum error error = ERR_OK;

    if (descriptor < 0) {
        return failed(files, "make");
    }
    errno = FAILPOINT(name->text, "write", write_at(descriptor, 0, bytes, false));
    if (errno != 0) {
        error = failed(files, "write");
    } else if (FAILPOINT_CALL(name->text, "sync", fsync(descriptor)) != 0) {
        error = failed(files, "sync");
    }
    close(descriptor);
    if (error != ERR_OK) {
        (void)unlinkat(files->folder->descriptor, temporary.text, 0);
        return error;
    }
    return rename_synced(files, temporary.text, name->text);
}

/* --- Filling ---------------------------------------------------------------------------------- */

/* Asks for the blocks at once: a full disk is known now, and they lie together. */
static int blocks_reserve(int descriptor, uint64_t size)
{
    int result;

    do {
        result = fallocate(descriptor, 0, 0, (off_t)size);
    } while (result != 0 && errno == EINTR);
    if (result == 0 || errno == EOPNOTSUPP || errno == ENOSYS) {
        return 0;
    }
    return errno;
}

enum error disk_fill_begin(struct disk_files *files, struct disk_fill *fill,
                           const struct disk_name *name, uint64_t size)
{
    struct temporary_name temporary = temporary_of(name);

    *fill = (struct disk_fill){.name = *name, .descriptor = -1, .size = size};
    fill->is_direct = size % DISK_ALIGNMENT == 0 && !atomic_load(&files->folder->is_buffered);
    if (fill->is_direct) {
        fill->descriptor = temporary_open(files, temporary.text, O_DIRECT);
        if (fill->descriptor < 0 && errno == EINVAL) {
            fill->is_direct = false;
            atomic_store(&files->folder->is_buffered, true);
        }
    }
    if (!fill->is_direct) {
        fill->descriptor = temporary_open(files, temporary.text, 0);
    }
    if (fill->descriptor < 0) {
        return failed(files, "make");
    }
    errno = size == 0 ? 0 : blocks_reserve(fill->descriptor, size);
    return errno == 0 ? ERR_OK : failed(files, "reserve space for");
}

/* One piece of zeros. It is synced with the whole file; only the page cache is not to collect what
 * the end would then have to wait for. Returns an errno. */
static int zeros_write(const struct disk_files *files, const struct disk_fill *fill, size_t size)
{
    int number = write_at(fill->descriptor, fill->offset, bytes_of(files->folder->zeros, size),
                          fill->is_direct);

    if (number == 0 && !fill->is_direct && fdatasync(fill->descriptor) != 0) {
        number = errno;
    }
    return number;
}

/* From now on through the page cache. Returns an errno. */
static int direct_give_up(struct disk_files *files, struct disk_fill *fill)
{
    int flags = fcntl(fill->descriptor, F_GETFL);

    ASSERT(fill->is_direct);
    if (flags < 0 || fcntl(fill->descriptor, F_SETFL, flags & ~O_DIRECT) != 0) {
        return errno;
    }
    fill->is_direct = false;
    atomic_store(&files->folder->is_buffered, true);
    return 0;
}

enum error disk_fill_step(struct disk_files *files, struct disk_fill *fill)
{
    uint64_t rest = fill->size - fill->offset;
    size_t size = rest < DISK_FILL_CHUNK_SIZE ? (size_t)rest : DISK_FILL_CHUNK_SIZE;

    ASSERT_VALUES(fill->offset <= fill->size, fill->offset, fill->size);
    int number = FAILPOINT(fill->name.text, "fill", zeros_write(files, fill, size));
    if (number == EINVAL && fill->is_direct) {
        /* Some file systems take the flag when a file is opened and refuse the write. */
        number = direct_give_up(files, fill);
        number = number == 0 ? zeros_write(files, fill, size) : number;
    }
    if (number != 0) {
        errno = number;
        return failed(files, "fill");
    }
    fill->offset += size;
    return ERR_OK;
}

enum error disk_fill_end(struct disk_files *files, struct disk_fill *fill)
{
    struct temporary_name temporary = temporary_of(&fill->name);

    ASSERT_VALUES(fill->offset == fill->size, fill->offset, fill->size);
    if (FAILPOINT_CALL(fill->name.text, "sync", fsync(fill->descriptor)) != 0) {
        return failed(files, "sync");
    }
    enum error error = rename_synced(files, temporary.text, fill->name.text);
    if (error == ERR_OK) {
        close(fill->descriptor);
        fill->descriptor = -1;
    }
    return error;
}

void disk_fill_abort(struct disk_files *files, struct disk_fill *fill)
{
    struct temporary_name temporary = temporary_of(&fill->name);

    if (fill->descriptor >= 0) {
        close(fill->descriptor);
        fill->descriptor = -1;
    }
    (void)unlinkat(files->folder->descriptor, temporary.text, 0);
}
