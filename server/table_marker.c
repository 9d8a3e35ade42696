/* server/table_marker.c: leaves and takes the marker of a clean stop. */
#define _GNU_SOURCE /* NOLINT(bugprone-reserved-identifier): the C library's own switch. */
#include "server/table_marker.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/checksum.h"
#include "server/failpoint.h"
#include "server/folder.h"

enum {
    FILE_MODE = 0600,
    IDENTITY_SIZE_MAX = 64 << 10, /* Far more than an identity has. */
    MARKER_SIZE = 8,
    /* Of the records in the table, like SNAPSHOT_FORMAT_VERSION: what an older program left behind
     * is not opened but built anew. */
    STATE_VERSION = 2,
};

static const char marker_name[] = "env/clean";
static const char environment_name[] = "env";
static const char identity_name[] = "identity";

static int open_in(const char *folder, const char *name, int flags)
{
    char path[PATH_MAX];

    if (!folder_join(path, sizeof(path), folder, name)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    return open(path, flags | O_CLOEXEC, FILE_MODE);
}

/* The first `capacity` bytes of a file, however often reading them is interrupted. */
static enum error file_read(const char *folder, const char *name, uint8_t *data, size_t capacity,
                            size_t *size)
{
    int descriptor = open_in(folder, name, O_RDONLY);
    ssize_t result = 1;

    *size = 0;
    if (descriptor < 0) {
        return folder_error(errno);
    }
    while (*size < capacity && result != 0) {
        result = read(descriptor, data + *size, capacity - *size);
        if (result < 0 && errno != EINTR) {
            break;
        }
        *size += result > 0 ? (size_t)result : 0;
    }
    int number = result < 0 ? errno : 0;
    close(descriptor);
    errno = number;
    return folder_error(number);
}

static enum error identity_checksum(const char *folder, uint64_t *sum)
{
    uint8_t data[IDENTITY_SIZE_MAX];
    size_t size;
    enum error error = file_read(folder, identity_name, data, sizeof(data), &size);

    if (error == ERR_OK) {
        *sum = checksum(bytes_of(data, size), STATE_VERSION);
    }
    return error;
}

/* Whether the marker is there and of the present identity. */
static enum error marker_look(const char *folder, bool *is_ours)
{
    uint8_t marker[MARKER_SIZE + 1];
    uint64_t sum = 0;
    size_t size;
    enum error error = file_read(folder, marker_name, marker, sizeof(marker), &size);

    *is_ours = false;
    if (error == ERR_OK) {
        error = identity_checksum(folder, &sum);
    }
    if (error == ERR_OK) {
        *is_ours = size == MARKER_SIZE && load_u64(marker) == sum;
    }
    return error == ERR_MISSING ? ERR_OK : error;
}

static enum error environment_sync(const char *folder)
{
    char path[PATH_MAX];

    if (!folder_join(path, sizeof(path), folder, environment_name)) {
        errno = ENAMETOOLONG;
        return ERR_IO;
    }
    return folder_sync(path);
}

enum error table_marker_take(const char *folder, bool *was_clean)
{
    char path[PATH_MAX];
    enum error error = marker_look(folder, was_clean);

    if (error != ERR_OK) {
        return error;
    }
    if (!folder_join(path, sizeof(path), folder, marker_name)) {
        errno = ENAMETOOLONG;
        return ERR_IO;
    }
    if (FAILPOINT_CALL("marker", "remove", unlink(path)) != 0 && errno != ENOENT) {
        return folder_error(errno);
    }
    /* The marker must not come back after a crash that this process does not survive. */
    return environment_sync(folder);
}

enum error table_marker_leave(const char *folder)
{
    uint8_t marker[MARKER_SIZE];
    uint64_t sum = 0;
    enum error error = identity_checksum(folder, &sum);

    if (error != ERR_OK) {
        return error;
    }
    store_u64(marker, sum);
    int descriptor = open_in(folder, marker_name, O_WRONLY | O_CREAT | O_TRUNC);
    if (descriptor < 0) {
        return folder_error(errno);
    }
    struct bytes bytes = bytes_of(marker, sizeof(marker));
    errno = FAILPOINT("marker", "write", folder_write_all(descriptor, bytes) == ERR_OK ? 0 : errno);
    error = folder_error(errno);
    if (error == ERR_OK && FAILPOINT_CALL("marker", "sync", fsync(descriptor)) != 0) {
        error = folder_error(errno);
    }
    close(descriptor);
    return error == ERR_OK ? environment_sync(folder) : error;
}
