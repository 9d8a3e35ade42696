/* client/elections.c: the public calls of elections, and those that know them from locks.
 *
 * An election is a lock whose name begins with a zero byte (docs/protocol.md), so the two name
 * spaces never meet. Whoever uses the library sees only the name behind it. */
#include <string.h>

#include "client/client.h"
#include "client/slot.h"

enum { VALUE_SIZE_MAX = 255, REASON_SIZE_MAX = 255, DELAY_MS_MAX = 60000 };

/* The size of an election's name, and of its lock's. */
static size_t lock_size(size_t name_size)
{
    return name_size + 1;
}

/* What slot_reserve() has room for: lock_size(). */
static struct bytes keep_election(struct holdfast_call *call, const void *name, size_t name_size)
{
    struct bytes mark = slot_keep(call, "", 1);

    (void)slot_keep(call, name, name_size); /* Right behind it. */
    return bytes_of(mark.data, lock_size(name_size));
}

static bool keep_name(struct holdfast_call *call, const void *name, size_t name_size,
                      struct bytes *kept)
{
    if (!slot_check_name(call, name_size, ELECTION_NAME_SIZE_MAX) ||
        !slot_reserve(call, lock_size(name_size))) {
        return false;
    }
    *kept = keep_election(call, name, name_size);
    return true;
}

/* --- Leading ---------------------------------------------------------------------------------- */

struct holdfast_call *holdfast_election_campaign(struct holdfast_session *session, const void *name,
                                                 size_t name_size,
                                                 const struct holdfast_campaign_options *options,
                                                 holdfast_callback callback, void *context)
{
    struct holdfast_call *call =
        slot_take(session->client, WIRE_METHOD_lock_acquire, callback, context);
    size_t owner_size = options->owner == NULL ? 0 : strlen(options->owner);

    if (call == NULL) {
        return NULL;
    }
    if (options->delay_ms > DELAY_MS_MAX) {
        call->refusal = ERR_MALFORMED;
    }
    if (slot_check_name(call, name_size, ELECTION_NAME_SIZE_MAX) &&
        slot_check_size(call, owner_size, CLIENT_OWNER_SIZE_MAX) &&
        slot_check_size(call, options->value_size, VALUE_SIZE_MAX) &&
        slot_reserve(call, lock_size(name_size) + owner_size + options->value_size)) {
        struct wire_lock_acquire *request = &call->core.request.lock_acquire;
        call->core.session = &session->core;
        call->core.wait_ms = options->wait_ms;
        request->name = keep_election(call, name, name_size);
        request->owner = options->owner == NULL ? bytes_of_text(session->owner)
                                                : slot_keep(call, options->owner, owner_size);
        request->metadata = slot_keep(call, options->value, options->value_size);
        request->delay_ms = options->delay_ms;
    }
    return slot_submit(call);
}

struct holdfast_call *holdfast_election_proclaim(struct holdfast_session *session,
                                                 const struct holdfast_proclamation *proclamation,
                                                 holdfast_callback callback, void *context)
{
    struct holdfast_call *call =
        slot_take(session->client, WIRE_METHOD_election_proclaim, callback, context);
    size_t name_size = proclamation->name_size;

    if (call == NULL) {
        return NULL;
    }
    if (slot_check_name(call, name_size, ELECTION_NAME_SIZE_MAX) &&
        slot_check_size(call, proclamation->value_size, VALUE_SIZE_MAX) &&
        slot_reserve(call, lock_size(name_size) + proclamation->value_size)) {
        struct wire_election_proclaim *request = &call->core.request.election_proclaim;
        call->core.session = &session->core;
        request->name = keep_election(call, proclamation->name, name_size);
        request->token = proclamation->token;
        request->value = slot_keep(call, proclamation->value, proclamation->value_size);
    }
    return slot_submit(call);
}

