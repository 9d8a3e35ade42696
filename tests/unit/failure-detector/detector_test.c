/* tests/unit/failure-detector/detector_test.c: heartbeats in, suspicion out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "failure-detector/detector.h"
#include "tests/support/failure-detector/fixture.h"
#include "tests/support/failure-detector/nearly.h"

static int open_fixture(void **state)
{
    struct detector_fixture *fixture = malloc(sizeof(*fixture));

    fixture_open(fixture);
    *state = fixture;
    return 0;
}

static int close_fixture(void **state)
{
    fixture_close(*state);
    free(*state);
    return 0;
}

/* --- Opening ---------------------------------------------------------------------------------- */

static enum error open_error(const struct detector_options *options)
{
    _Alignas(ARENA_ALIGNMENT) uint8_t memory[ARENA_ALIGNMENT];
    struct arena arena;
    struct detector *detector = NULL;

    arena_init(&arena, memory, 0);
    return detector_open(&detector, &arena, options, 0);
}

static void contradicting_options_are_refused(void **state)
{
    (void)state;
    struct detector_options options = detector_options_of(0, 50);

    assert_int_equal(open_error(&options), ERR_INVALID);
    options = detector_options_of(DETECTOR_PEER_COUNT_MAX + 1, 50);
    assert_int_equal(open_error(&options), ERR_INVALID);
    options = detector_options_of(1, 0);
    assert_int_equal(open_error(&options), ERR_INVALID);
    options = detector_options_of(1, 50);
    options.threshold = 0;
    assert_int_equal(open_error(&options), ERR_INVALID);
    options = detector_options_of(1, 50);
    options.timeout_ms_min = options.timeout_ms_max + 1;
    assert_int_equal(open_error(&options), ERR_INVALID);
    options = detector_options_of(1, 50);
    options.loss_ppm_min = 500001;
    assert_int_equal(open_error(&options), ERR_INVALID);
}

/* --- Suspicion and trust ---------------------------------------------------------------------- */

static void peer_that_never_speaks_is_suspected_after_the_initial_timeout(void **state)
{
    struct detector_fixture *fixture = *state;

    assert_int_equal(fixture_view(fixture, 0).state, DETECTOR_UNKNOWN);
    assert_int_equal(fixture_wait_for_suspicion(fixture, 0), fixture->options.initial_ms);
    assert_int_equal(fixture_collect(fixture), 1);
    assert_int_equal(fixture->events[0].kind, DETECTOR_SUSPECT);
    assert_int_equal(fixture->events[0].incarnation, 0);
    assert_int_equal(fixture_view(fixture, 0).quality.detection_count, 0);
}

static void silent_peer_is_suspected_at_its_deadline_and_not_before(void **state)
{
    struct detector_fixture *fixture = *state;

    fixture_beat_on(fixture, 0, 100);
    uint64_t deadline_ms = fixture_view(fixture, 0).deadline_ms;
    fixture_wait(fixture, deadline_ms - 1 - fixture->now_ms);
    assert_int_equal(detector_suspected(fixture->detector), 0);
    fixture_wait(fixture, 1);

    assert_int_equal(detector_suspected(fixture->detector), 1);
    assert_true(fixture_view(fixture, 0).phi >= fixture->options.threshold);
}

static void peer_that_beats_is_never_suspected(void **state)
{
    struct detector_fixture *fixture = *state;

    fixture_beat(fixture, 0);
    (void)fixture_collect(fixture);
    for (int i = 0; i < 5000; i++) {
        fixture_beat_on(fixture, 0, 1);
        assert_int_equal(fixture_collect(fixture), 0);
    }
    assert_int_equal(fixture_view(fixture, 0).quality.mistake_count, 0);
    assert_int_equal(fixture_view(fixture, 0).quality.accuracy_ppm, 1000000);
}

