/* Tests of node/passing.c: any node takes any request. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "node/internal.h"
#include "tests/support/node/fake_members.h"
#include "tests/support/node/fake_world.h"

struct fixture {
    struct fake_cluster *cluster;
    uint32_t leader;
    uint32_t follower;
    uint32_t client; /* At the follower, and nowhere else. */
};

static struct fixture open_fixture(uint64_t seed)
{
    struct fixture fixture = {.cluster = fake_cluster_open(3, seed)};

    for (uint32_t i = 0; i < 3; i++) {
        fixture.cluster->worlds[i].options.request_count_max = 4096;
    }
    fake_start_all(fixture.cluster);
    fixture.leader = fake_leader(fixture.cluster);
    fixture.follower = (fixture.leader + 1) % 3;
    fixture.client = fake_client_open(fixture.cluster, fixture.follower);
    fake_answer(fixture.cluster, fixture.client, 1);
    return fixture;
}

static const struct passing *passing_at(const struct fixture *fixture)
{
    return &fixture->cluster->worlds[fixture->follower].node->passing;
}

static uint32_t notice_count(const struct fixture *fixture, uint32_t client,
                             enum wire_method notice)
{
    uint32_t count = 0;

    while (fake_find_notice(fixture->cluster, client, notice, count) != NULL) {
        count++;
    }
    return count;
}

static struct wire_lock_acquire_result acquired(const struct fixture *fixture, uint32_t client,
                                                uint64_t id)
{
    struct bytes body = fake_answer(fixture->cluster, client, id)->body;
    struct wire_lock_acquire_result result;

    assert_int_equal(fake_outcome(fixture->cluster, client, id), ERR_OK);
    assert_int_equal(wire_lock_acquire_result_decode(&body, &result), ERR_OK);
    return result;
}

static uint64_t revision_of(const struct fixture *fixture, uint64_t id)
{
    struct bytes body = fake_answer(fixture->cluster, fixture->client, id)->body;
    struct wire_put_result result;

    assert_int_equal(fake_outcome(fixture->cluster, fixture->client, id), ERR_OK);
    assert_int_equal(wire_put_result_decode(&body, &result), ERR_OK);
    return result.revision;
}

static void a_client_at_a_follower_is_served_as_at_the_leader(void **state)
{
    struct fixture fixture = open_fixture(301);
    struct fake_cluster *cluster = fixture.cluster;
    uint32_t client = fixture.client;
    uint64_t before = fake_status(cluster, fixture.follower).forwarded_total;
    uint64_t taken_before = fake_status(cluster, fixture.leader).taken_total;
    uint64_t session = fake_open_session(cluster, client, 5000);
    (void)state;

    uint64_t token =
        acquired(&fixture, client, fake_acquire(cluster, client, session, 1, "l", true)).token;
    enum error put = fake_outcome(cluster, client, fake_put(cluster, client, session, 2, "a", "1"));
    enum error got = fake_outcome(cluster, client, fake_get(cluster, client, "a"));
    enum error missing = fake_outcome(cluster, client, fake_get(cluster, client, "b"));
    enum error renewed =
        fake_outcome(cluster, client, fake_session_renew(cluster, client, session, 7));
    enum error released =
        fake_outcome(cluster, client, fake_release(cluster, client, session, 3, "l"));

    assert_true(token != 0);
    assert_int_equal(put, ERR_OK);
    assert_int_equal(got, ERR_OK);
    assert_int_equal(missing, ERR_NOT_FOUND);
    assert_int_equal(renewed, ERR_OK);
    assert_int_equal(released, ERR_OK);
    struct wire_status_result follower = fake_status(cluster, fixture.follower);
    assert_int_equal(follower.forwarded_total - before, 7);
    assert_int_equal(follower.forwarding, 0);
    assert_int_equal(fake_status(cluster, fixture.leader).taken_total - taken_before, 7);
    fake_cluster_close(cluster);
}

