/* client/command/guard_plan.h: when the guard does what. Pure.
 *
 *            deadline - grace         deadline - kill_before      deadline
 *   ---------------+--------------------------+----------------------+----
 *     nothing      |     SIGTERM, once        |       SIGKILL        |  the lock may be another's
 *
 * A later deadline that arrives before the SIGTERM moves everything; after it nothing does: the
 * command was told to end. */
#ifndef CLIENT_COMMAND_GUARD_PLAN_H
#define CLIENT_COMMAND_GUARD_PLAN_H

#include <stdbool.h>
#include <stdint.h>

enum guard_action { GUARD_NOTHING, GUARD_TERMINATE, GUARD_KILL };

struct guard_plan {
    uint64_t deadline_ms;
    uint32_t grace_ms;       /* A tenth of the TTL, one second at most. */
    uint32_t kill_before_ms; /* A quarter of the grace, 20 to 100 ms. */
    bool has_terminated;
    bool has_killed;
};

void guard_plan_init(struct guard_plan *plan, uint64_t ttl_ms, uint64_t deadline_ms);

/* Deadlines only grow: an older message that comes late changes nothing. */
void guard_plan_extend(struct guard_plan *plan, uint64_t deadline_ms);

/* What is due at `now_ms`; it is taken as done. */
enum guard_action guard_plan_step(struct guard_plan *plan, uint64_t now_ms);

/* How long nothing is due, at least 1. Half of what is left while that is long, so that a sleep
 * measured by a slewed clock ends in time; UINT64_MAX when all is done. */
uint64_t guard_plan_sleep_ms(const struct guard_plan *plan, uint64_t now_ms);

#endif
