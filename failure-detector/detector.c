/* failure-detector/detector.c: what the caller tells, and what it is told. */
#include "failure-detector/detector.h"

#include <string.h>

#include "base/assert.h"
#include "failure-detector/internal.h"

enum {
    LOSS_PPM_MAX = 500000,
    DEGRADED_MS = 1000,  /* A pause is held against us for so long. */
    UNWELL_COUNT = 3,    /* Heartbeats in a row that make a peer gray. */
    MS_MAX = 10 * 60000, /* Of any timeout. */
};

struct detector_options detector_options_of(uint32_t peer_count, uint32_t interval_ms)
{
    return (struct detector_options){
        .kind = DETECTOR_PHI,
        .peer_count = peer_count,
        .interval_ms = interval_ms,
        .threshold = 8,
        .initial_ms = interval_ms * 8,
        .timeout_ms_min = interval_ms * 2,
        .timeout_ms_max = interval_ms * 8,
        .floor_ms_max = interval_ms * 9,
        .deviation_ms_min = (interval_ms + 9) / 10,
        .loss_ppm_min = 1000,
        .pause_ms_min = (interval_ms + 4) / 5,
        .gray_ms = 500,
        .gray_hold_ms = 5000,
    };
}

static bool options_are_valid(const struct detector_options *options)
{
    return options->peer_count > 0 && options->peer_count <= DETECTOR_PEER_COUNT_MAX &&
           options->interval_ms > 0 && options->interval_ms <= CURVE_INTERVAL_MS_MAX &&
           options->threshold > 0 && options->threshold <= CURVE_THRESHOLD_MAX &&
           options->initial_ms > 0 && options->initial_ms <= MS_MAX &&
           options->timeout_ms_min > 0 && options->timeout_ms_min <= options->timeout_ms_max &&
           options->timeout_ms_max <= MS_MAX && options->floor_ms_max <= MS_MAX &&
           options->deviation_ms_min > 0 &&
           options->deviation_ms_min <= options->interval_ms * CURVE_DEVIATION_MAX &&
           options->loss_ppm_min <= LOSS_PPM_MAX && options->gray_ms > 0;
}

size_t detector_memory_size(const struct detector_options *options)
{
    return arena_cost(1, sizeof(struct detector)) +
           arena_cost(options->peer_count, sizeof(struct peer));
}

enum error detector_open(struct detector **detector, struct arena *arena,
                         const struct detector_options *options, uint64_t now_ms)
{
    if (!options_are_valid(options)) {
        return ERR_INVALID;
    }
    struct detector *opened = arena_take(arena, 1, sizeof(struct detector));

    memset(opened, 0, sizeof(*opened));
    opened->options = *options;
    opened->now_ms = now_ms;
    opened->promised_ms = now_ms + options->interval_ms;
    opened->peers = arena_take(arena, options->peer_count, sizeof(struct peer));
    memset(opened->peers, 0, options->peer_count * sizeof(struct peer));
    *detector = opened;
    return ERR_OK;
}

static struct peer *peer_at(const struct detector *detector, uint32_t peer)
{
    ASSERT_VALUES(peer < detector->options.peer_count, peer, detector->options.peer_count);
    return &detector->peers[peer];
}

/* --- Time, and our own pauses ----------------------------------------------------------------- */

/* We were to look by `promised_ms`, and did not: nothing is known since the last look. */
static void note_pause(struct detector *detector, uint64_t now_ms)
{
    uint64_t pause_ms = now_ms - detector->now_ms;

    for (uint32_t i = 0; i < detector->options.peer_count; i++) {
        detector->peers[i].blind_ms += pause_ms;
    }
    detector->resumed_ms = now_ms;
    detector->pause_ms = pause_ms;
    detector->promised_ms = now_ms + detector->options.interval_ms;
}

static void set_time(struct detector *detector, uint64_t now_ms)
{
    if (now_ms <= detector->now_ms) {
        return;
    }
    if (now_ms > detector->promised_ms + detector->options.pause_ms_min) {
        note_pause(detector, now_ms);
    }
    detector->now_ms = now_ms;
    detector->is_degraded = detector_is_degraded(detector, now_ms);
    detector->told_degraded = detector->told_degraded && detector->is_degraded;
}

bool detector_is_degraded(const struct detector *detector, uint64_t now_ms)
{
    return detector->pause_ms >= detector->options.interval_ms &&
           now_ms < detector->resumed_ms + DEGRADED_MS;
}

/* --- Peers ------------------------------------------------------------------------------------ */

void detector_watch(struct detector *detector, uint32_t peer, uint64_t now_ms)
{
    struct peer *watched = peer_at(detector, peer);

    set_time(detector, now_ms);
    peer_init(detector, watched);
    state_move(detector, watched, DETECTOR_UNKNOWN);
    watched->told_state = DETECTOR_UNKNOWN;
}

