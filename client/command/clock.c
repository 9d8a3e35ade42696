/* client/command/clock.c: reads the clocks of the operating system. */
#define _GNU_SOURCE
#include "client/command/clock.h"

#include <time.h>

#include "base/assert.h"
#include "client/host.h"

enum { NS_IN_US = 1000, NS_IN_MS = 1000 * 1000, US_IN_S = 1000 * 1000 };

uint64_t clock_now_ms(void)
{
    return host_now_ms();
}

uint64_t clock_now_us(void)
{
    struct timespec now;
    int failed = clock_gettime(CLOCK_MONOTONIC_RAW, &now);

    ASSERT(failed == 0);
    return (uint64_t)now.tv_sec * US_IN_S + (uint64_t)now.tv_nsec / NS_IN_US;
}

uint64_t clock_wall_ms(void)
{
    struct timespec now;
    int failed = clock_gettime(CLOCK_REALTIME, &now);

    ASSERT(failed == 0);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / NS_IN_MS;
}
