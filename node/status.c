/* node/status.c: hello and status, which every node answers by itself at once. */
#include "base/assert.h"
#include "node/internal.h"

#define PPM UINT64_C(1000000)

enum { CLUSTER_TEXT_SIZE = 2 * IDENTITY_CLUSTER_SIZE, MEMBER_ITEM_SIZE_MAX = 416 };

/* The least T with T(1 - 2 rho) - margin >= T/3 + two commits + an election + slack, so that a
 * holder that renews every T/3 outlives the slowest election. */
uint32_t ttl_floor_ms(const struct node *node)
{
    uint64_t fixed_ms = (uint64_t)node->options.margin_ms +
                        2 * (uint64_t)(node->requests.commit_ms_q8 >> 8) +
                        node->options.election_ms_max + TTL_SLACK_MS;
    /* 1 - 2 rho - 1/3, in thirds of a millionth. */
    uint64_t share = 2 * PPM - 6 * (uint64_t)node->options.clock_rate_ppm;

    ASSERT_VALUES(share > 0 && share <= 2 * PPM, share, fixed_ms);
    return (uint32_t)((fixed_ms * 3 * PPM + share - 1) / share);
}

static struct bytes cluster_to_text(const struct node *node, char memory[CLUSTER_TEXT_SIZE + 1])
{
    struct text text;

    text_init(&text, memory, CLUSTER_TEXT_SIZE + 1);
    if (node->identity.formed) {
        for (size_t i = 0; i < IDENTITY_CLUSTER_SIZE; i++) {
            text_add_hex(&text, node->identity.cluster[i], 2);
        }
    }
    ASSERT(!text.truncated);
    return bytes_of(text.data, text.size);
}

void status_hello(struct node *node, const struct origin *origin, const struct wire_rpc *rpc)
{
    char cluster[CLUSTER_TEXT_SIZE + 1];
    struct bytes params = rpc->body;
    struct wire_hello hello;
    enum error error = wire_hello_decode(&params, &hello);

    if (error == ERR_OK && !authentication_take(node, origin, &hello)) {
        return;
    }
    if (error != ERR_OK || hello.version == 0) {
        answer_error(node, origin, error == ERR_OK ? ERR_MALFORMED : error,
                     "the hello is not valid");
        connection_drop(node, origin->connection);
        return;
    }
    if (node->connections[origin->connection].state == CONNECTION_CLIENT_KNOWN) {
        connection_move(node, origin->connection, CONNECTION_CLIENT);
    }
    struct wire_hello_result result = {
        .version = WIRE_VERSION,
        .cluster = cluster_to_text(node, cluster),
        .node = bytes_of_text(node->options.name),
        .ttl_floor_ms = ttl_floor_ms(node),
        .clock_rate_ppm = node->options.clock_rate_ppm,
        .margin_ms = node->options.margin_ms,
        .frame_size_max = WIRE_FRAME_SIZE_MAX,
        .passes_on = true,
        .deadlines = true,
    };
    struct buffer out = buffer_of(node->scratch, WIRE_FRAME_SIZE_MAX);

    if (!leader_known(node, &result.leader, &result.leader_client)) {
        ASSERT(result.leader.size == 0);
    }
    bool fits = wire_result_begin(&out, origin->rpc_id) && wire_hello_result_encode(&result, &out);
    ASSERT_VALUES(fits, out.size, out.capacity);
    answer_scratch(node, origin, &out);
}

/* --- Members ---------------------------------------------------------------------------------- */

static void encode_item(const struct wire_member *member, struct wire_items *items,
                        struct buffer *out)
{
    bool fits = wire_member_encode(member, out);

    ASSERT_VALUES(fits, out->size, out->capacity);
    items->count++;
}

/* Of a node that does not know its cluster yet. */
static void encode_listed(const struct node *node, struct wire_items *items, struct buffer *out)
{
    for (uint32_t i = 0; i < node->options.member_count; i++) {
        const struct peer *peer = &node->peers[i];
        const struct wire_member member = {
            .name = bytes_of_text(node->options.members[i]),
            .client = bytes_of_text(peer->client),
            .connected = i == node->options.self || peer->connection_count > 0,
            .peer = bytes_of_text(node->options.addresses[i]),
        };

        encode_item(&member, items, out);
    }
}

