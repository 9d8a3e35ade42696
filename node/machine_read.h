/* node/machine_read.h: reads of the state machine; the other half of node/machine.c. */
#ifndef NODE_MACHINE_READ_H
#define NODE_MACHINE_READ_H

#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/macros.h"
#include "base/table.h"
#include "lease/lease.h"
#include "wire/wire.h"

struct machine_reader {
    struct table *table;
    uint64_t revision; /* The applied index. */
    uint64_t log_ms;   /* The last applied stamp: says which sessions are alive. A running clock
                          must not: a new leader's may be behind, and the dead would come back. */
    uint64_t now_ms;   /* Cluster time now: ages, and what is left of a session, count from here. */
    struct buffer items; /* Scratch for the items of a listing. */
    struct buffer *out;
};

/* As machine_read(). */
MUST_USE enum error machine_reader_read(struct machine_reader *reader, enum wire_method method,
                                        struct bytes params);

struct machine_leader {
    struct lease_hold_view hold; /* Token 0: nobody leads. Borrowed from the table. */
    uint32_t waiter_count;
};

/* Who leads the election whose lock has that name. */
void machine_reader_leader(struct table *table, struct bytes name, struct machine_leader *leader);

#endif
