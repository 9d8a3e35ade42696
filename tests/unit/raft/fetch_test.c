#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "raft/internal.h"
#include "tests/support/raft/member.h"

/* Restored with 20 entries of terms 1 to 10, two each; window and trail keep only the last few. */
static void lead_long_log(struct member *member)
{
    struct raft_options options = member_options();
    struct raft_hard_state hard_state = {.term = 10, .commit_index = 20};
    raft_term terms[21] = {0};

    for (uint32_t i = 0; i < 20; i++) {
        terms[i] = i / 2 + 1;
    }
    options.window_count_max = 8;
    member_open(member, &options, &hard_state, terms);
    member_lead(member);
    assert_true(member_collect(member));
    member_persist(member);
}

/* Member 2 has nothing. */
static void find_empty_follower(struct member *member)
{
    struct raft_message refusal =
        message_refusal(2, 11, 0, 0, member_sent_now(member, RAFT_APPEND, 2)->append.request);

    member_receive(member, &refusal);
    assert_true(member_collect(member));
}

static uint32_t old_records(uint8_t *to, raft_index first_index, uint32_t count)
{
    uint32_t size = 0;

    for (uint32_t i = 0; i < count; i++) {
        size += member_record(to + size, first_index + i, (first_index + i + 1) / 2, 0);
    }
    return size;
}

static void entries_older_than_the_window_are_fetched_and_sent(void **state)
{
    struct member member;
    uint8_t bytes[1024];
    (void)state;
    lead_long_log(&member);

    find_empty_follower(&member);
    assert_null(member_sent_now(&member, RAFT_APPEND, 2));
    assert_int_equal(member.effects.fetch_count, 1);
    assert_int_equal(member.effects.fetches[0].peer, 2);
    assert_int_equal(member.effects.fetches[0].first_index, 1);
    uint32_t size = old_records(bytes, 1, 4);
    raft_fetched(member.raft, 2, 1, 4, bytes_of(bytes, size), member.now_ms);
    memset(bytes, 0xee, sizeof(bytes)); /* Borrowed for the call only. */
    assert_true(member_collect(&member));

    const struct raft_append *append = &member_sent_now(&member, RAFT_APPEND, 2)->append;
    assert_int_equal(append->previous_index, 0);
    assert_int_equal(append->entry_count, 4);
    struct bytes rest = append->first;
    struct raft_entry entry;
    assert_true(raft_entry_next(&rest, &entry));
    assert_int_equal(entry.index, 1);
    member_close(&member);
}

static void term_before_the_trail_is_learned_from_the_fetched_entry(void **state)
{
    struct member member;
    uint8_t bytes[1024];
    (void)state;
    lead_long_log(&member);
    /* As if the trail had forgotten all but its newest runs. */
    struct raft_trail *trail = &member.raft->trail;
    trail->count = 3;
    memmove(&trail->runs[0], &trail->runs[8], 3 * sizeof(trail->runs[0]));
    struct raft_message refusal =
        message_refusal(2, 11, 6, 3, member_sent_now(&member, RAFT_APPEND, 2)->append.request);

    member_receive(&member, &refusal);
    assert_true(member_collect(&member));
    assert_int_equal(member.effects.fetches[0].first_index, 6);
    uint32_t size = old_records(bytes, 6, 4);
    raft_fetched(member.raft, 2, 6, 4, bytes_of(bytes, size), member.now_ms);
    assert_true(member_collect(&member));

    const struct raft_append *append = &member_sent_now(&member, RAFT_APPEND, 2)->append;
    assert_int_equal(append->previous_index, 6);
    assert_int_equal(append->previous_term, 3);
    assert_int_equal(append->entry_count, 3);
    member_close(&member);
}

static void unanswered_fetch_is_asked_again(void **state)
{
    struct member member;
    (void)state;
    lead_long_log(&member);
    find_empty_follower(&member);

    raft_fetched(member.raft, 2, 1, 0, (struct bytes){0}, member.now_ms);
    for (uint32_t i = 0; i < 3; i++) {
        struct raft_message alive = message_heartbeat_reply(3, 11, member.raft->round, 20);
        member_tick(&member, 30);
        member_receive(&member, &alive);
        assert_true(member_collect(&member));
        assert_int_equal(member.effects.fetch_count, 0);
    }
    member_tick(&member, 30);
    assert_true(member_collect(&member));

    assert_int_equal(member.effects.fetch_count, 1);
    member_close(&member);
}

static void fetched_entries_that_are_not_ours_are_not_sent(void **state)
{
    struct member member;
    uint8_t bytes[1024];
    (void)state;
    lead_long_log(&member);
    find_empty_follower(&member);

    uint32_t size = member_record(bytes, 1, 9, 0); /* The trail knows better. */
    raft_fetched(member.raft, 2, 1, 1, bytes_of(bytes, size), member.now_ms);
    (void)member_collect(&member);
    assert_null(member_sent_now(&member, RAFT_APPEND, 2));
    size = old_records(bytes, 3, 1);
    raft_fetched(member.raft, 2, 3, 1, bytes_of(bytes, size), member.now_ms); /* Not asked. */
    (void)member_collect(&member);

    assert_null(member_sent_now(&member, RAFT_APPEND, 2));
    member_close(&member);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries_older_than_the_window_are_fetched_and_sent),
        cmocka_unit_test(term_before_the_trail_is_learned_from_the_fetched_entry),
        cmocka_unit_test(unanswered_fetch_is_asked_again),
        cmocka_unit_test(fetched_entries_that_are_not_ours_are_not_sent),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
