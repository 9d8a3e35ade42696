/* tests/unit/server/table_layers_test.c: what is read and changed while a memtable is being
 * written. The committer of this test has no thread: it writes when the test says so, so that every
 * state in between is met and every run repeats.
 *
 * The source is included: linked from its archive it would come behind the in-memory table of
 * tests/support/base, which implements the same seam. */
#include "server/table_behind.c" /* NOLINT(bugprone-suspicious-include): see above. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/prng.h"
#include "base/text.h"
#include "tests/support/base/table_property.h"
#include "tests/support/server/temporary_folder.h"

enum {
    MAP_SIZE = 64 << 20,
    STEP_COUNT = 10000,
    SEED_COUNT = 40,
    LOOKS_MAX = 60, /* A random write ends after so many looks at it. */
    NEVER_ENDS = UINT32_MAX,
};

/* --- A committer without a thread ------------------------------------------------------------- */

struct steps {
    struct table_lmdb *lmdb;
    const struct memtable *memtable; /* NULL: nothing is being written. */
    uint64_t hash;
    enum error error;
    struct prng prng;
    bool is_random;      /* Writes end by themselves. */
    uint32_t looks_left; /* Until the write under way ends. */
    enum error failure;  /* Of the next write. */
    uint32_t write_count;
    uint32_t wait_count; /* Waits for a write that had not ended. */
    uint32_t busy_count; /* Looks that found a write under way. */
    const struct memtable_entry *entries[];
};

/* What is looked at is constant, but moves on. */
struct table_committer {
    struct steps *steps;
};

enum error table_committer_open(struct table_committer **opened, struct table_lmdb *lmdb,
                                uint32_t count_max)
{
    struct table_committer *committer = calloc(1, sizeof(*committer));

    assert_non_null(committer);
    committer->steps = calloc(1, sizeof(struct steps) + count_max * sizeof(void *));
    assert_non_null(committer->steps);
    committer->steps->lmdb = lmdb;
    *opened = committer;
    return ERR_OK;
}

static void write_now(struct steps *steps)
{
    uint32_t count = memtable_collect(steps->memtable, steps->entries);

    steps->error = steps->failure;
    if (steps->error == ERR_OK) {
        steps->error = table_lmdb_write(steps->lmdb, steps->entries, count, steps->hash);
    }
    steps->memtable = NULL;
    steps->write_count++;
}

void table_committer_close(struct table_committer *committer)
{
    table_committer_wait(committer);
    free(committer->steps);
    free(committer);
}

void table_committer_start(struct table_committer *committer, const struct memtable *memtable,
                           uint64_t hash)
{
    struct steps *steps = committer->steps;

    assert_null(steps->memtable);
    steps->memtable = memtable;
    steps->hash = hash;
    steps->looks_left =
        steps->is_random ? (uint32_t)prng_below(&steps->prng, LOOKS_MAX) : NEVER_ENDS;
}

void table_committer_dispose(struct table_committer *committer)
{
    assert_null(committer->steps->memtable);
    assert_int_equal(table_lmdb_dispose(committer->steps->lmdb), ERR_OK);
}

bool table_committer_is_idle(const struct table_committer *committer)
{
    struct steps *steps = committer->steps;

    if (steps->memtable == NULL) {
        return true;
    }
    if (steps->looks_left == 0) {
        write_now(steps);
        return true;
    }
    steps->busy_count++;
    steps->looks_left -= steps->looks_left == NEVER_ENDS ? 0 : 1;
    return false;
}

void table_committer_wait(struct table_committer *committer)
{
    if (committer->steps->memtable != NULL) {
        committer->steps->wait_count++;
        write_now(committer->steps);
    }
}

enum error table_committer_error(const struct table_committer *committer)
{
    assert_null(committer->steps->memtable);
    return committer->steps->error;
}

/* --- Fixture ---------------------------------------------------------------------------------- */

struct fixture {
    struct temporary_folder folder;
    struct table *table;
    struct steps *steps;
};

