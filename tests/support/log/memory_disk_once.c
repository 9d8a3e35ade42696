/* tests/support/log/memory_disk_once.c: requests that are carried out at once, with the disk's own
 * operations. */
#include "base/assert.h"
#include "tests/support/log/memory_disk.h"

static enum error at_once(struct disk *disk, struct disk_request *request)
{
    struct disk_completion completion;

    ASSERT(memory_disk_pending_count(disk) == 0);
    request->lane = DISK_LANE_SNAPSHOT;
    disk_submit(disk, request);
    bool is_done = memory_disk_complete_lane(disk, DISK_LANE_SNAPSHOT, &completion);

    ASSERT(is_done);
    return completion.error;
}

enum error disk_stage(struct disk *disk, const struct disk_name *name, uint64_t offset,
                      struct bytes bytes)
{
    struct disk_request request = {.operation = DISK_STAGE,
                                   .name = *name,
                                   .offset = offset,
                                   .data = (uint8_t *)(uintptr_t)bytes.data,
                                   .size = bytes.size};

    return at_once(disk, &request);
}

enum error disk_publish(struct disk *disk, const struct disk_name *name,
                        const struct disk_name *target, uint64_t size)
{
    struct disk_request request = {
        .operation = DISK_PUBLISH, .name = *name, .target = *target, .size = size};

    return at_once(disk, &request);
}

enum error disk_remove(struct disk *disk, const struct disk_name *name)
{
    struct disk_request request = {.operation = DISK_REMOVE, .name = *name};

    return at_once(disk, &request);
}
