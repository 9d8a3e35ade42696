/* Tests of node/rescue.c, node/refounding.c, node/snapshot_file.c: one folder becomes a cluster. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/internal.h"
#include "node/refounding.h"
#include "node/rescue.h"
#include "node/snapshot_file.h"
#include "tests/support/base/memory_table.h"
#include "tests/support/log/memory_disk.h"
#include "tests/support/node/fake_world.h"

enum { KEY_COUNT = 12, VALUE_SIZE = 100000, TTL_MS = 20000, MARK_SIZE = 3 };

#define DAMAGED_BIT UINT64_C(33600) /* In the first pairs. */

static const struct rescue_lots lots = {.cluster = {0x77, 1, 2, 3}, .incarnation = 4711};

/* --- A cluster that is lost ------------------------------------------------------------------- */

static void put_keys(struct fake_cluster *cluster, uint32_t client, const char *first)
{
    static char value[VALUE_SIZE + 1];
    char key[8];

    memset(value, 'v', VALUE_SIZE);
    memcpy(value, first, MARK_SIZE); /* Not its zero. */
    for (uint32_t i = 0; i < KEY_COUNT; i++) {
        snprintf(key, sizeof(key), "k%u", i);
        assert_int_equal(fake_outcome(cluster, client, fake_put(cluster, client, 0, 0, key, value)),
                         ERR_OK);
    }
}

static uint64_t take_lock(struct fake_cluster *cluster, uint32_t client)
{
    uint64_t session = fake_open_session(cluster, client, TTL_MS);
    uint64_t id = fake_acquire(cluster, client, session, 1, "lock", true);
    struct bytes body = fake_answer(cluster, client, id)->body;
    struct wire_lock_acquire_result result;

    assert_int_equal(wire_lock_acquire_result_decode(&body, &result), ERR_OK);
    assert_true(result.token != 0);
    return result.token;
}

/* Three nodes with keys, a held lock, and, if `has_snapshot`, a log that was cut; all without power
 * now. */
static struct fake_cluster *open_lost(bool has_snapshot, uint64_t *token)
{
    struct fake_cluster *cluster = fake_cluster_open(3, 31);

    for (uint32_t i = 0; i < 3; i++) {
        cluster->worlds[i].options.commit_interval_ms = 50;
        cluster->worlds[i].options.snapshot_log_size = has_snapshot ? 1 << 20 : 1 << 30;
    }
    fake_start_all(cluster);
    uint32_t client = fake_client_open(cluster, fake_leader(cluster));

    put_keys(cluster, client, "old");
    put_keys(cluster, client, "new");
    *token = take_lock(cluster, client);
    fake_run(cluster, 500);
    for (uint32_t i = 0; i < 3; i++) {
        fake_crash(cluster, i);
    }
    return cluster;
}

/* --- A recovery ------------------------------------------------------------------------------- */

struct recovery {
    struct table *table;
    void *memory;
    struct rescue *rescue;
    struct rescue_report report;
    const char *problem;
    enum error error;
};

static void recovery_look(struct recovery *recovery, struct fake_cluster *cluster,
                          struct disk *disk)
{
    const struct node_options *options = &cluster->worlds[0].options;
    struct arena arena;

    *recovery = (struct recovery){.table = memory_table_open(), .problem = ""};
    size_t size = size_round_up(rescue_memory_size(options), ARENA_ALIGNMENT);

    recovery->memory = aligned_alloc(ARENA_ALIGNMENT, size);
    assert_non_null(recovery->memory);
    arena_init(&arena, recovery->memory, size);
    recovery->error = rescue_open(&recovery->rescue, &arena, options, disk, &recovery->problem);
    if (recovery->error == ERR_OK) {
        rescue_describe(recovery->rescue, &recovery->report);
    }
}

static void recovery_close(struct recovery *recovery)
{
    memory_table_close(recovery->table);
    free(recovery->memory);
}

/* Looks and does; the hash of the new state. */
static enum error recover(struct fake_cluster *cluster, struct disk *disk, uint64_t *hash)
{
    struct recovery recovery;

    recovery_look(&recovery, cluster, disk);
    enum error error = recovery.error;

    if (error == ERR_OK) {
        error = rescue_run(recovery.rescue, recovery.table, &lots, &recovery.problem);
    }
    *hash = table_hash(recovery.table);
    recovery_close(&recovery);
    return error;
}

