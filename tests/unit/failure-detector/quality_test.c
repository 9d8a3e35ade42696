/* tests/unit/failure-detector/quality_test.c: what docs/failure-detector.md promises of the options
 * as they are shipped, at heartbeats of 50 ms. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/histogram.h"
#include "base/prng.h"
#include "failure-detector/detector.h"
#include "tests/support/failure-detector/fixture.h"

enum { BEAT_COUNT = 1000000, CRASH_EVERY = 500 };

static void advance_until(struct detector *detector, uint64_t end_ms)
{
    uint64_t due_ms = detector_next_deadline(detector);

    for (; due_ms < end_ms; due_ms = detector_next_deadline(detector)) {
        detector_advance(detector, due_ms);
    }
}

/* Delivers heartbeats at their times, every fiftieth lost in the mean, and adds to `detections` how
 * long a crash at a random time before the next one would have gone unnoticed. */
static void beat_with_loss(struct detector_fixture *fixture, struct histogram *detections)
{
    struct prng prng;

    prng_init(&prng, 1);
    for (uint64_t i = 1; i <= BEAT_COUNT; i++) {
        uint64_t sent_ms = FIXTURE_START_MS + i * FIXTURE_INTERVAL_MS + prng_below(&prng, 2);
        const struct detector_heartbeat heartbeat = {
            .incarnation = 1, .sequence = i, .sent_ms = sent_ms};
        uint64_t next_ms = FIXTURE_START_MS + (i + 1) * FIXTURE_INTERVAL_MS;

        if (prng_below(&prng, 50) != 0) {
            fixture->now_ms = sent_ms + prng_below(&prng, 4);
            detector_advance(fixture->detector, fixture->now_ms);
            assert_int_equal(detector_suspected(fixture->detector), 0);
            assert_int_equal(detector_heard(fixture->detector, 0, &heartbeat, fixture->now_ms),
                             ERR_OK);
        }
        advance_until(fixture->detector, next_ms);
        if (i % CRASH_EVERY == 0) {
            uint64_t crash_ms = sent_ms + prng_below(&prng, FIXTURE_INTERVAL_MS);

            histogram_add(detections, fixture_view(fixture, 0).deadline_ms - crash_ms);
        }
    }
}

static void two_percent_loss_causes_no_mistake_and_detection_within_350_ms(void **state)
{
    (void)state;
    struct detector_fixture fixture;
    struct histogram detections;

    fixture_open(&fixture);
    histogram_init(&detections);
    beat_with_loss(&fixture, &detections);

    assert_int_equal(fixture_view(&fixture, 0).quality.mistake_count, 0);
    assert_in_range(fixture_view(&fixture, 0).lost_count, 19000, 21000);
    assert_in_range(histogram_percentile(&detections, 990), 200, 350);
    fixture_close(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_percent_loss_causes_no_mistake_and_detection_within_350_ms),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
