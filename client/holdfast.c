/* client/holdfast.c: the public interface: slots, copies, the queue of what was asked, callbacks.
 */
#include "client/holdfast.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "client/client.h"
#include "client/owner.h"

enum { TIMEOUT_MS_DEFAULT = 5000, TURN_ROUND_COUNT_MAX = 4 };

_Static_assert((int)HOLDFAST_SESSION_LOST + 1 == (int)CORE_SESSION_LOST,
               "the states of the core, without OPENING, are the public ones");

static enum holdfast_session_state public_state(enum core_session_state state)
{
    /* Not open yet: no side effects either. */
    return state == CORE_SESSION_OPENING ? HOLDFAST_SESSION_SUSPECT
                                         : (enum holdfast_session_state)(state - 1);
}

/* --- The mutex ------------------------------------------------------------------------------- */

void client_lock(struct holdfast *client)
{
    if (client->is_threaded) {
        int failed = pthread_mutex_lock(&client->mutex);
        ASSERT(failed == 0);
    }
}

void client_unlock(struct holdfast *client)
{
    if (client->is_threaded) {
        int failed = pthread_mutex_unlock(&client->mutex);
        ASSERT(failed == 0);
    }
}

/* --- Slots ----------------------------------------------------------------------------------- */

static void init_slots(struct holdfast *client)
{
    list_init(&client->free_calls);
    list_init(&client->free_sessions);
    list_init(&client->submitted);
    list_init(&client->cancelled);
    list_init(&client->thens);
    list_init(&client->timed);
    list_init(&client->combined);
    watches_init(client);
    for (uint32_t i = CLIENT_SESSION_COUNT_MAX; i > 0; i--) {
        struct holdfast_session *session = &client->sessions[i - 1];
        session->core.slot = i - 1;
        session->client = client;
        list_push_front(&client->free_sessions, &session->queue);
    }
}

/* --- The turn -------------------------------------------------------------------------------- */

static struct list *take_first(struct holdfast *client, struct list *head)
{
    client_lock(client);
    struct list *first = list_pop_front(head);
    client_unlock(client);
    return first;
}

static void refuse(struct holdfast *client, struct holdfast_call *call)
{
    struct holdfast_result result = {.status = (enum holdfast_status)call->refusal,
                                     .outcome = HOLDFAST_REJECTED,
                                     .text = error_text(call->refusal)};

    handle_tell(client, call, &result);
    client_lock(client);
    call_drop(client, call);
    client_unlock(client);
}

static struct holdfast_session *session_of(struct core_session *session)
{
    return CONTAINER_OF(session, struct holdfast_session, core);
}

static void start(struct holdfast *client, struct holdfast_call *call)
{
    struct core_session *session = call->core.session;

    if (call->refusal != ERR_OK) {
        refuse(client, call);
    } else if (call->group.kind != GROUP_NONE) {
        group_start(client, call);
    } else if (call->core.method == WIRE_METHOD_session_open) {
        core_session_start(&client->core, session, &call->core);
    } else if (call->core.method == WIRE_METHOD_session_end && session != NULL) {
        core_session_finish(&client->core, session, &call->core);
    } else {
        core_call_start(&client->core, &call->core);
    }
}

/* In the order in which they were asked. A call that is to be cancelled was submitted before. */
static void take_submitted(struct holdfast *client)
{
    struct list cancelled;
    struct list *first;

    list_init(&cancelled);
    client_lock(client);
    bool close_wanted = client->close_wanted; /* What was asked before is taken below. */
    while ((first = list_pop_front(&client->cancelled)) != NULL) {
        list_push_back(&cancelled, first);
    }
    client_unlock(client);
    while ((first = take_first(client, &client->submitted)) != NULL) {
        start(client, CONTAINER_OF(first, struct holdfast_call, queue));
    }
    while ((first = take_first(client, &cancelled)) != NULL) {
        struct holdfast_call *call = CONTAINER_OF(first, struct holdfast_call, cancelled);
        if (call->group.kind != GROUP_NONE) {
            group_cancel(client, call);
        } else {
            core_call_cancel(&client->core, &call->core);
        }
    }
    watches_take_submitted(client);
    if (close_wanted && !client->closing) {
        client->closing = true;
        core_close(&client->core);
    }
}

