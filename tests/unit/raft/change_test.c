#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "raft/internal.h"
#include "tests/support/raft/member.h"

/* Leads term 1 of voters 1 to 3 and learner 4, with the no-op committed. */
static void lead_with_learner(struct member *member, const struct raft_options *options)
{
    struct raft_hard_state hard_state = {0};
    struct raft_base base = member_base(3, 1);

    member_open_base(member, options, &hard_state, &base, NULL);
    member_lead(member);
    assert_true(member_collect(member));
    member_persist(member);
    struct raft_message match = message_match(2, 1, 1, 1);
    member_receive(member, &match);
    (void)member_collect(member);
    assert_true(raft_status(member->raft).leader_is_ready);
}

static void lead_ready(struct member *member)
{
    struct raft_options options = member_options();

    lead_with_learner(member, &options);
}

static enum raft_verdict change(struct member *member, enum raft_change_kind kind, raft_id id,
                                raft_id replaces)
{
    struct raft_change change = {.kind = kind, .id = id, .replaces = replaces};
    raft_index index = 0;
    enum raft_verdict verdict = raft_reconfigure(member->raft, &change, member->now_ms, &index);

    raft_check(member->raft);
    return verdict;
}

static void propose(struct member *member)
{
    raft_index index = 0;

    assert_int_equal(
        raft_propose(member->raft, (struct bytes){0}, (struct bytes){0}, member->now_ms, &index),
        ERR_OK);
    (void)member_collect(member);
    member_persist(member);
}

static void match(struct member *member, raft_id source, raft_index index)
{
    struct raft_message reply = message_match(source, 1, index, member->raft->request);

    reply.append_reply.round = member->raft->round;
    member_receive(member, &reply);
    (void)member_collect(member);
}

static void acknowledgements_of_learners_never_count(void **state)
{
    struct member member;
    (void)state;
    lead_ready(&member);

    propose(&member);
    match(&member, 4, 2);
    assert_int_equal(raft_status(member.raft).commit_index, 1);
    assert_int_equal(raft_read(member.raft, 7, member.now_ms), ERR_OK);
    assert_true(member_collect(&member));
    match(&member, 4, 2);
    assert_int_equal(member.effects.read_count, 0);
    member_tick(&member, 199); /* Heard by the learner alone. */
    match(&member, 4, 2);
    member_tick(&member, 1);

    assert_int_equal(raft_status(member.raft).role, RAFT_FOLLOWER);
    member_close(&member);
}

static void learner_that_lags_is_not_promoted(void **state)
{
    struct member member;
    (void)state;
    lead_ready(&member);

    assert_int_equal(change(&member, RAFT_PROMOTE, 4, 0), RAFT_REFUSED_BEHIND);
    propose(&member);
    match(&member, 4, 1); /* Has what there was at the first round's beginning, but not all. */
    member.now_ms += 101; /* Longer than the least election timeout. */
    match(&member, 2, 2);
    propose(&member);
    match(&member, 4, 2);

    assert_false(raft_has_caught_up(member.raft, 4));
    assert_int_equal(change(&member, RAFT_PROMOTE, 4, 0), RAFT_REFUSED_BEHIND);
    member_close(&member);
}

static void learner_has_caught_up_after_a_short_round(void **state)
{
    struct member member;
    (void)state;
    lead_ready(&member);
    member.now_ms += 150; /* The first round is long. */
    propose(&member);
    match(&member, 2, 2);
    match(&member, 4, 1);
    assert_false(raft_has_caught_up(member.raft, 4));

    propose(&member);
    member.now_ms += 20;
    match(&member, 4, 2); /* What there was 20 ms ago, and not all that there is. */

    assert_true(raft_has_caught_up(member.raft, 4));
    assert_int_equal(change(&member, RAFT_PROMOTE, 4, 0), RAFT_ACCEPTED);
    member_close(&member);
}

static void learner_that_is_not_heard_is_not_promoted(void **state)
{
    struct member member;
    (void)state;
    lead_ready(&member);
    match(&member, 4, 1);
    assert_true(raft_has_caught_up(member.raft, 4));

    member.now_ms += 150;
    match(&member, 2, 1);
    member_tick(&member, 0);
    (void)member_collect(&member);
    member.now_ms += 60;
    match(&member, 2, 1);

    assert_int_equal(raft_status(member.raft).role, RAFT_LEADER);
    assert_int_equal(change(&member, RAFT_PROMOTE, 4, 0), RAFT_REFUSED_BEHIND);
    member_close(&member);
}

