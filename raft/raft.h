/* raft/raft.h: the Raft algorithm as a pure state machine: events in, effects out.
 *
 * No clock (time is in every event), no randomness (a seed at open), no allocation, no I/O. The
 * same options and events give the same effects on every machine. One batch: any number of events,
 * then raft_collect() once, and the caller carries the effects out from top to bottom.
 *
 * That order is the durability argument:
 *   1. `hard_state` and `append` become durable together, as one unit with `tag`.
 *   2. `send_now` may leave before that: requests for votes of a term that is durable already,
 *      AppendEntries (a leader's own copy counts only when RAFT_PERSISTED says so), heartbeats.
 *   3. `send_durable` leaves only when `tag` is durable: votes and acknowledgements, because each
 *      names a term, a vote or a log tail that a crash must not take back (Raft section 5.4,
 *      dissertation 3.8), and requests for votes, because a candidate votes for itself first.
 *   4. `commit_index` may be applied as far as it goes; entries are applied in order, once.
 *   5. `reads` may be served once their index is applied.
 * A completion whose `epoch` is older than a truncation of what it names is ignored, so a late
 * one cannot acknowledge entries that were replaced. */
#ifndef RAFT_RAFT_H
#define RAFT_RAFT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/bytes.h"
#include "base/error.h"
#include "base/macros.h"
#include "raft/configuration.h"
#include "raft/entry.h"
#include "raft/message.h"

struct raft; /* Opaque; lives in the memory handed to raft_open(). */

struct raft_options {
    raft_id self;
    uint64_t seed;
    uint32_t election_ms_min; /* A timeout is drawn anew from [min, max] each time. */
    uint32_t election_ms_max;
    uint32_t heartbeat_ms;         /* < election_ms_min / 2. */
    uint32_t inflight_count_max;   /* AppendEntries under way to one follower; 2 by default. */
    uint32_t append_size_max;      /* Bytes of entries in one AppendEntries. */
    uint32_t window_size;          /* Bytes of entries kept in memory. */
    uint32_t window_count_max;     /* Entries kept in memory. */
    uint32_t uncommitted_size_max; /* Bytes of proposals not yet committed; < window_size / 2. */
    uint32_t read_count_max;       /* Reads waiting for their round. */
    uint32_t promise_ms;           /* Lease reads: what voters promise with each heartbeat; at most
                                      election_ms_min; 0: none. */
    uint32_t promise_wait_ms;      /* A voter that starts waits so long before it votes, and no less
                                      than promise_ms: at least what it has ever promised. */
    uint32_t clock_rate_ppm;       /* No two clocks differ in rate by more than this. */
};

size_t raft_memory_size(const struct raft_options *options);

/* Current term and vote: what must survive a crash beside the log (Raft figure 2). */
struct raft_hard_state {
    raft_term term;
    raft_id vote;            /* 0: none in this term. */
    raft_index commit_index; /* A hint, written along with the rest, never synced for its sake. It
                                names only entries that were durable before this unit: it stays
                                true where the hard state reaches the disk and the unit's entries
                                do not. */
};

enum { RAFT_HARD_STATE_SIZE = 24 };

void raft_hard_state_encode(uint8_t to[RAFT_HARD_STATE_SIZE], const struct raft_hard_state *state);
MUST_USE bool raft_hard_state_decode(struct bytes bytes, struct raft_hard_state *state);

/* A follower with the hard state, the base and the log found on the disk. First raft_open(), then
 * every entry behind the base in order with raft_restore(), then raft_start(). raft_open() refuses
 * with ERR_INVALID options that contradict each other and a base that cannot be; raft_restore()
 * refuses with ERR_INVALID an entry that is not the next one, whose term falls, or whose term is
 * above the hard state's, and with ERR_FULL more uncommitted terms than the trail holds.
 * raft_start() asserts that the log reaches the commit index of the hard state: a log that has lost
 * its tail must not get that far. */
MUST_USE enum error raft_open(struct raft **raft, struct arena *arena,
                              const struct raft_options *options,
                              const struct raft_hard_state *hard_state,
                              const struct raft_base *base);
MUST_USE enum error raft_restore(struct raft *raft, const struct raft_entry *entry);
void raft_start(struct raft *raft, uint64_t now_ms);

/* What the caller tells. Each sets the time: monotonic milliseconds, never running back. */

