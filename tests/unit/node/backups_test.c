/* Tests of node/backups.c: a client fetches a snapshot from the leader. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "node/internal.h"
#include "tests/support/log/memory_disk.h"
#include "tests/support/node/fake_world.h"

enum { VALUE_SIZE = 50000, PARAMS_SIZE = 64 };

static uint64_t send_open(struct fake_cluster *cluster, uint32_t client, uint64_t index_min)
{
    uint8_t memory[PARAMS_SIZE];
    struct buffer params = buffer_of(memory, sizeof(memory));
    const struct wire_snapshot_open open = {.index_min = index_min};

    assert_true(wire_snapshot_open_encode(&open, &params));
    return fake_request(cluster, client, WIRE_METHOD_snapshot_open, &params);
}

static struct wire_snapshot_open_result opened(struct fake_cluster *cluster, uint32_t client,
                                               uint64_t index_min)
{
    uint64_t id = send_open(cluster, client, index_min);
    const struct fake_message *answer = fake_answer(cluster, client, id);
    struct bytes body = answer->body;
    struct wire_snapshot_open_result result;

    assert_false(answer->failed);
    assert_int_equal(wire_snapshot_open_result_decode(&body, &result), ERR_OK);
    return result;
}

/* Asks until it is made. */
static struct wire_snapshot_open_result await_opened(struct fake_cluster *cluster, uint32_t client)
{
    struct wire_snapshot_open_result result = opened(cluster, client, 0);

    for (uint32_t i = 0; i < 100 && result.size == 0; i++) {
        fake_run(cluster, 50);
        result = opened(cluster, client, result.index);
    }
    assert_true(result.size != 0);
    return result;
}

static uint64_t send_read(struct fake_cluster *cluster, uint32_t client,
                          const struct wire_snapshot_open_result *file, uint64_t offset)
{
    uint8_t memory[PARAMS_SIZE];
    struct buffer params = buffer_of(memory, sizeof(memory));
    const struct wire_snapshot_read read = {.index = file->index, .id = file->id, .offset = offset};

    assert_true(wire_snapshot_read_encode(&read, &params));
    return fake_request(cluster, client, WIRE_METHOD_snapshot_read, &params);
}

/* The next piece is what the file has there; its size. */
static size_t assert_piece(struct fake_cluster *cluster, uint32_t client,
                           const struct wire_snapshot_open_result *file, struct bytes whole,
                           uint64_t offset)
{
    uint64_t id = send_read(cluster, client, file, offset);
    const struct fake_message *answer = fake_answer(cluster, client, id);
    struct bytes body = answer->body;
    struct wire_snapshot_read_result result;

    assert_false(answer->failed);
    assert_int_equal(wire_snapshot_read_result_decode(&body, &result), ERR_OK);
    assert_int_equal(result.offset, offset);
    assert_true(result.bytes.size != 0 && offset + result.bytes.size <= whole.size);
    assert_memory_equal(result.bytes.data, whole.data + offset, result.bytes.size);
    return result.bytes.size;
}

static void put_large(struct fake_cluster *cluster, uint32_t client, const char *key)
{
    static char value[VALUE_SIZE + 1];

    memset(value, 'v', VALUE_SIZE);
    assert_int_equal(fake_outcome(cluster, client, fake_put(cluster, client, 0, 0, key, value)),
                     ERR_OK);
}

static struct fake_cluster *open_cluster(uint32_t *leader, uint32_t *client)
{
    struct fake_cluster *cluster = fake_cluster_open(3, 21);

    for (uint32_t i = 0; i < 3; i++) {
        cluster->worlds[i].options.commit_interval_ms = 50;
    }
    fake_start_all(cluster);
    *leader = fake_leader(cluster);
    *client = fake_client_open(cluster, *leader);
    return cluster;
}

static struct bytes file_at(struct fake_cluster *cluster, uint32_t place,
                            const struct wire_snapshot_open_result *file)
{
    struct disk_name name;

    snapshot_name(&name, SNAPSHOT_NAME_WHOLE, file->index);
    return memory_disk_file(cluster->worlds[place].disk, name.text);
}

static void a_client_gets_the_bytes_of_the_leaders_file(void **state)
{
    uint32_t leader;
    uint32_t client;
    struct fake_cluster *cluster = open_cluster(&leader, &client);
    uint64_t offset = 0;

    for (uint32_t i = 0; i < 8; i++) {
        char key[8];

        snprintf(key, sizeof(key), "k%u", i);
        put_large(cluster, client, key);
    }
    raft_index written = cluster->worlds[leader].node->status.commit_index;
    struct wire_snapshot_open_result file = await_opened(cluster, client);
    struct bytes whole = file_at(cluster, leader, &file);

    assert_true(file.index > written);
    assert_int_equal(whole.size, file.size);
    while (offset < file.size) {
        offset += assert_piece(cluster, client, &file, whole, offset);
    }
    assert_int_equal(offset, file.size);
    fake_cluster_close(cluster);
    (void)state;
}

