/* client/core_lock.c: acquiring a lock: ask, wait in its queue, be told, give up.
 *
 * An acquire asks with `wait`; a node answers with a token, or a place in the queue, and then the
 * notice `granted` tells the token. Each asking has a sequence of its own. At the end of the wait
 * it asks once more, without `wait`: that leaves the queue and settles in one step who has the
 * lock.
 *
 * One that nobody waits for any more (cancelled, or out of time) goes on unseen until it knows that
 * the session neither queues nor holds on its behalf. What it was granted it releases by its token,
 * unless the user has that very grant from another acquire of the same name: a token up to
 * `floor_token` was told to the user before. */
#include "client/core_internal.h"

static struct bytes name_of(const struct core_call *call)
{
    ASSERT(call->class == CORE_ACQUIRE);
    return call->request.lock_acquire.name;
}

void lock_start(struct core *core, struct core_call *call)
{
    ASSERT(call->session != NULL);
    call->floor_token = call->session->token_max;
    call->limit_ms = call->wait_ms < 0 ? CORE_NEVER : core->now_ms + (uint64_t)call->wait_ms;
}

/* Joins the requests to be sent once more, with a new sequence. */
void lock_ask_again(struct core *core, struct core_call *call)
{
    ASSERT(call->class == CORE_ACQUIRE && !list_is_linked(&call->window));
    if (!call->finished) {
        /* Without a leader the end of the wait may be late by the client's timeout, no more. */
        uint64_t now_limit_ms = call->limit_ms < core->now_ms ? call->limit_ms : core->now_ms;
        call->deadline_ms = now_limit_ms + call->timeout_ms;
    }
    call->in_doubt = true; /* It may be in the queue. */
    call_wait(core, call);
}

/* Nobody waits for it any more; its result is being told. */
void lock_give_up(struct core *core, struct core_call *call)
{
    ASSERT(!call->finished && call->asked);
    call->giving_up = true;
    if (call->phase == CORE_CALL_QUEUED) {
        lock_ask_again(core, call);
    }
}

/* Another acquire of the same name that somebody waits for: the lock, if granted, is its. */
static bool has_company(const struct core_call *call)
{
    const struct list *head = &call->session->calls;

    for (struct list *at = head->next; at != head; at = at->next) {
        const struct core_call *other = CONTAINER_OF(at, struct core_call, member);
        if (other != call && other->class == CORE_ACQUIRE && !other->finished &&
            bytes_equal(name_of(other), name_of(call))) {
            return true;
        }
    }
    return false;
}

/* The user gets this token: it is no longer ours to release. */
static void note_token(struct core_call *call)
{
    struct core_session *session = call->session;

    ASSERT(call->token != 0);
    session->token_max = call->token > session->token_max ? call->token : session->token_max;
    for (struct list *at = session->calls.next; at != &session->calls; at = at->next) {
        struct core_call *other = CONTAINER_OF(at, struct core_call, member);
        if (other->class == CORE_ACQUIRE && other->giving_up && other->floor_token < call->token &&
            bytes_equal(name_of(other), name_of(call))) {
            other->floor_token = call->token;
        }
    }
}

static void given_up_answered(struct core *core, struct core_call *call, enum error status)
{
    uint64_t token = call->answer.lock_acquire.token;

    bool has_nothing = call->releasing || status != ERR_OK;
    bool is_told = token != 0 && (token <= call->floor_token || has_company(call));

    if (has_nothing || is_told) {
        call_settle(core, call);
    } else if (token == 0) {
        lock_ask_again(core, call); /* It was an earlier question, with `wait`. */
    } else {
        /* Of the node that tells us, which may be behind the one that answers, the notice of this
         * grant may come later, when the same name is asked for anew. */
        struct core_session *session = call->session;
        session->token_max = token > session->token_max ? token : session->token_max;
        call->releasing = true;
        call->token = token;
        lock_ask_again(core, call);
    }
}

void lock_answered(struct core *core, struct core_call *call, enum error status)
{
    ASSERT(call->phase == CORE_CALL_SENT && !list_is_linked(&call->window));
    list_remove(&call->queue);
    if (call->giving_up) {
        given_up_answered(core, call, status);
        return;
    }
    if (call->finished) {
        call_settle(core, call); /* Granted by a notice, which came first. */
        return;
    }
    if (status != ERR_OK) {
        bool is_lost = status == ERR_SESSION_EXPIRED;
        enum error told = is_lost ? ERR_LOST : status;
        /* An earlier attempt may have been granted before the session expired. */
        enum outcome outcome = is_lost && call->in_doubt ? OUTCOME_UNKNOWN : error_outcome(told);
        call_finish(core, call, told, outcome);
        return;
    }
    if (call->answer.lock_acquire.token != 0) {
        call->token = call->answer.lock_acquire.token;
        note_token(call);
        call_finish(core, call, ERR_OK, OUTCOME_OK);
        revoked_after_grant(core, call);
        return;
    }
    if (core->now_ms >= call->limit_ms) {
        lock_ask_again(core, call);
        return;
    }
    call_move(call, CORE_CALL_QUEUED);
    call->connection = NULL;
    call->deadline_ms = CORE_NEVER;
    call->retry_ms = core->now_ms + core_random_between(core, ASK_AGAIN_MS_MIN, ASK_AGAIN_MS_MAX);
    call_timer_update(core, call);
}

/* In the queue: the wait is over, or it is time to ask whether a notice was lost. */
void lock_timer_due(struct core *core, struct core_call *call)
{
    ASSERT(call->phase == CORE_CALL_QUEUED && !call->giving_up);
    lock_ask_again(core, call);
}

/* A notice for an acquire that is not there any more needs no answer: one that was given up finds
 * out by itself. A token that was told before is a late notice of an earlier grant. */
void lock_granted(struct core *core, struct core_session *session,
                  const struct wire_granted *granted)
{
    struct list *at = session->calls.next;

    while (at != &session->calls) {
        struct core_call *call = CONTAINER_OF(at, struct core_call, member);
        at = at->next;
        if (call->class != CORE_ACQUIRE || call->finished || call->giving_up || !call->asked ||
            granted->token <= call->floor_token || !bytes_equal(name_of(call), granted->name)) {
            continue;
        }
        call->token = granted->token;
        note_token(call);
        call_finish(core, call, ERR_OK, OUTCOME_OK);
        revoked_after_grant(core, call);
    }
}
