/* node/dump.c: records of the log as JSON lines. */
#include "node/dump.h"

#include "base/assert.h"
#include "base/text.h"
#include "node/envelope.h"
#include "raft/entry.h"
#include "wire/wire.h"

enum {
    PARAMS_SIZE_MAX = 4096, /* Of the params as JSON. */
    SESSION_COUNT_MAX = 64, /* Of an entry of renewals, the first so many are shown. */
};

_Static_assert(PARAMS_SIZE_MAX + SESSION_COUNT_MAX * 24 + 512 < DUMP_LINE_SIZE_MAX,
               "a line holds whatever one record shows");

static void add_number(struct text *text, const char *key, uint64_t value)
{
    text_add(text, ",\"");
    text_add(text, key);
    text_add(text, "\":");
    text_add_u64(text, value);
}

static const char *kind_name(enum raft_entry_kind kind)
{
    switch (kind) {
    case RAFT_ENTRY_COMMAND:
        return "command";
    case RAFT_ENTRY_NOOP:
        return "noop";
    case RAFT_ENTRY_CONFIGURATION:
        return "configuration";
    }
    return "unknown";
}

static const char *method_name(uint8_t method)
{
    if (method == ENVELOPE_TICK) {
        return "tick";
    }
    return method == ENVELOPE_RENEW ? "renew" : wire_method_name((enum wire_method)method);
}

static void add_sessions(struct text *text, struct bytes params)
{
    size_t count = params.size / 8;

    add_number(text, "count", count);
    text_add(text, ",\"sessions\":[");
    for (size_t i = 0; i < count && i < SESSION_COUNT_MAX; i++) {
        text_add(text, i == 0 ? "" : ",");
        text_add_u64(text, load_u64(params.data + 8 * i));
    }
    text_add(text, "]");
}

static void add_params(struct text *text, const struct envelope *envelope)
{
    uint8_t memory[PARAMS_SIZE_MAX];
    struct buffer json = buffer_of(memory, sizeof(memory));

    if (envelope->method == ENVELOPE_TICK) {
        return;
    }
    if (envelope->method == ENVELOPE_RENEW) {
        add_sessions(text, envelope->params);
        return;
    }
    wire_params_to_json((enum wire_method)envelope->method, envelope->params, &json);
    if (json.size != 0) {
        text_add(text, ",\"params\":");
        text_add_bytes(text, buffer_bytes(&json));
    }
}

static void add_entry(struct text *text, const struct raft_entry *entry)
{
    struct envelope envelope;

    text_add(text, "{\"index\":");
    text_add_u64(text, entry->index);
    add_number(text, "term", entry->term);
    text_add(text, ",\"kind\":\"");
    text_add(text, kind_name(entry->kind));
    text_add(text, "\"");
    if (!envelope_decode(entry->payload, &envelope)) {
        text_add(text, ",\"problem\":\"the payload is not an envelope of a known version\"}");
        return;
    }
    text_add(text, ",\"method\":\"");
    text_add(text, method_name(envelope.method));
    text_add(text, "\"");
    add_number(text, "log_ms", envelope.log_ms);
    add_number(text, "session", envelope.session);
    add_number(text, "sequence", envelope.sequence);
    add_params(text, &envelope);
    text_add(text, "}");
}

bool dump_record(struct bytes *records, struct buffer *line)
{
    char memory[DUMP_LINE_SIZE_MAX];
    struct text text;
    struct raft_entry entry;

    if (records->size == 0) {
        return false;
    }
    text_init(&text, memory, sizeof(memory));
    if (raft_entry_next(records, &entry)) {
        add_entry(&text, &entry);
    } else {
        text_add(&text, "{\"problem\":\"the bytes are not an entry\"}");
        *records = (struct bytes){0};
    }
    ASSERT(!text.truncated);
    bool fits = buffer_append(line, bytes_of(text.data, text.size));

    ASSERT_VALUES(fits, text.size, line->capacity);
    return true;
}
