/* failure-detector/check.c: the invariants, numbered as in docs/failure-detector.md. */
#include "base/assert.h"
#include "failure-detector/internal.h"

static void check_peer(const struct detector *detector, const struct peer *peer)
{
    const struct detector_options *options = &detector->options;
    uint64_t deadline_ms = peer_deadline(detector, peer);

    /* 1. What was summed up is what the samples say. */
    delays_check(&peer->delays);
    /* 2. Losses are among what was expected, and runs among losses. */
    loss_check(&peer->loss);
    /* 3. phi reaches the threshold at the deadline, and not a millisecond before. */
    ASSERT_VALUES(peer_phi(detector, peer, deadline_ms) >= options->threshold, deadline_ms,
                  peer->verdict.base_ms);
    ASSERT_VALUES(peer_phi(detector, peer, deadline_ms - 1) < options->threshold, deadline_ms,
                  peer->verdict.base_ms);
    /* 4. Who is trusted or gray has spoken. */
    if (peer->state == DETECTOR_TRUSTED || peer->state == DETECTOR_GRAYED) {
        ASSERT(peer->incarnation != 0);
    }
    /* 5. The timeout is not below the floor, and within the bounds. */
    ASSERT_VALUES(peer->floor_ms <= options->floor_ms_max, peer->floor_ms, options->floor_ms_max);
    if (options->kind == DETECTOR_PHI) {
        ASSERT_VALUES(peer->verdict.timeout_ms >= options->timeout_ms_min, peer->verdict.timeout_ms,
                      options->timeout_ms_min);
        ASSERT_VALUES(peer->verdict.timeout_ms <= options->timeout_ms_max ||
                          peer->verdict.timeout_ms <= options->floor_ms_max,
                      peer->verdict.timeout_ms, options->timeout_ms_max);
    }
    /* 6. Nothing has happened after now. */
    ASSERT_VALUES(peer->heard_ms <= detector->now_ms, peer->heard_ms, detector->now_ms);
    /* 7. Mistakes are part of the time in which the peer lived. */
    ASSERT_VALUES(peer->quality.mistake_ms_sum <= peer->quality.watched_ms,
                  peer->quality.mistake_ms_sum, peer->quality.watched_ms);
}

void detector_check(const struct detector *detector)
{
    ASSERT_VALUES(detector->resumed_ms <= detector->now_ms, detector->resumed_ms, detector->now_ms);
    for (uint32_t i = 0; i < detector->options.peer_count; i++) {
        const struct peer *peer = &detector->peers[i];

        if (state_is_watched(peer->state)) {
            check_peer(detector, peer);
        }
    }
}
