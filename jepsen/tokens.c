/* jepsen/tokens.c: grants in the order of their tokens. */
#include "jepsen/tokens.h"

#include <stdlib.h>

/* An acquire: answered with a token, or with an unknown outcome and token 0. */
struct acquire {
    uint64_t token;
    uint64_t owner;
    uint32_t key;
    uint32_t called_at;
    uint32_t answered_at;
    uint32_t number;
};

static int compare(uint64_t a, uint64_t b)
{
    return a < b ? -1 : a > b ? 1 : 0;
}

/* By token; unknown outcomes first, by lock and owner. */
static int compare_acquires(const void *left, const void *right)
{
    const struct acquire *a = left;
    const struct acquire *b = right;
    int order = compare(a->token, b->token);

    if (order == 0 && a->token == 0) {
        order = compare(a->key, b->key);
        order = order == 0 ? compare(a->owner, b->owner) : order;
    }
    return order == 0 ? compare(a->called_at, b->called_at) : order;
}

static uint32_t collect(const struct history *history, struct acquire *all)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < history_operation_count(history); i++) {
        const struct history_operation *operation = history_operation_at(history, i);
        bool is_ok = operation->outcome == HISTORY_OK;
        if (operation->call.function == HISTORY_ACQUIRE && operation->outcome != HISTORY_FAILED &&
            !(is_ok && operation->answer.refused)) {
            all[count++] = (struct acquire){
                .token = is_ok ? operation->answer.token : 0,
                .owner = operation->call.owner,
                .key = operation->key,
                .called_at = operation->called_at,
                .answered_at = operation->answered_at,
                .number = i,
            };
        }
    }
    qsort(all, count, sizeof(*all), compare_acquires);
    return count;
}

/* The earliest acquire with an unknown outcome of the same owner of the same lock, if it was
 * called before `called_at`; else `called_at`. */
static uint32_t earliest_call(const struct acquire *all, uint32_t unknown_count,
                              const struct acquire *grant)
{
    uint32_t low = 0;
    uint32_t high = unknown_count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int order = compare(all[middle].key, grant->key);
        order = order == 0 ? compare(all[middle].owner, grant->owner) : order;
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    bool is_same =
        low < unknown_count && all[low].key == grant->key && all[low].owner == grant->owner;
    return is_same && all[low].called_at < grant->called_at ? all[low].called_at : grant->called_at;
}

static void report_broken(struct replay_report *report, enum replay_law law,
                          const struct acquire *acquire, const struct acquire *other)
{
    report->valid = false;
    report->law = law;
    report->operation = acquire->number;
    report->other = other->number;
}

/* Grants from `at` on that have one token; they must be of one owner of one lock. Gives the count
 * of them, or 0, and the end of the earliest answer. */
static uint32_t same_token(const struct acquire *all, uint32_t count, uint32_t at,
                           uint32_t *answered_at, struct replay_report *report)
{
    uint32_t next = at;

    *answered_at = all[at].answered_at;
    while (next < count && all[next].token == all[at].token) {
        if (all[next].key != all[at].key || all[next].owner != all[at].owner) {
            report_broken(report, REPLAY_ONE_GRANT, &all[next], &all[at]);
            return 0;
        }
        if (all[next].answered_at < *answered_at) {
            *answered_at = all[next].answered_at;
        }
        next++;
    }
    return next - at;
}

static void check_order(const struct acquire *all, uint32_t count, struct replay_report *report)
{
    uint32_t unknown_count = 0;
    uint32_t latest = 0;        /* When a grant so far was surely not made yet. */
    uint32_t latest_of = count; /* Which. */

    while (unknown_count < count && all[unknown_count].token == 0) {
        unknown_count++;
    }
    for (uint32_t at = unknown_count; at < count;) {
        uint32_t answered_at;
        uint32_t same = same_token(all, count, at, &answered_at, report);
        if (same == 0) {
            return;
        }
        if (latest_of != count && answered_at < latest) {
            report_broken(report, REPLAY_TOKEN_ORDER, &all[latest_of], &all[at]);
            return;
        }
        uint32_t called_at = earliest_call(all, unknown_count, &all[at]);
        if (latest_of == count || called_at > latest) {
            latest = called_at;
            latest_of = at;
        }
        at += same;
    }
}

enum error tokens_check(const struct history *history, struct replay_report *report)
{
    struct acquire *all = malloc(history_operation_count(history) * sizeof(*all) + 1);

    if (all == NULL) {
        return ERR_FULL;
    }
    check_order(all, collect(history, all), report);
    free(all);
    return ERR_OK;
}
