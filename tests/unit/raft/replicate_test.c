#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "raft/internal.h"
#include "tests/support/raft/member.h"

static const raft_term log_1_1[] = {1, 1, 0};

static raft_index propose(struct member *member, const char *text)
{
    raft_index index = 0;

    assert_int_equal(
        raft_propose(member->raft, bytes_of_text(text), (struct bytes){0}, member->now_ms, &index),
        ERR_OK);
    return index;
}

/* Leads term 1 with the no-op at 1, known durable at members 2 and 3. */
static void lead_settled(struct member *member)
{
    member_open_simple(member, 3, 0, NULL);
    member_lead(member);
    assert_true(member_collect(member));
    for (raft_id id = 2; id <= 3; id++) {
        uint64_t request = member_sent_now(member, RAFT_APPEND, id)->append.request;
        struct raft_message match = message_match(id, 1, 1, request);
        member_receive(member, &match);
    }
    member_persist(member);
    (void)member_collect(member);
}

static void append_leaves_before_own_disk_has_it(void **state)
{
    struct member member;
    (void)state;
    lead_settled(&member);

    propose(&member, "a");
    propose(&member, "b");
    assert_true(member_collect(&member));

    assert_int_equal(member.effects.append_count, 2);
    assert_int_equal(member_sent_now(&member, RAFT_APPEND, 2)->append.entry_count, 2);
    assert_int_equal(member_sent_now(&member, RAFT_APPEND, 3)->append.entry_count, 2);
    assert_int_equal(member.effects.send_durable_count, 0);
    member_close(&member);
}

static void leader_counts_its_own_copy_only_when_durable(void **state)
{
    struct member member;
    (void)state;
    lead_settled(&member);
    propose(&member, "a");
    assert_true(member_collect(&member));
    struct raft_message match =
        message_match(2, 1, 2, member_sent_now(&member, RAFT_APPEND, 2)->append.request);

    member_receive(&member, &match);
    assert_int_equal(raft_status(member.raft).commit_index, 1);
    member_persist(&member);

    assert_int_equal(raft_status(member.raft).commit_index, 2);
    member_close(&member);
}

static void quorum_of_followers_commits_without_own_disk(void **state)
{
    struct member member;
    (void)state;
    lead_settled(&member);
    propose(&member, "a");
    assert_true(member_collect(&member));

    for (raft_id id = 2; id <= 3; id++) {
        struct raft_message match =
            message_match(id, 1, 2, member_sent_now(&member, RAFT_APPEND, id)->append.request);
        member_receive(&member, &match);
    }

    assert_int_equal(raft_status(member.raft).commit_index, 2);
    assert_int_equal(raft_status(member.raft).durable_index, 1);
    member_close(&member);
}

static void entry_of_an_earlier_term_does_not_commit_by_counting(void **state)
{
    struct member member;
    (void)state;
    member_open_simple(&member, 3, 1, log_1_1);
    member_lead(&member);
    assert_true(member_collect(&member));
    struct raft_message old = message_match(2, 2, 2, 0);
    struct raft_message own = message_match(2, 2, 3, 0);

    member_receive(&member, &old);
    member_persist(&member);
    assert_int_equal(raft_status(member.raft).commit_index, 0);
    assert_false(raft_status(member.raft).leader_is_ready);
    member_receive(&member, &own);

    assert_int_equal(raft_status(member.raft).commit_index, 3);
    assert_true(raft_status(member.raft).leader_is_ready);
    member_close(&member);
}

static void refusal_never_moves_the_commit_index(void **state)
{
    struct member member;
    (void)state;
    lead_settled(&member);
    propose(&member, "a");
    assert_true(member_collect(&member));
    member_persist(&member);
    struct raft_message refusal =
        message_refusal(2, 1, 2, 1, member_sent_now(&member, RAFT_APPEND, 2)->append.request);

    refusal.append_reply.match_index = 2; /* Nonsense in a refusal. */
    member_receive(&member, &refusal);

    assert_int_equal(raft_status(member.raft).commit_index, 1);
    assert_int_equal(raft_match_index(member.raft, 2), 1);
    member_close(&member);
}

