/* client/core_session.c: sessions: the holder's deadline, renewals, states (docs/client.md).
 *
 * The deadline D is the maximum, over renewals that a node confirmed, of the send time of that very
 * attempt + T(1 - 2 rho) - margin. Nothing else moves it: not a grant, not a notice, not an answer
 * that comes twice. Opening the session is the first renewal. */
#include "client/core_internal.h"

#define BIT(state) (1u << (state))

static const uint32_t allowed_moves[CORE_SESSION_STATE_COUNT] = {
    [CORE_SESSION_OPENING] = BIT(CORE_SESSION_CONNECTED) | BIT(CORE_SESSION_LOST),
    [CORE_SESSION_CONNECTED] = BIT(CORE_SESSION_SUSPECT),
    [CORE_SESSION_SUSPECT] = BIT(CORE_SESSION_CONNECTED) | BIT(CORE_SESSION_LOST),
    [CORE_SESSION_LOST] = 0,
};

static void move(struct core *core, struct core_session *session, enum core_session_state state)
{
    ASSERT_VALUES((allowed_moves[session->state] & BIT(state)) != 0, session->state, state);
    session->state = state;
    if (!list_is_linked(&session->changed) && !session->ending) {
        list_push_back(&core->changed, &session->changed);
    }
}

/* Requests of its user are taken: it is open, or being opened. */
bool session_is_usable(const struct core_session *session)
{
    return session->state != CORE_SESSION_LOST;
}

static bool is_open(const struct core_session *session)
{
    return session->state == CORE_SESSION_CONNECTED || session->state == CORE_SESSION_SUSPECT;
}

void session_ready(struct core *core, struct core_session *session)
{
    if (!list_is_linked(&session->ready)) {
        list_push_back(&core->ready, &session->ready);
    }
}

static void timer_update(struct core *core, struct core_session *session)
{
    uint64_t due_ms = CORE_NEVER;

    if (is_open(session)) {
        due_ms = session->deadline_ms;
        /* What is due already has put the session in core.ready: it waits for a leader. */
        if (session->renew_ms > core->now_ms && session->renew_ms < due_ms) {
            due_ms = session->renew_ms;
        }
        if (session->state == CORE_SESSION_CONNECTED && session->suspect_ms < due_ms) {
            due_ms = session->suspect_ms;
        }
        uint64_t window_ms = window_wake_ms(session);
        if (window_ms > core->now_ms && window_ms < due_ms) {
            due_ms = window_ms;
        }
    } else if (session->end_wanted) {
        due_ms = session->end_until_ms;
        if (session->end_retry_ms > core->now_ms && session->end_retry_ms < due_ms) {
            due_ms = session->end_retry_ms;
        }
    }
    timer_set(&core->timers, &session->timer, due_ms);
}

/* --- Opening --------------------------------------------------------------------------------- */

void core_session_start(struct core *core, struct core_session *session, struct core_call *call)
{
    ASSERT(session->slot < core->options.session_count_max);
    ASSERT(core->session_slots[session->slot] == NULL);
    core->session_slots[session->slot] = session;
    session->state = CORE_SESSION_OPENING;
    session->reported = CORE_SESSION_CONNECTED; /* That is what the open call tells. */
    session->resend_ms = CORE_NEVER;
    session->open_call = call;
    session->timer.kind = CORE_TIMER_SESSION;
    list_init(&session->window);
    list_init(&session->backlog);
    list_init(&session->calls);
    list_init(&session->ready);
    list_init(&session->blocked);
    list_init(&session->changed);
    list_init(&session->all);
    list_push_back(&core->sessions, &session->all);
    call->session = session;
    core_call_start(core, call);
}

/* How long after its sending a confirmed renewal counts: T(1 - 2 rho) - margin, rounded down. */
static uint64_t usable_ms(const struct core_session *session,
                          const struct core_connection *connection)
{
    uint64_t ttl_ms = session->ttl_ms;
    uint64_t lost_ms =
        (2 * ttl_ms * connection->clock_rate_ppm + 999999) / 1000000 + connection->margin_ms;

    ASSERT(connection->clock_rate_ppm < 500000);
    return lost_ms < ttl_ms ? ttl_ms - lost_ms : 0;
}

/* A renewal sent at `sent_ms` is confirmed. */
static void renewed(struct core *core, struct core_session *session, uint64_t sent_ms,
                    const struct core_connection *connection)
{
    uint64_t deadline_ms = sent_ms + usable_ms(session, connection);
    uint64_t third_ms = session->ttl_ms / 3;

    ASSERT(sent_ms <= core->now_ms);
    if (deadline_ms <= session->deadline_ms) {
        return; /* An older attempt, answered late. */
    }
    session->deadline_ms = deadline_ms;
    session->renew_ms =
        sent_ms + core_random_between(core, third_ms - third_ms / 10, third_ms + third_ms / 10);
    session->suspect_ms = session->renew_ms + session->ttl_ms / 9 + 1;
    if (core->now_ms >= deadline_ms) {
        session_lost(core, session);
        return;
    }
    if (core->now_ms < session->suspect_ms && session->state == CORE_SESSION_SUSPECT) {
        move(core, session, CORE_SESSION_CONNECTED);
    }
    timer_update(core, session);
}

