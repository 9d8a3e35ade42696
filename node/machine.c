/* node/machine.c: applying. One switch sends each command to the folder that decides it. */
#include "node/machine.h"

#include "base/assert.h"
#include "kv/kv.h"
#include "node/machine_read.h"
#include "node/machine_transact.h"
#include "node/window.h"

enum {
    META_KEY_PREFIX = 'm',
    META_SIZE = 17, /* Version, applied index, cluster time. */
    META_VERSION = 1,
    RENEW_COUNT_MAX = RAFT_ENTRY_SIZE_MAX / 8,
    DROP_COUNT_MAX = 64, /* Keys of ended sessions that one entry deletes, or such sessions. */
};

struct machine {
    struct table *table;
    struct windows *windows;
    raft_index applied_index;
    uint64_t log_ms;
    bool dirty;         /* The table's meta record is older than what was applied. */
    bool due_is_known;  /* No lease was touched since it was looked up. */
    uint64_t due_ms;    /* When lease_advance() has something to do. */
    bool hash_is_known; /* At `hash_index`. */
    raft_index hash_index;
    uint64_t hash;
    bool may_drop; /* Keys of sessions that have ended may be left. */
    struct lease_effects effects;
    struct lease_events *events; /* Of the effects. */
    struct feed *feed;           /* NULL: nobody asks. */
    uint8_t body[WINDOW_RESULT_SIZE_MAX];
    uint8_t *renewed; /* RENEW_COUNT_MAX bytes. */
    uint8_t *items;   /* Scratch of machine_read(): WIRE_FRAME_SIZE_MAX bytes. */
    uint8_t *answer;  /* Of a transaction, with what it read; likewise. */
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

/* --- Commands: each decodes its params, changes the table and encodes its result ------------- */

struct apply {
    struct machine *machine;
    struct envelope envelope;
    raft_index index;
    struct buffer body;
    struct bytes answer; /* When it is not empty: told instead of the body, which is kept. */
    struct wire_failure failure; /* Details besides the code. */
};

/* Every change of a key is told to the feed, in the order in which it happens. */

static void told_put(const struct apply *apply, struct bytes key, struct bytes value)
{
    if (apply->machine->feed != NULL) {
        feed_put(apply->machine->feed, key, value);
    }
}

static void told_delete(const struct apply *apply, struct bytes key)
{
    if (apply->machine->feed != NULL) {
        feed_delete(apply->machine->feed, key);
    }
}

static enum error apply_put(struct apply *apply)
{
    struct wire_put put;
    struct bytes rest = apply->envelope.params;
    enum error error = wire_put_decode(&rest, &put);

    if (error != ERR_OK) {
        return error;
    }
    if (put.bind && apply->envelope.session == 0) {
        return ERR_MALFORMED;
    }
    kv_put(apply->machine->table, put.key, put.value, put.bind ? apply->envelope.session : 0,
           apply->index);
    told_put(apply, put.key, put.value);
    struct wire_put_result result = {.revision = apply->index};
    return wire_put_result_encode(&result, &apply->body) ? ERR_OK : ERR_TOO_LARGE;
}

static enum error apply_delete(struct apply *apply)
{
    struct wire_delete request;
    struct bytes rest = apply->envelope.params;
    enum error error = wire_delete_decode(&rest, &request);

    if (error != ERR_OK) {
        return error;
    }
    transact_bury(apply->machine->table, apply->machine->feed, request.key, apply->machine->log_ms);
    if (!kv_delete(apply->machine->table, request.key)) {
        return ERR_NOT_FOUND;
    }
    told_delete(apply, request.key);
    struct wire_delete_result result = {.revision = apply->index};
    return wire_delete_result_encode(&result, &apply->body) ? ERR_OK : ERR_TOO_LARGE;
}

static enum error apply_cas(struct apply *apply)
{
    struct wire_cas cas;
    struct bytes rest = apply->envelope.params;
    enum error error = wire_cas_decode(&rest, &cas);

    if (error != ERR_OK) {
        return error;
    }
    struct kv_expected expected = {.absent = cas.absent, .value = cas.expected};
    transact_bury(apply->machine->table, apply->machine->feed, cas.key, apply->machine->log_ms);
    error = kv_compare_and_swap(apply->machine->table, cas.key, &expected, cas.value, apply->index);
    if (error != ERR_OK) {
        return error;
    }
    told_put(apply, cas.key, cas.value);
    struct wire_cas_result result = {.revision = apply->index};
    return wire_cas_result_encode(&result, &apply->body) ? ERR_OK : ERR_TOO_LARGE;
}

static enum error apply_session_open(struct apply *apply)
{
    struct wire_session_open open;
    struct bytes rest = apply->envelope.params;
    enum error error = wire_session_open_decode(&rest, &open);

