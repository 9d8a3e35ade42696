/* Tests of a node whose log has no more segments: it goes on for a while with what gives locks and
 * sessions back, and ends in one clear sentence. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/bytes.h"
#include "tests/support/node/fake_world.h"

enum { RESTARTS_MAX = 100, ELECTION_MS = 1500 };

/* Nodes with the smallest log. */
static struct fake_cluster *open_cluster(uint32_t node_count, uint64_t seed)
{
    struct fake_cluster *cluster = fake_cluster_open(node_count, seed);

    for (uint32_t i = 0; i < node_count; i++) {
        cluster->worlds[i].options.segment_count_max = 2;
    }
    fake_start_all(cluster);
    return cluster;
}

/* Puts values of that size until one is refused. */
static void fill_with(struct fake_cluster *cluster, uint32_t client, size_t size)
{
    static char value[20001];
    enum error error = ERR_OK;

    memset(value, 'x', sizeof(value));
    value[size] = '\0';
    while (error == ERR_OK) {
        error = fake_outcome(cluster, client, fake_put(cluster, client, 0, 0, "k", value));
    }
    assert_int_equal(error, ERR_OVERLOADED);
}

static void fill(struct fake_cluster *cluster, uint32_t client)
{
    fill_with(cluster, client, 20000);
    fill_with(cluster, client, 3000);
    fill_with(cluster, client, 1);
}

static enum error end_session(struct fake_cluster *cluster, uint32_t client, uint64_t session)
{
    const struct wire_session_end end = {.session = session};
    uint8_t memory[64];
    struct buffer params = buffer_of(memory, sizeof(memory));

    assert_true(wire_session_end_encode(&end, &params));
    return fake_outcome(cluster, client,
                        fake_request(cluster, client, WIRE_METHOD_session_end, &params));
}

static void locks_and_sessions_are_given_back_when_the_log_is_nearly_full(void **state)
{
    struct fake_cluster *cluster = open_cluster(1, 71);
    fake_leader(cluster);
    uint32_t client = fake_client_open(cluster, 0);
    uint64_t session = fake_open_session(cluster, client, 20000);
    uint64_t id = fake_acquire(cluster, client, session, 1, "L", false);
    assert_int_equal(fake_outcome(cluster, client, id), ERR_OK);
    (void)state;

    fill(cluster, client);

    for (uint64_t attempt = 1; attempt <= 20; attempt++) {
        id = fake_session_renew(cluster, client, session, attempt);
        assert_int_equal(fake_outcome(cluster, client, id), ERR_OK);
    }
    id = fake_acquire(cluster, client, session, 2, "M", false);
    assert_int_equal(fake_outcome(cluster, client, id), ERR_OVERLOADED);
    id = fake_release(cluster, client, session, 2, "L");
    assert_int_equal(fake_outcome(cluster, client, id), ERR_OK);
    assert_int_equal(end_session(cluster, client, session), ERR_OK);
    assert_true(fake_has_logged(cluster, 0, "log_nearly_full"));
    fake_cluster_close(cluster);
}

static void sessions_expire_when_the_log_is_nearly_full(void **state)
{
    struct fake_cluster *cluster = open_cluster(1, 72);
    fake_leader(cluster);
    uint32_t client = fake_client_open(cluster, 0);
    fake_open_session(cluster, client, 20000);
    (void)state;

    fill(cluster, client);
    fake_run(cluster, 25000);

    assert_int_equal(fake_status(cluster, 0).sessions, 0);
    fake_cluster_close(cluster);
}

/* Restarts until the node says that it cannot go on; how often it could. */
static uint32_t restart_until_problem(struct fake_cluster *cluster, const char **problem)
{
    uint32_t count = 0;

    for (*problem = NULL; *problem == NULL && count < RESTARTS_MAX; count++) {
        fake_crash(cluster, 0);
        if (fake_try_start(cluster, 0, problem) == ERR_OK) {
            fake_run(cluster, ELECTION_MS);
            *problem = node_problem(cluster->worlds[0].node);
        }
    }
    return count;
}

/* Every election takes two blocks: they are used up one day, but nothing aborts. With an odd number
 * of blocks the vote finds room and the new leader's first entry does not. */
static void end_full_log(uint64_t seed, uint32_t renewals)
{
    struct fake_cluster *cluster = open_cluster(1, seed);
    const char *problem = NULL;
    fake_leader(cluster);
    uint32_t client = fake_client_open(cluster, 0);
    fake_outcome(cluster, client, fake_put(cluster, client, 0, 0, "kept", "v"));
    uint64_t session = fake_open_session(cluster, client, 86400000);
    fill(cluster, client);
    for (uint32_t i = 0; i < renewals; i++) {
        fake_outcome(cluster, client, fake_session_renew(cluster, client, session, i + 1));
    }

    uint32_t restarts = restart_until_problem(cluster, &problem);

    assert_in_range(restarts, 20, RESTARTS_MAX - 1);
    assert_non_null(strstr(problem, "raise max-segments"));
    fake_crash(cluster, 0);
    cluster->worlds[0].options.segment_count_max = 3;
    fake_start(cluster, 0);
    assert_int_equal(fake_leader(cluster), 0);
    client = fake_client_open(cluster, 0);
    assert_int_equal(fake_outcome(cluster, client, fake_get(cluster, client, "kept")), ERR_OK);
    fake_cluster_close(cluster);
}

static void a_full_log_ends_in_one_clear_sentence_and_is_kept(void **state)
{
    (void)state;
    end_full_log(73, 0);
    end_full_log(73, 1);
}

static void a_new_leader_can_be_elected_when_the_log_is_nearly_full(void **state)
{
    struct fake_cluster *cluster = open_cluster(3, 74);
    uint32_t leader = fake_leader(cluster);
    uint32_t client = fake_client_open(cluster, leader);
    uint64_t session = fake_open_session(cluster, client, 20000);
    uint32_t renewed = 0;
    (void)state;
    fill(cluster, client);

    fake_crash(cluster, leader);
    fake_run(cluster, ELECTION_MS);

    for (uint32_t i = 0; i < 3; i++) {
        if (i != leader) {
            client = fake_client_open(cluster, i);
            enum error error =
                fake_outcome(cluster, client, fake_session_renew(cluster, client, session, 1));
            renewed += error == ERR_OK ? 1 : 0;
        }
    }
    assert_int_equal(renewed, 2);
    fake_cluster_close(cluster);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(locks_and_sessions_are_given_back_when_the_log_is_nearly_full),
        cmocka_unit_test(sessions_expire_when_the_log_is_nearly_full),
        cmocka_unit_test(a_full_log_ends_in_one_clear_sentence_and_is_kept),
        cmocka_unit_test(a_new_leader_can_be_elected_when_the_log_is_nearly_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
