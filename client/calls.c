/* client/calls.c: the public calls: a slot, copies of what was passed, the queue of what was asked.
 */
#include <stdlib.h>
#include <string.h>

#include "client/client.h"

enum { TTL_MS_DEFAULT = 10000 };

/* --- Slots ----------------------------------------------------------------------------------- */

/* A slot; NULL when even those for refusals are used up. */
static struct holdfast_call *take_call(struct holdfast *client, enum wire_method method,
                                       holdfast_callback callback, void *context)
{
    ASSERT(client != NULL);
    client_lock(client);
    struct list *first = list_pop_front(&client->free_calls);
    client_unlock(client);
    if (first == NULL) {
        return NULL;
    }
    struct holdfast_call *call = CONTAINER_OF(first, struct holdfast_call, queue);
    memset(&call->core.request, 0, sizeof call->core.request);
    call->core.method = method;
    call->core.session = NULL;
    call->core.wait_ms = 0;
    call->core.timeout_ms = client->timeout_ms;
    call->callback = callback;
    call->context = context;
    call->refusal = ERR_OK;
    call->storage_size = 0;
    ASSERT(call->large == NULL);
    return call;
}

/* The mutex is held, or not needed. */
void call_release(struct holdfast *client, struct holdfast_call *call)
{
    list_remove(&call->cancelled);
    client->large_size -= call->large_size;
    free(call->large);
    call->large = NULL;
    call->large_size = 0;
    list_push_front(&client->free_calls, &call->queue);
}

static bool reserve(struct holdfast_call *call, size_t size)
{
    struct holdfast *client = call->client;

    ASSERT(call->large == NULL && call->storage_size == 0);
    if (size <= CLIENT_STORAGE_SIZE) {
        return true;
    }
    client_lock(client);
    bool fits = client->large_size + size <= CLIENT_LARGE_SIZE_MAX;
    client->large_size += fits ? size : 0;
    client_unlock(client);
    if (!fits) {
        call->refusal = ERR_OVERLOADED;
        return false;
    }
    call->large_size = size;
    call->large = calloc(1, size);
    if (call->large == NULL) {
        call->refusal = ERR_OVERLOADED;
        return false;
    }
    return true;
}

/* A copy within what was reserved. */
static struct bytes keep(struct holdfast_call *call, const void *data, size_t size)
{
    uint8_t *memory = call->large != NULL ? call->large : call->storage;
    uint8_t *copy = memory + call->storage_size;

    ASSERT(call->storage_size + size <=
           (call->large != NULL ? call->large_size : CLIENT_STORAGE_SIZE));
    if (size != 0) {
        memcpy(copy, data, size);
    }
    call->storage_size += size;
    return bytes_of(copy, size);
}

/* True when the call may go on. The limits are those of wire/messages.def. A request beyond them is
 * never sent: in a session it would use up a sequence that no node takes. */
static bool check_size(struct holdfast_call *call, size_t size, size_t limit)
{
    if (size > limit && call->refusal == ERR_OK) {
        call->refusal = ERR_TOO_LARGE;
    }
    return call->refusal == ERR_OK;
}

/* The same of a key or a name, which is not empty. */
static bool check_name(struct holdfast_call *call, size_t size, size_t limit)
{
    if (size == 0 && call->refusal == ERR_OK) {
        call->refusal = ERR_MALFORMED;
    }
    return check_size(call, size, limit);
}

static struct holdfast_call *submit(struct holdfast_call *call)
{
    struct holdfast *client = call->client;

    client_lock(client);
    list_push_back(&client->submitted, &call->queue);
    client_unlock(client);
    shell_wake(client->shell);
    return call;
}

void holdfast_cancel(struct holdfast_call *call)
{
    struct holdfast *client = call->client;

    client_lock(client);
    if (!list_is_linked(&call->cancelled)) {
        list_push_back(&client->cancelled, &call->cancelled);
    }
    client_unlock(client);
    shell_wake(client->shell);
}

/* --- Keys ------------------------------------------------------------------------------------ */

