/* client/core.c: the turn of a client: time, bytes and answers in, requests and results out. */
#include "client/core_internal.h"

static uint32_t connection_count_max(const struct core_options *options)
{
    return options->connections + CORE_SEARCH_CONNECTION_COUNT;
}

static uint32_t timer_count_max(const struct core_options *options)
{
    return options->call_slot_count + options->session_count_max + options->watch_count_max +
           connection_count_max(options);
}

size_t core_memory_size(const struct core_options *options)
{
    return arena_cost(options->call_slot_count, sizeof(struct core_call *)) +
           arena_cost(options->session_count_max, sizeof(struct core_session *)) +
           arena_cost(options->watch_count_max, sizeof(struct core_watch *)) +
           arena_cost(connection_count_max(options), sizeof(struct core_connection)) +
           arena_cost(timer_count_max(options) + 1, sizeof(struct core_timer *));
}

uint64_t core_random_between(struct core *core, uint64_t low, uint64_t high)
{
    ASSERT_VALUES(low <= high, low, high);
    return prng_between(&core->prng, low, high);
}

/* Never repeated within a client: an answer that comes late finds nothing. */
uint64_t core_request_id(struct core *core, uint32_t slot)
{
    ASSERT(slot <= SLOT_CONNECTION);
    core->request_count++;
    return core->request_count << SLOT_BITS | slot;
}

static void open_tables(struct core *core, struct arena *arena)
{
    const struct core_options *options = &core->options;

    core->calls = arena_take(arena, options->call_slot_count, sizeof(struct core_call *));
    for (uint32_t i = 0; i < options->call_slot_count; i++) {
        core->calls[i] = NULL;
    }
    core->session_slots =
        arena_take(arena, options->session_count_max, sizeof(struct core_session *));
    for (uint32_t i = 0; i < options->session_count_max; i++) {
        core->session_slots[i] = NULL;
    }
    core->watches = arena_take(arena, options->watch_count_max, sizeof(struct core_watch *));
    for (uint32_t i = 0; i < options->watch_count_max; i++) {
        core->watches[i] = NULL;
    }
    core->timers.capacity = timer_count_max(options);
    core->timers.heap = arena_take(arena, core->timers.capacity + 1, sizeof(struct core_timer *));
    core->connection_count = connection_count_max(options);
    core->connections = arena_take(arena, core->connection_count, sizeof(struct core_connection));
    for (uint32_t i = 0; i < core->connection_count; i++) {
        struct core_connection *connection = &core->connections[i];
        memset(connection, 0, sizeof *connection);
        connection->index = i;
        connection->endpoint = -1;
        connection->timer.kind = CORE_TIMER_CONNECTION;
        list_init(&connection->unanswered);
    }
}

void core_open(struct core *core, struct arena *arena, const struct core_options *options,
               struct bytes endpoints, uint64_t now_ms)
{
    ASSERT(options->connections >= 1);
    ASSERT(options->connections <= CORE_LEADER_CONNECTION_COUNT_MAX);
    ASSERT(options->call_slot_count <= CORE_CALL_COUNT_MAX);
    ASSERT(options->call_count_max <= options->call_slot_count);
    ASSERT(options->session_count_max <= CORE_SESSION_COUNT_MAX);
    ASSERT(options->watch_count_max <= CORE_WATCH_COUNT_MAX);
    memset(core, 0, sizeof *core);
    core->options = *options;
    core->now_ms = now_ms;
    core->search_ms = now_ms;
    core->leader_endpoint = -1;
    core->hint_endpoint = -1;
    core->named_endpoint = -1;
    prng_init(&core->prng, options->seed);
    list_init(&core->sessions);
    list_init(&core->statuses);
    list_init(&core->ready);
    list_init(&core->changed);
    list_init(&core->finished);
    list_init(&core->freed);
    policy_open(core);
    list_init(&core->watches_all);
    list_init(&core->watches_ready);
    list_init(&core->watches_ended);
    open_tables(core, arena);
    endpoints_init(core, endpoints);
}

