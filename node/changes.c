/* node/changes.c: changes of the cluster that an operator asks for: members, and who leads.
 *
 * A change is answered when it is complete: committed, not joint, and what was asked for is so.
 * Each step looks at the configuration as it is and proposes what is still missing, so a change
 * that is asked for again goes on where the last one stood, also under another leader. */
#include "base/assert.h"
#include "node/internal.h"

enum progress { PROGRESS_DONE, PROGRESS_WAIT, PROGRESS_REFUSED, PROGRESS_ABSENT };

/* --- Answers ---------------------------------------------------------------------------------- */

static void answer_done(struct node *node, const struct change *change)
{
    uint8_t memory[FAILURE_SIZE_MAX];
    struct buffer body = buffer_of(memory, sizeof(memory));
    raft_index index = node->members.committed.index;
    bool fits = false;

    /* The four results differ in name only, but for the last. */
    if (change->method == WIRE_METHOD_leader_move) {
        fits = wire_leader_move_result_encode(
            &(struct wire_leader_move_result){.term = node->status.term}, &body);
    } else if (change->method == WIRE_METHOD_member_add) {
        fits = wire_member_add_result_encode(
            &(struct wire_member_add_result){.configuration = index}, &body);
    } else if (change->method == WIRE_METHOD_member_remove) {
        fits = wire_member_remove_result_encode(
            &(struct wire_member_remove_result){.configuration = index}, &body);
    } else {
        ASSERT(change->method == WIRE_METHOD_member_promote);
        fits = wire_member_promote_result_encode(
            &(struct wire_member_promote_result){.configuration = index}, &body);
    }
    ASSERT_VALUES(fits, change->method, body.size);
    answer_body(node, &change->origin, buffer_bytes(&body));
}

static void finish(struct node *node, struct change *change)
{
    ASSERT(change->method != 0 && node->changes.count > 0);
    change->method = 0;
    node->changes.count--;
}

static void finish_with(struct node *node, struct change *change, enum error error,
                        const char *text)
{
    struct change ended = *change;

    finish(node, change);
    answer_error(node, &ended.origin, error, text);
}

/* --- The steps -------------------------------------------------------------------------------- */

/* Verdicts that time may change are waited for. */
static enum progress weigh(struct change *change, enum raft_verdict verdict, const char **text)
{
    change->verdict = verdict;
    switch (verdict) {
    case RAFT_ACCEPTED:
    case RAFT_REFUSED_NOT_LEADER:
    case RAFT_REFUSED_NOT_READY:
    case RAFT_REFUSED_STOPPING:
    case RAFT_REFUSED_UNDER_WAY:
    case RAFT_REFUSED_BEHIND:
    case RAFT_REFUSED_NO_ROOM:
    case RAFT_REFUSED_UNKNOWN: /* The configuration has changed meanwhile: look again. */
    case RAFT_REFUSED_PRESENT:
        return PROGRESS_WAIT;
    case RAFT_REFUSED_LAST:
    case RAFT_REFUSED_TOO_MANY:
    case RAFT_REFUSED_INVALID:
        *text = raft_verdict_text(verdict);
        return PROGRESS_REFUSED;
    }
    UNREACHABLE();
}

static enum progress propose(struct node *node, struct change *change,
                             const struct raft_change *wanted, const char **text)
{
    raft_index index = 0;

    if (!node_leads(node)) {
        return PROGRESS_WAIT;
    }
    enum raft_verdict verdict = members_propose(node, wanted, &index);

    change->index = verdict == RAFT_ACCEPTED ? index : change->index;
    return weigh(change, verdict, text);
}

/* Nothing is under way: what the configuration says is so for good. */
static bool is_settled(const struct node *node)
{
    return node->status.configuration_is_committed &&
           !raft_configuration_is_joint(raft_configuration(node->raft));
}

static enum progress step_add(struct node *node, struct change *change, const char **text)
{
    struct bytes name = bytes_of_text(change->name);
    const struct raft_member *voter = members_find_name(node, name, false);
    const struct raft_member *learner = members_find_name(node, name, true);
    uint32_t place = members_applicant(node, name);
    uint8_t context[RAFT_CONTEXT_SIZE_MAX];
    struct member member;

    if (learner != NULL && !learner->is_promoted && !change->learner) {
        const struct raft_change promotion = {.kind = RAFT_PROMOTE, .id = learner->id};
        return propose(node, change, &promotion, text);
    }
    if (voter != NULL || learner != NULL) {
        bool is_done = learner == NULL || change->learner;
        return is_done && is_settled(node) ? PROGRESS_DONE : PROGRESS_WAIT;
    }
    if (place == NO_PEER || !members_describe(node, place, &member)) {
        *text = "no node of that name asks to join: start it with --cluster that lists the members "
                "and itself, and look at its log";
        return PROGRESS_REFUSED;
    }
    const struct raft_change addition = {
        .kind = RAFT_ADD_LEARNER,
        .id = member.incarnation,
        .promote = !change->learner,
        .context = bytes_of(context, member_encode(context, &member)),
    };

