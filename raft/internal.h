/* raft/internal.h: what the files of raft/ share; no other folder includes it.
 *
 * One struct raft holds everything: the log (window of bytes, trail of terms, durable marks), the
 * role, one peer for each member, the reads that wait, and the effects that are owed. Each file
 * owns one part and is listed below with the functions that the others may call. */
#ifndef RAFT_INTERNAL_H
#define RAFT_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/macros.h"
#include "base/prng.h"
#include "raft/entry.h"
#include "raft/message.h"
#include "raft/raft.h"

/* --- quorum.c: majorities over sets of places ------------------------------------------------- */

/* Everybody we speak with has a place: we ourselves, the members, and the latest strangers. Sets of
 * them are bits by place. */
enum {
    RAFT_PLACE_COUNT = 16,
    RAFT_SELF = 0, /* Our own place, member or not. */
    RAFT_NOWHERE = RAFT_PLACE_COUNT,
};

_Static_assert(RAFT_PLACE_COUNT >= 1 + RAFT_MEMBER_COUNT_MAX + 1,
               "we, all members when we are none of them, and a stranger");

/* The first place of the set that is `from` or behind it; RAFT_PLACE_COUNT when there is none. */
static inline uint32_t raft_place_next(uint32_t set, uint32_t from)
{
    uint32_t rest = set & ~((1U << from) - 1);

    return rest == 0 ? RAFT_PLACE_COUNT : (uint32_t)__builtin_ctz(rest);
}

struct raft_quorum {
    uint32_t voters;
    uint32_t outgoing; /* 0: not joint. */
};

/* Do the places whose bits are set in `mask` have a majority, in both sets if there are two? */
MUST_USE bool raft_quorum_reached(const struct raft_quorum *quorum, uint32_t mask);

/* The largest value that a majority has reached, in both sets if there are two; by place. */
uint64_t raft_quorum_value(const struct raft_quorum *quorum,
                           const uint64_t values[RAFT_PLACE_COUNT]);

/* --- trail.c: the term of every index, run-length encoded ------------------------------------ */

enum { RAFT_TRAIL_RUN_COUNT_MAX = 256 };

struct raft_trail {
    struct {
        raft_index first_index;
        raft_term term;
    } runs[RAFT_TRAIL_RUN_COUNT_MAX]; /* Ascending in both. */
    uint32_t count;
    uint32_t count_max;    /* RAFT_TRAIL_RUN_COUNT_MAX; tests make it smaller. */
    raft_index last_index; /* Of the log. */
    raft_index base_index; /* Of the log's base, whose term is always known. */
    raft_term base_term;
};

/* Is so much of the trail behind `hint_index`, and not behind `commit_index`, that a restart that
 * only knows the first had better know the second? */
MUST_USE bool raft_trail_outruns(const struct raft_trail *trail, raft_index hint_index,
                                 raft_index commit_index);

/* An empty log behind this base. */
void raft_trail_init(struct raft_trail *trail, raft_index base_index, raft_term base_term);

/* Is there a run, or one to be had by forgetting runs at or below `commit_index`, for one more
 * entry of `term`? */
MUST_USE bool raft_trail_has_room(const struct raft_trail *trail, raft_term term,
                                  raft_index commit_index);

/* Notes the term of the entry behind the last one. Asserts that there is room. */
void raft_trail_append(struct raft_trail *trail, raft_term term, raft_index commit_index);

/* Forgets `from_index` and all behind it. */
void raft_trail_truncate(struct raft_trail *trail, raft_index from_index);

/* The base moves up. */
void raft_trail_rebase(struct raft_trail *trail, raft_index base_index, raft_term base_term);

/* False when the index is older than the trail and not the base, or behind the log. */
MUST_USE bool raft_trail_term(const struct raft_trail *trail, raft_index index, raft_term *term);

/* The largest index <= `index` whose term is <= `term`. Where only forgotten ones can be meant:
 * the newest forgotten one. */
raft_index raft_trail_find(const struct raft_trail *trail, raft_index index, raft_term term);

/* --- window.c: the newest entries as bytes in a ring ----------------------------------------- */

struct raft_slot {
    raft_term term;
    uint64_t end;    /* Bytes of all entries up to and with this one, since the window's init. */
    uint32_t offset; /* Where its bytes begin in the ring; they never straddle the wrap. */
    uint32_t size;
};

struct raft_window {
    uint8_t *data;
    uint32_t size;
    struct raft_slot *slots;
    uint32_t slot_count_max;
    uint32_t slot_first; /* Slot of the first entry. */
    uint32_t count;
    raft_index first_index; /* Of the first entry; where the window is empty, of the next. */
};

