/* client/core_bucket.c: see core_bucket.h. */
#include "client/core_bucket.h"

#include "base/assert.h"

enum { NS_PER_MS = 1000000, NS_PER_S = 1000000000 };

void bucket_init(struct core_bucket *bucket, uint32_t rate_per_s, uint32_t burst)
{
    ASSERT(burst >= 1);
    ASSERT(rate_per_s <= NS_PER_S);
    *bucket = (struct core_bucket){0};
    if (rate_per_s > 0) {
        bucket->interval_ns = NS_PER_S / rate_per_s;
        bucket->tolerance_ns = bucket->interval_ns * (burst - 1);
    }
}

uint64_t bucket_ready_ms(const struct core_bucket *bucket)
{
    if (bucket->full_ns <= bucket->tolerance_ns) {
        return 0;
    }
    return (bucket->full_ns - bucket->tolerance_ns + NS_PER_MS - 1) / NS_PER_MS;
}

bool bucket_take(struct core_bucket *bucket, uint64_t now_ms)
{
    uint64_t now_ns = now_ms * NS_PER_MS;

    if (bucket->interval_ns == 0) {
        return true;
    }
    if (now_ms < bucket_ready_ms(bucket)) {
        return false;
    }
    bucket->full_ns = (bucket->full_ns > now_ns ? bucket->full_ns : now_ns) + bucket->interval_ns;
    return true;
}
