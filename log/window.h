/* log/window.h: a part of a segment in memory, read in large aligned pieces while opening. */
#ifndef LOG_WINDOW_H
#define LOG_WINDOW_H

#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/macros.h"
#include "log/disk.h"
#include "log/format.h"

struct log_window {
    uint8_t *data; /* Aligned to DISK_ALIGNMENT. */
    uint32_t capacity;
    struct log_place place; /* Of what is in it; segment 0: nothing. */
    uint32_t size;
};

/* Large enough for the largest batch and the largest span. */
uint32_t log_window_capacity(uint32_t batch_size_max);

void log_window_init(struct log_window *window, struct arena *arena, uint32_t capacity);

/* The window's memory is about to be used for something else. */
void log_window_forget(struct log_window *window);

/* Points `*data` at `size` bytes (at most the capacity) of the file at `place`; reads ahead as far
 * as the memory goes. ERR_IO, ERR_MISSING, ERR_CORRUPT when the file is shorter. */
MUST_USE enum error log_window_read(struct log_window *window, struct disk *disk,
                                    const struct disk_name *name, struct log_place place,
                                    uint32_t size, const uint8_t **data);

#endif
