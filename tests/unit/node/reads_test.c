/* Tests of node/reads.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "node/limits.h"
#include "tests/support/node/fake_world.h"

static void assert_value(const struct fake_message *answer, const char *expected)
{
    struct bytes body = answer->body;
    struct wire_get_result result;

    assert_false(answer->failed);
    assert_int_equal(wire_get_result_decode(&body, &result), ERR_OK);
    assert_true(bytes_equal(result.value, bytes_of_text(expected)));
}

static void a_read_sees_every_write_acknowledged_before(void **state)
{
    struct fake_cluster *cluster = fake_cluster_open(3, 41);
    fake_start_all(cluster);
    uint32_t client = fake_client_open(cluster, fake_leader(cluster));

    for (int i = 0; i < 30; i++) {
        char value[16];
        snprintf(value, sizeof(value), "%d", i);
        fake_answer(cluster, client, fake_put(cluster, client, 0, 0, "a", value));
        assert_value(fake_answer(cluster, client, fake_get(cluster, client, "a")), value);
    }

    fake_cluster_close(cluster);
    (void)state;
}

/* Many writes under way at once, the last of them with the value "last". */
static void put_many(struct fake_cluster *cluster, uint32_t client, uint32_t count)
{
    for (uint32_t i = 0; i < count; i += 200) {
        uint64_t id = 0;

        for (uint32_t j = 0; j < 200; j++) {
            id = fake_put(cluster, client, 0, 0, "a", i + 200 < count ? "earlier" : "last");
        }
        assert_int_equal(fake_outcome(cluster, client, id), ERR_OK);
    }
}

/* After a restart the log is applied again in several turns; reads that come first wait. */
static void a_read_waits_until_what_was_committed_is_applied(void **state)
{
    struct fake_cluster *cluster = fake_cluster_open(1, 42);
    const struct fake_message *answer = NULL;
    uint64_t next = 2;
    fake_start(cluster, 0);
    fake_leader(cluster);
    put_many(cluster, fake_client_open(cluster, 0), APPLY_COUNT_MAX + 600);

    fake_crash(cluster, 0);
    fake_start(cluster, 0);
    cluster->disk_ms_max = 30;
    uint32_t client = fake_client_open(cluster, 0);
    while (answer == NULL || answer->failed) {
        next += answer == NULL ? 0 : 1;
        fake_get(cluster, client, "a");
        fake_run(cluster, 1);
        answer = fake_find_answer(cluster, client, next);
    }

    assert_value(answer, "last");
    fake_cluster_close(cluster);
    (void)state;
}

static void a_leader_that_cannot_reach_the_majority_serves_no_read(void **state)
{
    struct fake_cluster *cluster = fake_cluster_open(3, 43);
    fake_start_all(cluster);
    uint32_t leader = fake_leader(cluster);
    uint32_t client = fake_client_open(cluster, leader);
    fake_answer(cluster, client, fake_put(cluster, client, 0, 0, "a", "old"));
    fake_isolate(cluster, leader, true);

    uint64_t id = fake_get(cluster, client, "a");

    assert_int_equal(fake_outcome(cluster, client, id), ERR_NOT_LEADER);
    fake_cluster_close(cluster);
    (void)state;
}

static void reads_of_one_turn_are_all_answered_in_order(void **state)
{
    struct fake_cluster *cluster = fake_cluster_open(3, 44);
    fake_start_all(cluster);
    uint32_t client = fake_client_open(cluster, fake_leader(cluster));
    fake_answer(cluster, client, fake_put(cluster, client, 0, 0, "a", "1"));
    uint64_t first = cluster->clients[client].next_id;

    for (int i = 0; i < 200; i++) {
        fake_get(cluster, client, i % 2 == 0 ? "a" : "absent");
    }
    fake_answer(cluster, client, first + 199);

    for (uint32_t i = 0; i < 200; i++) {
        const struct fake_message *answer = &cluster->clients[client].messages[2 + i];
        assert_int_equal(answer->id, first + i);
        assert_int_equal(answer->failed, i % 2 == 1);
    }
    fake_cluster_close(cluster);
    (void)state;
}

/* Formed, with a value, and a leader whose lease stands. */
static struct fake_cluster *open_with_leases(uint64_t seed, uint32_t *leader, uint32_t *client)
{
    struct fake_cluster *cluster = fake_cluster_open(3, seed);

