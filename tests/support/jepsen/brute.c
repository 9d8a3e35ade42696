/* tests/support/jepsen/brute.c: every order, nothing remembered, nothing clever. */
#include "tests/support/jepsen/brute.h"

#include <string.h>

#include "base/assert.h"

/* The changes so far; what an object holds is worked out from them each time. */
struct order {
    const struct history *history;
    uint32_t count; /* Of the history. */
    uint32_t next[BRUTE_OPERATION_COUNT_MAX];
    bool taken[BRUTE_OPERATION_COUNT_MAX];
    uint32_t depth;
};

static const struct history_operation *at(const struct order *order, uint32_t place)
{
    return history_operation_at(order->history, order->next[place]);
}

static bool changes(const struct history_operation *operation)
{
    return !(operation->outcome == HISTORY_OK && operation->answer.refused);
}

/* The last change of a register before `end`; NULL: none. */
static const struct history_operation *last_write(const struct order *order, uint32_t end)
{
    const struct history_operation *last = NULL;

    for (uint32_t i = 0; i < end; i++) {
        if (at(order, i)->call.function != HISTORY_GET && changes(at(order, i))) {
            last = at(order, i);
        }
    }
    return last;
}

static history_value register_value(const struct order *order, uint32_t end)
{
    const struct history_operation *last = last_write(order, end);

    return last == NULL || last->call.function == HISTORY_DELETE ? HISTORY_ABSENT
                                                                 : last->call.value;
}

static bool is_ok(const struct history_operation *operation)
{
    return operation->outcome == HISTORY_OK;
}

static bool register_holds(const struct order *order, uint32_t place)
{
    const struct history_operation *operation = at(order, place);
    history_value value = register_value(order, place);
    bool refused = is_ok(operation) && operation->answer.refused;

    if (operation->call.function == HISTORY_GET) {
        return value == operation->answer.value;
    }
    if (operation->call.function == HISTORY_CAS) {
        return (value == operation->call.expected) == !refused;
    }
    if (operation->call.function == HISTORY_DELETE) {
        return (value != HISTORY_ABSENT) == !refused;
    }
    return true;
}

/* Revisions: each change has one, larger than that of every change before; known ones are given,
 * and there is room for those that are not. A read names the one of the last change. */
static bool revisions_hold(const struct order *order)
{
    uint64_t revision = 0; /* Of the last change, or the least it can have. */
    bool is_known = true;

    for (uint32_t i = 0; i < order->depth; i++) {
        const struct history_operation *operation = at(order, i);
        uint64_t told = is_ok(operation) ? operation->answer.revision : 0;
        if (operation->call.function == HISTORY_GET) {
            if (told != 0 && (is_known ? told != revision : told < revision)) {
                return false;
            }
            if (told != 0) {
                revision = told;
                is_known = true;
            }
        } else if (changes(operation)) {
            if (told != 0 && told <= revision) {
                return false;
            }
            revision = told != 0 ? told : revision + 1;
            is_known = told != 0;
        }
    }
    return true;
}

/* Who holds the lock before `end`, and the grant's place in the order. */
static uint64_t lock_owner(const struct order *order, uint32_t end, uint32_t *grant)
{
    uint64_t owner = 0;

    for (uint32_t i = 0; i < end; i++) {
        const struct history_operation *operation = at(order, i);
        if (!changes(operation)) {
            continue;
        }
        if (operation->call.function == HISTORY_RELEASE) {
            owner = 0;
        } else if (owner == 0) {
            owner = operation->call.owner;
            *grant = i;
        }
    }
    return owner;
}

/* The token of the grant at `grant`, as far as an answer or a release before `end` tells it. */
static uint64_t token_told(const struct order *order, uint32_t grant, uint32_t end)
{
    for (uint32_t i = grant; i < end; i++) {
        const struct history_operation *operation = at(order, i);
        if (changes(operation) && operation->call.function == HISTORY_ACQUIRE && is_ok(operation)) {
            return operation->answer.token;
        }
        if (changes(operation) && operation->call.function == HISTORY_RELEASE) {
            return operation->call.token;
        }
    }
    return 0;
}

static bool lock_holds(const struct order *order, uint32_t place)
{
    const struct history_operation *operation = at(order, place);
    uint32_t grant = 0;
    uint64_t owner = lock_owner(order, place, &grant);
    bool is_owner = owner == operation->call.owner;
    uint64_t told = owner == 0 ? 0 : token_told(order, grant, place);
    uint64_t named = operation->call.token;
    bool refused = !changes(operation);

    if (operation->call.function == HISTORY_ACQUIRE) {
        if (refused) {
            return owner != 0 && !is_owner;
        }
        if (!is_ok(operation)) {
            return owner == 0;
        }
        return owner == 0 || (is_owner && (told == 0 || told == operation->answer.token));
    }
    if (refused) {
        return !is_owner || (named != 0 && named != told);
    }
    return is_owner && (named == 0 || told == 0 || named == told);
}

