/* client/host.h: what the machine says: the clock and entropy. For the library and its command. */
#ifndef CLIENT_HOST_H
#define CLIENT_HOST_H

#include <stdint.h>

/* Milliseconds of the client's clock, which nobody slews and no suspension stops:
 * CLOCK_MONOTONIC_RAW plus the time that the machine was suspended. It is the time of a moment
 * within the call, or up to half a millisecond before: early enough for the send time of a renewal,
 * late enough for the holder's deadline. */
uint64_t host_now_ms(void);

/* A seed. */
uint64_t host_entropy(void);

#endif
