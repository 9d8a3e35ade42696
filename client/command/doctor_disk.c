/* client/command/doctor_disk.c: how long a durable write takes, as the log makes them: 4 KiB into
 * a file whose blocks were written before, with O_DIRECT|O_DSYNC where the file system has it. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "client/command/clock.h"
#include "client/command/doctor.h"

enum {
    BLOCK_SIZE = 4096,
    BLOCK_COUNT = 256,
    LIMIT_US = 2 * 1000 * 1000,
    PATH_SIZE = OPTIONS_PATH_SIZE_MAX + 32,
};

static void say(struct doctor_disk *disk, const char *what, const char *path)
{
    snprintf(disk->problem, sizeof(disk->problem), "%s %.150s: %s", what, path, strerror(errno));
}

static bool fill(int fd, const uint8_t *block)
{
    for (int i = 0; i < BLOCK_COUNT; i++) {
        if (pwrite(fd, block, BLOCK_SIZE, (off_t)i * BLOCK_SIZE) != BLOCK_SIZE) {
            return false;
        }
    }
    return fsync(fd) == 0;
}

static bool write_all(struct doctor_disk *disk, int fd, const uint8_t *block)
{
    uint64_t begun_us = clock_now_us();

    for (int i = 0; i < BLOCK_COUNT && clock_now_us() - begun_us < LIMIT_US; i++) {
        uint64_t at_us = clock_now_us();

        if (pwrite(fd, block, BLOCK_SIZE, (off_t)i * BLOCK_SIZE) != BLOCK_SIZE) {
            return false;
        }
        doctor_samples_add(&disk->writes, clock_now_us() - at_us);
    }
    return true;
}

/* Without O_DIRECT where the file system refuses it. */
static int reopen(struct doctor_disk *disk, const char *path)
{
    int direct = open(path, O_WRONLY | O_DIRECT | O_DSYNC | O_CLOEXEC);

    disk->is_direct = direct >= 0;
    if (direct >= 0 || errno != EINVAL) {
        return direct;
    }
    return open(path, O_WRONLY | O_DSYNC | O_CLOEXEC);
}

static void measure(struct doctor_disk *disk, const char *path, int fd, const uint8_t *block)
{
    if (!fill(fd, block)) {
        say(disk, "writing", path);
        return;
    }
    int synced = reopen(disk, path);

    if (synced < 0) {
        say(disk, "opening", path);
        return;
    }
    disk->is_measured = write_all(disk, synced, block);
    if (!disk->is_measured) {
        say(disk, "writing", path);
    }
    (void)close(synced);
}

void doctor_disk_measure(struct doctor_disk *disk, const char *dir)
{
    char path[PATH_SIZE];
    int size = snprintf(path, sizeof(path), "%s/holdfast-doctor-XXXXXX", dir);

    if (size < 0 || (size_t)size >= sizeof(path)) {
        errno = ENAMETOOLONG;
        say(disk, "opening", dir);
        return;
    }
    uint8_t *block = aligned_alloc(BLOCK_SIZE, BLOCK_SIZE);
    int fd = block == NULL ? -1 : mkostemp(path, O_CLOEXEC);

    if (fd < 0) {
        say(disk, "making a file in", dir);
        free(block);
        return;
    }
    memset(block, 0, BLOCK_SIZE);
    measure(disk, path, fd, block);
    (void)close(fd);
    (void)unlink(path);
    free(block);
}
