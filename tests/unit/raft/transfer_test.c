#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "raft/internal.h"
#include "tests/support/raft/member.h"

static void lead_collected(struct member *member)
{
    member_open_simple(member, 3, 0, NULL);
    member_lead(member);
    assert_true(member_collect(member));
    member_persist(member);
}

static void resigning_leader_waits_for_its_best_follower(void **state)
{
    struct member member;
    raft_index index = 0;
    (void)state;
    lead_collected(&member);

    raft_resign(member.raft, member.now_ms);
    assert_int_equal(
        raft_propose(member.raft, (struct bytes){0}, (struct bytes){0}, member.now_ms, &index),
        ERR_STOPPING);
    (void)member_collect(&member);
    assert_int_equal(raft_status(member.raft).role, RAFT_LEADER);
    struct raft_message match = message_match(3, 1, 1, 2);
    member_receive(&member, &match);
    assert_true(member_collect(&member));

    assert_non_null(member_sent_now(&member, RAFT_TIMEOUT_NOW, 3));
    assert_null(member_sent_now(&member, RAFT_TIMEOUT_NOW, 2));
    assert_int_equal(raft_status(member.raft).role, RAFT_FOLLOWER);
    member_close(&member);
}

static void resigning_leader_waits_one_election_timeout_at_most(void **state)
{
    struct member member;
    (void)state;
    lead_collected(&member);
    raft_resign(member.raft, member.now_ms);
    struct raft_message alive = message_heartbeat_reply(2, 1, member.raft->round, 0);
    member_receive(&member, &alive);

    member.now_ms += 199;
    member_receive(&member, &alive);
    (void)member_collect(&member);
    assert_int_equal(raft_status(member.raft).role, RAFT_LEADER);
    member.now_ms += 1;
    member_receive(&member, &alive);
    assert_true(member_collect(&member));

    assert_non_null(member_sent_now(&member, RAFT_TIMEOUT_NOW, 2));
    assert_int_equal(raft_status(member.raft).role, RAFT_FOLLOWER);
    member_close(&member);
}

static void resigned_member_does_not_campaign(void **state)
{
    struct member member;
    (void)state;
    member_open_simple(&member, 3, 1, NULL);

    raft_resign(member.raft, member.now_ms);
    member_tick(&member, 1000);

    assert_int_equal(raft_status(member.raft).role, RAFT_FOLLOWER);
    member_close(&member);
}

static void transfer_skips_pre_vote_and_says_so(void **state)
{
    struct member member;
    struct raft_message heartbeat = message_heartbeat(2, 1, 0, 1);
    struct raft_message order = {.kind = RAFT_TIMEOUT_NOW, .source = 2, .target = 1, .term = 1};
    (void)state;
    member_open_simple(&member, 3, 1, NULL);
    member_receive(&member, &heartbeat);
    (void)member_collect(&member);

    member_receive(&member, &order);
    assert_true(member_collect(&member));

    const struct raft_message *request = member_sent_durable(&member, RAFT_VOTE_REQUEST, 3);
    assert_false(request->vote_request.pre);
    assert_true(request->vote_request.transfer);
    assert_int_equal(request->term, 2);
    member_close(&member);
}

static void only_the_leader_may_order_a_campaign(void **state)
{
    struct member member;
    struct raft_message heartbeat = message_heartbeat(2, 5, 0, 1);
    struct raft_message other = {.kind = RAFT_TIMEOUT_NOW, .source = 3, .target = 1, .term = 5};
    struct raft_message old = {.kind = RAFT_TIMEOUT_NOW, .source = 2, .target = 1, .term = 4};
    (void)state;
    member_open_simple(&member, 3, 5, NULL);
    member_receive(&member, &heartbeat);

    member_receive(&member, &other);
    member_receive(&member, &old);

    assert_int_equal(raft_status(member.raft).role, RAFT_FOLLOWER);
    assert_int_equal(raft_status(member.raft).term, 5);
    member_close(&member);
}

static void follower_matches(struct member *member, raft_id source, raft_index index)
{
    struct raft_message match = message_match(source, 1, index, member->raft->request);

    match.append_reply.round = member->raft->round;
    member_receive(member, &match);
    (void)member_collect(member);
}

static void transfer_waits_until_the_target_has_everything(void **state)
{
    struct member member;
    (void)state;
    lead_collected(&member);

    assert_int_equal(raft_transfer(member.raft, 3, member.now_ms), RAFT_ACCEPTED);
    follower_matches(&member, 2, 1);
    assert_null(member_sent_now(&member, RAFT_TIMEOUT_NOW, 3));
    follower_matches(&member, 3, 1);

    assert_non_null(member_sent_now(&member, RAFT_TIMEOUT_NOW, 3));
    assert_int_equal(raft_status(member.raft).role, RAFT_LEADER);
    assert_int_equal(raft_status(member.raft).transfer_target, 3);
    member_close(&member);
}

