/* client/uv.c: the hooks of the shell for libuv, on the caller's loop or on a thread of its own.
 * The only file that knows libuv.
 *
 * Callbacks of libuv only note what happened; a prepare and a check handle run the turn. */
#define _DEFAULT_SOURCE /* NOLINT(bugprone-reserved-identifier): the C library's own switch. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "client/client.h"

struct runner {
    struct holdfast *client;
    uv_loop_t *loop;
    uv_loop_t own_loop;
    bool is_threaded;
    pthread_t thread;
    uv_prepare_t prepare;
    uv_check_t check;
    uv_timer_t timer;
    uv_async_t async;
    bool is_closing;
    uint32_t open_count; /* Handles and lookups of names that libuv still knows. */
    struct list polls;
    struct list lookups;
};

/* A socket that is watched. */
struct watched {
    struct list list;
    struct runner *runner;
    int file;
    uv_poll_t poll;
};

struct lookup {
    struct list list;
    struct runner *runner;
    uint64_t ticket;
    uv_getaddrinfo_t request;
};

/* --- The end --------------------------------------------------------------------------------- */

/* Something that libuv knew of us is gone. With a thread, runner_join() frees. */
static void let_go(struct runner *runner)
{
    struct holdfast *client = runner->client;

    ASSERT(runner->open_count > 0);
    runner->open_count--;
    if (runner->open_count > 0 || !runner->is_closing || runner->is_threaded) {
        return;
    }
    void (*closed)(void *context) = client->closed;
    void *context = client->closed_context;
    free(runner);
    client_free(client);
    if (closed != NULL) {
        closed(context);
    }
}

static void on_handle_closed(uv_handle_t *handle)
{
    let_go(handle->data);
}

static void close_handles(struct runner *runner)
{
    runner->is_closing = true;
    for (struct list *at = runner->lookups.next; at != &runner->lookups; at = at->next) {
        (void)uv_cancel((uv_req_t *)&CONTAINER_OF(at, struct lookup, list)->request);
    }
    uv_close((uv_handle_t *)&runner->prepare, on_handle_closed);
    uv_close((uv_handle_t *)&runner->check, on_handle_closed);
    uv_close((uv_handle_t *)&runner->timer, on_handle_closed);
    uv_close((uv_handle_t *)&runner->async, on_handle_closed);
}

static void turn(struct runner *runner)
{
    if (!runner->is_closing && shell_turn(runner->client->shell)) {
        close_handles(runner);
    }
}

/* --- The hooks ------------------------------------------------------------------------------- */

static void on_poll(uv_poll_t *poll, int status, int events)
{
    const struct watched *watched = CONTAINER_OF(poll, struct watched, poll);
    int ready = ((events & UV_READABLE) != 0 ? HOLDFAST_READABLE : 0) |
                ((events & UV_WRITABLE) != 0 ? HOLDFAST_WRITABLE : 0);

    /* Of a socket with an error the next read says which. */
    shell_ready(watched->runner->client->shell, watched->file,
                status < 0 ? HOLDFAST_READABLE : ready);
}

static struct watched *find_watched(struct runner *runner, int file)
{
    for (struct list *at = runner->polls.next; at != &runner->polls; at = at->next) {
        struct watched *watched = CONTAINER_OF(at, struct watched, list);
        if (watched->file == file) {
            return watched;
        }
    }
    return NULL;
}

static struct watched *add_watched(struct runner *runner, int file)
{
    struct watched *watched = calloc(1, sizeof *watched);

    if (watched == NULL || uv_poll_init(runner->loop, &watched->poll, file) != 0) {
        free(watched);
        return NULL;
    }
    watched->runner = runner;
    watched->file = file;
    runner->open_count++;
    list_push_back(&runner->polls, &watched->list);
    return watched;
}

static bool watch(void *context, int file, int events)
{
    struct runner *runner = context;
    struct watched *watched = find_watched(runner, file);
    int wanted = ((events & HOLDFAST_READABLE) != 0 ? UV_READABLE : 0) |
                 ((events & HOLDFAST_WRITABLE) != 0 ? UV_WRITABLE : 0);

    if (watched == NULL) {
        watched = add_watched(runner, file);
    }
    return watched != NULL && uv_poll_start(&watched->poll, wanted, on_poll) == 0;
}

static void on_poll_closed(uv_handle_t *handle)
{
    struct watched *watched = CONTAINER_OF(handle, struct watched, poll);
    struct runner *runner = watched->runner;

    free(watched);
    let_go(runner);
}

static void unwatch(void *context, int file)
{
    struct watched *watched = find_watched(context, file);

    ASSERT(watched != NULL);
    list_remove(&watched->list);
    (void)uv_poll_stop(&watched->poll);
    uv_close((uv_handle_t *)&watched->poll, on_poll_closed);
}

static void on_timer(uv_timer_t *timer)
{
    const struct runner *runner = timer->data;

    shell_timer_fired(runner->client->shell);
}

static void arm(void *context, uint64_t delay_ms)
{
    struct runner *runner = context;

    uv_update_time(runner->loop);
    int failed = uv_timer_start(&runner->timer, on_timer, delay_ms, 0);
    ASSERT(failed == 0);
}