static void publish(struct holdfast_session *session)
{
    /* The id last: who sees a session that is open sees its deadline too. */
    atomic_store_explicit(&session->deadline_ms, session->core.deadline_ms, memory_order_release);
    atomic_store_explicit(&session->state, (int)public_state(session->core.state),
                          memory_order_release);
    atomic_store_explicit(&session->id, session->core.id, memory_order_release);
}

static void tell_changes(struct holdfast *client)
{
    struct core_session *changed;
    enum core_session_state state;

    while ((changed = core_next_changed(&client->core, &state)) != NULL) {
        struct holdfast_session *session = session_of(changed);
        publish(session);
        if (session->on_state != NULL) {
            session->on_state(session, public_state(state), session->context);
        }
    }
}

static void tell_result(struct holdfast *client, struct holdfast_call *call)
{
    struct holdfast_result result;
    struct core_session *session = call->core.session;

    if (call->core.method == WIRE_METHOD_session_open && session->id != 0) {
        publish(session_of(session));
    }
    client_result(client->scratch, &call->core, &result);
    handle_tell(client, call, &result);
    client_lock(client);
    if (call->core.method == WIRE_METHOD_session_end && session != NULL) {
        list_push_front(&client->free_sessions, &session_of(session)->queue);
    }
    if (core_call_delivered(&client->core, &call->core)) {
        call_drop(client, call);
    }
    client_unlock(client);
}

/* Behind the results: a grant is told before it is taken back. */
static void tell_revoked(struct holdfast *client)
{
    const struct core_revoked *revoked;

    while ((revoked = core_next_revoked(&client->core)) != NULL) {
        struct holdfast_session *session = session_of(revoked->session);

        struct bytes name = bytes_of(revoked->name, revoked->name_size);

        name = client_is_election(name) ? bytes_skip(name, 1) : name;
        if (session->on_revoked != NULL) {
            session->on_revoked(session, name.data, name.size, revoked->token, session->context);
        }
    }
}

/* A callback may have taken long: a lock is not handed over behind the session's deadline. */
static void tell_results(struct holdfast *client)
{
    struct core_call *finished;

    tell_changes(client);
    while ((finished = core_next_finished(&client->core)) != NULL) {
        if (finished->method == WIRE_METHOD_lock_acquire && finished->status == ERR_OK) {
            core_advance(&client->core, host_now_ms());
            if (client->core.now_ms >= finished->session->deadline_ms) {
                finished->status = ERR_LOST;
                finished->outcome = OUTCOME_UNKNOWN;
            }
            tell_changes(client);
        }
        tell_result(client, CONTAINER_OF(finished, struct holdfast_call, core));
    }
    tell_revoked(client);
    groups_tell(client);
    handles_tell_late(client);
    watches_tell(client);
}

static void take_freed(struct holdfast *client)
{
    struct core_call *freed;

    while ((freed = core_next_freed(&client->core)) != NULL) {
        client_lock(client);
        call_drop(client, CONTAINER_OF(freed, struct holdfast_call, core));
        client_unlock(client);
    }
}

static bool is_asked(struct holdfast *client)
{
    client_lock(client);
    bool asked = !list_is_empty(&client->submitted) || !list_is_empty(&client->cancelled) ||
                 !list_is_empty(&client->thens) || !list_is_empty(&client->combined) ||
                 watches_are_asked(client) || (client->close_wanted && !client->closing);
    client_unlock(client);
    return asked;
}

static void publish_all(struct holdfast *client)
{
    struct list *head = &client->core.sessions;

    for (struct list *at = head->next; at != head; at = at->next) {
        publish(session_of(CONTAINER_OF(at, struct core_session, all)));
    }
}