static void a_refusal_of_the_leader_comes_through_whole(void **state)
{
    struct fixture fixture = open_fixture(302);
    struct fake_cluster *cluster = fixture.cluster;
    (void)state;

    struct wire_failure failure =
        fake_failure(cluster, fixture.client, fake_session_open(cluster, fixture.client, 500));

    assert_int_equal(failure.code, ERR_TTL_TOO_SHORT);
    assert_in_range(failure.floor_ms, 959, 1100);
    fake_cluster_close(cluster);
}

static void the_leader_is_told_once_and_again_when_it_changes(void **state)
{
    struct fixture fixture = open_fixture(303);
    struct fake_cluster *cluster = fixture.cluster;
    uint32_t silent = fake_client_open(cluster, fixture.follower);
    char address[9] = "client:0";
    struct wire_leader_is told;
    (void)state;

    fake_answer(cluster, fixture.client, fake_put(cluster, fixture.client, 0, 0, "a", "1"));
    fake_answer(cluster, fixture.client, fake_put(cluster, fixture.client, 0, 0, "a", "2"));

    assert_int_equal(notice_count(&fixture, fixture.client, WIRE_NOTICE_leader_is), 1);
    struct bytes body = fake_find_notice(cluster, fixture.client, WIRE_NOTICE_leader_is, 0)->body;
    address[7] = (char)('1' + fixture.leader);
    assert_int_equal(wire_leader_is_decode(&body, &told), ERR_OK);
    assert_true(bytes_equal(told.leader, bytes_of_text(fake_names[fixture.leader])));
    assert_true(bytes_equal(told.leader_client, bytes_of_text(address)));

    fake_crash(cluster, fixture.leader);
    uint32_t next = fake_leader(cluster);
    fake_run(cluster, 200);

    assert_int_equal(notice_count(&fixture, fixture.client, WIRE_NOTICE_leader_is), 2);
    body = fake_find_notice(cluster, fixture.client, WIRE_NOTICE_leader_is, 1)->body;
    assert_int_equal(wire_leader_is_decode(&body, &told), ERR_OK);
    assert_true(bytes_equal(told.leader, bytes_of_text(fake_names[next])));
    assert_int_equal(notice_count(&fixture, silent, WIRE_NOTICE_leader_is), 0);
    fake_cluster_close(cluster);
}

static void events_of_a_session_are_told_where_its_client_is(void **state)
{
    struct fixture fixture = open_fixture(304);
    struct fake_cluster *cluster = fixture.cluster;
    uint32_t holder = fake_client_open(cluster, fixture.leader);
    uint64_t first = fake_open_session(cluster, holder, 60000);
    uint64_t second = fake_open_session(cluster, fixture.client, 1500);
    uint64_t token =
        acquired(&fixture, holder, fake_acquire(cluster, holder, first, 1, "l", true)).token;
    (void)state;

    struct wire_lock_acquire_result queued = acquired(
        &fixture, fixture.client, fake_acquire(cluster, fixture.client, second, 1, "l", true));
    fake_answer(cluster, holder, fake_release(cluster, holder, first, 2, "l"));
    fake_run(cluster, 200);

    const struct fake_message *notice =
        fake_find_notice(cluster, fixture.client, WIRE_NOTICE_granted, 0);
    struct wire_granted granted;
    assert_int_equal(queued.token, 0);
    assert_non_null(notice);
    struct bytes body = notice->body;
    assert_int_equal(wire_granted_decode(&body, &granted), ERR_OK);
    assert_int_equal(granted.session, second);
    assert_true(granted.token > token);
    fake_run(cluster, 2000);
    assert_int_equal(notice_count(&fixture, fixture.client, WIRE_NOTICE_granted), 1);
    assert_int_equal(notice_count(&fixture, fixture.client, WIRE_NOTICE_session_ended), 1);
    fake_cluster_close(cluster);
}