static void replies_of_another_term_do_not_count(void **state)
{
    struct member member;
    (void)state;
    member_open_simple(&member, 3, 4, NULL);
    member_lead(&member);
    assert_true(member_collect(&member));
    member_persist(&member);
    struct raft_message stale = message_match(2, 4, 1, 1);
    struct raft_message beyond = message_match(2, 5, 99, 1);

    member_receive(&member, &stale);
    member_receive(&member, &beyond);

    assert_int_equal(raft_match_index(member.raft, 2), 0);
    assert_int_equal(raft_status(member.raft).commit_index, 0);
    member_close(&member);
}

static void commit_is_not_announced_by_extra_messages(void **state)
{
    struct member member;
    (void)state;
    lead_settled(&member);
    propose(&member, "a");
    assert_true(member_collect(&member));
    member_persist(&member);
    struct raft_message match =
        message_match(2, 1, 2, member_sent_now(&member, RAFT_APPEND, 2)->append.request);

    member_receive(&member, &match);
    assert_true(member_collect(&member));
    assert_int_equal(member.effects.commit_index, 2);
    assert_int_equal(member.effects.send_now_count, 0);
    member_tick(&member, 30);
    assert_true(member_collect(&member));

    assert_int_equal(member_sent_now(&member, RAFT_HEARTBEAT, 2)->heartbeat.commit_index, 2);
    /* Member 3 is not known to have it. */
    assert_int_equal(member_sent_now(&member, RAFT_HEARTBEAT, 3)->heartbeat.commit_index, 1);
    member_close(&member);
}

static void lost_append_is_repeated_after_silence(void **state)
{
    struct member member;
    (void)state;
    lead_settled(&member);
    propose(&member, "a");
    assert_true(member_collect(&member));
    uint64_t request = member_sent_now(&member, RAFT_APPEND, 2)->append.request;

    for (uint32_t i = 0; i < 3; i++) {
        struct raft_message alive = message_heartbeat_reply(2, 1, member.raft->round, 2);
        member_receive(&member, &alive);
        member_tick(&member, 30);
        (void)member_collect(&member);
        assert_null(member_sent_now(&member, RAFT_APPEND, 2));
    }
    member_tick(&member, 30);
    assert_true(member_collect(&member));

    const struct raft_message *probe = member_sent_now(&member, RAFT_APPEND, 2);
    assert_int_equal(probe->append.entry_count, 0); /* Only a probe: nobody may be there. */
    assert_int_equal(probe->append.previous_index, 1);
    assert_true(probe->append.request > request);
    member_close(&member);
}

static void heartbeat_reply_shows_a_lost_append(void **state)
{
    struct member member;
    (void)state;
    lead_settled(&member);
    propose(&member, "a");
    assert_true(member_collect(&member));
    member_tick(&member, 60);
    assert_true(member_collect(&member));
    struct raft_message reply = message_heartbeat_reply(
        2, 1, member_sent_now(&member, RAFT_HEARTBEAT, 2)->heartbeat.round, 1);

    member_receive(&member, &reply);
    assert_true(member_collect(&member));

    assert_int_equal(member_sent_now(&member, RAFT_APPEND, 2)->append.entry_count, 1);
    member_close(&member);
}

static void reset_peer_is_probed_again(void **state)
{
    struct member member;
    (void)state;
    lead_settled(&member);
    propose(&member, "a");
    assert_true(member_collect(&member));

    raft_peer_reset(member.raft, 2, member.now_ms);
    assert_true(member_collect(&member));

    assert_int_equal(member_sent_now(&member, RAFT_APPEND, 2)->append.previous_index, 1);
    assert_null(member_sent_now(&member, RAFT_APPEND, 3));
    member_close(&member);
}

static void leader_without_a_quorum_steps_down(void **state)
{
    struct member member;
    (void)state;
    lead_settled(&member);
    struct raft_message reply = message_heartbeat_reply(2, 1, member.raft->round, 1);
    uint64_t start_ms = member.now_ms;

    member.now_ms += 100;
    member_receive(&member, &reply); /* Answers what was sent at the start. */
    member_tick(&member, 99);
    assert_int_equal(raft_status(member.raft).role, RAFT_LEADER);
    assert_int_equal(raft_status(member.raft).quorum_contact_ms, start_ms);
    member_tick(&member, 1);

    assert_int_equal(raft_status(member.raft).role, RAFT_FOLLOWER);
    assert_int_equal(raft_status(member.raft).leader, 0);
    member_close(&member);
}

