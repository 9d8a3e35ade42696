/* kv/transaction.h: compares, and operations that are executed together.
 *
 * A transaction is carried out by its caller within one apply step: all compares first, then the
 * operations of one branch in order, with one revision. Each operation sees what those before it
 * did. */
#ifndef KV_TRANSACTION_H
#define KV_TRANSACTION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/macros.h"
#include "base/table.h"
#include "kv/kv.h"

enum { KV_TRANSACTION_COUNT_MAX = 64 }; /* Of compares, and of the operations of a branch. */

/* The revision of an absent key is 0. */
enum kv_test {
    KV_EXISTS,
    KV_ABSENT,
    KV_EQUAL, /* It exists and has this value. */
    KV_REVISION_EQUAL,
    KV_REVISION_LESS,
    KV_REVISION_GREATER,
};

struct kv_compare {
    struct bytes key;
    enum kv_test test;
    struct bytes value;
    kv_revision revision;
};

MUST_USE bool kv_compare_holds(struct table *table, const struct kv_compare *compare);

enum kv_action { KV_PUT, KV_DELETE, KV_GET };

struct kv_operation {
    enum kv_action action;
    struct bytes key;
    struct bytes value; /* KV_PUT; */
    uint64_t session;   /* what it binds the key to; 0: nothing. */
};

/* How many bytes the keys and values will have that the gets among these operations find. */
uint64_t kv_found_size(struct table *table, const struct kv_operation *operations, uint32_t count);

/* Executes one. True when its key was there before; of a get then *pair is what it found, borrowed
 * from the table until it changes. */
bool kv_operation_execute(struct table *table, const struct kv_operation *operation,
                          kv_revision revision, struct kv_pair *pair);

#endif
