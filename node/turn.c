/* node/turn.c: raft's effects are carried out, in the order that durability rests on. */
#include "base/assert.h"
#include "node/internal.h"

bool node_leads(const struct node *node)
{
    return node->raft != NULL && node->status.role == RAFT_LEADER;
}

bool node_may_stamp(const struct node *node)
{
    return node_leads(node) && node->time.leading &&
           cluster_time_may_stamp(&node->time, node->status.quorum_contact_ms);
}

bool node_hands_over(const struct node *node)
{
    bool is_under_way = node->is_stopping || node->status.transfer_target != 0;
    bool is_between = node->raft != NULL && node->status.leader == 0 &&
                      node->hand_over_ms != NEVER &&
                      node->now_ms - node->hand_over_ms < node->options.election_ms_max;

    return (node_leads(node) && is_under_way) || is_between;
}

static void log_role(struct node *node)
{
    struct bytes leader = {0};
    struct bytes client;
    struct line line;

    line_begin(&line, "role");
    line_add(&line, "role", raft_role_name(node->status.role));
    line_add_u64(&line, "term", node->status.term);
    if (leader_known(node, &leader, &client)) {
        line_add_bytes(&line, "leader", leader);
    }
    line_write(node, WORLD_INFO, &line);
}

static void leadership_changed(struct node *node, bool led, bool leads)
{
    if (led) {
        cluster_time_follow(&node->time);
        requests_leadership_lost(node);
        renewals_leadership_lost(node);
        reads_leadership_lost(node);
        observers_leadership_lost(node);
        waiting_leadership_lost(node);
    }
    if (leads) {
        cluster_time_lead(&node->time, node->status.term, node->now_ms);
        /* What other members still owe us of an older leadership cannot come any more. */
        requests_leadership_lost(node);
    }
}

void node_refresh_status(struct node *node)
{
    const struct raft_status before = node->status;
    bool led = before.role == RAFT_LEADER;

    node->status = raft_status(node->raft);
    if (node->status.transfer_target != 0 || (node->is_stopping && led)) {
        node->hand_over_ms = node->now_ms;
    }
    bool leads = node->status.role == RAFT_LEADER;

    if (led != leads || (leads && before.term != node->status.term)) {
        leadership_changed(node, led, leads);
    }
    if (before.role != node->status.role || before.leader != node->status.leader) {
        log_role(node);
    }
    ASSERT(node->time.leading == leads);
}

void node_refresh_noop(struct node *node)
{
    uint8_t bytes[ENVELOPE_SIZE];
    const struct envelope tick = {
        .method = ENVELOPE_TICK,
        .log_ms = cluster_time_stamp(&node->time),
    };

    envelope_encode(bytes, &tick);
    raft_set_noop_payload(node->raft, bytes_of(bytes, ENVELOPE_SIZE));
}

void node_refresh_room(struct node *node)
{
    if (log_space_is_short(node->log) && node->now_ms >= node->space_retry_ms) {
        node->space_retry_ms = node->now_ms + SPACE_RETRY_MS;
        log_space_retry(node->log);
    }
    node->stage_room = log_stage_room_beside(node->log, VOTE_RESERVE_SIZE);
    node->client_room = log_stage_room_beside(node->log, CLIENT_RESERVE_SIZE);
    ASSERT_VALUES(node->client_room <= node->stage_room, node->client_room, node->stage_room);
}

/* The last stamp of a unit counts. A configuration has none. */
static void note_stamps(struct node *node, const struct raft_effects *effects)
{
    for (uint32_t i = 0; i < effects->append_count; i++) {
        struct raft_entry entry;
        struct envelope envelope;

        if (!raft_entry_at(node->raft, effects->tag.index - i, &entry)) {
            return;
        }
        if (entry.kind != RAFT_ENTRY_CONFIGURATION && envelope_decode(entry.payload, &envelope)) {
            cluster_time_appended(&node->time, envelope.log_ms);
            return;
        }
    }
}

