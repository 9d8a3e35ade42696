/* Random faults on whole clusters. RAFT_SEEDS=n runs more seeds, RAFT_SEED=n one alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "raft/raft.h"
#include "tests/support/raft/cluster.h"

enum { SEEDS_DEFAULT = 2000, FAULT_STEPS = 120, STEP_MS = 25, LIVENESS_MS = 4000 };

static uint64_t number_of(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);

    return text == NULL ? otherwise : strtoull(text, NULL, 10);
}

static void inject_partition(struct cluster *cluster)
{
    uint32_t count = cluster->node_count;
    uint64_t kind = prng_below(&cluster->prng, 4);
    uint64_t side = prng_below(&cluster->prng, 1U << count);

    memset(cluster->faults.cut, 0, sizeof(cluster->faults.cut));
    for (uint32_t from = 0; from < count; from++) {
        for (uint32_t to = 0; to < count; to++) {
            bool differs = (side >> from & 1) != (side >> to & 1);
            if (kind == 1) {
                cluster->faults.cut[from][to] = differs;
            } else if (kind == 2) {
                cluster->faults.cut[from][to] = differs && (side >> from & 1) != 0;
            } else if (kind == 3) {
                cluster->faults.cut[from][to] = prng_below(&cluster->prng, 3) == 0;
            }
        }
    }
}

static void inject_fault(struct cluster *cluster)
{
    uint32_t at = (uint32_t)prng_below(&cluster->prng, cluster->node_count);
    uint64_t now_ms = cluster->now_ms;
    struct cluster_node *node = &cluster->nodes[at];

    switch (prng_below(&cluster->prng, 32)) {
    case 0:
        cluster_crash(cluster, at, now_ms + prng_below(&cluster->prng, 400));
        break;
    case 1:
    case 2:
        inject_partition(cluster);
        break;
    case 3:
        cluster->faults.loss_per_mille = (uint32_t)prng_below(&cluster->prng, 300);
        cluster->faults.duplicate_per_mille = (uint32_t)prng_below(&cluster->prng, 300);
        break;
    case 4:
        cluster->faults.delay_ms_max = (uint32_t)prng_below(&cluster->prng, 80);
        break;
    case 5:
        cluster->faults.disk_ms_max = (uint32_t)prng_below(&cluster->prng, 120);
        break;
    case 6:
        node->busy_until_ms = now_ms + prng_below(&cluster->prng, 500);
        break;
    case 7:
        if (cluster_is_awake(cluster, node) && prng_below(&cluster->prng, 3) == 0) {
            raft_resign(node->raft, cluster_clock(cluster, node));
            cluster_crash(cluster, at, now_ms + 300);
        }
        break;
    case 8:
        if (cluster_is_awake(cluster, node)) {
            raft_peer_reset(node->raft, 1 + prng_below(&cluster->prng, cluster->node_count),
                            cluster_clock(cluster, node));
        }
        break;
    case 10:
        cluster_transfer(cluster, cluster_leader(cluster) % cluster->node_count);
        break;
    case 11:
        cluster_stall(cluster, at);
        break;
    case 12:
        cluster_replace_removed(cluster, at);
        break;
    case 9:
        memset(cluster->faults.cut, 0, sizeof(cluster->faults.cut));
        break;
    default:
        break;
    }
}

/* Members change and logs lose their beginning, in some runs. */
static void run_operator(struct cluster *cluster)
{
    uint32_t leader = cluster_leader(cluster);

    if (cluster->seed % 4 != 0 && leader != cluster->node_count &&
        prng_below(&cluster->prng, 3) == 0) {
        cluster_reconfigure(cluster, leader);
    }
    if (cluster->seed % 3 != 0 && prng_below(&cluster->prng, 3) == 0) {
        cluster_compact(cluster, (uint32_t)prng_below(&cluster->prng, cluster->node_count));
    }
    if (cluster->seed % 3 == 1 && leader != cluster->node_count &&
        prng_below(&cluster->prng, 3) == 0) {
        cluster_compact(cluster, leader);
        cluster_send_snapshot(cluster, leader);
    }
}

static void run_clients(struct cluster *cluster)
{
    uint64_t count = prng_below(&cluster->prng, 10);

    for (uint64_t i = 0; i < count; i++) {
        uint32_t at = (uint32_t)prng_below(&cluster->prng, cluster->node_count);
        uint32_t leader = cluster_leader(cluster);
        raft_index index = 0;
        if (leader != cluster->node_count && prng_below(&cluster->prng, 4) != 0) {
            at = leader;
        }
        if (prng_below(&cluster->prng, 2) == 0) {
            (void)!cluster_propose(cluster, at, (uint32_t)prng_below(&cluster->prng, 100), &index);
        } else {
            (void)!cluster_read(cluster, at);
        }
    }
}

