/* client/command/session_end.c: ends a session by its number, over a plain socket. */
#define _GNU_SOURCE
#include "client/command/session_end.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/error.h"
#include "client/command/clock.h"
#include "wire/wire.h"

enum {
    ATTEMPT_TIMEOUT_MS = 1000, /* Of one node, while there are others to ask. */
    ROUND_PAUSE_MS = 50,       /* Before all are asked again: an election takes longer. */
    HOST_SIZE = 256,
    HELLO_ID = 1,
    END_ID = 2,
    MESSAGE_SIZE_MAX = 4096, /* Of what is sent here, and of the answers to it. */
};

struct ending {
    uint64_t session;
    uint64_t deadline_ms; /* Of the whole. */
    bool has_sent;
    enum error error;           /* Of the last answer. */
    char text[HOST_SIZE + 256]; /* Why the last node did not help. */
};

/* Waits for `events`; false when the time is over. */
static bool await(int fd, short events, uint64_t until_ms)
{
    struct pollfd waiting = {.fd = fd, .events = events};

    for (;;) {
        uint64_t now_ms = clock_now_ms();

        if (now_ms >= until_ms) {
            return false;
        }
        if (poll(&waiting, 1, (int)(until_ms - now_ms)) > 0) {
            return true;
        }
    }
}

static int connect_one(const struct addrinfo *info, uint64_t until_ms)
{
    int fd = socket(info->ai_family, info->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC,
                    info->ai_protocol);
    int error = 0;
    socklen_t size = sizeof(error);

    if (fd < 0) {
        return -1;
    }
    if (connect(fd, info->ai_addr, info->ai_addrlen) == 0) {
        return fd;
    }
    error = errno;
    if (error == EINPROGRESS && await(fd, POLLOUT, until_ms) &&
        getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == 0) {
        return fd;
    }
    close(fd);
    errno = error == EINPROGRESS ? ETIMEDOUT : error;
    return -1;
}

/* `address` is "host:port" or "[host]:port". */
static int connect_address(struct ending *ending, struct bytes address, uint64_t until_ms)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    char host[HOST_SIZE];
    int fd = -1;

    snprintf(host, sizeof(host), "%.*s", (int)address.size, (const char *)address.data);
    char *colon = strrchr(host, ':');
    ASSERT(colon != NULL); /* options_endpoints_are_valid() */
    *colon = '\0';
    size_t size = strlen(host);
    bool is_bracketed = size > 2 && host[0] == '[' && host[size - 1] == ']';

    if (is_bracketed) {
        host[size - 1] = '\0';
    }
    int error = getaddrinfo(is_bracketed ? host + 1 : host, colon + 1, &hints, &found);
    if (error != 0) {
        snprintf(ending->text, sizeof(ending->text), "%s: %s", host, gai_strerror(error));
        return -1;
    }
    for (const struct addrinfo *at = found; at != NULL && fd < 0; at = at->ai_next) {
        fd = connect_one(at, until_ms);
    }
    if (fd < 0) {
        snprintf(ending->text, sizeof(ending->text), "%s:%s: %s", host, colon + 1, strerror(errno));
    }
    freeaddrinfo(found);
    return fd;
}

static bool send_requests(struct ending *ending, int fd, uint64_t until_ms)
{
    uint8_t memory[MESSAGE_SIZE_MAX];
    struct buffer buffer = buffer_of(memory, sizeof(memory));
    const struct wire_hello hello = {.version = WIRE_VERSION, .client = bytes_of_text("holdfast")};
    const struct wire_session_end end = {.session = ending->session};
    bool fits = wire_request_begin(&buffer, HELLO_ID, WIRE_METHOD_hello) &&
                wire_hello_encode(&hello, &buffer) &&
                wire_request_begin(&buffer, END_ID, WIRE_METHOD_session_end) &&
                wire_session_end_encode(&end, &buffer);
    size_t sent = 0;

    ASSERT(fits);
    while (sent < buffer.size) {
        ssize_t size = await(fd, POLLOUT, until_ms)
                           ? send(fd, memory + sent, buffer.size - sent, MSG_NOSIGNAL)
                           : -1;
        if (size <= 0) {
            return false;
        }
        ending->has_sent = true;
        sent += (size_t)size;
    }
    return true;
}

