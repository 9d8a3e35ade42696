/* client/hold.c: work under a lock: session, lock, work, loss, release. */
#define _DEFAULT_SOURCE /* NOLINT(bugprone-reserved-identifier): the C library's own switch. */
#include "client/holdfast_hold.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include "client/client.h"
#include "client/slot.h"

struct holdfast_hold {
    const struct holdfast_with_lock_options *options;
    struct holdfast_session *session;
    void *context;
    uint64_t token;
    int file; /* An event counter: readable from the loss on. */
    _Atomic bool is_lost;
    _Atomic bool is_begun; /* The work was: it wants to be told. */
};

uint64_t holdfast_hold_token(const struct holdfast_hold *hold)
{
    return hold->token;
}

bool holdfast_hold_is_lost(const struct holdfast_hold *hold)
{
    return atomic_load(&hold->is_lost) ||
           holdfast_session_state(hold->session) == HOLDFAST_SESSION_LOST;
}

uint64_t holdfast_hold_left_ms(const struct holdfast_hold *hold)
{
    return holdfast_hold_is_lost(hold) ? 0 : holdfast_session_left_ms(hold->session);
}

int holdfast_hold_file(const struct holdfast_hold *hold)
{
    return hold->file;
}

struct holdfast_session *holdfast_hold_session(const struct holdfast_hold *hold)
{
    return hold->session;
}

/* On the client's thread. A loss before the work is begun is seen by who begins it. */
static void lose(struct holdfast_hold *hold)
{
    uint64_t one = 1;

    if (atomic_exchange(&hold->is_lost, true)) {
        return;
    }
    ssize_t count = write(hold->file, &one, sizeof one);
    ASSERT_VALUES(count == (ssize_t)sizeof one, count, 0);
    if (atomic_load(&hold->is_begun) && hold->options->on_lost != NULL) {
        hold->options->on_lost(hold, hold->context);
    }
}

static void on_state(struct holdfast_session *session, enum holdfast_session_state state,
                     void *context)
{
    (void)session;
    if (state == HOLDFAST_SESSION_LOST) {
        lose(context);
    }
}

/* The session has one hold and no other. */
static void on_revoked(struct holdfast_session *session, const void *name, size_t name_size,
                       uint64_t token, void *context)
{
    (void)session;
    (void)name;
    (void)name_size;
    (void)token;
    lose(context);
}

static enum holdfast_status wait_for(struct holdfast_call *call, uint64_t *token)
{
    if (call == NULL) {
        return HOLDFAST_OVERLOADED;
    }
    bool is_done = holdfast_call_wait(call, -1);
    ASSERT(is_done);
    enum holdfast_status status = holdfast_call_result(call)->status;
    *token = holdfast_call_result(call)->token;
    holdfast_call_free(call);
    return status;
}

static enum holdfast_status open_and_acquire(struct holdfast *client, struct holdfast_hold *hold)
{
    const struct holdfast_with_lock_options *options = hold->options;
    struct holdfast_session_options session = {.ttl_ms = options->ttl_ms,
                                               .owner = options->lock.owner,
                                               .on_state = on_state,
                                               .on_revoked = on_revoked,
                                               .context = hold};
    uint64_t none;

    enum holdfast_status status = wait_for(
        holdfast_session_open(client, &session, &hold->session, holdfast_keep, NULL), &none);
    if (status == HOLDFAST_OK) {
        status = wait_for(holdfast_lock_request(hold->session, options->name, options->name_size,
                                                &options->lock, holdfast_keep, NULL),
                          &hold->token);
    }
    return status;
}

/* With the slot that was set aside: without it the session would go on, and call us back. When it
 * is told, nothing calls back any more, and the lock is free or will be by its TTL. */
static void end_session(struct holdfast_hold *hold, struct holdfast_call *end)
{
    uint64_t none;

    if (hold->session == NULL) {
        end->refusal = ERR_CANCELLED;
    } else {
        end->core.session = &hold->session->core;
    }
    (void)wait_for(slot_submit(end), &none);
}

static enum holdfast_status do_work(struct holdfast_hold *hold, holdfast_work work, int *result)
{
    atomic_store(&hold->is_begun, true);
    if (holdfast_hold_is_lost(hold)) {
        return HOLDFAST_LOST;
    }
    int worked = work(hold, hold->context);
    bool is_lost = holdfast_hold_is_lost(hold);

    if (result != NULL) {
        *result = worked;
    }
    return is_lost ? HOLDFAST_LOST : HOLDFAST_OK;
}

enum holdfast_status holdfast_with_lock(struct holdfast *client,
                                        const struct holdfast_with_lock_options *options,
                                        holdfast_work work, void *context, int *result)
{
    struct holdfast_hold hold = {.options = options, .context = context};

    ASSERT(client->is_threaded && work != NULL);
    hold.file = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (hold.file < 0) {
        return HOLDFAST_OVERLOADED;
    }
    struct holdfast_call *end = slot_take(client, WIRE_METHOD_session_end, holdfast_keep, NULL);
    enum holdfast_status status = HOLDFAST_OVERLOADED;
    if (end != NULL) {
        status = open_and_acquire(client, &hold);
        if (status == HOLDFAST_OK) {
            status = do_work(&hold, work, result);
        }
        end_session(&hold, end);
    }
    (void)close(hold.file);
    return status;
}
