/* node/limits.h: how much of everything a node holds, and how the limits hang together.
 *
 * What an operator may want to change is in struct node_options; these follow from the design.
 * With -DLIMITS_TINY the queues are so short that tests meet their ends all the time. */
#ifndef NODE_LIMITS_H
#define NODE_LIMITS_H

#include "log/log.h"
#include "node/envelope.h"
#include "node/node.h"
#include "node/snapshot.h"
#include "raft/entry.h"
#include "raft/raft.h"
#include "wire/frame.h"
#include "wire/wire.h"

enum {
#ifdef LIMITS_TINY
    READ_BATCH_COUNT_MAX = 2,      /* ReadIndex rounds under way; later reads wait together. */
    READ_PARAMS_SIZE_MAX = 1024,   /* Of one read's params. */
    READ_PARAMS_BYTES = 4096,      /* Of all reads under way. */
    HELD_COUNT_MAX = 16,           /* Messages held back for a write; more are dropped. */
    STAGED_COUNT_MAX = 2,          /* Tickets under way; more share the newest slot. */
    RENEWAL_ENTRY_COUNT_MAX = 4,   /* Sessions renewed by one entry. */
    APPLY_COUNT_MAX = 3,           /* Entries applied in one turn. */
    SERVE_COUNT_MAX = 2,           /* Reads answered in one turn. */
    PASS_COUNT_MAX = 8,            /* Requests under way to the leader for our clients, */
    PASS_CONNECTION_COUNT_MAX = 4, /* and for one of them. */
    OBSERVER_COUNT_MAX = 2,        /* Reads of elections that wait for a change. */
    REVOCATION_COUNT_MAX = 2,      /* Forced unlocks that one answer to a renewal tells of; */
    REVOCATION_SCAN_MAX = 3,       /* and records of the audit that are looked at for it. */
    WATCH_SEND_COUNT_MAX = 3,      /* Changes told in one turn. */
    WATCH_SCAN_COUNT_MAX = 4,      /* Changes that one watch looks at before the next one's turn. */
    WATCH_SCAN_TURN_MAX = 12,      /* Of all of them in one turn. */
    WATCH_CONNECTION_COUNT_MAX = 4, /* Watches of one connection. */
#else
    READ_BATCH_COUNT_MAX = 256,
    READ_PARAMS_SIZE_MAX = 4096,
    READ_PARAMS_BYTES = 1 << 20,
    HELD_COUNT_MAX = 1024,
    STAGED_COUNT_MAX = 256,
    RENEWAL_ENTRY_COUNT_MAX = 4096,
    APPLY_COUNT_MAX = 2048,
    SERVE_COUNT_MAX = 2048,
    PASS_COUNT_MAX = 4096,
    PASS_CONNECTION_COUNT_MAX = 1024,
    OBSERVER_COUNT_MAX = 1024,
    REVOCATION_COUNT_MAX = 64,
    REVOCATION_SCAN_MAX = 256,
    WATCH_SEND_COUNT_MAX = 4096,
    WATCH_SCAN_COUNT_MAX = 256,
    WATCH_SCAN_TURN_MAX = 8192,
    WATCH_CONNECTION_COUNT_MAX = 1024,
#endif
    WATCH_SEND_BYTES_MAX = 2 << 20, /* Of changes told in one turn; one is always told. */
    WATCH_ROOM_REST = WIRE_FRAME_SIZE_MAX + (64 << 10), /* Of a connection's output, for answers. */
    WATCH_NOTICE_SIZE = 384,     /* What a notice adds to its texts at most. */
    WATCH_CHANGE_COST = 64,      /* What a change costs of the credit beside its texts. */
    WATCH_PROGRESS_MS = 2000,    /* Who has heard nothing for so long is told how far it is. */
    WATCH_SWEEP_MS = 100,        /* Some are looked at whether they have to be told anything, */
    WATCH_SWEEP_COUNT_MAX = 512, /* so many. */
    WATCH_RETRY_MS = 10,         /* A connection without room is tried again. */
    WATCH_PATIENCE =
        4, /* Without a leader for so many of the largest election timeouts: cut off. */
    RETRY_MS_WATCHES = 1000,     /* Too many watches. */
    APPLY_BYTES_MAX = 4 << 20,   /* Of entries applied in one turn; one is always applied. */
    SERVE_BYTES_MAX = 4 << 20,   /* Of answers to reads in one turn; one is always given. */
    COLLECT_COUNT_MAX = 4,       /* Rounds of raft_collect() in one turn. */
    APPEND_SIZE_MAX = 256 << 10, /* Entries of one AppendEntries. */
    INFLIGHT_COUNT_MAX = 2,      /* AppendEntries under way to one peer. */
    RAFT_MESSAGE_SIZE_MAX = 256, /* An encoded raft_message without its entries. */
    WINDOW_SIZE_MIN = 5 << 20,   /* Of node_options.window_size. */
    WINDOW_ENTRY_SIZE = 128,     /* Taken as the usual size of an entry in the window. */
    STAGE_RESERVE = 8192,        /* Room in the log's next write, for no-ops, ticks and members. */
    /* Of the last segment of the log, in blocks, as each write takes one: the last ones are for
     * votes and no-ops, without which nobody could lead; those before them for what gives locks
     * and sessions back. Both are for an orderly end, not for going on. */
    VOTE_RESERVE_SIZE = 16 * DISK_ALIGNMENT,
    CLIENT_RESERVE_SIZE = 64 * DISK_ALIGNMENT,
    FAILURE_SIZE_MAX = 1024, /* An encoded failure with its envelope. */
    NOTICE_SIZE_MAX = 512,
    HELLO_SIZE_MAX = 1536, /* An encoded HELLO or REFUSE frame. */
    FORM_SIZE_MAX = 4096,
    MEMBERS_TEXT_SIZE = 320, /* "n1,n2,n3": 9 names of 32 bytes, commas, a zero. */
    LINE_SIZE_MAX = 768,     /* Of one line of the log for people. */
    LINE_COUNT_MAX = 5,      /* Lines of one limited kind in a second. */
    PROBLEM_SIZE_MAX = 512,
    SEGMENTS_AHEAD = 2,
    COMMIT_MS_START = 5,       /* Measured time of a commit, before it was measured; */
    COMMIT_MS_MAX = 250,       /* and the largest that raises the smallest TTL. */
    TTL_SLACK_MS = 20,         /* For the wake-ups of both sides. */
    COMMIT_SIZE_MAX = 6 << 20, /* Of changes to the table that are kept for its next commit: more
                                  begin it before its time. */
    COMMIT_RETRY_MS = 20,      /* A commit that would have waited is tried again. */
    HASH_AGE_MS_MAX = 100,     /* Of the hash in an answer to status. */
    RETRY_MS_NO_LEADER = 50,   /* What a client is told to wait for an election. */
    RETRY_MS_OVERLOADED = 20,
    OBSERVER_WAIT_MS_MAX = 60000, /* Longer waits are answered then. */
    RETRY_MS_DISK_LOW = 500,      /* Until somebody has made room. */
    FORMATION_RETRY_MS = 500,     /* FORM is sent again to a peer that has not formed. */
    SPACE_RETRY_MS = 1000,        /* The log looks again whether a full disk has room. */
    FORMATION_LINE_MS = 5000,     /* One line about whom we wait for. */
    FORMATION_ALONE_MS =
        1000,                /* Others would have dialed by then: they pause for 750 ms at most. */
    STOP_EXTRA_MS = 250,     /* What stopping may take beside handing over. */
    MEMBERS_TICK_MS = 100,   /* Upkeep of places and members. */
    DIAL_PATIENCE_MS = 1000, /* Then another address of the same node is tried. */
    STRANGER_MS = 10000,     /* One that asks to join and is silent for so long is forgotten. */
    STRANGER_COUNT_MAX = 4,  /* Of them at a time. */
    MEMBER_PLACE_COUNT_MAX = NODE_MEMBER_COUNT_MAX + 2, /* Members, and some that leave. */
    CHANGE_COUNT_MAX = 8,     /* Changes of the cluster that are waited for. */
    CHANGE_MS_DEFAULT = 5000, /* When the client does not say how long it waits. */
    CHANGE_MS_MAX = 600000,
    SPACE_TELL_MS = 1000,     /* What a disk has left is told to the others again. */
    SPACE_JUDGE_MS = 100,     /* Who is low is looked at again: members may have changed. */
    SPACE_BODY_SIZE_MAX = 64, /* An encoded wire_peer_space. */
    FAILURE_TEXT_SIZE_MAX = 255,
    DISK_LOW_GAP = 8,         /* A low disk is no longer low when it has this part more. */
    STATE_MARK_COUNT = 8,     /* Hashes of the state that are kept for those who come later. */
    SNAPSHOT_RETRY_MS = 2000, /* After one that failed. */
    SHIPMENT_WINDOW_SIZE = 4 * SNAPSHOT_CHUNK_SIZE_MAX, /* Of chunks under way to one peer. */
    SHIPMENT_OFFER_MS = 200,  /* A peer that is silent for so long is offered it again, */
    SHIPMENT_PATIENCE = 10,   /* and given up after so many of the largest election timeouts. */
    SHIPMENT_STEP_MS = 5,     /* Until a link without room is tried again. */
    RESTORATION_ASK_MS = 500, /* Between two requests for a snapshot. */
    BACKUP_IDLE_MS = 10000,   /* A client that has not asked for so long may lose its file. */
    /* Of params under way from a follower to the leader, and of one client's if it has more than
     * one under way: entries and their replies share the connection. */
    PASS_BYTES_MAX = 2 << 20,
    PASS_CONNECTION_BYTES_MAX = 512 << 10,
    PASS_ANSWER_BYTES_MAX = 2 << 20, /* Of answers under way to one follower; only reads are refused
                                        then. */
};

