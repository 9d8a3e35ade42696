/* tests/support/crdt/cluster.c: see the header. */
#include "tests/support/crdt/cluster.h"

#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "tests/support/base/memory_table.h"

static const struct crdt_options options_default = {
    .pending_count_max = 32,
    .identity_count_max = 10000,
    .entry_count_max = 100000,
    .counter_count_max = 100,
};

struct crdt_counter cluster_counter(uint32_t number)
{
    static const char *const names[] = {"a", "b"};

    ASSERT(number < CLUSTER_COUNTER_COUNT);
    return (struct crdt_counter){.side = number % 2 == 0 ? CRDT_PLUS : CRDT_MINUS,
                                 .name = bytes_of_text(names[number / 2])};
}

struct crdt_identity cluster_identity(uint64_t generation, uint64_t number)
{
    struct crdt_identity identity = {.generation = generation};

    store_u64(identity.random, number);
    return identity;
}

/* The same counter with a name that nobody takes away. */
static struct crdt_counter counter_keep(struct crdt_counter counter)
{
    for (uint32_t i = 0; i < CLUSTER_COUNTER_COUNT; i++) {
        struct crdt_counter known = cluster_counter(i);

        if (known.side == counter.side && bytes_equal(known.name, counter.name)) {
            return known;
        }
    }
    UNREACHABLE();
}

static void node_open(struct cluster_node *node)
{
    struct crdt_options options = options_default;
    struct arena arena;

    options.node = node->id;
    size_t size = size_round_up(crdt_memory_size(&options), ARENA_ALIGNMENT);
    node->memory = aligned_alloc(ARENA_ALIGNMENT, size);
    ASSERT(node->memory != NULL);
    arena_init(&arena, node->memory, size);
    node->crdt = crdt_open(&arena, &options, node->store, node->ledger);
}

void cluster_open(struct cluster *cluster)
{
    memset(cluster, 0, sizeof(*cluster));
    for (uint32_t i = 0; i < CLUSTER_NODE_COUNT; i++) {
        struct cluster_node *node = &cluster->nodes[i];

        node->id = i + 1;
        node->store = memory_table_open();
        node->ledger = memory_table_open();
        node_open(node);
        cluster_propose(cluster, &(struct command){.kind = COMMAND_REGISTER, .number = i + 1});
    }
    cluster_apply_all(cluster);
    for (uint32_t i = 0; i < CLUSTER_NODE_COUNT; i++) {
        enum error error = cluster_begin(&cluster->nodes[i]);

        ASSERT_VALUES(error == ERR_OK, error, i);
    }
}

void cluster_close(struct cluster *cluster)
{
    for (uint32_t i = 0; i < CLUSTER_NODE_COUNT; i++) {
        struct cluster_node *node = &cluster->nodes[i];

        memory_table_close(node->store);
        memory_table_close(node->ledger);
        free(node->memory);
        free(node->log);
    }
    for (uint32_t i = 0; i < cluster->command_count; i++) {
        free(cluster->commands[i]);
    }
    free(cluster->commands);
}

/* --- The replicated log ----------------------------------------------------------------------- */

void cluster_propose(struct cluster *cluster, const struct command *command)
{
    if (cluster->command_count == cluster->command_capacity) {
        cluster->command_capacity = 2 * cluster->command_capacity + 16;
        cluster->commands =
            realloc(cluster->commands, cluster->command_capacity * sizeof(cluster->commands[0]));
        ASSERT(cluster->commands != NULL);
    }
    struct command *copy = malloc(sizeof(*copy));
    ASSERT(copy != NULL);
    *copy = *command;
    for (uint32_t i = 0; i < copy->fold.count; i++) {
        copy->fold.totals[i].counter = counter_keep(copy->fold.totals[i].counter);
    }
    cluster->commands[cluster->command_count++] = copy;
}

