/* node/machine_internal.h: what the files of the state machine share: machine.c applies entries,
 * machine_write.c has the commands of clients. */
#ifndef NODE_MACHINE_INTERNAL_H
#define NODE_MACHINE_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/macros.h"
#include "base/table.h"
#include "lease/lease.h"
#include "node/envelope.h"
#include "node/feed.h"
#include "node/machine.h"
#include "node/window.h"
#include "raft/entry.h"
#include "wire/wire.h"

struct machine {
    struct table *table;
    struct windows *windows;
    raft_index applied_index;
    uint64_t log_ms;
    bool dirty;         /* The table's meta record is older than what was applied. */
    bool due_is_known;  /* No lease was touched since it was looked up. */
    uint64_t due_ms;    /* When lease_advance() has something to do. */
    bool hash_is_known; /* At `hash_index`. */
    raft_index hash_index;
    uint64_t hash;
    bool may_drop; /* Keys of sessions that have ended may be left. */
    struct lease_effects effects;
    struct lease_events *events; /* Of the effects. */
    struct feed *feed;           /* NULL: nobody asks. */
    uint8_t body[WINDOW_RESULT_SIZE_MAX];
    uint8_t *renewed; /* RENEW_COUNT_MAX bytes. */
    uint8_t *items;   /* Scratch of machine_read(): WIRE_FRAME_SIZE_MAX bytes. */
    uint8_t *answer;  /* Of a transaction, with what it read; likewise. */
};

/* One entry, while it is applied. */
struct apply {
    struct machine *machine;
    struct envelope envelope;
    raft_index index;
    struct buffer body;
    struct bytes answer; /* When it is not empty: told instead of the body, which is kept. */
    struct wire_failure failure; /* Details besides the code. */
};

/* --- machine_write.c -------------------------------------------------------------------------- */

/* Carries out a client's command: ERR_OK, and `body` has its result; else `failure` may have
 * details. ERR_UNKNOWN_METHOD where machine_is_write() says no. */
MUST_USE enum error apply_write(struct apply *apply);

#endif
