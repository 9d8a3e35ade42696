/* node/waiting.c: lanes of flows of requests, in blocks of one size.
 *
 *     lane -> fair turns -> flow of a connection -> request -> block -> block -> ... */
#include "node/waiting.h"

#include "base/assert.h"
#include "node/internal.h"

enum { NO_BLOCK = UINT32_MAX, SCAN_COST = 64 };

/* --- Memory ----------------------------------------------------------------------------------- */

static uint32_t block_count_of(const struct node_options *options)
{
    return options->waiting_size / WAITING_BLOCK_SIZE;
}

size_t waiting_memory_size(const struct node_options *options)
{
    uint32_t block_count = block_count_of(options);
    uint32_t flow_count = options->connection_count_max;

    return arena_cost(block_count, WAITING_BLOCK_SIZE) + arena_cost(block_count, sizeof(uint32_t)) +
           arena_cost(block_count, sizeof(struct waiting_request)) +
           arena_cost(1, WIRE_FRAME_SIZE_MAX) +
           LANE_COUNT * (arena_cost(flow_count, sizeof(struct waiting_flow)) +
                         arena_cost(flow_count, sizeof(struct fair_flow)) +
                         arena_cost(flow_count, sizeof(uint32_t)));
}

static void lane_open(struct waiting_lane *lane, struct arena *arena, uint32_t flow_count,
                      uint32_t block_count_max)
{
    *lane = (struct waiting_lane){
        .fair = {.flows = arena_take(arena, flow_count, sizeof(struct fair_flow)),
                 .heap = arena_take(arena, flow_count, sizeof(uint32_t)),
                 .flow_count = flow_count},
        .flows = arena_take(arena, flow_count, sizeof(struct waiting_flow)),
        .block_count_max = block_count_max,
    };
    memset(lane->fair.flows, 0, flow_count * sizeof(struct fair_flow));
    memset(lane->flows, 0, flow_count * sizeof(struct waiting_flow));
}

void waiting_open(struct node *node, struct arena *arena)
{
    struct waiting *waiting = &node->waiting;
    uint32_t block_count = block_count_of(&node->options);
    uint32_t flow_count = node->options.connection_count_max;

    *waiting = (struct waiting){
        .memory = arena_take(arena, block_count, WAITING_BLOCK_SIZE),
        .links = arena_take(arena, block_count, sizeof(uint32_t)),
        .requests = arena_take(arena, block_count, sizeof(struct waiting_request)),
        .gathered = arena_take(arena, 1, WIRE_FRAME_SIZE_MAX),
        .block_count = block_count,
        .free_count = block_count,
        .uncommitted = {.low = node->options.uncommitted_size - node->options.uncommitted_size / 4,
                        .high = node->options.uncommitted_size},
    };
    for (uint32_t i = 0; i < block_count; i++) {
        waiting->links[i] = i + 1 < block_count ? i + 1 : NO_BLOCK;
    }
    /* One sixteenth is left for what no limit may refuse. */
    lane_open(&waiting->lanes[LANE_WRITES], arena, flow_count, block_count / 4 * 3);
    lane_open(&waiting->lanes[LANE_READS], arena, flow_count, block_count / 8);
    lane_open(&waiting->lanes[LANE_SCANS], arena, flow_count, block_count / 16);
}

static uint32_t block_take(struct waiting *waiting)
{
    uint32_t block = waiting->free_first;

    ASSERT_VALUES(waiting->free_count > 0 && block < waiting->block_count, block,
                  waiting->free_count);
    waiting->free_first = waiting->links[block];
    waiting->free_count--;
    return block;
}

static void block_free(struct waiting *waiting, uint32_t block)
{
    ASSERT_VALUES(waiting->free_count < waiting->block_count, block, waiting->free_count);
    waiting->links[block] = waiting->free_first;
    waiting->free_first = block;
    waiting->free_count++;
}

/* Of a request's params: one at least. */
static uint32_t blocks_of(size_t size)
{
    return (uint32_t)((size_max(size, 1) + WAITING_BLOCK_SIZE - 1) / WAITING_BLOCK_SIZE);
}

static uint8_t *memory_of(const struct waiting *waiting, uint32_t block)
{
    return waiting->memory + (size_t)block * WAITING_BLOCK_SIZE;
}

static uint32_t params_keep(struct waiting *waiting, struct bytes params)
{
    uint32_t first = block_take(waiting);
    uint32_t block = first;

    for (;;) {
        size_t size = size_min(params.size, WAITING_BLOCK_SIZE);

        memcpy(memory_of(waiting, block), params.data, size);
        params = bytes_skip(params, size);
        if (params.size == 0) {
            waiting->links[block] = NO_BLOCK;
            return first;
        }
        uint32_t next = block_take(waiting);

        waiting->links[block] = next;
        block = next;
    }
}