/* 1. Append and hard state go to the log as one unit. False when there is no room: then nothing of
 * what raft wants done may be done, as it rests on what would have been written. */
static bool stage(struct node *node, const struct raft_effects *effects)
{
    uint8_t hard_state[RAFT_HARD_STATE_SIZE];
    log_index first_index = effects->append_first_index;

    if (effects->append_count == 0 && !effects->hard_state_changed) {
        return true;
    }
    if (effects->append_first.size + effects->append_second.size > log_stage_room(node->log)) {
        node_fail_log(node, ERR_FULL);
        return false;
    }
    if (effects->append_count == 0) {
        first_index = log_last_index(node->log) + 1;
    }
    note_stamps(node, effects);
    raft_hard_state_encode(hard_state, &effects->hard_state);
    uint64_t ticket = log_stage(
        node->log, first_index, effects->append_count, effects->append_first,
        effects->append_second,
        effects->hard_state_changed ? bytes_of(hard_state, sizeof(hard_state)) : (struct bytes){0});

    held_staged(node, ticket, &effects->tag);
    return true;
}

static void note_fetches(struct node *node, const struct raft_effects *effects)
{
    for (uint32_t i = 0; i < effects->fetch_count; i++) {
        uint32_t place = place_of_id(node, effects->fetches[i].peer);

        if (place != NO_PEER) {
            node->peers[place].fetch_index = effects->fetches[i].first_index;
        }
    }
}

/* False when nothing was owed any more. */
static bool carry_out(struct node *node)
{
    struct raft_effects effects;
    bool has_effects = raft_collect(node->raft, &effects);

    if (has_effects) {
        if (!stage(node, &effects)) {
            return false;
        }
        for (uint32_t i = 0; i < effects.send_now_count; i++) {
            peers_send_raft(node, &effects.send_now[i]);
        }
        for (uint32_t i = 0; i < effects.send_durable_count; i++) {
            held_add(node, &effects.send_durable[i]);
        }
        reads_ready(node, &effects);
        note_fetches(node, &effects);
        shipping_note_needs(node, &effects);
        if (effects.configuration_changed) {
            members_changed(node, &effects);
        }
    }
    node->raft_wake_ms = effects.wake_ms;
    node_refresh_status(node);
    applier_run(node, effects.commit_index);
    if (node->problem == NULL && !node_state_is_away(node)) {
        reads_serve(node);
        observers_serve(node);
        applier_tick(node);
    }
    return has_effects && node->problem == NULL;
}

/* The table's transaction ends now and then, never ahead of the durable log. While the one before
 * is still being written it goes on: the loop waits for no disk. */
static void commit_table(struct node *node)
{
    raft_index applied = machine_applied_index(node->machine);

    if (node_state_is_away(node)) {
        return;
    }
    if (applied == node->committed_index && !compaction_waits(node)) {
        node->commit_ms = node->now_ms + node->options.commit_interval_ms;
        return;
    }
    bool is_due =
        node->now_ms >= node->commit_ms || table_dirty_bytes(node->table) >= COMMIT_SIZE_MAX;
    if (is_due && node->status.durable_index >= applied) {
        if (table_commit_would_wait(node->table)) {
            node->commit_ms = node->now_ms + COMMIT_RETRY_MS;
            return;
        }
        machine_commit(node->machine);
        status_keep_hash(node);
        node->committed_index = applied;
        node->commit_ms = node->now_ms + node->options.commit_interval_ms;
        compaction_committed(node);
    }
}

/* False when there is nothing else to do: the node is not well enough. */
static bool advance_snapshots(struct node *node)
{
    snapshots_advance(node->snapshots, node->now_ms);
    compaction_take_events(node);
    if (node->restoration.is_on && node->problem == NULL) {
        restoration_tick(node);
        return false;
    }
    return node->problem == NULL;
}

