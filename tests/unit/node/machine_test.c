/* Tests of node/machine.c, node/machine_write.c and node/machine_read.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "node/machine.h"
#include "tests/support/base/memory_table.h"

struct fixture {
    struct table *table;
    void *memory;
    struct machine *machine;
    uint64_t log_ms;
    struct machine_result result;
    uint8_t params[4096];
    uint8_t payload[8192];
    uint8_t out[4096];
};

static void open_machine(struct fixture *fixture)
{
    struct arena arena;
    size_t size = machine_memory_size();

    fixture->memory = aligned_alloc(ARENA_ALIGNMENT, size_round_up(size, ARENA_ALIGNMENT));
    arena_init(&arena, fixture->memory, size);
    fixture->machine = machine_open(&arena, fixture->table);
}

static int fixture_open(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));

    fixture->table = memory_table_open();
    fixture->log_ms = 1000;
    open_machine(fixture);
    *state = fixture;
    return 0;
}

static int fixture_close(void **state)
{
    struct fixture *fixture = *state;

    lease_check(fixture->table);
    memory_table_close(fixture->table);
    free(fixture->memory);
    free(fixture);
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

static raft_index put(struct fixture *fixture, uint64_t session, uint64_t sequence, const char *key,
                      const char *value)
{
    struct buffer params = buffer_of(fixture->params, sizeof(fixture->params));
    struct wire_put message = {.session = session,
                               .sequence = sequence,
                               .key = bytes_of_text(key),
                               .value = bytes_of_text(value)};

    assert_true(wire_put_encode(&message, &params));
    return apply(fixture, WIRE_METHOD_put, session, sequence, buffer_bytes(&params));
}

static uint64_t open_session(struct fixture *fixture, uint32_t ttl_ms)
{
    struct buffer params = buffer_of(fixture->params, sizeof(fixture->params));
    struct wire_session_open message = {.ttl_ms = ttl_ms, .attempt = 4};

    assert_true(wire_session_open_encode(&message, &params));
    return apply(fixture, WIRE_METHOD_session_open, 0, 0, buffer_bytes(&params));
}

static uint64_t acquire(struct fixture *fixture, uint64_t session, uint64_t sequence,
                        const char *name)
{
    struct buffer params = buffer_of(fixture->params, sizeof(fixture->params));
    struct wire_lock_acquire message = {
        .session = session, .sequence = sequence, .name = bytes_of_text(name), .wait = true};
    struct wire_lock_acquire_result result = {0};

    assert_true(wire_lock_acquire_encode(&message, &params));
    apply(fixture, WIRE_METHOD_lock_acquire, session, sequence, buffer_bytes(&params));
    if (fixture->result.error == ERR_OK) {
        struct bytes body = fixture->result.body;

        assert_int_equal(wire_lock_acquire_result_decode(&body, &result), ERR_OK);
    }
    return result.token;
}

static void release(struct fixture *fixture, uint64_t session, uint64_t sequence, const char *name)
{
    struct buffer params = buffer_of(fixture->params, sizeof(fixture->params));
    struct wire_lock_release message = {
        .session = session, .sequence = sequence, .name = bytes_of_text(name)};

    assert_true(wire_lock_release_encode(&message, &params));
    apply(fixture, WIRE_METHOD_lock_release, session, sequence, buffer_bytes(&params));
}

static enum error get(struct fixture *fixture, const char *key, struct wire_get_result *result)
{
    struct buffer params = buffer_of(fixture->params, sizeof(fixture->params));
    struct buffer out = buffer_of(fixture->out, sizeof(fixture->out));
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

static void revision_of_a_key_is_the_index_of_its_entry(void **state)
{
    struct fixture *fixture = *state;
    struct wire_get_result result;

    put(fixture, 0, 0, "other", "x");
    raft_index index = put(fixture, 0, 0, "key", "value");

    assert_int_equal(get(fixture, "key", &result), ERR_OK);
    assert_int_equal(result.revision, index);
    assert_true(bytes_equal(result.value, bytes_of_text("value")));
    assert_int_equal(get(fixture, "absent", &result), ERR_NOT_FOUND);
}

static void repeated_request_is_executed_once(void **state)
{
    struct fixture *fixture = *state;
    struct wire_get_result result;
    uint64_t session = open_session(fixture, 5000);
    raft_index index = put(fixture, session, 1, "key", "first");

    put(fixture, 0, 0, "key", "second");
    put(fixture, session, 1, "key", "first");

    assert_int_equal(fixture->result.error, ERR_OK);
    struct wire_put_result answer;
    struct bytes body = fixture->result.body;
    assert_int_equal(wire_put_result_decode(&body, &answer), ERR_OK);
    assert_int_equal(answer.revision, index);
    assert_int_equal(get(fixture, "key", &result), ERR_OK);
    assert_true(bytes_equal(result.value, bytes_of_text("second")));
}

static void gap_in_a_sequence_is_refused_and_changes_nothing(void **state)
{
    struct fixture *fixture = *state;
    struct wire_get_result result;
    uint64_t session = open_session(fixture, 5000);

    put(fixture, session, 2, "key", "value");

    assert_int_equal(fixture->result.error, ERR_SEQUENCE_GAP);
    assert_int_equal(get(fixture, "key", &result), ERR_NOT_FOUND);
}

static void request_of_a_session_that_is_due_is_refused(void **state)
{
    struct fixture *fixture = *state;
    struct wire_get_result result;
    uint64_t session = open_session(fixture, 5000);

    fixture->log_ms += 5000;
    put(fixture, session, 1, "key", "value");

    assert_int_equal(fixture->result.error, ERR_SESSION_EXPIRED);
    assert_int_equal(get(fixture, "key", &result), ERR_NOT_FOUND);
    assert_int_equal(fixture->result.effects->ended_count, 1);
    assert_int_equal(fixture->result.effects->ended[0], session);
}

static void renewal_moves_the_deadline_of_live_sessions_only(void **state)
{
    struct fixture *fixture = *state;
    uint8_t sessions[16];
    uint64_t alive = open_session(fixture, 5000), due = open_session(fixture, 3000);

    store_u64(sessions, alive);
    store_u64(sessions + 8, due);
    fixture->log_ms += 3000;
    apply(fixture, ENVELOPE_RENEW, 0, 0, bytes_of(sessions, sizeof(sessions)));

    assert_int_equal(fixture->result.renewed.size, 2);
    assert_int_equal(fixture->result.renewed.data[0], 1);
    assert_int_equal(fixture->result.renewed.data[1], 0);
    fixture->log_ms += 4999;
    apply(fixture, ENVELOPE_TICK, 0, 0, bytes_of(NULL, 0));
    assert_true(lease_session_is_alive(fixture->table, alive, fixture->log_ms));
}

static void expiry_grants_the_waiter_in_the_same_entry_with_a_larger_token(void **state)
{
    struct fixture *fixture = *state;
    uint64_t holder = open_session(fixture, 2000), waiter = open_session(fixture, 9000);
    uint64_t token = acquire(fixture, holder, 1, "lock");

    assert_int_not_equal(token, 0);
    assert_int_equal(acquire(fixture, waiter, 1, "lock"), 0);
    fixture->log_ms += 2000;
    apply(fixture, ENVELOPE_TICK, 0, 0, bytes_of(NULL, 0));

    assert_int_equal(fixture->result.effects->grant_count, 1);
    assert_int_equal(fixture->result.effects->grants[0].session, waiter);
    assert_true(fixture->result.effects->grants[0].token > token);
}

static void release_grants_the_waiter_in_the_same_entry(void **state)
{
    struct fixture *fixture = *state;
    uint64_t holder = open_session(fixture, 5000), waiter = open_session(fixture, 5000);

    acquire(fixture, holder, 1, "lock");
    acquire(fixture, waiter, 1, "lock");
    release(fixture, holder, 2, "lock");

    assert_int_equal(fixture->result.error, ERR_OK);
    assert_int_equal(fixture->result.effects->grant_count, 1);
    assert_int_equal(fixture->result.effects->grants[0].session, waiter);
}

/* Applies a request for "lock"; what became of it. */
static enum error ask(struct fixture *fixture, uint64_t session, uint64_t sequence,
                      struct wire_lock_acquire message)
{
    struct buffer params = buffer_of(fixture->params, sizeof(fixture->params));

