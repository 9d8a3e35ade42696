/* jepsen/show.c: one line for an operation. */
#include "jepsen/show.h"

#include "base/assert.h"

/* Of a value or a name, and of the items of a list. */
enum { SHOWN_SIZE_MAX = 40, SHOWN_ITEM_MAX = 10 };

static void add_bytes(struct text *text, struct bytes bytes)
{
    text_add_json(text, bytes_of(bytes.data, size_min(bytes.size, SHOWN_SIZE_MAX)));
    if (bytes.size > SHOWN_SIZE_MAX) {
        text_add(text, "...");
    }
}

static const char *object_name(enum history_object object)
{
    switch (object) {
    case HISTORY_REGISTER:
        return "register";
    case HISTORY_LOCK:
        return "lock";
    case HISTORY_SET:
        return "set";
    case HISTORY_LIST:
        return "list";
    }
    UNREACHABLE();
}

void show_object_name(const struct history *history, uint32_t key, struct text *text)
{
    text_add(text, object_name(history_key_object(history, key)));
    text_add(text, " ");
    add_bytes(text, history_key_name(history, key));
}

static void add_value(const struct history *history, history_value value, struct text *text)
{
    if (value == HISTORY_ABSENT) {
        text_add(text, "absent");
        return;
    }
    if (!history_value_is_list(history, value)) {
        add_bytes(text, history_value_bytes(history, value));
        return;
    }
    uint32_t count = history_list_count(history, value);
    /* The last ones tell more: what a list grew by. */
    uint32_t first = count > SHOWN_ITEM_MAX ? count - SHOWN_ITEM_MAX : 0;
    text_add(text, first == 0 ? "[" : "[... ");
    for (uint32_t at = first; at < count; at++) {
        text_add(text, at == first ? "" : " ");
        add_bytes(text, history_value_bytes(history, history_list_at(history, value, at)));
    }
    text_add(text, "]");
}

static void add_pair(struct text *text, const char *name, uint64_t value)
{
    if (value != 0) {
        text_add(text, name);
        text_add_u64(text, value);
    }
}

static void add_call(const struct history *history, const struct history_call *call,
                     struct text *text)
{
    text_add(text, history_function_name(call->function));
    if (call->function == HISTORY_CAS) {
        text_add(text, " ");
        add_value(history, call->expected, text);
    }
    if (call->value != HISTORY_ABSENT) {
        text_add(text, " ");
        add_value(history, call->value, text);
    }
    add_pair(text, " owner=", call->owner);
    add_pair(text, " token=", call->token);
}

static void add_answer(const struct history *history, const struct history_operation *operation,
                       struct text *text)
{
    const struct history_answer *answer = &operation->answer;
    enum history_function function = operation->call.function;

    switch (operation->outcome) {
    case HISTORY_PENDING:
        text_add(text, "never answered");
        return;
    case HISTORY_INFO:
        text_add(text, "unknown");
        return;
    case HISTORY_FAILED:
        text_add(text, "failed");
        return;
    case HISTORY_OK:
        text_add(text, answer->refused ? "refused" : "ok");
        if (function == HISTORY_GET || function == HISTORY_MEMBERS || function == HISTORY_ITEMS) {
            text_add(text, " ");
            add_value(history, answer->value, text);
        }
        add_pair(text, " revision=", answer->revision);
        add_pair(text, " token=", answer->token);
        return;
    }
    UNREACHABLE();
}

void show_operation(const struct history *history, uint32_t number, struct text *text)
{
    const struct history_operation *operation = history_operation_at(history, number);

    text_add(text, "  #");
    text_add_u64(text, number);
    text_add(text, " process ");
    text_add_u64(text, operation->process);
    text_add(text, ": ");
    add_call(history, &operation->call, text);
    text_add(text, " -> ");
    add_answer(history, operation, text);
    text_add(text, " [");
    text_add_fixed(text, operation->called_ns / 1000, 3);
    text_add(text, " ms to ");
    if (operation->answered_at == HISTORY_NONE) {
        text_add(text, "the end");
    } else {
        text_add_fixed(text, operation->answered_ns / 1000, 3);
        text_add(text, " ms");
    }
    text_add(text, "]\n");
}
