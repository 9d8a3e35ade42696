/* raft/follow.c: the follower's side of replication.
 *
 * Two numbers guard the commit index (Raft section 5.3): up to `validated_index` our log is known
 * to equal that of the leader of this term, and `leader_commit_index` is the most it has told us.
 * Both only grow within a term, and what is committed here is the lesser of them. */
#include "base/assert.h"
#include "raft/internal.h"

bool raft_follow_accept(struct raft *raft, raft_term term, raft_id leader)
{
    if (term < raft->term) {
        return false;
    }
    if (term == raft->term && raft->role == RAFT_LEADER) {
        return false; /* A second leader of our term: nonsense. */
    }
    raft_election_follow(raft, term, leader);
    raft_election_arm(raft);
    raft->leader_heard_ms = raft->now_ms;
    return true;
}

static void advance_commit(struct raft *raft)
{
    raft_index index = raft->leader_commit_index < raft->validated_index ? raft->leader_commit_index
                                                                         : raft->validated_index;

    if (index > raft->commit_index) {
        raft_commit_advance(raft, index);
    }
}

static void refuse(struct raft *raft, const struct raft_message *message, raft_index conflict_index,
                   raft_term conflict_term)
{
    uint32_t at = raft_place_take(raft, message->source);
    struct raft_message *reply =
        raft_letter_put(raft, at, RAFT_LETTER_APPEND_REFUSAL, RAFT_APPEND_REPLY);

    reply->append_reply = (struct raft_append_reply){
        .success = false,
        .conflict_index = conflict_index,
        .conflict_term = conflict_term,
        .round = message->append.round,
        .request = message->append.request,
    };
}

/* Several appends of one turn are acknowledged together. The reply leaves when what it names is
 * durable: raft_collect() sees to that. */
static void acknowledge(struct raft *raft, const struct raft_message *message,
                        raft_index match_index)
{
    uint32_t at = raft_place_take(raft, message->source);
    struct raft_append_reply earlier = {0};

    if (raft_letter_is_owed(raft, at, RAFT_LETTER_APPEND_REPLY)) {
        earlier = raft->peers[at].letters[RAFT_LETTER_APPEND_REPLY].append_reply;
    }
    struct raft_message *reply =
        raft_letter_put(raft, at, RAFT_LETTER_APPEND_REPLY, RAFT_APPEND_REPLY);
    const struct raft_append *append = &message->append;

    reply->append_reply = (struct raft_append_reply){
        .success = true,
        .match_index = match_index > earlier.match_index ? match_index : earlier.match_index,
        .round = append->round > earlier.round ? append->round : earlier.round,
        .request = append->request > earlier.request ? append->request : earlier.request,
    };
}

/* The entries of an append, one after the other, over its two runs. */
struct cursor {
    struct bytes rest;
    struct bytes second;
};

static bool cursor_next(struct cursor *cursor, struct raft_entry *entry)
{
    if (cursor->rest.size == 0) {
        cursor->rest = cursor->second;
        cursor->second = (struct bytes){0};
    }
    return raft_entry_next(&cursor->rest, entry);
}

/* Whole entries with the indexes and terms that a leader's log can have there. */
static bool is_well_formed(const struct raft_message *message)
{
    const struct raft_append *append = &message->append;
    struct cursor cursor = {.rest = append->first, .second = append->second};
    raft_index index = append->previous_index;
    raft_term term = append->previous_term;

    if (index > UINT64_MAX - append->entry_count - 1 || term > message->term) {
        return false;
    }
    if ((index == 0) != (term == 0)) {
        return false;
    }
    for (uint32_t i = 0; i < append->entry_count; i++) {
        struct raft_entry entry;
        if (!cursor_next(&cursor, &entry)) {
            return false;
        }
        if (entry.index != index + 1 || entry.term < term || entry.term > message->term ||
            entry.term == 0 || !raft_entry_is_sound(&entry)) {
            return false;
        }
        index = entry.index;
        term = entry.term;
    }
    return cursor.rest.size == 0 && cursor.second.size == 0;
}

/* Does our log hold the entry before the new ones? If not, where may the logs still agree: at the
 * last entry that is not behind it, neither in index nor in term (section 5.3, fast backtracking).
 */
