/* Tests of node/shipping.c, node/installation.c, node/compaction.c: snapshots between nodes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/checksum.h"
#include "kv/kv.h"
#include "node/internal.h"
#include "tests/support/base/memory_table.h"
#include "tests/support/log/memory_disk.h"
#include "tests/support/node/fake_world.h"

enum { VALUE_SIZE = 100000, KEY_COUNT = 16, CATCH_UP_MS = 20000 };

/* A cluster that takes snapshots often; its leader. */
static struct fake_cluster *open_cluster(uint32_t node_count, uint64_t seed)
{
    struct fake_cluster *cluster = fake_cluster_open(node_count, seed);

    for (uint32_t i = 0; i < node_count; i++) {
        struct node_options *options = &cluster->worlds[i].options;

        options->commit_interval_ms = 50;
        options->snapshot_log_size = 1 << 20;
    }
    fake_start_all(cluster);
    return cluster;
}

/* `count` values of 100,000 bytes, one after the other. */
static void put_many(struct fake_cluster *cluster, uint32_t client, uint32_t count)
{
    static char value[VALUE_SIZE + 1];
    char key[32];

    memset(value, 'v', VALUE_SIZE);
    for (uint32_t i = 0; i < count; i++) {
        snprintf(key, sizeof(key), "k%u", i % KEY_COUNT);
        snprintf(value, sizeof(value), "%u %llu", i, (unsigned long long)cluster->now_ms);
        value[strlen(value)] = ' ';
        assert_int_equal(fake_outcome(cluster, client, fake_put(cluster, client, 0, 0, key, value)),
                         ERR_OK);
    }
}

static const struct node *node_at(const struct fake_cluster *cluster, uint32_t place)
{
    return cluster->worlds[place].node;
}

static bool has_caught_up(struct fake_cluster *cluster, void *context)
{
    const uint32_t *place = context;
    uint32_t leader = *place == 0 ? 1 : 0;
    raft_index most = 0;

    for (uint32_t i = 0; i < cluster->node_count; i++) {
        raft_index commit = cluster->worlds[i].runs ? node_at(cluster, i)->status.commit_index : 0;

        most = commit > most ? commit : most;
    }
    return leader < cluster->node_count && !node_state_is_away(node_at(cluster, *place)) &&
           machine_applied_index(node_at(cluster, *place)->machine) >= most;
}

