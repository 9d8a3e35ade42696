/* tests/support/server/temporary_folder.c: made with mkdtemp(), removed with nftw(). */
#define _GNU_SOURCE /* NOLINT(bugprone-reserved-identifier): the C library's own switch. */
#include "tests/support/server/temporary_folder.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/macros.h"

enum { DESCRIPTOR_COUNT = 16 };

void temporary_folder_open(struct temporary_folder *folder)
{
    const char *parent = getenv("TMPDIR");
    int size = snprintf(folder->path, sizeof(folder->path), "%s/holdfast-test-XXXXXX",
                        parent == NULL || parent[0] == '\0' ? "/var/tmp" : parent);

    ASSERT(size > 0 && (size_t)size < sizeof(folder->path));
    ASSERT(mkdtemp(folder->path) == folder->path);
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *place)
{
    (void)status;
    (void)kind;
    (void)place;
    return remove(path);
}

void temporary_folder_close(struct temporary_folder *folder)
{
    ASSERT(nftw(folder->path, remove_one, DESCRIPTOR_COUNT, FTW_DEPTH | FTW_PHYS) == 0);
}

struct path {
    char text[TEMPORARY_PATH_SIZE + 128];
};

static struct path path_of(const struct temporary_folder *folder, const char *name)
{
    struct path path;
    int size = snprintf(path.text, sizeof(path.text), "%s/%s", folder->path, name);

    ASSERT(size > 0 && (size_t)size < sizeof(path.text));
    return path;
}

bool temporary_file_exists(const struct temporary_folder *folder, const char *name)
{
    struct path path = path_of(folder, name);

    return access(path.text, F_OK) == 0;
}

uint64_t temporary_file_size(const struct temporary_folder *folder, const char *name)
{
    struct path path = path_of(folder, name);
    struct stat status;

    ASSERT(stat(path.text, &status) == 0);
    return (uint64_t)status.st_size;
}

void temporary_file_write(const struct temporary_folder *folder, const char *name, const void *data,
                          size_t size)
{
    struct path path = path_of(folder, name);
    int descriptor = open(path.text, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    ASSERT(descriptor >= 0);
    ASSERT(write(descriptor, data, size) == (ssize_t)size);
    ASSERT(close(descriptor) == 0);
}

size_t temporary_file_read(const struct temporary_folder *folder, const char *name, uint64_t offset,
                           void *data, size_t capacity)
{
    struct path path = path_of(folder, name);
    int descriptor = open(path.text, O_RDONLY | O_CLOEXEC);

    ASSERT(descriptor >= 0);
    ssize_t size = pread(descriptor, data, capacity, (off_t)offset);
    ASSERT(size >= 0);
    ASSERT(close(descriptor) == 0);
    return (size_t)size;
}

void temporary_file_flip(const struct temporary_folder *folder, const char *name, uint64_t offset)
{
    struct path path = path_of(folder, name);
    int descriptor = open(path.text, O_RDWR | O_CLOEXEC);
    uint8_t byte;

    ASSERT(descriptor >= 0);
    ASSERT(pread(descriptor, &byte, 1, (off_t)offset) == 1);
    byte = (uint8_t)~byte;
    ASSERT(pwrite(descriptor, &byte, 1, (off_t)offset) == 1);
    ASSERT(close(descriptor) == 0);
}

bool temporary_file_spoil(const struct temporary_folder *folder, const char *name,
                          const void *pattern, size_t size)
{
    uint64_t capacity = temporary_file_size(folder, name);
    uint8_t *data = malloc(capacity);
    bool found = false;

    ASSERT(data != NULL);
    ASSERT(temporary_file_read(folder, name, 0, data, capacity) == capacity);
    for (uint64_t at = capacity - size + 1; at-- > 0 && !found;) {
        if (memcmp(data + at, pattern, size) == 0) {
            temporary_file_flip(folder, name, at);
            found = true;
        }
    }
    free(data);
    return found;
}
