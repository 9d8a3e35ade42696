/* client/transact.c: transactions: what was passed as maps, and what came back in its order. */
#include <string.h>

#include "client/client.h"
#include "client/slot.h"

enum {
    KEY_SIZE_MAX = 480,
    VALUE_SIZE_MAX = 524288,
    ITEM_OVERHEAD = 128, /* What a map has besides its key and value. */
    /* Of all maps: the rest of the message is the envelope and the names of the lists. */
    ITEMS_SIZE_MAX = WIRE_FRAME_SIZE_MAX - 1024,
};

static const char *test_name(enum holdfast_test test)
{
    switch (test) {
    case HOLDFAST_EXISTS:
        return "exists";
    case HOLDFAST_ABSENT:
        return "absent";
    case HOLDFAST_EQUAL:
        return "equal";
    case HOLDFAST_REVISION_EQUAL:
        return "revision_equal";
    case HOLDFAST_REVISION_LESS:
        return "revision_less";
    case HOLDFAST_REVISION_GREATER:
        return "revision_greater";
    }
    return NULL;
}

static const char *action_name(enum holdfast_action action)
{
    switch (action) {
    case HOLDFAST_PUT:
    case HOLDFAST_BIND:
        return "put";
    case HOLDFAST_DELETE:
        return "delete";
    case HOLDFAST_GET:
        return "get";
    }
    return NULL;
}

static void refuse_malformed(struct holdfast_call *call)
{
    if (call->refusal == ERR_OK) {
        call->refusal = ERR_MALFORMED;
    }
}

/* --- Sizes ------------------------------------------------------------------------------------ */

static size_t check_compares(struct holdfast_call *call,
                             const struct holdfast_transaction *transaction)
{
    size_t size = 0;

    for (size_t i = 0; i < transaction->compare_count && call->refusal == ERR_OK; i++) {
        const struct holdfast_compare *compare = &transaction->compares[i];
        bool fits = slot_check_name(call, compare->key_size, KEY_SIZE_MAX) &&
                    slot_check_size(call, compare->value_size, VALUE_SIZE_MAX);

        if (fits && test_name(compare->test) == NULL) {
            refuse_malformed(call);
        }
        size += ITEM_OVERHEAD + compare->key_size;
        size += compare->test == HOLDFAST_EQUAL ? compare->value_size : 0;
    }
    return size;
}

static bool has_value(enum holdfast_action action)
{
    return action == HOLDFAST_PUT || action == HOLDFAST_BIND;
}

static size_t check_operations(struct holdfast_call *call,
                               const struct holdfast_operation *operations, size_t count)
{
    size_t size = 0;

    for (size_t i = 0; i < count && call->refusal == ERR_OK; i++) {
        const struct holdfast_operation *operation = &operations[i];
        bool fits = slot_check_name(call, operation->key_size, KEY_SIZE_MAX) &&
                    slot_check_size(call, operation->value_size, VALUE_SIZE_MAX);
        bool is_known = action_name(operation->action) != NULL &&
                        (operation->action != HOLDFAST_BIND || call->core.session != NULL);

        if (fits && !is_known) {
            refuse_malformed(call);
        }
        size += ITEM_OVERHEAD + operation->key_size;
        size += has_value(operation->action) ? operation->value_size : 0;
    }
    return size;
}

/* --- Maps ------------------------------------------------------------------------------------- */

static struct wire_items encode_compares(const struct holdfast_transaction *transaction,
                                         struct buffer *buffer)
{
    size_t begin = buffer->size;

    for (size_t i = 0; i < transaction->compare_count; i++) {
        const struct holdfast_compare *compare = &transaction->compares[i];
        struct wire_compare item = {.key = bytes_of(compare->key, compare->key_size),
                                    .test = bytes_of_text(test_name(compare->test)),
                                    .revision = compare->revision};

        if (compare->test == HOLDFAST_EQUAL) {
            item.value = bytes_of(compare->value, compare->value_size);
        }
        bool fits = wire_compare_encode(&item, buffer);
        ASSERT_VALUES(fits, buffer->size, buffer->capacity);
    }
    return (struct wire_items){.raw = bytes_of(buffer->data + begin, buffer->size - begin),
                               .count = (uint32_t)transaction->compare_count};
}

