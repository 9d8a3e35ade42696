/* client/core_bucket.h: no more than so many requests a second, with a burst (GCRA).
 *
 * One number says when the bucket would be full again; nothing is refilled by a timer, and the time
 * at which the next request may go is exact. */
#ifndef CLIENT_CORE_BUCKET_H
#define CLIENT_CORE_BUCKET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/macros.h"

struct core_bucket {
    uint64_t interval_ns;  /* Between two requests at the full rate; 0: no limit. */
    uint64_t tolerance_ns; /* How far ahead of it a burst may be. */
    uint64_t full_ns;      /* The theoretical arrival time of the next request. */
};

/* `rate_per_s` 0: no limit, at most 10^9. `burst` is at least 1. */
void bucket_init(struct core_bucket *bucket, uint32_t rate_per_s, uint32_t burst);

/* When bucket_take() is granted next; 0: at any time. */
uint64_t bucket_ready_ms(const struct core_bucket *bucket);

MUST_USE bool bucket_take(struct core_bucket *bucket, uint64_t now_ms);

#endif
