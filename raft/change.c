/* raft/change.c: changes of members, at the leader (dissertation chapter 4).
 *
 *     simple --- voters change ---> joint, appended --- committed ---> simple, appended
 *        |                                                                   |
 *        +--- a learner comes or goes, a context changes ---> simple <-------+ committed
 *
 * One change at a time, and none before an entry of the leader's own term is committed: else two
 * leaders could change the same configuration into two that share no majority (the correction to
 * chapter 4, and traps 31 and 33). */
#include <string.h>

#include "base/assert.h"
#include "raft/internal.h"

const char *raft_verdict_text(enum raft_verdict verdict)
{
    switch (verdict) {
    case RAFT_ACCEPTED:
        return "accepted";
    case RAFT_REFUSED_NOT_LEADER:
        return "this node is not the leader: ask the leader";
    case RAFT_REFUSED_NOT_READY:
        return "the leader has not committed anything in its term yet: ask again";
    case RAFT_REFUSED_STOPPING:
        return "leadership is being handed over: ask again";
    case RAFT_REFUSED_UNDER_WAY:
        return "another change of members is not complete: ask again when it is";
    case RAFT_REFUSED_UNKNOWN:
        return "no such member, or no voter";
    case RAFT_REFUSED_PRESENT:
        return "it is that already";
    case RAFT_REFUSED_BEHIND:
        return "the learner has not caught up with the log: ask again when it has";
    case RAFT_REFUSED_LAST:
        return "no voter would be left: add another one first";
    case RAFT_REFUSED_TOO_MANY:
        return "there would be too many members: remove one first";
    case RAFT_REFUSED_NO_ROOM:
        return "the memory for uncommitted entries is used up: ask again";
    case RAFT_REFUSED_INVALID:
        return "an id of 0, a context that is too large, or a learner that replaces without a vote";
    }
    UNREACHABLE();
}

/* --- Followers as the leader sees them come, learn and go ---- */

void raft_follower_begin(struct raft *raft, uint32_t at)
{
    struct raft_peer *peer = &raft->peers[at];

    ASSERT(at != RAFT_SELF);
    raft_progress_init(&peer->progress, raft_last_index(raft) + 1);
    peer->catch_up_index = raft_last_index(raft);
    peer->catch_up_ms = raft->now_ms;
    peer->is_caught_up = false;
    peer->lease_ms = 0;
}

/* A learner has caught up when a round, the time in which it gets what there was at the round's
 * beginning, is no longer than an election timeout: then it cannot hold up commits for longer than
 * an election would (dissertation 4.2.1). */
void raft_catch_up_note(struct raft *raft, uint32_t at)
{
    struct raft_peer *peer = &raft->peers[at];
    raft_index match_index = peer->progress.match_index;

    if (peer->catch_up_index != 0 && match_index >= peer->catch_up_index) {
        peer->is_caught_up = raft->now_ms - peer->catch_up_ms <= raft->options.election_ms_min;
        peer->catch_up_index = 0;
    }
    if (match_index == raft_last_index(raft)) {
        peer->is_caught_up = true;
    } else if (peer->catch_up_index == 0) {
        peer->catch_up_index = raft_last_index(raft);
        peer->catch_up_ms = raft->now_ms;
    }
}

/* Who had everything begins a round when there is more, not with its next acknowledgement: one
 * whose disk has stalled acknowledges nothing, and is heard all the same. */
static void begin_rounds(struct raft *raft)
{
    for (uint32_t at = raft_place_next(raft->learners, 0); at < RAFT_PLACE_COUNT;
         at = raft_place_next(raft->learners, at + 1)) {
        struct raft_peer *peer = &raft->peers[at];
        if (peer->catch_up_index == 0 && peer->progress.match_index < raft_last_index(raft)) {
            peer->catch_up_index = raft_last_index(raft);
            peer->catch_up_ms = raft->now_ms;
        }
    }
}

static bool has_caught_up(const struct raft *raft, uint32_t at)
{
    const struct raft_peer *peer = &raft->peers[at];
    uint64_t limit_ms = raft->options.election_ms_max;

    return peer->is_caught_up && raft->now_ms - peer->progress.contact_ms <= limit_ms &&
           (peer->catch_up_index == 0 || raft->now_ms - peer->catch_up_ms <= limit_ms);
}

bool raft_has_caught_up(const struct raft *raft, raft_id peer)
{
    uint32_t at = peer == 0 ? RAFT_NOWHERE : raft_place_find(raft, peer);

    return raft->role == RAFT_LEADER && at != RAFT_NOWHERE && (raft->learners >> at & 1) != 0 &&
           has_caught_up(raft, at);
}

/* Who was removed gets the log on until it knows that its removal is committed: then it stops
 * campaigning, and its caller can stop it. */
