/* tests/unit/node/snapshot_load_test.c: what is damaged is refused, whatever is damaged; and no
 * crash and no failed operation costs the snapshot that was there before. */
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

enum { CRASH_SEED_COUNT = 6 };

static const char file_name[] = "snap-0000000000000007";

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

/* A head, one block of pairs and an end: the blocks are full of padding, the fields few. */
static void save_small(struct snapshot_fixture *fixture)
{
    table_put(fixture->table, bytes_of_text("a"), bytes_of_text("first"));
    table_put(fixture->table, bytes_of_text("b"), bytes_of_text("second"));
    assert_true(snapshot_fixture_save(fixture, 7));
    snapshot_fixture_settle(fixture);
    assert_int_equal(snapshot_fixture_bytes(fixture, 7).size, 3 * DISK_ALIGNMENT);
}

/* Either opening sees it, or loading does; and nobody is offered it afterwards. */
static void assert_refused(struct snapshot_fixture *fixture)
{
    struct snapshot_event event;

    snapshot_fixture_begin(fixture);
    if (snapshots_newest(fixture->snapshots) != NULL) {
        assert_int_equal(snapshots_load_now(fixture->snapshots, 7), ERR_CORRUPT);
        assert_int_equal(memory_table_count(fixture->table), 0);
        assert_true(snapshots_next_event(fixture->snapshots, &event));
        assert_int_equal(event.kind, SNAPSHOT_LOAD_FAILED);
    } else {
        assert_true(snapshots_next_event(fixture->snapshots, &event));
        assert_int_equal(event.kind, SNAPSHOT_REFUSED);
    }
    assert_int_equal(event.error, ERR_CORRUPT);
    assert_int_equal(event.index, 7);
    assert_null(snapshots_newest(fixture->snapshots));
    assert_int_equal(snapshots_load_now(fixture->snapshots, 7), ERR_MISSING);
}

static void every_flipped_bit_is_refused(void **state)
{
    struct snapshot_fixture *fixture = *state;

    save_small(fixture);
    for (uint64_t bit = 0; bit < 8 * 3 * (uint64_t)DISK_ALIGNMENT; bit++) {
        memory_disk_flip_bit(fixture->disk, file_name, bit);
        assert_refused(fixture);
        memory_disk_flip_bit(fixture->disk, file_name, bit);
    }
    snapshot_fixture_begin(fixture);
    assert_int_equal(snapshots_load_now(fixture->snapshots, 7), ERR_OK);
    assert_int_equal(memory_table_count(fixture->table), 2);
}

static void every_truncation_is_refused(void **state)
{
    static uint8_t whole[3 * DISK_ALIGNMENT];
    struct snapshot_fixture *fixture = *state;

    save_small(fixture);
    memcpy(whole, snapshot_fixture_bytes(fixture, 7).data, sizeof(whole));
    for (size_t size = 0; size < sizeof(whole); size++) {
        memory_disk_put(fixture->disk, file_name, bytes_of(whole, size));
        assert_refused(fixture);
    }
}

static void bytes_behind_the_end_are_refused(void **state)
{
    static uint8_t longer[4 * DISK_ALIGNMENT];
    struct snapshot_fixture *fixture = *state;

    save_small(fixture);
    memcpy(longer, snapshot_fixture_bytes(fixture, 7).data, 3 * DISK_ALIGNMENT);
    memcpy(longer + 3 * (size_t)DISK_ALIGNMENT, longer + 2 * (size_t)DISK_ALIGNMENT,
           DISK_ALIGNMENT);
    memory_disk_put(fixture->disk, file_name, bytes_of(longer, sizeof(longer)));
    assert_refused(fixture);
}

static void a_block_of_another_snapshot_is_refused(void **state)
{
    static uint8_t mixed[3 * DISK_ALIGNMENT];
    struct snapshot_fixture *fixture = *state;
    struct snapshot_fixture other;

    save_small(fixture);
    memcpy(mixed, snapshot_fixture_bytes(fixture, 7).data, sizeof(mixed));
    snapshot_fixture_open(&other);
    table_put(other.table, bytes_of_text("a"), bytes_of_text("third"));
    assert_true(snapshot_fixture_save(&other, 7));
    memcpy(mixed + DISK_ALIGNMENT, snapshot_fixture_bytes(&other, 7).data + DISK_ALIGNMENT,
           DISK_ALIGNMENT);
    memory_disk_put(fixture->disk, file_name, bytes_of(mixed, sizeof(mixed)));
    assert_refused(fixture);
    snapshot_fixture_close(&other);
}