void session_opened(struct core *core, struct core_session *session, const struct core_call *call)
{
    ASSERT(session->state == CORE_SESSION_OPENING);
    session->open_call = NULL;
    session->id = call->answer.session_open.session;
    session->ttl_ms = call->answer.session_open.ttl_ms;
    session->audit_next = call->answer.session_open.audit_next;
    session->connection = call->connection->state == CORE_LEADER ? call->connection : NULL;
    session->state = CORE_SESSION_CONNECTED;
    renewed(core, session, call->attempt_ms, call->connection);
    if (session->deadline_ms == 0 && is_open(session)) {
        session_lost(core, session);
    }
    session_ready(core, session);
}

/* Calls on it that wait for its opening fail with it. */
static void fail_calls(struct core *core, struct core_session *session, enum error status)
{
    while (!list_is_empty(&session->calls)) {
        struct core_call *call =
            CONTAINER_OF(list_first(&session->calls), struct core_call, member);
        if (call->finished) {
            call_settle(core, call);
        } else {
            call_finish(core, call, status, call_outcome(call));
        }
        ASSERT(call->phase == CORE_CALL_SETTLED);
    }
    ASSERT(session->window_count == 0);
    session->awaits_answer = false;
}

void session_open_failed(struct core *core, struct core_session *session)
{
    session->open_call = NULL;
    if (session->state == CORE_SESSION_OPENING) {
        session->state = CORE_SESSION_LOST;
        fail_calls(core, session, ERR_LOST);
    }
}

/* --- Its end --------------------------------------------------------------------------------- */

/* Final. The user is told SUSPECT first where that was not told yet. */
void session_lost(struct core *core, struct core_session *session)
{
    if (!is_open(session)) {
        return;
    }
    if (session->state == CORE_SESSION_CONNECTED) {
        move(core, session, CORE_SESSION_SUSPECT);
    }
    move(core, session, CORE_SESSION_LOST);
    if (session->deadline_ms > core->now_ms) {
        session->deadline_ms = core->now_ms;
    }
    fail_calls(core, session, ERR_LOST);
    session->end_wanted = !session->ending;
    /* After that the cluster has ended it by itself. */
    session->end_until_ms = core->now_ms + 2 * (uint64_t)session->ttl_ms;
    timer_update(core, session);
    session_ready(core, session);
}

void core_session_finish(struct core *core, struct core_session *session, struct core_call *call)
{
    ASSERT(!session->ending);
    session->ending = true;
    session->finishing = true;
    session->end_wanted = false;
    list_remove(&session->changed);
    if (session->open_call != NULL) {
        core_call_cancel(core, session->open_call);
    }
    struct list *at = session->calls.next;
    while (at != &session->calls) {
        struct core_call *other = CONTAINER_OF(at, struct core_call, member);
        at = at->next;
        if (!other->finished && !list_is_linked(&other->window)) {
            call_finish(core, other, ERR_CANCELLED, call_outcome(other));
        }
    }
    call->session = session;
    call->request.session_end.session = session->id;
    core_call_start(core, call);
    if (session->id == 0 && !call->finished) {
        call_finish(core, call, ERR_OK, OUTCOME_OK); /* Nobody knows of it. */
    }
}

/* The structure goes back to its owner with the end call. */
void session_over(struct core *core, struct core_session *session, struct core_call *end_call)
{
    ASSERT(end_call->finished && session->ending);
    session->state = CORE_SESSION_LOST;
    session->finishing = false;
    fail_calls(core, session, ERR_CANCELLED);
    timer_clear(&core->timers, &session->timer);
    list_remove(&session->ready);
    list_remove(&session->blocked);
    list_remove(&session->changed);
    list_remove(&session->all);
    core->session_slots[session->slot] = NULL;
}

/* --- Renewals -------------------------------------------------------------------------------- */

static void send_renewal(struct core *core, struct core_session *session,
                         struct core_connection *connection)
{
    struct core_attempt *attempt = &session->attempts[session->attempt_count % CORE_ATTEMPT_COUNT];

    session->attempt_count++;
    attempt->number = session->attempt_count;
    attempt->request_id = core_request_id(core, core->options.call_slot_count + session->slot);
    attempt->sent_ms = core->now_ms;
    attempt->connection = connection;
    struct wire_session_renew renew = {
        .session = session->id, .attempt = attempt->number, .audit_next = session->audit_next};
    bool fits =
        wire_request_begin(&connection->output, attempt->request_id, WIRE_METHOD_session_renew) &&
        wire_session_renew_encode(&renew, &connection->output);
    ASSERT(fits);
    connection_sent(core, connection);
    session->renew_ms = core->now_ms + session->ttl_ms / 9 + 1;
}

