/* Tests of node/machine_write.c and node/machine_transact.c: bound keys and transactions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "base/macros.h"
#include "kv/kv.h"
#include "node/machine.h"
#include "tests/support/base/memory_table.h"
#include "tests/support/node/transact_script.h"

enum { MEMORY_SIZE = WIRE_FRAME_SIZE_MAX, PIECE_COUNT = 64, TTL_MS = 5000 };

struct fixture {
    struct table *table;
    void *memory;
    struct machine *machine;
    uint64_t log_ms;
    struct machine_result result;
    uint8_t *params;
    uint8_t *items;
    uint8_t *payload;
    uint8_t *out;
};

static void open_machine(struct fixture *fixture)
{
    struct arena arena;
    size_t size = machine_memory_size();

    free(fixture->memory);
    fixture->memory = aligned_alloc(ARENA_ALIGNMENT, size_round_up(size, ARENA_ALIGNMENT));
    arena_init(&arena, fixture->memory, size);
    fixture->machine = machine_open(&arena, fixture->table);
}

static struct fixture *new_fixture(void)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));

    fixture->table = memory_table_open();
    fixture->log_ms = 1000;
    fixture->params = malloc(MEMORY_SIZE);
    fixture->items = malloc(MEMORY_SIZE);
    fixture->payload = malloc(2 * MEMORY_SIZE);
    fixture->out = malloc(MEMORY_SIZE);
    open_machine(fixture);
    return fixture;
}

static void drop_fixture(struct fixture *fixture)
{
    memory_table_close(fixture->table);
    free(fixture->memory);
    free(fixture->params);
    free(fixture->items);
    free(fixture->payload);
    free(fixture->out);
    free(fixture);
}

static void free_fixture(struct fixture *fixture)
{
    kv_check(fixture->table);
    lease_check(fixture->table);
    drop_fixture(fixture);
}

static int fixture_open(void **state)
{
    *state = new_fixture();
    return 0;
}

static int fixture_close(void **state)
{
    free_fixture(*state);
    return 0;
}

/* Applies the next entry; its index. */
static raft_index apply(struct fixture *fixture, uint8_t method, uint64_t session,
                        uint64_t sequence, struct bytes params)
{
    struct envelope envelope = {
        .method = method, .log_ms = fixture->log_ms, .session = session, .sequence = sequence};
    struct raft_entry entry = {.index = machine_applied_index(fixture->machine) + 1,
                               .term = 1,
                               .kind = RAFT_ENTRY_COMMAND};

    envelope_encode(fixture->payload, &envelope);
    if (params.size != 0) {
        memcpy(fixture->payload + ENVELOPE_SIZE, params.data, params.size);
    }
    entry.payload = bytes_of(fixture->payload, ENVELOPE_SIZE + params.size);
    machine_apply(fixture->machine, &entry, &fixture->result);
    return entry.index;
}

static void tick(struct fixture *fixture)
{
    apply(fixture, ENVELOPE_TICK, 0, 0, bytes_of(NULL, 0));
}

static raft_index put(struct fixture *fixture, uint64_t session, uint64_t sequence, const char *key,
                      bool bind)
{
    struct buffer params = buffer_of(fixture->params, MEMORY_SIZE);
    struct wire_put message = {.session = session,
                               .sequence = sequence,
                               .key = bytes_of_text(key),
                               .value = bytes_of_text("value"),
                               .bind = bind};

    assert_true(wire_put_encode(&message, &params));
    return apply(fixture, WIRE_METHOD_put, session, sequence, buffer_bytes(&params));
}

static uint64_t open_session(struct fixture *fixture)
{
    struct buffer params = buffer_of(fixture->params, MEMORY_SIZE);
    struct wire_session_open message = {.ttl_ms = TTL_MS, .attempt = 4};

    assert_true(wire_session_open_encode(&message, &params));
    return apply(fixture, WIRE_METHOD_session_open, 0, 0, buffer_bytes(&params));
}

static void end_session(struct fixture *fixture, uint64_t session)
{
    struct buffer params = buffer_of(fixture->params, MEMORY_SIZE);
    struct wire_session_end message = {.session = session};

    assert_true(wire_session_end_encode(&message, &params));
    apply(fixture, WIRE_METHOD_session_end, 0, 0, buffer_bytes(&params));
    assert_int_equal(fixture->result.error, ERR_OK);
}

