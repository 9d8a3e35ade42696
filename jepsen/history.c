/* jepsen/history.c: the record itself. Keys and values are kept once and known by number. */
#include "jepsen/history.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/checksum.h"

/* Calls and answers are numbered with 32 bits, HISTORY_NONE excluded. */
enum { OPERATION_COUNT_LIMIT = 1 << 30 };

enum value_kind { VALUE_ABSENT, VALUE_BYTES, VALUE_LIST };

/* A key or a value. */
struct item {
    size_t at; /* In the text. */
    size_t size;
    uint32_t kind; /* enum history_object of a key, enum value_kind of a value. */
};

/* Items by number, and the numbers by content: a table with open addressing. */
struct items {
    struct item *all;
    uint32_t count;
    uint32_t count_max;
    uint32_t *slots; /* Number + 1; 0: free. */
    uint32_t slot_count;
};

struct digests {
    struct history_digest members;
    struct history_digest items;
};

struct history {
    struct history_limits limits;
    struct history_operation *operations;
    uint32_t operation_count;
    uint32_t event_count;
    uint64_t last_ns;
    uint32_t *outstanding; /* By process: its operation, or HISTORY_NONE. */
    struct items keys;
    struct items values;
    struct digests *digests; /* By value; of lists only. */
    struct buffer text;
};

static bool items_open(struct items *items, uint32_t count_max)
{
    uint32_t slot_count = 16;

    while (slot_count / 2 < count_max) {
        slot_count *= 2;
    }
    *items = (struct items){.count_max = count_max, .slot_count = slot_count};
    items->all = malloc((size_t)count_max * sizeof(*items->all));
    items->slots = calloc(slot_count, sizeof(*items->slots));
    return items->all != NULL && items->slots != NULL;
}

static void items_close(struct items *items)
{
    free(items->all);
    free(items->slots);
}

static uint32_t items_append(struct items *items, struct item item)
{
    ASSERT_VALUES(items->count < items->count_max, items->count, items->count_max);
    items->all[items->count] = item;
    return items->count++;
}

/* The slot of the item with this kind and content, or the free one where it belongs. */
static uint32_t *items_find(const struct items *items, const struct buffer *text, uint32_t kind,
                            struct bytes content)
{
    uint32_t at = (uint32_t)checksum(content, kind) & (items->slot_count - 1);

    while (items->slots[at] != 0) {
        const struct item *item = &items->all[items->slots[at] - 1];
        if (item->kind == kind &&
            bytes_equal(bytes_of(text->data + item->at, item->size), content)) {
            break;
        }
        at = (at + 1) & (items->slot_count - 1);
    }
    return &items->slots[at];
}

/* The number of the item, which is added if it is new. */
static enum error items_intern(struct items *items, struct buffer *text, uint32_t kind,
                               struct bytes content, uint32_t *number)
{
    uint32_t *slot = items_find(items, text, kind, content);

    if (*slot == 0) {
        size_t at = text->size;
        if (items->count == items->count_max || !buffer_append(text, content)) {
            return ERR_FULL;
        }
        *slot =
            1 + items_append(items, (struct item){.at = at, .size = content.size, .kind = kind});
    }
    *number = *slot - 1;
    return ERR_OK;
}

static struct bytes items_content(const struct items *items, const struct buffer *text,
                                  uint32_t number)
{
    ASSERT_VALUES(number < items->count, number, items->count);
    return bytes_of(text->data + items->all[number].at, items->all[number].size);
}

struct history *history_open(const struct history_limits *limits)
{
    ASSERT(limits->operation_count_max <= OPERATION_COUNT_LIMIT);
    ASSERT(limits->key_count_max <= OPERATION_COUNT_LIMIT);
    ASSERT(limits->value_count_max < OPERATION_COUNT_LIMIT);
    struct history *history = calloc(1, sizeof(*history));
    if (history == NULL) {
        return NULL;
    }
    history->limits = *limits;
    history->operations = malloc(limits->operation_count_max * sizeof(*history->operations) + 1);
    history->outstanding = malloc(limits->process_count_max * sizeof(*history->outstanding) + 1);
    history->digests = malloc((limits->value_count_max + 1U) * sizeof(*history->digests));
    history->text = buffer_of(malloc(limits->text_size_max + 1), limits->text_size_max);
    bool complete = items_open(&history->keys, limits->key_count_max + 1);
    complete = items_open(&history->values, limits->value_count_max + 1) && complete;
    if (!complete || history->operations == NULL || history->outstanding == NULL ||
        history->digests == NULL || history->text.data == NULL) {
        history_close(history);
        return NULL;
    }
    memset(history->outstanding, 0xff, limits->process_count_max * sizeof(*history->outstanding));
    (void)items_append(&history->values, (struct item){.kind = VALUE_ABSENT});
    return history;
}

