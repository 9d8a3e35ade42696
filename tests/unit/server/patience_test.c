/* tests/unit/server/patience_test.c: clients of server/connections.c that do not read, or trickle.
 */
#define _GNU_SOURCE /* NOLINT(bugprone-reserved-identifier): the C library's own switch. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/connections.h"
#include "tests/support/server/socket.h"

enum {
    CLIENT_COUNT_MAX = 25, /* More than are looked at together. */
    EVENT_COUNT = 64,
    TIME_MAX_S = 60, /* A test that hangs dies. */
    LONG_MS = TIME_MAX_S * 1000,
    BLOCK_SIZE = 64 << 10,
};

struct fixture {
    uv_loop_t loop;
    struct logger logger;
    int log[2]; /* A pipe. */
    struct connections *connections;
    uint16_t port;
    struct node_event events[EVENT_COUNT];
    uint32_t event_count; /* Gathered and not settled yet. */
};

static void fixture_open(struct fixture *fixture, uint32_t unread_ms_max, uint32_t partial_ms_max)
{
    const struct connections_options options = {.client_count_max = CLIENT_COUNT_MAX,
                                                .peer_count_max = 1,
                                                .client_buffered_max = 64 << 20,
                                                .peer_buffered_max = 1 << 20,
                                                .unread_ms_max = unread_ms_max,
                                                .partial_ms_max = partial_ms_max};

    memset(fixture, 0, sizeof(*fixture));
    (void)alarm(TIME_MAX_S);
    (void)signal(SIGPIPE, SIG_IGN); /* As the server does. */
    assert_int_equal(uv_loop_init(&fixture->loop), 0);
    assert_int_equal(pipe2(fixture->log, O_CLOEXEC | O_NONBLOCK), 0);
    logger_init(&fixture->logger, fixture->log[1], "n1");
    fixture->connections = connections_open(&fixture->loop, &fixture->logger, &options);
    assert_non_null(fixture->connections);
    fixture->port = socket_free_port();
    const struct address address = {.host = "127.0.0.1", .port = fixture->port};

    assert_int_equal(connections_listen_clients(fixture->connections, &address), 0);
}

static void fixture_close(struct fixture *fixture)
{
    connections_close(fixture->connections);
    assert_int_equal(uv_run(&fixture->loop, UV_RUN_DEFAULT), 0);
    connections_free(fixture->connections);
    assert_int_equal(uv_loop_close(&fixture->loop), 0);
    close(fixture->log[0]);
    close(fixture->log[1]);
    (void)alarm(0);
}

/* What the test has not consumed stays. */
static void settle(struct fixture *fixture)
{
    connections_settle(fixture->connections, fixture->events, fixture->event_count);
    connections_flush(fixture->connections);
    fixture->event_count = 0;
}

/* Runs the loop until an event of that kind has come; others before it are settled, their bytes
 * unread. The event stays valid until the next settle(). */
static struct node_event *await(struct fixture *fixture, enum node_event_kind kind)
{
    for (;;) {
        for (uint32_t i = 0; i < fixture->event_count; i++) {
            if (fixture->events[i].kind == kind) {
                return &fixture->events[i];
            }
        }
        settle(fixture);
        if (!connections_are_ready(fixture->connections)) {
            (void)uv_run(&fixture->loop, UV_RUN_ONCE);
        }
        fixture->event_count =
            connections_gather(fixture->connections, fixture->events, EVENT_COUNT);
    }
}

static world_connection open_client(struct fixture *fixture, int *socket)
{
    *socket = socket_dial(fixture->port);
    world_connection number = await(fixture, NODE_CLIENT_OPENED)->connection;

    settle(fixture);
    return number;
}

static bool say_block(struct fixture *fixture, world_connection connection)
{
    uint8_t *room = connections_reserve(fixture->connections, connection, BLOCK_SIZE);

    if (room != NULL) {
        memset(room, 7, BLOCK_SIZE);
        connections_commit(fixture->connections, connection, BLOCK_SIZE);
    }
    return room != NULL;
}

static uint64_t now_ms(struct fixture *fixture)
{
    uv_update_time(&fixture->loop);
    return uv_now(&fixture->loop);
}

static bool has_logged(const struct fixture *fixture, const char *text)
{
    char memory[4096];
    ssize_t size = read(fixture->log[0], memory, sizeof(memory) - 1);

    memory[size > 0 ? size : 0] = '\0';
    return strstr(memory, text) != NULL;
}

