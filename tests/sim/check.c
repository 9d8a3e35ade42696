/* tests/sim/check.c: the laws of nodes and of the replicated state, looked at after every turn. */
#include <string.h>

#include "kv/kv.h"
#include "node/internal.h"
#include "raft/internal.h"
#include "tests/sim/sim.h"

enum { HIGH_TERM = 20 };

/* --- Roles --------------------------------------------------------------------------------------
 */

static void check_leader(struct sim *sim, uint32_t place, const struct raft *raft)
{
    struct sim_checks *checks = &sim->checks;
    struct sim_node *node = &checks->nodes[place];
    uint64_t *leader = sim_leader_of(checks, raft->term);
    uint64_t committed = checks->committed_index;

    SIM_CHECK(sim, election_safety, *leader == 0 || *leader == node->id, raft->term, *leader);
    *leader = node->id;
    sim_leaders_check_votes(sim, node, raft->term);
    if (raft->term > checks->newest_term && committed > 0) {
        SIM_CHECK(sim, leader_completeness,
                  node->last_index >= committed &&
                      node->chains[committed] == checks->indexes[committed].committed,
                  committed, node->last_index);
        sim_leaders_check_place(sim, node);
    }
    SOMETIMES(sim, leader_elected);
    if (checks->newest_leader == place) {
        SOMETIMES(sim, leader_elected_again);
    }
    if (raft->term > checks->newest_term + 1 && checks->newest_term != 0) {
        SOMETIMES(sim, two_terms_without_commit);
    }
    for (uint32_t i = 0; i < sim->cluster->node_count; i++) {
        const struct sim_node *other = &checks->nodes[i];
        bool runs = i != place && sim->cluster->worlds[i].runs && other->is_known;

        if (runs && other->role == RAFT_LEADER) {
            SOMETIMES(sim, two_leaders_at_once);
        }
        if (runs && other->last_index > node->last_index) {
            SOMETIMES(sim, leader_with_shorter_log);
        }
        if (checks->newest_leader == i && sim->cluster->worlds[i].asked_to_stop) {
            SOMETIMES(sim, leader_resigned_to_another);
        }
    }
    if (raft->term > checks->newest_term) {
        checks->newest_term = raft->term;
        checks->newest_leader = place;
    }
    if (raft->term > HIGH_TERM) {
        SOMETIMES(sim, term_above_20);
    }
}

static void follow_role(struct sim *sim, uint32_t place, const struct raft *raft)
{
    struct sim_node *node = &sim->checks.nodes[place];

    SIM_CHECK(sim, term_never_falls, raft->term >= node->term, raft->term, node->term);
    if (raft->role == RAFT_LEADER && (node->role != RAFT_LEADER || node->term != raft->term)) {
        check_leader(sim, place, raft);
        sim_print(sim, "n%u leads in term %llu, last %llu", place + 1,
                  (unsigned long long)raft->term, (unsigned long long)raft->trail.last_index);
    }
    if (raft->role == RAFT_FOLLOWER) {
        if (node->role == RAFT_LEADER) {
            SOMETIMES(sim, leader_deposed);
        } else if (node->role == RAFT_CANDIDATE) {
            SOMETIMES(sim, candidate_stood_back);
        } else if (node->role == RAFT_PRE_CANDIDATE) {
            SOMETIMES(sim, pre_candidate_stood_back);
        }
    }
    if (raft->role == RAFT_LEADER) {
        node->leader_until_ms = sim->cluster->now_ms;
    }
    for (uint32_t i = 0; raft->role == RAFT_CANDIDATE && node->role != RAFT_CANDIDATE &&
                         i < sim->cluster->node_count;
         i++) {
        const struct sim_node *other = &sim->checks.nodes[i];

        if (i != place && other->role == RAFT_CANDIDATE && other->term == raft->term) {
            SOMETIMES(sim, split_vote);
        }
    }
    node->role = raft->role;
    node->term = raft->term;
}

/* --- The state ----------------------------------------------------------------------------------
 */

