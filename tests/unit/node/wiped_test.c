/* Tests of node/members.c, node/places.c and node/senders.c: disks that are gone, and come back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "tests/support/log/memory_disk.h"
#include "tests/support/node/fake_members.h"
#include "tests/support/node/fake_world.h"

/* --- Disks that are gone ---------------------------------------------------------------------- */

static void a_wiped_disk_is_replaced_by_itself(void **state)
{
    struct fake_cluster *cluster = fake_formed(3, 3, 9);
    uint32_t victim = (fake_leader(cluster) + 1) % 3;
    uint64_t before = fake_identity(cluster, victim).incarnation;
    fake_crash(cluster, victim);
    fake_wipe(cluster, victim);

    fake_start(cluster, victim);

    assert_true(fake_becomes_voter(cluster, victim, 10000));
    assert_int_not_equal(fake_identity(cluster, victim).incarnation, before);
    assert_int_equal(fake_members_of(cluster, fake_leader(cluster)).count, 3);
    assert_int_equal(fake_put_now(cluster, "after", "1"), ERR_OK);
    fake_crash(cluster, (victim + 1) % 3);
    assert_true(fake_has_key(cluster, "before"));
    fake_cluster_close(cluster);
    (void)state;
}

static void a_disk_that_is_wiped_again_while_it_joins_is_replaced_too(void **state)
{
    struct fake_cluster *cluster = fake_formed(3, 3, 10);
    uint32_t victim = (fake_leader(cluster) + 1) % 3;

    for (uint32_t i = 0; i < 6; i++) {
        fake_crash(cluster, victim);
        fake_wipe(cluster, victim);
        fake_start(cluster, victim);
        fake_run(cluster, 900 + 150 * (uint64_t)i);
    }

    assert_true(fake_becomes_voter(cluster, victim, 20000));
    assert_int_equal(fake_members_of(cluster, fake_leader(cluster)).count, 3);
    fake_cluster_close(cluster);
    (void)state;
}

static void two_wiped_disks_of_three_replace_nothing(void **state)
{
    struct fake_cluster *cluster = fake_formed(3, 3, 11);
    uint32_t leader = fake_leader(cluster);
    uint32_t others[] = {(leader + 1) % 3, (leader + 2) % 3};

    for (uint32_t i = 0; i < 2; i++) {
        fake_crash(cluster, others[i]);
        fake_wipe(cluster, others[i]);
        fake_start(cluster, others[i]);
    }
    fake_run(cluster, 15000);

    for (uint32_t i = 0; i < 2; i++) {
        assert_false(fake_identity(cluster, others[i]).formed);
        assert_true(fake_has_logged(cluster, others[i], "waiting_to_join"));
    }
    assert_int_equal(fake_part_count(cluster, leader, "voter"), 3);
    fake_cluster_close(cluster);
    (void)state;
}

static void two_wiped_disks_of_five_are_replaced_one_after_the_other(void **state)
{
    struct fake_cluster *cluster = fake_formed(5, 5, 12);
    uint32_t leader = fake_leader(cluster);
    uint32_t others[] = {(leader + 1) % 5, (leader + 3) % 5};

    for (uint32_t i = 0; i < 2; i++) {
        fake_crash(cluster, others[i]);
        fake_wipe(cluster, others[i]);
        fake_start(cluster, others[i]);
    }

    assert_true(fake_becomes_voter(cluster, others[0], 20000));
    assert_true(fake_becomes_voter(cluster, others[1], 20000));
    assert_int_equal(fake_members_of(cluster, fake_leader(cluster)).count, 5);
    fake_cluster_close(cluster);
    (void)state;
}

static void the_old_disk_is_turned_away_after_the_replacement(void **state)
{
    struct fake_cluster *cluster = fake_formed(3, 3, 13);
    uint32_t victim = (fake_leader(cluster) + 1) % 3;
    struct world *world = &cluster->worlds[victim];
    fake_crash(cluster, victim);
    struct disk *old = world->disk;
    world->disk = memory_disk_open();
    fake_start(cluster, victim);
    assert_true(fake_becomes_voter(cluster, victim, 10000));
    fake_crash(cluster, victim);
    memory_disk_close(world->disk);
    world->disk = old;
    fake_run(cluster, 20000); /* Nobody waits any more to tell it. */

    fake_start(cluster, victim);

    fake_expect_removed(cluster, victim);
    assert_true(fake_has_logged(cluster, victim, "reason=REMOVED"));
    assert_int_equal(fake_put_now(cluster, "after", "1"), ERR_OK);
    fake_cluster_close(cluster);
    (void)state;
}

