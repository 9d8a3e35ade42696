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
    PIECE_SIZE = 64 << 10,        /* Of the environment, under one checksum. */
    MARKER_SIZE = 24,
    /* Of the records in the table, like SNAPSHOT_FORMAT_VERSION: what an older program left behind
     * is not opened but built anew. */
    STATE_VERSION = 3,
};

/* The marker's bytes: checksum of the identity | size of the environment | its checksum. */
struct vouched {
    uint64_t identity_sum;
    uint64_t size;
    uint64_t sum;
};

static const char marker_name[] = "env/clean";
static const char environment_name[] = "env";
static const char pairs_name[] = "env/data.mdb";
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

/* The next `capacity` bytes, fewer at the end of the file, however often that is interrupted. */
static enum error piece_read(int descriptor, uint8_t *data, size_t capacity, size_t *size)
{
    ssize_t result = 1;

    *size = 0;
    while (*size < capacity && result != 0) {
        result = read(descriptor, data + *size, capacity - *size);
        if (result < 0 && errno != EINTR) {
            return folder_error(errno);
        }
        *size += result > 0 ? (size_t)result : 0;
    }
    return ERR_OK;
}

/* Leaves errno as it is. */
static void file_close(int descriptor)
{
    int number = errno;

    close(descriptor);
    errno = number;
}

/* The first `capacity` bytes of a file. */
static enum error file_read(const char *folder, const char *name, uint8_t *data, size_t capacity,
                            size_t *size)
{
    int descriptor = open_in(folder, name, O_RDONLY);

    *size = 0;
    if (descriptor < 0) {
        return folder_error(errno);
    }
    enum error error = piece_read(descriptor, data, capacity, size);
    file_close(descriptor);
    return error;
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

/* Of all of the environment, in pieces that are chained by their seeds. */
static enum error pairs_checksum(const char *folder, uint64_t *size, uint64_t *sum)
{
    uint8_t piece[PIECE_SIZE];
    size_t piece_size = sizeof(piece);
    int descriptor = open_in(folder, pairs_name, O_RDONLY);
    enum error error = ERR_OK;

    if (descriptor < 0) {
        return folder_error(errno);
    }
    *size = 0;
    *sum = 0;
    while (error == ERR_OK && piece_size == sizeof(piece)) {
        error = piece_read(descriptor, piece, sizeof(piece), &piece_size);
        *size += piece_size;
        *sum = checksum(bytes_of(piece, piece_size), *sum);
    }
    file_close(descriptor);
    return error;
}

static enum error vouch(const char *folder, struct vouched *vouched)
{
    enum error error = identity_checksum(folder, &vouched->identity_sum);

    return error == ERR_OK ? pairs_checksum(folder, &vouched->size, &vouched->sum) : error;
}

/* Whether the marker is there, of the present identity, and the environment as it was then. What
 * cannot be read of the environment is as lost as what has rotted. */
static enum error marker_look(const char *folder, bool *is_ours)
{
    uint8_t marker[MARKER_SIZE + 1];
    struct vouched vouched = {0};
    size_t size;
    enum error error = file_read(folder, marker_name, marker, sizeof(marker), &size);

    *is_ours = false;
    if (error == ERR_OK) {
        error = identity_checksum(folder, &vouched.identity_sum);
    }
    if (error == ERR_OK && size == MARKER_SIZE && load_u64(marker) == vouched.identity_sum) {
        *is_ours = pairs_checksum(folder, &vouched.size, &vouched.sum) == ERR_OK &&
                   load_u64(marker + 8) == vouched.size && load_u64(marker + 16) == vouched.sum;
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
    struct vouched vouched = {0};
    enum error error = vouch(folder, &vouched);

    if (error != ERR_OK) {
        return error;
    }
    store_u64(marker, vouched.identity_sum);
    store_u64(marker + 8, vouched.size);
    store_u64(marker + 16, vouched.sum);
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
