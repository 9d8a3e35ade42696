/* tests/unit/server/logger_test.c: one whole line for each event, and never a wait. */
#define _GNU_SOURCE /* NOLINT(bugprone-reserved-identifier): the C library's own switch. */
#include "server/logger.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

struct fixture {
    int pipe[2];
    struct logger logger;
    char text[1 << 17];
};

static int open_fixture(void **state)
{
    static struct fixture fixture;

    /* Only the reading side: a logger must not rely on a descriptor that does not block. */
    assert_int_equal(pipe(fixture.pipe), 0);
    assert_int_equal(fcntl(fixture.pipe[0], F_SETFL, O_NONBLOCK), 0);
    logger_init(&fixture.logger, fixture.pipe[1], "n1");
    *state = &fixture;
    return 0;
}

static int close_fixture(void **state)
{
    struct fixture *fixture = *state;

    close(fixture->pipe[0]);
    close(fixture->pipe[1]);
    return 0;
}

/* Everything that was written, as one text. */
static const char *drain(struct fixture *fixture)
{
    size_t size = 0;
    ssize_t result;

    while ((result = read(fixture->pipe[0], fixture->text + size,
                          sizeof(fixture->text) - 1 - size)) > 0) {
        size += (size_t)result;
    }
    fixture->text[size] = '\0';
    return fixture->text;
}

static void line_has_time_node_level_and_event(void **state)
{
    struct fixture *fixture = *state;
    static const char tail[] = "Z node=n1 level=warning event=slow took_ms=7\n";

    logger_write(&fixture->logger, WORLD_WARNING, bytes_of_text("event=slow took_ms=7"));
    const char *line = drain(fixture);

    assert_memory_equal(line, "time=20", 7);
    assert_string_equal(line + strlen("time=2026-01-02T03:04:05.678"), tail);
}

static void time_is_written_to_the_millisecond(void **state)
{
    char text[LOGGER_TIME_SIZE];

    (void)state;
    logger_time_to_text(UINT64_C(1767323045078), text);
    assert_string_equal(text, "2026-01-02T03:04:05.078Z");
    logger_time_to_text(0, text);
    assert_string_equal(text, "1970-01-01T00:00:00.000Z");
}

static void line_that_is_too_long_is_cut_and_still_ends(void **state)
{
    struct fixture *fixture = *state;
    static char line[2 * LOGGER_LINE_SIZE];

    memset(line, 'x', sizeof(line));
    logger_write(&fixture->logger, WORLD_INFO, bytes_of(line, sizeof(line)));
    const char *text = drain(fixture);

    assert_int_equal(strlen(text), LOGGER_LINE_SIZE);
    assert_int_equal(text[LOGGER_LINE_SIZE - 1], '\n');
}

static void reader_that_does_not_keep_up_loses_lines_and_is_told(void **state)
{
    struct fixture *fixture = *state;

    while (fixture->logger.dropped < 3) {
        logger_write(&fixture->logger, WORLD_INFO, bytes_of_text("event=flood"));
    }
    const char *text = drain(fixture);
    assert_null(strstr(text, "lines_dropped"));
    assert_int_equal(text[strlen(text) - 1], '\n');
    logger_write(&fixture->logger, WORLD_INFO, bytes_of_text("event=after"));
    text = drain(fixture);

    assert_non_null(strstr(text, "level=warning event=lines_dropped count=3\n"));
    assert_non_null(strstr(text, "level=info event=after\n"));
    assert_int_equal(fixture->logger.dropped, 0);
}

static void values_are_quoted_where_they_need_it(void **state)
{
    char memory[LOGGER_LINE_SIZE];
    struct text line;

    (void)state;
    logger_line_begin(&line, memory, "fatal");
    logger_line_add(&line, "problem", "it is \"full\"");
    logger_line_add_number(&line, "count", 3);

    assert_string_equal(line.data, "event=fatal problem=\"it is \\\"full\\\"\" count=3");
}

#define LAW(name) cmocka_unit_test_setup_teardown(name, open_fixture, close_fixture)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LAW(line_has_time_node_level_and_event),
        LAW(time_is_written_to_the_millisecond),
        LAW(line_that_is_too_long_is_cut_and_still_ends),
        LAW(reader_that_does_not_keep_up_loses_lines_and_is_told),
        LAW(values_are_quoted_where_they_need_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
