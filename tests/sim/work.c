/* tests/sim/work.c: what clients do, and what they may believe. */
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "tests/sim/sim.h"

enum { LIST_LIMIT = 100, NONE = -1, HURRY_MS = 30 };

/* --- Values -------------------------------------------------------------------------------------
 */

/* A number and as many dots as follow from it. */
static struct bytes text_of(const struct sim *sim, uint64_t value, uint8_t *memory)
{
    uint32_t size_max = sim->plan->knobs.value_size;
    int digits = snprintf((char *)memory, 24, "%llu", (unsigned long long)value);
    size_t size = (size_t)(value * 2654435761u % size_max);

    ASSERT(digits > 0 && size_max < SIM_VALUE_SIZE_MAX);
    if (size > (size_t)digits) {
        memset(memory + digits, '.', size - (size_t)digits);
    } else {
        size = (size_t)digits;
    }
    return bytes_of(memory, size);
}

uint64_t sim_value_of(struct bytes text)
{
    uint64_t value = 0;

    for (size_t i = 0; i < text.size && text.data[i] != '.'; i++) {
        value = 10 * value + (uint64_t)(text.data[i] - '0');
    }
    return value;
}

/* --- Beginning ----------------------------------------------------------------------------------
 */

struct sim_call *sim_work_take(struct sim *sim, struct sim_client *client, enum wire_method method)
{
    for (uint32_t i = 0; i < SIM_CALL_COUNT; i++) {
        struct sim_call *call = &client->calls[i];
        uint8_t *value = call->value;
        uint8_t *expected = call->expected;
        uint8_t *items = call->items;

        if (call->is_used) {
            continue;
        }
        memset(call, 0, sizeof(*call));
        call->is_used = true;
        call->value = value;
        call->expected = expected;
        call->items = items;
        call->core.slot = i;
        call->core.method = method;
        call->core.timeout_ms =
            sim->plan->knobs.election_ms_max + (uint32_t)prng_below(&client->prng, 3000);
        call->operation = UINT32_MAX;
        call->begin = sim->history.order++;
        call->begin_ms = sim_now_ms(sim);
        client->busy_count++;
        return call;
    }
    return NULL;
}

static void name_call(struct sim_call *call, char kind, uint32_t number)
{
    int size = snprintf(call->name, sizeof(call->name), "%c%u", kind, number);

    ASSERT(size == 2);
}

static void begin_session(struct sim *sim, struct sim_client *client)
{
    struct sim_call *call = sim_work_take(sim, client, WIRE_METHOD_session_open);

    if (call == NULL) {
        return;
    }
    memset(&client->session, 0, sizeof(client->session));
    client->has_session = true;
    client->was_suspect = false;
    sim_transact_session_begins(client);
    call->core.request.session_open.ttl_ms = sim->plan->knobs.ttl_ms;
    core_session_start(&client->core, &client->session, &call->core);
}

static void end_session(struct sim *sim, struct sim_client *client)
{
    struct sim_call *call = sim_work_take(sim, client, WIRE_METHOD_session_end);

    if (call == NULL) {
        return;
    }
    if (client->session.state != CORE_SESSION_LOST) {
        SOMETIMES(sim, session_ended);
    }
    client->held = SIM_LOCK_COUNT;
    client->session_is_ending = true;
    core_session_finish(&client->core, &client->session, &call->core);
}

static void begin_acquire(struct sim *sim, struct sim_client *client)
{
    struct sim_call *call = sim_work_take(sim, client, WIRE_METHOD_lock_acquire);

    if (call == NULL) {
        return;
    }
    call->lock = (uint32_t)prng_below(&client->prng, sim->plan->knobs.lock_count);
    name_call(call, 'l', call->lock);
    call->core.session = &client->session;
    call->core.wait_ms =
        prng_below(&client->prng, 4) == 0 ? 0 : (int64_t)prng_between(&client->prng, 100, 8000);
    call->core.request.lock_acquire.name = bytes_of_text(call->name);
    core_call_start(&client->core, &call->core);
}

