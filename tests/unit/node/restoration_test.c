/* Tests of node/restoration.c and node/recovery.c: disks that have lost what was acknowledged. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "node/internal.h"
#include "tests/support/log/memory_disk.h"
#include "tests/support/node/fake_members.h"
#include "tests/support/node/fake_world.h"

enum { CATCH_UP_MS = 20000, BLOCK = 4096 };

static const struct node *node_at(const struct fake_cluster *cluster, uint32_t place)
{
    return cluster->worlds[place].node;
}

static struct fake_cluster *open_cluster(uint64_t seed)
{
    struct fake_cluster *cluster = fake_cluster_open(3, seed);

    for (uint32_t i = 0; i < 3; i++) {
        cluster->worlds[i].options.commit_interval_ms = 50;
    }
    fake_start_all(cluster);
    return cluster;
}

static void put_some(struct fake_cluster *cluster, uint32_t count)
{
    uint32_t client = fake_client_open(cluster, fake_leader(cluster));
    char key[16];

    for (uint32_t i = 0; i < count; i++) {
        snprintf(key, sizeof(key), "k%u", i);
        assert_int_equal(fake_outcome(cluster, client, fake_put(cluster, client, 0, 0, key, "v")),
                         ERR_OK);
    }
    fake_client_release(cluster, client);
}

/* More than memory keeps, for 60 and more. */
static void put_large(struct fake_cluster *cluster, uint32_t count)
{
    static char value[100001];
    uint32_t client = fake_client_open(cluster, fake_leader(cluster));

    memset(value, 'v', sizeof(value) - 1);
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(fake_outcome(cluster, client, fake_put(cluster, client, 0, 0, "k", value)),
                         ERR_OK);
    }
    fake_client_release(cluster, client);
}

static bool takes_part(struct fake_cluster *cluster, void *context)
{
    const uint32_t *place = context;

    return !node_state_is_away(node_at(cluster, *place)) &&
           node_at(cluster, *place)->status.leader != 0;
}

static void assert_equal_states(struct fake_cluster *cluster)
{
    fake_run(cluster, 500);
    struct wire_status_result first = fake_status(cluster, 0);

    for (uint32_t i = 1; i < cluster->node_count; i++) {
        struct wire_status_result other = fake_status(cluster, i);

        assert_int_equal(other.applied, first.applied);
        assert_int_equal(other.state_hash, first.state_hash);
    }
}

static const char *first_segment(struct disk *disk)
{
    for (uint32_t i = 0; i < memory_disk_file_count(disk); i++) {
        const char *name = memory_disk_file_name(disk, i);

        if (memory_disk_file(disk, name).size > 1 << 20) {
            return name;
        }
    }
    fail();
    return NULL;
}

static uint32_t used_block_count(struct bytes file)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < file.size / BLOCK; i++) {
        for (uint32_t at = 0; at < BLOCK; at++) {
            if (file.data[i * BLOCK + at] != 0) {
                count = i + 1;
                break;
            }
        }
    }
    return count;
}

/* --- Rot -------------------------------------------------------------------------------------- */

/* Each used block of the log of one node in turn: it comes back whole, or does not start and says
 * what to do. */
static void rot_anywhere_in_the_log_is_repaired_from_the_others(void **state)
{
    struct fake_cluster *cluster = open_cluster(1);
    uint32_t restored_count = 0;
    uint32_t block = 0;

    put_some(cluster, 5);
    for (uint32_t count = 1; block < count; block++) {
        uint32_t place = (fake_leader(cluster) + 1) % 3;
        struct disk *disk = cluster->worlds[place].disk;

        if (block % 2 == 0) {
            fake_crash(cluster, place);
        } else {
            fake_stop(cluster, place, 3000);
        }
        const char *segment = first_segment(disk);

        count = used_block_count(memory_disk_file(disk, segment));
        if (block >= count) {
            fake_start(cluster, place);
            break;
        }
        memory_disk_flip_bit(disk, segment, UINT64_C(8) * ((uint64_t)block * BLOCK + 70));
        put_some(cluster, 1);
        fake_start(cluster, place);
        restored_count += node_at(cluster, place)->restoration.is_on ? 1 : 0;
        assert_true(fake_run_until(cluster, takes_part, &place, CATCH_UP_MS));
        assert_equal_states(cluster);
    }
    assert_true(block >= 5);
    assert_true(restored_count >= 5);
    fake_cluster_close(cluster);
    (void)state;
}

