/* tests/unit/server/memtable_test.c: the laws of a memtable, against a sorted array. */
#include "server/memtable.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/prng.h"
#include "base/table.h"

enum {
    KEY_COUNT = 300, /* All keys of the model: two bytes each, in the order of their numbers. */
    VALUE_SIZE_MAX = 64,
    SIZE = 4 << 20,
    STEP_COUNT = 4000,
    SEED_COUNT = 30,
};

struct fixture {
    void *memory;
    struct memtable *memtable;
};

static struct fixture fixture_open(size_t size)
{
    struct fixture fixture;
    struct arena arena;
    size_t memory_size = size_round_up(memtable_memory_size(size), ARENA_ALIGNMENT);

    fixture.memory = aligned_alloc(ARENA_ALIGNMENT, memory_size);
    assert_non_null(fixture.memory);
    memset(fixture.memory, 0xdd, memory_size);
    arena_init(&arena, fixture.memory, memory_size);
    fixture.memtable = memtable_open(&arena, size);
    return fixture;
}

static void fixture_close(struct fixture *fixture)
{
    free(fixture->memory);
}

static struct memtable_entry *find(const struct memtable *memtable, struct bytes key)
{
    struct memtable_key lookup = memtable_key_of(key);

    return memtable_find(memtable, &lookup);
}

static struct memtable_entry *add(struct memtable *memtable, const char *key, bool is_below)
{
    struct memtable_key lookup = memtable_key_of(bytes_of_text(key));

    return memtable_add(memtable, &lookup, is_below);
}

static struct memtable_entry *put(struct memtable *memtable, const char *key, const char *value)
{
    struct memtable_entry *entry = add(memtable, key, false);

    memtable_store(memtable, entry, bytes_of_text(value), 0);
    return entry;
}

static void assert_is(const struct memtable_entry *entry, const char *key, const char *value)
{
    assert_non_null(entry);
    assert_true(bytes_equal(memtable_entry_key(entry), bytes_of_text(key)));
    assert_true(bytes_equal(memtable_entry_value(entry), bytes_of_text(value)));
}

/* --- Against a model -------------------------------------------------------------------------- */

struct model_entry {
    bool is_known;
    bool is_live;
    bool is_below;
    bool is_hidden;
    uint64_t sum;
    uint8_t value[VALUE_SIZE_MAX];
    size_t size;
};

struct model {
    struct model_entry entries[KEY_COUNT];
};

static struct bytes key_of(uint32_t number, uint8_t memory[2])
{
    memory[0] = (uint8_t)(number >> 8);
    memory[1] = (uint8_t)number;
    return bytes_of(memory, 2);
}

static void step(struct memtable *memtable, struct model *model, struct prng *prng)
{
    uint8_t memory[2];
    uint32_t number = (uint32_t)prng_below(prng, KEY_COUNT);
    struct memtable_key key = memtable_key_of(key_of(number, memory));
    struct model_entry *expected = &model->entries[number];
    struct memtable_entry *entry = memtable_find(memtable, &key);

    assert_int_equal(entry != NULL, expected->is_known);
    if (entry == NULL) {
        expected->is_known = true;
        expected->is_below = prng_below(prng, 2) == 0;
        entry = memtable_add(memtable, &key, expected->is_below);
    }
    switch (prng_below(prng, 4)) {
    case 0:
        if (expected->is_live) {
            memtable_erase(memtable, entry);
        }
        expected->is_live = false;
        break;
    case 1:
        memtable_hide(memtable, entry);
        expected->is_hidden = true;
        break;
    default:
        expected->size = (size_t)prng_below(prng, VALUE_SIZE_MAX + 1);
        memset(expected->value, (int)prng_below(prng, 256), sizeof(expected->value));
        expected->sum = prng_next(prng);
        expected->is_live = true;
        expected->is_hidden = false;
        memtable_store(memtable, entry, bytes_of(expected->value, expected->size), expected->sum);
        break;
    }
}

static void check_entry(const struct memtable_entry *entry, const struct model *model,
                        uint32_t number)
{
    const struct model_entry *expected = &model->entries[number];
    uint8_t memory[2];

    assert_non_null(entry);
    assert_true(bytes_equal(memtable_entry_key(entry), key_of(number, memory)));
    assert_int_equal(entry->is_live, expected->is_live);
    assert_int_equal(entry->is_below, expected->is_below);
    if (expected->is_live) {
        struct bytes value = bytes_of(expected->value, expected->size);

        assert_true(bytes_equal(memtable_entry_value(entry), value));
        assert_int_equal(entry->sum, expected->sum);
    }
}

