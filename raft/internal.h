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

/* --- quorum.c: majorities over a set of members ---------------------------------------------- */

struct raft_members {
    raft_id ids[RAFT_MEMBER_COUNT_MAX];
    uint32_t count;
};

enum { RAFT_NOT_A_MEMBER = RAFT_MEMBER_COUNT_MAX };

/* Position of `id` in the set, or RAFT_NOT_A_MEMBER. */
uint32_t raft_members_find(const struct raft_members *members, raft_id id);

/* Do the members whose bits are set in `mask` form a majority? */
MUST_USE bool raft_quorum_reached(const struct raft_members *members, uint32_t mask);

/* The largest value that a majority has reached; values[i] belongs to ids[i]. */
uint64_t raft_quorum_value(const struct raft_members *members, const uint64_t *values);

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
};

void raft_trail_init(struct raft_trail *trail);

/* Is there a run, or one to be had by forgetting runs at or below `commit_index`, for one more
 * entry of `term`? */
MUST_USE bool raft_trail_has_room(const struct raft_trail *trail, raft_term term,
                                  raft_index commit_index);

/* Notes the term of the entry behind the last one. Asserts that there is room. */
void raft_trail_append(struct raft_trail *trail, raft_term term, raft_index commit_index);

/* Forgets `from_index` and all behind it. */
void raft_trail_truncate(struct raft_trail *trail, raft_index from_index);

/* False when the index is older than the trail, or behind the log. Index 0 has term 0. */
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

/*            a probe is acknowledged
 *   PROBE --------------------------> REPLICATE
 *     ^                                   |
 *     +-----------------------------------+
 *       refused, timed out, connection reset
 *
 * PROBE looks for the place where the logs agree, one message at a time. REPLICATE streams. */
enum raft_progress_state { RAFT_PROBE, RAFT_REPLICATE };

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
    bool probe_is_empty;    /* After silence: probe without entries. */
    uint64_t pause_ms;      /* Nothing is sent before: the follower had no room. */
    uint64_t round;         /* The newest round that it echoed in this term. */
    uint64_t contact_ms;    /* When that round was sent; 0: never. */
    raft_index fetch_index; /* Asked of the caller; 0: nothing. */
    uint64_t fetch_ms;      /* When it was asked. */
    raft_index known_index; /* An index older than the trail whose term a fetch has told; */
    raft_term known_term;   /* 0: none. */
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

/* What is in flight is taken for lost. */
void raft_progress_reset(struct raft_progress *progress, bool probe_is_empty);

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
    struct raft_progress progress; /* Has meaning while we lead. */
    struct raft_message letters[RAFT_LETTER_COUNT];
    uint32_t letter_mask; /* Which of them are owed. */
};

struct raft_read_request {
    uint64_t id;
    uint64_t round;   /* 0: no round begun for it yet. */
    raft_index index; /* Commit index when the round began. */
    bool is_ready;
    enum error error;
};

enum {
    RAFT_ROUND_HISTORY_COUNT = 64, /* Sending times of the newest rounds. */
    RAFT_READ_ROUND_COUNT_MAX = 4, /* Rounds begun for reads and not yet confirmed. */
    RAFT_RETRY_HEARTBEATS = 4,     /* Silence after which an append or a fetch is repeated. */
    RAFT_LAG_HEARTBEATS = 2,       /* Age at which a heartbeat's reply can show an append lost. */
};

struct raft {
    struct raft_options options;
    struct raft_members members;
    uint32_t self_at;        /* Our position among the members. */
    uint32_t entry_size_max; /* What a proposal may take in the window. */
    bool is_started;
    uint64_t now_ms;
    struct prng prng;

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
    uint64_t persisted_unit;
    struct raft_tag tag; /* Of the last unit. */

    /* The role. */
    enum raft_role role;
    raft_id leader;
    uint64_t leader_heard_ms;
    uint64_t election_ms; /* When the present wait for a leader or for votes ends. */
    uint32_t votes;       /* Members that granted, by position. */
    bool is_resigning;
    uint64_t resign_ms;

    /* A follower's view of its leader's log, in this term. */
    raft_index validated_index;
    raft_index leader_commit_index;

    /* A leader's own. */
    uint64_t leader_since_ms;
    uint64_t heartbeat_ms; /* When the next one is due. */
    bool noop_is_owed;
    uint64_t request; /* Number of the last AppendEntries. */
    uint64_t round;
    uint64_t round_ms[RAFT_ROUND_HISTORY_COUNT];
    struct raft_peer peers[RAFT_MEMBER_COUNT_MAX];
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
    struct raft_fetch fetches[RAFT_MEMBER_COUNT_MAX];
    uint32_t fetch_count;
    raft_index commit_told;
};

/* --- raft.c ---------------------------------------------------------------------------------- */

void raft_time_set(struct raft *raft, uint64_t now_ms);

/* --- entries.c: the log in memory: window, trail and durable marks together ------------------- */

raft_index raft_last_index(const struct raft *raft);
raft_term raft_last_term(const struct raft *raft);

/* False when the index is behind the log, or so old that only the disk knows. */
MUST_USE bool raft_term_at(const struct raft *raft, raft_index index, raft_term *term);

/* Appends. False, with nothing changed, when window or trail have no room. */
MUST_USE bool raft_entries_append(struct raft *raft, const struct raft_entry *entry,
                                  struct bytes second);

/* Cuts off `from_index`, which is not committed, and all behind it. */
void raft_entries_truncate(struct raft *raft, raft_index from_index);

/* Could one more entry of `term` and `size` bytes be appended, old ones being forgotten? */
MUST_USE bool raft_entries_make_room(struct raft *raft, raft_term term, uint32_t size);

void raft_commit_advance(struct raft *raft, raft_index index);

/* --- election.c ------------------------------------------------------------------------------ */

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

/* --- transfer.c ------------------------------------------------------------------------------ */

/* A resigning leader hands over when it is time. */
void raft_transfer_step(struct raft *raft);
void raft_timeout_now_receive(struct raft *raft, const struct raft_message *message);

/* --- read.c ---------------------------------------------------------------------------------- */

void raft_read_begin_round(struct raft *raft);
void raft_read_confirm(struct raft *raft);
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
