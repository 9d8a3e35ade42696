/* tests/fault/node_test.c: the n-th operation of a node's disk, or the n-th call of its table,
 * fails, for every n: as it is formed, serves and is started again. It ends with a sentence or goes
 * on, and on a healthy disk everything that it acknowledged is there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "tests/support/base/memory_table.h"
#include "tests/support/log/memory_disk.h"
#include "tests/support/node/fake_world.h"

enum {
    PUT_COUNT = 24,
    RUN_MS_MAX = 3000,
    ANSWER_MS_MAX = 400,
    NTH_MAX = 400,
    SIZE_LARGE = 200 << 10, /* A dozen of these make the log roll over. */
};

enum target { FAIL_DISK, FAIL_DISK_ON, FAIL_TABLE, TARGET_COUNT };

static char large[SIZE_LARGE + 1];

/* What clients know. */
struct known {
    bool acknowledged[PUT_COUNT];
    uint64_t session;
    bool holds; /* The lock "L". */
};

static void arm(struct world *world, enum target target, uint64_t nth)
{
    switch (target) {
    case FAIL_DISK:
        memory_disk_fail(world->disk, nth, nth % 2 == 0 ? ERR_IO : ERR_NO_SPACE);
        return;
    case FAIL_DISK_ON:
        memory_disk_fail_from(world->disk, nth, nth % 2 == 0 ? ERR_IO : ERR_NO_SPACE);
        return;
    case FAIL_TABLE:
        memory_table_fail_after(world->table, nth - 1, nth % 2 == 0 ? ERR_CORRUPT : ERR_NO_SPACE);
        return;
    case TARGET_COUNT:
        break;
    }
    fail();
}

static bool has_ended(const struct world *world)
{
    return !world->runs || node_problem(world->node) != NULL;
}

/* A node that cannot go on, or does not start, says what, and what is to be done. */
static void assert_says_why(const char *problem)
{
    assert_non_null(problem);
    assert_true(strlen(problem) > 20);
    assert_true(strstr(problem, "check") != NULL || strstr(problem, "make room") != NULL ||
                strstr(problem, "start") != NULL || strstr(problem, "bring the node back") != NULL);
}

/* Until the answer is there, the node has ended or nothing comes; the outcome. */
static bool is_granted(struct fake_cluster *cluster, uint32_t client, uint64_t id)
{
    for (uint32_t ms = 0; ms < ANSWER_MS_MAX; ms++) {
        if (fake_find_answer(cluster, client, id) != NULL) {
            return fake_outcome(cluster, client, id) == ERR_OK;
        }
        if (has_ended(&cluster->worlds[0])) {
            return false;
        }
        fake_run(cluster, 1);
    }
    return false;
}

static const char *value_of(uint32_t number)
{
    static const char *const small[] = {"a", "b", "c", "d"};

    return number % 2 == 0 ? large : small[number / 2 % 4];
}

static void name_key(char key[16], uint32_t number)
{
    (void)snprintf(key, 16, "k%u", number);
}

/* A session, a lock and puts, as far as the node goes. */
static void serve(struct fake_cluster *cluster, struct known *known)
{
    struct world *world = &cluster->worlds[0];

    fake_run(cluster, 1500); /* It founds its cluster after a second, and elects itself. */
    if (has_ended(world)) {
        return;
    }
    uint32_t client = fake_client_open(cluster, 0);
    uint64_t id = fake_session_open(cluster, client, 60000);
    if (!is_granted(cluster, client, id)) {
        return;
    }
    struct wire_session_open_result opened;
    struct bytes body = fake_find_answer(cluster, client, id)->body;
    assert_int_equal(wire_session_open_result_decode(&body, &opened), ERR_OK);
    known->session = opened.session;
    id = fake_acquire(cluster, client, known->session, 1, "L", false);
    known->holds = is_granted(cluster, client, id);
    for (uint32_t i = 0; i < PUT_COUNT && !has_ended(world); i++) {
        char key[16];

        name_key(key, i);
        id = fake_put(cluster, client, 0, 0, key, value_of(i));
        known->acknowledged[i] = is_granted(cluster, client, id);
    }
}

/* Crashes what still runs, heals disk and table. */
static void end_and_heal(struct fake_cluster *cluster)
{
    struct world *world = &cluster->worlds[0];

    if (world->runs) {
        fake_crash(cluster, 0);
    } else {
        memory_disk_crash(world->disk, NULL, NULL);
        memory_table_close(world->table);
        world->table = memory_table_open();
    }
    memory_disk_fail(world->disk, 0, ERR_OK);
}

