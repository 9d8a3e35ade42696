/* tests/unit/client/core_revoked_law_test.c: the core of the client and the lease machine, in
 * virtual time, with connections that break at random.
 *
 * The law: a holder that was told of a grant learns of its forced unlock with its next answered
 * renewal at the latest, once, and never of one that did not happen. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "client/core_internal.h"
#include "lease/lease.h"
#include "tests/support/base/memory_table.h"
#include "tests/support/client/world.h"

enum { TTL_MS = 3000 };

enum {
    LINK_COUNT = WORLD_LINK_COUNT,
    PIPE_SIZE = 1 << 16,
    NAME_COUNT = 3,
    SESSION_COUNT = 3,
    CALL_COUNT = 64,
    TOKEN_COUNT = 4096,
    SEQUENCE_COUNT = 4096,
    STEP_COUNT = 20000,
};

struct token {
    uint64_t session;          /* Of the machine. */
    uint32_t broken;           /* Its number among the forced unlocks, from 1; 0: it was not. */
    bool is_granted;           /* The user was told so, */
    uint32_t told_count;       /* and of its forced unlock so often since. */
    uint32_t told_early_count; /* Before that. */
};

struct holder {
    struct core_session core;
    bool is_used;
    bool is_lost;
    uint64_t id;
    uint32_t known; /* Forced unlocks before the last renewal that was answered. */
};

struct link {
    bool is_up;
    uint8_t output[CORE_OUTPUT_SIZE_MIN];
    uint8_t from_node_bytes[PIPE_SIZE];
    struct buffer from_node;
    uint32_t known[SESSION_COUNT]; /* What the answers in `from_node` will make known. */
};

struct court {
    struct core core;
    struct table *table;
    struct lease_effects effects;
    struct prng prng;
    void *memory;
    uint64_t now_ms;
    uint64_t index; /* Of the last entry. */
    uint32_t broken_count;
    uint32_t told_by_renewal; /* Of all told: no notice had arrived. */
    uint32_t told_count;
    struct link links[LINK_COUNT];
    int spoke[SESSION_COUNT]; /* The link that spoke for the session last; -1. */
    struct holder holders[SESSION_COUNT];
    struct core_call calls[CALL_COUNT];
    bool call_used[CALL_COUNT];
    uint64_t results[SESSION_COUNT][SEQUENCE_COUNT]; /* Tokens by sequence; UINT64_MAX: waits. */
    struct token tokens[TOKEN_COUNT];
};

static const char *const names[NAME_COUNT] = {"a", "b", "c"};

static int holder_of(const struct court *court, uint64_t session)
{
    for (int i = 0; i < SESSION_COUNT; i++) {
        if (session != 0 && court->holders[i].id == session) {
            return i;
        }
    }
    return -1;
}

static struct token *token_of(struct court *court, uint64_t token)
{
    assert_true(token < TOKEN_COUNT);
    return &court->tokens[token];
}

static void begin_entry(struct court *court)
{
    court->index++;
    court->effects.grant_count = 0;
    court->effects.ended_count = 0;
    court->effects.revoked_count = 0;
    court->effects.elections = 0;
    while (lease_advance(court->table, court->now_ms, &court->effects)) {
    }
}

/* Notices go where the session spoke last, if that still stands. */
static void send_notices(struct court *court)
{
    const struct lease_effects *effects = &court->effects;

    for (uint32_t i = 0; i < effects->grant_count; i++) {
        const struct lease_grant *grant = &effects->grants[i];
        int holder = holder_of(court, grant->session);
        token_of(court, grant->token)->session = grant->session;
        if (holder >= 0 && court->spoke[holder] >= 0) {
            struct buffer *out = &court->links[court->spoke[holder]].from_node;
            const struct wire_granted granted = {.session = grant->session,
                                                 .name = bytes_of(grant->name, grant->name_size),
                                                 .token = grant->token};
            assert_true(wire_notice_begin(out, WIRE_NOTICE_granted) &&
                        wire_granted_encode(&granted, out));
        }
    }
    int holder = effects->revoked_count == 0 ? -1 : holder_of(court, effects->revoked.session);
    if (holder >= 0 && court->spoke[holder] >= 0) {
        struct buffer *out = &court->links[court->spoke[holder]].from_node;
        const struct wire_revoked revoked = {
            .session = effects->revoked.session,
            .name = bytes_of(effects->revoked.name, effects->revoked.name_size),
            .token = effects->revoked.token,
            .number = effects->revoked_number};
        assert_true(wire_notice_begin(out, WIRE_NOTICE_revoked) &&
                    wire_revoked_encode(&revoked, out));
    }
}

