/* client/command/output.c: lines on standard output, messages on standard error. */
#include "client/command/output.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "client/command/options.h"
#include "client/holdfast.h"

enum {
    /* The longest line is that of a transaction: a message of keys and values, each byte of which
     * becomes six in JSON at most, and two in hexadecimal, and names and numbers beside them. */
    LINE_SIZE_MAX = 8 * (1 << 20) + HOLDFAST_TRANSACTION_COUNT_MAX * 8 * OPTIONS_KEY_SIZE_MAX,
    MESSAGE_SIZE_MAX = 1024,
};
_Static_assert(LINE_SIZE_MAX > 8 * (OPTIONS_VALUE_SIZE_MAX + OPTIONS_KEY_SIZE_MAX) + 1024,
               "one pair fits a line");

void output_open(struct output *output)
{
    char *memory = malloc(LINE_SIZE_MAX);

    if (memory == NULL) {
        complain("no memory for %d bytes", (int)LINE_SIZE_MAX);
        abort();
    }
    output->error = 0;
    text_init(&output->text, memory, LINE_SIZE_MAX);
}

bool output_close(struct output *output)
{
    ASSERT(output->text.size == 0);
    free(output->text.data);
    if (output->error != 0 && output->error != EPIPE) {
        complain("standard output: %s", strerror(output->error));
    }
    return output->error == 0;
}

static int write_all(const char *data, size_t size)
{
    while (size != 0) {
        ssize_t written = write(STDOUT_FILENO, data, size);

        if (written < 0 && errno != EINTR) {
            return errno;
        }
        if (written > 0) {
            data += written;
            size -= (size_t)written;
        }
    }
    return 0;
}

void output_line(struct output *output)
{
    text_add(&output->text, "\n");
    output_flush(output);
}

void output_flush(struct output *output)
{
    ASSERT(!output->text.truncated);
    if (output->error == 0) {
        output->error = write_all(output->text.data, output->text.size);
    }
    text_init(&output->text, output->text.data, output->text.capacity);
}

void output_name(struct output *output, const char *name)
{
    struct text *text = &output->text;
    char last = text->size == 0 ? '{' : text->data[text->size - 1];

    if (last != '{') {
        text_add(text, ",");
    }
    text_add_json(text, bytes_of_text(name));
    text_add(text, ":");
}

void output_u64(struct output *output, const char *name, uint64_t value)
{
    output_name(output, name);
    text_add_u64(&output->text, value);
}

void output_text(struct output *output, const char *name, const char *value)
{
    ASSERT(value != NULL);
    output_name(output, name);
    text_add_json(&output->text, bytes_of_text(value));
}

void output_null(struct output *output, const char *name)
{
    output_name(output, name);
    text_add(&output->text, "null");
}

/* Whether a JSON string stands for bytes that it could not hold: only they become \ufffd. */
static bool has_replacement(const char *json, size_t size)
{
    size_t at = 0;

    while (at + 1 < size) {
        if (json[at] != '\\') {
            at++;
        } else if (size - at >= 6 && memcmp(json + at, "\\ufffd", 6) == 0) {
            return true;
        } else {
            at += 2;
        }
    }
    return false;
}

void output_bytes(struct output *output, const char *name, struct bytes value)
{
    struct text *text = &output->text;

    output_name(output, name);
    size_t begin = text->size;
    text_add_json(text, value);
    if (!has_replacement(text->data + begin, text->size - begin)) {
        return;
    }
    text_add(text, ",\"");
    text_add(text, name);
    text_add(text, "_hex\":\"");
    for (size_t i = 0; i < value.size; i++) {
        text_add_hex(text, value.data[i], 2);
    }
    text_add(text, "\"");
    ASSERT(!text->truncated);
}

void output_column(struct output *output, struct bytes value, size_t width)
{
    text_add_bytes(&output->text, value);
    for (size_t i = value.size; i < width; i++) {
        text_add(&output->text, " ");
    }
    text_add(&output->text, " ");
}

void output_column_u64(struct output *output, uint64_t value, size_t width)
{
    char digits[24];
    struct text text;

    text_init(&text, digits, sizeof(digits));
    text_add_u64(&text, value);
    output_column(output, bytes_of(digits, text.size), width);
}

void complain(const char *format, ...)
{
    char line[MESSAGE_SIZE_MAX];
    va_list arguments;

    va_start(arguments, format);
    int size = vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    ASSERT(size >= 0);
    fprintf(stderr, "holdfast: %s\n", line);
}
