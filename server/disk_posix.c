/* server/disk_posix.c: requests to the threads of their lanes, completions back to the loop. */
#define _GNU_SOURCE /* NOLINT(bugprone-reserved-identifier): the C library's own switch. */
#include "server/disk_posix.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "server/disk_files.h"
#include "server/folder.h"

enum {
    /* A fill goes at this pace, and by a quarter faster than the log is written beside it: so it
     * takes little from the log's writes, and is done before the log needs it. */
    FILL_SIZE_PER_SECOND = 4 << 20,
    SECOND_NS = 1000 * 1000 * 1000,
    MICROSECOND_NS = 1000,
    SECOND_US = 1000 * 1000,
};

static const char temporary_suffix[] = ".tmp";

struct lane {
    struct disk *disk;
    pthread_t thread;
    pthread_mutex_t mutex; /* Over what follows, up to `files`. */
    pthread_cond_t changed;
    struct disk_request requests[DISK_REQUEST_COUNT_MAX]; /* A ring; the first is carried out. */
    uint32_t first;
    uint32_t count;
    bool is_stopping;
    struct disk_files files; /* The thread's own. */
};

struct disk {
    struct disk_folder folder;
    struct disk_files files; /* Of the synchronous calls. */
    uv_async_t *wake;
    uint32_t lane_count; /* Threads that run. */
    struct lane lanes[DISK_LANE_COUNT];
    pthread_mutex_t mutex; /* Over the completions and the failure. */
    struct disk_completion completions[DISK_REQUEST_COUNT_MAX]; /* A ring. */
    uint32_t first;
    uint32_t count;
    struct disk_failure failure;
    bool failure_is_survived;  /* The node lives on: the next failure takes its place. */
    uint32_t under_way;        /* The loop's own: submitted and not yet taken. */
    _Atomic uint64_t appended; /* Bytes of all DISK_WRITE. */
};

static void lock(pthread_mutex_t *mutex)
{
    int code = pthread_mutex_lock(mutex);

    ASSERT_VALUES(code == 0, code, 0);
}

static void unlock(pthread_mutex_t *mutex)
{
    int code = pthread_mutex_unlock(mutex);

    ASSERT_VALUES(code == 0, code, 0);
}

static void failure_note(struct disk *disk, const struct disk_files *files,
                         const struct disk_name *name, bool is_survived)
{
    lock(&disk->mutex);
    if (disk->failure.number == 0 || disk->failure_is_survived) {
        disk->failure_is_survived = is_survived;
        disk->failure = (struct disk_failure){
            .number = files->number, .operation = files->operation, .name = *name};
    }
    unlock(&disk->mutex);
}

/* --- The loop's side -------------------------------------------------------------------------- */

void disk_submit(struct disk *disk, const struct disk_request *request)
{
    struct lane *lane = &disk->lanes[request->lane];

    ASSERT(disk->lane_count == DISK_LANE_COUNT);
    ASSERT_VALUES(disk->under_way < DISK_REQUEST_COUNT_MAX, disk->under_way, request->tag);
    disk->under_way++;
    lock(&lane->mutex);
    lane->requests[(lane->first + lane->count) % DISK_REQUEST_COUNT_MAX] = *request;
    lane->count++;
    unlock(&lane->mutex);
    pthread_cond_signal(&lane->changed);
}

uint32_t disk_posix_take(struct disk *disk, struct disk_completion *completions,
                         uint32_t completions_max)
{
    uint32_t taken = 0;

    lock(&disk->mutex);
    while (disk->count > 0 && taken < completions_max) {
        completions[taken++] = disk->completions[disk->first];
        disk->first = (disk->first + 1) % DISK_REQUEST_COUNT_MAX;
        disk->count--;
    }
    unlock(&disk->mutex);
    ASSERT_VALUES(taken <= disk->under_way, taken, disk->under_way);
    disk->under_way -= taken;
    return taken;
}

struct disk_failure disk_posix_failure(struct disk *disk)
{
    lock(&disk->mutex);
    struct disk_failure failure = disk->failure;
    unlock(&disk->mutex);
    return failure;
}

void disk_posix_refuse_direct(struct disk *disk)
{
    atomic_store(&disk->folder.is_buffered, true);
}

bool disk_posix_is_buffered(struct disk *disk)
{
    return atomic_load(&disk->folder.is_buffered);
}

/* --- The threads' side ------------------------------------------------------------------------ */

