/* client/core_watch.c: watches: asking for them, what comes, and going on elsewhere.
 *
 *   WAITING -> ASKED -> LIVE          any of them -> ENDED
 *      ^         |        |
 *      +---------+--------+           the connection is lost, the node cannot serve it now
 *
 * A watch knows its place: behind which change it is. Wherever it goes on, it asks for what is
 * behind that place, so each change is told once and in order. It takes a connection to the leader,
 * or while nobody is known to lead to any node: each serves watches from its own state. */
#include "client/core_internal.h"

#define BIT(state) (1u << (state))

static const uint32_t allowed_moves[CORE_WATCH_STATE_COUNT] = {
    [CORE_WATCH_WAITING] = BIT(CORE_WATCH_ASKED) | BIT(CORE_WATCH_ENDED),
    [CORE_WATCH_ASKED] = BIT(CORE_WATCH_WAITING) | BIT(CORE_WATCH_LIVE) | BIT(CORE_WATCH_ENDED),
    [CORE_WATCH_LIVE] = BIT(CORE_WATCH_WAITING) | BIT(CORE_WATCH_ENDED),
    [CORE_WATCH_ENDED] = 0,
};

static void move(struct core_watch *watch, enum core_watch_state state)
{
    ASSERT_VALUES((allowed_moves[watch->state] & BIT(state)) != 0, watch->state, state);
    watch->state = state;
}

static uint32_t slot_of(const struct core *core, const struct core_watch *watch)
{
    return core->options.call_slot_count + core->options.session_count_max + watch->slot;
}

/* The watch that a number which we gave belongs to, if it still does; NULL. */
static struct core_watch *find(const struct core *core, uint64_t number)
{
    uint32_t before = core->options.call_slot_count + core->options.session_count_max;
    uint32_t slot = (uint32_t)(number & SLOT_CONNECTION);

    if (slot < before || slot - before >= core->options.watch_count_max) {
        return NULL;
    }
    struct core_watch *watch = core->watches[slot - before];

    return watch != NULL && watch->number == number && watch->state != CORE_WATCH_ENDED ? watch
                                                                                        : NULL;
}

static void wake(struct core *core, struct core_watch *watch)
{
    if (!list_is_linked(&watch->ready)) {
        list_push_back(&core->watches_ready, &watch->ready);
    }
}

/* To be asked for again, not before `retry_ms`. */
static void wait(struct core *core, struct core_watch *watch, uint64_t retry_ms)
{
    move(watch, CORE_WATCH_WAITING);
    watch->connection = NULL;
    watch->retry_ms = retry_ms;
    list_remove(&watch->ready);
    if (retry_ms <= core->now_ms) {
        wake(core, watch);
    }
    uint64_t due_ms = retry_ms <= core->now_ms ? CORE_NEVER : retry_ms;

    timer_set(&core->timers, &watch->timer,
              watch->deadline_ms < due_ms ? watch->deadline_ms : due_ms);
}

/* Its owner is told, behind all changes that came before. */
static void end(struct core *core, struct core_watch *watch, enum error status)
{
    move(watch, CORE_WATCH_ENDED);
    watch->status = status;
    watch->connection = NULL;
    timer_clear(&core->timers, &watch->timer);
    list_remove(&watch->ready);
    list_remove(&watch->all);
    list_push_back(&core->watches_ended, &watch->ended);
}

void core_watch_start(struct core *core, struct core_watch *watch)
{
    ASSERT(watch->slot < core->options.watch_count_max);
    ASSERT(core->watches[watch->slot] == NULL);
    core->watches[watch->slot] = watch;
    watch->state = CORE_WATCH_WAITING;
    watch->number = 0;
    watch->connection = NULL;
    watch->status = ERR_OK;
    watch->oldest_revision = 0;
    watch->consumed = 0;
    watch->deadline_ms = core->now_ms + watch->timeout_ms;
    watch->retry_ms = core->now_ms;
    watch->timer = (struct core_timer){.kind = CORE_TIMER_WATCH};
    list_init(&watch->all);
    list_init(&watch->ready);
    list_init(&watch->ended);
    list_push_back(&core->watches_all, &watch->all);
    timer_set(&core->timers, &watch->timer, watch->deadline_ms);
    wake(core, watch);
    if (core->closing) {
        end(core, watch, ERR_CANCELLED);
    }
}