/* Whole entries in one or two runs of bytes. */
struct raft_slice {
    uint32_t count;
    struct bytes first;
    struct bytes second;
};

void raft_window_init(struct raft_window *window, uint8_t *data, uint32_t size,
                      struct raft_slot *slots, uint32_t slot_count_max);

/* Room for the entry behind the last one; NULL when there is none. */
MUST_USE uint8_t *raft_window_push(struct raft_window *window, raft_term term, uint32_t size);

/* Forgets everything; the next entry is `first_index`. */
void raft_window_reset(struct raft_window *window, raft_index first_index);

void raft_window_drop_first(struct raft_window *window);

/* Forgets `from_index` and all behind it; where that is before the window, it becomes empty. */
void raft_window_truncate(struct raft_window *window, raft_index from_index);

/* NULL when the index is not in the window. */
const struct raft_slot *raft_window_slot(const struct raft_window *window, raft_index index);

/* Entries from `first_index`, which is in the window, on: as many as fit in `size_max` bytes, but
 * at least one. */
struct raft_slice raft_window_slice(const struct raft_window *window, raft_index first_index,
                                    uint64_t size_max);

/* Bytes of the entries of the window behind `index`. */
uint64_t raft_window_bytes_after(const struct raft_window *window, raft_index index);

/* --- progress.c: what a leader knows of one follower ----------------------------------------- */

enum { RAFT_INFLIGHT_COUNT_MAX = 32 };

/*             what it needs is gone           a probe is acknowledged
 *   SNAPSHOT <---------------------- PROBE --------------------------> REPLICATE
 *      |                             ^   ^                                 |
 *      +-----------------------------+   +---------------------------------+
 *        told, or matches the base         refused, timed out, connection reset
 *
 * PROBE looks for the place where the logs agree, one message at a time. REPLICATE streams. In
 * SNAPSHOT nothing is sent but heartbeats. */
enum raft_progress_state { RAFT_PROBE, RAFT_REPLICATE, RAFT_SNAPSHOT };

struct raft_flight {
    uint64_t request;
    raft_index previous_index;
    raft_index last_index;
    uint64_t sent_ms;
};

struct raft_progress {
    enum raft_progress_state state;
    raft_index match_index; /* Durable there and equal to our log; never falls within a term. */
    raft_index next_index;  /* First entry of the next message. */
    struct raft_flight flights[RAFT_INFLIGHT_COUNT_MAX]; /* In the order of sending. */
    uint32_t flight_count;
    bool probe_is_empty;       /* After silence: probe without entries. */
    uint64_t pause_ms;         /* Nothing is sent before: the follower had no room. */
    uint64_t round;            /* The newest round that it echoed in this term. */
    uint64_t contact_ms;       /* When that round was sent; 0: never. */
    raft_index fetch_index;    /* Asked of the caller; 0: nothing. */
    uint64_t fetch_ms;         /* When it was asked. */
    raft_index known_index;    /* An index older than the trail whose term a fetch has told; */
    raft_term known_term;      /* 0: none. */
    raft_index snapshot_index; /* In SNAPSHOT: the least index of the snapshot; */
    uint64_t snapshot_ms;      /* when it was asked for; 0: not yet. */
};

void raft_progress_init(struct raft_progress *progress, raft_index next_index);

/* May another message leave now, and is there a reason for it? */
MUST_USE bool raft_progress_is_due(const struct raft_progress *progress, raft_index last_index,
                                   uint32_t inflight_count_max, uint64_t now_ms);

void raft_progress_sent(struct raft_progress *progress, const struct raft_flight *flight);

/* The follower has everything up to `match_index` durable. `pause_until_ms` holds when it took
 * nothing of what it was sent. */
void raft_progress_acknowledge(struct raft_progress *progress, uint64_t request,
                               raft_index match_index, uint64_t pause_until_ms);

/* The flight of a request that may be refused: NULL when it is not under way any more, or when
 * the follower has confirmed that place before. */
const struct raft_flight *raft_progress_find(const struct raft_progress *progress,
                                             uint64_t request);

/* `flight` of this progress was refused; the logs may agree at `hint_index`. */
void raft_progress_refuse(struct raft_progress *progress, const struct raft_flight *flight,
                          raft_index hint_index);

/* What is in flight is taken for lost; a snapshot is asked for again. */
void raft_progress_reset(struct raft_progress *progress, bool probe_is_empty);