static void a_live_member_is_not_replaced_by_one_with_its_name(void **state)
{
    struct fake_cluster *cluster = fake_formed(4, 3, 14);
    uint32_t leader = fake_leader(cluster);
    uint32_t other = (leader + 1) % 3;
    struct world *impostor = &cluster->worlds[3];
    uint64_t id = fake_voter_id(cluster, leader, fake_names[other]);
    impostor->options.name = fake_names[other];
    impostor->options.member_count = 3;
    impostor->options.self = other;

    fake_start(cluster, 3);
    fake_run(cluster, 8000);

    assert_false(fake_identity(cluster, 3).formed);
    assert_int_equal(fake_members_of(cluster, fake_leader(cluster)).count, 3);
    assert_int_equal(fake_voter_id(cluster, fake_leader(cluster), fake_names[other]), id);
    assert_int_equal(fake_put_now(cluster, "after", "1"), ERR_OK);
    fake_cluster_close(cluster);
    (void)state;
}

/* A member that was away while another was replaced must still vote for the new one. */
static void who_knows_only_the_old_disk_still_votes_for_the_new_one(void **state)
{
    struct fake_cluster *cluster = fake_formed(3, 3, 15);
    uint32_t leader = fake_leader(cluster);
    uint32_t wiped = (leader + 1) % 3;
    uint32_t away = (leader + 2) % 3;
    fake_crash(cluster, wiped);
    fake_wipe(cluster, wiped);
    fake_start(cluster, wiped);
    fake_run(cluster, 1500);
    fake_crash(cluster, away);
    if (!fake_becomes_voter(cluster, wiped, 3000)) {
        fake_start(cluster, away); /* The joint configuration needed it. */
        assert_true(fake_becomes_voter(cluster, wiped, 10000));
        fake_crash(cluster, away);
    }
    assert_int_equal(fake_put_now(cluster, "after", "1"), ERR_OK);
    fake_crash(cluster, leader);

    fake_start(cluster, away);

    uint32_t next = fake_leader(cluster);
    assert_int_not_equal(next, leader);
    assert_true(fake_has_key(cluster, "after"));
    fake_cluster_close(cluster);
    (void)state;
}

static void members_that_were_all_removed_and_wiped_found_no_second_cluster(void **state)
{
    struct fake_cluster *cluster = fake_formed(5, 3, 24);
    fake_start_and_add(cluster, 3);
    fake_start_and_add(cluster, 4);

    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(fake_change_now(cluster, WIRE_METHOD_member_remove, fake_names[i]),
                         ERR_OK);
        fake_expect_removed(cluster, i);
        fake_wipe(cluster, i);
        fake_start(cluster, i); /* With the list of the formation. */
        fake_run(cluster, 500);
    }
    fake_run(cluster, 10000);

    for (uint32_t i = 0; i < 3; i++) {
        assert_false(fake_identity(cluster, i).formed);
    }
    assert_true(fake_has_key(cluster, "before"));
    fake_cluster_close(cluster);
    (void)state;
}

static void no_voter_is_removed_when_too_many_of_the_others_are_gone(void **state)
{
    struct fake_cluster *cluster = fake_formed(3, 3, 25);
    uint32_t leader = fake_leader(cluster);
    uint32_t gone = (leader + 1) % 3;
    uint32_t other = (leader + 2) % 3;
    fake_crash(cluster, gone);
    fake_run(cluster, 100);

    assert_int_equal(fake_change_now(cluster, WIRE_METHOD_member_remove, fake_names[other]),
                     ERR_REFUSED);
    assert_int_equal(fake_change_now(cluster, WIRE_METHOD_member_remove, fake_names[leader]),
                     ERR_REFUSED);

    assert_int_equal(fake_change_now(cluster, WIRE_METHOD_member_remove, fake_names[gone]), ERR_OK);
    assert_int_equal(fake_put_now(cluster, "after", "1"), ERR_OK);
    fake_cluster_close(cluster);
    (void)state;
}

static void who_is_fed_old_lists_answers_the_new_disk(void **state)
{
    struct fake_cluster *cluster = fake_formed(5, 3, 26);
    fake_start_and_add(cluster, 3); /* A list that has the old disk, after the formation's; */
    for (uint32_t i = 0; i < 4; i++) {
        fake_put_large(cluster); /* and a log that takes several messages to send. */
    }
    uint32_t wiped = (fake_leader(cluster) + 1) % 3;
    fake_crash(cluster, wiped);
    fake_wipe(cluster, wiped);
    fake_start(cluster, wiped);
    assert_true(fake_becomes_voter(cluster, wiped, 10000));
    assert_int_equal(fake_change_now(cluster, WIRE_METHOD_leader_move, fake_names[wiped]), ERR_OK);

    fake_start_and_add(cluster, 4);

    assert_int_equal(fake_part_count(cluster, wiped, "voter"), 5);
    fake_cluster_close(cluster);
    (void)state;
}

static bool knows_of_its_removal(struct fake_cluster *cluster, void *context)
{
    const uint32_t *place = context;

    return fake_has_logged(cluster, *place, "event=removed");
}

