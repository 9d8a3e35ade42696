/* server/clock.c: raw time plus suspended time, never back. */
#define _GNU_SOURCE /* NOLINT(bugprone-reserved-identifier): the C library's own switch. */
#include "server/clock.h"

#include <stdbool.h>
#include <time.h>

#include "base/assert.h"

enum {
    NS_IN_MS = 1000 * 1000,
    /* Readings further apart were interrupted, and tell the suspended time less exactly. */
    READING_NS_MAX = 500 * 1000,
    /* Smaller changes of the difference are noise of reading one clock after the other. */
    SUSPENDED_NS_MIN = 2 * NS_IN_MS,
};

static uint64_t read_ns(clockid_t id)
{
    struct timespec now;

    ASSERT(clock_gettime(id, &now) == 0);
    return (uint64_t)now.tv_sec * 1000 * NS_IN_MS + (uint64_t)now.tv_nsec;
}

void clock_init(struct clock *clock)
{
    *clock = (struct clock){0};
}

uint64_t clock_advance(struct clock *clock, uint64_t raw_ns, uint64_t before_ns, uint64_t boot_ns,
                       uint64_t after_ns)
{
    ASSERT_VALUES(before_ns <= after_ns, before_ns, after_ns);
    /* Of an interrupted reading it is only sure that the monotonic clock was not beyond `after_ns`
     * when `boot_ns` was read: what is left then is suspended time, and not to be missed. */
    bool is_trusted = after_ns - before_ns <= READING_NS_MAX;
    uint64_t monotonic_ns = is_trusted ? before_ns : after_ns;

    if (boot_ns > monotonic_ns + clock->suspended_ns + SUSPENDED_NS_MIN) {
        clock->suspended_ns = boot_ns - monotonic_ns;
    }
    uint64_t now_ms = (raw_ns + clock->suspended_ns) / NS_IN_MS;
    if (now_ms > clock->last_ms) {
        clock->last_ms = now_ms;
    }
    return clock->last_ms;
}

uint64_t clock_now_ms(struct clock *clock)
{
    uint64_t raw_ns = read_ns(CLOCK_MONOTONIC_RAW);
    uint64_t before_ns = read_ns(CLOCK_MONOTONIC);
    uint64_t boot_ns = read_ns(CLOCK_BOOTTIME);
    uint64_t after_ns = read_ns(CLOCK_MONOTONIC);

    return clock_advance(clock, raw_ns, before_ns, boot_ns, after_ns);
}
