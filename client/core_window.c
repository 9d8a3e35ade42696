/* client/core_window.c: the numbered requests of a session, in order (docs/client.md).
 *
 * Sequences rise by one; at most CORE_WINDOW_COUNT_MAX lie between the oldest that is unanswered
 * and the newest. All go over one connection. When it breaks, all that are unanswered go again, in
 * order, with the same sequences, before any new one. */
#include "client/core_internal.h"

static struct core_call *oldest(const struct core_session *session)
{
    ASSERT(session->window_count > 0);
    return CONTAINER_OF(session->window.next, struct core_call, window);
}

static bool has_refused(const struct core_session *session)
{
    return session->resend_ms != CORE_NEVER;
}

static bool resend(struct core *core, struct core_session *session)
{
    for (struct list *at = session->window.next; at != &session->window; at = at->next) {
        struct core_call *call = CONTAINER_OF(at, struct core_call, window);
        if (call->phase != CORE_CALL_REFUSED) {
            ASSERT(call->phase == CORE_CALL_SENT);
            continue;
        }
        if (!policy_is_exempt(call) && !policy_admits(core, CORE_KIND_WRITE)) {
            session_block(core, session);
            return false;
        }
        if (buffer_room(&session->connection->output) < call_size_max(call)) {
            session_ready(core, session);
            return false;
        }
        if (!policy_resend(core, session, call)) {
            return false;
        }
        call_sent(core, call, session->connection);
        call_timer_update(core, call);
        if (session->is_refused) {
            session->awaits_answer = window_is_asking(session);
            return false; /* Behind it all would be a gap if it is refused again. */
        }
    }
    session->resend_ms = CORE_NEVER;
    return true;
}

bool window_is_asking(const struct core_session *session)
{
    return session->window_count > 0 && oldest(session)->phase == CORE_CALL_SENT;
}

/* Puts on the connection what may go. The session is open and has a connection. */
void window_pump(struct core *core, struct core_session *session)
{
    ASSERT(session->connection != NULL && session->connection->state == CORE_LEADER);
    if (session->awaits_answer) {
        return;
    }
    if (has_refused(session) && (core->now_ms < session->resend_ms || !resend(core, session))) {
        return;
    }
    while (!list_is_empty(&session->backlog)) {
        struct core_call *call =
            CONTAINER_OF(list_first(&session->backlog), struct core_call, queue);
        ASSERT(call->phase == CORE_CALL_WAITING && call->sequence == 0);
        if (session->window_count > 0 &&
            session->sequence + 1 - oldest(session)->sequence >= CORE_WINDOW_COUNT_MAX) {
            return; /* Goes on with the next answer. */
        }
        if (!policy_is_exempt(call) && !policy_admits(core, CORE_KIND_WRITE)) {
            session_block(core, session);
            return;
        }
        if (buffer_room(&session->connection->output) < call_size_max(call)) {
            session_ready(core, session);
            return;
        }
        session->sequence++;
        call->sequence = session->sequence;
        session->window_count++;
        list_push_back(&session->window, &call->window);
        call_sent(core, call, session->connection);
    }
}

/* It has its answer: it leaves the window and makes room. */
void window_answered(struct core *core, struct core_call *call)
{
    struct core_session *session = call->session;

    ASSERT(session->window_count > 0);
    session->window_count--;
    list_remove(&call->window);
    session->is_refused = false;
    session->awaits_answer = false;
    session->has_answer = true;
    session->probe_count = 0;
    session->probe_ms = 0;
    if (!list_is_empty(&session->backlog) || has_refused(session)) {
        session_ready(core, session);
    }
}

/* The connection is of no more use: what was sent on it goes again on the next; acquires in a queue
 * ask again, as the new node does not know whom to tell. */
void window_rewind(struct core *core, struct core_session *session)
{
    for (struct list *at = session->window.next; at != &session->window; at = at->next) {
        struct core_call *call = CONTAINER_OF(at, struct core_call, window);
        if (call->phase == CORE_CALL_SENT) {
            call_lost(core, call);
        }
        ASSERT(call->phase == CORE_CALL_REFUSED);
    }
    if (session->window_count > 0) {
        session->resend_ms = core->now_ms;
    }
    for (struct list *at = session->calls.next; at != &session->calls; at = at->next) {
        struct core_call *call = CONTAINER_OF(at, struct core_call, member);
        if (call->phase == CORE_CALL_QUEUED) {
            lock_ask_again(core, call);
        }
    }
}

uint64_t window_wake_ms(const struct core_session *session)
{
    /* Without a connection it goes on when there is one. */
    return session->connection == NULL || !has_refused(session) || session->awaits_answer
               ? CORE_NEVER
               : session->resend_ms;
}
