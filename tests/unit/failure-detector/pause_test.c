/* tests/unit/failure-detector/pause_test.c: this node's own pauses, and clocks that jump. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "failure-detector/detector.h"
#include "tests/support/failure-detector/fixture.h"

/* The node stands still for `pause_ms`, while the peer goes on; timers come first when it wakes,
 * then all that has queued up. */
static void pause_while_peer_beats(struct detector_fixture *fixture, uint64_t pause_ms)
{
    uint64_t start_ms = fixture->now_ms;

    fixture->now_ms += pause_ms;
    detector_advance(fixture->detector, fixture->now_ms);
    detector_check(fixture->detector);
    for (uint64_t at_ms = FIXTURE_INTERVAL_MS; at_ms <= pause_ms; at_ms += FIXTURE_INTERVAL_MS) {
        const struct detector_heartbeat heartbeat = {
            .incarnation = fixture->incarnation,
            .sequence = ++fixture->sequences[0],
            .sent_ms = start_ms + at_ms - FIXTURE_DELAY_MS,
        };

        assert_int_equal(detector_heard(fixture->detector, 0, &heartbeat, fixture->now_ms), ERR_OK);
        detector_check(fixture->detector);
        detector_advance(fixture->detector, fixture->now_ms);
    }
    fixture_wait(fixture, FIXTURE_INTERVAL_MS - pause_ms % FIXTURE_INTERVAL_MS);
    fixture_beat(fixture, 0);
}

static void own_pause_is_nobodys_silence(void **state)
{
    (void)state;
    struct detector_fixture fixture;

    fixture_open(&fixture);
    fixture_beat_on(&fixture, 0, 200);
    for (uint64_t pause_ms = 1; pause_ms <= 1000; pause_ms++) {
        pause_while_peer_beats(&fixture, pause_ms);
        fixture_beat_on(&fixture, 0, 1 + (uint32_t)(pause_ms % 20));
    }

    assert_int_equal(fixture_view(&fixture, 0).quality.mistake_count, 0);
    fixture_close(&fixture);
}

static void crash_during_an_own_pause_is_detected_after_it(void **state)
{
    (void)state;
    for (uint64_t pause_ms = 1; pause_ms <= 1000; pause_ms += 7) {
        struct detector_fixture fixture;

        fixture_open(&fixture);
        fixture_beat_on(&fixture, 0, 200);
        uint32_t timeout_ms = fixture_view(&fixture, 0).timeout_ms;
        fixture_wait(&fixture, pause_ms % FIXTURE_INTERVAL_MS);
        fixture.now_ms += pause_ms;
        detector_advance(fixture.detector, fixture.now_ms);

        assert_in_range(fixture_wait_for_suspicion(&fixture, 0), 0, timeout_ms + 1);
        fixture_close(&fixture);
    }
}

static void pauses_one_after_the_other_add_up(void **state)
{
    (void)state;
    struct detector_fixture fixture;

    fixture_open(&fixture);
    fixture_beat_on(&fixture, 0, 200);
    for (int i = 0; i < 20; i++) {
        fixture.now_ms += 400;
        detector_advance(fixture.detector, fixture.now_ms);
        assert_int_equal(detector_suspected(fixture.detector), 0);
        (void)detector_next_deadline(fixture.detector);
    }
    assert_in_range(fixture_wait_for_suspicion(&fixture, 0), 1,
                    fixture_view(&fixture, 0).timeout_ms + 1);
    fixture_close(&fixture);
}

static void own_pause_is_told_once_until_a_second_has_passed(void **state)
{
    (void)state;
    struct detector_fixture fixture;

    fixture_open(&fixture);
    fixture_beat_on(&fixture, 0, 200);
    (void)fixture_collect(&fixture);
    for (int i = 0; i < 3; i++) {
        pause_while_peer_beats(&fixture, 600);
        assert_int_equal(fixture_collect(&fixture), i == 0);
    }
    assert_true(detector_is_degraded(fixture.detector, fixture.now_ms));
    fixture_beat_on(&fixture, 0, 20);
    assert_false(detector_is_degraded(fixture.detector, fixture.now_ms));
    assert_int_equal(fixture_collect(&fixture), 0);
    pause_while_peer_beats(&fixture, 600);

    assert_int_equal(fixture_collect(&fixture), 1);
    assert_int_equal(fixture.events[0].kind, DETECTOR_SELF_DEGRADED);
    assert_int_equal(fixture.events[0].peer, DETECTOR_SELF);
    assert_in_range(fixture.events[0].silence_ms, 600, 650);
    fixture_close(&fixture);
}

static void clock_that_runs_back_is_taken_to_stand_still(void **state)
{
    (void)state;
    struct detector_fixture fixture;

    fixture_open(&fixture);
    fixture_beat_on(&fixture, 0, 200);
    uint64_t deadline_ms = fixture_view(&fixture, 0).deadline_ms;
    detector_advance(fixture.detector, 5);
    detector_advance(fixture.detector, fixture.now_ms - 1);
    detector_check(fixture.detector);

    assert_int_equal(fixture_view(&fixture, 0).deadline_ms, deadline_ms);
    assert_in_range(fixture_wait_for_suspicion(&fixture, 0), 1, deadline_ms);
    assert_int_equal(fixture.now_ms, deadline_ms);
    fixture_close(&fixture);
}

static void clock_that_leaps_ahead_is_a_pause(void **state)
{
    (void)state;
    struct detector_fixture fixture;

    fixture_open(&fixture);
    fixture_beat_on(&fixture, 0, 200);
    fixture.now_ms += (uint64_t)1 << 40; /* 35 years. */
    detector_advance(fixture.detector, fixture.now_ms);
    detector_check(fixture.detector);

    assert_int_equal(detector_suspected(fixture.detector), 0);
    fixture_beat_on(&fixture, 0, 100);
    assert_int_equal(fixture_view(&fixture, 0).quality.mistake_count, 0);
    fixture_close(&fixture);
}

static void silence_of_years_overflows_nothing(void **state)
{
    (void)state;
    struct detector_fixture fixture;

    fixture_open(&fixture);
    fixture_beat_on(&fixture, 0, 200);
    fixture_wait_for_suspicion(&fixture, 0);
    (void)fixture_collect(&fixture);
    double last = fixture_view(&fixture, 0).phi;
    for (uint32_t bits = 10; bits < 62; bits++) {
        const struct detector_view view =
            detector_view(fixture.detector, 0, fixture.now_ms + ((uint64_t)1 << bits));

        assert_true(view.phi > last);
        last = view.phi;
    }
    fixture.now_ms += (uint64_t)1 << 61;
    detector_advance(fixture.detector, fixture.now_ms);
    fixture_beat(&fixture, 0);
    assert_int_equal(fixture_collect(&fixture), 2);
    assert_int_equal(fixture.events[0].kind, DETECTOR_TRUST);
    assert_int_equal(fixture.events[1].kind, DETECTOR_SELF_DEGRADED);
    assert_int_equal(fixture.events[1].silence_ms, UINT32_MAX);
    fixture_close(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(own_pause_is_nobodys_silence),
        cmocka_unit_test(crash_during_an_own_pause_is_detected_after_it),
        cmocka_unit_test(pauses_one_after_the_other_add_up),
        cmocka_unit_test(own_pause_is_told_once_until_a_second_has_passed),
        cmocka_unit_test(clock_that_runs_back_is_taken_to_stand_still),
        cmocka_unit_test(clock_that_leaps_ahead_is_a_pause),
        cmocka_unit_test(silence_of_years_overflows_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