/* The deadline of raft_effects.wake_ms may have come. */
void raft_tick(struct raft *raft, uint64_t now_ms);

/* A message of another node of this cluster, member or not: a configuration here may be older than
 * the sender's. Anything it says is checked; nonsense is ignored. Borrowed. */
void raft_receive(struct raft *raft, const struct raft_message *message, uint64_t now_ms);

/* A command of two parts that are stored one after the other (`second` may be empty); copied.
 * `*index` is where it will be if it commits. Refuses with ERR_NOT_LEADER; ERR_OVERLOADED when
 * uncommitted bytes or the window are used up, and while leadership is handed over (for an election
 * timeout at most); ERR_TOO_LARGE; ERR_STOPPING after raft_resign().
 * The outcome of a proposal of a leader that is deposed is unknown, not failed. */
MUST_USE enum error raft_propose(struct raft *raft, struct bytes first, struct bytes second,
                                 uint64_t now_ms, raft_index *index);

/* Where nothing was committed in this term yet the leader owes the term a no-op: `payload` goes
 * into it (the cluster-time stamp). Called before the events of each turn; kept, copied, at most
 * RAFT_NOOP_PAYLOAD_SIZE_MAX bytes. */
enum { RAFT_NOOP_PAYLOAD_SIZE_MAX = 64 };
void raft_set_noop_payload(struct raft *raft, struct bytes payload);

/* Asks for a linearizable read (ReadIndex, dissertation 6.4; at once where a majority's promises
 * hold, 6.4.1). `id` is the caller's; it comes back in raft_effects.reads. `now_ms` was looked up
 * after the read had been asked for. Refuses with ERR_NOT_LEADER or ERR_OVERLOADED. */
MUST_USE enum error raft_read(struct raft *raft, uint64_t id, uint64_t now_ms);

/* `tag` of raft_effects is durable. Several may be reported by the last of them alone. A unit is
 * what one raft_collect() wants made durable; where that is nothing, the tag of the unit before is
 * repeated, and it is not reported again. */
struct raft_tag {
    raft_term term;
    raft_index index; /* Last index that is durable with it. */
    uint64_t epoch;   /* Raised by every truncation. */
    uint64_t unit;    /* Counts the units: 1, 2, ...; 0: there was none yet. */
};
void raft_persisted(struct raft *raft, const struct raft_tag *tag, uint64_t now_ms);

/* All up to `index` is applied: the window may forget it. After a restart this may be ahead of the
 * commit index (a hint): what was applied was committed. Asserts that it was found on the disk. */
void raft_applied(struct raft *raft, raft_index index);

/* Old entries that raft_effects.fetches asked for (`records`: whole entries from `first_index`
 * on), or none (`record_count` 0) when they cannot be had. Borrowed for this call only. */
void raft_fetched(struct raft *raft, raft_id peer, raft_index first_index, uint32_t record_count,
                  struct bytes records, uint64_t now_ms);

/* A peer's connection broke or came up: what was in flight to it is sent again. */
void raft_peer_reset(struct raft *raft, raft_id peer, uint64_t now_ms);

/* --- Members ----------------------------------------------------------------------------------
 *
 * As leader, one change at a time. Voters change in two steps, a joint configuration and the one
 * behind it; the second is appended here when the first is committed. A change is complete when
 * raft_effects.configuration is committed, not joint and not older than `*index`. */

enum raft_change_kind {
    RAFT_ADD_LEARNER, /* `id` is new; with `context`. `promote`: it becomes a voter by itself as
                         soon as it has caught up, and `replaces` leaves in that same change. */
    RAFT_PROMOTE,     /* Learner `id`, which has caught up, becomes a voter; `replaces` leaves. */
    RAFT_REMOVE,      /* `id` leaves, voter or learner. A leader that leaves sees its own removal
                         through, hands over and steps down. */
    RAFT_CHANGE_CONTEXT, /* `id` has the new `context`. */
};

struct raft_change {
    enum raft_change_kind kind;
    raft_id id;
    raft_id replaces; /* A voter; 0: none. */
    bool promote;
    struct bytes context; /* Copied. */
};

