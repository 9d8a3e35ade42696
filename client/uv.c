/* client/uv.c: the shell: loop, sockets, thread. The only file that knows libuv.
 *
 * Callbacks of libuv only note what happened; a prepare and a check handle run the turn, which
 * hands it all to the core and then writes what the core left in output buffers, one call for each
 * connection. */
#define _DEFAULT_SOURCE /* NOLINT(bugprone-reserved-identifier): the C library's own switch. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "client/client.h"

enum {
    INPUT_SIZE = WIRE_FRAME_SIZE_MAX + (128 << 10), /* One whole message and the next reads. */
    INPUT_ROOM_MIN = 64 << 10,
    OUTPUT_SIZE = 2 * CORE_OUTPUT_SIZE_MIN,
    /* Timers of the loop stand still while the machine is suspended: with sessions open the clock
     * is looked at this often. */
    WAKE_MS_MAX = 1000,
    HANDLE_COUNT = 4, /* prepare, check, timer, async */
};

/* A socket of one place of the core's table of connections. */
struct link {
    struct shell *shell;
    struct core_connection *connection;
    uv_tcp_t tcp;
    uv_connect_t connect;
    uv_write_t write;
    uv_getaddrinfo_t resolve;
    bool is_open; /* `tcp` is a live handle. */
    bool is_resolving;
    bool is_writing;
    bool is_closing;
    bool connected; /* News for the core. */
    bool broken;
    uint8_t *input; /* INPUT_SIZE; NULL until it is needed. */
    size_t input_start;
    size_t input_size;
    uint8_t *output; /* OUTPUT_SIZE */
    size_t written;
    size_t writing_size; /* Of the write on its way. */
};

struct shell {
    struct holdfast *client;
    uv_loop_t *loop;
    uv_loop_t own_loop;
    bool is_threaded;
    pthread_t thread;
    uv_prepare_t prepare;
    uv_check_t check;
    uv_timer_t timer;
    uv_async_t async;
    uint64_t armed_ms; /* What the timer is set to, by our clock; CORE_NEVER: it is not. */
    bool is_due;       /* A turn is needed. */
    bool is_closing;
    uint32_t open_handle_count;
    uint32_t link_count;
    struct link *links;
};

void shell_wake(struct shell *shell)
{
    if (!shell->is_threaded) {
        shell->is_due = true; /* The prepare handle runs before the loop waits. */
        return;
    }
    int failed = uv_async_send(&shell->async);
    ASSERT(failed == 0);
}

/* --- Reading --------------------------------------------------------------------------------- */

static void note_broken(struct link *link)
{
    link->broken = true;
    link->shell->is_due = true;
}

static void on_allocate(uv_handle_t *handle, size_t suggested, uv_buf_t *room)
{
    struct link *link = handle->data;

    (void)suggested;
    *room = uv_buf_init((char *)link->input + link->input_size,
                        (unsigned)(INPUT_SIZE - link->input_size));
}

static void on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *room)
{
    struct link *link = stream->data;

    (void)room;
    if (count > 0) {
        link->input_size += (size_t)count;
        ASSERT(link->input_size <= INPUT_SIZE);
        link->shell->is_due = true;
    } else if (count < 0 && count != UV_ENOBUFS) { /* Full until the turn has taken it. */
        note_broken(link);
    }
}

/* --- Closing --------------------------------------------------------------------------------- */

static void finish_close(struct link *link)
{
    if (link->is_open || link->is_resolving || !link->is_closing) {
        return;
    }
    link->is_closing = false;
    link->shell->is_due = true;
    if (link->connection->state == CORE_CLOSE_WANTED) {
        core_closed(&link->shell->client->core, link->connection);
    }
}

static void on_link_closed(uv_handle_t *handle)
{
    struct link *link = handle->data;

    ASSERT(link->is_open);
    link->is_open = false;
    link->is_writing = false;
    finish_close(link);
}

static void close_link(struct link *link)
{
    if (link->is_closing) {
        return;
    }
    link->is_closing = true;
    if (link->is_resolving) {
        (void)uv_cancel((uv_req_t *)&link->resolve);
    }
    if (link->is_open) {
        uv_close((uv_handle_t *)&link->tcp, on_link_closed);
    }
    finish_close(link);
}

/* --- Dialing --------------------------------------------------------------------------------- */

