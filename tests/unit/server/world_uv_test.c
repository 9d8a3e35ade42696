/* tests/unit/server/world_uv_test.c: ports and links over loopback sockets, without a node.
 *
 * The source is included: linked from its archive it would come behind a world of tests, which
 * implements the same seam. */
#include "server/world_uv.c" /* NOLINT(bugprone-suspicious-include): see above. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include "tests/support/server/socket.h"
#include "wire/wire.h"

enum {
    CLIENT_COUNT_MAX = 2,
    EVENT_COUNT = 64,
    TIME_MAX_S = 30, /* A test that hangs dies. */
};

struct fixture {
    uv_loop_t loop;
    struct logger logger;
    struct world *world;
    struct world_uv_options options;
    int peer_listener; /* What our links dial. */
    uint16_t peer_port;
    struct node_event events[EVENT_COUNT];
    uint32_t event_count; /* Gathered and not settled yet. */
};

static struct address local(uint16_t port)
{
    return (struct address){.host = "127.0.0.1", .port = port};
}

static int open_fixture(void **state)
{
    static struct fixture fixture;
    int code = 0;

    memset(&fixture, 0, sizeof(fixture));
    (void)alarm(TIME_MAX_S);
    assert_int_equal(uv_loop_init(&fixture.loop), 0);
    logger_init(&fixture.logger, open("/dev/null", O_WRONLY | O_CLOEXEC), "n1");
    fixture.peer_listener = socket_listen(&fixture.peer_port);
    fixture.options = (struct world_uv_options){
        .client = local(socket_free_port()),
        .peer = local(socket_free_port()),
        .client_count_max = CLIENT_COUNT_MAX,
        .unread_ms_max = TIME_MAX_S * 1000,
        .partial_ms_max = TIME_MAX_S * 1000,
    };
    fixture.options.dials[0] = (struct world_uv_dial){"n9", local(fixture.peer_port)};
    fixture.options.dial_count = 1;
    assert_int_equal(
        world_uv_open(&fixture.world, &fixture.loop, &fixture.logger, &fixture.options, &code),
        WORLD_UV_OK);
    *state = &fixture;
    return 0;
}

static int close_fixture(void **state)
{
    struct fixture *fixture = *state;

    world_uv_close(fixture->world);
    assert_int_equal(uv_run(&fixture->loop, UV_RUN_DEFAULT), 0);
    world_uv_free(fixture->world);
    assert_int_equal(uv_loop_close(&fixture->loop), 0);
    close(fixture->peer_listener);
    close(fixture->logger.descriptor);
    (void)alarm(0);
    return 0;
}

/* --- Events ----------------------------------------------------------------------------------- */

/* Gives back what was gathered; what the test has not consumed stays. */
static void settle(struct fixture *fixture)
{
    world_uv_settle(fixture->world, fixture->events, fixture->event_count);
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
        if (!world_uv_is_ready(fixture->world)) {
            (void)uv_run(&fixture->loop, UV_RUN_ONCE);
        }
        fixture->event_count = world_uv_gather(fixture->world, fixture->events, EVENT_COUNT);
    }
}

static world_connection open_client(struct fixture *fixture, int *socket)
{
    *socket = socket_dial(fixture->options.client.port);
    return await(fixture, NODE_CLIENT_OPENED)->connection;
}

static void say(struct fixture *fixture, world_connection connection, const void *data, size_t size)
{
    uint8_t *room = world_reserve(fixture->world, connection, size);

    assert_non_null(room);
    memcpy(room, data, size);
    world_commit(fixture->world, connection, size);
}

/* One round of the loop that waits for nothing: closed sockets free their numbers. */
static void work(struct fixture *fixture)
{
    (void)uv_run(&fixture->loop, UV_RUN_NOWAIT);
    fixture->event_count = world_uv_gather(fixture->world, fixture->events, EVENT_COUNT);
    settle(fixture);
}

