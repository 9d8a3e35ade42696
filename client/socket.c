/* client/socket.c: the shell: sockets and the turn, over six hooks into somebody's loop. libuv's
 * (uv.c) is one of those.
 *
 * What the loop says is only noted; the turn hands it all to the core, then writes what the core
 * left in output buffers, one call for each connection. */
#define _DEFAULT_SOURCE /* NOLINT(bugprone-reserved-identifier): the C library's own switch. */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client/client.h"

enum {
    INPUT_SIZE = WIRE_FRAME_SIZE_MAX + (128 << 10), /* One whole message and the next reads. */
    INPUT_ROOM_MIN = 64 << 10,
    OUTPUT_SIZE = 2 * CORE_OUTPUT_SIZE_MIN,
    /* Timers of a loop stand still while the machine is suspended: with sessions open the clock is
     * looked at this often. */
    WAKE_MS_MAX = 1000,
    KEEPALIVE_S = 15,
};

/* A socket of one place of the core's table of connections. */
struct link {
    struct core_connection *connection;
    int file;        /* -1: none. */
    int events;      /* What the loop watches it for. */
    uint64_t ticket; /* Of a name that is being looked up; 0: none. */
    bool is_connecting;
    bool is_blocked; /* The socket takes no more for now. */
    bool connected;  /* News for the core. */
    bool broken;
    uint8_t *input; /* INPUT_SIZE; NULL until it is needed. */
    size_t input_start;
    size_t input_size;
    uint8_t *output; /* OUTPUT_SIZE */
    size_t written;
};

struct shell {
    struct holdfast *client;
    struct holdfast_hooks hooks;
    uint64_t armed_ms; /* What the timer is set to, by our clock; CORE_NEVER: it is not. */
    uint64_t ticket_count;
    bool is_due; /* A turn is needed. */
    bool is_turning;
    bool is_closed;
    uint32_t link_count;
    struct link *links;
};

void shell_wake(struct shell *shell)
{
    shell->hooks.wake(shell->hooks.context);
}

void shell_due(struct shell *shell)
{
    shell->is_due = true;
}

void shell_timer_fired(struct shell *shell)
{
    shell->armed_ms = CORE_NEVER;
    shell->is_due = true;
}

static void note_broken(struct shell *shell, struct link *link)
{
    link->broken = true;
    shell->is_due = true;
}

static void watch(struct shell *shell, struct link *link, int events)
{
    if (link->events == events) {
        return;
    }
    if (shell->hooks.watch(shell->hooks.context, link->file, events)) {
        link->events = events;
    } else {
        note_broken(shell, link);
    }
}

/* --- Dialing --------------------------------------------------------------------------------- */

static void note_connected(struct shell *shell, struct link *link)
{
    link->is_connecting = false;
    link->connected = true;
    shell->is_due = true;
    watch(shell, link, HOLDFAST_READABLE);
}

static void set_option(int file, int level, int name, int value)
{
    (void)setsockopt(file, level, name, &value, sizeof value);
}

