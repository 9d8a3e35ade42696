/* client/core_answer.c: what an answer does to a call, and the lack of one: it is refused and sent
 * again, in doubt, or finished with the node's word.
 *
 * What may be sent again depends on its class (client/core.h). */
#include "client/core_internal.h"

/* Of a call that is not under way any more. */
static enum outcome in_doubt_outcome(const struct core_call *call)
{
    return call->in_doubt && call->class != CORE_READ ? OUTCOME_UNKNOWN : OUTCOME_REJECTED;
}

/* The connection broke, or the node cannot tell what became of it. */
void call_lost(struct core *core, struct core_call *call)
{
    ASSERT(call->phase == CORE_CALL_SENT);
    policy_done(core, call, POLICY_LOST);
    call->in_doubt = true;
    list_remove(&call->queue);
    switch (call->class) {
    case CORE_READ:
    case CORE_SESSION_OPEN:
        if (policy_retry(core, call)) {
            call_wait(core, call);
        } else {
            bool is_read = call->class == CORE_READ;
            call_finish(core, call, is_read ? ERR_CLOSED : ERR_UNKNOWN_OUTCOME,
                        in_doubt_outcome(call));
        }
        return;
    case CORE_SESSION_END:
    case CORE_CHANGE:
        call_wait(core, call);
        return;
    case CORE_WRITE_SESSION:
    case CORE_ACQUIRE:
        call_move(call, CORE_CALL_REFUSED);
        call->connection = NULL;
        session_refused(core, call->session, core->now_ms);
        return;
    case CORE_WRITE_ALONE:
        call_finish(core, call, ERR_UNKNOWN_OUTCOME, OUTCOME_UNKNOWN);
        return;
    case CORE_NODE_STATUS:
        call_finish(core, call, ERR_CLOSED, OUTCOME_REJECTED);
        return;
    }
    UNREACHABLE();
}

void call_redirect(struct core *core, struct core_connection *connection,
                   const struct wire_failure *failure)
{
    if (connection->state != CORE_LEADER) {
        return; /* Known already. */
    }
    int32_t endpoint = connection->endpoint;
    for (uint32_t i = core->leader_count; i > 0; i--) {
        struct core_connection *leader = core->leaders[i - 1];
        ASSERT(leader->endpoint == endpoint);
        connection_demote(core, leader);
    }
    if (failure->leader_client.size != 0) {
        endpoint_hint(core, failure->leader_client);
    }
}

/* Whether it is sent again; it is finished with the node's word otherwise. */
static bool may_retry(struct core *core, struct core_call *call, enum error status)
{
    if (call->finished || call_is_sequenced(call) || policy_retry(core, call)) {
        return true; /* The window of a session asks the policy when it sends. */
    }
    call_finish(core, call, status, in_doubt_outcome(call));
    return false;
}

/* Sent again after `delay_ms` and a random part of it. */
static void retry_later(struct core *core, struct core_call *call, uint64_t delay_ms)
{
    uint64_t retry_ms = core->now_ms + delay_ms + core_random_between(core, 0, delay_ms / 2);

    list_remove(&call->queue);
    call_move(call, CORE_CALL_REFUSED);
    call->connection = NULL;
    call->retry_ms = retry_ms;
    if (call_is_sequenced(call)) {
        session_refused(core, call->session, retry_ms);
    } else {
        call_timer_update(core, call);
    }
}