static void fail_call(struct buffer *out, uint64_t id, enum error error)
{
    const struct wire_failure failure = {.code = (uint32_t)error,
                                         .name = bytes_of_text(error_name(error))};
    assert_true(wire_failure_response(out, id, &failure));
}

static void serve_hello(const struct wire_rpc *rpc, struct buffer *out)
{
    const struct wire_hello_result result = {.version = WIRE_VERSION,
                                             .cluster = bytes_of_text(""),
                                             .node = bytes_of_text("n1"),
                                             .leader = bytes_of_text("n1"),
                                             .clock_rate_ppm = 10000,
                                             .margin_ms = 100,
                                             .frame_size_max = WIRE_FRAME_SIZE_MAX};
    assert_true(wire_result_begin(out, rpc->id) && wire_hello_result_encode(&result, out));
}

static void serve_open(struct court *court, const struct wire_rpc *rpc, struct buffer *out)
{
    struct wire_session_open open;
    struct bytes params = rpc->body;
    assert_int_equal(wire_session_open_decode(&params, &open), ERR_OK);

    begin_entry(court);
    lease_session_open(court->table, court->index, open.ttl_ms, bytes_of_text(""), court->now_ms);
    const struct wire_session_open_result result = {.session = court->index,
                                                    .ttl_ms = open.ttl_ms,
                                                    .attempt = open.attempt,
                                                    .audit_next =
                                                        lease_audit_last(court->table) + 1};
    assert_true(wire_result_begin(out, rpc->id) && wire_session_open_result_encode(&result, out));
}

static void serve_renew(struct court *court, int link, const struct wire_rpc *rpc,
                        struct buffer *out)
{
    uint8_t memory[4096];
    struct buffer items = buffer_of(memory, sizeof(memory));
    struct wire_session_renew renew;
    struct lease_audit_view view;
    uint32_t looks_left = UINT32_MAX;
    struct bytes params = rpc->body;
    assert_int_equal(wire_session_renew_decode(&params, &renew), ERR_OK);
    int holder = holder_of(court, renew.session);

    begin_entry(court);
    if (lease_session_renew(court->table, renew.session, court->now_ms) != ERR_OK || holder < 0) {
        fail_call(out, rpc->id, ERR_SESSION_EXPIRED);
        return;
    }
    struct wire_session_renew_result result = {.attempt = renew.attempt,
                                               .audit_next = renew.audit_next};
    while (
        lease_revoked_next(court->table, renew.session, &result.audit_next, &looks_left, &view)) {
        const struct wire_revocation item = {
            .number = view.number, .name = view.name, .token = view.token};
        assert_true(wire_revocation_encode(&item, &items));
        result.revoked.count++;
    }
    result.revoked.raw = buffer_bytes(&items);
    assert_true(wire_result_begin(out, rpc->id) && wire_session_renew_result_encode(&result, out));
    court->links[link].known[holder] = court->broken_count;
    court->spoke[holder] = link;
}

static void serve_acquire(struct court *court, int link, const struct wire_rpc *rpc,
                          struct buffer *out)
{
    struct wire_lock_acquire acquire;
    struct lease_acquired acquired = {.token = 0};
    struct bytes params = rpc->body;
    assert_int_equal(wire_lock_acquire_decode(&params, &acquire), ERR_OK);
    int holder = holder_of(court, acquire.session);

