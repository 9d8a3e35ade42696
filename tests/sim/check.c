/* tests/sim/check.c: the laws of Raft and of the replicated state, looked at after every turn.
 *
 * For each node a shadow of its log is kept, as a hash of each entry with all before it. One hash
 * at one index then stands for a whole prefix, so that log matching, leader completeness and what
 * was committed cost one comparison each. */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/checksum.h"
#include "base/macros.h"
#include "kv/kv.h"
#include "node/internal.h"
#include "raft/internal.h"
#include "tests/sim/sim.h"
#include "wire/frame.h"

enum { BEHIND_COUNT = 200, MANY_COUNT = 20, LARGE_SIZE = 64 << 10, HIGH_TERM = 20 };

/* --- Memory -------------------------------------------------------------------------------------
 */

static void *grow(void *memory, uint64_t *capacity, uint64_t count, size_t size)
{
    uint64_t wanted = *capacity == 0 ? 1024 : *capacity;

    while (wanted <= count) {
        wanted *= 2;
    }
    if (wanted == *capacity) {
        return memory;
    }
    uint8_t *grown = realloc(memory, wanted * size);

    ASSERT(grown != NULL);
    memset(grown + *capacity * size, 0, (wanted - *capacity) * size);
    *capacity = wanted;
    return grown;
}

static void node_grow(struct sim_node *node, uint64_t last_index)
{
    uint64_t capacity = node->capacity;

    if (last_index < node->capacity) {
        return;
    }
    node->terms = grow(node->terms, &capacity, last_index, sizeof(uint64_t));
    capacity = node->capacity;
    node->kept_chains = grow(node->kept_chains, &capacity, last_index, sizeof(uint64_t));
    capacity = node->capacity;
    node->chains = grow(node->chains, &capacity, last_index, sizeof(uint64_t));
    node->capacity = capacity;
}

static struct sim_index *index_at(struct sim_checks *checks, uint64_t index)
{
    if (index >= checks->index_capacity) {
        checks->indexes =
            grow(checks->indexes, &checks->index_capacity, index, sizeof(struct sim_index));
    }
    return &checks->indexes[index];
}

static uint32_t *leader_of(struct sim_checks *checks, uint64_t term)
{
    if (term >= checks->term_capacity) {
        checks->leaders = grow(checks->leaders, &checks->term_capacity, term, sizeof(uint32_t));
    }
    return &checks->leaders[term];
}

void sim_checks_open(struct sim *sim)
{
    for (uint32_t i = 0; i < FAKE_NODE_COUNT_MAX; i++) {
        node_grow(&sim->checks.nodes[i], 1);
    }
    sim->checks.newest_leader = FAKE_NODE_COUNT_MAX;
}

void sim_checks_close(struct sim *sim)
{
    for (uint32_t i = 0; i < FAKE_NODE_COUNT_MAX; i++) {
        free(sim->checks.nodes[i].terms);
        free(sim->checks.nodes[i].chains);
        free(sim->checks.nodes[i].kept_chains);
    }
    free(sim->checks.indexes);
    free(sim->checks.leaders);
}

/* --- Logs ---------------------------------------------------------------------------------------
 */

static void note_entry(struct sim *sim, struct sim_node *node, const struct raft_entry *entry)
{
    struct sim_index *at = index_at(&sim->checks, entry->index);
    uint64_t chain = checksum(entry->payload, node->chains[entry->index - 1] ^
                                                  entry->term * 0x9e3779b97f4a7c15u ^ entry->kind);

    node->terms[entry->index] = entry->term;
    node->chains[entry->index] = chain;
    for (uint32_t i = 0; i < SIM_KNOWN_COUNT; i++) {
        if (at->known[i].term == entry->term) {
            SIM_CHECK(sim, log_matching, at->known[i].chain == chain, entry->index, entry->term);
            return;
        }
        if (at->known[i].term == 0) {
            at->known[i] = (struct sim_known){.term = entry->term, .chain = chain};
            return;
        }
    }
}

/* Entries that were there and are not any more. */
static void note_truncation(struct sim *sim, struct sim_node *node, uint64_t kept_index,
                            const struct raft *raft)
{
    uint64_t cut_count = node->last_index - kept_index;

    SIM_CHECK(sim, committed_is_never_truncated, kept_index >= node->commit_index, kept_index,
              node->commit_index);
    SIM_CHECK(sim, leader_append_only,
              raft->role != RAFT_LEADER || node->role != RAFT_LEADER || raft->term != node->term,
              kept_index, node->last_index);
    SOMETIMES(sim, entries_truncated);
    if (cut_count > 5) {
        SOMETIMES(sim, many_entries_truncated);
    }
    if (node->durable_index > kept_index) {
        SOMETIMES(sim, durable_entries_truncated);
        node->durable_index = kept_index;
    }
}