void history_close(struct history *history)
{
    if (history == NULL) {
        return;
    }
    free(history->operations);
    free(history->outstanding);
    free(history->digests);
    free(history->text.data);
    items_close(&history->keys);
    items_close(&history->values);
    free(history);
}

static bool is_kind(const struct history *history, history_value value, enum value_kind kind)
{
    return value < history->values.count && history->values.all[value].kind == (uint32_t)kind;
}

enum error history_value_of(struct history *history, struct bytes bytes, history_value *value)
{
    return items_intern(&history->values, &history->text, VALUE_BYTES, bytes, value);
}

/* Appends the numbers of the values where the list will be, to be compared with others. */
static enum error write_list(struct history *history, const history_value *values, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (!is_kind(history, values[i], VALUE_BYTES)) {
            return ERR_INVALID;
        }
        uint8_t *at = buffer_extend(&history->text, sizeof(uint32_t));
        if (at == NULL) {
            return ERR_FULL;
        }
        store_u32(at, values[i]);
    }
    return ERR_OK;
}

enum error history_list_of(struct history *history, const history_value *values, uint32_t count,
                           history_value *list)
{
    size_t start = history->text.size;
    enum error error = write_list(history, values, count);

    if (error == ERR_OK) {
        struct bytes content = bytes_of(history->text.data + start, history->text.size - start);
        uint32_t *slot = items_find(&history->values, &history->text, VALUE_LIST, content);
        if (*slot != 0) {
            *list = *slot - 1;
        } else if (history->values.count == history->values.count_max) {
            error = ERR_FULL;
        } else {
            *list =
                items_append(&history->values,
                             (struct item){.at = start, .size = content.size, .kind = VALUE_LIST});
            *slot = *list + 1;
            struct digests *digests = &history->digests[*list];
            *digests = (struct digests){{.count = 0}, {.count = 0}};
            for (uint32_t i = 0; i < count; i++) {
                history_digest_add_member(&digests->members, values[i]);
                history_digest_add_item(&digests->items, values[i]);
            }
            return ERR_OK;
        }
    }
    history->text.size = start;
    return error;
}

static bool call_is_valid(const struct history *history, const struct history_call *call)
{
    switch (call->function) {
    case HISTORY_PUT:
    case HISTORY_ADD:
    case HISTORY_APPEND:
        return is_kind(history, call->value, VALUE_BYTES);
    case HISTORY_CAS:
        return is_kind(history, call->value, VALUE_BYTES) &&
               (call->expected == HISTORY_ABSENT || is_kind(history, call->expected, VALUE_BYTES));
    case HISTORY_ACQUIRE:
    case HISTORY_RELEASE:
        return call->owner != 0;
    case HISTORY_GET:
    case HISTORY_DELETE:
    case HISTORY_MEMBERS:
    case HISTORY_ITEMS:
        return true;
    case HISTORY_FUNCTION_COUNT:
        break;
    }
    return false;
}

static bool answer_is_valid(const struct history *history, enum history_function function,
                            const struct history_answer *answer)
{
    bool can_refuse = function == HISTORY_CAS || function == HISTORY_DELETE ||
                      function == HISTORY_ACQUIRE || function == HISTORY_RELEASE;

    if (answer->refused) {
        return can_refuse && answer->revision == 0 && answer->token == 0;
    }
    if (function == HISTORY_GET) {
        return answer->value == HISTORY_ABSENT || is_kind(history, answer->value, VALUE_BYTES);
    }
    if (function == HISTORY_MEMBERS || function == HISTORY_ITEMS) {
        return answer->value == HISTORY_ABSENT || is_kind(history, answer->value, VALUE_LIST);
    }
    return function != HISTORY_ACQUIRE || answer->token != 0;
}

enum error history_call(struct history *history, uint32_t process, struct bytes key,
                        const struct history_call *call, uint64_t now_ns)
{
    uint32_t number = history->operation_count;

    if (process >= history->limits.process_count_max ||
        number == history->limits.operation_count_max) {
        return ERR_FULL;
    }
    if (history->outstanding[process] != HISTORY_NONE) {
        return ERR_IN_USE;
    }
    if (now_ns < history->last_ns || !call_is_valid(history, call)) {
        return ERR_INVALID;
    }
    struct history_operation *operation = &history->operations[number];
    *operation = (struct history_operation){
        .call = *call,
        .process = process,
        .answered_at = HISTORY_NONE,
        .called_ns = now_ns,
    };
    enum error error =
        items_intern(&history->keys, &history->text,
                     (uint32_t)history_function_object(call->function), key, &operation->key);
    if (error != ERR_OK) {
        return error;
    }
    operation->called_at = history->event_count++;
    history->outstanding[process] = number;
    history->operation_count++;
    history->last_ns = now_ns;
    return ERR_OK;
}