static void a_file_under_a_wrong_name_is_refused(void **state)
{
    static uint8_t whole[3 * DISK_ALIGNMENT];
    struct snapshot_fixture *fixture = *state;

    save_small(fixture);
    memcpy(whole, snapshot_fixture_bytes(fixture, 7).data, sizeof(whole));
    memory_disk_put(fixture->disk, "snap-0000000000000009", bytes_of(whole, sizeof(whole)));
    snapshot_fixture_begin(fixture);

    assert_int_equal(snapshots_newest(fixture->snapshots)->index, 7);
}

static void a_file_of_another_cluster_is_refused_and_kept(void **state)
{
    struct snapshot_fixture *fixture = *state;
    struct snapshot_event event;

    save_small(fixture);
    fixture->options.cluster[3]++;
    snapshot_fixture_begin(fixture);

    assert_true(snapshots_next_event(fixture->snapshots, &event));
    assert_int_equal(event.kind, SNAPSHOT_REFUSED);
    assert_int_equal(event.error, ERR_WRONG_CLUSTER);
    assert_null(snapshots_newest(fixture->snapshots));
    assert_true(snapshot_fixture_save(fixture, 8));
    snapshot_fixture_settle(fixture);
    assert_int_equal(snapshot_fixture_bytes(fixture, 7).size, 3 * DISK_ALIGNMENT);
}

static void the_older_one_serves_when_the_newest_is_rotten(void **state)
{
    struct snapshot_fixture *fixture = *state;

    save_small(fixture);
    struct table *expected = snapshot_fixture_copy(fixture->table);
    table_put(fixture->table, bytes_of_text("c"), bytes_of_text("third"));
    assert_true(snapshot_fixture_save(fixture, 8));
    memory_disk_flip_bit(fixture->disk, "snap-0000000000000008", 8 * DISK_ALIGNMENT + 1000);
    snapshot_fixture_reopen(fixture);

    assert_int_equal(snapshots_newest(fixture->snapshots)->index, 8);
    assert_int_equal(snapshots_load_now(fixture->snapshots, 8), ERR_CORRUPT);
    assert_int_equal(snapshots_newest(fixture->snapshots)->index, 7);
    assert_int_equal(snapshots_load_now(fixture->snapshots, 7), ERR_OK);
    assert_true(snapshot_fixture_tables_equal(fixture->table, expected));

    /* The rotten one stays until there is a newer one, and then goes. */
    snapshot_fixture_settle(fixture);
    assert_true(snapshot_fixture_bytes(fixture, 8).size != 0);
    assert_true(snapshot_fixture_save(fixture, 9));
    snapshot_fixture_settle(fixture);
    assert_int_equal(snapshot_fixture_bytes(fixture, 8).size, 0);
    memory_table_close(expected);
}

static void a_read_error_refuses_nothing_for_ever(void **state)
{
    struct snapshot_fixture *fixture = *state;
    struct snapshot_event event;

    save_small(fixture);
    assert_int_equal(snapshots_load_begin(fixture->snapshots, 7), ERR_OK);
    memory_disk_fail(fixture->disk, 1, ERR_IO);
    assert_true(snapshot_fixture_await(fixture, SNAPSHOT_LOAD_FAILED, &event));
    assert_int_equal(event.error, ERR_IO);
    assert_int_equal(memory_table_count(fixture->table), 0);
    assert_int_equal(snapshots_load_begin(fixture->snapshots, 7), ERR_OK);
    assert_true(snapshot_fixture_await(fixture, SNAPSHOT_LOADED, &event));
    assert_int_equal(memory_table_count(fixture->table), 2);
}

