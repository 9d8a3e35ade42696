/* tests/unit/client/hooks_test.c: a client on a loop that is one poll() and nothing else. */
#define _GNU_SOURCE /* NOLINT(bugprone-reserved-identifier): the C library's own switch. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "client/holdfast.h"
#include "client/holdfast_hooks.h"
#include "client/host.h"
#include "tests/support/client/fake_server.h"

enum { FILE_COUNT_MAX = 64 };

struct loop {
    struct fake_server *server;
    struct holdfast *client;
    struct pollfd files[FILE_COUNT_MAX];
    size_t file_count;
    bool is_armed;
    bool is_woken;
    bool is_inside; /* A hook is called within a call of the library only. */
    bool is_closed;
    bool refuses_to_watch;
    uint64_t due_ms;
    uint64_t ticket; /* A name that is being looked up. */
    char port[16];
    uint32_t lookup_count;
};

static struct pollfd *find(struct loop *loop, int file)
{
    for (size_t i = 0; i < loop->file_count; i++) {
        if (loop->files[i].fd == file) {
            return &loop->files[i];
        }
    }
    return NULL;
}

static bool watch(void *context, int file, int events)
{
    struct loop *loop = context;
    struct pollfd *found = find(loop, file);

    ASSERT(loop->is_inside && !loop->is_closed && events != 0);
    if (loop->refuses_to_watch) {
        return false;
    }
    if (found == NULL) {
        ASSERT(loop->file_count < FILE_COUNT_MAX);
        found = &loop->files[loop->file_count];
        loop->file_count++;
    }
    *found = (struct pollfd){.fd = file};
    found->events = (short)(((events & HOLDFAST_READABLE) != 0 ? POLLIN : 0) |
                            ((events & HOLDFAST_WRITABLE) != 0 ? POLLOUT : 0));
    return true;
}

static void unwatch(void *context, int file)
{
    struct loop *loop = context;
    struct pollfd *found = find(loop, file);

    ASSERT(loop->is_inside && !loop->is_closed && found != NULL);
    loop->file_count--;
    *found = loop->files[loop->file_count];
}

static void arm(void *context, uint64_t delay_ms)
{
    struct loop *loop = context;

    ASSERT(loop->is_inside && !loop->is_closed);
    loop->is_armed = true;
    loop->due_ms = host_now_ms() + delay_ms;
}

static void disarm(void *context)
{
    struct loop *loop = context;

    ASSERT(loop->is_inside && !loop->is_closed);
    loop->is_armed = false;
}

static void wake(void *context)
{
    struct loop *loop = context;

    ASSERT(!loop->is_closed);
    loop->is_woken = true;
}

static void resolve(void *context, uint64_t ticket, const char *host, const char *port)
{
    struct loop *loop = context;

    ASSERT(strcmp(host, "a.name") == 0 && strlen(port) < sizeof loop->port);
    loop->ticket = ticket;
    loop->lookup_count++;
    memcpy(loop->port, port, strlen(port) + 1);
}

static void answer_lookup(struct loop *loop)
{
    struct sockaddr_in address = {.sin_family = AF_INET};

    if (loop->ticket == 0) {
        return;
    }
    uint64_t ticket = loop->ticket;
    loop->ticket = 0;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons((uint16_t)strtoul(loop->port, NULL, 10));
    /* The first time the name is not known, the second time it has an address. */
    holdfast_hook_resolved(loop->client, ticket,
                           loop->lookup_count == 1 ? NULL : (struct sockaddr *)&address,
                           sizeof address);
    holdfast_hook_resolved(loop->client, ticket, NULL, 0); /* Late ones are ignored. */
}

static int wait_ms(const struct loop *loop)
{
    uint64_t now_ms = host_now_ms();

    if (loop->is_woken || (loop->is_armed && loop->due_ms <= now_ms)) {
        return 0;
    }
    return loop->is_armed ? (int)(loop->due_ms - now_ms) : -1;
}

