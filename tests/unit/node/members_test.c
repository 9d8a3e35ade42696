/* Tests of node/members.c, node/changes.c, node/places.c, node/senders.c and node/disk_watch.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "tests/support/log/memory_disk.h"
#include "tests/support/node/fake_members.h"
#include "tests/support/node/fake_world.h"

enum { STEP_COUNT = 60 };

/* --- Growing and shrinking -------------------------------------------------------------------- */

static void a_cluster_grows_from_one_to_three_and_to_five(void **state)
{
    struct fake_cluster *cluster = fake_formed(5, 1, 1);

    for (uint32_t i = 1; i < 5; i++) {
        fake_start_and_add(cluster, i);
        assert_int_equal(fake_part_count(cluster, fake_leader(cluster), "voter"), i + 1);
    }

    assert_int_equal(fake_put_now(cluster, "after", "1"), ERR_OK);
    fake_crash(cluster, 0);
    fake_crash(cluster, fake_leader(cluster));
    assert_true(fake_has_key(cluster, "before"));
    assert_true(fake_has_key(cluster, "after"));
    fake_cluster_close(cluster);
    (void)state;
}

static void a_cluster_shrinks_from_five_to_one(void **state)
{
    struct fake_cluster *cluster = fake_formed(5, 5, 2);

    for (uint32_t i = 4; i > 0; i--) {
        uint32_t place = i;
        assert_int_equal(fake_change_now(cluster, WIRE_METHOD_member_remove, fake_names[i]),
                         ERR_OK);
        fake_expect_removed(cluster, place);
    }

    assert_int_equal(fake_leader(cluster), 0);
    assert_int_equal(fake_put_now(cluster, "after", "1"), ERR_OK);
    assert_int_equal(fake_part_count(cluster, 0, "voter"), 1);
    assert_int_equal(fake_change_now(cluster, WIRE_METHOD_member_remove, "n1"), ERR_REFUSED);
    fake_cluster_close(cluster);
    (void)state;
}

static void the_leader_sees_its_own_removal_through(void **state)
{
    struct fake_cluster *cluster = fake_formed(3, 3, 3);
    uint32_t leader = fake_leader(cluster);
    uint32_t client = fake_client_open(cluster, leader);

    enum error error =
        fake_outcome(cluster, client,
                     fake_change(cluster, client, WIRE_METHOD_member_remove, fake_names[leader]));

    assert_int_equal(error, ERR_OK);
    fake_expect_removed(cluster, leader);
    assert_int_not_equal(fake_leader(cluster), leader);
    assert_int_equal(fake_part_count(cluster, fake_leader(cluster), "voter"), 2);
    assert_int_equal(fake_put_now(cluster, "after", "1"), ERR_OK);
    fake_cluster_close(cluster);
    (void)state;
}

static void a_node_that_was_away_learns_that_it_was_removed(void **state)
{
    struct fake_cluster *cluster = fake_formed(3, 3, 4);
    uint32_t away = (fake_leader(cluster) + 1) % 3;
    fake_crash(cluster, away);
    fake_leader(cluster);
    assert_int_equal(fake_change_now(cluster, WIRE_METHOD_member_remove, fake_names[away]), ERR_OK);
    fake_run(cluster, 20000); /* Nobody waits for it any more. */

    fake_start(cluster, away);

    fake_expect_removed(cluster, away);
    fake_start(cluster, away);
    fake_expect_removed(cluster, away);
    fake_cluster_close(cluster);
    (void)state;
}

static void a_removed_node_may_come_back_empty(void **state)
{
    struct fake_cluster *cluster = fake_formed(4, 4, 5);
    uint64_t id = fake_voter_id(cluster, fake_leader(cluster), "n4");
    uint32_t place = 3;
    assert_int_equal(fake_change_now(cluster, WIRE_METHOD_member_remove, "n4"), ERR_OK);
    fake_expect_removed(cluster, place);

    fake_wipe(cluster, place);
    fake_start_and_add(cluster, place);

    assert_int_not_equal(fake_voter_id(cluster, fake_leader(cluster), "n4"), 0);
    assert_int_not_equal(fake_voter_id(cluster, fake_leader(cluster), "n4"), id);
    fake_cluster_close(cluster);
    (void)state;
}

/* --- Asking to join --------------------------------------------------------------------------- */

static void an_unknown_node_waits_for_an_operator(void **state)
{
    struct fake_cluster *cluster = fake_formed(4, 3, 6);
    fake_start(cluster, 3);

    fake_run(cluster, 6000);

    assert_false(fake_identity(cluster, 3).formed);
    assert_true(fake_has_logged(cluster, 3, "holdfast member add n4"));
    assert_true(fake_has_logged(cluster, fake_leader(cluster), "event=asks_to_join peer=n4"));
    assert_int_equal(fake_members_of(cluster, fake_leader(cluster)).waiting_count, 1);
    assert_int_equal(fake_change_now(cluster, WIRE_METHOD_member_add, "n4"), ERR_OK);
    assert_true(fake_identity(cluster, 3).formed);
    assert_int_equal(fake_members_of(cluster, fake_leader(cluster)).waiting_count, 0);
    fake_cluster_close(cluster);
    (void)state;
}

