/* client/core_connection.c: the life of one connection: dial, greet, lead or stand by, close.
 *
 * The states and their moves are drawn in client/core.h. A connection whose node leads takes
 * requests; one whose node does not is kept while the leader is looked for, and asked now and then
 * who leads. */
#include "client/core_internal.h"

#define BIT(state) (1u << (state))

static const uint32_t allowed_moves[CORE_CONNECTION_STATE_COUNT] = {
    [CORE_CLOSED] = BIT(CORE_DIAL_WANTED),
    [CORE_DIAL_WANTED] = BIT(CORE_DIALING) | BIT(CORE_CLOSE_WANTED),
    [CORE_DIALING] = BIT(CORE_GREETING) | BIT(CORE_CLOSE_WANTED),
    [CORE_GREETING] = BIT(CORE_STANDBY) | BIT(CORE_LEADER) | BIT(CORE_CLOSE_WANTED),
    [CORE_STANDBY] = BIT(CORE_LEADER) | BIT(CORE_CLOSE_WANTED),
    [CORE_LEADER] = BIT(CORE_STANDBY) | BIT(CORE_CLOSE_WANTED),
    [CORE_CLOSE_WANTED] = BIT(CORE_CLOSED),
};

void connection_move(struct core_connection *connection, enum core_connection_state state)
{
    ASSERT_VALUES((allowed_moves[connection->state] & BIT(state)) != 0, connection->state, state);
    connection->state = state;
}

/* A free place, already DIAL_WANTED; NULL when all are in use. */
struct core_connection *connection_take(struct core *core, struct bytes address, int32_t endpoint)
{
    ASSERT(address.size > 0 && address.size <= CORE_ADDRESS_SIZE_MAX);
    for (uint32_t i = 0; i < core->connection_count; i++) {
        struct core_connection *connection = &core->connections[i];
        if (connection->state != CORE_CLOSED) {
            continue;
        }
        connection_move(connection, CORE_DIAL_WANTED);
        connection->address = address;
        connection->endpoint = endpoint;
        connection->status_call = NULL;
        connection->output = buffer_of(NULL, 0);
        connection->hello_id = 0;
        connection->probe_id = 0;
        connection->probe_ms = 0;
        connection->probe_count = 0;
        connection->silent_since_ms = CORE_NEVER;
        connection->retiring = false;
        connection->passes_on = false;
        connection->node_size = 0;
        connection->is_suspect = false;
        connection->has_permit = false;
        timer_set(&core->timers, &connection->timer, core->now_ms + DIAL_TIMEOUT_MS);
        return connection;
    }
    return NULL;
}

/* Connections to that endpoint that are not being closed. */
uint32_t connection_count_of(const struct core *core, int32_t endpoint)
{
    uint32_t count = 0;

    ASSERT(endpoint >= 0);
    for (uint32_t i = 0; i < core->connection_count; i++) {
        const struct core_connection *connection = &core->connections[i];
        count += connection->endpoint == endpoint && connection->state != CORE_CLOSED &&
                 connection->state != CORE_CLOSE_WANTED;
    }
    return count;
}

static void remove_leader(struct core *core, struct core_connection *connection)
{
    for (uint32_t i = 0; i < core->leader_count; i++) {
        if (core->leaders[i] == connection) {
            core->leader_count--;
            core->leaders[i] = core->leaders[core->leader_count];
            break;
        }
    }
    if (core->leader_count == 0) {
        core->search_ms = core->now_ms;
        core->is_through = false;
    }
}

static void unpin_sessions(struct core *core, const struct core_connection *connection)
{
    for (struct list *at = core->sessions.next; at != &core->sessions; at = at->next) {
        struct core_session *session = CONTAINER_OF(at, struct core_session, all);
        session_disconnected(core, session, connection);
    }
}

/* All that is unanswered on it is lost, or answered for those who may not ask twice. */
void connection_close(struct core *core, struct core_connection *connection)
{
    if (connection->state == CORE_CLOSE_WANTED) {
        return;
    }
    ASSERT(connection->state != CORE_CLOSED);
    bool was_leader = connection->state == CORE_LEADER;
    policy_dial_done(core, connection, BREAKER_UNKNOWN);
    connection_move(connection, CORE_CLOSE_WANTED);
    timer_clear(&core->timers, &connection->timer);
    connection->output.size = 0;
    if (was_leader) {
        remove_leader(core, connection);
    }
    unpin_sessions(core, connection);
    watches_lost(core, connection);
    while (!list_is_empty(&connection->unanswered)) {
        struct list *first = list_first(&connection->unanswered);
        call_lost(core, CONTAINER_OF(first, struct core_call, queue));
    }
    struct core_call *status_call = connection->status_call;
    connection->status_call = NULL;
    if (status_call != NULL && !status_call->finished) {
        status_call->connection = NULL;
        call_finish(core, status_call, ERR_CLOSED, OUTCOME_REJECTED);
    }
}