static void on_connect(uv_connect_t *request, int status)
{
    struct link *link = request->data;

    if (link->is_closing) {
        return;
    }
    if (status != 0) {
        note_broken(link);
        return;
    }
    (void)uv_tcp_nodelay(&link->tcp, 1);
    (void)uv_tcp_keepalive(&link->tcp, 1, 15);
    if (uv_read_start((uv_stream_t *)&link->tcp, on_allocate, on_read) != 0) {
        note_broken(link);
        return;
    }
    link->connected = true;
    link->shell->is_due = true;
}

static void connect_to(struct link *link, const struct sockaddr *address)
{
    link->connect.data = link;
    if (uv_tcp_connect(&link->connect, &link->tcp, address, on_connect) != 0) {
        note_broken(link);
    }
}

/* One of the addresses of the name, at random: the next try may take another. */
static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *found)
{
    struct link *link = request->data;
    uint64_t count = 0;

    link->is_resolving = false;
    for (const struct addrinfo *at = found; status == 0 && at != NULL; at = at->ai_next) {
        count++;
    }
    if (link->is_closing) {
        finish_close(link);
    } else if (count == 0) {
        note_broken(link);
    } else {
        uint64_t chosen = prng_below(&link->shell->client->core.prng, count);
        const struct addrinfo *at = found;
        for (; at != NULL && chosen > 0; chosen--) {
            at = at->ai_next;
        }
        ASSERT(at != NULL);
        connect_to(link, at->ai_addr);
    }
    uv_freeaddrinfo(found);
}

static void resolve(struct link *link, const char *host, const char *port)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_family = AF_UNSPEC};

    link->resolve.data = link;
    if (uv_getaddrinfo(link->shell->loop, &link->resolve, on_resolved, host, port, &hints) != 0) {
        note_broken(link);
        return;
    }
    link->is_resolving = true;
}

/* `address` is "host:port" or "[v6]:port", checked by the core. */
static void dial_address(struct link *link, struct bytes address)
{
    char text[CORE_ADDRESS_SIZE_MAX + 1];
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;

    memcpy(text, address.data, address.size);
    text[address.size] = '\0';
    char *colon = strrchr(text, ':');
    ASSERT(colon != NULL);
    *colon = '\0';
    char *host = text;
    if (host[0] == '[' && colon > text && colon[-1] == ']') {
        host++;
        colon[-1] = '\0';
    }
    int port = (int)strtol(colon + 1, NULL, 10);
    if (uv_ip4_addr(host, port, &v4) == 0) {
        connect_to(link, (const struct sockaddr *)&v4);
    } else if (uv_ip6_addr(host, port, &v6) == 0) {
        connect_to(link, (const struct sockaddr *)&v6);
    } else {
        resolve(link, host, colon + 1);
    }
}

static bool have_buffers(struct link *link)
{
    if (link->input == NULL) {
        link->input = calloc(1, INPUT_SIZE);
    }
    if (link->output == NULL) {
        link->output = calloc(1, OUTPUT_SIZE);
    }
    return link->input != NULL && link->output != NULL;
}

static void dial(struct link *link)
{
    ASSERT(!link->is_open && !link->is_closing && !link->is_resolving);
    core_dialing(&link->shell->client->core, link->connection);
    link->connected = false;
    link->broken = false;
    link->is_writing = false;
    link->input_start = 0;
    link->input_size = 0;
    link->written = 0;
    link->writing_size = 0;
    if (!have_buffers(link) || uv_tcp_init(link->shell->loop, &link->tcp) != 0) {
        note_broken(link);
        return;
    }
    link->tcp.data = link;
    link->is_open = true;
    dial_address(link, link->connection->address);
}

/* --- Writing --------------------------------------------------------------------------------- */

static void on_written(uv_write_t *request, int status)
{
    struct link *link = request->data;

    if (link->is_closing) {
        return;
    }
    link->is_writing = false;
    link->written += link->writing_size;
    if (status != 0) {
        note_broken(link);
    }
    link->shell->is_due = true;
}