/* Heartbeats would tell the follower too, but late. */
static void a_grant_at_a_follower_does_not_wait_for_a_heartbeat(void **state)
{
    struct fake_cluster *cluster = fake_cluster_open(3, 318);
    (void)state;
    for (uint32_t i = 0; i < 3; i++) {
        cluster->worlds[i].options.election_ms_min = 2500;
        cluster->worlds[i].options.election_ms_max = 5000;
        cluster->worlds[i].options.heartbeat_ms = 1000;
    }
    fake_start_all(cluster);
    struct fixture fixture = {.cluster = cluster, .leader = fake_leader(cluster)};
    fixture.follower = (fixture.leader + 1) % 3;
    fixture.client = fake_client_open(cluster, fixture.follower);
    uint32_t holder = fake_client_open(cluster, fixture.follower);
    uint64_t first = fake_open_session(cluster, holder, 60000);
    uint64_t second = fake_open_session(cluster, fixture.client, 60000);
    uint64_t sequence = 1;
    uint64_t slowest_ms = 0;

    for (uint32_t i = 0; i < 10; i++) {
        acquired(&fixture, holder, fake_acquire(cluster, holder, first, sequence, "l", true));
        acquired(&fixture, fixture.client,
                 fake_acquire(cluster, fixture.client, second, sequence, "l", true));
        uint64_t begin_ms = cluster->now_ms;
        fake_release(cluster, holder, first, sequence + 1, "l");
        while (fake_find_notice(cluster, fixture.client, WIRE_NOTICE_granted, i) == NULL) {
            assert_true(cluster->now_ms < begin_ms + 2000);
            fake_run(cluster, 1);
        }
        uint64_t elapsed_ms = cluster->now_ms - begin_ms;
        slowest_ms = elapsed_ms > slowest_ms ? elapsed_ms : slowest_ms;
        fake_outcome(cluster, fixture.client,
                     fake_release(cluster, fixture.client, second, sequence + 1, "l"));
        sequence += 2;
    }

    assert_in_range(slowest_ms, 1, 100);
    fake_cluster_close(cluster);
}

/* The log tells it, not the old leader. */
static void a_grant_is_told_at_a_follower_although_the_leader_has_changed(void **state)
{
    struct fixture fixture = open_fixture(305);
    struct fake_cluster *cluster = fixture.cluster;
    uint32_t holder = fake_client_open(cluster, fixture.leader);
    uint64_t first = fake_open_session(cluster, holder, 2000);
    uint64_t second = fake_open_session(cluster, fixture.client, 60000);
    acquired(&fixture, holder, fake_acquire(cluster, holder, first, 1, "l", true));
    acquired(&fixture, fixture.client, fake_acquire(cluster, fixture.client, second, 1, "l", true));
    (void)state;

    fake_crash(cluster, fixture.leader); /* And with it the holder. */
    fake_leader(cluster);
    fake_run(cluster, 4000);

    assert_int_equal(notice_count(&fixture, fixture.client, WIRE_NOTICE_granted), 1);
    fake_cluster_close(cluster);
}

static void what_is_asked_again_after_a_change_of_leader_is_done_once(void **state)
{
    struct fixture fixture = open_fixture(306);
    struct fake_cluster *cluster = fixture.cluster;
    uint32_t client = fixture.client;
    uint64_t session = fake_open_session(cluster, client, 60000);
    uint64_t first = revision_of(&fixture, fake_put(cluster, client, session, 1, "a", "1"));
    (void)state;

    fake_crash(cluster, fixture.leader);
    fake_leader(cluster);
    uint64_t again = revision_of(&fixture, fake_put(cluster, client, session, 1, "a", "1"));

    assert_int_equal(first, again);
    fake_cluster_close(cluster);
}