static bool has_quorum(struct cluster *cluster, const struct raft_configuration *configuration,
                       uint32_t healthy, enum raft_part part)
{
    uint32_t count = 0;
    uint32_t present = 0;

    for (uint32_t i = 0; i < configuration->member_count; i++) {
        const struct raft_member *member = &configuration->members[i];
        if ((member->parts & part) == 0) {
            continue;
        }
        const struct cluster_node *node = cluster_find(cluster, member->id);
        count += 1;
        present += node != NULL && (healthy >> (node - cluster->nodes) & 1) != 0;
    }
    return count == 0 || 2 * present > count;
}

/* A learner that is about to become a voter can make a majority of one that needs it. */
static bool has_promoted(struct cluster *cluster, const struct raft_configuration *configuration,
                         uint32_t healthy)
{
    for (uint32_t i = 0; i < configuration->member_count; i++) {
        const struct raft_member *member = &configuration->members[i];
        const struct cluster_node *node = cluster_find(cluster, member->id);
        bool is_healthy = node != NULL && (healthy >> (node - cluster->nodes) & 1) != 0;
        if (member->is_promoted && !is_healthy) {
            return false;
        }
    }
    return true;
}

/* Can these go on alone, whichever of the present configurations turns out to count? */
static bool can_go_on(struct cluster *cluster, uint32_t healthy)
{
    for (uint32_t i = 0; i < cluster->node_count; i++) {
        const struct raft_configuration *one = raft_configuration(cluster->nodes[i].raft);
        if (!has_quorum(cluster, one, healthy, RAFT_PART_VOTER) ||
            !has_quorum(cluster, one, healthy, RAFT_PART_OUTGOING) ||
            !has_promoted(cluster, one, healthy)) {
            return false;
        }
    }
    return true;
}

/* All are healed but some that the others can do without: these stay crashed, dumb or deaf for
 * ever. Those that are deaf go on asking for votes: they must not disturb the others. Returns the
 * mask of the healthy. */
static uint32_t heal_quorum(struct cluster *cluster)
{
    uint32_t count = cluster->node_count;
    uint64_t kind = prng_below(&cluster->prng, 3);
    uint32_t all = (1U << count) - 1;

    cluster_heal(cluster);
    cluster_run(cluster, cluster->now_ms + STEP_MS);
    uint32_t healthy = (uint32_t)prng_below(&cluster->prng, all) + 1;
    healthy |= (uint32_t)prng_below(&cluster->prng, all) + 1;
    if (!can_go_on(cluster, healthy)) {
        healthy = all;
    }
    for (uint32_t at = 0; at < count; at++) {
        if ((healthy >> at & 1) != 0) {
            continue;
        }
        if (kind == 0) {
            cluster_crash(cluster, at, UINT64_MAX);
            cluster->nodes[at].up_ms = UINT64_MAX;
        }
        for (uint32_t other = 0; other < count; other++) {
            cluster->faults.cut[at][other] = kind == 1;
            cluster->faults.cut[other][at] = kind == 2;
        }
    }
    return healthy;
}

static bool everybody_has(struct cluster *cluster, uint32_t leader, uint32_t healthy,
                          raft_index index)
{
    const struct raft_configuration *configuration =
        raft_configuration(cluster->nodes[leader].raft);

    if (raft_configuration_is_joint(configuration)) {
        return false;
    }
    for (uint32_t i = 0; i < cluster->node_count; i++) {
        const struct cluster_node *node = &cluster->nodes[i];
        if ((healthy >> i & 1) != 0 && node->commit_index < index &&
            raft_configuration_find(configuration, node->id) != NULL) {
            return false;
        }
    }
    return true;
}

/* After healing: a leader, a commit that reaches all healthy members, changes of members that come
 * to their end, and a read. */
static void demand_progress(struct cluster *cluster, uint32_t healthy)
{
    uint64_t limit_ms = cluster->now_ms + LIVENESS_MS;
    raft_index index = 0;
    raft_term term = 0;
    uint64_t reads_ok = cluster->counters.reads_ok;
    bool is_done = false;

    while (!is_done && cluster->now_ms < limit_ms) {
        cluster_run(cluster, cluster->now_ms + STEP_MS);
        uint32_t leader = cluster_leader(cluster);
        if (leader == cluster->node_count) {
            continue;
        }
        if (index == 0 || term != cluster->nodes[leader].term) {
            term = cluster->nodes[leader].term;
            if (cluster_propose(cluster, leader, 10, &index) != ERR_OK) {
                index = 0;
            }
        }
        if (cluster_read(cluster, leader) != ERR_OK) {
            continue;
        }
        is_done = index != 0 && cluster->counters.reads_ok > reads_ok &&
                  everybody_has(cluster, leader, healthy, index);
    }
    ASSERT_VALUES(is_done, cluster->seed, index);
}

