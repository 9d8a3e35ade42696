#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "raft/internal.h"
#include "tests/support/raft/member.h"

static const raft_term log_1_1_1[] = {1, 1, 1, 0};
static const raft_term one_of_1[] = {1, 0};
static const raft_term two_of_1[] = {1, 1, 0};
static const raft_term two_of_2[] = {2, 2, 0};

static void acknowledgement_waits_until_entries_are_durable(void **state)
{
    struct member member;
    uint8_t entries[MEMBER_ENTRIES_SIZE_MAX];
    struct raft_message append = message_append(2, 1, 0, 0, 0, two_of_1, entries);
    (void)state;
    member_open_simple(&member, 3, 1, NULL);

    member_receive(&member, &append);
    assert_true(member_collect(&member));

    assert_int_equal(member.effects.append_first_index, 1);
    assert_int_equal(member.effects.append_count, 2);
    assert_null(member_sent_now(&member, RAFT_APPEND_REPLY, 2));
    const struct raft_message *reply = member_sent_durable(&member, RAFT_APPEND_REPLY, 2);
    assert_true(reply->append_reply.success);
    assert_int_equal(reply->append_reply.match_index, 2);
    member_close(&member);
}

/* Also a repeated append whose entries are in memory but still under way to the disk. */
static void duplicate_append_acknowledges_only_what_is_durable(void **state)
{
    struct member member;
    uint8_t entries[MEMBER_ENTRIES_SIZE_MAX];
    struct raft_message append = message_append(2, 1, 0, 0, 0, two_of_1, entries);
    struct raft_message empty = message_append(2, 1, 0, 0, 0, NULL, entries);
    (void)state;
    member_open_simple(&member, 3, 1, NULL);
    member_receive(&member, &append);
    assert_true(member_collect(&member));

    member_receive(&member, &append);
    assert_true(member_collect(&member));
    assert_int_equal(member.effects.append_count, 0);
    assert_null(member_sent_now(&member, RAFT_APPEND_REPLY, 2));
    assert_non_null(member_sent_durable(&member, RAFT_APPEND_REPLY, 2));
    member_receive(&member, &empty);
    assert_true(member_collect(&member));

    const struct raft_message *reply = member_sent_now(&member, RAFT_APPEND_REPLY, 2);
    assert_int_equal(reply->append_reply.match_index, 0); /* Not 2, which is only in memory. */
    member_close(&member);
}

static void appends_of_one_turn_share_a_reply(void **state)
{
    struct member member;
    uint8_t entries[MEMBER_ENTRIES_SIZE_MAX];
    uint8_t more[MEMBER_ENTRIES_SIZE_MAX];
    struct raft_message first = message_append(2, 1, 0, 0, 0, two_of_1, entries);
    struct raft_message second = message_append(2, 1, 2, 1, 0, one_of_1, more);
    (void)state;
    member_open_simple(&member, 3, 1, NULL);

    second.append.request = 2;
    member_receive(&member, &first);
    member_receive(&member, &second);
    assert_true(member_collect(&member));

    assert_int_equal(member.effects.send_durable_count, 1);
    assert_int_equal(member.effects.send_durable[0].append_reply.match_index, 3);
    assert_int_equal(member.effects.send_durable[0].append_reply.request, 2);
    member_close(&member);
}

static void commit_goes_no_further_than_this_append_validates(void **state)
{
    struct member member;
    uint8_t entries[MEMBER_ENTRIES_SIZE_MAX];
    struct raft_message append = message_append(2, 2, 1, 1, 3, NULL, entries);
    (void)state;
    member_open_simple(&member, 3, 2, log_1_1_1); /* 2 and 3 may not be the leader's. */

    member_receive(&member, &append);

    assert_int_equal(raft_status(member.raft).commit_index, 1);
    member_close(&member);
}

static void commit_catches_up_when_more_is_validated(void **state)
{
    struct member member;
    uint8_t entries[MEMBER_ENTRIES_SIZE_MAX];
    struct raft_message early = message_append(2, 1, 0, 0, 3, one_of_1, entries);
    uint8_t more[MEMBER_ENTRIES_SIZE_MAX];
    struct raft_message late = message_append(2, 1, 1, 1, 0, two_of_1, more);
    (void)state;
    member_open_simple(&member, 3, 1, NULL);

    member_receive(&member, &early);
    assert_int_equal(raft_status(member.raft).commit_index, 1);
    member_receive(&member, &late);

    assert_int_equal(raft_status(member.raft).commit_index, 3);
    member_close(&member);
}

