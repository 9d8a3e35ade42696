/* tests/unit/kv/transaction_test.c: random transactions and ends of sessions agree with an array
 * that has one place for each key there is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/prng.h"
#include "kv/transaction.h"
#include "tests/support/base/memory_table.h"

enum {
    SEED_COUNT = 4000,
    STEP_COUNT = 40,
    KEY_COUNT = 6, /* Few, so that transactions meet. */
    VALUE_COUNT = 4,
    SESSION_COUNT = 3, /* Numbers 1 to 3; 0 binds to none. */
    BATCH_COUNT_MAX = 6,
};

static const char *const keys[KEY_COUNT] = {"a", "aa", "b", "c", "\xff", "\xff\xff"};

/* The last one lies apart. */
static uint8_t value_memory[VALUE_COUNT][3000];
static const size_t value_sizes[VALUE_COUNT] = {0, 1, 100, 3000};

struct model_key {
    bool exists;
    uint32_t value;
    uint64_t session;
    kv_revision revision;
};

struct run {
    struct table *table;
    struct prng prng;
    struct model_key model[KEY_COUNT];
    bool ended[SESSION_COUNT + 1];
    uint32_t held_count;
    uint32_t failed_count;
    uint32_t dropped_count;
};

static struct bytes value_of(uint32_t number)
{
    return bytes_of(value_memory[number], value_sizes[number]);
}

static uint32_t draw(struct run *run, uint32_t below)
{
    return (uint32_t)prng_below(&run->prng, below);
}

/* --- Compares ----------------------------------------------------------------------------------
 */

static bool model_compare(const struct run *run, uint32_t key, enum kv_test test, uint32_t value,
                          kv_revision revision)
{
    const struct model_key *at = &run->model[key];
    kv_revision present = at->exists ? at->revision : 0;

    return (test == KV_EXISTS && at->exists) || (test == KV_ABSENT && !at->exists) ||
           (test == KV_EQUAL && at->exists && at->value == value) ||
           (test == KV_REVISION_EQUAL && present == revision) ||
           (test == KV_REVISION_LESS && present < revision) ||
           (test == KV_REVISION_GREATER && present > revision);
}

static bool compare_holds(struct run *run, kv_revision now)
{
    uint32_t key = draw(run, KEY_COUNT);
    uint32_t value = draw(run, VALUE_COUNT);
    enum kv_test test = (enum kv_test)draw(run, KV_REVISION_GREATER + 1);
    kv_revision revision = draw(run, 2) == 0 ? run->model[key].revision : draw(run, (uint32_t)now);
    const struct kv_compare compare = {.key = bytes_of_text(keys[key]),
                                       .test = test,
                                       .value = value_of(value),
                                       .revision = revision};
    bool holds = kv_compare_holds(run->table, &compare);

    assert_int_equal(holds, model_compare(run, key, test, value, revision));
    return holds;
}

/* --- Operations --------------------------------------------------------------------------------
 */

struct drawn {
    uint32_t count;
    uint32_t keys[BATCH_COUNT_MAX];
    uint32_t values[BATCH_COUNT_MAX];
    struct kv_operation operations[BATCH_COUNT_MAX];
};

static void draw_operations(struct run *run, struct drawn *drawn)
{
    drawn->count = draw(run, BATCH_COUNT_MAX + 1);
    for (uint32_t i = 0; i < drawn->count; i++) {
        struct kv_operation *operation = &drawn->operations[i];
        uint64_t session = draw(run, SESSION_COUNT + 1);

        drawn->keys[i] = draw(run, KEY_COUNT);
        drawn->values[i] = draw(run, VALUE_COUNT);
        *operation = (struct kv_operation){.action = (enum kv_action)draw(run, KV_GET + 1),
                                           .key = bytes_of_text(keys[drawn->keys[i]])};
        if (operation->action == KV_PUT) {
            operation->value = value_of(drawn->values[i]);
            /* A session that has ended binds nothing any more. */
            operation->session = run->ended[session] ? 0 : session;
        }
    }
}

