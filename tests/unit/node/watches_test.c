/* Tests of node/watches.c, node/watch_index.c and node/watch_send.c: who is told of which change.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/internal.h"
#include "tests/support/node/fake_world.h"

enum { CREDIT = 1 << 20, TEXT_SIZE = 512 };

static struct fake_cluster *open_cluster(uint32_t node_count, uint32_t *leader)
{
    struct fake_cluster *cluster = fake_cluster_open(node_count, 91);

    fake_start_all(cluster);
    *leader = fake_leader(cluster);
    return cluster;
}

static uint64_t ask(struct fake_cluster *cluster, uint32_t client, const struct wire_watch *watch)
{
    uint8_t memory[1024];
    struct buffer params = buffer_of(memory, sizeof(memory));

    assert_true(wire_watch_encode(watch, &params));
    return fake_request(cluster, client, WIRE_METHOD_watch, &params);
}

/* Watches keys from now on; the revision that it begins behind. */
static uint64_t watch_keys(struct fake_cluster *cluster, uint32_t client, const char *prefix,
                           uint32_t credit)
{
    const struct wire_watch request = {
        .watch = 1, .prefix = bytes_of_text(prefix), .credit = credit};
    uint64_t id = ask(cluster, client, &request);
    struct wire_watch_result result;

    assert_int_equal(fake_outcome(cluster, client, id), ERR_OK);
    struct bytes body = fake_answer(cluster, client, id)->body;
    assert_int_equal(wire_watch_result_decode(&body, &result), ERR_OK);
    return result.revision;
}

static uint64_t put(struct fake_cluster *cluster, uint32_t client, const char *key,
                    const char *value)
{
    uint64_t id = fake_put(cluster, client, 0, 0, key, value);
    struct wire_put_result result;

    assert_int_equal(fake_outcome(cluster, client, id), ERR_OK);
    struct bytes body = fake_answer(cluster, client, id)->body;
    assert_int_equal(wire_put_result_decode(&body, &result), ERR_OK);
    return result.revision;
}

static void give_credit(struct fake_cluster *cluster, uint32_t client, uint64_t watch,
                        uint32_t credit)
{
    const struct wire_watch_credit request = {.watch = watch, .credit = credit};
    uint8_t memory[64];
    struct buffer params = buffer_of(memory, sizeof(memory));

    assert_true(wire_watch_credit_encode(&request, &params));
    uint64_t id = fake_request(cluster, client, WIRE_METHOD_watch_credit, &params);
    assert_int_equal(fake_outcome(cluster, client, id), ERR_OK);
}

/* The `nth` change that the client was told, progress left out. */
static bool has_change(struct fake_cluster *cluster, uint32_t client, uint32_t nth,
                       struct wire_changed *changed)
{
    const struct fake_message *notice;

    for (uint32_t i = 0;
         (notice = fake_find_notice(cluster, client, WIRE_NOTICE_changed, i)) != NULL; i++) {
        struct bytes body = notice->body;

        assert_int_equal(wire_changed_decode(&body, changed), ERR_OK);
        if (changed->number != 0 && nth-- == 0) {
            return true;
        }
    }
    return false;
}

static struct wire_changed change_at(struct fake_cluster *cluster, uint32_t client, uint32_t nth)
{
    struct wire_changed changed;

    assert_true(has_change(cluster, client, nth, &changed));
    return changed;
}

/* "put a1 x;delete a1;": all that the client was told, in order. */
static const char *told(struct fake_cluster *cluster, uint32_t client)
{
    static char text[TEXT_SIZE];
    struct wire_changed change;
    size_t size = 0;

    text[0] = '\0';
    for (uint32_t i = 0; has_change(cluster, client, i, &change); i++) {
        size += (size_t)snprintf(text + size, TEXT_SIZE - size, "%.*s %.*s%s%.*s;",
                                 (int)change.kind.size, (const char *)change.kind.data,
                                 (int)change.name.size, (const char *)change.name.data,
                                 change.value.size == 0 ? "" : " ", (int)change.value.size,
                                 (const char *)change.value.data);
        assert_true(size < TEXT_SIZE);
    }
    return text;
}

