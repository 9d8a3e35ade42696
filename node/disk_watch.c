/* node/disk_watch.c: a write of the log that takes longer than an election does.
 *
 * Such a node acknowledges nothing and is of no use as leader, but its heartbeats, which need no
 * disk, keep the others from electing another. The loop does not wait for the disk, so it sees
 * that on its own clock, and raft hands leadership over. An election timeout is the limit: so the
 * hand-over is done within two of them. */
#include "base/assert.h"
#include "node/internal.h"

static uint64_t limit_ms(const struct node *node)
{
    return node->options.election_ms_max;
}

void disk_watch_tick(struct node *node)
{
    struct disk_watch *watch = &node->disk_watch;
    uint64_t durable = log_durable_ticket(node->log);

    if (durable >= node->held.last_ticket) {
        *watch = (struct disk_watch){.ticket = durable};
        return;
    }
    if (watch->since_ms == NEVER || durable != watch->ticket) {
        *watch = (struct disk_watch){.ticket = durable, .since_ms = node->now_ms};
        return;
    }
    if (watch->is_told || node->now_ms - watch->since_ms < limit_ms(node)) {
        return;
    }
    struct line line;

    watch->is_told = true;
    raft_disk_stalled(node->raft, node->now_ms);
    node_refresh_status(node);
    line_begin(&line, "disk_stalled");
    line_add_u64(&line, "ms", node->now_ms - watch->since_ms);
    line_add(&line, "text", "a write of the log does not end: look at the disk of --data");
    line_write_limited(node, WORLD_WARNING, &line, &node->link_lines);
}

uint64_t disk_watch_wake_ms(const struct node *node)
{
    const struct disk_watch *watch = &node->disk_watch;

    if (watch->since_ms == NEVER || watch->is_told) {
        return FAR_FUTURE_MS;
    }
    return watch->since_ms + limit_ms(node);
}