static void connect_to(struct shell *shell, struct link *link, const struct sockaddr *address,
                       socklen_t size)
{
    ASSERT(link->file < 0);
    link->file = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (link->file < 0) {
        note_broken(shell, link);
        return;
    }
    set_option(link->file, IPPROTO_TCP, TCP_NODELAY, 1);
    set_option(link->file, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_option(link->file, IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_S);
    if (connect(link->file, address, size) == 0) {
        note_connected(shell, link);
    } else if (errno == EINPROGRESS) {
        link->is_connecting = true;
        watch(shell, link, HOLDFAST_WRITABLE);
    } else {
        note_broken(shell, link);
    }
}

static struct link *link_of_ticket(struct shell *shell, uint64_t ticket)
{
    for (uint32_t i = 0; i < shell->link_count; i++) {
        if (ticket != 0 && shell->links[i].ticket == ticket) {
            return &shell->links[i];
        }
    }
    return NULL;
}

void shell_resolved(struct shell *shell, uint64_t ticket, const struct sockaddr *address,
                    size_t size)
{
    struct link *link = link_of_ticket(shell, ticket);

    if (link == NULL) {
        return; /* The connection was given up meanwhile. */
    }
    link->ticket = 0;
    if (address == NULL) {
        note_broken(shell, link);
    } else {
        connect_to(shell, link, address, (socklen_t)size);
    }
}

/* One of the addresses of the name, at random: the next try may take another. */
void shell_resolved_any(struct shell *shell, uint64_t ticket, const struct addrinfo *found)
{
    uint64_t count = 0;

    for (const struct addrinfo *at = found; at != NULL; at = at->ai_next) {
        count++;
    }
    uint64_t chosen = count == 0 ? 0 : prng_below(&shell->client->core.prng, count);
    const struct addrinfo *at = found;
    for (; at != NULL && chosen > 0; chosen--) {
        at = at->ai_next;
    }
    shell_resolved(shell, ticket, at == NULL ? NULL : at->ai_addr, at == NULL ? 0 : at->ai_addrlen);
}

static void resolve(struct shell *shell, struct link *link, const char *host, const char *port)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                             .ai_family = AF_UNSPEC,
                             .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
    struct addrinfo *found = NULL;

    shell->ticket_count++;
    link->ticket = shell->ticket_count;
    int failed = getaddrinfo(host, port, &hints, &found);
    if (failed != 0 && shell->hooks.resolve != NULL) {
        shell->hooks.resolve(shell->hooks.context, link->ticket, host, port);
        return;
    }
    if (failed != 0) {
        hints.ai_flags = 0;
        failed = getaddrinfo(host, port, &hints, &found);
    }
    shell_resolved_any(shell, link->ticket, failed == 0 ? found : NULL);
    if (failed == 0) {
        freeaddrinfo(found);
    }
}

