/* tests/unit/lease/failing_table_test.c: whatever call of the table fails, nothing asserts, nothing
 * loops, and the table stays as it was. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "lease/lease.h"
#include "tests/support/base/memory_table.h"
#include "tests/support/lease/fixture.h"

enum { CALL_COUNT_MAX = 5000 };

static void acquire(struct lease_fixture *fixture, lease_session_id session, const char *name)
{
    struct lease_acquired acquired;
    enum error error = fixture_acquire(fixture, session, name, true, 1010, &acquired);

    assert_true(error == ERR_OK || table_error(fixture->table) != ERR_OK);
}

static void renew(struct lease_fixture *fixture, lease_session_id session, uint64_t log_ms)
{
    enum error error = lease_session_renew(fixture->table, session, log_ms);

    assert_true(error == ERR_OK || table_error(fixture->table) != ERR_OK);
}

static void read_all(struct lease_fixture *fixture)
{
    struct lease_session_view session = {.id = 0};
    struct lease_lock_view lock = {.name = bytes_of(NULL, 0)};
    struct lease_waiter_view waiter = {.ticket = 0};
    uint64_t deadline_ms = 0;
    bool any = lease_next_deadline(fixture->table, &deadline_ms);

    while (lease_session_next(fixture->table, session.id, 1010, &session)) {
        any = true;
    }
    while (lease_lock_next(fixture->table, bytes_of(NULL, 0), lock.name, &lock)) {
        any = true;
    }
    struct lease_hold_view hold = {.token = 0};
    struct lease_audit_view audit = {.number = 0};
    while (lease_hold_next(fixture->table, bytes_of_text("shared"), hold.token, &hold)) {
        any = true;
    }
    while (lease_audit_next(fixture->table, audit.number, &audit)) {
        any = true;
    }
    while (lease_waiter_next(fixture->table, bytes_of_text("a"), waiter.ticket, &waiter)) {
        any = true;
    }
    assert_true(any || table_error(fixture->table) != ERR_OK);
}

/* A reader, or with `units` one who takes permits of five, who leaves a delay behind. */
static void acquire_as(struct lease_fixture *fixture, lease_session_id session, const char *name,
                       uint32_t units)
{
    struct lease_acquired acquired;
    struct lease_request request = fixture_request(session, name);

    request.mode = units == 0 ? LEASE_SHARED : LEASE_PERMITS;
    request.limit = units == 0 ? 0 : 5;
    request.units = units;
    request.delay_ms = 30;
    enum error error = fixture_ask(fixture, &request, 1010, &acquired);
    assert_true(error == ERR_OK || table_error(fixture->table) != ERR_OK);
}

/* Touches every command and every branch of handing on. */
static void run_scenario(struct lease_fixture *fixture)
{
    fixture_open_sessions(fixture, 1, 4, 100, 1000);
    fixture_open_sessions(fixture, 5, 6, 20, 1000);
    for (lease_session_id id = 1; id <= 6; id++) {
        acquire(fixture, id, "a");
        acquire(fixture, 7 - id, "b");
        acquire(fixture, 7 - id, "b");
        acquire_as(fixture, id, "shared", 0);
        acquire_as(fixture, id, "permits", (uint32_t)id % 5 + 1);
    }
    (void)fixture_break(fixture, "a", 1, 1012);
    (void)fixture_break(fixture, "shared", 4, 1012);
    (void)fixture_break(fixture, "shared", 4, 1012);
    renew(fixture, 1, 1015);
    renew(fixture, 2, 1060);
    renew(fixture, 3, 1060);
    read_all(fixture);
    (void)fixture_release(fixture, 1, "a", 0, 1030);
    (void)fixture_release(fixture, 4, "a", 0, 1030);
    (void)fixture_advance(fixture, 1060);
    (void)fixture_end(fixture, 2, 1060);
    (void)fixture_advance(fixture, 1110);
    (void)fixture_advance(fixture, 2000);
}

static void any_call_may_fail(void **state)
{
    uint64_t call_count;

    (void)state;
    for (call_count = 0; call_count < CALL_COUNT_MAX; call_count++) {
        struct lease_fixture fixture = {.table = memory_table_open()};
        memory_table_fail_after(fixture.table, call_count, ERR_IO);
        run_scenario(&fixture);
        enum error error = table_error(fixture.table);
        if (error == ERR_IO) {
            uint64_t hash = table_hash(fixture.table);
            run_scenario(&fixture);
            assert_int_equal(table_hash(fixture.table), hash);
        }
        memory_table_close(fixture.table);
        if (error == ERR_OK) {
            break;
        }
    }
    /* The scenario came to its end, and was not short. */
    assert_in_range(call_count, 100, CALL_COUNT_MAX - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_call_may_fail),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
