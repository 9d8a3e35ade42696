/* server/memtable.c: one block of memory, filled from front to back with entries and values. */
#include "server/memtable.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/checksum.h"
#include "base/table.h"

enum {
    LEVEL_COUNT_MAX = 12, /* A quarter of each level is in the next: enough for 4^11 entries. */
    ENTRY_ALIGNMENT = 8,
    SIZE_PER_SLOT = 128, /* Of memory for pairs: a slot of the hash for so much. */
    SLOT_COUNT_MIN = 64,
    SIZE_BESIDE_MIN = 4096, /* Room for small pairs beside that for the largest one. */
    PADDING_MAX = 4 * ENTRY_ALIGNMENT,
    PAIR_COST_MAX = sizeof(struct memtable_entry) + LEVEL_COUNT_MAX * sizeof(void *) +
                    TABLE_KEY_SIZE_MAX + TABLE_VALUE_SIZE_MAX + PADDING_MAX,
};

/* The tag spares looking at entries of other keys that share a slot. */
struct slot {
    uint32_t tag;
    uint32_t place; /* Of the entry, in units of ENTRY_ALIGNMENT; 0: the slot is free. */
};

struct memtable {
    struct arena pairs;
    struct slot *slots; /* Open addressing, never more than half full. */
    uint32_t slot_count;
    uint32_t count;
    uint64_t level_state;
    struct memtable_entry *head;  /* Has every level, and no key. */
    struct memtable_entry *fresh; /* What the next seek puts into the order; by `next[0]`. */
    size_t size_empty;
};

_Static_assert(TABLE_KEY_SIZE_MAX <= UINT16_MAX, "the size of a key fits its member");
_Static_assert(_Alignof(struct memtable_entry) <= (int)ENTRY_ALIGNMENT, "entries are aligned");

/* --- Memory ----------------------------------------------------------------------------------- */

size_t memtable_size_min(void)
{
    return (size_t)PAIR_COST_MAX + SIZE_BESIDE_MIN;
}

static uint32_t slot_count_of(size_t size)
{
    uint32_t count = SLOT_COUNT_MIN;

    ASSERT_VALUES(size / ENTRY_ALIGNMENT <= UINT32_MAX, size, ENTRY_ALIGNMENT);
    while (count < size / SIZE_PER_SLOT) {
        count *= 2;
    }
    return count;
}

size_t memtable_memory_size(size_t size)
{
    return arena_cost(1, sizeof(struct memtable)) +
           arena_cost(slot_count_of(size), sizeof(struct slot)) + arena_cost(1, size);
}

static void *take(struct memtable *memtable, size_t size)
{
    return arena_take_aligned(&memtable->pairs, size, ENTRY_ALIGNMENT);
}

struct memtable *memtable_open(struct arena *arena, size_t size)
{
    ASSERT_VALUES(size >= memtable_size_min(), size, memtable_size_min());
    struct memtable *memtable = arena_take(arena, 1, sizeof(*memtable));

    memtable->slot_count = slot_count_of(size);
    memtable->slots = arena_take(arena, memtable->slot_count, sizeof(struct slot));
    memtable->level_state = 0x9e3779b97f4a7c15u;
    arena_init(&memtable->pairs, arena_take(arena, 1, size), size);
    /* Place 0 means a free slot: the head takes it. */
    memtable->head =
        take(memtable, sizeof(struct memtable_entry) + LEVEL_COUNT_MAX * sizeof(void *));
    memtable->size_empty = memtable->pairs.size;
    memtable_clear(memtable);
    return memtable;
}

void memtable_clear(struct memtable *memtable)
{
    memtable->count = 0;
    memtable->fresh = NULL;
    memtable->pairs.size = memtable->size_empty;
    memset(memtable->slots, 0, memtable->slot_count * sizeof(struct slot));
    *memtable->head = (struct memtable_entry){.level_count = LEVEL_COUNT_MAX};
    for (unsigned level = 0; level < LEVEL_COUNT_MAX; level++) {
        memtable->head->next[level] = NULL;
    }
}

uint64_t memtable_size(const struct memtable *memtable)
{
    return memtable->pairs.size - memtable->size_empty;
}

bool memtable_is_full(const struct memtable *memtable)
{
    return memtable->pairs.capacity - memtable->pairs.size < PAIR_COST_MAX ||
           memtable->count >= memtable_count_max(memtable);
}

uint32_t memtable_count_max(const struct memtable *memtable)
{
    return memtable->slot_count / 2;
}