    message.session = session;
    message.sequence = sequence;
    message.name = bytes_of_text("lock");
    assert_true(wire_lock_acquire_encode(&message, &params));
    apply(fixture, WIRE_METHOD_lock_acquire, session, sequence, buffer_bytes(&params));
    return fixture->result.error;
}

static void modes_of_a_request_are_what_the_lock_shows(void **state)
{
    struct fixture *fixture = *state;
    uint64_t first = open_session(fixture, 5000), second = open_session(fixture, 5000);
    struct wire_lock_show show = {.name = bytes_of_text("lock")};
    struct wire_lock_show_result result;
    struct wire_holder holder;
    struct wire_waiter waiter;

    assert_int_equal(ask(fixture, first, 1,
                         (struct wire_lock_acquire){.permits = 3,
                                                    .units = 2,
                                                    .owner = bytes_of_text("me"),
                                                    .metadata = bytes_of_text("more")}),
                     ERR_OK);
    assert_int_equal(
        ask(fixture, second, 1, (struct wire_lock_acquire){.permits = 3, .units = 3, .wait = true}),
        ERR_OK);
    struct buffer params = buffer_of(fixture->params, sizeof(fixture->params));
    struct buffer out = buffer_of(fixture->out, sizeof(fixture->out));
    assert_true(wire_lock_show_encode(&show, &params));
    assert_int_equal(machine_read(fixture->machine, WIRE_METHOD_lock_show, buffer_bytes(&params),
                                  fixture->log_ms, &out),
                     ERR_OK);

    struct bytes body = buffer_bytes(&out);
    assert_int_equal(wire_lock_show_result_decode(&body, &result), ERR_OK);
    assert_true(bytes_equal(result.mode, bytes_of_text("permits")));
    assert_true(result.permits == 3 && result.used == 2 && result.waiters == 1 && !result.more);
    assert_int_equal(wire_holder_decode(&result.holders.raw, &holder), ERR_OK);
    assert_true(holder.session == first && holder.units == 2 && !holder.lost);
    assert_true(bytes_equal(holder.metadata, bytes_of_text("more")));
    assert_int_equal(wire_waiter_decode(&result.queue.raw, &waiter), ERR_OK);
    assert_true(waiter.session == second && waiter.units == 3 && waiter.position == 1);
}