static void overloaded(struct core *core, struct core_call *call, enum error status)
{
    uint64_t delay_ms = call->failure.retry_after_ms;

    delay_ms = delay_ms < POLL_MS_MIN ? POLL_MS_MIN : delay_ms;
    delay_ms = delay_ms > RETRY_AFTER_MS_MAX ? RETRY_AFTER_MS_MAX : delay_ms;
    call->refusal = status;
    if (call->failure.retry_after_ms != 0) {
        policy_obey(core, call->connection, policy_kind(call), delay_ms);
    } else {
        delay_ms += policy_backoff_ms(core, call);
    }
    if (call_is_sequenced(call)) {
        call->session->is_refused = true;
    }
    call->refusal_retry_after_ms = call->failure.retry_after_ms;
    if (!call->finished && call->deadline_ms != CORE_NEVER &&
        core->now_ms + delay_ms >= call->deadline_ms && !call->in_doubt &&
        !call_is_sequenced(call)) {
        call_finish(core, call, status, OUTCOME_REJECTED);
        return;
    }
    if (may_retry(core, call, status)) {
        retry_later(core, call, delay_ms);
    }
}

/* An answer with which the node has not taken the sequence: all behind it is a gap, for ever. */
static bool leaves_hole(enum error status)
{
    return status == ERR_MALFORMED || status == ERR_TOO_LARGE || status == ERR_UNKNOWN_METHOD ||
           status == ERR_AUTH || status == ERR_SEQUENCE_GAP;
}

static void decide(struct core *core, struct core_call *call, enum error status)
{
    if (call->class == CORE_ACQUIRE) {
        lock_answered(core, call, status);
        return;
    }
    if (call->finished) {
        call_settle(core, call);
        return;
    }
    if (call->class == CORE_SESSION_END && status == ERR_SESSION_EXPIRED) {
        status = ERR_OK;
    }
    if (call->method == WIRE_METHOD_member_remove && status == ERR_NOT_FOUND && call->in_doubt) {
        status = ERR_OK; /* An earlier attempt has removed it. */
    }
    enum outcome outcome = error_outcome(status);
    if (status == ERR_SESSION_EXPIRED && call->in_doubt) {
        outcome = OUTCOME_UNKNOWN;
    }
    call_finish(core, call, status, outcome);
}

/* An answer that ends it. A session that can do nothing more but be renewed is better lost. */
static void conclude(struct core *core, struct core_call *call, enum error status)
{
    struct core_session *session = call->session;
    bool is_in_window = list_is_linked(&call->window);

    if (is_in_window) {
        window_answered(core, call);
    }
    decide(core, call, status);
    if (is_in_window && leaves_hole(status)) {
        session_lost(core, session);
    }
}

/* While an earlier request is unanswered the gap is no wonder: it goes again behind that one, as
 * often as that takes. */
static void gap(struct core *core, struct core_call *call)
{
    bool is_oldest = call_is_sequenced(call) && call->session->window.next == &call->window;

    if (is_oldest) {
        call->gap_count++;
    }
    if (!call_is_sequenced(call) || call->gap_count > GAP_COUNT_MAX) {
        conclude(core, call, ERR_SEQUENCE_GAP);
        return;
    }
    retry_later(core, call, is_oldest && call->gap_count <= 2 ? 0 : POLL_MS_MIN);
}

/* It may have been done, and to send it again would be wrong, or of no use: the node that was told
 * to wait for a change has waited. */
static bool is_over_in_doubt(const struct core_call *call, enum error status)
{
    return call->class == CORE_WRITE_ALONE || (call->class == CORE_CHANGE && status == ERR_TIMEOUT);
}

static void uncertain(struct core *core, struct core_call *call, enum error status)
{
    call->in_doubt = true;
    if (is_over_in_doubt(call, status)) {
        call_finish(core, call, status, OUTCOME_UNKNOWN);
    } else if (may_retry(core, call, status)) {
        retry_later(core, call, policy_backoff_ms(core, call));
    }
}

/* The node has dropped this attempt, as its deadline was over: it was surely not applied. */
static void dropped(struct core *core, struct core_call *call)
{
    if (call_is_sequenced(call)) {
        retry_later(core, call, POLL_MS_MIN); /* Its sequence must be taken. */
        return;
    }
    bool is_unknown = call->class != CORE_READ && call->in_doubt;

    call_finish(core, call, ERR_TIMEOUT, is_unknown ? OUTCOME_UNKNOWN : OUTCOME_REJECTED);
}

