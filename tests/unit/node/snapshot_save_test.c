/* tests/unit/node/snapshot_save_test.c: what is saved is the state of one commit, the same bytes
 * on every node, or nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/bytes.h"
#include "tests/support/base/memory_table.h"
#include "tests/support/log/memory_disk.h"
#include "tests/support/node/snapshot_fixture.h"

enum { KEY_COUNT = 300, VALUE_SIZE = 400, CHANGE_COUNT = 1000, SEED_COUNT = 30 };

static int open_fixture(void **state)
{
    static struct snapshot_fixture fixture;

    snapshot_fixture_open(&fixture);
    *state = &fixture;
    return 0;
}

static int close_fixture(void **state)
{
    snapshot_fixture_close(*state);
    return 0;
}

static void change(struct snapshot_fixture *fixture, uint64_t seed)
{
    struct prng prng;

    prng_init(&prng, seed);
    snapshot_fixture_change(fixture->table, &prng, CHANGE_COUNT, KEY_COUNT, VALUE_SIZE);
}

/* Begins to save at `index`, and goes on writing into the table while it is saved. */
static void save_under_writes(struct snapshot_fixture *fixture, raft_index index, struct prng *prng,
                              uint32_t key_count, uint32_t value_size_max)
{
    struct snapshot_event event = {.kind = SNAPSHOT_REMOVED};

    table_commit(fixture->table);
    struct snapshot_base base = snapshot_fixture_base(fixture, index);
    assert_int_equal(snapshots_save_begin(fixture->snapshots, &base, fixture->now_ms), ERR_OK);
    while (event.kind == SNAPSHOT_REMOVED) {
        snapshot_fixture_change(fixture->table, prng, 7, key_count, value_size_max);
        if (prng_below(prng, 3) == 0) {
            table_commit(fixture->table);
        }
        assert_true(snapshot_fixture_step(fixture));
        if (!snapshots_next_event(fixture->snapshots, &event)) {
            event.kind = SNAPSHOT_REMOVED;
        }
    }
    assert_int_equal(event.kind, SNAPSHOT_SAVED);
}

static void load_gives_the_state_of_the_commit_though_writes_went_on(void **state)
{
    struct snapshot_fixture *fixture = *state;

    for (uint64_t seed = 1; seed <= SEED_COUNT; seed++) {
        struct prng prng;
        struct snapshot_event event;

        prng_init(&prng, seed);
        uint32_t key_count = 1 + (uint32_t)prng_below(&prng, 2000);
        uint32_t value_size = seed % 5 == 0 ? TABLE_VALUE_SIZE_MAX / 4 : (uint32_t)seed * 30;
        uint32_t count = seed % 5 == 0 ? 40 : 3000;
        snapshot_fixture_change(fixture->table, &prng, count, key_count, value_size);
        struct table *expected = snapshot_fixture_copy(fixture->table);
        save_under_writes(fixture, seed, &prng, key_count, value_size);

        assert_int_equal(snapshots_load_begin(fixture->snapshots, seed), ERR_OK);
        assert_true(snapshot_fixture_await(fixture, SNAPSHOT_LOADED, &event));
        assert_true(snapshot_fixture_tables_equal(fixture->table, expected));
        memory_table_close(expected);
    }
}

static void the_largest_and_the_smallest_pairs_are_kept(void **state)
{
    static uint8_t large[TABLE_VALUE_SIZE_MAX];
    struct snapshot_fixture *fixture = *state;
    uint8_t key[TABLE_KEY_SIZE_MAX];

    memset(large, 0x5a, sizeof(large));
    for (uint8_t i = 0; i < 4; i++) {
        memset(key, i, sizeof(key));
        table_put(fixture->table, bytes_of(key, sizeof(key)), bytes_of(large, sizeof(large)));
        table_put(fixture->table, bytes_of(key, 1), bytes_of(NULL, 0));
    }
    struct table *expected = snapshot_fixture_copy(fixture->table);
    assert_true(snapshot_fixture_save(fixture, 1));

    snapshot_fixture_reopen(fixture);
    assert_int_equal(snapshots_load_now(fixture->snapshots, 1), ERR_OK);
    assert_true(snapshot_fixture_tables_equal(fixture->table, expected));
    memory_table_close(expected);
}

static void an_empty_state_is_a_snapshot_too(void **state)
{
    struct snapshot_fixture *fixture = *state;

    assert_true(snapshot_fixture_save(fixture, 5));
    assert_int_equal(snapshot_fixture_bytes(fixture, 5).size, SNAPSHOT_FILE_SIZE_MIN);

    table_put(fixture->table, bytes_of_text("a"), bytes_of_text("value"));
    assert_int_equal(snapshots_load_now(fixture->snapshots, 5), ERR_OK);
    assert_int_equal(memory_table_count(fixture->table), 0);
}