static void begin_release(struct sim *sim, struct sim_client *client)
{
    struct sim_call *call = sim_work_take(sim, client, WIRE_METHOD_lock_release);

    if (call == NULL) {
        return;
    }
    name_call(call, 'l', client->held);
    call->lock = client->held;
    client->held = SIM_LOCK_COUNT; /* No side effects from here on, whatever becomes of it. */
    call->core.session = &client->session;
    call->core.request.lock_release.name = bytes_of_text(call->name);
    core_call_start(&client->core, &call->core);
}

static void note_write(struct sim *sim, struct sim_client *client, struct sim_call *call,
                       enum sim_operation_kind kind, uint32_t key)
{
    struct sim_operation operation = {
        .kind = kind,
        .client = client->number,
        .key = key,
        .begin = call->begin,
        .begin_ms = call->begin_ms,
    };

    if (kind == SIM_PUT || kind == SIM_CAS) {
        operation.value = ++sim->history.value;
    }
    if (kind == SIM_CAS) {
        operation.expected = client->seen[key];
    }
    call->operation = sim_history_begin(sim, &operation);
}

static void fill_cas(struct sim *sim, struct sim_call *call)
{
    const struct sim_operation *operation = &sim->history.operations[call->operation];
    const struct wire_cas cas = {
        .key = bytes_of_text(call->name),
        .absent = operation->expected == 0,
        .expected = operation->expected == 0 ? (struct bytes){0}
                                             : text_of(sim, operation->expected, call->expected),
        .value = text_of(sim, operation->value, call->value),
    };

    if (call->core.method == WIRE_METHOD_transact) {
        sim_transact_fill_cas(call, &cas);
    } else {
        call->core.request.cas = cas;
    }
}

static void fill_write(struct sim *sim, struct sim_call *call)
{
    const struct sim_operation *operation = &sim->history.operations[call->operation];
    struct bytes key = bytes_of_text(call->name);
    union core_request *request = &call->core.request;

    switch (operation->kind) {
    case SIM_PUT:
        request->put.key = key;
        request->put.value = text_of(sim, operation->value, call->value);
        return;
    case SIM_CAS:
        fill_cas(sim, call);
        return;
    case SIM_DELETE:
        request->remove.key = key;
        return;
    case SIM_GET:
        request->get.key = key;
        return;
    }
    UNREACHABLE();
}

static void begin_key(struct sim *sim, struct sim_client *client, enum sim_operation_kind kind)
{
    static const enum wire_method methods[] = {
        [SIM_PUT] = WIRE_METHOD_put,
        [SIM_GET] = WIRE_METHOD_get,
        [SIM_CAS] = WIRE_METHOD_cas,
        [SIM_DELETE] = WIRE_METHOD_delete,
    };
    bool as_transaction = kind == SIM_CAS && prng_below(&client->prng, 2) == 0;
    struct sim_call *call =
        sim_work_take(sim, client, as_transaction ? WIRE_METHOD_transact : methods[kind]);
    uint32_t key = (uint32_t)prng_below(&client->prng, sim->plan->knobs.key_count);

    if (call == NULL) {
        return;
    }
    name_call(call, 'k', key);
    note_write(sim, client, call, kind, key);
    fill_write(sim, call);
    bool alone = kind == SIM_GET || !client->has_session || prng_below(&client->prng, 4) == 0;

    call->core.session = alone ? NULL : &client->session;
    core_call_start(&client->core, &call->core);
}

static void begin_list(struct sim *sim, struct sim_client *client)
{
    struct sim_call *call = sim_work_take(sim, client, WIRE_METHOD_list);

    if (call == NULL) {
        return;
    }
    uint64_t choice = prng_below(&client->prng, 5);

    call->name[0] = choice < 3 ? 'k' : choice == 3 ? 't' : 'b';
    call->core.request.list.prefix = bytes_of_text(call->name);
    call->core.request.list.limit = LIST_LIMIT;
    core_call_start(&client->core, &call->core);
}

