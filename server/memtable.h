/* server/memtable.h: pairs and deletions in memory, in front of an older table.
 *
 * What is written is found again by its key (a hash) and in key order (a skip list, which a seek
 * brings up to date). A deletion stays as a tombstone, which hides what the older table has; only
 * live pairs are in the order, so that a seek never walks over tombstones. All memory is taken when
 * it is opened and reused after memtable_clear(); entries never move. Pure: no thread, no
 * allocation.
 *
 * Another thread may call memtable_collect(), and read keys, values and flags of the entries, while
 * the owner only finds, seeks and hides. */
#ifndef SERVER_MEMTABLE_H
#define SERVER_MEMTABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/bytes.h"
#include "base/macros.h"

struct memtable; /* Opaque. */

struct memtable_entry {
    uint8_t *value;
    uint32_t value_size;
    uint32_t value_capacity;
    uint64_t sum; /* What memtable_store() was given. */
    uint16_t key_size;
    bool is_live;   /* False: a tombstone. */
    bool is_below;  /* The older table has the key too. */
    bool is_hidden; /* Not to be found by a seek: a tombstone, or a newer table has the key. */
    uint8_t place;  /* One of enum memtable_place. */
    uint8_t level_count;
    struct memtable_entry *next[]; /* One for each level; the key lies behind them. */
};

enum memtable_place {
    MEMTABLE_NOWHERE,
    MEMTABLE_FRESH, /* Waits for the next seek. */
    MEMTABLE_ORDERED,
};

/* A key with its hash, so that looking into several tables computes it once. */
struct memtable_key {
    struct bytes bytes; /* Borrowed; 1 to TABLE_KEY_SIZE_MAX bytes. */
    uint64_t hash;
};

/* The least `size`: the largest pair always fits into an empty one. */
size_t memtable_size_min(void);

/* What memtable_open() takes for `size` bytes of pairs: beside them the hash. */
size_t memtable_memory_size(size_t size);
struct memtable *memtable_open(struct arena *arena, size_t size);

/* Forgets all entries; their memory is used again. */
void memtable_clear(struct memtable *memtable);

/* Bytes taken by entries; 0 exactly when there are none. */
uint64_t memtable_size(const struct memtable *memtable);

/* Whether the largest pair may not fit any more. */
bool memtable_is_full(const struct memtable *memtable);

/* The most entries that memtable_collect() may give. */
uint32_t memtable_count_max(const struct memtable *memtable);

struct memtable_key memtable_key_of(struct bytes key);

/* NULL: nothing is known of this key. */
struct memtable_entry *memtable_find(const struct memtable *memtable,
                                     const struct memtable_key *key);

/* A tombstone for a key that has no entry. The memtable is not full. */
struct memtable_entry *memtable_add(struct memtable *memtable, const struct memtable_key *key,
                                    bool is_below);

/* Copies the value, which may be borrowed from an entry. The memtable is not full, or was not
 * before the entry was added. */
void memtable_store(struct memtable *memtable, struct memtable_entry *entry, struct bytes value,
                    uint64_t sum);

/* Makes a live entry a tombstone. */
void memtable_erase(struct memtable *memtable, struct memtable_entry *entry);

/* Takes the entry out of the order only: a newer table has its key. */
void memtable_hide(struct memtable *memtable, struct memtable_entry *entry);

/* The first live entry that is not hidden and whose key is >= `from` (`inclusive`) or > `from`;
 * NULL when there is none. */
const struct memtable_entry *memtable_seek(struct memtable *memtable, struct bytes from,
                                           bool inclusive);

struct bytes memtable_entry_key(const struct memtable_entry *entry);
struct bytes memtable_entry_value(const struct memtable_entry *entry);

/* What has to be done to the older table, in key order: live pairs, hidden or not, and tombstones
 * of keys that it has. Fills `entries`, which has room for memtable_count_max(). */
uint32_t memtable_collect(const struct memtable *memtable, const struct memtable_entry **entries);

#endif