/* Nothing comes through, and what was under way is lost. */
static void cut_off(struct fake_cluster *cluster, uint32_t place)
{
    fake_isolate(cluster, place, true);
    for (uint32_t i = 0; i < cluster->node_count; i++) {
        if (i != place) {
            fake_break(cluster, place, i);
        }
    }
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

static void a_follower_that_was_away_catches_up_by_snapshot(void **state)
{
    struct fake_cluster *cluster = open_cluster(3, 1);
    uint32_t leader = fake_leader(cluster);
    uint32_t away = (leader + 1) % 3;
    uint32_t client = fake_client_open(cluster, leader);

    cut_off(cluster, away);
    put_many(cluster, client, 80);
    raft_index behind = machine_applied_index(node_at(cluster, away)->machine);
    assert_true(node_at(cluster, leader)->status.base_index > behind);
    fake_isolate(cluster, away, false);

    assert_true(fake_run_until(cluster, has_caught_up, &away, CATCH_UP_MS));

    assert_true(fake_has_logged(cluster, away, "snapshot_installed"));
    assert_equal_states(cluster);
    fake_cluster_close(cluster);
    (void)state;
}

/* --- Connections that break ------------------------------------------------------------------- */

struct share {
    uint32_t place;
    uint64_t bytes;
};

static bool has_taken(struct fake_cluster *cluster, void *context)
{
    const struct share *share = context;

    return node_at(cluster, share->place)->installation.taken_bytes >= share->bytes;
}

static void a_shipment_goes_on_by_bytes_when_the_connection_was_cut_twice(void **state)
{
    struct fake_cluster *cluster = open_cluster(3, 2);
    uint32_t leader = fake_leader(cluster);
    uint32_t away = (leader + 1) % 3;
    uint32_t client = fake_client_open(cluster, leader);

    cluster->worlds[leader].options.shipping_pace = 4 << 20;
    cut_off(cluster, away);
    put_many(cluster, client, 80);
    fake_isolate(cluster, away, false);
    for (uint64_t cut = 1; cut <= 2; cut++) {
        struct share share = {.place = away, .bytes = cut * 500000};

        assert_true(fake_run_until(cluster, has_taken, &share, CATCH_UP_MS));
        cut_off(cluster, away);
        fake_run(cluster, 100);
        fake_isolate(cluster, away, false);
    }
    assert_true(fake_run_until(cluster, has_caught_up, &away, CATCH_UP_MS));

    uint64_t size = node_at(cluster, away)->installation.offer.size;
    uint64_t sent = node_at(cluster, leader)->shipping.sent_bytes;
    assert_true(fake_has_logged(cluster, away, "snapshot_installed"));
    assert_true(fake_has_logged(cluster, leader, "snapshot_sending"));
    assert_true(fake_has_logged(cluster, leader, "snapshot_sent "));
    assert_int_equal(node_at(cluster, away)->installation.taken_bytes, size);
    assert_true(sent >= size);
    assert_true(sent <= size + UINT64_C(2) * SHIPMENT_WINDOW_SIZE);
    assert_equal_states(cluster);
    fake_cluster_close(cluster);
    (void)state;
}

/* --- Clients ---------------------------------------------------------------------------------- */

/* The session, its stored result and its token are in the snapshot: when that node leads, a request
 * that is repeated is not executed again, and the lock is still held. */
static void sessions_results_and_tokens_survive_an_installation(void **state)
{
    struct fake_cluster *cluster = open_cluster(3, 3);
    uint32_t leader = fake_leader(cluster);
    uint32_t away = (leader + 1) % 3;
    uint32_t third = (leader + 2) % 3;
    uint32_t client = fake_client_open(cluster, leader);

    cut_off(cluster, away);
    uint64_t session = fake_open_session(cluster, client, 60000);
    uint64_t id = fake_acquire(cluster, client, session, 1, "L", false);
    struct bytes body = fake_answer(cluster, client, id)->body;
    struct wire_lock_acquire_result acquired;
    assert_int_equal(wire_lock_acquire_result_decode(&body, &acquired), ERR_OK);
    body = fake_answer(cluster, client, fake_put(cluster, client, session, 2, "x", "1"))->body;
    struct wire_put_result put;
    assert_int_equal(wire_put_result_decode(&body, &put), ERR_OK);
    put_many(cluster, client, 80);
    fake_isolate(cluster, away, false);
    assert_true(fake_run_until(cluster, has_caught_up, &away, CATCH_UP_MS));
    assert_true(fake_has_logged(cluster, away, "snapshot_installed"));

    /* Only the one that installed can lead: the third has not heard the last entry. */
    fake_isolate(cluster, third, true);
    client = fake_client_open(cluster, leader);
    assert_int_equal(fake_outcome(cluster, client, fake_put(cluster, client, 0, 0, "y", "1")),
                     ERR_OK);
    fake_crash(cluster, leader);
    fake_isolate(cluster, third, false);
    assert_int_equal(fake_leader(cluster), away);
    client = fake_client_open(cluster, away);
    body = fake_answer(cluster, client, fake_put(cluster, client, session, 2, "x", "1"))->body;
    struct wire_put_result again;
    assert_int_equal(wire_put_result_decode(&body, &again), ERR_OK);
    body =
        fake_answer(cluster, client, fake_acquire(cluster, client, session, 3, "L", false))->body;
    struct wire_lock_acquire_result held;
    assert_int_equal(wire_lock_acquire_result_decode(&body, &held), ERR_OK);

    assert_int_equal(again.revision, put.revision);
    assert_int_equal(held.token, acquired.token);
    fake_cluster_close(cluster);
    (void)state;
}

/* Sends a transaction that puts "t" when "bound" exists, and reads it; else it puts "wrong". */
static struct wire_transact_result transact(struct fake_cluster *cluster, uint32_t client,
                                            uint64_t session, uint64_t sequence)
{
    uint8_t memory[1024];
    uint8_t items_memory[512];
    struct buffer params = buffer_of(memory, sizeof(memory));
    struct buffer items = buffer_of(items_memory, sizeof(items_memory));
    const struct wire_compare compare = {.key = bytes_of_text("bound"),
                                         .test = bytes_of_text("exists")};
    const struct wire_operation put = {.action = bytes_of_text("put"), .key = bytes_of_text("t")};
    const struct wire_operation read = {.action = bytes_of_text("get"), .key = bytes_of_text("t")};
    struct wire_transact request = {.session = session, .sequence = sequence};
    struct wire_transact_result result;

    assert_true(wire_compare_encode(&compare, &items));
    request.compares = (struct wire_items){.raw = buffer_bytes(&items), .count = 1};
    size_t begin = items.size;
    assert_true(wire_operation_encode(&put, &items) && wire_operation_encode(&read, &items));
    request.success =
        (struct wire_items){.raw = bytes_of(items_memory + begin, items.size - begin), .count = 2};
    assert_true(wire_transact_encode(&request, &params));
    uint64_t id = fake_request(cluster, client, WIRE_METHOD_transact, &params);
    struct bytes body = fake_answer(cluster, client, id)->body;
    assert_int_equal(wire_transact_result_decode(&body, &result), ERR_OK);
    return result;
}

static uint64_t put_bound(struct fake_cluster *cluster, uint32_t client, uint64_t session,
                          uint64_t sequence, const char *key)
{
    uint8_t memory[256];
    struct buffer params = buffer_of(memory, sizeof(memory));
    const struct wire_put put = {
        .session = session, .sequence = sequence, .key = bytes_of_text(key), .bind = true};

    assert_true(wire_put_encode(&put, &params));
    return fake_request(cluster, client, WIRE_METHOD_put, &params);
}

static uint64_t end_session(struct fake_cluster *cluster, uint32_t client, uint64_t session)
{
    uint8_t memory[64];
    struct buffer params = buffer_of(memory, sizeof(memory));
    const struct wire_session_end request = {.session = session};

    assert_true(wire_session_end_encode(&request, &params));
    return fake_request(cluster, client, WIRE_METHOD_session_end, &params);
}

/* What a node holds that leads by an installed snapshot alone: a transaction of before is not
 * executed again, and bound keys end with their session. */
static void transactions_and_bound_keys_survive_an_installation(void **state)
{
    struct kv_dropped_key dropped;
    enum { BOUND_COUNT = 200 }; /* More than one entry takes away. */
    struct fake_cluster *cluster = open_cluster(3, 4);
    uint32_t leader = fake_leader(cluster);
    uint32_t away = (leader + 1) % 3;
    uint32_t third = (leader + 2) % 3;
    uint32_t client = fake_client_open(cluster, leader);
    uint64_t sequence = 0;
    char key[16];

    cut_off(cluster, away);
    uint64_t session = fake_open_session(cluster, client, 60000);
    uint64_t id = put_bound(cluster, client, session, ++sequence, "bound");
    assert_int_equal(fake_outcome(cluster, client, id), ERR_OK);
    struct wire_transact_result first = transact(cluster, client, session, ++sequence);
    for (unsigned i = 0; i < BOUND_COUNT; i++) {
        snprintf(key, sizeof(key), "b%u", i);
        id = put_bound(cluster, client, session, ++sequence, key);
        assert_int_equal(fake_outcome(cluster, client, id), ERR_OK);
    }
    struct wire_transact_result last = transact(cluster, client, session, ++sequence);
    assert_true(first.succeeded && last.succeeded && last.pairs.count == 1);
    put_many(cluster, client, 80);
    fake_isolate(cluster, away, false);
    assert_true(fake_run_until(cluster, has_caught_up, &away, CATCH_UP_MS));
    assert_true(fake_has_logged(cluster, away, "snapshot_installed"));

    /* Only the one that installed can lead: the third has not heard the last entry. */
    fake_isolate(cluster, third, true);
    client = fake_client_open(cluster, leader);
    assert_int_equal(fake_outcome(cluster, client, fake_put(cluster, client, 0, 0, "y", "1")),
                     ERR_OK);
    fake_crash(cluster, leader);
    fake_isolate(cluster, third, false);
    assert_int_equal(fake_leader(cluster), away);
    client = fake_client_open(cluster, away);
    struct wire_transact_result again = transact(cluster, client, session, sequence);
    assert_true(again.repeated && again.succeeded && again.pairs.count == 0);
    assert_true(again.revision == last.revision && again.found == last.found);

    assert_int_equal(fake_outcome(cluster, client, fake_get(cluster, client, "b199")), ERR_OK);
    id = end_session(cluster, client, session);
    assert_int_equal(fake_outcome(cluster, client, id), ERR_OK);
    assert_int_equal(fake_outcome(cluster, client, fake_get(cluster, client, "bound")),
                     ERR_NOT_FOUND);
    assert_int_equal(fake_outcome(cluster, client, fake_get(cluster, client, "b199")),
                     ERR_NOT_FOUND);
    assert_int_equal(fake_outcome(cluster, client, fake_get(cluster, client, "t")), ERR_OK);

    /* The leader proposes ticks by itself until no record is left, and then none. */
    fake_run(cluster, 1000);
    for (uint32_t i = 0; i < 3; i++) {
        if (cluster->worlds[i].runs) {
            kv_check(cluster->worlds[i].table);
            assert_int_equal(kv_drop(cluster->worlds[i].table, &dropped), KV_DROPPED_NOTHING);
            assert_int_equal(kv_session_of(cluster->worlds[i].table, bytes_of_text("b199")), 0);
        }
    }
    raft_index applied = fake_status(cluster, away).applied;
    fake_run(cluster, 1000);
    assert_int_equal(fake_status(cluster, away).applied, applied);
    fake_cluster_close(cluster);
    (void)state;
}

/* --- Versions --------------------------------------------------------------------------------- */

/* As another version would have written this block of a snapshot. */
static void age_block(struct disk *disk, const char *name, uint64_t offset, size_t size)
{
    uint8_t *block = malloc(size);

    memcpy(block, memory_disk_file(disk, name).data + offset, size);
    store_u16(block + 12, SNAPSHOT_FORMAT_VERSION - 1);
    store_u64(block, checksum(bytes_of(block + 8, size - 8), SNAPSHOT_MAGIC));
    memory_disk_overwrite(disk, name, offset, bytes_of(block, size));
    free(block);
}

static void age_snapshots(struct disk *disk)
{
    for (uint32_t i = 0; i < memory_disk_file_count(disk); i++) {
        const char *name = memory_disk_file_name(disk, i);
        struct bytes file = memory_disk_file(disk, name);

        if (strncmp(name, "snap-", 5) == 0) {
            age_block(disk, name, 0, load_u32(file.data + 16));
            age_block(disk, name, file.size - SNAPSHOT_END_SIZE, SNAPSHOT_END_SIZE);
        }
    }
}

static void a_state_of_another_version_is_refused_with_advice(void **state)
{
    struct fake_cluster *cluster = open_cluster(3, 5);
    uint32_t leader = fake_leader(cluster);
    uint32_t client = fake_client_open(cluster, leader);
    const char *problem = NULL;

    put_many(cluster, client, 80);
    fake_run(cluster, 1000);
    assert_true(node_at(cluster, leader)->status.base_index > 0);
    fake_crash(cluster, leader);
    age_snapshots(cluster->worlds[leader].disk);

    assert_int_equal(fake_try_start(cluster, leader, &problem), ERR_VERSION);
    assert_non_null(strstr(problem, "written by another version"));
    fake_cluster_close(cluster);
    (void)state;
}

/* --- Crashes ---------------------------------------------------------------------------------- */

/* The receiver loses its power so many ms after it is back: while it takes chunks, verifies,
 * publishes, loads, begins its log anew, or afterwards. */
static bool crash_after(uint32_t ms)
{
    struct fake_cluster *cluster = open_cluster(3, 100 + ms);
    uint32_t leader = fake_leader(cluster);
    uint32_t away = (leader + 1) % 3;
    uint32_t client = fake_client_open(cluster, leader);

    cut_off(cluster, away);
    put_many(cluster, client, 80);
    fake_isolate(cluster, away, false);
    fake_run(cluster, ms);
    bool was_installed = fake_has_logged(cluster, away, "snapshot_installed");
    fake_crash(cluster, away);
    fake_run(cluster, 20);
    fake_start(cluster, away);
    assert_true(fake_run_until(cluster, has_caught_up, &away, CATCH_UP_MS));
    assert_false(fake_has_logged(cluster, away, "restoring"));
    client = fake_client_open(cluster, fake_leader(cluster));
    put_many(cluster, client, 2);
    assert_equal_states(cluster);
    fake_cluster_close(cluster);
    return was_installed;
}

static void a_crash_at_any_moment_of_an_installation_is_recovered_from(void **state)
{
    uint32_t after_count = 0;
    uint32_t ms = 0;

    for (; after_count < 10 && ms < 600; ms += 2) {
        after_count += crash_after(ms) ? 1 : 0;
    }
    assert_int_equal(after_count, 10);
    assert_true(ms > 60);
    (void)state;
}

/* --- The folder ------------------------------------------------------------------------------- */

static uint64_t folder_size(struct fake_cluster *cluster, uint32_t place)
{
    struct disk *disk = cluster->worlds[place].disk;
    uint64_t size = 0;

    for (uint32_t i = 0; i < memory_disk_file_count(disk); i++) {
        size += memory_disk_file(disk, memory_disk_file_name(disk, i)).size;
    }
    return size;
}

static void endless_writes_keep_the_folder_bounded(void **state)
{
    struct fake_cluster *cluster = open_cluster(3, 4);
    uint32_t leader = fake_leader(cluster);
    uint32_t client = fake_client_open(cluster, leader);
    uint64_t live = (uint64_t)KEY_COUNT * VALUE_SIZE;
    uint64_t segment = cluster->worlds[0].options.segment_size;
    uint64_t log = cluster->worlds[0].options.snapshot_log_size;
    uint64_t most = 0;

    for (uint32_t i = 0; i < 40; i++) {
        put_many(cluster, client, 25); /* 100 MB in all. */
        for (uint32_t place = 0; place < 3; place++) {
            uint64_t size = folder_size(cluster, place);

            most = size > most ? size : most;
        }
    }

    /* docs/node.md: growth, front and active segment, two ahead, what is kept, two snapshots. */
    assert_true(most <= 2 * log + 5 * segment + 3 * live);
    fake_cluster_close(cluster);
    (void)state;
}

/* It answers heartbeats and acknowledges nothing: each new snapshot must not give it more time. */
static void a_follower_that_stands_still_does_not_keep_the_log_for_ever(void **state)
{
    struct fake_cluster *cluster = open_cluster(3, 8);
    uint32_t leader = fake_leader(cluster);
    uint32_t client = fake_client_open(cluster, leader);
    uint64_t live = (uint64_t)KEY_COUNT * VALUE_SIZE;
    uint64_t segment = cluster->worlds[0].options.segment_size;
    uint64_t log = cluster->worlds[0].options.snapshot_log_size;

    cluster->worlds[(leader + 1) % 3].disk_is_stalled = true;
    put_many(cluster, client, 400); /* 40 MB. */

    assert_true(folder_size(cluster, leader) <= 3 * log + live + 5 * segment + 3 * live);
    cluster->worlds[(leader + 1) % 3].disk_is_stalled = false;
    uint32_t away = (leader + 1) % 3;
    assert_true(fake_run_until(cluster, has_caught_up, &away, CATCH_UP_MS));
    assert_equal_states(cluster);
    fake_cluster_close(cluster);
    (void)state;
}

/* --- Restarts --------------------------------------------------------------------------------- */

static void a_node_restarts_from_its_snapshot_after_a_power_cut(void **state)
{
    struct fake_cluster *cluster = open_cluster(3, 5);
    uint32_t client = fake_client_open(cluster, fake_leader(cluster));

    put_many(cluster, client, 100);
    for (uint32_t i = 0; i < 3; i++) {
        fake_crash(cluster, i);
    }
    fake_start_all(cluster);
    raft_index base = node_at(cluster, 0)->status.base_index;
    fake_leader(cluster);

    assert_true(base > 0);
    assert_false(fake_has_logged(cluster, 0, "restoring"));
    assert_equal_states(cluster);
    fake_cluster_close(cluster);
    (void)state;
}

static void a_node_that_stopped_in_order_goes_on_from_its_table(void **state)
{
    struct fake_cluster *cluster = open_cluster(3, 6);
    uint32_t client = fake_client_open(cluster, fake_leader(cluster));

    put_many(cluster, client, 60);
    for (uint32_t i = 0; i < 3; i++) {
        fake_stop(cluster, i, 3000);
    }
    for (uint32_t i = 0; i < 3; i++) {
        uint64_t commits = memory_table_commit_count(cluster->worlds[i].table);

        fake_start(cluster, i);
        assert_int_equal(memory_table_commit_count(cluster->worlds[i].table), commits);
        assert_true(machine_applied_index(node_at(cluster, i)->machine) >
                    node_at(cluster, i)->status.base_index);
    }
    fake_leader(cluster);
    client = fake_client_open(cluster, fake_leader(cluster));
    put_many(cluster, client, 60); /* Snapshots are taken as before. */
    assert_equal_states(cluster);
    fake_cluster_close(cluster);
    (void)state;
}

/* Every file but the newest snapshot reaches back to the one before, or another node has it. */
static void a_rotten_snapshot_is_made_up_for(void **state)
{
    struct fake_cluster *cluster = open_cluster(3, 7);
    uint32_t leader = fake_leader(cluster);
    uint32_t rotten = (leader + 1) % 3;
    uint32_t client = fake_client_open(cluster, leader);
    char name[DISK_NAME_SIZE] = "";

    put_many(cluster, client, 80);
    fake_crash(cluster, rotten);
    struct disk *disk = cluster->worlds[rotten].disk;

    for (uint32_t i = 0; i < memory_disk_file_count(disk); i++) {
        const char *found = memory_disk_file_name(disk, i);

        if (strncmp(found, "snap-", 5) == 0 && strchr(found, '.') == NULL) {
            snprintf(name, sizeof(name), "%s", found);
        }
    }
    assert_string_not_equal(name, "");
    memory_disk_flip_bit(disk, name, UINT64_C(8) * 100000);
    fake_start(cluster, rotten);

    assert_true(fake_run_until(cluster, has_caught_up, &rotten, CATCH_UP_MS));
    assert_true(fake_has_logged(cluster, rotten, "snapshot_refused"));
    assert_equal_states(cluster);
    fake_cluster_close(cluster);
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_follower_that_was_away_catches_up_by_snapshot),
        cmocka_unit_test(a_shipment_goes_on_by_bytes_when_the_connection_was_cut_twice),
        cmocka_unit_test(sessions_results_and_tokens_survive_an_installation),
        cmocka_unit_test(transactions_and_bound_keys_survive_an_installation),
        cmocka_unit_test(a_state_of_another_version_is_refused_with_advice),
        cmocka_unit_test(a_crash_at_any_moment_of_an_installation_is_recovered_from),
        cmocka_unit_test(endless_writes_keep_the_folder_bounded),
        cmocka_unit_test(a_follower_that_stands_still_does_not_keep_the_log_for_ever),
        cmocka_unit_test(a_node_restarts_from_its_snapshot_after_a_power_cut),
        cmocka_unit_test(a_node_that_stopped_in_order_goes_on_from_its_table),
        cmocka_unit_test(a_rotten_snapshot_is_made_up_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
