/* crdt/crdt.h: counters that no partition stops, the part that each node has for itself.
 *
 * A G-Counter: a map from counting identity to that identity's running total, joined by maximum
 * (Shapiro et al. 2011), so that it does not matter where, how often and in which order a total
 * arrives. What a client was told is done is in the value of every node in the end, once.
 *
 * Pure and deterministic over two ordered tables: `store` is this node's own, `ledger` is the
 * replicated one (crdt/ledger.h), only read here. The store holds what is durable and nothing else:
 * what crdt_add() stamps is to be appended to the node's log, and comes in by crdt_commit() when it
 * is synced; what gossip brings is checked, appended, and comes in by crdt_delta_apply(). So
 * neither a digest nor a delta can tell of anything that a crash would take back. */
#ifndef CRDT_CRDT_H
#define CRDT_CRDT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/macros.h"
#include "base/table.h"
#include "crdt/ledger.h"
#include "crdt/types.h"

struct crdt;

/* Where the store's keys begin with CRDT_KEY_PREFIX, they are this folder's. */
enum { CRDT_KEY_PREFIX = 'c' };

struct crdt_options {
    uint64_t node;
    uint32_t pending_count_max;  /* Adds on their way to the disk; 1 or more. */
    uint64_t identity_count_max; /* With live totals. New ones from clients are refused there, */
    uint64_t entry_count_max;    /* of (carrier, identity, counter): as well, */
    uint64_t counter_count_max;  /* and so are new counters. */
};

size_t crdt_memory_size(const struct crdt_options *options);

/* The tables outlive it. Drops what the ledger has folded meanwhile: takes time for each entry. To
 * be followed by crdt_replay() of the log, oldest first, then by crdt_carrier_begin(). */
struct crdt *crdt_open(struct arena *arena, const struct crdt_options *options, struct table *store,
                       struct table *ledger);

/* One record of the node's log. What the store's checkpoint holds already is passed over. */
void crdt_replay(struct crdt *crdt, struct crdt_carrier carrier, const struct crdt_update *update);

/* What this node must not forget in a restart, lest it counts what it has said it never would. */
struct crdt_promise {
    uint64_t confirm_index;  /* Confirmed up to here: it counts under no older ledger. */
    uint64_t disowned_epoch; /* Carriers up to this one it uses never again. */
};

/* Asked after each call of crdt_carrier_begin(), crdt_carrier_close() and crdt_confirm_next(), and
 * when a call here says ERR_CORRUPT: a change is durable in the log before anything is counted or
 * proposed. */
struct crdt_promise crdt_promise(struct crdt *crdt);

/* Beside crdt_replay(). */
void crdt_promise_replay(struct crdt *crdt, const struct crdt_promise *promise);

/* --- Counting --------------------------------------------------------------------------------- */

/* Counts as `carrier` from now on. ERR_WRONG_NODE; ERR_NOT_FOUND when it is not live in the ledger;
 * ERR_CORRUPT when the ledger or a peer knows of versions that this disk has not: register a new
 * one; ERR_OVERLOADED while updates of the last one are on their way to the disk; ERR_STALE while
 * the ledger is behind what this node has confirmed. */
MUST_USE enum error crdt_carrier_begin(struct crdt *crdt, struct crdt_carrier carrier);

/* Stops counting, for good. *version is what ledger_carrier_retire() is to say. ERR_OVERLOADED
 * while adds are on their way to the disk: again later. */
MUST_USE enum error crdt_carrier_close(struct crdt *crdt, uint64_t *version);

/* Takes the identity's new running total. With a version in *update that is not 0: append *update
 * to the log, crdt_commit() it once synced, then answer. With version 0 it is counted already, or
 * was before the fold. The update's name is borrowed from `total`.
 *
 * Refused, and nothing is changed: ERR_INVALID (no total, no generation, bad name); ERR_TOO_LARGE
 * when this side of the counter would pass 2^64 - 1, by all that this node knows; ERR_OVERLOADED at
 * a limit, or so near to 2^64 that it depends on adds under way; ERR_FULL at the limit of counters;
 * ERR_FENCED, ERR_STALE, ERR_NOT_FOUND as ledger_identity_may_count(); ERR_NOT_FORMED without a
 * live carrier; ERR_STOPPING after crdt_carrier_close(). */
MUST_USE enum error crdt_add(struct crdt *crdt, const struct crdt_total *total,
                             struct crdt_update *update);

/* The oldest update that was stamped and is not in yet, now that it is durable. Its name is not
 * borrowed from the store. */
void crdt_commit(struct crdt *crdt, const struct crdt_update *update);