/* Appended output goes out with one call; what the socket does not take follows by itself. */
static void flush(struct link *link)
{
    struct buffer *output = &link->connection->output;
    uv_stream_t *stream = (uv_stream_t *)&link->tcp;

    if (link->is_writing || output->size == link->written) {
        return;
    }
    uv_buf_t rest =
        uv_buf_init((char *)output->data + link->written, (unsigned)(output->size - link->written));
    int count = uv_try_write(stream, &rest, 1);
    if (count > 0) {
        link->written += (size_t)count;
    }
    if (link->written == output->size) {
        output->size = 0;
        link->written = 0;
        return;
    }
    rest =
        uv_buf_init((char *)output->data + link->written, (unsigned)(output->size - link->written));
    link->write.data = link;
    link->writing_size = rest.len;
    if ((count < 0 && count != UV_EAGAIN) ||
        uv_write(&link->write, stream, &rest, 1, on_written) != 0) {
        note_broken(link);
        return;
    }
    link->is_writing = true;
}

/* --- The turn -------------------------------------------------------------------------------- */

void shell_receive(struct shell *shell)
{
    struct core *core = &shell->client->core;

    for (uint32_t i = 0; i < shell->link_count; i++) {
        struct link *link = &shell->links[i];
        if (link->connected) {
            link->connected = false;
            core_connected(core, link->connection, buffer_of(link->output, OUTPUT_SIZE));
        }
        if (link->input_size > link->input_start) {
            struct bytes input =
                bytes_of(link->input + link->input_start, link->input_size - link->input_start);
            core_receive(core, link->connection, &input);
            link->input_start = link->input_size - input.size;
        }
        if (link->broken) {
            link->broken = false;
            core_disconnected(core, link->connection);
        }
    }
}

/* Results that borrowed from the input have been told: it may move. */
static void compact(struct link *link)
{
    if (link->input_start == link->input_size) {
        link->input_start = 0;
        link->input_size = 0;
    } else if (INPUT_SIZE - link->input_size < INPUT_ROOM_MIN && link->input_start > 0) {
        memmove(link->input, link->input + link->input_start, link->input_size - link->input_start);
        link->input_size -= link->input_start;
        link->input_start = 0;
    }
}

static void serve(struct link *link)
{
    switch (link->connection->state) {
    case CORE_DIAL_WANTED:
        if (!link->is_closing) {
            dial(link);
        }
        return;
    case CORE_GREETING:
    case CORE_STANDBY:
    case CORE_LEADER:
        compact(link);
        flush(link);
        return;
    case CORE_CLOSE_WANTED:
        close_link(link);
        return;
    case CORE_CLOSED:
    case CORE_DIALING:
        return;
    }
    UNREACHABLE();
}

static void on_timer(uv_timer_t *timer)
{
    struct shell *shell = timer->data;

    shell->armed_ms = CORE_NEVER;
    shell->is_due = true;
}

static void arm(struct shell *shell, uint64_t now_ms)
{
    const struct core *core = &shell->client->core;
    uint64_t wake_ms = client_wake_ms(shell->client);

    if (!list_is_empty(&core->sessions) && wake_ms > now_ms + WAKE_MS_MAX) {
        wake_ms = now_ms + WAKE_MS_MAX;
    }
    if (wake_ms >= shell->armed_ms) {
        return; /* It fires early, and is set anew then. */
    }
    shell->armed_ms = wake_ms;
    uv_update_time(shell->loop);
    int failed =
        uv_timer_start(&shell->timer, on_timer, wake_ms > now_ms ? wake_ms - now_ms : 0, 0);
    ASSERT(failed == 0);
}

static void free_shell(struct shell *shell)
{
    for (uint32_t i = 0; i < shell->link_count; i++) {
        free(shell->links[i].input);
        free(shell->links[i].output);
    }
    free(shell->links);
    free(shell);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct shell *shell = handle->data;
    struct holdfast *client = shell->client;

    ASSERT(shell->open_handle_count > 0);
    shell->open_handle_count--;
    if (shell->open_handle_count > 0 || shell->is_threaded) {
        return; /* With a thread, shell_join() frees. */
    }
    void (*closed)(void *context) = client->closed;
    void *context = client->closed_context;
    client_free(client);
    free_shell(shell);
    if (closed != NULL) {
        closed(context);
    }
}

/* All links are closed: now the handles, and with the last of them everything. */
static void close_handles(struct shell *shell)
{
    for (uint32_t i = 0; i < shell->link_count; i++) {
        if (shell->links[i].is_open || shell->links[i].is_resolving) {
            return;
        }
    }
    shell->is_closing = true;
    uv_close((uv_handle_t *)&shell->prepare, on_handle_closed);
    uv_close((uv_handle_t *)&shell->check, on_handle_closed);
    uv_close((uv_handle_t *)&shell->timer, on_handle_closed);
    uv_close((uv_handle_t *)&shell->async, on_handle_closed);
}