static void each_change_is_told_once(void **state)
{
    struct detector_fixture *fixture = *state;

    fixture_beat_on(fixture, 0, 20);
    assert_int_equal(fixture_collect(fixture), 1);
    assert_int_equal(fixture->events[0].kind, DETECTOR_TRUST);
    assert_int_equal(fixture->events[0].incarnation, fixture->incarnation);
    assert_int_equal(fixture_collect(fixture), 0);

    uint64_t silence_ms = fixture_wait_for_suspicion(fixture, 0);
    assert_int_equal(fixture_collect(fixture), 1);
    assert_int_equal(fixture->events[0].kind, DETECTOR_SUSPECT);
    assert_int_equal(fixture->events[0].silence_ms, silence_ms);
    fixture_wait(fixture, 10000);
    assert_int_equal(fixture_collect(fixture), 0);

    fixture_beat_on(fixture, 0, 5);
    assert_int_equal(fixture_collect(fixture), 1);
    assert_int_equal(fixture->events[0].kind, DETECTOR_TRUST);
}

static void suspicion_that_came_and_went_between_two_collects_is_counted_but_not_told(void **state)
{
    struct detector_fixture *fixture = *state;

    fixture_beat_on(fixture, 0, 20);
    (void)fixture_collect(fixture);
    fixture_wait_for_suspicion(fixture, 0);
    fixture_beat(fixture, 0);

    assert_int_equal(fixture_collect(fixture), 0);
    assert_int_equal(fixture_view(fixture, 0).quality.mistake_count, 1);
}

static void any_message_is_a_sign_of_life(void **state)
{
    struct detector_fixture *fixture = *state;
    const struct detector_heartbeat other = {.incarnation = fixture->incarnation};

    fixture_beat_on(fixture, 0, 20);
    uint64_t first_ms = fixture_view(fixture, 0).deadline_ms;
    fixture_wait(fixture, 40);
    assert_int_equal(detector_heard(fixture->detector, 0, &other, fixture->now_ms), ERR_OK);

    assert_in_range(fixture_view(fixture, 0).deadline_ms, first_ms + 39, first_ms + 41);
    assert_int_equal(fixture_view(fixture, 0).heartbeat_count, 20);
}

static void lost_heartbeats_cost_no_deviation(void **state)
{
    struct detector_fixture *fixture = *state;

    for (int i = 0; i < 100; i++) {
        fixture_beat_on(fixture, 0, 20);
        fixture_wait(fixture, FIXTURE_INTERVAL_MS);
        fixture->sequences[0]++;
    }

    assert_int_equal(fixture_view(fixture, 0).lost_count, 99);
    assert_int_equal(fixture_view(fixture, 0).delay_deviation_ms,
                     fixture->options.deviation_ms_min);
    assert_int_equal(fixture_view(fixture, 0).quality.mistake_count, 0);
}

/* Heartbeats at their times, with a delay of 0 or 80 ms in turn. */
static void beat_unsteadily(struct detector_fixture *fixture, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        fixture_wait(fixture, FIXTURE_INTERVAL_MS);
        const struct detector_heartbeat heartbeat = {
            .incarnation = fixture->incarnation,
            .sequence = ++fixture->sequences[0],
            .sent_ms = fixture->now_ms - i % 2 * 80,
        };

        assert_int_equal(detector_heard(fixture->detector, 0, &heartbeat, fixture->now_ms), ERR_OK);
    }
}

static void more_patient_window_decides(void **state)
{
    struct detector_fixture *fixture = *state;

    fixture_beat_on(fixture, 0, 1100);
    beat_unsteadily(fixture, 64);
    assert_in_range(fixture_view(fixture, 0).delay_deviation_ms, 35, 40); /* The short one. */
    beat_unsteadily(fixture, 900);
    fixture_beat_on(fixture, 0, 100);

    assert_in_range(fixture_view(fixture, 0).delay_deviation_ms, 35, 40); /* The long one. */
}

