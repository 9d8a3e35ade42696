/* raft/entry.h: one entry of the replicated log, and its bytes.
 *
 * The same bytes lie in the memory window, in the durable log and in every AppendEntries:
 *
 *     0        4      5          8          16         24
 *     | size   | kind | reserved | term     | index    | payload ... |
 *     | u32    | u8   | 3 x 0    | u64      | u64      | size - 24   |
 *
 * All numbers are little endian; `size` counts the header too. */
#ifndef RAFT_ENTRY_H
#define RAFT_ENTRY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/macros.h"

typedef uint64_t raft_index; /* Position in the log; the first entry is 1; 0 means none. */
typedef uint64_t raft_term;
typedef uint64_t raft_id; /* Of a member; 0 means none; never used again for another. */

enum raft_entry_kind {
    RAFT_ENTRY_COMMAND = 1, /* The payload is the state machine's. */
    RAFT_ENTRY_NOOP = 2,    /* Begins a term (Raft section 8); the payload is the proposer's. */
    RAFT_ENTRY_CONFIGURATION = 3, /* Who is a member (raft/configuration.h); raft/ makes it. */
};

enum {
    RAFT_ENTRY_HEADER_SIZE = 24,
    RAFT_ENTRY_SIZE_MAX = 1 << 20, /* Header included; equals LOG_RECORD_SIZE_MAX. */
};

struct raft_entry {
    raft_index index;
    raft_term term;
    enum raft_entry_kind kind;
    struct bytes payload; /* Borrowed from where it was decoded. */
};

void raft_entry_encode_header(uint8_t to[RAFT_ENTRY_HEADER_SIZE], const struct raft_entry *entry);

/* Takes the first entry off `*rest`. False, with nothing taken, unless it is whole and valid. */
MUST_USE bool raft_entry_next(struct bytes *rest, struct raft_entry *entry);

#endif