    return propose(node, change, &addition, text);
}

/* A voter that is silent may never come back. With too many of them among those who stay, nothing
 * could be committed any more, the way back included. */
static bool removal_keeps_majority(const struct node *node, raft_id id)
{
    const struct raft_configuration *present = raft_configuration(node->raft);
    uint32_t voters = 0;
    uint32_t heard = 0;

    for (uint32_t i = 0; i < present->member_count; i++) {
        const struct raft_member *member = &present->members[i];

        if ((member->parts & RAFT_PART_VOTER) != 0 && member->id != id) {
            voters++;
            heard += members_is_heard(node, member) ? 1 : 0;
        }
    }
    return voters == 0 || heard > voters / 2; /* The last one is raft's to keep. */
}

/* All of that name go, a learner that replaces a voter first. */
static enum progress step_remove(struct node *node, struct change *change, const char **text)
{
    struct bytes name = bytes_of_text(change->name);
    const struct raft_member *member = members_find_name(node, name, true);

    if (member == NULL) {
        member = members_find_name(node, name, false);
    }
    if (member != NULL && (member->parts & (RAFT_PART_VOTER | RAFT_PART_LEARNER)) == 0) {
        return PROGRESS_WAIT; /* It is leaving. */
    }
    if (member != NULL && (member->parts & RAFT_PART_VOTER) != 0 && node_leads(node) &&
        !removal_keeps_majority(node, member->id)) {
        *text = "too many of the voters that stay are silent: bring them back, or remove those "
                "first";
        return PROGRESS_REFUSED;
    }
    if (member != NULL) {
        const struct raft_change removal = {.kind = RAFT_REMOVE, .id = member->id};
        return propose(node, change, &removal, text);
    }
    if (!is_settled(node)) {
        return PROGRESS_WAIT;
    }
    if (change->index == 0) {
        *text = "no member has that name: see `holdfast member ls`";
        return PROGRESS_ABSENT;
    }
    return PROGRESS_DONE;
}

static enum progress step_promote(struct node *node, struct change *change, const char **text)
{
    struct bytes name = bytes_of_text(change->name);
    struct bytes replace = bytes_of_text(change->replace);
    const struct raft_member *learner = members_find_name(node, name, true);
    const struct raft_member *old = NULL;

    if (learner == NULL) {
        if (members_find_name(node, name, false) == NULL) {
            *text = "no member has that name: see `holdfast member ls`";
            return PROGRESS_ABSENT;
        }
        return is_settled(node) ? PROGRESS_DONE : PROGRESS_WAIT;
    }
    if (replace.size > 0) {
        old = members_find_name(node, replace, false);
        if (old == NULL) {
            *text = "the member to be replaced is no voter: see `holdfast member ls`";
            return PROGRESS_REFUSED;
        }
    }
    const struct raft_change promotion = {
        .kind = RAFT_PROMOTE, .id = learner->id, .replaces = old == NULL ? 0 : old->id};

    return propose(node, change, &promotion, text);
}

static enum progress begin_move(struct node *node, struct change *change, const char **text)
{
    const struct raft_member *voter = members_find_name(node, bytes_of_text(change->name), false);

    if (voter == NULL) {
        *text = "no voter has that name: see `holdfast member ls`";
        return PROGRESS_REFUSED;
    }
    if (voter->id == node->identity.self) {
        return node_leads(node) ? PROGRESS_DONE : PROGRESS_WAIT;
    }
    enum raft_verdict verdict = raft_transfer(node->raft, voter->id, node->now_ms);

    node_refresh_status(node);
    change->target = verdict == RAFT_ACCEPTED ? voter->id : 0;
    return weigh(change, verdict, text);
}

static enum progress step_move(struct node *node, struct change *change, const char **text)
{
    if (change->target == 0) {
        return begin_move(node, change, text);
    }
    if (node->status.leader == change->target) {
        return PROGRESS_DONE;
    }
    if (node_leads(node) && node->status.transfer_target == change->target) {
        return PROGRESS_WAIT;
    }
    if (node->status.leader == 0) {
        return PROGRESS_WAIT; /* Between two terms. */
    }
    *text = "it did not take over in time, or another did: see `holdfast status`, and try again";
    return PROGRESS_REFUSED;
}

static enum progress step(struct node *node, struct change *change, const char **text)
{
    if (change->method == WIRE_METHOD_member_add) {
        return step_add(node, change, text);
    }
    if (change->method == WIRE_METHOD_member_remove) {
        return step_remove(node, change, text);
    }
    if (change->method == WIRE_METHOD_member_promote) {
        return step_promote(node, change, text);
    }
    ASSERT_VALUES(change->method == WIRE_METHOD_leader_move, change->method, change->index);
    return step_move(node, change, text);
}

/* --- Under way -------------------------------------------------------------------------------- */

static bool has_begun(const struct change *change)
{
    return change->index != 0 || change->target != 0;
}

