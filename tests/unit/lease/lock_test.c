/* tests/unit/lease/lock_test.c: acquiring, queueing, releasing, and tokens. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/bytes.h"
#include "lease/lease.h"
#include "tests/support/base/memory_table.h"
#include "tests/support/lease/fixture.h"

enum { QUEUE_COUNT = 10000 };

static void free_lock_is_granted_at_once(void **state)
{
    struct lease_fixture *fixture = *state;
    struct lease_acquired acquired;

    fixture_open_sessions(fixture, 1, 1, 100, 1000);

    assert_int_equal(fixture_acquire(fixture, 1, "a", true, 1000, &acquired), ERR_OK);
    assert_int_equal(acquired.token, 1);
    assert_int_equal(acquired.position, 0);
    assert_int_equal(fixture_holder(fixture, "a"), 1);
}

static void asking_again_gives_the_same_token(void **state)
{
    struct lease_fixture *fixture = *state;
    struct lease_acquired acquired;

    fixture_open_sessions(fixture, 1, 1, 100, 1000);
    lease_token token = fixture_take(fixture, 1, "a", 1000);
    fixture_take(fixture, 1, "b", 1000);

    assert_int_equal(fixture_acquire(fixture, 1, "a", true, 1050, &acquired), ERR_OK);
    assert_int_equal(acquired.token, token);
    assert_int_equal(fixture_acquire(fixture, 1, "a", false, 1050, &acquired), ERR_OK);
    assert_int_equal(acquired.token, token);
}

static void lock_needs_a_session_that_is_alive(void **state)
{
    struct lease_fixture *fixture = *state;
    struct lease_acquired acquired;

    fixture_open_sessions(fixture, 1, 1, 100, 1000);

    assert_int_equal(fixture_acquire(fixture, 2, "a", true, 1000, &acquired), ERR_SESSION_EXPIRED);
    assert_int_equal(fixture_acquire(fixture, 1, "a", true, 1100, &acquired), ERR_SESSION_EXPIRED);
    assert_int_equal(fixture_release(fixture, 2, "a", 0, 1000), ERR_SESSION_EXPIRED);
    assert_int_equal(fixture_holder(fixture, "a"), 0);
}

static void held_lock_is_refused_without_waiting_and_names_its_holder(void **state)
{
    struct lease_fixture *fixture = *state;
    struct lease_acquired acquired;

    fixture_open_sessions(fixture, 1, 2, 100, 1000);
    lease_token token = fixture_take(fixture, 1, "a", 1000);

    assert_int_equal(fixture_acquire(fixture, 2, "a", false, 1000, &acquired), ERR_HELD);
    assert_int_equal(acquired.holder, 1);
    assert_int_equal(acquired.holder_token, token);
    assert_int_equal(acquired.token, 0);
    assert_int_equal(acquired.position, 0);
}

static void asking_without_waiting_leaves_the_queue(void **state)
{
    struct lease_fixture *fixture = *state;
    struct lease_acquired acquired;

    fixture_open_sessions(fixture, 1, 3, 100, 1000);
    fixture_take(fixture, 1, "a", 1000);
    fixture_queue(fixture, 2, "a", 1000);
    assert_int_equal(fixture_queue(fixture, 3, "a", 1000), 2);

    assert_int_equal(fixture_acquire(fixture, 2, "a", false, 1000, &acquired), ERR_HELD);
    assert_int_equal(fixture_queue(fixture, 3, "a", 1000), 1);
    assert_int_equal(fixture_release(fixture, 1, "a", 0, 1000), ERR_OK);
    assert_int_equal(fixture_holder(fixture, "a"), 3);
}

static void waiters_are_granted_first_in_first_out(void **state)
{
    struct lease_fixture *fixture = *state;

    fixture_open_sessions(fixture, 1, 4, 100, 1000);
    fixture_take(fixture, 1, "a", 1000);
    assert_int_equal(fixture_queue(fixture, 3, "a", 1000), 1);
    assert_int_equal(fixture_queue(fixture, 2, "a", 1000), 2);
    assert_int_equal(fixture_queue(fixture, 4, "a", 1000), 3);
    assert_int_equal(fixture_queue(fixture, 2, "a", 1000), 2);

    assert_int_equal(fixture_release(fixture, 1, "a", 0, 1010), ERR_OK);
    assert_int_equal(fixture_holder(fixture, "a"), 3);
    assert_int_equal(fixture_release(fixture, 3, "a", 0, 1010), ERR_OK);
    assert_int_equal(fixture_holder(fixture, "a"), 2);
    assert_int_equal(fixture_release(fixture, 2, "a", 0, 1010), ERR_OK);
    assert_int_equal(fixture_holder(fixture, "a"), 4);
    assert_int_equal(fixture_release(fixture, 4, "a", 0, 1010), ERR_OK);
    assert_int_equal(fixture_holder(fixture, "a"), 0);
}

static void release_and_next_grant_are_one_step(void **state)
{
    struct lease_fixture *fixture = *state;
    struct lease_lock_view view;

    fixture_open_sessions(fixture, 1, 2, 100, 1000);
    lease_token token = fixture_take(fixture, 1, "a", 1000);
    fixture_queue(fixture, 2, "a", 1000);
    assert_int_equal(fixture_release(fixture, 1, "a", token, 1030), ERR_OK);

    assert_int_equal(fixture->effects.grant_count, 1);
    assert_int_equal(fixture->effects.grants[0].session, 2);
    assert_int_equal(fixture->effects.grants[0].token, token + 1);
    assert_int_equal(fixture->effects.grants[0].name_size, 1);
    assert_memory_equal(fixture->effects.grants[0].name, "a", 1);
    assert_true(lease_lock_get(fixture->table, bytes_of_text("a"), &view));
    assert_int_equal(view.holder, 2);
    assert_int_equal(view.granted_ms, 1030);
    assert_int_equal(view.waiter_count, 0);
    assert_true(bytes_equal(view.owner, bytes_of_text("owner")));
}

static void waiter_that_is_due_is_skipped_and_removed(void **state)
{
    struct lease_fixture *fixture = *state;
    struct lease_waiter_view waiter;

    fixture_open_sessions(fixture, 1, 1, 1000, 1000);
    fixture_open_sessions(fixture, 2, 3, 50, 1000);
    fixture_open_sessions(fixture, 4, 5, 1000, 1000);
    fixture_take(fixture, 1, "a", 1000);
    for (lease_session_id id = 2; id <= 5; id++) {
        fixture_queue(fixture, id, "a", 1000);
    }
    assert_int_equal(fixture_release(fixture, 1, "a", 0, 1050), ERR_OK);

    assert_int_equal(fixture_holder(fixture, "a"), 4);
    assert_true(lease_waiter_next(fixture->table, bytes_of_text("a"), 0, &waiter));
    assert_int_equal(waiter.session, 5);
    lease_check(fixture->table);
    assert_false(fixture_advance(fixture, 1050));
    assert_int_equal(fixture->effects.ended_count, 2);
}

static void lock_is_forgotten_when_all_waiters_are_due(void **state)
{
    struct lease_fixture *fixture = *state;

    fixture_open_sessions(fixture, 1, 1, 1000, 1000);
    fixture_open_sessions(fixture, 2, 3, 50, 1000);
    fixture_take(fixture, 1, "a", 1000);
    fixture_queue(fixture, 2, "a", 1000);
    fixture_queue(fixture, 3, "a", 1000);
    assert_int_equal(fixture_release(fixture, 1, "a", 0, 1050), ERR_OK);

    assert_int_equal(fixture->effects.grant_count, 0);
    assert_int_equal(fixture_holder(fixture, "a"), 0);
    lease_check(fixture->table);
}

/* Session 1 holds "a"; sessions 2 to `last_due` wait for it, are due at 1050 and are not yet ended;
 * behind them waits `last_due` + 1, and there is one session more. */
