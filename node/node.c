/* node/node.c: one node, from opening to stopping; the life of a request is node_turn(). */
#include "node/node.h"

#include "base/assert.h"
#include "node/internal.h"
#include "node/promise.h"
#include "node/recovery.h"
#include "node/refounding.h"

_Static_assert((int)NODE_MEMBER_COUNT_MAX == (int)RAFT_MEMBER_COUNT_MAX, "all members vote");

/* --- Memory ----------------------------------------------------------------------------------- */

/* Sizes of log and raft do not depend on which cluster it is, or how large. */
static void component_sizes(const struct node_options *options, size_t *log_size, size_t *raft_size)
{
    const struct identity identity = {.self = 1};
    struct log_options log_options;
    struct raft_options raft_options;

    recovery_log_options(options, &identity, &log_options);
    recovery_raft_options(options, &identity, &raft_options);
    *log_size = log_memory_size(&log_options) + DISK_ALIGNMENT;
    *raft_size = raft_memory_size(&raft_options) + ARENA_ALIGNMENT;
}

size_t node_memory_size(const struct node_options *options)
{
    size_t log_size = 0;
    size_t raft_size = 0;

    ASSERT(node_options_problem(options) == NULL);
    component_sizes(options, &log_size, &raft_size);
    return arena_cost(1, sizeof(struct node)) +
           arena_cost(options->connection_count_max, sizeof(struct connection)) +
           arena_cost(1, WIRE_FRAME_SIZE_MAX) + arena_cost(RENEWAL_ENTRY_COUNT_MAX, 8) +
           requests_memory_size(options) + renewals_memory_size(options) +
           reads_memory_size(options) + observers_memory_size() + sessions_memory_size(options) +
           passing_memory_size() + watches_memory_size(options) + machine_memory_size() +
           waiting_memory_size(options) + arena_cost(1, snapshots_memory_size() + DISK_ALIGNMENT) +
           arena_cost(1, log_size + DISK_ALIGNMENT) + arena_cost(1, raft_size) + ARENA_ALIGNMENT;
}

static void take_memory(struct node *node, struct arena *arena)
{
    uint32_t connection_count = node->options.connection_count_max;
    size_t log_size = 0;
    size_t raft_size = 0;

    component_sizes(&node->options, &log_size, &raft_size);
    node->connections = arena_take(arena, connection_count, sizeof(struct connection));
    memset(node->connections, 0, connection_count * sizeof(struct connection));
    node->scratch = arena_take(arena, 1, WIRE_FRAME_SIZE_MAX);
    node->renewal_params = arena_take(arena, RENEWAL_ENTRY_COUNT_MAX, 8);
    requests_open(node, arena);
    renewals_open(node, arena);
    reads_open(node, arena);
    observers_open(node, arena);
    waiting_open(node, arena);
    sessions_open(node, arena);
    passing_open(node, arena);
    node->machine = machine_open(arena, node->table);
    watches_open(node, arena);
    arena_init(&node->snapshot_arena,
               arena_take_aligned(arena, snapshots_memory_size(), DISK_ALIGNMENT),
               snapshots_memory_size());
    node->log_memory = arena_take_aligned(arena, log_size, DISK_ALIGNMENT);
    node->log_memory_size = log_size;
    node->raft_memory = arena_take(arena, 1, raft_size);
    node->raft_memory_size = raft_size;
}

/* --- Opening --------------------------------------------------------------------------------- */

static void copy_name(char to[NODE_NAME_SIZE_MAX + 1], const char *name)
{
    size_t size = strlen(name);

    ASSERT_VALUES(size <= NODE_NAME_SIZE_MAX, size, NODE_NAME_SIZE_MAX);
    memset(to, 0, NODE_NAME_SIZE_MAX + 1);
    memcpy(to, name, size + 1);
}

/* An empty disk: another node than any before, and known as that before it speaks. */
static enum error mint_identity(struct node *node)
{
    copy_name(node->identity.name, node->options.name);
    while (node->identity.incarnation <= NODE_MEMBER_COUNT_MAX) { /* Those are ids, 0 is none. */
        world_entropy(node->world, &node->identity.incarnation, sizeof(uint64_t));
    }
    enum error error = identity_save(node->disk, &node->identity);

