/* tests/unit/lease/session_test.c: sessions, their deadlines, and what their end gives on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "lease/lease.h"
#include "tests/support/base/memory_table.h"
#include "tests/support/lease/fixture.h"

static void session_lives_until_its_deadline(void **state)
{
    struct lease_fixture *fixture = *state;

    fixture_open_sessions(fixture, 7, 7, 100, 1000);

    assert_true(lease_session_is_alive(fixture->table, 7, 1099));
    assert_false(lease_session_is_alive(fixture->table, 7, 1100));
    assert_false(lease_session_is_alive(fixture->table, 8, 1000));
}

static void renewal_sets_the_deadline_to_stamp_plus_ttl(void **state)
{
    struct lease_fixture *fixture = *state;
    struct lease_session_view view;

    fixture_open_sessions(fixture, 7, 7, 100, 1000);
    assert_int_equal(lease_session_renew(fixture->table, 7, 1040), ERR_OK);

    assert_true(lease_session_next(fixture->table, 0, 1040, &view));
    assert_int_equal(view.deadline_ms, 1140);
    assert_int_equal(view.opened_ms, 1000);
    assert_true(bytes_equal(view.owner, bytes_of_text("owner")));
}

static void renewal_is_refused_when_unknown_or_due(void **state)
{
    struct lease_fixture *fixture = *state;

    fixture_open_sessions(fixture, 7, 7, 100, 1000);

    assert_int_equal(lease_session_renew(fixture->table, 8, 1000), ERR_SESSION_EXPIRED);
    assert_int_equal(lease_session_renew(fixture->table, 7, 1100), ERR_SESSION_EXPIRED);
}

static void due_session_is_dead_for_every_command_before_its_removal(void **state)
{
    struct lease_fixture *fixture = *state;
    struct lease_session_view view;
    struct lease_acquired acquired;

    fixture_open_sessions(fixture, 7, 7, 100, 1000);
    fixture_take(fixture, 7, "a", 1000);

    assert_int_equal(fixture_acquire(fixture, 7, "a", true, 1100, &acquired), ERR_SESSION_EXPIRED);
    assert_int_equal(acquired.token, 0);
    assert_int_equal(fixture_release(fixture, 7, "a", 0, 1100), ERR_SESSION_EXPIRED);
    assert_int_equal(fixture_end(fixture, 7, 1100), ERR_SESSION_EXPIRED);
    assert_false(lease_session_next(fixture->table, 0, 1100, &view));
    assert_int_equal(lease_session_count(fixture->table), 1);
}

static void expiry_ends_sessions_in_deadline_order_then_by_id(void **state)
{
    struct lease_fixture *fixture = *state;

    fixture_open_sessions(fixture, 1, 1, 300, 1000);
    fixture_open_sessions(fixture, 2, 3, 100, 1000);
    fixture_open_sessions(fixture, 4, 4, 50, 1000);

    assert_false(fixture_advance(fixture, 2000));
    assert_int_equal(fixture->effects.ended_count, 4);
    assert_int_equal(fixture->effects.ended[0], 4);
    assert_int_equal(fixture->effects.ended[1], 2);
    assert_int_equal(fixture->effects.ended[2], 3);
    assert_int_equal(fixture->effects.ended[3], 1);
    assert_int_equal(lease_session_count(fixture->table), 0);
}

static void expiry_order_is_that_of_renewed_deadlines(void **state)
{
    struct lease_fixture *fixture = *state;

    /* The renewal is early: the place of session 1 stays at 1100 until it is reached. */
    fixture_open_sessions(fixture, 1, 1, 100, 1000);
    assert_int_equal(lease_session_renew(fixture->table, 1, 1020), ERR_OK);
    fixture_open_sessions(fixture, 2, 2, 90, 1020);

    assert_false(fixture_advance(fixture, 2000));
    assert_int_equal(fixture->effects.ended_count, 2);
    assert_int_equal(fixture->effects.ended[0], 2);
    assert_int_equal(fixture->effects.ended[1], 1);
}

