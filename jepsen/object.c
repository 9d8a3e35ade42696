/* jepsen/object.c: groups operations by key, and settles what unknown outcomes can be settled. */
#include "jepsen/object.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "jepsen/model.h"

/* Writers of a value: their place in `required`, before it is split, or one of these. */
enum { WRITER_NONE = UINT32_MAX, WRITER_MANY = UINT32_MAX - 1 };

/* An optional operation, as what it does. */
struct object_effect {
    uint64_t owner;
    uint64_t token;
    uint32_t function;
    history_value value; /* UNSEEN: some value that no answer depends on. */
    history_value expected;
    uint32_t index;
};

enum { UNSEEN = UINT32_MAX };

/* A change whose revision is known. */
struct object_rank {
    uint64_t revision;
    uint32_t index; /* Of the required operation. */
};

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
        .seen = calloc(history_value_count(history), sizeof(*objects->seen)),
        .effects = take(count, sizeof(*objects->effects)),
        .ranks = take(count, sizeof(*objects->ranks)),
        .required = take(count, sizeof(*objects->required)),
        .optional = take(count, sizeof(*objects->optional)),
    };
    if (objects->numbers == NULL || objects->starts == NULL || objects->writers == NULL ||
        objects->seen == NULL || objects->effects == NULL || objects->ranks == NULL ||
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
    free(objects->seen);
    free(objects->effects);
    free(objects->ranks);
    free(objects->required);
    free(objects->optional);
}

static bool writes_value(const struct history_operation *operation)
{
    return model_changes(operation) && operation->call.function != HISTORY_DELETE &&
           history_function_object(operation->call.function) != HISTORY_LOCK;
}

/* An answer depends on the values that it has, and on what was expected. */
static void mark_seen(struct objects *objects, const struct history_operation *operation, bool seen)
{
    history_value answered = operation->answer.value;

    objects->seen[operation->call.expected] = seen;
    if (history_value_is_list(objects->history, answered)) {
        for (uint32_t at = 0; at < history_list_count(objects->history, answered); at++) {
            objects->seen[history_list_at(objects->history, answered, at)] = seen;
        }
    } else {
        objects->seen[answered] = seen;
    }
}

/* All operations that count, as if all were required. */
static uint32_t collect(struct objects *objects, uint32_t key, struct object *object)
{
    uint32_t count = 0;

    for (uint32_t i = objects->starts[key]; i < objects->starts[key + 1]; i++) {
        const struct history_operation *operation =
            history_operation_at(objects->history, objects->numbers[i]);
        bool is_known = operation->outcome == HISTORY_OK;
        bool is_change = model_changes(operation);
        if (operation->outcome == HISTORY_FAILED || (!is_known && !is_change)) {
            continue;
        }
        if (writes_value(operation)) {
            uint32_t *writer = &objects->writers[operation->call.value];
            if (*writer != WRITER_NONE && operation->call.function == HISTORY_ADD) {
                object->is_ambiguous = true;
            }
            *writer = *writer == WRITER_NONE ? count : WRITER_MANY;
        }
        mark_seen(objects, operation, true);
        objects->required[count++] = (struct object_operation){
            .number = objects->numbers[i],
            .called_at = operation->called_at,
            .answered_at = is_known ? operation->answered_at : HISTORY_NONE,
            .previous = HISTORY_NONE,
            .seen = HISTORY_NONE,
            .revision = is_known && is_change ? operation->answer.revision : 0,
            .rank = HISTORY_NONE,
            .item_at = HISTORY_NONE,
        };
    }
    return count;
}

/* The one operation that wrote the value; NULL when there is none, or more than one. */
static struct object_operation *only_writer(struct objects *objects, history_value value)
{
    uint32_t writer = objects->writers[value];

    return writer == WRITER_NONE || writer == WRITER_MANY ? NULL : &objects->required[writer];
}

/* What was seen by the end of the reader was written by then. */
static void settle(struct object_operation *writer, const struct object_operation *reader)
{
    if (reader->answered_at < writer->answered_at) {
        writer->answered_at = reader->answered_at;
    }
}

static void settle_value(struct objects *objects, struct object_operation *reader,
                         history_value value)
{
    const struct history_operation *operation =
        history_operation_at(objects->history, reader->number);
    struct object_operation *writer = only_writer(objects, value);

    if (writer != NULL) {
        settle(writer, reader);
        reader->seen = value;
        if (writer->revision == 0 && operation->call.function == HISTORY_GET) {
            writer->revision = operation->answer.revision;
        }
    }
}

