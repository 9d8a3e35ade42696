/* server/data_folder.c: lock first, then look at the version. */
#define _GNU_SOURCE /* NOLINT(bugprone-reserved-identifier): the C library's own switch. */
#include "server/data_folder.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "server/failpoint.h"
#include "server/folder.h"

enum { FILE_MODE = 0600, FORMAT_SIZE_MAX = 64 };

static const char format_text[] = "holdfast data 1\n";

/* Opens "path/name"; negative, with errno, on failure. */
static int open_in(const char *path, const char *name, int flags)
{
    char joined[PATH_MAX];

    if (!folder_join(joined, sizeof(joined), path, name)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    return open(joined, flags | O_CLOEXEC, FILE_MODE);
}

enum error data_folder_check(const char *path)
{
    char text[FORMAT_SIZE_MAX];
    int descriptor = open_in(path, "format", O_RDONLY);

    if (descriptor < 0) {
        return folder_error(errno);
    }
    ssize_t size = read(descriptor, text, sizeof(text));
    int number = errno;
    close(descriptor);
    if (size < 0) {
        errno = number;
        return ERR_IO;
    }
    bool is_ours = bytes_equal(bytes_of(text, (size_t)size), bytes_of_text(format_text));
    return is_ours ? ERR_OK : ERR_VERSION;
}

/* Under a temporary name first: a crash leaves no half of it. */
static enum error format_write(const char *path)
{
    char temporary[PATH_MAX];
    char final[PATH_MAX];
    int descriptor = open_in(path, "format.tmp", O_WRONLY | O_CREAT | O_TRUNC);

    if (descriptor < 0) {
        return folder_error(errno);
    }
    struct bytes text = bytes_of_text(format_text);
    errno = FAILPOINT("format", "write", folder_write_all(descriptor, text) == ERR_OK ? 0 : errno);
    enum error error = folder_error(errno);
    if (error == ERR_OK && FAILPOINT_CALL("format", "sync", fsync(descriptor)) != 0) {
        error = folder_error(errno);
    }
    close(descriptor);
    if (error != ERR_OK) {
        return error;
    }
    ASSERT(folder_join(temporary, sizeof(temporary), path, "format.tmp"));
    ASSERT(folder_join(final, sizeof(final), path, "format"));
    if (FAILPOINT_CALL("format", "rename", rename(temporary, final)) != 0) {
        return folder_error(errno);
    }
    return folder_sync(path);
}

enum error data_folder_open(const char *path, int *lock)
{
    enum error error = folder_make(path);

    if (error != ERR_OK) {
        return error;
    }
    int descriptor = open_in(path, "lock", O_RDWR | O_CREAT);
    if (descriptor < 0) {
        return folder_error(errno);
    }
    if (flock(descriptor, LOCK_EX | LOCK_NB) != 0) {
        error = errno == EWOULDBLOCK ? ERR_IN_USE : ERR_IO;
        goto undo_descriptor;
    }
    error = data_folder_check(path);
    if (error == ERR_MISSING) {
        error = format_write(path);
    }
    if (error != ERR_OK) {
        goto undo_descriptor;
    }
    *lock = descriptor;
    return ERR_OK;

undo_descriptor:
    (void)close(descriptor);
    return error;
}

void data_folder_close(int lock)
{
    ASSERT(lock >= 0);
    (void)close(lock);
}
