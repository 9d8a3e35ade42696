/* client/sync.c: calls that wait: each a handle that is waited for and freed. */
#include <stdlib.h>
#include <string.h>

#include "client/client.h"

/* Waits for `call`; NULL: there was no slot for it. The number is a token or a revision. */
static enum holdfast_status wait_for(struct holdfast_call *call, uint64_t *number)
{
    if (call == NULL) {
        return HOLDFAST_OVERLOADED;
    }
    bool is_done = holdfast_call_wait(call, -1);
    ASSERT(is_done);
    const struct holdfast_result *result = holdfast_call_result(call);
    enum holdfast_status status = result->status;
    if (number != NULL && status == HOLDFAST_OK) {
        *number = result->token != 0 ? result->token : result->revision;
    }
    holdfast_call_free(call);
    return status;
}

/* One byte more: an empty value is not NULL either. */
static enum holdfast_status copy_value(const struct holdfast_result *result, void **value,
                                       size_t *value_size)
{
    *value = calloc(1, result->value_size + 1);
    if (*value == NULL) {
        return HOLDFAST_OVERLOADED;
    }
    if (result->value_size != 0) {
        memcpy(*value, result->value, result->value_size);
    }
    *value_size = result->value_size;
    return HOLDFAST_OK;
}

enum holdfast_status holdfast_put_sync(struct holdfast *client, const void *key, size_t key_size,
                                       const void *value, size_t value_size, uint64_t *revision)
{
    return wait_for(holdfast_put(client, key, key_size, value, value_size, holdfast_keep, NULL),
                    revision);
}

enum holdfast_status holdfast_get_sync(struct holdfast *client, const void *key, size_t key_size,
                                       void **value, size_t *value_size, uint64_t *revision)
{
    struct holdfast_call *call = holdfast_get(client, key, key_size, holdfast_keep, NULL);
    enum holdfast_status status = HOLDFAST_OK;

    if (value != NULL) {
        *value = NULL;
        *value_size = 0;
        if (call != NULL && holdfast_call_wait(call, -1) &&
            holdfast_call_result(call)->status == HOLDFAST_OK) {
            status = copy_value(holdfast_call_result(call), value, value_size);
        }
    }
    enum holdfast_status answer = wait_for(call, revision);
    return answer == HOLDFAST_OK ? status : answer;
}

enum holdfast_status holdfast_delete_sync(struct holdfast *client, const void *key, size_t key_size)
{
    return wait_for(holdfast_delete(client, key, key_size, holdfast_keep, NULL), NULL);
}

enum holdfast_status holdfast_cas_sync(struct holdfast *client, const struct holdfast_pair *pair,
                                       const void *expected, size_t expected_size,
                                       uint64_t *revision)
{
    return wait_for(holdfast_cas(client, pair, expected, expected_size, holdfast_keep, NULL),
                    revision);
}

enum holdfast_status holdfast_session_open_sync(struct holdfast *client,
                                                const struct holdfast_session_options *options,
                                                struct holdfast_session **session)
{
    return wait_for(holdfast_session_open(client, options, session, holdfast_keep, NULL), NULL);
}

enum holdfast_status holdfast_session_end_sync(struct holdfast_session *session)
{
    return wait_for(holdfast_session_end(session, holdfast_keep, NULL), NULL);
}

enum holdfast_status holdfast_lock_acquire_sync(struct holdfast_session *session, const void *name,
                                                size_t name_size, int64_t wait_ms, uint64_t *token)
{
    return wait_for(holdfast_lock_acquire(session, name, name_size, wait_ms, holdfast_keep, NULL),
                    token);
}

enum holdfast_status holdfast_lock_release_sync(struct holdfast_session *session, const void *name,
                                                size_t name_size, uint64_t token)
{
    return wait_for(holdfast_lock_release(session, name, name_size, token, holdfast_keep, NULL),
                    NULL);
}

void holdfast_free(void *value)
{
    free(value);
}