void detector_forget(struct detector *detector, uint32_t peer)
{
    memset(peer_at(detector, peer), 0, sizeof(struct peer));
}

/* A suspicion has ended: wrongly raised, when it is still the same incarnation. */
static void settle_suspicion(struct detector *detector, struct peer *peer, bool is_mistake)
{
    struct detector_quality *quality = &peer->quality;

    if (is_mistake) {
        quality->mistake_count++;
        quality->mistake_ms_sum += detector->now_ms - peer->suspected_ms;
        if (peer->mistaken_ms != 0) {
            quality->recurrence_count++;
            quality->recurrence_ms_sum += peer->suspected_ms - peer->mistaken_ms;
        }
        peer->mistaken_ms = peer->suspected_ms;
        peer_grow_floor(detector, peer);
    } else {
        quality->detection_count++;
        quality->detection_ms_sum += peer->pending_ms;
        if (peer->pending_ms > quality->detection_ms_max) {
            quality->detection_ms_max = peer->pending_ms;
        }
    }
}

static void welcome(struct detector *detector, struct peer *peer, uint64_t incarnation)
{
    bool was_heard = peer->incarnation != 0;
    bool is_same = peer->incarnation == incarnation;

    if (was_heard && is_same) {
        peer->quality.watched_ms += detector->now_ms - peer->heard_ms;
    }
    if (was_heard && peer->state == DETECTOR_SUSPECTED) {
        settle_suspicion(detector, peer, is_same);
    }
    if (!is_same) {
        peer_begin(detector, peer, incarnation);
    }
    if (peer->state == DETECTOR_UNKNOWN || peer->state == DETECTOR_SUSPECTED ||
        (peer->state == DETECTOR_GRAYED && !is_same)) {
        peer->unwell_count = 0;
        state_move(detector, peer, DETECTOR_TRUSTED);
    }
}

/* High bar to become gray, low bar and a while to become well again: who hands leadership over for
 * it is not to do so back and forth. */
static void look_at_health(struct detector *detector, struct peer *peer,
                           const struct detector_heartbeat *heartbeat)
{
    const struct detector_options *options = &detector->options;
    uint32_t worst_ms =
        heartbeat->sync_ms > heartbeat->lag_ms ? heartbeat->sync_ms : heartbeat->lag_ms;

    if (worst_ms >= options->gray_ms / 2) {
        peer->unwell_ms = detector->now_ms;
    }
    if (worst_ms < options->gray_ms) {
        peer->unwell_count = 0;
    } else if (peer->unwell_count < UNWELL_COUNT) {
        peer->unwell_count++;
    }
    if (peer->state == DETECTOR_TRUSTED && peer->unwell_count == UNWELL_COUNT) {
        state_move(detector, peer, DETECTOR_GRAYED);
    } else if (peer->state == DETECTOR_GRAYED &&
               detector->now_ms - peer->unwell_ms >= options->gray_hold_ms) {
        state_move(detector, peer, DETECTOR_TRUSTED);
    }
}

enum error detector_heard(struct detector *detector, uint32_t peer,
                          const struct detector_heartbeat *heartbeat, uint64_t now_ms)
{
    struct peer *heard = peer_at(detector, peer);

    if (!state_is_watched(heard->state)) {
        return ERR_NOT_FOUND;
    }
    if (heartbeat->incarnation == 0) {
        return ERR_INVALID;
    }
    if (heartbeat->incarnation < heard->incarnation ||
        (heartbeat->incarnation == heard->incarnation && heartbeat->sequence != 0 &&
         heartbeat->sequence <= heard->sequence)) {
        return ERR_STALE;
    }
    set_time(detector, now_ms);
    welcome(detector, heard, heartbeat->incarnation);
    peer_learn(detector, heard, heartbeat);
    if (heartbeat->sequence != 0) {
        look_at_health(detector, heard, heartbeat);
    }
    return ERR_OK;
}

/* --- Suspicion -------------------------------------------------------------------------------- */

static bool can_be_suspected(const struct peer *peer)
{
    return state_is_watched(peer->state) && peer->state != DETECTOR_SUSPECTED;
}

void detector_advance(struct detector *detector, uint64_t now_ms)
{
    set_time(detector, now_ms);
    for (uint32_t i = 0; i < detector->options.peer_count; i++) {
        struct peer *peer = &detector->peers[i];

        if (can_be_suspected(peer) && detector->now_ms >= peer_deadline(detector, peer)) {
            state_move(detector, peer, DETECTOR_SUSPECTED);
        }
    }
}