/* It has everything, and then its disk stalls: it answers heartbeats and acknowledges nothing. */
static void learner_that_is_heard_and_acknowledges_nothing_is_not_promoted(void **state)
{
    struct member member;
    (void)state;
    lead_ready(&member);
    match(&member, 4, 1);
    assert_true(raft_has_caught_up(member.raft, 4));

    for (raft_index index = 2; index <= 6; index++) {
        propose(&member);
        member_tick(&member, 50);
        (void)member_collect(&member);
        match(&member, 2, index);
        struct raft_message reply = message_heartbeat_reply(4, 1, member.raft->round, 1);
        member_receive(&member, &reply);
        (void)member_collect(&member);
    }

    assert_int_equal(raft_status(member.raft).commit_index, 6);
    assert_false(raft_has_caught_up(member.raft, 4));
    assert_int_equal(change(&member, RAFT_PROMOTE, 4, 0), RAFT_REFUSED_BEHIND);
    match(&member, 4, 6);
    assert_int_equal(change(&member, RAFT_PROMOTE, 4, 0), RAFT_ACCEPTED);
    member_close(&member);
}

static void nine_members_are_enough(void **state)
{
    struct member member;
    struct raft_options options = member_options();
    struct raft_hard_state hard_state = {0};
    struct raft_base base = member_base(3, 6);
    (void)state;
    member_open_base(&member, &options, &hard_state, &base, NULL);
    member_lead(&member);
    assert_true(member_collect(&member));
    member_persist(&member);
    match(&member, 2, 1);

    assert_int_equal(change(&member, RAFT_ADD_LEARNER, 10, 0), RAFT_REFUSED_TOO_MANY);
    assert_int_equal(change(&member, RAFT_ADD_LEARNER, 0, 0), RAFT_REFUSED_INVALID);
    assert_int_equal(change(&member, RAFT_REMOVE, 9, 0), RAFT_ACCEPTED);
    member_close(&member);
}

static void context_is_replaced_without_a_joint_step(void **state)
{
    struct member member;
    struct raft_change change = {
        .kind = RAFT_CHANGE_CONTEXT, .id = 3, .context = bytes_of_text("host:1")};
    uint8_t large[RAFT_CONTEXT_SIZE_MAX + 1] = {0};
    raft_index index = 0;
    (void)state;
    lead_ready(&member);

    assert_int_equal(raft_reconfigure(member.raft, &change, member.now_ms, &index), RAFT_ACCEPTED);
    (void)member_collect(&member);
    member_persist(&member);
    match(&member, 2, 2);
    const struct raft_member *found = raft_configuration_find(raft_configuration(member.raft), 3);

    assert_int_equal(index, 2);
    assert_int_equal(found->context_size, 6);
    assert_memory_equal(found->context, "host:1", 6);
    assert_int_equal(raft_status(member.raft).configuration_index, 2);
    assert_true(raft_status(member.raft).configuration_is_committed);
    change.context = bytes_of(large, sizeof(large));
    assert_int_equal(raft_reconfigure(member.raft, &change, member.now_ms, &index),
                     RAFT_REFUSED_INVALID);
    member_close(&member);
}

static void change_without_room_is_refused_and_changes_nothing(void **state)
{
    struct member member;
    struct raft_options options = member_options();
    struct raft_change change = {.kind = RAFT_CHANGE_CONTEXT, .id = 3};
    uint8_t context[RAFT_CONTEXT_SIZE_MAX] = {0};
    raft_index index = 0;
    (void)state;
    options.window_size = 1024; /* An entry has 256 bytes at most. */
    options.uncommitted_size_max = 500;
    lead_with_learner(&member, &options);
    change.context = bytes_of(context, sizeof(context));

    assert_int_equal(raft_reconfigure(member.raft, &change, member.now_ms, &index),
                     RAFT_REFUSED_NO_ROOM);

    assert_int_equal(raft_status(member.raft).last_index, 1);
    assert_int_equal(raft_status(member.raft).configuration_index, 0);
    member_close(&member);
}

static void outgoing_majority_alone_does_not_commit(void **state)
{
    struct member member;
    (void)state;
    lead_ready(&member);
    match(&member, 4, 1);
    assert_int_equal(change(&member, RAFT_PROMOTE, 4, 2), RAFT_ACCEPTED);
    (void)member_collect(&member);
    member_persist(&member);

    match(&member, 2, 2); /* 1 and 2 of the old; 1 alone of 1, 3 and 4. */
    assert_int_equal(raft_status(member.raft).commit_index, 1);
    match(&member, 4, 2);

    assert_int_equal(raft_status(member.raft).commit_index, 2);
    member_close(&member);
}