static void a_node_with_rot_does_not_vote(void **state)
{
    struct fake_cluster *cluster = open_cluster(2);
    uint32_t leader = fake_leader(cluster);
    uint32_t rotten = (leader + 1) % 3;
    uint32_t behind = (leader + 2) % 3;

    fake_crash(cluster, behind);
    put_some(cluster, 3); /* Acknowledged by the leader and the one that will have rot. */
    fake_crash(cluster, rotten);
    memory_disk_flip_bit(cluster->worlds[rotten].disk, first_segment(cluster->worlds[rotten].disk),
                         UINT64_C(8) * (BLOCK + 70));
    fake_crash(cluster, leader);
    fake_start(cluster, behind);
    fake_start(cluster, rotten);
    fake_run(cluster, 5000);

    assert_false(fake_has_logged(cluster, behind, "role=leader"));
    assert_false(fake_has_logged(cluster, rotten, "role=leader"));
    fake_start(cluster, leader);
    assert_int_equal(fake_leader(cluster), leader);
    assert_true(fake_run_until(cluster, takes_part, &rotten, CATCH_UP_MS));
    assert_equal_states(cluster);
    struct wire_status_result status = fake_status(cluster, leader);
    assert_true(status.applied >= 4);
    fake_cluster_close(cluster);
    (void)state;
}

/* The power fails again and again while it is restored. */
static void a_crash_at_any_moment_of_a_restoration_is_recovered_from(void **state)
{
    for (uint32_t ms = 0; ms < 900; ms += 30) {
        struct fake_cluster *cluster = open_cluster(10 + ms);
        uint32_t rotten = (fake_leader(cluster) + 1) % 3;

        put_some(cluster, 5);
        fake_crash(cluster, rotten);
        memory_disk_flip_bit(cluster->worlds[rotten].disk,
                             first_segment(cluster->worlds[rotten].disk),
                             UINT64_C(8) * (UINT64_C(2) * BLOCK + 70));
        fake_start(cluster, rotten);
        fake_run(cluster, ms);
        fake_crash(cluster, rotten);
        put_some(cluster, 1);
        fake_start(cluster, rotten);

        assert_true(fake_run_until(cluster, takes_part, &rotten, CATCH_UP_MS));
        assert_equal_states(cluster);
        fake_cluster_close(cluster);
    }
    (void)state;
}

static bool has_ended(struct fake_cluster *cluster, void *context)
{
    const uint32_t *place = context;

    return node_problem(node_at(cluster, *place)) != NULL;
}

/* What no memory has any more is read from the disk for a follower that was away. */
static void a_leader_that_finds_rot_hands_over_and_is_restored(void **state)
{
    struct fake_cluster *cluster = open_cluster(3);
    uint32_t leader = fake_leader(cluster);
    uint32_t away = (leader + 1) % 3;

    put_some(cluster, 3);
    fake_run(cluster, 200);
    fake_crash(cluster, away);
    put_large(cluster, 80);
    struct disk *disk = cluster->worlds[leader].disk;
    memory_disk_flip_bit(disk, first_segment(disk), UINT64_C(8) * 40 * BLOCK);
    fake_start(cluster, away);

    assert_true(fake_run_until(cluster, has_ended, &leader, CATCH_UP_MS));
    assert_true(fake_has_logged(cluster, leader, "log_unreadable"));
    assert_non_null(strstr(node_problem(node_at(cluster, leader)), "start again"));
    fake_crash(cluster, leader);
    fake_start(cluster, leader);
    assert_true(node_at(cluster, leader)->restoration.is_on);
    assert_true(fake_run_until(cluster, takes_part, &leader, CATCH_UP_MS));
    assert_true(fake_run_until(cluster, takes_part, &away, CATCH_UP_MS));
    assert_equal_states(cluster);
    fake_cluster_close(cluster);
    (void)state;
}

static bool was_sent_a_snapshot(struct fake_cluster *cluster, void *context)
{
    const uint32_t *place = context;

    return fake_has_logged(cluster, *place, "snapshot_installed");
}