/* Lets the loop work until the socket has something to read. */
static void await_readable(struct fixture *fixture, int socket)
{
    struct pollfd ready = {.fd = socket, .events = POLLIN};

    settle(fixture);
    while (poll(&ready, 1, 1) == 0) {
        work(fixture);
    }
}

/* --- Clients ---------------------------------------------------------------------------------- */

static void client_opens_speaks_and_closes(void **state)
{
    struct fixture *fixture = *state;
    int socket;
    world_connection connection = open_client(fixture, &socket);

    assert_true(connection < world_uv_connection_count_max(&fixture->options));
    socket_send(socket, "abc", 3);
    struct node_event *event = await(fixture, NODE_CLIENT_DATA);
    assert_int_equal(event->connection, connection);
    assert_true(bytes_equal(event->data, bytes_of_text("abc")));
    event->consumed = 3;
    settle(fixture);
    close(socket);
    assert_int_equal(await(fixture, NODE_CLIENT_CLOSED)->connection, connection);
}

static void peer_has_events_and_numbers_of_its_own(void **state)
{
    struct fixture *fixture = *state;
    int socket = socket_dial(fixture->options.peer.port);

    assert_true(await(fixture, NODE_PEER_OPENED)->connection >= CLIENT_COUNT_MAX);
    socket_send(socket, "frame", 5);
    struct node_event *event = await(fixture, NODE_PEER_DATA);
    assert_true(bytes_equal(event->data, bytes_of_text("frame")));
    event->consumed = 5;
    close(socket);
    (void)await(fixture, NODE_PEER_CLOSED);
}

static void bytes_that_were_not_consumed_come_again_with_more_behind_them(void **state)
{
    struct fixture *fixture = *state;
    int socket;

    (void)open_client(fixture, &socket);
    socket_send(socket, "abc", 3);
    await(fixture, NODE_CLIENT_DATA)->consumed = 1;
    settle(fixture);
    assert_false(world_uv_is_ready(fixture->world));
    world_uv_repeat(fixture->world);
    assert_false(world_uv_is_ready(fixture->world));
    socket_send(socket, "de", 2);

    assert_true(bytes_equal(await(fixture, NODE_CLIENT_DATA)->data, bytes_of_text("bcde")));
    close(socket);
}

static void bytes_left_on_purpose_come_again_by_themselves(void **state)
{
    struct fixture *fixture = *state;
    int socket;

    (void)open_client(fixture, &socket);
    socket_send(socket, "abc", 3);
    await(fixture, NODE_CLIENT_DATA)->again = true;
    settle(fixture);
    assert_false(world_uv_is_ready(fixture->world));
    world_uv_repeat(fixture->world);

    assert_true(world_uv_is_ready(fixture->world));
    assert_true(bytes_equal(await(fixture, NODE_CLIENT_DATA)->data, bytes_of_text("abc")));
    close(socket);
}

static void bytes_and_their_end_come_in_order(void **state)
{
    struct fixture *fixture = *state;
    int socket = socket_dial(fixture->options.client.port);

    socket_send(socket, "last words", 10);
    close(socket);

    struct node_event *event = await(fixture, NODE_CLIENT_DATA);
    assert_true(bytes_equal(event->data, bytes_of_text("last words")));
    event->consumed = event->data.size;
    (void)await(fixture, NODE_CLIENT_CLOSED);
}

static void output_arrives(void **state)
{
    struct fixture *fixture = *state;
    int socket;
    char answer[8];
    world_connection connection = open_client(fixture, &socket);

    say(fixture, connection, "one", 3);
    say(fixture, connection, "two", 3);
    settle(fixture);

    socket_receive(socket, answer, 6);
    assert_memory_equal(answer, "onetwo", 6);
    close(socket);
}

