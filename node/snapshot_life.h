/* node/snapshot_life.h: what node/internal.h has on snapshots in the life of a node.
 *
 * Taken and cut behind, sent, installed, asked for after a loss, compared. Included by
 * node/internal.h alone; each file owns one part, like there. */
#ifndef NODE_SNAPSHOT_LIFE_H
#define NODE_SNAPSHOT_LIFE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/macros.h"
#include "node/limits.h"
#include "node/node.h"
#include "node/origin.h"
#include "node/snapshot.h"
#include "raft/raft.h"
#include "wire/frame.h"

struct node;

/* --- compaction.c: snapshots are taken, and the log behind them is dropped -------------------- */

struct compaction {
    raft_term term;                          /* Of the entry applied last, and */
    struct raft_configuration configuration; /* what counts there. */
    uint64_t written_before;                 /* Bytes of the log that opening found, about. */
    uint64_t written_mark;    /* Bytes of the log when the newest snapshot was begun; */
    uint64_t saving_mark;     /* and when the one under way was. */
    raft_index wanted_index;  /* Somebody waits for a snapshot here or beyond; 0: nobody. */
    uint64_t retry_ms;        /* No new one before; NEVER. */
    raft_index dropped_index; /* What the log had up to here is gone, or goes. */
    raft_index cut_index;     /* It is to be dropped up to here; 0: nothing is. */
    raft_term cut_term;
    uint64_t cut_ticket; /* Once this is durable. */
    uint64_t cut_mark;
};

/* The state is at `base` now; the log has about so many bytes. */
void compaction_open(struct node *node, const struct raft_base *base, uint64_t log_size);
void compaction_applied(struct node *node, const struct raft_entry *entry);
void compaction_installed(struct node *node, const struct raft_base *base);
/* The table was just committed at the applied index. */
void compaction_committed(struct node *node);
void compaction_want(struct node *node, raft_index index);
/* One that is wanted could be begun now. */
MUST_USE bool compaction_waits(const struct node *node);
/* The log begins behind `index` now. */
void compaction_log_began(struct node *node, raft_index index);
void compaction_tick(struct node *node);
/* A file is not to be used. */
void compaction_refused(struct node *node, const struct snapshot_event *event);
/* Of all that snapshots do: told to whom it concerns. */
void compaction_take_events(struct node *node);

/* --- shipping.c: a leader sends its newest snapshot ------------------------------------------- */

struct shipment {
    raft_id peer;              /* 0: the slot is free. */
    raft_index index_min;      /* An older file is of no use. */
    uint64_t request;          /* Of a node that asked; 0: raft did. */
    struct snapshot_file file; /* Index 0: none yet. */
    bool flows;                /* The peer has said where it is. */
    uint64_t taken_offset;     /* Up to here the peer has it, */
    uint64_t next_offset;      /* and up to here it was sent. */
    uint64_t sent_bytes;       /* Of chunks; what was lost on the way was sent again. */
    uint64_t heard_ms;
    uint64_t offered_ms;
    uint64_t rewound_ms;
};

struct shipping {
    struct shipment slots[SNAPSHOT_SENDER_COUNT_MAX]; /* Slots of the readers, too. */
    int64_t tokens;                                   /* Bytes that may be sent now; the pace. */
    uint64_t token_ms;
    uint64_t sent_bytes; /* Of chunks, in all. */
};

void shipping_note_needs(struct node *node, const struct raft_effects *effects);
/* The log from here on follows what is being sent; UINT64_MAX: nothing is. */
raft_index shipping_wanted_index(const struct node *node);
void shipping_tick(struct node *node);
uint64_t shipping_wake_ms(const struct node *node);
/* False when the frame is not valid. */
MUST_USE bool shipping_take_reply(struct node *node, const struct wire_frame *frame);
MUST_USE bool shipping_take_request(struct node *node, const struct wire_frame *frame);

/* --- installation.c: a leader's snapshot takes the place of the state --------------------------
 */

struct installation {
    raft_id leader;             /* Who offered last; 0: nobody. */
    struct snapshot_file offer; /* And what. */
    bool is_loading;
    struct raft_base base; /* Of what is loaded. */
    uint64_t log_ms;
    uint64_t taken_bytes; /* Of chunks, in all. */
};

/* Nothing is to be read from the table now. */
MUST_USE bool node_state_is_away(const struct node *node);
/* False when the configuration is not to be read. */
MUST_USE bool snapshot_base_to_raft(const struct snapshot_base *from, struct raft_base *base);
/* False when the frame is not valid. */
MUST_USE bool installation_take_offer(struct node *node, const struct wire_frame *frame);
MUST_USE bool installation_take_chunk(struct node *node, const struct wire_frame *frame);
void installation_received(struct node *node, const struct snapshot_event *event);
void installation_begin(struct node *node, const struct snapshot_file *file);
void installation_loaded(struct node *node, const struct snapshot_event *event);

/* --- backups.c: a client fetches a snapshot ----------------------------------------------------
 */

struct backup {
    struct origin origin; /* Who asked last; the file is kept for that connection. */
    raft_index index;     /* Of its file; 0: the slot is free. */
    uint64_t id;
    bool is_asked; /* A chunk is owed. */
    uint64_t heard_ms;
};

struct backups {
    struct backup slots[SNAPSHOT_BACKUP_COUNT_MAX];
};

void backups_open(struct node *node, const struct origin *origin, struct bytes params);
/* Everything acknowledged before the request is at or before `index`, which is applied. */
void backups_answer(struct node *node, const struct origin *origin, raft_index index);
void backups_read(struct node *node, const struct origin *origin, struct bytes params);
void backups_tick(struct node *node);

/* --- backing.c: a backup founds a cluster -----------------------------------------------------
 */

struct backing {
    uint64_t id; /* Of the file `restore`; 0: there is none. */
    raft_term term;
};

/* Reads the file, if there is one: the table has its state from now on. */
MUST_USE enum error backing_open(struct node *node);
/* Before the identity is saved; false when the node has failed. */
MUST_USE bool backing_found(struct node *node, const struct identity *identity);
/* And when it is; false likewise. */
MUST_USE bool backing_remove(struct node *node);
/* The node goes on from the state. */
void backing_end(struct node *node);

/* --- agreement.c: are the states of the members equal? -----------------------------------------
 */

struct state_mark {
    raft_index index; /* A multiple of state_mark_interval; 0: none yet. */
    uint64_t hash;
};

struct agreement {
    struct state_mark own[STATE_MARK_COUNT];      /* By the number of the mark. */
    struct state_mark peers[NODE_PEER_COUNT_MAX]; /* What each said last, */
    raft_id ids[NODE_PEER_COUNT_MAX];             /* and who that was. */
};

void agreement_applied(struct node *node, raft_index index);
/* False when the frame is not valid. */
MUST_USE bool agreement_take(struct node *node, const struct wire_frame *frame);

/* --- restoration.c: a disk that has lost what may have been acknowledged -----------------------
 */

struct restoration {
    bool is_on;
    bool is_received;          /* The snapshot is there, */
    raft_index received_index; /* and it is this one. */
    uint64_t request;          /* Comes back in the offer. */
    raft_term term; /* The newest that a leader was heard in, or that we have promised. */
    const char *reason;
    uint64_t ask_ms;
    uint64_t line_ms;
};

void restoration_begin(struct node *node, const char *reason, raft_term term);
/* False for a leader whose time is over. */
MUST_USE bool restoration_heard(struct node *node, raft_term term);
void restoration_received(struct node *node, raft_index index);
void restoration_tick(struct node *node);
uint64_t restoration_wake_ms(const struct node *node);

#endif