/* --- In -------------------------------------------------------------------------------------- */

static void timer_due(struct core *core, struct core_timer *timer)
{
    switch (timer->kind) {
    case CORE_TIMER_CALL:
        call_timer_due(core, CONTAINER_OF(timer, struct core_call, timer));
        return;
    case CORE_TIMER_SESSION:
        session_timer_due(core, CONTAINER_OF(timer, struct core_session, timer));
        return;
    case CORE_TIMER_CONNECTION:
        connection_timer_due(core, CONTAINER_OF(timer, struct core_connection, timer));
        return;
    case CORE_TIMER_WATCH:
        watch_timer_due(core, CONTAINER_OF(timer, struct core_watch, timer));
        return;
    }
    UNREACHABLE();
}

void core_advance(struct core *core, uint64_t now_ms)
{
    /* Two readings of a sum of clocks may differ by a millisecond the wrong way. */
    core->now_ms = now_ms > core->now_ms ? now_ms : core->now_ms;
    policy_advance(core);
    for (;;) {
        struct core_timer *timer = timer_first(&core->timers);
        if (timer == NULL || timer->due_ms > core->now_ms) {
            return;
        }
        timer_clear(&core->timers, timer);
        timer_due(core, timer);
    }
}

static void response(struct core *core, struct core_connection *connection,
                     const struct wire_rpc *rpc)
{
    uint32_t slot = (uint32_t)(rpc->id & SLOT_CONNECTION);
    uint32_t call_slots = core->options.call_slot_count;

    if (slot == SLOT_CONNECTION) {
        connection_answered(core, connection, rpc);
    } else if (slot < call_slots) {
        struct core_call *call = core->calls[slot];
        if (call != NULL && call->request_id == rpc->id && call->phase == CORE_CALL_SENT &&
            call->connection == connection) {
            call_answered(core, call, rpc);
        }
    } else if (slot - call_slots < core->options.session_count_max) {
        struct core_session *session = core->session_slots[slot - call_slots];
        if (session != NULL) {
            session_answered(core, session, connection, rpc);
        }
    } else {
        watch_answered(core, connection, rpc);
    }
}

void core_receive(struct core *core, struct core_connection *connection, struct bytes *input)
{
    bool heard = false;

    while (!core_is_full(core) &&
           (connection->state == CORE_GREETING || connection->state == CORE_STANDBY ||
            connection->state == CORE_LEADER)) {
        struct wire_rpc rpc;
        enum error error = wire_rpc_next(input, &rpc);
        if (error == ERR_INCOMPLETE) {
            break;
        }
        if (error != ERR_OK || rpc.type == WIRE_REQUEST) {
            connection_broken(core, connection);
            return;
        }
        heard = true;
        if (rpc.type == WIRE_RESPONSE) {
            response(core, connection, &rpc);
        } else if (rpc.method == WIRE_NOTICE_leader_is) {
            through_notice(core, connection, &rpc);
        } else {
            session_notice(core, &rpc);
            watch_notice(core, connection, &rpc);
        }
    }
    if (heard && connection->state != CORE_CLOSE_WANTED) {
        connection_heard(core, connection);
    }
}

/* --- Out ------------------------------------------------------------------------------------- */

void core_pump(struct core *core)
{
    struct list ready;

    endpoint_search(core);
    calls_pump(core);
    watches_pump(core);
    if (core->leader_count == 0 || list_is_empty(&core->ready)) {
        return;
    }
    /* Sessions that cannot send all they have are put into the emptied list again. */
    ready = core->ready;
    ready.next->previous = &ready;
    ready.previous->next = &ready;
    list_init(&core->ready);
    while (!list_is_empty(&ready)) {
        struct core_session *session =
            CONTAINER_OF(list_pop_front(&ready), struct core_session, ready);
        session_wake(core, session);
    }
}

