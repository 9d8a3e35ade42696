/* kv/kv.h: keys with revisions.
 *
 * A replicated state machine: pure and deterministic over an ordered table. The revision of a key
 * is the log index of the entry that last changed it; so revisions of one key only grow, and one
 * revision names one change of the whole store.
 *
 * A key may be bound to a session: a number that means nothing here. When the caller says that a
 * session has ended its keys are deleted, piece by piece; until then the caller knows by the
 * session of a pair that it is gone already. Every write binds the key anew, or unbinds it. */
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
    uint64_t session; /* That the key is bound to; 0: none. */
};

/* False when the key is absent. */
MUST_USE bool kv_get(struct table *table, struct bytes key, struct kv_pair *pair);

/* Sets the value; the key then has `revision`, which is not below its present one, and is bound to
 * `session`, or to none when that is 0. */
void kv_put(struct table *table, struct bytes key, struct bytes value, uint64_t session,
            kv_revision revision);

/* True when the key was there. */
bool kv_delete(struct table *table, struct bytes key);

/* What a compare-and-swap expects: a value, or that the key is absent. */
struct kv_expected {
    bool absent;
    struct bytes value;
};

/* Sets the value, bound to no session, only when the present one is as expected. ERR_MISMATCH
 * otherwise, ERR_NOT_FOUND when the key is absent and a value was expected; then nothing changes.
 */
MUST_USE enum error kv_compare_and_swap(struct table *table, struct bytes key,
                                        const struct kv_expected *expected, struct bytes value,
                                        kv_revision revision);

/* The first pair whose key is > `after` (empty: from the start) and begins with `prefix`; false
 * when there is none. */
MUST_USE bool kv_next(struct table *table, struct bytes prefix, struct bytes after,
                      struct kv_pair *pair);

/* The session that the key is bound to; 0: none, or the key is absent. */
uint64_t kv_session_of(struct table *table, struct bytes key);

/* --- Keys of sessions that have ended (bound.c) ----------------------------------------------- */

/* The session is gone, for good: kv_drop() takes its keys. False when it has none. */
bool kv_session_end(struct table *table, uint64_t session);

enum kv_dropped {
    KV_DROPPED_NOTHING, /* No session that has ended is left. */
    KV_DROPPED_KEY,
    KV_DROPPED_SESSION, /* It has no key any more. */
};

struct kv_dropped_key {
    size_t size;
    uint8_t data[KV_KEY_SIZE_MAX];
};

/* One step: deletes one key of a session that has ended, in the order of sessions and keys, and
 * says which; or forgets a session that has none left. */
enum kv_dropped kv_drop(struct table *table, struct kv_dropped_key *dropped);

/* Deletes every key that is bound to a session: none of them lives on. Takes time for each of them:
 * not for a node that serves. */
void kv_restart(struct table *table);

/* Asserts every numbered invariant of docs/kv.md by walking all pairs. For tests. */
void kv_check(struct table *table);

#endif