bool client_turn(struct holdfast *client, uint64_t now_ms)
{
    core_advance(&client->core, now_ms);
    groups_advance(client, now_ms);
    shell_receive(client->shell);
    publish_all(
        client); /* Before callbacks, which may take long: a renewal has moved a deadline. */
    bool is_full = false; /* More changes of watches wait in the input. */
    for (uint32_t round = 0; round < TURN_ROUND_COUNT_MAX; round++) {
        if (is_full) {
            shell_receive(client->shell);
            publish_all(client);
        }
        is_full = core_is_full(&client->core);
        tell_results(client);
        take_freed(client);
        if (!is_asked(client) && !is_full) {
            break;
        }
        take_submitted(client);
    }
    core_pump(&client->core);
    publish_all(client);
    if (core_is_closed(&client->core)) {
        core_stop(&client->core);
        tell_results(client);
        take_freed(client);
    }
    return is_full || is_asked(client) || !list_is_empty(&client->core.finished) ||
           !list_is_empty(&client->core.changed);
}

uint64_t client_wake_ms(const struct holdfast *client)
{
    uint64_t wake_ms = core_wake_ms(&client->core);

    if (!list_is_empty(&client->timed)) {
        const struct holdfast_call *first =
            CONTAINER_OF(client->timed.next, struct holdfast_call, group.timed);
        wake_ms = first->group.deadline_ms < wake_ms ? first->group.deadline_ms : wake_ms;
    }
    return wake_ms;
}

/* --- Clients --------------------------------------------------------------------------------- */

static enum error allocate(struct holdfast *client, const struct core_options *options,
                           void **memory)
{
    size_t size = size_round_up(core_memory_size(options), ARENA_ALIGNMENT);

    client->calls = calloc(options->call_slot_count, sizeof *client->calls);
    client->sessions = calloc(CLIENT_SESSION_COUNT_MAX, sizeof *client->sessions);
    client->watches = calloc(CLIENT_WATCH_COUNT_MAX, sizeof *client->watches);
    client->scratch = calloc(1, sizeof *client->scratch + CLIENT_TEXT_SIZE);
    *memory = aligned_alloc(ARENA_ALIGNMENT, size);
    client->memory = *memory;
    return client->calls == NULL || client->sessions == NULL || client->watches == NULL ||
                   client->scratch == NULL || client->memory == NULL
               ? ERR_FULL
               : ERR_OK;
}

void client_free(struct holdfast *client)
{
    client_lock(client);
    client->is_over = true;
    struct shell *shell = client->shell;
    client->shell = NULL;
    client->runner = NULL;
    bool has_handles = client->handle_count != 0;
    client_unlock(client);
    if (shell != NULL) {
        shell_free(shell);
    }
    if (!has_handles) {
        client_destroy(client);
    }
}

void client_destroy(struct holdfast *client)
{
    ASSERT(client != NULL);
    for (uint32_t i = 0; i < client->call_count; i++) {
        free(client->calls[i].large);
        free(client->calls[i].handle.memory);
    }
    free(client->calls);
    free(client->sessions);
    free(client->watches);
    free(client->scratch);
    free(client->memory);
    (void)pthread_mutex_destroy(&client->mutex);
    free(client);
}

static bool options_are_valid(const struct holdfast_options *options)
{
    return options != NULL && options->endpoints != NULL &&
           core_endpoints_check(bytes_of_text(options->endpoints)) == ERR_OK &&
           (options->name == NULL || strlen(options->name) <= CLIENT_NAME_SIZE_MAX) &&
           (options->token == NULL || strlen(options->token) <= CLIENT_TOKEN_SIZE_MAX) &&
           options->connections <= CORE_LEADER_CONNECTION_COUNT_MAX;
}