/* Borrowed until something else waits or is gathered. */
static struct bytes params_of(const struct waiting *waiting, uint32_t first)
{
    size_t size = waiting->requests[first].size;

    if (size <= WAITING_BLOCK_SIZE) {
        return bytes_of(memory_of(waiting, first), size);
    }
    size_t done = 0;

    for (uint32_t block = first; block != NO_BLOCK; block = waiting->links[block]) {
        size_t part = size_min(size - done, WAITING_BLOCK_SIZE);

        memcpy(waiting->gathered + done, memory_of(waiting, block), part);
        done += part;
    }
    ASSERT_VALUES(done == size, done, size);
    return bytes_of(waiting->gathered, size);
}

static void params_free(struct waiting *waiting, uint32_t first)
{
    uint32_t block = first;

    while (block != NO_BLOCK) {
        uint32_t next = waiting->links[block];

        block_free(waiting, block);
        block = next;
    }
}

/* --- Lanes and gates -------------------------------------------------------------------------- */

enum lane waiting_lane_of(enum wire_method method)
{
    switch (method) {
    case WIRE_METHOD_put:
    case WIRE_METHOD_delete:
    case WIRE_METHOD_cas:
    case WIRE_METHOD_lock_acquire:
    case WIRE_METHOD_session_open:
    case WIRE_METHOD_transact:
    case WIRE_METHOD_election_proclaim:
        return LANE_WRITES;
    case WIRE_METHOD_get:
    case WIRE_METHOD_lock_show:
    case WIRE_METHOD_election_show:
        return LANE_READS;
    case WIRE_METHOD_list:
    case WIRE_METHOD_session_list:
    case WIRE_METHOD_lock_list:
    case WIRE_METHOD_audit_list:
        return LANE_SCANS;
    case WIRE_METHOD_session_renew:
    case WIRE_METHOD_session_end:
    case WIRE_METHOD_lock_release:
    case WIRE_METHOD_lock_break:
    case WIRE_METHOD_status:
    case WIRE_METHOD_member_add:
    case WIRE_METHOD_member_remove:
    case WIRE_METHOD_member_promote:
    case WIRE_METHOD_leader_move:
    case WIRE_METHOD_snapshot_open:
    case WIRE_METHOD_snapshot_read:
    case WIRE_METHOD_NONE:
    case WIRE_METHOD_hello:
    case WIRE_NOTICE_granted:
    case WIRE_NOTICE_session_ended:
    case WIRE_NOTICE_revoked:
    case WIRE_NOTICE_changed:
    case WIRE_NOTICE_watch_ended:
    case WIRE_NOTICE_leader_is:
    case WIRE_METHOD_watch:
    case WIRE_METHOD_watch_cancel:
    case WIRE_METHOD_watch_credit:
        return LANE_NONE;
    }
    UNREACHABLE();
}

static bool gate_is_open(struct node *node, enum lane lane, size_t size)
{
    if (!node_may_stamp(node) || node_hands_over(node)) {
        return false;
    }
    switch (lane) {
    case LANE_WRITES: {
        bool is_full = watermark_note(&node->waiting.uncommitted, node->status.uncommitted_bytes);

        return !is_full && requests_have_room_behind(node, 0) &&
               requests_fit_uncommitted(node, size);
    }
    case LANE_READS:
        return reads_have_room(node, size);
    case LANE_SCANS:
        return reads_have_room(node, size) && node->reads.scan_count < SCAN_COUNT_MAX;
    case LANE_NONE:
        break;
    }
    UNREACHABLE();
}

/* It changes what a session has, and comes in the order in which its connection sent it. */
static bool is_in_order(enum wire_method method)
{
    return method == WIRE_METHOD_lock_release || method == WIRE_METHOD_session_end;
}

bool waiting_is_needed(struct node *node, const struct origin *origin, const struct wire_rpc *rpc)
{
    enum lane lane = waiting_lane_of(rpc->method);

    if (!node_leads(node)) {
        return false;
    }
    if (lane == LANE_NONE) {
        return is_in_order(rpc->method) &&
               node->waiting.lanes[LANE_WRITES].flows[origin->connection].block_count > 0;
    }
    return node->waiting.lanes[lane].fair.count > 0 || !gate_is_open(node, lane, rpc->body.size);
}

uint32_t waiting_retry_ms(const struct node *node, enum lane lane)
{
    const struct waiting_lane *of = &node->waiting.lanes[lane];
    uint32_t commit_ms = requests_retry_ms(node);
    uint64_t blocks = (uint64_t)of->block_count + 1;

    if (lane == LANE_WRITES) {
        blocks += node->status.uncommitted_bytes / WAITING_BLOCK_SIZE;
    }
    uint32_t time_ms = drain_time_ms(&of->drain, blocks, commit_ms, RETRY_MS_MAX);

    return lane == LANE_WRITES && commit_ms > time_ms ? commit_ms : time_ms;
}