static void act_on_keys(struct sim *sim, struct sim_client *client)
{
    uint64_t choice = prng_below(&client->prng, 115);

    if (choice >= 105) {
        sim_transact_begin_twins(sim, client);
    } else if (choice >= 100) {
        sim_transact_begin_bound(sim, client);
    } else if (choice < 35) {
        begin_key(sim, client, SIM_PUT);
    } else if (choice < 65) {
        begin_key(sim, client, SIM_GET);
    } else if (choice < 85) {
        begin_key(sim, client, SIM_CAS);
    } else if (choice < 92) {
        begin_key(sim, client, SIM_DELETE);
    } else {
        begin_list(sim, client);
    }
}

static void act_on_locks(struct sim *sim, struct sim_client *client)
{
    if (client->held == SIM_LOCK_COUNT) {
        begin_acquire(sim, client);
    } else if (prng_below(&client->prng, 8) == 0) {
        end_session(sim, client);
    } else {
        begin_release(sim, client);
    }
}

static void act(struct sim *sim, struct sim_client *client)
{
    bool is_locker = client->number < sim->plan->knobs.locker_count;

    if (client->session_is_ending) {
        return;
    }
    if (!client->has_session) {
        begin_session(sim, client);
    } else if (client->session.state == CORE_SESSION_LOST ||
               (client->busy_count == 0 && prng_below(&client->prng, 40) == 0)) {
        end_session(sim, client);
    } else if (is_locker) {
        act_on_locks(sim, client);
    } else {
        act_on_keys(sim, client);
    }
}

static bool is_dropped(const struct sim *sim, const struct sim_client *client)
{
    return client->operation >= SIM_OPERATION_COUNT_MAX ||
           sim->plan->operation_is_dropped[client->number][client->operation];
}

static uint64_t think_ms(const struct sim *sim)
{
    return sim->hurry_count > 0 ? HURRY_MS : sim->plan->knobs.think_ms;
}

void sim_work_act(struct sim *sim, struct sim_client *client)
{
    if (sim->cluster->now_ms < client->act_ms || client->busy_count > 0) {
        return;
    }
    if (sim->phase == SIM_PHASE_QUIET) {
        client->act_ms = SIM_NEVER;
        if (client->has_session && !client->session_is_ending) {
            end_session(sim, client);
        }
        return;
    }
    client->act_ms = sim->cluster->now_ms + prng_between(&client->prng, 1, 2 * think_ms(sim));
    if (!is_dropped(sim, client)) {
        act(sim, client);
    }
    client->operation++;
    if (client->busy_count > 0) {
        client->act_ms = SIM_NEVER; /* Until it is finished. */
    }
}

bool sim_work_is_idle(const struct sim_client *client)
{
    return client->busy_count == 0 && !client->has_session;
}

/* --- Ends ---------------------------------------------------------------------------------------
 */

bool sim_client_holds(const struct sim *sim, const struct sim_client *client, uint32_t lock)
{
    return client->held == lock && client->session.state != CORE_SESSION_LOST &&
           sim_client_clock(sim, client) < client->session.deadline_ms;
}

static void take_lock(struct sim *sim, struct sim_client *client, struct sim_call *call)
{
    struct sim_lock *lock = &sim->locks[call->lock];

    if (call->core.status != ERR_OK) {
        SOMETIMES(sim, lock_not_acquired);
        return;
    }
    client->held = call->lock;
    client->token = call->core.token;
    if (!sim_client_holds(sim, client, call->lock)) {
        client->held = SIM_LOCK_COUNT;
        return; /* Learned too late to be believed. */
    }
    for (uint32_t i = 0; i < sim->plan->knobs.client_count; i++) {
        const struct sim_client *other = &sim->clients[i];

        SIM_CHECK(sim, lock_has_one_holder,
                  other == client || !sim_client_holds(sim, other, call->lock), i, client->number);
    }
    /* The same one again where the client has given it up and the cluster has not heard of it. */
    SIM_CHECK(sim, tokens_increase,
              client->token > lock->newest_token || (client->token == lock->newest_token &&
                                                     lock->newest_session == client->session.id),
              client->token, lock->newest_token);
    if (prng_below(&client->prng, 2) == 0) {
        /* It is kept for long: over elections, over a loss. */
        client->act_ms =
            sim->cluster->now_ms + prng_between(&client->prng, 1, 2ul * sim->plan->knobs.ttl_ms);
    }
    sim->totals.grant_count++;
    if (client->core.is_through) {
        SOMETIMES(sim, lock_granted_through_follower);
    }
    if (sim_now_ms(sim) > call->begin_ms + sim->plan->knobs.ttl_ms / 2) {
        SOMETIMES(sim, lock_granted_from_queue);
    } else {
        SOMETIMES(sim, lock_granted_at_once);
    }
    if (lock->last_was_lost) {
        SOMETIMES(sim, lock_taken_over_after_loss);
    }
    lock->newest_token = client->token;
    lock->newest_session = client->session.id;
    lock->last_was_lost = false;
}

