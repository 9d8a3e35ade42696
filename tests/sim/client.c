/* tests/sim/client.c: the library's core as a process of its own, over the cluster's pipes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/assert.h"
#include "tests/sim/sim.h"

enum { DIAL_MS_MAX = 20, HOME_MS = 3000 };

#define FAR_MS UINT64_C(1000000000)

static const char endpoints[] = "client:1,client:2,client:3,client:4,client:5,client:6,client:7";

/* --- Clocks -------------------------------------------------------------------------------------
 */

static uint64_t clock_at(const struct sim_client *client, uint64_t true_ms)
{
    int64_t drift_ms = (int64_t)true_ms * client->rate_ppm / 1000000;

    return client->offset_ms + (uint64_t)((int64_t)true_ms + drift_ms);
}

uint64_t sim_client_clock(const struct sim *sim, const struct sim_client *client)
{
    return clock_at(client, sim->cluster->now_ms);
}

static uint64_t true_time_of(const struct sim *sim, const struct sim_client *client,
                             uint64_t local_ms)
{
    uint64_t now_ms = sim_client_clock(sim, client);

    if (local_ms <= now_ms) {
        return 0;
    }
    uint64_t left_ms = local_ms - now_ms;

    if (left_ms > FAR_MS) {
        return SIM_NEVER;
    }
    uint64_t guess_ms = left_ms - left_ms / 64;
    uint64_t near_ms = left_ms * 1000000 / (uint64_t)(1000000 + client->rate_ppm);

    guess_ms = sim->cluster->now_ms + (near_ms > guess_ms + 3 ? near_ms - 3 : guess_ms);
    while (clock_at(client, guess_ms) < local_ms) {
        guess_ms++;
    }
    return guess_ms;
}

/* --- Life ---------------------------------------------------------------------------------------
 */

static void open_client(struct sim *sim, struct sim_client *client, struct prng *prng)
{
    struct core_options options = {
        .name = bytes_of_text("sim"),
        .connections = 1,
        .call_count_max = SIM_CALL_COUNT,
        .call_slot_count = SIM_CALL_COUNT,
        .session_count_max = 1,
        .watch_count_max = 1,
        .seed = prng_next(prng),
    };
    /* "client:N," for each node. */
    size_t size = (size_t)sim->cluster->node_count * (sizeof("client:1,") - 1) - 1;
    size_t memory_size = size_round_up(core_memory_size(&options), ARENA_ALIGNMENT);
    struct arena arena;

    client->memory = aligned_alloc(ARENA_ALIGNMENT, memory_size);
    ASSERT(client->memory != NULL);
    prng_init(&client->prng, prng_next(prng));
    client->offset_ms = prng_below(prng, 1000000);
    client->rate_ppm = (int64_t)prng_below(prng, 9001) - 4500; /* Any two within 1 %. */
    prng_init(&client->watch.prng, sim->plan->seed ^ client->number ^ 0x7761746368u);
    client->held = SIM_LOCK_COUNT;
    client->act_ms = SIM_START_MS + prng_below(prng, 1000);
    client->is_tied = (sim->plan->knobs.tied_clients >> client->number & 1) != 0;
    client->home = (uint32_t)((sim->plan->seed + client->number) % sim->cluster->node_count);
    arena_init(&arena, client->memory, memory_size);
    core_open(&client->core, &arena, &options, bytes_of(endpoints, size),
              sim_client_clock(sim, client));
    ASSERT(client->core.connection_count <= SIM_LINK_COUNT);
    for (uint32_t i = 0; i < SIM_CALL_COUNT; i++) {
        client->calls[i].core.slot = i;
        client->calls[i].value = malloc(SIM_VALUE_SIZE_MAX);
        client->calls[i].expected = malloc(SIM_VALUE_SIZE_MAX);
        client->calls[i].items = malloc(SIM_ITEMS_SIZE_MAX);
        ASSERT(client->calls[i].value != NULL && client->calls[i].expected != NULL &&
               client->calls[i].items != NULL);
    }
}

