/* Tests of node/held.c: nothing is promised before it is durable. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/node/fake_world.h"

/* Both other members have what it takes to vote, but not a disk that answers. */
static void vote_waits_for_the_disk(void **state)
{
    struct fake_cluster *cluster = fake_cluster_open(3, 51);
    fake_start_all(cluster);
    fake_run(cluster, 60);
    cluster->worlds[1].disk_is_stalled = true;
    cluster->worlds[2].disk_is_stalled = true;

    fake_run(cluster, 5000);
    bool led = fake_has_logged(cluster, 0, "role=leader");
    cluster->worlds[1].disk_is_stalled = false;

    assert_false(led);
    fake_leader(cluster);
    fake_cluster_close(cluster);
    (void)state;
}

static void acknowledgement_waits_for_the_disk(void **state)
{
    struct fake_cluster *cluster = fake_cluster_open(3, 52);
    fake_start_all(cluster);
    uint32_t leader = fake_leader(cluster);
    uint32_t client = fake_client_open(cluster, leader);
    fake_answer(cluster, client, 1);
    cluster->worlds[(leader + 1) % 3].disk_is_stalled = true;
    cluster->worlds[(leader + 2) % 3].disk_is_stalled = true;

    uint64_t id = fake_put(cluster, client, 0, 0, "a", "1");
    fake_run(cluster, 300);
    bool answered = fake_find_answer(cluster, client, id) != NULL;
    cluster->worlds[(leader + 1) % 3].disk_is_stalled = false;

    assert_false(answered);
    assert_int_equal(fake_outcome(cluster, client, id), ERR_OK);
    fake_cluster_close(cluster);
    (void)state;
}

/* The leader's own copy is one of three: the others make the majority. */
static void a_leader_commits_before_its_own_disk_answers(void **state)
{
    struct fake_cluster *cluster = fake_cluster_open(3, 53);
    fake_start_all(cluster);
    uint32_t leader = fake_leader(cluster);
    uint32_t client = fake_client_open(cluster, leader);
    fake_answer(cluster, client, 1);
    cluster->worlds[leader].disk_is_stalled = true;

    uint64_t id = fake_put(cluster, client, 0, 0, "a", "1");
    fake_run(cluster, 100);

    assert_non_null(fake_find_answer(cluster, client, id));
    fake_cluster_close(cluster);
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vote_waits_for_the_disk),
        cmocka_unit_test(acknowledgement_waits_for_the_disk),
        cmocka_unit_test(a_leader_commits_before_its_own_disk_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
