/* client/core_policy.c: what may be sent now, and what may be sent again.
 *
 * Around each call, outermost first: its deadline, its sequence, retries with full jitter within a
 * budget, the endpoint, the breaker of that endpoint, the limit of what is under way, the rate, the
 * timeout of the attempt (docs/client.md). Each is pure and has a file of its own; here they are
 * asked in that order, and told what came of it. */
#include "client/core_internal.h"

/* More that fail in a row do not double the delay any more. */
enum { DOUBLINGS_MAX = 5, PROBE_DOUBLINGS_MAX = 3 };
_Static_assert(PROBE_MS_MIN << PROBE_DOUBLINGS_MAX == PROBE_MS_MAX, "the last doubling");

void policy_open(struct core *core)
{
    const struct core_options *options = &core->options;
    uint32_t limit_max =
        options->call_slot_count < LIMIT_MIN ? LIMIT_MIN : options->call_slot_count;

    list_init(&core->pending[CORE_KIND_READ]);
    list_init(&core->pending[CORE_KIND_WRITE]);
    list_init(&core->urgent);
    list_init(&core->blocked);
    budget_init(&core->budget, core->now_ms);
    limiter_init(&core->limiter, LIMIT_MIN, limit_max);
    core->rate = (struct bucket_limits){
        .rate = options->rate_per_s < BUCKET_RATE_MAX ? options->rate_per_s : 0,
        .burst = options->rate_burst == 0 ? 1 : options->rate_burst,
    };
}

void policy_advance(struct core *core)
{
    for (uint32_t i = 0; i < core->endpoint_count; i++) {
        struct core_breaker *breaker = &core->endpoints[i].breaker;
        if (breaker->state != BREAKER_CLOSED) {
            breaker_advance(breaker, &core->prng, core->now_ms);
        }
    }
}

/* --- Now ------------------------------------------------------------------------------------- */

enum core_kind policy_kind(const struct core_call *call)
{
    return call->class == CORE_READ ? CORE_KIND_READ : CORE_KIND_WRITE;
}

/* What ends something leaves the cluster with less to do. A change of the cluster is rare, and may
 * be what mends it. */
bool policy_is_exempt(const struct core_call *call)
{
    switch (call->class) {
    case CORE_READ:
    case CORE_WRITE_ALONE:
    case CORE_SESSION_OPEN:
        return false;
    case CORE_WRITE_SESSION:
        return call->method == WIRE_METHOD_lock_release;
    case CORE_ACQUIRE:
        return call->giving_up;
    case CORE_SESSION_END:
    case CORE_NODE_STATUS:
    case CORE_CHANGE:
        return true;
    }
    UNREACHABLE();
}

/* Until when the leader asked for nothing of that kind; 0: it did not. */
static uint64_t obeyed_until_ms(const struct core *core, enum core_kind kind)
{
    return core->leader_count == 0 ? 0 : core->endpoints[core->leader_endpoint].obeyed_ms[kind];
}

uint32_t policy_wait_ms(const struct core *core, const struct core_call *call)
{
    uint64_t until_ms = obeyed_until_ms(core, policy_kind(call));

    return until_ms > core->now_ms ? (uint32_t)(until_ms - core->now_ms) : 0;
}

bool policy_is_too_early(const struct core *core, const struct core_call *call)
{
    return !policy_is_exempt(call) && obeyed_until_ms(core, policy_kind(call)) >= call->deadline_ms;
}

static bool has_room(const struct core *core)
{
    return core->options.without_limiter || limiter_has_room(&core->limiter);
}

static uint64_t breaker_ms(const struct core *core, const struct core_endpoint *endpoint)
{
    return core->options.without_breaker ? 0 : breaker_ready_ms(&endpoint->breaker);
}

/* When the rate lets a request go; 0: at any time. */
static uint64_t rate_ms(const struct core *core)
{
    return core->rate.rate == 0 ? 0 : bucket_ready_ms(&core->bucket, &core->rate);
}

/* When time alone stands in the way no longer. */
static uint64_t ready_ms(const struct core *core, enum core_kind kind)
{
    const struct core_endpoint *leader = &core->endpoints[core->leader_endpoint];
    uint64_t ready_ms = breaker_ms(core, leader);
    uint64_t bucket_ms = rate_ms(core);

    ready_ms = leader->obeyed_ms[kind] > ready_ms ? leader->obeyed_ms[kind] : ready_ms;
    return bucket_ms > ready_ms ? bucket_ms : ready_ms;
}