static uint64_t delete (struct fake_cluster *cluster, uint32_t client, const char *key)
{
    const struct wire_delete request = {.key = bytes_of_text(key)};
    uint8_t memory[64];
    struct buffer params = buffer_of(memory, sizeof(memory));

    assert_true(wire_delete_encode(&request, &params));
    return fake_request(cluster, client, WIRE_METHOD_delete, &params);
}

static void a_watch_tells_its_prefix_once_and_in_order(void **state)
{
    uint32_t leader;
    struct fake_cluster *cluster = open_cluster(3, &leader);
    uint32_t client = fake_client_open(cluster, leader);
    uint32_t watcher = fake_client_open(cluster, leader);
    uint64_t from = watch_keys(cluster, watcher, "a", CREDIT);

    assert_true(put(cluster, client, "a1", "x") > from);
    put(cluster, client, "b", "y");
    put(cluster, client, "a1", "z");
    assert_int_equal(fake_outcome(cluster, client, delete (cluster, client, "a1")), ERR_OK);
    assert_int_equal(fake_outcome(cluster, client, delete (cluster, client, "a1")), ERR_NOT_FOUND);
    put(cluster, client, "a", "last");
    fake_run(cluster, 20);

    assert_string_equal(told(cluster, watcher), "put a1 x;put a1 z;delete a1;put a last;");
    fake_cluster_close(cluster);
    (void)state;
}

static void an_exact_watch_tells_one_name_alone(void **state)
{
    uint32_t leader;
    struct fake_cluster *cluster = open_cluster(1, &leader);
    uint32_t client = fake_client_open(cluster, leader);
    const struct wire_watch request = {
        .watch = 7, .prefix = bytes_of_text("a"), .exact = true, .credit = CREDIT};

    assert_int_equal(fake_outcome(cluster, client, ask(cluster, client, &request)), ERR_OK);
    put(cluster, client, "ab", "no");
    put(cluster, client, "a", "yes");
    fake_run(cluster, 20);

    assert_string_equal(told(cluster, client), "put a yes;");
    assert_int_equal(change_at(cluster, client, 0).watch, 7);
    fake_cluster_close(cluster);
    (void)state;
}

static void every_node_tells_the_same_from_a_revision(void **state)
{
    uint32_t leader;
    struct fake_cluster *cluster = open_cluster(3, &leader);
    uint32_t client = fake_client_open(cluster, leader);
    uint64_t first = put(cluster, client, "a", "1");
    put(cluster, client, "a", "2");
    put(cluster, client, "a", "3");
    fake_run(cluster, 200);

    for (uint32_t i = 0; i < 3; i++) {
        uint32_t watcher = fake_client_open(cluster, i);
        const struct wire_watch request = {.watch = 1, .revision = first, .credit = CREDIT};

        assert_int_equal(fake_outcome(cluster, watcher, ask(cluster, watcher, &request)), ERR_OK);
        fake_run(cluster, 50);
        assert_string_equal(told(cluster, watcher), "put a 2;put a 3;");
    }
    fake_cluster_close(cluster);
    (void)state;
}

static void a_follower_tells_on_when_the_leader_dies(void **state)
{
    uint32_t leader;
    struct fake_cluster *cluster = open_cluster(3, &leader);
    uint32_t watcher = fake_client_open(cluster, (leader + 1) % 3);
    uint32_t client = fake_client_open(cluster, leader);
    watch_keys(cluster, watcher, "a", CREDIT);
    put(cluster, client, "a1", "x");

    fake_crash(cluster, leader);
    client = fake_client_open(cluster, fake_leader(cluster));
    put(cluster, client, "a2", "y");
    fake_run(cluster, 200);

    assert_string_equal(told(cluster, watcher), "put a1 x;put a2 y;");
    fake_cluster_close(cluster);
    (void)state;
}

