#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "raft/internal.h"
#include "tests/support/raft/member.h"

static void open_waiting(struct member *member)
{
    struct raft_options options = member_options();
    struct raft_hard_state hard_state = {0};
    struct raft_base nothing = {0};

    member_open_base(member, &options, &hard_state, &nothing, NULL);
}

static void strangers_make_way_and_members_stay(void **state)
{
    struct member member;
    (void)state;
    member_open_simple(&member, 3, 1, NULL);

    for (raft_id id = 100; id < 100 + 3 * RAFT_PLACE_COUNT; id++) {
        struct raft_message request = message_pre_vote_request(id, 2, 0, 0);
        member_receive(&member, &request);
        assert_true(raft_place_find(member.raft, id) != RAFT_NOWHERE);
        assert_true(member_collect(&member));
        assert_non_null(member_sent_now(&member, RAFT_VOTE_REPLY, id));
    }

    assert_int_equal(raft_place_find(member.raft, 2), 1);
    assert_int_equal(raft_place_find(member.raft, 3), 2);
    assert_int_equal(raft_place_find(member.raft, 100), RAFT_NOWHERE);
    member_close(&member);
}

static void waiting_node_takes_any_leader_and_learns_who_is_a_member(void **state)
{
    struct member member;
    struct raft_base base = member_base(2, 0);
    uint8_t bytes[MEMBER_ENTRIES_SIZE_MAX];
    (void)state;
    open_waiting(&member);
    base.configuration.index = 1;
    base.configuration.member_count = 3;
    base.configuration.members[2].id = 3;
    base.configuration.members[2].parts = RAFT_PART_LEARNER;
    struct raft_message append = message_configuration(3, 4, &base.configuration, 4, bytes);

    member_receive(&member, &append);
    assert_true(member_collect(&member));

    assert_true(member.effects.configuration_changed);
    assert_false(member.effects.configuration_is_committed);
    assert_int_equal(member.effects.configuration->member_count, 3);
    assert_true(raft_status(member.raft).is_voter);
    assert_int_equal(raft_status(member.raft).leader, 3);
    member_close(&member);
}

static void waiting_node_never_campaigns(void **state)
{
    struct member member;
    (void)state;
    open_waiting(&member);

    for (int i = 0; i < 5; i++) {
        member_tick(&member, 300);
        assert_false(member_collect(&member));
    }

    assert_int_equal(raft_status(member.raft).role, RAFT_FOLLOWER);
    assert_false(raft_status(member.raft).is_removed);
    member_close(&member);
}

static void learner_is_a_learner_after_a_restart(void **state)
{
    struct member member;
    struct raft_options options = member_options();
    struct raft_hard_state hard_state = {.term = 2};
    struct raft_base base = member_base(3, 1);
    (void)state;
    options.self = 4;
    base.index = 5;
    base.term = 2;
    base.configuration.index = 3;
    member_open_base(&member, &options, &hard_state, &base, NULL);

    member_tick(&member, 1000);

    assert_false(raft_status(member.raft).is_voter);
    assert_int_equal(raft_status(member.raft).role, RAFT_FOLLOWER);
    assert_int_equal(raft_status(member.raft).last_index, 5);
    assert_int_equal(raft_status(member.raft).commit_index, 5);
    member_close(&member);
}

static void truncation_brings_the_configuration_before_back(void **state)
{
    struct member member;
    struct raft_base base = member_base(3, 1);
    uint8_t bytes[MEMBER_ENTRIES_SIZE_MAX];
    uint8_t entries[MEMBER_ENTRIES_SIZE_MAX];
    const raft_term terms[] = {2, 0};
    (void)state;
    member_open_simple(&member, 3, 1, NULL);
    base.configuration.index = 1;
    struct raft_message append = message_configuration(2, 1, &base.configuration, 1, bytes);
    struct raft_message other = message_append(3, 2, 0, 0, 0, terms, entries);

    member_receive(&member, &append);
    assert_true(member_collect(&member));
    assert_int_equal(raft_status(member.raft).configuration_index, 1);
    assert_int_equal(raft_configuration(member.raft)->member_count, 4);
    member_receive(&member, &other);
    assert_true(member_collect(&member));

    assert_true(member.effects.configuration_changed);
    assert_true(member.effects.configuration_is_committed);
    assert_int_equal(member.effects.configuration->index, 0);
    assert_int_equal(member.effects.configuration->member_count, 3);
    member_close(&member);
}

static void append_with_a_bad_configuration_is_ignored(void **state)
{
    struct member member;
    struct raft_base base = member_base(3, 1);
    uint8_t bytes[MEMBER_ENTRIES_SIZE_MAX];
    (void)state;
    member_open_simple(&member, 3, 1, NULL);
    base.configuration.index = 2; /* Its entry is 1. */
    struct raft_message append = message_configuration(2, 1, &base.configuration, 1, bytes);

    member_receive(&member, &append);

    assert_false(member_collect(&member));
    assert_int_equal(raft_status(member.raft).last_index, 0);
    member_close(&member);
}

static void log_with_a_bad_configuration_is_not_restored(void **state)
{
    static _Alignas(ARENA_ALIGNMENT) uint8_t memory[2 << 20];
    struct raft_options options = member_options();
    struct raft_hard_state hard_state = {.term = 1};
    struct raft_base base = member_base(3, 0);
    struct raft *raft = NULL;
    struct arena arena;
    (void)state;
    arena_init(&arena, memory, sizeof(memory));
    assert_int_equal(raft_open(&raft, &arena, &options, &hard_state, &base), ERR_OK);
    struct raft_entry entry = {.index = 1, .term = 1, .kind = RAFT_ENTRY_CONFIGURATION};

    assert_int_equal(raft_restore(raft, &entry), ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strangers_make_way_and_members_stay),
        cmocka_unit_test(waiting_node_takes_any_leader_and_learns_who_is_a_member),
        cmocka_unit_test(waiting_node_never_campaigns),
        cmocka_unit_test(learner_is_a_learner_after_a_restart),
        cmocka_unit_test(truncation_brings_the_configuration_before_back),
        cmocka_unit_test(append_with_a_bad_configuration_is_ignored),
        cmocka_unit_test(log_with_a_bad_configuration_is_not_restored),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