/* --- Waiting ---------------------------------------------------------------------------------- */

/* Blocks that the lane serves in WAITING_MS_MAX, as far as that is known. */
static uint32_t limit_of(const struct waiting_lane *lane)
{
    uint64_t limit = lane->drain.rate * WAITING_MS_MAX / 1000;

    if (lane->drain.rate == 0 || limit >= lane->block_count_max) {
        return lane->block_count_max;
    }
    return (uint32_t)size_max(limit, size_min(WAITING_BLOCKS_MIN, lane->block_count_max));
}

static bool has_room(const struct node *node, enum lane number, const struct waiting_flow *flow,
                     uint32_t blocks)
{
    const struct waiting_lane *lane = &node->waiting.lanes[number];
    uint32_t limit = limit_of(lane);

    if (lane->block_count + blocks > lane->block_count_max ||
        (number == LANE_WRITES && !requests_have_room_behind(node, lane->count))) {
        return false;
    }
    if (flow->block_count == 0) {
        return lane->block_count < limit;
    }
    return lane->block_count + flow->block_count + blocks <= limit;
}

static void append(struct node *node, enum lane number, const struct waiting_request *request,
                   struct bytes params)
{
    struct waiting *waiting = &node->waiting;
    struct waiting_lane *lane = &waiting->lanes[number];
    uint32_t connection = request->origin.connection;
    struct waiting_flow *flow = &lane->flows[connection];
    uint32_t blocks = blocks_of(params.size);
    uint32_t first = params_keep(waiting, params);

    waiting->requests[first] = *request;
    if (lane->count == 0) {
        drain_note(&lane->drain, 0, node->now_ms);
    }
    if (flow->block_count == 0) {
        flow->first = first;
        fair_add(&lane->fair, connection);
    } else {
        waiting->requests[flow->last].next = first;
    }
    flow->last = first;
    flow->block_count += blocks;
    lane->block_count += blocks;
    lane->count++;
}

void waiting_take(struct node *node, const struct origin *origin, const struct wire_rpc *rpc)
{
    enum lane of_method = waiting_lane_of(rpc->method);
    enum lane number = of_method == LANE_NONE ? LANE_WRITES : of_method;
    const struct waiting_flow *flow = &node->waiting.lanes[number].flows[origin->connection];
    uint32_t blocks = blocks_of(rpc->body.size);
    const struct waiting_request request = {
        .origin = *origin,
        .deadline_ms = rpc->within_ms < FAR_FUTURE_MS - node->now_ms ? node->now_ms + rpc->within_ms
                                                                     : FAR_FUTURE_MS,
        .size = (uint32_t)rpc->body.size,
        .next = NO_BLOCK,
        .method = (uint8_t)rpc->method,
    };

    if (blocks > node->waiting.free_count ||
        (of_method != LANE_NONE && !has_room(node, number, flow, blocks))) {
        node->waiting.overloaded_count++;
        answer_retry(node, origin, ERR_OVERLOADED, waiting_retry_ms(node, number));
        return;
    }
    append(node, number, &request, rpc->body);
}

/* --- Going on --------------------------------------------------------------------------------- */

/* Takes the first request of the flow whose turn it is out of its lane; its blocks are still its
 * own. A dropped one costs its flow a block, as no turn is for nothing. */
static uint32_t pop(struct waiting *waiting, enum lane number, bool is_dropped)
{
    struct waiting_lane *lane = &waiting->lanes[number];
    struct waiting_flow *flow = &lane->flows[fair_first(&lane->fair)];
    uint32_t first = flow->first;
    uint32_t blocks = blocks_of(waiting->requests[first].size);

    ASSERT_VALUES(flow->block_count >= blocks && lane->count > 0, flow->block_count, blocks);
    flow->first = waiting->requests[first].next;
    flow->block_count -= blocks;
    lane->block_count -= blocks;
    lane->count--;
    ASSERT((flow->block_count == 0) == (flow->first == NO_BLOCK));
    fair_serve(&lane->fair,
               is_dropped             ? 1
               : number == LANE_SCANS ? SCAN_COST
                                      : blocks,
               flow->block_count > 0);
    return first;
}

void waiting_answer_late(struct node *node, const struct origin *origin)
{
    const struct wire_failure failure = {.code = ERR_TIMEOUT, .rejected = true};

    node->waiting.late_count++;
    answer_failure(node, origin, &failure);
}

