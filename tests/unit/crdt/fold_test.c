/* tests/unit/crdt/fold_test.c: sealing, confirming, folding and the floor, step by step. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/base/memory_table.h"
#include "tests/support/crdt/cluster.h"

static void add(struct cluster_node *node, uint64_t generation, uint64_t number, uint64_t total)
{
    uint32_t record_count;

    assert_int_equal(cluster_add(node, cluster_identity(generation, number), cluster_counter(0),
                                 total, &record_count),
                     ERR_OK);
    cluster_sync(node);
}

static void seal_identity(struct cluster *cluster, uint64_t number)
{
    cluster_propose(cluster, &(struct command){.kind = COMMAND_SEAL_IDENTITY,
                                               .identity = cluster_identity(1, number)});
    cluster_apply_all(cluster);
}

static void a_sealed_identity_counts_no_more_but_its_old_totals_stand(void **state)
{
    struct cluster cluster;
    uint32_t record_count;

    (void)state;
    cluster_open(&cluster);
    add(&cluster.nodes[0], 1, 1, 5);
    seal_identity(&cluster, 1);

    assert_int_equal(cluster_add(&cluster.nodes[0], cluster_identity(1, 1), cluster_counter(0), 6,
                                 &record_count),
                     ERR_FENCED);
    assert_int_equal(cluster_add(&cluster.nodes[0], cluster_identity(1, 1), cluster_counter(0), 5,
                                 &record_count),
                     ERR_OK);
    cluster_close(&cluster);
}

static void nothing_is_folded_before_every_carrier_has_confirmed(void **state)
{
    struct ledger_fold fold;
    struct cluster cluster;

    (void)state;
    cluster_open(&cluster);
    add(&cluster.nodes[2], 1, 1, 5);
    seal_identity(&cluster, 1);
    cluster_turn(&cluster, &cluster.nodes[0]);
    cluster_turn(&cluster, &cluster.nodes[1]);
    cluster_apply_all(&cluster);
    assert_false(crdt_fold_next(cluster.nodes[0].crdt, &fold));
    cluster_turn(&cluster, &cluster.nodes[2]);
    cluster_apply_all(&cluster);
    /* Confirmed, but this node does not hold what was confirmed. */
    assert_false(crdt_fold_next(cluster.nodes[0].crdt, &fold));

    cluster_gossip(&cluster.nodes[2], &cluster.nodes[0]);

    assert_true(crdt_fold_next(cluster.nodes[0].crdt, &fold));
    assert_int_equal(fold.count, 1);
    assert_int_equal(fold.totals[0].total, 5);
    assert_true(fold.is_last);
    cluster_close(&cluster);
}

/* The piece was made before a carrier was lost that held more. */
static void a_piece_from_before_a_loss_is_refused(void **state)
{
    struct command fold = {.kind = COMMAND_FOLD};
    struct command lose = {.kind = COMMAND_LOSE, .carrier = {.node = 3, .epoch = 3}};
    struct cluster cluster;

    (void)state;
    cluster_open(&cluster);
    add(&cluster.nodes[0], 1, 1, 5);
    seal_identity(&cluster, 1);
    for (uint32_t i = 0; i < CLUSTER_NODE_COUNT; i++) {
        cluster_turn(&cluster, &cluster.nodes[i]);
    }
    cluster_apply_all(&cluster);
    assert_true(crdt_fold_next(cluster.nodes[0].crdt, &fold.fold));
    fold.fold.totals[0].counter = cluster_counter(0); /* What it borrowed is gone in a moment. */
    cluster_propose(&cluster, &lose);
    cluster_apply_all(&cluster);
    cluster_turn(&cluster, &cluster.nodes[0]);
    cluster_turn(&cluster, &cluster.nodes[1]);
    cluster_apply_all(&cluster);

    assert_int_equal(ledger_fold(cluster.nodes[1].ledger, &fold.fold), ERR_REFUSED);
    fold.fold.lost_index = cluster.nodes[1].applied - 2;
    assert_int_equal(ledger_fold(cluster.nodes[1].ledger, &fold.fold), ERR_OK);
    cluster_close(&cluster);
}

/* Two leaders may propose the same. */
static void a_piece_again_changes_nothing_and_another_total_is_refused(void **state)
{
    struct ledger_fold fold;
    struct cluster cluster;
    struct table *ledger;

    (void)state;
    cluster_open(&cluster);
    ledger = cluster.nodes[0].ledger;
    add(&cluster.nodes[0], 1, 1, 5);
    seal_identity(&cluster, 1);
    for (uint32_t i = 0; i < CLUSTER_NODE_COUNT; i++) {
        cluster_turn(&cluster, &cluster.nodes[i]);
    }
    cluster_apply_all(&cluster);
    assert_true(crdt_fold_next(cluster.nodes[0].crdt, &fold));
    fold.totals[0].counter = cluster_counter(0);
    fold.is_last = false;
    assert_int_equal(ledger_fold(ledger, &fold), ERR_OK);

    assert_int_equal(ledger_fold(ledger, &fold), ERR_OK);

    assert_int_equal(ledger_base(ledger, cluster_counter(0)).low, 5);
    fold.totals[0].total = 6;
    assert_int_equal(ledger_fold(ledger, &fold), ERR_MISMATCH);
    cluster_close(&cluster);
}

