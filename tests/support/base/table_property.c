/* tests/support/base/table_property.c: the laws of base/table.h against a sorted array. */
#include "tests/support/base/table_property.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/checksum.h"
#include "base/macros.h"
#include "base/prng.h"

enum {
    MODEL_PAIR_COUNT_MAX = 512,
    MODEL_VALUE_SIZE_MAX = 300,
    RANDOM_KEY_SIZE_MAX =
        4,             /* Short keys over few letters: hits, misses and prefixes are common. */
    WALK_PERIOD = 256, /* Steps between two comparisons of everything. */
    HASH_PAIR_COUNT = 64,
    SNAPSHOT_COUNT = 5,
    LOAD_COUNT = 5,
};

struct pair {
    uint8_t key[TABLE_KEY_SIZE_MAX];
    size_t key_size;
    uint8_t value[MODEL_VALUE_SIZE_MAX];
    size_t value_size;
};

/* Pairs sorted by key: every operation is a walk over all of them. */
struct model {
    uint32_t count;
    struct pair pairs[MODEL_PAIR_COUNT_MAX];
};

static struct bytes pair_key(const struct pair *pair)
{
    return bytes_of(pair->key, pair->key_size);
}

static struct bytes pair_value(const struct pair *pair)
{
    return bytes_of(pair->value, pair->value_size);
}

static uint32_t model_lower_bound(const struct model *model, struct bytes key)
{
    uint32_t at = 0;

    while (at < model->count && bytes_compare(pair_key(&model->pairs[at]), key) < 0) {
        at++;
    }
    return at;
}

static bool model_has(const struct model *model, uint32_t at, struct bytes key)
{
    return at < model->count && bytes_equal(pair_key(&model->pairs[at]), key);
}

static void model_put(struct model *model, struct bytes key, struct bytes value)
{
    uint32_t at = model_lower_bound(model, key);
    struct pair *pair = &model->pairs[at];

    ASSERT(key.size <= sizeof(pair->key) && value.size <= sizeof(pair->value));
    if (!model_has(model, at, key)) {
        ASSERT(model->count < MODEL_PAIR_COUNT_MAX);
        memmove(pair + 1, pair, (model->count - at) * sizeof(*pair));
        model->count++;
    }
    memcpy(pair->key, key.data, key.size);
    pair->key_size = key.size;
    memcpy(pair->value, value.data, value.size);
    pair->value_size = value.size;
}

static bool model_delete(struct model *model, struct bytes key)
{
    uint32_t at = model_lower_bound(model, key);
    struct pair *pair = &model->pairs[at];

    if (!model_has(model, at, key)) {
        return false;
    }
    model->count--;
    memmove(pair, pair + 1, (model->count - at) * sizeof(*pair));
    return true;
}

/* --- Checks ----------------------------------------------------------------------------------- */

static void check_get(struct table *table, const struct model *model, struct bytes key)
{
    struct bytes value;
    uint32_t at = model_lower_bound(model, key);
    bool expected = model_has(model, at, key);
    bool found = table_get(table, key, &value);

    ASSERT_VALUES(found == expected, found, expected);
    if (found) {
        ASSERT(bytes_equal(value, pair_value(&model->pairs[at])));
    }
}

static void check_seek(struct table *table, const struct model *model, struct bytes from,
                       bool inclusive)
{
    struct bytes key;
    struct bytes value;
    uint32_t at = model_lower_bound(model, from);

    if (!inclusive && model_has(model, at, from)) {
        at++;
    }
    bool found = table_seek(table, from, inclusive, &key, &value);
    ASSERT_VALUES(found == (at < model->count), found, at);
    if (found) {
        ASSERT(bytes_equal(key, pair_key(&model->pairs[at])));
        ASSERT(bytes_equal(value, pair_value(&model->pairs[at])));
    }
}

/* The table has the model's pairs, in its order, and no others. */
static void check_walk(struct table *table, const struct model *model)
{
    struct bytes key = bytes_of(NULL, 0);
    struct bytes value;
    uint32_t at = 0;

    for (bool inclusive = true; table_seek(table, key, inclusive, &key, &value);
         inclusive = false) {
        ASSERT(at < model->count);
        ASSERT(bytes_equal(key, pair_key(&model->pairs[at])));
        ASSERT(bytes_equal(value, pair_value(&model->pairs[at])));
        at++;
    }
    ASSERT_VALUES(at == model->count, at, model->count);
}

