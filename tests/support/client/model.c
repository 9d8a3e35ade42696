/* tests/support/client/model.c: see model.h; how a node answers. */
#include "tests/support/client/model.h"

#include <string.h>

#include "tests/support/client/model_state.h"

static const char *const addresses[MODEL_NODE_COUNT] = {"10.0.0.0:7400", "10.0.0.1:7400",
                                                        "10.0.0.2:7400"};
static const char *const names[MODEL_NODE_COUNT] = {"n0", "n1", "n2"};

const char *model_address(int node)
{
    return addresses[node];
}

int model_node(struct bytes address)
{
    for (int i = 0; i < MODEL_NODE_COUNT; i++) {
        if (bytes_equal(address, bytes_of_text(addresses[i]))) {
            return i;
        }
    }
    return -1;
}

static void fail(struct buffer *output, uint64_t id, enum error error, struct wire_failure failure)
{
    failure.code = (uint32_t)error;
    bool fits = wire_failure_response(output, id, &failure);
    ASSERT(fits);
}

static void succeed(struct buffer *output, uint64_t id, struct bytes body)
{
    bool fits = wire_result_begin(output, id) && buffer_append(output, body);
    ASSERT(fits);
}

static enum error decode_write(const struct wire_rpc *rpc, struct model_request *request)
{
    struct bytes body = rpc->body;
    enum error error = ERR_MALFORMED;

    if (rpc->method == WIRE_METHOD_put) {
        error = wire_put_decode(&body, &request->body.put);
        request->session = request->body.put.session;
        request->sequence = request->body.put.sequence;
    } else if (rpc->method == WIRE_METHOD_lock_acquire) {
        error = wire_lock_acquire_decode(&body, &request->body.acquire);
        request->session = request->body.acquire.session;
        request->sequence = request->body.acquire.sequence;
    } else if (rpc->method == WIRE_METHOD_lock_release) {
        error = wire_lock_release_decode(&body, &request->body.release);
        request->session = request->body.release.session;
        request->sequence = request->body.release.sequence;
    }
    return error;
}

/* A request with a sequence: once, in order. */
static void write_in_session(struct model *model, int connection, const struct wire_rpc *rpc,
                             const struct model_request *request, struct buffer *output)
{
    struct model_session *session = model_session(model, request->session);
    struct wire_failure failure = {0};

    if (session == NULL || !session->alive) {
        fail(output, rpc->id, ERR_SESSION_EXPIRED, failure);
        return;
    }
    session->notify = connection;
    if (request->sequence == model->refused_sequence) {
        fail(output, rpc->id, ERR_OVERLOADED,
             (struct wire_failure){.retry_after_ms = model->retry_after_ms});
        return;
    }
    struct model_result *stored = &session->results[request->sequence % MODEL_WINDOW];
    if (request->sequence > session->sequence + 1) {
        fail(output, rpc->id, ERR_SEQUENCE_GAP, failure);
        return;
    }
    if (request->sequence <= session->sequence) {
        if (stored->sequence != request->sequence) {
            fail(output, rpc->id, ERR_STALE, failure);
            return;
        }
        model->repeated_count++;
    } else {
        struct buffer result = buffer_of(stored->bytes, MODEL_RESULT_SIZE);
        session->sequence++;
        enum error error = model_apply(model, rpc->method, request, &failure, &result);
        stored->failed = error != ERR_OK;
        if (stored->failed) {
            failure.code = (uint32_t)error;
            failure.name = bytes_of_text(error_name(error));
            bool fits = wire_failure_encode(&failure, &result);
            ASSERT(fits);
        }
        stored->sequence = request->sequence;
        stored->size = (uint32_t)result.size;
    }
    struct bytes body = bytes_of(stored->bytes, stored->size);
    if (stored->failed) {
        enum error error = wire_failure_decode(&body, &failure);
        ASSERT(error == ERR_OK);
        fail(output, rpc->id, error_from_number(failure.code), failure);
    } else {
        succeed(output, rpc->id, body);
    }
}

static void write_alone(struct model *model, const struct wire_rpc *rpc,
                        const struct model_request *request, struct buffer *output)
{
    uint8_t memory[MODEL_RESULT_SIZE];
    struct buffer result = buffer_of(memory, sizeof memory);
    struct wire_failure failure = {0};
    enum error error = model_apply(model, rpc->method, request, &failure, &result);

    ASSERT(error == ERR_OK);
    succeed(output, rpc->id, buffer_bytes(&result));
}

static void open_session(struct model *model, int connection, const struct wire_rpc *rpc,
                         struct buffer *output)
{
    struct wire_session_open open;
    struct bytes body = rpc->body;
    enum error error = wire_session_open_decode(&body, &open);