    if (error != ERR_OK) {
        node_fail(node, error_text(error), "writing the file identity",
                  "check that the data folder can be written to");
    }
    return error;
}

static enum error finish_recovery(struct node *node)
{
    enum error error = refounding_finish(node->disk);

    if (error == ERR_NO_SPACE || error == ERR_IO) {
        node_fail(node, error_text(error), "completing a recovery, by the file refounded",
                  error == ERR_NO_SPACE ? "make room on the disk and start again"
                                        : "check the disk and start again");
    } else if (error != ERR_OK) {
        node_fail(node, error_text(error), "the file refounded, of a recovery that was cut off",
                  "keep the data folder, and bring the node back with an empty one; if it was the "
                  "last, run `holdfastd recover` on another node's");
    }
    return error;
}

static enum error open_identity(struct node *node)
{
    enum error error = finish_recovery(node);

    if (error != ERR_OK) {
        return error;
    }
    error = identity_load(node->disk, &node->identity);
    if (error == ERR_MISSING) {
        node->identity = (struct identity){0};
        return mint_identity(node);
    }
    if (error != ERR_OK) {
        node_fail(node, error_text(error), "reading the file identity",
                  "keep the data folder, and bring the node back with an empty one");
        return error;
    }
    if (!bytes_equal(bytes_of_text(node->identity.name), bytes_of_text(node->options.name))) {
        char memory[NODE_NAME_SIZE_MAX + 64];
        struct text what;

        text_init(&what, memory, sizeof(memory));
        text_add(&what, "the data folder belongs to node ");
        text_add(&what, node->identity.name);
        node_fail(node, what.data, "the file identity", "check --name and --data");
        return ERR_WRONG_NODE;
    }
    return ERR_OK;
}

/* Before any promise is given. */
static enum error open_promise(struct node *node)
{
    enum error error = promise_settle(node->disk, node->options.promise_ms, &node->promise_wait_ms);

    if (error != ERR_OK) {
        node_fail(node, error_text(error), "the file promise",
                  "check that the data folder can be read and written to");
    }
    return error;
}

static void log_start(struct node *node)
{
    struct line line;

    line_begin(&line, "start");
    line_add(&line, "members", node->formation.members);
    line_add_u64(&line, "formed", node->identity.formed ? 1 : 0);
    line_add_u64(&line, "memory_bytes_max", node_memory_size(&node->options));
    line_add_u64(&line, "read_lease_ms", node->options.promise_ms);
    line_add_u64(&line, "promised_ms", node->promise_wait_ms);
    line_add_u64(&line, "connections_max", node->options.connection_count_max);
    line_add_u64(&line, "sessions_max", node->options.session_count_max);
    line_add_u64(&line, "requests_max", node->options.request_count_max);
    line_add_u64(&line, "window_bytes", node->options.window_size);
    line_add_u64(&line, "log_bytes_max",
                 (uint64_t)node->options.segment_size * node->options.segment_count_max);
    line_write(node, WORLD_INFO, &line);
}

/* The seams are parameters: there is no other way for them to come in.
 * NOLINTNEXTLINE(readability-function-size) */
enum error node_open(struct node **node, struct arena *arena, const struct node_options *options,
                     struct world *world, struct disk *disk, struct table *table, uint64_t now_ms,
                     const char **problem)
{
    *node = NULL;
    *problem = node_options_problem(options);
    if (*problem != NULL) {
        return ERR_INVALID;
    }
    struct node *opened = arena_take(arena, 1, sizeof(*opened));

    memset(opened, 0, sizeof(*opened));
    opened->options = *options;
    opened->world = world;
    opened->disk = disk;
    opened->table = table;
    opened->now_ms = now_ms;
    opened->wake_ms = now_ms;
    opened->applier.fetch_owner = FETCH_FREE;
    cluster_time_init(&opened->time, options->election_ms_min / 2, now_ms);
    take_memory(opened, arena);
    places_open(opened);
    formation_open(opened);

    enum error error = open_identity(opened);

    if (error == ERR_OK) {
        error = backing_open(opened);
    }
    if (error == ERR_OK) {
        error = open_promise(opened);
    }
    if (error == ERR_OK) {
        log_start(opened);
        opened->committed_index = machine_applied_index(opened->machine);
    }
    if (error == ERR_OK && opened->identity.formed) {
        error = recovery_run(opened);
    }
    if (error != ERR_OK) {
        ASSERT(opened->problem != NULL);
        *problem = opened->problem;
        return error;
    }
    *node = opened;
    return ERR_OK;
}

