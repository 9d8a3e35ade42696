/* tests/support/lease/model.h: what lease/ promises, written as plainly as possible.
 *
 * Arrays that are searched from front to back, no table, no indices. It takes the same commands as
 * lease/ and gives the same answers, so that random schedules can be compared step by step. It is
 * exact while fewer sessions were renewed than lease_advance() files anew in one call (64). */
#ifndef TESTS_SUPPORT_LEASE_MODEL_H
#define TESTS_SUPPORT_LEASE_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "lease/lease.h"

enum {
    MODEL_SESSION_COUNT_MAX = 160,
    MODEL_NAME_COUNT = 84, /* All names of 1 to 3 of the letters 0x00, 'a', 'b', 0xff. */
};

struct model_session {
    lease_session_id id;
    uint32_t ttl_ms;
    uint64_t opened_ms;
    uint64_t deadline_ms;
};

struct model_lock {
    uint8_t name[3];
    uint8_t name_size;
    lease_session_id holder; /* 0: free. */
    lease_token token;
    uint64_t granted_ms;
    uint32_t waiter_count;
    lease_session_id waiters[MODEL_SESSION_COUNT_MAX]; /* In queue order. */
};

struct model {
    uint32_t session_count;
    struct model_session sessions[MODEL_SESSION_COUNT_MAX]; /* In the order of ids. */
    struct model_lock locks[MODEL_NAME_COUNT];              /* In the order of names. */
    lease_token token_last;
    uint32_t skip_count;       /* Due waiters that the present call took out in front of others. */
    uint64_t due_holder_count; /* Locks that a due waiter came to hold, as too many were skipped. */
};

void model_init(struct model *model);

struct bytes model_name(const struct model *model, uint32_t at);

/* The session's index; session_count when it does not exist. */
uint32_t model_session_find(const struct model *model, lease_session_id id);

bool model_session_is_alive(const struct model *model, lease_session_id id, uint64_t log_ms);

/* The functions of lease/lease.h by the same names; a lock is given by its index. */
bool model_advance(struct model *model, uint64_t log_ms, struct lease_effects *effects);
void model_session_open(struct model *model, lease_session_id id, uint32_t ttl_ms, uint64_t log_ms);
enum error model_session_renew(struct model *model, lease_session_id id, uint64_t log_ms);
enum error model_session_end(struct model *model, lease_session_id id, uint64_t log_ms,
                             struct lease_effects *effects);
enum error model_acquire(struct model *model, lease_session_id session, uint32_t at, bool wait,
                         uint64_t log_ms, struct lease_acquired *acquired);
enum error model_release(struct model *model, lease_session_id session, uint32_t at,
                         lease_token token, uint64_t log_ms, struct lease_effects *effects);

#endif