    begin_entry(court);
    if (holder < 0) {
        fail_call(out, rpc->id, ERR_SESSION_EXPIRED);
        return;
    }
    uint64_t *stored = &court->results[holder][acquire.sequence % SEQUENCE_COUNT];
    const struct lease_request request = {
        .session = acquire.session, .name = acquire.name, .wait = acquire.wait};
    enum error error = ERR_OK;
    if (*stored == 0) {
        error =
            lease_lock_acquire(court->table, &request, court->now_ms, &court->effects, &acquired);
        *stored = acquired.token == 0 ? UINT64_MAX : acquired.token;
    } else {
        acquired.token = *stored == UINT64_MAX ? 0 : *stored;
    }
    court->spoke[holder] = link;
    if (error != ERR_OK) {
        fail_call(out, rpc->id, error);
        return;
    }
    if (acquired.token != 0) {
        token_of(court, acquired.token)->session = acquire.session;
    }
    const struct wire_lock_acquire_result result = {.token = acquired.token,
                                                    .position = acquired.token == 0 ? 1 : 0};
    assert_true(wire_result_begin(out, rpc->id) && wire_lock_acquire_result_encode(&result, out));
}

static void serve_release(struct court *court, const struct wire_rpc *rpc, struct buffer *out)
{
    struct wire_lock_release release;
    struct bytes params = rpc->body;
    assert_int_equal(wire_lock_release_decode(&params, &release), ERR_OK);

    begin_entry(court);
    enum error error = lease_lock_release(court->table, release.session, release.name,
                                          release.token, court->now_ms, &court->effects);
    const struct wire_lock_release_result result = {0};
    if (error != ERR_OK) {
        fail_call(out, rpc->id, error);
        return;
    }
    assert_true(wire_result_begin(out, rpc->id) && wire_lock_release_result_encode(&result, out));
}

static void serve(struct court *court, int link, const struct wire_rpc *rpc)
{
    struct buffer *out = &court->links[link].from_node;

    court->effects.grant_count = 0;
    court->effects.revoked_count = 0;
    if (rpc->method == WIRE_METHOD_hello) {
        serve_hello(rpc, out);
    } else if (rpc->method == WIRE_METHOD_session_open) {
        serve_open(court, rpc, out);
    } else if (rpc->method == WIRE_METHOD_session_renew) {
        serve_renew(court, link, rpc, out);
    } else if (rpc->method == WIRE_METHOD_lock_acquire) {
        serve_acquire(court, link, rpc, out);
    } else if (rpc->method == WIRE_METHOD_lock_release) {
        serve_release(court, rpc, out);
    } else {
        fail_call(out, rpc->id, ERR_REFUSED); /* A sign of life, and the end of lost sessions. */
    }
    send_notices(court);
}

static void hang_up(struct court *court, int link)
{
    court->links[link].is_up = false;
    court->links[link].from_node.size = 0;
    memset(court->links[link].known, 0, sizeof(court->links[link].known));
    for (int i = 0; i < SESSION_COUNT; i++) {
        court->spoke[i] = court->spoke[i] == link ? -1 : court->spoke[i];
    }
}

