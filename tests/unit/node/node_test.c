/* Tests of node/node.c, node/turn.c: a whole cluster, through bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/bytes.h"
#include "tests/support/log/memory_disk.h"
#include "tests/support/node/fake_world.h"

static void values_are_put_and_got_through_bytes(void **state)
{
    struct fake_cluster *cluster = fake_cluster_open(3, 1);
    fake_start_all(cluster);
    uint32_t client = fake_client_open(cluster, fake_leader(cluster));

    enum error put = fake_outcome(cluster, client, fake_put(cluster, client, 0, 0, "a", "1"));
    const struct fake_message *got = fake_answer(cluster, client, fake_get(cluster, client, "a"));

    struct bytes body = got->body;
    struct wire_get_result result;
    assert_int_equal(put, ERR_OK);
    assert_false(got->failed);
    assert_int_equal(wire_get_result_decode(&body, &result), ERR_OK);
    assert_true(bytes_equal(result.value, bytes_of_text("1")));
    assert_int_not_equal(result.revision, 0);
    fake_cluster_close(cluster);
    (void)state;
}

static void a_restart_replays_what_was_acknowledged(void **state)
{
    struct fake_cluster *cluster = fake_cluster_open(3, 2);
    fake_start_all(cluster);
    uint32_t client = fake_client_open(cluster, fake_leader(cluster));
    for (uint32_t i = 0; i < 20; i++) {
        assert_int_equal(fake_outcome(cluster, client, fake_put(cluster, client, 0, 0, "a", "1")),
                         ERR_OK);
    }

    for (uint32_t i = 0; i < 3; i++) {
        fake_crash(cluster, i);
    }
    fake_start_all(cluster);
    uint32_t leader = fake_leader(cluster);
    client = fake_client_open(cluster, leader);
    enum error error = fake_outcome(cluster, client, fake_get(cluster, client, "a"));
    fake_run(cluster, 200);

    struct wire_status_result statuses[3];
    for (uint32_t i = 0; i < 3; i++) {
        statuses[i] = fake_status(cluster, i);
        assert_int_equal(statuses[i].applied, statuses[0].applied);
        assert_int_equal(statuses[i].state_hash, statuses[0].state_hash);
    }
    assert_int_equal(error, ERR_OK);
    fake_cluster_close(cluster);
    (void)state;
}

static void a_leader_that_stops_hands_over_at_once(void **state)
{
    struct fake_cluster *cluster = fake_cluster_open(3, 3);
    fake_start_all(cluster);
    uint32_t leader = fake_leader(cluster);
    uint64_t before_ms = cluster->now_ms;

    fake_stop(cluster, leader, 500);
    uint64_t stopped_ms = cluster->now_ms;
    fake_leader(cluster);

    assert_true(stopped_ms - before_ms < 100);
    assert_true(cluster->now_ms - stopped_ms < 200); /* Much less than an election timeout. */
    fake_cluster_close(cluster);
    (void)state;
}

static void a_stopped_node_goes_on_from_its_table(void **state)
{
    struct fake_cluster *cluster = fake_cluster_open(3, 4);
    fake_start_all(cluster);
    uint32_t leader = fake_leader(cluster);
    uint32_t other = (leader + 1) % 3;
    fake_run(cluster, 200);
    uint64_t applied = fake_status(cluster, other).applied;

    fake_stop(cluster, other, 1000);
    fake_start(cluster, other);

    assert_true(applied > 1);
    assert_true(fake_status(cluster, other).applied >= applied);
    fake_run(cluster, 300);
    assert_int_equal(fake_status(cluster, other).state_hash,
                     fake_status(cluster, leader).state_hash);
    fake_cluster_close(cluster);
    (void)state;
}

static void a_single_node_stops_too(void **state)
{
    struct fake_cluster *cluster = fake_cluster_open(1, 5);
    fake_start(cluster, 0);
    fake_leader(cluster);

    fake_stop(cluster, 0, 1000);
    fake_start(cluster, 0);

    assert_int_equal(fake_leader(cluster), 0);
    fake_cluster_close(cluster);
    (void)state;
}

