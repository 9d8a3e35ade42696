/* raft/entry.c: one entry and the hard state as bytes. */
#include "raft/entry.h"

#include "base/assert.h"
#include "raft/raft.h"

enum { SIZE_AT = 0, KIND_AT = 4, RESERVED_AT = 5, TERM_AT = 8, INDEX_AT = 16 };

_Static_assert(INDEX_AT + sizeof(uint64_t) == RAFT_ENTRY_HEADER_SIZE, "the index comes last");
_Static_assert(RAFT_HARD_STATE_SIZE == 3 * sizeof(uint64_t), "three numbers");

void raft_entry_encode_header(uint8_t to[RAFT_ENTRY_HEADER_SIZE], const struct raft_entry *entry)
{
    ASSERT(entry->payload.size <= RAFT_ENTRY_SIZE_MAX - RAFT_ENTRY_HEADER_SIZE);

    store_u32(to + SIZE_AT, (uint32_t)(RAFT_ENTRY_HEADER_SIZE + entry->payload.size));
    to[KIND_AT] = (uint8_t)entry->kind;
    for (unsigned i = RESERVED_AT; i < TERM_AT; i++) {
        to[i] = 0;
    }
    store_u64(to + TERM_AT, entry->term);
    store_u64(to + INDEX_AT, entry->index);
}

static bool kind_is_known(uint8_t kind)
{
    return kind == RAFT_ENTRY_COMMAND || kind == RAFT_ENTRY_NOOP ||
           kind == RAFT_ENTRY_CONFIGURATION;
}

bool raft_entry_next(struct bytes *rest, struct raft_entry *entry)
{
    if (rest->size < RAFT_ENTRY_HEADER_SIZE) {
        return false;
    }
    const uint8_t *from = rest->data;
    uint32_t size = load_u32(from + SIZE_AT);

    if (size < RAFT_ENTRY_HEADER_SIZE || size > RAFT_ENTRY_SIZE_MAX || size > rest->size) {
        return false;
    }
    if (!kind_is_known(from[KIND_AT])) {
        return false;
    }
    for (unsigned i = RESERVED_AT; i < TERM_AT; i++) {
        if (from[i] != 0) {
            return false;
        }
    }
    entry->kind = (enum raft_entry_kind)from[KIND_AT];
    entry->term = load_u64(from + TERM_AT);
    entry->index = load_u64(from + INDEX_AT);
    entry->payload = bytes_of(from + RAFT_ENTRY_HEADER_SIZE, size - RAFT_ENTRY_HEADER_SIZE);
    *rest = bytes_skip(*rest, size);
    return true;
}

void raft_hard_state_encode(uint8_t to[RAFT_HARD_STATE_SIZE], const struct raft_hard_state *state)
{
    if (state->vote != 0) {
        ASSERT(state->term > 0);
    }
    store_u64(to, state->term);
    store_u64(to + 8, state->vote);
    store_u64(to + 16, state->commit_index);
}

bool raft_hard_state_decode(struct bytes bytes, struct raft_hard_state *state)
{
    if (bytes.size != RAFT_HARD_STATE_SIZE) {
        return false;
    }
    struct raft_hard_state decoded = {
        .term = load_u64(bytes.data),
        .vote = load_u64(bytes.data + 8),
        .commit_index = load_u64(bytes.data + 16),
    };
    /* Nobody votes or commits before the first term. */
    if (decoded.term == 0 && (decoded.vote != 0 || decoded.commit_index != 0)) {
        return false;
    }
    *state = decoded;
    return true;
}