static void follow_log(struct sim *sim, struct sim_node *node, const struct raft *raft)
{
    uint64_t last_index = raft->trail.last_index;
    uint64_t same = node->last_index < last_index ? node->last_index : last_index;
    struct raft_entry entry;

    if (raft->epoch != node->epoch) {
        raft_term term = 0;

        while (same > 0 && (!raft_term_at(raft, same, &term) || term != node->terms[same])) {
            same--;
        }
        if (same < node->last_index) {
            note_truncation(sim, node, same, raft);
        }
        node->epoch = raft->epoch;
    }
    node_grow(node, last_index);
    for (uint64_t i = same + 1; i <= last_index; i++) {
        SIM_CHECK(sim, new_entry_is_in_memory, raft_entry_at(raft, i, &entry), i, last_index);
        note_entry(sim, node, &entry);
    }
    node->last_index = last_index;
}

static bool minority_is_down(const struct sim *sim)
{
    uint32_t running = 0;

    for (uint32_t i = 0; i < sim->cluster->node_count; i++) {
        running += sim->cluster->worlds[i].runs ? 1 : 0;
    }
    return running == sim->cluster->node_count / 2 + 1 && running < sim->cluster->node_count;
}

static void note_write(struct sim *sim, const struct envelope *envelope, uint64_t index)
{
    struct bytes params = envelope->params;
    struct wire_put put;
    struct wire_cas cas;

    if (envelope->method == WIRE_METHOD_put && wire_put_decode(&params, &put) == ERR_OK) {
        sim_history_note(sim, put.value, index);
    } else if (envelope->method == WIRE_METHOD_cas && wire_cas_decode(&params, &cas) == ERR_OK) {
        sim_history_note(sim, cas.value, index);
    }
}

static void note_request(struct sim *sim, const struct raft *raft, uint64_t index)
{
    struct raft_entry entry;
    struct envelope envelope;

    if (!raft_entry_at(raft, index, &entry)) {
        sim->history.writes_are_partial = true; /* Restarted, with a longer log than its window. */
        return;
    }
    if (!envelope_decode(entry.payload, &envelope)) {
        return;
    }
    note_write(sim, &envelope, index);
    if (envelope.session == 0 || envelope.sequence == 0) {
        return;
    }
    /* Sent twice: two entries, one execution. */
    uint64_t key = envelope.session << 24 | envelope.sequence;
    uint64_t *slot = &sim->checks.sequences[key * 0x9e3779b97f4a7c15u >> 52];

    if (*slot == key) {
        SOMETIMES(sim, write_retried);
    }
    *slot = key;
}

static void note_commit(struct sim *sim, struct sim_node *node, uint64_t index,
                        const struct raft *raft)
{
    struct sim_index *at = index_at(&sim->checks, index);

    if (at->committed == 0) {
        at->committed = node->chains[index];
        sim->totals.entry_count++;
        note_request(sim, raft, index);
        if (raft->role == RAFT_LEADER && node->terms[index] < raft->term) {
            SOMETIMES(sim, old_term_entry_committed);
        }
        if (minority_is_down(sim)) {
            SOMETIMES(sim, commit_by_bare_majority);
        }
    }
    SIM_CHECK(sim, committed_is_the_same_everywhere, at->committed == node->chains[index], index,
              node->terms[index]);
    if (index > sim->checks.committed_index) {
        SIM_CHECK(sim, commit_has_no_holes, index == sim->checks.committed_index + 1, index,
                  sim->checks.committed_index);
        sim->checks.committed_index = index;
    }
}

static void follow_commit(struct sim *sim, struct sim_node *node, const struct raft *raft)
{
    bool leads = raft->role == RAFT_LEADER;

    SIM_CHECK(sim, commit_never_falls, raft->commit_index >= node->commit_index, raft->commit_index,
              node->commit_index);
    SIM_CHECK(sim, commit_is_in_the_log, raft->commit_index <= node->last_index, raft->commit_index,
              node->last_index);
    for (uint64_t i = node->commit_index + 1; i <= raft->commit_index; i++) {
        note_commit(sim, node, i, raft);
    }
    if (leads && raft->commit_index > node->commit_index &&
        raft->durable_index < raft->commit_index) {
        SOMETIMES(sim, commit_without_leader_disk);
    }
    node->commit_index = raft->commit_index;
    if (sim->checks.committed_index > node->last_index + BEHIND_COUNT) {
        SOMETIMES(sim, follower_far_behind);
    }
}