static void removed_leader_does_not_count_itself(void **state)
{
    struct member member;
    (void)state;
    lead_ready(&member);
    assert_int_equal(change(&member, RAFT_REMOVE, 1, 0), RAFT_ACCEPTED);
    (void)member_collect(&member);
    member_persist(&member);
    match(&member, 2, 2);
    match(&member, 3, 2);
    member_persist(&member); /* The last step, without us. */
    assert_int_equal(raft_status(member.raft).configuration_index, 3);

    match(&member, 2, 3); /* One of two. */
    assert_int_equal(raft_status(member.raft).commit_index, 2);
    assert_int_equal(raft_status(member.raft).role, RAFT_LEADER);
    match(&member, 3, 3);

    assert_int_equal(raft_status(member.raft).commit_index, 3);
    assert_int_equal(raft_status(member.raft).role, RAFT_FOLLOWER);
    assert_true(raft_status(member.raft).is_removed);
    member_close(&member);
}

static void last_step_waits_for_an_entry_of_the_own_term(void **state)
{
    struct member member;
    struct raft_options options = member_options();
    struct raft_hard_state hard_state = {.term = 1};
    struct raft_base base = member_base(3, 0);
    (void)state;
    base.index = 4;
    base.term = 1;
    base.configuration.index = 4;
    for (uint32_t i = 0; i < 3; i++) {
        base.configuration.members[i].parts |= RAFT_PART_OUTGOING;
    }
    base.configuration.members[2].parts = RAFT_PART_OUTGOING;
    member_open_base(&member, &options, &hard_state, &base, NULL);
    member_lead(&member);
    assert_true(member_collect(&member));
    member_persist(&member);
    assert_true(raft_configuration_is_joint(raft_configuration(member.raft)));
    assert_int_equal(raft_status(member.raft).last_index, 5); /* The no-op alone. */

    struct raft_message reply = message_match(2, 2, 5, member.raft->request);
    member_receive(&member, &reply);
    assert_true(member_collect(&member));

    assert_int_equal(raft_status(member.raft).configuration_index, 6);
    assert_false(raft_configuration_is_joint(raft_configuration(member.raft)));
    assert_true(raft_is_departing(member.raft, 3));
    member_close(&member);
}

static void departure_ends_in_any_case(void **state)
{
    struct member member;
    (void)state;
    lead_ready(&member);
    assert_int_equal(change(&member, RAFT_REMOVE, 4, 0), RAFT_ACCEPTED);
    (void)member_collect(&member);
    member_persist(&member);
    match(&member, 2, 2);
    assert_true(raft_is_departing(member.raft, 4));

    for (int i = 0; i < 20; i++) {
        member_tick(&member, 100);
        (void)member_collect(&member);
        match(&member, 2, 2);
    }

    assert_false(raft_is_departing(member.raft, 4));
    assert_int_equal(raft_status(member.raft).role, RAFT_LEADER);
    assert_null(member_sent_now(&member, RAFT_HEARTBEAT, 4));
    member_close(&member);
}

static void every_refusal_has_a_text(void **state)
{
    (void)state;
    for (int i = RAFT_ACCEPTED; i <= RAFT_REFUSED_INVALID; i++) {
        assert_true(strlen(raft_verdict_text((enum raft_verdict)i)) > 5);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(acknowledgements_of_learners_never_count),
        cmocka_unit_test(learner_that_lags_is_not_promoted),
        cmocka_unit_test(learner_has_caught_up_after_a_short_round),
        cmocka_unit_test(learner_that_is_not_heard_is_not_promoted),
        cmocka_unit_test(learner_that_is_heard_and_acknowledges_nothing_is_not_promoted),
        cmocka_unit_test(nine_members_are_enough),
        cmocka_unit_test(context_is_replaced_without_a_joint_step),
        cmocka_unit_test(change_without_room_is_refused_and_changes_nothing),
        cmocka_unit_test(outgoing_majority_alone_does_not_commit),
        cmocka_unit_test(removed_leader_does_not_count_itself),
        cmocka_unit_test(last_step_waits_for_an_entry_of_the_own_term),
        cmocka_unit_test(departure_ends_in_any_case),
        cmocka_unit_test(every_refusal_has_a_text),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