static void uncommitted_bytes_are_bounded(void **state)
{
    struct member member;
    static const uint8_t big[900];
    raft_index index = 0;
    (void)state;
    lead_settled(&member);

    assert_int_equal(
        raft_propose(member.raft, bytes_of(big, 900), bytes_of(big, 100), member.now_ms, &index),
        ERR_OK); /* 1024 with its header: the first is always allowed. */
    assert_int_equal(
        raft_propose(member.raft, bytes_of(big, 1), (struct bytes){0}, member.now_ms, &index),
        ERR_OVERLOADED);
    assert_int_equal(raft_status(member.raft).uncommitted_bytes, 1024);
    assert_true(member_collect(&member));
    struct raft_message match = message_match(2, 1, 2, 0);
    member_receive(&member, &match);
    member_persist(&member);

    assert_int_equal(raft_status(member.raft).uncommitted_bytes, 0);
    propose(&member, "a");
    assert_int_equal(
        raft_propose(member.raft, bytes_of(big, 900), bytes_of(big, 900), member.now_ms, &index),
        ERR_TOO_LARGE);
    member_close(&member);
}

static void uncommitted_count_is_bounded(void **state)
{
    struct member member;
    struct raft_options options = member_options();
    struct raft_hard_state hard_state = {0};
    raft_index index = 0;
    (void)state;
    options.window_count_max = 8;
    member_open(&member, &options, &hard_state, NULL);
    member_lead(&member);

    for (uint32_t i = 0; i < 3; i++) {
        propose(&member, "");
    }

    assert_int_equal(
        raft_propose(member.raft, (struct bytes){0}, (struct bytes){0}, member.now_ms, &index),
        ERR_OVERLOADED);
    member_close(&member);
}

static void follower_refuses_proposals(void **state)
{
    struct member member;
    raft_index index = 0;
    (void)state;
    member_open_simple(&member, 3, 1, NULL);

    assert_int_equal(
        raft_propose(member.raft, (struct bytes){0}, (struct bytes){0}, member.now_ms, &index),
        ERR_NOT_LEADER);
    member_close(&member);
}

static void noop_carries_the_payload_and_begins_the_term(void **state)
{
    struct member member;
    struct raft_entry entry;
    (void)state;
    member_open_simple(&member, 3, 1, log_1_1);

    raft_set_noop_payload(member.raft, bytes_of_text("stamp"));
    member_lead(&member);

    assert_true(raft_entry_at(member.raft, 3, &entry));
    assert_int_equal(entry.kind, RAFT_ENTRY_NOOP);
    assert_int_equal(entry.term, 2);
    assert_true(bytes_equal(entry.payload, bytes_of_text("stamp")));
    member_close(&member);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(append_leaves_before_own_disk_has_it),
        cmocka_unit_test(leader_counts_its_own_copy_only_when_durable),
        cmocka_unit_test(quorum_of_followers_commits_without_own_disk),
        cmocka_unit_test(entry_of_an_earlier_term_does_not_commit_by_counting),
        cmocka_unit_test(refusal_never_moves_the_commit_index),
        cmocka_unit_test(replies_of_another_term_do_not_count),
        cmocka_unit_test(commit_is_not_announced_by_extra_messages),
        cmocka_unit_test(lost_append_is_repeated_after_silence),
        cmocka_unit_test(heartbeat_reply_shows_a_lost_append),
        cmocka_unit_test(reset_peer_is_probed_again),
        cmocka_unit_test(leader_without_a_quorum_steps_down),
        cmocka_unit_test(uncommitted_bytes_are_bounded),
        cmocka_unit_test(uncommitted_count_is_bounded),
        cmocka_unit_test(follower_refuses_proposals),
        cmocka_unit_test(noop_carries_the_payload_and_begins_the_term),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