static void next_deadline_is_never_late(void **state)
{
    struct lease_fixture *fixture = *state;
    uint64_t deadline_ms;

    assert_false(lease_next_deadline(fixture->table, &deadline_ms));
    fixture_open_sessions(fixture, 1, 1, 100, 1000);
    assert_true(lease_next_deadline(fixture->table, &deadline_ms));
    assert_int_equal(deadline_ms, 1100);

    assert_int_equal(lease_session_renew(fixture->table, 1, 1030), ERR_OK);
    assert_true(lease_next_deadline(fixture->table, &deadline_ms));
    assert_in_range(deadline_ms, 1031, 1130);

    assert_false(fixture_advance(fixture, deadline_ms));
    assert_int_equal(fixture->effects.ended_count, 0);
    assert_true(lease_next_deadline(fixture->table, &deadline_ms));
    assert_int_equal(deadline_ms, 1130);
}

static void steady_renewals_keep_next_deadline_ahead(void **state)
{
    struct lease_fixture *fixture = *state;
    uint64_t deadline_ms;

    fixture_open_sessions(fixture, 1, 1, 300, 0);
    for (uint64_t log_ms = 100; log_ms <= 10000; log_ms += 100) {
        assert_true(lease_next_deadline(fixture->table, &deadline_ms));
        assert_true(deadline_ms > log_ms);
        assert_int_equal(lease_session_renew(fixture->table, 1, log_ms), ERR_OK);
    }
}

static void early_renewal_writes_one_record(void **state)
{
    struct lease_fixture *fixture = *state;

    fixture_open_sessions(fixture, 1, 1, 300, 0);
    uint64_t before = memory_table_call_count(fixture->table);
    assert_int_equal(lease_session_renew(fixture->table, 1, 100), ERR_OK);

    /* One get and one put. */
    assert_int_equal(memory_table_call_count(fixture->table) - before, 2);
}

static void end_gives_its_locks_to_the_waiters(void **state)
{
    struct lease_fixture *fixture = *state;

    fixture_open_sessions(fixture, 1, 3, 100, 1000);
    fixture_take(fixture, 1, "a", 1000);
    fixture_take(fixture, 1, "b", 1000);
    fixture_queue(fixture, 2, "b", 1000);
    assert_int_equal(fixture_end(fixture, 1, 1010), ERR_OK);

    assert_int_equal(fixture_holder(fixture, "a"), 0);
    assert_int_equal(fixture_holder(fixture, "b"), 2);
    assert_int_equal(fixture->effects.grant_count, 1);
    assert_int_equal(fixture->effects.grants[0].session, 2);
    assert_int_equal(fixture->effects.ended_count, 1);
    assert_int_equal(fixture->effects.ended[0], 1);
    assert_int_equal(lease_session_renew(fixture->table, 1, 1010), ERR_SESSION_EXPIRED);
}

static void end_leaves_every_queue(void **state)
{
    struct lease_fixture *fixture = *state;

    fixture_open_sessions(fixture, 1, 3, 100, 1000);
    fixture_take(fixture, 1, "a", 1000);
    fixture_queue(fixture, 2, "a", 1000);
    fixture_queue(fixture, 3, "a", 1000);
    assert_int_equal(fixture_end(fixture, 2, 1010), ERR_OK);
    assert_int_equal(fixture_release(fixture, 1, "a", 0, 1010), ERR_OK);

    assert_int_equal(fixture_holder(fixture, "a"), 3);
}

static void end_of_an_unknown_session_is_refused(void **state)
{
    assert_int_equal(fixture_end(*state, 9, 1000), ERR_SESSION_EXPIRED);
}

static void take_many(struct lease_fixture *fixture, lease_session_id id, uint32_t count)
{
    struct lease_acquired acquired;
    uint8_t name[4];

    for (uint32_t i = 0; i < count; i++) {
        store_u32(name, i);
        const struct lease_request request = {
            .session = id, .name = bytes_of(name, sizeof(name)), .wait = true};
        assert_int_equal(fixture_ask(fixture, &request, 1000, &acquired), ERR_OK);
    }
}

