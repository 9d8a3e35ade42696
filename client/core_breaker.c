/* client/core_breaker.c: see core_breaker.h. */
#include "client/core_breaker.h"

#include <string.h>

#include "base/assert.h"

static void move(struct core_breaker *breaker, enum breaker_state state)
{
    breaker->state = state;
    breaker->generation++;
    breaker->failures_in_row = 0;
    breaker->success_count = 0;
    memset(breaker->attempts, 0, sizeof(breaker->attempts));
    memset(breaker->failures, 0, sizeof(breaker->failures));
    memset(breaker->probes, 0, sizeof(breaker->probes));
}

static void open(struct core_breaker *breaker, struct prng *prng, uint64_t now_ms)
{
    uint32_t doublings = breaker->opened_in_row < 4 ? breaker->opened_in_row : 4;
    uint64_t wait_ms = (uint64_t)BREAKER_WAIT_MS_MIN << doublings;

    wait_ms = wait_ms < BREAKER_WAIT_MS_MAX ? wait_ms : BREAKER_WAIT_MS_MAX;
    move(breaker, BREAKER_OPEN);
    breaker->opened_in_row++;
    breaker->until_ms = now_ms + prng_between(prng, wait_ms / 2, wait_ms);
}

static void begin_period(struct core_breaker *breaker, uint64_t now_ms)
{
    bool is_next = now_ms - breaker->period_ms < 2 * (uint64_t)BREAKER_PERIOD_MS;

    breaker->attempts[1] = is_next ? breaker->attempts[0] : 0;
    breaker->failures[1] = is_next ? breaker->failures[0] : 0;
    breaker->attempts[0] = 0;
    breaker->failures[0] = 0;
    breaker->period_ms = now_ms;
}

static void count(struct core_breaker *breaker, uint64_t now_ms)
{
    ASSERT(breaker->state == BREAKER_CLOSED);
    if (now_ms - breaker->period_ms >= BREAKER_PERIOD_MS) {
        begin_period(breaker, now_ms);
    }
    breaker->attempts[0]++;
}

static void failed_closed(struct core_breaker *breaker, struct prng *prng, uint64_t now_ms)
{
    count(breaker, now_ms);
    breaker->failures[0]++;
    breaker->failures_in_row++;
    uint32_t attempts = breaker->attempts[0] + breaker->attempts[1];
    uint32_t failures = breaker->failures[0] + breaker->failures[1];
    if (breaker->failures_in_row >= BREAKER_FAILURE_COUNT ||
        (attempts >= BREAKER_SAMPLE_COUNT_MIN && failures * 2 >= attempts)) {
        open(breaker, prng, now_ms);
    }
}

void breaker_advance(struct core_breaker *breaker, struct prng *prng, uint64_t now_ms)
{
    if (breaker->state == BREAKER_HALF_OPEN) {
        for (uint32_t i = 0; i < BREAKER_PERMIT_COUNT; i++) {
            if (breaker->probes[i].number != 0 && breaker->probes[i].deadline_ms <= now_ms) {
                open(breaker, prng, now_ms);
                return;
            }
        }
    } else if (breaker->state == BREAKER_OPEN && breaker->until_ms <= now_ms) {
        move(breaker, BREAKER_HALF_OPEN);
    }
}

static uint32_t probe_count(const struct core_breaker *breaker)
{
    uint32_t taken = 0;

    for (uint32_t i = 0; i < BREAKER_PERMIT_COUNT; i++) {
        taken += breaker->probes[i].number != 0;
    }
    return taken;
}

/* No more are under way than successes are wanting. */
static bool has_permit(const struct core_breaker *breaker)
{
    ASSERT(breaker->state == BREAKER_HALF_OPEN);
    return breaker->success_count + probe_count(breaker) < BREAKER_PERMIT_COUNT;
}

