/* tests/sim/logs.c: the laws of logs and of what is committed.
 *
 * For each node a shadow of its log is kept, as a hash of each entry with all before it. One hash
 * at one index then stands for a whole prefix, so that log matching, leader completeness and what
 * was committed cost one comparison each. */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/checksum.h"
#include "node/internal.h"
#include "node/snapshot_format.h"
#include "raft/internal.h"
#include "tests/sim/sim.h"
#include "tests/support/log/memory_disk.h"

enum { BEHIND_COUNT = 200 };

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

void sim_log_grow(struct sim_node *node, uint64_t last_index)
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

struct sim_index *sim_index_at(struct sim_checks *checks, uint64_t index)
{
    if (index >= checks->index_capacity) {
        checks->indexes =
            grow(checks->indexes, &checks->index_capacity, index, sizeof(struct sim_index));
    }
    return &checks->indexes[index];
}

uint64_t *sim_leader_of(struct sim_checks *checks, uint64_t term)
{
    if (term >= checks->term_capacity) {
        checks->leaders = grow(checks->leaders, &checks->term_capacity, term, sizeof(uint64_t));
    }
    return &checks->leaders[term];
}

void sim_checks_open(struct sim *sim)
{
    for (uint32_t i = 0; i < FAKE_NODE_COUNT_MAX; i++) {
        sim_log_grow(&sim->checks.nodes[i], 1);
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
    free(sim->members.lists);
}

/* --- Logs ---------------------------------------------------------------------------------------
 */

static void note_entry(struct sim *sim, struct sim_node *node, const struct raft_entry *entry)
{
    struct sim_index *at = sim_index_at(&sim->checks, entry->index);
    uint64_t chain = checksum(entry->payload, node->chains[entry->index - 1] ^
                                                  entry->term * 0x9e3779b97f4a7c15u ^ entry->kind);

    sim_members_note(sim, entry);
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

/* A log that is too long for the memory window is read from the disk. */
void sim_log_read(struct sim *sim, uint32_t place, const struct raft_entry *entry)
{
    struct sim_node *known = &sim->checks.nodes[place];

    if (entry->index > known->base_index) {
        sim_log_grow(known, entry->index);
        note_entry(sim, known, entry);
    }
}

void sim_log_rebase(struct sim *sim, struct sim_node *node, const struct raft *raft)
{
    uint64_t base = raft->trail.base_index;

    SIM_CHECK(sim, snapshots_are_committed, base <= sim->checks.committed_index, base,
              sim->checks.committed_index);
    sim_log_grow(node, base);
    for (uint64_t i = 1; i <= base; i++) {
        node->chains[i] = sim->checks.indexes[i].committed;
        node->terms[i] = sim->checks.indexes[i].committed_term;
    }
    SIM_CHECK(sim, snapshots_have_the_term_of_their_entry,
              base == 0 || raft->trail.base_term == node->terms[base], base, raft->trail.base_term);
    node->base_index = base;
    node->last_index = base;
    node->commit_index = base > node->commit_index ? base : node->commit_index;
}

/* The name that only a durable snapshot has; of that index or beyond. */
static bool has_snapshot(const struct sim *sim, const struct sim_node *node, uint64_t index)
{
    const struct disk *disk = sim->cluster->worlds[node - sim->checks.nodes].disk;

    for (uint32_t i = 0; i < memory_disk_file_count(disk); i++) {
        struct disk_name name = {.text = {0}};
        raft_index found = 0;
        const char *text = memory_disk_file_name(disk, i);

        ASSERT(strlen(text) < sizeof(name.text));
        memcpy(name.text, text, strlen(text));
        if (snapshot_name_parse(&name, &found) == SNAPSHOT_NAME_WHOLE && found >= index) {
            return true;
        }
    }
    return false;
}

/* A base that is new: the log was cut up to there, or a snapshot has taken its place. */
static void follow_base(struct sim *sim, struct sim_node *node, const struct raft *raft)
{
    uint64_t base = raft->trail.base_index;

    if (base <= node->base_index) {
        return;
    }
    SIM_CHECK(sim, a_log_is_cut_behind_a_snapshot_on_the_disk, has_snapshot(sim, node, base), base,
              node->base_index);
    if (base <= node->last_index &&
        node->chains[base] == sim_index_at(&sim->checks, base)->committed) {
        node->base_index = base;
        SOMETIMES(sim, log_cut);
        return;
    }
    SIM_CHECK(sim, committed_is_never_truncated, node->commit_index <= base, node->commit_index,
              base);
    sim_log_rebase(sim, node, raft);
    node->epoch = raft->epoch;
    SOMETIMES(sim, log_replaced_by_snapshot);
}

void sim_log_follow(struct sim *sim, struct sim_node *node, const struct raft *raft)
{
    uint64_t last_index = raft->trail.last_index;

    follow_base(sim, node, raft);
    uint64_t same = node->last_index < last_index ? node->last_index : last_index;
    struct raft_entry entry;

    if (raft->epoch != node->epoch) {
        raft_term term = 0;

        while (same > node->base_index &&
               (!raft_term_at(raft, same, &term) || term != node->terms[same])) {
            same--;
        }
        if (same < node->last_index) {
            note_truncation(sim, node, same, raft);
        }
        node->epoch = raft->epoch;
    }
    sim_log_grow(node, last_index);
    for (uint64_t i = same + 1; i <= last_index; i++) {
        SIM_CHECK(sim, new_entry_is_in_memory, raft_entry_at(raft, i, &entry), i, last_index);
        note_entry(sim, node, &entry);
    }
    node->last_index = last_index;
}

/* As many of the voters run as a majority needs, and no more. */
static bool minority_is_down(const struct sim *sim)
{
    uint32_t running = 0;
    uint32_t total = 0;

    for (uint32_t i = 0; i < sim->members.committed.member_count; i++) {
        const struct raft_member *member = &sim->members.committed.members[i];

        total += (member->parts & RAFT_PART_VOTER) != 0 ? 1 : 0;
    }
    for (uint32_t i = 0; i < sim->cluster->node_count; i++) {
        running += sim->cluster->worlds[i].runs && sim->checks.nodes[i].id != 0 &&
                           sim_members_have_voter(sim, sim->checks.nodes[i].id)
                       ? 1
                       : 0;
    }
    return running == total / 2 + 1 && running < total;
}

/* What a transaction would put where the history looks. */
static void note_transaction(struct sim *sim, struct wire_transact *transact, uint64_t index)
{
    struct wire_operation operation;

    for (; transact->success.count > 0; transact->success.count--) {
        if (wire_operation_decode(&transact->success.raw, &operation) == ERR_OK &&
            operation.key.data[0] == 'k' && bytes_equal(operation.action, bytes_of_text("put"))) {
            sim_history_note(sim, operation.value, index);
        }
    }
}

static void note_write(struct sim *sim, const struct envelope *envelope, uint64_t index)
{
    struct bytes params = envelope->params;
    struct wire_put put;
    struct wire_cas cas;
    struct wire_transact transact;

    if (envelope->method == WIRE_METHOD_put && wire_put_decode(&params, &put) == ERR_OK) {
        if (put.key.data[0] == 'k') {
            sim_history_note(sim, put.value, index);
        }
    } else if (envelope->method == WIRE_METHOD_transact &&
               wire_transact_decode(&params, &transact) == ERR_OK) {
        note_transaction(sim, &transact, index);
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
    struct sim_index *at = sim_index_at(&sim->checks, index);

    if (at->committed == 0) {
        at->committed = node->chains[index];
        at->committed_term = node->terms[index];
        sim->totals.entry_count++;
        sim_members_committed(sim, index, node->terms[index]);
        if (raft->role == RAFT_LEADER) {
            sim_members_check_commit(sim, node, raft, index);
        }
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

void sim_commit_follow(struct sim *sim, struct sim_node *node, const struct raft *raft)
{
    bool leads = raft->role == RAFT_LEADER;

    SIM_CHECK(sim, commit_never_falls, raft->commit_index >= node->commit_index, raft->commit_index,
              node->commit_index);
    SIM_CHECK(sim, commit_is_in_the_log, raft->commit_index <= node->last_index, raft->commit_index,
              node->last_index);
    for (uint64_t i = node->commit_index + 1; i <= raft->commit_index; i++) {
        note_commit(sim, node, i, raft);
    }
    /* An older one counts when a later one is on a majority, not by itself (Raft 5.4.2). */
    if (leads && raft->commit_index > node->commit_index && node->role == RAFT_LEADER &&
        node->term == raft->term) {
        SIM_CHECK(sim, leaders_commit_entries_of_their_own_term,
                  node->terms[raft->commit_index] == raft->term, raft->commit_index, raft->term);
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
