/* client/command/bench.c: closed-loop load: each client has one operation outstanding.
 *
 *   PREPARING --every client has its session, every key is there--> RUNNING --time is over--> DONE
 *
 * Clients share a few library clients on one loop, which spread requests over --connections. Only
 * operations that end between the warm-up and the end are counted; of those outstanding at the end
 * the latency has what has passed until then. The latency of put and get is one request, that of
 * lock an acquire and its release, that of handoff the time from the sending of one holder's
 * release to the grant to the next. */
#define _GNU_SOURCE
#include "client/command/bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/prng.h"
#include "client/command/run.h"

enum workload { WORKLOAD_PUT, WORKLOAD_GET, WORKLOAD_LOCK, WORKLOAD_HANDOFF };
enum bench_phase { BENCH_PREPARING, BENCH_RUNNING, BENCH_DONE };

enum {
    CONNECTIONS_OF_LIBRARY_MAX = 16,
    LIBRARY_COUNT_MAX = 1024 / CONNECTIONS_OF_LIBRARY_MAX,
    TTL_MS = 10000,
    RETRY_MIN_MS = 10, /* Between an error and the next try. */
    PROGRESS_INTERVAL_MS = 500,
    NAME_SIZE = 40,
    ERROR_SIZE = 256,
};

struct bench;

struct bench_client {
    struct bench *bench;
    struct holdfast *library;
    struct holdfast_session *session;
    uint32_t number;
    bool is_ready;
    uint64_t started_us; /* Of the operation under way; 0: none. */
    uint64_t token;
    uint64_t key; /* Being looked for, when missing keys are written. */
    struct prng prng;
    uv_timer_t retry_timer;
};

struct bench {
    struct run *run;
    const struct options *options;
    enum workload workload;
    enum bench_phase phase;
    struct holdfast *libraries[LIBRARY_COUNT_MAX];
    uint32_t library_count;
    struct bench_client *clients;
    uint32_t client_count;
    uint32_t ready_count;
    uint64_t next_key; /* To be looked for before a get. */
    char *value;
    uint64_t begin_us; /* When measuring begins, and ends. */
    uint64_t end_us;
    uint64_t phase_us; /* When the phase began. */
    uint64_t ops;      /* Since then, counted or not. */
    struct bench_counts counts;
    uint32_t last_holder; /* Handoff: the client's number + 1; 0: none. */
    uint64_t released_us; /* When its release was sent. */
    char first_error[ERROR_SIZE];
    int first_exit_status;
    uv_timer_t end_timer;
    uv_timer_t progress_timer;
};

static void begin_operation(struct bench_client *client);
static void prepare_client(struct bench_client *client);

static uint64_t now_us(void)
{
    return uv_hrtime() / 1000;
}

/* --- Errors and the end -------------------------------------------------------------------------
 */

static void retry_is_due(uv_timer_t *timer)
{
    struct bench_client *client = timer->data;

    if (client->bench->phase == BENCH_DONE) {
        return;
    }
    if (client->is_ready) {
        begin_operation(client);
    } else {
        prepare_client(client);
    }
}

static void note_error(struct bench *bench, const struct holdfast_result *result)
{
    if (bench->first_error[0] == '\0') {
        snprintf(bench->first_error, sizeof(bench->first_error), "%s: %s",
                 holdfast_status_name(result->status), result->text);
        bench->first_exit_status =
            exit_of_result(result, bench->run->is_write && bench->phase == BENCH_RUNNING);
    }
    uint64_t at_us = now_us();
    bool is_measured =
        bench->phase == BENCH_RUNNING && at_us >= bench->begin_us && at_us < bench->end_us;

    bench->counts.errors += is_measured ? 1 : 0;
}

/* Counts the error and lets the client go on a little later. */
static void fail(struct bench_client *client, const struct holdfast_result *result)
{
    uint64_t wait_ms =
        result->retry_after_ms > RETRY_MIN_MS ? result->retry_after_ms : RETRY_MIN_MS;

    ASSERT(result->status != HOLDFAST_OK);
    client->started_us = 0;
    note_error(client->bench, result);
    uv_timer_start(&client->retry_timer, retry_is_due, wait_ms, 0);
}

static void close_libraries(struct bench *bench)
{
    for (uint32_t i = 0; i < bench->library_count; i++) {
        holdfast_close(bench->libraries[i], NULL, NULL);
    }
}

static void finish(struct bench *bench)
{
    ASSERT(bench->phase != BENCH_DONE);
    bench->phase = BENCH_DONE;
    for (uint32_t i = 0; i < bench->client_count; i++) {
        uv_close((uv_handle_t *)&bench->clients[i].retry_timer, NULL);
    }
    uv_close((uv_handle_t *)&bench->end_timer, NULL);
    uv_close((uv_handle_t *)&bench->progress_timer, NULL);
    close_libraries(bench);
}

