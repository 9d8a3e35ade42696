/* node/machine.c: applying: what is due, each request once, and what has become of them. What the
 * commands of clients do is in node/machine_write.c. */
#include "node/machine.h"

#include "base/assert.h"
#include "kv/kv.h"
#include "node/machine_internal.h"
#include "node/machine_read.h"
#include "node/window.h"

enum {
    META_KEY_PREFIX = 'm',
    META_SIZE = 17, /* Version, applied index, cluster time. */
    META_VERSION = 1,
    RENEW_COUNT_MAX = RAFT_ENTRY_SIZE_MAX / 8,
    DROP_COUNT_MAX = 64, /* Keys of ended sessions that one entry deletes, or such sessions. */
};

static const uint8_t meta_key[] = {META_KEY_PREFIX};

size_t machine_memory_size(void)
{
    return arena_cost(1, sizeof(struct machine)) + windows_memory_size() +
           arena_cost(1, RENEW_COUNT_MAX) + 2 * arena_cost(1, WIRE_FRAME_SIZE_MAX) +
           arena_cost(1, sizeof(struct lease_events));
}

struct machine *machine_open(struct arena *arena, struct table *table)
{
    struct machine *machine = arena_take(arena, 1, sizeof(*machine));

    memset(machine, 0, sizeof(*machine));
    machine->table = table;
    machine->windows = windows_open(arena, table);
    machine->renewed = arena_take(arena, 1, RENEW_COUNT_MAX);
    machine->items = arena_take(arena, 1, WIRE_FRAME_SIZE_MAX);
    machine->answer = arena_take(arena, 1, WIRE_FRAME_SIZE_MAX);
    machine->events = arena_take(arena, 1, sizeof(struct lease_events));
    machine_reload(machine);
    return machine;
}

void machine_feed(struct machine *machine, struct feed *feed)
{
    ASSERT(feed_revision(feed) == machine->applied_index);
    machine->feed = feed;
    machine->effects.events = machine->events;
}

void machine_reload(struct machine *machine)
{
    struct bytes meta;

    windows_forget(machine->windows);
    machine->applied_index = 0;
    machine->log_ms = 0;
    machine->dirty = false;
    machine->due_is_known = false;
    machine->hash_is_known = false;
    machine->may_drop = true;
    if (table_get(machine->table, bytes_of(meta_key, sizeof(meta_key)), &meta)) {
        ASSERT_VALUES(meta.size == META_SIZE, meta.size, META_SIZE);
        ASSERT_VALUES(meta.data[0] == META_VERSION, meta.data[0], META_VERSION);
        machine->applied_index = load_u64(meta.data + 1);
        machine->log_ms = load_u64(meta.data + 9);
    }
    if (machine->feed != NULL) {
        feed_reset(machine->feed, machine->applied_index);
    }
}

raft_index machine_applied_index(const struct machine *machine)
{
    return machine->applied_index;
}

uint64_t machine_log_ms(const struct machine *machine)
{
    return machine->log_ms;
}

static void encode_failure(struct apply *apply, enum error error)
{
    apply->failure.code = (uint32_t)error;
    apply->failure.name = bytes_of_text(error_name(error));
    if (apply->failure.text.size == 0) {
        apply->failure.text = bytes_of_text(error_text(error));
    }
    apply->body.size = 0;
    bool fits = wire_failure_encode(&apply->failure, &apply->body);
    ASSERT_VALUES(fits, apply->body.capacity, error);
}

static void apply_renew(struct apply *apply, struct machine_result *result)
{
    struct machine *machine = apply->machine;
    size_t count = apply->envelope.params.size / 8;

    ASSERT_VALUES(count <= RENEW_COUNT_MAX, count, apply->index);
    for (size_t i = 0; i < count; i++) {
        uint64_t session = load_u64(apply->envelope.params.data + 8 * i);
        enum error error = lease_session_renew(machine->table, session, machine->log_ms);

        machine->renewed[i] = error == ERR_OK ? 1 : 0;
    }
    result->renewed = bytes_of(machine->renewed, count);
}