static const char *part_name(const struct raft_member *listed)
{
    if ((listed->parts & RAFT_PART_LEARNER) != 0) {
        return "learner";
    }
    return listed->parts == RAFT_PART_OUTGOING ? "leaving" : "voter";
}

/* A voter has caught up as far as quorums are concerned; of a learner only the leader knows. */
static bool has_caught_up(const struct node *node, const struct raft_member *listed)
{
    return (listed->parts & RAFT_PART_LEARNER) == 0 || raft_has_caught_up(node->raft, listed->id);
}

static void encode_member(const struct node *node, const struct raft_member *listed,
                          const struct member *known, struct wire_items *items, struct buffer *out)
{
    bool connected = members_is_heard(node, listed);
    uint32_t place =
        listed->id == node->identity.self ? node->options.self : place_of_id(node, listed->id);
    const struct told_space *space = disk_space_of(node, listed);
    const struct wire_member member = {
        .name = bytes_of_text(known->name),
        .client = bytes_of_text(connected ? node->peers[place].client : known->client),
        .connected = connected,
        .peer = bytes_of_text(known->peer),
        .id = listed->id,
        .member = bytes_of_text(part_name(listed)),
        .caught_up = has_caught_up(node, listed),
        .disk_low = space != NULL && space->is_low,
        .disk_free = space != NULL ? space->free_size : 0,
    };

    encode_item(&member, items, out);
}

/* In the order of their names; of two with one name the older first. */
static void encode_members(const struct node *node, struct wire_items *items, struct buffer *out)
{
    const struct raft_configuration *present = raft_configuration(node->raft);
    uint32_t order[RAFT_MEMBER_COUNT_MAX] = {0};
    struct member members[RAFT_MEMBER_COUNT_MAX];

    for (uint32_t i = 0; i < present->member_count; i++) {
        uint32_t at = i;

        member_of(&present->members[i], &members[i]);
        while (at > 0 && bytes_compare(bytes_of_text(members[i].name),
                                       bytes_of_text(members[order[at - 1]].name)) < 0) {
            order[at] = order[at - 1];
            at--;
        }
        order[at] = i;
    }
    for (uint32_t i = 0; i < present->member_count; i++) {
        encode_member(node, &present->members[order[i]], &members[order[i]], items, out);
    }
}

static void encode_waiting(const struct node *node, struct wire_items *items, struct buffer *out)
{
    for (uint32_t i = 0; i < NODE_PEER_COUNT_MAX; i++) {
        const struct peer *peer = &node->peers[i];
        struct bytes name = bytes_of_text(peer->name);
        struct member member;

        if (name.size == 0 || members_applicant(node, name) != i ||
            !members_describe(node, i, &member)) {
            continue;
        }
        const struct wire_member waiting = {
            .name = name,
            .client = bytes_of_text(member.client),
            .connected = true,
            .peer = bytes_of_text(member.peer),
            .id = member.incarnation,
            .member = bytes_of_text("waiting"),
        };

        encode_item(&waiting, items, out);
    }
}

/* --- The state -------------------------------------------------------------------------------- */

void status_keep_hash(struct node *node)
{
    node->state_hash = (struct state_hash){
        .index = machine_applied_index(node->machine),
        .hash = machine_hash(node->machine),
        .until_ms = node->now_ms + HASH_AGE_MS_MAX,
    };
    ASSERT(node->state_hash.until_ms != NEVER);
}

static void refresh_hash(struct node *node)
{
    const struct state_hash *kept = &node->state_hash;

    if (node_state_is_away(node)) {
        return;
    }
    raft_index applied = machine_applied_index(node->machine);

    ASSERT_VALUES(kept->index <= applied, kept->index, applied);
    if (kept->until_ms == NEVER || (kept->index != applied && node->now_ms >= kept->until_ms)) {
        status_keep_hash(node);
    }
}

/* How long reads need no round any more, if no voter is heard again: of an only voter for ever. */
static uint32_t lease_left_ms(const struct node *node)
{
    uint64_t until_ms = node_leads(node) ? node->status.lease_ms : 0;
    uint64_t left_ms = until_ms > node->now_ms ? until_ms - node->now_ms : 0;

    return left_ms < UINT32_MAX ? (uint32_t)left_ms : UINT32_MAX;
}