bool policy_admits(const struct core *core, enum core_kind kind)
{
    return core->leader_count > 0 && has_room(core) && ready_ms(core, kind) <= core->now_ms;
}

bool policy_is_crowded(const struct core *core, enum core_kind kind)
{
    return core->leader_count > 0 &&
           (!has_room(core) || obeyed_until_ms(core, kind) > core->now_ms ||
            rate_ms(core) > core->now_ms);
}

uint64_t policy_wake_ms(const struct core *core)
{
    bool wants_write =
        !list_is_empty(&core->pending[CORE_KIND_WRITE]) || !list_is_empty(&core->blocked);
    bool wants_read = !list_is_empty(&core->pending[CORE_KIND_READ]);
    uint64_t wake_ms = CORE_NEVER;

    if (core->leader_count == 0 || !has_room(core)) {
        return CORE_NEVER; /* Goes on with a leader, or with an answer. */
    }
    if (wants_write) {
        wake_ms = ready_ms(core, CORE_KIND_WRITE);
    }
    if (wants_read && ready_ms(core, CORE_KIND_READ) < wake_ms) {
        wake_ms = ready_ms(core, CORE_KIND_READ);
    }
    /* What is ready and not sent waits for an output to be written. */
    return wake_ms <= core->now_ms ? CORE_NEVER : wake_ms;
}

/* A node that asked for a pause is left alone with that kind of request; jitter keeps those that
 * it told the same from coming back together. */
void policy_obey(struct core *core, const struct core_connection *connection, enum core_kind kind,
                 uint64_t delay_ms)
{
    if (core->options.without_obeying || delay_ms == 0 || connection->endpoint < 0) {
        return;
    }
    struct core_endpoint *endpoint = &core->endpoints[connection->endpoint];
    uint64_t until_ms = core->now_ms + delay_ms + core_random_between(core, 0, delay_ms / 2);
    if (until_ms > endpoint->obeyed_ms[kind]) {
        endpoint->obeyed_ms[kind] = until_ms;
    }
}

void policy_sent(struct core *core, struct core_call *call)
{
    bool is_exempt = policy_is_exempt(call);

    ASSERT(!call->is_counted);
    core->attempt_count++;
    call->attempt_ms = core->now_ms;
    call->is_silent = false;
    call->unprocessed = false;
    if (call->connection->endpoint < 0) {
        return;
    }
    call->is_counted = true;
    limiter_take(&core->limiter);
    if (core->rate.rate != 0) {
        uint32_t retry_ms = 0;
        bool in_rate = bucket_take(&core->bucket, &core->rate, core->now_ms, &retry_ms);
        ASSERT(in_rate || is_exempt);
    }
    if (!core->options.without_breaker) {
        struct core_endpoint *endpoint = &core->endpoints[call->connection->endpoint];
        bool is_granted = breaker_take(&endpoint->breaker, core->now_ms, &call->permit);
        ASSERT(is_granted || is_exempt);
    }
}

static void report(struct core *core, struct core_call *call, enum breaker_result result)
{
    if (!core->options.without_breaker && !call->is_silent) {
        breaker_done(&core->endpoints[call->connection->endpoint].breaker, &core->prng,
                     core->now_ms, call->permit, result);
    }
}

enum policy_result policy_result_of(enum error status)
{
    if (status == ERR_NOT_LEADER || status == ERR_NOT_FORMED || status == ERR_STOPPING ||
        status == ERR_RATE_LIMITED || status == ERR_SEQUENCE_GAP) {
        return POLICY_TURNED_AWAY;
    }
    return status == ERR_OVERLOADED || error_outcome(status) == OUTCOME_UNKNOWN ? POLICY_REFUSED
                                                                                : POLICY_ANSWERED;
}