static void send_end(struct core *core, struct core_session *session,
                     struct core_connection *connection)
{
    struct wire_session_end end = {.session = session->id};

    session->end_request_id = core_request_id(core, core->options.call_slot_count + session->slot);
    bool fits =
        wire_request_begin(&connection->output, session->end_request_id, WIRE_METHOD_session_end) &&
        wire_session_end_encode(&end, &connection->output);
    ASSERT(fits);
    session->connection = connection;
    connection_sent(core, connection);
}

enum { RENEWAL_SIZE_MAX = 256 };

/* Called for sessions that are ready, when there may be a leader. */
void session_wake(struct core *core, struct core_session *session)
{
    struct core_connection *connection = session->connection;

    if (connection == NULL || buffer_room(&connection->output) < RENEWAL_SIZE_MAX) {
        connection = connection_choose(core, RENEWAL_SIZE_MAX);
    }
    if (connection == NULL) {
        session_ready(core, session); /* Goes on when there is room, or a leader. */
        return;
    }
    if (session->end_wanted) {
        if (session->end_request_id == 0 && core->now_ms >= session->end_retry_ms) {
            send_end(core, session, connection);
        }
        return;
    }
    if (!is_open(session)) {
        return;
    }
    if (session->connection == NULL) {
        session->connection = connection;
    }
    if (core->now_ms >= session->renew_ms) {
        /* A renewal that was not answered in time may be stuck: try another connection. */
        struct core_connection *other = connection_choose(core, RENEWAL_SIZE_MAX);
        send_renewal(core, session, other == NULL ? connection : other);
    }
    window_pump(core, session);
    timer_update(core, session);
}

void session_timer_due(struct core *core, struct core_session *session)
{
    if (session->end_wanted && core->now_ms >= session->end_until_ms) {
        session->end_wanted = false;
        session->end_request_id = 0;
    } else if (session->end_wanted) {
        session_ready(core, session);
    } else if (is_open(session)) {
        if (core->now_ms >= session->suspect_ms && session->state == CORE_SESSION_CONNECTED) {
            move(core, session, CORE_SESSION_SUSPECT);
        }
        if (core->now_ms >= session->deadline_ms) {
            session_lost(core, session);
            return;
        }
        session_ready(core, session);
    }
    timer_update(core, session);
}

/* A connection broke, or its node does not lead any more. */
void session_disconnected(struct core *core, struct core_session *session,
                          const struct core_connection *connection)
{
    for (uint32_t i = 0; i < CORE_ATTEMPT_COUNT; i++) {
        struct core_attempt *attempt = &session->attempts[i];
        if (attempt->number != 0 && attempt->connection == connection) {
            attempt->connection = NULL; /* Not answered: once more at once. */
            session->renew_ms = core->now_ms;
        }
    }
    if (session->connection == connection) {
        session->connection = NULL;
        session->end_request_id = 0;
        window_rewind(core, session);
    }
    session_ready(core, session);
    timer_update(core, session);
}

/* What a node asks for, within reason. */
static uint64_t retry_delay_ms(struct core *core, const struct wire_failure *failure)
{
    uint64_t delay_ms = core_random_between(core, POLL_MS_MIN, POLL_MS_MAX);
    uint64_t asked_ms = failure->retry_after_ms;

    asked_ms = asked_ms > RETRY_AFTER_MS_MAX ? RETRY_AFTER_MS_MAX : asked_ms;
    return asked_ms > delay_ms ? asked_ms : delay_ms;
}

/* The node cannot serve, another one may. */
static bool is_of_another(enum error status)
{
    return status == ERR_NOT_LEADER || status == ERR_NOT_FORMED || status == ERR_STOPPING;
}

static void renewal_failed(struct core *core, struct core_session *session,
                           struct core_connection *connection, const struct wire_failure *failure)
{
    enum error status = error_from_number(failure->code);

    if (status == ERR_SESSION_EXPIRED) {
        session_lost(core, session);
        return;
    }
    if (is_of_another(status)) {
        session->renew_ms = core->now_ms;
        call_redirect(core, connection, failure);
    } else {
        /* No longer than after a renewal that is not answered: what is asked may lie behind D. */
        uint64_t delay_ms = retry_delay_ms(core, failure);
        uint64_t delay_ms_max = session->ttl_ms / 9 + 1;
        session->renew_ms = core->now_ms + (delay_ms < delay_ms_max ? delay_ms : delay_ms_max);
    }
    session_ready(core, session);
    timer_update(core, session);
}

