/* tests/support/lease/fixture.h: a table and short forms of lease/'s commands for tests.
 *
 * Names and owners are given as text; requests have the owner "owner". */
#ifndef TESTS_SUPPORT_LEASE_FIXTURE_H
#define TESTS_SUPPORT_LEASE_FIXTURE_H

#include <stdbool.h>
#include <stdint.h>

#include "lease/lease.h"

struct lease_fixture {
    struct table *table;
    struct lease_effects effects; /* Of the last entry. */
};

/* Setup and teardown for cmocka: *state is a struct lease_fixture. */
int lease_fixture_open(void **state);
int lease_fixture_close(void **state);

/* Starts an entry with empty effects, and advances. Returns whether more is left to do. */
bool fixture_advance(struct lease_fixture *fixture, uint64_t log_ms);

/* Advances until nothing is left; the number of calls. */
uint32_t fixture_advance_all(struct lease_fixture *fixture, uint64_t log_ms);

/* Opens sessions first to last with one TTL. */
void fixture_open_sessions(struct lease_fixture *fixture, lease_session_id first,
                           lease_session_id last, uint32_t ttl_ms, uint64_t log_ms);

/* An exclusive request that waits. */
struct lease_request fixture_request(lease_session_id session, const char *name);

/* Starts an entry with empty effects, and asks for a lock. */
enum error fixture_ask(struct lease_fixture *fixture, const struct lease_request *request,
                       uint64_t log_ms, struct lease_acquired *acquired);

/* Starts an entry with empty effects, and unlocks by force. */
enum error fixture_break(struct lease_fixture *fixture, const char *name, lease_token token,
                         uint64_t log_ms);

/* Acquires an exclusive lock; the result, with what was learned in *acquired. */
enum error fixture_acquire(struct lease_fixture *fixture, lease_session_id session,
                           const char *name, bool wait, uint64_t log_ms,
                           struct lease_acquired *acquired);

/* Acquires a lock that is surely free, and gives its token. */
lease_token fixture_take(struct lease_fixture *fixture, lease_session_id session, const char *name,
                         uint64_t log_ms);

/* Queues for a lock that is surely held; gives the position. */
uint64_t fixture_queue(struct lease_fixture *fixture, lease_session_id session, const char *name,
                       uint64_t log_ms);

/* Starts an entry with empty effects, and releases. */
enum error fixture_release(struct lease_fixture *fixture, lease_session_id session,
                           const char *name, lease_token token, uint64_t log_ms);

/* Starts an entry with empty effects, and ends the session. */
enum error fixture_end(struct lease_fixture *fixture, lease_session_id session, uint64_t log_ms);

/* Who holds the lock; 0 when it is free. */
lease_session_id fixture_holder(struct lease_fixture *fixture, const char *name);

#endif
