/* client/command/clock.h: the clock of deadlines, the same as the library's. */
#ifndef CLIENT_COMMAND_CLOCK_H
#define CLIENT_COMMAND_CLOCK_H

#include <stdint.h>

/* Milliseconds that nobody slews and no suspension stops: CLOCK_MONOTONIC_RAW plus the time that
 * the machine was suspended. */
uint64_t clock_now_ms(void);

/* Microseconds of CLOCK_MONOTONIC_RAW, for short measurements. */
uint64_t clock_now_us(void);

/* Milliseconds since 1970, for people and scripts. */
uint64_t clock_wall_ms(void);

#endif
