/* client/command/snapshot.c: snapshot save: the cluster's state into a file of this machine.
 *
 *   opening --being made--> opening ... --whole--> reading --all bytes--> checked, synced, named
 *                                                     +--the leader has it no more--> opening
 *
 * One piece is asked for at a time. The file has its name only when it is whole, checked and
 * durable; until then it is FILE.part, which is removed when the command fails. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/assert.h"
#include "client/command/run.h"
#include "client/command/snapshot_check.h"

enum {
    POLL_MS = 50,                   /* While the leader writes the snapshot, */
    MAKING_MS_MAX = 15 * 60 * 1000, /* which takes no longer. */
    RESTART_COUNT_MAX = 16,         /* Files that were lost with their leader. */
    PROGRESS_MS = 200,
    FILE_MODE = 0600,
    MEGABYTE = 1000000,
};

struct save {
    struct run *run;
    const char *path;
    char part[PATH_MAX];
    int descriptor; /* Of the part. */
    struct holdfast_snapshot snapshot;
    uint64_t index_min;
    uint64_t offset; /* Bytes that are here. */
    uint64_t made_by_ms;
    uint64_t progress_ms;
    uint32_t restart_count;
    bool is_shown; /* A line of progress stands on the terminal. */
    uv_timer_t timer;
};

/* --- The end ---------------------------------------------------------------------------------- */

static void progress_clear(struct save *save)
{
    if (save->is_shown) {
        fputs("\r\033[K", stderr);
        save->is_shown = false;
    }
}

static void finish(struct save *save, int exit_status)
{
    progress_clear(save);
    uv_close((uv_handle_t *)&save->timer, NULL);
    run_finish(save->run, exit_status);
}

static void fail_file(struct save *save, const char *what, int number)
{
    progress_clear(save);
    complain("snapshot save: %s: %s failed: %s%s", save->path, what, strerror(number),
             number == ENOSPC ? "; make room, or save to another disk"
                              : "; mend that and try again");
    finish(save, EXIT_REFUSED);
}

static void fail_call(struct save *save, const struct holdfast_result *result)
{
    progress_clear(save);
    int exit_status = run_complain(save->run, result, "snapshot save");

    finish(save, exit_status == EXIT_NO ? EXIT_REFUSED : exit_status);
}

/* --- The file --------------------------------------------------------------------------------- */

static bool part_open(struct save *save)
{
    int size = snprintf(save->part, sizeof(save->part), "%s.part", save->path);

    save->descriptor = -1;
    if (size < 0 || (size_t)size >= sizeof(save->part)) {
        complain("snapshot save: %s: the name is too long", save->path);
        return false;
    }
    if (access(save->path, F_OK) == 0) {
        complain("snapshot save: %s exists; give another name, or remove it first", save->path);
        return false;
    }
    int descriptor = open(save->part, O_RDWR | O_CREAT | O_CLOEXEC, FILE_MODE);
    if (descriptor < 0) {
        complain("snapshot save: %s: %s; give a place that can be written to", save->part,
                 strerror(errno));
        return false;
    }
    if (flock(descriptor, LOCK_EX | LOCK_NB) != 0) {
        complain("snapshot save: %s: another save writes it; wait for that one", save->part);
        close(descriptor);
        return false;
    }
    save->descriptor = descriptor;
    return true;
}

/* An errno, or 0. */
static int write_at(int descriptor, uint64_t offset, struct bytes bytes)
{
    while (bytes.size > 0) {
        ssize_t written = pwrite(descriptor, bytes.data, bytes.size, (off_t)offset);

        if (written < 0 && errno != EINTR) {
            return errno;
        }
        if (written > 0) {
            bytes = bytes_skip(bytes, (size_t)written);
            offset += (uint64_t)written;
        }
    }
    return 0;
}

/* False at the end of the file too; errno is 0 then. */
static bool read_at(int descriptor, uint64_t offset, uint8_t *to, size_t size)
{
    size_t done = 0;

    errno = 0;
    while (done < size) {
        ssize_t result = pread(descriptor, to + done, size - done, (off_t)(offset + done));

        if (result == 0 || (result < 0 && errno != EINTR)) {
            return false;
        }
        done += result > 0 ? (size_t)result : 0;
    }
    return true;
}

