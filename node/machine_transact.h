/* node/machine_transact.h: transactions on keys: the maps of a request as those of kv/, carried out
 * in one apply step. */
#ifndef NODE_MACHINE_TRANSACT_H
#define NODE_MACHINE_TRANSACT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/macros.h"
#include "base/table.h"
#include "kv/kv.h"
#include "node/feed.h"
#include "wire/wire.h"

enum {
    /* Keys and values that the gets of a transaction may find, and what an answer adds to them. */
    TRANSACT_FOUND_SIZE_MAX = WIRE_FRAME_SIZE_MAX - (16 << 10),
};

struct transact {
    struct table *table;
    struct feed *feed; /* Told of every change; NULL: nobody asks. */
    uint64_t session;  /* Of the request; 0: none. */
    kv_revision revision;
    uint64_t log_ms;
    struct buffer *items; /* Scratch, of WIRE_FRAME_SIZE_MAX bytes. */
    /* The results, both empty at the beginning. */
    struct buffer *kept;   /* What a repeated request is answered: without what was read, */
    struct buffer *answer; /* and what this one is. WIRE_FRAME_SIZE_MAX bytes. */
};

/* Whether every map in the lists of a request is one that can be carried out, for a request with
 * that session. ERR_MALFORMED and ERR_TOO_LARGE; *problem, a constant, says more when it is known.
 */
MUST_USE enum error transact_check(const struct wire_transact *request, const char **problem);

/* ERR_REFUSED, and nothing was changed, when what the gets find does not fit an answer (not
 * TOO_LARGE: that is told of requests that have not used up their sequence);
 * ERR_MALFORMED where transact_check() says so. */
MUST_USE enum error transact_apply(const struct transact *transact, struct bytes params);

/* A key that is bound to a session that is dead has no meaning any more, though its record may
 * still be there: this takes it away, before a command that would see it. */
void transact_bury(struct table *table, struct feed *feed, struct bytes key, uint64_t log_ms);

#endif
