/* client/core_pump.c: the order in which calls outside of sessions' windows are sent.
 *
 * First what is exempt from waiting (core_policy.c); then one read, one write and one session in
 * turn, so that none of the three waits for the others. */
#include "client/core_internal.h"

static void statuses_pump(struct core *core)
{
    uint32_t busy = 0;

    for (uint32_t i = 0; i < core->connection_count; i++) {
        busy += core->connections[i].status_call != NULL;
    }
    while (busy < CORE_SEARCH_CONNECTION_COUNT / 3 && !list_is_empty(&core->statuses)) {
        struct core_call *call = CONTAINER_OF(list_first(&core->statuses), struct core_call, queue);
        struct core_connection *connection = connection_take(core, call->address, -1);
        if (connection == NULL) {
            return;
        }
        list_remove(&call->queue);
        connection->status_call = call;
        call->connection = connection;
        busy++;
    }
}

/* False when outputs are full: it goes on when they have been written. */
static bool send_first(struct core *core, struct list *calls)
{
    struct core_call *call = CONTAINER_OF(list_first(calls), struct core_call, queue);
    size_t size = call_size_max(call);
    struct core_connection *connection = connection_choose(core, size);

    if (connection == NULL) {
        return false;
    }
    if (call->class == CORE_SESSION_END && call->session->connection != NULL &&
        buffer_room(&call->session->connection->output) >= size) {
        connection = call->session->connection; /* Behind what the session has sent. */
    }
    call_sent(core, call, connection);
    return true;
}

static bool send_of_kind(struct core *core, enum core_kind kind)
{
    return !list_is_empty(&core->pending[kind]) && policy_admits(core, kind) &&
           send_first(core, &core->pending[kind]);
}

static bool send_blocked(struct core *core)
{
    if (list_is_empty(&core->blocked) || !policy_admits(core, CORE_KIND_WRITE)) {
        return false;
    }
    struct list *first = list_pop_front(&core->blocked);
    session_wake(core, CONTAINER_OF(first, struct core_session, blocked));
    return true;
}

void calls_pump(struct core *core)
{
    bool any = true;

    if (!list_is_empty(&core->statuses)) {
        statuses_pump(core);
    }
    while (core->leader_count > 0 && !list_is_empty(&core->urgent) &&
           send_first(core, &core->urgent)) {
    }
    while (core->leader_count > 0 && any) {
        any = send_of_kind(core, CORE_KIND_READ);
        any = send_of_kind(core, CORE_KIND_WRITE) || any;
        any = send_blocked(core) || any;
    }
}

void session_block(struct core *core, struct core_session *session)
{
    if (!list_is_linked(&session->blocked)) {
        list_push_back(&core->blocked, &session->blocked);
    }
}
