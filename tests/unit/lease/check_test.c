/* tests/unit/lease/check_test.c: lease_check() notices each kind of damage. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/table.h"
#include "lease/internal.h"
#include "tests/support/base/death.h"
#include "tests/support/lease/fixture.h"

/* Session 1 holds "a", session 2 waits for it. */
static struct table *open_sample(void)
{
    void *state = NULL;

    (void)lease_fixture_open(&state);
    struct lease_fixture *fixture = state;
    fixture_open_sessions(fixture, 1, 2, 100, 1000);
    fixture_take(fixture, 1, "a", 1000);
    fixture_queue(fixture, 2, "a", 1000);
    lease_check(fixture->table);
    return fixture->table;
}

static void damage_session_count(void)
{
    struct table *table = open_sample();
    struct lease_meta meta;

    lease_meta_load(table, &meta);
    meta.session_count++;
    lease_meta_store(table, &meta);
    lease_check(table);
}

static void damage_place(void)
{
    struct table *table = open_sample();

    lease_place_store(table, 1050, 1, bytes_of(NULL, 0));
    lease_check(table);
}

static void damage_holder(void)
{
    struct table *table = open_sample();

    lease_place_erase(table, 1100, 1, bytes_of(NULL, 0));
    lease_session_erase(table, 1);
    lease_check(table);
}

static void damage_token(void)
{
    struct table *table = open_sample();
    struct lease_lock lock;

    if (lease_lock_load(table, bytes_of_text("a"), &lock)) {
        lock.hold.token = 99;
        lease_lock_store(table, bytes_of_text("a"), &lock);
    }
    lease_check(table);
}

static void damage_waiter_count(void)
{
    struct table *table = open_sample();
    struct lease_lock lock;

    if (lease_lock_load(table, bytes_of_text("a"), &lock)) {
        lock.waiter_count++;
        lease_lock_store(table, bytes_of_text("a"), &lock);
    }
    lease_check(table);
}

static void damage_waiter(void)
{
    struct table *table = open_sample();
    struct lease_waiter waiter = {.ticket = 1, .session = 3, .units = 1};

    lease_waiter_store(table, bytes_of_text("a"), &waiter);
    lease_check(table);
}

static void damage_claim(void)
{
    struct table *table = open_sample();
    struct lease_claim claim = {.ticket = 1};

    lease_claim_store(table, 2, bytes_of_text("b"), &claim);
    lease_check(table);
}

/* Sessions 1 and 2 hold "a" together. */
static struct table *open_shared(void)
{
    void *state = NULL;
    struct lease_acquired acquired;

    (void)lease_fixture_open(&state);
    struct lease_fixture *fixture = state;
    fixture_open_sessions(fixture, 1, 2, 100, 1000);
    for (lease_session_id id = 1; id <= 2; id++) {
        struct lease_request request = fixture_request(id, "a");
        request.mode = LEASE_SHARED;
        assert_int_equal(fixture_ask(fixture, &request, 1000, &acquired), ERR_OK);
    }
    lease_check(fixture->table);
    return fixture->table;
}

static void damage_hold_count(void)
{
    struct table *table = open_shared();
    struct lease_lock lock;

    if (lease_lock_load(table, bytes_of_text("a"), &lock)) {
        lock.hold_count--;
        lease_lock_store(table, bytes_of_text("a"), &lock);
    }
    lease_check(table);
}

static void damage_lost(void)
{
    struct table *table = open_shared();
    struct lease_hold hold;

    if (lease_hold_load(table, bytes_of_text("a"), 1, &hold)) {
        hold.lost_until_ms = 5000;
        lease_hold_store(table, bytes_of_text("a"), &hold);
    }
    lease_check(table);
}

static void damage_filed(void)
{
    struct table *table = open_sample();

    lease_place_store(table, 1050, 0, bytes_of_text("a"));
    lease_check(table);
}

static void damage_audit(void)
{
    struct table *table = open_sample();
    struct lease_audit_view audit = {.number = 1,
                                     .session = 1,
                                     .token = 1,
                                     .name = bytes_of_text("a"),
                                     .reason = bytes_of_text("b")};

    lease_audit_store(table, &audit);
    lease_check(table);
}

static void damage_kind(void)
{
    struct table *table = open_sample();

    table_put(table, bytes_of_text("lz"), bytes_of_text("?"));
    lease_check(table);
}

static void wrong_session_count_is_noticed(void **state)
{
    (void)state;
    assert_true(dies(damage_session_count, "totals->session_count == totals->meta.session_count"));
}

static void second_place_of_a_session_is_noticed(void **state)
{
    (void)state;
    assert_true(dies(damage_place, "session.filed_ms == filed_ms"));
}

static void holder_without_session_is_noticed(void **state)
{
    (void)state;
    assert_true(dies(damage_holder, "lease_session_load(table, hold->session, &session)"));
}

static void token_beyond_the_counter_is_noticed(void **state)
{
    (void)state;
    assert_true(dies(damage_token, "hold->token <= totals->meta.token_last"));
}

static void wrong_waiter_count_is_noticed(void **state)
{
    (void)state;
    assert_true(dies(damage_waiter_count, "count == lock->waiter_count"));
}

static void waiter_of_another_session_is_noticed(void **state)
{
    (void)state;
    assert_true(dies(damage_waiter, "waiter.session == session"));
}

static void claim_on_nothing_is_noticed(void **state)
{
    (void)state;
    assert_true(dies(damage_claim, "lease_lock_load(table, name, &lock)"));
}

static void wrong_hold_count_is_noticed(void **state)
{
    (void)state;
    assert_true(dies(damage_hold_count, "count == lock->hold_count"));
}

static void lost_hold_with_a_claim_is_noticed(void **state)
{
    (void)state;
    assert_true(dies(damage_lost, "hold.lost_until_ms == 0"));
}

static void place_of_a_queue_that_is_not_behind_is_noticed(void **state)
{
    (void)state;
    assert_true(dies(damage_filed, "lock.is_filed"));
}

static void audit_that_was_not_counted_is_noticed(void **state)
{
    (void)state;
    assert_true(dies(damage_audit, "totals->audit_count == audit_count"));
}

static void unknown_kind_of_record_is_noticed(void **state)
{
    (void)state;
    assert_true(dies(damage_kind, "check.c"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_session_count_is_noticed),
        cmocka_unit_test(second_place_of_a_session_is_noticed),
        cmocka_unit_test(holder_without_session_is_noticed),
        cmocka_unit_test(token_beyond_the_counter_is_noticed),
        cmocka_unit_test(wrong_waiter_count_is_noticed),
        cmocka_unit_test(waiter_of_another_session_is_noticed),
        cmocka_unit_test(claim_on_nothing_is_noticed),
        cmocka_unit_test(wrong_hold_count_is_noticed),
        cmocka_unit_test(lost_hold_with_a_claim_is_noticed),
        cmocka_unit_test(place_of_a_queue_that_is_not_behind_is_noticed),
        cmocka_unit_test(audit_that_was_not_counted_is_noticed),
        cmocka_unit_test(unknown_kind_of_record_is_noticed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
