/* Random runs in which members come, go, are wiped and replaced, and leadership moves, while nodes
 * crash, are cut off, freeze and have slow disks. NODE_SEEDS says how many runs, NODE_SEED picks
 * one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "tests/support/node/fake_actor.h"
#include "tests/support/node/fake_members.h"
#include "tests/support/node/fake_world.h"

enum {
    SEED_COUNT = 30,
    NODE_COUNT = 5,
    FORMED_COUNT = 3,
    ROUND_COUNT = 4,
    ROUND_MS = 2000,
    HEAL_MS = 4000,
    NOBODY = NODE_COUNT,
};

struct churn {
    struct fake_cluster *cluster;
    struct fake_actors actors;
    uint64_t mend_ms[NODE_COUNT];
    uint64_t hurt_ms;
    uint64_t ask_ms;
    uint32_t wiped; /* Whose disk is not replaced yet; or NOBODY. */
    uint32_t wipe_count;
    uint32_t removed_count;
};

/* --- Faults ----------------------------------------------------------------------------------- */

static void mend(struct churn *churn, uint32_t place)
{
    struct world *world = &churn->cluster->worlds[place];

    world->is_paused = false;
    world->disk_is_stalled = false;
    fake_isolate(churn->cluster, place, false);
    if (!world->runs) {
        fake_start(churn->cluster, place);
    }
}

static void hurt(struct churn *churn)
{
    struct fake_cluster *cluster = churn->cluster;
    uint32_t place = (uint32_t)prng_below(&cluster->prng, NODE_COUNT);
    struct world *world = &cluster->worlds[place];

    churn->mend_ms[place] = cluster->now_ms + prng_between(&cluster->prng, 20, 1200);
    switch (prng_below(&cluster->prng, 6)) {
    case 0:
    case 1:
        if (world->runs) {
            fake_crash(cluster, place);
        }
        return;
    case 2:
        fake_isolate(cluster, place, true);
        return;
    case 3:
        fake_break(cluster, place, (place + 1) % NODE_COUNT);
        return;
    case 4:
        world->is_paused = true;
        return;
    default:
        world->disk_is_stalled = true;
        return;
    }
}

/* A node that was removed comes back with an empty disk. */
static void renew_removed(struct churn *churn)
{
    for (uint32_t i = 0; i < NODE_COUNT; i++) {
        struct world *world = &churn->cluster->worlds[i];

        if (world->runs && node_is_removed(world->node)) {
            fake_crash(churn->cluster, i);
            fake_wipe(churn->cluster, i);
            world->options.member_count = NODE_COUNT; /* Its operator knows them all by now. */
            fake_start(churn->cluster, i);
            churn->removed_count++;
        }
    }
}

/* --- The operator ----------------------------------------------------------------------------- */

/* Asks some node for something, and does not wait. */
static void ask(struct churn *churn)
{
    static const enum wire_method methods[] = {WIRE_METHOD_member_add, WIRE_METHOD_member_add,
                                               WIRE_METHOD_member_remove, WIRE_METHOD_leader_move,
                                               WIRE_METHOD_leader_move};
    struct fake_cluster *cluster = churn->cluster;
    uint32_t asked = (uint32_t)prng_below(&cluster->prng, NODE_COUNT);
    uint32_t meant = (uint32_t)prng_below(&cluster->prng, NODE_COUNT);
    enum wire_method method = methods[prng_below(&cluster->prng, COUNT_OF(methods))];

    if (cluster->worlds[asked].runs) {
        uint32_t client = fake_client_open(cluster, asked);

        fake_change(cluster, client, method, fake_names[meant]);
        fake_run(cluster, 10);
        fake_client_release(cluster, client);
    }
}

static void run_round(struct churn *churn)
{
    struct fake_cluster *cluster = churn->cluster;
    uint64_t end_ms = cluster->now_ms + ROUND_MS;

    while (cluster->now_ms < end_ms) {
        for (uint32_t i = 0; i < NODE_COUNT; i++) {
            if (cluster->now_ms >= churn->mend_ms[i]) {
                mend(churn, i);
            }
        }
        renew_removed(churn);
        if (cluster->now_ms >= churn->hurt_ms) {
            hurt(churn);
            churn->hurt_ms = cluster->now_ms + prng_between(&cluster->prng, 50, 700);
        }
        if (cluster->now_ms >= churn->ask_ms) {
            ask(churn);
            churn->ask_ms = cluster->now_ms + prng_between(&cluster->prng, 50, 500);
        }
        fake_actors_step(&churn->actors, cluster);
        fake_run(cluster, 1);
    }
}