/* --- One turn --------------------------------------------------------------------------------- */

static void begin_turn(struct node *node, uint64_t now_ms)
{
    ASSERT_VALUES(now_ms >= node->now_ms, now_ms, node->now_ms);
    node->now_ms = now_ms;
    node->lamport++;
    if (cluster_time_turn(&node->time, now_ms)) {
        /* Promises are counted by the clock that has just jumped: those of before are not. */
        raft_doubt_promises(node->raft, now_ms);
    }
}

static void take_completion(struct node *node, const struct disk_completion *completion)
{
    ASSERT(node->snapshots != NULL);
    if (snapshots_complete(node->snapshots, completion)) {
        return;
    }
    ASSERT(node->log != NULL);
    bool is_ours = log_complete(node->log, completion);

    ASSERT_VALUES(is_ours, completion->tag, completion->error);
    applier_fetched(node);
}

static bool other_voter_exists(const struct node *node)
{
    const struct raft_configuration *present = raft_configuration(node->raft);

    for (uint32_t i = 0; i < present->member_count; i++) {
        if ((present->members[i].parts & RAFT_PART_VOTER) != 0 &&
            present->members[i].id != node->identity.self) {
            return true;
        }
    }
    return false;
}

static void begin_stopping(struct node *node)
{
    struct line line;

    if (node->is_stopping) {
        return;
    }
    node->is_stopping = true;
    node->stop_ms = node->now_ms + node->options.election_ms_max + STOP_EXTRA_MS;
    if (node->raft != NULL) {
        node->stop_awaits_leader = node_leads(node) && other_voter_exists(node);
        raft_resign(node->raft, node->now_ms);
        node_refresh_status(node);
        snapshots_stop(node->snapshots);
    }
    line_begin(&line, "stopping");
    line_write(node, WORLD_INFO, &line);
}

static void describe_problem(struct node *node, const char *what, const char *where,
                             const char *advice)
{
    struct text text;

    text_init(&text, node->problem_text, sizeof(node->problem_text));
    text_add(&text, where);
    text_add(&text, ": ");
    text_add(&text, what);
    text_add(&text, ": ");
    text_add(&text, advice);
    ASSERT(!text.truncated);
}

void node_fail(struct node *node, const char *what, const char *where, const char *advice)
{
    if (node->problem == NULL) {
        describe_problem(node, what, where, advice);
        node->problem = node->problem_text;
    }
}

void node_retire(struct node *node, const char *what, const char *where, const char *advice)
{
    if (node->problem == NULL && !node->retires) {
        describe_problem(node, what, where, advice);
        node->retires = true;
        begin_stopping(node);
    }
}

static void take_event(struct node *node, struct node_event *event)
{
    switch (event->kind) {
    case NODE_CLIENT_OPENED:
    case NODE_CLIENT_DATA:
    case NODE_CLIENT_CLOSED:
        clients_take(node, event);
        return;
    case NODE_PEER_OPENED:
    case NODE_PEER_DATA:
    case NODE_PEER_CLOSED:
        peers_take_connection(node, event);
        return;
    case NODE_LINK_UP:
    case NODE_LINK_DATA:
    case NODE_LINK_DOWN:
        peers_take_link(node, event);
        return;
    case NODE_DISK_DONE:
        return; /* Taken before all others: it makes room. */
    case NODE_DISK_SPACE:
        disk_space_take(node, event->free_size);
        return;
    case NODE_STOP:
        begin_stopping(node);
        return;
    }
    UNREACHABLE();
}

static void take_events(struct node *node, struct node_event *events, uint32_t event_count)
{
    for (uint32_t i = 0; i < event_count; i++) {
        if (events[i].kind == NODE_DISK_DONE) {
            take_completion(node, &events[i].completion);
        }
    }
    if (node->log != NULL) {
        node_refresh_room(node);
        node_refresh_noop(node);
    }
    for (uint32_t i = 0; i < event_count && node->problem == NULL; i++) {
        take_event(node, &events[i]);
    }
}

