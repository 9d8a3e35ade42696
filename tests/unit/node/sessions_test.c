/* Tests of node/sessions.c, node/renewals.c and node/applier.c: sessions, locks and cluster time.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lease/lease.h"
#include "node/limits.h"
#include "tests/support/node/fake_world.h"

static struct wire_lock_acquire_result acquired(struct fake_cluster *cluster, uint32_t client,
                                                uint64_t id)
{
    struct bytes body = fake_answer(cluster, client, id)->body;
    struct wire_lock_acquire_result result;

    assert_int_equal(fake_outcome(cluster, client, id), ERR_OK);
    assert_int_equal(wire_lock_acquire_result_decode(&body, &result), ERR_OK);
    return result;
}

static void a_release_pushes_the_grant_to_the_next(void **state)
{
    struct fake_cluster *cluster = fake_cluster_open(3, 31);
    fake_start_all(cluster);
    uint32_t leader = fake_leader(cluster);
    uint32_t holder = fake_client_open(cluster, leader);
    uint32_t waiter = fake_client_open(cluster, leader);
    uint64_t first = fake_open_session(cluster, holder, 60000);
    uint64_t second = fake_open_session(cluster, waiter, 60000);
    uint64_t token =
        acquired(cluster, holder, fake_acquire(cluster, holder, first, 1, "l", true)).token;
    struct wire_lock_acquire_result queued =
        acquired(cluster, waiter, fake_acquire(cluster, waiter, second, 1, "l", true));

    fake_answer(cluster, holder, fake_release(cluster, holder, first, 2, "l"));
    fake_run(cluster, 10);

    const struct fake_message *notice = fake_find_notice(cluster, waiter, WIRE_NOTICE_granted, 0);
    struct wire_granted granted;
    assert_int_equal(queued.token, 0);
    assert_int_equal(queued.position, 1);
    assert_non_null(notice);
    struct bytes body = notice->body;
    assert_int_equal(wire_granted_decode(&body, &granted), ERR_OK);
    assert_int_equal(granted.session, second);
    assert_true(granted.token > token);
    assert_true(bytes_equal(granted.name, bytes_of_text("l")));
    assert_null(fake_find_notice(cluster, holder, WIRE_NOTICE_granted, 0));
    fake_cluster_close(cluster);
    (void)state;
}

static void events_go_to_the_connection_that_spoke_last(void **state)
{
    struct fake_cluster *cluster = fake_cluster_open(3, 32);
    fake_start_all(cluster);
    uint32_t leader = fake_leader(cluster);
    uint32_t old = fake_client_open(cluster, leader);
    uint64_t session = fake_open_session(cluster, old, 1200);
    uint32_t new = fake_client_open(cluster, leader);
    fake_answer(cluster, new, fake_session_renew(cluster, new, session, 1));

    fake_run(cluster, 1500);

    assert_null(fake_find_notice(cluster, old, WIRE_NOTICE_session_ended, 0));
    assert_non_null(fake_find_notice(cluster, new, WIRE_NOTICE_session_ended, 0));
    fake_cluster_close(cluster);
    (void)state;
}

static void renewals_share_an_entry_and_echo_their_attempts(void **state)
{
    struct fake_cluster *cluster = fake_cluster_open(3, 33);
    fake_start_all(cluster);
    uint32_t leader = fake_leader(cluster);
    uint32_t client = fake_client_open(cluster, leader);
    uint64_t sessions[20];
    uint64_t ids[20];
    for (uint32_t i = 0; i < 20; i++) {
        sessions[i] = fake_open_session(cluster, client, 60000);
    }
    uint64_t before = fake_status(cluster, leader).last;

    for (uint32_t i = 0; i < 20; i++) {
        ids[i] = fake_session_renew(cluster, client, sessions[i], 100 + i);
    }
    for (uint32_t i = 0; i < 20; i++) {
        struct bytes body = fake_answer(cluster, client, ids[i])->body;
        struct wire_session_renew_result result;
        assert_int_equal(wire_session_renew_result_decode(&body, &result), ERR_OK);
        assert_int_equal(result.attempt, 100 + i);
    }

    /* Some arrive after the first have waited long enough. */
    assert_in_range(fake_status(cluster, leader).last - before, 1,
                    20 / RENEWAL_ENTRY_COUNT_MAX + 3);
    fake_cluster_close(cluster);
    (void)state;
}

