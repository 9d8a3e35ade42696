/* crdt/internal.h: the records of both tables, and how they lie there; private to crdt/.
 *
 * Keys (numbers big endian, so that their order is the table's); a cell is
 * `identity[24] side[1] size[1] name`, an identity `generation[8] random[16]`, a carrier
 * `node[8] epoch[8]`:
 *
 *   'c' 'd' carrier               held      how far a carrier is held
 *   'c' 'e' cell carrier          entry     a total, by who counts
 *   'c' 'i' identity              live      identities with live totals
 *   'c' 'm'                       meta      counters of records
 *   'c' 's' side[1] name          count     the live part of a counter
 *   'c' 'v' carrier version[8]    place     the same entries, by version
 *
 *   'g' 'b' side[1] name          base      the folded part of a counter
 *   'g' 'c' carrier               carrier
 *   'g' 'm'                       meta
 *   'g' 'q' index[8] identity     queue     sealed one by one, not yet folded
 *   'g' 's' identity              seal      sealed one by one
 *   'g' 't' cell                  tombstone
 *
 * Values (numbers little endian), each with a leading version byte:
 *
 *   held      version[1] held[8] hash[8]
 *   entry     version[1] stamp[8] total[8]
 *   live      version[1] cells[8]
 *   meta 'c'  version[1] identities[8] entries[8] counters[8] confirm[8] disowned[8]
 *   count     version[1] high[8] low[8] cells[8]
 *   place     version[1] cell
 *   base      version[1] high[8] low[8]
 *   carrier   version[1] state[8] index[8] confirmed[8] generation[8]
 *   meta 'g'  version[1] the nine numbers of struct ledger_view, in their order
 *   queue     version[1]
 *   seal      version[1] index[8] is_folded[8]
 *   tombstone version[1] total[8] */
#ifndef CRDT_INTERNAL_H
#define CRDT_INTERNAL_H

#include "base/assert.h"
#include "crdt/crdt.h"

enum {
    CRDT_KIND_HELD = 'd',
    CRDT_KIND_ENTRY = 'e',
    CRDT_KIND_LIVE = 'i',
    CRDT_KIND_META = 'm',
    CRDT_KIND_COUNT = 's',
    CRDT_KIND_PLACE = 'v',

    LEDGER_KIND_BASE = 'b',
    LEDGER_KIND_CARRIER = 'c',
    LEDGER_KIND_META = 'm',
    LEDGER_KIND_QUEUE = 'q',
    LEDGER_KIND_SEAL = 's',
    LEDGER_KIND_TOMBSTONE = 't',
};

enum {
    RECORD_VERSION = 1,
    IDENTITY_SIZE = 24,
    CARRIER_SIZE = 16,
    CELL_SIZE_MAX = IDENTITY_SIZE + 2 + CRDT_NAME_SIZE_MAX,
    CRDT_KEY_SIZE_MAX = 2 + CELL_SIZE_MAX + CARRIER_SIZE,
    NUMBER_COUNT_MAX = 9, /* Of a record's value. */
};
_Static_assert((int)CRDT_KEY_SIZE_MAX <= (int)TABLE_KEY_SIZE_MAX, "every key fits the table");

struct crdt_key {
    size_t size;
    uint8_t data[CRDT_KEY_SIZE_MAX];
};

/* --- record.c: keys, and values that are a few numbers ---------------------------------------- */

struct crdt_key crdt_key_of(uint8_t prefix, uint8_t kind);
void crdt_key_add_number(struct crdt_key *key, uint64_t number);
void crdt_key_add_identity(struct crdt_key *key, const struct crdt_identity *identity);
void crdt_key_add_carrier(struct crdt_key *key, struct crdt_carrier carrier);
void crdt_key_add_cell(struct crdt_key *key, const struct crdt_identity *identity,
                       struct crdt_counter counter);
/* Side and name, without the size. */
void crdt_key_add_counter(struct crdt_key *key, struct crdt_counter counter);
struct bytes crdt_key_bytes(const struct crdt_key *key);

struct crdt_identity crdt_identity_decode(struct bytes bytes);
struct crdt_carrier crdt_carrier_decode(struct bytes bytes);
/* The cell that `bytes` begin with; the rest is returned. The name is borrowed from `bytes`. */
struct bytes crdt_cell_decode(struct bytes bytes, struct crdt_identity *identity,
                              struct crdt_counter *counter);

bool crdt_carrier_equal(struct crdt_carrier a, struct crdt_carrier b);
bool crdt_name_is_valid(struct bytes name);
bool crdt_total_is_valid(const struct crdt_total *total);

/* False when the record is absent; it has exactly `count` numbers. */
MUST_USE bool crdt_numbers_load(struct table *table, const struct crdt_key *key, uint64_t *numbers,
                                uint32_t count);
void crdt_numbers_decode(struct bytes value, uint64_t *numbers, uint32_t count);
void crdt_numbers_store(struct table *table, const struct crdt_key *key, const uint64_t *numbers,
                        uint32_t count);
/* The record is there. */
void crdt_record_erase(struct table *table, const struct crdt_key *key);
/* The first pair behind `from` (or at it, when `inclusive`) whose key begins with the `size` first
 * bytes of `from`. */
