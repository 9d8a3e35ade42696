/* node/members.c: who is a member, and what a leader does about it by itself.
 *
 * By itself a leader replaces a member whose disk was wiped or exchanged, when a node with that
 * name and an empty disk asks to join and the old disk is silent; and it writes down addresses that
 * have changed. Everything else is an operator's to ask for (changes.c). Nothing here decides what
 * is safe: that is raft's (raft/configuration.h). */
#include "base/assert.h"
#include "node/internal.h"

/* --- What is known ---------------------------------------------------------------------------- */

static const struct raft_member *find_disk(const struct raft_configuration *configuration,
                                           uint64_t incarnation, struct member *member)
{
    for (uint32_t i = 0; i < configuration->member_count; i++) {
        if (member_incarnation(&configuration->members[i]) == incarnation) {
            member_of(&configuration->members[i], member);
            return &configuration->members[i];
        }
    }
    return NULL;
}

const struct raft_member *members_find_disk(const struct node *node, uint64_t incarnation,
                                            struct member *member)
{
    ASSERT(node->raft != NULL);
    const struct raft_member *found =
        find_disk(raft_configuration(node->raft), incarnation, member);

    return found != NULL ? found : find_disk(&node->members.committed, incarnation, member);
}

const struct raft_member *members_find_name(const struct node *node, struct bytes name,
                                            bool is_learner)
{
    const struct raft_configuration *present = raft_configuration(node->raft);

    for (uint32_t i = 0; i < present->member_count; i++) {
        const struct raft_member *listed = &present->members[i];
        struct member member;

        member_of(listed, &member);
        if (((listed->parts & RAFT_PART_LEARNER) != 0) == is_learner &&
            bytes_equal(bytes_of_text(member.name), name)) {
            return listed;
        }
    }
    return NULL;
}

bool members_is_heard(const struct node *node, const struct raft_member *listed)
{
    if (listed->id == node->identity.self) {
        return true;
    }
    uint32_t place = place_of_id(node, listed->id);

    if (place == NO_PEER) {
        return false;
    }
    const struct peer *peer = &node->peers[place];

    return peer->connection_count > 0 && peer->hello_incarnation == member_incarnation(listed) &&
           peer->member_ms != NEVER &&
           node->now_ms - peer->member_ms <= 2 * (uint64_t)node->options.election_ms_max;
}

bool members_describe(const struct node *node, uint32_t place, struct member *member)
{
    const struct peer *peer = &node->peers[place];
    const char *address = peer->addresses[ADDRESS_TOLD][0] != '\0' ? peer->addresses[ADDRESS_TOLD]
                                                                   : peer->addresses[peer->dialed];

    return member_set(member, peer->hello_incarnation, bytes_of_text(peer->name),
                      bytes_of_text(address), bytes_of_text(peer->client));
}

uint32_t members_applicant(const struct node *node, struct bytes name)
{
    uint32_t place = place_of_name(node, name);
    struct member member;

    if (place == NO_PEER || node->peers[place].connection_count == 0 ||
        node->peers[place].hello_formed ||
        members_find_disk(node, node->peers[place].hello_incarnation, &member) != NULL) {
        return NO_PEER;
    }
    return place;
}

/* --- Proposing -------------------------------------------------------------------------------- */

enum raft_verdict members_propose(struct node *node, const struct raft_change *change,
                                  raft_index *index)
{
    size_t size = RAFT_ENTRY_HEADER_SIZE + RAFT_CONFIGURATION_SIZE_MAX;

    ASSERT(node_leads(node));
    if (size + STAGE_RESERVE > node->stage_room) {
        return RAFT_REFUSED_NO_ROOM;
    }
    enum raft_verdict verdict = raft_reconfigure(node->raft, change, node->now_ms, index);

    if (verdict == RAFT_ACCEPTED) {
        requests_take_room(node, size);
        node_refresh_status(node);
    }
    return verdict;
}