void raft_departure_begin(struct raft *raft, uint32_t mask)
{
    for (uint32_t at = RAFT_SELF + 1; at < RAFT_PLACE_COUNT; at++) {
        if ((mask >> at & 1) == 0) {
            continue;
        }
        struct raft_peer *peer = &raft->peers[at];
        raft->departing |= 1U << at;
        peer->departure_index = raft->configuration.index;
        peer->departure_round = 0;
        peer->departure_ms =
            raft->now_ms + (uint64_t)raft->options.election_ms_max * RAFT_DEPARTURE_TIMEOUTS;
    }
}

bool raft_is_departing(const struct raft *raft, raft_id peer)
{
    uint32_t at = peer == 0 ? RAFT_NOWHERE : raft_place_find(raft, peer);

    return at != RAFT_NOWHERE && (raft->departing >> at & 1) != 0;
}

/* Heartbeats tell a follower what is committed of its log; so it knows when it answers a round that
 * begins after both are there. */
static bool has_departed(struct raft *raft, struct raft_peer *peer)
{
    if (raft->now_ms >= peer->departure_ms || peer->progress.state == RAFT_SNAPSHOT) {
        return true;
    }
    if (peer->progress.match_index < peer->departure_index ||
        raft->commit_index < peer->departure_index) {
        return false;
    }
    if (peer->departure_round == 0) {
        peer->departure_round = raft->round + 1;
    }
    return peer->progress.round >= peer->departure_round;
}

static void end_departures(struct raft *raft)
{
    for (uint32_t at = RAFT_SELF + 1; at < RAFT_PLACE_COUNT; at++) {
        if ((raft->departing >> at & 1) != 0 && has_departed(raft, &raft->peers[at])) {
            raft->departing &= ~(1U << at);
        }
    }
}

/* --- Configurations made of others ---- */

static struct raft_member *find(struct raft_configuration *configuration, raft_id id)
{
    for (uint32_t i = 0; i < configuration->member_count; i++) {
        if (configuration->members[i].id == id) {
            return &configuration->members[i];
        }
    }
    return NULL;
}

static bool is_voter(const struct raft_member *member)
{
    return member != NULL && (member->parts & RAFT_PART_VOTER) != 0;
}

static void set_context(struct raft_member *member, struct bytes context)
{
    ASSERT(context.size <= RAFT_CONTEXT_SIZE_MAX);
    member->context_size = (uint32_t)context.size;
    if (context.size > 0) {
        memcpy(member->context, context.data, context.size);
    }
}

/* All present voters become outgoing ones too; who leaves is no more than that. */
static void begin_joint(struct raft_configuration *next, raft_id leaves)
{
    for (uint32_t i = 0; i < next->member_count; i++) {
        struct raft_member *member = &next->members[i];
        if (is_voter(member)) {
            member->parts = RAFT_PART_OUTGOING;
            member->parts |= member->id == leaves ? 0 : RAFT_PART_VOTER;
        }
    }
}

static void drop_at(struct raft_configuration *next, uint32_t position)
{
    next->member_count -= 1;
    memmove(&next->members[position], &next->members[position + 1],
            (next->member_count - position) * sizeof(next->members[0]));
}

static void end_joint(struct raft_configuration *next)
{
    for (uint32_t i = 0; i < next->member_count;) {
        struct raft_member *member = &next->members[i];
        if (member->parts == RAFT_PART_OUTGOING) {
            drop_at(next, i);
            continue;
        }
        member->parts &= (uint8_t)~RAFT_PART_OUTGOING;
        i++;
    }
}

static uint32_t count_voters(const struct raft_configuration *configuration)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < configuration->member_count; i++) {
        count += is_voter(&configuration->members[i]);
    }
    return count;
}

static enum raft_verdict add_learner(struct raft_configuration *next,
                                     const struct raft_change *change)
{
    if (find(next, change->id) != NULL) {
        return RAFT_REFUSED_PRESENT;
    }
    if (change->replaces != 0 && (!change->promote || !is_voter(find(next, change->replaces)))) {
        return change->promote ? RAFT_REFUSED_UNKNOWN : RAFT_REFUSED_INVALID;
    }
    if (next->member_count == RAFT_MEMBER_COUNT_MAX) {
        return RAFT_REFUSED_TOO_MANY;
    }
    struct raft_member *member = &next->members[next->member_count];
    next->member_count += 1;
    *member = (struct raft_member){
        .id = change->id,
        .parts = RAFT_PART_LEARNER,
        .is_promoted = change->promote,
        .replaces = change->replaces,
    };
    set_context(member, change->context);
    return RAFT_ACCEPTED;
}

static void promote(struct raft_configuration *next, struct raft_member *member, raft_id replaces)
{
    begin_joint(next, replaces);
    member->parts = RAFT_PART_VOTER;
    member->is_promoted = false;
    member->replaces = 0;
}