/* Nothing can be sent before the follower has a snapshot at `base_index` or a later one. */
void raft_progress_need_snapshot(struct raft_progress *progress, raft_index base_index);

/* Looks for the follower's match at `previous_index` next. */
void raft_progress_probe(struct raft_progress *progress, raft_index previous_index);

/* --- The whole ------------------------------------------------------------------------------- */

/* One message of each kind is owed to a peer at most; a newer one replaces an older one. So the
 * arrays of a collect are bounded by construction, and nothing is ever dropped. */
enum raft_letter {
    RAFT_LETTER_VOTE_REQUEST,
    RAFT_LETTER_VOTE_REPLY,
    RAFT_LETTER_PRE_VOTE_REPLY,
    RAFT_LETTER_APPEND_REPLY,
    RAFT_LETTER_APPEND_REFUSAL,
    RAFT_LETTER_HEARTBEAT,
    RAFT_LETTER_HEARTBEAT_REPLY,
    RAFT_LETTER_TIMEOUT_NOW,
    RAFT_LETTER_COUNT
};

struct raft_peer {
    struct raft_message letters[RAFT_LETTER_COUNT];
    uint32_t letter_mask; /* Which of them are owed. */

    /* Has meaning while we lead, for members and for those who depart. */
    struct raft_progress progress;
    raft_index catch_up_index;  /* A learner's round ends when it matches this; 0: none begun. */
    uint64_t catch_up_ms;       /* When the round began. */
    bool is_caught_up;          /* The last round was short. */
    uint64_t lease_ms;          /* It votes for nobody else before, by our clock. */
    raft_index departure_index; /* Of the configuration that does not have it any more. */
    uint64_t departure_round;   /* Whose answer ends the departure; 0: not yet. */
    uint64_t departure_ms;      /* When it ends in any case. */
};

struct raft_read_request {
    uint64_t id;
    uint64_t round;   /* 0: no round begun for it yet. */
    raft_index index; /* Commit index when the round began. */
    bool is_ready;
    bool by_promises;
    enum error error;
};

enum {
    RAFT_ROUND_HISTORY_COUNT = 64, /* Sending times of the newest rounds. */
    RAFT_READ_ROUND_COUNT_MAX = 4, /* Rounds begun for reads and not yet confirmed. */
    RAFT_RETRY_HEARTBEATS = 4,     /* Silence after which an append or a fetch is repeated. */
    RAFT_LAG_HEARTBEATS = 2,       /* Age at which a heartbeat's reply can show an append lost. */
    RAFT_DEPARTURE_TIMEOUTS = 10,  /* Election timeouts for which one that left is told so. */
};

struct raft {
    struct raft_options options;
    uint32_t entry_size_max; /* What a proposal may take in the window. */
    bool is_started;
    uint64_t now_ms;
    struct prng prng;

    /* Who is who. */
    struct raft_configuration configuration;        /* The newest in the log. */
    struct raft_configuration configuration_before; /* What counts when that one is cut off. */
    struct raft_quorum quorum;                      /* The sets of the newest, by place. */
    uint32_t learners;
    uint32_t members;   /* All of them, ourselves included where we are one. */
    uint32_t departing; /* As leader: not members any more, and still to be told so. */
    uint32_t stranger_next;
    raft_id ids[RAFT_PLACE_COUNT]; /* 0: the place is free. */
    struct raft_peer peers[RAFT_PLACE_COUNT];
    uint32_t owed;              /* Places with letters. */
    bool was_member;            /* In some configuration since the opening. */
    bool configuration_changed; /* Since the last collect. */
    bool configuration_told;    /* As committed. */

    /* The log. */
    struct raft_window window;
    struct raft_trail trail;
    raft_index restored_index; /* Found on the disk at the start. */
    raft_index durable_index;  /* Everything up to here is on our disk as it is in memory. */
    raft_index commit_index;
    raft_index applied_index;
    raft_index unsaved_index; /* First entry that no unit has carried yet. */
    uint64_t epoch;

    /* Durable units. */
    raft_term term;
    raft_id vote;
    bool hard_state_changed;  /* Since the last collect. */
    uint64_t hard_state_unit; /* The last unit that carried a change. */
    raft_index hint_index;    /* Commit index of the last hard state that left. */
    uint64_t persisted_unit;
    struct raft_tag tag; /* Of the last unit. */