/* Tokens of different grants, as far as they are told, grow. */
static bool tokens_grow(const struct order *order)
{
    uint64_t last = 0;

    for (uint32_t i = 0; i < order->depth; i++) {
        uint32_t grant = 0;
        const struct history_operation *operation = at(order, i);
        if (operation->call.function != HISTORY_ACQUIRE || !changes(operation) ||
            lock_owner(order, i, &grant) != 0) {
            continue;
        }
        uint64_t told = token_told(order, i, order->depth);
        if (told != 0 && told <= last) {
            return false;
        }
        last = told != 0 ? told : last;
    }
    return true;
}

/* What was added before `place` is what the read lists: in any order, or in the same. */
static bool read_holds(const struct order *order, uint32_t place)
{
    const struct history_operation *operation = at(order, place);
    history_value list = operation->answer.value;
    uint32_t count = history_list_count(order->history, list);
    bool seen[BRUTE_OPERATION_COUNT_MAX] = {false};
    uint32_t added = 0;

    if (operation->call.function != HISTORY_MEMBERS && operation->call.function != HISTORY_ITEMS) {
        return true;
    }
    for (uint32_t i = 0; i < place; i++) {
        if (at(order, i)->call.function == operation->call.function) {
            continue;
        }
        uint32_t found = count;
        for (uint32_t item = 0; item < count && item < BRUTE_OPERATION_COUNT_MAX; item++) {
            bool fits = operation->call.function == HISTORY_MEMBERS || item == added;
            if (!seen[item] && fits &&
                history_list_at(order->history, list, item) == at(order, i)->call.value) {
                found = item;
                break;
            }
        }
        if (found == count) {
            return false;
        }
        seen[found] = true;
        added++;
    }
    return added == count;
}

static bool place_holds(const struct order *order, uint32_t place)
{
    switch (history_function_object(at(order, place)->call.function)) {
    case HISTORY_REGISTER:
        return register_holds(order, place);
    case HISTORY_LOCK:
        return lock_holds(order, place);
    case HISTORY_SET:
    case HISTORY_LIST:
        return read_holds(order, place);
    }
    UNREACHABLE();
}

static bool explains(const struct order *order)
{
    enum history_object object = history_function_object(at(order, 0)->call.function);

    return object == HISTORY_REGISTER ? revisions_hold(order)
           : object == HISTORY_LOCK   ? tokens_grow(order)
                                      : true;
}

/* Nothing that is still to come was answered before `number` was called. */
static bool may_be_next(const struct order *order, uint32_t number)
{
    const struct history_operation *operation = history_operation_at(order->history, number);

    for (uint32_t i = 0; i < order->count; i++) {
        const struct history_operation *other = history_operation_at(order->history, i);
        if (!order->taken[i] && is_ok(other) && other->answered_at < operation->called_at) {
            return false;
        }
    }
    return true;
}

static bool is_read(const struct history_operation *operation)
{
    enum history_function function = operation->call.function;

    return function == HISTORY_GET || function == HISTORY_MEMBERS || function == HISTORY_ITEMS;
}

static bool is_complete(const struct order *order)
{
    for (uint32_t i = 0; i < order->count; i++) {
        if (!order->taken[i] && is_ok(history_operation_at(order->history, i))) {
            return false;
        }
    }
    return true;
}

/* The next operation after `from` that can be at the end of the order; the count when none can. */
static uint32_t find_next(struct order *order, uint32_t from)
{
    for (uint32_t number = from; number < order->count; number++) {
        const struct history_operation *operation = history_operation_at(order->history, number);
        bool counts =
            operation->outcome != HISTORY_FAILED && (is_ok(operation) || !is_read(operation));
        if (counts && !order->taken[number] && may_be_next(order, number)) {
            order->next[order->depth] = number;
            if (place_holds(order, order->depth)) {
                return number;
            }
        }
    }
    return order->count;
}

bool brute_is_linearizable(const struct history *history)
{
    struct order order = {.history = history, .count = history_operation_count(history)};
    uint32_t from = 0;

    ASSERT(order.count <= BRUTE_OPERATION_COUNT_MAX);
    for (;;) {
        if (is_complete(&order) && (order.depth == 0 || explains(&order))) {
            return true;
        }
        uint32_t number = find_next(&order, from);
        if (number < order.count) {
            order.taken[number] = true;
            order.depth++;
            from = 0;
        } else if (order.depth == 0) {
            return false;
        } else {
            from = order.next[--order.depth];
            order.taken[from] = false;
            from++;
        }
    }
}