static void step(struct loop *loop)
{
    loop->is_inside = true;
    answer_lookup(loop);
    int ready = poll(loop->files, loop->file_count, wait_ms(loop));
    struct pollfd polled[FILE_COUNT_MAX];
    size_t count = loop->file_count;

    memcpy(polled, loop->files, sizeof polled);
    for (size_t i = 0; ready > 0 && i < count && !loop->is_closed; i++) {
        short events = polled[i].revents;
        if (events != 0 && find(loop, polled[i].fd) != NULL) {
            bool failed = (events & (POLLERR | POLLHUP)) != 0;
            holdfast_hook_ready(loop->client, polled[i].fd,
                                ((events & POLLIN) != 0 || failed ? HOLDFAST_READABLE : 0) |
                                    ((events & POLLOUT) != 0 || failed ? HOLDFAST_WRITABLE : 0));
        }
    }
    if (!loop->is_closed && wait_ms(loop) == 0) {
        loop->is_woken = false;
        loop->is_armed = loop->is_armed && loop->due_ms > host_now_ms();
        holdfast_hook_due(loop->client);
    }
    loop->is_inside = false;
}

static enum holdfast_status finish(struct loop *loop, struct holdfast_call *call)
{
    assert_non_null(call);
    while (!holdfast_call_is_done(call)) {
        step(loop);
    }
    enum holdfast_status status = holdfast_call_result(call)->status;
    holdfast_call_free(call);
    return status;
}

static void loop_open(struct loop *loop, enum fake_behaviour behaviour, bool by_name,
                      uint32_t timeout_ms)
{
    char endpoints[64] = "a.name";
    const struct holdfast_hooks hooks = {.context = loop,
                                         .watch = watch,
                                         .unwatch = unwatch,
                                         .arm = arm,
                                         .disarm = disarm,
                                         .wake = wake,
                                         .resolve = resolve};

    memset(loop, 0, sizeof *loop);
    loop->server = fake_server_open(behaviour);
    const char *address = fake_server_address(loop->server);
    const char *port = strchr(address, ':');
    memcpy(endpoints + strlen(endpoints), port, strlen(port) + 1);
    struct holdfast_options options = {.endpoints = by_name ? endpoints : address,
                                       .timeout_ms = timeout_ms};
    assert_int_equal(holdfast_open_on_hooks(&loop->client, &options, &hooks), HOLDFAST_OK);
    loop->is_inside = true;
    holdfast_hook_due(loop->client);
    loop->is_inside = false;
}

static void on_closed(void *context)
{
    struct loop *loop = context;

    assert_int_equal(loop->file_count, 0);
    assert_false(loop->is_armed);
    loop->is_closed = true;
}

static void loop_close(struct loop *loop)
{
    holdfast_close(loop->client, on_closed, loop);
    while (!loop->is_closed) {
        step(loop);
    }
    fake_server_close(loop->server);
}

/* --- The laws --------------------------------------------------------------------------------- */

static void a_lock_is_taken_and_given_back_on_a_bare_poll(void **state)
{
    struct loop loop;
    struct holdfast_session *session;

    (void)state;
    loop_open(&loop, FAKE_SERVES, false, 5000);
    assert_int_equal(
        finish(&loop, holdfast_session_open(loop.client, NULL, &session, holdfast_keep, NULL)),
        HOLDFAST_OK);
    struct holdfast_call *acquire =
        holdfast_lock_acquire(session, "l", 1, HOLDFAST_TRY, holdfast_keep, NULL);
    while (!holdfast_call_is_done(acquire)) {
        step(&loop);
    }
    uint64_t token = holdfast_call_result(acquire)->token;
    assert_int_equal(holdfast_call_result(acquire)->status, HOLDFAST_OK);
    assert_true(token > 0);
    holdfast_call_free(acquire);
    assert_int_equal(
        finish(&loop, holdfast_lock_release(session, "l", 1, token, holdfast_keep, NULL)),
        HOLDFAST_OK);
    assert_int_equal(finish(&loop, holdfast_session_end(session, holdfast_keep, NULL)),
                     HOLDFAST_OK);
    loop_close(&loop);
}

