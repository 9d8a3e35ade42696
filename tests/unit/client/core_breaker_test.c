/* tests/unit/client/core_breaker_test.c: every order of events up to a depth, and long random ones:
 * no state is stuck, no permit is lost, no late answer moves anything. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/assert.h"
#include "client/core_breaker.h"

enum { HELD_COUNT = 4, DEPTH = 6, SEED_COUNT = 1000, STEP_COUNT = 2000 };

enum event {
    TAKE,
    SUCCEED_FIRST,
    FAIL_FIRST,
    RETURN_FIRST,
    FAIL_LAST,
    FAIL_WITHOUT,
    WAIT_SHORT,
    WAIT_UNTIL_READY,
    EVENT_COUNT,
};

struct run {
    struct core_breaker breaker;
    struct prng prng;
    uint64_t now_ms;
    struct breaker_permit held[HELD_COUNT]; /* The newest; older ones are never reported. */
    uint32_t held_count;
};

static void open_run(struct run *run, uint64_t seed)
{
    memset(run, 0, sizeof(*run));
    run->now_ms = 1000;
    prng_init(&run->prng, seed);
}

static void take(struct run *run)
{
    struct breaker_permit permit;

    bool is_ready = breaker_ready_ms(&run->breaker) <= run->now_ms;
    bool is_granted = breaker_take(&run->breaker, run->now_ms, &permit);
    assert_int_equal(is_ready, is_granted); /* Who waits until it is ready does not wait in vain. */
    if (!is_granted) {
        return;
    }
    if (run->held_count == HELD_COUNT) {
        memmove(run->held, run->held + 1, sizeof(run->held) - sizeof(run->held[0]));
        run->held_count--;
    }
    run->held[run->held_count] = permit;
    run->held_count++;
}

static void report(struct run *run, uint32_t place, enum breaker_result result)
{
    if (place >= run->held_count) {
        return;
    }
    struct breaker_permit permit = run->held[place];
    struct core_breaker before = run->breaker;
    breaker_done(&run->breaker, &run->prng, run->now_ms, permit, result);
    if (permit.generation != before.generation) {
        assert_memory_equal(&before, &run->breaker, sizeof(before));
    }
    before = run->breaker;
    if (run->breaker.state == BREAKER_HALF_OPEN) { /* The second report counts for nothing. */
        breaker_done(&run->breaker, &run->prng, run->now_ms, permit, result);
        assert_memory_equal(&before, &run->breaker, sizeof(before));
    }
    run->held_count--;
    memmove(run->held + place, run->held + place + 1,
            (run->held_count - place) * sizeof(run->held[0]));
}

static void wait_ms(struct run *run, uint64_t ms)
{
    run->now_ms += ms;
    breaker_advance(&run->breaker, &run->prng, run->now_ms);
}

static void act(struct run *run, enum event event)
{
    uint64_t ready_ms = breaker_ready_ms(&run->breaker);

    switch (event) {
    case TAKE:
        take(run);
        break;
    case SUCCEED_FIRST:
        report(run, 0, BREAKER_SUCCESS);
        break;
    case FAIL_FIRST:
        report(run, 0, BREAKER_FAILURE);
        break;
    case RETURN_FIRST:
        report(run, 0, BREAKER_UNKNOWN);
        break;
    case FAIL_LAST:
        report(run, run->held_count - 1, BREAKER_FAILURE);
        break;
    case FAIL_WITHOUT:
        breaker_fail(&run->breaker, &run->prng, run->now_ms);
        break;
    case WAIT_SHORT:
        wait_ms(run, 20);
        break;
    case WAIT_UNTIL_READY:
        wait_ms(run, ready_ms > run->now_ms ? ready_ms - run->now_ms : 0);
        break;
    case EVENT_COUNT:
        break;
    }
    breaker_check(&run->breaker);
}

/* Whatever happened, and though nothing held is ever reported: from when the node answers it is
 * closed within the deadline of a permit and one wait. */
static void check_closes(struct run *run)
{
    uint64_t begun_ms = run->now_ms;

    run->held_count = 0;
    for (uint32_t i = 0; run->breaker.state != BREAKER_CLOSED; i++) {
        assert_true(i < 10);
        act(run, WAIT_UNTIL_READY);
        while (run->held_count < HELD_COUNT && breaker_ready_ms(&run->breaker) <= run->now_ms) {
            take(run);
        }
        while (run->held_count > 0) {
            act(run, SUCCEED_FIRST);
        }
    }
    assert_true(run->now_ms - begun_ms <= BREAKER_PERMIT_MS + BREAKER_WAIT_MS_MAX);
}

static void run_all_orders(const struct run *begin)
{
    uint32_t count = 1;

    for (uint32_t i = 0; i < DEPTH; i++) {
        count *= EVENT_COUNT;
    }
    for (uint32_t order = 0; order < count; order++) {
        struct run run = *begin;
        uint32_t rest = order;
        for (uint32_t i = 0; i < DEPTH; i++) {
            act(&run, (enum event)(rest % EVENT_COUNT));
            rest /= EVENT_COUNT;
        }
        check_closes(&run);
    }
}

