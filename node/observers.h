/* node/observers.h: reads of elections that wait for another leader, or for another value of the
 * same.
 *
 * A leader holds OBSERVER_COUNT_MAX of them; one more is refused OVERLOADED. Each is answered in
 * the turn of the change, at the end of its wait, or when the node leads no more. What an observer
 * is told was committed after it had asked, so asking again with it never shows an older leader. */
#ifndef NODE_OBSERVERS_H
#define NODE_OBSERVERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/bytes.h"
#include "base/macros.h"
#include "lease/lease.h"
#include "node/origin.h"

struct node;

struct observer {
    struct origin origin;
    uint64_t until_ms;
    uint64_t token; /* What it has seen: this, */
    uint8_t name_size;
    uint8_t value_size;
    uint8_t name[LEASE_NAME_SIZE_MAX];
    uint8_t value[LEASE_METADATA_SIZE_MAX]; /* with this value. */
};

struct observers {
    struct observer *items; /* In no order. */
    uint32_t count;
    uint64_t changed; /* Bits of elections (lease/lease.h) since they were looked at. */
    uint64_t due_ms;  /* The first end of a wait, or earlier; NEVER. */
};

size_t observers_memory_size(void);
void observers_open(struct node *node, struct arena *arena);

/* True when the read is taken: it waits, or was refused, or the table has failed. False: it is to
 * be answered now. */
MUST_USE bool observers_take(struct node *node, const struct origin *origin, struct bytes params);

/* Answers those whose election has changed. */
void observers_serve(struct node *node);

/* Answers those whose wait is over. */
void observers_tick(struct node *node);

void observers_leadership_lost(struct node *node);

#endif