static void what_one_entry_does_to_several_locks_is_numbered(void **state)
{
    uint32_t leader;
    struct fake_cluster *cluster = open_cluster(3, &leader);
    uint32_t client = fake_client_open(cluster, leader);
    uint32_t watcher = fake_client_open(cluster, leader);
    uint64_t session = fake_open_session(cluster, client, 1500);
    const struct wire_watch request = {.watch = 1, .locks = true, .credit = CREDIT};
    struct wire_watch again = {.watch = 2, .locks = true, .credit = CREDIT};

    assert_int_equal(fake_outcome(cluster, watcher, ask(cluster, watcher, &request)), ERR_OK);
    fake_answer(cluster, client, fake_acquire(cluster, client, session, 1, "l1", true));
    fake_answer(cluster, client, fake_acquire(cluster, client, session, 2, "l2", true));
    fake_run(cluster, 2500);

    assert_string_equal(told(cluster, watcher), "granted l1;granted l2;lost l1;lost l2;");
    const struct wire_changed first = change_at(cluster, watcher, 2);
    const struct wire_changed second = change_at(cluster, watcher, 3);
    assert_int_equal(first.revision, second.revision);
    assert_int_equal(first.number + 1, second.number);
    assert_int_equal(first.session, session);

    /* A watch goes on in the middle of that entry, too. */
    uint32_t other = fake_client_open(cluster, (leader + 1) % 3);
    again.revision = first.revision;
    again.number = first.number;
    assert_int_equal(fake_outcome(cluster, other, ask(cluster, other, &again)), ERR_OK);
    fake_run(cluster, 20);
    assert_string_equal(told(cluster, other), "lost l2;");
    fake_cluster_close(cluster);
    (void)state;
}

static void what_is_older_than_the_feed_is_compacted(void **state)
{
    uint32_t leader;
    struct fake_cluster *cluster = open_cluster(1, &leader);
    uint32_t client = fake_client_open(cluster, leader);
    uint64_t first = put(cluster, client, "a", "1");
    struct wire_watch request = {.watch = 1, .revision = first, .credit = CREDIT};

    for (uint32_t i = 0; i < FEED_COUNT_MIN + 1; i++) {
        put(cluster, client, "a", "2");
    }
    struct wire_failure failure = fake_failure(cluster, client, ask(cluster, client, &request));

    assert_int_equal(failure.code, ERR_COMPACTED);
    assert_true(failure.oldest_revision > first);
    request.revision = failure.oldest_revision;
    assert_int_equal(fake_outcome(cluster, client, ask(cluster, client, &request)), ERR_OK);
    fake_run(cluster, 50);
    (void)change_at(cluster, client, FEED_COUNT_MIN - 2);
    fake_cluster_close(cluster);
    (void)state;
}

/* List, then watch from the revision of the list: nothing is missing in between. */
static void a_list_says_where_to_watch_from(void **state)
{
    uint32_t leader;
    struct fake_cluster *cluster = open_cluster(1, &leader);
    uint32_t client = fake_client_open(cluster, leader);
    const struct wire_list list = {0};
    struct wire_list_result result;
    uint8_t memory[64];
    struct buffer params = buffer_of(memory, sizeof(memory));
    put(cluster, client, "a", "1");
    assert_true(wire_list_encode(&list, &params));

    uint64_t id = fake_request(cluster, client, WIRE_METHOD_list, &params);
    struct bytes body = fake_answer(cluster, client, id)->body;
    assert_int_equal(wire_list_result_decode(&body, &result), ERR_OK);
    put(cluster, client, "a", "2");
    const struct wire_watch request = {
        .watch = 1, .prefix = bytes_of_text("a"), .revision = result.revision, .credit = CREDIT};
    assert_int_equal(fake_outcome(cluster, client, ask(cluster, client, &request)), ERR_OK);
    fake_run(cluster, 20);

    assert_string_equal(told(cluster, client), "put a 2;");
    fake_cluster_close(cluster);
    (void)state;
}