/* Not complete. It ends when its time is up, or when another node leads. */
static void wait_on(struct node *node, struct change *change)
{
    if (node->now_ms >= change->deadline_ms) {
        if (has_begun(change)) {
            finish_with(node, change, ERR_TIMEOUT,
                        "the change is under way: see `holdfast member ls`");
        } else {
            finish_with(node, change, ERR_REFUSED, raft_verdict_text(change->verdict));
        }
        return;
    }
    if (node_leads(node) || change->target != 0) {
        return;
    }
    if (change->index != 0) {
        finish_with(node, change, ERR_UNKNOWN_OUTCOME, "leadership was lost meanwhile");
        return;
    }
    struct change ended = *change;

    finish(node, change);
    answer_not_leader(node, &ended.origin);
}

static void advance(struct node *node, struct change *change)
{
    const char *text = "";
    struct change ended;

    switch (step(node, change, &text)) {
    case PROGRESS_DONE:
        ended = *change;
        finish(node, change);
        answer_done(node, &ended);
        return;
    case PROGRESS_WAIT:
        wait_on(node, change);
        return;
    case PROGRESS_REFUSED:
        finish_with(node, change, ERR_REFUSED, text);
        return;
    case PROGRESS_ABSENT:
        finish_with(node, change, ERR_NOT_FOUND, text);
        return;
    }
    UNREACHABLE();
}

void changes_tick(struct node *node)
{
    for (uint32_t i = 0; node->changes.count > 0 && i < CHANGE_COUNT_MAX; i++) {
        if (node->changes.slots[i].method != 0) {
            advance(node, &node->changes.slots[i]);
        }
    }
}

void changes_give_up(struct node *node)
{
    for (uint32_t i = 0; i < CHANGE_COUNT_MAX; i++) {
        struct change *change = &node->changes.slots[i];

        if (change->method != 0) {
            finish_with(node, change, has_begun(change) ? ERR_UNKNOWN_OUTCOME : ERR_STOPPING,
                        "the node stops");
        }
    }
    ASSERT(node->changes.count == 0);
}

/* --- Taking ----------------------------------------------------------------------------------- */

static void copy_name(char to[NODE_NAME_SIZE_MAX + 1], struct bytes name)
{
    ASSERT_VALUES(name.size <= NODE_NAME_SIZE_MAX, name.size, NODE_NAME_SIZE_MAX);
    memset(to, 0, NODE_NAME_SIZE_MAX + 1);
    if (name.size > 0) {
        memcpy(to, name.data, name.size);
    }
}

/* The params were decoded before: they are valid. */
static uint32_t read_params(const struct wire_rpc *rpc, struct change *change)
{
    struct bytes rest = rpc->body;
    struct wire_member_add add;
    struct wire_member_remove remove;
    struct wire_member_promote promote;
    struct wire_leader_move move;

    if (rpc->method == WIRE_METHOD_member_add && wire_member_add_decode(&rest, &add) == ERR_OK) {
        copy_name(change->name, add.name);
        change->learner = add.learner;
        return add.timeout_ms;
    }
    if (rpc->method == WIRE_METHOD_member_remove &&
        wire_member_remove_decode(&rest, &remove) == ERR_OK) {
        copy_name(change->name, remove.name);
        return remove.timeout_ms;
    }
    if (rpc->method == WIRE_METHOD_member_promote &&
        wire_member_promote_decode(&rest, &promote) == ERR_OK) {
        copy_name(change->name, promote.name);
        copy_name(change->replace, promote.replace);
        return promote.timeout_ms;
    }
    enum error error = wire_leader_move_decode(&rest, &move);

    ASSERT_VALUES(error == ERR_OK, error, rpc->method);
    copy_name(change->name, move.name);
    return move.timeout_ms;
}

/* Until the first of those under way has had its time. */
static uint32_t retry_ms(const struct node *node)
{
    uint64_t until_ms = node->now_ms + RETRY_MS_MAX;

    for (uint32_t i = 0; i < CHANGE_COUNT_MAX; i++) {
        uint64_t deadline_ms = node->changes.slots[i].deadline_ms;

        until_ms = deadline_ms < until_ms ? deadline_ms : until_ms;
    }
    return until_ms > node->now_ms ? (uint32_t)(until_ms - node->now_ms) : 1;
}

void changes_take(struct node *node, const struct origin *origin, const struct wire_rpc *rpc)
{
    struct change *change = node->changes.slots;

    if (node->changes.count == CHANGE_COUNT_MAX) {
        answer_retry(node, origin, ERR_OVERLOADED, retry_ms(node));
        return;
    }
    while (change->method != 0) {
        change++;
    }
    *change = (struct change){.origin = *origin, .verdict = RAFT_REFUSED_UNDER_WAY};
    uint32_t timeout_ms = read_params(rpc, change);

    timeout_ms = timeout_ms == 0 ? CHANGE_MS_DEFAULT : timeout_ms;
    timeout_ms = timeout_ms > CHANGE_MS_MAX ? CHANGE_MS_MAX : timeout_ms;
    change->deadline_ms = node->now_ms + timeout_ms;
    change->method = (uint8_t)rpc->method;
    node->changes.count++;
}
