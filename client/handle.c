/* client/handle.c: handles: results that are kept, threads that wait for them, callbacks that come
 * later. */
#define _DEFAULT_SOURCE /* NOLINT(bugprone-reserved-identifier): the C library's own switch. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/client.h"

/* In its own file: who compares a callback with it must not know its address when it is compiled,
 * or a program's idea of the address would be another. */
void holdfast_keep(const struct holdfast_result *result, void *context)
{
    (void)result;
    (void)context;
    UNREACHABLE();
}

/* --- The result, as it is kept --------------------------------------------------------------- */

/* Zeroed, within what the client may use in all. NULL: there is no more. */
static void *take_memory(struct holdfast_call *call, size_t size)
{
    struct holdfast *client = call->client;

    ASSERT(call->handle.memory == NULL && size > 0);
    client_lock(client);
    bool fits = client->large_size + size <= CLIENT_LARGE_SIZE_MAX;
    client->large_size += fits ? size : 0;
    client_unlock(client);
    if (!fits) {
        return NULL;
    }
    call->handle.size = size;
    call->handle.memory = calloc(1, size);
    return call->handle.memory;
}

/* What these are told fits into the result itself. */
static bool result_is_plain(enum wire_method method)
{
    static const enum wire_method plain[] = {
        WIRE_METHOD_put,          WIRE_METHOD_delete,       WIRE_METHOD_cas,
        WIRE_METHOD_lock_acquire, WIRE_METHOD_lock_release, WIRE_METHOD_lock_break,
        WIRE_METHOD_session_open, WIRE_METHOD_session_end,
    };

    for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++) {
        if (method == plain[i]) {
            return true;
        }
    }
    return false;
}

static bool result_is_one_value(enum wire_method method)
{
    return method == WIRE_METHOD_get || method == WIRE_METHOD_snapshot_read;
}

/* A result is put together again from a copy of the answer, so that nothing in it can be forgotten.
 * Every text has a byte of its own in the answer that its final zero can take. */
static bool keep_answer(struct holdfast_call *call)
{
    struct core_call *core = &call->core;
    struct holdfast_result *kept = &call->handle.result;
    size_t body_size = core->body.size;
    size_t scratch_size = 0;

    if (!result_is_one_value(core->method)) {
        scratch_size = sizeof(struct client_scratch) + body_size;
    }
    uint8_t *memory = take_memory(call, scratch_size + body_size);
    if (memory == NULL) {
        return false;
    }
    struct client_scratch *scratch = (struct client_scratch *)(void *)memory;
    memcpy(memory + scratch_size, core->body.data, body_size);
    core_call_moved(core, bytes_of(memory + scratch_size, body_size));
    if (scratch_size == 0) {
        kept->value = core->method == WIRE_METHOD_get ? core->answer.get.value.data
                                                      : core->answer.snapshot_read.bytes.data;
        return true;
    }
    scratch->text_capacity = body_size;
    client_result(scratch, core, kept);
    return true;
}

/* The text of a failure; without memory for it the one for its kind. */
static void keep_text(struct holdfast_call *call)
{
    struct holdfast_result *kept = &call->handle.result;
    size_t size = strlen(kept->text) + 1;
    char *copy = take_memory(call, size);

    if (copy == NULL) {
        kept->text = error_text((enum error)kept->status);
        return;
    }
    memcpy(copy, kept->text, size);
    kept->text = copy;
}

static void keep(struct holdfast_call *call, const struct holdfast_result *result)
{
    struct core_call *core = &call->core;

    call->handle.result = *result;
    if (call->refusal != ERR_OK || core->method == WIRE_METHOD_NONE) {
        return; /* Its text is a constant. */
    }
    if (result->status != HOLDFAST_OK) {
        if (result->text != error_text((enum error)result->status)) {
            keep_text(call);
        }
        return;
    }
    if (result_is_plain(core->method)) {
        return;
    }
    if (core->body.size == 0) { /* A notice said so: there is no more to it than this. */
        call->handle.result = (struct holdfast_result){.status = result->status,
                                                       .outcome = result->outcome,
                                                       .text = result->text,
                                                       .revision = result->revision,
                                                       .token = result->token};
    } else if (!keep_answer(call)) {
        call->handle.result = (struct holdfast_result){.status = HOLDFAST_OVERLOADED,
                                                       .outcome = result->outcome,
                                                       .text = error_text(ERR_OVERLOADED)};
    }
}

/* --- Telling --------------------------------------------------------------------------------- */

/* A thread that waits. */
struct waiter {
    struct list waiting;
    pthread_cond_t done;
    bool is_done;
};

