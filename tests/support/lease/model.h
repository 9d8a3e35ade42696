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
    MODEL_HOLD_COUNT_MAX = 256, /* Those that are lost, too. */
    MODEL_NAME_COUNT = 84,      /* All names of 1 to 3 of the letters 0x00, 'a', 'b', 0xff. */
};

struct model_session {
    lease_session_id id;
    uint32_t ttl_ms;
    uint64_t opened_ms;
    uint64_t deadline_ms;
    bool is_ended; /* On purpose. */
};

struct model_hold {
    lease_session_id session;
    lease_token token;
    enum lease_mode mode;
    uint32_t units;
    uint32_t delay_ms;
    uint64_t granted_ms;
    uint64_t lost_until_ms; /* Not 0: lost. */
};

struct model_waiter {
    lease_session_id session;
    enum lease_mode mode;
    uint32_t units;
    uint32_t delay_ms;
};

struct model_lock {
    uint8_t name[3];
    uint8_t name_size;
    uint32_t limit;   /* Of permits; 0: it counts none. */
    bool is_behind;   /* More of the queue may be granted than a call did, */
    uint64_t file_ms; /* since then. */
    uint32_t hold_count;
    struct model_hold holds[MODEL_HOLD_COUNT_MAX]; /* In order of tokens. */
    uint32_t waiter_count;
    struct model_waiter waiters[MODEL_SESSION_COUNT_MAX]; /* In queue order. */
};

struct model {
    uint32_t session_count;
    struct model_session sessions[MODEL_SESSION_COUNT_MAX]; /* In the order of ids. */
    struct model_lock locks[MODEL_NAME_COUNT];              /* In the order of names. */
    lease_token token_last;
    uint32_t skip_count;  /* Due waiters that the present call took out in front of others. */
    uint32_t grants_left; /* That the present call may make. */
    uint64_t audit_count;
    uint64_t behind_count;     /* Queues that a call could not go through. */
    uint64_t lost_count;       /* Holds that their lock delay kept. */
    uint64_t due_holder_count; /* Locks that a due waiter came to hold, as too many were skipped. */
};

void model_init(struct model *model);

struct bytes model_name(const struct model *model, uint32_t at);

/* The session's index; session_count when it does not exist. */
uint32_t model_session_find(const struct model *model, lease_session_id id);

bool model_session_is_alive(const struct model *model, lease_session_id id, uint64_t log_ms);

/* Whether the session holds the lock of that index, and has not lost it. */
bool model_holds(const struct model *model, uint32_t at, lease_session_id session);

/* The functions of lease/lease.h by the same names; a lock is given by its index. */
bool model_advance(struct model *model, uint64_t log_ms, struct lease_effects *effects);
bool model_next_deadline(const struct model *model, uint64_t *deadline_ms);
void model_session_open(struct model *model, lease_session_id id, uint32_t ttl_ms, uint64_t log_ms);
enum error model_session_renew(struct model *model, lease_session_id id, uint64_t log_ms);
enum error model_session_end(struct model *model, lease_session_id id, uint64_t log_ms,
                             struct lease_effects *effects);
enum error model_acquire(struct model *model, const struct lease_request *request, uint32_t at,
                         uint64_t log_ms, struct lease_effects *effects,
                         struct lease_acquired *acquired);
enum error model_release(struct model *model, lease_session_id session, uint32_t at,
                         lease_token token, uint64_t log_ms, struct lease_effects *effects);
enum error model_break(struct model *model, uint32_t at, lease_token token, uint64_t log_ms,
                       struct lease_effects *effects);

#endif
