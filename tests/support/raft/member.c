/* tests/support/raft/member.c: one raft in the hand of a test. */
#include "tests/support/raft/member.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/assert.h"

enum { MEMORY_SIZE = 4 << 20 };

struct raft_options member_options(void)
{
    return (struct raft_options){
        .self = 1,
        .seed = 42,
        .election_ms_min = 100,
        .election_ms_max = 200,
        .heartbeat_ms = 30,
        .inflight_count_max = 2,
        .append_size_max = 1024,
        .window_size = 4096,
        .window_count_max = 64,
        .uncommitted_size_max = 1024,
        .read_count_max = 4,
    };
}

struct raft_base member_base(uint32_t voter_count, uint32_t learner_count)
{
    struct raft_base base = {.configuration.member_count = voter_count + learner_count};

    ASSERT(base.configuration.member_count <= RAFT_MEMBER_COUNT_MAX);
    for (uint32_t i = 0; i < base.configuration.member_count; i++) {
        base.configuration.members[i].id = i + 1;
        base.configuration.members[i].parts = i < voter_count ? RAFT_PART_VOTER : RAFT_PART_LEARNER;
    }
    return base;
}

void member_open_base(struct member *member, const struct raft_options *options,
                      const struct raft_hard_state *hard_state, const struct raft_base *base,
                      const raft_term *terms)
{
    struct arena arena;
    raft_index index = base->index;

    memset(member, 0, sizeof(*member));
    member->memory = aligned_alloc(ARENA_ALIGNMENT, MEMORY_SIZE);
    member->now_ms = 1000;
    ASSERT(member->memory != NULL);
    ASSERT(raft_memory_size(options) <= MEMORY_SIZE);
    arena_init(&arena, member->memory, MEMORY_SIZE);
    enum error error = raft_open(&member->raft, &arena, options, hard_state, base);
    ASSERT(error == ERR_OK);
    for (; terms != NULL && *terms != 0; terms++) {
        index += 1;
        struct raft_entry entry = {.index = index, .term = *terms, .kind = RAFT_ENTRY_COMMAND};
        error = raft_restore(member->raft, &entry);
        ASSERT(error == ERR_OK);
    }
    raft_start(member->raft, member->now_ms);
    raft_check(member->raft);
}

void member_open(struct member *member, const struct raft_options *options,
                 const struct raft_hard_state *hard_state, const raft_term *terms)
{
    struct raft_base base = member_base(3, 0);

    member_open_base(member, options, hard_state, &base, terms);
}

void member_open_simple(struct member *member, uint32_t member_count, raft_term term,
                        const raft_term *terms)
{
    struct raft_options options = member_options();
    struct raft_hard_state hard_state = {.term = term};
    struct raft_base base = member_base(member_count, 0);

    member_open_base(member, &options, &hard_state, &base, terms);
}

void member_close(struct member *member)
{
    free(member->memory);
    member->memory = NULL;
}

bool member_collect(struct member *member)
{
    bool is_busy = raft_collect(member->raft, &member->effects);

    raft_check(member->raft);
    return is_busy;
}

void member_persist(struct member *member)
{
    raft_persisted(member->raft, &member->effects.tag, member->now_ms);
    raft_check(member->raft);
}

void member_tick(struct member *member, uint64_t wait_ms)
{
    member->now_ms += wait_ms;
    raft_tick(member->raft, member->now_ms);
    raft_check(member->raft);
}

void member_receive(struct member *member, const struct raft_message *message)
{
    raft_receive(member->raft, message, member->now_ms);
    raft_check(member->raft);
}

void member_lead(struct member *member)
{
    raft_term term = raft_status(member->raft).term + 1;

    member_tick(member, 200);
    for (raft_id id = 2; id <= 3; id++) {
        struct raft_message message = message_vote(id, term - 1, true, term);
        member_receive(member, &message);
    }
    (void)member_collect(member);
    member_persist(member);
    for (raft_id id = 2; id <= 3; id++) {
        struct raft_message message = message_vote(id, term, false, term);
        member_receive(member, &message);
    }
    ASSERT(raft_status(member->raft).role == RAFT_LEADER);
}

static const struct raft_message *find(const struct raft_message *messages, uint32_t count,
                                       enum raft_message_kind kind, raft_id target)
{
    for (uint32_t i = 0; i < count; i++) {
        if (messages[i].kind == kind && messages[i].target == target) {
            return &messages[i];
        }
    }
    return NULL;
}

const struct raft_message *member_sent_now(const struct member *member, enum raft_message_kind kind,
                                           raft_id target)
{
    return find(member->effects.send_now, member->effects.send_now_count, kind, target);
}

const struct raft_message *member_sent_durable(const struct member *member,
                                               enum raft_message_kind kind, raft_id target)
{
    return find(member->effects.send_durable, member->effects.send_durable_count, kind, target);
}