static void execute(struct run *run, const struct drawn *drawn, kv_revision revision)
{
    uint64_t expected_size = kv_found_size(run->table, drawn->operations, drawn->count);
    uint64_t size = 0;

    for (uint32_t i = 0; i < drawn->count; i++) {
        const struct kv_operation *operation = &drawn->operations[i];
        struct model_key *at = &run->model[drawn->keys[i]];
        struct kv_pair pair;
        bool found = kv_operation_execute(run->table, operation, revision, &pair);

        assert_int_equal(found, at->exists);
        if (operation->action == KV_GET && found) {
            assert_true(bytes_equal(pair.key, operation->key));
            assert_true(bytes_equal(pair.value, value_of(at->value)));
            assert_int_equal(pair.revision, at->revision);
            assert_int_equal(pair.session, at->session);
            size += pair.key.size + pair.value.size;
        } else if (operation->action == KV_PUT) {
            *at = (struct model_key){.exists = true,
                                     .value = drawn->values[i],
                                     .session = operation->session,
                                     .revision = revision};
        } else if (operation->action == KV_DELETE) {
            at->exists = false;
        }
    }
    assert_int_equal(size, expected_size);
}

/* --- Ends of sessions --------------------------------------------------------------------------
 */

static void end_session(struct run *run)
{
    uint64_t session = 1 + draw(run, SESSION_COUNT);
    bool has_keys = false;

    if (run->ended[session]) {
        return;
    }
    for (uint32_t i = 0; i < KEY_COUNT; i++) {
        has_keys = has_keys || (run->model[i].exists && run->model[i].session == session);
    }
    run->ended[session] = true;
    assert_int_equal(kv_session_end(run->table, session), has_keys);
}

/* The key that goes is the first one, in order, of the first session that has ended. */
static void drop(struct run *run)
{
    struct kv_dropped_key dropped;

    if (kv_drop(run->table, &dropped) != KV_DROPPED_KEY) {
        return;
    }
    for (uint64_t session = 1; session <= SESSION_COUNT; session++) {
        for (uint32_t i = 0; run->ended[session] && i < KEY_COUNT; i++) {
            if (run->model[i].exists && run->model[i].session == session) {
                run->model[i].exists = false;
                run->dropped_count++;
                return;
            }
        }
    }
    fail_msg("a key was dropped that no ended session has");
}

/* --- Runs --------------------------------------------------------------------------------------
 */

static void compare_all(struct run *run)
{
    for (uint32_t i = 0; i < KEY_COUNT; i++) {
        struct kv_pair pair;
        bool found = kv_get(run->table, bytes_of_text(keys[i]), &pair);

        assert_int_equal(found, run->model[i].exists);
        if (found) {
            assert_true(bytes_equal(pair.value, value_of(run->model[i].value)));
            assert_int_equal(pair.session, run->model[i].session);
            assert_int_equal(pair.revision, run->model[i].revision);
        }
    }
    kv_check(run->table);
}

static void step(struct run *run, kv_revision revision)
{
    struct drawn success;
    struct drawn failure;
    bool holds = true;
    uint32_t compare_count = draw(run, 3);

    for (uint32_t i = 0; i < compare_count; i++) {
        holds = compare_holds(run, revision) && holds;
    }
    draw_operations(run, &success);
    draw_operations(run, &failure);
    execute(run, holds ? &success : &failure, revision);
    run->held_count += holds ? 1 : 0;
    run->failed_count += holds ? 0 : 1;
    if (draw(run, 8) == 0) {
        end_session(run);
    }
    if (draw(run, 2) == 0) {
        drop(run);
    }
}

static void random_transactions_agree_with_the_model(void **state)
{
    uint64_t held_count = 0;
    uint64_t failed_count = 0;
    uint64_t dropped_count = 0;

    (void)state;
    for (uint32_t i = 0; i < VALUE_COUNT; i++) {
        memset(value_memory[i], 'a' + (int)i, sizeof(value_memory[i]));
    }
    for (uint64_t seed = 1; seed <= SEED_COUNT; seed++) {
        struct run run = {.table = memory_table_open()};

        prng_init(&run.prng, seed);
        for (kv_revision revision = 1; revision <= STEP_COUNT; revision++) {
            step(&run, revision);
        }
        compare_all(&run);
        held_count += run.held_count;
        failed_count += run.failed_count;
        dropped_count += run.dropped_count;
        memory_table_close(run.table);
    }
    assert_true(held_count > SEED_COUNT);
    assert_true(failed_count > SEED_COUNT);
    assert_true(dropped_count > SEED_COUNT);
}

static void the_value_of_an_absent_key_equals_nothing(void **state)
{
    struct table *table = memory_table_open();
    const struct kv_compare empty = {.key = bytes_of_text("a"), .test = KV_EQUAL};
    const struct kv_compare zero = {.key = bytes_of_text("a"), .test = KV_REVISION_EQUAL};

    (void)state;
    assert_false(kv_compare_holds(table, &empty));
    assert_true(kv_compare_holds(table, &zero));
    memory_table_close(table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_transactions_agree_with_the_model),
        cmocka_unit_test(the_value_of_an_absent_key_equals_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
