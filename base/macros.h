/* base/macros.h: the few attributes and helpers that every file may use. */
#ifndef BASE_MACROS_H
#define BASE_MACROS_H

#include <stddef.h>

/* The result must be looked at: on every function whose error or verdict matters. */
#define MUST_USE __attribute__((warn_unused_result))

/* The arguments are checked like those of printf(). */
#define PRINTF_LIKE(format_at, first_at) __attribute__((format(printf, format_at, first_at)))

/* The structure that holds `member` at `pointer`. */
#define CONTAINER_OF(pointer, type, member)                                                        \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

static inline size_t size_min(size_t a, size_t b)
{
    return a < b ? a : b;
}

static inline size_t size_max(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* `size` rounded up to a multiple of `unit`, which is a power of two. */
static inline size_t size_round_up(size_t size, size_t unit)
{
    return (size + unit - 1) & ~(unit - 1);
}

#endif
