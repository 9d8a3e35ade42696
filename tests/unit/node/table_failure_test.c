/* Tests of when a node commits its table, and of what a failing table lets out of it: nothing. A
 * failed read looks like an absent key, so an answer made from it would say that a held lock is
 * free. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "tests/support/base/memory_table.h"
#include "tests/support/node/fake_world.h"

enum {
    CALLS_MAX = 400,
    SETTLE_MS = 300,
    RUN_MS = 200,
    COMMIT_INTERVAL_MS = 1000,
    LARGE_PUT_COUNT = 32
};

struct run {
    struct fake_cluster *cluster;
    uint32_t holder; /* Holds the lock "L"; its session has put "k" with sequence 2. */
    uint32_t other;  /* Waits for "M", which the holder has too. */
    uint64_t holder_session;
    uint64_t other_session;
};

static void prepare(struct run *run)
{
    struct fake_cluster *cluster = fake_cluster_open(1, 7);

    fake_start(cluster, 0);
    fake_leader(cluster);
    run->cluster = cluster;
    run->holder = fake_client_open(cluster, 0);
    run->other = fake_client_open(cluster, 0);
    run->holder_session = fake_open_session(cluster, run->holder, 5000);
    run->other_session = fake_open_session(cluster, run->other, 5000);
    uint64_t id = fake_acquire(cluster, run->holder, run->holder_session, 1, "L", false);

    assert_int_equal(fake_outcome(cluster, run->holder, id), ERR_OK);
    id = fake_put(cluster, run->holder, run->holder_session, 2, "k", "v");
    assert_int_equal(fake_outcome(cluster, run->holder, id), ERR_OK);
    id = fake_acquire(cluster, run->holder, run->holder_session, 3, "M", false);
    assert_int_equal(fake_outcome(cluster, run->holder, id), ERR_OK);
    id = fake_acquire(cluster, run->other, run->other_session, 1, "M", true);
    assert_int_equal(fake_outcome(cluster, run->other, id), ERR_OK);
    fake_run(cluster, SETTLE_MS);
}

static void ask_for_lists(struct run *run)
{
    const struct wire_lock_show show = {.name = bytes_of_text("L")};
    const struct wire_session_list sessions = {0};
    const struct wire_status status = {0};
    uint8_t memory[128];
    struct buffer params = buffer_of(memory, sizeof(memory));

    assert_true(wire_lock_show_encode(&show, &params));
    fake_request(run->cluster, run->other, WIRE_METHOD_lock_show, &params);
    params.size = 0;
    assert_true(wire_session_list_encode(&sessions, &params));
    fake_request(run->cluster, run->other, WIRE_METHOD_session_list, &params);
    params.size = 0;
    assert_true(wire_status_encode(&status, &params));
    fake_request(run->cluster, run->other, WIRE_METHOD_status, &params);
}

/* Every way from the table to a client. */
static void ask(struct run *run)
{
    fake_acquire(run->cluster, run->other, run->other_session, 2, "L", false);
    fake_get(run->cluster, run->other, "k");
    fake_session_renew(run->cluster, run->other, run->other_session, 9);
    ask_for_lists(run);
    fake_session_open(run->cluster, run->other, 5000);
    fake_put(run->cluster, run->holder, run->holder_session, 2, "k", "v"); /* Repeated. */
    fake_session_renew(run->cluster, run->holder, run->holder_session, 9);
    fake_release(run->cluster, run->holder, run->holder_session, 4, "M"); /* Grants it. */
    fake_run(run->cluster, RUN_MS);
    (void)fake_find_answer(run->cluster, run->holder, 0);
    (void)fake_find_answer(run->cluster, run->other, 0);
}

/* What the client heard is what it heard without a failure, or the beginning of that. */
static void assert_is_beginning(const struct run *run, const struct run *whole, uint32_t number)
{
    const struct fake_client *client = &run->cluster->clients[number];
    const struct fake_client *full = &whole->cluster->clients[number];

    assert_true(client->message_count <= full->message_count);
    for (uint32_t i = 0; i < client->message_count; i++) {
        assert_int_equal(client->messages[i].id, full->messages[i].id);
        assert_int_equal(client->messages[i].failed, full->messages[i].failed);
        assert_true(bytes_equal(client->messages[i].body, full->messages[i].body));
    }
}