/* What it was sent last must not keep it from what it is sent next. */
static void a_restored_node_takes_later_snapshots_too(void **state)
{
    struct fake_cluster *cluster = fake_cluster_open(3, 4);
    for (uint32_t i = 0; i < 3; i++) {
        cluster->worlds[i].options.commit_interval_ms = 20;
        cluster->worlds[i].options.snapshot_log_size = 100000;
    }
    fake_start_all(cluster);
    put_some(cluster, 5);
    uint32_t rotten = (fake_leader(cluster) + 1) % 3;
    fake_crash(cluster, rotten);
    memory_disk_flip_bit(cluster->worlds[rotten].disk, first_segment(cluster->worlds[rotten].disk),
                         UINT64_C(8) * (UINT64_C(2) * BLOCK + 70));
    fake_start(cluster, rotten);
    assert_true(node_at(cluster, rotten)->restoration.is_on);
    assert_true(fake_run_until(cluster, takes_part, &rotten, CATCH_UP_MS));
    fake_isolate(cluster, rotten, true);
    put_large(cluster, 80);
    assert_true(node_at(cluster, fake_leader(cluster))->status.base_index >
                node_at(cluster, rotten)->status.last_index);

    fake_isolate(cluster, rotten, false);

    assert_true(fake_run_until(cluster, was_sent_a_snapshot, &rotten, CATCH_UP_MS));
    assert_equal_states(cluster);
    fake_cluster_close(cluster);
    (void)state;
}

/* The newest that is whole; 0: there is none. */
static raft_index newest_snapshot(struct disk *disk)
{
    raft_index newest = 0;

    for (uint32_t i = 0; i < memory_disk_file_count(disk); i++) {
        unsigned long long index = 0;
        const char *name = memory_disk_file_name(disk, i);

        if (strlen(name) == strlen("snap-000000000000002a") &&
            sscanf(name, "snap-%llx", &index) == 1 && index > newest) {
            newest = index;
        }
    }
    return newest;
}

/* An older snapshot is there, and the log in front of the damage: from these it could go on without
 * what it has acknowledged since. */
static void a_restoring_node_waits_for_a_snapshot_that_can_be_read(void **state)
{
    struct fake_cluster *cluster = fake_cluster_open(3, 6);
    for (uint32_t i = 0; i < 3; i++) {
        cluster->worlds[i].options.commit_interval_ms = 20;
        cluster->worlds[i].options.snapshot_log_size = 200000;
    }
    fake_start_all(cluster);
    put_large(cluster, 4);
    fake_run(cluster, 500);
    put_some(cluster, 5);
    uint32_t rotten = (fake_leader(cluster) + 1) % 3;
    struct disk *disk = cluster->worlds[rotten].disk;
    assert_true(newest_snapshot(disk) > 0);
    raft_index last = node_at(cluster, rotten)->status.durable_index;
    fake_crash(cluster, rotten);
    uint32_t used = used_block_count(memory_disk_file(disk, first_segment(disk)));
    memory_disk_flip_bit(disk, first_segment(disk),
                         UINT64_C(8) * ((uint64_t)(used - 4) * BLOCK + 70));

    fake_start(cluster, rotten);
    assert_true(node_at(cluster, rotten)->restoration.is_on);
    const struct disk_request *request = NULL;
    for (uint32_t i = 0; i < CATCH_UP_MS && (request == NULL || request->operation != DISK_PUBLISH);
         i++) {
        fake_run(cluster, 1);
        request = memory_disk_head(disk, DISK_LANE_SNAPSHOT);
    }
    assert_non_null(request);
    assert_true(node_at(cluster, rotten)->restoration.is_on);
    /* Between the reading back and the loading. */
    memory_disk_flip_bit(disk, request->name.text, UINT64_C(8) * (BLOCK + 100));
    for (uint32_t i = 0; node_at(cluster, rotten)->restoration.is_on && i < CATCH_UP_MS; i++) {
        fake_run(cluster, 1);
    }

    assert_false(node_at(cluster, rotten)->restoration.is_on);
    assert_true(node_at(cluster, rotten)->status.last_index >= last);
    assert_equal_states(cluster);
    fake_cluster_close(cluster);
    (void)state;
}

/* --- States that differ ----------------------------------------------------------------------- */

/* As if a bit of its memory had flipped before a checksum was made. */
static void spoil(struct fake_cluster *cluster, uint32_t place)
{
    table_put(cluster->worlds[place].table, bytes_of_text("kspoiled"), bytes_of_text("value"));
}

/* At a leader that may be about to end: the outcomes are not looked at. */
static void put_unheard(struct fake_cluster *cluster, uint32_t place, uint32_t count)
{
    uint32_t client = fake_client_open(cluster, place);

    for (uint32_t i = 0; i < count; i++) {
        fake_put(cluster, client, 0, 0, "kunheard", "v");
    }
    fake_run(cluster, 50);
    fake_client_release(cluster, client);
}

static void check_that_it_is_discarded(struct fake_cluster *cluster, uint32_t place)
{
    put_unheard(cluster, fake_leader(cluster), 40);
    assert_true(fake_run_until(cluster, has_ended, &place, CATCH_UP_MS));
    assert_true(fake_has_logged(cluster, place, "state_differs"));
    for (uint32_t i = 0; i < 3; i++) {
        assert_true(i == place || node_problem(node_at(cluster, i)) == NULL);
    }
    fake_crash(cluster, place);
    fake_start(cluster, place);
    assert_true(fake_run_until(cluster, takes_part, &place, CATCH_UP_MS));
    put_some(cluster, 40);
    assert_equal_states(cluster);
}

