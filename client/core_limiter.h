/* client/core_limiter.h: how many requests may be unanswered at the leader at once.
 *
 * Additive increase, multiplicative decrease: the limit falls by a tenth when the node says that it
 * has too much, or does not answer in time, and rises by one for as many answers as it allows
 * requests. It falls once for all requests that were under way when it fell: they all tell of the
 * same overload. It falls from what was really under way. With a new leader it starts again from
 * LIMITER_START and rises by one for each answer until the first refusal: what has gathered while
 * nobody led does not come down on the new leader at once. Latency does
 * not move it: a client sees the disk of the node, and the network, and cannot tell them from a
 * queue; the node can, and says OVERLOADED. */
#ifndef CLIENT_CORE_LIMITER_H
#define CLIENT_CORE_LIMITER_H

#include <stdbool.h>
#include <stdint.h>

enum { LIMITER_START = 64 };

struct core_limiter {
    uint32_t limit;
    uint32_t in_flight;
    uint32_t limit_min;
    uint32_t limit_max;
    uint32_t answers; /* Towards the next rise. */
    bool is_starting; /* Nothing was refused yet. */
    uint64_t cut_ms;  /* What was sent until then tells nothing new. */
};

/* 1 <= limit_min <= limit_max. */
void limiter_init(struct core_limiter *limiter, uint32_t limit_min, uint32_t limit_max);

/* There is a new leader. */
void limiter_restart(struct core_limiter *limiter);

static inline bool limiter_has_room(const struct core_limiter *limiter)
{
    return limiter->in_flight < limiter->limit;
}

/* A request leaves. It may be one too many: some are exempt from waiting, none from counting. */
void limiter_take(struct core_limiter *limiter);

/* It is not under way any more. */
void limiter_release(struct core_limiter *limiter);

/* Of a request that was under way: an answer; a refusal as OVERLOADED, or silence. */
void limiter_answered(struct core_limiter *limiter);
void limiter_refused(struct core_limiter *limiter, uint64_t sent_ms, uint64_t now_ms);

#endif
