/* tests/support/server/socket.c: thin covers of the socket calls. */
#define _GNU_SOURCE /* NOLINT(bugprone-reserved-identifier): the C library's own switch. */
#include "tests/support/server/socket.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/assert.h"

enum { BACKLOG = 16 };

static struct sockaddr_in loopback(uint16_t port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET,
        .sin_port = htons(port),
        .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)},
    };
}

static int make(void)
{
    int made = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    ASSERT(made >= 0);
    return made;
}

int socket_listen_at(uint16_t port)
{
    struct sockaddr_in address = loopback(port);
    int listener = make();
    int yes = 1;

    ASSERT(setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) == 0);
    ASSERT(bind(listener, (const struct sockaddr *)&address, sizeof(address)) == 0);
    ASSERT(listen(listener, BACKLOG) == 0);
    return listener;
}

int socket_listen(uint16_t *port)
{
    struct sockaddr_in address = {0};
    socklen_t size = sizeof(address);
    int listener = socket_listen_at(0);

    ASSERT(getsockname(listener, (struct sockaddr *)&address, &size) == 0);
    *port = ntohs(address.sin_port);
    return listener;
}

uint16_t socket_free_port(void)
{
    uint16_t port;

    ASSERT(close(socket_listen(&port)) == 0);
    return port;
}

int socket_accept(int listener)
{
    int accepted = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

    ASSERT(accepted >= 0);
    return accepted;
}

int socket_dial(uint16_t port)
{
    struct sockaddr_in address = loopback(port);
    int dialed = make();

    ASSERT(connect(dialed, (const struct sockaddr *)&address, sizeof(address)) == 0);
    return dialed;
}

void socket_send(int socket, const void *data, size_t size)
{
    ASSERT(send(socket, data, size, MSG_NOSIGNAL) == (ssize_t)size);
}

void socket_receive(int socket, void *data, size_t size)
{
    ASSERT(recv(socket, data, size, MSG_WAITALL) == (ssize_t)size);
}

void socket_unblock(int socket)
{
    ASSERT(fcntl(socket, F_SETFL, O_NONBLOCK) == 0);
}