static void no_order_of_events_gets_a_closed_one_stuck(void **state)
{
    struct run run;

    (void)state;
    open_run(&run, 1);
    for (uint32_t i = 1; i < BREAKER_FAILURE_COUNT; i++) {
        act(&run, FAIL_WITHOUT);
    }
    assert_int_equal(run.breaker.state, BREAKER_CLOSED); /* The next failure opens it. */
    run_all_orders(&run);
}

static void no_order_of_events_gets_a_half_open_one_stuck(void **state)
{
    struct run run;

    (void)state;
    open_run(&run, 2);
    for (uint32_t i = 0; i < BREAKER_FAILURE_COUNT; i++) {
        act(&run, FAIL_WITHOUT);
    }
    act(&run, WAIT_UNTIL_READY);
    assert_int_equal(run.breaker.state, BREAKER_HALF_OPEN);
    run_all_orders(&run);
}

static void no_long_run_of_events_gets_it_stuck(void **state)
{
    uint32_t state_counts[3] = {0};

    (void)state;
    for (uint64_t seed = 1; seed <= SEED_COUNT; seed++) {
        struct run run;
        open_run(&run, seed);
        for (uint32_t i = 0; i < STEP_COUNT; i++) {
            act(&run, (enum event)prng_below(&run.prng, EVENT_COUNT));
            state_counts[run.breaker.state]++;
        }
        check_closes(&run);
    }
    for (uint32_t i = 0; i < 3; i++) {
        assert_true(state_counts[i] > SEED_COUNT * STEP_COUNT / 50);
    }
}

static void it_opens_on_failures_in_a_row(void **state)
{
    struct run run;

    (void)state;
    open_run(&run, 3);
    for (uint32_t i = 0; i < BREAKER_FAILURE_COUNT; i++) {
        assert_int_equal(run.breaker.state, BREAKER_CLOSED);
        act(&run, TAKE);
        act(&run, FAIL_FIRST);
    }

    assert_int_equal(run.breaker.state, BREAKER_OPEN);
    assert_true(run.breaker.until_ms >= run.now_ms + BREAKER_WAIT_MS_MIN / 2);
    assert_true(run.breaker.until_ms <= run.now_ms + BREAKER_WAIT_MS_MIN);
}

/* Three of four fail when the first does not; one of four: never opens. */
static uint32_t attempts_until_open(uint32_t failures_of_four)
{
    struct run run;
    uint32_t attempts = 0;

    open_run(&run, 4);
    while (run.breaker.state == BREAKER_CLOSED && attempts < 1000) {
        act(&run, TAKE);
        act(&run, attempts % 4 < 4 - failures_of_four ? SUCCEED_FIRST : FAIL_FIRST);
        wait_ms(&run, 1);
        attempts++;
    }
    return attempts;
}

static void it_opens_when_half_of_many_fail(void **state)
{
    (void)state;
    assert_in_range(attempts_until_open(2), BREAKER_SAMPLE_COUNT_MIN, BREAKER_SAMPLE_COUNT_MIN + 4);
    assert_int_equal(attempts_until_open(1), 1000);
}

static void what_failed_long_ago_does_not_count(void **state)
{
    struct run run;

    (void)state;
    open_run(&run, 5);
    for (uint32_t i = 0; i < BREAKER_SAMPLE_COUNT_MIN - 1; i++) {
        act(&run, TAKE);
        act(&run, i % 4 == 3 ? SUCCEED_FIRST : FAIL_FIRST);
    }
    assert_int_equal(run.breaker.state, BREAKER_CLOSED);
    wait_ms(&run, 2 * BREAKER_PERIOD_MS);
    act(&run, TAKE);
    act(&run, FAIL_FIRST);

    assert_int_equal(run.breaker.state, BREAKER_CLOSED);
}

static void it_waits_longer_each_time_it_opens_and_no_longer_than_its_maximum(void **state)
{
    struct run run;
    uint64_t waited_ms = 0;

    (void)state;
    open_run(&run, 6);
    for (uint32_t i = 0; i < 8; i++) {
        for (uint32_t k = 0; k < BREAKER_FAILURE_COUNT; k++) {
            act(&run, FAIL_WITHOUT);
        }
        waited_ms = run.breaker.until_ms - run.now_ms;
        assert_true(waited_ms <= BREAKER_WAIT_MS_MAX);
        act(&run, WAIT_UNTIL_READY);
    }

    assert_true(waited_ms >= BREAKER_WAIT_MS_MAX / 2);
    check_closes(&run);
    assert_int_equal(run.breaker.opened_in_row, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_order_of_events_gets_a_closed_one_stuck),
        cmocka_unit_test(no_order_of_events_gets_a_half_open_one_stuck),
        cmocka_unit_test(no_long_run_of_events_gets_it_stuck),
        cmocka_unit_test(it_opens_on_failures_in_a_row),
        cmocka_unit_test(it_opens_when_half_of_many_fail),
        cmocka_unit_test(what_failed_long_ago_does_not_count),
        cmocka_unit_test(it_waits_longer_each_time_it_opens_and_no_longer_than_its_maximum),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
