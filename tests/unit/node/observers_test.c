/* Tests of node/observers.c: whoever observes an election is told of each change, and once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "node/limits.h"
#include "tests/support/node/fake_world.h"

/* Clients: one that observes, and two candidates with their sessions. */
struct election {
    struct fake_cluster *cluster;
    uint32_t leader; /* Of the cluster. */
    uint32_t observer;
    uint32_t client;
    uint64_t sessions[2];
    uint64_t sequences[2];
};

static const uint8_t name[] = {0, 'p'};

static struct election election_open(uint64_t seed)
{
    struct election election = {.cluster = fake_cluster_open(3, seed)};

    fake_start_all(election.cluster);
    election.leader = fake_leader(election.cluster);
    election.observer = fake_client_open(election.cluster, election.leader);
    election.client = fake_client_open(election.cluster, election.leader);
    for (int i = 0; i < 2; i++) {
        election.sessions[i] = fake_open_session(election.cluster, election.client, 600000);
    }
    return election;
}

static void campaign(struct election *election, int who, const char *value)
{
    uint8_t memory[256];
    struct buffer params = buffer_of(memory, sizeof(memory));
    const struct wire_lock_acquire request = {.session = election->sessions[who],
                                              .sequence = ++election->sequences[who],
                                              .name = bytes_of(name, sizeof(name)),
                                              .wait = true,
                                              .owner = bytes_of_text("me"),
                                              .metadata = bytes_of_text(value)};

    assert_true(wire_lock_acquire_encode(&request, &params));
    assert_int_equal(fake_outcome(election->cluster, election->client,
                                  fake_request(election->cluster, election->client,
                                               WIRE_METHOD_lock_acquire, &params)),
                     ERR_OK);
}

static void resign(struct election *election, int who)
{
    uint8_t memory[256];
    struct buffer params = buffer_of(memory, sizeof(memory));
    const struct wire_lock_release request = {.session = election->sessions[who],
                                              .sequence = ++election->sequences[who],
                                              .name = bytes_of(name, sizeof(name))};

    assert_true(wire_lock_release_encode(&request, &params));
    assert_int_equal(fake_outcome(election->cluster, election->client,
                                  fake_request(election->cluster, election->client,
                                               WIRE_METHOD_lock_release, &params)),
                     ERR_OK);
}

static enum error proclaim(struct election *election, int who, uint64_t token, const char *value)
{
    uint8_t memory[256];
    struct buffer params = buffer_of(memory, sizeof(memory));
    const struct wire_election_proclaim request = {.session = election->sessions[who],
                                                   .sequence = ++election->sequences[who],
                                                   .name = bytes_of(name, sizeof(name)),
                                                   .token = token,
                                                   .value = bytes_of_text(value)};

    assert_true(wire_election_proclaim_encode(&request, &params));
    return fake_outcome(
        election->cluster, election->client,
        fake_request(election->cluster, election->client, WIRE_METHOD_election_proclaim, &params));
}

static uint64_t show(struct election *election, uint64_t token, const char *value, uint32_t wait_ms)
{
    uint8_t memory[256];
    struct buffer params = buffer_of(memory, sizeof(memory));
    const struct wire_election_show request = {.name = bytes_of(name, sizeof(name)),
                                               .token = token,
                                               .value = bytes_of_text(value),
                                               .wait_ms = wait_ms};

    assert_true(wire_election_show_encode(&request, &params));
    return fake_request(election->cluster, election->observer, WIRE_METHOD_election_show, &params);
}

static void assert_shown(struct election *election, uint64_t id, uint64_t token, const char *value)
{
    const struct fake_message *answer = fake_find_answer(election->cluster, election->observer, id);
    struct wire_election_show_result result;

    assert_non_null(answer);
    struct bytes body = answer->body;
    assert_false(answer->failed);
    assert_int_equal(wire_election_show_result_decode(&body, &result), ERR_OK);
    assert_int_equal(result.token, token);
    assert_true(bytes_equal(result.value, bytes_of_text(value)));
    assert_true(bytes_equal(result.owner, bytes_of_text(token == 0 ? "" : "me")));
    assert_true((result.session == 0) == (token == 0));
}

static void an_observer_waits_until_somebody_leads(void **state)
{
    struct election election = election_open(61);
    struct fake_cluster *cluster = election.cluster;
    (void)state;

    uint64_t at_once = show(&election, 0, "", 0);
    uint64_t waits = show(&election, 0, "", 10000);
    fake_run(cluster, 200);
    assert_shown(&election, at_once, 0, "");
    assert_null(fake_find_answer(cluster, election.observer, waits));
    campaign(&election, 0, "v");
    fake_run(cluster, 5);

    assert_shown(&election, waits, 1, "v");
    fake_cluster_close(cluster);
}

static void what_an_observer_has_not_seen_is_answered_at_once(void **state)
{
    struct election election = election_open(62);
    struct fake_cluster *cluster = election.cluster;
    (void)state;

    campaign(&election, 0, "v");
    uint64_t other_token = show(&election, 7, "v", 10000);
    uint64_t other_value = show(&election, 1, "w", 10000);
    uint64_t same = show(&election, 1, "v", 10000);
    fake_run(cluster, 100);

    assert_shown(&election, other_token, 1, "v");
    assert_shown(&election, other_value, 1, "v");
    assert_null(fake_find_answer(cluster, election.observer, same));
    fake_cluster_close(cluster);
}