/* It failed us: leave its endpoint alone for a while. */
void connection_broken(struct core *core, struct core_connection *connection)
{
    ASSERT(connection->state != CORE_CLOSED);
    policy_dial_done(core, connection, BREAKER_FAILURE);
    endpoint_failed(core, connection->endpoint);
    connection_close(core, connection);
}

/* Its node no longer leads. Lone writes wait on for their own answers. */
void connection_demote(struct core *core, struct core_connection *connection)
{
    ASSERT(connection->state == CORE_LEADER);
    connection_move(connection, CORE_STANDBY);
    connection->probe_count = 0;
    remove_leader(core, connection);
    unpin_sessions(core, connection);
    connection_poll_soon(core, connection);
}

/* The leader is found: the others have done their duty. */
void connection_retire_others(struct core *core)
{
    for (uint32_t i = 0; i < core->connection_count; i++) {
        struct core_connection *other = &core->connections[i];
        bool searching = other->state == CORE_DIAL_WANTED || other->state == CORE_DIALING ||
                         other->state == CORE_GREETING || other->state == CORE_STANDBY;
        bool is_leader = core->is_through && other->endpoint == core->hint_endpoint;
        if (!searching || other->endpoint < 0 || other->endpoint == core->leader_endpoint ||
            is_leader) {
            continue;
        }
        if (list_is_empty(&other->unanswered)) {
            connection_close(core, other);
        } else {
            other->retiring = true;
        }
    }
}

/* --- Asking a node itself -------------------------------------------------------------------- */

static void send_hello(struct core *core, struct core_connection *connection)
{
    struct wire_hello hello = {
        .version = WIRE_VERSION, .client = core->options.name, .token = core->options.token};

    connection->hello_id = core_request_id(core, SLOT_CONNECTION);
    connection->probe_ms = core->now_ms;
    bool fits = wire_request_begin(&connection->output, connection->hello_id, WIRE_METHOD_hello) &&
                wire_hello_encode(&hello, &connection->output);
    ASSERT(fits);
}

static void send_probe(struct core *core, struct core_connection *connection)
{
    struct wire_status status = {0};
    size_t before = connection->output.size;

    connection->probe_id = core_request_id(core, SLOT_CONNECTION);
    connection->probe_ms = core->now_ms;
    connection->probe_count++;
    if (!wire_request_begin(&connection->output, connection->probe_id, WIRE_METHOD_status) ||
        !wire_status_encode(&status, &connection->output)) {
        connection->output.size = before; /* A full output that never drains is silence too. */
    }
}

/* A request was put on it: an answer, or any sign of life, is due. */
void connection_sent(struct core *core, struct core_connection *connection)
{
    if (connection->silent_since_ms != CORE_NEVER) {
        return;
    }
    connection->silent_since_ms = core->now_ms;
    if (connection->state == CORE_LEADER && connection->timer.place == 0) {
        timer_set(&core->timers, &connection->timer, core->now_ms + SILENCE_MS);
    }
}

void connection_heard(struct core *core, struct core_connection *connection)
{
    bool waits = !list_is_empty(&connection->unanswered);

    connection->heard_ms = core->now_ms;
    connection->silent_since_ms = waits ? core->now_ms : CORE_NEVER;
    connection->is_suspect = false;
    if (connection->state == CORE_LEADER) {
        connection->probe_id = 0;
    }
    if (connection->retiring && !waits) {
        connection_close(core, connection);
    }
}

void connection_poll_soon(struct core *core, struct core_connection *connection)
{
    uint64_t delay_ms = core_random_between(core, POLL_MS_MIN, POLL_MS_MAX);
    bool is_idle = list_is_empty(&core->pending[CORE_KIND_READ]) &&
                   list_is_empty(&core->pending[CORE_KIND_WRITE]) && list_is_empty(&core->urgent) &&
                   list_is_empty(&core->sessions) && list_is_empty(&core->watches_all);

    ASSERT(connection->state == CORE_STANDBY);
    delay_ms <<= connection->probe_count >= 96 ? 3 : connection->probe_count / 32;
    delay_ms *= is_idle ? POLL_IDLE_FACTOR : 1;
    timer_set(&core->timers, &connection->timer, core->now_ms + delay_ms);
}

