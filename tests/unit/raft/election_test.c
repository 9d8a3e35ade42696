#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "raft/internal.h"
#include "tests/support/raft/member.h"

static const raft_term log_1_1_2[] = {1, 1, 2, 0};

static void request_for_vote_waits_for_own_vote_on_disk(void **state)
{
    struct member member;
    struct raft_message pre_vote = message_vote(2, 0, true, 1);
    (void)state;
    member_open_simple(&member, 3, 0, NULL);

    member_tick(&member, 200);
    assert_true(member_collect(&member));
    assert_non_null(member_sent_now(&member, RAFT_VOTE_REQUEST, 2));
    assert_false(member.effects.hard_state_changed);
    member_receive(&member, &pre_vote);
    assert_true(member_collect(&member));

    assert_true(member.effects.hard_state_changed);
    assert_int_equal(member.effects.hard_state.term, 1);
    assert_int_equal(member.effects.hard_state.vote, 1);
    assert_null(member_sent_now(&member, RAFT_VOTE_REQUEST, 2));
    assert_non_null(member_sent_durable(&member, RAFT_VOTE_REQUEST, 2));
    member_close(&member);
}

static void own_vote_counts_only_when_durable(void **state)
{
    struct member member;
    struct raft_message pre_vote = message_vote(2, 0, true, 1);
    struct raft_message vote = message_vote(2, 1, false, 1);
    (void)state;
    member_open_simple(&member, 3, 0, NULL);
    member_tick(&member, 200);
    member_receive(&member, &pre_vote);
    assert_true(member_collect(&member));

    member_receive(&member, &vote);
    assert_int_equal(raft_status(member.raft).role, RAFT_CANDIDATE);
    member_persist(&member);

    assert_int_equal(raft_status(member.raft).role, RAFT_LEADER);
    member_close(&member);
}

static void completion_of_an_earlier_unit_does_not_count_own_vote(void **state)
{
    struct member member;
    uint8_t entries[MEMBER_ENTRIES_SIZE_MAX];
    const raft_term one_of_1[] = {1, 0};
    struct raft_message append = message_append(2, 1, 0, 0, 0, one_of_1, entries);
    struct raft_message pre_vote = message_vote(2, 1, true, 2);
    struct raft_message vote = message_vote(2, 2, false, 2);
    (void)state;
    member_open_simple(&member, 3, 1, NULL);
    member_receive(&member, &append);
    assert_true(member_collect(&member));
    struct raft_tag earlier = member.effects.tag;
    member_tick(&member, 200);
    member_receive(&member, &pre_vote);
    assert_true(member_collect(&member));
    assert_int_equal(member.effects.hard_state.term, 2);

    member_receive(&member, &vote);
    raft_persisted(member.raft, &earlier, member.now_ms);
    assert_int_equal(raft_status(member.raft).role, RAFT_CANDIDATE);
    member_persist(&member);

    assert_int_equal(raft_status(member.raft).role, RAFT_LEADER);
    member_close(&member);
}

static void vote_waits_until_it_is_durable(void **state)
{
    struct member member;
    struct raft_message request = message_vote_request(2, 1, 0, 0);
    (void)state;
    member_open_simple(&member, 3, 0, NULL);

    member_receive(&member, &request);
    assert_true(member_collect(&member));

    assert_true(member.effects.hard_state_changed);
    assert_int_equal(member.effects.hard_state.vote, 2);
    assert_null(member_sent_now(&member, RAFT_VOTE_REPLY, 2));
    assert_true(member_sent_durable(&member, RAFT_VOTE_REPLY, 2)->vote_reply.granted);
    member_close(&member);
}

