/* tests/unit/lease/mode_test.c: shared and counting locks, fairness between them, lock delays. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/macros.h"
#include "lease/lease.h"
#include "tests/support/base/memory_table.h"
#include "tests/support/lease/fixture.h"

enum { QUEUE_COUNT = 10000 };

static struct lease_request shared(lease_session_id session)
{
    struct lease_request request = fixture_request(session, "a");

    request.mode = LEASE_SHARED;
    return request;
}

static struct lease_request permits(lease_session_id session, uint32_t limit, uint32_t units)
{
    struct lease_request request = fixture_request(session, "a");

    request.mode = LEASE_PERMITS;
    request.limit = limit;
    request.units = units;
    return request;
}

static struct lease_request delayed(lease_session_id session, uint32_t delay_ms)
{
    struct lease_request request = fixture_request(session, "a");

    request.delay_ms = delay_ms;
    return request;
}

/* The token, or 0 when it waits. */
static lease_token ask(struct lease_fixture *fixture, struct lease_request request, uint64_t log_ms)
{
    struct lease_acquired acquired;

    assert_int_equal(fixture_ask(fixture, &request, log_ms, &acquired), ERR_OK);
    assert_true((acquired.token == 0) != (acquired.position == 0));
    lease_check(fixture->table);
    return acquired.token;
}

static uint32_t hold_count(struct lease_fixture *fixture)
{
    struct lease_lock_view view;

    return lease_lock_get(fixture->table, bytes_of_text("a"), &view) ? view.hold_count : 0;
}

static void readers_hold_together_each_with_a_token(void **state)
{
    struct lease_fixture *fixture = *state;
    struct lease_hold_view hold = {.token = 0};

    fixture_open_sessions(fixture, 1, 3, 100, 1000);
    assert_int_equal(ask(fixture, shared(2), 1000), 1);
    assert_int_equal(ask(fixture, shared(1), 1010), 2);
    assert_int_equal(ask(fixture, shared(2), 1020), 1);

    assert_true(lease_hold_next(fixture->table, bytes_of_text("a"), 0, &hold));
    assert_int_equal(hold.session, 2);
    assert_true(lease_hold_next(fixture->table, bytes_of_text("a"), 1, &hold));
    assert_int_equal(hold.session, 1);
    assert_int_equal(hold.granted_ms, 1010);
    assert_false(lease_hold_next(fixture->table, bytes_of_text("a"), 2, &hold));
}

static void writer_that_waits_stops_later_readers(void **state)
{
    struct lease_fixture *fixture = *state;

    fixture_open_sessions(fixture, 1, 4, 100, 1000);
    assert_int_equal(ask(fixture, shared(1), 1000), 1);
    assert_int_equal(fixture_queue(fixture, 2, "a", 1000), 1);
    assert_int_equal(ask(fixture, shared(3), 1000), 0);
    struct lease_request impatient = shared(4);
    struct lease_acquired acquired;
    impatient.wait = false;
    assert_int_equal(fixture_ask(fixture, &impatient, 1000, &acquired), ERR_HELD);
    assert_int_equal(acquired.holder, 1);

    assert_int_equal(fixture_release(fixture, 1, "a", 1, 1000), ERR_OK);
    assert_int_equal(fixture->effects.grant_count, 1);
    assert_int_equal(fixture->effects.grants[0].session, 2);
    assert_int_equal(fixture_release(fixture, 2, "a", 0, 1000), ERR_OK);
    assert_int_equal(fixture->effects.grants[0].session, 3);
}

static void writer_is_served_however_many_readers_come(void **state)
{
    struct lease_fixture *fixture = *state;
    lease_session_id writer = 1;

    fixture_open_sessions(fixture, 1, 200, 1000, 1000);
    assert_int_equal(ask(fixture, shared(2), 1000), 1);
    assert_int_equal(ask(fixture, shared(3), 1000), 2);
    assert_int_equal(fixture_queue(fixture, writer, "a", 1000), 1);
    for (lease_session_id id = 4; id <= 200; id++) {
        assert_int_equal(ask(fixture, shared(id), 1000), 0);
    }

    assert_int_equal(fixture_release(fixture, 2, "a", 0, 1000), ERR_OK);
    assert_int_equal(fixture->effects.grant_count, 0);
    assert_int_equal(fixture_release(fixture, 3, "a", 0, 1000), ERR_OK);
    assert_int_equal(fixture_holder(fixture, "a"), writer);
    assert_int_equal(hold_count(fixture), 1);
}