/* Nothing is done to anybody any more. */
static void calm_down(struct churn *churn)
{
    uint64_t end_ms = churn->cluster->now_ms + HEAL_MS;

    for (uint32_t i = 0; i < NODE_COUNT; i++) {
        mend(churn, i);
    }
    while (churn->cluster->now_ms < end_ms) {
        renew_removed(churn);
        fake_actors_step(&churn->actors, churn->cluster);
        fake_run(churn->cluster, 1);
    }
}

/* --- What must hold --------------------------------------------------------------------------- */

static bool is_member_now(struct fake_cluster *cluster, const struct fake_members *members,
                          uint32_t place)
{
    struct identity identity = fake_identity(cluster, place);

    return identity.formed && fake_members_voter(members, fake_names[place]) == identity.self;
}

/* The list of members is settled, every voter is there, and none is twice in it. */
static struct fake_members settled(struct churn *churn)
{
    struct fake_cluster *cluster = churn->cluster;
    struct fake_members members = fake_members_of(cluster, fake_leader(cluster));

    for (uint32_t i = 0;
         i < 100 && (members.changing || fake_members_count(&members, "voter") != members.count);
         i++) {
        renew_removed(churn);
        fake_run(cluster, 100);
        members = fake_members_of(cluster, fake_leader(cluster));
    }
    ASSERT(!members.changing);
    ASSERT_VALUES(fake_members_count(&members, "voter") == members.count, members.count,
                  cluster->now_ms);
    return members;
}

static bool tables_agree(struct fake_cluster *cluster, const struct fake_members *members,
                         uint32_t leader)
{
    struct wire_status_result first = fake_status(cluster, leader);

    for (uint32_t i = 0; i < NODE_COUNT; i++) {
        if (!is_member_now(cluster, members, i)) {
            continue;
        }
        struct wire_status_result other = fake_status(cluster, i);

        if (other.applied != first.applied) {
            return false;
        }
        ASSERT_VALUES(other.state_hash == first.state_hash, i, first.applied);
    }
    return true;
}

/* One disk is wiped when none is missing, and all others are there: no majority is lost. */
static void wipe_one(struct churn *churn, const struct fake_members *members)
{
    struct fake_cluster *cluster = churn->cluster;
    uint32_t place = (uint32_t)prng_below(&cluster->prng, NODE_COUNT);

    if (churn->wiped != NOBODY && (is_member_now(cluster, members, churn->wiped) ||
                                   fake_members_voter(members, fake_names[churn->wiped]) == 0)) {
        churn->wiped = NOBODY;
    }
    if (churn->wiped == NOBODY && members->count >= 3 && is_member_now(cluster, members, place)) {
        fake_crash(cluster, place);
        fake_wipe(cluster, place);
        fake_start(cluster, place);
        churn->wiped = place;
        churn->wipe_count++;
    }
}

static void run(uint64_t seed)
{
    struct churn churn = {.cluster = fake_cluster_open(NODE_COUNT, seed), .wiped = NOBODY};
    struct fake_cluster *cluster = churn.cluster;
    bool agree = false;

    fake_form_with(cluster, FORMED_COUNT);
    fake_actors_open(&churn.actors, 2, 2);
    fake_start_all(cluster);
    fake_leader(cluster);
    for (uint32_t round = 0; round < ROUND_COUNT; round++) {
        uint64_t counted = churn.actors.items[0].done_count + churn.actors.items[1].done_count;

        run_round(&churn);
        calm_down(&churn);
        struct fake_members members = settled(&churn);

        ASSERT_VALUES(churn.actors.items[0].done_count + churn.actors.items[1].done_count > counted,
                      seed, counted);
        wipe_one(&churn, &members);
    }
    calm_down(&churn);
    struct fake_members members = settled(&churn);
    uint32_t leader = fake_leader(cluster);

    for (uint32_t i = 0; i < 50 && !agree; i++) {
        fake_run(cluster, 50);
        agree = tables_agree(cluster, &members, leader);
    }
    ASSERT_VALUES(agree, seed, cluster->now_ms);
    if (getenv("NODE_SEED") != NULL) {
        fprintf(stderr, "%u members, %u wiped, %u removed\n", members.count, churn.wipe_count,
                churn.removed_count);
    }
    fake_cluster_close(cluster);
}

static void members_come_and_go_and_nothing_is_lost(void **state)
{
    const char *one = getenv("NODE_SEED");
    const char *many = getenv("NODE_SEEDS");
    uint64_t first = one != NULL ? strtoull(one, NULL, 10) : 1;
    uint64_t count = one != NULL ? 1 : many != NULL ? strtoull(many, NULL, 10) : SEED_COUNT;

    for (uint64_t seed = first; seed < first + count; seed++) {
        char line[64];
        int size = snprintf(line, sizeof(line), "NODE_SEED=%llu\r", (unsigned long long)seed);

        /* Seen when it aborts. */
        if (many != NULL) {
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
        cmocka_unit_test(members_come_and_go_and_nothing_is_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
