/* node/recovery.c: snapshots, log, table and raft are opened once it is known which cluster they
 * belong to.
 *
 * What the disk must give together: a base (the newest snapshot that is whole, or the formation), a
 * log that reaches from it without a gap to the last entry that was acknowledged, and a table that
 * is at the base or behind it in that log; one that is not is loaded from the snapshot. A log that
 * ends in front of the snapshot, or conflicts with it, is what a crash in the middle of an
 * installation leaves: the log begins anew. Where something is missing, see restoration.c. */
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
        .accepts_rot = true,
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
        .promise_ms = options->promise_ms,
        .clock_rate_ppm = options->clock_rate_ppm,
    };
}

/* What was found, put together. */
struct findings {
    struct log_recovery log;
    struct raft_hard_state hard_state;
    struct raft_base base;
    uint64_t base_log_ms;
    uint64_t record_bytes;
    bool log_begins_anew; /* Nothing of it continues the base. */
    const char *lack;     /* What is missing; NULL: nothing is. */
};

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
        return "what this node has promised is not to be read and nothing was changed: keep the "
               "folder, and bring the node back with an empty one as a new member";
    }
    if (error == ERR_NO_SPACE) {
        return "make room on the disk and start again";
    }
    return "check --data and the disk, and start again";
}

static void log_recovered(struct node *node, const struct findings *found)
{
    const struct log_recovery *recovery = &found->log;
    bool is_well = recovery->verdict == LOG_CLEAN && found->lack == NULL;
    struct line line;

    line_begin(&line, "recovered");
    line_add(&line, "verdict", verdict_name(recovery->verdict));
    line_add_u64(&line, "base", found->base.index);
    line_add_u64(&line, "first_index", recovery->first_index);
    line_add_u64(&line, "last_index", recovery->last_index);
    line_add_u64(&line, "applied", machine_applied_index(node->machine));
    line_add_u64(&line, "batches", recovery->batch_count);
    line_add_u64(&line, "segments", recovery->segment_count);
    if (recovery->verdict != LOG_CLEAN) {
        line_add(&line, "file", recovery->file.text);
        line_add_u64(&line, "offset", recovery->offset);
    }
    line_write(node, is_well ? WORLD_INFO : WORLD_WARNING, &line);
}

/* --- Snapshots and log ------------------------------------------------------------------------ */

static enum error open_snapshots(struct node *node)
{
    struct snapshot_options options;

    if (node->snapshots != NULL) {
        return ERR_OK;
    }
    snapshot_options_init(&options);
    memcpy(options.cluster, node->identity.cluster, IDENTITY_CLUSTER_SIZE);
    options.bytes_per_second = node->options.snapshot_pace;
    enum error error =
        snapshots_open(&node->snapshots, &node->snapshot_arena, &options, node->disk, node->table);

    if (error != ERR_OK) {
        node->snapshots = NULL;
        node_fail(node, error_text(error), "looking through the snapshots", advice_for(ERR_IO));
    }
    return error;
}

static enum error open_log(struct node *node, struct log_recovery *recovery)
{
    struct log_options options;
    enum error error;

    recovery_log_options(&node->options, &node->identity, &options);
    *recovery = (struct log_recovery){0};
    arena_init(&node->log_arena, node->log_memory, node->log_memory_size);
    error = log_open(&node->log, &node->log_arena, &options, node->disk, recovery);
    if (error == ERR_OK && recovery->verdict == LOG_ROTTEN && !recovery->state_is_certain) {
        error = ERR_CORRUPT; /* Even our vote may be lost. */
    }
    if (error != ERR_OK) {
        node->log = NULL;
        node_fail(node, error_text(error),
                  recovery->file.text[0] == '\0' ? "opening the log" : recovery->file.text,
                  advice_for(error));
    }
    return error;
}

