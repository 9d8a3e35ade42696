/* node/machine.h: the replicated state machine: committed entries in, results out.
 *
 * Every replica applies the same entries in the same order and arrives at the same table. Applying
 * never looks at a clock and never refuses what admission let in (limits may differ between
 * versions; the outcome must not). What the table holds besides lease/ and kv/: the applied index
 * and cluster time, and the results of sessions (node/window.h), all in one transaction. */
#ifndef NODE_MACHINE_H
#define NODE_MACHINE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/bytes.h"
#include "base/error.h"
#include "base/macros.h"
#include "base/table.h"
#include "lease/lease.h"
#include "node/envelope.h"
#include "node/feed.h"
#include "raft/entry.h"

struct machine; /* Opaque. */

size_t machine_memory_size(void);

/* Goes on from the applied index that the table holds; 0 when it is empty. */
struct machine *machine_open(struct arena *arena, struct table *table);

/* From now on every change of keys and locks is told to `feed`, which begins where the state is. */
void machine_feed(struct machine *machine, struct feed *feed);

/* The table was replaced as a whole: goes on from what it holds now. */
void machine_reload(struct machine *machine);

/* The state founds another cluster, behind `index`, which is not in front of what is applied: its
 * sessions have ended, its locks are free, and their tokens rise by `token_raise`. Commits it. */
void machine_refound(struct machine *machine, raft_index index, uint64_t token_raise);

/* What became of one entry. */
struct machine_result {
    uint8_t method; /* Of the envelope; 0 for an entry that is not ours to understand. */
    enum error error;
    struct bytes body;    /* ERR_OK: the encoded result map; otherwise the encoded failure map.
                             Empty for the leader's own commands. Until the next apply. */
    struct bytes renewed; /* ENVELOPE_RENEW: one byte for each id: 1 renewed, 0 session expired. */
    bool more_is_due;     /* More sessions are due at this stamp, or keys of ended ones are left:
                             propose a tick. */
    const struct lease_effects *effects; /* For notices; until the next apply. */
};

/* `entry->index` follows the applied index. */
void machine_apply(struct machine *machine, const struct raft_entry *entry,
                   struct machine_result *result);

raft_index machine_applied_index(const struct machine *machine);

/* The stamp of the last applied entry. */
uint64_t machine_log_ms(const struct machine *machine);

/* When lease_advance() next has something to do, in cluster time; UINT64_MAX: never, as things are.
 */
uint64_t machine_due_ms(struct machine *machine);

/* Writes what is kept in memory (dirty session windows) into the table and commits it. */
void machine_commit(struct machine *machine);

/* Hash of the whole state at the applied index; the same on every replica. Writes out what is kept
 * in memory, unless nothing was applied since the last time. */
uint64_t machine_hash(struct machine *machine);

/* At admission: an answer that is already known, so that a retry costs no entry. False when the
 * request has to go through the log. The result is as at machine_apply(). */
MUST_USE bool machine_lookup(struct machine *machine, uint64_t session, uint64_t sequence,
                             struct machine_result *result);

/* --- Reads, at the applied index. Appends the encoded result map to `out`, or returns an error:
 *     ERR_NOT_FOUND, ERR_MALFORMED (params), ERR_TOO_LARGE (it does not fit; lists instead stop
 *     early and say more = true). Whether a session is alive is decided by the last applied stamp,
 *     so that no answer ever goes back on an earlier one; `now_ms` is cluster time as the leader
 *     knows it, and only tells how old things are and what is left of them. -------------------- */
MUST_USE enum error machine_read(struct machine *machine, enum wire_method method,
                                 struct bytes params, uint64_t now_ms, struct buffer *out);

/* True for methods that machine_read() answers. */
bool machine_is_read(enum wire_method method);

/* True for methods that go through the log as they came (not session_renew: those are batched). */
bool machine_is_write(enum wire_method method);

#endif
