/* node/renewals.c: renewals of sessions, many in one entry.
 *
 * A renewal waits at most renew_batch_ms for company. It is never deduplicated and never answered
 * from a store: the holder counts its deadline from the send time of that very attempt, so an
 * answer is given only after the entry that carries this attempt was applied with OK. */
#include "base/assert.h"
#include "node/internal.h"

size_t renewals_memory_size(const struct node_options *options)
{
    return arena_cost(ring_capacity(options->request_count_max), sizeof(struct renewal));
}

void renewals_open(struct node *node, struct arena *arena)
{
    uint64_t capacity = ring_capacity(node->options.request_count_max);

    node->renewals = (struct renewals){
        .ring = arena_take(arena, capacity, sizeof(struct renewal)),
        .mask = capacity - 1,
        .due_ms = NEVER,
    };
}

static struct renewal *renewal_at(const struct renewals *renewals, uint64_t position)
{
    ASSERT_VALUES(position >= renewals->head && position < renewals->tail, position,
                  renewals->tail);
    return &renewals->ring[position & renewals->mask];
}

void renewals_add(struct node *node, const struct origin *origin, uint64_t session,
                  uint64_t attempt)
{
    struct renewals *renewals = &node->renewals;

    if (session == 0) {
        answer_error(node, origin, ERR_MALFORMED, "a renewal names its session");
        return;
    }
    if (renewals->tail - renewals->head > renewals->mask) {
        answer_retry(node, origin, ERR_OVERLOADED, requests_retry_ms(node));
        return;
    }
    renewals->ring[renewals->tail & renewals->mask] =
        (struct renewal){.origin = *origin, .session = session, .attempt = attempt, .waits = true};
    renewals->tail++;
    if (renewals->due_ms == NEVER) {
        renewals->due_ms = node->now_ms + node->options.renew_batch_ms;
    }
}

static void answer_one(struct node *node, const struct renewal *renewal, bool renewed,
                       enum error error)
{
    if (error == ERR_NOT_LEADER) {
        answer_not_leader(node, &renewal->origin);
        return;
    }
    if (error != ERR_OK || !renewed) {
        answer_retry(node, &renewal->origin, error == ERR_OK ? ERR_SESSION_EXPIRED : error, 0);
        return;
    }
    const struct wire_session_renew_result result = {.attempt = renewal->attempt};
    uint8_t memory[64];
    struct buffer body = buffer_of(memory, sizeof(memory));
    bool fits = wire_session_renew_result_encode(&result, &body);

    ASSERT_VALUES(fits, body.size, body.capacity);
    sessions_note(node, renewal->session, &renewal->origin);
    answer_body(node, &renewal->origin, buffer_bytes(&body));
}

void renewals_answer(struct node *node, uint64_t first, uint32_t count, const uint8_t *renewed,
                     enum error error)
{
    struct renewals *renewals = &node->renewals;

    for (uint32_t i = 0; i < count; i++) {
        struct renewal *renewal = renewal_at(renewals, first + i);

        ASSERT_VALUES(renewal->waits, first, i);
        renewal->waits = false;
        answer_one(node, renewal, renewed != NULL && renewed[i] == 1, error);
    }
    while (renewals->head < renewals->proposed && !renewal_at(renewals, renewals->head)->waits) {
        renewals->head++;
    }
}

/* False when the entry has to wait for room. */
static bool propose(struct node *node, uint32_t count)
{
    struct renewals *renewals = &node->renewals;
    raft_index index = 0;

    for (uint32_t i = 0; i < count; i++) {
        store_u64(node->renewal_params + 8 * (size_t)i,
                  renewal_at(renewals, renewals->proposed + i)->session);
    }
    const struct envelope envelope = {
        .method = ENVELOPE_RENEW,
        .log_ms = cluster_time_stamp(&node->time),
        .params = bytes_of(node->renewal_params, (size_t)count * 8),
    };

    if (!requests_have_room(node) || requests_propose(node, &envelope, &index) != ERR_OK) {
        return false;
    }
    struct pending *pending = requests_add(node, index);

    pending->method = ENVELOPE_RENEW;
    pending->renewal_first = renewals->proposed;
    pending->renewal_count = count;
    renewals->proposed += count;
    return true;
}

void renewals_tick(struct node *node)
{
    struct renewals *renewals = &node->renewals;
    uint64_t waiting = renewals->tail - renewals->proposed;

    ASSERT((waiting == 0) == (renewals->due_ms == NEVER));
    if (waiting == 0 || !node_may_stamp(node) ||
        (node->now_ms < renewals->due_ms && waiting < RENEWAL_ENTRY_COUNT_MAX)) {
        return;
    }
    while (waiting > 0) {
        uint32_t count = (uint32_t)size_min(waiting, RENEWAL_ENTRY_COUNT_MAX);

        if (!propose(node, count)) {
            renewals->due_ms = node->now_ms + 1;
            return;
        }
        waiting -= count;
    }
    renewals->due_ms = NEVER;
}

void renewals_leadership_lost(struct node *node)
{
    struct renewals *renewals = &node->renewals;
    uint64_t first = renewals->proposed;

    renewals->due_ms = NEVER;
    renewals->proposed = renewals->tail;
    renewals_answer(node, first, (uint32_t)(renewals->tail - first), NULL, ERR_NOT_LEADER);
}
