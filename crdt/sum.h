/* crdt/sum.h: sums of 64-bit totals, exact: 2^64 of them fit. A plain value. */
#ifndef CRDT_SUM_H
#define CRDT_SUM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/assert.h"

struct crdt_sum {
    uint64_t high; /* Units of 2^64. */
    uint64_t low;
};

static inline struct crdt_sum crdt_sum_of(uint64_t value)
{
    return (struct crdt_sum){.low = value};
}

static inline struct crdt_sum crdt_sum_plus(struct crdt_sum a, struct crdt_sum b)
{
    struct crdt_sum sum = {.high = a.high + b.high, .low = a.low + b.low};

    sum.high += sum.low < a.low ? 1 : 0;
    ASSERT(sum.high >= a.high);
    return sum;
}

static inline bool crdt_sum_is_less(struct crdt_sum a, struct crdt_sum b)
{
    return a.high < b.high || (a.high == b.high && a.low < b.low);
}

/* `b` is not above `a`. */
static inline struct crdt_sum crdt_sum_minus(struct crdt_sum a, struct crdt_sum b)
{
    ASSERT(!crdt_sum_is_less(a, b));
    return (struct crdt_sum){.high = a.high - b.high - (a.low < b.low ? 1 : 0),
                             .low = a.low - b.low};
}

#endif