static void clear(struct table *table, struct model *model)
{
    while (model->count > 0) {
        struct pair pair = model->pairs[model->count / 2];
        ASSERT(table_delete(table, pair_key(&pair)));
        ASSERT(model_delete(model, pair_key(&pair)));
    }
    check_walk(table, model);
}

static struct model *model_open(struct table *table)
{
    struct model *model = malloc(sizeof(*model));

    ASSERT(model != NULL);
    model->count = 0;
    ASSERT(table_error(table) == ERR_OK);
    check_walk(table, model);
    return model;
}

/* --- The laws --------------------------------------------------------------------------------- */

static struct bytes draw_key(struct prng *prng, uint8_t memory[RANDOM_KEY_SIZE_MAX])
{
    static const uint8_t letters[] = {0x00, 0x01, 'a', 'b', 0x7f, 0x80, 0xfe, 0xff};
    size_t size = (size_t)prng_between(prng, 1, RANDOM_KEY_SIZE_MAX);

    for (size_t i = 0; i < size; i++) {
        memory[i] = letters[prng_below(prng, COUNT_OF(letters))];
    }
    return bytes_of(memory, size);
}

static struct bytes draw_value(struct prng *prng, uint8_t memory[MODEL_VALUE_SIZE_MAX])
{
    size_t size = (size_t)prng_between(prng, 0, MODEL_VALUE_SIZE_MAX);

    for (size_t i = 0; i < size; i++) {
        memory[i] = (uint8_t)prng_next(prng);
    }
    return bytes_of(memory, size);
}

static void random_step(struct table *table, struct model *model, struct prng *prng)
{
    uint8_t key_memory[RANDOM_KEY_SIZE_MAX];
    uint8_t value_memory[MODEL_VALUE_SIZE_MAX];
    struct bytes key = draw_key(prng, key_memory);
    uint64_t choice = prng_below(prng, 100);

    if (choice < 30) {
        if (model->count < MODEL_PAIR_COUNT_MAX) {
            struct bytes value = draw_value(prng, value_memory);
            table_put(table, key, value);
            model_put(model, key, value);
        }
    } else if (choice < 55) {
        bool expected = model_delete(model, key);
        ASSERT(table_delete(table, key) == expected);
    } else if (choice < 70) {
        check_get(table, model, key);
    } else if (choice < 98) {
        check_seek(table, model, key, prng_below(prng, 2) == 0);
    } else {
        table_commit(table);
        ASSERT(table_dirty_bytes(table) == 0);
    }
}

void table_property_random(struct table *table, uint64_t seed, uint32_t step_count)
{
    struct model *model = model_open(table);
    struct prng prng;

    prng_init(&prng, seed);
    for (uint32_t step = 0; step < step_count; step++) {
        random_step(table, model, &prng);
        if (step % WALK_PERIOD == 0) {
            check_walk(table, model);
        }
    }
    clear(table, model);
    ASSERT(table_error(table) == ERR_OK);
    free(model);
}

void table_property_sizes(struct table *table)
{
    struct model *model = model_open(table);
    uint8_t long_key[TABLE_KEY_SIZE_MAX];
    uint8_t *large = calloc(1, TABLE_VALUE_SIZE_MAX);
    struct bytes value;

    ASSERT(large != NULL);
    memset(long_key, 0xff, sizeof(long_key));
    for (size_t size = 1; size <= sizeof(long_key); size += 17) {
        table_put(table, bytes_of(long_key, size), bytes_of(NULL, 0));
        model_put(model, bytes_of(long_key, size), bytes_of(large, 0));
    }
    table_put(table, bytes_of(long_key, sizeof(long_key)), bytes_of(large, 1));
    model_put(model, bytes_of(long_key, sizeof(long_key)), bytes_of(large, 1));
    check_walk(table, model);
    check_seek(table, model, bytes_of(long_key, sizeof(long_key)), false);

    large[0] = 1;
    large[TABLE_VALUE_SIZE_MAX - 1] = 2;
    table_put(table, bytes_of("large", 5), bytes_of(large, TABLE_VALUE_SIZE_MAX));
    ASSERT(table_get(table, bytes_of("large", 5), &value));
    ASSERT(bytes_equal(value, bytes_of(large, TABLE_VALUE_SIZE_MAX)));
    ASSERT(table_delete(table, bytes_of("large", 5)));
    ASSERT(!table_delete(table, bytes_of("large", 5)));

    clear(table, model);
    ASSERT(table_error(table) == ERR_OK);
    free(large);
    free(model);
}

