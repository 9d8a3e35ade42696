/* failure-detector/detector.h: heartbeats in, suspicion out.
 *
 * Watches other nodes and says which of them seem to have crashed. It is advice: a wrong suspicion
 * costs time, never safety; votes, commits and the ends of leases never ask it.
 *
 * Pure: no clock (time is in every call, monotonic milliseconds; one that runs back is taken to
 * stand still), no randomness, no allocation after opening, no I/O. The same calls give the same
 * answers on every machine.
 *
 * What is guaranteed:
 *   1. phi never falls while a peer is silent, and the peer is suspected from the very millisecond
 *      at which phi reaches the threshold: detector_next_deadline() names it beforehand.
 *   2. An event says what is new since the last detector_collect(): never the same twice.
 *   3. A crashed peer is suspected for good: no later than the timeout and two intervals behind its
 *      last message, and as much later as this node itself did not look (strong completeness).
 *   4. Every proven mistake that a timeout up to `floor_ms_max` would have avoided raises the
 *      peer's floor: where no silence is longer than that, mistakes become rare without end
 *      (eventual accuracy; Chandra and Toueg 1996, section 3). */
#ifndef FAILURE_DETECTOR_DETECTOR_H
#define FAILURE_DETECTOR_DETECTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/macros.h"

struct detector; /* Opaque; lives in the memory handed to detector_open(). */

enum { DETECTOR_PEER_COUNT_MAX = 64, DETECTOR_SELF = DETECTOR_PEER_COUNT_MAX };

enum detector_kind {
    DETECTOR_PHI,   /* Phi accrual (Hayashibara et al. 2004), adapts to each peer. */
    DETECTOR_FIXED, /* Suspects after `initial_ms` of silence, whatever was seen before. */
};

struct detector_options {
    enum detector_kind kind;
    uint32_t peer_count;  /* Peers are numbered 0 to peer_count - 1 by the caller. */
    uint32_t interval_ms; /* A live peer sends a message at least this often. */
    double threshold;    /* Suspect at this phi. 8: such a silence of a live peer is one in 10^8. */
    uint32_t initial_ms; /* Timeout of a peer of whom little is known; of all with FIXED. */
    uint32_t timeout_ms_min;   /* Whatever was measured, nobody is suspected earlier */
    uint32_t timeout_ms_max;   /* or later, but for proven mistakes; */
    uint32_t floor_ms_max;     /* these never ask for more than this; 0: they teach nothing. */
    uint32_t deviation_ms_min; /* Delays are taken to scatter by at least this. */
    uint32_t loss_ppm_min;     /* Heartbeats are taken to be lost at least this often; 0: where none
                                  was lost, none is expected to be, and phi is that of a normal
                                  distribution alone. */
    uint32_t pause_ms_min;     /* Being called later than promised by more is a pause of ours. */
    uint32_t gray_ms;          /* A peer whose disk or loop is this late is gray, */
    uint32_t gray_hold_ms;     /* until it was below half of that for so long. */
};

/* What suits heartbeats of `interval_ms`; the caller sets kind and threshold as it likes. */
struct detector_options detector_options_of(uint32_t peer_count, uint32_t interval_ms);

size_t detector_memory_size(const struct detector_options *options);

/* Nobody is watched yet. ERR_INVALID for options that contradict each other. */
MUST_USE enum error detector_open(struct detector **detector, struct arena *arena,
                                  const struct detector_options *options, uint64_t now_ms);

/* From now on the peer is expected to speak: suspected when it has not within `initial_ms`. What
 * was known about the number is forgotten. */
void detector_watch(struct detector *detector, uint32_t peer, uint64_t now_ms);

/* No more of it, and no event about it. */
void detector_forget(struct detector *detector, uint32_t peer);

/* What a message of a peer says. Only `incarnation` is always there. */
struct detector_heartbeat {
    uint64_t incarnation; /* Grows with each start of the peer; not 0. */
    uint64_t sequence;    /* 1, 2, ... counts its heartbeats to us; 0: another message. */
    uint64_t sent_ms;     /* By the peer's monotonic clock, whose origin does not matter. Used with
                             a sequence only. */
    uint32_t sync_ms;     /* Age of the disk write that it has under way, */
    uint32_t lag_ms;      /* and how late its loop runs, by its own word. */
};

