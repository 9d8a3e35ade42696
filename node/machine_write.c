/* node/machine_write.c: the commands of clients. One switch sends each to the folder that decides
 * it: it decodes its params, changes the table and encodes its result. */
#include "base/bytes.h"
#include "kv/kv.h"
#include "node/machine_internal.h"
#include "node/machine_transact.h"

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

enum error apply_write(struct apply *apply)
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

bool machine_is_write(enum wire_method method)
{
    return method == WIRE_METHOD_put || method == WIRE_METHOD_delete || method == WIRE_METHOD_cas ||
           method == WIRE_METHOD_session_open || method == WIRE_METHOD_session_end ||
           method == WIRE_METHOD_lock_acquire || method == WIRE_METHOD_lock_release ||
           method == WIRE_METHOD_lock_break || method == WIRE_METHOD_election_proclaim ||
           method == WIRE_METHOD_transact;
}
