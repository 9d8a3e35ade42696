/* node/feed.h: the newest changes of the state, for those who watch it.
 *
 * A ring in memory, bounded in bytes and in changes, that every node fills as it applies entries:
 * so it is the same on every node, as far back as it reaches. The oldest changes go first. It is
 * not part of the state: after a restart, or when a snapshot took the state's place, it begins
 * where the state is.
 *
 * A revision is the index of an entry. One entry may bring several changes: they are numbered from
 * 1. A place in the feed is told by both, and means the same on every node. */
#ifndef NODE_FEED_H
#define NODE_FEED_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/bytes.h"
#include "base/error.h"
#include "base/macros.h"
#include "lease/lease.h"

struct feed; /* Opaque. */

enum feed_space { FEED_KEYS, FEED_LOCKS };

enum feed_kind { FEED_PUT, FEED_DELETE, FEED_GRANTED, FEED_RELEASED, FEED_LOST, FEED_BROKEN };

/* Behind change `number` of `revision`. FEED_ALL: behind all that `revision` has. */
struct feed_place {
    uint64_t revision;
    uint32_t number;
};
#define FEED_ALL UINT32_MAX

struct feed_change {
    struct feed_place place; /* Behind it. */
    enum feed_kind kind;
    bool is_kept;     /* FEED_LOST, FEED_BROKEN: its lock delay keeps the hold. */
    uint64_t session; /* Of locks: whose hold it is, */
    uint64_t token;
    struct bytes name; /* Of the key or lock. */
    struct bytes value;
    struct bytes owner;
    struct bytes metadata;
};

/* "put", "delete", "granted", "released", "lost", "broken". */
const char *feed_kind_name(enum feed_kind kind);
enum feed_space feed_space_of(enum feed_kind kind);

/* -1, 0 or 1: which of the two comes first. */
int feed_place_compare(struct feed_place a, struct feed_place b);

/* All changes of one entry fit: who has seen everything before it can be told of each. */
enum { FEED_SIZE_MIN = 2 << 20, FEED_COUNT_MIN = 576 };

size_t feed_memory_size(uint32_t size_max, uint32_t count_max);

/* Empty, and begins behind `revision`. Keeps at most so many bytes of names, values, owners and
 * metadata, and so many changes. */
struct feed *feed_open(struct arena *arena, uint32_t size_max, uint32_t count_max,
                       uint64_t revision);

/* The state was replaced: what it is now is at `revision`, and nothing is known of the way there.
 */
void feed_reset(struct feed *feed, uint64_t revision);

/* The entry at `revision` begins; all of those before it are complete. */
void feed_begin(struct feed *feed, uint64_t revision);

/* Changes of the entry that was begun, in their order. Texts are copied. */
void feed_put(struct feed *feed, struct bytes key, struct bytes value);
void feed_delete(struct feed *feed, struct bytes key);
void feed_locks(struct feed *feed, const struct lease_events *events);

/* --- Reading: changes have positions that count up from the opening on, on this node alone -----
 */

/* Of the oldest change that is kept, and of the next one to come. */
uint64_t feed_first(const struct feed *feed);
uint64_t feed_end(const struct feed *feed);

/* `position` is from feed_first() to below feed_end(). Borrowed until the feed is changed. */
struct feed_change feed_at(const struct feed *feed, uint64_t position);

/* The position of the first change behind `place`; feed_end() when there is none yet. False when
 * changes behind it are no longer there. */
MUST_USE bool feed_find(const struct feed *feed, struct feed_place place, uint64_t *position);

/* The entry that was begun last. */
uint64_t feed_revision(const struct feed *feed);
/* The oldest revision behind which nothing is missing. */
uint64_t feed_oldest(const struct feed *feed);
/* How often the state was replaced. */
uint64_t feed_epoch(const struct feed *feed);

/* Asserts that it holds together. For tests. */
void feed_check(const struct feed *feed);

#endif
