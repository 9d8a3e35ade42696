/* server/folder.c: makes, syncs and empties folders. */
#define _GNU_SOURCE /* NOLINT(bugprone-reserved-identifier): the C library's own switch. */
#include "server/folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/text.h"
#include "server/failpoint.h"

enum { FOLDER_MODE = 0700 };

enum error folder_error(int number)
{
    if (number == 0) {
        return ERR_OK;
    }
    if (number == ENOSPC || number == EDQUOT) {
        return ERR_NO_SPACE;
    }
    return number == ENOENT ? ERR_MISSING : ERR_IO;
}

bool folder_join(char *path, size_t capacity, const char *folder, const char *name)
{
    struct text text;

    text_init(&text, path, capacity);
    text_add(&text, folder);
    text_add(&text, "/");
    text_add(&text, name);
    return !text.truncated;
}

static enum error make_one(const char *path)
{
    struct stat status;

    if (mkdir(path, FOLDER_MODE) == 0) {
        char parent[PATH_MAX];

        /* The name of a folder is durable when the folder above it is synced. */
        return folder_join(parent, sizeof(parent), path, "..") ? folder_sync(parent) : ERR_IO;
    }
    if (errno != EEXIST) {
        return folder_error(errno);
    }
    if (stat(path, &status) != 0) {
        return folder_error(errno);
    }
    if (!S_ISDIR(status.st_mode)) {
        errno = ENOTDIR;
        return ERR_IO;
    }
    return ERR_OK;
}

enum error folder_make(const char *path)
{
    char part[PATH_MAX];
    size_t size = strlen(path);

    if (size == 0 || size >= sizeof(part)) {
        errno = ENAMETOOLONG;
        return ERR_IO;
    }
    memcpy(part, path, size + 1);
    for (size_t i = 1; i < size; i++) {
        if (part[i] == '/' && part[i - 1] != '/') {
            part[i] = '\0';
            enum error error = make_one(part);
            part[i] = '/';
            if (error != ERR_OK) {
                return error;
            }
        }
    }
    return make_one(path);
}

enum error folder_sync(const char *path)
{
    int descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (descriptor < 0) {
        return folder_error(errno);
    }
    int number = FAILPOINT_CALL("folder", "sync", fsync(descriptor)) == 0 ? 0 : errno;
    close(descriptor);
    errno = number;
    return folder_error(number);
}

static bool has_suffix(const char *name, const char *suffix)
{
    size_t name_size = strlen(name);
    size_t suffix_size = strlen(suffix);

    return name_size >= suffix_size && strcmp(name + name_size - suffix_size, suffix) == 0;
}

static enum error remove_file(DIR *folder, const char *name)
{
    struct stat status;

    if (fstatat(dirfd(folder), name, &status, AT_SYMLINK_NOFOLLOW) != 0) {
        return folder_error(errno);
    }
    if (S_ISDIR(status.st_mode)) {
        return ERR_OK;
    }
    return unlinkat(dirfd(folder), name, 0) == 0 ? ERR_OK : folder_error(errno);
}

enum error folder_remove_files(const char *path, const char *suffix)
{
    DIR *folder = opendir(path);
    enum error error = ERR_OK;

    if (folder == NULL) {
        return folder_error(errno);
    }
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(folder);
        if (entry == NULL) {
            error = folder_error(errno);
            break;
        }
        if (has_suffix(entry->d_name, suffix)) {
            error = remove_file(folder, entry->d_name);
        }
        if (error != ERR_OK) {
            break;
        }
    }
    int number = errno;
    closedir(folder);
    errno = number;
    return error;
}

enum error folder_write_all(int descriptor, struct bytes bytes)
{
    ASSERT(descriptor >= 0);
    while (bytes.size > 0) {
        ssize_t size = write(descriptor, bytes.data, bytes.size);

        if (size < 0 && errno == EINTR) {
            continue;
        }
        if (size < 0) {
            return folder_error(errno);
        }
        bytes = bytes_skip(bytes, (size_t)size);
    }
    return ERR_OK;
}