static void end_with_many_locks_is_finished_by_later_advances(void **state)
{
    struct lease_fixture *fixture = *state;
    uint32_t grant_count;

    fixture_open_sessions(fixture, 1, 2, 10000, 1000);
    take_many(fixture, 1, 200);
    take_many(fixture, 2, 200);
    assert_int_equal(fixture_end(fixture, 1, 1500), ERR_OK);
    grant_count = fixture->effects.grant_count;
    assert_int_equal(grant_count, LEASE_GRANT_COUNT_MAX);
    assert_int_equal(fixture->effects.ended_count, 0);

    assert_false(lease_session_is_alive(fixture->table, 1, 1500));
    assert_int_equal(lease_session_renew(fixture->table, 1, 1500), ERR_SESSION_EXPIRED);
    while (fixture_advance(fixture, 1500)) {
        assert_true(fixture->effects.grant_count < LEASE_GRANT_COUNT_MAX);
        assert_int_equal(fixture->effects.ended_count, 0);
        lease_check(fixture->table);
        grant_count += fixture->effects.grant_count;
    }
    grant_count += fixture->effects.grant_count;
    assert_int_equal(grant_count, 200);
    assert_int_equal(fixture->effects.ended_count, 1);
    assert_int_equal(fixture->effects.ended[0], 1);
}

static void advance_leaves_room_for_the_command_of_its_entry(void **state)
{
    struct lease_fixture *fixture = *state;

    fixture_open_sessions(fixture, 1, 1, 100, 1000);
    fixture_open_sessions(fixture, 2, 4, 10000, 1000);
    take_many(fixture, 1, 200);
    take_many(fixture, 2, 200);
    fixture_take(fixture, 3, "c", 1000);
    fixture_queue(fixture, 4, "c", 1000);

    assert_true(fixture_advance(fixture, 1100));
    assert_int_equal(fixture->effects.grant_count, LEASE_GRANT_COUNT_MAX - 1);
    assert_int_equal(
        lease_lock_release(fixture->table, 3, bytes_of_text("c"), 0, 1100, &fixture->effects),
        ERR_OK);
    assert_int_equal(fixture->effects.grant_count, LEASE_GRANT_COUNT_MAX);
    assert_int_equal(fixture->effects.grants[LEASE_GRANT_COUNT_MAX - 1].session, 4);
}

static void end_after_a_full_advance_takes_only_what_fits(void **state)
{
    struct lease_fixture *fixture = *state;

    fixture_open_sessions(fixture, 1, 1, 100, 1000);
    fixture_open_sessions(fixture, 2, 4, 10000, 1000);
    take_many(fixture, 1, 100);
    take_many(fixture, 2, 100);
    fixture_take(fixture, 3, "c", 1000);
    fixture_take(fixture, 3, "d", 1000);
    fixture_queue(fixture, 4, "c", 1000);
    fixture_queue(fixture, 4, "d", 1000);

    assert_true(fixture_advance(fixture, 1100));
    assert_int_equal(lease_session_end(fixture->table, 3, 1100, &fixture->effects), ERR_OK);
    assert_int_equal(fixture->effects.grant_count, LEASE_GRANT_COUNT_MAX);
    assert_int_equal(fixture->effects.ended_count, 0);
    assert_int_equal(fixture_holder(fixture, "c"), 4);
    assert_false(lease_session_is_alive(fixture->table, 3, 1100));
    fixture_advance_all(fixture, 1100);
    assert_int_equal(fixture_holder(fixture, "d"), 4);
    assert_int_equal(lease_session_count(fixture->table), 2);
}