/* --- By key ----------------------------------------------------------------------------------- */

struct bytes memtable_entry_key(const struct memtable_entry *entry)
{
    return bytes_of(entry->next + entry->level_count, entry->key_size);
}

struct bytes memtable_entry_value(const struct memtable_entry *entry)
{
    return bytes_of(entry->value, entry->value_size);
}

struct memtable_key memtable_key_of(struct bytes key)
{
    ASSERT_VALUES(key.size >= 1 && key.size <= TABLE_KEY_SIZE_MAX, key.size, TABLE_KEY_SIZE_MAX);
    return (struct memtable_key){.bytes = key, .hash = checksum(key, 0)};
}

static struct memtable_entry *entry_at(const struct memtable *memtable, uint32_t place)
{
    void *entry = memtable->pairs.data + (size_t)place * ENTRY_ALIGNMENT;

    return entry;
}

/* The slot of the key, or the free one where it belongs. */
static struct slot *slot_of(const struct memtable *memtable, const struct memtable_key *key)
{
    uint32_t mask = memtable->slot_count - 1;
    uint32_t tag = (uint32_t)(key->hash >> 32);

    for (uint32_t at = (uint32_t)key->hash & mask;; at = (at + 1) & mask) {
        struct slot *slot = &memtable->slots[at];

        if (slot->place == 0 ||
            (slot->tag == tag &&
             bytes_equal(memtable_entry_key(entry_at(memtable, slot->place)), key->bytes))) {
            return slot;
        }
    }
}

struct memtable_entry *memtable_find(const struct memtable *memtable,
                                     const struct memtable_key *key)
{
    const struct slot *slot = slot_of(memtable, key);

    return slot->place == 0 ? NULL : entry_at(memtable, slot->place);
}

/* One level with 3/4, two with 3/16, ...: xorshift64, from a fixed state. */
static uint8_t level_count_draw(struct memtable *memtable)
{
    uint8_t level_count = 1;

    memtable->level_state ^= memtable->level_state << 13;
    memtable->level_state ^= memtable->level_state >> 7;
    memtable->level_state ^= memtable->level_state << 17;
    for (uint64_t bits = memtable->level_state >> 8;
         (bits & 3) == 0 && level_count < LEVEL_COUNT_MAX; bits >>= 2) {
        level_count++;
    }
    return level_count;
}

struct memtable_entry *memtable_add(struct memtable *memtable, const struct memtable_key *key,
                                    bool is_below)
{
    struct slot *slot = slot_of(memtable, key);
    uint8_t level_count = level_count_draw(memtable);
    size_t size = sizeof(struct memtable_entry) + level_count * sizeof(struct memtable_entry *);

    ASSERT(!memtable_is_full(memtable));
    ASSERT_VALUES(slot->place == 0, slot->place, key->hash);
    struct memtable_entry *entry = take(memtable, size + key->bytes.size);
    *entry = (struct memtable_entry){
        .key_size = (uint16_t)key->bytes.size,
        .is_below = is_below,
        .is_hidden = true,
        .level_count = level_count,
    };
    memcpy(entry->next + level_count, key->bytes.data, key->bytes.size);
    slot->tag = (uint32_t)(key->hash >> 32);
    slot->place = (uint32_t)((size_t)((uint8_t *)entry - memtable->pairs.data) / ENTRY_ALIGNMENT);
    memtable->count++;
    return entry;
}

/* --- In order --------------------------------------------------------------------------------- */

/* The first linked entry whose key is not below `key`, or NULL; `before` gets its predecessors,
 * unless it is NULL. */
static struct memtable_entry *search(const struct memtable *memtable, struct bytes key,
                                     struct memtable_entry *before[LEVEL_COUNT_MAX])
{
    struct memtable_entry *entry = memtable->head;
    const struct memtable_entry *bound = NULL; /* Known not to be below the key. */

    for (unsigned level = LEVEL_COUNT_MAX; level-- > 0;) {
        struct memtable_entry *next = entry->next[level];

        while (next != bound && next != NULL && bytes_compare(memtable_entry_key(next), key) < 0) {
            entry = next;
            next = entry->next[level];
        }
        bound = next;
        if (before != NULL) {
            before[level] = entry;
        }
    }
    return entry->next[0];
}