uint64_t core_wake_ms(const struct core *core)
{
    const struct core_timer *timer = timer_first(&core->timers);
    uint64_t wake_ms = timer == NULL ? CORE_NEVER : timer->due_ms;
    uint64_t search_ms = endpoint_search_wake_ms(core);
    uint64_t policy_ms = policy_wake_ms(core);

    wake_ms = search_ms < wake_ms ? search_ms : wake_ms;
    wake_ms = policy_ms < wake_ms ? policy_ms : wake_ms;
    if (core->closing && core->closing_until_ms < wake_ms) {
        wake_ms = core->closing_until_ms;
    }
    return wake_ms;
}

struct core_session *core_next_changed(struct core *core, enum core_session_state *state)
{
    while (!list_is_empty(&core->changed)) {
        struct core_session *session =
            CONTAINER_OF(list_first(&core->changed), struct core_session, changed);
        if (session->reported == session->state) {
            list_remove(&session->changed); /* It came back before it was told. */
            continue;
        }
        *state = session->state;
        if (session->state == CORE_SESSION_LOST && session->reported == CORE_SESSION_CONNECTED) {
            *state = CORE_SESSION_SUSPECT;
        }
        session->reported = *state;
        return session;
    }
    return NULL;
}

struct core_call *core_next_finished(struct core *core)
{
    struct list *first = list_pop_front(&core->finished);

    if (first == NULL) {
        return NULL;
    }
    struct core_call *call = CONTAINER_OF(first, struct core_call, told);
    ASSERT(call->finished && !call->delivered);
    if (call->class == CORE_ACQUIRE && call->status == ERR_OK &&
        core->now_ms >= call->session->deadline_ms) {
        call->status = ERR_LOST;
        call->outcome = OUTCOME_UNKNOWN;
    }
    return call;
}

void core_call_moved(struct core_call *call, struct bytes body)
{
    ASSERT(call->finished && call->status == ERR_OK && body.size == call->body.size);
    call->body = body;
    enum error error = call_decode(call, body);
    ASSERT(error == ERR_OK);
}

static void release_slot(struct core *core, const struct core_call *call)
{
    ASSERT(core->calls[call->slot] == call);
    ASSERT(core->call_count > 0);
    core->calls[call->slot] = NULL;
    core->call_count--;
}

bool core_call_delivered(struct core *core, struct core_call *call)
{
    ASSERT(call->finished && !call->delivered);
    call->delivered = true;
    if (call->phase != CORE_CALL_SETTLED) {
        return false;
    }
    release_slot(core, call);
    return true;
}

struct core_call *core_next_freed(struct core *core)
{
    struct list *first = list_pop_front(&core->freed);

    if (first == NULL) {
        return NULL;
    }
    struct core_call *call = CONTAINER_OF(first, struct core_call, told);
    ASSERT(call->delivered && call->phase == CORE_CALL_SETTLED);
    release_slot(core, call);
    return call;
}

/* --- The end --------------------------------------------------------------------------------- */

void core_close(struct core *core)
{
    ASSERT(!core->closing);
    core->closing = true;
    core->closing_until_ms = core->now_ms + CLOSE_MS;
    struct list *at = core->sessions.next;
    while (at != &core->sessions) {
        struct core_session *session = CONTAINER_OF(at, struct core_session, all);
        at = at->next;
        session->ending = session->open_call == NULL; /* No more changes are told. */
        list_remove(&session->changed);
    }
    calls_cancel(core, false);
    watches_cancel(core);
    for (at = core->sessions.next; at != &core->sessions; at = at->next) {
        struct core_session *session = CONTAINER_OF(at, struct core_session, all);
        bool is_open =
            session->id != 0 && session->state != CORE_SESSION_LOST && !session->finishing;
        session_lost(core, session);
        session->end_wanted = session->end_wanted || is_open;
        session_ready(core, session);
    }
}

