/* Tests of node/requests.c: outcomes when leaders change. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/node/fake_world.h"

static uint64_t revision_of(struct fake_cluster *cluster, uint32_t client, uint64_t id)
{
    struct bytes body = fake_answer(cluster, client, id)->body;
    struct wire_put_result result;

    assert_int_equal(fake_outcome(cluster, client, id), ERR_OK);
    assert_int_equal(wire_put_result_decode(&body, &result), ERR_OK);
    return result.revision;
}

static void a_repeated_request_gets_the_first_result(void **state)
{
    struct fake_cluster *cluster = fake_cluster_open(3, 21);
    fake_start_all(cluster);
    uint32_t client = fake_client_open(cluster, fake_leader(cluster));
    uint64_t session = fake_open_session(cluster, client, 60000);

    uint64_t first = revision_of(cluster, client, fake_put(cluster, client, session, 1, "a", "1"));
    uint64_t again = revision_of(cluster, client, fake_put(cluster, client, session, 1, "a", "1"));

    assert_int_equal(first, again);
    fake_cluster_close(cluster);
    (void)state;
}

static void a_repeated_request_gets_the_first_result_from_another_leader(void **state)
{
    struct fake_cluster *cluster = fake_cluster_open(3, 22);
    fake_start_all(cluster);
    uint32_t leader = fake_leader(cluster);
    uint32_t client = fake_client_open(cluster, leader);
    uint64_t session = fake_open_session(cluster, client, 60000);
    uint64_t first = revision_of(cluster, client, fake_put(cluster, client, session, 1, "a", "1"));

    fake_crash(cluster, leader);
    uint32_t other = fake_leader(cluster);
    client = fake_client_open(cluster, other);
    uint64_t again = revision_of(cluster, client, fake_put(cluster, client, session, 1, "a", "1"));

    assert_int_not_equal(other, leader);
    assert_int_equal(first, again);
    fake_cluster_close(cluster);
    (void)state;
}

static void a_repetition_while_the_first_is_under_way_is_executed_once(void **state)
{
    struct fake_cluster *cluster = fake_cluster_open(3, 23);
    fake_start_all(cluster);
    uint32_t client = fake_client_open(cluster, fake_leader(cluster));
    uint64_t session = fake_open_session(cluster, client, 60000);

    uint64_t first = fake_put(cluster, client, session, 1, "a", "1");
    uint64_t again = fake_put(cluster, client, session, 1, "a", "1");

    assert_int_equal(revision_of(cluster, client, first), revision_of(cluster, client, again));
    fake_cluster_close(cluster);
    (void)state;
}

static void a_gap_in_a_session_is_refused(void **state)
{
    struct fake_cluster *cluster = fake_cluster_open(3, 24);
    fake_start_all(cluster);
    uint32_t client = fake_client_open(cluster, fake_leader(cluster));
    uint64_t session = fake_open_session(cluster, client, 60000);

    uint64_t id = fake_put(cluster, client, session, 2, "a", "1");

    assert_int_equal(fake_outcome(cluster, client, id), ERR_SEQUENCE_GAP);
    fake_cluster_close(cluster);
    (void)state;
}

static void a_leader_without_a_majority_leaves_the_outcome_unknown(void **state)
{
    struct fake_cluster *cluster = fake_cluster_open(3, 25);
    fake_start_all(cluster);
    uint32_t leader = fake_leader(cluster);
    uint32_t client = fake_client_open(cluster, leader);
    fake_answer(cluster, client, 1);
    fake_isolate(cluster, leader, true);
    uint64_t sent_ms = cluster->now_ms;

    uint64_t id = fake_put(cluster, client, 0, 0, "a", "1");
    enum error error = fake_outcome(cluster, client, id);

    assert_int_equal(error, ERR_UNKNOWN_OUTCOME);
    /* Check-quorum, then two election timeouts. */
    assert_in_range(cluster->now_ms - sent_ms, 1000, 2000);
    fake_cluster_close(cluster);
    (void)state;
}

static bool has_other_leader(struct fake_cluster *cluster, void *context)
{
    uint32_t old = *(const uint32_t *)context;

    return fake_has_logged(cluster, (old + 1) % 3, "role=leader") ||
           fake_has_logged(cluster, (old + 2) % 3, "role=leader");
}

static void what_another_leader_replaced_was_surely_not_applied(void **state)
{
    struct fake_cluster *cluster = fake_cluster_open(3, 26);
    fake_start_all(cluster);
    uint32_t leader = fake_leader(cluster);
    uint32_t client = fake_client_open(cluster, leader);
    fake_answer(cluster, client, 1);
    fake_isolate(cluster, leader, true);
    uint64_t id = fake_put(cluster, client, 0, 0, "replaced", "1");

    assert_true(fake_run_until(cluster, has_other_leader, &leader, 3000));
    fake_isolate(cluster, leader, false);
    enum error error = fake_outcome(cluster, client, id);

    uint32_t reader = fake_client_open(cluster, fake_leader(cluster));
    assert_int_equal(error, ERR_NOT_LEADER);
    assert_int_equal(fake_outcome(cluster, reader, fake_get(cluster, reader, "replaced")),
                     ERR_NOT_FOUND);
    fake_cluster_close(cluster);
    (void)state;
}

static void a_client_that_left_is_not_answered_and_nothing_breaks(void **state)
{
    struct fake_cluster *cluster = fake_cluster_open(3, 27);
    fake_start_all(cluster);
    uint32_t leader = fake_leader(cluster);
    uint32_t gone = fake_client_open(cluster, leader);
    fake_answer(cluster, gone, 1);
    fake_put(cluster, gone, 0, 0, "left", "1");
    fake_run(cluster, 4);
    fake_client_close(cluster, gone);
    fake_run(cluster, 1);

    uint32_t client = fake_client_open(cluster, leader); /* The same number of a connection. */
    fake_run(cluster, 100);

    assert_int_equal(cluster->clients[client].connection, cluster->clients[gone].connection);
    assert_int_equal(fake_outcome(cluster, client, fake_get(cluster, client, "left")), ERR_OK);
    assert_int_equal(cluster->clients[client].message_count, 2);
    fake_cluster_close(cluster);
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_repeated_request_gets_the_first_result),
        cmocka_unit_test(a_repeated_request_gets_the_first_result_from_another_leader),
        cmocka_unit_test(a_repetition_while_the_first_is_under_way_is_executed_once),
        cmocka_unit_test(a_gap_in_a_session_is_refused),
        cmocka_unit_test(a_leader_without_a_majority_leaves_the_outcome_unknown),
        cmocka_unit_test(what_another_leader_replaced_was_surely_not_applied),
        cmocka_unit_test(a_client_that_left_is_not_answered_and_nothing_breaks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