/* The node is told if that can be done at once; otherwise it finds out with the connection. */
void core_watch_stop(struct core *core, struct core_watch *watch)
{
    struct core_connection *connection = watch->connection;

    if (watch->state == CORE_WATCH_ENDED) {
        return;
    }
    if (connection != NULL) {
        const struct wire_watch_cancel cancel = {.watch = watch->number};
        size_t before = connection->output.size;

        if (!wire_request_begin(&connection->output, core_request_id(core, slot_of(core, watch)),
                                WIRE_METHOD_watch_cancel) ||
            !wire_watch_cancel_encode(&cancel, &connection->output)) {
            connection->output.size = before;
        }
    }
    end(core, watch, ERR_CANCELLED);
}

/* --- Asking ----------------------------------------------------------------------------------- */

/* To the leader, or to whoever there is while it is looked for. */
static struct core_connection *choose(struct core *core)
{
    struct core_connection *leader = connection_choose(core, WATCH_REQUEST_SIZE_MAX);

    if (leader != NULL || core->leader_count > 0) {
        return leader;
    }
    for (uint32_t i = 0; i < core->connection_count; i++) {
        struct core_connection *connection = &core->connections[i];

        if (connection->state == CORE_STANDBY && connection->endpoint >= 0 &&
            buffer_room(&connection->output) >= WATCH_REQUEST_SIZE_MAX) {
            return connection;
        }
    }
    return NULL;
}

/* A connection that says nothing for long may be dead: one of those that wait for nothing else. */
static void expect(struct core *core, struct core_watch *watch)
{
    timer_set(&core->timers, &watch->timer, core->now_ms + WATCH_SILENCE_MS);
}

static bool ask(struct core *core, struct core_watch *watch)
{
    struct core_connection *connection = choose(core);

    if (connection == NULL) {
        return false;
    }
    watch->number = core_request_id(core, slot_of(core, watch));
    const struct wire_watch request = {
        .watch = watch->number,
        .prefix = watch->prefix,
        .locks = watch->locks,
        .exact = watch->exact,
        .revision = watch->revision,
        .number = watch->change_number,
        .credit = WATCH_CREDIT,
    };
    bool fits = wire_request_begin(&connection->output, watch->number, WIRE_METHOD_watch) &&
                wire_watch_encode(&request, &connection->output);

    ASSERT(fits);
    move(watch, CORE_WATCH_ASKED);
    watch->connection = connection;
    watch->consumed = 0;
    expect(core, watch);
    return true;
}

static bool give_credit(struct core *core, struct core_watch *watch)
{
    struct core_connection *connection = watch->connection;
    const struct wire_watch_credit credit = {.watch = watch->number, .credit = watch->consumed};

    if (watch->consumed < WATCH_CREDIT / 2) {
        return true;
    }
    if (buffer_room(&connection->output) < WATCH_REQUEST_SIZE_MAX) {
        return false;
    }
    bool fits = wire_request_begin(&connection->output, core_request_id(core, slot_of(core, watch)),
                                   WIRE_METHOD_watch_credit) &&
                wire_watch_credit_encode(&credit, &connection->output);

    ASSERT(fits);
    watch->consumed = 0;
    return true;
}