static void a_node_that_nobody_heard_is_not_added(void **state)
{
    struct fake_cluster *cluster = fake_formed(4, 3, 7);
    uint32_t client = fake_client_open(cluster, fake_leader(cluster));

    struct wire_failure failure =
        fake_failure(cluster, client, fake_change(cluster, client, WIRE_METHOD_member_add, "n4"));

    assert_int_equal(failure.code, ERR_REFUSED);
    assert_memory_equal(failure.text.data, "no node of that name asks to join", 33);
    fake_start(cluster, 3);
    fake_isolate(cluster, 3, true);
    fake_run(cluster, 1000);
    assert_int_equal(fake_change_now(cluster, WIRE_METHOD_member_add, "n4"), ERR_REFUSED);
    fake_isolate(cluster, 3, false);
    fake_run(cluster, 1000);
    assert_int_equal(fake_change_now(cluster, WIRE_METHOD_member_add, "n4"), ERR_OK);
    fake_cluster_close(cluster);
    (void)state;
}

static void one_that_asked_and_fell_silent_is_forgotten(void **state)
{
    struct fake_cluster *cluster = fake_formed(4, 3, 8);
    fake_start(cluster, 3);
    fake_run(cluster, 500);
    assert_int_equal(fake_members_of(cluster, fake_leader(cluster)).waiting_count, 1);

    fake_crash(cluster, 3);
    fake_run(cluster, 11000);

    assert_int_equal(fake_members_of(cluster, fake_leader(cluster)).waiting_count, 0);
    assert_int_equal(fake_change_now(cluster, WIRE_METHOD_member_add, "n4"), ERR_REFUSED);
    fake_cluster_close(cluster);
    (void)state;
}

static void a_node_is_not_told_that_it_joined_before_that_is_committed(void **state)
{
    struct fake_cluster *cluster = fake_formed(5, 3, 27);
    fake_start_and_add(cluster, 3);
    uint32_t leader = fake_leader(cluster);
    fake_start(cluster, 4);
    fake_run(cluster, 200);
    uint32_t client = fake_client_open(cluster, leader);
    fake_run(cluster, 20);
    for (uint32_t i = 0; i < 4; i++) {
        fake_cut(cluster, leader, i, i != leader);
    }

    fake_change(cluster, client, WIRE_METHOD_member_add, "n5");
    fake_run(cluster, 2000);

    assert_true(fake_has_logged(cluster, leader, "state=appended members=n1,n2,n3,n4,n5(learner)"));
    assert_false(fake_identity(cluster, 4).formed);
    fake_isolate(cluster, leader, false);
    fake_run(cluster, 1000);
    assert_int_equal(fake_change_now(cluster, WIRE_METHOD_member_add, "n5"), ERR_OK);
    fake_cluster_close(cluster);
    (void)state;
}

static void one_that_joined_is_not_taken_for_removed_by_who_has_not_heard_of_it(void **state)
{
    struct fake_cluster *cluster = fake_formed(5, 3, 28);
    fake_start_and_add(cluster, 3); /* So the lists here are not those of the formation. */
    uint32_t late = (fake_leader(cluster) + 1) % 3;
    for (uint32_t i = 0; i < 4; i++) {
        fake_cut(cluster, late, i, i != late);
    }
    fake_start(cluster, 4);
    fake_run(cluster, 500);
    uint32_t client = fake_client_open(cluster, fake_leader(cluster));
    uint64_t id = fake_change(cluster, client, WIRE_METHOD_member_add, "n5");
    cluster->worlds[4].disk_ms_max = 200; /* It knows its cluster long before it has the log. */

    assert_int_equal(fake_outcome(cluster, client, id), ERR_OK);
    fake_run(cluster, 1000);

    assert_false(node_is_removed(cluster->worlds[4].node));
    assert_false(fake_has_logged(cluster, late, "reason=REMOVED"));
    fake_isolate(cluster, late, false);
    assert_true(fake_becomes_voter(cluster, 4, 5000));
    fake_cluster_close(cluster);
    (void)state;
}