void sim_clients_open(struct sim *sim)
{
    struct prng prng;

    prng_init(&prng, sim->plan->seed ^ 0x636c69656e7473u);
    sim->clients = calloc(sim->plan->knobs.client_count, sizeof(*sim->clients));
    ASSERT(sim->clients != NULL);
    for (uint32_t i = 0; i < sim->plan->knobs.client_count; i++) {
        sim->clients[i].number = i;
        open_client(sim, &sim->clients[i], &prng);
    }
}

void sim_clients_close(struct sim *sim)
{
    for (uint32_t i = 0; i < sim->plan->knobs.client_count; i++) {
        struct sim_client *client = &sim->clients[i];

        for (uint32_t j = 0; j < SIM_CALL_COUNT; j++) {
            free(client->calls[j].value);
            free(client->calls[j].expected);
            free(client->calls[j].items);
        }
        for (uint32_t j = 0; j < SIM_LINK_COUNT; j++) {
            free(client->links[j].output);
        }
        free(client->memory);
    }
    free(sim->clients);
}

/* --- Results ------------------------------------------------------------------------------------
 */

static void tell(struct sim *sim, struct sim_client *client)
{
    enum core_session_state state;
    struct core_call *call;

    while (core_next_changed(&client->core, &state) != NULL) {
        sim_work_changed(sim, client, state);
    }
    while ((call = core_next_finished(&client->core)) != NULL) {
        struct sim_call *told = CONTAINER_OF(call, struct sim_call, core);

        sim_work_finished(sim, client, told);
        if (core_call_delivered(&client->core, call)) {
            told->is_used = false;
        }
    }
    while ((call = core_next_freed(&client->core)) != NULL) {
        CONTAINER_OF(call, struct sim_call, core)->is_used = false;
    }
    sim_watch_tell(sim, client);
}

/* --- Connections --------------------------------------------------------------------------------
 */

static void hang_up(struct sim *sim, struct sim_link *link)
{
    if (link->is_connected) {
        fake_client_release(sim->cluster, link->client);
    }
    link->is_connected = false;
    link->is_dialing = false;
}

static void begin_dial(struct sim *sim, struct sim_client *client, struct sim_link *link,
                       struct core_connection *connection)
{
    ASSERT(!link->is_connected);
    link->place = (uint32_t)(connection->address.data[connection->address.size - 1] - '1');
    ASSERT_VALUES(link->place < sim->cluster->node_count, link->place, client->number);
    link->is_dialing = true;
    link->dial_ms = sim->cluster->now_ms + prng_between(&client->prng, 1, DIAL_MS_MAX);
    core_dialing(&client->core, connection);
}

void sim_client_leave(struct sim *sim, struct sim_client *client, uint32_t place)
{
    for (uint32_t i = 0; i < client->core.connection_count; i++) {
        const struct sim_link *link = &client->links[i];

        if (link->is_connected && link->place == place) {
            fake_client_close(sim->cluster, link->client);
        }
    }
}

static bool is_unreachable(const struct sim_client *client, uint32_t place)
{
    return client->cut_count > 0 || (client->blocked >> place & 1) != 0 ||
           (client->is_tied && place != client->home);
}

/* One that is tied to a node that serves nothing is given another: of those that were healed, if
 * any were, and have a disk of the cluster. It is never led to the leader. */
