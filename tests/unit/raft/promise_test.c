#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "raft/internal.h"
#include "tests/support/raft/member.h"

enum { PROMISE_MS = 100, LEASE_MS = 97 }; /* 100 / 1.01, and two cut milliseconds. */

static struct raft_options options_with_promises(void)
{
    struct raft_options options = member_options();

    options.promise_ms = PROMISE_MS;
    options.clock_rate_ppm = 10000;
    return options;
}

static void promise(struct member *member, raft_id source, uint64_t round)
{
    struct raft_message reply =
        message_heartbeat_reply(source, raft_status(member->raft).term, round, 1);

    reply.heartbeat_reply.promise_ms = PROMISE_MS;
    member_receive(member, &reply);
    (void)member_collect(member);
}

/* Leads term 1, its no-op committed; nobody has promised anything. */
static void lead_ready(struct member *member, const struct raft_base *base)
{
    struct raft_options options = options_with_promises();
    struct raft_hard_state hard_state = {0};

    member_open_base(member, &options, &hard_state, base, NULL);
    member_lead(member);
    assert_true(member_collect(member));
    member_persist(member);
    for (raft_id id = 2; id <= 3; id++) {
        struct raft_message match = message_match(id, 1, 1, id - 1);
        member_receive(member, &match);
    }
    (void)member_collect(member);
    assert_true(raft_status(member->raft).leader_is_ready);
}

static bool reads_at_once(struct member *member)
{
    assert_int_equal(raft_read(member->raft, 7, member->now_ms), ERR_OK);
    (void)member_collect(member);
    return member->effects.read_count == 1;
}

static void promise_counts_from_the_sending_and_by_the_slower_clock(void **state)
{
    struct member member;
    struct raft_base base = member_base(3, 0);
    (void)state;
    lead_ready(&member, &base);
    uint64_t sent_ms = member.now_ms;

    member.now_ms += 50; /* The answer takes its time. */
    promise(&member, 2, 1);

    assert_int_equal(raft_status(member.raft).lease_ms, sent_ms + LEASE_MS);
    member.now_ms = sent_ms + LEASE_MS - 1;
    assert_true(reads_at_once(&member));
    member.now_ms = sent_ms + LEASE_MS;
    assert_false(reads_at_once(&member));
    member_close(&member);
}

static void promises_of_no_majority_or_of_learners_are_not_enough(void **state)
{
    struct member member;
    struct raft_base base = member_base(5, 1);
    (void)state;
    lead_ready(&member, &base);

    promise(&member, 2, 1);
    promise(&member, 6, 1);

    assert_int_equal(raft_status(member.raft).lease_ms, 0);
    promise(&member, 3, 1);
    assert_true(raft_status(member.raft).lease_ms > member.now_ms);
    member_close(&member);
}

static void promises_of_both_majorities_are_needed_while_joint(void **state)
{
    struct member member;
    struct raft_base base = member_base(4, 0);
    (void)state;
    base.index = 1;
    base.term = 1;
    base.configuration.index = 1;
    base.configuration.members[1].parts = RAFT_PART_VOTER | RAFT_PART_OUTGOING;
    base.configuration.members[0].parts = RAFT_PART_VOTER | RAFT_PART_OUTGOING;
    base.configuration.members[2].parts = RAFT_PART_OUTGOING;
    struct raft_options options = options_with_promises();
    struct raft_hard_state hard_state = {.term = 1};
    member_open_base(&member, &options, &hard_state, &base, NULL);
    member_lead(&member);
    assert_true(member_collect(&member));
    member.raft->commit_index = 2; /* Ready, and the last step has no room yet. */
    member.raft->durable_index = 2;
    member.raft->quorum.outgoing = 1 | 2 | 4;

    member.raft->peers[raft_place_find(member.raft, 4)].lease_ms = member.now_ms + 50;

    assert_int_equal(raft_lease_until(member.raft), 0); /* 1 and 4 of the new, 1 of the old. */
    member.raft->peers[raft_place_find(member.raft, 3)].lease_ms = member.now_ms + 40;
    assert_int_equal(raft_lease_until(member.raft), member.now_ms + 40);
    member_close(&member);
}

static void leader_that_ordered_a_campaign_reads_by_rounds(void **state)
{
    struct member member;
    struct raft_base base = member_base(3, 0);
    (void)state;
    lead_ready(&member, &base);
    promise(&member, 2, 1);
    assert_true(reads_at_once(&member));

    assert_int_equal(raft_transfer(member.raft, 2, member.now_ms), RAFT_ACCEPTED);
    (void)member_collect(&member);
    assert_non_null(member_sent_now(&member, RAFT_TIMEOUT_NOW, 2));

    assert_false(reads_at_once(&member));
    assert_int_equal(raft_status(member.raft).lease_ms, 0);
    member_close(&member);
}

