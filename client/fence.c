/* client/fence.c: the resource's side: the greatest token, in memory or in a file.
 *
 *   file   block | zeros | block            the blocks lie a page apart
 *   block  "HFFENCE1" | token | checksum    24 bytes, numbers little-endian
 *
 * Both blocks have the same token but while it rises: then the first is written and synced before
 * the second. A crash leaves one that is whole, with a token that is no lower than any that was
 * accepted; a block that rots later leaves the other. */
#define _DEFAULT_SOURCE /* NOLINT(bugprone-reserved-identifier): the C library's own switch. */
#include "client/holdfast_fence.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/checksum.h"
#include "base/error.h"
#include "base/macros.h"

enum {
    BLOCK_SIZE = 24,
    BLOCK_DISTANCE = 4096,
    FILE_SIZE = BLOCK_DISTANCE + BLOCK_SIZE,
    MAGIC_SIZE = 8,
    FILE_MODE = 0600,
};

struct holdfast_fence_file {
    int file;
    bool is_broken;
    struct holdfast_fence fence;
};

bool holdfast_fence_accept(struct holdfast_fence *fence, uint64_t token)
{
    if (token == 0 || token < fence->greatest) {
        return false;
    }
    fence->greatest = token;
    return true;
}

/* --- Blocks ---------------------------------------------------------------------------------- */

static void encode(uint8_t block[BLOCK_SIZE], uint64_t token)
{
    memcpy(block, "HFFENCE1", MAGIC_SIZE);
    store_u64(block + MAGIC_SIZE, token);
    store_u64(block + MAGIC_SIZE + 8, checksum(bytes_of(block, MAGIC_SIZE + 8), 0));
}

static bool decode(const uint8_t block[BLOCK_SIZE], uint64_t *token)
{
    *token = load_u64(block + MAGIC_SIZE);
    return memcmp(block, "HFFENCE1", MAGIC_SIZE) == 0 &&
           load_u64(block + MAGIC_SIZE + 8) == checksum(bytes_of(block, MAGIC_SIZE + 8), 0);
}

static bool write_block(int file, off_t at, uint64_t token)
{
    uint8_t block[BLOCK_SIZE];

    encode(block, token);
    return pwrite(file, block, sizeof block, at) == (ssize_t)sizeof block && fdatasync(file) == 0;
}

static bool write_both(int file, uint64_t token)
{
    return write_block(file, 0, token) && write_block(file, BLOCK_DISTANCE, token);
}

/* --- Opening --------------------------------------------------------------------------------- */

/* The name of a new file is durable when its folder is. */
static bool sync_folder(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *folder = slash == NULL ? strdup(".") : strndup(path, (size_t)(slash - path) + 1);
    int file = folder == NULL ? -1 : open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool synced = file >= 0 && fsync(file) == 0;

    if (file >= 0) {
        (void)close(file);
    }
    free(folder);
    return synced;
}

/* True with the token of a file that has accepted one, or 0 of a new one. */
static bool recover(const uint8_t bytes[FILE_SIZE], uint64_t *token)
{
    uint64_t tokens[2];
    bool whole[2] = {decode(bytes, &tokens[0]), decode(bytes + BLOCK_DISTANCE, &tokens[1])};

    *token = 0;
    if (!whole[0] && !whole[1]) {
        for (size_t i = 0; i < FILE_SIZE; i++) {
            if (bytes[i] != 0) {
                return false;
            }
        }
        return true; /* Its creation was cut short: nothing was accepted yet. */
    }
    for (size_t i = 0; i < 2; i++) {
        *token = whole[i] && tokens[i] > *token ? tokens[i] : *token;
    }
    return true;
}

/* NULL, or why not. */
static const char *load(int file, const char *path, uint64_t *token)
{
    uint8_t bytes[FILE_SIZE] = {0};
    uint8_t block[BLOCK_SIZE];

    if (flock(file, LOCK_EX | LOCK_NB) != 0) {
        return "the fence is in use by another process: there can be one at a time";
    }
    ssize_t count = pread(file, bytes, sizeof bytes, 0);
    if (count < 0) {
        return "the fence cannot be read: see errno";
    }
    if (!recover(bytes, token)) {
        errno = 0;
        return "both blocks of the fence are damaged, or it is another file: remove it only when "
               "nobody with an old token can still write";
    }
    encode(block, *token);
    if (count == (ssize_t)sizeof bytes && memcmp(bytes, block, BLOCK_SIZE) == 0 &&
        memcmp(bytes + BLOCK_DISTANCE, block, BLOCK_SIZE) == 0) {
        /* A write that was not synced when its process ended may be all that we have read. */
        return fdatasync(file) == 0 ? NULL : "the fence cannot be synced: see errno";
    }
    /* The greater one may stand in a block alone, or be of a write that was never synced. */
    return write_both(file, *token) && sync_folder(path) ? NULL
                                                         : "the fence cannot be written: see errno";
}

struct holdfast_fence_file *holdfast_fence_open(const char *path, const char **why)
{
    struct holdfast_fence_file *fence = calloc(1, sizeof *fence);

    if (fence == NULL) {
        *why = "there is no memory for the fence";
        return NULL;
    }
    fence->file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, FILE_MODE);
    *why = fence->file < 0 ? "the fence cannot be opened: see errno"
                           : load(fence->file, path, &fence->fence.greatest);
    if (*why == NULL) {
        return fence;
    }
    int error = errno;
    holdfast_fence_close(fence);
    errno = error;
    return NULL;
}

void holdfast_fence_close(struct holdfast_fence_file *fence)
{
    if (fence != NULL && fence->file >= 0) {
        (void)close(fence->file);
    }
    free(fence);
}

/* --- Accepting ------------------------------------------------------------------------------- */

enum holdfast_fence_verdict holdfast_fence_file_accept(struct holdfast_fence_file *fence,
                                                       uint64_t token)
{
    struct holdfast_fence raised = fence->fence;

    if (fence->is_broken) {
        return HOLDFAST_FENCE_BROKEN;
    }
    if (!holdfast_fence_accept(&raised, token)) {
        return HOLDFAST_FENCE_STALE;
    }
    if (raised.greatest != fence->fence.greatest && !write_both(fence->file, token)) {
        fence->is_broken = true; /* Nobody knows what is on the disk now. */
        return HOLDFAST_FENCE_BROKEN;
    }
    fence->fence = raised;
    return HOLDFAST_FENCE_ACCEPTED;
}

uint64_t holdfast_fence_file_greatest(const struct holdfast_fence_file *fence)
{
    return fence->fence.greatest;
}
