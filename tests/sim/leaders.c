/* tests/sim/leaders.c: who may lead, and what a leader may do to its members. */
#include "raft/internal.h"
#include "tests/sim/sim.h"

/* The list before the newest one of its log. */
static const struct raft_configuration *list_before(const struct sim *sim,
                                                    const struct sim_node *node)
{
    const struct sim_members *members = &sim->members;
    const struct raft_configuration *before = &members->lists[0].configuration;

    for (uint32_t i = 1; i < members->list_count; i++) {
        const struct sim_list *list = &members->lists[i];

        if (list->index < node->present.index && node->terms[list->index] == list->term &&
            list->index > before->index) {
            before = &list->configuration;
        }
    }
    return before;
}

/* By the newest list of its log, which is not older than any that is committed: so a member that
 * was removed never leads again. Who does not know yet that its removal is committed may be needed
 * to commit it (dissertation 4.2.2). */
void sim_leaders_check_place(struct sim *sim, const struct sim_node *node)
{
    bool is_leaving = node->present.index > node->commit_index;

    SIM_CHECK(sim, leader_is_a_voter,
              node->present.index >= sim->members.committed.index &&
                  (sim_members_vote(&node->present, node->id) ||
                   (is_leaving && sim_members_vote(list_before(sim, node), node->id))),
              node->id, node->present.index);
}

static bool has_voted(const struct sim_checks *checks, uint64_t term, raft_id voter,
                      raft_id candidate)
{
    for (uint32_t i = 0; i < SIM_BALLOT_COUNT; i++) {
        const struct sim_ballot *ballot = &checks->ballots[i];

        if (ballot->term == term && ballot->voter == voter && ballot->candidate == candidate) {
            return true;
        }
    }
    return false;
}

/* Those who voted for it have said so in this very term. Its own vote nobody need hear of. */
void sim_leaders_check_votes(struct sim *sim, const struct sim_node *node, uint64_t term)
{
    const struct raft_configuration *list = &node->present;
    uint32_t set = 0;

    for (uint32_t i = 0; i < list->member_count; i++) {
        raft_id id = list->members[i].id;

        set |= id == node->id || has_voted(&sim->checks, term, id, node->id) ? 1u << i : 0;
    }
    SIM_CHECK(sim, leaders_are_voted_for_by_majorities, sim_members_majorities(list, set), term,
              node->id);
}

/* The entry that made it a learner; 0: it was none. */
static uint64_t learner_since(const struct sim *sim, const struct sim_node *leader, raft_id id)
{
    const struct sim_members *members = &sim->members;
    uint64_t index = 0;

    for (uint32_t i = 0; i < members->list_count; i++) {
        const struct sim_list *list = &members->lists[i];
        const struct raft_member *member = raft_configuration_find(&list->configuration, id);

        if (member != NULL && member->parts == RAFT_PART_LEARNER &&
            list->index <= leader->last_index && leader->terms[list->index] == list->term &&
            (index == 0 || list->index < index)) {
            index = list->index;
        }
    }
    return index;
}

/* A leader makes voters of learners that have the log; at the least up to where they came in. */
static void check_promotions(struct sim *sim, const struct sim_node *leader,
                             const struct raft_configuration *present)
{
    for (uint32_t i = 0; i < present->member_count; i++) {
        const struct raft_member *now = &present->members[i];
        const struct raft_member *before = raft_configuration_find(&leader->present, now->id);

        if (now->parts == RAFT_PART_VOTER &&
            (before == NULL || before->parts == RAFT_PART_LEARNER)) {
            uint64_t index = learner_since(sim, leader, now->id);

            SIM_CHECK(sim, learners_are_promoted_when_they_have_caught_up,
                      index != 0 && sim_members_durable(sim, now->id, index, leader->chains[index]),
                      now->id, index);
        }
    }
}

/* A leader that has appended a configuration since its last turn. */
void sim_leaders_check_change(struct sim *sim, const struct sim_node *leader,
                              const struct raft_configuration *present)
{
    check_promotions(sim, leader, present);
    SIM_CHECK(sim, changes_begin_after_a_commit_of_the_term,
              leader->terms[leader->commit_index] == leader->term, present->index, leader->term);
    SIM_CHECK(sim, changes_come_one_by_one, leader->present.index <= leader->commit_index,
              present->index, leader->present.index);
}
