/* docs/examples/poller.c: says what some keys become, until SIGINT or SIGTERM. All are asked for at
 * once, so that a look costs one round trip. Values that come and go between two looks are not
 * seen.
 *
 * cc -o poller docs/examples/poller.c $(pkg-config --cflags --libs holdfast)
 * ./poller 127.0.0.1:7400,127.0.0.1:7401,127.0.0.1:7402 color size */
#define _POSIX_C_SOURCE 200809L /* NOLINT(bugprone-reserved-identifier): sigaction(). */
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include <holdfast.h>

enum { LOOK_MS = 50, WITHIN_MS = 1000, KEY_COUNT_MAX = 16 };

struct key {
    const char *name;
    uint64_t revision; /* As it was said last; 0: absent. */
};

static volatile sig_atomic_t stop_wanted;

static void on_signal(int number)
{
    (void)number;
    stop_wanted = 1;
}

static void say(struct key *key, const struct holdfast_result *result)
{
    bool is_there = result->status == HOLDFAST_OK;
    uint64_t revision = is_there ? result->revision : 0;

    if ((!is_there && result->status != HOLDFAST_NOT_FOUND) || revision == key->revision) {
        return;
    }
    key->revision = revision;
    if (is_there) {
        (void)printf("%s=%.*s revision=%" PRIu64 "\n", key->name, (int)result->value_size,
                     (const char *)result->value, revision);
    } else {
        (void)printf("%s is gone\n", key->name);
    }
    (void)fflush(stdout);
}

/* The result of all is what the first failure was: here each is looked at on its own, and a key
 * that is absent is none. */
static void look(struct holdfast *client, struct key *keys, size_t count)
{
    struct holdfast_call *reads[KEY_COUNT_MAX];

    for (size_t i = 0; i < count; i++) {
        reads[i] = holdfast_get(client, keys[i].name, strlen(keys[i].name), holdfast_keep, NULL);
    }
    struct holdfast_call *all = holdfast_all(client, reads, count, WITHIN_MS, holdfast_keep, NULL);
    if (all != NULL && holdfast_call_wait(all, -1)) {
        for (size_t i = 0; i < count; i++) {
            if (reads[i] != NULL && holdfast_call_is_done(reads[i])) {
                say(&keys[i], holdfast_call_result(reads[i]));
            }
        }
    }
    holdfast_call_free(all);
    for (size_t i = 0; i < count; i++) {
        holdfast_call_free(reads[i]);
    }
}

int main(int count, char **arguments)
{
    struct holdfast_options options = {.endpoints = count > 1 ? arguments[1] : ""};
    struct sigaction action = {.sa_handler = on_signal};
    struct key keys[KEY_COUNT_MAX];
    struct holdfast *client;
    size_t key_count = 0;

    if (count < 3 || count > 2 + KEY_COUNT_MAX || holdfast_open(&client, &options) != HOLDFAST_OK) {
        (void)fprintf(stderr, "usage: poller ENDPOINTS KEY ...     up to 16 keys\n");
        return 64;
    }
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    for (int i = 2; i < count; i++) {
        keys[key_count] = (struct key){.name = arguments[i]};
        key_count++;
    }
    while (!stop_wanted) {
        look(client, keys, key_count);
        (void)poll(NULL, 0, LOOK_MS);
    }
    holdfast_close(client, NULL, NULL);
    return 0;
}