enum {
    KEY_SIZE_MAX = 480,
    VALUE_SIZE_MAX = 524288,
    CAS_VALUE_SIZE_MAX = 512000,
    LOCK_NAME_SIZE_MAX = 255,
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
    if (check_name(call, key.size, KEY_SIZE_MAX) && check_size(call, value.size, VALUE_SIZE_MAX) &&
        reserve(call, key.size + value.size)) {
        call->core.request.put.key = keep(call, key.data, key.size);
        call->core.request.put.value = keep(call, value.data, value.size);
    }
    return submit(call);
}

/* NOLINTNEXTLINE(readability-function-size): the public interface, with sizes and a context. */
struct holdfast_call *holdfast_put(struct holdfast *client, const void *key, size_t key_size,
                                   const void *value, size_t value_size, holdfast_callback callback,
                                   void *context)
{
    return put(client, NULL, bytes_of(key, key_size), bytes_of(value, value_size),
               take_call(client, WIRE_METHOD_put, callback, context));
}

/* NOLINTNEXTLINE(readability-function-size): the public interface, with sizes and a context. */
struct holdfast_call *holdfast_session_put(struct holdfast_session *session, const void *key,
                                           size_t key_size, const void *value, size_t value_size,
                                           holdfast_callback callback, void *context)
{
    return put(session->client, session, bytes_of(key, key_size), bytes_of(value, value_size),
               take_call(session->client, WIRE_METHOD_put, callback, context));
}

struct holdfast_call *holdfast_get(struct holdfast *client, const void *key, size_t key_size,
                                   holdfast_callback callback, void *context)
{
    struct holdfast_call *call = take_call(client, WIRE_METHOD_get, callback, context);

    if (call == NULL) {
        return NULL;
    }
    if (check_name(call, key_size, KEY_SIZE_MAX) && reserve(call, key_size)) {
        call->core.request.get.key = keep(call, key, key_size);
    }
    return submit(call);
}

struct holdfast_call *holdfast_delete(struct holdfast *client, const void *key, size_t key_size,
                                      holdfast_callback callback, void *context)
{
    struct holdfast_call *call = take_call(client, WIRE_METHOD_delete, callback, context);

    if (call == NULL) {
        return NULL;
    }
    if (check_name(call, key_size, KEY_SIZE_MAX) && reserve(call, key_size)) {
        call->core.request.remove.key = keep(call, key, key_size);
    }
    return submit(call);
}

struct holdfast_call *holdfast_cas(struct holdfast *client, const struct holdfast_pair *pair,
                                   const void *expected, size_t expected_size,
                                   holdfast_callback callback, void *context)
{
    struct holdfast_call *call = take_call(client, WIRE_METHOD_cas, callback, context);
    size_t present_size = expected == NULL ? 0 : expected_size;

    if (call == NULL) {
        return NULL;
    }
    if (check_name(call, pair->key_size, KEY_SIZE_MAX) &&
        check_size(call, pair->value_size, CAS_VALUE_SIZE_MAX) &&
        check_size(call, present_size, CAS_VALUE_SIZE_MAX) &&
        reserve(call, pair->key_size + pair->value_size + present_size)) {
        struct wire_cas *cas = &call->core.request.cas;
        cas->key = keep(call, pair->key, pair->key_size);
        cas->value = keep(call, pair->value, pair->value_size);
        cas->absent = expected == NULL;
        cas->expected = keep(call, expected, present_size);
    }
    return submit(call);
}

/* NOLINTNEXTLINE(readability-function-size): the public interface, with sizes and a context. */
struct holdfast_call *holdfast_list(struct holdfast *client, const void *prefix, size_t prefix_size,
                                    const void *after, size_t after_size,
                                    holdfast_callback callback, void *context)
{
    struct holdfast_call *call = take_call(client, WIRE_METHOD_list, callback, context);

    if (call == NULL) {
        return NULL;
    }
    if (check_size(call, prefix_size, KEY_SIZE_MAX) && check_size(call, after_size, KEY_SIZE_MAX) &&
        reserve(call, prefix_size + after_size)) {
        call->core.request.list.prefix = keep(call, prefix, prefix_size);
        call->core.request.list.after = keep(call, after, after_size);
    }
    return submit(call);
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
    struct holdfast_call *call = take_call(client, WIRE_METHOD_session_open, callback, context);

    *session = NULL;
    if (call == NULL) {
        return NULL;
    }
    options = options == NULL ? &defaults : options;
    if (options->owner == NULL || check_size(call, strlen(options->owner), CLIENT_OWNER_SIZE_MAX)) {
        *session = take_session(client, options);
    }
    if (*session == NULL) {
        call->refusal = call->refusal == ERR_OK ? ERR_OVERLOADED : call->refusal;
        return submit(call);
    }
    call->core.session = &(*session)->core;
    call->core.request.session_open.ttl_ms =
        options->ttl_ms == 0 ? TTL_MS_DEFAULT : options->ttl_ms;
    call->core.request.session_open.owner = bytes_of_text((*session)->owner);
    return submit(call);
}