static void a_renewal_is_never_answered_from_a_store(void **state)
{
    struct fake_cluster *cluster = fake_cluster_open(3, 34);
    fake_start_all(cluster);
    uint32_t leader = fake_leader(cluster);
    uint32_t client = fake_client_open(cluster, leader);
    uint64_t session = fake_open_session(cluster, client, 60000);
    fake_answer(cluster, client, fake_session_renew(cluster, client, session, 1));
    uint64_t before = fake_status(cluster, leader).last;

    fake_answer(cluster, client, fake_session_renew(cluster, client, session, 1));

    assert_true(fake_status(cluster, leader).last > before);
    fake_cluster_close(cluster);
    (void)state;
}

static void a_session_that_is_not_renewed_ends_by_itself(void **state)
{
    struct fake_cluster *cluster = fake_cluster_open(3, 35);
    fake_start_all(cluster);
    uint32_t leader = fake_leader(cluster);
    uint32_t client = fake_client_open(cluster, leader);
    uint64_t session = fake_open_session(cluster, client, 1200);

    fake_run(cluster, 1150);
    uint64_t alive = fake_status(cluster, leader).sessions;
    fake_run(cluster, 150);
    uint64_t gone = fake_status(cluster, leader).sessions;

    assert_int_equal(alive, 1);
    assert_int_equal(gone, 0);
    assert_non_null(fake_find_notice(cluster, client, WIRE_NOTICE_session_ended, 0));
    assert_int_equal(fake_outcome(cluster, client, fake_session_renew(cluster, client, session, 2)),
                     ERR_SESSION_EXPIRED);
    fake_cluster_close(cluster);
    (void)state;
}

/* More than one entry may end: the leader goes on with ticks until none is left. */
static void a_hundred_sessions_end_together(void **state)
{
    struct fake_cluster *cluster = fake_cluster_open(3, 41);
    fake_start_all(cluster);
    uint32_t leader = fake_leader(cluster);
    uint32_t client = fake_client_open(cluster, leader);
    uint64_t id = 0;
    for (uint32_t i = 0; i < 100; i++) {
        id = fake_session_open(cluster, client, 1500);
    }
    fake_answer(cluster, client, id);
    uint64_t opened = fake_status(cluster, leader).sessions;

    fake_run(cluster, 1600);

    assert_true(opened > LEASE_GRANT_COUNT_MAX);
    assert_int_equal(fake_status(cluster, leader).sessions, 0);
    assert_non_null(fake_find_notice(cluster, client, WIRE_NOTICE_session_ended, 99));
    fake_cluster_close(cluster);
    (void)state;
}