bool core_is_closed(const struct core *core)
{
    if (!core->closing) {
        return false;
    }
    if (core->now_ms >= core->closing_until_ms) {
        return true;
    }
    for (struct list *at = core->sessions.next; at != &core->sessions; at = at->next) {
        const struct core_session *session = CONTAINER_OF(at, struct core_session, all);
        if (session->end_wanted || session->finishing) {
            return false;
        }
    }
    return true;
}

void core_stop(struct core *core)
{
    ASSERT(core->closing);
    calls_cancel(core, true);
    for (uint32_t i = 0; i < core->connection_count; i++) {
        enum core_connection_state state = core->connections[i].state;
        if (state != CORE_CLOSED && state != CORE_CLOSE_WANTED) {
            connection_close(core, &core->connections[i]);
        }
    }
}

/* --- Invariants (docs/client.md) ------------------------------------------------------------- */

static void check_call(const struct core *core, const struct core_call *call)
{
    ASSERT(call->phase != CORE_CALL_FREE);
    /* 1. What is not finished has a deadline, or waits in a lock's queue. */
    if (!call->finished) {
        ASSERT(call->deadline_ms != CORE_NEVER || call->phase == CORE_CALL_QUEUED);
        ASSERT(call->timer.place != 0);
    }
    /* 2. A sent call belongs to a connection, no other call does. */
    if (call->phase == CORE_CALL_SENT) {
        ASSERT(call->connection != NULL && list_is_linked(&call->queue));
    }
    /* 3. Only requests of a session have sequences, never above its last. */
    if (list_is_linked(&call->window)) {
        ASSERT(call->sequence != 0 && call->sequence <= call->session->sequence);
    }
    ASSERT(core->calls[call->slot] == call);
}

static void check_session(const struct core *core, const struct core_session *session)
{
    uint64_t before = 0;
    uint32_t count = 0;

    /* 4. The window is in order, and as wide as the node keeps results. */
    for (struct list *at = session->window.next; at != &session->window; at = at->next) {
        const struct core_call *call = CONTAINER_OF(at, struct core_call, window);
        ASSERT(call->sequence > before);
        before = call->sequence;
        count++;
        ASSERT(session->sequence - call->sequence < CORE_WINDOW_COUNT_MAX);
    }
    ASSERT_VALUES(count == session->window_count, count, session->window_count);
    /* 5. A session that is not lost has its deadline ahead, unless time has not been advanced. */
    if (session->state == CORE_SESSION_CONNECTED || session->state == CORE_SESSION_SUSPECT) {
        ASSERT(session->deadline_ms > core->now_ms);
        ASSERT(session->timer.place != 0 && session->timer.due_ms <= session->deadline_ms);
    }
    /* 6. Its connection leads. */
    if (session->connection != NULL) {
        ASSERT(session->connection->state == CORE_LEADER);
    }
}

void core_check(const struct core *core)
{
    uint32_t leaders = 0;

    timers_check(&core->timers);
    policy_check(core);
    core_watches_check(core);
    for (uint32_t i = 0; i < core->options.call_slot_count; i++) {
        if (core->calls[i] != NULL) {
            check_call(core, core->calls[i]);
        }
    }
    for (struct list *at = core->sessions.next; at != &core->sessions; at = at->next) {
        check_session(core, CONTAINER_OF(at, struct core_session, all));
    }
    for (uint32_t i = 0; i < core->connection_count; i++) {
        const struct core_connection *connection = &core->connections[i];
        leaders += connection->state == CORE_LEADER;
        if (connection->state == CORE_LEADER) {
            ASSERT(connection->endpoint == core->leader_endpoint);
        }
    }
    ASSERT_VALUES(leaders == core->leader_count, leaders, core->leader_count);
    /* 7. What passes requests on is there, and is not what it is to be left for. */
    if (core->is_through) {
        ASSERT(core->leader_count > 0 && core->hint_endpoint != core->leader_endpoint);
    }
}
