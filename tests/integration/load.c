/* tests/integration/load.c: a mixed load of threads over the synchronous library calls, with a
 * history.
 *
 * usage: load ENDPOINTS CLIENTS FOLDER
 *
 * Each client is a thread with a client and a session of its own. It writes one JSON line for each
 * finished operation to FOLDER/history-N; standard output gets the number of acknowledged
 * operations, one line for each ACKED_STEP. Ends cleanly when standard input is closed. */
#define _GNU_SOURCE
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/prng.h"
#include "client/holdfast.h"

enum { CLIENT_COUNT_MAX = 64, ACKED_STEP = 10, SHARED_KEY_COUNT = 5, OWN_KEY_COUNT = 10 };

struct load {
    const char *endpoints;
    const char *folder;
    atomic_bool stopping;
    atomic_ulong acked;
};

struct worker {
    struct load *load;
    unsigned number;
    struct prng prng;
    struct holdfast *client;
    struct holdfast_session *session;
    FILE *history;
    uint64_t written;   /* Counter behind unique values. */
    char cas_value[64]; /* What this client believes to be in its cas key; "" when absent. */
    bool cas_is_unknown;
};

static uint64_t now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

struct operation {
    const char *name;
    const char *key;
    const char *value;
    uint64_t start_us;
    uint64_t number; /* Revision or token. */
    enum holdfast_status status;
};

static void record(struct worker *worker, const struct operation *operation)
{
    fprintf(worker->history,
            "{\"client\":%u,\"op\":\"%s\",\"key\":\"%s\",\"value\":\"%s\",\"start\":%" PRIu64
            ",\"end\":%" PRIu64 ",\"status\":\"%s\",\"number\":%" PRIu64 "}\n",
            worker->number, operation->name, operation->key, operation->value, operation->start_us,
            now_us(), holdfast_status_name(operation->status), operation->number);
    if (operation->status == HOLDFAST_OK) {
        unsigned long acked = atomic_fetch_add(&worker->load->acked, 1) + 1;

        if (acked % ACKED_STEP == 0) {
            printf("%lu\n", acked);
            fflush(stdout);
        }
    }
}

static void put(struct worker *worker, const char *key)
{
    char value[64];
    struct operation operation = {.name = "put", .key = key, .value = value, .start_us = now_us()};

    snprintf(value, sizeof(value), "c%u-%" PRIu64, worker->number, ++worker->written);
    operation.status = holdfast_put_sync(worker->client, key, strlen(key), value, strlen(value),
                                         &operation.number);
    record(worker, &operation);
}

static void get(struct worker *worker, const char *key)
{
    char text[64] = "";
    void *value = NULL;
    size_t size = 0;
    struct operation operation = {.name = "get", .key = key, .value = text, .start_us = now_us()};

    operation.status =
        holdfast_get_sync(worker->client, key, strlen(key), &value, &size, &operation.number);
    if (operation.status == HOLDFAST_OK) {
        snprintf(text, sizeof(text), "%.*s", (int)size, (const char *)value);
        holdfast_free(value);
    }
    record(worker, &operation);
}

/* Finds out what an unanswered compare-and-swap left behind. */
static void read_cas_back(struct worker *worker, const char *key)
{
    void *value = NULL;
    size_t size = 0;
    uint64_t revision;
    enum holdfast_status status =
        holdfast_get_sync(worker->client, key, strlen(key), &value, &size, &revision);

    if (status == HOLDFAST_OK) {
        snprintf(worker->cas_value, sizeof(worker->cas_value), "%.*s", (int)size,
                 (const char *)value);
        holdfast_free(value);
        worker->cas_is_unknown = false;
    } else if (status == HOLDFAST_NOT_FOUND) {
        worker->cas_value[0] = '\0';
        worker->cas_is_unknown = false;
    }
}

static void cas(struct worker *worker)
{
    char key[32], value[64];

    snprintf(key, sizeof(key), "own/%u/cas", worker->number);
    if (worker->cas_is_unknown) {
        read_cas_back(worker, key);
        return;
    }
    snprintf(value, sizeof(value), "c%u-%" PRIu64, worker->number, ++worker->written);
    struct holdfast_pair pair = {
        .key = key, .key_size = strlen(key), .value = value, .value_size = strlen(value)};
    const char *expected = worker->cas_value[0] == '\0' ? NULL : worker->cas_value;
    struct operation operation = {.name = "cas", .key = key, .value = value, .start_us = now_us()};

    operation.status =
        holdfast_cas_sync(worker->client, &pair, expected, expected == NULL ? 0 : strlen(expected),
                          &operation.number);
    record(worker, &operation);
    if (operation.status == HOLDFAST_OK) {
        memcpy(worker->cas_value, value, sizeof(value));
    } else {
        /* MISMATCH would be a lost or a doubled write: the checker sees it in the history. */
        worker->cas_is_unknown = true;
    }
}