static bool is_new(struct disk *disk)
{
    struct identity identity;

    assert_int_equal(identity_load(disk, &identity), ERR_OK);
    return memcmp(identity.cluster, lots.cluster, IDENTITY_CLUSTER_SIZE) == 0;
}

/* --- The laws --------------------------------------------------------------------------------- */

static void all_that_the_folder_has_is_in_the_new_cluster(bool has_snapshot)
{
    uint64_t token = 0;
    uint64_t hash = 0;
    struct fake_cluster *cluster = open_lost(has_snapshot, &token);

    assert_int_equal(recover(cluster, cluster->worlds[0].disk, &hash), ERR_OK);
    fake_start(cluster, 0);
    uint32_t leader = fake_leader(cluster); /* Alone: the two others do not run. */
    uint32_t client = fake_client_open(cluster, leader);

    assert_int_equal(leader, 0);
    for (uint32_t i = 0; i < KEY_COUNT; i++) {
        char key[8];
        struct wire_get_result result;

        snprintf(key, sizeof(key), "k%u", i);
        struct bytes body = fake_answer(cluster, client, fake_get(cluster, client, key))->body;
        assert_int_equal(wire_get_result_decode(&body, &result), ERR_OK);
        assert_int_equal(result.value.size, VALUE_SIZE);
        assert_memory_equal(result.value.data, "new", MARK_SIZE);
        assert_true(result.revision < REFOUNDING_STEP);
    }
    assert_int_equal(take_lock(cluster, client), token + REFOUNDING_STEP + 1);
    assert_true(fake_status(cluster, 0).applied > REFOUNDING_STEP);
    assert_int_equal(fake_status(cluster, 0).sessions, 1);
    fake_cluster_close(cluster);
}

static void a_log_alone_is_recovered(void **state)
{
    all_that_the_folder_has_is_in_the_new_cluster(false);
    (void)state;
}

static void a_snapshot_and_the_log_behind_it_are_recovered(void **state)
{
    all_that_the_folder_has_is_in_the_new_cluster(true);
    (void)state;
}

static void every_folder_of_a_cluster_gives_the_same_state(void **state)
{
    uint64_t token = 0;
    uint64_t first = 0;
    struct fake_cluster *cluster = open_lost(true, &token);

    assert_int_equal(recover(cluster, cluster->worlds[0].disk, &first), ERR_OK);
    for (uint32_t i = 1; i < 3; i++) {
        uint64_t other = 0;

        assert_int_equal(recover(cluster, cluster->worlds[i].disk, &other), ERR_OK);
        assert_int_equal(other, first);
    }
    fake_cluster_close(cluster);
    (void)state;
}

static void a_recovery_cut_off_at_any_step_leaves_the_old_folder_or_the_new(void **state)
{
    uint64_t token = 0;
    uint64_t hash = 0;
    uint32_t old_count = 0;
    uint32_t new_count = 0;
    struct fake_cluster *cluster = open_lost(true, &token);
    struct disk *lost = cluster->worlds[0].disk;
    struct disk *whole = memory_disk_copy(lost);
    uint64_t before = memory_disk_operation_count(whole);

    assert_int_equal(recover(cluster, whole, &hash), ERR_OK);
    uint64_t count = memory_disk_operation_count(whole) - before;
    for (uint64_t step = 1; step <= count; step++) {
        struct disk *disk = memory_disk_copy(lost);
        uint64_t again = hash;

        memory_disk_fail_from(disk, step, ERR_IO);
        assert_int_not_equal(recover(cluster, disk, &again), ERR_OK);
        memory_disk_fail(disk, 0, ERR_OK);
        memory_disk_crash(disk, NULL, NULL);

        assert_int_equal(refounding_finish(disk), ERR_OK);
        if (is_new(disk)) {
            new_count++;
        } else {
            old_count++;
            assert_int_equal(recover(cluster, disk, &again), ERR_OK);
            assert_int_equal(again, hash);
        }
        cluster->worlds[0].disk = disk;
        fake_start(cluster, 0);
        assert_int_equal(fake_leader(cluster), 0);
        fake_crash(cluster, 0);
        cluster->worlds[0].disk = lost;
        memory_disk_close(disk);
    }
    assert_true(old_count > 0 && new_count > 0);
    memory_disk_close(whole);
    fake_cluster_close(cluster);
    (void)state;
}

