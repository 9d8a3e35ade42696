/* tests/unit/kv/kv_test.c: keys, revisions, compare-and-swap and listing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/macros.h"
#include "kv/kv.h"
#include "tests/support/base/death.h"
#include "tests/support/base/memory_table.h"

static int open_table(void **state)
{
    *state = memory_table_open();
    return 0;
}

static int close_table(void **state)
{
    kv_check(*state);
    memory_table_close(*state);
    return 0;
}

static void put_text(struct table *table, const char *key, const char *value, kv_revision revision)
{
    kv_put(table, bytes_of_text(key), bytes_of_text(value), 0, revision);
}

static void absent_key_is_not_found(void **state)
{
    struct kv_pair pair;

    assert_false(kv_get(*state, bytes_of_text("a"), &pair));
    assert_false(kv_delete(*state, bytes_of_text("a")));
}

static void put_sets_value_and_revision(void **state)
{
    struct table *table = *state;
    struct kv_pair pair;

    put_text(table, "a", "one", 5);
    put_text(table, "b", "two", 6);
    put_text(table, "a", "three", 9);

    assert_true(kv_get(table, bytes_of_text("a"), &pair));
    assert_true(bytes_equal(pair.key, bytes_of_text("a")));
    assert_true(bytes_equal(pair.value, bytes_of_text("three")));
    assert_int_equal(pair.revision, 9);
    assert_true(kv_get(table, bytes_of_text("b"), &pair));
    assert_int_equal(pair.revision, 6);
}

static void empty_value_is_a_value(void **state)
{
    struct table *table = *state;
    struct kv_pair pair;

    put_text(table, "a", "", 5);

    assert_true(kv_get(table, bytes_of_text("a"), &pair));
    assert_int_equal(pair.value.size, 0);
    assert_int_equal(pair.revision, 5);
}

static void delete_leaves_nothing(void **state)
{
    struct table *table = *state;
    struct kv_pair pair;

    put_text(table, "a", "one", 5);

    assert_true(kv_delete(table, bytes_of_text("a")));
    assert_false(kv_get(table, bytes_of_text("a"), &pair));
    assert_int_equal(memory_table_count(table), 0);
}

static void values_of_every_size_are_kept_and_leave_nothing(void **state)
{
    static const size_t sizes[] = {0, 1, 2047, 2048, 2049, 4096, KV_VALUE_SIZE_MAX, 3, 2049, 0};
    struct table *table = *state;
    struct kv_pair pair;
    uint8_t *data = malloc(KV_VALUE_SIZE_MAX);

    assert_non_null(data);
    memset(data, 'x', KV_VALUE_SIZE_MAX);
    for (uint32_t i = 0; i < COUNT_OF(sizes); i++) {
        kv_put(table, bytes_of_text("a"), bytes_of(data, sizes[i]), 0, i + 1);
        assert_true(kv_get(table, bytes_of_text("a"), &pair));
        assert_true(bytes_equal(pair.value, bytes_of(data, sizes[i])));
        assert_true(kv_next(table, bytes_of_text(""), bytes_of_text(""), &pair));
        assert_true(bytes_equal(pair.value, bytes_of(data, sizes[i])));
        assert_int_equal(pair.revision, i + 1);
        kv_check(table);
    }
    assert_int_equal(memory_table_count(table), 1);
    kv_put(table, bytes_of_text("a"), bytes_of(data, KV_VALUE_SIZE_MAX), 0, 99);
    assert_true(kv_delete(table, bytes_of_text("a")));
    assert_int_equal(memory_table_count(table), 0);
    free(data);
}

static void swap_needs_the_expected_value(void **state)
{
    struct table *table = *state;
    struct kv_pair pair;
    struct kv_expected one = {.value = bytes_of_text("one")};
    struct kv_expected none = {.value = bytes_of_text("")};

    put_text(table, "a", "one", 5);

    assert_int_equal(kv_compare_and_swap(table, bytes_of_text("a"), &none, bytes_of_text("two"), 6),
                     ERR_MISMATCH);
    assert_true(kv_get(table, bytes_of_text("a"), &pair));
    assert_int_equal(pair.revision, 5);
    assert_int_equal(kv_compare_and_swap(table, bytes_of_text("a"), &one, bytes_of_text("two"), 7),
                     ERR_OK);
    assert_true(kv_get(table, bytes_of_text("a"), &pair));
    assert_true(bytes_equal(pair.value, bytes_of_text("two")));
    assert_int_equal(pair.revision, 7);
}

static void swap_of_an_absent_key_is_not_found(void **state)
{
    struct kv_pair pair;
    struct kv_expected none = {.value = bytes_of_text("")};

    assert_int_equal(
        kv_compare_and_swap(*state, bytes_of_text("a"), &none, bytes_of_text("two"), 6),
        ERR_NOT_FOUND);
    assert_false(kv_get(*state, bytes_of_text("a"), &pair));
}

static void swap_that_expects_absence_creates_once(void **state)
{
    struct kv_pair pair;
    struct kv_expected absent = {.absent = true};

    assert_int_equal(
        kv_compare_and_swap(*state, bytes_of_text("a"), &absent, bytes_of_text("one"), 6), ERR_OK);
    assert_int_equal(
        kv_compare_and_swap(*state, bytes_of_text("a"), &absent, bytes_of_text("two"), 7),
        ERR_MISMATCH);
    assert_true(kv_get(*state, bytes_of_text("a"), &pair));
    assert_true(bytes_equal(pair.value, bytes_of_text("one")));
}

static uint32_t listed_count(struct table *table, struct bytes prefix)
{
    struct kv_pair pair = {.key = bytes_of(NULL, 0)};
    uint32_t count = 0;

    while (kv_next(table, prefix, pair.key, &pair)) {
        assert_true(bytes_has_prefix(pair.key, prefix));
        count++;
    }
    return count;
}

static void listing_is_by_prefix_even_with_awkward_bytes(void **state)
{
    struct table *table = *state;
    struct bytes keys[] = {bytes_of("\0", 1),   bytes_of("\0\0", 2),   bytes_of("a", 1),
                           bytes_of("a\0", 2),  bytes_of("a\xff", 2),  bytes_of("b", 1),
                           bytes_of("\xff", 1), bytes_of("\xff\0", 2), bytes_of("\xff\xff", 2)};
    struct kv_pair pair;

    for (uint32_t i = 0; i < COUNT_OF(keys); i++) {
        kv_put(table, keys[i], bytes_of(NULL, 0), 0, i + 1);
    }
    /* Neighbours in the table that are not ours. */
    table_put(table, bytes_of_text("j"), bytes_of_text("before"));
    table_put(table, bytes_of_text("l"), bytes_of_text("behind"));

    assert_int_equal(listed_count(table, bytes_of("", 0)), COUNT_OF(keys));
    assert_int_equal(listed_count(table, bytes_of("\0", 1)), 2);
    assert_int_equal(listed_count(table, bytes_of("a", 1)), 3);
    assert_int_equal(listed_count(table, bytes_of("\xff", 1)), 3);
    assert_int_equal(listed_count(table, bytes_of("\xff\xff", 2)), 1);
    assert_int_equal(listed_count(table, bytes_of("\xff\xff\xff", 3)), 0);
    assert_true(kv_next(table, bytes_of("b", 1), bytes_of("a", 1), &pair));
    assert_true(bytes_equal(pair.key, bytes_of("b", 1)));
    assert_false(kv_next(table, bytes_of("a", 1), bytes_of("b", 1), &pair));
}