static struct wire_items encode_operations(const struct holdfast_operation *operations,
                                           size_t count, struct buffer *buffer)
{
    size_t begin = buffer->size;

    for (size_t i = 0; i < count; i++) {
        const struct holdfast_operation *operation = &operations[i];
        struct wire_operation item = {.action = bytes_of_text(action_name(operation->action)),
                                      .key = bytes_of(operation->key, operation->key_size),
                                      .bind = operation->action == HOLDFAST_BIND};

        if (has_value(operation->action)) {
            item.value = bytes_of(operation->value, operation->value_size);
        }
        bool fits = wire_operation_encode(&item, buffer);
        ASSERT_VALUES(fits, buffer->size, buffer->capacity);
    }
    return (struct wire_items){.raw = bytes_of(buffer->data + begin, buffer->size - begin),
                               .count = (uint32_t)count};
}

struct holdfast_call *holdfast_transact(struct holdfast *client, struct holdfast_session *session,
                                        const struct holdfast_transaction *transaction,
                                        holdfast_callback callback, void *context)
{
    struct holdfast_call *call = slot_take(client, WIRE_METHOD_transact, callback, context);

    if (call == NULL) {
        return NULL;
    }
    call->core.session = session == NULL ? NULL : &session->core;
    if (!slot_check_size(call, transaction->compare_count, HOLDFAST_TRANSACTION_COUNT_MAX) ||
        !slot_check_size(call, transaction->success_count, HOLDFAST_TRANSACTION_COUNT_MAX) ||
        !slot_check_size(call, transaction->failure_count, HOLDFAST_TRANSACTION_COUNT_MAX)) {
        return slot_submit(call);
    }
    size_t size = check_compares(call, transaction);
    size += check_operations(call, transaction->success, transaction->success_count);
    size += check_operations(call, transaction->failure, transaction->failure_count);
    if (slot_check_size(call, size, ITEMS_SIZE_MAX) && slot_reserve(call, size)) {
        struct buffer buffer = slot_buffer(call, size);
        struct wire_transact *request = &call->core.request.transact;

        request->compares = encode_compares(transaction, &buffer);
        request->success =
            encode_operations(transaction->success, transaction->success_count, &buffer);
        request->failure =
            encode_operations(transaction->failure, transaction->failure_count, &buffer);
    }
    return slot_submit(call);
}

/* --- Results ---------------------------------------------------------------------------------- */

/* A get takes the next of the pairs that were found. False when the answer has none for it. */
static bool take_pair(struct wire_items *pairs, struct holdfast_operation_result *to)
{
    struct wire_pair pair;

    if (pairs->count == 0 || wire_pair_decode(&pairs->raw, &pair) != ERR_OK) {
        return false;
    }
    pairs->count--;
    to->pair.value = pair.value.data;
    to->pair.value_size = pair.value.size;
    to->pair.revision = pair.revision;
    to->pair.session = pair.session;
    return true;
}

void transact_result(struct client_scratch *scratch, const struct core_call *call,
                     struct holdfast_result *result)
{
    const struct wire_transact_result *answer = &call->answer.transact;
    struct wire_items items =
        answer->succeeded ? call->request.transact.success : call->request.transact.failure;
    struct wire_items pairs = answer->pairs;
    struct wire_operation operation;

    result->succeeded = answer->succeeded;
    result->revision = answer->revision;
    for (uint32_t i = 0; i < items.count; i++) {
        struct holdfast_operation_result *to = &scratch->operations[i];
        enum error error = wire_operation_decode(&items.raw, &operation);
        bool is_get = bytes_equal(operation.action, bytes_of_text("get"));

        ASSERT_VALUES(error == ERR_OK, error, i);
        *to = (struct holdfast_operation_result){
            .pair = {.key = operation.key.data, .key_size = operation.key.size},
            .found = (answer->found >> i & 1) != 0};
        if (is_get && to->found) {
            to->value_is_lost = !take_pair(&pairs, to);
        } else if (bytes_equal(operation.action, bytes_of_text("put"))) {
            to->pair.revision = answer->revision;
        }
        result->operation_count++;
    }
    result->operations = scratch->operations;
}
