/* docs/examples/worker.c: of all the workers that run, one works: the one that holds the lock.
 *
 * cc -o worker docs/examples/worker.c $(pkg-config --cflags --libs holdfast)
 * ./worker 127.0.0.1:7400,127.0.0.1:7401,127.0.0.1:7402 reports     until SIGINT or SIGTERM */
#define _POSIX_C_SOURCE 200809L /* NOLINT(bugprone-reserved-identifier): sigaction(). */
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include <holdfast_hold.h>

enum { STEP_MS = 100 };

static volatile sig_atomic_t stop_wanted;

static void on_signal(int number)
{
    (void)number;
    stop_wanted = 1;
}

/* Short steps, each begun only while the lock is held; a step that takes long asks in between. */
static int work(struct holdfast_hold *hold, void *context)
{
    struct pollfd lost = {.fd = holdfast_hold_file(hold), .events = POLLIN};

    (void)context;
    (void)printf("leads token=%" PRIu64 "\n", holdfast_hold_token(hold));
    (void)fflush(stdout);
    while (!stop_wanted && !holdfast_hold_is_lost(hold)) {
        /* ... what only one may do, with holdfast_hold_token() sent along ... */
        (void)poll(&lost, 1, STEP_MS); /* The next step, or the loss. */
    }
    return 0;
}

/* Waits for the lock a little at a time, to see the signals. */
static void run(struct holdfast *client, const char *name)
{
    const struct holdfast_with_lock_options options = {
        .name = name, .name_size = strlen(name), .ttl_ms = 3000, .lock = {.wait_ms = 1000}};

    while (!stop_wanted) {
        enum holdfast_status status = holdfast_with_lock(client, &options, work, NULL, NULL);
        if (status != HOLDFAST_OK && status != HOLDFAST_HELD) {
            (void)fprintf(stderr, "%s: %s\n", holdfast_status_name(status),
                          holdfast_status_text(status));
        }
    }
}

int main(int count, char **arguments)
{
    struct sigaction action = {.sa_handler = on_signal};

    if (count != 3) {
        (void)fprintf(stderr, "usage: worker ENDPOINTS NAME\n");
        return 64;
    }
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    struct holdfast_options options = {.endpoints = arguments[1], .name = "worker"};
    struct holdfast *client;
    enum holdfast_status status = holdfast_open(&client, &options);
    if (status != HOLDFAST_OK) {
        (void)fprintf(stderr, "%s: %s\n", arguments[1], holdfast_status_text(status));
        return 65;
    }
    run(client, arguments[2]);
    holdfast_close(client, NULL, NULL);
    return 0;
}
