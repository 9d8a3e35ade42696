/* client/core_limiter.c: see core_limiter.h. */
#include "client/core_limiter.h"

#include "base/assert.h"

void limiter_init(struct core_limiter *limiter, uint32_t limit_min, uint32_t limit_max)
{
    ASSERT(limit_min >= 1);
    ASSERT(limit_min <= limit_max);
    *limiter = (struct core_limiter){.limit_min = limit_min, .limit_max = limit_max};
    limiter_restart(limiter);
}

void limiter_restart(struct core_limiter *limiter)
{
    limiter->limit = LIMITER_START < limiter->limit_max ? LIMITER_START : limiter->limit_max;
    limiter->is_starting = true;
    limiter->answers = 0;
}

void limiter_take(struct core_limiter *limiter)
{
    limiter->in_flight++;
}

void limiter_release(struct core_limiter *limiter)
{
    ASSERT(limiter->in_flight > 0);
    limiter->in_flight--;
}

void limiter_answered(struct core_limiter *limiter)
{
    ASSERT(limiter->in_flight > 0);
    if (limiter->limit == limiter->limit_max || limiter->in_flight < limiter->limit / 2) {
        return; /* A limit that does not bind was not tried. */
    }
    limiter->answers++;
    if (limiter->is_starting || limiter->answers >= limiter->limit) {
        limiter->answers = 0;
        limiter->limit++;
    }
}

void limiter_refused(struct core_limiter *limiter, uint64_t sent_ms, uint64_t now_ms)
{
    ASSERT(limiter->in_flight > 0);
    ASSERT_VALUES(sent_ms <= now_ms, sent_ms, now_ms);
    if (sent_ms <= limiter->cut_ms) {
        return;
    }
    uint32_t base = limiter->limit < limiter->in_flight ? limiter->limit : limiter->in_flight;
    uint32_t cut = base - (base + 9) / 10;
    limiter->limit = cut < limiter->limit_min ? limiter->limit_min : cut;
    limiter->is_starting = false;
    limiter->answers = 0;
    limiter->cut_ms = now_ms;
}
