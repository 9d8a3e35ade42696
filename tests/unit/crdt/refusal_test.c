/* tests/unit/crdt/refusal_test.c: what is refused, and that a refusal changes nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/support/base/memory_table.h"
#include "tests/support/crdt/cluster.h"

static struct crdt_identity identity_of(uint64_t number)
{
    return cluster_identity(1, number);
}

/* One update of node 1, as a delta for the others. */
static void delta_of_first(struct cluster *cluster, uint64_t total, struct crdt_delta *delta)
{
    struct crdt_mark marks[CRDT_CARRIER_COUNT_MAX];
    struct cluster_node *node = &cluster->nodes[0];
    uint32_t record_count;

    assert_int_equal(cluster_add(node, identity_of(1), cluster_counter(0), total, &record_count),
                     ERR_OK);
    cluster_sync(node);
    assert_int_equal(crdt_digest(node->crdt, marks), 1);
    assert_true(crdt_delta_since(node->crdt, marks[0].carrier, 0, delta));
}

static void a_sum_beyond_64_bits_is_refused_exactly(void **state)
{
    struct crdt_counter counter = cluster_counter(0);
    struct cluster cluster;
    struct cluster_node *node = &cluster.nodes[0];
    uint32_t record_count;

    (void)state;
    cluster_open(&cluster);
    assert_int_equal(cluster_add(node, identity_of(1), counter, UINT64_MAX - 10, &record_count),
                     ERR_OK);
    /* It might still come to nothing: the answer waits for it. */
    assert_int_equal(cluster_add(node, identity_of(2), counter, 11, &record_count), ERR_OVERLOADED);
    cluster_sync(node);

    assert_int_equal(cluster_add(node, identity_of(2), counter, 11, &record_count), ERR_TOO_LARGE);
    assert_int_equal(cluster_add(node, identity_of(2), counter, 10, &record_count), ERR_OK);
    cluster_sync(node);
    assert_int_equal(cluster_add(node, identity_of(3), counter, 1, &record_count), ERR_TOO_LARGE);
    assert_true(cluster_value(node, 0) == UINT64_MAX);
    /* The other side has room of its own. */
    assert_int_equal(cluster_add(node, identity_of(3), cluster_counter(1), 1, &record_count),
                     ERR_OK);
    cluster_close(&cluster);
}

static void a_value_that_two_partitions_made_too_large_is_told_not_wrapped(void **state)
{
    struct crdt_counter counter = cluster_counter(0);
    struct cluster cluster;
    struct crdt_value value;
    uint32_t record_count;

    (void)state;
    cluster_open(&cluster);
    assert_int_equal(
        cluster_add(&cluster.nodes[0], identity_of(1), counter, UINT64_MAX, &record_count), ERR_OK);
    assert_int_equal(cluster_add(&cluster.nodes[1], identity_of(2), counter, 3, &record_count),
                     ERR_OK);
    cluster_settle(&cluster);

    assert_int_equal(crdt_value(cluster.nodes[2].crdt, counter.name, &value), ERR_TOO_LARGE);
    struct crdt_sum sum = crdt_count(cluster.nodes[2].crdt, counter);

    assert_int_equal(sum.high, 1);
    assert_int_equal(sum.low, 2);
    cluster_close(&cluster);
}

static void a_total_without_number_name_or_generation_is_refused(void **state)
{
    static const char long_name[CRDT_NAME_SIZE_MAX + 1];
    struct crdt_counter counter = cluster_counter(0);
    struct crdt_counter nameless = {.side = CRDT_PLUS, .name = bytes_of_text("")};
    struct crdt_counter endless = {.side = CRDT_PLUS,
                                   .name = bytes_of(long_name, sizeof(long_name))};
    struct cluster cluster;
    struct cluster_node *node = &cluster.nodes[0];
    uint32_t record_count;

    (void)state;
    cluster_open(&cluster);
    assert_int_equal(cluster_add(node, identity_of(1), counter, 0, &record_count), ERR_INVALID);
    assert_int_equal(cluster_add(node, cluster_identity(0, 1), counter, 1, &record_count),
                     ERR_INVALID);
    assert_int_equal(cluster_add(node, identity_of(1), nameless, 1, &record_count), ERR_INVALID);
    assert_int_equal(cluster_add(node, identity_of(1), endless, 1, &record_count), ERR_INVALID);
    assert_int_equal(cluster_add(node, cluster_identity(2, 1), counter, 1, &record_count),
                     ERR_NOT_FOUND);
    cluster_close(&cluster);
}

