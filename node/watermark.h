/* node/watermark.h: full from the high mark on, until it has fallen to the low one.
 *
 * The gap between the two keeps a quantity that hovers around its limit from opening and shutting
 * the gate at every step. */
#ifndef NODE_WATERMARK_H
#define NODE_WATERMARK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/assert.h"

struct watermark {
    uint64_t low;
    uint64_t high; /* Above `low`. */
    bool is_full;
};

/* What the quantity is now; whether it is full. */
static inline bool watermark_note(struct watermark *watermark, uint64_t value)
{
    ASSERT_VALUES(watermark->low < watermark->high, watermark->low, watermark->high);
    if (value >= watermark->high) {
        watermark->is_full = true;
    } else if (value <= watermark->low) {
        watermark->is_full = false;
    }
    return watermark->is_full;
}

#endif
