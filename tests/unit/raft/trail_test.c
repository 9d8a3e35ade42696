#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "raft/internal.h"

static void append_terms(struct raft_trail *trail, const raft_term *terms)
{
    for (; *terms != 0; terms++) {
        raft_trail_append(trail, *terms, 0);
    }
}

static const raft_term some[] = {1, 1, 4, 4, 4, 6, 0};

static void every_index_has_its_term(void **state)
{
    struct raft_trail trail;
    raft_term term = 9;
    (void)state;
    raft_trail_init(&trail, 0, 0);
    append_terms(&trail, some);

    for (raft_index i = 1; i <= 6; i++) {
        assert_true(raft_trail_term(&trail, i, &term));
        assert_int_equal(term, some[i - 1]);
    }
    assert_int_equal(trail.count, 3);
    assert_false(raft_trail_term(&trail, 7, &term));
    assert_true(raft_trail_term(&trail, 0, &term));
    assert_int_equal(term, 0);
}

static void truncation_forgets_the_end_alone(void **state)
{
    struct raft_trail trail;
    raft_term term = 0;
    (void)state;
    raft_trail_init(&trail, 0, 0);
    append_terms(&trail, some);

    raft_trail_truncate(&trail, 4);

    assert_int_equal(trail.last_index, 3);
    assert_true(raft_trail_term(&trail, 3, &term));
    assert_int_equal(term, 4);
    assert_false(raft_trail_term(&trail, 4, &term));
    raft_trail_truncate(&trail, 1);
    assert_int_equal(trail.count, 0);
}

static void find_goes_back_to_the_last_entry_not_newer(void **state)
{
    struct raft_trail trail;
    (void)state;
    raft_trail_init(&trail, 0, 0);
    append_terms(&trail, some);

    assert_int_equal(raft_trail_find(&trail, 9, 6), 6);
    assert_int_equal(raft_trail_find(&trail, 9, 5), 5);
    assert_int_equal(raft_trail_find(&trail, 4, 5), 4);
    assert_int_equal(raft_trail_find(&trail, 4, 3), 2);
    assert_int_equal(raft_trail_find(&trail, 4, 0), 0);
}

static void full_trail_forgets_committed_runs_only(void **state)
{
    struct raft_trail trail;
    raft_term term = 0;
    (void)state;
    raft_trail_init(&trail, 0, 0);
    trail.count_max = 3;
    append_terms(&trail, some);

    assert_true(raft_trail_has_room(&trail, 6, 0));
    assert_false(raft_trail_has_room(&trail, 7, 1));
    assert_true(raft_trail_has_room(&trail, 7, 2));
    raft_trail_append(&trail, 7, 2);

    assert_false(raft_trail_term(&trail, 2, &term));
    assert_true(raft_trail_term(&trail, 3, &term));
    assert_int_equal(term, 4);
    assert_int_equal(raft_trail_find(&trail, 7, 3), 2); /* The newest forgotten one. */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_index_has_its_term),
        cmocka_unit_test(truncation_forgets_the_end_alone),
        cmocka_unit_test(find_goes_back_to_the_last_entry_not_newer),
        cmocka_unit_test(full_trail_forgets_committed_runs_only),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
