#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "raft/internal.h"
#include "tests/support/raft/member.h"

static const raft_term log_1_1_2[] = {1, 1, 2, 0};

static enum error open_with(const struct raft_options *options,
                            const struct raft_hard_state *hard_state, const struct raft_base *base)
{
    static _Alignas(ARENA_ALIGNMENT) uint8_t memory[2 << 20];
    struct arena arena;
    struct raft *raft = NULL;

    arena_init(&arena, memory, sizeof(memory));
    return raft_open(&raft, &arena, options, hard_state, base);
}

static void options_that_contradict_each_other_are_refused(void **state)
{
    const struct raft_hard_state fresh = {0};
    struct raft_options cases[10];
    struct raft_options good = member_options();
    struct raft_base base = member_base(3, 0);
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        cases[i] = good;
    }

    cases[0].self = 0;
    cases[1].heartbeat_ms = 50; /* Half of the least election timeout. */
    cases[2].election_ms_max = 100;
    cases[3].inflight_count_max = 0;
    cases[4].inflight_count_max = RAFT_INFLIGHT_COUNT_MAX + 1;
    cases[5].uncommitted_size_max = 2048; /* Half of the window. */
    cases[6].read_count_max = 0;
    cases[7].window_size = 100;
    cases[8].promise_ms = 101; /* Above the least election timeout. */
    cases[9].clock_rate_ppm = 1000000;

    assert_int_equal(open_with(&good, &fresh, &base), ERR_OK);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        assert_int_equal(open_with(&cases[i], &fresh, &base), ERR_INVALID);
    }
}

static void base_that_cannot_be_is_refused(void **state)
{
    const struct raft_hard_state hard_state = {.term = 3};
    struct raft_options options = member_options();
    struct raft_base good = member_base(3, 1);
    struct raft_base cases[5];
    (void)state;
    good.index = 7;
    good.term = 3;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        cases[i] = good;
    }

    cases[0].term = 4; /* Above the hard state's. */
    cases[1].term = 0;
    cases[2].index = 0;
    cases[3].configuration.index = 8; /* Behind the base. */
    cases[4].configuration.members[2].id = 1;

    assert_int_equal(open_with(&options, &hard_state, &good), ERR_OK);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        assert_int_equal(open_with(&options, &hard_state, &cases[i]), ERR_INVALID);
    }
}

static void hard_state_that_cannot_be_is_refused(void **state)
{
    const struct raft_hard_state vote_without_term = {.vote = 1};
    const struct raft_hard_state commit_without_term = {.commit_index = 1};
    struct raft_options options = member_options();
    struct raft_base base = member_base(3, 0);
    (void)state;

    assert_int_equal(open_with(&options, &vote_without_term, &base), ERR_INVALID);
    assert_int_equal(open_with(&options, &commit_without_term, &base), ERR_INVALID);
}

static void restored_entries_must_follow_each_other(void **state)
{
    static _Alignas(ARENA_ALIGNMENT) uint8_t memory[2 << 20];
    const struct raft_hard_state hard_state = {.term = 3};
    struct raft_options options = member_options();
    struct raft_base base = member_base(3, 0);
    struct raft_entry entry = {.index = 1, .term = 2, .kind = RAFT_ENTRY_COMMAND};
    struct arena arena;
    struct raft *raft = NULL;
    (void)state;
    arena_init(&arena, memory, sizeof(memory));
    assert_int_equal(raft_open(&raft, &arena, &options, &hard_state, &base), ERR_OK);

    assert_int_equal(raft_restore(raft, &entry), ERR_OK);
    assert_int_equal(raft_restore(raft, &entry), ERR_INVALID); /* A second 1. */
    entry.index = 2;
    entry.term = 1; /* Terms do not fall. */
    assert_int_equal(raft_restore(raft, &entry), ERR_INVALID);
    entry.term = 4; /* Above the hard state's. */
    assert_int_equal(raft_restore(raft, &entry), ERR_INVALID);
    entry.term = 3;
    assert_int_equal(raft_restore(raft, &entry), ERR_OK);
}

static void restart_goes_on_with_log_term_and_hint(void **state)
{
    struct member member;
    struct raft_options options = member_options();
    struct raft_hard_state hard_state = {.term = 4, .vote = 2, .commit_index = 2};
    (void)state;
    member_open(&member, &options, &hard_state, log_1_1_2);

    struct raft_status status = raft_status(member.raft);
    assert_int_equal(status.role, RAFT_FOLLOWER);
    assert_int_equal(status.term, 4);
    assert_int_equal(status.last_index, 3);
    assert_int_equal(status.durable_index, 3);
    assert_int_equal(status.commit_index, 2);
    assert_true(member_collect(&member)); /* The commit index is news to the caller. */
    assert_int_equal(member.effects.append_count, 0);
    assert_int_equal(member.effects.commit_index, 2);
    assert_false(member_collect(&member));
    member_close(&member);
}

