/* client/command/clock.c: reads the clocks of the operating system. */
#define _GNU_SOURCE
#include "client/command/clock.h"

#include <time.h>

#include "base/assert.h"

enum { NS_IN_MS = 1000 * 1000, READING_NS_MAX = 500 * 1000, READING_COUNT_MAX = 100 };

static uint64_t read_ns(clockid_t clock)
{
    struct timespec now;
    int failed = clock_gettime(clock, &now);

    ASSERT(failed == 0);
    return (uint64_t)now.tv_sec * 1000 * NS_IN_MS + (uint64_t)now.tv_nsec;
}

uint64_t clock_now_ms(void)
{
    uint64_t suspended_ns = 0;

    /* Read again when the process was interrupted between two readings: the time away would look
     * like a suspension. */
    for (int i = 0; i < READING_COUNT_MAX; i++) {
        uint64_t before_ns = read_ns(CLOCK_MONOTONIC);
        uint64_t boot_ns = read_ns(CLOCK_BOOTTIME);
        uint64_t after_ns = read_ns(CLOCK_MONOTONIC);

        suspended_ns = boot_ns > after_ns ? boot_ns - after_ns : 0;
        if (after_ns - before_ns <= READING_NS_MAX) {
            break;
        }
    }
    return (read_ns(CLOCK_MONOTONIC_RAW) + suspended_ns) / NS_IN_MS;
}

uint64_t clock_wall_ms(void)
{
    return read_ns(CLOCK_REALTIME) / NS_IN_MS;
}
