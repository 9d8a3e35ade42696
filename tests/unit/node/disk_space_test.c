/* Tests of node/disk_space.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "node/limits.h"
#include "tests/support/node/fake_members.h"
#include "tests/support/node/fake_world.h"

enum { LOW_SIZE = 8000, TOLD_MS = SPACE_TELL_MS + 100 };

static struct fake_cluster *open_cluster(uint32_t node_count, uint64_t seed)
{
    struct fake_cluster *cluster = fake_cluster_open(node_count, seed);

    for (uint32_t i = 0; i < node_count; i++) {
        cluster->worlds[i].options.disk_low_size = LOW_SIZE;
        fake_set_free(cluster, i, LOW_SIZE);
    }
    return cluster;
}

static void set_free(struct fake_cluster *cluster, uint32_t place, uint64_t free_size)
{
    fake_set_free(cluster, place, free_size);
    fake_run(cluster, TOLD_MS);
}

static enum error put(struct fake_cluster *cluster, uint32_t client)
{
    return fake_outcome(cluster, client, fake_put(cluster, client, 0, 0, "a", "1"));
}

static uint64_t request_delete(struct fake_cluster *cluster, uint32_t client)
{
    uint8_t memory[64];
    struct buffer params = buffer_of(memory, sizeof(memory));
    const struct wire_delete request = {.key = bytes_of_text("a")};

    assert_true(wire_delete_encode(&request, &params));
    return fake_request(cluster, client, WIRE_METHOD_delete, &params);
}

static uint64_t request_end(struct fake_cluster *cluster, uint32_t client, uint64_t session)
{
    uint8_t memory[64];
    struct buffer params = buffer_of(memory, sizeof(memory));
    const struct wire_session_end request = {.session = session};

    assert_true(wire_session_end_encode(&request, &params));
    return fake_request(cluster, client, WIRE_METHOD_session_end, &params);
}

static void one_low_disk_of_three_stops_nothing(void **state)
{
    struct fake_cluster *cluster = open_cluster(3, 91);
    fake_start_all(cluster);
    uint32_t leader = fake_leader(cluster);
    uint32_t client = fake_client_open(cluster, leader);

    for (uint32_t i = 0; i < 3; i++) {
        set_free(cluster, i, LOW_SIZE - 1);
        assert_true(fake_has_logged(cluster, i, "event=disk_low"));
        assert_int_equal(put(cluster, client), ERR_OK);
        assert_false(fake_status(cluster, leader).refuses_writes);
        set_free(cluster, i, 2 * LOW_SIZE);
    }

    assert_false(fake_has_logged(cluster, leader, "event=writes_refused"));
    fake_cluster_close(cluster);
    (void)state;
}

static void a_low_majority_refuses_writes_and_takes_what_makes_room(void **state)
{
    struct fake_cluster *cluster = open_cluster(3, 92);
    fake_start_all(cluster);
    uint32_t leader = fake_leader(cluster);
    uint32_t client = fake_client_open(cluster, leader);
    uint64_t session = fake_open_session(cluster, client, 20000);
    uint64_t id = fake_acquire(cluster, client, session, 1, "L", false);
    assert_int_equal(fake_outcome(cluster, client, id), ERR_OK);
    assert_int_equal(put(cluster, client), ERR_OK);

    set_free(cluster, 1, 0);
    set_free(cluster, 2, 0);
    id = fake_put(cluster, client, 0, 0, "a", "2");
    struct wire_failure failure = fake_failure(cluster, client, id);

    assert_int_equal(failure.code, ERR_OVERLOADED);
    assert_true(bytes_has_prefix(failure.text, bytes_of_text("disk low on n2, n3: make room")));
    assert_int_equal(failure.retry_after_ms, RETRY_MS_DISK_LOW);
    id = fake_acquire(cluster, client, session, 2, "M", false);
    assert_int_equal(fake_outcome(cluster, client, id), ERR_OVERLOADED);
    id = fake_session_open(cluster, client, 20000);
    assert_int_equal(fake_outcome(cluster, client, id), ERR_OVERLOADED);
    id = fake_session_renew(cluster, client, session, 1);
    assert_int_equal(fake_outcome(cluster, client, id), ERR_OK);
    id = fake_release(cluster, client, session, 2, "L");
    assert_int_equal(fake_outcome(cluster, client, id), ERR_OK);
    assert_int_equal(fake_outcome(cluster, client, request_delete(cluster, client)), ERR_OK);
    id = fake_get(cluster, client, "a");
    assert_int_equal(fake_outcome(cluster, client, id), ERR_NOT_FOUND);
    id = request_end(cluster, client, session);
    assert_int_equal(fake_outcome(cluster, client, id), ERR_OK);
    fake_cluster_close(cluster);
    (void)state;
}

static void a_request_answered_before_is_answered_again(void **state)
{
    struct fake_cluster *cluster = open_cluster(3, 93);
    fake_start_all(cluster);
    uint32_t client = fake_client_open(cluster, fake_leader(cluster));
    uint64_t session = fake_open_session(cluster, client, 20000);
    uint64_t id = fake_put(cluster, client, session, 1, "a", "1");
    assert_int_equal(fake_outcome(cluster, client, id), ERR_OK);

    set_free(cluster, 0, 0);
    set_free(cluster, 1, 0);

    id = fake_put(cluster, client, session, 1, "a", "1");
    assert_int_equal(fake_outcome(cluster, client, id), ERR_OK);
    id = fake_put(cluster, client, session, 2, "a", "2");
    assert_int_equal(fake_outcome(cluster, client, id), ERR_OVERLOADED);
    fake_cluster_close(cluster);
    (void)state;
}

static void refusing_ends_by_itself_with_a_gap_between_beginning_and_end(void **state)
{
    struct fake_cluster *cluster = open_cluster(3, 94);
    fake_start_all(cluster);
    uint32_t leader = fake_leader(cluster);
    uint32_t client = fake_client_open(cluster, leader);

    set_free(cluster, 0, LOW_SIZE - 1);
    set_free(cluster, 1, LOW_SIZE - 1);
    assert_int_equal(put(cluster, client), ERR_OVERLOADED);
    set_free(cluster, 0, LOW_SIZE + LOW_SIZE / DISK_LOW_GAP - 1);
    assert_int_equal(put(cluster, client), ERR_OVERLOADED);
    set_free(cluster, 0, LOW_SIZE + LOW_SIZE / DISK_LOW_GAP);

    assert_int_equal(put(cluster, client), ERR_OK);
    set_free(cluster, 0, LOW_SIZE);
    assert_int_equal(put(cluster, client), ERR_OK);
    assert_true(fake_has_logged(cluster, leader, "event=writes_refused disks_low=\"n1, n2\""));
    assert_true(fake_has_logged(cluster, leader, "event=writes_taken"));
    fake_cluster_close(cluster);
    (void)state;
}

static uint32_t count_lines(const struct fake_cluster *cluster, uint32_t place, const char *text)
{
    uint32_t count = 0;

    for (const char *at = cluster->worlds[place].log; (at = strstr(at, text)) != NULL; at++) {
        count++;
    }
    return count;
}

static void each_change_is_told_once(void **state)
{
    struct fake_cluster *cluster = open_cluster(3, 95);
    fake_start_all(cluster);
    uint32_t leader = fake_leader(cluster);

    for (uint32_t i = 0; i < 5; i++) {
        set_free(cluster, 0, 10 * i);
        set_free(cluster, 1, 10 * i);
    }

    assert_int_equal(count_lines(cluster, 0, "event=disk_low"), 1);
    assert_int_equal(count_lines(cluster, leader, "event=writes_refused"), 1);
    fake_cluster_close(cluster);
    (void)state;
}

struct awaited {
    uint32_t first; /* Not this one. */
    uint32_t leader;
};