static void queue_due_waiters(struct lease_fixture *fixture, lease_session_id last_due)
{
    fixture_open_sessions(fixture, 1, 1, 1000, 1000);
    fixture_open_sessions(fixture, 2, last_due, 50, 1000);
    fixture_open_sessions(fixture, last_due + 1, last_due + 2, 1000, 1000);
    fixture_take(fixture, 1, "a", 1000);
    for (lease_session_id id = 2; id <= last_due + 1; id++) {
        fixture_queue(fixture, id, "a", 1000);
    }
}

static void release_skips_as_many_due_waiters_as_a_call_may(void **state)
{
    struct lease_fixture *fixture = *state;
    lease_session_id live = 1 + LEASE_SKIP_COUNT_MAX + 1;

    queue_due_waiters(fixture, live - 1);
    assert_int_equal(fixture_release(fixture, 1, "a", 0, 1050), ERR_OK);

    assert_int_equal(fixture->effects.grant_count, 1);
    assert_int_equal(fixture->effects.grants[0].session, live);
    assert_int_equal(fixture_holder(fixture, "a"), live);
}

static void release_leaves_the_lock_to_a_due_waiter_when_it_may_skip_no_more(void **state)
{
    struct lease_fixture *fixture = *state;
    struct lease_acquired acquired;
    struct lease_lock_view view;
    lease_session_id live = LEASE_SKIP_COUNT_MAX + 3;

    queue_due_waiters(fixture, live - 1);
    assert_int_equal(fixture_release(fixture, 1, "a", 0, 1050), ERR_OK);

    assert_int_equal(fixture->effects.grant_count, 0);
    assert_true(lease_lock_get(fixture->table, bytes_of_text("a"), &view));
    assert_int_equal(view.holder, live - 1);
    assert_true(view.deadline_ms <= 1050);
    assert_int_equal(view.waiter_count, 1);
    lease_check(fixture->table);
    assert_int_equal(fixture_release(fixture, 1, "a", 0, 1050), ERR_NOT_FOUND);
    assert_int_equal(fixture_acquire(fixture, 1, "a", false, 1050, &acquired), ERR_HELD);
    assert_int_equal(fixture_queue(fixture, live + 1, "a", 1050), 2);
    /* The leader is told that there is more to do, now. */
    uint64_t deadline_ms = 0;
    assert_true(lease_next_deadline(fixture->table, &deadline_ms));
    assert_true(deadline_ms <= 1050);
    assert_true(fixture_advance(fixture, 1050));
    fixture_advance_all(fixture, 1050);
    assert_int_equal(fixture_holder(fixture, "a"), live);
    assert_int_equal(fixture_release(fixture, live, "a", 0, 1050), ERR_OK);
    assert_int_equal(fixture_holder(fixture, "a"), live + 1);
}