/* --- Operations ----------------------------------------------------------------------------------
 */

/* Outstanding at the end: it takes that long at least. Leaving it out would hide a stall. */
static void add_unfinished(struct bench *bench, uint64_t started_us)
{
    ASSERT(bench->phase == BENCH_RUNNING);
    if (started_us != 0 && started_us < bench->end_us) {
        histogram_add(&bench->counts.latency_us, bench->end_us - started_us);
    }
}

static void count(struct bench *bench, uint64_t started_us)
{
    uint64_t ended_us = now_us();

    ASSERT(ended_us >= started_us);
    bench->ops++;
    if (ended_us >= bench->end_us) {
        add_unfinished(bench, started_us);
    } else if (ended_us >= bench->begin_us) {
        bench->counts.ops++;
        histogram_add(&bench->counts.latency_us, ended_us - started_us);
    }
}

/* Of put and get. */
static void key_done(const struct holdfast_result *result, void *context)
{
    struct bench_client *client = context;

    if (client->bench->phase == BENCH_DONE) {
        return;
    }
    if (result->status != HOLDFAST_OK) {
        fail(client, result);
        return;
    }
    count(client->bench, client->started_us);
    begin_operation(client);
}

/* A lost session is replaced by a new one. */
static void lock_failed(struct bench_client *client, const struct holdfast_result *result)
{
    if (holdfast_session_state(client->session) == HOLDFAST_SESSION_LOST) {
        client->is_ready = false;
        client->bench->ready_count--;
    }
    fail(client, result);
}

static void released(const struct holdfast_result *result, void *context)
{
    struct bench_client *client = context;
    struct bench *bench = client->bench;

    if (bench->phase == BENCH_DONE) {
        return;
    }
    if (result->status != HOLDFAST_OK) {
        lock_failed(client, result);
        return;
    }
    if (bench->workload == WORKLOAD_LOCK) {
        count(bench, client->started_us);
    }
    begin_operation(client);
}

static size_t lock_name(const struct bench_client *client, char name[NAME_SIZE])
{
    int size = client->bench->workload == WORKLOAD_HANDOFF
                   ? snprintf(name, NAME_SIZE, "bench/handoff")
                   : snprintf(name, NAME_SIZE, "bench/lock/%06u", client->number);

    ASSERT(size > 0 && size < NAME_SIZE);
    return (size_t)size;
}

static void acquired(const struct holdfast_result *result, void *context)
{
    struct bench_client *client = context;
    struct bench *bench = client->bench;
    char name[NAME_SIZE];

    if (bench->phase == BENCH_DONE) {
        return;
    }
    if (result->status != HOLDFAST_OK) {
        lock_failed(client, result);
        return;
    }
    if (bench->workload == WORKLOAD_HANDOFF) {
        if (bench->last_holder != 0 && bench->last_holder != client->number + 1) {
            count(bench, bench->released_us);
        }
        bench->last_holder = client->number + 1;
        bench->released_us = now_us();
    }
    const struct holdfast_call *call = holdfast_lock_release(
        client->session, name, lock_name(client, name), result->token, released, client);
    ASSERT(call != NULL);
}

static size_t key_name(uint64_t number, char name[NAME_SIZE])
{
    int size = snprintf(name, NAME_SIZE, "bench/%06llu", (unsigned long long)number);

    ASSERT(size > 0 && size < NAME_SIZE);
    return (size_t)size;
}

static void begin_operation(struct bench_client *client)
{
    struct bench *bench = client->bench;
    const struct holdfast_call *call = NULL;
    char name[NAME_SIZE];
    size_t size = 0;

    ASSERT(bench->phase == BENCH_RUNNING);
    client->started_us = now_us();
    if (bench->workload == WORKLOAD_PUT || bench->workload == WORKLOAD_GET) {
        size = key_name(prng_below(&client->prng, bench->options->keys), name);
    } else {
        size = lock_name(client, name);
    }
    switch (bench->workload) {
    case WORKLOAD_PUT:
        call = holdfast_put(client->library, name, size, bench->value, bench->options->value_size,
                            key_done, client);
        break;
    case WORKLOAD_GET:
        call = holdfast_get(client->library, name, size, key_done, client);
        break;
    case WORKLOAD_LOCK:
    case WORKLOAD_HANDOFF:
        call = holdfast_lock_acquire(client->session, name, size, HOLDFAST_WAIT_FOREVER, acquired,
                                     client);
        break;
    }
    ASSERT(call != NULL);
}

/* --- Preparing -----------------------------------------------------------------------------------
 */

static void end_is_due(uv_timer_t *timer)
{
    struct bench *bench = timer->data;
    bool is_handoff = bench->workload == WORKLOAD_HANDOFF;

    if (is_handoff && bench->client_count > 1) {
        add_unfinished(bench, bench->released_us);
    }
    for (uint32_t i = 0; i < bench->client_count && !is_handoff; i++) {
        add_unfinished(bench, bench->clients[i].started_us);
    }
    finish(bench);
}

