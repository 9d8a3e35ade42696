/* tests/unit/client/core_watch_test.c: a watch of the core against a node played by hand, which
 * breaks connections, refuses, repeats itself and counts credit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/prng.h"
#include "client/core.h"

enum {
    SEED_COUNT = 1500,
    CHANGE_COUNT = 120,
    CREDIT_OF_CORE = 256 << 10,
    COST = 64,
    VALUE_SIZE = 20000,
    INPUT_SIZE = 4 << 20,
    STEP_COUNT_MAX = 20000,
};

struct place {
    uint64_t revision;
    uint32_t number;
};

struct fixture {
    struct core core;
    struct core_watch watch;
    void *memory;
    uint8_t *output;
    uint8_t *input;
    struct prng prng;
    uint64_t now_ms;
    struct core_connection *connection; /* That stands; NULL. */
    bool leads;
    uint64_t asked; /* The watch's number at the node; 0: not asked for. */
    struct wire_watch request;
    int64_t credit;
    bool cancelled;
    struct buffer to_core;
    struct place changes[CHANGE_COUNT];
    uint32_t value_sizes[CHANGE_COUNT];
    uint32_t sent; /* Changes sent on this connection are below. */
    uint32_t told;
    struct place told_place;
    uint32_t ended_count;
    uint32_t break_count;
    uint32_t blocked_count; /* Times that credit was used up. */
};

static struct fixture *fixture_open(uint64_t seed)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    const struct core_options options = {.name = bytes_of("test", 4),
                                         .connections = 1,
                                         .call_count_max = 4,
                                         .call_slot_count = 4,
                                         .session_count_max = 1,
                                         .watch_count_max = 1,
                                         .seed = seed};
    size_t size = size_round_up(core_memory_size(&options), ARENA_ALIGNMENT);
    struct arena arena;

    assert_non_null(fixture);
    fixture->memory = aligned_alloc(ARENA_ALIGNMENT, size);
    fixture->output = malloc(CORE_OUTPUT_SIZE_MIN);
    fixture->input = malloc(INPUT_SIZE);
    assert_true(fixture->memory != NULL && fixture->output != NULL && fixture->input != NULL);
    fixture->now_ms = 1000;
    fixture->leads = true;
    prng_init(&fixture->prng, seed);
    arena_init(&arena, fixture->memory, size);
    core_open(&fixture->core, &arena, &options, bytes_of_text("a:1,b:2"), fixture->now_ms);
    fixture->watch.prefix = bytes_of_text("k");
    fixture->watch.timeout_ms = 5000;
    fixture->watch.revision = 10;
    fixture->told_place.revision = 10;
    return fixture;
}

static void fixture_close(struct fixture *fixture)
{
    free(fixture->memory);
    free(fixture->output);
    free(fixture->input);
    free(fixture);
}

/* --- The node --------------------------------------------------------------------------------- */

static struct buffer *out(struct fixture *fixture)
{
    return &fixture->to_core;
}

static void answer_hello(struct fixture *fixture, uint64_t id)
{
    const struct wire_hello_result hello = {.version = 1,
                                            .node = bytes_of_text("n1"),
                                            .leader = fixture->leads ? bytes_of_text("n1")
                                                                     : bytes_of(NULL, 0),
                                            .margin_ms = 10,
                                            .frame_size_max = WIRE_FRAME_SIZE_MAX};

    assert_true(wire_result_begin(out(fixture), id) &&
                wire_hello_result_encode(&hello, out(fixture)));
}

static void answer_status(struct fixture *fixture, uint64_t id)
{
    const struct wire_status_result status = {.node = bytes_of_text("n1"),
                                              .role = bytes_of_text("leader"),
                                              .leader = fixture->leads ? bytes_of_text("n1")
                                                                       : bytes_of(NULL, 0)};

    assert_true(wire_result_begin(out(fixture), id) &&
                wire_status_result_encode(&status, out(fixture)));
}

static void answer_watch(struct fixture *fixture, const struct wire_rpc *rpc)
{
    const struct wire_watch_result result = {.revision = fixture->watch.revision};
    struct bytes body = rpc->body;

    assert_int_equal(wire_watch_decode(&body, &fixture->request), ERR_OK);
    assert_int_equal(fixture->asked, 0);
    fixture->asked = fixture->request.watch;
    fixture->credit = fixture->request.credit;
    assert_int_equal(fixture->credit, CREDIT_OF_CORE);
    /* It goes on behind what its owner was told. */
    assert_int_equal(fixture->request.revision, fixture->told_place.revision);
    assert_int_equal(fixture->request.number, fixture->told_place.number);
    fixture->sent = fixture->told;
    assert_true(wire_result_begin(out(fixture), rpc->id) &&
                wire_watch_result_encode(&result, out(fixture)));
}