/* Turns of requests (node/waiting.h). */
enum {
#ifdef LIMITS_TINY
    SCAN_COUNT_MAX = 1,       /* Lists among the reads under way; more wait for their turn. */
    WAITING_BLOCK_SIZE = 256, /* Requests that wait lie in blocks of this. */
    WAITING_BLOCKS_MIN = 4,   /* So many may wait however slowly they are served. */
#else
    SCAN_COUNT_MAX = 16,
    WAITING_BLOCK_SIZE = 1024,
    WAITING_BLOCKS_MIN = 64,
#endif
    WAITING_MS_MAX = 250,         /* What would wait longer for its turn is refused. */
    WAITING_SIZE_MIN = 128 << 10, /* Of node_options.waiting_size. */
    UNCOMMITTED_SIZE_DEFAULT = 512 << 10,
    RETRY_MS_MAX = 5000, /* A refusal tells nobody to stay away longer. */
    URGENT_PART = 16,    /* Of the requests under way this part is kept for renewals, releases and
                            ends of sessions; one at least. */
};

#define TTL_MS_MAX UINT32_C(86400000) /* 24 h. */

/* No cluster lives to see this term: whoever names it is broken, and must not use the numbers up.
 */
#define TERM_MAX (UINT64_C(1) << 62)

_Static_assert((int)RAFT_ENTRY_SIZE_MAX == (int)LOG_RECORD_SIZE_MAX, "an entry is a record");
_Static_assert((int)RAFT_HARD_STATE_SIZE <= (int)LOG_HARD_STATE_SIZE_MAX,
               "the log keeps raft's hard state");
