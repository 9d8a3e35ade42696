/* tests/unit/server/loop_test.c: the loop around a node that only counts.
 *
 * The functions of node/node.h that the loop calls are defined here, so the linker leaves the real
 * node out. The source of the world is included: linked from its archive it would come behind a
 * world in memory, which implements the same seam. */
#include "server/world_uv.c" /* NOLINT(bugprone-suspicious-include): see above. */

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

#include "base/assert.h"
#include "server/disk_posix.h"
#include "server/loop.h"
#include "tests/support/server/socket.h"
#include "tests/support/server/temporary_folder.h"

enum { TIME_MAX_S = 30 /* A test that hangs dies. */ };

struct node {
    uint64_t wake_ms; /* What it answers. */
    uint32_t turn_count;
    uint32_t data_count;
    bool ends_with_data; /* It cannot go on once bytes came, */
    bool ends_when_due;  /* or once it was woken in time. */
    uint64_t turn_ms;    /* Of the last turn. */
    bool is_told_to_stop;
    uint32_t stop_count;
    struct world *world; /* Not NULL: every event with bytes is answered there. */
};

static void answer(struct node *node, world_connection connection)
{
    uint8_t *place = world_reserve(node->world, connection, 6);

    ASSERT(place != NULL);
    memcpy(place, "answer", 6);
    world_commit(node->world, connection, 6);
}

void node_turn(struct node *node, struct node_event *events, uint32_t event_count, uint64_t now_ms)
{
    ASSERT(now_ms >= node->turn_ms);
    node->turn_count++;
    node->turn_ms = now_ms;
    for (uint32_t i = 0; i < event_count; i++) {
        if (events[i].kind == NODE_CLIENT_DATA) {
            events[i].consumed = events[i].data.size;
            node->data_count++;
            if (node->world != NULL) {
                answer(node, events[i].connection);
            }
        }
        if (events[i].kind == NODE_STOP) {
            node->is_told_to_stop = true;
            node->stop_count++;
        }
    }
}

uint64_t node_wake_ms(const struct node *node)
{
    return node->wake_ms;
}

bool node_is_stopped(const struct node *node)
{
    return node->is_told_to_stop;
}

const char *node_problem(const struct node *node)
{
    if (node->ends_with_data && node->data_count > 0) {
        return "bytes came";
    }
    return node->ends_when_due && node->turn_ms >= node->wake_ms ? "the time has come" : NULL;
}

struct fixture {
    struct temporary_folder folder;
    struct logger logger;
    struct loop *loop;
    struct disk *disk;
    struct world *world;
    uint16_t client_port;
    struct node node;
};

static struct address local(uint16_t port)
{
    return (struct address){.host = "127.0.0.1", .port = port};
}

static int open_fixture(void **state)
{
    static struct fixture fixture;
    struct world_uv_options options;
    int code;

    memset(&fixture, 0, sizeof(fixture));
    (void)alarm(TIME_MAX_S);
    temporary_folder_open(&fixture.folder);
    logger_init(&fixture.logger, open("/dev/null", O_WRONLY | O_CLOEXEC), "n1");
    fixture.client_port = socket_free_port();
    options = (struct world_uv_options){
        .client = local(fixture.client_port),
        .peer = local(socket_free_port()),
        .client_count_max = 4,
    };
    fixture.loop = loop_open(&fixture.logger);
    ASSERT(fixture.loop != NULL);
    ASSERT(disk_posix_open(&fixture.disk, fixture.folder.path, loop_wake(fixture.loop)) == ERR_OK);
    ASSERT(world_uv_open(&fixture.world, loop_uv(fixture.loop), &fixture.logger, &options, &code) ==
           WORLD_UV_OK);
    *state = &fixture;
    return 0;
}

static int close_fixture(void **state)
{
    struct fixture *fixture = *state;

    disk_posix_close(fixture->disk);
    world_uv_close(fixture->world);
    loop_close(fixture->loop);
    world_uv_free(fixture->world);
    close(fixture->logger.descriptor);
    temporary_folder_close(&fixture->folder);
    (void)alarm(0);
    return 0;
}

