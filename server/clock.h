/* server/clock.h: the clock that leases are counted on.
 *
 * CLOCK_MONOTONIC_RAW, which is never slewed, plus the time that the machine was suspended
 * (CLOCK_BOOTTIME - CLOCK_MONOTONIC), in milliseconds. It never runs back. */
#ifndef SERVER_CLOCK_H
#define SERVER_CLOCK_H

#include <stdint.h>

struct clock {
    uint64_t last_ms; /* The newest reading. */
    uint64_t
        suspended_ns; /* The newest known; never more than there was, but for READING_NS_MAX. */
};

void clock_init(struct clock *clock);

uint64_t clock_now_ms(struct clock *clock);

/* The same rules for readings that are handed in: `raw_ns` of the raw clock, and `boot_ns` read
 * between `before_ns` and `after_ns` of the monotonic one. For tests. */
uint64_t clock_advance(struct clock *clock, uint64_t raw_ns, uint64_t before_ns, uint64_t boot_ns,
                       uint64_t after_ns);

#endif
