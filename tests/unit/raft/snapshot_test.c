#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "raft/internal.h"
#include "tests/support/raft/member.h"

static const raft_term log_of_1[] = {1, 1, 1, 1, 0};

/* Member 1 of three in term 2, with a log from 11 to 14 behind a base at 10. */
static void open_behind_base(struct member *member)
{
    struct raft_options options = member_options();
    struct raft_hard_state hard_state = {.term = 2};
    struct raft_base base = member_base(3, 0);

    base.index = 10;
    base.term = 1;
    member_open_base(member, &options, &hard_state, &base, log_of_1);
}

/* Leads term 3; its log ends with the no-op at 15. */
static void lead_behind_base(struct member *member)
{
    open_behind_base(member);
    member_lead(member);
    assert_true(member_collect(member));
    member_persist(member);
}

static struct raft_base base_at(raft_index index, raft_term term)
{
    struct raft_base base = member_base(3, 0);

    base.index = index;
    base.term = term;
    return base;
}

static void log_begins_behind_its_base(void **state)
{
    struct member member;
    struct raft_entry entry;
    raft_term term = 0;
    (void)state;
    open_behind_base(&member);
    struct raft_status status = raft_status(member.raft);

    assert_int_equal(status.base_index, 10);
    assert_int_equal(status.commit_index, 10);
    assert_int_equal(status.last_index, 14);
    assert_false(raft_entry_at(member.raft, 10, &entry));
    assert_true(raft_entry_at(member.raft, 11, &entry));
    assert_true(raft_term_at(member.raft, 10, &term));
    assert_int_equal(term, 1);
    assert_false(raft_term_at(member.raft, 9, &term));
    assert_false(raft_term_at(member.raft, 0, &term));
    member_close(&member);
}

static void previous_entry_before_the_base_matches(void **state)
{
    struct member member;
    uint8_t entries[MEMBER_ENTRIES_SIZE_MAX];
    struct raft_message append = message_append(2, 2, 7, 1, 0, log_of_1, entries);
    (void)state;
    open_behind_base(&member);

    member_receive(&member, &append); /* 8 to 11. */
    assert_true(member_collect(&member));

    const struct raft_message *reply = member_sent_now(&member, RAFT_APPEND_REPLY, 2);
    assert_true(reply->append_reply.success);
    assert_int_equal(reply->append_reply.match_index, 11);
    assert_int_equal(raft_status(member.raft).last_index, 14);
    member_close(&member);
}

static void term_of_the_base_is_known_when_all_before_is_forgotten(void **state)
{
    struct member member;
    raft_term term = 0;
    (void)state;
    member_open_simple(&member, 3, 1, log_of_1);
    raft_applied(member.raft, 4);

    raft_compacted(member.raft, 4, 1);
    raft_compacted(member.raft, 3, 1); /* Behind the last one: ignored. */

    assert_int_equal(raft_status(member.raft).base_index, 4);
    assert_true(raft_term_at(member.raft, 4, &term));
    assert_int_equal(term, 1);
    member_close(&member);
}

static void follower_that_lacks_what_is_gone_is_named_until_told(void **state)
{
    struct member member;
    (void)state;
    lead_behind_base(&member);
    struct raft_message refusal = message_refusal(3, 3, 4, 1, 2);

    member_receive(&member, &refusal);
    assert_true(member_collect(&member));
    assert_int_equal(member.effects.snapshot_count, 1);
    assert_int_equal(member.effects.snapshots[0].peer, 3);
    assert_int_equal(member.effects.snapshots[0].index_min, 10);
    assert_int_equal(member.effects.fetch_count, 0);
    (void)member_collect(&member);
    assert_int_equal(member.effects.snapshot_count, 0);
    member_tick(&member, 120); /* Four heartbeats. */
    assert_true(member_collect(&member));
    assert_int_equal(member.effects.snapshot_count, 1);
    raft_peer_reset(member.raft, 3, member.now_ms);
    assert_true(member_collect(&member));
    assert_int_equal(member.effects.snapshot_count, 1);

    assert_null(member_sent_now(&member, RAFT_APPEND, 3));
    member_close(&member);
}