static void begin_running(struct bench *bench)
{
    const struct options *options = bench->options;

    ASSERT(bench->phase == BENCH_PREPARING);
    bench->phase = BENCH_RUNNING;
    bench->phase_us = now_us();
    bench->ops = 0;
    bench->begin_us = bench->phase_us + options->warmup_ms * 1000;
    bench->end_us = bench->begin_us + options->seconds_ms * 1000;
    bench->run->is_write = bench->workload == WORKLOAD_PUT;
    uv_update_time(&bench->run->loop);
    /* One millisecond more: the loop's clock is rounded down. */
    uv_timer_start(&bench->end_timer, end_is_due, options->warmup_ms + options->seconds_ms + 1, 0);
    for (uint32_t i = 0; i < bench->client_count; i++) {
        begin_operation(&bench->clients[i]);
    }
}

static void become_ready(struct bench_client *client)
{
    struct bench *bench = client->bench;

    ASSERT(!client->is_ready);
    client->is_ready = true;
    bench->ready_count++;
    if (bench->phase == BENCH_RUNNING) {
        begin_operation(client);
    } else if (bench->ready_count == bench->client_count) {
        begin_running(bench);
    }
}

/* Before the first answer of the cluster an error ends the whole; later it is tried again. */
static void prepare_failed(struct bench_client *client, const struct holdfast_result *result)
{
    struct bench *bench = client->bench;

    if (bench->phase == BENCH_RUNNING) {
        fail(client, result);
        return;
    }
    note_error(bench, result);
    finish(bench);
}

static void session_opened(const struct holdfast_result *result, void *context)
{
    struct bench_client *client = context;

    if (client->bench->phase == BENCH_DONE) {
        return;
    }
    if (result->status == HOLDFAST_OK) {
        client->bench->ops++;
        become_ready(client);
    } else {
        prepare_failed(client, result);
    }
}

static void forget_ended(const struct holdfast_result *result, void *context)
{
    ASSERT(result != NULL);
    (void)context;
}

static void open_session(struct bench_client *client)
{
    const struct holdfast_session_options options = {.ttl_ms = TTL_MS, .owner = "holdfast bench"};
    const struct holdfast_call *call;

    if (client->session != NULL) {
        call = holdfast_session_end(client->session, forget_ended, client);
        ASSERT(call != NULL);
    }
    call =
        holdfast_session_open(client->library, &options, &client->session, session_opened, client);
    ASSERT(call != NULL);
}

static void key_written(const struct holdfast_result *result, void *context)
{
    struct bench_client *client = context;

    if (client->bench->phase == BENCH_DONE) {
        return;
    }
    if (result->status == HOLDFAST_OK) {
        client->bench->ops++;
        client->key = client->bench->next_key++;
        prepare_client(client);
    } else {
        prepare_failed(client, result);
    }
}

static void key_looked_for(const struct holdfast_result *result, void *context)
{
    struct bench_client *client = context;
    struct bench *bench = client->bench;
    char name[NAME_SIZE];

    if (result->status != HOLDFAST_NOT_FOUND) {
        key_written(result, client);
        return;
    }
    size_t size = key_name(client->key, name);
    const struct holdfast_call *call = holdfast_put(
        client->library, name, size, bench->value, bench->options->value_size, key_written, client);

    ASSERT(call != NULL);
}

/* A leader must answer before anything is measured. */
static void leader_answered(const struct holdfast_result *result, void *context)
{
    struct bench_client *client = context;

    if (client->bench->phase == BENCH_DONE) {
        return;
    }
    if (result->status == HOLDFAST_OK || result->status == HOLDFAST_NOT_FOUND) {
        become_ready(client);
    } else {
        prepare_failed(client, result);
    }
}

static void prepare_client(struct bench_client *client)
{
    struct bench *bench = client->bench;
    const struct holdfast_call *call = NULL;
    char name[NAME_SIZE];

    if (bench->workload == WORKLOAD_LOCK || bench->workload == WORKLOAD_HANDOFF) {
        open_session(client);
        return;
    }
    if (bench->workload == WORKLOAD_PUT) {
        call = holdfast_get(client->library, name, key_name(0, name), leader_answered, client);
    } else if (client->key < bench->options->keys) {
        size_t size = key_name(client->key, name);

        call = holdfast_get(client->library, name, size, key_looked_for, client);
    } else {
        become_ready(client);
        return;
    }
    ASSERT(call != NULL);
}

/* --- Start ---------------------------------------------------------------------------------------
 */

