/* base/bucket.c: a token bucket, exact in integers. */
#include "base/bucket.h"

#include "base/assert.h"

enum { COST = 1000 }; /* Of a request, in units: a second has 1000 times `rate`. */

#define NOW_MS_MAX (UINT64_C(1) << 43)

_Static_assert(UINT64_MAX / NOW_MS_MAX > BUCKET_RATE_MAX + (uint64_t)BUCKET_BURST_MAX,
               "the time in units and a whole burst behind it fit into 64 bits");

bool bucket_take(struct bucket *bucket, const struct bucket_limits *limits, uint64_t now_ms,
                 uint32_t *retry_after_ms)
{
    ASSERT_VALUES(limits->rate > 0 && limits->rate <= BUCKET_RATE_MAX, limits->rate, now_ms);
    ASSERT_VALUES(limits->burst > 0 && limits->burst <= BUCKET_BURST_MAX, limits->burst, now_ms);
    ASSERT_VALUES(now_ms < NOW_MS_MAX, now_ms, NOW_MS_MAX);
    uint64_t now = now_ms * limits->rate;
    uint64_t tolerance = (uint64_t)(limits->burst - 1) * COST;

    if (bucket->arrival > now + tolerance) {
        uint64_t early = bucket->arrival - tolerance - now;

        /* At most a burst lies ahead: 1e9 units, and a millisecond has at least one. */
        *retry_after_ms = (uint32_t)((early + limits->rate - 1) / limits->rate);
        return false;
    }
    bucket->arrival = (bucket->arrival > now ? bucket->arrival : now) + COST;
    *retry_after_ms = 0;
    return true;
}

uint64_t bucket_ready_ms(const struct bucket *bucket, const struct bucket_limits *limits)
{
    uint64_t tolerance = (uint64_t)(limits->burst - 1) * COST;

    if (bucket->arrival <= tolerance) {
        return 0;
    }
    return (bucket->arrival - tolerance + limits->rate - 1) / limits->rate;
}
