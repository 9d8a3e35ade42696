/* jepsen/search.h: finds an order of one object's operations that its model accepts, or shows
 * that there is none (Wing and Gong 1993, with the memory of Lowe 2017).
 *
 * A depth-first search: of the operations that are open, called before the first answer that is
 * still ahead, one takes effect next. One that can and leaves the state as it is takes effect at
 * once: whatever else comes can as well come later. A value that was written once stays until all
 * that saw it took effect. Optional operations are tried last; one that
 * the next one does not need is not tried before it: either order, or leaving it out, leads to the
 * same state. So operations with unknown outcomes cost little as long as nothing saw them.
 */
#ifndef JEPSEN_SEARCH_H
#define JEPSEN_SEARCH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/macros.h"
#include "jepsen/configurations.h"
#include "jepsen/object.h"
#include "jepsen/wgl.h"

/* The longest order found, as numbers of operations in the history. */
struct search_best {
    uint32_t *placed;
    uint32_t placed_count;
    uint32_t *open;
    uint32_t open_count;
    uint32_t stuck;    /* HISTORY_NONE: nowhere yet. */
    uint32_t stuck_at; /* Place of its end in the history. */
};

struct search {
    const struct history *history;
    struct configurations configurations;
    struct search_best best; /* Of the last object. */
    uint64_t step_count;     /* Of the last object. */
    struct search_entry *entries;
    struct search_frame *frames;
    uint32_t *unseen; /* By value of a register: how many that saw it are still to come. */
    uint64_t *words;  /* Of the two sets. */
};

/* ERR_FULL when there is not the memory. To be closed, also after an error. */
MUST_USE enum error search_open(struct search *search, const struct history *history,
                                size_t memory_size_max);
void search_close(struct search *search);

/* The monotonic clock. */
uint64_t search_clock_ms(void);

/* UNKNOWN at a limit, with the *reason. `end_ms`: when to give up, by the monotonic clock; 0:
 * never. */
MUST_USE enum wgl_verdict search_object(struct search *search, const struct object *object,
                                        uint64_t step_count_max, uint64_t end_ms,
                                        enum wgl_reason *reason);

#endif