static void state_applied_before_the_restart_counts_as_committed(void **state)
{
    struct member member;
    struct raft_options options = member_options();
    struct raft_hard_state hard_state = {.term = 4, .vote = 2, .commit_index = 1};
    (void)state;
    member_open(&member, &options, &hard_state, log_1_1_2);

    raft_applied(member.raft, 2);
    raft_check(member.raft);

    assert_int_equal(raft_status(member.raft).commit_index, 2);
    member_close(&member);
}

static void same_seed_draws_the_same_timeouts(void **state)
{
    struct member one;
    struct member two;
    (void)state;
    member_open_simple(&one, 3, 1, NULL);
    member_open_simple(&two, 3, 1, NULL);

    for (uint32_t i = 0; i < 5; i++) {
        member_tick(&one, 200);
        member_tick(&two, 200);
        (void)member_collect(&one);
        (void)member_collect(&two);
        assert_int_equal(one.effects.wake_ms, two.effects.wake_ms);
    }
    member_close(&one);
    member_close(&two);
}

static void paused_follower_hears_its_leader_before_it_looks_at_the_clock(void **state)
{
    struct member member;
    struct raft_message heartbeat = message_heartbeat(2, 1, 0, 1);
    (void)state;
    member_open_simple(&member, 3, 1, NULL);

    member.now_ms += 10000;
    member_receive(&member, &heartbeat);
    member_tick(&member, 0);

    assert_int_equal(raft_status(member.raft).role, RAFT_FOLLOWER);
    member_close(&member);
}

static struct raft_message nonsense(struct prng *prng, raft_term term)
{
    struct raft_message message = {
        .kind = (enum raft_message_kind)prng_below(prng, 9),
        .source = prng_below(prng, 5),
        .target = prng_below(prng, 3),
        .term = prng_below(prng, 30) == 0 ? term + 1 : term - prng_below(prng, 2),
    };
    uint64_t small[4];

    for (size_t i = 0; i < COUNT_OF(small); i++) {
        small[i] = prng_below(prng, 10) == 0 ? UINT64_MAX : prng_below(prng, 6);
    }
    switch ((unsigned)message.kind) {
    case RAFT_VOTE_REQUEST:
        message.vote_request = (struct raft_vote_request){
            .pre = small[0] % 2 == 0, .last_index = small[1], .last_term = small[2]};
        break;
    case RAFT_VOTE_REPLY:
        message.vote_reply = (struct raft_vote_reply){
            .pre = small[0] % 2 == 0, .granted = true, .request_term = small[1]};
        break;
    case RAFT_APPEND:
        message.append = (struct raft_append){.previous_index = small[0],
                                              .previous_term = small[1],
                                              .commit_index = small[2],
                                              .request = small[3]};
        break;
    case RAFT_APPEND_REPLY:
        message.append_reply = (struct raft_append_reply){.success = small[0] % 2 == 0,
                                                          .match_index = small[1],
                                                          .conflict_index = small[2],
                                                          .conflict_term = small[3],
                                                          .request = small[1]};
        break;
    case RAFT_HEARTBEAT:
        message.heartbeat = (struct raft_heartbeat){.commit_index = small[0], .round = small[1]};
        break;
    case RAFT_HEARTBEAT_REPLY:
        message.heartbeat_reply =
            (struct raft_heartbeat_reply){.round = small[0], .last_index = small[1]};
        break;
    default:
        break; /* The order to campaign has no fields; others are unknown kinds. */
    }
    return message;
}

/* Whatever members say, the invariants hold; only entries that contradict what is committed or
 * validated stop a member, and there are none here. */
static void nonsense_breaks_no_invariant(void **state)
{
    struct prng prng;
    uint32_t led = 0;
    (void)state;
    prng_init(&prng, 3);

    for (uint32_t run = 0; run < 200; run++) {
        struct member member;
        member_open_simple(&member, 3, 2, log_1_1_2);
        member_lead(&member);
        for (uint32_t i = 0; i < 200; i++) {
            struct raft_message message = nonsense(&prng, raft_status(member.raft).term);
            member_receive(&member, &message);
            member_tick(&member, prng_below(&prng, 40));
            if (prng_below(&prng, 2) == 0) {
                (void)member_collect(&member);
                member_persist(&member);
            }
            led += raft_status(member.raft).role == RAFT_LEADER;
        }
        member_close(&member);
    }
    assert_true(led > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_that_contradict_each_other_are_refused),
        cmocka_unit_test(base_that_cannot_be_is_refused),
        cmocka_unit_test(hard_state_that_cannot_be_is_refused),
        cmocka_unit_test(restored_entries_must_follow_each_other),
        cmocka_unit_test(restart_goes_on_with_log_term_and_hint),
        cmocka_unit_test(state_applied_before_the_restart_counts_as_committed),
        cmocka_unit_test(nonsense_breaks_no_invariant),
        cmocka_unit_test(same_seed_draws_the_same_timeouts),
        cmocka_unit_test(paused_follower_hears_its_leader_before_it_looks_at_the_clock),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