static void choose_home(struct sim *sim, struct sim_client *client)
{
    uint32_t all = (1u << sim->cluster->node_count) - 1;
    uint32_t places = sim->healed_places != 0 ? sim->healed_places : all;
    uint32_t whole = sim_members_whole(sim) & places;

    places = whole != 0 ? whole : places;

    if (!client->is_tied || sim->cluster->now_ms < client->home_ms) {
        return;
    }
    if (client->home_ms != 0 && client->done_count == client->home_done) {
        uint32_t home = client->home;

        do {
            client->home = (uint32_t)prng_below(&client->prng, sim->cluster->node_count);
        } while ((places >> client->home & 1) == 0);
        if (client->home != home) {
            sim_client_leave(sim, client, home);
            sim_client_cut(sim, client);
        }
    }
    client->home_done = client->done_count;
    client->home_ms = sim->cluster->now_ms + HOME_MS + sim->plan->knobs.election_ms_max;
}

static void end_dial(struct sim *sim, struct sim_client *client, struct sim_link *link,
                     struct core_connection *connection)
{
    if (is_unreachable(client, link->place) || client->is_mute || client->is_deaf) {
        link->dial_ms = sim->cluster->now_ms + 100; /* Nobody answers. */
        return;
    }
    if (sim->cluster->worlds[link->place].runs && !fake_accepts(sim->cluster, link->place)) {
        link->dial_ms = sim->cluster->now_ms + 100;
        return;
    }
    link->is_dialing = false;
    if (!sim->cluster->worlds[link->place].runs) {
        core_disconnected(&client->core, connection);
        return;
    }
    if (link->output == NULL) {
        link->output = malloc(CORE_OUTPUT_SIZE_MIN);
        ASSERT(link->output != NULL);
    }
    link->client = fake_client_connect(sim->cluster, link->place);
    link->is_connected = true;
    core_connected(&client->core, connection, buffer_of(link->output, CORE_OUTPUT_SIZE_MIN));
}

static void receive(struct sim *sim, struct sim_client *client, struct sim_link *link,
                    struct core_connection *connection)
{
    struct fake_client *fake = &sim->cluster->clients[link->client];
    size_t arrived = fake->back.arrived;

    if (arrived > 0) {
        struct bytes input = bytes_of(fake->back.data, arrived);

        sim_trace(sim, arrived ^ (uint64_t)client->number << 32);
        bool is_full = true;

        while (is_full) {
            core_receive(&client->core, connection, &input);
            is_full = core_is_full(&client->core);
            tell(sim, client); /* Results borrow from the bytes. */
        }
        fake_pipe_drop(&fake->back, arrived - input.size);
        ASSERT(input.size == 0 || connection->state == CORE_CLOSE_WANTED);
    } else if (!fake->is_open && connection->state != CORE_CLOSE_WANTED) {
        hang_up(sim, link);
        core_disconnected(&client->core, connection);
    }
}

/* What is to be done about a connection before the core puts its requests into it. */
static void serve_connection(struct sim *sim, struct sim_client *client, uint32_t index)
{
    struct core_connection *connection = &client->core.connections[index];
    struct sim_link *link = &client->links[index];

    if (connection->state == CORE_DIALING && link->is_dialing &&
        sim->cluster->now_ms >= link->dial_ms) {
        end_dial(sim, client, link, connection);
    }
    if (link->is_connected) {
        receive(sim, client, link, connection);
    }
}

static void send(struct sim *sim, struct sim_client *client, uint32_t index)
{
    struct core_connection *connection = &client->core.connections[index];
    struct sim_link *link = &client->links[index];

    if (connection->state == CORE_DIAL_WANTED) {
        begin_dial(sim, client, link, connection);
    } else if (connection->state == CORE_CLOSE_WANTED) {
        hang_up(sim, link);
        core_closed(&client->core, connection);
    } else if (link->is_connected && connection->output.size > 0) {
        fake_client_send(sim->cluster, link->client, buffer_bytes(&connection->output));
        connection->output.size = 0;
    }
}

void sim_client_break(struct sim *sim, struct sim_client *client)
{
    for (uint32_t i = 0; i < client->core.connection_count; i++) {
        if (client->links[i].is_connected) {
            fake_client_close(sim->cluster, client->links[i].client);
            fake_pipe_clear(&sim->cluster->clients[client->links[i].client].back);
        }
    }
}

