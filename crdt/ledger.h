/* crdt/ledger.h: the part of the counters that is replicated by Raft.
 *
 * Which carriers there are, which identities may still count, and what was folded. Pure and
 * deterministic over an ordered table: each function that changes something is one command, called
 * with the index of its entry in log order, the same on every node; it reads nothing local.
 *
 * Sealing shuts identities out; each live carrier then confirms how far it had counted; folding
 * moves the final totals into the base and leaves tombstones; once a whole generation is folded,
 * the floor passes it and the tombstones go. It does by agreement what the tokens of handoff
 * counters do without one (Almeida and Baquero 2013): short-lived identities cost nothing for
 * ever. A command that is refused changes nothing. */
#ifndef CRDT_LEDGER_H
#define CRDT_LEDGER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/macros.h"
#include "base/table.h"
#include "crdt/sum.h"
#include "crdt/types.h"

/* Where the table's keys begin with LEDGER_KEY_PREFIX, they are this folder's. */
enum { LEDGER_KEY_PREFIX = 'g' };

enum {
    LEDGER_SEALED_COUNT_MAX = 1 << 20, /* Identities sealed one by one above the floor. */
    LEDGER_SWEEP_COUNT_MAX = 64,       /* Records that one call of ledger_sweep() removes. */
};

enum ledger_carrier_state {
    LEDGER_CARRIER_LIVE,
    LEDGER_CARRIER_RETIRED, /* Drained: its last version is known. */
    LEDGER_CARRIER_LOST,    /* Each node makes its own what it holds of it: crdt_adopt_next(). */
};

struct ledger_carrier {
    struct crdt_carrier carrier;
    enum ledger_carrier_state state;
    uint64_t confirmed_index;   /* It has applied seals and losses up to here, */
    uint64_t confirmed_version; /* and had counted up to here; the last one when RETIRED. */
    uint64_t ended_generation;  /* Newest generation when it ended; unless LIVE. */
};

/* --- Carriers --------------------------------------------------------------------------------- */

/* A carrier of `node` with epoch `index`. An earlier live one of the node is lost by this. ERR_FULL
 * at CRDT_CARRIER_COUNT_MAX; ended ones leave once the floor has passed their generations. */
MUST_USE enum error ledger_carrier_register(struct table *ledger, uint64_t node, uint64_t index);

/* The node took nothing more since `version`, and asks to leave. ERR_NOT_FOUND, or ERR_STALE when
 * it is not live, or had confirmed a later version. */
MUST_USE enum error ledger_carrier_retire(struct table *ledger, struct crdt_carrier carrier,
                                          uint64_t version);

/* Forced removal, or a lost disk. Folds no longer wait for it, but for the others to have made
 * their own what they hold of it. ERR_NOT_FOUND, ERR_STALE when it is not live. */
MUST_USE enum error ledger_carrier_lose(struct table *ledger, struct crdt_carrier carrier,
                                        uint64_t index);

/* The carrier has applied every seal and loss up to `index`, and stamps nothing of what was sealed
 * then beyond `version`. Never goes back. ERR_NOT_FOUND; ERR_STALE when it is not live;
 * ERR_INVALID when `index` is ahead of the last of them, or one of both is below an earlier one. */
MUST_USE enum error ledger_carrier_confirm(struct table *ledger, struct crdt_carrier carrier,
                                           uint64_t index, uint64_t version);

/* --- Generations and seals -------------------------------------------------------------------- */

/* Begins the next generation. The first is 1. */
void ledger_generation_advance(struct table *ledger);

/* Seals all generations below `below`. ERR_REFUSED while an earlier such seal is not folded, and
 * when the newest generation would be sealed or nothing is. */
MUST_USE enum error ledger_generations_seal(struct table *ledger, uint64_t below, uint64_t index);

/* Seals one identity. Again is ERR_OK. ERR_INVALID when its generation has not begun, ERR_STALE
 * below the floor, ERR_OVERLOADED at LEDGER_SEALED_COUNT_MAX: seal generations. */