static void heartbeat_commits_what_the_leader_knows_to_match(void **state)
{
    struct member member;
    struct raft_message heartbeat = message_heartbeat(2, 1, 2, 1);
    (void)state;
    member_open_simple(&member, 3, 1, log_1_1_1); /* After a restart in the leader's term. */

    member_receive(&member, &heartbeat);

    assert_int_equal(raft_status(member.raft).commit_index, 2);
    member_close(&member);
}

static void heartbeat_never_cuts_the_log(void **state)
{
    struct member member;
    struct raft_message heartbeat = message_heartbeat(2, 5, 0, 1);
    (void)state;
    member_open_simple(&member, 3, 1, log_1_1_1);

    member_receive(&member, &heartbeat);

    assert_int_equal(raft_status(member.raft).last_index, 3);
    member_close(&member);
}

static void stale_append_does_not_cut_entries(void **state)
{
    struct member member;
    uint8_t entries[MEMBER_ENTRIES_SIZE_MAX];
    struct raft_message append = message_append(2, 1, 0, 0, 0, one_of_1, entries);
    (void)state;
    member_open_simple(&member, 3, 1, log_1_1_1);

    member_receive(&member, &append);

    assert_int_equal(raft_status(member.raft).last_index, 3);
    member_close(&member);
}

static void conflicting_entries_are_replaced(void **state)
{
    struct member member;
    uint8_t entries[MEMBER_ENTRIES_SIZE_MAX];
    struct raft_message append = message_append(2, 2, 1, 1, 0, two_of_2, entries);
    struct raft_entry entry;
    (void)state;
    member_open_simple(&member, 3, 2, log_1_1_1);

    member_receive(&member, &append);
    assert_true(member_collect(&member));

    assert_int_equal(member.effects.append_first_index, 2);
    assert_int_equal(member.effects.append_count, 2);
    assert_int_equal(raft_status(member.raft).durable_index, 1);
    assert_true(raft_entry_at(member.raft, 2, &entry));
    assert_int_equal(entry.term, 2);
    member_close(&member);
}

static void late_completion_does_not_count_what_was_replaced(void **state)
{
    struct member member;
    uint8_t entries[MEMBER_ENTRIES_SIZE_MAX];
    struct raft_message old = message_append(2, 1, 0, 0, 0, two_of_1, entries);
    uint8_t more[MEMBER_ENTRIES_SIZE_MAX];
    struct raft_message new = message_append(3, 2, 0, 0, 0, two_of_2, more);
    (void)state;
    member_open_simple(&member, 3, 1, NULL);
    member_receive(&member, &old);
    assert_true(member_collect(&member));
    struct raft_tag old_tag = member.effects.tag;
    member_receive(&member, &new);
    assert_true(member_collect(&member));

    raft_persisted(member.raft, &old_tag, member.now_ms);
    assert_int_equal(raft_status(member.raft).durable_index, 0);
    member_persist(&member);

    assert_int_equal(raft_status(member.raft).durable_index, 2);
    member_close(&member);
}

static void gap_is_refused_with_the_end_of_the_log(void **state)
{
    struct member member;
    uint8_t entries[MEMBER_ENTRIES_SIZE_MAX];
    struct raft_message append = message_append(2, 1, 9, 1, 0, one_of_1, entries);
    (void)state;
    member_open_simple(&member, 3, 1, log_1_1_1);

    member_receive(&member, &append);
    assert_true(member_collect(&member));

    const struct raft_message *reply = member_sent_now(&member, RAFT_APPEND_REPLY, 2);
    assert_false(reply->append_reply.success);
    assert_int_equal(reply->append_reply.conflict_index, 3);
    assert_int_equal(reply->append_reply.conflict_term, 1);
    member_close(&member);
}

