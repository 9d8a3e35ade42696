/* wire/peer.c: Raft's messages as the bodies of frames.
 *
 *     0      1       2           4             8        16       24     32
 *     | kind | flags | 2 x 0     | entry_count | source | target | term | words ... | entries ...
 *     | u8   | u8    |           | u32         | u64    | u64    | u64  | u64 each  |
 *
 * Little endian. How many words follow, and which flags there are, depends on the kind; entries
 * follow in an append alone. In a heartbeat's reply the promise, in milliseconds, stands where an
 * append has its count of entries. */
#include "wire/frame.h"

#include <string.h>

#include "base/assert.h"

enum {
    KIND_AT = 0,
    FLAGS_AT = 1,
    ZEROS_AT = 2,
    ENTRY_COUNT_AT = 4,
    SOURCE_AT = 8,
    TARGET_AT = 16,
    TERM_AT = 24,
    WORDS_AT = 32,
    WORD_COUNT_MAX = 5,
};

enum { FLAG_FIRST = 1, FLAG_SECOND = 2 };

/* A message apart from its entries, in the form that all kinds share. */
struct form {
    uint8_t flags;
    uint8_t flags_known;
    uint32_t word_count;
    uint64_t words[WORD_COUNT_MAX];
};

static uint8_t flags_of(bool first, bool second)
{
    return (uint8_t)((first ? FLAG_FIRST : 0) | (second ? FLAG_SECOND : 0));
}

static struct form form_of_append(const struct raft_append *append)
{
    return (struct form){.word_count = 5,
                         .words = {append->previous_index, append->previous_term,
                                   append->commit_index, append->round, append->request}};
}

static struct form form_of_append_reply(const struct raft_append_reply *reply)
{
    return (struct form){.flags = flags_of(reply->success, false),
                         .flags_known = FLAG_FIRST,
                         .word_count = 5,
                         .words = {reply->match_index, reply->conflict_index, reply->conflict_term,
                                   reply->round, reply->request}};
}

static struct form form_of(const struct raft_message *message)
{
    switch (message->kind) {
    case RAFT_VOTE_REQUEST:
        return (struct form){
            .flags = flags_of(message->vote_request.pre, message->vote_request.transfer),
            .flags_known = FLAG_FIRST | FLAG_SECOND,
            .word_count = 2,
            .words = {message->vote_request.last_index, message->vote_request.last_term}};
    case RAFT_VOTE_REPLY:
        return (struct form){.flags =
                                 flags_of(message->vote_reply.pre, message->vote_reply.granted),
                             .flags_known = FLAG_FIRST | FLAG_SECOND,
                             .word_count = 1,
                             .words = {message->vote_reply.request_term}};
    case RAFT_APPEND:
        return form_of_append(&message->append);
    case RAFT_APPEND_REPLY:
        return form_of_append_reply(&message->append_reply);
    case RAFT_HEARTBEAT:
        return (struct form){.word_count = 2,
                             .words = {message->heartbeat.commit_index, message->heartbeat.round}};
    case RAFT_HEARTBEAT_REPLY:
        return (struct form){
            .word_count = 2,
            .words = {message->heartbeat_reply.round, message->heartbeat_reply.last_index}};
    case RAFT_TIMEOUT_NOW:
        return (struct form){.word_count = 0};
    }
    UNREACHABLE();
}

bool wire_raft_encode(const struct raft_message *message, struct buffer *buffer)
{
    struct form form = form_of(message);
    bool is_append = message->kind == RAFT_APPEND;
    struct bytes first = is_append ? message->append.first : bytes_of(NULL, 0);
    struct bytes second = is_append ? message->append.second : bytes_of(NULL, 0);
    uint32_t entry_count = is_append ? message->append.entry_count : 0;
    uint32_t promise_ms =
        message->kind == RAFT_HEARTBEAT_REPLY ? message->heartbeat_reply.promise_ms : 0;
    size_t fixed_size = WORDS_AT + 8 * (size_t)form.word_count;

    ASSERT((entry_count == 0) == (first.size + second.size == 0));
    if (buffer_room(buffer) < fixed_size + first.size + second.size) {
        return false;
    }
    uint8_t *to = buffer_extend(buffer, fixed_size);
    ASSERT(to != NULL);
    to[KIND_AT] = (uint8_t)message->kind;
    to[FLAGS_AT] = form.flags;
    store_u16(to + ZEROS_AT, 0);
    store_u32(to + ENTRY_COUNT_AT, entry_count + promise_ms); /* One of them is 0. */
    store_u64(to + SOURCE_AT, message->source);
    store_u64(to + TARGET_AT, message->target);
    store_u64(to + TERM_AT, message->term);
    for (uint32_t i = 0; i < form.word_count; i++) {
        store_u64(to + WORDS_AT + 8 * (size_t)i, form.words[i]);
    }
    bool fits = buffer_append(buffer, first) && buffer_append(buffer, second);
    ASSERT(fits);
    return fits;
}