static void a_client_that_does_not_read_is_closed_after_its_time(void **state)
{
    struct fixture fixture;
    int socket;
    fixture_open(&fixture, 400, LONG_MS);
    world_connection connection = open_client(&fixture, &socket);
    uint64_t begin_ms = now_ms(&fixture);

    /* As much as sockets take, and buffers behind them. */
    while (say_block(&fixture, connection)) {
        settle(&fixture);
        (void)uv_run(&fixture.loop, UV_RUN_NOWAIT);
    }
    assert_int_equal(await(&fixture, NODE_CLIENT_CLOSED)->connection, connection);
    settle(&fixture);

    assert_in_range(now_ms(&fixture) - begin_ms, 400, 9000);
    assert_true(has_logged(&fixture, "it does not read what it is sent"));
    close(socket);
    fixture_close(&fixture);
    (void)state;
}

static void a_client_that_has_read_in_time_stays(void **state)
{
    enum { SIZE = 48 * BLOCK_SIZE };
    struct fixture fixture;
    uint8_t heard[BLOCK_SIZE];
    size_t size = 0;
    int socket;
    fixture_open(&fixture, 400, LONG_MS);
    world_connection connection = open_client(&fixture, &socket);
    for (size_t said = 0; said < SIZE; said += BLOCK_SIZE) {
        assert_true(say_block(&fixture, connection));
    }

    while (size < SIZE) {
        settle(&fixture);
        (void)uv_run(&fixture.loop, UV_RUN_NOWAIT);
        ssize_t part = recv(socket, heard, sizeof(heard), MSG_DONTWAIT);
        size += part > 0 ? (size_t)part : 0;
    }
    /* Each client is looked at once in a second. */
    for (uint64_t until_ms = now_ms(&fixture) + 1600; now_ms(&fixture) < until_ms;) {
        (void)uv_run(&fixture.loop, UV_RUN_ONCE);
    }
    assert_int_equal(write(socket, "a", 1), 1);

    assert_int_equal(await(&fixture, NODE_CLIENT_DATA)->connection, connection);
    close(socket);
    fixture_close(&fixture);
    (void)state;
}

static void clients_whose_message_does_not_become_whole_are_closed_after_their_time(void **state)
{
    struct fixture fixture;
    int sockets[CLIENT_COUNT_MAX];
    uint32_t closed_count = 0;
    fixture_open(&fixture, LONG_MS, 500);
    for (int i = 0; i < CLIENT_COUNT_MAX; i++) {
        (void)open_client(&fixture, &sockets[i]);
    }
    uint64_t begin_ms = now_ms(&fixture);

    /* The last one trickles: each byte comes in time, its message does not. */
    while (closed_count < CLIENT_COUNT_MAX) {
        (void)send(sockets[CLIENT_COUNT_MAX - 1], "a", 1, MSG_NOSIGNAL);
        (void)uv_run(&fixture.loop, UV_RUN_ONCE);
        fixture.event_count = connections_gather(fixture.connections, fixture.events, EVENT_COUNT);
        for (uint32_t i = 0; i < fixture.event_count; i++) {
            closed_count += fixture.events[i].kind == NODE_CLIENT_CLOSED ? 1 : 0;
        }
        settle(&fixture);
    }

    assert_in_range(now_ms(&fixture) - begin_ms, 400, 10000);
    assert_true(has_logged(&fixture, "did not become whole in time"));
    for (int i = 0; i < CLIENT_COUNT_MAX; i++) {
        close(sockets[i]);
    }
    fixture_close(&fixture);
    (void)state;
}

static void a_client_whose_messages_become_whole_stays_however_slow_it_is(void **state)
{
    struct fixture fixture;
    int socket;
    fixture_open(&fixture, LONG_MS, 500);
    world_connection connection = open_client(&fixture, &socket);

    /* Always in the middle of a message, but never for long in the same one. */
    for (uint64_t until_ms = now_ms(&fixture) + 2500; now_ms(&fixture) < until_ms;) {
        assert_int_equal(write(socket, "ab", 2), 2);
        struct node_event *event = await(&fixture, NODE_CLIENT_DATA);
        event->consumed = event->data.size - 1;
        settle(&fixture);
        (void)uv_run(&fixture.loop, UV_RUN_ONCE); /* Until clients are looked at. */
    }
    /* And then idle, with nothing begun. */
    assert_int_equal(write(socket, "c", 1), 1);
    struct node_event *last = await(&fixture, NODE_CLIENT_DATA);
    last->consumed = last->data.size;
    settle(&fixture);
    for (uint64_t until_ms = now_ms(&fixture) + 1600; now_ms(&fixture) < until_ms;) {
        (void)uv_run(&fixture.loop, UV_RUN_ONCE);
    }

    assert_int_equal(write(socket, "d", 1), 1);
    assert_int_equal(await(&fixture, NODE_CLIENT_DATA)->connection, connection);
    close(socket);
    fixture_close(&fixture);
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_client_that_does_not_read_is_closed_after_its_time),
        cmocka_unit_test(a_client_that_has_read_in_time_stays),
        cmocka_unit_test(clients_whose_message_does_not_become_whole_are_closed_after_their_time),
        cmocka_unit_test(a_client_whose_messages_become_whole_stays_however_slow_it_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