static void link_in(struct memtable *memtable, struct memtable_entry *entry)
{
    struct memtable_entry *before[LEVEL_COUNT_MAX];

    search(memtable, memtable_entry_key(entry), before);
    for (unsigned level = 0; level < entry->level_count; level++) {
        entry->next[level] = before[level]->next[level];
        before[level]->next[level] = entry;
    }
    entry->place = MEMTABLE_ORDERED;
}

/* Most pairs are written, found by their keys and collected, and nobody asks what follows them: so
 * they wait for a seek, which orders all that came since the last one. */
static void show(struct memtable *memtable, struct memtable_entry *entry)
{
    if (entry->place == MEMTABLE_NOWHERE) {
        entry->next[0] = memtable->fresh;
        memtable->fresh = entry;
        entry->place = MEMTABLE_FRESH;
    }
    entry->is_hidden = false;
}

static void order_fresh(struct memtable *memtable)
{
    while (memtable->fresh != NULL) {
        struct memtable_entry *entry = memtable->fresh;

        memtable->fresh = entry->next[0];
        entry->place = MEMTABLE_NOWHERE;
        if (!entry->is_hidden) {
            link_in(memtable, entry);
        }
    }
}

static void link_out(struct memtable *memtable, struct memtable_entry *entry)
{
    struct memtable_entry *before[LEVEL_COUNT_MAX];
    const struct memtable_entry *found = search(memtable, memtable_entry_key(entry), before);

    ASSERT(found == entry);
    for (unsigned level = 0; level < entry->level_count; level++) {
        ASSERT(before[level]->next[level] == entry);
        before[level]->next[level] = entry->next[level];
    }
    entry->place = MEMTABLE_NOWHERE;
}

const struct memtable_entry *memtable_seek(struct memtable *memtable, struct bytes from,
                                           bool inclusive)
{
    order_fresh(memtable);
    const struct memtable_entry *entry = search(memtable, from, NULL);

    if (entry != NULL && !inclusive && bytes_equal(memtable_entry_key(entry), from)) {
        entry = entry->next[0];
    }
    return entry;
}

/* --- Changes ---------------------------------------------------------------------------------- */

/* Room for a value that grows again and again is doubled, so that it wastes no more than it uses.
 */
static void value_reserve(struct memtable *memtable, struct memtable_entry *entry, size_t size)
{
    if (size <= entry->value_capacity) {
        return;
    }
    size_t capacity = size_max(size, 2 * (size_t)entry->value_capacity);

    capacity = size_min(size_round_up(capacity, ENTRY_ALIGNMENT), TABLE_VALUE_SIZE_MAX);
    entry->value = take(memtable, capacity);
    entry->value_capacity = (uint32_t)capacity;
}

void memtable_store(struct memtable *memtable, struct memtable_entry *entry, struct bytes value,
                    uint64_t sum)
{
    ASSERT_VALUES(value.size <= TABLE_VALUE_SIZE_MAX, value.size, TABLE_VALUE_SIZE_MAX);
    value_reserve(memtable, entry, value.size);
    if (value.size != 0) {
        memmove(entry->value, value.data, value.size);
    }
    entry->value_size = (uint32_t)value.size;
    entry->sum = sum;
    entry->is_live = true;
    show(memtable, entry);
}

void memtable_erase(struct memtable *memtable, struct memtable_entry *entry)
{
    ASSERT(entry->is_live);
    entry->is_live = false;
    memtable_hide(memtable, entry);
}

void memtable_hide(struct memtable *memtable, struct memtable_entry *entry)
{
    if (entry->place == MEMTABLE_ORDERED) {
        link_out(memtable, entry);
    }
    entry->is_hidden = true;
}

/* --- Writing out ------------------------------------------------------------------------------ */

static int compare_entries(const void *left, const void *right)
{
    const struct memtable_entry *const *a = left;
    const struct memtable_entry *const *b = right;

    return bytes_compare(memtable_entry_key(*a), memtable_entry_key(*b));
}

uint32_t memtable_collect(const struct memtable *memtable, const struct memtable_entry **entries)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < memtable->slot_count; i++) {
        if (memtable->slots[i].place != 0) {
            const struct memtable_entry *entry = entry_at(memtable, memtable->slots[i].place);

            if (entry->is_live || entry->is_below) {
                entries[count++] = entry;
            }
        }
    }
    ASSERT_VALUES(count <= memtable->count, count, memtable->count);
    /* Not by the links: the owner may be taking entries out of them. */
    qsort(entries, count, sizeof(void *), compare_entries);
    return count;
}