static enum error get(struct fixture *fixture, const char *key, struct wire_get_result *result)
{
    struct buffer params = buffer_of(fixture->params, MEMORY_SIZE);
    struct buffer out = buffer_of(fixture->out, MEMORY_SIZE);
    struct wire_get message = {.key = bytes_of_text(key)};

    assert_true(wire_get_encode(&message, &params));
    enum error error = machine_read(fixture->machine, WIRE_METHOD_get, buffer_bytes(&params),
                                    fixture->log_ms, &out);
    if (error == ERR_OK) {
        struct bytes body = buffer_bytes(&out);

        assert_int_equal(wire_get_result_decode(&body, result), ERR_OK);
    }
    return error;
}

static bool exists(struct fixture *fixture, const char *key)
{
    struct wire_get_result result;

    return get(fixture, key, &result) == ERR_OK;
}

static enum error delete_key(struct fixture *fixture, const char *key)
{
    struct buffer params = buffer_of(fixture->params, MEMORY_SIZE);
    struct wire_delete message = {.key = bytes_of_text(key)};

    assert_true(wire_delete_encode(&message, &params));
    apply(fixture, WIRE_METHOD_delete, 0, 0, buffer_bytes(&params));
    return fixture->result.error;
}

static struct wire_list_result list(struct fixture *fixture, struct bytes after)
{
    struct buffer params = buffer_of(fixture->params, MEMORY_SIZE);
    struct buffer out = buffer_of(fixture->out, MEMORY_SIZE);
    struct wire_list message = {.after = after};
    struct wire_list_result result;

    assert_true(wire_list_encode(&message, &params));
    assert_int_equal(machine_read(fixture->machine, WIRE_METHOD_list, buffer_bytes(&params),
                                  fixture->log_ms, &out),
                     ERR_OK);
    struct bytes body = buffer_bytes(&out);
    assert_int_equal(wire_list_result_decode(&body, &result), ERR_OK);
    return result;
}

/* --- Transactions -------------------------------------------------------------------------------
 */

static enum error transact(struct fixture *fixture, uint64_t session, uint64_t sequence,
                           const struct transact_script *script,
                           struct wire_transact_result *result)
{
    struct buffer params = buffer_of(fixture->params, MEMORY_SIZE);
    struct buffer items = buffer_of(fixture->items, MEMORY_SIZE);

    transact_script_encode(script, session, sequence, &items, &params);
    apply(fixture, WIRE_METHOD_transact, session, sequence, buffer_bytes(&params));
    if (fixture->result.error == ERR_OK) {
        struct bytes body = fixture->result.body;

        assert_int_equal(wire_transact_result_decode(&body, result), ERR_OK);
    }
    return fixture->result.error;
}

/* --- Bound keys --------------------------------------------------------------------------------
 */

static void a_bound_key_is_gone_from_the_entry_that_ends_its_session(void **state)
{
    struct fixture *fixture = *state;
    struct wire_get_result result;
    uint64_t session = open_session(fixture);

    put(fixture, session, 1, "bound", true);
    put(fixture, session, 2, "free", false);
    assert_int_equal(get(fixture, "bound", &result), ERR_OK);
    assert_int_equal(result.session, session);
    end_session(fixture, session);

    assert_false(exists(fixture, "bound"));
    assert_true(exists(fixture, "free"));
}

static void
a_bound_key_is_gone_from_the_entry_whose_stamp_its_session_does_not_outlive(void **state)
{
    struct fixture *fixture = *state;
    uint64_t session = open_session(fixture);

    put(fixture, session, 1, "bound", true);
    fixture->log_ms += TTL_MS - 1;
    tick(fixture);
    assert_true(exists(fixture, "bound"));
    fixture->log_ms += 1;
    tick(fixture);

    assert_false(exists(fixture, "bound"));
    assert_int_equal(delete_key(fixture, "bound"), ERR_NOT_FOUND);
}