/* A refusal is fine: it changes nothing. */
static void command_apply(struct cluster_node *node, const struct command *command)
{
    struct table *ledger = node->ledger;
    uint64_t index = node->applied;

    switch (command->kind) {
    case COMMAND_REGISTER:
        (void)!ledger_carrier_register(ledger, command->number, index);
        return;
    case COMMAND_RETIRE:
        (void)!ledger_carrier_retire(ledger, command->carrier, command->version);
        return;
    case COMMAND_LOSE:
        (void)!ledger_carrier_lose(ledger, command->carrier, index);
        return;
    case COMMAND_CONFIRM:
        (void)!ledger_carrier_confirm(ledger, command->carrier, command->number, command->version);
        return;
    case COMMAND_ADVANCE:
        ledger_generation_advance(ledger);
        return;
    case COMMAND_SEAL_GENERATIONS:
        (void)!ledger_generations_seal(ledger, command->number, index);
        return;
    case COMMAND_SEAL_IDENTITY:
        (void)!ledger_identity_seal(ledger, &command->identity, index);
        return;
    case COMMAND_FOLD:
        if (ledger_fold(ledger, &command->fold) == ERR_OK) {
            node->late_count += crdt_fold_applied(node->crdt, &command->fold);
        }
        return;
    }
    UNREACHABLE();
}

bool cluster_apply_one(struct cluster *cluster, struct cluster_node *node)
{
    if (node->applied == cluster->command_count) {
        return false;
    }
    const struct command *command = cluster->commands[node->applied];
    node->applied++;
    command_apply(node, command);
    return true;
}

void cluster_apply_all(struct cluster *cluster)
{
    for (uint32_t i = 0; i < CLUSTER_NODE_COUNT; i++) {
        while (cluster_apply_one(cluster, &cluster->nodes[i])) {
        }
    }
}

/* --- The node's own log ----------------------------------------------------------------------- */

static void log_append(struct cluster_node *node, struct crdt_carrier carrier,
                       const struct crdt_update *update)
{
    if (node->log_count == node->log_capacity) {
        node->log_capacity = 2 * node->log_capacity + 64;
        node->log = realloc(node->log, node->log_capacity * sizeof(node->log[0]));
        ASSERT(node->log != NULL);
    }
    node->log[node->log_count] = (struct record){.carrier = carrier, .update = *update};
    node->log[node->log_count].update.total.counter = counter_keep(update->total.counter);
    node->log_count++;
}

static struct crdt_carrier newest_carrier(struct cluster_node *node)
{
    struct ledger_carrier carrier = {.carrier = {.node = node->id}};
    struct crdt_carrier newest = {.node = node->id};

    while (ledger_carrier_next(node->ledger, carrier.carrier, &carrier) &&
           carrier.carrier.node == node->id) {
        newest = carrier.carrier;
    }
    return newest;
}

static void stamp_append(struct cluster_node *node, const struct crdt_update *update)
{
    /* Whose it is matters at a restart only: nobody stamps but the carrier that began last. */
    log_append(node, newest_carrier(node), update);
    node->unsynced_count++;
}

enum error cluster_add(struct cluster_node *node, struct crdt_identity identity,
                       struct crdt_counter counter, uint64_t total, uint32_t *record_count)
{
    const struct crdt_total wanted = {.identity = identity, .counter = counter, .total = total};
    struct crdt_update update;
    enum error error = crdt_add(node->crdt, &wanted, &update);

    *record_count = 0;
    if (error == ERR_OK && update.version != 0) {
        stamp_append(node, &update);
        *record_count = node->log_count;
    }
    return error;
}

void cluster_sync(struct cluster_node *node)
{
    while (node->unsynced_count > 0) {
        crdt_commit(node->crdt, &node->log[node->log_count - node->unsynced_count].update);
        node->unsynced_count--;
    }
}

static void node_reopen(struct cluster_node *node, bool is_checkpointed)
{
    if (!is_checkpointed) {
        memory_table_close(node->store);
        memory_table_close(node->ledger);
        node->store = memory_table_open();
        node->ledger = memory_table_open();
        node->applied = 0;
    }
    free(node->memory);
    node_open(node);
    crdt_promise_replay(node->crdt, &node->promise);
    for (uint32_t i = 0; i < node->log_count; i++) {
        crdt_replay(node->crdt, node->log[i].carrier, &node->log[i].update);
    }
}