static void take_request(struct fixture *fixture, const struct wire_rpc *rpc)
{
    struct wire_watch_credit credit;
    struct bytes body = rpc->body;

    if (rpc->method == WIRE_METHOD_hello) {
        answer_hello(fixture, rpc->id);
    } else if (rpc->method == WIRE_METHOD_status) {
        answer_status(fixture, rpc->id);
    } else if (rpc->method == WIRE_METHOD_watch) {
        answer_watch(fixture, rpc);
    } else if (rpc->method == WIRE_METHOD_watch_credit) {
        assert_int_equal(wire_watch_credit_decode(&body, &credit), ERR_OK);
        assert_int_equal(credit.watch, fixture->asked);
        fixture->credit += credit.credit;
        assert_true(fixture->credit <= CREDIT_OF_CORE);
    } else {
        assert_int_equal(rpc->method, WIRE_METHOD_watch_cancel);
        fixture->cancelled = true;
    }
}

/* Sends one change, or the same again, as far as there is credit. */
static void send_change(struct fixture *fixture, uint32_t which)
{
    static uint8_t value[VALUE_SIZE];
    const struct wire_changed changed = {.watch = fixture->asked,
                                         .revision = fixture->changes[which].revision,
                                         .number = fixture->changes[which].number,
                                         .kind = bytes_of_text("put"),
                                         .name = bytes_of_text("k"),
                                         .value = bytes_of(value, fixture->value_sizes[which])};

    assert_true(wire_notice_begin(out(fixture), WIRE_NOTICE_changed) &&
                wire_changed_encode(&changed, out(fixture)));
}

static void send_progress(struct fixture *fixture)
{
    /* No further than what comes next, and nothing that was sent is behind it. */
    uint64_t last = fixture->sent == 0 ? 10 : fixture->changes[fixture->sent - 1].revision;
    bool is_whole =
        fixture->sent == CHANGE_COUNT || fixture->changes[fixture->sent].revision > last;
    const struct wire_changed changed = {.watch = fixture->asked, .revision = last};

    if (is_whole) {
        assert_true(wire_notice_begin(out(fixture), WIRE_NOTICE_changed) &&
                    wire_changed_encode(&changed, out(fixture)));
    }
}

/* --- One turn --------------------------------------------------------------------------------- */

static void tell(struct fixture *fixture)
{
    const struct core_event *event;

    while ((event = core_next_event(&fixture->core)) != NULL) {
        const struct wire_changed *change = &event->change;

        if (change->number != 0) {
            assert_true(fixture->told < CHANGE_COUNT);
            assert_int_equal(change->revision, fixture->changes[fixture->told].revision);
            assert_int_equal(change->number, fixture->changes[fixture->told].number);
            fixture->told++;
        }
        fixture->told_place = (struct place){change->revision, change->number};
    }
    while (core_next_watch_ended(&fixture->core) != NULL) {
        fixture->ended_count++;
    }
}

static void hang_up(struct fixture *fixture)
{
    struct core_connection *connection = fixture->connection;

    fixture->connection = NULL;
    fixture->asked = 0;
    if (connection->state != CORE_CLOSE_WANTED) {
        core_disconnected(&fixture->core, connection);
    }
    core_closed(&fixture->core, connection);
}

static void dial(struct fixture *fixture)
{
    for (uint32_t i = 0; i < fixture->core.connection_count; i++) {
        struct core_connection *connection = &fixture->core.connections[i];

        if (connection->state != CORE_DIAL_WANTED) {
            continue;
        }
        core_dialing(&fixture->core, connection);
        if (fixture->connection != NULL) {
            core_disconnected(&fixture->core, connection); /* One node there is. */
            core_closed(&fixture->core, connection);
            continue;
        }
        fixture->connection = connection;
        core_connected(&fixture->core, connection,
                       buffer_of(fixture->output, CORE_OUTPUT_SIZE_MIN));
    }
}

static void receive(struct fixture *fixture)
{
    struct bytes input = buffer_bytes(out(fixture));
    bool is_full = true;

    while (is_full) {
        core_receive(&fixture->core, fixture->connection, &input);
        is_full = core_is_full(&fixture->core);
        tell(fixture);
    }
}

