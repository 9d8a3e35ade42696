/* kv/kv.h: keys with revisions.
 *
 * A replicated state machine: pure and deterministic over an ordered table. The revision of a key
 * is the log index of the entry that last changed it; so revisions of one key only grow, and one
 * revision names one change of the whole store. */
#ifndef KV_KV_H
#define KV_KV_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/macros.h"
#include "base/table.h"

typedef uint64_t kv_revision; /* 0: the key is absent. */

enum {
    KV_KEY_SIZE_MAX = 480, /* At least 1. */
    KV_VALUE_SIZE_MAX = 512 * 1024,
    KV_KEY_PREFIX = 'k', /* Where the table's keys begin with it, they are this folder's. */
};

struct kv_pair {
    struct bytes key;   /* kv_get(): the caller's own. kv_next(): borrowed like `value`. */
    struct bytes value; /* Borrowed from the table until it changes. */
    kv_revision revision;
};

/* False when the key is absent. */
MUST_USE bool kv_get(struct table *table, struct bytes key, struct kv_pair *pair);

/* Sets the value; the key then has `revision`, which is not below its present one. */
void kv_put(struct table *table, struct bytes key, struct bytes value, kv_revision revision);

/* True when the key was there. */
bool kv_delete(struct table *table, struct bytes key);

/* What a compare-and-swap expects: a value, or that the key is absent. */
struct kv_expected {
    bool absent;
    struct bytes value;
};

/* Sets the value only when the present one is as expected. ERR_MISMATCH otherwise, ERR_NOT_FOUND
 * when the key is absent and a value was expected; then nothing changes. */
MUST_USE enum error kv_compare_and_swap(struct table *table, struct bytes key,
                                        const struct kv_expected *expected, struct bytes value,
                                        kv_revision revision);

/* The first pair whose key is > `after` (empty: from the start) and begins with `prefix`; false
 * when there is none. */
MUST_USE bool kv_next(struct table *table, struct bytes prefix, struct bytes after,
                      struct kv_pair *pair);

/* Asserts every numbered invariant of docs/kv.md by walking all pairs. For tests. */
void kv_check(struct table *table);

#endif
