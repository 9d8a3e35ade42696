/* tests/unit/server/table_behind_test.c: the laws of the table, its marker and its checksums, with
 * the thread that writes it.
 *
 * The source is included: linked from its archive it would come behind the in-memory table of
 * tests/support/base, which implements the same seam. */
#include "server/table_behind.c" /* NOLINT(bugprone-suspicious-include): see above. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/checksum.h"
#include "base/prng.h"
#include "tests/support/base/table_property.h"
#include "tests/support/server/temporary_folder.h"

enum { MAP_SIZE = 64 << 20, MEMTABLE_SIZE = 3 << 20, STEP_COUNT = 20000, PAGE_SIZE = 4096 };

struct fixture {
    struct temporary_folder folder;
    struct table *table;
    bool was_clean;
};

static void reopen(struct fixture *fixture)
{
    ASSERT(table_behind_open(&fixture->table, fixture->folder.path, MAP_SIZE, MEMTABLE_SIZE,
                             &fixture->was_clean) == ERR_OK);
}

static int open_fixture(void **state)
{
    static struct fixture fixture;

    temporary_folder_open(&fixture.folder);
    temporary_file_write(&fixture.folder, "identity", "node 1", 6);
    reopen(&fixture);
    *state = &fixture;
    return 0;
}

static int close_fixture(void **state)
{
    struct fixture *fixture = *state;

    table_behind_close(fixture->table);
    temporary_folder_close(&fixture->folder);
    return 0;
}

static void put_text(struct table *table, const char *key, const char *value)
{
    table_put(table, bytes_of_text(key), bytes_of_text(value));
}

static bool has(struct table *table, const char *key, const char *value)
{
    struct bytes found;

    return table_get(table, bytes_of_text(key), &found) && bytes_equal(found, bytes_of_text(value));
}

static void table_keeps_the_laws_of_every_table(void **state)
{
    struct fixture *fixture = *state;

    table_property_all(fixture->table, 1, STEP_COUNT);

    assert_int_equal(table_error(fixture->table), ERR_OK);
}

/* The law that the in-memory table has as well, so that both give equal hashes. */
static uint64_t sum_of_checksums(struct table *table)
{
    struct bytes key = bytes_of("", 0);
    struct bytes value;
    uint64_t sum = 0;

    while (table_seek(table, key, false, &key, &value)) {
        sum += checksum_pair(key, value, 0);
    }
    return sum;
}

static void hash_is_the_sum_of_the_pairs_checksums(void **state)
{
    struct fixture *fixture = *state;
    struct prng prng;

    prng_init(&prng, 7);
    for (unsigned i = 0; i < 5000; i++) {
        char key[16];
        char value[64];
        (void)snprintf(key, sizeof(key), "key%u", (unsigned)prng_below(&prng, 500));
        (void)snprintf(value, sizeof(value), "%0*u", (int)prng_between(&prng, 1, 40), i);
        if (prng_below(&prng, 4) == 0) {
            table_delete(fixture->table, bytes_of_text(key));
        } else {
            put_text(fixture->table, key, value);
        }
    }

    assert_int_not_equal(table_hash(fixture->table), 0);
    assert_int_equal(table_hash(fixture->table), sum_of_checksums(fixture->table));
}

static void fresh_folder_gives_an_empty_table(void **state)
{
    struct fixture *fixture = *state;
    struct bytes key;
    struct bytes value;

    assert_false(fixture->was_clean);
    assert_false(table_seek(fixture->table, bytes_of("", 0), true, &key, &value));
    assert_int_equal(table_hash(fixture->table), 0);
}

static void table_is_used_again_after_a_clean_stop(void **state)
{
    struct fixture *fixture = *state;

    put_text(fixture->table, "a", "1");
    table_commit(fixture->table);
    put_text(fixture->table, "b", "2");
    uint64_t hash = table_hash(fixture->table);
    assert_int_equal(table_behind_close_clean(fixture->table), ERR_OK);
    assert_true(temporary_file_exists(&fixture->folder, "env/clean"));
    reopen(fixture);

    assert_true(fixture->was_clean);
    assert_false(temporary_file_exists(&fixture->folder, "env/clean"));
    assert_true(has(fixture->table, "a", "1"));
    assert_true(has(fixture->table, "b", "2"));
    assert_int_equal(table_hash(fixture->table), hash);
}