static void thousand_due_waiters_cost_a_bounded_number_of_calls_in_each_entry(void **state)
{
    struct lease_fixture *fixture = *state;
    const uint64_t calls_max = 10 * (LEASE_GRANT_COUNT_MAX + LEASE_SKIP_COUNT_MAX);
    lease_session_id live = 1001;
    bool has_more = true;

    queue_due_waiters(fixture, live - 1);
    uint64_t before = memory_table_call_count(fixture->table);
    assert_int_equal(fixture_release(fixture, 1, "a", 0, 1050), ERR_OK);
    assert_true(memory_table_call_count(fixture->table) - before <= calls_max);

    while (has_more) {
        before = memory_table_call_count(fixture->table);
        has_more = fixture_advance(fixture, 1050);
        assert_true(memory_table_call_count(fixture->table) - before <= calls_max);
        lease_session_id holder = fixture_holder(fixture, "a");
        assert_true(holder > 1 && holder <= live);
    }
    assert_int_equal(fixture_holder(fixture, "a"), live);
}

static void release_with_another_token_is_fenced(void **state)
{
    struct lease_fixture *fixture = *state;

    fixture_open_sessions(fixture, 1, 2, 100, 1000);
    lease_token token = fixture_take(fixture, 1, "a", 1000);
    fixture_queue(fixture, 2, "a", 1000);

    assert_int_equal(fixture_release(fixture, 1, "a", token + 1, 1000), ERR_FENCED);
    assert_int_equal(fixture_release(fixture, 2, "a", token, 1000), ERR_FENCED);
    assert_int_equal(fixture_holder(fixture, "a"), 1);
    assert_int_equal(fixture_queue(fixture, 2, "a", 1000), 1);
}

static void release_of_what_a_session_has_not_is_not_found(void **state)
{
    struct lease_fixture *fixture = *state;

    fixture_open_sessions(fixture, 1, 2, 100, 1000);
    assert_int_equal(fixture_release(fixture, 1, "a", 0, 1000), ERR_NOT_FOUND);
    fixture_take(fixture, 1, "a", 1000);

    assert_int_equal(fixture_release(fixture, 2, "a", 0, 1000), ERR_NOT_FOUND);
    assert_int_equal(fixture_release(fixture, 1, "a", 0, 1000), ERR_OK);
    assert_int_equal(fixture_release(fixture, 1, "a", 0, 1000), ERR_NOT_FOUND);
}