static void longest_key_is_kept(void **state)
{
    uint8_t longest[KV_KEY_SIZE_MAX] = {0};
    struct bytes key = bytes_of(longest, sizeof(longest));
    struct kv_pair pair;

    memset(longest, 0xff, sizeof(longest));
    kv_put(*state, key, key, 0, 1);

    assert_true(kv_next(*state, bytes_of("\xff", 1), bytes_of("\xff", 1), &pair));
    assert_true(bytes_equal(pair.key, key));
    assert_false(kv_next(*state, bytes_of("\xff", 1), key, &pair));
}

static void any_call_of_the_table_may_fail(void **state)
{
    static const uint8_t large[3000] = {1};
    struct bytes key = bytes_of_text("a");
    struct kv_expected expected = {.value = bytes_of(large, sizeof(large))};
    enum error error = ERR_IO;
    uint64_t call_count;

    (void)state;
    for (call_count = 0; error != ERR_OK; call_count++) {
        struct table *table = memory_table_open();
        struct kv_pair pair;
        memory_table_fail_after(table, call_count, ERR_IO);
        kv_put(table, key, bytes_of(large, 3), 0, 1);
        kv_put(table, key, bytes_of(large, sizeof(large)), 0, 2);
        error = kv_compare_and_swap(table, key, &expected, bytes_of_text("b"), 3);
        assert_true(error == ERR_OK || table_error(table) == ERR_IO);
        kv_put(table, key, bytes_of(large, sizeof(large)), 0, 4);
        if (!kv_next(table, bytes_of(NULL, 0), bytes_of(NULL, 0), &pair) ||
            !kv_get(table, key, &pair) || !kv_delete(table, key)) {
            assert_int_equal(table_error(table), ERR_IO);
        }
        error = table_error(table);
        memory_table_close(table);
    }
    assert_in_range(call_count, 15, 100);
}

static void orphan_value(void)
{
    struct table *table = memory_table_open();

    table_put(table, bytes_of_text("kva"), bytes_of_text("value"));
    kv_check(table);
}

static void lower_revision(void)
{
    struct table *table = memory_table_open();

    put_text(table, "a", "one", 5);
    put_text(table, "a", "two", 4);
}

static void check_notices_a_value_without_head(void **state)
{
    (void)state;
    assert_true(dies(orphan_value, "head.apart"));
}

static void revision_never_goes_back(void **state)
{
    (void)state;
    assert_true(dies(lower_revision, "present.revision <= revision"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(absent_key_is_not_found, open_table, close_table),
        cmocka_unit_test_setup_teardown(put_sets_value_and_revision, open_table, close_table),
        cmocka_unit_test_setup_teardown(empty_value_is_a_value, open_table, close_table),
        cmocka_unit_test_setup_teardown(delete_leaves_nothing, open_table, close_table),
        cmocka_unit_test_setup_teardown(values_of_every_size_are_kept_and_leave_nothing, open_table,
                                        close_table),
        cmocka_unit_test_setup_teardown(swap_needs_the_expected_value, open_table, close_table),
        cmocka_unit_test_setup_teardown(swap_of_an_absent_key_is_not_found, open_table,
                                        close_table),
        cmocka_unit_test_setup_teardown(swap_that_expects_absence_creates_once, open_table,
                                        close_table),
        cmocka_unit_test_setup_teardown(listing_is_by_prefix_even_with_awkward_bytes, open_table,
                                        close_table),
        cmocka_unit_test_setup_teardown(longest_key_is_kept, open_table, close_table),
        cmocka_unit_test_setup_teardown(any_call_of_the_table_may_fail, open_table, close_table),
        cmocka_unit_test_setup_teardown(check_notices_a_value_without_head, open_table,
                                        close_table),
        cmocka_unit_test_setup_teardown(revision_never_goes_back, open_table, close_table),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
