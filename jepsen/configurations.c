/* jepsen/configurations.c: a hash table with chains in one growing block of words. */
#include "jepsen/configurations.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/checksum.h"

/* A configuration in words: hash; the next of the chain and `first` of the required set; the
 * counts of words of both sets; the state; the words of the required set; of the optional set. */
enum {
    AT_HASH = 0,
    AT_NEXT = 1,
    AT_COUNTS = 2,
    AT_STATE = 3,
    STATE_WORDS = sizeof(struct model_state) / sizeof(uint64_t),
    AT_SETS = AT_STATE + STATE_WORDS,
    WORD_COUNT_START = 1 << 12,
    SLOT_COUNT_START = 1 << 10,
};

/* Places are 32 bits wide; 0 is none. */
static const size_t word_count_limit = UINT32_MAX;

uint32_t member_set_words(uint32_t count)
{
    return count / 64 + 1;
}

void member_set_clear(struct member_set *set, uint64_t *words, uint32_t count)
{
    *set = (struct member_set){.words = words, .word_count = member_set_words(count)};
    memset(words, 0, set->word_count * sizeof(*words));
}

void member_set_insert(struct member_set *set, uint32_t number)
{
    uint32_t word = number / 64;

    ASSERT_VALUES(word < set->word_count, word, set->word_count);
    ASSERT((set->words[word] >> (number % 64) & 1) == 0);
    set->words[word] |= UINT64_C(1) << (number % 64);
    if (set->end <= word) {
        set->end = word + 1;
    }
    while (set->first < set->end && set->words[set->first] == UINT64_MAX) {
        set->first++;
    }
}

void member_set_remove(struct member_set *set, uint32_t number)
{
    uint32_t word = number / 64;

    ASSERT_VALUES(word < set->word_count, word, set->word_count);
    ASSERT((set->words[word] >> (number % 64) & 1) == 1);
    set->words[word] &= ~(UINT64_C(1) << (number % 64));
    if (set->first > word) {
        set->first = word;
    }
    while (set->end > set->first && set->words[set->end - 1] == 0) {
        set->end--;
    }
}

bool member_set_has(const struct member_set *set, uint32_t number)
{
    return (set->words[number / 64] >> (number % 64) & 1) != 0;
}

enum error configurations_open(struct configurations *all, size_t memory_size_max)
{
    *all = (struct configurations){
        .words = malloc(WORD_COUNT_START * sizeof(uint64_t)),
        .word_capacity = WORD_COUNT_START,
        .slots = malloc(SLOT_COUNT_START * sizeof(uint32_t)),
        .slot_count = SLOT_COUNT_START,
        .memory_size_max = memory_size_max,
    };
    if (all->words == NULL || all->slots == NULL) {
        return ERR_FULL;
    }
    configurations_clear(all);
    return ERR_OK;
}

void configurations_close(struct configurations *all)
{
    free(all->words);
    free(all->slots);
}

void configurations_clear(struct configurations *all)
{
    all->word_count = 1; /* Place 0 is none. */
    all->count = 0;
    memset(all->slots, 0, all->slot_count * sizeof(*all->slots));
}

static bool fits_memory(const struct configurations *all, size_t word_capacity, size_t slot_count)
{
    return word_capacity <= word_count_limit &&
           word_capacity * sizeof(uint64_t) + slot_count * sizeof(uint32_t) <= all->memory_size_max;
}

static enum error grow_words(struct configurations *all, size_t wanted)
{
    size_t capacity = all->word_capacity;

    while (capacity < wanted) {
        capacity *= 2;
    }
    if (capacity == all->word_capacity) {
        return ERR_OK;
    }
    if (!fits_memory(all, capacity, all->slot_count)) {
        return ERR_FULL;
    }
    uint64_t *words = realloc(all->words, capacity * sizeof(*words));
    if (words == NULL) {
        return ERR_FULL;
    }
    all->words = words;
    all->word_capacity = capacity;
    return ERR_OK;
}

/* Chains as long as one element on average. Without room they just become longer. */
static void grow_slots(struct configurations *all)
{
    uint32_t slot_count = all->slot_count * 2;

    if (all->count < all->slot_count || slot_count == 0 ||
        !fits_memory(all, all->word_capacity, slot_count)) {
        return;
    }
    uint32_t *slots = calloc(slot_count, sizeof(*slots));
    if (slots == NULL) {
        return;
    }
    for (uint32_t i = 0; i < all->slot_count; i++) {
        uint32_t at = all->slots[i];
        while (at != 0) {
            uint32_t *slot = &slots[all->words[at + AT_HASH] & (slot_count - 1)];
            uint64_t link = all->words[at + AT_NEXT];
            uint32_t next = (uint32_t)link;
            all->words[at + AT_NEXT] = (link & ~(uint64_t)UINT32_MAX) | *slot;
            *slot = at;
            at = next;
        }
    }
    free(all->slots);
    all->slots = slots;
    all->slot_count = slot_count;
}

static bool is_subset(const uint64_t *of, uint32_t count, const struct member_set *set)
{
    if (count > set->end) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        if ((of[i] & ~set->words[i]) != 0) {
            return false;
        }
    }
    return true;
}

/* The required set and the state are equal, and the optional one of `entry` has nothing more. */
static bool covers(const uint64_t *entry, const struct member_set *required,
                   const struct member_set *optional, const struct model_state *state)
{
    uint32_t required_count = (uint32_t)entry[AT_COUNTS];
    uint32_t optional_count = (uint32_t)(entry[AT_COUNTS] >> 32);

    return (uint32_t)(entry[AT_NEXT] >> 32) == required->first &&
           required_count == required->end - required->first &&
           memcmp(entry + AT_STATE, state, sizeof(*state)) == 0 &&
           memcmp(entry + AT_SETS, required->words + required->first,
                  required_count * sizeof(uint64_t)) == 0 &&
           is_subset(entry + AT_SETS + required_count, optional_count, optional);
}

enum error configurations_add(struct configurations *all, const struct member_set *required,
                              const struct member_set *optional, const struct model_state *state,
                              uint64_t hash, bool *is_new)
{
    uint32_t required_count = required->end - required->first;

    /* Of the optional set all words from the first on: it is small, and seldom full. */
    uint32_t optional_count = optional->end;
    hash = checksum(bytes_of(state, sizeof(*state)), hash);
    uint32_t *slot = &all->slots[hash & (all->slot_count - 1)];
    for (uint32_t at = *slot; at != 0; at = (uint32_t)all->words[at + AT_NEXT]) {
        if (all->words[at + AT_HASH] == hash &&
            covers(all->words + at, required, optional, state)) {
            *is_new = false;
            return ERR_OK;
        }
    }
    size_t size = (size_t)AT_SETS + required_count + optional_count;
    if (grow_words(all, all->word_count + size) != ERR_OK) {
        return ERR_FULL;
    }
    uint64_t *entry = all->words + all->word_count;
    entry[AT_HASH] = hash;
    entry[AT_NEXT] = (uint64_t)required->first << 32 | *slot;
    entry[AT_COUNTS] = (uint64_t)optional_count << 32 | required_count;
    memcpy(entry + AT_STATE, state, sizeof(*state));
    memcpy(entry + AT_SETS, required->words + required->first, required_count * sizeof(uint64_t));
    memcpy(entry + AT_SETS + required_count, optional->words, optional_count * sizeof(uint64_t));
    *slot = (uint32_t)all->word_count;
    all->word_count += size;
    all->count++;
    grow_slots(all);
    *is_new = true;
    return ERR_OK;
}
