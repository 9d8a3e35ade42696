/* client/core_call.c: the life of a call: waiting, sent, refused or lost, answered, told.
 *
 * What may be sent again depends on its class (client/core.h). A call is `in_doubt` from the
 * moment an attempt of it may have been applied without our knowing. */
#include "client/core_internal.h"

#define BIT(phase) (1u << (phase))

static const uint32_t allowed_moves[CORE_CALL_PHASE_COUNT] = {
    [CORE_CALL_FREE] = BIT(CORE_CALL_WAITING),
    [CORE_CALL_WAITING] = BIT(CORE_CALL_SENT) | BIT(CORE_CALL_SETTLED),
    [CORE_CALL_SENT] = BIT(CORE_CALL_WAITING) | BIT(CORE_CALL_REFUSED) | BIT(CORE_CALL_QUEUED) |
                       BIT(CORE_CALL_SETTLED),
    [CORE_CALL_REFUSED] = BIT(CORE_CALL_WAITING) | BIT(CORE_CALL_SENT) | BIT(CORE_CALL_SETTLED),
    [CORE_CALL_QUEUED] = BIT(CORE_CALL_WAITING) | BIT(CORE_CALL_SETTLED),
    [CORE_CALL_SETTLED] = 0,
};

void call_move(struct core_call *call, enum core_call_phase phase)
{
    ASSERT_VALUES((allowed_moves[call->phase] & BIT(phase)) != 0, call->phase, phase);
    call->phase = phase;
}

static bool is_sequenced(const struct core_call *call)
{
    return call->class == CORE_WRITE_SESSION || call->class == CORE_ACQUIRE;
}

/* --- Its beginning --------------------------------------------------------------------------- */

static void prepare(struct core *core, struct core_call *call)
{
    ASSERT(call->slot < core->options.call_slot_count);
    ASSERT(core->calls[call->slot] == NULL);
    core->calls[call->slot] = call;
    core->call_count++;
    call->status = ERR_OK;
    call->outcome = OUTCOME_REJECTED;
    memset(&call->failure, 0, sizeof call->failure);
    call->class = call_class(call->method, call->session != NULL);
    call->phase = CORE_CALL_FREE;
    call->finished = false;
    call->delivered = false;
    call->in_doubt = false;
    call->asked = false;
    call->giving_up = false;
    call->releasing = false;
    call->is_counted = false;
    call->is_silent = false;
    call->unprocessed = false;
    call->retry_count = 0;
    call->gap_count = 0;
    call->refusal = ERR_OK;
    call->refusal_retry_after_ms = 0;
    call->request_id = 0;
    call->sequence = 0;
    call->token = 0;
    call->deadline_ms = core->now_ms + call->timeout_ms;
    call->limit_ms = 0;
    call->retry_ms = CORE_NEVER;
    call->connection = NULL;
    call->timer = (struct core_timer){.kind = CORE_TIMER_CALL};
    list_init(&call->queue);
    list_init(&call->window);
    list_init(&call->member);
    list_init(&call->told);
}

/* Puts it where it is sent from. */
void call_wait(struct core *core, struct core_call *call)
{
    call_move(call, CORE_CALL_WAITING);
    call->retry_ms = CORE_NEVER;
    call->connection = NULL;
    list_remove(&call->queue);
    if (call->class == CORE_NODE_STATUS) {
        list_push_back(&core->statuses, &call->queue);
    } else if (is_sequenced(call)) {
        ASSERT(!list_is_linked(&call->window));
        call->sequence = 0;
        list_push_back(&call->session->backlog, &call->queue);
        session_ready(core, call->session);
    } else if (policy_is_exempt(call)) {
        list_push_back(&core->urgent, &call->queue);
    } else {
        list_push_back(&core->pending[policy_kind(call)], &call->queue);
    }
    if (call->method == WIRE_METHOD_election_show) {
        election_wait(core, call);
    }
    call_timer_update(core, call);
}

