/* base/assert.c: prints a failed assertion with write() alone, then aborts. */
#include "base/assert.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

struct line {
    char text[512];
    size_t size;
};

static void line_add_text(struct line *line, const char *text)
{
    while (*text != '\0' && line->size < sizeof(line->text)) {
        line->text[line->size++] = *text++;
    }
}

static void line_add_number(struct line *line, uint64_t number)
{
    char digits[21];
    size_t at = sizeof(digits);

    digits[--at] = '\0';
    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number != 0);
    line_add_text(line, &digits[at]);
}

_Noreturn static void fail(const char *expression, const char *file, int line_number,
                           bool with_values, uint64_t left, uint64_t right)
{
    struct line line = {.size = 0};

    line_add_text(&line, file);
    line_add_text(&line, ":");
    line_add_number(&line, (uint64_t)line_number);
    line_add_text(&line, ": assertion failed: ");
    line_add_text(&line, expression);
    if (with_values) {
        line_add_text(&line, " (");
        line_add_number(&line, left);
        line_add_text(&line, ", ");
        line_add_number(&line, right);
        line_add_text(&line, ")");
    }
    line_add_text(&line, "\n");
    /* Nothing can be done about a failed write here: the abort says it as well. */
    ssize_t written = write(STDERR_FILENO, line.text, line.size);
    (void)written;
    abort();
}

_Noreturn void assert_failed(const char *expression, const char *file, int line)
{
    fail(expression, file, line, false, 0, 0);
}

_Noreturn void assert_failed_values(const char *expression, const char *file, int line,
                                    uint64_t left, uint64_t right)
{
    fail(expression, file, line, true, left, right);
}
