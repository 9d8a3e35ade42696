/* Tests of node/clients.c, node/admission.c, node/answers.c and node/status.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "tests/support/node/fake_world.h"

static struct fake_cluster *open_cluster(uint32_t *leader)
{
    struct fake_cluster *cluster = fake_cluster_open(3, 11);

    fake_start_all(cluster);
    *leader = fake_leader(cluster);
    return cluster;
}

static void hello_tells_cluster_leader_and_limits(void **state)
{
    uint32_t leader;
    struct fake_cluster *cluster = open_cluster(&leader);
    uint32_t client = fake_client_open(cluster, (leader + 1) % 3);

    struct bytes body = fake_answer(cluster, client, 1)->body;

    struct wire_hello_result result;
    char name[3] = {'n', (char)('1' + leader), 0};
    assert_int_equal(wire_hello_result_decode(&body, &result), ERR_OK);
    assert_int_equal(result.version, WIRE_VERSION);
    assert_int_equal(result.cluster.size, 32);
    assert_true(bytes_equal(result.leader, bytes_of_text(name)));
    assert_int_equal(result.leader_client.size, 8);
    assert_in_range(result.ttl_floor_ms, 970, 1500);
    assert_int_equal(result.clock_rate_ppm, 10000);
    assert_int_equal(result.margin_ms, 100);
    fake_cluster_close(cluster);
    (void)state;
}

static void the_first_request_is_hello_or_the_connection_ends(void **state)
{
    uint32_t leader;
    struct fake_cluster *cluster = open_cluster(&leader);
    uint32_t client = fake_client_connect(cluster, leader);

    uint64_t id = fake_put(cluster, client, 0, 0, "a", "1");

    assert_int_equal(fake_outcome(cluster, client, id), ERR_MALFORMED);
    fake_run(cluster, 20);
    assert_false(cluster->clients[client].is_open);
    fake_cluster_close(cluster);
    (void)state;
}

static void garbage_ends_only_its_own_connection(void **state)
{
    uint32_t leader;
    struct fake_cluster *cluster = open_cluster(&leader);
    uint32_t good = fake_client_open(cluster, leader);
    uint32_t bad = fake_client_open(cluster, leader);

    fake_client_send(cluster, bad, bytes_of_text("GET / HTTP/1.1\r\n\r\n"));
    fake_run(cluster, 20);

    assert_false(cluster->clients[bad].is_open);
    assert_int_equal(fake_outcome(cluster, good, fake_put(cluster, good, 0, 0, "a", "1")), ERR_OK);
    assert_true(fake_has_logged(cluster, leader, "client_dropped"));
    fake_cluster_close(cluster);
    (void)state;
}

static void an_unknown_method_is_refused_and_the_connection_lives(void **state)
{
    uint32_t leader;
    struct fake_cluster *cluster = open_cluster(&leader);
    uint32_t client = fake_client_open(cluster, leader);
    static const uint8_t request[] = {0x94, 0, 77, 0xA5, 'd', 'a', 'n', 'c', 'e', 0x80};

    fake_client_send(cluster, client, bytes_of(request, sizeof(request)));

    assert_int_equal(fake_outcome(cluster, client, 77), ERR_UNKNOWN_METHOD);
    assert_int_equal(fake_outcome(cluster, client, fake_put(cluster, client, 0, 0, "a", "1")),
                     ERR_OK);
    fake_cluster_close(cluster);
    (void)state;
}

static void malformed_params_are_refused_and_the_connection_lives(void **state)
{
    uint32_t leader;
    struct fake_cluster *cluster = open_cluster(&leader);
    uint32_t client = fake_client_open(cluster, leader);
    static const uint8_t no_value[] = {0x94, 0,   77,  0xA3, 'p',  'u', 't', 0x81,
                                       0xA3, 'k', 'e', 'y',  0xC4, 1,   'a'};

    fake_client_send(cluster, client, bytes_of(no_value, sizeof(no_value)));

    assert_int_equal(fake_outcome(cluster, client, 77), ERR_MALFORMED);
    assert_int_equal(fake_outcome(cluster, client, fake_put(cluster, client, 0, 0, "a", "1")),
                     ERR_OK);
    fake_cluster_close(cluster);
    (void)state;
}

static void a_key_beyond_its_limit_is_refused(void **state)
{
    uint32_t leader;
    struct fake_cluster *cluster = open_cluster(&leader);
    uint32_t client = fake_client_open(cluster, leader);
    /* A BIN16 key of 481 bytes. */
    uint8_t request[600] = {0x94, 0,   77,  0xA3, 'g',  'e',      't',       0x81,
                            0xA3, 'k', 'e', 'y',  0xC5, 481 >> 8, 481 & 0xFF};

    fake_client_send(cluster, client, bytes_of(request, 15 + 481));

    assert_int_equal(fake_outcome(cluster, client, 77), ERR_TOO_LARGE);
    fake_cluster_close(cluster);
    (void)state;
}