static void whose_lock_is_unlocked_by_force_is_told_so(void **state)
{
    struct fake_cluster *cluster = fake_cluster_open(3, 42);
    fake_start_all(cluster);
    uint32_t leader = fake_leader(cluster);
    uint32_t holder = fake_client_open(cluster, leader), waiter = fake_client_open(cluster, leader);
    uint64_t first = fake_open_session(cluster, holder, 60000);
    uint64_t second = fake_open_session(cluster, waiter, 60000);
    fake_answer(cluster, holder, fake_acquire(cluster, holder, first, 1, "lock", true));
    fake_answer(cluster, waiter, fake_acquire(cluster, waiter, second, 1, "lock", true));
    uint8_t memory[256];
    struct buffer params = buffer_of(memory, sizeof(memory));
    const struct wire_lock_break forced = {
        .name = bytes_of_text("lock"), .token = 1, .reason = bytes_of_text("hangs")};
    assert_true(wire_lock_break_encode(&forced, &params));

    assert_int_equal(fake_outcome(cluster, waiter,
                                  fake_request(cluster, waiter, WIRE_METHOD_lock_break, &params)),
                     ERR_OK);

    const struct fake_message *notice = fake_find_notice(cluster, holder, WIRE_NOTICE_revoked, 0);
    struct wire_revoked revoked;
    assert_non_null(notice);
    struct bytes body = notice->body;
    assert_int_equal(wire_revoked_decode(&body, &revoked), ERR_OK);
    assert_int_equal(revoked.session, first);
    assert_int_equal(revoked.token, 1);
    assert_true(bytes_equal(revoked.name, bytes_of_text("lock")));
    assert_non_null(fake_find_notice(cluster, waiter, WIRE_NOTICE_granted, 0));
    assert_int_equal(fake_outcome(cluster, holder, fake_session_renew(cluster, holder, first, 1)),
                     ERR_OK);
    fake_cluster_close(cluster);
    (void)state;
}

static void a_renewed_session_lives_on(void **state)
{
    struct fake_cluster *cluster = fake_cluster_open(3, 36);
    fake_start_all(cluster);
    uint32_t leader = fake_leader(cluster);
    uint32_t client = fake_client_open(cluster, leader);
    uint64_t session = fake_open_session(cluster, client, 1200);

    for (uint64_t i = 0; i < 10; i++) {
        fake_run(cluster, 400);
        assert_int_equal(
            fake_outcome(cluster, client, fake_session_renew(cluster, client, session, i)), ERR_OK);
    }

    assert_null(fake_find_notice(cluster, client, WIRE_NOTICE_session_ended, 0));
    fake_cluster_close(cluster);
    (void)state;
}

static void a_waiter_is_granted_when_the_holder_dies_with_the_leader(void **state)
{
    struct fake_cluster *cluster = fake_cluster_open(3, 37);
    fake_start_all(cluster);
    uint32_t leader = fake_leader(cluster);
    uint32_t holder = fake_client_open(cluster, leader);
    uint32_t waiter = fake_client_open(cluster, leader);
    uint64_t first = fake_open_session(cluster, holder, 1500);
    uint64_t second = fake_open_session(cluster, waiter, 60000);
    uint64_t opened_ms = cluster->now_ms;
    uint64_t token =
        acquired(cluster, holder, fake_acquire(cluster, holder, first, 1, "l", true)).token;
    acquired(cluster, waiter, fake_acquire(cluster, waiter, second, 1, "l", true));

    fake_crash(cluster, leader);
    waiter = fake_client_open(cluster, fake_leader(cluster));
    assert_int_equal(fake_outcome(cluster, waiter, fake_session_renew(cluster, waiter, second, 1)),
                     ERR_OK);
    while (fake_find_notice(cluster, waiter, WIRE_NOTICE_granted, 0) == NULL) {
        fake_run(cluster, 1);
        assert_in_range(cluster->now_ms - opened_ms, 0, 6000);
    }

    struct bytes body = fake_find_notice(cluster, waiter, WIRE_NOTICE_granted, 0)->body;
    struct wire_granted granted;
    assert_int_equal(wire_granted_decode(&body, &granted), ERR_OK);
    assert_true(granted.token > token);
    /* Cluster time stood still during the election, so it took longer than the TTL. */
    assert_in_range(cluster->now_ms - opened_ms, 1490, 5000);
    fake_cluster_close(cluster);
    (void)state;
}

