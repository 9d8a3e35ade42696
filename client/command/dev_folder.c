/* client/command/dev_folder.c: finds, makes, locks and removes the folder of `holdfast dev`. */
#define _GNU_SOURCE
#include "client/command/dev_folder.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "client/command/output.h"

enum { OPEN_FILE_COUNT = 16 }; /* While the folder is removed. */

/* `path` and what is missing above it. */
static bool make_folder(const char *path)
{
    char part[DEV_PATH_SIZE];

    for (size_t i = 1; path[i - 1] != '\0'; i++) {
        if (path[i] != '/' && path[i] != '\0') {
            continue;
        }
        memcpy(part, path, i);
        part[i] = '\0';
        if (mkdir(part, 0755) != 0 && errno != EEXIST && errno != EISDIR) {
            return false;
        }
    }
    return true;
}

bool dev_folder_open(struct dev_folder *folder, const char *dir)
{
    char path[DEV_PATH_SIZE];
    const char *parent = getenv("TMPDIR");

    *folder = (struct dev_folder){.fd = -1, .is_own = dir == NULL};
    if (folder->is_own) {
        snprintf(path, sizeof(path), "%s/holdfast-dev-XXXXXX",
                 parent == NULL || parent[0] == '\0' ? "/var/tmp" : parent);
    } else {
        snprintf(path, sizeof(path), "%s", dir);
    }
    bool is_made = strlen(path) < sizeof(path) - 64 &&
                   (folder->is_own ? mkdtemp(path) != NULL : make_folder(path));

    if (!is_made || realpath(path, folder->path) == NULL) {
        complain("%s: cannot be made: %s; give another --dir", path, strerror(errno));
        return false;
    }
    int fd = open(folder->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) != 0) {
        bool is_taken = fd >= 0 && errno == EWOULDBLOCK;

        complain("%s: %s", folder->path,
                 is_taken ? "another dev runs there; stop it, or give another --dir"
                          : strerror(errno));
        if (fd >= 0) {
            close(fd);
        }
        return false;
    }
    folder->fd = fd;
    return true;
}

bool dev_folder_write_endpoints(const struct dev_folder *folder, const char *endpoints)
{
    char path[DEV_PATH_SIZE + 16];
    char line[DEV_LIST_SIZE + 1];

    ASSERT(folder->fd >= 0);
    snprintf(path, sizeof(path), "%s/endpoints", folder->path);
    snprintf(line, sizeof(line), "%s\n", endpoints);
    if (!dev_write_file(path, line)) {
        complain("%s: %s", path, strerror(errno));
        return false;
    }
    return true;
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *place)
{
    (void)status;
    (void)kind;
    (void)place;
    return remove(path);
}

void dev_folder_close(struct dev_folder *folder)
{
    if (folder->fd < 0) {
        return;
    }
    ASSERT(folder->path[0] == '/');
    if (folder->is_own &&
        nftw(folder->path, remove_one, OPEN_FILE_COUNT, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) != 0) {
        complain("%s: not removed: %s", folder->path, strerror(errno));
    }
    close(folder->fd);
    folder->fd = -1;
}
