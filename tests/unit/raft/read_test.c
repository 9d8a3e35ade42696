#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "raft/internal.h"
#include "tests/support/raft/member.h"

static void read_at(struct member *member, uint64_t id)
{
    assert_int_equal(raft_read(member->raft, id, member->now_ms), ERR_OK);
}

/* Leads term 1 of three with the no-op committed and everything collected. */
static void lead_ready(struct member *member)
{
    member_open_simple(member, 3, 0, NULL);
    member_lead(member);
    assert_true(member_collect(member));
    struct raft_message match = message_match(2, 1, 1, 1);
    member_persist(member);
    member_receive(member, &match);
    (void)member_collect(member);
    assert_true(raft_status(member->raft).leader_is_ready);
}

static void answer(struct member *member, raft_id source, uint64_t round)
{
    struct raft_message reply = message_heartbeat_reply(source, 1, round, 1);

    member_receive(member, &reply);
    (void)member_collect(member);
}

static void read_begins_a_round_at_once(void **state)
{
    struct member member;
    (void)state;
    lead_ready(&member);

    read_at(&member, 7);
    read_at(&member, 8);
    assert_true(member_collect(&member));

    uint64_t round = member_sent_now(&member, RAFT_HEARTBEAT, 2)->heartbeat.round;
    assert_int_equal(member_sent_now(&member, RAFT_HEARTBEAT, 3)->heartbeat.round, round);
    assert_int_equal(member.effects.read_count, 0);
    answer(&member, 3, round);
    assert_int_equal(member.effects.read_count, 2); /* One round for both. */
    assert_int_equal(member.effects.reads[0].id, 7);
    assert_int_equal(member.effects.reads[1].id, 8);
    assert_int_equal(member.effects.reads[1].index, 1);
    member_close(&member);
}

static void reply_of_an_earlier_round_does_not_confirm(void **state)
{
    struct member member;
    (void)state;
    lead_ready(&member);
    uint64_t earlier = member.raft->round;
    read_at(&member, 7);
    assert_true(member_collect(&member));

    answer(&member, 2, earlier);
    assert_int_equal(member.effects.read_count, 0);
    answer(&member, 2, earlier + 9); /* Never begun. */
    assert_int_equal(member.effects.read_count, 0);
    answer(&member, 2, earlier + 1);

    assert_int_equal(member.effects.read_count, 1);
    member_close(&member);
}

static void reply_of_an_earlier_term_does_not_confirm(void **state)
{
    struct member member;
    (void)state;
    member_open_simple(&member, 3, 4, NULL);
    member_lead(&member);
    assert_true(member_collect(&member));
    struct raft_message match = message_match(2, 5, 1, 1);
    member_persist(&member);
    member_receive(&member, &match);
    read_at(&member, 7);
    assert_true(member_collect(&member));
    struct raft_message stale = message_heartbeat_reply(2, 4, member.raft->round, 1);

    member_receive(&member, &stale);
    (void)member_collect(&member);

    assert_int_equal(member.effects.read_count, 0);
    member_close(&member);
}

static void read_waits_for_an_entry_of_the_leaders_own_term(void **state)
{
    struct member member;
    (void)state;
    member_open_simple(&member, 3, 0, NULL);
    member_lead(&member);
    read_at(&member, 7);
    assert_true(member_collect(&member));
    member_persist(&member);

    answer(&member, 2, member.raft->round);
    assert_int_equal(member.effects.read_count, 0);
    struct raft_message match = message_match(2, 1, 1, 1);
    member_receive(&member, &match);
    assert_true(member_collect(&member));
    assert_int_equal(member.effects.read_count, 0); /* Its round begins only now. */
    answer(&member, 2, member.raft->round);

    assert_int_equal(member.effects.read_count, 1);
    assert_int_equal(member.effects.reads[0].index, 1);
    member_close(&member);
}