void watches_pump(struct core *core)
{
    struct list *at = core->watches_ready.next;

    while (at != &core->watches_ready) {
        struct core_watch *watch = CONTAINER_OF(at, struct core_watch, ready);
        at = at->next;
        bool is_done = watch->state == CORE_WATCH_WAITING ? ask(core, watch)
                       : watch->state == CORE_WATCH_LIVE  ? give_credit(core, watch)
                                                          : true;
        if (is_done) {
            list_remove(&watch->ready);
        }
    }
}

void watch_timer_due(struct core *core, struct core_watch *watch)
{
    struct core_connection *connection = watch->connection;

    if (watch->state == CORE_WATCH_WAITING) {
        if (core->now_ms >= watch->deadline_ms) {
            end(core, watch, ERR_NO_QUORUM);
            return;
        }
        wake(core, watch);
        timer_set(&core->timers, &watch->timer, watch->deadline_ms);
        return;
    }
    /* A node that stands by is asked for signs of life anyway. */
    if (connection->state == CORE_LEADER &&
        core->now_ms - connection->heard_ms >= WATCH_SILENCE_MS) {
        connection_sent(core, connection);
    }
    expect(core, watch);
}

void watches_lost(struct core *core, const struct core_connection *connection)
{
    struct list *at = core->watches_all.next;

    while (at != &core->watches_all) {
        struct core_watch *watch = CONTAINER_OF(at, struct core_watch, all);
        at = at->next;
        if (watch->connection == connection) {
            wait(core, watch, core->now_ms);
        }
    }
}

void watches_cancel(struct core *core)
{
    while (!list_is_empty(&core->watches_all)) {
        end(core, CONTAINER_OF(list_first(&core->watches_all), struct core_watch, all),
            ERR_CANCELLED);
    }
}

/* --- What nodes say --------------------------------------------------------------------------- */

/* Whether asking again, somewhere, can be of use. */
static bool is_final(enum error error)
{
    return error == ERR_COMPACTED || error == ERR_MALFORMED || error == ERR_TOO_LARGE ||
           error == ERR_AUTH || error == ERR_UNKNOWN_METHOD;
}

static void refused(struct core *core, struct core_watch *watch, enum error error,
                    uint64_t oldest_revision, uint64_t retry_after_ms)
{
    uint64_t pause_ms = core_random_between(core, WATCH_RETRY_MS_MIN, WATCH_RETRY_MS_MAX);

    if (is_final(error)) {
        watch->oldest_revision = oldest_revision;
        end(core, watch, error);
        return;
    }
    pause_ms += retry_after_ms < RETRY_AFTER_MS_MAX ? retry_after_ms : (uint64_t)RETRY_AFTER_MS_MAX;
    wait(core, watch, core->now_ms + pause_ms);
}

void watch_answered(struct core *core, struct core_connection *connection,
                    const struct wire_rpc *rpc)
{
    struct core_watch *watch = find(core, rpc->id);
    struct wire_watch_result result;
    struct wire_failure failure = {.code = ERR_MALFORMED};
    struct bytes body = rpc->body;

    if (watch == NULL || watch->state != CORE_WATCH_ASKED || watch->connection != connection) {
        return; /* Of a credit, or of one that is not there any more. */
    }
    if (rpc->failed) {
        if (wire_failure_decode(&body, &failure) != ERR_OK) {
            connection_broken(core, connection);
            return;
        }
        refused(core, watch, error_from_number(failure.code), failure.oldest_revision,
                failure.retry_after_ms);
        return;
    }
    if (wire_watch_result_decode(&body, &result) != ERR_OK) {
        connection_broken(core, connection);
        return;
    }
    move(watch, CORE_WATCH_LIVE);
    watch->deadline_ms = CORE_NEVER;
    if (watch->revision == 0) {
        watch->revision = result.revision;
    }
}

/* Is it behind where the watch is? A number 0 is behind all of its revision. */
static bool is_news(const struct core_watch *watch, uint64_t revision, uint32_t number)
{
    if (revision != watch->revision) {
        return revision > watch->revision;
    }
    return watch->change_number != 0 && (number == 0 || number > watch->change_number);
}