static void told_leader_probes_behind_the_snapshot(void **state)
{
    struct member member;
    (void)state;
    lead_behind_base(&member);
    struct raft_message refusal = message_refusal(3, 3, 4, 1, 2);
    member_receive(&member, &refusal);
    assert_true(member_collect(&member));

    raft_snapshot_sent(member.raft, 3, 10, true, member.now_ms);
    assert_true(member_collect(&member));

    const struct raft_message *append = member_sent_now(&member, RAFT_APPEND, 3);
    assert_int_equal(append->append.previous_index, 10);
    assert_int_equal(append->append.previous_term, 1);
    assert_int_equal(raft_match_index(member.raft, 3), 0); /* Only its own word counts. */
    member_close(&member);
}

static void match_found_meanwhile_ends_the_wait_for_a_snapshot(void **state)
{
    struct member member;
    (void)state;
    lead_behind_base(&member);
    struct raft_message refusal = message_refusal(3, 3, 4, 1, 2);
    member_receive(&member, &refusal);
    assert_true(member_collect(&member));
    struct raft_message match = message_match(3, 3, 12, 2);

    member_receive(&member, &match);
    assert_true(member_collect(&member));

    assert_int_equal(member_sent_now(&member, RAFT_APPEND, 3)->append.previous_index, 12);
    member_close(&member);
}

static void log_is_wanted_from_where_a_follower_is(void **state)
{
    struct member member;
    (void)state;
    lead_behind_base(&member);
    uint64_t round = member.raft->round;
    struct raft_message match = message_match(2, 3, 13, 1);
    struct raft_message refusal = message_refusal(3, 3, 4, 1, 2);
    match.append_reply.round = round;
    refusal.append_reply.round = round;

    assert_int_equal(raft_wanted_index(member.raft), 16); /* Nobody was heard yet. */
    member_receive(&member, &match);
    assert_int_equal(raft_wanted_index(member.raft), 14);
    member_receive(&member, &refusal);
    assert_true(member_collect(&member));

    assert_int_equal(raft_wanted_index(member.raft), 11); /* Behind the snapshot for 3. */
    member_close(&member);
}

static void parts_of_a_snapshot_put_the_election_off(void **state)
{
    struct member member;
    (void)state;
    open_behind_base(&member);

    for (int i = 0; i < 10; i++) {
        member.now_ms += 90;
        assert_true(raft_heard(member.raft, 2, 3, member.now_ms));
        member_tick(&member, 0);
    }

    assert_int_equal(raft_status(member.raft).role, RAFT_FOLLOWER);
    assert_int_equal(raft_status(member.raft).leader, 3);
    assert_false(raft_heard(member.raft, 1, 2, member.now_ms)); /* A leader of an older term. */
    assert_int_equal(raft_status(member.raft).leader, 3);
    assert_true(raft_heard(member.raft, 5, 2, member.now_ms));
    assert_int_equal(raft_status(member.raft).term, 5);
    member_close(&member);
}

static void no_campaign_while_a_snapshot_is_installed(void **state)
{
    struct member member;
    (void)state;
    open_behind_base(&member);

    member_tick(&member, 300);
    assert_int_equal(raft_status(member.raft).role, RAFT_PRE_CANDIDATE);
    raft_installing(member.raft, true);
    assert_int_equal(raft_status(member.raft).role, RAFT_FOLLOWER);
    member_tick(&member, 300);
    assert_int_equal(raft_status(member.raft).role, RAFT_FOLLOWER);
    raft_installing(member.raft, false);
    member_tick(&member, 300);

    assert_int_equal(raft_status(member.raft).role, RAFT_PRE_CANDIDATE);
    member_close(&member);
}

static void only_newer_snapshots_are_wanted(void **state)
{
    struct member member;
    (void)state;
    open_behind_base(&member);

    assert_false(raft_wants_snapshot(member.raft, 10, 1)); /* Not ahead of what is committed. */
    assert_true(raft_wants_snapshot(member.raft, 11, 1));
    assert_true(raft_wants_snapshot(member.raft, 99, 2));
    assert_false(raft_wants_snapshot(member.raft, 99, 3)); /* Of a term not heard of. */

    struct raft_base old = base_at(10, 1);
    raft_installed(member.raft, &old, member.now_ms);
    assert_int_equal(raft_status(member.raft).last_index, 14);
    member_close(&member);
}

