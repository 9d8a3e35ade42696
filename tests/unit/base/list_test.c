/* tests/unit/base/list_test.c: members come back in order and leave from anywhere. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/list.h"

struct item {
    int number;
    struct list link;
};

struct fixture {
    struct list head;
    struct item items[3];
};

static void open(struct fixture *fixture)
{
    list_init(&fixture->head);
    for (int i = 0; i < 3; i++) {
        fixture->items[i].number = i;
        list_init(&fixture->items[i].link);
    }
}

static void open_full(struct fixture *fixture)
{
    open(fixture);
    for (int i = 0; i < 3; i++) {
        list_push_back(&fixture->head, &fixture->items[i].link);
    }
}

/* The numbers of the members as the digits of one number; -1 when a link back is wrong. */
static int order_of(const struct list *head)
{
    int order = 0;

    for (struct list *at = head->next; at != head; at = at->next) {
        if (at->next->previous != at || at->previous->next != at) {
            return -1;
        }
        order = order * 10 + CONTAINER_OF(at, struct item, link)->number;
    }
    return order;
}

static void a_new_list_is_empty(void **state)
{
    (void)state;
    struct fixture fixture;

    open(&fixture);

    assert_true(list_is_empty(&fixture.head));
    assert_null(list_first(&fixture.head));
    assert_null(list_pop_front(&fixture.head));
    assert_false(list_is_linked(&fixture.items[0].link));
}

static void members_come_out_in_the_order_they_went_in(void **state)
{
    (void)state;
    struct fixture fixture;
    open_full(&fixture);

    struct list *first = list_pop_front(&fixture.head);
    struct list *second = list_pop_front(&fixture.head);

    assert_ptr_equal(CONTAINER_OF(first, struct item, link), &fixture.items[0]);
    assert_ptr_equal(CONTAINER_OF(second, struct item, link), &fixture.items[1]);
    assert_int_equal(order_of(&fixture.head), 2);
}

static void a_member_pushed_to_the_front_is_first(void **state)
{
    (void)state;
    struct fixture fixture;
    open(&fixture);

    list_push_back(&fixture.head, &fixture.items[1].link);
    list_push_front(&fixture.head, &fixture.items[2].link);

    assert_ptr_equal(list_first(&fixture.head), &fixture.items[2].link);
    assert_int_equal(order_of(&fixture.head), 21);
}

static void a_member_can_be_inserted_between_two(void **state)
{
    (void)state;
    struct fixture fixture;
    open(&fixture);
    list_push_back(&fixture.head, &fixture.items[1].link);
    list_push_back(&fixture.head, &fixture.items[2].link);

    list_insert_before(&fixture.items[2].link, &fixture.items[0].link);

    assert_int_equal(order_of(&fixture.head), 102);
}

static void a_member_leaves_from_the_middle(void **state)
{
    (void)state;
    struct fixture fixture;
    open_full(&fixture);

    list_remove(&fixture.items[1].link);

    assert_int_equal(order_of(&fixture.head), 2);
    assert_false(list_is_linked(&fixture.items[1].link));
    assert_true(list_is_linked(&fixture.items[2].link));
}

static void removing_twice_changes_nothing(void **state)
{
    (void)state;
    struct fixture fixture;
    open_full(&fixture);

    list_remove(&fixture.items[0].link);
    list_remove(&fixture.items[0].link);

    assert_int_equal(order_of(&fixture.head), 12);
}

static void the_list_is_empty_when_the_last_member_left(void **state)
{
    (void)state;
    struct fixture fixture;
    open_full(&fixture);

    for (int i = 2; i >= 0; i--) {
        list_remove(&fixture.items[i].link);
    }

    assert_true(list_is_empty(&fixture.head));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_list_is_empty),
        cmocka_unit_test(members_come_out_in_the_order_they_went_in),
        cmocka_unit_test(a_member_pushed_to_the_front_is_first),
        cmocka_unit_test(a_member_can_be_inserted_between_two),
        cmocka_unit_test(a_member_leaves_from_the_middle),
        cmocka_unit_test(removing_twice_changes_nothing),
        cmocka_unit_test(the_list_is_empty_when_the_last_member_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
