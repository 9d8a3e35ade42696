/* tests/support/client/fake_server.c: see fake_server.h. */
#define _GNU_SOURCE /* NOLINT(bugprone-reserved-identifier): the C library's own switch. */
#include "tests/support/client/fake_server.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tests/support/client/model.h"

enum { CONNECTION_COUNT = 16, BUFFER_SIZE = 1 << 21 };

struct fake_connection {
    int file; /* -1: free. */
    size_t size;
    uint8_t *input;
};

struct fake_server {
    pthread_t thread;
    pthread_mutex_t mutex; /* Guards what follows, up to the next line. */
    enum fake_behaviour behaviour;
    bool break_wanted;
    bool stop_wanted;
    uint32_t accepted_count;
    /* --- */
    int listener;
    int wake[2];
    char address[32];
    struct fake_connection connections[CONNECTION_COUNT];
    uint8_t *output;
    struct model model;
};

static uint64_t now_ms(void)
{
    struct timespec time;
    int failed = clock_gettime(CLOCK_MONOTONIC, &time);

    ASSERT(failed == 0);
    return (uint64_t)time.tv_sec * 1000 + (uint64_t)time.tv_nsec / 1000000;
}

static void drop(struct fake_server *server, int index)
{
    struct fake_connection *connection = &server->connections[index];

    model_forget(&server->model, index);
    (void)close(connection->file);
    connection->file = -1;
    connection->size = 0;
}

static void send_all(struct fake_server *server, int index, struct bytes bytes)
{
    while (bytes.size > 0 && server->connections[index].file >= 0) {
        ssize_t count = send(server->connections[index].file, bytes.data, bytes.size, MSG_NOSIGNAL);
        if (count <= 0) {
            drop(server, index);
            return;
        }
        bytes = bytes_skip(bytes, (size_t)count);
    }
}

static void tell_notices(struct fake_server *server)
{
    for (int i = 0; i < CONNECTION_COUNT; i++) {
        struct buffer output = buffer_of(server->output, BUFFER_SIZE);
        if (server->connections[i].file >= 0) {
            model_tell(&server->model, i, &output);
            send_all(server, i, buffer_bytes(&output));
        }
    }
}

static void serve(struct fake_server *server, int index, enum fake_behaviour behaviour)
{
    struct fake_connection *connection = &server->connections[index];
    struct buffer output = buffer_of(server->output, BUFFER_SIZE);
    ssize_t count = recv(connection->file, connection->input + connection->size,
                         BUFFER_SIZE - connection->size, 0);

    if (count <= 0) {
        drop(server, index);
        return;
    }
    bool is_first = connection->size == 0;
    connection->size += (size_t)count;
    struct bytes input = bytes_of(connection->input, connection->size);
    struct bytes peeked = input;
    struct wire_rpc rpc;
    bool is_hello =
        is_first && wire_rpc_next(&peeked, &rpc) == ERR_OK && rpc.method == WIRE_METHOD_hello;
    server->model.silent = behaviour == FAKE_SILENT;
    server->model.refuses = behaviour == FAKE_REFUSES;
    if (behaviour == FAKE_GARBAGE && !is_hello) {
        send_all(server, index, bytes_of("\xc1 this is no message", 20));
        return;
    }
    model_receive(&server->model, 0, index, &input, &output);
    memmove(connection->input, input.data, input.size);
    connection->size = input.size;
    send_all(server, index, buffer_bytes(&output));
}

static void accept_one(struct fake_server *server)
{
    int file = accept4(server->listener, NULL, NULL, SOCK_CLOEXEC);
    int at_once = 1; /* Small answers do not wait for one another. */

    if (file >= 0) {
        (void)setsockopt(file, IPPROTO_TCP, TCP_NODELAY, &at_once, sizeof at_once);
    }
    for (int i = 0; file >= 0 && i < CONNECTION_COUNT; i++) {
        if (server->connections[i].file < 0) {
            server->connections[i].file = file;
            server->connections[i].size = 0;
            pthread_mutex_lock(&server->mutex);
            server->accepted_count++;
            pthread_mutex_unlock(&server->mutex);
            return;
        }
    }
    if (file >= 0) {
        (void)close(file);
    }
}