/* What was asked of this node, and what became of it. */
static void add_counts(const struct node *node, struct wire_status_result *result)
{
    result->answers = node->answer_count;
    result->refusals = node->refusal_count;
    result->forwarded_total = node->passing.total;
    result->forwarding = node->passing.count;
    result->taken_total = node->passing.taken_total;
    result->overloaded = node->waiting.overloaded_count;
    result->rate_limited = node->waiting.limited_count;
    result->late = node->waiting.late_count;
    for (unsigned lane = 0; lane < LANE_COUNT; lane++) {
        result->queued += node->waiting.lanes[lane].count;
        result->queued_bytes +=
            (uint64_t)node->waiting.lanes[lane].block_count * WAITING_BLOCK_SIZE;
    }
}

/* What the smallest TTL follows from, and what the process may take. */
static void add_limits(const struct node *node, struct wire_status_result *result)
{
    result->clock_ms = node->now_ms;
    result->commit_us = (uint32_t)((uint64_t)node->requests.commit_ms_q8 * 1000 >> 8);
    result->ttl_floor_ms = ttl_floor_ms(node);
    result->clock_rate_ppm = node->options.clock_rate_ppm;
    result->margin_ms = node->options.margin_ms;
    result->election_ms = node->options.election_ms_max;
    result->memory_bound = node->options.memory_bound;
}

void status_answer(struct node *node, const struct origin *origin)
{
    uint8_t members_memory[NODE_MEMBER_COUNT_MAX * MEMBER_ITEM_SIZE_MAX];
    uint8_t waiting_memory[NODE_PEER_COUNT_MAX * MEMBER_ITEM_SIZE_MAX];
    struct buffer members_out = buffer_of(members_memory, sizeof(members_memory));
    struct buffer waiting_out = buffer_of(waiting_memory, sizeof(waiting_memory));
    struct wire_items members = {0};
    struct wire_items waiting = {0};
    char cluster[CLUSTER_TEXT_SIZE + 1];

    if (node->raft == NULL) {
        encode_listed(node, &members, &members_out);
    } else {
        encode_members(node, &members, &members_out);
        encode_waiting(node, &waiting, &waiting_out);
    }
    members.raw = buffer_bytes(&members_out);
    waiting.raw = buffer_bytes(&waiting_out);
    refresh_hash(node);
    struct wire_status_result result = {
        .cluster = cluster_to_text(node, cluster),
        .node = bytes_of_text(node->options.name),
        .role = bytes_of_text(node->raft == NULL ? "forming" : raft_role_name(node->status.role)),
        .term = node->status.term,
        .commit = node->status.commit_index,
        .applied = node->state_hash.index,
        .last = node->status.last_index,
        .durable = node->status.durable_index,
        .log_ms = cluster_time_now(&node->time),
        .sessions = node_state_is_away(node) ? 0 : lease_session_count(node->table),
        .state_hash = node->state_hash.hash,
        .members = members,
        .configuration = node->status.configuration_index,
        .changing =
            node->raft != NULL && (!node->status.configuration_is_committed ||
                                   raft_configuration_is_joint(raft_configuration(node->raft))),
        .waiting = waiting,
        .lease_ms = node->options.promise_ms,
        .lease_left_ms = lease_left_ms(node),
        .lease_reads = node->reads.promised_count,
        .refuses_writes = node->disk_space.refuses,
    };
    struct buffer out = buffer_of(node->scratch, WIRE_FRAME_SIZE_MAX);

    add_counts(node, &result);
    add_limits(node, &result);
    if (node_table_has_failed(node)) {
        return; /* Neither count nor hash is to be believed. */
    }
    if (!leader_known(node, &result.leader, &result.leader_client)) {
        ASSERT(result.leader.size == 0);
    }
    bool fits = wire_result_begin(&out, origin->rpc_id) && wire_status_result_encode(&result, &out);
    ASSERT_VALUES(fits, out.size, out.capacity);
    answer_scratch(node, origin, &out);
}
