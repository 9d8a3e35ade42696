/* server/logger.c: puts a line together and writes it if there is room for it. */
#define _GNU_SOURCE /* NOLINT(bugprone-reserved-identifier): the C library's own switch. */
#include "server/logger.h"

#include <poll.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"

enum { MS_IN_SECOND = 1000, NS_IN_MS = 1000 * 1000 };

void logger_init(struct logger *logger, int descriptor, const char *name)
{
    ASSERT(name != NULL);
    *logger = (struct logger){.descriptor = descriptor, .name = name};
}

/* `digits` decimal digits with leading zeros. */
static void add_padded(struct text *text, uint64_t value, uint64_t unit)
{
    for (; unit > 0; unit /= 10) {
        text_add_u64(text, value / unit % 10);
    }
}

void logger_time_to_text(uint64_t unix_ms, char text[LOGGER_TIME_SIZE])
{
    time_t seconds = (time_t)(unix_ms / MS_IN_SECOND);
    struct tm parts;
    struct text builder;

    ASSERT(gmtime_r(&seconds, &parts) != NULL);
    text_init(&builder, text, LOGGER_TIME_SIZE);
    add_padded(&builder, (uint64_t)parts.tm_year + 1900, 1000);
    text_add(&builder, "-");
    add_padded(&builder, (uint64_t)parts.tm_mon + 1, 10);
    text_add(&builder, "-");
    add_padded(&builder, (uint64_t)parts.tm_mday, 10);
    text_add(&builder, "T");
    add_padded(&builder, (uint64_t)parts.tm_hour, 10);
    text_add(&builder, ":");
    add_padded(&builder, (uint64_t)parts.tm_min, 10);
    text_add(&builder, ":");
    add_padded(&builder, (uint64_t)parts.tm_sec, 10);
    text_add(&builder, ".");
    add_padded(&builder, unix_ms % MS_IN_SECOND, 100);
    text_add(&builder, "Z");
    ASSERT(!builder.truncated);
}

static const char *level_name(enum world_level level)
{
    switch (level) {
    case WORLD_INFO:
        return "info";
    case WORLD_WARNING:
        return "warning";
    case WORLD_ERROR:
        return "error";
    }
    UNREACHABLE();
}

static void add_head(const struct logger *logger, struct text *text, enum world_level level)
{
    char time_text[LOGGER_TIME_SIZE];
    struct timespec now;

    /* The wall clock is for people's eyes only. */
    ASSERT(clock_gettime(CLOCK_REALTIME, &now) == 0);
    logger_time_to_text((uint64_t)now.tv_sec * MS_IN_SECOND + (uint64_t)now.tv_nsec / NS_IN_MS,
                        time_text);
    text_add(text, "time=");
    text_add(text, time_text);
    text_add(text, " node=");
    text_add(text, logger->name);
    text_add(text, " level=");
    text_add(text, level_name(level));
    text_add(text, " ");
}

/* A pipe that says it is writable takes a line of this size without waiting. */
static bool write_line(int descriptor, struct text *text)
{
    struct pollfd ready = {.fd = descriptor, .events = POLLOUT};

    text->data[text->size++] = '\n';
    if (poll(&ready, 1, 0) != 1 || (ready.revents & POLLOUT) == 0) {
        return false;
    }
    return write(descriptor, text->data, text->size) == (ssize_t)text->size;
}

void logger_write(struct logger *logger, enum world_level level, struct bytes line)
{
    char memory[LOGGER_LINE_SIZE + 1]; /* One more for the line's end. */
    struct text text;

    if (logger->dropped > 0) {
        text_init(&text, memory, LOGGER_LINE_SIZE);
        add_head(logger, &text, WORLD_WARNING);
        text_add(&text, "event=lines_dropped count=");
        text_add_u64(&text, logger->dropped);
        if (!write_line(logger->descriptor, &text)) {
            logger->dropped++;
            return;
        }
        logger->dropped = 0;
    }
    text_init(&text, memory, LOGGER_LINE_SIZE);
    add_head(logger, &text, level);
    text_add_bytes(&text, line);
    if (!write_line(logger->descriptor, &text)) {
        logger->dropped++;
    }
}

void logger_line_begin(struct text *line, char memory[LOGGER_LINE_SIZE], const char *event)
{
    text_init(line, memory, LOGGER_LINE_SIZE);
    text_add(line, "event=");
    text_add(line, event);
}

void logger_line_add(struct text *line, const char *key, const char *value)
{
    text_add(line, " ");
    text_add(line, key);
    text_add(line, "=");
    text_add_quoted(line, bytes_of_text(value));
}

void logger_line_add_number(struct text *line, const char *key, uint64_t value)
{
    text_add(line, " ");
    text_add(line, key);
    text_add(line, "=");
    text_add_u64(line, value);
}
