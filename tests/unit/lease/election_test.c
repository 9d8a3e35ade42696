/* tests/unit/lease/election_test.c: elections, and what a session is told of forced unlocks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "lease/lease.h"
#include "tests/support/base/memory_table.h"
#include "tests/support/lease/fixture.h"

static const uint8_t election_name[] = {LEASE_ELECTION_PREFIX, 'a'};

static struct bytes election(void)
{
    return bytes_of(election_name, sizeof(election_name));
}

static lease_token campaign(struct lease_fixture *fixture, lease_session_id session,
                            const char *value, bool wait, uint64_t log_ms)
{
    struct lease_request request = fixture_request(session, "");
    struct lease_acquired acquired = {.token = 0};

    request.name = election();
    request.metadata = bytes_of_text(value);
    request.wait = wait;
    (void)!fixture_ask(fixture, &request, log_ms, &acquired);
    return acquired.token;
}

static enum error proclaim(struct lease_fixture *fixture, lease_session_id session,
                           lease_token token, struct bytes value, uint64_t log_ms)
{
    const struct lease_proclamation proclamation = {
        .session = session, .name = election(), .token = token, .metadata = value};

    fixture->effects.elections = 0;
    return lease_lock_proclaim(fixture->table, &proclamation, log_ms, &fixture->effects);
}

static void assert_value(struct lease_fixture *fixture, const char *value)
{
    struct lease_hold_view hold;

    assert_true(lease_hold_next(fixture->table, election(), 0, &hold));
    assert_true(bytes_equal(hold.metadata, bytes_of_text(value)));
    assert_true(bytes_equal(hold.owner, bytes_of_text("owner")));
}

static void an_election_and_a_lock_of_one_name_do_not_meet(void **state)
{
    struct lease_fixture *fixture = *state;

    fixture_open_sessions(fixture, 1, 2, 100, 1000);
    lease_token lock = fixture_take(fixture, 1, "a", 1000);
    lease_token leadership = campaign(fixture, 2, "v", false, 1000);

    assert_true(leadership > lock);
    assert_int_equal(fixture_holder(fixture, "a"), 1);
    assert_value(fixture, "v");
    lease_check(fixture->table);
}

static void the_leader_alone_changes_its_value(void **state)
{
    struct lease_fixture *fixture = *state;
    uint8_t large[LEASE_METADATA_SIZE_MAX + 1] = {0};

    fixture_open_sessions(fixture, 1, 2, 100, 1000);
    assert_int_equal(proclaim(fixture, 1, 0, bytes_of_text("x"), 1000), ERR_NOT_FOUND);
    lease_token token = campaign(fixture, 1, "old", false, 1000);
    (void)campaign(fixture, 2, "next", true, 1000);

    assert_int_equal(proclaim(fixture, 2, 0, bytes_of_text("x"), 1000), ERR_NOT_FOUND);
    assert_int_equal(proclaim(fixture, 1, token + 1, bytes_of_text("x"), 1000), ERR_FENCED);
    assert_int_equal(proclaim(fixture, 9, token, bytes_of_text("x"), 1000), ERR_SESSION_EXPIRED);
    assert_int_equal(proclaim(fixture, 1, token, bytes_of_text("x"), 1100), ERR_SESSION_EXPIRED);
    assert_int_equal(proclaim(fixture, 1, token, bytes_of(large, sizeof(large)), 1000),
                     ERR_MALFORMED);
    assert_int_equal(fixture->effects.elections, 0);
    assert_value(fixture, "old");
    assert_int_equal(proclaim(fixture, 1, token, bytes_of_text("new"), 1000), ERR_OK);
    assert_value(fixture, "new");
    assert_int_equal(proclaim(fixture, 1, 0, bytes_of_text(""), 1000), ERR_OK);
    assert_value(fixture, "");
    lease_check(fixture->table);
}

static void whatever_changes_a_leader_or_its_value_leaves_the_election_s_bit(void **state)
{
    struct lease_fixture *fixture = *state;
    uint64_t bit = lease_election_bit(election());

    fixture_open_sessions(fixture, 1, 3, 100, 1000);
    fixture_take(fixture, 3, "a", 1000);
    assert_int_equal(fixture->effects.elections, 0);
    lease_token token = campaign(fixture, 1, "1", false, 1000);
    assert_int_equal(fixture->effects.elections, bit);
    (void)campaign(fixture, 2, "2", true, 1000);
    assert_int_equal(fixture->effects.elections, 0);
    assert_int_equal(proclaim(fixture, 1, token, bytes_of_text("x"), 1000), ERR_OK);
    assert_int_equal(fixture->effects.elections, bit);

    fixture->effects.elections = 0;
    fixture->effects.grant_count = 0;
    assert_int_equal(
        lease_lock_release(fixture->table, 1, election(), token, 1000, &fixture->effects), ERR_OK);
    assert_int_equal(fixture->effects.elections, bit);
    assert_value(fixture, "2");
    fixture_advance_all(fixture, 1100);
    assert_false(lease_hold_next(fixture->table, election(), 0, &(struct lease_hold_view){0}));
}

static void a_leader_that_expires_or_is_put_out_leaves_the_election_s_bit(void **state)
{
    struct lease_fixture *fixture = *state;
    uint64_t bit = lease_election_bit(election());

    fixture_open_sessions(fixture, 1, 1, 100, 1000);
    fixture_open_sessions(fixture, 2, 2, 1000, 1000);
    (void)campaign(fixture, 1, "1", false, 1000);
    (void)fixture_advance(fixture, 1100);
    assert_int_equal(fixture->effects.elections, bit);

    lease_token token = campaign(fixture, 2, "2", false, 1100);
    const struct lease_break forced = {
        .name = election(), .token = token, .reason = bytes_of_text("law")};
    fixture->effects.elections = 0;
    assert_int_equal(lease_lock_break(fixture->table, &forced, 1100, &fixture->effects), ERR_OK);
    assert_int_equal(fixture->effects.elections, bit);
    assert_int_equal(fixture->effects.revoked_number, 1);
}

static void a_session_finds_its_own_forced_unlocks_from_where_it_looked_last(void **state)
{
    struct lease_fixture *fixture = *state;
    static const char *const names[] = {"a", "b", "c", "d", "e"};
    struct lease_audit_view view;
    uint32_t looks_left = 100;
    uint64_t next = 1;

    fixture_open_sessions(fixture, 1, 2, 100, 1000);
    for (uint32_t i = 0; i < COUNT_OF(names); i++) {
        lease_token token = fixture_take(fixture, 1 + i % 2, names[i], 1000);
        assert_int_equal(fixture_break(fixture, names[i], token, 1000), ERR_OK);
    }

    assert_true(lease_revoked_next(fixture->table, 2, &next, &looks_left, &view));
    assert_true(bytes_equal(view.name, bytes_of_text("b")));
    assert_int_equal(next, 3);
    assert_true(lease_revoked_next(fixture->table, 2, &next, &looks_left, &view));
    assert_true(bytes_equal(view.name, bytes_of_text("d")));
    assert_false(lease_revoked_next(fixture->table, 2, &next, &looks_left, &view));
    assert_int_equal(next, lease_audit_last(fixture->table) + 1);
    assert_int_equal(looks_left, 95);

    next = 1;
    looks_left = 1; /* The first is of the other session. */
    assert_false(lease_revoked_next(fixture->table, 2, &next, &looks_left, &view));
    assert_int_equal(next, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_election_and_a_lock_of_one_name_do_not_meet,
                                        lease_fixture_open, lease_fixture_close),
        cmocka_unit_test_setup_teardown(the_leader_alone_changes_its_value, lease_fixture_open,
                                        lease_fixture_close),
        cmocka_unit_test_setup_teardown(
            whatever_changes_a_leader_or_its_value_leaves_the_election_s_bit, lease_fixture_open,
            lease_fixture_close),
        cmocka_unit_test_setup_teardown(
            a_leader_that_expires_or_is_put_out_leaves_the_election_s_bit, lease_fixture_open,
            lease_fixture_close),
        cmocka_unit_test_setup_teardown(
            a_session_finds_its_own_forced_unlocks_from_where_it_looked_last, lease_fixture_open,
            lease_fixture_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