static void a_table_that_fails_at_any_call_lets_no_wrong_answer_out(void **state)
{
    struct run whole;
    uint32_t failed = 0;
    bool has_failed = true;
    (void)state;
    prepare(&whole);
    ask(&whole);

    for (uint64_t calls = 0; calls < CALLS_MAX && has_failed; calls++) {
        struct run run;
        prepare(&run);
        memory_table_fail_after(run.cluster->worlds[0].table, calls, ERR_CORRUPT);
        ask(&run);
        has_failed = node_problem(run.cluster->worlds[0].node) != NULL;
        failed += has_failed ? 1 : 0;
        assert_is_beginning(&run, &whole, run.holder);
        assert_is_beginning(&run, &whole, run.other);
        fake_cluster_close(run.cluster);
    }

    /* The last run was one in which nothing failed any more. */
    assert_false(has_failed);
    assert_in_range(failed, 20, CALLS_MAX - 1);
    fake_cluster_close(whole.cluster);
}

/* At a stop the table is committed, or the node says that it is not to be kept. */
static void a_table_that_cannot_be_committed_is_no_clean_stop(void **state)
{
    struct run run;
    (void)state;
    prepare(&run);
    struct world *world = &run.cluster->worlds[0];
    uint64_t commits = memory_table_commit_count(world->table);
    struct node_event stop = {.kind = NODE_STOP};
    uint64_t id = fake_put(run.cluster, run.holder, 0, 0, "k", "w");
    while (fake_find_answer(run.cluster, run.holder, id) == NULL) {
        fake_run(run.cluster, 1);
    }
    assert_int_equal(memory_table_commit_count(world->table), commits);

    memory_table_fail_after(world->table, 0, ERR_CORRUPT);
    node_turn(world->node, &stop, 1, run.cluster->now_ms);
    fake_run(run.cluster, 2000);

    assert_non_null(node_problem(world->node));
    assert_false(node_is_stopped(world->node));
    fake_cluster_close(run.cluster);
}

/* The loop waits for no disk: a commit that would wait is put off, and made up for by itself. */
static void a_commit_that_would_wait_is_put_off(void **state)
{
    struct run run;
    (void)state;
    prepare(&run);
    struct world *world = &run.cluster->worlds[0];
    fake_run(run.cluster, 2 * COMMIT_INTERVAL_MS);
    uint64_t commits = memory_table_commit_count(world->table);

    memory_table_set_slow(world->table, true);
    fake_put(run.cluster, run.holder, 0, 0, "k", "w");
    fake_run(run.cluster, 3 * COMMIT_INTERVAL_MS);
    assert_int_equal(memory_table_commit_count(world->table), commits);
    memory_table_set_slow(world->table, false);
    fake_run(run.cluster, RUN_MS);

    assert_int_equal(memory_table_commit_count(world->table), commits + 1);
    fake_cluster_close(run.cluster);
}

/* Many changes are committed before their time, so that they do not pile up in memory. */
static void many_changes_begin_a_commit_early(void **state)
{
    static char value[256 << 10];
    struct run run;
    (void)state;
    prepare(&run);
    struct world *world = &run.cluster->worlds[0];
    fake_run(run.cluster, 2 * COMMIT_INTERVAL_MS);
    uint64_t commits = memory_table_commit_count(world->table);
    uint64_t begin_ms = run.cluster->now_ms;
    memset(value, 'v', sizeof(value) - 1);

    for (uint32_t i = 0; i < LARGE_PUT_COUNT; i++) {
        uint64_t id = fake_put(run.cluster, run.holder, 0, 0, "k", value);
        assert_int_equal(fake_outcome(run.cluster, run.holder, id), ERR_OK);
    }

    assert_in_range(run.cluster->now_ms - begin_ms, 0, COMMIT_INTERVAL_MS - 1);
    assert_true(memory_table_commit_count(world->table) > commits);
    fake_cluster_close(run.cluster);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_table_that_fails_at_any_call_lets_no_wrong_answer_out),
        cmocka_unit_test(a_table_that_cannot_be_committed_is_no_clean_stop),
        cmocka_unit_test(a_commit_that_would_wait_is_put_off),
        cmocka_unit_test(many_changes_begin_a_commit_early),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