/* True when `rpc` answers session_end; its verdict is then in `ending->error`. */
static bool take_response(struct ending *ending, const struct wire_rpc *rpc)
{
    struct bytes body = rpc->body;
    struct wire_failure failure = {.code = 0};

    if (rpc->type != WIRE_RESPONSE || (rpc->id == HELLO_ID && !rpc->failed)) {
        return false;
    }
    ending->error = ERR_OK;
    if (rpc->failed) {
        bool is_valid = wire_failure_decode(&body, &failure) == ERR_OK;

        ending->error = is_valid ? error_from_number(failure.code) : ERR_MALFORMED;
        snprintf(ending->text, sizeof(ending->text), "%s", error_text(ending->error));
    }
    return true;
}

static bool receive_answer(struct ending *ending, int fd, uint64_t until_ms)
{
    uint8_t memory[MESSAGE_SIZE_MAX];
    size_t size = 0;

    while (size < sizeof(memory) && await(fd, POLLIN, until_ms)) {
        ssize_t received = recv(fd, memory + size, sizeof(memory) - size, 0);

        if (received <= 0) {
            break;
        }
        size += (size_t)received;
        struct bytes rest = bytes_of(memory, size);
        struct wire_rpc rpc;

        while (wire_rpc_next(&rest, &rpc) == ERR_OK) {
            if (take_response(ending, &rpc)) {
                return true;
            }
        }
    }
    snprintf(ending->text, sizeof(ending->text), "no answer");
    return false;
}

/* Another node, or the same one a little later, may answer otherwise. */
static bool is_of_node_alone(enum error error)
{
    static const enum error errors[] = {ERR_NOT_LEADER, ERR_NO_QUORUM,       ERR_NOT_FORMED,
                                        ERR_STOPPING,   ERR_OVERLOADED,      ERR_TIMEOUT,
                                        ERR_CLOSED,     ERR_UNKNOWN_OUTCOME, ERR_RATE_LIMITED};

    for (size_t i = 0; i < COUNT_OF(errors); i++) {
        if (errors[i] == error) {
            return true;
        }
    }
    return false;
}

/* True when the cluster has decided. */
static bool ask(struct ending *ending, struct bytes address)
{
    uint64_t until_ms = clock_now_ms() + ATTEMPT_TIMEOUT_MS;
    bool was_sent = ending->has_sent;

    until_ms = until_ms < ending->deadline_ms ? until_ms : ending->deadline_ms;
    int fd = connect_address(ending, address, until_ms);
    if (fd < 0) {
        return false;
    }
    bool is_answered = send_requests(ending, fd, until_ms) && receive_answer(ending, fd, until_ms);

    close(fd);
    if (!is_answered) {
        return false;
    }
    if (ending->error == ERR_SESSION_EXPIRED && was_sent) {
        ending->error = ERR_OK; /* By what was sent before, and not answered. */
    }
    if (error_outcome(ending->error) == OUTCOME_REJECTED) {
        ending->has_sent = was_sent;
    }
    return !is_of_node_alone(ending->error);
}

static bool ask_all(struct ending *ending, const char *endpoints)
{
    while (clock_now_ms() < ending->deadline_ms) {
        const char *at = endpoints;

        while (*at != '\0') {
            size_t size = strcspn(at, ",");

            if (ask(ending, bytes_of(at, size))) {
                return true;
            }
            at += at[size] == '\0' ? size : size + 1;
        }
        poll(NULL, 0, ROUND_PAUSE_MS);
    }
    return false;
}

int session_end_run(struct run *run)
{
    struct ending ending = {.deadline_ms = clock_now_ms() + run->options->timeout_ms};
    const char *number = run->options->operands[0];
    bool is_number = text_parse_u64(bytes_of_text(number), &ending.session);

    ASSERT(is_number);
    if (!ask_all(&ending, run->options->endpoints)) {
        complain("session end: %s%s; see which nodes answer with `holdfast status`", ending.text,
                 ending.has_sent ? "; it may be ended" : "");
        return ending.has_sent ? EXIT_UNKNOWN : EXIT_NO_QUORUM;
    }
    if (ending.error == ERR_SESSION_EXPIRED || ending.error == ERR_NOT_FOUND) {
        complain("session end: there is no session %s; see `holdfast session ls`", number);
        return EXIT_NO;
    }
    if (ending.error != ERR_OK) {
        complain("session end: %s", ending.text);
        return EXIT_REFUSED;
    }
    if (run->options->json) {
        text_add(&run->output.text, "{");
        output_u64(&run->output, "session", ending.session);
        text_add(&run->output.text, "}");
        output_line(&run->output);
    }
    return EXIT_DONE;
}
