/* tests/sim/transact.c: transactions of clients, keys bound to their sessions, and what must hold.
 *
 * A compare-and-swap of the history is sent as a transaction now and then: one key, so the history
 * is judged as before. The history looks at one key at a time; that a transaction is whole is seen
 * at the twins instead, two keys that only transactions write, together, and with one value. Each
 * client has one bound key, which it alone writes: it is there while the client may believe in its
 * session, and for nobody any more who asks behind the confirmed end of it. */
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "kv/kv.h"
#include "tests/sim/sim.h"

enum { TWIN_COUNT = 2 };

static const char *const twins[TWIN_COUNT] = {"t0", "t1"};

/* --- Requests ----------------------------------------------------------------------------------
 */

struct items_begin {
    struct sim_call *call;
    struct buffer buffer;
    size_t begin;
    uint32_t count;
};

static void items_open(struct items_begin *items, struct sim_call *call)
{
    *items =
        (struct items_begin){.call = call, .buffer = buffer_of(call->items, SIM_ITEMS_SIZE_MAX)};
}

static struct wire_items items_take(struct items_begin *items)
{
    struct wire_items taken = {
        .raw = bytes_of(items->buffer.data + items->begin, items->buffer.size - items->begin),
        .count = items->count};

    items->begin = items->buffer.size;
    items->count = 0;
    return taken;
}

static void add_compare(struct items_begin *items, const char *key, const char *test,
                        struct bytes value)
{
    const struct wire_compare compare = {
        .key = bytes_of_text(key), .test = bytes_of_text(test), .value = value};
    bool fits = wire_compare_encode(&compare, &items->buffer);

    ASSERT(fits);
    items->count++;
}

static void add_operation(struct items_begin *items, const char *key, const char *action,
                          struct bytes value)
{
    const struct wire_operation operation = {
        .key = bytes_of_text(key), .action = bytes_of_text(action), .value = value};
    bool fits = wire_operation_encode(&operation, &items->buffer);

    ASSERT(fits);
    items->count++;
}

void sim_transact_fill_cas(struct sim_call *call, const struct wire_cas *cas)
{
    struct wire_transact *request = &call->core.request.transact;
    struct items_begin items;

    items_open(&items, call);
    add_compare(&items, call->name, cas->absent ? "absent" : "equal", cas->expected);
    const struct wire_items compares = items_take(&items);
    add_operation(&items, call->name, "put", cas->value);
    const struct wire_items success = items_take(&items);
    add_operation(&items, call->name, "get", bytes_of(NULL, 0));
    *request = (struct wire_transact){
        .compares = compares, .success = success, .failure = items_take(&items)};
}

/* A new value for both, none for both, or only a look. The compare is of the first alone. */
void sim_transact_begin_twins(struct sim *sim, struct sim_client *client)
{
    struct sim_call *call = sim_work_take(sim, client, WIRE_METHOD_transact);
    char text[24];
    struct items_begin items;

    if (call == NULL) {
        return;
    }
    int size = snprintf(text, sizeof(text), "%llu", (unsigned long long)++sim->twin_value);
    uint64_t choice = prng_below(&client->prng, 4);
    struct wire_transact *request = &call->core.request.transact;

    call->name[0] = 't';
    items_open(&items, call);
    if (prng_below(&client->prng, 2) == 0) {
        add_compare(&items, twins[0], "exists", bytes_of(NULL, 0));
        request->compares = items_take(&items);
    }
    for (uint32_t i = 0; choice < 3 && i < TWIN_COUNT; i++) {
        bool puts = choice < 2;

        add_operation(&items, twins[i], puts ? "put" : "delete",
                      bytes_of(text, puts ? (size_t)size : 0));
    }
    add_operation(&items, twins[0], "get", bytes_of(NULL, 0));
    add_operation(&items, twins[1], "get", bytes_of(NULL, 0));
    request->success = items_take(&items);
    add_operation(&items, twins[1], "get", bytes_of(NULL, 0));
    add_operation(&items, twins[0], "get", bytes_of(NULL, 0));
    request->failure = items_take(&items);
    call->core.session = prng_below(&client->prng, 3) == 0 ? NULL : &client->session;
    core_call_start(&client->core, &call->core);
}

void sim_transact_begin_bound(struct sim *sim, struct sim_client *client)
{
    struct sim_call *call = sim_work_take(sim, client, WIRE_METHOD_put);

    if (call == NULL) {
        return;
    }
    ASSERT(client->number < 10);
    snprintf(call->name, sizeof(call->name), "b%u", client->number);
    call->core.request.put.key = bytes_of_text(call->name);
    call->core.request.put.bind = true;
    call->core.session = &client->session;
    core_call_start(&client->core, &call->core);
}

/* --- Answers -----------------------------------------------------------------------------------
 */

static void check_twins(struct sim *sim, struct wire_items pairs)
{
    struct wire_pair first;
    struct wire_pair second;

    SIM_CHECK(sim, transactions_are_whole, pairs.count == 0 || pairs.count == TWIN_COUNT,
              pairs.count, 0);
    if (pairs.count == 0) {
        return;
    }
    enum error error = wire_pair_decode(&pairs.raw, &first);

    error = error == ERR_OK ? wire_pair_decode(&pairs.raw, &second) : error;
    SIM_CHECK(sim, lists_are_valid, error == ERR_OK, error, 0);
    SIM_CHECK(sim, transactions_are_whole,
              first.revision == second.revision && bytes_equal(first.value, second.value) &&
                  !bytes_equal(first.key, second.key),
              first.revision, second.revision);
    SOMETIMES(sim, twins_seen);
}

