/* raft/members.c: places, and the configuration that counts.
 *
 * The newest configuration in the log counts, committed or not (dissertation 4.1). A leader appends
 * one only when the one before is committed, and what is committed is never cut off; so one step
 * back is all that a truncation can ask for. */
#include <string.h>

#include "base/assert.h"
#include "raft/internal.h"

uint32_t raft_place_find(const struct raft *raft, raft_id id)
{
    ASSERT(id != 0);
    for (uint32_t at = 0; at < RAFT_PLACE_COUNT; at++) {
        if (raft->ids[at] == id) {
            return at;
        }
    }
    return RAFT_NOWHERE;
}

/* A free place; else that of the stranger who came first; else that of one who departs. */
static uint32_t find_room(struct raft *raft)
{
    uint32_t kept = raft->members | raft->departing | 1U << RAFT_SELF;

    for (uint32_t at = 0; at < RAFT_PLACE_COUNT; at++) {
        if (raft->ids[at] == 0) {
            return at;
        }
    }
    if (kept == (1U << RAFT_PLACE_COUNT) - 1) {
        kept = raft->members | 1U << RAFT_SELF;
    }
    do {
        raft->stranger_next = (raft->stranger_next + 1) % RAFT_PLACE_COUNT;
    } while ((kept >> raft->stranger_next & 1) != 0);
    return raft->stranger_next;
}

uint32_t raft_place_take(struct raft *raft, raft_id id)
{
    uint32_t at = raft_place_find(raft, id);

    if (at != RAFT_NOWHERE) {
        return at;
    }
    at = find_room(raft);
    ASSERT(at != RAFT_SELF);
    raft->departing &= ~(1U << at);
    raft->votes &= ~(1U << at);
    raft->ids[at] = id;
    raft->peers[at].letter_mask = 0; /* What was owed to another is as good as lost. */
    return at;
}

uint32_t raft_followers(const struct raft *raft)
{
    return (raft->members | raft->departing) & ~(1U << RAFT_SELF);
}

uint32_t raft_voters(const struct raft *raft)
{
    return raft->quorum.voters | raft->quorum.outgoing;
}

bool raft_self_is_voter(const struct raft *raft)
{
    return (raft_voters(raft) >> RAFT_SELF & 1) != 0;
}

/* Who is being removed may still be needed: as long as its removal is not committed, its log may be
 * the only one that holds it, and nobody without that entry could win its vote
 * (dissertation 4.2.2).
 */
bool raft_self_may_lead(const struct raft *raft)
{
    const struct raft_member *before =
        raft_configuration_find(&raft->configuration_before, raft->options.self);
    bool voted = before != NULL && before->parts != RAFT_PART_LEARNER;

    return raft_self_is_voter(raft) || (voted && !raft_configuration_is_committed(raft));
}

bool raft_configuration_is_committed(const struct raft *raft)
{
    return raft->configuration.index <= raft->commit_index;
}

const struct raft_configuration *raft_configuration(const struct raft *raft)
{
    return &raft->configuration;
}

/* Gives every member a place. Those who have one keep it, so what is known of them stays. */
static void settle(struct raft *raft)
{
    const struct raft_configuration *configuration = &raft->configuration;
    uint32_t before = raft->members;

    raft->members = 0;
    for (uint32_t i = 0; i < configuration->member_count; i++) {
        uint32_t at = raft_place_find(raft, configuration->members[i].id);
        raft->members |= at == RAFT_NOWHERE ? 0 : 1U << at;
    }
    uint32_t gone = before & ~raft->members & ~(1U << RAFT_SELF);
    if (raft->role == RAFT_LEADER) {
        raft_departure_begin(raft, gone);
    }
    raft->quorum = (struct raft_quorum){0};
    raft->learners = 0;
    for (uint32_t i = 0; i < configuration->member_count; i++) {
        const struct raft_member *member = &configuration->members[i];
        uint32_t at = raft_place_take(raft, member->id);
        uint32_t bit = 1U << at;
        raft->members |= bit;
        raft->quorum.voters |= (member->parts & RAFT_PART_VOTER) != 0 ? bit : 0;
        raft->quorum.outgoing |= (member->parts & RAFT_PART_OUTGOING) != 0 ? bit : 0;
        raft->learners |= (member->parts & RAFT_PART_LEARNER) != 0 ? bit : 0;
        if (raft->role == RAFT_LEADER && (before & bit) == 0 && at != RAFT_SELF) {
            raft_follower_begin(raft, at);
        }
    }
    raft->departing &= ~raft->members;
    raft->was_member = raft->was_member || (raft->members >> RAFT_SELF & 1) != 0;
    raft->configuration_changed = true;
}

void raft_members_begin(struct raft *raft, const struct raft_configuration *configuration)
{
    raft->configuration = *configuration;
    raft->configuration_before = *configuration;
    settle(raft);
}

void raft_members_appended(struct raft *raft, const struct raft_configuration *configuration)
{
    ASSERT_VALUES(configuration->index == raft_last_index(raft), configuration->index,
                  raft_last_index(raft));
    ASSERT_VALUES(configuration->index > raft->configuration.index, configuration->index,
                  raft->configuration.index);
    raft->configuration_before = raft->configuration;
    raft->configuration = *configuration;
    settle(raft);
}

void raft_members_truncated(struct raft *raft, raft_index from_index)
{
    if (raft->configuration.index < from_index) {
        return;
    }
    ASSERT_VALUES(raft->configuration_before.index < from_index, raft->configuration_before.index,
                  from_index);
    raft->configuration = raft->configuration_before;
    settle(raft);
}