static void turn(struct shell *shell)
{
    if (!shell->is_due || shell->is_closing) {
        return;
    }
    shell->is_due = false;
    uint64_t now_ms = host_now_ms();
    bool again = client_turn(shell->client, now_ms);
    for (uint32_t i = 0; i < shell->link_count; i++) {
        serve(&shell->links[i]);
    }
    if (core_is_closed(&shell->client->core)) {
        close_handles(shell);
        return;
    }
    if (again || shell->is_due) {
        shell->is_due = true;
        shell->armed_ms = now_ms;
        (void)uv_timer_start(&shell->timer, on_timer, 0, 0);
        return;
    }
    arm(shell, now_ms);
}

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
    struct shell *shell = async->data;

    shell->is_due = true;
}

/* --- Opening --------------------------------------------------------------------------------- */

static enum error open_handles(struct shell *shell)
{
    uv_loop_t *loop = shell->loop;

    shell->prepare.data = shell;
    shell->check.data = shell;
    shell->timer.data = shell;
    shell->async.data = shell;
    if (uv_async_init(loop, &shell->async, on_async) != 0) {
        return ERR_FULL; /* The only one that can fail, and the first. */
    }
    (void)uv_prepare_init(loop, &shell->prepare);
    (void)uv_check_init(loop, &shell->check);
    (void)uv_timer_init(loop, &shell->timer);
    (void)uv_prepare_start(&shell->prepare, on_prepare);
    (void)uv_check_start(&shell->check, on_check);
    shell->open_handle_count = HANDLE_COUNT;
    return ERR_OK;
}

static enum error open_links(struct shell *shell)
{
    struct core *core = &shell->client->core;

    shell->links = calloc(core->connection_count, sizeof *shell->links);
    if (shell->links == NULL) {
        return ERR_FULL;
    }
    shell->link_count = core->connection_count;
    for (uint32_t i = 0; i < shell->link_count; i++) {
        shell->links[i].shell = shell;
        shell->links[i].connection = &core->connections[i];
    }
    return ERR_OK;
}

enum error shell_open(struct shell **opened, struct holdfast *client, struct uv_loop_s *loop)
{
    struct shell *shell = calloc(1, sizeof *shell);

    if (shell == NULL) {
        return ERR_FULL;
    }
    shell->client = client;
    shell->is_threaded = loop == NULL;
    shell->loop = loop == NULL ? &shell->own_loop : loop;
    shell->armed_ms = CORE_NEVER;
    shell->is_due = true;
    if (open_links(shell) != ERR_OK) {
        goto undo_shell;
    }
    if (shell->is_threaded && uv_loop_init(&shell->own_loop) != 0) {
        goto undo_shell;
    }
    if (open_handles(shell) != ERR_OK) {
        goto undo_loop;
    }
    *opened = shell;
    return ERR_OK;

undo_loop:
    if (shell->is_threaded) {
        (void)uv_loop_close(&shell->own_loop);
    }
undo_shell:
    free_shell(shell);
    return ERR_FULL;
}

/* --- The thread ------------------------------------------------------------------------------ */

static void *run_thread(void *context)
{
    struct shell *shell = context;
    int left = uv_run(shell->loop, UV_RUN_DEFAULT);
    ASSERT(left == 0 && shell->open_handle_count == 0);
    return NULL;
}

static void free_all(struct shell *shell)
{
    int failed = uv_loop_close(&shell->own_loop);
    ASSERT(failed == 0);
    client_free(shell->client);
    free_shell(shell);
}

enum error shell_start(struct shell *shell)
{
    if (!shell->is_threaded || pthread_create(&shell->thread, NULL, run_thread, shell) == 0) {
        return ERR_OK;
    }
    shell->is_due = false;
    close_handles(shell);
    (void)uv_run(shell->loop, UV_RUN_DEFAULT);
    free_all(shell);
    return ERR_FULL;
}

bool shell_is_within(const struct shell *shell)
{
    return shell->is_threaded && pthread_equal(pthread_self(), shell->thread);
}

void shell_join(struct shell *shell)
{
    ASSERT(shell->is_threaded && !shell_is_within(shell));
    int failed = pthread_join(shell->thread, NULL);
    ASSERT(failed == 0);
    free_all(shell);
}
