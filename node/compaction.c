/* node/compaction.c: snapshots of the state are taken, and the log behind them is dropped.
 *
 * When the log has grown by enough since the last snapshot, the next commit of the table begins
 * one. What the log had up to there is dropped once the file is durable under its final name, and
 * not while a follower still needs it, unless that keeps too much. A snapshot that failed costs
 * nothing: a later commit begins the next. */
#include "base/assert.h"
#include "node/internal.h"

/* Of the state, beside the least amount: what the log grows by between two snapshots. */
enum { GROWTH_SHARE = 4 };

/* Bytes that the log has been given, about; it only grows. */
static uint64_t written(const struct node *node)
{
    return node->compaction.written_before + log_counters(node->log).batch_bytes;
}

void compaction_open(struct node *node, const struct raft_base *base, uint64_t log_size)
{
    node->compaction = (struct compaction){
        .term = base->term,
        .configuration = base->configuration,
        .written_before = log_size,
    };
    ASSERT(base->configuration.index <= base->index);
}

void compaction_applied(struct node *node, const struct raft_entry *entry)
{
    struct compaction *compaction = &node->compaction;

    ASSERT_VALUES(entry->term >= compaction->term, entry->term, compaction->term);
    compaction->term = entry->term;
    if (entry->kind == RAFT_ENTRY_CONFIGURATION) {
        bool is_valid = raft_configuration_decode(entry->payload, &compaction->configuration);

        ASSERT_VALUES(is_valid, entry->index, entry->term);
    }
}

void compaction_installed(struct node *node, const struct raft_base *base)
{
    node->compaction.term = base->term;
    node->compaction.configuration = base->configuration;
    node->compaction.written_mark = written(node);
}

/* --- Taking ----------------------------------------------------------------------------------- */