void policy_done(struct core *core, struct core_call *call, enum policy_result result)
{
    if (!call->is_counted) {
        return;
    }
    call->is_counted = false;
    switch (result) {
    case POLICY_ANSWERED:
        report(core, call, BREAKER_SUCCESS);
        budget_answered(&core->budget, core->now_ms);
        limiter_answered(&core->limiter);
        if (call->class != CORE_CHANGE) {
            latency_answered(&core->endpoints[call->connection->endpoint].latency, call->attempt_ms,
                             core->now_ms);
        }
        break;
    case POLICY_REFUSED:
        report(core, call, BREAKER_SUCCESS);
        limiter_refused(&core->limiter, call->attempt_ms, core->now_ms);
        break;
    case POLICY_TURNED_AWAY:
        report(core, call, BREAKER_SUCCESS);
        break;
    case POLICY_LOST:
        report(core, call, BREAKER_UNKNOWN);
        break;
    }
    limiter_release(&core->limiter);
}

/* --- Again ----------------------------------------------------------------------------------- */

static uint8_t raised(uint8_t count, uint8_t max)
{
    return count < max ? (uint8_t)(count + 1) : max;
}

bool policy_retry(struct core *core, const struct core_call *call)
{
    return core->options.without_budget || policy_is_exempt(call) ||
           budget_take(&core->budget, core->now_ms);
}

/* A request of a session cannot be given up: a missing sequence blocks all that follow. When the
 * budget is empty, each answer pays for the next one, and the oldest goes again unpaid now and
 * then: so a session takes no more than one request in PROBE_MS_MAX from a cluster that does not
 * answer. */
bool policy_resend(struct core *core, struct core_session *session, const struct core_call *call)
{
    if (call->unprocessed) {
        return true;
    }
    if (session->has_answer) {
        session->has_answer = false;
        return true;
    }
    if (policy_retry(core, call)) {
        return true;
    }
    if (session->window.next != &call->window) {
        session->awaits_answer = true;
        return false;
    }
    if (core->now_ms < session->probe_ms) {
        session->resend_ms = session->probe_ms;
        return false;
    }
    uint64_t wait_ms = (uint64_t)PROBE_MS_MIN << session->probe_count;
    session->probe_count = raised(session->probe_count, PROBE_DOUBLINGS_MAX);
    session->probe_ms = core->now_ms + core_random_between(core, wait_ms / 2, wait_ms);
    return true;
}

uint64_t policy_backoff_ms(struct core *core, struct core_call *call)
{
    uint64_t limit_ms = (uint64_t)POLL_MS_MIN << call->retry_count;

    call->retry_count = raised(call->retry_count, DOUBLINGS_MAX);
    return core_random_between(core, 1, limit_ms);
}

/* --- The timeout of an attempt --------------------------------------------------------------- */

static bool has_timeout(const struct core_call *call)
{
    return call->is_counted && !call->is_silent && !policy_is_exempt(call);
}

static void silent(struct core *core, struct core_connection *connection, struct core_call *call)
{
    struct core_endpoint *endpoint = &core->endpoints[connection->endpoint];

    report(core, call, BREAKER_FAILURE);
    call->is_silent = true;
    connection->is_suspect = true;
    limiter_refused(&core->limiter, call->attempt_ms, core->now_ms);
    latency_timed_out(&endpoint->latency, call->attempt_ms, core->now_ms);
}

/* On the same connection it would only queue behind itself. */
static bool has_other_way(const struct core *core, const struct core_connection *connection)
{
    for (uint32_t i = 0; i < core->leader_count; i++) {
        if (core->leaders[i] != connection && !core->leaders[i]->is_suspect) {
            return true;
        }
    }
    return false;
}

static bool may_give_up(struct core *core, const struct core_connection *connection)
{
    return has_other_way(core, connection) &&
           (core->options.without_budget || budget_has_retry(&core->budget, core->now_ms));
}

/* What may not be sent again, or has no other way to go, waits on for its answer. */
static void give_up(struct core *core, struct core_connection *connection, struct core_call *call)
{
    switch (call->class) {
    case CORE_READ:
    case CORE_SESSION_OPEN:
        if (may_give_up(core, connection)) {
            call_lost(core, call);
        }
        return;
    case CORE_WRITE_SESSION:
    case CORE_ACQUIRE:
        call->session->is_stuck = call->session->connection == connection;
        return;
    case CORE_WRITE_ALONE:
    case CORE_SESSION_END:
    case CORE_NODE_STATUS:
    case CORE_CHANGE:
        return;
    }
    UNREACHABLE();
}

