/* tests/support/base/table_property.h: the laws of base/table.h, for whatever implements it.
 *
 * Each function takes an empty table, asserts the laws of its name against a naive model, and
 * leaves the table empty. A broken law aborts with ASSERT(), naming expression and place. */
#ifndef TESTS_SUPPORT_BASE_TABLE_PROPERTY_H
#define TESTS_SUPPORT_BASE_TABLE_PROPERTY_H

#include <stdint.h>

#include "base/table.h"

/* `step_count` random puts, deletes, gets, seeks and commits over keys with awkward bytes. */
void table_property_random(struct table *table, uint64_t seed, uint32_t step_count);

/* Keys and values of the smallest and the largest sizes. */
void table_property_sizes(struct table *table);

/* Equal contents have equal hashes, whatever the order of the writes; others have not. */
void table_property_hash(struct table *table, uint64_t seed);

/* What reads lend stays valid over further reads. */
void table_property_borrowing(struct table *table);

/* Dirty bytes are 0 exactly when nothing was written since the last commit. */
void table_property_dirty(struct table *table);

/* A read snapshot gives the pairs of its commit, whatever is changed and committed meanwhile; and
 * is refused while something is not committed. */
void table_property_snapshot(struct table *table, uint64_t seed);

/* After a bulk load the table has what was put and nothing else; given up, it has nothing. */
void table_property_load(struct table *table, uint64_t seed);

/* All of the above. */
void table_property_all(struct table *table, uint64_t seed, uint32_t step_count);

#endif