void sim_client_cut(struct sim *sim, struct sim_client *client)
{
    for (uint32_t i = 0; i < client->core.connection_count; i++) {
        const struct sim_link *link = &client->links[i];

        if (link->is_connected) {
            struct fake_client *fake = &sim->cluster->clients[link->client];

            fake->is_cut = is_unreachable(client, link->place);
            fake->is_mute = client->is_mute;
            fake->is_deaf = client->is_deaf;
        }
    }
}

/* What was confirmed long ago is heard by a client that can confirm nothing more. If it counted
 * from the hearing, it would believe too long. */
void sim_client_delay(struct sim *sim, uint32_t number)
{
    const struct sim_fault *fault = &sim->plan->faults[number];
    struct sim_client *client = &sim->clients[fault->place];
    uint64_t ttl_ms = sim->plan->knobs.ttl_ms;
    uint64_t step_ms = ttl_ms / 20 + fault->amount % (ttl_ms / 4);

    sim->fault_next_ms[number] = sim->cluster->now_ms + step_ms;
    if (!client->is_deaf) {
        client->is_deaf = true;
        client->late_fault = number;
    } else if (!client->is_mute) {
        client->is_mute = true;
    } else {
        client->is_deaf = false;
        sim->fault_next_ms[number] = SIM_NEVER;
        SOMETIMES(sim, client_heard_late);
    }
    sim_client_cut(sim, client);
}

/* --- Time ---------------------------------------------------------------------------------------
 */

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Without what comes from nodes. */
static uint64_t own_due_ms(const struct sim *sim, struct sim_client *client)
{
    uint64_t due_ms =
        earlier(client->act_ms, true_time_of(sim, client, core_wake_ms(&client->core)));

    client->connected = 0;
    for (uint32_t i = 0; i < client->core.connection_count; i++) {
        const struct sim_link *link = &client->links[i];

        if (link->is_dialing) {
            due_ms = earlier(due_ms, link->dial_ms);
        }
        client->connected |= link->is_connected ? 1u << i : 0;
    }
    return due_ms;
}

static uint64_t client_due_ms(const struct sim *sim, struct sim_client *client)
{
    if (client->pause_count > 0) {
        return SIM_NEVER;
    }
    for (uint32_t left = client->connected; left != 0; left &= left - 1) {
        uint32_t link = (uint32_t)__builtin_ctz(left);
        const struct fake_client *fake = &sim->cluster->clients[client->links[link].client];

        if (fake->back.arrived > 0 || !fake->is_open) {
            return 0;
        }
    }
    return earlier(client->due_ms, client->act_ms);
}

uint64_t sim_clients_due_ms(struct sim *sim)
{
    uint64_t due_ms = SIM_NEVER;

    for (uint32_t i = 0; i < sim->plan->knobs.client_count; i++) {
        due_ms = earlier(due_ms, client_due_ms(sim, &sim->clients[i]));
    }
    return due_ms;
}

static void advance(struct sim *sim, struct sim_client *client)
{
    choose_home(sim, client);
    core_advance(&client->core, sim_client_clock(sim, client));
    tell(sim, client);
    for (uint32_t i = 0; i < client->core.connection_count; i++) {
        serve_connection(sim, client, i);
    }
    sim_work_act(sim, client);
    sim_watch_act(sim, client);
    core_pump(&client->core);
    for (uint32_t i = 0; i < client->core.connection_count; i++) {
        send(sim, client, i);
    }
    tell(sim, client);
    client->due_ms = own_due_ms(sim, client);
}

void sim_clients_advance(struct sim *sim)
{
    for (uint32_t i = 0; i < sim->plan->knobs.client_count; i++) {
        struct sim_client *client = &sim->clients[i];

        if (client_due_ms(sim, client) <= sim->cluster->now_ms) {
            advance(sim, client);
        }
    }
}
