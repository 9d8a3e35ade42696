/* Random runs of whole clusters: crashes, restarts, partitions, freezes, slow disks. NODE_SEEDS
 * says how many runs, NODE_SEED picks one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "tests/support/node/fake_actor.h"
#include "tests/support/node/fake_world.h"

enum { SEED_COUNT = 200, RUN_MS = 3500, HEAL_MS = 2500, LARGE_SIZE = 450000 };

struct plan {
    uint64_t restart_ms[FAKE_NODE_COUNT_MAX];
    uint64_t heal_ms[FAKE_NODE_COUNT_MAX];
    uint64_t wake_ms[FAKE_NODE_COUNT_MAX];
    uint64_t disk_ms[FAKE_NODE_COUNT_MAX];
};

static void mend(struct fake_cluster *cluster, struct plan *plan, bool all)
{
    for (uint32_t i = 0; i < cluster->node_count; i++) {
        struct world *world = &cluster->worlds[i];

        if (!world->runs && (all || cluster->now_ms >= plan->restart_ms[i])) {
            fake_start(cluster, i);
        }
        if (all || cluster->now_ms >= plan->heal_ms[i]) {
            fake_isolate(cluster, i, false);
            plan->heal_ms[i] = UINT64_MAX;
        }
        if (all || cluster->now_ms >= plan->wake_ms[i]) {
            world->is_paused = false;
        }
        if (all || cluster->now_ms >= plan->disk_ms[i]) {
            world->disk_is_stalled = false;
        }
    }
}

static void hurt(struct fake_cluster *cluster, struct plan *plan)
{
    uint32_t place = (uint32_t)prng_below(&cluster->prng, cluster->node_count);
    uint64_t until_ms = cluster->now_ms + prng_between(&cluster->prng, 20, 1500);
    struct world *world = &cluster->worlds[place];

    switch (prng_below(&cluster->prng, 8)) {
    case 0:
    case 1:
        if (world->runs) {
            fake_crash(cluster, place);
            plan->restart_ms[place] = until_ms;
        }
        return;
    case 2:
    case 3:
        fake_isolate(cluster, place, true);
        for (uint32_t i = 0; until_ms % 2 == 0 && i < cluster->node_count; i++) {
            if (i != place) {
                fake_break(cluster, place, i); /* What is under way is lost, too. */
            }
        }
        plan->heal_ms[place] = until_ms;
        return;
    case 4:
        fake_break(cluster, place, (place + 1) % cluster->node_count);
        return;
    case 5:
        if (world->runs) { /* In order: it goes on from its table. */
            world->is_paused = false;
            world->disk_is_stalled = false;
            fake_stop(cluster, place, 3000);
            plan->restart_ms[place] = until_ms;
        }
        return;
    case 6:
        world->is_paused = true;
        plan->wake_ms[place] = until_ms;
        return;
    default:
        world->disk_is_stalled = true;
        plan->disk_ms[place] = until_ms;
        return;
    }
}

static bool tables_agree(struct fake_cluster *cluster)
{
    struct wire_status_result first = fake_status(cluster, 0);

    for (uint32_t i = 1; i < cluster->node_count; i++) {
        struct wire_status_result other = fake_status(cluster, i);

        if (other.applied != first.applied) {
            return false;
        }
        ASSERT_VALUES(other.state_hash == first.state_hash, i, first.applied);
    }
    return first.sessions == 0 || first.applied > 0;
}

/* So that logs are cut behind whoever was away, and parts of snapshots are left everywhere. */
static void take_snapshots_often(struct fake_cluster *cluster, struct node_options *options)
{
    options->commit_interval_ms = (uint32_t)prng_between(&cluster->prng, 5, 200);
    options->snapshot_log_size = prng_between(&cluster->prng, 1, 300000);
    options->snapshot_pace = prng_between(&cluster->prng, 1 << 21, 1 << 25);
    options->shipping_pace = prng_between(&cluster->prng, 1 << 21, 1 << 25);
}

