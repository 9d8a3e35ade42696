/* base/bucket.h: how much one client may ask for: a token bucket as one number.
 *
 * GCRA, the generic cell rate algorithm: no timer fills it, and nothing is ever rounded. Time is
 * counted in units of 1/rate ms, so that a millisecond is `rate` units and a request costs 1000 of
 * them, exactly. After any silence `burst` requests are taken at once, then `rate` in a second. */
#ifndef BASE_BUCKET_H
#define BASE_BUCKET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/macros.h"

enum { BUCKET_RATE_MAX = 1000000, BUCKET_BURST_MAX = 1000000 };

struct bucket_limits {
    uint32_t rate;  /* Requests in a second, 1 to BUCKET_RATE_MAX. */
    uint32_t burst; /* At once, 1 to BUCKET_BURST_MAX. */
};

/* A bucket of zeros is full. */
struct bucket {
    uint64_t arrival; /* In units: when the next request would come in even steps. */
};

/* Takes one request at `now_ms` (below 2^43), or refuses it: then `*retry_after_ms` is the least
 * wait after which one would be taken, and the bucket is as it was. */
MUST_USE bool bucket_take(struct bucket *bucket, const struct bucket_limits *limits,
                          uint64_t now_ms, uint32_t *retry_after_ms);

/* The first millisecond at which one would be taken. */
uint64_t bucket_ready_ms(const struct bucket *bucket, const struct bucket_limits *limits);

#endif
