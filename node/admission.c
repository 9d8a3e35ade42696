/* node/admission.c: which requests go further. What is refused here is surely not applied, and a
 * refusal costs less than what it refuses. Limits are checked here and never again. */
#include "base/assert.h"
#include "node/internal.h"

/* What admission must know of a request. */
struct view {
    uint64_t session;
    uint64_t sequence;
    uint64_t attempt;
    uint32_t ttl_ms;
};

/* Functions that decode one kind of params: decoding checks every limit of wire/messages.def. */
#define VIEW_SEQUENCED(method)                                                                     \
    static enum error view_##method(struct bytes params, struct view *view)                        \
    {                                                                                              \
        struct wire_##method decoded;                                                              \
        enum error error = wire_##method##_decode(&params, &decoded);                              \
                                                                                                   \
        if (error == ERR_OK) {                                                                     \
            view->session = decoded.session;                                                       \
            view->sequence = decoded.sequence;                                                     \
        }                                                                                          \
        return error;                                                                              \
    }

#define VIEW_PLAIN(method)                                                                         \
    static enum error view_##method(struct bytes params)                                           \
    {                                                                                              \
        struct wire_##method decoded;                                                              \
                                                                                                   \
        return wire_##method##_decode(&params, &decoded);                                          \
    }

VIEW_SEQUENCED(put)
VIEW_SEQUENCED(delete)
VIEW_SEQUENCED(cas)
VIEW_SEQUENCED(lock_acquire)
VIEW_SEQUENCED(lock_release)
VIEW_PLAIN(status)
VIEW_PLAIN(get)
VIEW_PLAIN(list)
VIEW_PLAIN(session_list)
VIEW_PLAIN(session_end)
VIEW_PLAIN(lock_show)
VIEW_PLAIN(lock_list)
VIEW_PLAIN(lock_break)
VIEW_PLAIN(audit_list)
VIEW_PLAIN(member_add)
VIEW_PLAIN(member_remove)
VIEW_PLAIN(member_promote)
VIEW_PLAIN(leader_move)
VIEW_PLAIN(snapshot_open)
VIEW_PLAIN(snapshot_read)

static enum error view_session_open(struct bytes params, struct view *view)
{
    struct wire_session_open decoded;
    enum error error = wire_session_open_decode(&params, &decoded);

    if (error == ERR_OK) {
        view->ttl_ms = decoded.ttl_ms;
    }
    return error;
}

static enum error view_session_renew(struct bytes params, struct view *view)
{
    struct wire_session_renew decoded;
    enum error error = wire_session_renew_decode(&params, &decoded);

    if (error == ERR_OK) {
        view->session = decoded.session;
        view->attempt = decoded.attempt;
    }
    return error;
}

static enum error decode(const struct wire_rpc *rpc, struct view *view)
{
    *view = (struct view){0};
    switch (rpc->method) {
    case WIRE_METHOD_put:
        return view_put(rpc->body, view);
    case WIRE_METHOD_delete:
        return view_delete(rpc->body, view);
    case WIRE_METHOD_cas:
        return view_cas(rpc->body, view);
    case WIRE_METHOD_lock_acquire:
        return view_lock_acquire(rpc->body, view);
    case WIRE_METHOD_lock_release:
        return view_lock_release(rpc->body, view);
    case WIRE_METHOD_session_open:
        return view_session_open(rpc->body, view);
    case WIRE_METHOD_session_renew:
        return view_session_renew(rpc->body, view);
    case WIRE_METHOD_session_end:
        return view_session_end(rpc->body);
    case WIRE_METHOD_status:
        return view_status(rpc->body);
    case WIRE_METHOD_get:
        return view_get(rpc->body);
    case WIRE_METHOD_list:
        return view_list(rpc->body);
    case WIRE_METHOD_session_list:
        return view_session_list(rpc->body);
    case WIRE_METHOD_lock_show:
        return view_lock_show(rpc->body);
    case WIRE_METHOD_lock_list:
        return view_lock_list(rpc->body);
    case WIRE_METHOD_lock_break:
        return view_lock_break(rpc->body);
    case WIRE_METHOD_audit_list:
        return view_audit_list(rpc->body);
    case WIRE_METHOD_member_add:
        return view_member_add(rpc->body);
    case WIRE_METHOD_member_remove:
        return view_member_remove(rpc->body);
    case WIRE_METHOD_member_promote:
        return view_member_promote(rpc->body);
    case WIRE_METHOD_leader_move:
        return view_leader_move(rpc->body);
    case WIRE_METHOD_snapshot_open:
        return view_snapshot_open(rpc->body);
    case WIRE_METHOD_snapshot_read:
        return view_snapshot_read(rpc->body);
    case WIRE_METHOD_NONE:
    case WIRE_METHOD_hello:
    case WIRE_NOTICE_granted:
    case WIRE_NOTICE_session_ended:
    case WIRE_NOTICE_revoked:
        return ERR_UNKNOWN_METHOD;
    }
    UNREACHABLE();
}

