/* node/recovery.c: log and raft are opened once it is known which cluster they belong to. */
#include "node/recovery.h"
#include "base/assert.h"
#include "node/internal.h"

void recovery_log_options(const struct node_options *options, const struct identity *identity,
                          struct log_options *log_options)
{
    *log_options = (struct log_options){
        .prefix = "raft",
        .incarnation = identity->incarnation,
        .segment_size = options->segment_size,
        .batch_size_max = LOG_BATCH_SIZE_MAX_DEFAULT,
        .segment_count_max = options->segment_count_max,
        .segments_ahead = SEGMENTS_AHEAD,
    };
    memcpy(log_options->cluster, identity->cluster, IDENTITY_CLUSTER_SIZE);
}

void recovery_raft_options(const struct node_options *options, const struct identity *identity,
                           struct raft_options *raft_options)
{
    *raft_options = (struct raft_options){
        .self = identity->self,
        .election_ms_min = options->election_ms_min,
        .election_ms_max = options->election_ms_max,
        .heartbeat_ms = options->heartbeat_ms,
        .inflight_count_max = INFLIGHT_COUNT_MAX,
        .append_size_max = APPEND_SIZE_MAX,
        .window_size = options->window_size,
        .window_count_max = options->window_size / WINDOW_ENTRY_SIZE,
        .uncommitted_size_max = options->window_size / 4,
        .read_count_max = READ_BATCH_COUNT_MAX,
    };
}

static const char *verdict_name(enum log_verdict verdict)
{
    switch (verdict) {
    case LOG_CLEAN:
        return "clean";
    case LOG_TORN:
        return "torn";
    case LOG_ROTTEN:
        return "rotten";
    }
    UNREACHABLE();
}

static const char *advice_for(enum error error)
{
    if (error == ERR_CORRUPT) {
        return "acknowledged bytes are damaged and nothing was changed: keep the folder, and bring "
               "the node back with an empty one as a new member";
    }
    if (error == ERR_NO_SPACE) {
        return "make room on the disk and start again";
    }
    return "check --data and the disk, and start again";
}

static void log_recovered(struct node *node, const struct log_recovery *recovery)
{
    struct line line;

    line_begin(&line, "recovered");
    line_add(&line, "verdict", verdict_name(recovery->verdict));
    line_add_u64(&line, "last_index", recovery->last_index);
    line_add_u64(&line, "applied", machine_applied_index(node->machine));
    line_add_u64(&line, "batches", recovery->batch_count);
    line_add_u64(&line, "segments", recovery->segment_count);
    if (recovery->verdict != LOG_CLEAN) {
        line_add(&line, "file", recovery->file.text);
        line_add_u64(&line, "offset", recovery->offset);
    }
    line_write(node, recovery->verdict == LOG_CLEAN ? WORLD_INFO : WORLD_WARNING, &line);
}

static enum error restore_entry(struct node *node, struct bytes *records)
{
    struct raft_entry entry;
    struct envelope envelope;

    if (!raft_entry_next(records, &entry)) {
        return ERR_CORRUPT;
    }
    if (entry.kind != RAFT_ENTRY_CONFIGURATION && envelope_decode(entry.payload, &envelope)) {
        cluster_time_appended(&node->time, envelope.log_ms);
    }
    return raft_restore(node->raft, &entry);
}

static enum error restore_entries(struct node *node, log_index last_index)
{
    log_index next = 1;

    while (next <= last_index) {
        struct log_fetched fetched;
        enum error error = log_read_now(node->log, next, &fetched);

        if (error != ERR_OK || fetched.record_count == 0) {
            return error == ERR_OK ? ERR_CORRUPT : error;
        }
        for (uint32_t i = 0; i < fetched.record_count; i++) {
            error = restore_entry(node, &fetched.records);
            if (error != ERR_OK) {
                return error;
            }
        }
        next += fetched.record_count;
    }
    return ERR_OK;
}

static enum error open_log(struct node *node, struct log_recovery *recovery)
{
    struct log_options options;
    enum error error;

    recovery_log_options(&node->options, &node->identity, &options);
    *recovery = (struct log_recovery){0};
    error = log_open(&node->log, &node->log_arena, &options, node->disk, recovery);
    if (error != ERR_OK) {
        node->log = NULL;
        node_fail(node, error_text(error),
                  recovery->file.text[0] == '\0' ? "opening the log" : recovery->file.text,
                  advice_for(error));
        return error;
    }
    log_recovered(node, recovery);
    if (machine_applied_index(node->machine) > recovery->last_index) {
        node_fail(node, "the table is ahead of the log", "opening the table",
                  "the log has lost its end: bring the node back with an empty folder as a new "
                  "member");
        return ERR_CORRUPT;
    }
    return ERR_OK;
}

enum error recovery_run(struct node *node)
{
    struct log_recovery recovery;
    struct raft_options options;
    struct raft_hard_state hard_state = {0};
    struct raft_base base;
    struct raft *raft = NULL;
    enum error error = open_log(node, &recovery);

    ASSERT(node->identity.formed && node->raft == NULL);
    if (error != ERR_OK) {
        return error;
    }
    if (recovery.hard_state.size != 0 &&
        !raft_hard_state_decode(recovery.hard_state, &hard_state)) {
        node_fail(node, "the hard state is not valid", "opening the log", advice_for(ERR_CORRUPT));
        return ERR_CORRUPT;
    }
    recovery_raft_options(&node->options, &node->identity, &options);
    world_entropy(node->world, &options.seed, sizeof(options.seed));
    identity_base(&node->identity, &base);
    error = raft_open(&raft, &node->raft_arena, &options, &hard_state, &base);
    if (error == ERR_OK) {
        node->raft = raft;
        error = restore_entries(node, recovery.last_index);
    }
    if (error != ERR_OK) {
        node->raft = NULL;
        node_fail(node, error_text(error), "restoring the log", advice_for(error));
        return error;
    }
    raft_start(raft, node->now_ms);
    node->held.last_ticket = log_durable_ticket(node->log);
    node_refresh_room(node);
    node_refresh_status(node);
    members_open(node);
    return ERR_OK;
}