static void renewal_answered(struct core *core, struct core_session *session,
                             struct core_attempt *attempt, struct core_connection *connection,
                             const struct wire_rpc *rpc)
{
    struct wire_session_renew_result result;
    struct wire_failure failure;
    struct bytes body = rpc->body;
    uint64_t number = attempt->number;

    attempt->number = 0; /* A second answer to it says nothing. */
    attempt->connection = NULL;
    if (rpc->failed) {
        if (wire_failure_decode(&body, &failure) != ERR_OK) {
            connection_broken(core, connection);
        } else if (is_open(session)) {
            renewal_failed(core, session, connection, &failure);
        }
        return;
    }
    if (wire_session_renew_result_decode(&body, &result) != ERR_OK) {
        connection_broken(core, connection);
    } else if (result.attempt == number && is_open(session)) {
        renewed(core, session, attempt->sent_ms, connection);
        if (is_open(session)) {
            revoked_renewed(core, session, &result);
            timer_update(core, session);
        }
    }
}

/* The cluster has ended a lost session, or refused to. A request that cannot succeed is not sent
 * again; all else is, until the session has surely expired. */
static void end_answered(struct core *core, struct core_session *session,
                         struct core_connection *connection, const struct wire_rpc *rpc)
{
    struct wire_failure failure;
    struct bytes body = rpc->body;

    session->end_request_id = 0;
    if (!session->end_wanted) {
        return; /* The user's own end is under way. */
    }
    if (!rpc->failed) {
        session->end_wanted = false;
    } else if (wire_failure_decode(&body, &failure) != ERR_OK) {
        connection_broken(core, connection);
    } else {
        enum error status = error_from_number(failure.code);
        session->end_wanted = is_of_another(status) || status == ERR_OVERLOADED ||
                              status == ERR_RATE_LIMITED ||
                              error_outcome(status) == OUTCOME_UNKNOWN;
        if (is_of_another(status)) {
            session_ready(core, session);
            call_redirect(core, connection, &failure);
        } else {
            session->end_retry_ms = core->now_ms + retry_delay_ms(core, &failure);
        }
    }
    timer_update(core, session);
}

/* The answer to a renewal, or to the end of a lost session. */
void session_answered(struct core *core, struct core_session *session,
                      struct core_connection *connection, const struct wire_rpc *rpc)
{
    if (session->end_request_id != 0 && rpc->id == session->end_request_id) {
        end_answered(core, session, connection, rpc);
        return;
    }
    for (uint32_t i = 0; i < CORE_ATTEMPT_COUNT; i++) {
        struct core_attempt *attempt = &session->attempts[i];
        if (attempt->number != 0 && attempt->request_id == rpc->id) {
            renewal_answered(core, session, attempt, connection, rpc);
            return;
        }
    }
}

void session_refused(struct core *core, struct core_session *session, uint64_t resend_ms)
{
    if (session->resend_ms == CORE_NEVER || resend_ms > session->resend_ms) {
        session->resend_ms = resend_ms;
    }
    session->awaits_answer = session->awaits_answer && window_is_asking(session);
    session_ready(core, session);
    timer_update(core, session);
}

void session_switch(struct core *core, struct core_session *session)
{
    ASSERT(is_open(session));
    session->connection = NULL;
    window_rewind(core, session);
    session_ready(core, session);
    timer_update(core, session);
}

struct core_session *session_find(const struct core *core, uint64_t id)
{
    for (struct list *at = core->sessions.next; at != &core->sessions; at = at->next) {
        struct core_session *session = CONTAINER_OF(at, struct core_session, all);
        if (session->id == id && is_open(session)) {
            return session;
        }
    }
    return NULL;
}

/* What a node tells unasked. What cannot be understood is not for us. */
void session_notice(struct core *core, const struct wire_rpc *rpc)
{
    struct wire_granted granted;
    struct wire_session_ended ended;
    struct wire_revoked revoked;
    struct bytes body = rpc->body;

    ASSERT(rpc->type == WIRE_NOTICE);
    if (rpc->method == WIRE_NOTICE_granted) {
        if (wire_granted_decode(&body, &granted) == ERR_OK) {
            struct core_session *session = session_find(core, granted.session);
            if (session != NULL) {
                lock_granted(core, session, &granted);
            }
        }
    } else if (rpc->method == WIRE_NOTICE_session_ended) {
        if (wire_session_ended_decode(&body, &ended) == ERR_OK) {
            struct core_session *session = session_find(core, ended.session);
            if (session != NULL) {
                session_lost(core, session);
            }
        }
    } else if (rpc->method == WIRE_NOTICE_revoked) {
        if (wire_revoked_decode(&body, &revoked) == ERR_OK) {
            struct core_session *session = session_find(core, revoked.session);
            if (session != NULL) {
                revoked_noticed(core, session, &revoked);
            }
        }
    }
}
