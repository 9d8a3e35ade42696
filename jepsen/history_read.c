/* jepsen/history_read.c: a history from lines of JSON. Every line is checked before it counts. */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/text.h"
#include "jepsen/history.h"
#include "jepsen/history_line.h"

struct reader {
    struct history *history;
    char *memory; /* Of one line. */
    struct line line;
    struct line_value *items;
    history_value *values;
    const char *fault;
};

/* What every line has. */
struct head {
    uint64_t time_ns;
    uint32_t process;
    struct bytes type;
};

static bool text_is(const struct line_value *value, const char *text)
{
    return value != NULL && value->kind == LINE_TEXT &&
           bytes_equal(value->bytes, bytes_of_text(text));
}

static enum error refuse(struct reader *reader, enum error error, const char *fault)
{
    ASSERT(error != ERR_OK);
    reader->fault = fault;
    return error;
}

/* A field that is a whole number. Without the field 0. */
static bool read_number(const struct line *line, const char *name, uint64_t *number)
{
    const struct line_value *value = line_find(line, name);

    *number = 0;
    return value == NULL || value->kind == LINE_NULL ||
           (value->kind == LINE_NUMBER && text_parse_u64(value->bytes, number));
}

/* A plain value. A number is the value that its digits are as a text. */
static enum error take_scalar(struct reader *reader, const struct line_value *found,
                              history_value *value)
{
    *value = HISTORY_ABSENT;
    if (found == NULL || found->kind == LINE_NULL) {
        return ERR_OK;
    }
    if (found->kind != LINE_TEXT && found->kind != LINE_NUMBER) {
        return refuse(reader, ERR_INVALID, "\"value\" must be a string, a number or null here");
    }
    enum error error = history_value_of(reader->history, found->bytes, value);
    return error == ERR_OK ? ERR_OK : refuse(reader, error, "no room for another value");
}

static enum error take_items(struct reader *reader, const struct line_value *found, uint32_t *count)
{
    *count = found != NULL && found->kind == LINE_LIST ? line_items(found, reader->items)
                                                       : HISTORY_LINE_ITEM_MAX + 1;
    if (*count > HISTORY_LINE_ITEM_MAX) {
        return refuse(reader, ERR_INVALID,
                      "\"value\" must be a list of up to 65536 strings, numbers or nulls here");
    }
    for (uint32_t i = 0; i < *count; i++) {
        enum error error = take_scalar(reader, &reader->items[i], &reader->values[i]);
        if (error != ERR_OK) {
            return error;
        }
    }
    return ERR_OK;
}

static enum error take_list(struct reader *reader, const struct line_value *found,
                            history_value *list)
{
    uint32_t count;

    if (found == NULL || found->kind == LINE_NULL) {
        *list = HISTORY_ABSENT;
        return ERR_OK;
    }
    enum error error = take_items(reader, found, &count);
    if (error == ERR_OK) {
        error = history_list_of(reader->history, reader->values, count, list);
        if (error != ERR_OK) {
            return refuse(reader, error, "no room for another list, or null within it");
        }
    }
    return error;
}

static enum error read_call(struct reader *reader, enum history_function function,
                            struct history_call *call)
{
    const struct line *line = &reader->line;
    const struct line_value *value = line_find(line, "value");
    uint32_t count;

    *call = (struct history_call){.function = function};
    if (!read_number(line, "owner", &call->owner) || !read_number(line, "token", &call->token)) {
        return refuse(reader, ERR_INVALID, "\"owner\" and \"token\" must be whole numbers");
    }
    if (function == HISTORY_CAS) {
        enum error error = take_items(reader, value, &count);
        if (error == ERR_OK && count != 2) {
            return refuse(reader, ERR_INVALID, "\"value\" of cas must be [expected, new]");
        }
        call->expected = error == ERR_OK ? reader->values[0] : HISTORY_ABSENT;
        call->value = error == ERR_OK ? reader->values[1] : HISTORY_ABSENT;
        return error;
    }
    if (function == HISTORY_PUT || function == HISTORY_ADD || function == HISTORY_APPEND) {
        return take_scalar(reader, value, &call->value);
    }
    return ERR_OK;
}

static enum error read_answer(struct reader *reader, enum history_function function,
                              struct history_answer *answer)
{
    const struct line *line = &reader->line;
    const struct line_value *value = line_find(line, "value");
    const struct line_value *refused = line_find(line, "refused");

    *answer = (struct history_answer){.refused = refused != NULL && refused->kind == LINE_TRUE};
    if (!read_number(line, "revision", &answer->revision) ||
        !read_number(line, "token", &answer->token)) {
        return refuse(reader, ERR_INVALID, "\"revision\" and \"token\" must be whole numbers");
    }
    if (function != HISTORY_ACQUIRE) {
        answer->token = 0; /* Of a release: its call's. */
    }
    if (function == HISTORY_GET) {
        return take_scalar(reader, value, &answer->value);
    }
    if (function == HISTORY_MEMBERS || function == HISTORY_ITEMS) {
        return take_list(reader, value, &answer->value);
    }
    return ERR_OK;
}

static enum error take_call(struct reader *reader, const struct head *head,
                            enum history_function function, struct bytes key)
{
    struct history_call call;
    enum error error = read_call(reader, function, &call);

    if (error != ERR_OK) {
        return error;
    }
    error = history_call(reader->history, head->process, key, &call, head->time_ns);
    return error == ERR_OK       ? ERR_OK
           : error == ERR_IN_USE ? refuse(reader, error, "the process still waits for an answer")
           : error == ERR_FULL
               ? refuse(reader, error, "no room for another operation, process or key")
               : refuse(reader, error,
                        "the time goes back, or a \"value\" or an \"owner\" is missing");
}

