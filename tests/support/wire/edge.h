/* tests/support/wire/edge.h: bytes that end where the readable memory ends.
 *
 * A read of one byte too many is a SIGSEGV, with and without sanitizers. */
#ifndef TESTS_SUPPORT_WIRE_EDGE_H
#define TESTS_SUPPORT_WIRE_EDGE_H

#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

struct edge {
    uint8_t *pages; /* The last one cannot be read. */
    size_t size;    /* Of all pages. */
};

/* Room for `size_max` bytes at least. */
struct edge edge_open(size_t size_max);
void edge_close(struct edge *edge);

/* Copies `bytes` to the very end. Valid until the next call. */
struct bytes edge_place(const struct edge *edge, struct bytes bytes);

#endif