void cluster_restart(struct cluster_node *node, bool is_checkpointed)
{
    node->log_count -= node->unsynced_count;
    node->unsynced_count = 0;
    node_reopen(node, is_checkpointed);
    node->is_idle = cluster_begin(node) != ERR_OK;
}

void cluster_restore(struct cluster_node *node, uint32_t record_count)
{
    ASSERT(record_count <= node->log_count);
    node->log_count = record_count;
    node->unsynced_count = 0;
    node->is_cut = true;
    node->promise = (struct crdt_promise){0};
    node_reopen(node, false);
}

enum error cluster_begin(struct cluster_node *node)
{
    enum error error = crdt_carrier_begin(node->crdt, newest_carrier(node));

    node->promise = crdt_promise(node->crdt);
    return error;
}

/* --- Between nodes ---------------------------------------------------------------------------- */

enum error cluster_gossip_one(struct cluster_node *source, struct cluster_node *target,
                              struct crdt_carrier carrier)
{
    struct crdt_mark marks[CRDT_CARRIER_COUNT_MAX];
    uint32_t count = crdt_digest(target->crdt, marks);
    struct crdt_delta delta;
    uint64_t after = 0;

    for (uint32_t i = 0; i < count; i++) {
        if (marks[i].carrier.node == carrier.node && marks[i].carrier.epoch == carrier.epoch) {
            after = marks[i].version;
        }
    }
    if (!crdt_delta_since(source->crdt, carrier, after, &delta)) {
        return ERR_NOT_FOUND;
    }
    enum error error = crdt_delta_apply(target->crdt, &delta);
    /* On its disk before it is in the table: what is not synced of its own lies behind it. */
    if (error == ERR_OK) {
        cluster_sync(target);
        for (uint32_t i = 0; i < delta.count; i++) {
            log_append(target, carrier, &delta.updates[i]);
        }
    }
    return error;
}

void cluster_gossip(struct cluster_node *source, struct cluster_node *target)
{
    struct crdt_mark marks[CRDT_CARRIER_COUNT_MAX];
    uint32_t count = crdt_digest(source->crdt, marks);

    for (uint32_t i = 0; i < count; i++) {
        while (cluster_gossip_one(source, target, marks[i].carrier) == ERR_OK) {
        }
    }
}

void cluster_turn(struct cluster *cluster, struct cluster_node *node)
{
    struct command command = {.kind = COMMAND_CONFIRM};
    struct crdt_update update;

    while (crdt_adopt_next(node->crdt, &update)) {
        stamp_append(node, &update);
    }
    if (crdt_confirm_next(node->crdt, &command.carrier, &command.number, &command.version)) {
        node->promise = crdt_promise(node->crdt);
        cluster_propose(cluster, &command);
    }
}

void cluster_settle(struct cluster *cluster)
{
    struct command fold = {.kind = COMMAND_FOLD};

    for (uint32_t round = 0; round < 40; round++) {
        for (uint32_t i = 0; i < CLUSTER_NODE_COUNT; i++) {
            struct cluster_node *node = &cluster->nodes[i];

            cluster_sync(node);
            cluster_turn(cluster, node);
            cluster_sync(node);
            for (uint32_t j = 0; j < CLUSTER_NODE_COUNT; j++) {
                if (i != j) {
                    cluster_gossip(node, &cluster->nodes[j]);
                }
            }
        }
        if (crdt_fold_next(cluster->nodes[0].crdt, &fold.fold)) {
            cluster_propose(cluster, &fold);
        }
        cluster_apply_all(cluster);
    }
}

uint64_t cluster_value(struct cluster_node *node, uint32_t counter)
{
    struct crdt_sum sum = crdt_count(node->crdt, cluster_counter(counter));

    ASSERT_VALUES(sum.high == 0, sum.high, sum.low);
    return sum.low;
}