void handle_tell(struct holdfast *client, struct holdfast_call *call,
                 const struct holdfast_result *result)
{
    struct list *waiting;

    client_lock(client);
    bool is_kept = call->handle.is_kept;
    client_unlock(client);
    if (is_kept) {
        keep(call, result);
        result = &call->handle.result;
    } else {
        call->handle.result =
            (struct holdfast_result){.status = result->status, .outcome = result->outcome};
    }
    client_lock(client);
    ASSERT(!call->handle.is_done);
    call->handle.is_done = true;
    list_remove(&call->cancelled); /* Too late. */
    holdfast_callback callback = call->callback;
    void *context = call->context;
    while ((waiting = list_pop_front(&call->handle.waiters)) != NULL) {
        struct waiter *waiter = CONTAINER_OF(waiting, struct waiter, waiting);
        waiter->is_done = true;
        pthread_cond_signal(&waiter->done);
    }
    client_unlock(client);
    group_member_done(client, call);
    if (callback != NULL) {
        callback(result, context);
    }
}

void handles_tell_late(struct holdfast *client)
{
    while (true) {
        client_lock(client);
        struct list *first = list_pop_front(&client->thens);
        client_unlock(client);
        if (first == NULL) {
            return;
        }
        struct holdfast_call *call = CONTAINER_OF(first, struct holdfast_call, queue);
        call->callback(&call->handle.result, call->context);
        client_lock(client);
        call_drop(client, call);
        client_unlock(client);
    }
}

/* --- The owner's side ------------------------------------------------------------------------ */

bool holdfast_call_is_done(const struct holdfast_call *call)
{
    struct holdfast *client = call->client;

    client_lock(client);
    ASSERT(call->handle.is_kept);
    bool is_done = call->handle.is_done;
    client_unlock(client);
    return is_done;
}

const struct holdfast_result *holdfast_call_result(const struct holdfast_call *call)
{
    bool is_done = holdfast_call_is_done(call);

    ASSERT(is_done);
    return &call->handle.result;
}

static struct timespec time_in(int64_t wait_ms)
{
    struct timespec time;
    int failed = clock_gettime(CLOCK_MONOTONIC, &time);

    ASSERT(failed == 0);
    int64_t nanoseconds = time.tv_nsec + wait_ms % 1000 * 1000000;
    time.tv_sec += wait_ms / 1000 + nanoseconds / 1000000000;
    time.tv_nsec = nanoseconds % 1000000000;
    return time;
}

static void waiter_open(struct waiter *waiter)
{
    pthread_condattr_t monotonic;
    int failed = pthread_condattr_init(&monotonic);

    ASSERT(failed == 0);
    failed = pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    ASSERT(failed == 0);
    failed = pthread_cond_init(&waiter->done, &monotonic);
    ASSERT(failed == 0);
    (void)pthread_condattr_destroy(&monotonic);
    list_init(&waiter->waiting);
    waiter->is_done = false;
}

/* The mutex is held; `until` NULL: for ever. */
static void wait_until(struct holdfast_call *call, const struct timespec *until)
{
    struct holdfast *client = call->client;
    struct waiter waiter;
    int failed = 0;

    waiter_open(&waiter);
    list_push_back(&call->handle.waiters, &waiter.waiting);
    while (!waiter.is_done && failed == 0) {
        failed = until == NULL ? pthread_cond_wait(&waiter.done, &client->mutex)
                               : pthread_cond_timedwait(&waiter.done, &client->mutex, until);
        ASSERT_VALUES(failed == 0 || failed == ETIMEDOUT, failed, 0);
    }
    list_remove(&waiter.waiting);
    (void)pthread_cond_destroy(&waiter.done);
}

bool holdfast_call_wait(struct holdfast_call *call, int64_t wait_ms)
{
    struct holdfast *client = call->client;
    struct timespec until = time_in(wait_ms > 0 ? wait_ms : 0);

    ASSERT(client->is_threaded);
    client_lock(client);
    ASSERT(call->handle.is_kept);
    if (!call->handle.is_done && wait_ms != 0) {
        ASSERT(client->is_over ||
               !runner_is_within(client->runner)); /* It would wait for itself. */
        wait_until(call, wait_ms < 0 ? NULL : &until);
    }
    bool is_done = call->handle.is_done;
    client_unlock(client);
    return is_done;
}

void holdfast_call_then(struct holdfast_call *call, holdfast_callback callback, void *context)
{
    struct holdfast *client = call->client;

    ASSERT(callback != NULL && callback != holdfast_keep);
    client_lock(client);
    ASSERT(call->handle.is_kept && call->callback == NULL && !client->close_wanted);
    call->callback = callback;
    call->context = context;
    bool is_late = call->handle.is_done;
    if (is_late) {
        call->handle.references++;
        list_push_back(&client->thens, &call->queue);
    }
    client_unlock(client);
    if (is_late) {
        shell_wake(client->shell);
    }
}

void holdfast_call_free(struct holdfast_call *call)
{
    if (call == NULL) {
        return;
    }
    struct holdfast *client = call->client;
    holdfast_cancel(call); /* Nothing, when it is done. */
    client_lock(client);
    ASSERT(call->handle.is_kept && client->handle_count > 0);
    call->handle.is_kept = false;
    client->handle_count--;
    call_drop(client, call);
    bool is_last = client->is_over && client->handle_count == 0;
    client_unlock(client);
    if (is_last) {
        client_destroy(client);
    }
}