static void set_append(struct raft_append *append, const struct form *form)
{
    append->previous_index = form->words[0];
    append->previous_term = form->words[1];
    append->commit_index = form->words[2];
    append->round = form->words[3];
    append->request = form->words[4];
}

static void set_append_reply(struct raft_append_reply *reply, const struct form *form)
{
    reply->success = (form->flags & FLAG_FIRST) != 0;
    reply->match_index = form->words[0];
    reply->conflict_index = form->words[1];
    reply->conflict_term = form->words[2];
    reply->round = form->words[3];
    reply->request = form->words[4];
}

/* The inverse of form_of(): message->kind says what the words mean. */
static void set_from_form(struct raft_message *message, const struct form *form)
{
    bool first = (form->flags & FLAG_FIRST) != 0;
    bool second = (form->flags & FLAG_SECOND) != 0;

    switch (message->kind) {
    case RAFT_VOTE_REQUEST:
        message->vote_request = (struct raft_vote_request){.pre = first,
                                                           .transfer = second,
                                                           .last_index = form->words[0],
                                                           .last_term = form->words[1]};
        return;
    case RAFT_VOTE_REPLY:
        message->vote_reply = (struct raft_vote_reply){
            .pre = first, .granted = second, .request_term = form->words[0]};
        return;
    case RAFT_APPEND:
        set_append(&message->append, form);
        return;
    case RAFT_APPEND_REPLY:
        set_append_reply(&message->append_reply, form);
        return;
    case RAFT_HEARTBEAT:
        message->heartbeat =
            (struct raft_heartbeat){.commit_index = form->words[0], .round = form->words[1]};
        return;
    case RAFT_HEARTBEAT_REPLY:
        message->heartbeat_reply =
            (struct raft_heartbeat_reply){.round = form->words[0], .last_index = form->words[1]};
        return;
    case RAFT_TIMEOUT_NOW:
        return;
    }
    UNREACHABLE();
}

/* Entries are there exactly when they are counted, and only in an append; what they hold is for
 * raft_entry_next() to judge. */
static bool entries_are_plausible(enum raft_message_kind kind, uint32_t count, size_t size)
{
    if (kind != RAFT_APPEND) {
        return (count == 0 || kind == RAFT_HEARTBEAT_REPLY) && size == 0;
    }
    if (count == 0) {
        return size == 0;
    }
    return count <= size / RAFT_ENTRY_HEADER_SIZE;
}

enum error wire_raft_decode(struct bytes body, struct raft_message *message)
{
    ASSERT(body.data != NULL || body.size == 0);

    if (body.size < WORDS_AT || body.data[KIND_AT] < RAFT_VOTE_REQUEST ||
        body.data[KIND_AT] > RAFT_TIMEOUT_NOW || load_u16(body.data + ZEROS_AT) != 0) {
        return ERR_MALFORMED;
    }
    *message = (struct raft_message){.kind = (enum raft_message_kind)body.data[KIND_AT],
                                     .source = load_u64(body.data + SOURCE_AT),
                                     .target = load_u64(body.data + TARGET_AT),
                                     .term = load_u64(body.data + TERM_AT)};
    struct form form = form_of(message);
    size_t fixed_size = WORDS_AT + 8 * (size_t)form.word_count;
    uint32_t entry_count = load_u32(body.data + ENTRY_COUNT_AT);

    form.flags = body.data[FLAGS_AT];
    if (body.size < fixed_size || (form.flags & ~form.flags_known) != 0 ||
        !entries_are_plausible(message->kind, entry_count, body.size - fixed_size)) {
        return ERR_MALFORMED;
    }
    for (uint32_t i = 0; i < form.word_count; i++) {
        form.words[i] = load_u64(body.data + WORDS_AT + 8 * (size_t)i);
    }
    set_from_form(message, &form);
    if (message->kind == RAFT_HEARTBEAT_REPLY) {
        message->heartbeat_reply.promise_ms = entry_count;
    }
    if (message->kind == RAFT_APPEND) {
        message->append.entry_count = entry_count;
        message->append.first = bytes_skip(body, fixed_size);
        message->append.second = bytes_of(NULL, 0);
    }
    return ERR_OK;
}