static void free_stuck(struct core *core, struct core_connection *connection)
{
    for (struct list *at = core->sessions.next; at != &core->sessions; at = at->next) {
        struct core_session *session = CONTAINER_OF(at, struct core_session, all);
        if (session->is_stuck && may_give_up(core, connection)) {
            session_switch(core, session);
        }
        session->is_stuck = false;
    }
}

uint64_t policy_check_attempts(struct core *core, struct core_connection *connection)
{
    const struct core_latency *latency = &core->endpoints[connection->endpoint].latency;
    uint64_t timeout_ms = latency_timeout_ms(latency);
    uint64_t next_ms = CORE_NEVER;
    bool any = false;

    if (core->options.without_attempt_timeout) {
        return CORE_NEVER;
    }
    struct list *at = connection->unanswered.next;
    while (at != &connection->unanswered) { /* In the order of sending. */
        struct core_call *call = CONTAINER_OF(at, struct core_call, queue);
        at = at->next;
        if (!has_timeout(call)) {
            continue;
        }
        if (core->now_ms < call->attempt_ms + timeout_ms) {
            next_ms = call->attempt_ms + latency_timeout_ms(latency);
            break;
        }
        silent(core, connection, call);
        give_up(core, connection, call);
        any = true;
    }
    if (any) {
        free_stuck(core, connection);
    }
    return next_ms;
}

/* --- Dialing --------------------------------------------------------------------------------- */

uint64_t policy_dial_ms(const struct core *core, const struct core_endpoint *endpoint)
{
    uint64_t ready_ms = breaker_ms(core, endpoint);

    return endpoint->not_before_ms > ready_ms ? endpoint->not_before_ms : ready_ms;
}

bool policy_may_dial(const struct core *core, const struct core_endpoint *endpoint)
{
    return policy_dial_ms(core, endpoint) <= core->now_ms;
}

void policy_dialed(struct core *core, struct core_connection *connection)
{
    struct core_endpoint *endpoint = &core->endpoints[connection->endpoint];

    if (!core->options.without_breaker) {
        connection->has_permit =
            breaker_take(&endpoint->breaker, core->now_ms, &connection->permit);
        ASSERT(connection->has_permit);
    }
}

/* That a connection breaks later is a failure too: one, however many calls it had. */
void policy_dial_done(struct core *core, struct core_connection *connection,
                      enum breaker_result result)
{
    if (connection->endpoint < 0 || core->options.without_breaker) {
        return;
    }
    struct core_breaker *breaker = &core->endpoints[connection->endpoint].breaker;
    if (connection->has_permit) {
        connection->has_permit = false;
        breaker_done(breaker, &core->prng, core->now_ms, connection->permit, result);
    } else if (result == BREAKER_FAILURE) {
        breaker_fail(breaker, &core->prng, core->now_ms);
    }
}

/* --- Invariants (docs/client.md) ------------------------------------------------------------- */

void policy_check(const struct core *core)
{
    uint32_t counted = 0;

    for (uint32_t i = 0; i < core->options.call_slot_count; i++) {
        const struct core_call *call = core->calls[i];
        if (call != NULL && call->is_counted) {
            ASSERT(call->phase == CORE_CALL_SENT);
            counted++;
        }
    }
    /* 7. The limiter counts what is under way. */
    ASSERT_VALUES(counted == core->limiter.in_flight, counted, core->limiter.in_flight);
    ASSERT(core->limiter.limit >= core->limiter.limit_min);
    /* 8. No breaker is stuck. */
    for (uint32_t i = 0; i < core->endpoint_count; i++) {
        breaker_check(&core->endpoints[i].breaker);
    }
    /* 9. What awaits an answer has sent the request that it is awaited for. */
    for (struct list *at = core->sessions.next; at != &core->sessions; at = at->next) {
        const struct core_session *session = CONTAINER_OF(at, struct core_session, all);
        if (session->awaits_answer) {
            ASSERT(session->window_count > 0);
            const struct core_call *oldest =
                CONTAINER_OF(session->window.next, struct core_call, window);
            ASSERT(oldest->phase == CORE_CALL_SENT);
        }
    }
}