static void installing_keeps_the_tail_that_follows_and_carries_it_again(void **state)
{
    struct member member;
    uint8_t entries[MEMBER_ENTRIES_SIZE_MAX];
    const raft_term terms[] = {2, 2, 0};
    struct raft_message append = message_append(2, 2, 14, 1, 0, terms, entries);
    struct raft_base base = base_at(12, 1);
    (void)state;
    open_behind_base(&member);
    member_receive(&member, &append); /* 15 and 16, under way to the disk. */
    assert_true(member_collect(&member));
    struct raft_tag late = member.effects.tag;

    raft_installed(member.raft, &base, member.now_ms);
    raft_check(member.raft);
    raft_persisted(member.raft, &late, member.now_ms);
    assert_int_equal(raft_status(member.raft).durable_index, 14); /* Of an older epoch. */
    assert_true(member_collect(&member));

    assert_int_equal(member.effects.commit_index, 12);
    assert_int_equal(member.effects.append_first_index, 15);
    assert_int_equal(member.effects.append_count, 2);
    member_persist(&member);
    assert_int_equal(raft_status(member.raft).durable_index, 16);
    assert_int_equal(raft_status(member.raft).base_index, 12);
    member_close(&member);
}

static void installing_drops_a_log_that_conflicts(void **state)
{
    struct member member;
    uint8_t entries[MEMBER_ENTRIES_SIZE_MAX];
    const raft_term terms[] = {2, 0};
    struct raft_message append = message_append(2, 2, 14, 1, 0, terms, entries);
    struct raft_base base = base_at(12, 2);
    struct raft_entry entry;
    (void)state;
    open_behind_base(&member);
    base.configuration.index = 12;
    base.configuration.member_count = 2;
    member_receive(&member, &append); /* Its acknowledgement is owed. */

    raft_installed(member.raft, &base, member.now_ms);
    raft_check(member.raft);
    assert_true(member_collect(&member));

    assert_int_equal(raft_status(member.raft).last_index, 12);
    assert_int_equal(raft_status(member.raft).durable_index, 12);
    assert_false(raft_entry_at(member.raft, 13, &entry));
    assert_null(member_sent_now(&member, RAFT_APPEND_REPLY, 2));
    assert_null(member_sent_durable(&member, RAFT_APPEND_REPLY, 2));
    assert_int_equal(member.effects.configuration->index, 12);
    assert_int_equal(member.effects.configuration->member_count, 2);
    member_close(&member);
}

static void installed_configuration_counts_unless_the_tail_has_a_newer_one(void **state)
{
    struct member member;
    struct raft_base base = member_base(2, 1);
    struct raft_options options = member_options();
    struct raft_hard_state hard_state = {.term = 2};
    struct raft_base formation = member_base(3, 0);
    uint8_t bytes[MEMBER_ENTRIES_SIZE_MAX];
    uint8_t entries[MEMBER_ENTRIES_SIZE_MAX];
    const raft_term terms[] = {2, 2, 0};
    (void)state;
    member_open_base(&member, &options, &hard_state, &formation, NULL);
    formation.configuration.index = 1;
    struct raft_message first = message_configuration(2, 2, &formation.configuration, 1, bytes);
    struct raft_message more = message_append(2, 2, 1, 1, 0, terms, entries);
    member_receive(&member, &first);
    member_receive(&member, &more);
    assert_true(member_collect(&member));
    base.index = 1;
    base.term = 1;
    base.configuration.index = 1;

    raft_installed(member.raft, &base, member.now_ms);
    raft_check(member.raft);

    assert_int_equal(raft_status(member.raft).last_index, 3);
    assert_int_equal(raft_configuration(member.raft)->members[2].parts, RAFT_PART_LEARNER);
    member_close(&member);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(log_begins_behind_its_base),
        cmocka_unit_test(previous_entry_before_the_base_matches),
        cmocka_unit_test(term_of_the_base_is_known_when_all_before_is_forgotten),
        cmocka_unit_test(follower_that_lacks_what_is_gone_is_named_until_told),
        cmocka_unit_test(told_leader_probes_behind_the_snapshot),
        cmocka_unit_test(match_found_meanwhile_ends_the_wait_for_a_snapshot),
        cmocka_unit_test(log_is_wanted_from_where_a_follower_is),
        cmocka_unit_test(parts_of_a_snapshot_put_the_election_off),
        cmocka_unit_test(no_campaign_while_a_snapshot_is_installed),
        cmocka_unit_test(only_newer_snapshots_are_wanted),
        cmocka_unit_test(installing_keeps_the_tail_that_follows_and_carries_it_again),
        cmocka_unit_test(installing_drops_a_log_that_conflicts),
        cmocka_unit_test(installed_configuration_counts_unless_the_tail_has_a_newer_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
