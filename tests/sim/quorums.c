/* tests/sim/quorums.c: whose disks are needed, and whose may be lost.
 *
 * A set of places is judged by every list of members that counts somewhere or may yet: the newest
 * committed one, and all behind it that some log has (members.c). */
#include "base/assert.h"
#include "node/internal.h"
#include "raft/internal.h"
#include "tests/sim/sim.h"

/* Voters, voters that leave, and the voters that there will be when every learner that is to be
 * promoted is. */
enum group { GROUP_VOTERS, GROUP_OUTGOING, GROUP_NEXT, GROUP_COUNT };

static bool is_replaced(const struct raft_configuration *list, raft_id id)
{
    for (uint32_t i = 0; i < list->member_count; i++) {
        if (list->members[i].is_promoted && list->members[i].replaces == id) {
            return true;
        }
    }
    return false;
}

static bool is_in_group(const struct raft_configuration *list, const struct raft_member *member,
                        enum group group)
{
    switch (group) {
    case GROUP_VOTERS:
        return (member->parts & RAFT_PART_VOTER) != 0;
    case GROUP_OUTGOING:
        return (member->parts & RAFT_PART_OUTGOING) != 0;
    case GROUP_NEXT:
        return member->is_promoted ||
               ((member->parts & RAFT_PART_VOTER) != 0 && !is_replaced(list, member->id));
    case GROUP_COUNT:
        break;
    }
    UNREACHABLE();
}

/* A disk that was added and does not know it yet is known by its incarnation. */
static bool is_disk_of(const struct sim *sim, uint32_t place, raft_id id)
{
    const struct world *world = &sim->cluster->worlds[place];
    raft_id known = sim->checks.nodes[place].id;

    return known == id || (known == 0 && world->runs && world->node->identity.incarnation == id);
}

static bool is_at(const struct sim *sim, raft_id id, uint32_t places)
{
    for (uint32_t i = 0; i < sim->cluster->node_count; i++) {
        if (is_disk_of(sim, i, id)) {
            return (places >> i & 1) != 0;
        }
    }
    return false;
}

/* In all groups in front of `end`. */
static bool is_quorum_of(const struct sim *sim, const struct raft_configuration *list,
                         uint32_t places, enum group end)
{
    for (enum group group = GROUP_VOTERS; group < end; group++) {
        uint32_t total = 0;
        uint32_t count = 0;

        for (uint32_t i = 0; i < list->member_count; i++) {
            if (is_in_group(list, &list->members[i], group)) {
                total++;
                count += is_at(sim, list->members[i].id, places) ? 1 : 0;
            }
        }
        if (total > 0 && count <= total / 2) {
            return false;
        }
    }
    return list->member_count > 0;
}

/* Of all lists that count somewhere, or may yet. */
bool sim_members_are_quorum(const struct sim *sim, uint32_t places)
{
    if (!is_quorum_of(sim, &sim->members.committed, places, GROUP_COUNT)) {
        return false;
    }
    for (uint32_t i = 0; i < sim->cluster->node_count; i++) {
        const struct sim_node *node = &sim->checks.nodes[i];

        if (node->has_present && node->present.index > sim->members.committed.index &&
            !is_quorum_of(sim, &node->present, places, GROUP_COUNT)) {
            return false;
        }
    }
    return true;
}

bool sim_members_are_majority(const struct sim *sim, uint32_t places)
{
    return is_quorum_of(sim, &sim->members.committed, places, GROUP_NEXT);
}

bool sim_members_vote(const struct raft_configuration *list, raft_id id)
{
    const struct raft_member *member = raft_configuration_find(list, id);

    return member != NULL && (member->parts & (RAFT_PART_VOTER | RAFT_PART_OUTGOING)) != 0;
}

bool sim_members_have_voter(const struct sim *sim, raft_id id)
{
    return sim_members_vote(&sim->members.committed, id);
}

bool sim_members_have(const struct sim *sim, raft_id id)
{
    return raft_configuration_find(&sim->members.committed, id) != NULL;
}

uint32_t sim_members_whole(const struct sim *sim)
{
    uint32_t places = 0;

    for (uint32_t i = 0; i < sim->cluster->node_count; i++) {
        const struct sim_node *node = &sim->checks.nodes[i];

        bool is_safe = sim->cluster->worlds[i].runs || !sim_disk_has_rotten_snapshot(sim, i);

        places |= node->id != 0 && !node->is_refused && !node->may_be_rotten && is_safe &&
                          !node->is_restoring
                      ? 1u << i
                      : 0;
    }
    return places;
}

uint32_t sim_members_empty(const struct sim *sim)
{
    uint32_t places = 0;

    for (uint32_t i = 0; i < sim->cluster->node_count; i++) {
        places |= sim->checks.nodes[i].id == 0 ? 1u << i : 0;
    }
    return places;
}

uint32_t sim_members_sound(const struct sim *sim)
{
    uint32_t places = sim_members_whole(sim);

    for (uint32_t i = 0; i < sim->cluster->node_count; i++) {
        places &= sim_disk_has_rotten_snapshot(sim, i) ? ~(1u << i) : ~0u;
    }
    return places;
}

static bool is_founded(const struct sim *sim)
{
    for (uint32_t i = 0; i < sim->plan->knobs.formed_count; i++) {
        if (!sim->checks.nodes[i].was_formed) {
            return false;
        }
    }
    return true;
}

/* With a majority left that has its disks, in every list that counts or may yet. Not before all
 * know the cluster: a wiped one may found it again with the others. Not while an operator asks for
 * a removal: nobody can take two away at once. */
bool sim_members_may_lose(const struct sim *sim, uint32_t place)
{
    uint32_t sound = sim_members_sound(sim);

    return is_founded(sim) && (sound >> place & 1) != 0 && !sim_operator_removes(sim) &&
           sim_members_are_quorum(sim, sound & ~(1u << place));
}

bool sim_members_are_there(const struct sim *sim, const struct raft_configuration *list,
                           uint32_t places, uint64_t absent)
{
    for (uint32_t i = 0; i < list->member_count; i++) {
        if (list->members[i].id != absent && !is_at(sim, list->members[i].id, places)) {
            return false;
        }
    }
    return true;
}

/* Nothing is under way any more: all members have their disks, and all others have gone. */
bool sim_members_are_settled(const struct sim *sim)
{
    const struct raft_configuration *committed = &sim->members.committed;

    if (raft_configuration_is_joint(committed) ||
        !sim_members_are_there(sim, committed, sim_members_whole(sim), 0)) {
        return false;
    }
    for (uint32_t i = 0; i < sim->cluster->node_count; i++) {
        const struct sim_node *node = &sim->checks.nodes[i];

        if (node->id != 0 && (!sim_members_have(sim, node->id) || !node->has_present ||
                              node->present.index != committed->index)) {
            return false;
        }
    }
    return true;
}