static enum error decode_hard_state(struct node *node, struct findings *found)
{
    if (found->log.hard_state.size != 0 &&
        !raft_hard_state_decode(found->log.hard_state, &found->hard_state)) {
        node_fail(node, "the hard state is not valid", "opening the log", advice_for(ERR_CORRUPT));
        return ERR_CORRUPT;
    }
    return ERR_OK;
}

/* --- The base --------------------------------------------------------------------------------- */

static void take_formation(struct node *node, struct findings *found)
{
    identity_base(&node->identity, &found->base);
    found->base_log_ms = 0;
}

static bool take_snapshot(struct node *node, const struct snapshot_file *file,
                          struct findings *found)
{
    struct snapshot_base base = snapshots_base(node->snapshots, file);

    found->base_log_ms = base.log_ms;
    return snapshot_base_to_raft(&base, &found->base);
}

/* The table goes on from where it was, or is loaded from the snapshot at the base: ERR_OK.
 * ERR_CORRUPT: that one is refused, and the table is empty. */
static enum error settle_table(struct node *node, const struct snapshot_file *file)
{
    struct snapshot_base base = snapshots_base(node->snapshots, file);
    raft_index applied = machine_applied_index(node->machine);

    if (applied > base.index ||
        (applied == base.index && machine_hash(node->machine) == base.state_hash)) {
        return ERR_OK;
    }
    enum error error = snapshots_load_now(node->snapshots, base.index);

    if (table_error(node->table) != ERR_OK) {
        return table_error(node->table);
    }
    machine_reload(node->machine);
    if (error == ERR_OK && machine_applied_index(node->machine) != base.index) {
        return ERR_INVALID;
    }
    return error == ERR_IO ? ERR_IO : error == ERR_OK ? ERR_OK : ERR_CORRUPT;
}

/* The newest snapshot that is whole, as far as the log reaches back; else the formation. */
static enum error find_base(struct node *node, struct findings *found)
{
    const struct snapshot_file *file = snapshots_newest(node->snapshots);
    enum error error = ERR_CORRUPT;

    while (file != NULL && error == ERR_CORRUPT) {
        raft_index index = file->index;

        error = take_snapshot(node, file, found) ? settle_table(node, file) : ERR_VERSION;
        if (error == ERR_CORRUPT) {
            file = snapshots_newest_below(node->snapshots, index);
        }
    }
    if (file == NULL) {
        take_formation(node, found);
        error = ERR_OK;
    }
    if (error != ERR_OK) {
        node_fail(node, error_text(error), "reading a snapshot", advice_for(error));
    }
    return error;
}

static enum error term_at(struct node *node, raft_index index, raft_term *term)
{
    struct log_fetched fetched;
    struct raft_entry entry;
    enum error error = log_read_now(node->log, index, &fetched);

    if (error == ERR_OK) {
        error = raft_entry_next(&fetched.records, &entry) && entry.index == index ? ERR_OK
                                                                                  : ERR_CORRUPT;
        *term = error == ERR_OK ? entry.term : 0;
    }
    return error;
}

/* Does the log go on from the base? An entry behind the base does when the one at the base is the
 * snapshot's (log matching), or was dropped because of it. */
static enum error compare_log(struct node *node, struct findings *found)
{
    const struct raft_base *base = &found->base;
    raft_term term = 0;

    if (found->log.last_index < base->index) {
        found->log_begins_anew = true;
        return ERR_OK;
    }
    if (base->index == 0 || found->log.first_index > base->index) {
        return ERR_OK;
    }
    enum error error = term_at(node, base->index, &term);

    found->log_begins_anew = error == ERR_OK && term != base->term;
    return error;
}