    /* The role. */
    enum raft_role role;
    raft_id leader;
    uint64_t leader_heard_ms;
    uint64_t election_ms; /* When the present wait for a leader or for votes ends. */
    uint32_t votes;       /* Voters that granted, by place. */
    uint64_t promise_ms;  /* We promised a leader to vote for nobody else before. */
    bool is_installing;   /* The caller replaces its state by a snapshot. */
    bool disk_is_stalled;
    bool is_resigning;

    /* A follower's view of its leader's log, in this term. */
    raft_index validated_index;
    raft_index leader_commit_index;

    /* A leader's own. */
    uint64_t leader_since_ms;
    uint64_t promises_since_ms; /* Promises that were asked for before do not count. */
    uint64_t heartbeat_ms;      /* When the next one is due. */
    bool noop_is_owed;
    bool round_is_owed; /* The newest round has not left yet. */
    uint64_t leave_ms;  /* We hand over and step down, at this time at the latest; 0: we stay. */
    raft_id transfer_target; /* We hand over to this one; 0: no. */
    uint64_t transfer_ms;    /* And give up at this time. */
    bool transfer_is_sent;   /* The order to campaign has left. */
    bool lease_is_given_up;  /* For this term: such an order may still arrive. */
    uint64_t request;        /* Number of the last AppendEntries. */
    uint64_t round;
    uint64_t round_ms[RAFT_ROUND_HISTORY_COUNT];
    uint8_t noop_payload[RAFT_NOOP_PAYLOAD_SIZE_MAX];
    uint32_t noop_payload_size;

    /* Reads, oldest first: those that are ready, then those whose round is under way, then those
     * that have none yet. */
    struct raft_read_request *reads;
    uint32_t read_first;
    uint32_t read_count;
    uint32_t read_ready_count;

    /* Old entries on their way to one follower. */
    uint8_t *fetched;
    uint32_t fetched_capacity;
    raft_id fetched_peer; /* 0: none. */
    raft_index fetched_index;
    uint32_t fetched_count;
    uint32_t fetched_size;

    /* What raft_collect() hands out. */
    struct raft_message *send_now;
    uint32_t send_now_count;
    struct raft_message *send_durable;
    uint32_t send_durable_count;
    uint32_t send_count_max;
    struct raft_read_ready *reads_out;
    struct raft_fetch fetches[RAFT_PLACE_COUNT];
    uint32_t fetch_count;
    struct raft_snapshot_need snapshots[RAFT_PLACE_COUNT];
    uint32_t snapshot_count;
    raft_index commit_told;
};

/* --- raft.c ---------------------------------------------------------------------------------- */

void raft_time_set(struct raft *raft, uint64_t now_ms);

/* --- members.c: places, and the configuration that counts ------------------------------------- */

/* RAFT_NOWHERE when it has none. */
uint32_t raft_place_find(const struct raft *raft, raft_id id);

/* Its place; where it has none, the oldest stranger makes way. */
uint32_t raft_place_take(struct raft *raft, raft_id id);

/* Members and those who depart, without ourselves: who gets heartbeats and entries of a leader. */
uint32_t raft_followers(const struct raft *raft);

/* All who vote, ourselves included if we do. */
uint32_t raft_voters(const struct raft *raft);

MUST_USE bool raft_self_is_voter(const struct raft *raft);
MUST_USE bool raft_self_may_lead(const struct raft *raft);
MUST_USE bool raft_configuration_is_committed(const struct raft *raft);

/* `configuration` counts from now on, and nothing is known of one before it. */
void raft_members_begin(struct raft *raft, const struct raft_configuration *configuration);

/* An entry of that kind was appended, or is cut off with all from `from_index` on. */
void raft_members_appended(struct raft *raft, const struct raft_configuration *configuration);
void raft_members_truncated(struct raft *raft, raft_index from_index);

/* --- entries.c: the log in memory: window, trail and durable marks together ------------------- */

raft_index raft_last_index(const struct raft *raft);
raft_term raft_last_term(const struct raft *raft);

/* False when the index is behind the log, or so old that only the disk knows. */
MUST_USE bool raft_term_at(const struct raft *raft, raft_index index, raft_term *term);

/* Appends; a configuration counts from then on, and its payload is valid. False, with nothing
 * changed, when window or trail have no room. */
MUST_USE bool raft_entries_append(struct raft *raft, const struct raft_entry *entry,
                                  struct bytes second);

/* Cuts off `from_index`, which is not committed, and all behind it. */
void raft_entries_truncate(struct raft *raft, raft_index from_index);

/* Could one more entry of `term` and `size` bytes be appended, old ones being forgotten? */
MUST_USE bool raft_entries_make_room(struct raft *raft, raft_term term, uint32_t size);