void core_call_start(struct core *core, struct core_call *call)
{
    struct core_session *session = call->session;

    prepare(core, call);
    if (session != NULL && call->class != CORE_SESSION_OPEN && call->class != CORE_SESSION_END) {
        list_push_back(&session->calls, &call->member);
    }
    if (call->class == CORE_ACQUIRE) {
        lock_start(core, call);
    } else if (call->method == WIRE_METHOD_election_show) {
        election_start(core, call);
    }
    call_wait(core, call);
    if (core->closing) {
        call_finish(core, call, ERR_CANCELLED, OUTCOME_REJECTED);
    } else if (core->call_count > core->options.call_count_max && call->class != CORE_SESSION_END) {
        call_finish(core, call, ERR_OVERLOADED, OUTCOME_REJECTED);
    } else if (is_sequenced(call) && !session_is_usable(session)) {
        call_finish(core, call, ERR_LOST, OUTCOME_REJECTED);
    } else if (policy_is_too_early(core, call)) {
        call->failure.retry_after_ms = policy_wait_ms(core, call);
        call_finish(core, call, ERR_OVERLOADED, OUTCOME_REJECTED);
    }
}

/* --- Its end --------------------------------------------------------------------------------- */

enum outcome call_outcome(const struct core_call *call)
{
    bool changes = call->class != CORE_READ && call->class != CORE_NODE_STATUS;
    /* One with a sequence will be sent until it is answered, lest it leave a gap. */
    bool sent = call->phase == CORE_CALL_SENT || call->phase == CORE_CALL_QUEUED ||
                list_is_linked(&call->window);

    return changes && (call->in_doubt || sent) ? OUTCOME_UNKNOWN : OUTCOME_REJECTED;
}

/* Nothing more is to be done about it: out of every list. */
void call_settle(struct core *core, struct core_call *call)
{
    ASSERT(call->finished);
    policy_done(core, call, POLICY_LOST);
    call_move(call, CORE_CALL_SETTLED);
    timer_clear(&core->timers, &call->timer);
    list_remove(&call->queue);
    list_remove(&call->member);
    if (list_is_linked(&call->window)) {
        ASSERT(call->session->window_count > 0);
        call->session->window_count--;
        list_remove(&call->window);
    }
    call->connection = NULL;
    if (call->delivered) {
        list_push_back(&core->freed, &call->told);
    }
}

/* The core goes on with it, unseen: its sequence must not leave a gap, its lock must not stay. */
static bool is_kept(const struct core_call *call)
{
    if (!is_sequenced(call) || !session_is_usable(call->session)) {
        return false;
    }
    return list_is_linked(&call->window) || (call->class == CORE_ACQUIRE && call->giving_up);
}

/* Decides the result; told by core_next_finished(), once. */
void call_finish(struct core *core, struct core_call *call, enum error status, enum outcome outcome)
{
    ASSERT(!call->finished);
    ASSERT(call->phase != CORE_CALL_FREE && call->phase != CORE_CALL_SETTLED);
    call->finished = true;
    call->status = status;
    call->outcome = outcome;
    call->deadline_ms = CORE_NEVER;
    list_push_back(&core->finished, &call->told);
    if (call->class == CORE_SESSION_OPEN && status != ERR_OK) {
        session_open_failed(core, call->session);
    }
    struct core_connection *connection = call->connection;
    if (is_kept(call)) {
        call_timer_update(core, call);
    } else {
        call_settle(core, call);
    }
    if (call->class == CORE_SESSION_END) {
        session_over(core, call->session, call);
    }
    if (call->class == CORE_NODE_STATUS && connection != NULL) {
        connection->status_call = NULL;
        connection_close(core, connection);
    }
}

/* Finished by ourselves, not by an answer: an acquire then leaves the queue behind its back. */
static void abandon(struct core *core, struct core_call *call, enum error status)
{
    enum outcome outcome = call_outcome(call);

    ASSERT(!call->finished);
    if (call->class == CORE_ACQUIRE && call->asked) {
        lock_give_up(core, call);
    }
    call_finish(core, call, status, outcome);
}

void core_call_cancel(struct core *core, struct core_call *call)
{
    ASSERT(core->calls[call->slot] == call);
    if (!call->finished) {
        abandon(core, call, ERR_CANCELLED);
    }
}

void calls_cancel(struct core *core, bool ends_too)
{
    for (uint32_t i = 0; i < core->options.call_slot_count; i++) {
        struct core_call *call = core->calls[i];
        if (call != NULL && !call->finished && (ends_too || call->class != CORE_SESSION_END)) {
            ASSERT(call->slot == i);
            call_finish(core, call, ERR_CANCELLED, call_outcome(call));
        }
    }
}