enum raft_verdict {
    RAFT_ACCEPTED,
    RAFT_REFUSED_NOT_LEADER,
    RAFT_REFUSED_NOT_READY, /* This leader has committed nothing in its term yet: ask again. */
    RAFT_REFUSED_STOPPING,  /* Leadership is being handed over. */
    RAFT_REFUSED_UNDER_WAY, /* Another change is not complete. */
    RAFT_REFUSED_UNKNOWN,   /* No member has that id. */
    RAFT_REFUSED_PRESENT,   /* A member has that id, or is that already. */
    RAFT_REFUSED_BEHIND,    /* The learner has not caught up: ask again. */
    RAFT_REFUSED_LAST,      /* No voter would be left. */
    RAFT_REFUSED_TOO_MANY,  /* More than RAFT_MEMBER_COUNT_MAX, those that leave included. */
    RAFT_REFUSED_NO_ROOM,   /* The window takes no more now: ask again. */
    RAFT_REFUSED_INVALID, /* An id of 0, a context that is too large, `replaces` without a vote. */
};

/* One sentence without a full stop. */
const char *raft_verdict_text(enum raft_verdict verdict);

/* `*index` is that of the entry that begins the change; its outcome is unknown when this leader is
 * deposed before it is committed. */
MUST_USE enum raft_verdict raft_reconfigure(struct raft *raft, const struct raft_change *change,
                                            uint64_t now_ms, raft_index *index);

/* --- The log's prefix and snapshots ---- */

/* The caller has a durable snapshot at `index` (<= applied), whose entry has `term`, and may drop
 * the log up to there. Ignored when it is not ahead of the last one. */
void raft_compacted(struct raft *raft, raft_index index, raft_term term);

/* As leader: the log from here on is still wanted by a member that was heard lately, or follows a
 * snapshot on its way to one. Who compacts beyond it may have to send that member one more
 * snapshot, for ever if it compacts faster than it sends. Otherwise last + 1. */
raft_index raft_wanted_index(const struct raft *raft);

/* As leader: what raft_effects.snapshots asked for has ended. `ok`: `peer` said that it has
 * installed the snapshot at `index`, and is sent the entries behind it. */
void raft_snapshot_sent(struct raft *raft, raft_id peer, raft_index index, bool ok,
                        uint64_t now_ms);

/* A part of a snapshot came from `leader` in `term`: counts as hearing it. False when the term is
 * behind ours: then it is not to be taken. */
MUST_USE bool raft_heard(struct raft *raft, raft_term term, raft_id leader, uint64_t now_ms);

/* Is a snapshot at (index, term) of any use here? Asked before its first part is taken, and once
 * more before the state is replaced. */
MUST_USE bool raft_wants_snapshot(const struct raft *raft, raft_index index, raft_term term);

/* The caller replaces its state by a snapshot, from here until raft_installed(), or until it says
 * false because it could not: no campaign meanwhile. */
void raft_installing(struct raft *raft, bool is_installing);

/* The state has been replaced by the snapshot at `base`, which is durable, as is every unit handed
 * out before: raft_wants_snapshot() is true of it (otherwise ignored). What the log has behind the
 * base stays if it holds the entry of the base, and must stay in the caller's log, too: then
 * raft_status.last_index is behind the base. Else all of it goes. The next unit begins behind the
 * base. */
void raft_installed(struct raft *raft, const struct raft_base *base, uint64_t now_ms);

/* --- Handing over ---- */

/* As leader: hands over to the voter `target`. Proposals are refused until it leads or an election
 * timeout has passed; then all goes on as before. */
MUST_USE enum raft_verdict raft_transfer(struct raft *raft, raft_id target, uint64_t now_ms);

/* This node stops: as leader refuse proposals, and when the best follower has everything (or after
 * one election timeout) tell it to campaign and step down. Never campaigns any more. */
void raft_resign(struct raft *raft, uint64_t now_ms);

/* A unit has been under way to the disk for too long. A leader hands over to the best follower;
 * nobody campaigns with such a disk. Ends with the next raft_persisted(). */
void raft_disk_stalled(struct raft *raft, uint64_t now_ms);

/* As leader: our clock may have stood still until now. Promises that were asked for before do not
 * count. */
void raft_doubt_promises(struct raft *raft, uint64_t now_ms);

struct raft_read_ready {
    uint64_t id;
    enum error error; /* ERR_OK, or ERR_NOT_LEADER: leadership was lost before the round ended. */
    raft_index index; /* Serve once this is applied. */
    bool by_promises; /* Without a round of its own. */
};

struct raft_fetch {
    raft_id peer;
    raft_index first_index;
};