static void put_number(struct table *table, uint32_t number, uint32_t value)
{
    uint8_t key[4];
    uint8_t bytes[4];

    store_u32(key, number);
    store_u32(bytes, value);
    table_put(table, bytes_of(key, sizeof(key)), bytes_of(bytes, sizeof(bytes)));
}

static void delete_number(struct table *table, uint32_t number)
{
    uint8_t key[4];

    store_u32(key, number);
    ASSERT(table_delete(table, bytes_of(key, sizeof(key))));
}

void table_property_hash(struct table *table, uint64_t seed)
{
    uint64_t hash_empty = table_hash(table);
    uint32_t offset = (uint32_t)(seed % HASH_PAIR_COUNT);

    for (uint32_t i = 0; i < HASH_PAIR_COUNT; i++) {
        put_number(table, i, i);
    }
    uint64_t hash = table_hash(table);
    ASSERT(hash != hash_empty);

    put_number(table, offset, offset + 1);
    ASSERT(table_hash(table) != hash);
    put_number(table, offset, offset);
    ASSERT(table_hash(table) == hash);
    table_commit(table);
    ASSERT(table_hash(table) == hash);

    for (uint32_t i = 0; i < HASH_PAIR_COUNT; i++) {
        delete_number(table, i);
        ASSERT(table_hash(table) != hash);
    }
    ASSERT_VALUES(table_hash(table) == hash_empty, table_hash(table), hash_empty);

    for (uint32_t i = HASH_PAIR_COUNT; i-- > 0;) {
        uint32_t number = (i + offset) % HASH_PAIR_COUNT;
        put_number(table, number, number);
    }
    ASSERT_VALUES(table_hash(table) == hash, table_hash(table), hash);
    for (uint32_t i = 0; i < HASH_PAIR_COUNT; i++) {
        delete_number(table, i);
    }
    ASSERT(table_hash(table) == hash_empty);
}

void table_property_borrowing(struct table *table)
{
    struct bytes first;
    struct bytes second;
    struct bytes key;

    table_put(table, bytes_of("a", 1), bytes_of("first", 5));
    table_put(table, bytes_of("b", 1), bytes_of("second", 6));
    ASSERT(table_get(table, bytes_of("a", 1), &first));
    ASSERT(table_seek(table, bytes_of("a", 1), false, &key, &second));
    ASSERT(!table_get(table, bytes_of("c", 1), &(struct bytes){0}));
    ASSERT(bytes_equal(first, bytes_of("first", 5)));
    ASSERT(bytes_equal(key, bytes_of("b", 1)));
    ASSERT(bytes_equal(second, bytes_of("second", 6)));

    ASSERT(table_delete(table, bytes_of("a", 1)));
    ASSERT(table_delete(table, bytes_of("b", 1)));
}

void table_property_dirty(struct table *table)
{
    table_commit(table);
    ASSERT(table_dirty_bytes(table) == 0);
    table_put(table, bytes_of("a", 1), bytes_of("value", 5));
    ASSERT(table_dirty_bytes(table) >= 6);
    table_commit(table);
    ASSERT(table_dirty_bytes(table) == 0);
    ASSERT(!table_delete(table, bytes_of("b", 1)));
    ASSERT(table_dirty_bytes(table) == 0);
    ASSERT(table_delete(table, bytes_of("a", 1)));
    ASSERT(table_dirty_bytes(table) >= 1);
    table_commit(table);
    ASSERT(table_dirty_bytes(table) == 0);
}

/* Random changes, without reads. */
static void change(struct table *table, struct model *model, struct prng *prng, uint32_t count)
{
    uint8_t key_memory[RANDOM_KEY_SIZE_MAX];
    uint8_t value_memory[MODEL_VALUE_SIZE_MAX];

    for (uint32_t i = 0; i < count; i++) {
        struct bytes key = draw_key(prng, key_memory);

        if (prng_below(prng, 3) == 0 || model->count >= MODEL_PAIR_COUNT_MAX - 1) {
            bool expected = model_delete(model, key);
            ASSERT(table_delete(table, key) == expected);
        } else {
            struct bytes value = draw_value(prng, value_memory);
            table_put(table, key, value);
            model_put(model, key, value);
        }
    }
}