static enum raft_verdict promote_learner(const struct raft *raft, struct raft_configuration *next,
                                         const struct raft_change *change)
{
    struct raft_member *member = find(next, change->id);

    if (member == NULL || (change->replaces != 0 && !is_voter(find(next, change->replaces)))) {
        return RAFT_REFUSED_UNKNOWN;
    }
    if (is_voter(member)) {
        return RAFT_REFUSED_PRESENT;
    }
    if (!raft_has_caught_up(raft, change->id)) {
        return RAFT_REFUSED_BEHIND;
    }
    promote(next, member, change->replaces);
    return RAFT_ACCEPTED;
}

static enum raft_verdict remove_member(struct raft_configuration *next, raft_id id)
{
    struct raft_member *member = find(next, id);

    if (member == NULL) {
        return RAFT_REFUSED_UNKNOWN;
    }
    if (!is_voter(member)) {
        drop_at(next, (uint32_t)(member - next->members));
        return RAFT_ACCEPTED;
    }
    if (count_voters(next) == 1) {
        return RAFT_REFUSED_LAST;
    }
    begin_joint(next, id);
    return RAFT_ACCEPTED;
}

static enum raft_verdict derive(const struct raft *raft, struct raft_configuration *next,
                                const struct raft_change *change)
{
    struct raft_member *member = NULL;

    switch (change->kind) {
    case RAFT_ADD_LEARNER:
        return add_learner(next, change);
    case RAFT_PROMOTE:
        return promote_learner(raft, next, change);
    case RAFT_REMOVE:
        return remove_member(next, change->id);
    case RAFT_CHANGE_CONTEXT:
        member = find(next, change->id);
        if (member == NULL) {
            return RAFT_REFUSED_UNKNOWN;
        }
        set_context(member, change->context);
        return RAFT_ACCEPTED;
    }
    return RAFT_REFUSED_INVALID;
}

/* --- The events ---- */

static bool append(struct raft *raft, struct raft_configuration *next)
{
    uint8_t payload[RAFT_CONFIGURATION_SIZE_MAX];

    ASSERT(raft_configuration_is_committed(raft));
    ASSERT(raft_leader_is_ready(raft));
    next->index = raft_last_index(raft) + 1;
    struct raft_entry entry = {
        .index = next->index,
        .term = raft->term,
        .kind = RAFT_ENTRY_CONFIGURATION,
        .payload = bytes_of(payload, raft_configuration_encode(payload, next)),
    };
    return entry.payload.size <= raft->entry_size_max - RAFT_ENTRY_HEADER_SIZE &&
           raft_entries_append(raft, &entry, (struct bytes){0});
}

enum raft_verdict raft_reconfigure(struct raft *raft, const struct raft_change *change,
                                   uint64_t now_ms, raft_index *index)
{
    raft_time_set(raft, now_ms);
    if (raft->role != RAFT_LEADER) {
        return RAFT_REFUSED_NOT_LEADER;
    }
    if (raft->is_resigning || raft_is_handing_over(raft)) {
        return RAFT_REFUSED_STOPPING;
    }
    if (!raft_leader_is_ready(raft)) {
        return RAFT_REFUSED_NOT_READY;
    }
    if (!raft_configuration_is_committed(raft) || raft->quorum.outgoing != 0) {
        return RAFT_REFUSED_UNDER_WAY;
    }
    if (change->id == 0 || change->context.size > RAFT_CONTEXT_SIZE_MAX) {
        return RAFT_REFUSED_INVALID;
    }
    struct raft_configuration next = raft->configuration;
    enum raft_verdict verdict = derive(raft, &next, change);
    if (verdict != RAFT_ACCEPTED) {
        return verdict;
    }
    if (!append(raft, &next)) {
        return RAFT_REFUSED_NO_ROOM;
    }
    *index = next.index;
    return RAFT_ACCEPTED;
}

/* Learners that asked for it become voters, one after the other. */
static void promote_one(struct raft *raft)
{
    for (uint32_t i = 0; i < raft->configuration.member_count; i++) {
        const struct raft_member *member = &raft->configuration.members[i];
        if (!member->is_promoted || !raft_has_caught_up(raft, member->id)) {
            continue;
        }
        struct raft_configuration next = raft->configuration;
        promote(&next, &next.members[i], member->replaces);
        (void)append(raft, &next); /* Where there is no room now, the next collect tries again. */
        return;
    }
}

void raft_change_step(struct raft *raft)
{
    ASSERT(raft->role == RAFT_LEADER);
    if (raft->departing != 0) {
        end_departures(raft);
    }
    begin_rounds(raft);
    if ((raft->quorum.outgoing == 0 && raft->learners == 0) || raft_is_handing_over(raft) ||
        !raft_configuration_is_committed(raft) || !raft_leader_is_ready(raft)) {
        return;
    }
    if (raft->quorum.outgoing == 0) {
        promote_one(raft);
        return;
    }
    struct raft_configuration next = raft->configuration;
    end_joint(&next);
    (void)append(raft, &next); /* Likewise. */
}