MUST_USE enum error ledger_identity_seal(struct table *ledger, const struct crdt_identity *identity,
                                         uint64_t index);

/* --- Folds ------------------------------------------------------------------------------------ */

/* A piece of a fold. Proposed only as crdt_fold_next() made it. */
struct ledger_fold {
    bool is_generations; /* All sealed generations, or else one identity: */
    struct crdt_identity identity;
    uint64_t below;      /* Of the seal, when `is_generations`. */
    uint64_t lost_index; /* ledger_view's, when the totals were joined. */
    bool is_last;        /* With these totals it is complete. */
    uint32_t count;
    struct crdt_total totals[CRDT_FOLD_COUNT_MAX]; /* Ascending in ledger_total_order(). */
};

/* All or nothing. Totals that are folded already are passed over. ERR_MISMATCH when one of them
 * was folded with another total, ERR_REFUSED when what it folds is not sealed and confirmed by all
 * carriers (or is folded), or a carrier was lost since the totals were joined, ERR_INVALID when the
 * piece is not well-formed. */
MUST_USE enum error ledger_fold(struct table *ledger, const struct ledger_fold *fold);

/* Removes what lies below the floor, a bounded number of records; true when there is more. Called
 * once for each entry. */
MUST_USE bool ledger_sweep(struct table *ledger);

/* By identity, then side, then the size of the name, then its bytes: <0, 0 or >0. */
int ledger_total_order(const struct crdt_total *a, const struct crdt_total *b);

/* --- Reading ---------------------------------------------------------------------------------- */

struct ledger_view {
    uint64_t generation;   /* The newest. */
    uint64_t sealed_below; /* Generations below are sealed, */
    uint64_t generations_seal_index;
    uint64_t floor;         /* and below this one folded. */
    uint64_t lost_index;    /* Of the last loss of a carrier; 0: none. */
    uint64_t confirm_index; /* Of the last seal or loss: carriers confirm it; 0: none. */
    uint32_t sealed_count;  /* Identities sealed one by one. */
    uint32_t carrier_count;
    uint64_t base_count; /* Counters with a folded part. */
};

void ledger_view(struct table *ledger, struct ledger_view *view);

/* False when it is not known. */
MUST_USE bool ledger_carrier_get(struct table *ledger, struct crdt_carrier carrier,
                                 struct ledger_carrier *found);

/* The first carrier behind `after` in the order of (node, epoch); false when there is none. */
MUST_USE bool ledger_carrier_next(struct table *ledger, struct crdt_carrier after,
                                  struct ledger_carrier *found);

/* Every live carrier has confirmed the seal at `index` and the last loss of a carrier, if it was
 * registered before. */
MUST_USE bool ledger_is_confirmed(struct table *ledger, uint64_t index);

/* ERR_OK; ERR_STALE below the floor; ERR_FENCED when sealed; ERR_NOT_FOUND when its generation has
 * not begun here: the client mints one of this node's generation, or asks another node. */
MUST_USE enum error ledger_identity_may_count(struct table *ledger,
                                              const struct crdt_identity *identity);

/* The next identity that is sealed and not yet folded, in the order of seals: the first when
 * *index is 0, else the one behind (*index, *identity). */
MUST_USE bool ledger_sealed_next(struct table *ledger, uint64_t *index,
                                 struct crdt_identity *identity);

/* Whether (identity, counter) is folded: late news of it is dropped. */
MUST_USE bool ledger_is_folded(struct table *ledger, const struct crdt_identity *identity,
                               struct crdt_counter counter);

/* The final total of what was folded above the floor: a client whose add was in flight learns
 * here whether it counted. False when there is no tombstone. */
MUST_USE bool ledger_final(struct table *ledger, const struct crdt_identity *identity,
                           struct crdt_counter counter, uint64_t *total);

/* The folded part of a counter. */
struct crdt_sum ledger_base(struct table *ledger, struct crdt_counter counter);

/* Asserts every invariant of docs/crdt.md that is about the ledger. For tests. */
void ledger_check(struct table *ledger);

#endif
