/* tests/support/lease/schedule.h: random schedules of commands, on lease/ and the model at once.
 *
 * The same seed and profile give the same commands. Every command's answer and effects, and all
 * that can be read, are compared; a difference aborts with ASSERT(). */
#ifndef TESTS_SUPPORT_LEASE_SCHEDULE_H
#define TESTS_SUPPORT_LEASE_SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/prng.h"
#include "base/table.h"
#include "lease/lease.h"
#include "tests/support/lease/model.h"

/* What the schedule is like. */
struct schedule_profile {
    uint32_t session_count_max; /* At once; at most MODEL_SESSION_COUNT_MAX. */
    uint32_t name_count;        /* Locks that are asked for; at most MODEL_NAME_COUNT. */
    uint32_t renew_share;       /* Renewals, in hundredths of the commands. */
    uint32_t release_share;
    uint32_t end_share;
    uint32_t ttl_ms_max;
    uint32_t advance_ms_max; /* Between two commands, at most. */
    uint32_t open_share;     /* Sessions opened while there is room, in hundredths. */
    uint32_t leap_ms;        /* When there is no room, one command of sixty comes so much later. */
    uint32_t shared_share;   /* Requests for shared locks, in hundredths of those that may be, */
    uint32_t permit_share;   /* and of locks that count permits instead, in hundredths of all. */
    bool writer_first;       /* A free lock is asked for exclusively. */
    uint32_t delay_ms_max;   /* Of every second request. */
    uint32_t break_share;    /* Forced unlocks, in hundredths of the commands. */
};

/* A hold as the events tell it. */
struct schedule_hold {
    uint32_t name; /* Which of the model's. */
    lease_session_id session;
    lease_token token; /* 0: none. */
    bool is_lost;
};

enum { SCHEDULE_HOLD_COUNT_MAX = 4096 };

struct schedule {
    struct table *table; /* Borrowed. */
    struct schedule_profile profile;
    struct prng prng;
    struct model model;
    struct lease_effects effects;
    struct lease_effects effects_expected;
    struct lease_events events; /* Of the effects. */
    uint32_t events_seen;
    struct schedule_hold told[SCHEDULE_HOLD_COUNT_MAX]; /* What is held, by the events alone. */
    uint32_t told_count;
    uint64_t lost_count;  /* Holds that were lost or broken, */
    uint64_t kept_count;  /* and those of them that a lock delay kept. */
    uint32_t grants_seen; /* Grants of *effects whose tokens were compared with token_last. */
    uint64_t log_ms;
    lease_session_id session_last;
    lease_token token_last; /* Of the last grant seen; the next must be larger. */
    uint64_t granted_count; /* What happened, so that a test can ask whether enough did. */
    uint64_t ended_count;
    uint64_t shared_count;       /* Times that a lock was seen with several holds, */
    uint64_t permits_count;      /* and times that all permits of one were taken. */
    uint64_t expired_more_count; /* Calls of lease_advance() that left something over. */
};

/* `table` is empty. */
void schedule_init(struct schedule *schedule, struct table *table,
                   const struct schedule_profile *profile, uint64_t seed);

/* One entry: time moves or not, lease_advance(), one command, and the comparison. */
void schedule_step(struct schedule *schedule);

/* Lets time pass until every session is gone, comparing at each stamp. */
void schedule_drain(struct schedule *schedule);

#endif
