/* jepsen/object.c: groups operations by key, and settles what unknown outcomes can be settled. */
#include "jepsen/object.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "jepsen/model.h"

/* Writers of a value: their place in `required`, before it is split, or one of these. */
enum { WRITER_NONE = UINT32_MAX, WRITER_MANY = UINT32_MAX - 1 };

static void *take(size_t count, size_t size)
{
    return malloc(count * size + 1);
}

enum error objects_open(struct objects *objects, const struct history *history)
{
    uint32_t count = history_operation_count(history);
    uint32_t key_count = history_key_count(history);

    *objects = (struct objects){
        .history = history,
        .numbers = take(count, sizeof(*objects->numbers)),
        .starts = calloc(key_count + 2U, sizeof(*objects->starts)),
        .writers = take(history_value_count(history), sizeof(*objects->writers)),
        .required = take(count, sizeof(*objects->required)),
        .optional = take(count, sizeof(*objects->optional)),
    };
    if (objects->numbers == NULL || objects->starts == NULL || objects->writers == NULL ||
        objects->required == NULL || objects->optional == NULL) {
        return ERR_FULL;
    }
    memset(objects->writers, 0xff, history_value_count(history) * sizeof(*objects->writers));
    /* Counts two places ahead; then the start of each group one ahead, which filling moves on. */
    for (uint32_t i = 0; i < count; i++) {
        objects->starts[history_operation_at(history, i)->key + 2]++;
    }
    for (uint32_t key = 0; key < key_count; key++) {
        objects->starts[key + 2] += objects->starts[key + 1];
    }
    for (uint32_t i = 0; i < count; i++) {
        objects->numbers[objects->starts[history_operation_at(history, i)->key + 1]++] = i;
    }
    return ERR_OK;
}

void objects_close(struct objects *objects)
{
    free(objects->numbers);
    free(objects->starts);
    free(objects->writers);
    free(objects->required);
    free(objects->optional);
}

static bool writes_value(const struct history_operation *operation)
{
    return model_changes(operation) && operation->call.function != HISTORY_DELETE &&
           history_function_object(operation->call.function) != HISTORY_LOCK;
}

/* All operations that count, as if all were required. */
static uint32_t collect(struct objects *objects, uint32_t key, struct object *object)
{
    uint32_t count = 0;

    for (uint32_t i = objects->starts[key]; i < objects->starts[key + 1]; i++) {
        const struct history_operation *operation =
            history_operation_at(objects->history, objects->numbers[i]);
        bool is_known = operation->outcome == HISTORY_OK;
        if (operation->outcome == HISTORY_FAILED || (!is_known && !model_changes(operation))) {
            continue;
        }
        if (writes_value(operation)) {
            uint32_t *writer = &objects->writers[operation->call.value];
            if (*writer != WRITER_NONE && operation->call.function == HISTORY_ADD) {
                object->is_ambiguous = true;
            }
            *writer = *writer == WRITER_NONE ? count : WRITER_MANY;
        }
        objects->required[count++] = (struct object_operation){
            .number = objects->numbers[i],
            .called_at = operation->called_at,
            .answered_at = is_known ? operation->answered_at : HISTORY_NONE,
        };
    }
    return count;
}

/* What is seen by `end` was written by then. */
static void settle(struct objects *objects, history_value seen, uint32_t end)
{
    uint32_t writer = objects->writers[seen];

    if (writer != WRITER_NONE && writer != WRITER_MANY) {
        struct object_operation *wrote = &objects->required[writer];
        /* A known outcome has an end of its own, which only its answer may give. */
        if (history_operation_at(objects->history, wrote->number)->outcome != HISTORY_OK &&
            end < wrote->answered_at) {
            wrote->answered_at = end;
        }
    }
}

static void settle_what_is_seen(struct objects *objects, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        const struct history_operation *operation =
            history_operation_at(objects->history, objects->required[i].number);
        enum history_function function = operation->call.function;
        history_value seen = operation->answer.value;
        if (operation->outcome != HISTORY_OK) {
            continue;
        }
        if (function == HISTORY_GET) {
            settle(objects, seen, operation->answered_at);
        } else if (function == HISTORY_CAS && !operation->answer.refused) {
            settle(objects, operation->call.expected, operation->answered_at);
        } else if (function == HISTORY_MEMBERS || function == HISTORY_ITEMS) {
            for (uint32_t at = 0; at < history_list_count(objects->history, seen); at++) {
                settle(objects, history_list_at(objects->history, seen, at),
                       operation->answered_at);
            }
        }
    }
}

/* An element that one alone added, and that no read saw: the addition can as well never be. */
static bool is_without_effect(const struct objects *objects,
                              const struct history_operation *operation)
{
    return (operation->call.function == HISTORY_ADD ||
            operation->call.function == HISTORY_APPEND) &&
           objects->writers[operation->call.value] != WRITER_MANY;
}

struct object objects_of_key(struct objects *objects, uint32_t key)
{
    struct object object = {.required = objects->required, .optional = objects->optional};
    uint32_t count = collect(objects, key, &object);

    settle_what_is_seen(objects, count);
    for (uint32_t i = 0; i < count; i++) {
        struct object_operation found = objects->required[i];
        const struct history_operation *operation =
            history_operation_at(objects->history, found.number);
        if (found.answered_at != HISTORY_NONE) {
            objects->required[object.required_count++] = found;
        } else if (!is_without_effect(objects, operation)) {
            objects->optional[object.optional_count++] = found;
        }
    }
    for (uint32_t i = objects->starts[key]; i < objects->starts[key + 1]; i++) {
        const struct history_operation *operation =
            history_operation_at(objects->history, objects->numbers[i]);
        if (writes_value(operation)) {
            objects->writers[operation->call.value] = WRITER_NONE;
        }
    }
    return object;
}
