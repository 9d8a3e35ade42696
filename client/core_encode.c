/* client/core_encode.c: calls to bytes and back, one case for each method. */
#include "client/core_internal.h"

enum core_call_class call_class(enum wire_method method, bool in_session)
{
    switch (method) {
    case WIRE_METHOD_get:
    case WIRE_METHOD_list:
    case WIRE_METHOD_session_list:
    case WIRE_METHOD_lock_show:
    case WIRE_METHOD_lock_list:
    case WIRE_METHOD_snapshot_open:
    case WIRE_METHOD_snapshot_read:
    case WIRE_METHOD_audit_list:
    case WIRE_METHOD_election_show:
        return CORE_READ;
    case WIRE_METHOD_put:
    case WIRE_METHOD_delete:
    case WIRE_METHOD_cas:
    case WIRE_METHOD_transact:
        return in_session ? CORE_WRITE_SESSION : CORE_WRITE_ALONE;
    case WIRE_METHOD_lock_release:
    case WIRE_METHOD_election_proclaim:
        return CORE_WRITE_SESSION;
    case WIRE_METHOD_lock_break:
        return CORE_WRITE_ALONE;
    case WIRE_METHOD_lock_acquire:
        return CORE_ACQUIRE;
    case WIRE_METHOD_session_open:
        return CORE_SESSION_OPEN;
    case WIRE_METHOD_session_end:
        return in_session ? CORE_SESSION_END : CORE_WRITE_ALONE; /* Ours, or anyone's by number. */
    case WIRE_METHOD_status:
        return CORE_NODE_STATUS;
    case WIRE_METHOD_member_add:
    case WIRE_METHOD_member_remove:
    case WIRE_METHOD_member_promote:
    case WIRE_METHOD_leader_move:
        return CORE_CHANGE;
    case WIRE_METHOD_NONE:
    case WIRE_METHOD_hello:
    case WIRE_METHOD_session_renew:
    case WIRE_NOTICE_granted:
    case WIRE_NOTICE_session_ended:
    case WIRE_NOTICE_revoked:
    case WIRE_NOTICE_leader_is:
    case WIRE_METHOD_watch:
    case WIRE_METHOD_watch_cancel:
    case WIRE_METHOD_watch_credit:
    case WIRE_NOTICE_changed:
    case WIRE_NOTICE_watch_ended:
        break;
    }
    UNREACHABLE();
}

enum { FIXED_SIZE_MAX = 256 }; /* Of a request's map without its bytes and texts. */

/* Never less than what the request takes in an output buffer. */
size_t call_size_max(const struct core_call *call)
{
    const union core_request *request = &call->request;
    size_t size = WIRE_ENVELOPE_SIZE_MAX + FIXED_SIZE_MAX;

    if (call->method == WIRE_METHOD_put) {
        size += request->put.key.size + request->put.value.size;
    } else if (call->method == WIRE_METHOD_cas) {
        size += request->cas.key.size + request->cas.expected.size + request->cas.value.size;
    } else if (call->method == WIRE_METHOD_transact) {
        size += request->transact.compares.raw.size + request->transact.success.raw.size +
                request->transact.failure.raw.size;
    } else {
        size += 1024; /* All others have at most three names, labels, values or reasons. */
    }
    return size;
}

static bool encode_acquire(const struct core_call *call, uint64_t now_ms, struct buffer *output)
{
    const struct wire_lock_acquire *request = &call->request.lock_acquire;

    if (call->releasing) {
        struct wire_lock_release release = {.session = call->session->id,
                                            .sequence = call->sequence,
                                            .name = request->name,
                                            .token = call->token};
        return wire_lock_release_encode(&release, output);
    }
    struct wire_lock_acquire acquire = *request;
    acquire.session = call->session->id;
    acquire.sequence = call->sequence;
    acquire.wait = !call->giving_up && now_ms < call->limit_ms;
    return wire_lock_acquire_encode(&acquire, output);
}

static bool encode_put(const struct core_call *call, struct buffer *output)
{
    struct wire_put put = call->request.put;

    put.session = call->session == NULL ? 0 : call->session->id;
    put.sequence = call->sequence;
    return wire_put_encode(&put, output);
}

static bool encode_cas(const struct core_call *call, struct buffer *output)
{
    struct wire_cas cas = call->request.cas;

    cas.session = call->session == NULL ? 0 : call->session->id;
    cas.sequence = call->sequence;
    return wire_cas_encode(&cas, output);
}

static bool encode_delete(const struct core_call *call, struct buffer *output)
{
    struct wire_delete remove = call->request.remove;

    remove.session = call->session == NULL ? 0 : call->session->id;
    remove.sequence = call->sequence;
    return wire_delete_encode(&remove, output);
}

static bool encode_transact(const struct core_call *call, struct buffer *output)
{
    struct wire_transact transact = call->request.transact;

    transact.session = call->session == NULL ? 0 : call->session->id;
    transact.sequence = call->sequence;
    return wire_transact_encode(&transact, output);
}