/* The joiner, or the leader, crashes after so many milliseconds of joining. */
static void crash_while_joining(uint32_t step, bool is_leader)
{
    struct fake_cluster *cluster = fake_formed(4, 3, 100 + step);
    fake_start(cluster, 3);
    fake_run(cluster, 200);
    uint32_t leader = fake_leader(cluster);
    uint32_t victim = is_leader ? leader : 3;
    uint32_t client = fake_client_open(cluster, leader);
    fake_change(cluster, client, WIRE_METHOD_member_add, "n4");

    fake_run(cluster, step);
    fake_crash(cluster, victim);
    fake_run(cluster, step * 7 % 50);
    fake_start(cluster, victim);
    fake_run(cluster, 1000);

    enum error error = fake_change_now(cluster, WIRE_METHOD_member_add, "n4");
    assert_int_equal(error, ERR_OK);
    assert_true(fake_becomes_voter(cluster, 3, 5000));
    assert_int_equal(fake_part_count(cluster, fake_leader(cluster), "voter"), 4);
    assert_true(fake_has_key(cluster, "before"));
    fake_cluster_close(cluster);
}

static void a_crash_of_the_joining_node_heals_at_any_point(void **state)
{
    for (uint32_t step = 1; step < STEP_COUNT; step++) {
        crash_while_joining(step, false);
    }
    (void)state;
}

static void a_crash_of_the_leader_heals_at_any_point_of_joining(void **state)
{
    for (uint32_t step = 1; step < STEP_COUNT; step++) {
        crash_while_joining(step, true);
    }
    (void)state;
}

/* --- All of it again after a restart ---------------------------------------------------------- */

static void members_that_joined_find_each_other_without_the_founders(void **state)
{
    struct fake_cluster *cluster = fake_formed(6, 3, 16);
    for (uint32_t i = 3; i < 6; i++) {
        fake_start_and_add(cluster, i);
    }
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(fake_change_now(cluster, WIRE_METHOD_member_remove, fake_names[i]),
                         ERR_OK);
        fake_expect_removed(cluster, i);
    }
    for (uint32_t i = 3; i < 6; i++) {
        fake_crash(cluster, i);
    }

    for (uint32_t i = 3; i < 6; i++) {
        fake_start(cluster, i);
    }

    assert_true(fake_leader(cluster) >= 3);
    assert_true(fake_has_key(cluster, "before"));
    fake_cluster_close(cluster);
    (void)state;
}

static void an_address_that_has_changed_is_written_down(void **state)
{
    struct fake_cluster *cluster = fake_formed(3, 3, 17);
    uint32_t moved = (fake_leader(cluster) + 1) % 3;
    fake_stop(cluster, moved, 2000);
    cluster->worlds[moved].options.client_address = "elsewhere:9";
    fake_start(cluster, moved);
    fake_run(cluster, 2000);

    fake_crash(cluster, moved);
    fake_run(cluster, 1000);

    struct fake_members view = fake_members_of(cluster, fake_leader(cluster));
    assert_string_equal(view.items[moved].client, "elsewhere:9");
    fake_cluster_close(cluster);
    (void)state;
}

/* --- Who leads -------------------------------------------------------------------------------- */

static void leadership_moves_where_it_is_told(void **state)
{
    struct fake_cluster *cluster = fake_formed(3, 3, 18);

    for (uint32_t i = 0; i < 6; i++) {
        uint32_t target = (fake_leader(cluster) + 1 + i % 2) % 3;

        assert_int_equal(fake_change_now(cluster, WIRE_METHOD_leader_move, fake_names[target]),
                         ERR_OK);
        assert_int_equal(fake_leader(cluster), target);
    }
    assert_int_equal(fake_change_now(cluster, WIRE_METHOD_leader_move, "n9"), ERR_REFUSED);
    fake_cluster_close(cluster);
    (void)state;
}

static void leadership_does_not_move_to_a_dead_node(void **state)
{
    struct fake_cluster *cluster = fake_formed(3, 3, 19);
    uint32_t leader = fake_leader(cluster);
    uint32_t dead = (leader + 1) % 3;
    fake_crash(cluster, dead);

    enum error error = fake_change_now(cluster, WIRE_METHOD_leader_move, fake_names[dead]);

    assert_int_equal(error, ERR_REFUSED);
    assert_int_equal(fake_put_now(cluster, "after", "1"), ERR_OK);
    fake_cluster_close(cluster);
    (void)state;
}

static bool another_leads(struct fake_cluster *cluster, void *context)
{
    uint32_t before = *(const uint32_t *)context;

    for (uint32_t i = 0; i < cluster->node_count; i++) {
        if (i != before && fake_has_logged(cluster, i, "role=leader")) {
            return true;
        }
    }
    return false;
}