static void read_list(struct sim *sim, struct sim_client *client, struct sim_call *call)
{
    struct bytes rest = call->core.answer.list.items.raw;
    struct sim_operation operations[SIM_KEY_COUNT_MAX] = {0};
    struct wire_pair pair;

    for (uint32_t i = 0; i < call->core.answer.list.items.count; i++) {
        enum error error = wire_pair_decode(&rest, &pair);
        uint32_t key = (uint32_t)(pair.key.data[1] - '0');

        SIM_CHECK(sim, lists_are_valid,
                  error == ERR_OK && pair.key.size == 2 && key < sim->plan->knobs.key_count, error,
                  i);
        operations[key].value = sim_value_of(pair.value);
        operations[key].revision = pair.revision;
        SOMETIMES(sim, list_with_items);
    }
    SIM_CHECK(sim, lists_are_whole, !call->core.answer.list.more, 0, 0);
    for (uint32_t key = 0; key < sim->plan->knobs.key_count; key++) {
        struct sim_operation *operation = &operations[key];

        operation->kind = SIM_GET;
        operation->client = client->number;
        operation->key = key;
        operation->is_absent = operation->value == 0;
        operation->begin = call->begin;
        operation->begin_ms = call->begin_ms;
        sim_history_end(sim, sim_history_begin(sim, operation));
    }
}

static bool some_disk_is_low(const struct sim *sim)
{
    bool is_some = false;

    for (uint32_t i = 0; i < sim->cluster->node_count; i++) {
        is_some = is_some || sim->low_counts[i] > 0;
    }
    return is_some;
}

static void end_key(struct sim *sim, struct sim_client *client, struct sim_call *call)
{
    const union core_answer *answer = &call->core.answer;
    enum error status = call->core.status;

    if (status == ERR_OK && call->core.method == WIRE_METHOD_transact) {
        status = sim_transact_swapped(sim, client, call);
    }
    struct sim_operation *operation = &sim->history.operations[call->operation];
    bool is_told = status == ERR_NOT_FOUND || status == ERR_MISMATCH;

    if (status == ERR_OK) {
        switch (operation->kind) {
        case SIM_PUT:
            operation->revision = answer->put.revision;
            break;
        case SIM_CAS:
            operation->revision = answer->cas.revision;
            break;
        case SIM_DELETE:
            operation->revision = answer->remove.revision;
            break;
        case SIM_GET:
            operation->revision = answer->get.revision;
            operation->value = sim_value_of(answer->get.value);
            break;
        }
        if (operation->kind != SIM_GET && some_disk_is_low(sim)) {
            SOMETIMES(sim, write_beside_low_disk);
        }
        client->seen[operation->key] = operation->kind == SIM_DELETE ? 0 : operation->value;
        sim_history_end(sim, call->operation);
        return;
    }
    if (is_told && call->core.outcome == OUTCOME_REJECTED) {
        operation->is_refused = operation->kind != SIM_GET;
        operation->is_absent = status == ERR_NOT_FOUND;
        if (status == ERR_NOT_FOUND) {
            client->seen[operation->key] = 0;
        } else {
            SOMETIMES(sim, cas_mismatch);
        }
        sim_history_end(sim, call->operation);
        return;
    }
    if (operation->kind == SIM_GET || call->core.outcome == OUTCOME_REJECTED) {
        SOMETIMES(sim, write_rejected);
        if (bytes_has_prefix(call->core.failure.text, bytes_of_text("disk low on "))) {
            SOMETIMES(sim, write_refused_for_disks);
        }
        sim_history_drop(sim, call->operation);
        return;
    }
    SOMETIMES(sim, write_unknown);
}

