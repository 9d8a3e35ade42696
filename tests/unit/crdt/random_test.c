/* tests/unit/crdt/random_test.c: whatever happens on the way, the value in the end is exactly what
 * the clients were told is done.
 *
 * Random schedules over three nodes: adds, retries at other nodes, lost and repeated gossip,
 * crashes with and without a checkpoint, wiped and restored disks, seals and folds meanwhile,
 * carriers that retire. Clients follow the rule of docs/crdt.md: a total is taken back only when
 * its only attempt was refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/prng.h"
#include "tests/support/crdt/cluster.h"

enum { SEED_COUNT = 500, STEP_COUNT = 400, CLIENT_COUNT = 5 };

/* One identity at one counter: at most one request is in flight. */
struct client {
    struct crdt_identity identity;
    uint32_t counter;
    uint64_t done;              /* What it was told. */
    uint64_t wanted;            /* Not `done`: in flight. */
    bool was_attempted;         /* Some attempt may have counted. */
    struct cluster_node *asked; /* Its answer comes with the sync of so many records. */
    uint32_t record_count;
};

struct schedule {
    struct prng prng;
    struct cluster cluster;
    struct client clients[CLIENT_COUNT];
    uint64_t identity_count;
    uint64_t sums[CLUSTER_COUNTER_COUNT]; /* Of clients that are gone. */
    bool is_disturbed;                    /* Disks are wiped and restored. */
    uint64_t fold_count;
};

static struct cluster_node *any_node(struct schedule *schedule)
{
    return &schedule->cluster.nodes[prng_below(&schedule->prng, CLUSTER_NODE_COUNT)];
}

static void client_begin(struct schedule *schedule, struct client *client)
{
    struct ledger_view view;

    ledger_view(any_node(schedule)->ledger, &view);
    *client = (struct client){
        .identity = cluster_identity(view.generation, schedule->identity_count++),
        .counter = (uint32_t)prng_below(&schedule->prng, CLUSTER_COUNTER_COUNT),
    };
}

/* The answer is there: everything up to it is synced, and the node did not crash meanwhile. */
static void client_hear(struct client *client)
{
    const struct cluster_node *node = client->asked;

    if (node != NULL && node->log_count - node->unsynced_count >= client->record_count) {
        client->done = client->wanted;
        client->was_attempted = false;
        client->asked = NULL;
    }
}

static void client_renew(struct schedule *schedule, struct client *client)
{
    schedule->sums[client->counter] += client->done;
    client_begin(schedule, client);
}

/* Sealed: only the fold says whether what was in flight has counted. */
static void client_ask_fold(struct schedule *schedule, struct client *client)
{
    struct crdt_counter counter = cluster_counter(client->counter);
    struct table *ledger = any_node(schedule)->ledger;
    uint64_t final = 0;

    if (!ledger_is_folded(ledger, &client->identity, counter)) {
        return;
    }
    if (ledger_final(ledger, &client->identity, counter, &final)) {
        assert_true(final == client->done || (client->was_attempted && final == client->wanted));
    } else {
        assert_int_equal(client->done, 0);
    }
    client->done = final;
    client_renew(schedule, client);
}

static void client_step(struct schedule *schedule, struct client *client)
{
    struct cluster_node *node = any_node(schedule);
    uint32_t record_count;

    client_hear(client);
    if (client->wanted == client->done) {
        client->wanted += prng_between(&schedule->prng, 1, 50);
    }
    enum error error = cluster_add(node, client->identity, cluster_counter(client->counter),
                                   client->wanted, &record_count);
    if (error == ERR_OK) {
        client->asked = node;
        client->record_count = record_count;
        client->was_attempted = true;
        client_hear(client);
        return;
    }
    if (!client->was_attempted) {
        client->wanted = client->done;
    }
    if (error == ERR_FENCED || error == ERR_STALE) {
        client_ask_fold(schedule, client);
    }
}

/* Answers of a node that crashed do not come. */
static void forget_answers(struct schedule *schedule, const struct cluster_node *node)
{
    for (uint32_t i = 0; i < CLIENT_COUNT; i++) {
        client_hear(&schedule->clients[i]);
        if (schedule->clients[i].asked == node) {
            schedule->clients[i].asked = NULL;
        }
    }
}

