/* tests/integration/handover.c: how long a waiting taker waits after the release, beside the time
 * of a put, in one run.
 *
 * usage: handover ENDPOINTS ROUNDS
 *
 * Prints one JSON line with the medians in microseconds. */
#define _GNU_SOURCE
#include <inttypes.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/histogram.h"
#include "client/holdfast.h"

struct taker {
    struct holdfast_session *session;
    _Atomic uint64_t granted_us; /* 0 while waiting. */
};

static uint64_t now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void need(enum holdfast_status status, const char *what)
{
    if (status != HOLDFAST_OK) {
        fprintf(stderr, "handover: %s: %s\n", what, holdfast_status_name(status));
        exit(1);
    }
}

static void *take(void *context)
{
    struct taker *taker = context;
    uint64_t token;

    need(holdfast_lock_acquire_sync(taker->session, "handover", 8, HOLDFAST_WAIT_FOREVER, &token),
         "second acquire");
    atomic_store(&taker->granted_us, now_us());
    need(holdfast_lock_release_sync(taker->session, "handover", 8, token), "second release");
    return NULL;
}

/* The answer of a look at the lock, handed from the client's thread to ours. */
struct look {
    sem_t answered;
    size_t queue_count;
};

static void on_show(const struct holdfast_result *result, void *context)
{
    struct look *look = context;

    look->queue_count = result->queue_count;
    sem_post(&look->answered);
}

static void await_waiter(struct holdfast *client)
{
    struct look look = {.queue_count = 0};

    sem_init(&look.answered, 0, 0);
    while (look.queue_count == 0) {
        holdfast_lock_show(client, "handover", 8, on_show, &look);
        sem_wait(&look.answered);
    }
    sem_destroy(&look.answered);
}

static uint64_t one_handover(struct holdfast *client, struct holdfast_session *holder,
                             struct holdfast_session *waiter)
{
    struct taker taker = {.session = waiter};
    pthread_t thread;
    uint64_t token;

    need(holdfast_lock_acquire_sync(holder, "handover", 8, HOLDFAST_TRY, &token), "acquire");
    if (pthread_create(&thread, NULL, take, &taker) != 0) {
        exit(1);
    }
    await_waiter(client);
    uint64_t before_us = now_us();
    need(holdfast_lock_release_sync(holder, "handover", 8, token), "release");
    pthread_join(thread, NULL);
    return taker.granted_us - before_us;
}

int main(int argc, char **argv)
{
    struct histogram puts, handovers;
    struct holdfast *client;
    struct holdfast_session *holder = NULL, *waiter = NULL;
    struct holdfast_session_options session = {.ttl_ms = 10000};
    uint64_t revision;

    if (argc != 3) {
        fprintf(stderr, "usage: handover ENDPOINTS ROUNDS\n");
        return 64;
    }
    struct holdfast_options options = {.endpoints = argv[1]};
    need(holdfast_open(&client, &options), "open");
    need(holdfast_session_open_sync(client, &session, &holder), "session");
    need(holdfast_session_open_sync(client, &session, &waiter), "session");
    histogram_init(&puts);
    histogram_init(&handovers);
    for (unsigned long i = strtoul(argv[2], NULL, 10); i > 0; i--) {
        uint64_t before_us = now_us();

        need(holdfast_put_sync(client, "key", 3, "value", 5, &revision), "put");
        histogram_add(&puts, now_us() - before_us);
        histogram_add(&handovers, one_handover(client, holder, waiter));
    }
    printf("{\"put_p50_us\":%" PRIu64 ",\"handover_p50_us\":%" PRIu64 "}\n",
           histogram_percentile(&puts, 500), histogram_percentile(&handovers, 500));
    need(holdfast_session_end_sync(holder), "end");
    need(holdfast_session_end_sync(waiter), "end");
    holdfast_close(client, NULL, NULL);
    return 0;
}
