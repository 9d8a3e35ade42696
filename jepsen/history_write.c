/* jepsen/history_write.c: a history as lines of JSON. */
#include <stdlib.h>

#include "base/assert.h"
#include "base/text.h"
#include "jepsen/history.h"
#include "jepsen/history_line.h"

/* A string of bytes: printable ASCII as it is, any other byte as the character of its number. So
 * everything is read back as it was, whether it is UTF-8 or not. */
static void add_string(struct text *text, struct bytes bytes)
{
    text_add(text, "\"");
    for (size_t i = 0; i < bytes.size; i++) {
        uint8_t byte = bytes.data[i];
        if (byte == '"' || byte == '\\') {
            text_add(text, "\\");
        }
        if (byte < ' ' || byte > '~') {
            text_add(text, "\\u00");
            text_add_hex(text, byte, 2);
        } else {
            text_add_bytes(text, bytes_of(&byte, 1));
        }
    }
    text_add(text, "\"");
}

static void add_number(struct text *text, const char *name, uint64_t number)
{
    text_add(text, ",\"");
    text_add(text, name);
    text_add(text, "\":");
    text_add_u64(text, number);
}

static void add_scalar(const struct history *history, history_value value, struct text *text)
{
    if (value == HISTORY_ABSENT) {
        text_add(text, "null");
    } else {
        add_string(text, history_value_bytes(history, value));
    }
}

static void add_list(const struct history *history, history_value list, struct text *text)
{
    text_add(text, "[");
    for (uint32_t at = 0; at < history_list_count(history, list); at++) {
        text_add(text, at == 0 ? "" : ",");
        add_scalar(history, history_list_at(history, list, at), text);
    }
    text_add(text, "]");
}

/* What was asked, which the answer repeats, or what was read. */
static void add_value(const struct history *history, const struct history_operation *operation,
                      bool is_answer, struct text *text)
{
    const struct history_call *call = &operation->call;
    history_value seen = operation->answer.value;

    switch (call->function) {
    case HISTORY_PUT:
    case HISTORY_ADD:
    case HISTORY_APPEND:
        text_add(text, ",\"value\":");
        add_scalar(history, call->value, text);
        return;
    case HISTORY_CAS:
        text_add(text, ",\"value\":[");
        add_scalar(history, call->expected, text);
        text_add(text, ",");
        add_scalar(history, call->value, text);
        text_add(text, "]");
        return;
    case HISTORY_GET:
    case HISTORY_MEMBERS:
    case HISTORY_ITEMS:
        if (is_answer) {
            text_add(text, ",\"value\":");
            if (history_value_is_list(history, seen)) {
                add_list(history, seen, text);
            } else {
                add_scalar(history, seen, text);
            }
        }
        return;
    case HISTORY_DELETE:
    case HISTORY_ACQUIRE:
    case HISTORY_RELEASE:
        return;
    case HISTORY_FUNCTION_COUNT:
        break;
    }
    UNREACHABLE();
}

static void add_answer(const struct history_answer *answer, struct text *text)
{
    if (answer->revision != 0) {
        add_number(text, "revision", answer->revision);
    }
    if (answer->token != 0) {
        add_number(text, "token", answer->token);
    }
    if (answer->refused) {
        text_add(text, ",\"refused\":true");
    }
}

static const char *type_of(const struct history_operation *operation, bool is_answer)
{
    return !is_answer                             ? "invoke"
           : operation->outcome == HISTORY_OK     ? "ok"
           : operation->outcome == HISTORY_FAILED ? "fail"
                                                  : "info";
}

static void add_line(const struct history *history, const struct history_operation *operation,
                     bool is_answer, struct text *text)
{
    const struct history_call *call = &operation->call;

    text_add(text, "{\"index\":");
    text_add_u64(text, is_answer ? operation->answered_at : operation->called_at);
    add_number(text, "time", is_answer ? operation->answered_ns : operation->called_ns);
    add_number(text, "process", operation->process);
    text_add(text, ",\"type\":\"");
    text_add(text, type_of(operation, is_answer));
    text_add(text, "\",\"f\":\"");
    text_add(text, history_function_name(call->function));
    text_add(text, "\",\"key\":");
    add_string(text, history_key_name(history, operation->key));
    add_value(history, operation, is_answer && operation->outcome == HISTORY_OK, text);
    if (call->owner != 0) {
        add_number(text, "owner", call->owner);
    }
    if (call->function == HISTORY_RELEASE && call->token != 0) {
        add_number(text, "token", call->token);
    }
    if (is_answer && operation->outcome == HISTORY_OK) {
        add_answer(&operation->answer, text);
    }
    text_add(text, "}\n");
}

/* Operations in the order of their calls and answers: by place. */
static enum error write_all(const struct history *history, const uint32_t *order, char *line,
                            FILE *file)
{
    for (uint32_t at = 0; at < history_event_count(history); at++) {
        const struct history_operation *operation = history_operation_at(history, order[at]);
        struct text text;
        text_init(&text, line, HISTORY_LINE_SIZE_MAX);
        add_line(history, operation, at != operation->called_at, &text);
        if (text.truncated) {
            return ERR_TOO_LARGE;
        }
        if (fwrite(text.data, 1, text.size, file) != text.size) {
            return ERR_IO;
        }
    }
    return fflush(file) == 0 ? ERR_OK : ERR_IO;
}

enum error history_write(const struct history *history, FILE *file)
{
    uint32_t *order = calloc(history_event_count(history) + UINT64_C(1), sizeof(*order));
    char *line = malloc(HISTORY_LINE_SIZE_MAX);
    enum error error = ERR_FULL;

    if (order != NULL && line != NULL) {
        for (uint32_t i = 0; i < history_operation_count(history); i++) {
            const struct history_operation *operation = history_operation_at(history, i);
            order[operation->called_at] = i;
            if (operation->answered_at != HISTORY_NONE) {
                order[operation->answered_at] = i;
            }
        }
        error = write_all(history, order, line, file);
    }
    free(order);
    free(line);
    return error;
}