/* What only this disk has would be lost for good: not what is tested here. */
static void make_replaceable(struct schedule *schedule, struct cluster_node *node)
{
    struct cluster *cluster = &schedule->cluster;
    uint32_t other = (uint32_t)(node->id % CLUSTER_NODE_COUNT);

    for (uint32_t i = 0; i < 10; i++) {
        cluster_turn(cluster, node);
        cluster_sync(node);
    }
    cluster_gossip(node, &cluster->nodes[other]);
}

static void node_crash(struct schedule *schedule, struct cluster_node *node)
{
    forget_answers(schedule, node);
    cluster_restart(node, prng_below(&schedule->prng, 2) == 0);
}

/* A disk that is empty, or old: the node registers a new carrier, and counts when it has applied
 * that. */
static void node_lose_disk(struct schedule *schedule, struct cluster_node *node)
{
    struct command command = {.kind = COMMAND_REGISTER, .number = node->id};

    for (uint32_t i = 0; i < CLUSTER_NODE_COUNT; i++) {
        while (cluster_apply_one(&schedule->cluster, &schedule->cluster.nodes[i])) {
        }
    }
    make_replaceable(schedule, node);
    forget_answers(schedule, node);
    cluster_restore(node, (uint32_t)prng_below(&schedule->prng, node->log_count + 1));
    cluster_propose(&schedule->cluster, &command);
}

static void node_begin(struct schedule *schedule, struct cluster_node *node)
{
    struct ledger_carrier carrier = {.carrier = {.node = node->id}};
    bool is_new = false;

    if (node->is_idle) {
        node->is_idle = cluster_begin(node) != ERR_OK;
        return;
    }
    if (!node->is_cut || node->applied != schedule->cluster.command_count) {
        return;
    }
    while (ledger_carrier_next(node->ledger, carrier.carrier, &carrier) &&
           carrier.carrier.node == node->id) {
        is_new = carrier.state == LEDGER_CARRIER_LIVE;
    }
    if (is_new && cluster_begin(node) == ERR_OK) {
        node->is_cut = false;
    }
}

static void node_retire(struct schedule *schedule, struct cluster_node *node)
{
    struct crdt_carrier newest = {.node = node->id};
    struct ledger_carrier carrier = {.carrier = newest};
    struct command command = {.kind = COMMAND_RETIRE};

    cluster_sync(node);
    if (node->is_cut || crdt_carrier_close(node->crdt, &command.version) != ERR_OK) {
        return;
    }
    node->promise = crdt_promise(node->crdt);
    while (ledger_carrier_next(node->ledger, carrier.carrier, &carrier) &&
           carrier.carrier.node == node->id) {
        command.carrier = carrier.carrier;
    }
    cluster_propose(&schedule->cluster, &command);
    command = (struct command){.kind = COMMAND_REGISTER, .number = node->id};
    cluster_propose(&schedule->cluster, &command);
    /* It counts again as the new carrier, like a member that comes back. */
    node->is_cut = true;
}

static void seal_something(struct schedule *schedule)
{
    struct client *client = &schedule->clients[prng_below(&schedule->prng, CLIENT_COUNT)];
    struct command command = {.kind = COMMAND_SEAL_IDENTITY, .identity = client->identity};
    struct ledger_view view;

    ledger_view(any_node(schedule)->ledger, &view);
    switch (prng_below(&schedule->prng, 3)) {
    case 0:
        command = (struct command){.kind = COMMAND_ADVANCE};
        break;
    case 1:
        command = (struct command){.kind = COMMAND_SEAL_GENERATIONS, .number = view.generation};
        break;
    default:
        break;
    }
    cluster_propose(&schedule->cluster, &command);
}

static void fold_something(struct schedule *schedule)
{
    struct command command = {.kind = COMMAND_FOLD};

    if (crdt_fold_next(any_node(schedule)->crdt, &command.fold)) {
        schedule->fold_count++;
        cluster_propose(&schedule->cluster, &command);
    }
}