static void delays_that_jump_for_good_raise_no_suspicion(void **state)
{
    struct detector_fixture *fixture = *state;
    struct detector_heartbeat heartbeat = {.incarnation = 7, .sequence = 500};

    fixture_beat_on(fixture, 0, 200);
    (void)fixture_collect(fixture);
    for (int i = 0; i < 200; i++) {
        fixture_wait(fixture, FIXTURE_INTERVAL_MS);
        heartbeat.sequence++;
        heartbeat.sent_ms = fixture->now_ms - 60000; /* Or the peer's clock was set. */
        assert_int_equal(detector_heard(fixture->detector, 0, &heartbeat, fixture->now_ms), ERR_OK);
    }

    assert_int_equal(fixture_collect(fixture), 0);
    assert_int_equal(fixture_view(fixture, 0).quality.mistake_count, 0);
}

/* The peer's clock runs faster by 1 %, then slower: what it stamps drifts away from our clock. */
static void clocks_that_drift_apart_delay_suspicion_by_no_more_than_two_intervals(void **state)
{
    struct detector_fixture *fixture = *state;
    struct detector_heartbeat heartbeat = {.incarnation = 7};
    const uint64_t rates[2] = {101, 99};

    for (int i = 0; i < 4000; i++) {
        fixture_wait(fixture, FIXTURE_INTERVAL_MS);
        heartbeat.sequence++;
        heartbeat.sent_ms = (uint64_t)(i + 10000) * FIXTURE_INTERVAL_MS * rates[i / 2000] / 100;
        assert_int_equal(detector_heard(fixture->detector, 0, &heartbeat, fixture->now_ms), ERR_OK);
        assert_in_range(fixture_view(fixture, 0).deadline_ms, fixture->now_ms + 1,
                        fixture->now_ms + fixture->options.timeout_ms_max +
                            2 * FIXTURE_INTERVAL_MS);
    }
    assert_int_equal(fixture_view(fixture, 0).quality.mistake_count, 0);
}

/* --- What is refused -------------------------------------------------------------------------- */

static void stale_and_invalid_messages_change_nothing(void **state)
{
    struct detector_fixture *fixture = *state;
    const struct detector_heartbeat older = {.incarnation = 6, .sequence = 1000};
    const struct detector_heartbeat again = {.incarnation = 7, .sequence = 20};
    const struct detector_heartbeat nobody = {.incarnation = 0, .sequence = 1000};
    const struct detector_heartbeat sound = {.incarnation = 7, .sequence = 21};
    uint64_t later_ms = 0;
    void *before = malloc(fixture->memory_size);

    fixture_beat_on(fixture, 0, 20);
    memcpy(before, fixture->memory, fixture->memory_size);
    later_ms = fixture->now_ms + 30;

    assert_int_equal(detector_heard(fixture->detector, 0, &older, later_ms), ERR_STALE);
    assert_int_equal(detector_heard(fixture->detector, 0, &again, later_ms), ERR_STALE);
    assert_int_equal(detector_heard(fixture->detector, 0, &nobody, later_ms), ERR_INVALID);
    assert_int_equal(detector_heard(fixture->detector, 1, &sound, later_ms), ERR_NOT_FOUND);
    assert_memory_equal(fixture->memory, before, fixture->memory_size);
    free(before);
}

static void forgotten_peer_causes_no_event(void **state)
{
    struct detector_fixture *fixture = *state;

    fixture_beat_on(fixture, 0, 20);
    (void)fixture_collect(fixture);
    detector_forget(fixture->detector, 0);
    fixture_wait(fixture, 10000);

    assert_int_equal(fixture_collect(fixture), 0);
    assert_int_equal(detector_suspected(fixture->detector), 0);
    assert_int_equal(fixture_view(fixture, 0).state, DETECTOR_UNWATCHED);
}

static void peers_are_judged_apart(void **state)
{
    struct detector_fixture *fixture = *state;

    detector_watch(fixture->detector, 1, fixture->now_ms);
    for (int i = 0; i < 40; i++) {
        fixture_beat_on(fixture, 0, 1);
        fixture_beat(fixture, 1);
    }
    fixture_beat_on(fixture, 1, 40);

    assert_int_equal(detector_suspected(fixture->detector), 1);
    assert_int_equal(fixture_collect(fixture), 2);
    assert_int_equal(fixture->events[0].kind, DETECTOR_SUSPECT);
    assert_int_equal(fixture->events[1].kind, DETECTOR_TRUST);
    assert_int_equal(fixture->events[1].peer, 1);
}