static uint64_t now_ns(void)
{
    struct timespec now;

    ASSERT(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
    return (uint64_t)now.tv_sec * SECOND_NS + (uint64_t)now.tv_nsec;
}

/* Sleeps unless the lane stops or another request is waiting behind this one. False: it stops. */
static bool lane_rest(struct lane *lane, uint64_t rest_ns)
{
    uint64_t until_ns = now_ns() + rest_ns;
    struct timespec until = {.tv_sec = (time_t)(until_ns / SECOND_NS),
                             .tv_nsec = (long)(until_ns % SECOND_NS)};
    int code = 0;

    lock(&lane->mutex);
    while (!lane->is_stopping && lane->count == 1 && code == 0) {
        code = pthread_cond_timedwait(&lane->changed, &lane->mutex, &until);
        ASSERT_VALUES(code == 0 || code == ETIMEDOUT, code, 0);
    }
    bool goes_on = !lane->is_stopping;
    unlock(&lane->mutex);
    return goes_on;
}

/* How long a fill may rest that has written `size` bytes in `since_ns`, while DISK_WRITE has
 * written `appended`. */
static uint64_t fill_rest_ns(uint64_t size, uint64_t since_ns, uint64_t appended)
{
    uint64_t due =
        since_ns / MICROSECOND_NS * FILL_SIZE_PER_SECOND / SECOND_US + appended + appended / 4;

    return size <= due ? 0 : (size - due) * SECOND_US / FILL_SIZE_PER_SECOND * MICROSECOND_NS;
}

/* `lane` is NULL when the whole is to be done at once. */
static enum error fill(struct disk_files *files, struct lane *lane, const struct disk_name *name,
                       uint64_t size)
{
    struct disk_fill under_way;
    uint64_t begin_ns = now_ns();
    uint64_t before = lane != NULL ? atomic_load(&lane->disk->appended) : 0;
    enum error error = disk_fill_begin(files, &under_way, name, size);

    while (error == ERR_OK && under_way.offset < under_way.size) {
        error = disk_fill_step(files, &under_way);
        if (error == ERR_OK && lane != NULL) {
            uint64_t appended = atomic_load(&lane->disk->appended) - before;
            uint64_t rest_ns = fill_rest_ns(under_way.offset, now_ns() - begin_ns, appended);

            error = lane_rest(lane, rest_ns) ? ERR_OK : ERR_STOPPING;
        }
    }
    if (error == ERR_OK) {
        error = disk_fill_end(files, &under_way);
    }
    if (error != ERR_OK) {
        disk_fill_abort(files, &under_way);
    }
    return error;
}

static bool is_aligned(const struct disk_request *request)
{
    return (uintptr_t)request->data % DISK_ALIGNMENT == 0 &&
           request->offset % DISK_ALIGNMENT == 0 && request->size % DISK_ALIGNMENT == 0;
}

static enum error read_padded(struct disk_files *files, const struct disk_request *request)
{
    uint64_t size_read;
    enum error error = disk_files_read_direct(files, &request->name, request->offset, request->data,
                                              request->size, &size_read);

    if (error == ERR_OK && size_read < request->size) {
        memset(request->data + size_read, 0, request->size - size_read);
    }
    return error;
}

static enum error carry_out(struct lane *lane, const struct disk_request *request)
{
    struct disk_files *files = &lane->files;

    switch (request->operation) {
    case DISK_WRITE:
        ASSERT(is_aligned(request));
        atomic_fetch_add(&lane->disk->appended, request->size);
        return disk_files_write(files, &request->name, request->offset,
                                bytes_of(request->data, request->size), true);
    case DISK_READ:
        ASSERT(is_aligned(request));
        return read_padded(files, request);
    case DISK_FILL:
        return fill(files, lane, &request->name, request->size);
    case DISK_REMOVE:
        return disk_files_remove(files, &request->name);
    case DISK_STAGE:
        ASSERT(is_aligned(request));
        return disk_files_stage(files, &request->name, request->offset,
                                bytes_of(request->data, request->size));
    case DISK_PUBLISH:
        return disk_files_publish(files, &request->name, &request->target, request->size);
    }
    UNREACHABLE();
}

static void complete(struct disk *disk, uint64_t tag, enum error error)
{
    lock(&disk->mutex);
    ASSERT(disk->count < DISK_REQUEST_COUNT_MAX);
    disk->completions[(disk->first + disk->count) % DISK_REQUEST_COUNT_MAX] =
        (struct disk_completion){.tag = tag, .error = error};
    disk->count++;
    unlock(&disk->mutex);
    ASSERT(uv_async_send(disk->wake) == 0);
}

/* Waits for a request, which stays the first of the ring while it is carried out. */
static bool lane_next(struct lane *lane, struct disk_request *request)
{
    lock(&lane->mutex);
    while (lane->count == 0 && !lane->is_stopping) {
        pthread_cond_wait(&lane->changed, &lane->mutex);
    }
    bool goes_on = !lane->is_stopping;
    if (goes_on) {
        *request = lane->requests[lane->first];
    }
    unlock(&lane->mutex);
    return goes_on;
}

static void lane_pop(struct lane *lane)
{
    lock(&lane->mutex);
    lane->first = (lane->first + 1) % DISK_REQUEST_COUNT_MAX;
    lane->count--;
    unlock(&lane->mutex);
}

static void *lane_run(void *argument)
{
    struct lane *lane = argument;
    struct disk_request request;

    while (lane_next(lane, &request)) {
        enum error error = carry_out(lane, &request);

        lane_pop(lane);
        if (error == ERR_STOPPING) {
            break;
        }
        if (error != ERR_OK) {
            failure_note(lane->disk, &lane->files, &request.name,
                         request.operation == DISK_FILL || request.lane == DISK_LANE_SNAPSHOT);
        }
        complete(lane->disk, request.tag, error);
    }
    return NULL;
}

/* --- Opening and closing ---------------------------------------------------------------------- */

/* Threads leave all signals to the loop. */
static int thread_start(struct lane *lane)
{
    sigset_t all;
    sigset_t before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int code = pthread_create(&lane->thread, NULL, lane_run, lane);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return code;
}

static enum error lane_open(struct disk *disk, struct lane *lane)
{
    pthread_condattr_t attributes;

    lane->disk = disk;
    disk_files_open(&lane->files, &disk->folder);
    ASSERT(pthread_mutex_init(&lane->mutex, NULL) == 0);
    ASSERT(pthread_condattr_init(&attributes) == 0);
    ASSERT(pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0);
    ASSERT(pthread_cond_init(&lane->changed, &attributes) == 0);
    pthread_condattr_destroy(&attributes);
    int code = thread_start(lane);
    if (code != 0) {
        pthread_cond_destroy(&lane->changed);
        pthread_mutex_destroy(&lane->mutex);
        errno = code;
        return ERR_IO;
    }
    return ERR_OK;
}

static void lane_close(struct lane *lane)
{
    lock(&lane->mutex);
    lane->is_stopping = true;
    unlock(&lane->mutex);
    pthread_cond_signal(&lane->changed);
    ASSERT(pthread_join(lane->thread, NULL) == 0);
    disk_files_close(&lane->files);
    pthread_cond_destroy(&lane->changed);
    pthread_mutex_destroy(&lane->mutex);
}

static enum error lanes_open(struct disk *disk)
{
    while (disk->lane_count < DISK_LANE_COUNT) {
        enum error error = lane_open(disk, &disk->lanes[disk->lane_count]);

        if (error != ERR_OK) {
            return error;
        }
        disk->lane_count++;
    }
    return ERR_OK;
}

enum error disk_posix_open(struct disk **opened, const char *folder, uv_async_t *wake)
{
    struct disk *disk = calloc(1, sizeof(*disk));

    if (disk == NULL) {
        errno = ENOMEM;
        return ERR_IO;
    }
    ASSERT(pthread_mutex_init(&disk->mutex, NULL) == 0);
    disk->wake = wake;
    disk_files_open(&disk->files, &disk->folder);
    disk->folder.descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    enum error error = disk->folder.descriptor < 0 ? folder_error(errno) : ERR_OK;
    void *zeros = mmap(NULL, DISK_FILL_CHUNK_SIZE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    disk->folder.zeros = zeros == MAP_FAILED ? NULL : zeros;
    if (error == ERR_OK && zeros == MAP_FAILED) {
        error = ERR_IO;
    }
    if (error == ERR_OK && wake != NULL) {
        error = folder_remove_files(folder, temporary_suffix);
    }
    if (error == ERR_OK && wake != NULL) {
        error = lanes_open(disk);
    }
    if (error != ERR_OK) {
        int number = errno;
        disk_posix_close(disk);
        errno = number;
        /* disk_posix_close() gave `zeros` back. */
        /* cppcheck-suppress memleak */
        return error;
    }
    *opened = disk;
    /* cppcheck-suppress memleak */
    return ERR_OK;
}

void disk_posix_close(struct disk *disk)
{
    if (disk == NULL) {
        return;
    }
    while (disk->lane_count > 0) {
        lane_close(&disk->lanes[--disk->lane_count]);
    }
    disk_files_close(&disk->files);
    if (disk->folder.zeros != NULL) {
        munmap((void *)(uintptr_t)disk->folder.zeros, DISK_FILL_CHUNK_SIZE);
    }
    if (disk->folder.descriptor >= 0) {
        close(disk->folder.descriptor);
    }
    pthread_mutex_destroy(&disk->mutex);
    free(disk);
}

/* --- The synchronous calls -------------------------------------------------------------------- */

static enum error noted(struct disk *disk, const struct disk_name *name, enum error error)
{
    ASSERT(disk->under_way == 0);
    /* Whoever opens a log asks for files that may not be there. */
    if (error != ERR_OK && error != ERR_MISSING) {
        failure_note(disk, &disk->files, name, false);
    }
    return error;
}

/* Whether the name is one that disk_list() gives. */
static bool is_listed(struct disk *disk, const char *name, const char *prefix)
{
    size_t size = strlen(name);
    size_t suffix_size = sizeof(temporary_suffix) - 1;
    struct stat status;

    if (size >= DISK_NAME_SIZE || strncmp(name, prefix, strlen(prefix)) != 0) {
        return false;
    }
    if (size >= suffix_size && strcmp(name + size - suffix_size, temporary_suffix) == 0) {
        return false;
    }
    return fstatat(disk->folder.descriptor, name, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
           S_ISREG(status.st_mode);
}

static int name_compare(const void *left, const void *right)
{
    const struct disk_name *a = left;
    const struct disk_name *b = right;

    return strcmp(a->text, b->text);
}

enum error disk_list(struct disk *disk, const char *prefix, struct disk_name *names,
                     uint32_t names_max, uint32_t *names_count)
{
    /* A descriptor of its own: the position of the folder's would be shared. */
    int descriptor = openat(disk->folder.descriptor, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *folder = descriptor < 0 ? NULL : fdopendir(descriptor);
    const struct dirent *entry;
    enum error error = ERR_OK;

    *names_count = 0;
    if (folder == NULL) {
        error = folder_error(errno);
        if (descriptor >= 0) {
            close(descriptor);
        }
        return error;
    }
    while (error == ERR_OK && (entry = readdir(folder)) != NULL) {
        if (!is_listed(disk, entry->d_name, prefix)) {
            continue;
        }
        if (*names_count == names_max) {
            error = ERR_FULL;
        } else {
            struct disk_name *name = &names[(*names_count)++];
            memcpy(name->text, entry->d_name, strlen(entry->d_name) + 1);
        }
    }
    closedir(folder);
    qsort(names, *names_count, sizeof(*names), name_compare);
    return error;
}

enum error disk_size(struct disk *disk, const struct disk_name *name, uint64_t *size)
{
    struct stat status;

    if (fstatat(disk->folder.descriptor, name->text, &status, 0) != 0) {
        return folder_error(errno);
    }
    *size = (uint64_t)status.st_size;
    return ERR_OK;
}

enum error disk_read(struct disk *disk, const struct disk_name *name, uint64_t offset,
                     uint8_t *data, uint64_t size, uint64_t *size_read)
{
    return noted(disk, name, disk_files_read(&disk->files, name, offset, data, size, size_read));
}

enum error disk_write(struct disk *disk, const struct disk_name *name, uint64_t offset,
                      const uint8_t *data, uint64_t size)
{
    return noted(disk, name,
                 disk_files_write(&disk->files, name, offset, bytes_of(data, size), false));
}

enum error disk_save(struct disk *disk, const struct disk_name *name, struct bytes bytes)
{
    return noted(disk, name, disk_files_save(&disk->files, name, bytes));
}

enum error disk_fill(struct disk *disk, const struct disk_name *name, uint64_t size)
{
    return noted(disk, name, fill(&disk->files, NULL, name, size));
}

enum error disk_rename(struct disk *disk, const struct disk_name *source,
                       const struct disk_name *target)
{
    return noted(disk, source, disk_files_rename(&disk->files, source, target));
}

enum error disk_stage(struct disk *disk, const struct disk_name *name, uint64_t offset,
                      struct bytes bytes)
{
    return noted(disk, name, disk_files_stage(&disk->files, name, offset, bytes));
}

enum error disk_publish(struct disk *disk, const struct disk_name *name,
                        const struct disk_name *target, uint64_t size)
{
    return noted(disk, name, disk_files_publish(&disk->files, name, target, size));
}

enum error disk_remove(struct disk *disk, const struct disk_name *name)
{
    return noted(disk, name, disk_files_remove(&disk->files, name));
}