static void progress_is_due(uv_timer_t *timer)
{
    const struct bench *bench = timer->data;
    uint64_t at_us = now_us();
    const char *phase = bench->phase == BENCH_PREPARING ? "preparing"
                        : at_us < bench->begin_us       ? "warming up"
                                                        : "measuring";

    bench_report_progress(bench->options, phase, bench->ops, (at_us - bench->phase_us) / 1000,
                          &bench->counts);
}

/* Each library client has at most CONNECTIONS_OF_LIBRARY_MAX connections. */
static bool open_libraries(struct bench *bench)
{
    uint32_t left = (uint32_t)bench->options->connections;
    uint32_t wanted = (left + CONNECTIONS_OF_LIBRARY_MAX - 1) / CONNECTIONS_OF_LIBRARY_MAX;

    ASSERT(wanted <= LIBRARY_COUNT_MAX);
    for (uint32_t i = 0; i < wanted; i++) {
        uint32_t share = (left + (wanted - i) - 1) / (wanted - i);
        const struct holdfast_options options = {.endpoints = bench->options->endpoints,
                                                 .name = "holdfast bench",
                                                 .timeout_ms = (uint32_t)bench->options->timeout_ms,
                                                 .connections = share,
                                                 .token = bench->run->token};

        if (holdfast_open_on_loop(&bench->libraries[i], &options, &bench->run->loop) !=
            HOLDFAST_OK) {
            return false;
        }
        bench->library_count++;
        left -= share;
    }
    return true;
}

static void init_clients(struct bench *bench)
{
    for (uint32_t i = 0; i < bench->client_count; i++) {
        struct bench_client *client = &bench->clients[i];

        client->bench = bench;
        client->number = i;
        client->library = bench->libraries[i % bench->library_count];
        prng_init(&client->prng, i + 1);
        uv_timer_init(&bench->run->loop, &client->retry_timer);
        client->retry_timer.data = client;
        client->key = bench->next_key++;
    }
}

static void start(struct bench *bench)
{
    uv_loop_t *loop = &bench->run->loop;

    init_clients(bench);
    uv_timer_init(loop, &bench->end_timer);
    uv_timer_init(loop, &bench->progress_timer);
    bench->end_timer.data = bench;
    bench->progress_timer.data = bench;
    bench->phase_us = now_us();
    if (isatty(STDERR_FILENO) == 1) {
        uv_timer_start(&bench->progress_timer, progress_is_due, PROGRESS_INTERVAL_MS,
                       PROGRESS_INTERVAL_MS);
    }
    for (uint32_t i = 0; i < bench->client_count && bench->phase == BENCH_PREPARING; i++) {
        prepare_client(&bench->clients[i]);
    }
}

static int report(struct bench *bench)
{
    if (isatty(STDERR_FILENO) == 1) {
        bench_report_progress_end();
    }
    if (bench->first_error[0] != '\0') {
        complain("bench: the first error was %s", bench->first_error);
    }
    if (bench->begin_us != 0) {
        bench_report(&bench->run->output, bench->options, bench->options->seconds_ms,
                     &bench->counts);
    }
    bool has_result = bench->counts.ops != 0;

    return has_result || bench->first_error[0] == '\0' ? EXIT_DONE : bench->first_exit_status;
}

static enum workload find_workload(const char *name)
{
    return strcmp(name, "put") == 0    ? WORKLOAD_PUT
           : strcmp(name, "get") == 0  ? WORKLOAD_GET
           : strcmp(name, "lock") == 0 ? WORKLOAD_LOCK
                                       : WORKLOAD_HANDOFF;
}

/* Not of all zeros, which a disk or a network might store in less. */
static void fill_value(char *value, size_t size)
{
    struct prng prng;

    prng_init(&prng, size + 1);
    for (size_t i = 0; i < size; i++) {
        value[i] = (char)('a' + prng_below(&prng, 26));
    }
}

int bench_run(struct run *run)
{
    const struct options *options = run->options;
    struct bench bench = {.run = run,
                          .options = options,
                          .workload = find_workload(options->operands[0]),
                          .client_count = (uint32_t)options->clients};
    int error = uv_loop_init(&run->loop);

    histogram_init(&bench.counts.latency_us);
    bench.clients = calloc(bench.client_count, sizeof(*bench.clients));
    bench.value = malloc(options->value_size + 1);
    if (error != 0 || bench.clients == NULL || bench.value == NULL) {
        complain("bench: no memory for %u clients", bench.client_count);
        abort();
    }
    fill_value(bench.value, options->value_size);
    if (open_libraries(&bench)) {
        start(&bench);
        run_loop(run);
        run->exit_status = report(&bench);
    } else {
        complain("bench: %u connections cannot be opened", (unsigned)options->connections);
        close_libraries(&bench);
        run_loop(run);
        run->exit_status = EXIT_REFUSED;
    }
    free(bench.value);
    free(bench.clients);
    return run->exit_status;
}