struct raft_snapshot_need {
    raft_id peer;
    raft_index index_min; /* The snapshot is at this index or a later one. */
};

struct raft_effects {
    /* 1. To be made durable as one unit. */
    bool hard_state_changed; /* Term or vote; the hint alone only when it has fallen far behind. */
    struct raft_hard_state hard_state;
    raft_index append_first_index; /* 0: nothing to append; else entries from here replace all. */
    uint32_t append_count;
    struct bytes append_first; /* Encoded entries in one or two runs, in the window. */
    struct bytes append_second;
    struct raft_tag tag;

    /* 2 and 3. Replies that rest on nothing still under way to the disk are in `send_now` already.
     * `send_durable` may be there with nothing to append: then it waits for an earlier unit. */
    const struct raft_message *send_now;
    uint32_t send_now_count;
    const struct raft_message *send_durable;
    uint32_t send_durable_count;

    /* 4. Everything up to here is committed; unchanged values are repeated. */
    raft_index commit_index;

    /* 5. */
    const struct raft_read_ready *reads;
    uint32_t read_count;

    /* Entries older than the window that a follower needs. Asked again when not answered. */
    const struct raft_fetch *fetches;
    uint32_t fetch_count;

    /* Members that lack entries which are gone. Repeated until raft_snapshot_sent() is told; the
     * caller that is at it already ignores that. */
    const struct raft_snapshot_need *snapshots;
    uint32_t snapshot_count;

    /* What counts now. Members that are not connected yet are to be dialled; those that are gone
     * may be dropped when the configuration is committed and they are not departing (status). */
    const struct raft_configuration *configuration;
    bool configuration_is_committed;
    bool configuration_changed; /* Either of the two, since the last collect or the start. */

    /* Call raft_tick() no later than this. */
    uint64_t wake_ms;
};

/* What is owed since the last call. Everything borrowed from the raft until the next event. False
 * when there is nothing to do (wake_ms and commit_index are set all the same). */
MUST_USE bool raft_collect(struct raft *raft, struct raft_effects *effects);

/* The entry at `index` when it is in the window: false when it is older or does not exist. Borrowed
 * until the next event. What is durable may have left the window before it was applied (found on
 * the disk at the start, or not committed for long): the caller then reads it from its log. */
MUST_USE bool raft_entry_at(const struct raft *raft, raft_index index, struct raft_entry *entry);

enum raft_role { RAFT_FOLLOWER, RAFT_PRE_CANDIDATE, RAFT_CANDIDATE, RAFT_LEADER };

const char *raft_role_name(enum raft_role role);

struct raft_status {
    enum raft_role role;
    raft_term term;
    raft_id leader;       /* 0: unknown. */
    bool leader_is_ready; /* We lead, and an entry of this term is committed. */
    raft_index last_index;
    raft_index durable_index;
    raft_index commit_index;
    raft_index window_first_index; /* First entry that raft_entry_at() can give; last + 1: none. */
    uint64_t uncommitted_bytes;
    uint64_t quorum_contact_ms; /* As leader: when a majority was last known to hear us, by the
                                   time of sending. */
    uint64_t lease_ms;          /* As leader: reads need no round before this; 0: they do. */
    raft_index base_index;      /* Entries up to here may be gone. */
    raft_index configuration_index;
    bool configuration_is_committed;
    bool is_voter;           /* Ourselves, in the present configuration. */
    bool is_removed;         /* The committed configuration does not have us, and one since the
                                opening did. */
    raft_id transfer_target; /* 0: none under way. */
    bool disk_is_stalled;
};

struct raft_status raft_status(const struct raft *raft);

/* As leader, what `peer` is known to have durable; 0 otherwise. */
raft_index raft_match_index(const struct raft *raft, raft_id peer);

/* As leader: has the learner `peer` kept up with the log for a round as short as an election
 * timeout (dissertation 4.2.1), and been heard lately? */
MUST_USE bool raft_has_caught_up(const struct raft *raft, raft_id peer);

/* As leader: is `peer`, which is no member any more, still being told so? */
MUST_USE bool raft_is_departing(const struct raft *raft, raft_id peer);

/* The present configuration. Borrowed until the next event. */
const struct raft_configuration *raft_configuration(const struct raft *raft);

/* Asserts every numbered invariant of docs/raft.md that one member can see. */
void raft_check(const struct raft *raft);

#endif