static void a_folder_tells_how_far_it_reaches(void **state)
{
    uint64_t token = 0;
    struct fake_cluster *cluster = open_lost(true, &token);
    struct recovery recovery;

    recovery_look(&recovery, cluster, cluster->worlds[0].disk);

    assert_int_equal(recovery.error, ERR_OK);
    assert_null(recovery.report.loss);
    assert_string_equal(recovery.report.identity->name, "n1");
    assert_int_equal(recovery.report.members->member_count, 3);
    assert_true(recovery.report.snapshot_index > 0);
    assert_true(recovery.report.last_index >= recovery.report.commit_index);
    assert_true(recovery.report.commit_index >= recovery.report.snapshot_index);
    assert_true(recovery.report.last_term > 0);
    recovery_close(&recovery);
    fake_cluster_close(cluster);
    (void)state;
}

static void what_a_folder_has_lost_itself_is_told_and_the_rest_recovered(void **state)
{
    uint64_t token = 0;
    uint64_t hash = 0;
    struct fake_cluster *cluster = open_lost(true, &token);
    struct disk *disk = cluster->worlds[0].disk;
    struct recovery recovery;
    char newest[DISK_NAME_SIZE] = "";

    for (uint32_t i = 0; i < memory_disk_file_count(disk); i++) {
        const char *name = memory_disk_file_name(disk, i);

        if (strncmp(name, "snap-", 5) == 0) {
            snprintf(newest, sizeof(newest), "%s", name);
        }
    }
    memory_disk_flip_bit(disk, newest, DAMAGED_BIT);
    recovery_look(&recovery, cluster, disk);
    assert_int_equal(recovery.error, ERR_OK);
    assert_string_equal(recovery.report.loss,
                        "the log goes on from a snapshot that is not there any more");
    recovery_close(&recovery);

    assert_int_equal(recover(cluster, disk, &hash), ERR_OK);
    fake_start(cluster, 0);
    assert_int_equal(fake_leader(cluster), 0);
    fake_cluster_close(cluster);
    (void)state;
}

static void a_folder_without_a_cluster_is_refused(void **state)
{
    struct fake_cluster *cluster = fake_cluster_open(1, 32);
    struct disk *disk = memory_disk_open();
    struct identity identity = {.incarnation = 99, .name = "n1"};
    uint64_t hash = 0;

    assert_int_equal(recover(cluster, disk, &hash), ERR_MISSING);
    assert_int_equal(identity_save(disk, &identity), ERR_OK);
    assert_int_equal(recover(cluster, disk, &hash), ERR_MISSING);

    memory_disk_close(disk);
    fake_cluster_close(cluster);
    (void)state;
}

static void a_damaged_note_of_a_recovery_is_never_followed(void **state)
{
    uint64_t token = 0;
    struct fake_cluster *cluster = open_lost(false, &token);
    struct disk *disk = cluster->worlds[0].disk;
    struct identity identity;
    static uint8_t note[IDENTITY_SIZE + 16];

    /* One that is whole but for its checksum. */
    assert_int_equal(identity_load(disk, &identity), ERR_OK);
    identity_encode(note, &identity);
    memory_disk_put(disk, "refounded", bytes_of(note, sizeof(note)));
    uint32_t count = memory_disk_file_count(disk);

    assert_int_equal(refounding_finish(disk), ERR_CORRUPT);
    assert_int_equal(memory_disk_file_count(disk), count);
    const char *problem = "";
    assert_int_equal(fake_try_start(cluster, 0, &problem), ERR_CORRUPT);
    assert_non_null(strstr(problem, "refounded"));
    fake_cluster_close(cluster);
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_log_alone_is_recovered),
        cmocka_unit_test(a_snapshot_and_the_log_behind_it_are_recovered),
        cmocka_unit_test(every_folder_of_a_cluster_gives_the_same_state),
        cmocka_unit_test(a_recovery_cut_off_at_any_step_leaves_the_old_folder_or_the_new),
        cmocka_unit_test(a_folder_tells_how_far_it_reaches),
        cmocka_unit_test(what_a_folder_has_lost_itself_is_told_and_the_rest_recovered),
        cmocka_unit_test(a_folder_without_a_cluster_is_refused),
        cmocka_unit_test(a_damaged_note_of_a_recovery_is_never_followed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