static void assert_all_is_there(struct fake_cluster *cluster, const struct known *known)
{
    fake_start(cluster, 0);
    assert_int_equal(fake_leader(cluster), 0);
    uint32_t client = fake_client_open(cluster, 0);

    for (uint32_t i = 0; i < PUT_COUNT; i++) {
        char key[16];

        name_key(key, i);
        if (known->acknowledged[i]) {
            uint64_t id = fake_get(cluster, client, key);
            assert_int_equal(fake_outcome(cluster, client, id), ERR_OK);
        }
    }
    if (known->holds) {
        uint64_t other = fake_open_session(cluster, client, 60000);
        uint64_t id = fake_acquire(cluster, client, other, 1, "L", false);
        assert_int_equal(fake_outcome(cluster, client, id), ERR_HELD);
    }
    fake_client_release(cluster, client);
}

static struct fake_cluster *open_cluster(void)
{
    struct fake_cluster *cluster = fake_cluster_open(1, 11);

    memset(large, 'x', SIZE_LARGE);
    return cluster;
}

/* Starts with the fault armed; false, and the reason was looked at, when it does not start. */
static bool start_armed(struct fake_cluster *cluster, enum target target, uint64_t nth)
{
    const char *problem = NULL;

    arm(&cluster->worlds[0], target, nth);
    if (fake_try_start(cluster, 0, &problem) == ERR_OK) {
        return true;
    }
    assert_says_why(problem);
    return false;
}

/* One life of a new node with its n-th operation failing. True when that was met. */
static bool live_once(enum target target, uint64_t nth)
{
    struct fake_cluster *cluster = open_cluster();
    struct known known = {.session = 0};
    bool was_met = true;

    if (start_armed(cluster, target, nth)) {
        serve(cluster, &known);
        was_met = has_ended(&cluster->worlds[0]);
        if (was_met) {
            assert_says_why(node_problem(cluster->worlds[0].node));
        } else {
            assert_true(known.acknowledged[PUT_COUNT - 1]);
        }
    }
    end_and_heal(cluster);
    assert_all_is_there(cluster, &known);
    fake_cluster_close(cluster);
    return was_met;
}

static void live_with(enum target target, uint32_t least)
{
    uint32_t ended = 0;
    uint32_t unmet = 0;

    /* A failed filling of a segment ahead does not end a node: one life without an end is not yet
     * the last. */
    for (uint64_t nth = 1; nth < NTH_MAX && unmet < 8; nth++) {
        bool was_met = live_once(target, nth);

        ended += was_met ? 1 : 0;
        unmet = was_met ? 0 : unmet + 1;
    }
    assert_int_equal(unmet, 8);
    assert_in_range(ended, least, NTH_MAX - 1);
}

static void any_operation_of_the_disk_may_fail(void **state)
{
    (void)state;
    live_with(FAIL_DISK, 20);
}

static void the_disk_may_fail_for_ever_from_any_operation_on(void **state)
{
    (void)state;
    live_with(FAIL_DISK_ON, 20);
}

static void any_call_of_the_table_may_fail(void **state)
{
    (void)state;
    live_with(FAIL_TABLE, 20);
}

static void put_disk(struct world *world, const struct disk *disk)
{
    memory_disk_close(world->disk);
    world->disk = memory_disk_copy(disk);
}

/* A life, a crash, and starts from what that left, each failing one operation further. */
static void start_again_with(enum target target, uint32_t least)
{
    struct fake_cluster *cluster = open_cluster();
    struct known known = {.session = 0};
    uint32_t ended = 0;
    bool was_met = true;

    fake_start(cluster, 0);
    serve(cluster, &known);
    assert_true(known.acknowledged[PUT_COUNT - 1]);
    fake_crash(cluster, 0);
    struct disk *left = memory_disk_copy(cluster->worlds[0].disk);
    for (uint64_t nth = 1; nth < NTH_MAX && was_met; nth++) {
        put_disk(&cluster->worlds[0], left);
        was_met = true;
        if (start_armed(cluster, target, nth)) {
            fake_run(cluster, 500);
            was_met = has_ended(&cluster->worlds[0]);
            if (was_met) {
                assert_says_why(node_problem(cluster->worlds[0].node));
            }
        }
        ended += was_met ? 1 : 0;
        end_and_heal(cluster);
        assert_all_is_there(cluster, &known);
        fake_crash(cluster, 0);
    }
    memory_disk_close(left);

    assert_false(was_met);
    assert_in_range(ended, least, NTH_MAX - 1);
    fake_cluster_close(cluster);
}

static void any_operation_of_the_disk_may_fail_as_a_crashed_node_starts(void **state)
{
    (void)state;
    start_again_with(FAIL_DISK, 10);
    start_again_with(FAIL_DISK_ON, 10);
}

static void any_call_of_the_table_may_fail_as_a_crashed_node_starts(void **state)
{
    (void)state;
    start_again_with(FAIL_TABLE, 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_operation_of_the_disk_may_fail),
        cmocka_unit_test(the_disk_may_fail_for_ever_from_any_operation_on),
        cmocka_unit_test(any_call_of_the_table_may_fail),
        cmocka_unit_test(any_operation_of_the_disk_may_fail_as_a_crashed_node_starts),
        cmocka_unit_test(any_call_of_the_table_may_fail_as_a_crashed_node_starts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