static void nodes_with_the_same_state_write_the_same_bytes(void **state)
{
    struct snapshot_fixture *fixture = *state;
    struct snapshot_fixture other;
    struct bytes key = bytes_of(NULL, 0);
    struct bytes value;

    snapshot_fixture_open(&other);
    other.options.slice_size = 1000;
    other.options.bytes_per_second = 1 << 20;
    snapshot_fixture_reopen(&other);
    /* One wrote and deleted a lot, and saved before; the other has just what is left. */
    change(fixture, 1);
    assert_true(snapshot_fixture_save(fixture, 3));
    change(fixture, 2);
    for (bool inclusive = true; table_seek(fixture->table, key, inclusive, &key, &value);
         inclusive = false) {
        table_put(other.table, key, value);
    }

    assert_true(snapshot_fixture_save(fixture, 9));
    assert_true(snapshot_fixture_save(&other, 9));

    assert_true(snapshot_fixture_bytes(fixture, 9).size > SNAPSHOT_BLOCK_SIZE);
    assert_true(bytes_equal(snapshot_fixture_bytes(fixture, 9), snapshot_fixture_bytes(&other, 9)));
    assert_int_equal(snapshots_newest(fixture->snapshots)->id,
                     snapshots_newest(other.snapshots)->id);
    snapshot_fixture_close(&other);
}

static void the_base_is_kept_with_the_file(void **state)
{
    struct snapshot_fixture *fixture = *state;

    change(fixture, 1);
    assert_true(snapshot_fixture_save(fixture, 42));
    struct snapshot_base expected = snapshot_fixture_base(fixture, 42);
    snapshot_fixture_reopen(fixture);

    const struct snapshot_file *newest = snapshots_newest(fixture->snapshots);
    assert_non_null(newest);
    struct snapshot_base base = snapshots_base(fixture->snapshots, newest);
    assert_int_equal(base.index, 42);
    assert_int_equal(base.term, expected.term);
    assert_int_equal(base.log_ms, expected.log_ms);
    assert_int_equal(base.state_hash, expected.state_hash);
    assert_int_equal(base.configuration_index, expected.configuration_index);
    assert_true(bytes_equal(base.configuration, expected.configuration));
    assert_int_equal(newest->size, snapshot_fixture_bytes(fixture, 42).size);
}

static void two_files_are_there_at_most_and_the_newest_always(void **state)
{
    struct snapshot_fixture *fixture = *state;

    for (raft_index index = 1; index <= 6; index++) {
        uint32_t count_max = index == 1 ? 1 : 2;

        change(fixture, index);
        table_commit(fixture->table);
        struct snapshot_base base = snapshot_fixture_base(fixture, index);
        assert_int_equal(snapshots_save_begin(fixture->snapshots, &base, fixture->now_ms), ERR_OK);
        while (snapshot_fixture_step(fixture)) {
            assert_true(index == 1 || snapshots_newest(fixture->snapshots)->index >= index - 1);
            assert_true(
                snapshots_newest(fixture->snapshots) == NULL ||
                snapshot_fixture_bytes(fixture, snapshots_newest(fixture->snapshots)->index).size !=
                    0);
        }
        assert_int_equal(snapshots_newest(fixture->snapshots)->index, index);
        assert_int_equal(memory_disk_file_count(fixture->disk), count_max);
    }
}

static void an_index_that_is_not_newer_is_refused(void **state)
{
    struct snapshot_fixture *fixture = *state;
    struct snapshot_base base = snapshot_fixture_base(fixture, 7);

    assert_true(snapshot_fixture_save(fixture, 7));
    assert_int_equal(snapshots_save_begin(fixture->snapshots, &base, 0), ERR_STALE);
    base.index = 6;
    assert_int_equal(snapshots_save_begin(fixture->snapshots, &base, 0), ERR_STALE);
}

static void a_save_waits_for_a_commit(void **state)
{
    struct snapshot_fixture *fixture = *state;

    table_put(fixture->table, bytes_of_text("a"), bytes_of_text("value"));
    struct snapshot_base base = snapshot_fixture_base(fixture, 7);
    assert_int_equal(snapshots_save_begin(fixture->snapshots, &base, 0), ERR_OVERLOADED);
    table_commit(fixture->table);
    assert_int_equal(snapshots_save_begin(fixture->snapshots, &base, 0), ERR_OK);
    assert_int_equal(snapshots_save_begin(fixture->snapshots, &base, 0), ERR_OVERLOADED);
    snapshot_fixture_settle(fixture);
}

/* Begins a save of `base` and awaits that it fails with `error`, leaving no file. */
static void assert_save_fails(struct snapshot_fixture *fixture, const struct snapshot_base *base,
                              enum error error)
{
    struct snapshot_event event;

    assert_int_equal(snapshots_save_begin(fixture->snapshots, base, fixture->now_ms), ERR_OK);
    assert_true(snapshot_fixture_await(fixture, SNAPSHOT_SAVE_FAILED, &event));
    assert_int_equal(event.error, error);
    snapshot_fixture_settle(fixture);
    assert_int_equal(memory_disk_file_count(fixture->disk), 0);
    assert_null(snapshots_newest(fixture->snapshots));
}