static void silence_due(struct core *core, struct core_connection *connection)
{
    uint64_t since_ms = connection->silent_since_ms;

    if (since_ms == CORE_NEVER) {
        return; /* Armed again with the next request. */
    }
    uint64_t attempt_ms = policy_check_attempts(core, connection);
    uint64_t due_ms = since_ms + SILENCE_MS;
    if (core->now_ms >= due_ms) {
        if (connection->probe_id == 0) {
            send_probe(core, connection);
        } else if (core->now_ms >= connection->probe_ms + SILENCE_MS) {
            connection_broken(core, connection);
            return;
        }
        due_ms = connection->probe_ms + SILENCE_MS;
    }
    timer_set(&core->timers, &connection->timer, attempt_ms < due_ms ? attempt_ms : due_ms);
}

static void standby_due(struct core *core, struct core_connection *connection)
{
    if (connection->probe_id == 0) {
        send_probe(core, connection);
        timer_set(&core->timers, &connection->timer, core->now_ms + HELLO_TIMEOUT_MS);
        return;
    }
    connection_broken(core, connection);
}

void connection_timer_due(struct core *core, struct core_connection *connection)
{
    switch (connection->state) {
    case CORE_DIAL_WANTED:
    case CORE_DIALING:
    case CORE_GREETING:
        connection_broken(core, connection);
        return;
    case CORE_STANDBY:
        standby_due(core, connection);
        return;
    case CORE_LEADER:
        silence_due(core, connection);
        return;
    case CORE_CLOSED:
    case CORE_CLOSE_WANTED:
        break;
    }
    UNREACHABLE();
}

/* --- What nodes say -------------------------------------------------------------------------- */

/* Requests go there from now on: it leads, or passes them on to a leader with that address. */
static void lead(struct core *core, struct core_connection *connection, bool is_through,
                 struct bytes leader_client)
{
    ASSERT(core->leader_count < CORE_LEADER_CONNECTION_COUNT_MAX);
    connection_move(connection, CORE_LEADER);
    connection->probe_id = 0;
    connection->retiring = false;
    core->leaders[core->leader_count] = connection;
    core->leader_count++;
    if (core->leader_count == 1) {
        limiter_restart(&core->limiter);
    }
    core->leader_endpoint = connection->endpoint;
    core->hint_endpoint = -1;
    core->named_endpoint = -1;
    core->is_through = false;
    if (is_through) {
        through_begin(core, leader_client);
    }
    timer_clear(&core->timers, &connection->timer);
    if (connection->silent_since_ms != CORE_NEVER) {
        timer_set(&core->timers, &connection->timer, core->now_ms + SILENCE_MS);
    }
    connection_retire_others(core);
    for (struct list *at = core->sessions.next; at != &core->sessions; at = at->next) {
        session_wake(core, CONTAINER_OF(at, struct core_session, all));
    }
}

/* Another node that leads is better than those that pass on to it. */
static void leave_through(struct core *core, const struct core_connection *connection)
{
    bool is_another = core->is_through && core->leader_endpoint != connection->endpoint;

    for (uint32_t i = core->leader_count; i > 0 && is_another; i--) {
        connection_demote(core, core->leaders[i - 1]);
    }
}

/* True when the node leads, and the client has no leader or this one. */
static bool may_lead(const struct core *core, const struct core_connection *connection,
                     struct bytes node, struct bytes leader)
{
    return leader.size != 0 && bytes_equal(node, leader) &&
           (core->leader_count == 0 || core->leader_endpoint == connection->endpoint) &&
           core->leader_count < core->options.connections;
}

static void node_said(struct core *core, struct core_connection *connection, struct bytes node,
                      struct bytes leader, struct bytes leader_client)
{
    bool leads = leader.size != 0 && bytes_equal(node, leader);

    if (leads) {
        leave_through(core, connection);
    }
    if (may_lead(core, connection, node, leader)) {
        lead(core, connection, false, leader_client);
        return;
    }
    if (core->leader_count == 0 && leader_client.size != 0 && !leads) {
        endpoint_hint(core, leader_client);
    }
    if (leader.size != 0 && !leads && through_wanted(core, connection, leader_client)) {
        lead(core, connection, true, leader_client);
        return;
    }
    if (core->leader_count > 0) {
        if (list_is_empty(&connection->unanswered)) {
            connection_close(core, connection); /* The search is over. */
            return;
        }
        connection->retiring = true;
    }
    if (connection->state == CORE_GREETING) {
        connection_move(connection, CORE_STANDBY);
        core->search_ms = core->now_ms; /* Try the next one without waiting. */
    }
    connection_poll_soon(core, connection);
}

static enum error hello_answered(struct core *core, struct core_connection *connection,
                                 struct bytes body)
{
    struct wire_hello_result hello;