static void refusal_of_a_lock_says_why_also_when_it_is_asked_for_again(void **state)
{
    struct fixture *fixture = *state;
    uint64_t first = open_session(fixture, 5000), second = open_session(fixture, 5000);
    struct wire_failure failure;

    assert_int_equal(ask(fixture, first, 1, (struct wire_lock_acquire){.permits = 3}), ERR_OK);
    for (uint32_t i = 0; i < 2; i++) {
        assert_int_equal(ask(fixture, second, 1, (struct wire_lock_acquire){.permits = 4}),
                         ERR_REFUSED);
        struct bytes body = fixture->result.body;
        assert_int_equal(wire_failure_decode(&body, &failure), ERR_OK);
        assert_true(
            bytes_equal(failure.text, bytes_of_text(lease_refusal_text(LEASE_OTHER_LIMIT))));
    }
}

static void request_for_a_lock_beyond_its_bounds_is_malformed(void **state)
{
    struct fixture *fixture = *state;
    uint64_t session = open_session(fixture, 5000);
    const struct wire_lock_acquire wrong[] = {{.shared = true, .permits = 2},
                                              {.units = 1},
                                              {.permits = 2, .units = 3},
                                              {.permits = LEASE_PERMIT_COUNT_MAX + 1},
                                              {.delay_ms = LEASE_DELAY_MS_MAX + 1}};

    for (uint32_t i = 0; i < COUNT_OF(wrong); i++) {
        assert_int_equal(ask(fixture, session, i + 1, wrong[i]), ERR_MALFORMED);
    }
    assert_int_equal(ask(fixture, session, COUNT_OF(wrong) + 1,
                         (struct wire_lock_acquire){.delay_ms = LEASE_DELAY_MS_MAX}),
                     ERR_OK);
}

static void cluster_time_never_runs_back(void **state)
{
    struct fixture *fixture = *state;

    put(fixture, 0, 0, "a", "b");
    fixture->log_ms -= 500;
    put(fixture, 0, 0, "a", "c");

    assert_int_equal(machine_log_ms(fixture->machine), 1000);
}

static void machine_goes_on_from_the_committed_table(void **state)
{
    struct fixture *fixture = *state;
    uint64_t session = open_session(fixture, 5000);

    put(fixture, session, 1, "key", "value");
    machine_commit(fixture->machine);
    uint64_t hash = machine_hash(fixture->machine);
    free(fixture->memory);
    open_machine(fixture);

    assert_int_equal(machine_applied_index(fixture->machine), 2);
    assert_int_equal(machine_log_ms(fixture->machine), 1000);
    assert_int_equal(machine_hash(fixture->machine), hash);
    assert_true(machine_lookup(fixture->machine, session, 1, &fixture->result));
    assert_false(machine_lookup(fixture->machine, session, 2, &fixture->result));
}

static void hash_does_not_depend_on_when_it_was_committed(void **state)
{
    struct fixture *fixture = *state;
    struct fixture *other;
    void *other_state;

    fixture_open(&other_state);
    other = other_state;
    struct fixture *both[] = {fixture, other};
    for (unsigned i = 0; i < 2; i++) {
        uint64_t session = open_session(both[i], 5000);

        for (uint64_t sequence = 1; sequence <= 70; sequence++) {
            put(both[i], session, sequence, "key", "value");
            if (i == 1) {
                machine_commit(both[i]->machine);
            }
        }
    }

    assert_int_equal(machine_hash(fixture->machine), machine_hash(other->machine));
    fixture_close(&other_state);
}