enum error history_answer(struct history *history, uint32_t process, enum history_outcome outcome,
                          const struct history_answer *answer, uint64_t now_ns)
{
    if (process >= history->limits.process_count_max ||
        history->outstanding[process] == HISTORY_NONE) {
        return ERR_NOT_FOUND;
    }
    struct history_operation *operation = &history->operations[history->outstanding[process]];
    ASSERT(operation->outcome == HISTORY_PENDING);
    if (now_ns < history->last_ns || outcome == HISTORY_PENDING) {
        return ERR_INVALID;
    }
    if (outcome == HISTORY_OK) {
        ASSERT(answer != NULL);
        if (!answer_is_valid(history, operation->call.function, answer)) {
            return ERR_INVALID;
        }
        operation->answer = *answer;
    }
    operation->outcome = outcome;
    operation->answered_at = history->event_count++;
    operation->answered_ns = now_ns;
    history->outstanding[process] = HISTORY_NONE;
    history->last_ns = now_ns;
    return ERR_OK;
}

uint32_t history_operation_count(const struct history *history)
{
    return history->operation_count;
}

const struct history_operation *history_operation_at(const struct history *history, uint32_t at)
{
    ASSERT_VALUES(at < history->operation_count, at, history->operation_count);
    return &history->operations[at];
}

uint32_t history_event_count(const struct history *history)
{
    return history->event_count;
}

uint32_t history_outstanding(const struct history *history, uint32_t process)
{
    return process < history->limits.process_count_max ? history->outstanding[process]
                                                       : HISTORY_NONE;
}

uint32_t history_key_count(const struct history *history)
{
    return history->keys.count;
}

enum history_object history_key_object(const struct history *history, uint32_t key)
{
    ASSERT_VALUES(key < history->keys.count, key, history->keys.count);
    return (enum history_object)history->keys.all[key].kind;
}

struct bytes history_key_name(const struct history *history, uint32_t key)
{
    return items_content(&history->keys, &history->text, key);
}

uint32_t history_value_count(const struct history *history)
{
    return history->values.count;
}

bool history_value_is_list(const struct history *history, history_value value)
{
    return is_kind(history, value, VALUE_LIST);
}

struct bytes history_value_bytes(const struct history *history, history_value value)
{
    ASSERT(is_kind(history, value, VALUE_BYTES));
    return items_content(&history->values, &history->text, value);
}

uint32_t history_list_count(const struct history *history, history_value list)
{
    if (list == HISTORY_ABSENT) {
        return 0;
    }
    ASSERT(is_kind(history, list, VALUE_LIST));
    return (uint32_t)(history->values.all[list].size / sizeof(uint32_t));
}

history_value history_list_at(const struct history *history, history_value list, uint32_t at)
{
    ASSERT(at < history_list_count(history, list));
    return load_u32(items_content(&history->values, &history->text, list).data +
                    at * sizeof(uint32_t));
}

/* The last step of splitmix64: every bit of the number reaches every bit of the result. */
static uint64_t mix(uint64_t number)
{
    number = (number ^ number >> 30) * 0xbf58476d1ce4e5b9U;
    number = (number ^ number >> 27) * 0x94d049bb133111ebU;
    return number ^ number >> 31;
}

static const uint64_t seeds[2] = {0x9e3779b97f4a7c15U, 0xd1b54a32d192ed03U};

void history_digest_add_member(struct history_digest *digest, history_value value)
{
    digest->count++;
    digest->sums[0] += mix(value + seeds[0]);
    digest->sums[1] += mix(value + seeds[1]);
}

void history_digest_add_item(struct history_digest *digest, history_value value)
{
    digest->count++;
    digest->sums[0] = mix(digest->sums[0] + value + seeds[0]);
    digest->sums[1] = mix(digest->sums[1] + value + seeds[1]);
}

struct history_digest history_list_members(const struct history *history, history_value list)
{
    struct history_digest nothing = {.count = 0};

    ASSERT(list == HISTORY_ABSENT || is_kind(history, list, VALUE_LIST));
    return list == HISTORY_ABSENT ? nothing : history->digests[list].members;
}

struct history_digest history_list_items(const struct history *history, history_value list)
{
    struct history_digest nothing = {.count = 0};

    ASSERT(list == HISTORY_ABSENT || is_kind(history, list, VALUE_LIST));
    return list == HISTORY_ABSENT ? nothing : history->digests[list].items;
}

enum history_object history_function_object(enum history_function function)
{
#define HISTORY_AS_OBJECT(name, text, object) HISTORY_##object,
    static const enum history_object objects[] = {HISTORY_FUNCTION_LIST(HISTORY_AS_OBJECT)};
#undef HISTORY_AS_OBJECT

    ASSERT(function < HISTORY_FUNCTION_COUNT);
    return objects[function];
}

const char *history_function_name(enum history_function function)
{
#define HISTORY_AS_TEXT(name, text, object) text,
    static const char *const names[] = {HISTORY_FUNCTION_LIST(HISTORY_AS_TEXT)};
#undef HISTORY_AS_TEXT

    ASSERT(function < HISTORY_FUNCTION_COUNT);
    return names[function];
}