static void go_on(struct node *node, uint32_t first)
{
    const struct waiting_request request = node->waiting.requests[first];
    const struct wire_rpc rpc = {
        .type = WIRE_REQUEST,
        .id = request.origin.rpc_id,
        .method = (enum wire_method)request.method,
        .body = params_of(&node->waiting, first),
        .within_ms = WIRE_WITHIN_NONE,
    };

    admission_serve(node, &request.origin, &rpc);
}

/* False when there is none, or it may not go on. */
static bool lane_step(struct node *node, enum lane number, uint64_t *served)
{
    struct waiting *waiting = &node->waiting;
    struct waiting_lane *lane = &waiting->lanes[number];

    if (lane->fair.count == 0) {
        return false;
    }
    const struct waiting_request *request =
        &waiting->requests[lane->flows[fair_first(&lane->fair)].first];
    bool is_late = node->now_ms >= request->deadline_ms;

    if (!is_late && !gate_is_open(node, number, request->size)) {
        return false;
    }
    uint32_t first = pop(waiting, number, is_late);

    *served += blocks_of(waiting->requests[first].size);
    if (is_late) {
        const struct origin origin = waiting->requests[first].origin;

        waiting_answer_late(node, &origin);
    } else {
        go_on(node, first);
    }
    params_free(waiting, first);
    return node->problem == NULL;
}

void waiting_run(struct node *node)
{
    for (unsigned number = 0; number < LANE_COUNT; number++) {
        struct waiting_lane *lane = &node->waiting.lanes[number];
        bool had_some = lane->count > 0;
        uint64_t served = 0;

        while (lane_step(node, (enum lane)number, &served)) {
        }
        if (lane->count > 0) {
            drain_note(&lane->drain, served, node->now_ms);
        } else if (had_some) {
            drain_pause(&lane->drain);
        }
    }
}

bool waiting_is_due(struct node *node)
{
    for (unsigned number = 0; number < LANE_COUNT; number++) {
        const struct waiting_lane *lane = &node->waiting.lanes[number];

        if (lane->fair.count > 0) {
            uint32_t first = lane->flows[fair_first(&lane->fair)].first;

            if (gate_is_open(node, (enum lane)number, node->waiting.requests[first].size)) {
                return true;
            }
        }
    }
    return false;
}

/* --- Ends ------------------------------------------------------------------------------------- */

void waiting_forget(struct node *node, world_connection connection)
{
    struct waiting *waiting = &node->waiting;

    for (unsigned number = 0; number < LANE_COUNT; number++) {
        struct waiting_lane *lane = &waiting->lanes[number];
        struct waiting_flow *flow = &lane->flows[connection];
        uint32_t first = flow->block_count > 0 ? flow->first : NO_BLOCK;

        lane->block_count -= flow->block_count;
        while (first != NO_BLOCK) {
            uint32_t next = waiting->requests[first].next;

            lane->count--;
            params_free(waiting, first);
            first = next;
        }
        *flow = (struct waiting_flow){0};
        fair_remove(&lane->fair, connection);
        if (lane->count == 0) {
            drain_pause(&lane->drain);
        }
    }
}

void waiting_leadership_lost(struct node *node)
{
    struct waiting *waiting = &node->waiting;

    for (unsigned number = 0; number < LANE_COUNT; number++) {
        while (waiting->lanes[number].fair.count > 0) {
            uint32_t first = pop(waiting, (enum lane)number, true);
            const struct origin origin = waiting->requests[first].origin;

            answer_not_leader(node, &origin);
            params_free(waiting, first);
        }
        waiting->lanes[number].drain = (struct drain){0};
    }
}

void waiting_check(const struct node *node)
{
    const struct waiting *waiting = &node->waiting;
    uint32_t block_count = 0;

    for (unsigned number = 0; number < LANE_COUNT; number++) {
        const struct waiting_lane *lane = &waiting->lanes[number];
        uint32_t of_flows = 0;

        fair_check(&lane->fair);
        for (uint32_t i = 0; i < node->options.connection_count_max; i++) {
            const struct waiting_flow *flow = &lane->flows[i];

            of_flows += flow->block_count;
            ASSERT((flow->block_count > 0) == (lane->fair.flows[i].place != 0));
            ASSERT(flow->block_count == 0 || node->connections[i].state == CONNECTION_CLIENT ||
                   node->connections[i].state == CONNECTION_PEER);
        }
        ASSERT_VALUES(of_flows == lane->block_count, of_flows, lane->block_count);
        ASSERT((lane->count > 0) == (lane->block_count > 0));
        ASSERT(lane->count == 0 || node_leads(node));
        block_count += of_flows;
    }
    ASSERT_VALUES(block_count + waiting->free_count == waiting->block_count, block_count,
                  waiting->free_count);
}
