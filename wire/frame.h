/* wire/frame.h: frames between peers.
 *
 *     0       4       8           16        32            40       48       56        64
 *     | magic | size  | checksum  | cluster | incarnation | source | log_ms | lamport | kind ...
 *     | u32   | u32   | u64       | 16 x u8 | u64         | u64    | u64    | u64     | u8
 *
 * followed by three zero bytes, the format version (u32) and the body. Little endian; `size` counts
 * header and body; the checksum covers all behind it. A connection carries frames one way only,
 * from the peer that dialed; what comes back is at most one FRAME_REFUSE. */
#ifndef WIRE_FRAME_H
#define WIRE_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/macros.h"
#include "raft/message.h"
#include "wire/wire.h"

enum wire_frame_kind {
    WIRE_FRAME_HELLO = 1,            /* wire_peer_hello; the first frame of every connection. */
    WIRE_FRAME_REFUSE = 2,           /* wire_peer_refuse; then the connection is closed. */
    WIRE_FRAME_FORM = 3,             /* wire_peer_form: found or join the new cluster. */
    WIRE_FRAME_RAFT = 4,             /* One raft_message. */
    WIRE_FRAME_SNAPSHOT_OFFER = 5,   /* wire_peer_snapshot_offer; from a leader, as chunks are. */
    WIRE_FRAME_SNAPSHOT_CHUNK = 6,   /* wire_peer_snapshot_chunk. */
    WIRE_FRAME_SNAPSHOT_REPLY = 7,   /* wire_peer_snapshot_reply, to each of these. */
    WIRE_FRAME_SNAPSHOT_REQUEST = 8, /* wire_peer_snapshot_request; whoever leads answers. */
    WIRE_FRAME_STATE = 9,            /* wire_peer_state. */
    WIRE_FRAME_SPACE = 10,           /* wire_peer_space, to all that the sender is linked to. */
    WIRE_FRAME_FORWARD = 11,         /* wire_forward: a client's request, for the leader. */
    WIRE_FRAME_FORWARDED = 12,       /* Its answer: one response. */
};

/* What a receiver says of a snapshot. */
enum wire_snapshot_state {
    WIRE_SNAPSHOT_TAKEN = 1,  /* Up to `offset`: go on. */
    WIRE_SNAPSHOT_REWIND = 2, /* Nothing behind `offset` was taken: go on from there. */
    WIRE_SNAPSHOT_BUSY = 3,   /* Offer it again a little later. */
    WIRE_SNAPSHOT_DONE = 4,   /* It is installed, or not needed any more. */
    WIRE_SNAPSHOT_BROKEN = 5, /* All bytes came, and they are no such snapshot. */
};

enum {
    WIRE_FRAME_HEADER_SIZE = 72,
    WIRE_FRAME_VERSION = 1,
    /* An AppendEntries of raft_options.append_size_max or one entry of the largest size. */
    WIRE_PEER_FRAME_SIZE_MAX = (2 << 20) + 4096,
};

struct wire_frame {
    uint8_t cluster[16];  /* Zeros: not formed yet. */
    uint64_t incarnation; /* Of the sender's disk. */
    raft_id source;       /* 0: not formed yet. */
    uint64_t log_ms;      /* The newest cluster time that the sender knows. */
    uint64_t lamport;
    enum wire_frame_kind kind;
    struct bytes body; /* Borrowed from the input when decoded; ignored by wire_frame_begin(). */
};

/* Takes one whole frame off `*rest`. ERR_INCOMPLETE; ERR_MALFORMED (no magic: something else
 * speaks here), ERR_VERSION, ERR_TOO_LARGE, ERR_CORRUPT (checksum): close the connection. */
MUST_USE enum error wire_frame_next(struct bytes *rest, struct wire_frame *frame);

/* Begins a frame in `buffer`: append the body, then wire_frame_end() with what this returned in
 * `*start` fills in size and checksum. False when even the header does not fit. When the body does
 * not fit, set buffer->size back to `*start`. */
MUST_USE bool wire_frame_begin(struct buffer *buffer, const struct wire_frame *frame,
                               size_t *start);
void wire_frame_end(struct buffer *buffer, size_t start);

/* The body of a WIRE_FRAME_RAFT. Entries are copied as they lie in the log. Source and target
 * travel too. Decoding checks sizes and enumerations; entries are borrowed from the input and not
 * looked into. ERR_MALFORMED. */
MUST_USE bool wire_raft_encode(const struct raft_message *message, struct buffer *buffer);
MUST_USE enum error wire_raft_decode(struct bytes body, struct raft_message *message);

/* A request of one of the sender's clients, to the leader: [0, id, method, params], where `id` is
 * the sender's number of it, larger than that of the one before on the same connection. `received`
 * counts the bytes of answers that have come to requests on this connection. The answer is the body
 * of a WIRE_FRAME_FORWARDED: [1, id, error, result], as wire_rpc_next() takes it. */
struct wire_forward {
    uint64_t received;
    struct wire_rpc request;
};

/* What the body has before the params, at most. */
enum { WIRE_FORWARD_HEADER_SIZE = 8 + WIRE_ENVELOPE_SIZE_MAX };

/* The body up to the params, which are to be appended. False, with nothing appended, when that does
 * not fit. */
MUST_USE bool wire_forward_begin(struct buffer *buffer, uint64_t received, uint64_t id,
                                 enum wire_method method);
/* Borrowed from the input. ERR_MALFORMED: not exactly one request of a method that is known. */
MUST_USE enum error wire_forward_decode(struct bytes body, struct wire_forward *forward);

#endif