/* Values that push old entries out of memory: a node that was away needs a snapshot. Nobody waits
 * for an answer. */
static void write_much(struct fake_cluster *cluster)
{
    static char value[LARGE_SIZE + 1];
    uint32_t place = (uint32_t)prng_below(&cluster->prng, cluster->node_count);
    const char *keys[] = {"large 1", "large 2", "large 3"};

    if (prng_below(&cluster->prng, 8) != 0 || !cluster->worlds[place].runs ||
        cluster->worlds[place].is_paused) {
        return;
    }
    memset(value, 'a' + (int)prng_below(&cluster->prng, 26), LARGE_SIZE);
    uint32_t client = fake_client_open(cluster, place);

    fake_put(cluster, client, 0, 0, keys[prng_below(&cluster->prng, 3)], value);
    fake_run(cluster, 5);
    fake_client_release(cluster, client);
}

static void run(uint64_t seed)
{
    struct fake_cluster *cluster = fake_cluster_open(seed % 5 == 0 ? 5 : 3, seed);
    struct fake_actors actors;
    struct plan plan = {0};
    uint64_t hurt_ms = 0;
    uint64_t counted = 0;

    for (uint32_t i = 0; i < cluster->node_count; i++) {
        cluster->worlds[i].clock_offset_ms = prng_below(&cluster->prng, 1000000);
        if (seed % 2 == 0) {
            take_snapshots_often(cluster, &cluster->worlds[i].options);
        }
    }
    fake_actors_open(&actors, 2, 3);
    fake_start_all(cluster);
    for (uint64_t ms = 0; ms < RUN_MS + HEAL_MS; ms++) {
        mend(cluster, &plan, ms >= RUN_MS);
        if (ms < RUN_MS && cluster->now_ms >= hurt_ms) {
            hurt(cluster, &plan);
            hurt_ms = cluster->now_ms + prng_between(&cluster->prng, 10, 700);
        }
        fake_actors_step(&actors, cluster);
        if (seed % 2 == 0 && ms < RUN_MS) {
            write_much(cluster);
        }
        fake_run(cluster, 1);
        counted += ms == RUN_MS ? actors.items[0].done_count + actors.items[1].done_count : 0;
    }
    ASSERT_VALUES(actors.items[0].done_count + actors.items[1].done_count > counted, seed, counted);
    fake_leader(cluster);
    bool agree = false;

    for (uint32_t i = 0; i < 50 && !agree; i++) {
        fake_run(cluster, 50);
        agree = tables_agree(cluster);
    }
    ASSERT_VALUES(agree, seed, cluster->now_ms);
    if (getenv("NODE_SEED") != NULL) {
        fprintf(stderr, "counted %llu and %llu, tokens %llu\n",
                (unsigned long long)actors.items[0].value,
                (unsigned long long)actors.items[1].value, (unsigned long long)actors.newest_token);
    }
    fake_cluster_close(cluster);
}

static void acknowledged_writes_survive_and_one_holds_the_lock(void **state)
{
    const char *one = getenv("NODE_SEED");
    const char *many = getenv("NODE_SEEDS");
    uint64_t first = one != NULL ? strtoull(one, NULL, 10) : 1;
    uint64_t count = one != NULL ? 1 : many != NULL ? strtoull(many, NULL, 10) : SEED_COUNT;

    for (uint64_t seed = first; seed < first + count; seed++) {
        char line[64];
        int size = snprintf(line, sizeof(line), "NODE_SEED=%llu\r", (unsigned long long)seed);

        /* Seen when it aborts. */
        if (getenv("NODE_SEEDS") != NULL) {
            fwrite(line, 1, (size_t)size, stderr);
        }
        run(seed);
    }
    assert_true(count > 0);
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(acknowledged_writes_survive_and_one_holds_the_lock),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
