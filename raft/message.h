/* raft/message.h: what members say to each other, as values. Bytes are made in wire/.
 *
 * Names follow the Raft paper (Ongaro and Ousterhout 2014, figure 2); pre-vote is section 9.6 and
 * the round of a read is section 6.4 of Ongaro's dissertation. */
#ifndef RAFT_MESSAGE_H
#define RAFT_MESSAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "raft/entry.h"

enum raft_message_kind {
    RAFT_VOTE_REQUEST = 1,
    RAFT_VOTE_REPLY = 2,
    RAFT_APPEND = 3, /* Entries, or none: then it only probes the previous entry. */
    RAFT_APPEND_REPLY = 4,
    RAFT_HEARTBEAT = 5, /* Authority, commit index and read rounds; never entries. */
    RAFT_HEARTBEAT_REPLY = 6,
    RAFT_TIMEOUT_NOW = 7, /* From a leader that hands over: campaign at once (section 3.10). */
};

/* A request for a vote, or for a pre-vote: that one changes nothing at the receiver. */
struct raft_vote_request {
    bool pre;
    bool transfer; /* The leader asked for it: stickiness does not apply. */
    raft_index last_index;
    raft_term last_term;
};

struct raft_vote_reply {
    bool pre;
    bool granted;
    raft_term request_term; /* Of the request answered: a pre-vote asks for a term not begun. */
};

struct raft_append {
    raft_index previous_index;
    raft_term previous_term;
    raft_index commit_index;
    uint64_t round;   /* The newest read round; echoed. */
    uint64_t request; /* Number of this message, leader-made, increasing; echoed. */
    uint32_t entry_count;
    struct bytes first; /* Whole entries, in one or two runs; borrowed. */
    struct bytes second;
};

struct raft_append_reply {
    bool success;
    raft_index match_index;    /* On success: durable here and equal to the leader's log. */
    raft_index conflict_index; /* On refusal: the leader should try at most this previous index, */
    raft_term conflict_term;   /* and this is our term there (0: our log ends before). */
    uint64_t round;
    uint64_t request;
};

struct raft_heartbeat {
    raft_index commit_index; /* At most what is known to match the receiver's log. */
    uint64_t round;
};

struct raft_heartbeat_reply {
    uint64_t round;
    raft_index last_index; /* Of the log in memory here: shows the leader a follower that lags. */
    uint32_t promise_ms;   /* From its receipt of the heartbeat on, for so long by its own clock,
                              the sender votes for nobody else; 0: no promise. */
};

struct raft_message {
    enum raft_message_kind kind;
    raft_id source;
    raft_id target;
    raft_term term; /* The sender's; of a pre-vote request, the term that it would begin. */
    union {
        struct raft_vote_request vote_request;
        struct raft_vote_reply vote_reply;
        struct raft_append append;
        struct raft_append_reply append_reply;
        struct raft_heartbeat heartbeat;
        struct raft_heartbeat_reply heartbeat_reply;
    };
};

#endif