static void a_bad_delta_is_refused_and_changes_nothing(void **state)
{
    struct cluster cluster;
    struct crdt *target = cluster.nodes[1].crdt;
    struct crdt_delta good;
    struct crdt_delta bad;

    (void)state;
    cluster_open(&cluster);
    target = cluster.nodes[1].crdt;
    delta_of_first(&cluster, 5, &good);
    uint64_t hash = table_hash(cluster.nodes[1].store);

    bad = good;
    bad.up_to = bad.after;
    assert_int_equal(crdt_delta_apply(target, &bad), ERR_INVALID);
    bad = good;
    bad.count = CRDT_DELTA_COUNT_MAX + 1;
    assert_int_equal(crdt_delta_apply(target, &bad), ERR_INVALID);
    bad = good;
    bad.updates[0].version = bad.up_to + 1;
    assert_int_equal(crdt_delta_apply(target, &bad), ERR_INVALID);
    bad = good;
    bad.updates[1] = bad.updates[0];
    bad.count = 2;
    assert_int_equal(crdt_delta_apply(target, &bad), ERR_INVALID);
    bad = good;
    bad.updates[0].total.total = 0;
    assert_int_equal(crdt_delta_apply(target, &bad), ERR_INVALID);
    bad = good;
    bad.carrier.epoch = 1000;
    assert_int_equal(crdt_delta_apply(target, &bad), ERR_NOT_FOUND);
    bad = good;
    bad.after = 1;
    bad.up_to = 2;
    bad.updates[0].version = 2;
    assert_int_equal(crdt_delta_apply(target, &bad), ERR_SEQUENCE_GAP);

    assert_int_equal(table_hash(cluster.nodes[1].store), hash);
    assert_int_equal(crdt_delta_apply(target, &good), ERR_OK);
    good.updates[0].total.total++;
    assert_int_equal(crdt_delta_apply(target, &good), ERR_CORRUPT);
    cluster_close(&cluster);
}

static void a_delta_of_a_lost_carrier_is_refused(void **state)
{
    struct cluster cluster;
    struct crdt_delta delta;
    struct command lose = {.kind = COMMAND_LOSE};

    (void)state;
    cluster_open(&cluster);
    delta_of_first(&cluster, 5, &delta);
    lose.carrier = delta.carrier;
    cluster_propose(&cluster, &lose);
    cluster_apply_all(&cluster);

    assert_int_equal(crdt_delta_apply(cluster.nodes[1].crdt, &delta), ERR_STALE);
    cluster_close(&cluster);
}

/* Two disks that use one carrier: what a peer knows shows it, and counting stops for good. */
static void who_learns_that_its_carrier_went_further_stops_counting(void **state)
{
    struct crdt_mark marks[CRDT_CARRIER_COUNT_MAX];
    struct cluster cluster;
    struct cluster_node *node = &cluster.nodes[0];
    struct crdt_delta delta;
    uint32_t record_count;

    (void)state;
    cluster_open(&cluster);
    delta_of_first(&cluster, 5, &delta);
    cluster_gossip(node, &cluster.nodes[1]);
    uint32_t count = crdt_digest(cluster.nodes[1].crdt, marks);
    cluster_restore(node, 0);
    cluster_apply_all(&cluster);
    assert_int_equal(cluster_begin(node), ERR_OK);
    assert_int_equal(cluster_add(node, identity_of(9), cluster_counter(0), 7, &record_count),
                     ERR_OK);
    node->unsynced_count = 0;
    node->log_count = 0;

    assert_int_equal(crdt_lost_count(node->crdt, marks, count), 1);

    assert_int_equal(cluster_add(node, identity_of(9), cluster_counter(0), 8, &record_count),
                     ERR_NOT_FORMED);
    assert_int_equal(crdt_promise(node->crdt).disowned_epoch, marks[0].carrier.epoch);
    cluster_close(&cluster);
}