static void check_state(struct sim *sim, struct sim_node *known, const struct node *node)
{
    raft_index applied = machine_applied_index(node->machine);

    SIM_CHECK(sim, applied_never_falls, applied >= known->applied_index, applied,
              known->applied_index);
    SIM_CHECK(sim, applied_is_committed, applied <= sim->checks.committed_index, applied,
              sim->checks.committed_index);
    known->applied_index = applied;
    if (node->state_hash.index != 0 && node->state_hash.index <= applied) {
        struct sim_index *at = sim_index_at(&sim->checks, node->state_hash.index);

        if (at->state_hash == 0) {
            at->state_hash = node->state_hash.hash;
        }
        SIM_CHECK(sim, equal_state_at_equal_index, at->state_hash == node->state_hash.hash,
                  node->state_hash.index, node->state_hash.hash);
    }
    if (node->applier.fetch_owner != FETCH_FREE) {
        SOMETIMES(sim, old_entries_fetched);
    }
}

/* The cluster's clock goes no faster than its leader's, and no further in one turn than a gap may
 * be: so nobody's session ends early because a leader was frozen (DESIGN.md 6). */
static void check_time(struct sim *sim, struct sim_node *known, const struct cluster_time *time)
{
    if (known->stamps && time->leading) {
        uint64_t elapsed_ms = time->turn_ms - known->turn_ms;
        uint64_t most_ms = elapsed_ms < time->gap_ms_max ? elapsed_ms : time->gap_ms_max;

        SIM_CHECK(sim, cluster_time_is_not_faster_than_its_leader,
                  time->clock_ms - known->clock_ms <= most_ms, time->clock_ms, known->clock_ms);
    }
    known->stamps = time->leading;
    known->turn_ms = time->turn_ms;
    known->clock_ms = time->clock_ms;
}

_Static_assert((int)SIM_READ_COUNT >= (int)READ_BATCH_COUNT_MAX, "all reads under way are known");

/* A read sees everything that anybody had committed before it was asked (dissertation 6.4). What a
 * batch says can be read here also after it was served: only a later turn uses its slot again. */
static void check_reads(struct sim *sim, struct sim_node *known, const struct reads *reads,
                        uint64_t committed_before)
{
    while (known->read_tail < reads->batch_tail) {
        known->read_needs[known->read_tail++ % SIM_READ_COUNT] = committed_before;
    }
    while (known->read_head < known->read_tail) {
        const struct read_batch *batch =
            &reads->batches[known->read_head & (READ_BATCH_COUNT_MAX - 1)];
        uint64_t needed = known->read_needs[known->read_head % SIM_READ_COUNT];

        if (batch->state == READ_BATCH_WAITS) {
            return;
        }
        SIM_CHECK(sim, reads_see_what_was_committed,
                  batch->state == READ_BATCH_FAILED || batch->index >= needed, batch->index,
                  needed);
        known->read_head++;
    }
}

/* The state is not there while a snapshot is loaded, or fetched after a loss. */
static bool has_state(const struct world *world)
{
    return world->runs && node_problem(world->node) == NULL && !node_state_is_away(world->node);
}

void sim_check_costly(struct sim *sim, uint32_t place)
{
    struct world *world = &sim->cluster->worlds[place];

    if (has_state(world)) {
        node_check(world->node);
        lease_check(world->table);
        kv_check(world->table);
        sim_transact_check(sim, world->table);
        SIM_CHECK(sim, table_is_whole, table_error(world->table) == ERR_OK, place, 0);
    }
}

/* As long as a leader may read without asking anybody, nobody leads a newer term; by the clock of
 * that leader, whatever it is doing. */
static void check_leases(struct sim *sim, uint32_t place, const struct raft *raft)
{
    for (uint32_t i = 0; i < sim->cluster->node_count; i++) {
        struct world *world = &sim->cluster->worlds[i];

        if (i == place || !world->runs || world->node->raft == NULL) {
            continue;
        }
        const struct raft *other = world->node->raft;

        SIM_CHECK(sim, a_lease_keeps_newer_leaders_away,
                  other->role != RAFT_LEADER || other->term >= raft->term ||
                      raft_lease_until(other) <= fake_clock(world),
                  i, place);
    }
}

static void note_reads(struct sim *sim, struct sim_node *known, const struct node *node)
{
    if (node->reads.promised_count > known->promised_read_count) {
        SOMETIMES(sim, read_by_lease);
    }
    known->promised_read_count = node->reads.promised_count;
}