void turn_advance(struct node *node)
{
    node_refresh_noop(node);
    if (!advance_snapshots(node)) {
        return;
    }
    reads_begin(node);
    held_release(node);
    raft_tick(node->raft, node->now_ms);
    node_refresh_status(node);
    requests_tick(node);
    renewals_tick(node);
    observers_tick(node);
    waiting_run(node);
    if (node->problem != NULL) {
        return;
    }
    applier_tick(node);
    reads_ask(node);
    unsigned rounds = 0;

    while (rounds < COLLECT_COUNT_MAX && carry_out(node)) {
        rounds++;
    }
    if (node->problem != NULL) {
        return;
    }
    if (rounds == COLLECT_COUNT_MAX) {
        node->raft_wake_ms = node->now_ms; /* More may be owed. */
    }
    changes_tick(node);
    watches_tick(node);
    applier_fetch(node);
    shipping_tick(node);
    backups_tick(node);
    compaction_tick(node);
    log_flush(node->log);
    disk_watch_tick(node);
    disk_space_tick(node);
    commit_table(node);
}

/* --- When the next turn is due ---------------------------------------------------------------- */

static void wake_at(struct node *node, uint64_t time_ms)
{
    if (time_ms < node->wake_ms) {
        node->wake_ms = time_ms;
    }
}

static void wake_for_leader(struct node *node)
{
    const struct applier *applier = &node->applier;
    uint64_t clock_ms = cluster_time_now(&node->time);

    if (!node_may_stamp(node)) {
        wake_at(node, node->now_ms + 1); /* Requests wait in their connections. */
        return;
    }
    if (node->renewals.due_ms != NEVER) {
        wake_at(node, node->renewals.due_ms);
    }
    if (node->observers.due_ms != NEVER) {
        wake_at(node, node->observers.due_ms);
    }
    if (applier->tick_is_due && applier->tick_index == 0) {
        wake_at(node, node->now_ms + 1);
    }
    uint64_t due_ms = applier->tick_index == 0 ? machine_due_ms(node->machine) : UINT64_MAX;

    if (due_ms != UINT64_MAX) {
        wake_at(node, node->now_ms + (due_ms > clock_ms ? due_ms - clock_ms : 1));
    }
}

void turn_plan(struct node *node)
{
    node->wake_ms = node->now_ms + FORMATION_RETRY_MS;
    if (node->raft == NULL) {
        return;
    }
    wake_at(node, snapshots_wake_ms(node->snapshots));
    if (node->restoration.is_on) {
        wake_at(node, restoration_wake_ms(node));
        return;
    }
    wake_at(node, node->raft_wake_ms);
    wake_at(node, shipping_wake_ms(node));
    if (node->applier.has_more || node->reads.has_more || waiting_is_due(node)) {
        wake_at(node, node->now_ms);
    }
    wake_at(node, disk_watch_wake_ms(node));
    wake_at(node, disk_space_wake_ms(node));
    wake_at(node, watches_wake_ms(node));
    if (node->requests.orphan_ms != NEVER) {
        wake_at(node, node->requests.orphan_ms);
    }
    if (machine_applied_index(node->machine) != node->committed_index || compaction_waits(node)) {
        /* Where the log is behind, its completion makes a turn. */
        wake_at(node, node->commit_ms > node->now_ms ? node->commit_ms : FAR_FUTURE_MS);
    }
    if (node_hands_over(node)) {
        wake_at(node, node->now_ms + 1); /* Likewise. */
    }
    if (node_leads(node)) {
        wake_for_leader(node);
    }
    if (node->passing.has_news) {
        wake_at(node, node->now_ms);
    }
    if (node->passing.orphan_ms != NEVER) {
        wake_at(node, node->passing.orphan_ms);
    }
    if (node->is_stopping) {
        wake_at(node, node->stop_ms > node->now_ms ? node->stop_ms : node->now_ms + 1);
    }
}