static void table_is_thrown_away_after_any_other_stop(void **state)
{
    struct fixture *fixture = *state;

    put_text(fixture->table, "a", "1");
    table_commit(fixture->table);
    table_behind_close(fixture->table);
    reopen(fixture);

    assert_false(fixture->was_clean);
    assert_false(has(fixture->table, "a", "1"));
    assert_int_equal(table_hash(fixture->table), 0);
}

static void marker_counts_once(void **state)
{
    struct fixture *fixture = *state;

    put_text(fixture->table, "a", "1");
    assert_int_equal(table_behind_close_clean(fixture->table), ERR_OK);
    reopen(fixture);
    assert_true(fixture->was_clean);
    table_behind_close(fixture->table);
    reopen(fixture);

    assert_false(fixture->was_clean);
    assert_false(has(fixture->table, "a", "1"));
}

static void table_of_another_identity_is_thrown_away(void **state)
{
    struct fixture *fixture = *state;

    put_text(fixture->table, "a", "1");
    assert_int_equal(table_behind_close_clean(fixture->table), ERR_OK);
    temporary_file_write(&fixture->folder, "identity", "node 2", 6);
    reopen(fixture);

    assert_false(fixture->was_clean);
    assert_false(has(fixture->table, "a", "1"));
    assert_int_equal(table_hash(fixture->table), 0);
}

static void table_whose_identity_is_gone_is_thrown_away(void **state)
{
    struct fixture *fixture = *state;
    char path[TEMPORARY_PATH_SIZE + 16];

    put_text(fixture->table, "a", "1");
    assert_int_equal(table_behind_close_clean(fixture->table), ERR_OK);
    (void)snprintf(path, sizeof(path), "%s/identity", fixture->folder.path);
    assert_int_equal(remove(path), 0);
    reopen(fixture);

    assert_false(fixture->was_clean);
    assert_false(temporary_file_exists(&fixture->folder, "env/clean"));
    assert_false(has(fixture->table, "a", "1"));
    /* Nothing vouches for a table without an identity. */
    assert_int_equal(table_behind_close_clean(fixture->table), ERR_MISSING);
    assert_false(temporary_file_exists(&fixture->folder, "env/clean"));
    reopen(fixture);
    assert_false(fixture->was_clean);
}

static void rotten_value_is_never_handed_out(void **state)
{
    static const char value[] = "a value that is easily found in a file";
    struct fixture *fixture = *state;
    struct bytes found;

    put_text(fixture->table, "a", value);
    put_text(fixture->table, "b", "sound");
    assert_int_equal(table_behind_close_clean(fixture->table), ERR_OK);
    reopen(fixture);
    assert_true(fixture->was_clean);
    assert_true(temporary_file_spoil(&fixture->folder, "env/data.mdb", value, sizeof(value) - 1));

    assert_true(has(fixture->table, "b", "sound"));
    assert_false(table_get(fixture->table, bytes_of_text("a"), &found));
    assert_int_equal(table_error(fixture->table), ERR_CORRUPT);
    assert_false(table_get(fixture->table, bytes_of_text("b"), &found));
}

static void rotten_value_is_noticed_when_it_is_replaced(void **state)
{
    static const char value[] = "a value that is easily found in a file";
    struct fixture *fixture = *state;

    put_text(fixture->table, "a", value);
    assert_int_equal(table_behind_close_clean(fixture->table), ERR_OK);
    reopen(fixture);
    assert_true(temporary_file_spoil(&fixture->folder, "env/data.mdb", value, sizeof(value) - 1));
    put_text(fixture->table, "a", "new");

    assert_int_equal(table_error(fixture->table), ERR_CORRUPT);
    assert_int_equal(table_behind_close_clean(fixture->table), ERR_CORRUPT);
    assert_false(temporary_file_exists(&fixture->folder, "env/clean"));
    reopen(fixture);
}

