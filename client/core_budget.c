/* client/core_budget.c: see core_budget.h. */
#include "client/core_budget.h"

#include "base/assert.h"

static uint64_t tokens_max(const struct core_budget *budget)
{
    return BUDGET_RESERVE + (budget->answers[0] + budget->answers[1]) * BUDGET_ANSWER_EARNINGS;
}

void budget_init(struct core_budget *budget, uint64_t now_ms)
{
    *budget =
        (struct core_budget){.tokens = BUDGET_RESERVE, .earned_ms = now_ms, .period_ms = now_ms};
}

static void begin_period(struct core_budget *budget, uint64_t now_ms)
{
    bool is_next = now_ms - budget->period_ms < 2 * (uint64_t)BUDGET_PERIOD_MS;

    budget->answers[1] = is_next ? budget->answers[0] : 0;
    budget->answers[0] = 0;
    budget->period_ms = now_ms;
}

static void advance(struct core_budget *budget, uint64_t now_ms)
{
    ASSERT_VALUES(now_ms >= budget->earned_ms, now_ms, budget->earned_ms);
    if (now_ms - budget->period_ms >= BUDGET_PERIOD_MS) {
        begin_period(budget, now_ms);
    }
    budget->tokens += (now_ms - budget->earned_ms) * BUDGET_MS_EARNINGS;
    budget->earned_ms = now_ms;
    uint64_t max = tokens_max(budget);
    budget->tokens = budget->tokens < max ? budget->tokens : max;
}

void budget_answered(struct core_budget *budget, uint64_t now_ms)
{
    if (now_ms - budget->period_ms >= BUDGET_PERIOD_MS) {
        begin_period(budget, now_ms);
    }
    budget->answers[0]++;
    budget->tokens += BUDGET_ANSWER_EARNINGS; /* The maximum has grown by as much. */
}

bool budget_has_retry(struct core_budget *budget, uint64_t now_ms)
{
    advance(budget, now_ms);
    return budget->tokens >= BUDGET_RETRY_COST;
}

bool budget_take(struct core_budget *budget, uint64_t now_ms)
{
    if (!budget_has_retry(budget, now_ms)) {
        return false;
    }
    budget->tokens -= BUDGET_RETRY_COST;
    return true;
}
