/* Tests of node/passing.c: frames that no follower would send. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "node/internal.h"
#include "tests/support/node/fake_world.h"

struct fixture {
    struct fake_cluster *cluster;
    uint32_t leader;
    uint32_t follower;
};

static struct fixture open_fixture(uint64_t seed)
{
    struct fixture fixture = {.cluster = fake_cluster_open(3, seed)};

    fake_start_all(fixture.cluster);
    fixture.leader = fake_leader(fixture.cluster);
    fixture.follower = (fixture.leader + 1) % 3;
    return fixture;
}

static const struct passing *passing_at(const struct fixture *fixture)
{
    return &fixture->cluster->worlds[fixture->follower].node->passing;
}

struct seen {
    uint32_t source;
    uint32_t count;
    enum error error; /* Of the last answer; ERR_OK: it has not failed. */
};

static void note_answer(struct fake_cluster *cluster, uint32_t source, uint32_t target,
                        struct bytes bytes)
{
    struct seen *seen = cluster->context;
    struct wire_frame frame;
    struct wire_rpc rpc;
    struct wire_failure failure = {0};
    (void)target;

    if (source != seen->source || wire_frame_next(&bytes, &frame) != ERR_OK ||
        frame.kind != WIRE_FRAME_FORWARDED) {
        return;
    }
    assert_int_equal(wire_rpc_next(&frame.body, &rpc), ERR_OK);
    if (rpc.failed) {
        assert_int_equal(wire_failure_decode(&rpc.body, &failure), ERR_OK);
    }
    seen->count++;
    seen->error = error_from_number(failure.code);
}

static void send_forward(const struct fixture *fixture, uint32_t source, uint32_t target,
                         uint64_t id, enum wire_method method)
{
    const struct node *node = fixture->cluster->worlds[source].node;
    const struct wire_put put = {.key = bytes_of_text("a"), .value = bytes_of_text("1")};
    uint8_t memory[256];
    struct buffer body = buffer_of(memory, sizeof(memory));
    struct wire_frame frame = {.incarnation = node->identity.incarnation,
                               .source = node->identity.self,
                               .kind = WIRE_FRAME_FORWARD};

    assert_true(wire_forward_begin(&body, 0, id, method));
    assert_true(wire_put_encode(&put, &body));
    memcpy(frame.cluster, node->identity.cluster, sizeof(frame.cluster));
    frame.body = buffer_bytes(&body);
    fake_send_frame(fixture->cluster, source, target, &frame);
    fake_run(fixture->cluster, 100);
}

static void a_request_is_passed_on_once_and_not_again(void **state)
{
    struct fixture fixture = open_fixture(313);
    struct seen seen = {.source = fixture.follower};
    uint64_t before = passing_at(&fixture)->total;
    (void)state;
    fixture.cluster->on_frame = note_answer;
    fixture.cluster->context = &seen;

    send_forward(&fixture, (fixture.leader + 2) % 3, fixture.follower, 77, WIRE_METHOD_put);

    assert_int_equal(seen.count, 1);
    assert_int_equal(seen.error, ERR_NOT_LEADER);
    assert_int_equal(passing_at(&fixture)->total, before);
    fake_cluster_close(fixture.cluster);
}

static void a_request_that_comes_twice_is_refused(void **state)
{
    struct fixture fixture = open_fixture(314);
    struct seen seen = {.source = fixture.leader};
    (void)state;
    fixture.cluster->on_frame = note_answer;
    fixture.cluster->context = &seen;

    send_forward(&fixture, fixture.follower, fixture.leader, 77, WIRE_METHOD_put);
    assert_false(fake_has_logged(fixture.cluster, fixture.leader, "peer_refused"));
    send_forward(&fixture, fixture.follower, fixture.leader, 77, WIRE_METHOD_put);

    assert_int_equal(seen.count, 1);
    assert_int_equal(seen.error, ERR_OK);
    assert_true(fake_has_logged(fixture.cluster, fixture.leader, "peer_refused"));
    fake_cluster_close(fixture.cluster);
}

static void what_no_follower_passes_on_is_refused(void **state)
{
    struct fixture fixture = open_fixture(315);
    uint64_t before = fake_status(fixture.cluster, fixture.leader).taken_total;
    (void)state;

    send_forward(&fixture, fixture.follower, fixture.leader, 77, WIRE_METHOD_status);

    assert_true(fake_has_logged(fixture.cluster, fixture.leader, "peer_refused"));
    assert_int_equal(fake_status(fixture.cluster, fixture.leader).taken_total, before);
    fake_cluster_close(fixture.cluster);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_is_passed_on_once_and_not_again),
        cmocka_unit_test(a_request_that_comes_twice_is_refused),
        cmocka_unit_test(what_no_follower_passes_on_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