    for (uint32_t i = 0; i < 3; i++) {
        cluster->worlds[i].options.promise_ms = 200;
        cluster->worlds[i].clock_rate_ppm = 4500 * ((int64_t)i - 1);
    }
    fake_start_all(cluster);
    *leader = fake_leader(cluster);
    *client = fake_client_open(cluster, *leader);
    fake_answer(cluster, *client, fake_put(cluster, *client, 0, 0, "a", "old"));
    fake_run(cluster, 200);
    return cluster;
}

static uint64_t lease_reads(struct fake_cluster *cluster, uint32_t place)
{
    return fake_status(cluster, place).lease_reads;
}

static void reads_need_no_round_while_a_majority_has_promised(void **state)
{
    uint32_t leader = 0;
    uint32_t client = 0;
    struct fake_cluster *cluster = open_with_leases(47, &leader, &client);
    uint64_t before = lease_reads(cluster, leader);

    fake_isolate(cluster, leader, true);
    assert_value(fake_answer(cluster, client, fake_get(cluster, client, "a")), "old");

    assert_int_equal(lease_reads(cluster, leader), before + 1);
    assert_true(fake_status(cluster, leader).lease_left_ms > 0);
    assert_int_equal(fake_status(cluster, leader).lease_ms, 200);
    fake_cluster_close(cluster);
    (void)state;
}

static void a_cut_off_leader_stops_reading_before_another_can_write(void **state)
{
    uint32_t leader = 0;
    uint32_t client = 0;
    struct fake_cluster *cluster = open_with_leases(48, &leader, &client);

    fake_isolate(cluster, leader, true);
    fake_run(cluster, 200);
    uint64_t id = fake_get(cluster, client, "a");

    assert_int_equal(fake_outcome(cluster, client, id), ERR_NOT_LEADER);
    fake_cluster_close(cluster);
    (void)state;
}

static void a_leader_that_stood_still_does_not_read_by_what_was_promised_before(void **state)
{
    uint32_t leader = 0;
    uint32_t client = 0;
    struct fake_cluster *cluster = open_with_leases(49, &leader, &client);

    cluster->worlds[leader].is_paused = true;
    fake_run(cluster, 130); /* A gap, and yet shorter than the lease. */
    fake_isolate(cluster, leader, true);
    cluster->worlds[leader].is_paused = false;
    uint64_t id = fake_get(cluster, client, "a");

    assert_int_equal(fake_outcome(cluster, client, id), ERR_NOT_LEADER);
    assert_int_equal(fake_status(cluster, leader).lease_left_ms, 0);
    fake_cluster_close(cluster);
    (void)state;
}

static void the_lease_of_an_only_voter_has_no_end(void **state)
{
    struct fake_cluster *cluster = fake_cluster_open(1, 51);

    cluster->worlds[0].options.promise_ms = 200;
    fake_start_all(cluster);
    uint32_t leader = fake_leader(cluster);
    fake_run(cluster, 1000);

    assert_int_equal(fake_status(cluster, leader).lease_left_ms, UINT32_MAX);
    fake_cluster_close(cluster);
    (void)state;
}

static void without_the_option_every_read_has_its_round(void **state)
{
    struct fake_cluster *cluster = fake_cluster_open(3, 50);
    fake_start_all(cluster);
    uint32_t leader = fake_leader(cluster);
    uint32_t client = fake_client_open(cluster, leader);
    fake_answer(cluster, client, fake_put(cluster, client, 0, 0, "a", "1"));

    assert_value(fake_answer(cluster, client, fake_get(cluster, client, "a")), "1");

    assert_int_equal(lease_reads(cluster, leader), 0);
    fake_cluster_close(cluster);
    (void)state;
}

static void reads_beyond_their_limit_are_refused(void **state)
{
    struct fake_cluster *cluster = fake_cluster_open(3, 45);
    enum { COUNT = 600 };
    uint32_t refused = 0;
    for (uint32_t i = 0; i < 3; i++) {
        cluster->worlds[i].options.waiting_size = WAITING_SIZE_MIN;
    }
    fake_start_all(cluster);
    uint32_t client = fake_client_open(cluster, fake_leader(cluster));
    uint64_t first = cluster->clients[client].next_id;

    for (int i = 0; i < COUNT; i++) {
        fake_get(cluster, client, "absent");
    }
    for (uint32_t i = 0; i < COUNT; i++) {
        enum error error = fake_outcome(cluster, client, first + i);
        assert_true(error == ERR_NOT_FOUND || error == ERR_OVERLOADED);
        refused += error == ERR_OVERLOADED ? 1 : 0;
    }

    /* All that arrived in one turn beyond request_count_max and what may wait. */
    assert_in_range(refused, 1, COUNT - 256 - WAITING_SIZE_MIN / WAITING_BLOCK_SIZE / 8 / 2);
    fake_cluster_close(cluster);
    (void)state;
}