/* One step of the walk; false at its end. */
static bool check_snapshot_step(struct table *table, const struct model *expected, uint32_t *at)
{
    struct bytes key;
    struct bytes value;

    switch (table_snapshot_next(table, &key, &value)) {
    case TABLE_SNAPSHOT_PAIR:
        ASSERT(*at < expected->count);
        ASSERT(bytes_equal(key, pair_key(&expected->pairs[*at])));
        ASSERT(bytes_equal(value, pair_value(&expected->pairs[*at])));
        (*at)++;
        return true;
    case TABLE_SNAPSHOT_WAIT:
        return true;
    case TABLE_SNAPSHOT_END:
        ASSERT_VALUES(*at == expected->count, *at, expected->count);
        return false;
    case TABLE_SNAPSHOT_FAILED:
        break;
    }
    UNREACHABLE();
}

static void check_snapshot(struct table *table, struct model *model, struct prng *prng)
{
    struct model *expected = malloc(sizeof(*expected));
    uint32_t at = 0;
    bool is_cut_short = prng_below(prng, 4) == 0;

    ASSERT(expected != NULL);
    table_put(table, bytes_of("a", 1), bytes_of("", 0));
    model_put(model, bytes_of("a", 1), bytes_of("", 0));
    ASSERT(!table_snapshot_open(table));
    table_commit(table);
    *expected = *model;
    ASSERT(table_snapshot_open(table));
    ASSERT(!table_snapshot_open(table));
    while (check_snapshot_step(table, expected, &at)) {
        change(table, model, prng, (uint32_t)prng_below(prng, 10));
        if (prng_below(prng, 10) == 0) {
            table_commit(table);
        }
        if (is_cut_short && at > expected->count / 2) {
            break;
        }
    }
    table_snapshot_close(table);
    table_snapshot_close(table);
    ASSERT(table_snapshot_pinned_bytes(table) == 0);
    check_walk(table, model);
    free(expected);
}

void table_property_snapshot(struct table *table, uint64_t seed)
{
    struct model *model = model_open(table);
    struct prng prng;

    prng_init(&prng, seed);
    for (uint32_t round = 0; round < SNAPSHOT_COUNT; round++) {
        change(table, model, &prng, (uint32_t)prng_below(&prng, 500));
        check_snapshot(table, model, &prng);
    }
    clear(table, model);
    ASSERT(table_error(table) == ERR_OK);
    free(model);
}

static void load(struct table *table, const struct model *model, bool keep)
{
    uint64_t hash = 0;

    table_load_begin(table);
    for (uint32_t i = 0; i < model->count; i++) {
        struct bytes key = pair_key(&model->pairs[i]);
        struct bytes value = pair_value(&model->pairs[i]);

        ASSERT_VALUES(table_hash(table) == hash, table_hash(table), hash);
        table_load_put(table, key, value);
        hash += checksum_pair(key, value, TABLE_HASH_SEED);
    }
    ASSERT_VALUES(table_hash(table) == hash, table_hash(table), hash);
    table_load_end(table, keep);
    ASSERT(table_hash(table) == (keep ? hash : 0));
    ASSERT(table_dirty_bytes(table) == 0);
}

void table_property_load(struct table *table, uint64_t seed)
{
    struct model *model = model_open(table);
    struct model *loaded = calloc(1, sizeof(*loaded));
    struct prng prng;

    ASSERT(loaded != NULL);
    prng_init(&prng, seed);
    for (uint32_t round = 0; round < LOAD_COUNT; round++) {
        /* What is to be loaded, by way of the table itself; then something else in its place. */
        change(table, model, &prng, (uint32_t)prng_below(&prng, 800));
        *loaded = *model;
        change(table, model, &prng, (uint32_t)prng_below(&prng, 200));
        if (prng_below(&prng, 2) == 0) {
            table_commit(table);
        }
        bool keep = prng_below(&prng, 3) != 0;
        load(table, loaded, keep);
        loaded->count = keep ? loaded->count : 0;
        check_walk(table, loaded);
        *model = *loaded;
    }
    clear(table, model);
    ASSERT(table_error(table) == ERR_OK);
    free(loaded);
    free(model);
}

void table_property_all(struct table *table, uint64_t seed, uint32_t step_count)
{
    table_property_dirty(table);
    table_property_borrowing(table);
    table_property_sizes(table);
    table_property_hash(table, seed);
    table_property_random(table, seed, step_count);
    table_property_snapshot(table, seed);
    table_property_load(table, seed);
}