static void step(struct schedule *schedule)
{
    struct prng *prng = &schedule->prng;
    struct cluster_node *node = any_node(schedule);
    struct cluster_node *other = any_node(schedule);
    uint64_t choice = prng_below(prng, 100);

    if (choice < 30) {
        client_step(schedule, &schedule->clients[prng_below(prng, CLIENT_COUNT)]);
    } else if (choice < 40) {
        cluster_sync(node);
    } else if (choice < 60 && node != other) {
        struct crdt_mark marks[CRDT_CARRIER_COUNT_MAX];
        uint32_t count = crdt_digest(node->crdt, marks);

        if (count > 0) {
            (void)!cluster_gossip_one(node, other, marks[prng_below(prng, count)].carrier);
        }
        if (prng_below(prng, 3) == 0) {
            cluster_gossip(node, other);
        }
    } else if (choice < 80) {
        for (uint64_t i = prng_between(prng, 1, 8); i > 0; i--) {
            (void)cluster_apply_one(&schedule->cluster, node);
        }
        node_begin(schedule, node);
    } else if (choice < 88) {
        cluster_turn(&schedule->cluster, node);
    } else if (choice < 93) {
        fold_something(schedule);
    } else if (choice < 94) {
        seal_something(schedule);
    } else if (choice < 96 && !node->is_cut) {
        node_crash(schedule, node);
    } else if (choice < 97 && schedule->is_disturbed && !node->is_cut && !node->is_idle) {
        node_lose_disk(schedule, node);
    } else if (choice < 98 && prng_below(prng, 4) == 0) {
        node_retire(schedule, node);
    } else {
        crdt_check(node->crdt);
    }
}

/* Every client gets its last answer, then everything reaches every node. */
static void finish(struct schedule *schedule)
{
    for (uint32_t round = 0; round < 60; round++) {
        cluster_settle(&schedule->cluster);
        for (uint32_t i = 0; i < CLUSTER_NODE_COUNT; i++) {
            node_begin(schedule, &schedule->cluster.nodes[i]);
        }
        bool is_quiet = true;

        for (uint32_t i = 0; i < CLIENT_COUNT; i++) {
            struct client *client = &schedule->clients[i];

            client_hear(client);
            if (client->wanted != client->done) {
                is_quiet = false;
                client_step(schedule, client);
            }
        }
        if (is_quiet && round > 2) {
            return;
        }
    }
    fail_msg("a client never got its answer");
}

static uint64_t run_seed(uint64_t seed, bool is_disturbed)
{
    struct schedule schedule = {.is_disturbed = is_disturbed};

    prng_init(&schedule.prng, seed);
    cluster_open(&schedule.cluster);
    for (uint32_t i = 0; i < CLIENT_COUNT; i++) {
        client_begin(&schedule, &schedule.clients[i]);
    }
    for (uint32_t i = 0; i < STEP_COUNT; i++) {
        step(&schedule);
    }
    finish(&schedule);
    for (uint32_t i = 0; i < CLIENT_COUNT; i++) {
        schedule.sums[schedule.clients[i].counter] += schedule.clients[i].done;
    }
    for (uint32_t i = 0; i < CLUSTER_NODE_COUNT; i++) {
        crdt_check(schedule.cluster.nodes[i].crdt);
        for (uint32_t j = 0; j < CLUSTER_COUNTER_COUNT; j++) {
            if (cluster_value(&schedule.cluster.nodes[i], j) != schedule.sums[j]) {
                fail_msg("seed %llu node %u counter %u: %llu, told %llu", (unsigned long long)seed,
                         i + 1, j, (unsigned long long)cluster_value(&schedule.cluster.nodes[i], j),
                         (unsigned long long)schedule.sums[j]);
            }
        }
    }
    cluster_close(&schedule.cluster);
    return schedule.fold_count;
}

static void the_sum_is_exact_through_crashes_seals_and_folds(void **state)
{
    uint64_t fold_count = 0;

    (void)state;
    for (uint64_t seed = 1; seed <= SEED_COUNT; seed++) {
        fold_count += run_seed(seed, false);
    }
    assert_true(fold_count > SEED_COUNT / 2);
}

static void the_sum_is_exact_through_wiped_and_restored_disks(void **state)
{
    uint64_t fold_count = 0;

    (void)state;
    for (uint64_t seed = 1; seed <= SEED_COUNT; seed++) {
        fold_count += run_seed(seed, true);
    }
    assert_true(fold_count > SEED_COUNT / 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_sum_is_exact_through_crashes_seals_and_folds),
        cmocka_unit_test(the_sum_is_exact_through_wiped_and_restored_disks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