static void a_proclaimed_value_and_the_next_leader_are_news(void **state)
{
    struct election election = election_open(63);
    struct fake_cluster *cluster = election.cluster;
    (void)state;

    campaign(&election, 0, "v");
    campaign(&election, 1, "next");
    uint64_t first = show(&election, 1, "v", 10000);
    fake_run(cluster, 50);
    assert_int_equal(proclaim(&election, 1, 1, "w"), ERR_NOT_FOUND);
    assert_int_equal(proclaim(&election, 0, 2, "w"), ERR_FENCED);
    assert_null(fake_find_answer(cluster, election.observer, first));
    assert_int_equal(proclaim(&election, 0, 1, "w"), ERR_OK);
    fake_run(cluster, 5);
    assert_shown(&election, first, 1, "w");

    uint64_t second = show(&election, 1, "w", 10000);
    fake_run(cluster, 50);
    resign(&election, 0);
    fake_run(cluster, 5);
    assert_shown(&election, second, 2, "next");

    uint64_t third = show(&election, 2, "next", 10000);
    fake_run(cluster, 50);
    resign(&election, 1);
    fake_run(cluster, 5);
    assert_shown(&election, third, 0, "");
    fake_cluster_close(cluster);
}

static void a_wait_that_is_over_is_answered_with_what_was_known(void **state)
{
    struct election election = election_open(64);
    struct fake_cluster *cluster = election.cluster;
    (void)state;

    campaign(&election, 0, "v");
    uint64_t brief = show(&election, 1, "v", 300);
    uint64_t id = show(&election, 1, "v", UINT32_MAX);
    fake_run(cluster, 280);
    assert_null(fake_find_answer(cluster, election.observer, brief));
    fake_run(cluster, 50);
    assert_shown(&election, brief, 1, "v");
    fake_run(cluster, OBSERVER_WAIT_MS_MAX - 1000);
    assert_null(fake_find_answer(cluster, election.observer, id));
    fake_run(cluster, 1000);

    assert_shown(&election, id, 1, "v");
    fake_cluster_close(cluster);
}

static void those_that_wait_are_sent_on_when_the_node_leads_no_more(void **state)
{
    struct election election = election_open(65);
    struct fake_cluster *cluster = election.cluster;
    (void)state;

    campaign(&election, 0, "v");
    uint64_t id = show(&election, 1, "v", 30000);
    fake_run(cluster, 100);
    fake_isolate(cluster, election.leader, true);

    assert_int_equal(fake_outcome(cluster, election.observer, id), ERR_NOT_LEADER);
    fake_cluster_close(cluster);
}

static void more_than_may_wait_are_refused_until_places_are_free(void **state)
{
    struct election election = election_open(66);
    struct fake_cluster *cluster = election.cluster;
    uint64_t id = 0;
    (void)state;

    campaign(&election, 0, "v");
    for (uint32_t i = 0; i < OBSERVER_COUNT_MAX; i++) {
        id = show(&election, 1, "v", 60000);
        if (i % 100 == 0) {
            fake_run(cluster, 20); /* Reads under way are bounded, too. */
        }
    }
    fake_run(cluster, 50);
    assert_null(fake_find_answer(cluster, election.observer, id));
    id = show(&election, 1, "v", 60000);
    assert_int_equal(fake_failure(cluster, election.observer, id).code, ERR_OVERLOADED);
    assert_true(fake_failure(cluster, election.observer, id).retry_after_ms != 0);

    /* Whose connection is gone does not keep a place. */
    fake_client_close(cluster, election.observer);
    fake_run(cluster, 20);
    election.observer = fake_client_open(cluster, election.leader);
    id = show(&election, 1, "v", 60000);
    fake_run(cluster, 100);
    assert_null(fake_find_answer(cluster, election.observer, id));
    assert_int_equal(proclaim(&election, 0, 1, "w"), ERR_OK);
    fake_run(cluster, 5);
    assert_shown(&election, id, 1, "w");
    fake_cluster_close(cluster);
}

static void an_election_is_exclusive_and_has_a_name(void **state)
{
    struct election election = election_open(67);
    struct fake_cluster *cluster = election.cluster;
    uint8_t memory[256];
    struct wire_lock_acquire request = {.session = election.sessions[0],
                                        .sequence = 1,
                                        .name = bytes_of(name, sizeof(name)),
                                        .shared = true};
    (void)state;

    for (int i = 0; i < 3; i++) {
        struct buffer params = buffer_of(memory, sizeof(memory));
        request.shared = i == 0;
        request.permits = i == 1 ? 2 : 0;
        request.name.size = i == 2 ? 1 : 2;
        assert_true(wire_lock_acquire_encode(&request, &params));
        assert_int_equal(
            fake_outcome(cluster, election.client,
                         fake_request(cluster, election.client, WIRE_METHOD_lock_acquire, &params)),
            ERR_MALFORMED);
    }
    struct buffer params = buffer_of(memory, sizeof(memory));
    const struct wire_election_show of_lock = {.name = bytes_of_text("p")};
    assert_true(wire_election_show_encode(&of_lock, &params));
    assert_int_equal(
        fake_outcome(cluster, election.client,
                     fake_request(cluster, election.client, WIRE_METHOD_election_show, &params)),
        ERR_MALFORMED);
    fake_cluster_close(cluster);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_observer_waits_until_somebody_leads),
        cmocka_unit_test(what_an_observer_has_not_seen_is_answered_at_once),
        cmocka_unit_test(a_proclaimed_value_and_the_next_leader_are_news),
        cmocka_unit_test(a_wait_that_is_over_is_answered_with_what_was_known),
        cmocka_unit_test(those_that_wait_are_sent_on_when_the_node_leads_no_more),
        cmocka_unit_test(more_than_may_wait_are_refused_until_places_are_free),
        cmocka_unit_test(an_election_is_exclusive_and_has_a_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
