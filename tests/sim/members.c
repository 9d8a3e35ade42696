/* tests/sim/members.c: who is a member.
 *
 * Every configuration that some log has, or had, is kept as it was first seen. Which of them are
 * committed is known from the logs; that is one sequence for all nodes. A disk is known by the id
 * that raft gave it: of a disk that was emptied, what it had said to be durable is remembered, and
 * its place has no id until the next one is drawn. */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "node/internal.h"
#include "raft/internal.h"
#include "tests/sim/sim.h"

/* --- Configurations -----------------------------------------------------------------------------
 */

static const struct sim_list *find_list(const struct sim_members *members, uint64_t index,
                                        uint64_t term)
{
    for (uint32_t i = members->list_count; i > 0; i--) {
        if (members->lists[i - 1].index == index && members->lists[i - 1].term == term) {
            return &members->lists[i - 1];
        }
    }
    return NULL;
}

static bool lists_are_equal(const struct raft_configuration *a, const struct raft_configuration *b)
{
    uint8_t first[RAFT_CONFIGURATION_SIZE_MAX];
    uint8_t second[RAFT_CONFIGURATION_SIZE_MAX];
    uint32_t size = raft_configuration_encode(first, a);

    return raft_configuration_encode(second, b) == size && memcmp(first, second, size) == 0;
}

static void add_list(struct sim_members *members, uint64_t term,
                     const struct raft_configuration *configuration)
{
    if (members->list_count == members->list_capacity) {
        members->list_capacity = 2 * members->list_capacity + 32;
        members->lists =
            realloc(members->lists, members->list_capacity * sizeof(members->lists[0]));
        ASSERT(members->lists != NULL);
    }
    members->lists[members->list_count++] = (struct sim_list){
        .index = configuration->index, .term = term, .configuration = *configuration};
}

void sim_members_note(struct sim *sim, const struct raft_entry *entry)
{
    struct raft_configuration configuration;

    if (entry->kind != RAFT_ENTRY_CONFIGURATION ||
        find_list(&sim->members, entry->index, entry->term) != NULL) {
        return;
    }
    SIM_CHECK(sim, configurations_are_valid,
              raft_configuration_decode(entry->payload, &configuration) &&
                  configuration.index == entry->index,
              entry->index, entry->term);
    add_list(&sim->members, entry->term, &configuration);
    if (raft_configuration_is_joint(&configuration)) {
        SOMETIMES(sim, joint_configuration);
    }
}

/* Those with `part` in `a` are those with `other_part` in `b`. */
static bool same_members(const struct raft_configuration *a, enum raft_part part,
                         const struct raft_configuration *b, enum raft_part other_part)
{
    uint32_t counts[2] = {0};

    for (uint32_t i = 0; i < b->member_count; i++) {
        counts[1] += (b->members[i].parts & other_part) != 0 ? 1 : 0;
    }
    for (uint32_t i = 0; i < a->member_count; i++) {
        const struct raft_member *other = raft_configuration_find(b, a->members[i].id);

        if ((a->members[i].parts & part) == 0) {
            continue;
        }
        counts[0]++;
        if (other == NULL || (other->parts & other_part) == 0) {
            return false;
        }
    }
    return counts[0] == counts[1];
}

/* Voters change in two steps, and in each the majorities of both sides meet (Raft section 6). */
static bool may_follow(const struct raft_configuration *before,
                       const struct raft_configuration *next)
{
    bool was_joint = raft_configuration_is_joint(before);

    if (raft_configuration_is_joint(next)) {
        return was_joint ? same_members(before, RAFT_PART_OUTGOING, next, RAFT_PART_OUTGOING) &&
                               same_members(before, RAFT_PART_VOTER, next, RAFT_PART_VOTER)
                         : same_members(before, RAFT_PART_VOTER, next, RAFT_PART_OUTGOING);
    }
    return same_members(before, RAFT_PART_VOTER, next, RAFT_PART_VOTER);
}

static uint32_t voter_count(const struct raft_configuration *list)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < list->member_count; i++) {
        count += (list->members[i].parts & RAFT_PART_VOTER) != 0 ? 1 : 0;
    }
    return count;
}

static bool has_ended(const struct sim *sim, raft_id id)
{
    for (uint32_t i = 0; i < sim->cluster->node_count; i++) {
        if (sim->checks.nodes[i].id == id) {
            return !sim->cluster->worlds[i].runs;
        }
    }
    return true; /* Its disk is gone. */
}

static bool have_one_name(const struct raft_member *a, const struct raft_member *b)
{
    struct member first;
    struct member second;

    member_of(a, &first);
    member_of(b, &second);
    return strcmp(first.name, second.name) == 0;
}