static bool encode_release(const struct core_call *call, struct buffer *output)
{
    struct wire_lock_release release = call->request.lock_release;

    release.session = call->session->id;
    release.sequence = call->sequence;
    return wire_lock_release_encode(&release, output);
}

static bool encode_proclaim(const struct core_call *call, struct buffer *output)
{
    struct wire_election_proclaim proclaim = call->request.election_proclaim;

    proclaim.session = call->session->id;
    proclaim.sequence = call->sequence;
    return wire_election_proclaim_encode(&proclaim, output);
}

/* What is left of the wait. */
static bool encode_observe(const struct core_call *call, uint64_t now_ms, struct buffer *output)
{
    struct wire_election_show show = call->request.election_show;
    uint64_t left_ms = call->limit_ms > now_ms ? call->limit_ms - now_ms : 0;

    show.wait_ms = left_ms > UINT32_MAX ? UINT32_MAX : (uint32_t)left_ms;
    return wire_election_show_encode(&show, output);
}

/* The node answers a little before we give up: then we know that the change is under way. */
static uint32_t node_timeout_ms(const struct core_call *call, uint64_t now_ms)
{
    uint64_t left_ms = call->deadline_ms > now_ms ? call->deadline_ms - now_ms : 1;

    left_ms -= left_ms / 8;
    return left_ms > UINT32_MAX ? UINT32_MAX : (uint32_t)left_ms;
}

static bool encode_change(const struct core_call *call, uint64_t now_ms, struct buffer *output)
{
    union core_request request = call->request;
    uint32_t timeout_ms = node_timeout_ms(call, now_ms);

    if (call->method == WIRE_METHOD_member_add) {
        request.member_add.timeout_ms = timeout_ms;
        return wire_member_add_encode(&request.member_add, output);
    }
    if (call->method == WIRE_METHOD_member_remove) {
        request.member_remove.timeout_ms = timeout_ms;
        return wire_member_remove_encode(&request.member_remove, output);
    }
    if (call->method == WIRE_METHOD_member_promote) {
        request.member_promote.timeout_ms = timeout_ms;
        return wire_member_promote_encode(&request.member_promote, output);
    }
    ASSERT(call->method == WIRE_METHOD_leader_move);
    request.leader_move.timeout_ms = timeout_ms;
    return wire_leader_move_encode(&request.leader_move, output);
}

static bool encode_params(const struct core_call *call, uint64_t now_ms, struct buffer *output)
{
    const union core_request *request = &call->request;

    switch (call->method) {
    case WIRE_METHOD_put:
        return encode_put(call, output);
    case WIRE_METHOD_get:
        return wire_get_encode(&request->get, output);
    case WIRE_METHOD_delete:
        return encode_delete(call, output);
    case WIRE_METHOD_cas:
        return encode_cas(call, output);
    case WIRE_METHOD_list:
        return wire_list_encode(&request->list, output);
    case WIRE_METHOD_session_open: {
        struct wire_session_open open = request->session_open;
        open.attempt = call->attempt;
        return wire_session_open_encode(&open, output);
    }
    case WIRE_METHOD_session_end:
        return wire_session_end_encode(&request->session_end, output);
    case WIRE_METHOD_session_list:
        return wire_session_list_encode(&request->session_list, output);
    case WIRE_METHOD_lock_acquire:
        return encode_acquire(call, now_ms, output);
    case WIRE_METHOD_lock_release:
        return encode_release(call, output);
    case WIRE_METHOD_lock_show:
        return wire_lock_show_encode(&request->lock_show, output);
    case WIRE_METHOD_lock_list:
        return wire_lock_list_encode(&request->lock_list, output);
    case WIRE_METHOD_lock_break:
        return wire_lock_break_encode(&request->lock_break, output);
    case WIRE_METHOD_audit_list:
        return wire_audit_list_encode(&request->audit_list, output);
    case WIRE_METHOD_status: {
        struct wire_status status = {0};
        return wire_status_encode(&status, output);
    }
    case WIRE_METHOD_member_add:
    case WIRE_METHOD_member_remove:
    case WIRE_METHOD_member_promote:
    case WIRE_METHOD_leader_move:
        return encode_change(call, now_ms, output);
    case WIRE_METHOD_snapshot_open:
        return wire_snapshot_open_encode(&request->snapshot_open, output);
    case WIRE_METHOD_snapshot_read:
        return wire_snapshot_read_encode(&request->snapshot_read, output);
    case WIRE_METHOD_election_proclaim:
        return encode_proclaim(call, output);
    case WIRE_METHOD_election_show:
        return encode_observe(call, now_ms, output);
    case WIRE_METHOD_transact:
        return encode_transact(call, output);
    case WIRE_METHOD_NONE:
    case WIRE_METHOD_hello:
    case WIRE_METHOD_session_renew:
    case WIRE_NOTICE_granted:
    case WIRE_NOTICE_session_ended:
    case WIRE_NOTICE_revoked:
    case WIRE_NOTICE_leader_is:
    case WIRE_METHOD_watch:
    case WIRE_METHOD_watch_cancel:
    case WIRE_METHOD_watch_credit:
    case WIRE_NOTICE_changed:
    case WIRE_NOTICE_watch_ended:
        break;
    }
    UNREACHABLE();
}