static void no_more_is_sent_than_there_is_credit(void **state)
{
    uint32_t leader;
    struct fake_cluster *cluster = open_cluster(1, &leader);
    uint32_t client = fake_client_open(cluster, leader);
    uint32_t watcher = fake_client_open(cluster, leader);
    watch_keys(cluster, watcher, "a", 1);

    put(cluster, client, "a1", "x");
    put(cluster, client, "a2", "x");
    put(cluster, client, "a3", "x");
    fake_run(cluster, 50);
    assert_string_equal(told(cluster, watcher), "put a1 x;"); /* It may use more than is left. */

    give_credit(cluster, watcher, 1, 2 * (WATCH_CHANGE_COST + 3));
    fake_run(cluster, 50);
    assert_string_equal(told(cluster, watcher), "put a1 x;put a2 x;put a3 x;");
    put(cluster, client, "a4", "x");
    fake_run(cluster, 50);
    assert_string_equal(told(cluster, watcher), "put a1 x;put a2 x;put a3 x;");
    give_credit(cluster, watcher, 1, WATCH_CHANGE_COST + 3);
    fake_run(cluster, 50);
    assert_string_equal(told(cluster, watcher), "put a1 x;put a2 x;put a3 x;put a4 x;");
    fake_cluster_close(cluster);
    (void)state;
}

static void a_watch_that_falls_off_the_feed_ends_compacted(void **state)
{
    uint32_t leader;
    struct fake_cluster *cluster = open_cluster(1, &leader);
    uint32_t client = fake_client_open(cluster, leader);
    uint32_t slow = fake_client_open(cluster, leader);
    uint32_t polite = fake_client_open(cluster, leader);
    struct wire_watch_ended ended;
    watch_keys(cluster, slow, "a", 0);
    watch_keys(cluster, polite, "a", CREDIT);

    for (uint32_t i = 0; i < FEED_COUNT_MIN + 2; i++) {
        put(cluster, client, "a", "x");
    }
    fake_run(cluster, 2 * WATCH_SWEEP_MS);

    const struct fake_message *notice = fake_find_notice(cluster, slow, WIRE_NOTICE_watch_ended, 0);
    assert_non_null(notice);
    struct bytes body = notice->body;
    assert_int_equal(wire_watch_ended_decode(&body, &ended), ERR_OK);
    assert_int_equal(ended.code, ERR_COMPACTED);
    assert_true(ended.oldest_revision > 0);
    assert_string_equal(told(cluster, slow), "");
    (void)change_at(cluster, polite, FEED_COUNT_MIN + 1);
    fake_cluster_close(cluster);
    (void)state;
}

/* A client takes what has arrived when it is asked for something. */
static void read_all(struct fake_cluster *cluster, uint32_t client)
{
    for (uint32_t i = 0; i < 10; i++) {
        (void)fake_find_notice(cluster, client, WIRE_NOTICE_watch_ended, 0);
        fake_run(cluster, 2 * WATCH_RETRY_MS);
    }
}

/* Watches leave room for answers: who reads no notices for a while keeps its connection. */
static void one_that_does_not_read_keeps_its_connection_and_delays_nobody(void **state)
{
    uint32_t leader;
    struct fake_cluster *cluster = open_cluster(1, &leader);
    uint32_t client = fake_client_open(cluster, leader);
    uint32_t deaf = fake_client_open(cluster, leader);
    uint32_t polite = fake_client_open(cluster, leader);
    char *value = calloc(1, 200001);
    memset(value, 'v', 200000);
    cluster->output_size_max = 2 << 20;
    watch_keys(cluster, deaf, "", UINT32_MAX);
    watch_keys(cluster, polite, "", UINT32_MAX);
    cluster->clients[deaf].reads = false;

    for (uint32_t i = 0; i < 8; i++) {
        put(cluster, client, "a", value);
        read_all(cluster, polite);
    }
    uint64_t id = fake_get(cluster, deaf, "a");
    fake_run(cluster, 100);
    assert_true(cluster->clients[deaf].is_open);
    (void)change_at(cluster, polite, 7);

    cluster->clients[deaf].reads = true;
    read_all(cluster, deaf);
    assert_int_equal(fake_outcome(cluster, deaf, id), ERR_OK);
    (void)change_at(cluster, deaf, 7); /* It has missed nothing. */
    free(value);
    fake_cluster_close(cluster);
    (void)state;
}

