/* client/calls.c: the public calls, each a slot (slot.h) with what was passed. */
#include <stdlib.h>
#include <string.h>

#include "client/client.h"
#include "client/slot.h"

enum { TTL_MS_DEFAULT = 10000 };

/* --- Keys ------------------------------------------------------------------------------------ */

enum {
    KEY_SIZE_MAX = 480,
    VALUE_SIZE_MAX = 524288,
    CAS_VALUE_SIZE_MAX = 512000,
    LOCK_METADATA_SIZE_MAX = 255,
    LOCK_PERMIT_COUNT_MAX = 1000000,
    LOCK_DELAY_MS_MAX = 60000,
};
_Static_assert(KEY_SIZE_MAX + 2 * CAS_VALUE_SIZE_MAX + 1024 <= WIRE_FRAME_SIZE_MAX,
               "a key and both values of cas fit one message");

static struct holdfast_call *put(struct holdfast *client, struct holdfast_session *session,
                                 struct bytes key, struct bytes value, struct holdfast_call *call)
{
    (void)client;
    if (call == NULL) {
        return NULL;
    }
    call->core.session = session == NULL ? NULL : &session->core;
    if (slot_check_name(call, key.size, KEY_SIZE_MAX) &&
        slot_check_size(call, value.size, VALUE_SIZE_MAX) &&
        slot_reserve(call, key.size + value.size)) {
        call->core.request.put.key = slot_keep(call, key.data, key.size);
        call->core.request.put.value = slot_keep(call, value.data, value.size);
    }
    return slot_submit(call);
}

/* NOLINTNEXTLINE(readability-function-size): the public interface, with sizes and a context. */
struct holdfast_call *holdfast_put(struct holdfast *client, const void *key, size_t key_size,
                                   const void *value, size_t value_size, holdfast_callback callback,
                                   void *context)
{
    return put(client, NULL, bytes_of(key, key_size), bytes_of(value, value_size),
               slot_take(client, WIRE_METHOD_put, callback, context));
}

/* NOLINTNEXTLINE(readability-function-size): the public interface, with sizes and a context. */
struct holdfast_call *holdfast_session_put(struct holdfast_session *session, const void *key,
                                           size_t key_size, const void *value, size_t value_size,
                                           holdfast_callback callback, void *context)
{
    return put(session->client, session, bytes_of(key, key_size), bytes_of(value, value_size),
               slot_take(session->client, WIRE_METHOD_put, callback, context));
}

/* NOLINTNEXTLINE(readability-function-size): the public interface, with sizes and a context. */
struct holdfast_call *holdfast_session_bind(struct holdfast_session *session, const void *key,
                                            size_t key_size, const void *value, size_t value_size,
                                            holdfast_callback callback, void *context)
{
    struct holdfast_call *call = slot_take(session->client, WIRE_METHOD_put, callback, context);

    if (call != NULL) {
        call->core.request.put.bind = true;
    }
    return put(session->client, session, bytes_of(key, key_size), bytes_of(value, value_size),
               call);
}

struct holdfast_call *holdfast_get(struct holdfast *client, const void *key, size_t key_size,
                                   holdfast_callback callback, void *context)
{
    struct holdfast_call *call = slot_take(client, WIRE_METHOD_get, callback, context);

    if (call == NULL) {
        return NULL;
    }
    if (slot_check_name(call, key_size, KEY_SIZE_MAX) && slot_reserve(call, key_size)) {
        call->core.request.get.key = slot_keep(call, key, key_size);
    }
    return slot_submit(call);
}

struct holdfast_call *holdfast_delete(struct holdfast *client, const void *key, size_t key_size,
                                      holdfast_callback callback, void *context)
{
    struct holdfast_call *call = slot_take(client, WIRE_METHOD_delete, callback, context);

    if (call == NULL) {
        return NULL;
    }
    if (slot_check_name(call, key_size, KEY_SIZE_MAX) && slot_reserve(call, key_size)) {
        call->core.request.remove.key = slot_keep(call, key, key_size);
    }
    return slot_submit(call);
}

struct holdfast_call *holdfast_cas(struct holdfast *client, const struct holdfast_pair *pair,
                                   const void *expected, size_t expected_size,
                                   holdfast_callback callback, void *context)
{
    struct holdfast_call *call = slot_take(client, WIRE_METHOD_cas, callback, context);
    size_t present_size = expected == NULL ? 0 : expected_size;

    if (call == NULL) {
        return NULL;
    }
    if (slot_check_name(call, pair->key_size, KEY_SIZE_MAX) &&
        slot_check_size(call, pair->value_size, CAS_VALUE_SIZE_MAX) &&
        slot_check_size(call, present_size, CAS_VALUE_SIZE_MAX) &&
        slot_reserve(call, pair->key_size + pair->value_size + present_size)) {
        struct wire_cas *cas = &call->core.request.cas;
        cas->key = slot_keep(call, pair->key, pair->key_size);
        cas->value = slot_keep(call, pair->value, pair->value_size);
        cas->absent = expected == NULL;
        cas->expected = slot_keep(call, expected, present_size);
    }
    return slot_submit(call);
}