static void step(struct fixture *fixture, uint64_t ms)
{
    struct wire_rpc rpc;

    fixture->now_ms += ms;
    core_advance(&fixture->core, fixture->now_ms);
    tell(fixture);
    core_pump(&fixture->core);
    core_check(&fixture->core);
    dial(fixture);
    if (fixture->connection == NULL) {
        return;
    }
    if (fixture->connection->state == CORE_CLOSE_WANTED) {
        hang_up(fixture);
        return;
    }
    fixture->to_core = buffer_of(fixture->input, INPUT_SIZE);
    struct bytes requests = buffer_bytes(&fixture->connection->output);
    while (requests.size > 0) {
        assert_int_equal(wire_rpc_next(&requests, &rpc), ERR_OK);
        take_request(fixture, &rpc);
    }
    fixture->connection->output.size = 0;
    receive(fixture);
}

/* What the node sends by itself. */
static void push(struct fixture *fixture)
{
    uint64_t count = prng_below(&fixture->prng, 40);

    fixture->to_core = buffer_of(fixture->input, INPUT_SIZE);
    if (fixture->asked == 0 || fixture->connection->state == CORE_CLOSE_WANTED) {
        return;
    }
    for (uint64_t i = 0; i < count && fixture->sent < CHANGE_COUNT; i++) {
        if (fixture->credit <= 0) {
            fixture->blocked_count++;
            break;
        }
        fixture->credit -= COST + 1 + fixture->value_sizes[fixture->sent];
        send_change(fixture, fixture->sent);
        fixture->sent++;
        if (prng_below(&fixture->prng, 10) == 0) {
            send_change(fixture, (uint32_t)prng_below(&fixture->prng, fixture->sent));
        }
    }
    if (prng_below(&fixture->prng, 4) == 0) {
        send_progress(fixture);
    }
    receive(fixture);
}

static void send_ended(struct fixture *fixture, enum error code)
{
    const struct wire_watch_ended ended = {
        .watch = fixture->asked, .code = (uint32_t)code, .oldest_revision = 77};

    fixture->to_core = buffer_of(fixture->input, INPUT_SIZE);
    assert_true(wire_notice_begin(out(fixture), WIRE_NOTICE_watch_ended) &&
                wire_watch_ended_encode(&ended, out(fixture)));
    fixture->asked = 0;
    receive(fixture);
}

static void begin(struct fixture *fixture)
{
    core_watch_start(&fixture->core, &fixture->watch);
    for (uint32_t i = 0; i < 50 && fixture->asked == 0; i++) {
        step(fixture, 10);
    }
    assert_int_not_equal(fixture->asked, 0);
    assert_int_equal(fixture->watch.state, CORE_WATCH_LIVE);
}

/* --- Tests ------------------------------------------------------------------------------------ */

static void draw_changes(struct fixture *fixture)
{
    struct place place = {10, 0};
    bool is_large = prng_below(&fixture->prng, 4) == 0;

    for (uint32_t i = 0; i < CHANGE_COUNT; i++) {
        if (place.number == 0 || prng_below(&fixture->prng, 3) != 0) {
            place.revision += prng_between(&fixture->prng, 1, 3);
            place.number = 0;
        }
        place.number += (uint32_t)prng_between(&fixture->prng, 1, 2);
        fixture->changes[i] = place;
        fixture->value_sizes[i] = is_large ? (uint32_t)prng_below(&fixture->prng, VALUE_SIZE) : 10;
    }
}

static void each_change_is_told_once_and_in_order_however_often_connections_break(void **state)
{
    uint32_t break_count = 0;
    uint32_t blocked_count = 0;

    (void)state;
    for (uint64_t seed = 1; seed <= SEED_COUNT; seed++) {
        struct fixture *fixture = fixture_open(seed);
        uint32_t steps = 0;

        draw_changes(fixture);
        core_watch_start(&fixture->core, &fixture->watch);
        for (; fixture->told < CHANGE_COUNT; steps++) {
            assert_true(steps < STEP_COUNT_MAX);
            step(fixture, prng_below(&fixture->prng, 20));
            if (fixture->connection == NULL) {
                continue;
            }
            push(fixture);
            if (prng_below(&fixture->prng, 12) == 0) {
                fixture->leads = prng_below(&fixture->prng, 3) != 0;
                fixture->break_count++;
                hang_up(fixture);
            } else if (fixture->asked != 0 && prng_below(&fixture->prng, 12) == 0) {
                send_ended(fixture, ERR_NO_QUORUM);
            }
        }
        assert_int_equal(fixture->ended_count, 0);
        break_count += fixture->break_count;
        blocked_count += fixture->blocked_count;
        fixture_close(fixture);
    }
    assert_true(break_count > SEED_COUNT && blocked_count > SEED_COUNT / 4);
}