static enum loop_end run(struct fixture *fixture)
{
    return loop_run(fixture->loop, &fixture->node, fixture->world, fixture->disk);
}

static void node_is_woken_at_its_time_and_not_before(void **state)
{
    struct fixture *fixture = *state;

    fixture->node.wake_ms = clock_now_ms(loop_clock(fixture->loop)) + 30;
    fixture->node.ends_when_due = true;

    assert_int_equal(run(fixture), LOOP_FAILED);
    assert_true(fixture->node.turn_ms >= fixture->node.wake_ms);
    /* The first turn looks for what the disk finished before the loop ran. */
    assert_int_equal(fixture->node.turn_count, 2);
}

static void bytes_that_arrive_make_a_turn_before_the_wake_time(void **state)
{
    struct fixture *fixture = *state;
    int socket = socket_dial(fixture->client_port);

    fixture->node.wake_ms = UINT64_MAX;
    fixture->node.ends_with_data = true;
    socket_send(socket, "abc", 3);

    assert_int_equal(run(fixture), LOOP_FAILED);
    assert_int_equal(fixture->node.data_count, 1);
    close(socket);
}

static void node_that_always_has_work_does_not_starve_the_sockets(void **state)
{
    struct fixture *fixture = *state;
    int socket = socket_dial(fixture->client_port);

    fixture->node.wake_ms = 0;
    fixture->node.ends_with_data = true;
    socket_send(socket, "abc", 3);

    assert_int_equal(run(fixture), LOOP_FAILED);
    assert_int_equal(fixture->node.data_count, 1);
    close(socket);
}

static void answer_of_a_turn_leaves_with_it(void **state)
{
    struct fixture *fixture = *state;
    int socket = socket_dial(fixture->client_port);
    char found[8];

    fixture->node.wake_ms = clock_now_ms(loop_clock(fixture->loop)) + 50;
    fixture->node.ends_when_due = true;
    fixture->node.world = fixture->world;
    socket_send(socket, "abc", 3);

    assert_int_equal(run(fixture), LOOP_FAILED);
    assert_int_equal(fixture->node.data_count, 1);
    assert_int_equal(recv(socket, found, sizeof(found), MSG_DONTWAIT), 6);
    close(socket);
}

static void nothing_leaves_from_a_turn_that_ends_in_a_problem(void **state)
{
    struct fixture *fixture = *state;
    int socket = socket_dial(fixture->client_port);
    char found[8];

    fixture->node.wake_ms = UINT64_MAX;
    fixture->node.ends_with_data = true;
    fixture->node.world = fixture->world;
    socket_send(socket, "abc", 3);

    assert_int_equal(run(fixture), LOOP_FAILED);
    assert_int_equal(fixture->node.data_count, 1);
    /* Over loopback, what was written is there at once. */
    assert_int_equal(recv(socket, found, sizeof(found), MSG_DONTWAIT), -1);
    close(socket);
}

static void signal_stops_the_node_once(void **state)
{
    struct fixture *fixture = *state;

    fixture->node.wake_ms = UINT64_MAX;
    assert_int_equal(raise(SIGTERM), 0);
    assert_int_equal(raise(SIGTERM), 0);

    assert_int_equal(run(fixture), LOOP_STOPPED);
    assert_int_equal(fixture->node.stop_count, 1);
}

#define LAW(name) cmocka_unit_test_setup_teardown(name, open_fixture, close_fixture)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LAW(node_is_woken_at_its_time_and_not_before),
        LAW(bytes_that_arrive_make_a_turn_before_the_wake_time),
        LAW(node_that_always_has_work_does_not_starve_the_sockets),
        LAW(answer_of_a_turn_leaves_with_it),
        LAW(nothing_leaves_from_a_turn_that_ends_in_a_problem),
        LAW(signal_stops_the_node_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