static void readers_behind_a_writer_that_gives_up_are_granted_in_that_step(void **state)
{
    struct lease_fixture *fixture = *state;
    struct lease_acquired acquired;

    fixture_open_sessions(fixture, 1, 4, 100, 1000);
    assert_int_equal(ask(fixture, shared(1), 1000), 1);
    assert_int_equal(fixture_queue(fixture, 2, "a", 1000), 1);
    assert_int_equal(ask(fixture, shared(3), 1000), 0);
    assert_int_equal(ask(fixture, shared(4), 1000), 0);

    assert_int_equal(fixture_acquire(fixture, 2, "a", false, 1000, &acquired), ERR_HELD);
    assert_int_equal(fixture->effects.grant_count, 2);
    assert_int_equal(fixture->effects.grants[0].session, 3);
    assert_int_equal(fixture->effects.grants[1].session, 4);
    assert_int_equal(hold_count(fixture), 3);
}

static void thousands_of_readers_are_granted_in_order_by_the_calls_that_follow(void **state)
{
    struct lease_fixture *fixture = *state;
    lease_session_id next = 2;
    uint64_t deadline_ms = 0;
    bool has_more = true;

    fixture_open_sessions(fixture, 1, 1001, 1000, 1000);
    fixture_take(fixture, 1, "a", 1000);
    for (lease_session_id id = 2; id <= 1000; id++) {
        struct lease_request request = shared(id);
        struct lease_acquired acquired;
        assert_int_equal(fixture_ask(fixture, &request, 1000, &acquired), ERR_OK);
    }

    assert_int_equal(fixture_release(fixture, 1, "a", 0, 1000), ERR_OK);
    assert_int_equal(fixture->effects.grant_count, LEASE_GRANT_COUNT_MAX);
    assert_int_equal(fixture->effects.grants[0].session, next);
    next += fixture->effects.grant_count;
    assert_true(lease_next_deadline(fixture->table, &deadline_ms));
    assert_int_equal(deadline_ms, 1000);
    /* Whoever comes meanwhile queues behind. */
    assert_int_equal(ask(fixture, shared(1001), 1000), 0);
    while (has_more) {
        uint64_t before = memory_table_call_count(fixture->table);
        has_more = fixture_advance(fixture, 1000);
        assert_true(memory_table_call_count(fixture->table) - before <= 12 * LEASE_GRANT_COUNT_MAX);
        lease_check(fixture->table);
    }
    assert_int_equal(hold_count(fixture), 1000);
    assert_true(lease_next_deadline(fixture->table, &deadline_ms));
    assert_int_equal(deadline_ms, 2000);
}

static void permits_are_never_exceeded_and_a_large_request_is_not_passed(void **state)
{
    struct lease_fixture *fixture = *state;

    fixture_open_sessions(fixture, 1, 4, 100, 1000);
    assert_int_equal(ask(fixture, permits(1, 5, 2), 1000), 1);
    assert_int_equal(ask(fixture, permits(2, 5, 2), 1000), 2);
    assert_int_equal(ask(fixture, permits(3, 5, 4), 1000), 0);
    /* One permit is free, but somebody waits. */
    assert_int_equal(ask(fixture, permits(4, 5, 1), 1000), 0);

    assert_int_equal(fixture_release(fixture, 1, "a", 0, 1000), ERR_OK);
    assert_int_equal(fixture->effects.grant_count, 0);
    assert_int_equal(fixture_release(fixture, 2, "a", 0, 1000), ERR_OK);
    assert_int_equal(fixture->effects.grant_count, 2);
    assert_int_equal(fixture->effects.grants[0].session, 3);
    assert_int_equal(fixture->effects.grants[1].session, 4);
    struct lease_lock_view view;
    assert_true(lease_lock_get(fixture->table, bytes_of_text("a"), &view));
    assert_int_equal(view.used, 5);
    assert_int_equal(view.limit, 5);
}

static enum lease_refusal refusal_of(struct lease_fixture *fixture, struct lease_request request)
{
    struct lease_acquired acquired;

    assert_int_equal(fixture_ask(fixture, &request, 1000, &acquired), ERR_REFUSED);
    assert_int_equal(acquired.token, 0);
    assert_true(lease_refusal_text(acquired.refusal)[0] != '\0');
    return acquired.refusal;
}