    if (wire_hello_result_decode(&body, &hello) != ERR_OK || hello.clock_rate_ppm >= 500000) {
        return ERR_MALFORMED;
    }
    connection->clock_rate_ppm = hello.clock_rate_ppm;
    connection->margin_ms = hello.margin_ms;
    connection->passes_on = hello.passes_on;
    connection->node_size = (uint32_t)hello.node.size;
    memcpy(connection->node, hello.node.data, hello.node.size);
    connection->takes_deadlines = hello.deadlines;
    if (connection->endpoint < 0) {
        return ERR_OK;
    }
    policy_dial_done(core, connection, BREAKER_SUCCESS);
    endpoint_worked(core, connection->endpoint, core->now_ms - connection->probe_ms);
    node_said(core, connection, hello.node, hello.leader, hello.leader_client);
    return ERR_OK;
}

static enum error probe_answered(struct core *core, struct core_connection *connection,
                                 const struct wire_rpc *rpc)
{
    struct wire_status_result status;
    struct bytes body = rpc->body;

    connection->probe_id = 0;
    if (connection->state != CORE_STANDBY) {
        return ERR_OK; /* A sign of life of the leader. */
    }
    if (rpc->failed) {
        connection_poll_soon(core, connection);
        return ERR_OK;
    }
    if (wire_status_result_decode(&body, &status) != ERR_OK) {
        return ERR_MALFORMED;
    }
    node_said(core, connection, status.node, status.leader, status.leader_client);
    return ERR_OK;
}

/* The node hangs up behind this. */
static void hello_refused(struct core *core, struct core_connection *connection, struct bytes body)
{
    struct core_call *status_call = connection->status_call;
    int32_t endpoint = connection->endpoint;
    struct wire_failure failure;
    bool is_auth = wire_failure_decode(&body, &failure) == ERR_OK && failure.code == ERR_AUTH;

    if (is_auth && status_call != NULL && !status_call->finished) {
        call_finish(core, status_call, ERR_AUTH, OUTCOME_REJECTED); /* Closes it, too. */
        return;
    }
    connection_broken(core, connection);
    if (is_auth && endpoint >= 0 && endpoint_refused(core, endpoint)) {
        calls_refuse(core);
    }
}

void connection_answered(struct core *core, struct core_connection *connection,
                         const struct wire_rpc *rpc)
{
    enum error error = ERR_OK;

    if (rpc->id == connection->hello_id && connection->state == CORE_GREETING) {
        if (rpc->failed) {
            hello_refused(core, connection, rpc->body);
            return;
        }
        error = hello_answered(core, connection, rpc->body);
    } else if (rpc->id == connection->probe_id && connection->probe_id != 0) {
        error = probe_answered(core, connection, rpc);
    }
    if (error != ERR_OK) {
        connection_broken(core, connection);
    }
}

/* --- Events of the shell --------------------------------------------------------------------- */

void core_dialing(struct core *core, struct core_connection *connection)
{
    ASSERT(connection->index < core->connection_count);
    connection_move(connection, CORE_DIALING);
}

void core_connected(struct core *core, struct core_connection *connection, struct buffer output)
{
    if (connection->state != CORE_DIALING) {
        return; /* To be closed meanwhile. */
    }
    ASSERT(output.size == 0 && output.capacity >= CORE_OUTPUT_SIZE_MIN);
    connection_move(connection, CORE_GREETING);
    connection->output = output;
    connection->takes_deadlines = false;
    timer_set(&core->timers, &connection->timer, core->now_ms + HELLO_TIMEOUT_MS);
    send_hello(core, connection);
    if (connection->status_call != NULL) {
        call_sent(core, connection->status_call, connection);
    }
}

void core_disconnected(struct core *core, struct core_connection *connection)
{
    if (connection->state == CORE_CLOSE_WANTED || connection->state == CORE_CLOSED) {
        return;
    }
    policy_dial_done(core, connection, BREAKER_FAILURE);
    if (connection->state != CORE_LEADER) {
        endpoint_failed(core, connection->endpoint);
    }
    core->search_ms = core->now_ms;
    connection_close(core, connection);
}

void core_closed(struct core *core, struct core_connection *connection)
{
    ASSERT(list_is_empty(&connection->unanswered));
    ASSERT(connection->index < core->connection_count);
    connection_move(connection, CORE_CLOSED);
    connection->output = buffer_of(NULL, 0);
    connection->endpoint = -1;
}

/* In turn; one that did not answer in time only when there is no other. */
struct core_connection *connection_choose(struct core *core, size_t size)
{
    struct core_connection *suspect = NULL;

    for (uint32_t i = 0; i < core->leader_count; i++) {
        core->leader_turn = (core->leader_turn + 1) % core->leader_count;
        struct core_connection *connection = core->leaders[core->leader_turn];
        ASSERT(connection->state == CORE_LEADER);
        if (buffer_room(&connection->output) < size) {
            continue;
        }
        if (!connection->is_suspect) {
            return connection;
        }
        suspect = connection;
    }
    return suspect;
}
