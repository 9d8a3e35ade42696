/* server/restore.c: copy, check, sync, name. What it means is for node/backing.c. */
#define _GNU_SOURCE /* NOLINT(bugprone-reserved-identifier): the C library's own switch. */
#include "server/restore.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "node/identity.h"
#include "node/node.h"
#include "node/snapshot_file.h"
#include "server/disk_posix.h"
#include "server/folder.h"

enum { FILE_MODE = 0600, PIECE_SIZE = 1 << 20 };

/* One that a crash leaves is removed by the next start. */
static const struct disk_name temporary = {.text = NODE_RESTORE_NAME ".tmp"};
static const struct disk_name final = {.text = NODE_RESTORE_NAME};

struct restore {
    const char *folder;
    const char *file;
    struct text *problem;
    struct disk *disk;
    uint8_t *memory; /* snapshot_file_memory_size() bytes. */
};

/* "--restore FILE: what: why" */
static bool refuse(const struct restore *restore, const char *what, const char *why)
{
    text_add(restore->problem, "--restore ");
    text_add(restore->problem, restore->file);
    text_add(restore->problem, ": ");
    text_add(restore->problem, what);
    text_add(restore->problem, why);
    return false;
}

static bool refuse_not_empty(const struct restore *restore)
{
    refuse(restore, "a backup founds a new cluster on empty folders, and --data ", restore->folder);
    text_add(restore->problem, " is not empty: start without --restore, or empty the folder");
    return false;
}

static bool refuse_file(const struct restore *restore, enum error error, uint64_t offset)
{
    if (error == ERR_VERSION) {
        return refuse(restore, "another version wrote it; use that version", "");
    }
    if (error != ERR_CORRUPT) {
        return refuse(restore, "reading the copy of it failed: ", error_text(error));
    }
    refuse(restore, "it is no snapshot, or damaged, at byte ", "");
    text_add_u64(restore->problem, offset);
    text_add(restore->problem, "; take another backup");
    return false;
}

static bool folder_is_empty(const struct restore *restore)
{
    struct identity identity = {0};
    uint64_t size = 0;
    enum error error = disk_size(restore->disk, &(struct disk_name){.text = "refounded"}, &size);

    if (error == ERR_MISSING) {
        error = identity_load(restore->disk, &identity);
    } else if (error == ERR_OK) {
        return refuse_not_empty(restore);
    }
    if (error == ERR_MISSING || (error == ERR_OK && !identity.formed && !identity.joins)) {
        return true;
    }
    return refuse_not_empty(restore);
}

/* --- The copy --------------------------------------------------------------------------------- */

static enum error copy_bytes(int source, int target)
{
    off_t offset = 0;
    ssize_t copied = 0;

    do {
        copied = copy_file_range(source, &offset, target, NULL, PIECE_SIZE, 0);
    } while (copied > 0 || (copied < 0 && errno == EINTR));
    return copied == 0 ? ERR_OK : folder_error(errno);
}

/* Where the kernel cannot copy between the two file systems. */
static enum error copy_slowly(int source, int target, uint8_t *memory, size_t size)
{
    if (lseek(source, 0, SEEK_SET) < 0 || lseek(target, 0, SEEK_SET) < 0 ||
        ftruncate(target, 0) != 0) {
        return folder_error(errno);
    }
    for (;;) {
        ssize_t result = read(source, memory, size);

        if (result == 0) {
            return ERR_OK;
        }
        if (result < 0 && errno != EINTR) {
            return folder_error(errno);
        }
        if (result > 0 && folder_write_all(target, bytes_of(memory, (size_t)result)) != ERR_OK) {
            return folder_error(errno);
        }
    }
}

static enum error copy_synced(const struct restore *restore, int source, int target)
{
    enum error error = copy_bytes(source, target);

    if (error != ERR_OK && error != ERR_NO_SPACE) {
        error = copy_slowly(source, target, restore->memory, snapshot_file_memory_size());
    }
    return error == ERR_OK && fsync(target) != 0 ? folder_error(errno) : error;
}

static bool copy(const struct restore *restore)
{
    char path[PATH_MAX];
    struct stat status;
    int source = open(restore->file, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    int number = errno;

    if (source < 0 || fstat(source, &status) != 0 || !S_ISREG(status.st_mode)) {
        const char *why = source < 0 ? strerror(number) : "it is no file";

        if (source >= 0) {
            (void)close(source);
        }
        return refuse(restore, why, "; give the path of a saved snapshot");
    }
    bool fits = folder_join(path, sizeof(path), restore->folder, temporary.text);
    int target = fits ? open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, FILE_MODE) : -1;
    enum error error = target < 0 ? ERR_IO : copy_synced(restore, source, target);

    number = errno;
    if (target >= 0) {
        (void)close(target);
    }
    (void)close(source);
    if (error != ERR_OK) {
        return refuse(restore, "copying it into --data failed: ",
                      fits ? strerror(number) : "the path is too long");
    }
    return true;
}

static bool take(const struct restore *restore)
{
    struct snapshot_found found;
    struct snapshot_found present;
    enum error error =
        snapshot_file_read(restore->disk, &temporary, NULL, NULL, restore->memory, &found);

    if (error != ERR_OK) {
        return refuse_file(restore, error, found.offset);
    }
    error = snapshot_file_read(restore->disk, &final, NULL, NULL, restore->memory, &present);
    if (error == ERR_OK && present.file.id != found.file.id) {
        return refuse(restore,
                      "--data has another backup already, which did not found a cluster "
                      "yet: empty the folder",
                      "");
    }
    error = disk_rename(restore->disk, &temporary, &final);
    return error == ERR_OK ||
           refuse(restore, "naming the copy in --data failed: ", error_text(error));
}

bool restore_prepare(const char *folder, const char *file, struct text *problem)
{
    struct restore restore = {.folder = folder, .file = file, .problem = problem};
    size_t size = snapshot_file_memory_size();
    enum error error = disk_posix_open(&restore.disk, folder, NULL);
    bool is_ready = false;

    if (error != ERR_OK) {
        return refuse(&restore, "opening --data failed: ", strerror(errno));
    }
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        refuse(&restore, "there is no memory", "");
        goto undo_disk;
    }
    restore.memory = memory;
    is_ready = folder_is_empty(&restore) && copy(&restore) && take(&restore);
    if (!is_ready) {
        enum error unheard = disk_remove(restore.disk, &temporary); /* Else the next start does. */

        (void)unheard;
    }
    (void)munmap(memory, size);

undo_disk:
    disk_posix_close(restore.disk);
    return is_ready;
}
