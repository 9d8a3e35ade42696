/* Tests of node/renewals.c: what an answer tells of forced unlocks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "lease/lease.h"
#include "node/limits.h"
#include "tests/support/node/fake_world.h"

struct renewing {
    struct fake_cluster *cluster;
    uint32_t leader;
    uint32_t client;
    uint64_t session;
    uint64_t sequence;
    uint64_t attempt;
    uint64_t token;
};

static struct renewing renewing_open(uint64_t seed)
{
    struct renewing renewing = {.cluster = fake_cluster_open(3, seed)};

    fake_start_all(renewing.cluster);
    renewing.leader = fake_leader(renewing.cluster);
    renewing.client = fake_client_open(renewing.cluster, renewing.leader);
    renewing.session = fake_open_session(renewing.cluster, renewing.client, 600000);
    return renewing;
}

/* Takes locks and has them unlocked by force. */
static void break_locks(struct renewing *renewing, uint32_t count)
{
    struct fake_cluster *cluster = renewing->cluster;
    uint64_t id = 0;

    for (uint32_t i = 0; i < count; i++) {
        uint8_t memory[256];
        struct buffer params = buffer_of(memory, sizeof(memory));
        char name[16];
        const struct wire_lock_break forced = {
            .name = bytes_of(name, 4), .token = ++renewing->token, .reason = bytes_of_text("law")};

        snprintf(name, sizeof(name), "%04u", i);
        fake_acquire(cluster, renewing->client, renewing->session, ++renewing->sequence, name,
                     false);
        assert_true(wire_lock_break_encode(&forced, &params));
        id = fake_request(cluster, renewing->client, WIRE_METHOD_lock_break, &params);
        if (i % 25 == 24 || i + 1 == count) {
            assert_int_equal(fake_outcome(cluster, renewing->client, id), ERR_OK);
        }
    }
}

static struct wire_session_renew_result renew(struct renewing *renewing, uint64_t audit_next)
{
    const struct wire_session_renew request = {
        .session = renewing->session, .attempt = ++renewing->attempt, .audit_next = audit_next};
    uint8_t memory[128];
    struct buffer params = buffer_of(memory, sizeof(memory));
    struct wire_session_renew_result result;

    assert_true(wire_session_renew_encode(&request, &params));
    uint64_t id =
        fake_request(renewing->cluster, renewing->client, WIRE_METHOD_session_renew, &params);
    const struct fake_message *answer = fake_answer(renewing->cluster, renewing->client, id);
    struct bytes body = answer->body;
    assert_false(answer->failed);
    assert_int_equal(wire_session_renew_result_decode(&body, &result), ERR_OK);
    assert_int_equal(result.attempt, renewing->attempt);
    return result;
}

static void a_renewal_tells_of_what_was_unlocked_since(void **state)
{
    struct renewing renewing = renewing_open(81);
    struct wire_revocation item;
    (void)state;

    struct wire_session_renew_result before = renew(&renewing, 1);
    assert_int_equal(before.revoked.count, 0);
    assert_int_equal(before.audit_next, 1);
    break_locks(&renewing, 2);
    struct wire_session_renew_result result = renew(&renewing, 1);

    assert_int_equal(result.revoked.count, 2);
    assert_int_equal(wire_revocation_decode(&result.revoked.raw, &item), ERR_OK);
    assert_int_equal(item.number, 1);
    assert_int_equal(item.token, 1);
    assert_true(bytes_equal(item.name, bytes_of_text("0000")));
    assert_int_equal(result.audit_next, 3);
    assert_false(result.more || result.missed);
    assert_int_equal(renew(&renewing, 3).revoked.count, 0);
    fake_cluster_close(renewing.cluster);
}

static void a_renewal_that_does_not_ask_is_told_nothing(void **state)
{
    struct renewing renewing = renewing_open(82);
    (void)state;

    break_locks(&renewing, 1);
    struct wire_session_renew_result result = renew(&renewing, 0);

    assert_int_equal(result.revoked.count, 0);
    assert_int_equal(result.audit_next, 0);
    fake_cluster_close(renewing.cluster);
}

static void a_leader_that_was_not_there_tells_of_it_too(void **state)
{
    struct renewing renewing = renewing_open(83);
    struct fake_cluster *cluster = renewing.cluster;
    (void)state;

    break_locks(&renewing, 1);
    fake_crash(cluster, renewing.leader);
    renewing.leader = fake_leader(cluster);
    renewing.client = fake_client_open(cluster, renewing.leader);

    assert_int_equal(renew(&renewing, 1).revoked.count, 1);
    fake_cluster_close(cluster);
}

static void what_one_answer_cannot_tell_is_told_by_the_next(void **state)
{
    struct renewing renewing = renewing_open(84);
    uint32_t count = REVOCATION_COUNT_MAX + 3;
    uint32_t told = 0;
    uint64_t next = 1;
    bool more = true;
    (void)state;

    break_locks(&renewing, count);
    while (more) {
        struct wire_session_renew_result result = renew(&renewing, next);

        assert_true(result.revoked.count <= REVOCATION_COUNT_MAX);
        assert_true(result.audit_next > next);
        told += result.revoked.count;
        next = result.audit_next;
        more = result.more;
    }

    assert_int_equal(told, count);
    fake_cluster_close(renewing.cluster);
}

static void a_session_is_told_that_records_are_gone(void **state)
{
    struct renewing renewing = renewing_open(85);
    (void)state;

    break_locks(&renewing, LEASE_AUDIT_COUNT_MAX);
    assert_false(renew(&renewing, 1).missed);
    break_locks(&renewing, 1);

    assert_true(renew(&renewing, 1).missed);
    assert_false(renew(&renewing, 2).missed);
    fake_cluster_close(renewing.cluster);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_renewal_tells_of_what_was_unlocked_since),
        cmocka_unit_test(a_renewal_that_does_not_ask_is_told_nothing),
        cmocka_unit_test(a_leader_that_was_not_there_tells_of_it_too),
        cmocka_unit_test(what_one_answer_cannot_tell_is_told_by_the_next),
        cmocka_unit_test(a_session_is_told_that_records_are_gone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
