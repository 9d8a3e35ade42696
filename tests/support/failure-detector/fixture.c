/* tests/support/failure-detector/fixture.c: the caller's side of failure-detector/detector.h. */
#include "tests/support/failure-detector/fixture.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

void fixture_open_with(struct detector_fixture *fixture, const struct detector_options *options)
{
    struct arena arena;

    memset(fixture, 0, sizeof(*fixture));
    fixture->options = *options;
    fixture->now_ms = FIXTURE_START_MS;
    fixture->incarnation = 7;
    fixture->memory_size = detector_memory_size(options);
    fixture->memory = aligned_alloc(ARENA_ALIGNMENT, fixture->memory_size);
    ASSERT(fixture->memory != NULL);
    memset(fixture->memory, 0x5a, fixture->memory_size);
    arena_init(&arena, fixture->memory, fixture->memory_size);
    enum error error = detector_open(&fixture->detector, &arena, options, fixture->now_ms);

    ASSERT_VALUES(error == ERR_OK, error, 0);
    detector_watch(fixture->detector, 0, fixture->now_ms);
}

void fixture_open(struct detector_fixture *fixture)
{
    const struct detector_options options = detector_options_of(2, FIXTURE_INTERVAL_MS);

    fixture_open_with(fixture, &options);
}

void fixture_close(struct detector_fixture *fixture)
{
    free(fixture->memory);
}

void fixture_beat(struct detector_fixture *fixture, uint32_t peer)
{
    const struct detector_heartbeat heartbeat = {
        .incarnation = fixture->incarnation,
        .sequence = ++fixture->sequences[peer],
        .sent_ms = fixture->now_ms - FIXTURE_DELAY_MS,
    };
    enum error error = detector_heard(fixture->detector, peer, &heartbeat, fixture->now_ms);

    ASSERT_VALUES(error == ERR_OK, error, heartbeat.sequence);
    detector_check(fixture->detector);
    (void)detector_next_deadline(fixture->detector);
}

void fixture_wait(struct detector_fixture *fixture, uint64_t ms)
{
    uint64_t end_ms = fixture->now_ms + ms;

    for (;;) {
        uint64_t due_ms = detector_next_deadline(fixture->detector);

        if (due_ms > end_ms) {
            break;
        }
        fixture->now_ms = due_ms > fixture->now_ms ? due_ms : fixture->now_ms + 1;
        detector_advance(fixture->detector, fixture->now_ms);
        detector_check(fixture->detector);
    }
    fixture->now_ms = end_ms;
}

void fixture_beat_on(struct detector_fixture *fixture, uint32_t peer, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        fixture_wait(fixture, FIXTURE_INTERVAL_MS);
        fixture_beat(fixture, peer);
    }
}

uint64_t fixture_wait_for_suspicion(struct detector_fixture *fixture, uint32_t peer)
{
    uint64_t start_ms = fixture->now_ms;

    while ((detector_suspected(fixture->detector) >> peer & 1) == 0) {
        fixture_wait(fixture, 1);
        ASSERT_VALUES(fixture->now_ms - start_ms < 600000, fixture->now_ms, start_ms);
    }
    return fixture->now_ms - start_ms;
}

uint32_t fixture_collect(struct detector_fixture *fixture)
{
    fixture->event_count = detector_collect(fixture->detector, fixture->events);
    return fixture->event_count;
}

struct detector_view fixture_view(const struct detector_fixture *fixture, uint32_t peer)
{
    return detector_view(fixture->detector, peer, fixture->now_ms);
}