/* One with a sequence does not: were it dropped, what the session sends behind it would be a gap.
 * A change of the cluster has its own. */
static bool carries_deadline(const struct core_call *call)
{
    return !call->finished && call->deadline_ms != CORE_NEVER &&
           (call->class == CORE_READ || call->class == CORE_WRITE_ALONE ||
            call->class == CORE_SESSION_OPEN);
}

/* Appends the whole request, or nothing and returns false. */
bool call_encode(const struct core_call *call, uint64_t now_ms, bool takes_deadlines,
                 struct buffer *output)
{
    size_t before = output->size;
    enum wire_method method = call->releasing ? WIRE_METHOD_lock_release : call->method;

    ASSERT(call->request_id != 0);
    if (!takes_deadlines || !carries_deadline(call)) {
        if (wire_request_begin(output, call->request_id, method) &&
            encode_params(call, now_ms, output)) {
            return true;
        }
    } else {
        uint64_t left_ms = call->deadline_ms > now_ms ? call->deadline_ms - now_ms : 0;

        if (wire_request_begin_within(output, call->request_id, method) &&
            encode_params(call, now_ms, output) && wire_request_end_within(output, left_ms)) {
            return true;
        }
    }
    output->size = before;
    return false;
}

/* The result of a successful call into `answer`. */
enum error call_decode(struct core_call *call, struct bytes body)
{
    union core_answer *answer = &call->answer;

    switch (call->method) {
    case WIRE_METHOD_put:
        return wire_put_result_decode(&body, &answer->put);
    case WIRE_METHOD_get:
        return wire_get_result_decode(&body, &answer->get);
    case WIRE_METHOD_delete:
        return wire_delete_result_decode(&body, &answer->remove);
    case WIRE_METHOD_cas:
        return wire_cas_result_decode(&body, &answer->cas);
    case WIRE_METHOD_list:
        return wire_list_result_decode(&body, &answer->list);
    case WIRE_METHOD_session_open:
        return wire_session_open_result_decode(&body, &answer->session_open);
    case WIRE_METHOD_session_end:
        return wire_session_end_result_decode(&body, &answer->session_end);
    case WIRE_METHOD_session_list:
        return wire_session_list_result_decode(&body, &answer->session_list);
    case WIRE_METHOD_lock_acquire:
        if (call->releasing) {
            return wire_lock_release_result_decode(&body, &answer->lock_release);
        }
        return wire_lock_acquire_result_decode(&body, &answer->lock_acquire);
    case WIRE_METHOD_lock_release:
        return wire_lock_release_result_decode(&body, &answer->lock_release);
    case WIRE_METHOD_lock_show:
        return wire_lock_show_result_decode(&body, &answer->lock_show);
    case WIRE_METHOD_lock_list:
        return wire_lock_list_result_decode(&body, &answer->lock_list);
    case WIRE_METHOD_lock_break:
        return wire_lock_break_result_decode(&body, &answer->lock_break);
    case WIRE_METHOD_audit_list:
        return wire_audit_list_result_decode(&body, &answer->audit_list);
    case WIRE_METHOD_status:
        return wire_status_result_decode(&body, &answer->status);
    case WIRE_METHOD_member_add:
        return wire_member_add_result_decode(&body, &answer->member_add);
    case WIRE_METHOD_member_remove:
        return wire_member_remove_result_decode(&body, &answer->member_remove);
    case WIRE_METHOD_member_promote:
        return wire_member_promote_result_decode(&body, &answer->member_promote);
    case WIRE_METHOD_leader_move:
        return wire_leader_move_result_decode(&body, &answer->leader_move);
    case WIRE_METHOD_snapshot_open:
        return wire_snapshot_open_result_decode(&body, &answer->snapshot_open);
    case WIRE_METHOD_snapshot_read:
        return wire_snapshot_read_result_decode(&body, &answer->snapshot_read);
    case WIRE_METHOD_election_proclaim:
        return wire_election_proclaim_result_decode(&body, &answer->election_proclaim);
    case WIRE_METHOD_election_show:
        return wire_election_show_result_decode(&body, &answer->election_show);
    case WIRE_METHOD_transact:
        return wire_transact_result_decode(&body, &answer->transact);
    case WIRE_METHOD_NONE:
    case WIRE_METHOD_hello:
    case WIRE_METHOD_session_renew:
    case WIRE_NOTICE_granted:
    case WIRE_NOTICE_session_ended:
    case WIRE_NOTICE_revoked:
    case WIRE_NOTICE_leader_is:
    case WIRE_METHOD_watch:
    case WIRE_METHOD_watch_cancel:
    case WIRE_METHOD_watch_credit:
    case WIRE_NOTICE_changed:
    case WIRE_NOTICE_watch_ended:
        break;
    }
    UNREACHABLE();
}