static void run_seed(struct cluster *cluster, uint64_t seed)
{
    memset(cluster, 0, sizeof(*cluster));
    struct prng prng;
    prng_init(&prng, seed);
    uint32_t voter_count = 1 + (uint32_t)prng_below(&prng, CLUSTER_VOTER_MAX);
    cluster_open(cluster, voter_count, (uint32_t)prng_below(&prng, 3), seed);
    for (uint32_t step = 0; step < FAULT_STEPS; step++) {
        inject_fault(cluster);
        run_operator(cluster);
        run_clients(cluster);
        cluster_run(cluster, cluster->now_ms + prng_below(&cluster->prng, 2ULL * STEP_MS));
    }
    demand_progress(cluster, heal_quorum(cluster));
    cluster_close(cluster);
}

static void add_counters(struct cluster_counters *sum, const struct cluster_counters *one)
{
    sum->events += one->events;
    sum->elections += one->elections;
    sum->commits += one->commits;
    sum->reads_ok += one->reads_ok;
    sum->reads_failed += one->reads_failed;
    sum->fetches += one->fetches;
    sum->crashes += one->crashes;
    sum->truncations += one->truncations;
    sum->changes += one->changes;
    sum->joint += one->joint;
    sum->removals += one->removals;
    sum->compactions += one->compactions;
    sum->snapshots += one->snapshots;
    sum->tails_kept += one->tails_kept;
    sum->transfers += one->transfers;
    sum->stalls += one->stalls;
    sum->lease_reads += one->lease_reads;
}

static void safety_and_liveness_hold_under_random_faults(void **state)
{
    uint64_t count = number_of("RAFT_SEEDS", SEEDS_DEFAULT);
    uint64_t first = number_of("RAFT_SEED", 0);
    struct cluster *cluster = calloc(1, sizeof(*cluster));
    struct cluster_counters sum = {0};

    (void)state;
    if (getenv("RAFT_SEED") != NULL) {
        count = getenv("RAFT_SEEDS") == NULL ? 1 : count;
    }
    assert_non_null(cluster);
    for (uint64_t seed = first; seed < first + count; seed++) {
        printf("RAFT_SEED=%llu\r", (unsigned long long)seed);
        (void)fflush(stdout); /* An assertion aborts: the seed must be out by then. */
        run_seed(cluster, seed);
        add_counters(&sum, &cluster->counters);
    }
    free(cluster);
    printf("%llu seeds: %llu events, %llu elections, %llu commits, %llu reads, %llu failed reads, "
           "%llu fetches, %llu crashes, %llu truncations, %llu changes, %llu joint, "
           "%llu removals, %llu compactions, %llu snapshots, %llu tails kept, %llu transfers, "
           "%llu stalls, %llu lease reads\n",
           (unsigned long long)count, (unsigned long long)sum.events,
           (unsigned long long)sum.elections, (unsigned long long)sum.commits,
           (unsigned long long)sum.reads_ok, (unsigned long long)sum.reads_failed,
           (unsigned long long)sum.fetches, (unsigned long long)sum.crashes,
           (unsigned long long)sum.truncations, (unsigned long long)sum.changes,
           (unsigned long long)sum.joint, (unsigned long long)sum.removals,
           (unsigned long long)sum.compactions, (unsigned long long)sum.snapshots,
           (unsigned long long)sum.tails_kept, (unsigned long long)sum.transfers,
           (unsigned long long)sum.stalls, (unsigned long long)sum.lease_reads);

    /* The run must have met what it is meant to test. */
    assert_true(sum.commits > count);
    if (count >= 100) {
        assert_true(sum.fetches > 0);
        assert_true(sum.truncations > 0);
        assert_true(sum.reads_ok > 0);
        assert_true(sum.reads_failed > 0);
        assert_true(sum.crashes > 0);
    }
    if (count >= SEEDS_DEFAULT) {
        assert_true(sum.joint > 0);
        assert_true(sum.removals > 0);
        assert_true(sum.snapshots > 0);
        assert_true(sum.tails_kept > 0);
        assert_true(sum.transfers > 0);
        assert_true(sum.stalls > 0);
        assert_true(sum.lease_reads > 0);
    }
}

static void same_seed_gives_same_run(void **state)
{
    struct cluster *cluster = calloc(1, sizeof(*cluster));
    struct cluster_counters first;

    (void)state;
    assert_non_null(cluster);
    run_seed(cluster, 7);
    first = cluster->counters;
    uint64_t chain = cluster->committed[cluster->commit_index];
    run_seed(cluster, 7);

    assert_memory_equal(&first, &cluster->counters, sizeof(first));
    assert_true(chain == cluster->committed[cluster->commit_index]);
    free(cluster);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_seed_gives_same_run),
        cmocka_unit_test(safety_and_liveness_hold_under_random_faults),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
