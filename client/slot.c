/* client/slot.c: slots of calls: taking one, copies of what was passed, the queue of what was
 * asked.
 */
#include "client/slot.h"

#include <stdlib.h>
#include <string.h>

struct holdfast_call *slot_take(struct holdfast *client, enum wire_method method,
                                holdfast_callback callback, void *context)
{
    ASSERT(client != NULL);
    client_lock(client);
    struct list *first = list_pop_front(&client->free_calls);
    client_unlock(client);
    if (first == NULL) {
        return NULL;
    }
    struct holdfast_call *call = CONTAINER_OF(first, struct holdfast_call, queue);
    memset(&call->core.request, 0, sizeof call->core.request);
    call->core.method = method;
    call->core.session = NULL;
    call->core.wait_ms = 0;
    call->core.timeout_ms = client->timeout_ms;
    call->callback = callback;
    call->context = context;
    call->refusal = ERR_OK;
    call->storage_size = 0;
    ASSERT(call->large == NULL);
    return call;
}

/* The mutex is held, or not needed. */
void call_release(struct holdfast *client, struct holdfast_call *call)
{
    list_remove(&call->cancelled);
    client->large_size -= call->large_size;
    free(call->large);
    call->large = NULL;
    call->large_size = 0;
    list_push_front(&client->free_calls, &call->queue);
}

bool slot_reserve(struct holdfast_call *call, size_t size)
{
    struct holdfast *client = call->client;

    ASSERT(call->large == NULL && call->storage_size == 0);
    if (size <= CLIENT_STORAGE_SIZE) {
        return true;
    }
    client_lock(client);
    bool fits = client->large_size + size <= CLIENT_LARGE_SIZE_MAX;
    client->large_size += fits ? size : 0;
    client_unlock(client);
    if (!fits) {
        call->refusal = ERR_OVERLOADED;
        return false;
    }
    call->large_size = size;
    call->large = calloc(1, size);
    if (call->large == NULL) {
        call->refusal = ERR_OVERLOADED;
        return false;
    }
    return true;
}

struct bytes slot_keep(struct holdfast_call *call, const void *data, size_t size)
{
    uint8_t *memory = call->large != NULL ? call->large : call->storage;
    uint8_t *copy = memory + call->storage_size;

    ASSERT(call->storage_size + size <=
           (call->large != NULL ? call->large_size : CLIENT_STORAGE_SIZE));
    if (size != 0) {
        memcpy(copy, data, size);
    }
    call->storage_size += size;
    return bytes_of(copy, size);
}

struct buffer slot_buffer(struct holdfast_call *call, size_t size)
{
    ASSERT(call->storage_size == 0);
    ASSERT(size <= (call->large != NULL ? call->large_size : CLIENT_STORAGE_SIZE));
    call->storage_size = size;
    return buffer_of(call->large != NULL ? call->large : call->storage, size);
}

bool slot_check_size(struct holdfast_call *call, size_t size, size_t limit)
{
    if (size > limit && call->refusal == ERR_OK) {
        call->refusal = ERR_TOO_LARGE;
    }
    return call->refusal == ERR_OK;
}

bool slot_check_name(struct holdfast_call *call, size_t size, size_t limit)
{
    if (size == 0 && call->refusal == ERR_OK) {
        call->refusal = ERR_MALFORMED;
    }
    return slot_check_size(call, size, limit);
}

struct holdfast_call *slot_submit(struct holdfast_call *call)
{
    struct holdfast *client = call->client;

    client_lock(client);
    list_push_back(&client->submitted, &call->queue);
    client_unlock(client);
    shell_wake(client->shell);
    return call;
}

void holdfast_cancel(struct holdfast_call *call)
{
    struct holdfast *client = call->client;

    client_lock(client);
    if (!list_is_linked(&call->cancelled)) {
        list_push_back(&client->cancelled, &call->cancelled);
    }
    client_unlock(client);
    shell_wake(client->shell);
}