static void end_twins(struct sim *sim, const struct sim_call *call)
{
    const struct wire_transact_result *answer = &call->core.answer.transact;

    if (call->core.status != ERR_OK) {
        return;
    }
    if (answer->repeated) {
        SOMETIMES(sim, transaction_repeated);
        SIM_CHECK(sim, what_was_read_is_not_kept, answer->pairs.count == 0, answer->pairs.count, 0);
        return;
    }
    if (!answer->succeeded) {
        SOMETIMES(sim, transaction_failed);
    }
    check_twins(sim, answer->pairs);
}

enum error sim_transact_swapped(struct sim *sim, const struct sim_client *client,
                                struct sim_call *call)
{
    const struct wire_transact_result answer = call->core.answer.transact;
    bool is_found = (answer.found & 1) != 0;
    const struct sim_operation *operation = &sim->history.operations[call->operation];
    struct sim_operation read = {.kind = SIM_GET,
                                 .client = client->number,
                                 .key = operation->key,
                                 .is_absent = !is_found,
                                 .begin = call->begin,
                                 .begin_ms = call->begin_ms};
    struct bytes rest = answer.pairs.raw;
    struct wire_pair pair;

    if (answer.succeeded) {
        call->core.answer.cas.revision = answer.revision;
        return ERR_OK;
    }
    call->core.outcome = OUTCOME_REJECTED;
    if (answer.repeated) {
        return is_found ? ERR_MISMATCH : ERR_NOT_FOUND;
    }
    if (is_found) {
        enum error error = wire_pair_decode(&rest, &pair);

        SIM_CHECK(sim, lists_are_valid, error == ERR_OK && answer.pairs.count == 1, error, 0);
        read.value = sim_value_of(pair.value);
        read.revision = pair.revision;
    }
    sim_history_end(sim, sim_history_begin(sim, &read));
    return is_found ? ERR_MISMATCH : ERR_NOT_FOUND;
}

static void end_bound(struct sim *sim, struct sim_client *client, const struct sim_call *call)
{
    if (call->core.status == ERR_OK && client->has_session && !client->session_is_ending) {
        client->bound_order = sim->history.order++;
    }
}

/* While a client may believe in its session, as with locks, nobody has ended it. */
static bool believes(const struct sim *sim, const struct sim_client *client)
{
    return client->has_session && !client->session_is_ending &&
           client->session.state != CORE_SESSION_LOST &&
           sim_client_clock(sim, client) < client->session.deadline_ms;
}

static void end_bound_list(struct sim *sim, const struct sim_call *call)
{
    struct wire_items items = call->core.answer.list.items;
    uint64_t sessions[SIM_BOUND_COUNT_MAX] = {0};
    struct wire_pair pair;

    for (; items.count > 0; items.count--) {
        enum error error = wire_pair_decode(&items.raw, &pair);
        uint32_t owner = (uint32_t)(pair.key.data[1] - '0');

        SIM_CHECK(sim, lists_are_valid,
                  error == ERR_OK && pair.key.size == 2 && owner < sim->plan->knobs.client_count,
                  error, owner);
        SIM_CHECK(sim, bound_keys_name_their_session, pair.session != 0, owner, pair.revision);
        sessions[owner] = pair.session;
        SOMETIMES(sim, bound_key_seen);
        const struct sim_client *client = &sim->clients[owner];

        SIM_CHECK(sim, bound_keys_go_with_their_session,
                  pair.session != client->ended_session || client->ended_order > call->begin,
                  pair.session, owner);
    }
    for (uint32_t i = 0; i < sim->plan->knobs.client_count; i++) {
        const struct sim_client *client = &sim->clients[i];
        bool must_be_there =
            client->bound_order != 0 && client->bound_order < call->begin && believes(sim, client);

        SIM_CHECK(sim, bound_keys_live_with_their_session,
                  !must_be_there || sessions[i] == client->session.id, client->session.id, i);
        if (client->ended_order != 0 && client->ended_order < call->begin && sessions[i] == 0) {
            SOMETIMES(sim, bound_key_gone);
        }
    }
}

bool sim_transact_finished(struct sim *sim, struct sim_client *client, const struct sim_call *call)
{
    bool is_listed = call->core.method == WIRE_METHOD_list && call->core.status == ERR_OK;

    if (call->name[0] == 't') {
        if (is_listed) {
            check_twins(sim, call->core.answer.list.items);
        } else if (call->core.method == WIRE_METHOD_transact) {
            end_twins(sim, call);
        }
        return true;
    }
    if (call->name[0] == 'b') {
        if (is_listed) {
            end_bound_list(sim, call);
        } else if (call->core.method == WIRE_METHOD_put) {
            end_bound(sim, client, call);
        }
        return true;
    }
    return false;
}

void sim_transact_session_begins(struct sim_client *client)
{
    client->bound_order = 0;
}

void sim_transact_session_ended(struct sim *sim, struct sim_client *client,
                                const struct sim_call *call)
{
    client->bound_order = 0;
    /* One that was never open has no number, and one that was not confirmed may live on. */
    if (call->core.status == ERR_OK && client->session.id != 0) {
        client->ended_session = client->session.id;
        client->ended_order = sim->history.order++;
    }
}

/* --- State -------------------------------------------------------------------------------------
 */

void sim_transact_check(struct sim *sim, struct table *table)
{
    struct kv_pair first = {.revision = 0};
    bool has_first = kv_get(table, bytes_of_text(twins[0]), &first);
    kv_revision revision = first.revision;
    struct kv_pair second = {.revision = 0};
    bool has_second = kv_get(table, bytes_of_text(twins[1]), &second);

    SIM_CHECK(sim, twins_are_equal_in_every_state,
              has_first == has_second && revision == second.revision, revision, second.revision);
}