static uint64_t more(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static uint64_t newest_size(const struct node *node)
{
    const struct snapshot_file *newest = snapshots_newest(node->snapshots);

    return newest == NULL ? 0 : newest->size;
}

static bool is_wanted(const struct node *node)
{
    const struct snapshot_file *newest = snapshots_newest(node->snapshots);
    raft_index index = node->compaction.wanted_index;

    return index != 0 && (newest == NULL || newest->index < index);
}

/* What the log grows by between two snapshots, at least. */
static uint64_t growth(const struct node *node)
{
    return more(node->options.snapshot_log_size, newest_size(node) / GROWTH_SHARE);
}

static bool is_due(const struct node *node)
{
    const struct compaction *compaction = &node->compaction;

    return node->now_ms >= compaction->retry_ms && !node->is_stopping &&
           (is_wanted(node) || written(node) - compaction->written_mark >= growth(node));
}

bool compaction_waits(const struct node *node)
{
    return is_wanted(node) &&
           node->compaction.wanted_index <= machine_applied_index(node->machine) &&
           !snapshots_are_saving(node->snapshots) && is_due(node);
}

void compaction_want(struct node *node, raft_index index)
{
    node->compaction.wanted_index = more(node->compaction.wanted_index, index);
    if (compaction_waits(node)) {
        node->commit_ms = node->now_ms;
    }
}

void compaction_committed(struct node *node)
{
    struct compaction *compaction = &node->compaction;
    uint8_t configuration[RAFT_CONFIGURATION_SIZE_MAX];
    raft_index applied = machine_applied_index(node->machine);

    ASSERT_VALUES(node->status.durable_index >= applied, node->status.durable_index, applied);
    if (applied == 0 || snapshots_are_saving(node->snapshots) || !is_due(node) ||
        (is_wanted(node) && applied < compaction->wanted_index)) {
        return;
    }
    struct snapshot_base base = {
        .index = applied,
        .term = compaction->term,
        .log_ms = machine_log_ms(node->machine),
        .state_hash = machine_hash(node->machine),
        .configuration_index = compaction->configuration.index,
        .configuration = bytes_of(
            configuration, raft_configuration_encode(configuration, &compaction->configuration)),
    };
    enum error error = snapshots_save_begin(node->snapshots, &base, node->now_ms);

    if (error == ERR_OK) {
        compaction->saving_mark = written(node);
    } else if (error == ERR_STALE) {
        compaction->written_mark = written(node);
    }
}

static void log_saved(struct node *node, const struct snapshot_event *event)
{
    struct line line;

    line_begin(&line, "snapshot_saved");
    line_add_u64(&line, "index", event->index);
    line_add_u64(&line, "bytes", event->size);
    line_write_limited(node, WORLD_INFO, &line, &node->snapshot_lines);
}

static void saved(struct node *node, const struct snapshot_event *event)
{
    node->compaction.written_mark = node->compaction.saving_mark;
    node->compaction.retry_ms = NEVER;
    log_saved(node, event);
}

static void failed(struct node *node, const struct snapshot_event *event)
{
    struct line line;

    if (event->error == ERR_CANCELLED) {
        return; /* Something more useful came between. */
    }
    node->compaction.retry_ms = node->now_ms + SNAPSHOT_RETRY_MS;
    line_begin(&line, "snapshot_failed");
    line_add_u64(&line, "index", event->index);
    line_add(&line, "reason", error_text(event->error));
    line_add(&line, "text", "it is tried again; the log keeps what it has");
    line_write_limited(node, WORLD_WARNING, &line, &node->snapshot_lines);
}

/* --- Cutting ---------------------------------------------------------------------------------- */

void compaction_log_began(struct node *node, raft_index index)
{
    node->compaction.cut_index = 0;
    node->compaction.dropped_index = index;
}

/* The next place to cut at: the newest snapshot of what is applied. */
static void plan_cut(struct node *node)
{
    struct compaction *compaction = &node->compaction;
    const struct snapshot_file *newest = snapshots_newest(node->snapshots);

    if (compaction->cut_index != 0 || newest == NULL || node_state_is_away(node) ||
        newest->index <= compaction->dropped_index ||
        newest->index > machine_applied_index(node->machine)) {
        return;
    }
    compaction->cut_index = newest->index;
    compaction->cut_term = newest->term;
    compaction->cut_ticket = node->held.last_ticket;
    compaction->cut_mark = written(node);
}

/* Some follower is on its way through what would go. That ends: with its catching up, or when that
 * has kept too much. Later snapshots do not begin the count anew. Whoever is being sent a file
 * needs what is written meanwhile. */
static bool is_needed(const struct node *node)
{
    const struct compaction *compaction = &node->compaction;
    raft_index wanted = raft_wanted_index(node->raft);
    raft_index shipped = shipping_wanted_index(node);
    uint64_t most = shipped == UINT64_MAX ? growth(node) : more(growth(node), newest_size(node));

    wanted = shipped < wanted ? shipped : wanted;
    return wanted <= compaction->cut_index && written(node) - compaction->cut_mark < most;
}

void compaction_tick(struct node *node)
{
    struct compaction *compaction = &node->compaction;

    plan_cut(node);
    if (compaction->cut_index == 0 || is_needed(node) ||
        log_durable_ticket(node->log) < compaction->cut_ticket) {
        return;
    }
    raft_compacted(node->raft, compaction->cut_index, compaction->cut_term);
    log_drop(node->log, compaction->cut_index);
    compaction_log_began(node, compaction->cut_index);
    node_refresh_status(node);
}

/* --- Events of the snapshots ------------------------------------------------------------------ */

void compaction_refused(struct node *node, const struct snapshot_event *event)
{
    struct line line;

    line_begin(&line, "snapshot_refused");
    line_add(&line, "file", event->name.text);
    line_add(&line, "reason", error_text(event->error));
    line_write(node, WORLD_WARNING, &line);
}

void compaction_take_events(struct node *node)
{
    struct snapshot_event event;

    while (node->problem == NULL && snapshots_next_event(node->snapshots, &event)) {
        switch (event.kind) {
        case SNAPSHOT_SAVED:
            saved(node, &event);
            break;
        case SNAPSHOT_SAVE_FAILED:
            failed(node, &event);
            break;
        case SNAPSHOT_LOADED:
        case SNAPSHOT_LOAD_FAILED:
            installation_loaded(node, &event);
            break;
        case SNAPSHOT_RECEIVED:
        case SNAPSHOT_RECEIVE_FAILED:
            installation_received(node, &event);
            break;
        case SNAPSHOT_REFUSED:
            compaction_refused(node, &event);
            break;
        case SNAPSHOT_REMOVED:
            break;
        }
    }
}