/* The first number from `from` on that a seek finds; KEY_COUNT when there is none. */
static uint32_t model_seek(const struct model *model, uint32_t from)
{
    while (from < KEY_COUNT && !(model->entries[from].is_known && model->entries[from].is_live &&
                                 !model->entries[from].is_hidden)) {
        from++;
    }
    return from;
}

static void check_seek(struct memtable *memtable, const struct model *model, uint32_t number)
{
    uint8_t memory[2];
    struct bytes key = key_of(number, memory);

    for (uint32_t behind = 0; behind <= 1; behind++) {
        uint32_t expected = model_seek(model, number + behind);
        const struct memtable_entry *found = memtable_seek(memtable, key, behind == 0);

        assert_int_equal(found != NULL, expected < KEY_COUNT);
        if (found != NULL) {
            check_entry(found, model, expected);
        }
    }
}

static void check(struct memtable *memtable, const struct model *model)
{
    static const struct memtable_entry *entries[SIZE / 64];
    uint32_t at = 0;
    uint32_t count = memtable_collect(memtable, entries);

    for (uint32_t number = 0; number < KEY_COUNT; number++) {
        const struct model_entry *expected = &model->entries[number];
        uint8_t memory[2];
        struct bytes key = key_of(number, memory);

        if (expected->is_known) {
            check_entry(find(memtable, key), model, number);
        }
        if (expected->is_known && (expected->is_live || expected->is_below)) {
            check_entry(entries[at++], model, number);
        }
        check_seek(memtable, model, number);
    }
    assert_int_equal(at, count);
}

static void memtable_is_a_sorted_array(void **state)
{
    static struct model model;
    struct fixture fixture = fixture_open(SIZE);
    (void)state;

    for (uint64_t seed = 1; seed <= SEED_COUNT; seed++) {
        struct prng prng;

        prng_init(&prng, seed);
        memset(&model, 0, sizeof(model));
        memtable_clear(fixture.memtable);
        for (uint32_t i = 0; i < STEP_COUNT; i++) {
            step(fixture.memtable, &model, &prng);
            if (prng_below(&prng, 50) == 0) {
                check_seek(fixture.memtable, &model, (uint32_t)prng_below(&prng, KEY_COUNT));
            }
            if (i % 500 == 0) {
                check(fixture.memtable, &model);
            }
        }
        check(fixture.memtable, &model);
    }
    fixture_close(&fixture);
}

/* --- One law each ----------------------------------------------------------------------------- */

static void only_live_entries_are_in_the_order(void **state)
{
    struct fixture fixture = fixture_open(SIZE);
    struct memtable *memtable = fixture.memtable;
    (void)state;

    put(memtable, "b", "2");
    memtable_erase(memtable, put(memtable, "a", "1"));
    memtable_hide(memtable, put(memtable, "c", "3"));

    assert_is(memtable_seek(memtable, bytes_of("", 0), true), "b", "2");
    assert_null(memtable_seek(memtable, bytes_of("b", 1), false));
    assert_false(find(memtable, bytes_of("a", 1))->is_live);
    assert_true(find(memtable, bytes_of("c", 1))->is_live);
    fixture_close(&fixture);
}

static void tombstone_is_written_only_over_an_older_pair(void **state)
{
    struct fixture fixture = fixture_open(SIZE);
    const struct memtable_entry *entries[SIZE / 64];
    (void)state;

    memtable_erase(fixture.memtable, put(fixture.memtable, "a", "1"));
    add(fixture.memtable, "b", true);

    assert_int_equal(memtable_collect(fixture.memtable, entries), 1);
    assert_true(bytes_equal(memtable_entry_key(entries[0]), bytes_of("b", 1)));
    fixture_close(&fixture);
}

static void value_may_be_borrowed_from_its_own_entry(void **state)
{
    struct fixture fixture = fixture_open(SIZE);
    struct memtable_entry *entry = put(fixture.memtable, "a", "0123456789");
    (void)state;

    memtable_store(fixture.memtable, entry, bytes_skip(memtable_entry_value(entry), 3), 0);

    assert_is(entry, "a", "3456789");
    fixture_close(&fixture);
}