static bool is_sequenced(enum wire_method method)
{
    return method == WIRE_METHOD_put || method == WIRE_METHOD_delete || method == WIRE_METHOD_cas ||
           method == WIRE_METHOD_lock_acquire || method == WIRE_METHOD_lock_release;
}

static bool is_change(enum wire_method method)
{
    return method == WIRE_METHOD_member_add || method == WIRE_METHOD_member_remove ||
           method == WIRE_METHOD_member_promote || method == WIRE_METHOD_leader_move;
}

/* Session and sequence come together or not at all; locks need both. */
static bool numbers_are_valid(enum wire_method method, const struct view *view)
{
    if (!is_sequenced(method)) {
        return true;
    }
    if (method == WIRE_METHOD_lock_acquire || method == WIRE_METHOD_lock_release) {
        return view->session != 0 && view->sequence != 0;
    }
    return (view->session == 0) == (view->sequence == 0);
}

static void refuse_not_formed(struct node *node, const struct origin *origin)
{
    char memory[256];
    struct text text;
    struct wire_failure failure = {.code = ERR_NOT_FORMED, .retry_after_ms = FORMATION_RETRY_MS};

    text_init(&text, memory, sizeof(memory));
    formation_describe(node, &text);
    failure.text = bytes_of(text.data, text.size);
    answer_failure(node, origin, &failure);
}

/* Until the first session that is open now may have expired. */
static uint32_t session_retry_ms(const struct node *node)
{
    const struct applier *applier = &node->applier;
    uint64_t clock_ms = cluster_time_now(&node->time);

    if (!applier->deadline_is_known || applier->deadline_ms <= clock_ms) {
        return requests_retry_ms(node);
    }
    return (uint32_t)size_min(applier->deadline_ms - clock_ms, RETRY_MS_MAX);
}

static bool refuse_session_open(struct node *node, const struct origin *origin, uint32_t ttl_ms)
{
    uint64_t open_count = lease_session_count(node->table) + node->requests.open_count;
    uint32_t floor_ms = ttl_floor_ms(node);

    if (node_table_has_failed(node)) {
        return true;
    }
    if (open_count >= node->options.session_count_max) {
        answer_retry(node, origin, ERR_OVERLOADED, session_retry_ms(node));
        return true;
    }
    if (ttl_ms < floor_ms) {
        struct wire_failure failure = {.code = ERR_TTL_TOO_SHORT, .floor_ms = floor_ms};

        answer_failure(node, origin, &failure);
        return true;
    }
    if (ttl_ms > TTL_MS_MAX) {
        answer_error(node, origin, ERR_MALFORMED, "a TTL is at most 24 hours");
        return true;
    }
    return false;
}

static void propose(struct node *node, const struct origin *origin, const struct wire_rpc *rpc,
                    const struct view *view)
{
    raft_index index = 0;
    const struct envelope envelope = {
        .method = (uint8_t)rpc->method,
        .log_ms = cluster_time_stamp(&node->time),
        .session = is_sequenced(rpc->method) ? view->session : 0,
        .sequence = view->sequence,
        .params = rpc->body,
    };
    enum error error = requests_propose(node, &envelope, &index);

    if (error != ERR_OK) {
        answer_not_proposed(node, origin, error);
        return;
    }
    struct pending *pending = requests_add(node, index);

    pending->method = (uint8_t)rpc->method;
    pending->origin = *origin;
    pending->session = envelope.session;
    node->requests.open_count += rpc->method == WIRE_METHOD_session_open ? 1 : 0;
}

/* A request that is repeated is answered from what is kept, and costs no entry. True too when the
 * table has failed: then there is no answer. */