static void changed(struct core *core, const struct core_connection *connection, struct bytes body)
{
    struct wire_changed change;

    if (wire_changed_decode(&body, &change) != ERR_OK) {
        return; /* What cannot be understood is not for us. */
    }
    struct core_watch *watch = find(core, change.watch);

    if (watch == NULL || watch->state != CORE_WATCH_LIVE || watch->connection != connection ||
        !is_news(watch, change.revision, change.number)) {
        return;
    }
    ASSERT(core->event_count < CORE_EVENT_COUNT_MAX);
    watch->revision = change.revision;
    watch->change_number = change.number;
    core->events[(core->event_first + core->event_count) % CORE_EVENT_COUNT_MAX] =
        (struct core_event){.watch = watch, .change = change};
    core->event_count++;
}

static void ended(struct core *core, const struct core_connection *connection, struct bytes body)
{
    struct wire_watch_ended notice;

    if (wire_watch_ended_decode(&body, &notice) != ERR_OK) {
        return;
    }
    struct core_watch *watch = find(core, notice.watch);

    if (watch != NULL && watch->connection == connection) {
        refused(core, watch, error_from_number(notice.code), notice.oldest_revision, 0);
    }
}

void watch_notice(struct core *core, const struct core_connection *connection,
                  const struct wire_rpc *rpc)
{
    if (rpc->method == WIRE_NOTICE_changed) {
        changed(core, connection, rpc->body);
    } else if (rpc->method == WIRE_NOTICE_watch_ended) {
        ended(core, connection, rpc->body);
    }
}

/* --- Out -------------------------------------------------------------------------------------- */

const struct core_event *core_next_event(struct core *core)
{
    while (core->event_count > 0) {
        const struct core_event *event = &core->events[core->event_first];
        struct core_watch *watch = event->watch;

        core->event_first = (core->event_first + 1) % CORE_EVENT_COUNT_MAX;
        core->event_count--;
        if (watch->state == CORE_WATCH_ENDED && watch->status == ERR_CANCELLED) {
            continue;
        }
        if (event->change.number != 0) {
            watch->consumed += (uint32_t)(event->change.name.size + event->change.value.size +
                                          event->change.owner.size + event->change.metadata.size) +
                               WATCH_CHANGE_COST;
        }
        if (watch->state == CORE_WATCH_LIVE && watch->consumed >= WATCH_CREDIT / 2) {
            wake(core, watch);
        }
        return event;
    }
    return NULL;
}

bool core_is_full(const struct core *core)
{
    return core->event_count == CORE_EVENT_COUNT_MAX;
}

struct core_watch *core_next_watch_ended(struct core *core)
{
    struct list *first = list_pop_front(&core->watches_ended);

    ASSERT(core->event_count == 0);
    if (first == NULL) {
        return NULL;
    }
    struct core_watch *watch = CONTAINER_OF(first, struct core_watch, ended);

    ASSERT(core->watches[watch->slot] == watch);
    core->watches[watch->slot] = NULL;
    return watch;
}

void core_watches_check(const struct core *core)
{
    for (struct list *at = core->watches_all.next; at != &core->watches_all; at = at->next) {
        const struct core_watch *watch = CONTAINER_OF(at, struct core_watch, all);
        bool is_placed = watch->state == CORE_WATCH_ASKED || watch->state == CORE_WATCH_LIVE;

        /* 7. A watch that was asked for has a connection, which is alive; no other has one. */
        ASSERT(is_placed == (watch->connection != NULL));
        if (is_placed) {
            ASSERT(watch->connection->state == CORE_LEADER ||
                   watch->connection->state == CORE_STANDBY);
        }
        /* 8. It is woken by a timer, or waits for a connection to send what it has to. */
        ASSERT(watch->timer.place != 0 || list_is_linked(&watch->ready));
        ASSERT(core->watches[watch->slot] == watch);
    }
}
