/* node/line.c: lines for people, as key=value pairs. */
#include "base/assert.h"
#include "node/internal.h"

void line_begin(struct line *line, const char *event)
{
    text_init(&line->text, line->memory, sizeof(line->memory));
    text_add(&line->text, "event=");
    text_add(&line->text, event);
    ASSERT(!line->text.truncated);
}

void line_add_bytes(struct line *line, const char *key, struct bytes value)
{
    ASSERT(line->text.size > 0);
    text_add(&line->text, " ");
    text_add(&line->text, key);
    text_add(&line->text, "=");
    text_add_quoted(&line->text, value);
}

void line_add(struct line *line, const char *key, const char *value)
{
    line_add_bytes(line, key, bytes_of_text(value));
}

void line_add_u64(struct line *line, const char *key, uint64_t value)
{
    ASSERT(line->text.size > 0);
    text_add(&line->text, " ");
    text_add(&line->text, key);
    text_add(&line->text, "=");
    text_add_u64(&line->text, value);
}

void line_write(struct node *node, enum world_level level, struct line *line)
{
    line_add_u64(line, "lamport", node->lamport); /* Puts the lines of several nodes in order. */
    world_log(node->world, level, bytes_of(line->text.data, line->text.size));
}

void line_write_limited(struct node *node, enum world_level level, struct line *line,
                        struct line_limit *limit)
{
    uint64_t second = node->now_ms / 1000;

    if (second != limit->second) {
        limit->second = second;
        limit->count = 0;
    }
    if (limit->count == LINE_COUNT_MAX) {
        limit->suppressed++;
        return;
    }
    limit->count++;
    if (limit->suppressed != 0) {
        line_add_u64(line, "suppressed", limit->suppressed);
        limit->suppressed = 0;
    }
    line_write(node, level, line);
}
