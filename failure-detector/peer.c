/* failure-detector/peer.c: what a peer's messages teach, and when its silence is too long. */
#include <string.h>

#include "base/assert.h"
#include "failure-detector/internal.h"
#include "failure-detector/tail.h"

enum {
    AHEAD_INTERVALS = 2,
    PATIENCE_MIN = 1000, /* Messages until the floor falls by a tenth, doubled by each mistake: */
    PATIENCE_MAX = 1 << 20, /* so the mistakes of a steady network grow with its logarithm. */
};

/* Silence beyond this is not told apart where the curve is stretched; its product with any need_ms
 * fits 64 bits. */
static const uint64_t silence_ms_max = (uint64_t)1 << 32;

static uint64_t max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static uint32_t clamp_u32(uint32_t value, uint32_t low, uint32_t high)
{
    uint32_t raised = value > low ? value : low;

    return raised < high ? raised : high;
}

static double clamp(double value, double low, double high)
{
    double raised = value > low ? value : low;

    return raised < high ? raised : high;
}

/* The curve as one of the two windows sees it. Of an unknown peer delays are taken to scatter by a
 * quarter of the interval. */
static struct curve curve_of(const struct detector *detector, const struct peer *peer,
                             uint32_t which)
{
    const struct detector_options *options = &detector->options;
    double interval = options->interval_ms;
    double variance = delays_variance(&peer->delays, which, interval * interval / 16);

    return (struct curve){
        .interval_ms = options->interval_ms,
        .deviation_ms =
            clamp(tail_root(variance), options->deviation_ms_min, interval * CURVE_DEVIATION_MAX),
        .loss = loss_rates(&peer->loss, options->loss_ppm_min),
    };
}

static uint32_t timeout_of(const struct detector *detector, const struct peer *peer,
                           uint32_t need_ms)
{
    const struct detector_options *options = &detector->options;
    bool is_known = peer->delays.sums[DELAYS_SHORT].count >= DETECTOR_SAMPLE_COUNT_MIN;
    uint32_t timeout_ms = is_known ? need_ms : options->initial_ms;

    timeout_ms = clamp_u32(timeout_ms, options->timeout_ms_min, options->timeout_ms_max);
    return timeout_ms > peer->floor_ms ? timeout_ms : peer->floor_ms;
}

static void judge_fixed(const struct detector *detector, struct peer *peer)
{
    peer->verdict = (struct verdict){
        .base_ms = peer->heard_ms,
        .need_ms = detector->options.initial_ms,
        .timeout_ms = detector->options.initial_ms,
    };
}

/* The verdict of the more patient window. `bases_ms`: when the last message would have come with
 * the usual delay of each. */
static void judge(const struct detector *detector, struct peer *peer,
                  const uint64_t bases_ms[DELAYS_COUNT])
{
    uint64_t latest_ms = 0;

    for (uint32_t i = 0; i < DELAYS_COUNT; i++) {
        struct verdict verdict = {.base_ms = bases_ms[i], .curve = curve_of(detector, peer, i)};

        verdict.need_ms =
            curve_timeout(&verdict.curve, detector->options.threshold, peer->hints_ms[i]);
        verdict.timeout_ms = timeout_of(detector, peer, verdict.need_ms);
        peer->hints_ms[i] = verdict.need_ms;
        if (verdict.base_ms + verdict.timeout_ms > latest_ms) {
            latest_ms = verdict.base_ms + verdict.timeout_ms;
            peer->verdict = verdict;
        }
    }
    ASSERT(latest_ms > 0);
}

static void judge_from(const struct detector *detector, struct peer *peer, uint64_t base_ms)
{
    const uint64_t bases_ms[DELAYS_COUNT] = {base_ms, base_ms};

    if (detector->options.kind == DETECTOR_FIXED) {
        judge_fixed(detector, peer);
    } else {
        judge(detector, peer, bases_ms);
    }
}

/* While we were paused nobody could be heard: that much of the silence does not count, but for what
 * lies before the last message. */
static uint64_t shift_of(const struct detector *detector, const struct peer *peer)
{
    if (detector->options.kind == DETECTOR_FIXED || detector->resumed_ms <= peer->verdict.base_ms) {
        return 0;
    }
    uint64_t since_ms = detector->resumed_ms - peer->verdict.base_ms;

    return peer->blind_ms < since_ms ? peer->blind_ms : since_ms;
}

void peer_init(struct detector *detector, struct peer *peer)
{
    memset(peer, 0, sizeof(*peer));
    peer_begin(detector, peer, 0);
}

void peer_begin(struct detector *detector, struct peer *peer, uint64_t incarnation)
{
    ASSERT_VALUES(incarnation >= peer->incarnation, incarnation, peer->incarnation);
    peer->incarnation = incarnation;
    peer->sequence = 0;
    peer->heard_ms = detector->now_ms;
    peer->heartbeat_count = 0;
    peer->lost_count = 0;
    delays_init(&peer->delays);
    loss_init(&peer->loss);
    peer->blind_ms = 0;
    peer->floor_ms = 0;
    peer->patience = PATIENCE_MIN;
    peer->calm = 0;
    peer->mistaken_ms = 0;
    peer->unwell_count = 0;
    judge_from(detector, peer, detector->now_ms);
}

/* A mistake raises the floor by half, and by no more than would have sufficed with an interval to
 * spare (Chandra and Toueg 1996, section 6.1: a larger timeout after each mistake). A silence that
 * no permitted timeout covers teaches nothing: a higher floor would only delay the next detection.
 */