static void cluster_time_stands_still_without_a_leader(void **state)
{
    struct fake_cluster *cluster = fake_cluster_open(3, 38);
    fake_start_all(cluster);
    uint32_t leader = fake_leader(cluster);
    fake_crash(cluster, (leader + 1) % 3);
    fake_crash(cluster, (leader + 2) % 3);
    fake_run(cluster, 1500);

    uint64_t before = fake_status(cluster, leader).log_ms;
    fake_run(cluster, 5000);
    uint64_t after = fake_status(cluster, leader).log_ms;

    assert_int_equal(before, after);
    fake_start(cluster, (leader + 1) % 3);
    uint32_t next = fake_leader(cluster);
    uint64_t begun = fake_status(cluster, next).log_ms;
    fake_run(cluster, 500);
    assert_in_range(fake_status(cluster, next).log_ms - begun, 490, 520);
    fake_cluster_close(cluster);
    (void)state;
}

static void cluster_time_never_runs_back_from_leader_to_leader(void **state)
{
    struct fake_cluster *cluster = fake_cluster_open(3, 39);
    uint64_t newest_ms = 0;
    cluster->worlds[0].clock_offset_ms = 7000000;
    cluster->worlds[1].clock_offset_ms = 300;
    fake_start_all(cluster);

    for (uint32_t i = 0; i < 6; i++) {
        uint32_t leader = fake_leader(cluster);
        fake_run(cluster, 300);
        uint64_t log_ms = fake_status(cluster, leader).log_ms;
        assert_true(log_ms >= newest_ms);
        assert_true(log_ms <= cluster->now_ms); /* Nor faster than real time. */
        newest_ms = log_ms;
        fake_crash(cluster, leader);
        fake_leader(cluster);
        fake_start(cluster, leader);
    }

    assert_true(newest_ms > 1000);
    fake_cluster_close(cluster);
    (void)state;
}

static void a_frozen_leader_loses_time_and_asks_its_quorum_first(void **state)
{
    struct fake_cluster *cluster = fake_cluster_open(3, 40);
    fake_start_all(cluster);
    uint32_t leader = fake_leader(cluster);
    uint32_t client = fake_client_open(cluster, leader);
    fake_answer(cluster, client, 1);
    uint64_t before_ms = fake_status(cluster, leader).log_ms;
    uint64_t real_ms = cluster->now_ms;

    cluster->worlds[leader].is_paused = true;
    fake_run(cluster, 200);
    uint64_t id = fake_put(cluster, client, 0, 0, "a", "1");
    fake_run(cluster, 5);
    cluster->worlds[leader].is_paused = false;
    fake_run(cluster, 1);
    uint64_t last = fake_find_answer(cluster, client, id) == NULL ? 0 : 1;
    enum error error = fake_outcome(cluster, client, id);
    uint64_t after_ms = fake_status(cluster, leader).log_ms;

    assert_int_equal(last, 0);
    assert_int_equal(error, ERR_OK);
    assert_true(after_ms - before_ms <= cluster->now_ms - real_ms - (205 - 125 - 5));
    assert_true(after_ms > before_ms + 100);
    fake_cluster_close(cluster);
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_release_pushes_the_grant_to_the_next),
        cmocka_unit_test(events_go_to_the_connection_that_spoke_last),
        cmocka_unit_test(renewals_share_an_entry_and_echo_their_attempts),
        cmocka_unit_test(a_renewal_is_never_answered_from_a_store),
        cmocka_unit_test(a_session_that_is_not_renewed_ends_by_itself),
        cmocka_unit_test(a_hundred_sessions_end_together),
        cmocka_unit_test(whose_lock_is_unlocked_by_force_is_told_so),
        cmocka_unit_test(a_renewed_session_lives_on),
        cmocka_unit_test(a_waiter_is_granted_when_the_holder_dies_with_the_leader),
        cmocka_unit_test(cluster_time_stands_still_without_a_leader),
        cmocka_unit_test(cluster_time_never_runs_back_from_leader_to_leader),
        cmocka_unit_test(a_frozen_leader_loses_time_and_asks_its_quorum_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