/* Neither does LMDB check its pages, nor would a value's checksum tell of a key that is gone. */
static void table_that_has_rotted_since_the_clean_stop_is_thrown_away(void **state)
{
    struct fixture *fixture = *state;
    uint64_t block_count = 1;

    for (uint64_t block = 0; block < block_count; block++) {
        put_text(fixture->table, "a", "1");
        assert_int_equal(table_behind_close_clean(fixture->table), ERR_OK);
        block_count = temporary_file_size(&fixture->folder, "env/data.mdb") / PAGE_SIZE;
        temporary_file_flip(&fixture->folder, "env/data.mdb",
                            block * PAGE_SIZE + 99 * block % PAGE_SIZE);
        reopen(fixture);

        assert_false(fixture->was_clean);
        assert_false(has(fixture->table, "a", "1"));
        assert_int_equal(table_error(fixture->table), ERR_OK);
    }
    assert_true(block_count >= 4);
}

static void table_whose_file_has_another_size_is_thrown_away(void **state)
{
    struct fixture *fixture = *state;
    char path[TEMPORARY_PATH_SIZE + 16];

    put_text(fixture->table, "a", "1");
    assert_int_equal(table_behind_close_clean(fixture->table), ERR_OK);
    (void)snprintf(path, sizeof(path), "%s/env/data.mdb", fixture->folder.path);
    uint64_t size = temporary_file_size(&fixture->folder, "env/data.mdb");
    assert_int_equal(truncate(path, (off_t)size - PAGE_SIZE), 0);
    reopen(fixture);

    assert_false(fixture->was_clean);
    assert_false(has(fixture->table, "a", "1"));
}

static void rotten_head_of_the_file_means_an_empty_table(void **state)
{
    struct fixture *fixture = *state;
    char zeros[8192] = {0};

    put_text(fixture->table, "a", "1");
    assert_int_equal(table_behind_close_clean(fixture->table), ERR_OK);
    temporary_file_write(&fixture->folder, "env/data.mdb", zeros, sizeof(zeros));
    reopen(fixture);

    assert_false(fixture->was_clean);
    assert_false(has(fixture->table, "a", "1"));
    assert_int_equal(table_error(fixture->table), ERR_OK);
}

/* Every commit and every full memtable goes through the thread, while the owner goes on. */
static void table_keeps_its_pairs_while_they_are_being_written(void **state)
{
    static uint32_t model[2000]; /* The value of each key; 0: it is not there. */
    struct fixture *fixture = *state;
    struct prng prng;
    struct bytes value;

    memset(model, 0, sizeof(model));
    prng_init(&prng, 11);
    for (uint32_t step = 1; step <= 100000; step++) {
        uint8_t bytes[200] = {0};
        uint32_t key = (uint32_t)prng_below(&prng, COUNT_OF(model));
        uint64_t choice = prng_below(&prng, 10);

        if (choice < 6) {
            store_u32(bytes, step);
            table_put(fixture->table, bytes_of(&key, sizeof(key)), bytes_of(bytes, sizeof(bytes)));
            model[key] = step;
        } else if (choice < 8) {
            bool found = table_delete(fixture->table, bytes_of(&key, sizeof(key)));
            assert_int_equal(found, model[key] != 0);
            model[key] = 0;
        } else {
            bool found = table_get(fixture->table, bytes_of(&key, sizeof(key)), &value);
            assert_int_equal(found, model[key] != 0);
            assert_true(!found || load_u32(value.data) == model[key]);
        }
        if (step % 1000 == 0) {
            table_commit(fixture->table);
        }
        if (step % 25000 == 0) {
            uint64_t hash = table_hash(fixture->table);
            assert_int_equal(hash, sum_of_checksums(fixture->table));
            assert_int_equal(table_behind_close_clean(fixture->table), ERR_OK);
            reopen(fixture);
            assert_true(fixture->was_clean);
            assert_int_equal(table_hash(fixture->table), hash);
            assert_int_equal(hash, sum_of_checksums(fixture->table));
        }
    }
    assert_int_equal(table_error(fixture->table), ERR_OK);
}