uint64_t detector_next_deadline(struct detector *detector)
{
    uint64_t next_ms = detector->now_ms + detector->options.interval_ms;

    for (uint32_t i = 0; i < detector->options.peer_count; i++) {
        const struct peer *peer = &detector->peers[i];

        if (can_be_suspected(peer) && peer_deadline(detector, peer) < next_ms) {
            next_ms = peer_deadline(detector, peer);
        }
    }
    detector->promised_ms = next_ms > detector->now_ms ? next_ms : detector->now_ms;
    return next_ms;
}

/* --- Telling ---------------------------------------------------------------------------------- */

static bool is_news(const struct peer *peer)
{
    return peer->state != peer->told_state || peer->incarnation != peer->told_incarnation;
}

/* False for states that have no event: there is nothing to tell of a peer that was not heard. */
static bool event_of(enum detector_state state, enum detector_event_kind *kind)
{
    switch (state) {
    case DETECTOR_UNWATCHED:
    case DETECTOR_UNKNOWN:
        return false;
    case DETECTOR_TRUSTED:
        *kind = DETECTOR_TRUST;
        return true;
    case DETECTOR_GRAYED:
        *kind = DETECTOR_GRAY;
        return true;
    case DETECTOR_SUSPECTED:
        *kind = DETECTOR_SUSPECT;
        return true;
    }
    UNREACHABLE();
}

static bool collect_peer(struct peer *peer, struct detector_event *event)
{
    bool is_told = is_news(peer) && event_of(peer->state, &event->kind);

    peer->told_state = peer->state;
    peer->told_incarnation = peer->incarnation;
    if (is_told) {
        event->incarnation = peer->incarnation;
        event->silence_ms = peer->state != DETECTOR_SUSPECTED ? 0
                            : peer->pending_ms < UINT32_MAX   ? (uint32_t)peer->pending_ms
                                                              : UINT32_MAX;
    }
    return is_told;
}

uint32_t detector_collect(struct detector *detector,
                          struct detector_event events[DETECTOR_EVENT_COUNT_MAX])
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < detector->options.peer_count; i++) {
        if (collect_peer(&detector->peers[i], &events[count])) {
            events[count].peer = i;
            count++;
        }
    }
    if (detector->is_degraded && !detector->told_degraded) {
        detector->told_degraded = true;
        events[count] = (struct detector_event){
            .kind = DETECTOR_SELF_DEGRADED,
            .peer = DETECTOR_SELF,
            .silence_ms =
                detector->pause_ms < UINT32_MAX ? (uint32_t)detector->pause_ms : UINT32_MAX,
        };
        count++;
    }
    return count;
}

uint64_t detector_suspected(const struct detector *detector)
{
    uint64_t peers = 0;

    for (uint32_t i = 0; i < detector->options.peer_count; i++) {
        if (detector->peers[i].state == DETECTOR_SUSPECTED) {
            peers |= (uint64_t)1 << i;
        }
    }
    return peers;
}

/* The suspicion that stands counts as a detection until it is proven wrong. */
static struct detector_quality quality_of(const struct peer *peer)
{
    struct detector_quality quality = peer->quality;

    if (peer->state == DETECTOR_SUSPECTED && peer->incarnation != 0) {
        quality.detection_count++;
        quality.detection_ms_sum += peer->pending_ms;
        if (peer->pending_ms > quality.detection_ms_max) {
            quality.detection_ms_max = peer->pending_ms;
        }
    }
    ASSERT_VALUES(quality.mistake_ms_sum <= quality.watched_ms, quality.mistake_ms_sum,
                  quality.watched_ms);
    quality.accuracy_ppm = 1000000;
    if (quality.watched_ms > 0) {
        double wrong = (double)quality.mistake_ms_sum / (double)quality.watched_ms;

        quality.accuracy_ppm = (uint32_t)((1 - wrong) * 1e6);
    }
    return quality;
}

struct detector_view detector_view(const struct detector *detector, uint32_t peer, uint64_t now_ms)
{
    const struct peer *viewed = peer_at(detector, peer);
    struct detector_view view = {.state = viewed->state};

    if (!state_is_watched(viewed->state)) {
        return view;
    }
    view.incarnation = viewed->incarnation;
    view.phi = peer_phi(detector, viewed, now_ms);
    view.timeout_ms = viewed->verdict.timeout_ms;
    view.floor_ms = viewed->floor_ms;
    view.deadline_ms = peer_deadline(detector, viewed);
    view.heartbeat_count = viewed->heartbeat_count;
    view.lost_count = viewed->lost_count;
    view.delay_deviation_ms = (uint32_t)viewed->verdict.curve.deviation_ms;
    view.quality = quality_of(viewed);
    return view;
}