    if (error != ERR_OK) {
        return error;
    }
    lease_session_open(apply->machine->table, apply->index, open.ttl_ms, open.owner,
                       apply->machine->log_ms);
    struct wire_session_open_result result = {
        .session = apply->index,
        .ttl_ms = open.ttl_ms,
        .attempt = open.attempt,
        .audit_next = lease_audit_last(apply->machine->table) + 1,
    };
    return wire_session_open_result_encode(&result, &apply->body) ? ERR_OK : ERR_TOO_LARGE;
}

static enum error apply_session_end(struct apply *apply)
{
    struct wire_session_end end;
    struct bytes rest = apply->envelope.params;
    enum error error = wire_session_end_decode(&rest, &end);

    if (error != ERR_OK) {
        return error;
    }
    error = lease_session_end(apply->machine->table, end.session, apply->machine->log_ms,
                              &apply->machine->effects);
    if (error != ERR_OK) {
        return error;
    }
    struct wire_session_end_result result = {0};
    return wire_session_end_result_encode(&result, &apply->body) ? ERR_OK : ERR_TOO_LARGE;
}

static struct lease_request lock_request(const struct apply *apply,
                                         const struct wire_lock_acquire *acquire)
{
    struct lease_request request = {
        .session = apply->envelope.session,
        .name = acquire->name,
        .mode = acquire->shared ? LEASE_SHARED : LEASE_EXCLUSIVE,
        .limit = acquire->permits,
        .units = acquire->units,
        .delay_ms = acquire->delay_ms,
        .wait = acquire->wait,
        .owner = acquire->owner,
        .metadata = acquire->metadata,
    };

    /* Both at once are left for lease/ to refuse. */
    if (acquire->permits != 0 && !acquire->shared) {
        request.mode = LEASE_PERMITS;
        request.units = acquire->units == 0 ? 1 : acquire->units;
    }
    return request;
}

static enum error apply_lock_acquire(struct apply *apply)
{
    struct wire_lock_acquire acquire;
    struct lease_acquired acquired = {0};
    struct bytes rest = apply->envelope.params;
    enum error error = wire_lock_acquire_decode(&rest, &acquire);

    if (error != ERR_OK) {
        return error;
    }
    const struct lease_request request = lock_request(apply, &acquire);

    error = lease_lock_acquire(apply->machine->table, &request, apply->machine->log_ms,
                               &apply->machine->effects, &acquired);
    if (error != ERR_OK) {
        apply->failure.holder = acquired.holder;
        apply->failure.holder_token = acquired.holder_token;
        apply->failure.text = bytes_of_text(lease_refusal_text(acquired.refusal));
        if (error == ERR_MALFORMED) {
            apply->failure.text = bytes_of_text(
                "permits, units or delay_ms are beyond their bounds, or do not go together");
        }
        return error;
    }
    struct wire_lock_acquire_result result = {.token = acquired.token,
                                              .position = acquired.position};
    return wire_lock_acquire_result_encode(&result, &apply->body) ? ERR_OK : ERR_TOO_LARGE;
}

static enum error apply_lock_break(struct apply *apply)
{
    struct wire_lock_break request;
    struct bytes rest = apply->envelope.params;
    enum error error = wire_lock_break_decode(&rest, &request);

    if (error != ERR_OK) {
        return error;
    }
    const struct lease_break forced = {
        .name = request.name,
        .token = request.token,
        .by = request.by,
        .reason = request.reason,
        .wall_ms = request.wall_ms,
    };
    error = lease_lock_break(apply->machine->table, &forced, apply->machine->log_ms,
                             &apply->machine->effects);
    if (error != ERR_OK) {
        return error;
    }
    struct wire_lock_break_result result = {0};
    return wire_lock_break_result_encode(&result, &apply->body) ? ERR_OK : ERR_TOO_LARGE;
}

static enum error apply_lock_release(struct apply *apply)
{
    struct wire_lock_release release;
    struct bytes rest = apply->envelope.params;
    enum error error = wire_lock_release_decode(&rest, &release);