static enum error take_answer(struct reader *reader, const struct head *head,
                              enum history_function function, struct bytes key)
{
    uint32_t number = history_outstanding(reader->history, head->process);
    struct history_answer answer;

    if (number == HISTORY_NONE) {
        return refuse(reader, ERR_NOT_FOUND, "an answer to a process that called nothing");
    }
    const struct history_operation *operation = history_operation_at(reader->history, number);
    if (operation->call.function != function ||
        !bytes_equal(history_key_name(reader->history, operation->key), key)) {
        return refuse(reader, ERR_INVALID, "\"f\" or \"key\" is not that of the process's call");
    }
    enum history_outcome outcome = bytes_equal(head->type, bytes_of_text("ok"))     ? HISTORY_OK
                                   : bytes_equal(head->type, bytes_of_text("fail")) ? HISTORY_FAILED
                                                                                    : HISTORY_INFO;
    enum error error = outcome == HISTORY_OK ? read_answer(reader, function, &answer) : ERR_OK;
    if (error != ERR_OK) {
        return error;
    }
    error = history_answer(reader->history, head->process, outcome, &answer, head->time_ns);
    return error == ERR_OK ? ERR_OK
                           : refuse(reader, error,
                                    "the time goes back, or the answer does not "
                                    "fit what was asked");
}

static bool find_function(const struct line_value *name, enum history_function *function)
{
    for (uint32_t i = 0; i < HISTORY_FUNCTION_COUNT; i++) {
        *function = (enum history_function)i;
        if (text_is(name, history_function_name(*function))) {
            return true;
        }
    }
    return false;
}

/* A process with a name, "nemesis" for instance, calls nothing of ours: its lines are notes. */
static bool is_note(const struct line *line)
{
    const struct line_value *process = line_find(line, "process");

    return process != NULL && process->kind == LINE_TEXT;
}

static enum error take_line(struct reader *reader, size_t size)
{
    struct line *line = &reader->line;
    const char *fault = line_parse(reader->memory, size, line);
    enum history_function function;
    struct head head;
    uint64_t process;

    if (fault != NULL) {
        return refuse(reader, ERR_MALFORMED, fault);
    }
    if (is_note(line)) {
        return ERR_OK;
    }
    const struct line_value *type = line_find(line, "type");
    const struct line_value *key = line_find(line, "key");
    if (line_find(line, "process") == NULL || !read_number(line, "process", &process) ||
        process >= HISTORY_NONE || !read_number(line, "time", &head.time_ns)) {
        return refuse(reader, ERR_INVALID, "\"process\" and \"time\" must be whole numbers");
    }
    if (!find_function(line_find(line, "f"), &function)) {
        return refuse(reader, ERR_INVALID, "\"f\" is not the name of a function");
    }
    if (key == NULL || (key->kind != LINE_TEXT && key->kind != LINE_NUMBER)) {
        return refuse(reader, ERR_INVALID, "\"key\" must be a string or a number");
    }
    if (!text_is(type, "invoke") && !text_is(type, "ok") && !text_is(type, "fail") &&
        !text_is(type, "info")) {
        return refuse(reader, ERR_INVALID, "\"type\" must be invoke, ok, fail or info");
    }
    head.process = (uint32_t)process;
    head.type = type->bytes;
    return text_is(type, "invoke") ? take_call(reader, &head, function, key->bytes)
                                   : take_answer(reader, &head, function, key->bytes);
}

/* The next line without its line feed; false at the end of the file. A line that is too long, or
 * has a zero within, comes back shorter than it is: `*is_whole` says so. */
static bool next_line(FILE *file, char *memory, size_t *size, bool *is_whole)
{
    if (fgets(memory, HISTORY_LINE_SIZE_MAX, file) == NULL) {
        return false;
    }
    *size = strlen(memory);
    *is_whole = (*size != 0 && memory[*size - 1] == '\n') || feof(file);
    while (*size != 0 && (memory[*size - 1] == '\n' || memory[*size - 1] == '\r')) {
        (*size)--;
    }
    return true;
}

static enum error read_lines(struct reader *reader, FILE *file, uint32_t *line)
{
    size_t size;
    bool is_whole;

    *line = 0;
    while (next_line(file, reader->memory, &size, &is_whole)) {
        (*line)++;
        if (!is_whole) {
            return refuse(reader, ERR_TOO_LARGE, "a line of more than 4 MiB, or with a zero byte");
        }
        enum error error = size == 0 ? ERR_OK : take_line(reader, size);
        if (error != ERR_OK) {
            return error;
        }
    }
    return ferror(file) ? refuse(reader, ERR_IO, "the file cannot be read") : ERR_OK;
}

enum error history_read(struct history *history, FILE *file, struct history_fault *fault)
{
    struct reader *reader = calloc(1, sizeof(*reader));
    enum error error = ERR_FULL;
    struct text text;

    *fault = (struct history_fault){.line = 0};
    text_init(&text, fault->text, sizeof(fault->text));
    if (reader != NULL) {
        reader->history = history;
        reader->fault = "no memory";
        reader->memory = malloc(HISTORY_LINE_SIZE_MAX);
        reader->items = malloc((HISTORY_LINE_ITEM_MAX + 1) * sizeof(*reader->items));
        reader->values = malloc((HISTORY_LINE_ITEM_MAX + 1) * sizeof(*reader->values));
        if (reader->memory != NULL && reader->items != NULL && reader->values != NULL) {
            error = read_lines(reader, file, &fault->line);
        }
        if (error != ERR_OK) {
            text_add(&text, reader->fault);
        }
        free(reader->memory);
        free(reader->items);
        free(reader->values);
        free(reader);
    } else {
        text_add(&text, "no memory");
    }
    return error;
}
