/* crdt/types.h: the vocabulary of counters: who counts, who carries, what was counted.
 *
 * Plain values. A counter is a PN-counter: two G-Counters of one name, one for each side, and its
 * value is what was put in minus what was taken out (Shapiro et al. 2011, specifications 6 and
 * 7). A G-Counter is one whose minus side nobody uses. */
#ifndef CRDT_TYPES_H
#define CRDT_TYPES_H

#include <stdint.h>

#include "base/bytes.h"

enum {
    CRDT_NAME_SIZE_MAX = 255,    /* Of a counter's name, at least 1. */
    CRDT_CARRIER_COUNT_MAX = 64, /* Known to the ledger at a time. */
    CRDT_DELTA_COUNT_MAX = 64,   /* Updates of one delta. */
    CRDT_FOLD_COUNT_MAX = 64,    /* Totals of one piece of a fold. */
};

/* Who counts: a client mints one without asking anybody, and never uses it again after it has
 * lost its totals. */
struct crdt_identity {
    uint64_t generation; /* From 1. */
    uint8_t random[16];
};

/* Who takes totals from clients: a node, for as long as its disk is the same. */
struct crdt_carrier {
    uint64_t node;
    uint64_t epoch; /* The index of the entry that registered it; 0: none. */
};

enum crdt_side { CRDT_PLUS, CRDT_MINUS };

struct crdt_counter {
    enum crdt_side side;
    struct bytes name; /* Borrowed. */
};

/* What one identity has made of one counter, in all. Never a difference. */
struct crdt_total {
    struct crdt_identity identity;
    struct crdt_counter counter;
    uint64_t total;
};

/* A total as its carrier stamped it. Versions of a carrier begin at 1 and are never reused. */
struct crdt_update {
    uint64_t version;
    struct crdt_total total;
};

/* One line of a digest: all updates of `carrier` up to `version` are held, or were replaced by
 * later ones that are held, or are folded. */
struct crdt_mark {
    struct crdt_carrier carrier;
    uint64_t version;
};

#endif