/* So that it can go on from there, whatever happened meanwhile. */
static void a_watch_of_what_does_not_change_is_told_how_far_it_is(void **state)
{
    uint32_t leader;
    struct fake_cluster *cluster = open_cluster(1, &leader);
    uint32_t client = fake_client_open(cluster, leader);
    uint32_t watcher = fake_client_open(cluster, leader);
    struct wire_changed changed;
    watch_keys(cluster, watcher, "quiet", CREDIT);

    uint64_t revision = put(cluster, client, "a", "x");
    fake_run(cluster, WATCH_PROGRESS_MS + 2 * WATCH_SWEEP_MS);

    const struct fake_message *notice = fake_find_notice(cluster, watcher, WIRE_NOTICE_changed, 0);
    assert_non_null(notice);
    struct bytes body = notice->body;
    assert_int_equal(wire_changed_decode(&body, &changed), ERR_OK);
    assert_int_equal(changed.number, 0);
    assert_int_equal(changed.kind.size, 0);
    assert_int_equal(changed.revision, revision);
    /* And only when there is news. */
    fake_run(cluster, 3 * WATCH_PROGRESS_MS);
    assert_null(fake_find_notice(cluster, watcher, WIRE_NOTICE_changed, 1));
    fake_cluster_close(cluster);
    (void)state;
}

static void a_node_without_the_majority_ends_its_watches(void **state)
{
    uint32_t leader;
    struct fake_cluster *cluster = open_cluster(3, &leader);
    uint32_t place = (leader + 1) % 3;
    uint32_t watcher = fake_client_open(cluster, place);
    struct wire_watch_ended ended;
    const struct wire_watch request = {.watch = 2, .credit = CREDIT};
    watch_keys(cluster, watcher, "", CREDIT);

    fake_isolate(cluster, place, true);
    fake_run(cluster, 8000);

    const struct fake_message *notice =
        fake_find_notice(cluster, watcher, WIRE_NOTICE_watch_ended, 0);
    assert_non_null(notice);
    struct bytes body = notice->body;
    assert_int_equal(wire_watch_ended_decode(&body, &ended), ERR_OK);
    assert_int_equal(ended.code, ERR_NO_QUORUM);
    assert_int_equal(fake_failure(cluster, watcher, ask(cluster, watcher, &request)).code,
                     ERR_NOT_LEADER);
    fake_isolate(cluster, place, false);
    fake_run(cluster, 3000);
    assert_int_equal(fake_outcome(cluster, watcher, ask(cluster, watcher, &request)), ERR_OK);
    fake_cluster_close(cluster);
    (void)state;
}

static void a_number_that_is_in_use_or_one_too_many_is_refused(void **state)
{
    uint32_t leader;
    struct fake_cluster *cluster = open_cluster(1, &leader);
    uint32_t client = fake_client_open(cluster, leader);
    uint32_t other = fake_client_open(cluster, leader);
    struct wire_watch request = {.watch = 1, .credit = CREDIT};
    const struct wire_watch_cancel cancel = {.watch = 1};
    uint8_t memory[64];
    struct buffer params = buffer_of(memory, sizeof(memory));
    assert_true(wire_watch_cancel_encode(&cancel, &params));
    watch_keys(cluster, client, "", CREDIT);

    assert_int_equal(fake_outcome(cluster, client, ask(cluster, client, &request)), ERR_MALFORMED);
    for (uint32_t i = 1; i < cluster->worlds[0].options.watch_count_max; i++) {
        request.watch = i + 1;
        assert_int_equal(fake_outcome(cluster, client, ask(cluster, client, &request)), ERR_OK);
    }
    struct wire_failure failure = fake_failure(cluster, other, ask(cluster, other, &request));
    assert_int_equal(failure.code, ERR_OVERLOADED);
    assert_int_not_equal(failure.retry_after_ms, 0);
    /* One that is cancelled makes room, and is told nothing more. */
    uint64_t id = fake_request(cluster, client, WIRE_METHOD_watch_cancel, &params);
    assert_int_equal(fake_outcome(cluster, client, id), ERR_OK);
    id = fake_request(cluster, client, WIRE_METHOD_watch_cancel, &params);
    assert_int_equal(fake_outcome(cluster, client, id), ERR_NOT_FOUND);
    assert_int_equal(fake_outcome(cluster, other, ask(cluster, other, &request)), ERR_OK);
    /* So does a connection that ends. */
    fake_client_close(cluster, client);
    fake_run(cluster, 20);
    assert_int_equal(cluster->worlds[0].node->watches.count, 1);
    fake_cluster_close(cluster);
    (void)state;
}

