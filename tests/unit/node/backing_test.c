/* Tests of node/backing.c: members that have one backup found a cluster with its state. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "node/internal.h"
#include "node/refounding.h"
#include "tests/support/log/memory_disk.h"
#include "tests/support/node/fake_world.h"

enum { TTL_MS = 20000, VALUE_SIZE = 100000 };

/* What an old cluster leaves behind. */
struct saved {
    uint8_t *data;
    size_t size;
    uint64_t token;
    uint64_t session;
};

static uint64_t take_lock(struct fake_cluster *cluster, uint32_t client, uint64_t *session)
{
    struct wire_lock_acquire_result result;

    *session = fake_open_session(cluster, client, TTL_MS);
    uint64_t id = fake_acquire(cluster, client, *session, 1, "lock", true);
    struct bytes body = fake_answer(cluster, client, id)->body;
    assert_int_equal(wire_lock_acquire_result_decode(&body, &result), ERR_OK);
    return result.token;
}

/* The newest whole snapshot of a node. */
static struct bytes newest_of(const struct disk *disk)
{
    struct bytes bytes = {0};

    for (uint32_t i = 0; i < memory_disk_file_count(disk); i++) {
        const char *name = memory_disk_file_name(disk, i);

        if (strncmp(name, "snap-", 5) == 0 && strchr(name, '.') == NULL) {
            bytes = memory_disk_file(disk, name);
        }
    }
    return bytes;
}

static struct saved make_backup(uint64_t seed)
{
    static char value[VALUE_SIZE + 1];
    struct fake_cluster *cluster = fake_cluster_open(3, seed);
    struct saved backup = {0};

    for (uint32_t i = 0; i < 3; i++) {
        cluster->worlds[i].options.commit_interval_ms = 50;
        cluster->worlds[i].options.snapshot_log_size = 1 << 20;
    }
    fake_start_all(cluster);
    uint32_t leader = fake_leader(cluster);
    uint32_t client = fake_client_open(cluster, leader);

    backup.token = take_lock(cluster, client, &backup.session);
    memset(value, 'v', VALUE_SIZE);
    for (uint32_t i = 0; i < 24; i++) {
        assert_int_equal(fake_outcome(cluster, client, fake_put(cluster, client, 0, 0, "k", value)),
                         ERR_OK);
    }
    fake_run(cluster, 500);
    struct bytes bytes = newest_of(cluster->worlds[leader].disk);
    assert_true(bytes.size > 0);
    backup.data = malloc(bytes.size);
    assert_non_null(backup.data);
    memcpy(backup.data, bytes.data, bytes.size);
    backup.size = bytes.size;
    fake_cluster_close(cluster);
    return backup;
}

static void give(struct fake_cluster *cluster, uint32_t place, const struct saved *backup)
{
    memory_disk_put(cluster->worlds[place].disk, NODE_RESTORE_NAME,
                    bytes_of(backup->data, backup->size));
}

static bool all_formed(struct fake_cluster *cluster, void *context)
{
    (void)context;
    for (uint32_t i = 0; i < cluster->node_count; i++) {
        if (!cluster->worlds[i].runs || !cluster->worlds[i].node->identity.formed) {
            return false;
        }
    }
    return true;
}

static void assert_restored(struct fake_cluster *cluster, const struct saved *backup)
{
    uint32_t leader = fake_leader(cluster);
    uint32_t client = fake_client_open(cluster, leader);
    uint64_t session = 0;
    struct wire_get_result result;

    struct bytes body = fake_answer(cluster, client, fake_get(cluster, client, "k"))->body;
    assert_int_equal(wire_get_result_decode(&body, &result), ERR_OK);
    assert_int_equal(result.value.size, VALUE_SIZE);
    /* Who held the lock is nobody here, and its number is nobody else's. */
    uint64_t id = fake_session_renew(cluster, client, backup->session, 1);
    assert_int_equal(fake_outcome(cluster, client, id), ERR_SESSION_EXPIRED);
    assert_int_equal(take_lock(cluster, client, &session), backup->token + REFOUNDING_STEP + 1);
    assert_true(session > REFOUNDING_STEP);
    fake_run(cluster, 1000);
    struct wire_status_result first = fake_status(cluster, 0);
    for (uint32_t i = 1; i < cluster->node_count; i++) {
        struct wire_status_result other = fake_status(cluster, i);

        assert_int_equal(other.applied, first.applied);
        assert_int_equal(other.state_hash, first.state_hash);
    }
}

static void members_with_one_backup_found_a_cluster_with_its_state(void **state)
{
    struct saved backup = make_backup(41);
    struct fake_cluster *cluster = fake_cluster_open(3, 42);

    for (uint32_t i = 0; i < 3; i++) {
        give(cluster, i, &backup);
    }
    fake_start_all(cluster);

    assert_true(fake_run_until(cluster, all_formed, NULL, 10000));
    assert_restored(cluster, &backup);
    for (uint32_t i = 0; i < 3; i++) {
        assert_null(memory_disk_file(cluster->worlds[i].disk, NODE_RESTORE_NAME).data);
    }
    free(backup.data);
    fake_cluster_close(cluster);
    (void)state;
}