static void ten_thousand_sessions_due_at_once_end_in_bounded_calls(void **state)
{
    struct lease_fixture *fixture = *state;
    uint64_t ended_count = 0;
    bool more = true;

    fixture_open_sessions(fixture, 1, 10000, 100, 1000);
    while (more) {
        uint64_t before = memory_table_call_count(fixture->table);
        more = fixture_advance(fixture, 1100);
        assert_true(memory_table_call_count(fixture->table) - before < 1000);
        assert_true(fixture->effects.ended_count < LEASE_GRANT_COUNT_MAX);
        ended_count += fixture->effects.ended_count;
    }

    assert_int_equal(ended_count, 10000);
    assert_int_equal(memory_table_count(fixture->table), 1);
}

static void ten_thousand_renewed_sessions_are_filed_anew_in_bounded_calls(void **state)
{
    struct lease_fixture *fixture = *state;
    uint32_t call_count = 0;
    bool more = true;

    fixture_open_sessions(fixture, 1, 10000, 100, 1000);
    for (lease_session_id id = 1; id <= 10000; id++) {
        assert_int_equal(lease_session_renew(fixture->table, id, 1020), ERR_OK);
    }
    while (more) {
        uint64_t before = memory_table_call_count(fixture->table);
        more = fixture_advance(fixture, 1100);
        assert_true(memory_table_call_count(fixture->table) - before < 1000);
        assert_int_equal(fixture->effects.ended_count, 0);
        call_count++;
    }

    assert_true(call_count > 100);
    assert_int_equal(lease_session_count(fixture->table), 10000);
    fixture_advance_all(fixture, 1120);
    assert_int_equal(lease_session_count(fixture->table), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(session_lives_until_its_deadline, lease_fixture_open,
                                        lease_fixture_close),
        cmocka_unit_test_setup_teardown(renewal_sets_the_deadline_to_stamp_plus_ttl,
                                        lease_fixture_open, lease_fixture_close),
        cmocka_unit_test_setup_teardown(renewal_is_refused_when_unknown_or_due, lease_fixture_open,
                                        lease_fixture_close),
        cmocka_unit_test_setup_teardown(due_session_is_dead_for_every_command_before_its_removal,
                                        lease_fixture_open, lease_fixture_close),
        cmocka_unit_test_setup_teardown(expiry_ends_sessions_in_deadline_order_then_by_id,
                                        lease_fixture_open, lease_fixture_close),
        cmocka_unit_test_setup_teardown(expiry_order_is_that_of_renewed_deadlines,
                                        lease_fixture_open, lease_fixture_close),
        cmocka_unit_test_setup_teardown(next_deadline_is_never_late, lease_fixture_open,
                                        lease_fixture_close),
        cmocka_unit_test_setup_teardown(steady_renewals_keep_next_deadline_ahead,
                                        lease_fixture_open, lease_fixture_close),
        cmocka_unit_test_setup_teardown(early_renewal_writes_one_record, lease_fixture_open,
                                        lease_fixture_close),
        cmocka_unit_test_setup_teardown(end_gives_its_locks_to_the_waiters, lease_fixture_open,
                                        lease_fixture_close),
        cmocka_unit_test_setup_teardown(end_leaves_every_queue, lease_fixture_open,
                                        lease_fixture_close),
        cmocka_unit_test_setup_teardown(end_of_an_unknown_session_is_refused, lease_fixture_open,
                                        lease_fixture_close),
        cmocka_unit_test_setup_teardown(end_with_many_locks_is_finished_by_later_advances,
                                        lease_fixture_open, lease_fixture_close),
        cmocka_unit_test_setup_teardown(advance_leaves_room_for_the_command_of_its_entry,
                                        lease_fixture_open, lease_fixture_close),
        cmocka_unit_test_setup_teardown(end_after_a_full_advance_takes_only_what_fits,
                                        lease_fixture_open, lease_fixture_close),
        cmocka_unit_test_setup_teardown(ten_thousand_sessions_due_at_once_end_in_bounded_calls,
                                        lease_fixture_open, lease_fixture_close),
        cmocka_unit_test_setup_teardown(
            ten_thousand_renewed_sessions_are_filed_anew_in_bounded_calls, lease_fixture_open,
            lease_fixture_close),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