static bool answer_repeated(struct node *node, const struct origin *origin, const struct view *view)
{
    struct machine_result result;

    if (view->session == 0 || view->sequence == 0) {
        return false;
    }
    bool is_repeated = machine_lookup(node->machine, view->session, view->sequence, &result);

    if (node_table_has_failed(node)) {
        return true;
    }
    if (!is_repeated) {
        return false;
    }
    sessions_note(node, view->session, origin);
    answer_machine(node, origin, &result);
    return true;
}

/* Whether this node may serve anything but hello and status now. */
static bool refuse_all(struct node *node, const struct origin *origin)
{
    if (node->is_stopping && (node_leads(node) || node->status.leader == 0)) {
        answer_retry(node, origin, ERR_STOPPING, 0);
        return true;
    }
    if (node->raft == NULL) {
        refuse_not_formed(node, origin);
        return true;
    }
    if (!node_leads(node)) {
        answer_not_leader(node, origin);
        return true;
    }
    return false;
}

static void admit(struct node *node, const struct origin *origin, const struct wire_rpc *rpc,
                  const struct view *view)
{
    if (machine_is_read(rpc->method)) {
        reads_add(node, origin, rpc->method, rpc->body);
        return;
    }
    if (rpc->method == WIRE_METHOD_session_renew) {
        renewals_add(node, origin, view->session, view->attempt);
        return;
    }
    if (is_change(rpc->method)) {
        changes_take(node, origin, rpc);
        return;
    }
    if (rpc->method == WIRE_METHOD_snapshot_open) {
        backups_open(node, origin, rpc->body);
        return;
    }
    if (rpc->method == WIRE_METHOD_snapshot_read) {
        backups_read(node, origin, rpc->body);
        return;
    }
    ASSERT_VALUES(machine_is_write(rpc->method), rpc->method, view->session);
    if (answer_repeated(node, origin, view)) {
        return;
    }
    if (disk_space_refuses(node, origin, rpc->method)) {
        return;
    }
    if (!requests_have_room(node)) {
        answer_retry(node, origin, ERR_OVERLOADED, requests_retry_ms(node));
        return;
    }
    if (rpc->method == WIRE_METHOD_session_open &&
        refuse_session_open(node, origin, view->ttl_ms)) {
        return;
    }
    propose(node, origin, rpc, view);
}

/* True when this client asks for more than its rate. */
static bool refuse_by_rate(struct node *node, const struct origin *origin, enum wire_method method)
{
    const struct bucket_limits limits = {.rate = node->options.client_rate,
                                         .burst = node->options.client_burst};
    uint32_t retry_ms;

    if (limits.rate == 0 || !node_leads(node) || waiting_lane_of(method) == LANE_NONE ||
        bucket_take(&node->connections[origin->connection].bucket, &limits, node->now_ms,
                    &retry_ms)) {
        return false;
    }
    node->waiting.limited_count++;
    answer_retry(node, origin, ERR_RATE_LIMITED, retry_ms);
    return true;
}

/* What is refused here was not decoded beyond its envelope. */
void admission_take(struct node *node, const struct origin *origin, const struct wire_rpc *rpc)
{
    if (rpc->within_ms == 0) {
        waiting_answer_late(node, origin);
        return;
    }
    if (refuse_by_rate(node, origin, rpc->method)) {
        return;
    }
    if (waiting_is_needed(node, origin, rpc)) {
        waiting_take(node, origin, rpc);
        return;
    }
    admission_serve(node, origin, rpc);
}

void admission_serve(struct node *node, const struct origin *origin, const struct wire_rpc *rpc)
{
    struct view view;
    enum error error = decode(rpc, &view);

    if (error != ERR_OK) {
        /* The envelope was whole, so the connection is still in step. */
        answer_retry(node, origin, error == ERR_INCOMPLETE ? ERR_MALFORMED : error, 0);
        return;
    }
    if (!numbers_are_valid(rpc->method, &view)) {
        answer_error(node, origin, ERR_MALFORMED,
                     "a session and a sequence are given together, and count from 1");
        return;
    }
    if (rpc->method == WIRE_METHOD_status) {
        status_answer(node, origin);
        return;
    }
    if (!refuse_all(node, origin)) {
        admit(node, origin, rpc, &view);
    }
}