static void loading_gives_up_a_save(void **state)
{
    struct snapshot_fixture *fixture = *state;
    struct snapshot_event event;

    save_small(fixture);
    struct snapshot_base base = snapshot_fixture_base(fixture, 8);
    assert_int_equal(snapshots_save_begin(fixture->snapshots, &base, fixture->now_ms), ERR_OK);
    snapshots_advance(fixture->snapshots, fixture->now_ms);
    assert_int_equal(snapshots_load_begin(fixture->snapshots, 7), ERR_OK);
    assert_int_equal(snapshots_load_begin(fixture->snapshots, 7), ERR_OVERLOADED);
    assert_true(snapshot_fixture_await(fixture, SNAPSHOT_LOADED, &event));
    snapshot_fixture_settle(fixture);
    assert_int_equal(snapshot_fixture_bytes(fixture, 8).size, 0);
    assert_int_equal(snapshots_newest(fixture->snapshots)->index, 7);
}

/* --- Crashes and failed operations ------------------------------------------------------------ */

static void make_first(struct snapshot_fixture *fixture, struct prng *prng)
{
    snapshot_fixture_change(fixture->table, prng, 300, 200, 4000);
    assert_true(snapshot_fixture_save(fixture, 10));
    snapshot_fixture_change(fixture->table, prng, 300, 200, 4000);
    table_commit(fixture->table);
}

static bool keep_by_chance(void *context, uint32_t sector)
{
    (void)sector;
    return prng_below(context, 2) == 0;
}

static bool keep_all(void *context, uint32_t sector)
{
    (void)context;
    (void)sector;
    return true;
}

/* After the crash the first state is there, or the second: which of them. */
static raft_index recovered(struct snapshot_fixture *fixture, struct table *first,
                            struct table *second)
{
    snapshot_fixture_reopen(fixture);
    const struct snapshot_file *newest = snapshots_newest(fixture->snapshots);
    assert_non_null(newest);
    raft_index index = newest->index;

    assert_int_equal(snapshots_load_now(fixture->snapshots, index), ERR_OK);
    assert_true(index == 10 || index == 20);
    assert_true(snapshot_fixture_tables_equal(fixture->table, index == 10 ? first : second));
    snapshot_fixture_settle(fixture);
    /* What was not finished is gone: one file, or two whole ones. */
    assert_in_range(memory_disk_file_count(fixture->disk), 1, 2);
    for (uint32_t i = 0; i < memory_disk_file_count(fixture->disk); i++) {
        assert_int_equal(strlen(memory_disk_file_name(fixture->disk, i)), strlen(file_name));
    }
    return index;
}

struct crash {
    struct snapshot_fixture fixture;
    struct table *first;  /* The state of the snapshot that was there, */
    struct table *second; /* and of the one that is being saved. */
    struct prng prng;
};

static void crash_open(struct crash *crash, uint64_t seed)
{
    prng_init(&crash->prng, seed);
    snapshot_fixture_open(&crash->fixture);
    crash->fixture.options.slice_size = 16 << 10;
    snapshot_fixture_reopen(&crash->fixture);
    snapshot_fixture_change(crash->fixture.table, &crash->prng, 300, 200, 4000);
    crash->first = snapshot_fixture_copy(crash->fixture.table);
    assert_true(snapshot_fixture_save(&crash->fixture, 10));
    snapshot_fixture_change(crash->fixture.table, &crash->prng, 300, 200, 4000);
    crash->second = snapshot_fixture_copy(crash->fixture.table);
    table_commit(crash->fixture.table);
}

static void crash_close(struct crash *crash)
{
    memory_table_close(crash->first);
    memory_table_close(crash->second);
    snapshot_fixture_close(&crash->fixture);
}

/* Crashes after `step_count` steps of a save; false when the save was over before. */
static bool crash_at(uint32_t step_count, uint64_t seed, uint32_t counts[2])
{
    static memory_disk_keep *const keeps[] = {NULL, keep_by_chance, keep_all};
    struct crash crash;
    bool goes_on = true;

    crash_open(&crash, seed);
    struct snapshot_base base = snapshot_fixture_base(&crash.fixture, 20);
    assert_int_equal(snapshots_save_begin(crash.fixture.snapshots, &base, crash.fixture.now_ms),
                     ERR_OK);
    for (uint32_t i = 0; goes_on && i < step_count; i++) {
        goes_on = snapshot_fixture_step(&crash.fixture);
    }
    memory_disk_crash(crash.fixture.disk, keeps[seed % COUNT_OF(keeps)], &crash.prng);
    counts[recovered(&crash.fixture, crash.first, crash.second) == 20 ? 1 : 0]++;
    crash_close(&crash);
    return goes_on;
}

