/* Tests of node/waiting.c, and of deadlines and rates in node/admission.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "node/limits.h"
#include "tests/support/node/fake_world.h"

enum { VALUE_SIZE = 16000, HOG_COUNT = 150 };

static char value[VALUE_SIZE + 1];

/* A lone node, which leads, and whose memory for requests that wait is small. */
static struct fake_cluster *open_node(uint32_t waiting_size)
{
    struct fake_cluster *cluster = fake_cluster_open(1, 71);

    memset(value, 'v', VALUE_SIZE);
    cluster->worlds[0].options.waiting_size = waiting_size;
    cluster->output_size_max = 64 << 20;
    fake_start(cluster, 0);
    assert_int_equal(fake_leader(cluster), 0);
    return cluster;
}

static void stall(struct fake_cluster *cluster, bool is_stalled)
{
    cluster->worlds[0].disk_is_stalled = is_stalled;
    fake_changed(cluster);
}

static uint64_t put_many(struct fake_cluster *cluster, uint32_t client, uint32_t count)
{
    uint64_t first = cluster->clients[client].next_id;

    for (uint32_t i = 0; i < count; i++) {
        fake_put(cluster, client, 0, 0, "hog", value);
    }
    return first;
}

static uint32_t count_answered(struct fake_cluster *cluster, uint32_t client, uint64_t first,
                               uint32_t count)
{
    uint32_t answered = 0;

    for (uint32_t i = 0; i < count; i++) {
        answered += fake_find_answer(cluster, client, first + i) != NULL ? 1 : 0;
    }
    return answered;
}

static uint64_t put_within(struct fake_cluster *cluster, uint32_t client, uint64_t within_ms)
{
    const struct wire_put put = {.key = bytes_of_text("late"), .value = bytes_of_text("1")};
    uint64_t id = cluster->clients[client].next_id++;
    uint8_t memory[256];
    struct buffer out = buffer_of(memory, sizeof(memory));

    assert_true(wire_request_begin_within(&out, id, WIRE_METHOD_put));
    assert_true(wire_put_encode(&put, &out));
    assert_true(wire_request_end_within(&out, within_ms));
    fake_client_send(cluster, client, buffer_bytes(&out));
    return id;
}

static void a_write_waits_behind_one_of_each_other_connection_and_not_behind_all(void **state)
{
    struct fake_cluster *cluster = open_node(8 << 20);
    uint32_t hog = fake_client_open(cluster, 0);
    uint32_t polite = fake_client_open(cluster, 0);
    stall(cluster, true);
    uint64_t first = put_many(cluster, hog, HOG_COUNT);
    fake_run(cluster, 20);
    assert_int_equal(count_answered(cluster, hog, first, HOG_COUNT), 0);
    assert_true(fake_status(cluster, 0).queued > HOG_COUNT / 3);

    uint64_t id = fake_put(cluster, polite, 0, 0, "polite", "1");
    fake_run(cluster, 20);
    stall(cluster, false);
    while (fake_find_answer(cluster, polite, id) == NULL) {
        fake_run(cluster, 1);
    }

    /* Those that were proposed before it came, as many as are not committed at once, and one. */
    uint32_t ahead = UNCOMMITTED_SIZE_DEFAULT / VALUE_SIZE + 2;
    assert_in_range(count_answered(cluster, hog, first, HOG_COUNT), 1, 2 * ahead);
    assert_int_equal(fake_outcome(cluster, polite, id), ERR_OK);
    assert_int_equal(fake_outcome(cluster, hog, first + HOG_COUNT - 1), ERR_OK);
    assert_int_equal(fake_status(cluster, 0).queued, 0);
    fake_cluster_close(cluster);
    (void)state;
}

static void a_hog_leaves_room_for_others_and_is_told_how_long_to_stay_away(void **state)
{
    struct fake_cluster *cluster = open_node(WAITING_SIZE_MIN);
    uint32_t hog = fake_client_open(cluster, 0);
    uint32_t polite = fake_client_open(cluster, 0);
    stall(cluster, true);
    uint64_t first = put_many(cluster, hog, HOG_COUNT);
    fake_run(cluster, 700);

    uint32_t refused = count_answered(cluster, hog, first, HOG_COUNT);
    assert_true(refused > 50);
    assert_int_equal(fake_outcome(cluster, hog, first + HOG_COUNT - 1), ERR_OVERLOADED);
    struct wire_failure early = fake_failure(cluster, hog, first + HOG_COUNT - 1);
    assert_in_range(early.retry_after_ms, 1, RETRY_MS_MAX);
    uint64_t id = fake_put(cluster, polite, 0, 0, "polite", "1");
    uint64_t last = put_many(cluster, hog, 1);
    fake_run(cluster, 20);

    assert_null(fake_find_answer(cluster, polite, id));
    struct wire_failure late = fake_failure(cluster, hog, last);
    assert_int_equal(late.code, ERR_OVERLOADED);
    assert_in_range(late.retry_after_ms, 650, 800); /* Nothing was written for so long. */
    struct wire_status_result told = fake_status(cluster, 0);
    assert_int_equal(told.overloaded, refused + 1);
    assert_true(told.queued_bytes <= WAITING_SIZE_MIN);
    stall(cluster, false);
    assert_int_equal(fake_outcome(cluster, polite, id), ERR_OK);
    fake_cluster_close(cluster);
    (void)state;
}