static void voter_keeps_its_promise_when_its_leader_is_gone(void **state)
{
    struct member member;
    struct raft_options options = options_with_promises();
    struct raft_hard_state hard_state = {.term = 1};
    struct raft_message heartbeat = message_heartbeat(2, 1, 0, 1);
    struct raft_message newer = message_heartbeat_reply(2, 2, 0, 0);
    struct raft_message request = message_vote_request(3, 3, 0, 0);
    (void)state;
    member_open(&member, &options, &hard_state, NULL);
    member.now_ms += 100;
    member_receive(&member, &heartbeat);
    assert_true(member_collect(&member));
    const struct raft_message *reply = member_sent_now(&member, RAFT_HEARTBEAT_REPLY, 2);
    assert_int_equal(reply->heartbeat_reply.promise_ms, PROMISE_MS);

    member_receive(&member, &newer); /* A higher term: nobody leads any more. */
    struct raft_message vote = message_vote(2, 2, false, 2);
    member_receive(&member, &vote);
    assert_int_equal(raft_status(member.raft).leader, 0);
    member.now_ms += PROMISE_MS - 1;
    member_receive(&member, &request);
    (void)member_collect(&member);
    assert_null(member_sent_durable(&member, RAFT_VOTE_REPLY, 3));
    member.now_ms += 1;
    member_receive(&member, &request);
    assert_true(member_collect(&member));

    assert_true(member_sent_durable(&member, RAFT_VOTE_REPLY, 3)->vote_reply.granted);
    member_close(&member);
}

static void voter_that_starts_waits_out_the_longest_promise(void **state)
{
    struct member member;
    struct raft_options options = options_with_promises();
    struct raft_hard_state hard_state = {.term = 1};
    struct raft_message request = message_vote_request(3, 2, 0, 0);
    struct raft_message transfer = request;
    (void)state;
    member_open(&member, &options, &hard_state, NULL);
    transfer.vote_request.transfer = true;

    member.now_ms += PROMISE_MS - 1;
    member_receive(&member, &request);
    assert_false(member_collect(&member));
    member_receive(&member, &transfer); /* Who ordered it has given its promises up. */
    assert_true(member_collect(&member));

    assert_true(member_sent_durable(&member, RAFT_VOTE_REPLY, 3)->vote_reply.granted);
    member_close(&member);
}

static void member_of_a_higher_term_promises_nothing(void **state)
{
    struct member member;
    struct raft_options options = options_with_promises();
    struct raft_hard_state hard_state = {.term = 4};
    struct raft_message heartbeat = message_heartbeat(2, 3, 0, 1);
    (void)state;
    member_open(&member, &options, &hard_state, NULL);
    member_receive(&member, &heartbeat);
    assert_true(member_collect(&member));

    const struct raft_message *reply = member_sent_now(&member, RAFT_HEARTBEAT_REPLY, 2);
    assert_int_equal(reply->heartbeat_reply.promise_ms, 0);
    member_close(&member);
}

/* It may have been configured to promise less since; the test restarts it with none at all. */
static void voter_that_promises_less_now_waits_out_what_it_promised_before(void **state)
{
    struct member member;
    struct raft_options options = member_options();
    struct raft_hard_state hard_state = {.term = 1};
    struct raft_message request = message_vote_request(3, 2, 0, 0);
    (void)state;
    options.promise_wait_ms = PROMISE_MS;
    member_open(&member, &options, &hard_state, NULL);

    member.now_ms += PROMISE_MS - 1;
    member_receive(&member, &request);
    assert_false(member_collect(&member));
    member.now_ms += 1;
    member_receive(&member, &request);
    assert_true(member_collect(&member));

    assert_true(member_sent_durable(&member, RAFT_VOTE_REPLY, 3)->vote_reply.granted);
    member_close(&member);
}

/* A leader that is configured to read by promises, among voters that are not, and the reverse. */
static void only_promises_that_were_given_count(void **state)
{
    struct member member;
    struct raft_base base = member_base(3, 0);
    (void)state;
    lead_ready(&member, &base);
    struct raft_message reply =
        message_heartbeat_reply(2, raft_status(member.raft).term, 1, 1); /* It promises nothing. */

    member_receive(&member, &reply);
    (void)member_collect(&member);
    assert_int_equal(raft_status(member.raft).lease_ms, 0);
    member.raft->options.promise_ms = 0;
    promise(&member, 2, 1);

    assert_int_equal(raft_status(member.raft).lease_ms, 0);
    member_close(&member);
}

static void promises_asked_for_before_a_doubt_do_not_count(void **state)
{
    struct member member;
    struct raft_base base = member_base(3, 0);
    (void)state;
    lead_ready(&member, &base);
    promise(&member, 2, 1);
    assert_true(reads_at_once(&member));
    member.now_ms += 10;

    raft_doubt_promises(member.raft, member.now_ms);

    assert_false(reads_at_once(&member));
    promise(&member, 3, 1); /* It comes late: its heartbeat left before. */
    assert_int_equal(raft_status(member.raft).lease_ms, 0);
    promise(&member, 3, 2); /* The round of that read. */
    assert_int_equal(raft_status(member.raft).lease_ms, member.now_ms + LEASE_MS);
    member_close(&member);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(promise_counts_from_the_sending_and_by_the_slower_clock),
        cmocka_unit_test(promises_of_no_majority_or_of_learners_are_not_enough),
        cmocka_unit_test(promises_of_both_majorities_are_needed_while_joint),
        cmocka_unit_test(leader_that_ordered_a_campaign_reads_by_rounds),
        cmocka_unit_test(voter_keeps_its_promise_when_its_leader_is_gone),
        cmocka_unit_test(voter_that_starts_waits_out_the_longest_promise),
        cmocka_unit_test(member_of_a_higher_term_promises_nothing),
        cmocka_unit_test(voter_that_promises_less_now_waits_out_what_it_promised_before),
        cmocka_unit_test(only_promises_that_were_given_count),
        cmocka_unit_test(promises_asked_for_before_a_doubt_do_not_count),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