static void a_node_that_never_formed_stops_at_once(void **state)
{
    struct fake_cluster *cluster = fake_cluster_open(3, 6);
    fake_start(cluster, 0);
    fake_run(cluster, 10);

    fake_stop(cluster, 0, 5);

    assert_false(cluster->worlds[0].runs);
    fake_cluster_close(cluster);
    (void)state;
}

static void a_lagging_member_is_fed_from_the_disk(void **state)
{
    struct fake_cluster *cluster = fake_cluster_open(3, 7);
    static char value[40001];
    memset(value, 'x', sizeof(value) - 1);
    fake_start_all(cluster);
    uint32_t leader = fake_leader(cluster);
    uint32_t behind = (leader + 1) % 3;
    uint32_t client = fake_client_open(cluster, leader);
    fake_crash(cluster, behind);

    for (uint32_t i = 0; i < 200; i++) { /* More than the window of 5 MiB. */
        assert_int_equal(fake_outcome(cluster, client, fake_put(cluster, client, 0, 0, "a", value)),
                         ERR_OK);
    }
    fake_start(cluster, behind);
    fake_run(cluster, 2000);

    assert_int_equal(fake_status(cluster, behind).applied, fake_status(cluster, leader).applied);
    assert_int_equal(fake_status(cluster, behind).state_hash,
                     fake_status(cluster, leader).state_hash);
    fake_crash(cluster, behind); /* And its own replay begins outside of its window. */
    fake_start(cluster, behind);
    fake_run(cluster, 1000);
    assert_int_equal(fake_status(cluster, behind).state_hash,
                     fake_status(cluster, leader).state_hash);
    fake_cluster_close(cluster);
    (void)state;
}

static void put_large_values(struct fake_cluster *cluster, uint32_t place, uint32_t count)
{
    static char value[40001];
    uint32_t client = fake_client_open(cluster, place);

    memset(value, 'x', sizeof(value) - 1);
    for (uint32_t i = 0; i < count; i++) {
        uint64_t id = fake_put(cluster, client, 0, 0, "a", value);

        assert_int_equal(fake_outcome(cluster, client, id), ERR_OK);
    }
}

/* The leader's own replay reads the end of its log from the disk, up into raft's window: what it
 * does not use of that must not keep the follower from being fed. */
static void a_lagging_member_is_fed_by_a_leader_that_restarted(void **state)
{
    struct fake_cluster *cluster = fake_cluster_open(3, 7);
    fake_start_all(cluster);
    uint32_t leader = fake_leader(cluster);
    uint32_t behind = (leader + 1) % 3;
    uint32_t other = (leader + 2) % 3;
    fake_crash(cluster, behind);
    put_large_values(cluster, leader, 200); /* More than the window of 5 MiB. */
    fake_run(cluster, 200);

    fake_crash(cluster, leader);
    fake_crash(cluster, other);
    fake_start(cluster, leader);
    fake_start(cluster, other);
    leader = fake_leader(cluster);
    fake_start(cluster, behind);
    fake_run(cluster, 3000);

    assert_int_equal(fake_status(cluster, behind).applied, fake_status(cluster, leader).applied);
    assert_int_equal(fake_status(cluster, behind).state_hash,
                     fake_status(cluster, leader).state_hash);
    fake_cluster_close(cluster);
    (void)state;
}

/* After the restart it knows of a few entries only that they are committed. What its own replay
 * read beyond them must not wait for a commit that needs the one fetch. */
static void a_restarted_leader_feeds_the_member_that_its_majority_needs(void **state)
{
    struct fake_cluster *cluster = fake_cluster_open(3, 15);
    fake_start_all(cluster);
    uint32_t first = fake_leader(cluster);
    put_large_values(cluster, first, 2);
    fake_crash(cluster, first); /* Votes carry a commit index to the disk. */
    uint32_t leader = fake_leader(cluster);
    fake_start(cluster, first);
    fake_run(cluster, 1000);
    uint32_t other = 3 - first - leader;
    fake_crash(cluster, other);
    put_large_values(cluster, leader, 200);
    (void)state;

    fake_crash(cluster, first);
    fake_crash(cluster, leader);
    fake_start(cluster, leader);
    fake_start(cluster, other);

    assert_int_equal(fake_leader(cluster), leader);
    fake_run(cluster, 1000);
    assert_int_equal(fake_status(cluster, other).state_hash,
                     fake_status(cluster, leader).state_hash);
    fake_cluster_close(cluster);
}