static void failed(struct core *core, struct core_call *call, enum error status)
{
    struct core_connection *connection = call->connection;

    switch (status) {
    case ERR_NOT_LEADER:
    case ERR_NOT_FORMED:
    case ERR_STOPPING:
        call->refusal = status;
        call->unprocessed = true;
        if (call_is_sequenced(call)) {
            retry_later(core, call, 0);
        } else {
            call_wait(core, call);
        }
        call_redirect(core, connection, &call->failure);
        return;
    case ERR_OVERLOADED:
    case ERR_RATE_LIMITED:
        overloaded(core, call, status);
        return;
    case ERR_SEQUENCE_GAP:
        gap(core, call);
        return;
    case ERR_NO_QUORUM:
    case ERR_TIMEOUT:
    case ERR_CANCELLED:
    case ERR_UNKNOWN_OUTCOME:
    case ERR_CLOSED:
        uncertain(core, call, status);
        return;
    case ERR_SESSION_EXPIRED:
        conclude(core, call, status);
        if (call->session != NULL && call->class != CORE_SESSION_END) {
            session_lost(core, call->session);
        }
        return;
    case ERR_OK:
    case ERR_HELD:
    case ERR_LOST:
    case ERR_TTL_TOO_SHORT:
    case ERR_FENCED:
    case ERR_TOO_LARGE:
    case ERR_AUTH:
    case ERR_NOT_FOUND:
    case ERR_MISMATCH:
    case ERR_STALE:
    case ERR_MALFORMED:
    case ERR_UNKNOWN_METHOD:
    case ERR_REFUSED:
    case ERR_COMPACTED:
    case ERR_REMOVED:
    case ERR_INCOMPLETE:
    case ERR_IO:
    case ERR_NO_SPACE:
    case ERR_CORRUPT:
    case ERR_VERSION:
    case ERR_WRONG_CLUSTER:
    case ERR_WRONG_NODE:
    case ERR_IN_USE:
    case ERR_INVALID:
    case ERR_FULL:
    case ERR_MISSING:
        conclude(core, call, status);
        return;
    }
    UNREACHABLE();
}

/* A response that belongs to it. One that cannot be understood ends the connection. */
void call_answered(struct core *core, struct core_call *call, const struct wire_rpc *rpc)
{
    struct core_connection *connection = call->connection;
    struct bytes body = rpc->body;

    ASSERT(call->phase == CORE_CALL_SENT && connection != NULL);
    if (rpc->failed) {
        if (wire_failure_decode(&body, &call->failure) != ERR_OK) {
            connection_broken(core, connection);
            return;
        }
        enum error status = error_from_number(call->failure.code);
        status = status == ERR_OK ? ERR_UNKNOWN_OUTCOME : status;
        policy_done(core, call, policy_result_of(status));
        if (call->class == CORE_NODE_STATUS) {
            conclude(core, call, status);
        } else if (status == ERR_TIMEOUT && call->failure.rejected) {
            dropped(core, call);
        } else {
            failed(core, call, status);
        }
        if (!call->finished) {
            memset(&call->failure, 0, sizeof call->failure); /* Borrowed from this answer. */
        }
        return;
    }
    if (call_decode(call, body) != ERR_OK ||
        (call->class == CORE_SESSION_OPEN && (call->answer.session_open.attempt != call->attempt ||
                                              call->answer.session_open.session == 0))) {
        connection_broken(core, connection);
        return;
    }
    policy_done(core, call, POLICY_ANSWERED);
    memset(&call->failure, 0, sizeof call->failure);
    if (call->class == CORE_SESSION_OPEN) {
        session_opened(core, call->session, call);
        if (!session_is_usable(call->session)) {
            call_finish(core, call, ERR_LOST, OUTCOME_OK);
            return;
        }
    }
    call->body = rpc->body;
    conclude(core, call, ERR_OK);
    if (!call->finished) {
        call->body = bytes_of(NULL, 0); /* Borrowed from this answer. */
    }
}
