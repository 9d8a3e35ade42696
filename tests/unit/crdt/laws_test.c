/* tests/unit/crdt/laws_test.c: the join is idempotent, commutative, associative and monotone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/prng.h"
#include "tests/support/crdt/cluster.h"

enum { SEED_COUNT = 1500, IDENTITY_COUNT = 4 };

/* Each node has counted for itself: three states that nobody has joined yet. */
static void count_at_random(struct cluster *cluster, struct prng *prng)
{
    uint64_t add_count = prng_below(prng, 30);

    for (uint64_t i = 0; i < add_count; i++) {
        struct cluster_node *node = &cluster->nodes[prng_below(prng, CLUSTER_NODE_COUNT)];
        uint32_t counter = (uint32_t)prng_below(prng, CLUSTER_COUNTER_COUNT);
        uint32_t record_count;

        assert_int_equal(cluster_add(node, cluster_identity(1, prng_below(prng, IDENTITY_COUNT)),
                                     cluster_counter(counter), prng_between(prng, 1, 100),
                                     &record_count),
                         ERR_OK);
        cluster_sync(node);
    }
}

/* The three states joined in any order, with repetitions: each gets everything in the end. */
static void join_at_random(struct cluster *cluster, struct prng *prng)
{
    for (uint32_t i = 0; i < 20; i++) {
        uint64_t source = prng_below(prng, CLUSTER_NODE_COUNT);
        uint64_t target = prng_below(prng, CLUSTER_NODE_COUNT);

        if (source != target) {
            cluster_gossip(&cluster->nodes[source], &cluster->nodes[target]);
        }
    }
    for (uint32_t i = 0; i < CLUSTER_NODE_COUNT; i++) {
        for (uint32_t j = 0; j < CLUSTER_NODE_COUNT; j++) {
            if (i != j) {
                cluster_gossip(&cluster->nodes[i], &cluster->nodes[j]);
            }
        }
    }
}

static void assert_equal_states(struct cluster *cluster)
{
    struct crdt_mark marks[CRDT_CARRIER_COUNT_MAX];
    struct crdt *first = cluster->nodes[0].crdt;
    uint32_t count = crdt_digest(first, marks);

    for (uint32_t i = 1; i < CLUSTER_NODE_COUNT; i++) {
        assert_true(crdt_covers(cluster->nodes[i].crdt, marks, count));
        for (uint32_t j = 0; j < count; j++) {
            assert_int_equal(crdt_carrier_hash(cluster->nodes[i].crdt, marks[j].carrier),
                             crdt_carrier_hash(first, marks[j].carrier));
        }
        for (uint32_t j = 0; j < CLUSTER_COUNTER_COUNT; j++) {
            assert_int_equal(cluster_value(&cluster->nodes[i], j),
                             cluster_value(&cluster->nodes[0], j));
        }
    }
}

static void any_order_of_joins_gives_the_same_state(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEED_COUNT; seed++) {
        struct cluster cluster;
        struct prng prng;

        prng_init(&prng, seed);
        cluster_open(&cluster);
        count_at_random(&cluster, &prng);

        join_at_random(&cluster, &prng);

        assert_equal_states(&cluster);
        crdt_check(cluster.nodes[seed % CLUSTER_NODE_COUNT].crdt);
        cluster_close(&cluster);
    }
}

static void the_joined_total_is_the_maximum_not_the_sum(void **state)
{
    struct crdt_identity identity = cluster_identity(1, 7);
    struct crdt_counter counter = cluster_counter(0);
    struct cluster cluster;
    uint32_t record_count;

    (void)state;
    cluster_open(&cluster);
    assert_int_equal(cluster_add(&cluster.nodes[0], identity, counter, 5, &record_count), ERR_OK);
    assert_int_equal(cluster_add(&cluster.nodes[1], identity, counter, 5, &record_count), ERR_OK);
    assert_int_equal(cluster_add(&cluster.nodes[2], identity, counter, 8, &record_count), ERR_OK);

    cluster_settle(&cluster);

    for (uint32_t i = 0; i < CLUSTER_NODE_COUNT; i++) {
        assert_int_equal(cluster_value(&cluster.nodes[i], 0), 8);
    }
    cluster_close(&cluster);
}

static void a_join_again_changes_nothing(void **state)
{
    struct cluster cluster;
    struct crdt_delta delta;
    uint32_t record_count;
    struct crdt_mark mark[CRDT_CARRIER_COUNT_MAX];

    (void)state;
    cluster_open(&cluster);
    assert_int_equal(cluster_add(&cluster.nodes[0], cluster_identity(1, 1), cluster_counter(0), 5,
                                 &record_count),
                     ERR_OK);
    cluster_sync(&cluster.nodes[0]);
    assert_int_equal(crdt_digest(cluster.nodes[0].crdt, mark), 1);
    assert_true(crdt_delta_since(cluster.nodes[0].crdt, mark[0].carrier, 0, &delta));
    assert_int_equal(crdt_delta_apply(cluster.nodes[1].crdt, &delta), ERR_OK);
    uint64_t hash = table_hash(cluster.nodes[1].store);

    assert_int_equal(crdt_delta_apply(cluster.nodes[1].crdt, &delta), ERR_OK);

    assert_int_equal(table_hash(cluster.nodes[1].store), hash);
    cluster_close(&cluster);
}

static void a_value_never_falls_by_a_join(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEED_COUNT / 4; seed++) {
        struct cluster cluster;
        struct prng prng;
        uint64_t before[CLUSTER_COUNTER_COUNT];

        prng_init(&prng, seed);
        cluster_open(&cluster);
        count_at_random(&cluster, &prng);
        for (uint32_t i = 0; i < CLUSTER_COUNTER_COUNT; i++) {
            before[i] = cluster_value(&cluster.nodes[0], i);
        }

        cluster_gossip(&cluster.nodes[1], &cluster.nodes[0]);

        for (uint32_t i = 0; i < CLUSTER_COUNTER_COUNT; i++) {
            assert_true(cluster_value(&cluster.nodes[0], i) >= before[i]);
        }
        cluster_close(&cluster);
    }
}

static void a_value_is_what_was_put_in_minus_what_was_taken_out(void **state)
{
    struct cluster cluster;
    struct cluster_node *node = &cluster.nodes[0];
    struct crdt_value value;
    uint32_t record_count;

    (void)state;
    cluster_open(&cluster);
    assert_int_equal(
        cluster_add(node, cluster_identity(1, 1), cluster_counter(0), 5, &record_count), ERR_OK);
    assert_int_equal(
        cluster_add(node, cluster_identity(1, 1), cluster_counter(1), 7, &record_count), ERR_OK);
    cluster_sync(node);

    assert_int_equal(crdt_value(node->crdt, bytes_of_text("a"), &value), ERR_OK);

    assert_true(value.is_negative);
    assert_int_equal(value.magnitude, 2);
    assert_int_equal(crdt_value(node->crdt, bytes_of_text("nobody used it"), &value), ERR_OK);
    assert_int_equal(value.magnitude, 0);
    assert_int_equal(crdt_value(node->crdt, bytes_of_text(""), &value), ERR_INVALID);
    cluster_close(&cluster);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_order_of_joins_gives_the_same_state),
        cmocka_unit_test(the_joined_total_is_the_maximum_not_the_sum),
        cmocka_unit_test(a_join_again_changes_nothing),
        cmocka_unit_test(a_value_never_falls_by_a_join),
        cmocka_unit_test(a_value_is_what_was_put_in_minus_what_was_taken_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