static void a_key_that_another_wrote_since_outlives_the_session(void **state)
{
    struct fixture *fixture = *state;
    uint64_t first = open_session(fixture), second = open_session(fixture);

    put(fixture, first, 1, "unbound", true);
    put(fixture, first, 2, "rebound", true);
    put(fixture, 0, 0, "unbound", false);
    put(fixture, second, 1, "rebound", true);
    end_session(fixture, first);
    assert_true(exists(fixture, "unbound") && exists(fixture, "rebound"));
    end_session(fixture, second);

    assert_true(exists(fixture, "unbound"));
    assert_false(exists(fixture, "rebound"));
}

static void a_bound_key_needs_a_session(void **state)
{
    struct fixture *fixture = *state;

    put(fixture, 0, 0, "key", true);

    assert_int_equal(fixture->result.error, ERR_MALFORMED);
    assert_false(exists(fixture, "key"));
}

/* The session is ended with ten thousand keys; its number. */
static uint64_t end_with_many_keys(struct fixture *fixture, uint32_t count)
{
    uint64_t session = open_session(fixture);
    char key[16];

    for (uint32_t i = 0; i < count; i++) {
        snprintf(key, sizeof(key), "key%05u", i);
        put(fixture, session, i + 1, key, true);
    }
    put(fixture, 0, 0, "z", false);
    end_session(fixture, session);
    return session;
}

static void many_keys_go_in_pieces_and_are_seen_by_nobody_meanwhile(void **state)
{
    struct fixture *fixture = *state;
    struct wire_transact_result result;
    uint64_t before = 0;
    uint32_t entry_count = 1;

    end_with_many_keys(fixture, 10000);
    assert_true(fixture->result.more_is_due);
    /* Some are there as records, and nothing more. */
    assert_true(memory_table_count(fixture->table) > 2 * 9900);
    assert_false(exists(fixture, "key09999"));
    assert_int_equal(delete_key(fixture, "key09998"), ERR_NOT_FOUND);
    assert_int_equal(
        transact(fixture, 0, 0,
                 &(struct transact_script){.compares = {"absent key09997"},
                                           .success = {"get key09996", "delete key09995"},
                                           .failure = {"put wrong"}},
                 &result),
        ERR_OK);
    assert_true(result.succeeded && result.found == 0 && result.pairs.count == 0);

    do {
        before = memory_table_count(fixture->table);
        tick(fixture);
        entry_count++;
        /* A key has two records. */
        assert_in_range(before - memory_table_count(fixture->table), 0, 2 * PIECE_COUNT);
    } while (fixture->result.more_is_due);
    assert_in_range(entry_count, 10000 / PIECE_COUNT - 3, 10000 / PIECE_COUNT + 5);
    assert_int_equal(memory_table_count(fixture->table), 2); /* "z", and counters of sessions. */
}

static void a_listing_passes_over_keys_of_dead_sessions_in_bounded_steps(void **state)
{
    struct fixture *fixture = *state;
    struct bytes after = bytes_of(NULL, 0);
    struct wire_pair pair = {.revision = 0};
    uint8_t memory[480];
    uint32_t page_count = 0;
    uint32_t item_count = 0;
    struct wire_list_result page;

    end_with_many_keys(fixture, 3000);
    do {
        page = list(fixture, after);
        page_count++;
        assert_int_equal(page.more, page.after.size != 0);
        struct buffer kept = buffer_of(memory, sizeof(memory));
        assert_true(buffer_append(&kept, page.after));
        after = buffer_bytes(&kept);
        for (; page.items.count > 0; page.items.count--) {
            assert_int_equal(wire_pair_decode(&page.items.raw, &pair), ERR_OK);
            item_count++;
        }
    } while (page.more);

    assert_int_equal(item_count, 1);
    assert_true(bytes_equal(pair.key, bytes_of_text("z")));
    assert_int_equal(page_count, 3);
}

static void a_machine_that_was_reopened_goes_on_with_the_same_pieces(void **state)
{
    struct fixture *fixture = *state;
    struct fixture *other = new_fixture();

    end_with_many_keys(fixture, 200);
    end_with_many_keys(other, 200);
    while (fixture->result.more_is_due) {
        machine_commit(other->machine);
        open_machine(other); /* As after a restart, or an installation. */
        tick(fixture);
        tick(other);
        assert_int_equal(machine_hash(fixture->machine), machine_hash(other->machine));
    }
    assert_false(other->result.more_is_due);
    free_fixture(other);
}