static void the_largest_value_is_replicated_and_read(void **state)
{
    struct fake_cluster *cluster = fake_cluster_open(3, 14);
    static char value[524289];
    memset(value, 'x', sizeof(value) - 1);
    fake_start_all(cluster);
    uint32_t client = fake_client_open(cluster, fake_leader(cluster));

    enum error put = fake_outcome(cluster, client, fake_put(cluster, client, 0, 0, "a", value));
    struct bytes body = fake_answer(cluster, client, fake_get(cluster, client, "a"))->body;
    fake_run(cluster, 300);

    struct wire_get_result result;
    assert_int_equal(put, ERR_OK);
    assert_int_equal(wire_get_result_decode(&body, &result), ERR_OK);
    assert_true(bytes_equal(result.value, bytes_of_text(value)));
    assert_int_equal(fake_status(cluster, 0).state_hash, fake_status(cluster, 1).state_hash);
    assert_int_equal(fake_status(cluster, 0).state_hash, fake_status(cluster, 2).state_hash);
    fake_cluster_close(cluster);
    (void)state;
}

/* Every operation of the disk on the way to the first commit fails once: the node says so, or the
 * operation did not matter. */
static void a_failing_disk_is_reported_and_never_ignored(void **state)
{
    uint32_t reported = 0;

    for (uint64_t nth = 1; nth <= 12; nth++) {
        struct fake_cluster *cluster = fake_cluster_open(1, nth);
        const char *problem = NULL;

        memory_disk_fail(cluster->worlds[0].disk, nth, ERR_NO_SPACE);
        if (fake_try_start(cluster, 0, &problem) == ERR_OK) {
            fake_run(cluster, 3000);
            problem = node_problem(cluster->worlds[0].node);
        }
        if (problem == NULL) {
            fake_leader(cluster);
        }
        reported += problem != NULL ? 1 : 0;
        fake_cluster_close(cluster);
    }

    assert_in_range(reported, 3, 12);
    (void)state;
}

static void a_failed_write_of_the_log_is_the_end(void **state)
{
    struct fake_cluster *cluster = fake_cluster_open(3, 8);
    fake_start_all(cluster);
    uint32_t leader = fake_leader(cluster);
    struct world *world = &cluster->worlds[leader];
    uint32_t client = fake_client_open(cluster, leader);
    fake_answer(cluster, client, 1);

    memory_disk_fail(world->disk, 1, ERR_IO);
    fake_put(cluster, client, 0, 0, "a", "1");
    fake_run(cluster, 100);

    assert_non_null(node_problem(world->node));
    assert_non_null(strstr(node_problem(world->node), "writing the log"));
    fake_crash(cluster, leader);
    fake_leader(cluster);
    fake_cluster_close(cluster);
    (void)state;
}

static void a_table_ahead_of_its_log_is_refused(void **state)
{
    struct fake_cluster *cluster = fake_cluster_open(1, 9);
    const char *problem = NULL;
    fake_start(cluster, 0);
    fake_leader(cluster);
    fake_stop(cluster, 0, 1000);
    for (uint32_t i = memory_disk_file_count(cluster->worlds[0].disk); i > 0; i--) {
        const char *name = memory_disk_file_name(cluster->worlds[0].disk, i - 1);
        if (strcmp(name, "identity") != 0) {
            memory_disk_remove(cluster->worlds[0].disk, name);
        }
    }

    enum error error = fake_try_start(cluster, 0, &problem);

    assert_int_equal(error, ERR_CORRUPT);
    assert_non_null(strstr(problem, "ahead of the log"));
    fake_cluster_close(cluster);
    (void)state;
}

