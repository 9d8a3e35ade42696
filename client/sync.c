/* client/sync.c: calls that wait: a callback on the client's thread wakes the caller. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "client/client.h"

struct waiter {
    pthread_mutex_t mutex;
    pthread_cond_t done;
    bool is_done;
    bool wants_value;
    enum holdfast_status status;
    uint64_t number; /* Revision or token. */
    void *value;
    size_t value_size;
};

static void waiter_open(struct waiter *waiter)
{
    memset(waiter, 0, sizeof *waiter);
    int failed = pthread_mutex_init(&waiter->mutex, NULL);
    ASSERT(failed == 0);
    failed = pthread_cond_init(&waiter->done, NULL);
    ASSERT(failed == 0);
}

static void copy_value(struct waiter *waiter, const struct holdfast_result *result)
{
    /* One byte more: an empty value is not NULL either. */
    waiter->value = calloc(1, result->value_size + 1);
    if (waiter->value == NULL) {
        waiter->status = HOLDFAST_OVERLOADED;
        return;
    }
    if (result->value_size != 0) {
        memcpy(waiter->value, result->value, result->value_size);
    }
    waiter->value_size = result->value_size;
}

static void on_result(const struct holdfast_result *result, void *context)
{
    struct waiter *waiter = context;

    pthread_mutex_lock(&waiter->mutex);
    ASSERT(!waiter->is_done);
    waiter->status = result->status;
    waiter->number = result->token != 0 ? result->token : result->revision;
    if (waiter->wants_value && result->status == HOLDFAST_OK) {
        copy_value(waiter, result);
    }
    waiter->is_done = true;
    pthread_cond_signal(&waiter->done);
    pthread_mutex_unlock(&waiter->mutex);
}

/* Waits for the callback of `call`; NULL: there was no slot for it. */
static enum holdfast_status wait_for(struct waiter *waiter, const struct holdfast_call *call)
{
    if (call == NULL) {
        waiter->status = HOLDFAST_OVERLOADED;
    } else {
        pthread_mutex_lock(&waiter->mutex);
        while (!waiter->is_done) {
            pthread_cond_wait(&waiter->done, &waiter->mutex);
        }
        pthread_mutex_unlock(&waiter->mutex);
    }
    pthread_cond_destroy(&waiter->done);
    pthread_mutex_destroy(&waiter->mutex);
    return waiter->status;
}

static void give_number(const struct waiter *waiter, uint64_t *number)
{
    if (number != NULL && waiter->status == HOLDFAST_OK) {
        *number = waiter->number;
    }
}

enum holdfast_status holdfast_put_sync(struct holdfast *client, const void *key, size_t key_size,
                                       const void *value, size_t value_size, uint64_t *revision)
{
    struct waiter waiter;

    ASSERT(client->is_threaded);
    waiter_open(&waiter);
    wait_for(&waiter, holdfast_put(client, key, key_size, value, value_size, on_result, &waiter));
    give_number(&waiter, revision);
    return waiter.status;
}

enum holdfast_status holdfast_get_sync(struct holdfast *client, const void *key, size_t key_size,
                                       void **value, size_t *value_size, uint64_t *revision)
{
    struct waiter waiter;

    ASSERT(client->is_threaded);
    waiter_open(&waiter);
    waiter.wants_value = value != NULL;
    wait_for(&waiter, holdfast_get(client, key, key_size, on_result, &waiter));
    if (value != NULL) {
        *value = waiter.value;
        *value_size = waiter.value_size;
    }
    give_number(&waiter, revision);
    return waiter.status;
}

enum holdfast_status holdfast_delete_sync(struct holdfast *client, const void *key, size_t key_size)
{
    struct waiter waiter;

    ASSERT(client->is_threaded);
    waiter_open(&waiter);
    return wait_for(&waiter, holdfast_delete(client, key, key_size, on_result, &waiter));
}

enum holdfast_status holdfast_cas_sync(struct holdfast *client, const struct holdfast_pair *pair,
                                       const void *expected, size_t expected_size,
                                       uint64_t *revision)
{
    struct waiter waiter;

    ASSERT(client->is_threaded);
    waiter_open(&waiter);
    wait_for(&waiter, holdfast_cas(client, pair, expected, expected_size, on_result, &waiter));
    give_number(&waiter, revision);
    return waiter.status;
}

enum holdfast_status holdfast_session_open_sync(struct holdfast *client,
                                                const struct holdfast_session_options *options,
                                                struct holdfast_session **session)
{
    struct waiter waiter;

    ASSERT(client->is_threaded);
    waiter_open(&waiter);
    return wait_for(&waiter, holdfast_session_open(client, options, session, on_result, &waiter));
}

enum holdfast_status holdfast_session_end_sync(struct holdfast_session *session)
{
    struct waiter waiter;

    ASSERT(session->client->is_threaded);
    waiter_open(&waiter);
    return wait_for(&waiter, holdfast_session_end(session, on_result, &waiter));
}

enum holdfast_status holdfast_lock_acquire_sync(struct holdfast_session *session, const void *name,
                                                size_t name_size, int64_t wait_ms, uint64_t *token)
{
    struct waiter waiter;

    ASSERT(session->client->is_threaded);
    waiter_open(&waiter);
    wait_for(&waiter, holdfast_lock_acquire(session, name, name_size, wait_ms, on_result, &waiter));
    give_number(&waiter, token);
    return waiter.status;
}

enum holdfast_status holdfast_lock_release_sync(struct holdfast_session *session, const void *name,
                                                size_t name_size, uint64_t token)
{
    struct waiter waiter;

    ASSERT(session->client->is_threaded);
    waiter_open(&waiter);
    return wait_for(&waiter,
                    holdfast_lock_release(session, name, name_size, token, on_result, &waiter));
}

void holdfast_free(void *value)
{
    free(value);
}
