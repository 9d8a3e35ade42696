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

void renewals_add(struct node *node, const struct renewal *renewal)
{
    struct renewals *renewals = &node->renewals;
    const struct origin *origin = &renewal->origin;

    if (renewal->session == 0) {
        answer_error(node, origin, ERR_MALFORMED, "a renewal names its session");
        return;
    }
    if (renewals->tail - renewals->head > renewals->mask) {
        answer_retry(node, origin, ERR_OVERLOADED, requests_retry_ms(node));
        return;
    }
    struct renewal *added = &renewals->ring[renewals->tail & renewals->mask];

    *added = *renewal;
    added->waits = true;
    renewals->tail++;
    if (renewals->due_ms == NEVER) {
        renewals->due_ms = node->now_ms + node->options.renew_batch_ms;
    }
}

enum { RENEWED_SIZE_MAX = 64 << 10 };
_Static_assert((LEASE_NAME_SIZE_MAX + 64) * REVOCATION_COUNT_MAX + 256 <= RENEWED_SIZE_MAX,
               "one answer tells of that many forced unlocks");
_Static_assert(2 * RENEWED_SIZE_MAX <= WIRE_FRAME_SIZE_MAX, "they share the scratch memory");

/* What was unlocked by force of the session's holds since the client was told last. The audit
 * tells, so it does not matter who led when it was done, or which notice was lost. */
static void add_revocations(struct node *node, const struct renewal *renewal, struct buffer *items,
                            struct wire_session_renew_result *result)
{
    uint64_t last = lease_audit_last(node->table);
    uint64_t next = renewal->audit_next;
    uint32_t looks_left = REVOCATION_SCAN_MAX;
    struct lease_audit_view audit;

    /* The newest LEASE_AUDIT_COUNT_MAX are kept. */
    result->missed = last >= LEASE_AUDIT_COUNT_MAX && next <= last - LEASE_AUDIT_COUNT_MAX;
    while (result->revoked.count < REVOCATION_COUNT_MAX &&
           lease_revoked_next(node->table, renewal->session, &next, &looks_left, &audit)) {
        const struct wire_revocation item = {
            .number = audit.number,
            .name = audit.name,
            .token = audit.token,
        };
        bool fits = wire_revocation_encode(&item, items);

        ASSERT_VALUES(fits, items->size, items->capacity);
        result->revoked.count++;
    }
    result->revoked.raw = buffer_bytes(items);
    result->audit_next = next;
    result->more = next <= last;
}

static void answer_renewed(struct node *node, const struct renewal *renewal)
{
    struct wire_session_renew_result result = {.attempt = renewal->attempt};
    struct buffer out = buffer_of(node->scratch, RENEWED_SIZE_MAX);
    struct buffer items = buffer_of(node->scratch + RENEWED_SIZE_MAX, RENEWED_SIZE_MAX);

    if (renewal->audit_next != 0) {
        add_revocations(node, renewal, &items, &result);
    }
    if (node_table_has_failed(node)) {
        return;
    }
    bool fits = wire_result_begin(&out, renewal->origin.rpc_id) &&
                wire_session_renew_result_encode(&result, &out);

    ASSERT_VALUES(fits, out.size, out.capacity);
    sessions_note(node, renewal->session, &renewal->origin);
    answer_scratch(node, &renewal->origin, &out);
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
    answer_renewed(node, renewal);
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