/* More than the kernel takes at once: the rest flies while new output is filled in behind it. */
static void long_output_arrives_whole_and_in_order(void **state)
{
    enum { PART_SIZE = 512 << 10, PART_COUNT = 7 };
    static uint8_t part[PART_SIZE];
    struct fixture *fixture = *state;
    int socket;
    world_connection connection = open_client(fixture, &socket);
    size_t received = 0;

    for (int i = 0; i < PART_COUNT; i++) {
        memset(part, i, sizeof(part));
        say(fixture, connection, part, sizeof(part));
        settle(fixture);
    }
    while (received < (size_t)PART_SIZE * PART_COUNT) {
        await_readable(fixture, socket);
        ssize_t size = read(socket, part, sizeof(part));
        assert_true(size > 0);
        for (size_t i = 0; i < (size_t)size; i++) {
            assert_int_equal(part[i], (received + i) / PART_SIZE);
        }
        received += (size_t)size;
    }
    close(socket);
}

static void output_has_a_limit(void **state)
{
    struct fixture *fixture = *state;
    int socket;
    world_connection connection = open_client(fixture, &socket);
    uint32_t count = 0;

    while (world_reserve(fixture->world, connection, 1 << 20) != NULL) {
        world_commit(fixture->world, connection, 1 << 20);
        count++;
        assert_true(count <= 4);
    }

    assert_int_equal(count, 4);
    close(socket);
}

static void closed_connection_still_sends_what_was_committed(void **state)
{
    struct fixture *fixture = *state;
    int socket;
    char answer[8];
    world_connection connection = open_client(fixture, &socket);

    say(fixture, connection, "bye", 3);
    world_close(fixture->world, connection);
    assert_null(world_reserve(fixture->world, connection, 1));
    socket_send(socket, "not read", 8);
    settle(fixture);

    await_readable(fixture, socket);
    socket_receive(socket, answer, 3);
    assert_memory_equal(answer, "bye", 3);
    await_readable(fixture, socket);
    assert_int_equal(read(socket, answer, 1), 0);
    close(socket);
}

static void closed_connection_ends_though_the_other_side_stays(void **state)
{
    struct fixture *fixture = *state;
    int socket;
    world_connection connection = open_client(fixture, &socket);

    world_close(fixture->world, connection);

    assert_int_equal(await(fixture, NODE_CLIENT_CLOSED)->connection, connection);
    close(socket);
}

static void one_connection_too_many_is_closed_at_once(void **state)
{
    struct fixture *fixture = *state;
    int sockets[CLIENT_COUNT_MAX];
    char byte;

    for (uint32_t i = 0; i < CLIENT_COUNT_MAX; i++) {
        (void)open_client(fixture, &sockets[i]);
        settle(fixture);
    }
    int refused = socket_dial(fixture->options.client.port);
    int refused_too = socket_dial(fixture->options.client.port);
    await_readable(fixture, refused);
    assert_int_equal(read(refused, &byte, 1), 0);
    await_readable(fixture, refused_too);
    assert_int_equal(read(refused_too, &byte, 1), 0);

    close(sockets[0]);
    (void)await(fixture, NODE_CLIENT_CLOSED);
    settle(fixture);
    work(fixture);
    int welcome = socket_dial(fixture->options.client.port);
    (void)await(fixture, NODE_CLIENT_OPENED);
    close(welcome);
    close(refused);
    close(refused_too);
    close(sockets[1]);
}

/* Sends without waiting until neither the kernel nor the world takes more. */
static void flood(struct fixture *fixture, int socket)
{
    static const uint8_t zeros[1 << 16];
    uint32_t idle_count = 0;

    socket_unblock(socket);
    /* The kernel may hold bytes back for a moment: only many refusals in a row are an end. */
    while (idle_count < 20) {
        idle_count = write(socket, zeros, sizeof(zeros)) > 0 ? 0 : idle_count + 1;
        (void)uv_run(&fixture->loop, UV_RUN_NOWAIT);
    }
}