/* --- Incarnations ----------------------------------------------------------------------------- */

static void newer_incarnation_proves_the_suspicion_right(void **state)
{
    struct detector_fixture *fixture = *state;

    fixture_beat_on(fixture, 0, 20);
    uint64_t silence_ms = fixture_wait_for_suspicion(fixture, 0);
    (void)fixture_collect(fixture);
    fixture_wait(fixture, 3000);
    fixture->incarnation++;
    fixture->sequences[0] = 0;
    fixture_beat(fixture, 0);
    const struct detector_view view = fixture_view(fixture, 0);

    assert_int_equal(fixture_collect(fixture), 1);
    assert_int_equal(fixture->events[0].kind, DETECTOR_TRUST);
    assert_int_equal(fixture->events[0].incarnation, 8);
    assert_int_equal(view.quality.mistake_count, 0);
    assert_int_equal(view.quality.detection_count, 1);
    assert_int_equal(view.quality.detection_ms_sum, silence_ms);
    assert_int_equal(view.quality.detection_ms_max, silence_ms);
    assert_int_equal(view.heartbeat_count, 1);
    assert_int_equal(view.floor_ms, 0);
}

static void restart_that_was_too_quick_to_be_noticed_is_told(void **state)
{
    struct detector_fixture *fixture = *state;

    fixture_beat_on(fixture, 0, 20);
    (void)fixture_collect(fixture);
    fixture->incarnation++;
    fixture->sequences[0] = 0;
    fixture_beat_on(fixture, 0, 1);

    assert_int_equal(fixture_collect(fixture), 1);
    assert_int_equal(fixture->events[0].kind, DETECTOR_TRUST);
    assert_int_equal(fixture->events[0].incarnation, 8);
    assert_int_equal(fixture_view(fixture, 0).quality.detection_count, 0);
}

/* --- Mistakes --------------------------------------------------------------------------------- */

static void quality_is_that_of_the_definitions(void **state)
{
    struct detector_fixture *fixture = *state;

    fixture_beat(fixture, 0);
    fixture_beat_on(fixture, 0, 200);
    uint64_t start_ms = fixture->now_ms;
    fixture_wait_for_suspicion(fixture, 0);
    uint64_t first_ms = fixture->now_ms;
    fixture_wait(fixture, 1000);
    fixture_beat_on(fixture, 0, 200);
    fixture_wait_for_suspicion(fixture, 0);
    uint64_t second_ms = fixture->now_ms;
    fixture_wait(fixture, 500);
    fixture_beat(fixture, 0);
    const struct detector_quality quality = fixture_view(fixture, 0).quality;

    assert_int_equal(quality.mistake_count, 2);
    assert_int_equal(quality.mistake_ms_sum, 1000 + FIXTURE_INTERVAL_MS + 500);
    assert_int_equal(quality.recurrence_count, 1);
    assert_int_equal(quality.recurrence_ms_sum, second_ms - first_ms);
    assert_int_equal(quality.detection_count, 0);
    assert_int_equal(quality.watched_ms, 200 * FIXTURE_INTERVAL_MS + fixture->now_ms - start_ms);
    assert_true(nearly(quality.accuracy_ppm, 1e6 * (1 - 1550.0 / (double)quality.watched_ms), 1));
}