static bool was_replaced(struct fake_cluster *cluster, void *context)
{
    const struct node *node = cluster->worlds[*(const uint32_t *)context].node;

    return feed_epoch(node->feed) > 1 && !node_state_is_away(node);
}

/* A snapshot tells nothing of the way to it. The place may be good at another node, so the watch is
 * sent there. */
static void a_snapshot_in_the_place_of_the_state_ends_watches(void **state)
{
    struct fake_cluster *cluster = fake_cluster_open(3, 92);
    char *value = calloc(1, 100001);
    struct wire_watch_ended ended;
    memset(value, 'v', 100000);
    for (uint32_t i = 0; i < 3; i++) {
        cluster->worlds[i].options.commit_interval_ms = 50;
        cluster->worlds[i].options.snapshot_log_size = 1 << 20;
    }
    fake_start_all(cluster);
    uint32_t leader = fake_leader(cluster);
    uint32_t place = (leader + 1) % 3;
    uint32_t client = fake_client_open(cluster, leader);
    uint32_t watcher = fake_client_open(cluster, place);
    struct wire_watch request = {.watch = 1, .credit = CREDIT};
    request.revision = watch_keys(cluster, watcher, "quiet", CREDIT);

    fake_isolate(cluster, place, true);
    for (uint32_t i = 0; i < 150; i++) {
        put(cluster, client, "a", value);
    }
    fake_isolate(cluster, place, false);
    assert_true(fake_run_until(cluster, was_replaced, &place, 20000));
    fake_run(cluster, 500);

    const struct fake_message *notice =
        fake_find_notice(cluster, watcher, WIRE_NOTICE_watch_ended, 0);
    assert_non_null(notice);
    struct bytes body = notice->body;
    assert_int_equal(wire_watch_ended_decode(&body, &ended), ERR_OK);
    assert_int_equal(ended.code, ERR_NO_QUORUM);
    assert_int_equal(fake_failure(cluster, watcher, ask(cluster, watcher, &request)).code,
                     ERR_COMPACTED);
    free(value);
    fake_cluster_close(cluster);
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_watch_tells_its_prefix_once_and_in_order),
        cmocka_unit_test(an_exact_watch_tells_one_name_alone),
        cmocka_unit_test(every_node_tells_the_same_from_a_revision),
        cmocka_unit_test(a_follower_tells_on_when_the_leader_dies),
        cmocka_unit_test(what_one_entry_does_to_several_locks_is_numbered),
        cmocka_unit_test(what_is_older_than_the_feed_is_compacted),
        cmocka_unit_test(a_list_says_where_to_watch_from),
        cmocka_unit_test(no_more_is_sent_than_there_is_credit),
        cmocka_unit_test(a_watch_that_falls_off_the_feed_ends_compacted),
        cmocka_unit_test(one_that_does_not_read_keeps_its_connection_and_delays_nobody),
        cmocka_unit_test(a_watch_of_what_does_not_change_is_told_how_far_it_is),
        cmocka_unit_test(a_node_without_the_majority_ends_its_watches),
        cmocka_unit_test(a_number_that_is_in_use_or_one_too_many_is_refused),
        cmocka_unit_test(a_snapshot_in_the_place_of_the_state_ends_watches),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