static void a_crash_at_any_step_leaves_the_old_snapshot_or_the_new_one(void **state)
{
    uint32_t counts[2] = {0, 0};

    (void)state;
    for (uint64_t seed = 0; seed < CRASH_SEED_COUNT; seed++) {
        uint32_t step_count = 0;

        while (crash_at(step_count, seed, counts)) {
            step_count++;
        }
    }
    assert_true(counts[0] > 10 * CRASH_SEED_COUNT && counts[1] >= CRASH_SEED_COUNT);
}

static void any_failed_operation_leaves_the_old_snapshot_or_the_new_one(void **state)
{
    bool failed = true;

    (void)state;
    for (uint64_t nth = 1; failed; nth++) {
        struct snapshot_fixture fixture;
        struct prng prng;

        prng_init(&prng, 1);
        snapshot_fixture_open(&fixture);
        make_first(&fixture, &prng);
        uint64_t done = memory_disk_operation_count(fixture.disk);
        memory_disk_fail(fixture.disk, nth, nth % 2 == 0 ? ERR_IO : ERR_NO_SPACE);
        bool saved = snapshot_fixture_save(&fixture, 20);
        snapshot_fixture_settle(&fixture);
        failed = memory_disk_operation_count(fixture.disk) - done >= nth;
        memory_disk_fail(fixture.disk, 0, ERR_OK);
        assert_true(saved || failed);
        assert_int_equal(snapshots_newest(fixture.snapshots)->index, saved ? 20 : 10);
        /* It is not final: the next one succeeds, and the folder is as it should be. */
        assert_true(saved || snapshot_fixture_save(&fixture, 20));
        assert_true(snapshot_fixture_save(&fixture, 21));
        snapshot_fixture_settle(&fixture);
        assert_int_equal(snapshots_load_now(fixture.snapshots, 21), ERR_OK);
        assert_in_range(memory_disk_file_count(fixture.disk), 2, 3);
        snapshot_fixture_close(&fixture);
    }
}

static void a_full_disk_costs_the_new_snapshot_alone(void **state)
{
    struct snapshot_fixture *fixture = *state;
    struct prng prng;

    prng_init(&prng, 1);
    make_first(fixture, &prng);
    memory_disk_limit(fixture->disk, snapshot_fixture_bytes(fixture, 10).size + 4096);
    assert_false(snapshot_fixture_save(fixture, 20));
    snapshot_fixture_settle(fixture);
    assert_int_equal(memory_disk_file_count(fixture->disk), 1);
    assert_int_equal(snapshots_newest(fixture->snapshots)->index, 10);
    memory_disk_limit(fixture->disk, UINT64_MAX);
    assert_true(snapshot_fixture_save(fixture, 20));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_fixture, close_fixture)
    const struct CMUnitTest tests[] = {
        TEST(every_flipped_bit_is_refused),
        TEST(every_truncation_is_refused),
        TEST(bytes_behind_the_end_are_refused),
        TEST(a_block_of_another_snapshot_is_refused),
        TEST(a_file_under_a_wrong_name_is_refused),
        TEST(a_file_of_another_cluster_is_refused_and_kept),
        TEST(the_older_one_serves_when_the_newest_is_rotten),
        TEST(a_read_error_refuses_nothing_for_ever),
        TEST(loading_gives_up_a_save),
        TEST(a_crash_at_any_step_leaves_the_old_snapshot_or_the_new_one),
        TEST(any_failed_operation_leaves_the_old_snapshot_or_the_new_one),
        TEST(a_full_disk_costs_the_new_snapshot_alone),
    };
#undef TEST

    return cmocka_run_group_tests(tests, NULL, NULL);
}
