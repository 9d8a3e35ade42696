/* tests/support/log/memory_disk.c: a folder of named byte arrays. */
#include "tests/support/log/memory_disk.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

enum { FILE_COUNT_MAX = 512 };

struct file {
    struct disk_name name;
    uint8_t *data;
    uint64_t size;
    uint64_t written; /* Of it, what is in memory; behind are zeros that nobody has touched. */
    bool is_staged;   /* Nothing of it is durable. */
};

struct pending {
    struct disk_request request;
    uint64_t number; /* In order of submission, over all lanes. */
};

struct lane {
    struct pending requests[DISK_REQUEST_COUNT_MAX];
    uint32_t head;
    uint32_t count;
};

struct disk {
    struct file files[FILE_COUNT_MAX]; /* In order of the names. */
    uint32_t file_count;
    struct lane lanes[DISK_LANE_COUNT];
    uint64_t submitted_count;
    uint64_t operation_count;
    uint64_t fail_at; /* The operation that fails; 0: none. */
    bool fails_on;    /* And all behind it. */
    enum error fail_error;
    uint64_t size_max;
};

/* --- Files ----------------------------------------------------------------------------------- */

/* What is before `size` is in memory from now on; what is behind `from` is about to be written. */
static void materialise(struct file *file, uint64_t from, uint64_t size)
{
    if (size <= file->written) {
        return;
    }
    uint64_t written = size_min(file->size, size_max(size, 2 * file->written));
    uint8_t *data = realloc(file->data, written);

    ASSERT(data != NULL && from <= size && size <= written);
    memset(data + file->written, 0, size_max(from, file->written) - file->written);
    memset(data + size, 0, written - size);
    file->data = data;
    file->written = written;
}

static struct file *find(const struct disk *disk, const char *name)
{
    for (uint32_t i = 0; i < disk->file_count; i++) {
        const struct file *file = &disk->files[i];

        if (strcmp(file->name.text, name) == 0) {
            return (struct file *)(uintptr_t)file;
        }
    }
    return NULL;
}

static struct file *find_or_make(struct disk *disk, const char *name)
{
    struct file *file = find(disk, name);
    uint32_t at = 0;

    if (file != NULL) {
        return file;
    }
    ASSERT(disk->file_count < FILE_COUNT_MAX);
    ASSERT(strlen(name) < DISK_NAME_SIZE);
    while (at < disk->file_count && strcmp(disk->files[at].name.text, name) < 0) {
        at++;
    }
    memmove(&disk->files[at + 1], &disk->files[at],
            (disk->file_count - at) * sizeof(disk->files[0]));
    disk->file_count++;
    file = &disk->files[at];
    *file = (struct file){.size = 0};
    memcpy(file->name.text, name, strlen(name));
    return file;
}

/* The file takes over `data`; NULL: zeros. */
static void replace(struct disk *disk, const char *name, uint8_t *data, uint64_t size)
{
    struct file *file = find_or_make(disk, name);

    free(file->data);
    file->data = data;
    file->size = size;
    file->written = data == NULL ? 0 : size;
    file->is_staged = false;
}

static void drop(struct disk *disk, struct file *file)
{
    uint32_t at = (uint32_t)(file - disk->files);

    ASSERT(at < disk->file_count);
    free(file->data);
    memmove(file, file + 1, (disk->file_count - at - 1) * sizeof(*file));
    disk->file_count--;
}

static void move(struct disk *disk, struct file *file, const char *target)
{
    materialise(file, file->size, file->size);
    struct file moved = *file;

    file->data = NULL;
    drop(disk, file);
    replace(disk, target, moved.data, moved.size);
}

static uint64_t used_size(const struct disk *disk)
{
    uint64_t size = 0;

    for (uint32_t i = 0; i < disk->file_count; i++) {
        size += disk->files[i].size;
    }
    return size;
}

/* --- Life ------------------------------------------------------------------------------------ */

struct disk *memory_disk_open(void)
{
    struct disk *disk = calloc(1, sizeof(*disk));

    ASSERT(disk != NULL);
    disk->size_max = UINT64_MAX;
    return disk;
}

void memory_disk_close(struct disk *disk)
{
    ASSERT(disk != NULL);
    for (uint32_t i = 0; i < disk->file_count; i++) {
        free(disk->files[i].data);
    }
    free(disk);
}

struct disk *memory_disk_copy(const struct disk *disk)
{
    struct disk *copy = memory_disk_open();

    for (uint32_t i = 0; i < disk->file_count; i++) {
        const struct file *file = &disk->files[i];

        memory_disk_put(copy, file->name.text, memory_disk_file(disk, file->name.text));
        find_or_make(copy, file->name.text)->is_staged = file->is_staged;
    }
    return copy;
}

