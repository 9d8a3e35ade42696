/* tests/unit/lease/view_test.c: what reads show, in which order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "lease/lease.h"
#include "tests/support/lease/fixture.h"

static void sessions_are_listed_by_id_without_those_that_are_due(void **state)
{
    struct lease_fixture *fixture = *state;
    struct lease_session_view view;

    fixture_open_sessions(fixture, 1, 1, 500, 1000);
    fixture_open_sessions(fixture, 2, 3, 100, 1000);
    fixture_open_sessions(fixture, 300, 300, 500, 1000);

    assert_true(lease_session_next(fixture->table, 0, 1100, &view));
    assert_int_equal(view.id, 1);
    assert_int_equal(view.ttl_ms, 500);
    assert_true(lease_session_next(fixture->table, 1, 1100, &view));
    assert_int_equal(view.id, 300);
    assert_false(lease_session_next(fixture->table, 300, 1100, &view));
}

static void lock_view_shows_its_grant_and_its_holders_deadline(void **state)
{
    struct lease_fixture *fixture = *state;
    struct lease_lock_view view;

    fixture_open_sessions(fixture, 1, 2, 500, 1000);
    lease_token token = fixture_take(fixture, 1, "a", 1100);
    fixture_queue(fixture, 2, "a", 1150);
    assert_int_equal(lease_session_renew(fixture->table, 1, 1200), ERR_OK);

    assert_true(lease_lock_get(fixture->table, bytes_of_text("a"), &view));
    assert_true(bytes_equal(view.name, bytes_of_text("a")));
    assert_int_equal(view.holder, 1);
    assert_int_equal(view.token, token);
    assert_int_equal(view.granted_ms, 1100);
    assert_int_equal(view.deadline_ms, 1700);
    assert_int_equal(view.waiter_count, 1);
    assert_true(bytes_equal(view.owner, bytes_of_text("owner")));
    assert_false(lease_lock_get(fixture->table, bytes_of_text("b"), &view));
}

static uint32_t listed_count(struct lease_fixture *fixture, struct bytes prefix)
{
    struct lease_lock_view view = {.name = bytes_of(NULL, 0)};
    uint32_t count = 0;

    while (lease_lock_next(fixture->table, prefix, view.name, &view)) {
        assert_true(bytes_has_prefix(view.name, prefix));
        count++;
    }
    return count;
}

static void locks_are_listed_by_prefix_in_the_order_of_names(void **state)
{
    struct lease_fixture *fixture = *state;
    struct lease_lock_view view;

    fixture_open_sessions(fixture, 1, 1, 500, 1000);
    fixture_take(fixture, 1, "b", 1000);
    fixture_take(fixture, 1, "a", 1000);
    fixture_take(fixture, 1, "\xff\xff", 1000);
    fixture_take(fixture, 1, "ab", 1000);
    fixture_take(fixture, 1, "\xff", 1000);

    assert_int_equal(listed_count(fixture, bytes_of_text("")), 5);
    assert_int_equal(listed_count(fixture, bytes_of_text("a")), 2);
    assert_int_equal(listed_count(fixture, bytes_of_text("\xff")), 2);
    assert_int_equal(listed_count(fixture, bytes_of_text("c")), 0);
    assert_true(lease_lock_next(fixture->table, bytes_of_text(""), bytes_of_text("a"), &view));
    assert_true(bytes_equal(view.name, bytes_of_text("ab")));
    assert_true(lease_lock_next(fixture->table, bytes_of_text("b"), bytes_of_text("a"), &view));
    assert_true(bytes_equal(view.name, bytes_of_text("b")));
    assert_false(lease_lock_next(fixture->table, bytes_of_text("a"), bytes_of_text("b"), &view));
}

static void waiters_are_listed_in_queue_order(void **state)
{
    struct lease_fixture *fixture = *state;
    struct lease_waiter_view view;

    fixture_open_sessions(fixture, 1, 4, 500, 1000);
    fixture_take(fixture, 1, "a", 1000);
    fixture_take(fixture, 1, "b", 1000);
    fixture_queue(fixture, 3, "a", 1000);
    fixture_queue(fixture, 2, "a", 1000);
    fixture_queue(fixture, 4, "b", 1000);

    assert_true(lease_waiter_next(fixture->table, bytes_of_text("a"), 0, &view));
    assert_int_equal(view.session, 3);
    assert_true(bytes_equal(view.owner, bytes_of_text("owner")));
    assert_true(lease_waiter_next(fixture->table, bytes_of_text("a"), view.ticket, &view));
    assert_int_equal(view.session, 2);
    assert_false(lease_waiter_next(fixture->table, bytes_of_text("a"), view.ticket, &view));
    assert_false(lease_waiter_next(fixture->table, bytes_of_text("c"), 0, &view));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(sessions_are_listed_by_id_without_those_that_are_due,
                                        lease_fixture_open, lease_fixture_close),
        cmocka_unit_test_setup_teardown(lock_view_shows_its_grant_and_its_holders_deadline,
                                        lease_fixture_open, lease_fixture_close),
        cmocka_unit_test_setup_teardown(locks_are_listed_by_prefix_in_the_order_of_names,
                                        lease_fixture_open, lease_fixture_close),
        cmocka_unit_test_setup_teardown(waiters_are_listed_in_queue_order, lease_fixture_open,
                                        lease_fixture_close),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