static void a_session_without_a_sequence_is_malformed(void **state)
{
    uint32_t leader;
    struct fake_cluster *cluster = open_cluster(&leader);
    uint32_t client = fake_client_open(cluster, leader);

    assert_int_equal(fake_outcome(cluster, client, fake_put(cluster, client, 5, 0, "a", "1")),
                     ERR_MALFORMED);
    assert_int_equal(fake_outcome(cluster, client, fake_put(cluster, client, 0, 5, "a", "1")),
                     ERR_MALFORMED);
    assert_int_equal(
        fake_outcome(cluster, client, fake_acquire(cluster, client, 0, 0, "lock", false)),
        ERR_MALFORMED);
    fake_cluster_close(cluster);
    (void)state;
}

static void a_follower_that_cannot_reach_the_leader_names_it(void **state)
{
    uint32_t leader;
    struct fake_cluster *cluster = open_cluster(&leader);
    uint32_t client = fake_client_open(cluster, (leader + 1) % 3);
    fake_answer(cluster, client, 1);
    fake_break_links(cluster, (leader + 1) % 3, leader);
    fake_changed(cluster);

    struct wire_failure failure =
        fake_failure(cluster, client, fake_put(cluster, client, 0, 0, "a", "1"));

    char address[9] = "client:0";
    address[7] = (char)('1' + leader);
    assert_int_equal(failure.code, ERR_NOT_LEADER);
    assert_true(bytes_equal(failure.leader_client, bytes_of_text(address)));
    assert_int_equal(failure.retry_after_ms, 0);
    fake_cluster_close(cluster);
    (void)state;
}

static void without_a_leader_a_client_is_told_when_to_retry(void **state)
{
    uint32_t leader;
    struct fake_cluster *cluster = open_cluster(&leader);
    fake_isolate(cluster, leader, true);
    fake_crash(cluster, (leader + 1) % 3);
    fake_run(cluster, 1500);
    uint32_t client = fake_client_open(cluster, (leader + 2) % 3);

    struct wire_failure failure = fake_failure(cluster, client, fake_get(cluster, client, "a"));

    assert_int_equal(failure.code, ERR_NOT_LEADER);
    assert_int_equal(failure.leader.size, 0);
    assert_in_range(failure.retry_after_ms, 1, 500);
    fake_cluster_close(cluster);
    (void)state;
}

static void a_ttl_below_the_floor_is_refused_with_the_floor(void **state)
{
    uint32_t leader;
    struct fake_cluster *cluster = open_cluster(&leader);
    uint32_t client = fake_client_open(cluster, leader);

    struct wire_failure failure =
        fake_failure(cluster, client, fake_session_open(cluster, client, 500));
    enum error at_floor =
        fake_outcome(cluster, client, fake_session_open(cluster, client, failure.floor_ms + 20));

    assert_int_equal(failure.code, ERR_TTL_TOO_SHORT);
    /* (100 + 2 commits of some ms + 500 + 20) / (1 - 2 % - 1/3) */
    assert_in_range(failure.floor_ms, 959, 1100);
    assert_int_equal(at_floor, ERR_OK);
    fake_cluster_close(cluster);
    (void)state;
}

static void a_ttl_beyond_a_day_is_refused(void **state)
{
    uint32_t leader;
    struct fake_cluster *cluster = open_cluster(&leader);
    uint32_t client = fake_client_open(cluster, leader);

    assert_int_equal(fake_outcome(cluster, client, fake_session_open(cluster, client, 86400001)),
                     ERR_MALFORMED);
    fake_cluster_close(cluster);
    (void)state;
}

static void sessions_beyond_their_limit_are_refused(void **state)
{
    uint32_t leader;
    struct fake_cluster *cluster = open_cluster(&leader);
    uint32_t client = fake_client_open(cluster, leader);
    uint64_t ids[120];
    uint32_t opened = 0;
    uint32_t refused = 0;

    for (uint32_t i = 0; i < 120; i++) {
        ids[i] = fake_session_open(cluster, client, 60000);
    }
    for (uint32_t i = 0; i < 120; i++) {
        enum error error = fake_outcome(cluster, client, ids[i]);
        opened += error == ERR_OK ? 1 : 0;
        refused += error == ERR_OVERLOADED ? 1 : 0;
    }

    assert_int_equal(opened, 100);
    assert_int_equal(refused, 20);
    fake_cluster_close(cluster);
    (void)state;
}

static void requests_beyond_their_limit_are_refused_at_once(void **state)
{
    uint32_t leader;
    struct fake_cluster *cluster = open_cluster(&leader);
    uint32_t client = fake_client_open(cluster, leader);
    uint64_t ids[300];
    uint32_t refused = 0;
    for (uint32_t i = 0; i < 3; i++) {
        cluster->worlds[i].disk_is_stalled = true;
    }

    for (uint32_t i = 0; i < 300; i++) {
        ids[i] = fake_put(cluster, client, 0, 0, "a", "1");
    }
    fake_run(cluster, 30);
    for (uint32_t i = 0; i < 300; i++) {
        refused += fake_find_answer(cluster, client, ids[i]) != NULL ? 1 : 0;
    }

    /* One sixteenth is kept for renewals and releases. */
    assert_int_equal(refused, 300 - (256 - 256 / 16));
    struct wire_failure failure = fake_failure(cluster, client, ids[299]);
    assert_int_equal(failure.code, ERR_OVERLOADED);
    assert_int_not_equal(failure.retry_after_ms, 0);
    for (uint32_t i = 0; i < 3; i++) {
        cluster->worlds[i].disk_is_stalled = false;
    }
    assert_int_equal(fake_outcome(cluster, client, ids[0]), ERR_OK);
    fake_cluster_close(cluster);
    (void)state;
}