/* Reads the whole file back. An errno, or 0; then `check` says how far it is good. */
static int read_back(const struct save *save, struct snapshot_check *check)
{
    uint8_t *block = malloc(SNAPSHOT_CHECK_BLOCK_SIZE_MAX);
    int number = 0;

    if (block == NULL) {
        return ENOMEM;
    }
    *check = (struct snapshot_check){.index = save->snapshot.index};
    while (!check->has_end) {
        uint32_t size = 0;

        if (read_at(save->descriptor, check->offset, block, SNAPSHOT_CHECK_HEADER_SIZE)) {
            size = snapshot_check_size(block);
        }
        if (size == 0 || !read_at(save->descriptor, check->offset, block, size) ||
            !snapshot_check_take(check, bytes_of(block, size))) {
            number = errno;
            break;
        }
    }
    free(block);
    return number;
}

static bool is_whole(struct save *save)
{
    struct snapshot_check check;
    int number = read_back(save, &check);

    if (number != 0) {
        fail_file(save, "reading it back", number);
        return false;
    }
    if (check.has_end && check.offset == save->snapshot.size &&
        check.checksum == save->snapshot.id) {
        return true;
    }
    progress_clear(save);
    complain("snapshot save: what came is damaged at byte %" PRIu64 "; try again, and look at the "
             "network and the leader's disk if it comes back",
             check.offset);
    finish(save, EXIT_REFUSED);
    return false;
}

/* The name of a file that came meanwhile stays that file's. An errno, or 0. */
static int name_file(const struct save *save)
{
    if (renameat2(AT_FDCWD, save->part, AT_FDCWD, save->path, RENAME_NOREPLACE) == 0) {
        return 0;
    }
    if (errno != EINVAL && errno != ENOSYS) {
        return errno;
    }
    return rename(save->part, save->path) == 0 ? 0 : errno; /* The file system knows no better. */
}

static int sync_folder(const struct save *save)
{
    char folder[PATH_MAX];
    const char *slash = strrchr(save->path, '/');
    size_t size = slash == NULL ? 1 : slash == save->path ? 1 : (size_t)(slash - save->path);

    memcpy(folder, slash == NULL ? "." : save->path, size);
    folder[size] = '\0';
    int descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int number = descriptor < 0 || fsync(descriptor) != 0 ? errno : 0;

    if (descriptor >= 0) {
        close(descriptor);
    }
    return number;
}

static void print(struct save *save)
{
    const struct holdfast_snapshot *snapshot = &save->snapshot;
    struct output *output = &save->run->output;
    char line[256];

    if (save->run->options->json) {
        text_add(&output->text, "{");
        output_text(output, "file", save->path);
        output_u64(output, "index", snapshot->index);
        output_u64(output, "term", snapshot->term);
        output_u64(output, "size", snapshot->size);
        output_u64(output, "hash", snapshot->state_hash);
        output_u64(output, "id", snapshot->id);
        text_add(&output->text, "}");
    } else {
        snprintf(line, sizeof(line),
                 ": index %" PRIu64 ", term %" PRIu64 ", size %" PRIu64 ", hash %016" PRIx64,
                 snapshot->index, snapshot->term, snapshot->size, snapshot->state_hash);
        text_add(&output->text, save->path);
        text_add(&output->text, line);
    }
    output_line(output);
}

static void complete(struct save *save)
{
    if (ftruncate(save->descriptor, (off_t)save->snapshot.size) != 0 ||
        fsync(save->descriptor) != 0) {
        fail_file(save, "syncing it", errno);
        return;
    }
    if (!is_whole(save)) {
        return;
    }
    int number = name_file(save);

    if (number != 0) {
        fail_file(save, "giving it its name", number);
        return;
    }
    number = sync_folder(save);
    if (number != 0) {
        fail_file(save, "syncing its folder", number);
        return;
    }
    progress_clear(save);
    print(save);
    finish(save, EXIT_DONE);
}

/* --- Its bytes -------------------------------------------------------------------------------- */