static void release_by_a_waiter_leaves_the_queue(void **state)
{
    struct lease_fixture *fixture = *state;

    fixture_open_sessions(fixture, 1, 3, 100, 1000);
    fixture_take(fixture, 1, "a", 1000);
    fixture_queue(fixture, 2, "a", 1000);
    fixture_queue(fixture, 3, "a", 1000);

    assert_int_equal(fixture_release(fixture, 2, "a", 0, 1000), ERR_OK);
    assert_int_equal(fixture->effects.grant_count, 0);
    assert_int_equal(fixture_release(fixture, 1, "a", 0, 1000), ERR_OK);
    assert_int_equal(fixture_holder(fixture, "a"), 3);
}

static void tokens_grow_over_all_locks_and_survive_forgotten_ones(void **state)
{
    struct lease_fixture *fixture = *state;

    fixture_open_sessions(fixture, 1, 1, 100, 1000);
    for (lease_token token = 1; token <= 10; token += 2) {
        assert_int_equal(fixture_take(fixture, 1, "a", 1000), token);
        assert_int_equal(fixture_take(fixture, 1, "b", 1000), token + 1);
        assert_int_equal(fixture_release(fixture, 1, "a", token, 1000), ERR_OK);
        assert_int_equal(fixture_release(fixture, 1, "b", token + 1, 1000), ERR_OK);
    }
}

static void names_are_bytes_and_prefixes_are_other_locks(void **state)
{
    struct lease_fixture *fixture = *state;
    struct lease_acquired acquired;
    uint8_t longest[LEASE_NAME_SIZE_MAX];
    struct bytes names[] = {bytes_of("a", 1), bytes_of("a\0", 2), bytes_of("a\0\0", 3),
                            bytes_of("\xff", 1), bytes_of(longest, sizeof(longest))};

    memset(longest, 0xff, sizeof(longest));
    fixture_open_sessions(fixture, 1, 2, 100, 1000);
    for (uint32_t i = 0; i < COUNT_OF(names); i++) {
        struct lease_request request = {.session = 1, .name = names[i], .wait = true};
        assert_int_equal(fixture_ask(fixture, &request, 1000, &acquired), ERR_OK);
        assert_int_equal(acquired.token, i + 1);
        request.session = 2;
        assert_int_equal(fixture_ask(fixture, &request, 1000, &acquired), ERR_OK);
        assert_int_equal(acquired.position, 1);
    }
    lease_check(fixture->table);
    assert_int_equal(fixture_end(fixture, 1, 1000), ERR_OK);
    assert_int_equal(fixture->effects.grant_count, COUNT_OF(names));
    assert_int_equal(fixture_end(fixture, 2, 1000), ERR_OK);
    assert_int_equal(memory_table_count(fixture->table), 1);
}

static void uncontended_acquire_and_release_write_five_records(void **state)
{
    struct lease_fixture *fixture = *state;

    fixture_open_sessions(fixture, 1, 1, 100, 1000);
    uint64_t before = memory_table_call_count(fixture->table);
    lease_token token = fixture_take(fixture, 1, "a", 1000);
    uint64_t taken = memory_table_call_count(fixture->table);
    assert_int_equal(fixture_release(fixture, 1, "a", token, 1000), ERR_OK);

    /* Reads of session, lock and counter, three puts; reads of session and lock, two deletes. */
    assert_int_equal(taken - before, 6);
    assert_int_equal(memory_table_call_count(fixture->table) - taken, 4);
}

static void ten_thousand_waiters_cost_a_bounded_number_of_calls_each(void **state)
{
    struct lease_fixture *fixture = *state;

    fixture_open_sessions(fixture, 1, QUEUE_COUNT, 100000, 1000);
    fixture_take(fixture, 1, "a", 1000);
    uint64_t before = memory_table_call_count(fixture->table);
    for (lease_session_id id = 2; id <= QUEUE_COUNT; id++) {
        assert_int_equal(fixture_queue(fixture, id, "a", 1000), id - 1);
    }
    assert_true(memory_table_call_count(fixture->table) - before <= 6 * QUEUE_COUNT);
    lease_check(fixture->table);

    before = memory_table_call_count(fixture->table);
    for (lease_session_id id = 1; id <= QUEUE_COUNT; id++) {
        assert_int_equal(fixture_release(fixture, id, "a", id, 1000), ERR_OK);
    }
    assert_true(memory_table_call_count(fixture->table) - before <= 10 * QUEUE_COUNT);
    assert_int_equal(fixture_holder(fixture, "a"), 0);
}

