/* node/passing.h: requests of our clients that the leader serves, and the leader's side of them.
 *
 * What is under way is bounded, in all and for one client, in number and in bytes. Each is answered
 * once: by the leader, or when it cannot be any more. */
#ifndef NODE_PASSING_H
#define NODE_PASSING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/bytes.h"
#include "base/macros.h"
#include "node/origin.h"
#include "raft/raft.h"
#include "wire/wire.h"

struct node;

/* Of each connection. */
struct passing_connection {
    /* A client's: who leads, as it was told (0: nothing yet), and what is under way for it. */
    raft_id told_leader;
    uint32_t count;
    size_t bytes;
    /* A peer's: its newest FORWARD, and the bytes of answers that it has not received yet. */
    uint64_t forward_id;
    uint64_t received_bytes; /* As that FORWARD said. */
    uint64_t answer_bytes;
};

/* Of each place. */
struct passing_peer {
    bool takes_forwards;     /* As its hello said. */
    uint64_t forward_first;  /* Of our requests, the first since our bulk link stands, */
    uint64_t received_bytes; /* and the bytes of answers that have come since. */
    raft_index match;        /* Of its log, as it said last; */
    raft_index news;         /* what its clients wait for; 0: nothing. */
};

struct passed {
    uint64_t id; /* As the leader was told; its lowest bits are the slot. 0: free. */
    struct origin origin;
    raft_id leader;
    uint64_t session; /* 0: none. */
    uint32_t place;   /* Of that leader. */
    uint32_t size;    /* Of the params. */
    uint32_t next_free;
    uint8_t method;
};

struct passing {
    struct passed *slots; /* PASS_COUNT_MAX. */
    uint32_t free;        /* The first free one. */
    uint32_t count;
    size_t bytes; /* Of params under way. */
    uint64_t number;
    raft_id leader;         /* When it was looked at last. */
    uint64_t orphan_ms;     /* What is left to leaders of before is given up then; NEVER. */
    bool has_news;          /* Followers are to hear at once how far entries are committed. */
    uint32_t broken_places; /* As bits: what is under way there will not be answered. */
    uint64_t total;         /* Ever passed on, */
    uint64_t taken_total;   /* and taken from others. */
};

size_t passing_memory_size(void);
void passing_open(struct node *node, struct arena *arena);
/* This node does not lead: passed on, or refused. `session`: of the request; 0: none. */
void passing_take(struct node *node, const struct origin *origin, const struct wire_rpc *rpc,
                  uint64_t session);
/* Bodies of frames; false when they are not valid. */
MUST_USE bool passing_take_forward(struct node *node, world_connection number, struct bytes body);
MUST_USE bool passing_take_answer(struct node *node, uint32_t place, struct bytes body);
/* Our bulk link to the peer stands anew; one of the connections with it has ended. */
void passing_link_up(struct node *node, uint32_t place);
void passing_broke(struct node *node, uint32_t place);
void passing_tick(struct node *node);
void passing_give_up(struct node *node); /* All of them: outcome unknown. */
/* A client at that place waits for what was just applied here. The place is to hear that it is
 * committed as soon as it is known to have it, which `match` says. */
void passing_note_news(struct node *node, uint32_t place);
void passing_note_match(struct node *node, uint32_t place, raft_index match);
/* The request was passed on to us by a peer, whose connection still stands. */
MUST_USE bool passing_is_origin(const struct node *node, const struct origin *origin);
/* An answer of that size would be too much beside those on their way. */
MUST_USE bool passing_is_full(const struct node *node, const struct origin *origin, size_t size);
/* Room for an answer to such a request; NULL, and the peer's connection is closed. */
MUST_USE uint8_t *passing_reserve(struct node *node, const struct origin *origin, size_t size);
void passing_commit(struct node *node, const struct origin *origin, const struct buffer *message);
void passing_check(const struct node *node);

#endif