static struct fake_cluster *open_comparing_cluster(uint64_t seed)
{
    struct fake_cluster *cluster = fake_cluster_open(3, seed);

    for (uint32_t i = 0; i < 3; i++) {
        cluster->worlds[i].options.commit_interval_ms = 20;
        cluster->worlds[i].options.snapshot_log_size = 100000;
        cluster->worlds[i].options.state_mark_interval = 16;
    }
    fake_start_all(cluster);
    return cluster;
}

static void a_follower_whose_state_differs_is_restored_from_the_others(void **state)
{
    struct fake_cluster *cluster = open_comparing_cluster(20);
    uint32_t spoiled = (fake_leader(cluster) + 1) % 3;

    put_some(cluster, 40);
    spoil(cluster, spoiled);

    check_that_it_is_discarded(cluster, spoiled);
    fake_cluster_close(cluster);
    (void)state;
}

static void a_leader_whose_state_differs_from_most_is_the_one_that_is_wrong(void **state)
{
    struct fake_cluster *cluster = open_comparing_cluster(21);
    uint32_t spoiled = fake_leader(cluster);

    put_some(cluster, 40);
    spoil(cluster, spoiled);

    check_that_it_is_discarded(cluster, spoiled);
    fake_cluster_close(cluster);
    (void)state;
}

static void two_states_that_differ_are_told_and_nobody_ends(void **state)
{
    struct fake_cluster *cluster = open_comparing_cluster(22);
    uint32_t leader = fake_leader(cluster);

    fake_crash(cluster, (leader + 2) % 3);
    spoil(cluster, (leader + 1) % 3);
    put_some(cluster, 40);
    fake_run(cluster, 500);

    assert_true(fake_has_logged(cluster, leader, "states_differ"));
    assert_null(node_problem(node_at(cluster, leader)));
    assert_null(node_problem(node_at(cluster, (leader + 1) % 3)));
    fake_cluster_close(cluster);
    (void)state;
}

/* Its log was all that named the later members: to it they are strangers, one of which leads, and
 * is the last to be heard. */
static void a_node_without_its_log_hears_its_leader_among_members_that_it_forgot(void **state)
{
    struct fake_cluster *cluster = fake_formed(7, 1, 5);
    uint32_t victim = 1;
    uint32_t leader = 6;

    for (uint32_t i = 1; i < 7; i++) {
        fake_start_and_add(cluster, i);
    }
    assert_int_equal(fake_change_now(cluster, WIRE_METHOD_leader_move, fake_names[leader]), ERR_OK);
    for (uint32_t i = 0; i < 7; i++) {
        fake_set_free(cluster, i, UINT64_C(1) << 40); /* Each tells it the others every second. */
    }
    fake_crash(cluster, victim);
    struct disk *disk = cluster->worlds[victim].disk;
    memory_disk_flip_bit(disk, first_segment(disk), UINT64_C(8) * (2 * BLOCK + 70));
    fake_cut(cluster, victim, leader, true);
    fake_start(cluster, victim);
    fake_run(cluster, 2000);
    assert_true(fake_has_logged(cluster, victim, "restoring"));
    fake_cut(cluster, victim, leader, false);

    assert_true(fake_run_until(cluster, takes_part, &victim, CATCH_UP_MS));
    assert_int_equal(fake_leader(cluster), leader);
    fake_cluster_close(cluster);
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rot_anywhere_in_the_log_is_repaired_from_the_others),
        cmocka_unit_test(a_node_with_rot_does_not_vote),
        cmocka_unit_test(a_crash_at_any_moment_of_a_restoration_is_recovered_from),
        cmocka_unit_test(a_leader_that_finds_rot_hands_over_and_is_restored),
        cmocka_unit_test(a_restored_node_takes_later_snapshots_too),
        cmocka_unit_test(a_restoring_node_waits_for_a_snapshot_that_can_be_read),
        cmocka_unit_test(a_follower_whose_state_differs_is_restored_from_the_others),
        cmocka_unit_test(a_leader_whose_state_differs_from_most_is_the_one_that_is_wrong),
        cmocka_unit_test(two_states_that_differ_are_told_and_nobody_ends),
        cmocka_unit_test(a_node_without_its_log_hears_its_leader_among_members_that_it_forgot),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
