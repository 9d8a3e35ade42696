/* Tests of node/peers.c: what raft's messages may do to us, and what they may not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "node/internal.h"
#include "tests/support/node/fake_world.h"

enum { FAR_AHEAD_MS = 1000000000, LINKS_UP_MS = 40 };

static struct raft_message heartbeat_of(raft_term term)
{
    return (struct raft_message){.kind = RAFT_HEARTBEAT, .term = term};
}

/* A second leader, of a later term than the first; its place. */
static uint32_t second_leader(struct fake_cluster *cluster, uint32_t first)
{
    fake_crash(cluster, first);
    uint32_t second = fake_leader(cluster);

    fake_start(cluster, first);
    fake_run(cluster, 300);
    assert_true(fake_status(cluster, second).term > 1);
    return second;
}

static void a_follower_hears_the_clock_of_its_leader(void **state)
{
    struct fake_cluster *cluster = fake_cluster_open(3, 61);
    fake_start_all(cluster);
    uint32_t leader = fake_leader(cluster);
    uint64_t before_ms = fake_status(cluster, (leader + 1) % 3).log_ms;

    fake_run(cluster, 3000); /* Nothing is proposed: only heartbeats tell. */

    uint64_t heard_ms = fake_status(cluster, (leader + 1) % 3).log_ms;
    uint64_t clock_ms = fake_status(cluster, leader).log_ms;
    assert_true(heard_ms >= before_ms + 2900);
    assert_in_range(clock_ms - heard_ms, 0, 100);
    fake_cluster_close(cluster);
    (void)state;
}

static void the_clock_of_a_deposed_leader_is_not_believed_after_a_restart(void **state)
{
    struct fake_cluster *cluster = fake_cluster_open(3, 62);
    fake_start_all(cluster);
    uint32_t first = fake_leader(cluster);
    uint32_t second = second_leader(cluster, first);
    uint32_t other = 3 - first - second;
    uint64_t term = fake_status(cluster, second).term;

    /* It knows the term from its disk, and has heard nobody yet. */
    cluster->worlds[second].is_paused = true;
    fake_crash(cluster, other);
    fake_start(cluster, other);
    fake_run(cluster, LINKS_UP_MS);
    fake_send_raft(cluster, first, other, heartbeat_of(term - 1), FAR_AHEAD_MS);
    fake_run(cluster, 10);

    assert_true(fake_status(cluster, other).log_ms < FAR_AHEAD_MS);
    fake_crash(cluster, second);
    assert_true(fake_status(cluster, fake_leader(cluster)).log_ms < FAR_AHEAD_MS);
    fake_cluster_close(cluster);
    (void)state;
}

/* Raft refuses it, so its term and its clock were never taken; then the receiver leads. */
static void a_malformed_append_leaves_no_trace_in_cluster_time(void **state)
{
    struct fake_cluster *cluster = fake_cluster_open(3, 63);
    const struct raft_message append = {
        .kind = RAFT_APPEND,
        .term = UINT64_C(1) << 61,
        .append = {.previous_index = 5, .previous_term = 0, .request = 1},
    };
    fake_start_all(cluster);
    uint32_t leader = fake_leader(cluster);
    uint32_t a = (leader + 1) % 3;
    uint32_t b = (leader + 2) % 3;

    fake_send_raft(cluster, a, b, append, FAR_AHEAD_MS);
    fake_send_raft(cluster, b, a, append, FAR_AHEAD_MS);
    fake_run(cluster, 10);
    fake_crash(cluster, leader);
    uint32_t next = fake_leader(cluster);

    assert_true(fake_status(cluster, next).term < append.term);
    assert_true(fake_status(cluster, next).log_ms < FAR_AHEAD_MS);
    fake_cluster_close(cluster);
    (void)state;
}

static void a_term_that_nobody_can_have_reached_is_refused(void **state)
{
    const raft_term terms[] = {UINT64_C(1) << 62, UINT64_MAX};
    (void)state;

    for (uint32_t i = 0; i < 2; i++) {
        struct fake_cluster *cluster = fake_cluster_open(3, 64 + i);
        fake_start_all(cluster);
        uint32_t leader = fake_leader(cluster);
        uint32_t target = (leader + 1) % 3;

        fake_send_raft(cluster, (leader + 2) % 3, target, heartbeat_of(terms[i]), 0);
        fake_run(cluster, 10);

        assert_true(fake_has_logged(cluster, target, "peer_refused peer="));
        assert_true(fake_status(cluster, target).term < 100);
        fake_crash(cluster, leader);
        fake_leader(cluster);
        fake_cluster_close(cluster);
    }
}

/* It has a disk that nobody knows, and a list of members that is newer than ours. */
static void send_as_unknown(struct fake_cluster *cluster, uint32_t source, uint32_t target,
                            raft_id id, enum wire_frame_kind kind, struct bytes body)
{
    struct wire_frame frame = {.incarnation = 987654321, .source = id, .kind = kind, .body = body};

    memcpy(frame.cluster, cluster->worlds[target].node->identity.cluster, IDENTITY_CLUSTER_SIZE);
    fake_send_frame(cluster, source, target, &frame);
}

static void a_frame_that_names_nobody_as_its_sender_is_refused(void **state)
{
    struct fake_cluster *cluster = fake_cluster_open(3, 66);
    const struct wire_peer_snapshot_request request = {.request = 1};
    uint8_t memory[512];
    struct buffer body = buffer_of(memory, sizeof(memory));
    fake_start_all(cluster);
    uint32_t leader = fake_leader(cluster);
    uint32_t source = (leader + 1) % 3;
    const struct wire_peer_hello hello = {
        .name = bytes_of_text(cluster->worlds[source].options.name),
        .members = bytes_of_text("n1,n2,n3"),
        .client = bytes_of_text("127.0.0.1:1"),
        .peer = bytes_of_text("127.0.0.1:2"),
        .formed = true,
        .configuration = 1000000,
    };

    assert_true(wire_peer_hello_encode(&hello, &body));
    send_as_unknown(cluster, source, leader, 987654321, WIRE_FRAME_HELLO, buffer_bytes(&body));
    body.size = 0;
    assert_true(wire_peer_snapshot_request_encode(&request, &body));
    send_as_unknown(cluster, source, leader, 0, WIRE_FRAME_SNAPSHOT_REQUEST, buffer_bytes(&body));
    fake_run(cluster, 100);

    assert_true(fake_has_logged(cluster, leader, "peer_refused peer="));
    assert_true(cluster->worlds[leader].runs);
    fake_cluster_close(cluster);
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_follower_hears_the_clock_of_its_leader),
        cmocka_unit_test(the_clock_of_a_deposed_leader_is_not_believed_after_a_restart),
        cmocka_unit_test(a_malformed_append_leaves_no_trace_in_cluster_time),
        cmocka_unit_test(a_term_that_nobody_can_have_reached_is_refused),
        cmocka_unit_test(a_frame_that_names_nobody_as_its_sender_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