/* NOLINTNEXTLINE(readability-function-size): the public interface, with sizes and a context. */
struct holdfast_call *holdfast_list(struct holdfast *client, const void *prefix, size_t prefix_size,
                                    const void *after, size_t after_size,
                                    holdfast_callback callback, void *context)
{
    struct holdfast_call *call = slot_take(client, WIRE_METHOD_list, callback, context);

    if (call == NULL) {
        return NULL;
    }
    if (slot_check_size(call, prefix_size, KEY_SIZE_MAX) &&
        slot_check_size(call, after_size, KEY_SIZE_MAX) &&
        slot_reserve(call, prefix_size + after_size)) {
        call->core.request.list.prefix = slot_keep(call, prefix, prefix_size);
        call->core.request.list.after = slot_keep(call, after, after_size);
    }
    return slot_submit(call);
}

/* --- Sessions -------------------------------------------------------------------------------- */

static struct holdfast_session *take_session(struct holdfast *client,
                                             const struct holdfast_session_options *options)
{
    const char *owner = options->owner == NULL ? client->owner : options->owner;
    size_t owner_size = strlen(owner);

    ASSERT_VALUES(owner_size <= CLIENT_OWNER_SIZE_MAX, owner_size, CLIENT_OWNER_SIZE_MAX);
    client_lock(client);
    struct list *first = list_pop_front(&client->free_sessions);
    client_unlock(client);
    if (first == NULL) {
        return NULL;
    }
    struct holdfast_session *session = CONTAINER_OF(first, struct holdfast_session, queue);
    uint32_t slot = session->core.slot;
    memset(&session->core, 0, sizeof session->core);
    session->core.slot = slot;
    session->on_state = options->on_state;
    session->on_revoked = options->on_revoked;
    session->context = options->context;
    memcpy(session->owner, owner, owner_size + 1);
    atomic_store(&session->id, 0);
    atomic_store(&session->deadline_ms, 0);
    atomic_store(&session->state, (int)HOLDFAST_SESSION_SUSPECT);
    return session;
}

struct holdfast_call *holdfast_session_open(struct holdfast *client,
                                            const struct holdfast_session_options *options,
                                            struct holdfast_session **session,
                                            holdfast_callback callback, void *context)
{
    struct holdfast_session_options defaults = {0};
    struct holdfast_call *call = slot_take(client, WIRE_METHOD_session_open, callback, context);

    *session = NULL;
    if (call == NULL) {
        return NULL;
    }
    options = options == NULL ? &defaults : options;
    if (options->owner == NULL ||
        slot_check_size(call, strlen(options->owner), CLIENT_OWNER_SIZE_MAX)) {
        *session = take_session(client, options);
    }
    if (*session == NULL) {
        call->refusal = call->refusal == ERR_OK ? ERR_OVERLOADED : call->refusal;
        return slot_submit(call);
    }
    call->core.session = &(*session)->core;
    call->core.request.session_open.ttl_ms =
        options->ttl_ms == 0 ? TTL_MS_DEFAULT : options->ttl_ms;
    call->core.request.session_open.owner = bytes_of_text((*session)->owner);
    return slot_submit(call);
}

struct holdfast_call *holdfast_session_end(struct holdfast_session *session,
                                           holdfast_callback callback, void *context)
{
    struct holdfast_call *call =
        slot_take(session->client, WIRE_METHOD_session_end, callback, context);

    if (call == NULL) {
        return NULL;
    }
    call->core.session = &session->core;
    return slot_submit(call);
}

struct holdfast_call *holdfast_session_end_id(struct holdfast *client, uint64_t session,
                                              holdfast_callback callback, void *context)
{
    struct holdfast_call *call = slot_take(client, WIRE_METHOD_session_end, callback, context);

    if (call == NULL) {
        return NULL;
    }
    call->core.request.session_end.session = session;
    return slot_submit(call);
}

enum holdfast_session_state holdfast_session_state(const struct holdfast_session *session)
{
    int state = atomic_load(&session->state);
    bool is_open = atomic_load(&session->id) != 0;

    /* The thread that lets time pass may be late: the clock is not. */
    return is_open && holdfast_session_left_ms(session) == 0 ? HOLDFAST_SESSION_LOST
                                                             : (enum holdfast_session_state)state;
}

