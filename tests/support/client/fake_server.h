/* tests/support/client/fake_server.h: one node on a real socket, in a thread: the model answers, or
 * the server misbehaves as it is told. */
#ifndef TESTS_SUPPORT_CLIENT_FAKE_SERVER_H
#define TESTS_SUPPORT_CLIENT_FAKE_SERVER_H

#include <stdint.h>

enum fake_behaviour {
    FAKE_SERVES,
    FAKE_SILENT,  /* Answers hello and nothing else. */
    FAKE_GARBAGE, /* Answers hello, then everything with bytes that are no message. */
    FAKE_REFUSES, /* OVERLOADED. */
};

struct fake_server;

/* On a free port of the loopback interface. */
struct fake_server *fake_server_open(enum fake_behaviour behaviour);
void fake_server_close(struct fake_server *server);

/* "127.0.0.1:port" */
const char *fake_server_address(const struct fake_server *server);
void fake_server_behave(struct fake_server *server, enum fake_behaviour behaviour);
/* Closes every connection. */
void fake_server_break(struct fake_server *server);
uint32_t fake_server_accepted_count(struct fake_server *server);

#endif