static void another_cluster_is_founded_without_bound_keys(void **state)
{
    struct fixture *fixture = *state;
    uint64_t session = open_session(fixture);

    put(fixture, session, 1, "bound", true);
    put(fixture, session, 2, "free", false);
    machine_refound(fixture->machine, 1 << 20, 1 << 20);

    assert_false(exists(fixture, "bound"));
    assert_true(exists(fixture, "free"));
    kv_check(fixture->table);
}

/* --- Transactions ------------------------------------------------------------------------------
 */

static void a_branch_is_executed_in_order_at_one_revision(void **state)
{
    struct fixture *fixture = *state;
    struct wire_transact_result result;
    struct wire_get_result got;
    struct wire_pair pair;

    put(fixture, 0, 0, "old", false);
    assert_int_equal(transact(fixture, 0, 0,
                              &(struct transact_script){
                                  .compares = {"equal old", "absent new"},
                                  .success = {"put new", "get new", "delete old", "get old"},
                                  .failure = {"put wrong"}},
                              &result),
                     ERR_OK);

    assert_true(result.succeeded && !result.repeated);
    assert_int_equal(result.revision, machine_applied_index(fixture->machine));
    assert_int_equal(result.found, 2 | 4); /* The get of what was put, and the delete. */
    assert_int_equal(result.pairs.count, 1);
    assert_int_equal(wire_pair_decode(&result.pairs.raw, &pair), ERR_OK);
    assert_true(bytes_equal(pair.key, bytes_of_text("new")) && pair.revision == result.revision);
    assert_int_equal(get(fixture, "new", &got), ERR_OK);
    assert_int_equal(got.revision, result.revision);
    assert_false(exists(fixture, "old"));
    assert_false(exists(fixture, "wrong"));
}

static void one_compare_that_does_not_hold_gives_the_other_branch(void **state)
{
    struct fixture *fixture = *state;
    struct wire_transact_result result;

    put(fixture, 0, 0, "a", false);
    assert_int_equal(transact(fixture, 0, 0,
                              &(struct transact_script){.compares = {"exists a", "exists b"},
                                                        .success = {"delete a"},
                                                        .failure = {"put c"}},
                              &result),
                     ERR_OK);

    assert_true(!result.succeeded && result.found == 0);
    assert_true(exists(fixture, "a") && exists(fixture, "c"));
}

static void a_repeated_transaction_tells_all_but_the_values_it_read(void **state)
{
    struct fixture *fixture = *state;
    struct wire_transact_result first;
    struct wire_transact_result again;
    uint64_t session = open_session(fixture);
    const struct transact_script script = {.compares = {"exists a"},
                                           .success = {"get a", "delete a", "put b"}};

    put(fixture, 0, 0, "a", false);
    assert_int_equal(transact(fixture, session, 1, &script, &first), ERR_OK);
    put(fixture, 0, 0, "a", false);
    assert_int_equal(transact(fixture, session, 1, &script, &again), ERR_OK);

    assert_true(!first.repeated && first.pairs.count == 1);
    assert_true(again.repeated && again.pairs.count == 0);
    assert_true(again.succeeded && again.revision == first.revision && again.found == first.found);
    assert_true(exists(fixture, "a")); /* Not deleted a second time. */
}

static void a_transaction_binds_to_its_own_session(void **state)
{
    struct fixture *fixture = *state;
    struct wire_transact_result result;
    uint64_t session = open_session(fixture);
    const struct transact_script script = {.success = {"bind a", "get a", "put b"}};
    struct wire_pair pair;

    assert_int_equal(transact(fixture, 0, 0, &script, &result), ERR_MALFORMED);
    assert_false(exists(fixture, "b"));
    assert_int_equal(transact(fixture, session, 1, &script, &result), ERR_OK);
    assert_int_equal(wire_pair_decode(&result.pairs.raw, &pair), ERR_OK);
    assert_int_equal(pair.session, session);
    end_session(fixture, session);

    assert_false(exists(fixture, "a"));
    assert_true(exists(fixture, "b"));
}

