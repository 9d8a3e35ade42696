/* failure-detector/internal.h: what is kept about a peer; private to failure-detector/. */
#ifndef FAILURE_DETECTOR_INTERNAL_H
#define FAILURE_DETECTOR_INTERNAL_H

#include "failure-detector/curve.h"
#include "failure-detector/delays.h"
#include "failure-detector/detector.h"
#include "failure-detector/loss.h"

enum {
    DETECTOR_SAMPLE_COUNT_MIN = 8, /* Fewer delays tell nothing: the timeout is `initial_ms`. */
    DETECTOR_OUTLIER_INTERVALS = 4,
};

/* When suspicion falls due. The peer's last message would have come at `base_ms` with the usual
 * delay; the peer is suspected `timeout_ms` after that. phi of the curve takes `need_ms` to reach
 * the threshold: where the timeout is another (floor, cap, little known), the time of the curve is
 * stretched so that phi reaches it at that very moment. */
struct verdict {
    uint64_t base_ms;
    uint32_t need_ms;
    uint32_t timeout_ms;
    struct curve curve;
};

struct peer {
    enum detector_state state;
    enum detector_state told_state; /* What the last detector_collect() left the caller with. */
    uint64_t told_incarnation;

    uint64_t incarnation; /* 0: never heard. */
    uint64_t sequence;    /* Of its newest heartbeat; 0: none yet. */
    uint64_t heard_ms;    /* Last sign of life; before that, the beginning of the watch. */
    uint64_t heartbeat_count;
    uint64_t lost_count;
    struct delays delays;
    struct loss loss;
    uint32_t hints_ms[DELAYS_COUNT]; /* need_ms of the last verdict, for each window. */
    struct verdict verdict;
    uint64_t blind_ms; /* Our pauses since its last sign of life. */

    uint32_t floor_ms; /* 0: none. */
    uint32_t patience; /* The floor falls after so many messages, */
    uint32_t calm;     /* of which so many have come. */

    uint64_t suspected_ms; /* When SUSPECTED. */
    uint64_t mistaken_ms;  /* The last mistake's suspicion; 0: none of this incarnation. */
    uint32_t unwell_count; /* Heartbeats in a row that told of trouble. */
    uint64_t unwell_ms;    /* The last of them. */
    uint64_t pending_ms;   /* T_D of the present suspicion. */
    struct detector_quality quality;
};

struct detector {
    struct detector_options options;
    uint64_t now_ms;
    uint64_t promised_ms; /* The next call was to come by then. */
    uint64_t resumed_ms;  /* End of our last pause; 0: there was none. */
    uint64_t pause_ms;    /* Its length. */
    bool is_degraded;
    bool told_degraded;
    struct peer *peers;
};

/* peer.c */
void peer_init(struct detector *detector, struct peer *peer);
void peer_begin(struct detector *detector, struct peer *peer, uint64_t incarnation);
void peer_learn(struct detector *detector, struct peer *peer,
                const struct detector_heartbeat *heartbeat);
void peer_grow_floor(struct detector *detector, struct peer *peer);
uint64_t peer_deadline(const struct detector *detector, const struct peer *peer);
double peer_phi(const struct detector *detector, const struct peer *peer, uint64_t now_ms);

/* state.c */
void state_move(struct detector *detector, struct peer *peer, enum detector_state state);
bool state_is_watched(enum detector_state state);

#endif