static void progress_show(struct save *save)
{
    uint64_t now_ms = uv_now(&save->run->loop);

    if (now_ms < save->progress_ms || save->run->options->json || !isatty(STDERR_FILENO)) {
        return;
    }
    save->progress_ms = now_ms + PROGRESS_MS;
    save->is_shown = true;
    if (save->snapshot.size == 0) {
        fprintf(stderr, "\r\033[Kthe leader writes a snapshot");
    } else {
        fprintf(stderr, "\r\033[K%" PRIu64 " of %" PRIu64 " MB", save->offset / MEGABYTE,
                save->snapshot.size / MEGABYTE);
    }
}

static void opened(const struct holdfast_result *result, void *context);
static void came(const struct holdfast_result *result, void *context);

static void ask_open(struct save *save)
{
    if (holdfast_snapshot_open(save->run->client, save->index_min, opened, save) == NULL) {
        uv_close((uv_handle_t *)&save->timer, NULL);
        run_refused(save->run, "snapshot save");
    }
}

static void ask_read(struct save *save)
{
    if (holdfast_snapshot_read(save->run->client, &save->snapshot, save->offset, came, save) ==
        NULL) {
        uv_close((uv_handle_t *)&save->timer, NULL);
        run_refused(save->run, "snapshot save");
    }
}

static void timer_due(uv_timer_t *timer)
{
    ask_open(timer->data);
}

static void being_made(struct save *save)
{
    if (uv_now(&save->run->loop) >= save->made_by_ms) {
        progress_clear(save);
        complain("snapshot save: the leader has made no snapshot in 15 minutes; see its log for "
                 "event=snapshot_failed");
        finish(save, EXIT_REFUSED);
        return;
    }
    progress_show(save);
    int failed = uv_timer_start(&save->timer, timer_due, POLL_MS, 0);

    ASSERT(failed == 0);
}

static void opened(const struct holdfast_result *result, void *context)
{
    struct save *save = context;

    if (result->status != HOLDFAST_OK || result->snapshot == NULL) {
        fail_call(save, result);
        return;
    }
    save->index_min = result->snapshot->index;
    if (result->snapshot->size == 0) {
        being_made(save);
        return;
    }
    /* The same file, perhaps of another node, is gone on with. */
    if (result->snapshot->id != save->snapshot.id ||
        result->snapshot->index != save->snapshot.index) {
        save->offset = 0;
        if (ftruncate(save->descriptor, 0) != 0) {
            fail_file(save, "emptying it", errno);
            return;
        }
    }
    save->snapshot = *result->snapshot;
    ask_read(save);
}

/* Its leader is another by now, or was too slow to keep it. */
static void open_again(struct save *save, const struct holdfast_result *result)
{
    if (++save->restart_count > RESTART_COUNT_MAX) {
        fail_call(save, result);
        return;
    }
    save->made_by_ms = uv_now(&save->run->loop) + MAKING_MS_MAX;
    ask_open(save);
}

static void came(const struct holdfast_result *result, void *context)
{
    struct save *save = context;

    if (result->status == HOLDFAST_NOT_FOUND || result->status == HOLDFAST_MALFORMED) {
        open_again(save, result);
        return;
    }
    if (result->status != HOLDFAST_OK) {
        fail_call(save, result);
        return;
    }
    if (result->value_size > save->snapshot.size - save->offset) {
        open_again(save, result);
        return;
    }
    int number =
        write_at(save->descriptor, save->offset, bytes_of(result->value, result->value_size));

    if (number != 0) {
        fail_file(save, "writing", number);
        return;
    }
    save->offset += result->value_size;
    progress_show(save);
    if (save->offset == save->snapshot.size) {
        complete(save);
    } else {
        ask_read(save);
    }
}

int snapshot_save_run(struct run *run)
{
    struct save save = {.run = run, .path = run->options->operands[0]};

    if (!part_open(&save)) {
        return EXIT_REFUSED;
    }
    if (!run_open(run, 1)) {
        unlink(save.part);
        close(save.descriptor);
        return run->exit_status;
    }
    int failed = uv_timer_init(&run->loop, &save.timer);

    ASSERT(failed == 0);
    save.timer.data = &save;
    save.made_by_ms = uv_now(&run->loop) + MAKING_MS_MAX;
    ask_open(&save);
    run_loop(run);
    if (run->exit_status != EXIT_DONE) {
        unlink(save.part);
    }
    close(save.descriptor);
    return run->exit_status;
}