/* A voter goes and one of another name comes, in one change. */
static void note_replaced(struct sim *sim, const struct raft_configuration *before,
                          const struct raft_configuration *next)
{
    const struct raft_member *comes = NULL;

    for (uint32_t i = 0; i < next->member_count; i++) {
        const struct raft_member *old = raft_configuration_find(before, next->members[i].id);

        if (next->members[i].parts == RAFT_PART_VOTER &&
            (old == NULL || old->parts == RAFT_PART_LEARNER)) {
            comes = &next->members[i];
        }
    }
    for (uint32_t i = 0; comes != NULL && i < next->member_count; i++) {
        const struct raft_member *goes = &next->members[i];

        if (goes->parts == RAFT_PART_OUTGOING && !have_one_name(comes, goes)) {
            SOMETIMES(sim, member_replaced);
            if (has_ended(sim, goes->id)) {
                SOMETIMES(sim, dead_member_replaced);
            }
        }
    }
}

static void note_voters(struct sim *sim, const struct raft_configuration *before,
                        const struct raft_configuration *next)
{
    for (uint32_t i = 0; i < FAKE_NODE_COUNT_MAX; i++) {
        struct sim_node *node = &sim->checks.nodes[i];
        const struct raft_member *old =
            node->id == 0 ? NULL : raft_configuration_find(before, node->id);
        const struct raft_member *now =
            node->id == 0 ? NULL : raft_configuration_find(next, node->id);

        if (now != NULL && now->parts == RAFT_PART_VOTER && node->was_wiped) {
            node->was_wiped = false;
            SOMETIMES(sim, wiped_disk_rejoined);
        }
        if (now != NULL && now->parts == RAFT_PART_VOTER && node->was_removed) {
            node->was_removed = false;
            SOMETIMES(sim, removed_node_came_back);
        }
        if (old != NULL && now == NULL && node->role == RAFT_LEADER) {
            SOMETIMES(sim, leader_removed);
        }
    }
    note_replaced(sim, before, next);
    if (voter_count(next) > voter_count(before)) {
        SOMETIMES(sim, cluster_grew);
    } else if (voter_count(next) < voter_count(before)) {
        SOMETIMES(sim, cluster_shrank);
    }
}

void sim_members_committed(struct sim *sim, uint64_t index, uint64_t term)
{
    struct sim_members *members = &sim->members;
    const struct sim_list *list = find_list(members, index, term);

    if (list == NULL) {
        return;
    }
    SIM_CHECK(sim, voters_change_in_joint_steps,
              may_follow(&members->committed, &list->configuration), index,
              members->committed.index);
    note_voters(sim, &members->committed, &list->configuration);
    members->committed = list->configuration;
}

/* --- Disks --------------------------------------------------------------------------------------
 */

static void take_id(struct sim *sim, uint32_t place, const struct node *node)
{
    struct sim_members *members = &sim->members;
    raft_id id = node->identity.self;
    struct raft_base base;

    for (uint32_t i = 0; i < members->lost_count; i++) {
        SIM_CHECK(sim, ids_are_never_used_again, members->lost[i].id != id, id, place);
    }
    for (uint32_t i = 0; i < sim->cluster->node_count; i++) {
        SIM_CHECK(sim, ids_are_of_one_disk, sim->checks.nodes[i].id != id, id, place);
    }
    sim->checks.nodes[place].id = id;
    identity_base(&node->identity, &base);
    if (members->list_count == 0) {
        add_list(members, 0, &base.configuration);
        members->committed = base.configuration;
    }
    SIM_CHECK(sim, one_formation,
              lists_are_equal(&base.configuration, &members->lists[0].configuration), id, place);
}

void sim_members_wipe(struct sim *sim, uint32_t place)
{
    struct sim_members *members = &sim->members;
    struct sim_node *node = &sim->checks.nodes[place];

    ASSERT(!sim->cluster->worlds[place].runs && !node->is_known);
    ASSERT_VALUES(members->lost_count < SIM_LOST_COUNT_MAX, place, node->id);
    if (node->id != 0) {
        members->lost[members->lost_count++] =
            (struct sim_lost){.id = node->id, .durable_index = node->kept_index};
    }
    node->id = 0;
    node->has_present = false;
    node->is_refused = false;
    node->may_be_rotten = false;
    node->has_rotten_tail = false;
    node->is_restoring = false;
    node->was_rotten = false;
    node->rotten_snapshot = (struct disk_name){0};
    node->kept_index = 0;
    node->kept_last_index = 0;
    node->vote_term = 0;
    node->vote_for = 0;
    memset(sim->checks.votes[place], 0, sizeof(sim->checks.votes[place]));
    node->term = 0;
    fake_wipe(sim->cluster, place);
}