static void reading_stops_while_the_inbox_is_full(void **state)
{
    struct fixture *fixture = *state;
    int socket;

    (void)open_client(fixture, &socket);
    settle(fixture);
    flood(fixture, socket);

    struct node_event *event = await(fixture, NODE_CLIENT_DATA);
    size_t size = event->data.size;
    assert_true(size >= WIRE_FRAME_SIZE_MAX);
    assert_true(size <= WIRE_FRAME_SIZE_MAX + (64 << 10));
    event->again = true;
    settle(fixture);
    world_uv_repeat(fixture->world);
    event = await(fixture, NODE_CLIENT_DATA);
    assert_int_equal(event->data.size, size);
    event->consumed = size;
    settle(fixture);
    assert_true(await(fixture, NODE_CLIENT_DATA)->data.size > 0);
    close(socket);
}

static void message_that_never_ends_is_cut_off(void **state)
{
    struct fixture *fixture = *state;
    int socket;

    (void)open_client(fixture, &socket);
    settle(fixture);
    flood(fixture, socket);

    (void)await(fixture, NODE_CLIENT_DATA);
    (void)await(fixture, NODE_CLIENT_CLOSED);
    close(socket);
}

static void port_in_use_is_refused(void **state)
{
    struct fixture *fixture = *state;
    struct world_uv_options options = fixture->options;
    struct world *other;
    int code = 0;

    ASSERT(world_uv_open(&other, &fixture->loop, &fixture->logger, &options, &code) ==
           WORLD_UV_CLIENT_PORT);
    assert_int_equal(code, UV_EADDRINUSE);
    world_uv_close(other);
    (void)uv_run(&fixture->loop, UV_RUN_NOWAIT);
    world_uv_free(other);
}

/* --- Links ------------------------------------------------------------------------------------ */

static void set_peer(struct fixture *fixture, uint16_t port)
{
    char address[32];

    snprintf(address, sizeof(address), "127.0.0.1:%u", (unsigned)port);
    world_set_peer(fixture->world, 1, bytes_of_text("n2"), bytes_of_text(address));
}

static void both_lanes_are_dialed_and_carry_output(void **state)
{
    struct fixture *fixture = *state;
    static const uint8_t ping[] = {'p', 'i', 'n', 'g'};
    char answer[4];
    uint32_t up_count = 0;

    assert_null(world_reserve_link(fixture->world, 1, WORLD_LANE_FAST, 1));
    set_peer(fixture, fixture->peer_port);
    while (up_count < WORLD_LANE_COUNT) {
        struct node_event *event = await(fixture, NODE_LINK_UP);
        uint8_t *room = world_reserve_link(fixture->world, 1, event->lane, 4);

        assert_int_equal(event->peer, 1);
        assert_non_null(room);
        memcpy(room, ping, sizeof(ping));
        world_commit_link(fixture->world, 1, event->lane, 4);
        event->kind = NODE_STOP; /* Seen. */
        up_count++;
    }
    settle(fixture);

    for (uint32_t i = 0; i < WORLD_LANE_COUNT; i++) {
        int socket = socket_accept(fixture->peer_listener);
        socket_receive(socket, answer, 4);
        assert_memory_equal(answer, "ping", 4);
        close(socket);
    }
}

static void link_that_broke_is_told_and_dialed_again(void **state)
{
    struct fixture *fixture = *state;

    set_peer(fixture, fixture->peer_port);
    (void)await(fixture, NODE_LINK_UP);
    settle(fixture);
    close(socket_accept(fixture->peer_listener));

    (void)await(fixture, NODE_LINK_DOWN);
    settle(fixture);
    (void)await(fixture, NODE_LINK_UP);
}

static void answer_on_a_link_is_handed_over(void **state)
{
    struct fixture *fixture = *state;

    set_peer(fixture, fixture->peer_port);
    (void)await(fixture, NODE_LINK_UP);
    settle(fixture);
    int socket = socket_accept(fixture->peer_listener);
    socket_send(socket, "refused", 7);

    struct node_event *event = await(fixture, NODE_LINK_DATA);
    assert_int_equal(event->peer, 1);
    assert_true(bytes_equal(event->data, bytes_of_text("refused")));
    event->consumed = 7;
    settle(fixture);
    close(socket);
}