static void no_cluster_is_founded_while_one_lacks_the_backup_or_has_another(void **state)
{
    struct saved backup = make_backup(41);
    struct saved other = make_backup(43);
    struct fake_cluster *cluster = fake_cluster_open(3, 44);

    give(cluster, 0, &backup);
    give(cluster, 1, &backup);
    fake_start_all(cluster);
    fake_run(cluster, 6000);
    assert_false(cluster->worlds[0].node->identity.formed);
    assert_true(fake_has_logged(cluster, 0, "another backup, or none"));
    fake_crash(cluster, 2);
    give(cluster, 2, &other);
    fake_start(cluster, 2);
    fake_run(cluster, 6000);
    assert_false(cluster->worlds[0].node->identity.formed);
    fake_crash(cluster, 2);
    give(cluster, 2, &backup);
    fake_start(cluster, 2);

    assert_true(fake_run_until(cluster, all_formed, NULL, 10000));
    assert_restored(cluster, &backup);
    free(backup.data);
    free(other.data);
    fake_cluster_close(cluster);
    (void)state;
}

static void a_founder_whose_disk_fails_at_any_step_still_founds(void **state)
{
    struct saved backup = make_backup(41);
    uint32_t failed_count = 0;

    for (uint64_t step = 1; step < 40; step++) {
        struct fake_cluster *cluster = fake_cluster_open(3, 50 + step);
        uint32_t failing = (uint32_t)(step % 3);

        for (uint32_t i = 0; i < 3; i++) {
            give(cluster, i, &backup);
            fake_start(cluster, i);
        }
        memory_disk_fail_from(cluster->worlds[failing].disk, step, ERR_IO);
        fake_run(cluster, 3000);
        memory_disk_fail(cluster->worlds[failing].disk, 0, ERR_OK);
        failed_count += node_problem(cluster->worlds[failing].node) != NULL ? 1 : 0;
        fake_crash(cluster, failing);
        fake_start(cluster, failing);

        assert_true(fake_run_until(cluster, all_formed, NULL, 10000));
        assert_restored(cluster, &backup);
        fake_cluster_close(cluster);
    }
    assert_true(failed_count > 10);
    free(backup.data);
    (void)state;
}

static void a_damaged_backup_is_refused_at_the_start(void **state)
{
    struct saved backup = make_backup(41);

    for (size_t at = 0; at < backup.size; at += backup.size / 16) {
        struct fake_cluster *cluster = fake_cluster_open(3, 45);
        const char *problem = "";

        give(cluster, 0, &backup);
        memory_disk_flip_bit(cluster->worlds[0].disk, NODE_RESTORE_NAME, 8 * at + 3);
        assert_int_equal(fake_try_start(cluster, 0, &problem), ERR_CORRUPT);
        assert_non_null(strstr(problem, "restore"));
        fake_cluster_close(cluster);
    }
    free(backup.data);
    (void)state;
}

static void who_joins_later_needs_no_backup(void **state)
{
    struct saved backup = make_backup(41);
    struct fake_cluster *cluster = fake_cluster_open(3, 46);

    for (uint32_t i = 0; i < 3; i++) {
        give(cluster, i, &backup);
    }
    fake_start_all(cluster);
    assert_true(fake_run_until(cluster, all_formed, NULL, 10000));
    uint32_t wiped = (fake_leader(cluster) + 1) % 3;
    fake_crash(cluster, wiped);
    fake_wipe(cluster, wiped);
    fake_start(cluster, wiped);

    assert_true(fake_run_until(cluster, all_formed, NULL, 20000));
    fake_run(cluster, 3000);
    assert_restored(cluster, &backup);
    free(backup.data);
    fake_cluster_close(cluster);
    (void)state;
}

static void who_joins_with_a_backup_takes_the_clusters_state(void **state)
{
    struct saved backup = make_backup(41);
    struct saved other = make_backup(43);
    struct fake_cluster *cluster = fake_cluster_open(3, 47);

    for (uint32_t i = 0; i < 3; i++) {
        give(cluster, i, &backup);
    }
    fake_start_all(cluster);
    assert_true(fake_run_until(cluster, all_formed, NULL, 10000));
    uint32_t wiped = (fake_leader(cluster) + 1) % 3;
    fake_crash(cluster, wiped);
    fake_wipe(cluster, wiped);
    give(cluster, wiped, &other);
    fake_start(cluster, wiped);

    assert_true(fake_run_until(cluster, all_formed, NULL, 20000));
    fake_run(cluster, 3000);
    assert_restored(cluster, &backup);
    free(backup.data);
    free(other.data);
    fake_cluster_close(cluster);
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_with_one_backup_found_a_cluster_with_its_state),
        cmocka_unit_test(no_cluster_is_founded_while_one_lacks_the_backup_or_has_another),
        cmocka_unit_test(a_founder_whose_disk_fails_at_any_step_still_founds),
        cmocka_unit_test(a_damaged_backup_is_refused_at_the_start),
        cmocka_unit_test(who_joins_later_needs_no_backup),
        cmocka_unit_test(who_joins_with_a_backup_takes_the_clusters_state),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