static void full_map_is_a_sticky_lack_of_space(void **state)
{
    static uint8_t value[1 << 20];
    struct fixture *fixture = *state;
    struct bytes found;

    for (uint32_t i = 0; i < 100 && table_error(fixture->table) == ERR_OK; i++) {
        table_put(fixture->table, bytes_of(&i, sizeof(i)), bytes_of(value, sizeof(value)));
        table_commit(fixture->table);
    }

    assert_int_equal(table_error(fixture->table), ERR_NO_SPACE);
    put_text(fixture->table, "a", "1");
    assert_false(table_get(fixture->table, bytes_of_text("a"), &found));
    assert_int_equal(table_error(fixture->table), ERR_NO_SPACE);
}

static void rotten_value_ends_the_walk_of_a_snapshot(void **state)
{
    static const char value[] = "a value that is easily found in a file";
    struct fixture *fixture = *state;
    struct bytes key;
    struct bytes found;

    put_text(fixture->table, "a", "sound");
    put_text(fixture->table, "b", value);
    assert_int_equal(table_behind_close_clean(fixture->table), ERR_OK);
    reopen(fixture);
    assert_true(temporary_file_spoil(&fixture->folder, "env/data.mdb", value, sizeof(value) - 1));

    assert_true(table_snapshot_open(fixture->table));
    assert_int_equal(table_snapshot_next(fixture->table, &key, &found), TABLE_SNAPSHOT_PAIR);
    assert_int_equal(table_snapshot_next(fixture->table, &key, &found), TABLE_SNAPSHOT_FAILED);
    assert_int_equal(table_error(fixture->table), ERR_CORRUPT);
    assert_int_equal(table_snapshot_next(fixture->table, &key, &found), TABLE_SNAPSHOT_FAILED);
    table_snapshot_close(fixture->table);
}

/* Pairs 0 to `count` - 1 of `size` bytes, loaded in bulk. */
static void load_numbers(struct fixture *fixture, uint32_t count, size_t size)
{
    static uint8_t value[1 << 20];
    uint8_t key[sizeof(uint64_t)];

    assert_true(size <= sizeof(value));
    table_load_begin(fixture->table);
    for (uint32_t i = 0; i < count; i++) {
        store_u64_ordered(key, i);
        table_load_put(fixture->table, bytes_of(key, sizeof(key)), bytes_of(value, size));
    }
}

static void loaded_table_is_used_again_after_a_clean_stop(void **state)
{
    struct fixture *fixture = *state;

    put_text(fixture->table, "a", "1");
    load_numbers(fixture, 20000, 200);
    table_load_end(fixture->table, true);
    uint64_t hash = table_hash(fixture->table);
    assert_int_equal(hash, sum_of_checksums(fixture->table));
    put_text(fixture->table, "b", "2");
    assert_int_equal(table_behind_close_clean(fixture->table), ERR_OK);
    reopen(fixture);

    assert_true(fixture->was_clean);
    assert_true(has(fixture->table, "b", "2"));
    assert_false(has(fixture->table, "a", "1"));
    assert_true(table_delete(fixture->table, bytes_of_text("b")));
    assert_int_equal(table_hash(fixture->table), hash);
}

static void load_that_is_given_up_leaves_nothing(void **state)
{
    struct fixture *fixture = *state;

    put_text(fixture->table, "a", "1");
    load_numbers(fixture, 20000, 200);
    table_load_end(fixture->table, false);
    assert_int_equal(table_hash(fixture->table), 0);
    assert_int_equal(sum_of_checksums(fixture->table), 0);
    assert_int_equal(table_behind_close_clean(fixture->table), ERR_OK);
    reopen(fixture);

    assert_int_equal(table_hash(fixture->table), 0);
    assert_int_equal(sum_of_checksums(fixture->table), 0);
}

static void load_gives_the_space_back(void **state)
{
    struct fixture *fixture = *state;

    load_numbers(fixture, 20000, 1000);
    table_load_end(fixture->table, true);
    uint64_t size = temporary_file_size(&fixture->folder, "env/data.mdb");
    load_numbers(fixture, 10, 1000);
    table_load_end(fixture->table, true);

    table_committer_wait(fixture->table->committer);
    assert_false(temporary_file_exists(&fixture->folder, "env/data.old"));
    assert_true(size > 20000 * 1000);
    assert_true(temporary_file_size(&fixture->folder, "env/data.mdb") < size / 10);
}