static void transfer_ends_after_an_election_timeout_and_proposals_resume(void **state)
{
    struct member member;
    raft_index index = 0;
    (void)state;
    lead_collected(&member);
    follower_matches(&member, 3, 1);
    assert_int_equal(raft_transfer(member.raft, 2, member.now_ms), RAFT_ACCEPTED);
    (void)member_collect(&member);
    assert_in_range(member.effects.wake_ms, member.now_ms, member.now_ms + 200);

    member_tick(&member, 199);
    (void)member_collect(&member);
    follower_matches(&member, 3, 1);
    assert_int_equal(
        raft_propose(member.raft, (struct bytes){0}, (struct bytes){0}, member.now_ms, &index),
        ERR_OVERLOADED);
    member_tick(&member, 1);
    (void)member_collect(&member);

    assert_int_equal(
        raft_propose(member.raft, (struct bytes){0}, (struct bytes){0}, member.now_ms, &index),
        ERR_OK);
    assert_int_equal(raft_status(member.raft).transfer_target, 0);
    member_close(&member);
}

static void stalled_leader_hands_over_and_its_disk_keeps_it_from_campaigning(void **state)
{
    struct member member;
    raft_index index = 0;
    (void)state;
    lead_collected(&member);
    follower_matches(&member, 2, 1);
    raft_disk_stalled(member.raft, member.now_ms); /* Nothing is under way: nothing hangs. */
    assert_false(raft_status(member.raft).disk_is_stalled);
    assert_int_equal(
        raft_propose(member.raft, (struct bytes){0}, (struct bytes){0}, member.now_ms, &index),
        ERR_OK);
    assert_true(member_collect(&member));

    raft_disk_stalled(member.raft, member.now_ms);
    follower_matches(&member, 2, 2);
    assert_int_equal(raft_status(member.raft).role, RAFT_LEADER); /* Not settled: one of three. */
    follower_matches(&member, 3, 2);
    assert_int_equal(raft_status(member.raft).role, RAFT_FOLLOWER);
    member_tick(&member, 1000);
    assert_int_equal(raft_status(member.raft).role, RAFT_FOLLOWER);
    member_persist(&member);
    member_tick(&member, 1000);

    assert_int_equal(raft_status(member.raft).role, RAFT_PRE_CANDIDATE);
    member_close(&member);
}

static void leader_goes_on_when_its_disk_answers_in_time(void **state)
{
    struct member member;
    raft_index index = 0;
    (void)state;
    lead_collected(&member);
    follower_matches(&member, 2, 1);
    assert_int_equal(
        raft_propose(member.raft, (struct bytes){0}, (struct bytes){0}, member.now_ms, &index),
        ERR_OK);
    assert_true(member_collect(&member));
    raft_disk_stalled(member.raft, member.now_ms);
    (void)member_collect(&member);

    member_persist(&member);
    (void)member_collect(&member);

    assert_int_equal(
        raft_propose(member.raft, (struct bytes){0}, (struct bytes){0}, member.now_ms, &index),
        ERR_OK);
    assert_int_equal(raft_status(member.raft).role, RAFT_LEADER);
    member_close(&member);
}

static void only_voter_keeps_leading_with_a_stalled_disk(void **state)
{
    struct member member;
    (void)state;
    member_open_simple(&member, 1, 0, NULL);
    member_tick(&member, 0);
    assert_true(member_collect(&member));
    member_persist(&member);
    assert_true(member_collect(&member)); /* The no-op is under way. */

    raft_disk_stalled(member.raft, member.now_ms);
    (void)member_collect(&member);

    assert_int_equal(raft_status(member.raft).role, RAFT_LEADER);
    member_close(&member);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(resigning_leader_waits_for_its_best_follower),
        cmocka_unit_test(resigning_leader_waits_one_election_timeout_at_most),
        cmocka_unit_test(resigned_member_does_not_campaign),
        cmocka_unit_test(transfer_skips_pre_vote_and_says_so),
        cmocka_unit_test(only_the_leader_may_order_a_campaign),
        cmocka_unit_test(transfer_waits_until_the_target_has_everything),
        cmocka_unit_test(transfer_ends_after_an_election_timeout_and_proposals_resume),
        cmocka_unit_test(stalled_leader_hands_over_and_its_disk_keeps_it_from_campaigning),
        cmocka_unit_test(leader_goes_on_when_its_disk_answers_in_time),
        cmocka_unit_test(only_voter_keeps_leading_with_a_stalled_disk),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
