/* base/assert.h: assertions that are always compiled in.
 *
 * A failed assertion is a bug of ours, never an operating error: it prints the expression, the
 * place and up to two values, then aborts. */
#ifndef BASE_ASSERT_H
#define BASE_ASSERT_H

#include <stdint.h>

_Noreturn void assert_failed(const char *expression, const char *file, int line);
_Noreturn void assert_failed_values(const char *expression, const char *file, int line,
                                    uint64_t left, uint64_t right);

#define ASSERT(condition) ((condition) ? (void)0 : assert_failed(#condition, __FILE__, __LINE__))

/* Like ASSERT(), and prints two integers that explain the failure. */
#define ASSERT_VALUES(condition, left, right)                                                      \
    ((condition) ? (void)0                                                                         \
                 : assert_failed_values(#condition, __FILE__, __LINE__, (uint64_t)(left),          \
                                        (uint64_t)(right)))

/* Behind a switch that lists every enumerator and returns from each. */
#define UNREACHABLE() assert_failed("unreachable", __FILE__, __LINE__)

#endif