static void a_session_is_renewed_by_the_armed_timer(void **state)
{
    struct loop loop;
    struct holdfast_session *session;
    struct holdfast_session_options options = {.ttl_ms = 600};

    (void)state;
    loop_open(&loop, FAKE_SERVES, false, 5000);
    assert_int_equal(
        finish(&loop, holdfast_session_open(loop.client, &options, &session, holdfast_keep, NULL)),
        HOLDFAST_OK);
    uint64_t end_ms = host_now_ms() + 1000;
    while (host_now_ms() < end_ms) {
        step(&loop);
        assert_int_not_equal(holdfast_session_state(session), HOLDFAST_SESSION_LOST);
    }
    loop_close(&loop);
}

static void what_a_socket_does_not_take_at_once_follows(void **state)
{
    enum { COUNT = 40 };
    static uint8_t value[524288];
    struct loop loop;
    struct holdfast_call *calls[COUNT];

    (void)state;
    loop_open(&loop, FAKE_SERVES, false, 5000);
    for (size_t i = 0; i < COUNT; i++) {
        calls[i] = holdfast_put(loop.client, "k", 1, value, sizeof value, holdfast_keep, NULL);
    }
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(finish(&loop, calls[i]), HOLDFAST_OK);
    }
    loop_close(&loop);
}

static void a_broken_connection_is_dialed_again(void **state)
{
    struct loop loop;

    (void)state;
    loop_open(&loop, FAKE_SERVES, false, 5000);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(
            finish(&loop, holdfast_put(loop.client, "k", 1, "v", 1, holdfast_keep, NULL)),
            HOLDFAST_OK);
        fake_server_break(loop.server);
        assert_int_equal(finish(&loop, holdfast_get(loop.client, "k", 1, holdfast_keep, NULL)),
                         HOLDFAST_OK);
    }
    loop_close(&loop);
}

static void a_name_is_looked_up_by_the_loop_until_it_has_an_address(void **state)
{
    struct loop loop;

    (void)state;
    loop_open(&loop, FAKE_SERVES, true, 5000);
    assert_int_equal(finish(&loop, holdfast_put(loop.client, "k", 1, "v", 1, holdfast_keep, NULL)),
                     HOLDFAST_OK);
    assert_int_equal(loop.lookup_count, 2);
    loop_close(&loop);
}

static void the_timeout_ends_a_call_that_nobody_answers(void **state)
{
    struct loop loop;

    (void)state;
    loop_open(&loop, FAKE_SILENT, false, 100);
    uint64_t start_ms = host_now_ms();
    assert_int_equal(finish(&loop, holdfast_get(loop.client, "k", 1, holdfast_keep, NULL)),
                     HOLDFAST_TIMEOUT);
    assert_true(host_now_ms() - start_ms >= 99);
    loop_close(&loop);
}

static void a_loop_that_cannot_watch_costs_the_timeout_and_no_more(void **state)
{
    struct loop loop;

    (void)state;
    loop_open(&loop, FAKE_SERVES, true, 100);
    loop.refuses_to_watch = true;
    assert_int_equal(finish(&loop, holdfast_get(loop.client, "k", 1, holdfast_keep, NULL)),
                     HOLDFAST_NO_QUORUM);
    loop_close(&loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lock_is_taken_and_given_back_on_a_bare_poll),
        cmocka_unit_test(a_session_is_renewed_by_the_armed_timer),
        cmocka_unit_test(what_a_socket_does_not_take_at_once_follows),
        cmocka_unit_test(a_broken_connection_is_dialed_again),
        cmocka_unit_test(a_name_is_looked_up_by_the_loop_until_it_has_an_address),
        cmocka_unit_test(the_timeout_ends_a_call_that_nobody_answers),
        cmocka_unit_test(a_loop_that_cannot_watch_costs_the_timeout_and_no_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
