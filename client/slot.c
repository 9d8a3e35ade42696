/* client/slot.c: slots of calls: taking one, copies of what was passed, the queue of what was
 * asked.
 */
#include "client/slot.h"

#include <stdlib.h>
#include <string.h>

/* The mutex is held, or not needed. NULL: there are no more. */
static struct holdfast_call *take_free(struct holdfast *client)
{
    struct list *first = list_pop_front(&client->free_calls);

    if (first != NULL) {
        return CONTAINER_OF(first, struct holdfast_call, queue);
    }
    if (client->call_count == CLIENT_CALL_COUNT_MAX + CLIENT_REFUSED_COUNT_MAX) {
        return NULL;
    }
    struct holdfast_call *call = &client->calls[client->call_count];
    call->core.slot = client->call_count;
    call->client = client;
    list_init(&call->queue);
    list_init(&call->cancelled);
    list_init(&call->handle.waiters);
    list_init(&call->group.timed);
    list_init(&call->group.members);
    list_init(&call->group.member);
    client->call_count++;
    return call;
}

struct holdfast_call *slot_take(struct holdfast *client, enum wire_method method,
                                holdfast_callback callback, void *context)
{
    ASSERT(client != NULL);
    bool is_kept = callback == holdfast_keep;

    client_lock(client);
    struct holdfast_call *call = client->close_wanted ? NULL : take_free(client);
    client->handle_count += call != NULL && is_kept;
    client_unlock(client);
    if (call == NULL) {
        return NULL;
    }
    call->handle.is_kept = is_kept;
    call->handle.is_done = false;
    call->handle.references = is_kept ? 2 : 1;
    call->group.kind = GROUP_NONE;
    memset(&call->core.request, 0, sizeof call->core.request);
    call->core.method = method;
    call->core.session = NULL;
    call->core.wait_ms = 0;
    call->core.timeout_ms = client->timeout_ms;
    call->core.body = bytes_of(NULL, 0);
    call->callback = is_kept ? NULL : callback;
    call->context = context;
    call->refusal = ERR_OK;
    call->storage_size = 0;
    ASSERT(call->large == NULL);
    return call;
}

/* The mutex is held, or not needed. */
static void release(struct holdfast *client, struct holdfast_call *call)
{
    list_remove(&call->cancelled);
    ASSERT(list_is_empty(&call->handle.waiters) && call->group.parent == NULL);
    client->large_size -= call->large_size + call->handle.size;
    free(call->large);
    free(call->handle.memory);
    call->large = NULL;
    call->large_size = 0;
    call->handle.memory = NULL;
    call->handle.size = 0;
    list_push_front(&client->free_calls, &call->queue);
}

void call_drop(struct holdfast *client, struct holdfast_call *call)
{
    ASSERT(call->handle.references > 0);
    call->handle.references--;
    if (call->handle.references == 0) {
        release(client, call);
    }
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

bool slot_check_lock(struct holdfast_call *call, const void *name, size_t size)
{
    if (slot_check_name(call, size, LOCK_NAME_SIZE_MAX) && *(const uint8_t *)name == 0) {
        call->refusal = ERR_MALFORMED;
    }
    return call->refusal == ERR_OK;
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
    bool is_late = call->handle.is_done;
    if (!is_late && !list_is_linked(&call->cancelled)) {
        list_push_back(&client->cancelled, &call->cancelled);
    }
    client_unlock(client);
    if (!is_late) {
        shell_wake(client->shell);
    }
}