    ASSERT(error == ERR_OK);
    if (open.ttl_ms < 500) {
        fail(output, rpc->id, ERR_TTL_TOO_SHORT, (struct wire_failure){.floor_ms = 500});
        return;
    }
    model->last_id++;
    struct model_session *session = &model->sessions[model->last_id % MODEL_SESSION_COUNT];
    memset(session, 0, sizeof *session);
    session->id = model->last_id;
    session->alive = true;
    session->ttl_ms = open.ttl_ms;
    session->deadline_ms = model->now_ms + open.ttl_ms;
    session->notify = connection;
    struct wire_session_open_result result = {
        .session = session->id, .ttl_ms = open.ttl_ms, .attempt = open.attempt};
    bool fits =
        wire_result_begin(output, rpc->id) && wire_session_open_result_encode(&result, output);
    ASSERT(fits);
}

static void renew_or_end(struct model *model, int connection, const struct wire_rpc *rpc,
                         struct buffer *output)
{
    struct wire_session_renew renew = {0};
    struct wire_session_end end = {0};
    struct wire_session_renew_result renewed;
    struct wire_session_end_result ended = {0};
    struct bytes body = rpc->body;
    bool is_end = rpc->method == WIRE_METHOD_session_end;
    enum error error =
        is_end ? wire_session_end_decode(&body, &end) : wire_session_renew_decode(&body, &renew);

    ASSERT(error == ERR_OK);
    struct model_session *session = model_session(model, is_end ? end.session : renew.session);
    if (session == NULL || !session->alive) {
        fail(output, rpc->id, ERR_SESSION_EXPIRED, (struct wire_failure){0});
        return;
    }
    bool fits = wire_result_begin(output, rpc->id);
    if (is_end) {
        model_end_session(model, session);
        fits = fits && wire_session_end_result_encode(&ended, output);
    } else {
        session->deadline_ms = model->now_ms + session->ttl_ms;
        session->notify = connection;
        renewed = (struct wire_session_renew_result){.attempt = renew.attempt};
        fits = fits && wire_session_renew_result_encode(&renewed, output);
    }
    ASSERT(fits);
}

static void get(struct model *model, const struct wire_rpc *rpc, struct buffer *output)
{
    struct wire_get request;
    struct bytes body = rpc->body;
    enum error error = wire_get_decode(&body, &request);

    ASSERT(error == ERR_OK);
    const struct model_key *key = model_key(model, request.key);
    if (key->revision == 0) {
        fail(output, rpc->id, ERR_NOT_FOUND, (struct wire_failure){0});
        return;
    }
    struct wire_get_result result = {.value = bytes_of(key->value, key->value_size),
                                     .revision = key->revision};
    bool fits = wire_result_begin(output, rpc->id) && wire_get_result_encode(&result, output);
    ASSERT(fits);
}

/* --- Asking a node --------------------------------------------------------------------------- */

static void hello(const struct model *model, int node, const struct wire_rpc *rpc,
                  struct buffer *output)
{
    struct bytes none = bytes_of("", 0);
    bool led = model->leader >= 0;
    struct wire_hello_result result = {.version = WIRE_VERSION,
                                       .cluster = bytes_of_text("test"),
                                       .node = bytes_of_text(names[node]),
                                       .leader = led ? bytes_of_text(names[model->leader]) : none,
                                       .leader_client =
                                           led ? bytes_of_text(addresses[model->leader]) : none,
                                       .ttl_floor_ms = 500,
                                       .clock_rate_ppm = 10000,
                                       .margin_ms = 100,
                                       .frame_size_max = WIRE_FRAME_SIZE_MAX,
                                       .passes_on = model->passes_on,
                                       .deadlines = !model->is_old};
    bool fits = wire_result_begin(output, rpc->id) && wire_hello_result_encode(&result, output);
    ASSERT(fits);
}

static void status(const struct model *model, int node, const struct wire_rpc *rpc,
                   struct buffer *output)
{
    struct bytes none = bytes_of("", 0);
    bool led = model->leader >= 0;
    struct wire_status_result result = {
        .cluster = bytes_of_text("test"),
        .node = bytes_of_text(names[node]),
        .role = bytes_of_text(model->leader == node ? "leader" : "follower"),
        .leader = led ? bytes_of_text(names[model->leader]) : none,
        .leader_client = led ? bytes_of_text(addresses[model->leader]) : none,
        .applied = model->applied_count,
        .members = {.raw = none, .count = 0}};
    bool fits = wire_result_begin(output, rpc->id) && wire_status_result_encode(&result, output);
    ASSERT(fits);
}

static void write_request(struct model *model, int connection, const struct wire_rpc *rpc,
                          struct buffer *output)
{
    struct model_request request = {0};

