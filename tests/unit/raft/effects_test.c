#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "raft/internal.h"
#include "tests/support/raft/member.h"

static void commit_hint_names_only_what_was_durable_before(void **state)
{
    struct member member;
    uint8_t entries[MEMBER_ENTRIES_SIZE_MAX];
    const raft_term two_of_1[] = {1, 1, 0};
    struct raft_message append = message_append(2, 1, 0, 0, 2, two_of_1, entries);
    struct raft_message vote = message_vote_request(3, 2, 9, 9);
    (void)state;
    member_open_simple(&member, 3, 1, NULL);

    member_receive(&member, &append);
    assert_true(member_collect(&member));
    assert_int_equal(member.effects.commit_index, 2);
    assert_int_equal(member.effects.hard_state.commit_index, 0);
    member_persist(&member);
    member.now_ms += 500;
    member_receive(&member, &vote);
    assert_true(member_collect(&member));

    assert_int_equal(member.effects.hard_state.commit_index, 2);
    member_close(&member);
}

static void reply_may_wait_for_an_earlier_unit(void **state)
{
    struct member member;
    struct raft_message vote = message_vote_request(2, 2, 9, 9);
    struct raft_message old = message_vote_request(3, 1, 9, 9);
    (void)state;
    member_open_simple(&member, 3, 1, NULL);
    member_receive(&member, &vote);
    assert_true(member_collect(&member));
    struct raft_tag tag = member.effects.tag;

    member_receive(&member, &old);
    assert_true(member_collect(&member));

    assert_false(member.effects.hard_state_changed);
    assert_int_equal(member.effects.append_count, 0);
    assert_int_equal(member.effects.tag.unit, tag.unit);
    assert_non_null(member_sent_durable(&member, RAFT_VOTE_REPLY, 3));
    member_close(&member);
}

static void units_may_be_reported_by_the_last_alone(void **state)
{
    struct member member;
    uint8_t entries[MEMBER_ENTRIES_SIZE_MAX];
    const raft_term one_of_1[] = {1, 0};
    (void)state;
    member_open_simple(&member, 3, 1, NULL);

    for (raft_index i = 0; i < 3; i++) {
        struct raft_message append = message_append(2, 1, i, i == 0 ? 0 : 1, 0, one_of_1, entries);
        member_receive(&member, &append);
        assert_true(member_collect(&member));
        assert_int_equal(member.effects.tag.unit, i + 1);
    }
    member_persist(&member);

    assert_int_equal(raft_status(member.raft).durable_index, 3);
    member_close(&member);
}

static void nothing_owed_is_nothing_to_do(void **state)
{
    struct member member;
    (void)state;
    member_open_simple(&member, 3, 1, NULL);

    assert_false(member_collect(&member));

    assert_int_equal(member.effects.send_now_count, 0);
    assert_int_equal(member.effects.tag.unit, 0);
    assert_in_range(member.effects.wake_ms, member.now_ms + 100, member.now_ms + 200);
    member_close(&member);
}

static void newer_letter_replaces_an_older_one(void **state)
{
    struct member member;
    struct raft_message first = message_heartbeat(2, 1, 0, 4);
    struct raft_message second = message_heartbeat(2, 1, 0, 5);
    (void)state;
    member_open_simple(&member, 3, 1, NULL);

    member_receive(&member, &first);
    member_receive(&member, &second);
    assert_true(member_collect(&member));

    assert_int_equal(member.effects.send_now_count, 1);
    assert_int_equal(member.effects.send_now[0].heartbeat_reply.round, 5);
    member_close(&member);
}

static void letters_of_an_older_term_do_not_leave(void **state)
{
    struct member member;
    struct raft_message first = message_vote_request(2, 2, 9, 9);
    struct raft_message second = message_vote_request(3, 3, 9, 9);
    (void)state;
    member_open_simple(&member, 3, 1, NULL);

    member_receive(&member, &first);
    member_receive(&member, &second);
    assert_true(member_collect(&member));

    assert_int_equal(member.effects.hard_state.term, 3);
    assert_int_equal(member.effects.hard_state.vote, 3);
    assert_null(member_sent_durable(&member, RAFT_VOTE_REPLY, 2));
    assert_true(member_sent_durable(&member, RAFT_VOTE_REPLY, 3)->vote_reply.granted);
    member_close(&member);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commit_hint_names_only_what_was_durable_before),
        cmocka_unit_test(reply_may_wait_for_an_earlier_unit),
        cmocka_unit_test(units_may_be_reported_by_the_last_alone),
        cmocka_unit_test(nothing_owed_is_nothing_to_do),
        cmocka_unit_test(newer_letter_replaces_an_older_one),
        cmocka_unit_test(letters_of_an_older_term_do_not_leave),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
