/* tests/integration/overload.c: writes at a rate that does not heed the answers, beside sessions
 * that are renewed, over bare connections to the leader.
 *
 * usage: overload HOST:PORT SECONDS VALUE_SIZE CONNECTIONS RATE WINDOW SESSIONS TTL_MS
 *
 * Each connection sends its share of RATE puts a second (open loop); with RATE 0 it keeps WINDOW
 * puts under way (closed loop). The sessions have connections of their own, one for each 50, and
 * are renewed each third of TTL_MS. Prints one JSON object: ok, refused      answers; refused:
 * OVERLOADED or RATE_LIMITED unhelpful        refusals without retry_after_ms other            any
 * other answer unsent           puts that were due while a megabyte of earlier ones had not left
 *   ok_per_s, cpu_s, seconds
 *   p50_ms, p99_ms   of answers with a result
 *   sessions, lost   opened; lost: not confirmed within their TTL since the last renewal was sent
 *   retry_max_ms     the largest retry_after_ms */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "wire/wire.h"

enum {
    CONNECTION_COUNT_MAX = 128,
    SESSION_COUNT_MAX = 4000,
    SESSIONS_EACH = 50,
    OUTPUT_SIZE = 2 << 20,
    OUTPUT_HIGH = 1 << 20,
    INPUT_SIZE = 1 << 20,
    SLOT_COUNT = 1 << 16, /* Puts under way on a connection whose time is known. */
    LATENCY_COUNT = 20000,
};

struct connection {
    int socket;
    uint8_t *output;
    size_t output_size;
    uint8_t *input;
    size_t input_size;
    uint64_t next_id;
    uint64_t sent;
    uint64_t answered;
    uint64_t *sent_us; /* Slot of an id: its lowest bits. */
};

struct session {
    uint64_t id;
    uint64_t attempt;
    uint64_t renew_us;     /* The next renewal is due. */
    uint64_t attempt_us;   /* When the last one was sent, */
    uint64_t confirmed_us; /* and the last that was confirmed. */
    bool lost;
};

static struct {
    struct connection connections[CONNECTION_COUNT_MAX];
    struct pollfd polled[CONNECTION_COUNT_MAX];
    unsigned connection_count; /* Those of puts first. */
    unsigned put_count;
    struct session sessions[SESSION_COUNT_MAX];
    unsigned session_count;
    uint32_t ttl_ms;
    uint8_t put[600 << 10]; /* The params of every put. */
    size_t put_size;
    uint64_t ok, refused, unhelpful, other, unsent, lost;
    uint32_t retry_max_ms;
    uint32_t latencies_us[LATENCY_COUNT];
    uint64_t latency_count;
} load;