void sim_check_turn(struct sim *sim, uint32_t place)
{
    struct world *world = &sim->cluster->worlds[place];
    struct sim_node *known = &sim->checks.nodes[place];
    const struct node *node = world->node;
    uint64_t committed_before = sim->checks.committed_index;

    sim->totals.turn_count++;
    known->turn_count++;
    sim_trace(sim, sim->cluster->now_ms << 8 | place);
    sim_trace(sim, node->wake_ms);
    if (node->problem != NULL || node->raft == NULL) {
        SIM_CHECK(sim, a_formed_disk_stays_formed, known->id == 0 || node->problem != NULL, place,
                  known->id);
        if (known->was_wiped && known->id == 0 && known->turn_count % 64 == 0) {
            SOMETIMES(sim, wiped_disk_stayed_out);
        }
        return;
    }
    if (node->restoration.is_on) {
        return;
    }
    if (known->is_restoring) {
        sim_check_started(sim, place);
        SOMETIMES(sim, lost_log_restored);
        return;
    }
    sim_members_identify(sim, place, node);
    known->was_formed = true;
    known->is_known = true;
    sim_log_follow(sim, known, node->raft);
    SIM_CHECK(sim, durable_is_in_the_log, node->raft->durable_index <= known->last_index,
              node->raft->durable_index, known->last_index);
    known->durable_index = node->raft->durable_index;
    sim_commit_follow(sim, known, node->raft);
    sim_members_turn(sim, place, node);
    follow_role(sim, place, node->raft);
    if (node->raft->role == RAFT_LEADER) {
        check_leases(sim, place, node->raft);
        note_reads(sim, known, node);
    }
    check_reads(sim, known, &node->reads, committed_before);
    check_time(sim, known, &node->time);
    if (!node_state_is_away(node)) {
        check_state(sim, known, node);
    } else {
        SOMETIMES(sim, state_was_loaded);
    }
    sim_trace(sim, known->last_index ^ known->commit_index << 20 ^ known->applied_index << 40);
    sim_trace(sim, known->term ^ known->chains[known->last_index]);
    if (known->turn_count % sim->plan->knobs.check_turn == 0) {
        node_check(node);
        if (known->turn_count % (16ul * sim->plan->knobs.check_turn) == 0) {
            sim_check_costly(sim, place);
        }
    }
}

/* --- Starting and ending ------------------------------------------------------------------------
 */

void sim_check_ended(struct sim *sim, uint32_t place)
{
    struct sim_node *known = &sim->checks.nodes[place];

    sim_transfers_break(sim, place, place);
    if (!known->is_known) {
        return;
    }
    memcpy(known->kept_chains, known->chains, (known->last_index + 1) * sizeof(uint64_t));
    known->kept_index = known->durable_index;
    known->kept_last_index = known->last_index;
    known->is_known = false;
    known->last_index = 0;
    known->commit_index = 0;
    known->applied_index = 0;
    known->epoch = 0;
    known->base_index = 0;
    known->durable_index = 0;
    known->role = RAFT_FOLLOWER;
    known->stamps = false;
    known->read_head = 0;
    known->read_tail = 0;
}

/* What it had said to be durable and was committed must be on its disk. */
static void check_durability(struct sim *sim, struct sim_node *known)
{
    uint64_t index = known->kept_index < sim->checks.committed_index ? known->kept_index
                                                                     : sim->checks.committed_index;

    while (index > 0 && known->kept_chains[index] != sim->checks.indexes[index].committed) {
        index--;
    }
    SIM_CHECK(sim, acknowledged_is_on_the_disk,
              known->last_index >= index && known->chains[index] == known->kept_chains[index],
              index, known->last_index);
    if (known->last_index > known->kept_index && known->wrote) {
        SOMETIMES(sim, crash_kept_unsynced_write);
    }
    if (known->last_index > sim->checks.committed_index) {
        SOMETIMES(sim, restart_with_uncommitted);
    }
}

static void note_rotten_snapshot(struct sim *sim, uint32_t place)
{
    if (fake_has_logged(sim->cluster, place, "snapshot_refused")) {
        SOMETIMES(sim, rot_of_snapshot_found);
    }
    if (!sim_disk_has_rotten_snapshot(sim, place)) {
        SOMETIMES(sim, rotten_snapshot_gone);
        sim->checks.nodes[place].rotten_snapshot = (struct disk_name){0};
    }
}