static void value_of_the_same_size_takes_no_memory(void **state)
{
    struct fixture fixture = fixture_open(SIZE);
    struct memtable_entry *entry = put(fixture.memtable, "a", "12345678");
    uint64_t size = memtable_size(fixture.memtable);
    (void)state;

    for (uint32_t i = 0; i < 1000; i++) {
        memtable_store(fixture.memtable, entry, bytes_of("87654321", 8), 0);
        memtable_erase(fixture.memtable, entry);
        memtable_store(fixture.memtable, entry, bytes_of("1", 1), 0);
    }

    assert_int_equal(memtable_size(fixture.memtable), size);
    fixture_close(&fixture);
}

static void growing_value_takes_no_more_than_a_few_times_its_size(void **state)
{
    static uint8_t value[100000];
    struct fixture fixture = fixture_open(SIZE);
    struct memtable_entry *entry = put(fixture.memtable, "a", "");
    (void)state;

    for (size_t size = 1; size <= sizeof(value); size += 7) {
        memtable_store(fixture.memtable, entry, bytes_of(value, size), 0);
    }

    assert_in_range(memtable_size(fixture.memtable), sizeof(value), 4 * sizeof(value));
    fixture_close(&fixture);
}

/* Until it says that it is full there is room for the largest pair, whatever else it has. */
static void memtable_that_is_not_full_takes_the_largest_pair(void **state)
{
    static uint8_t value[TABLE_VALUE_SIZE_MAX];
    struct fixture fixture = fixture_open(memtable_size_min());
    uint8_t key[TABLE_KEY_SIZE_MAX] = {0};
    (void)state;

    for (uint32_t small = 0; small < 300; small += 13) {
        uint32_t number = 0;

        memtable_clear(fixture.memtable);
        while (!memtable_is_full(fixture.memtable)) {
            bool is_small = number < small;
            store_u32(key, number++);
            struct memtable_key lookup = memtable_key_of(bytes_of(key, is_small ? 4 : sizeof(key)));
            struct memtable_entry *entry = memtable_add(fixture.memtable, &lookup, false);
            memtable_store(fixture.memtable, entry,
                           bytes_of(value, is_small ? 3000 : sizeof(value)), 0);
        }
        assert_in_range(number, 1, 400);
    }
    fixture_close(&fixture);
}

static void memtable_is_full_when_its_hash_is_half_full(void **state)
{
    struct fixture fixture = fixture_open(SIZE);
    uint32_t count = 0;
    (void)state;

    while (!memtable_is_full(fixture.memtable)) {
        struct memtable_key lookup = memtable_key_of(bytes_of(&count, sizeof(count)));
        memtable_add(fixture.memtable, &lookup, true);
        count++;
    }

    assert_int_equal(count, memtable_count_max(fixture.memtable));
    assert_true(memtable_size(fixture.memtable) < SIZE / 2);
    fixture_close(&fixture);
}

static void cleared_memtable_is_empty(void **state)
{
    struct fixture fixture = fixture_open(SIZE);
    const struct memtable_entry *entries[SIZE / 64];
    (void)state;

    put(fixture.memtable, "a", "1");
    assert_true(memtable_size(fixture.memtable) > 0);
    memtable_clear(fixture.memtable);

    assert_int_equal(memtable_size(fixture.memtable), 0);
    assert_null(find(fixture.memtable, bytes_of("a", 1)));
    assert_null(memtable_seek(fixture.memtable, bytes_of("", 0), true));
    assert_int_equal(memtable_collect(fixture.memtable, entries), 0);
    fixture_close(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memtable_is_a_sorted_array),
        cmocka_unit_test(only_live_entries_are_in_the_order),
        cmocka_unit_test(tombstone_is_written_only_over_an_older_pair),
        cmocka_unit_test(value_may_be_borrowed_from_its_own_entry),
        cmocka_unit_test(value_of_the_same_size_takes_no_memory),
        cmocka_unit_test(growing_value_takes_no_more_than_a_few_times_its_size),
        cmocka_unit_test(memtable_that_is_not_full_takes_the_largest_pair),
        cmocka_unit_test(memtable_is_full_when_its_hash_is_half_full),
        cmocka_unit_test(cleared_memtable_is_empty),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