static void what_is_late_before_its_turn_is_dropped_and_never_applied(void **state)
{
    struct fake_cluster *cluster = open_node(8 << 20);
    uint32_t hog = fake_client_open(cluster, 0);
    uint32_t client = fake_client_open(cluster, 0);
    stall(cluster, true);
    put_many(cluster, hog, HOG_COUNT);
    fake_run(cluster, 20);

    uint64_t late = put_within(cluster, client, 100);
    uint64_t timely = put_within(cluster, client, 60000);
    fake_run(cluster, 200);
    assert_null(fake_find_answer(cluster, client, late));
    stall(cluster, false);

    assert_int_equal(fake_outcome(cluster, client, late), ERR_TIMEOUT);
    assert_true(fake_failure(cluster, client, late).rejected);
    assert_int_equal(fake_outcome(cluster, client, timely), ERR_OK);
    assert_int_equal(fake_status(cluster, 0).late, 1);
    fake_cluster_close(cluster);
    (void)state;
}

static void a_request_that_is_late_on_arrival_is_dropped(void **state)
{
    struct fake_cluster *cluster = open_node(8 << 20);
    uint32_t client = fake_client_open(cluster, 0);

    uint64_t late = put_within(cluster, client, 0);
    uint64_t timely = put_within(cluster, client, 1);

    assert_int_equal(fake_outcome(cluster, client, late), ERR_TIMEOUT);
    assert_true(fake_failure(cluster, client, late).rejected);
    assert_int_equal(fake_outcome(cluster, client, timely), ERR_OK);
    fake_cluster_close(cluster);
    (void)state;
}

static void a_session_outlives_any_number_of_writes_of_others(void **state)
{
    struct fake_cluster *cluster = open_node(WAITING_SIZE_MIN);
    uint32_t hog = fake_client_open(cluster, 0);
    uint32_t client = fake_client_open(cluster, 0);
    uint64_t session = fake_open_session(cluster, client, 3000);

    for (uint64_t attempt = 1; attempt <= 12; attempt++) {
        put_many(cluster, hog, 60);
        fake_run(cluster, 1);
        put_many(cluster, hog, 60);
        uint64_t id = fake_session_renew(cluster, client, session, attempt);
        fake_run(cluster, 999);
        assert_int_equal(fake_outcome(cluster, client, id), ERR_OK);
    }
    fake_cluster_close(cluster);
    (void)state;
}

static void a_release_comes_behind_the_writes_of_its_session_and_is_never_refused(void **state)
{
    struct fake_cluster *cluster = open_node(WAITING_SIZE_MIN);
    uint32_t client = fake_client_open(cluster, 0);
    uint32_t hog = fake_client_open(cluster, 0);
    uint64_t session = fake_open_session(cluster, client, 60000);
    uint64_t acquired = fake_acquire(cluster, client, session, 1, "lock", true);
    assert_int_equal(fake_outcome(cluster, client, acquired), ERR_OK);
    stall(cluster, true);
    put_many(cluster, hog, HOG_COUNT);
    fake_run(cluster, 20);

    uint64_t write = fake_put(cluster, client, session, 2, "a", "1");
    uint64_t release = fake_release(cluster, client, session, 3, "lock");
    fake_run(cluster, 20);
    assert_null(fake_find_answer(cluster, client, write));
    assert_null(fake_find_answer(cluster, client, release));
    stall(cluster, false);

    assert_int_equal(fake_outcome(cluster, client, write), ERR_OK);
    assert_int_equal(fake_outcome(cluster, client, release), ERR_OK);
    fake_cluster_close(cluster);
    (void)state;
}

static void what_waits_of_a_client_that_leaves_is_forgotten(void **state)
{
    struct fake_cluster *cluster = open_node(8 << 20);
    uint32_t hog = fake_client_open(cluster, 0);
    uint32_t client = fake_client_open(cluster, 0);
    stall(cluster, true);
    put_many(cluster, hog, HOG_COUNT);
    uint64_t id = fake_put(cluster, client, 0, 0, "a", "1");
    fake_run(cluster, 20);
    assert_true(fake_status(cluster, 0).queued > 1);

    fake_client_close(cluster, hog);
    fake_run(cluster, 20);

    assert_in_range(fake_status(cluster, 0).queued, 0, 1);
    stall(cluster, false);
    assert_int_equal(fake_outcome(cluster, client, id), ERR_OK);
    assert_int_equal(fake_status(cluster, 0).queued_bytes, 0);
    fake_cluster_close(cluster);
    (void)state;
}

