/* client/core_through.c: a leader that cannot be reached is asked through a node that can.
 *
 * Every node passes requests on to the leader. That costs a hop, so the leader itself is preferred:
 * only when a node names one that was just seen to fail, or that was not reached for a while, do
 * that node's connections take the leader's place. Meanwhile the leader is dialed now and then, and
 * at once whenever another one is named; when it answers, all goes there. */
#include "client/core_internal.h"

enum {
    THROUGH_MS = 500,          /* A leader is looked for so long first, */
    THROUGH_FAILED_MS = 10000, /* unless it has failed in this time, and not worked since. */
    THROUGH_DIAL_MS_MIN = 4000,
    THROUGH_DIAL_MS_MAX = 6000,
};

static bool has_failed_lately(const struct core *core, int32_t endpoint)
{
    const struct core_endpoint *leader = &core->endpoints[endpoint];

    return leader->failure_count > 0 && core->now_ms - leader->failed_ms <= THROUGH_FAILED_MS;
}

bool through_wanted(struct core *core, const struct core_connection *connection,
                    struct bytes leader_client)
{
    if (!connection->passes_on) {
        return false;
    }
    if (core->leader_count > 0) { /* Company for what passes on already. */
        return core->is_through && connection->endpoint == core->leader_endpoint &&
               core->leader_count < core->options.connections;
    }
    int32_t endpoint = endpoint_find(core, leader_client);
    if (endpoint < 0) {
        return true; /* Where the leader is we are not told, or cannot keep. */
    }
    ASSERT(endpoint < (int32_t)core->endpoint_count);
    if (core->named_endpoint != endpoint) {
        core->named_endpoint = endpoint;
        core->named_ms = core->now_ms;
    }
    return has_failed_lately(core, endpoint) || core->now_ms - core->named_ms >= THROUGH_MS;
}

void through_begin(struct core *core, struct bytes leader_client)
{
    ASSERT(core->leader_count > 0);
    int32_t endpoint = endpoint_find(core, leader_client);

    core->is_through = true;
    core->hint_endpoint = endpoint == core->leader_endpoint ? -1 : endpoint;
    core->through_dial_ms =
        core->now_ms + core_random_between(core, THROUGH_DIAL_MS_MIN, THROUGH_DIAL_MS_MAX);
}

/* The leader may be dialed, beside the connections that its requests go through. */
static bool may_dial(const struct core *core)
{
    return core->is_through && core->hint_endpoint >= 0 &&
           connection_count_of(core, core->hint_endpoint) == 0;
}

bool through_dials(struct core *core)
{
    if (!may_dial(core) || core->now_ms < through_wake_ms(core)) {
        return false;
    }
    core->through_dial_ms =
        core->now_ms + core_random_between(core, THROUGH_DIAL_MS_MIN, THROUGH_DIAL_MS_MAX);
    return true;
}

uint64_t through_wake_ms(const struct core *core)
{
    if (!may_dial(core)) {
        return CORE_NEVER;
    }
    uint64_t not_before_ms = policy_dial_ms(core, &core->endpoints[core->hint_endpoint]);

    return core->through_dial_ms > not_before_ms ? core->through_dial_ms : not_before_ms;
}

void through_notice(struct core *core, const struct core_connection *connection,
                    const struct wire_rpc *rpc)
{
    struct wire_leader_is notice;
    struct bytes body = rpc->body;

    ASSERT(rpc->method == WIRE_NOTICE_leader_is);
    if (connection->state != CORE_LEADER || wire_leader_is_decode(&body, &notice) != ERR_OK) {
        return;
    }
    if (bytes_equal(notice.leader, bytes_of(connection->node, connection->node_size))) {
        core->is_through = false;
        core->hint_endpoint = -1;
        return;
    }
    endpoint_hint(core, notice.leader_client);
    through_begin(core, notice.leader_client);
    core->through_dial_ms = core->now_ms;
}
