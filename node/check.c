/* node/check.c: the numbered invariants of docs/node.md. */
#include "base/assert.h"
#include "node/internal.h"

static void check_requests(const struct node *node)
{
    const struct requests *requests = &node->requests;
    uint32_t count = 0;
    uint32_t open_count = 0;

    for (uint64_t i = 0; i <= requests->mask; i++) {
        const struct pending *pending = &requests->slots[i];

        if (pending->index == 0) {
            continue;
        }
        count++;
        open_count += pending->method == WIRE_METHOD_session_open ? 1 : 0;
        ASSERT((pending->index & requests->mask) == i);                /* Invariant 3. */
        ASSERT(pending->term <= node->status.term);                    /* Invariant 3. */
        ASSERT(pending->index > machine_applied_index(node->machine)); /* Invariant 4. */
    }
    ASSERT_VALUES(count == requests->count, count, requests->count); /* Invariant 3. */
    ASSERT_VALUES(open_count == requests->open_count, open_count, requests->open_count);
}

static void check_queues(const struct node *node)
{
    const struct renewals *renewals = &node->renewals;
    const struct reads *reads = &node->reads;
    uint64_t batched = 0;

    ASSERT(renewals->head <= renewals->proposed); /* Invariant 5. */
    ASSERT(renewals->proposed <= renewals->tail);
    ASSERT(renewals->tail - renewals->head <= renewals->mask + 1);
    for (uint64_t id = reads->batch_head; id < reads->batch_tail; id++) {
        batched += reads->batches[id & (READ_BATCH_COUNT_MAX - 1)].count;
    }
    ASSERT_VALUES(reads->asked - reads->head == batched, reads->head, batched); /* Invariant 6. */
    ASSERT(reads->tail - reads->head <= reads->mask + 1);
    ASSERT(reads->params_tail - reads->params_head <= READ_PARAMS_BYTES);
}

static void check_connections(const struct node *node)
{
    uint32_t counts[NODE_PEER_COUNT_MAX + 1] = {0};

    for (uint32_t i = 0; i < node->options.connection_count_max; i++) {
        if (node->connections[i].state == CONNECTION_PEER) {
            counts[node->connections[i].peer]++;
        }
    }
    for (uint32_t i = 0; i < NODE_PEER_COUNT_MAX; i++) {
        ASSERT_VALUES(counts[i] == node->peers[i].connection_count, counts[i],
                      i); /* Invariant 7. */
    }
}

void node_check(const struct node *node)
{
    if (node->problem != NULL) {
        return; /* The turn was given up where it stood. */
    }
    if (node->raft == NULL) {
        ASSERT(node->log == NULL); /* Invariant 1. */
        return;
    }
    ASSERT(node->identity.formed); /* Invariant 1. */
    raft_check(node->raft);
    snapshots_check(node->snapshots);
    if (node->restoration.is_on) {
        ASSERT(node->log == NULL && !node_leads(node)); /* Invariant 10. */
        return;
    }
    log_check(node->log);
    ASSERT(machine_applied_index(node->machine) <= node->status.last_index); /* Invariant 2. */
    ASSERT(node->held.last_ticket >= log_durable_ticket(node->log));         /* Invariant 8. */
    ASSERT(cluster_time_now(&node->time) >= node->time.log_ms);              /* Invariant 9. */
    check_requests(node);
    check_queues(node);
    check_connections(node);
    passing_check(node);
    watches_check(node);
    waiting_check(node); /* Invariant 11. */
}