static struct raft_message message_of(enum raft_message_kind kind, raft_id source, raft_term term)
{
    return (struct raft_message){.kind = kind, .source = source, .target = 1, .term = term};
}

struct raft_message message_vote_request(raft_id source, raft_term term, raft_term last_term,
                                         raft_index last_index)
{
    struct raft_message message = message_of(RAFT_VOTE_REQUEST, source, term);

    message.vote_request.last_term = last_term;
    message.vote_request.last_index = last_index;
    return message;
}

struct raft_message message_pre_vote_request(raft_id source, raft_term term, raft_term last_term,
                                             raft_index last_index)
{
    struct raft_message message = message_vote_request(source, term, last_term, last_index);

    message.vote_request.pre = true;
    return message;
}

struct raft_message message_vote(raft_id source, raft_term term, bool pre, raft_term request_term)
{
    struct raft_message message = message_of(RAFT_VOTE_REPLY, source, term);

    message.vote_reply = (struct raft_vote_reply){
        .pre = pre,
        .granted = true,
        .request_term = request_term,
    };
    return message;
}

struct raft_message message_heartbeat(raft_id source, raft_term term, raft_index commit_index,
                                      uint64_t round)
{
    struct raft_message message = message_of(RAFT_HEARTBEAT, source, term);

    message.heartbeat.commit_index = commit_index;
    message.heartbeat.round = round;
    return message;
}

struct raft_message message_heartbeat_reply(raft_id source, raft_term term, uint64_t round,
                                            raft_index last_index)
{
    struct raft_message message = message_of(RAFT_HEARTBEAT_REPLY, source, term);

    message.heartbeat_reply.round = round;
    message.heartbeat_reply.last_index = last_index;
    return message;
}

struct raft_message message_match(raft_id source, raft_term term, raft_index match_index,
                                  uint64_t request)
{
    struct raft_message message = message_of(RAFT_APPEND_REPLY, source, term);

    message.append_reply.success = true;
    message.append_reply.match_index = match_index;
    message.append_reply.request = request;
    return message;
}

struct raft_message message_refusal(raft_id source, raft_term term, raft_index conflict_index,
                                    raft_term conflict_term, uint64_t request)
{
    struct raft_message message = message_of(RAFT_APPEND_REPLY, source, term);

    message.append_reply.conflict_index = conflict_index;
    message.append_reply.conflict_term = conflict_term;
    message.append_reply.request = request;
    return message;
}

uint32_t member_record(uint8_t *to, raft_index index, raft_term term, uint32_t payload_size)
{
    memset(to, 0, RAFT_ENTRY_HEADER_SIZE + payload_size);
    struct raft_entry entry = {
        .index = index,
        .term = term,
        .kind = RAFT_ENTRY_COMMAND,
        .payload = bytes_of(to + RAFT_ENTRY_HEADER_SIZE, payload_size),
    };

    raft_entry_encode_header(to, &entry);
    return RAFT_ENTRY_HEADER_SIZE + payload_size;
}

struct raft_message message_append(raft_id source, raft_term term, raft_index previous_index,
                                   raft_term previous_term, raft_index commit_index,
                                   const raft_term *terms, uint8_t entries[MEMBER_ENTRIES_SIZE_MAX])
{
    struct raft_message message = message_of(RAFT_APPEND, source, term);
    uint32_t size = 0;
    uint32_t count = 0;

    for (; terms != NULL && *terms != 0; terms++) {
        count += 1;
        ASSERT(size + RAFT_ENTRY_HEADER_SIZE <= MEMBER_ENTRIES_SIZE_MAX);
        size += member_record(entries + size, previous_index + count, *terms, 0);
    }
    message.append = (struct raft_append){
        .previous_index = previous_index,
        .previous_term = previous_term,
        .commit_index = commit_index,
        .request = 1,
        .entry_count = count,
        .first = bytes_of(entries, size),
    };
    return message;
}

struct raft_message message_configuration(raft_id source, raft_term term,
                                          const struct raft_configuration *configuration,
                                          raft_term entry_term,
                                          uint8_t entries[MEMBER_ENTRIES_SIZE_MAX])
{
    struct raft_message message = message_append(source, term, 0, 0, 0, NULL, entries);
    uint8_t *payload = entries + RAFT_ENTRY_HEADER_SIZE;
    struct raft_entry entry = {
        .index = 1,
        .term = entry_term,
        .kind = RAFT_ENTRY_CONFIGURATION,
        .payload = bytes_of(payload, raft_configuration_encode(payload, configuration)),
    };

    raft_entry_encode_header(entries, &entry);
    message.append.entry_count = 1;
    message.append.first = bytes_of(entries, RAFT_ENTRY_HEADER_SIZE + entry.payload.size);
    return message;
}