/* --- Gossip (delta-state, Almeida, Shoker and Baquero 2018; versions for each store as in
 * Scuttlebutt, van Renesse et al. 2008) ---------------------------------------------------------
 */

/* One line for each carrier that something is held of and that is not lost. Returns how many. */
uint32_t crdt_digest(struct crdt *crdt, struct crdt_mark marks[CRDT_CARRIER_COUNT_MAX]);

/* The live updates of one carrier with versions in (after, up_to]. */
struct crdt_delta {
    struct crdt_carrier carrier;
    uint64_t after;
    uint64_t up_to;
    uint32_t count;
    struct crdt_update updates[CRDT_DELTA_COUNT_MAX]; /* Ascending versions; borrowed names. */
};

/* What a peer that holds `carrier` up to `after` lacks, from the oldest on, as much as fits: go on
 * from `up_to`. False when it lacks nothing. Names are borrowed until the store changes. */
MUST_USE bool crdt_delta_since(struct crdt *crdt, struct crdt_carrier carrier, uint64_t after,
                               struct crdt_delta *delta);

/* Before it is appended to the log. ERR_INVALID when it is not well-formed; ERR_SEQUENCE_GAP when
 * it begins behind what is held: ask from there; ERR_NOT_FOUND when the ledger here does not know
 * the carrier (yet, or any more); ERR_STALE when it is lost; ERR_CORRUPT when it contradicts what
 * is held, or knows more of our own carrier than we do: rot, amnesia or a cloned disk, and counting
 * stops. */
MUST_USE enum error crdt_delta_check(struct crdt *crdt, const struct crdt_delta *delta);

/* Once durable. Names are not borrowed from the store. Refuses as crdt_delta_check(). */
MUST_USE enum error crdt_delta_apply(struct crdt *crdt, const struct crdt_delta *delta);

/* How many versions of our own carrier a peer's digest has that we have not: not 0 is amnesia or a
 * clone, counting stops, and that many updates may be lost unless gossip brings them back. */
uint64_t crdt_lost_count(struct crdt *crdt, const struct crdt_mark *marks, uint32_t count);

/* True when everything in the digest is held: what a `session` read asks. What a lost carrier had
 * stamped is never held again where it was not. */
MUST_USE bool crdt_covers(struct crdt *crdt, const struct crdt_mark *marks, uint32_t count);

/* A hash over the live updates of a carrier. Equal for two nodes at the same version of the
 * carrier and the same index of the ledger, or one of them is damaged. */
uint64_t crdt_carrier_hash(struct crdt *crdt, struct crdt_carrier carrier);

/* --- Sealing and folding ---------------------------------------------------------------------- */

/* Stamps as our own the next update that is held of a lost carrier: to be logged and committed like
 * that of crdt_add(). So what any live node holds is in the fold, and two disks that used one
 * carrier do no harm. False when there is none to stamp now. The name is borrowed until the store
 * changes. */
MUST_USE bool crdt_adopt_next(struct crdt *crdt, struct crdt_update *update);

/* True when the ledger waits for our carrier to confirm, nothing of a lost carrier is left, and all
 * that was stamped when the seal was learned of is durable: propose ledger_carrier_confirm(). Asked
 * once a turn, behind crdt_adopt_next(). */
MUST_USE bool crdt_confirm_next(struct crdt *crdt, struct crdt_carrier *carrier, uint64_t *index,
                                uint64_t *version);

/* At a leader: the next piece to propose, when something is sealed and confirmed and this node
 * holds all that its carriers had counted. Names are borrowed until the store changes. */
MUST_USE bool crdt_fold_next(struct crdt *crdt, struct ledger_fold *fold);

/* In the same turn as ledger_fold() took it, before anything is read; the ledger's table is
 * committed before the store. Returns how many entries were dropped although no fold lists them:
 * late news of lost carriers, to be told loudly. Names are not borrowed from the store. */
uint64_t crdt_fold_applied(struct crdt *crdt, const struct ledger_fold *fold);

/* --- Reading ---------------------------------------------------------------------------------- */

struct crdt_value {
    bool is_negative;
    uint64_t magnitude;
};

/* 0 for a counter that nobody used. ERR_TOO_LARGE when it does not fit: adds on both sides of a
 * partition were each below the limit. */
MUST_USE enum error crdt_value(struct crdt *crdt, struct bytes name, struct crdt_value *value);

/* One side, exactly. */
struct crdt_sum crdt_count(struct crdt *crdt, struct crdt_counter counter);

/* Asserts every numbered invariant of docs/crdt.md by walking both tables. For tests. */
void crdt_check(struct crdt *crdt);

#endif