struct holdfast_call *holdfast_election_resign(struct holdfast_session *session, const void *name,
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

/* --- Forced unlocks --------------------------------------------------------------------------- */

struct holdfast_call *holdfast_lock_break(struct holdfast *client,
                                          const struct holdfast_forced_unlock *request,
                                          holdfast_callback callback, void *context)
{
    struct holdfast_call *call = slot_take(client, WIRE_METHOD_lock_break, callback, context);
    const char *by = request->by == NULL ? client->owner : request->by;
    size_t reason_size = request->reason == NULL ? 0 : strlen(request->reason);

    if (call == NULL) {
        return NULL;
    }
    bool is_named = request->is_election
                        ? slot_check_name(call, request->name_size, ELECTION_NAME_SIZE_MAX)
                        : slot_check_lock(call, request->name, request->name_size);

    if (is_named && slot_check_name(call, reason_size, REASON_SIZE_MAX) &&
        slot_check_size(call, strlen(by), CLIENT_OWNER_SIZE_MAX) &&
        slot_reserve(call, lock_size(request->name_size) + reason_size + strlen(by))) {
        struct wire_lock_break *message = &call->core.request.lock_break;
        message->name = request->is_election
                            ? keep_election(call, request->name, request->name_size)
                            : slot_keep(call, request->name, request->name_size);
        message->token = request->token;
        message->reason = slot_keep(call, request->reason, reason_size);
        message->by = slot_keep(call, by, strlen(by));
        message->wall_ms = request->wall_ms;
    }
    return slot_submit(call);
}

/* --- Looking ---------------------------------------------------------------------------------- */

/* NOLINTNEXTLINE(readability-function-size): the public interface, with sizes and a context. */
struct holdfast_call *holdfast_election_observe(struct holdfast *client, const void *name,
                                                size_t name_size,
                                                const struct holdfast_leader_info *seen,
                                                uint32_t wait_ms, holdfast_callback callback,
                                                void *context)
{
    struct holdfast_call *call = slot_take(client, WIRE_METHOD_election_show, callback, context);
    size_t value_size = seen == NULL ? 0 : seen->value_size;

    if (call == NULL) {
        return NULL;
    }
    if (slot_check_name(call, name_size, ELECTION_NAME_SIZE_MAX) &&
        slot_check_size(call, value_size, VALUE_SIZE_MAX) &&
        slot_reserve(call, lock_size(name_size) + value_size)) {
        struct wire_election_show *request = &call->core.request.election_show;
        call->core.wait_ms = seen == NULL ? 0 : wait_ms;
        request->name = keep_election(call, name, name_size);
        request->token = seen == NULL ? 0 : seen->token;
        request->value = slot_keep(call, seen == NULL ? NULL : seen->value, value_size);
    }
    return slot_submit(call);
}

/* NOLINTNEXTLINE(readability-function-size): the public interface, with sizes and a context. */
struct holdfast_call *holdfast_locks(struct holdfast *client, const void *prefix,
                                     size_t prefix_size, const void *after, size_t after_size,
                                     holdfast_callback callback, void *context)
{
    struct holdfast_call *call = slot_take(client, WIRE_METHOD_lock_list, callback, context);
    uint8_t elections_end[LOCK_NAME_SIZE_MAX] = {0};

    if (call == NULL) {
        return NULL;
    }
    if (prefix_size == 0 && after_size == 0) {
        memset(elections_end + 1, 0xff, sizeof(elections_end) - 1);
        after = elections_end; /* They lie in front of all locks. */
        after_size = sizeof(elections_end);
    }
    if (slot_check_size(call, prefix_size, LOCK_NAME_SIZE_MAX) &&
        slot_check_size(call, after_size, LOCK_NAME_SIZE_MAX) &&
        slot_reserve(call, prefix_size + after_size)) {
        call->core.request.lock_list.prefix = slot_keep(call, prefix, prefix_size);
        call->core.request.lock_list.after = slot_keep(call, after, after_size);
    }
    return slot_submit(call);
}

/* NOLINTNEXTLINE(readability-function-size): the public interface, with sizes and a context. */
struct holdfast_call *holdfast_elections(struct holdfast *client, const void *prefix,
                                         size_t prefix_size, const void *after, size_t after_size,
                                         holdfast_callback callback, void *context)
{
    struct holdfast_call *call = slot_take(client, WIRE_METHOD_lock_list, callback, context);

    if (call == NULL) {
        return NULL;
    }
    if (slot_check_size(call, prefix_size, ELECTION_NAME_SIZE_MAX) &&
        slot_check_size(call, after_size, ELECTION_NAME_SIZE_MAX) &&
        slot_reserve(call, lock_size(prefix_size) + lock_size(after_size))) {
        call->core.request.lock_list.prefix = keep_election(call, prefix, prefix_size);
        call->core.request.lock_list.after = keep_election(call, after, after_size);
    }
    return slot_submit(call);
}

struct holdfast_call *holdfast_lock_show(struct holdfast *client, const void *name,
                                         size_t name_size, holdfast_callback callback,
                                         void *context)
{
    struct holdfast_call *call = slot_take(client, WIRE_METHOD_lock_show, callback, context);

    if (call == NULL) {
        return NULL;
    }
    if (slot_check_lock(call, name, name_size) && slot_reserve(call, name_size)) {
        call->core.request.lock_show.name = slot_keep(call, name, name_size);
    }
    return slot_submit(call);
}

struct holdfast_call *holdfast_election_show(struct holdfast *client, const void *name,
                                             size_t name_size, holdfast_callback callback,
                                             void *context)
{
    struct holdfast_call *call = slot_take(client, WIRE_METHOD_lock_show, callback, context);

    if (call == NULL) {
        return NULL;
    }
    (void)keep_name(call, name, name_size, &call->core.request.lock_show.name);
    return slot_submit(call);
}