static bool open_session(struct worker *worker)
{
    struct holdfast_session_options options = {.ttl_ms = 3000, .owner = "load"};

    if (worker->session != NULL &&
        holdfast_session_state(worker->session) != HOLDFAST_SESSION_LOST) {
        return true;
    }
    if (worker->session != NULL) {
        holdfast_session_end_sync(worker->session);
        worker->session = NULL;
    }
    if (holdfast_session_open_sync(worker->client, &options, &worker->session) != HOLDFAST_OK) {
        if (worker->session != NULL) {
            holdfast_session_end_sync(worker->session);
            worker->session = NULL;
        }
        return false;
    }
    return true;
}

static void lock(struct worker *worker)
{
    char name[16];
    uint64_t token = 0;

    if (!open_session(worker)) {
        return;
    }
    snprintf(name, sizeof(name), "lock%u", (unsigned)prng_below(&worker->prng, 3));
    struct operation operation = {
        .name = "acquire", .key = name, .value = "", .start_us = now_us()};
    operation.status =
        holdfast_lock_acquire_sync(worker->session, name, strlen(name), 2000, &token);
    operation.number = token;
    record(worker, &operation);
    if (operation.status != HOLDFAST_OK) {
        return;
    }
    operation = (struct operation){
        .name = "release", .key = name, .value = "", .number = token, .start_us = now_us()};
    operation.status = holdfast_lock_release_sync(worker->session, name, strlen(name), token);
    record(worker, &operation);
}

static void step(struct worker *worker)
{
    char key[32];
    uint64_t choice = prng_below(&worker->prng, 10);

    if (choice < 3) {
        snprintf(key, sizeof(key), "own/%u/%u", worker->number,
                 (unsigned)prng_below(&worker->prng, OWN_KEY_COUNT));
        put(worker, key);
    } else if (choice < 8) {
        snprintf(key, sizeof(key), "shared/%u",
                 (unsigned)prng_below(&worker->prng, SHARED_KEY_COUNT));
        if (choice < 5) {
            put(worker, key);
        } else {
            get(worker, key);
        }
    } else if (choice < 9) {
        cas(worker);
    } else {
        lock(worker);
    }
}

static void *work(void *context)
{
    struct worker *worker = context;
    char path[4096];
    struct holdfast_options options = {.endpoints = worker->load->endpoints, .name = "load"};

    snprintf(path, sizeof(path), "%s/history-%u", worker->load->folder, worker->number);
    worker->history = fopen(path, "w");
    if (worker->history == NULL || holdfast_open(&worker->client, &options) != HOLDFAST_OK) {
        fprintf(stderr, "load: client %u cannot start\n", worker->number);
        exit(1);
    }
    prng_init(&worker->prng, worker->number + 1);
    while (!atomic_load(&worker->load->stopping)) {
        step(worker);
    }
    if (worker->session != NULL) {
        holdfast_session_end_sync(worker->session);
    }
    holdfast_close(worker->client, NULL, NULL);
    fclose(worker->history);
    return NULL;
}

int main(int argc, char **argv)
{
    struct load load = {0};
    struct worker workers[CLIENT_COUNT_MAX];
    pthread_t threads[CLIENT_COUNT_MAX];
    char byte;

    if (argc != 4 || strtoul(argv[2], NULL, 10) > CLIENT_COUNT_MAX) {
        fprintf(stderr, "usage: load ENDPOINTS CLIENTS FOLDER\n");
        return 64;
    }
    unsigned count = (unsigned)strtoul(argv[2], NULL, 10);

    load.endpoints = argv[1];
    load.folder = argv[3];
    memset(workers, 0, sizeof(workers));
    for (unsigned i = 0; i < count; i++) {
        workers[i].load = &load;
        workers[i].number = i;
        if (pthread_create(&threads[i], NULL, work, &workers[i]) != 0) {
            fprintf(stderr, "load: no thread\n");
            return 1;
        }
    }
    while (read(STDIN_FILENO, &byte, 1) > 0) {
    }
    atomic_store(&load.stopping, true);
    for (unsigned i = 0; i < count; i++) {
        pthread_join(threads[i], NULL);
    }
    printf("%lu\n", atomic_load(&load.acked));
    return 0;
}