uint64_t holdfast_session_id(const struct holdfast_session *session)
{
    return atomic_load(&session->id);
}

uint64_t holdfast_session_left_ms(const struct holdfast_session *session)
{
    uint64_t before_ms;
    uint64_t deadline_ms = atomic_load(&session->deadline_ms);

    /* A deadline that has passed may have moved while the clock was read. */
    do {
        uint64_t now_ms = host_now_ms();
        if (deadline_ms > now_ms) {
            return deadline_ms - now_ms;
        }
        before_ms = deadline_ms;
        deadline_ms = atomic_load(&session->deadline_ms);
    } while (deadline_ms != before_ms);
    return 0;
}

/* --- Locks ----------------------------------------------------------------------------------- */

static bool keep_name(struct holdfast_call *call, const void *name, size_t name_size,
                      struct bytes *kept)
{
    if (!slot_check_lock(call, name, name_size) || !slot_reserve(call, name_size)) {
        return false;
    }
    *kept = slot_keep(call, name, name_size);
    return true;
}

struct holdfast_call *holdfast_lock_acquire(struct holdfast_session *session, const void *name,
                                            size_t name_size, int64_t wait_ms,
                                            holdfast_callback callback, void *context)
{
    const struct holdfast_lock_options options = {.wait_ms = wait_ms};

    return holdfast_lock_request(session, name, name_size, &options, callback, context);
}

/* A request that no node takes is never sent: it would use up a sequence. */
static bool check_lock_options(struct holdfast_call *call,
                               const struct holdfast_lock_options *options)
{
    bool counts = options->mode == HOLDFAST_PERMITS;
    bool is_known =
        options->mode == HOLDFAST_EXCLUSIVE || options->mode == HOLDFAST_SHARED || counts;
    bool fits = counts ? options->permits >= 1 && options->permits <= LOCK_PERMIT_COUNT_MAX &&
                             options->units <= options->permits
                       : options->permits == 0 && options->units == 0;

    if ((!is_known || !fits || options->delay_ms > LOCK_DELAY_MS_MAX) && call->refusal == ERR_OK) {
        call->refusal = ERR_MALFORMED;
    }
    return call->refusal == ERR_OK;
}

struct holdfast_call *holdfast_lock_request(struct holdfast_session *session, const void *name,
                                            size_t name_size,
                                            const struct holdfast_lock_options *options,
                                            holdfast_callback callback, void *context)
{
    struct holdfast_call *call =
        slot_take(session->client, WIRE_METHOD_lock_acquire, callback, context);
    size_t owner_size = options->owner == NULL ? 0 : strlen(options->owner);

    if (call == NULL) {
        return NULL;
    }
    if (slot_check_lock(call, name, name_size) &&
        slot_check_size(call, owner_size, CLIENT_OWNER_SIZE_MAX) &&
        slot_check_size(call, options->metadata_size, LOCK_METADATA_SIZE_MAX) &&
        check_lock_options(call, options) &&
        slot_reserve(call, name_size + owner_size + options->metadata_size)) {
        struct wire_lock_acquire *request = &call->core.request.lock_acquire;
        call->core.session = &session->core;
        call->core.wait_ms = options->wait_ms;
        request->name = slot_keep(call, name, name_size);
        request->owner = options->owner == NULL ? bytes_of_text(session->owner)
                                                : slot_keep(call, options->owner, owner_size);
        request->metadata = slot_keep(call, options->metadata, options->metadata_size);
        request->shared = options->mode == HOLDFAST_SHARED;
        request->permits = options->permits;
        request->units = options->units;
        request->delay_ms = options->delay_ms;
    }
    return slot_submit(call);
}

struct holdfast_call *holdfast_lock_release(struct holdfast_session *session, const void *name,
                                            size_t name_size, uint64_t token,
                                            holdfast_callback callback, void *context)
{
    struct holdfast_call *call =
        slot_take(session->client, WIRE_METHOD_lock_release, callback, context);

    if (call == NULL) {
        return NULL;
    }
    if (keep_name(call, name, name_size, &call->core.request.lock_release.name)) {
        call->core.session = &session->core;
        call->core.request.lock_release.token = token;
    }
    return slot_submit(call);
}

/* --- Looking --------------------------------------------------------------------------------- */

struct holdfast_call *holdfast_sessions(struct holdfast *client, uint64_t after,
                                        holdfast_callback callback, void *context)
{
    struct holdfast_call *call = slot_take(client, WIRE_METHOD_session_list, callback, context);

    if (call == NULL) {
        return NULL;
    }
    call->core.request.session_list.after = after;
    return slot_submit(call);
}

