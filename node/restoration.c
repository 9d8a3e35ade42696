/* node/restoration.c: a node whose disk has lost what it may have acknowledged.
 *
 * Its log is damaged, or has a gap, or is shorter than it was. Such a node takes no part: it does
 * not vote, acknowledges nothing and does not campaign, because a majority may have counted on what
 * is gone. It asks whoever leads for a snapshot at the leader's last index or beyond. Once that is
 * durable the node begins anew behind it, and takes part as before.
 *
 * Why that is enough. Suppose an entry that was, or will be, committed by our acknowledgement. It
 * was given in a term that our hard state knows (which is intact, or the node would not have got
 * here), and the leader that answers has that term or a later one. It has the entry: it made it
 * itself, or was elected by a majority that excludes us as we are now, and so has a member in
 * common with the rest of the majority that holds the entry; or with our vote of before, when we
 * had it. So the entry is not behind the leader's last index when our request comes, and the
 * snapshot, at that index or beyond, was applied from committed entries: what is not in it was
 * never committed (docs/node.md). The log is cleared only when the snapshot is durable. */
#include "base/assert.h"
#include "node/internal.h"

bool restoration_heard(struct node *node, raft_term term)
{
    struct restoration *restoration = &node->restoration;

    ASSERT(restoration->is_on);
    if (term < restoration->term) {
        return false;
    }
    restoration->term = term;
    return true;
}

void restoration_received(struct node *node, raft_index index)
{
    ASSERT(node->restoration.is_on && index != 0);
    node->restoration.is_received = true;
    node->restoration.received_index = index;
}

void restoration_begin(struct node *node, const char *reason, raft_term term)
{
    struct restoration *restoration = &node->restoration;

    ASSERT(!restoration->is_on);
    *restoration = (struct restoration){.is_on = true, .term = term, .reason = reason};
    while (restoration->request == 0) {
        world_entropy(node->world, &restoration->request, sizeof(restoration->request));
    }
    restoration->ask_ms = node->now_ms;
    restoration->line_ms = node->now_ms;
}

static void ask(struct node *node)
{
    struct restoration *restoration = &node->restoration;
    const struct wire_peer_snapshot_request request = {.request = restoration->request};

    if (node->now_ms < restoration->ask_ms) {
        return;
    }
    restoration->ask_ms = node->now_ms + RESTORATION_ASK_MS;
    for (uint32_t i = 0; i < NODE_PEER_COUNT_MAX; i++) {
        struct buffer body = buffer_of(node->scratch, WIRE_FRAME_SIZE_MAX);
        bool fits = wire_peer_snapshot_request_encode(&request, &body);

        ASSERT_VALUES(fits, body.size, body.capacity);
        if (i != node->options.self && node->peers[i].id != 0) {
            peers_send_body(node, node->peers[i].id, WIRE_FRAME_SNAPSHOT_REQUEST,
                            buffer_bytes(&body));
        }
    }
}

static void tell(struct node *node)
{
    struct restoration *restoration = &node->restoration;
    struct line line;

    if (node->now_ms < restoration->line_ms) {
        return;
    }
    restoration->line_ms = node->now_ms + FORMATION_LINE_MS;
    line_begin(&line, "restoring");
    line_add(&line, "reason", restoration->reason);
    line_add(&line, "text",
             "this node neither votes nor acknowledges until a leader has sent it a snapshot; "
             "start the others");
    line_write(node, WORLD_WARNING, &line);
}

static void finish(struct node *node)
{
    raft_term term = node->restoration.term;
    struct line line;

    /* Before the log is touched: as long as that shows the damage nothing is forgotten. An older
     * snapshot would not do (a_restoring_node_waits_for_a_snapshot_that_can_be_read). */
    if (!recovery_has_snapshot(node, node->restoration.received_index)) {
        node->restoration.is_received = false;
        return;
    }
    /* All of it: what was received must not keep later snapshots away
     * (a_restored_node_takes_later_snapshots_too). */
    node->restoration = (struct restoration){0};
    if (recovery_restored(node, term) != ERR_OK) {
        ASSERT(node->problem != NULL);
        return;
    }
    line_begin(&line, "restored");
    line_add_u64(&line, "applied", machine_applied_index(node->machine));
    line_write(node, WORLD_WARNING, &line);
}

void restoration_tick(struct node *node)
{
    ASSERT(node->restoration.is_on && node->log == NULL);
    if (node->is_stopping) {
        return;
    }
    if (node->restoration.is_received) {
        if (snapshots_are_idle(node->snapshots)) {
            finish(node);
        }
        return;
    }
    tell(node);
    ask(node);
}

uint64_t restoration_wake_ms(const struct node *node)
{
    const struct restoration *restoration = &node->restoration;

    if (restoration->is_received) {
        return node->now_ms;
    }
    return restoration->ask_ms < restoration->line_ms ? restoration->ask_ms : restoration->line_ms;
}
