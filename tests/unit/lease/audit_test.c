/* tests/unit/lease/audit_test.c: forced unlocks and what they leave. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "lease/lease.h"
#include "tests/support/base/memory_table.h"
#include "tests/support/lease/fixture.h"

static void forced_unlock_passes_the_lock_on_and_tells_its_holder(void **state)
{
    struct lease_fixture *fixture = *state;

    fixture_open_sessions(fixture, 1, 2, 100, 1000);
    lease_token token = fixture_take(fixture, 1, "a", 1000);
    fixture_queue(fixture, 2, "a", 1000);
    assert_int_equal(fixture_break(fixture, "a", token, 1010), ERR_OK);

    assert_int_equal(fixture->effects.revoked_count, 1);
    assert_int_equal(fixture->effects.revoked.session, 1);
    assert_int_equal(fixture->effects.revoked.token, token);
    assert_int_equal(fixture->effects.grant_count, 1);
    assert_int_equal(fixture->effects.grants[0].session, 2);
    assert_true(fixture->effects.grants[0].token > token);
    assert_int_equal(fixture_release(fixture, 1, "a", token, 1010), ERR_NOT_FOUND);
    assert_true(lease_session_is_alive(fixture->table, 1, 1010));
}

static void forced_unlock_needs_the_current_token_a_holder_and_a_reason(void **state)
{
    struct lease_fixture *fixture = *state;
    struct lease_audit_view audit;
    struct lease_break without_reason = {.name = bytes_of_text("a"), .token = 1};

    fixture_open_sessions(fixture, 1, 1, 100, 1000);
    assert_int_equal(fixture_break(fixture, "a", 1, 1000), ERR_NOT_FOUND);
    lease_token token = fixture_take(fixture, 1, "a", 1000);

    assert_int_equal(fixture_break(fixture, "a", token + 1, 1000), ERR_FENCED);
    assert_int_equal(fixture_break(fixture, "a", 0, 1000), ERR_FENCED);
    assert_int_equal(lease_lock_break(fixture->table, &without_reason, 1000, &fixture->effects),
                     ERR_MALFORMED);
    assert_int_equal(fixture_holder(fixture, "a"), 1);
    assert_false(lease_audit_next(fixture->table, 0, &audit));
}

static void forced_unlock_leaves_who_whose_when_and_why(void **state)
{
    struct lease_fixture *fixture = *state;
    struct lease_audit_view audit;

    fixture_open_sessions(fixture, 1, 1, 100, 1000);
    lease_token token = fixture_take(fixture, 1, "a", 1000);
    assert_int_equal(fixture_break(fixture, "a", token, 1010), ERR_OK);

    assert_true(lease_audit_next(fixture->table, 0, &audit));
    assert_int_equal(audit.number, 1);
    assert_int_equal(audit.log_ms, 1010);
    assert_int_equal(audit.wall_ms, 7);
    assert_int_equal(audit.session, 1);
    assert_int_equal(audit.token, token);
    assert_true(bytes_equal(audit.name, bytes_of_text("a")));
    assert_true(bytes_equal(audit.owner, bytes_of_text("owner")));
    assert_true(bytes_equal(audit.by, bytes_of_text("operator")));
    assert_true(bytes_equal(audit.reason, bytes_of_text("it hangs")));
    assert_false(lease_audit_next(fixture->table, 1, &audit));
}

static void one_of_several_readers_can_be_unlocked_by_its_token(void **state)
{
    struct lease_fixture *fixture = *state;
    struct lease_acquired acquired;
    struct lease_hold_view hold;

    fixture_open_sessions(fixture, 1, 3, 100, 1000);
    for (lease_session_id id = 1; id <= 3; id++) {
        struct lease_request request = fixture_request(id, "a");
        request.mode = LEASE_SHARED;
        assert_int_equal(fixture_ask(fixture, &request, 1000, &acquired), ERR_OK);
    }
    assert_int_equal(fixture_break(fixture, "a", 2, 1010), ERR_OK);

    assert_int_equal(fixture->effects.revoked.session, 2);
    assert_true(lease_hold_next(fixture->table, bytes_of_text("a"), 1, &hold));
    assert_int_equal(hold.session, 3);
}

static void forced_unlock_keeps_the_lock_delay_and_a_second_one_ends_it(void **state)
{
    struct lease_fixture *fixture = *state;
    struct lease_acquired acquired;
    struct lease_request request = fixture_request(1, "a");

    request.delay_ms = 500;
    fixture_open_sessions(fixture, 1, 2, 10000, 1000);
    assert_int_equal(fixture_ask(fixture, &request, 1000, &acquired), ERR_OK);
    fixture_queue(fixture, 2, "a", 1000);

    assert_int_equal(fixture_break(fixture, "a", acquired.token, 1010), ERR_OK);
    assert_int_equal(fixture->effects.grant_count, 0);
    /* Its own session may ask again, and queues. */
    assert_int_equal(fixture_queue(fixture, 1, "a", 1020), 2);
    lease_check(fixture->table);
    assert_int_equal(fixture_break(fixture, "a", acquired.token, 1030), ERR_OK);
    assert_int_equal(fixture->effects.revoked_count, 0);
    assert_int_equal(fixture->effects.grants[0].session, 2);
    lease_check(fixture->table);
}

static void audit_keeps_the_newest_records_and_no_more(void **state)
{
    struct lease_fixture *fixture = *state;
    struct lease_audit_view audit;
    const uint64_t count = LEASE_AUDIT_COUNT_MAX + 10;

    fixture_open_sessions(fixture, 1, 1, 100, 1000);
    for (uint64_t i = 0; i < count; i++) {
        lease_token token = fixture_take(fixture, 1, "a", 1000);
        assert_int_equal(fixture_break(fixture, "a", token, 1000), ERR_OK);
    }

    assert_true(lease_audit_next(fixture->table, 0, &audit));
    assert_int_equal(audit.number, 11);
    assert_true(lease_audit_next(fixture->table, count - 1, &audit));
    assert_int_equal(audit.number, count);
    assert_int_equal(fixture_end(fixture, 1, 1000), ERR_OK);
    assert_int_equal(memory_table_count(fixture->table), 1 + LEASE_AUDIT_COUNT_MAX);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, lease_fixture_open, lease_fixture_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(forced_unlock_passes_the_lock_on_and_tells_its_holder),
        TEST(forced_unlock_needs_the_current_token_a_holder_and_a_reason),
        TEST(forced_unlock_leaves_who_whose_when_and_why),
        TEST(one_of_several_readers_can_be_unlocked_by_its_token),
        TEST(forced_unlock_keeps_the_lock_delay_and_a_second_one_ends_it),
        TEST(audit_keeps_the_newest_records_and_no_more),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