static void log_change(struct node *node, const char *event, const char *name, const char *text)
{
    struct line line;

    line_begin(&line, event);
    line_add(&line, "peer", name);
    line_add(&line, "text", text);
    line_write_limited(node, WORLD_WARNING, &line, &node->peer_lines);
}

/* A learner of that name whose disk is gone too gives way first. Without a voter of that name
 * nothing is to be replaced: the node asks to join as any other. */
static void replace_disk(struct node *node, uint32_t place)
{
    const struct peer *peer = &node->peers[place];
    struct bytes name = bytes_of_text(peer->name);
    const struct raft_member *voter = members_find_name(node, name, false);
    const struct raft_member *learner = members_find_name(node, name, true);
    uint8_t context[RAFT_CONTEXT_SIZE_MAX];
    struct raft_change change = {.kind = RAFT_REMOVE};
    struct member member;
    raft_index index = 0;

    if (voter == NULL && learner == NULL) {
        return;
    }
    if (learner != NULL) {
        change.id = learner->id;
    } else if (members_describe(node, place, &member)) {
        change = (struct raft_change){
            .kind = RAFT_ADD_LEARNER,
            .id = peer->hello_incarnation,
            .replaces = voter->id,
            .promote = true,
            .context = bytes_of(context, member_encode(context, &member)),
        };
    }
    enum raft_verdict verdict = members_propose(node, &change, &index);

    if (verdict == RAFT_ACCEPTED) {
        log_change(node, "replacing", peer->name,
                   "its disk was wiped or replaced: the new one joins in its place");
    } else if (verdict == RAFT_REFUSED_TOO_MANY) {
        log_change(node, "not_replaced", peer->name, raft_verdict_text(verdict));
    }
}

/* The old disk may only be out of reach for a moment, while somebody else took its name. */
static bool old_disk_is_silent(const struct node *node, const struct peer *peer)
{
    return peer->member_ms == NEVER ||
           node->now_ms - peer->member_ms >= 2 * (uint64_t)node->options.election_ms_max;
}

/* What a member says of itself, when that is not what the configuration has. */
static bool has_moved(const struct node *node, const struct raft_member *listed,
                      struct member *said)
{
    struct member known;

    member_of(listed, &known);
    if (listed->id == node->identity.self) {
        struct bytes peer = bytes_of_text(node->options.addresses[node->options.self]);
        struct bytes client = bytes_of_text(node->options.client_address);

        if (!member_set(said, known.incarnation, bytes_of_text(known.name), peer, client)) {
            return false;
        }
    } else {
        uint32_t place = place_of_id(node, listed->id);

        if (place == NO_PEER || node->peers[place].connection_count == 0 ||
            node->peers[place].hello_incarnation != known.incarnation ||
            node->peers[place].addresses[ADDRESS_TOLD][0] == '\0' ||
            !members_describe(node, place, said)) {
            return false;
        }
    }
    return !bytes_equal(bytes_of_text(known.peer), bytes_of_text(said->peer)) ||
           !bytes_equal(bytes_of_text(known.client), bytes_of_text(said->client));
}

/* True when there was one to write down. */
static bool write_addresses(struct node *node)
{
    const struct raft_configuration *present = raft_configuration(node->raft);

    for (uint32_t i = 0; i < present->member_count; i++) {
        struct member said;
        uint8_t context[RAFT_CONTEXT_SIZE_MAX];
        raft_index index = 0;

        if (!has_moved(node, &present->members[i], &said)) {
            continue;
        }
        const struct raft_change change = {
            .kind = RAFT_CHANGE_CONTEXT,
            .id = present->members[i].id,
            .context = bytes_of(context, member_encode(context, &said)),
        };
        if (members_propose(node, &change, &index) == RAFT_ACCEPTED) {
            log_change(node, "moved", said.name, "its addresses have changed");
        }
        return true;
    }
    return false;
}