static void repeated_vote_request_gets_the_same_vote(void **state)
{
    struct member member;
    struct raft_message request = message_vote_request(2, 1, 0, 0);
    (void)state;
    member_open_simple(&member, 3, 0, NULL);
    member_receive(&member, &request);
    assert_true(member_collect(&member));
    member_persist(&member);

    member_receive(&member, &request);
    assert_true(member_collect(&member));

    assert_false(member.effects.hard_state_changed);
    assert_true(member_sent_now(&member, RAFT_VOTE_REPLY, 2)->vote_reply.granted);
    member_close(&member);
}

static bool grants(struct member *member, raft_term last_term, raft_index last_index)
{
    raft_term term = raft_status(member->raft).term + 1;
    struct raft_message request = message_vote_request(2, term, last_term, last_index);

    member_receive(member, &request);
    assert_true(member_collect(member));
    member_persist(member);
    return member_sent_durable(member, RAFT_VOTE_REPLY, 2)->vote_reply.granted;
}

static void vote_is_refused_when_candidate_log_is_older(void **state)
{
    struct member member;
    (void)state;
    member_open_simple(&member, 3, 2, log_1_1_2);

    assert_false(grants(&member, 1, 9)); /* Longer, but of an older term. */
    assert_false(grants(&member, 2, 2)); /* Same term, shorter. */
    assert_true(grants(&member, 2, 3));
    assert_true(grants(&member, 3, 1)); /* Shorter, but of a newer term. */
    member_close(&member);
}

static void only_one_vote_is_given_in_a_term(void **state)
{
    struct member member;
    struct raft_message first = message_vote_request(2, 1, 0, 0);
    struct raft_message second = message_vote_request(3, 1, 0, 0);
    (void)state;
    member_open_simple(&member, 3, 0, NULL);

    member_receive(&member, &first);
    member_receive(&member, &second);
    assert_true(member_collect(&member));

    assert_true(member_sent_durable(&member, RAFT_VOTE_REPLY, 2)->vote_reply.granted);
    assert_false(member_sent_durable(&member, RAFT_VOTE_REPLY, 3)->vote_reply.granted);
    member_close(&member);
}

static void same_term_step_down_keeps_the_vote(void **state)
{
    struct member member;
    struct raft_message request = message_vote_request(2, 1, 9, 9);
    (void)state;
    member_open_simple(&member, 3, 0, NULL);
    member_lead(&member);
    member_collect(&member);
    member_persist(&member);

    member_tick(&member, 300); /* Nobody answers: check-quorum. */
    assert_int_equal(raft_status(member.raft).role, RAFT_FOLLOWER);
    assert_int_equal(raft_status(member.raft).term, 1);
    member_receive(&member, &request);
    assert_true(member_collect(&member));

    assert_false(member_sent_now(&member, RAFT_VOTE_REPLY, 2)->vote_reply.granted);
    member_close(&member);
}

static void vote_given_before_a_restart_binds_after_it(void **state)
{
    struct member member;
    struct raft_options options = member_options();
    struct raft_hard_state hard_state = {.term = 5, .vote = 3};
    struct raft_message request = message_vote_request(2, 5, 9, 9);
    (void)state;
    member_open(&member, &options, &hard_state, NULL);

    member_receive(&member, &request);
    assert_true(member_collect(&member));

    assert_false(member_sent_now(&member, RAFT_VOTE_REPLY, 2)->vote_reply.granted);
    member_close(&member);
}

static void stale_vote_does_not_count(void **state)
{
    struct member member;
    struct raft_message pre_vote = message_vote(2, 3, true, 4);
    struct raft_message old_term = message_vote(2, 3, false, 3);
    struct raft_message old_request = message_vote(3, 4, false, 3);
    (void)state;
    member_open_simple(&member, 3, 3, NULL);
    member_tick(&member, 200);
    member_receive(&member, &pre_vote);
    assert_true(member_collect(&member));
    member_persist(&member);

    member_receive(&member, &pre_vote); /* A pre-vote is not a vote. */
    member_receive(&member, &old_term);
    member_receive(&member, &old_request);

    assert_int_equal(raft_status(member.raft).role, RAFT_CANDIDATE);
    member_close(&member);
}