/* Only the second node has what the lost carrier took. */
static void a_loss_is_confirmed_only_when_what_is_held_of_it_is_adopted(void **state)
{
    struct command lose = {.kind = COMMAND_LOSE, .carrier = {.node = 3, .epoch = 3}};
    struct crdt_carrier carrier;
    struct cluster cluster;
    uint64_t version;
    uint64_t index;

    (void)state;
    cluster_open(&cluster);
    add(&cluster.nodes[2], 1, 1, 5);
    cluster_gossip(&cluster.nodes[2], &cluster.nodes[1]);
    seal_identity(&cluster, 1);
    cluster_propose(&cluster, &lose);
    cluster_apply_all(&cluster);

    assert_true(crdt_confirm_next(cluster.nodes[0].crdt, &carrier, &index, &version));
    assert_false(crdt_confirm_next(cluster.nodes[1].crdt, &carrier, &index, &version));
    cluster_settle(&cluster);

    for (uint32_t i = 0; i < CLUSTER_NODE_COUNT; i++) {
        assert_int_equal(ledger_base(cluster.nodes[i].ledger, cluster_counter(0)).low, 5);
        assert_int_equal(cluster_value(&cluster.nodes[i], 0), 5);
        crdt_check(cluster.nodes[i].crdt);
    }
    cluster_close(&cluster);
}

static void a_fold_moves_the_total_and_leaves_a_tombstone(void **state)
{
    struct cluster cluster;
    uint64_t total = 0;

    (void)state;
    cluster_open(&cluster);
    add(&cluster.nodes[0], 1, 1, 5);
    add(&cluster.nodes[1], 1, 2, 7);
    seal_identity(&cluster, 1);

    cluster_settle(&cluster);

    for (uint32_t i = 0; i < CLUSTER_NODE_COUNT; i++) {
        struct cluster_node *node = &cluster.nodes[i];

        assert_int_equal(cluster_value(node, 0), 12);
        assert_int_equal(ledger_base(node->ledger, cluster_counter(0)).low, 5);
        assert_true(ledger_final(node->ledger,
                                 &(struct crdt_identity){.generation = 1, .random = {1}},
                                 cluster_counter(0), &total));
        assert_int_equal(total, 5);
        assert_int_equal(node->late_count, 0);
        crdt_check(node->crdt);
    }
    cluster_close(&cluster);
}

/* More totals than one piece takes; after the floor nothing of them is left but the base. */
static void a_folded_generation_leaves_only_the_base(void **state)
{
    enum { COUNT = 3 * CRDT_FOLD_COUNT_MAX + 5 };
    struct cluster cluster;
    uint32_t record_count;

    (void)state;
    cluster_open(&cluster);
    for (uint64_t i = 0; i < COUNT; i++) {
        add(&cluster.nodes[i % CLUSTER_NODE_COUNT], 1, i, i + 1);
    }
    seal_identity(&cluster, 0);
    cluster_propose(&cluster, &(struct command){.kind = COMMAND_ADVANCE});
    cluster_propose(&cluster, &(struct command){.kind = COMMAND_SEAL_GENERATIONS, .number = 2});
    cluster_apply_all(&cluster);
    cluster_settle(&cluster);

    for (uint32_t i = 0; i < CLUSTER_NODE_COUNT; i++) {
        struct cluster_node *node = &cluster.nodes[i];

        assert_int_equal(cluster_value(node, 0), COUNT * (COUNT + 1) / 2);
        assert_int_equal(
            cluster_add(node, cluster_identity(1, 1), cluster_counter(0), 1000, &record_count),
            ERR_STALE);
        while (ledger_sweep(node->ledger)) {
        }
        crdt_check(node->crdt);
        /* Its meta, three carriers and one base; and its meta and three lines of digest. */
        assert_int_equal(memory_table_count(node->ledger), 5);
        assert_int_equal(memory_table_count(node->store), 4);
    }
    cluster_close(&cluster);
}

static void a_node_that_confirmed_does_not_count_under_an_older_ledger(void **state)
{
    struct cluster cluster;
    struct cluster_node *node = &cluster.nodes[0];

    (void)state;
    cluster_open(&cluster);
    seal_identity(&cluster, 1);
    cluster_turn(&cluster, node);
    cluster_restart(node, false);
    assert_true(node->is_idle);
    for (uint32_t i = 0; i < CLUSTER_NODE_COUNT; i++) {
        assert_true(cluster_apply_one(&cluster, node));
    }

    assert_int_equal(cluster_begin(node), ERR_STALE);

    assert_true(cluster_apply_one(&cluster, node));
    assert_int_equal(cluster_begin(node), ERR_OK);
    cluster_close(&cluster);
}

static void a_digest_does_not_grow_with_the_number_of_counters(void **state)
{
    struct crdt_mark marks[CRDT_CARRIER_COUNT_MAX];
    struct cluster cluster;

    (void)state;
    cluster_open(&cluster);
    for (uint64_t i = 0; i < 1000; i++) {
        add(&cluster.nodes[0], 1, i, 1);
    }

    assert_int_equal(crdt_digest(cluster.nodes[0].crdt, marks), 1);
    assert_int_equal(marks[0].version, 1000);
    cluster_close(&cluster);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sealed_identity_counts_no_more_but_its_old_totals_stand),
        cmocka_unit_test(nothing_is_folded_before_every_carrier_has_confirmed),
        cmocka_unit_test(a_piece_from_before_a_loss_is_refused),
        cmocka_unit_test(a_piece_again_changes_nothing_and_another_total_is_refused),
        cmocka_unit_test(a_loss_is_confirmed_only_when_what_is_held_of_it_is_adopted),
        cmocka_unit_test(a_fold_moves_the_total_and_leaves_a_tombstone),
        cmocka_unit_test(a_folded_generation_leaves_only_the_base),
        cmocka_unit_test(a_node_that_confirmed_does_not_count_under_an_older_ledger),
        cmocka_unit_test(a_digest_does_not_grow_with_the_number_of_counters),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