static void settle_list(struct objects *objects, const struct object_operation *reader,
                        history_value list, bool is_ordered)
{
    for (uint32_t at = 0; at < history_list_count(objects->history, list); at++) {
        struct object_operation *writer =
            only_writer(objects, history_list_at(objects->history, list, at));
        if (writer != NULL) {
            settle(writer, reader);
            writer->item_at = is_ordered ? at : HISTORY_NONE;
        }
    }
}

static void settle_what_is_seen(struct objects *objects, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct object_operation *reader = &objects->required[i];
        const struct history_operation *operation =
            history_operation_at(objects->history, reader->number);
        enum history_function function = operation->call.function;
        if (operation->outcome != HISTORY_OK) {
            continue;
        }
        if (function == HISTORY_GET) {
            settle_value(objects, reader, operation->answer.value);
        } else if (function == HISTORY_CAS && !operation->answer.refused) {
            settle_value(objects, reader, operation->call.expected);
        } else if (function == HISTORY_MEMBERS || function == HISTORY_ITEMS) {
            settle_list(objects, reader, operation->answer.value, function == HISTORY_ITEMS);
        }
    }
}

/* An element that no read saw: its addition can as well never be. */
static bool is_without_effect(const struct objects *objects,
                              const struct history_operation *operation)
{
    return (operation->call.function == HISTORY_ADD ||
            operation->call.function == HISTORY_APPEND) &&
           !objects->seen[operation->call.value];
}

static int compare_effects(const void *left, const void *right)
{
    const struct object_effect *a = left;
    const struct object_effect *b = right;

    /* Everything but the index, which is last. */
    int order = memcmp(a, b, offsetof(struct object_effect, index));
    return order != 0 ? order : a->index < b->index ? -1 : a->index > b->index ? 1 : 0;
}

/* Links those of the optional operations that have the same effect. */
static void link_effects(struct objects *objects, uint32_t count)
{
    struct object_effect *effects = objects->effects;

    for (uint32_t i = 0; i < count; i++) {
        const struct history_call *call =
            &history_operation_at(objects->history, objects->optional[i].number)->call;
        bool is_seen = objects->seen[call->value] || call->value == HISTORY_ABSENT;
        effects[i] = (struct object_effect){
            .owner = call->owner,
            .token = call->token,
            .function = (uint32_t)call->function,
            .value = is_seen ? call->value : (history_value)UNSEEN,
            .expected = call->expected,
            .index = i,
        };
        objects->optional[i].previous = HISTORY_NONE;
    }
    qsort(effects, count, sizeof(*effects), compare_effects);
    for (uint32_t i = 1; i < count; i++) {
        if (memcmp(&effects[i - 1], &effects[i], offsetof(struct object_effect, index)) == 0) {
            objects->optional[effects[i].index].previous = effects[i - 1].index;
        }
    }
}

static int compare_ranks(const void *left, const void *right)
{
    const struct object_rank *a = left;
    const struct object_rank *b = right;

    if (a->revision != b->revision) {
        return a->revision < b->revision ? -1 : 1;
    }
    return a->index < b->index ? -1 : a->index > b->index ? 1 : 0;
}

/* Revisions of other objects name entries of the log as well, but not always changes. */
static void rank_changes(struct objects *objects, uint32_t key, uint32_t required_count)
{
    uint32_t count = 0;

    if (history_key_object(objects->history, key) != HISTORY_REGISTER) {
        return;
    }
    for (uint32_t i = 0; i < required_count; i++) {
        if (objects->required[i].revision != 0) {
            objects->ranks[count++] =
                (struct object_rank){.revision = objects->required[i].revision, .index = i};
        }
    }
    qsort(objects->ranks, count, sizeof(*objects->ranks), compare_ranks);
    for (uint32_t rank = 0; rank < count; rank++) {
        objects->required[objects->ranks[rank].index].rank = rank;
    }
}

static void forget(struct objects *objects, uint32_t key)
{
    for (uint32_t i = objects->starts[key]; i < objects->starts[key + 1]; i++) {
        const struct history_operation *operation =
            history_operation_at(objects->history, objects->numbers[i]);
        objects->writers[operation->call.value] = WRITER_NONE;
        mark_seen(objects, operation, false);
    }
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
    link_effects(objects, object.optional_count);
    rank_changes(objects, key, object.required_count);
    forget(objects, key);
    return object;
}