static void requests_that_do_not_agree_with_the_lock_are_refused(void **state)
{
    struct lease_fixture *fixture = *state;

    fixture_open_sessions(fixture, 1, 3, 100, 1000);
    assert_int_equal(ask(fixture, permits(1, 5, 2), 1000), 1);
    assert_int_equal(refusal_of(fixture, shared(2)), LEASE_OTHER_KIND);
    assert_int_equal(refusal_of(fixture, permits(2, 6, 2)), LEASE_OTHER_LIMIT);
    assert_int_equal(refusal_of(fixture, permits(1, 5, 3)), LEASE_OTHER_REQUEST);
    assert_int_equal(fixture_release(fixture, 1, "a", 0, 1000), ERR_OK);

    assert_int_equal(ask(fixture, shared(1), 1000), 2);
    assert_int_equal(refusal_of(fixture, permits(2, 6, 2)), LEASE_OTHER_KIND);
    assert_int_equal(refusal_of(fixture, fixture_request(1, "a")), LEASE_OTHER_REQUEST);
    assert_int_equal(fixture_queue(fixture, 2, "a", 1000), 1);
    assert_int_equal(refusal_of(fixture, shared(2)), LEASE_OTHER_REQUEST);
}

static void request_beyond_a_bound_is_malformed(void **state)
{
    struct lease_fixture *fixture = *state;
    struct lease_acquired acquired;
    static const uint8_t long_text[256];
    struct lease_request wrong[] = {permits(1, 0, 0),
                                    permits(1, LEASE_PERMIT_COUNT_MAX + 1, 1),
                                    permits(1, 3, 4),
                                    permits(1, 3, 0),
                                    delayed(1, LEASE_DELAY_MS_MAX + 1),
                                    shared(1),
                                    shared(1),
                                    shared(1)};

    wrong[5].units = 1;
    wrong[6].owner = bytes_of(long_text, sizeof(long_text));
    wrong[7].metadata = bytes_of(long_text, sizeof(long_text));
    fixture_open_sessions(fixture, 1, 1, 100, 1000);
    for (uint32_t i = 0; i < COUNT_OF(wrong); i++) {
        assert_int_equal(fixture_ask(fixture, &wrong[i], 1000, &acquired), ERR_MALFORMED);
    }
    assert_int_equal(hold_count(fixture), 0);
}

static void delay_keeps_the_lock_after_its_holder_expired(void **state)
{
    struct lease_fixture *fixture = *state;
    struct lease_hold_view hold;
    uint64_t deadline_ms = 0;

    fixture_open_sessions(fixture, 1, 1, 100, 1000);
    fixture_open_sessions(fixture, 2, 2, 10000, 1000);
    assert_int_equal(ask(fixture, delayed(1, 500), 1000), 1);
    assert_int_equal(fixture_queue(fixture, 2, "a", 1000), 1);

    assert_false(fixture_advance(fixture, 1100));
    assert_int_equal(fixture->effects.ended_count, 1);
    assert_int_equal(fixture->effects.grant_count, 0);
    assert_true(lease_hold_next(fixture->table, bytes_of_text("a"), 0, &hold));
    assert_true(hold.is_lost);
    assert_int_equal(hold.deadline_ms, 1600);
    assert_true(lease_next_deadline(fixture->table, &deadline_ms));
    assert_int_equal(deadline_ms, 1600);
    assert_false(fixture_advance(fixture, 1599));
    assert_int_equal(fixture->effects.grant_count, 0);
    assert_false(fixture_advance(fixture, 1600));
    assert_int_equal(fixture->effects.grant_count, 1);
    assert_int_equal(fixture_holder(fixture, "a"), 2);
}

static void delay_does_not_follow_a_release_or_the_end_of_a_session(void **state)
{
    struct lease_fixture *fixture = *state;

    fixture_open_sessions(fixture, 1, 3, 100, 1000);
    assert_int_equal(ask(fixture, delayed(1, 500), 1000), 1);
    assert_int_equal(fixture_release(fixture, 1, "a", 0, 1000), ERR_OK);
    assert_int_equal(ask(fixture, delayed(2, 500), 1000), 2);
    assert_int_equal(fixture_end(fixture, 2, 1000), ERR_OK);
    assert_int_equal(ask(fixture, delayed(3, 500), 1000), 3);
}

static void delay_does_not_follow_a_long_end_of_a_session_either(void **state)
{
    struct lease_fixture *fixture = *state;
    uint8_t name[4];

    fixture_open_sessions(fixture, 1, 1, 100, 1000);
    for (uint32_t i = 0; i < 3 * LEASE_GRANT_COUNT_MAX; i++) {
        struct lease_request request = delayed(1, 500);
        store_u32(name, i);
        request.name = bytes_of(name, sizeof(name));
        assert_true(ask(fixture, request, 1000) != 0);
    }
    assert_int_equal(fixture_end(fixture, 1, 1000), ERR_OK);
    fixture_advance_all(fixture, 1000);

    assert_int_equal(memory_table_count(fixture->table), 1);
}

