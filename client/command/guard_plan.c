/* client/command/guard_plan.c: when the guard does what. Pure. */
#include "client/command/guard_plan.h"

#include "base/assert.h"

enum {
    GRACE_MAX_MS = 1000,
    KILL_BEFORE_MIN_MS = 20,
    KILL_BEFORE_MAX_MS = 100,
    EXACT_SLEEP_MAX_MS = 20, /* A clock slewed by 10 % is wrong by 2 ms then. */
};

static uint32_t clamp(uint64_t value, uint32_t low, uint32_t high)
{
    return value < low ? low : value > high ? high : (uint32_t)value;
}

void guard_plan_init(struct guard_plan *plan, uint64_t ttl_ms, uint64_t deadline_ms)
{
    uint32_t grace_ms = clamp(ttl_ms / 10, 2 * KILL_BEFORE_MIN_MS, GRACE_MAX_MS);

    *plan = (struct guard_plan){.deadline_ms = deadline_ms,
                                .grace_ms = grace_ms,
                                .kill_before_ms =
                                    clamp(grace_ms / 4, KILL_BEFORE_MIN_MS, KILL_BEFORE_MAX_MS)};
    ASSERT(plan->kill_before_ms < plan->grace_ms);
}

void guard_plan_extend(struct guard_plan *plan, uint64_t deadline_ms)
{
    ASSERT(!plan->has_killed || plan->has_terminated);
    if (!plan->has_terminated && deadline_ms > plan->deadline_ms) {
        plan->deadline_ms = deadline_ms;
    }
}

static uint64_t due_ms(const struct guard_plan *plan)
{
    uint64_t before = plan->has_terminated ? plan->kill_before_ms : plan->grace_ms;

    return plan->deadline_ms > before ? plan->deadline_ms - before : 0;
}

enum guard_action guard_plan_step(struct guard_plan *plan, uint64_t now_ms)
{
    if (plan->has_killed || now_ms < due_ms(plan)) {
        return GUARD_NOTHING;
    }
    if (!plan->has_terminated) {
        plan->has_terminated = true;
        if (now_ms < due_ms(plan)) {
            return GUARD_TERMINATE;
        }
    }
    ASSERT(plan->has_terminated);
    plan->has_killed = true;
    return GUARD_KILL;
}

uint64_t guard_plan_sleep_ms(const struct guard_plan *plan, uint64_t now_ms)
{
    if (plan->has_killed) {
        return UINT64_MAX;
    }
    uint64_t due = due_ms(plan);
    uint64_t left_ms = due > now_ms ? due - now_ms : 0;

    if (left_ms == 0) {
        return 1;
    }
    return left_ms <= EXACT_SLEEP_MAX_MS ? left_ms : left_ms / 2;
}
