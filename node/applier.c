/* node/applier.c: committed entries go into the machine, a bounded number in each turn.
 *
 * They come from raft's window, or, after a restart, from the disk by the one fetch that the log
 * allows at a time. Lagging followers share that fetch: whoever waits gets it in turn. */
#include "base/assert.h"
#include "node/internal.h"

/* The next entry, when it can be had now. */
static bool next_entry(struct node *node, raft_index index, struct raft_entry *entry)
{
    struct applier *applier = &node->applier;

    if (raft_entry_at(node->raft, index, entry)) {
        /* The last fetch may reach into the window: what is left of it would keep the one fetch
         * from everybody else for ever. */
        applier->fetched = (struct bytes){0};
        return true;
    }
    if (applier->fetched_index != index || index > applier->fetched_last) {
        applier->fetched = (struct bytes){0};
    }
    if (applier->fetched.size == 0) {
        return false;
    }
    if (!raft_entry_next(&applier->fetched, entry) || entry->index != index) {
        node_fail(node, error_text(ERR_CORRUPT), "reading the log back",
                  "start again: what is damaged is fetched from another node");
        applier->fetched = (struct bytes){0};
        return false;
    }
    applier->fetched_index++;
    if (index == applier->fetched_last) {
        applier->fetched = (struct bytes){0}; /* `entry` stays valid until the next fetch. */
    }
    return true;
}

/* False when the table has failed: then nobody is told of an outcome. */
static bool apply(struct node *node, const struct raft_entry *entry)
{
    struct applier *applier = &node->applier;
    struct machine_result result;

    machine_apply(node->machine, entry, &result);
    compaction_applied(node, entry);
    if (node_table_has_failed(node)) {
        return false;
    }
    applier->tick_is_due = result.more_is_due;
    node->observers.changed |= result.effects == NULL ? 0 : result.effects->elections;
    if (entry->index >= applier->tick_index) {
        applier->tick_index = 0;
    }
    requests_applied(node, entry, &result);
    if (result.effects != NULL) {
        sessions_notify(node, result.effects);
    }
    watches_applied(node);
    agreement_applied(node, entry->index); /* Last: results are good until the table is used. */
    return node->problem == NULL;
}

void applier_run(struct node *node, raft_index commit_index)
{
    struct applier *applier = &node->applier;
    raft_index applied = machine_applied_index(node->machine);
    uint32_t count = 0;
    size_t size = 0;

    if (node_state_is_away(node)) {
        applier->has_more = false;
        return;
    }
    while (applied < commit_index && count < APPLY_COUNT_MAX && size < APPLY_BYTES_MAX) {
        struct raft_entry entry;

        if (!next_entry(node, applied + 1, &entry)) {
            break;
        }
        if (!apply(node, &entry)) {
            return;
        }
        applied++;
        count++;
        size += RAFT_ENTRY_HEADER_SIZE + entry.payload.size;
    }
    ASSERT_VALUES(applied == machine_applied_index(node->machine), applied, commit_index);
    applier->has_more = applied < commit_index && count > 0;
    if (count > 0 && applied <= commit_index) {
        raft_applied(node->raft, applied);
    }
}

static bool deadline_has_passed(struct node *node)
{
    return machine_due_ms(node->machine) <= cluster_time_now(&node->time);
}

/* As leader: what is due is ended by an entry, one under way at a time. */
void applier_tick(struct node *node)
{
    struct applier *applier = &node->applier;

    if (!node_leads(node) ||
        (applier->tick_index != 0 && applier->tick_term == node->status.term) ||
        !node_may_stamp(node) || (!applier->tick_is_due && !deadline_has_passed(node))) {
        return;
    }
    const struct envelope tick = {
        .method = ENVELOPE_TICK,
        .log_ms = cluster_time_stamp(&node->time),
    };
    raft_index index = 0;

    if (requests_propose(node, &tick, &index) == ERR_OK) {
        applier->tick_index = index;
        applier->tick_term = node->status.term;
    }
}

/* --- The one fetch ------------------------------------------------------------------------------
 */