static const char *find_lack(const struct node *node, const struct findings *found)
{
    raft_index applied = machine_applied_index(node->machine);
    raft_index last = found->log.last_index;

    if (found->log.verdict == LOG_ROTTEN) {
        return "the log is damaged";
    }
    if (found->log.first_index > found->base.index + 1 && !found->log_begins_anew) {
        return "no whole snapshot is left that the log goes on from";
    }
    last = last > found->base.index ? last : found->base.index;
    if (applied > last || found->hard_state.commit_index > last) {
        return "the log has lost its end";
    }
    return NULL;
}

/* --- Raft ------------------------------------------------------------------------------------- */

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
    enum error error = raft_restore(node->raft, &entry);

    if (error == ERR_OK && entry.index <= machine_applied_index(node->machine)) {
        compaction_applied(node, &entry);
    }
    return error;
}

static enum error restore_entries(struct node *node, struct findings *found)
{
    log_index next = found->base.index + 1;

    while (next <= found->log.last_index && !found->log_begins_anew) {
        struct log_fetched fetched;
        enum error error = log_read_now(node->log, next, &fetched);

        if (error != ERR_OK || fetched.record_count == 0) {
            return error == ERR_OK ? ERR_CORRUPT : error;
        }
        found->record_bytes += fetched.records.size;
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

static enum error open_raft(struct node *node, const struct findings *found)
{
    struct raft_options options;
    enum error error;

    recovery_raft_options(&node->options, &node->identity, &options);
    options.promise_wait_ms = node->promise_wait_ms;
    world_entropy(node->world, &options.seed, sizeof(options.seed));
    arena_init(&node->raft_arena, node->raft_memory, node->raft_memory_size);
    error = raft_open(&node->raft, &node->raft_arena, &options, &found->hard_state, &found->base);
    if (error != ERR_OK) {
        node->raft = NULL;
    }
    return error;
}

/* A base of a later term than ours came from a leader that we had not heard before. */
static void raise_term(struct findings *found, raft_term term)
{
    if (term > found->hard_state.term) {
        found->hard_state.term = term;
        found->hard_state.vote = 0;
    }
}

static void begin_log_anew(struct node *node, const struct findings *found)
{
    uint8_t bytes[RAFT_HARD_STATE_SIZE];

    raft_hard_state_encode(bytes, &found->hard_state);
    node->held.last_ticket =
        log_restart(node->log, found->base.index + 1, bytes_of(bytes, sizeof(bytes)));
    compaction_log_began(node, found->base.index);
}

static enum error begin(struct node *node, struct findings *found)
{
    raft_index applied = machine_applied_index(node->machine);
    enum error error = open_raft(node, found);

    compaction_open(node, &found->base, found->log.batch_count * DISK_ALIGNMENT);
    cluster_time_appended(&node->time, found->base_log_ms);
    if (error == ERR_OK) {
        error = restore_entries(node, found);
    }
    if (error != ERR_OK) {
        node->raft = NULL;
        node_fail(node, error_text(error), "restoring the log", advice_for(error));
        return error;
    }
    node->compaction.written_before += found->record_bytes;
    raft_start(node->raft, node->now_ms);
    if (applied > found->base.index) {
        raft_applied(node->raft, applied);
    }
    node->held = (struct held){.last_ticket = log_durable_ticket(node->log)};
    if (found->log_begins_anew) {
        begin_log_anew(node, found);
    }
    node->committed_index = applied;
    node_refresh_room(node);
    node_refresh_status(node);
    members_open(node);
    return ERR_OK;
}

/* Raft is there to say who the members are, as far as is known, and takes part in nothing. */
static enum error begin_restoring(struct node *node, struct findings *found)
{
    struct findings bare = *found;

    node->log = NULL;
    raise_term(&bare, bare.base.term);
    bare.hard_state.commit_index = 0;
    enum error error = open_raft(node, &bare);

    if (error != ERR_OK) {
        node_fail(node, error_text(error), "opening the members", advice_for(error));
        return error;
    }
    raft_start(node->raft, node->now_ms);
    raft_installing(node->raft, true);
    restoration_begin(node, found->lack, found->hard_state.term);
    node_refresh_status(node);
    members_open(node);
    return ERR_OK;
}

/* --- All of it -------------------------------------------------------------------------------- */

/* Even our vote is gone, which no other node can give back. A backup has no log yet. */
static enum error refuse_lost_log(struct node *node, const struct findings *found)
{
    if (node->backing.id != 0 || machine_applied_index(node->machine) <= found->log.last_index ||
        found->hard_state.term != 0) {
        return ERR_OK;
    }
    node_fail(node, "the table is ahead of the log", "opening the table",
              "the log is gone: bring the node back with an empty folder as a new member");
    return ERR_CORRUPT;
}

static enum error look(struct node *node, struct findings *found)
{
    enum error error = open_snapshots(node);

    if (error == ERR_OK) {
        error = open_log(node, &found->log);
    }
    if (error == ERR_OK) {
        error = decode_hard_state(node, found);
    }
    if (error == ERR_OK) {
        error = refuse_lost_log(node, found);
    }
    if (error == ERR_OK) {
        error = find_base(node, found);
    }
    return error;
}

/* What the log lacks is there, in a file that this version cannot read: an older one was replaced
 * while its state was in use. Restoring from the others would hide that, and could take for ever.
 */
static enum error refuse_other_version(struct node *node, const struct findings *found)
{
    if (found->log.first_index <= found->base.index + 1 ||
        snapshots_of_another_version(node->snapshots) <= found->base.index) {
        return ERR_OK;
    }
    node_fail(node, "the snapshot of the state was written by another version",
              "reading a snapshot", "use that version, or an empty folder");
    return ERR_VERSION;
}

enum error recovery_run(struct node *node)
{
    struct findings found = {0};
    enum error error = look(node, &found);

    if (error == ERR_OK) {
        error = refuse_other_version(node, &found);
    }
    ASSERT(node->identity.formed && node->raft == NULL);
    if (error != ERR_OK) {
        return error;
    }
    if (found.log.verdict != LOG_ROTTEN) {
        error = compare_log(node, &found);
    }
    if (error != ERR_OK) {
        node_fail(node, error_text(error), "reading the log", advice_for(ERR_IO));
        return error;
    }
    found.lack = find_lack(node, &found);
    log_recovered(node, &found);
    if (found.lack != NULL) {
        return begin_restoring(node, &found);
    }
    raise_term(&found, found.base.term);
    return begin(node, &found);
}

bool recovery_has_snapshot(struct node *node, raft_index index)
{
    struct findings found = {0};

    return find_base(node, &found) == ERR_OK && found.base.index >= index;
}

/* Cuts off all that is damaged: the snapshot that has come stands for it. */
static enum error mend_log(struct node *node, struct log_recovery *recovery)
{
    enum error error = open_log(node, recovery);

    for (uint64_t left = node->options.segment_count_max;
         error == ERR_OK && log_is_rotten(node->log); left--) {
        error = left == 0 ? ERR_CORRUPT : log_repair_end(node->log, false);
        if (error == ERR_OK) {
            error = open_log(node, recovery);
        }
    }
    return error;
}

enum error recovery_restored(struct node *node, raft_term term)
{
    struct findings found = {0};
    struct log_recovery mended;
    enum error error = mend_log(node, &mended);

    if (error != ERR_OK) {
        node_fail(node, error_text(error), "clearing the damaged log", advice_for(error));
        return error;
    }
    error = look(node, &found);
    if (error != ERR_OK) {
        return error;
    }
    if (found.base.index == 0) {
        node_fail(node, "the snapshot that came is not to be read", "restoring",
                  advice_for(ERR_IO));
        return ERR_CORRUPT;
    }
    found.log_begins_anew = true;
    found.hard_state.commit_index = found.base.index;
    raise_term(&found, term);
    raise_term(&found, found.base.term);
    log_recovered(node, &found);
    return begin(node, &found);
}