static void a_transaction_that_finds_too_much_changes_nothing(void **state)
{
    struct fixture *fixture = *state;
    struct buffer params = buffer_of(fixture->params, MEMORY_SIZE);
    struct wire_transact_result result;
    static const char *const keys[] = {"a", "b"};
    struct wire_put message = {.value = bytes_of(fixture->items, KV_VALUE_SIZE_MAX)};

    memset(fixture->items, 'x', KV_VALUE_SIZE_MAX);
    for (uint32_t i = 0; i < COUNT_OF(keys); i++) {
        params.size = 0;
        message.key = bytes_of_text(keys[i]);
        assert_true(wire_put_encode(&message, &params));
        apply(fixture, WIRE_METHOD_put, 0, 0, buffer_bytes(&params));
    }

    assert_int_equal(transact(fixture, 0, 0,
                              &(struct transact_script){.success = {"put c", "get a", "get b"}},
                              &result),
                     ERR_REFUSED);
    assert_false(exists(fixture, "c"));
    /* What a put in front of it makes smaller fits. */
    assert_int_equal(
        transact(fixture, 0, 0,
                 &(struct transact_script){.success = {"put a", "get a", "get b", "put c"}},
                 &result),
        ERR_OK);
    assert_int_equal(result.pairs.count, 2);
    assert_true(exists(fixture, "c"));
}

static void a_transaction_with_a_map_that_says_nothing_is_malformed(void **state)
{
    struct fixture *fixture = *state;
    struct wire_transact_result result;
    const struct transact_script wrong[] = {
        {.compares = {"maybe a"}, .success = {"put a"}},
        {.success = {"put a"}, .failure = {"take a"}},
    };

    for (uint32_t i = 0; i < COUNT_OF(wrong); i++) {
        assert_int_equal(transact(fixture, 0, 0, &wrong[i], &result), ERR_MALFORMED);
        assert_false(exists(fixture, "a"));
    }
}

/* The node stops behind a failure; until then nothing may be asserted that only a table promises.
 */
static void any_call_of_the_table_may_fail(void **state)
{
    const struct transact_script script = {.compares = {"exists a", "equal b"},
                                           .success = {"get a", "bind a", "delete b", "get a"},
                                           .failure = {"put c"}};
    enum error error = ERR_IO;
    uint64_t call_count;

    (void)state;
    for (call_count = 0; error != ERR_OK; call_count++) {
        struct fixture *fixture = new_fixture();
        uint64_t session = open_session(fixture);
        struct wire_transact_result result;

        put(fixture, session, 1, "a", true);
        put(fixture, 0, 0, "b", false);
        memory_table_fail_after(fixture->table, call_count, ERR_IO);
        (void)transact(fixture, session, 2, &script, &result);
        fixture->log_ms += TTL_MS;
        tick(fixture);
        (void)exists(fixture, "a");
        error = table_error(fixture->table);
        if (error == ERR_OK) {
            assert_int_equal(memory_table_count(fixture->table), 1); /* Counters of sessions. */
        }
        drop_fixture(fixture);
    }
    assert_in_range(call_count, 20, 200);
}

#define LAW(name) cmocka_unit_test_setup_teardown(name, fixture_open, fixture_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LAW(a_bound_key_is_gone_from_the_entry_that_ends_its_session),
        LAW(a_bound_key_is_gone_from_the_entry_whose_stamp_its_session_does_not_outlive),
        LAW(a_key_that_another_wrote_since_outlives_the_session),
        LAW(a_bound_key_needs_a_session),
        LAW(many_keys_go_in_pieces_and_are_seen_by_nobody_meanwhile),
        LAW(a_listing_passes_over_keys_of_dead_sessions_in_bounded_steps),
        LAW(a_machine_that_was_reopened_goes_on_with_the_same_pieces),
        LAW(another_cluster_is_founded_without_bound_keys),
        LAW(a_branch_is_executed_in_order_at_one_revision),
        LAW(one_compare_that_does_not_hold_gives_the_other_branch),
        LAW(a_repeated_transaction_tells_all_but_the_values_it_read),
        LAW(a_transaction_binds_to_its_own_session),
        LAW(a_transaction_that_finds_too_much_changes_nothing),
        LAW(a_transaction_with_a_map_that_says_nothing_is_malformed),
        cmocka_unit_test(any_call_of_the_table_may_fail),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