static void what_was_passed_on_and_not_answered_is_told_as_it_is(void **state)
{
    struct fixture fixture = open_fixture(307);
    struct fake_cluster *cluster = fixture.cluster;
    uint32_t client = fixture.client;
    cluster->is_cut[fixture.leader][fixture.follower] = true; /* Answers alone stand still. */
    uint64_t written = fake_put(cluster, client, 0, 0, "a", "1");
    uint64_t read = fake_get(cluster, client, "a");
    fake_run(cluster, 60);
    assert_int_equal(passing_at(&fixture)->count, 2);
    (void)state;

    fake_break(cluster, fixture.leader, fixture.follower);
    fake_cut(cluster, fixture.leader, fixture.follower, false);

    assert_int_equal(fake_outcome(cluster, client, written), ERR_UNKNOWN_OUTCOME);
    assert_int_equal(fake_outcome(cluster, client, read), ERR_NOT_LEADER);
    assert_int_equal(passing_at(&fixture)->count, 0);
    fake_run(cluster, 1000);
    assert_int_equal(fake_outcome(cluster, client, fake_get(cluster, client, "a")), ERR_OK);
    fake_cluster_close(cluster);
}

static void a_leader_that_falls_silent_is_not_waited_for_for_ever(void **state)
{
    struct fixture fixture = open_fixture(308);
    struct fake_cluster *cluster = fixture.cluster;
    cluster->worlds[fixture.leader].is_paused = true;
    uint64_t id = fake_put(cluster, fixture.client, 0, 0, "a", "1");
    uint64_t begin_ms = cluster->now_ms;
    (void)state;

    enum error error = fake_outcome(cluster, fixture.client, id);

    assert_int_equal(error, ERR_UNKNOWN_OUTCOME);
    /* An election, and what the old leader is given. */
    assert_in_range(cluster->now_ms - begin_ms, 500, 4000);
    fake_cluster_close(cluster);
}

static void stall_disks(struct fake_cluster *cluster, bool is_stalled)
{
    for (uint32_t i = 0; i < cluster->node_count; i++) {
        cluster->worlds[i].disk_is_stalled = is_stalled;
    }
}

/* The leader's link broke and stands again; the slot is another request's by then. */
static void an_answer_that_comes_after_all_finds_nobody(void **state)
{
    struct fixture fixture = open_fixture(319);
    struct fake_cluster *cluster = fixture.cluster;
    struct wire_get_result got;
    (void)state;
    stall_disks(cluster, true);
    uint64_t first = fake_put(cluster, fixture.client, 0, 0, "a", "1");
    fake_run(cluster, 20);
    fake_break_links(cluster, fixture.leader, fixture.follower);
    assert_int_equal(fake_outcome(cluster, fixture.client, first), ERR_UNKNOWN_OUTCOME);
    fake_run(cluster, 100);
    uint64_t second = fake_put(cluster, fixture.client, 0, 0, "b", "2");
    fake_run(cluster, 20);
    assert_int_equal(passing_at(&fixture)->count, 1);

    stall_disks(cluster, false);
    uint64_t revision = revision_of(&fixture, second);

    struct bytes body =
        fake_answer(cluster, fixture.client, fake_get(cluster, fixture.client, "b"))->body;
    assert_int_equal(wire_get_result_decode(&body, &got), ERR_OK);
    assert_int_equal(got.revision, revision);
    fake_cluster_close(cluster);
}

static void leadership_is_moved_through_a_follower(void **state)
{
    struct fixture fixture = open_fixture(309);
    struct fake_cluster *cluster = fixture.cluster;
    uint32_t target = (fixture.leader + 2) % 3;
    (void)state;

    enum error error = fake_outcome(
        cluster, fixture.client,
        fake_change(cluster, fixture.client, WIRE_METHOD_leader_move, fake_names[target]));

    assert_int_equal(error, ERR_OK);
    assert_int_equal(fake_leader(cluster), target);
    fake_cluster_close(cluster);
}