/* False: stop. */
static bool take_orders(struct fake_server *server, enum fake_behaviour *behaviour)
{
    pthread_mutex_lock(&server->mutex);
    bool stop = server->stop_wanted;
    bool break_all = server->break_wanted;
    server->break_wanted = false;
    *behaviour = server->behaviour;
    pthread_mutex_unlock(&server->mutex);
    for (int i = 0; break_all && i < CONNECTION_COUNT; i++) {
        if (server->connections[i].file >= 0) {
            drop(server, i);
        }
    }
    return !stop;
}

static void *run(void *context)
{
    struct fake_server *server = context;
    enum fake_behaviour behaviour;

    while (take_orders(server, &behaviour)) {
        struct pollfd polled[CONNECTION_COUNT + 2] = {{.fd = server->wake[0], .events = POLLIN},
                                                      {.fd = server->listener, .events = POLLIN}};
        for (int i = 0; i < CONNECTION_COUNT; i++) {
            polled[i + 2] = (struct pollfd){.fd = server->connections[i].file, .events = POLLIN};
        }
        (void)poll(polled, CONNECTION_COUNT + 2, 20);
        char byte;
        if (polled[0].revents != 0 && read(server->wake[0], &byte, 1) == 1) {
            continue;
        }
        model_advance(&server->model, now_ms());
        for (int i = 0; i < CONNECTION_COUNT; i++) {
            if (polled[i + 2].revents != 0 && server->connections[i].file >= 0) {
                serve(server, i, behaviour);
            }
        }
        tell_notices(server);
        if (polled[1].revents != 0) {
            accept_one(server);
        }
    }
    return NULL;
}

static void wake(struct fake_server *server)
{
    ssize_t count = write(server->wake[1], "w", 1);

    ASSERT(count == 1);
}

struct fake_server *fake_server_open(enum fake_behaviour behaviour)
{
    struct fake_server *server = calloc(1, sizeof *server);
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof address;

    ASSERT(server != NULL);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    server->behaviour = behaviour;
    server->output = calloc(1, BUFFER_SIZE);
    server->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int failed = bind(server->listener, (const struct sockaddr *)&address, size);
    ASSERT(failed == 0);
    failed = listen(server->listener, CONNECTION_COUNT);
    ASSERT(failed == 0);
    failed = getsockname(server->listener, (struct sockaddr *)&address, &size);
    ASSERT(failed == 0);
    failed = pipe2(server->wake, O_CLOEXEC);
    ASSERT(failed == 0);
    (void)snprintf(server->address, sizeof server->address, "127.0.0.1:%u",
                   (unsigned)ntohs(address.sin_port));
    for (int i = 0; i < CONNECTION_COUNT; i++) {
        server->connections[i] =
            (struct fake_connection){.file = -1, .input = calloc(1, BUFFER_SIZE)};
    }
    model_open(&server->model, now_ms());
    failed = pthread_mutex_init(&server->mutex, NULL);
    ASSERT(failed == 0);
    failed = pthread_create(&server->thread, NULL, run, server);
    ASSERT(failed == 0);
    return server;
}

void fake_server_close(struct fake_server *server)
{
    pthread_mutex_lock(&server->mutex);
    server->stop_wanted = true;
    pthread_mutex_unlock(&server->mutex);
    wake(server);
    int failed = pthread_join(server->thread, NULL);
    ASSERT(failed == 0);
    for (int i = 0; i < CONNECTION_COUNT; i++) {
        if (server->connections[i].file >= 0) {
            (void)close(server->connections[i].file);
        }
        free(server->connections[i].input);
    }
    (void)close(server->listener);
    (void)close(server->wake[0]);
    (void)close(server->wake[1]);
    (void)pthread_mutex_destroy(&server->mutex);
    free(server->output);
    free(server);
}

const char *fake_server_address(const struct fake_server *server)
{
    return server->address;
}

void fake_server_behave(struct fake_server *server, enum fake_behaviour behaviour)
{
    pthread_mutex_lock(&server->mutex);
    server->behaviour = behaviour;
    pthread_mutex_unlock(&server->mutex);
    wake(server);
}

void fake_server_break(struct fake_server *server)
{
    pthread_mutex_lock(&server->mutex);
    server->break_wanted = true;
    pthread_mutex_unlock(&server->mutex);
    wake(server);
}

uint32_t fake_server_accepted_count(struct fake_server *server)
{
    pthread_mutex_lock(&server->mutex);
    uint32_t count = server->accepted_count;
    pthread_mutex_unlock(&server->mutex);
    return count;
}
