/* tests/support/lease/fixture.c: a table and short forms of lease/'s commands. */
#include "tests/support/lease/fixture.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "tests/support/base/memory_table.h"

int lease_fixture_open(void **state)
{
    struct lease_fixture *fixture = calloc(1, sizeof(*fixture));

    ASSERT(fixture != NULL);
    fixture->table = memory_table_open();
    *state = fixture;
    return 0;
}

int lease_fixture_close(void **state)
{
    struct lease_fixture *fixture = *state;

    lease_check(fixture->table);
    memory_table_close(fixture->table);
    free(fixture);
    return 0;
}

static void effects_clear(struct lease_fixture *fixture)
{
    fixture->effects.grant_count = 0;
    fixture->effects.ended_count = 0;
    fixture->effects.revoked_count = 0;
    fixture->effects.elections = 0;
}

bool fixture_advance(struct lease_fixture *fixture, uint64_t log_ms)
{
    effects_clear(fixture);
    return lease_advance(fixture->table, log_ms, &fixture->effects);
}

uint32_t fixture_advance_all(struct lease_fixture *fixture, uint64_t log_ms)
{
    uint32_t count = 1;

    while (fixture_advance(fixture, log_ms)) {
        count++;
    }
    return count;
}

void fixture_open_sessions(struct lease_fixture *fixture, lease_session_id first,
                           lease_session_id last, uint32_t ttl_ms, uint64_t log_ms)
{
    for (lease_session_id id = first; id <= last; id++) {
        lease_session_open(fixture->table, id, ttl_ms, bytes_of_text("owner"), log_ms);
    }
}

struct lease_request fixture_request(lease_session_id session, const char *name)
{
    return (struct lease_request){
        .session = session,
        .name = bytes_of_text(name),
        .wait = true,
        .owner = bytes_of_text("owner"),
    };
}

enum error fixture_ask(struct lease_fixture *fixture, const struct lease_request *request,
                       uint64_t log_ms, struct lease_acquired *acquired)
{
    effects_clear(fixture);
    return lease_lock_acquire(fixture->table, request, log_ms, &fixture->effects, acquired);
}

enum error fixture_break(struct lease_fixture *fixture, const char *name, lease_token token,
                         uint64_t log_ms)
{
    const struct lease_break request = {
        .name = bytes_of_text(name),
        .token = token,
        .by = bytes_of_text("operator"),
        .reason = bytes_of_text("it hangs"),
        .wall_ms = 7,
    };

    effects_clear(fixture);
    return lease_lock_break(fixture->table, &request, log_ms, &fixture->effects);
}

enum error fixture_acquire(struct lease_fixture *fixture, lease_session_id session,
                           const char *name, bool wait, uint64_t log_ms,
                           struct lease_acquired *acquired)
{
    struct lease_request request = fixture_request(session, name);

    request.wait = wait;
    return fixture_ask(fixture, &request, log_ms, acquired);
}

lease_token fixture_take(struct lease_fixture *fixture, lease_session_id session, const char *name,
                         uint64_t log_ms)
{
    struct lease_acquired acquired;
    enum error error = fixture_acquire(fixture, session, name, false, log_ms, &acquired);

    ASSERT_VALUES(error == ERR_OK, error, session);
    ASSERT(acquired.token != 0);
    return acquired.token;
}

uint64_t fixture_queue(struct lease_fixture *fixture, lease_session_id session, const char *name,
                       uint64_t log_ms)
{
    struct lease_acquired acquired;
    enum error error = fixture_acquire(fixture, session, name, true, log_ms, &acquired);

    ASSERT_VALUES(error == ERR_OK, error, session);
    ASSERT(acquired.token == 0);
    return acquired.position;
}

enum error fixture_release(struct lease_fixture *fixture, lease_session_id session,
                           const char *name, lease_token token, uint64_t log_ms)
{
    effects_clear(fixture);
    return lease_lock_release(fixture->table, session, bytes_of_text(name), token, log_ms,
                              &fixture->effects);
}

enum error fixture_end(struct lease_fixture *fixture, lease_session_id session, uint64_t log_ms)
{
    effects_clear(fixture);
    return lease_session_end(fixture->table, session, log_ms, &fixture->effects);
}

lease_session_id fixture_holder(struct lease_fixture *fixture, const char *name)
{
    struct lease_lock_view view;

    return lease_lock_get(fixture->table, bytes_of_text(name), &view) ? view.holder : 0;
}