static void compacted_is_told_with_the_oldest_revision_and_ends_it(void **state)
{
    struct fixture *fixture = fixture_open(1);

    (void)state;
    begin(fixture);
    send_ended(fixture, ERR_COMPACTED);

    assert_int_equal(fixture->ended_count, 1);
    assert_int_equal(fixture->watch.status, ERR_COMPACTED);
    assert_int_equal(fixture->watch.oldest_revision, 77);
    for (uint32_t i = 0; i < 100; i++) {
        step(fixture, 20);
    }
    assert_int_equal(fixture->asked, 0);
    fixture_close(fixture);
}

static void one_that_is_stopped_tells_nothing_more_and_says_so_to_the_node(void **state)
{
    struct fixture *fixture = fixture_open(2);

    (void)state;
    draw_changes(fixture);
    begin(fixture);
    fixture->to_core = buffer_of(fixture->input, INPUT_SIZE);
    send_change(fixture, 0);
    struct bytes input = buffer_bytes(out(fixture));
    core_receive(&fixture->core, fixture->connection, &input);
    core_watch_stop(&fixture->core, &fixture->watch);
    tell(fixture);
    step(fixture, 1);

    assert_int_equal(fixture->told, 0);
    assert_int_equal(fixture->ended_count, 1);
    assert_int_equal(fixture->watch.status, ERR_CANCELLED);
    assert_true(fixture->cancelled);
    fixture_close(fixture);
}

static void without_a_node_it_ends_no_quorum_at_its_timeout(void **state)
{
    struct fixture *fixture = fixture_open(3);

    (void)state;
    core_watch_start(&fixture->core, &fixture->watch);
    for (uint64_t ms = 0; ms < 6000 && fixture->ended_count == 0; ms += 10) {
        fixture->now_ms += 10;
        core_advance(&fixture->core, fixture->now_ms);
        tell(fixture);
        core_pump(&fixture->core);
        for (uint32_t i = 0; i < fixture->core.connection_count; i++) {
            struct core_connection *connection = &fixture->core.connections[i];
            if (connection->state == CORE_DIAL_WANTED) {
                core_dialing(&fixture->core, connection);
                core_disconnected(&fixture->core, connection);
                core_closed(&fixture->core, connection);
            }
        }
    }

    assert_int_equal(fixture->ended_count, 1);
    assert_int_equal(fixture->watch.status, ERR_NO_QUORUM);
    assert_in_range(fixture->now_ms, 6000, 6020);
    fixture_close(fixture);
}

/* A connection that died without a word is found out although nothing else is asked on it. */
static void a_silent_connection_is_asked_for_a_sign_of_life_and_given_up(void **state)
{
    struct fixture *fixture = fixture_open(4);

    (void)state;
    begin(fixture);
    const struct core_connection *dead = fixture->connection;
    for (uint32_t i = 0; i < 400 && dead->state == CORE_LEADER; i++) {
        fixture->now_ms += 10;
        core_advance(&fixture->core, fixture->now_ms);
        core_pump(&fixture->core);
    }

    assert_int_equal(dead->state, CORE_CLOSE_WANTED);
    assert_int_equal(fixture->watch.state, CORE_WATCH_WAITING);
    fixture_close(fixture);
}

static void a_node_that_does_not_lead_serves_while_nobody_is_known_to(void **state)
{
    struct fixture *fixture = fixture_open(5);

    (void)state;
    fixture->leads = false;
    begin(fixture);

    assert_int_equal(fixture->connection->state, CORE_STANDBY);
    fixture_close(fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_change_is_told_once_and_in_order_however_often_connections_break),
        cmocka_unit_test(compacted_is_told_with_the_oldest_revision_and_ends_it),
        cmocka_unit_test(one_that_is_stopped_tells_nothing_more_and_says_so_to_the_node),
        cmocka_unit_test(without_a_node_it_ends_no_quorum_at_its_timeout),
        cmocka_unit_test(a_silent_connection_is_asked_for_a_sign_of_life_and_given_up),
        cmocka_unit_test(a_node_that_does_not_lead_serves_while_nobody_is_known_to),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