/* --- Operations ------------------------------------------------------------------------------ */

/* Counts an operation; its planned failure, or ERR_OK. */
static enum error count_operation(struct disk *disk)
{
    disk->operation_count++;
    bool fails = disk->operation_count == disk->fail_at ||
                 (disk->fails_on && disk->operation_count > disk->fail_at);

    return fails ? disk->fail_error : ERR_OK;
}

static bool keep_every_second(void *context, uint32_t sector)
{
    (void)context;
    return sector % 2 == 1;
}

static void write_sectors(struct file *file, uint64_t offset, const uint8_t *data, uint64_t size,
                          memory_disk_keep *keep, void *context)
{
    ASSERT(offset + size <= file->size);
    materialise(file, offset + size, offset + size);
    for (uint64_t at = 0; at < size; at += DISK_SECTOR_SIZE) {
        if (keep(context, (uint32_t)(at / DISK_SECTOR_SIZE))) {
            memcpy(file->data + offset + at, data + at, size_min(DISK_SECTOR_SIZE, size - at));
        }
    }
}

static enum error write_file(struct disk *disk, const char *name, uint64_t offset,
                             const uint8_t *data, uint64_t size)
{
    enum error error = count_operation(disk);
    struct file *file = find(disk, name);

    ASSERT(offset % DISK_ALIGNMENT == 0 && size % DISK_ALIGNMENT == 0);
    ASSERT((uintptr_t)data % DISK_ALIGNMENT == 0);
    if (file == NULL) {
        return ERR_MISSING;
    }
    ASSERT_VALUES(offset + size <= file->size, offset + size, file->size);
    if (error != ERR_OK) {
        write_sectors(file, offset, data, size, keep_every_second, NULL);
        return error;
    }
    materialise(file, offset, offset + size);
    memcpy(file->data + offset, data, size);
    return ERR_OK;
}

static enum error read_file(struct disk *disk, const char *name, uint64_t offset, uint8_t *data,
                            uint64_t size, uint64_t *size_read)
{
    enum error error = count_operation(disk);
    const struct file *file = find(disk, name);

    ASSERT((uintptr_t)data % DISK_ALIGNMENT == 0);
    ASSERT(offset % DISK_ALIGNMENT == 0 && size % DISK_ALIGNMENT == 0);
    if (error != ERR_OK) {
        return error;
    }
    if (file == NULL) {
        return ERR_MISSING;
    }
    *size_read = offset >= file->size ? 0 : size_min(size, file->size - offset);
    uint64_t written = offset >= file->written ? 0 : size_min(*size_read, file->written - offset);

    if (written != 0) {
        memcpy(data, file->data + offset, written);
    }
    memset(data + written, 0, *size_read - written);
    return ERR_OK;
}

static enum error fill_file(struct disk *disk, const char *name, uint64_t size)
{
    enum error error = count_operation(disk);

    if (error != ERR_OK) {
        return error;
    }
    if (used_size(disk) + size > disk->size_max) {
        return ERR_NO_SPACE;
    }
    replace(disk, name, NULL, size);
    return ERR_OK;
}

/* Makes the file if it is absent, and as long as it has to be; at offset 0 it begins anew. One that
 * fails leaves zeros. */
static enum error stage_file(struct disk *disk, const struct disk_request *request)
{
    enum error error = count_operation(disk);

    ASSERT((request->offset | request->size | (uintptr_t)request->data) % DISK_ALIGNMENT == 0);
    if (error == ERR_OK && used_size(disk) + request->size > disk->size_max) {
        return ERR_NO_SPACE;
    }
    struct file *file = find_or_make(disk, request->name.text);

    if (request->offset == 0) {
        replace(disk, request->name.text, NULL, 0);
    }
    file->size = size_max(file->size, request->offset + request->size);
    file->is_staged = true;
    if (error == ERR_OK) {
        materialise(file, request->offset, request->offset + request->size);
    }
    materialise(file, file->size, file->size);
    memcpy(file->data + request->offset, request->data, error == ERR_OK ? request->size : 0);
    return error;
}

/* A failed one has not renamed. */
static enum error publish_file(struct disk *disk, const struct disk_request *request)
{
    enum error error = count_operation(disk);
    struct file *file = find(disk, request->name.text);

    if (error != ERR_OK || file == NULL) {
        return error != ERR_OK ? error : ERR_MISSING;
    }
    file->size = request->size;
    file->written = size_min(file->written, file->size);
    move(disk, file, request->target.text);
    return ERR_OK;
}

static enum error remove_file(struct disk *disk, const char *name)
{
    enum error error = count_operation(disk);
    struct file *file = find(disk, name);

    if (error == ERR_OK && file != NULL) {
        drop(disk, file);
    }
    return error;
}

