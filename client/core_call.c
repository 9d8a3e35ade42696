/* client/core_call.c: the life of a call: waiting, sent, settled, told.
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

bool call_is_sequenced(const struct core_call *call)
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
    } else if (call_is_sequenced(call)) {
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
    } else if (call_is_sequenced(call) && !session_is_usable(session)) {
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
    if (!call_is_sequenced(call) || !session_is_usable(call->session)) {
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
        (call->phase == CORE_CALL_REFUSED && !call_is_sequenced(call))) {
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