static void a_client_that_never_reads_is_dropped(void **state)
{
    uint32_t leader;
    struct fake_cluster *cluster = open_cluster(&leader);
    uint32_t client = fake_client_open(cluster, leader);
    char *value = calloc(1, 40001);
    memset(value, 'x', 40000);
    assert_int_equal(fake_outcome(cluster, client, fake_put(cluster, client, 0, 0, "a", value)),
                     ERR_OK);
    cluster->clients[client].reads = false;
    cluster->output_size_max = 100000;

    for (uint32_t i = 0; i < 4; i++) {
        fake_get(cluster, client, "a");
    }
    fake_run(cluster, 100);

    assert_false(cluster->clients[client].is_open);
    assert_true(fake_has_logged(cluster, leader, "it does not read"));
    free(value);
    fake_cluster_close(cluster);
    (void)state;
}

static void requests_are_taken_however_the_bytes_arrive(void **state)
{
    uint32_t leader;
    struct fake_cluster *cluster = open_cluster(&leader);
    uint32_t client = fake_client_open(cluster, leader);
    static const uint8_t request[] = {0x94, 0,   77,  0xA3, 'g',  'e', 't', 0x81,
                                      0xA3, 'k', 'e', 'y',  0xC4, 1,   'z'};

    for (size_t i = 0; i < sizeof(request); i++) {
        fake_client_send(cluster, client, bytes_of(&request[i], 1));
        fake_run(cluster, 5);
    }

    assert_int_equal(fake_outcome(cluster, client, 77), ERR_NOT_FOUND);
    fake_cluster_close(cluster);
    (void)state;
}

/* A hash writes out every window that has changed: clients that poll must not make it happen each
 * time. Then applied and hash are those of one moment, a little ago. */
static void status_writes_the_state_out_at_most_once_in_an_interval(void **state)
{
    struct fake_cluster *cluster = fake_cluster_open(1, 29);
    uint64_t applied[16] = {0};
    uint32_t different = 0;
    fake_start(cluster, 0);
    fake_leader(cluster);
    uint32_t client = fake_client_open(cluster, 0);
    uint64_t session = fake_open_session(cluster, client, 5000);
    uint64_t begin_ms = cluster->now_ms;
    (void)state;

    for (uint64_t i = 0; i < COUNT_OF(applied); i++) {
        fake_outcome(cluster, client, fake_put(cluster, client, session, i + 1, "a", "1"));
        struct wire_status_result status = fake_status(cluster, 0);
        applied[i] = status.applied;
        assert_true(status.applied <= status.commit);
        different += i > 0 && applied[i] != applied[i - 1] ? 1 : 0;
    }
    uint64_t elapsed_ms = cluster->now_ms - begin_ms;
    fake_run(cluster, 300);

    /* By a commit or by a status, each at most once in 100 ms. */
    assert_in_range(different, 0, 2 * (elapsed_ms / 100) + 2);
    assert_true(different < COUNT_OF(applied) - 1);
    assert_int_equal(fake_status(cluster, 0).applied, fake_status(cluster, 0).commit);
    fake_cluster_close(cluster);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hello_tells_cluster_leader_and_limits),
        cmocka_unit_test(the_first_request_is_hello_or_the_connection_ends),
        cmocka_unit_test(garbage_ends_only_its_own_connection),
        cmocka_unit_test(an_unknown_method_is_refused_and_the_connection_lives),
        cmocka_unit_test(malformed_params_are_refused_and_the_connection_lives),
        cmocka_unit_test(a_key_beyond_its_limit_is_refused),
        cmocka_unit_test(a_session_without_a_sequence_is_malformed),
        cmocka_unit_test(a_follower_that_cannot_reach_the_leader_names_it),
        cmocka_unit_test(without_a_leader_a_client_is_told_when_to_retry),
        cmocka_unit_test(a_ttl_below_the_floor_is_refused_with_the_floor),
        cmocka_unit_test(a_ttl_beyond_a_day_is_refused),
        cmocka_unit_test(sessions_beyond_their_limit_are_refused),
        cmocka_unit_test(requests_beyond_their_limit_are_refused_at_once),
        cmocka_unit_test(a_client_that_never_reads_is_dropped),
        cmocka_unit_test(requests_are_taken_however_the_bytes_arrive),
        cmocka_unit_test(status_writes_the_state_out_at_most_once_in_an_interval),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