/* --- The asynchronous calls ------------------------------------------------------------------ */

void disk_submit(struct disk *disk, const struct disk_request *request)
{
    struct lane *lane = &disk->lanes[request->lane];

    ASSERT(memory_disk_pending_count(disk) < DISK_REQUEST_COUNT_MAX);
    uint32_t at = (lane->head + lane->count) % DISK_REQUEST_COUNT_MAX;

    lane->requests[at] = (struct pending){.request = *request, .number = disk->submitted_count};
    disk->submitted_count++;
    lane->count++;
}

uint32_t memory_disk_pending_count(const struct disk *disk)
{
    uint32_t count = 0;

    for (unsigned lane = 0; lane < DISK_LANE_COUNT; lane++) {
        count += disk->lanes[lane].count;
    }
    return count;
}

const struct disk_request *memory_disk_head(const struct disk *disk, enum disk_lane lane)
{
    const struct lane *queue = &disk->lanes[lane];

    ASSERT(lane < DISK_LANE_COUNT);
    return queue->count == 0 ? NULL : &queue->requests[queue->head].request;
}

static enum error carry_out(struct disk *disk, const struct disk_request *request)
{
    switch (request->operation) {
    case DISK_WRITE:
        return write_file(disk, request->name.text, request->offset, request->data, request->size);
    case DISK_READ: {
        uint64_t size_read = 0;
        enum error error = read_file(disk, request->name.text, request->offset, request->data,
                                     request->size, &size_read);

        if (error == ERR_OK) {
            memset(request->data + size_read, 0, request->size - size_read);
        }
        return error;
    }
    case DISK_FILL:
        return fill_file(disk, request->name.text, request->size);
    case DISK_REMOVE:
        return remove_file(disk, request->name.text);
    case DISK_STAGE:
        return stage_file(disk, request);
    case DISK_PUBLISH:
        return publish_file(disk, request);
    }
    UNREACHABLE();
}

bool memory_disk_complete_lane(struct disk *disk, enum disk_lane lane,
                               struct disk_completion *completion)
{
    struct lane *queue = &disk->lanes[lane];

    ASSERT(lane < DISK_LANE_COUNT);
    if (queue->count == 0) {
        return false;
    }
    struct disk_request request = queue->requests[queue->head].request;

    queue->head = (queue->head + 1) % DISK_REQUEST_COUNT_MAX;
    queue->count--;
    completion->tag = request.tag;
    completion->error = carry_out(disk, &request);
    return true;
}

bool memory_disk_complete_next(struct disk *disk, struct disk_completion *completion)
{
    enum disk_lane oldest = DISK_LANE_COUNT;
    uint64_t number = UINT64_MAX;

    for (unsigned lane = 0; lane < DISK_LANE_COUNT; lane++) {
        const struct lane *queue = &disk->lanes[lane];

        if (queue->count != 0 && queue->requests[queue->head].number < number) {
            number = queue->requests[queue->head].number;
            oldest = (enum disk_lane)lane;
        }
    }
    return oldest != DISK_LANE_COUNT && memory_disk_complete_lane(disk, oldest, completion);
}

/* Of what was staged some sectors are lost, or all of it. */
static void crash_staged(struct disk *disk, memory_disk_keep *keep, void *context)
{
    for (uint32_t i = disk->file_count; i-- > 0;) {
        struct file *file = &disk->files[i];

        if (file->is_staged && keep == NULL) {
            drop(disk, file);
            continue;
        }
        for (uint64_t at = 0; file->is_staged && at < file->size; at += DISK_SECTOR_SIZE) {
            if (!keep(context, (uint32_t)(at / DISK_SECTOR_SIZE))) {
                memset(file->data + at, 0, DISK_SECTOR_SIZE);
            }
        }
    }
}

/* What the power failure finds at the head of a lane, as far as it came. */
static void crash_head(struct disk *disk, const struct disk_request *head, memory_disk_keep *keep,
                       void *context)
{
    if (head->operation == DISK_WRITE) {
        struct file *file = find(disk, head->name.text);

        ASSERT(file != NULL);
        write_sectors(file, head->offset, head->data, head->size, keep, context);
    } else if (head->operation == DISK_STAGE) {
        (void)stage_file(disk, head);
    } else if (head->operation == DISK_PUBLISH && keep(context, 0)) {
        (void)publish_file(disk, head);
    }
}

void memory_disk_crash(struct disk *disk, memory_disk_keep *keep, void *context)
{
    for (unsigned lane = 0; lane < DISK_LANE_COUNT; lane++) {
        const struct disk_request *head = memory_disk_head(disk, (enum disk_lane)lane);

        if (head != NULL && keep != NULL) {
            crash_head(disk, head, keep, context);
        }
        disk->lanes[lane].head = 0;
        disk->lanes[lane].count = 0;
    }
    crash_staged(disk, keep, context);
}