/* It has its removal in its log and does not know any more that it is committed. Nobody can tell it
 * by the log, which was dropped; and the newest list that it knows is the newest of all. */
static void who_forgot_its_removal_is_turned_away_when_the_log_is_gone(void **state)
{
    struct fake_cluster *cluster = fake_cluster_open(3, 28);
    for (uint32_t i = 0; i < 3; i++) {
        cluster->worlds[i].options.snapshot_log_size = 100000;
        cluster->worlds[i].options.commit_interval_ms = 50;
    }
    fake_start_all(cluster);
    uint32_t leader = fake_leader(cluster);
    uint32_t removed = (leader + 1) % 3;
    uint32_t client = fake_client_open(cluster, leader);
    fake_change(cluster, client, WIRE_METHOD_member_remove, fake_names[removed]);
    assert_true(fake_run_until(cluster, knows_of_its_removal, &removed, 5000));
    fake_crash(cluster, removed);
    for (uint32_t i = 0; i < 80; i++) {
        fake_put_large(cluster);
    }
    fake_run(cluster, 20000); /* Nobody waits any more to tell it. */

    fake_start(cluster, removed);

    fake_expect_removed(cluster, removed);
    fake_cluster_close(cluster);
    (void)state;
}

static bool has_failed(struct fake_cluster *cluster, void *context)
{
    const uint32_t *place = context;

    return node_problem(cluster->worlds[*place].node) != NULL;
}

/* It knows nothing of lists when the leader says hello, and then begins with the first of all, in
 * which the leader has another disk. */
static void who_starts_to_join_once_more_answers_the_new_disk(void **state)
{
    struct fake_cluster *cluster = fake_formed(4, 3, 27);
    uint32_t wiped = (fake_leader(cluster) + 1) % 3;
    uint32_t joiner = 3;
    fake_crash(cluster, wiped);
    fake_wipe(cluster, wiped);
    fake_start(cluster, wiped);
    assert_true(fake_becomes_voter(cluster, wiped, 10000));
    assert_int_equal(fake_change_now(cluster, WIRE_METHOD_leader_move, fake_names[wiped]), ERR_OK);
    fake_start(cluster, joiner);
    fake_run(cluster, 1000);
    memory_disk_limit(cluster->worlds[joiner].disk, 0); /* Nothing can be written. */
    uint32_t client = fake_client_open(cluster, wiped);
    fake_change(cluster, client, WIRE_METHOD_member_add, fake_names[joiner]);
    assert_true(fake_run_until(cluster, has_failed, &joiner, 5000));
    fake_crash(cluster, joiner);
    memory_disk_limit(cluster->worlds[joiner].disk, UINT64_MAX);

    fake_start(cluster, joiner);

    assert_true(fake_becomes_voter(cluster, joiner, 10000));
    fake_cluster_close(cluster);
    (void)state;
}

/* It was the first of all, and its --cluster still names nobody else. */
static void a_wiped_disk_that_lists_itself_alone_founds_no_second_cluster(void **state)
{
    struct fake_cluster *cluster = fake_formed(3, 1, 50);

    fake_start_and_add(cluster, 1);
    fake_start_and_add(cluster, 2);
    uint64_t before = fake_identity(cluster, 0).incarnation;
    fake_crash(cluster, 0);
    fake_wipe(cluster, 0);
    fake_start(cluster, 0);

    assert_true(fake_becomes_voter(cluster, 0, 20000));
    assert_int_not_equal(fake_identity(cluster, 0).incarnation, before);
    assert_memory_equal(fake_identity(cluster, 0).cluster, fake_identity(cluster, 1).cluster,
                        IDENTITY_CLUSTER_SIZE);
    assert_true(fake_has_key(cluster, "before"));
    fake_cluster_close(cluster);
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_wiped_disk_is_replaced_by_itself),
        cmocka_unit_test(a_disk_that_is_wiped_again_while_it_joins_is_replaced_too),
        cmocka_unit_test(two_wiped_disks_of_three_replace_nothing),
        cmocka_unit_test(two_wiped_disks_of_five_are_replaced_one_after_the_other),
        cmocka_unit_test(the_old_disk_is_turned_away_after_the_replacement),
        cmocka_unit_test(a_live_member_is_not_replaced_by_one_with_its_name),
        cmocka_unit_test(who_knows_only_the_old_disk_still_votes_for_the_new_one),
        cmocka_unit_test(members_that_were_all_removed_and_wiped_found_no_second_cluster),
        cmocka_unit_test(no_voter_is_removed_when_too_many_of_the_others_are_gone),
        cmocka_unit_test(who_is_fed_old_lists_answers_the_new_disk),
        cmocka_unit_test(who_forgot_its_removal_is_turned_away_when_the_log_is_gone),
        cmocka_unit_test(who_starts_to_join_once_more_answers_the_new_disk),
        cmocka_unit_test(a_wiped_disk_that_lists_itself_alone_founds_no_second_cluster),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