uint64_t breaker_ready_ms(const struct core_breaker *breaker)
{
    uint64_t ready_ms = UINT64_MAX;

    switch (breaker->state) {
    case BREAKER_CLOSED:
        return 0;
    case BREAKER_OPEN:
        return breaker->until_ms;
    case BREAKER_HALF_OPEN:
        if (has_permit(breaker)) {
            return 0;
        }
        for (uint32_t i = 0; i < BREAKER_PERMIT_COUNT; i++) {
            const struct breaker_probe *probe = &breaker->probes[i];
            if (probe->number != 0 && probe->deadline_ms < ready_ms) {
                ready_ms = probe->deadline_ms;
            }
        }
        return ready_ms;
    }
    UNREACHABLE();
}

bool breaker_take(struct core_breaker *breaker, uint64_t now_ms, struct breaker_permit *permit)
{
    *permit = (struct breaker_permit){.generation = breaker->generation};
    if (breaker->state == BREAKER_CLOSED) {
        return true;
    }
    if (breaker->state == BREAKER_OPEN || !has_permit(breaker)) {
        return false;
    }
    uint32_t place = 0;
    while (breaker->probes[place].number != 0) {
        place++;
        ASSERT(place < BREAKER_PERMIT_COUNT);
    }
    breaker->number++;
    breaker->number += breaker->number == 0; /* 0 is no number. */
    breaker->probes[place] = (struct breaker_probe){.number = breaker->number,
                                                    .deadline_ms = now_ms + BREAKER_PERMIT_MS};
    permit->number = breaker->number;
    return true;
}

static void probe_done(struct core_breaker *breaker, struct prng *prng, uint64_t now_ms,
                       uint32_t number, enum breaker_result result)
{
    uint32_t place = 0;

    while (place < BREAKER_PERMIT_COUNT && breaker->probes[place].number != number) {
        place++;
    }
    if (number == 0 || place == BREAKER_PERMIT_COUNT) {
        return; /* It was reported before. */
    }
    breaker->probes[place].number = 0;
    if (result == BREAKER_FAILURE) {
        open(breaker, prng, now_ms);
    } else if (result == BREAKER_SUCCESS) {
        breaker->success_count++;
        if (breaker->success_count == BREAKER_PERMIT_COUNT) {
            move(breaker, BREAKER_CLOSED);
            breaker->opened_in_row = 0;
            breaker->period_ms = now_ms;
        }
    }
}

void breaker_done(struct core_breaker *breaker, struct prng *prng, uint64_t now_ms,
                  struct breaker_permit permit, enum breaker_result result)
{
    if (permit.generation != breaker->generation) {
        return;
    }
    switch (breaker->state) {
    case BREAKER_CLOSED:
        if (result == BREAKER_FAILURE) {
            failed_closed(breaker, prng, now_ms);
        } else if (result == BREAKER_SUCCESS) {
            breaker->failures_in_row = 0;
            count(breaker, now_ms);
        }
        return;
    case BREAKER_HALF_OPEN:
        probe_done(breaker, prng, now_ms, permit.number, result);
        return;
    case BREAKER_OPEN:
        return; /* It grants nothing. */
    }
    UNREACHABLE();
}

void breaker_fail(struct core_breaker *breaker, struct prng *prng, uint64_t now_ms)
{
    if (breaker->state == BREAKER_CLOSED) {
        failed_closed(breaker, prng, now_ms);
    } else if (breaker->state == BREAKER_HALF_OPEN) {
        open(breaker, prng, now_ms);
    }
}

void breaker_check(const struct core_breaker *breaker)
{
    uint32_t probes = probe_count(breaker);

    ASSERT(breaker->failures_in_row < BREAKER_FAILURE_COUNT);
    ASSERT(breaker->success_count < BREAKER_PERMIT_COUNT);
    if (breaker->state == BREAKER_HALF_OPEN) {
        ASSERT(breaker->success_count + probes <= BREAKER_PERMIT_COUNT);
        ASSERT(breaker_ready_ms(breaker) != UINT64_MAX); /* It is never stuck. */
    } else {
        ASSERT(probes == 0 && breaker->success_count == 0);
    }
    if (breaker->state == BREAKER_OPEN) {
        ASSERT(breaker->opened_in_row > 0);
    }
}