/* Both had used the same versions for different totals; none is lost. */
static void what_a_cloned_disk_counted_is_adopted(void **state)
{
    struct crdt_mark marks[CRDT_CARRIER_COUNT_MAX];
    struct cluster cluster;
    struct cluster_node *node = &cluster.nodes[0];
    struct crdt_delta delta;
    uint32_t record_count;

    (void)state;
    cluster_open(&cluster);
    delta_of_first(&cluster, 5, &delta);
    cluster_gossip(node, &cluster.nodes[1]);
    cluster_restore(node, 0);
    cluster_apply_all(&cluster);
    assert_int_equal(cluster_begin(node), ERR_OK);
    assert_int_equal(cluster_add(node, identity_of(9), cluster_counter(0), 7, &record_count),
                     ERR_OK);
    cluster_sync(node);
    cluster_gossip(node, &cluster.nodes[2]);
    assert_int_equal(crdt_digest(cluster.nodes[1].crdt, marks), 1);
    assert_true(crdt_delta_since(cluster.nodes[1].crdt, marks[0].carrier, 0, &delta));
    assert_int_equal(crdt_delta_apply(node->crdt, &delta), ERR_CORRUPT);

    cluster_propose(&cluster, &(struct command){.kind = COMMAND_REGISTER, .number = 1});
    cluster_apply_all(&cluster);
    assert_int_equal(cluster_begin(node), ERR_OK);
    cluster_settle(&cluster);

    for (uint32_t i = 0; i < CLUSTER_NODE_COUNT; i++) {
        assert_int_equal(cluster_value(&cluster.nodes[i], 0), 12);
        crdt_check(cluster.nodes[i].crdt);
    }
    cluster_close(&cluster);
}

static void limits_refuse_new_ones_and_let_old_ones_count(void **state)
{
    const struct crdt_options options = {.node = 1,
                                         .pending_count_max = 2,
                                         .identity_count_max = 1,
                                         .entry_count_max = 3,
                                         .counter_count_max = 2};
    size_t size = size_round_up(crdt_memory_size(&options), ARENA_ALIGNMENT);
    void *memory = aligned_alloc(ARENA_ALIGNMENT, size);
    struct table *store = memory_table_open();
    struct table *ledger = memory_table_open();
    struct crdt_counter third = {.side = CRDT_PLUS, .name = bytes_of_text("third")};
    struct arena arena;

    (void)state;
    arena_init(&arena, memory, size);
    struct cluster_node node = {.id = 1, .store = store, .ledger = ledger};

    assert_int_equal(ledger_carrier_register(ledger, 1, 1), ERR_OK);
    node.crdt = crdt_open(&arena, &options, store, ledger);
    assert_int_equal(cluster_begin(&node), ERR_OK);
    uint32_t record_count;

    assert_int_equal(cluster_add(&node, identity_of(1), cluster_counter(0), 1, &record_count),
                     ERR_OK);
    cluster_sync(&node);
    assert_int_equal(cluster_add(&node, identity_of(2), cluster_counter(0), 1, &record_count),
                     ERR_OVERLOADED);
    assert_int_equal(cluster_add(&node, identity_of(1), cluster_counter(0), 2, &record_count),
                     ERR_OK);
    assert_int_equal(cluster_add(&node, identity_of(1), cluster_counter(0), 3, &record_count),
                     ERR_OK);
    assert_int_equal(cluster_add(&node, identity_of(1), cluster_counter(0), 4, &record_count),
                     ERR_OVERLOADED);
    cluster_sync(&node);
    assert_int_equal(cluster_add(&node, identity_of(1), cluster_counter(1), 1, &record_count),
                     ERR_OK);
    cluster_sync(&node);
    assert_int_equal(cluster_add(&node, identity_of(1), third, 1, &record_count), ERR_FULL);
    crdt_check(node.crdt);
    memory_table_close(store);
    memory_table_close(ledger);
    free(memory);
    free(node.log);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sum_beyond_64_bits_is_refused_exactly),
        cmocka_unit_test(a_value_that_two_partitions_made_too_large_is_told_not_wrapped),
        cmocka_unit_test(a_total_without_number_name_or_generation_is_refused),
        cmocka_unit_test(a_bad_delta_is_refused_and_changes_nothing),
        cmocka_unit_test(a_delta_of_a_lost_carrier_is_refused),
        cmocka_unit_test(who_learns_that_its_carrier_went_further_stops_counting),
        cmocka_unit_test(what_a_cloned_disk_counted_is_adopted),
        cmocka_unit_test(limits_refuse_new_ones_and_let_old_ones_count),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
