/* node/drain.h: how fast a queue empties, measured while it has something in it.
 *
 * What leaves is counted in windows of at least DRAIN_WINDOW_MS; a window that the queue was empty
 * in says nothing and is thrown away. The rate follows each window by a quarter of the difference,
 * and the first one at once. */
#ifndef NODE_DRAIN_H
#define NODE_DRAIN_H

#include <stdbool.h>
#include <stdint.h>

enum { DRAIN_WINDOW_MS = 50 };

struct drain {
    uint64_t rate; /* Units in a second; 0: not known. */
    uint64_t begin_ms;
    uint64_t units;
    bool is_running;
};

/* The queue has something in it, and `units` (below 2^32) have left it since the last call. */
void drain_note(struct drain *drain, uint64_t units, uint64_t now_ms);

/* The queue is empty. */
void drain_pause(struct drain *drain);

/* How long `units` (below 2^40) take at that rate: 1 to `ms_max`; `unknown_ms` within the same
 * bounds where nothing was measured yet. */
uint32_t drain_time_ms(const struct drain *drain, uint64_t units, uint64_t unknown_ms,
                       uint32_t ms_max);

#endif