static void a_file_is_kept_for_who_goes_on_asking(void **state)
{
    uint32_t leader;
    uint32_t client;
    struct fake_cluster *cluster = open_cluster(&leader, &client);

    put_large(cluster, client, "k");
    struct wire_snapshot_open_result file = await_opened(cluster, client);
    assert_piece(cluster, client, &file, file_at(cluster, leader, &file), 0);
    uint32_t other = fake_client_open(cluster, leader);
    for (uint32_t i = 0; i < 4; i++) {
        put_large(cluster, other, "k");
        (void)await_opened(cluster, other);
    }

    assert_piece(cluster, client, &file, file_at(cluster, leader, &file), 4096);
    /* Silent for too long: the next snapshots push it out. */
    fake_run(cluster, BACKUP_IDLE_MS + 100);
    for (uint32_t i = 0; i < 3; i++) {
        put_large(cluster, other, "k");
        (void)await_opened(cluster, other);
    }
    assert_int_equal(fake_outcome(cluster, client, send_read(cluster, client, &file, 0)),
                     ERR_NOT_FOUND);
    fake_cluster_close(cluster);
    (void)state;
}

static void one_client_too_many_is_refused_until_another_is_gone(void **state)
{
    uint32_t leader;
    uint32_t first;
    struct fake_cluster *cluster = open_cluster(&leader, &first);
    uint32_t second = fake_client_open(cluster, leader);
    uint32_t third = fake_client_open(cluster, leader);

    put_large(cluster, first, "k");
    struct wire_snapshot_open_result file = await_opened(cluster, first);
    struct bytes whole = file_at(cluster, leader, &file);
    assert_piece(cluster, first, &file, whole, 0);
    assert_piece(cluster, second, &file, whole, 0);
    assert_int_equal(fake_outcome(cluster, third, send_read(cluster, third, &file, 0)),
                     ERR_OVERLOADED);
    fake_client_close(cluster, second);
    fake_run(cluster, 50);

    assert_piece(cluster, third, &file, whole, 0);
    assert_piece(cluster, first, &file, whole, 4096);
    fake_cluster_close(cluster);
    (void)state;
}

static void what_does_not_exist_is_refused(void **state)
{
    uint32_t leader;
    uint32_t client;
    struct fake_cluster *cluster = open_cluster(&leader, &client);

    put_large(cluster, client, "k");
    struct wire_snapshot_open_result file = await_opened(cluster, client);
    struct wire_snapshot_open_result other = file;

    assert_int_equal(fake_outcome(cluster, client, send_open(cluster, client, UINT64_MAX)),
                     ERR_REFUSED);
    other.id++;
    assert_int_equal(fake_outcome(cluster, client, send_read(cluster, client, &other, 0)),
                     ERR_NOT_FOUND);
    other = (struct wire_snapshot_open_result){0};
    assert_int_equal(fake_outcome(cluster, client, send_read(cluster, client, &other, 0)),
                     ERR_NOT_FOUND);
    assert_int_equal(fake_outcome(cluster, client, send_read(cluster, client, &file, file.size)),
                     ERR_MALFORMED);
    uint32_t follower = fake_client_open(cluster, (leader + 1) % 3);
    assert_int_equal(fake_outcome(cluster, follower, send_read(cluster, follower, &file, 0)),
                     ERR_OK);
    fake_cluster_close(cluster);
    (void)state;
}

static void a_leader_that_is_cut_off_opens_nothing(void **state)
{
    uint32_t leader;
    uint32_t client;
    struct fake_cluster *cluster = open_cluster(&leader, &client);

    fake_isolate(cluster, leader, true);
    uint64_t id = send_open(cluster, client, 0);
    fake_run(cluster, 200);
    assert_null(fake_find_answer(cluster, client, id));
    fake_run(cluster, 4000);

    assert_true(fake_outcome(cluster, client, id) != ERR_OK);
    fake_cluster_close(cluster);
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_client_gets_the_bytes_of_the_leaders_file),
        cmocka_unit_test(a_file_is_kept_for_who_goes_on_asking),
        cmocka_unit_test(one_client_too_many_is_refused_until_another_is_gone),
        cmocka_unit_test(what_does_not_exist_is_refused),
        cmocka_unit_test(a_leader_that_is_cut_off_opens_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
