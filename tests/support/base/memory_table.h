/* tests/support/base/memory_table.h: base/table.h in memory, for tests and the simulator.
 *
 * A skip list: every operation is O(log n), and the same calls give the same table everywhere.
 * What a read lent out is moved and overwritten at the next change, so that code which keeps a
 * borrowed value too long fails at once (and is named by the address sanitizer). */
#ifndef TESTS_SUPPORT_BASE_MEMORY_TABLE_H
#define TESTS_SUPPORT_BASE_MEMORY_TABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/table.h"

/* Never NULL. The caller closes it. */
struct table *memory_table_open(void);

/* Frees all of it; NULL is allowed. */
void memory_table_close(struct table *table);

/* Calls of table_commit() so far. */
uint64_t memory_table_commit_count(const struct table *table);

/* From now on commits would wait, or no longer would: nothing else changes. */
void memory_table_set_slow(struct table *table, bool is_slow);

/* Pairs in the table. */
uint64_t memory_table_count(const struct table *table);

/* Calls of get, put, delete, seek and commit so far. */
uint64_t memory_table_call_count(const struct table *table);

/* The call (see above) after `call_count` more fails with `error`, which then stays. A table that
 * has failed already keeps its first failure. */
void memory_table_fail_after(struct table *table, uint64_t call_count, enum error error);

#endif