static void disarm(void *context)
{
    struct runner *runner = context;

    (void)uv_timer_stop(&runner->timer);
}

static void wake(void *context)
{
    struct runner *runner = context;

    if (!runner->is_threaded) {
        shell_due(runner->client->shell); /* The prepare handle runs before the loop waits. */
        return;
    }
    int failed = uv_async_send(&runner->async);
    ASSERT(failed == 0);
}

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *found)
{
    struct lookup *lookup = CONTAINER_OF(request, struct lookup, request);
    struct runner *runner = lookup->runner;

    if (!runner->is_closing) {
        shell_resolved_any(runner->client->shell, lookup->ticket, status == 0 ? found : NULL);
    }
    uv_freeaddrinfo(found);
    list_remove(&lookup->list);
    free(lookup);
    let_go(runner);
}

static void resolve(void *context, uint64_t ticket, const char *host, const char *port)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_family = AF_UNSPEC};
    struct runner *runner = context;
    struct lookup *lookup = calloc(1, sizeof *lookup);

    if (lookup == NULL ||
        uv_getaddrinfo(runner->loop, &lookup->request, on_resolved, host, port, &hints) != 0) {
        free(lookup);
        shell_resolved(runner->client->shell, ticket, NULL, 0);
        return;
    }
    lookup->runner = runner;
    lookup->ticket = ticket;
    runner->open_count++;
    list_push_back(&runner->lookups, &lookup->list);
}

/* --- Opening --------------------------------------------------------------------------------- */

static void on_prepare(uv_prepare_t *prepare)
{
    turn(prepare->data);
}

static void on_check(uv_check_t *check)
{
    turn(check->data);
}

static void on_async(uv_async_t *async)
{
    const struct runner *runner = async->data;

    shell_due(runner->client->shell);
}

static enum error open_handles(struct runner *runner)
{
    uv_loop_t *loop = runner->loop;

    runner->prepare.data = runner;
    runner->check.data = runner;
    runner->timer.data = runner;
    runner->async.data = runner;
    if (uv_async_init(loop, &runner->async, on_async) != 0) {
        return ERR_FULL; /* The only one that can fail, and the first. */
    }
    (void)uv_prepare_init(loop, &runner->prepare);
    (void)uv_check_init(loop, &runner->check);
    (void)uv_timer_init(loop, &runner->timer);
    (void)uv_prepare_start(&runner->prepare, on_prepare);
    (void)uv_check_start(&runner->check, on_check);
    runner->open_count = 4;
    return ERR_OK;
}

enum error runner_open(struct runner **opened, struct holdfast *client, struct uv_loop_s *loop)
{
    struct runner *runner = calloc(1, sizeof *runner);
    struct holdfast_hooks hooks = {.context = runner,
                                   .watch = watch,
                                   .unwatch = unwatch,
                                   .arm = arm,
                                   .disarm = disarm,
                                   .wake = wake,
                                   .resolve = resolve};

    if (runner == NULL) {
        return ERR_FULL;
    }
    runner->client = client;
    runner->is_threaded = loop == NULL;
    runner->loop = loop == NULL ? &runner->own_loop : loop;
    list_init(&runner->polls);
    list_init(&runner->lookups);
    if (runner->is_threaded && uv_loop_init(&runner->own_loop) != 0) {
        goto undo_runner;
    }
    if (shell_open(&client->shell, client, &hooks) != ERR_OK) {
        goto undo_loop;
    }
    if (open_handles(runner) != ERR_OK) {
        goto undo_shell;
    }
    *opened = runner;
    return ERR_OK;

undo_shell:
    shell_free(client->shell);
    client->shell = NULL;
undo_loop:
    if (runner->is_threaded) {
        (void)uv_loop_close(&runner->own_loop);
    }
undo_runner:
    free(runner);
    return ERR_FULL;
}

/* --- The thread ------------------------------------------------------------------------------ */

static void *run_thread(void *context)
{
    const struct runner *runner = context;
    int left = uv_run(runner->loop, UV_RUN_DEFAULT);
    ASSERT(left == 0 && runner->open_count == 0);
    return NULL;
}

static void free_all(struct runner *runner)
{
    struct holdfast *client = runner->client;
    int failed = uv_loop_close(&runner->own_loop);

    ASSERT(failed == 0);
    free(runner);
    client_free(client);
}

enum error runner_start(struct runner *runner)
{
    if (!runner->is_threaded || pthread_create(&runner->thread, NULL, run_thread, runner) == 0) {
        return ERR_OK;
    }
    shell_stop(runner->client->shell);
    close_handles(runner);
    (void)uv_run(runner->loop, UV_RUN_DEFAULT);
    free_all(runner);
    return ERR_FULL;
}

bool runner_is_within(const struct runner *runner)
{
    return runner->is_threaded && pthread_equal(pthread_self(), runner->thread);
}

void runner_join(struct runner *runner)
{
    ASSERT(runner->is_threaded && !runner_is_within(runner));
    int failed = pthread_join(runner->thread, NULL);
    ASSERT(failed == 0);
    free_all(runner);
}
