/* kv/internal.h: private to kv/: what kv.c and bound.c know of each other's records. */
#ifndef KV_INTERNAL_H
#define KV_INTERNAL_H

#include <stdint.h>

#include "base/bytes.h"
#include "base/macros.h"
#include "base/table.h"
#include "kv/kv.h"

enum {
    KV_KIND_BOUND = 'b',
    KV_KIND_ENDED = 'e',
    KV_KIND_HEAD = 'h',
    KV_KIND_VALUE = 'v',
};

/* The record that a session has for each key bound to it: `session` is not 0. */
void kv_bound_store(struct table *table, uint64_t session, struct bytes key);
void kv_bound_erase(struct table *table, uint64_t session, struct bytes key);

/* Asserts what holds of a record of one of these kinds; `rest` is its key behind the kind. */
void kv_bound_check(struct table *table, struct bytes rest, struct bytes value);
void kv_ended_check(struct bytes rest, struct bytes value);
MUST_USE bool kv_bound_exists(struct table *table, uint64_t session, struct bytes key);

#endif
