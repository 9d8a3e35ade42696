/* tests/unit/base/memory_table_test.c: the in-memory table keeps the laws of base/table.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/checksum.h"
#include "base/macros.h"
#include "base/table.h"
#include "tests/support/base/memory_table.h"
#include "tests/support/base/table_property.h"

enum { SEED_COUNT = 20, STEP_COUNT = 5000 };

static int open_table(void **state)
{
    *state = memory_table_open();
    return 0;
}

static int close_table(void **state)
{
    memory_table_close(*state);
    return 0;
}

static void random_calls_agree_with_a_sorted_array(void **state)
{
    for (uint64_t seed = 1; seed <= SEED_COUNT; seed++) {
        table_property_random(*state, seed, STEP_COUNT);
    }
}

static void smallest_and_largest_sizes_are_kept(void **state)
{
    table_property_sizes(*state);
}

static void hash_depends_on_the_contents_alone(void **state)
{
    for (uint64_t seed = 1; seed <= SEED_COUNT; seed++) {
        table_property_hash(*state, seed);
    }
}

static void hash_is_the_sum_of_the_pairs_checksums(void **state)
{
    struct table *table = *state;
    struct bytes value = bytes_of_text("value");

    table_put(table, bytes_of_text("a"), value);
    table_put(table, bytes_of_text("b"), value);

    assert_int_equal(table_hash(table), checksum_pair(bytes_of_text("a"), value, 0) +
                                            checksum_pair(bytes_of_text("b"), value, 0));
}

static void lent_bytes_stay_valid_over_reads(void **state)
{
    table_property_borrowing(*state);
}

static void lent_bytes_are_moved_by_a_change(void **state)
{
    struct table *table = *state;
    struct bytes before;
    struct bytes after;

    table_put(table, bytes_of_text("a"), bytes_of_text("value"));
    assert_true(table_get(table, bytes_of_text("a"), &before));
    table_put(table, bytes_of_text("b"), bytes_of_text("other"));
    assert_true(table_get(table, bytes_of_text("a"), &after));

    assert_ptr_not_equal(before.data, after.data);
    assert_true(bytes_equal(after, bytes_of_text("value")));
}

static void borrowed_bytes_may_be_put_back(void **state)
{
    struct table *table = *state;
    struct bytes value;

    table_put(table, bytes_of_text("a"), bytes_of_text("value"));
    assert_true(table_get(table, bytes_of_text("a"), &value));
    table_put(table, bytes_of_text("b"), value);
    assert_true(table_get(table, bytes_of_text("b"), &value));

    assert_true(bytes_equal(value, bytes_of_text("value")));
}

static void dirty_bytes_are_those_since_the_last_commit(void **state)
{
    table_property_dirty(*state);
}

static void a_read_snapshot_stands_still(void **state)
{
    for (uint64_t seed = 1; seed <= SEED_COUNT; seed++) {
        table_property_snapshot(*state, seed);
    }
}

static void a_bulk_load_replaces_everything(void **state)
{
    for (uint64_t seed = 1; seed <= SEED_COUNT; seed++) {
        table_property_load(*state, seed);
    }
}

static void commits_are_counted(void **state)
{
    table_commit(*state);
    table_commit(*state);

    assert_int_equal(memory_table_commit_count(*state), 2);
}

static void failure_is_sticky_and_silences_the_table(void **state)
{
    struct table *table = *state;
    struct bytes key;
    struct bytes value;
    uint64_t hash;

    table_put(table, bytes_of_text("a"), bytes_of_text("value"));
    hash = table_hash(table);
    memory_table_fail_after(table, 1, ERR_CORRUPT);

    assert_true(table_get(table, bytes_of_text("a"), &value));
    assert_int_equal(table_error(table), ERR_OK);
    assert_false(table_get(table, bytes_of_text("a"), &value));
    assert_int_equal(table_error(table), ERR_CORRUPT);
    assert_false(table_seek(table, bytes_of_text("a"), true, &key, &value));
    assert_false(table_delete(table, bytes_of_text("a")));
    table_put(table, bytes_of_text("b"), bytes_of_text("value"));
    table_commit(table);
    assert_int_equal(memory_table_commit_count(table), 0);
    assert_int_equal(table_hash(table), hash);

    memory_table_fail_after(table, 0, ERR_IO);
    assert_false(table_get(table, bytes_of_text("a"), &value));
    assert_int_equal(table_error(table), ERR_CORRUPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(random_calls_agree_with_a_sorted_array, open_table,
                                        close_table),
        cmocka_unit_test_setup_teardown(smallest_and_largest_sizes_are_kept, open_table,
                                        close_table),
        cmocka_unit_test_setup_teardown(hash_depends_on_the_contents_alone, open_table,
                                        close_table),
        cmocka_unit_test_setup_teardown(hash_is_the_sum_of_the_pairs_checksums, open_table,
                                        close_table),
        cmocka_unit_test_setup_teardown(lent_bytes_stay_valid_over_reads, open_table, close_table),
        cmocka_unit_test_setup_teardown(lent_bytes_are_moved_by_a_change, open_table, close_table),
        cmocka_unit_test_setup_teardown(borrowed_bytes_may_be_put_back, open_table, close_table),
        cmocka_unit_test_setup_teardown(dirty_bytes_are_those_since_the_last_commit, open_table,
                                        close_table),
        cmocka_unit_test_setup_teardown(a_read_snapshot_stands_still, open_table, close_table),
        cmocka_unit_test_setup_teardown(a_bulk_load_replaces_everything, open_table, close_table),
        cmocka_unit_test_setup_teardown(commits_are_counted, open_table, close_table),
        cmocka_unit_test_setup_teardown(failure_is_sticky_and_silences_the_table, open_table,
                                        close_table),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
