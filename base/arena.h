/* base/arena.h: one block of memory, given out from front to back and never back.
 *
 * Pure folders never allocate: `x_memory_size(options)` says how much x needs, and x_open()
 * carves it from an arena. Pages that are never touched cost nothing. */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <stddef.h>
#include <stdint.h>

enum { ARENA_ALIGNMENT = 64 };

struct arena {
    uint8_t *data;
    size_t size;     /* Bytes given out. */
    size_t capacity; /* Bytes in all. */
};

/* `memory` is aligned to at least ARENA_ALIGNMENT and outlives the arena. */
void arena_init(struct arena *arena, void *memory, size_t capacity);

/* `count` elements of `size` bytes each, aligned to ARENA_ALIGNMENT, not cleared. Asserts that
 * they fit: sizes are computed beforehand with arena_cost(). */
void *arena_take(struct arena *arena, size_t count, size_t size);

/* Like arena_take(), aligned to `alignment` (a power of two). */
void *arena_take_aligned(struct arena *arena, size_t size, size_t alignment);

/* What arena_take(count, size) uses up at most. */
size_t arena_cost(size_t count, size_t size);

#endif
