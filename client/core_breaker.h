/* client/core_breaker.h: whether a node is asked at all. One for each endpoint, never one for the
 * cluster: that would make an outage of each change of leader.
 *
 *   CLOSED --- failures in a row, or half of the last attempts failed ---> OPEN
 *   OPEN ------ a random part of a time that doubles each time is over --> HALF_OPEN
 *   HALF_OPEN - all its permits were used and succeeded -----------------> CLOSED
 *   HALF_OPEN - one failed, or was not heard of by its deadline ---------> OPEN
 *
 * A permit says which state it was granted in. What comes of it counts in that state only: a late
 * answer moves nothing. A permit of HALF_OPEN has a deadline, so that one that is never reported
 * cannot keep others from being granted. Success is that the node answers, whatever it says: one
 * that refuses is alive, and says when to come back. */
#ifndef CLIENT_CORE_BREAKER_H
#define CLIENT_CORE_BREAKER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/macros.h"
#include "base/prng.h"

enum {
    BREAKER_PERMIT_COUNT = 3,      /* Of HALF_OPEN. */
    BREAKER_PERMIT_MS = 4000,      /* Until it counts as failed. */
    BREAKER_FAILURE_COUNT = 5,     /* In a row. */
    BREAKER_SAMPLE_COUNT_MIN = 20, /* From so many attempts on their part counts, too. */
    BREAKER_PERIOD_MS = 5000,      /* Attempts of this period and the one before are looked at. */
    BREAKER_WAIT_MS_MIN = 100,     /* Of the first opening; doubled with each in a row, */
    BREAKER_WAIT_MS_MAX = 1000,    /* up to here; at least half of it is waited. */
};

enum breaker_state { BREAKER_CLOSED, BREAKER_OPEN, BREAKER_HALF_OPEN };

enum breaker_result {
    BREAKER_SUCCESS,
    BREAKER_FAILURE,
    BREAKER_UNKNOWN, /* Nothing came of it: the permit goes back. */
};

struct breaker_permit {
    uint32_t generation;
    uint32_t number; /* In HALF_OPEN: which one; 0 in CLOSED. */
};

struct breaker_probe {
    uint32_t number; /* 0: free. */
    uint64_t deadline_ms;
};

/* All zero is a closed one. */
struct core_breaker {
    enum breaker_state state;
    uint32_t generation; /* Raised by each move. */
    uint32_t failures_in_row;
    uint32_t opened_in_row;
    uint64_t until_ms;    /* OPEN. */
    uint64_t period_ms;   /* CLOSED: when this period began. */
    uint32_t attempts[2]; /* Of this period, and of the one before. */
    uint32_t failures[2];
    uint32_t success_count; /* HALF_OPEN. */
    uint32_t number;        /* The last given to a permit. */
    struct breaker_probe probes[BREAKER_PERMIT_COUNT];
};

/* Lets time pass: permits expire, an open one half-opens. */
void breaker_advance(struct core_breaker *breaker, struct prng *prng, uint64_t now_ms);

/* When breaker_take() may be granted next, unless something is reported before; 0: now. */
uint64_t breaker_ready_ms(const struct core_breaker *breaker);

/* False when the node is not to be asked now. To be called after breaker_advance(). */
MUST_USE bool breaker_take(struct core_breaker *breaker, uint64_t now_ms,
                           struct breaker_permit *permit);

/* What came of a permit. One that was reported or has expired, or is of an earlier state, counts
 * for nothing. */
void breaker_done(struct core_breaker *breaker, struct prng *prng, uint64_t now_ms,
                  struct breaker_permit permit, enum breaker_result result);

/* A failure without a permit: a connection that was in use broke. */
void breaker_fail(struct core_breaker *breaker, struct prng *prng, uint64_t now_ms);

/* Asserts what holds in each state. */
void breaker_check(const struct core_breaker *breaker);

#endif
