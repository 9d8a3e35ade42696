/* tests/unit/lease/restart_test.c: the state of a cluster that is gone, without its holders. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lease/lease.h"
#include "tests/support/base/memory_table.h"
#include "tests/support/lease/fixture.h"

enum { RAISE = 1000 };

static void nothing_is_held_or_waited_for_after_a_restart(void **state)
{
    struct lease_fixture *fixture = *state;
    struct lease_session_view session;
    struct lease_lock_view lock;

    fixture_open_sessions(fixture, 1, 9, 100, 1000);
    fixture_take(fixture, 1, "a", 1000);
    fixture_queue(fixture, 2, "a", 1000);
    fixture_take(fixture, 3, "b", 1000);

    lease_restart(fixture->table, RAISE);

    lease_check(fixture->table);
    assert_int_equal(lease_session_count(fixture->table), 0);
    assert_false(lease_session_next(fixture->table, 0, 0, &session));
    assert_false(lease_lock_next(fixture->table, bytes_of(NULL, 0), bytes_of(NULL, 0), &lock));
    assert_int_equal(memory_table_count(fixture->table), 1); /* The counter alone. */
}

static void tokens_after_a_restart_are_beyond_all_before(void **state)
{
    struct lease_fixture *fixture = *state;

    fixture_open_sessions(fixture, 1, 1, 100, 1000);
    lease_token before = fixture_take(fixture, 1, "a", 1000);
    assert_int_equal(lease_token_last(fixture->table), before);

    lease_restart(fixture->table, RAISE);
    fixture_open_sessions(fixture, 2, 2, 100, 1000);

    assert_int_equal(fixture_take(fixture, 2, "a", 1000), before + RAISE + 1);
}

static void a_table_without_grants_gets_the_raise_too(void **state)
{
    struct lease_fixture *fixture = *state;

    lease_restart(fixture->table, RAISE);
    lease_restart(fixture->table, RAISE);

    assert_int_equal(lease_token_last(fixture->table), 2 * RAISE);
}

static void keys_of_others_stay(void **state)
{
    struct lease_fixture *fixture = *state;
    struct bytes value;

    table_put(fixture->table, bytes_of_text("k"), bytes_of_text("before"));
    table_put(fixture->table, bytes_of_text("m"), bytes_of_text("behind"));
    fixture_open_sessions(fixture, 1, 3, 100, 1000);

    lease_restart(fixture->table, RAISE);

    assert_true(table_get(fixture->table, bytes_of_text("k"), &value));
    assert_true(table_get(fixture->table, bytes_of_text("m"), &value));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nothing_is_held_or_waited_for_after_a_restart,
                                        lease_fixture_open, lease_fixture_close),
        cmocka_unit_test_setup_teardown(tokens_after_a_restart_are_beyond_all_before,
                                        lease_fixture_open, lease_fixture_close),
        cmocka_unit_test_setup_teardown(a_table_without_grants_gets_the_raise_too,
                                        lease_fixture_open, lease_fixture_close),
        cmocka_unit_test_setup_teardown(keys_of_others_stay, lease_fixture_open,
                                        lease_fixture_close),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