struct holdfast_call *holdfast_session_end(struct holdfast_session *session,
                                           holdfast_callback callback, void *context)
{
    struct holdfast_call *call =
        take_call(session->client, WIRE_METHOD_session_end, callback, context);

    if (call == NULL) {
        return NULL;
    }
    call->core.session = &session->core;
    return submit(call);
}

struct holdfast_call *holdfast_session_end_id(struct holdfast *client, uint64_t session,
                                              holdfast_callback callback, void *context)
{
    struct holdfast_call *call = take_call(client, WIRE_METHOD_session_end, callback, context);

    if (call == NULL) {
        return NULL;
    }
    call->core.request.session_end.session = session;
    return submit(call);
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
    if (!check_name(call, name_size, LOCK_NAME_SIZE_MAX) || !reserve(call, name_size)) {
        return false;
    }
    *kept = keep(call, name, name_size);
    return true;
}

struct holdfast_call *holdfast_lock_acquire(struct holdfast_session *session, const void *name,
                                            size_t name_size, int64_t wait_ms,
                                            holdfast_callback callback, void *context)
{
    struct holdfast_call *call =
        take_call(session->client, WIRE_METHOD_lock_acquire, callback, context);

    if (call == NULL) {
        return NULL;
    }
    if (keep_name(call, name, name_size, &call->core.request.lock_acquire.name)) {
        call->core.session = &session->core;
        call->core.wait_ms = wait_ms;
        call->core.request.lock_acquire.owner = bytes_of_text(session->owner);
    }
    return submit(call);
}

struct holdfast_call *holdfast_lock_release(struct holdfast_session *session, const void *name,
                                            size_t name_size, uint64_t token,
                                            holdfast_callback callback, void *context)
{
    struct holdfast_call *call =
        take_call(session->client, WIRE_METHOD_lock_release, callback, context);

    if (call == NULL) {
        return NULL;
    }
    if (keep_name(call, name, name_size, &call->core.request.lock_release.name)) {
        call->core.session = &session->core;
        call->core.request.lock_release.token = token;
    }
    return submit(call);
}

/* --- Looking --------------------------------------------------------------------------------- */

struct holdfast_call *holdfast_sessions(struct holdfast *client, uint64_t after,
                                        holdfast_callback callback, void *context)
{
    struct holdfast_call *call = take_call(client, WIRE_METHOD_session_list, callback, context);

    if (call == NULL) {
        return NULL;
    }
    call->core.request.session_list.after = after;
    return submit(call);
}

/* NOLINTNEXTLINE(readability-function-size): the public interface, with sizes and a context. */
struct holdfast_call *holdfast_locks(struct holdfast *client, const void *prefix,
                                     size_t prefix_size, const void *after, size_t after_size,
                                     holdfast_callback callback, void *context)
{
    struct holdfast_call *call = take_call(client, WIRE_METHOD_lock_list, callback, context);

    if (call == NULL) {
        return NULL;
    }
    if (check_size(call, prefix_size, LOCK_NAME_SIZE_MAX) &&
        check_size(call, after_size, LOCK_NAME_SIZE_MAX) &&
        reserve(call, prefix_size + after_size)) {
        call->core.request.lock_list.prefix = keep(call, prefix, prefix_size);
        call->core.request.lock_list.after = keep(call, after, after_size);
    }
    return submit(call);
}

struct holdfast_call *holdfast_lock_show(struct holdfast *client, const void *name,
                                         size_t name_size, holdfast_callback callback,
                                         void *context)
{
    struct holdfast_call *call = take_call(client, WIRE_METHOD_lock_show, callback, context);

    if (call == NULL) {
        return NULL;
    }
    (void)keep_name(call, name, name_size, &call->core.request.lock_show.name);
    return submit(call);
}

