/* node/admission.c: which requests go further. What is refused here is surely not applied, and a
 * refusal costs less than what it refuses. Limits are checked here and never again. */
#include "base/assert.h"
#include "node/internal.h"
#include "node/machine_transact.h"

/* What admission must know of a request. */
struct view {
    uint64_t session;
    uint64_t sequence;
    uint64_t attempt;
    uint64_t audit_next;
    uint32_t ttl_ms;
    const char *problem; /* With an error: what is wrong, when more is known. */
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

VIEW_SEQUENCED(delete)
VIEW_SEQUENCED(cas)
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
VIEW_PLAIN(watch)
VIEW_PLAIN(watch_cancel)
VIEW_PLAIN(watch_credit)

/* An election is held by one at a time, and has a name behind the byte that marks it. */
static bool election_is_valid(struct bytes name)
{
    return lease_is_election(name) && name.size > 1;
}

static enum error view_lock_acquire(struct bytes params, struct view *view)
{
    struct wire_lock_acquire decoded;
    enum error error = wire_lock_acquire_decode(&params, &decoded);

    if (error != ERR_OK) {
        return error;
    }
    if (lease_is_election(decoded.name) &&
        (!election_is_valid(decoded.name) || decoded.shared || decoded.permits != 0)) {
        return ERR_MALFORMED;
    }
    view->session = decoded.session;
    view->sequence = decoded.sequence;
    return ERR_OK;
}

static enum error view_election_proclaim(struct bytes params, struct view *view)
{
    struct wire_election_proclaim decoded;
    enum error error = wire_election_proclaim_decode(&params, &decoded);

    if (error != ERR_OK) {
        return error;
    }
    view->session = decoded.session;
    view->sequence = decoded.sequence;
    return election_is_valid(decoded.name) ? ERR_OK : ERR_MALFORMED;
}

static enum error view_election_show(struct bytes params)
{
    struct wire_election_show decoded;
    enum error error = wire_election_show_decode(&params, &decoded);

    return error != ERR_OK || election_is_valid(decoded.name) ? error : ERR_MALFORMED;
}

static enum error view_put(struct bytes params, struct view *view)
{
    struct wire_put decoded;
    enum error error = wire_put_decode(&params, &decoded);

    if (error != ERR_OK) {
        return error;
    }
    view->session = decoded.session;
    view->sequence = decoded.sequence;
    if (decoded.bind && decoded.session == 0) {
        view->problem = "a key is bound to the session of the request: give session and sequence";
        return ERR_MALFORMED;
    }
    return ERR_OK;
}

static enum error view_transact(struct bytes params, struct view *view)
{
    struct wire_transact decoded;
    enum error error = wire_transact_decode(&params, &decoded);

    if (error != ERR_OK) {
        return error;
    }
    view->session = decoded.session;
    view->sequence = decoded.sequence;
    return transact_check(&decoded, &view->problem);
}

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
        view->audit_next = decoded.audit_next;
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
    case WIRE_METHOD_election_proclaim:
        return view_election_proclaim(rpc->body, view);
    case WIRE_METHOD_election_show:
        return view_election_show(rpc->body);
    case WIRE_METHOD_transact:
        return view_transact(rpc->body, view);
    case WIRE_METHOD_watch:
        return view_watch(rpc->body);
    case WIRE_METHOD_watch_cancel:
        return view_watch_cancel(rpc->body);
    case WIRE_METHOD_watch_credit:
        return view_watch_credit(rpc->body);
    case WIRE_METHOD_NONE:
    case WIRE_METHOD_hello:
    case WIRE_NOTICE_granted:
    case WIRE_NOTICE_session_ended:
    case WIRE_NOTICE_revoked:
    case WIRE_NOTICE_leader_is:
    case WIRE_NOTICE_changed:
    case WIRE_NOTICE_watch_ended:
        return ERR_UNKNOWN_METHOD;
    }
    UNREACHABLE();
}

static bool needs_session(enum wire_method method)
{
    return method == WIRE_METHOD_lock_acquire || method == WIRE_METHOD_lock_release ||
           method == WIRE_METHOD_election_proclaim;
}

static bool is_sequenced(enum wire_method method)
{
    return method == WIRE_METHOD_put || method == WIRE_METHOD_delete || method == WIRE_METHOD_cas ||
           method == WIRE_METHOD_transact || needs_session(method);
}

bool admission_is_change(enum wire_method method)
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
    if (needs_session(method)) {
        return view->session != 0 && view->sequence != 0;
    }
    return (view->session == 0) == (view->sequence == 0);
}

void refuse_not_formed(struct node *node, const struct origin *origin)
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
    uint64_t clock_ms = cluster_time_now(&node->time);
    uint64_t due_ms = machine_due_ms(node->machine);

    if (due_ms == UINT64_MAX || due_ms <= clock_ms) {
        return requests_retry_ms(node);
    }
    return (uint32_t)size_min(due_ms - clock_ms, RETRY_MS_MAX);
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

/* Whether this node may serve anything but hello and status now. What it may not serve because
 * another node leads is passed on. */
static bool refuse_all(struct node *node, const struct origin *origin, const struct wire_rpc *rpc,
                       const struct view *view)
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
        passing_take(node, origin, rpc, view->session);
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
        const struct renewal renewal = {
            .origin = *origin,
            .session = view->session,
            .attempt = view->attempt,
            .audit_next = view->audit_next,
        };

        renewals_add(node, &renewal);
        return;
    }
    if (admission_is_change(rpc->method)) {
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

/* True when this client asks for more than its rate. What another node has passed on was counted
 * there. */
static bool refuse_by_rate(struct node *node, const struct origin *origin, enum wire_method method)
{
    const struct bucket_limits limits = {.rate = node->options.client_rate,
                                         .burst = node->options.client_burst};
    uint32_t retry_ms;

    if (limits.rate == 0 || passing_is_origin(node, origin) ||
        waiting_lane_of(method) == LANE_NONE ||
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
        error = error == ERR_INCOMPLETE ? ERR_MALFORMED : error;
        answer_error(node, origin, error, view.problem == NULL ? "" : view.problem);
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
    if (watches_are_asked(rpc->method)) { /* Of every node, not only of the leader. */
        watches_take(node, origin, rpc);
        return;
    }
    if (!refuse_all(node, origin, rpc, &view)) {
        admit(node, origin, rpc, &view);
    }
}