static void lead(struct node *node)
{
    if (!node->status.leader_is_ready || !node->status.configuration_is_committed ||
        node->is_stopping || write_addresses(node)) {
        return;
    }
    for (uint32_t i = 0; i < NODE_PEER_COUNT_MAX; i++) {
        const struct peer *peer = &node->peers[i];

        if (peer->is_member && peer->hello_incarnation != 0 &&
            members_applicant(node, bytes_of_text(peer->name)) == i &&
            old_disk_is_silent(node, peer)) {
            replace_disk(node, i);
            return; /* One change at a time. */
        }
    }
}

/* --- The configuration has changed ------------------------------------------------------------ */

void members_note_removal(struct node *node)
{
    struct line line;

    if (node->members.removed_ms != NEVER) {
        return;
    }
    node->members.removed_ms = node->now_ms;
    line_begin(&line, "removed");
    line_add(&line, "text", "the cluster has removed this node: it stops");
    line_write(node, WORLD_WARNING, &line);
}

/* A configuration older than our joining does not count: the log that we are fed begins before. */
static void look_for_removal(struct node *node)
{
    const struct raft_configuration *committed = &node->members.committed;

    if (committed->index >= node->identity.joined_index &&
        raft_configuration_find(committed, node->identity.self) == NULL) {
        members_note_removal(node);
    }
}

static const char *part_name(const struct raft_member *listed)
{
    if ((listed->parts & RAFT_PART_LEARNER) != 0) {
        return "(learner)";
    }
    if (listed->parts == RAFT_PART_OUTGOING) {
        return "(leaving)";
    }
    return "";
}

static void log_members(struct node *node, const struct raft_configuration *configuration,
                        bool is_committed)
{
    char memory[LINE_SIZE_MAX / 2];
    struct text text;
    struct line line;

    text_init(&text, memory, sizeof(memory));
    for (uint32_t i = 0; i < configuration->member_count; i++) {
        struct member member;

        member_of(&configuration->members[i], &member);
        text_add(&text, i == 0 ? "" : ",");
        text_add(&text, member.name);
        text_add(&text, part_name(&configuration->members[i]));
    }
    line_begin(&line, "members");
    line_add_u64(&line, "index", configuration->index);
    line_add(&line, "state", is_committed ? "committed" : "appended");
    line_add_bytes(&line, "members", bytes_of(text.data, text.size));
    line_write_limited(node, WORLD_INFO, &line, &node->member_lines);
}

static void settle(struct node *node, const struct raft_configuration *configuration,
                   bool is_committed)
{
    if (is_committed) {
        node->members.committed = *configuration;
        look_for_removal(node);
    }
    places_refresh(node);
}

void members_open(struct node *node)
{
    struct raft_base base;

    identity_base(&node->identity, &base);
    node->members.committed = base.configuration;
    settle(node, raft_configuration(node->raft), node->status.configuration_is_committed);
}

void members_changed(struct node *node, const struct raft_effects *effects)
{
    raft_index before = node->members.committed.index;

    settle(node, effects->configuration, effects->configuration_is_committed);
    log_members(node, effects->configuration, effects->configuration_is_committed);
    if (before == node->members.committed.index) {
        return;
    }
    formation_hand_on(node);
    for (uint32_t i = 0; i < NODE_PEER_COUNT_MAX; i++) {
        peers_send_hello(node, i); /* What we know now says that we are not old. */
    }
}

/* --- Now and then ----------------------------------------------------------------------------- */

static void end_when_removed(struct node *node)
{
    uint64_t grace_ms = node->options.election_ms_max + (uint64_t)STOP_EXTRA_MS;

    if (node->members.removed_ms == NEVER || node_leads(node) ||
        node->now_ms - node->members.removed_ms < grace_ms) {
        return;
    }
    node->is_removed = true;
    node_fail(node, "the cluster has removed this node", "membership",
              "empty its data folder and start it again to join anew, or do not start it any more");
}

void members_tick(struct node *node)
{
    if (node->now_ms < node->members.tick_ms) {
        return;
    }
    node->members.tick_ms = node->now_ms + MEMBERS_TICK_MS;
    places_tick(node);
    if (node->raft == NULL) {
        return;
    }
    if (node_leads(node)) {
        lead(node);
    }
    end_when_removed(node);
}
