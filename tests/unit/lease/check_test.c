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

    lease_place_store(table, 1050, 1);
    lease_check(table);
}

static void damage_holder(void)
{
    struct table *table = open_sample();

    lease_place_erase(table, 1100, 1);
    lease_session_erase(table, 1);
    lease_check(table);
}

static void damage_token(void)
{
    struct table *table = open_sample();
    struct lease_lock lock;

    if (lease_lock_load(table, bytes_of_text("a"), &lock)) {
        lock.token = 99;
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
    struct lease_waiter waiter = {.ticket = 1, .session = 3};

    lease_waiter_store(table, bytes_of_text("a"), &waiter);
    lease_check(table);
}

static void damage_claim(void)
{
    struct table *table = open_sample();

    lease_claim_store(table, 2, bytes_of_text("b"), 1);
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
    assert_true(dies(damage_session_count, "totals.session_count == totals.meta.session_count"));
}

static void second_place_of_a_session_is_noticed(void **state)
{
    (void)state;
    assert_true(dies(damage_place, "session.filed_ms == filed_ms"));
}

static void holder_without_session_is_noticed(void **state)
{
    (void)state;
    assert_true(dies(damage_holder, "lease_session_load(table, lock.holder, &session)"));
}

static void token_beyond_the_counter_is_noticed(void **state)
{
    (void)state;
    assert_true(dies(damage_token, "lock.token <= meta->token_last"));
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
        cmocka_unit_test(unknown_kind_of_record_is_noticed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