/* Is the entry on the disk of the member with that id, or was it when the disk was lost? */
bool sim_members_durable(const struct sim *sim, raft_id id, uint64_t index, uint64_t chain)
{
    for (uint32_t i = 0; i < sim->cluster->node_count; i++) {
        const struct sim_node *node = &sim->checks.nodes[i];

        if (node->id != id) {
            continue;
        }
        return node->is_known ? node->durable_index >= index && node->chains[index] == chain
                              : node->kept_index >= index && node->kept_chains[index] == chain;
    }
    for (uint32_t i = 0; i < sim->members.lost_count; i++) {
        if (sim->members.lost[i].id == id) {
            return sim->members.lost[i].durable_index >= index;
        }
    }
    return false;
}

/* Are the members that are set (as bits, by their places in the list) a majority of the voters, and
 * one of the outgoing ones? */
bool sim_members_majorities(const struct raft_configuration *list, uint32_t set)
{
    static const enum raft_part parts[] = {RAFT_PART_VOTER, RAFT_PART_OUTGOING};

    for (uint32_t part = 0; part < COUNT_OF(parts); part++) {
        uint32_t total = 0;
        uint32_t count = 0;

        for (uint32_t i = 0; i < list->member_count; i++) {
            if ((list->members[i].parts & parts[part]) != 0) {
                total++;
                count += set >> i & 1;
            }
        }
        if (total > 0 && count <= total / 2) {
            return false;
        }
    }
    return list->member_count > 0;
}

static bool is_on_majorities(const struct sim *sim, const struct raft_configuration *list,
                             uint64_t index, uint64_t chain)
{
    uint32_t set = 0;

    for (uint32_t i = 0; i < list->member_count; i++) {
        set |= sim_members_durable(sim, list->members[i].id, index, chain) ? 1u << i : 0;
    }
    return sim_members_majorities(list, set);
}

/* The leader's list may have changed in this turn: the end of a joint one is appended when its
 * beginning is committed. */
void sim_members_check_commit(struct sim *sim, const struct sim_node *node, const struct raft *raft,
                              uint64_t index)
{
    uint64_t chain = node->chains[index];

    SIM_CHECK(sim, committed_is_on_majorities_of_disks,
              (node->has_present && is_on_majorities(sim, &node->present, index, chain)) ||
                  is_on_majorities(sim, raft_configuration(raft), index, chain),
              index, node->id);
}

/* --- After each turn ----------------------------------------------------------------------------
 */

/* A list of the same entry as in the turn before is compared again only now and then. */
static void follow_present(struct sim *sim, struct sim_node *node,
                           const struct raft_configuration *present)
{
    uint64_t term = present->index == 0 ? 0 : node->terms[present->index];

    if (node->has_present && node->present.index == present->index && node->present_term == term &&
        node->turn_count % sim->plan->knobs.check_turn != 0) {
        return;
    }
    const struct sim_list *list = find_list(&sim->members, present->index, term);

    SIM_CHECK(sim, configurations_are_the_same_everywhere,
              list != NULL && lists_are_equal(&list->configuration, present), present->index,
              node->id);
    if (node->has_present && node->present.index > present->index) {
        SOMETIMES(sim, configuration_cut_off);
    }
    node->present = *present;
    node->present_term = term;
    node->has_present = true;
}

/* The newest list of a log is the one that counts, committed or not (dissertation 4.1). */
static void check_present(struct sim *sim, const struct sim_node *node,
                          const struct raft_configuration *present)
{
    const struct sim_members *members = &sim->members;

    for (uint32_t i = 0; i < members->list_count; i++) {
        const struct sim_list *newer = &members->lists[i];

        SIM_CHECK(sim, newest_configuration_counts,
                  newer->index <= present->index || newer->index > node->last_index ||
                      node->terms[newer->index] != newer->term,
                  newer->index, present->index);
    }
}

void sim_members_turn(struct sim *sim, uint32_t place, const struct node *node)
{
    struct sim_node *known = &sim->checks.nodes[place];
    const struct raft_configuration *present = raft_configuration(node->raft);

    if (known->has_present && known->role == RAFT_LEADER && node->raft->role == RAFT_LEADER &&
        known->term == node->raft->term && present->index > known->present.index) {
        sim_leaders_check_change(sim, known, present);
    }
    follow_present(sim, known, present);
    check_present(sim, known, present);
}

void sim_members_identify(struct sim *sim, uint32_t place, const struct node *node)
{
    struct sim_node *known = &sim->checks.nodes[place];

    if (known->id == 0) {
        take_id(sim, place, node);
    }
    SIM_CHECK(sim, a_disk_keeps_its_id, known->id == node->identity.self, known->id,
              node->identity.self);
}