/* --- Roles --------------------------------------------------------------------------------------
 */

static void check_leader(struct sim *sim, uint32_t place, const struct raft *raft)
{
    struct sim_checks *checks = &sim->checks;
    struct sim_node *node = &checks->nodes[place];
    uint32_t *leader = leader_of(checks, raft->term);
    uint64_t committed = checks->committed_index;

    SIM_CHECK(sim, election_safety, *leader == 0 || *leader == place + 1, raft->term, *leader);
    *leader = place + 1;
    if (raft->term > checks->newest_term && committed > 0) {
        SIM_CHECK(sim, leader_completeness,
                  node->last_index >= committed &&
                      node->chains[committed] == checks->indexes[committed].committed,
                  committed, node->last_index);
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
        struct sim_index *at = index_at(&sim->checks, node->state_hash.index);

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

void sim_check_costly(struct sim *sim, uint32_t place)
{
    struct world *world = &sim->cluster->worlds[place];

    if (world->runs && node_problem(world->node) == NULL) {
        node_check(world->node);
        lease_check(world->table);
        kv_check(world->table);
        SIM_CHECK(sim, table_is_whole, table_error(world->table) == ERR_OK, place, 0);
    }
}

void sim_check_turn(struct sim *sim, uint32_t place)
{
    struct world *world = &sim->cluster->worlds[place];
    struct sim_node *known = &sim->checks.nodes[place];
    const struct node *node = world->node;

    sim->totals.turn_count++;
    known->turn_count++;
    sim_trace(sim, sim->cluster->now_ms << 8 | place);
    sim_trace(sim, node->wake_ms);
    if (node->problem != NULL || node->raft == NULL) {
        SIM_CHECK(sim, wiped_disk_stays_out,
                  !known->was_formed || known->is_dead || node->problem != NULL, place, 0);
        if (known->is_dead && known->was_formed && known->turn_count % 64 == 0) {
            SOMETIMES(sim, wiped_disk_stayed_out);
        }
        return;
    }
    SIM_CHECK(sim, wiped_disk_stays_out, !known->is_dead, place, node->raft->term);
    known->was_formed = true;
    known->is_known = true;
    follow_log(sim, known, node->raft);
    follow_commit(sim, known, node->raft);
    follow_role(sim, place, node->raft);
    check_state(sim, known, node);
    SIM_CHECK(sim, durable_is_in_the_log, node->raft->durable_index <= known->last_index,
              node->raft->durable_index, known->last_index);
    known->durable_index = node->raft->durable_index;
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
    known->durable_index = 0;
    known->role = RAFT_FOLLOWER;
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

/* A log that is too long for the memory window is read from the disk. */
static void read_entry(struct sim *sim, uint32_t place, const struct raft_entry *entry)
{
    struct sim_node *known = &sim->checks.nodes[place];

    node_grow(known, entry->index);
    note_entry(sim, known, entry);
}

void sim_check_started(struct sim *sim, uint32_t place)
{
    struct sim_node *known = &sim->checks.nodes[place];
    const struct node *node = sim->cluster->worlds[place].node;

    if (node->raft == NULL) {
        return;
    }
    known->is_known = true;
    if (node->raft->window.first_index > 1) {
        sim_disk_read(sim, place, read_entry);
        known->last_index = node->raft->trail.last_index;
    }
    follow_log(sim, known, node->raft);
    check_durability(sim, known);
    SIM_CHECK(sim, term_survives_a_crash, node->raft->term >= known->vote_term, node->raft->term,
              known->vote_term);
    SIM_CHECK(sim, vote_survives_a_crash,
              node->raft->term > known->vote_term || known->vote_term == 0 ||
                  node->raft->vote == known->vote_for,
              node->raft->vote, known->vote_for);
    known->term = node->raft->term;
    known->durable_index = node->raft->durable_index;
    if (fake_has_logged(sim->cluster, place, "verdict=torn")) {
        SOMETIMES(sim, torn_tail_cut);
    }
    if (memory_disk_file_count(sim->cluster->worlds[place].disk) > 6) {
        SOMETIMES(sim, log_of_two_segments);
    }
    sim_check_costly(sim, place);
}

/* Where all are healed, all. Where a quorum was, a majority: one of the quorum may be cut off from
 * a leader outside of it that the others hear. */
bool sim_check_agree(struct sim *sim)
{
    uint64_t hash = 0;
    uint32_t agreeing = 0;
    uint32_t live = 0;

    for (uint32_t i = 0; i < sim->cluster->node_count; i++) {
        const struct world *world = &sim->cluster->worlds[i];

        if (!world->runs || world->is_paused || world->node->raft == NULL) {
            continue;
        }
        raft_index applied = machine_applied_index(world->node->machine);

        live++;
        if (applied != sim->checks.committed_index) {
            continue;
        }
        uint64_t own = machine_hash(world->node->machine);

        SIM_CHECK(sim, equal_state_at_the_end, hash == 0 || hash == own, i, applied);
        hash = own;
        agreeing++;
    }
    return sim->plan->knobs.has_liveness ? agreeing > sim->cluster->node_count / 2
                                         : agreeing == live;
}

/* --- Frames -------------------------------------------------------------------------------------
 */

static void check_vote(struct sim *sim, struct sim_node *node, uint64_t term, uint64_t id)
{
    SIM_CHECK(sim, one_vote_in_a_term,
              term > node->vote_term || (term == node->vote_term && id == node->vote_for), term,
              id);
    node->vote_term = term;
    node->vote_for = id;
}

static void check_vote_reply(struct sim *sim, uint32_t source, const struct raft_message *message)
{
    struct sim_node *node = &sim->checks.nodes[source];

    if (!message->vote_reply.granted) {
        if (message->vote_reply.pre) {
            SOMETIMES(sim, pre_vote_refused);
        } else {
            SOMETIMES(sim, vote_refused);
        }
        return;
    }
    if (!message->vote_reply.pre) {
        check_vote(sim, node, message->vote_reply.request_term, message->target);
        if (node->leader_until_ms != 0 && sim->cluster->now_ms < node->leader_until_ms + 2000) {
            SOMETIMES(sim, vote_granted_by_deposed_leader);
        }
    }
}

static void check_append_reply(struct sim *sim, uint32_t source, const struct raft_message *message)
{
    const struct raft *raft = sim->cluster->worlds[source].node->raft;

    if (!message->append_reply.success) {
        SOMETIMES(sim, append_refused);
        return;
    }
    /* One of an older term had waited for the disk while a new leader cut off what it names. It is
     * as good as one that was long on its way: whoever had those entries has not voted against
     * them. */
    SIM_CHECK(sim, acknowledged_is_durable,
              message->append_reply.match_index <= raft->durable_index ||
                  message->term < raft->term,
              message->append_reply.match_index, raft->durable_index);
}

void sim_check_frame(struct sim *sim, uint32_t source, uint32_t target, struct bytes frame)
{
    struct raft_message message;

    sim_trace(sim, (uint64_t)source << 40 ^ (uint64_t)target << 32 ^ load_u32(frame.data + 8));
    if (frame.data[64] != WIRE_FRAME_RAFT) {
        return;
    }
    struct bytes body =
        bytes_of(frame.data + WIRE_FRAME_HEADER_SIZE, frame.size - WIRE_FRAME_HEADER_SIZE);
    enum error error = wire_raft_decode(body, &message);

    SIM_CHECK(sim, frames_are_valid, error == ERR_OK, error, source);
    if (message.kind == RAFT_VOTE_REPLY) {
        check_vote_reply(sim, source, &message);
    } else if (message.kind == RAFT_VOTE_REQUEST && !message.vote_request.pre) {
        check_vote(sim, &sim->checks.nodes[source], message.term, message.source);
    } else if (message.kind == RAFT_APPEND_REPLY) {
        check_append_reply(sim, source, &message);
    } else if (message.kind == RAFT_APPEND) {
        if (message.append.entry_count >= MANY_COUNT) {
            SOMETIMES(sim, append_of_many_entries);
        }
        if (message.append.first.size + message.append.second.size >= LARGE_SIZE) {
            SOMETIMES(sim, append_of_large_bytes);
        }
    }
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

uint32_t sim_dead_count(const struct sim *sim)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < sim->cluster->node_count; i++) {
        count += sim->checks.nodes[i].is_dead ? 1 : 0;
    }
    return count;
}
