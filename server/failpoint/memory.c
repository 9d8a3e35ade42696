/* server/failpoint/memory.c: every allocation of the program, of its static libraries and of libuv
 * passes the point "memory.get". Linked with --wrap by `make FAILPOINTS=1` alone. */
#define _GNU_SOURCE /* NOLINT(bugprone-reserved-identifier): <uv.h> needs more than C11. */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <uv.h>

#include "base/assert.h"
#include "server/failpoint.h"

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);

/* There is nothing to do behind an allocation. */
static int is_there(void)
{
    int number = FAILPOINT("memory", "get", 0);

    errno = number == 0 ? errno : ENOMEM;
    return number == 0;
}

void *__wrap_malloc(size_t size)
{
    return is_there() ? __real_malloc(size) : NULL;
}

void *__wrap_calloc(size_t count, size_t size)
{
    return is_there() ? __real_calloc(count, size) : NULL;
}

void *__wrap_realloc(void *memory, size_t size)
{
    return is_there() ? __real_realloc(memory, size) : NULL;
}

__attribute__((constructor)) static void replace_allocator(void)
{
    ASSERT(uv_replace_allocator(__wrap_malloc, __wrap_realloc, __wrap_calloc, free) == 0);
}