_Static_assert((int)ENVELOPE_SIZE <= (int)RAFT_NOOP_PAYLOAD_SIZE_MAX, "a no-op carries a stamp");
_Static_assert(RAFT_ENTRY_HEADER_SIZE + ENVELOPE_SIZE + 8 * RENEWAL_ENTRY_COUNT_MAX <=
                   STAGE_RESERVE * 16,
               "an entry of renewals stays small");
_Static_assert((int)LOG_BATCH_SIZE_MAX_DEFAULT >= (int)RAFT_ENTRY_SIZE_MAX + 2 * (int)STAGE_RESERVE,
               "one largest entry and the reserve fit into one write");
_Static_assert((int)LOG_BATCH_SIZE_MAX_DEFAULT - (int)CLIENT_RESERVE_SIZE >=
                   (int)RAFT_ENTRY_SIZE_MAX + 2 * (int)STAGE_RESERVE,
               "the last segment takes the largest entry beside its reserve");
_Static_assert((int)VOTE_RESERVE_SIZE < (int)CLIENT_RESERVE_SIZE, "votes come last");
_Static_assert((int)WIRE_PEER_FRAME_SIZE_MAX >=
                   (int)WIRE_FRAME_HEADER_SIZE + RAFT_MESSAGE_SIZE_MAX + (int)RAFT_ENTRY_SIZE_MAX,
               "the largest entry travels in one frame");
_Static_assert((int)APPEND_SIZE_MAX *INFLIGHT_COUNT_MAX < (int)LOG_BATCH_SIZE_MAX_DEFAULT,
               "what a leader has under way to us fits into one write");
_Static_assert((int)WINDOW_SIZE_MIN > 4 * (int)RAFT_ENTRY_SIZE_MAX,
               "a quarter of the window, which may be uncommitted, holds the largest entry");
_Static_assert(READ_PARAMS_SIZE_MAX * 2 <= READ_PARAMS_BYTES,
               "params that do not fit behind the others fit at the front");
_Static_assert(NODE_MEMBER_COUNT_MAX *(NODE_NAME_SIZE_MAX + 1) + 1 <= MEMBERS_TEXT_SIZE,
               "the list of members fits");
_Static_assert((int)NODE_PEER_COUNT_MAX >= 1 + (int)MEMBER_PLACE_COUNT_MAX + STRANGER_COUNT_MAX,
               "we, all members when we are none, some that depart, and strangers");
_Static_assert((int)RAFT_ENTRY_HEADER_SIZE + (int)RAFT_CONFIGURATION_SIZE_MAX <= STAGE_RESERVE / 2,
               "raft appends a configuration by itself");
_Static_assert((int)SNAPSHOT_CONFIGURATION_SIZE_MAX >= (int)RAFT_CONFIGURATION_SIZE_MAX,
               "a snapshot holds every configuration");
_Static_assert((int)SNAPSHOT_SENDER_COUNT_MAX >= (int)NODE_MEMBER_COUNT_MAX - 1,
               "every other member can be sent a snapshot");
_Static_assert((STAGED_COUNT_MAX & (STAGED_COUNT_MAX - 1)) == 0, "rings are masked");
_Static_assert((HELD_COUNT_MAX & (HELD_COUNT_MAX - 1)) == 0, "rings are masked");
_Static_assert((int)HELD_COUNT_MAX >= (int)NODE_MEMBER_COUNT_MAX,
               "requests for votes to all members wait together, or some are never asked");
_Static_assert((READ_BATCH_COUNT_MAX & (READ_BATCH_COUNT_MAX - 1)) == 0, "rings are masked");
_Static_assert((int)UNCOMMITTED_SIZE_DEFAULT >= (int)APPEND_SIZE_MAX * INFLIGHT_COUNT_MAX,
               "what may be under way to a peer is filled before writes wait");

#endif
