/* node/cluster_time.h: the clock that deadlines of sessions are measured with.
 *
 * A leader's clock goes on with its own machine's; it stamps every entry, never behind the stamp
 * before. Without a leader it stands still: a slow cluster clock is always safe, a fast one is not.
 * Hence no leader ever jumps forward: it begins from the last stamp in its own log or from what the
 * leader of the newest term told it, whichever is later, and then only counts elapsed time. What
 * leaders of older terms said does not count: their clocks may be ahead of the present one's, and
 * a session that the present leader stamped would lose the difference. */
#ifndef NODE_CLUSTER_TIME_H
#define NODE_CLUSTER_TIME_H

#include <stdbool.h>
#include <stdint.h>

#include "base/macros.h"
#include "raft/entry.h"

struct cluster_time {
    uint64_t log_ms;   /* Stamp of the last entry of our log. */
    uint64_t heard_ms; /* Newest clock of the leader of `heard_term`, ourselves included. */
    raft_term heard_term;
    bool leading;
    uint64_t clock_ms;   /* As leader: cluster time at `turn_ms`. */
    uint64_t turn_ms;    /* Own clock at the last turn. */
    uint64_t gap_ms_max; /* A longer gap between two turns counts as no more than this. */
    uint64_t confirm_ms; /* After a gap: a majority must have heard us since then. */
};

void cluster_time_init(struct cluster_time *time, uint64_t gap_ms_max, uint64_t now_ms);

/* At the start of each turn. True: we lead, and there was a gap. */
bool cluster_time_turn(struct cluster_time *time, uint64_t now_ms);

/* The last entry of our log carries `log_ms` now; smaller than before after a truncation. */
void cluster_time_appended(struct cluster_time *time, uint64_t log_ms);

/* The leader of `term` says that its clock shows `log_ms`. The caller has made sure that raft takes
 * it for the leader of the present term: `term` is never above raft's own, nor below it. */
void cluster_time_heard(struct cluster_time *time, raft_term term, uint64_t log_ms);

/* We lead, or no longer lead, in `term`. Leading again in another term is a new start. */
void cluster_time_lead(struct cluster_time *time, raft_term term, uint64_t now_ms);
void cluster_time_follow(struct cluster_time *time);

/* The stamp for an entry made now. Asserts that it is not behind the last one in the log. */
uint64_t cluster_time_stamp(const struct cluster_time *time);

/* The same, or the newest that is known, for frames and views. */
uint64_t cluster_time_now(const struct cluster_time *time);

/* False as long as the majority has not been heard since a gap. */
MUST_USE bool cluster_time_may_stamp(const struct cluster_time *time, uint64_t quorum_contact_ms);

#endif