void peer_grow_floor(struct detector *detector, struct peer *peer)
{
    const struct detector_options *options = &detector->options;
    uint64_t timeout_ms = peer->verdict.timeout_ms;
    uint64_t silence_ms = detector->now_ms - peer->verdict.base_ms - shift_of(detector, peer);
    uint64_t grown_ms = timeout_ms + timeout_ms / 2;

    ASSERT(peer->state == DETECTOR_SUSPECTED);
    ASSERT_VALUES(silence_ms >= timeout_ms, silence_ms, timeout_ms);
    if (options->kind == DETECTOR_FIXED || silence_ms >= options->floor_ms_max) {
        return;
    }
    if (grown_ms > silence_ms + options->interval_ms) {
        grown_ms = silence_ms + options->interval_ms;
    }
    if (grown_ms > options->floor_ms_max) {
        grown_ms = options->floor_ms_max;
    }
    peer->floor_ms = (uint32_t)max_u64(grown_ms, peer->floor_ms);
    peer->patience = peer->patience < PATIENCE_MAX ? peer->patience * 2 : PATIENCE_MAX;
    peer->calm = 0;
}

static void decay_floor(const struct detector *detector, struct peer *peer)
{
    if (peer->floor_ms == 0) {
        return;
    }
    peer->calm++;
    if (peer->calm < peer->patience) {
        return;
    }
    peer->calm = 0;
    peer->floor_ms -= peer->floor_ms / 10;
    if (peer->floor_ms <= detector->options.interval_ms) {
        peer->floor_ms = 0;
    }
}

/* When its last message would have come, had it taken the usual time. One that came later than that
 * by more than an interval still proves life up to an interval ago. One that came earlier is
 * believed to be early up to AHEAD_INTERVALS: clocks that drift apart must not delay suspicion. */
static uint64_t base_of(const struct detector *detector, const struct peer *peer, uint64_t sent_ms,
                        uint32_t which)
{
    uint64_t interval_ms = detector->options.interval_ms;
    uint64_t usual = peer->delays.anchor + (uint64_t)delays_mean(&peer->delays, which);
    uint64_t proven_ms = max_u64(detector->now_ms, interval_ms) - interval_ms;

    /* Distances are small, whatever the two clocks show. */
    int64_t ahead = (int64_t)(sent_ms + usual - proven_ms);
    int64_t ahead_max = (int64_t)interval_ms * (1 + AHEAD_INTERVALS);

    ahead = ahead > 0 ? ahead : 0;
    ahead = ahead < ahead_max ? ahead : ahead_max;
    return max_u64(proven_ms + (uint64_t)ahead, peer->verdict.base_ms);
}

static void count_heartbeat(struct peer *peer, uint64_t sequence)
{
    uint64_t gap = peer->sequence == 0 ? 0 : sequence - peer->sequence - 1;

    loss_add(&peer->loss, gap);
    peer->sequence = sequence;
    peer->lost_count += gap;
    peer->heartbeat_count++;
}

static void judge_delay(struct detector *detector, struct peer *peer, uint64_t sent_ms)
{
    uint32_t distance_max = detector->options.interval_ms * DETECTOR_OUTLIER_INTERVALS;
    uint64_t bases_ms[DELAYS_COUNT];

    delays_add(&peer->delays, detector->now_ms - sent_ms, distance_max);
    for (uint32_t i = 0; i < DELAYS_COUNT; i++) {
        bases_ms[i] = base_of(detector, peer, sent_ms, i);
    }
    judge(detector, peer, bases_ms);
}

void peer_learn(struct detector *detector, struct peer *peer,
                const struct detector_heartbeat *heartbeat)
{
    bool is_heartbeat = heartbeat->sequence != 0;

    ASSERT(heartbeat->incarnation == peer->incarnation);
    ASSERT(!is_heartbeat || heartbeat->sequence > peer->sequence);
    peer->heard_ms = detector->now_ms;
    decay_floor(detector, peer);
    if (is_heartbeat) {
        count_heartbeat(peer, heartbeat->sequence);
    }
    if (is_heartbeat && detector->options.kind == DETECTOR_PHI) {
        judge_delay(detector, peer, heartbeat->sent_ms);
    } else {
        judge_from(detector, peer, max_u64(detector->now_ms, peer->verdict.base_ms));
    }
    if (peer->verdict.base_ms >= detector->resumed_ms) {
        peer->blind_ms = 0;
    }
}

uint64_t peer_deadline(const struct detector *detector, const struct peer *peer)
{
    return peer->verdict.base_ms + shift_of(detector, peer) + peer->verdict.timeout_ms;
}

double peer_phi(const struct detector *detector, const struct peer *peer, uint64_t now_ms)
{
    const struct verdict *verdict = &peer->verdict;
    uint64_t from_ms = verdict->base_ms + shift_of(detector, peer);
    uint64_t silence_ms = now_ms > from_ms ? now_ms - from_ms : 0;

    if (detector->options.kind == DETECTOR_FIXED) {
        return detector->options.threshold * ((double)silence_ms / verdict->timeout_ms);
    }
    if (verdict->need_ms != verdict->timeout_ms) {
        silence_ms = silence_ms < silence_ms_max ? silence_ms : silence_ms_max;
        silence_ms = silence_ms * verdict->need_ms / verdict->timeout_ms;
    }
    return curve_phi(&verdict->curve, silence_ms);
}