static void end_open(struct sim *sim, struct sim_client *client, const struct sim_call *call)
{
    if (call->core.status == ERR_OK) {
        return;
    }
    SIM_CHECK(sim, ttl_is_accepted, call->core.status != ERR_TTL_TOO_SHORT,
              call->core.failure.floor_ms, sim->plan->knobs.ttl_ms);
    if (!client->session_is_ending) {
        client->act_ms = sim->cluster->now_ms + 1; /* It is lost: end it, and begin again. */
    }
}

void sim_work_finished(struct sim *sim, struct sim_client *client, struct sim_call *call)
{
    ASSERT(client->busy_count > 0);
    client->busy_count--;
    sim->totals.operation_count++;
    sim_trace(sim, (uint64_t)call->core.status << 32 ^ call->core.method ^
                       (uint64_t)call->core.outcome << 16 ^ (uint64_t)client->number << 48);
    if (client->act_ms == SIM_NEVER) {
        client->act_ms = sim->cluster->now_ms + prng_between(&client->prng, 1, 2 * think_ms(sim));
    }
    /* A client that sends its requests in order, each as often as it takes, is never told that one
     * is missing, or that the answer of one that it has not had is no longer kept. */
    SIM_CHECK(sim, sessions_keep_their_place,
              call->core.status != ERR_SEQUENCE_GAP && call->core.status != ERR_STALE,
              call->core.status, client->number);
    if (call->core.status == ERR_OK && call->core.method != WIRE_METHOD_session_end) {
        client->done_count++; /* A session that nobody knows of ends without the cluster. */
    } else if (call->core.status == ERR_NO_QUORUM) {
        SOMETIMES(sim, no_quorum_told);
    }
    if (client->core.is_through && call->core.status == ERR_OK) {
        SOMETIMES(sim, served_through_follower);
    } else if (client->core.is_through && call->core.status == ERR_UNKNOWN_OUTCOME) {
        SOMETIMES(sim, passed_on_and_unknown);
    }
    sim_print(sim, "client %u: %s %s: %s", client->number, wire_method_name(call->core.method),
              call->name, error_name(call->core.status));
    if (sim_transact_finished(sim, client, call)) {
        return;
    }
    switch ((unsigned)call->core.method) {
    case WIRE_METHOD_session_open:
        end_open(sim, client, call);
        return;
    case WIRE_METHOD_session_end:
        sim_transact_session_ended(sim, client, call);
        client->has_session = false;
        client->session_is_ending = false;
        return;
    case WIRE_METHOD_lock_acquire:
        take_lock(sim, client, call);
        return;
    case WIRE_METHOD_lock_release:
        return;
    case WIRE_METHOD_list:
        if (call->core.status == ERR_OK) {
            read_list(sim, client, call);
        }
        return;
    default:
        end_key(sim, client, call);
        return;
    }
}

void sim_work_changed(struct sim *sim, struct sim_client *client, enum core_session_state state)
{
    sim_trace(sim, (uint64_t)state << 8 ^ client->number);
    switch (state) {
    case CORE_SESSION_OPENING:
        return;
    case CORE_SESSION_CONNECTED:
        if (client->was_suspect) {
            SOMETIMES(sim, session_recovered);
        }
        client->was_suspect = false;
        return;
    case CORE_SESSION_SUSPECT:
        client->was_suspect = true;
        SOMETIMES(sim, session_suspect);
        return;
    case CORE_SESSION_LOST:
        SOMETIMES(sim, session_lost);
        if (client->held != SIM_LOCK_COUNT) {
            SOMETIMES(sim, lock_lost_while_held);
            sim->locks[client->held].last_was_lost = true;
            client->held = SIM_LOCK_COUNT;
        }
        return;
    }
    UNREACHABLE();
}
