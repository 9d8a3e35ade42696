/* server/failpoint/memory.c: every allocation of the program, of its static libraries and of libuv
 * passes the point "memory.get". Linked with --wrap by `make FAILPOINTS=1` alone. */
#define _GNU_SOURCE /* NOLINT(bugprone-reserved-identifier): <uv.h> needs more than C11. */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <uv.h>

#include "base/assert.h"
#include "server/failpoint.h"

/* The names that the linker's --wrap gives them. */
void *memory_malloc(size_t size) __asm__("__wrap_malloc");
void *memory_calloc(size_t count, size_t size) __asm__("__wrap_calloc");
void *memory_realloc(void *memory, size_t size) __asm__("__wrap_realloc");
void *memory_real_malloc(size_t size) __asm__("__real_malloc");
void *memory_real_calloc(size_t count, size_t size) __asm__("__real_calloc");
void *memory_real_realloc(void *memory, size_t size) __asm__("__real_realloc");

/* There is nothing to do behind an allocation. */
static int is_there(void)
{
    int number = FAILPOINT("memory", "get", 0);

    errno = number == 0 ? errno : ENOMEM;
    return number == 0;
}

void *memory_malloc(size_t size)
{
    return is_there() ? memory_real_malloc(size) : NULL;
}

void *memory_calloc(size_t count, size_t size)
{
    return is_there() ? memory_real_calloc(count, size) : NULL;
}

void *memory_realloc(void *memory, size_t size)
{
    return is_there() ? memory_real_realloc(memory, size) : NULL;
}

__attribute__((constructor)) static void replace_allocator(void)
{
    ASSERT(uv_replace_allocator(memory_malloc, memory_realloc, memory_calloc, free) == 0);
}
