/* tests/integration/proxy.c: the fault proxy as a process; commands on standard input, answers on
 * standard output (jepsen/proxy.h says which). Ends when standard input is closed. */
#define _GNU_SOURCE /* NOLINT(bugprone-reserved-identifier): <uv.h> needs more than C11. */
#include "jepsen/proxy.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

enum { LINE_SIZE_MAX = 512, ANSWER_SIZE = 64 << 10 };

struct control {
    struct proxy *proxy;
    uv_loop_t loop;
    uv_pipe_t input;
    char line[LINE_SIZE_MAX];
    size_t size;
    char answer[ANSWER_SIZE];
};

static void line_done(struct control *control)
{
    struct text text;

    control->line[control->size] = '\0';
    control->size = 0;
    text_init(&text, control->answer, sizeof(control->answer));
    proxy_command(control->proxy, control->line, &text);
    fputs(control->answer, stdout);
    fflush(stdout);
}

static void allocate(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
    static const unsigned size = 4096;

    (void)handle;
    (void)suggested;
    *buffer = uv_buf_init(malloc(size), size);
}

static void got(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer)
{
    struct control *control = stream->data;

    for (ssize_t i = 0; i < size; i++) {
        if (buffer->base[i] == '\n') {
            line_done(control);
        } else if (control->size + 1 < sizeof(control->line)) {
            control->line[control->size++] = buffer->base[i];
        }
    }
    free(buffer->base);
    if (size < 0) {
        uv_close((uv_handle_t *)stream, NULL);
        proxy_close(control->proxy);
    }
}

int main(void)
{
    struct control *control = calloc(1, sizeof(*control));

    ASSERT(control != NULL);
    ASSERT(uv_loop_init(&control->loop) == 0);
    control->proxy = proxy_open(&control->loop);
    ASSERT(control->proxy != NULL);
    ASSERT(uv_pipe_init(&control->loop, &control->input, 0) == 0);
    control->input.data = control;
    ASSERT(uv_pipe_open(&control->input, 0) == 0);
    ASSERT(uv_read_start((uv_stream_t *)&control->input, allocate, got) == 0);
    (void)uv_run(&control->loop, UV_RUN_DEFAULT);
    proxy_free(control->proxy);
    ASSERT(uv_loop_close(&control->loop) == 0);
    free(control);
    return 0;
}