/* An authenticated message has come. A peer that was suspected is trusted again; that was a proven
 * mistake if it is the same incarnation, and a crash if it is a newer one, of whom nothing is known
 * (Aguilera, Chen and Toueg 2000: a list of the trusted with their epochs). Refuses, and then
 * nothing has changed: ERR_NOT_FOUND when the peer is not watched, ERR_STALE for an older
 * incarnation, ERR_INVALID for incarnation 0. A heartbeat that is not newer than the last one is
 * no sign of life. */
MUST_USE enum error detector_heard(struct detector *detector, uint32_t peer,
                                   const struct detector_heartbeat *heartbeat, uint64_t now_ms);

/* Call this no later than detector_next_deadline() says, before what has arrived is told or after
 * it: being late is the pause of this node, which is nobody's silence (as max_local_pause in
 * Cassandra). */
void detector_advance(struct detector *detector, uint64_t now_ms);

/* When detector_advance() is due: the first moment at which a peer becomes suspected unless it
 * speaks, or an interval after the last call if that is earlier. Asked at the end of each turn: the
 * guard against our own pauses measures from what it promised last. */
uint64_t detector_next_deadline(struct detector *detector);

enum detector_event_kind {
    DETECTOR_TRUST,         /* Heard again, or for the first time, or no longer gray. */
    DETECTOR_SUSPECT,       /* Seems to have crashed, or cannot be reached. */
    DETECTOR_GRAY,          /* Speaks, but its disk or its loop hangs: let it lead nothing. */
    DETECTOR_SELF_DEGRADED, /* This node was paused: what it says about others is worth less. */
};

struct detector_event {
    enum detector_event_kind kind;
    uint32_t peer;        /* DETECTOR_SELF with DETECTOR_SELF_DEGRADED. */
    uint64_t incarnation; /* Of the peer; 0: it never spoke. */
    uint32_t silence_ms;  /* SUSPECT: how long it had been silent; SELF_DEGRADED: our pause. */
};

enum { DETECTOR_EVENT_COUNT_MAX = DETECTOR_PEER_COUNT_MAX + 1 };

/* What has changed since the last call, in order of peers; what came and went between the two
 * calls only counts in the quality. Returns how many. */
uint32_t detector_collect(struct detector *detector,
                          struct detector_event events[DETECTOR_EVENT_COUNT_MAX]);

/* Peers that are suspected now, as bits. */
uint64_t detector_suspected(const struct detector *detector);

enum detector_state {
    DETECTOR_UNWATCHED,
    DETECTOR_UNKNOWN, /* Watched, and has not spoken yet. */
    DETECTOR_TRUSTED,
    DETECTOR_GRAYED,
    DETECTOR_SUSPECTED,
};

const char *detector_state_name(enum detector_state state);

/* Measured for one incarnation after the other, since detector_watch(). The names are those of
 * Chen, Toueg and Aguilera 2002, section 2. */
struct detector_quality {
    uint64_t mistake_count;    /* Suspicions that the same incarnation proved wrong. */
    uint64_t mistake_ms_sum;   /* T_M, summed: from suspicion to trust. */
    uint64_t recurrence_count; /* T_MR, how often and summed: from one mistake to the next. */
    uint64_t recurrence_ms_sum;
    uint64_t detection_count;  /* Suspicions not proven wrong (yet). */
    uint64_t detection_ms_sum; /* T_D, from the last sign of life: the crash was later. */
    uint64_t detection_ms_max;
    uint64_t watched_ms;   /* Believed alive, mistakes included. */
    uint32_t accuracy_ppm; /* P_A: part of `watched_ms` in which that was said. */
};

struct detector_view {
    enum detector_state state;
    uint64_t incarnation;
    double phi;
    uint32_t timeout_ms;  /* Equivalent: the silence, beyond the usual delay, at which phi reaches
                             the threshold. */
    uint32_t floor_ms;    /* Of it, what proven mistakes ask for; 0: nothing. */
    uint64_t deadline_ms; /* Suspected at this moment unless it speaks. */
    uint64_t heartbeat_count; /* Of this incarnation, */
    uint64_t lost_count;      /* and the gaps in its sequence. */
    uint32_t delay_deviation_ms;
    struct detector_quality quality;
};

struct detector_view detector_view(const struct detector *detector, uint32_t peer, uint64_t now_ms);

/* True for a second after the last pause of this node. */
bool detector_is_degraded(const struct detector *detector, uint64_t now_ms);

/* Asserts every numbered invariant of docs/failure-detector.md. */
void detector_check(const struct detector *detector);

#endif