static void what_waits_at_a_leader_that_is_deposed_can_be_asked_elsewhere_at_once(void **state)
{
    struct fake_cluster *cluster = fake_cluster_open(3, 72);
    memset(value, 'v', VALUE_SIZE);
    fake_start_all(cluster);
    uint32_t leader = fake_leader(cluster);
    uint32_t client = fake_client_open(cluster, leader);
    fake_answer(cluster, client, 1);
    fake_isolate(cluster, leader, true);

    uint64_t first = put_many(cluster, client, HOG_COUNT);
    fake_run(cluster, 1500);

    assert_int_equal(fake_failure(cluster, client, first + HOG_COUNT - 1).code, ERR_NOT_LEADER);
    fake_isolate(cluster, leader, false);
    fake_cluster_close(cluster);
    (void)state;
}

static void a_client_is_held_to_its_rate_but_for_what_keeps_sessions(void **state)
{
    struct fake_cluster *cluster = fake_cluster_open(1, 73);
    cluster->worlds[0].options.client_rate = 10;
    cluster->worlds[0].options.client_burst = 3;
    fake_start(cluster, 0);
    assert_int_equal(fake_leader(cluster), 0);
    uint64_t before = fake_status(cluster, 0).rate_limited; /* Of asking who leads. */
    uint32_t client = fake_client_open(cluster, 0);
    uint32_t other = fake_client_open(cluster, 0);
    uint64_t session = fake_open_session(cluster, client, 60000);

    uint64_t first = fake_get(cluster, client, "a");
    fake_get(cluster, client, "a");
    uint64_t third = fake_get(cluster, client, "a");
    uint64_t renewal = fake_session_renew(cluster, client, session, 1);
    uint64_t of_other = fake_get(cluster, other, "a");

    assert_int_equal(fake_outcome(cluster, client, first), ERR_NOT_FOUND);
    assert_int_equal(fake_outcome(cluster, client, third), ERR_RATE_LIMITED);
    uint32_t retry_ms = fake_failure(cluster, client, third).retry_after_ms;
    assert_in_range(retry_ms, 1, 100);
    assert_int_equal(fake_outcome(cluster, client, renewal), ERR_OK);
    assert_int_equal(fake_outcome(cluster, other, of_other), ERR_NOT_FOUND);
    fake_run(cluster, retry_ms);
    assert_int_equal(fake_outcome(cluster, client, fake_get(cluster, client, "a")), ERR_NOT_FOUND);
    assert_int_equal(fake_status(cluster, 0).rate_limited, before + 1);
    fake_cluster_close(cluster);
    (void)state;
}

static void lists_wait_while_others_are_under_way_and_reads_pass_them(void **state)
{
    enum { LISTS = 3 * SCAN_COUNT_MAX };
    struct fake_cluster *cluster = open_node(8 << 20);
    uint32_t lister = fake_client_open(cluster, 0);
    uint32_t reader = fake_client_open(cluster, 0);
    const struct wire_session_list list = {.limit = 10};
    uint8_t memory[64];
    struct buffer params = buffer_of(memory, sizeof(memory));
    uint64_t last = 0;
    assert_true(wire_session_list_encode(&list, &params));

    for (int i = 0; i < LISTS; i++) {
        last = fake_request(cluster, lister, WIRE_METHOD_session_list, &params);
    }
    uint64_t get = fake_get(cluster, reader, "a");
    while (fake_find_answer(cluster, reader, get) == NULL) {
        fake_run(cluster, 1);
    }

    assert_null(fake_find_answer(cluster, lister, last));
    assert_int_equal(fake_outcome(cluster, reader, get), ERR_NOT_FOUND);
    assert_int_equal(fake_outcome(cluster, lister, last), ERR_OK);
    assert_int_equal(fake_status(cluster, 0).queued, 0);
    fake_cluster_close(cluster);
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_write_waits_behind_one_of_each_other_connection_and_not_behind_all),
        cmocka_unit_test(a_hog_leaves_room_for_others_and_is_told_how_long_to_stay_away),
        cmocka_unit_test(what_is_late_before_its_turn_is_dropped_and_never_applied),
        cmocka_unit_test(a_request_that_is_late_on_arrival_is_dropped),
        cmocka_unit_test(a_session_outlives_any_number_of_writes_of_others),
        cmocka_unit_test(a_release_comes_behind_the_writes_of_its_session_and_is_never_refused),
        cmocka_unit_test(what_waits_of_a_client_that_leaves_is_forgotten),
        cmocka_unit_test(what_waits_at_a_leader_that_is_deposed_can_be_asked_elsewhere_at_once),
        cmocka_unit_test(a_client_is_held_to_its_rate_but_for_what_keeps_sessions),
        cmocka_unit_test(lists_wait_while_others_are_under_way_and_reads_pass_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
