/* tests/support/server/socket.h: blocking TCP sockets on loopback, for the other side of a test.
 * Every failure ends the test. */
#ifndef TESTS_SUPPORT_SERVER_SOCKET_H
#define TESTS_SUPPORT_SERVER_SOCKET_H

#include <stddef.h>
#include <stdint.h>

/* A port on which nobody listens at this moment. */
uint16_t socket_free_port(void);

/* Listens on a port that the kernel picks, or on the given one. */
int socket_listen(uint16_t *port);
int socket_listen_at(uint16_t port);

int socket_accept(int listener);

int socket_dial(uint16_t port);

void socket_send(int socket, const void *data, size_t size);

/* Exactly `size` bytes. */
void socket_receive(int socket, void *data, size_t size);

void socket_unblock(int socket);

#endif
