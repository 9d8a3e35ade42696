/* node/fair.h: whose turn it is: start-time fair queueing over flows.
 *
 * Each flow that has work stands in a heap, by the virtual time at which its next piece begins. A
 * piece of cost c moves its flow c further. So whoever asks for little is hardly ever made to wait,
 * and between any two flows that always have work what they were served differs by at most the
 * largest cost of each, however many flows there are (Goyal, Vin, Cheng 1996). Choosing, serving
 * and leaving cost O(log n). A flow that comes back from silence begins at the present virtual
 * time: silence saves nothing up. Equal times go by the flow's number, so that a run repeats. */
#ifndef NODE_FAIR_H
#define NODE_FAIR_H

#include <stdbool.h>
#include <stdint.h>

#include "base/macros.h"

struct fair_flow {
    uint64_t start; /* Of its next piece; while it waits for work, where its last one ended. */
    uint32_t place; /* In the heap, counted from 1; 0: it has no work. */
};

struct fair {
    struct fair_flow *flows; /* `flow_count` of them, of the caller, zeros at the beginning. */
    uint32_t *heap;          /* Room for as many. */
    uint32_t flow_count;
    uint32_t count; /* Flows with work. */
    uint64_t time;  /* Virtual: the start of the piece that was served last. */
};

/* The flow has work now; it had none. */
void fair_add(struct fair *fair, uint32_t flow);

/* The flow whose turn it is; there must be one. */
MUST_USE uint32_t fair_first(const struct fair *fair);

/* The flow whose turn it was has been served a piece of this cost (1 to 2^32) and has more work, or
 * has not. */
void fair_serve(struct fair *fair, uint64_t cost, bool has_more);

/* The flow is gone, with or without work; its number may begin anew as another's. */
void fair_remove(struct fair *fair, uint32_t flow);

/* Asserts that the heap is one, and knows its flows. */
void fair_check(const struct fair *fair);

#endif