static uint64_t now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void stop(const char *what)
{
    fprintf(stderr, "overload: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* --- Bytes ------------------------------------------------------------------------------------ */

static void flush(struct connection *connection)
{
    size_t done = 0;

    while (done < connection->output_size) {
        ssize_t size =
            write(connection->socket, connection->output + done, connection->output_size - done);

        if (size < 0 && errno == EAGAIN) {
            break;
        }
        if (size <= 0) {
            stop("the node closed a connection");
        }
        done += (size_t)size;
    }
    memmove(connection->output, connection->output + done, connection->output_size - done);
    connection->output_size -= done;
}

/* False while too much waits. */
static bool send_request(struct connection *connection, enum wire_method method, uint64_t id,
                         struct bytes params)
{
    struct buffer out = buffer_of(connection->output, OUTPUT_SIZE);

    out.size = connection->output_size;
    if (out.size > OUTPUT_HIGH) {
        return false;
    }
    if (!wire_request_begin(&out, id, method) || !buffer_append(&out, params)) {
        stop("encoding");
    }
    connection->output_size = out.size;
    return true;
}

static void open_connection(struct connection *connection, const struct sockaddr_in *address)
{
    const struct wire_hello hello = {.version = WIRE_VERSION};
    uint8_t memory[64];
    struct buffer params = buffer_of(memory, sizeof(memory));
    int one = 1;

    connection->socket = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connection->socket < 0 ||
        connect(connection->socket, (const struct sockaddr *)address, sizeof(*address)) != 0) {
        stop("connecting");
    }
    setsockopt(connection->socket, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    fcntl(connection->socket, F_SETFL, O_NONBLOCK);
    connection->output = malloc(OUTPUT_SIZE);
    connection->input = malloc(INPUT_SIZE);
    connection->sent_us = calloc(SLOT_COUNT, sizeof(uint64_t));
    connection->next_id = 1;
    if (connection->output == NULL || connection->input == NULL || connection->sent_us == NULL ||
        !wire_hello_encode(&hello, &params)) {
        stop("memory");
    }
    (void)send_request(connection, WIRE_METHOD_hello, 0, buffer_bytes(&params));
}

/* --- Answers ---------------------------------------------------------------------------------- */

static void put_answered(struct connection *connection, const struct wire_rpc *rpc)
{
    struct bytes body = rpc->body;
    struct wire_failure failure;

    connection->answered++;
    if (!rpc->failed) {
        uint64_t sent_us = connection->sent_us[rpc->id % SLOT_COUNT];

        load.ok++;
        /* A sample of them, spread over the whole run. */
        load.latencies_us[load.latency_count++ % LATENCY_COUNT] = (uint32_t)(now_us() - sent_us);
        return;
    }
    if (wire_failure_decode(&body, &failure) != ERR_OK) {
        stop("an answer that is none");
    }
    if (failure.code != ERR_OVERLOADED && failure.code != ERR_RATE_LIMITED) {
        load.other++;
        return;
    }
    load.refused++;
    load.unhelpful += failure.retry_after_ms == 0 ? 1 : 0;
    if (failure.retry_after_ms > load.retry_max_ms) {
        load.retry_max_ms = failure.retry_after_ms;
    }
}

/* The id of a request about a session is its number, from 1. */
static void session_answered(const struct wire_rpc *rpc)
{
    struct session *session = &load.sessions[(rpc->id - 1) % SESSION_COUNT_MAX];
    struct bytes body = rpc->body;
    struct wire_session_open_result opened;

    if (rpc->failed) {
        struct wire_failure failure;

        if (wire_failure_decode(&body, &failure) != ERR_OK || session->id == 0 ||
            failure.code == ERR_SESSION_EXPIRED) {
            session->lost = true;
        }
        return; /* Any other is tried again in time. */
    }
    if (session->id == 0) {
        if (wire_session_open_result_decode(&body, &opened) != ERR_OK) {
            stop("an answer that is none");
        }
        session->id = opened.session;
    }
    session->confirmed_us = session->attempt_us;
}

static void take_answers(struct connection *connection, bool is_of_puts)
{
    ssize_t size = read(connection->socket, connection->input + connection->input_size,
                        INPUT_SIZE - connection->input_size);

    if (size == 0 || (size < 0 && errno != EAGAIN)) {
        stop("the node closed a connection");
    }
    connection->input_size += size > 0 ? (size_t)size : 0;
    struct bytes rest = bytes_of(connection->input, connection->input_size);
    struct wire_rpc rpc;

    while (rest.size > 0 && wire_rpc_next(&rest, &rpc) == ERR_OK) {
        if (rpc.type != WIRE_RESPONSE || rpc.id == 0) {
            continue;
        }
        if (is_of_puts) {
            put_answered(connection, &rpc);
        } else {
            session_answered(&rpc);
        }
    }
    memmove(connection->input, rest.data, rest.size);
    connection->input_size = rest.size;
}

/* --- Requests --------------------------------------------------------------------------------- */

static bool send_put(struct connection *connection)
{
    uint64_t id = connection->next_id;

    if (!send_request(connection, WIRE_METHOD_put, id, bytes_of(load.put, load.put_size))) {
        return false;
    }
    connection->next_id++;
    connection->sent++;
    connection->sent_us[id % SLOT_COUNT] = now_us();
    return true;
}

static void send_due(uint64_t elapsed_us, uint64_t rate, uint64_t window)
{
    for (unsigned i = 0; i < load.put_count; i++) {
        struct connection *connection = &load.connections[i];
        uint64_t due = elapsed_us * rate / load.put_count / 1000000;

        if (rate == 0) {
            due = connection->answered + window;
        }
        while (connection->sent < due) {
            if (!send_put(connection)) {
                load.unsent += due - connection->sent;
                connection->sent = due; /* It was due, and is not made up for. */
                break;
            }
        }
    }
}

static void renew_due(unsigned number, uint64_t time_us)
{
    struct session *session = &load.sessions[number];
    struct connection *connection = &load.connections[load.put_count + number / SESSIONS_EACH];
    uint8_t memory[128];
    struct buffer params = buffer_of(memory, sizeof(memory));
    bool fits;

    if (session->lost || time_us < session->renew_us) {
        return;
    }
    if (session->confirmed_us != 0 && time_us - session->confirmed_us >= load.ttl_ms * 1000ULL) {
        session->lost = true;
        return;
    }
    if (session->id == 0) {
        const struct wire_session_open open = {.ttl_ms = load.ttl_ms, .attempt = 1};

        fits =
            wire_session_open_encode(&open, &params) &&
            send_request(connection, WIRE_METHOD_session_open, number + 1, buffer_bytes(&params));
    } else {
        const struct wire_session_renew renew = {.session = session->id,
                                                 .attempt = ++session->attempt};

        fits =
            wire_session_renew_encode(&renew, &params) &&
            send_request(connection, WIRE_METHOD_session_renew, number + 1, buffer_bytes(&params));
    }
    if (!fits) {
        stop("a session's connection is full");
    }
    session->attempt_us = time_us;
    session->renew_us = time_us + load.ttl_ms * 1000ULL / 3;
}

static void turn(uint64_t elapsed_us, uint64_t rate, uint64_t window)
{
    uint64_t time_us = now_us();

    send_due(elapsed_us, rate, window);
    for (unsigned i = 0; i < load.session_count; i++) {
        renew_due(i, time_us);
    }
    for (unsigned i = 0; i < load.connection_count; i++) {
        flush(&load.connections[i]);
        load.polled[i].fd = load.connections[i].socket;
        load.polled[i].events =
            (short)(POLLIN | (load.connections[i].output_size > 0 ? POLLOUT : 0));
    }
    if (poll(load.polled, load.connection_count, 1) < 0) {
        stop("poll");
    }
    for (unsigned i = 0; i < load.connection_count; i++) {
        if ((load.polled[i].revents & (POLLIN | POLLHUP | POLLERR)) != 0) {
            take_answers(&load.connections[i], i < load.put_count);
        }
    }
}

/* --- The whole -------------------------------------------------------------------------------- */

static int by_size(const void *a, const void *b)
{
    uint32_t left = *(const uint32_t *)a;
    uint32_t right = *(const uint32_t *)b;

    return left < right ? -1 : left > right ? 1 : 0;
}

static double percentile_ms(unsigned percent)
{
    uint64_t count = load.latency_count < LATENCY_COUNT ? load.latency_count : LATENCY_COUNT;

    uint64_t at = count == 0 ? 0 : (count - 1) * percent / 100;

    return load.latencies_us[at] / 1000.0;
}

static void report(double seconds)
{
    struct rusage usage;
    uint64_t count = load.latency_count < LATENCY_COUNT ? load.latency_count : LATENCY_COUNT;

    for (unsigned i = 0; i < load.session_count; i++) {
        load.lost += load.sessions[i].lost ? 1 : 0;
    }
    getrusage(RUSAGE_SELF, &usage);
    qsort(load.latencies_us, count, sizeof(uint32_t), by_size);
    printf("{\"ok\":%" PRIu64 ",\"refused\":%" PRIu64 ",\"unhelpful\":%" PRIu64
           ",\"other\":%" PRIu64 ",\"unsent\":%" PRIu64 ",\"ok_per_s\":%.1f,\"cpu_s\":%.2f,"
           "\"seconds\":%.2f,\"p50_ms\":%.2f,\"p99_ms\":%.2f,\"sessions\":%u,\"lost\":%" PRIu64
           ",\"retry_max_ms\":%" PRIu32 "}\n",
           load.ok, load.refused, load.unhelpful, load.other, load.unsent,
           (double)load.ok / seconds,
           (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
               (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6,
           seconds, percentile_ms(50), percentile_ms(99), load.session_count, load.lost,
           load.retry_max_ms);
}

static void open_all(const char *endpoint, size_t value_size)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    char host[64] = "";
    unsigned port = 0;
    struct buffer params = buffer_of(load.put, sizeof(load.put));
    uint8_t *value = calloc(1, value_size + 1);
    const struct wire_put put = {.key = bytes_of_text("overload"),
                                 .value = bytes_of(value, value_size)};

    if (sscanf(endpoint, "%63[^:]:%u", host, &port) != 2 || port > UINT16_MAX ||
        inet_pton(AF_INET, host, &address.sin_addr) != 1 || value == NULL ||
        !wire_put_encode(&put, &params)) {
        stop(endpoint);
    }
    free(value);
    load.put_size = params.size;
    address.sin_port = htons((uint16_t)port);
    for (unsigned i = 0; i < load.connection_count; i++) {
        open_connection(&load.connections[i], &address);
    }
}

int main(int argc, char **argv)
{
    if (argc != 9) {
        fprintf(stderr, "usage: overload HOST:PORT SECONDS VALUE_SIZE CONNECTIONS RATE WINDOW "
                        "SESSIONS TTL_MS\n");
        return 64;
    }
    double seconds = strtod(argv[2], NULL);
    uint64_t rate = strtoull(argv[5], NULL, 10);
    uint64_t window = strtoull(argv[6], NULL, 10);

    load.put_count = (unsigned)strtoul(argv[4], NULL, 10);
    load.session_count = (unsigned)strtoul(argv[7], NULL, 10);
    load.ttl_ms = (uint32_t)strtoul(argv[8], NULL, 10);
    load.connection_count =
        load.put_count + (load.session_count + SESSIONS_EACH - 1) / SESSIONS_EACH;
    if (load.connection_count > CONNECTION_COUNT_MAX || load.session_count > SESSION_COUNT_MAX) {
        fprintf(stderr, "overload: at most %d connections and %d sessions\n", CONNECTION_COUNT_MAX,
                SESSION_COUNT_MAX);
        return 64;
    }
    open_all(argv[1], strtoul(argv[3], NULL, 10));
    uint64_t begin_us = now_us();
    uint64_t elapsed_us = 0;

    while (elapsed_us < (uint64_t)(seconds * 1e6)) {
        turn(elapsed_us, rate, window);
        elapsed_us = now_us() - begin_us;
    }
    report((double)elapsed_us / 1e6);
    return 0;
}
