/* client/host.c: what the machine says: the clock and entropy. */
#define _DEFAULT_SOURCE /* NOLINT(bugprone-reserved-identifier): the C library's own switch. */
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "client/host.h"

enum { READING_NS_MAX = 500 * 1000, READING_COUNT_MAX = 100 };

static int64_t read_clock_ns(clockid_t id)
{
    struct timespec time;
    int failed = clock_gettime(id, &time);

    ASSERT(failed == 0);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

/* How long the machine was suspended since it started. A pause of the process between the readings
 * would look like a suspension, or hide one: the readings that lie closest together count, and it
 * reads again until those are close. */
static int64_t suspended_ns(void)
{
    int64_t closest_ns = INT64_MAX;
    int64_t suspended = 0;

    for (int i = 0; i < READING_COUNT_MAX && closest_ns > READING_NS_MAX; i++) {
        int64_t before_ns = read_clock_ns(CLOCK_MONOTONIC);
        int64_t boot_ns = read_clock_ns(CLOCK_BOOTTIME);
        int64_t after_ns = read_clock_ns(CLOCK_MONOTONIC);
        ASSERT(after_ns >= before_ns);
        if (after_ns - before_ns < closest_ns) {
            closest_ns = after_ns - before_ns;
            suspended = boot_ns > after_ns ? boot_ns - after_ns : 0;
        }
    }
    return suspended;
}

uint64_t host_now_ms(void)
{
    /* The raw clock last: a pause before it is part of the time that it says. */
    int64_t offset_ns = suspended_ns();
    int64_t raw_ns = read_clock_ns(CLOCK_MONOTONIC_RAW);

    return (uint64_t)(raw_ns + offset_ns) / 1000000;
}

uint64_t host_entropy(void)
{
    uint64_t seed = 0;

    if (getentropy(&seed, sizeof seed) != 0) {
        seed = (uint64_t)read_clock_ns(CLOCK_MONOTONIC_RAW) ^ (uint64_t)getpid() << 32;
    }
    return seed;
}