static void mistake_raises_the_floor_and_calm_lowers_it(void **state)
{
    struct detector_fixture *fixture = *state;

    fixture_beat_on(fixture, 0, 200);
    uint32_t timeout_ms = fixture_view(fixture, 0).timeout_ms;
    fixture_wait_for_suspicion(fixture, 0);
    fixture_wait(fixture, 10);
    fixture_beat(fixture, 0);
    uint32_t floor_ms = fixture_view(fixture, 0).floor_ms;
    assert_in_range(floor_ms, timeout_ms + 10, timeout_ms * 3 / 2);
    fixture_beat_on(fixture, 0, 1998);
    assert_int_equal(fixture_view(fixture, 0).floor_ms, floor_ms);
    fixture_beat_on(fixture, 0, 2);
    assert_int_equal(fixture_view(fixture, 0).floor_ms, floor_ms - floor_ms / 10);
    fixture_beat_on(fixture, 0, 60000);

    assert_int_equal(fixture_view(fixture, 0).floor_ms, 0);
}

/* Silences of 300 ms in each hundred heartbeats, of a peer that asks for less otherwise. */
static void mistakes_of_a_bounded_silence_become_rare(void **state)
{
    struct detector_fixture *fixture = *state;
    uint64_t mistakes[4];

    for (uint32_t i = 0; i < 4; i++) {
        for (int round = 0; round < 500; round++) {
            fixture_beat_on(fixture, 0, 100);
            fixture_wait(fixture, 250);
        }
        mistakes[i] = fixture_view(fixture, 0).quality.mistake_count;
    }

    assert_in_range(mistakes[0], 1, 8);
    assert_in_range(mistakes[3] - mistakes[2], 0, 1);
}

static void silence_that_no_timeout_covers_teaches_nothing(void **state)
{
    struct detector_fixture *fixture = *state;

    fixture_beat_on(fixture, 0, 200);
    uint32_t timeout_ms = fixture_view(fixture, 0).timeout_ms;
    for (int i = 0; i < 10; i++) {
        fixture_wait(fixture, 2000);
        fixture_beat_on(fixture, 0, 100);
    }

    assert_int_equal(fixture_view(fixture, 0).quality.mistake_count, 10);
    assert_int_equal(fixture_view(fixture, 0).floor_ms, 0);
    assert_in_range(fixture_view(fixture, 0).timeout_ms, timeout_ms - 60, timeout_ms + 1);
}

/* --- Gray ------------------------------------------------------------------------------------- */

static void beat_with_health(struct detector_fixture *fixture, uint32_t sync_ms, uint32_t lag_ms)
{
    fixture_wait(fixture, FIXTURE_INTERVAL_MS);
    const struct detector_heartbeat heartbeat = {
        .incarnation = fixture->incarnation,
        .sequence = ++fixture->sequences[0],
        .sent_ms = fixture->now_ms,
        .sync_ms = sync_ms,
        .lag_ms = lag_ms,
    };

    assert_int_equal(detector_heard(fixture->detector, 0, &heartbeat, fixture->now_ms), ERR_OK);
}

static void peer_whose_disk_hangs_is_gray_until_it_was_well_for_a_while(void **state)
{
    struct detector_fixture *fixture = *state;

    fixture_beat_on(fixture, 0, 20);
    (void)fixture_collect(fixture);
    beat_with_health(fixture, 500, 0);
    beat_with_health(fixture, 550, 0);
    assert_int_equal(fixture_collect(fixture), 0);
    beat_with_health(fixture, 600, 0);
    assert_int_equal(fixture_collect(fixture), 1);
    assert_int_equal(fixture->events[0].kind, DETECTOR_GRAY);

    beat_with_health(fixture, 300, 0); /* Better, and not yet well. */
    fixture_beat_on(fixture, 0, 99);
    assert_int_equal(fixture_collect(fixture), 0);
    fixture_beat_on(fixture, 0, 1);
    assert_int_equal(fixture_collect(fixture), 1);
    assert_int_equal(fixture->events[0].kind, DETECTOR_TRUST);
}

static void single_late_turn_makes_nobody_gray(void **state)
{
    struct detector_fixture *fixture = *state;

    fixture_beat_on(fixture, 0, 20);
    (void)fixture_collect(fixture);
    for (int i = 0; i < 100; i++) {
        beat_with_health(fixture, 0, 900);
        beat_with_health(fixture, 0, 900);
        beat_with_health(fixture, 0, 0);
    }

    assert_int_equal(fixture_collect(fixture), 0);
}