bool node_table_has_failed(struct node *node)
{
    enum error error = table_error(node->table);

    if (error == ERR_OK) {
        return false;
    }
    node_fail(
        node, error_text(error), "the table",
        "check the disk and start again: the table is built again from a snapshot and the log");
    ASSERT(node->problem != NULL);
    return true;
}

void node_fail_log(struct node *node, enum error error)
{
    ASSERT(error != ERR_OK);
    node_fail(node, error_text(error), "writing the log",
              error == ERR_FULL
                  ? "all segments of the log are used: raise max-segments and start again: the "
                    "log is kept"
                  : "check the disk and start again: the log is recovered from what it holds");
}

static void look_for_failures(struct node *node)
{
    if (node_table_has_failed(node)) {
        return;
    }
    if (node->log != NULL && log_error(node->log) != ERR_OK) {
        node_fail_log(node, log_error(node->log));
    }
}

/* Leadership is handed over, and another has it, or the time for that is up; and no write is under
 * way. */
static bool may_stop(const struct node *node)
{
    if (node->raft == NULL) {
        return true;
    }
    if (!snapshots_are_idle(node->snapshots)) {
        return false;
    }
    if (node->log == NULL) {
        return true;
    }
    bool is_settled = log_durable_ticket(node->log) >= node->held.last_ticket &&
                      node->held.head == node->held.tail &&
                      !log_counters(node->log).write_in_flight;
    bool is_applied = node_state_is_away(node) ||
                      (node->reads.head == node->reads.tail &&
                       machine_applied_index(node->machine) >= node->status.commit_index);
    bool is_handed_over = !node_leads(node) && node->requests.count == 0 && is_applied &&
                          node->passing.count == 0 &&
                          (!node->stop_awaits_leader || node->status.leader != 0);

    return is_settled && (is_handed_over || node->now_ms >= node->stop_ms);
}

static void stop(struct node *node)
{
    struct line line;

    requests_give_up(node);
    changes_give_up(node);
    passing_give_up(node);
    renewals_leadership_lost(node);
    reads_leadership_lost(node);
    observers_leadership_lost(node);
    waiting_leadership_lost(node);
    if (node->raft != NULL && !node_state_is_away(node)) {
        do {
            reads_begin(node);
            reads_serve(node);
        } while (node->reads.has_more && node->problem == NULL);
        if (node->status.durable_index >= machine_applied_index(node->machine)) {
            machine_commit(node->machine);
        }
        if (node_table_has_failed(node)) {
            return; /* What was not committed must not pass for a table that is to be kept. */
        }
    }
    line_begin(&line, "stopped");
    line_add_u64(&line, "applied", machine_applied_index(node->machine));
    line_write(node, WORLD_INFO, &line);
    if (node->retires) {
        node->problem = node->problem_text;
    } else {
        node->is_stopped = true;
    }
}

void node_turn(struct node *node, struct node_event *events, uint32_t event_count, uint64_t now_ms)
{
    begin_turn(node, now_ms);
    for (uint32_t i = 0; i < event_count; i++) {
        events[i].consumed = 0;
        events[i].again = false;
    }
    if (node->problem != NULL || node->is_stopped) {
        node->wake_ms = FAR_FUTURE_MS;
        return;
    }
    take_events(node, events, event_count);
    if (node->problem == NULL) {
        formation_tick(node);
    }
    if (node->problem == NULL) {
        members_tick(node);
    }
    if (node->raft != NULL && node->problem == NULL) {
        turn_advance(node);
    }
    if (node->raft != NULL && node->problem == NULL) {
        passing_tick(node);
    }
    look_for_failures(node);
    if (node->is_stopping && node->problem == NULL && may_stop(node)) {
        stop(node);
    }
    turn_plan(node);
}

uint64_t node_wake_ms(const struct node *node)
{
    return node->wake_ms;
}

bool node_is_stopped(const struct node *node)
{
    return node->is_stopped;
}

const char *node_problem(const struct node *node)
{
    return node->problem;
}

bool node_is_removed(const struct node *node)
{
    return node->is_removed;
}