/* Whether a request of a session is to be executed now: ERR_OK; `*stored` is set when it was. */
static enum error look_up(struct machine *machine, const struct envelope *envelope,
                          struct window_result *stored, bool *is_repeated)
{
    *is_repeated = false;
    if (!lease_session_is_alive(machine->table, envelope->session, machine->log_ms)) {
        return ERR_SESSION_EXPIRED;
    }
    switch (windows_look(machine->windows, envelope->session, envelope->sequence, stored)) {
    case WINDOW_NEXT:
        return ERR_OK;
    case WINDOW_REPEATED:
        *is_repeated = true;
        return stored->error;
    case WINDOW_STALE:
        return ERR_STALE;
    case WINDOW_GAP:
        return ERR_SEQUENCE_GAP;
    }
    UNREACHABLE();
}

/* Executes a request once: what was executed before gives its stored result again. */
static void apply_request(struct apply *apply, struct machine_result *result)
{
    const struct envelope *envelope = &apply->envelope;
    struct window_result stored = {0};
    bool is_repeated = false;
    bool is_next = false;

    if (envelope->session != 0) {
        result->error = look_up(apply->machine, envelope, &stored, &is_repeated);
        is_next = result->error == ERR_OK && !is_repeated;
    }
    if (is_repeated) {
        result->body = stored.body;
        return;
    }
    if (result->error == ERR_OK) {
        result->error = apply_write(apply);
    }
    if (result->error != ERR_OK) {
        encode_failure(apply, result->error);
    }
    result->body = buffer_bytes(&apply->body);
    if (is_next) {
        stored = (struct window_result){.error = result->error, .body = result->body};
        windows_store(apply->machine->windows, envelope->session, envelope->sequence, &stored);
    }
    if (result->error == ERR_OK && apply->answer.size != 0) {
        result->body = apply->answer;
    }
}

uint64_t machine_due_ms(struct machine *machine)
{
    if (!machine->due_is_known) {
        machine->due_is_known = true;
        if (!lease_next_deadline(machine->table, &machine->due_ms)) {
            machine->due_ms = UINT64_MAX;
        }
    }
    return machine->due_ms;
}

/* What is due comes first, so that the command of the same entry already finds it gone. True when
 * more is due than one entry may do. */
static bool advance(struct machine *machine)
{
    if (machine_due_ms(machine) > machine->log_ms) {
        return false;
    }
    machine->due_is_known = false;
    return lease_advance(machine->table, machine->log_ms, &machine->effects);
}

/* Keys have no deadlines: between writes to them the next one stays as it is. */
static bool touches_leases(uint8_t method)
{
    return method != WIRE_METHOD_put && method != WIRE_METHOD_delete && method != WIRE_METHOD_cas &&
           method != ENVELOPE_TICK;
}

/* Sessions that have ended since the first `from`: their results are forgotten, their keys go. */
static void drop_ended(struct machine *machine, uint32_t from)
{
    for (uint32_t i = from; i < machine->effects.ended_count; i++) {
        windows_drop(machine->windows, machine->effects.ended[i]);
        if (kv_session_end(machine->table, machine->effects.ended[i])) {
            machine->may_drop = true;
        }
    }
}

/* Nobody sees these keys any more: they are of sessions that are dead. */
static void drop_keys(struct machine *machine)
{
    struct kv_dropped_key key;

    for (uint32_t i = 0; i < DROP_COUNT_MAX && machine->may_drop; i++) {
        enum kv_dropped dropped = kv_drop(machine->table, &key);

        machine->may_drop = dropped != KV_DROPPED_NOTHING;
        if (dropped == KV_DROPPED_KEY && machine->feed != NULL) {
            feed_delete(machine->feed, bytes_of(key.data, key.size));
        }
    }
}

/* What became of locks since the last time. */
static void tell_locks(struct machine *machine)
{
    if (machine->feed != NULL) {
        feed_locks(machine->feed, machine->events);
        machine->events->count = 0;
    }
}

static void effects_begin(struct machine *machine, raft_index index)
{
    machine->effects.grant_count = 0;
    machine->effects.ended_count = 0;
    machine->effects.revoked_count = 0;
    machine->effects.elections = 0;
    if (machine->feed != NULL) {
        machine->events->count = 0;
        feed_begin(machine->feed, index);
    }
}