static void entry_that_is_not_understood_changes_nothing_but_the_index(void **state)
{
    struct fixture *fixture = *state;
    struct raft_entry entry = {
        .index = 1, .term = 1, .kind = RAFT_ENTRY_COMMAND, .payload = bytes_of_text("junk")};

    machine_apply(fixture->machine, &entry, &fixture->result);

    assert_int_equal(fixture->result.error, ERR_MALFORMED);
    assert_int_equal(machine_applied_index(fixture->machine), 1);
}

static void listing_stops_where_its_room_ends_and_says_so(void **state)
{
    struct fixture *fixture = *state;
    struct buffer params = buffer_of(fixture->params, sizeof(fixture->params));
    struct buffer out = buffer_of(fixture->out, 1024);
    struct wire_list message = {.prefix = bytes_of_text("k")};
    struct wire_list_result result;
    char key[] = "k00", value[100] = {0};

    memset(value, 'v', sizeof(value) - 1);
    for (unsigned i = 0; i < 20; i++) {
        key[1] = (char)('0' + i / 10);
        key[2] = (char)('0' + i % 10);
        put(fixture, 0, 0, key, value);
    }
    params.size = 0;
    assert_true(wire_list_encode(&message, &params));
    assert_int_equal(machine_read(fixture->machine, WIRE_METHOD_list, buffer_bytes(&params),
                                  fixture->log_ms, &out),
                     ERR_OK);

    struct bytes body = buffer_bytes(&out);
    assert_int_equal(wire_list_result_decode(&body, &result), ERR_OK);
    assert_true(result.more);
    assert_in_range(result.items.count, 1, 4);
    struct wire_pair pair;
    assert_int_equal(wire_pair_decode(&result.items.raw, &pair), ERR_OK);
    assert_true(bytes_equal(pair.key, bytes_of_text("k00")));
}

/* The list of all sessions, asked when the leader's clock shows `now_ms`. */
static struct wire_session_list_result list_sessions(struct fixture *fixture, uint64_t now_ms)
{
    struct buffer params = buffer_of(fixture->params, sizeof(fixture->params));
    struct buffer out = buffer_of(fixture->out, sizeof(fixture->out));
    struct wire_session_list message = {0};
    struct wire_session_list_result result;

    assert_true(wire_session_list_encode(&message, &params));
    assert_int_equal(machine_read(fixture->machine, WIRE_METHOD_session_list, buffer_bytes(&params),
                                  now_ms, &out),
                     ERR_OK);
    struct bytes body = buffer_bytes(&out);
    assert_int_equal(wire_session_list_result_decode(&body, &result), ERR_OK);
    return result;
}

/* A later leader may begin from a clock that is behind: what one leader has listed as dead without
 * an entry that says so, the next would list as alive again. */
static void a_session_is_listed_until_an_applied_stamp_ends_it(void **state)
{
    struct fixture *fixture = *state;
    struct wire_session_item item;
    uint64_t session = open_session(fixture, 5000);

    struct wire_session_list_result running = list_sessions(fixture, fixture->log_ms + 4000);
    assert_int_equal(running.items.count, 1);
    assert_int_equal(wire_session_item_decode(&running.items.raw, &item), ERR_OK);
    assert_int_equal(item.age_ms, 4000);
    assert_int_equal(item.left_ms, 1000);
    struct wire_session_list_result over = list_sessions(fixture, fixture->log_ms + 6000);
    assert_int_equal(over.items.count, 1);
    assert_int_equal(wire_session_item_decode(&over.items.raw, &item), ERR_OK);
    assert_int_equal(item.session, session);
    assert_int_equal(item.left_ms, 0);

    fixture->log_ms += 6000;
    apply(fixture, ENVELOPE_TICK, 0, 0, (struct bytes){0});
    assert_int_equal(list_sessions(fixture, 0).items.count, 0);
}

#define LAW(name) cmocka_unit_test_setup_teardown(name, fixture_open, fixture_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LAW(revision_of_a_key_is_the_index_of_its_entry),
        LAW(repeated_request_is_executed_once),
        LAW(gap_in_a_sequence_is_refused_and_changes_nothing),
        LAW(request_of_a_session_that_is_due_is_refused),
        LAW(renewal_moves_the_deadline_of_live_sessions_only),
        LAW(expiry_grants_the_waiter_in_the_same_entry_with_a_larger_token),
        LAW(release_grants_the_waiter_in_the_same_entry),
        LAW(modes_of_a_request_are_what_the_lock_shows),
        LAW(refusal_of_a_lock_says_why_also_when_it_is_asked_for_again),
        LAW(request_for_a_lock_beyond_its_bounds_is_malformed),
        LAW(cluster_time_never_runs_back),
        LAW(machine_goes_on_from_the_committed_table),
        LAW(hash_does_not_depend_on_when_it_was_committed),
        LAW(entry_that_is_not_understood_changes_nothing_but_the_index),
        LAW(listing_stops_where_its_room_ends_and_says_so),
        LAW(a_session_is_listed_until_an_applied_stamp_ends_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
