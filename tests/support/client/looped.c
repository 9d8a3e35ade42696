/* tests/support/client/looped.c: see looped.h. */
#define _GNU_SOURCE /* NOLINT(bugprone-reserved-identifier): the C library's own switch. */
#include "tests/support/client/looped.h"

#include <string.h>

#include "base/assert.h"

enum { LOCK_COUNT = 3 };

void looped_open(struct looped *looped, enum fake_behaviour behaviour)
{
    memset(looped, 0, sizeof *looped);
    looped->server = fake_server_open(behaviour);
    struct holdfast_options options = {.endpoints = fake_server_address(looped->server)};
    int failed = uv_loop_init(&looped->loop);
    ASSERT(failed == 0);
    enum holdfast_status status = holdfast_open_on_loop(&looped->client, &options, &looped->loop);
    ASSERT(status == HOLDFAST_OK);
}

void looped_on_closed(void *context)
{
    struct looped *looped = context;

    ASSERT(!looped->is_closed);
    looped->is_closed = true;
    looped->client = NULL;
}

void looped_close(struct looped *looped)
{
    holdfast_close(looped->client, looped_on_closed, looped);
    int left = uv_run(&looped->loop, UV_RUN_DEFAULT);
    ASSERT(left == 0 && looped->is_closed);
    int failed = uv_loop_close(&looped->loop);
    ASSERT(failed == 0);
    fake_server_close(looped->server);
}

/* One step that does not wait goes first: what it ends may leave nothing to wait for. */
void looped_run(struct looped *looped, const struct holdfast_call *call)
{
    while (!holdfast_call_is_done(call)) {
        (void)uv_run(&looped->loop, UV_RUN_NOWAIT);
        if (!holdfast_call_is_done(call)) {
            (void)uv_run(&looped->loop, UV_RUN_ONCE);
        }
    }
}

enum holdfast_status looped_finish(struct looped *looped, struct holdfast_call *call)
{
    ASSERT(call != NULL);
    looped_run(looped, call);
    enum holdfast_status status = holdfast_call_result(call)->status;
    holdfast_call_free(call);
    return status;
}

struct holdfast_call *looped_put(struct looped *looped)
{
    struct holdfast_call *call =
        holdfast_put(looped->client, "k", 1, "value", 5, holdfast_keep, NULL);

    ASSERT(call != NULL);
    return call;
}

static struct holdfast_call *ask(struct holdfast_session *session, size_t place, int64_t wait_ms)
{
    char name = (char)('0' + (int)place);
    struct holdfast_call *call =
        holdfast_lock_acquire(session, &name, 1, wait_ms, holdfast_keep, NULL);

    ASSERT(call != NULL);
    return call;
}

void looped_hold_locks(struct looped *looped)
{
    struct holdfast_session_options long_lived = {.ttl_ms = 60000};
    struct holdfast_session **sessions[2] = {&looped->holder, &looped->waiter};
    enum holdfast_status status;

    for (size_t i = 0; i < 2; i++) {
        status = looped_finish(looped, holdfast_session_open(looped->client, &long_lived,
                                                             sessions[i], holdfast_keep, NULL));
        ASSERT(status == HOLDFAST_OK);
    }
    for (size_t i = 0; i < LOCK_COUNT; i++) {
        status = looped_finish(looped, ask(looped->holder, i, HOLDFAST_TRY));
        ASSERT(status == HOLDFAST_OK);
    }
}

struct holdfast_call *looped_wait(struct looped *looped, size_t place)
{
    ASSERT(place < LOCK_COUNT);
    return ask(looped->waiter, place, HOLDFAST_WAIT_FOREVER);
}

void looped_on_told(const struct holdfast_result *result, void *context)
{
    struct looped_told *told = context;

    ASSERT(!told->is_within);
    told->count++;
    told->status = result->status;
}
