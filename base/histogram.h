/* base/histogram.h: latencies in a fixed number of buckets, each at most 1/32 wide.
 *
 * Values are counts of any one unit (the callers use microseconds); adding is O(1), percentiles
 * are exact to about 3 %, the maximum is exact. */
#ifndef BASE_HISTOGRAM_H
#define BASE_HISTOGRAM_H

#include <stdint.h>

enum { HISTOGRAM_SUB_BITS = 5, HISTOGRAM_BUCKET_COUNT = (64 - HISTOGRAM_SUB_BITS + 1) << 5 };

struct histogram {
    uint64_t count;
    uint64_t sum;
    uint64_t max;
    uint64_t buckets[HISTOGRAM_BUCKET_COUNT];
};

void histogram_init(struct histogram *histogram);
void histogram_add(struct histogram *histogram, uint64_t value);

/* Adds all of `source` to `target`. */
void histogram_merge(struct histogram *target, const struct histogram *source);

/* The smallest bucket's upper end that at least `per_mille` thousandths of the values do not
 * exceed (500 is the median); never above the maximum; 0 when nothing was added. */
uint64_t histogram_percentile(const struct histogram *histogram, uint32_t per_mille);

#endif