static void one_client_cannot_take_all_of_what_is_passed_on(void **state)
{
    struct fixture fixture = open_fixture(310);
    struct fake_cluster *cluster = fixture.cluster;
    uint32_t other = fake_client_open(cluster, fixture.follower);
    uint32_t refused = 0;
    uint64_t ids[PASS_CONNECTION_COUNT_MAX + 10];
    fake_answer(cluster, other, 1);
    fake_cut(cluster, fixture.follower, fixture.leader, true);
    (void)state;

    for (uint32_t i = 0; i < COUNT_OF(ids); i++) {
        ids[i] = fake_get(cluster, fixture.client, "a");
    }
    fake_run(cluster, 20);
    for (uint32_t i = 0; i < COUNT_OF(ids); i++) {
        refused += fake_find_answer(cluster, fixture.client, ids[i]) != NULL ? 1 : 0;
    }
    uint64_t polite = fake_get(cluster, other, "a");
    fake_run(cluster, 20);

    assert_int_equal(refused, 10);
    struct wire_failure failure = fake_failure(cluster, fixture.client, ids[COUNT_OF(ids) - 1]);
    assert_int_equal(failure.code, ERR_OVERLOADED);
    assert_int_not_equal(failure.retry_after_ms, 0);
    assert_null(fake_find_answer(cluster, other, polite));
    fake_cut(cluster, fixture.follower, fixture.leader, false);
    assert_int_equal(fake_outcome(cluster, other, polite), ERR_NOT_FOUND);
    fake_cluster_close(cluster);
}

static void bytes_under_way_have_a_limit_that_one_client_does_not_take(void **state)
{
    struct fixture fixture = open_fixture(311);
    struct fake_cluster *cluster = fixture.cluster;
    uint32_t other = fake_client_open(cluster, fixture.follower);
    char *value = calloc(1, 300001);
    memset(value, 'v', 300000);
    fake_answer(cluster, other, 1);
    fake_cut(cluster, fixture.follower, fixture.leader, true);
    (void)state;

    uint64_t first = fake_put(cluster, fixture.client, 0, 0, "a", value);
    uint64_t second = fake_put(cluster, fixture.client, 0, 0, "b", value);
    uint64_t third = fake_put(cluster, other, 0, 0, "c", value);

    assert_int_equal(fake_outcome(cluster, fixture.client, second), ERR_OVERLOADED);
    assert_true(passing_at(&fixture)->bytes > 600000);
    fake_cut(cluster, fixture.follower, fixture.leader, false);
    assert_int_equal(fake_outcome(cluster, fixture.client, first), ERR_OK);
    assert_int_equal(fake_outcome(cluster, other, third), ERR_OK);
    assert_int_equal(passing_at(&fixture)->bytes, 0);
    free(value);
    fake_cluster_close(cluster);
}

/* Answers stand still on their way: the leader refuses what would be too much beside them. */
static void answers_under_way_to_one_follower_have_a_limit(void **state)
{
    struct fixture fixture = open_fixture(312);
    struct fake_cluster *cluster = fixture.cluster;
    uint32_t ok = 0;
    uint32_t refused = 0;
    uint64_t ids[8];
    char *value = calloc(1, 500001);
    memset(value, 'v', 500000);
    assert_int_equal(
        fake_outcome(cluster, fixture.client, fake_put(cluster, fixture.client, 0, 0, "a", value)),
        ERR_OK);
    fake_cut(cluster, fixture.leader, fixture.follower, true);
    (void)state;

    for (uint32_t i = 0; i < COUNT_OF(ids); i++) {
        ids[i] = fake_get(cluster, fixture.client, "a");
    }
    fake_run(cluster, 60);
    fake_cut(cluster, fixture.leader, fixture.follower, false);
    for (uint32_t i = 0; i < COUNT_OF(ids); i++) {
        enum error error = fake_outcome(cluster, fixture.client, ids[i]);
        ok += error == ERR_OK ? 1 : 0;
        refused += error == ERR_OVERLOADED ? 1 : 0;
    }

    assert_int_equal(ok, PASS_ANSWER_BYTES_MAX / 500000);
    assert_int_equal(refused, COUNT_OF(ids) - ok);
    /* They have come: there is room again. */
    assert_int_equal(fake_outcome(cluster, fixture.client, fake_get(cluster, fixture.client, "a")),
                     ERR_OK);
    free(value);
    fake_cluster_close(cluster);
}

