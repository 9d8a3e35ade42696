/* client/core_budget.h: how many requests a client may send again.
 *
 * What was answered earns a tenth of a retry, each second earns one more, and what is saved is a
 * hundred retries and a tenth of the answers of the last seconds at most. So a cluster that answers
 * nothing is asked little more than once for each call, whatever the number of calls. */
#ifndef CLIENT_CORE_BUDGET_H
#define CLIENT_CORE_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/macros.h"

enum {
    BUDGET_RETRY_COST = 1000,     /* Of one retry, in the unit of `tokens`. */
    BUDGET_ANSWER_EARNINGS = 100, /* Of one answer: retries are a tenth of the answers. */
    BUDGET_MS_EARNINGS = 1,       /* Of one millisecond: a retry for each second. */
    BUDGET_RESERVE = 100 * BUDGET_RETRY_COST,
    BUDGET_PERIOD_MS = 2000, /* Answers of this period and the one before count for the maximum. */
};

struct core_budget {
    uint64_t tokens;
    uint64_t earned_ms;  /* Time has been paid for until then. */
    uint64_t period_ms;  /* When this period began. */
    uint64_t answers[2]; /* Of this period, and of the one before. */
};

/* Full. */
void budget_init(struct core_budget *budget, uint64_t now_ms);

void budget_answered(struct core_budget *budget, uint64_t now_ms);

/* Whether budget_take() would be granted. */
bool budget_has_retry(struct core_budget *budget, uint64_t now_ms);

/* False, and nothing taken, when a retry must not be sent. */
MUST_USE bool budget_take(struct core_budget *budget, uint64_t now_ms);

#endif