static void pre_vote_changes_nothing(void **state)
{
    struct member member;
    struct raft_message request = message_pre_vote_request(2, 4, 2, 3);
    (void)state;
    member_open_simple(&member, 3, 2, log_1_1_2);
    (void)member_collect(&member);
    uint64_t wake_ms = member.effects.wake_ms;

    member_receive(&member, &request);
    assert_true(member_collect(&member));

    assert_true(member_sent_now(&member, RAFT_VOTE_REPLY, 2)->vote_reply.granted);
    assert_false(member.effects.hard_state_changed);
    assert_int_equal(raft_status(member.raft).term, 2);
    assert_int_equal(member.effects.wake_ms, wake_ms);
    member_close(&member);
}

static void lower_term_pre_vote_is_refused_aloud(void **state)
{
    struct member member;
    struct raft_message request = message_pre_vote_request(2, 2, 9, 9);
    (void)state;
    member_open_simple(&member, 3, 5, NULL);

    member_receive(&member, &request);
    assert_true(member_collect(&member));

    const struct raft_message *reply = member_sent_now(&member, RAFT_VOTE_REPLY, 2);
    assert_false(reply->vote_reply.granted);
    assert_true(reply->vote_reply.pre);
    assert_int_equal(reply->term, 5);
    member_close(&member);
}

static void requests_are_ignored_while_a_leader_is_heard(void **state)
{
    struct member member;
    struct raft_message heartbeat = message_heartbeat(2, 1, 0, 1);
    struct raft_message vote = message_vote_request(3, 2, 9, 9);
    struct raft_message pre_vote = message_pre_vote_request(3, 2, 9, 9);
    (void)state;
    member_open_simple(&member, 3, 1, NULL);
    member_receive(&member, &heartbeat);
    (void)member_collect(&member);

    member.now_ms += 99;
    member_receive(&member, &vote);
    member_receive(&member, &pre_vote);
    assert_false(member_collect(&member));
    assert_int_equal(raft_status(member.raft).term, 1);
    member.now_ms += 1;
    member_receive(&member, &vote);

    assert_int_equal(raft_status(member.raft).term, 2);
    member_close(&member);
}

static void transfer_overrides_stickiness(void **state)
{
    struct member member;
    struct raft_message heartbeat = message_heartbeat(2, 1, 0, 1);
    struct raft_message vote = message_vote_request(3, 2, 9, 9);
    (void)state;
    member_open_simple(&member, 3, 1, NULL);
    member_receive(&member, &heartbeat);
    (void)member_collect(&member);

    vote.vote_request.transfer = true;
    member_receive(&member, &vote);
    assert_true(member_collect(&member));

    assert_true(member_sent_durable(&member, RAFT_VOTE_REPLY, 3)->vote_reply.granted);
    member_close(&member);
}

static void leader_with_a_quorum_ignores_candidates(void **state)
{
    struct member member;
    struct raft_message vote = message_vote_request(3, 9, 9, 9);
    (void)state;
    member_open_simple(&member, 3, 0, NULL);
    member_lead(&member);

    member_receive(&member, &vote);

    assert_int_equal(raft_status(member.raft).role, RAFT_LEADER);
    assert_int_equal(raft_status(member.raft).term, 1);
    member_close(&member);
}

static void lagging_member_of_a_higher_term_makes_the_leader_step_down(void **state)
{
    struct member member;
    struct raft_message reply = message_heartbeat_reply(3, 9, 1, 0);
    (void)state;
    member_open_simple(&member, 3, 0, NULL);
    member_lead(&member);

    member_receive(&member, &reply);

    assert_int_equal(raft_status(member.raft).role, RAFT_FOLLOWER);
    assert_int_equal(raft_status(member.raft).term, 9);
    member_close(&member);
}