static void a_node_with_a_rotten_log_says_where_and_takes_no_part(void **state)
{
    struct fake_cluster *cluster = fake_cluster_open(1, 10);
    fake_start(cluster, 0);
    fake_leader(cluster);
    uint32_t client = fake_client_open(cluster, 0);
    for (uint32_t i = 0; i < 5; i++) {
        fake_outcome(cluster, client, fake_put(cluster, client, 0, 0, "a", "1"));
    }
    fake_stop(cluster, 0, 1000);
    struct disk *disk = cluster->worlds[0].disk;
    const char *segment = NULL;
    for (uint32_t i = 0; i < memory_disk_file_count(disk) && segment == NULL; i++) {
        const char *name = memory_disk_file_name(disk, i);
        segment = memory_disk_file(disk, name).size > 1 << 20 ? name : NULL;
    }
    assert_non_null(segment);
    memory_disk_flip_bit(disk, segment, UINT64_C(8) * (4096 + 300));

    fake_start(cluster, 0);
    fake_run(cluster, 6000);

    assert_true(fake_has_logged(cluster, 0, segment));
    assert_true(fake_has_logged(cluster, 0, "neither votes nor acknowledges"));
    assert_false(fake_has_logged(cluster, 0, "role=leader"));
    fake_stop(cluster, 0, 1000);
    fake_cluster_close(cluster);
    (void)state;
}

static void a_data_folder_of_another_name_is_refused(void **state)
{
    struct fake_cluster *cluster = fake_cluster_open(1, 11);
    const char *problem = NULL;
    fake_start(cluster, 0);
    fake_stop(cluster, 0, 1000);
    cluster->worlds[0].options.name = "other";
    cluster->worlds[0].options.members[0] = "other";

    enum error error = fake_try_start(cluster, 0, &problem);

    assert_int_equal(error, ERR_WRONG_NODE);
    assert_non_null(strstr(problem, "belongs to node n1"));
    fake_cluster_close(cluster);
    (void)state;
}

static void a_formed_node_goes_on_whoever_is_listed(void **state)
{
    struct fake_cluster *cluster = fake_cluster_open(1, 12);
    fake_start(cluster, 0);
    fake_leader(cluster);
    fake_stop(cluster, 0, 1000);
    cluster->worlds[0].options.member_count = 3;

    fake_start(cluster, 0);

    assert_int_equal(fake_leader(cluster), 0);
    fake_cluster_close(cluster);
    (void)state;
}

static void inconsistent_options_are_explained(void **state)
{
    struct fake_cluster *cluster = fake_cluster_open(3, 13);
    struct node_options options = cluster->worlds[0].options;
    assert_null(node_options_problem(&options));

    options.heartbeat_ms = 200;
    assert_non_null(node_options_problem(&options));
    options = cluster->worlds[0].options;
    options.members[2] = "n1";
    assert_non_null(node_options_problem(&options));
    options = cluster->worlds[0].options;
    options.window_size = 1 << 20;
    assert_non_null(node_options_problem(&options));

    fake_cluster_close(cluster);
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_put_and_got_through_bytes),
        cmocka_unit_test(a_restart_replays_what_was_acknowledged),
        cmocka_unit_test(a_leader_that_stops_hands_over_at_once),
        cmocka_unit_test(a_stopped_node_goes_on_from_its_table),
        cmocka_unit_test(a_single_node_stops_too),
        cmocka_unit_test(a_node_that_never_formed_stops_at_once),
        cmocka_unit_test(a_lagging_member_is_fed_from_the_disk),
        cmocka_unit_test(a_lagging_member_is_fed_by_a_leader_that_restarted),
        cmocka_unit_test(a_restarted_leader_feeds_the_member_that_its_majority_needs),
        cmocka_unit_test(the_largest_value_is_replicated_and_read),
        cmocka_unit_test(a_failing_disk_is_reported_and_never_ignored),
        cmocka_unit_test(a_failed_write_of_the_log_is_the_end),
        cmocka_unit_test(a_table_ahead_of_its_log_is_refused),
        cmocka_unit_test(a_node_with_a_rotten_log_says_where_and_takes_no_part),
        cmocka_unit_test(a_data_folder_of_another_name_is_refused),
        cmocka_unit_test(a_formed_node_goes_on_whoever_is_listed),
        cmocka_unit_test(inconsistent_options_are_explained),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
