/* tests/unit/command/top_picture_test.c: what two looks at a cluster say. */
#define _GNU_SOURCE
#include "client/command/top.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

enum { SECOND_US = 1000000 };

struct fixture {
    struct view view;
    struct top_picture picture;
};

static void name(char *to, size_t size, const char *from)
{
    struct text text;

    text_init(&text, to, size);
    text_add(&text, from);
}

static struct view_node *add_node(struct view *view, const char *called, const char *role)
{
    struct view_node *node = &view->nodes[view->node_count++];
    struct view_member *member = &view->members[view->member_count++];

    *node = (struct view_node){.view = view, .is_reachable = true, .term = 3};
    name(node->name, sizeof(node->name), called);
    name(node->role, sizeof(node->role), role);
    *member = (struct view_member){.node = node};
    name(member->name, sizeof(member->name), called);
    return node;
}

static int setup(void **state)
{
    static struct fixture fixture;

    fixture = (struct fixture){.view = {.run = NULL}};
    top_picture_init(&fixture.picture, false);
    add_node(&fixture.view, "n1", "leader");
    add_node(&fixture.view, "n2", "follower");
    *state = &fixture;
    return 0;
}

static void rates_are_differences_by_time(void **state)
{
    struct fixture *fixture = *state;

    fixture->view.nodes[0].commit = 100;
    fixture->view.nodes[0].answers = 50;
    top_picture_take_nodes(&fixture->picture, &fixture->view, SECOND_US);
    assert_int_equal(fixture->picture.commit_rate, 0);
    assert_int_equal(fixture->picture.history_count, 0);

    fixture->view.nodes[0].commit = 1100;
    fixture->view.nodes[0].answers = 450;
    fixture->view.nodes[0].refusals = 2;
    top_picture_take_nodes(&fixture->picture, &fixture->view, 3 * SECOND_US);

    assert_int_equal(fixture->picture.commit_rate, 500);
    assert_int_equal(fixture->picture.nodes[0].answer_rate, 200);
    assert_int_equal(fixture->picture.nodes[0].refusal_rate, 1);
    assert_int_equal(fixture->picture.history_count, 1);
    assert_true(fixture->picture.nodes[0].leads);
    assert_false(fixture->picture.nodes[1].leads);
}

static void counters_of_a_node_that_was_started_again_have_no_rate(void **state)
{
    struct fixture *fixture = *state;

    fixture->view.nodes[0].answers = 1000;
    top_picture_take_nodes(&fixture->picture, &fixture->view, SECOND_US);
    fixture->view.nodes[0].answers = 3;
    top_picture_take_nodes(&fixture->picture, &fixture->view, 2 * SECOND_US);

    assert_int_equal(fixture->picture.nodes[0].answer_rate, 0);
}

static void node_that_is_gone_does_not_take_the_commit_back(void **state)
{
    struct fixture *fixture = *state;

    fixture->view.nodes[0].commit = 100;
    fixture->view.nodes[1].commit = 90;
    top_picture_take_nodes(&fixture->picture, &fixture->view, SECOND_US);
    fixture->view.members[0].node = NULL;
    fixture->view.nodes[0].is_reachable = false;
    top_picture_take_nodes(&fixture->picture, &fixture->view, 2 * SECOND_US);

    assert_int_equal(fixture->picture.commit, 100);
    assert_int_equal(fixture->picture.commit_rate, 0);
    assert_false(fixture->picture.has_leader);
    assert_false(fixture->picture.nodes[0].is_reachable);
}

static void history_forgets_its_oldest(void **state)
{
    struct fixture *fixture = *state;

    for (uint64_t i = 0; i <= TOP_HISTORY_COUNT + 5; i++) {
        fixture->view.nodes[0].commit += i;
        top_picture_take_nodes(&fixture->picture, &fixture->view, (i + 1) * SECOND_US);
    }

    assert_int_equal(fixture->picture.history_count, TOP_HISTORY_COUNT);
    assert_int_equal(fixture->picture.history[0], 6);
    assert_int_equal(fixture->picture.history[TOP_HISTORY_COUNT - 1], TOP_HISTORY_COUNT + 5);
}

static void locks_that_most_wait_for_come_first(void **state)
{
    struct fixture *fixture = *state;
    struct holdfast_lock_info locks[3 * TOP_LOCK_COUNT_MAX];
    struct holdfast_result result = {
        .locks = locks, .lock_count = 3 * TOP_LOCK_COUNT_MAX, .more = true};

    for (uint32_t i = 0; i < result.lock_count; i++) {
        locks[i] = (struct holdfast_lock_info){
            .name = "name", .name_size = 4, .owner = "owner", .waiters = (i * 7) % 36, .age_ms = i};
    }
    top_picture_take_locks(&fixture->picture, &result);

    assert_int_equal(fixture->picture.lock_count, TOP_LOCK_COUNT_MAX);
    assert_int_equal(fixture->picture.locks_seen, 3 * TOP_LOCK_COUNT_MAX);
    assert_true(fixture->picture.has_more_locks);
    for (uint32_t i = 0; i < TOP_LOCK_COUNT_MAX; i++) {
        assert_int_equal(fixture->picture.locks[i].waiters, 35 - i);
    }
}

static void locks_of_a_cluster_without_a_leader_are_not_known(void **state)
{
    struct fixture *fixture = *state;
    const struct holdfast_result result = {.status = HOLDFAST_NO_QUORUM};

    top_picture_take_locks(&fixture->picture, &result);

    assert_false(fixture->picture.knows_locks);
    assert_int_equal(fixture->picture.lock_count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(rates_are_differences_by_time, setup),
        cmocka_unit_test_setup(counters_of_a_node_that_was_started_again_have_no_rate, setup),
        cmocka_unit_test_setup(node_that_is_gone_does_not_take_the_commit_back, setup),
        cmocka_unit_test_setup(history_forgets_its_oldest, setup),
        cmocka_unit_test_setup(locks_that_most_wait_for_come_first, setup),
        cmocka_unit_test_setup(locks_of_a_cluster_without_a_leader_are_not_known, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