static void stale_leader_is_told_the_higher_term(void **state)
{
    struct member member;
    uint8_t entries[MEMBER_ENTRIES_SIZE_MAX];
    struct raft_message append = message_append(2, 1, 0, 0, 0, one_of_1, entries);
    struct raft_message heartbeat = message_heartbeat(3, 1, 0, 1);
    (void)state;
    member_open_simple(&member, 3, 4, NULL);

    member_receive(&member, &append);
    member_receive(&member, &heartbeat);
    assert_true(member_collect(&member));

    assert_int_equal(member_sent_now(&member, RAFT_APPEND_REPLY, 2)->term, 4);
    assert_int_equal(member_sent_now(&member, RAFT_HEARTBEAT_REPLY, 3)->term, 4);
    assert_int_equal(raft_status(member.raft).last_index, 0);
    member_close(&member);
}

static void malformed_append_is_ignored(void **state)
{
    struct member member;
    uint8_t entries[MEMBER_ENTRIES_SIZE_MAX];
    struct raft_message append = message_append(2, 1, 0, 0, 0, two_of_1, entries);
    struct raft_message cases[5];
    (void)state;
    member_open_simple(&member, 3, 1, NULL);
    for (uint32_t i = 0; i < COUNT_OF(cases); i++) {
        cases[i] = append;
    }

    cases[0].append.entry_count = 3;
    cases[1].append.first.size -= 1;
    cases[2].append.previous_index = 1; /* The entries do not follow it. */
    cases[3].append.previous_term = 9;
    cases[4].append.previous_index = UINT64_MAX;
    for (uint32_t i = 0; i < COUNT_OF(cases); i++) {
        member_receive(&member, &cases[i]);
    }

    assert_false(member_collect(&member));
    assert_int_equal(raft_status(member.raft).last_index, 0);
    member_close(&member);
}

static void every_message_of_the_leader_puts_the_election_off(void **state)
{
    struct member member;
    uint8_t entries[MEMBER_ENTRIES_SIZE_MAX];
    struct raft_message refused = message_append(2, 1, 9, 1, 0, NULL, entries);
    (void)state;
    member_open_simple(&member, 3, 1, NULL);

    for (uint32_t i = 0; i < 10; i++) {
        member_tick(&member, 99);
        assert_int_equal(raft_status(member.raft).role, RAFT_FOLLOWER);
        member_receive(&member, &refused);
        (void)member_collect(&member);
    }

    assert_int_equal(raft_status(member.raft).leader, 2);
    member_close(&member);
}

static void full_window_takes_a_part_and_says_so(void **state)
{
    struct member member;
    struct raft_options options = member_options();
    struct raft_hard_state hard_state = {.term = 1};
    raft_term terms[21] = {0};
    uint8_t entries[MEMBER_ENTRIES_SIZE_MAX];
    (void)state;
    options.window_count_max = 8;
    member_open(&member, &options, &hard_state, NULL);
    for (uint32_t i = 0; i < 20; i++) {
        terms[i] = 1;
    }
    struct raft_message append = message_append(2, 1, 0, 0, 20, terms, entries);

    member_receive(&member, &append);
    assert_true(member_collect(&member));

    assert_int_equal(member.effects.append_count, 8);
    assert_int_equal(member_sent_durable(&member, RAFT_APPEND_REPLY, 2)->append_reply.match_index,
                     8);
    member_persist(&member);
    raft_applied(member.raft, 8);
    member_receive(&member, &append);
    assert_true(member_collect(&member));
    assert_int_equal(raft_status(member.raft).last_index, 16);
    member_close(&member);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(acknowledgement_waits_until_entries_are_durable),
        cmocka_unit_test(duplicate_append_acknowledges_only_what_is_durable),
        cmocka_unit_test(appends_of_one_turn_share_a_reply),
        cmocka_unit_test(commit_goes_no_further_than_this_append_validates),
        cmocka_unit_test(commit_catches_up_when_more_is_validated),
        cmocka_unit_test(heartbeat_commits_what_the_leader_knows_to_match),
        cmocka_unit_test(heartbeat_never_cuts_the_log),
        cmocka_unit_test(stale_append_does_not_cut_entries),
        cmocka_unit_test(conflicting_entries_are_replaced),
        cmocka_unit_test(late_completion_does_not_count_what_was_replaced),
        cmocka_unit_test(gap_is_refused_with_the_end_of_the_log),
        cmocka_unit_test(stale_leader_is_told_the_higher_term),
        cmocka_unit_test(malformed_append_is_ignored),
        cmocka_unit_test(every_message_of_the_leader_puts_the_election_off),
        cmocka_unit_test(full_window_takes_a_part_and_says_so),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