static void load_that_does_not_fit_is_a_sticky_lack_of_space(void **state)
{
    struct fixture *fixture = *state;

    load_numbers(fixture, 100, 1 << 20);
    table_load_end(fixture->table, true);
    assert_int_equal(table_error(fixture->table), ERR_NO_SPACE);
    assert_false(table_snapshot_open(fixture->table));
}

static void snapshot_tells_what_it_pins(void **state)
{
    static uint8_t value[1000];
    struct fixture *fixture = *state;

    load_numbers(fixture, 1000, sizeof(value));
    table_load_end(fixture->table, true);
    assert_true(table_snapshot_open(fixture->table));
    for (uint32_t round = 0; round < 20; round++) {
        for (uint32_t i = 0; i < 1000; i++) {
            uint8_t key[sizeof(uint64_t)];

            store_u64_ordered(key, i);
            value[0] = (uint8_t)round;
            table_put(fixture->table, bytes_of(key, sizeof(key)), bytes_of(value, sizeof(value)));
        }
        table_commit(fixture->table);
    }
    table_committer_wait(fixture->table->committer);
    assert_true(table_snapshot_pinned_bytes(fixture->table) > 1000 * sizeof(value));
    table_snapshot_close(fixture->table);
    assert_int_equal(table_snapshot_pinned_bytes(fixture->table), 0);
}

static void commit_without_changes_does_nothing(void **state)
{
    struct fixture *fixture = *state;

    put_text(fixture->table, "a", "1");
    assert_true(table_dirty_bytes(fixture->table) > 0);
    table_commit(fixture->table);
    assert_int_equal(table_dirty_bytes(fixture->table), 0);
    table_commit(fixture->table);

    assert_true(has(fixture->table, "a", "1"));
    assert_int_equal(table_error(fixture->table), ERR_OK);
}

static void folder_that_cannot_be_made_is_an_error(void **state)
{
    struct fixture *fixture = *state;
    struct table *table = NULL;
    bool was_clean;

    temporary_file_write(&fixture->folder, "file", "x", 1);
    char path[TEMPORARY_PATH_SIZE + 8];
    (void)snprintf(path, sizeof(path), "%s/file", fixture->folder.path);

    assert_int_equal(table_behind_open(&table, path, MAP_SIZE, MEMTABLE_SIZE, &was_clean), ERR_IO);
    assert_null(table);
}

#define LAW(name) cmocka_unit_test_setup_teardown(name, open_fixture, close_fixture)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LAW(table_keeps_the_laws_of_every_table),
        LAW(hash_is_the_sum_of_the_pairs_checksums),
        LAW(fresh_folder_gives_an_empty_table),
        LAW(table_is_used_again_after_a_clean_stop),
        LAW(table_is_thrown_away_after_any_other_stop),
        LAW(marker_counts_once),
        LAW(table_of_another_identity_is_thrown_away),
        LAW(table_whose_identity_is_gone_is_thrown_away),
        LAW(table_that_has_rotted_since_the_clean_stop_is_thrown_away),
        LAW(table_whose_file_has_another_size_is_thrown_away),
        LAW(rotten_value_is_never_handed_out),
        LAW(rotten_value_is_noticed_when_it_is_replaced),
        LAW(rotten_value_ends_the_walk_of_a_snapshot),
        LAW(loaded_table_is_used_again_after_a_clean_stop),
        LAW(load_that_is_given_up_leaves_nothing),
        LAW(load_gives_the_space_back),
        LAW(load_that_does_not_fit_is_a_sticky_lack_of_space),
        LAW(snapshot_tells_what_it_pins),
        LAW(rotten_head_of_the_file_means_an_empty_table),
        LAW(table_keeps_its_pairs_while_they_are_being_written),
        LAW(full_map_is_a_sticky_lack_of_space),
        LAW(commit_without_changes_does_nothing),
        LAW(folder_that_cannot_be_made_is_an_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