static void append_reply_confirms_a_round_as_well(void **state)
{
    struct member member;
    struct raft_message reply;
    (void)state;
    lead_ready(&member);
    read_at(&member, 7);
    assert_true(member_collect(&member));

    reply = message_match(2, 1, 1, 0);
    reply.append_reply.round = member.raft->round;
    member_receive(&member, &reply);
    assert_true(member_collect(&member));

    assert_int_equal(member.effects.read_count, 1);
    member_close(&member);
}

static void reads_fail_when_leadership_is_lost(void **state)
{
    struct member member;
    struct raft_message newer = message_heartbeat(2, 9, 0, 1);
    (void)state;
    lead_ready(&member);
    read_at(&member, 7);
    assert_true(member_collect(&member));

    member_receive(&member, &newer);
    assert_true(member_collect(&member));

    assert_int_equal(member.effects.read_count, 1);
    assert_int_equal(member.effects.reads[0].error, ERR_NOT_LEADER);
    member_close(&member);
}

static void reads_are_bounded(void **state)
{
    struct member member;
    (void)state;
    lead_ready(&member);

    for (uint64_t id = 0; id < 4; id++) {
        read_at(&member, id);
    }
    assert_int_equal(raft_read(member.raft, 4, member.now_ms), ERR_OVERLOADED);
    assert_true(member_collect(&member));
    answer(&member, 2, member.raft->round);

    assert_int_equal(member.effects.read_count, 4);
    read_at(&member, 5);
    member_close(&member);
}

static void follower_refuses_reads(void **state)
{
    struct member member;
    (void)state;
    member_open_simple(&member, 3, 1, NULL);

    assert_int_equal(raft_read(member.raft, 1, member.now_ms), ERR_NOT_LEADER);
    member_close(&member);
}

static void rounds_under_way_are_bounded_and_the_next_heartbeat_serves(void **state)
{
    struct member member;
    struct raft_options options = member_options();
    struct raft_hard_state hard_state = {0};
    (void)state;
    options.read_count_max = 16;
    member_open(&member, &options, &hard_state, NULL);
    member_lead(&member);
    assert_true(member_collect(&member));
    struct raft_message match = message_match(2, 1, 1, 1);
    member_persist(&member);
    member_receive(&member, &match);
    (void)member_collect(&member);

    for (uint64_t id = 0; id < RAFT_READ_ROUND_COUNT_MAX; id++) {
        read_at(&member, id);
        assert_true(member_collect(&member));
    }
    read_at(&member, 9);
    assert_false(member_collect(&member)); /* Waits. */
    member_tick(&member, 30);
    assert_true(member_collect(&member));
    answer(&member, 2, member.raft->round);

    assert_int_equal(member.effects.read_count, RAFT_READ_ROUND_COUNT_MAX + 1);
    member_close(&member);
}

static void single_member_confirms_at_once_but_after_its_own_commit(void **state)
{
    struct member member;
    (void)state;
    member_open_simple(&member, 1, 0, NULL);
    member_tick(&member, 0);
    assert_true(member_collect(&member));
    member_persist(&member);
    read_at(&member, 7);
    assert_true(member_collect(&member));
    assert_int_equal(member.effects.read_count, 0);

    member_persist(&member);
    assert_true(member_collect(&member));

    assert_int_equal(member.effects.read_count, 1);
    assert_int_equal(member.effects.reads[0].index, 1);
    member_close(&member);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(read_begins_a_round_at_once),
        cmocka_unit_test(reply_of_an_earlier_round_does_not_confirm),
        cmocka_unit_test(reply_of_an_earlier_term_does_not_confirm),
        cmocka_unit_test(read_waits_for_an_entry_of_the_leaders_own_term),
        cmocka_unit_test(append_reply_confirms_a_round_as_well),
        cmocka_unit_test(reads_fail_when_leadership_is_lost),
        cmocka_unit_test(reads_are_bounded),
        cmocka_unit_test(follower_refuses_reads),
        cmocka_unit_test(rounds_under_way_are_bounded_and_the_next_heartbeat_serves),
        cmocka_unit_test(single_member_confirms_at_once_but_after_its_own_commit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