/* `address` is "host:port" or "[v6]:port", checked by the core. */
static void dial_address(struct shell *shell, struct link *link, struct bytes address)
{
    char text[CORE_ADDRESS_SIZE_MAX + 1];

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
    resolve(shell, link, host, colon + 1);
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

static void dial(struct shell *shell, struct link *link)
{
    ASSERT(link->file < 0 && link->ticket == 0);
    core_dialing(&shell->client->core, link->connection);
    link->events = 0;
    link->is_connecting = false;
    link->is_blocked = false;
    link->connected = false;
    link->broken = false;
    link->input_start = 0;
    link->input_size = 0;
    link->written = 0;
    if (have_buffers(link)) {
        dial_address(shell, link, link->connection->address);
    } else {
        note_broken(shell, link);
    }
}

static void close_file(struct shell *shell, struct link *link)
{
    link->ticket = 0;
    if (link->file >= 0) {
        if (link->events != 0) {
            shell->hooks.unwatch(shell->hooks.context, link->file);
        }
        (void)close(link->file);
        link->file = -1;
    }
}

/* --- Reading and writing --------------------------------------------------------------------- */

static void read_some(struct shell *shell, struct link *link)
{
    size_t room = INPUT_SIZE - link->input_size;

    if (room == 0) {
        return; /* Until the turn has taken it. */
    }
    ssize_t count = recv(link->file, link->input + link->input_size, room, 0);
    if (count > 0) {
        link->input_size += (size_t)count;
        shell->is_due = true;
    } else if (count == 0 || (errno != EAGAIN && errno != EINTR)) {
        note_broken(shell, link);
    }
}

static void finish_connecting(struct shell *shell, struct link *link)
{
    int error = 0;
    socklen_t size = sizeof error;

    if (getsockopt(link->file, SOL_SOCKET, SO_ERROR, &error, &size) != 0 || error != 0) {
        note_broken(shell, link);
    } else {
        note_connected(shell, link);
    }
}

void shell_ready(struct shell *shell, int file, int events)
{
    for (uint32_t i = 0; i < shell->link_count; i++) {
        struct link *link = &shell->links[i];
        if (link->file != file || link->broken) {
            continue;
        }
        if (link->is_connecting) {
            finish_connecting(shell, link);
            return;
        }
        if ((events & HOLDFAST_WRITABLE) != 0) {
            link->is_blocked = false;
            shell->is_due = true;
        }
        if ((events & HOLDFAST_READABLE) != 0) {
            read_some(shell, link);
        }
        return;
    }
}

/* Appended output goes out with one call; the rest when the socket takes more. */
static void flush(struct shell *shell, struct link *link)
{
    struct buffer *output = &link->connection->output;

    if (link->is_blocked || link->broken) {
        return;
    }
    if (output->size > link->written) {
        ssize_t count = send(link->file, output->data + link->written, output->size - link->written,
                             MSG_NOSIGNAL);
        if (count < 0 && errno != EAGAIN && errno != EINTR) {
            note_broken(shell, link);
            return;
        }
        link->written += count > 0 ? (size_t)count : 0;
    }
    link->is_blocked = link->written < output->size;
    watch(shell, link,
          link->is_blocked ? HOLDFAST_READABLE | HOLDFAST_WRITABLE : HOLDFAST_READABLE);
    if (!link->is_blocked) {
        output->size = 0;
        link->written = 0;
    }
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

static void serve(struct shell *shell, struct link *link)
{
    switch (link->connection->state) {
    case CORE_DIAL_WANTED:
        dial(shell, link);
        return;
    case CORE_GREETING:
    case CORE_STANDBY:
    case CORE_LEADER:
        compact(link);
        flush(shell, link);
        return;
    case CORE_CLOSE_WANTED:
        close_file(shell, link);
        core_closed(&shell->client->core, link->connection);
        shell->is_due = true;
        return;
    case CORE_CLOSED:
    case CORE_DIALING:
        return;
    }
    UNREACHABLE();
}

static void arm(struct shell *shell, uint64_t now_ms)
{
    uint64_t wake_ms = client_wake_ms(shell->client);

    if (!list_is_empty(&shell->client->core.sessions) && wake_ms > now_ms + WAKE_MS_MAX) {
        wake_ms = now_ms + WAKE_MS_MAX;
    }
    if (wake_ms >= shell->armed_ms) {
        return; /* It fires early, and is set anew then. */
    }
    shell->armed_ms = wake_ms;
    shell->hooks.arm(shell->hooks.context, wake_ms > now_ms ? wake_ms - now_ms : 0);
}

void shell_stop(struct shell *shell)
{
    for (uint32_t i = 0; i < shell->link_count; i++) {
        close_file(shell, &shell->links[i]);
    }
    shell->hooks.disarm(shell->hooks.context);
    shell->is_closed = true;
}

bool shell_turn(struct shell *shell)
{
    if (!shell->is_due || shell->is_turning || shell->is_closed) {
        return false; /* A callback that runs the loop does not get a turn within the turn. */
    }
    shell->is_turning = true;
    shell->is_due = false;
    uint64_t now_ms = host_now_ms();
    bool again = client_turn(shell->client, now_ms);
    for (uint32_t i = 0; i < shell->link_count; i++) {
        serve(shell, &shell->links[i]);
    }
    shell->is_turning = false;
    if (core_is_closed(&shell->client->core)) {
        shell_stop(shell);
        return true;
    }
    if (again || shell->is_due) {
        shell->is_due = true;
        shell->armed_ms = now_ms;
        shell->hooks.arm(shell->hooks.context, 0);
    } else {
        arm(shell, now_ms);
    }
    return false;
}

/* --- Opening --------------------------------------------------------------------------------- */

enum error shell_open(struct shell **opened, struct holdfast *client,
                      const struct holdfast_hooks *hooks)
{
    struct core *core = &client->core;
    struct shell *shell = calloc(1, sizeof *shell);

    if (shell == NULL) {
        return ERR_FULL;
    }
    shell->links = calloc(core->connection_count, sizeof *shell->links);
    if (shell->links == NULL) {
        free(shell);
        return ERR_FULL;
    }
    shell->client = client;
    shell->hooks = *hooks;
    shell->armed_ms = CORE_NEVER;
    shell->is_due = true;
    shell->link_count = core->connection_count;
    for (uint32_t i = 0; i < shell->link_count; i++) {
        shell->links[i].connection = &core->connections[i];
        shell->links[i].file = -1;
    }
    *opened = shell;
    return ERR_OK;
}

void shell_free(struct shell *shell)
{
    for (uint32_t i = 0; i < shell->link_count; i++) {
        ASSERT(shell->links[i].file < 0);
        free(shell->links[i].input);
        free(shell->links[i].output);
    }
    free(shell->links);
    free(shell);
}