struct holdfast_call *holdfast_audit(struct holdfast *client, uint64_t after,
                                     holdfast_callback callback, void *context)
{
    struct holdfast_call *call = slot_take(client, WIRE_METHOD_audit_list, callback, context);

    if (call == NULL) {
        return NULL;
    }
    call->core.request.audit_list.after = after;
    return slot_submit(call);
}

/* --- The cluster ------------------------------------------------------------------------------ */

enum { MEMBER_NAME_SIZE_MAX = 32 };

/* One or two names; `other` may be NULL. */
static void keep_members(struct holdfast_call *call, const char *name, struct bytes *kept,
                         const char *other, struct bytes *other_kept)
{
    size_t other_size = other == NULL ? 0 : strlen(other);

    if (slot_check_name(call, strlen(name), MEMBER_NAME_SIZE_MAX) &&
        slot_check_size(call, other_size, MEMBER_NAME_SIZE_MAX) &&
        slot_reserve(call, strlen(name) + other_size)) {
        *kept = slot_keep(call, name, strlen(name));
        if (other_kept != NULL) {
            *other_kept = slot_keep(call, other, other_size);
        }
    }
}

struct holdfast_call *holdfast_member_add(struct holdfast *client, const char *name,
                                          bool is_learner, holdfast_callback callback,
                                          void *context)
{
    struct holdfast_call *call = slot_take(client, WIRE_METHOD_member_add, callback, context);

    if (call == NULL) {
        return NULL;
    }
    keep_members(call, name, &call->core.request.member_add.name, NULL, NULL);
    call->core.request.member_add.learner = is_learner;
    return slot_submit(call);
}

struct holdfast_call *holdfast_member_remove(struct holdfast *client, const char *name,
                                             holdfast_callback callback, void *context)
{
    struct holdfast_call *call = slot_take(client, WIRE_METHOD_member_remove, callback, context);

    if (call == NULL) {
        return NULL;
    }
    keep_members(call, name, &call->core.request.member_remove.name, NULL, NULL);
    return slot_submit(call);
}

struct holdfast_call *holdfast_member_promote(struct holdfast *client, const char *name,
                                              const char *replaced, holdfast_callback callback,
                                              void *context)
{
    struct holdfast_call *call = slot_take(client, WIRE_METHOD_member_promote, callback, context);

    if (call == NULL) {
        return NULL;
    }
    keep_members(call, name, &call->core.request.member_promote.name, replaced,
                 &call->core.request.member_promote.replace);
    return slot_submit(call);
}

struct holdfast_call *holdfast_leader_move(struct holdfast *client, const char *name,
                                           holdfast_callback callback, void *context)
{
    struct holdfast_call *call = slot_take(client, WIRE_METHOD_leader_move, callback, context);

    if (call == NULL) {
        return NULL;
    }
    keep_members(call, name, &call->core.request.leader_move.name, NULL, NULL);
    return slot_submit(call);
}

struct holdfast_call *holdfast_snapshot_open(struct holdfast *client, uint64_t index_min,
                                             holdfast_callback callback, void *context)
{
    struct holdfast_call *call = slot_take(client, WIRE_METHOD_snapshot_open, callback, context);

    if (call == NULL) {
        return NULL;
    }
    call->core.request.snapshot_open.index_min = index_min;
    return slot_submit(call);
}

struct holdfast_call *holdfast_snapshot_read(struct holdfast *client,
                                             const struct holdfast_snapshot *snapshot,
                                             uint64_t offset, holdfast_callback callback,
                                             void *context)
{
    struct holdfast_call *call = slot_take(client, WIRE_METHOD_snapshot_read, callback, context);

    if (call == NULL) {
        return NULL;
    }
    call->core.request.snapshot_read.index = snapshot->index;
    call->core.request.snapshot_read.id = snapshot->id;
    call->core.request.snapshot_read.offset = offset;
    return slot_submit(call);
}

struct holdfast_call *holdfast_node_status(struct holdfast *client, const char *endpoint,
                                           uint32_t timeout_ms, holdfast_callback callback,
                                           void *context)
{
    struct holdfast_call *call = slot_take(client, WIRE_METHOD_status, callback, context);
    size_t size = strlen(endpoint);

    if (call == NULL) {
        return NULL;
    }
    if (size > CORE_ADDRESS_SIZE_MAX || core_endpoints_check(bytes_of(endpoint, size)) != ERR_OK) {
        call->refusal = ERR_MALFORMED;
    } else if (slot_reserve(call, size)) {
        call->core.address = slot_keep(call, endpoint, size);
        call->core.timeout_ms = timeout_ms == 0 ? client->timeout_ms : timeout_ms;
    }
    return slot_submit(call);
}
