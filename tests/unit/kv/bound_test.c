/* tests/unit/kv/bound_test.c: keys bound to sessions, and their end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

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

static void bind_text(struct table *table, const char *key, uint64_t session, kv_revision revision)
{
    kv_put(table, bytes_of_text(key), bytes_of_text("value"), session, revision);
}

static bool exists(struct table *table, const char *key)
{
    struct kv_pair pair;

    return kv_get(table, bytes_of_text(key), &pair);
}

static void a_pair_tells_its_session(void **state)
{
    struct kv_pair pair;

    bind_text(*state, "a", 7, 9);
    bind_text(*state, "b", 0, 10);

    assert_true(kv_get(*state, bytes_of_text("a"), &pair));
    assert_int_equal(pair.session, 7);
    assert_true(bytes_equal(pair.value, bytes_of_text("value")));
    assert_int_equal(kv_session_of(*state, bytes_of_text("a")), 7);
    assert_int_equal(kv_session_of(*state, bytes_of_text("b")), 0);
    assert_int_equal(kv_session_of(*state, bytes_of_text("c")), 0);
    assert_true(kv_next(*state, bytes_of_text("a"), bytes_of_text(""), &pair));
    assert_int_equal(pair.session, 7);
}

static void keys_go_one_by_one_in_order_and_leave_nothing(void **state)
{
    struct kv_dropped_key dropped;
    static const uint8_t large[5000] = {1};
    struct table *table = *state;

    bind_text(table, "b", 7, 1);
    bind_text(table, "a", 7, 2);
    kv_put(table, bytes_of_text("c"), bytes_of(large, sizeof(large)), 7, 3);
    bind_text(table, "other", 8, 4);

    assert_true(kv_session_end(table, 7));
    assert_int_equal(kv_drop(table, &dropped), KV_DROPPED_KEY);
    assert_false(exists(table, "a"));
    assert_true(exists(table, "b"));
    kv_check(table);
    assert_int_equal(kv_drop(table, &dropped), KV_DROPPED_KEY);
    assert_int_equal(kv_drop(table, &dropped), KV_DROPPED_KEY);
    assert_int_equal(kv_drop(table, &dropped), KV_DROPPED_SESSION);
    assert_int_equal(kv_drop(table, &dropped), KV_DROPPED_NOTHING);
    assert_true(exists(table, "other"));
    assert_int_equal(memory_table_count(table), 2); /* Its head, and its session's record. */
}

static void a_later_write_unbinds_or_binds_anew(void **state)
{
    struct kv_dropped_key dropped;
    struct table *table = *state;
    struct kv_expected expected = {.value = bytes_of_text("value")};

    bind_text(table, "put", 7, 1);
    bind_text(table, "rebound", 7, 2);
    bind_text(table, "swapped", 7, 3);
    bind_text(table, "deleted", 7, 4);
    bind_text(table, "again", 7, 5);

    bind_text(table, "put", 0, 6);
    bind_text(table, "rebound", 8, 7);
    assert_int_equal(
        kv_compare_and_swap(table, bytes_of_text("swapped"), &expected, bytes_of_text("new"), 8),
        ERR_OK);
    assert_true(kv_delete(table, bytes_of_text("deleted")));
    bind_text(table, "again", 7, 9);
    kv_check(table);

    assert_true(kv_session_end(table, 7));
    assert_int_equal(kv_drop(table, &dropped), KV_DROPPED_KEY);
    assert_int_equal(kv_drop(table, &dropped), KV_DROPPED_SESSION);
    assert_true(exists(table, "put") && exists(table, "rebound") && exists(table, "swapped"));
    assert_false(exists(table, "again"));
}

static void a_session_without_keys_has_nothing_to_drop(void **state)
{
    struct kv_dropped_key dropped;
    assert_false(kv_session_end(*state, 7));
    assert_int_equal(kv_drop(*state, &dropped), KV_DROPPED_NOTHING);
    assert_int_equal(memory_table_count(*state), 0);
}

static void keys_that_others_wrote_meanwhile_stay(void **state)
{
    struct kv_dropped_key dropped;
    struct table *table = *state;

    bind_text(table, "a", 7, 1);
    assert_true(kv_session_end(table, 7));
    bind_text(table, "a", 0, 2);

    assert_int_equal(kv_drop(table, &dropped), KV_DROPPED_SESSION);
    assert_true(exists(table, "a"));
}

static void a_restart_drops_every_bound_key(void **state)
{
    struct table *table = *state;
    char key[16];

    for (unsigned i = 1; i <= 50; i++) {
        snprintf(key, sizeof(key), "key%u", i);
        bind_text(table, key, 1 + i % 5, i);
    }
    bind_text(table, "free", 0, 60);
    assert_true(kv_session_end(table, 2));

    kv_restart(table);

    assert_true(exists(table, "free"));
    assert_int_equal(memory_table_count(table), 1);
}

static void any_call_of_the_table_may_fail(void **state)
{
    struct kv_dropped_key dropped;
    enum error error = ERR_IO;
    uint64_t call_count;

    (void)state;
    for (call_count = 0; error != ERR_OK; call_count++) {
        struct table *table = memory_table_open();

        memory_table_fail_after(table, call_count, ERR_IO);
        bind_text(table, "a", 7, 1);
        bind_text(table, "b", 8, 2);
        bind_text(table, "b", 7, 3);
        bool has_keys = kv_session_end(table, 7);
        assert_true(has_keys || table_error(table) == ERR_IO);
        (void)kv_drop(table, &dropped);
        bind_text(table, "c", 9, 4);
        kv_restart(table);
        error = table_error(table);
        assert_true(error != ERR_OK || memory_table_count(table) == 0);
        memory_table_close(table);
    }
    assert_in_range(call_count, 20, 100);
}

static void bound_without_record(void)
{
    struct table *table = memory_table_open();

    bind_text(table, "a", 7, 1);
    (void)table_delete(table, bytes_of("kb\0\0\0\0\0\0\0\7a", 11));
    kv_check(table);
}

static void record_without_bound(void)
{
    struct table *table = memory_table_open();

    bind_text(table, "a", 0, 1);
    table_put(table, bytes_of("kb\0\0\0\0\0\0\0\7a", 11), bytes_of("\1", 1));
    kv_check(table);
}

static void check_notices_a_head_without_its_session_record(void **state)
{
    (void)state;
    assert_true(dies(bound_without_record, "kv_bound_exists"));
}

static void check_notices_a_record_whose_key_is_not_bound(void **state)
{
    (void)state;
    assert_true(dies(record_without_bound, "named == session"));
}

#define LAW(name) cmocka_unit_test_setup_teardown(name, open_table, close_table)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LAW(a_pair_tells_its_session),
        LAW(keys_go_one_by_one_in_order_and_leave_nothing),
        LAW(a_later_write_unbinds_or_binds_anew),
        LAW(a_session_without_keys_has_nothing_to_drop),
        LAW(keys_that_others_wrote_meanwhile_stay),
        LAW(a_restart_drops_every_bound_key),
        LAW(any_call_of_the_table_may_fail),
        LAW(check_notices_a_head_without_its_session_record),
        LAW(check_notices_a_record_whose_key_is_not_bound),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
