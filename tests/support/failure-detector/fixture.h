/* tests/support/failure-detector/fixture.h: a detector, its time, and peers that beat. */
#ifndef TESTS_SUPPORT_FAILURE_DETECTOR_FIXTURE_H
#define TESTS_SUPPORT_FAILURE_DETECTOR_FIXTURE_H

#include <stddef.h>
#include <stdint.h>

#include "failure-detector/detector.h"

enum { FIXTURE_INTERVAL_MS = 50, FIXTURE_START_MS = 1000000, FIXTURE_DELAY_MS = 1 };

struct detector_fixture {
    struct detector *detector;
    struct detector_options options;
    void *memory;
    size_t memory_size;
    uint64_t now_ms;
    uint64_t incarnation;
    uint64_t sequences[DETECTOR_PEER_COUNT_MAX]; /* Last that each has sent. */
    uint32_t event_count;                        /* Of the last fixture_collect(). */
    struct detector_event events[DETECTOR_EVENT_COUNT_MAX];
};

/* detector_options_of(2 peers, 50 ms), peer 0 watched. */
void fixture_open(struct detector_fixture *fixture);
void fixture_open_with(struct detector_fixture *fixture, const struct detector_options *options);
void fixture_close(struct detector_fixture *fixture);

/* A heartbeat of the peer, sent FIXTURE_DELAY_MS before now, then the end of a turn. */
void fixture_beat(struct detector_fixture *fixture, uint32_t peer);

/* `count` heartbeats, each an interval after the one before; detector_advance() whenever due. */
void fixture_beat_on(struct detector_fixture *fixture, uint32_t peer, uint32_t count);

/* Time passes, and detector_advance() is called whenever it is due. */
void fixture_wait(struct detector_fixture *fixture, uint64_t ms);

/* Waits until the peer is suspected; returns how long that took. */
uint64_t fixture_wait_for_suspicion(struct detector_fixture *fixture, uint32_t peer);

uint32_t fixture_collect(struct detector_fixture *fixture);

struct detector_view fixture_view(const struct detector_fixture *fixture, uint32_t peer);

#endif