/* Bytes take one step each way; what is on its way when a connection breaks is lost. */
static void run_link(struct court *court, int at)
{
    struct link *link = &court->links[at];
    struct core_connection *connection = &court->core.connections[at];

    if (connection->state == CORE_DIAL_WANTED) {
        core_dialing(&court->core, connection);
        return;
    }
    if (connection->state == CORE_DIALING) {
        link->from_node = buffer_of(link->from_node_bytes, PIPE_SIZE);
        link->is_up = true;
        core_connected(&court->core, connection, buffer_of(link->output, sizeof(link->output)));
        return;
    }
    if (connection->state == CORE_CLOSE_WANTED) {
        hang_up(court, at);
        core_closed(&court->core, connection);
        return;
    }
    if (!link->is_up) {
        return;
    }
    if (prng_below(&court->prng, 150) == 0) {
        hang_up(court, at);
        core_disconnected(&court->core, connection);
        return;
    }
    if (link->from_node.size != 0 && prng_below(&court->prng, 3) == 0) {
        uint8_t bytes[PIPE_SIZE];
        struct bytes input = bytes_of(bytes, link->from_node.size);
        memcpy(bytes, link->from_node.data, input.size);
        link->from_node.size = 0;
        for (int i = 0; i < SESSION_COUNT; i++) {
            if (link->known[i] > court->holders[i].known) {
                court->holders[i].known = link->known[i];
            }
            link->known[i] = 0;
        }
        core_receive(&court->core, connection, &input);
    }
    if (link->is_up && connection->state != CORE_CLOSE_WANTED && connection->output.size != 0 &&
        prng_below(&court->prng, 3) == 0) {
        struct bytes rest = buffer_bytes(&connection->output);
        struct wire_rpc rpc;
        while (rest.size != 0 && wire_rpc_next(&rest, &rpc) == ERR_OK) {
            serve(court, at, &rpc);
        }
        connection->output.size = 0;
    }
}

/* What the user hears. */
static void tell(struct court *court)
{
    const struct core_revoked *revoked;
    struct core_session *session;
    struct core_call *call;
    enum core_session_state state;

    while ((session = core_next_changed(&court->core, &state)) != NULL) {
        struct holder *holder = CONTAINER_OF(session, struct holder, core);
        holder->is_lost = holder->is_lost || state == CORE_SESSION_LOST;
    }
    while ((call = core_next_finished(&court->core)) != NULL) {
        if (call->class == CORE_SESSION_OPEN && call->status == ERR_OK) {
            CONTAINER_OF(call->session, struct holder, core)->id = call->session->id;
        } else if (call->class == CORE_ACQUIRE && call->status == ERR_OK) {
            token_of(court, call->token)->is_granted = true;
        } else if (call->class == CORE_SESSION_END) {
            struct holder *holder = CONTAINER_OF(call->session, struct holder, core);
            memset(holder, 0, sizeof(*holder));
        }
        if (core_call_delivered(&court->core, call)) {
            court->call_used[call->slot] = false;
        }
    }
    while ((call = core_next_freed(&court->core)) != NULL) {
        court->call_used[call->slot] = false;
    }
    while ((revoked = core_next_revoked(&court->core)) != NULL) {
        struct token *token = token_of(court, revoked->token);
        assert_true(token->broken != 0); /* Never of one that did not happen. */
        assert_true(token->session == revoked->session->id);
        if (token->is_granted) {
            token->told_count++;
            court->told_count++;
        } else {
            token->told_early_count++;
        }
        assert_true(token->told_count <= 1 && token->told_early_count <= 1);
    }
}

static void check_law(struct court *court)
{
    for (uint32_t i = 1; i < TOKEN_COUNT && court->tokens[i].session != 0; i++) {
        const struct token *token = &court->tokens[i];
        int holder = holder_of(court, token->session);
        bool is_due = holder >= 0 && !court->holders[holder].is_lost && token->is_granted &&
                      token->broken != 0 && token->broken <= court->holders[holder].known;
        assert_true(!is_due || token->told_count == 1);
    }
}

static struct core_call *call_take(struct court *court, enum wire_method method,
                                   struct core_session *session)
{
    for (uint32_t i = 0; i < CALL_COUNT; i++) {
        if (!court->call_used[i]) {
            memset(&court->calls[i], 0, sizeof(court->calls[i]));
            court->call_used[i] = true;
            court->calls[i].slot = i;
            court->calls[i].method = method;
            court->calls[i].session = session;
            court->calls[i].timeout_ms = 2000;
            return &court->calls[i];
        }
    }
    return NULL;
}