static bool previous_matches(const struct raft *raft, const struct raft_append *append,
                             raft_index *conflict_index, raft_term *conflict_term)
{
    raft_term term = 0;

    if (append->previous_index <= raft->commit_index) {
        return true; /* Committed here, so the leader has the same (leader completeness). */
    }
    if (raft_term_at(raft, append->previous_index, &term) && term == append->previous_term) {
        return true;
    }
    *conflict_index = raft_trail_find(&raft->trail, append->previous_index, append->previous_term);
    if (*conflict_index < raft->commit_index) {
        *conflict_index = raft->commit_index;
    }
    *conflict_term = 0;
    if (!raft_term_at(raft, *conflict_index, conflict_term)) {
        /* Older than the trail, so committed, and the leader can look it up. */
        ASSERT_VALUES(*conflict_index <= raft->commit_index, *conflict_index, raft->commit_index);
        *conflict_term = append->previous_term;
    }
    return false;
}

/* Takes one entry in. False when there is no room for it now. */
static bool take_entry(struct raft *raft, const struct raft_entry *entry)
{
    raft_term term = 0;

    if (entry->index <= raft_last_index(raft)) {
        bool is_known = raft_term_at(raft, entry->index, &term);
        if (!is_known) {
            ASSERT_VALUES(entry->index <= raft->commit_index, entry->index, raft->commit_index);
            return true;
        }
        if (term == entry->term) {
            return true; /* A repeated or late append must not cut off what came after it. */
        }
        raft_entries_truncate(raft, entry->index);
    }
    return raft_entries_append(raft, entry, (struct bytes){0});
}

static raft_index take_entries(struct raft *raft, const struct raft_append *append)
{
    struct cursor cursor = {.rest = append->first, .second = append->second};
    raft_index validated = append->previous_index;

    for (uint32_t i = 0; i < append->entry_count; i++) {
        struct raft_entry entry;
        bool is_whole = cursor_next(&cursor, &entry);
        ASSERT(is_whole); /* is_well_formed() has seen it. */
        if (!take_entry(raft, &entry)) {
            break;
        }
        validated = entry.index;
    }
    return validated;
}

void raft_append_receive(struct raft *raft, const struct raft_message *message)
{
    const struct raft_append *append = &message->append;
    raft_index conflict_index = 0;
    raft_term conflict_term = 0;

    if (!is_well_formed(message)) {
        return;
    }
    if (!raft_follow_accept(raft, message->term, message->source)) {
        if (message->term < raft->term) {
            refuse(raft, message, 0, 0); /* Our higher term makes a stale leader step down. */
        }
        return;
    }
    if (append->commit_index > raft->leader_commit_index) {
        raft->leader_commit_index = append->commit_index;
    }
    if (!previous_matches(raft, append, &conflict_index, &conflict_term)) {
        refuse(raft, message, conflict_index, conflict_term);
        return;
    }
    raft_index validated = take_entries(raft, append);
    if (validated > raft->validated_index) {
        raft->validated_index = validated;
    }
    advance_commit(raft);
    acknowledge(raft, message, validated);
}

/* A voter's promise to the leader that it just heard: how long it will vote for nobody else. */
static uint32_t promise(struct raft *raft)
{
    uint64_t until_ms = raft->now_ms + raft->options.promise_ms;

    if (until_ms > raft->promise_ms) {
        raft->promise_ms = until_ms;
    }
    return raft->options.promise_ms;
}

void raft_heartbeat_receive(struct raft *raft, const struct raft_message *message)
{
    const struct raft_heartbeat *heartbeat = &message->heartbeat;

    bool is_accepted = raft_follow_accept(raft, message->term, message->source);
    if (!is_accepted && message->term == raft->term) {
        return;
    }
    /* The leader names no more than it knows to be durable here, so that much is validated, also
     * when we have restarted since. */
    if (is_accepted && heartbeat->commit_index <= raft->durable_index) {
        if (heartbeat->commit_index > raft->validated_index) {
            raft->validated_index = heartbeat->commit_index;
        }
        if (heartbeat->commit_index > raft->leader_commit_index) {
            raft->leader_commit_index = heartbeat->commit_index;
        }
        advance_commit(raft);
    }
    uint32_t at = raft_place_take(raft, message->source);
    struct raft_message *reply =
        raft_letter_put(raft, at, RAFT_LETTER_HEARTBEAT_REPLY, RAFT_HEARTBEAT_REPLY);
    reply->heartbeat_reply = (struct raft_heartbeat_reply){
        .round = heartbeat->round,
        .last_index = raft_last_index(raft),
        .promise_ms = is_accepted ? promise(raft) : 0,
    };
}