/* It runs an older version, which would close the connection. */
static void a_leader_that_takes_no_forwards_is_named_instead(void **state)
{
    struct fixture fixture = open_fixture(320);
    struct fake_cluster *cluster = fixture.cluster;
    struct node *node = cluster->worlds[fixture.follower].node;
    node->peers[place_of_id(node, node->status.leader)].passing.takes_forwards = false;
    (void)state;

    struct wire_failure failure =
        fake_failure(cluster, fixture.client, fake_get(cluster, fixture.client, "a"));

    assert_int_equal(failure.code, ERR_NOT_LEADER);
    assert_int_equal(failure.leader_client.size, 8);
    assert_int_equal(notice_count(&fixture, fixture.client, WIRE_NOTICE_leader_is), 0);
    fake_cluster_close(cluster);
}

static void a_follower_that_stops_answers_what_it_has_passed_on(void **state)
{
    struct fixture fixture = open_fixture(316);
    struct fake_cluster *cluster = fixture.cluster;
    fake_cut(cluster, fixture.leader, fixture.follower, true);
    uint64_t id = fake_put(cluster, fixture.client, 0, 0, "a", "1");
    fake_run(cluster, 20);
    (void)state;

    fake_stop(cluster, fixture.follower, 2000);
    fake_run(cluster, 50);

    const struct fake_message *answer = fake_find_answer(cluster, fixture.client, id);
    assert_non_null(answer);
    assert_int_equal(fake_outcome(cluster, fixture.client, id), ERR_UNKNOWN_OUTCOME);
    fake_cluster_close(cluster);
}

static void a_client_that_left_is_not_answered_and_its_room_is_free(void **state)
{
    struct fixture fixture = open_fixture(317);
    struct fake_cluster *cluster = fixture.cluster;
    fake_cut(cluster, fixture.leader, fixture.follower, true);
    fake_put(cluster, fixture.client, 0, 0, "a", "1");
    fake_run(cluster, 20);
    (void)state;

    fake_client_close(cluster, fixture.client);
    fake_run(cluster, 20);
    uint32_t other = fake_client_open(cluster, fixture.follower);
    fake_cut(cluster, fixture.leader, fixture.follower, false);

    assert_int_equal(fake_outcome(cluster, other, fake_get(cluster, other, "a")), ERR_OK);
    assert_int_equal(passing_at(&fixture)->count, 0);
    fake_cluster_close(cluster);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_client_at_a_follower_is_served_as_at_the_leader),
        cmocka_unit_test(a_refusal_of_the_leader_comes_through_whole),
        cmocka_unit_test(the_leader_is_told_once_and_again_when_it_changes),
        cmocka_unit_test(events_of_a_session_are_told_where_its_client_is),
        cmocka_unit_test(a_grant_at_a_follower_does_not_wait_for_a_heartbeat),
        cmocka_unit_test(a_grant_is_told_at_a_follower_although_the_leader_has_changed),
        cmocka_unit_test(what_is_asked_again_after_a_change_of_leader_is_done_once),
        cmocka_unit_test(what_was_passed_on_and_not_answered_is_told_as_it_is),
        cmocka_unit_test(a_leader_that_falls_silent_is_not_waited_for_for_ever),
        cmocka_unit_test(an_answer_that_comes_after_all_finds_nobody),
        cmocka_unit_test(leadership_is_moved_through_a_follower),
        cmocka_unit_test(one_client_cannot_take_all_of_what_is_passed_on),
        cmocka_unit_test(bytes_under_way_have_a_limit_that_one_client_does_not_take),
        cmocka_unit_test(answers_under_way_to_one_follower_have_a_limit),
        cmocka_unit_test(a_leader_that_takes_no_forwards_is_named_instead),
        cmocka_unit_test(a_follower_that_stops_answers_what_it_has_passed_on),
        cmocka_unit_test(a_client_that_left_is_not_answered_and_its_room_is_free),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