void sim_check_started(struct sim *sim, uint32_t place)
{
    struct sim_node *known = &sim->checks.nodes[place];
    const struct node *node = sim->cluster->worlds[place].node;

    sim_record_started(sim, place);
    if (node->raft == NULL) {
        SIM_CHECK(sim, a_formed_disk_stays_formed, known->id == 0, place, known->id);
        return;
    }
    sim_members_identify(sim, place, node);
    known->is_restoring = node->restoration.is_on;
    if (known->is_restoring) {
        bool is_of_snapshot = sim_disk_has_rotten_snapshot(sim, place);

        SIM_CHECK(sim, nothing_is_lost_without_damage, known->may_be_rotten || is_of_snapshot,
                  place, known->id);
        SOMETIMES(sim, rot_found);
        if (is_of_snapshot) {
            SOMETIMES(sim, rot_of_snapshot_restored);
        }
        return;
    }
    if (known->may_be_rotten) {
        known->may_be_rotten = false;
        SOMETIMES(sim, rot_harmless);
    }
    known->is_known = true;
    sim_log_rebase(sim, known, node->raft);
    if (known->base_index > 0) {
        SOMETIMES(sim, restart_from_snapshot);
    }
    if (node->raft->window.first_index > known->base_index + 1) {
        if (node->raft->trail.last_index > known->base_index) {
            sim_disk_read(sim, place, sim_log_read);
        }
        known->last_index = node->raft->trail.last_index;
    }
    sim_log_follow(sim, known, node->raft);
    sim_members_turn(sim, place, node);
    check_durability(sim, known);
    SIM_CHECK(sim, term_survives_a_crash, node->raft->term >= known->vote_term, node->raft->term,
              known->vote_term);
    SIM_CHECK(sim, vote_survives_a_crash,
              node->raft->term > known->vote_term || known->vote_term == 0 ||
                  node->raft->vote == known->vote_for,
              node->raft->vote, known->vote_for);
    known->term = node->raft->term;
    known->durable_index = node->raft->durable_index;
    if (known->rotten_snapshot.text[0] != '\0') {
        note_rotten_snapshot(sim, place);
    }
    if (fake_has_logged(sim->cluster, place, "verdict=torn")) {
        SOMETIMES(sim, torn_tail_cut);
    }
    if (memory_disk_file_count(sim->cluster->worlds[place].disk) > 6) {
        SOMETIMES(sim, log_of_two_segments);
    }
    sim_check_costly(sim, place);
}

/* Where all are healed, all, and no change is under way. Where a quorum was, a majority: one of the
 * quorum may be cut off from a leader outside of it that the others hear; so may those whom a
 * promotion under way needs. */
bool sim_check_agree(struct sim *sim)
{
    uint64_t hash = 0;
    uint32_t agreeing = 0;
    uint32_t live = 0;

    if (!sim->plan->knobs.has_liveness && !sim_members_are_settled(sim)) {
        return false;
    }
    for (uint32_t i = 0; i < sim->cluster->node_count; i++) {
        const struct world *world = &sim->cluster->worlds[i];

        if (!world->runs || world->is_paused || world->node->raft == NULL) {
            continue;
        }
        live |= 1u << i;
        if (!has_state(world)) {
            continue;
        }
        raft_index applied = machine_applied_index(world->node->machine);

        if (applied != sim->checks.committed_index) {
            continue;
        }
        uint64_t own = machine_hash(world->node->machine);

        SIM_CHECK(sim, equal_state_at_the_end, hash == 0 || hash == own, i, applied);
        hash = own;
        agreeing |= 1u << i;
    }
    return sim->plan->knobs.has_liveness ? sim_members_are_majority(sim, agreeing)
                                         : agreeing == live;
}

/* --- Looking ------------------------------------------------------------------------------------
 */

uint32_t sim_leader(const struct sim *sim)
{
    uint32_t leader = FAKE_NODE_COUNT_MAX;
    uint64_t term = 0;

    for (uint32_t i = 0; i < sim->cluster->node_count; i++) {
        const struct sim_node *node = &sim->checks.nodes[i];

        if (sim->cluster->worlds[i].runs && node->is_known && node->role == RAFT_LEADER &&
            node->term > term) {
            term = node->term;
            leader = i;
        }
    }
    return leader;
}