static void gray_peer_that_falls_silent_is_suspected(void **state)
{
    struct detector_fixture *fixture = *state;

    for (int i = 0; i < 20; i++) {
        beat_with_health(fixture, 0, 900);
    }
    assert_int_equal(fixture_view(fixture, 0).state, DETECTOR_GRAYED);
    fixture_wait_for_suspicion(fixture, 0);

    assert_int_equal(fixture_view(fixture, 0).state, DETECTOR_SUSPECTED);
    fixture_beat(fixture, 0);
    assert_int_equal(fixture_view(fixture, 0).state, DETECTOR_TRUSTED);
}

/* --- The fixed timeout ------------------------------------------------------------------------ */

static void fixed_timeout_suspects_at_it_whatever_was_seen(void **state)
{
    (void)state;
    struct detector_options options = detector_options_of(1, FIXTURE_INTERVAL_MS);
    struct detector_fixture fixture;

    options.kind = DETECTOR_FIXED;
    options.initial_ms = 170;
    fixture_open_with(&fixture, &options);
    for (int i = 0; i < 5; i++) {
        fixture_beat_on(&fixture, 0, 100);
        assert_int_equal(fixture_wait_for_suspicion(&fixture, 0), 170);
        assert_true(nearly(fixture_view(&fixture, 0).phi, options.threshold, 1e-9));
        fixture_wait(&fixture, 20);
    }
    fixture_beat(&fixture, 0);

    assert_int_equal(fixture_view(&fixture, 0).quality.mistake_count, 5);
    assert_int_equal(fixture_view(&fixture, 0).floor_ms, 0);
    assert_int_equal(fixture_collect(&fixture), 1);
    assert_int_equal(fixture.events[0].kind, DETECTOR_TRUST);
    fixture_close(&fixture);
}

#define WITH_FIXTURE(test) cmocka_unit_test_setup_teardown(test, open_fixture, close_fixture)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(contradicting_options_are_refused),
        WITH_FIXTURE(peer_that_never_speaks_is_suspected_after_the_initial_timeout),
        WITH_FIXTURE(silent_peer_is_suspected_at_its_deadline_and_not_before),
        WITH_FIXTURE(peer_that_beats_is_never_suspected),
        WITH_FIXTURE(each_change_is_told_once),
        WITH_FIXTURE(suspicion_that_came_and_went_between_two_collects_is_counted_but_not_told),
        WITH_FIXTURE(any_message_is_a_sign_of_life),
        WITH_FIXTURE(lost_heartbeats_cost_no_deviation),
        WITH_FIXTURE(more_patient_window_decides),
        WITH_FIXTURE(delays_that_jump_for_good_raise_no_suspicion),
        WITH_FIXTURE(clocks_that_drift_apart_delay_suspicion_by_no_more_than_two_intervals),
        WITH_FIXTURE(stale_and_invalid_messages_change_nothing),
        WITH_FIXTURE(forgotten_peer_causes_no_event),
        WITH_FIXTURE(peers_are_judged_apart),
        WITH_FIXTURE(newer_incarnation_proves_the_suspicion_right),
        WITH_FIXTURE(restart_that_was_too_quick_to_be_noticed_is_told),
        WITH_FIXTURE(quality_is_that_of_the_definitions),
        WITH_FIXTURE(mistake_raises_the_floor_and_calm_lowers_it),
        WITH_FIXTURE(mistakes_of_a_bounded_silence_become_rare),
        WITH_FIXTURE(silence_that_no_timeout_covers_teaches_nothing),
        WITH_FIXTURE(peer_whose_disk_hangs_is_gray_until_it_was_well_for_a_while),
        WITH_FIXTURE(single_late_turn_makes_nobody_gray),
        WITH_FIXTURE(gray_peer_that_falls_silent_is_suspected),
        cmocka_unit_test(fixed_timeout_suspects_at_it_whatever_was_seen),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