void raft_commit_advance(struct raft *raft, raft_index index);

/* --- election.c ------------------------------------------------------------------------------ */

void raft_election_begin(struct raft *raft);
void raft_election_arm(struct raft *raft);
void raft_election_tick(struct raft *raft);
void raft_election_persisted(struct raft *raft);
void raft_election_follow(struct raft *raft, raft_term term, raft_id leader);
void raft_election_campaign(struct raft *raft, bool transfer);
void raft_vote_request_receive(struct raft *raft, const struct raft_message *message);
void raft_vote_reply_receive(struct raft *raft, const struct raft_message *message);

/* --- follow.c: the follower's side of replication -------------------------------------------- */

void raft_append_receive(struct raft *raft, const struct raft_message *message);
void raft_heartbeat_receive(struct raft *raft, const struct raft_message *message);

/* The sender leads in a term that is not behind ours: we follow it from now on. Else false. */
MUST_USE bool raft_follow_accept(struct raft *raft, raft_term term, raft_id leader);

/* --- replicate.c: the leader's side ---------------------------------------------------------- */

void raft_lead_begin(struct raft *raft);
void raft_lead_tick(struct raft *raft);
void raft_lead_heartbeat(struct raft *raft);

/* Appends the no-op that begins the term, if it is still owed and there is room. */
void raft_lead_noop(struct raft *raft);
void raft_lead_commit(struct raft *raft);
void raft_append_reply_receive(struct raft *raft, const struct raft_message *message);
void raft_heartbeat_reply_receive(struct raft *raft, const struct raft_message *message);

/* Messages with entries to every follower that may have one. */
void raft_lead_send(struct raft *raft);

/* When a majority last heard us, by our time of sending; 0: not yet in this term. */
uint64_t raft_quorum_contact(const struct raft *raft);

/* The same for deciding, where the election counts as contact. */
uint64_t raft_quorum_contact_or_start(const struct raft *raft);
uint64_t raft_retry_ms(const struct raft *raft);
bool raft_leader_is_ready(const struct raft *raft);

/* --- fetch.c: entries older than the window -------------------------------------------------- */

void raft_fetch_ask(struct raft *raft, uint32_t at, raft_index index);

/* True when the entries from `index` on are here for this follower. */
MUST_USE bool raft_fetch_take(struct raft *raft, uint32_t at, raft_index index,
                              struct raft_slice *slice, raft_index *last_index);

/* --- change.c: changes of members ------------------------------------------------------------ */

/* As leader: the second step of a change, promotions, the end of departures. */
void raft_change_step(struct raft *raft);

/* A follower has a place in our log from now on, which ends at present at the last index. */
void raft_follower_begin(struct raft *raft, uint32_t at);

/* These are not members any more. */
void raft_departure_begin(struct raft *raft, uint32_t mask);

/* A learner has acknowledged entries. */
void raft_catch_up_note(struct raft *raft, uint32_t at);

/* --- snapshot.c: the log's prefix ----------------------------------------------------------- */

/* As leader: names the followers that lack what is gone. */
void raft_snapshot_ask(struct raft *raft);

/* --- transfer.c ------------------------------------------------------------------------------ */

/* A leader that leaves or hands over does so when it is time. */
void raft_transfer_step(struct raft *raft);

/* Are proposals refused, because leadership is being handed over? */
MUST_USE bool raft_is_handing_over(const struct raft *raft);
void raft_timeout_now_receive(struct raft *raft, const struct raft_message *message);

/* --- read.c ---------------------------------------------------------------------------------- */

void raft_read_begin_round(struct raft *raft);
void raft_read_confirm(struct raft *raft);

/* Until when reads need no round; 0: they do. */
uint64_t raft_lease_until(const struct raft *raft);
void raft_read_fail_all(struct raft *raft);
uint32_t raft_read_take_ready(struct raft *raft);

/* --- effects.c ------------------------------------------------------------------------------- */

/* The letter to `at` of that kind, to be filled by the caller; source, target and term are set. */
struct raft_message *raft_letter_put(struct raft *raft, uint32_t at, enum raft_letter letter,
                                     enum raft_message_kind kind);
bool raft_letter_is_owed(const struct raft *raft, uint32_t at, enum raft_letter letter);
void raft_letters_clear(struct raft *raft);

/* A message with entries, for this collect only. */
struct raft_message *raft_send_now_put(struct raft *raft, uint32_t at, enum raft_message_kind kind);

/* Has every change of term or vote reached the disk? */
MUST_USE bool raft_hard_state_is_durable(const struct raft *raft);

#endif