/* fake_leader() writes, which is refused here. */
static bool another_leads(struct fake_cluster *cluster, void *context)
{
    struct awaited *awaited = context;

    for (uint32_t i = 0; i < cluster->node_count; i++) {
        if (i != awaited->first && fake_has_logged(cluster, i, "role=leader")) {
            awaited->leader = i;
            return true;
        }
    }
    return false;
}

static void a_new_leader_knows_who_is_low(void **state)
{
    struct fake_cluster *cluster = open_cluster(3, 96);
    fake_start_all(cluster);
    uint32_t first = fake_leader(cluster);

    set_free(cluster, (first + 1) % 3, 0);
    set_free(cluster, first, 0);
    fake_crash(cluster, first);
    struct awaited awaited = {.first = first};
    assert_true(fake_run_until(cluster, another_leads, &awaited, 5000));
    uint32_t client = fake_client_open(cluster, awaited.leader);

    assert_int_equal(put(cluster, client), ERR_OVERLOADED); /* The silent one is still low. */
    set_free(cluster, (first + 1) % 3, 2 * LOW_SIZE);
    assert_int_equal(put(cluster, client), ERR_OK);
    fake_cluster_close(cluster);
    (void)state;
}

static void disks_of_learners_and_strangers_do_not_count(void **state)
{
    struct fake_cluster *cluster = open_cluster(5, 97);
    fake_form_with(cluster, 3);
    fake_start_all(cluster);
    uint32_t leader = fake_leader(cluster);
    uint32_t client = fake_client_open(cluster, leader);

    set_free(cluster, 0, 0);
    set_free(cluster, 3, 0);
    set_free(cluster, 4, 0);

    assert_int_equal(put(cluster, client), ERR_OK);
    fake_cluster_close(cluster);
    (void)state;
}

static void without_a_watermark_no_disk_is_low(void **state)
{
    struct fake_cluster *cluster = open_cluster(1, 98);
    cluster->worlds[0].options.disk_low_size = 0;
    fake_start_all(cluster);
    uint32_t client = fake_client_open(cluster, fake_leader(cluster));

    set_free(cluster, 0, 0);

    assert_int_equal(put(cluster, client), ERR_OK);
    fake_cluster_close(cluster);
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_low_disk_of_three_stops_nothing),
        cmocka_unit_test(a_low_majority_refuses_writes_and_takes_what_makes_room),
        cmocka_unit_test(a_request_answered_before_is_answered_again),
        cmocka_unit_test(refusing_ends_by_itself_with_a_gap_between_beginning_and_end),
        cmocka_unit_test(each_change_is_told_once),
        cmocka_unit_test(a_new_leader_knows_who_is_low),
        cmocka_unit_test(disks_of_learners_and_strangers_do_not_count),
        cmocka_unit_test(without_a_watermark_no_disk_is_low),
    };
    return cmocka_run_group_tests_name("node/disk_space", tests, NULL, NULL);
}
