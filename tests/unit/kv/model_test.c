/* tests/unit/kv/model_test.c: random commands agree with a sorted array. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "base/bytes.h"
#include "base/macros.h"
#include "base/prng.h"
#include "kv/kv.h"
#include "tests/support/base/memory_table.h"
#include "tests/support/kv/model.h"

enum { SEED_COUNT = 10, STEP_COUNT = 2000, WALK_PERIOD = 50 };

struct run {
    struct table *table;
    struct kv_model *model;
    struct prng prng;
    uint64_t swapped_count;
};

static struct bytes draw_key(struct prng *prng, uint8_t memory[KV_MODEL_KEY_SIZE_MAX], size_t min)
{
    static const uint8_t letters[] = {0x00, 'a', 0xfe, 0xff};
    size_t size = (size_t)prng_between(prng, min, KV_MODEL_KEY_SIZE_MAX);

    for (size_t i = 0; i < size; i++) {
        memory[i] = letters[prng_below(prng, COUNT_OF(letters))];
    }
    return bytes_of(memory, size);
}

/* Few different values, on both sides of the size from which one lies apart. */
static struct bytes draw_value(struct prng *prng, uint8_t memory[KV_MODEL_VALUE_SIZE_MAX])
{
    static const size_t sizes[] = {0, 1, 100, 2048, 2049, KV_MODEL_VALUE_SIZE_MAX};
    size_t size = sizes[prng_below(prng, COUNT_OF(sizes))];

    for (size_t i = 0; i < size; i++) {
        memory[i] = (uint8_t)i;
    }
    return bytes_of(memory, size);
}

static void assert_same(bool found, const struct kv_pair *got, bool expected,
                        const struct kv_pair *pair)
{
    assert_int_equal(found, expected);
    if (found) {
        assert_true(bytes_equal(got->key, pair->key));
        assert_true(bytes_equal(got->value, pair->value));
        assert_int_equal(got->revision, pair->revision);
    }
}

static void walk(struct run *run, struct bytes prefix, struct bytes after)
{
    struct kv_pair got = {.key = after};
    struct kv_pair pair = {.key = after};
    bool more = true;

    while (more) {
        more = kv_model_next(run->model, prefix, pair.key, &pair);
        bool found = kv_next(run->table, prefix, got.key, &got);
        assert_same(found, &got, more, &pair);
    }
}

static void change(struct run *run, struct bytes key, kv_revision revision)
{
    uint8_t memory[KV_MODEL_VALUE_SIZE_MAX];
    uint8_t expected_memory[KV_MODEL_VALUE_SIZE_MAX];
    struct bytes value = draw_value(&run->prng, memory);
    uint64_t choice = prng_below(&run->prng, 10);

    if (choice < 3) {
        kv_put(run->table, key, value, 0, revision);
        kv_model_put(run->model, key, value, revision);
    } else if (choice < 5) {
        assert_int_equal(kv_delete(run->table, key), kv_model_delete(run->model, key));
    } else {
        struct kv_expected expected = {.absent = choice == 5,
                                       .value = draw_value(&run->prng, expected_memory)};
        enum error error = kv_compare_and_swap(run->table, key, &expected, value, revision);
        assert_int_equal(error,
                         kv_model_compare_and_swap(run->model, key, &expected, value, revision));
        run->swapped_count += error == ERR_OK ? 1 : 0;
    }
}

static void step(struct run *run, kv_revision revision)
{
    uint8_t key_memory[KV_MODEL_KEY_SIZE_MAX];
    uint8_t after_memory[KV_MODEL_KEY_SIZE_MAX];
    struct bytes key = draw_key(&run->prng, key_memory, 1);
    struct kv_pair got;
    struct kv_pair pair;

    change(run, key, revision);
    bool expected = kv_model_get(run->model, key, &pair);
    assert_same(kv_get(run->table, key, &got), &got, expected, &pair);
    if (revision % WALK_PERIOD == 0) {
        walk(run, bytes_of(NULL, 0), bytes_of(NULL, 0));
        walk(run, draw_key(&run->prng, key_memory, 0), draw_key(&run->prng, after_memory, 0));
        kv_check(run->table);
    }
}

static void random_commands_agree_with_the_model(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEED_COUNT; seed++) {
        struct run run = {.table = memory_table_open(), .model = calloc(1, sizeof(*run.model))};
        assert_non_null(run.model);
        prng_init(&run.prng, seed);
        for (kv_revision revision = 1; revision <= STEP_COUNT; revision++) {
            step(&run, revision);
        }
        assert_true(run.model->count > 10);
        assert_true(run.swapped_count > 20);
        memory_table_close(run.table);
        free(run.model);
    }
}

static void same_commands_give_the_same_table(void **state)
{
    struct run runs[2];

    (void)state;
    for (uint32_t i = 0; i < COUNT_OF(runs); i++) {
        runs[i] =
            (struct run){.table = memory_table_open(), .model = calloc(1, sizeof(*runs[i].model))};
        assert_non_null(runs[i].model);
        prng_init(&runs[i].prng, 77);
    }
    for (kv_revision revision = 1; revision <= STEP_COUNT; revision++) {
        step(&runs[0], revision);
        step(&runs[1], revision);
        table_commit(runs[1].table);
        assert_int_equal(table_hash(runs[0].table), table_hash(runs[1].table));
    }
    for (uint32_t i = 0; i < COUNT_OF(runs); i++) {
        memory_table_close(runs[i].table);
        free(runs[i].model);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_commands_agree_with_the_model),
        cmocka_unit_test(same_commands_give_the_same_table),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