static void no_campaign_while_hard_state_is_being_written(void **state)
{
    struct member member;
    struct raft_message request = message_vote_request(2, 1, 0, 0);
    (void)state;
    member_open_simple(&member, 3, 0, NULL);
    member_receive(&member, &request);
    assert_true(member_collect(&member));

    member_tick(&member, 200);
    assert_int_equal(raft_status(member.raft).role, RAFT_FOLLOWER);
    member_persist(&member);
    member_tick(&member, 200);

    assert_int_equal(raft_status(member.raft).role, RAFT_PRE_CANDIDATE);
    member_close(&member);
}

static void timeout_is_drawn_anew_each_time(void **state)
{
    struct member member;
    uint64_t seen[8];
    uint32_t different = 0;
    (void)state;
    member_open_simple(&member, 3, 0, NULL);

    for (uint32_t i = 0; i < COUNT_OF(seen); i++) {
        member_tick(&member, 200);
        (void)member_collect(&member);
        seen[i] = member.effects.wake_ms - member.now_ms;
        assert_in_range(seen[i], 100, 200);
        different += i > 0 && seen[i] != seen[i - 1];
    }

    assert_true(different >= 5);
    member_close(&member);
}

static void misdirected_messages_are_ignored(void **state)
{
    struct member member;
    struct raft_message nameless = message_vote_request(0, 9, 9, 9);
    struct raft_message echo = message_vote_request(1, 9, 9, 9);
    struct raft_message misdirected = message_vote_request(2, 9, 9, 9);
    (void)state;
    member_open_simple(&member, 3, 1, NULL);

    misdirected.target = 3;
    member_receive(&member, &nameless);
    member_receive(&member, &echo);
    member_receive(&member, &misdirected);

    assert_false(member_collect(&member));
    assert_int_equal(raft_status(member.raft).term, 1);
    member_close(&member);
}

static void single_member_leads_at_once_and_commits_when_durable(void **state)
{
    struct member member;
    (void)state;
    member_open_simple(&member, 1, 0, NULL);

    member_tick(&member, 0);
    assert_true(member_collect(&member));
    member_persist(&member);
    assert_int_equal(raft_status(member.raft).role, RAFT_LEADER);
    assert_true(member_collect(&member));
    assert_int_equal(member.effects.commit_index, 0);
    member_persist(&member);

    assert_int_equal(raft_status(member.raft).commit_index, 1);
    member_close(&member);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(request_for_vote_waits_for_own_vote_on_disk),
        cmocka_unit_test(own_vote_counts_only_when_durable),
        cmocka_unit_test(completion_of_an_earlier_unit_does_not_count_own_vote),
        cmocka_unit_test(vote_waits_until_it_is_durable),
        cmocka_unit_test(repeated_vote_request_gets_the_same_vote),
        cmocka_unit_test(vote_is_refused_when_candidate_log_is_older),
        cmocka_unit_test(only_one_vote_is_given_in_a_term),
        cmocka_unit_test(same_term_step_down_keeps_the_vote),
        cmocka_unit_test(vote_given_before_a_restart_binds_after_it),
        cmocka_unit_test(stale_vote_does_not_count),
        cmocka_unit_test(pre_vote_changes_nothing),
        cmocka_unit_test(lower_term_pre_vote_is_refused_aloud),
        cmocka_unit_test(requests_are_ignored_while_a_leader_is_heard),
        cmocka_unit_test(transfer_overrides_stickiness),
        cmocka_unit_test(leader_with_a_quorum_ignores_candidates),
        cmocka_unit_test(lagging_member_of_a_higher_term_makes_the_leader_step_down),
        cmocka_unit_test(no_campaign_while_hard_state_is_being_written),
        cmocka_unit_test(timeout_is_drawn_anew_each_time),
        cmocka_unit_test(misdirected_messages_are_ignored),
        cmocka_unit_test(single_member_leads_at_once_and_commits_when_durable),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