static enum error open_client(struct holdfast *client, const struct holdfast_options *options,
                              struct uv_loop_s *loop, const struct holdfast_hooks *hooks)
{
    const char *name = options->name == NULL ? "" : options->name;
    const char *token = options->token == NULL ? "" : options->token;
    struct core_options core_options = {
        .name = bytes_of(client->name, strlen(name)),
        .token = bytes_of(client->token, strlen(token)),
        .connections = options->connections == 0 ? 1 : options->connections,
        .call_count_max = CLIENT_CALL_COUNT_MAX,
        .call_slot_count = CLIENT_CALL_COUNT_MAX + CLIENT_REFUSED_COUNT_MAX,
        .session_count_max = CLIENT_SESSION_COUNT_MAX,
        .watch_count_max = CLIENT_WATCH_COUNT_MAX,
        .seed = host_entropy(),
    };
    struct arena arena;
    void *memory;

    memcpy(client->name, name, strlen(name));
    memcpy(client->token, token, strlen(token));
    client->timeout_ms = options->timeout_ms == 0 ? TIMEOUT_MS_DEFAULT : options->timeout_ms;
    if (allocate(client, &core_options, &memory) != ERR_OK) {
        return ERR_FULL;
    }
    client->scratch->text_capacity = CLIENT_TEXT_SIZE;
    arena_init(&arena, memory, core_memory_size(&core_options));
    core_open(&client->core, &arena, &core_options, bytes_of_text(options->endpoints),
              host_now_ms());
    init_slots(client);
    owner_label(client->owner, sizeof client->owner, NULL);
    return hooks == NULL ? runner_open(&client->runner, client, loop)
                         : shell_open(&client->shell, client, hooks);
}

static enum holdfast_status open_any(struct holdfast **client,
                                     const struct holdfast_options *options, struct uv_loop_s *loop,
                                     const struct holdfast_hooks *hooks)
{
    *client = NULL;
    if (!options_are_valid(options)) {
        return HOLDFAST_MALFORMED;
    }
    struct holdfast *opened = calloc(1, sizeof *opened);
    if (opened == NULL) {
        return HOLDFAST_OVERLOADED;
    }
    int failed = pthread_mutex_init(&opened->mutex, NULL);
    ASSERT(failed == 0);
    opened->is_threaded = loop == NULL && hooks == NULL;
    if (open_client(opened, options, loop, hooks) != ERR_OK) {
        client_free(opened);
        return HOLDFAST_OVERLOADED;
    }
    *client = opened;
    if (opened->runner != NULL && runner_start(opened->runner) != ERR_OK) {
        *client = NULL;
        return HOLDFAST_OVERLOADED; /* Everything is freed. */
    }
    return HOLDFAST_OK;
}

enum holdfast_status holdfast_open(struct holdfast **client, const struct holdfast_options *options)
{
    return open_any(client, options, NULL, NULL);
}

enum holdfast_status holdfast_open_on_loop(struct holdfast **client,
                                           const struct holdfast_options *options,
                                           struct uv_loop_s *loop)
{
    ASSERT(loop != NULL);
    return open_any(client, options, loop, NULL);
}

enum holdfast_status holdfast_open_on_hooks(struct holdfast **client,
                                            const struct holdfast_options *options,
                                            const struct holdfast_hooks *hooks)
{
    ASSERT(hooks != NULL && hooks->watch != NULL && hooks->unwatch != NULL);
    ASSERT(hooks->arm != NULL && hooks->disarm != NULL && hooks->wake != NULL);
    return open_any(client, options, NULL, hooks);
}

void holdfast_close(struct holdfast *client, void (*closed)(void *context), void *context)
{
    struct shell *shell = client->shell;
    struct runner *runner = client->runner;
    bool threaded = client->is_threaded;

    client_lock(client);
    ASSERT(!client->close_wanted);
    client->close_wanted = true;
    client->closed = threaded ? NULL : closed;
    client->closed_context = context;
    client_unlock(client);
    shell_wake(shell);
    if (threaded) {
        runner_join(runner);
        if (closed != NULL) {
            closed(context);
        }
    }
}