static void pairs_that_do_not_have_the_state_hash_are_never_published(void **state)
{
    struct snapshot_fixture *fixture = *state;

    change(fixture, 1);
    table_commit(fixture->table);
    struct snapshot_base base = snapshot_fixture_base(fixture, 7);
    base.state_hash++;
    assert_save_fails(fixture, &base, ERR_CORRUPT);
}

static void a_save_that_pins_too_much_is_given_up_and_tried_again(void **state)
{
    struct snapshot_fixture *fixture = *state;

    fixture->options.pinned_bytes_max = 1000;
    snapshot_fixture_reopen(fixture);
    change(fixture, 1);
    table_commit(fixture->table);
    struct snapshot_base base = snapshot_fixture_base(fixture, 7);
    assert_int_equal(snapshots_save_begin(fixture->snapshots, &base, 0), ERR_OK);
    change(fixture, 2);
    struct snapshot_event event;
    assert_true(snapshot_fixture_await(fixture, SNAPSHOT_SAVE_FAILED, &event));
    assert_int_equal(event.error, ERR_FULL);
    snapshot_fixture_settle(fixture);

    assert_true(snapshot_fixture_save(fixture, 7));
}

static void a_save_that_takes_too_long_is_given_up(void **state)
{
    struct snapshot_fixture *fixture = *state;

    fixture->options.save_ms_max = 20;
    fixture->options.bytes_per_second = 1 << 20;
    fixture->options.slice_size = 1 << 10;
    snapshot_fixture_reopen(fixture);
    change(fixture, 1);
    table_commit(fixture->table);
    struct snapshot_base base = snapshot_fixture_base(fixture, 7);
    assert_save_fails(fixture, &base, ERR_TIMEOUT);
}

static void a_save_keeps_its_pace(void **state)
{
    struct snapshot_fixture *fixture = *state;

    fixture->options.bytes_per_second = 1 << 20;
    fixture->options.slice_size = 4 << 10;
    snapshot_fixture_reopen(fixture);
    change(fixture, 1);
    uint64_t begin_ms = fixture->now_ms;
    assert_true(snapshot_fixture_save(fixture, 7));

    uint64_t size = snapshot_fixture_bytes(fixture, 7).size;
    uint64_t least_ms = (size - SNAPSHOT_BLOCK_SIZE) * 1000 / fixture->options.bytes_per_second;
    assert_true(size > 8 * fixture->options.slice_size);
    assert_in_range(fixture->now_ms - begin_ms, least_ms / 2, 3 * least_ms + 100);
}

static void stopping_gives_the_table_back_at_once(void **state)
{
    struct snapshot_fixture *fixture = *state;

    change(fixture, 1);
    table_commit(fixture->table);
    struct snapshot_base base = snapshot_fixture_base(fixture, 7);
    assert_int_equal(snapshots_save_begin(fixture->snapshots, &base, 0), ERR_OK);
    snapshots_advance(fixture->snapshots, 0);
    snapshots_stop(fixture->snapshots);

    assert_true(table_snapshot_open(fixture->table));
    table_snapshot_close(fixture->table);
    snapshot_fixture_settle(fixture);
    assert_true(snapshots_are_idle(fixture->snapshots));
    snapshot_fixture_reopen(fixture);
    assert_null(snapshots_newest(fixture->snapshots));
    snapshot_fixture_settle(fixture);
    assert_int_equal(memory_disk_file_count(fixture->disk), 0);
}

static void a_failed_table_fails_the_save(void **state)
{
    struct snapshot_fixture *fixture = *state;

    change(fixture, 1);
    table_commit(fixture->table);
    struct snapshot_base base = snapshot_fixture_base(fixture, 7);
    memory_table_fail_after(fixture->table, 20, ERR_IO);
    assert_save_fails(fixture, &base, ERR_IO);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_fixture, close_fixture)
    const struct CMUnitTest tests[] = {
        TEST(load_gives_the_state_of_the_commit_though_writes_went_on),
        TEST(the_largest_and_the_smallest_pairs_are_kept),
        TEST(an_empty_state_is_a_snapshot_too),
        TEST(nodes_with_the_same_state_write_the_same_bytes),
        TEST(the_base_is_kept_with_the_file),
        TEST(two_files_are_there_at_most_and_the_newest_always),
        TEST(an_index_that_is_not_newer_is_refused),
        TEST(a_save_waits_for_a_commit),
        TEST(pairs_that_do_not_have_the_state_hash_are_never_published),
        TEST(a_save_that_pins_too_much_is_given_up_and_tried_again),
        TEST(a_save_that_takes_too_long_is_given_up),
        TEST(a_save_keeps_its_pace),
        TEST(stopping_gives_the_table_back_at_once),
        TEST(a_failed_table_fails_the_save),
    };
#undef TEST

    return cmocka_run_group_tests(tests, NULL, NULL);
}