/* --- The synchronous calls ------------------------------------------------------------------- */

enum error disk_list(struct disk *disk, const char *prefix, struct disk_name *names,
                     uint32_t names_max, uint32_t *names_count)
{
    enum error error = count_operation(disk);
    uint32_t count = 0;

    ASSERT(memory_disk_pending_count(disk) == 0);
    for (uint32_t i = 0; error == ERR_OK && i < disk->file_count; i++) {
        if (strncmp(disk->files[i].name.text, prefix, strlen(prefix)) != 0) {
            continue;
        }
        if (count == names_max) {
            error = ERR_FULL;
        } else {
            names[count++] = disk->files[i].name;
        }
    }
    *names_count = count;
    return error;
}

enum error disk_size(struct disk *disk, const struct disk_name *name, uint64_t *size)
{
    enum error error = count_operation(disk);
    const struct file *file = find(disk, name->text);

    ASSERT(memory_disk_pending_count(disk) == 0);
    if (error != ERR_OK || file == NULL) {
        return error != ERR_OK ? error : ERR_MISSING;
    }
    *size = file->size;
    return ERR_OK;
}

enum error disk_read(struct disk *disk, const struct disk_name *name, uint64_t offset,
                     uint8_t *data, uint64_t size, uint64_t *size_read)
{
    ASSERT(memory_disk_pending_count(disk) == 0);
    return read_file(disk, name->text, offset, data, size, size_read);
}

enum error disk_write(struct disk *disk, const struct disk_name *name, uint64_t offset,
                      const uint8_t *data, uint64_t size)
{
    ASSERT(memory_disk_pending_count(disk) == 0);
    return write_file(disk, name->text, offset, data, size);
}

enum error disk_save(struct disk *disk, const struct disk_name *name, struct bytes bytes)
{
    enum error error = count_operation(disk);

    ASSERT(memory_disk_pending_count(disk) == 0);
    if (error == ERR_OK && used_size(disk) + bytes.size > disk->size_max) {
        error = ERR_NO_SPACE;
    }
    if (error == ERR_OK) {
        memory_disk_put(disk, name->text, bytes);
    }
    return error;
}

enum error disk_fill(struct disk *disk, const struct disk_name *name, uint64_t size)
{
    ASSERT(memory_disk_pending_count(disk) == 0);
    return fill_file(disk, name->text, size);
}

enum error disk_rename(struct disk *disk, const struct disk_name *source,
                       const struct disk_name *target)
{
    enum error error = count_operation(disk);
    struct file *file = find(disk, source->text);

    ASSERT(memory_disk_pending_count(disk) == 0);
    if (error != ERR_OK || file == NULL) {
        return error != ERR_OK ? error : ERR_MISSING;
    }
    move(disk, file, target->text);
    return ERR_OK;
}

/* --- Faults and files ------------------------------------------------------------------------ */

void memory_disk_fail(struct disk *disk, uint64_t nth, enum error error)
{
    ASSERT(nth == 0 || error != ERR_OK);
    disk->fail_at = nth == 0 ? 0 : disk->operation_count + nth;
    disk->fail_error = error;
    disk->fails_on = false;
}

void memory_disk_fail_from(struct disk *disk, uint64_t nth, enum error error)
{
    ASSERT(nth != 0);
    memory_disk_fail(disk, nth, error);
    disk->fails_on = true;
}

uint64_t memory_disk_operation_count(const struct disk *disk)
{
    return disk->operation_count;
}

void memory_disk_limit(struct disk *disk, uint64_t size_max)
{
    disk->size_max = size_max;
}

uint32_t memory_disk_file_count(const struct disk *disk)
{
    return disk->file_count;
}

const char *memory_disk_file_name(const struct disk *disk, uint32_t number)
{
    ASSERT(number < disk->file_count);
    return disk->files[number].name.text;
}

struct bytes memory_disk_file(const struct disk *disk, const char *name)
{
    struct file *file = find(disk, name);

    if (file == NULL) {
        return bytes_of(NULL, 0);
    }
    materialise(file, file->size, file->size);
    return bytes_of(file->data, file->size);
}

void memory_disk_put(struct disk *disk, const char *name, struct bytes bytes)
{
    uint8_t *data = malloc(size_max(bytes.size, 1));

    ASSERT(data != NULL);
    if (bytes.size != 0) {
        memcpy(data, bytes.data, bytes.size);
    }
    replace(disk, name, data, bytes.size);
}

void memory_disk_remove(struct disk *disk, const char *name)
{
    struct file *file = find(disk, name);

    ASSERT(file != NULL);
    drop(disk, file);
}