static void refuse_all(struct core *core, struct list *calls)
{
    while (!list_is_empty(calls)) {
        struct core_call *call = CONTAINER_OF(list_first(calls), struct core_call, queue);

        if (call->finished) {
            list_remove(&call->queue);
        } else {
            call_finish(core, call, ERR_AUTH, call_outcome(call));
        }
    }
}

void calls_refuse(struct core *core)
{
    refuse_all(core, &core->urgent);
    for (uint32_t kind = 0; kind < CORE_KIND_COUNT; kind++) {
        refuse_all(core, &core->pending[kind]);
    }
}

static enum error deadline_status(const struct core *core, const struct core_call *call)
{
    bool changes = call->class != CORE_READ;

    if (call->phase == CORE_CALL_SENT || (changes && call->in_doubt)) {
        return ERR_TIMEOUT;
    }
    if (call->class == CORE_NODE_STATUS) {
        return ERR_TIMEOUT;
    }
    if (call->refusal == ERR_OVERLOADED || call->refusal == ERR_RATE_LIMITED ||
        call->refusal == ERR_NOT_FORMED) {
        return call->refusal;
    }
    if (!call->asked && policy_is_crowded(core, policy_kind(call))) {
        return ERR_OVERLOADED;
    }
    return call->in_doubt ? ERR_TIMEOUT : ERR_NO_QUORUM;
}

void call_timer_update(struct core *core, struct core_call *call)
{
    uint64_t due_ms = call->finished ? CORE_NEVER : call->deadline_ms;

    if (call->phase == CORE_CALL_QUEUED && !call->finished && call->limit_ms < due_ms) {
        due_ms = call->limit_ms;
    }
    if (call->phase == CORE_CALL_QUEUED ||
        (call->phase == CORE_CALL_REFUSED && !is_sequenced(call))) {
        due_ms = call->retry_ms < due_ms ? call->retry_ms : due_ms;
    }
    timer_set(&core->timers, &call->timer, due_ms);
}

void call_timer_due(struct core *core, struct core_call *call)
{
    if (!call->finished && core->now_ms >= call->deadline_ms) {
        enum error status = deadline_status(core, call);
        call->failure.retry_after_ms =
            call->asked ? call->refusal_retry_after_ms : policy_wait_ms(core, call);
        abandon(core, call, status);
    } else if (call->phase == CORE_CALL_QUEUED) {
        lock_timer_due(core, call);
    } else {
        ASSERT(call->phase == CORE_CALL_REFUSED);
        call_wait(core, call);
    }
}

/* --- Sending --------------------------------------------------------------------------------- */

/* Encodes it into a connection that has room for it. */
void call_sent(struct core *core, struct core_call *call, struct core_connection *connection)
{
    call->request_id = core_request_id(core, call->slot);
    if (call->class == CORE_SESSION_OPEN) {
        call->session->attempt_count++;
        call->attempt = call->session->attempt_count;
    }
    bool fits = call_encode(call, core->now_ms, connection->takes_deadlines, &connection->output);
    ASSERT(fits);
    call_move(call, CORE_CALL_SENT);
    call->asked = true;
    call->connection = connection;
    list_remove(&call->queue);
    list_push_back(&connection->unanswered, &call->queue);
    policy_sent(core, call);
    connection_sent(core, connection);
    if (call->method == WIRE_METHOD_election_show) {
        election_sent(core, call);
    }
}

/* --- Answers --------------------------------------------------------------------------------- */

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
    if (call->finished || is_sequenced(call) || policy_retry(core, call)) {
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
    if (is_sequenced(call)) {
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
    if (is_sequenced(call)) {
        call->session->is_refused = true;
    }
    call->refusal_retry_after_ms = call->failure.retry_after_ms;
    if (!call->finished && call->deadline_ms != CORE_NEVER &&
        core->now_ms + delay_ms >= call->deadline_ms && !call->in_doubt && !is_sequenced(call)) {
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
    bool is_oldest = is_sequenced(call) && call->session->window.next == &call->window;

    if (is_oldest) {
        call->gap_count++;
    }
    if (!is_sequenced(call) || call->gap_count > GAP_COUNT_MAX) {
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
    if (is_sequenced(call)) {
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
        if (is_sequenced(call)) {
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
