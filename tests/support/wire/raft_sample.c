#include "tests/support/wire/raft_sample.h"

#include <string.h>

#include "base/assert.h"

enum { ENTRY_SIZE = RAFT_ENTRY_HEADER_SIZE + 2 };

/* Index 8 and 9 of term 7, with payloads "ab" and "cd". */
static const uint8_t entries[2][ENTRY_SIZE] = {
    {ENTRY_SIZE, 0, 0, 0, 1, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 'a', 'b'},
    {ENTRY_SIZE, 0, 0, 0, 2, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 'c', 'd'},
};

static const char *const names[RAFT_SAMPLE_COUNT] = {
    "vote_request", "vote_reply",      "append",      "append_reply",
    "heartbeat",    "heartbeat_reply", "timeout_now",
};

const char *raft_sample_name(unsigned number)
{
    ASSERT(number < RAFT_SAMPLE_COUNT);
    return names[number];
}

struct raft_message raft_sample(unsigned number)
{
    ASSERT(number < RAFT_SAMPLE_COUNT);
    struct raft_message message = {.kind = (enum raft_message_kind)(number + 1),
                                   .source = UINT64_C(0xa1a2a3a4a5a6a7a8),
                                   .target = 2,
                                   .term = 9};

    switch (message.kind) {
    case RAFT_VOTE_REQUEST:
        message.vote_request = (struct raft_vote_request){
            .pre = true, .transfer = false, .last_index = 11, .last_term = 8};
        break;
    case RAFT_VOTE_REPLY:
        message.vote_reply =
            (struct raft_vote_reply){.pre = false, .granted = true, .request_term = 12};
        break;
    case RAFT_APPEND:
        message.append = (struct raft_append){.previous_index = 7,
                                              .previous_term = 6,
                                              .commit_index = 5,
                                              .round = 4,
                                              .request = UINT64_C(0xb1b2b3b4b5b6b7b8),
                                              .entry_count = 2,
                                              .first = bytes_of(entries[0], ENTRY_SIZE),
                                              .second = bytes_of(entries[1], ENTRY_SIZE)};
        break;
    case RAFT_APPEND_REPLY:
        message.append_reply = (struct raft_append_reply){.success = true,
                                                          .match_index = 21,
                                                          .conflict_index = 22,
                                                          .conflict_term = 23,
                                                          .round = 24,
                                                          .request = 25};
        break;
    case RAFT_HEARTBEAT:
        message.heartbeat = (struct raft_heartbeat){.commit_index = 31, .round = 32};
        break;
    case RAFT_HEARTBEAT_REPLY:
        message.heartbeat_reply =
            (struct raft_heartbeat_reply){.round = 41, .last_index = 42, .promise_ms = 43};
        break;
    case RAFT_TIMEOUT_NOW:
        break;
    }
    return message;
}

static bool appends_are_equal(const struct raft_append *left, const struct raft_append *right)
{
    uint8_t memory[2][1024];
    struct buffer entries_of[2] = {buffer_of(memory[0], sizeof(memory[0])),
                                   buffer_of(memory[1], sizeof(memory[1]))};
    bool fits =
        buffer_append(&entries_of[0], left->first) && buffer_append(&entries_of[0], left->second) &&
        buffer_append(&entries_of[1], right->first) && buffer_append(&entries_of[1], right->second);

    ASSERT(fits);
    return left->previous_index == right->previous_index &&
           left->previous_term == right->previous_term &&
           left->commit_index == right->commit_index && left->round == right->round &&
           left->request == right->request && left->entry_count == right->entry_count &&
           bytes_equal(buffer_bytes(&entries_of[0]), buffer_bytes(&entries_of[1]));
}

static bool append_replies_are_equal(const struct raft_append_reply *left,
                                     const struct raft_append_reply *right)
{
    return left->success == right->success && left->match_index == right->match_index &&
           left->conflict_index == right->conflict_index &&
           left->conflict_term == right->conflict_term && left->round == right->round &&
           left->request == right->request;
}

bool raft_sample_is_equal(const struct raft_message *left, const struct raft_message *right)
{
    if (left->kind != right->kind || left->source != right->source ||
        left->target != right->target || left->term != right->term) {
        return false;
    }
    switch (left->kind) {
    case RAFT_VOTE_REQUEST:
        return left->vote_request.pre == right->vote_request.pre &&
               left->vote_request.transfer == right->vote_request.transfer &&
               left->vote_request.last_index == right->vote_request.last_index &&
               left->vote_request.last_term == right->vote_request.last_term;
    case RAFT_VOTE_REPLY:
        return left->vote_reply.pre == right->vote_reply.pre &&
               left->vote_reply.granted == right->vote_reply.granted &&
               left->vote_reply.request_term == right->vote_reply.request_term;
    case RAFT_APPEND:
        return appends_are_equal(&left->append, &right->append);
    case RAFT_APPEND_REPLY:
        return append_replies_are_equal(&left->append_reply, &right->append_reply);
    case RAFT_HEARTBEAT:
        return left->heartbeat.commit_index == right->heartbeat.commit_index &&
               left->heartbeat.round == right->heartbeat.round;
    case RAFT_HEARTBEAT_REPLY:
        return left->heartbeat_reply.round == right->heartbeat_reply.round &&
               left->heartbeat_reply.last_index == right->heartbeat_reply.last_index &&
               left->heartbeat_reply.promise_ms == right->heartbeat_reply.promise_ms;
    case RAFT_TIMEOUT_NOW:
        return true;
    }
    UNREACHABLE();
}
