/* base/arena.c: gives out one block of memory from front to back. */
#include "base/arena.h"

#include <stdbool.h>

#include "base/assert.h"
#include "base/macros.h"

static bool is_power_of_two(size_t value)
{
    return value != 0 && (value & (value - 1)) == 0;
}

static size_t product(size_t count, size_t size)
{
    ASSERT_VALUES(size == 0 || count <= SIZE_MAX / size, count, size);
    return count * size;
}

void arena_init(struct arena *arena, void *memory, size_t capacity)
{
    ASSERT(memory != NULL || capacity == 0);
    ASSERT((uintptr_t)memory % ARENA_ALIGNMENT == 0);

    *arena = (struct arena){.data = memory, .size = 0, .capacity = capacity};
}

void *arena_take(struct arena *arena, size_t count, size_t size)
{
    return arena_take_aligned(arena, product(count, size), ARENA_ALIGNMENT);
}

void *arena_take_aligned(struct arena *arena, size_t size, size_t alignment)
{
    ASSERT(arena->data != NULL);
    ASSERT(arena->size <= arena->capacity);
    ASSERT_VALUES(is_power_of_two(alignment), alignment, size);

    /* The address is aligned, not the offset: `alignment` may exceed that of the whole block. */
    uintptr_t end = (uintptr_t)arena->data + arena->size;
    size_t padding = (size_t)(-end & (alignment - 1));
    size_t room = arena->capacity - arena->size;

    ASSERT_VALUES(padding <= room, padding, room);
    ASSERT_VALUES(size <= room - padding, size, room - padding);
    uint8_t *memory = arena->data + arena->size + padding;
    arena->size += padding + size;
    return memory;
}

size_t arena_cost(size_t count, size_t size)
{
    size_t bytes = product(count, size);

    ASSERT_VALUES(bytes <= SIZE_MAX - ARENA_ALIGNMENT, bytes, count);
    return size_round_up(bytes, ARENA_ALIGNMENT);
}
