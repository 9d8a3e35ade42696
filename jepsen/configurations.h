/* jepsen/configurations.h: what the search has come to before, so that it goes there once.
 *
 * A configuration is the set of operations that took effect, and the state that they led to. One
 * with more optional operations than another, and all else equal, can lead nowhere that the other
 * cannot; so it counts as known (Lowe 2017 remembers equal ones only). */
#ifndef JEPSEN_CONFIGURATIONS_H
#define JEPSEN_CONFIGURATIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/macros.h"
#include "jepsen/model.h"

/* A set of numbers. Nearly all below some number are in it, nearly none beyond: only the words
 * between are compared and remembered. */
struct member_set {
    uint64_t *words;
    uint32_t word_count;
    uint32_t first; /* All words before it are full. */
    uint32_t end;   /* All words from it on are empty; first <= end, or the set is a full prefix. */
};

/* `words` has room for `count` bits. */
void member_set_clear(struct member_set *set, uint64_t *words, uint32_t count);
uint32_t member_set_words(uint32_t count);
void member_set_insert(struct member_set *set, uint32_t number);
void member_set_remove(struct member_set *set, uint32_t number);
bool member_set_has(const struct member_set *set, uint32_t number);

struct configurations {
    uint64_t *words; /* The configurations, one behind the other. */
    size_t word_count;
    size_t word_capacity;
    uint32_t *slots; /* By hash: the place of the first of a chain; 0: none. */
    uint32_t slot_count;
    uint32_t count;
    size_t memory_size_max;
};

/* ERR_FULL when there is not the memory. To be closed, also after an error. */
MUST_USE enum error configurations_open(struct configurations *all, size_t memory_size_max);
void configurations_close(struct configurations *all);
void configurations_clear(struct configurations *all);

/* Remembers the configuration, and says whether it was not known. ERR_FULL: no room is left.
 * `hash` is of the required set alone. */
MUST_USE enum error configurations_add(struct configurations *all,
                                       const struct member_set *required,
                                       const struct member_set *optional,
                                       const struct model_state *state, uint64_t hash,
                                       bool *is_new);

#endif