/* Whole answers that the node has given and the client has not taken. */
static uint32_t count_answers(const struct fake_client *client)
{
    struct bytes rest = bytes_of(client->back.data, client->back.size);
    struct wire_rpc rpc;
    uint32_t count = 0;

    while (rest.size > 0 && wire_rpc_next(&rest, &rpc) == ERR_OK) {
        count++;
    }
    return count;
}

static void reads_of_one_turn_are_bounded_in_number(void **state)
{
    struct fake_cluster *cluster = fake_cluster_open(1, 46);
    enum { COUNT = 2 * SERVE_COUNT_MAX + 500 };
    uint32_t answered = 0;
    uint32_t most = 0;
    cluster->worlds[0].options.request_count_max = 8192;
    cluster->output_size_max = 64 << 20;
    fake_start(cluster, 0);
    fake_leader(cluster);
    uint32_t number = fake_client_open(cluster, 0);
    fake_answer(cluster, number, 1);
    struct fake_client *client = &cluster->clients[number];
    client->reads = false;

    for (uint32_t i = 0; i < COUNT; i++) {
        fake_get(cluster, number, "absent");
    }
    for (uint32_t i = 0; i < 100; i++) {
        fake_run(cluster, 1); /* One turn at most. */
        uint32_t count = count_answers(client);
        most = count - answered > most ? count - answered : most;
        answered = count;
    }

    assert_int_equal(answered, COUNT);
    assert_in_range(most, 1, SERVE_COUNT_MAX);
    fake_cluster_close(cluster);
    (void)state;
}

/* Asks `count` times for a list of all keys. */
static void ask_for_lists(struct fake_cluster *cluster, uint32_t number, uint32_t count)
{
    const struct wire_list list = {0};
    uint8_t memory[64];
    struct buffer params = buffer_of(memory, sizeof(memory));

    assert_true(wire_list_encode(&list, &params));
    for (uint32_t i = 0; i < count; i++) {
        fake_request(cluster, number, WIRE_METHOD_list, &params);
    }
}

static void reads_of_one_turn_are_bounded_in_bytes(void **state)
{
    struct fake_cluster *cluster = fake_cluster_open(1, 47);
    static char value[300001];
    size_t size = 0;
    size_t most = 0;
    cluster->output_size_max = 64 << 20;
    memset(value, 'x', sizeof(value) - 1);
    fake_start(cluster, 0);
    fake_leader(cluster);
    uint32_t number = fake_client_open(cluster, 0);
    fake_answer(cluster, number, fake_put(cluster, number, 0, 0, "a", value));
    fake_answer(cluster, number, fake_put(cluster, number, 0, 0, "b", value));
    struct fake_client *client = &cluster->clients[number];
    client->reads = false;

    ask_for_lists(cluster, number, 30); /* 600 kB each. */
    for (uint32_t i = 0; i < 100; i++) {
        fake_run(cluster, 1);
        most = client->back.size - size > most ? client->back.size - size : most;
        size = client->back.size;
    }

    assert_int_equal(count_answers(client), 30);
    assert_in_range(size, 30 * 600000, 30 * 601000);
    assert_in_range(most, 1, SERVE_BYTES_MAX + 601000);
    fake_cluster_close(cluster);
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_read_sees_every_write_acknowledged_before),
        cmocka_unit_test(a_read_waits_until_what_was_committed_is_applied),
        cmocka_unit_test(a_leader_that_cannot_reach_the_majority_serves_no_read),
        cmocka_unit_test(reads_of_one_turn_are_all_answered_in_order),
        cmocka_unit_test(reads_need_no_round_while_a_majority_has_promised),
        cmocka_unit_test(a_cut_off_leader_stops_reading_before_another_can_write),
        cmocka_unit_test(a_leader_that_stood_still_does_not_read_by_what_was_promised_before),
        cmocka_unit_test(the_lease_of_an_only_voter_has_no_end),
        cmocka_unit_test(without_the_option_every_read_has_its_round),
        cmocka_unit_test(reads_beyond_their_limit_are_refused),
        cmocka_unit_test(reads_of_one_turn_are_bounded_in_number),
        cmocka_unit_test(reads_of_one_turn_are_bounded_in_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
