/* log/window.c: synchronous reading of segments through one block of memory. */
#include "log/window.h"

#include "base/assert.h"
#include "log/spans.h"

enum { WINDOW_SIZE_MIN = 1 << 20 };

uint32_t log_window_capacity(uint32_t batch_size_max)
{
    uint32_t capacity = log_spans_size_max(batch_size_max);

    ASSERT(batch_size_max % LOG_BLOCK_SIZE == 0);
    return capacity > WINDOW_SIZE_MIN ? capacity : WINDOW_SIZE_MIN;
}

void log_window_init(struct log_window *window, struct arena *arena, uint32_t capacity)
{
    ASSERT(capacity >= WINDOW_SIZE_MIN);
    *window = (struct log_window){
        .data = arena_take_aligned(arena, capacity, DISK_ALIGNMENT),
        .capacity = capacity,
    };
}

void log_window_forget(struct log_window *window)
{
    ASSERT(window->data != NULL);
    window->place = (struct log_place){.segment = 0};
    window->size = 0;
}

enum error log_window_read(struct log_window *window, struct disk *disk,
                           const struct disk_name *name, struct log_place place, uint32_t size,
                           const uint8_t **data)
{
    ASSERT_VALUES(size <= window->capacity, size, window->capacity);
    ASSERT_VALUES(place.offset % DISK_ALIGNMENT == 0, place.segment, place.offset);
    bool is_there = window->place.segment == place.segment &&
                    window->place.offset <= place.offset &&
                    (uint64_t)place.offset + size <= (uint64_t)window->place.offset + window->size;

    if (!is_there) {
        uint64_t size_read = 0;
        log_window_forget(window);
        enum error error =
            disk_read(disk, name, place.offset, window->data, window->capacity, &size_read);

        if (error != ERR_OK) {
            return error;
        }
        if (size_read < size) {
            return ERR_CORRUPT;
        }
        window->place = place;
        window->size = (uint32_t)size_read;
    }
    *data = window->data + (place.offset - window->place.offset);
    return ERR_OK;
}
