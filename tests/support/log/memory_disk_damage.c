/* tests/support/log/memory_disk_damage.c: what a bad disk does to its files, and how to see it. */
#include <string.h>

#include "base/assert.h"
#include "tests/support/log/memory_disk.h"

/* `size` bytes at `offset` of a file that is that long. */
static uint8_t *piece(struct disk *disk, const char *name, uint64_t offset, uint64_t size)
{
    struct bytes file = memory_disk_file(disk, name);

    ASSERT(file.data != NULL && offset + size <= file.size);
    return (uint8_t *)(uintptr_t)file.data + offset;
}

void memory_disk_flip_bit(struct disk *disk, const char *name, uint64_t bit)
{
    *piece(disk, name, bit / 8, 1) ^= (uint8_t)(1u << bit % 8);
}

void memory_disk_overwrite(struct disk *disk, const char *name, uint64_t offset, struct bytes bytes)
{
    memcpy(piece(disk, name, offset, bytes.size), bytes.data, bytes.size);
}

void memory_disk_zero(struct disk *disk, const char *name, uint64_t offset, uint64_t size)
{
    memset(piece(disk, name, offset, size), 0, size);
}

bool memory_disk_equal(const struct disk *a, const struct disk *b)
{
    if (memory_disk_file_count(a) != memory_disk_file_count(b)) {
        return false;
    }
    for (uint32_t i = 0; i < memory_disk_file_count(a); i++) {
        const char *name = memory_disk_file_name(a, i);

        if (strcmp(name, memory_disk_file_name(b, i)) != 0 ||
            !bytes_equal(memory_disk_file(a, name), memory_disk_file(b, name))) {
            return false;
        }
    }
    return true;
}
