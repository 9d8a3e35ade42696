/* tests/unit/client/watch_test.c: the public side of watches, with a client that has a thread. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "client/holdfast.h"
#include "tests/support/client/fake_server.h"

enum { THREAD_COUNT = 4, WATCH_COUNT = 100 };

struct fixture {
    struct fake_server *server;
    struct holdfast *client;
    atomic_int changed_count;
    atomic_int ended_count;
    atomic_int cancelled_count;
};

static void changed(struct holdfast_watch *watch, const struct holdfast_change *change,
                    void *context)
{
    struct fixture *fixture = context;

    (void)watch;
    (void)change;
    atomic_fetch_add(&fixture->changed_count, 1);
}

static void ended(struct holdfast_watch *watch, enum holdfast_status status,
                  uint64_t oldest_revision, void *context)
{
    struct fixture *fixture = context;

    (void)watch;
    (void)oldest_revision;
    atomic_fetch_add(&fixture->ended_count, 1);
    atomic_fetch_add(&fixture->cancelled_count, status == HOLDFAST_CANCELLED);
}

static void fixture_open(struct fixture *fixture)
{
    memset(fixture, 0, sizeof(*fixture));
    fixture->server = fake_server_open(FAKE_SILENT);
    const struct holdfast_options options = {.endpoints = fake_server_address(fixture->server),
                                             .timeout_ms = 60000};
    assert_int_equal(holdfast_open(&fixture->client, &options), HOLDFAST_OK);
}

static struct holdfast_watch_options options_of(struct fixture *fixture)
{
    return (struct holdfast_watch_options){
        .prefix = "k", .prefix_size = 1, .on_change = changed, .on_end = ended, .context = fixture};
}

static void *watch_and_end(void *context)
{
    struct fixture *fixture = context;
    const struct holdfast_watch_options options = options_of(fixture);

    for (int i = 0; i < WATCH_COUNT; i++) {
        struct holdfast_watch *watch = holdfast_watch(fixture->client, &options);

        if (watch != NULL && i % 2 == 0) {
            holdfast_watch_end(watch);
        }
    }
    return NULL;
}

static void each_watch_ends_once_by_its_owner_or_with_the_client(void **state)
{
    struct fixture fixture;
    pthread_t threads[THREAD_COUNT];

    (void)state;
    fixture_open(&fixture);
    for (int i = 0; i < THREAD_COUNT; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, watch_and_end, &fixture), 0);
    }
    for (int i = 0; i < THREAD_COUNT; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    holdfast_close(fixture.client, NULL, NULL);

    assert_int_equal(atomic_load(&fixture.ended_count), THREAD_COUNT * WATCH_COUNT);
    assert_int_equal(atomic_load(&fixture.cancelled_count), THREAD_COUNT * WATCH_COUNT);
    assert_int_equal(atomic_load(&fixture.changed_count), 0);
    fake_server_close(fixture.server);
}

static void options_that_make_no_sense_or_one_too_many_are_refused(void **state)
{
    struct fixture fixture;
    char prefix[481] = {0};
    int count = 0;

    (void)state;
    fixture_open(&fixture);
    struct holdfast_watch_options options = options_of(&fixture);
    options.prefix = prefix;
    options.prefix_size = sizeof(prefix);
    assert_null(holdfast_watch(fixture.client, &options));
    options.prefix_size = 256;
    options.locks = true;
    assert_null(holdfast_watch(fixture.client, &options));
    options.prefix_size = 1;
    options.on_change = NULL;
    assert_null(holdfast_watch(fixture.client, &options));
    options.on_change = changed;
    while (holdfast_watch(fixture.client, &options) != NULL) {
        count++;
    }

    assert_int_equal(count, 1024);
    holdfast_close(fixture.client, NULL, NULL);
    assert_int_equal(atomic_load(&fixture.ended_count), 1024);
    fake_server_close(fixture.server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_watch_ends_once_by_its_owner_or_with_the_client),
        cmocka_unit_test(options_that_make_no_sense_or_one_too_many_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