static void delay_of_one_permit_leaves_the_others_alone(void **state)
{
    struct lease_fixture *fixture = *state;
    struct lease_request first = permits(1, 2, 1);

    first.delay_ms = 500;
    fixture_open_sessions(fixture, 1, 1, 100, 1000);
    fixture_open_sessions(fixture, 2, 4, 10000, 1000);
    assert_int_equal(ask(fixture, first, 1000), 1);
    assert_int_equal(ask(fixture, permits(2, 2, 1), 1000), 2);
    assert_int_equal(ask(fixture, permits(3, 2, 1), 1000), 0);
    assert_int_equal(ask(fixture, permits(4, 2, 1), 1000), 0);

    assert_false(fixture_advance(fixture, 1100));
    assert_int_equal(fixture->effects.grant_count, 0);
    assert_int_equal(fixture_release(fixture, 2, "a", 0, 1200), ERR_OK);
    assert_int_equal(fixture->effects.grants[0].session, 3);
    assert_false(fixture_advance(fixture, 1600));
    assert_int_equal(fixture->effects.grants[0].session, 4);
}

static void owner_and_metadata_of_a_waiter_come_with_its_hold(void **state)
{
    struct lease_fixture *fixture = *state;
    struct lease_hold_view hold;
    struct lease_waiter_view waiter;
    struct lease_request modes[] = {fixture_request(2, "a"), shared(3)};

    modes[0].owner = bytes_of_text("me");
    modes[0].metadata = bytes_of_text("build 7");
    modes[1].owner = bytes_of_text("you");
    fixture_open_sessions(fixture, 1, 3, 100, 1000);
    fixture_take(fixture, 1, "a", 1000);
    for (uint32_t i = 0; i < COUNT_OF(modes); i++) {
        assert_int_equal(ask(fixture, modes[i], 1000), 0);
        assert_true(lease_waiter_next(fixture->table, bytes_of_text("a"), i, &waiter));
        assert_true(bytes_equal(waiter.metadata, modes[i].metadata));
    }
    for (uint32_t i = 0; i < COUNT_OF(modes); i++) {
        assert_int_equal(fixture_release(fixture, i + 1, "a", 0, 1000), ERR_OK);
        assert_true(lease_hold_next(fixture->table, bytes_of_text("a"), 0, &hold));
        assert_true(bytes_equal(hold.owner, modes[i].owner));
        assert_true(bytes_equal(hold.metadata, modes[i].metadata));
    }
}

/* Grants of a queue of ten thousand cost what those of a short one do. */
static void hand_over_costs_the_same_with_ten_thousand_waiters(void **state)
{
    struct lease_fixture *fixture = *state;
    uint64_t before;

    fixture_open_sessions(fixture, 1, QUEUE_COUNT, 100000, 1000);
    for (lease_session_id id = 1; id <= QUEUE_COUNT; id++) {
        struct lease_request request = permits(id, 3, 1);
        struct lease_acquired acquired;
        before = memory_table_call_count(fixture->table);
        assert_int_equal(fixture_ask(fixture, &request, 1000, &acquired), ERR_OK);
        assert_true(memory_table_call_count(fixture->table) - before <= 8);
    }
    for (lease_session_id id = 1; id <= QUEUE_COUNT; id++) {
        before = memory_table_call_count(fixture->table);
        assert_int_equal(fixture_release(fixture, id, "a", id, 1000), ERR_OK);
        assert_true(memory_table_call_count(fixture->table) - before <= 16);
    }
    assert_int_equal(hold_count(fixture), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, lease_fixture_open, lease_fixture_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(readers_hold_together_each_with_a_token),
        TEST(writer_that_waits_stops_later_readers),
        TEST(writer_is_served_however_many_readers_come),
        TEST(readers_behind_a_writer_that_gives_up_are_granted_in_that_step),
        TEST(thousands_of_readers_are_granted_in_order_by_the_calls_that_follow),
        TEST(permits_are_never_exceeded_and_a_large_request_is_not_passed),
        TEST(requests_that_do_not_agree_with_the_lock_are_refused),
        TEST(request_beyond_a_bound_is_malformed),
        TEST(delay_keeps_the_lock_after_its_holder_expired),
        TEST(delay_does_not_follow_a_release_or_the_end_of_a_session),
        TEST(delay_does_not_follow_a_long_end_of_a_session_either),
        TEST(delay_of_one_permit_leaves_the_others_alone),
        TEST(owner_and_metadata_of_a_waiter_come_with_its_hold),
        TEST(hand_over_costs_the_same_with_ten_thousand_waiters),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