/* What this one wants from the disk; 0: nothing. */
static raft_index wanted_by(const struct node *node, uint32_t owner)
{
    struct raft_entry entry;
    raft_index next = machine_applied_index(node->machine) + 1;

    if (owner < NODE_PEER_COUNT_MAX) {
        return node_leads(node) ? node->peers[owner].fetch_index : 0;
    }
    if (owner != FETCH_FOR_APPLIER || next > node->status.commit_index ||
        node_state_is_away(node) || raft_entry_at(node->raft, next, &entry)) {
        return 0;
    }
    return next;
}

void applier_fetch(struct node *node)
{
    struct applier *applier = &node->applier;

    if (applier->fetch_owner != FETCH_FREE || applier->fetched.size != 0) {
        return; /* Under way, or its bytes are still being used: committed, so not for long. */
    }
    for (uint32_t i = 0; i <= FETCH_FOR_APPLIER; i++) {
        uint32_t owner = (applier->fetch_cursor + i) % (FETCH_FOR_APPLIER + 1);
        raft_index index = wanted_by(node, owner);

        if (index != 0 && index <= node->status.durable_index && log_fetch(node->log, index)) {
            applier->fetch_owner = owner;
            applier->fetch_id = owner < NODE_PEER_COUNT_MAX ? node->peers[owner].id : 0;
            applier->fetch_cursor = owner + 1;
            return;
        }
    }
}

/* Rot in entries that were acknowledged: opening will find it, too, and see to its repair. */
static void log_unreadable(struct node *node, const struct log_fetched *fetched)
{
    struct line line;

    line_begin(&line, "log_unreadable");
    line_add_u64(&line, "index", fetched->first_index);
    line_add(&line, "reason", error_name(fetched->error));
    line_write_limited(node, WORLD_ERROR, &line, &node->link_lines);
    if (fetched->error == ERR_CORRUPT) {
        node_retire(node, error_text(ERR_CORRUPT), "reading the log back",
                    "start again: what is damaged is fetched from another node");
    }
}

static void give_to_peer(struct node *node, uint32_t place, const struct log_fetched *fetched)
{
    struct peer *peer = &node->peers[place];
    raft_id id = node->applier.fetch_id;

    if (peer->id != id) {
        return; /* It has left meanwhile. */
    }
    peer->fetch_index = 0;
    if (fetched->error == ERR_OK) {
        raft_fetched(node->raft, id, fetched->first_index, fetched->record_count, fetched->records,
                     node->now_ms);
        return;
    }
    raft_fetched(node->raft, id, fetched->first_index, 0, (struct bytes){0}, node->now_ms);
    if (fetched->error != ERR_MISSING) {
        log_unreadable(node, fetched);
    }
}

void applier_fetched(struct node *node)
{
    struct applier *applier = &node->applier;
    struct log_fetched fetched;

    if (!log_fetched(node->log, &fetched)) {
        return;
    }
    uint32_t owner = applier->fetch_owner;

    ASSERT_VALUES(owner != FETCH_FREE, owner, fetched.first_index);
    applier->fetch_owner = FETCH_FREE;
    if (owner != FETCH_FOR_APPLIER) {
        give_to_peer(node, owner, &fetched);
        return;
    }
    if (fetched.first_index <= machine_applied_index(node->machine) || node_state_is_away(node)) {
        return; /* A snapshot took its place. */
    }
    if (fetched.error == ERR_CORRUPT) {
        log_unreadable(node, &fetched);
        return;
    }
    if (fetched.error != ERR_OK) {
        /* Committed entries are never cut off, so ERR_MISSING is as bad as the others. */
        node_fail(node, error_text(fetched.error), "reading the log back",
                  "check the disk and start again");
        return;
    }
    /* What was not committed yet may be replaced: it is fetched again when it is its turn. */
    raft_index last = fetched.first_index + fetched.record_count - 1;

    ASSERT_VALUES(fetched.record_count >= 1, fetched.first_index, last);
    applier->fetched = fetched.records;
    applier->fetched_index = fetched.first_index;
    applier->fetched_last = last < node->status.commit_index ? last : node->status.commit_index;
}