/* --- The cluster ------------------------------------------------------------------------------ */

enum { MEMBER_NAME_SIZE_MAX = 32 };

/* One or two names; `other` may be NULL. */
static void keep_members(struct holdfast_call *call, const char *name, struct bytes *kept,
                         const char *other, struct bytes *other_kept)
{
    size_t other_size = other == NULL ? 0 : strlen(other);

    if (check_name(call, strlen(name), MEMBER_NAME_SIZE_MAX) &&
        check_size(call, other_size, MEMBER_NAME_SIZE_MAX) &&
        reserve(call, strlen(name) + other_size)) {
        *kept = keep(call, name, strlen(name));
        if (other_kept != NULL) {
            *other_kept = keep(call, other, other_size);
        }
    }
}

struct holdfast_call *holdfast_member_add(struct holdfast *client, const char *name,
                                          bool is_learner, holdfast_callback callback,
                                          void *context)
{
    struct holdfast_call *call = take_call(client, WIRE_METHOD_member_add, callback, context);

    if (call == NULL) {
        return NULL;
    }
    keep_members(call, name, &call->core.request.member_add.name, NULL, NULL);
    call->core.request.member_add.learner = is_learner;
    return submit(call);
}

struct holdfast_call *holdfast_member_remove(struct holdfast *client, const char *name,
                                             holdfast_callback callback, void *context)
{
    struct holdfast_call *call = take_call(client, WIRE_METHOD_member_remove, callback, context);

    if (call == NULL) {
        return NULL;
    }
    keep_members(call, name, &call->core.request.member_remove.name, NULL, NULL);
    return submit(call);
}

struct holdfast_call *holdfast_member_promote(struct holdfast *client, const char *name,
                                              const char *replaced, holdfast_callback callback,
                                              void *context)
{
    struct holdfast_call *call = take_call(client, WIRE_METHOD_member_promote, callback, context);

    if (call == NULL) {
        return NULL;
    }
    keep_members(call, name, &call->core.request.member_promote.name, replaced,
                 &call->core.request.member_promote.replace);
    return submit(call);
}

struct holdfast_call *holdfast_leader_move(struct holdfast *client, const char *name,
                                           holdfast_callback callback, void *context)
{
    struct holdfast_call *call = take_call(client, WIRE_METHOD_leader_move, callback, context);

    if (call == NULL) {
        return NULL;
    }
    keep_members(call, name, &call->core.request.leader_move.name, NULL, NULL);
    return submit(call);
}

struct holdfast_call *holdfast_snapshot_open(struct holdfast *client, uint64_t index_min,
                                             holdfast_callback callback, void *context)
{
    struct holdfast_call *call = take_call(client, WIRE_METHOD_snapshot_open, callback, context);

    if (call == NULL) {
        return NULL;
    }
    call->core.request.snapshot_open.index_min = index_min;
    return submit(call);
}

struct holdfast_call *holdfast_snapshot_read(struct holdfast *client,
                                             const struct holdfast_snapshot *snapshot,
                                             uint64_t offset, holdfast_callback callback,
                                             void *context)
{
    struct holdfast_call *call = take_call(client, WIRE_METHOD_snapshot_read, callback, context);

    if (call == NULL) {
        return NULL;
    }
    call->core.request.snapshot_read.index = snapshot->index;
    call->core.request.snapshot_read.id = snapshot->id;
    call->core.request.snapshot_read.offset = offset;
    return submit(call);
}

struct holdfast_call *holdfast_node_status(struct holdfast *client, const char *endpoint,
                                           uint32_t timeout_ms, holdfast_callback callback,
                                           void *context)
{
    struct holdfast_call *call = take_call(client, WIRE_METHOD_status, callback, context);
    size_t size = strlen(endpoint);

    if (call == NULL) {
        return NULL;
    }
    if (size > CORE_ADDRESS_SIZE_MAX || core_endpoints_check(bytes_of(endpoint, size)) != ERR_OK) {
        call->refusal = ERR_MALFORMED;
    } else if (reserve(call, size)) {
        call->core.address = keep(call, endpoint, size);
        call->core.timeout_ms = timeout_ms == 0 ? client->timeout_ms : timeout_ms;
    }
    return submit(call);
}