    if (decode_write(rpc, &request) != ERR_OK) {
        fail(output, rpc->id, ERR_MALFORMED, (struct wire_failure){0});
    } else if (request.session != 0) {
        write_in_session(model, connection, rpc, &request, output);
    } else {
        write_alone(model, rpc, &request, output);
    }
}

static void not_leader(const struct model *model, const struct wire_rpc *rpc, struct buffer *output)
{
    struct wire_failure failure = {.retry_after_ms = 30};

    if (model->leader >= 0) {
        failure.leader = bytes_of_text(names[model->leader]);
        failure.leader_client = bytes_of_text(addresses[model->leader]);
    }
    fail(output, rpc->id, ERR_NOT_LEADER, failure);
}

/* The one member there is to remove. */
static void remove_member(struct model *model, const struct wire_rpc *rpc, struct buffer *output)
{
    const struct wire_member_remove_result result = {.configuration = 1};
    uint8_t memory[64];
    struct buffer body = buffer_of(memory, sizeof(memory));
    bool fits = wire_member_remove_result_encode(&result, &body);

    ASSERT(fits);
    model->removal_count++;
    if (model->removal_count > 1) {
        fail(output, rpc->id, ERR_NOT_FOUND, (struct wire_failure){0});
        return;
    }
    succeed(output, rpc->id, buffer_bytes(&body));
}

/* It does not lead, and asks the node that does; the client is told which one that is. */
static bool is_passed_on(struct model *model, int connection, struct buffer *output)
{
    if (!model->passes_on || model->leader < 0) {
        return false;
    }
    ASSERT(connection < MODEL_CONNECTION_COUNT);
    if (model->told[connection] != model->leader) {
        const struct wire_leader_is notice = {
            .leader = bytes_of_text(names[model->leader]),
            .leader_client = bytes_of_text(addresses[model->leader]),
        };
        bool fits = wire_notice_begin(output, WIRE_NOTICE_leader_is) &&
                    wire_leader_is_encode(&notice, output);

        ASSERT(fits);
        model->told[connection] = model->leader;
    }
    model->passed_count++;
    return true;
}

static void answer(struct model *model, int node, int connection, const struct wire_rpc *rpc,
                   struct buffer *output)
{
    if (rpc->method == WIRE_METHOD_put || rpc->method == WIRE_METHOD_get) {
        model->within_ms = rpc->within_ms;
    }
    if (rpc->method == WIRE_METHOD_hello && model->denies[node]) {
        fail(output, rpc->id, ERR_AUTH, (struct wire_failure){0});
    } else if (model->denies[node]) {
        return; /* A node hangs up behind that answer. */
    } else if (rpc->method == WIRE_METHOD_hello) {
        ASSERT(connection < MODEL_CONNECTION_COUNT);
        model->told[connection] = -1;
        hello(model, node, rpc, output);
    } else if (rpc->method == WIRE_METHOD_status) {
        status(model, node, rpc, output);
    } else if (model->leader != node && !is_passed_on(model, connection, output)) {
        not_leader(model, rpc, output);
    } else if (model->is_late && rpc->within_ms != WIRE_WITHIN_NONE) {
        fail(output, rpc->id, ERR_TIMEOUT, (struct wire_failure){.rejected = true});
    } else if (model->refuses) {
        fail(output, rpc->id, model->refusal,
             (struct wire_failure){.retry_after_ms = model->retry_after_ms});
    } else if (rpc->method == WIRE_METHOD_session_open) {
        open_session(model, connection, rpc, output);
    } else if (rpc->method == WIRE_METHOD_session_renew || rpc->method == WIRE_METHOD_session_end) {
        renew_or_end(model, connection, rpc, output);
    } else if (rpc->method == WIRE_METHOD_election_show) {
        struct bytes params = rpc->body;
        enum error error = wire_election_show_decode(&params, &model->show);

        ASSERT(error == ERR_OK); /* And holds it for ever. */
        model->show_count++;
    } else if (rpc->method == WIRE_METHOD_get) {
        get(model, rpc, output);
    } else if (rpc->method == WIRE_METHOD_member_remove) {
        remove_member(model, rpc, output);
    } else {
        write_request(model, connection, rpc, output);
    }
}

void model_receive(struct model *model, int node, int connection, struct bytes *input,
                   struct buffer *output)
{
    struct wire_rpc rpc;

    while (wire_rpc_next(input, &rpc) == ERR_OK) {
        ASSERT(rpc.type == WIRE_REQUEST);
        if (!model->silent || rpc.method == WIRE_METHOD_hello) {
            answer(model, node, connection, &rpc, output);
        }
    }
}