static void a_leader_whose_disk_stalls_hands_over_within_two_election_timeouts(void **state)
{
    struct fake_cluster *cluster = fake_formed(3, 3, 20);
    uint32_t leader = fake_leader(cluster);
    uint32_t client = fake_client_open(cluster, leader);
    cluster->worlds[leader].disk_is_stalled = true;
    fake_put(cluster, client, 0, 0, "stalled", "1");

    bool is_over = fake_run_until(cluster, another_leads, &leader, 1000);

    assert_true(is_over);
    assert_true(fake_has_logged(cluster, leader, "event=disk_stalled"));
    assert_int_not_equal(fake_leader(cluster), leader);
    assert_int_equal(fake_put_now(cluster, "after", "1"), ERR_OK);
    cluster->worlds[leader].disk_is_stalled = false;
    fake_run(cluster, 1000);
    assert_int_equal(fake_change_now(cluster, WIRE_METHOD_leader_move, fake_names[leader]), ERR_OK);
    fake_cluster_close(cluster);
    (void)state;
}

/* --- Requests --------------------------------------------------------------------------------- */

static void a_change_that_is_asked_for_again_is_not_made_again(void **state)
{
    struct fake_cluster *cluster = fake_formed(4, 3, 21);
    fake_start_and_add(cluster, 3);
    uint64_t before = fake_status(cluster, fake_leader(cluster)).configuration;

    assert_int_equal(fake_change_now(cluster, WIRE_METHOD_member_add, "n4"), ERR_OK);

    assert_int_equal(fake_status(cluster, fake_leader(cluster)).configuration, before);
    assert_int_equal(fake_change_now(cluster, WIRE_METHOD_member_promote, "n4"), ERR_OK);
    assert_int_equal(fake_change_now(cluster, WIRE_METHOD_member_remove, "n9"), ERR_NOT_FOUND);
    assert_int_equal(fake_change_now(cluster, WIRE_METHOD_member_promote, "n9"), ERR_NOT_FOUND);
    fake_cluster_close(cluster);
    (void)state;
}

static void a_change_that_cannot_be_committed_is_told_to_be_under_way(void **state)
{
    struct fake_cluster *cluster = fake_formed(4, 3, 22);
    fake_start(cluster, 3);
    fake_run(cluster, 200);
    uint32_t leader = fake_leader(cluster);
    uint32_t client = fake_client_open(cluster, leader);
    fake_run(cluster, 20);
    fake_cut(cluster, leader, 3, true);

    enum error error =
        fake_outcome(cluster, client, fake_change(cluster, client, WIRE_METHOD_member_add, "n4"));

    assert_int_equal(error, ERR_TIMEOUT);
    assert_int_equal(fake_part_count(cluster, leader, "learner"), 1);
    fake_cut(cluster, leader, 3, false);
    assert_true(fake_becomes_voter(cluster, 3, 5000));
    fake_cluster_close(cluster);
    (void)state;
}

static void a_follower_passes_changes_on_to_the_leader(void **state)
{
    struct fake_cluster *cluster = fake_formed(3, 3, 23);
    uint32_t leader = fake_leader(cluster);
    uint32_t client = fake_client_open(cluster, (leader + 1) % 3);

    enum error error = fake_outcome(
        cluster, client,
        fake_change(cluster, client, WIRE_METHOD_member_remove, fake_names[(leader + 2) % 3]));

    assert_int_equal(error, ERR_OK);
    assert_int_equal(fake_members_of(cluster, leader).count, 2);
    fake_cluster_close(cluster);
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cluster_grows_from_one_to_three_and_to_five),
        cmocka_unit_test(a_cluster_shrinks_from_five_to_one),
        cmocka_unit_test(the_leader_sees_its_own_removal_through),
        cmocka_unit_test(a_node_that_was_away_learns_that_it_was_removed),
        cmocka_unit_test(a_removed_node_may_come_back_empty),
        cmocka_unit_test(an_unknown_node_waits_for_an_operator),
        cmocka_unit_test(a_node_that_nobody_heard_is_not_added),
        cmocka_unit_test(one_that_asked_and_fell_silent_is_forgotten),
        cmocka_unit_test(a_node_is_not_told_that_it_joined_before_that_is_committed),
        cmocka_unit_test(one_that_joined_is_not_taken_for_removed_by_who_has_not_heard_of_it),
        cmocka_unit_test(a_crash_of_the_joining_node_heals_at_any_point),
        cmocka_unit_test(a_crash_of_the_leader_heals_at_any_point_of_joining),
        cmocka_unit_test(members_that_joined_find_each_other_without_the_founders),
        cmocka_unit_test(an_address_that_has_changed_is_written_down),
        cmocka_unit_test(leadership_moves_where_it_is_told),
        cmocka_unit_test(leadership_does_not_move_to_a_dead_node),
        cmocka_unit_test(a_leader_whose_disk_stalls_hands_over_within_two_election_timeouts),
        cmocka_unit_test(a_change_that_is_asked_for_again_is_not_made_again),
        cmocka_unit_test(a_change_that_cannot_be_committed_is_told_to_be_under_way),
        cmocka_unit_test(a_follower_passes_changes_on_to_the_leader),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