static void position_far_back_is_never_too_small(void **state)
{
    struct lease_fixture *fixture = *state;

    fixture_open_sessions(fixture, 1, 1000, 100000, 1000);
    fixture_take(fixture, 1, "a", 1000);
    for (lease_session_id id = 2; id <= 1000; id++) {
        fixture_queue(fixture, id, "a", 1000);
    }
    assert_int_equal(fixture_queue(fixture, 66, "a", 1000), 65);
    assert_int_equal(fixture_queue(fixture, 1000, "a", 1000), 999);
    for (lease_session_id id = 500; id < 600; id++) {
        assert_int_equal(fixture_release(fixture, id, "a", 0, 1000), ERR_OK);
    }

    uint64_t before = memory_table_call_count(fixture->table);
    assert_in_range(fixture_queue(fixture, 800, "a", 1000), 699, 799);
    assert_true(memory_table_call_count(fixture->table) - before < 100);
    assert_int_equal(fixture_queue(fixture, 1000, "a", 1000), 899);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(free_lock_is_granted_at_once, lease_fixture_open,
                                        lease_fixture_close),
        cmocka_unit_test_setup_teardown(asking_again_gives_the_same_token, lease_fixture_open,
                                        lease_fixture_close),
        cmocka_unit_test_setup_teardown(lock_needs_a_session_that_is_alive, lease_fixture_open,
                                        lease_fixture_close),
        cmocka_unit_test_setup_teardown(held_lock_is_refused_without_waiting_and_names_its_holder,
                                        lease_fixture_open, lease_fixture_close),
        cmocka_unit_test_setup_teardown(asking_without_waiting_leaves_the_queue, lease_fixture_open,
                                        lease_fixture_close),
        cmocka_unit_test_setup_teardown(waiters_are_granted_first_in_first_out, lease_fixture_open,
                                        lease_fixture_close),
        cmocka_unit_test_setup_teardown(release_and_next_grant_are_one_step, lease_fixture_open,
                                        lease_fixture_close),
        cmocka_unit_test_setup_teardown(waiter_that_is_due_is_skipped_and_removed,
                                        lease_fixture_open, lease_fixture_close),
        cmocka_unit_test_setup_teardown(lock_is_forgotten_when_all_waiters_are_due,
                                        lease_fixture_open, lease_fixture_close),
        cmocka_unit_test_setup_teardown(release_skips_as_many_due_waiters_as_a_call_may,
                                        lease_fixture_open, lease_fixture_close),
        cmocka_unit_test_setup_teardown(
            release_leaves_the_lock_to_a_due_waiter_when_it_may_skip_no_more, lease_fixture_open,
            lease_fixture_close),
        cmocka_unit_test_setup_teardown(
            thousand_due_waiters_cost_a_bounded_number_of_calls_in_each_entry, lease_fixture_open,
            lease_fixture_close),
        cmocka_unit_test_setup_teardown(release_with_another_token_is_fenced, lease_fixture_open,
                                        lease_fixture_close),
        cmocka_unit_test_setup_teardown(release_of_what_a_session_has_not_is_not_found,
                                        lease_fixture_open, lease_fixture_close),
        cmocka_unit_test_setup_teardown(release_by_a_waiter_leaves_the_queue, lease_fixture_open,
                                        lease_fixture_close),
        cmocka_unit_test_setup_teardown(tokens_grow_over_all_locks_and_survive_forgotten_ones,
                                        lease_fixture_open, lease_fixture_close),
        cmocka_unit_test_setup_teardown(names_are_bytes_and_prefixes_are_other_locks,
                                        lease_fixture_open, lease_fixture_close),
        cmocka_unit_test_setup_teardown(uncontended_acquire_and_release_write_five_records,
                                        lease_fixture_open, lease_fixture_close),
        cmocka_unit_test_setup_teardown(ten_thousand_waiters_cost_a_bounded_number_of_calls_each,
                                        lease_fixture_open, lease_fixture_close),
        cmocka_unit_test_setup_teardown(position_far_back_is_never_too_small, lease_fixture_open,
                                        lease_fixture_close),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
