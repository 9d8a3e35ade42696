/* base/histogram.c: buckets by the highest bit and the HISTOGRAM_SUB_BITS bits below it.
 *
 *   value    0 ... 31    one bucket each
 *   value   32 ... 63    32 buckets, 1 wide
 *   value   64 ... 127   32 buckets, 2 wide
 *   ...                  32 buckets for each further power of two */
#include "base/histogram.h"

#include <stddef.h>
#include <string.h>

#include "base/assert.h"

enum { SUB_COUNT = 1 << HISTOGRAM_SUB_BITS };

_Static_assert(HISTOGRAM_BUCKET_COUNT == (64 - HISTOGRAM_SUB_BITS + 1) * SUB_COUNT,
               "one group for the small values and one for each higher highest bit");

static size_t bucket_index(uint64_t value)
{
    if (value < SUB_COUNT) {
        return (size_t)value;
    }
    unsigned highest_bit = 63U - (unsigned)__builtin_clzll(value);
    unsigned shift = highest_bit - HISTOGRAM_SUB_BITS;
    size_t index = (size_t)(shift + 1) * SUB_COUNT + (size_t)(value >> shift) % SUB_COUNT;

    ASSERT_VALUES(index < HISTOGRAM_BUCKET_COUNT, index, value);
    return index;
}

/* The largest value of the bucket. */
static uint64_t bucket_end(size_t index)
{
    ASSERT(index < HISTOGRAM_BUCKET_COUNT);

    if (index < SUB_COUNT) {
        return index;
    }
    unsigned shift = (unsigned)(index / SUB_COUNT) - 1;
    uint64_t start = (uint64_t)(SUB_COUNT + index % SUB_COUNT) << shift;
    return start + (((uint64_t)1 << shift) - 1);
}

static uint64_t add_saturated(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

void histogram_init(struct histogram *histogram)
{
    memset(histogram, 0, sizeof(*histogram));
}

void histogram_add(struct histogram *histogram, uint64_t value)
{
    histogram->count++;
    histogram->sum = add_saturated(histogram->sum, value);
    if (value > histogram->max) {
        histogram->max = value;
    }
    histogram->buckets[bucket_index(value)]++;
}

void histogram_merge(struct histogram *target, const struct histogram *source)
{
    ASSERT(target != source);

    target->count += source->count;
    target->sum = add_saturated(target->sum, source->sum);
    if (source->max > target->max) {
        target->max = source->max;
    }
    for (size_t i = 0; i < HISTOGRAM_BUCKET_COUNT; i++) {
        target->buckets[i] += source->buckets[i];
    }
}

/* per_mille thousandths of `count`, rounded up, without overflow; at least one value. */
static uint64_t rank_of(uint64_t count, uint32_t per_mille)
{
    uint64_t rank = count / 1000 * per_mille + (count % 1000 * per_mille + 999) / 1000;

    return rank == 0 ? 1 : rank;
}

uint64_t histogram_percentile(const struct histogram *histogram, uint32_t per_mille)
{
    ASSERT_VALUES(per_mille <= 1000, per_mille, 1000);

    if (histogram->count == 0) {
        return 0;
    }
    uint64_t rank = rank_of(histogram->count, per_mille);
    uint64_t seen = 0;
    for (size_t i = 0; i < HISTOGRAM_BUCKET_COUNT; i++) {
        seen += histogram->buckets[i];
        if (seen >= rank) {
            uint64_t end = bucket_end(i);
            return end < histogram->max ? end : histogram->max;
        }
    }
    UNREACHABLE();
}