static void user_acts(struct court *court)
{
    uint32_t at = (uint32_t)prng_below(&court->prng, SESSION_COUNT);
    struct holder *holder = &court->holders[at];
    const char *name = names[prng_below(&court->prng, NAME_COUNT)];
    struct core_call *call;

    if (!holder->is_used) {
        call = call_take(court, WIRE_METHOD_session_open, &holder->core);
        if (call != NULL) {
            memset(holder, 0, sizeof(*holder));
            memset(court->results[at], 0, sizeof(court->results[at]));
            holder->is_used = true;
            holder->core.slot = at;
            call->request.session_open.ttl_ms = TTL_MS;
            core_session_start(&court->core, &holder->core, call);
        }
    } else if (holder->core.ending) {
        return;
    } else if (holder->is_lost || prng_below(&court->prng, 500) == 0) {
        call = call_take(court, WIRE_METHOD_session_end, NULL);
        if (call != NULL) {
            core_session_finish(&court->core, &holder->core, call);
        }
    } else if (prng_below(&court->prng, 3) != 0) {
        call = call_take(court, WIRE_METHOD_lock_acquire, &holder->core);
        if (call != NULL) {
            call->wait_ms = prng_below(&court->prng, 2) == 0 ? 0 : 500;
            call->request.lock_acquire.name = bytes_of_text(name);
            core_call_start(&court->core, call);
        }
    } else {
        call = call_take(court, WIRE_METHOD_lock_release, &holder->core);
        if (call != NULL) {
            call->request.lock_release.name = bytes_of_text(name);
            core_call_start(&court->core, call);
        }
    }
}

static void operator_acts(struct court *court)
{
    struct bytes name = bytes_of_text(names[prng_below(&court->prng, NAME_COUNT)]);
    struct lease_lock_view view;

    begin_entry(court);
    send_notices(court);
    if (!lease_lock_get(court->table, name, &view)) {
        return;
    }
    uint64_t token = view.token;
    const struct lease_break request = {
        .name = name, .token = token, .reason = bytes_of_text("law")};
    court->effects.grant_count = 0;
    assert_int_equal(lease_lock_break(court->table, &request, court->now_ms, &court->effects),
                     ERR_OK);
    court->broken_count++;
    token_of(court, token)->broken = court->broken_count;
    send_notices(court);
}

static struct court *court_open(uint64_t seed)
{
    struct court *court = calloc(1, sizeof(*court));
    struct arena arena;
    struct core_options options = {.connections = 1 + (uint32_t)(seed % 3),
                                   .call_count_max = CALL_COUNT,
                                   .call_slot_count = CALL_COUNT,
                                   .session_count_max = SESSION_COUNT,
                                   .seed = seed};

    assert_non_null(court);
    size_t size = size_round_up(core_memory_size(&options), ARENA_ALIGNMENT);
    court->memory = aligned_alloc(ARENA_ALIGNMENT, size);
    assert_non_null(court->memory);
    court->table = memory_table_open();
    court->now_ms = 1000;
    prng_init(&court->prng, seed);
    arena_init(&arena, court->memory, size);
    core_open(&court->core, &arena, &options, bytes_of_text("10.0.0.1:7400"), court->now_ms);
    for (int i = 0; i < SESSION_COUNT; i++) {
        court->spoke[i] = -1;
    }
    return court;
}

static void court_close(struct court *court)
{
    memory_table_close(court->table);
    free(court->memory);
    free(court);
}

static void court_step(struct court *court)
{
    court->now_ms++;
    core_advance(&court->core, court->now_ms);
    tell(court);
    if (prng_below(&court->prng, 40) == 0) {
        user_acts(court);
    }
    if (prng_below(&court->prng, 100) == 0) {
        operator_acts(court);
    }
    for (int i = 0; i < (int)court->core.connection_count; i++) {
        run_link(court, i);
        tell(court);
    }
    core_pump(&court->core);
    tell(court);
    core_check(&court->core);
    check_law(court);
}

static void a_holder_learns_of_a_forced_unlock_with_its_next_answered_renewal(void **state)
{
    uint32_t told_count = 0;

    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct court *court = court_open(seed);
        for (uint32_t i = 0; i < STEP_COUNT; i++) {
            court_step(court);
        }
        told_count += court->told_count;
        court_close(court);
    }
    assert_true(told_count > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_holder_learns_of_a_forced_unlock_with_its_next_answered_renewal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