MUST_USE bool crdt_record_seek(struct table *table, const struct crdt_key *from, size_t size,
                               bool inclusive, struct bytes *key, struct bytes *value);

/* --- entries.c: the store's records, which agree with each other -------------------------------
 */

struct crdt_meta {
    uint64_t identity_count;
    uint64_t entry_count;
    uint64_t counter_count;
    struct crdt_promise promise;
};

struct crdt_held {
    uint64_t version;
    uint64_t hash; /* Sum, modulo 2^64, over the live updates. */
};

struct crdt_count {
    struct crdt_sum sum;
    uint64_t cell_count;
};

void crdt_meta_load(struct table *store, struct crdt_meta *meta);
void crdt_meta_store(struct table *store, const struct crdt_meta *meta);
/* Both 0 for a carrier that nothing is held of. */
void crdt_held_load(struct table *store, struct crdt_carrier carrier, struct crdt_held *held);
void crdt_held_store(struct table *store, struct crdt_carrier carrier,
                     const struct crdt_held *held);
void crdt_count_load(struct table *store, struct crdt_counter counter, struct crdt_count *count);
MUST_USE bool crdt_identity_is_live(struct table *store, const struct crdt_identity *identity);
uint64_t crdt_update_hash(struct crdt_carrier carrier, const struct crdt_update *update);

/* The total of a cell: the maximum over all carriers; 0 when nothing is held. */
uint64_t crdt_cell_total(struct table *store, const struct crdt_identity *identity,
                         struct crdt_counter counter);
/* Of one carrier; false when it has none. */
MUST_USE bool crdt_entry_load(struct table *store, struct crdt_carrier carrier,
                              const struct crdt_identity *identity, struct crdt_counter counter,
                              struct crdt_update *entry);
/* The first live update of the carrier with a version > `after`; its name is borrowed. */
MUST_USE bool crdt_entry_next(struct table *store, struct crdt_carrier carrier, uint64_t after,
                              struct crdt_update *update);
/* Joins one update. Nothing in *update is borrowed from the store. */
void crdt_entry_join(struct table *store, struct crdt_carrier carrier,
                     const struct crdt_update *update);
/* The carrier's entry of the cell, which may be absent. Nothing is borrowed from the store. */
void crdt_entry_drop(struct table *store, struct crdt_carrier carrier,
                     const struct crdt_identity *identity, struct crdt_counter counter);
/* All carriers' entries of the cell. Returns how many. */
uint32_t crdt_cell_drop(struct table *store, const struct crdt_identity *identity,
                        struct crdt_counter counter);

/* --- crdt.c ----------------------------------------------------------------------------------- */

/* A stamp whose update is on its way to the disk. */
struct crdt_pending {
    uint64_t version;
    uint64_t growth; /* Of the counter, at most. */
};

struct crdt {
    struct crdt_options options;
    struct table *store;
    struct table *ledger;
    struct crdt_carrier carrier; /* Ours; epoch 0: none. */
    bool is_closed;
    uint64_t stamped;             /* The last version that was given out. */
    struct crdt_pending *pending; /* A ring. */
    uint32_t pending_first;
    uint32_t pending_count;
    struct crdt_sum growth; /* Of all pending. */
    /* How far lost carriers' updates were stamped anew, */
    struct crdt_carrier adopted;
    uint64_t adopted_version;
    uint64_t adopted_index; /* since this loss, */
    uint64_t adopted_stamp; /* the last of them as this; 0: none in this walk. */
    /* What is to be confirmed, once everything up to the version is in. */
    uint64_t confirm_index; /* 0: nothing. */
    uint64_t confirm_version;
};

void crdt_stamp(struct crdt *crdt, const struct crdt_total *total, uint64_t growth,
                struct crdt_update *update);
/* Joins what is not folded, and holds the carrier up to the update. */
void crdt_join(struct crdt *crdt, struct crdt_carrier carrier, const struct crdt_update *update);
/* Our carrier is not to be used again. */
void crdt_disown(struct crdt *crdt);
/* True when the ledger has it as live or retired. */
MUST_USE bool crdt_carrier_is_known(struct crdt *crdt, struct crdt_carrier carrier);
/* The next of the ledger's lost carriers behind `after`. */
MUST_USE bool crdt_carrier_lost_next(struct crdt *crdt, struct crdt_carrier after,
                                     struct crdt_carrier *lost);
MUST_USE bool crdt_carrier_is_usable(struct crdt *crdt);

/* --- ledger.c --------------------------------------------------------------------------------- */

struct crdt_key ledger_carrier_key(struct crdt_carrier carrier);
void ledger_carrier_decode(struct bytes key, struct bytes value, struct ledger_carrier *carrier);
void ledger_meta_store(struct table *ledger, const struct ledger_view *view);
/* False when the identity was not sealed by itself. */
MUST_USE bool ledger_seal_load(struct table *ledger, const struct crdt_identity *identity,
                               uint64_t *index, bool *is_folded);
void ledger_seal_store(struct table *ledger, const struct crdt_identity *identity, uint64_t index,
                       bool is_folded);
struct crdt_key ledger_queue_key(uint64_t index, const struct crdt_identity *identity);

#endif