static void silent_peer_is_dialed_until_it_listens(void **state)
{
    struct fixture *fixture = *state;
    uint16_t port = fixture->peer_port;

    close(fixture->peer_listener);
    set_peer(fixture, fixture->peer_port);
    for (int i = 0; i < 5; i++) {
        (void)uv_run(&fixture->loop, UV_RUN_ONCE);
        fixture->event_count = world_uv_gather(fixture->world, fixture->events, EVENT_COUNT);
        assert_int_equal(fixture->event_count, 0);
    }
    fixture->peer_listener = socket_listen_at(port);

    (void)await(fixture, NODE_LINK_UP);
}

static void peer_that_has_moved_is_dialed_there(void **state)
{
    struct fixture *fixture = *state;
    uint16_t port;
    int listener = socket_listen(&port);

    set_peer(fixture, fixture->peer_port);
    (void)await(fixture, NODE_LINK_UP);
    settle(fixture);
    set_peer(fixture, port);
    (void)await(fixture, NODE_LINK_DOWN);
    settle(fixture);
    (void)await(fixture, NODE_LINK_UP);
    settle(fixture);

    close(socket_accept(listener));
    close(listener);
}

static void peer_that_was_taken_away_is_hung_up(void **state)
{
    struct fixture *fixture = *state;
    char byte;

    set_peer(fixture, fixture->peer_port);
    (void)await(fixture, NODE_LINK_UP);
    settle(fixture);
    int socket = socket_accept(fixture->peer_listener);

    world_set_peer(fixture->world, 1, bytes_of_text("n2"), bytes_of(NULL, 0));

    (void)await(fixture, NODE_LINK_DOWN);
    settle(fixture);
    assert_int_equal(read(socket, &byte, 1), 0);
    for (int i = 0; i < 5; i++) {
        (void)uv_run(&fixture->loop, UV_RUN_NOWAIT);
        fixture->event_count = world_uv_gather(fixture->world, fixture->events, EVENT_COUNT);
        assert_int_equal(fixture->event_count, 0);
    }
    close(socket);
}

static void own_override_of_an_address_wins(void **state)
{
    struct fixture *fixture = *state;

    world_set_peer(fixture->world, 1, bytes_of_text("n9"), bytes_of_text("no.such.host.invalid:1"));

    (void)await(fixture, NODE_LINK_UP);
}

#define LAW(name) cmocka_unit_test_setup_teardown(name, open_fixture, close_fixture)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LAW(client_opens_speaks_and_closes),
        LAW(peer_has_events_and_numbers_of_its_own),
        LAW(bytes_that_were_not_consumed_come_again_with_more_behind_them),
        LAW(bytes_left_on_purpose_come_again_by_themselves),
        LAW(bytes_and_their_end_come_in_order),
        LAW(output_arrives),
        LAW(long_output_arrives_whole_and_in_order),
        LAW(output_has_a_limit),
        LAW(closed_connection_still_sends_what_was_committed),
        LAW(closed_connection_ends_though_the_other_side_stays),
        LAW(one_connection_too_many_is_closed_at_once),
        LAW(reading_stops_while_the_inbox_is_full),
        LAW(message_that_never_ends_is_cut_off),
        LAW(port_in_use_is_refused),
        LAW(both_lanes_are_dialed_and_carry_output),
        LAW(link_that_broke_is_told_and_dialed_again),
        LAW(answer_on_a_link_is_handed_over),
        LAW(silent_peer_is_dialed_until_it_listens),
        LAW(own_override_of_an_address_wins),
        LAW(peer_that_has_moved_is_dialed_there),
        LAW(peer_that_was_taken_away_is_hung_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