    if (error != ERR_OK) {
        return error;
    }
    error = lease_lock_release(apply->machine->table, apply->envelope.session, release.name,
                               release.token, apply->machine->log_ms, &apply->machine->effects);
    if (error != ERR_OK) {
        return error;
    }
    struct wire_lock_release_result result = {0};
    return wire_lock_release_result_encode(&result, &apply->body) ? ERR_OK : ERR_TOO_LARGE;
}

static enum error apply_election_proclaim(struct apply *apply)
{
    struct wire_election_proclaim request;
    struct bytes rest = apply->envelope.params;
    enum error error = wire_election_proclaim_decode(&rest, &request);

    if (error != ERR_OK) {
        return error;
    }
    const struct lease_proclamation proclamation = {
        .session = apply->envelope.session,
        .name = request.name,
        .token = request.token,
        .metadata = request.value,
    };
    error = lease_lock_proclaim(apply->machine->table, &proclamation, apply->machine->log_ms,
                                &apply->machine->effects);
    if (error != ERR_OK) {
        return error;
    }
    struct wire_election_proclaim_result result = {0};
    return wire_election_proclaim_result_encode(&result, &apply->body) ? ERR_OK : ERR_TOO_LARGE;
}

static enum error apply_transact(struct apply *apply)
{
    struct machine *machine = apply->machine;
    struct buffer items = buffer_of(machine->items, WIRE_FRAME_SIZE_MAX);
    struct buffer answer = buffer_of(machine->answer, WIRE_FRAME_SIZE_MAX);
    const struct transact transact = {
        .table = machine->table,
        .feed = machine->feed,
        .session = apply->envelope.session,
        .revision = apply->index,
        .log_ms = machine->log_ms,
        .items = &items,
        .kept = &apply->body,
        .answer = &answer,
    };
    enum error error = transact_apply(&transact, apply->envelope.params);

    if (error == ERR_REFUSED) {
        apply->failure.text = bytes_of_text("what its gets find does not fit one answer; get less");
    }
    apply->answer = buffer_bytes(&answer);
    return error;
}

static enum error apply_write(struct apply *apply)
{
    switch ((enum wire_method)apply->envelope.method) {
    case WIRE_METHOD_put:
        return apply_put(apply);
    case WIRE_METHOD_delete:
        return apply_delete(apply);
    case WIRE_METHOD_cas:
        return apply_cas(apply);
    case WIRE_METHOD_session_open:
        return apply_session_open(apply);
    case WIRE_METHOD_session_end:
        return apply_session_end(apply);
    case WIRE_METHOD_lock_acquire:
        return apply_lock_acquire(apply);
    case WIRE_METHOD_lock_release:
        return apply_lock_release(apply);
    case WIRE_METHOD_lock_break:
        return apply_lock_break(apply);
    case WIRE_METHOD_election_proclaim:
        return apply_election_proclaim(apply);
    case WIRE_METHOD_transact:
        return apply_transact(apply);
    case WIRE_METHOD_NONE:
    case WIRE_METHOD_hello:
    case WIRE_METHOD_status:
    case WIRE_METHOD_get:
    case WIRE_METHOD_list:
    case WIRE_METHOD_session_renew:
    case WIRE_METHOD_session_list:
    case WIRE_METHOD_lock_show:
    case WIRE_METHOD_lock_list:
    case WIRE_METHOD_audit_list:
    case WIRE_METHOD_member_add:
    case WIRE_METHOD_member_remove:
    case WIRE_METHOD_member_promote:
    case WIRE_METHOD_leader_move:
    case WIRE_METHOD_snapshot_open:
    case WIRE_METHOD_snapshot_read:
    case WIRE_METHOD_election_show:
    case WIRE_NOTICE_granted:
    case WIRE_NOTICE_session_ended:
    case WIRE_NOTICE_revoked:
    case WIRE_NOTICE_leader_is:
    case WIRE_METHOD_watch:
    case WIRE_METHOD_watch_cancel:
    case WIRE_METHOD_watch_credit:
    case WIRE_NOTICE_changed:
    case WIRE_NOTICE_watch_ended:
        return ERR_UNKNOWN_METHOD;
    }
    /* A number of a later version: every replica of this one refuses it alike. */
    return ERR_UNKNOWN_METHOD;
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

bool machine_is_write(enum wire_method method)
{
    return method == WIRE_METHOD_put || method == WIRE_METHOD_delete || method == WIRE_METHOD_cas ||
           method == WIRE_METHOD_session_open || method == WIRE_METHOD_session_end ||
           method == WIRE_METHOD_lock_acquire || method == WIRE_METHOD_lock_release ||
           method == WIRE_METHOD_lock_break || method == WIRE_METHOD_election_proclaim ||
           method == WIRE_METHOD_transact;
}