void machine_apply(struct machine *machine, const struct raft_entry *entry,
                   struct machine_result *result)
{
    struct apply apply = {
        .machine = machine,
        .index = entry->index,
        .body = buffer_of(machine->body, sizeof(machine->body)),
    };

    ASSERT_VALUES(entry->index == machine->applied_index + 1, entry->index, machine->applied_index);
    machine->applied_index = entry->index;
    machine->dirty = true;
    effects_begin(machine, entry->index);
    *result =
        (struct machine_result){.more_is_due = machine->may_drop, .effects = &machine->effects};
    if (entry->kind == RAFT_ENTRY_CONFIGURATION) {
        return; /* Raft's own. What is due waits for the next stamp. */
    }
    if (!envelope_decode(entry->payload, &apply.envelope)) {
        result->error = ERR_MALFORMED;
        return;
    }
    result->method = apply.envelope.method;
    if (apply.envelope.log_ms > machine->log_ms) {
        machine->log_ms = apply.envelope.log_ms;
    }
    result->more_is_due = advance(machine);
    drop_ended(machine, 0);
    tell_locks(machine);
    if (touches_leases(apply.envelope.method)) {
        machine->due_is_known = false;
    }
    uint32_t ended_before = machine->effects.ended_count;
    switch (apply.envelope.method) {
    case ENVELOPE_TICK:
        break;
    case ENVELOPE_RENEW:
        apply_renew(&apply, result);
        break;
    default:
        apply_request(&apply, result);
        break;
    }
    drop_ended(machine, ended_before);
    tell_locks(machine);
    drop_keys(machine);
    result->more_is_due = result->more_is_due || machine->may_drop;
}

bool machine_lookup(struct machine *machine, uint64_t session, uint64_t sequence,
                    struct machine_result *result)
{
    struct window_result stored;

    ASSERT(session != 0);
    ASSERT(sequence != 0);
    if (!lease_session_is_alive(machine->table, session, machine->log_ms) ||
        windows_look(machine->windows, session, sequence, &stored) != WINDOW_REPEATED) {
        return false;
    }
    *result = (struct machine_result){.error = stored.error, .body = stored.body};
    return true;
}

static void flush(struct machine *machine)
{
    uint8_t meta[META_SIZE] = {META_VERSION};

    windows_flush(machine->windows);
    if (machine->dirty) {
        store_u64(meta + 1, machine->applied_index);
        store_u64(meta + 9, machine->log_ms);
        table_put(machine->table, bytes_of(meta_key, sizeof(meta_key)),
                  bytes_of(meta, sizeof(meta)));
        machine->dirty = false;
    }
}

void machine_commit(struct machine *machine)
{
    flush(machine);
    if (table_dirty_bytes(machine->table) != 0) {
        table_commit(machine->table);
    }
}

void machine_refound(struct machine *machine, raft_index index, uint64_t token_raise)
{
    ASSERT_VALUES(index >= machine->applied_index, index, machine->applied_index);
    windows_clear(machine->windows);
    lease_restart(machine->table, token_raise);
    kv_restart(machine->table);
    machine->applied_index = index;
    machine->dirty = true;
    machine->due_is_known = false;
    machine->hash_is_known = false;
    if (machine->feed != NULL) {
        feed_reset(machine->feed, index);
    }
    machine_commit(machine);
}

uint64_t machine_hash(struct machine *machine)
{
    if (!machine->hash_is_known || machine->hash_index != machine->applied_index) {
        flush(machine);
        machine->hash = table_hash(machine->table);
        machine->hash_index = machine->applied_index;
        machine->hash_is_known = true;
    }
    return machine->hash;
}

enum error machine_read(struct machine *machine, enum wire_method method, struct bytes params,
                        uint64_t now_ms, struct buffer *out)
{
    struct machine_reader reader = {
        .table = machine->table,
        .revision = machine->applied_index,
        .log_ms = machine->log_ms,
        .now_ms = now_ms > machine->log_ms ? now_ms : machine->log_ms,
        .items = buffer_of(machine->items, WIRE_FRAME_SIZE_MAX),
        .out = out,
    };

    return machine_reader_read(&reader, method, params);
}