static void reopen(struct fixture *fixture)
{
    bool was_clean;

    assert_int_equal(table_behind_open(&fixture->table, fixture->folder.path, MAP_SIZE,
                                       memtable_size_min(), &was_clean),
                     ERR_OK);
    fixture->steps = fixture->table->committer->steps;
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

static void put_text(struct fixture *fixture, const char *key, const char *value)
{
    table_put(fixture->table, bytes_of_text(key), bytes_of_text(value));
}

static bool delete_text(struct fixture *fixture, const char *key)
{
    return table_delete(fixture->table, bytes_of_text(key));
}

/* What was changed so far is in LMDB, and only there. */
static void settle_all(struct fixture *fixture)
{
    table_commit(fixture->table);
    fixture->steps->looks_left = 0;
    settle(fixture->table);
    assert_null(fixture->table->frozen);
    assert_int_equal(table_dirty_bytes(fixture->table), 0);
}

/* What was changed since is frozen, and stays so. */
static void freeze_all(struct fixture *fixture)
{
    table_commit(fixture->table);
    assert_non_null(fixture->table->frozen);
    assert_true(table_commit_would_wait(fixture->table));
}

/* All pairs in order, "key=value " each. */
static void assert_table_is(struct fixture *fixture, const char *expected)
{
    char memory[256];
    struct text text;
    struct bytes key = bytes_of(NULL, 0);
    struct bytes value;
    struct bytes again = {0};
    uint64_t sum = 0;

    text_init(&text, memory, sizeof(memory));
    while (table_seek(fixture->table, key, false, &key, &value)) {
        assert_true(table_get(fixture->table, key, &again));
        assert_true(bytes_equal(value, again));
        text_add_bytes(&text, key);
        text_add(&text, "=");
        text_add_bytes(&text, value);
        text_add(&text, " ");
        sum += table_lmdb_sum(key, value);
    }
    assert_string_equal(text.data, expected);
    assert_int_equal(table_hash(fixture->table), sum);
}

/* --- Laws ------------------------------------------------------------------------------------- */

static void table_keeps_the_laws_of_every_table_while_it_is_written(void **state)
{
    struct fixture *fixture = *state;
    uint32_t write_count = 0;
    uint32_t wait_count = 0;
    uint32_t busy_count = 0;

    for (uint64_t seed = 1; seed <= SEED_COUNT; seed++) {
        fixture->steps->is_random = true;
        prng_init(&fixture->steps->prng, seed);
        table_property_all(fixture->table, seed, STEP_COUNT);
        write_count += fixture->steps->write_count;
        wait_count += fixture->steps->wait_count;
        busy_count += fixture->steps->busy_count;
        assert_int_equal(table_behind_close_clean(fixture->table), ERR_OK);
        reopen(fixture);
    }

    /* Every state was met many times. */
    assert_true(write_count > 100 * SEED_COUNT);
    assert_true(wait_count > 10 * SEED_COUNT);
    assert_true(busy_count > 1000 * SEED_COUNT);
}

/* One key of each combination: in LMDB, frozen, active; there, deleted, or unknown. */
static void newest_layer_decides(void **state)
{
    struct fixture *fixture = *state;

    put_text(fixture, "a", "1");
    put_text(fixture, "b", "1");
    put_text(fixture, "c", "1");
    put_text(fixture, "d", "1");
    put_text(fixture, "e", "1");
    put_text(fixture, "f", "1");
    settle_all(fixture);
    put_text(fixture, "b", "2");
    assert_true(delete_text(fixture, "c"));
    put_text(fixture, "d", "2");
    assert_true(delete_text(fixture, "e"));
    put_text(fixture, "g", "2");
    put_text(fixture, "h", "2");
    freeze_all(fixture);
    assert_table_is(fixture, "a=1 b=2 d=2 f=1 g=2 h=2 ");
    assert_true(delete_text(fixture, "d"));
    assert_false(delete_text(fixture, "c"));
    put_text(fixture, "e", "3");
    assert_true(delete_text(fixture, "f"));
    put_text(fixture, "g", "3");
    assert_true(delete_text(fixture, "h"));
    put_text(fixture, "i", "3");

    assert_table_is(fixture, "a=1 b=2 e=3 g=3 i=3 ");
    assert_false(delete_text(fixture, "d"));
    assert_false(delete_text(fixture, "h"));
    fixture->steps->looks_left = 0;
    settle(fixture->table);
    assert_table_is(fixture, "a=1 b=2 e=3 g=3 i=3 ");
    settle_all(fixture);
    assert_table_is(fixture, "a=1 b=2 e=3 g=3 i=3 ");
    assert_int_equal(table_behind_close_clean(fixture->table), ERR_OK);
    reopen(fixture);
    assert_table_is(fixture, "a=1 b=2 e=3 g=3 i=3 ");
}

static void pair_that_comes_back_is_found_in_front_of_what_was_passed(void **state)
{
    struct fixture *fixture = *state;

    put_text(fixture, "a", "1");
    put_text(fixture, "b", "1");
    put_text(fixture, "c", "1");
    settle_all(fixture);
    assert_true(delete_text(fixture, "a"));
    assert_true(delete_text(fixture, "b"));
    assert_table_is(fixture, "c=1 ");

    put_text(fixture, "b", "2");
    assert_table_is(fixture, "b=2 c=1 ");
    freeze_all(fixture);
    put_text(fixture, "a", "3");
    assert_table_is(fixture, "a=3 b=2 c=1 ");
}

/* A queue that is emptied from its front: each seek begins where the one before it ended, or each
 * would pass all that was deleted. */
static void seek_does_not_pass_deleted_pairs_twice(void **state)
{
    struct fixture *fixture = *state;
    const struct bytes queue = bytes_of_text("q");
    struct bytes key;
    struct bytes value;

    put_text(fixture, "q1", "");
    put_text(fixture, "q2", "");
    put_text(fixture, "q3", "");
    settle_all(fixture);
    assert_true(table_seek(fixture->table, queue, true, &key, &value));
    assert_true(delete_text(fixture, "q1"));
    assert_true(delete_text(fixture, "q2"));
    assert_true(table_seek(fixture->table, queue, true, &key, &value));
    assert_true(bytes_equal(key, bytes_of_text("q3")));

    const struct seek_memo *memo = seek_memos_find(&fixture->table->memos, queue, true);
    assert_true(memo->is_known);
    assert_true(bytes_equal(memo->key, bytes_of_text("q3")));
}

/* The write ends within the very call that stores what it makes invalid. */
static void value_may_be_borrowed_from_any_layer(void **state)
{
    struct fixture *fixture = *state;
    struct bytes value;

    put_text(fixture, "lmdb", "from lmdb");
    settle_all(fixture);
    put_text(fixture, "frozen", "from frozen");
    freeze_all(fixture);
    put_text(fixture, "active", "from active");
    fixture->steps->looks_left = 1; /* At its end: the first look is that for an error. */
    assert_true(table_get(fixture->table, bytes_of_text("frozen"), &value));
    fixture->steps->looks_left = 1;
    table_put(fixture->table, bytes_of_text("a"), value);
    assert_null(fixture->table->frozen);
    freeze_all(fixture);
    assert_true(table_get(fixture->table, bytes_of_text("lmdb"), &value));
    fixture->steps->looks_left = 1;
    table_put(fixture->table, bytes_of_text("b"), value);
    assert_null(fixture->table->frozen);
    put_text(fixture, "active", "from active");
    assert_true(table_get(fixture->table, bytes_of_text("active"), &value));
    table_put(fixture->table, bytes_of_text("c"), value);

    assert_table_is(fixture, "a=from frozen active=from active b=from lmdb c=from active "
                             "frozen=from frozen lmdb=from lmdb ");
}

static void reads_keep_what_they_lent_when_a_write_ends(void **state)
{
    struct fixture *fixture = *state;
    struct bytes first = {0};
    struct bytes second = {0};

    put_text(fixture, "a", "first");
    freeze_all(fixture);
    assert_true(table_get(fixture->table, bytes_of_text("a"), &first));
    fixture->steps->looks_left = 0;
    assert_true(table_get(fixture->table, bytes_of_text("a"), &second));

    assert_int_equal(fixture->steps->write_count, 1);
    assert_true(bytes_equal(first, bytes_of_text("first")));
    assert_true(bytes_equal(second, bytes_of_text("first")));
}

static void changes_wait_only_when_both_memtables_are_full(void **state)
{
    struct fixture *fixture = *state;
    char value[1000] = {0};

    table_put(fixture->table, bytes_of("0", 1), bytes_of(value, sizeof(value)));
    freeze_all(fixture);
    for (uint32_t i = 0; fixture->steps->wait_count == 0; i++) {
        assert_in_range(i, 0, 10);
        assert_non_null(fixture->table->frozen);
        table_put(fixture->table, bytes_of(&i, sizeof(i)), bytes_of(value, sizeof(value)));
    }

    /* The full one is being written now, and there is room again. */
    assert_int_equal(fixture->steps->write_count, 1);
    assert_true(table_commit_would_wait(fixture->table));
    assert_int_equal(table_dirty_bytes(fixture->table), 0);
    assert_int_equal(table_error(fixture->table), ERR_OK);
}

static void snapshot_begins_when_its_commit_is_written_and_before_the_next(void **state)
{
    static uint8_t large[TABLE_VALUE_SIZE_MAX];
    struct fixture *fixture = *state;
    struct bytes key;
    struct bytes value;

    put_text(fixture, "a", "1");
    freeze_all(fixture);
    assert_true(table_snapshot_open(fixture->table));
    assert_int_equal(table_snapshot_next(fixture->table, &key, &value), TABLE_SNAPSHOT_WAIT);
    put_text(fixture, "a", "2");
    /* Full: it is handed over in the middle of changes, which waits for the one before. */
    uint32_t wait_count = fixture->steps->wait_count;
    for (uint8_t i = 0; i < 20; i++) {
        table_put(fixture->table, bytes_of(&i, 1), bytes_of(large, sizeof(large)));
    }
    assert_true(fixture->steps->wait_count > wait_count);

    assert_int_equal(table_snapshot_next(fixture->table, &key, &value), TABLE_SNAPSHOT_PAIR);
    assert_true(bytes_equal(key, bytes_of_text("a")));
    assert_true(bytes_equal(value, bytes_of_text("1")));
    assert_int_equal(table_snapshot_next(fixture->table, &key, &value), TABLE_SNAPSHOT_END);
    table_snapshot_close(fixture->table);
}

static void failed_write_is_a_sticky_failure_of_the_table(void **state)
{
    struct fixture *fixture = *state;
    struct bytes found;

    put_text(fixture, "a", "1");
    freeze_all(fixture);
    fixture->steps->failure = ERR_NO_SPACE;
    assert_int_equal(table_error(fixture->table), ERR_OK);
    fixture->steps->looks_left = 0;

    assert_int_equal(table_error(fixture->table), ERR_NO_SPACE);
    assert_false(table_get(fixture->table, bytes_of_text("a"), &found));
    assert_false(table_seek(fixture->table, bytes_of_text("a"), true, &found, &found));
    assert_false(delete_text(fixture, "a"));
    put_text(fixture, "b", "2");
    table_commit(fixture->table);
    assert_int_equal(fixture->steps->write_count, 1);
    assert_int_equal(table_behind_close_clean(fixture->table), ERR_NO_SPACE);
    assert_false(temporary_file_exists(&fixture->folder, "env/clean"));
    reopen(fixture);
    assert_table_is(fixture, "");
}

static void write_that_fails_at_the_end_leaves_no_marker(void **state)
{
    struct fixture *fixture = *state;

    put_text(fixture, "a", "1");
    fixture->steps->failure = ERR_IO;

    assert_int_equal(table_behind_close_clean(fixture->table), ERR_IO);
    assert_false(temporary_file_exists(&fixture->folder, "env/clean"));
    reopen(fixture);
}

static void failed_write_is_noticed_by_the_change_that_waits_for_it(void **state)
{
    struct fixture *fixture = *state;
    char value[1000] = {0};

    put_text(fixture, "a", "1");
    freeze_all(fixture);
    fixture->steps->failure = ERR_NO_SPACE;
    for (uint32_t i = 0; fixture->steps->wait_count == 0; i++) {
        table_put(fixture->table, bytes_of(&i, sizeof(i)), bytes_of(value, sizeof(value)));
    }

    assert_int_equal(table_error(fixture->table), ERR_NO_SPACE);
}

#define LAW(name) cmocka_unit_test_setup_teardown(name, open_fixture, close_fixture)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LAW(table_keeps_the_laws_of_every_table_while_it_is_written),
        LAW(newest_layer_decides),
        LAW(pair_that_comes_back_is_found_in_front_of_what_was_passed),
        LAW(seek_does_not_pass_deleted_pairs_twice),
        LAW(value_may_be_borrowed_from_any_layer),
        LAW(reads_keep_what_they_lent_when_a_write_ends),
        LAW(changes_wait_only_when_both_memtables_are_full),
        LAW(snapshot_begins_when_its_commit_is_written_and_before_the_next),
        LAW(failed_write_is_a_sticky_failure_of_the_table),
        LAW(write_that_fails_at_the_end_leaves_no_marker),
        LAW(failed_write_is_noticed_by_the_change_that_waits_for_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
